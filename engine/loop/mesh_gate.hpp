// MeshGate: what the loop asks of the mesh's health: upkeep's look at it, and what its operating
// mode and its breakers admit (mesh.md part 12).
//
// Callers     the phases of the loop.
// Progress    admission: a compare while the mode is FULL and every breaker is closed, a few steps
//             otherwise. No allocation.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/health/mesh_watch.hpp"
#include "engine/loop/context_holds.hpp"
#include "engine/loop/engine_loop.hpp"
#include "engine/loop/newcomers.hpp"
#include "engine/loop/operator_holds.hpp"

namespace mesh::engine {

struct Letter;
struct StationLink;

// A message that a breaker let pass to see whether its target still fails.
struct Trial {
  health::TreePermit permit;
  std::uint32_t of = 0;  // its operation's slot, or what trials.cpp says
  std::uint32_t at = 0;  // that one's serial; of a direct message its entry
  std::uint32_t row = 0;
};
inline constexpr std::uint32_t kTrialsMax = 256;  // more are refused

struct MeshGate {
  std::optional<health::MeshWatch> watch;
  std::int64_t watched_ns = 0;
  std::uint32_t queued = 0;     // messages that wait for a better mode
  bool is_restricted = false;   // as refresh() found it last
  bool was_open = false;        // a target of the operation being opened was behind a breaker
  std::vector<Trial> trials{};  // kTrialsMax of them have room
  OperatorHolds holds{};
  std::vector<health::Comparable> compared{};  // of the comparable operation that is ending
  Newcomers newcomers{};
  ContextHolds contexts{};

  // Nothing is refused, queued or tried: the mode is FULL and every breaker is closed.
  [[nodiscard]] bool is_full() const noexcept { return !is_restricted; }
  // The row's agent has answered a direct message. False: it may be a trial, and that is for
  // note_letter_end() to say.
  [[nodiscard]] bool hear(std::uint32_t row) noexcept {
    if (!trials.empty()) return false;
    if (watch->suspects() != 0) watch->answered(row);
    return true;
  }
  void refresh() noexcept {
    is_restricted = watch->mode() != health::OperatingMode::full || !watch->breakers().all_closed();
  }
};

// At the loop's first moment: breakers as the table shows them.
void adopt_breakers(EngineLoop::State& loop) noexcept;

// `due_ns`: when the wheel has something next.
void watch_mesh(EngineLoop::State& loop, std::int64_t due_ns) noexcept;

// Of one message by the mode: ok where it is admitted, or to be queued.
[[nodiscard]] Errc admit_message(EngineLoop::State& loop, std::uint32_t row,
                                 sched::Priority priority, AgentId source) noexcept;
[[nodiscard]] Errc admit_operation(EngineLoop::State& loop, const OperationRequest& request,
                                   std::uint32_t eligible) noexcept;
// Of those eligible: how many stand where this operation does not go now, and are eligible no
// longer. The engine's own probe goes wherever a breaker waits for one, whatever the mode.
[[nodiscard]] std::uint32_t drop_unroutable(EngineLoop::State& loop, bool is_probe) noexcept;

[[nodiscard]] bool is_to_queue(const EngineLoop::State& loop, const Letter& letter) noexcept;
[[nodiscard]] Errc queue_for_mode(EngineLoop::State& loop, StationLink* link, const Letter& letter,
                                  std::span<const std::span<const std::byte>> parts) noexcept;
// A timed entry's moment has come: true if the mode keeps it.
[[nodiscard]] bool queue_again(EngineLoop::State& loop, std::uint32_t at) noexcept;

}  // namespace mesh::engine
