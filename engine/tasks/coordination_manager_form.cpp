// What a coordination manager looks like from outside: its presets, its bytes, what must hold.
#include <algorithm>

#include "engine/coordination/blocks/names.hpp"
#include "engine/tasks/coordination_manager.hpp"

namespace mesh::tasks {
namespace {

constexpr std::array<std::string_view, 4> kManagerPresets{"development", "production", "pi4b",
                                                          "simulation"};
constexpr std::array<std::string_view, 3> kManagerStates{"running", "draining", "closed"};
constexpr std::array<std::string_view, kMaintenanceSteps> kStepNames{
    "clock",    "membership", "breakers",  "locks",    "queues", "dependencies",
    "stealing", "health",     "discovery", "throttle", "gossip", "metrics"};
constexpr std::array<std::string_view, 5> kHealthNames{"ok", "saturated", "late", "failing",
                                                       "closed"};

// For one machine and a few agents: everything fits into a few megabytes.
void make_small(CoordinationConfig& config) {
  config.tasks.tasks_max = 4'096;
  config.tasks.edges_max = 16'384;
  config.tasks.agents_max = 256;
  config.tasks.running_max = 4'096;
  config.resources.agents_max = 256;
  config.resources.resources_max = 1'024;
  config.resources.holdings_max = 2'048;
  config.messages.agents_max = 256;
  config.messages.messages_max = 4'096;
  config.messages.pairs_max = 1'024;
  config.messages.requests_max = 512;
  config.stealing.agents_max = 256;
  config.graph.tasks_max = 4'096;
  config.graph.edges_max = 16'384;
  config.metrics.metrics_max = 64;
  config.metrics.histograms_max = 8;
  config.metrics.columns_max = 512;
  config.events.records_max = 4'096;
  config.events.names_max = 512;
}

// A service's own sentence, with what it is here before it.
Status judged(std::string_view part, const Status& status) {
  if (status) return {};
  Error error = status.error();
  error.sentence = std::string(part) + ": " + error.sentence;
  return tl::unexpected<Error>(std::move(error));
}

template <class Service>
void put_service(StateWriter& writer, const Service& service) {
  writer.put(std::span<const std::byte>(service.snapshot().bytes));
}
template <class Service>
void get_service(StateReader& reader, Service& service) {
  const auto bytes = reader.get_bytes();
  if (reader.failed()) return;
  auto restored = Service::restore(service.config(), Snapshot{{bytes.begin(), bytes.end()}});
  if (!restored) return reader.fail();
  service = std::move(*restored);
}

}  // namespace

std::string_view to_string(ManagerState state) noexcept { return name_in(kManagerStates, state); }
std::string_view to_string(MaintenanceStep step) noexcept { return name_in(kStepNames, step); }
std::string_view to_string(HealthStatus status) noexcept { return name_in(kHealthNames, status); }

std::span<const std::string_view> CoordinationConfig::names() noexcept { return kManagerPresets; }

Result<CoordinationConfig> CoordinationConfig::preset(std::string_view name) {
  CoordinationConfig config;
  if (name == "production") return config;
  if (name == "development") {
    make_small(config);
    config.drain_ns = Nanos{2'000'000'000};
    return config;
  }
  if (name == "pi4b") {
    make_small(config);
    config.clock_ns = Nanos{1'000'000};  // a coarse clock
    config.metrics.seconds_kept = 600;
    return config;
  }
  if (name == "simulation") {
    make_small(config);
    config.tasks.durable = false;
    config.drain_ns = Nanos{0};
    return config;
  }
  return unknown_preset("coordination manager", name, kManagerPresets);
}

CoordinationConfig CoordinationManager::effective(const Config& config) {
  Config out = config;
  out.tasks.retries_max = config.retries_max;
  out.tasks.retry_ns = config.retry_delay_ns;
  out.tasks.retry_ns_max = std::max(out.tasks.retry_ns_max, config.retry_delay_ns);
  out.messages.retries_max = config.retries_max;
  out.messages.retry_ns = config.retry_delay_ns;
  out.messages.timeout_ns = config.message_timeout_ns;
  out.resources.timeout_ns = config.resource_timeout_ns;
  if (!config.deadlock_detection) out.resources.detection_ns = Nanos{kDurationMaxNs};
  return out;
}

Status CoordinationManager::validate(const Config& config) {
  const auto is_within = [](Nanos value, Nanos least, Nanos most) {
    return value >= least && value <= most;
  };
  constexpr Nanos kHour{3'600'000'000'000};
  const std::array<Check, 12> checks{{
      {config.retries_max <= 100, "retries_max is outside 0..100"},
      {is_within(config.retry_delay_ns, Nanos{kNsPerMs}, kHour / 6),
       "retry_delay_ns is outside 1 ms..10 min"},
      {is_within(config.resource_timeout_ns, Nanos{kNsPerMs}, kHour),
       "resource_timeout_ns is outside 1 ms..1 h"},
      {is_within(config.message_timeout_ns, Nanos{kNsPerMs}, kHour),
       "message_timeout_ns is outside 1 ms..1 h"},
      {is_within(config.drain_ns, Nanos{0}, kHour), "drain_ns is outside 0..1 h"},
      {is_within(config.clock_ns, Nanos{0}, Nanos{kNsPerSecond}), "clock_ns is outside 0..1 s"},
      {is_positive_duration(config.late_ns), "late_ns is outside 1 ns..36 years"},
      {is_duration(config.mode_enter_ns) && is_duration(config.mode_leave_ns),
       "mode_enter_ns or mode_leave_ns is outside 0..36 years"},
      {config.step_limit >= 1, "step_limit is 0"},
      {config.steps_max <= 1'024, "steps_max is outside 0..1024"},
      {config.saturated_ppm <= 1'000'000, "saturated_ppm is outside 0..1000000"},
      events_in_range(config),
  }};
  MESH_CHECK_OK(all_hold(Errc::invalid_config, checks));
  const Config all = effective(config);
  MESH_CHECK_OK(judged("tasks", TaskScheduler::validate(all.tasks)));
  MESH_CHECK_OK(judged("resources", ResourceManager::validate(all.resources)));
  MESH_CHECK_OK(judged("messages", MessageRouter::validate(all.messages)));
  MESH_CHECK_OK(judged("stealing", WorkStealing::validate(all.stealing)));
  MESH_CHECK_OK(judged("graph", DependencyGraph::validate(all.graph)));
  MESH_CHECK_OK(judged("metrics", MetricStore::validate(all.metrics)));
  return judged("events", EventBus::validate(all.events));
}

// --- bytes ---------------------------------------------------------------------------------------

void CoordinationManager::save_own(StateWriter& writer) const {
  writer.put(state_);
  mode_.save(writer);
  writer.put(active_);
  writer.put(total_);
  writer.put(confirmed_);
  writer.put(is_save_due_);
  writer.put(agents_seen_);
  writer.put(drained_by_ns_);
  writer.put(steal_due_ns_);
  writer.put(ticked_ns_);
}

void CoordinationManager::save_state(StateWriter& writer) const {
  save_own(writer);
  put_service(writer, tasks_);
  put_service(writer, resources_);
  put_service(writer, messages_);
  put_service(writer, stealing_);
  put_service(writer, graph_);
  put_service(writer, metrics_);
  put_service(writer, bus_);
}

void CoordinationManager::load_state(StateReader& reader) {
  state_ = reader.get_enum(last_of(ManagerState{}));
  mode_.load(reader);
  reader.get(active_);
  reader.get(total_);
  reader.get(confirmed_);
  is_save_due_ = reader.get<bool>();
  reader.get(agents_seen_);
  reader.get(drained_by_ns_);
  reader.get(steal_due_ns_);
  reader.get(ticked_ns_);
  get_service(reader, tasks_);
  get_service(reader, resources_);
  get_service(reader, messages_);
  get_service(reader, stealing_);
  get_service(reader, graph_);
  get_service(reader, metrics_);
  get_service(reader, bus_);
  if (agents_seen_ > config_.tasks.agents_max) reader.fail();
}

// That of the services, which leave their counters and clocks out of it.
std::uint64_t CoordinationManager::state_hash() const {
  StateWriter writer;
  save_own(writer);
  for (const std::uint64_t hash :
       {tasks_.state_hash(), resources_.state_hash(), messages_.state_hash(),
        stealing_.state_hash(), graph_.state_hash(), metrics_.state_hash(), bus_.state_hash()}) {
    writer.put(hash);
  }
  return checksum(writer.bytes());
}

// --- what must hold ------------------------------------------------------------------------------

Status CoordinationManager::verify() const {
  MESH_CHECK_OK(judged("tasks", tasks_.verify()));
  MESH_CHECK_OK(judged("resources", resources_.verify()));
  MESH_CHECK_OK(judged("messages", messages_.verify()));
  MESH_CHECK_OK(judged("stealing", stealing_.verify()));
  MESH_CHECK_OK(judged("graph", graph_.verify()));
  MESH_CHECK_OK(judged("metrics", metrics_.verify()));
  MESH_CHECK_OK(judged("events", bus_.verify()));
  const std::array<Check, 4> checks{{
      {counters_.held_off + counters_.closed <= counters_.refused &&
           counters_.refused <= counters_.commands,
       "more was refused than there were commands"},
      {active_ <= total_, "more agents are active than there are"},
      {(state_ == ManagerState::running) == (drained_by_ns_ == kNever),
       "it drains without an end, or ends without a beginning"},
      {ticked_ns_ <= clock_.last_ns(), "its last tick is in the future"},
  }};
  return all_hold(Errc::corrupt, checks);
}

}  // namespace mesh::tasks

namespace mesh::coordination {
template class ServiceForm<tasks::CoordinationManager, tasks::CoordinationConfig,
                           tasks::CoordinationCommand, tasks::CoordinationReply,
                           tasks::CoordinationCounters, tasks::CoordinationActions>;
}  // namespace mesh::coordination
