// Escalations: what the loop makes known of failures that are to be decided about, besides what it
// does about them itself (mesh.md part 12, "escalates"): to the coordinator of their sector by a
// message of verb `decide`, to `mesh errors`, and to the ring of events.
//
//   TRANSIENT_NETWORK   an agent left its third message in a row unanswered. Once until it answers;
//                       of one cluster all that came meanwhile, at most once an upkeep.
//   CASCADE_FAILURE     a sector's failures doubled over three windows: at once, as its breaker
//                       opens. Behind that breaker its coordinator is reached no more, so it is the
//                       operator who is told.
//
// IMPEDANCE_SPIKE: engine/loop/spikes.hpp. What is a conflict (a wrong hash, a Byzantine answer):
// the conflict office.
//
// Callers     the loop, after the watch's turn. A step for each; no allocation.
// If the      coordinator can take nothing more, or nobody leads there: it is not told, and the
// other side  rest is as above. The engine dies: its successor begins with nobody silent.
// dies
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/loop/engine_loop.hpp"

namespace mesh::engine {

// What an error of a place is counted by, beside its code; above what account.cpp counts by.
inline constexpr std::uint64_t kPlacesAbout = std::uint64_t{1} << 33;

void tell_coordinator(EngineLoop::State& loop, std::uint32_t sector,
                      std::string_view text) noexcept;
void follow_failures(EngineLoop::State& loop) noexcept;

}  // namespace mesh::engine
