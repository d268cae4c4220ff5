// StationSide, EngineSide, TableView, PayloadView: what the two processes see in the memories that
// they share, with types, bounds and alignment checked once.
//
// Positions. A body is named by the position of its entry in a log (queues/payload_log.hpp): by all
// 64 bits in a delivery (MessageWord), by the low 32 in an answer or a send (body_offset), which
// Reader::widen() makes whole. An entry holds a MessageHeader and the body behind it; of an answer,
// the body alone.
//
// Callers     set-up, on either side.
// If the      lies: sizes come from what was agreed at attach and from the file, never from bytes
// other side  of the mapping. What stands in the regions is checked where it is read.
// lies
// Errors      truncated, misaligned, layout_mismatch, not_found, with the region's name.
// Layout      docs/SHM_LAYOUT.md: station.in, station.out, table, payload.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/agent_columns.hpp"
#include "engine/memory_map.hpp"
#include "engine/station/activity.hpp"
#include "engine/station/agent_fault.hpp"
#include "queues/payload_log.hpp"
#include "queues/spsc_ring.hpp"
#include "sched/clock.hpp"
#include "shm/base/result.hpp"
#include "shm/columns.hpp"

namespace mesh::engine {

using Ring = queues::SpscRing<>;
using BodyLog = queues::PayloadLog<>;
using BodyWord = ShmWord<std::uint64_t>;

#define MESH_SELF_MEMBER(name, T, values, meaning) shm::Column<HostMemory, T> name;
#define MESH_SELF_VIEW_MEMBER(name, T, values, meaning) shm::ColumnView<HostMemory, T> name;
// One row for each agent, in the order in which the station enrolled them.
struct OwnColumns {
  MESH_STATION_COLUMNS(MESH_SELF_MEMBER)
};
struct OwnColumnsView {
  MESH_STATION_COLUMNS(MESH_SELF_VIEW_MEMBER)
};
#undef MESH_SELF_VIEW_MEMBER
#undef MESH_SELF_MEMBER

// As the station maps them: its `in` to read, its `out` to write.
struct StationSide {
  std::span<const Ring::Slot> inbox;
  const Ring::ReaderPage* outbox_reader = nullptr;  // the engine's cursor; parked: it sleeps
  std::span<const BodyWord> in_bodies;
  const BodyLog::Header* in_bodies_header = nullptr;

  Ring::ReaderPage* inbox_reader = nullptr;
  std::span<Ring::Slot> outbox;
  std::span<BodyWord> out_bodies;
  BodyLog::Header* out_bodies_header = nullptr;
  OwnColumns self;
  ActivityColumns activity;

  static Result<StationSide> over(std::uint32_t agents, std::span<const std::byte> in,
                                  std::span<std::byte> out);
};

// As the engine maps them: the reverse.
struct EngineSide {
  std::span<Ring::Slot> inbox;
  Ring::ReaderPage* outbox_reader = nullptr;
  std::span<BodyWord> in_bodies;
  BodyLog::Header* in_bodies_header = nullptr;

  const Ring::ReaderPage* inbox_reader = nullptr;
  std::span<const Ring::Slot> outbox;
  std::span<const BodyWord> out_bodies;
  const BodyLog::Header* out_bodies_header = nullptr;
  OwnColumnsView self;

  static Result<EngineSide> over(std::uint32_t agents, std::span<std::byte> in,
                                 std::span<const std::byte> out);
};

// What the low bits of a breaker's word say: nothing is sent there. Half-open the engine chooses.
inline constexpr std::uint64_t kBreakerStateMask = 7;
inline constexpr std::uint64_t kBreakerOpen = 1;
inline constexpr std::uint64_t kBreakerForcedOpen = 3;

// What a station looks at before it sends.
struct TableView {
  const sched::ClockWords* clock = nullptr;
  std::span<const BodyWord> breakers;  // the mesh, then its sectors, then its clusters
  std::span<const ShmWord<std::int64_t>> open_until_ns;  // of the same: then a probe may pass
  std::uint64_t sectors = 0;
  shm::ColumnView<HostMemory, AgentId> id;
  shm::ColumnView<HostMemory, std::uint32_t> sector;
  shm::ColumnView<HostMemory, std::uint32_t> cluster;
  shm::ColumnView<HostMemory, StationId> station;
  std::span<const ShmWord<std::uint8_t>> inbox_full;  // by station number
  FaultView faults;

  static Result<TableView> over(const MeshSize& size, std::span<const std::byte> table);
};

struct PayloadView {
  std::span<const BodyWord> words;
  const BodyLog::Header* header = nullptr;

  static Result<PayloadView> over(const MeshSize& size, std::span<const std::byte> payload);
};

}  // namespace mesh::engine
