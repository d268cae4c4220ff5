// CoordinationManager: the services of the task family behind one door: one command at a time, one
// tick in one order, one snapshot, one end.
//
//   running --Shutdown--> draining --nothing on its way, or drain_ns over--> closed
//   a command --mode and state admit it?--> its service --events--> bus; counters --tick--> metrics
//
// Callers     one thread, which owns it: the engine's service thread, or any program; hosted by
//             JournaledService it is durable.
// Progress    that of its services. It has no thread and no timer: closed, it asks for no tick.
// Cost        a command: its service's, a copy, and what it says on the bus. A tick: that of each
//             service, and the loads of all agents.
// Ordering    clock, membership, breakers, locks, queues, dependencies, stealing, health,
//             discovery, throttle, gossip, metrics: whatever is attached to a step runs in it, in
//             the order of attaching.
// Guarantees  the same commands and ticks give the same snapshots of every service. Each service
//             does a bounded amount a tick (dispatch_max, transfers). Attached work that took more
//             than step_limit is left out until that is made up for: on average no other waits
//             longer for it than one limit a tick.
// If the      owner dies: snapshot and journal. Attached work throws: caught and counted.
// other side
// dies
// Errors      closed (a shutdown has begun, or is over), background_refused, sector_degraded,
//             too_wide, critical_only, needs_confirmation, automatic_stopped (the mode); those of
//             the services. attach -> invalid_id, already_exists, capacity.
// Source      facade (Gamma et al. 1994); deficit round robin (Shreedhar & Varghese 1996).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/service.hpp"
#include "engine/tasks/coordination_terms.hpp"

namespace mesh::tasks {

class CoordinationManager final
    : public ServiceForm<CoordinationManager, CoordinationConfig, CoordinationCommand,
                         CoordinationReply, CoordinationCounters, CoordinationActions> {
 public:
  static constexpr std::uint32_t kScatterMax = 1'000;

  static Status validate(const Config& config);
  explicit CoordinationManager(const Config& config, std::uint64_t seed = 0);
  // What the services are given: the first settings hold for all.
  [[nodiscard]] static Config effective(const Config& config);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;
  // Into each tick, at that step. It is no part of a snapshot: who restores attaches it again.
  Status attach(MaintenanceStep step, std::string_view name, StepWork work);
  Status detach(std::string_view name);

  [[nodiscard]] const TaskScheduler& tasks() const noexcept { return tasks_; }
  [[nodiscard]] const ResourceManager& resources() const noexcept { return resources_; }
  [[nodiscard]] const MessageRouter& messages() const noexcept { return messages_; }
  [[nodiscard]] const WorkStealing& stealing() const noexcept { return stealing_; }
  [[nodiscard]] const DependencyGraph& graph() const noexcept { return graph_; }
  [[nodiscard]] const MetricStore& metrics() const noexcept { return metrics_; }
  [[nodiscard]] EventBus& bus() noexcept { return bus_; }  // to listen, and to poll
  [[nodiscard]] const EventBus& bus() const noexcept { return bus_; }

  [[nodiscard]] ManagerState state() const noexcept { return state_; }
  [[nodiscard]] MeshMode mode() const noexcept { return mode_.mode(); }
  // As it is shown: the mode, and above its 8 bits the ms since when.
  [[nodiscard]] std::uint64_t mode_word() const noexcept;
  // Measured: each service's invariants are walked, its tables and its last tick looked at.
  [[nodiscard]] HealthReport health(Nanos now) const;
  // What is not ended: tasks, and messages of agents here.
  [[nodiscard]] std::uint64_t on_its_way() const noexcept {
    return std::uint64_t{tasks_.open_count()} + messages_.in_flight();
  }

  [[nodiscard]] std::uint64_t state_hash() const;
  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"coordination_manager", 2};
  static constexpr std::string_view kWho = "coordination manager";
  static constexpr std::int64_t kNever = INT64_MAX;

  struct Attached {
    MaintenanceStep step = MaintenanceStep::clock;
    std::string name;
    StepWork work;
    StepView seen;
  };

  template <class Order>
  [[nodiscard]] Errc admit(const Order& order) const noexcept;
  [[nodiscard]] Errc admit_act(std::uint32_t priority, std::size_t targets) const noexcept;
  [[nodiscard]] Errc admit_to(std::uint32_t agent) const noexcept;
  template <class Order>
  void run_task(const Order& order, Reply& reply, Nanos now) noexcept;
  template <class Order>
  void run(const Order& order, Reply& reply, Nanos now) noexcept;
  void on(const manage::AssignTask& order, Reply& reply, Nanos now) noexcept;
  void on(const manage::AgentGone& order, Reply& reply, Nanos now) noexcept;
  void on(const manage::StationClosed& order, Reply& reply, Nanos now) noexcept;
  void on(const manage::ObserveAgents& order, Reply& reply, Nanos now) noexcept;
  void on(const manage::ObserveSector& order, Reply& reply, Nanos now) noexcept;
  void on(const manage::Confirm& order, Reply& reply, Nanos now) noexcept;
  void on(const manage::Shutdown& order, Reply& reply, Nanos now) noexcept;
  void note_latencies(const MessageReply& reply, Nanos now) noexcept;
  void observe_mode(Nanos now) noexcept;
  void restrain(Nanos now) noexcept;
  void hold_agent(std::uint32_t agent, Nanos now) noexcept;
  void run_step(MaintenanceStep step, Nanos now, Actions& out) noexcept;
  void run_attached(MaintenanceStep step, Nanos now) noexcept;
  void steal(Nanos now, Actions& out) noexcept;
  void count_up(Nanos now) noexcept;
  void count_agents(Nanos now) noexcept;
  void tell(Nanos now) noexcept;
  void tell_of(const EventLog& log, std::uint64_t& told, Nanos now) noexcept;
  void close_if_drained(Nanos now, Actions& out) noexcept;
  [[nodiscard]] Nanos rounded(Nanos now) const noexcept;

  void save_own(StateWriter& writer) const;
  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);

  TaskScheduler tasks_;
  ResourceManager resources_;
  MessageRouter messages_;
  WorkStealing stealing_;
  DependencyGraph graph_;
  MetricStore metrics_;
  EventBus bus_;
  ManagerState state_ = ManagerState::running;
  ModeRule mode_;
  std::uint32_t active_ = 0;
  std::uint32_t total_ = 0;
  std::uint32_t confirmed_ = 0;
  bool is_save_due_ = false;       // EMERGENCY has begun
  std::uint32_t agents_seen_ = 0;  // above the highest that was registered
  std::int64_t drained_by_ns_ = kNever;
  std::int64_t steal_due_ns_ = 0;
  std::int64_t ticked_ns_ = 0;
  // How far each log was told on the bus. Logs begin anew after a restore, and so do these.
  std::uint64_t told_tasks_ = 0;
  std::uint64_t told_resources_ = 0;
  std::uint64_t told_messages_ = 0;
  std::vector<Attached> attached_;
  TaskSchedulerActions task_actions_;
  ResourceActions resource_actions_;
  MessageRouterActions message_actions_;
  WorkStealingActions steal_actions_;
};

static_assert(DurableService<CoordinationManager>);

}  // namespace mesh::tasks

namespace mesh::coordination {
extern template class ServiceForm<tasks::CoordinationManager, tasks::CoordinationConfig,
                                  tasks::CoordinationCommand, tasks::CoordinationReply,
                                  tasks::CoordinationCounters, tasks::CoordinationActions>;
}  // namespace mesh::coordination
