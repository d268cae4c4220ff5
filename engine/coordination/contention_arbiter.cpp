#include "engine/coordination/contention_arbiter.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/blocks/ppm.hpp"

namespace mesh::coordination {
namespace {

IdHash pair_of(std::uint32_t agent, std::uint32_t resource) noexcept {
  return hash_of(std::uint64_t{agent} << 32 | resource, 2);
}

}  // namespace

ResourceContentionArbiter::ResourceContentionArbiter(const Config& config, std::uint64_t)
    : ServiceForm(config),
      resources_(config.resources_max),
      resource_slots_(config.resources_max),
      resource_index_(config.resources_max),
      allocations_(config.allocations_max),
      allocation_slots_(config.allocations_max),
      allocation_index_(config.allocations_max),
      demands_(config.demands_max),
      demand_slots_(config.demands_max),
      budget_index_(config.budgets_max),
      standings_(config.agents_max),
      hold_ends_(config.allocations_max),
      wait_ends_(config.demands_max) {
  budgets_.reserve(config.budgets_max);
  const std::size_t most = std::max(config.demands_max, config.allocations_max);
  queue_.reserve(most);
  items_.reserve(config.demands_max);
  fills_.reserve(most);
  scratch_.reserve(2 * most);
  claims_.reserve(config.demands_max);
  bids_.reserve(config.demands_max);
  shares_.reserve(config.demands_max);
  prices_.reserve(config.demands_max);
  news_.reserve(256);
}

// --- resources, budgets ------------------------------------------------------------------------

ResourceContentionArbiter::Reply ResourceContentionArbiter::on(
    const contention::RegisterResource& order, std::int64_t) noexcept {
  const bool has_names = is_name(order.id) && (order.category.empty() || is_name(order.category));
  if (!has_names) return refuse(Errc::invalid_id);
  if (order.capacity < 1 || order.capacity > kUnitsMax) return refuse(Errc::invalid_argument);
  const IdHash id = hash_of(order.id);
  if (resource_index_.find(id) != kNone) return refuse(Errc::already_exists);
  const std::uint32_t slot = resource_slots_.take();
  if (slot == kNone) return refuse(Errc::capacity);
  Resource& fresh = resources_[slot] = {};
  fresh.id = id;
  fresh.capacity = order.capacity;
  fresh.divisible = order.divisible;
  fresh.preemptible = order.preemptible;
  resource_index_.set(id, slot);
  view_changed_ = true;
  Reply reply;
  reply.resource = slot;
  return reply;
}

const ResourceContentionArbiter::Budget* ResourceContentionArbiter::budget_of(
    std::uint32_t agent, std::uint32_t resource) const noexcept {
  const std::uint32_t at = budget_index_.find(pair_of(agent, resource));
  return at == kNone ? nullptr : &budgets_[at];
}
ResourceContentionArbiter::Budget* ResourceContentionArbiter::budget_of(
    std::uint32_t agent, std::uint32_t resource) noexcept {
  const std::uint32_t at = budget_index_.find(pair_of(agent, resource));
  return at == kNone ? nullptr : &budgets_[at];
}

// A period's units for each that has passed, up to two.
void ResourceContentionArbiter::refill(Budget& budget, std::int64_t now_ns) noexcept {
  const std::int64_t periods = (now_ns - budget.refilled_ns) / budget.period_ns;
  if (periods <= 0) return;
  budget.refilled_ns += periods * budget.period_ns;
  const std::uint64_t added =
      budget.units * static_cast<std::uint64_t>(std::min<std::int64_t>(2, periods));
  budget.left = std::min(2 * budget.units, budget.left + added);
}

ResourceContentionArbiter::Reply ResourceContentionArbiter::on(const contention::SetBudget& order,
                                                               std::int64_t now_ns) noexcept {
  if (order.agent >= config_.agents_max) return refuse(Errc::no_such_agent);
  if (!resource_slots_.is_used(order.resource)) return refuse(Errc::not_found);
  const bool is_possible = order.units <= kUnitsMax && is_positive_duration(order.period);
  if (!is_possible) return refuse(Errc::invalid_argument);
  Budget* budget = budget_of(order.agent, order.resource);
  if (budget == nullptr) {
    if (budgets_.size() == config_.budgets_max) return refuse(Errc::capacity);
    budget_index_.set(pair_of(order.agent, order.resource),
                      static_cast<std::uint32_t>(budgets_.size()));
    budget = &budgets_.emplace_back();  // reserved
  }
  *budget = {order.units, order.units, order.period.count(), now_ns, order.agent, order.resource};
  Reply reply;
  reply.resource = order.resource;
  reply.budget_left = order.units;
  return reply;
}

// --- requests ----------------------------------------------------------------------------------

Errc ResourceContentionArbiter::check(const contention::Request& order,
                                      std::int64_t now_ns) const noexcept {
  if (order.agent >= config_.agents_max) return Errc::no_such_agent;
  if (!resource_slots_.is_used(order.resource)) return Errc::not_found;
  const bool has_deadline = order.deadline.count() != 0;
  const bool is_possible =
      order.quantity >= 1 && order.priority <= kPriorityMax && order.flexibility_ppm <= kPpm &&
      order.utility_per_unit >= 1 && order.utility_per_unit <= kUnitsMax &&
      order.disagreement <= kUnitsMax && order.timestamp.count() >= 0 &&
      order.timestamp.count() <= kInstantMaxNs && order.deadline.count() <= kInstantMaxNs &&
      (!has_deadline || order.deadline.count() > now_ns);
  if (!is_possible) return Errc::invalid_argument;
  if (order.quantity > resources_[order.resource].capacity) return Errc::insufficient_quantity;
  return allocation_slots_.left() == 0 ? Errc::capacity : Errc::ok;
}

// Wait-die: one may wait that is older than every holder and every earlier waiter in its way. The
// first that is not younger; kNobody: it may wait.
std::uint32_t ResourceContentionArbiter::older_in_the_way(const Demand& demand) const noexcept {
  if (config_.wait_die == WaitDie::off) return kNobody;
  const bool holds = standings_[demand.agent].allocations != 0;
  if (config_.wait_die == WaitDie::holders_only && !holds) return kNobody;
  const auto is_older = [&](std::int64_t timestamp_ns, std::uint32_t agent) {
    return std::pair{demand.timestamp_ns, demand.agent} < std::pair{timestamp_ns, agent};
  };
  for (std::uint32_t at = 0; at < config_.allocations_max; ++at) {
    const Allocation& one = allocations_[at];
    const bool conflicts = allocation_slots_.is_used(at) && one.resource == demand.resource &&
                           one.agent != demand.agent;
    if (conflicts && !is_older(one.timestamp_ns, one.agent)) return one.agent;
  }
  for (std::uint32_t at = 0; at < config_.demands_max; ++at) {
    const Demand& one = demands_[at];
    const bool conflicts =
        demand_slots_.is_used(at) && one.resource == demand.resource && one.agent != demand.agent;
    if (conflicts && !is_older(one.timestamp_ns, one.agent)) return one.agent;
  }
  return kNobody;
}

ResourceContentionArbiter::Reply ResourceContentionArbiter::on(const contention::Request& order,
                                                               std::int64_t now_ns) noexcept {
  const Errc bad = check(order, now_ns);
  if (bad == Errc::insufficient_quantity) return refuse_request(order, ArbiterReason::too_much);
  if (bad != Errc::ok) return refuse(bad);
  Resource& on = resources_[order.resource];
  Demand demand;
  demand.agent = order.agent;
  demand.resource = order.resource;
  demand.station = order.station;
  demand.priority = order.priority;
  demand.quantity = order.quantity;
  demand.floor = order.minimum();
  demand.utility = order.utility_per_unit;
  demand.disagreement = order.disagreement;
  demand.timestamp_ns = order.timestamp.count();
  demand.since_ns = now_ns;
  demand.deadline_ns = order.deadline.count() != 0 ? order.deadline.count() : kNever;

  Reply reply;
  reply.resource = order.resource;
  reply.minimum = demand.floor;
  Budget* budget = budget_of(order.agent, order.resource);
  if (budget != nullptr) {
    refill(*budget, now_ns);
    reply.budget_left = budget->left;
    demand.quantity = std::min(demand.quantity, budget->left);
    if (demand.quantity < std::max<std::uint64_t>(1, demand.floor)) {
      reply = refuse_request(order, ArbiterReason::budget);
      reply.budget_left = budget->left;
      reply.retry_after = Nanos{budget->refilled_ns + budget->period_ns - now_ns};
      return reply;
    }
  }
  const bool may_pass = on.waiting == 0 || MESH_MUTANT("arbiter.queue");
  if (demand.quantity <= on.capacity - on.active && may_pass) {
    const std::uint32_t slot = allocate(demand, demand.quantity, now_ns);
    decide(allocations_[slot].id, demand, ArbiterReason::free, demand.quantity);
    reply.granted = demand.quantity;
    reply.allocation = allocations_[slot].id;
    reply.fence = allocations_[slot].fence;
    reply.reason = ArbiterReason::free;
    if (budget != nullptr) reply.budget_left = budget->left;
    return reply;
  }
  const std::uint32_t in_its_way = older_in_the_way(demand);
  if (in_its_way != kNobody) {
    return refuse_request(order, ArbiterReason::wait_die, in_its_way);
  }
  const std::uint32_t slot = demand_slots_.take();
  if (slot == kNone) return refuse(Errc::capacity);
  demand.ticket = ++last_id_;
  demands_[slot] = demand;
  ++on.waiting;
  ++counters_.waits;
  if (demand.deadline_ns != kNever) wait_ends_.set(slot, demand.deadline_ns, demand.ticket);
  want_round(order.resource, now_ns + config_.round_ns.count());
  decide(demand.ticket, demand, ArbiterReason::waits, 0);
  view_changed_ = true;
  reply.refusal = Refusal::would_block;
  reply.reason = ArbiterReason::waits;
  reply.ticket = demand.ticket;
  return reply;
}

void ResourceContentionArbiter::want_round(std::uint32_t resource, std::int64_t at_ns) noexcept {
  Resource& on = resources_[resource];
  if (on.waiting != 0) on.round_ns = std::min(on.round_ns, at_ns);
}

std::uint32_t ResourceContentionArbiter::allocate(const Demand& demand, std::uint64_t units,
                                                  std::int64_t now_ns) noexcept {
  const std::uint32_t slot = allocation_slots_.take();
  Resource& on = resources_[demand.resource];
  Allocation& fresh = allocations_[slot] = {};
  fresh.id = ++last_id_;
  fresh.fence = ++on.fence;
  fresh.units = units;
  fresh.asked = demand.quantity;
  fresh.since_ns = now_ns;
  fresh.expires_ns = now_ns + config_.max_hold_ns.count();
  fresh.timestamp_ns = demand.timestamp_ns;
  fresh.agent = demand.agent;
  fresh.resource = demand.resource;
  fresh.station = demand.station;
  fresh.priority = demand.priority;
  on.active += units;
  Budget* budget = budget_of(demand.agent, demand.resource);
  if (budget != nullptr) budget->left -= std::min(budget->left, units);
  ++standings_[demand.agent].allocations;
  note_satisfaction(demand.agent, static_cast<double>(units) / static_cast<double>(demand.quantity),
                    now_ns);
  allocation_index_.set(hash_of(fresh.id, 0), slot);
  hold_ends_.set(slot, fresh.expires_ns, fresh.id);
  ++counters_.allocations;
  view_changed_ = true;
  return slot;
}

void ResourceContentionArbiter::end(std::uint32_t slot, ArbiterReason why,
                                    std::int64_t now_ns) noexcept {
  Allocation& gone = allocations_[slot];
  resources_[gone.resource].active -= gone.units;
  --standings_[gone.agent].allocations;
  allocation_index_.erase(hash_of(gone.id, 0));
  hold_ends_.clear(slot);
  const auto tell = [&](ArbiterNotice kind) {
    news_.push_back({kind, gone.agent, gone.station, gone.resource, 0, gone.id, gone.fence,
                     gone.units, 0, Nanos{now_ns}});
  };
  if (why == ArbiterReason::released) ++counters_.released;
  if (why == ArbiterReason::expired) {
    ++counters_.expired;
    emit(Event::expired, Severity::info, now_ns, {gone.agent, gone.id, gone.fence});
    tell(ArbiterNotice::expired);
  }
  if (why == ArbiterReason::preempted) {
    ++counters_.preempted;
    tell(ArbiterNotice::preempted);
  }
  if (why == ArbiterReason::cancelled) {
    ++counters_.closed;
    tell(ArbiterNotice::closed);
  }
  Demand asked;
  asked.resource = gone.resource;
  asked.quantity = gone.asked;
  asked.priority = gone.priority;
  asked.since_ns = gone.since_ns;
  decide(gone.id, asked, why, gone.units);
  want_round(gone.resource, now_ns + config_.round_ns.count());
  gone = {};
  allocation_slots_.free(slot);
  view_changed_ = true;
}

void ResourceContentionArbiter::drop_demand(std::uint32_t slot) noexcept {
  Resource& on = resources_[demands_[slot].resource];
  if (--on.waiting == 0) on.round_ns = kNever;
  wait_ends_.clear(slot);
  demands_[slot] = {};
  demand_slots_.free(slot);
  view_changed_ = true;
}

void ResourceContentionArbiter::end_wait(std::uint32_t slot, ArbiterReason why,
                                         std::int64_t now_ns) noexcept {
  const Demand gone = demands_[slot];
  ++(why == ArbiterReason::timed_out ? counters_.timeouts : counters_.cancelled);
  decide(gone.ticket, gone, why, 0);
  if (why == ArbiterReason::timed_out) {
    news_.push_back({ArbiterNotice::timed_out, gone.agent, gone.station, gone.resource, gone.ticket,
                     0, 0, 0, 0, Nanos{now_ns}});
    note_satisfaction(gone.agent, 0, now_ns);
  }
  drop_demand(slot);
}

ResourceContentionArbiter::Reply ResourceContentionArbiter::on(const contention::Release& order,
                                                               std::int64_t now_ns) noexcept {
  const std::uint32_t slot = allocation_index_.find(hash_of(order.allocation, 0));
  if (slot != kNone) {
    if (order.station != 0 && allocations_[slot].station != order.station) {
      return refuse(Errc::not_authorized);
    }
    Reply reply;
    reply.resource = allocations_[slot].resource;
    end(slot, ArbiterReason::released, now_ns);
    return reply;
  }
  const ArbiterReason why = explain(order.allocation).reason;
  if (why == ArbiterReason::expired || why == ArbiterReason::cancelled) {
    return refuse(Errc::expired);
  }
  return refuse(why == ArbiterReason::preempted ? Errc::stale_token : Errc::not_owner);
}

ResourceContentionArbiter::Reply ResourceContentionArbiter::on(const contention::Cancel& order,
                                                               std::int64_t now_ns) noexcept {
  for (std::uint32_t slot = 0; slot < config_.demands_max; ++slot) {
    if (!demand_slots_.is_used(slot) || demands_[slot].ticket != order.ticket) continue;
    if (order.station != 0 && demands_[slot].station != order.station) {
      return refuse(Errc::not_authorized);
    }
    end_wait(slot, ArbiterReason::cancelled, now_ns);
    return {};
  }
  return refuse(Errc::not_found);
}

ResourceContentionArbiter::Reply ResourceContentionArbiter::on(const contention::Validate& order,
                                                               std::int64_t) noexcept {
  if (!resource_slots_.is_used(order.resource)) return refuse(Errc::not_found);
  for (std::uint32_t slot = 0; slot < config_.allocations_max; ++slot) {
    const Allocation& one = allocations_[slot];
    const bool holds = allocation_slots_.is_used(slot) && one.resource == order.resource &&
                       one.fence == order.fence;
    if (holds) return {};
  }
  return refuse(Errc::stale_token);
}

ResourceContentionArbiter::Reply ResourceContentionArbiter::on(
    const contention::StationClosed& order, std::int64_t now_ns) noexcept {
  if (order.station == 0) return refuse(Errc::invalid_argument);
  for (std::uint32_t slot = 0; slot < config_.demands_max; ++slot) {
    if (demand_slots_.is_used(slot) && demands_[slot].station == order.station) {
      end_wait(slot, ArbiterReason::cancelled, now_ns);
    }
  }
  Reply reply;
  for (std::uint32_t slot = 0; slot < config_.allocations_max; ++slot) {
    if (!allocation_slots_.is_used(slot) || allocations_[slot].station != order.station) continue;
    reply.granted += allocations_[slot].units;
    end(slot, ArbiterReason::cancelled, now_ns);
  }
  return reply;
}

// --- what is remembered of each ----------------------------------------------------------------

void ResourceContentionArbiter::note_satisfaction(std::uint32_t agent, double sample,
                                                  std::int64_t now_ns) noexcept {
  Standing& one = standings_[agent];
  one.satisfaction += config_.ewma * (sample - one.satisfaction);
  // Who is served once is starved no more: its time begins anew, and its weight is its own again.
  const bool is_served = sample >= config_.starved_below && !MESH_MUTANT("arbiter.served_once");
  if (one.satisfaction >= config_.starved_below) {
    one.below_since_ns = -1;
  } else if (one.below_since_ns < 0 || is_served) {
    one.below_since_ns = now_ns;
  }
}

bool ResourceContentionArbiter::is_starved(std::uint32_t agent, Nanos now) const noexcept {
  if (agent >= config_.agents_max || standings_[agent].below_since_ns < 0) return false;
  return now.count() - standings_[agent].below_since_ns > config_.starvation_ns.count();
}

std::uint32_t ResourceContentionArbiter::effective_priority(const Demand& demand,
                                                            std::int64_t now_ns) const noexcept {
  const std::int64_t aged =
      std::max<std::int64_t>(0, now_ns - demand.since_ns) / config_.aging_ns.count();
  return static_cast<std::uint32_t>(std::min<std::int64_t>(
      kPriorityMax,
      demand.priority + std::min<std::int64_t>(MESH_MUTANT("arbiter.aging") ? 0 : 10, aged)));
}

// --- time --------------------------------------------------------------------------------------

// How much is wanted: out and waited for, smoothed.
void ResourceContentionArbiter::sample(std::uint32_t resource, std::int64_t now_ns) noexcept {
  Resource& on = resources_[resource];
  const bool is_due = on.sampled_ns < 0 || now_ns - on.sampled_ns >= config_.sample_ns.count();
  if (!is_due) return;
  double wanted = static_cast<double>(on.active);
  for (std::uint32_t at = 0; at < config_.demands_max; ++at) {
    if (demand_slots_.is_used(at) && demands_[at].resource == resource) {
      wanted += static_cast<double>(demands_[at].quantity);
    }
  }
  on.demand = on.sampled_ns < 0 ? wanted : on.demand + config_.ewma * (wanted - on.demand);
  on.sampled_ns = now_ns;
  on.samples.add({static_cast<double>(now_ns) * 1e-9, on.demand});
}

void ResourceContentionArbiter::catch_up(std::int64_t now_ns) noexcept {
  for (std::uint32_t slot; (slot = hold_ends_.pop_due(now_ns)) != kNone;) {
    const bool is_preempted = allocations_[slot].revoke_ns <= now_ns;
    const std::uint32_t resource = allocations_[slot].resource;
    end(slot, is_preempted ? ArbiterReason::preempted : ArbiterReason::expired, now_ns);
    if (is_preempted) want_round(resource, now_ns);
  }
  for (std::uint32_t slot; (slot = wait_ends_.pop_due(now_ns)) != kNone;) {
    end_wait(slot, ArbiterReason::timed_out, now_ns);
  }
  for (std::uint32_t resource = 0; resource < config_.resources_max; ++resource) {
    if (!resource_slots_.is_used(resource)) continue;
    if (resources_[resource].round_ns <= now_ns) round(resource, now_ns);
  }
}

ResourceContentionArbiter::Reply ResourceContentionArbiter::apply(const Command& command,
                                                                  Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  catch_up(now_ns);
  Reply reply = std::visit([&](const auto& order) { return on(order, now_ns); }, command);
  if (!news_.empty()) {
    reply.news.assign(news_.begin(), news_.end());
    news_.clear();
  }
  return reply;
}

void ResourceContentionArbiter::tick(Nanos now, Actions& out) noexcept {
  std::int64_t next_ns = kNever;
  if (ServiceClock::is_valid(now)) {
    const std::int64_t now_ns = clock_.at(now);
    catch_up(now_ns);
    for (std::uint32_t resource = 0; resource < config_.resources_max; ++resource) {
      if (!resource_slots_.is_used(resource)) continue;
      sample(resource, now_ns);
      note_fairness(resource, now_ns);
      next_ns = std::min({next_ns, resources_[resource].round_ns,
                          resources_[resource].sampled_ns + config_.sample_ns.count()});
    }
  }
  out.news.assign(news_.begin(), news_.end());
  news_.clear();
  out.next_tick = Nanos{std::min({next_ns, hold_ends_.next_ns(), wait_ends_.next_ns()})};
  out.view_changed = view_changed_;
  view_changed_ = false;
}

}  // namespace mesh::coordination
