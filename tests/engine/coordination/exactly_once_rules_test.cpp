// The order in which an exactly-once queue gives out its tasks, how long a retry waits, what is
// poison.
#include <array>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "engine/coordination/blocks/rng.hpp"
#include "tests/engine/coordination/queue_kit.hpp"

namespace mesh::coordination {
namespace of_exactly_once_rules_test {

using testing::by;
using testing::seconds;
using testing::small_queue;
using testing::task;

ClaimedTask claim_one(ExactlyOnceQueue& queue, Nanos now, std::uint32_t station = 1) {
  const auto reply = queue.apply(by("w" + std::to_string(station), station), now);
  EXPECT_EQ(reply.tasks.size(), 1U);
  return reply.tasks.empty() ? ClaimedTask{} : reply.tasks[0];
}
std::string drained(ExactlyOnceQueue& queue, Nanos now) {
  std::string order;
  for (auto reply = queue.apply(by("w"), now); !reply.tasks.empty();
       reply = queue.apply(by("w"), now)) {
    order += reply.tasks[0].id;
  }
  return order;
}
bool is_empty(ExactlyOnceQueue& queue, Nanos now) {
  return queue.apply(by("w"), now).refusal == Refusal::would_block;
}
once::Enqueue urgent(std::string id, std::uint32_t priority) {
  auto one = task(std::move(id));
  one.priority = priority;
  return one;
}
std::uint64_t nack(ExactlyOnceQueue& queue, const ClaimedTask& held, Nanos now,
                   Nanos delay = Nanos{0}) {
  const auto reply = queue.apply(once::Nack{held.id, held.fence, false, delay}, now);
  EXPECT_EQ(reply.code, Errc::ok);
  return static_cast<std::uint64_t>(reply.retry_after.count());
}

// --- order -------------------------------------------------------------------------------------

TEST(QueueOrder, IsFirstInFirstOutWithinAClass) {
  ExactlyOnceQueue queue(small_queue());
  for (const auto* id : {"a", "b", "c", "d"}) queue.apply(task(id), Nanos{0});
  EXPECT_EQ(drained(queue, Nanos{1}), "abcd");
}

TEST(QueueOrder, IsByClassAndThenByAge) {
  ExactlyOnceQueue queue(small_queue());
  queue.apply(urgent("a", 0), Nanos{0});
  queue.apply(urgent("b", 2), Nanos{0});
  queue.apply(urgent("c", 1), Nanos{0});
  queue.apply(urgent("d", 2), Nanos{0});
  queue.apply(urgent("e", 0), Nanos{0});
  EXPECT_EQ(drained(queue, Nanos{1}), "bdcae");
}

TEST(QueueOrder, OfOneClassIsThatOfTheEnqueuesWhateverTheyAre) {
  EXPECT_TRUE(rc::check("FIFO in a class", [](std::uint64_t seed) {
    Rng rng(seed);
    ExactlyOnceQueue queue(small_queue());
    std::array<std::string, 4> expected;
    for (char id = 'a'; id < 'a' + 16; ++id) {
      const auto priority = static_cast<std::uint32_t>(rng.below(4));
      queue.apply(urgent(std::string(1, id), priority), Nanos{id});
      expected[priority] += id;
    }
    RC_ASSERT(drained(queue, Nanos{1'000}) ==
              expected[3] + expected[2] + expected[1] + expected[0]);
  }));
}

TEST(QueueOrder, PutsARetryAtTheTail) {
  ExactlyOnceQueue queue(small_queue());
  for (const auto* id : {"a", "b", "c"}) queue.apply(task(id), Nanos{0});
  nack(queue, claim_one(queue, Nanos{1}), Nanos{2});
  EXPECT_EQ(drained(queue, Nanos{3}), "bca");
}

TEST(QueueOrder, PutsARetryInItsPlaceWhereOrderIsPreserved) {
  auto config = small_queue();
  config.preserve_order = true;
  ExactlyOnceQueue queue(config);
  for (const auto* id : {"a", "b", "c"}) queue.apply(task(id), Nanos{0});
  nack(queue, claim_one(queue, Nanos{1}), Nanos{2});
  EXPECT_EQ(drained(queue, Nanos{3}), "abc");
}

TEST(QueuePeek, ShowsTheTaskThatAClaimThenGivesAndMovesNothing) {
  EXPECT_TRUE(rc::check("peek, then claim", [](std::uint64_t seed) {
    Rng rng(seed);
    auto config = small_queue();
    config.aging_ns = seconds(2);
    ExactlyOnceQueue queue(config);
    Nanos now{0};
    for (int i = 0; i < 60; ++i) {
      now += seconds(static_cast<double>(rng.below(3)));
      auto one = urgent("t" + std::to_string(i), static_cast<std::uint32_t>(rng.below(4)));
      one.delay = seconds(static_cast<double>(rng.below(2)));
      if (rng.below(2) == 0) queue.apply(one, now);
      ExactlyOnceQueueActions actions;
      queue.tick(now, actions);  // what is due by now is ready
      const std::uint64_t hash = queue.state_hash();
      const auto shown = queue.peek();
      RC_ASSERT(queue.state_hash() == hash);
      if (rng.below(2) == 0) continue;
      const auto got = queue.apply(by("w"), now);
      RC_ASSERT(got.tasks.size() == shown.tasks.size());
      RC_ASSERT(got.refusal == shown.refusal);
      if (got.tasks.empty()) continue;
      RC_ASSERT(shown.tasks[0].id == got.tasks[0].id);
      RC_ASSERT(shown.tasks[0].payload == got.tasks[0].payload);
      RC_ASSERT(shown.tasks[0].attempt + 1 == got.tasks[0].attempt);
      RC_ASSERT(shown.tasks[0].fence == 0U);
    }
  }));
}

TEST(QueuePeek, OfAnEmptyQueueWouldBlock) {
  ExactlyOnceQueue queue(small_queue());
  EXPECT_EQ(queue.peek().refusal, Refusal::would_block);
  EXPECT_EQ(queue.peek().code, Errc::ok);
  queue.apply(task("a", "what is in it"), Nanos{0});
  EXPECT_EQ(queue.peek().tasks.at(0).payload, testing::bytes("what is in it"));
  EXPECT_EQ(queue.peek().state, TaskState::ready);
  claim_one(queue, Nanos{1});
  EXPECT_EQ(queue.peek().refusal, Refusal::would_block) << "leased: it is nobody else's";
}

// --- keys and workers --------------------------------------------------------------------------

constexpr int kKeys = 40;

// Who gets each of the keys, a task of each at a time; all are completed.
std::map<std::string, std::string> owners(ExactlyOnceQueue& queue,
                                          const std::vector<std::string>& workers,
                                          const std::string& round) {
  for (int i = 0; i < kKeys; ++i) {
    auto one = task(round + std::to_string(i));
    one.affinity_key = "key " + std::to_string(i);
    EXPECT_EQ(queue.apply(one, Nanos{0}).code, Errc::ok);
  }
  std::map<std::string, std::string> owners;
  for (const auto& worker : workers) {
    for (auto got = queue.apply(by(worker), Nanos{0}); !got.tasks.empty();
         got = queue.apply(by(worker), Nanos{0})) {
      owners[got.tasks[0].id.substr(round.size())] = worker;
      queue.apply(testing::done(got.tasks[0].id, got.tasks[0].fence), Nanos{0});
    }
  }
  EXPECT_EQ(owners.size(), static_cast<std::size_t>(kKeys));
  return owners;
}

TEST(QueueAffinity, OnlyTheKeysOfAWorkerThatLeavesGoToOthers) {
  auto config = small_queue();
  config.affinity = Affinity::strict;
  config.capacity = 64;
  config.dedup_capacity = 256;
  for (const bool dies : {false, true}) {
    ExactlyOnceQueue queue(config);
    for (std::uint32_t i = 1; i <= 4; ++i) {  // all four are known before anything is handed out
      queue.apply(by("w" + std::to_string(i), i), Nanos{0});
    }
    // A claim says of which station its worker is, so nobody but w2 is of station 2.
    const auto first = owners(queue, {"w1", "w2", "w3", "w4"}, "first ");
    if (dies) {
      queue.apply(by("w2", 2), Nanos{0});
      queue.apply(once::StationClosed{2}, Nanos{0});
    } else {
      EXPECT_EQ(queue.apply(once::RemoveWorker{"w2"}, Nanos{0}).code, Errc::ok);
    }
    const auto second = owners(queue, {"w1", "w3", "w4"}, "second ");
    int moved = 0;
    for (const auto& [key, owner] : first) {
      if (owner == "w2") ++moved;
      if (owner != "w2") {
        EXPECT_EQ(second.at(key), owner) << key;
      }
    }
    EXPECT_GT(moved, 0);
    EXPECT_LT(moved, kKeys / 2);
    EXPECT_TRUE(queue.verify());
  }
}

TEST(QueueTtl, OfATaskThatNamesNoneIsTheQueues) {
  auto config = small_queue();
  config.ttl_ns = seconds(5);
  ExactlyOnceQueue queue(config);
  queue.apply(task("brief"), Nanos{0});
  auto longer = task("longer");
  longer.ttl = seconds(9);
  queue.apply(longer, Nanos{0});
  ExactlyOnceQueueActions actions;
  queue.tick(seconds(5), actions);
  EXPECT_EQ(queue.inspect("brief").reason, DeathReason::expired_ttl);
  EXPECT_EQ(queue.inspect("longer").state, TaskState::ready);
  queue.tick(seconds(9), actions);
  EXPECT_EQ(queue.inspect("longer").reason, DeathReason::expired_ttl);
}

TEST(QueueView, TellsOfEachPriorityHowManyAreReadyAndSinceWhen) {
  ExactlyOnceQueue queue(small_queue());
  queue.apply(urgent("a", 1), seconds(1));
  queue.apply(urgent("b", 1), seconds(2));
  queue.apply(urgent("c", 3), seconds(3));
  auto later = urgent("d", 0);
  later.delay = seconds(9);
  queue.apply(later, seconds(3));
  const auto expect = [&](std::uint32_t priority, std::uint64_t count, Nanos since) {
    const auto ready = queue.view().ready[priority];
    EXPECT_EQ(ready.count, count) << priority;
    EXPECT_EQ(ready.since_ns, since.count()) << priority;
  };
  const Nanos none{-1};
  expect(0, 0, none);  // delayed
  expect(1, 2, seconds(1));
  expect(2, 0, none);
  expect(3, 1, seconds(3));
  EXPECT_EQ(queue.view().counts.ready, 3U);
  EXPECT_EQ(claim_one(queue, seconds(4)).id, "c");
  expect(3, 0, none);
  const auto first = claim_one(queue, seconds(4));
  expect(1, 1, seconds(2));
  nack(queue, first, seconds(5));  // ready again at once, at the tail
  expect(1, 2, seconds(2));
  ExactlyOnceQueueActions actions;
  queue.tick(seconds(12), actions);
  expect(0, 1, seconds(12));
  const auto again = ExactlyOnceQueue::restore(small_queue(), queue.snapshot());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->view().ready[1].count, 2U);
  EXPECT_EQ(again->view().ready[1].since_ns, seconds(2).count());
}

// --- retries -----------------------------------------------------------------------------------

TEST(QueueRetry, WaitsLongerWithEachNackUpToItsCap) {
  auto config = small_queue();
  config.retry_base_ns = seconds(1);
  config.retry_cap_ns = seconds(6);
  config.attempts_max = 0;
  config.visibility_ns = seconds(30);
  ExactlyOnceQueue queue(config);
  queue.apply(task("a"), Nanos{0});
  Nanos now{0};
  for (const double wait_s : {1.0, 2.0, 4.0, 6.0, 6.0}) {
    const auto wait = nack(queue, claim_one(queue, now), now);
    EXPECT_EQ(wait, static_cast<std::uint64_t>(seconds(wait_s).count()));
    EXPECT_EQ(queue.inspect("a").state, TaskState::delayed);
    EXPECT_TRUE(is_empty(queue, now + seconds(wait_s) - Nanos{1}));
    now += seconds(wait_s);
  }
  EXPECT_EQ(claim_one(queue, now).attempt, 6U);
}

TEST(QueueRetry, TheDefaultIsASecondDoubledUpToAMinute) {
  auto config = ExactlyOnceQueueConfig::preset("default").value();
  config.capacity = 16;
  config.dedup_capacity = 64;
  config.expected_rate_per_s = 0;
  config.attempts_max = 0;
  ExactlyOnceQueue queue(config);
  queue.apply(task("a"), Nanos{0});
  Nanos now{0};
  for (const double wait_s : {1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0}) {
    EXPECT_EQ(nack(queue, claim_one(queue, now), now),
              static_cast<std::uint64_t>(seconds(wait_s).count()));
    now += seconds(wait_s);
  }
}

TEST(QueueRetry, FullJitterStaysBelowTheBackOff) {
  auto config = small_queue();
  config.retry_base_ns = seconds(8);
  config.retry_jitter = 1;
  std::uint64_t sum = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    ExactlyOnceQueue queue(config, seed);
    queue.apply(task("a"), Nanos{0});
    const auto wait = nack(queue, claim_one(queue, Nanos{0}), Nanos{0});
    ASSERT_LT(wait, static_cast<std::uint64_t>(seconds(8).count())) << seed;
    sum += wait;
  }
  EXPECT_NEAR(static_cast<double>(sum) / 100e9, 4, 1) << "half of it on average";
}

TEST(QueueRetry, WaitsAsLongAsANackSaysItself) {
  auto config = small_queue();
  config.retry_base_ns = seconds(1);
  ExactlyOnceQueue queue(config);
  queue.apply(task("a"), Nanos{0});
  EXPECT_EQ(nack(queue, claim_one(queue, Nanos{0}), Nanos{0}, seconds(7)),
            static_cast<std::uint64_t>(seconds(7).count()));
  EXPECT_TRUE(is_empty(queue, seconds(7) - Nanos{1}));
  EXPECT_EQ(claim_one(queue, seconds(7)).attempt, 2U);
}

TEST(QueueRetry, AReleaseIsNoAttemptAndItsFenceIsVoid) {
  ExactlyOnceQueue queue(small_queue());
  queue.apply(task("a"), Nanos{0});
  for (int i = 0; i < 20; ++i) {  // attempts_max is 5
    const auto held = claim_one(queue, Nanos{i});
    EXPECT_EQ(held.attempt, 1U);
    const auto reply = queue.apply(once::Release{held.id, held.fence}, Nanos{i});
    EXPECT_EQ(reply.code, Errc::ok);
    EXPECT_EQ(reply.state, TaskState::ready) << "at once";
    EXPECT_EQ(queue.apply(testing::done(held.id, held.fence), Nanos{i}).code, Errc::stale_token);
  }
  EXPECT_EQ(queue.counters().released, 20U);
  EXPECT_EQ(queue.counters().deaths, 0U);
  EXPECT_TRUE(queue.verify());
}

// --- poison ------------------------------------------------------------------------------------

ExactlyOnceQueueConfig patient() {
  auto config = small_queue();
  config.attempts_max = 0;
  config.poison_stations = 2;
  return config;
}

TEST(QueuePoison, IsNotWhatLiveStationsNackOrLetExpire) {
  ExactlyOnceQueue queue(patient());
  queue.apply(task("a"), Nanos{0});
  Nanos now{0};
  for (std::uint32_t station = 1; station <= 6; ++station) {
    nack(queue, claim_one(queue, now, station), now);
    claim_one(queue, now, station);
    now += seconds(31);  // its lease runs out
  }
  EXPECT_EQ(claim_one(queue, now).attempt, 13U);
  EXPECT_EQ(queue.counters().deaths, 0U);
}

TEST(QueuePoison, IsWhatTwoDifferentStationsDiedOf) {
  ExactlyOnceQueue queue(patient());
  queue.apply(task("a"), Nanos{0});
  for (int i = 0; i < 3; ++i) {
    claim_one(queue, Nanos{i}, 1);
    queue.apply(once::StationClosed{1}, Nanos{i});
  }
  EXPECT_EQ(queue.inspect("a").state, TaskState::ready) << "the same one, three times";
  claim_one(queue, Nanos{5}, 2);
  queue.apply(once::StationClosed{2}, Nanos{5});
  EXPECT_EQ(queue.inspect("a").state, TaskState::dead);
  EXPECT_EQ(queue.inspect("a").reason, DeathReason::poison);
  std::vector<EventRecord> told;
  queue.events().after(0, [&](const EventRecord& event) { told.push_back(event); });
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].kind, static_cast<std::uint16_t>(ExactlyOnceQueue::Event::died));
  EXPECT_EQ(told[0].severity, Severity::warning);
  EXPECT_EQ(told[0].a, 1U) << "one";
  EXPECT_EQ(told[0].b, 1U) << "one in all";
  EXPECT_EQ(told[1].kind, static_cast<std::uint16_t>(ExactlyOnceQueue::Event::poisoned));
  EXPECT_EQ(told[1].severity, Severity::error);
  EXPECT_EQ(told[1].a, 1U);
  EXPECT_EQ(told[1].b, 2U) << "the station that died last of it";
}

TEST(QueuePoison, IsNotSaidOfWhatDiesOtherwise) {
  auto config = patient();
  config.attempts_max = 1;
  ExactlyOnceQueue queue(config);
  for (const auto* id : {"nacked", "held"}) queue.apply(task(id), Nanos{0});
  nack(queue, claim_one(queue, Nanos{0}, 1), Nanos{0});
  claim_one(queue, Nanos{1}, 1);
  queue.apply(once::StationClosed{1}, Nanos{1});  // its only attempt, and one station of two
  EXPECT_EQ(queue.inspect("nacked").reason, DeathReason::attempts);
  EXPECT_EQ(queue.inspect("held").reason, DeathReason::attempts);
  queue.events().after(0, [](const EventRecord& event) {
    EXPECT_EQ(event.kind, static_cast<std::uint16_t>(ExactlyOnceQueue::Event::died));
  });
  EXPECT_EQ(queue.events().last_sequence(), 2U);
}

}  // namespace of_exactly_once_rules_test
}  // namespace mesh::coordination
