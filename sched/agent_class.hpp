// AgentClass: what kind of work an agent does, and the two tables that depend on it alone.
//
// Units       milliseconds.
// Layout      One byte of the `class` column. Sixteen slots, because one vector look-up holds
//             sixteen floats: A-F are given out, ten are free. A byte that names no class makes
//             its row invalid_impedance.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include "shm/base/limits.hpp"

namespace mesh::sched {

enum class AgentClass : std::uint8_t {
  edge = 0,        // A: routing, light transforms, caches
  serverless = 1,  // B: API handlers, database work
  persistent = 2,  // C: reasoning, batch, training
  gpu = 3,         // D: embeddings, inference, vision
  local = 4,       // E: sensors, single-board computers
  human = 5,       // F: review and approval queues
};
inline constexpr std::size_t kAgentClassCount = 6;

inline constexpr double kNoSuchClass = std::numeric_limits<double>::quiet_NaN();

struct AgentClassTraits {
  char letter;
  std::string_view name;
  double base_processing_ms;  // weight 0, empty queue
  double prior_latency_ms;    // round trip assumed until there are samples
};

inline constexpr std::array<AgentClassTraits, kAgentClassCount> kAgentClasses = {{
    {'A', "EDGE", 10, 12},
    {'B', "SERVERLESS", 50, 100},
    {'C', "PERSISTENT", 200, 200},
    {'D', "GPU", 100, 350},
    {'E', "LOCAL", 150, 150},
    {'F', "HUMAN", 60'000, 60'000},
}};
static_assert(kAgentClasses.size() <= kMaxClasses);

inline constexpr double kPriorDrift = 0.1;
inline constexpr double kPriorReliability = 1.0;

constexpr bool is_known(AgentClass agent_class) noexcept {
  return static_cast<std::size_t>(agent_class) < kAgentClassCount;
}
// NaN for a byte that names no class, so that whatever is computed from it is refused as
// non-finite.
constexpr double base_processing_ms(AgentClass agent_class) noexcept {
  return is_known(agent_class)
             ? kAgentClasses[static_cast<std::size_t>(agent_class)].base_processing_ms
             : kNoSuchClass;
}
constexpr double prior_latency_ms(AgentClass agent_class) noexcept {
  return is_known(agent_class)
             ? kAgentClasses[static_cast<std::size_t>(agent_class)].prior_latency_ms
             : kNoSuchClass;
}
constexpr std::string_view name_of(AgentClass agent_class) noexcept {
  return is_known(agent_class) ? kAgentClasses[static_cast<std::size_t>(agent_class)].name
                               : "unknown";
}

}  // namespace mesh::sched
