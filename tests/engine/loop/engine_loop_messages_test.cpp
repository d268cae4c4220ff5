// Direct messages and the operations of stations, on virtual time: what becomes of them when their
// target is slow, away, dead, or lacks something.
#include <algorithm>

#include "engine/loop/engine_loop.hpp"
#include "tests/allocations.hpp"
#include "tests/engine/loop/loop_fixture.hpp"

namespace mesh::engine {
namespace {

using sched::Priority;
using sched::RecordKind;
using sched::Strategy;
using sched::TrinaryState;
using testing::LoopFixture;
using testing::must;
using testing::RawStation;

constexpr std::int64_t kMs = kNsPerMs;

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
std::uint64_t to(AgentId id) { return static_cast<std::uint64_t>(id); }

template <class T>
T as(std::string_view body) {
  T value{};
  EXPECT_GE(body.size(), sizeof value);
  std::memcpy(&value, body.data(), std::min(body.size(), sizeof value));
  return value;
}
Errc code_of(const sched::DeliveryRecord& report) {
  const sched::BareBody bare = sched::bare_body(report);
  return static_cast<Errc>(
      as<sched::ReportBody>({reinterpret_cast<const char*>(bare.bytes), bare.size_bytes}).code);
}

// alice on station 1, bob and carol on station 2.
struct Pair : LoopFixture {
  explicit Pair(const LoopOptions& loop_options = {})
      : LoopFixture(10, 3, loop_options), alice(add(1, 1, "alice")), bob(add(2, 2, "bob")) {}
  RawStation::Message message(std::string_view body = "hello") {
    return {
        .source = ids[1][0], .target = to(ids[2][0]), .created_ns = now_ns, .body = bytes(body)};
  }
  RawStation& alice;
  RawStation& bob;
};

// Answers.

TEST(EngineLoopMessages, AnAnswersBodyComesBackInTheReplyWithWhatItAnswers) {
  Pair mesh;
  RawStation::Message question = mesh.message("how many?");
  question.correlation = {7, 8};
  ASSERT_TRUE(mesh.alice.send(question));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U);
  const auto asked = mesh.bob.read(got[0]);
  EXPECT_EQ(asked.body, "how many?");
  ASSERT_TRUE(mesh.bob.answer_with(got[0], bytes("forty-two"), mesh.now_ns + kMs));
  mesh.tick(2 * kMs);
  const auto back = mesh.alice.poll();
  ASSERT_EQ(back.size(), 1U);
  const auto reply = mesh.alice.read(back[0]);
  ASSERT_TRUE(reply.is_there);
  EXPECT_EQ(back[0].kind, RecordKind::reply);
  EXPECT_EQ(reply.header.source, mesh.ids[2][0]);
  EXPECT_EQ(reply.header.causation, asked.header.id);
  EXPECT_EQ(reply.header.correlation, (sched::MessageId{7, 8}));
  EXPECT_EQ(as<sched::ReplyHead>(reply.body).state, TrinaryState::ready);
  EXPECT_EQ(reply.body.substr(sizeof(sched::ReplyHead)), "forty-two");
}

TEST(EngineLoopMessages, AReplyWithoutACorrelationOfItsOwnNamesTheQuestion) {
  Pair mesh;
  ASSERT_TRUE(mesh.alice.send(mesh.message()));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U);
  const sched::MessageId id = mesh.bob.read(got[0]).header.id;
  ASSERT_TRUE(mesh.bob.answer(got[0], TrinaryState::conflict, mesh.now_ns));
  mesh.tick();
  const auto back = mesh.alice.poll();
  ASSERT_EQ(back.size(), 1U);
  const auto reply = mesh.alice.read(back[0]);
  EXPECT_EQ(reply.header.correlation, id);
  EXPECT_EQ(as<sched::ReplyHead>(reply.body).state, TrinaryState::conflict);
  EXPECT_EQ(as<sched::ReplyHead>(reply.body).conflict_type,
            sched::ConflictType::data_contradiction);
}

