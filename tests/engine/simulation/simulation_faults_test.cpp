// What faults do to a simulated mesh, and what it does about them.
#include <gtest/gtest.h>

#include "engine/simulation/fault_plan.hpp"
#include "engine/simulation/simulation.hpp"
#include "sched/quorum.hpp"
#include "tests/engine/simulation/small_mesh.hpp"

namespace mesh::engine::simulation {
namespace of_simulation_faults_test {

using testing::fault;
using testing::play;
using testing::small_mesh;

// Ten sectors, so that one of them is no disaster.
Scenario ten_sectors() {
  Scenario scenario = small_mesh();
  scenario.agents = 3'000;
  return scenario;
}

void expect_answered(const SimulationReport& report) {
  EXPECT_EQ(report.unanswered, 0U);
  EXPECT_TRUE(report.conflicts_complete);
}

TEST(SimulationFaults, ADeadSectorAndItsClustersRecoverWithTheirReplacements) {
  Scenario scenario = ten_sectors();
  Fault death = fault(FaultKind::death, FaultTarget::sector);
  death.which = 3;
  death.at = 100 * kNsPerSecond;
  death.returns = 700 * kNsPerMs;
  scenario.faults = {death};
  const SimulationReport report = play(scenario, 1);
  expect_answered(report);
  EXPECT_EQ(report.deaths, 1U);
  EXPECT_EQ(report.returns, 1U);
  EXPECT_EQ(report.sectors.took_ns, std::vector<std::int64_t>{death.returns});
  EXPECT_EQ(report.clusters.took_ns, std::vector<std::int64_t>(10, death.returns));
  EXPECT_EQ(report.clusters.not_recovered + report.sectors.not_recovered, 0U);
  EXPECT_EQ(report.breakers_opened, 0U) << "back within a second: taken back";
  EXPECT_EQ(report.quorums, report.operations);
  // 300 of 3,000 away: nine tenths are active, for so long.
  EXPECT_EQ(report.virtual_ns - report.available_ns, death.returns);
}

TEST(SimulationFaults, ADeathDuringAnOperationReachesItsQuorumAllTheSame) {
  Scenario scenario = ten_sectors();
  for (std::int64_t i = 0; i < 8; ++i) {  // at any moment of it
    Fault death = fault(FaultKind::death, FaultTarget::sector);
    death.which = i;
    death.at = scenario.settle + i * scenario.every + i * 200 * kNsPerMs;
    scenario.faults.push_back(death);
  }
  const SimulationReport report = play(scenario, 2);
  expect_answered(report);
  EXPECT_EQ(report.deaths, 8U);
  EXPECT_EQ(report.quorums, report.operations);
  EXPECT_GT(report.deliveries, report.sent) << "who came back got its message again";
}

TEST(SimulationFaults, WhoNeverComesBackLeavesTheMeshInAWorseMode) {
  Scenario scenario = small_mesh();
  Fault death = fault(FaultKind::death, FaultTarget::agents);
  death.share = 500'000;
  death.at = 100 * kNsPerSecond;
  death.returns = 0;
  scenario.faults = {death};
  const SimulationReport report = play(scenario, 3);
  expect_answered(report);
  EXPECT_GT(report.refused, 0U) << "mesh-wide operations need the operator's word";
  EXPECT_GT(report.mode_ns[static_cast<std::size_t>(health::OperatingMode::degraded_severe)],
            400 * kNsPerSecond);
  EXPECT_LT(report.available_ns, 101 * kNsPerSecond);
  EXPECT_EQ(report.returns, 0U);
}

TEST(SimulationFaults, AClusterThatFlapsOpensItsBreakerAndIsNotMissedUntilItCloses) {
  Scenario scenario = ten_sectors();
  scenario.length = 900 * kNsPerSecond;
  Fault death = fault(FaultKind::death, FaultTarget::cluster);
  death.which = 33;
  death.at = 50 * kNsPerSecond;
  death.every = 5 * kNsPerSecond;
  death.lasts = 120 * kNsPerSecond;
  death.returns = 2 * kNsPerSecond;
  scenario.faults = {death};
  const SimulationReport report = play(scenario, 4);
  expect_answered(report);
  EXPECT_GT(report.breakers_opened, 0U);
  EXPECT_EQ(report.deaths, report.returns);
  const std::int64_t slowest = *quantile_of(report.clusters.took_ns, kShareAll);
  EXPECT_GE(slowest, 30 * kNsPerSecond) << "an open breaker is no recovery";
  EXPECT_EQ(report.clusters.not_recovered, 0U);
  EXPECT_EQ(report.quorums, report.operations);
}

TEST(SimulationFaults, ALossyNetworkTakesMoreRounds) {
  Scenario scenario = small_mesh();
  Fault loss = fault(FaultKind::loss, FaultTarget::all);
  loss.rate = 200'000;
  scenario.faults = {loss};
  const SimulationReport report = play(scenario, 5);
  expect_answered(report);
  EXPECT_EQ(report.quorums, report.operations);
  EXPECT_EQ(report.quorums_at_once, 0U);
  EXPECT_NEAR(static_cast<double>(report.answers) / static_cast<double>(report.sent), 0.8, 0.02);
}

TEST(SimulationFaults, WithoutFurtherRoundsALossyNetworkHasNoQuorum) {
  Scenario scenario = small_mesh();
  scenario.rounds = 1;
  Fault loss = fault(FaultKind::loss, FaultTarget::all);
  loss.rate = 200'000;
  scenario.faults = {loss};
  const SimulationReport report = play(scenario, 5);
  expect_answered(report);
  EXPECT_EQ(report.quorums, 0U);
}

TEST(SimulationFaults, ASilentSectorIsRoutedAroundOnceItsBreakersAreOpen) {
  Scenario scenario = ten_sectors();
  scenario.length = 1'200 * kNsPerSecond;
  Fault silence = fault(FaultKind::silence, FaultTarget::sector);
  silence.which = 1;
  silence.at = 100 * kNsPerSecond;
  silence.lasts = 300 * kNsPerSecond;
  scenario.faults = {silence};
  const SimulationReport report = play(scenario, 6);
  expect_answered(report);
  EXPECT_GT(report.breakers_opened, 0U);
  EXPECT_EQ(report.quorums, report.operations);
  EXPECT_GT(report.skipped, 20 * report.operations) << "more than the agents of class F";
}

TEST(SimulationFaults, AMeshInWhichNobodyAnswersStillAnswersItsOperations) {
  Scenario scenario = small_mesh();
  scenario.faults = {fault(FaultKind::silence, FaultTarget::all)};
  const SimulationReport report = play(scenario, 7);
  expect_answered(report);
  EXPECT_EQ(report.quorums, 0U);
  EXPECT_EQ(report.answers, 0U);
}

TEST(SimulationFaults, AConflictStormIsRecordedWholeAndResolvedBeforeItIsAskedAgain) {
  Scenario scenario = small_mesh();
  Fault storm = fault(FaultKind::conflict, FaultTarget::all);
  storm.rate = 300'000;
  scenario.faults = {storm};
  const SimulationReport report = play(scenario, 8);
  expect_answered(report);
  EXPECT_EQ(report.quorums, report.operations);
  EXPECT_EQ(report.decisions[static_cast<std::size_t>(sched::QuorumDecision::kResolveConflicts)],
            report.operations);
  const ConflictCounts& counts = report.conflict_records;
  EXPECT_EQ(counts.conflicts_recorded, counts.reported);
  EXPECT_EQ(counts.reported, report.conflict_answers);
  EXPECT_GE(counts.reported, report.conflicts_counted);
  EXPECT_GE(report.conflicts_counted, report.conflicts);
  EXPECT_EQ(counts.acknowledged, counts.reported);
  EXPECT_EQ(counts.resolved + report.conflicts_open, counts.reported);
  ASSERT_TRUE(report.resolution_p99_ns.has_value());
  EXPECT_LT(*report.resolution_p99_ns, 100 * kNsPerMs)
      << "mesh.md part 11, where no person is asked";
  EXPECT_GT(counts.records, 2 * counts.reported);
}

TEST(SimulationFaults, ASlowClassIsLearned) {
  Scenario scenario = small_mesh();
  scenario.length = 1'800 * kNsPerSecond;
  const auto p90_with = [&](std::int64_t factor) {
    Scenario slowed = scenario;
    Fault slow = fault(FaultKind::slowdown, FaultTarget::agent_class);
    slow.which = 2;
    slow.factor = factor;
    if (factor != kFactorOne) slowed.faults = {slow};  // from the beginning on
    return sched::summarize(*play(slowed, 9).errors).p90_ns;
  };
  EXPECT_LT(p90_with(1'500), 2 * p90_with(kFactorOne));
}

TEST(SimulationFaults, AClockStepIsSlewedAndMovesNoArrival) {
  Scenario scenario = small_mesh();
  Fault step = fault(FaultKind::clock_step, FaultTarget::all);
  step.step = 250 * kNsPerMs;
  step.at = 100 * kNsPerSecond;
  scenario.faults = {step};
  const SimulationReport stepped = play(scenario, 10);
  scenario.faults.clear();
  const SimulationReport steady = play(scenario, 10);
  expect_answered(stepped);
  EXPECT_NE(stepped.trace_hash, steady.trace_hash);
  EXPECT_EQ(stepped.virtual_ns, steady.virtual_ns + 250 * kNsPerMs) << "as the mesh's clock has it";
  EXPECT_EQ(stepped.quorums, stepped.operations);
  const auto p99 = [](const SimulationReport& report) {
    return static_cast<double>(sched::summarize(*report.errors).p99_ns);
  };
  EXPECT_NEAR(p99(stepped), p99(steady), 0.2 * p99(steady));
}

TEST(SimulationFaults, CascadesAreTheEnginesOwnAndTimedToTheirShareOfReady) {
  for (const std::int64_t strategy : {0, 1, 2}) {
    Scenario scenario = small_mesh();
    scenario.cascade_every = 10 * kNsPerSecond;
    scenario.cascade_at = 60 * kNsPerSecond;
    scenario.cascade_lasts = 100 * kNsPerSecond;
    scenario.cascade_strategy = strategy;
    const SimulationReport report = play(scenario, 11);
    expect_answered(report);
    EXPECT_EQ(report.cascades, 10U);
    EXPECT_EQ(report.cascades_refused, 0U);
    EXPECT_EQ(report.cascade_total_ns.size(), 10U);
    EXPECT_GE(report.cascade_ns.size(), 8U) << strategy;
    for (const std::int64_t took : report.cascade_ns) {
      EXPECT_GT(took, 100 * kNsPerMs);
      EXPECT_LT(took, (strategy == 2 ? 6'000 : 3'200) * kNsPerMs);  // its windows
    }
    EXPECT_EQ(report.answers, report.ready + report.conflicts + report.late)
        << "cascades are not among operations";
    EXPECT_EQ(report.quorums, report.operations);
  }
}

TEST(SimulationFaults, CascadesThatOverlapAreToldApart) {
  Scenario scenario = small_mesh();
  scenario.every = 0;
  scenario.cascade_every = 700 * kNsPerMs;
  scenario.cascade_at = 60 * kNsPerSecond;
  scenario.cascade_lasts = 20 * kNsPerSecond;
  const SimulationReport report = play(scenario, 13);
  expect_answered(report);
  EXPECT_EQ(report.cascades, 29U);
  EXPECT_EQ(report.cascade_total_ns.size() + report.cascades_refused, report.cascades);
  const auto slowest = quantile_of(report.cascade_ns, kShareAll);
  ASSERT_TRUE(slowest.has_value());
  EXPECT_LT(*slowest, 3'200 * kNsPerMs);
}

// Found by scenario_property_test: a sector all of whose leads were behind breakers when their turn
// came stood open for ever, and the wave with it.
TEST(SimulationFaults, AWaveEndsWhereNoLeadOfASectorCanBeSentAnything) {
  Scenario scenario = small_mesh();
  scenario.agents = 131;
  scenario.stations = 1;
  scenario.length = 120 * kNsPerSecond;
  scenario.settle = 4 * kNsPerMs;
  scenario.silent = 50'000;
  scenario.conflict = 1'000;
  scenario.cv_max = 500'693;
  scenario.every = 3 * kNsPerSecond;
  scenario.window = kNsPerMs;
  scenario.timeout = 30 * kNsPerSecond;
  scenario.rounds = 3;
  scenario.cascade_every = 7 * kNsPerSecond;
  scenario.look = kNsPerUs;
  scenario.detection = 0;
  scenario.breaker_open = scenario.probe_retry = scenario.half_open = kNsPerSecond;
  for (const std::uint64_t seed : {282U, 283U, 284U}) {
    const SimulationReport report = play(scenario, seed);
    expect_answered(report);
    EXPECT_EQ(report.cascade_total_ns.size() + report.cascades_refused, report.cascades);
  }
}

TEST(SimulationFaults, TwoFaultsOverTheSameAgentsDoNotDisturbEachOther) {
  Scenario scenario = ten_sectors();
  Fault sector = fault(FaultKind::death, FaultTarget::sector);
  sector.which = 2;
  sector.at = 100 * kNsPerSecond;
  sector.returns = 5 * kNsPerSecond;
  Fault cluster = fault(FaultKind::death, FaultTarget::cluster);
  cluster.which = 21;  // of that sector
  cluster.at = 101 * kNsPerSecond;
  cluster.returns = kNsPerSecond;
  Fault flapping = fault(FaultKind::death, FaultTarget::agents);
  flapping.share = 50'000;
  flapping.every = 7 * kNsPerSecond;
  flapping.at = 90 * kNsPerSecond;
  flapping.lasts = 30 * kNsPerSecond;
  flapping.returns = 500 * kNsPerMs;
  scenario.faults = {sector, cluster, flapping};
  const SimulationReport report = play(scenario, 12);
  expect_answered(report);
  EXPECT_EQ(report.sectors.took_ns.size() + report.sectors.not_recovered, 1U);
  EXPECT_EQ(play(scenario, 12).trace_hash, report.trace_hash);
}

// Who is in the same units shares a group, and no group reaches beyond a unit.
TEST(FaultPlan, GroupsAgentsByTheUnitsThatTheyAreIn) {
  Scenario scenario;
  scenario.agents = 60;
  Fault sector = fault(FaultKind::death, FaultTarget::sector);
  Fault cluster = fault(FaultKind::death, FaultTarget::cluster);
  cluster.which = 1;
  Fault two = fault(FaultKind::death, FaultTarget::agents);
  two.count = 2;
  scenario.faults = {sector, cluster, two};
  const Population population(scenario, 1);
  const FaultPlan plan(scenario, population, 1,
                       {[](std::uint32_t agent) { return agent / 40; },
                        [](std::uint32_t agent) { return agent / 10; }});
  ASSERT_EQ(plan.units().size(), 4U);
  std::vector<int> groups_of(60);
  for (const std::vector<std::uint32_t>& group : plan.groups())
    for (const std::uint32_t agent : group) ++groups_of[agent];
  for (const DeathUnit& unit : plan.units()) {
    std::vector<std::uint32_t> reached;
    for (const std::uint32_t group : unit.groups)
      reached.insert(reached.end(), plan.groups()[group].begin(), plan.groups()[group].end());
    std::sort(reached.begin(), reached.end());
    EXPECT_EQ(reached, unit.agents);
    for (const std::uint32_t agent : unit.agents) EXPECT_EQ(groups_of[agent], 1);
  }
  EXPECT_EQ(plan.units()[0].agents.size(), 40U);
  EXPECT_EQ(plan.units()[1].agents.size(), 10U);
  EXPECT_EQ(plan.units()[2].agents.size() + plan.units()[3].agents.size(), 2U);
}

// Without the record of one step the chain of its subject has a gap, and that is seen.
TEST(ConflictRecords, AreCompleteOnlyWithEveryRecord) {
  const Scenario scenario;
  ConflictRecords records(scenario);
  ConflictReport report;
  report.subject = {7, 1};
  report.agent = AgentId{1};
  report.message = {5, 1};
  report.operation = OperationId{3};
  report.facts = {.type = sched::ConflictType::data_contradiction};
  records.report(report, 1, from_ns(kNsPerSecond));
  EXPECT_EQ(records.unresolved(OperationId{3}), 1U);
  EXPECT_TRUE(records.is_complete());
  records.report(report, 1, from_ns(kNsPerSecond));  // the same once more: the desk refuses it
  EXPECT_FALSE(records.is_complete());
  for (int i = 0; i < 100 && records.next_due() != HostTime::max(); ++i)
    records.advance(records.next_due());
  EXPECT_EQ(records.open(), 0U);
  EXPECT_EQ(records.counts().resolved, 1U);
}

}  // namespace of_simulation_faults_test
}  // namespace mesh::engine::simulation
