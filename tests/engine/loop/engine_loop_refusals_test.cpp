// Bad inputs (reliability.md part 7) as a station or an embedding program gives them to the loop:
// numbers that no sum survives, lists that name nobody or everybody twice, clocks that go back.
#include <limits>

#include "engine/loop/engine_loop.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace of_engine_loop_refusals_test {

constexpr float kLargest = std::numeric_limits<float>::max();

// A message with a header of its own, which RawStation::send() has none of.
bool send_with(RawStation& station, const RawStation::Message& message,
               const std::function<void(sched::MessageHeader&)>& change) {
  sched::MessageHeader header{};
  header.body_bytes = static_cast<std::uint32_t>(message.body.size());
  header.set_weight(1);
  header.verb = sched::Verb::act;
  header.strategy = message.strategy;
  header.priority = message.priority;
  change(header);
  const std::array<std::span<const std::byte>, 2> parts{std::as_bytes(std::span(&header, 1)),
                                                        message.body};
  const auto appended = station.sent_bodies.append(parts);
  if (appended.status != queues::AppendStatus::kOk) return false;
  sched::SendRecord record{};
  record.source = message.source;
  record.target = message.target;
  record.created_ns = message.created_ns;
  record.arrive_ns = message.arrive_ns;
  record.body_offset = static_cast<std::uint32_t>(appended.position);
  record.body_bytes = header.body_bytes;
  record.verb_and_priority = sched::verb_and_priority(sched::Verb::act, message.priority);
  record.kind = sched::RecordKind::send;
  if (message.is_selector) record.flags = sched::RecordFlags::selector;
  return station.put(record);
}

// What one report says.
Errc told(RawStation& station) {
  const auto reports = station.poll();
  return reports.size() == 1 && reports[0].kind == RecordKind::report ? code_of(reports[0])
                                                                      : Errc::ok;
}

// Numbers.

TEST(EngineLoopRefusals, TimesThatNoSumSurvivesAreRefused) {
  Pair mesh;
  const HostTime now = from_ns(mesh.now_ns);
  for (const Nanos bad : {Nanos{-1}, Nanos::min(), Nanos::max()}) {
    for (const OperationRequest& wrong :
         {OperationRequest{.horizon = bad}, OperationRequest{.window = bad},
          OperationRequest{.timeout = bad}, OperationRequest{.ttl = bad}}) {
      const auto refused = mesh.loop->open(wrong, now);
      ASSERT_FALSE(refused) << bad.count();
      EXPECT_EQ(refused.error().code, Errc::invalid_argument) << bad.count();
    }
    const auto message = mesh.loop->post({.target = mesh.ids[2][0], .ttl = bad}, now);
    ASSERT_FALSE(message) << bad.count();
    EXPECT_EQ(message.error().code, Errc::invalid_argument);
  }
  EXPECT_EQ(mesh.loop->open({.target = HostTime::min()}, now).error().code, Errc::invalid_argument);
  EXPECT_EQ(mesh.loop->open({.target = HostTime::max()}, now).error().code, Errc::capacity);
  EXPECT_EQ(mesh.loop->gauges().operations, 0U);
  EXPECT_EQ(mesh.loop->gauges().unanswered, 0U);
}

TEST(EngineLoopRefusals, ATargetTimeThatIsOverReachesNobody) {
  Pair mesh;
  must(mesh.loop->open({.target = from_ns(mesh.now_ns - kMs)}, from_ns(mesh.now_ns)));
  mesh.tick();
  const auto finished = mesh.loop->take_finished();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->result.judgement.verdict, sched::GatherVerdict::kNoSchedulableAgents);
  EXPECT_EQ(finished->result.counts.skipped.insufficient_lead_time, 3U);
  EXPECT_TRUE(mesh.bob.poll().empty());
}

// Its lead is more than 64 bits of nanoseconds hold: it leaves at once, and says as much.
TEST(EngineLoopRefusals, AMessageOfAnyFiniteWeightLeavesAtOnceWhereItsLeadIsBeyondT) {
  for (const float weight : {1e9F, 1e30F, kLargest}) {
    Pair mesh;
    RawStation::Message heavy = mesh.message("heavy");
    heavy.arrive_ns = mesh.now_ns + 200 * kMs;
    ASSERT_TRUE(send_with(mesh.alice, heavy,
                          [&](sched::MessageHeader& header) { header.set_weight(weight); }));
    mesh.tick();
    const auto got = mesh.bob.poll();
    ASSERT_EQ(got.size(), 1U) << weight;
    EXPECT_EQ(got[0].arrive_ns, heavy.arrive_ns);
    EXPECT_EQ(got[0].lead_us, std::numeric_limits<std::uint32_t>::max());
    EXPECT_TRUE(mesh.loop->verify());
  }
}

