// The KPIs of a mesh (mesh.md part 14), from the counters in its table alone: over the last hour,
// which the engine keeps by the minute, and over all time, which is over all its engines.
//
// Callers     one thread, cold. Pure functions of counters.
// Units       shares from 0 to 1, or seconds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/reports/mesh_counters.hpp"
#include "engine/reports/report_json.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::reports {

enum class KpiVerdict : std::uint8_t { unknown, pass, fail, reported };
[[nodiscard]] std::string_view name_of(KpiVerdict verdict) noexcept;

struct KpiValue {
  std::optional<double> value{};  // none: nothing was measured
  std::uint64_t of = 0;           // operations, targets, answers, ms or recoveries behind it
  KpiVerdict target = KpiVerdict::unknown;
  KpiVerdict ours = KpiVerdict::unknown;
};

struct KpiRow {
  std::string_view name;
  std::string_view target;
  std::string_view ours;
  bool is_share = true;  // else seconds
  std::string_view of;   // unit of KpiValue::of
  KpiValue hour{};
  KpiValue all{};
  std::string_view note{};  // why it is not known, or what it leaves out
};

[[nodiscard]] std::vector<KpiRow> kpis_of(const MeshCounters& counters);
// Whether one of the last hour misses its target.
[[nodiscard]] bool misses_a_target(const std::vector<KpiRow>& rows) noexcept;

struct KpiReport {
  std::string directory{};
  std::string at{};  // wall time, UTC
  std::int64_t age_ms = 0;
  std::int64_t hour_ms = 0;  // how much of the last hour is known
  std::vector<KpiRow> rows{};
};
// Errors: as ObservedMesh and MeshCounters.
[[nodiscard]] Result<KpiReport> report_kpis(const std::string& directory);
// {directory, at, age_ms, hour_ms, kpis: [...]}.
[[nodiscard]] Json kpi_json(const KpiReport& report);

}  // namespace mesh::engine::reports
