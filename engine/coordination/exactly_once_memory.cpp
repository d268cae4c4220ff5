// What a queue remembers of its ids, and for how long.
#include <span>

#include "engine/coordination/exactly_once_queue.hpp"

namespace mesh::coordination {

std::uint32_t ExactlyOnceQueue::find(const IdHash& id, std::int64_t now_ns) const noexcept {
  const auto is_it = [&](std::uint32_t entry) { return entries_[entry].id == id; };
  const std::uint32_t at = index_.find(id, is_it);
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
  entries_[entry].next = kNone;
  (newest_ == kNone ? oldest_ : entries_[newest_].next) = entry;
  newest_ = entry;
}

std::uint32_t ExactlyOnceQueue::take_oldest() noexcept {
  const std::uint32_t entry = oldest_;
  oldest_ = entries_[entry].next;
  if (oldest_ == kNone) newest_ = kNone;
  return entry;
}

void ExactlyOnceQueue::drop_bytes(Entry& entry) noexcept {
  ChunkStore::Bytes name = entry.name();
  store_.free(name);
  entry.set_name(name);
  store_.free(entry.body);
}

void ExactlyOnceQueue::forget_oldest() noexcept {
  const std::uint32_t entry = take_oldest();
  index_.erase(entries_[entry].id, entry);
  drop_bytes(entries_[entry]);
  entries_[entry] = {};
  free_entries_.push_back(entry);  // reserved
  ++counters_.forgotten;
}

// A task that is not over keeps its id: it stands for another window.
void ExactlyOnceQueue::forget_old(std::int64_t now_ns) noexcept {
  rotate(now_ns);
  while (oldest_ != kNone && entries_[oldest_].expires_ns <= now_ns) {
    if (entries_[oldest_].slot == kNone) {
      forget_oldest();
      continue;
    }
    const std::uint32_t entry = take_oldest();
    entries_[entry].expires_ns = now_ns + config_.dedup_window_ns.count();
    to_tail(entry);
    remember(entries_[entry].id);
  }
  // What the next call will forget, and its place in the index: cold, and known by now.
  if (oldest_ == kNone) return;
  const Entry& next = entries_[oldest_];
  index_.prefetch(next.id);
  if (next.next != kNone) __builtin_prefetch(&entries_[next.next]);
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
    if (entries_[oldest_].slot == kNone) {
      forget_oldest();
    } else {
      const std::uint32_t entry = take_oldest();
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
  if (config_.bloom_rate_ppm == 0) return;  // there is nothing in it, and a division is 10 ns
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

void ExactlyOnceQueue::copy_task(std::uint32_t slot, ClaimedTask& into) const {
  const Entry& entry = entries_[entry_of_slot_[slot]];
  const LeaseSlot& lease = queue_.slot(slot);
  into.id.resize(entry.name_bytes);
  store_.copy_head(entry.name(), std::as_writable_bytes(std::span(into.id)));
  into.fence = lease.fence;
  into.attempt = lease.attempt;
  into.expires = Nanos{lease.expires_ns};
  into.payload = store_.get(entry.body);
}

// What later claims will read: of the third behind this one its slot, of the second its entry, of
// the next its bytes; and its place in the index, which its completion will look for. What is read
// here to find them was fetched a claim ago.
void ExactlyOnceQueue::prefetch_behind(std::uint32_t claimed) const noexcept {
  const auto [next, second, third] = queue_.behind(claimed);
  if (third != kNone) {
    queue_.prefetch(third);
    __builtin_prefetch(&entry_of_slot_[third]);
  }
  if (second != kNone) __builtin_prefetch(&entries_[entry_of_slot_[second]]);
  if (next == kNone) return;
  const Entry& entry = entries_[entry_of_slot_[next]];
  index_.prefetch(entry.id);
  store_.prefetch(entry.name());
  store_.prefetch(entry.body);
}

ExactlyOnceQueue::Reply ExactlyOnceQueue::peek() const {
  Reply reply;
  const std::uint32_t slot = queue_.peek(clock_.last_ns());
  if (slot == kNone) {
    reply.refusal = Refusal::would_block;
    return reply;
  }
  ClaimedTask& task = reply.tasks.emplace_back();
  copy_task(slot, task);
  task.fence = 0;
  task.expires = Nanos{0};
  reply.state = TaskState::ready;
  reply.count = 1;
  return reply;
}

}  // namespace mesh::coordination
