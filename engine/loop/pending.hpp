// PendingPool: what waits for room in an inbox: a list for each station and priority.
//
// A node is a direct message, by its entry, or targets of an operation that leave one after the
// other: many of them cost one node. Lists are private: a successor makes them anew from the
// entries and the operations that still have to be sent.
//
// Callers     the scheduler thread.
// Progress    wait-free; no allocation after construction. All lists share one pool.
// Errors      push -> false: the pool or the station's share is full; the sender is told
//             target_full, or the targets are stragglers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/loop/station_link.hpp"
#include "shm/base/limits.hpp"

namespace mesh::engine {

struct PendingNode {
  enum class Kind : std::uint8_t { entry, run, place };
  Kind kind = Kind::entry;
  std::uint16_t slot = 0;    // operation
  std::uint32_t first = 0;   // entry; of a run the first in its operation's order; a place
  std::uint32_t count = 1;   // of a run
  std::uint32_t serial = 0;  // of the operation: its tenant
};
static_assert(sizeof(PendingNode) == 16 && kMaxOperations <= UINT16_MAX);

class PendingPool {
 public:
  static constexpr std::uint32_t kNil = ~std::uint32_t{0};

  explicit PendingPool(std::uint32_t capacity) { nodes_.reserve(capacity); }

  static void clear(StationLink& link) noexcept {
    for (std::uint32_t priority = 0; priority < kPriorities; ++priority)
      link.pending_first[priority] = link.pending_last[priority] = kNil;
    link.pending_count = link.pending_entries = 0;
  }

  // Whether anything more may wait, for whichever station.
  [[nodiscard]] bool has_free() const noexcept {
    return free_ != kNil || nodes_.size() != nodes_.capacity();
  }
  // Whether one more direct message may wait for a station: one that does not read leaves room for
  // the others, and what is less urgent for what is more.
  [[nodiscard]] bool has_share(StationLink& link, sched::Priority priority,
                               std::int64_t now_ns) const noexcept {
    return has_free() && link.pressure->admits(priority, link.pending_entries, Nanos{now_ns});
  }
  // How many more targets of operations may wait for it.
  [[nodiscard]] static std::uint32_t room(const StationLink& link) noexcept {
    return kPendingPerPriority - std::min(kPendingPerPriority, link.pending_count);
  }
  [[nodiscard]] bool push(StationLink& link, std::uint32_t priority,
                          const PendingNode& node) noexcept {
    if (!has_free()) return false;
    std::uint32_t at = free_;
    if (at == kNil) {
      at = static_cast<std::uint32_t>(nodes_.size());
      nodes_.push_back({node, kNil});
    } else {
      free_ = nodes_[at].next;
      nodes_[at] = {node, kNil};
    }
    std::uint32_t& last = link.pending_last[priority];
    (last == kNil ? link.pending_first[priority] : nodes_[last].next) = at;
    last = at;
    link.pending_count += node.count;
    if (node.kind == PendingNode::Kind::entry) ++link.pending_entries;
    return true;
  }
  // Null: none of this priority. Its owner may take records off the front of a run.
  [[nodiscard]] PendingNode* front(const StationLink& link, std::uint32_t priority) noexcept {
    const std::uint32_t at = link.pending_first[priority];
    return at == kNil ? nullptr : &nodes_[at].node;
  }
  void take(StationLink& link, std::uint32_t priority, std::uint32_t records) noexcept {
    const std::uint32_t at = link.pending_first[priority];
    PendingNode& node = nodes_[at].node;
    link.pending_count -= records;
    if (node.kind == PendingNode::Kind::entry) --link.pending_entries;
    node.first += records;
    node.count -= records;
    if (node.count != 0) return;
    link.pending_first[priority] = nodes_[at].next;
    if (nodes_[at].next == kNil) link.pending_last[priority] = kNil;
    nodes_[at].next = free_;
    free_ = at;
  }
  // Whether anything of this priority or a higher one waits: what comes now goes behind it.
  [[nodiscard]] static bool has_at_least(const StationLink& link, std::uint32_t priority) noexcept {
    for (; priority < kPriorities; ++priority)
      if (link.pending_first[priority] != kNil) return true;
    return false;
  }

 private:
  struct Node {
    PendingNode node;
    std::uint32_t next = kNil;
  };
  std::vector<Node> nodes_;  // its capacity is the pool; those beyond its size were never used
  std::uint32_t free_ = kNil;
};

}  // namespace mesh::engine
