// What this node's own instances do: register, renew, change, end.
#include "engine/coordination/service_discovery.hpp"

#include <algorithm>

#include "engine/coordination/blocks/mutant.hpp"

namespace mesh::coordination {
ServiceDiscovery::ServiceDiscovery(const Config& config, std::uint64_t seed)
    : ServiceForm(config),
      rng_(seed),
      slots_(config.instances_max),
      index_(config.instances_max, config.types_max),
      ids_(config.instances_max),
      types_(config.types_max),
      type_ids_(config.types_max),
      store_(config.store_bytes),
      tree_(config.instances_max),
      leases_(config.instances_max),
      probes_(config.instances_max),
      nodes_(config.instances_max),
      changes_(config.changes_max),
      heard_summaries_(config.summaries_max),
      summary_ids_(std::max(1U, config.summaries_max)),
      partition_({config.share_min, config.partition_checks}) {
  free_.reserve(slots_.size());
  for (auto i = static_cast<std::uint32_t>(slots_.size()); i != 0; --i) free_.push_back(i - 1);
  free_types_.reserve(types_.size());
  for (auto i = static_cast<std::uint32_t>(types_.size()); i != 0; --i) {
    free_types_.push_back(i - 1);
  }
  free_summaries_.reserve(config.summaries_max);
  for (std::uint32_t i = config.summaries_max; i != 0; --i) free_summaries_.push_back(i - 1);
  peers_.reserve(config.peers_max);
  const std::array<std::byte, kTextBytesMax> room{};
  scratch_.append(room);
  scratch_.clear();
}

ServiceDiscovery::Reply ServiceDiscovery::owned(std::uint32_t slot) const noexcept {
  const Slot& one = slots_[slot];
  Reply reply;
  reply.incarnation = one.order.incarnation;
  reply.sequence = one.order.sequence;
  reply.version = version_;
  return reply;
}

// What settle() will touch of it, all on its way at once.
void ServiceDiscovery::prefetch(std::uint32_t slot) const noexcept {
  const auto* const bytes = reinterpret_cast<const std::byte*>(&slots_[slot]);
  for (std::size_t at = 0; at < sizeof(Slot); at += 64) __builtin_prefetch(bytes + at);
  tree_.prefetch_entry(slot);
  nodes_.prefetch(slot);
  if (slots_[slot].place == kNone) return;
  __builtin_prefetch(&index_[slots_[slot].place]);
}

// A live instance of this node within its lease, held by `station`.
Errc ServiceDiscovery::find_own(std::string_view instance, std::uint32_t station,
                                std::int64_t now_ns, std::uint32_t& slot) const noexcept {
  if (!is_name(instance)) return Errc::invalid_id;
  const IdHash id = hash_of(instance);
  tree_.prefetch(id);
  slot = ids_.find(id);
  if (slot == kNone) return Errc::not_found;
  prefetch(slot);
  const Slot& one = slots_[slot];
  if (!is_own(one)) return one.is_live() ? Errc::not_owner : Errc::not_found;
  const bool is_over = now_ns >= one.expires_ns && !MESH_MUTANT("discovery.lease");
  if (!one.is_live() || is_over) return Errc::expired;
  const bool is_its = one.station == station || MESH_MUTANT("discovery.owner");
  return is_its ? Errc::ok : Errc::not_owner;
}

// --- registration ------------------------------------------------------------------------------

ServiceDiscovery::Reply ServiceDiscovery::register_one(const discovery::Register& wanted,
                                                       std::int64_t now_ns) noexcept {
  TypeName type;
  if (!is_name(wanted.instance) || !type.parse(wanted.type) || type.is_prefix) {
    return refuse(Errc::invalid_id);
  }
  const IdHash id = hash_of(wanted.instance);
  ids_.prefetch(id);
  tree_.prefetch(id);
  store_.prefetch_free();
  const Nanos lease = wanted.lease.count() == 0 ? config_.lease_ns : wanted.lease;
  const bool is_start = wanted.status <= InstanceStatus::not_ready;
  if (lease < config_.lease_ns_min || lease > config_.lease_ns_max || !is_start) {
    return refuse(Errc::invalid_argument);
  }
  Offered offer{wanted.instance,
                type.view(),
                wanted.name,
                wanted.agent,
                wanted.endpoint,
                wanted.version,
                &wanted.locality,
                wanted.attributes,
                wanted.weight,
                wanted.status,
                0,
                lease.count()};
  if (const Errc judged = judge(offer); judged != Errc::ok) return refuse(judged);
  std::uint32_t slot = find_slot(id);
  if (slot != kNone || !free_.empty()) prefetch(slot != kNone ? slot : free_.back());
  const bool is_there = slot != kNone && slots_[slot].is_live() && now_ns < slots_[slot].expires_ns;
  if (is_there && (!is_own(slots_[slot]) || slots_[slot].station != wanted.station)) {
    return refuse(Errc::already_exists);
  }
  if (slot != kNone && slots_[slot].order.incarnation >= kIncarnationMax) {
    return refuse(Errc::overflow);
  }
  if (!has_room(offer, slot)) return refuse(Errc::capacity);
  if (slot == kNone) {
    slot = take_slot(id);
    slots_[slot].order = {config_.incarnation_first, false, 1, config_.self};
    ++counters_.registered;
  } else if (is_there) {
    ++slots_[slot].order.sequence;
    offer.load_ppm = slots_[slot].load_ppm;
  } else {
    const std::uint64_t above = MESH_MUTANT("discovery.incarnation") ? 0 : 1;
    slots_[slot].order = {
        std::max(slots_[slot].order.incarnation + above, config_.incarnation_first), false, 1,
        config_.self};
    ++counters_.registered;
  }
  slots_[slot].station = wanted.station;
  store(slot, offer, now_ns);
  settle(slot, now_ns + lease.count());
  Reply reply = owned(slot);
  reply.expires = Nanos{slots_[slot].expires_ns};
  reply.renew_at = Nanos{now_ns} + config_.refresh_ns;
  return reply;
}

ServiceDiscovery::Reply ServiceDiscovery::renew(const discovery::Renew& wanted,
                                                std::int64_t now_ns) noexcept {
  std::uint32_t slot = kNone;
  const Errc found = find_own(wanted.instance, wanted.station, now_ns, slot);
  if (found != Errc::ok) return refuse(found);
  ++slots_[slot].order.sequence;
  settle(slot, now_ns + slots_[slot].lease_ns);
  ++counters_.renewed;
  Reply reply = owned(slot);
  reply.expires = Nanos{slots_[slot].expires_ns};
  reply.renew_at = Nanos{now_ns} + config_.refresh_ns;
  return reply;
}

ServiceDiscovery::Reply ServiceDiscovery::deregister(const discovery::Deregister& gone,
                                                     std::int64_t now_ns) noexcept {
  std::uint32_t slot = kNone;
  const Errc found = find_own(gone.instance, gone.station, now_ns, slot);
  if (found != Errc::ok) return refuse(found);
  bury(slot, slots_[slot].order, now_ns + config_.tombstone_ns.count(), now_ns);
  ++counters_.deregistered;
  return owned(slot);
}

ServiceDiscovery::Reply ServiceDiscovery::set_status(std::string_view instance,
                                                     std::uint32_t station, InstanceStatus status,
                                                     std::int64_t now_ns) noexcept {
  std::uint32_t slot = kNone;
  const Errc found = find_own(instance, station, now_ns, slot);
  if (found != Errc::ok) return refuse(found);
  if (status > InstanceStatus::draining) return refuse(Errc::invalid_argument);
  Slot& one = slots_[slot];
  if (one.declared == InstanceStatus::draining && status != InstanceStatus::draining &&
      !MESH_MUTANT("discovery.draining")) {
    return refuse(Errc::wrong_state);  // it is going; registering again takes it back
  }
  one.declared = status;
  if (one.status != status) {
    one.status = status;
    one.misses = {};  // its probes have to fail again
    change(slot, now_ns);
  }
  return owned(slot);
}

ServiceDiscovery::Reply ServiceDiscovery::update_load(const discovery::UpdateLoad& load,
                                                      std::int64_t now_ns) noexcept {
  std::uint32_t slot = kNone;
  const Errc found = find_own(load.instance, load.station, now_ns, slot);
  if (found != Errc::ok) return refuse(found);
  if (load.load_ppm > kLoadFull) return refuse(Errc::invalid_argument);
  if (slots_[slot].load_ppm != load.load_ppm) {
    slots_[slot].load_ppm = load.load_ppm;
    change(slot, now_ns);
  }
  return owned(slot);
}

// Its leases end now, in the order in which leases end.
ServiceDiscovery::Reply ServiceDiscovery::close_station(std::uint32_t station,
                                                        std::int64_t now_ns) noexcept {
  if (station == 0) return refuse(Errc::invalid_argument);
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    Slot& one = slots_[i];
    if (!one.is_live() || !is_own(one) || one.station != station) continue;
    one.expires_ns = std::min(one.expires_ns, now_ns);
    queue(i);
  }
  expire_due(now_ns);
  Reply reply;
  reply.version = version_;
  return reply;
}

