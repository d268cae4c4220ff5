// Accounts: what account() has added up so far, and where it writes.
//
// Callers     engine/loop/account.cpp.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/error_log.hpp"
#include "engine/loop/engine_loop.hpp"

namespace mesh::engine {

struct Accounts {
  std::optional<ErrorLog> errors;
  std::int64_t at_ns = 0;
  LoopCounters counters;  // as they were then
};

}  // namespace mesh::engine
