#include "engine/reports/health_report.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "engine/backup/backup_status.hpp"
#include "engine/coordination/circuit_breaker.hpp"
#include "engine/health/health_view.hpp"
#include "engine/reports/seen_mesh.hpp"
#include "sched/clock.hpp"

namespace mesh::engine::reports {
namespace {

using health::HealthView;

std::optional<double> in_units_of(std::uint32_t active, std::uint32_t value, std::uint32_t unit) {
  if (active == 0) return std::nullopt;
  return static_cast<double>(value) / static_cast<double>(unit);
}
std::optional<std::uint32_t> unless_nobody(std::uint32_t index) {
  return index == health::kNobody ? std::nullopt : std::optional(index);
}

struct HealthSeen {
  HealthView view;
  std::uint32_t now_mesh_ms = 0;

  [[nodiscard]] std::int64_t age_ms(std::uint32_t then_mesh_ms) const {
    const std::uint32_t age = now_mesh_ms - then_mesh_ms;
    return age < 1U << 31 ? age : 0;  // a moment ahead of our look at the clock
  }
  // As the word in the table says.
  [[nodiscard]] std::optional<std::string> breaker(std::size_t place) const {
    const auto its = view.breaker(place);
    if (!its) return std::nullopt;
    const auto state = coordination::BreakerView::state_of(its->word);
    return std::string(
        state > coordination::BreakerState::disabled ? "unknown" : coordination::to_string(state));
  }
};

Result<HealthSeen> see_health(const ObservedMesh::Memory& table) {
  const std::span<const std::byte> bytes = table.mapping.bytes();
  MESH_TRY(HealthView view, HealthView::over(table.layout, bytes));
  MESH_TRY(const auto clock, table.layout.array<sched::ClockWords>(bytes, "clock"));
  sched::ClockReader<> reader(clock.front());
  return HealthSeen{std::move(view),
                    static_cast<std::uint32_t>((reader.now_ns() - start_ns_of(table)) / kNsPerMs)};
}

std::uint32_t count_not_closed(const HealthView& view) {
  std::uint32_t count = 0;
  for (std::size_t place = 0; place < view.breakers(); ++place) {
    const auto breaker = view.breaker(place);
    count += breaker && !breaker->is_passable() ? 1U : 0U;
  }
  return count;
}

std::optional<MeshHealth> mesh_of(const HealthSeen& seen) {
  const auto mesh = seen.view.mesh();
  if (!mesh) return std::nullopt;
  const auto& summary = mesh->summary;
  MeshHealth its{.agents = summary.agents,
                 .active = summary.active,
                 .mean_ms = in_units_of(summary.active, summary.mean, health::kMeanUnit),
                 .p95_ms = in_units_of(summary.active, summary.p95, health::kP95OfP95sUnit),
                 .sectors_healthy = summary.healthy_sectors,
                 .sectors_degraded = summary.degraded_sectors,
                 .mode = mesh->mode,
                 .age_ms = seen.age_ms(mesh->mesh_ms),
                 .breaker = seen.breaker(0),
                 .breakers_open = count_not_closed(seen.view)};
  if (mesh->mode) its.mode_for_ms = seen.age_ms(mesh->mode_since_mesh_ms);
  return its;
}

std::vector<SectorHealth> sectors_of(const HealthSeen& seen) {
  std::vector<SectorHealth> list;
  for (std::uint32_t sector = 0; sector < seen.view.sectors(); ++sector) {
    const auto its = seen.view.sector(sector);
    if (!its || its->summary.agents == 0) continue;
    const auto& summary = its->summary;
    list.push_back({.sector = sector,
                    .is_healthy = summary.is_healthy,
                    .clusters = summary.clusters,
                    .agents = summary.agents,
                    .active = summary.active,
                    .mean_ms = in_units_of(summary.active, summary.mean, health::kMeanUnit),
                    .healthiest = unless_nobody(summary.healthiest),
                    .sickest = unless_nobody(summary.sickest),
                    .breaker = seen.breaker(seen.view.place_of_sector(sector)),
                    .age_ms = seen.age_ms(its->mesh_ms)});
  }
  return list;
}

std::vector<ClusterHealth> clusters_of(const HealthSeen& seen, std::uint32_t first,
                                       std::uint32_t count) {
  std::vector<ClusterHealth> list;
  for (std::uint32_t at = first; at < first + count; ++at) {
    const auto its = seen.view.cluster(at);
    if (!its || its->summary.agents == 0) continue;
    const auto& summary = its->summary;
    list.push_back({.cluster = at,
                    .agents = summary.agents,
                    .active = summary.active,
                    .mean_ms = in_units_of(summary.active, summary.mean, health::kMeanUnit),
                    .p95_ms = in_units_of(summary.active, summary.p95, health::kP95Unit),
                    .degraded = summary.degraded,
                    .unstable = summary.unstable,
                    .slowest_row = unless_nobody(summary.slowest),
                    .fastest_row = unless_nobody(summary.fastest),
                    .breaker = seen.breaker(seen.view.place_of_cluster(at)),
                    .age_ms = seen.age_ms(its->mesh_ms)});
  }
  return list;
}

std::optional<std::int64_t> ms_ago(std::int64_t unix_ns) {
  if (unix_ns == 0) return std::nullopt;
  return std::max<std::int64_t>(unix_now_ns() - unix_ns, 0) / kNsPerMs;
}

// As the engine's file says: what there is of it is told, whether an engine runs or not.
BackupHealth backup_of(const std::string& directory) {
  BackupHealth backup;
  const auto status = read_status(directory);
  if (!status) return backup;
  if (status->tried_unix_ns != 0) backup.last = status->is_good ? "good" : "failed";
  backup.tried_ms_ago = ms_ago(status->tried_unix_ns);
  backup.age_ms = ms_ago(status->good_unix_ns);
  if (status->good_unix_ns != 0) backup.path = status->good_path;
  if (backup.last == "failed") backup.error = status->error;
  if (status->every > Nanos{0}) {
    backup.every_ms = status->every.count() / kNsPerMs;
    backup.is_overdue = !backup.age_ms || *backup.age_ms > 2 * *backup.every_ms;
  }
  return backup;
}

}  // namespace

Result<HealthReport> report_health(const std::string& directory, const HealthWanted& wanted) {
  if (wanted.hours == 0 || wanted.hours > kNightHoursMax)
    return fail(Errc::bad_input, "hours: " + std::to_string(wanted.hours) + " is not 1 to " +
                                     std::to_string(kNightHoursMax));
  MESH_TRY(const SeenMesh mesh, SeenMesh::open(directory));
  MESH_TRY(const HealthSeen seen, see_health(mesh.table));
  HealthReport report{.mesh = mesh_of(seen),
                      .engine_runs = mesh.mesh.engine().running,
                      .backup = backup_of(directory),
                      .sector = wanted.sector};
  if (!wanted.sector) {
    MESH_TRY(report.night, report_night(mesh.table, wanted.hours));
    report.sectors = sectors_of(seen);
    return report;
  }
  if (*wanted.sector >= seen.view.sectors())
    return fail(Errc::bad_input, "sector: " + std::to_string(*wanted.sector) + " is not 0 to " +
                                     std::to_string(seen.view.sectors() - 1));
  const std::uint32_t count = mesh.mesh.size().clusters_per_sector;
  report.clusters = clusters_of(seen, *wanted.sector * count, count);
  return report;
}

Result<std::uint32_t> sectors_in(const std::string& directory) {
  MESH_TRY(const SeenMesh mesh, SeenMesh::open(directory));
  MESH_TRY(const HealthView view, HealthView::over(mesh.table.layout, mesh.bytes()));
  return view.sectors();
}

namespace {

void put_mesh(const MeshHealth& mesh, Json& object) {
  if (mesh.mode) {
    object["mode"] = health::name_of(*mesh.mode);
    object["mode_for_ms"] = mesh.mode_for_ms;
  }
  object["age_ms"] = mesh.age_ms;
  object["agents"] = mesh.agents;
  object["active"] = mesh.active;
  object["mean_impedance_ms"] = or_null(mesh.mean_ms);
  object["p95_impedance_ms"] = or_null(mesh.p95_ms);
  object["sectors_healthy"] = mesh.sectors_healthy;
  object["sectors_degraded"] = mesh.sectors_degraded;
  object["breaker"] = or_null(mesh.breaker);
  object["breakers_open"] = mesh.breakers_open;
}

Json sectors_json(const std::vector<SectorHealth>& sectors) {
  Json list = Json::array();
  for (const SectorHealth& one : sectors) {
    list.push_back({{"sector", one.sector},
                    {"state", one.is_healthy ? "healthy" : "degraded"},
                    {"clusters", one.clusters},
                    {"agents", one.agents},
                    {"active", one.active},
                    {"mean_ms", or_null(one.mean_ms)},
                    {"healthiest", or_null(one.healthiest)},
                    {"sickest", or_null(one.sickest)},
                    {"breaker", or_null(one.breaker)},
                    {"age_ms", one.age_ms}});
  }
  return list;
}

Json clusters_json(const std::vector<ClusterHealth>& clusters) {
  Json list = Json::array();
  for (const ClusterHealth& one : clusters) {
    list.push_back({{"cluster", one.cluster},
                    {"agents", one.agents},
                    {"active", one.active},
                    {"mean_ms", or_null(one.mean_ms)},
                    {"p95_ms", or_null(one.p95_ms)},
                    {"degraded", one.degraded},
                    {"unstable", one.unstable},
                    {"slowest_row", or_null(one.slowest_row)},
                    {"fastest_row", or_null(one.fastest_row)},
                    {"breaker", or_null(one.breaker)},
                    {"age_ms", one.age_ms}});
  }
  return list;
}

Json backup_health_json(const BackupHealth& backup) {
  Json object = {{"last", backup.last},
                 {"tried_ms_ago", or_null(backup.tried_ms_ago)},
                 {"age_ms", or_null(backup.age_ms)}};
  if (!backup.path.empty()) object["path"] = backup.path;
  if (!backup.error.empty()) object["error"] = backup.error;
  if (backup.every_ms) {
    object["every_ms"] = *backup.every_ms;
    object["overdue"] = backup.is_overdue;
  }
  return object;
}

}  // namespace

Json health_json(const HealthReport& report) {
  Json object = {{"mode", nullptr}, {"mode_for_ms", nullptr}, {"age_ms", nullptr}};
  if (report.mesh) put_mesh(*report.mesh, object);
  object["engine_runs"] = or_null(report.engine_runs);
  object["backup"] = backup_health_json(report.backup);
  if (report.night) object["night"] = night_json(*report.night);
  if (report.sector)
    object["clusters"] = clusters_json(report.clusters);
  else
    object["sectors"] = sectors_json(report.sectors);
  return object;
}

}  // namespace mesh::engine::reports
