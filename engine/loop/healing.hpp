// What the operator has the loop mend: breakers reset, and who in a place is away or held back.
//
// Callers     the scheduler's thread, in a job.
// Progress    a pass over the places, and one over the rows.
// Errors      invalid_argument: the mesh has no such sector or cluster.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/console/act.hpp"
#include "engine/coordination/circuit_breaker.hpp"
#include "engine/loop/engine_loop.hpp"

namespace mesh::engine {

struct BreakerChange {
  console::Scope of{};
  coordination::BreakerState was = coordination::BreakerState::closed;
  coordination::BreakerState now = coordination::BreakerState::closed;
};
// Those of the place, and of all that is in it, that are not closed. Each is as after a quiet hour.
Result<std::vector<BreakerChange>> reset_breakers(EngineLoop& loop, const console::Scope& scope,
                                                  HostTime now);

struct AilingAgent {
  std::string name;
  AgentId id{};
  bool is_quarantined = false;  // else: away, and missed
};
// In order of their rows. Who has left is missed by nobody, and not among them.
Result<std::vector<AilingAgent>> ailing_agents(const EngineLoop& loop, const console::Scope& scope);

}  // namespace mesh::engine