TEST(EngineLoopMessages, ASecondAnswerChangesNothing) {
  Pair mesh;
  ASSERT_TRUE(mesh.alice.send(mesh.message()));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_TRUE(mesh.bob.answer(got[0], TrinaryState::ready, mesh.now_ns));
  ASSERT_TRUE(mesh.bob.answer(got[0], TrinaryState::conflict, mesh.now_ns));
  mesh.tick();
  ASSERT_TRUE(mesh.bob.answer(got[0], TrinaryState::ready, mesh.now_ns));
  mesh.tick();
  EXPECT_EQ(mesh.alice.poll().size(), 1U);
  EXPECT_EQ(mesh.loop->counters().duplicates, 2U);
  EXPECT_EQ(mesh.loop->gauges().unanswered, 0U);
}

TEST(EngineLoopMessages, TheEnginesOwnQuestionGetsItsAnswerByTakeAnswered) {
  Pair mesh;
  const auto id =
      must(mesh.loop->post({.target = mesh.ids[2][1], .body = bytes("?")}, from_ns(mesh.now_ns)));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].target, mesh.ids[2][1]);
  EXPECT_FALSE(mesh.loop->take_answered());
  ASSERT_TRUE(mesh.bob.answer_with(got[0], bytes("!"), mesh.now_ns));
  mesh.tick();
  const auto answered = mesh.loop->take_answered();
  ASSERT_TRUE(answered);
  EXPECT_EQ(answered->question, id);
  EXPECT_EQ(answered->agent, mesh.ids[2][1]);
  EXPECT_EQ(answered->state, TrinaryState::ready);
  ASSERT_EQ(answered->body.size(), 1U);
  EXPECT_EQ(answered->body[0], std::byte{'!'});
  EXPECT_FALSE(mesh.loop->take_answered());
}

// A target that is away.

TEST(EngineLoopMessages, WhatWasDeliveredAndNotAnsweredWaitsForItsAgentsReturn) {
  Pair mesh;
  for (const char* const text : {"one", "two", "three"})
    ASSERT_TRUE(mesh.alice.send(mesh.message(text)));
  mesh.tick();
  auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 3U);
  ASSERT_TRUE(mesh.bob.answer(got[1], TrinaryState::ready, mesh.now_ns));
  mesh.lose(2);
  mesh.tick();
  EXPECT_EQ(mesh.alice.poll().size(), 1U) << "what it had answered before it died counts";
  EXPECT_EQ(mesh.loop->gauges().unanswered, 2U);
  RawStation& again = mesh.add(3, 2, "bob");
  EXPECT_EQ(mesh.ids[3], mesh.ids[2]) << "the same rows and generations";
  mesh.tick();
  got = again.poll();
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(again.read(got[0]).body, "one");
  EXPECT_EQ(again.read(got[1]).body, "three");
  for (const auto& delivery : got) {
    EXPECT_TRUE(sched::has(delivery.flags, sched::RecordFlags::redelivered));
    ASSERT_TRUE(again.answer(delivery, TrinaryState::ready, mesh.now_ns));
  }
  mesh.tick();
  EXPECT_EQ(mesh.alice.poll().size(), 2U);
  EXPECT_EQ(mesh.loop->gauges().unanswered, 0U);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopMessages, WhatIsSentToAnAgentThatIsAwayIsKeptInItsOrder) {
  Pair mesh;
  ASSERT_TRUE(mesh.alice.send(mesh.message("before")));
  mesh.tick();
  mesh.lose(2);
  for (const char* const text : {"a", "b", "c"}) {
    ASSERT_TRUE(mesh.alice.send(mesh.message(text)));
    mesh.tick();
  }
  EXPECT_TRUE(mesh.alice.poll().empty()) << "nobody is told anything: it may come back";
  RawStation& again = mesh.add(3, 2, "bob");
  mesh.tick();
  std::string order;
  for (const auto& delivery : again.poll()) order += again.read(delivery).body + " ";
  EXPECT_EQ(order, "before a b c ");
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopMessages, OnlySoManyAreKeptForOneAgent) {
  Pair mesh;
  mesh.lose(2);
  for (int i = 0; i < 1'100; ++i) {
    ASSERT_TRUE(mesh.alice.send_bare(mesh.ids[1][0], mesh.ids[2][0], bytes("x"), mesh.now_ns));
    mesh.tick();
  }
  std::size_t refused = 0;
  for (const auto& report : mesh.alice.poll())
    refused += report.kind == RecordKind::report && code_of(report) == Errc::target_full ? 1U : 0U;
  EXPECT_EQ(refused, 1'100U - 1'024U);
}

