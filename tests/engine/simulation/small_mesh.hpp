// A mesh of 300 agents, for tests: ten minutes in milliseconds.
#pragma once

#include <stdexcept>

#include "engine/simulation/simulation.hpp"

namespace mesh::engine::simulation::testing {

// Of small_mesh() and seed 1.
inline constexpr std::uint64_t kSmallMeshHash = 16'082'753'824'242'671'369U;

inline Scenario small_mesh() {
  Scenario scenario;
  scenario.agents = 300;
  scenario.stations = 3;
  scenario.length = 600 * kNsPerSecond;
  return scenario;
}

inline SimulationReport play(const Scenario& scenario, std::uint64_t seed) {
  if (const auto wrong = check_scenario(scenario); !wrong.empty())
    throw std::runtime_error(wrong.front().sentence);
  auto report = simulate({.scenario = scenario, .seed = seed, .progress = {}});
  if (!report) throw std::runtime_error(report.error().sentence);
  return std::move(*report);
}

inline Fault fault(FaultKind kind, FaultTarget target) {
  Fault made;
  made.kind = static_cast<std::int64_t>(kind);
  made.target = static_cast<std::int64_t>(target);
  return made;
}

}  // namespace mesh::engine::simulation::testing
