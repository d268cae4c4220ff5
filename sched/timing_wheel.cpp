#include "sched/timing_wheel.hpp"

#include <bit>
#include <new>
#include <string>

namespace mesh::sched {
namespace {

// A mesh of kMaxAgents has four unanswered messages for each (bit_ceil), all of which may be timed,
// and its operations. Four bytes each.
constexpr std::uint32_t kOperationsMax = 1U << 23;
static_assert(kOperationsMax > 4 * kMaxAgents + kMaxOperations);

}  // namespace

Result<TimingWheel> TimingWheel::create(const TimingWheelOptions& options) {
  if (options.capacity == 0 || options.capacity > kMaxWheelEntries) {
    return fail(Errc::invalid_argument,
                "timing wheel: capacity " + std::to_string(options.capacity) + ", must be 1.." +
                    std::to_string(kMaxWheelEntries),
                options.capacity);
  }
  if (options.operations == 0 || options.operations > kOperationsMax) {
    return fail(Errc::invalid_argument,
                "timing wheel: operations " + std::to_string(options.operations) + ", must be 1.." +
                    std::to_string(kOperationsMax),
                options.operations);
  }
  if (options.start_ns < 0 || options.start_ns > kDueNsMax) {
    return fail(Errc::invalid_argument,
                "timing wheel: start_ns " + std::to_string(options.start_ns) + ", must be 0.." +
                    std::to_string(kDueNsMax),
                options.start_ns);
  }
  try {
    return TimingWheel(options);
  } catch (const std::bad_alloc&) {
    return fail(Errc::no_memory,
                "timing wheel: no memory for " + std::to_string(options.capacity) + " entries",
                options.capacity);
  }
}

TimingWheel::TimingWheel(const TimingWheelOptions& options)
    : nodes_(options.capacity),
      operation_head_(options.operations, kNil),
      tick_(tick_of(options.start_ns)),
      now_ns_(options.start_ns) {
  heap_.reserve(options.capacity);
  for (Level& level : levels_) level.head.fill(kNil);
  for (std::uint32_t index = options.capacity; index-- > 0;) {
    nodes_[index].next = free_;
    free_ = index;
  }
}

Scheduled TimingWheel::schedule(const WheelEntry& entry) noexcept {
  if (entry.due_ns < kDueNsMin || entry.due_ns > kDueNsMax) {
    return {ScheduleStatus::kOutOfRange, {}};
  }
  if (entry.operation >= operation_head_.size()) return {ScheduleStatus::kNoSuchOperation, {}};
  if (free_ == kNil) return {ScheduleStatus::kFull, {}};
  const std::uint32_t index = free_;
  Node& node = nodes_[index];
  free_ = node.next;
  ++size_;
  node.due_ns = entry.due_ns;
  node.order = order_++;
  node.operation = entry.operation;
  node.bucket = entry.bucket;
  std::uint32_t& head = operation_head_[entry.operation];
  node.operation_previous = kNil;
  node.operation_next = head;
  if (head != kNil) nodes_[head].operation_previous = index;
  head = index;
  place(index);
  return {ScheduleStatus::kScheduled, {index, node.generation}};
}

bool TimingWheel::cancel(TimerHandle handle) noexcept {
  if (handle.index >= nodes_.size()) return false;
  const Node& node = nodes_[handle.index];
  if (node.level == kFree || node.generation != handle.generation) return false;
  unlink(handle.index);
  release(handle.index);
  return true;
}

std::uint32_t TimingWheel::cancel_operation(std::uint32_t operation) noexcept {
  if (operation >= operation_head_.size()) return 0;
  std::uint32_t cancelled = 0;
  while (operation_head_[operation] != kNil) {
    const std::uint32_t index = operation_head_[operation];
    unlink(index);
    release(index);
    ++cancelled;
  }
  return cancelled;
}

std::int64_t TimingWheel::next_due_ns() const noexcept {
  std::int64_t earliest = heap_.empty() ? kNever : heap_.front().due_ns;
  if (open_level_ != kFree) {
    earliest = std::min(earliest, levels_[open_level_].earliest_ns[open_slot_]);
  }
  for (const Level& level : levels_) {
    if (level.occupied == 0) continue;
    const auto slot = static_cast<std::size_t>(std::countr_zero(level.occupied));
    return std::min(earliest, level.earliest_ns[slot]);  // higher levels are later than lower ones
  }
  return earliest;
}

// Where the highest bits that differ from the wheel's own time say.
void TimingWheel::place(std::uint32_t index) noexcept {
  const std::uint64_t tick = tick_of(nodes_[index].due_ns);
  if (tick <= tick_) {
    heap_push(index);
    return;
  }
  const auto highest_bit = static_cast<unsigned>(63 - std::countl_zero(tick ^ tick_));
  const unsigned level = highest_bit / kLevelBits;
  link(index, level, static_cast<unsigned>(tick >> (level * kLevelBits)) & (kSlots - 1));
}

void TimingWheel::link(std::uint32_t index, unsigned level_index, unsigned slot) noexcept {
  Level& level = levels_[level_index];
  Node& node = nodes_[index];
  std::uint32_t& head = level.head[slot];
  std::int64_t& earliest = level.earliest_ns[slot];
  earliest = head == kNil ? node.due_ns : std::min(earliest, node.due_ns);
  node.level = static_cast<std::uint8_t>(level_index);
  node.slot = static_cast<std::uint8_t>(slot);
  node.previous = kNil;
  node.next = head;
  if (head != kNil) nodes_[head].previous = index;
  head = index;
  level.occupied |= std::uint64_t{1} << slot;
}

void TimingWheel::unlink(std::uint32_t index) noexcept {
  const Node& node = nodes_[index];
  MESH_DCHECK(node.level != kFree);
  if (node.level == kInHeap) {
    heap_remove(node.heap_position);
    return;
  }
  Level& level = levels_[node.level];
  if (node.next != kNil) nodes_[node.next].previous = node.previous;
  if (node.previous != kNil) {
    nodes_[node.previous].next = node.next;
    return;
  }
  level.head[node.slot] = node.next;
  if (node.next != kNil) return;
  level.occupied &= ~(std::uint64_t{1} << node.slot);
  if (node.level == open_level_ && node.slot == open_slot_) open_level_ = kFree;
}

void TimingWheel::release(std::uint32_t index) noexcept {
  Node& node = nodes_[index];
  if (node.operation_next != kNil) {
    nodes_[node.operation_next].operation_previous = node.operation_previous;
  }
  if (node.operation_previous != kNil) {
    nodes_[node.operation_previous].operation_next = node.operation_next;
  } else {
    operation_head_[node.operation] = node.operation_next;
  }
  node.level = kFree;
  ++node.generation;
  node.next = free_;
  free_ = index;
  --size_;
}

WheelEntry TimingWheel::pop_front() noexcept {
  const std::uint32_t index = heap_.front().node;
  const Node& node = nodes_[index];
  const WheelEntry entry{node.operation, node.bucket, node.due_ns};
  heap_remove(0);
  release(index);
  return entry;
}

// Time enters the first occupied slot, if it starts by now. Its list stands apart then: out of the
// bitmap, so that what it moves to lower levels is not found before all of it has moved.
bool TimingWheel::open_next_slot() noexcept {
  const std::uint64_t now_tick = tick_of(now_ns_);
  for (unsigned n = 0; n < kLevels; ++n) {
    Level& level = levels_[n];
    if (level.occupied == 0) continue;
    const auto slot = static_cast<unsigned>(std::countr_zero(level.occupied));
    const unsigned shift = n * kLevelBits;
    const std::uint64_t above = tick_ >> (shift + kLevelBits) << (shift + kLevelBits);
    const std::uint64_t start = above | (std::uint64_t{slot} << shift);
    MESH_DCHECK(start > tick_);
    if (start > now_tick) break;
    tick_ = start;
    level.occupied &= ~(std::uint64_t{1} << slot);
    open_level_ = static_cast<std::uint8_t>(n);
    open_slot_ = static_cast<std::uint8_t>(slot);
    return true;
  }
  // No occupied slot starts by now: on every level where one exists, now lies under the same
  // parent.
  tick_ = std::max(tick_, now_tick);
  return false;
}

// Moves the open slot's entries to where they now belong; false if `limit` ended it.
bool TimingWheel::drain_open_slot(std::uint32_t limit, std::uint32_t& moved) noexcept {
  if (open_level_ == kFree) return true;
  std::uint32_t& head = levels_[open_level_].head[open_slot_];
  while (head != kNil) {
    if (moved == limit) return false;
    const std::uint32_t index = head;
    head = nodes_[index].next;
    if (head != kNil) nodes_[head].previous = kNil;
    place(index);
    ++moved;
  }
  open_level_ = kFree;
  return true;
}

void TimingWheel::heap_put(std::uint32_t position, const HeapItem& item) noexcept {
  heap_[position] = item;
  nodes_[item.node].heap_position = position;
}

void TimingWheel::sift_up(std::uint32_t position, const HeapItem& item) noexcept {
  while (position > 0) {
    const std::uint32_t parent = (position - 1) / 2;
    if (!before(item, heap_[parent])) break;
    heap_put(position, heap_[parent]);
    position = parent;
  }
  heap_put(position, item);
}

void TimingWheel::sift_down(std::uint32_t position, const HeapItem& item) noexcept {
  const auto count = static_cast<std::uint32_t>(heap_.size());
  for (;;) {
    std::uint32_t child = 2 * position + 1;
    if (child >= count) break;
    if (child + 1 < count && before(heap_[child + 1], heap_[child])) ++child;
    if (!before(heap_[child], item)) break;
    heap_put(position, heap_[child]);
    position = child;
  }
  heap_put(position, item);
}

void TimingWheel::heap_push(std::uint32_t index) noexcept {
  MESH_DCHECK(heap_.size() < heap_.capacity());
  Node& node = nodes_[index];
  node.level = kInHeap;
  const HeapItem item{node.due_ns, node.order, index};
  heap_.push_back(item);
  sift_up(static_cast<std::uint32_t>(heap_.size() - 1), item);
}

void TimingWheel::heap_remove(std::uint32_t position) noexcept {
  const HeapItem last = heap_.back();
  heap_.pop_back();
  if (position == heap_.size()) return;  // it was the last
  const bool rises = position > 0 && before(last, heap_[(position - 1) / 2]);
  if (rises) {
    sift_up(position, last);
  } else {
    sift_down(position, last);
  }
}

Status TimingWheel::verify_levels(std::uint32_t& linked) const {
  for (unsigned n = 0; n < kLevels; ++n) {
    const Level& level = levels_[n];
    const auto own = static_cast<unsigned>(tick_ >> (n * kLevelBits)) & (kSlots - 1);
    for (unsigned slot = 0; slot < kSlots; ++slot) {
      const bool is_open = n == open_level_ && slot == open_slot_;
      const bool is_occupied = ((level.occupied >> slot) & 1) != 0;
      const std::string where =
          "timing wheel: level " + std::to_string(n) + " slot " + std::to_string(slot);
      if ((is_occupied || is_open) != (level.head[slot] != kNil)) {
        return fail(Errc::corrupt, where + ": its bit and its list disagree");
      }
      if (is_occupied && slot <= own) return fail(Errc::corrupt, where + ": time has passed it");
      std::uint32_t previous = kNil;
      for (std::uint32_t i = level.head[slot]; i != kNil; previous = i, i = nodes_[i].next) {
        const Node& node = nodes_[i];
        if (++linked > nodes_.size()) return fail(Errc::corrupt, where + ": a list has a loop");
        if (node.level != n || node.slot != slot || node.previous != previous) {
          return fail(Errc::corrupt, where + ": an entry is linked wrongly", i);
        }
        if (node.due_ns < level.earliest_ns[slot]) {
          return fail(Errc::corrupt, where + ": an entry is due before the slot's earliest", i);
        }
        const std::uint64_t tick = tick_of(node.due_ns);
        const unsigned above = (n + 1) * kLevelBits;
        if (((tick >> (n * kLevelBits)) & (kSlots - 1)) != slot ||
            tick >> above != tick_ >> above) {
          return fail(Errc::corrupt, where + ": an entry does not belong there", i);
        }
      }
    }
  }
  return {};
}

Status TimingWheel::verify_heap() const {
  for (std::uint32_t i = 0; i < heap_.size(); ++i) {
    const HeapItem& item = heap_[i];
    const Node& node = nodes_[item.node];
    if (node.level != kInHeap || node.heap_position != i || node.due_ns != item.due_ns ||
        node.order != item.order) {
      return fail(Errc::corrupt, "timing wheel: heap and entry disagree", i);
    }
    if (i > 0 && before(item, heap_[(i - 1) / 2])) {
      return fail(Errc::corrupt, "timing wheel: the heap is out of order", i);
    }
    if (tick_of(item.due_ns) > tick_) {
      return fail(Errc::corrupt, "timing wheel: the heap holds a later slot's entry", i);
    }
  }
  return {};
}

Status TimingWheel::verify_operations() const {
  std::uint32_t listed = 0;
  for (std::uint32_t operation = 0; operation < operation_head_.size(); ++operation) {
    std::uint32_t previous = kNil;
    for (std::uint32_t i = operation_head_[operation]; i != kNil; i = nodes_[i].operation_next) {
      const Node& node = nodes_[i];
      if (++listed > size_ || node.level == kFree || node.operation != operation ||
          node.operation_previous != previous) {
        return fail(Errc::corrupt, "timing wheel: the list of an operation is wrong", operation);
      }
      previous = i;
    }
  }
  if (listed != size_) return fail(Errc::corrupt, "timing wheel: an entry has no operation");
  return {};
}

Status TimingWheel::verify() const {
  std::uint32_t linked = 0;
  MESH_CHECK_OK(verify_levels(linked));
  MESH_CHECK_OK(verify_heap());
  MESH_CHECK_OK(verify_operations());
  std::uint32_t free_count = 0;
  for (std::uint32_t i = free_; i != kNil; i = nodes_[i].next) {
    if (nodes_[i].level != kFree || ++free_count > nodes_.size()) {
      return fail(Errc::corrupt, "timing wheel: the free list is wrong", i);
    }
  }
  if (linked + heap_.size() != size_) {
    return fail(Errc::corrupt, "timing wheel: linked and heap do not add up to size");
  }
  if (size_ + free_count != nodes_.size()) {
    return fail(Errc::corrupt, "timing wheel: size and free do not add up to capacity");
  }
  return {};
}

}  // namespace mesh::sched
