#include "engine/tasks/graph_core.hpp"

#include <algorithm>

namespace mesh::tasks {

GraphCore::GraphCore(std::uint32_t nodes_max, std::uint32_t edges_max)
    : nodes_(nodes_max), edges_(edges_max) {
  after_.reserve(nodes_max);
  before_.reserve(nodes_max);
  orders_.reserve(nodes_max);
  cycle_.reserve(std::size_t{nodes_max} + 1);
  trail_.reserve(nodes_max);
}

void GraphCore::open(std::uint32_t node) noexcept {
  Node& fresh = nodes_[node];
  const std::uint32_t mark = fresh.mark;
  fresh = {};
  fresh.mark = mark;
  fresh.order = ++last_order_;  // good for 584 years at one a nanosecond
}

void GraphCore::close(std::uint32_t node) noexcept {
  while (nodes_[node].first_out != kNone) unlink(nodes_[node].first_out);
  while (nodes_[node].first_in != kNone) unlink(nodes_[node].first_in);
}

void GraphCore::link(std::uint32_t from, std::uint32_t to) noexcept {
  std::uint32_t at = free_edge_;
  if (at == kNone) {
    at = fresh_edges_++;
  } else {
    free_edge_ = edges_[at].next_out;
  }
  ++edge_count_;
  Edge& edge = edges_[at];
  edge = {};
  edge.from = from;
  edge.to = to;
  edge.last_out = nodes_[from].last_out;
  edge.last_in = nodes_[to].last_in;
  (edge.last_out == kNone ? nodes_[from].first_out : edges_[edge.last_out].next_out) = at;
  (edge.last_in == kNone ? nodes_[to].first_in : edges_[edge.last_in].next_in) = at;
  nodes_[from].last_out = at;
  nodes_[to].last_in = at;
}

void GraphCore::unlink(std::uint32_t at) noexcept {
  Edge& edge = edges_[at];
  Node& from = nodes_[edge.from];
  Node& to = nodes_[edge.to];
  (edge.last_out == kNone ? from.first_out : edges_[edge.last_out].next_out) = edge.next_out;
  (edge.next_out == kNone ? from.last_out : edges_[edge.next_out].last_out) = edge.last_out;
  (edge.last_in == kNone ? to.first_in : edges_[edge.last_in].next_in) = edge.next_in;
  (edge.next_in == kNone ? to.last_in : edges_[edge.next_in].last_in) = edge.last_in;
  edge.next_out = free_edge_;
  free_edge_ = at;
  --edge_count_;
}

// --- the order ---------------------------------------------------------------------------------

// `count` marks that no node has.
std::uint32_t GraphCore::new_marks(std::uint32_t count) noexcept {
  if (last_mark_ > 0xFFFF'FFFF - count) {
    for (Node& node : nodes_) node.mark = 0;
    last_mark_ = 0;
  }
  last_mark_ += count;
  return last_mark_ - count + 1;
}

// Follows what waits for `node`, up to `bound` in the order, into after_. True: it comes to a node
// that is marked with `mark`; trail_ then leads there.
bool GraphCore::reaches(std::uint32_t node, std::uint64_t bound, std::uint32_t mark) noexcept {
  after_.clear();
  trail_.clear();
  const auto enter = [&](std::uint32_t next) {
    nodes_[next].mark = mark + 1;
    after_.push_back(next);  // reserved
    trail_.push_back({next, nodes_[next].first_out});
  };
  enter(node);
  while (!trail_.empty()) {
    const std::uint32_t edge = trail_.back().edge;
    if (edge == kNone) {
      trail_.pop_back();
      continue;
    }
    trail_.back().edge = edges_[edge].next_out;
    const std::uint32_t next = edges_[edge].to;
    if (nodes_[next].mark == mark) {
      trail_.push_back({next, kNone});
      return true;
    }
    if (nodes_[next].mark != mark + 1 && nodes_[next].order <= bound) enter(next);
  }
  return false;
}

// What `deps` wait for, as far as it comes after `node` in the order, into before_.
void GraphCore::gather_before(std::span<const std::uint32_t> deps, std::uint32_t node,
                              std::uint32_t mark) noexcept {
  before_.clear();
  const std::uint64_t bound = nodes_[node].order;
  const auto enter = [&](std::uint32_t next) {
    if (nodes_[next].mark == mark || nodes_[next].order < bound) return;
    nodes_[next].mark = mark;
    before_.push_back(next);  // reserved
  };
  for (const std::uint32_t dep : deps) enter(dep);
  for (std::size_t i = 0; i < before_.size(); ++i) {
    each_in(before_[i], [&](std::uint32_t, std::uint32_t from) { enter(from); });
  }
}

// Those before take the first of the places that both have, each in its order; those after the
// rest.
void GraphCore::reorder() noexcept {
  const auto is_earlier = [this](std::uint32_t a, std::uint32_t b) {
    return nodes_[a].order < nodes_[b].order;
  };
  std::sort(before_.begin(), before_.end(), is_earlier);
  std::sort(after_.begin(), after_.end(), is_earlier);
  orders_.clear();
  for (const std::uint32_t node : before_) orders_.push_back(nodes_[node].order);
  for (const std::uint32_t node : after_) orders_.push_back(nodes_[node].order);
  std::sort(orders_.begin(), orders_.end());
  std::size_t at = 0;
  for (const std::uint32_t node : before_) nodes_[node].order = orders_[at++];
  for (const std::uint32_t node : after_) nodes_[node].order = orders_[at++];
}

bool GraphCore::precede(std::span<const std::uint32_t> deps, std::uint32_t node) noexcept {
  cycle_.clear();
  std::uint64_t latest = 0;
  for (const std::uint32_t dep : deps) latest = std::max(latest, nodes_[dep].order);
  if (latest < nodes_[node].order) return true;
  const std::uint32_t mark = new_marks(3);
  for (const std::uint32_t dep : deps) nodes_[dep].mark = mark;
  const bool is_own = nodes_[node].mark == mark;
  if (is_own || reaches(node, latest, mark)) {
    cycle_.push_back(node);
    if (!is_own) {
      for (std::size_t i = trail_.size(); --i != 0;) cycle_.push_back(trail_[i].node);
    }
    cycle_.push_back(node);
    return false;
  }
  gather_before(deps, node, mark + 2);
  reorder();
  return true;
}

bool GraphCore::rebuild_order(std::span<const std::uint32_t> nodes) noexcept {
  const std::uint32_t mark = new_marks(1);
  std::size_t placed = 0;
  after_.clear();
  // Kahn: until it is placed a node's order is the count of those that it still waits for.
  for (const std::uint32_t node : nodes) {
    std::uint64_t waits = 0;
    each_in(node, [&](std::uint32_t, std::uint32_t) { ++waits; });
    nodes_[node].order = waits;
    if (waits == 0) after_.push_back(node);
  }
  for (; placed < after_.size(); ++placed) {
    nodes_[after_[placed]].mark = mark;
    each_out(after_[placed], [&](std::uint32_t, std::uint32_t to) {
      if (--nodes_[to].order == 0) after_.push_back(to);
    });
  }
  last_order_ = 0;
  for (const std::uint32_t node : after_) nodes_[node].order = ++last_order_;
  return placed == nodes.size();
}

bool GraphCore::is_ordered(std::span<const std::uint32_t> nodes) const noexcept {
  bool is_rising = true;
  for (const std::uint32_t node : nodes) {
    each_out(node, [&](std::uint32_t, std::uint32_t to) {
      is_rising =
          is_rising && nodes_[node].order < nodes_[to].order && nodes_[to].order <= last_order_;
    });
  }
  return is_rising;
}

}  // namespace mesh::tasks
