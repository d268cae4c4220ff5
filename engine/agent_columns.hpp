// The columns of an agent's row: in the table, which everyone reads, and in its station's memory.
//
// Table columns have one writer, the engine's scheduler thread. Station columns hold what a station
// measures of its own agents; the engine copies them, clamped, into the table within a second.
// Adding a column is one line here: sizes, `mesh layout`, docs/SHM_LAYOUT.md and the layout hash
// follow.
//
// Units       in the names. mesh_ms counts from the mesh's start, modulo 2^32.
// Ordering    values of one row that belong together are read under its `sequence`
//             (shm/row_seqlock.hpp); a value alone is never torn.
// Layout      a column is its rows side by side, padded to whole cache lines (shm/columns.hpp).
//             Floats stand as their bits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "shm/base/ids.hpp"
#include "shm/base/limits.hpp"
#include "shm/columns.hpp"
#include "shm/describe.hpp"

namespace mesh::engine {

// X(name, type of one value, values a row, meaning)
#define MESH_AGENT_COLUMNS(X)                                                                  \
  X(sequence, std::uint32_t, 1, "even: the row stands; odd: it is being written")              \
  X(incarnation, std::uint32_t, 1, "how often the agent attached")                             \
  X(id, AgentId, 1, "handle: row 20 bits, generation 44; the generation governs who is meant") \
  X(station, StationId, 1, "where it is attached")                                             \
  X(agent_class, std::uint8_t, 1, "A 0 to F 5")                                                \
  X(role, std::uint8_t, 1, "agent 0, cluster lead 1, sector coordinator 2")                    \
  X(state, std::uint8_t, 1, "free 0, ACTIVE 1, DEGRADED 2, OFFLINE 3, QUARANTINED 4")          \
  X(routing, std::uint8_t, 1,                                                                  \
    "bits: 1 operator routes around it, 2 has frozen it, 4 in quarantine, 8 newcomer, 16 its " \
    "context is awaited, 32 its score is over twice its own")                                  \
  X(sector, std::uint32_t, 1, "index of its sector")                                           \
  X(cluster, std::uint32_t, 1, "index of its cluster")                                         \
  X(latency_ms, float, 1, "round trip, median of the last 100 samples")                        \
  X(processing_ms, float, 1, "median of the last 100 samples")                                 \
  X(drift, float, 1, "coefficient of variation of the latency samples")                        \
  X(reliability, float, 1, "successes / attempts of the last hour, 0 to 1")                    \
  X(queue_depth, std::uint32_t, 1, "delivered and not answered")                               \
  X(heartbeat_mesh_ms, std::uint32_t, 1, "when it was last heard of")                          \
  X(score, std::uint16_t, 1, "impedance, 0 to 1000: lead time in ms for weight 1")             \
  X(confidence, std::uint16_t, 1, "of READY within 50 ms of T, in 1/65535")                    \
  X(confidence_by_t, std::uint16_t, 1, "the same, where 95 % are to be READY by T")            \
  X(work_ms, float, 1, "processing at weight 0 with an empty queue, as learned")               \
  X(residual_centre_ms, float, 1, "median of observed - (one way + processing)")               \
  X(residual_by_t_ms, float, 1, "95 % quantile of the same")                                   \
  X(history, std::uint8_t, 1, "sends behind its prediction, at most 255; 0: nominal model")    \
  X(context_hash, std::uint64_t, 1, "of the agent's context; 0: none given")                   \
  X(capabilities, std::uint64_t, kCapabilities / 64,                                           \
    "a bit for each name of the capability table")                                             \
  X(name, std::uint8_t, kAgentNameBytes + 1, "length, UTF-8, zeros; length 0: the row is free")

// What only the engine needs to know of a row, in `engine`: a restart goes on from it.
#define MESH_OWNER_COLUMNS(X)                                                               \
  X(uid, std::uint32_t, 1, "user that the name is bound to")                                \
  X(place, std::uint32_t, 1, "of its row in its station's columns")                         \
  X(departed, std::uint8_t, 1, "1: offline, and its station had said so: nobody misses it") \
  X(offline_since_ns, std::int64_t, 1, "agent_ttl counts from then: its station was lost")

// One row for each agent that the station declared, in the order of its declaration.
#define MESH_STATION_COLUMNS(X)                                                    \
  X(sequence, std::uint32_t, 1, "even: the row stands; odd: it is being written")  \
  X(heartbeat_mesh_ms, std::uint32_t, 1, "when the agent last ran")                \
  X(latency_ms, float, 1, "twice the median of received - sent, last 100 samples") \
  X(processing_ms, float, 1, "median of the last 100 samples")                     \
  X(drift, float, 1, "coefficient of variation of the latency samples")            \
  X(samples, std::uint32_t, 1, "behind the medians, at most 100")                  \
  X(context_hash, std::uint64_t, 1, "of the agent's context; 0: none given")

// What an agent says that it is doing, a row each as above; empty texts say nothing.
#define MESH_ACTIVITY_COLUMNS(X)                                                        \
  X(sequence, std::uint32_t, 1, "even: the row stands; odd: it is being written")       \
  X(agent, AgentId, 1, "whose row it is; 0: nothing was ever said")                     \
  X(since_ns, std::int64_t, 1, "HostTime since when it does that")                      \
  X(task, std::uint8_t, kAgentNameBytes + 1, "length, UTF-8, zeros; length 0: nothing") \
  X(waiting_on, std::uint8_t, kAgentNameBytes + 1, "the same: an agent's name, or words")

// What is done to an agent on purpose (engine/chaos/live_driver.hpp), kFaultRows of them: its
// station looks there while `chaos.armed` is set.
inline constexpr std::uint32_t kFaultRows = 1'024;
#define MESH_FAULT_COLUMNS(X)                                                                    \
  X(sequence, std::uint32_t, 1, "even: the row stands; odd: it is being written")                \
  X(agent, AgentId, 1, "whom it strikes; 0: the row is free")                                    \
  X(injection, std::uint64_t, 1, "the order that it belongs to")                                 \
  X(expires_ns, std::int64_t, 1, "HostTime: from then on it does not act")                       \
  X(kind, std::uint8_t, 1,                                                                       \
    "delay 1, reorder 2, lose 3, duplicate 4, corrupt 5, cut 6, unheard 7, contradict 8, end 9") \
  X(rate_ppm, std::uint32_t, 1, "of the messages; lose, duplicate, corrupt")                     \
  X(bits, std::uint32_t, 1, "flipped in a body, or the step; corrupt, end")                      \
  X(add_ns, std::int64_t, 1, "longer on its way, or HostTime of the order; delay, end")          \
  X(jitter_ns, std::int64_t, 1, "up to so much more; delay, reorder")

struct ColumnDescription {
  std::string_view name;
  std::string_view type;  // of one value, as it stands in memory
  std::size_t value_bytes;
  std::size_t values_per_row;
  std::string_view meaning;

