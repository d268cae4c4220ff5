// PendingPool: deliveries that found no room in their inbox, one list for each station and
// priority.
//
// Callers     the scheduler thread.
// Progress    wait-free; no allocation after create(). All lists share one pool.
// Errors      push -> false: the pool or the station's share (twice its agents and 1,024) is full;
//             the sender is told target_full.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/loop/station_link.hpp"
#include "sched/records.hpp"

namespace mesh::engine {

struct PendingDelivery {
  sched::DeliveryRecord record;
  std::uint32_t body = kNoBody;            // of the payload log, which waits with it
  std::uint32_t slot = ~std::uint32_t{0};  // operation slot and row, for sent times
  std::uint32_t row = 0;
};

class PendingPool {
 public:
  static constexpr std::uint32_t kNil = ~std::uint32_t{0};
  static constexpr std::uint32_t kShareMin = 1'024;

  explicit PendingPool(std::uint32_t capacity) : nodes_(capacity) {
    for (std::uint32_t i = 0; i < capacity; ++i) nodes_[i].next = i + 1 < capacity ? i + 1 : kNil;
    free_ = capacity == 0 ? kNil : 0;
  }

  static void clear(StationLink& link) noexcept {
    for (std::uint32_t priority = 0; priority < kPriorities; ++priority)
      link.pending_first[priority] = link.pending_last[priority] = kNil;
  }

  [[nodiscard]] bool push(StationLink& link, std::uint32_t priority,
                          const PendingDelivery& delivery) noexcept {
    // Its share: a station that does not read leaves room for the others.
    if (free_ == kNil || link.pending_count >= 2 * link.agents_declared + kShareMin) return false;
    const std::uint32_t at = free_;
    free_ = nodes_[at].next;
    nodes_[at] = {delivery, kNil};
    std::uint32_t& last = link.pending_last[priority];
    (last == kNil ? link.pending_first[priority] : nodes_[last].next) = at;
    last = at;
    ++link.pending_count;
    return true;
  }
  // Null: none of this priority.
  [[nodiscard]] const PendingDelivery* front(const StationLink& link,
                                             std::uint32_t priority) const noexcept {
    const std::uint32_t at = link.pending_first[priority];
    return at == kNil ? nullptr : &nodes_[at].delivery;
  }
  void pop(StationLink& link, std::uint32_t priority) noexcept {
    const std::uint32_t at = link.pending_first[priority];
    link.pending_first[priority] = nodes_[at].next;
    if (nodes_[at].next == kNil) link.pending_last[priority] = kNil;
    nodes_[at].next = free_;
    free_ = at;
    --link.pending_count;
  }

 private:
  struct Node {
    PendingDelivery delivery;
    std::uint32_t next = kNil;
  };
  std::vector<Node> nodes_;
  std::uint32_t free_ = kNil;
};

}  // namespace mesh::engine
