// What nodes tell each other: records merged, what changed spread, what differs found by digests.
#include <algorithm>

#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/service_discovery.hpp"

namespace mesh::coordination {

// --- merging -----------------------------------------------------------------------------------

bool ServiceDiscovery::is_possible(const ServiceRecord& record) const noexcept {
  const ServiceContent& content = record.content;
  TypeName type;
  const bool is_named = is_name(content.instance) && type.parse(content.type) && !type.is_prefix &&
                        type.view() == content.type;
  const RecordOrder& order = record.order;
  const bool is_ordered = order.owner != 0 && order.incarnation >= 1 &&
                          order.incarnation <= kIncarnationMax && order.sequence <= kIncarnationMax;
  if (!is_named || !is_ordered) return false;
  if (order.is_tombstone) return record.left <= config_.tombstone_ns;
  return content.lease.count() > 0 && content.lease <= config_.lease_ns_max &&
         record.left <= content.lease && judge(offered(content)) == Errc::ok;
}

bool ServiceDiscovery::is_possible(const SyncMessage& message) const noexcept {
  const bool has_level = message.level < MerkleMap::kDepth;
  return has_level &&
         std::all_of(message.rows.begin(), message.rows.end(),
                     [&](const DigestRow& row) {
                       return row.index < MerkleMap::nodes_of(message.level);
                     }) &&
         std::all_of(message.buckets.begin(), message.buckets.end(),
                     [](std::uint32_t bucket) { return bucket < MerkleMap::kBuckets; }) &&
         std::all_of(message.records.begin(), message.records.end(),
                     [&](const ServiceRecord& record) { return is_possible(record); });
}

// Whether it stands over what is here. Of two that are equal in their order and not in what they
// say one is a lie, or was said in a life that its owner forgot: the greater sum stands.
bool ServiceDiscovery::is_news(const ServiceRecord& record, std::uint32_t slot) noexcept {
  const Slot& one = slots_[slot];
  const auto order = compare(record.order, one.order);
  if (order != 0 || record.order.is_tombstone) return order > 0;
  const Offered offer = offered(record.content);
  write_text(offer);
  Slot other;
  other.text_sum = checksum(scratch_.bytes());
  other.weight = offer.weight;
  other.status = offer.status;
  other.load_ppm = offer.load_ppm;
  other.lease_ns = offer.lease_ns;
  sum_up(other);
  return is_own(one) ? other.sum != one.sum : other.sum > one.sum;
}

// Somebody says that an instance that lives here is dead, or lives otherwise: it lives here, above
// what was said.
void ServiceDiscovery::refute(std::uint32_t slot, const RecordOrder& claimed,
                              std::int64_t now_ns) noexcept {
  Slot& one = slots_[slot];
  one.order.incarnation = claimed.incarnation + 1;
  one.order.sequence = 1;
  ++counters_.refuted;
  ++conflicts_in_heal_;
  emit(Event::refuted, Severity::info, now_ns, {one.order.incarnation});
  settle(slot, one.expires_ns);
}

void ServiceDiscovery::take_end(std::uint32_t slot, const ServiceRecord& record,
                                std::int64_t now_ns) noexcept {
  std::int64_t left = config_.tombstone_ns.count();
  if (record.order.is_tombstone) left = std::min(left, record.left.count());
  if (slot == kNone) {
    slot = take_slot(hash_of(record.content.instance));
    slots_[slot].text = store_.put(scratch_.bytes());
  }
  bury(slot, record.order, now_ns + std::max<std::int64_t>(left, 0), now_ns);
}

void ServiceDiscovery::take(std::uint32_t slot, const ServiceRecord& record,
                            std::int64_t now_ns) noexcept {
  if (slot == kNone) slot = take_slot(hash_of(record.content.instance));
  Slot& one = slots_[slot];
  if (one.is_live() && is_own(one)) {
    ++counters_.conflicts;
    ++conflicts_in_heal_;
    emit(Event::owner_conflict, Severity::warning, now_ns,
         {record.order.incarnation, record.order.owner});
    probes_.clear(slot);
    one.is_probed = one.is_probe_open = false;
    one.misses = {};
  }
  one.station = 0;
  one.order = record.order;
  store(slot, offered(record.content), now_ns);
  settle(slot, now_ns + record.left.count());
}

void ServiceDiscovery::merge(const ServiceRecord& record, std::int64_t now_ns,
                             Reply& reply) noexcept {
  ++counters_.heard;
  const std::uint32_t slot = find_slot(hash_of(record.content.instance));
  const bool is_over = record.left.count() <= 0;
  const bool is_old = slot == kNone ? is_over : !is_news(record, slot);
  if (is_old && !MESH_MUTANT("discovery.order")) {
    ++counters_.stale;
    return;
  }
  const bool is_ours = record.order.owner == config_.self;
  const bool lives_here = slot != kNone && slots_[slot].is_live() && is_own(slots_[slot]) &&
                          now_ns < slots_[slot].expires_ns;
  const bool can_refute = record.order.incarnation < kIncarnationMax;
  if (lives_here && can_refute && (is_ours || record.order.is_tombstone) &&
      !MESH_MUTANT("discovery.refute")) {
    refute(slot, record.order, now_ns);
    ++counters_.merged;
    ++reply.taken;
    return;
  }
  // A life of this node's own that this node does not know: one before a lost journal.
  const bool is_ghost = is_ours && !record.order.is_tombstone;
  if (is_ghost) ++counters_.refuted;
  const bool is_end = record.order.is_tombstone || is_over || is_ghost;
  Offered offer = offered(record.content);
  if (is_end) offer = {offer.instance, offer.type, {}, {}, {}, {}};
  const bool ends_here = is_end && slot != kNone;  // takes no room
  if (!ends_here && !has_room(offer, slot)) {
    ++counters_.left_out;
    ++reply.left_out;
    return;
  }
  is_end ? take_end(slot, record, now_ns) : take(slot, record, now_ns);
  ++counters_.merged;
  ++reply.taken;
}

// --- messages ----------------------------------------------------------------------------------

SyncMessage ServiceDiscovery::root_message() {
  SyncMessage message;
  message.kind = SyncKind::root;
  message.root = tree_.root();
  return message;
}

// What differs one level down: its digests, or, where there is none below, the keys in it.
SyncMessage ServiceDiscovery::answer_digests(const SyncMessage& message) {
  SyncMessage answer;
  answer.more = message.more;
  const std::uint32_t below = message.level + 1U;
  const bool is_last = below == MerkleMap::kDepth;
  std::vector<std::uint32_t> different;
  for (const auto& row : message.rows) {
    const auto mine = tree_.children(message.level, row.index);
    for (std::uint32_t i = 0; i < MerkleMap::kFan; ++i) {
      if (mine[i] != row.children[i]) different.push_back(MerkleMap::kFan * row.index + i);
    }
  }
  if (different.empty()) return {};
  if (different.size() > config_.message_nodes_max) {
    different.resize(config_.message_nodes_max);
    answer.more = true;
  }
  answer.kind = is_last ? SyncKind::keys : SyncKind::digests;
  answer.level = is_last ? std::uint8_t{0} : static_cast<std::uint8_t>(below);
  for (const auto index : different) {
    if (!is_last) {
      answer.rows.push_back({index, tree_.children(below, index)});
      continue;
    }
    tree_.for_bucket(index, [&](std::uint32_t slot) {
      answer.keys.push_back({slots_[slot].id, slots_[slot].order, slots_[slot].sum});
    });
  }
  std::sort(answer.keys.begin(), answer.keys.end(),
            [](const KeyVersion& a, const KeyVersion& b) { return a.id < b.id; });
  if (is_last) answer.buckets = std::move(different);
  return answer;
}

SyncMessage ServiceDiscovery::answer_keys(const SyncMessage& message, std::int64_t now_ns) {
  SyncMessage answer;
  answer.kind = SyncKind::records;
  answer.more = message.more;
  std::vector<KeyVersion> theirs = message.keys;
  const auto by_id = [](const KeyVersion& a, const KeyVersion& b) { return a.id < b.id; };
  std::sort(theirs.begin(), theirs.end(), by_id);
  std::vector<std::uint32_t> mine;
  for (const auto bucket : message.buckets) {
    tree_.for_bucket(bucket, [&](std::uint32_t slot) { mine.push_back(slot); });
  }
  std::sort(mine.begin(), mine.end(),
            [&](std::uint32_t a, std::uint32_t b) { return slots_[a].id < slots_[b].id; });
  // Above 0: mine stands over theirs.
  const auto against = [&](std::uint32_t slot, const KeyVersion& other) {
    const auto order = compare(slots_[slot].order, other.order);
    return order != 0 ? order : slots_[slot].sum <=> other.sum;
  };
  for (const auto slot : mine) {
    const auto at =
        std::lower_bound(theirs.begin(), theirs.end(), KeyVersion{slots_[slot].id, {}, 0}, by_id);
    const bool is_there = at != theirs.end() && at->id == slots_[slot].id;
    if (is_there && against(slot, *at) <= 0) continue;
    if (answer.records.size() == config_.message_records_max) {
      answer.more = true;
      break;
    }
    answer.records.push_back(record_of(slots_[slot], now_ns));
  }
  for (const auto& key : theirs) {
    const std::uint32_t slot = find_slot(key.id);
    if (slot != kNone && against(slot, key) >= 0) continue;
    answer.wants.push_back(key.id);
  }
  return answer.records.empty() && answer.wants.empty() ? SyncMessage{} : answer;
}

SyncMessage ServiceDiscovery::answer(const SyncMessage& message, bool has_merged,
                                     std::int64_t now_ns) {
  SyncMessage answer;
  switch (message.kind) {
    case SyncKind::root:
      if (message.root == tree_.root()) return answer;
      answer.kind = SyncKind::digests;
      answer.rows.push_back({0, tree_.children(0, 0)});
      return answer;
    case SyncKind::digests:
      return answer_digests(message);
    case SyncKind::keys:
      return answer_keys(message, now_ns);
    case SyncKind::records:
      if (message.wants.empty()) {
        return message.more && has_merged ? root_message() : answer;
      }
      answer.kind = SyncKind::records;
      answer.more = message.more;
      for (const auto& id : message.wants) {
        const std::uint32_t slot = find_slot(id);
        if (slot == kNone) continue;
        if (answer.records.size() == config_.message_records_max) {
          answer.more = true;
          break;
        }
        answer.records.push_back(record_of(slots_[slot], now_ns));
      }
      return answer;
    default:
      return answer;
  }
}

ServiceDiscovery::Reply ServiceDiscovery::hear(const discovery::Hear& heard,
                                               std::int64_t now_ns) noexcept {
  Peer* peer = find_peer(heard.peer);
  if (peer == nullptr) return refuse(Errc::not_found);
  const bool is_summary = heard.message.kind == SyncKind::summaries;
  if (is_summary) return hear_summaries(heard, now_ns);
  if (peer->summaries_only || !is_possible(heard.message)) return refuse(Errc::invalid_argument);
  peer->is_reachable = true;
  Reply reply;
  for (const auto& record : heard.message.records) merge(record, now_ns, reply);
  reply.answer = answer(heard.message, reply.taken != 0, now_ns);
  reply.version = version_;
  return reply;
}

// --- peers -------------------------------------------------------------------------------------

ServiceDiscovery::Peer* ServiceDiscovery::find_peer(std::uint64_t id) noexcept {
  const auto at = std::lower_bound(peers_.begin(), peers_.end(), id,
                                   [](const Peer& peer, std::uint64_t to) { return peer.id < to; });
  return at != peers_.end() && at->id == id ? &*at : nullptr;
}

ServiceDiscovery::Reply ServiceDiscovery::of_peer(const Command& command) noexcept {
  Reply reply;
  reply.version = version_;
  if (const auto* added = std::get_if<discovery::AddPeer>(&command)) {
    if (added->peer == 0 || added->peer == config_.self) return refuse(Errc::invalid_argument);
    if (find_peer(added->peer) != nullptr) return refuse(Errc::already_exists);
    if (peers_.size() == config_.peers_max) return refuse(Errc::capacity);
    const auto at = std::find_if(peers_.begin(), peers_.end(),
                                 [&](const Peer& peer) { return peer.id > added->peer; });
    Peer fresh;
    fresh.id = added->peer;
    fresh.summaries_only = added->summaries_only;
    peers_.insert(at, fresh);  // reserved
    return reply;
  }
  const auto* gone = std::get_if<discovery::RemovePeer>(&command);
  const auto* said = std::get_if<discovery::SetReachable>(&command);
  Peer* peer = find_peer(gone != nullptr ? gone->peer : said->peer);
  if (peer == nullptr) return refuse(Errc::not_found);
  if (gone != nullptr) {
    peers_.erase(peers_.begin() + (peer - peers_.data()));
  } else {
    peer->is_reachable = said->is_reachable;
  }
  return reply;
}

// To be sent for twice the rounds in which word reaches all, and two more.
void ServiceDiscovery::spread(std::uint32_t slot) noexcept {
  if (peers_.empty()) return;  // who comes later compares
  std::uint8_t rounds = 0;
  for (std::uint64_t told = 1; told <= peers_.size(); told *= config_.fanout) ++rounds;
  Slot& one = slots_[slot];
  one.spread = static_cast<std::uint8_t>(2 * rounds + 2);
  if (one.is_listed) return;
  one.is_listed = true;
  spreading_.restore(nodes_, slot, 0, true);
}

void ServiceDiscovery::gossip(std::int64_t now_ns, Actions& out) {
  std::vector<std::uint64_t> targets;
  for (const auto& peer : peers_) {
    if (peer.takes_records()) targets.push_back(peer.id);
  }
  const std::size_t count = std::min<std::size_t>(config_.fanout, targets.size());
  for (std::size_t i = 0; i < count; ++i) {
    std::swap(targets[i], targets[i + rng_.below(targets.size() - i)]);
  }
  std::vector<std::uint32_t> due;  // those that were sent least lately
  for (auto slot = spreading_.first(); slot != RecencyList::kNone; slot = nodes_[slot].next) {
    if (due.size() == config_.message_records_max) break;
    due.push_back(slot);
  }
  SyncMessage delta;
  delta.kind = SyncKind::delta;
  for (const auto slot : due) {
    Slot& one = slots_[slot];
    if (count != 0) delta.records.push_back(record_of(one, now_ns));
    spreading_.erase(nodes_, slot);
    one.is_listed = --one.spread != 0;
    if (one.is_listed) spreading_.restore(nodes_, slot, 0, true);
  }
  if (delta.records.empty()) return;
  for (std::size_t i = 0; i < count; ++i) out.sends.push_back({targets[i], delta});
}

void ServiceDiscovery::compare_roots(Actions& out) {
  const auto takes_records = [](const Peer& peer) { return peer.takes_records(); };
  const auto count = std::count_if(peers_.begin(), peers_.end(), takes_records);
  if (count == 0) return;
  auto left = rng_.below(static_cast<std::uint64_t>(count));
  for (const auto& peer : peers_) {
    if (peer.takes_records() && left-- == 0) out.sends.push_back({peer.id, root_message()});
  }
}

void ServiceDiscovery::check_partition(std::int64_t now_ns, Actions& out) {
  std::uint32_t reachable = 1;
  std::uint32_t members = 1;
  for (auto& peer : peers_) {
    if (peer.summaries_only) continue;  // another domain is no part of this one
    peer.checks = peer.is_reachable ? std::min(peer.checks + 1, config_.partition_checks) : 0;
    peer.is_settled = peer.is_settled || peer.checks == config_.partition_checks;
    members += peer.is_settled ? 1U : 0U;
    reachable += peer.is_settled && peer.is_reachable ? 1U : 0U;
  }
  const bool has_changed = partition_.check(reachable, members);
  if (has_changed && partition_.state() == PartitionState::suspected) {
    ++counters_.partitions;
    conflicts_in_heal_ = 0;
    emit(Event::partition_suspected, Severity::warning, now_ns, {reachable, members});
  } else if (has_changed) {
    healed_ns_ = now_ns + config_.anti_entropy_ns.count();
    for (const auto& peer : peers_) {
      if (peer.takes_records()) out.sends.push_back({peer.id, root_message()});
    }
  }
  if (partition_.state() == PartitionState::healing && now_ns >= healed_ns_) {
    partition_.end_healing();
    ++counters_.heals;
    emit(Event::healed, Severity::info, now_ns, {conflicts_in_heal_});
  }
}

}  // namespace mesh::coordination
