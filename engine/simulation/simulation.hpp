// simulate(): a mesh on virtual time, played from a seed: the same scenario and seed give the same
// report, and the same trace hash, on every machine.
//
// The host is infinitely fast: what the engine does takes no virtual time, so what is measured is
// what its decisions lead to, not what they cost. Agents take as long as they are drawn to take
// (population.hpp). Time goes from event to event: an answer, a bucket or deadline of the engine's
// wheel, a turn of its upkeep, a fault.
//
// Callers     one thread.
// Progress    `progress` is called about once a virtual second. Ends when the scenario's length is
//             played and every operation that was opened is over.
// Cost        an hour of 30,000 agents: docs/SIMULATION.md.
// Errors      invalid_argument, no_memory, and as EngineLoop's set-up.
#pragma once

#include <cstdint>
#include <functional>

#include "engine/simulation/measures.hpp"
#include "engine/simulation/scenario.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::simulation {

struct SimulationRequest {
  const Scenario&
      scenario;  // one that read_scenario() or check_scenario() finds nothing wrong with
  std::uint64_t seed = 1;
  std::function<void(std::int64_t done_ns, std::int64_t of_ns)> progress{};
};

[[nodiscard]] Result<SimulationReport> simulate(const SimulationRequest& request);

}  // namespace mesh::engine::simulation
