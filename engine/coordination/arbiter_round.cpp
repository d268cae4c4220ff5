// Rounds: who is admitted, what each gets, who is preempted, how fair it was.
#include <algorithm>
#include <cmath>

#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/contention_arbiter.hpp"

namespace mesh::coordination {

double gini_index(std::span<double> shares) noexcept {
  std::sort(shares.begin(), shares.end());
  const auto n = static_cast<double>(shares.size());
  double sum = 0;
  double weighted = 0;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    sum += shares[i];
    weighted += (2 * (static_cast<double>(i) + 1) - n - 1) * shares[i];
  }
  return sum == 0 ? 0 : weighted / (n * sum);
}

double jain_index(std::span<const double> shares) noexcept {
  double sum = 0;
  double squares = 0;
  for (const double share : shares) {
    sum += share;
    squares += share * share;
  }
  return squares == 0 ? 1 : sum * sum / (static_cast<double>(shares.size()) * squares);
}

void nash_integer(std::uint64_t total, std::span<const NashClaim> claims,
                  std::span<std::uint64_t> shares) noexcept {
  for (std::size_t i = 0; i < claims.size(); ++i) {
    shares[i] = claims[i].floor;
    total -= std::min(total, claims[i].floor);
  }
  // What the next unit adds to w log(x - base): without bound where nothing was gained yet.
  const auto gain = [&](std::size_t i) {
    const double above = static_cast<double>(shares[i]) - claims[i].base;
    return above <= 0 ? HUGE_VAL : claims[i].weight * std::log1p(1 / above);
  };
  for (; total != 0; --total) {
    std::size_t best = claims.size();
    double most = 0;
    for (std::size_t i = 0; i < claims.size(); ++i) {
      if (shares[i] >= claims[i].cap) continue;
      const double one = gain(i);
      const bool is_alike =
          best != claims.size() && (one == most || std::abs(one - most) <= 1e-12 * most);
      const bool is_more =
          best == claims.size() || (is_alike ? claims[i].weight > claims[best].weight : one > most);
      if (!is_more) continue;
      best = i;
      most = one;
    }
    if (best == claims.size()) return;
    ++shares[best];
  }
}

// --- a round -----------------------------------------------------------------------------------

// Those that wait, the most urgent first, then the oldest.
void ResourceContentionArbiter::gather(std::uint32_t resource, std::int64_t now_ns) noexcept {
  queue_.clear();
  for (std::uint32_t at = 0; at < config_.demands_max; ++at) {
    if (demand_slots_.is_used(at) && demands_[at].resource == resource) queue_.push_back(at);
  }
  const auto key = [&](std::uint32_t at) {
    const Demand& one = demands_[at];
    return std::tuple{-static_cast<std::int64_t>(effective_priority(one, now_ns)), one.timestamp_ns,
                      one.agent, one.ticket};
  };
  std::sort(queue_.begin(), queue_.end(),
            [&](std::uint32_t a, std::uint32_t b) { return key(a) < key(b); });
}

// Those whose floors fit stay in the queue; what each may claim.
void ResourceContentionArbiter::admit(std::uint64_t free, std::int64_t now_ns) noexcept {
  std::uint64_t floors = 0;
  std::size_t admitted = 0;
  items_.clear();
  claims_.clear();
  for (const std::uint32_t at : queue_) {
    const Demand& one = demands_[at];
    const std::uint64_t floor = std::max<std::uint64_t>(1, one.floor);
    if (floors + floor > free && !MESH_MUTANT("arbiter.floors")) continue;
    floors += floor;
    queue_[admitted++] = at;
    const bool is_boosted =
        is_starved(one.agent, Nanos{now_ns}) && !MESH_MUTANT("arbiter.starved_counts_double");
    const double boost = is_boosted ? 2 : 1;
    NashClaim claim{boost * (1 + effective_priority(one, now_ns) / 10.0),
                    static_cast<double>(one.disagreement) / static_cast<double>(one.utility), floor,
                    one.quantity};
    if (config_.mode == ArbiterMode::leximin) {
      claim.weight = static_cast<double>(one.quantity);
      claim.base = 0;
    }
    claims_.push_back(claim);
    items_.push_back(
        {claim.weight, static_cast<double>(floor), static_cast<double>(one.quantity), claim.base});
  }
  queue_.resize(admitted);
}

