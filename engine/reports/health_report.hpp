// The health of a mesh as it stands in its table, as the engine summarized it last: mode, sectors
// or the clusters of one, breakers, the last backup, and what happened in the night.
//
// Callers     one thread, cold. Asks no engine.
// Units       impedances in ms; ages in ms of the mesh's clock.
// If the      dies: what it wrote stands, and says how old it is. What nobody has summarized yet is
// engine      none.
// dies
// Errors      bad_input: there is no such sector, hours that are none; and as ObservedMesh's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/health/operating_modes.hpp"
#include "engine/reports/night_report.hpp"
#include "engine/reports/report_json.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::reports {

struct HealthWanted {
  std::optional<std::uint32_t> sector{};  // its clusters; none: all sectors, and the night
  std::uint32_t hours = 12;               // so many are the night; 1 to kNightHoursMax
};

struct MeshHealth {
  std::uint32_t agents = 0;
  std::uint32_t active = 0;
  std::optional<double> mean_ms{};  // none: nobody is active
  std::optional<double> p95_ms{};
  std::uint32_t sectors_healthy = 0;
  std::uint32_t sectors_degraded = 0;
  std::optional<health::OperatingMode> mode{};  // none: not every cluster was looked at yet
  std::int64_t mode_for_ms = 0;
  std::int64_t age_ms = 0;
  std::optional<std::string> breaker{};
  std::uint32_t breakers_open = 0;  // that are not closed, of all levels
};
struct SectorHealth {
  std::uint32_t sector = 0;
  bool is_healthy = false;
  std::uint32_t clusters = 0;
  std::uint32_t agents = 0;
  std::uint32_t active = 0;
  std::optional<double> mean_ms{};
  std::optional<std::uint32_t> healthiest{};  // clusters
  std::optional<std::uint32_t> sickest{};
  std::optional<std::string> breaker{};
  std::int64_t age_ms = 0;
};
struct ClusterHealth {
  std::uint32_t cluster = 0;
  std::uint32_t agents = 0;
  std::uint32_t active = 0;
  std::optional<double> mean_ms{};
  std::optional<double> p95_ms{};
  std::uint32_t degraded = 0;
  std::uint32_t unstable = 0;
  std::optional<std::uint32_t> slowest_row{};
  std::optional<std::uint32_t> fastest_row{};
  std::optional<std::string> breaker{};
  std::int64_t age_ms = 0;
};
struct BackupHealth {
  std::string last{"never"};  // good, failed
  std::optional<std::int64_t> tried_ms_ago{};
  std::optional<std::int64_t> age_ms{};  // of the last good one
  std::string path{};
  std::string error{};                     // of the last try
  std::optional<std::int64_t> every_ms{};  // none: not by itself
  bool is_overdue = false;                 // two periods old
};

struct HealthReport {
  std::optional<MeshHealth> mesh{};
  std::optional<bool> engine_runs{};
  BackupHealth backup{};
  std::optional<NightReport> night{};     // of all sectors
  std::optional<std::uint32_t> sector{};  // whose clusters they are
  std::vector<SectorHealth> sectors{};    // that have agents
  std::vector<ClusterHealth> clusters{};

  [[nodiscard]] bool is_full() const noexcept {
    return mesh && mesh->mode == health::OperatingMode::full;
  }
};

[[nodiscard]] Result<HealthReport> report_health(const std::string& directory,
                                                 const HealthWanted& wanted);
// How many sectors the mesh there has room for.
[[nodiscard]] Result<std::uint32_t> sectors_in(const std::string& directory);
// {mode, mode_for_ms, age_ms, ..., engine_runs, backup, night, sectors} or {.., clusters}.
[[nodiscard]] Json health_json(const HealthReport& report);

}  // namespace mesh::engine::reports
