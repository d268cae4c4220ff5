// Operation: one scatter-gather or broadcast in flight, in `engine` memory and beside it.
//
//            plan               every answer, window, timeout
//   free ───────────▶ sending ────────────────────────────────▶ ended
//    ▲ ▲                                                          │
//    │ └──────── its slot is needed, and it is the oldest ────────┘
//
// In memory, so that a successor goes on: OperationWords, the gather, and for each target its lead,
// prediction, bucket, when it was sent and where its delivery stands. Private, and made anew from
// those: the order in which targets leave.
//
// Targets are numbered by *place*: in a wide operation (over kWideTargets) that is the row of the
// table; a narrow one lists its rows, ascending.
//
// Callers     the scheduler thread; a successor.
// Ordering    all of a slot is stored before its state, with release. Of a target its place in the
//             inbox before `sent`. SYNC operation.state, operation.sent
// If the      writer dies: a slot is free, or whole in its state. Of each target a successor can
// other side  tell whether its delivery is visible: the inbox's head is beyond its place, or not.
// dies
// Layout      regions operations, wide.*, narrow.*.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/loop/engine_loop.hpp"
#include "sched/gather.hpp"
#include "sched/lead_time_columns.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/word.hpp"
#include "shm/layout.hpp"

namespace mesh::engine {

inline constexpr std::uint32_t kBucketsPerOperation = 16'384;  // a horizon of 16 s at 1 ms
inline constexpr std::int32_t kNotSent = INT32_MIN;
inline constexpr std::int32_t kSentBefore = INT32_MIN + 1;  // to a station that is gone: once more

enum class OperationState : std::uint8_t { free = 0, sending, ended };
enum class ResultState : std::uint8_t { none = 0, due, told };

template <class Memory>
struct alignas(kCacheLine) OperationWords {
  template <class T>
  using Word = typename Memory::template Word<T>;
  Word<std::uint64_t> state;  // OperationState | serial << 32
  Word<std::uint64_t> source;
  Word<std::uint64_t> id_high;
  Word<std::uint64_t> id_low;  // station << 48 | outbox position: which record opened it
  Word<std::int64_t> target_ns;
  Word<std::int64_t> planned_ns;
  Word<std::int64_t> bucket_ns;
  Word<std::int64_t> expires_ns;
  Word<std::uint64_t> body_position;  // in the payload log; kNowhere: parked alone
  Word<std::uint64_t> body;           // bytes | first parked block + 1 << 32
  Word<std::uint64_t> about;          // verb | strategy << 8 | priority << 16 | marks << 24
  Word<std::uint64_t> targets;
  Word<std::uint64_t> next_key;  // the buckets before it have left
  Word<std::uint64_t> result;    // ResultState
  Word<std::uint64_t> weight;    // of the payload, a double's bits
  Word<std::uint64_t> part_of;   // the cascade that opened it (cascade_book.hpp); 0: none
  Word<std::uint64_t> reserved[16];
};
static_assert(sizeof(OperationWords<HostMemory>) == 256);
inline constexpr std::uint64_t kNowhere = ~std::uint64_t{0};

inline constexpr std::uint8_t kOperationConfidential = 1U << 0;  // never through the payload log
inline constexpr std::uint8_t kOperationNow = 1U << 1;           // no T: sent at once
inline constexpr std::uint8_t kOperationByT = 1U << 2;           // aimed so, not at the centre
inline constexpr std::uint8_t kOperationInTime = 1U << 3;        // at once, but to who can make it
inline constexpr std::uint8_t kOperationComparable = 1U << 4;    // outcomes are compared at its end

// What only a trace shows.
struct TraceNote {
  std::int64_t finished_ns = 0;      // 0: no answer yet
  std::int64_t nominal_lead_us = 0;  // what the nominal model would have sent by
  std::uint16_t confidence = 0;      // as planned
};

struct Operation {
  using Words = OperationWords<HostMemory>;
  using Sent = ShmWord<std::int32_t>;
  using InboxPlace = ShmWord<std::uint32_t>;

  // Bound once.
  Words* words = nullptr;
  std::optional<sched::Gather<>> gather;
  std::span<std::uint32_t> rows;  // narrow: by place, ascending. Wide: empty
  std::span<std::int32_t> lead;
  std::span<std::int32_t> predicted;
  std::span<Sent> sent;
  std::span<InboxPlace> inbox_place;
  std::span<std::uint16_t> key;
  std::span<std::uint8_t> queue;           // depth when planned: what the predictor learns by
  std::unique_ptr<std::uint32_t[]> order;  // places, by bucket, of one station together

