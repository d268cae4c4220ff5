// StealDeque<T>: a thread's own pile of work, from whose other end other threads steal. Process-
// private: never in shared memory, for its top is written by many.
//
//   top: thieves, the oldest first --> [ t | t+1 | ... | b-1 ] <-- bottom: its owner, the newest
//
// Callers     try_push, try_take: its owner, one thread at a time. try_steal, size_hint: any.
// Progress    try_push, try_take: wait-free. try_steal: lock-free; it fails only where another
//             taker got what it wanted.
// Ordering    what was written before a push happens-before the take or steal that returns the
//             value (SYNC deque.pushed). A thief's look at a slot happens-before the push that
//             uses that slot again (SYNC deque.stolen). Of the last value owner and thief see each
//             other (SYNC deque.last).
// Cost        push: one line of its own. take: one locked instruction, two for the last value.
//             steal: two lines, one locked instruction. No allocation.
// Guarantees  each value is taken once, by whom ever. 0 <= bottom - top <= capacity.
// If the      thief stalls inside try_steal: nobody waits for it; its attempt is lost. The owner
// other side  stalls: all but what it has just taken can be stolen.
// stalls
// Errors      false of try_push: `capacity` values wait. false of try_take: nothing waits.
// Units       positions: values since the beginning, 63 bits, 292 years of one each nanosecond.
// Source      Chase & Lev 2005; orders after Le, Pop, Cohen & Zappa Nardelli 2013. Differences: the
//             array does not grow (nothing allocates after the start); seq_cst operations on top
//             and bottom in place of their fences, which a thread sanitizer does not see; the
//             owner asks for top only where the array looks full, or when it takes.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "queues/local/thread_word.hpp"
#include "shm/base/assert.hpp"
#include "shm/base/limits.hpp"

namespace mesh::queues::local {

// What such a deque can hold: a thief reads a value before it knows whether it is its own, so it
// must be one word. What is larger, or owns something, stands behind a pointer or an index.
template <class T>
concept StealableHandle = std::is_trivially_copyable_v<T> && std::is_default_constructible_v<T> &&
                          sizeof(T) <= sizeof(std::uint64_t);

inline constexpr std::size_t kStealCapacityMax = std::size_t{1} << 30;

enum class StealStatus : std::uint8_t {
  kTaken,
  kEmpty,
  kLost,  // another taker was faster; there may be more
};

template <StealableHandle T, class Memory = ThreadMemory>
class StealDeque {
  static constexpr bool kNoThrow = Memory::kNoThrow;

 public:
  // Room for `capacity` values, rounded up to a power of two: 1..kStealCapacityMax.
  explicit StealDeque(std::size_t capacity)
      : slots_(std::make_unique<Slot[]>(std::bit_ceil(capacity))),
        mask_(static_cast<std::int64_t>(std::bit_ceil(capacity)) - 1) {
    MESH_ASSERT(capacity != 0);
    MESH_ASSERT(capacity <= kStealCapacityMax);
    top_.store_relaxed(0);  // relaxed: nobody else knows it yet
    bottom_.store_relaxed(0);
  }
  StealDeque(const StealDeque&) = delete;
  StealDeque& operator=(const StealDeque&) = delete;

  [[nodiscard]] std::size_t capacity() const noexcept {
    return static_cast<std::size_t>(mask_) + 1;
  }

  [[nodiscard]] bool try_push(T value) noexcept(kNoThrow) {
    const std::int64_t end = bottom_.load_relaxed();  // relaxed: only its owner writes it
    if (end - top_seen_ > mask_) {
      top_seen_ = top_.load_acquire();  // SYNC deque.stolen acquire: who took from this slot has
                                        // read it
      if (end - top_seen_ > mask_) return false;
    }
    // relaxed: the value is published by bottom. A thief that is late may read it here; top, which
    // has moved on, tells it that it is not its own.
    at(end).store_relaxed(value);
    bottom_.store_release(end + 1);  // SYNC deque.pushed release: to whoever sees the new bottom
    return true;
  }

  // The newest.
  [[nodiscard]] bool try_take(T& out) noexcept(kNoThrow) {
    const std::int64_t last = bottom_.load_relaxed() - 1;  // relaxed: only its owner writes it
    if (top_.load_relaxed() > last) return false;  // relaxed: top only grows, so it is empty
    bottom_.store_seq_cst(last);  // SYNC deque.last seq_cst: before the look at top; a release, too
    top_seen_ = top_.load_seq_cst();  // SYNC deque.last seq_cst: a thief of `last` is seen here, or
                                      // sees the bottom above
    if (top_seen_ < last) {
      out = at(last).load_relaxed();  // relaxed: its owner wrote it
      return true;
    }
    // The last one: whoever moves top has it. relaxed: all that a thief learns from its top is
    // what is gone, and a change of it by others goes on with the release of the thief before.
    const bool is_ours = top_seen_ == last && top_.replace_relaxed(last, last + 1);
    // relaxed: it is empty; nothing below this bottom can be taken any more.
    bottom_.store_relaxed(last + 1);
    if (is_ours) out = at(last).load_relaxed();  // relaxed: as above
    return is_ours;
  }

  // The oldest. `out` is written only where it is kTaken.
  [[nodiscard]] StealStatus try_steal(T& out) noexcept(kNoThrow) {
    const std::int64_t first = oldest();
    const std::int64_t end = bottom_.load_seq_cst();  // SYNC deque.last seq_cst: after top
    if (first >= end) return StealStatus::kEmpty;     // SYNC deque.pushed acquire: by that load
    const T value = at(first).load_relaxed();         // relaxed: published by bottom, as said above
    // SYNC deque.stolen release: the look at the slot is over. SYNC deque.last seq_cst: its owner
    // sees it where it looks for the last one.
    if (!top_.replace_seq_cst(first, first + 1)) return StealStatus::kLost;
    out = value;
    return StealStatus::kTaken;
  }

  // Not exact while others push or take.
  [[nodiscard]] std::size_t size_hint() const noexcept(kNoThrow) {
    // relaxed: a hint.
    const std::int64_t count = bottom_.load_relaxed() - top_.load_relaxed();
    return count > 0 ? static_cast<std::size_t>(count) : 0;
  }

 private:
  using Slot = typename Memory::template Word<T>;

  Slot& at(std::int64_t position) noexcept {
    return slots_[static_cast<std::size_t>(position & mask_)];
  }
  // Where a thief begins. SYNC deque.last seq_cst, not acquire: C++20 sets the look at bottom after
  // a steal by another thread only so. A model that runs one access after the other cannot show it.
  [[nodiscard]] std::int64_t oldest() const noexcept(kNoThrow) { return top_.load_seq_cst(); }

  std::unique_ptr<Slot[]> slots_;
  std::int64_t mask_;
  alignas(kIsolation) typename Memory::template Word<std::int64_t> top_;
  alignas(kIsolation) typename Memory::template Word<std::int64_t> bottom_;
  std::int64_t top_seen_ = 0;  // its owner's: top was at least this
};

}  // namespace mesh::queues::local
