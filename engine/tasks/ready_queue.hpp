// ReadyQueue: tasks that may begin, in the order in which they should: effective priority, then
// deadline, then the order in which they became ready. One queue for each kind of task: what one
// kind waits for must not stop another.
//
// Callers     one thread, which owns it; slots are its numbers for tasks.  Progress  wait-free.
// Cost        push, front, take out: O(1) without a deadline, O(log n) amortised with one. Aging:
//             O(1) for each level that a task climbs.
// Units       priority 0..3, larger is more urgent; each aging_ns of waiting is one level more.
// Why         a list for each base and level stands in the order of becoming ready by itself, and
//             its first is the next to climb: no heap for the million that have no deadline.
// Source      pairing heap: Fredman, Sedgewick, Sleator & Tarjan 1986.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mesh::tasks {

class ReadyQueue {
 public:
  static constexpr std::uint32_t kNone = 0xFFFF'FFFF;
  static constexpr std::uint8_t kLevels = 4;
  static constexpr std::int64_t kNever = INT64_MAX;

  ReadyQueue(std::uint32_t slots, std::uint32_t kinds, std::int64_t aging_ns);

  struct Item {
    std::uint64_t sequence = 0;  // larger than that of all that are in it
    std::int64_t ready_ns = 0;
    std::int64_t deadline_ns = kNever;
    std::uint16_t kind = 0;
    std::uint8_t base = 0;   // its own priority
    std::uint8_t level = 0;  // its effective one; the base where it is new
  };
  void push(std::uint32_t slot, const Item& item) noexcept;
  void take_out(std::uint32_t slot) noexcept;
  // Who has waited long enough climbs.
  void age(std::int64_t now_ns) noexcept {
    if (now_ns >= next_climb_ns_) climb(now_ns);
  }
  // The first of its kind; kNone: there is none.
  [[nodiscard]] std::uint32_t front(std::uint32_t kind) const noexcept;
  [[nodiscard]] bool is_before(std::uint32_t a, std::uint32_t b) const noexcept;
  [[nodiscard]] const Item& item(std::uint32_t slot) const noexcept { return nodes_[slot].item; }
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  [[nodiscard]] std::uint32_t count(std::uint32_t kind) const noexcept {
    return kinds_[kind].count;
  }
  [[nodiscard]] std::int64_t next_climb_ns() const noexcept { return next_climb_ns_; }

 private:
  struct Node {
    Item item;
    std::uint32_t next = kNone;  // of its list
    std::uint32_t last = kNone;
    std::uint32_t child = kNone;  // of the heap of those with a deadline
    std::uint32_t sibling = kNone;
    std::uint32_t before = kNone;  // its elder sibling, or its parent
  };
  struct List {
    std::uint32_t first = kNone;
    std::uint32_t last = kNone;
  };
  struct Kind {
    std::array<std::array<List, kLevels>, kLevels> lists;  // [base][level]
    std::array<std::uint32_t, kLevels> roots{kNone, kNone, kNone, kNone};
    std::uint32_t count = 0;
  };
  [[nodiscard]] std::int64_t climbs_at(const Item& item) const noexcept;
  void climb(std::int64_t now_ns) noexcept;
  void climb_list(Kind& kind, std::uint8_t base, std::uint8_t level, std::int64_t now_ns) noexcept;
  void link(std::uint32_t slot) noexcept;
  void unlink(std::uint32_t slot) noexcept;
  [[nodiscard]] bool is_earlier(std::uint32_t a, std::uint32_t b) const noexcept;
  [[nodiscard]] std::uint32_t meld(std::uint32_t a, std::uint32_t b) noexcept;
  [[nodiscard]] std::uint32_t meld_all(std::uint32_t first) noexcept;
  void heap_out(std::uint32_t& root, std::uint32_t slot) noexcept;

  std::vector<Node> nodes_;
  std::vector<Kind> kinds_;
  std::int64_t aging_ns_;
  std::int64_t next_climb_ns_ = kNever;
  std::uint32_t count_ = 0;
};

}  // namespace mesh::tasks