TEST(EngineLoopMessages, AnAgentAwayForItsTtlIsForgottenAndItsSendersAreTold) {
  Pair mesh({.agent_ttl = Nanos{5 * kNsPerSecond}});
  mesh.lose(2);
  ASSERT_TRUE(mesh.alice.send(mesh.message()));
  mesh.run(4 * kNsPerSecond, 10 * kMs);
  EXPECT_TRUE(mesh.alice.poll().empty());
  mesh.run(4 * kNsPerSecond, 10 * kMs);
  const auto told = mesh.alice.poll();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(code_of(told[0]), Errc::no_such_agent);
  EXPECT_EQ(mesh.loop->agents_enrolled(), 1U);
  EXPECT_EQ(mesh.loop->gauges().unanswered, 0U);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopMessages, AReplyThatNobodyReadWaitsForWhoAsked) {
  Pair mesh;
  ASSERT_TRUE(mesh.alice.send(mesh.message()));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_TRUE(mesh.bob.answer_with(got[0], bytes("late"), mesh.now_ns));
  mesh.tick();  // in alice's inbox, unread
  mesh.lose(1);
  RawStation& again = mesh.add(3, 1, "alice");
  mesh.tick();
  const auto back = again.poll();
  ASSERT_EQ(back.size(), 1U);
  EXPECT_EQ(back[0].kind, RecordKind::reply);
  EXPECT_EQ(again.read(back[0]).body.substr(sizeof(sched::ReplyHead)), "late");
  mesh.tick();
  EXPECT_EQ(mesh.loop->gauges().unanswered, 0U);
  EXPECT_TRUE(mesh.loop->verify());
}

// Limits on a message.

TEST(EngineLoopMessages, AMessagePastItsTimeWhileItWaitedIsDroppedAndReported) {
  Pair mesh;
  mesh.lose(2);
  RawStation::Message brief = mesh.message("brief");
  brief.ttl_ms = 50;
  ASSERT_TRUE(mesh.alice.send(brief));
  ASSERT_TRUE(mesh.alice.send(mesh.message("lasting")));
  mesh.run(100 * kMs, kMs);
  RawStation& again = mesh.add(3, 2, "bob");
  mesh.tick();
  const auto got = again.poll();
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(again.read(got[0]).body, "lasting");
  const auto told = mesh.alice.poll();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(code_of(told[0]), Errc::expired);
  EXPECT_EQ(mesh.loop->counters().expired, 1U);
}

TEST(EngineLoopMessages, OneThatItsStationFoundExpiredIsReportedToo) {
  Pair mesh;
  RawStation::Message brief = mesh.message();
  brief.ttl_ms = 50;
  ASSERT_TRUE(mesh.alice.send(brief));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U);
  sched::AnswerRecord refusal{};
  refusal.message = got[0].message;
  refusal.agent = got[0].target;
  refusal.kind = RecordKind::refusal;
  ASSERT_TRUE(mesh.bob.put(refusal));
  mesh.tick(60 * kMs);
  const auto told = mesh.alice.poll();
  ASSERT_EQ(told.size(), 1U);
  ASSERT_EQ(told[0].kind, RecordKind::report);
  EXPECT_EQ(code_of(told[0]), Errc::expired);
}

