// What a registry looks like from outside: its presets, the range of its config, its bytes.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "engine/coordination/service_discovery.hpp"

namespace mesh::coordination {
namespace {

constexpr std::array<std::string_view, 3> kPresets{"small-cluster", "medium-network",
                                                   "large-federation"};

DiscoveryConfig medium_network() {
  DiscoveryConfig config;
  config.lease_ns = Nanos{30 * kNsPerSecond};
  config.refresh_ns = config.lease_ns_min = config.probe_ns = Nanos{10 * kNsPerSecond};
  config.lease_ns_max = Nanos{120 * kNsPerSecond};
  config.fanout = 3;
  config.anti_entropy_ns = Nanos{30 * kNsPerSecond};
  config.tombstone_ns = Nanos{600 * kNsPerSecond};
  config.instances_max = 8'192;
  config.types_max = 512;
  config.peers_max = 200;
  config.changes_max = 1'024;
  config.store_bytes = 8U << 20;
  return config;
}

DiscoveryConfig large_federation() {
  DiscoveryConfig config;
  config.lease_ns = Nanos{60 * kNsPerSecond};
  config.refresh_ns = config.lease_ns_min = config.probe_ns = Nanos{20 * kNsPerSecond};
  config.lease_ns_max = Nanos{240 * kNsPerSecond};
  config.gossip_ns = Nanos{2 * kNsPerSecond};
  config.fanout = 4;
  config.anti_entropy_ns = Nanos{120 * kNsPerSecond};
  config.tombstone_ns = Nanos{1'800 * kNsPerSecond};
  config.instances_max = 65'536;
  config.types_max = 2'048;
  config.peers_max = 1'024;
  config.changes_max = 4'096;
  config.summaries_max = 16'384;
  config.store_bytes = 64U << 20;
  return config;
}

bool within(std::uint64_t value, std::uint64_t most) noexcept {
  return value >= 1 && value <= most;
}
bool is_share(double value) noexcept { return value > 0 && value <= 1; }

}  // namespace

std::span<const std::string_view> DiscoveryConfig::names() noexcept { return kPresets; }

Result<DiscoveryConfig> DiscoveryConfig::preset(std::string_view name) {
  if (name == "small-cluster") return DiscoveryConfig{};
  if (name == "medium-network") return medium_network();
  if (name == "large-federation") return large_federation();
  return unknown_preset("service discovery", name, kPresets);
}

Status ServiceDiscovery::validate(const Config& config) {
  // Word reaches all in log2(nodes) rounds at the most; a tombstone must outlive that thrice, and
  // every lease on the way.
  const auto rounds = static_cast<std::int64_t>(std::bit_width(std::uint64_t{config.peers_max}));
  const bool has_gossip =
      config.gossip_ns.count() >= kNsPerMs && config.gossip_ns.count() <= 3'600 * kNsPerSecond;
  const bool is_kept = has_gossip && is_duration(config.tombstone_ns) &&
                       config.tombstone_ns >= 3 * rounds * config.gossip_ns &&
                       config.tombstone_ns >= config.lease_ns_max;
  const std::array checks{
      Check{config.self != 0, "self is 0"},
      Check{within(config.incarnation_first, kIncarnationMax),
            "incarnation_first is outside 1..2^62"},
      Check{is_positive_duration(config.lease_ns_min) && is_duration(config.lease_ns_max) &&
                config.lease_ns_min <= config.lease_ns && config.lease_ns <= config.lease_ns_max,
            "lease_ns is outside lease_ns_min..lease_ns_max, or these are no durations"},
      Check{is_positive_duration(config.refresh_ns) && config.refresh_ns < config.lease_ns,
            "refresh_ns is not above 0 and below lease_ns"},
      Check{has_gossip, "gossip_ns is outside 1 ms..1 h"},
      Check{config.fanout >= 2 && config.fanout <= 64, "fanout is outside 2..64"},
      Check{config.anti_entropy_ns >= config.gossip_ns && is_duration(config.anti_entropy_ns),
            "anti_entropy_ns is below gossip_ns, or above 36 years"},
      Check{is_kept,
            "tombstone_ns is below lease_ns_max or 3 gossip_ns log2(peers_max), or above 36 years"},
      Check{is_share(config.share_min) && is_share(config.panic_share),
            "share_min or panic_share is outside 0..1"},
      Check{within(config.partition_checks, 1'000), "partition_checks is outside 1..1000"},
      Check{config.health_min >= 0 && config.health_min <= 1 && is_share(config.health_alpha),
            "health_min or health_alpha is outside 0..1"},
      Check{is_positive_duration(config.latency_ref_ns),
            "latency_ref_ns is outside 1 ns..36 years"},
      Check{config.probe_timeout_ns.count() > 0 && config.probe_ns >= config.probe_timeout_ns &&
                config.probe_ns.count() <= 86'400 * kNsPerSecond,
            "probe_timeout_ns is not above 0 and at most probe_ns, or that is above 1 d"},
      Check{within(config.misses_max, 100) && config.awareness_max <= 100,
            "misses_max is outside 1..100, or awareness_max above 100"},
      Check{within(config.instances_max, 1'048'576) && within(config.types_max, 65'536),
            "instances_max is outside 1..1048576, or types_max outside 1..65536"},
      Check{within(config.peers_max, 4'096), "peers_max is outside 1..4096"},
      Check{within(config.changes_max, 65'536), "changes_max is outside 1..65536"},
      Check{config.summaries_max <= 1'048'576, "summaries_max is above 1048576"},
      Check{within(config.message_records_max, 65'536) && within(config.message_nodes_max, 65'536),
            "message_records_max or message_nodes_max is outside 1..65536"},
      Check{within(config.store_bytes, std::uint64_t{1} << 36), "store_bytes is outside 1..2^36"},
      events_in_range(config),
  };
  return all_hold(Errc::invalid_config, checks);
}

// --- bytes -------------------------------------------------------------------------------------

namespace {

template <class S, class Field>
void each_fact(S& slot, Field&& field) {
  field(slot.order.incarnation), field(slot.order.is_tombstone), field(slot.order.sequence);
  field(slot.order.owner), field(slot.expires_ns), field(slot.lease_ns), field(slot.weight);
  field(slot.load_ppm), field(slot.health), field(slot.latency_ns), field(slot.station);
  field(slot.is_probed), field(slot.is_probe_open), field(slot.probe), field(slot.spread);
  for (auto& misses : slot.misses) field(misses);
}

}  // namespace

void ServiceDiscovery::save_slot(const Slot& slot, StateWriter& writer) const {
  put_fields(content_of(slot), writer);
  writer.put(slot.declared);
  each_fact(slot, [&](const auto& fact) { writer.put(fact); });
}

void ServiceDiscovery::save_state(StateWriter& writer) const {
  rng_.save(writer);
  partition_.save(writer);
  for (const auto instant : {next_gossip_ns_, next_compare_ns_, healed_ns_}) writer.put(instant);
  for (const auto number : {version_, conflicts_in_heal_}) writer.put(number);
  writer.put(awareness_);
  writer.put(static_cast<std::uint32_t>(peers_.size()));
  for (const auto& peer : peers_) {
    writer.put(peer.id);
    writer.put(peer.is_reachable);
    writer.put(peer.is_settled);
    writer.put(peer.checks);
    writer.put(peer.summaries_only);
  }
  const auto used = used_by_id();
  writer.put(static_cast<std::uint32_t>(used.size()));
  for (const auto slot : used) {
    save_slot(slots_[slot], writer);
    // When it is due is its own where it is probed: that may be now, or a while from here.
    writer.put(probes_.at_ns(slot));
  }
  std::uint32_t listed = 0;
  for (const auto slot : used) listed += slots_[slot].is_listed ? 1U : 0U;
  writer.put(listed);
  for (auto slot = spreading_.first(); slot != RecencyList::kNone; slot = nodes_[slot].next) {
    slots_[slot].id.save(writer);
  }
  save_summaries(writer);
  const std::uint64_t size = changes_.size();
  for (std::uint64_t next = version_ > size ? version_ - size : 0; next < version_; ++next) {
    const Change& change = changes_[next % size];
    writer.put(change.kind);
    writer.put(change.instance.view());
    writer.put(change.type.view());
  }
}

void ServiceDiscovery::load_slot(StateReader& reader) {
  ServiceContent content;
  get_fields(content, reader);
  Slot facts;
  facts.declared = reader.get_enum(InstanceStatus::dead);
  each_fact(facts, [&](auto& fact) { reader.get(fact); });
  const auto probe_ns = reader.get<std::int64_t>();
  const bool is_end = facts.order.is_tombstone;
  TypeName type;
  const bool is_named = is_name(content.instance) && type.parse(content.type) && !type.is_prefix;
  const IdHash id = hash_of(content.instance);
  Offered offer = offered(content);
  offer.lease_ns = facts.lease_ns;
  if (is_end) offer.locality = nullptr;
  const bool is_sound = is_named && (is_end || judge(offer) == Errc::ok) &&
                        find_slot(id) == kNone && facts.health >= 0 && facts.health <= 1 &&
                        facts.expires_ns >= 0;
  if (reader.failed() || !is_sound || !has_room(offer, kNone)) return reader.fail();
  const std::uint32_t slot = take_slot(id);
  if (is_end) {
    slots_[slot].text = store_.put(scratch_.bytes());
  } else {
    store(slot, offer, 0);
  }
  Slot& one = slots_[slot];
  one.declared = facts.declared;
  const auto keep = [&](auto member) { one.*member = facts.*member; };
  keep(&Slot::order), keep(&Slot::health), keep(&Slot::latency_ns), keep(&Slot::station);
  keep(&Slot::is_probed), keep(&Slot::is_probe_open), keep(&Slot::probe), keep(&Slot::misses);
  publish(slot);
  settle(slot, facts.expires_ns);  // before there are peers: nothing is spread
  one.spread = facts.spread;
  if (one.is_probed) probes_.set(slot, probe_ns, id.low);
}

void ServiceDiscovery::load_peers(StateReader& reader) {
  const std::size_t count = reader.get_count(15);
  if (count > config_.peers_max) return reader.fail();
  std::uint64_t last = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Peer peer;
    reader.get(peer.id);
    reader.get(peer.is_reachable);
    reader.get(peer.is_settled);
    reader.get(peer.checks);
    reader.get(peer.summaries_only);
    if (peer.id <= last || peer.id == config_.self) return reader.fail();
    last = peer.id;
    peers_.push_back(peer);
  }
}

void ServiceDiscovery::load_spreading(StateReader& reader) {
  const std::size_t count = reader.get_count(16);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    IdHash id;
    id.load(reader);
    const std::uint32_t slot = find_slot(id);
    const bool is_due = slot != kNone && !slots_[slot].is_listed && slots_[slot].spread != 0;
    if (!is_due) return reader.fail();
    slots_[slot].is_listed = true;
    spreading_.restore(nodes_, slot, 0, true);
  }
}

void ServiceDiscovery::load_state(StateReader& reader) {
  rng_.load(reader);
  partition_.load(reader);
  for (auto* instant : {&next_gossip_ns_, &next_compare_ns_, &healed_ns_}) reader.get(*instant);
  const auto version = reader.get<std::uint64_t>();
  reader.get(conflicts_in_heal_);
  reader.get(awareness_);
  StateReader peers = reader;  // read again when all that is here stands
  load_peers(reader);
  peers_.clear();
  const std::size_t count = reader.get_count(64);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) load_slot(reader);
  if (reader.failed()) return;
  load_peers(peers);
  load_spreading(reader);
  load_summaries(reader);
  version_ = version;
  events_ = EventLog(config_.events_max);  // those of loading are of no interest
  const std::uint64_t size = changes_.size();
  for (std::uint64_t next = version_ > size ? version_ - size : 0; next < version_; ++next) {
    if (reader.failed()) return;
    Change& change = changes_[next % size];
    change.kind = reader.get_enum(ChangeKind::removed);
    change.instance.set(reader.get<std::string>());
    change.type.set(reader.get<std::string>());
  }
}

Status ServiceDiscovery::verify() const {
  std::size_t used = 0;
  std::size_t live = 0;
  std::size_t chunks = 0;
  bool is_sound = true;
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (!slot.is_used) continue;
    ++used;
    live += slot.is_live() ? 1U : 0U;
    chunks += ChunkStore::chunks_for(slot.text.size_bytes);
    is_sound = is_sound && slot.is_live() != slot.order.is_tombstone && leases_.has(i) &&
               find_slot(slot.id) == i && slot.is_probed == probes_.has(i) &&
               slot.order.owner != 0 && slot.queued_ns <= slot.expires_ns &&
               slot.is_listed == (slot.spread != 0);
  }
  std::size_t indexed = 0;
  for (std::uint32_t row = 0; row < types_.size(); ++row) {
    std::uint32_t count = 0;
    index_.for_each(types_[row].list, [&](const ServiceRow& one) {
      ++count;
      is_sound = is_sound && slots_[one.record].type == row &&
                 &index_[slots_[one.record].place] == &one && one == row_of(one.record);
    });
    is_sound = is_sound && count == types_[row].list.count;
    indexed += count;
  }
  const Counters& c = counters_;
  const std::array checks{
      Check{used + free_.size() == slots_.size() && ids_.count() == used && live == live_,
            "live and tombstones are not the instances"},
      Check{is_sound, "a record does not stand where it should"},
      Check{indexed == live, "an instance is in no index, or in two"},
      Check{chunks + store_.free_count() == store_.chunk_count(), "bytes are lost or used twice"},
      Check{tree_.count() == used && tree_.is_consistent(), "the digests are not the records'"},
      Check{c.merged + c.stale + c.left_out == c.heard, "merged + stale + left_out is not heard"},
      Check{awareness_ <= config_.awareness_max, "awareness is above its most"},
  };
  return all_hold(Errc::corrupt, checks);
}

template class ServiceForm<ServiceDiscovery, DiscoveryConfig, DiscoveryCommand, DiscoveryReply,
                           DiscoveryCounters, DiscoveryActions>;

}  // namespace mesh::coordination
