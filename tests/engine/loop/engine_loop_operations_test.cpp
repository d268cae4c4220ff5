// Operations that stations open, and what bounds them: lists, broadcasts, logs that must give
// bodies up, an engine after another.
#include "engine/loop/engine_loop.hpp"
#include "engine/loop/operation.hpp"
#include "tests/allocations.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace of_engine_loop_operations_test {

// Operations of stations.

TEST(EngineLoopOperations, AnAgentsScatterGatherReachesAllAndItsResultComesBack) {
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

TEST(EngineLoopOperations, ABroadcastGoesToEverybodyAtOnceAlsoToTheSlow) {
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

TEST(EngineLoopOperations, AListNamesItsTargetsAndIsNoPartOfTheBody) {
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

TEST(EngineLoopOperations, AConfidentialOperationNeverStandsInTheCommonLog) {
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

TEST(EngineLoopOperations, AThousandOperationsAreInFlightAtOnceAndTheNextIsRefused) {
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

TEST(EngineLoopOperations, WhatAnOperationSentToAStationThatDiedIsSentAgainOnItsReturn) {
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

// Of an engine that died after an operation had ended and before its result was told: until its
// station is back, the next operation does not take its place.
TEST(EngineLoopOperations, AResultThatIsStillDueIsNotLostToTheNextOperation) {
  Pair mesh;
  ASSERT_TRUE(mesh.alice.send(to_all(mesh)));
  std::size_t results = 0;
  const auto answer_all = [&] {
    for (auto& station : mesh.stations)
      for (const auto& delivery : station->poll()) {
        results += delivery.kind == RecordKind::result ? 1U : 0U;
        if (delivery.kind == RecordKind::message)
          station->answer(delivery, TrinaryState::ready, mesh.now_ns);
      }
  };
  mesh.run(1'200 * kMs, kMs, answer_all);
  ASSERT_EQ(results, 1U);
  mesh.loop.reset();
  const auto words = must(must(engine_layout(mesh.size))
                              .array<OperationWords<HostMemory>>(mesh.engine.span(), "operations"));
  std::size_t ended = 0;
  for (auto& one : words) {
    if ((one.state.load_relaxed() & 0xFF) != static_cast<std::uint64_t>(OperationState::ended))
      continue;
    ++ended;
    one.result.store_relaxed(static_cast<std::uint64_t>(ResultState::due));
  }
  ASSERT_EQ(ended, 1U);
  mesh.loop = mesh.make();
  ASSERT_TRUE(mesh.loop->open({.at_once = true}, from_ns(mesh.now_ns)));
  mesh.tick(kMs);
  for (auto& station : mesh.stations)
    must(mesh.loop->readopt(station->number, station->memory(), 1000));
  mesh.run(10 * kMs, kMs, answer_all);
  EXPECT_EQ(results, 2U);
}

// Room.

TEST(EngineLoopOperations, AStationThatNeverAnswersDoesNotKeepTheCommonLogFull) {
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

TEST(EngineLoopOperations, ADirectMessageThatIsNotAnsweredOutlivesItsPlaceInTheLog) {
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

TEST(EngineLoopOperations, ABucketLargerThanATicksBoundLeavesInSeveralTicks) {
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

TEST(EngineLoopOperations, ADeadlineIsKeptWhileAnotherOperationTakesAllOfATicksRoom) {
  LoopFixture mesh(10'000, 1);
  RawStation& station = mesh.add(1, 10'000, "a");
  const std::vector<AgentId> silent{mesh.ids[1][0]};
  must(mesh.loop->open({.targets = sched::selector(sched::SelectorKind::list, 1),
                        .list = silent,
                        .horizon = Nanos{60 * kMs},
                        .timeout = Nanos{100 * kMs}},
                       from_ns(mesh.now_ns)));
  mesh.run(99 * kMs, kMs, [&] { station.poll(); });
  must(mesh.loop->open({.at_once = true}, from_ns(mesh.now_ns)));
  mesh.tick();
  EXPECT_EQ(station.poll().size(), 4'096U);
  ASSERT_FALSE(mesh.loop->take_finished());
  mesh.tick(kMs);  // its deadline, and the second part of the broadcast
  EXPECT_EQ(station.poll().size(), 4'096U);
  const auto finished = mesh.loop->take_finished();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->result.end, sched::GatherEnd::kTimeout);
}

TEST(EngineLoopOperations, EachOfManyEndsAtItsOwnDeadlineOrWithItsLastAnswer) {
  Pair mesh;
  constexpr std::uint32_t kMany = 300;
  std::map<OperationId, std::int64_t> ends;
  for (std::uint32_t i = 0; i < kMany; ++i) {
    const std::int64_t timeout = (100 + i * 7 % 400) * kMs;
    const auto id = must(mesh.loop->open({.horizon = Nanos{60 * kMs}, .timeout = Nanos{timeout}},
                                         from_ns(mesh.now_ns)));
    ends[id] = mesh.now_ns + timeout;
  }
  std::size_t finished = 0;
  mesh.run(600 * kMs, kMs / 2, [&] {
    for (auto& station : mesh.stations)
      for (const auto& delivery : station->poll()) {
        if (static_cast<std::uint64_t>(delivery.operation) % 3 != 0) continue;
        station->answer(delivery, TrinaryState::ready, mesh.now_ns);
      }
    while (const auto over = mesh.loop->take_finished()) {
      ++finished;
      const bool is_answered = static_cast<std::uint64_t>(over->id) % 3 == 0;
      EXPECT_EQ(over->result.end,
                is_answered ? sched::GatherEnd::kComplete : sched::GatherEnd::kTimeout);
      if (is_answered) continue;
      EXPECT_EQ(ends[over->id], mesh.now_ns);
    }
  });
  EXPECT_EQ(finished, kMany);
}

TEST(EngineLoopOperations, MemoryOfAWideOneThatAllHaveAnsweredServesAgainTheLastFourCanBeTraced) {
  LoopFixture mesh(1'500, 1);
  RawStation& station = mesh.add(1, 1'500, "a");
  std::set<std::uint64_t> slots;
  std::vector<OperationId> ids;
  for (int i = 0; i < 20; ++i) {
    ids.push_back(must(mesh.loop->open({.horizon = Nanos{60 * kMs}}, from_ns(mesh.now_ns))));
    slots.insert(static_cast<std::uint64_t>(ids.back()) & 0xFFFF);
    mesh.run(100 * kMs, kMs, [&] {
      for (const auto& delivery : station.poll())
        station.answer(delivery, TrinaryState::ready, mesh.now_ns);
    });
    ASSERT_TRUE(mesh.loop->take_finished());
    for (std::size_t back = 0; back < 4 && back < ids.size(); ++back)
      EXPECT_EQ(mesh.loop->trace(ids[ids.size() - 1 - back]).size(), 1'500U) << back;
  }
  EXPECT_LE(slots.size(), 6U);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopOperations, AWideOneThatSomebodyOwesAnAnswerKeepsItsMemoryAsLongAsOthersAreFree) {
  LoopFixture mesh(1'500, 1);
  RawStation& station = mesh.add(1, 1'500, "a");
  std::optional<sched::DeliveryRecord> owed;
  for (int i = 0; i < 20; ++i) {
    must(mesh.loop->open({.horizon = Nanos{60 * kMs}, .timeout = Nanos{90 * kMs}},
                         from_ns(mesh.now_ns)));
    mesh.run(100 * kMs, kMs, [&] {
      for (const auto& delivery : station.poll())
        if (!owed && delivery.target == mesh.ids[1][7])
          owed = delivery;
        else
          station.answer(delivery, TrinaryState::ready, mesh.now_ns);
    });
    ASSERT_TRUE(mesh.loop->take_finished());
  }
  ASSERT_TRUE(owed);
  ASSERT_TRUE(station.answer(*owed, TrinaryState::ready, mesh.now_ns));
  mesh.tick(kMs);
  EXPECT_EQ(mesh.loop->counters().duplicates, 0U) << "late, and taken";
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopOperations, NoTickAllocates) {
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

TEST(EngineLoopOperations, AnotherEngineKnowsWhatItsPredecessorKnew) {
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

TEST(EngineLoopOperations, OneThatDoesNotComeBackIsGivenUpAndWhatItHadIsKept) {
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

}  // namespace of_engine_loop_operations_test
}  // namespace mesh::engine
