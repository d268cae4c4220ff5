// Contexts of a simulated mesh: who crashed and is back has its context before its messages.
#include <gtest/gtest.h>

#include "engine/simulation/simulation.hpp"
#include "tests/engine/simulation/small_mesh.hpp"

namespace mesh::engine::simulation {
namespace of_hand_overs_test {

using testing::fault;
using testing::play;
using testing::small_mesh;

// A cluster dies in the middle of an operation and is back at once.
Scenario with_a_death() {
  Scenario scenario = small_mesh();
  scenario.context_share = kShareAll;
  Fault death = fault(FaultKind::death, FaultTarget::cluster);
  death.which = 3;
  death.at = scenario.settle + 4 * scenario.every + 1'300 * kNsPerMs;
  death.returns = 50 * kNsPerMs;
  scenario.faults = {death};
  return scenario;
}

TEST(SimulatedContexts, HoldNobodyWhoHasHandedOverNone) {
  Scenario scenario = with_a_death();
  scenario.context_share = 0;
  const SimulationReport report = play(scenario, 1);
  EXPECT_EQ(report.deaths, 1U);
  EXPECT_EQ(report.contexts.held, 0U);
  EXPECT_EQ(report.contexts.handed_over, 0U);
}

TEST(SimulatedContexts, HoldWhoIsBackUntilItsContextIsLoadedOneAfterAnother) {
  const Scenario scenario = with_a_death();
  const SimulationReport report = play(scenario, 2);
  EXPECT_EQ(report.contexts.handed_over, 300U * 10);
  EXPECT_EQ(report.contexts.held, 30U);
  EXPECT_EQ(report.contexts.loaded, 30U);
  EXPECT_EQ(report.contexts.overdue + report.contexts.lost, 0U);
  ASSERT_EQ(report.contexts.wait_ns.size(), 30U);
  for (std::size_t i = 0; i < 30; ++i)
    EXPECT_EQ(report.contexts.wait_ns[i], scenario.context_load * static_cast<std::int64_t>(i + 1));
  EXPECT_EQ(report.contexts.early, 0U);
  EXPECT_EQ(report.unanswered, 0U);
  EXPECT_EQ(report.quorums, report.operations);
}

// The recovery of a cluster is over when the last one has its context.
TEST(SimulatedContexts, AreAPartOfWhatARecoveryTakes) {
  const Scenario scenario = with_a_death();
  const SimulationReport report = play(scenario, 3);
  ASSERT_EQ(report.clusters.took_ns.size(), 1U);
  EXPECT_EQ(report.clusters.took_ns[0], scenario.faults[0].returns + 30 * scenario.context_load);
}

TEST(SimulatedContexts, AreWaitedForNoLongerThanTheWait) {
  Scenario scenario = with_a_death();
  scenario.context_stuck = kShareAll;
  scenario.context_wait = 2 * kNsPerSecond;
  const SimulationReport report = play(scenario, 4);
  EXPECT_EQ(report.contexts.held, 30U);
  EXPECT_EQ(report.contexts.loaded, 0U);
  EXPECT_EQ(report.contexts.overdue, 30U);
  EXPECT_EQ(report.contexts.early, 0U);
  ASSERT_EQ(report.clusters.took_ns.size(), 1U);
  EXPECT_GE(report.clusters.took_ns[0], scenario.faults[0].returns + scenario.context_wait);
  EXPECT_LE(report.clusters.took_ns[0],
            scenario.faults[0].returns + scenario.context_wait + 200 * kNsPerMs);
  EXPECT_EQ(report.unanswered, 0U);
}

TEST(SimulatedContexts, OfAProcessThatEndsAgainWhileItLoadsAreHeldAgain) {
  Scenario scenario = with_a_death();
  scenario.context_load = 500 * kNsPerMs;  // fifteen seconds for all of it
  Fault& death = scenario.faults[0];
  death.every = 3 * kNsPerSecond;
  death.lasts = 8 * kNsPerSecond;
  const SimulationReport report = play(scenario, 5);
  EXPECT_GE(report.deaths, 2U);
  EXPECT_EQ(report.contexts.held, 30U * report.returns);
  EXPECT_GT(report.contexts.lost, 0U);
  EXPECT_EQ(report.contexts.loaded + report.contexts.lost + report.contexts.overdue,
            report.contexts.held);
  EXPECT_EQ(report.contexts.early, 0U);
}

TEST(SimulatedContexts, ArePlayedTheSameWayAgain) {
  const Scenario scenario = with_a_death();
  const std::uint64_t hash = play(scenario, 6).trace_hash;
  EXPECT_EQ(play(scenario, 6).trace_hash, hash);
  EXPECT_NE(play(scenario, 7).trace_hash, hash);
}

}  // namespace of_hand_overs_test
}  // namespace mesh::engine::simulation
