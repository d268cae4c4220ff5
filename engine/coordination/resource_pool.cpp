#include "engine/coordination/resource_pool.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/coordination/blocks/mutant.hpp"

namespace mesh::coordination {

ResourcePoolManager::ResourcePoolManager(const Config& config, std::uint64_t)
    : ServiceForm(config),
      resources_(config.resources_max),
      resource_slots_(config.resources_max),
      resource_index_(config.resources_max),
      reservations_(config.reservations_max),
      purposes_(config.reservations_max),
      purpose_sizes_(config.reservations_max),
      reservation_slots_(config.reservations_max),
      reservation_index_(config.reservations_max),
      accounts_(config.reservations_max + config.bookings_max),
      account_slots_(config.reservations_max + config.bookings_max),
      first_account_(config.agents_max, kNone),
      weights_(config.agents_max, 1),
      requests_(config.requests_max),
      request_slots_(config.requests_max),
      bookings_(config.bookings_max),
      booking_slots_(config.bookings_max),
      lease_ends_(config.reservations_max),
      wait_ends_(config.requests_max),
      booking_starts_(config.bookings_max),
      is_dirty_(config.resources_max) {
  news_.reserve(256);
}

ResourcePoolManager::Reply ResourcePoolManager::decline(Refusal refusal, std::uint32_t resource,
                                                        Nanos retry_after) noexcept {
  if (refusal == Refusal::would_block) ++counters_.would_block;
  if (refusal == Refusal::rejected_policy) ++counters_.rejected_policy;
  if (refusal == Refusal::quota_exhausted) ++counters_.quota_exhausted;
  Reply reply;
  reply.refusal = refusal;
  reply.resource = resource;
  reply.free = view(resource).free;
  reply.retry_after = retry_after;
  return reply;
}

// --- resources ---------------------------------------------------------------------------------

namespace {

bool are_sound(const PoolRules& rules) noexcept {
  return rules.agent_max_ppm >= 1 && rules.agent_max_ppm <= 1'000'000 &&
         rules.overcommit_ppm <= 1'000'000 && rules.queue_policy <= QueuePolicy::fair &&
         rules.preemption <= Preemption::lower_priority && is_duration(rules.grace_ns) &&
         is_positive_duration(rules.lease_ns) && rules.lease_ns <= rules.lease_ns_max &&
         is_duration(rules.lease_ns_max) && is_positive_duration(rules.window_ns);
}
bool is_sound(const PoolScale& scale, std::uint64_t capacity) noexcept {
  if (scale.max == 0) return true;
  return scale.min >= 1 && scale.min <= capacity && capacity <= scale.max &&
         scale.max <= ResourcePoolManager::kUnitsMax && scale.down_ppm < scale.up_ppm &&
         scale.up_ppm <= 1'000'000 && scale.step_ppm >= 1 && scale.step_ppm <= 1'000'000 &&
         is_duration(scale.up_hold_ns) && is_duration(scale.down_hold_ns) &&
         is_duration(scale.up_cooldown_ns) && is_duration(scale.down_cooldown_ns);
}

}  // namespace

ResourcePoolManager::Reply ResourcePoolManager::on(const pool::AddResource& order,
                                                   std::int64_t now_ns) noexcept {
  if (!is_name(order.id) || (!order.unit.empty() && !is_name(order.unit))) {
    return refuse(Errc::invalid_id);
  }
  const bool is_possible = order.kind <= PoolKind::quota && order.capacity >= 1 &&
                           order.capacity <= kUnitsMax && are_sound(order.rules) &&
                           order.rules.min_reserve < order.capacity &&
                           is_sound(order.scale, order.capacity) &&
                           (order.kind != PoolKind::quota || order.scale.max == 0);
  if (!is_possible) return refuse(Errc::invalid_argument);
  const IdHash id = hash_of(order.id);
  if (resource_index_.find(id) != kNone) return refuse(Errc::already_exists);
  const std::uint32_t slot = resource_slots_.take();
  if (slot == kNone) return refuse(Errc::capacity);
  Resource& fresh = resources_[slot] = {};
  fresh.kind = order.kind;
  fresh.capacity = order.capacity;
  fresh.rules = order.rules;
  fresh.scale = order.scale;
  fresh.window_ends_ns = now_ns + order.rules.window_ns.count();
  fresh.name_size = static_cast<std::uint8_t>(order.id.size());
  fresh.unit_size = static_cast<std::uint8_t>(order.unit.size());
  std::memcpy(fresh.name.data(), order.id.data(), order.id.size());
  std::memcpy(fresh.unit.data(), order.unit.data(), order.unit.size());
  resource_index_.set(id, slot);
  note_load(slot, now_ns);
  view_changed_ = true;
  Reply reply;
  reply.resource = slot;
  reply.free = order.capacity;
  return reply;
}

ResourcePoolManager::Reply ResourcePoolManager::on(const pool::RemoveResource& order,
                                                   std::int64_t) noexcept {
  if (!is_resource(order.resource)) return refuse(Errc::not_found);
  const Resource& gone = resources_[order.resource];
  if (gone.count != 0 || gone.waiting != 0 || gone.bookings != 0) return refuse(Errc::wrong_state);
  resource_index_.erase(hash_of({gone.name.data(), gone.name_size}));
  resources_[order.resource] = {};
  resource_slots_.free(order.resource);
  view_changed_ = true;
  return {};
}

ResourcePoolManager::Reply ResourcePoolManager::on(const pool::SetWeight& order,
                                                   std::int64_t) noexcept {
  if (order.agent >= config_.agents_max) return refuse(Errc::no_such_agent);
  if (order.weight < 1 || order.weight > 1'000'000) return refuse(Errc::invalid_argument);
  weights_[order.agent] = order.weight;
  return {};
}

// --- allocate ----------------------------------------------------------------------------------

Errc ResourcePoolManager::check(const Request& request) const noexcept {
  if (request.agent >= config_.agents_max) return Errc::no_such_agent;
  if (request.priority > kPriorityMax || request.count == 0) return Errc::invalid_argument;
  for (std::size_t i = 0; i < request.count; ++i) {
    const auto& [resource, quantity] = request.items[i];
    if (!is_resource(resource)) return Errc::not_found;
    const Resource& on = resources_[resource];
    const bool is_possible = quantity >= 1 && request.lease_ns >= 1 &&
                             request.lease_ns <= on.rules.lease_ns_max.count() &&
                             (on.kind != PoolKind::quota || request.count == 1);
    if (!is_possible) return Errc::invalid_argument;
    for (std::size_t k = 0; k < i; ++k) {
      if (request.items[k].resource == resource) return Errc::invalid_argument;
    }
  }
  const bool has_room =
      reservation_slots_.left() >= request.count + booking_slots_.used();  // those begin some day
  return has_room ? Errc::ok : Errc::capacity;
}

// One return each: a reply is made where its caller has room for it, and never moved.
ResourcePoolManager::Reply ResourcePoolManager::granted_now(const Request& request,
                                                            std::int64_t now_ns) noexcept {
  Reply reply;
  reply.resource = request.items[0].resource;
  reply.granted = grant(request, now_ns, &reply);
  reply.free = view(reply.resource).free;
  return reply;
}
ResourcePoolManager::Reply ResourcePoolManager::released(std::uint32_t slot,
                                                         std::int64_t now_ns) noexcept {
  Reply reply;
  reply.resource = reservations_[slot].resource;
  end(slot, PoolNotice::granted, now_ns);
  reply.free = view(reply.resource).free;
  return reply;
}

// Now, or in the queue, or not.
ResourcePoolManager::Reply ResourcePoolManager::ask(Request& request, Nanos wait,
                                                    std::int64_t now_ns) noexcept {
  const std::uint32_t first = request.items[0].resource;
  const Fit fit = fits(request, now_ns);
  if (fit == Fit::never) return refuse(Errc::insufficient_quantity);
  if (fit == Fit::too_much) return decline(Refusal::rejected_policy, first, Nanos{0});
  if (fit == Fit::yes && !must_queue(request, now_ns)) return granted_now(request, now_ns);
  bool is_full = request_slots_.left() == 0;
  for (std::size_t i = 0; i < request.count; ++i) {
    const Resource& on = resources_[request.items[i].resource];
    is_full = is_full || (on.waiting >= on.rules.queue_max && !MESH_MUTANT("pool.queue_max"));
  }
  const bool may_preempt = fit == Fit::not_now && !is_full && preempt(request, now_ns);
  if (may_preempt && fits(request, now_ns) == Fit::yes) {  // without grace they are gone
    return granted_now(request, now_ns);
  }
  if (wait.count() == 0 && !may_preempt) return decline(Refusal::would_block, first, Nanos{0});
  if (is_full) return refuse(Errc::capacity);
  const Nanos grace = may_preempt ? resources_[first].rules.grace_ns : Nanos{0};
  request.ticket = ++last_ticket_;
  request.since_ns = now_ns;
  request.deadline_ns = now_ns + std::max(wait, grace).count();
  request.preempts = may_preempt;
  enqueue(request);
  for (std::size_t i = 0; i < request.count; ++i) mark_dirty(request.items[i].resource);
  Reply reply;
  reply.resource = first;
  reply.refusal = Refusal::would_block;
  reply.ticket = request.ticket;
  reply.free = view(first).free;
  return reply;
}

ResourcePoolManager::Reply ResourcePoolManager::on(const pool::Allocate& order,
                                                   std::int64_t now_ns) noexcept {
  if (!order.purpose.empty() && !is_name(order.purpose)) return refuse(Errc::invalid_id);
  if (order.lease.count() < 0 || !is_duration(order.wait)) return refuse(Errc::invalid_argument);
  Request request;
  request.agent = order.agent;
  request.station = order.station;
  request.priority = order.priority;
  request.allow_partial = order.allow_partial;
  request.count = 1;
  request.items[0] = {order.resource, order.quantity};
  const bool is_known = is_resource(order.resource);
  request.lease_ns = order.lease.count() != 0 || !is_known
                         ? order.lease.count()
                         : resources_[order.resource].rules.lease_ns.count();
  const Errc bad = check(request);
  if (bad != Errc::ok) return refuse(bad);
  if (resources_[order.resource].kind == PoolKind::quota) return take_quota(order, now_ns);
  if (order.purpose.empty()) return ask(request, order.wait, now_ns);
  Reply reply = ask(request, order.wait, now_ns);
  if (reply.reservation != 0) {
    const std::uint32_t slot = reservation_index_.find(hash_of_serial(reply.reservation));
    purpose_sizes_[slot] = static_cast<std::uint8_t>(order.purpose.size());
    std::memcpy(purposes_[slot].data(), order.purpose.data(), order.purpose.size());
  }
  return reply;
}

ResourcePoolManager::Reply ResourcePoolManager::on(const pool::Gang& order,
                                                   std::int64_t now_ns) noexcept {
  const bool is_possible = !order.items.empty() && order.items.size() <= kItemsMax &&
                           order.lease.count() >= 0 && is_duration(order.wait);
  if (!is_possible) return refuse(Errc::invalid_argument);
  Request request;
  request.agent = order.agent;
  request.station = order.station;
  request.priority = order.priority;
  request.count = static_cast<std::uint32_t>(order.items.size());
  std::copy(order.items.begin(), order.items.end(), request.items.begin());
  request.lease_ns = order.lease.count() != 0 ? order.lease.count() : kNever;
  for (const auto& item : order.items) {
    if (!is_resource(item.resource)) return refuse(Errc::not_found);
    const Resource& on = resources_[item.resource];
    if (on.kind == PoolKind::quota) return refuse(Errc::invalid_argument);
    if (order.lease.count() == 0) {
      request.lease_ns = std::min(request.lease_ns, on.rules.lease_ns.count());
    }
  }
  const Errc bad = check(request);
  return bad == Errc::ok ? ask(request, order.wait, now_ns) : refuse(bad);
}

// --- what is reserved --------------------------------------------------------------------------

Errc ResourcePoolManager::find_mine(std::uint64_t id, std::uint32_t station,
                                    std::uint32_t& slot) const noexcept {
  slot = reservation_index_.find(hash_of_serial(id));
  if (slot != kNone) {
    const bool is_mine = station == 0 || reservations_[slot].station == station;
    return is_mine ? Errc::ok : Errc::not_authorized;
  }
  if (id == 0 || id > last_id_) return Errc::not_found;
  for (const Ended& one : ended_) {
    if (one.id != id) continue;
    return one.why == PoolNotice::preempted ? Errc::stale_token : Errc::expired;
  }
  return Errc::not_owner;
}

ResourcePoolManager::Reply ResourcePoolManager::on(const pool::Release& order,
                                                   std::int64_t now_ns) noexcept {
  std::uint32_t slot = kNone;
  const Errc bad = find_mine(order.reservation, order.station, slot);
  return bad != Errc::ok ? refuse(bad) : released(slot, now_ns);
}

ResourcePoolManager::Reply ResourcePoolManager::on(const pool::Renew& order,
                                                   std::int64_t now_ns) noexcept {
  std::uint32_t slot = kNone;
  const Errc bad = find_mine(order.reservation, order.station, slot);
  if (bad != Errc::ok) return refuse(bad);
  Reservation& one = reservations_[slot];
  const Resource& on = resources_[one.resource];
  const std::int64_t lease_ns = order.lease.count() != 0 ? order.lease.count() : one.lease_ns;
  if (lease_ns < 1 || lease_ns > on.rules.lease_ns_max.count()) {
    return refuse(Errc::invalid_argument);
  }
  // It must still fit beside what is booked.
  if (on.active + peak(one.resource, now_ns, now_ns + lease_ns) > limit_of(on)) {
    return decline(Refusal::would_block, one.resource, Nanos{0});
  }
  one.lease_ns = lease_ns;
  one.expires_ns = now_ns + lease_ns;
  if (!MESH_MUTANT("pool.renewed")) {
    lease_ends_.set(slot, std::min(one.expires_ns, one.revoke_ns), one.id);
  }
  view_changed_ = true;
  Reply reply;
  reply.resource = one.resource;
  reply.reservation = one.id;
  reply.fence = one.fence;
  reply.granted = one.quantity;
  reply.expires = Nanos{std::min(one.expires_ns, one.revoke_ns)};
  return reply;
}

ResourcePoolManager::Reply ResourcePoolManager::on(const pool::Resize& order,
                                                   std::int64_t now_ns) noexcept {
  std::uint32_t slot = kNone;
  const Errc bad = find_mine(order.reservation, order.station, slot);
  if (bad != Errc::ok) return refuse(bad);
  if (order.quantity == 0) return refuse(Errc::invalid_argument);
  Reservation& one = reservations_[slot];
  Resource& on = resources_[one.resource];
  if (order.quantity > one.quantity) {
    const std::uint64_t more = order.quantity - one.quantity;
    Request request;
    request.agent = one.agent;
    request.priority = one.priority;
    request.lease_ns = one.expires_ns - now_ns;
    request.count = 1;
    request.items[0] = {one.resource, more};
    if (order.quantity > limit_of(on)) return refuse(Errc::insufficient_quantity);
    const Fit fit = fits(request, now_ns);
    if (fit == Fit::too_much) return decline(Refusal::rejected_policy, one.resource, Nanos{0});
    if (fit != Fit::yes || must_queue(request, now_ns)) {
      return decline(Refusal::would_block, one.resource, Nanos{0});
    }
  }
  on.active += order.quantity - one.quantity;
  accounts_[one.account].held += order.quantity - one.quantity;
  one.quantity = order.quantity;
  mark_dirty(one.resource);
  note_load(one.resource, now_ns);
  view_changed_ = true;
  Reply reply;
  reply.resource = one.resource;
  reply.reservation = one.id;
  reply.fence = one.fence;
  reply.granted = one.quantity;
  reply.free = view(one.resource).free;
  return reply;
}

ResourcePoolManager::Reply ResourcePoolManager::on(const pool::Cancel& order,
                                                   std::int64_t) noexcept {
  for (std::uint32_t at = first_request_; at != kNone; at = requests_[at].link.next) {
    if (requests_[at].ticket != order.ticket) continue;
    if (order.station != 0 && requests_[at].station != order.station) {
      return refuse(Errc::not_authorized);
    }
    dequeue(at);
    ++counters_.cancelled;
    Reply reply;
    reply.ticket = order.ticket;
    return reply;
  }
  return refuse(Errc::not_found);
}

ResourcePoolManager::Reply ResourcePoolManager::on(const pool::Validate& order,
                                                   std::int64_t) noexcept {
  if (!is_resource(order.resource)) return refuse(Errc::not_found);
  for (std::uint32_t at = resources_[order.resource].first; at != kNone;
       at = reservations_[at].link.next) {
    if (reservations_[at].fence == order.fence) return {};
  }
  return refuse(Errc::stale_token);
}

// --- the form of every service -----------------------------------------------------------------

ResourcePoolManager::Reply ResourcePoolManager::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  return run(command, clock_.at(now));
}

