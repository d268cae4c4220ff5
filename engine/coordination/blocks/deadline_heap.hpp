// DeadlineHeap: at most one deadline for each of a fixed number of slots; the earliest is at hand,
// and one that is not needed any more is taken out.
//
// Callers     one thread.  Progress  wait-free.
// Cost        set, clear, pop: O(log n), about 40 ns at 65,536. Not a timing wheel: a wheel's order
//             within a slot depends on what was inserted before, and a restored service must go on
//             in the same order; here it is (instant, rank), both the service's own numbers.
// Source      d-ary heaps (Johnson 1975): four children.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace mesh::coordination {

class DeadlineHeap {
 public:
  explicit DeadlineHeap(std::size_t slots) : place_(slots, kNowhere) { heap_.reserve(slots); }

  // Of two at one instant the one with the lower rank comes first.
  void set(std::uint32_t slot, std::int64_t at_ns, std::uint64_t rank) noexcept {
    const Node node{at_ns, rank, slot};
    const std::uint32_t at = place_[slot];
    if (at != kNowhere) return settle(at, node);
    heap_.push_back(node);  // reserved: does not allocate
    up(heap_.size() - 1, node);
  }
  void clear(std::uint32_t slot) noexcept {
    const std::uint32_t at = place_[slot];
    if (at == kNowhere) return;
    place_[slot] = kNowhere;
    const Node last = heap_.back();
    heap_.pop_back();
    if (at != heap_.size()) settle(at, last);
  }
  // The slot whose deadline has come, which is taken out, or kNone.
  [[nodiscard]] std::uint32_t pop_due(std::int64_t now_ns) noexcept {
    if (heap_.empty() || heap_.front().at_ns > now_ns) return kNone;
    const std::uint32_t slot = heap_.front().slot;
    clear(slot);
    return slot;
  }
  [[nodiscard]] std::int64_t next_ns() const noexcept {
    return heap_.empty() ? INT64_MAX : heap_.front().at_ns;
  }
  // Of one slot; 0 where it has none.
  [[nodiscard]] std::int64_t at_ns(std::uint32_t slot) const noexcept {
    return has(slot) ? heap_[place_[slot]].at_ns : 0;
  }
  [[nodiscard]] bool has(std::uint32_t slot) const noexcept { return place_[slot] != kNowhere; }
  [[nodiscard]] std::size_t count() const noexcept { return heap_.size(); }

  static constexpr std::uint32_t kNone = 0xFFFF'FFFF;

 private:
  static constexpr std::uint32_t kNowhere = kNone;
  struct Node {
    std::int64_t at_ns;
    std::uint64_t rank;
    std::uint32_t slot;
    [[nodiscard]] bool before(const Node& other) const noexcept {
      return at_ns != other.at_ns ? at_ns < other.at_ns : rank < other.rank;
    }
  };
  static constexpr std::size_t kChildren = 4;  // half the levels of a binary one, a line a level

  void put(std::size_t at, const Node& node) noexcept {
    heap_[at] = node;
    place_[node.slot] = static_cast<std::uint32_t>(at);
  }
  // Where `node` belongs that goes into the hole at `at`: up or down from there.
  void settle(std::size_t at, const Node& node) noexcept {
    if (at != 0 && node.before(heap_[(at - 1) / kChildren])) return up(at, node);
    down(at, node);
  }
  void up(std::size_t at, const Node& node) noexcept {
    while (at != 0) {
      const std::size_t parent = (at - 1) / kChildren;
      if (!node.before(heap_[parent])) break;
      put(at, heap_[parent]);
      at = parent;
    }
    put(at, node);
  }
  void down(std::size_t at, const Node& node) noexcept {
    const std::size_t count = heap_.size();
    for (;;) {
      const std::size_t first = kChildren * at + 1;
      if (first >= count) break;
      const std::size_t end = std::min(first + kChildren, count);
      std::size_t least = first;
      for (std::size_t child = first + 1; child < end; ++child) {
        least = heap_[child].before(heap_[least]) ? child : least;
      }
      if (!heap_[least].before(node)) break;
      put(at, heap_[least]);
      at = least;
    }
    put(at, node);
  }

  std::vector<Node> heap_;
  std::vector<std::uint32_t> place_;
};

}  // namespace mesh::coordination
