// EventPage: the ring of events as other processes see it: one writer, any readers, the oldest
// overwritten. A subscription of another process is a cursor in the reader.
//
// Callers     publish: the thread that owns the bus. EventReader: any thread of any process.
// Progress    publish: wait-free. poll: one try a slot; what is being overwritten counts as lost.
// Ordering    what a reader is given is one event, whole (blocks/view_row.hpp), in the order of
//             emission (SYNC eventbus.last).
// If the      writer dies inside publish: that slot is passed over, its successor goes on behind
// other side  `last`. It lies: numbers are numbers, a kind is looked up and may be unknown.
// dies, lies
// Layout      a line with the last sequence, then slots of 64 bytes: view rows, whose number is the
//             sequence of their event.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/coordination/blocks/view_row.hpp"
#include "engine/tasks/event_records.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/word.hpp"

namespace mesh::tasks {

using EventWords = std::array<std::uint64_t, 8>;
static_assert(sizeof(EventWords) == sizeof(EventRecord));

template <class Policy = HostMemory>
struct alignas(kCacheLine) EventPageHead {
  typename Policy::template Word<std::uint64_t> last;  // sequence of the newest; 0: none
  std::array<std::uint64_t, 7> reserved;
};
template <class Policy = HostMemory>
using EventPageSlot = coordination::ViewRow<Policy>;
static_assert(sizeof(EventPageHead<>) == kCacheLine);
static_assert(sizeof(EventPageSlot<>) == kCacheLine);

template <class Policy = HostMemory>
class EventPageWriter {
 public:
  EventPageWriter(EventPageHead<Policy>& head, std::span<EventPageSlot<Policy>> slots) noexcept
      : head_(&head), slots_(slots) {}

  void publish(const EventRecord& event) noexcept(Policy::kNoThrow) {
    const auto words = std::bit_cast<EventWords>(event);
    coordination::ViewWords values;
    std::copy(words.begin() + 1, words.end(), values.begin());
    slots_[(event.sequence - 1) % slots_.size()].publish_as(event.sequence, values);
    // SYNC eventbus.last release: who reads this number sees the slots up to it.
    head_->last.store_release(event.sequence);
  }
  // What is new in the log since the last call, as far as it stands.
  void publish_new(const EventRecords& log) noexcept(Policy::kNoThrow) {
    // relaxed: its own word.
    const std::uint64_t published = head_->last.load_relaxed();
    const std::uint64_t oldest =
        log.last_sequence() - std::min<std::uint64_t>(log.last_sequence(), slots_.size());
    log.after(std::max(published, oldest), [&](const EventRecord& event) { publish(event); });
  }

 private:
  EventPageHead<Policy>* head_;
  std::span<EventPageSlot<Policy>> slots_;
};

template <class Policy = HostMemory>
class EventReader {
 public:
  // From the oldest that stands (after = 0), or after what a reader before has seen.
  EventReader(const EventPageHead<Policy>& head, std::span<const EventPageSlot<Policy>> slots,
              std::uint64_t after = 0) noexcept
      : head_(&head), slots_(slots), cursor_(after) {}

  // Calls visit(event) for up to `burst` of what is new; returns for how many.
  template <class Visit>
  std::size_t poll(Visit&& visit, std::size_t burst = SIZE_MAX) {
    std::size_t seen = 0;
    // SYNC eventbus.last acquire: pairs with publish().
    const std::uint64_t last = head_->last.load_acquire();
    if (cursor_ > last) return 0;  // another life's page, or a cursor that was made up
    if (last - cursor_ > slots_.size()) lose(last - slots_.size() - cursor_);
    while (seen < burst && cursor_ < last) {
      EventRecord event;
      if (!read(cursor_ + 1, event)) {
        lose(1);
        continue;
      }
      ++cursor_;
      ++seen;
      visit(event);
    }
    return seen;
  }
  [[nodiscard]] std::uint64_t cursor() const noexcept { return cursor_; }  // the last it has seen
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }

 private:
  void lose(std::uint64_t count) noexcept {
    lost_ += count;
    cursor_ += count;
  }
  [[nodiscard]] bool read(std::uint64_t sequence, EventRecord& event) const {
    coordination::ViewWords values;
    if (!slots_[(sequence - 1) % slots_.size()].read_as(sequence, values)) return false;
    EventWords words{sequence};
    std::copy(values.begin(), values.end(), words.begin() + 1);
    event = std::bit_cast<EventRecord>(words);
    return true;
  }

  const EventPageHead<Policy>* head_;
  std::span<const EventPageSlot<Policy>> slots_;
  std::uint64_t cursor_ = 0;
  std::uint64_t lost_ = 0;
};

}  // namespace mesh::tasks
