#include "engine/coordination/swim_membership.hpp"

#include <algorithm>

namespace mesh::coordination {
SwimMembership::SwimMembership(const SwimConfig& config, std::uint64_t seed)
    : config_(config),
      rng_(seed),
      members_(config.members_max),
      slots_(config.members_max),
      index_(config.members_max),
      deadlines_(config.members_max),
      relays_(config.relays_max),
      reserved_until_(config.incarnation_first + config.incarnation_block - 1) {
  order_.reserve(config.members_max);
  pending_.reserve(config.members_max);
  slots_.use(0);
  members_[0].id = config.self;
  members_[0].incarnation = config.incarnation_first;
  index_.set(hash_of(config.self, 0), 0);
  spread(0);
}

// --- who is known ------------------------------------------------------------------------------

std::uint32_t SwimMembership::slot_of(std::uint64_t member) const noexcept {
  return index_.find(hash_of(member, 0));
}
const SwimMembership::Member* SwimMembership::find(std::uint64_t member) const noexcept {
  const std::uint32_t slot = slot_of(member);
  return slot == kNone ? nullptr : &members_[slot];
}

std::uint32_t SwimMembership::insert(const SwimRecord& record, std::int64_t now_ns) noexcept {
  const std::uint32_t slot = slots_.take();
  if (slot == kNone) {
    ++counters_.unknown;
    return kNone;
  }
  Member& fresh = members_[slot] = {};
  fresh.id = record.member;
  fresh.incarnation = record.incarnation;
  fresh.since_ns = now_ns;
  fresh.address.assign(record.address);
  fresh.metadata.assign(record.metadata);
  fresh.has_changed = any_changed_ = true;
  index_.set(hash_of(record.member, 0), slot);
  ++live_;
  // Anywhere in the order: otherwise those who join together are probed together.
  const auto place = static_cast<std::uint32_t>(rng_.below(order_.size() + 1));
  order_.insert(order_.begin() + place, slot);  // reserved
  if (place < next_) ++next_;
  spread(slot);
  return slot;
}

Errc SwimMembership::add(const SwimRecord& record, std::int64_t now_ns,
                         GossipOutbox& out) noexcept {
  const bool is_possible = record.member != 0 && record.member != config_.self &&
                           record.incarnation != 0 && record.incarnation <= kGossipIncarnationMax &&
                           record.address.size() <= kAddressBytesMax &&
                           record.metadata.size() <= kMetadataBytesMax;
  if (!is_possible) return Errc::invalid_argument;
  if (slot_of(record.member) != kNone) return Errc::already_exists;
  if (slots_.left() == 0) return Errc::capacity;
  insert(record, now_ns);
  ask_sync(record.member, out);
  return Errc::ok;
}

void SwimMembership::drop(std::uint32_t slot) noexcept {
  const auto at = std::find(order_.begin(), order_.end(), slot);
  if (static_cast<std::uint32_t>(at - order_.begin()) < next_) --next_;
  order_.erase(at);
  pending_.erase(std::remove(pending_.begin(), pending_.end(), slot), pending_.end());
  deadlines_.clear(slot);
  index_.erase(hash_of(members_[slot].id, 0));
  slots_.free(slot);
  members_[slot] = {};
}
Errc SwimMembership::remove(std::uint64_t member) noexcept {
  const std::uint32_t slot = slot_of(member);
  if (slot == kNone || slot == 0) return slot == 0 ? Errc::invalid_argument : Errc::not_found;
  if (is_live(members_[slot])) return Errc::wrong_state;
  drop(slot);
  return Errc::ok;
}

Errc SwimMembership::set_self(std::string_view address, std::string_view metadata) noexcept {
  const bool fits = address.size() <= kAddressBytesMax && metadata.size() <= kMetadataBytesMax;
  if (!fits) return Errc::invalid_argument;
  Member& me = members_[0];
  if (me.address.view() == address && me.metadata.view() == metadata) return Errc::ok;
  me.address.assign(address);
  me.metadata.assign(metadata);
  refute(me.incarnation, false);
  return Errc::ok;
}
void SwimMembership::leave() noexcept {
  if (is_leaving_) return;
  is_leaving_ = true;
  if (probed() != 0) ++counters_.failed;  // nobody waits for the answer
  probe_ = {};
  members_[0].state = MemberState::left;
  members_[0].has_changed = any_changed_ = true;
  spread(0);
}

// --- this one's incarnation --------------------------------------------------------------------

void SwimMembership::refute(std::uint64_t seen, bool is_accused) noexcept {
  Member& me = members_[0];
  if (is_leaving_) return;
  const std::uint64_t next = std::max(seen, me.incarnation) + 1;
  if (next > kGossipIncarnationMax) return;
  if (is_accused) {
    ++counters_.refuted;
    doubt(1);
  }
  if (next > reserved_until_) {  // not before a restart would know of it
    owed_ = std::max(owed_, next);
    wanted_until_ = owed_ + config_.incarnation_block;
    return;
  }
  me.incarnation = next;
  if (reserved_until_ - next < config_.incarnation_block / 2) {
    wanted_until_ = reserved_until_ + config_.incarnation_block;
  }
  spread(0);
}
void SwimMembership::reserved(std::uint64_t until) noexcept {
  reserved_until_ = std::max(reserved_until_, until);
  if (reserved_until_ >= wanted_until_) wanted_until_ = 0;
  if (owed_ == 0 || owed_ > reserved_until_) return;
  members_[0].incarnation = std::max(members_[0].incarnation, owed_);
  owed_ = 0;
  spread(0);
}
void SwimMembership::doubt(std::int32_t by) noexcept {
  const auto now = static_cast<std::int32_t>(awareness_) + by;
  awareness_ = static_cast<std::uint32_t>(
      std::clamp(now, 0, static_cast<std::int32_t>(config_.awareness_max)));
}

// --- word of others ----------------------------------------------------------------------------

void SwimMembership::spread(std::uint32_t slot) noexcept {
  Member& one = members_[slot];
  one.transmits = 0;
  if (one.is_pending) return;
  one.is_pending = true;
  pending_.push_back(slot);  // reserved
}

void SwimMembership::apply(const SwimUpdate& update, std::int64_t now_ns) noexcept {
  ++counters_.updates_heard;
  const std::uint32_t slot = slot_of(update.member);
  if (slot == 0) {
    const Member& me = members_[0];
    const bool is_alive = update.state == MemberState::alive;
    if (update.incarnation > me.incarnation || (!is_alive && update.incarnation == me.incarnation))
      refute(update.incarnation, !is_alive);
    return;
  }
  if (slot == kNone) {
    const bool is_joining = update.state == MemberState::alive && !is_leaving_;
    if (is_joining) {
      insert({update.member, update.incarnation, update.address, update.metadata}, now_ns);
    }
    return;
  }
  const Member& one = members_[slot];
  const bool is_echo = update.state == MemberState::suspect && one.state == MemberState::suspect &&
                       update.incarnation == one.incarnation;
  if (is_echo) return confirm(slot, update.accuser);
  if (swim_overrides(update.state, update.incarnation, one.state, one.incarnation)) {
    turn(slot, update, now_ns);
  }
}

void SwimMembership::turn(std::uint32_t slot, const SwimUpdate& update,
                          std::int64_t now_ns) noexcept {
  Member& one = members_[slot];
  const bool was_live = is_live(one);
  const bool is_new_state = one.state != update.state;
  one.state = update.state;
  one.incarnation = update.incarnation;
  if (is_new_state || update.state == MemberState::suspect) one.since_ns = now_ns;
  one.has_changed = one.has_changed || is_new_state;
  any_changed_ = any_changed_ || is_new_state;
  if (was_live != is_live(one)) live_ += is_live(one) ? 1U : UINT32_MAX;  // one less
  deadlines_.clear(slot);
  one.confirmations = 0;
  one.calls = 0;
  one.accuser = update.accuser;
  switch (update.state) {
    case MemberState::alive:
      if (!update.address.empty()) one.address.assign(update.address);
      if (!update.metadata.empty()) one.metadata.assign(update.metadata);
      break;
    case MemberState::suspect:
      one.confirmers[0] = update.accuser;
      ++counters_.suspected;
      set_deadline(slot);
      break;
    default:
      counters_.died += update.state == MemberState::dead ? 1U : 0U;
      deadlines_.set(slot, now_ns + config_.reap_ns.count(), one.id);
  }
  spread(slot);
}

// One more that cannot reach it: the sooner it is dead.
void SwimMembership::confirm(std::uint32_t slot, std::uint64_t accuser) noexcept {
  Member& one = members_[slot];
  const auto known = std::span(one.confirmers).first(one.confirmations + 1);
  if (one.confirmations + 1 == kConfirmersMax) return;
  if (std::find(known.begin(), known.end(), accuser) != known.end()) return;
  one.confirmers[++one.confirmations] = accuser;
  one.accuser = accuser;
  set_deadline(slot);
  spread(slot);
}

std::int64_t SwimMembership::suspicion_ends_ns(const Member& one) const noexcept {
  const double min_ms = static_cast<double>(suspicion_min().count()) / kNsPerMs;
  const double max_ms = min_ms * config_.suspicion_max_factor;
  std::uint32_t k = config_.suspicion_mult - std::min(config_.suspicion_mult, 2U);
  if (live_ < k + 2) k = 0;  // too few to confirm anything
  const double ms = suspicion_timeout_ms(one.confirmations, k, min_ms, max_ms);
  return one.since_ns + static_cast<std::int64_t>(ms * kNsPerMs);
}
// Word of a refutation goes out a limited number of times, so now and then somebody misses it all
// and would bury who has long answered. So what is believed is said once more before it is acted
// on: two periods before the first instant at which it can end, and again before it does. Whoever
// knows better says so (take_updates).
void SwimMembership::set_deadline(std::uint32_t slot) noexcept {
  const Member& one = members_[slot];
  const std::int64_t ends_ns = suspicion_ends_ns(one);
  const std::int64_t ahead_ns = 2 * config_.period_ns.count();
  std::int64_t at_ns = ends_ns;
  if (one.calls == 0) at_ns = one.since_ns + suspicion_min().count() - ahead_ns;
  if (one.calls == 1) at_ns = ends_ns - ahead_ns;
  deadlines_.set(slot, std::max(std::min(at_ns, ends_ns), one.since_ns + 1), one.id);
}

Nanos SwimMembership::suspicion_min() const noexcept {
  const double period_ms = static_cast<double>(config_.period_ns.count()) / kNsPerMs;
  const double ms = suspicion_min_ms(config_.suspicion_mult, live_, period_ms);
  return Nanos{static_cast<std::int64_t>(ms * kNsPerMs)};
}
Nanos SwimMembership::suspicion_max() const noexcept {
  return suspicion_min() * std::int64_t{config_.suspicion_max_factor};
}

// --- turns -------------------------------------------------------------------------------------

void SwimMembership::tick(std::int64_t now_ns, GossipOutbox& out) noexcept {
  expire(now_ns, out);
  if (!is_leaving_) {
    if (probe_.phase == Phase::direct && now_ns >= probe_.direct_ns) {
      ask_others(out);
      // Whoever comes late to this gives the others their time all the same.
      round_ns_ = std::max(round_ns_, now_ns + scaled(config_.timeout_ns));
    }
    if (now_ns >= round_ns_) {
      end_round(now_ns);
      begin_round(now_ns, out);
    }
  }
  if (now_ns >= gossip_ns_) {
    gossip_ns_ = now_ns + config_.gossip_ns.count();
    gossip(now_ns, out);
  }
}

std::int64_t SwimMembership::next_ns() const noexcept {
  std::int64_t next = deadlines_.next_ns();
  if (!pending_.empty()) next = std::min(next, gossip_ns_);
  if (!is_leaving_) next = std::min(next, round_ns_);
  if (probe_.phase == Phase::direct) next = std::min(next, probe_.direct_ns);
  for (const auto& relay : relays_) {
    if (relay.is_used) next = std::min(next, relay.until_ns);
  }
  return next;
}

void SwimMembership::expire(std::int64_t now_ns, GossipOutbox& out) noexcept {
  for (auto& relay : relays_) {
    if (!relay.is_used || now_ns < relay.until_ns) continue;
    relay.is_used = false;
    StateWriter& writer = begin_to(nack, relay.origin, out);
    writer.put(relay.origin_sequence);
    writer.put(members_[0].incarnation);
    writer.put(std::uint64_t{0});
    writer.put(false);
    out.end(GossipLane::answer, relay.origin_sequence);
  }
  for (auto slot = deadlines_.pop_due(now_ns); slot != kNone; slot = deadlines_.pop_due(now_ns)) {
    Member& one = members_[slot];
    if (one.state == MemberState::suspect && one.calls < 2) {
      ++one.calls;
      spread(slot);
      set_deadline(slot);
    } else if (one.state == MemberState::suspect) {
      turn(slot, {MemberState::dead, one.id, one.incarnation, config_.self, {}, {}}, now_ns);
    } else {
      drop(slot);
    }
  }
}

std::uint32_t SwimMembership::next_target() noexcept {
  for (std::size_t tries = 0; tries <= order_.size(); ++tries) {
    if (next_ == order_.size()) {
      for (std::size_t i = order_.size(); i > 1; --i) {
        std::swap(order_[i - 1], order_[rng_.below(i)]);
      }
      next_ = 0;
      if (order_.empty()) return kNone;
    }
    const std::uint32_t slot = order_[next_++];
    if (is_live(members_[slot])) return slot;
  }
  return kNone;
}

void SwimMembership::begin_round(std::int64_t now_ns, GossipOutbox& out) noexcept {
  round_ns_ = now_ns + scaled(config_.period_ns);
  knock_at_dead(out);
  const std::uint32_t slot = next_target();
  if (slot == kNone) return;
  probe_.phase = Phase::direct;
  probe_.slot = slot;
  probe_.sequence = ++sequence_;
  probe_.sent_ns = now_ns;
  probe_.direct_ns = now_ns + scaled(config_.timeout_ns);
  probe_.asked = probe_.nacks = 0;
  ++counters_.probes;
  StateWriter& writer = begin_to(ping, members_[slot].id, out);
  writer.put(probe_.sequence);
  writer.put(members_[0].incarnation);
  writer.put(members_[slot].id);
  put_updates(members_[slot].id, writer, out);
  out.end(GossipLane::probe, probe_.sequence);
}

void SwimMembership::ask_others(GossipOutbox& out) noexcept {
  probe_.phase = Phase::indirect;
  if (!slots_.is_used(probe_.slot)) return;
  const std::uint64_t target = members_[probe_.slot].id;
  std::array<std::uint64_t, 16> helpers{};
  const std::size_t wanted = std::min<std::size_t>(config_.indirect + 1, helpers.size());
  const std::size_t count = random_members(rng_, std::span(helpers).first(wanted));
  for (std::size_t i = 0; i < count && probe_.asked < config_.indirect; ++i) {
    if (helpers[i] == target) continue;
    ++probe_.asked;
    ++counters_.ping_reqs;
    StateWriter& writer = begin_to(ping_req, helpers[i], out);
    writer.put(probe_.sequence);
    writer.put(members_[0].incarnation);
    writer.put(target);
    put_updates(helpers[i], writer, out);
    out.end(GossipLane::ping_req, probe_.sequence);
  }
}

void SwimMembership::end_round(std::int64_t now_ns) noexcept {
  const Probe probe = probe_;
  probe_ = {};
  const bool has_failed = probe.phase == Phase::direct || probe.phase == Phase::indirect;
  if (!has_failed) return;
  ++counters_.failed;
  const std::uint32_t missed = probe.asked - std::min(probe.asked, probe.nacks);
  counters_.nacks_missed += missed;
  doubt(1 + static_cast<std::int32_t>(missed));
  if (!slots_.is_used(probe.slot)) return;
  const Member& one = members_[probe.slot];
  apply({MemberState::suspect, one.id, one.incarnation, config_.self, {}, {}}, now_ns);
}

// After a partition both sides hold each other for dead, and nobody probes the dead: this does.
void SwimMembership::knock_at_dead(GossipOutbox& out) noexcept {
  std::uint32_t chosen = kNone;
  std::uint64_t seen = 0;
  for_members([&](const Member& one, std::uint32_t slot) {
    if (one.state == MemberState::dead && rng_.below(++seen) == 0) chosen = slot;
  });
  if (chosen != kNone) knock(chosen, out);
}
void SwimMembership::knock(std::uint32_t slot, GossipOutbox& out) noexcept {
  StateWriter& writer = begin_to(ping, members_[slot].id, out);
  writer.put(std::uint64_t{0});
  writer.put(members_[0].incarnation);
  writer.put(members_[slot].id);
  put_updates(members_[slot].id, writer, out);
  out.end(GossipLane::probe);
}

void SwimMembership::gossip(std::int64_t now_ns, GossipOutbox& out) noexcept {
  if (pending_.empty()) return;
  std::array<std::uint64_t, 16> targets{};
  const std::size_t wanted = std::min<std::size_t>(config_.fanout, targets.size());
  std::uint64_t seen = 0;
  for_members([&](const Member& one, std::uint32_t) {
    const bool may_refute =
        one.state == MemberState::dead && now_ns - one.since_ns < config_.dead_keep_ns.count();
    if (!is_live(one) && !may_refute) return;
    const std::uint64_t place = seen < wanted ? seen : rng_.below(seen + 1);
    ++seen;
    if (place < wanted) targets[place] = one.id;
  });
  for (std::size_t i = 0; i < std::min<std::uint64_t>(seen, wanted); ++i) {
    if (pending_.empty()) return;
    StateWriter& writer = begin_to(updates, targets[i], out);
    writer.put(std::uint64_t{0});
    writer.put(members_[0].incarnation);
    writer.put(std::uint64_t{0});
    put_updates(targets[i], writer, out);
    out.end(GossipLane::answer);
  }
}

std::size_t SwimMembership::random_members(Rng& rng, std::span<std::uint64_t> into) const noexcept {
  std::uint64_t seen = 0;
  for_members([&](const Member& one, std::uint32_t) {
    if (!is_live(one)) return;
    const std::uint64_t place = seen < into.size() ? seen : rng.below(seen + 1);
    ++seen;
    if (place < into.size()) into[place] = one.id;
  });
  return static_cast<std::size_t>(std::min<std::uint64_t>(seen, into.size()));
}
std::uint64_t SwimMembership::random_member(Rng& rng, std::uint64_t except) const noexcept {
  std::uint64_t chosen = 0;
  std::uint64_t seen = 0;
  for_members([&](const Member& one, std::uint32_t) {
    if (is_live(one) && one.id != except && rng.below(++seen) == 0) chosen = one.id;
  });
  return chosen;
}
std::uint64_t SwimMembership::probed() const noexcept {
  const bool is_out = probe_.phase == Phase::direct || probe_.phase == Phase::indirect;
  return is_out ? members_[probe_.slot].id : 0;
}

}  // namespace mesh::coordination
