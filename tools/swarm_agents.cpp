#include "tools/swarm_agents.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include <fmt/format.h>

namespace mesh::tools {

Result<SwarmAgents> SwarmAgents::create(const SwarmPopulation& population,
                                        const SwarmAgentsOptions& options) {
  if (options.share.count == 0 || options.capacity == 0) {
    return fail(Errc::invalid_argument,
                fmt::format("swarm: {} agents that hold {} deliveries; both must be at least 1",
                            options.share.count, options.capacity));
  }
  return SwarmAgents(population, options);
}

SwarmAgents::SwarmAgents(const SwarmPopulation& population, const SwarmAgentsOptions& options)
    : population_(population),
      share_(options.share),
      capacity_(options.capacity),
      agents_(options.share.count),
      queue_depth_(options.share.count),
      free_(options.capacity) {
  held_.reserve(capacity_);
  for (std::uint32_t i = 0; i < share_.count; ++i) {
    agents_[i].drawn = population_.agent(share_.first + i);
  }
  // The lowest ticket is given out first.
  std::iota(free_.rbegin(), free_.rend(), 0U);
}

std::uint32_t SwarmAgents::accept(std::uint32_t index, double weight,
                                  std::int64_t sent_ns) noexcept {
  const std::size_t at = local(index);
  if (free_.empty()) return kFull;
  Agent& agent = agents_[at];
  const DeliveryDraw drawn = population_.delivery(
      index, agent.drawn,
      {.delivery = agent.deliveries, .queue_depth = queue_depth_[at], .weight = weight});
  ++agent.deliveries;
  ++queue_depth_[at];
  const std::uint32_t ticket = free_.back();
  free_.pop_back();
  const std::int64_t arrival_ns = sent_ns + drawn.delay_ns;
  held_.push_back({arrival_ns + drawn.processing_ns, arrival_ns, ticket,
                   static_cast<std::uint32_t>(at), drawn.outcome});
  std::push_heap(held_.begin(), held_.end());
  return ticket;
}

SwarmAnswer SwarmAgents::finish_next(std::int64_t now_ns) noexcept {
  std::pop_heap(held_.begin(), held_.end());
  const Held next = held_.back();
  held_.pop_back();
  MESH_ASSERT(queue_depth_[next.local] > 0);
  --queue_depth_[next.local];
  free_.push_back(next.ticket);
  return {next.ticket, next.outcome, next.arrival_ns, now_ns};
}

}  // namespace mesh::tools
