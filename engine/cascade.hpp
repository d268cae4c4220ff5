// Cascade: one act for the whole mesh, carried from leader to leader (mesh.md part 9).
//
//     wave            orchestrator ─▶ coordinators ─▶ leads ─▶ agents
//     parallel        everybody at once
//     priority_first  class after class, in the order of sched/cascade_phases.hpp
//     quorum          one cluster's lead ─▶ its agents (engine/cluster_quorum.hpp)
//
// In a wave each coordinator and each lead has a scatter-gather of its own, opened the moment that
// it is READY itself: nobody waits for the coordinator or the lead beside it. Only the step to the
// leads waits, until enough coordinators are READY. A leader that dies while it is asked is
// replaced by the next best of its place, and that one is asked, twice at most.
//
// Who is READY for a cascade as a leader is not asked again as an agent. Everything is sent at
// once; who cannot be READY within its step's window is skipped and counted, as is who is away or
// behind a breaker.
//
// Source  mesh.md part 9.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "sched/agent_class.hpp"
#include "sched/quorum.hpp"
#include "sched/records.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::engine {

enum class CascadeStrategy : std::uint8_t { wave = 1, parallel, priority_first, quorum };

struct CascadeRequest {
  CascadeStrategy strategy = CascadeStrategy::wave;
  // Of a wave: how long coordinators, leads and agents have.
  Nanos sector_window{200 * kNsPerMs};
  Nanos cluster_window{1'000 * kNsPerMs};
  Nanos agent_window{2'000 * kNsPerMs};
  double sector_ready_min = 0.98;  // of a wave: below it no lead is asked
  // Of parallel, and of each class in priority_first.
  Nanos window{1'000 * kNsPerMs};
  double ready_min = 0.90;    // of parallel; a class has its own
  std::uint32_t cluster = 0;  // of quorum, whose lead has cluster_window
  // priority_first: until when class F has time; in the past: it has none.
  HostTime target{};
  float weight = 1;
  sched::Verb verb = sched::Verb::act;
  sched::Priority priority = sched::Priority::normal;
  bool confirmed = false;  // by the operator: what a degraded mesh does not do by itself
  std::span<const std::byte> body{};
};

enum class CascadeStatus : std::uint8_t {
  running = 0,
  success,
  partial,           // too few agents READY, or a class below its threshold
  failed_at_sector,  // too few coordinators READY: no lead was asked
};
[[nodiscard]] std::string_view name_of(CascadeStrategy strategy) noexcept;
[[nodiscard]] std::string_view name_of(CascadeStatus status) noexcept;  // "FAILED_AT_SECTOR"

// targeted >= sent >= ready + conflict
struct CascadeCounts {
  std::uint32_t targeted = 0;
  std::uint32_t sent = 0;
  std::uint32_t ready = 0;
  std::uint32_t conflict = 0;
  friend bool operator==(const CascadeCounts&, const CascadeCounts&) = default;
};

// One class of priority_first; of parallel the only one, with everybody.
struct CascadePhaseResult {
  sched::AgentClass agent_class = sched::AgentClass::edge;
  CascadeCounts agents{};
  bool has_run = false;      // false: nobody of it could be sent anything, or it had no time
  bool is_degraded = false;  // below its threshold
  std::uint32_t ready_min_ppm = 0;
};
inline constexpr std::size_t kCascadePhases = sched::kAgentClassCount;

struct FinishedCascade {
  OperationId id{};
  CascadeStrategy strategy = CascadeStrategy::wave;
  CascadeStatus status = CascadeStatus::running;
  // Of those that have agents. Reached: its leader was READY. A wave's alone.
  std::uint32_t sectors = 0, sectors_reached = 0;
  std::uint32_t clusters = 0, clusters_reached = 0;
  CascadeCounts agents{};  // leaders included
  std::array<CascadePhaseResult, kCascadePhases> phases{};
  std::uint32_t phase_count = 0;
  std::uint32_t operations = 0;  // that it opened
  std::uint32_t promoted = 0;    // leaders asked in the place of one that died meanwhile
  std::uint32_t cluster = 0;     // of quorum
  OperationId below{};           // of quorum: the lead's own operation; 0: it opened none
  std::int64_t total_ns = 0;
  std::int64_t engine_ns = 0;  // of the engine's thread: its operations and its own bookkeeping
};

// Who was sent it and said nothing is TRANSIT.
[[nodiscard]] constexpr sched::QuorumCounts quorum_of(const CascadeCounts& agents) noexcept {
  return {agents.ready, agents.conflict, agents.sent - agents.ready - agents.conflict};
}

// What became of a sector or a cluster in a wave.
enum class CascadeStep : std::uint8_t {
  none = 0,    // it has no agents, or nothing was asked of it yet
  asked,       // its leader has the message
  agreed,      // its leader is READY
  open,        // and those below it have the message
  reached,     // and they have had their time
  conflict,    // its leader cannot: CONFLICT
  silent,      // its leader did not answer in time
  too_slow,    // its leader cannot be READY within the window, or may not be sent to
  leaderless,  // nobody there is healthy
  no_room,     // the engine had no room for its operation in time
};
[[nodiscard]] std::string_view name_of(CascadeStep step) noexcept;
[[nodiscard]] constexpr bool is_under_way(CascadeStep step) noexcept {
  return step == CascadeStep::asked || step == CascadeStep::agreed || step == CascadeStep::open;
}

struct CascadeUnit {
  bool is_sector = false;
  std::uint32_t index = 0;
  CascadeStep step = CascadeStep::none;
  AgentId leader{};        // who was asked last
  CascadeCounts agents{};  // of a cluster: below its lead
};

}  // namespace mesh::engine
