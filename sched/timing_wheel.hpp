// TimingWheel: fires (operation, bucket) entries at their exact due times, in order.
//
// Slots of 65,536 ns ("64 us") on eight levels of 64 slots: level n holds what is due within
// 64^(n+1) slots of the wheel's time, so eight levels cover every time there is and nothing
// overflows. An entry moves down a level when time enters its slot, at most seven times in its
// life. Entries of the slot that time is in stand in a heap by (due, order of scheduling): the
// wheel finds what is near, the heap makes it exact.
//
//   wheel, level n .. level 1 -> level 0 -> heap -> fired
//
// Invariants  entries linked + entries in the heap + free == capacity
//             all of the heap is due before the end of the wheel's slot, all of the wheel after it
//             bit s of level n is set <=> its list is not empty; s > the wheel's own index there
// Callers     one thread. The function given to advance() may schedule and cancel.
// Progress    wait-free; no allocation after create().
// Cost        schedule, cancel: O(1), O(log k) if due within the current slot, k entries of that
//             slot.
//             next_due: O(levels). advance: O(fired * log k + moved), both at most `limit`.
// Units       int64 nanoseconds of HostClock, within [-2^62, 2^62].
// Errors      ScheduleStatus. create -> Errc::invalid_argument, no_memory.
// Source      Varghese & Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987; level by XOR,
//             so that no level wraps, after tokio/src/runtime/time/wheel. Ours: the heap at the
//             front.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "shm/base/assert.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::sched {

struct WheelEntry {
  std::uint32_t operation = 0;  // slot of the operation, below TimingWheelOptions::operations
  std::uint16_t bucket = 0;
  std::int64_t due_ns = 0;
  friend constexpr bool operator==(const WheelEntry&, const WheelEntry&) = default;
};

// A handle outlives its entry harmlessly, until its place was reused 2^32 times.
struct TimerHandle {
  std::uint32_t index = UINT32_MAX;
  std::uint32_t generation = 0;
  friend constexpr bool operator==(const TimerHandle&, const TimerHandle&) = default;
};

enum class ScheduleStatus : std::uint8_t { kScheduled, kFull, kNoSuchOperation, kOutOfRange };

struct Scheduled {
  ScheduleStatus status = ScheduleStatus::kScheduled;
  TimerHandle handle;  // of nothing, unless kScheduled
};

struct Advanced {
  std::uint32_t fired = 0;
  std::uint32_t moved = 0;  // entries that changed their level
  bool more = false;        // the limit ended it before `now` was reached: call again
};

struct TimingWheelOptions {
  std::uint32_t capacity = 65'536;
  std::uint32_t operations = kMaxOperations;
  std::int64_t start_ns = 0;
};

class TimingWheel {
 public:
  static constexpr std::int64_t kNever = INT64_MAX;
  static constexpr std::int64_t kDueNsMax = std::int64_t{1} << 62;  // 146 years
  static constexpr std::int64_t kDueNsMin = -kDueNsMax;             // T - lead may lie before boot
  static constexpr unsigned kSlotShift = 16;
  static constexpr std::int64_t kSlotNs = std::int64_t{1} << kSlotShift;

  [[nodiscard]] static Result<TimingWheel> create(const TimingWheelOptions& options);

  // What is due already fires with the next advance().
  [[nodiscard]] Scheduled schedule(const WheelEntry& entry) noexcept;
  // False if it has fired or was cancelled: then nothing happens.
  bool cancel(TimerHandle handle) noexcept;
  // All entries of one operation; returns how many there were. O(their number).
  std::uint32_t cancel_operation(std::uint32_t operation) noexcept;

  // No entry is due before this; kNever if there is none. Exactly the earliest due time, except
  // after a cancel: then it may be earlier, and costs its user one look for nothing.
  [[nodiscard]] std::int64_t next_due_ns() const noexcept;

  // Calls fire(const WheelEntry&) for each entry with due_ns <= now_ns, in order of (due_ns, order
  // of scheduling), for at most `limit` of them. An entry has left the wheel when it is fired. Time
  // does not go back: an earlier now_ns counts as the last one.
  template <class Fire>
  Advanced advance(std::int64_t now_ns, std::uint32_t limit, Fire&& fire) {
    MESH_DCHECK(now_ns >= now_ns_);
    now_ns_ = std::clamp(now_ns, now_ns_, kDueNsMax);
    Advanced advanced;
    for (;;) {
      if (!drain_open_slot(limit, advanced.moved)) break;
      while (!heap_.empty() && heap_.front().due_ns <= now_ns_) {
        if (advanced.fired == limit) {
          advanced.more = true;
          return advanced;
        }
        ++advanced.fired;
        fire(pop_front());
      }
      if (!open_next_slot()) return advanced;
    }
    advanced.more = true;
    return advanced;
  }

