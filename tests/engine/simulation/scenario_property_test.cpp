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
  fault.at = seconds(0, 100);
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

Scenario any_scenario() {
  Scenario scenario;
  scenario.agents = *rc::gen::inRange(1, 400);
  scenario.stations = std::min<std::int64_t>(scenario.agents, *rc::gen::inRange(1, 5));
  scenario.length = 120 * kNsPerSecond;
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
    std::int64_t in_modes = 0;
    for (const std::int64_t ns : report.mode_ns) in_modes += ns;
    RC_ASSERT(in_modes == report.virtual_ns);
    RC_ASSERT(report.available_ns <= report.virtual_ns);
    if (seed % 4 == 0) RC_ASSERT(play(scenario, seed).trace_hash == report.trace_hash);
  }));
}

}  // namespace of_scenario_property_test
}  // namespace mesh::engine::simulation
