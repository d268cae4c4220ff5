// The order of events that their vector clocks prove, where wall clocks contradict it.
//
// What happened before something stands before it. Events that nothing orders (concurrent ones)
// stand by wall clock, then by agent: the same events give the same order whatever order they came
// in. Clocks that no run of events can have (two events with one clock or one count, an event that
// its own agent's clock does not count) are refused: a person looks at them.
//
// Callers     anyone; a pure function. O(n^2) comparisons, n at most kCausalEventsMax.
// Errors      corrupt (such clocks), capacity.
// Source      Fidge 1988, Mattern 1989.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "engine/coordination/blocks/version_vector.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

struct ClockedEvent {
  AgentId agent{};
  WireTime at{};
  coordination::VectorClock clock;
};
inline constexpr std::size_t kCausalEventsMax = 1'024;

// Indexes into `events`, in order.
[[nodiscard]] Result<std::vector<std::size_t>> causal_order(std::span<const ClockedEvent> events);

}  // namespace mesh::engine
