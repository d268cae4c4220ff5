// Faults of the chaos harness: for whom, how many, until when, and that each is undone whatever
// happens.
#include "engine/coordination/chaos_harness.hpp"
#include "tests/engine/coordination/chaos_kit.hpp"

namespace mesh::coordination {
namespace of_chaos_faults_test {

using testing::chaos_ms;
using testing::chaos_s;
using testing::ChaosRig;
using testing::crash_of;
using testing::fault_of;
using testing::small_chaos;
using testing::small_plan;

std::vector<std::uint32_t> struck_by(ChaosTargets targets) {
  ChaosRig rig;
  rig.apply(chaos::AddLabel{"role=db"});  // label 1
  for (const std::uint32_t agent : {2U, 9U, 25U}) {
    rig.apply(chaos::SetAgent{agent, agent / 10, 7, ChaosRole::member, 3});
  }
  auto plan = small_plan();
  plan.faults[0].targets = std::move(targets);
  rig.start(plan);
  rig.pass(chaos_s(3));
  return rig.struck.empty() ? std::vector<std::uint32_t>{} : rig.struck[0];
}

TEST(ChaosFaults, StrikeWhomTheirTargetsName) {
  using Agents = std::vector<std::uint32_t>;
  ChaosTargets targets;
  targets.mode = TargetMode::specific;
  targets.agents = {4, 8};
  EXPECT_EQ(struck_by(targets), (Agents{4, 8}));
  targets.exclude_labels = 1;
  EXPECT_EQ(struck_by(targets), Agents{}) << "one that is named and excluded is no candidate";
  targets = {};
  targets.mode = TargetMode::label_match;
  targets.labels = 2;
  EXPECT_EQ(struck_by(targets), (Agents{2, 9, 25}));
  targets.mode = TargetMode::sector;
  targets.labels = 0;
  targets.which = 7;
  EXPECT_EQ(struck_by(targets), (Agents{2, 9, 25}));
  targets.mode = TargetMode::role;
  targets.role = ChaosRole::cluster_lead;
  targets.count = 0;
  EXPECT_EQ(struck_by(targets), (Agents{0, 10, 20}));
  targets.mode = TargetMode::cluster;
  targets.which = 2;
  targets.exclude_labels = 2;
  EXPECT_EQ(struck_by(targets), (Agents{20, 21, 22, 23, 24, 26, 27, 28, 29}));
  targets = {};
  targets.mode = TargetMode::percentage;
  targets.percentage_ppm = 100'000;
  EXPECT_EQ(struck_by(targets).size(), 3U);
  targets.mode = TargetMode::random;
  targets.count = 31;
  EXPECT_EQ(struck_by(targets), Agents{}) << "fewer candidates than wanted";
}

TEST(ChaosFaults, OfWhichNoneIsInjectedMakeAnIssueAndNoProof) {
  ChaosRig rig;
  auto plan = small_plan();
  plan.faults[0].targets = {};
  plan.faults[0].targets.count = 31;
  const std::uint32_t one = rig.start(plan);
  ASSERT_TRUE(rig.pass_until_over(one));
  const auto report = rig.harness.report(one);
  EXPECT_EQ(report.state, ExperimentState::completed);
  EXPECT_FALSE(report.hypothesis_held) << "nothing was broken: nothing is shown";
  EXPECT_EQ(report.issues.at(0).category, IssueCategory::not_injected);
  EXPECT_EQ(report.issues.at(0).code, Errc::no_candidate);
  EXPECT_TRUE(rig.orders.empty());
}

TEST(ChaosFaults, OneThatIsWithheldEndsAStrictExperiment) {
  ChaosRig rig;
  auto plan = small_plan();
  plan.has_safety = true;
  plan.safety.is_strict = true;  // 3 of 30
  plan.faults = {crash_of({1, 2}), fault_of(FaultType::agent_hang, {3, 4})};
  const std::uint32_t one = rig.start(plan);
  ASSERT_TRUE(rig.pass_until_over(one));
  const auto report = rig.harness.report(one);
  EXPECT_EQ(report.state, ExperimentState::aborted);
  EXPECT_EQ(report.reason, ChaosReason::not_injected);
  EXPECT_EQ(report.issues.at(0).category, IssueCategory::blast_radius);
  EXPECT_EQ(rig.harness.affected(), 0U) << "the first was taken back before anybody was told";
  EXPECT_TRUE(rig.orders.empty());
}

TEST(ChaosFaults, KeepAsManyHealthyAsIsAsked) {
  ChaosRig rig;
  auto plan = small_plan();
  plan.has_safety = true;
  plan.safety.blast_radius_ppm = 1'000'000;
  plan.safety.healthy_min = 29;
  plan.faults = {crash_of({1}), fault_of(FaultType::agent_hang, {3})};
  rig.start(plan);
  rig.pass(chaos_s(3));
  EXPECT_EQ(rig.orders.size(), 1U);
  EXPECT_EQ(rig.harness.counters().policy_rejections, 1U);
}

TEST(ChaosFaults, APartitionAffectsItsSmallerSide) {
  ChaosRig rig;
  auto plan = small_plan();
  plan.faults[0].type = FaultType::partition;
  plan.faults[0].targets = {};
  plan.faults[0].targets.mode = TargetMode::label_match;
  plan.faults[0].targets.exclude_labels = 0;
  rig.apply(chaos::AddLabel{"minority"});
  for (const std::uint32_t agent : {1U, 2U, 3U}) {
    rig.apply(chaos::SetAgent{agent, 0, 0, ChaosRole::member, 3});
  }
  plan.faults[0].targets.exclude_labels = 2;  // the other 27
  rig.start(plan);
  rig.pass(chaos_s(3));
  ASSERT_EQ(rig.struck.size(), 1U);
  EXPECT_EQ(rig.struck[0], (std::vector<std::uint32_t>{1, 2, 3}));
  EXPECT_EQ(rig.harness.affected(), 3U);
}

TEST(ChaosFaults, CountTheirAgentsUntilThoseHaveRecoveredAndCooledDown) {
  ChaosRig rig;
  rig.recovers = false;
  const std::uint32_t one = rig.start(small_plan());
  rig.pass(chaos_s(8));
  EXPECT_EQ(rig.harness.in_force(), 0U);
  EXPECT_TRUE(rig.harness.is_affected(3)) << "un-faulted is not recovered";
  ASSERT_TRUE(rig.pass_until_over(one));
  EXPECT_TRUE(rig.harness.is_affected(3));
  rig.apply(chaos::Recovered{3});
  rig.pass(chaos_ms(500));
  EXPECT_TRUE(rig.harness.is_affected(3)) << "its cooldown";
  rig.pass(chaos_ms(500));
  EXPECT_FALSE(rig.harness.is_affected(3));
}

TEST(ChaosFaults, AnAgentWithAFaultHasNotRecoveredAndDoesNotLeave) {
  ChaosRig rig;
  rig.start(small_plan());
  rig.pass(chaos_s(3));
  EXPECT_EQ(rig.apply(chaos::Recovered{3}).code, Errc::wrong_state);
  EXPECT_EQ(rig.apply(chaos::RemoveAgent{3}).code, Errc::wrong_state);
}

TEST(ChaosFaults, OfOneTypeStrikeNoAgentTwiceAndOfTwoTypesTheyMay) {
  ChaosRig rig;
  auto plan = small_plan();
  plan.faults.clear();
  plan.phases.resize(2);
  plan.phases[0].duration = chaos_s(1);
  plan.phases[0].faults = {crash_of({3}, chaos_s(10)),
                           fault_of(FaultType::agent_slowdown, {3}, chaos_s(10))};
  plan.phases[1].duration = chaos_s(1);
  plan.phases[1].faults = {crash_of({3}, chaos_s(1))};
  const std::uint32_t one = rig.start(plan);
  rig.pass(chaos_ms(3'500));  // within the second phase
  EXPECT_EQ(rig.orders.size(), 2U);
  EXPECT_EQ(rig.harness.report(one).issues.at(0).code, Errc::conflict);
}

TEST(ChaosFaults, AreUndoneInReverseOrder) {
  ChaosRig rig;
  auto plan = small_plan();
  plan.faults = {crash_of({1}), fault_of(FaultType::agent_hang, {2}),
                 fault_of(FaultType::packet_loss, {3})};
  rig.start(plan);
  rig.pass(chaos_s(3));
  rig.apply(chaos::Kill{0});
  rig.pass(chaos_ms(500));
  EXPECT_EQ(rig.undone_order(), (std::vector<std::uint64_t>{3, 2, 1}));
  EXPECT_EQ(rig.harness.state(0), ExperimentState::rolling_back);
  rig.pass(chaos_ms(500));
  EXPECT_EQ(rig.harness.state(0), ExperimentState::aborted);
  EXPECT_EQ(rig.harness.report(0).reason, ChaosReason::killed);
}

TEST(ChaosFaults, AnUndoIsGivenAgainUntilItIsAnsweredAndAnsweredTwiceIsOnce) {
  ChaosRig rig;
  rig.start(small_plan());
  rig.pass(chaos_s(3));
  rig.answers = false;
  rig.apply(chaos::Kill{0});
  rig.pass(chaos_s(3));
  EXPECT_EQ(rig.undone_order(), (std::vector<std::uint64_t>{1, 1, 1})) << "one a second";
  EXPECT_EQ(rig.apply(chaos::Undone{1}).code, Errc::ok);
  const std::uint64_t hash = rig.harness.state_hash();
  EXPECT_EQ(rig.apply(chaos::Undone{1}).code, Errc::ok);
  EXPECT_EQ(rig.harness.state_hash(), hash);
  rig.pass(chaos_s(3));
  EXPECT_EQ(rig.undone_order().size(), 3U);
}

TEST(ChaosFaults, OneWhoseUndoNobodyAnswersLapsesAtItsEndAndGrace) {
  ChaosRig rig;
  const std::uint32_t one = rig.start(small_plan());
  rig.pass(chaos_s(3));
  rig.answers = false;
  ASSERT_EQ(rig.orders.size(), 1U);
  EXPECT_EQ(rig.orders[0].expires, rig.orders[0].ends + small_chaos().grace_ns);
  rig.pass(rig.orders[0].expires - rig.now - chaos_ms(1));
  EXPECT_TRUE(rig.harness.is_armed());
  rig.pass(chaos_ms(1));
  EXPECT_FALSE(rig.harness.is_armed());
  ASSERT_TRUE(rig.pass_until_over(one));
  const auto report = rig.harness.report(one);
  EXPECT_EQ(report.injections.at(0).status, InjectionStatus::lapsed);
  EXPECT_EQ(report.issues.at(0).category, IssueCategory::unconfirmed);
}

TEST(ChaosFaults, ADriverThatIsSilentMayHaveDoneItSoAllIsRolledBack) {
  ChaosRig rig;
  rig.answers = false;
  const std::uint32_t one = rig.start(small_plan());
  rig.pass(chaos_s(3));
  EXPECT_EQ(rig.harness.state(one), ExperimentState::rolling_back);
  EXPECT_EQ(rig.undone_order(), std::vector<std::uint64_t>{1});
  rig.apply(chaos::Undone{1});
  rig.pass(chaos_ms(500));
  EXPECT_EQ(rig.harness.report(one).reason, ChaosReason::driver_silent);
  EXPECT_TRUE(rig.harness.is_affected(3)) << "it may have been struck";
}

TEST(ChaosFaults, WhatTheDriverCannotDoIsNeverCountedAsDone) {
  ChaosRig rig;
  rig.confirms_with = Errc::unsupported;
  const std::uint32_t one = rig.start(small_plan());
  ASSERT_TRUE(rig.pass_until_over(one));
  const auto report = rig.harness.report(one);
  EXPECT_FALSE(report.hypothesis_held);
  EXPECT_EQ(report.injections.at(0).status, InjectionStatus::refused);
  EXPECT_EQ(report.injections.at(0).code, Errc::unsupported);
  EXPECT_EQ(report.issues.at(0).category, IssueCategory::not_injected);
  EXPECT_TRUE(rig.undone_order().empty());
  EXPECT_FALSE(rig.harness.is_affected(3));
}

TEST(ChaosFaults, ArmOneByteAndAWordForEachOfTheirAgents) {
  ChaosRig rig;
  EXPECT_FALSE(rig.harness.is_armed());
  auto plan = small_plan();
  plan.faults = {fault_of(FaultType::agent_slowdown, {5})};
  rig.start(plan);
  rig.pass(chaos_s(3));
  EXPECT_TRUE(rig.harness.is_armed());
  const FaultWord word = rig.harness.word(5);
  EXPECT_TRUE(word.is_set);
  EXPECT_EQ(word.type, FaultType::agent_slowdown);
  EXPECT_EQ(word.parameter, 4'000U);
  EXPECT_EQ(word.expires, rig.orders.at(0).expires);
  EXPECT_FALSE(rig.harness.word(6).is_set);
  rig.pass(chaos_s(6));
  EXPECT_FALSE(rig.harness.is_armed());
  EXPECT_FALSE(rig.harness.word(5).is_set);
}

// --- phases ------------------------------------------------------------------------------------

chaos::Create two_phases() {
  auto plan = small_plan();
  plan.faults.clear();
  plan.phases.resize(2);
  for (auto& phase : plan.phases) {
    phase.delay_before = chaos_s(1);
    phase.duration = chaos_s(2);
    ChaosFault fault;
    fault.targets.count = 2;
    phase.faults = {fault};
  }
  return plan;
}

TEST(ChaosPhases, FollowEachOtherWithTheirDelays) {
  ChaosRig rig;
  const std::uint32_t one = rig.start(two_phases());
  ASSERT_TRUE(rig.pass_until_over(one));
  ASSERT_EQ(rig.orders.size(), 4U);
  EXPECT_EQ(rig.orders[0].ends, chaos_s(2 + 1 + 2));
  EXPECT_TRUE(rig.orders[1].is_undo);
  EXPECT_FALSE(rig.orders[2].is_undo);
  EXPECT_GE(rig.orders[2].ends, chaos_s(5 + 1 + 2));
  EXPECT_TRUE(rig.harness.has_held(one));
}

TEST(ChaosPhases, PausedUndoTheirFaultsAndResumedStrikeTheSame) {
  ChaosRig rig;
  const std::uint32_t one = rig.start(two_phases());
  rig.pass(chaos_ms(3'500));
  ASSERT_EQ(rig.orders.size(), 1U);
  EXPECT_EQ(rig.apply(chaos::Pause{one}).state, ExperimentState::paused);
  rig.pass(chaos_s(30));
  ASSERT_EQ(rig.orders.size(), 2U) << "undone, and nothing more";
  EXPECT_TRUE(rig.orders[1].is_undo);
  EXPECT_EQ(rig.apply(chaos::Resume{one}).state, ExperimentState::running);
  rig.pass(chaos_ms(1'500));
  ASSERT_EQ(rig.orders.size(), 3U);
  EXPECT_EQ(rig.struck[2], rig.struck[0]);
  ASSERT_TRUE(rig.pass_until_over(one));
  EXPECT_TRUE(rig.harness.has_held(one));
}

TEST(ChaosPhases, AViolationEndsThoseThatSaySo) {
  ChaosRig rig;
  auto plan = two_phases();
  plan.phases[0].abort_on_violation = true;
  const std::uint32_t one = rig.start(plan);
  rig.success = [&](Nanos) { return rig.harness.is_armed() ? 0.5 : 1.0; };
  ASSERT_TRUE(rig.pass_until_over(one));
  const auto report = rig.harness.report(one);
  EXPECT_EQ(report.state, ExperimentState::aborted);
  EXPECT_EQ(report.reason, ChaosReason::violation);
  EXPECT_TRUE(report.was_rolled_back);
  EXPECT_EQ(report.injections.size(), 1U);
}

TEST(ChaosSwitch, TripsWhereNobodySeesAnything) {
  ChaosRig rig;
  auto plan = small_plan();
  plan.has_safety = true;
  plan.safety.blast_radius_ppm = 1'000'000;
  plan.safety.kill_switches = {{"success_rate", AssertionOp::lt, 0.5, chaos_s(2)}};
  plan.faults[0].duration = chaos_s(60);
  const std::uint32_t one = rig.start(plan);
  rig.pass(chaos_s(3));
  rig.success = nullptr;
  rig.pass(chaos_s(2));
  EXPECT_EQ(rig.harness.state(one), ExperimentState::running) << "not longer than sustained";
  rig.pass(chaos_ms(500));
  EXPECT_EQ(rig.harness.state(one), ExperimentState::rolling_back);
  EXPECT_EQ(rig.undone_order().size(), 1U) << "in the tick that saw it";
  ASSERT_TRUE(rig.pass_until_over(one));
  EXPECT_EQ(rig.harness.report(one).reason, ChaosReason::blind);
}

TEST(ChaosSwitch, WithoutRollbackIsAnIssueAndTheExperimentGoesOn) {
  ChaosRig rig;
  auto plan = small_plan();
  plan.has_safety = true;
  plan.safety.blast_radius_ppm = 1'000'000;
  plan.safety.auto_rollback = false;
  plan.safety.kill_switches = {{"success_rate", AssertionOp::lt, 0.5, chaos_s(2)}};
  const std::uint32_t one = rig.start(plan);
  rig.success = [&](Nanos) { return rig.harness.is_armed() ? 0.1 : 1.0; };
  ASSERT_TRUE(rig.pass_until_over(one));
  const auto report = rig.harness.report(one);
  EXPECT_EQ(report.state, ExperimentState::completed);
  EXPECT_FALSE(report.hypothesis_held);
  EXPECT_EQ(report.issues.at(0).category, IssueCategory::kill_switch);
}

TEST(ChaosKill, WorksInEveryStateThatIsNotOver) {
  const auto expect_killed = [](Nanos after, ExperimentState in) {
    SCOPED_TRACE(to_string(in));
    ChaosRig rig;
    auto plan = small_plan();
    if (in == ExperimentState::scheduled) plan.starts_at = chaos_s(50);
    const auto made = rig.apply(plan);
    if (in != ExperimentState::draft) rig.apply(chaos::Start{made.id});
    rig.pass(after);
    if (in == ExperimentState::paused) rig.apply(chaos::Pause{made.id});
    if (in == ExperimentState::rolling_back) {
      rig.answers = false;
      rig.apply(chaos::Kill{made.id});
    }
    ASSERT_EQ(rig.harness.state(made.id), in);
    EXPECT_EQ(rig.apply(chaos::Kill{made.id}).state, ExperimentState::rolling_back);
    rig.answers = true;
    ASSERT_TRUE(rig.pass_until_over(made.id));
    EXPECT_EQ(rig.harness.state(made.id), ExperimentState::aborted);
    EXPECT_EQ(rig.harness.in_force(), 0U);
    EXPECT_EQ(rig.apply(chaos::Kill{made.id}).code, Errc::wrong_state);
    EXPECT_EQ(rig.apply(chaos::Forget{made.id}).code, Errc::ok);
    EXPECT_EQ(rig.harness.state(made.id), ExperimentState::none);
  };
  expect_killed(Nanos{0}, ExperimentState::draft);
  expect_killed(chaos_s(1), ExperimentState::scheduled);
  expect_killed(chaos_s(1), ExperimentState::precheck);
  expect_killed(chaos_s(3), ExperimentState::running);
  expect_killed(chaos_s(3), ExperimentState::paused);
  expect_killed(chaos_s(3), ExperimentState::rolling_back);
  expect_killed(chaos_s(8), ExperimentState::analyzing);
}

// --- results -----------------------------------------------------------------------------------

TEST(ChaosResults, TheDepthOfACascadeIsItsLongestChainAcrossAgentsAndBreakers) {
  ChaosRig rig;
  const std::uint32_t one = rig.start(small_plan());
  rig.apply(chaos::Effect{1, 0, 3, false});
  rig.pass(chaos_s(3));
  rig.apply(chaos::Effect{2, 1, 3, false});  // the same agent: no crossing
  rig.apply(chaos::Effect{3, 2, 4, false});
  rig.apply(chaos::Effect{4, 3, 4, true});
  rig.apply(chaos::Effect{5, 1, 9, false});
  EXPECT_EQ(rig.apply(chaos::Effect{5, 1, 9, false}).code, Errc::duplicate);
  EXPECT_EQ(rig.harness.report(one).impact.cascade_depth, 2U);
}

TEST(ChaosResults, HoldAgainstEveryOtherPlanAndSeed) {
  const auto plan = small_plan();
  auto other = plan;
  other.seed = 8;
  EXPECT_NE(plan_hash(plan), plan_hash(other));
  other = plan;
  other.faults[0].params.factor_milli = 1;
  EXPECT_NE(plan_hash(plan), plan_hash(other));
  other = plan;
  other.name = "renamed";
  EXPECT_EQ(plan_hash(plan), plan_hash(other)) << "what happens is the same";
}

// --- deaths ------------------------------------------------------------------------------------

using Journaled = JournaledService<ChaosHarness>;

// The order left, and the harness died: whoever opens the journal knows it and takes it back.
TEST(ChaosDeath, TheUndoOfEveryOrderThatLeftIsInTheJournal) {
  MemoryJournal journal;
  std::uint64_t sequence = 0;
  ChaosActions actions;
  {
    auto service = Journaled::open(small_chaos(), journal);
    const auto say = [&](const ChaosCommand& command, Nanos now) {
      return service->execute({{1, ++sequence}, command}, now).value();
    };
    say(chaos::AddMetric{"success_rate"}, Nanos{0});
    for (std::uint32_t agent = 0; agent < 10; ++agent) say(chaos::SetAgent{agent}, Nanos{0});
    say(small_plan(), Nanos{0});
    say(chaos::Start{0}, Nanos{0});
    say(chaos::Sample{0, 1}, chaos_s(1));
    ASSERT_TRUE(service->tick(chaos_s(2), actions));
    ASSERT_EQ(actions.orders.size(), 1U);
  }
  journal.crash(0);  // nothing that was not synced is left
  auto again = Journaled::open(small_chaos(), journal);
  ASSERT_TRUE(again) << again.error().sentence;
  EXPECT_TRUE(again->service().is_armed());
  again->execute({{1, ++sequence}, chaos::Restarted{}}, chaos_s(3)).value();
  ASSERT_TRUE(again->tick(chaos_s(3), actions));
  ASSERT_EQ(actions.orders.size(), 1U);
  EXPECT_TRUE(actions.orders[0].is_undo);
  EXPECT_EQ(actions.orders[0].injection, 1U);
  again->execute({{1, ++sequence}, chaos::Undone{1}}, chaos_s(3)).value();
  ASSERT_TRUE(again->tick(chaos_s(4), actions));
  EXPECT_FALSE(again->service().is_armed());
  const auto report = again->service().report(0);
  EXPECT_EQ(report.state, ExperimentState::aborted);
  EXPECT_EQ(report.reason, ChaosReason::engine_restarted);
}

TEST(ChaosDeath, AtAnyStepLosesNoAnswerAndChangesNoOutcome) {
  auto config = small_chaos();
  config.timeline_max = 16;
  testing::CrashSweep<ChaosHarness> sweep(config, testing::chaos_trace(config, 60, 11));
  sweep.with_ticks();
  EXPECT_GT(sweep.run(9), 300U);
}

}  // namespace of_chaos_faults_test
}  // namespace mesh::coordination
