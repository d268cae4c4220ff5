// The whole loop on virtual time, with stations that are honest, slow, silent, dead or lying.
#include "engine/loop/engine_loop.hpp"

#include <random>

#include "shm/hash.hpp"
#include "tests/engine/loop/loop_fixture.hpp"
#include "tests/seed.hpp"

namespace mesh::engine {
namespace of_engine_loop_test {

using sched::TrinaryState;
using testing::LoopFixture;
using testing::RawStation;

constexpr std::int64_t kMs = kNsPerMs;

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

std::string body_of(const RawStation& station, const sched::DeliveryRecord& delivery) {
  const auto read = station.read(delivery);
  EXPECT_TRUE(read.is_there);
  return read.body;
}

TEST(EngineLoop, RefusesStationsThatTheMeshHasNoNumberFor) {
  LoopFixture mesh(10, 2);
  RawStation station(StationId{1}, 10);
  EXPECT_EQ(mesh.loop->attach(StationId{0}, station.memory(), 0).error().code, Errc::capacity);
  RawStation second(StationId{65'535}, 10);
  RawStation third(StationId{3}, 10);
  ASSERT_TRUE(mesh.loop->attach(StationId{1}, station.memory(), 0));
  ASSERT_TRUE(mesh.loop->attach(StationId{65'535}, second.memory(), 0));
  const Error full = mesh.loop->attach(StationId{3}, third.memory(), 0).error();
  EXPECT_EQ(full.code, Errc::capacity);
  EXPECT_EQ(full.detail, 2) << "as many at once as the mesh has";
  EXPECT_EQ(mesh.loop->attach(StationId{1}, station.memory(), 0).error().code,
            Errc::already_exists);
  EXPECT_EQ(mesh.loop->enrol(StationId{2}, {}).error().code, Errc::not_found);
}

TEST(EngineLoop, RefusesMoreAgentsThanTheStationDeclared) {
  LoopFixture mesh(10, 2);
  mesh.add(1, 2, "a");
  const AgentSpec third{"a-2"};
  EXPECT_EQ(mesh.loop->enrol(StationId{1}, std::span(&third, 1)).error().code, Errc::capacity);
}

TEST(EngineLoop, ADirectMessageArrivesWithItsBodyAndItsAnswerComesBack) {
  LoopFixture mesh(10, 2);
  RawStation& alice = mesh.add(1, 1, "alice");
  RawStation& bob = mesh.add(2, 1, "bob");
  ASSERT_TRUE(alice.send_bare(mesh.ids[1][0], mesh.ids[2][0], bytes("hello"), mesh.now_ns));
  mesh.tick();
  const auto got = bob.poll();
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].target, mesh.ids[2][0]);
  EXPECT_EQ(got[0].kind, sched::RecordKind::message);
  EXPECT_EQ(got[0].body_bytes, 5U);
  EXPECT_EQ(body_of(bob, got[0]), "hello");
  ASSERT_TRUE(bob.answer(got[0], TrinaryState::ready, mesh.now_ns));
  mesh.tick(kMs);
  const auto back = alice.poll();
  ASSERT_EQ(back.size(), 1U);
  EXPECT_EQ(back[0].kind, sched::RecordKind::reply);
  EXPECT_EQ(back[0].target, mesh.ids[1][0]);
  // The reply to a bare message is bare too, and names what it answers.
  ASSERT_TRUE(sched::has(back[0].flags, sched::RecordFlags::bare));
  sched::BareReplyBody reply{};
  const std::string body = body_of(alice, back[0]);
  ASSERT_EQ(body.size(), sizeof reply);
  std::memcpy(&reply, body.data(), sizeof reply);
  EXPECT_EQ(reply.head.state, TrinaryState::ready);
  EXPECT_EQ(reply.question, static_cast<std::uint64_t>(got[0].message));
}

TEST(EngineLoop, KeepsTheOrderOfMessagesBetweenTwoStations) {
  LoopFixture mesh(10, 2);
  RawStation& alice = mesh.add(1, 1, "alice");
  RawStation& bob = mesh.add(2, 1, "bob");
  std::uint64_t sent = 0;
  std::uint64_t got = 0;
  while (sent < 5'000) {
    for (int i = 0; i < 500; ++i, ++sent)
      ASSERT_TRUE(alice.send_bare(mesh.ids[1][0], mesh.ids[2][0],
                                  std::as_bytes(std::span(&sent, 1)), mesh.now_ns));
    // The inbox takes a quarter of its slots at this priority; the rest waits, in order.
    for (int turn = 0; turn < 8; ++turn) {
      mesh.tick(1'000);
      if (turn % 2 == 0) continue;  // it reads now and then
      for (const auto& delivery : bob.poll()) {
        std::uint64_t number = 0;
        const std::string body = body_of(bob, delivery);
        ASSERT_EQ(body.size(), sizeof number);
        std::memcpy(&number, body.data(), sizeof number);
        EXPECT_EQ(number, got++);
        ASSERT_TRUE(bob.answer(delivery, TrinaryState::ready, mesh.now_ns));
      }
      alice.poll();  // the replies
    }
  }
  EXPECT_GT(mesh.loop->counters().pending, 0U);
  EXPECT_TRUE(mesh.loop->verify());
  EXPECT_EQ(got, sent);
}

TEST(EngineLoop, AFullInboxIsToldToTheSenderByAReport) {
  LoopFixture mesh(10, 2);
  RawStation& alice = mesh.add(1, 1, "alice");
  mesh.add(2, 1, "bob");
  // A quarter of the inbox, what waits behind it, and in all a quarter of what is kept unanswered.
  constexpr std::size_t kTaken = kUnansweredMin / 4;
  for (std::size_t i = 0; i < kTaken + 76; ++i) {
    ASSERT_TRUE(alice.send_bare(mesh.ids[1][0], mesh.ids[2][0], bytes("x"), mesh.now_ns));
    mesh.tick(1'000);
  }
  std::size_t reports = 0;
  for (const auto& delivery : alice.poll()) {
    ASSERT_EQ(delivery.kind, sched::RecordKind::report);
    const sched::BareBody body = sched::bare_body(delivery);
    std::int64_t code = 0;
    std::memcpy(&code, body.bytes + 8, sizeof code);
    EXPECT_EQ(static_cast<Errc>(code), Errc::target_full);
    ++reports;
  }
  EXPECT_EQ(reports, 76U);
  EXPECT_EQ(mesh.loop->counters().target_full, reports);
}

TEST(EngineLoop, AnExpiredMessageAndAnUnknownAgentAreReported) {
  LoopFixture mesh(10, 2);
  RawStation& alice = mesh.add(1, 1, "alice");
  RawStation& bob = mesh.add(2, 1, "bob");
  sched::SendRecord late =
      RawStation::bare(mesh.ids[1][0], mesh.ids[2][0], bytes("late"), mesh.now_ns - 10 * kMs);
  late.ttl_ms = 5;
  ASSERT_TRUE(alice.put(late));
  ASSERT_TRUE(alice.send_bare(mesh.ids[1][0], agent_id(AgentIndex{1}, Generation{99}),
                              bytes("nobody"), mesh.now_ns));
  mesh.tick();
  EXPECT_TRUE(bob.poll().empty());
  EXPECT_EQ(alice.poll().size(), 2U);
  EXPECT_EQ(mesh.loop->counters().expired, 1U);
  EXPECT_EQ(mesh.loop->counters().no_such_agent, 1U);
}

// Commands, and messages that are to outlive the power, have their places in the format alone.
TEST(EngineLoop, WhatItCannotDoIsReportedAsUnsupportedAndNotDone) {
  LoopFixture mesh(10, 2);
  RawStation& alice = mesh.add(1, 1, "alice");
  RawStation& bob = mesh.add(2, 1, "bob");
  const auto say = [&](sched::RecordKind kind, sched::RecordFlags flags) {
    sched::SendRecord record =
        RawStation::bare(mesh.ids[1][0], mesh.ids[2][0], bytes("now"), mesh.now_ns);
    record.kind = kind;
    record.flags = record.flags | flags;
    ASSERT_TRUE(alice.put(record));
  };
  say(sched::RecordKind::send, sched::RecordFlags::durable);
  for (const auto kind :
       {sched::RecordKind::command, sched::RecordKind::service, sched::RecordKind::cancel})
    say(kind, sched::RecordFlags::none);
  mesh.tick();
  EXPECT_TRUE(bob.poll().empty());
  const auto reports = alice.poll();
  EXPECT_EQ(reports.size(), 4U);
  for (const auto& delivery : reports) {
    ASSERT_EQ(delivery.kind, sched::RecordKind::report);
    std::int64_t code = 0;
    std::memcpy(&code, sched::bare_body(delivery).bytes + 8, sizeof code);
    EXPECT_EQ(static_cast<Errc>(code), Errc::unsupported);
  }
}

TEST(EngineLoop, AStationSpeaksForItsOwnAgentsAlone) {
  LoopFixture mesh(10, 2);
  RawStation& alice = mesh.add(1, 1, "alice");
  RawStation& bob = mesh.add(2, 1, "bob");
  ASSERT_TRUE(alice.send_bare(mesh.ids[2][0], mesh.ids[2][0], bytes("forged"), mesh.now_ns));
  mesh.tick();
  EXPECT_TRUE(bob.poll().empty());
  EXPECT_EQ(mesh.loop->counters().refused_records, 1U);
}

TEST(EngineLoop, RandomBytesInAnOutboxChangeNothingForOthers) {
  std::mt19937_64 random(testing::seed());
  LoopFixture mesh(100, 3);
  RawStation& liar = mesh.add(1, 10, "liar");
  RawStation& bob = mesh.add(2, 10, "bob");
  for (int round = 0; round < 20'000; ++round) {
    testing::Ring::Record record{};
    for (auto& word : record.words) word = random() % 3 == 0 ? random() % 64 : random();
    ASSERT_TRUE(liar.put(record));
    mesh.tick(10'000);
    liar.poll();
  }
  for (const auto& delivery : bob.poll())
    EXPECT_EQ(index_of(delivery.target), index_of(mesh.ids[2][0])) << "not reachable by chance";
  ASSERT_TRUE(bob.send_bare(mesh.ids[2][0], mesh.ids[2][1], bytes("fine"), mesh.now_ns));
  mesh.tick();
  EXPECT_EQ(bob.poll().size(), 1U);
}

TEST(EngineLoop, AScatterGatherSendsEarlyByEachLeadAndAllAreReadyAtT) {
  LoopFixture mesh(3'000, 3);
  RawStation& edge = mesh.add(1, 1'000, "edge", sched::AgentClass::edge);
  RawStation& gpu = mesh.add(2, 1'000, "gpu", sched::AgentClass::gpu);
  mesh.add(3, 1'000, "human", sched::AgentClass::human);
  const auto opened = mesh.loop->open({.weight = 1, .with_trace = true}, from_ns(mesh.now_ns));
  ASSERT_TRUE(opened) << opened.error().sentence;
  const std::int64_t target = mesh.now_ns + 1'500 * kMs;
  std::map<std::int64_t, std::vector<std::pair<RawStation*, sched::DeliveryRecord>>> at_work;
  mesh.run(2'100 * kMs, kMs, [&] {
    for (RawStation* const station : {&edge, &gpu})
      for (const auto& delivery : station->poll()) {
        EXPECT_EQ(delivery.arrive_ns, target);
        // The prior's own delay: exactly what was predicted.
        at_work[delivery.sent_ns + delivery.lead_us * kNsPerUs].push_back({station, delivery});
      }
    while (!at_work.empty() && at_work.begin()->first <= mesh.now_ns) {
      for (const auto& [station, delivery] : at_work.begin()->second)
        EXPECT_TRUE(station->answer(delivery, TrinaryState::ready, at_work.begin()->first));
      at_work.erase(at_work.begin());
    }
  });
  const auto finished = mesh.loop->take_finished();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->id, *opened);
  const sched::GatherCounts& counts = finished->result.counts;
  EXPECT_EQ(counts.targeted(), 3'000U);
  EXPECT_EQ(counts.sent, 2'000U);
  EXPECT_EQ(counts.ready, 2'000U);
  EXPECT_EQ(counts.skipped.insufficient_lead_time, 1'000U) << "people take longer than 1.5 s";
  EXPECT_EQ(finished->result.judgement.verdict, sched::GatherVerdict::kSuccess);
  // Buckets of 1 ms and ticks of 1 ms: nobody is further from T than both.
  for (const TargetTrace& trace : mesh.loop->trace(*opened)) {
    EXPECT_EQ(trace.state, TrinaryState::ready);
    EXPECT_LE(std::abs(trace.finished_ns - target), 2 * kMs);
  }
  EXPECT_FALSE(mesh.loop->take_finished());
}

TEST(EngineLoop, ConflictsAndSilenceAreCountedApartAndTheWindowEndsIt) {
  LoopFixture mesh(100, 1);
  RawStation& station = mesh.add(1, 100, "a");
  ASSERT_TRUE(mesh.loop->open({}, from_ns(mesh.now_ns)));
  int number = 0;
  mesh.run(2'100 * kMs, kMs, [&] {
    for (const auto& delivery : station.poll()) {
      const int which = number++;
      if (which % 10 == 0) continue;  // never answers
      station.answer(delivery, which % 10 == 1 ? TrinaryState::conflict : TrinaryState::ready,
                     mesh.now_ns);
    }
  });
  const auto finished = mesh.loop->take_finished();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->result.counts.ready, 80U);
  EXPECT_EQ(finished->result.counts.conflict, 10U);
  EXPECT_EQ(finished->result.counts.straggler(), 10U);
  EXPECT_EQ(finished->result.end, sched::GatherEnd::kWindow);
  EXPECT_EQ(finished->result.judgement.verdict, sched::GatherVerdict::kPartial);
}

TEST(EngineLoop, NobodyToReachIsAnErrorNeverADivisionByZero) {
  LoopFixture mesh(10, 1);
  EXPECT_EQ(mesh.loop->open({}, from_ns(mesh.now_ns)).error().code, Errc::no_such_agent);
  mesh.add(1, 2, "h", sched::AgentClass::human);
  ASSERT_TRUE(mesh.loop->open({}, from_ns(mesh.now_ns)));
  mesh.run(2'100 * kMs, kMs);
  const auto finished = mesh.loop->take_finished();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->result.judgement.verdict, sched::GatherVerdict::kNoSchedulableAgents);
}

TEST(EngineLoop, AStationThatDiesMidOperationEndsItByTheRulesAndOthersNoticeNothing) {
  LoopFixture mesh(200, 2);
  RawStation& first = mesh.add(1, 100, "a");
  mesh.add(2, 100, "b");
  ASSERT_TRUE(mesh.loop->open({}, from_ns(mesh.now_ns)));
  std::size_t answered = 0;
  bool is_dead = false;
  mesh.run(2'100 * kMs, kMs, [&] {
    for (const auto& delivery : first.poll()) {
      first.answer(delivery, TrinaryState::ready, mesh.now_ns);
      ++answered;
    }
    if (answered != 0 && !is_dead) {
      is_dead = true;
      mesh.loop->detach(StationId{2}, from_ns(mesh.now_ns));
    }
  });
  const auto finished = mesh.loop->take_finished();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->result.counts.ready, 100U);
  EXPECT_EQ(mesh.loop->agents_active(), 100U);
  EXPECT_EQ(mesh.loop->agents_enrolled(), 200U);
}

TEST(EngineLoop, MoreDeliveriesThanTheInboxHoldsWaitAndArriveInTheEnd) {
  LoopFixture mesh(3'000, 1);
  RawStation& station = mesh.add(1, 600, "a");  // 2,048 slots
  std::size_t opened = 0;
  for (; opened < 5; ++opened)
    ASSERT_TRUE(mesh.loop->open({.horizon = Nanos{100 * kMs}}, from_ns(mesh.now_ns)));
  mesh.run(200 * kMs, kMs);  // nobody polls: 3,000 deliveries for 2,048 slots
  EXPECT_GT(mesh.loop->counters().pending, 0U);
  std::size_t got = 0;
  mesh.run(100 * kMs, kMs, [&] { got += station.poll(100).size(); });
  EXPECT_EQ(got, 3'000U);
}

TEST(EngineLoop, OneWakeAStationAndTickAndNoneWhileItIsAwake) {
  LoopFixture mesh(1'000, 1);
  RawStation& station = mesh.add(1, 1'000, "a");
  ASSERT_TRUE(station.inbox.prepare_to_park());
  ASSERT_TRUE(mesh.loop->open({.horizon = Nanos{100 * kMs}}, from_ns(mesh.now_ns)));
  for (int i = 0; i < 200 && mesh.wakes.count[1] == 0; ++i) mesh.tick(kMs);
  EXPECT_EQ(mesh.wakes.count[1], 1) << "one run of 1,000, one wake";
  station.inbox.unpark();
  mesh.run(200 * kMs, kMs);
  EXPECT_EQ(mesh.wakes.count[1], 1);
}

TEST(EngineLoop, AStationThatDoesNotReadKeepsNothingFromTheOthers) {
  LoopFixture mesh(4'000, 2);
  mesh.add(1, 1'600, "stalled");
  RawStation& reading = mesh.add(2, 1'600, "reading");
  for (int i = 0; i < 4; ++i)
    ASSERT_TRUE(mesh.loop->open({.horizon = Nanos{50 * kMs}}, from_ns(mesh.now_ns)));
  std::size_t got = 0;
  mesh.run(300 * kMs, kMs, [&] { got += reading.poll(100).size(); });
  EXPECT_EQ(got, 4U * 1'600U);
  EXPECT_GT(mesh.loop->counters().pending, 0U) << "the other one was not behind";
  const TickResult last = mesh.tick(kMs);
  EXPECT_LE(to_ns(last.next_due), mesh.now_ns + kMs) << "what waits is looked after";
}

TEST(EngineLoop, NobodyCanSendInAnothersName) {
  LoopFixture mesh(10, 2);
  RawStation& alice = mesh.add(1, 2, "alice");
  RawStation& bob = mesh.add(2, 1, "bob");
  sched::MessageHeader header{};
  header.source = mesh.ids[2][0];  // a lie: bob himself
  header.id = {1, 2};
  header.created_ns = mesh.now_ns + 5 * kMs;
  header.body_bytes = 2;
  header.set_weight(1);
  header.verb = sched::Verb::act;
  header.strategy = sched::Strategy::direct;
  header.priority = sched::Priority::normal;
  std::vector<std::byte> message(sizeof header + 2);
  std::memcpy(message.data(), &header, sizeof header);
  const auto appended = alice.sent_bodies.append(std::span<const std::byte>(message));
  sched::SendRecord record{};
  record.source = mesh.ids[1][0];
  record.target = static_cast<std::uint64_t>(mesh.ids[2][0]);
  record.created_ns = mesh.now_ns;
  record.body_offset = static_cast<std::uint32_t>(appended.position);
  record.body_bytes = 2;
  record.verb_and_priority = sched::verb_and_priority(sched::Verb::act, sched::Priority::normal);
  record.kind = sched::RecordKind::send;
  ASSERT_TRUE(alice.put(record));
  mesh.tick();
  const auto got = bob.poll();
  ASSERT_EQ(got.size(), 1U);
  std::vector<std::byte> room(256);
  ASSERT_EQ(bob.own_bodies.copy(sched::position_of(got[0].message), room).status,
            queues::BodyStatus::kRead);
  sched::MessageHeader seen{};
  std::memcpy(&seen, room.data(), sizeof seen);
  EXPECT_EQ(seen.source, mesh.ids[1][0]);
  EXPECT_EQ(seen.created_ns, mesh.now_ns);
  EXPECT_EQ(sched::unpack(seen.id).station, StationId{1});
}

TEST(EngineLoop, ARefusedOpenLeavesAnEndedOperationAsItWas) {
  LoopFixture mesh(10, 1);
  RawStation& station = mesh.add(1, 2, "a");
  const auto first = mesh.loop->open({.horizon = Nanos{50 * kMs}}, from_ns(mesh.now_ns));
  ASSERT_TRUE(first);
  mesh.run(700 * kMs, kMs, [&] {
    for (const auto& delivery : station.poll())
      station.answer(delivery, TrinaryState::ready, mesh.now_ns);
  });
  const auto before_refusal = mesh.loop->trace(*first);
  ASSERT_EQ(before_refusal.size(), 2U);
  for (const OperationRequest& wrong :
       {OperationRequest{.horizon = Nanos{100'000 * kMs}}, OperationRequest{.weight = -1},
        OperationRequest{.ready_min = 2}, OperationRequest{.window = Nanos{-1}}})
    EXPECT_FALSE(mesh.loop->open(wrong, from_ns(mesh.now_ns)));
  EXPECT_EQ(mesh.loop->trace(*first)[0].sent_ns, before_refusal[0].sent_ns);
}

TEST(EngineLoop, UpkeepGoesOnWhateverTheUptimeOfTheHost) {
  for (const std::int64_t days : {0, 4, 400}) {
    LoopFixture mesh(30'000, 1);
    mesh.now_ns = days * 86'400 * kNsPerSecond + 1;
    RawStation& station = mesh.add(1, 1, "a");
    mesh.tick();
    const auto self =
        testing::must(station.out_layout.column<float>(station.out.span(), "self.latency_ms"));
    const auto count =
        testing::must(station.out_layout.column<std::uint32_t>(station.out.span(), "self.samples"));
    self.store_relaxed(0, 400);
    count.store_relaxed(0, 100);
    mesh.run(2'000 * kMs, kMs);
    const auto table = testing::must(engine::table_layout(mesh.size));
    const auto latency = testing::must(table.column<float>(mesh.table.span(), "agent.latency_ms"));
    EXPECT_GT(latency.load_relaxed(0), 300) << days << " days";
  }
}

// How many rows' heartbeats stand in the table as their station has them.
std::size_t rows_kept_up(LoopFixture& mesh, std::uint32_t heartbeat) {
  const auto table = testing::must(engine::table_layout(mesh.size));
  const auto seen =
      testing::must(table.column<std::uint32_t>(mesh.table.span(), "agent.heartbeat_mesh_ms"));
  std::size_t count = 0;
  for (std::uint32_t row = 0; row < mesh.size.agents; ++row)
    count += seen.load_relaxed(row) == heartbeat ? 1U : 0U;
  return count;
}

TEST(EngineLoop, UpkeepLeavesTimeBeforeWhatIsDueAndIsMadeUpForAfterIt) {
  LoopFixture mesh(10'000, 1);
  RawStation& station = mesh.add(1, 10'000, "a");
  mesh.run(1'500 * kMs, kMs);
  const auto self = testing::must(
      station.out_layout.column<std::uint32_t>(station.out.span(), "self.heartbeat_mesh_ms"));
  for (std::uint32_t row = 0; row < 10'000; ++row) self.store_relaxed(row, 1'400);
  const AgentId one = mesh.ids[1][0];
  testing::must(mesh.loop->open({.targets = sched::selector(sched::SelectorKind::list, 1),
                                 .list = {&one, 1},
                                 .horizon = Nanos{60 * kMs}},
                                from_ns(mesh.now_ns)));
  const std::int64_t due = to_ns(mesh.tick().next_due);
  ASSERT_LT(due, mesh.now_ns + 60 * kMs);
  const std::size_t before = rows_kept_up(mesh, 1'400);
  mesh.now_ns = due - 10 * kNsPerUs;  // some hundred rows are due, and no time for one
  mesh.tick();
  EXPECT_EQ(rows_kept_up(mesh, 1'400), before);
  mesh.tick(10 * kNsPerUs);
  EXPECT_EQ(station.poll().size(), 1U);
  mesh.run(2 * kMs, kMs);
  EXPECT_GT(rows_kept_up(mesh, 1'400), before + 50);
  mesh.run(1'100 * kMs, kMs);
  EXPECT_EQ(rows_kept_up(mesh, 1'400), 10'000U);
}

TEST(EngineLoop, UpkeepThatIsFarBehindWaitsForNothing) {
  LoopFixture mesh(1'000, 1);
  RawStation& station = mesh.add(1, 1'000, "a");
  mesh.run(1'500 * kMs, kMs);
  const auto self = testing::must(
      station.out_layout.column<std::uint32_t>(station.out.span(), "self.heartbeat_mesh_ms"));
  for (std::uint32_t row = 0; row < 1'000; ++row) self.store_relaxed(row, 1'400);
  testing::must(mesh.loop->open({.horizon = Nanos{500 * kMs}}, from_ns(mesh.now_ns)));
  mesh.now_ns = to_ns(mesh.tick().next_due) - 10 * kNsPerUs;
  mesh.tick();
  EXPECT_GT(rows_kept_up(mesh, 1'400), 300U);
  EXPECT_EQ(station.poll().size(), 0U);
}

TEST(EngineLoop, TheSameAgentEnrolledAgainTakesNoSecondPlace) {
  LoopFixture mesh(10, 1);
  mesh.add(1, 1, "a");
  const AgentSpec again{"a-0"};
  const auto ids = mesh.loop->enrol(StationId{1}, std::span(&again, 1));
  ASSERT_TRUE(ids) << ids.error().sentence;
  EXPECT_EQ(ids->front(), mesh.ids[1][0]);
}

}  // namespace of_engine_loop_test
}  // namespace mesh::engine
