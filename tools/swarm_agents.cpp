#include "tools/swarm_agents.hpp"

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
  // The lowest ticket is given out first.
  std::iota(free_.rbegin(), free_.rend(), 0U);
}

std::uint32_t SwarmAgents::accept(std::uint32_t index, double weight,
                                  std::int64_t now_ns) noexcept {
  Agent& agent = agents_[local(index)];
  if (free_.empty()) return kFull;
  const DeliveryDraw drawn = population_.delivery(
      index, {.delivery = agent.deliveries, .queue_depth = agent.queue_depth, .weight = weight});
  ++agent.deliveries;
  ++agent.queue_depth;
  const std::uint32_t ticket = free_.back();
  free_.pop_back();
  held_[ticket] = {index, drawn.outcome, drawn.processing_ns, 0};
  schedule(ticket, kArrives, now_ns + drawn.delay_ns);
  return ticket;
}

void SwarmAgents::schedule(std::uint32_t ticket, std::uint16_t stage,
                           std::int64_t due_ns) noexcept {
  const sched::Scheduled scheduled = wheel_.schedule({ticket, stage, due_ns});
  MESH_ASSERT(scheduled.status == sched::ScheduleStatus::kScheduled);
}

void SwarmAgents::receive(std::uint32_t ticket, std::int64_t now_ns) noexcept {
  Held& held = held_[ticket];
  held.received_ns = now_ns;
  schedule(ticket, kFinishes, now_ns + held.processing_ns);
}

SwarmAnswer SwarmAgents::finish(std::uint32_t ticket, std::int64_t now_ns) noexcept {
  const Held& held = held_[ticket];
  Agent& agent = agents_[local(held.index)];
  MESH_ASSERT(agent.queue_depth > 0);
  --agent.queue_depth;
  free_.push_back(ticket);
  return {ticket, held.outcome, held.received_ns, now_ns};
}

}  // namespace mesh::tools
