// Agents that are expected: rows with their names, owners and places, OFFLINE until a process
// attaches with them, and missed by nobody meanwhile. Of a backup they bring their profiles and the
// operator's holds.
//
// Callers     the scheduler's thread, between ticks; at set-up, whoever makes the loop.
// Progress    a row each. All or, at the first refusal, none after it: those before stay.
// If the      dies in between: each row is there whole or not at all.
// engine
// dies
// Errors      capacity: no row is free; name_taken: another user's, or it is there already;
//             invalid_argument: a name, a class, a capability that is none.
#pragma once

#include <span>
#include <vector>

#include "engine/backup/table_snapshot.hpp"
#include "engine/loop/engine_loop.hpp"

namespace mesh::engine {

// A cluster of kNoPlace, or one that is full: placed like any newcomer.
Result<std::vector<AgentId>> expect_agents(EngineLoop& loop, std::span<const KeptAgent> agents,
                                           HostTime now);

}  // namespace mesh::engine
