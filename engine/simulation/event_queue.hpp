// EventQueue: what happens next in a simulated mesh, in order of time and, at one time, of asking.
//
// Callers     one thread.
// Cost        push, pop: O(log n).
// Units       true time (mesh_clock.hpp).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace mesh::engine::simulation {

enum class EventKind : std::uint32_t {
  answer,  // slot, held, epoch
  operation,
  cascade,
  fault_begins,  // fault
  fault_ends,    // fault
  unit_dies,     // unit
  unit_known,    // unit
  unit_returns,  // unit
};

struct Event {
  std::int64_t at = 0;
  EventKind kind{};
  std::uint32_t a = 0;
  std::uint32_t b = 0;
  std::uint32_t c = 0;
};

class EventQueue {
 public:
  static constexpr std::int64_t kNever = INT64_MAX;

  void push(const Event& event) {
    events_.push_back({event, next_order_++});
    std::push_heap(events_.begin(), events_.end());
  }
  [[nodiscard]] std::int64_t next_at() const noexcept {
    return events_.empty() ? kNever : events_.front().event.at;
  }
  Event pop() {
    std::pop_heap(events_.begin(), events_.end());
    const Event event = events_.back().event;
    events_.pop_back();
    return event;
  }

 private:
  struct Entry {
    Event event;
    std::uint64_t order;
    friend bool operator<(const Entry& a, const Entry& b) noexcept {  // the later one sinks
      return a.event.at != b.event.at ? a.event.at > b.event.at : a.order > b.order;
    }
  };
  std::vector<Entry> events_;
  std::uint64_t next_order_ = 0;
};

}  // namespace mesh::engine::simulation