TEST(EngineLoopRefusals, AWeightThatIsNoAmountIsRefusedAndToldToItsSender) {
  for (const float weight :
       {-1.0F, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Pair mesh;
    for (const bool is_operation : {false, true}) {
      RawStation::Message message = is_operation ? to_all(mesh) : mesh.message();
      ASSERT_TRUE(send_with(mesh.alice, message,
                            [&](sched::MessageHeader& header) { header.set_weight(weight); }));
      mesh.tick();
      EXPECT_EQ(told(mesh.alice), Errc::corrupt) << weight;
    }
    EXPECT_TRUE(mesh.bob.poll().empty());
  }
}

TEST(EngineLoopRefusals, AnOperationHeavierThanAnyIsRefused) {
  Pair mesh;
  ASSERT_TRUE(send_with(mesh.alice, to_all(mesh),
                        [](sched::MessageHeader& header) { header.set_weight(kLargest); }));
  mesh.tick();
  EXPECT_EQ(told(mesh.alice), Errc::invalid_argument);
}

// Lists.

TEST(EngineLoopRefusals, AListOfNobodyIsNobody) {
  Pair mesh;
  const auto refused = mesh.loop->open({.targets = sched::selector(sched::SelectorKind::list)},
                                       from_ns(mesh.now_ns));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::no_such_agent);
}

TEST(EngineLoopRefusals, AListLongerThanAnyMeshNamesWhoIsThereOnce) {
  Pair mesh;
  const std::vector<AgentId> list(30'001, mesh.ids[2][0]);
  must(mesh.loop->open({.targets = sched::selector(sched::SelectorKind::list, 30'001),
                        .list = list,
                        .at_once = true},
                       from_ns(mesh.now_ns)));
  mesh.tick();
  mesh.tick(kMs);
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U);
  ASSERT_TRUE(mesh.bob.answer(got[0], TrinaryState::ready, mesh.now_ns));
  mesh.tick();
  const auto finished = mesh.loop->take_finished();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->result.counts.targeted(), 1U);
  EXPECT_EQ(finished->result.counts.ready, 1U);
}

TEST(EngineLoopRefusals, WhoNamesItselfIsSentToLikeAnybody) {
  Pair mesh;
  const AgentId self = mesh.ids[1][0];
  RawStation::Message list = to_all(mesh);
  list.target = static_cast<std::uint64_t>(sched::selector(sched::SelectorKind::list, 1));
  list.strategy = Strategy::broadcast;
  list.arrive_ns = 0;
  list.body = std::as_bytes(std::span(&self, 1));
  ASSERT_TRUE(mesh.alice.send(list));
  RawStation::Message direct = mesh.message("note to self");
  direct.target = to(self);
  ASSERT_TRUE(mesh.alice.send(direct));
  mesh.tick();
  mesh.tick(kMs);
  std::size_t messages = 0;
  for (const auto& delivery : mesh.alice.poll()) {
    ASSERT_EQ(delivery.kind, RecordKind::message);
    EXPECT_EQ(delivery.target, self);
    ASSERT_TRUE(mesh.alice.answer(delivery, TrinaryState::ready, mesh.now_ns));
    ++messages;
  }
  EXPECT_EQ(messages, 2U);
  mesh.tick();
  std::size_t replies = 0;
  std::size_t results = 0;
  for (const auto& delivery : mesh.alice.poll()) {
    replies += delivery.kind == RecordKind::reply ? 1U : 0U;
    results += delivery.kind == RecordKind::result ? 1U : 0U;
  }
  EXPECT_EQ(replies, 1U);
  EXPECT_EQ(results, 1U);
  EXPECT_TRUE(mesh.loop->verify());
}

// What a station may ask for.

