#include "engine/coordination/blocks/lease_queue.hpp"

#include <algorithm>
#include <bit>

namespace mesh::coordination {

LeaseQueue::LeaseQueue(const LeaseQueueConfig& config)
    : config_(config),
      slots_(config.capacity),
      lists_(std::size_t{kLanes} * config.priority_levels),
      workers_(config.workers_max),
      worker_index_(config.workers_max),
      key_tail_(config.affinity == Affinity::strict ? config.capacity : 1),
      deadlines_(config.capacity) {
  free_.reserve(config.capacity);
  for (std::uint32_t i = config.capacity; i != 0; --i) free_.push_back(i - 1);
  owners_.fill(kNone);
}

// --- places ------------------------------------------------------------------------------------

std::uint64_t& LeaseQueue::count_of(LeaseState state) noexcept {
  switch (state) {
    case LeaseState::delayed:
      return counts_.delayed;
    case LeaseState::leased:
      return counts_.leased;
    case LeaseState::dead:
      return counts_.dead;
    default:
      return counts_.ready;
  }
}

void LeaseQueue::enter(std::uint32_t index, LeaseState state) noexcept {
  LeaseSlot& slot = slots_[index];
  if (slot.state != LeaseState::free) --count_of(slot.state);
  slot.state = state;
  if (state != LeaseState::free) ++count_of(state);
}

void LeaseQueue::push(std::uint32_t index, bool keeps_place) noexcept {
  LeaseSlot& slot = slots_[index];
  List& list = list_of(slot);
  std::uint32_t after = list.last;
  if (keeps_place) {
    while (after != kNone && slots_[after].ready_sequence > slot.ready_sequence) {
      after = slots_[after].list_last;
    }
  } else {
    slot.ready_sequence = ++ready_sequence_;
  }
  slot.list_last = after;
  slot.list_next = after == kNone ? list.first : slots_[after].list_next;
  (after == kNone ? list.first : slots_[after].list_next) = index;
  (slot.list_next == kNone ? list.last : slots_[slot.list_next].list_last) = index;
  filled_[slot.priority] |= std::uint64_t{1} << slot.lane;
  ++listed_[slot.priority];
}

void LeaseQueue::unlink(std::uint32_t index) noexcept {
  LeaseSlot& slot = slots_[index];
  List& list = list_of(slot);
  (slot.list_last == kNone ? list.first : slots_[slot.list_last].list_next) = slot.list_next;
  (slot.list_next == kNone ? list.last : slots_[slot.list_next].list_last) = slot.list_last;
  slot.list_next = slot.list_last = kNone;
  --listed_[slot.priority];
  if (list.first == kNone) filled_[slot.priority] &= ~(std::uint64_t{1} << slot.lane);
}

void LeaseQueue::to_ready(std::uint32_t index, std::int64_t now_ns) noexcept {
  LeaseSlot& slot = slots_[index];
  const bool keeps_place = config_.preserve_order && slot.ready_sequence != 0;
  enter(index, LeaseState::ready);
  slot.ready_ns = now_ns;
  push(index, keeps_place);
  if (slot.ttl_at_ns != 0) deadlines_.set(index, slot.ttl_at_ns, slot.sequence);
}

void LeaseQueue::to_waiting_or_ready(std::uint32_t index, std::int64_t at_ns,
                                     std::int64_t now_ns) noexcept {
  LeaseSlot& slot = slots_[index];
  if (at_ns <= now_ns) return to_ready(index, now_ns);
  enter(index, LeaseState::delayed);
  slot.ready_ns = at_ns;
  const bool ends_first = slot.ttl_at_ns != 0 && slot.ttl_at_ns < at_ns;
  deadlines_.set(index, ends_first ? slot.ttl_at_ns : at_ns, slot.sequence);
}

// Out of whatever list and deadline it is in; its state is the caller's to set.
void LeaseQueue::leave(std::uint32_t index) noexcept {
  if (slots_[index].state == LeaseState::ready) unlink(index);
  deadlines_.clear(index);
}

// --- keys in strict order ----------------------------------------------------------------------

void LeaseQueue::inherit(std::uint32_t head, std::uint8_t priority) noexcept {
  LeaseSlot& slot = slots_[head];
  if (slot.priority >= priority) return;
  const bool is_listed = slot.state == LeaseState::ready;
  if (is_listed) unlink(head);
  slot.priority = priority;
  if (is_listed) push(head, true);
}

void LeaseQueue::link_key(std::uint32_t index) noexcept {
  LeaseSlot& slot = slots_[index];
  const std::uint32_t tail = key_tail_.find(slot.key);
  key_tail_.set(slot.key, index);
  slot.key_last = tail;
  slot.key_next = kNone;
  if (tail != kNone) slots_[tail].key_next = index;
}

void LeaseQueue::unlink_key(std::uint32_t index, std::int64_t now_ns) noexcept {
  LeaseSlot& slot = slots_[index];
  if (config_.affinity != Affinity::strict || slot.key == IdHash{}) return;
  const bool was_head = slot.key_last == kNone;
  if (slot.key_last != kNone) slots_[slot.key_last].key_next = slot.key_next;
  if (slot.key_next != kNone) {
    slots_[slot.key_next].key_last = slot.key_last;
  } else if (slot.key_last != kNone) {
    key_tail_.set(slot.key, slot.key_last);
  } else {
    key_tail_.erase(slot.key);
  }
  const std::uint32_t next = slot.key_next;
  slot.key_next = slot.key_last = kNone;
  if (was_head && next != kNone) {
    deadlines_.clear(next);
    for (std::uint32_t at = slots_[next].key_next; at != kNone; at = slots_[at].key_next) {
      inherit(next, slots_[at].priority);
    }
    to_waiting_or_ready(next, slots_[next].ready_ns, now_ns);
  }
}

// --- workers -----------------------------------------------------------------------------------

std::uint32_t LeaseQueue::worker(const IdHash& name, std::uint32_t station) noexcept {
  const std::uint32_t known = worker_index_.find(name);
  if (known != kNone) {
    workers_[known].station = station;
    return known;
  }
  for (std::uint32_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i].is_live) continue;
    workers_[i] = {name, station, true};
    worker_index_.set(name, i);
    assign_lanes();
    return i;
  }
  return kNone;
}

