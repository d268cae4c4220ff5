// The state of a Plumtree in bytes, and what must hold of it.
#include <algorithm>

#include "engine/coordination/plumtree.hpp"

namespace mesh::coordination {
namespace {

template <class Counters, class Visit>
void words_of_tree(Counters& counters, Visit&& visit) {
  visit(counters.broadcast);
  visit(counters.delivered);
  visit(counters.duplicates);
  visit(counters.payloads_sent);
  visit(counters.announced);
  visit(counters.grafts);
  visit(counters.prunes);
  visit(counters.optimised);
  visit(counters.lost);
  visit(counters.expired);
  visit(counters.full);
}
template <class Id, class Visit>
void words_of_id(Id& id, Visit&& visit) {
  visit(id.origin);
  visit(id.sequence);
}

}  // namespace

void Plumtree::save(StateWriter& writer) const {
  const auto put = [&](const auto& value) { writer.put(value); };
  writer.put(sequence_);
  words_of_tree(counters_, put);
  writer.put(message_slots_.used());
  for (std::uint32_t slot = 0; slot < config_.messages_max; ++slot) {
    if (!message_slots_.is_used(slot)) continue;
    const Message& one = messages_[slot];
    writer.put(slot);
    words_of_id(one.id, put);
    writer.put(one.parent);
    writer.put(one.birth_ns);
    writer.put(one.ttl_ns);
    writer.put(one.round);
    writer.put(one.has_payload);
    if (one.has_payload) writer.put(std::span<const std::byte>(store_.get(one.payload)));
  }
  writer.put(missing_slots_.used());
  for (std::uint32_t slot = 0; slot < config_.missing_max; ++slot) {
    if (!missing_slots_.is_used(slot)) continue;
    const Missing& one = missing_[slot];
    writer.put(slot);
    words_of_id(one.id, put);
    writer.put(one.count);
    for (const auto& each : std::span(one.announcers).first(one.count)) {
      writer.put(each.peer);
      writer.put(each.round);
    }
    writer.put(one.next);
    writer.put(one.tries);
    writer.put(grafts_.at_ns(slot));
  }
  writer.put(static_cast<std::uint32_t>(peers_.size()));
  for (const Peer& peer : peers_) {
    writer.put(peer.id);
    writer.put(peer.is_eager);
    writer.put(peer.flush_ns);
    writer.put(peer.count);
    for (const auto& about : std::span(peer.announced).first(peer.count)) {
      words_of_id(about.id, put);
      writer.put(about.round);
    }
  }
}

void Plumtree::load_messages(StateReader& reader) {
  const auto get = [&](auto& value) { reader.get(value); };
  const std::size_t count = reader.get_count(41);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    const auto slot = reader.get<std::uint32_t>();
    if (!message_slots_.use(slot)) return reader.fail();
    Message& one = messages_[slot] = {};
    words_of_id(one.id, get);
    reader.get(one.parent);
    reader.get(one.birth_ns);
    reader.get(one.ttl_ns);
    reader.get(one.round);
    reader.get(one.has_payload);
    const auto payload = one.has_payload ? reader.get_bytes() : std::span<const std::byte>{};
    const bool is_possible = find(one.id) == kNone && store_.fits(payload.size()) &&
                             payload.size() <= config_.payload_bytes_max && one.ttl_ns >= 0 &&
                             one.ttl_ns <= config_.ttl_ns.count();
    if (!is_possible) return reader.fail();
    one.payload = store_.put(payload);
    index_.set(hash_of(one.id.origin, one.id.sequence), slot);
    ends_.set(slot, one.birth_ns + (one.has_payload ? 1 : 2) * one.ttl_ns, one.id.sequence);
  }
}
void Plumtree::load_missing(StateReader& reader) {
  const auto get = [&](auto& value) { reader.get(value); };
  const std::size_t count = reader.get_count(40);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    const auto slot = reader.get<std::uint32_t>();
    if (!missing_slots_.use(slot)) return reader.fail();
    Missing& one = missing_[slot] = {};
    words_of_id(one.id, get);
    reader.get(one.count);
    if (one.count > kAnnouncersMax) return reader.fail();
    for (auto& each : std::span(one.announcers).first(one.count)) {
      reader.get(each.peer);
      reader.get(each.round);
    }
    reader.get(one.next);
    reader.get(one.tries);
    const auto at_ns = reader.get<std::int64_t>();
    missing_index_.set(hash_of(one.id.origin, one.id.sequence), slot);
    grafts_.set(slot, at_ns, one.id.sequence);
  }
}
void Plumtree::load_peers(StateReader& reader) {
  const auto get = [&](auto& value) { reader.get(value); };
  const std::size_t count = reader.get_count(21);
  if (count > kPeersMax) return reader.fail();
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    Peer& peer = peers_.emplace_back();
    reader.get(peer.id);
    reader.get(peer.is_eager);
    reader.get(peer.flush_ns);
    reader.get(peer.count);
    if (peer.count > kAnnouncedMax) return reader.fail();
    for (auto& about : std::span(peer.announced).first(peer.count)) {
      words_of_id(about.id, get);
      reader.get(about.round);
    }
  }
}
void Plumtree::load(StateReader& reader) {
  reader.get(sequence_);
  words_of_tree(counters_, [&](auto& value) { reader.get(value); });
  load_messages(reader);
  if (!reader.failed()) load_missing(reader);
  if (!reader.failed()) load_peers(reader);
}

bool Plumtree::is_sound() const noexcept {
  std::size_t chunks = 0;
  bool is_good = index_.count() == message_slots_.used() &&
                 missing_index_.count() == missing_slots_.used() &&
                 grafts_.count() == missing_slots_.used() && ends_.count() == message_slots_.used();
  for (std::uint32_t slot = 0; slot < config_.messages_max; ++slot) {
    if (!message_slots_.is_used(slot)) continue;
    const Message& one = messages_[slot];
    if (one.has_payload) chunks += ChunkStore::chunks_for(one.payload.size_bytes);
    const bool is_missing_too =
        missing_index_.find(hash_of(one.id.origin, one.id.sequence)) != kNone;
    is_good = is_good && find(one.id) == slot && !is_missing_too;
  }
  for (const Peer& peer : peers_) {
    is_good = is_good && std::count_if(peers_.begin(), peers_.end(),
                                       [&](const Peer& other) { return other.id == peer.id; }) == 1;
  }
  return is_good && chunks + store_.free_count() == store_.chunk_count();
}

}  // namespace mesh::coordination