TEST(EngineLoopMessages, ATargetThatLacksACapabilityGetsNothingAndItsSenderIsTold) {
  Pair mesh;
  const auto vision = static_cast<std::uint8_t>(must(mesh.loop->capability("vision")));
  RawStation& seeing = mesh.add(3, 1, "seeing");
  CapabilitySet can;
  can.insert(CapabilityBit{vision});
  const AgentSpec spec{"seeing-0", sched::AgentClass::edge, can};
  must(mesh.loop->enrol(StationId{3}, std::span(&spec, 1)));
  RawStation::Message needs = mesh.message("look");
  needs.capabilities = {vision};
  ASSERT_TRUE(mesh.alice.send(needs));
  needs.target = to(mesh.ids[3][0]);
  ASSERT_TRUE(mesh.alice.send(needs));
  mesh.tick();
  EXPECT_TRUE(mesh.bob.poll().empty());
  EXPECT_EQ(seeing.poll().size(), 1U);
  const auto told = mesh.alice.poll();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(code_of(told[0]), Errc::capability_mismatch);
}

TEST(EngineLoopMessages, ACriticalMessageWaitsBehindAQuarterOfTheInboxOnly) {
  Pair mesh;
  for (int i = 0; i < 600; ++i)
    ASSERT_TRUE(mesh.alice.send_bare(mesh.ids[1][0], mesh.ids[2][0], bytes("bulk"), mesh.now_ns));
  for (int i = 0; i < 4; ++i) mesh.tick(kMs);
  RawStation::Message critical = mesh.message("now!");
  critical.priority = Priority::critical;
  ASSERT_TRUE(mesh.alice.send(critical));
  mesh.tick(kMs);
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1'024U / 4 + 1);
  EXPECT_EQ(mesh.bob.read(got.back()).body, "now!");
  std::size_t rest = 0;
  for (int i = 0; i < 10; ++i) {
    mesh.tick(kMs);
    rest += mesh.bob.poll().size();
  }
  EXPECT_EQ(rest, 600U - 256U);
}

TEST(EngineLoopMessages, OneWithATimeLeavesEarlyByItsTargetsLead) {
  Pair mesh;
  RawStation::Message timed = mesh.message("at T");
  timed.arrive_ns = mesh.now_ns + 200 * kMs;
  ASSERT_TRUE(mesh.alice.send(timed));
  ASSERT_TRUE(mesh.alice.send(mesh.message("at once")));
  std::vector<std::pair<std::string, std::int64_t>> arrivals;
  const std::int64_t start = mesh.now_ns;
  mesh.run(250 * kMs, kMs, [&] {
    for (const auto& delivery : mesh.bob.poll()) {
      arrivals.emplace_back(mesh.bob.read(delivery).body, delivery.sent_ns - start);
      if (arrivals.back().first == "at T") {
        EXPECT_EQ(delivery.arrive_ns, timed.arrive_ns);
      }
    }
  });
  ASSERT_EQ(arrivals.size(), 2U);
  EXPECT_EQ(arrivals[0].first, "at once");
  EXPECT_EQ(arrivals[1].first, "at T");
  // Class A without history: 12 / 2 + 15 and the buffer, 24.5 ms.
  EXPECT_NEAR(static_cast<double>(arrivals[1].second), 200e6 - 24.5e6, 2e6);
}

// Operations of stations.

RawStation::Message to_all(LoopFixture& mesh, std::string_view body = "all") {
  return {.source = mesh.ids[1][0],
          .target = static_cast<std::uint64_t>(sched::selector(sched::SelectorKind::all)),
          .is_selector = true,
          .strategy = Strategy::scatter_gather,
          .created_ns = mesh.now_ns,
          .arrive_ns = mesh.now_ns + 500 * kMs,
          .body = bytes(body)};
}

