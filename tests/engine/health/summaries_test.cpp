// Cluster, sector and mesh summaries: mesh.md part 10.
#include "engine/health/summaries.hpp"

#include <algorithm>

#include <rapidcheck/gtest.h>

namespace mesh::engine::health {
namespace of_summaries_test {

Summaries summaries(std::uint32_t sectors, std::uint32_t clusters, std::uint32_t agents) {
  return Summaries::create({sectors, clusters, agents}).value();
}
Member active(std::uint32_t row, std::uint16_t score, float drift = 0.1F) {
  return {.row = row, .score = score, .drift = drift, .is_active = true};
}
ClusterSummary cluster_of(std::uint32_t agents, std::uint32_t up, std::uint32_t mean) {
  return {.agents = agents, .active = up, .mean = mean * kMeanUnit, .p95 = mean * kP95Unit};
}

TEST(Summaries, RefusesSizesOfNothingAndOfTooMuch) {
  for (const Summaries::Size size :
       {Summaries::Size{0, 1, 1}, {1, 0, 1}, {1, 1, 0}, {1U << 31, 2, 2}, {~0U, ~0U, ~0U}}) {
    const auto refused = Summaries::create(size);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, Errc::invalid_argument);
  }
}

TEST(Summaries, P95IsLinearBetweenNeighboursAndNeverExtrapolated) {
  std::vector<std::uint32_t> values{7};
  EXPECT_EQ(p95_times_20(values), 7 * 20U);  // position 1.9 is clamped to 1
  values = {10, 20};
  EXPECT_EQ(p95_times_20(values), 20 * 20U);  // 2.85, clamped to 2
  values.clear();
  for (std::uint32_t i = 1; i <= 19; ++i) values.push_back(i * 10);
  EXPECT_EQ(p95_times_20(values), 190 * 20U);  // 19 of 19
  values.push_back(200);
  EXPECT_EQ(p95_times_20(values), 19'950 * 20U / 100);  // 19.95: 190 + 0.95 * 10 = 199.5
  for (std::uint32_t i = 21; i <= 30; ++i) values.push_back(i * 10);
  EXPECT_EQ(p95_times_20(values), 2'945 * 20U / 10);  // 29.45: 290 + 0.45 * 10 = 294.5
}

TEST(Summaries, ACountsMeanP95SlowestAndFastestOfTheActive) {
  Summaries mesh = summaries(1, 1, 30);
  const std::array members{active(4, 100), active(2, 300), active(9, 100), active(7, 300),
                           Member{.row = 1, .score = 1'000, .drift = 2, .is_active = false}};
  const ClusterSummary summary = mesh.summarize(members);
  EXPECT_EQ(summary.agents, 5U);
  EXPECT_EQ(summary.active, 4U);
  EXPECT_EQ(summary.mean, 200U * kMeanUnit);
  EXPECT_EQ(summary.p95, 300U * kP95Unit);
  EXPECT_EQ(summary.fastest, 4U);  // ties: the lower row
  EXPECT_EQ(summary.slowest, 2U);
  EXPECT_EQ(summary.degraded, 0U);
  EXPECT_EQ(summary.unstable, 0U);
}

TEST(Summaries, FlagsAScoreAbove800AndADriftAbove0_5) {
  Summaries mesh = summaries(1, 1, 4);
  const std::array members{active(0, 800, 0.5F), active(1, 801, 0.5F), active(2, 1, 0.51F)};
  EXPECT_EQ(mesh.summarize(members).degraded, 1U);
  EXPECT_EQ(mesh.summarize(members).unstable, 1U);
}

TEST(Summaries, AClusterWithoutAnActiveAgentIsInNoMean) {
  Summaries mesh = summaries(1, 3, 30);
  mesh.update(0, cluster_of(30, 30, 100));
  mesh.update(1, cluster_of(30, 30, 300));
  mesh.update(2, cluster_of(30, 0, 0));
  const SectorSummary sector = mesh.sector(0);
  EXPECT_EQ(sector.clusters, 3U);
  EXPECT_EQ(sector.agents, 90U);
  EXPECT_EQ(sector.active, 60U);
  EXPECT_EQ(sector.mean, 200U * kMeanUnit);
  EXPECT_EQ(sector.healthiest, 0U);
  EXPECT_EQ(sector.sickest, 2U);
  EXPECT_FALSE(sector.is_healthy);
  EXPECT_EQ(mesh.mesh().mean, 200U * kMeanUnit);
}

TEST(Summaries, TheMeanOfMeansIsNotTheMeanOfAgents) {
  Summaries mesh = summaries(1, 2, 30);
  mesh.update(0, cluster_of(30, 30, 100));
  mesh.update(1, cluster_of(1, 1, 500));
  EXPECT_EQ(mesh.sector(0).mean, 300U * kMeanUnit);
  EXPECT_EQ(mesh.sector(0).sickest, 1U);
}

TEST(Summaries, ASectorIsHealthyAbove95PercentActiveAndDegradedAtIt) {
  Summaries mesh = summaries(3, 1, 100);
  mesh.update(0, cluster_of(100, 96, 1));
  mesh.update(1, cluster_of(100, 95, 1));
  EXPECT_TRUE(mesh.sector(0).is_healthy);
  EXPECT_FALSE(mesh.sector(1).is_healthy);
  EXPECT_EQ(mesh.mesh().healthy_sectors, 1U);
  EXPECT_EQ(mesh.mesh().degraded_sectors, 1U);  // the third has nobody: neither
  mesh.update(1, cluster_of(100, 96, 1));
  EXPECT_EQ(mesh.mesh().healthy_sectors, 2U);
  EXPECT_EQ(mesh.mesh().degraded_sectors, 0U);
}

TEST(Summaries, TheMeshHasTheP95OfItsClustersP95s) {
  Summaries mesh = summaries(2, 10, 30);
  for (std::uint32_t cluster = 0; cluster < 20; ++cluster)
    mesh.update(cluster, cluster_of(30, 30, (cluster + 1) * 10));
  EXPECT_EQ(mesh.mesh().p95, 1'995U * kP95OfP95sUnit / 10);  // 19.95 of 20: 199.5
  EXPECT_EQ(mesh.mesh().agents, 600U);
  EXPECT_EQ(mesh.mesh().mean, 105U * kMeanUnit);
}

TEST(Summaries, AnEmptyMeshHasNoNumbers) {
  const Summaries mesh = summaries(2, 2, 2);
  EXPECT_EQ(mesh.mesh(), MeshSummary{});
  EXPECT_EQ(mesh.sector(1), SectorSummary{});
}

// Any updates in any order: sums by differences equal a count from the start, and p95 and mean
// equal a plain computation.
RC_GTEST_PROP(Summaries, UpdatesByDifferencesEqualACountFromTheStart, ()) {
  constexpr std::uint32_t kSectors = 3;
  constexpr std::uint32_t kClusters = 4;
  Summaries mesh = summaries(kSectors, kClusters, 8);
  const auto steps = *rc::gen::inRange<std::uint32_t>(1, 60);
  std::vector<std::vector<Member>> members(kSectors * kClusters);
  for (std::uint32_t step = 0; step < steps; ++step) {
    const auto cluster = *rc::gen::inRange<std::uint32_t>(0, kSectors * kClusters);
    const auto count = *rc::gen::inRange<std::uint32_t>(0, 9);
    members[cluster].clear();
    for (std::uint32_t row = 0; row < count; ++row)
      members[cluster].push_back({.row = row,
                                  .score = *rc::gen::inRange<std::uint16_t>(0, 1'001),
                                  .drift = 0,
                                  .is_active = *rc::gen::inRange(0, 4) != 0});
    mesh.update(cluster, mesh.summarize(members[cluster]));
  }
  RC_ASSERT(mesh.verify().has_value());
  std::vector<std::uint32_t> p95s;
  std::uint64_t means = 0;
  std::uint32_t agents = 0;
  for (const auto& of_cluster : members) {
    agents += static_cast<std::uint32_t>(of_cluster.size());
    std::vector<std::uint32_t> scores;
    std::uint64_t sum = 0;
    for (const Member& member : of_cluster)
      if (member.is_active) scores.push_back(member.score), sum += member.score;
    if (scores.empty()) continue;
    std::sort(scores.begin(), scores.end());
    p95s.push_back(static_cast<std::uint32_t>(p95_times_20(scores)));
    means += sum * kMeanUnit / scores.size();
  }
  RC_ASSERT(mesh.mesh().agents == agents);
  std::sort(p95s.begin(), p95s.end());
  RC_ASSERT(mesh.mesh().p95 == (p95s.empty() ? 0 : p95_times_20(p95s)));
  RC_ASSERT(mesh.mesh().mean == (p95s.empty() ? 0 : means / p95s.size()));
}

}  // namespace of_summaries_test
}  // namespace mesh::engine::health
