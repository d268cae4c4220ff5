// Probes: the engine's own, so that a breaker closes again by itself. Callers that follow
// is_routable() send nothing where it is open, and so would never find out (mesh.md part 12).
//
// A probe is an operation of one target (verb `sync`, no body), to the agent of the cluster that
// answers soonest of those a message may go to. What comes of it is the breakers' (trials.hpp): it
// is answered, READY or CONFLICT; or it is refused, lost with its station, or unanswered for a
// twelfth of probe_retry (twice what the agent is known to take, if that is more).
//
// Callers     upkeep, after each turn of the watch.
// Progress    one for each cluster that the turn looked at and whose probe is due; none while
//             kProbesMax trials are out. No allocation.
// If the      nobody is there whom a message may go to: nothing is sent, and the next turn looks
// other side  again.
// is away
#pragma once

#include <cstdint>

#include "engine/loop/mesh_gate.hpp"

namespace mesh::engine {

inline constexpr std::size_t kProbesMax = kTrialsMax / 2;  // the rest is left to messages

void send_probes(EngineLoop::State& loop) noexcept;

}  // namespace mesh::engine
