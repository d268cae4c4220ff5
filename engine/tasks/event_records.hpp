// EventRecords: the ring of an event bus: the last N records, the oldest overwritten. What EventLog
// is to a service it is to the whole engine: it goes on after a restart, and one record is at hand.
//
// Callers     the thread that owns it.  Progress  wait-free.
// Cost        emit: one line written and no division; no allocation after construction.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/coordination/blocks/event_log.hpp"

namespace mesh::coordination {
constexpr Severity last_of(Severity) noexcept { return Severity::error; }
}  // namespace mesh::coordination

namespace mesh::tasks {
using namespace coordination;  // the services and their blocks, upon which this box stands

class EventRecords {
 public:
  explicit EventRecords(std::size_t capacity) : records_(capacity == 0 ? 1 : capacity) {}

  void emit(EventRecord event) noexcept {
    // A ring of megabytes is in no near cache: the line of some events on is fetched meanwhile.
    constexpr std::size_t kAhead = 8;
    if (place_ + kAhead < records_.size()) __builtin_prefetch(&records_[place_ + kAhead], 1);
    event.sequence = ++last_;
    records_[place_] = event;
    place_ = place_ + 1 == records_.size() ? 0 : place_ + 1;  // a division is dearer than the rest
    count_ += count_ == records_.size() ? 0U : 1U;
  }
  [[nodiscard]] std::uint64_t last_sequence() const noexcept { return last_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return records_.size(); }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  // What stands begins behind this one.
  [[nodiscard]] std::uint64_t gone() const noexcept { return last_ - count_; }
  // One that stands.
  [[nodiscard]] const EventRecord& at(std::uint64_t sequence) const noexcept {
    return records_[(sequence - 1) % records_.size()];
  }
  // What the next emit() overwrites; sequence 0: nothing stands there.
  [[nodiscard]] const EventRecord& next_place() const noexcept { return records_[place_]; }
  // An empty one goes on behind `sequence`.
  void resume_after(std::uint64_t sequence) noexcept {
    last_ = sequence;
    place_ = static_cast<std::size_t>(sequence % records_.size());
  }
  // Calls visit(event) for each that stands after `sequence`, in order.
  template <class Visit>
  void after(std::uint64_t sequence, Visit&& visit) const {
    for (std::uint64_t next = std::max(sequence, gone()) + 1; next <= last_; ++next) {
      visit(at(next));
    }
  }

 private:
  std::vector<EventRecord> records_;
  std::uint64_t last_ = 0;
  std::size_t place_ = 0;  // last_ % capacity
  std::size_t count_ = 0;
};

}  // namespace mesh::tasks
