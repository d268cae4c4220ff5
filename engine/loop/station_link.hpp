// StationLink: the engine's side of one station. Its two rings, its bodies, and what waits for
// room.
//
// Callers     the scheduler thread.
// Progress    wait-free; no allocation after open().
// Invariant   a body may go when the station's cursor has passed the last delivery that names it:
//             `marks` holds, for each batch, the inbox position it ended at and what it referred
//             to. Until its log needs the room it stays where it is.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "engine/loop/engine_loop.hpp"
#include "engine/loop/inbox_pressure.hpp"
#include "queues/payload_log.hpp"
#include "queues/spsc_ring.hpp"
#include "sched/records.hpp"
#include "shm/columns.hpp"

namespace mesh::engine {

using Ring = queues::SpscRing<>;
using BodyLog = queues::PayloadLog<>;

inline constexpr std::uint32_t kNoBody = ~std::uint32_t{0};

// Deliveries [.., inbox_end) are in the ring; `count` of them name body `body` of the payload log.
struct InboxMark {
  std::uint64_t inbox_end = 0;
  std::uint64_t own_end = 0;  // once passed, all bodies of `.in` before this have been read; or 0
  std::uint32_t body = kNoBody;
  std::uint32_t count = 0;
};

// What a station measured of its own agents: input.
struct SelfColumns {
  shm::ColumnView<HostMemory, std::uint32_t> sequence;  // odd while the row is being written
  shm::ColumnView<HostMemory, std::uint32_t> heartbeat_mesh_ms;
  shm::ColumnView<HostMemory, float> latency_ms;
  shm::ColumnView<HostMemory, float> processing_ms;
  shm::ColumnView<HostMemory, float> drift;
  shm::ColumnView<HostMemory, std::uint32_t> samples;
  shm::ColumnView<HostMemory, std::uint64_t> context_hash;
};

inline constexpr std::size_t kRefusalCodes = 128;  // the last one: all codes from there on

struct StationLink {
  StationId number{};
  std::uint32_t uid = 0;
  std::uint32_t agents_declared = 0;
  bool is_corrupt = false;
  bool is_staged = false;              // deliveries wait for the reveal at the end of the tick
  bool has_taken = false;              // records of this tick, whose slots are freed at its end
  bool is_full = false;                // as the table says
  bool waits_for_record = false;       // its next answer is a conflict that finds no room
  std::uint64_t waited_until = 0;      // outbox positions before it may have waited so
  std::int64_t heard_ns = 0;           // when its outbox last held something
  std::uint64_t read_again_until = 0;  // outbox positions before it may have been taken before
  std::vector<std::uint64_t>
      applied;  // of those, what was found to be done: MessageId::low, sorted
  std::uint32_t staged_slot = ~std::uint32_t{0};  // operation that staged last: it pays the wake
  Ring::Writer inbox;
  Ring::Reader outbox;
  BodyLog::Writer own_bodies;        // `.in`
  BodyLog::Reader own_bodies_again;  // the same, to read what must go elsewhere
  std::uint64_t own_read = 0;        // bodies of `.in` before this have been read
  BodyLog::Reader sent_bodies;       // `.out`: input
  SelfColumns self;
  std::vector<std::uint32_t> rows;  // of its agents, in the order they enrolled
  std::uint32_t next_place = 0;     // in its self columns
  std::vector<InboxMark> marks;     // a ring of kRunsPerStation
  std::uint64_t mark_head = 0;
  std::uint64_t mark_tail = 0;
  std::uint32_t pending_first[kPriorities]{};
  std::uint32_t pending_last[kPriorities]{};
  std::uint32_t pending_count = 0;        // records
  std::uint32_t pending_entries = 0;      // of these: direct messages
  std::optional<InboxPressure> pressure;  // of those; there is one from its attachment on
  std::uint32_t refused = 0;              // since account() looked; by code:
  std::array<std::uint32_t, kRefusalCodes> refusals{};

  void note_refusal(Errc why) noexcept {
    ++refused;
    ++refusals[std::min(static_cast<std::size_t>(why), kRefusalCodes - 1)];
  }

  static Result<StationLink> open(StationId number, const StationMemory& memory, std::uint32_t uid);
  [[nodiscard]] bool has_mark_room() const noexcept { return mark_head - mark_tail < marks.size(); }
  // Deliveries of one batch that name the same body share a mark.
  void push_mark(const InboxMark& mark) noexcept {
    if (is_staged && mark_head != mark_tail) {
      InboxMark& last = marks[(mark_head - 1) % marks.size()];
      if (last.body == mark.body) {
        last.inbox_end = mark.inbox_end;
        last.own_end = std::max(last.own_end, mark.own_end);
        last.count += mark.count;
        return;
      }
    }
    marks[mark_head++ % marks.size()] = mark;
  }
  // A record that was unread when its writer died; again of the same body is one mark. Without a
  // place it is found by the marks after it.
  void add_unread(const InboxMark& mark) noexcept {
    InboxMark* const last =
        mark_head == mark_tail ? nullptr : &marks[(mark_head - 1) % marks.size()];
    if (last != nullptr && last->body == mark.body) {
      last->inbox_end = mark.inbox_end;
      last->own_end = std::max(last->own_end, mark.own_end);
      last->count += mark.count;
    } else if (has_mark_room()) {
      marks[mark_head++ % marks.size()] = mark;
    }
  }
  // Slots that a message of this priority may still take: the two lower ones fill a quarter, so
  // that a critical message waits behind a bounded number.
  [[nodiscard]] std::uint64_t room_for(std::uint32_t priority, std::uint64_t wanted) noexcept {
    const std::uint64_t most = priority >= static_cast<std::uint32_t>(sched::Priority::high)
                                   ? inbox.capacity()
                                   : inbox.capacity() / 4;
    const auto left = [&] {
      const std::uint64_t used = inbox.head() - inbox.cursor();
      return used < most ? most - used : 0;
    };
    if (left() < wanted) static_cast<void>(inbox.free_slots());  // looks at the station's cursor
    return std::min(left(), wanted);
  }
};

}  // namespace mesh::engine
