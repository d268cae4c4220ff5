// Accounts: what account() has added up so far, and where it writes.
//
// Callers     engine/loop/account.cpp; who says what is wrong (engine/loop/incident_facts.cpp).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/error_log.hpp"
#include "engine/loop/engine_loop.hpp"
#include "engine/loop/event_watch.hpp"

namespace mesh::engine {

// Answers in CONFLICT of a row's tenant, to this engine.
struct ConflictTally {
  AgentId agent{};
  std::uint32_t count = 0;
  std::uint32_t last_mesh_ms = 0;
};

struct Accounts {
  std::optional<ErrorLog> errors;
  std::optional<EventWatch> events;
  std::vector<ConflictTally> conflicts;  // by row
  std::int64_t at_ns = 0;
  LoopCounters counters;  // as they were then
};

}  // namespace mesh::engine