// Down to whole units; what is left goes one by one to those that lost most by it.
void ResourceContentionArbiter::round_shares(std::uint64_t free) noexcept {
  std::uint64_t given = 0;
  for (std::size_t i = 0; i < queue_.size(); ++i) {
    shares_[i] =
        std::clamp(static_cast<std::uint64_t>(fills_[i] + 1e-9), claims_[i].floor, claims_[i].cap);
    given += shares_[i];
  }
  while (given < free) {
    std::size_t best = queue_.size();
    double most = -1;
    for (std::size_t i = 0; i < queue_.size(); ++i) {
      const double lost = fills_[i] - static_cast<double>(shares_[i]);
      if (shares_[i] < claims_[i].cap && lost > most + 1e-9) {
        best = i;
        most = lost;
      }
    }
    if (best == queue_.size()) return;
    ++shares_[best];
    ++given;
  }
}

// nash and leximin.
void ResourceContentionArbiter::share_out(const Resource& on, std::int64_t now_ns) noexcept {
  admit(on.capacity - on.active, now_ns);
  std::uint64_t caps = 0;
  for (const NashClaim& claim : claims_) caps += claim.cap;
  const std::uint64_t free = std::min(on.capacity - on.active, caps);
  shares_.assign(queue_.size(), 0);
  prices_.assign(queue_.size(), 0);
  if (queue_.empty()) return;
  if (!on.divisible && config_.mode == ArbiterMode::nash) {
    return nash_integer(free, claims_, shares_);
  }
  fills_.assign(queue_.size(), 0);
  scratch_.assign(2 * queue_.size(), 0);
  if (water_fill(static_cast<double>(free), items_, fills_, scratch_)) round_shares(free);
}

// The dearest first; who would get less than its floor gets nothing, and the others are asked
// again.
void ResourceContentionArbiter::share_by_auction(std::uint64_t free) noexcept {
  std::stable_sort(queue_.begin(), queue_.end(), [&](std::uint32_t a, std::uint32_t b) {
    return demands_[a].utility > demands_[b].utility;
  });
  std::erase_if(queue_,
                [&](std::uint32_t at) { return demands_[at].utility < config_.reserve_price; });
  for (bool again = true; again;) {
    again = false;
    bids_.clear();
    for (const std::uint32_t at : queue_)
      bids_.push_back({demands_[at].utility, demands_[at].quantity});
    shares_.assign(queue_.size(), 0);
    flat_welfare(free, bids_, bids_.size(), shares_);
    for (std::size_t i = 0; i < queue_.size() && !again; ++i) {
      if (shares_[i] == 0 || shares_[i] >= demands_[queue_[i]].floor) continue;
      queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(i));
      again = true;
    }
  }
  prices_.assign(queue_.size(), 0);
  for (std::size_t i = 0; i < queue_.size(); ++i) {
    const Welfare least = Welfare{config_.reserve_price} * shares_[i];
    const Welfare pays = std::max(least, flat_payment(free, bids_, i, shares_[i]));
    prices_[i] = pays > UINT64_MAX ? UINT64_MAX : static_cast<std::uint64_t>(pays);
  }
}

void ResourceContentionArbiter::serve(std::uint32_t resource, std::int64_t now_ns) noexcept {
  for (std::size_t i = 0; i < queue_.size(); ++i) {
    const Demand demand = demands_[queue_[i]];
    if (shares_[i] == 0) continue;
    drop_demand(queue_[i]);
    ++counters_.served;
    const Allocation& fresh = allocations_[allocate(demand, shares_[i], now_ns)];
    decide(demand.ticket, demand, ArbiterReason::round, fresh.units);
    news_.push_back({ArbiterNotice::granted, fresh.agent, fresh.station, resource, demand.ticket,
                     fresh.id, fresh.fence, fresh.units, prices_[i], Nanos{fresh.expires_ns}});
  }
}