bool LeaseQueue::remove_worker(const IdHash& name) noexcept {
  const std::uint32_t known = worker_index_.find(name);
  if (known == kNone) return false;
  worker_index_.erase(name);
  workers_[known] = {};
  assign_lanes();
  return true;
}

// Rendezvous: a worker that comes or goes moves its own lanes only.
void LeaseQueue::assign_lanes() noexcept {
  if (config_.affinity == Affinity::none) return;
  for (std::uint32_t lane = 0; lane < kLanes; ++lane) {
    IdHash best;
    owners_[lane] = kNone;
    for (std::uint32_t i = 0; i < workers_.size(); ++i) {
      if (!workers_[i].is_live) continue;
      const IdHash weight = hash_of(workers_[i].name.low, lane);
      if (owners_[lane] != kNone && weight <= best) continue;
      best = weight;
      owners_[lane] = i;
    }
  }
}

std::uint64_t LeaseQueue::own_lanes(std::uint32_t worker) const noexcept {
  std::uint64_t lanes = std::uint64_t{1} << (kLanes - 1);
  if (config_.affinity == Affinity::none) return lanes;
  for (std::uint32_t lane = 0; lane + 1 < kLanes; ++lane) {
    if (owners_[lane] == worker) lanes |= std::uint64_t{1} << lane;
  }
  return lanes;
}

// --- life of an item ---------------------------------------------------------------------------

std::uint32_t LeaseQueue::insert(const LeaseItem& item, std::int64_t now_ns) noexcept {
  if (free_.empty()) return kNone;
  const std::uint32_t index = free_.back();
  free_.pop_back();
  LeaseSlot& slot = slots_[index];
  slot = {};
  slot.priority = static_cast<std::uint8_t>(item.priority);
  slot.key = item.key;
  slot.sequence = ++sequence_;
  slot.ttl_at_ns = item.ttl_ns == 0 ? 0 : now_ns + item.ttl_ns;
  const bool has_key = config_.affinity != Affinity::none && item.key != IdHash{};
  slot.lane = has_key ? static_cast<std::uint8_t>(item.key.low % (kLanes - 1))
                      : static_cast<std::uint8_t>(kLanes - 1);
  const bool is_strict = has_key && config_.affinity == Affinity::strict;
  if (is_strict) link_key(index);
  if (!is_strict || slot.key_last == kNone) {
    to_waiting_or_ready(index, now_ns + item.delay_ns, now_ns);
    return index;
  }
  enter(index, LeaseState::waiting);
  slot.ready_ns = now_ns + item.delay_ns;
  if (slot.ttl_at_ns != 0) deadlines_.set(index, slot.ttl_at_ns, slot.sequence);
  std::uint32_t head = slot.key_last;
  while (slots_[head].key_last != kNone) head = slots_[head].key_last;
  inherit(head, slot.priority);
  return index;
}

