#include "engine/coordination/rumor_manager.hpp"

#include <algorithm>
#include <cmath>

namespace mesh::coordination {
namespace {

template <class Counters, class Visit>
void words_of_rumors(Counters& counters, Visit&& visit) {
  visit(counters.created);
  visit(counters.delivered);
  visit(counters.duplicates);
  visit(counters.pushed);
  visit(counters.quiet_by_feedback);
  visit(counters.quiet_by_budget);
  visit(counters.expired);
  visit(counters.full);
}

}  // namespace

double rumor_residue(std::uint32_t k) noexcept {
  double s = 0.1;
  for (int i = 0; i < 4'000; ++i) s = std::exp(-(static_cast<double>(k) + 1) * (1 - s));
  return s;
}
double rumor_rounds(std::uint64_t members) noexcept {
  const auto n = static_cast<double>(std::max<std::uint64_t>(members, 1));
  return std::log2(n) + std::log(n);
}

RumorManager::RumorManager(const RumorConfig& config, std::uint64_t seed)
    : config_(config),
      rng_(seed),
      rows_(config.rumors_max),
      slots_(config.rumors_max),
      index_(config.rumors_max),
      ends_(config.rumors_max),
      store_(config.store_bytes),
      scratch_(config.payload_bytes_max) {
  order_.reserve(config.rumors_max);
}

bool RumorManager::is_active(std::string_view key) const noexcept {
  const std::uint32_t slot = index_.find(hash_of(key));
  return slot != kNone && rows_[slot].is_active;
}

Errc RumorManager::judge(const Rumor& rumor) const noexcept {
  if (!is_name(rumor.key)) return Errc::invalid_id;
  const bool is_possible = rumor.payload.size() <= config_.payload_bytes_max &&
                           rumor.ttl.count() > 0 && rumor.ttl <= config_.ttl_ns_max &&
                           rumor.budget != 0 && rumor.budget <= config_.budget_max;
  return is_possible ? Errc::ok : Errc::invalid_argument;
}
Errc RumorManager::create(const Rumor& rumor, std::int64_t now_ns) noexcept {
  const Errc judged = judge(rumor);
  if (judged != Errc::ok) return judged;
  if (knows(rumor.key)) return Errc::already_exists;
  if (keep(rumor, now_ns) == kNone) return Errc::capacity;
  ++counters_.created;
  return Errc::ok;
}

std::uint32_t RumorManager::keep(const Rumor& rumor, std::int64_t birth_ns) noexcept {
  if (!store_.fits(rumor.payload.size())) return kNone;
  const std::uint32_t slot = slots_.take();
  if (slot == kNone) return kNone;
  Row& one = rows_[slot] = {};
  one.key.assign(rumor.key);
  one.birth_ns = birth_ns;
  one.ttl_ns = rumor.ttl.count();
  one.budget = rumor.budget;
  one.payload = store_.put(rumor.payload);
  index_.set(hash_of(rumor.key), slot);
  ends_.set(slot, birth_ns + one.ttl_ns, slot);
  ++active_;
  return slot;
}
void RumorManager::quiet(Row& one) noexcept {
  if (!one.is_active) return;
  one.is_active = false;
  store_.free(one.payload);
  --active_;
}

void RumorManager::tick(std::int64_t now_ns, std::span<std::uint64_t> peers,
                        GossipOutbox& out) noexcept {
  for (auto slot = ends_.pop_due(now_ns); slot != kNone; slot = ends_.pop_due(now_ns)) {
    counters_.expired += rows_[slot].is_active ? 1U : 0U;
    quiet(rows_[slot]);
    index_.erase(hash_of(rows_[slot].key.view()));
    slots_.free(slot);
  }
  if (!is_due(now_ns)) return;
  push_ns_ = now_ns + config_.push_ns.count();
  order_.clear();
  for (std::uint32_t slot = 0; slot < config_.rumors_max; ++slot) {
    if (slots_.is_used(slot) && rows_[slot].is_active) order_.push_back(slot);  // reserved
  }
  std::sort(order_.begin(), order_.end(), [&](std::uint32_t a, std::uint32_t b) {
    const std::int64_t one = rows_[a].birth_ns;
    const std::int64_t other = rows_[b].birth_ns;
    return one != other ? one > other : a < b;
  });
  std::uint32_t left = config_.pushes_max;
  for (const std::uint32_t slot : order_) {
    Row& one = rows_[slot];
    const std::size_t count =
        std::min<std::size_t>({config_.fanout, peers.size(), left, one.budget - one.sent});
    for (std::size_t i = 0; i < count; ++i, --left) {
      std::swap(peers[i], peers[i + rng_.below(peers.size() - i)]);
      send_push(one, peers[i], now_ns, out);
    }
    if (one.sent == one.budget) {
      ++counters_.quiet_by_budget;
      quiet(one);
    }
  }
}
std::int64_t RumorManager::next_ns() const noexcept {
  return active_ == 0 ? ends_.next_ns() : std::min(push_ns_, ends_.next_ns());
}

void RumorManager::send_push(Row& one, std::uint64_t to, std::int64_t now_ns,
                             GossipOutbox& out) noexcept {
  ++one.sent;
  ++counters_.pushed;
  StateWriter& writer = out.begin(GossipPart::rumor, push, to);
  writer.put(one.key.view());
  writer.put(static_cast<std::uint32_t>((now_ns - one.birth_ns) / kNsPerMs));
  writer.put(static_cast<std::uint32_t>((one.ttl_ns + kNsPerMs - 1) / kNsPerMs));
  writer.put(one.budget);
  const std::size_t size = store_.copy_head(one.payload, scratch_);
  writer.put(std::span<const std::byte>(scratch_).first(size));
  out.end(GossipLane::rumor);
}

Errc RumorManager::hear(const Envelope& envelope, StateReader& reader, std::int64_t now_ns,
                        GossipOutbox& out) noexcept {
  fresh_ = kNone;
  if (envelope.from == config_.self) return Errc::invalid_argument;
  if (envelope.kind == push) return hear_push(envelope.from, reader, now_ns, out);
  return envelope.kind == feedback ? hear_feedback(reader) : Errc::bad_input;
}

Errc RumorManager::hear_push(std::uint64_t from, StateReader& reader, std::int64_t now_ns,
                             GossipOutbox& out) noexcept {
  Rumor rumor;
  rumor.key = text_in(reader);
  const auto age_ms = reader.get<std::uint32_t>();
  rumor.ttl = Nanos{std::int64_t{reader.get<std::uint32_t>()} * kNsPerMs};
  reader.get(rumor.budget);
  rumor.payload = reader.get_bytes();
  const bool is_whole = !reader.failed() && reader.left() == 0;
  if (!is_whole || judge(rumor) != Errc::ok) return Errc::bad_input;
  const bool is_known = knows(rumor.key);
  StateWriter& writer = out.begin(GossipPart::rumor, feedback, from);
  writer.put(rumor.key);
  writer.put(is_known);
  out.end(GossipLane::answer);
  counters_.duplicates += is_known ? 1U : 0U;
  const std::int64_t age_ns = std::int64_t{age_ms} * kNsPerMs;
  if (is_known || age_ns >= rumor.ttl.count()) return Errc::ok;
  fresh_ = keep(rumor, now_ns - age_ns);
  (fresh_ == kNone ? counters_.full : counters_.delivered) += 1;
  return Errc::ok;
}
Errc RumorManager::hear_feedback(StateReader& reader) noexcept {
  const std::string_view key = text_in(reader);
  const bool was_known = reader.get<bool>();
  if (reader.failed() || reader.left() != 0) return Errc::bad_input;
  const std::uint32_t slot = index_.find(hash_of(key));
  if (slot == kNone || !was_known || !rows_[slot].is_active) return Errc::ok;
  if (++rows_[slot].duplicates < config_.k) return Errc::ok;
  ++counters_.quiet_by_feedback;
  quiet(rows_[slot]);
  return Errc::ok;
}

// --- state -------------------------------------------------------------------------------------

void RumorManager::save(StateWriter& writer) const {
  rng_.save(writer);
  words_of_rumors(counters_, [&](const auto& value) { writer.put(value); });
  writer.put(push_ns_);
  writer.put(slots_.used());
  for (std::uint32_t slot = 0; slot < config_.rumors_max; ++slot) {
    if (!slots_.is_used(slot)) continue;
    const Row& one = rows_[slot];
    writer.put(slot);
    writer.put(one.key.view());
    writer.put(one.birth_ns);
    writer.put(one.ttl_ns);
    for (const auto word : {one.budget, one.sent, one.duplicates}) writer.put(word);
    writer.put(one.is_active);
    if (one.is_active) writer.put(std::span<const std::byte>(store_.get(one.payload)));
  }
}
void RumorManager::load(StateReader& reader) {
  rng_.load(reader);
  words_of_rumors(counters_, [&](auto& value) { reader.get(value); });
  reader.get(push_ns_);
  const std::size_t count = reader.get_count(37);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    const auto slot = reader.get<std::uint32_t>();
    if (!slots_.use(slot)) return reader.fail();
    Row& one = rows_[slot] = {};
    const bool has_key = one.key.assign(text_in(reader));
    reader.get(one.birth_ns);
    reader.get(one.ttl_ns);
    for (auto* word : {&one.budget, &one.sent, &one.duplicates}) reader.get(*word);
    reader.get(one.is_active);
    const auto payload = one.is_active ? reader.get_bytes() : std::span<const std::byte>{};
    const bool is_possible = has_key && !knows(one.key.view()) && one.sent <= one.budget &&
                             store_.fits(payload.size()) &&
                             payload.size() <= config_.payload_bytes_max;
    if (!is_possible) return reader.fail();
    one.payload = store_.put(payload);
    index_.set(hash_of(one.key.view()), slot);
    ends_.set(slot, one.birth_ns + one.ttl_ns, slot);
    active_ += one.is_active ? 1U : 0U;
  }
}
bool RumorManager::is_sound() const noexcept {
  std::size_t chunks = 0;
  std::uint32_t active = 0;
  bool is_good = index_.count() == slots_.used() && ends_.count() == slots_.used();
  for (std::uint32_t slot = 0; slot < config_.rumors_max; ++slot) {
    if (!slots_.is_used(slot)) continue;
    const Row& one = rows_[slot];
    active += one.is_active ? 1U : 0U;
    chunks += ChunkStore::chunks_for(one.payload.size_bytes);
    is_good = is_good && one.sent <= one.budget;
  }
  return is_good && active == active_ && chunks + store_.free_count() == store_.chunk_count();
}

}  // namespace mesh::coordination