// All of it, or at least the floor; who has waited too long lets nobody pass.
void ResourceContentionArbiter::serve_by_priority(std::uint32_t resource,
                                                  std::int64_t now_ns) noexcept {
  Resource& on = resources_[resource];
  std::uint64_t free = on.capacity - on.active;
  std::size_t served = 0;
  shares_.clear();
  for (const std::uint32_t at : queue_) {
    const Demand& one = demands_[at];
    const std::uint64_t share = std::min(free, one.quantity);
    if (share != 0 && share >= one.floor) {
      shares_.push_back(share);
      queue_[served++] = at;
      free -= share;
      continue;
    }
    if (config_.preempts && on.preemptible && preempt(one, now_ns)) break;  // what comes is for it
    if (now_ns - one.since_ns > config_.starvation_ns.count()) break;
  }
  queue_.resize(served);
  prices_.assign(served, 0);
}

// The least urgent first, the youngest of those; nobody if they do not suffice.
bool ResourceContentionArbiter::preempt(const Demand& demand, std::int64_t now_ns) noexcept {
  const Resource& on = resources_[demand.resource];
  const std::uint32_t mine = effective_priority(demand, now_ns);
  const auto yields = [&](std::uint32_t at) {
    const Allocation& one = allocations_[at];
    return allocation_slots_.is_used(at) && one.resource == demand.resource &&
           one.agent != demand.agent &&
           (one.priority + config_.preempt_margin <= mine || MESH_MUTANT("arbiter.margin"));
  };
  std::uint64_t coming = on.capacity - on.active;
  std::uint64_t all = coming;
  for (std::uint32_t at = 0; at < config_.allocations_max; ++at) {
    if (!yields(at)) continue;
    all += allocations_[at].units;
    if (allocations_[at].revoke_ns != kNever) coming += allocations_[at].units;
  }
  const std::uint64_t needed = std::max<std::uint64_t>(1, demand.floor);
  if (all < needed && !MESH_MUTANT("arbiter.suffices")) return false;
  while (coming < needed) {
    std::uint32_t victim = kNone;
    for (std::uint32_t at = 0; at < config_.allocations_max; ++at) {
      if (!yields(at) || allocations_[at].revoke_ns != kNever) continue;
      const auto key = [&](std::uint32_t slot) {
        return std::pair{allocations_[slot].priority, -allocations_[slot].since_ns};
      };
      if (victim == kNone || key(at) < key(victim)) victim = at;
    }
    Allocation& one = allocations_[victim];
    coming += one.units;
    one.revoke_ns = now_ns + config_.grace_ns.count();
    hold_ends_.set(victim, std::min(one.expires_ns, one.revoke_ns), one.id);
    emit(Event::preempted, Severity::warning, now_ns, {one.agent, one.id, one.fence});
    news_.push_back({ArbiterNotice::warned, one.agent, one.station, one.resource, 0, one.id,
                     one.fence, one.units, 0, Nanos{one.revoke_ns}});
  }
  return true;
}

void ResourceContentionArbiter::round(std::uint32_t resource, std::int64_t now_ns) noexcept {
  Resource& on = resources_[resource];
  on.round_ns = kNever;
  ++counters_.rounds;
  gather(resource, now_ns);
  const bool has_slots = allocation_slots_.left() >= queue_.size();
  if (!has_slots) queue_.resize(allocation_slots_.left());
  if (config_.mode == ArbiterMode::priority) {
    serve_by_priority(resource, now_ns);
  } else if (config_.mode == ArbiterMode::auction) {
    share_by_auction(on.capacity - on.active);
  } else {
    share_out(on, now_ns);
  }
  serve(resource, now_ns);
  for (std::uint32_t at = 0; at < config_.demands_max; ++at) {
    if (!demand_slots_.is_used(at) || demands_[at].resource != resource) continue;
    const bool is_outbid = config_.mode == ArbiterMode::auction;
    decide(demands_[at].ticket, demands_[at],
           is_outbid ? ArbiterReason::outbid : ArbiterReason::no_room, 0);
    note_satisfaction(demands_[at].agent, 0, now_ns);
  }
  // Priorities age: a round comes again although nothing was given back.
  const bool ages = config_.mode == ArbiterMode::priority;
  if (on.waiting != 0 && ages) on.round_ns = now_ns + config_.aging_ns.count();
  note_fairness(resource, now_ns);
}

