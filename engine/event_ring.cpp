#include "engine/event_ring.hpp"

#include <algorithm>

#include "shm/row_seqlock.hpp"

namespace mesh::engine {
namespace {

// SYNC events.word release: whoever sees this value sees that the slot is being written.
template <class T>
void put(ShmWord<T>& word, T value) noexcept {
  word.store_release(value);
}
// SYNC events.word acquire: pairs with put().
template <class T>
T get(const ShmWord<T>& word) noexcept {
  return word.load_acquire();
}

Event event_of(const EventSlot& slot) noexcept {
  Event event;
  event.at = from_ns(get(slot.at_ns));
  const std::uint64_t about = get(slot.about);
  event.kind = static_cast<EventKind>(about >> 32 & 0xFF);
  event.place = static_cast<std::uint32_t>(about);
  const std::uint64_t change = get(slot.change);
  event.before = static_cast<std::uint32_t>(change >> 32);
  event.after = static_cast<std::uint32_t>(change);
  event.agent = AgentId{get(slot.agent)};
  event.other = AgentId{get(slot.other)};
  return event;
}

}  // namespace

std::string_view name_of(EventKind kind) noexcept {
  switch (kind) {
    case EventKind::coordinator:
      return "coordinator";
    case EventKind::active:
      return "active";
    case EventKind::breaker:
      return "breaker";
    case EventKind::mode:
      return "mode";
    case EventKind::routed_around:
      return "routed_around";
    case EventKind::moved:
      return "moved";
    case EventKind::spikes:
      return "spikes";
    case EventKind::silent:
      return "silent";
    case EventKind::none:
      break;
  }
  return "unknown";
}

Result<EventRing> EventRing::over(const shm::Layout& table, std::span<std::byte> bytes) {
  EventRing ring;
  MESH_TRY(ring.slots_, table.array<EventSlot>(bytes, "events"));
  // relaxed: its writer is dead, or nobody has written it.
  for (const EventSlot& slot : ring.slots_)
    ring.last_ = std::max(ring.last_, slot.number.load_relaxed());
  return ring;
}

void EventRing::note(const Event& event) noexcept {
  const std::uint64_t number = ++last_;
  EventSlot& slot = slots_[number % slots_.size()];
  slot.number.store_relaxed(0);  // relaxed: the stores that follow are released
  put(slot.at_ns, to_ns(event.at));
  put(slot.about, static_cast<std::uint64_t>(event.kind) << 32 | event.place);
  put(slot.change, std::uint64_t{event.before} << 32 | event.after);
  put(slot.agent, static_cast<std::uint64_t>(event.agent));
  put(slot.other, static_cast<std::uint64_t>(event.other));
  // SYNC events.stable release: who sees this number sees the event as it was stored above.
  slot.number.store_release(number);
}

Result<EventRingView> EventRingView::over(const shm::Layout& table,
                                          std::span<const std::byte> bytes) {
  EventRingView view;
  MESH_TRY(view.slots_, table.array<EventSlot>(bytes, "events"));
  return view;
}

std::vector<Event> EventRingView::read(HostTime from) const {
  std::vector<Event> events;
  for (const EventSlot& slot : slots_) {
    for (unsigned attempt = 0; attempt < shm::kReadAttempts; ++attempt) {
      // SYNC events.stable acquire: pairs with note().
      const std::uint64_t number = slot.number.load_acquire();
      if (number == 0) break;
      Event event = event_of(slot);
      event.number = number;
      // relaxed: after acquire loads, which nothing overtakes.
      if (slot.number.load_relaxed() != number) continue;
      if (event.at >= from) events.push_back(event);
      break;
    }
  }
  std::sort(events.begin(), events.end(),
            [](const Event& a, const Event& b) { return a.number < b.number; });
  return events;
}

}  // namespace mesh::engine
