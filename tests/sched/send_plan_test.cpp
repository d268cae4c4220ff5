#include "sched/send_plan.hpp"

#include <numeric>

#include "tests/allocations.hpp"
#include "tests/sched/test_mesh.hpp"
#include "tests/seed.hpp"

namespace mesh::sched {
namespace of_send_plan_test {

using testing::TestMesh;

constexpr std::uint32_t kNowMs = 50'000;

PlanParameters parameters_for(std::int64_t available_ns, std::int64_t width_ns = kNsPerMs) {
  PlanRequest request;
  request.target = from_ns(available_ns);
  request.now_mesh_ms = kNowMs;
  request.bucket_width = Nanos{width_ns};
  return PlanParameters::make(request).value();
}

TEST(SendPlanner, RefusesMoreThanItWasMadeForAndKeepsItsLastPlan) {
  SendPlanner planner = SendPlanner::create(100, 500).value();
  TestMesh mesh(101);
  std::mt19937_64 random(mesh::testing::seed());
  testing::fill_realistic(mesh, random, kNowMs);
  mesh.rows = 100;
  ASSERT_EQ(planner.plan(parameters_for(400 * kNsPerMs), mesh.columns(), {}),
            PlanOutcome::kPlanned);
  const std::uint32_t scheduled = planner.counts().scheduled;
  mesh.rows = 101;
  EXPECT_EQ(planner.plan(parameters_for(400 * kNsPerMs), mesh.columns(), {}),
            PlanOutcome::kTooManyRows);
  mesh.rows = 50;
  EXPECT_EQ(planner.plan(parameters_for(500 * kNsPerMs), mesh.columns(), {}),
            PlanOutcome::kTooManyBuckets);
  EXPECT_EQ(planner.counts().scheduled, scheduled);
  EXPECT_EQ(planner.key().size(), 100U);
}

TEST(SendPlanner, MakesNoAllocation) {
  std::mt19937_64 random(mesh::testing::seed());
  TestMesh mesh(3'000);
  testing::fill_any_bits(mesh, random, kNowMs);
  std::vector<std::uint32_t> order(mesh.rows);
  std::iota(order.rbegin(), order.rend(), 0U);
  SendPlanner planner = SendPlanner::create(mesh.rows).value();
  const PlanParameters near = parameters_for(kNsPerSecond);
  const PlanParameters far = parameters_for(200 * kNsPerSecond, 10 * kNsPerMs);
  const std::uint64_t before = mesh::testing::allocation_count();
  const PlanOutcome first = planner.plan(near, mesh.columns(true), order);
  const PlanOutcome second = planner.plan(far, mesh.columns(), {});
  const std::uint64_t after = mesh::testing::allocation_count();
  EXPECT_EQ(after - before, 0U);
  EXPECT_EQ(first, PlanOutcome::kPlanned);
  EXPECT_EQ(second, PlanOutcome::kPlanned);
  EXPECT_GT(before, 0U);  // the counter counts
}

TEST(SendPlanner, CountsAddUpAndNothingSkippedIsInABucket) {
  std::mt19937_64 random(mesh::testing::seed());
  SendPlanner planner = SendPlanner::create(500).value();
  PlanCounts seen;
  for (std::uint32_t round = 0; round < 400; ++round) {
    TestMesh mesh(round % 200);
    testing::fill_any_bits(mesh, random, kNowMs);
    const std::int64_t width = round % 2 == 0 ? kNsPerMs : 10 * kNsPerMs;
    const PlanParameters p =
        parameters_for(static_cast<std::int64_t>(random() % 60'000) * kNsPerMs, width);
    ASSERT_EQ(planner.plan(p, mesh.columns(true), {}), PlanOutcome::kPlanned);
    const PlanCounts& counts = planner.counts();
    ASSERT_EQ(counts.scheduled + counts.late + counts.invalid + counts.not_targeted, mesh.rows);
    seen.scheduled += counts.scheduled;
    seen.late += counts.late;
    seen.invalid += counts.invalid;
    seen.not_targeted += counts.not_targeted;
    seen.far += counts.far;
    const std::int64_t available = (p.request.target - p.request.now).count();
    for (const std::uint32_t row : planner.buckets().scheduled()) {
      ASSERT_TRUE(mesh.is_eligible(row));
      const NominalPlan want = nominal(mesh.inputs(row, kNowMs),
                                       {.weight = p.request.weight, .available = Nanos::max()});
      ASSERT_EQ(want.status, PlanStatus::kScheduled);
      // Late by no more than the pass's own rounding.
      ASSERT_LE(want.lead_ms * 1e6, static_cast<double>(available) + want.lead_ms * 0.5 + 16);
    }
  }
  EXPECT_GT(seen.scheduled, 100U);
  EXPECT_GT(seen.late, 100U);
  EXPECT_GT(seen.invalid, 100U);
  EXPECT_GT(seen.not_targeted, 100U);
  EXPECT_GT(seen.far, 0U);
}

TEST(SendPlanner, KeepsAStationsRowsTogetherInsideABucket) {
  // 60 like agents in row order 0, 1, 2, 0, 1, 2 ... of three stations: one bucket, three runs.
  TestMesh mesh(60);
  std::vector<std::uint32_t> by_station;
  for (std::uint32_t row = 0; row < 60; ++row)
    mesh.set(row, {.latency_ms = 10, .heartbeat_ms = kNowMs});
  for (std::uint32_t station = 0; station < 3; ++station) {
    for (std::uint32_t row = station; row < 60; row += 3) by_station.push_back(row);
  }
  SendPlanner planner = SendPlanner::create(60).value();
  ASSERT_EQ(planner.plan(parameters_for(kNsPerSecond), mesh.columns(), by_station),
            PlanOutcome::kPlanned);
  const auto bucket = planner.buckets().bucket(980);  // 1000 - (5 + 15)
  EXPECT_EQ(std::vector<std::uint32_t>(bucket.begin(), bucket.end()), by_station);
}

}  // namespace of_send_plan_test
}  // namespace mesh::sched