// --- fairness, forecast ------------------------------------------------------------------------

// Over what each got of what it asked: raw shares would punish those that ask for little.
void ResourceContentionArbiter::note_fairness(std::uint32_t resource,
                                              std::int64_t now_ns) noexcept {
  Resource& on = resources_[resource];
  fills_.clear();
  std::int64_t longest_ns = 0;
  const auto starving = [&](std::uint32_t agent) {
    const std::int64_t since_ns = standings_[agent].below_since_ns;
    if (since_ns >= 0) longest_ns = std::max(longest_ns, now_ns - since_ns);
  };
  for (std::uint32_t at = 0; at < config_.allocations_max; ++at) {
    const Allocation& one = allocations_[at];
    if (!allocation_slots_.is_used(at) || one.resource != resource) continue;
    fills_.push_back(static_cast<double>(one.units) / static_cast<double>(one.asked));
  }
  for (std::uint32_t at = 0; at < config_.demands_max; ++at) {
    const Demand& one = demands_[at];
    if (!demand_slots_.is_used(at) || one.resource != resource) continue;
    if (fills_.size() < fills_.capacity()) fills_.push_back(0);
    starving(one.agent);
  }
  on.gini = gini_index(fills_);
  const double ppm = on.gini * 1e6;
  Contention severity = ppm >= config_.gini_severe_ppm     ? Contention::severe
                        : ppm >= config_.gini_moderate_ppm ? Contention::moderate
                        : ppm >= config_.gini_mild_ppm     ? Contention::mild
                                                           : Contention::none;
  const std::int64_t limit_ns = config_.starvation_ns.count();
  if (longest_ns > limit_ns) severity = std::max(severity, Contention::moderate);
  if (longest_ns > 3 * limit_ns && !MESH_MUTANT("arbiter.severe")) severity = Contention::severe;
  if (severity == on.severity) return;
  if (severity > on.severity) {
    emit(Event::severity, Severity::info, now_ns,
         {resource, static_cast<std::uint64_t>(severity), 0});
  }
  on.severity = severity;
  view_changed_ = true;
}

DemandForecast ResourceContentionArbiter::forecast(std::uint32_t resource,
                                                   Nanos now) const noexcept {
  DemandForecast out;
  if (!resource_slots_.is_used(resource)) return out;
  const Resource& on = resources_[resource];
  out.predicted = on.demand;
  Line line;
  double mean = 0;
  for (std::size_t i = 0; i < on.samples.count(); ++i) mean += on.samples.at(i).y;
  if (on.samples.count() != 0) mean /= static_cast<double>(on.samples.count());
  if (on.samples.fit(line)) {
    const double horizon_s = static_cast<double>(config_.forecast_horizon_ns.count()) * 1e-9;
    const bool is_trend = std::abs(line.slope) * horizon_s > 0.1 * mean && line.r2 >= 0.3;
    if (is_trend) {
      out.trend = line.slope > 0 ? Trend::rising : Trend::falling;
      const double at_s = static_cast<double>(now.count()) * 1e-9 + horizon_s;
      out.predicted = std::max(0.0, line.at(at_s));
    }
  }
  const double load = out.predicted / static_cast<double>(on.capacity);
  out.contention_probability = 1 / (1 + std::exp(-6 * (load - 1)));
  return out;
}

}  // namespace mesh::coordination
