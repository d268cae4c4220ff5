// AgentRows, OwnerRows: the columns of agent_columns.hpp, bound to memory, for their one writer.
//
// Callers     the engine's scheduler thread.
// Progress    binding: set-up. Every access is a load or a store.
// Ordering    what belongs together is stored between RowWriter::begin and end.
// Layout      a column of several values a row is bound as words: value i of `row` is word
//             row * words + i.
// Errors      in() -> not_found, layout_mismatch, truncated, misaligned, with the region's name.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "engine/agent_columns.hpp"
#include "engine/agent_name.hpp"
#include "sched/agent_class.hpp"
#include "shm/base/ids.hpp"
#include "shm/columns.hpp"
#include "shm/layout.hpp"
#include "shm/row_seqlock.hpp"

namespace mesh::engine {

// Numbers as in the columns. Append only.
enum class AgentState : std::uint8_t { free = 0, active, degraded, offline, quarantined };
enum class AgentRole : std::uint8_t { agent = 0, lead, coordinator };

// Bits of the column `routing`: who holds an agent back. All but kSpiking outlast its attachments.
inline constexpr std::uint8_t kRoutedAround = 1;    // the operator: nothing new is sent to it
inline constexpr std::uint8_t kFrozen = 2;          // the operator: what is sent to it waits
inline constexpr std::uint8_t kQuarantined = 4;     // the mesh, while its context is mended: as 1
inline constexpr std::uint8_t kNewcomer = 8;        // the mesh, until its profile is stable: as 1
inline constexpr std::uint8_t kAwaitsContext = 16;  // the mesh, until its context is loaded: as 2
inline constexpr std::uint8_t kSpiking = 32;  // the mesh, while its score is over twice its own

inline constexpr AgentIndex kNoAgent{~std::uint32_t{0}};
inline constexpr StationId kNoStation{0};  // stations are numbered from 1 to kMaxStations
inline constexpr std::uint32_t kNoPlace = ~std::uint32_t{0};  // sector and cluster of nobody's
static_assert(kMaxStations == 65'535);

constexpr std::size_t row_of(AgentIndex row) noexcept { return static_cast<std::size_t>(row); }
constexpr AgentIndex agent_index(std::size_t row) noexcept {
  return static_cast<AgentIndex>(static_cast<std::uint32_t>(row));
}

inline constexpr std::size_t kCapabilityWords = kCapabilities / 64;

namespace agent_rows_detail {
template <class Memory, class T, std::size_t values>
struct BoundTo {
  static_assert(sizeof(T) * values % 8 == 0);
  using type = shm::Column<Memory, std::uint64_t>;
  static constexpr std::size_t kPerRow = sizeof(T) * values / 8;
};
template <class Memory, class T>
struct BoundTo<Memory, T, 1> {
  using type = shm::Column<Memory, T>;
  static constexpr std::size_t kPerRow = 1;
};

struct RegionBytes {
  std::span<std::byte> bytes;
  std::size_t rows = 0;
};
// The region of a column, `row_bytes` a row.
Result<RegionBytes> region_bytes(const shm::Layout& layout, std::span<std::byte> mapping,
                                 std::string_view column, std::size_t row_bytes);
}  // namespace agent_rows_detail

#define MESH_BOUND(type, values) agent_rows_detail::BoundTo<Memory, type, values>
#define MESH_BOUND_MEMBER(name, T, values, meaning) typename MESH_BOUND(T, values)::type name;
#define MESH_BIND_MEMBER(name, T, values, meaning)                                           \
  {                                                                                          \
    MESH_TRY(const auto region,                                                              \
             agent_rows_detail::region_bytes(layout, mapping, #name, sizeof(T) * (values))); \
    using Bound = MESH_BOUND(T, values);                                                     \
    MESH_TRY(bound.name, Bound::type::over(region.bytes, region.rows* Bound::kPerRow));      \
  }

// In `table`.
template <class Memory = HostMemory>
struct AgentRows {
  MESH_AGENT_COLUMNS(MESH_BOUND_MEMBER)

  static Result<AgentRows> in(const shm::Layout& layout, std::span<std::byte> mapping) {
    AgentRows bound;
    MESH_AGENT_COLUMNS(MESH_BIND_MEMBER)
    return bound;
  }
  [[nodiscard]] std::size_t rows() const noexcept { return sequence.rows(); }
};

// In `engine`.
template <class Memory = HostMemory>
struct OwnerRows {
  MESH_OWNER_COLUMNS(MESH_BOUND_MEMBER)

  static Result<OwnerRows> in(const shm::Layout& layout, std::span<std::byte> mapping) {
    OwnerRows bound;
    MESH_OWNER_COLUMNS(MESH_BIND_MEMBER)
    return bound;
  }
  [[nodiscard]] std::size_t rows() const noexcept { return uid.rows(); }
};
#undef MESH_BIND_MEMBER
#undef MESH_BOUND_MEMBER
#undef MESH_BOUND

// What an observer reads of a row: who it is, as one.
template <class Memory = HostMemory>
class AgentNames {
 public:
  AgentNames(shm::ColumnView<Memory, std::uint32_t> sequence, shm::ColumnView<Memory, AgentId> id,
             shm::ColumnView<Memory, std::uint64_t> name) noexcept
      : sequence_(sequence), id_(id), name_(name) {}

  struct Read {
    shm::ReadStatus status = shm::ReadStatus::kBusy;
    AgentId id{};
    std::array<std::uint64_t, kNameWords> name{};  // length 0: the row is free. To decode().
  };
  [[nodiscard]] Read read(AgentIndex row) const noexcept {
    Read copy;
    const shm::RowReader<Memory> reader(sequence_);
    copy.status = reader.read(row_of(row), [&](const shm::RowLoads<Memory>& loads) {
      copy.id = loads.load(id_);
      for (std::size_t i = 0; i < kNameWords; ++i) {
        copy.name[i] = shm::RowLoads<Memory>(row_of(row) * kNameWords + i).load(name_);
      }
    });
    return copy;
  }

 private:
  shm::ColumnView<Memory, std::uint32_t> sequence_;
  shm::ColumnView<Memory, AgentId> id_;
  shm::ColumnView<Memory, std::uint64_t> name_;
};

}  // namespace mesh::engine
