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
  MESH_TRY(sched::TimingWheel wheel, sched::TimingWheel::create({.capacity = options.capacity,
                                                                 .operations = options.capacity,
                                                                 .start_ns = options.start_ns}));
  return SwarmAgents(population, options, std::move(wheel));
}

SwarmAgents::SwarmAgents(const SwarmPopulation& population, const SwarmAgentsOptions& options,
                         sched::TimingWheel wheel)
    : population_(population),
      share_(options.share),
      wheel_(std::move(wheel)),
      agents_(options.share.count),
      held_(options.capacity),
      free_(options.capacity) {
  for (std::uint32_t i = 0; i < share_.count; ++i) {
    agents_[i].drawn = population_.agent(share_.first + i);
  }
  // The lowest ticket is given out first.
  std::iota(free_.rbegin(), free_.rend(), 0U);
}

std::uint32_t SwarmAgents::accept(std::uint32_t index, double weight,
                                  std::int64_t sent_ns) noexcept {
  Agent& agent = agents_[local(index)];
  if (free_.empty()) return kFull;
  const DeliveryDraw drawn = population_.delivery(
      index, agent.drawn,
      {.delivery = agent.deliveries, .queue_depth = agent.queue_depth, .weight = weight});
  ++agent.deliveries;
  ++agent.queue_depth;
  const std::uint32_t ticket = free_.back();
  free_.pop_back();
  const std::int64_t arrival_ns = sent_ns + drawn.delay_ns;
  held_[ticket] = {index, drawn.outcome, arrival_ns};
  const sched::Scheduled scheduled = wheel_.schedule({ticket, 0, arrival_ns + drawn.processing_ns});
  MESH_ASSERT(scheduled.status == sched::ScheduleStatus::kScheduled);
  return ticket;
}

SwarmAnswer SwarmAgents::finish(std::uint32_t ticket, std::int64_t now_ns) noexcept {
  const Held& held = held_[ticket];
  Agent& agent = agents_[local(held.index)];
  MESH_ASSERT(agent.queue_depth > 0);
  --agent.queue_depth;
  free_.push_back(ticket);
  return {ticket, held.outcome, held.arrival_ns, now_ns};
}

}  // namespace mesh::tools
