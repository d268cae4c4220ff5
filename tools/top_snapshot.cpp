#include "tools/top_snapshot.hpp"

#include "engine/health/health_view.hpp"
#include "engine/operations_view.hpp"
#include "engine/station/control_protocol.hpp"
#include "sched/clock.hpp"
#include "tools/mesh_errors.hpp"

namespace mesh::tools {
namespace {

using engine::health::HealthView;

double in_units(std::uint32_t value, std::uint32_t unit) {
  return static_cast<double>(value) / static_cast<double>(unit);
}

std::string state_of(const coordination::BreakerView& breaker) {
  const auto state = coordination::BreakerView::state_of(breaker.word);
  return std::string(state > coordination::BreakerState::disabled ? "unknown"
                                                                  : coordination::to_string(state));
}

void add_health(const HealthView& view, std::uint32_t now_mesh_ms, TopSnapshot& seen) {
  const auto mesh = view.mesh();
  if (mesh) {
    const auto& summary = mesh->summary;
    seen.agents = summary.agents;
    seen.active = summary.active;
    seen.sectors_healthy = summary.healthy_sectors;
    seen.sectors_degraded = summary.degraded_sectors;
    if (summary.active != 0) {
      seen.mean_ms = in_units(summary.mean, engine::health::kMeanUnit);
      seen.p95_ms = in_units(summary.p95, engine::health::kP95OfP95sUnit);
    }
    if (mesh->mode) {
      seen.mode = engine::health::name_of(*mesh->mode);
      const std::uint32_t age = now_mesh_ms - mesh->mode_since_mesh_ms;
      seen.mode_for_ms = age < 1U << 31 ? age : 0;
    }
  }
  for (std::uint32_t number = 0; number < view.sectors(); ++number) {
    TopSector sector{.sector = number};
    if (const auto its = view.sector(number)) {
      sector.agents = its->summary.agents;
      sector.active = its->summary.active;
      if (sector.active != 0) {
        sector.mean_ms = in_units(its->summary.mean, engine::health::kMeanUnit);
      }
    }
    if (const auto breaker = view.breaker(view.place_of_sector(number))) {
      sector.is_passable = breaker->is_passable();
    }
    seen.sectors.push_back(sector);
  }
}

void add_breakers(const HealthView& view, TopSnapshot& seen) {
  for (std::size_t place = 0; place < view.breakers(); ++place) {
    const auto breaker = view.breaker(place);
    if (!breaker || breaker->is_passable()) continue;
    std::string what = "the mesh";
    if (place > view.sectors()) {
      what = fmt::format("cluster {}", place - 1 - view.sectors());
    } else if (place > 0) {
      what = fmt::format("sector {}", place - 1);
    }
    seen.breakers.push_back({std::move(what), state_of(*breaker)});
  }
}

// A mesh whose `engine` cannot be mapped has none that are known.
void add_operations(const ObservedMesh& mesh, HostTime now, TopSnapshot& seen) {
  constexpr std::size_t kListed = 24;
  const auto memory = mesh.engine_memory();
  if (!memory) return;
  const auto view = engine::OperationsView::over(mesh.size(), memory->mapping.bytes());
  if (!view) return;
  const auto ms = [](Nanos span) { return span.count() / kNsPerMs; };
  const engine::SeenOperations operations = view->read(kListed);
  seen.operations_running = operations.running;
  for (const engine::SeenOperation& one : operations.list) {
    TopOperation shown{.id = static_cast<std::uint64_t>(one.id),
                       .kind = std::string(engine::name_of(one.kind)),
                       .is_running = one.is_running,
                       .targeted = one.targeted,
                       .sent = one.sent,
                       .ready = one.ready,
                       .conflict = one.conflict,
                       .age_ms = ms(now - one.opened)};
    if (one.target != HostTime{}) shown.to_t_ms = ms(one.target - now);
    if (!one.is_running) shown.ended_age_ms = ms(now - one.ended);
    seen.operations.push_back(std::move(shown));
  }
}

std::optional<double> us_of(const MeshCounters& counters, std::string_view label) {
  const auto ns = counters.value(label);
  if (!ns) return std::nullopt;
  return static_cast<double>(*ns) / kNsPerUs;
}

void add_counters(const TopCounters& counters, TopSnapshot& seen) {
  if (counters.now == nullptr) return;
  const MeshCounters& now = *counters.now;
  seen.age_ms = now.age_ms();
  seen.stations = now.value("stations");
  seen.operations_open = now.value("operations_open");
  seen.operations_ended = now.value("operations_ended");
  seen.operations_quorum = now.value("operations_quorum");
  seen.conflicts = now.value("conflicts");
  seen.messages_open = now.value("messages_open");
  seen.pending_open = now.value("pending_open");
  seen.refused = now.value("refused_records");
  seen.lost_replies = now.value("lost_replies");
  seen.crashes = now.value("agent_crashes");
  seen.spikes = now.value("impedance_spikes");
  if (now.value("buckets").value_or(0) != 0) {
    seen.lateness_p50_us = us_of(now, "lateness_p50");
    seen.lateness_p99_us = us_of(now, "lateness_p99");
    seen.lateness_max_us = us_of(now, "lateness_max");
  }
  // Two looks at the same numbers say nothing of how fast they grow.
  const auto rates = counters.before == nullptr ? std::vector<CounterRate>()
                                                : rates_between(*counters.before, now);
  constexpr std::pair<const char*, const char*> kShown[] = {
      {"in", "records_in"},  {"out", "deliveries"},      {"answers", "answers"}, {"sends", "sends"},
      {"ops", "operations"}, {"conflicts", "conflicts"}, {"wakes", "wakes"}};
  for (const auto& [what, label] : kShown) {
    TopRate shown{what, std::nullopt};
    for (const CounterRate& rate : rates) {
      if (rate.says.label == label) shown.per_second = rate.per_second;
    }
    seen.rates.push_back(std::move(shown));
  }
}

}  // namespace

Result<TopSnapshot> top_snapshot(const ObservedMesh& mesh, const ObservedMesh::Memory& table,
                                 const TopCounters& counters) {
  TopSnapshot seen;
  const EngineSeen engine = mesh.engine();
  seen.directory = mesh.directory();
  seen.engine_running = engine.running;
  seen.engine_process = engine.process;
  const std::span<const std::byte> bytes = table.mapping.bytes();
  MESH_TRY(const HealthView view, HealthView::over(table.layout, bytes));
  MESH_TRY(const auto clock, table.layout.array<sched::ClockWords>(bytes, "clock"));
  sched::ClockReader<> reader(clock.front());
  const auto start_ns = static_cast<std::int64_t>(
      table.header.parameters[static_cast<std::size_t>(engine::MemoryParameter::start_ns)]);
  add_health(view, static_cast<std::uint32_t>((reader.now_ns() - start_ns) / kNsPerMs), seen);
  add_breakers(view, seen);
  add_counters(counters, seen);
  add_operations(mesh, from_ns(reader.now_ns()), seen);
  MESH_TRY(const std::vector<ErrorSeen> errors, read_errors(table));
  for (const ErrorSeen& one : errors) {
    seen.errors.push_back(
        {std::string(name_of(one.error.code)), one.error.count, one.last_age_ms, one.error.text});
  }
  return seen;
}

}  // namespace mesh::tools
