// What happened to a mesh while nobody looked (mesh.md part 15, health): breakers and modes of the
// last hours, the trend of conflicts, who came and went, clusters that drift high, slow agents.
// From the table alone.
//
//     breakers, modes   the table's ring of events, which keeps the newest alone: `since` says how
//                       far back it reaches where that is less than the hours asked for
//     conflicts, churn  counters: the last hour beside the hours before it
//     clusters, agents  summaries and rows as they stand
//
// Callers     one thread, cold.
// If the      dies, or has never run: what it wrote stands; what is not known is null.
// engine
// dies
// Errors      not_found, layout_mismatch: a table of another program.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/event_ring.hpp"
#include "shm/base/result.hpp"
#include "tools/mesh_counters.hpp"
#include "tools/observed_mesh.hpp"

namespace mesh::tools {

inline constexpr std::size_t kNightListMax = 10;  // of each list: the worst
inline constexpr std::uint16_t kSlowScore = 800;  // above it an agent is degraded

struct NightOptions {
  std::uint32_t hours = 12;
};
// {hours, breakers, modes, conflicts, churn, drifting_clusters, slow_agents}.
[[nodiscard]] Result<nlohmann::ordered_json> night_report(const ObservedMesh::Memory& table,
                                                          const NightOptions& options);

// The parts that are computed. `events`: oldest first.
[[nodiscard]] nlohmann::ordered_json breakers_of(const std::vector<engine::Event>& events,
                                                 HostTime now);
[[nodiscard]] nlohmann::ordered_json modes_of(const std::vector<engine::Event>& events,
                                              HostTime now);
// rising: over 1.5 times as many an hour as before; falling: under two thirds; null: nothing to
// compare with.
[[nodiscard]] nlohmann::ordered_json conflicts_of(const MeshCounters& counters);
[[nodiscard]] nlohmann::ordered_json churn_of(const MeshCounters& counters);

}  // namespace mesh::tools
