#include "queues/local/work_crew.hpp"

#include <atomic>
#include <map>
#include <thread>

#include "tests/allocations.hpp"

namespace mesh::queues::local {
namespace of_work_crew_test {

using Crew = WorkCrew<std::uint64_t>;

std::vector<std::uint64_t> take_all(Crew::Worker& worker) {
  std::vector<std::uint64_t> all;
  for (std::uint64_t value = 0; worker.try_take(value);) all.push_back(value);
  return all;
}
void give(Crew& crew, std::uint32_t worker, std::uint64_t first, std::uint64_t count) {
  for (std::uint64_t value = first; value < first + count; ++value) {
    std::uint64_t given = value;
    ASSERT_EQ(crew.try_give(worker, given), Errc::ok);
  }
}

TEST(WorkCrew, RefusesOptionsOutsideTheirRangesAndNamesTheValue) {
  const auto sentence_of = [](CrewOptions options) {
    const Status status = validate(options);
    return status ? std::string() : status.error().sentence;
  };
  EXPECT_EQ(sentence_of({}), "");
  EXPECT_EQ(sentence_of({.workers = 0}), "workers is 0");
  EXPECT_EQ(sentence_of({.workers = 1'025}), "workers is 1025");
  EXPECT_EQ(sentence_of({.capacity = 0}), "capacity is 0");
  EXPECT_EQ(sentence_of({.capacity = kStealCapacityMax + 1}), "capacity is 1073741825");
  EXPECT_EQ(sentence_of({.burst_max = 0}), "burst_max is 0");
  EXPECT_EQ(sentence_of({.burst_max = 65}), "burst_max is 65");
}

TEST(WorkCrew, AFullPileAFullInboxAndAnUnknownWorkerRefuse) {
  Crew crew({.workers = 1, .capacity = 64});
  auto worker = crew.worker(0);
  EXPECT_EQ(crew.try_give(1, 7), Errc::not_found);
  EXPECT_EQ(crew.queued(1), 0U);
  for (std::uint64_t i = 0; i < 64; ++i) ASSERT_EQ(worker.try_push(i), Errc::ok);
  EXPECT_EQ(worker.try_push(64), Errc::capacity);
  for (std::uint64_t i = 64; i < 128; ++i) ASSERT_EQ(crew.try_give(0, i), Errc::ok);
  EXPECT_EQ(crew.try_give(0, 128), Errc::capacity);
  EXPECT_EQ(crew.queued(0), 128U);
  EXPECT_EQ(take_all(worker).size(), 128U) << "and nothing was lost";
}

TEST(WorkCrew, AWorkerTakesWhatItIsGivenInTheOrderInWhichItCame) {
  Crew crew({.workers = 1});
  auto worker = crew.worker(0);
  give(crew, 0, 0, 100);
  const auto all = take_all(worker);
  ASSERT_EQ(all.size(), 100U);
  for (std::uint64_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], i);
  EXPECT_EQ(worker.counters().steals, 0U);
  EXPECT_EQ(worker.counters().misses, 1U);
}

TEST(WorkCrew, OfItsOwnItTakesTheNewestAThiefTheOldestAndWhatIsGivenComesLast) {
  Crew crew({.workers = 2, .burst_max = 1});
  auto worker = crew.worker(0);
  auto thief = crew.worker(1);
  give(crew, 0, 100, 1);
  for (std::uint64_t i = 0; i < 4; ++i) ASSERT_EQ(worker.try_push(i), Errc::ok);
  std::uint64_t stolen = 9;
  ASSERT_TRUE(thief.try_take(stolen));
  EXPECT_EQ(stolen, 0U);
  EXPECT_EQ(take_all(worker), (std::vector<std::uint64_t>{3, 2, 1, 100}));
}

TEST(WorkCrew, WhatIsStolenAndNotBegunCanBeStolenAgain) {
  Crew crew({.workers = 3, .burst_max = 8});
  auto first = crew.worker(1);
  give(crew, 0, 0, 16);
  std::uint64_t value = 0;
  ASSERT_TRUE(first.try_take(value));
  ASSERT_EQ(crew.queued(1), 7U);  // and stands still
  auto second = crew.worker(2);
  EXPECT_EQ(take_all(second).size(), 15U);
  EXPECT_EQ(crew.queued(1), 0U);
}

// {waiting at the victim, burst_max, stolen}: half of it, rounded up, and no more than the burst.
TEST(WorkCrew, AStealIsHalfOfWhatWaitsAndAtMostTheBurst) {
  struct Case {
    std::uint64_t waiting;
    std::uint32_t burst;
    std::uint64_t stolen;
  };
  for (const auto [waiting, burst, stolen] :
       {Case{1, 2, 1}, Case{2, 2, 1}, Case{3, 2, 2}, Case{20, 2, 2}, Case{20, 16, 10},
        Case{5, 1, 1}, Case{200, 64, 64}}) {
    Crew crew({.workers = 2, .burst_max = burst});
    auto thief = crew.worker(1);
    give(crew, 0, 0, waiting);
    std::uint64_t value = 0;
    ASSERT_TRUE(thief.try_take(value));
    EXPECT_EQ(value, 0U) << "the oldest first";
    EXPECT_EQ(thief.counters().stolen, stolen) << waiting << " waiting, burst " << burst;
    EXPECT_EQ(crew.queued(0), waiting - stolen);
  }
}

// Two draws of two victims are both the emptier one a time in four; one draw would be one in two.
TEST(WorkCrew, OfTwoVictimsItTakesFromTheFuller) {
  constexpr int kSteals = 400;
  Crew crew({.workers = 3, .burst_max = 1});
  auto thief = crew.worker(0);
  int of_fuller = 0;
  for (int i = 0; i < kSteals; ++i) {
    while (crew.queued(1) < 2) give(crew, 1, 100, 1);
    while (crew.queued(2) < 20) give(crew, 2, 200, 1);
    std::uint64_t value = 0;
    ASSERT_TRUE(thief.try_take(value));
    of_fuller += value == 200 ? 1 : 0;
  }
  EXPECT_GT(of_fuller, kSteals * 65 / 100);
  EXPECT_LT(of_fuller, kSteals * 85 / 100);
}

TEST(WorkCrew, FindsTheOneValueWhereverItWaits) {
  constexpr std::uint32_t kWorkers = 17;
  for (std::uint32_t at = 1; at < kWorkers; ++at) {
    Crew crew({.workers = kWorkers});
    auto thief = crew.worker(0);
    give(crew, at, at, 1);
    std::uint64_t value = 0;
    ASSERT_TRUE(thief.try_take(value));
    EXPECT_EQ(value, at);
    EXPECT_FALSE(thief.try_take(value));
  }
}

TEST(WorkCrew, AWorkerThatEndsLeavesWhatItStoleAndDidNotBegin) {
  Crew crew({.workers = 2, .capacity = 32, .burst_max = 8});
  give(crew, 0, 0, 32);
  std::uint64_t value = 0;
  {
    auto thief = crew.worker(1);
    ASSERT_TRUE(thief.try_take(value));
    EXPECT_EQ(thief.counters().stolen, 8U);
    give(crew, 0, 32, 8);  // full again
    give(crew, 1, 40, 32);
  }
  EXPECT_EQ(crew.queued(1), 39U);
  auto worker = crew.worker(0);
  auto all = take_all(worker);
  all.push_back(value);
  std::sort(all.begin(), all.end());
  ASSERT_EQ(all.size(), 72U);
  for (std::uint64_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], i);
}

TEST(WorkCrew, ATakeThatWaitsEndsWhenItIsToldAndHasTakenNothing) {
  Crew crew({.workers = 2, .spins = 3});
  auto worker = crew.worker(0);
  std::uint64_t value = 9;
  int looks = 0;
  EXPECT_FALSE(worker.take(value, [&] { return ++looks == 40; }));
  EXPECT_EQ(worker.counters().misses, 40U) << "it looks before it asks";
  give(crew, 1, 5, 1);
  EXPECT_TRUE(worker.take(value, [] { return true; })) << "there is something: no reason to stop";
  EXPECT_EQ(value, 5U);
}

TEST(WorkCrew, NeitherPushNorTakeNorStealAllocates) {
  Crew crew({.workers = 2, .capacity = 256, .burst_max = 4});
  auto worker = crew.worker(0);
  auto thief = crew.worker(1);
  const auto round = [&] {
    for (std::uint64_t i = 0; i < 200; ++i) {
      std::uint64_t value = i;
      if (worker.try_push(value) != Errc::ok) return;
    }
    std::uint64_t out = 0;
    for (int i = 0; i < 100; ++i) {
      if (!worker.try_take(out) || !thief.try_take(out)) return;
    }
  };
  const auto before = testing::allocation_count();
  for (int i = 0; i < 50; ++i) round();
  EXPECT_EQ(testing::allocation_count(), before);
  EXPECT_GT(thief.counters().stolen, 0U);
  EXPECT_EQ(worker.counters().taken + thief.counters().taken, 10'000U);
}

TEST(WorkCrew, InAnyOrderOfPushesAndTakesEachValueIsTakenOnce) {
  EXPECT_TRUE(rc::check([] {
    CrewOptions options;
    options.workers = *rc::gen::inRange<std::uint32_t>(1, 6);
    options.burst_max = *rc::gen::inRange<std::uint32_t>(1, 9);
    options.capacity = 64;
    options.seed = *rc::gen::arbitrary<std::uint64_t>();
    Crew crew(options);
    std::vector<std::unique_ptr<Crew::Worker>> workers;
    for (std::uint32_t i = 0; i < options.workers; ++i) {
      workers.push_back(std::make_unique<Crew::Worker>(crew, i));
    }
    const auto steps = *rc::gen::container<std::vector<std::pair<std::uint8_t, std::uint8_t>>>(
        rc::gen::arbitrary<std::pair<std::uint8_t, std::uint8_t>>());
    std::uint64_t given = 0;
    std::map<std::uint64_t, int> taken;
    for (const auto& [what, who] : steps) {
      auto& worker = *workers[who % options.workers];
      std::uint64_t value = given;
      if (what % 3 == 0) {
        given += worker.try_push(value) == Errc::ok ? 1U : 0U;
      } else if (what % 3 == 1) {
        given += crew.try_give(who % options.workers, value) == Errc::ok ? 1U : 0U;
      } else if (worker.try_take(value)) {
        ++taken[value];
      }
    }
    const std::size_t last = options.workers - 1;
    for (std::size_t i = 0; i < last; ++i) workers[i].reset();
    for (const auto value : take_all(*workers[last])) ++taken[value];
    RC_ASSERT(taken.size() == given);
    for (const auto& [value, times] : taken) RC_ASSERT(times == 1);
  }));
}

// Each of 8 thieves and one that gives all to one queue; also under the thread sanitizer.
TEST(WorkCrew, EightThievesTakeEachHandleOnce) {
  constexpr std::uint32_t kThieves = 8;
  constexpr std::uint64_t kHandles = 60'000;
  Crew crew({.workers = kThieves, .capacity = 512, .burst_max = 4});
  std::vector<std::uint32_t> times(kHandles);  // of each handle, written by its one taker
  std::atomic<std::uint64_t> left{kHandles};
  std::vector<std::thread> threads;
  for (std::uint32_t index = 0; index < kThieves; ++index) {
    threads.emplace_back([&, index] {
      auto worker = crew.worker(index);
      std::uint64_t handle = 0;
      while (worker.take(handle, [&] { return left.load(std::memory_order_acquire) == 0; })) {
        ++times[handle];
        left.fetch_sub(1, std::memory_order_acq_rel);
      }
    });
  }
  for (std::uint64_t handle = 0; handle < kHandles;) {
    std::uint64_t given = handle;
    if (crew.try_give(0, given) == Errc::ok) {
      ++handle;
    } else {
      std::this_thread::yield();
    }
  }
  for (auto& thread : threads) thread.join();
  for (std::uint64_t handle = 0; handle < kHandles; ++handle) ASSERT_EQ(times[handle], 1U);
}

// Work that makes work: a tree of 2^14 - 1 nodes, the children pushed by whoever did the parent.
TEST(WorkCrew, WorkThatMakesWorkIsDoneToTheLast) {
  constexpr std::uint64_t kNodes = (std::uint64_t{1} << 14) - 1;
  constexpr std::uint32_t kWorkers = 4;
  Crew crew({.workers = kWorkers, .capacity = kNodes + 1});
  std::vector<std::uint32_t> times(kNodes + 1);
  std::atomic<std::uint64_t> left{kNodes};
  std::vector<std::thread> threads;
  give(crew, 0, 1, 1);
  for (std::uint32_t index = 0; index < kWorkers; ++index) {
    threads.emplace_back([&, index] {
      auto worker = crew.worker(index);
      std::uint64_t node = 0;
      while (worker.take(node, [&] { return left.load(std::memory_order_acquire) == 0; })) {
        ++times[node];
        for (std::uint64_t child = 2 * node; child <= 2 * node + 1 && child <= kNodes; ++child) {
          std::uint64_t pushed = child;
          EXPECT_EQ(worker.try_push(pushed), Errc::ok);
        }
        left.fetch_sub(1, std::memory_order_acq_rel);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (std::uint64_t node = 1; node <= kNodes; ++node) ASSERT_EQ(times[node], 1U) << node;
}

}  // namespace of_work_crew_test
}  // namespace mesh::queues::local
