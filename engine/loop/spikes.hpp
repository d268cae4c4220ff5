// Spikes: what the loop does about agents whose impedance is over twice their own average of the
// last hour (IMPEDANCE_SPIKE, mesh.md part 12; engine/health/failure_detector.hpp finds them).
//
// Who spikes has the bit kSpiking in its column `routing`: find_best and all who choose by
// HealthView pass it over, it leads nothing, and an operation for a place, a class or all, or of a
// cascade, skips it (not_routable). A message or a list that names it reaches it, and from its
// answers its profile recovers. Several in one cluster are escalated: told to the coordinator of
// their sector, to `mesh errors` and to the ring of events.
//
// Callers     the loop, after the watch's turn. A step for each that begins or is over; no
//             allocation.
// If the      engine dies: its successor finds the bits, knows no average, and takes them away when
// other side  it has looked at their clusters. The coordinator can take nothing more, or nobody
// dies        leads there: it is not told, and the rest is as above.
#pragma once

#include "engine/loop/engine_loop.hpp"

namespace mesh::engine {

void follow_spikes(EngineLoop::State& loop) noexcept;

}  // namespace mesh::engine
