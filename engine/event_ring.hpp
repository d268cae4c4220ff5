// EventRing, EventRingView: what happened in a mesh, the newest kEventSlots of it: who leads a
// sector from now on, how many of a cluster are active, breakers, the mode, what the operator's
// procedures did. It outlives the engine; `mesh incident` makes its timeline of it.
//
// Callers     EventRing: the scheduler's thread. EventRingView: anyone with the table.
// Progress    note: eight stores, no allocation. read: one pass over the ring, a few tries a slot.
// Ordering    events are numbered from 1 in the order in which they were noted; a slot that is
//             read whole is one event (tags events.stable, events.word).
// Units       HostTime of the mesh's clock: of when the engine saw it, up to a second later.
// If the      writer dies: what it wrote stands; the slot that it died in is passed over, and its
// other side  successor goes on behind the newest. Lies: numbers are numbers.
// dies, lies
// Errors      over -> not_found, layout_mismatch.
// Layout      region events of the table: slots of 64 bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "shm/base/ids.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"
#include "shm/base/word.hpp"
#include "shm/layout.hpp"

namespace mesh::engine {

// Numbers as in the ring. Append only.
enum class EventKind : std::uint8_t {
  none = 0,
  coordinator,    // place: sector; agent: who leads it now; other: who did
  active,         // place: cluster; before, after: its active agents
  breaker,        // place: as in the table; before, after: coordination::BreakerState
  mode,           // before, after: health::OperatingMode
  routed_around,  // by a procedure. agent: whom; place: its cluster
  moved,          // by a procedure. place: cluster; before: its agents, after: those that stay
  spikes,         // several of a cluster spike. place: cluster; before: active, after: of them
  silent,  // left three messages in a row unanswered. place: cluster; agent: the last that did;
           // before: active, after: those of them that do
};
[[nodiscard]] std::string_view name_of(EventKind kind) noexcept;

struct Event {
  std::uint64_t number = 0;  // given by note()
  HostTime at{};
  EventKind kind = EventKind::none;
  std::uint32_t place = 0;
  std::uint32_t before = 0;
  std::uint32_t after = 0;
  AgentId agent{};
  AgentId other{};
  friend bool operator==(const Event&, const Event&) = default;
};

struct EventSlot {
  ShmWord<std::uint64_t> number;  // 0: nothing, or being written
  ShmWord<std::int64_t> at_ns;
  ShmWord<std::uint64_t> about;   // kind << 32 | place
  ShmWord<std::uint64_t> change;  // before << 32 | after
  ShmWord<std::uint64_t> agent;
  ShmWord<std::uint64_t> other;
  std::uint64_t reserved[2];
};
static_assert(sizeof(EventSlot) == 64);
static_assert(std::is_trivially_copyable_v<EventSlot>);
static_assert(std::has_unique_object_representations_v<EventSlot>);

class EventRing {
 public:
  static Result<EventRing> over(const shm::Layout& table, std::span<std::byte> bytes);
  void note(const Event& event) noexcept;

 private:
  std::span<EventSlot> slots_;
  std::uint64_t last_ = 0;  // number of the newest
};

class EventRingView {
 public:
  static Result<EventRingView> over(const shm::Layout& table, std::span<const std::byte> bytes);
  // Those from `from` on, oldest first.
  [[nodiscard]] std::vector<Event> read(HostTime from) const;

 private:
  std::span<const EventSlot> slots_;
};

}  // namespace mesh::engine
