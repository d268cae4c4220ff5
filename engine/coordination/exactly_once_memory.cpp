// What a queue remembers of its ids, and for how long.
#include "engine/coordination/exactly_once_queue.hpp"

namespace mesh::coordination {

std::uint32_t ExactlyOnceQueue::find(const IdHash& id, std::int64_t now_ns) const noexcept {
  const std::uint32_t at = index_.find(id);
  return at == kNone || is_over(entries_[at], now_ns) ? kNone : at;
}

TaskState ExactlyOnceQueue::state_of(const Entry& entry) const noexcept {
  if (entry.slot == kNone) return entry.state;
  switch (queue_.slot(entry.slot).state) {
    case LeaseState::leased:
      return TaskState::leased;
    case LeaseState::delayed:
      return TaskState::delayed;
    case LeaseState::dead:
      return TaskState::dead;
    default:
      return TaskState::ready;
  }
}

void ExactlyOnceQueue::to_tail(std::uint32_t entry) noexcept {
  entries_[entry].last = newest_;
  entries_[entry].next = kNone;
  (newest_ == kNone ? oldest_ : entries_[newest_].next) = entry;
  newest_ = entry;
}

void ExactlyOnceQueue::take_out(std::uint32_t entry) noexcept {
  const Entry& gone = entries_[entry];
  (gone.last == kNone ? oldest_ : entries_[gone.last].next) = gone.next;
  (gone.next == kNone ? newest_ : entries_[gone.next].last) = gone.last;
}

void ExactlyOnceQueue::forget(std::uint32_t entry) noexcept {
  take_out(entry);
  index_.erase(entries_[entry].id);
  store_.free(entries_[entry].name);
  store_.free(entries_[entry].body);
  entries_[entry] = {};
  free_entries_.push_back(entry);  // reserved
  ++counters_.forgotten;
}

// A task that is not over keeps its id: it stands for another window.
void ExactlyOnceQueue::forget_old(std::int64_t now_ns) noexcept {
  rotate(now_ns);
  while (oldest_ != kNone && entries_[oldest_].expires_ns <= now_ns) {
    const std::uint32_t entry = oldest_;
    if (entries_[entry].slot == kNone) {
      forget(entry);
      continue;
    }
    take_out(entry);
    entries_[entry].expires_ns = now_ns + config_.dedup_window_ns.count();
    to_tail(entry);
    remember(entries_[entry].id);
  }
}

bool ExactlyOnceQueue::has_room(std::int64_t now_ns) const noexcept {
  if (!free_entries_.empty()) return true;
  if (config_.dedup_mode == DedupMode::producer_seq) return !queue_.is_full();
  for (std::uint32_t at = oldest_; at != kNone; at = entries_[at].next) {
    if (entries_[at].expires_ns > now_ns) return false;
    if (entries_[at].slot == kNone) return true;
  }
  return false;
}

// With producer_seq the windows decide; an entry of what is over is a memory of its result alone.
void ExactlyOnceQueue::make_room() noexcept {
  while (free_entries_.empty()) {
    const std::uint32_t entry = oldest_;
    if (entries_[entry].slot == kNone) {
      forget(entry);
    } else {
      take_out(entry);
      // The list stays in the order of expiry.
      if (newest_ != kNone) entries_[entry].expires_ns = entries_[newest_].expires_ns;
      to_tail(entry);
    }
  }
}

void ExactlyOnceQueue::remember(const IdHash& id) noexcept {
  if (config_.bloom_rate_ppm != 0 && config_.dedup_mode == DedupMode::ids) bloom_.add(id);
}

void ExactlyOnceQueue::rotate(std::int64_t now_ns) noexcept {
  const std::int64_t window = now_ns / config_.dedup_window_ns.count();
  if (window == bloom_window_) return;
  if (bloom_window_ == kNotKnown) {
    bloom_window_ = window;
    return;
  }
  bloom_.rotate();
  if (window > bloom_window_ + 1) bloom_.rotate();
  bloom_window_ = window;
}

ExactlyOnceQueue::Reply ExactlyOnceQueue::inspect(std::string_view id) const {
  Reply reply;
  const std::uint32_t at = find(hash_of(id), clock_.last_ns());
  if (at == kNone) {
    reply.code = Errc::not_found;
    return reply;
  }
  const Entry& entry = entries_[at];
  reply.state = state_of(entry);
  if (entry.slot != kNone) {
    reply.reason = queue_.slot(entry.slot).reason;
    reply.expires = Nanos{queue_.slot(entry.slot).expires_ns};
  } else {
    reply.result = store_.get(entry.body);
  }
  return reply;
}

}  // namespace mesh::coordination
