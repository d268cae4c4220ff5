// What fits, whose turn it is, and how reservations end.
#include <algorithm>

#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/blocks/ppm.hpp"
#include "engine/coordination/resource_pool.hpp"

namespace mesh::coordination {
namespace {

std::uint64_t part_of(std::uint64_t whole, std::uint32_t ppm) noexcept {
  return whole * ppm / kPpm;  // both below 2^40: fits
}

}  // namespace

// --- what fits ---------------------------------------------------------------------------------

std::uint64_t ResourcePoolManager::limit_of(const Resource& on) const noexcept {
  return on.capacity + part_of(on.capacity, on.rules.overcommit_ppm);
}

std::uint64_t ResourcePoolManager::agent_max(const Resource& on) const noexcept {
  return std::max<std::uint64_t>(1, part_of(on.capacity, on.rules.agent_max_ppm));
}

// The most that is booked at one instant of [from, until).
std::uint64_t ResourcePoolManager::peak(std::uint32_t resource, std::int64_t from_ns,
                                        std::int64_t until_ns) const noexcept {
  if (resources_[resource].bookings == 0) return 0;
  const auto at_instant = [&](std::int64_t at_ns) {
    std::uint64_t sum = 0;
    for (std::uint32_t i = 0; i < config_.bookings_max; ++i) {
      const Booking& one = bookings_[i];
      const bool counts = booking_slots_.is_used(i) && one.resource == resource &&
                          one.start_ns <= at_ns && at_ns < one.end_ns;
      if (counts) sum += one.quantity;
    }
    return sum;
  };
  std::uint64_t most = at_instant(from_ns);  // it only rises where one starts
  for (std::uint32_t i = 0; i < config_.bookings_max; ++i) {
    const Booking& one = bookings_[i];
    const bool starts = booking_slots_.is_used(i) && one.resource == resource &&
                        one.start_ns > from_ns && one.start_ns < until_ns;
    if (starts) most = std::max(most, at_instant(one.start_ns));
  }
  return most;
}

std::uint64_t ResourcePoolManager::available(const Request& request, std::uint32_t resource,
                                             std::int64_t now_ns) const noexcept {
  const Resource& on = resources_[resource];
  const std::uint64_t kept = request.priority == kPriorityMax ? 0 : on.rules.min_reserve;
  const std::uint64_t taken = on.active + kept + peak(resource, now_ns, now_ns + request.lease_ns);
  const std::uint64_t limit = limit_of(on);
  return taken >= limit ? 0 : limit - taken;
}

ResourcePoolManager::Fit ResourcePoolManager::fits(const Request& request,
                                                   std::int64_t now_ns) const noexcept {
  Fit fit = Fit::yes;
  for (std::size_t i = 0; i < request.count; ++i) {
    const auto& [resource, quantity] = request.items[i];
    const Resource& on = resources_[resource];
    const std::uint64_t least = request.allow_partial ? 1 : quantity;
    if (least > limit_of(on)) return Fit::never;
    const std::uint32_t account = account_of(request.agent, resource);
    const std::uint64_t has =
        account == kNone ? 0 : accounts_[account].held + accounts_[account].booked;
    if (has + least > agent_max(on) && !MESH_MUTANT("pool.agent_max")) return Fit::too_much;
    if (least > available(request, resource, now_ns)) fit = Fit::not_now;
  }
  return fit;
}

bool ResourcePoolManager::asks_for(const Request& request, std::uint32_t resource) noexcept {
  for (std::size_t i = 0; i < request.count; ++i) {
    if (request.items[i].resource == resource) return true;
  }
  return false;
}

bool ResourcePoolManager::has_starving(std::uint32_t resource, std::int64_t now_ns) const noexcept {
  for (std::uint32_t at = first_request_; at != kNone; at = requests_[at].link.next) {
    if (asks_for(requests_[at], resource)) {  // the oldest
      return now_ns - requests_[at].since_ns > config_.starvation_ns.count();
    }
  }
  return false;
}

// True: it would pass by those that wait and must not.
bool ResourcePoolManager::must_queue(const Request& request, std::int64_t now_ns) const noexcept {
  for (std::size_t i = 0; i < request.count; ++i) {
    const std::uint32_t resource = request.items[i].resource;
    if (resources_[resource].waiting == 0) continue;
    if (resources_[resource].rules.queue_policy == QueuePolicy::fifo) return true;
    if (has_starving(resource, now_ns)) return true;
  }
  return false;
}

// --- accounts ----------------------------------------------------------------------------------

std::uint32_t ResourcePoolManager::account_of(std::uint32_t agent,
                                              std::uint32_t resource) const noexcept {
  for (std::uint32_t at = first_account_[agent]; at != kNone; at = accounts_[at].link.next) {
    if (accounts_[at].resource == resource) return at;
  }
  return kNone;
}

std::uint32_t ResourcePoolManager::open_account(std::uint32_t agent,
                                                std::uint32_t resource) noexcept {
  const std::uint32_t known = account_of(agent, resource);
  if (known != kNone) return known;
  const std::uint32_t slot = account_slots_.take();  // as many as reservations and bookings
  accounts_[slot] = {0, 0, agent, resource, {first_account_[agent], kNone}};
  if (first_account_[agent] != kNone) accounts_[first_account_[agent]].link.last = slot;
  first_account_[agent] = slot;
  return slot;
}

void ResourcePoolManager::close_account(std::uint32_t account) noexcept {
  Account& gone = accounts_[account];
  if (gone.held != 0 || gone.booked != 0) return;
  const auto [next, last] = gone.link;
  (last == kNone ? first_account_[gone.agent] : accounts_[last].link.next) = next;
  if (next != kNone) accounts_[next].link.last = last;
  gone = {};
  account_slots_.free(account);
}

// --- reservations ------------------------------------------------------------------------------

std::uint32_t ResourcePoolManager::reserve(const Request& request, std::size_t item,
                                           std::uint64_t quantity, std::int64_t now_ns) noexcept {
  const std::uint32_t slot = reservation_slots_.take();
  const std::uint32_t resource = request.items[item].resource;
  Resource& on = resources_[resource];
  Reservation& fresh = reservations_[slot] = {};
  fresh.id = ++last_id_;
  fresh.fence = ++on.fence;
  fresh.quantity = quantity;
  fresh.start_ns = now_ns;
  fresh.lease_ns = request.lease_ns;
  fresh.expires_ns = now_ns + request.lease_ns;
  fresh.agent = request.agent;
  fresh.resource = resource;
  fresh.station = request.station;
  fresh.priority = request.priority;
  fresh.account = open_account(request.agent, resource);
  accounts_[fresh.account].held += quantity;
  fresh.link.last = on.last;
  (on.last == kNone ? on.first : reservations_[on.last].link.next) = slot;
  on.last = slot;
  ++on.count;
  on.active += quantity;
  purpose_sizes_[slot] = 0;
  reservation_index_.set(hash_of_serial(fresh.id), slot);
  lease_ends_.set(slot, fresh.expires_ns, fresh.id);
  ++counters_.reservations;
  note_load(resource, now_ns);
  view_changed_ = true;
  return slot;
}

void ResourcePoolManager::remember_end(std::uint64_t id, PoolNotice why) noexcept {
  ended_[ended_count_++ % ended_.size()] = {id, why};
}

// However it ends, once. granted stands for a release by its owner: nobody is told.
void ResourcePoolManager::end(std::uint32_t slot, PoolNotice why, std::int64_t now_ns) noexcept {
  Reservation& gone = reservations_[slot];
  Resource& on = resources_[gone.resource];
  const auto [next, last] = gone.link;
  (last == kNone ? on.first : reservations_[last].link.next) = next;
  (next == kNone ? on.last : reservations_[next].link.last) = last;
  --on.count;
  on.active -= gone.quantity;
  accounts_[gone.account].held -= gone.quantity;
  close_account(gone.account);
  lease_ends_.clear(slot);
  reservation_index_.erase(hash_of_serial(gone.id));
  if (why == PoolNotice::granted) ++counters_.released;
  if (why == PoolNotice::expired) ++counters_.expired;
  if (why == PoolNotice::preempted) ++counters_.preempted;
  if (why == PoolNotice::closed) ++counters_.closed;
  if (why != PoolNotice::granted) {
    on.revoked_fence = std::max(on.revoked_fence, gone.fence);
    remember_end(gone.id, why);
    news_.push_back({why, gone.agent, gone.station, gone.resource, 0, gone.id, gone.fence,
                     gone.quantity, Nanos{now_ns}});
  }
  mark_dirty(gone.resource);
  note_load(gone.resource, now_ns);
  gone = {};
  reservation_slots_.free(slot);
  view_changed_ = true;
}

// What fits of it, now. reply: of the one who asks; null: it waited, and is told.
std::uint64_t ResourcePoolManager::grant(const Request& request, std::int64_t now_ns,
                                         Reply* reply) noexcept {
  std::uint64_t granted = 0;
  for (std::size_t i = 0; i < request.count; ++i) {
    const auto& [resource, wanted] = request.items[i];
    std::uint64_t quantity = wanted;
    if (request.allow_partial) {
      const std::uint32_t account = account_of(request.agent, resource);
      const std::uint64_t has =
          account == kNone ? 0 : accounts_[account].held + accounts_[account].booked;
      quantity = std::min(
          {wanted, available(request, resource, now_ns), agent_max(resources_[resource]) - has});
      if (quantity < wanted) ++counters_.partial;
    }
    const std::uint32_t slot = reserve(request, i, quantity, now_ns);
    const Reservation& fresh = reservations_[slot];
    granted += quantity;
    if (reply == nullptr) {
      news_.push_back({PoolNotice::granted, fresh.agent, fresh.station, resource, request.ticket,
                       fresh.id, fresh.fence, quantity, Nanos{fresh.expires_ns}});
      continue;
    }
    reply->reservation = fresh.id;
    reply->fence = fresh.fence;
    reply->expires = Nanos{fresh.expires_ns};
    if (request.count > 1) reply->grants.push_back({resource, fresh.id, fresh.fence});
  }
  return granted;
}

// --- preemption --------------------------------------------------------------------------------

bool ResourcePoolManager::yields(const Reservation& one, std::uint32_t priority) noexcept {
  return one.priority < priority && one.revoke_ns == kNever;
}

// Lowest priority first, then the most recent; kNone: nobody is left.
std::uint32_t ResourcePoolManager::victim_of(std::uint32_t resource,
                                             std::uint32_t priority) const noexcept {
  std::uint32_t victim = kNone;
  for (std::uint32_t at = resources_[resource].first; at != kNone;
       at = reservations_[at].link.next) {
    const Reservation& one = reservations_[at];
    if (!yields(one, priority)) continue;
    const bool is_better = victim == kNone || one.priority < reservations_[victim].priority ||
                           (one.priority == reservations_[victim].priority &&
                            one.start_ns >= reservations_[victim].start_ns);
    if (is_better) victim = at;
  }
  return victim;
}

// Nobody if the victims do not suffice. True: they have been warned, or are gone where there is no
// grace.
bool ResourcePoolManager::preempt(const Request& request, std::int64_t now_ns) noexcept {
  if (request.count != 1) return false;
  const auto& [resource, quantity] = request.items[0];
  const Resource& on = resources_[resource];
  if (on.rules.preemption == Preemption::off) return false;
  const std::uint64_t free = available(request, resource, now_ns);
  const std::uint64_t held_back = request.priority == kPriorityMax ? 0 : on.rules.min_reserve;
  const std::uint64_t unbooked = limit_of(on) - std::min(limit_of(on), held_back + on.active);
  if (free < unbooked) return false;  // what is in the way is booked: victims would not help
  std::uint64_t found = free;
  for (std::uint32_t at = on.first; at != kNone; at = reservations_[at].link.next) {
    if (yields(reservations_[at], request.priority)) found += reservations_[at].quantity;
  }
  if (found < quantity) return false;
  for (std::uint64_t freed = free; freed < quantity;) {
    const std::uint32_t victim = victim_of(resource, request.priority);
    freed += reservations_[victim].quantity;
    warn(victim, now_ns);
  }
  return true;
}

void ResourcePoolManager::warn(std::uint32_t slot, std::int64_t now_ns) noexcept {
  Reservation& one = reservations_[slot];
  const std::int64_t grace_ns = resources_[one.resource].rules.grace_ns.count();
  emit(Event::preempted, Severity::warning, now_ns, {one.agent, one.id, one.fence});
  one.revoke_ns = now_ns + grace_ns;
  if (grace_ns == 0) return end(slot, PoolNotice::preempted, now_ns);
  news_.push_back({PoolNotice::warned, one.agent, one.station, one.resource, 0, one.id, one.fence,
                   one.quantity, Nanos{one.revoke_ns}});
  lease_ends_.set(slot, std::min(one.expires_ns, one.revoke_ns), one.id);
}

// --- the queue ---------------------------------------------------------------------------------

void ResourcePoolManager::enqueue(const Request& request) noexcept {
  const std::uint32_t slot = request_slots_.take();
  Request& fresh = requests_[slot] = request;
  fresh.link = {kNone, last_request_};
  (last_request_ == kNone ? first_request_ : requests_[last_request_].link.next) = slot;
  last_request_ = slot;
  for (std::size_t i = 0; i < fresh.count; ++i) ++resources_[fresh.items[i].resource].waiting;
  wait_ends_.set(slot, fresh.deadline_ns, fresh.ticket);
  ++counters_.waits;
  view_changed_ = true;
}

void ResourcePoolManager::dequeue(std::uint32_t slot) noexcept {
  Request& gone = requests_[slot];
  const auto [next, last] = gone.link;
  (last == kNone ? first_request_ : requests_[last].link.next) = next;
  (next == kNone ? last_request_ : requests_[next].link.last) = last;
  for (std::size_t i = 0; i < gone.count; ++i) {
    --resources_[gone.items[i].resource].waiting;
    mark_dirty(gone.items[i].resource);  // whoever waited behind it may go
  }
  wait_ends_.clear(slot);
  gone = {};
  request_slots_.free(slot);
  view_changed_ = true;
}

void ResourcePoolManager::mark_dirty(std::uint32_t resource) noexcept {
  if (resources_[resource].waiting == 0 || is_dirty_[resource] != 0) return;
  is_dirty_[resource] = 1;
  ++dirty_count_;
}

// Of two agents: whose dominant share by weight is smaller, exactly.
int ResourcePoolManager::compare_shares(std::uint32_t a, std::uint32_t b) const noexcept {
  __extension__ using Wide = unsigned __int128;
  struct Share {
    std::uint64_t held = 0;
    std::uint64_t capacity = 1;
  };
  const auto is_less = [](const Share& x, const Share& y) {
    return static_cast<Wide>(x.held) * y.capacity < static_cast<Wide>(y.held) * x.capacity;
  };
  const auto dominant = [&](std::uint32_t agent) {
    Share most;
    for (std::uint32_t at = first_account_[agent]; at != kNone; at = accounts_[at].link.next) {
      const Share one{accounts_[at].held, resources_[accounts_[at].resource].capacity};
      if (is_less(most, one)) most = one;
    }
    most.capacity *= weights_[agent];  // below 2^40 * 2^20
    return most;
  };
  const Share x = dominant(a);
  const Share y = dominant(b);
  return is_less(x, y) ? -1 : is_less(y, x) ? 1 : 0;
}

bool ResourcePoolManager::goes_before(const Request& a, const Request& b,
                                      QueuePolicy policy) const noexcept {
  if (a.preempts != b.preempts) return a.preempts;
  if (policy == QueuePolicy::priority && a.priority != b.priority) return a.priority > b.priority;
  if (policy == QueuePolicy::fair && a.agent != b.agent) {
    const int order = compare_shares(a.agent, b.agent);
    return order != 0 ? order < 0 : a.agent < b.agent;
  }
  return a.ticket < b.ticket;
}

// Whose turn it is at a resource, or kNone: nobody fits, or who must go first does not.
std::uint32_t ResourcePoolManager::next_served(std::uint32_t resource,
                                               std::int64_t now_ns) const noexcept {
  const QueuePolicy policy = resources_[resource].rules.queue_policy;
  std::uint32_t best = kNone;
  for (std::uint32_t at = first_request_; at != kNone; at = requests_[at].link.next) {
    const Request& one = requests_[at];
    if (!asks_for(one, resource)) continue;
    const bool fits_now = fits(one, now_ns) == Fit::yes;
    const bool is_stuck = fits(one, now_ns) == Fit::too_much;  // for its own agent's sake alone
    const bool starves = now_ns - one.since_ns > config_.starvation_ns.count();
    const bool leads = best == kNone || goes_before(one, requests_[best], policy);
    if (fits_now && leads) best = at;
    const bool blocks = policy == QueuePolicy::fifo || starves || one.preempts;
    if (blocks && !is_stuck) return fits_now ? (policy == QueuePolicy::fifo ? at : best) : kNone;
  }
  return best;
}

void ResourcePoolManager::hand_out(std::int64_t now_ns) noexcept {
  while (dirty_count_ != 0) {
    for (std::uint32_t resource = 0; resource < config_.resources_max; ++resource) {
      if (is_dirty_[resource] == 0) continue;
      is_dirty_[resource] = 0;
      --dirty_count_;
      for (std::uint32_t slot; (slot = next_served(resource, now_ns)) != kNone;) {
        const Request request = requests_[slot];
        dequeue(slot);
        grant(request, now_ns, nullptr);
        ++counters_.served;
      }
    }
  }
}

}  // namespace mesh::coordination
