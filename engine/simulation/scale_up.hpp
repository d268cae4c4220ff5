// ScaleUp: agents that come to a simulated mesh while it runs: made, started and admitted by the
// loop's own gradual admission (engine/loop/newcomers.hpp).
//
// Callers     one thread.
// Units       mesh time.
// Errors      make, attach -> as SimulatedMesh's.
#pragma once

#include <cstddef>

#include "engine/simulation/measures.hpp"
#include "engine/simulation/simulated_mesh.hpp"

namespace mesh::engine::simulation {

class ScaleUp {
 public:
  ScaleUp(SimulationReport& report, TraceHash& trace) noexcept : report_(report), trace_(trace) {}

  // Their identities. How many processes are to be started.
  Result<std::size_t> make(SimulatedMesh& mesh, HostTime now);
  // All of them.
  Status attach(SimulatedMesh& mesh);
  // After a turn: who was admitted.
  void look(SimulatedMesh& mesh, HostTime now);
  // Made, and not come yet: nobody misses them.
  [[nodiscard]] std::size_t awaited() const noexcept { return awaited_; }

 private:
  SimulationReport& report_;
  TraceHash& trace_;
  std::size_t first_slot_ = 0;
  std::size_t awaited_ = 0;
  HostTime made_{};
};

}  // namespace mesh::engine::simulation
