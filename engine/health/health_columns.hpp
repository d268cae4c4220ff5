// The columns of what is known of clusters, sectors and the mesh: in the table, written by the
// engine's scheduler thread within a second of what they tell, read by every attached process.
//
// Units       means in 1/65536 of a score, p95 in 1/20, the mesh's in 1/400 (summaries.hpp).
//             mesh_ms counts from the mesh's start, modulo 2^32.
// Ordering    values of one row belong together under its `sequence` (shm/row_seqlock.hpp).
// Layout      as agent_columns.hpp: a line here is all that a column needs.
#pragma once

#include <array>
#include <cstdint>

#include "engine/agent_columns.hpp"
#include "shm/columns.hpp"
#include "shm/layout.hpp"

namespace mesh::engine::health {

#define MESH_SEQUENCE_COLUMN(X) \
  X(sequence, std::uint32_t, 1, "even: the row stands; odd: it is being written; 0: never written")

// X(name, type of one value, values a row, meaning)
#define MESH_CLUSTER_COLUMNS(X)                                                   \
  MESH_SEQUENCE_COLUMN(X)                                                         \
  X(summarized_mesh_ms, std::uint32_t, 1, "when it was summarized")               \
  X(agents, std::uint32_t, 1, "that stand in it")                                 \
  X(active, std::uint32_t, 1, "of them, attached and not quarantined")            \
  X(degraded, std::uint32_t, 1, "active, with a score above 800")                 \
  X(unstable, std::uint32_t, 1, "active, with a drift above 0.5")                 \
  X(mean, std::uint32_t, 1, "score of the active, in 1/65536; 0 where nobody is") \
  X(p95, std::uint32_t, 1, "score of the active, in 1/20")                        \
  X(slowest, std::uint32_t, 1, "row of the active one with the highest score")    \
  X(fastest, std::uint32_t, 1, "row of the active one with the lowest score")     \
  X(lead, std::uint32_t, 1, "row of its lead; 2^32 - 1: nobody")

#define MESH_SECTOR_COLUMNS(X)                                                            \
  MESH_SEQUENCE_COLUMN(X)                                                                 \
  X(summarized_mesh_ms, std::uint32_t, 1, "when it was summarized")                       \
  X(clusters, std::uint32_t, 1, "that have an agent")                                     \
  X(agents, std::uint32_t, 1, "in them")                                                  \
  X(active, std::uint32_t, 1, "of them, attached and not quarantined")                    \
  X(mean, std::uint32_t, 1, "of its clusters' means, in 1/65536")                         \
  X(healthiest, std::uint32_t, 1, "its cluster with the lowest mean")                     \
  X(sickest, std::uint32_t, 1, "its cluster where nobody is active, or the highest mean") \
  X(healthy, std::uint32_t, 1, "1: active / agents > 0.95")                               \
  X(coordinator, std::uint32_t, 1, "row of its coordinator; 2^32 - 1: nobody")

#define MESH_GLOBAL_COLUMNS(X)                                                               \
  MESH_SEQUENCE_COLUMN(X)                                                                    \
  X(summarized_mesh_ms, std::uint32_t, 1, "when it was summarized")                          \
  X(agents, std::uint32_t, 1, "that have a place")                                           \
  X(active, std::uint32_t, 1, "of them, attached and not quarantined")                       \
  X(mean, std::uint32_t, 1, "of the clusters' means, in 1/65536")                            \
  X(p95, std::uint32_t, 1, "of the clusters' p95, in 1/400")                                 \
  X(healthy_sectors, std::uint32_t, 1, "active / agents > 0.95")                             \
  X(degraded_sectors, std::uint32_t, 1, "the other sectors that have agents")                \
  X(mode, std::uint32_t, 1, "0 unknown, FULL 1, LIGHT 2, MODERATE 3, SEVERE 4, EMERGENCY 5") \
  X(mode_since_mesh_ms, std::uint32_t, 1, "when it was entered")

// The mesh's breaker, those of its sectors, those of its clusters.
#define MESH_BREAKER_COLUMNS(X)                                                              \
  MESH_SEQUENCE_COLUMN(X)                                                                    \
  X(word, std::uint64_t, 1,                                                                  \
    "bits 0-2: closed 0, open 1, half-open 2, forced open 3, disabled 4; 3-32 epoch, 33-44 " \
    "probes that are "                                                                       \
    "out, 45-52 trips since it was last closed")                                             \
  X(open_until_ns, std::int64_t, 1, "open: before it no probe passes, HostTime")

#define MESH_COLUMN_DESCRIPTION(name, type, values, meaning)                                \
  ColumnDescription{#name, agent_columns_detail::column_type<type>(), sizeof(type), values, \
                    meaning},
inline constexpr auto kClusterColumns =
    std::to_array<ColumnDescription>({MESH_CLUSTER_COLUMNS(MESH_COLUMN_DESCRIPTION)});
inline constexpr auto kSectorColumns =
    std::to_array<ColumnDescription>({MESH_SECTOR_COLUMNS(MESH_COLUMN_DESCRIPTION)});
inline constexpr auto kGlobalColumns =
    std::to_array<ColumnDescription>({MESH_GLOBAL_COLUMNS(MESH_COLUMN_DESCRIPTION)});
inline constexpr auto kBreakerColumns =
    std::to_array<ColumnDescription>({MESH_BREAKER_COLUMNS(MESH_COLUMN_DESCRIPTION)});
#undef MESH_COLUMN_DESCRIPTION

// Bound to a table: to write (Column) or to read (ColumnView).
#define MESH_GROUP_MEMBER(name, type, values, meaning) Bound<type> name;
#define MESH_GROUP_BIND(name, type, values, meaning) \
  MESH_TRY(bound.name, layout.column<type>(table, prefix + #name));
#define MESH_GROUP_ROWS(Name, COLUMNS, PREFIX)                       \
  template <template <class> class Bound, class Bytes>               \
  struct Name {                                                      \
    COLUMNS(MESH_GROUP_MEMBER)                                       \
    static Result<Name> in(const shm::Layout& layout, Bytes table) { \
      const std::string prefix = PREFIX;                             \
      Name bound;                                                    \
      COLUMNS(MESH_GROUP_BIND)                                       \
      return bound;                                                  \
    }                                                                \
  };
MESH_GROUP_ROWS(ClusterRows, MESH_CLUSTER_COLUMNS, "cluster.")
MESH_GROUP_ROWS(SectorRows, MESH_SECTOR_COLUMNS, "sector.")
MESH_GROUP_ROWS(GlobalRows, MESH_GLOBAL_COLUMNS, "mesh.")
MESH_GROUP_ROWS(BreakerRows, MESH_BREAKER_COLUMNS, "breaker.")
#undef MESH_GROUP_ROWS
#undef MESH_GROUP_BIND
#undef MESH_GROUP_MEMBER

template <class T>
using Written = shm::Column<HostMemory, T>;
template <class T>
using Viewed = shm::ColumnView<HostMemory, T>;
using WrittenBytes = std::span<std::byte>;
using ViewedBytes = std::span<const std::byte>;

}  // namespace mesh::engine::health
