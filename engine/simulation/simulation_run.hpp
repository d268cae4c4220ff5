// Simulation: one run of simulate(), from event to event.
//
// Callers     simulation.hpp's functions; one thread.
// Units       true time, but where mesh time is said.
// Errors      as simulate()'s.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "engine/simulation/event_queue.hpp"
#include "engine/simulation/fault_plan.hpp"
#include "engine/simulation/hand_overs.hpp"
#include "engine/simulation/mesh_clock.hpp"
#include "engine/simulation/operation_book.hpp"
#include "engine/simulation/population.hpp"
#include "engine/simulation/recoveries.hpp"
#include "engine/simulation/scale_up.hpp"
#include "engine/simulation/simulated_mesh.hpp"
#include "engine/simulation/simulation.hpp"
#include "engine/simulation/small_operations.hpp"

namespace mesh::engine::simulation {

inline constexpr std::int64_t kSimulationStartNs = 1'000 * kNsPerSecond;

class Simulation {
 public:
  explicit Simulation(const SimulationRequest& request)
      : request_(request),
        scenario_(request.scenario),
        clock_(kSimulationStartNs),
        population_(scenario_, request.seed),
        conflicts_(scenario_),
        errors_(scenario_.tolerance),
        small_({scenario_, population_, request.seed, report_, trace_,
                [this](std::uint32_t agent) { return mesh_->is_routable(agent); },
                [this](std::uint32_t agent) { return mesh_->id(agent); },
                [this](std::uint32_t agent) { return mesh_->cluster(agent); }}),
        book_({scenario_, conflicts_, report_, trace_,
               [this](AgentId agent) { return mesh_->view().is_routable(index_of(agent)); },
               [this](const FinishedCascade& finished) {
                 return small_.take(mesh_->loop(), finished);
               }}),
        scale_(report_, trace_),
        contexts_(scenario_, request.seed, report_, trace_) {}

  Result<SimulationReport> run();

 private:
  Status start();
  [[nodiscard]] std::int64_t longest_operation_ns() const noexcept;
  void schedule();
  void schedule_repeated(EventKind kind, std::int64_t first, std::int64_t every, std::int64_t end);
  Status handle(const Event& event);
  Status handle_more(const Event& event);
  Status open_next(const Event& event);
  void open(EventKind kind);
  [[nodiscard]] std::int64_t every(EventKind kind) const noexcept;
  void set_fault(std::uint32_t fault, bool is_in_force);
  void die(std::uint32_t unit);
  void know(std::uint32_t unit);
  Status bring_back(std::uint32_t unit);
  void watch(std::uint32_t unit);

  void turn();
  void poll();
  void take(std::size_t slot, const Delivery& delivery, std::uint32_t at);
  [[nodiscard]] Weather weather_of(const Held& held) const;
  void answer(const Event& event);
  void measure(const Held& held, StationId from);
  void measure_answer(const Held& held);
  void report_conflict(const Held& held, StationId from);
  void account(std::int64_t mesh_ns);
  // When the desk has something to do; it does not concern the engine's loop.
  [[nodiscard]] std::int64_t conflicts_due() const {
    const HostTime due = conflicts_.next_due();
    return due == HostTime::max() ? EventQueue::kNever : clock_.true_at(to_ns(due));
  }
  [[nodiscard]] HostTime now() const noexcept { return from_ns(clock_.mesh_ns()); }
  void finish();

  const SimulationRequest& request_;
  const Scenario& scenario_;
  MeshClock clock_;
  Population population_;
  SimulationReport report_;
  TraceHash trace_;
  ConflictRecords conflicts_;
  ArrivalErrors errors_;
  SmallOperations small_;
  OperationBook book_;
  ScaleUp scale_;
  HandOvers contexts_;
  Recoveries recoveries_;
  std::unique_ptr<SimulatedMesh> mesh_;
  std::optional<FaultPlan> faults_;
  EventQueue events_;

  std::int64_t end_ns_ = 0;  // true time
  std::int64_t give_up_ns_ = 0;
  std::int64_t idle_look_ns_ = 0;
  std::int64_t look_at_ns_ = 0;  // the engine's next turn, true time
  std::uint64_t deliveries_seen_ = 0;
  std::uint64_t conflict_ids_ = 0;
  std::int64_t accounted_ns_ = 0;  // mesh time
  bool is_available_ = true;
  health::OperatingMode mode_ = health::OperatingMode::full;
};

}  // namespace mesh::engine::simulation
