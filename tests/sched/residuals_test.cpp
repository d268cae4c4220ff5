#include "sched/residuals.hpp"

#include <deque>
#include <random>

#include "tests/crash_memory.hpp"
#include "tests/sched/shared_bytes.hpp"
#include "tests/seed.hpp"

namespace mesh::sched {
namespace {

using testing::SharedBytes;
using Rings = Residuals<HostMemory>;

Rings rings_over(SharedBytes& bytes, std::uint32_t rows) {
  return Rings::over(bytes.span(), rows).value();
}

TEST(Residuals, RefusesNoRowsTooManyRowsTooFewBytesAndACrookedStart) {
  SharedBytes bytes(residuals_bytes(100) + kCacheLine);
  const auto span = bytes.span();
  EXPECT_EQ(Rings::over(span, 0).error().code, Errc::invalid_argument);
  EXPECT_EQ(Rings::over(span, kMaxAgents + 1).error().code, Errc::invalid_argument);
  EXPECT_EQ(Rings::over(span.first(residuals_bytes(100) - 1), 100).error().code, Errc::truncated);
  EXPECT_EQ(Rings::over(span.subspan(8), 100).error().code, Errc::misaligned);
  EXPECT_TRUE(Rings::over(span, 100));
}

TEST(Residuals, MemoryThatNoRingLeavesIsCorrupt) {
  SharedBytes bytes(residuals_bytes(10));
  auto& mark = reinterpret_cast<std::uint32_t*>(bytes.span().data())[9];
  for (const std::uint32_t raw : {32U, 33U << 8, 1U << 16, UINT32_MAX}) {
    mark = raw;
    const Status status = rings_over(bytes, 10).verify();
    ASSERT_FALSE(status) << raw;
    EXPECT_EQ(status.error().code, Errc::corrupt);
    EXPECT_EQ(status.error().detail, 9);
  }
  mark = 31 | 32U << 8;
  EXPECT_TRUE(rings_over(bytes, 10).verify());
}

TEST(Residuals, RoundsToTheNearestMicrosecondAndSaturates) {
  EXPECT_EQ(residual_us(0), 0);
  EXPECT_EQ(residual_us(499), 0);
  EXPECT_EQ(residual_us(500), 1);
  EXPECT_EQ(residual_us(-499), 0);
  EXPECT_EQ(residual_us(-500), -1);
  EXPECT_EQ(residual_us(1'499), 1);
  EXPECT_EQ(residual_us(INT64_MAX), INT32_MAX);
  EXPECT_EQ(residual_us(INT64_MIN), INT32_MIN);
  EXPECT_EQ(residual_us(std::int64_t{INT32_MAX} * 1'000), INT32_MAX);
}

TEST(Residuals, AnEmptyRingHasNoMedian) {
  SharedBytes bytes(residuals_bytes(2));
  Rings rings = rings_over(bytes, 2);
  EXPECT_EQ(rings.size(0), 0U);
  EXPECT_EQ(rings.median_us(0), std::nullopt);
  rings.store(0, 7'000);
  EXPECT_EQ(rings.median_us(0), 7);
  EXPECT_EQ(rings.median_us(1), std::nullopt);
}

// Median of n sorted samples: element ceil(n / 2), counted from 1.
TEST(Residuals, GoldenMedians) {
  SharedBytes bytes(residuals_bytes(1));
  Rings rings = rings_over(bytes, 1);
  const std::pair<std::int64_t, std::int32_t> steps[] = {{50, 50},  {10, 10}, {30, 30},
                                                         {-20, 10}, {40, 30}, {20, 20}};
  for (const auto& [us, median] : steps) {
    rings.store(0, us * kNsPerUs);
    EXPECT_EQ(rings.median_us(0), median) << "after " << us;
  }
  EXPECT_EQ(rings.quantile_us(0, Share{950'000}), 50);
  EXPECT_EQ(rings.quantile_us(0, Share{0}), -20);
}

TEST(Residuals, EqualsADequeOfTheLastThirtyTwo) {
  std::mt19937_64 random(mesh::testing::seed());
  constexpr std::uint32_t kRows = 37;
  SharedBytes bytes(residuals_bytes(kRows));
  Rings rings = rings_over(bytes, kRows);
  std::vector<std::deque<std::int32_t>> model(kRows);  // newest first
  for (unsigned i = 0; i < 20'000; ++i) {
    const auto row = static_cast<std::uint32_t>(random() % kRows);
    auto& samples = model[row];
    switch (random() % 200) {
      case 0: {
        const auto keep = static_cast<std::uint32_t>(random() % 40);
        rings.keep_newest(row, keep);
        if (samples.size() > keep) samples.resize(keep);
        break;
      }
      case 1:
        rings.forget(row);
        samples.clear();
        break;
      default: {
        const auto us = static_cast<std::int32_t>(random());
        rings.store(row, std::int64_t{us} * kNsPerUs);
        samples.push_front(us);
        if (samples.size() > kResidualsKept) samples.pop_back();
      }
    }
    ASSERT_EQ(rings.size(row), samples.size());
    for (std::uint32_t age = 0; age < samples.size(); ++age) {
      ASSERT_EQ(rings.newest_us(row, age), samples[age]);
    }
    if (samples.empty()) continue;
    std::vector<std::int32_t> sorted(samples.begin(), samples.end());
    std::sort(sorted.begin(), sorted.end());
    ASSERT_EQ(rings.median_us(row), sorted[(sorted.size() + 1) / 2 - 1]);
  }
  EXPECT_TRUE(rings.verify());
}

// Killed before every access: the ring holds the last samples, or those and the one in flight.
TEST(ResidualsCrash, AStoreKilledAnywhereLeavesSamplesOfThatAgentAlone) {
  for (const std::uint32_t before : {0U, 5U, 31U, 32U, 40U}) {
    SharedBytes bytes(residuals_bytes(3));
    Rings rings = rings_over(bytes, 3);
    for (std::uint32_t i = 1; i <= before; ++i) rings.store(1, i * kNsPerUs);
    const std::vector<std::byte> image = bytes.copy();
    const auto work = [&] {
      Residuals<mesh::testing::CrashMemory>::over(bytes.span(), 3).value().store(1, 99 * kNsPerUs);
    };
    mesh::testing::crash_plan = {};
    work();
    const std::uint64_t sites = mesh::testing::crash_plan.sites;
    ASSERT_EQ(sites, 4U);  // the mark, the sample, a named point, the mark
    for (std::uint64_t site = 1; site <= sites; ++site) {
      bytes.restore(image);
      const int status = testing::status_of_child([&] {
        mesh::testing::crash_plan = {0, site, mesh::testing::Death::kKill, nullptr};
        work();
      });
      ASSERT_TRUE(WIFSIGNALED(status));
      EXPECT_TRUE(rings.verify());
      EXPECT_EQ(rings.size(0), 0U);
      EXPECT_EQ(rings.size(2), 0U);
      ASSERT_EQ(rings.size(1), std::min(before, kResidualsKept));
      for (std::uint32_t age = 0; age < rings.size(1); ++age) {
        const auto sample = static_cast<std::uint32_t>(rings.newest_us(1, age));
        const bool is_oldest = age + 1 == kResidualsKept;
        EXPECT_TRUE(sample == before - age || (is_oldest && sample == 99U)) << "age " << age;
      }
      rings.store(1, 99 * kNsPerUs);
      EXPECT_EQ(rings.newest_us(1, 0), 99);
      for (std::uint32_t age = 1; age < rings.size(1); ++age) {
        EXPECT_EQ(static_cast<std::uint32_t>(rings.newest_us(1, age)), before + 1 - age);
      }
    }
  }
}

}  // namespace
}  // namespace mesh::sched