  // What fires next, if it is in the slot that time is in (64 us).
  [[nodiscard]] std::optional<WheelEntry> next() const noexcept {
    if (heap_.empty()) return std::nullopt;
    const Node& node = nodes_[heap_.front().node];
    return WheelEntry{node.operation, node.bucket, node.due_ns};
  }
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  [[nodiscard]] std::uint32_t capacity() const noexcept {
    return static_cast<std::uint32_t>(nodes_.size());
  }
  // Walks everything and checks the invariants above; Errc::corrupt names the first that fails.
  [[nodiscard]] Status verify() const;

 private:
  static constexpr unsigned kLevelBits = 6;
  static constexpr unsigned kLevels = 8;
  static constexpr unsigned kSlots = 1U << kLevelBits;
  static constexpr std::uint32_t kNil = UINT32_MAX;
  static constexpr std::uint8_t kInHeap = 0xFE;
  static constexpr std::uint8_t kFree = 0xFF;
  static_assert(kLevels * kLevelBits + kSlotShift > 62, "a due time would overflow the wheel");

  struct Node {
    std::int64_t due_ns = 0;
    std::uint64_t order = 0;
    std::uint32_t operation = 0;
    std::uint32_t generation = 0;
    std::uint32_t previous = kNil;  // in the slot's list
    std::uint32_t next = kNil;      // in the slot's list or the free list
    std::uint32_t operation_previous = kNil;
    std::uint32_t operation_next = kNil;
    std::uint32_t heap_position = kNil;
    std::uint16_t bucket = 0;
    std::uint8_t level = kFree;
    std::uint8_t slot = 0;
  };
  static_assert(sizeof(Node) == 48);
  struct HeapItem {
    std::int64_t due_ns;
    std::uint64_t order;
    std::uint32_t node;
  };
  struct Level {
    std::uint64_t occupied = 0;
    std::array<std::uint32_t, kSlots> head{};
    std::array<std::int64_t, kSlots> earliest_ns{};  // no entry of the slot is due before it
  };

  explicit TimingWheel(const TimingWheelOptions& options);

  static std::uint64_t tick_of(std::int64_t ns) noexcept {
    return static_cast<std::uint64_t>(std::max(ns, std::int64_t{0})) >> kSlotShift;
  }
  static bool before(const HeapItem& a, const HeapItem& b) noexcept {
    return a.due_ns != b.due_ns ? a.due_ns < b.due_ns : a.order < b.order;
  }

  void place(std::uint32_t index) noexcept;
  void link(std::uint32_t index, unsigned level, unsigned slot) noexcept;
  void unlink(std::uint32_t index) noexcept;
  void heap_push(std::uint32_t index) noexcept;
  void heap_remove(std::uint32_t position) noexcept;
  void heap_put(std::uint32_t position, const HeapItem& item) noexcept;
  void sift_up(std::uint32_t position, const HeapItem& item) noexcept;
  void sift_down(std::uint32_t position, const HeapItem& item) noexcept;
  void release(std::uint32_t index) noexcept;
  WheelEntry pop_front() noexcept;
  bool drain_open_slot(std::uint32_t limit, std::uint32_t& moved) noexcept;
  bool open_next_slot() noexcept;
  [[nodiscard]] Status verify_levels(std::uint32_t& linked) const;
  [[nodiscard]] Status verify_heap() const;
  [[nodiscard]] Status verify_operations() const;

  std::vector<Node> nodes_;
  std::vector<HeapItem> heap_;  // reserved to capacity: never allocates
  std::vector<std::uint32_t> operation_head_;
  std::array<Level, kLevels> levels_;
  std::uint64_t tick_ = 0;  // the slot that time is in
  std::int64_t now_ns_ = 0;
  std::uint64_t order_ = 0;  // at 10^9 a second, 584 years
  std::uint32_t free_ = kNil;
  std::uint32_t size_ = 0;
  std::uint8_t open_level_ = kFree;  // a slot that time has entered and that is not yet emptied
  std::uint8_t open_slot_ = 0;
};

}  // namespace mesh::sched
