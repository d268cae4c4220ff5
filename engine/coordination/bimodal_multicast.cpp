#include "engine/coordination/bimodal_multicast.hpp"

#include <algorithm>
#include <cmath>

namespace mesh::coordination {
namespace {

constexpr std::size_t kIdBytes = 16;

template <class Counters, class Visit>
void words_of_bimodal(Counters& counters, Visit&& visit) {
  visit(counters.broadcast);
  visit(counters.delivered);
  visit(counters.duplicates);
  visit(counters.solicited);
  visit(counters.retransmitted);
  visit(counters.refused);
  visit(counters.full);
}
BroadcastId take_id(StateReader& reader) {
  BroadcastId id;
  reader.get(id.origin);
  reader.get(id.sequence);
  return id;
}
void put_id(const BroadcastId& id, StateWriter& writer) {
  writer.put(id.origin);
  writer.put(id.sequence);
}

}  // namespace

double missing_chance(double loss, std::uint32_t rounds) noexcept {
  return std::pow(loss, static_cast<double>(rounds) + 1);
}

BimodalMulticast::BimodalMulticast(const BimodalConfig& config, std::uint64_t seed)
    : config_(config),
      rng_(seed),
      messages_(config.messages_max),
      slots_(config.messages_max),
      index_(config.messages_max),
      store_(config.store_bytes),
      scratch_(config.payload_bytes_max),
      sequence_(config.sequence_first - 1) {
  latest_.reserve(config.messages_max);
}

std::uint32_t BimodalMulticast::keep(const BroadcastId& id, std::uint32_t age,
                                     std::span<const std::byte> payload) noexcept {
  if (!store_.fits(payload.size())) return kNone;
  const std::uint32_t slot = slots_.take();
  if (slot == kNone) return kNone;
  messages_[slot] = {id, age, true, store_.put(payload)};
  index_.set(hash_of(id.origin, id.sequence), slot);
  latest_.push_back(slot);  // reserved
  return slot;
}

Errc BimodalMulticast::broadcast(std::span<const std::byte> payload,
                                 std::span<const std::uint64_t> peers, GossipOutbox& out,
                                 BroadcastId* id) noexcept {
  if (payload.size() > config_.payload_bytes_max) return Errc::invalid_argument;
  const BroadcastId mine{config_.self, sequence_ + 1};
  const std::uint32_t slot = keep(mine, 0, payload);
  if (slot == kNone) return Errc::capacity;
  ++sequence_;
  ++counters_.broadcast;
  if (id != nullptr) *id = mine;
  for (const std::uint64_t peer : peers) send_data(slot, peer, out);
  return Errc::ok;
}
void BimodalMulticast::send_data(std::uint32_t slot, std::uint64_t to, GossipOutbox& out) noexcept {
  const Message& one = messages_[slot];
  StateWriter& writer = out.begin(GossipPart::bimodal, data, to);
  put_id(one.id, writer);
  writer.put(one.age);
  const std::size_t size = store_.copy_head(one.payload, scratch_);
  writer.put(std::span<const std::byte>(scratch_).first(size));
  out.end(GossipLane::digest);
}

// --- rounds ------------------------------------------------------------------------------------

void BimodalMulticast::grow_older() noexcept {
  for (const std::uint32_t slot : latest_) {
    Message& one = messages_[slot];
    ++one.age;
    if (one.age == config_.rounds) {
      store_.free(one.payload);
      one.has_payload = false;
    }
  }
  const auto end = std::remove_if(latest_.begin(), latest_.end(), [&](std::uint32_t slot) {
    const Message& one = messages_[slot];
    if (one.age < 2 * config_.rounds) return false;
    index_.erase(hash_of(one.id.origin, one.id.sequence));
    slots_.free(slot);
    return true;
  });
  latest_.erase(end, latest_.end());
}

void BimodalMulticast::send_digest(std::uint64_t to, GossipOutbox& out) noexcept {
  std::uint32_t count = 0;
  for (auto at = latest_.rbegin(); at != latest_.rend() && count < config_.window; ++at) {
    count += messages_[*at].has_payload ? 1U : 0U;
  }
  if (count == 0) return;
  StateWriter& writer = out.begin(GossipPart::bimodal, digest, to);
  writer.put(count);
  for (auto at = latest_.rbegin(); at != latest_.rend() && count != 0; ++at) {
    if (!messages_[*at].has_payload) continue;
    put_id(messages_[*at].id, writer);
    --count;
  }
  out.end(GossipLane::digest);
}

void BimodalMulticast::tick(std::int64_t now_ns, std::span<std::uint64_t> peers,
                            GossipOutbox& out) noexcept {
  if (now_ns < round_ns_) return;
  round_ns_ = now_ns + config_.round_ns.count();
  retransmitted_ = 0;
  grow_older();
  const std::size_t count = std::min<std::size_t>(config_.fanout, peers.size());
  for (std::size_t i = 0; i < count; ++i) {
    std::swap(peers[i], peers[i + rng_.below(peers.size() - i)]);
    send_digest(peers[i], out);
  }
}
std::int64_t BimodalMulticast::next_ns() const noexcept {
  return latest_.empty() ? INT64_MAX : round_ns_;
}

// --- messages ----------------------------------------------------------------------------------

Errc BimodalMulticast::hear(const Envelope& envelope, StateReader& reader,
                            GossipOutbox& out) noexcept {
  fresh_ = kNone;
  if (envelope.from == config_.self) return Errc::invalid_argument;
  return envelope.kind == data ? hear_data(reader) : hear_ids(envelope, reader, out);
}

Errc BimodalMulticast::hear_data(StateReader& reader) noexcept {
  const BroadcastId id = take_id(reader);
  const auto age = reader.get<std::uint32_t>();
  const auto payload = reader.get_bytes();
  const bool is_possible =
      !reader.failed() && reader.left() == 0 && payload.size() <= config_.payload_bytes_max;
  if (!is_possible) return Errc::bad_input;
  if (find(id) != kNone) {
    ++counters_.duplicates;
    return Errc::ok;
  }
  if (age >= config_.rounds) return Errc::ok;  // others forget it
  fresh_ = keep(id, age, payload);
  (fresh_ == kNone ? counters_.full : counters_.delivered) += 1;
  return Errc::ok;
}

Errc BimodalMulticast::hear_ids(const Envelope& envelope, StateReader& reader,
                                GossipOutbox& out) noexcept {
  const bool is_kind = envelope.kind == digest || envelope.kind == solicit;
  StateReader trial = reader;
  const std::size_t count = trial.get_count(kIdBytes);
  const bool is_whole = !trial.failed() && count <= kWindowMax && trial.left() == count * kIdBytes;
  if (!is_kind || !is_whole) return Errc::bad_input;
  if (envelope.kind == digest) {
    hear_digest(envelope.from, reader, out);
    return Errc::ok;
  }
  reader = trial;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t slot = find(take_id(reader));
    if (slot == kNone || !messages_[slot].has_payload) continue;
    if (retransmitted_ == config_.retransmit_max) {
      ++counters_.refused;
      continue;
    }
    ++retransmitted_;
    ++counters_.retransmitted;
    send_data(slot, envelope.from, out);
  }
  return Errc::ok;
}

