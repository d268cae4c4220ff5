#include "sched/arrivals.hpp"

#include <deque>
#include <random>

#include "tests/crash_memory.hpp"
#include "tests/sched/shared_bytes.hpp"
#include "tests/seed.hpp"

namespace mesh::sched {
namespace of_arrivals_test {

using mesh::testing::crash_plan;
using mesh::testing::CrashMemory;
using mesh::testing::Death;
using testing::SharedBytes;
using Rings = Arrivals<HostMemory>;

Rings rings_over(SharedBytes& bytes, std::uint32_t rows) {
  return Rings::over(bytes.span(), rows).value();
}
std::uint64_t sample(std::int64_t ms, bool late = false) {
  return pack({.observed_ns = ms * kNsPerMs, .processing_ns = ms * kNsPerMs / 2, .late = late});
}

TEST(ArrivalSample, KeepsWhatItIsGivenWithinItsError) {
  std::mt19937_64 random(mesh::testing::seed());
  for (unsigned i = 0; i < 100'000; ++i) {
    const auto observed = static_cast<std::int64_t>(random() >> (12 + random() % 50));
    const auto processing =
        static_cast<std::int64_t>(random() % (static_cast<std::uint64_t>(observed) + 1));
    const double weight = static_cast<double>(random() % 1'000'000'000) / 1'000;
    const auto queue = static_cast<std::uint32_t>(random() % 8'000'000);
    const std::uint64_t packed = pack({observed, processing, weight, queue, i % 2 != 0});
    ASSERT_NE(packed, 0U);
    const ArrivalSample kept = unpack(packed);
    const double ms = static_cast<double>(observed) / 1e6;
    ASSERT_NEAR(kept.observed_ms, ms, ms * 0x1p-18 + 17e-6);
    ASSERT_NEAR(kept.processing_ms, static_cast<double>(processing) / 1e6,
                ms * (0x1p-14 + 0x1p-17) + 17e-6);
    ASSERT_NEAR(kept.weight, weight, weight * 0x1p-8 + 1.0 / 128);
    ASSERT_NEAR(kept.queue_depth, queue, queue * 0x1p-9);
    ASSERT_EQ(kept.late, i % 2 != 0);
    ASSERT_EQ(is_late(packed), i % 2 != 0);
  }
}

TEST(ArrivalSample, UsualWeightsAndShortQueuesAreExact) {
  for (const double weight : {0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0}) {
    EXPECT_EQ(unpack(pack({.observed_ns = 1, .weight = weight})).weight, weight);
  }
  for (std::uint32_t queue = 0; queue <= 512; ++queue) {
    EXPECT_EQ(unpack(pack({.observed_ns = 1, .queue_depth = queue})).queue_depth, queue);
  }
}

TEST(ArrivalSample, WhatAStationSaysIsBoundedByWhatWasObserved) {
  EXPECT_EQ(unpack(pack({.observed_ns = -5})).observed_ms, 0);
  EXPECT_EQ(unpack(pack({.observed_ns = INT64_MAX})).observed_ms,
            unpack(pack({.observed_ns = INT64_MAX / 2})).observed_ms);
  EXPECT_GE(unpack(pack({.observed_ns = INT64_MAX})).observed_ms, 50 * 86'400'000.0);
  EXPECT_EQ(unpack(pack({.observed_ns = kNsPerMs, .processing_ns = INT64_MIN})).processing_ms, 0);
  EXPECT_EQ(unpack(pack({.observed_ns = kNsPerMs, .processing_ns = INT64_MAX})).processing_ms,
            unpack(pack({.observed_ns = kNsPerMs})).observed_ms);
  EXPECT_GT(unpack(pack({.queue_depth = UINT32_MAX})).queue_depth, 8'000'000);
}

TEST(Arrivals, RefusesNoRowsTooManyRowsTooFewBytesAndACrookedStart) {
  SharedBytes bytes(arrivals_bytes(100) + kCacheLine);
  const auto span = bytes.span();
  EXPECT_EQ(Rings::over(span, 0).error().code, Errc::invalid_argument);
  EXPECT_EQ(Rings::over(span, kMaxAgents + 1).error().code, Errc::invalid_argument);
  EXPECT_EQ(Rings::over(span.first(arrivals_bytes(100) - 1), 100).error().code, Errc::truncated);
  EXPECT_EQ(Rings::over(span.subspan(8), 100).error().code, Errc::misaligned);
  EXPECT_TRUE(Rings::over(span, 100));
}

TEST(Arrivals, MemoryThatNoRingLeavesIsCorrupt) {
  SharedBytes bytes(arrivals_bytes(10));
  auto& mark = reinterpret_cast<std::uint32_t*>(bytes.span().data() +
                                                2 * shm::column_bytes<std::uint64_t>(10))[9];
  for (const std::uint32_t raw : {32U, 33U << 8, 1U << 16, UINT32_MAX}) {
    mark = raw;
    const Status status = rings_over(bytes, 10).adopt();
    ASSERT_FALSE(status) << raw;
    EXPECT_EQ(status.error().code, Errc::corrupt);
    EXPECT_EQ(status.error().detail, 9);
  }
  mark = 31 | 32U << 8;
  EXPECT_TRUE(rings_over(bytes, 10).adopt());
}

TEST(Arrivals, ASampleWaitsUntilItIsSettledAndAnotherOnePushesItIn) {
  SharedBytes bytes(arrivals_bytes(2));
  Rings rings = rings_over(bytes, 2);
  EXPECT_FALSE(rings.settle(0));
  rings.store(0, sample(7));
  EXPECT_TRUE(rings.waits(0));
  EXPECT_EQ(rings.size(0), 0U);
  rings.store(0, sample(8));
  EXPECT_EQ(rings.size(0), 1U);
  EXPECT_TRUE(rings.settle(0));
  EXPECT_FALSE(rings.waits(0));
  EXPECT_EQ(rings.newest(0, 0), sample(8));
  EXPECT_EQ(rings.newest(0, 1), sample(7));
  EXPECT_EQ(rings.size(1), 0U);
}

TEST(Arrivals, UnansweredSendsAreThoseOfTheLastThirtyTwo) {
  SharedBytes bytes(arrivals_bytes(1));
  Rings rings = rings_over(bytes, 1);
  for (unsigned i = 0; i < 3; ++i) rings.miss(0);
  EXPECT_EQ(rings.unanswered(0), 3U);
  EXPECT_EQ(rings.take_misses(0), 3U);
  EXPECT_EQ(rings.take_misses(0), 0U);
  EXPECT_EQ(rings.unanswered(0), 3U);
  // Its late answer is a sample; that it was late was noted when its operation ended.
  rings.store(0, sample(5, true));
  rings.settle(0);
  for (unsigned i = 0; i < 29; ++i) {
    rings.store(0, sample(5));
    rings.settle(0);
    EXPECT_EQ(rings.unanswered(0), 3U);
  }
  for (std::uint32_t left = 3; left-- > 0;) {
    rings.store(0, sample(5));
    rings.settle(0);
    EXPECT_EQ(rings.unanswered(0), left);
  }
  for (unsigned i = 0; i < 100; ++i) rings.miss(0);
  EXPECT_EQ(rings.unanswered(0), 32U);
  EXPECT_EQ(rings.take_misses(0), 32U);
}

TEST(Arrivals, EqualsADequeOfTheLastThirtyTwo) {
  std::mt19937_64 random(mesh::testing::seed());
  constexpr std::uint32_t kRows = 37;
  SharedBytes bytes(arrivals_bytes(kRows));
  Rings rings = rings_over(bytes, kRows);
  std::vector<std::deque<std::uint64_t>> model(kRows);  // newest first
  std::vector<std::uint64_t> waiting(kRows);
  const auto settle = [&](std::uint32_t row) {
    if (waiting[row] == 0) return;
    model[row].push_front(std::exchange(waiting[row], 0));
    if (model[row].size() > kArrivalsKept) model[row].pop_back();
  };
  for (unsigned i = 0; i < 20'000; ++i) {
    const auto row = static_cast<std::uint32_t>(random() % kRows);
    switch (random() % 100) {
      case 0: {
        const auto keep = static_cast<std::uint32_t>(random() % 40);
        rings.keep_newest(row, keep);
        if (model[row].size() > keep) model[row].resize(keep);
        break;
      }
      case 1:
        rings.forget(row);
        model[row].clear();
        waiting[row] = 0;
        break;
      case 2:
      case 3:
        EXPECT_EQ(rings.settle(row), waiting[row] != 0);
        settle(row);
        break;
      default:
        settle(row);
        waiting[row] = random() | 1;
        rings.store(row, waiting[row]);
    }
    ASSERT_EQ(rings.waits(row), waiting[row] != 0);
    ASSERT_EQ(rings.size(row), model[row].size());
    for (std::uint32_t age = 0; age < model[row].size(); ++age) {
      ASSERT_EQ(rings.newest(row, age), model[row][age]);
    }
  }
  EXPECT_TRUE(rings.adopt());
}

// Killed before every access of a store that has to settle first, and adopted: the ring holds every
// sample once, or all but the one that was in the writer's hands.
TEST(ArrivalsCrash, AStoreKilledAnywhereLosesAndDoublesNothing) {
  for (const std::uint32_t before : {0U, 5U, 31U, 32U, 40U}) {
    SharedBytes bytes(arrivals_bytes(3));
    {
      Rings rings = rings_over(bytes, 3);
      for (std::uint32_t i = 1; i <= before + 1; ++i) rings.store(1, sample(i));
      rings.miss(1);
    }
    const std::vector<std::byte> image = bytes.copy();
    const auto work = [&] {
      auto rings = Arrivals<CrashMemory>::over(bytes.span(), 3).value();
      rings.store(1, sample(99));
    };
    crash_plan = {};
    work();
    const std::uint64_t sites = crash_plan.sites;
    ASSERT_GT(sites, 8U);
    for (std::uint64_t site = 1; site <= sites; ++site) {
      SCOPED_TRACE(::testing::Message() << "before " << before << ", site " << site);
      bytes.restore(image);
      const int status = testing::status_of_child([&] {
        crash_plan = {0, site, Death::kKill, nullptr};
        work();
      });
      ASSERT_TRUE(WIFSIGNALED(status));
      Rings rings = rings_over(bytes, 3);
      ASSERT_TRUE(rings.adopt());
      EXPECT_EQ(rings.size(0), 0U);
      EXPECT_EQ(rings.size(2), 0U);
      rings.settle(1);
      ASSERT_EQ(rings.size(1), std::min(before + 1, kArrivalsKept));
      for (std::uint32_t age = 0; age < rings.size(1); ++age) {
        EXPECT_EQ(rings.newest(1, age), sample(before + 1 - age)) << "age " << age;
      }
      rings.store(1, sample(99));
      rings.settle(1);
      EXPECT_EQ(rings.newest(1, 0), sample(99));
    }
  }
}

TEST(ArrivalsCrash, ASuccessorMayDieWhileItAdopts) {
  SharedBytes bytes(arrivals_bytes(2));
  {
    Rings rings = rings_over(bytes, 2);
    rings.store(0, sample(1));
    rings.settle(0);
    rings.store(0, sample(1));  // as a death before the place was freed leaves it
    rings.store(1, sample(2));
  }
  const std::vector<std::byte> image = bytes.copy();
  const auto work = [&] { (void)Arrivals<CrashMemory>::over(bytes.span(), 2).value().adopt(); };
  crash_plan = {};
  work();
  const std::uint64_t sites = crash_plan.sites;
  for (std::uint64_t site = 1; site <= sites; ++site) {
    bytes.restore(image);
    testing::status_of_child([&] {
      crash_plan = {0, site, Death::kKill, nullptr};
      work();
    });
    Rings rings = rings_over(bytes, 2);
    ASSERT_TRUE(rings.adopt());
    EXPECT_FALSE(rings.waits(0));
    EXPECT_TRUE(rings.waits(1));
    EXPECT_EQ(rings.size(0), 1U);
  }
}

}  // namespace of_arrivals_test
}  // namespace mesh::sched
