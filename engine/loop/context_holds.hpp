// ContextHolds: agents whose process crashed and that are back, and get nothing before their last
// context is loaded (mesh.md part 12, AGENT_CRASH: state synced, then redelivered).
//
//     away ──its process attaches again──▶ held ──its context is loaded, or needs not be──▶ free
//                                           │ └── context_wait has passed ─────────────────▶ free
//                                           └──── its process is lost again ───────────────▶ away
//
// Who is held has the bit kAwaitsContext in its column `routing`: what is sent to it waits as for
// one that is frozen, what operations had sent it too, and new ones skip it. Only who crashed and
// is expected to have a context is held, and only with LoopOptions::context_wait over 0: with
// somebody there who loads contexts (engine/context_sync.hpp).
//
// Callers     hold_for_context, end_context_hold, adopt_context_holds: the loop, between ticks. The
//             rest: the scheduler's thread, between ticks.
// Progress    has_overdue_contexts: a compare while nobody is held. release: looks at all that
//             waits; it allocates.
// If the      dies: its successor finds the bit in the table, and lets the agent go after
// engine      context_wait of its own, unless somebody does before.
// Errors      no_such_agent.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/loop/engine_loop.hpp"

namespace mesh::engine {

struct ContextHolds {
  struct Held {
    AgentId id{};
    std::int64_t until_ns = 0;  // 0: a predecessor's, whose time begins when it is looked at
  };
  std::vector<Held> all;
};

// Of one that was away and whose process is attached now; before anything is brought to it.
void hold_for_context(EngineLoop::State& loop, std::uint32_t row);
// Its process is gone again, or its row nobody's.
void end_context_hold(EngineLoop::State& loop, std::uint32_t row) noexcept;
void adopt_context_holds(EngineLoop::State& loop);

[[nodiscard]] bool awaits_context(const EngineLoop& loop, AgentId agent) noexcept;
// What waited for it goes on its way, in its turn. Whether it was held.
Result<bool> release_for_context(EngineLoop& loop, AgentId agent, HostTime now);

[[nodiscard]] bool has_overdue_contexts(const EngineLoop& loop, HostTime now) noexcept;
void release_overdue_contexts(EngineLoop& loop, HostTime now);

}  // namespace mesh::engine
