#include "engine/tasks/ready_queue.hpp"

#include <algorithm>

namespace mesh::tasks {

ReadyQueue::ReadyQueue(std::uint32_t slots, std::uint32_t kinds, std::int64_t aging_ns)
    : nodes_(slots), kinds_(kinds), aging_ns_(aging_ns) {}

std::int64_t ReadyQueue::climbs_at(const Item& item) const noexcept {
  return item.ready_ns + (item.level - item.base + 1) * aging_ns_;
}

void ReadyQueue::push(std::uint32_t slot, const Item& item) noexcept {
  nodes_[slot] = {};
  nodes_[slot].item = item;
  ++kinds_[item.kind].count;
  ++count_;
  link(slot);
}

void ReadyQueue::take_out(std::uint32_t slot) noexcept {
  unlink(slot);
  --kinds_[nodes_[slot].item.kind].count;
  --count_;
}

void ReadyQueue::link(std::uint32_t slot) noexcept {
  Node& node = nodes_[slot];
  Kind& kind = kinds_[node.item.kind];
  List& list = kind.lists[node.item.base][node.item.level];
  node.next = kNone;
  node.last = list.last;
  (list.last == kNone ? list.first : nodes_[list.last].next) = slot;
  list.last = slot;
  if (node.item.level + 1 < kLevels) {
    next_climb_ns_ = std::min(next_climb_ns_, climbs_at(node.item));
  }
  if (node.item.deadline_ns == kNever) return;
  node.child = node.sibling = node.before = kNone;
  std::uint32_t& root = kind.roots[node.item.level];
  root = root == kNone ? slot : meld(root, slot);
}

void ReadyQueue::unlink(std::uint32_t slot) noexcept {
  Node& node = nodes_[slot];
  Kind& kind = kinds_[node.item.kind];
  List& list = kind.lists[node.item.base][node.item.level];
  (node.last == kNone ? list.first : nodes_[node.last].next) = node.next;
  (node.next == kNone ? list.last : nodes_[node.next].last) = node.last;
  if (node.item.deadline_ns != kNever) heap_out(kind.roots[node.item.level], slot);
}

// --- aging -------------------------------------------------------------------------------------

void ReadyQueue::climb_list(Kind& kind, std::uint8_t base, std::uint8_t level,
                            std::int64_t now_ns) noexcept {
  List& list = kind.lists[base][level];
  while (list.first != kNone && climbs_at(nodes_[list.first].item) <= now_ns) {
    const std::uint32_t slot = list.first;
    unlink(slot);
    ++nodes_[slot].item.level;
    link(slot);
  }
  if (list.first != kNone) {
    next_climb_ns_ = std::min(next_climb_ns_, climbs_at(nodes_[list.first].item));
  }
}

void ReadyQueue::climb(std::int64_t now_ns) noexcept {
  next_climb_ns_ = kNever;
  for (Kind& kind : kinds_) {
    if (kind.count == 0) continue;
    for (std::uint8_t level = 0; level + 1 < kLevels; ++level) {  // from below: some climb twice
      for (std::uint8_t base = 0; base <= level; ++base) climb_list(kind, base, level, now_ns);
    }
  }
}

// --- who is first ------------------------------------------------------------------------------

bool ReadyQueue::is_earlier(std::uint32_t a, std::uint32_t b) const noexcept {
  const Item& one = nodes_[a].item;
  const Item& other = nodes_[b].item;
  if (one.deadline_ns != other.deadline_ns) return one.deadline_ns < other.deadline_ns;
  return one.sequence < other.sequence;
}

bool ReadyQueue::is_before(std::uint32_t a, std::uint32_t b) const noexcept {
  if (nodes_[a].item.level != nodes_[b].item.level) {
    return nodes_[a].item.level > nodes_[b].item.level;
  }
  return is_earlier(a, b);
}

std::uint32_t ReadyQueue::front(std::uint32_t at) const noexcept {
  const Kind& kind = kinds_[at];
  if (kind.count == 0) return kNone;
  for (std::uint8_t level = kLevels; level-- != 0;) {
    if (kind.roots[level] != kNone) return kind.roots[level];  // before all without a deadline
    std::uint32_t best = kNone;
    for (std::uint8_t base = 0; base <= level; ++base) {
      const std::uint32_t first = kind.lists[base][level].first;
      if (first != kNone && (best == kNone || is_earlier(first, best))) best = first;
    }
    if (best != kNone) return best;
  }
  return kNone;
}

// --- the heap of those with a deadline ---------------------------------------------------------

std::uint32_t ReadyQueue::meld(std::uint32_t a, std::uint32_t b) noexcept {
  if (is_earlier(b, a)) std::swap(a, b);
  Node& parent = nodes_[a];
  Node& child = nodes_[b];
  child.before = a;
  child.sibling = parent.child;
  if (parent.child != kNone) nodes_[parent.child].before = b;
  parent.child = b;
  return a;
}

// Siblings in pairs from the first on, then all into the last.
std::uint32_t ReadyQueue::meld_all(std::uint32_t first) noexcept {
  std::uint32_t pairs = kNone;  // chained by `sibling`, the newest first
  while (first != kNone) {
    const std::uint32_t second = nodes_[first].sibling;
    const std::uint32_t rest = second == kNone ? kNone : nodes_[second].sibling;
    nodes_[first].sibling = nodes_[first].before = kNone;
    std::uint32_t pair = first;
    if (second != kNone) {
      nodes_[second].sibling = nodes_[second].before = kNone;
      pair = meld(first, second);
    }
    nodes_[pair].sibling = pairs;
    pairs = pair;
    first = rest;
  }
  std::uint32_t root = kNone;
  while (pairs != kNone) {
    const std::uint32_t next = nodes_[pairs].sibling;
    nodes_[pairs].sibling = kNone;
    root = root == kNone ? pairs : meld(root, pairs);
    pairs = next;
  }
  return root;
}

void ReadyQueue::heap_out(std::uint32_t& root, std::uint32_t slot) noexcept {
  Node& node = nodes_[slot];
  const std::uint32_t rest = meld_all(node.child);
  node.child = kNone;
  if (root == slot) {
    root = rest;
    return;
  }
  Node& before = nodes_[node.before];
  (before.child == slot ? before.child : before.sibling) = node.sibling;
  if (node.sibling != kNone) nodes_[node.sibling].before = node.before;
  node.sibling = node.before = kNone;
  if (rest != kNone) root = meld(root, rest);
}

}  // namespace mesh::tasks
