// Times to live, on virtual time: what is past its own is sent to nobody, counted once and told,
// wherever it waits.
#include <random>

#include "engine/loop/state.hpp"
#include "tests/engine/loop/loop_pair.hpp"
#include "tests/seed.hpp"

namespace mesh::engine {
namespace of_engine_loop_expiry_test {

// Ten of class A, whose lead without history is 24 ms, and ten of class D: 378 ms.
struct Both : LoopFixture {
  Both()
      : LoopFixture(100, 2),
        edge(add(1, 10, "edge", sched::AgentClass::edge)),
        gpu(add(2, 10, "gpu", sched::AgentClass::gpu)) {}
  void open() {
    must(loop->open({.horizon = Nanos{500 * kMs}, .ttl = Nanos{200 * kMs}}, from_ns(now_ns)));
  }
  RawStation& edge;
  RawStation& gpu;
};

// Operations.

TEST(EngineLoopExpiry, BucketsThatComeDueTooLateAreSentToNobodyAndNobodyIsWaitedFor) {
  Both mesh;
  mesh.open();
  const std::int64_t start = mesh.now_ns;
  std::optional<FinishedOperation> finished;
  std::int64_t ended_ns = 0;
  std::size_t sent = 0;
  mesh.run(1'200 * kMs, kMs, [&] {
    for (const auto& delivery : mesh.gpu.poll()) {
      ++sent;
      ASSERT_TRUE(mesh.gpu.answer(delivery, TrinaryState::ready, mesh.now_ns));
    }
    EXPECT_TRUE(mesh.edge.poll().empty());
    if (finished) return;
    finished = mesh.loop->take_finished();
    ended_ns = mesh.now_ns;
  });
  EXPECT_EQ(sent, 10U);
  EXPECT_EQ(mesh.loop->counters().expired, 10U);
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->result.end, sched::GatherEnd::kComplete);
  EXPECT_LT(ended_ns - start, 500 * kMs) << "before T: there is nobody left to wait for";
  EXPECT_EQ(finished->result.counts.sent, 20U);
  EXPECT_EQ(finished->result.counts.ready, 10U);
  EXPECT_EQ(finished->result.counts.declined, 10U);
  EXPECT_EQ(finished->result.counts.straggler(), 10U);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopExpiry, ASuccessorSendsNothingThatWasPast) {
  Both mesh;
  mesh.open();
  mesh.run(490 * kMs, kMs);  // nobody reads: all of class D are outstanding
  ASSERT_EQ(mesh.loop->counters().expired, 10U);
  mesh.restart();
  EXPECT_TRUE(mesh.loop->verify());
  mesh.run(600 * kMs, kMs);
  EXPECT_TRUE(mesh.edge.poll().empty());
  EXPECT_EQ(mesh.loop->counters().expired, 0U) << "they are counted once";
  const auto finished = mesh.loop->take_finished();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->result.end, sched::GatherEnd::kWindow);
  EXPECT_EQ(finished->result.counts.declined, 10U);
}

TEST(EngineLoopExpiry, WhatAnOperationHasWaitingForRoomGoesToo) {
  LoopFixture mesh(3'000, 1);
  RawStation& station = mesh.add(1, 600, "a");  // 2,048 slots, of which its priority has a quarter
  must(mesh.loop->open({.ttl = Nanos{50 * kMs}, .at_once = true}, from_ns(mesh.now_ns)));
  mesh.tick();
  mesh.tick(kMs);
  ASSERT_EQ(mesh.loop->gauges().pending, 88U);
  mesh.run(60 * kMs, kMs);
  EXPECT_EQ(mesh.loop->gauges().pending, 0U);
  EXPECT_EQ(mesh.loop->counters().expired, 88U);
  EXPECT_EQ(station.poll().size(), 512U);
  mesh.run(20 * kMs, kMs);
  EXPECT_TRUE(station.poll().empty());
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopExpiry, WhatAStationFindsPastWhenItReadsItIsCountedAndNoFailureOfTheAgent) {
  Pair mesh;
  must(mesh.loop->open({.ttl = Nanos{50 * kMs}, .at_once = true}, from_ns(mesh.now_ns)));
  mesh.tick();
  mesh.tick(kMs);
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 2U);
  mesh.run(60 * kMs, kMs);
  for (const auto& delivery : got) {
    sched::AnswerRecord refusal{};
    refusal.message = delivery.message;
    refusal.agent = delivery.target;
    refusal.operation = delivery.operation;
    refusal.kind = RecordKind::refusal;
    ASSERT_TRUE(mesh.bob.put(refusal));
    ASSERT_TRUE(mesh.bob.put(refusal)) << "twice is once";
  }
  mesh.tick(kMs);
  EXPECT_EQ(mesh.loop->counters().expired, 2U);
  EXPECT_EQ(mesh.loop->counters().breaker_failures, 0U);
}