  [[nodiscard]] constexpr std::size_t row_bytes() const noexcept {
    return value_bytes * values_per_row;
  }
};

namespace agent_columns_detail {
template <class T>
constexpr std::string_view column_type() {
  // f32 says what the bits are; the word that is loaded is the integer of its size.
  return shm::kTypeName<T>;
}
}  // namespace agent_columns_detail

#define MESH_COLUMN_DESCRIPTION(name, type, values, meaning)                                \
  ColumnDescription{#name, agent_columns_detail::column_type<type>(), sizeof(type), values, \
                    meaning},
inline constexpr auto kAgentColumns =
    std::to_array<ColumnDescription>({MESH_AGENT_COLUMNS(MESH_COLUMN_DESCRIPTION)});
inline constexpr auto kOwnerColumns =
    std::to_array<ColumnDescription>({MESH_OWNER_COLUMNS(MESH_COLUMN_DESCRIPTION)});
inline constexpr auto kStationColumns =
    std::to_array<ColumnDescription>({MESH_STATION_COLUMNS(MESH_COLUMN_DESCRIPTION)});
inline constexpr auto kActivityColumns =
    std::to_array<ColumnDescription>({MESH_ACTIVITY_COLUMNS(MESH_COLUMN_DESCRIPTION)});
inline constexpr auto kFaultColumns =
    std::to_array<ColumnDescription>({MESH_FAULT_COLUMNS(MESH_COLUMN_DESCRIPTION)});
#undef MESH_COLUMN_DESCRIPTION

// The places of the columns in those arrays: AgentColumn::latency_ms.
#define MESH_COLUMN_ENUMERATOR(name, type, values, meaning) name,
enum class AgentColumn : std::uint32_t { MESH_AGENT_COLUMNS(MESH_COLUMN_ENUMERATOR) };
enum class StationColumn : std::uint32_t { MESH_STATION_COLUMNS(MESH_COLUMN_ENUMERATOR) };
#undef MESH_COLUMN_ENUMERATOR

// With its padding: whole cache lines, so that no two columns share one.
constexpr std::size_t column_bytes(const ColumnDescription& column, std::size_t rows) noexcept {
  return (column.row_bytes() * rows + kCacheLine - 1) / kCacheLine * kCacheLine;
}
constexpr std::size_t columns_bytes(std::span<const ColumnDescription> columns,
                                    std::size_t rows) noexcept {
  std::size_t bytes = 0;
  for (const ColumnDescription& column : columns) bytes += column_bytes(column, rows);
  return bytes;
}

static_assert(kCapabilities % 64 == 0);
static_assert(column_bytes(ColumnDescription{"", "", 4, 1, ""}, 17) == 2 * kCacheLine);

}  // namespace mesh::engine
