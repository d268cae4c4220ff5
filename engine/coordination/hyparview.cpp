#include "engine/coordination/hyparview.hpp"

#include <algorithm>
#include <array>

namespace mesh::coordination {
namespace {

bool has_peer(std::span<const std::uint64_t> view, std::uint64_t peer) noexcept {
  return std::find(view.begin(), view.end(), peer) != view.end();
}
// The order of a view does not matter.
bool take_peer(std::vector<std::uint64_t>& view, std::uint64_t peer) noexcept {
  const auto at = std::find(view.begin(), view.end(), peer);
  if (at == view.end()) return false;
  *at = view.back();
  view.pop_back();
  return true;
}

}  // namespace

HyParView::HyParView(const OverlayConfig& config, std::uint64_t seed)
    : config_(config), rng_(seed), target_(config.active) {
  active_.reserve(kActiveMax + 1);
  passive_.reserve(config.passive);
  changes_.reserve(4 * kActiveMax);
}

bool HyParView::is_active(std::uint64_t peer) const noexcept { return has_peer(active_, peer); }
void HyParView::set_active(std::uint32_t links) noexcept {
  target_ = std::clamp<std::uint32_t>(links, 1, kActiveMax);
}

void HyParView::note(std::uint64_t peer, bool is_up) noexcept {
  if (changes_.size() < changes_.capacity()) changes_.push_back({peer, is_up});
}
void HyParView::remember(std::uint64_t peer) noexcept {
  if (peer == 0 || peer == config_.self || config_.passive == 0) return;
  if (has_peer(active_, peer) || has_peer(passive_, peer)) return;
  if (passive_.size() == config_.passive) {
    passive_[rng_.below(passive_.size())] = peer;
  } else {
    passive_.push_back(peer);  // reserved
  }
}
void HyParView::learn(std::uint64_t peer) noexcept { remember(peer); }

void HyParView::link(std::uint64_t peer, GossipOutbox& out) noexcept {
  if (peer == 0 || peer == config_.self || has_peer(active_, peer)) return;
  while (active_.size() >= target_) {  // somebody makes room
    const std::uint64_t out_goes = active_[rng_.below(active_.size())];
    send_plain(disconnect, out_goes, out);
    unlink(out_goes);
    remember(out_goes);
  }
  take_peer(passive_, peer);
  active_.push_back(peer);  // reserved
  note(peer, true);
}
bool HyParView::unlink(std::uint64_t peer) noexcept {
  if (!take_peer(active_, peer)) return false;
  note(peer, false);
  return true;
}
void HyParView::lost(std::uint64_t peer) noexcept {
  unlink(peer);
  take_peer(passive_, peer);
  if (asked_ == peer) asked_ = 0;
}

// --- turns -------------------------------------------------------------------------------------

void HyParView::send_plain(Kind kind, std::uint64_t to, GossipOutbox& out) noexcept {
  static_cast<void>(out.begin(GossipPart::overlay, kind, to));
  out.end(GossipLane::tree);
}
void HyParView::join_at(std::uint64_t contact, GossipOutbox& out) noexcept {
  if (contact == 0 || contact == config_.self) return;
  send_plain(join, contact, out);
  link(contact, out);
}
void HyParView::ask(std::uint64_t peer, std::int64_t now_ns, GossipOutbox& out) noexcept {
  asked_ = peer;
  asked_until_ns_ = now_ns + config_.answer_ns.count();
  StateWriter& writer = out.begin(GossipPart::overlay, neighbour, peer);
  writer.put(active_.empty());
  out.end(GossipLane::tree);
}

void HyParView::tick(std::int64_t now_ns, GossipOutbox& out) noexcept {
  if (asked_ != 0 && now_ns >= asked_until_ns_) {
    take_peer(passive_, asked_);  // it does not answer: not worth a second try
    asked_ = 0;
  }
  if (asked_ == 0 && active_.size() < target_ && !passive_.empty()) {
    ask(passive_[rng_.below(passive_.size())], now_ns, out);
  }
  if (now_ns < shuffle_ns_) return;
  shuffle_ns_ = now_ns + config_.shuffle_ns.count();
  look_at_links(out);
  if (walks_) begin_shuffle(out);
}
std::int64_t HyParView::next_ns() const noexcept {
  if (asked_ != 0) return std::min(asked_until_ns_, shuffle_ns_);
  return active_.size() < target_ && !passive_.empty() ? 0 : shuffle_ns_;
}

// Whether the other side has the link too: an answer in the negative ends it.
void HyParView::look_at_links(GossipOutbox& out) noexcept {
  for (const std::uint64_t peer : active_) {
    StateWriter& writer = out.begin(GossipPart::overlay, neighbour, peer);
    writer.put(active_.size() == 1);
    out.end(GossipLane::tree);
  }
}

void HyParView::put_walk(const Walk& one, StateWriter& writer) const {
  writer.put(one.origin);
  writer.put(one.left);
}
void HyParView::begin_shuffle(GossipOutbox& out) noexcept {
  if (active_.empty()) return;
  const std::uint64_t to = active_[rng_.below(active_.size())];
  StateWriter& writer = out.begin(GossipPart::overlay, shuffle, to);
  put_walk({config_.self, static_cast<std::uint8_t>(config_.active_walk)}, writer);
  const std::size_t links = std::min<std::size_t>(config_.shuffle_active, active_.size());
  const std::size_t others = std::min<std::size_t>(config_.shuffle_passive, passive_.size());
  writer.put(static_cast<std::uint32_t>(links + others));
  for (std::size_t i = 0; i < links; ++i) {  // the first of a shuffled view
    std::swap(active_[i], active_[i + rng_.below(active_.size() - i)]);
    writer.put(active_[i]);
  }
  for (std::size_t i = 0; i < others; ++i) {
    std::swap(passive_[i], passive_[i + rng_.below(passive_.size() - i)]);
    writer.put(passive_[i]);
  }
  out.end(GossipLane::tree);
}

// --- messages ----------------------------------------------------------------------------------

std::uint64_t HyParView::pick_active(std::uint64_t not_this, std::uint64_t nor_this) noexcept {
  std::uint64_t chosen = 0;
  std::uint64_t seen = 0;
  for (const std::uint64_t peer : active_) {
    if (peer != not_this && peer != nor_this && rng_.below(++seen) == 0) chosen = peer;
  }
  return chosen;
}

Errc HyParView::hear(const Envelope& envelope, StateReader& reader, std::int64_t now_ns,
                     GossipOutbox& out) noexcept {
  const std::uint64_t from = envelope.from;
  if (from == config_.self) return Errc::invalid_argument;
  switch (envelope.kind) {
    case join:
    case disconnect:
      if (reader.left() != 0) return Errc::bad_input;
      if (envelope.kind == disconnect) {
        if (unlink(from)) remember(from);
        return Errc::ok;
      }
      link(from, out);
      for (const std::uint64_t peer : active_) {
        if (peer == from) continue;
        StateWriter& writer = out.begin(GossipPart::overlay, forward_join, peer);
        put_walk({from, static_cast<std::uint8_t>(config_.active_walk)}, writer);
        out.end(GossipLane::tree);
      }
      return Errc::ok;
    case forward_join: {
      Walk one;
      reader.get(one.origin);
      reader.get(one.left);
      if (reader.failed() || reader.left() != 0 || one.origin == 0) return Errc::bad_input;
      hear_forward_join(from, one, now_ns, out);
      return Errc::ok;
    }
    case neighbour:
    case neighbour_answer: {
      const bool flag = reader.get<bool>();
      if (reader.failed() || reader.left() != 0) return Errc::bad_input;
      envelope.kind == neighbour ? hear_neighbour(from, flag, out) : hear_answer(from, flag, out);
      return Errc::ok;
    }
    default:
      break;
  }
  const bool is_shuffle = envelope.kind == shuffle || envelope.kind == shuffle_answer;
  StateReader trial = reader;
  static_cast<void>(trial.get<std::uint64_t>());
  static_cast<void>(trial.get<std::uint8_t>());
  const std::size_t count = trial.get_count(8);
  const bool is_whole = !trial.failed() && count <= kShuffleMax && trial.left() == 8 * count;
  if (!is_shuffle || !is_whole) return Errc::bad_input;
  hear_shuffle(envelope, reader, out);
  return Errc::ok;
}

void HyParView::hear_forward_join(std::uint64_t from, const Walk& one, std::int64_t now_ns,
                                  GossipOutbox& out) noexcept {
  if (one.origin == config_.self || has_peer(active_, one.origin)) return;
  const std::uint64_t next = pick_active(from, one.origin);
  if (one.left == 0 || next == 0) {
    ask(one.origin, now_ns, out);  // it has room for those it joins
    return;
  }
  if (one.left == config_.passive_walk) remember(one.origin);
  StateWriter& writer = out.begin(GossipPart::overlay, forward_join, next);
  const auto left = static_cast<std::uint8_t>(
      std::min<std::uint32_t>(static_cast<std::uint32_t>(one.left) - 1, config_.active_walk));
  put_walk({one.origin, left}, writer);
  out.end(GossipLane::tree);
}

void HyParView::hear_neighbour(std::uint64_t from, bool is_urgent, GossipOutbox& out) noexcept {
  const bool takes = is_urgent || active_.size() < target_ || has_peer(active_, from);
  if (takes) {
    link(from, out);
  } else {
    remember(from);
  }
  StateWriter& writer = out.begin(GossipPart::overlay, neighbour_answer, from);
  writer.put(takes);
  out.end(GossipLane::tree);
}
void HyParView::hear_answer(std::uint64_t from, bool is_accepted, GossipOutbox& out) noexcept {
  const bool was_asked = asked_ == from;
  if (was_asked) asked_ = 0;
  if (!is_accepted) {
    if (unlink(from)) remember(from);  // it was a link of one side
    return;
  }
  if (was_asked) link(from, out);
}

void HyParView::hear_shuffle(const Envelope& envelope, StateReader& reader,
                             GossipOutbox& out) noexcept {
  Walk one;
  reader.get(one.origin);
  reader.get(one.left);
  std::array<std::uint64_t, kShuffleMax> peers{};
  const std::size_t count = reader.get_count(8);
  for (std::size_t i = 0; i < count; ++i) reader.get(peers[i]);
  const auto heard = std::span(peers).first(count);
  if (one.origin == config_.self && envelope.kind == shuffle) return;
  const std::uint64_t next = pick_active(envelope.from, one.origin);
  if (envelope.kind == shuffle && one.left > 0 && next != 0) {
    StateWriter& writer = out.begin(GossipPart::overlay, shuffle, next);
    const auto left = static_cast<std::uint8_t>(
        std::min<std::uint32_t>(static_cast<std::uint32_t>(one.left) - 1, config_.active_walk));
    put_walk({one.origin, left}, writer);
    writer.put(static_cast<std::uint32_t>(count));
    for (const std::uint64_t peer : heard) writer.put(peer);
    out.end(GossipLane::tree);
    return;
  }
  if (envelope.kind == shuffle && one.origin != 0) {
    StateWriter& writer = out.begin(GossipPart::overlay, shuffle_answer, one.origin);
    put_walk({config_.self, 0}, writer);
    const std::size_t given = std::min(count, passive_.size());
    writer.put(static_cast<std::uint32_t>(given));
    for (std::size_t i = 0; i < given; ++i) {
      std::swap(passive_[i], passive_[i + rng_.below(passive_.size() - i)]);
      writer.put(passive_[i]);
    }
    out.end(GossipLane::tree);
    remember(one.origin);
  }
  for (const std::uint64_t peer : heard) remember(peer);
}

// --- state -------------------------------------------------------------------------------------

void HyParView::save(StateWriter& writer) const {
  rng_.save(writer);
  for (const auto* view : {&active_, &passive_}) {
    writer.put(static_cast<std::uint32_t>(view->size()));
    for (const std::uint64_t peer : *view) writer.put(peer);
  }
  writer.put(static_cast<std::uint32_t>(changes_.size()));
  for (const auto& change : changes_) {
    writer.put(change.peer);
    writer.put(change.is_up);
  }
  writer.put(asked_);
  writer.put(asked_until_ns_);
  writer.put(shuffle_ns_);
  writer.put(target_);
  writer.put(walks_);
}
void HyParView::load(StateReader& reader) {
  rng_.load(reader);
  for (auto* view : {&active_, &passive_}) {
    const std::size_t count = reader.get_count(8);
    if (count > view->capacity()) return reader.fail();
    view->clear();
    for (std::size_t i = 0; i < count; ++i) view->push_back(reader.get<std::uint64_t>());
  }
  const std::size_t count = reader.get_count(9);
  if (count > changes_.capacity()) return reader.fail();
  changes_.clear();
  for (std::size_t i = 0; i < count; ++i) {
    Change change;
    reader.get(change.peer);
    reader.get(change.is_up);
    changes_.push_back(change);
  }
  reader.get(asked_);
  reader.get(asked_until_ns_);
  reader.get(shuffle_ns_);
  reader.get(target_);
  reader.get(walks_);
  if (target_ == 0 || target_ > kActiveMax) reader.fail();
}
bool HyParView::is_sound() const noexcept {
  bool is_good = active_.size() <= kActiveMax && passive_.size() <= config_.passive;
  for (const std::uint64_t peer : active_) {
    is_good = is_good && peer != 0 && peer != config_.self && !has_peer(passive_, peer) &&
              std::count(active_.begin(), active_.end(), peer) == 1;
  }
  for (const std::uint64_t peer : passive_) {
    is_good = is_good && peer != 0 && peer != config_.self &&
              std::count(passive_.begin(), passive_.end(), peer) == 1;
  }
  return is_good;
}

}  // namespace mesh::coordination
