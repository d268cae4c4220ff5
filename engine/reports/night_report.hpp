// What happened to a mesh while nobody looked (mesh.md part 15, health): breakers and modes of the
// last hours, the trend of conflicts, who came and went, clusters that drift high, slow agents.
// From the table alone.
//
//     breakers, modes   the table's ring of events, which keeps the newest alone: `events_for_ms`
//                       says how far back it reaches where that is less than the hours asked for
//     conflicts, churn  counters: the last hour beside the hours before it
//     clusters, agents  summaries and rows as they stand
//
// Callers     one thread, cold.
// If the      dies, or has never run: what it wrote stands; what is not known is none.
// engine
// dies
// Errors      not_found, layout_mismatch: a table of another program.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/event_ring.hpp"
#include "engine/health/operating_modes.hpp"
#include "engine/observed_mesh.hpp"
#include "engine/reports/mesh_counters.hpp"
#include "engine/reports/report_json.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::reports {

inline constexpr std::size_t kNightListMax = 10;  // of each list: the worst
inline constexpr std::uint16_t kSlowScore = 800;  // above it an agent is degraded

struct NightBreakers {
  struct Opening {
    std::uint32_t place = 0;  // as in the table: 0 the mesh, then sectors, then clusters
    std::int64_t ms_ago = 0;
  };
  std::uint32_t openings = 0;
  std::vector<Opening> list{};  // the newest first
};
struct NightModes {
  struct Change {
    health::OperatingMode mode{};
    std::int64_t ms_ago = 0;
  };
  std::uint32_t changes = 0;
  std::vector<Change> list{};  // the newest first
};
enum class Trend : std::uint8_t { falling, level, rising };
[[nodiscard]] std::string_view name_of(Trend trend) noexcept;
struct NightConflicts {
  std::uint64_t last_hour = 0;
  std::optional<double> an_hour_before{};  // none: there is nothing to compare with
  // rising: over 1.5 times as many an hour as before; falling: under two thirds.
  std::optional<Trend> trend{};
};
struct NightChurn {  // of the last hour
  std::uint64_t agents_crashed = 0;
  std::uint64_t stations_lost = 0;
  std::uint64_t stations_attached = 0;
  std::uint64_t newcomers_admitted = 0;
};
struct NightDrifting {
  struct Cluster {
    std::uint32_t cluster = 0;
    double p95_ms = 0;
    std::uint32_t degraded = 0;
    std::uint32_t unstable = 0;
    std::uint32_t active = 0;
  };
  std::size_t count = 0;
  std::vector<Cluster> list{};  // the slowest first
};
struct NightSlow {
  struct Agent {
    std::string name;  // empty: it is none
    std::uint16_t score = 0;
    std::optional<std::uint32_t> cluster{};
  };
  std::size_t count = 0;
  std::vector<Agent> list{};  // the slowest first
};

struct NightReport {
  std::uint32_t hours = 0;
  NightBreakers breakers{};
  NightModes modes{};
  std::optional<std::int64_t> events_for_ms{};
  std::optional<NightConflicts> conflicts{};
  std::optional<NightChurn> churn{};
  NightDrifting drifting{};
  NightSlow slow{};
};

inline constexpr std::uint32_t kNightHoursMax = 720;
[[nodiscard]] Result<NightReport> report_night(const ObservedMesh::Memory& table,
                                               std::uint32_t hours);
// {hours, breakers, modes, events_for_ms, conflicts, churn, drifting_clusters, slow_agents}.
[[nodiscard]] Json night_json(const NightReport& report);

// The parts that are computed. `events`: oldest first.
[[nodiscard]] NightBreakers breakers_of(const std::vector<Event>& events, HostTime now);
[[nodiscard]] NightModes modes_of(const std::vector<Event>& events, HostTime now);
[[nodiscard]] NightConflicts conflicts_of(const MeshCounters& counters);
[[nodiscard]] NightChurn churn_of(const MeshCounters& counters);

}  // namespace mesh::engine::reports