std::uint64_t LeaseQueue::level_of(const LeaseSlot& slot, std::int64_t now_ns) const noexcept {
  const std::int64_t waited = now_ns - slot.ready_ns;
  if (waited < config_.aging_ns) return slot.priority;  // most: a division is 10 ns
  const std::uint64_t raised = slot.priority + static_cast<std::uint64_t>(waited) /
                                                   static_cast<std::uint64_t>(config_.aging_ns);
  return std::min<std::uint64_t>(raised, config_.priority_levels - 1);
}

std::uint32_t LeaseQueue::pick(std::uint64_t own, std::int64_t now_ns) const noexcept {
  std::uint32_t best = kNone;
  std::uint64_t best_level = 0;
  for (std::uint32_t level = config_.priority_levels; level-- != 0;) {
    for (std::uint64_t lanes = filled_[level]; lanes != 0; lanes &= lanes - 1) {
      const auto lane = static_cast<std::uint32_t>(std::countr_zero(lanes));
      const std::uint32_t head = lists_[lane * config_.priority_levels + level].first;
      const LeaseSlot& slot = slots_[head];
      const bool is_own = (own >> lane & 1U) != 0;
      const bool may_steal =
          config_.affinity == Affinity::prefer && now_ns - slot.ready_ns >= config_.steal_after_ns;
      if (!is_own && !may_steal) continue;
      const std::uint64_t raised = level_of(slot, now_ns);
      const bool is_better =
          best == kNone || raised > best_level ||
          (raised == best_level && slot.ready_sequence < slots_[best].ready_sequence);
      if (is_better) best = head, best_level = raised;
    }
  }
  return best;
}

std::uint32_t LeaseQueue::claim(std::uint32_t worker, std::int64_t visibility_ns,
                                std::int64_t now_ns) noexcept {
  const std::uint32_t index = pick(own_lanes(worker), now_ns);
  if (index == kNone) return kNone;
  LeaseSlot& slot = slots_[index];
  leave(index);
  enter(index, LeaseState::leased);
  slot.worker = worker;
  slot.station = workers_[worker].station;
  slot.is_ahead = false;
  ++slot.attempt;
  slot.fence = fence_.next();
  renew(index, now_ns + visibility_ns);
  return index;
}

std::uint32_t LeaseQueue::peek(std::int64_t now_ns) const noexcept {
  return pick(~std::uint64_t{0}, now_ns);
}

LeaseQueue::Ready LeaseQueue::ready(std::uint32_t priority) const noexcept {
  Ready ready;
  if (priority >= config_.priority_levels) return ready;
  ready.count = listed_[priority];
  for (std::uint64_t lanes = filled_[priority]; lanes != 0; lanes &= lanes - 1) {
    const auto lane = static_cast<std::uint32_t>(std::countr_zero(lanes));
    const LeaseSlot& head = slots_[lists_[lane * config_.priority_levels + priority].first];
    if (ready.since_ns < 0 || head.ready_ns < ready.since_ns) ready.since_ns = head.ready_ns;
  }
  return ready;
}

std::array<std::uint32_t, LeaseQueue::kAhead> LeaseQueue::behind(
    std::uint32_t claimed) const noexcept {
  const LeaseSlot& slot = slots_[claimed];
  std::array<std::uint32_t, kAhead> ahead{kNone, kNone, kNone};
  std::uint32_t at = lists_[slot.lane * config_.priority_levels + slot.priority].first;
  for (auto& one : ahead) {
    if (at == kNone) break;
    one = at;
    if (&one != &ahead.back()) at = slots_[at].list_next;
  }
  return ahead;
}

void LeaseQueue::renew(std::uint32_t slot, std::int64_t expires_ns) noexcept {
  slots_[slot].expires_ns = expires_ns;
  deadlines_.set(slot, expires_ns, slots_[slot].sequence);
}

void LeaseQueue::give_back(std::uint32_t slot, std::int64_t now_ns) noexcept {
  --slots_[slot].attempt;
  slots_[slot].fence = 0;
  leave(slot);
  to_ready(slot, now_ns);
}