// A later end waits until the earlier one comes up: renewing moves nothing.
void ServiceDiscovery::queue(std::uint32_t slot) noexcept {
  Slot& one = slots_[slot];
  if (leases_.has(slot) && one.queued_ns <= one.expires_ns) return;
  one.queued_ns = one.expires_ns;
  leases_.set(slot, one.expires_ns, one.id.low);
}

void ServiceDiscovery::expire_due(std::int64_t now_ns) noexcept {
  for (;;) {
    const std::uint32_t slot = leases_.pop_due(now_ns);
    if (slot == DeadlineHeap::kNone) return;
    if (slots_[slot].queued_ns != slots_[slot].expires_ns) {
      queue(slot);  // it was renewed since; or its turn comes later among these
      continue;
    }
    if (!slots_[slot].is_live()) {
      drop(slot);
      continue;
    }
    ++counters_.expired;
    bury(slot, slots_[slot].order, now_ns + config_.tombstone_ns.count(), now_ns);
  }
}

// --- commands ----------------------------------------------------------------------------------

ServiceDiscovery::Reply ServiceDiscovery::apply_own(const Command& command,
                                                    std::int64_t now_ns) noexcept {
  if (const auto* renewal = std::get_if<discovery::Renew>(&command)) {
    return renew(*renewal, now_ns);
  }
  if (const auto* wanted = std::get_if<discovery::Register>(&command)) {
    return register_one(*wanted, now_ns);
  }
  if (const auto* load = std::get_if<discovery::UpdateLoad>(&command)) {
    return update_load(*load, now_ns);
  }
  if (const auto* gone = std::get_if<discovery::Deregister>(&command)) {
    return deregister(*gone, now_ns);
  }
  if (const auto* drain = std::get_if<discovery::Drain>(&command)) {
    return set_status(drain->instance, drain->station, InstanceStatus::draining, now_ns);
  }
  const auto& status = std::get<discovery::SetStatus>(command);
  if (status.status > InstanceStatus::not_ready) return refuse(Errc::invalid_argument);
  return set_status(status.instance, status.station, status.status, now_ns);
}