TEST(EngineLoopRefusals, APipelineIsNoScatterGather) {
  Pair mesh;
  RawStation::Message steps = to_all(mesh);
  steps.strategy = Strategy::pipeline;
  for (const std::int64_t arrive_ns : {std::int64_t{0}, mesh.now_ns + 500 * kMs}) {
    steps.arrive_ns = arrive_ns;
    ASSERT_TRUE(mesh.alice.send(steps));
    mesh.tick();
    EXPECT_EQ(told(mesh.alice), Errc::unsupported);
  }
  mesh.run(1'000 * kMs, kMs);
  EXPECT_TRUE(mesh.bob.poll().empty());
}

// mesh.md part 7: T = now + window unless given, and the window is 500 ms.
TEST(EngineLoopRefusals, AScatterGatherWithoutATIsForAWindowFromNow) {
  Pair mesh;
  RawStation::Message all = to_all(mesh);
  all.arrive_ns = 0;
  const std::int64_t start = mesh.now_ns;
  ASSERT_TRUE(mesh.alice.send(all));
  std::size_t got = 0;
  mesh.run(600 * kMs, kMs, [&] {
    for (const auto& delivery : mesh.bob.poll()) {
      EXPECT_EQ(delivery.arrive_ns - start, 501 * kMs) << "it was taken in by the first tick";
      ++got;
    }
  });
  EXPECT_EQ(got, 2U);
}

// Compensation travels with each delivery that has a T: mesh.md part 5's numbers of class A.
TEST(EngineLoopRefusals, ADirectMessageWithATSaysItsCompensation) {
  Pair mesh;
  const auto table = must(table_layout(mesh.size));
  const auto confidence = must(table.column<std::uint16_t>(mesh.table.span(), "agent.confidence"));
  const auto row = static_cast<std::uint32_t>(index_of(mesh.ids[2][0]));
  mesh.run(1'100 * kMs, kMs);
  // With time to wait, and without: one leaves early, the other at once.
  for (const std::int64_t ahead_ns : {200 * kMs, 5 * kMs}) {
    RawStation::Message timed = mesh.message("at T");
    timed.arrive_ns = mesh.now_ns + ahead_ns;
    ASSERT_TRUE(mesh.alice.send(timed));
    std::vector<sched::DeliveryRecord> got;
    mesh.run(250 * kMs, kMs, [&] {
      for (const auto& delivery : mesh.bob.poll()) got.push_back(delivery);
    });
    ASSERT_EQ(got.size(), 1U);
    EXPECT_EQ(got[0].arrive_ns, timed.arrive_ns);
    EXPECT_EQ(got[0].expected_us, 15'000U) << "10 * (1 + 0.5)";
    EXPECT_EQ(got[0].lead_us, 24'454U) << "12 / 2 + 15 + 1.645 * 0.1 * 21";
    EXPECT_NE(got[0].confidence, 0U);
    EXPECT_EQ(got[0].confidence, confidence.load_relaxed(row));
    ASSERT_TRUE(mesh.bob.answer(got[0], TrinaryState::ready, mesh.now_ns));
    mesh.tick();
    mesh.alice.poll();
    if (ahead_ns > 100 * kMs) continue;
    ASSERT_TRUE(mesh.alice.send(mesh.message("now")));
    mesh.tick();
    const auto at_once = mesh.bob.poll();
    ASSERT_EQ(at_once.size(), 1U);
    EXPECT_EQ(at_once[0].lead_us, 0U) << "there is no T";
    EXPECT_EQ(at_once[0].expected_us, 0U);
    EXPECT_EQ(at_once[0].confidence, 0U);
  }
}

// Clocks.

TEST(EngineLoopRefusals, ATimeThatGoesBackIsTheLastOne) {
  Pair mesh;
  must(mesh.loop->open({.horizon = Nanos{100 * kMs}}, from_ns(mesh.now_ns)));
  const std::int64_t target = mesh.now_ns + 100 * kMs;
  std::size_t got = 0;
  mesh.run(700 * kMs, kMs, [&] {
    for (const auto& delivery : mesh.bob.poll()) {
      ++got;
      EXPECT_EQ(delivery.arrive_ns, target);
      EXPECT_NEAR(static_cast<double>(target - delivery.sent_ns), 24.4545e6, 2e6);
      ASSERT_TRUE(mesh.bob.answer(delivery, TrinaryState::ready, mesh.now_ns));
    }
    mesh.loop->tick(from_ns(mesh.now_ns - 3'600 * kNsPerSecond));
    mesh.loop->tick(from_ns(0));
  });
  EXPECT_EQ(got, 2U);
  const auto finished = mesh.loop->take_finished();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->result.counts.ready, 2U);
  EXPECT_TRUE(mesh.loop->verify());
}

// An answer's times are its station's word: what took less than nothing took nothing.
TEST(EngineLoopRefusals, AnAnswerFromBeforeItWasSentOrFromNextYearIsWithinWhatIsKnown) {
  for (const std::int64_t off_ns :
       {-365 * 86'400 * kNsPerSecond / 1'000, 365 * 86'400 * kNsPerSecond}) {
    Pair mesh;
    must(mesh.loop->open({.horizon = Nanos{100 * kMs}}, from_ns(mesh.now_ns)));
    mesh.run(700 * kMs, kMs, [&] {
      for (const auto& delivery : mesh.bob.poll())
        ASSERT_TRUE(mesh.bob.answer(delivery, TrinaryState::ready,
                                    std::max<std::int64_t>(mesh.now_ns + off_ns, 0)));
    });
    const auto finished = mesh.loop->take_finished();
    ASSERT_TRUE(finished);
    EXPECT_EQ(finished->result.counts.ready, 2U);
    EXPECT_LE(finished->result.errors.p99_ns, 26 * kMs)
        << "no further from T than when it was sent";
  }
}

}  // namespace of_engine_loop_refusals_test
}  // namespace mesh::engine
