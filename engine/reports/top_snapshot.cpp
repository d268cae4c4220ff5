#include "engine/reports/top_snapshot.hpp"

#include <span>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "engine/coordination/circuit_breaker.hpp"
#include "engine/health/health_view.hpp"
#include "engine/operations_view.hpp"
#include "engine/reports/mesh_errors.hpp"
#include "engine/reports/seen_mesh.hpp"
#include "sched/clock.hpp"

namespace mesh::engine::reports {
namespace {

using health::HealthView;

double top_units(std::uint32_t value, std::uint32_t unit) {
  return static_cast<double>(value) / static_cast<double>(unit);
}

std::string top_state_of(const coordination::BreakerView& breaker) {
  const auto state = coordination::BreakerView::state_of(breaker.word);
  return std::string(state > coordination::BreakerState::disabled ? "unknown"
                                                                  : coordination::to_string(state));
}

void add_top_health(const HealthView& view, std::uint32_t now_mesh_ms, TopSnapshot& seen) {
  const auto mesh = view.mesh();
  if (mesh) {
    const auto& summary = mesh->summary;
    seen.agents = summary.agents;
    seen.active = summary.active;
    seen.sectors_healthy = summary.healthy_sectors;
    seen.sectors_degraded = summary.degraded_sectors;
    if (summary.active != 0) {
      seen.mean_ms = top_units(summary.mean, health::kMeanUnit);
      seen.p95_ms = top_units(summary.p95, health::kP95OfP95sUnit);
    }
    if (mesh->mode) {
      seen.mode = health::name_of(*mesh->mode);
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
        sector.mean_ms = top_units(its->summary.mean, health::kMeanUnit);
      }
    }
    if (const auto breaker = view.breaker(view.place_of_sector(number))) {
      sector.is_passable = breaker->is_passable();
    }
    seen.sectors.push_back(sector);
  }
}

void add_top_breakers(const HealthView& view, TopSnapshot& seen) {
  for (std::size_t place = 0; place < view.breakers(); ++place) {
    const auto breaker = view.breaker(place);
    if (!breaker || breaker->is_passable()) continue;
    std::string what = "the mesh";
    if (place > view.sectors()) {
      what = fmt::format("cluster {}", place - 1 - view.sectors());
    } else if (place > 0) {
      what = fmt::format("sector {}", place - 1);
    }
    seen.breakers.push_back({std::move(what), top_state_of(*breaker)});
  }
}

// A mesh whose `engine` cannot be mapped has none that are known.
void add_top_operations(const ObservedMesh& mesh, HostTime now, TopSnapshot& seen) {
  constexpr std::size_t kListed = 24;
  const auto memory = mesh.engine_memory();
  if (!memory) return;
  const auto view = OperationsView::over(mesh.size(), memory->mapping.bytes());
  if (!view) return;
  const auto ms = [](Nanos span) { return span.count() / kNsPerMs; };
  const SeenOperations operations = view->read(kListed);
  seen.operations_running = operations.running;
  for (const SeenOperation& one : operations.list) {
    TopOperation shown{.id = static_cast<std::uint64_t>(one.id),
                       .kind = std::string(name_of(one.kind)),
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

void add_top_counters(const TopCounters& counters, TopSnapshot& seen) {
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
  add_top_health(
      view, static_cast<std::uint32_t>((reader.now_ns() - start_ns_of(table)) / kNsPerMs), seen);
  add_top_breakers(view, seen);
  add_top_counters(counters, seen);
  add_top_operations(mesh, from_ns(reader.now_ns()), seen);
  MESH_TRY(const std::vector<ErrorSeen> errors, read_errors(table));
  for (const ErrorSeen& one : errors) {
    seen.errors.push_back(
        {std::string(name_of(one.error.code)), one.error.count, one.last_age_ms, one.error.text});
  }
  return seen;
}

Status TopSight::open() {
  MESH_TRY(ObservedMesh mesh, ObservedMesh::open(directory_));
  MESH_TRY(const shm::MappingHeader header, mesh.header("table"));
  // A mesh that went and came again has another uuid.
  if (table_ && table_->header.mesh_uuid == header.mesh_uuid) return {};
  MESH_TRY(ObservedMesh::Memory table, mesh.table());
  mesh_.emplace(std::move(mesh));
  table_.emplace(std::move(table));
  before_.reset();
  now_.reset();
  return {};
}

Result<TopSnapshot> TopSight::look() {
  MESH_CHECK_OK(open());
  auto now = read_counters(*table_);
  if (!now && now.error().code != Errc::not_ready) return tl::unexpected<Error>(now.error());
  if (now && (!now_ || now->at != now_->at)) {
    before_ = std::move(now_);
    now_ = std::move(*now);
  } else if (now) {
    now_->now = now->now;
  }
  return top_snapshot(*mesh_, *table_, {before_ ? &*before_ : nullptr, now_ ? &*now_ : nullptr});
}

namespace {

Json top_operations_json(const TopSnapshot& seen) {
  Json list = Json::array();
  for (const TopOperation& one : seen.operations)
    list.push_back({{"operation", one.id},
                    {"kind", one.kind},
                    {"running", one.is_running},
                    {"targeted", one.targeted},
                    {"sent", one.sent},
                    {"answered", one.ready + one.conflict},
                    {"ready", one.ready},
                    {"conflict", one.conflict},
                    {"to_t_ms", or_null(one.to_t_ms)},
                    {"age_ms", one.age_ms},
                    {"ended_age_ms", or_null(one.ended_age_ms)}});
  return list;
}

}  // namespace

Json top_json(const TopSnapshot& seen) {
  Json report = {{"directory", seen.directory},
                 {"engine_running", or_null(seen.engine_running)},
                 {"engine_process", or_null(seen.engine_process)},
                 {"age_ms", or_null(seen.age_ms)},
                 {"mode", or_null(seen.mode)},
                 {"mode_for_ms", seen.mode ? Json(seen.mode_for_ms) : Json(nullptr)},
                 {"agents", or_null(seen.agents)},
                 {"active", or_null(seen.active)},
                 {"stations", or_null(seen.stations)},
                 {"mean_impedance_ms", or_null(seen.mean_ms)},
                 {"p95_impedance_ms", or_null(seen.p95_ms)},
                 {"sectors_healthy", or_null(seen.sectors_healthy)},
                 {"sectors_degraded", or_null(seen.sectors_degraded)},
                 {"operations_open", or_null(seen.operations_open)},
                 {"operations_ended", or_null(seen.operations_ended)},
                 {"operations_quorum", or_null(seen.operations_quorum)},
                 {"conflicts", or_null(seen.conflicts)},
                 {"messages_open", or_null(seen.messages_open)},
                 {"pending_open", or_null(seen.pending_open)},
                 {"lateness_us",
                  {{"p50", or_null(seen.lateness_p50_us)},
                   {"p99", or_null(seen.lateness_p99_us)},
                   {"max", or_null(seen.lateness_max_us)}}},
                 {"refused", or_null(seen.refused)},
                 {"lost_replies", or_null(seen.lost_replies)},
                 {"crashes", or_null(seen.crashes)},
                 {"spikes", or_null(seen.spikes)}};
  Json rates = Json::object();
  for (const TopRate& rate : seen.rates) rates[rate.what] = or_null(rate.per_second);
  report["per_second"] = std::move(rates);
  report["operations_running"] = or_null(seen.operations_running);
  report["operations"] = top_operations_json(seen);
  Json sectors = Json::array();
  for (const TopSector& one : seen.sectors) {
    if (one.agents == 0) continue;
    sectors.push_back({{"sector", one.sector},
                       {"agents", one.agents},
                       {"active", one.active},
                       {"mean_ms", or_null(one.mean_ms)},
                       {"breaker_closed", one.is_passable}});
  }
  report["sectors"] = std::move(sectors);
  Json breakers = Json::array();
  for (const TopBreaker& one : seen.breakers) {
    breakers.push_back({{"of", one.what}, {"state", one.state}});
  }
  report["breakers_not_closed"] = std::move(breakers);
  Json errors = Json::array();
  for (const TopError& one : seen.errors) {
    errors.push_back(
        {{"code", one.code}, {"count", one.count}, {"age_ms", one.age_ms}, {"text", one.text}});
  }
  report["errors"] = std::move(errors);
  return report;
}

}  // namespace mesh::engine::reports
