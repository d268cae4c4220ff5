// Agents that come to a simulated mesh while it runs: admitted gradually, by the loop itself.
#include <gtest/gtest.h>

#include "engine/simulation/simulation.hpp"
#include "tests/engine/simulation/small_mesh.hpp"

namespace mesh::engine::simulation {
namespace of_scale_up_test {

using testing::play;
using testing::small_mesh;

Scenario scaled_by(std::int64_t agents) {
  Scenario scenario = small_mesh();
  scenario.scale_agents = agents;
  scenario.scale_at = 100 * kNsPerSecond;
  return scenario;
}

TEST(SimulatedScale, AdmitsNobodyWhoNeverComes) {
  Scenario scenario = scaled_by(60);
  scenario.scale_spawn = 3'600 * kNsPerSecond;
  const SimulationReport report = play(scenario, 1);
  EXPECT_EQ(report.scale.made, 60U);
  EXPECT_EQ(report.scale.admitted, 0U);
  EXPECT_FALSE(report.scale.first_admitted_ns.has_value());
  ASSERT_EQ(report.rounds, report.operations);
  EXPECT_EQ(report.sent + report.skipped, report.rounds * 300) << "nobody else is meant";
  EXPECT_EQ(report.quorums, report.operations);
  EXPECT_EQ(report.available_ns, report.virtual_ns) << "nobody misses them";
}

TEST(SimulatedScale, AdmitsNobodyWhoseAnswersAreNotMeasured) {
  Scenario scenario = scaled_by(60);
  scenario.silent = kShareAll;
  const SimulationReport report = play(scenario, 2);
  EXPECT_EQ(report.scale.admitted, 0U);
  EXPECT_FALSE(report.scale.all_admitted_ns.has_value());
}

// mesh.md part 15: 34 clusters for a thousand.
TEST(SimulatedScale, FillsOrCreates34ClustersForAThousand) {
  const SimulationReport report = play(scaled_by(1'000), 3);
  EXPECT_EQ(report.scale.made, 1'000U);
  EXPECT_EQ(report.scale.processes, 34U);
  EXPECT_EQ(report.scale.clusters_created + report.scale.clusters_filled, 34U);
  EXPECT_EQ(report.scale.admitted, 1'000U);
  ASSERT_TRUE(report.scale.all_admitted_ns.has_value());
}

TEST(SimulatedScale, AdmitsATenthAtATimeOnceProfilesAreStable) {
  const Scenario scenario = scaled_by(100);
  const SimulationReport report = play(scenario, 4);
  EXPECT_EQ(report.scale.admitted, 100U);
  EXPECT_LE(report.scale.wave_max, 10U);
  EXPECT_GE(report.scale.waves, 10U);
  EXPECT_GE(*report.scale.all_admitted_ns, 9 * scenario.scale_wave_every);
  // Eight answers of 22 ms and more each, one after another, after their processes came.
  EXPECT_GT(*report.scale.first_admitted_ns, scenario.scale_spawn + 8 * 22 * kNsPerMs);
}

TEST(SimulatedScale, SendsNewcomersTheirShareOfTheWorkOnceTheyAreAdmitted) {
  const SimulationReport without = play(small_mesh(), 5);
  const SimulationReport with = play(scaled_by(60), 5);
  EXPECT_GT(with.sent, without.sent);
  EXPECT_EQ(with.quorums, with.operations);
  EXPECT_EQ(with.unanswered, 0U);
  EXPECT_TRUE(with.conflicts_complete);
}

TEST(SimulatedScale, IsPlayedTheSameWayAgain) {
  const std::uint64_t hash = play(scaled_by(60), 6).trace_hash;
  EXPECT_EQ(play(scaled_by(60), 6).trace_hash, hash);
  EXPECT_NE(play(scaled_by(61), 6).trace_hash, hash);
}

}  // namespace of_scale_up_test
}  // namespace mesh::engine::simulation