ServiceDiscovery::Reply ServiceDiscovery::apply_rest(const Command& command,
                                                     std::int64_t now_ns) noexcept {
  if (const auto* seen = std::get_if<discovery::Observe>(&command)) return observe(*seen);
  if (const auto* wanted = std::get_if<discovery::SetProbing>(&command)) {
    return set_probing(*wanted, now_ns);
  }
  if (const auto* result = std::get_if<discovery::ProbeResult>(&command)) {
    return probe_result(*result, now_ns);
  }
  if (const auto* closed = std::get_if<discovery::StationClosed>(&command)) {
    return close_station(closed->station, now_ns);
  }
  if (const auto* heard = std::get_if<discovery::Hear>(&command)) return hear(*heard, now_ns);
  return of_peer(command);
}

ServiceDiscovery::Reply ServiceDiscovery::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  const bool is_of_own = command.index() <= 5;
  static_assert(std::is_same_v<std::variant_alternative_t<5, Command>, discovery::UpdateLoad>);
  return is_of_own ? apply_own(command, now_ns) : apply_rest(command, now_ns);
}

void ServiceDiscovery::tick(Nanos now, Actions& out) noexcept {
  out.sends.clear();
  out.probes.clear();
  out.view_changed = false;
  if (!ServiceClock::is_valid(now)) return;
  const std::int64_t now_ns = clock_.at(now);
  expire_due(now_ns);
  probe_due(now_ns, out);
  if (now_ns >= next_gossip_ns_) {
    next_gossip_ns_ = now_ns + config_.gossip_ns.count();
    check_partition(now_ns, out);
    gossip(now_ns, out);
  }
  if (now_ns >= next_compare_ns_) {
    next_compare_ns_ = now_ns + config_.anti_entropy_ns.count();
    compare_roots(out);
    forget_summaries(now_ns);
    send_summaries(now_ns, out);
  }
  out.view_changed = seen_version_ != version_;
  seen_version_ = version_;
}

}  // namespace mesh::coordination
