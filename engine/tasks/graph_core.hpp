// GraphCore: who has to be done before whom, over numbers that its owner gives out; never a circle.
//
// Callers     one thread, which owns it.  Progress  wait-free.
// Cost        link, unlink: O(1). precede: O(deps) where they are older than what waits for them,
//             which is the usual case; else what lies between the two in the order. No allocation
//             after construction.
// Units       nodes below nodes_max, edges_max edges at once.
// Invariants  each edge stands in two lists, that of who comes first and that of who waits; along
//             each edge the order grows.
// Source      Pearce & Kelly 2006 (online order), for several new edges to one node at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace mesh::tasks {

class GraphCore {
 public:
  static constexpr std::uint32_t kNone = 0xFFFF'FFFF;

  GraphCore(std::uint32_t nodes_max, std::uint32_t edges_max);

  // A node without edges, the last in the order.
  void open(std::uint32_t node) noexcept;
  // Its edges go.
  void close(std::uint32_t node) noexcept;
  [[nodiscard]] bool has_room(std::size_t edges) const noexcept {
    return edges <= edges_.size() - edge_count_;
  }
  // Makes the order such that all of `deps` may come before `node`. False: one of them waits for
  // `node`, by cycle(); nothing has changed then.
  [[nodiscard]] bool precede(std::span<const std::uint32_t> deps, std::uint32_t node) noexcept;
  // From a node to what it waits for, and so on, back to itself.
  [[nodiscard]] std::span<const std::uint32_t> cycle() const noexcept { return cycle_; }
  void forget_cycle() noexcept { cycle_.clear(); }
  // After precede() and has_room(). `from` comes first.
  void link(std::uint32_t from, std::uint32_t to) noexcept;
  void unlink(std::uint32_t edge) noexcept;

  // Calls visit(edge, other node). The edge that is visited may be taken out.
  template <class Visit>
  void each_out(std::uint32_t node, Visit&& visit) const {
    for (std::uint32_t edge = nodes_[node].first_out; edge != kNone;) {
      const Edge one = edges_[edge];
      visit(edge, one.to);
      edge = one.next_out;
    }
  }
  template <class Visit>
  void each_in(std::uint32_t node, Visit&& visit) const {
    for (std::uint32_t edge = nodes_[node].first_in; edge != kNone;) {
      const Edge one = edges_[edge];
      visit(edge, one.from);
      edge = one.next_in;
    }
  }
  [[nodiscard]] bool has_out(std::uint32_t node) const noexcept {
    return nodes_[node].first_out != kNone;
  }
  [[nodiscard]] bool has_in(std::uint32_t node) const noexcept {
    return nodes_[node].first_in != kNone;
  }
  [[nodiscard]] std::uint32_t edge_count() const noexcept { return edge_count_; }

  // Of nodes whose edges were read from a snapshot: a new order. False: there is a circle.
  [[nodiscard]] bool rebuild_order(std::span<const std::uint32_t> nodes) noexcept;
  // The order grows along each edge of these.
  [[nodiscard]] bool is_ordered(std::span<const std::uint32_t> nodes) const noexcept;

 private:
  struct Node {
    std::uint64_t order = 0;
    std::uint32_t first_out = kNone;
    std::uint32_t last_out = kNone;
    std::uint32_t first_in = kNone;
    std::uint32_t last_in = kNone;
    std::uint32_t mark = 0;
  };
  struct Edge {
    std::uint32_t from = kNone;
    std::uint32_t to = kNone;
    std::uint32_t next_out = kNone;
    std::uint32_t last_out = kNone;
    std::uint32_t next_in = kNone;
    std::uint32_t last_in = kNone;
  };
  struct Visit {
    std::uint32_t node;
    std::uint32_t edge;  // the next to follow
  };
  [[nodiscard]] std::uint32_t new_marks(std::uint32_t count) noexcept;
  [[nodiscard]] bool reaches(std::uint32_t node, std::uint64_t bound, std::uint32_t mark) noexcept;
  void gather_before(std::span<const std::uint32_t> deps, std::uint32_t node,
                     std::uint32_t mark) noexcept;
  void reorder() noexcept;

  std::vector<Node> nodes_;
  std::vector<Edge> edges_;
  std::uint32_t free_edge_ = kNone;  // next_out leads on
  std::uint32_t fresh_edges_ = 0;    // never used: those from here on
  std::uint32_t edge_count_ = 0;
  std::uint64_t last_order_ = 0;
  std::uint32_t last_mark_ = 0;
  // Of precede().
  std::vector<std::uint32_t> after_;
  std::vector<std::uint32_t> before_;
  std::vector<std::uint64_t> orders_;
  std::vector<std::uint32_t> cycle_;
  std::vector<Visit> trail_;
};

}  // namespace mesh::tasks
