// What CoordinationManager is told, and what it answers: config, commands, replies, health.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/mode_rule.hpp"
#include "engine/tasks/dependency_graph.hpp"
#include "engine/tasks/event_bus.hpp"
#include "engine/tasks/message_router.hpp"
#include "engine/tasks/metric_store.hpp"
#include "engine/tasks/resource_manager.hpp"
#include "engine/tasks/task_scheduler.hpp"
#include "engine/tasks/work_stealing.hpp"

namespace mesh::tasks {

// The first five hold for all services, whatever the configs of those say of the same.
struct CoordinationConfig {
  std::uint32_t retries_max = 3;        // 0..100, of tasks and messages
  Nanos retry_delay_ns{1'000'000'000};  // 1 ms..10 min
  bool deadlock_detection = true;
  Nanos resource_timeout_ns{30'000'000'000};
  Nanos message_timeout_ns{10'000'000'000};
  Nanos drain_ns{10'000'000'000};  // so long a shutdown waits for what is on its way
  Nanos clock_ns{0};               // instants are rounded down to it; 0: as they come
  Nanos late_ns{1'000'000'000};    // a service without a tick for so long is late
  Nanos mode_enter_ns{3'000'000'000};
  Nanos mode_leave_ns{10'000'000'000};
  std::uint32_t agents_min = 30;          // of fewer a share says nothing: FULL
  std::uint64_t step_limit = 1'000'000;   // of attached work, a tick, in its own units
  std::uint32_t steps_max = 32;           // attached
  std::uint32_t saturated_ppm = 900'000;  // a table that is so full
  std::uint32_t events_max = 64;
  TaskSchedulerConfig tasks;
  ResourceManagerConfig resources;
  MessageRouterConfig messages;
  WorkStealingConfig stealing;
  DependencyGraphConfig graph;
  MetricStoreConfig metrics;
  EventBusConfig events;

  static Result<CoordinationConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

enum class ManagerState : std::uint8_t { running, draining, closed };
constexpr ManagerState last_of(ManagerState) noexcept { return ManagerState::closed; }
[[nodiscard]] std::string_view to_string(ManagerState state) noexcept;

// A tick does these in this order, and no other.
enum class MaintenanceStep : std::uint8_t {
  clock,
  membership,
  breakers,
  locks,
  queues,
  dependencies,
  stealing,
  health,
  discovery,
  throttle,
  gossip,
  metrics,
};
constexpr MaintenanceStep last_of(MaintenanceStep) noexcept { return MaintenanceStep::metrics; }
inline constexpr std::size_t kMaintenanceSteps = 12;
[[nodiscard]] std::string_view to_string(MaintenanceStep step) noexcept;

// Does its work of one tick, at most `limit` of its units if it can, and says how many it took.
using StepWork = std::function<std::uint64_t(Nanos now, std::uint64_t limit)>;
struct StepView {
  std::string_view name;
  MaintenanceStep step = MaintenanceStep::clock;
  std::uint64_t runs = 0;
  std::uint64_t overruns = 0;
  std::uint64_t left_out = 0;  // ticks, for what it had taken too much
  std::uint64_t failed = 0;    // it threw
  std::uint64_t debt = 0;
  Nanos last{0};
};

namespace manage {
// A submit, and where the task may begin an assign, in one step.
struct AssignTask {
  task::Submit task;
  std::uint32_t agent = kNoAgent;  // the strategy chooses
};
struct AgentGone {  // from all services
  std::uint32_t agent = 0;
};
struct StationClosed {  // for all services
  std::uint32_t station = 0;
};
struct ObserveAgents {  // what the mode goes by
  std::uint32_t active = 0;
  std::uint32_t total = 0;
};
struct ObserveSector {  // from DEGRADED_MODERATE on, what begins goes to healthy ones only
  std::uint32_t sector = 0;
  bool healthy = true;
};
struct Confirm {  // the operator: so many operations to the whole mesh, though it is degraded
  std::uint32_t operations = 1;
};
struct Shutdown {};
}  // namespace manage

namespace coordination_commands {
template <class... Lists>
struct Join;
template <class... A>
struct Join<std::variant<A...>> {
  using type = std::variant<A...>;
};
template <class... A, class... B, class... Rest>
struct Join<std::variant<A...>, std::variant<B...>, Rest...>
    : Join<std::variant<A..., B...>, Rest...> {};

template <class T, class List>
inline constexpr bool is_in = false;
template <class T, class... A>
inline constexpr bool is_in<T, std::variant<A...>> = (std::is_same_v<T, A> || ...);
}  // namespace coordination_commands

using ManageCommand =
    std::variant<manage::AssignTask, manage::AgentGone, manage::StationClosed,
                 manage::ObserveAgents, manage::ObserveSector, manage::Confirm, manage::Shutdown>;
// Every command of every service, and those of the manager itself.
using CoordinationCommand =
    coordination_commands::Join<ManageCommand, TaskCommand, ResourceCommand, MessageCommand,
                                WorkStealingCommand, DependencyGraphCommand, MetricCommand,
                                EventBusCommand>::type;

struct CoordinationReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  ManagerState state = ManagerState::running;
  MeshMode mode = MeshMode::full;
  // Of the service that was asked; of AgentGone and StationClosed of each.
  TaskReply task;
  ResourceReply resource;
  MessageReply message;
  DependencyGraphReply graph;
  std::uint32_t metric = 0;
  std::uint64_t event = 0;
};
struct CoordinationCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t held_off = 0;  // by the mode, among refused
  std::uint64_t closed = 0;    // after a shutdown, among refused
  std::uint64_t ticks = 0;
  std::uint64_t mode_changes = 0;
  std::uint64_t events = 0;  // of services, told on the bus
};
struct CoordinationActions {
  std::vector<TaskAssignment> assigned;
  std::vector<TaskNews> task_news;
  std::vector<ResourceNews> resource_news;
  std::vector<MessageTransfer> transfers;
  std::vector<MessageAnswer> answers;
  std::vector<MessageNews> message_news;
  Nanos next_tick{0};
  bool view_changed = false;
  bool snapshot_due = false;  // it is closed now, or in EMERGENCY: the last chance
  bool closed = false;
};

enum class HealthStatus : std::uint8_t { ok, saturated, late, failing, closed };
[[nodiscard]] std::string_view to_string(HealthStatus status) noexcept;
struct ServiceHealth {
  std::string_view service;
  HealthStatus status = HealthStatus::ok;
  std::string reason;
  Nanos tick_age{0};
  std::uint32_t full_ppm = 0;  // of its fullest table
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
};
struct HealthReport {
  bool healthy = true;  // none is late or failing
  MeshMode mode = MeshMode::full;
  ManagerState state = ManagerState::running;
  std::vector<ServiceHealth> services;
  std::vector<StepView> steps;
};

}  // namespace mesh::tasks