void LeaseQueue::retry(std::uint32_t slot, std::int64_t again_ns, std::int64_t now_ns) noexcept {
  const LeaseSlot& item = slots_[slot];
  if (config_.attempts_max != 0 && item.attempt >= config_.attempts_max) {
    return kill(slot, DeathReason::attempts, now_ns);
  }
  if (item.ttl_at_ns != 0 && item.ttl_at_ns <= now_ns)
    return kill(slot, DeathReason::expired_ttl, now_ns);
  leave(slot);
  to_waiting_or_ready(slot, again_ns, now_ns);
}

void LeaseQueue::kill(std::uint32_t slot, DeathReason reason, std::int64_t now_ns) noexcept {
  leave(slot);
  enter(slot, LeaseState::dead);
  slots_[slot].reason = reason;
  slots_[slot].expires_ns = 0;
  ++deaths_;
  unlink_key(slot, now_ns);
}

void LeaseQueue::revive(std::uint32_t slot, std::int64_t now_ns) noexcept {
  LeaseSlot& item = slots_[slot];
  item.sequence = ++sequence_;  // behind those of its key that came meanwhile
  item.attempt = 0;
  item.crash_count = 0;
  item.reason = DeathReason::none;
  item.fence = 0;
  item.ttl_at_ns = 0;
  if (config_.affinity == Affinity::strict && item.key != IdHash{}) {
    link_key(slot);
    if (item.key_last != kNone) {
      enter(slot, LeaseState::waiting);
      item.ready_ns = now_ns;
      return;
    }
  }
  to_ready(slot, now_ns);
}

void LeaseQueue::finish(std::uint32_t slot, std::int64_t now_ns) noexcept {
  leave(slot);
  const bool was_dead = slots_[slot].state == LeaseState::dead;
  enter(slot, LeaseState::free);
  if (!was_dead) unlink_key(slot, now_ns);
  free_.push_back(slot);  // reserved
}

void LeaseQueue::end_lease(std::uint32_t index, std::int64_t now_ns) noexcept {
  LeaseSlot& slot = slots_[index];
  if (slot.is_ahead) return give_back(index, now_ns);
  retry(index, now_ns, now_ns);
}

std::uint64_t LeaseQueue::expire(std::int64_t now_ns) noexcept {
  std::uint64_t moved = 0;
  for (std::uint32_t index = deadlines_.pop_due(now_ns); index != kNone;
       index = deadlines_.pop_due(now_ns), ++moved) {
    const LeaseSlot& slot = slots_[index];
    if (slot.state == LeaseState::leased) {
      end_lease(index, now_ns);
    } else if (slot.ttl_at_ns != 0 && slot.ttl_at_ns <= now_ns) {
      kill(index, DeathReason::expired_ttl, now_ns);
    } else {
      to_ready(index, now_ns);
    }
  }
  return moved;
}

// Notes the death of the station that held it; true: it was one too many.
bool LeaseQueue::is_poisoned_by(LeaseSlot& slot, std::uint32_t station) noexcept {
  if (slot.is_ahead || config_.poison_stations == 0) return false;
  auto* const noted_end = slot.crashed.begin() + slot.crash_count;
  const bool is_noted = std::find(slot.crashed.begin(), noted_end, station) != noted_end;
  if (!is_noted && slot.crash_count < LeaseSlot::kStationsMax) {
    slot.crashed[slot.crash_count++] = station;
  }
  return slot.crash_count >= config_.poison_stations;
}

LeaseQueue::Ended LeaseQueue::end_station(std::uint32_t station, std::int64_t now_ns) noexcept {
  bool workers_changed = false;
  for (auto& worker : workers_) {
    if (!worker.is_live || worker.station != station) continue;
    worker_index_.erase(worker.name);
    worker = {};
    workers_changed = true;
  }
  if (workers_changed) assign_lanes();
  // In the order of the leases, so that what a restored queue does is the same.
  Ended ended;
  for (std::uint64_t above = 0;;) {
    std::uint32_t next = kNone;
    for (std::uint32_t i = 0; i < slots_.size(); ++i) {
      const bool is_held = slots_[i].state == LeaseState::leased && slots_[i].station == station;
      if (!is_held || slots_[i].fence <= above) continue;
      if (next == kNone || slots_[i].fence < slots_[next].fence) next = i;
    }
    if (next == kNone) return ended;
    LeaseSlot& slot = slots_[next];
    above = slot.fence;
    ++ended.leases;
    if (is_poisoned_by(slot, station)) {
      kill(next, DeathReason::poison, now_ns);
      ++ended.poisoned;
      continue;
    }
    end_lease(next, now_ns);
  }
}

}  // namespace mesh::coordination