void BimodalMulticast::hear_digest(std::uint64_t from, StateReader& reader,
                                   GossipOutbox& out) noexcept {
  StateReader counting = reader;
  const std::size_t count = counting.get_count(kIdBytes);
  std::uint32_t missing = 0;
  for (std::size_t i = 0; i < count; ++i) missing += has(take_id(counting)) ? 0U : 1U;
  if (missing == 0) return;
  counters_.solicited += missing;
  StateWriter& writer = out.begin(GossipPart::bimodal, solicit, from);
  writer.put(missing);
  static_cast<void>(reader.get_count(kIdBytes));
  for (std::size_t i = 0; i < count; ++i) {
    const BroadcastId id = take_id(reader);
    if (!has(id)) put_id(id, writer);
  }
  out.end(GossipLane::digest);
}

// --- state -------------------------------------------------------------------------------------

void BimodalMulticast::save(StateWriter& writer) const {
  rng_.save(writer);
  words_of_bimodal(counters_, [&](const auto& value) { writer.put(value); });
  writer.put(sequence_);
  writer.put(round_ns_);
  writer.put(retransmitted_);
  writer.put(static_cast<std::uint32_t>(latest_.size()));
  for (const std::uint32_t slot : latest_) {
    const Message& one = messages_[slot];
    writer.put(slot);
    put_id(one.id, writer);
    writer.put(one.age);
    writer.put(one.has_payload);
    if (one.has_payload) writer.put(std::span<const std::byte>(store_.get(one.payload)));
  }
}
void BimodalMulticast::load(StateReader& reader) {
  rng_.load(reader);
  words_of_bimodal(counters_, [&](auto& value) { reader.get(value); });
  reader.get(sequence_);
  reader.get(round_ns_);
  reader.get(retransmitted_);
  const std::size_t count = reader.get_count(25);
  if (count > config_.messages_max) return reader.fail();
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    const auto slot = reader.get<std::uint32_t>();
    if (!slots_.use(slot)) return reader.fail();
    Message& one = messages_[slot] = {};
    one.id = take_id(reader);
    reader.get(one.age);
    reader.get(one.has_payload);
    const auto payload = one.has_payload ? reader.get_bytes() : std::span<const std::byte>{};
    const bool is_possible =
        !has(one.id) && store_.fits(payload.size()) && payload.size() <= config_.payload_bytes_max;
    if (!is_possible) return reader.fail();
    one.payload = store_.put(payload);
    index_.set(hash_of(one.id.origin, one.id.sequence), slot);
    latest_.push_back(slot);
  }
}
bool BimodalMulticast::is_sound() const noexcept {
  std::size_t chunks = 0;
  bool is_good = latest_.size() == slots_.used() && index_.count() == slots_.used();
  for (const std::uint32_t slot : latest_) {
    const Message& one = messages_[slot];
    chunks += ChunkStore::chunks_for(one.payload.size_bytes);
    is_good =
        is_good && one.has_payload == (one.age < config_.rounds) && one.age < 2 * config_.rounds;
  }
  return is_good && retransmitted_ <= config_.retransmit_max &&
         chunks + store_.free_count() == store_.chunk_count();
}

}  // namespace mesh::coordination