ResourcePoolManager::Reply ResourcePoolManager::run(const Command& command,
                                                    std::int64_t now_ns) noexcept {
  const std::int64_t due_ns =
      std::min({lease_ends_.next_ns(), wait_ends_.next_ns(), booking_starts_.next_ns()});
  if (due_ns <= now_ns) catch_up(now_ns);
  Reply reply = std::visit([&](const auto& order) { return on(order, now_ns); }, command);
  if (dirty_count_ != 0) hand_out(now_ns);
  if (!news_.empty()) {
    reply.news.assign(news_.begin(), news_.end());
    news_.clear();
  }
  return reply;
}

void ResourcePoolManager::tick(Nanos now, Actions& out) noexcept {
  std::int64_t next_ns = kNever;
  if (ServiceClock::is_valid(now)) {
    const std::int64_t now_ns = clock_.at(now);
    catch_up(now_ns);
    for (std::uint32_t resource = 0; resource < config_.resources_max; ++resource) {
      if (!is_resource(resource)) continue;
      roll_windows(resource, now_ns);
      scale(resource, now_ns);
      next_ns = std::min(next_ns, scale_due_ns(resources_[resource]));
    }
    hand_out(now_ns);
  }
  out.news.assign(news_.begin(), news_.end());
  news_.clear();
  out.next_tick = Nanos{
      std::min({next_ns, lease_ends_.next_ns(), wait_ends_.next_ns(), booking_starts_.next_ns()})};
  out.view_changed = view_changed_;
  view_changed_ = false;
}

}  // namespace mesh::coordination
