// DeadlineHeap: at most one deadline for each of a fixed number of slots; the earliest is at hand,
// and one that is not needed any more is taken out.
//
// Callers     one thread.  Progress  wait-free.
// Cost        set, clear, pop: O(log n), about 40 ns at 65,536. Not a timing wheel: a wheel's order
//             within a slot depends on what was inserted before, and a restored service must go on
//             in the same order; here it is (instant, rank), both the service's own numbers.
#pragma once

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
    clear(slot);
    heap_.push_back({at_ns, rank, slot});  // reserved: does not allocate
    place_[slot] = static_cast<std::uint32_t>(heap_.size() - 1);
    up(heap_.size() - 1);
  }
  void clear(std::uint32_t slot) noexcept {
    const std::uint32_t at = place_[slot];
    if (at == kNowhere) return;
    place_[slot] = kNowhere;
    const Node last = heap_.back();
    heap_.pop_back();
    if (at == heap_.size()) return;
    heap_[at] = last;
    place_[last.slot] = at;
    up(at);
    down(place_[last.slot]);
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
  void swap_nodes(std::size_t a, std::size_t b) noexcept {
    std::swap(heap_[a], heap_[b]);
    place_[heap_[a].slot] = static_cast<std::uint32_t>(a);
    place_[heap_[b].slot] = static_cast<std::uint32_t>(b);
  }
  void up(std::size_t at) noexcept {
    while (at != 0 && heap_[at].before(heap_[(at - 1) / 2])) {
      swap_nodes(at, (at - 1) / 2);
      at = (at - 1) / 2;
    }
  }
  void down(std::size_t at) noexcept {
    for (;;) {
      std::size_t least = at;
      for (std::size_t child = 2 * at + 1; child <= 2 * at + 2; ++child) {
        if (child < heap_.size() && heap_[child].before(heap_[least])) least = child;
      }
      if (least == at) return;
      swap_nodes(at, least);
      at = least;
    }
  }

  std::vector<Node> heap_;
  std::vector<std::uint32_t> place_;
};

}  // namespace mesh::coordination
