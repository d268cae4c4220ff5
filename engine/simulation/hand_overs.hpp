// HandOvers: contexts of a simulated mesh: agents hand theirs over, and who crashed and is back
// gets its last one before its messages (engine/loop/context_holds.hpp).
//
//     its process ends ─▶ another one attaches: held ─▶ its context is loaded ─▶ its messages
//                                               └── nobody loads it: context_wait ────▲
//
// The store and the processes that load are simulated: of one process one agent after another, each
// takes `contexts.load_ms`; a share of all processes never gets to it. The hold, what waits behind
// it and its end are the loop's own.
//
// Callers     one thread.
// Units       mesh time; events in true time.
// Errors      as SimulatedMesh's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "engine/simulation/event_queue.hpp"
#include "engine/simulation/measures.hpp"
#include "engine/simulation/simulated_mesh.hpp"

namespace mesh::engine::simulation {

class HandOvers {
 public:
  HandOvers(const Scenario& scenario, std::uint64_t seed, SimulationReport& report,
            TraceHash& trace) noexcept
      : scenario_(scenario), seed_(seed), report_(report), trace_(trace) {}

  [[nodiscard]] bool is_on() const noexcept { return scenario_.context_share != 0; }
  // Everybody who has one hands over the next version of it.
  Status hand_over(SimulatedMesh& mesh);
  // A process has attached in this slot: who is held there, and when it will have its context.
  void attached(SimulatedMesh& mesh, std::size_t slot, const MeshClock& clock, EventQueue& events);
  // EventKind::context_loaded.
  Status loaded(SimulatedMesh& mesh, const Event& event, HostTime now);
  // Before a turn: nobody waits for ever.
  void look(SimulatedMesh& mesh, HostTime now);
  // A message has come to this agent.
  void on_message(const SimulatedMesh& mesh, std::uint32_t agent) {
    if (held_.contains(agent) && is_held(mesh, agent)) ++report_.contexts.early;
  }

 private:
  [[nodiscard]] static bool is_held(const SimulatedMesh& mesh, std::uint32_t agent) noexcept;
  [[nodiscard]] bool has_context(std::uint32_t agent) const noexcept;

  struct Held {
    std::size_t slot = 0;
    std::uint32_t epoch = 0;
    HostTime since{};
  };
  const Scenario& scenario_;
  std::uint64_t seed_;
  SimulationReport& report_;
  TraceHash& trace_;
  std::map<std::uint32_t, Held> held_;
  std::uint32_t versions_ = 0;
};

}  // namespace mesh::engine::simulation
