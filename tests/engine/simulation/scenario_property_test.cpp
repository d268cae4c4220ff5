// Scenarios that nobody wrote: whatever happens to a mesh, its operations are answered, its
// conflicts are recorded, and a seed plays it the same way again.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "tests/engine/simulation/small_mesh.hpp"

namespace mesh::engine::simulation {
namespace of_scenario_property_test {

using testing::play;

std::int64_t seconds(int from, int to) {
  return *rc::gen::inRange(from * 1'000, to * 1'000) * kNsPerMs;
}
std::int64_t share() {
  return *rc::gen::element<std::int64_t>(0, 1'000, 50'000, 400'000, kShareAll);
}

Fault any_fault() {
  Fault fault;
  fault.kind = *rc::gen::inRange(1, 7);
  fault.target = *rc::gen::inRange(0, 5);
  fault.which = *rc::gen::inRange(0, 6);
  fault.count = *rc::gen::inRange(1, 4);
  fault.share = *rc::gen::element<std::int64_t>(0, 0, 20'000, 500'000);
  fault.at = seconds(0, 50);
  fault.lasts = *rc::gen::element<std::int64_t>(0, 1, 20, 60) * kNsPerSecond;
  fault.returns = *rc::gen::element<std::int64_t>(0, 1, 300, 2'000, 20'000) * kNsPerMs;
  fault.factor = *rc::gen::element<std::int64_t>(10, 500, 3'000, 50'000);
  fault.rate = std::max<std::int64_t>(share(), 1);
  fault.step = *rc::gen::element<std::int64_t>(-5'000, -1, 1, 250, 60'000) * kNsPerMs;
  if (static_cast<FaultKind>(fault.kind) != FaultKind::death) return fault;
  fault.every = *rc::gen::element<std::int64_t>(0, 3, 15) * kNsPerSecond;
  if (fault.target == 0) fault.target = 4;
  return fault;
}

// Pipelines, leads' quorums, newcomers and contexts.
void add_more(Scenario& scenario) {
  scenario.pipeline_every = *rc::gen::element<std::int64_t>(0, 0, 2, 11) * kNsPerSecond;
  scenario.pipeline_steps = *rc::gen::inRange(1, 33);
  scenario.pipeline_window = *rc::gen::element<std::int64_t>(1, 500, 16'000) * kNsPerMs;
  scenario.quorum_every = *rc::gen::element<std::int64_t>(0, 0, 3) * kNsPerSecond;
  scenario.quorum_lead_window = *rc::gen::element<std::int64_t>(1, 1'000, 9'000) * kNsPerMs;
  scenario.quorum_window = *rc::gen::element<std::int64_t>(1, 2'000) * kNsPerMs;
  scenario.scale_agents = *rc::gen::element<std::int64_t>(0, 0, 1, 70);
  scenario.scale_at = seconds(0, 50);
  scenario.scale_spawn = *rc::gen::element<std::int64_t>(0, 300, 40'000) * kNsPerMs;
  scenario.scale_class = *rc::gen::inRange(0, 6);
  scenario.scale_per_process = *rc::gen::element<std::int64_t>(1, 30, 1'000);
  scenario.scale_warm_ups = *rc::gen::element<std::int64_t>(1, 8);
  scenario.scale_wave_percent = *rc::gen::element<std::int64_t>(1, 10, 100);
  scenario.context_share = share();
  scenario.context_every = seconds(1, 60);
  scenario.context_load = *rc::gen::element<std::int64_t>(0, 20, 3'000) * kNsPerMs;
  scenario.context_stuck = share();
  scenario.context_wait = *rc::gen::element<std::int64_t>(1, 500, 10'000) * kNsPerMs;
}

Scenario any_scenario() {
  Scenario scenario;
  scenario.agents = *rc::gen::inRange(1, 400);
  scenario.stations = std::min<std::int64_t>(scenario.agents, *rc::gen::inRange(1, 5));
  scenario.length = 60 * kNsPerSecond;
  scenario.settle = seconds(0, 10);
  scenario.silent = share();
  scenario.conflict = share();
  scenario.cv_max = scenario.cv_min + *rc::gen::inRange(0, 1'500'000);
  scenario.every = *rc::gen::element<std::int64_t>(500, 3'000, 30'000) * kNsPerMs;
  scenario.horizon = *rc::gen::element<std::int64_t>(1, 200, 1'500, 9'000) * kNsPerMs;
  scenario.window = *rc::gen::element<std::int64_t>(1, 500, 5'000) * kNsPerMs;
  scenario.timeout = *rc::gen::element<std::int64_t>(1, 5'000, 30'000) * kNsPerMs;
  scenario.weight = *rc::gen::element<std::int64_t>(0, 1'000, 30'000);
  scenario.rounds = *rc::gen::inRange(1, 6);
  scenario.cascade_every = *rc::gen::element<std::int64_t>(0, 0, 7) * kNsPerSecond;
  scenario.cascade_strategy = *rc::gen::inRange(0, 3);
  scenario.look = *rc::gen::element<std::int64_t>(1, 100, 20'000) * kNsPerUs;
  scenario.detection = *rc::gen::element<std::int64_t>(0, 1, 5'000) * kNsPerMs;
  scenario.breaker_open = seconds(1, 30);
  scenario.half_open = scenario.probe_retry = seconds(1, 60);
  scenario.person = seconds(1, 300);
  add_more(scenario);
  for (auto left = *rc::gen::inRange(0, 5); left != 0; --left)
    scenario.faults.push_back(any_fault());
  return scenario;
}

TEST(AnyScenario, IsAnsweredAndRecordedAndPlayedTheSameWayAgain) {
  EXPECT_TRUE(rc::check([] {
    const Scenario scenario = any_scenario();
    RC_PRE(check_scenario(scenario).empty());
    const auto seed = static_cast<std::uint64_t>(*rc::gen::inRange(0, 1'000));
    const SimulationReport report = play(scenario, seed);
    RC_ASSERT(report.unanswered == 0U);
    RC_ASSERT(report.conflicts_complete);
    RC_ASSERT(report.quorums <= report.operations - report.refused);
    RC_ASSERT(report.quorums_at_once <= report.quorums);
    RC_ASSERT(report.answers <= report.deliveries);
    RC_ASSERT(report.inside_window <= report.answers);
    RC_ASSERT(report.returns <= report.deaths);
    for (const SmallFigures* const its : {&report.pipelines, &report.cluster_quorums}) {
      RC_ASSERT(its->succeeded + its->refused <= its->asked);
      RC_ASSERT(its->took_ns.size() == its->succeeded);
    }
    RC_ASSERT(report.scale.admitted <= report.scale.made);
    const ContextFigures& contexts = report.contexts;
    RC_ASSERT(contexts.early == 0U);
    RC_ASSERT(contexts.loaded + contexts.overdue + contexts.lost <= contexts.held);
    std::int64_t in_modes = 0;
    for (const std::int64_t ns : report.mode_ns) in_modes += ns;
    RC_ASSERT(in_modes == report.virtual_ns);
    RC_ASSERT(report.available_ns <= report.virtual_ns);
    if (seed % 4 == 0) RC_ASSERT(play(scenario, seed).trace_hash == report.trace_hash);
  }));
}

}  // namespace of_scenario_property_test
}  // namespace mesh::engine::simulation
