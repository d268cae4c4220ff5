#include "engine/coordination/chaos_harness.hpp"

#include <numeric>

#include "tests/allocations.hpp"
#include "tests/engine/coordination/chaos_kit.hpp"
#include "tests/engine/coordination/goldens.hpp"

namespace mesh::coordination {
namespace of_chaos_harness_test {

using testing::BadInput;
using testing::chaos_ms;
using testing::chaos_s;
using testing::ChaosRig;
using testing::crash_of;
using testing::fault_of;
using testing::golden;
using testing::Json;
using testing::matches;
using testing::small_chaos;
using testing::small_plan;
using testing::succeeds;

// --- goldens -----------------------------------------------------------------------------------

TEST(ChaosHarness, GoldenTargetSelection) {
  const auto [inputs, expected] = golden("chaos_harness", "target_selection");
  std::vector<std::uint32_t> agents(inputs.at("candidates").get<std::size_t>());
  std::iota(agents.begin(), agents.end(), 0U);
  draw_targets(inputs.at("seed"), inputs.at("count"), agents);
  agents.resize(inputs.at("count"));
  EXPECT_TRUE(matches(expected, agents));

  ChaosRig rig(small_chaos(), inputs.at("candidates"));
  auto plan = small_plan();
  plan.seed = inputs.at("seed");
  plan.faults[0].targets = {};
  plan.faults[0].targets.count = inputs.at("count");
  rig.start(plan);
  rig.pass(chaos_s(3));
  ASSERT_EQ(rig.struck.size(), 1U);
  std::sort(agents.begin(), agents.end());
  EXPECT_EQ(rig.struck[0], agents) << "the harness strikes those that were drawn";
}

TEST(ChaosHarness, GoldenBlastRadius) {
  const auto [inputs, expected] = golden("chaos_harness", "blast_radius");
  const std::uint32_t agents = inputs.at("agents");
  Json allowed = Json::array();
  for (std::size_t row = 0; row < inputs.at("affected").size(); ++row) {
    const std::uint32_t affected = inputs.at("affected").at(row);
    const std::uint32_t more = inputs.at("new").at(row);
    ChaosRig rig(small_chaos(), agents);
    auto plan = small_plan();
    plan.has_safety = true;
    plan.safety.blast_radius_ppm = inputs.at("max_ppm");
    plan.faults.clear();
    std::vector<std::uint32_t> first(affected);
    std::vector<std::uint32_t> second(more);
    std::iota(first.begin(), first.end(), 0U);
    std::iota(second.begin(), second.end(), 10U);
    if (affected != 0) plan.faults.push_back(crash_of(first));
    plan.faults.push_back(
        fault_of(more == 5 ? FaultType::partition : FaultType::agent_hang, second));
    rig.start(plan);
    rig.pass(chaos_s(3));
    const bool was_struck = rig.orders.size() == plan.faults.size();
    EXPECT_EQ(rig.harness.affected(), affected + (was_struck ? more : 0));
    EXPECT_EQ(rig.harness.counters().policy_rejections, was_struck ? 0U : 1U);
    allowed.push_back(was_struck);
  }
  EXPECT_TRUE(matches(
      expected, {{"limit", blast_limit(agents, inputs.at("max_ppm"))}, {"allowed", allowed}}));
}

TEST(ChaosHarness, GoldenPercentilesAndAssertions) {
  const auto [inputs, expected] = golden("chaos_harness", "percentiles_and_assertions");
  MetricWindows metrics(8, 128);
  const std::uint32_t hundred = metrics.add(hash_of("hundred"));
  for (int i = 1; i <= 100; ++i) metrics.record(hundred, i, i);
  const auto of = [&](std::uint32_t metric, Aggregation how) {
    return metrics.aggregate(metric, how, {0, 1'000});
  };
  Json gte = Json::array();
  double second = 0;
  for (std::size_t row = 0; row < inputs.at("success_rates").size(); ++row) {
    const std::uint32_t metric = metrics.add(hash_of("row" + std::to_string(row)));
    for (const double rate : inputs.at("success_rates").at(row)) metrics.record(metric, 1, rate);
    const MetricValue value = of(metric, Aggregation::avg);
    if (row == 1) second = value.value;
    if (!value.has_data) {
      gte.push_back(to_string(Verdict::no_data));
    } else {
      gte.push_back(judge({AssertionOp::gte, inputs.at("gte"), 0}, value.value, {}) ==
                    Verdict::passed);
    }
  }
  EXPECT_TRUE(matches(expected, {{"p95", of(hundred, Aggregation::p95).value},
                                 {"p99", of(hundred, Aggregation::p99).value},
                                 {"avg", of(hundred, Aggregation::avg).value},
                                 {"gte", gte},
                                 {"avg_second", second}}));
}

TEST(ChaosHarness, GoldenTolerance) {
  const auto [inputs, expected] = golden("chaos_harness", "tolerance");
  Json allowed = Json::array();
  for (const std::uint32_t tolerance : inputs.at("tolerance_ppm")) {
    allowed.push_back(failures_allowed(inputs.at("assertions"), tolerance));
  }
  EXPECT_TRUE(matches(expected, allowed));
}

TEST(ChaosHarness, GoldenKillSwitch) {
  const auto [inputs, expected] = golden("chaos_harness", "kill_switch");
  ChaosRig rig;
  rig.apply(chaos::AddMetric{inputs.at("metric")});
  auto plan = small_plan();
  plan.faults[0].duration = chaos_s(60);
  plan.has_safety = true;
  plan.safety.blast_radius_ppm = 1'000'000;
  plan.safety.kill_switches = {{inputs.at("metric"), AssertionOp::gt, inputs.at("gt"),
                                chaos_s(inputs.at("sustained_s").get<std::int64_t>())}};
  const std::uint32_t one = rig.start(plan);
  rig.pass(chaos_s(2));
  ASSERT_EQ(rig.harness.state(one), ExperimentState::running);
  const Nanos begin = rig.now;
  Json tripped = Json::array();
  for (const auto& row : inputs.at("samples_s_value")) {
    rig.now = begin + chaos_ms(static_cast<std::int64_t>(1'000 * row.at(0).get<double>()));
    rig.apply(chaos::Sample{0, 1});
    rig.apply(chaos::Sample{1, row.at(1)});
    rig.tick();
    tripped.push_back(rig.harness.counters().trips != 0);
  }
  EXPECT_TRUE(matches(expected, tripped));
  EXPECT_EQ(rig.undone_order().size(), 1U) << "undone within the tick of the sample";
}

// --- what is judged ----------------------------------------------------------------------------

TEST(ChaosHarness, JudgesEachComparisonAtItsEdge) {
  const auto holds = [](AssertionOp op, double value, double high, double actual) {
    return judge({op, value, high}, actual, {}) == Verdict::passed;
  };
  EXPECT_FALSE(holds(AssertionOp::lt, 1, 0, 1));
  EXPECT_TRUE(holds(AssertionOp::lte, 1, 0, 1 + 1e-10));
  EXPECT_FALSE(holds(AssertionOp::lte, 1, 0, 1 + 1e-8));
  EXPECT_FALSE(holds(AssertionOp::gt, 1, 0, 1));
  EXPECT_TRUE(holds(AssertionOp::gte, 1, 0, 1 - 1e-10));
  EXPECT_TRUE(holds(AssertionOp::eq, 1, 0, 1 - 1e-10));
  EXPECT_FALSE(holds(AssertionOp::eq, 1, 0, 1.1));
  EXPECT_TRUE(holds(AssertionOp::between, 1, 2, 2));
  EXPECT_FALSE(holds(AssertionOp::between, 1, 2, 2.01));
}

TEST(ChaosHarness, JudgesDeviationsByTheBaselineAndOneSampleIsNone) {
  Welford baseline;
  baseline.add(10);
  EXPECT_EQ(judge({AssertionOp::within_stddev, 2, 0}, 10, baseline), Verdict::invalid);
  baseline.add(14);  // mean 12, deviation sqrt(8)
  EXPECT_DOUBLE_EQ(baseline.stddev(), std::sqrt(8.0));
  EXPECT_EQ(judge({AssertionOp::within_stddev, 1, 0}, 14.8, baseline), Verdict::passed);
  EXPECT_EQ(judge({AssertionOp::within_stddev, 1, 0}, 14.9, baseline), Verdict::failed);
}

TEST(ChaosHarness, AggregatesWhatIsInTheWindowAndNothingElse) {
  MetricWindows metrics(1, 4);
  const std::uint32_t metric = metrics.add(hash_of("m"));
  for (int i = 1; i <= 3; ++i) metrics.record(metric, i, 10 * i);
  const auto of = [&](Aggregation how, MetricSpan span) {
    return metrics.aggregate(metric, how, span);
  };
  EXPECT_EQ(of(Aggregation::sum, {1, 3}).value, 50) << "from the first excluded";
  EXPECT_EQ(of(Aggregation::count, {0, 2}).value, 2);
  EXPECT_EQ(of(Aggregation::min, {0, 3}).value, 10);
  EXPECT_EQ(of(Aggregation::max, {0, 2}).value, 20);
  EXPECT_EQ(of(Aggregation::p50, {0, 3}).value, 20);
  EXPECT_EQ(of(Aggregation::rate, {0, 1'000'000'000}).value, 60) << "the sum a second";
  EXPECT_FALSE(of(Aggregation::sum, {3, 9}).has_data);
  for (int i = 4; i <= 6; ++i) metrics.record(metric, i, 10 * i);
  EXPECT_TRUE(of(Aggregation::sum, {0, 9}).is_overrun) << "the first two are gone";
  EXPECT_FALSE(of(Aggregation::sum, {3, 9}).is_overrun);
}

TEST(ChaosHarness, AWindowWithoutSamplesIsAFailureAndNothingIsInjected) {
  ChaosRig rig;
  rig.success = nullptr;
  const std::uint32_t one = rig.start(small_plan());
  ASSERT_TRUE(rig.pass_until_over(one));
  const auto report = rig.harness.report(one);
  EXPECT_EQ(report.state, ExperimentState::aborted);
  EXPECT_EQ(report.reason, ChaosReason::verification_failed);
  EXPECT_FALSE(report.hypothesis_held);
  ASSERT_EQ(report.findings.size(), 1U);
  EXPECT_EQ(report.findings[0].verdict, Verdict::no_data);
  EXPECT_EQ(report.issues.at(0).category, IssueCategory::no_data);
  EXPECT_TRUE(rig.orders.empty());
}

TEST(ChaosHarness, AnUnsteadyStateBeforehandInjectsNothing) {
  ChaosRig rig;
  rig.success = [](Nanos) { return 0.9; };
  const std::uint32_t one = rig.start(small_plan());
  ASSERT_TRUE(rig.pass_until_over(one));
  EXPECT_EQ(rig.harness.report(one).reason, ChaosReason::verification_failed);
  EXPECT_TRUE(rig.orders.empty());
}

TEST(ChaosHarness, APreflightHasNoTolerance) {
  ChaosRig rig;
  auto plan = small_plan();
  plan.hypothesis.tolerance_ppm = 1'000'000;
  plan.has_safety = true;
  plan.safety.blast_radius_ppm = 1'000'000;
  plan.safety.preflight = {succeeds(1.5)};
  const std::uint32_t one = rig.start(plan);
  ASSERT_TRUE(rig.pass_until_over(one));
  EXPECT_EQ(rig.harness.state(one), ExperimentState::aborted);
}

TEST(ChaosHarness, AnExperimentWithoutFaultsHoldsWithoutAnyIssue) {
  ChaosRig rig;
  auto plan = small_plan();
  plan.faults.clear();
  plan.phases = {{"nothing", {}, Nanos{0}, chaos_s(5), true, true}};
  const std::uint32_t one = rig.start(plan);
  ASSERT_TRUE(rig.pass_until_over(one));
  const auto report = rig.harness.report(one);
  EXPECT_EQ(report.state, ExperimentState::completed);
  EXPECT_TRUE(report.hypothesis_held);
  EXPECT_TRUE(report.issues.empty());
  EXPECT_EQ(report.impact.recovery_time, Nanos{0});
  EXPECT_EQ(report.impact.affected, 0U);
}

TEST(ChaosHarness, AHypothesisThatDoesNotHoldUnderTheFaultIsAnIssueWithItsRepro) {
  ChaosRig rig;
  const auto plan = small_plan();
  const std::uint32_t one = rig.start(plan);
  rig.success = [&](Nanos) { return rig.harness.is_armed() ? 0.5 : 1.0; };
  ASSERT_TRUE(rig.pass_until_over(one));
  const auto report = rig.harness.report(one);
  EXPECT_EQ(report.state, ExperimentState::completed);
  EXPECT_FALSE(report.hypothesis_held);
  ASSERT_EQ(report.issues.size(), 1U);
  EXPECT_EQ(report.issues[0].category, IssueCategory::hypothesis);
  EXPECT_EQ(report.issues[0].seed, plan.seed);
  EXPECT_EQ(report.issues[0].plan_hash, plan_hash(plan));
  EXPECT_TRUE(report.impact.has_availability);
  EXPECT_NEAR(report.impact.availability_drop, 0.5, 0.1);
}

TEST(ChaosHarness, ThreeGoodWindowsAreARecoveryAndItBeginsWithTheFirst) {
  ChaosRig rig;
  auto plan = small_plan();
  plan.hypothesis.cooldown = chaos_s(3);
  const std::uint32_t one = rig.start(plan);
  rig.pass(chaos_s(8));
  ASSERT_EQ(rig.harness.state(one), ExperimentState::analyzing);
  const Nanos removed = chaos_ms(7'500);
  rig.success = [=](Nanos now) { return now - removed > chaos_s(4) ? 1.0 : 0.1; };
  ASSERT_TRUE(rig.pass_until_over(one));
  const auto report = rig.harness.report(one);
  EXPECT_TRUE(report.impact.has_recovered);
  EXPECT_EQ(report.impact.recovery_time, chaos_s(4));
  EXPECT_TRUE(report.hypothesis_held);
}

TEST(ChaosHarness, WhatDoesNotRecoverWithinThreeCooldownsHasNotHeld) {
  ChaosRig rig;
  const std::uint32_t one = rig.start(small_plan());
  rig.pass(chaos_s(8));
  ASSERT_EQ(rig.harness.state(one), ExperimentState::analyzing);
  rig.success = [](Nanos) { return 0.1; };
  ASSERT_TRUE(rig.pass_until_over(one));
  const auto report = rig.harness.report(one);
  EXPECT_EQ(report.state, ExperimentState::completed);
  EXPECT_FALSE(report.hypothesis_held);
  EXPECT_EQ(report.issues.at(0).category, IssueCategory::not_recovered);
}

// --- what may begin ----------------------------------------------------------------------------

TEST(ChaosHarness, WaitsForItsApproval) {
  ChaosRig rig;
  auto plan = small_plan();
  plan.has_safety = true;
  plan.safety = ChaosSafety::preset("gameday").value();
  const auto made = rig.apply(plan);
  EXPECT_EQ(rig.apply(chaos::Start{made.id}).code, Errc::not_authorized);
  EXPECT_EQ(rig.apply(chaos::Approve{made.id, "operator"}).code, Errc::ok);
  EXPECT_EQ(rig.apply(chaos::Start{made.id}).state, ExperimentState::precheck);
}

TEST(ChaosHarness, ALiveMeshNeedsLeaveApprovalAndTheLabelOfEachTarget) {
  auto config = small_chaos();
  config.driver = ChaosDriver::live;
  ChaosRig forbidden(config);
  const auto made = forbidden.apply(small_plan());
  forbidden.apply(chaos::Approve{made.id, "operator"});
  EXPECT_EQ(forbidden.apply(chaos::Start{made.id}).code, Errc::not_authorized);
  config.allow_live = true;
  ChaosRig rig(config);
  rig.apply(chaos::SetAgent{3, 0, 0, ChaosRole::member, 0});  // without the label
  auto plan = small_plan();
  plan.faults = {crash_of({3}), fault_of(FaultType::agent_hang, {4})};
  const auto live = rig.apply(plan);
  EXPECT_EQ(rig.apply(chaos::Start{live.id}).code, Errc::not_authorized) << "not approved";
  rig.apply(chaos::Approve{live.id, "operator"});
  rig.apply(chaos::Start{live.id});
  rig.pass(chaos_s(3));
  ASSERT_EQ(rig.orders.size(), 1U);
  EXPECT_EQ(rig.orders[0].type, FaultType::agent_hang);
  EXPECT_EQ(rig.harness.report(live.id).issues.at(0).code, Errc::not_authorized);
}

TEST(ChaosHarness, ThePresetOfSimulationIsForSimulationAlone) {
  auto config = small_chaos();
  config.driver = ChaosDriver::live;
  config.allow_live = true;
  config.safety = ChaosSafety::preset("simulation").value();
  ChaosRig rig(config);
  const auto reply = rig.apply(small_plan());
  EXPECT_EQ(reply.code, Errc::ok);
  EXPECT_EQ(reply.refusal, Refusal::rejected_policy);
  EXPECT_EQ(rig.harness.state(0), ExperimentState::none);
}

TEST(ChaosHarness, RunsOneAtATimeUnlessAllAgreeToMore) {
  ChaosRig rig;
  rig.start(small_plan("first"));
  const auto second = rig.apply(small_plan("second"));
  EXPECT_EQ(rig.apply(chaos::Start{second.id}).refusal, Refusal::would_block);
  EXPECT_EQ(rig.harness.state(second.id), ExperimentState::draft);
  ASSERT_TRUE(rig.pass_until_over(0));
  EXPECT_EQ(rig.apply(chaos::Start{second.id}).state, ExperimentState::precheck);
}

TEST(ChaosHarness, StartsWhenItIsTimeAndNoBlockedWindowIsOverIt) {
  ChaosRig rig;
  auto plan = small_plan();
  plan.starts_at = chaos_s(10);
  plan.has_safety = true;
  plan.safety.blast_radius_ppm = 1'000'000;
  plan.safety.blocked_windows = {{chaos_s(5), chaos_s(20), chaos_s(100)}};
  const std::uint32_t one = rig.start(plan);
  rig.pass(chaos_s(19));
  EXPECT_EQ(rig.harness.state(one), ExperimentState::scheduled);
  rig.pass(chaos_s(1));
  EXPECT_EQ(rig.harness.state(one), ExperimentState::precheck);
  plan.name = "by hand";
  plan.starts_at = Nanos{0};
  const auto other = rig.apply(plan);
  rig.now = chaos_s(110);  // the next of these windows is from 105 to 120
  const auto reply = rig.apply(chaos::Start{other.id});
  EXPECT_EQ(reply.refusal, Refusal::rejected_policy);
  EXPECT_EQ(reply.retry_after, chaos_s(10));
}

// --- the example -------------------------------------------------------------------------------

TEST(ChaosHarness, CrashesAnAgentUndoesItAndReportsThatTheHypothesisHeld) {
  ChaosRig rig;
  auto plan = small_plan();
  plan.faults[0].targets = {};
  const std::uint32_t one = rig.start(plan);
  ASSERT_TRUE(rig.pass_until_over(one));
  const auto reply = rig.apply(chaos::Report{one});
  EXPECT_TRUE(reply.report.hypothesis_held);
  EXPECT_EQ(reply.report.impact.affected, 1U);
  ASSERT_EQ(reply.report.injections.size(), 1U);
  EXPECT_EQ(reply.report.injections[0].status, InjectionStatus::undone);
  ASSERT_EQ(rig.orders.size(), 2U);
  EXPECT_FALSE(rig.orders[0].is_undo);
  EXPECT_TRUE(rig.orders[1].is_undo);
  EXPECT_EQ(rig.struck[0], rig.struck[1]);
  EXPECT_EQ(rig.harness.counters().completed, 1U);
}

TEST(ChaosHarness, AllocatesNothingWhileItRuns) {
  ChaosRig rig;
  rig.answers = false;
  auto plan = small_plan();
  plan.faults = {crash_of({3}), fault_of(FaultType::agent_hang, {4, 5})};
  rig.start(plan);
  ChaosActions actions;
  actions.orders.reserve(16);
  actions.targets.reserve(64);
  const std::uint64_t before = mesh::testing::allocation_count();
  std::uint64_t seen = 0;
  for (int i = 0; i < 100; ++i) {
    rig.now += chaos_ms(100);
    rig.harness.apply(chaos::Sample{0, 1}, rig.now);
    rig.harness.tick(rig.now, actions);
    for (const auto& order : actions.orders) {
      ++seen;
      if (order.is_undo) {
        rig.harness.apply(chaos::Undone{order.injection}, rig.now);
      } else {
        rig.harness.apply(chaos::Confirm{order.injection, Errc::ok}, rig.now);
      }
    }
  }
  EXPECT_EQ(mesh::testing::allocation_count(), before);
  EXPECT_EQ(seen, 4U);
}

}  // namespace of_chaos_harness_test
}  // namespace mesh::coordination
