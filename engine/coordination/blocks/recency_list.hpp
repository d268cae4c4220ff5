// RecencyList: members in the order in which they were last touched, the least recent first; those
// never touched come before all others, the lower key first.
//
// Callers     one thread.  Progress  wait-free.
// Cost        touch, erase: a few loads. add: the same where keys come in ascending order, else a
//             walk over those never touched. No allocation after construction.
// Units       nodes, 0-based, which several lists share; each node is in one list at most. They are
//             RecencyNodes, or rows of the owner's that have the links in them: operator[](node)
//             with `previous` and `next`, and key(node).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mesh::coordination {

class RecencyNodes {
 public:
  static constexpr std::uint32_t kNone = 0xFFFF'FFFF;
  struct Node {
    std::uint32_t previous = kNone;
    std::uint32_t next = kNone;
    std::uint32_t key = 0;
  };
  explicit RecencyNodes(std::size_t count) : nodes_(count) {}
  [[nodiscard]] Node& operator[](std::uint32_t node) noexcept { return nodes_[node]; }
  [[nodiscard]] const Node& operator[](std::uint32_t node) const noexcept { return nodes_[node]; }
  void prefetch(std::uint32_t node) const noexcept {
    if (node != kNone) __builtin_prefetch(&nodes_[node]);
  }
  [[nodiscard]] std::uint32_t& key(std::uint32_t node) noexcept { return nodes_[node].key; }

 private:
  std::vector<Node> nodes_;
};

class RecencyList {
 public:
  static constexpr std::uint32_t kNone = RecencyNodes::kNone;

  template <class Nodes>
  void add(Nodes&& nodes, std::uint32_t node, std::uint32_t key) noexcept {
    std::uint32_t after = last_untouched_;
    while (after != kNone && nodes.key(after) > key) after = nodes[after].previous;
    nodes.key(node) = key;
    link(nodes, node, after);
    if (after == last_untouched_) last_untouched_ = node;
  }
  template <class Nodes>
  void touch(Nodes&& nodes, std::uint32_t node) noexcept {
    if (node == last_ && node != last_untouched_) return;
    erase(nodes, node);
    link(nodes, node, last_);
  }
  template <class Nodes>
  void erase(Nodes&& nodes, std::uint32_t node) noexcept {
    const std::uint32_t previous = nodes[node].previous;
    const std::uint32_t next = nodes[node].next;
    (previous == kNone ? first_ : nodes[previous].next) = next;
    (next == kNone ? last_ : nodes[next].previous) = previous;
    if (node == last_untouched_) last_untouched_ = previous;
  }
  [[nodiscard]] std::uint32_t first() const noexcept { return first_; }
  [[nodiscard]] std::uint32_t last_untouched() const noexcept { return last_untouched_; }
  // Puts it behind all others, touched or not: for a list that is read back in its order.
  template <class Nodes>
  void restore(Nodes&& nodes, std::uint32_t node, std::uint32_t key, bool touched) noexcept {
    nodes.key(node) = key;
    link(nodes, node, last_);
    if (!touched) last_untouched_ = node;
  }

 private:
  template <class Nodes>
  void link(Nodes& nodes, std::uint32_t node, std::uint32_t after) noexcept {
    const std::uint32_t next = after == kNone ? first_ : nodes[after].next;
    nodes[node].previous = after;
    nodes[node].next = next;
    (after == kNone ? first_ : nodes[after].next) = node;
    (next == kNone ? last_ : nodes[next].previous) = node;
  }

  std::uint32_t first_ = kNone;
  std::uint32_t last_ = kNone;
  std::uint32_t last_untouched_ = kNone;
};

}  // namespace mesh::coordination
