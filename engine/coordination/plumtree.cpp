#include "engine/coordination/plumtree.hpp"

#include <algorithm>

namespace mesh::coordination {
namespace {

void put_broadcast_id(const BroadcastId& id, StateWriter& writer) {
  writer.put(id.origin);
  writer.put(id.sequence);
}
void get_broadcast_id(BroadcastId& id, StateReader& reader) {
  reader.get(id.origin);
  reader.get(id.sequence);
}

}  // namespace

Plumtree::Plumtree(const TreeConfig& config)
    : config_(config),
      messages_(config.messages_max),
      message_slots_(config.messages_max),
      index_(config.messages_max),
      ends_(config.messages_max),
      store_(config.store_bytes),
      missing_(config.missing_max),
      missing_slots_(config.missing_max),
      missing_index_(config.missing_max),
      grafts_(config.missing_max),
      scratch_(config.payload_bytes_max),
      sequence_(config.sequence_first - 1) {
  peers_.reserve(kPeersMax);
}

// --- links -------------------------------------------------------------------------------------

const Plumtree::Peer* Plumtree::peer_of(std::uint64_t id) const noexcept {
  const auto at =
      std::find_if(peers_.begin(), peers_.end(), [id](const Peer& peer) { return peer.id == id; });
  return at == peers_.end() ? nullptr : &*at;
}
Plumtree::Peer* Plumtree::peer_of(std::uint64_t id) noexcept {
  const auto at =
      std::find_if(peers_.begin(), peers_.end(), [id](const Peer& peer) { return peer.id == id; });
  return at == peers_.end() ? nullptr : &*at;
}
bool Plumtree::is_peer(std::uint64_t peer) const noexcept { return peer_of(peer) != nullptr; }
bool Plumtree::is_eager(std::uint64_t peer) const noexcept {
  const Peer* const one = peer_of(peer);
  return one != nullptr && one->is_eager;
}
void Plumtree::peer_up(std::uint64_t peer) noexcept {
  if (peer == 0 || peer == config_.self || is_peer(peer) || peers_.size() == kPeersMax) return;
  peers_.emplace_back().id = peer;  // reserved
}
void Plumtree::peer_down(std::uint64_t peer) noexcept {
  const auto at = std::find_if(peers_.begin(), peers_.end(),
                               [peer](const Peer& one) { return one.id == peer; });
  if (at == peers_.end()) return;
  peers_.erase(at);
  for (std::uint32_t slot = 0; slot < config_.missing_max; ++slot) {
    if (missing_slots_.is_used(slot)) hear_lost(peer, missing_[slot].id);
  }
}

// --- messages from here ------------------------------------------------------------------------

std::span<const std::byte> Plumtree::payload_of(const Message& one) noexcept {
  const std::size_t size = store_.copy_head(one.payload, scratch_);
  return std::span<const std::byte>(scratch_).first(size);
}

std::uint32_t Plumtree::keep(const Heard& heard, std::uint64_t from, std::int64_t now_ns) noexcept {
  if (!store_.fits(heard.payload.size())) return kNone;
  const std::uint32_t slot = message_slots_.take();
  if (slot == kNone) return kNone;
  Message& one = messages_[slot] = {};
  one.id = heard.id;
  one.parent = from;
  one.birth_ns = now_ns - std::int64_t{heard.age_ms} * kNsPerMs;
  one.ttl_ns = std::int64_t{heard.ttl_ms} * kNsPerMs;
  one.round = heard.round;
  one.has_payload = true;
  one.payload = store_.put(heard.payload);
  index_.set(hash_of(one.id.origin, one.id.sequence), slot);
  ends_.set(slot, one.birth_ns + one.ttl_ns, one.id.sequence);
  return slot;
}

Errc Plumtree::broadcast(std::span<const std::byte> payload, std::int64_t now_ns, GossipOutbox& out,
                         BroadcastId* id) noexcept {
  const Errc sent = broadcast_for(config_.ttl_ns, payload, now_ns, out);
  if (sent == Errc::ok && id != nullptr) *id = {config_.self, sequence_};
  return sent;
}
Errc Plumtree::broadcast_for(Nanos ttl, std::span<const std::byte> payload, std::int64_t now_ns,
                             GossipOutbox& out) noexcept {
  const bool is_possible =
      payload.size() <= config_.payload_bytes_max && ttl.count() > 0 && ttl <= config_.ttl_ns;
  if (!is_possible) return Errc::invalid_argument;
  const auto ttl_ms = static_cast<std::uint32_t>(ttl.count() / kNsPerMs);
  const std::uint32_t slot =
      keep({{config_.self, sequence_ + 1}, 0, 0, ttl_ms, payload}, 0, now_ns);
  if (slot == kNone) return Errc::capacity;
  ++sequence_;
  ++counters_.broadcast;
  pass_on(slot, now_ns, out);
  return Errc::ok;
}

void Plumtree::pass_on(std::uint32_t slot, std::int64_t now_ns, GossipOutbox& out) noexcept {
  const Message& one = messages_[slot];
  for (Peer& peer : peers_) {
    if (peer.id == one.parent) continue;
    if (peer.is_eager) {
      send_payload(slot, peer.id, now_ns, out);
    } else {
      announce(peer, {one.id, one.round}, now_ns, out);
    }
  }
}
void Plumtree::send_payload(std::uint32_t slot, std::uint64_t to, std::int64_t now_ns,
                            GossipOutbox& out) noexcept {
  const Message& one = messages_[slot];
  const std::int64_t age_ms = (now_ns - one.birth_ns) / kNsPerMs;
  StateWriter& writer = out.begin(GossipPart::tree, gossip, to);
  put_broadcast_id(one.id, writer);
  writer.put(one.round + 1);
  writer.put(static_cast<std::uint32_t>(std::clamp<std::int64_t>(age_ms, 0, UINT32_MAX)));
  writer.put(static_cast<std::uint32_t>(one.ttl_ns / kNsPerMs));
  writer.put(payload_of(one));
  out.end(GossipLane::tree);
  ++counters_.payloads_sent;
}
void Plumtree::send_id(Kind kind, std::uint64_t to, const Announced& about,
                       GossipOutbox& out) noexcept {
  StateWriter& writer = out.begin(GossipPart::tree, kind, to);
  put_broadcast_id(about.id, writer);
  writer.put(about.round);
  out.end(GossipLane::tree);
}
void Plumtree::announce(Peer& peer, const Announced& about, std::int64_t now_ns,
                        GossipOutbox& out) noexcept {
  if (peer.count == kAnnouncedMax) flush(peer, out);
  if (peer.count == 0) peer.flush_ns = now_ns + config_.ihave_ns.count();
  peer.announced[peer.count++] = about;
}
void Plumtree::flush(Peer& peer, GossipOutbox& out) noexcept {
  peer.flush_ns = INT64_MAX;
  if (peer.count == 0) return;
  StateWriter& writer = out.begin(GossipPart::tree, ihave, peer.id);
  writer.put(peer.count);
  for (const auto& about : std::span(peer.announced).first(peer.count)) {
    put_broadcast_id(about.id, writer);
    writer.put(about.round + 1);
  }
  out.end(GossipLane::tree);
  counters_.announced += peer.count;
  peer.count = 0;
}

// --- turns -------------------------------------------------------------------------------------

void Plumtree::tick(std::int64_t now_ns, GossipOutbox& out) noexcept {
  for (Peer& peer : peers_) {
    if (now_ns >= peer.flush_ns) flush(peer, out);
  }
  for (auto slot = grafts_.pop_due(now_ns); slot != kNone; slot = grafts_.pop_due(now_ns)) {
    ask_next(slot, now_ns, out);
  }
  for (auto slot = ends_.pop_due(now_ns); slot != kNone; slot = ends_.pop_due(now_ns)) {
    Message& one = messages_[slot];
    if (one.has_payload) {  // from now on it is only known
      store_.free(one.payload);
      one.has_payload = false;
      ends_.set(slot, one.birth_ns + 2 * one.ttl_ns, one.id.sequence);
      continue;
    }
    index_.erase(hash_of(one.id.origin, one.id.sequence));
    message_slots_.free(slot);
  }
}
std::int64_t Plumtree::next_ns() const noexcept {
  std::int64_t next = std::min(grafts_.next_ns(), ends_.next_ns());
  for (const Peer& peer : peers_) next = std::min(next, peer.flush_ns);
  return next;
}

// A link over which a payload is asked for belongs to the tree from now on.
void Plumtree::ask_next(std::uint32_t slot, std::int64_t now_ns, GossipOutbox& out) noexcept {
  Missing& one = missing_[slot];
  if (one.count == 0 || one.tries == kTriesMax) {
    ++counters_.lost;
    end_missing(slot);
    return;
  }
  const Announcer& next = one.announcers[one.next++ % one.count];
  ++one.tries;
  if (Peer* peer = peer_of(next.peer)) peer->is_eager = true;
  StateWriter& writer = out.begin(GossipPart::tree, graft, next.peer);
  put_broadcast_id(one.id, writer);
  writer.put(next.round);
  writer.put(true);
  out.end(GossipLane::tree);
  ++counters_.grafts;
  grafts_.set(slot, now_ns + config_.graft_again_ns.count(), one.id.sequence);
}
void Plumtree::end_missing(std::uint32_t slot) noexcept {
  grafts_.clear(slot);
  missing_index_.erase(hash_of(missing_[slot].id.origin, missing_[slot].id.sequence));
  missing_slots_.free(slot);
}

// --- messages of others ------------------------------------------------------------------------

Errc Plumtree::hear(const Envelope& envelope, StateReader& reader, std::int64_t now_ns,
                    GossipOutbox& out) noexcept {
  fresh_ = kNone;
  const std::uint64_t from = envelope.from;
  if (from == config_.self) return Errc::invalid_argument;
  if (envelope.kind == ihave) return hear_list(from, reader, now_ns, out);
  Heard heard;
  Graft grafted;
  get_broadcast_id(heard.id, reader);
  reader.get(heard.round);
  if (envelope.kind == gossip) {
    reader.get(heard.age_ms);
    reader.get(heard.ttl_ms);
    heard.payload = reader.get_bytes();
  } else if (envelope.kind == graft) {
    reader.get(grafted.wants_payload);
  }
  const bool is_kind = envelope.kind >= gossip && envelope.kind <= lost;
  const bool is_possible = is_kind && !reader.failed() && reader.left() == 0 &&
                           heard.payload.size() <= config_.payload_bytes_max &&
                           std::int64_t{heard.ttl_ms} * kNsPerMs <= config_.ttl_ns.count();
  if (!is_possible) return Errc::bad_input;
  grafted.about = {heard.id, heard.round};
  switch (envelope.kind) {
    case gossip:
      hear_gossip(from, heard, now_ns, out);
      break;
    case prune:
      if (Peer* peer = peer_of(from)) peer->is_eager = false;
      break;
    case graft:
      hear_graft(from, grafted, now_ns, out);
      break;
    default:
      hear_lost(from, heard.id);
  }
  return Errc::ok;
}

// Where several hosts send at once, one circle shows itself at several of its links, and if each of
// them is pruned the tree is cut. So it takes a duplicate in four, by a draw that differs at each
// end of each link, and never that of whom the other way in has just been lost.
bool Plumtree::is_drawn(const BroadcastId& id, std::uint64_t from) const noexcept {
  const std::uint64_t message = hash_of(id.origin, id.sequence).low;
  return (hash_of(message ^ config_.self, from).low & 3U) == 0;
}

void Plumtree::hear_gossip(std::uint64_t from, const Heard& heard, std::int64_t now_ns,
                           GossipOutbox& out) noexcept {
  Peer* const peer = peer_of(from);
  const std::uint32_t known = find(heard.id);
  if (known != kNone) {
    ++counters_.duplicates;
    if (messages_[known].parent == from) return;           // the network doubled it
    const std::uint64_t parent = messages_[known].parent;  // 0: it is our own
    const bool has_other = parent == 0 || is_eager(parent);
    const bool is_pruned = peer == nullptr || !peer->is_eager;
    if (!is_pruned && (!has_other || !is_drawn(heard.id, from))) return;
    if (peer != nullptr) peer->is_eager = false;
    ++counters_.prunes;
    send_id(prune, from, {heard.id, heard.round}, out);
    return;
  }
  if (heard.age_ms > heard.ttl_ms) {
    ++counters_.expired;
    return;
  }
  const std::uint32_t slot = keep(heard, from, now_ns);
  if (slot == kNone) {
    ++counters_.full;
    return;
  }
  const std::uint32_t was_missing =
      missing_index_.find(hash_of(heard.id.origin, heard.id.sequence));
  if (was_missing != kNone) end_missing(was_missing);
  if (peer != nullptr) peer->is_eager = true;
  ++counters_.delivered;
  fresh_ = slot;
  pass_on(slot, now_ns, out);
}

Errc Plumtree::hear_list(std::uint64_t from, StateReader& reader, std::int64_t now_ns,
                         GossipOutbox& out) noexcept {
  constexpr std::size_t kAnnouncedBytes = 20;
  const std::size_t count = reader.get_count(kAnnouncedBytes);
  const bool is_whole =
      !reader.failed() && count <= kAnnouncedMax && reader.left() == count * kAnnouncedBytes;
  if (!is_whole) return Errc::bad_input;
  for (std::size_t i = 0; i < count; ++i) {
    Announced about;
    get_broadcast_id(about.id, reader);
    reader.get(about.round);
    hear_ihave(from, about, now_ns, out);
  }
  return Errc::ok;
}

void Plumtree::hear_ihave(std::uint64_t from, const Announced& about, std::int64_t now_ns,
                          GossipOutbox& out) noexcept {
  const std::uint32_t known = find(about.id);
  if (known != kNone) {
    Message& one = messages_[known];
    const bool is_shorter = one.parent != 0 && one.parent != from && one.has_payload &&
                            std::uint64_t{about.round} + config_.threshold <= one.round;
    if (!is_shorter || !is_eager(one.parent) || is_eager(from) || !is_peer(from)) return;
    ++counters_.optimised;
    peer_of(one.parent)->is_eager = false;
    send_id(prune, one.parent, about, out);
    peer_of(from)->is_eager = true;
    StateWriter& writer = out.begin(GossipPart::tree, graft, from);
    put_broadcast_id(about.id, writer);
    writer.put(about.round);
    writer.put(false);  // the link, not the payload
    out.end(GossipLane::tree);
    one.parent = from;
    one.round = about.round;
    return;
  }
  const IdHash hash = hash_of(about.id.origin, about.id.sequence);
  std::uint32_t slot = missing_index_.find(hash);
  if (slot == kNone) {
    slot = missing_slots_.take();
    if (slot == kNone) {
      ++counters_.full;
      return;
    }
    missing_[slot] = {};
    missing_[slot].id = about.id;
    missing_index_.set(hash, slot);
    grafts_.set(slot, now_ns + config_.graft_ns.count(), about.id.sequence);
  }
  Missing& one = missing_[slot];
  const auto known_announcers = std::span(one.announcers).first(one.count);
  const bool is_new = std::none_of(known_announcers.begin(), known_announcers.end(),
                                   [from](const Announcer& each) { return each.peer == from; });
  if (is_new && one.count < kAnnouncersMax) one.announcers[one.count++] = {from, about.round};
}

void Plumtree::hear_graft(std::uint64_t from, const Graft& one, std::int64_t now_ns,
                          GossipOutbox& out) noexcept {
  if (Peer* peer = peer_of(from)) peer->is_eager = true;
  if (!one.wants_payload) return;
  const std::uint32_t slot = find(one.about.id);
  if (slot != kNone && messages_[slot].has_payload) {
    send_payload(slot, from, now_ns, out);
  } else {
    send_id(lost, from, one.about, out);
  }
}
void Plumtree::hear_lost(std::uint64_t from, const BroadcastId& id) noexcept {
  const std::uint32_t slot = missing_index_.find(hash_of(id.origin, id.sequence));
  if (slot == kNone) return;
  Missing& one = missing_[slot];
  const auto announcers = std::span(one.announcers).first(one.count);
  const auto end = std::remove_if(announcers.begin(), announcers.end(),
                                  [from](const Announcer& each) { return each.peer == from; });
  one.count = static_cast<std::uint32_t>(end - announcers.begin());
  if (one.count != 0) return;
  ++counters_.lost;
  end_missing(slot);
}

}  // namespace mesh::coordination
