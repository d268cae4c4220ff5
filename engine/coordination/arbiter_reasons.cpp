// Why requests got what they got: kept for whoever asks.
#include <algorithm>

#include "engine/coordination/contention_arbiter.hpp"

namespace mesh::coordination {

void ResourceContentionArbiter::decide(std::uint64_t id, const Demand& demand, ArbiterReason reason,
                                       std::uint64_t granted) noexcept {
  const Resource& on = resources_[demand.resource];
  Decision& entry = decisions_[decision_count_++ % decisions_.size()];
  entry.id = id;
  entry.why = {reason,  demand.quantity,         demand.floor,
               granted, on.capacity - on.active, effective_priority(demand, clock_.last_ns())};
}

Explanation ResourceContentionArbiter::explain(std::uint64_t id) const noexcept {
  const std::uint64_t count = std::min<std::uint64_t>(decision_count_, decisions_.size());
  for (std::uint64_t back = 1; id != 0 && back <= count; ++back) {
    const Decision& entry = decisions_[(decision_count_ - back) % decisions_.size()];
    if (entry.id == id) return entry.why;
  }
  return {};
}

// Remembers why, for who asks; nothing that a snapshot holds changes but counters.
ContentionReply ResourceContentionArbiter::refuse_request(const contention::Request& order,
                                                          ArbiterReason reason,
                                                          std::uint32_t in_its_way) noexcept {
  const Resource& on = resources_[order.resource];
  Refused& entry = refused_[refused_count_++ % refused_.size()];
  entry.agent = order.agent;
  entry.request.resource = order.resource;
  entry.request.in_its_way = in_its_way;
  entry.request.at = Nanos{clock_.last_ns()};
  entry.request.why = {reason, order.quantity,          order.minimum(),
                       0,      on.capacity - on.active, order.priority};
  Reply reply;
  if (reason == ArbiterReason::budget) {
    ++counters_.quota_exhausted;
    reply.refusal = Refusal::quota_exhausted;
  } else {
    counters_.died += reason == ArbiterReason::wait_die ? 1U : 0U;
    reply = refuse(reason == ArbiterReason::wait_die ? Errc::deadlock_victim
                                                     : Errc::insufficient_quantity);
  }
  reply.reason = reason;
  reply.resource = order.resource;
  reply.minimum = order.minimum();
  return reply;
}

RefusedRequest ResourceContentionArbiter::last_refusal(std::uint32_t agent) const noexcept {
  const std::uint64_t count = std::min<std::uint64_t>(refused_count_, refused_.size());
  for (std::uint64_t back = 1; back <= count; ++back) {
    const Refused& entry = refused_[(refused_count_ - back) % refused_.size()];
    if (entry.agent == agent) return entry.request;
  }
  return {};
}

}  // namespace mesh::coordination