  // Of the tenant; what stands in memory too is copied here.
  OperationState state = OperationState::free;
  std::uint32_t serial = 0;  // in its id: an answer to an old tenant of the slot is no answer
  std::uint32_t targets = 0;
  std::uint32_t order_count = 0;  // places in `order`
  std::uint32_t next_order = 0;   // those before it have had their turn
  AgentId source{};
  sched::MessageId id{};
  std::int64_t target_ns = 0;
  std::int64_t planned_ns = 0;
  std::int64_t bucket_ns = 0;
  std::int64_t expires_ns = 0;
  double weight = 1;
  std::uint32_t body = 0;    // in the ring of logged bodies; kNoBody: parked alone
  std::uint32_t parked = 0;  // first block; kNone: in the log alone
  std::uint32_t body_bytes = 0;
  sched::Priority priority = sched::Priority::normal;
  std::uint8_t marks = 0;
  bool is_lateness_known = false;  // of the bucket that is leaving
  bool is_noted = false;           // its cascade has yet to look at it
  std::uint32_t sending_at = 0;    // among those that are sending
  std::uint64_t part_of = 0;       // the cascade that opened it; 0: none
  OperationCost cost;
  std::unique_ptr<TraceNote[]> notes;         // by place, where a trace was asked for
  std::unique_ptr<std::uint64_t[]> outcomes;  // by place, of a comparable one (comparing.hpp)
  OutcomesCompared compared;

  [[nodiscard]] bool is_wide() const noexcept { return rows.empty(); }
  [[nodiscard]] std::uint32_t room() const noexcept {
    return static_cast<std::uint32_t>(lead.size());
  }
  [[nodiscard]] std::uint32_t row_of(std::uint32_t place) const noexcept {
    return is_wide() ? place : rows[place];
  }
  // targets: a row that is none.
  [[nodiscard]] std::uint32_t place_of(std::uint32_t row) const noexcept {
    if (is_wide()) return row;
    const auto end = rows.begin() + targets;
    const auto found = std::lower_bound(rows.begin(), end, row);
    return found != end && *found == row ? static_cast<std::uint32_t>(found - rows.begin())
                                         : targets;
  }
  // Who cannot be READY in time is not sent to.
  [[nodiscard]] bool skips_late() const noexcept {
    return (marks & kOperationNow) == 0 || (marks & kOperationInTime) != 0;
  }
  [[nodiscard]] bool has_bucket_left() const noexcept { return next_order < order_count; }
  // Of the bucket that leaves next or is leaving; only while there is one.
  [[nodiscard]] std::uint32_t next_key() const noexcept { return key[order[next_order]]; }
  // Everybody has had their say, or nobody was meant.
  [[nodiscard]] bool is_settled() const noexcept { return gather->is_complete(); }
  [[nodiscard]] bool has_answered(std::uint32_t place) const noexcept {
    return gather->ready().test(place) || gather->conflict().test(place) ||
           gather->spent().test(place);
  }
  [[nodiscard]] bool is_outstanding(std::uint32_t place) const noexcept {
    return gather->scheduled().test(place) && !has_answered(place);
  }
  [[nodiscard]] std::int64_t sent_ns(std::uint32_t place) const noexcept {
    return target_ns - std::int64_t{sent_units(place)} * sched::kLeadUnitNs;
  }
  [[nodiscard]] std::int32_t sent_units(std::uint32_t place) const noexcept {
    return sent[place].load_relaxed();  // relaxed: asked by the only writer
  }
  // Of a slot that is free: nobody looks, and its state, stored with release, comes after.
  void forget_sent() noexcept {
    static_assert(sizeof(Sent) == sizeof(std::int32_t));
    std::fill_n(reinterpret_cast<std::int32_t*>(sent.data()), targets, kNotSent);
  }
  // For a successor.
  [[nodiscard]] std::int32_t sent_before_death(std::uint32_t place) const noexcept {
    return sent[place].load_acquire();  // SYNC operation.sent acquire: of the writer that died
  }
  [[nodiscard]] bool is_sent(std::uint32_t place) const noexcept {
    return sent_units(place) > kSentBefore;
  }
};

// An operation's id names its slot and which tenant of it.
constexpr OperationId operation_id(std::uint32_t slot, std::uint32_t serial) noexcept {
  return static_cast<OperationId>(std::uint64_t{serial} << 16 | slot);
}
constexpr std::uint32_t slot_of(OperationId id) noexcept {
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(id) & 0xFFFF);
}
constexpr std::uint32_t serial_of(OperationId id) noexcept {
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(id) >> 16);
}

// All slots over `engine` memory, free or as they stand. `rows`: of the table.
Result<std::vector<Operation>> bind_operations(const shm::Layout& layout,
                                               std::span<std::byte> memory, std::uint32_t rows);

}  // namespace mesh::engine