// Direct messages.

TEST(EngineLoopExpiry, AMessageToWhoIsAwayIsReportedOnceItsTimeIsOver) {
  Pair mesh;
  mesh.lose(2);
  RawStation::Message brief = mesh.message("brief");
  brief.ttl_ms = 50;
  ASSERT_TRUE(mesh.alice.send(brief));
  ASSERT_TRUE(mesh.alice.send(mesh.message("lasting")));
  mesh.run(45 * kMs, kMs);
  EXPECT_TRUE(mesh.alice.poll().empty());
  mesh.run(1'100 * kMs, kMs);  // a round of upkeep, and what is left of its time
  const auto told = mesh.alice.poll();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(code_of(told[0]), Errc::expired);
  EXPECT_EQ(mesh.loop->counters().expired, 1U);
  EXPECT_EQ(mesh.loop->gauges().unanswered, 1U);
  EXPECT_TRUE(mesh.loop->verify());
  RawStation& again = mesh.add(3, 2, "bob");
  mesh.tick();
  const auto got = again.poll();
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(again.read(got[0]).body, "lasting");
}

TEST(EngineLoopExpiry, TheEnginesOwnQuestionToWhoIsAwayIsOverWithItsTime) {
  Pair mesh;
  mesh.lose(2);
  const auto id =
      must(mesh.loop->post({.target = mesh.ids[2][0], .ttl = Nanos{50 * kMs}, .body = bytes("?")},
                           from_ns(mesh.now_ns)));
  mesh.run(1'200 * kMs, kMs);
  const auto answered = mesh.loop->take_answered();
  ASSERT_TRUE(answered);
  EXPECT_EQ(answered->question, id);
  EXPECT_TRUE(answered->expired);
  EXPECT_EQ(mesh.loop->gauges().unanswered, 0U);
}

// In DEGRADED_MODERATE what is below high priority waits for a better mode; its time goes on.
TEST(EngineLoopExpiry, WhatWaitsForABetterModeIsReportedOnceItsTimeIsOver) {
  LoopOptions options;
  options.upkeep = Nanos{10 * kMs};
  options.watch.modes = {.enter_after = Nanos{30 * kMs}, .leave_after = Nanos{100 * kMs}};
  LoopFixture mesh(600, 10, options);
  for (std::uint16_t number = 1; number <= 10; ++number)
    mesh.add(number, 30, "s" + std::to_string(number));
  mesh.run(100 * kMs, kMs);
  constexpr auto kLost = std::to_array<std::uint16_t>({1, 3, 5});
  for (const std::uint16_t number : kLost) mesh.lose(number);
  mesh.run(80 * kMs, kMs);
  const auto post = [&](std::int64_t ttl_ms) {
    must(mesh.loop->post({.target = mesh.ids[4][0], .ttl = Nanos{ttl_ms * kMs}, .body = bytes("?")},
                         from_ns(mesh.now_ns)));
  };
  post(50);
  post(0);
  ASSERT_EQ(mesh.loop->counters().mode_queued, 2U);
  mesh.run(250 * kMs, kMs);
  const auto answered = mesh.loop->take_answered();
  ASSERT_TRUE(answered);
  EXPECT_TRUE(answered->expired);
  EXPECT_EQ(mesh.loop->counters().expired, 1U);
  EXPECT_EQ(mesh.loop->gauges().unanswered, 1U);
  EXPECT_TRUE(mesh.loop->verify());
  for (const std::uint16_t number : kLost) mesh.add(number, 30, "s" + std::to_string(number));
  mesh.run(500 * kMs, kMs);
  for (const auto& station : mesh.stations) {
    if (station->number == StationId{4}) {
      EXPECT_EQ(station->poll().size(), 1U);
    }
  }
  EXPECT_FALSE(mesh.loop->take_answered());
}

// What is past takes no room from what is not.
TEST(EngineLoopExpiry, WhatIsPastLeavesItsPlaceToOthers) {
  Pair mesh;
  mesh.lose(2);
  constexpr std::size_t kMessages = 1'100;  // one agent has kHeldPerAgent places
  const auto refused_of_all = [&](std::uint32_t ttl_ms) {
    std::size_t refused = 0;
    for (std::size_t i = 0; i < kMessages; ++i) {
      sched::SendRecord record =
          RawStation::bare(mesh.ids[1][0], mesh.ids[2][0], bytes("x"), mesh.now_ns);
      record.ttl_ms = ttl_ms;
      EXPECT_TRUE(mesh.alice.put(record));
      mesh.tick();
      refused += mesh.alice.poll().size();
    }
    return refused;
  };
  const std::size_t refused = refused_of_all(20);
  ASSERT_GE(refused, kMessages - kHeldPerAgent);
  std::size_t told = 0;
  mesh.run(1'200 * kMs, kMs, [&] { told += mesh.alice.poll().size(); });
  EXPECT_EQ(told, kMessages - refused);
  EXPECT_EQ(refused_of_all(3'600'000), refused) << "there is as much room as before";
  EXPECT_TRUE(mesh.loop->verify());
}

// Whatever becomes of its target: each message is read by it, or reported as expired, never both
// and never neither.
class Comings : public LoopFixture {
 public:
  explicit Comings(std::uint64_t seed) : LoopFixture(10, 3), random_(seed) {
    alice_ = &add(1, 1, "alice", sched::AgentClass::edge);
    come();
  }
  void step() {
    switch (random_() % 8) {
      case 0:
        return is_here() ? go() : come();
      case 1:
        return freeze(random_() % 2 == 0);
      default:
        send();
    }
    const auto ms = static_cast<std::int64_t>(random_() % 40);
    run(ms * kMs, 5 * kMs, [&] { read(); });
  }
  void settle() {
    freeze(false);
    if (!is_here()) come();
    run(2'500 * kMs, 5 * kMs, [&] { read(); });
  }
  [[nodiscard]] std::size_t sent() const { return sent_; }
  std::set<std::uint64_t> got;
  std::set<std::uint64_t> expired;

 private:
  [[nodiscard]] bool is_here() const { return stations.size() == 2; }
  void come() { add(++last_, 1, "bob", sched::AgentClass::gpu); }
  void go() { lose(last_, Departure::left); }  // lost so often its breaker would open
  void freeze(bool on) {
    const auto gpu = static_cast<std::uint32_t>(sched::AgentClass::gpu);
    must(loop->freeze(sched::selector(sched::SelectorKind::agent_class, gpu), on, from_ns(now_ns)));
  }
  void send() {
    constexpr std::uint32_t kTtls[] = {0, 5, 60, 400, 2'000};
    sched::SendRecord record =
        RawStation::bare(ids[1][0], ids[last_][0], std::as_bytes(std::span(&sent_, 1)), now_ns);
    record.ttl_ms = kTtls[random_() % std::size(kTtls)];
    ASSERT_TRUE(alice_->put(record));
    ++sent_;  // as many as its outbox has had: its place there names it in a report
  }
  void read() {
    for (const auto& told : alice_->poll()) {
      if (told.kind != RecordKind::report) continue;
      ASSERT_EQ(code_of(told), Errc::expired);
      const sched::BareBody bare = sched::bare_body(told);
      expired.insert(
          as<sched::ReportBody>({reinterpret_cast<const char*>(bare.bytes), 16}).outbox_position);
    }
    if (!is_here()) return;
    RawStation& bob = *stations.back();
    for (const auto& delivery : bob.poll()) {
      got.insert(as<std::uint64_t>(bob.read(delivery).body));
      ASSERT_TRUE(bob.answer(delivery, TrinaryState::ready, now_ns));
    }
  }

  std::mt19937_64 random_;
  RawStation* alice_ = nullptr;
  std::uint16_t last_ = 1;
  std::uint64_t sent_ = 0;
};

TEST(EngineLoopExpiry, EachMessageIsReadOrReportedWhateverBecomesOfItsTarget) {
  Comings mesh(testing::seed());
  for (int i = 0; i < 600; ++i) {
    mesh.step();
    if (i % 20 == 0) {
      ASSERT_TRUE(mesh.loop->verify()) << i;
    }
  }
  mesh.settle();
  EXPECT_TRUE(mesh.loop->verify());
  std::set<std::uint64_t> all = mesh.got;
  all.insert(mesh.expired.begin(), mesh.expired.end());
  EXPECT_EQ(mesh.got.size() + mesh.expired.size(), all.size()) << "none is both";
  EXPECT_EQ(all.size(), mesh.sent()) << "none is neither";
  EXPECT_FALSE(mesh.got.empty());
  EXPECT_FALSE(mesh.expired.empty());
  EXPECT_EQ(mesh.loop->gauges().unanswered, 0U);
}

}  // namespace of_engine_loop_expiry_test
}  // namespace mesh::engine
