// MemoryMap: how big each of a mesh's memories is and what stands where in it.
//
// Every mesh has one `table`, one `payload` and one `engine`, and for each station N a
// `station-N.in` and a `station-N.out`. Sizes follow from the agents and stations alone, so `mesh
// size` can say them before anything is created, and two binaries that agree on the numbers agree
// on every offset.
//
// Callers     any thread; pure functions of their arguments, for set-up.
// Units       bytes; a memory is whole pages.
// Invariant   30,000 agents on 128 stations need less than 256 MiB in all (memory_map_test).
// Errors      invalid_argument: no agents, no stations, or more than kMaxAgents, kMaxStations.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "shm/base/limits.hpp"
#include "shm/base/result.hpp"
#include "shm/layout.hpp"

namespace mesh::engine {

// Of a mesh that says nothing else.
inline constexpr std::uint32_t kAgentsPerCluster = 30;
inline constexpr std::uint32_t kClustersPerSector = 10;
// A cluster is looked at as a whole in one tick of upkeep.
inline constexpr std::uint32_t kAgentsPerClusterMost = kUpkeepRowsPerTick;
inline constexpr std::uint32_t kClustersPerSectorMost = 65'535;

struct MeshSize {
  std::uint64_t agents = 0;
  std::uint64_t stations = 0;
  std::uint64_t agents_per_station = 0;  // the largest that any declares; 0: spread evenly
  std::uint32_t clusters_per_sector = kClustersPerSector;
  std::uint32_t agents_per_cluster = kAgentsPerCluster;
};

// How a memory's header, which has room for four numbers, says the stations and the shape of a
// mesh: stations | clusters of a sector << 16 | agents of a cluster << 32. A shape of 0 is the one
// of a mesh that says nothing else.
[[nodiscard]] constexpr std::uint64_t pack_shape(const MeshSize& size) noexcept {
  const bool is_usual = size.clusters_per_sector == kClustersPerSector &&
                        size.agents_per_cluster == kAgentsPerCluster;
  if (is_usual) return size.stations;
  return size.stations | std::uint64_t{size.clusters_per_sector} << 16 |
         std::uint64_t{size.agents_per_cluster} << 32;
}
constexpr void unpack_shape(std::uint64_t packed, MeshSize& size) noexcept {
  size.stations = packed & 0xFFFF;
  const std::uint64_t shape = packed >> 16;
  size.clusters_per_sector =
      shape == 0 ? kClustersPerSector : static_cast<std::uint32_t>(shape & 0xFFFF);
  size.agents_per_cluster =
      shape == 0 ? kAgentsPerCluster : static_cast<std::uint32_t>(shape >> 16);
}
static_assert(kMaxStations <= 0xFFFF && kClustersPerSectorMost <= 0xFFFF);
[[nodiscard]] constexpr bool is_same_shape(const MeshSize& a, const MeshSize& b) noexcept {
  return a.clusters_per_sector == b.clusters_per_sector &&
         a.agents_per_cluster == b.agents_per_cluster;
}

// What a mesh is sized with beyond its agents and stations. All are bounds: what does not fit is
// refused to its sender and counted.
inline constexpr std::size_t kBodyBytesPerAgent = 1'024;  // bodies on their way, for each agent
inline constexpr std::size_t kPayloadBytesMin = std::size_t{8} << 20;
inline constexpr std::size_t kPayloadBytesMax = std::size_t{256} << 20;
inline constexpr std::size_t kStationBodyBytesMin = std::size_t{256} << 10;
inline constexpr std::size_t kStationBodyBytesMax = std::size_t{16} << 20;
inline constexpr std::uint32_t kUnansweredPerAgent = 4;
inline constexpr std::uint32_t kUnansweredMin = 4'096;
inline constexpr std::uint32_t kRunsPerStation = 1'024;  // published and not yet polled
inline constexpr std::uint32_t kServiceViews = 4'096;
inline constexpr std::uint32_t kCountersPerThread = 2'048;
inline constexpr std::uint32_t kDistinctErrors = 1'024;
inline constexpr std::uint32_t kEventSlots = 16'384;
inline constexpr std::uint32_t kConflictNotes = 8'192;  // noted and not recorded yet
inline constexpr std::size_t kConflictNoteBytes = 192;
inline constexpr std::size_t kConflictBodyBytes = std::size_t{2} << 20;  // what they carried

enum class MemoryKind : std::uint32_t { table = 1, payload, station_in, station_out, engine };

struct MemoryDescription {
  MemoryKind kind;
  std::string_view name;
  std::string_view writer;  // the one process that maps it writable
  std::string_view readers;
  bool in_directory;  // a file of the mesh's directory; else a sealed memfd
  std::string_view holds;
};
inline constexpr std::array<MemoryDescription, 5> kMemories = {{
    {MemoryKind::table, "table", "engine", "every station, observers", true,
     "clock, breakers, summaries, agent columns, views, counters, errors, events"},
    {MemoryKind::payload, "payload", "engine", "every station", true,
     "bodies of messages for several stations"},
    {MemoryKind::station_in, "station-N.in", "engine", "station N", true,
     "inbox, bodies for station N alone, the engine's cursor into N's outbox"},
    {MemoryKind::station_out, "station-N.out", "station N", "engine", false,
     "outbox, outbound bodies, N's cursor into its inbox, what N measured and says of its agents"},
    {MemoryKind::engine, "engine", "engine", "nobody", true,
     "operations in flight, pending lists, parked bodies, arrivals, conflicts"},
}};

// Sectors of its clusters of its agents, as many as all agents need.
std::uint32_t sectors_of(const MeshSize& size) noexcept;

// Sizes of the two memories of one station with this many agents.
Result<shm::Layout> station_in_layout(std::uint64_t agents);
Result<shm::Layout> station_out_layout(std::uint64_t agents);
Result<shm::Layout> table_layout(const MeshSize& size);
Result<shm::Layout> payload_layout(const MeshSize& size);
Result<shm::Layout> engine_layout(const MeshSize& size);

// The mesh by which documents and `mesh --version` show layouts.
inline constexpr MeshSize kReferenceMesh{.agents = 30'000, .stations = 128};

struct MemoryPlan {
  const MemoryDescription* description = nullptr;
  shm::Layout layout;
  std::uint64_t copies = 1;  // as many as there are stations, for a station's memories

  [[nodiscard]] std::uint64_t bytes() const noexcept { return copies * layout.total_bytes(); }
};

struct MemoryMap {
  MeshSize size;                     // agents_per_station filled in
  std::vector<MemoryPlan> memories;  // in the order of kMemories

  [[nodiscard]] std::uint64_t total_bytes() const noexcept;
  // Of all layouts: two binaries that print the same can share a mesh of this size.
  [[nodiscard]] std::uint64_t hash() const;
};
Result<MemoryMap> memory_map(const MeshSize& size);
// memory_map(kReferenceMesh)'s hash: who has another one sees other things in the same bytes.
// Worked out once a process.
[[nodiscard]] std::uint64_t reference_layout_hash();

}  // namespace mesh::engine
