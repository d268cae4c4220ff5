// A lease queue as bytes, and whether it is whole.
#include <algorithm>

#include "engine/coordination/blocks/lease_queue.hpp"

namespace mesh::coordination {

void LeaseQueue::save(StateWriter& writer) const {
  fence_.save(writer);
  for (const auto value : {sequence_, ready_sequence_, deaths_}) writer.put(value);
  writer.put(static_cast<std::uint32_t>(workers_.size()));
  for (const auto& worker : workers_) {
    worker.name.save(writer);
    writer.put(worker.station);
    writer.put(worker.is_live);
  }
}

void LeaseQueue::load(StateReader& reader) {
  fence_.load(reader);
  for (auto* value : {&sequence_, &ready_sequence_, &deaths_}) reader.get(*value);
  if (reader.get<std::uint32_t>() != workers_.size()) return reader.fail();
  for (std::uint32_t i = 0; i < workers_.size(); ++i) {
    Worker& worker = workers_[i];
    worker.name.load(reader);
    reader.get(worker.station);
    reader.get(worker.is_live);
    if (worker.is_live) worker_index_.set(worker.name, i);
  }
  assign_lanes();
}

void LeaseQueue::save_slot(std::uint32_t index, StateWriter& writer) const {
  const LeaseSlot& slot = slots_[index];
  writer.put(slot.state);
  writer.put(slot.reason);
  writer.put(slot.is_ahead);
  for (const auto value : {slot.priority, slot.lane, slot.crash_count}) writer.put(value);
  for (const auto value : {slot.attempt, slot.worker, slot.station}) writer.put(value);
  for (const auto value : {slot.sequence, slot.ready_sequence, slot.fence}) writer.put(value);
  for (const auto value : {slot.ready_ns, slot.expires_ns, slot.ttl_at_ns}) writer.put(value);
  slot.key.save(writer);
  for (const auto station : slot.crashed) writer.put(station);
}

std::uint32_t LeaseQueue::load_slot(StateReader& reader) {
  LeaseSlot slot;
  slot.state = reader.get_enum(LeaseState::dead);
  slot.reason = reader.get_enum(DeathReason::rejected);
  reader.get(slot.is_ahead);
  for (auto* value : {&slot.priority, &slot.lane, &slot.crash_count}) reader.get(*value);
  for (auto* value : {&slot.attempt, &slot.worker, &slot.station}) reader.get(*value);
  for (auto* value : {&slot.sequence, &slot.ready_sequence, &slot.fence}) reader.get(*value);
  for (auto* value : {&slot.ready_ns, &slot.expires_ns, &slot.ttl_at_ns}) reader.get(*value);
  slot.key.load(reader);
  for (auto& station : slot.crashed) reader.get(station);
  const bool is_possible = slot.state != LeaseState::free &&
                           slot.priority < config_.priority_levels && slot.lane < kLanes &&
                           slot.worker < workers_.size() &&
                           slot.crash_count <= LeaseSlot::kStationsMax && !free_.empty();
  if (!is_possible) reader.fail();
  if (reader.failed()) return kNone;
  const std::uint32_t index = free_.back();
  free_.pop_back();
  slots_[index] = slot;
  ++count_of(slot.state);
  return index;
}

void LeaseQueue::relink() {
  std::vector<std::uint32_t> used;
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].state != LeaseState::free) used.push_back(i);
  }
  const auto by = [&](std::uint64_t LeaseSlot::*field) {
    std::sort(used.begin(), used.end(), [&](std::uint32_t a, std::uint32_t b) {
      return slots_[a].*field < slots_[b].*field;
    });
  };
  by(&LeaseSlot::ready_sequence);
  for (const auto index : used) {
    if (slots_[index].state == LeaseState::ready) push(index, true);
  }
  by(&LeaseSlot::sequence);
  if (config_.affinity == Affinity::strict) relink_keys(used);
  for (const auto index : used) {
    const std::int64_t at_ns = deadline_of(slots_[index]);
    if (at_ns != 0) deadlines_.set(index, at_ns, slots_[index].sequence);
  }
}

// The one of a key that is not waiting comes first in its chain, revived ones included.
void LeaseQueue::relink_keys(std::span<const std::uint32_t> used) {
  for (const bool waiting : {false, true}) {
    for (const auto index : used) {
      const LeaseSlot& slot = slots_[index];
      if (slot.key == IdHash{} || slot.state == LeaseState::dead) continue;
      if ((slot.state == LeaseState::waiting) == waiting) link_key(index);
    }
  }
}

std::int64_t LeaseQueue::deadline_of(const LeaseSlot& slot) noexcept {
  if (slot.state == LeaseState::leased) return slot.expires_ns;
  if (slot.state == LeaseState::dead) return 0;
  const bool is_delayed = slot.state == LeaseState::delayed;
  if (is_delayed && (slot.ttl_at_ns == 0 || slot.ttl_at_ns >= slot.ready_ns)) return slot.ready_ns;
  return slot.ttl_at_ns;
}

bool LeaseQueue::is_consistent() const {
  LeaseCounts sums;
  std::uint64_t listed = 0;
  std::uint64_t listable = 0;
  for (const auto& slot : slots_) {
    const bool is_waiting = slot.state == LeaseState::waiting;
    listable += slot.state == LeaseState::ready ? 1U : 0U;
    sums.ready += slot.state == LeaseState::ready || is_waiting ? 1U : 0U;
    sums.delayed += slot.state == LeaseState::delayed ? 1U : 0U;
    sums.leased += slot.state == LeaseState::leased ? 1U : 0U;
    sums.dead += slot.state == LeaseState::dead ? 1U : 0U;
    if (is_waiting && slot.key_last == kNone) return false;
    if (slot.fence > fence_.last() || slot.sequence > sequence_) return false;
  }
  for (const auto& list : lists_) {
    std::uint64_t last = 0;
    for (std::uint32_t at = list.first; at != kNone; at = slots_[at].list_next) {
      if (slots_[at].state != LeaseState::ready || slots_[at].ready_sequence < last) return false;
      last = slots_[at].ready_sequence;
      if (++listed > slots_.size()) return false;
    }
  }
  std::uint64_t by_priority = 0;
  for (const auto count : listed_) by_priority += count;
  return listed == listable && by_priority == listed && sums.ready == counts_.ready &&
         sums.delayed == counts_.delayed && sums.leased == counts_.leased &&
         sums.dead == counts_.dead && sums.sum() + free_.size() == slots_.size();
}

}  // namespace mesh::coordination