TEST(EngineLoopMessages, AnAgentsScatterGatherReachesAllAndItsResultComesBack) {
  Pair mesh;
  ASSERT_TRUE(mesh.alice.send(to_all(mesh)));
  std::optional<sched::ResultBody> result;
  std::size_t targets = 0;
  mesh.run(1'200 * kMs, kMs, [&] {
    for (auto& station : mesh.stations)
      for (const auto& delivery : station->poll()) {
        if (delivery.kind == RecordKind::result) {
          ASSERT_FALSE(result) << "it is told once";
          result = as<sched::ResultBody>(station->read(delivery).body);
          continue;
        }
        ++targets;
        station->answer(delivery, TrinaryState::ready, mesh.now_ns);
      }
  });
  ASSERT_TRUE(result);
  EXPECT_EQ(targets, 3U);
  EXPECT_EQ(result->targeted, 3U);
  EXPECT_EQ(result->ready, 3U);
  EXPECT_EQ(result->verdict, static_cast<std::uint8_t>(sched::GatherVerdict::kSuccess));
  EXPECT_FALSE(mesh.loop->take_finished()) << "it is not the engine's own";
}

TEST(EngineLoopMessages, ABroadcastGoesToEverybodyAtOnceAlsoToTheSlow) {
  LoopFixture mesh(10, 2);
  mesh.add(1, 1, "alice");
  RawStation& people = mesh.add(2, 3, "person", sched::AgentClass::human);
  RawStation::Message news = to_all(mesh, "news");
  news.strategy = Strategy::broadcast;
  news.arrive_ns = 0;
  ASSERT_TRUE(mesh.stations[0]->send(news));
  mesh.tick();
  mesh.tick(kMs);
  const auto got = people.poll();
  ASSERT_EQ(got.size(), 3U);
  EXPECT_EQ(got[0].arrive_ns, 0);
}

TEST(EngineLoopMessages, AListNamesItsTargetsAndIsNoPartOfTheBody) {
  Pair mesh;
  struct {
    AgentId handles[3];
    char text[4];
  } body{{mesh.ids[2][1], mesh.ids[2][1], agent_id(AgentIndex{9}, Generation{3})},
         {'l', 'i', 's', 't'}};
  RawStation::Message some = to_all(mesh);
  some.target = static_cast<std::uint64_t>(sched::selector(sched::SelectorKind::list, 3));
  some.arrive_ns = 0;
  some.strategy = Strategy::broadcast;
  const auto* const first = reinterpret_cast<const std::byte*>(&body);
  some.body = {first, 3 * sizeof(AgentId) + 4};
  ASSERT_TRUE(mesh.alice.send(some));
  mesh.tick();
  mesh.tick(kMs);
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U) << "named twice is sent once; nobody is nobody";
  EXPECT_EQ(got[0].target, mesh.ids[2][1]);
  EXPECT_EQ(got[0].body_bytes, 4U);
}

TEST(EngineLoopMessages, AConfidentialOperationNeverStandsInTheCommonLog) {
  Pair mesh;
  RawStation::Message secret = to_all(mesh, "secret");
  secret.confidential = true;
  ASSERT_TRUE(mesh.alice.send(secret));
  std::size_t got = 0;
  mesh.run(600 * kMs, kMs, [&] {
    for (auto& station : mesh.stations)
      for (const auto& delivery : station->poll()) {
        if (delivery.kind != RecordKind::message) continue;
        ++got;
        EXPECT_FALSE(sched::is_in_payload_log(delivery.message));
        EXPECT_EQ(station->read(delivery).body, "secret");
      }
  });
  EXPECT_EQ(got, 3U);
  EXPECT_EQ(mesh.loop->gauges().payload_used_bytes, 0U);
}

