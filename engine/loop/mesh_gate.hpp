// MeshGate: what the loop asks of the mesh's health: upkeep's look at it, and what its operating
// mode admits (mesh.md part 12).
//
// Callers     the phases of the loop.
// Progress    admission: a compare while the mode is FULL, a few steps otherwise. No allocation.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "engine/health/mesh_watch.hpp"
#include "engine/loop/engine_loop.hpp"

namespace mesh::engine {

struct Letter;
struct StationLink;

struct MeshGate {
  std::optional<health::MeshWatch> watch;
  std::int64_t watched_ns = 0;
  std::uint32_t queued = 0;  // messages that wait for a better mode

  [[nodiscard]] bool is_full() const noexcept {
    return watch->mode() == health::OperatingMode::full;
  }
};

// `due_ns`: when the wheel has something next.
void watch_mesh(EngineLoop::State& loop, std::int64_t due_ns) noexcept;

// Of one message: ok where it is admitted, or to be queued.
[[nodiscard]] Errc admit_message(EngineLoop::State& loop, std::uint32_t row,
                                 sched::Priority priority, AgentId source) noexcept;
[[nodiscard]] Errc admit_operation(EngineLoop::State& loop, const OperationRequest& request,
                                   std::uint32_t eligible) noexcept;
// Of those eligible: how many stand where no operation goes now, and are eligible no longer.
[[nodiscard]] std::uint32_t drop_unroutable(EngineLoop::State& loop) noexcept;

[[nodiscard]] bool is_to_queue(const EngineLoop::State& loop, const Letter& letter) noexcept;
[[nodiscard]] Errc queue_for_mode(EngineLoop::State& loop, StationLink* link, const Letter& letter,
                                  std::span<const std::span<const std::byte>> parts) noexcept;
// A timed entry's moment has come: true if the mode keeps it.
[[nodiscard]] bool queue_again(EngineLoop::State& loop, std::uint32_t at) noexcept;

}  // namespace mesh::engine
