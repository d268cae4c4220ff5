// EventLog: the last N events of a service; the oldest is overwritten, and a reader sees that by a
// gap in the sequence.
//
// Callers     the thread that owns the service.  Progress  wait-free.
// Cost        emit: one line written, no allocation after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

namespace mesh::coordination {

enum class Severity : std::uint16_t { debug, info, warning, error };

struct EventRecord {
  std::uint64_t sequence = 0;  // from 1
  std::int64_t t_ns = 0;
  std::uint16_t kind = 0;  // the service's own enum
  Severity severity = Severity::debug;
  std::uint32_t source = 0;
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  std::uint64_t c = 0;
  std::uint32_t name_ref = 0;
  std::uint32_t reserved_0 = 0;  // zero
  std::uint64_t reserved_1 = 0;  // zero
};
static_assert(sizeof(EventRecord) == 64);
static_assert(std::is_trivially_copyable_v<EventRecord>);
static_assert(std::has_unique_object_representations_v<EventRecord>);

class EventLog {
 public:
  explicit EventLog(std::size_t capacity) : records_(capacity == 0 ? 1 : capacity) {}

  void emit(EventRecord event) noexcept {
    event.sequence = ++last_sequence_;
    records_[(event.sequence - 1) % records_.size()] = event;
  }
  [[nodiscard]] std::uint64_t last_sequence() const noexcept { return last_sequence_; }
  // Calls visit(event) for each that still stands after `sequence`, in order; returns the last.
  template <class Visit>
  std::uint64_t after(std::uint64_t sequence, Visit&& visit) const {
    const std::uint64_t size = records_.size();
    std::uint64_t next = sequence + 1;
    if (last_sequence_ > size && next <= last_sequence_ - size) next = last_sequence_ - size + 1;
    for (; next <= last_sequence_; ++next) visit(records_[(next - 1) % size]);
    return last_sequence_;
  }

 private:
  std::vector<EventRecord> records_;
  std::uint64_t last_sequence_ = 0;
};

}  // namespace mesh::coordination
