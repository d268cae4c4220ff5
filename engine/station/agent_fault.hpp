// AgentFault, FaultView: what is done to an agent on purpose, as its station sees it in the table.
//
// A fault acts until it is taken away or its `expires` has come, whichever is first: so it lapses
// also where whoever set it, and the engine, are gone.
//
// Callers     anyone. FaultView: any process that maps the table.
// Units       HostTime; rates in millionths.
// If the      dies within a row: that row is busy until a successor frees it.
// engine      lies: a kind that does not exist does nothing; times and rates are clamped where they
// dies, lies  are used.
// Errors      over -> not_found, layout_mismatch, truncated, misaligned.
// Layout      docs/SHM_LAYOUT.md: chaos.* of the table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "engine/agent_columns.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/result.hpp"
#include "shm/base/word.hpp"
#include "shm/columns.hpp"
#include "shm/layout.hpp"

namespace mesh::engine {

// Numbers as in the table. Append only.
enum class AgentFaultKind : std::uint8_t {
  none = 0,
  delay,       // what is for the agent is handed over later
  reorder,     // the same, each message by a time of its own
  lose,        // some of it never is, and nobody answers
  duplicate,   // some of it comes twice
  corrupt,     // bits of its body are flipped
  cut,         // nothing is for it, nothing of it gets out
  unheard,     // nothing of it gets out
  contradict,  // what it answers READY to is answered CONFLICT
  end,         // its process ends at a step of its next message (StationStep, in `bits`)
};
// The capability without which nobody is struck.
inline constexpr std::string_view kChaosAllowed = "chaos=allowed";
// What a mesh says that does not allow it at all.
inline constexpr std::string_view kChaosForbidden =
    "this mesh does not allow faults on purpose; to allow them: mesh up --allow-live-chaos, or"
    " allow_live = true under [chaos] in its configuration";
inline constexpr AgentFaultKind kLastFaultKind = AgentFaultKind::end;

// Where a process ends that is to end on purpose; at step 1, at once, it is killed from outside.
enum class StationStep : std::uint32_t {
  done = 2,  // its handler has returned; its answer is nowhere yet
  answered,  // its answer stands in the outbox
};
inline constexpr std::uint32_t kStationSteps = 3;

struct AgentFault {
  AgentId agent{};
  std::uint64_t injection = 0;
  std::int64_t expires_ns = 0;
  AgentFaultKind kind = AgentFaultKind::none;
  std::uint32_t rate_ppm = 0;
  std::uint32_t bits = 0;
  std::int64_t add_ns = 0;  // end: HostTime; who has attached since then goes on
  std::int64_t jitter_ns = 0;
  friend bool operator==(const AgentFault&, const AgentFault&) = default;
};

#define MESH_FAULT_MEMBER(name, T, values, meaning) shm::Column<HostMemory, T> name;
#define MESH_FAULT_VIEW_MEMBER(name, T, values, meaning) shm::ColumnView<HostMemory, T> name;
struct FaultColumns {
  MESH_FAULT_COLUMNS(MESH_FAULT_MEMBER)
};
struct FaultColumnsView {
  MESH_FAULT_COLUMNS(MESH_FAULT_VIEW_MEMBER)
};
#undef MESH_FAULT_VIEW_MEMBER
#undef MESH_FAULT_MEMBER

inline constexpr ShmWord<std::uint8_t> kNeverArmed{};

struct FaultView {
  const ShmWord<std::uint8_t>* armed = &kNeverArmed;
  const ShmWord<std::uint64_t>* generation = nullptr;  // where armed may be set
  FaultColumnsView rows;

  static Result<FaultView> over(const shm::Layout& layout, std::span<const std::byte> table);

  [[nodiscard]] bool is_armed() const noexcept {
    return armed->load_relaxed() != 0;  // relaxed: what it announces is ordered by `generation`
  }
  // False: it is being written.
  [[nodiscard]] bool read(std::size_t row, AgentFault& fault) const noexcept;
};

}  // namespace mesh::engine