TEST(EngineLoopMessages, AThousandOperationsAreInFlightAtOnceAndTheNextIsRefused) {
  Pair mesh;
  constexpr std::size_t kMost = kMaxOperations - kMaxWideOperations;
  for (std::size_t i = 0; i < kMost; ++i)
    ASSERT_TRUE(mesh.loop->open({}, from_ns(mesh.now_ns))) << i;
  const auto refused = mesh.loop->open({}, from_ns(mesh.now_ns));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::capacity);
  EXPECT_EQ(refused.error().detail, static_cast<std::int64_t>(kMost));
  std::size_t finished = 0;
  mesh.run(2'100 * kMs, kMs, [&] {
    for (auto& station : mesh.stations)
      for (const auto& delivery : station->poll())
        station->answer(delivery, TrinaryState::ready, mesh.now_ns);
    while (mesh.loop->take_finished()) ++finished;
  });
  EXPECT_EQ(finished, kMost);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopMessages, WhatAnOperationSentToAStationThatDiedIsSentAgainOnItsReturn) {
  Pair mesh;
  const auto opened = must(mesh.loop->open({.horizon = Nanos{100 * kMs}}, from_ns(mesh.now_ns)));
  std::size_t before_death = 0;
  mesh.run(150 * kMs, kMs, [&] { before_death += mesh.bob.poll().size(); });
  EXPECT_EQ(before_death, 2U);
  mesh.lose(2);
  mesh.run(1'000 * kMs, kMs);  // it ends by its rules
  const auto finished = mesh.loop->take_finished();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->result.counts.ready, 0U);
  RawStation& again = mesh.add(3, 2, "bob");
  mesh.tick(kMs);
  const auto got = again.poll();
  ASSERT_EQ(got.size(), 2U);
  for (const auto& delivery : got) {
    EXPECT_EQ(delivery.operation, opened);
    EXPECT_TRUE(sched::has(delivery.flags, sched::RecordFlags::redelivered));
    ASSERT_TRUE(again.answer(delivery, TrinaryState::ready, mesh.now_ns));
  }
  mesh.tick(kMs);
  EXPECT_EQ(mesh.loop->counters().answers, 2U);
  EXPECT_EQ(mesh.loop->counters().duplicates, 0U) << "late, and taken";
}

// Room.

TEST(EngineLoopMessages, AStationThatNeverAnswersDoesNotKeepTheCommonLogFull) {
  LoopFixture mesh(10, 2);
  RawStation& silent = mesh.add(1, 2, "silent");
  RawStation& busy = mesh.add(2, 2, "busy");
  const std::vector<std::byte> body(1U << 20, std::byte{7});
  // The log has 8 MiB: many times as much goes through it, none of it ever answered by one station.
  for (int i = 0; i < 64; ++i) {
    const auto opened =
        mesh.loop->open({.horizon = Nanos{50 * kMs}, .body = body}, from_ns(mesh.now_ns));
    ASSERT_TRUE(opened) << i << ": " << opened.error().sentence;
    mesh.run(600 * kMs, kMs, [&] {  // until it is over
      silent.poll();
      for (const auto& delivery : busy.poll())
        busy.answer(delivery, TrinaryState::ready, mesh.now_ns);
    });
  }
  EXPECT_GT(mesh.loop->counters().parked, 0U);
  EXPECT_GT(mesh.loop->counters().given_up, 0U) << "the parked store is bounded too";
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopMessages, ADirectMessageThatIsNotAnsweredOutlivesItsPlaceInTheLog) {
  Pair mesh;
  ASSERT_TRUE(mesh.alice.send(mesh.message("remember me")));
  mesh.tick();
  ASSERT_EQ(mesh.bob.poll().size(), 1U);  // read, never answered
  const std::string filler(20'000, 'x');
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(mesh.alice.send(mesh.message(filler)));
    mesh.tick(kMs);
    for (const auto& delivery : mesh.bob.poll())
      ASSERT_TRUE(mesh.bob.answer(delivery, TrinaryState::ready, mesh.now_ns));
    mesh.tick(kMs);
    mesh.alice.poll();
  }
  EXPECT_EQ(mesh.loop->counters().parked, 1U);
  mesh.lose(2);
  RawStation& again = mesh.add(3, 2, "bob");
  mesh.tick();
  const auto got = again.poll();
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(again.read(got[0]).body, "remember me");
}

