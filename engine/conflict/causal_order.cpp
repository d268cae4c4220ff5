#include "engine/conflict/causal_order.hpp"

#include <algorithm>
#include <set>
#include <tuple>

namespace mesh::engine {
namespace {

using coordination::CausalOrder;

Status check(std::span<const ClockedEvent> events) {
  if (events.size() > kCausalEventsMax)
    return fail(Errc::capacity, "causal order: " + std::to_string(events.size()) + " events",
                static_cast<std::int64_t>(kCausalEventsMax));
  std::set<std::pair<AgentId, std::uint64_t>> seen;
  for (const ClockedEvent& event : events) {
    const std::uint64_t own = event.clock.at(event.agent);
    if (own == 0)
      return fail(Errc::corrupt,
                  "causal order: an event that its own agent's clock does not count");
    if (!seen.emplace(event.agent, own).second)
      return fail(Errc::corrupt, "causal order: two events of one agent with the same count " +
                                     std::to_string(own));
  }
  return {};
}

}  // namespace

Result<std::vector<std::size_t>> causal_order(std::span<const ClockedEvent> events) {
  MESH_CHECK_OK(check(events));
  // Kahn's algorithm; of those with nothing left before them, the earliest by wall clock is next.
  std::vector<std::size_t> before(events.size(), 0);
  std::vector<std::vector<std::size_t>> after(events.size());
  for (std::size_t i = 0; i < events.size(); ++i) {
    for (std::size_t j = 0; j < events.size(); ++j) {
      const CausalOrder relation = compare(events[i].clock, events[j].clock);
      if (i != j && relation == CausalOrder::equal)
        return fail(Errc::corrupt, "causal order: two events with one clock");
      if (relation != CausalOrder::before) continue;
      after[i].push_back(j);
      ++before[j];
    }
  }
  const auto earlier = [&](std::size_t left, std::size_t right) {
    const auto key = [&](std::size_t at) {
      const ClockedEvent& event = events[at];
      return std::tuple(event.at, event.agent, event.clock.at(event.agent));
    };
    return key(left) < key(right);
  };
  std::set<std::size_t, decltype(earlier)> ready(earlier);
  for (std::size_t i = 0; i < events.size(); ++i) {
    if (before[i] == 0) ready.insert(i);
  }
  std::vector<std::size_t> order;
  while (!ready.empty()) {
    const std::size_t next = *ready.begin();
    ready.erase(ready.begin());
    order.push_back(next);
    for (const std::size_t follower : after[next]) {
      if (--before[follower] == 0) ready.insert(follower);
    }
  }
  return order;
}

}  // namespace mesh::engine
