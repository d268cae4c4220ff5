// A small mesh played on virtual time: what a seed promises, and what faults lead to.
#include "engine/simulation/simulation.hpp"

#include <gtest/gtest.h>

#include "tests/engine/simulation/small_mesh.hpp"

namespace mesh::engine::simulation {
namespace of_simulation_test {

using testing::play;
using testing::small_mesh;

TEST(Simulation, PlaysASeedTheSameWayAgain) {
  const Scenario scenario = small_mesh();
  const SimulationReport first = play(scenario, 1);
  const SimulationReport again = play(scenario, 1);
  EXPECT_EQ(first.trace_hash, again.trace_hash);
  EXPECT_EQ(first.answers, again.answers);
  EXPECT_EQ(first.ticks, again.ticks);
  EXPECT_NE(first.trace_hash, play(scenario, 2).trace_hash);
}

// What every machine has to find: a change of what is simulated changes it, and says so here.
TEST(Simulation, HasTheTraceHashOfItsScenario) {
  EXPECT_EQ(play(small_mesh(), 1).trace_hash, testing::kSmallMeshHash);
}

TEST(Simulation, ReachesQuorumAndAnswersEveryOperationOfASteadyDay) {
  const SimulationReport report = play(small_mesh(), 3);
  EXPECT_EQ(report.operations, 20U);
  EXPECT_EQ(report.quorums, report.operations);
  EXPECT_EQ(report.unanswered, 0U);
  EXPECT_EQ(report.refused, 0U);
  EXPECT_GE(report.inside_window * 100, report.sent * 99);
  EXPECT_EQ(report.available_ns, report.virtual_ns);
}

// 28 of 30 agents are not of class F; the engine's own counts and the agents' agree.
TEST(Simulation, CountsWhatTheEngineCounts) {
  const SimulationReport report = play(small_mesh(), 4);
  EXPECT_EQ(report.sent, report.operations * 280);
  EXPECT_EQ(report.skipped, report.operations * 20);
  EXPECT_EQ(report.deliveries, report.sent);
  EXPECT_EQ(report.answers, report.ready + report.conflicts + report.late);
  EXPECT_GE(report.conflict_records.reported, report.conflicts);  // some of them late
  EXPECT_TRUE(report.conflicts_complete);
}

TEST(Simulation, LearnsWhatItsAgentsTake) {
  Scenario calibrated = small_mesh();
  calibrated.length = 1'200 * kNsPerSecond;
  Scenario nominal = calibrated;
  nominal.model = 0;
  const auto p90 = [](const Scenario& scenario) {
    return sched::summarize(*play(scenario, 5).errors).p90_ns;
  };
  EXPECT_LT(2 * p90(calibrated), p90(nominal));
}

}  // namespace of_simulation_test
}  // namespace mesh::engine::simulation
