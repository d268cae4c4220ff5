// Pipelines and leads' quorums of a simulated mesh: the engine's own, told apart from its
// scatter-gathers and cascades.
#include <gtest/gtest.h>

#include "engine/simulation/simulation.hpp"
#include "tests/engine/simulation/small_mesh.hpp"

namespace mesh::engine::simulation {
namespace of_small_operations_test {

using testing::fault;
using testing::play;
using testing::small_mesh;

Scenario with_pipelines() {
  Scenario scenario = small_mesh();
  scenario.pipeline_every = 5 * kNsPerSecond;
  return scenario;
}
Scenario with_quorums() {
  Scenario scenario = small_mesh();
  scenario.quorum_every = 5 * kNsPerSecond;
  return scenario;
}

TEST(SimulatedPipelines, AreRefusedWithAReasonWhereNobodyIsToBeAsked) {
  Scenario scenario = with_pipelines();
  scenario.quorum_every = scenario.pipeline_every;
  scenario.every = 0;
  for (ClassFigures& its : scenario.classes) its.share = 0;
  scenario.classes.back().share = 1;  // people alone
  const SimulationReport report = play(scenario, 1);
  EXPECT_EQ(report.pipelines.asked, 119U);
  EXPECT_EQ(report.pipelines.refused, report.pipelines.asked);
  EXPECT_EQ(report.cluster_quorums.refused, report.cluster_quorums.asked);
  EXPECT_EQ(report.unanswered, 0U);
}

// With nobody silent and nobody in conflict each goes through, and its last answer is near T.
TEST(SimulatedPipelines, SucceedWhereEverybodyAnswers) {
  Scenario scenario = with_pipelines();
  scenario.silent = scenario.conflict = 0;
  const SimulationReport report = play(scenario, 2);
  EXPECT_EQ(report.pipelines.asked, 119U);
  EXPECT_EQ(report.pipelines.refused, 0U);
  EXPECT_GE(report.pipelines.succeeded * 100, report.pipelines.asked * 90);
  EXPECT_EQ(report.pipelines.took_ns.size(), report.pipelines.succeeded);
  EXPECT_LE(*quantile_of(report.pipeline_error_ns, 900'000), scenario.pipeline_window);
  EXPECT_EQ(report.unanswered, 0U);
}

TEST(SimulatedPipelines, EndWhereOneOfTheirStepsIsInConflict) {
  Scenario scenario = with_pipelines();
  scenario.silent = 0;
  scenario.conflict = kShareAll;
  scenario.every = 0;
  const SimulationReport report = play(scenario, 3);
  EXPECT_EQ(report.pipelines.succeeded, 0U);
  EXPECT_EQ(report.conflict_answers, report.pipelines.asked) << "the first one ends it";
  EXPECT_TRUE(report.conflicts_complete);
  EXPECT_EQ(report.unanswered, 0U);
}

TEST(SimulatedPipelines, CountForNoScatterGatherAndNoCascade) {
  Scenario scenario = with_pipelines();
  scenario.quorum_every = 7 * kNsPerSecond;
  scenario.cascade_every = 20 * kNsPerSecond;
  scenario.cascade_at = 30 * kNsPerSecond;
  const SimulationReport report = play(scenario, 4);
  EXPECT_LE(report.sent, report.rounds * 280) << "to those who are no people, as without them";
  EXPECT_EQ(report.answers, report.ready + report.conflicts + report.late);
  EXPECT_EQ(report.cascade_total_ns.size() + report.cascades_refused, report.cascades);
  EXPECT_EQ(report.quorums, report.operations);
  EXPECT_GT(report.pipelines.succeeded, 0U);
  EXPECT_GT(report.cluster_quorums.succeeded, 0U);
  EXPECT_EQ(report.unanswered, 0U);
}

TEST(SimulatedQuorums, ProceedWhereEverybodyAnswers) {
  Scenario scenario = with_quorums();
  scenario.silent = scenario.conflict = 0;
  const SimulationReport report = play(scenario, 5);
  EXPECT_EQ(report.cluster_quorums.asked, 119U);
  EXPECT_EQ(report.cluster_quorums.refused, 0U);
  // Not where fewer than half of a cluster can answer in time: its people.
  EXPECT_GE(report.cluster_quorums.succeeded * 100, report.cluster_quorums.asked * 85);
  const auto slowest = quantile_of(report.cluster_quorums.took_ns, kShareAll);
  ASSERT_TRUE(slowest.has_value());
  EXPECT_LE(*slowest, scenario.quorum_lead_window + scenario.quorum_window + 10 * kNsPerMs);
}

TEST(SimulatedQuorums, DoNotProceedWhereNobodyAnswers) {
  Scenario scenario = with_quorums();
  scenario.silent = kShareAll;
  const SimulationReport report = play(scenario, 6);
  EXPECT_EQ(report.cluster_quorums.succeeded, 0U);
  EXPECT_EQ(report.unanswered, 0U);
}

TEST(SimulatedQuorums, AreAnsweredWhoeverDiesMeanwhile) {
  Scenario scenario = small_mesh();
  scenario.length = 240 * kNsPerSecond;
  scenario.every = 0;
  scenario.quorum_every = kNsPerSecond;
  scenario.pipeline_every = kNsPerSecond;
  Fault death = fault(FaultKind::death, FaultTarget::agents);
  death.share = 500'000;
  death.at = 10 * kNsPerSecond;
  death.every = 20 * kNsPerSecond;
  scenario.faults = {death};
  const SimulationReport report = play(scenario, 7);
  EXPECT_GT(report.deaths, 1'000U);
  EXPECT_GT(report.cluster_quorums.succeeded, 0U);
  EXPECT_GT(report.pipelines.succeeded, 0U);
  EXPECT_EQ(report.unanswered, 0U);
}

TEST(SimulatedQuorums, ArePlayedTheSameWayAgain) {
  Scenario scenario = with_quorums();
  scenario.pipeline_every = 3 * kNsPerSecond;
  const std::uint64_t hash = play(scenario, 8).trace_hash;
  EXPECT_EQ(play(scenario, 8).trace_hash, hash);
  EXPECT_NE(play(scenario, 9).trace_hash, hash);
  scenario.pipeline_every = 0;
  EXPECT_NE(play(scenario, 8).trace_hash, hash) << "what they came to is in it";
}

}  // namespace of_small_operations_test
}  // namespace mesh::engine::simulation