TEST(EngineLoopMessages, ABucketLargerThanATicksBoundLeavesInSeveralTicks) {
  LoopFixture mesh(10'000, 1);
  RawStation& station = mesh.add(1, 10'000, "a");
  must(mesh.loop->open({.horizon = Nanos{60 * kMs}}, from_ns(mesh.now_ns)));
  std::size_t most = 0;
  std::size_t got = 0;
  mesh.run(100 * kMs, kMs, [&] {
    const std::size_t now = station.poll().size();
    most = std::max(most, now);
    got += now;
  });
  EXPECT_EQ(got, 10'000U);
  EXPECT_EQ(most, 4'096U);
  EXPECT_EQ(mesh.loop->lateness().count(), 1U);
}

TEST(EngineLoopMessages, NoTickAllocates) {
  Pair mesh;
  const auto work = [&] {
    ASSERT_TRUE(mesh.alice.send(mesh.message("hello")));
    ASSERT_TRUE(mesh.alice.send(to_all(mesh)));
    for (int i = 0; i < 600; ++i) {
      mesh.now_ns += kMs;
      const std::uint64_t allocations = testing::allocation_count();
      mesh.loop->tick(from_ns(mesh.now_ns));
      ASSERT_EQ(testing::allocation_count(), allocations) << "tick " << i;
      for (auto& station : mesh.stations)
        for (const auto& delivery : station->poll())
          if (delivery.kind == RecordKind::message)
            station->answer(delivery, TrinaryState::ready, mesh.now_ns);
    }
  };
  work();
  work();
}

// An engine after another, step by step (engine_loop_restart_test.cpp kills one at random).

TEST(EngineLoopMessages, AnotherEngineKnowsWhatItsPredecessorKnew) {
  Pair mesh;
  ASSERT_TRUE(mesh.alice.send(mesh.message("delivered")));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U);
  const auto opened = must(mesh.loop->open({.horizon = Nanos{300 * kMs}}, from_ns(mesh.now_ns)));
  mesh.restart();
  EXPECT_TRUE(mesh.loop->adoption().adopted);
  EXPECT_EQ(mesh.loop->adoption().agents, 3U);
  EXPECT_EQ(mesh.loop->adoption().operations, 1U);
  EXPECT_EQ(mesh.loop->adoption().messages, 1U);
  EXPECT_TRUE(mesh.loop->awaited().empty());
  EXPECT_EQ(mesh.loop->agents_active(), 3U);
  ASSERT_TRUE(mesh.bob.answer(got[0], TrinaryState::ready, mesh.now_ns));
  std::size_t targets = 0;
  mesh.run(400 * kMs, kMs, [&] {
    for (auto& station : mesh.stations)
      for (const auto& delivery : station->poll()) {
        if (delivery.kind != RecordKind::message) continue;
        EXPECT_EQ(delivery.operation, opened);
        ++targets;
        station->answer(delivery, TrinaryState::ready, mesh.now_ns);
      }
  });
  EXPECT_EQ(targets, 3U);
  const auto finished = mesh.loop->take_finished();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->id, opened);
  EXPECT_EQ(finished->result.counts.ready, 3U);
  EXPECT_EQ(mesh.loop->gauges().unanswered, 0U);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopMessages, OneThatDoesNotComeBackIsGivenUpAndWhatItHadIsKept) {
  Pair mesh;
  ASSERT_TRUE(mesh.alice.send(mesh.message("kept")));
  mesh.tick();
  mesh.loop.reset();
  mesh.loop = mesh.make();
  must(mesh.loop->readopt(StationId{1}, mesh.alice.memory(), 1000));
  ASSERT_EQ(mesh.loop->awaited(), std::vector{StationId{2}});
  EXPECT_EQ(mesh.loop->give_up(StationId{1}, {}, 1, from_ns(mesh.now_ns)).error().code,
            Errc::already_exists);
  must(mesh.loop->give_up(StationId{2}, mesh.bob.in.span(), 2, from_ns(mesh.now_ns)));
  EXPECT_TRUE(mesh.loop->awaited().empty());
  EXPECT_EQ(mesh.loop->agents_active(), 1U);
  std::erase_if(mesh.stations, [](const auto& s) { return s->number == StationId{2}; });
  RawStation& again = mesh.add(3, 2, "bob");
  mesh.tick();
  const auto got = again.poll();
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(again.read(got[0]).body, "kept");
  EXPECT_TRUE(mesh.loop->verify());
}

}  // namespace
}  // namespace mesh::engine
