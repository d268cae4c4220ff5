// SimulatedMesh: an engine's loop, the memories it works on and the stations attached to it, in one
// process and on virtual time. What is real in it: the loop with health and breakers, rings, logs,
// layouts and the client library. What is not: processes, sockets, the threads that wait.
//
// Stations have slots: those of `mesh.stations` first, then one for each group of agents that
// faults take down together (fault_plan.hpp). A slot outlives its station: who comes back gets a
// new station number, as the engine's host would give it, and the next epoch of its slot.
//
// The engine may die and have a successor over the same memories; stations go on meanwhile.
//
// Callers     one thread, between two ticks of the loop. While there is no engine: neither loop()
//             nor come_back().
// Units       mesh time; agents by their number in the population.
// Errors      create, move_apart, come_back, start_engine -> as the loop's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/health/health_view.hpp"
#include "engine/loop/engine_loop.hpp"
#include "engine/simulation/mesh_clock.hpp"
#include "engine/simulation/population.hpp"
#include "engine/simulation/private_memory.hpp"
#include "engine/simulation/scenario.hpp"
#include "engine/simulation/simulated_station.hpp"

namespace mesh::engine::simulation {

class SimulatedMesh {
 public:
  // Stations and agents are enrolled, class by class as the population has them. `clock` outlives
  // it. `more_stations`: that move_apart() will be given.
  static Result<std::unique_ptr<SimulatedMesh>> create(const Scenario& scenario,
                                                       const Population& population,
                                                       const MeshClock& clock);
  // Each group to a station of its own. Agents are in one group at most.
  Status move_apart(std::span<const std::vector<std::uint32_t>> groups);

  // Identities of the population's newcomers; each process of theirs gets a slot, in which nobody
  // is before come_back().
  Result<std::vector<AgentId>> make_newcomers();
  // An agent of this slot has another context from now on, as it says itself.
  Status hand_over(std::size_t slot, std::uint32_t agent, std::uint64_t hash);
  // Its process has loaded the one that the engine expects.
  Status load_context(std::size_t slot, std::uint32_t agent);

  [[nodiscard]] EngineLoop& loop() noexcept { return *loop_; }
  [[nodiscard]] const EngineLoop& loop() const noexcept { return *loop_; }
  [[nodiscard]] const health::HealthView& view() const noexcept { return *view_; }

  // Dies where it stands, as by SIGKILL.
  void end_engine() noexcept { loop_.reset(); }
  [[nodiscard]] bool has_engine() const noexcept { return loop_ != nullptr; }
  // Adopts what the dead one left, takes the stations back that are there, and gives up those that
  // have ended. `adopts` false: it drops the mesh, and every station attaches anew.
  Status start_engine(bool adopts);

  // Whereabouts of an agent.
  [[nodiscard]] AgentId id(std::uint32_t agent) const noexcept { return ids_[agent]; }
  [[nodiscard]] std::uint32_t sector(std::uint32_t agent) const noexcept;
  [[nodiscard]] std::uint32_t cluster(std::uint32_t agent) const noexcept;
  [[nodiscard]] std::uint8_t role(std::uint32_t agent) const noexcept;  // agent_columns.hpp
  [[nodiscard]] bool has_history(std::uint32_t agent) const noexcept;
  [[nodiscard]] bool is_routable(std::uint32_t agent) const noexcept {
    return view_->is_routable(index_of(ids_[agent]));
  }

  // Slots.
  [[nodiscard]] std::size_t slots() const noexcept { return slots_.size(); }
  [[nodiscard]] std::size_t first_of_groups() const noexcept { return general_; }
  // Null: its process has ended.
  [[nodiscard]] SimulatedStation* station(std::size_t slot) noexcept {
    return slots_[slot].has_ended ? nullptr : slots_[slot].station.get();
  }
  [[nodiscard]] std::uint32_t epoch(std::size_t slot) const noexcept { return slots_[slot].epoch; }
  [[nodiscard]] std::span<const std::uint32_t> agents_of(std::size_t slot) const noexcept {
    return slots_[slot].agents;
  }
  // Its process ends; the engine does not know yet. False: it had ended.
  bool end_process(std::size_t slot) noexcept;
  // Now it does. Nothing where it knew, or another process is there already.
  void let_go(std::size_t slot);
  // The same agents, in a new process. Nothing where one is there.
  Status come_back(std::size_t slot);

  [[nodiscard]] std::uint64_t memory_bytes() const noexcept { return memory_bytes_; }

 private:
  struct Slot {
    std::vector<std::uint32_t> agents;
    std::unique_ptr<SimulatedStation> station;
    std::uint32_t epoch = 0;
    bool has_ended = false;
  };
  SimulatedMesh(const Scenario& scenario, const Population& population, const MeshClock& clock)
      : scenario_(scenario), population_(population), clock_(clock) {}
  Status start();
  Status start_loop();
  Status create_loop();
  Status take_back(Slot& slot);
  Status attach(Slot& slot);
  [[nodiscard]] StationId next_number() noexcept;

  const Scenario& scenario_;
  const Population& population_;
  const MeshClock& clock_;
  MeshSize size_;
  PrivateMemory table_, payload_, engine_;
  std::uint64_t memory_bytes_ = 0;
  std::int64_t start_ns_ = 0;
  std::shared_ptr<const shm::EventFd> wake_;
  std::unique_ptr<EngineLoop> loop_;
  std::optional<health::HealthView> view_;
  shm::ColumnView<HostMemory, std::uint32_t> sector_, cluster_;
  shm::ColumnView<HostMemory, std::uint8_t> history_, role_;
  std::vector<Slot> slots_;
  std::size_t general_ = 0;
  std::vector<bool> is_number_taken_;
  std::uint32_t last_number_ = 0;
  std::vector<AgentId> ids_;
};

}  // namespace mesh::engine::simulation
