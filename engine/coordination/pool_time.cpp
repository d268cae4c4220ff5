// Quotas and their credits, bookings, scale: what depends on the time.
#include <algorithm>

#include "engine/coordination/resource_pool.hpp"

namespace mesh::coordination {

// --- quotas ------------------------------------------------------------------------------------

ResourcePoolManager::Reply ResourcePoolManager::take_quota(const pool::Allocate& order,
                                                           std::int64_t now_ns) noexcept {
  roll_windows(order.resource, now_ns);
  Resource& on = resources_[order.resource];
  if (order.quantity > on.capacity && !order.allow_partial) {
    return refuse(Errc::insufficient_quantity);
  }
  const std::uint64_t kept = order.priority == kPriorityMax ? 0 : on.rules.min_reserve;
  const std::uint64_t left = on.capacity - std::min(on.capacity, on.active + kept);
  const std::uint64_t granted =
      order.allow_partial ? std::min(left, order.quantity) : order.quantity;
  if (granted == 0 || granted > left) {
    return decline(Refusal::quota_exhausted, order.resource, Nanos{on.window_ends_ns - now_ns});
  }
  if (granted < order.quantity) ++counters_.partial;
  on.active += granted;
  view_changed_ = true;
  Reply reply;
  reply.resource = order.resource;
  reply.granted = granted;
  reply.free = on.capacity - on.active;
  reply.expires = Nanos{on.window_ends_ns};
  return reply;
}

// Taken from the window when it is granted; what the station does not spend has lapsed.
ResourcePoolManager::Reply ResourcePoolManager::on(const pool::WantCredit& order,
                                                   std::int64_t now_ns) noexcept {
  if (!is_resource(order.resource)) return refuse(Errc::not_found);
  if (resources_[order.resource].kind != PoolKind::quota || order.quantity == 0) {
    return refuse(Errc::invalid_argument);
  }
  roll_windows(order.resource, now_ns);
  Resource& on = resources_[order.resource];
  __extension__ using Wide = unsigned __int128;
  const auto share = static_cast<std::uint64_t>(static_cast<Wide>(on.capacity) *
                                                config_.credit_share_ppm / 1'000'000);
  const std::uint64_t left = on.capacity - std::min(on.capacity, on.active + on.rules.min_reserve);
  const std::uint64_t granted = std::min({order.quantity, left, std::max<std::uint64_t>(1, share)});
  if (granted == 0) {
    Reply reply = decline(Refusal::no_credit, order.resource, Nanos{on.window_ends_ns - now_ns});
    return reply;
  }
  on.active += granted;
  counters_.credited += granted;
  view_changed_ = true;
  Reply reply;
  reply.resource = order.resource;
  reply.granted = granted;
  reply.free = on.capacity - on.active;
  reply.expires = Nanos{std::min(on.window_ends_ns, now_ns + config_.credit_expiry_ns.count())};
  return reply;
}

// --- bookings ----------------------------------------------------------------------------------

ResourcePoolManager::Reply ResourcePoolManager::on(const pool::Book& order,
                                                   std::int64_t now_ns) noexcept {
  if (order.agent >= config_.agents_max) return refuse(Errc::no_such_agent);
  if (!is_resource(order.resource)) return refuse(Errc::not_found);
  const Resource& on = resources_[order.resource];
  const std::int64_t start_ns = order.start.count();
  const bool is_possible = order.quantity >= 1 && start_ns > now_ns && start_ns <= kInstantMaxNs &&
                           is_positive_duration(order.duration) &&
                           order.duration <= on.rules.lease_ns_max && on.kind != PoolKind::quota;
  if (!is_possible) return refuse(Errc::invalid_argument);
  if (order.quantity > limit_of(on)) return refuse(Errc::insufficient_quantity);
  if (booking_slots_.left() == 0 || reservation_slots_.left() <= booking_slots_.used()) {
    return refuse(Errc::capacity);
  }
  const std::uint32_t account = account_of(order.agent, order.resource);
  const std::uint64_t has =
      account == kNone ? 0 : accounts_[account].held + accounts_[account].booked;
  if (has + order.quantity > agent_max(on)) {
    return decline(Refusal::rejected_policy, order.resource, Nanos{0});
  }
  std::uint64_t still_held = 0;  // by leases that reach into it
  for (std::uint32_t at = on.first; at != kNone; at = reservations_[at].link.next) {
    if (reservations_[at].expires_ns > start_ns) still_held += reservations_[at].quantity;
  }
  const std::int64_t end_ns = start_ns + order.duration.count();
  if (still_held + peak(order.resource, start_ns, end_ns) + order.quantity > limit_of(on)) {
    return decline(Refusal::would_block, order.resource, Nanos{0});
  }
  const std::uint32_t slot = booking_slots_.take();
  bookings_[slot] = {++last_ticket_, order.quantity, start_ns,     end_ns,
                     order.agent,    order.resource, order.station};
  accounts_[open_account(order.agent, order.resource)].booked += order.quantity;
  ++resources_[order.resource].bookings;
  booking_starts_.set(slot, start_ns, bookings_[slot].id);
  Reply reply;
  reply.resource = order.resource;
  reply.reservation = bookings_[slot].id;
  reply.granted = order.quantity;
  reply.expires = Nanos{end_ns};
  reply.free = view(order.resource).free;
  return reply;
}

ResourcePoolManager::Reply ResourcePoolManager::on(const pool::CancelBooking& order,
                                                   std::int64_t) noexcept {
  for (std::uint32_t slot = 0; slot < config_.bookings_max; ++slot) {
    if (!booking_slots_.is_used(slot) || bookings_[slot].id != order.booking) continue;
    if (order.station != 0 && bookings_[slot].station != order.station) {
      return refuse(Errc::not_authorized);
    }
    end_booking(slot);
    return {};
  }
  return refuse(Errc::not_found);
}

// A station's units, waits and bookings.
ResourcePoolManager::Reply ResourcePoolManager::on(const pool::StationClosed& order,
                                                   std::int64_t now_ns) noexcept {
  const std::uint32_t station = order.station;
  if (station == 0) return refuse(Errc::invalid_argument);
  Reply reply;
  for (std::uint32_t at = first_request_; at != kNone;) {
    const std::uint32_t next = requests_[at].link.next;
    if (requests_[at].station == station) {
      dequeue(at);
      ++counters_.cancelled;
    }
    at = next;
  }
  for (std::uint32_t slot = 0; slot < config_.bookings_max; ++slot) {
    if (booking_slots_.is_used(slot) && bookings_[slot].station == station) end_booking(slot);
  }
  for (std::uint32_t slot = 0; slot < config_.reservations_max; ++slot) {
    if (!reservation_slots_.is_used(slot) || reservations_[slot].station != station) continue;
    reply.granted += reservations_[slot].quantity;
    end(slot, PoolNotice::closed, now_ns);
  }
  return reply;
}

// --- what time does ----------------------------------------------------------------------------

void ResourcePoolManager::end_booking(std::uint32_t slot) noexcept {
  Booking& gone = bookings_[slot];
  --resources_[gone.resource].bookings;
  const std::uint32_t account = account_of(gone.agent, gone.resource);
  accounts_[account].booked -= gone.quantity;
  close_account(account);
  mark_dirty(gone.resource);
  booking_starts_.clear(slot);
  gone = {};
  booking_slots_.free(slot);
}

void ResourcePoolManager::begin_booking(std::uint32_t slot, std::int64_t now_ns) noexcept {
  const Booking booking = bookings_[slot];
  end_booking(slot);
  if (booking.end_ns <= now_ns) return;  // nobody looked while it lasted
  Request request;
  request.agent = booking.agent;
  request.station = booking.station;
  request.priority = kPriorityMax;  // paid for in advance: not preempted
  request.lease_ns = booking.end_ns - now_ns;
  request.count = 1;
  request.items[0] = {booking.resource, booking.quantity};
  const Reservation& fresh = reservations_[reserve(request, 0, booking.quantity, now_ns)];
  news_.push_back({PoolNotice::begun, fresh.agent, fresh.station, fresh.resource, booking.id,
                   fresh.id, fresh.fence, fresh.quantity, Nanos{fresh.expires_ns}});
}

void ResourcePoolManager::roll_windows(std::uint32_t resource, std::int64_t now_ns) noexcept {
  Resource& on = resources_[resource];
  if (on.kind != PoolKind::quota || now_ns < on.window_ends_ns) return;
  const std::int64_t window_ns = on.rules.window_ns.count();
  on.window_ends_ns += ((now_ns - on.window_ends_ns) / window_ns + 1) * window_ns;
  on.active = 0;
  view_changed_ = true;
}

// Since when it has been busy, or idle.
void ResourcePoolManager::note_load(std::uint32_t resource, std::int64_t now_ns) noexcept {
  Resource& on = resources_[resource];
  if (on.scale.max == 0) return;
  const bool is_above = on.active * 1'000'000 >= on.capacity * on.scale.up_ppm;
  const bool is_below = on.active * 1'000'000 <= on.capacity * on.scale.down_ppm;
  if (!is_above) on.above_since_ns = -1;
  if (is_above && on.above_since_ns < 0) on.above_since_ns = now_ns;
  if (!is_below) on.below_since_ns = -1;
  if (is_below && on.below_since_ns < 0) on.below_since_ns = now_ns;
}

// When it may scale next if nothing changes; kNever: not.
std::int64_t ResourcePoolManager::scale_due_ns(const Resource& on) const noexcept {
  const auto due = [&](std::int64_t since_ns, Nanos hold, Nanos cooldown) {
    if (since_ns < 0) return kNever;
    const std::int64_t rested_ns = on.scaled_ns < 0 ? 0 : on.scaled_ns + cooldown.count();
    return std::max(since_ns + hold.count(), rested_ns);
  };
  const bool can_grow = on.scale.max > on.capacity;
  const bool can_shrink = on.scale.max != 0 && on.capacity > on.scale.min;
  const std::int64_t up_ns =
      can_grow ? due(on.above_since_ns, on.scale.up_hold_ns, on.scale.up_cooldown_ns) : kNever;
  const std::int64_t down_ns =
      can_shrink ? due(on.below_since_ns, on.scale.down_hold_ns, on.scale.down_cooldown_ns)
                 : kNever;
  return std::min(up_ns, down_ns);
}

void ResourcePoolManager::scale(std::uint32_t resource, std::int64_t now_ns) noexcept {
  Resource& on = resources_[resource];
  if (on.scale.max == 0 || scale_due_ns(on) > now_ns) return;
  const std::uint64_t before = on.capacity;
  const std::uint64_t step = std::max<std::uint64_t>(1, before * on.scale.step_ppm / 1'000'000);
  if (on.above_since_ns >= 0 && before < on.scale.max) {
    on.capacity = std::min(on.scale.max, before + step);
    ++counters_.scaled_up;
  } else {
    const std::uint64_t needed = on.active + peak(resource, now_ns, kNever);
    const std::uint64_t least = std::max({on.scale.min, needed, std::uint64_t{1}});
    on.capacity = std::max(least, before - std::min(before, step));
    if (on.capacity >= before) {
      on.capacity = before;
      on.below_since_ns = now_ns;  // asked again after another hold
      return;
    }
    ++counters_.scaled_down;
  }
  on.scaled_ns = now_ns;
  on.above_since_ns = on.below_since_ns = -1;
  note_load(resource, now_ns);
  emit(Event::scaled, Severity::info, now_ns, {resource, before, on.capacity});
  mark_dirty(resource);
  view_changed_ = true;
}

// Leases first, then what is booked from now on, then those that have waited too long.
void ResourcePoolManager::catch_up(std::int64_t now_ns) noexcept {
  for (std::uint32_t slot; (slot = lease_ends_.pop_due(now_ns)) != kNone;) {
    const Reservation& one = reservations_[slot];
    const bool is_preempted = one.revoke_ns <= now_ns;
    if (!is_preempted) {
      emit(Event::expired, Severity::info, now_ns, {one.agent, one.id, one.fence});
    }
    end(slot, is_preempted ? PoolNotice::preempted : PoolNotice::expired, now_ns);
  }
  for (std::uint32_t slot; (slot = booking_starts_.pop_due(now_ns)) != kNone;) {
    begin_booking(slot, now_ns);
  }
  hand_out(now_ns);
  for (std::uint32_t slot; (slot = wait_ends_.pop_due(now_ns)) != kNone;) {
    const Request late = requests_[slot];
    dequeue(slot);
    ++counters_.timeouts;
    news_.push_back({PoolNotice::timed_out, late.agent, late.station, late.items[0].resource,
                     late.ticket, 0, 0, 0, Nanos{now_ns}});
    hand_out(now_ns);
  }
}

}  // namespace mesh::coordination
