// Gather: what becomes of one operation's answers, in memory that outlives the engine.
//
//     open() -> schedule(row)... -> start() -> on_answer()... -> end(), late on_answer()...
//     free                          collecting                    ended            -> open()
//
// Four bitmaps over the operation's rows (scheduled, ready, conflict, spent), a histogram of
// arrival errors and a header of words. Counts are popcounts of the bitmaps. `spent` holds the rows
// that have had their say and count for neither side: they declined, or answered after the end. It
// is what keeps an answer that is read twice from giving its residual twice.
//
// Arrival     READY and CONFLICT both arrived: both have an error (finished - T) and a residual
//             (finished - sent - predicted). A declined delivery has neither. An answer after the
//             end has a residual and no error: the result stands.
// First       the first answer of a row stands. What comes after it is counted and changes nothing.
// In time     what was read before end() was called. The engine reads its answers before it looks
//             at deadlines, so one that was published in time is never missed.
// Times       a station's clock is input: finished is clamped to [sent, now].
//
// Invariants  ready, conflict, spent are disjoint and within scheduled
//             ready + conflict + straggler == scheduled
//             sum of the histogram == ready + conflict
// Callers     one thread; a successor adopts after its death.
// Progress    wait-free. on_answer: four bitmap words, one histogram word. No allocation, lock, log
//             or system call after over().
// Ordering    an arrival stores what would undo its count, then the count, then its bit, each with
//             release; adopt() loads them with acquire (tags gather.undo, gather.count, rows.set,
//             gather.state).
// Cost        bench/sched/gather_bench.cpp. open: clears 7 KiB and the bitmaps. result: a pass over
//             both. Memory: gather_bytes(rows): 7.3 KiB and half a byte a row.
// Units       times in nanoseconds of HostClock; rows from 0, in whatever numbering the owner keeps
//             for the operation.
// If the      writer dies in open() or before start(): free, to be opened again. In on_answer():
// other side  adopt() takes back a count without a bit, and the burst, read again, gives the same
// dies        bits and counts as without the death. The residual of the one answer it died in may
//             be lost; none is given twice. In end(): ended, or to be ended again.
// Errors      over -> invalid_argument, truncated, misaligned. open -> invalid_argument.
//             adopt -> corrupt. No schedulable agents: result().
// Layout      native words, never shared with a peer: `engine` memory. header, then the bitmaps,
//             each on its own cache lines.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "sched/error_histogram.hpp"
#include "sched/gather_layout.hpp"
#include "sched/gather_result.hpp"
#include "sched/records.hpp"
#include "sched/row_bitmap.hpp"
#include "shm/base/assert.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::sched {

struct GatherOptions {
  HostTime started{};
  HostTime target{};  // T. The lead horizon is T - started; the window is another input.
  Nanos window = kGatherWindow;
  Nanos timeout = kGatherTimeout;  // from started
  Nanos tolerance = kArrivalTolerance;
  GatherMinima minima;
  SkipCounts skipped;
};
// Refuses what cannot be meant: negative or endless spans, minima above 1.
[[nodiscard]] Status validate(const GatherOptions& options);

// A validated AnswerRecord, and what the engine knows of its delivery.
struct GatherAnswer {
  std::uint32_t row = 0;  // from a peer's handle: any number
  TrinaryState state = TrinaryState::transit;
  std::int64_t finished_ns = 0;   // as the station says
  std::int64_t sent_ns = 0;       // when its run was published
  std::int64_t predicted_ns = 0;  // sent to READY, as planned
};

enum class AnswerOutcome : std::uint8_t {
  kReady = 0,
  kConflict,
  kDeclined,       // TRANSIT: it will not answer, or could not be delivered
  kLate,           // after the end: counts for the profile, not for the result
  kDuplicate,      // from here on nothing changed
  kContradiction,  // READY after CONFLICT, or the reverse
  kNotScheduled,
  kInvalid,
};

struct AnswerEffect {
  AnswerOutcome outcome = AnswerOutcome::kInvalid;
  bool has_residual = false;
  std::int64_t residual_ns = 0;  // observed - predicted: positive is slower than predicted
};

template <class Memory = HostMemory>
class Gather {
 public:
  using Words = GatherWords<Memory>;
  static_assert(sizeof(Words) == sizeof(GatherWords<HostMemory>));

  // The edge where bytes become an operation's place. Says nothing of what they hold: open() or
  // adopt() next. Zero bytes are a free place.
  static Result<Gather> over(std::span<std::byte> bytes, std::uint32_t rows);
  // After a restart: takes back an arrival that was cut short, checks the invariants and counts.
  [[nodiscard]] Status adopt();

  // Makes the place free, clears it and writes everything but the rows.
  [[nodiscard]] Status open(const GatherOptions& options);
  // Between open() and start(); again is once.
  bool schedule(std::uint32_t row) noexcept;
  // Instead: a bit a row, as RowBitmap lays them.
  void schedule_all(std::span<const std::uint64_t> rows) noexcept;
  void start() noexcept;

  AnswerEffect on_answer(const GatherAnswer& answer, HostTime now) noexcept {
    AnswerEffect effect;
    on_answers({&answer, 1}, now, {&effect, 1});
    return effect;
  }
  // A burst, in order: effects[i] is what on_answer(answers[i]) would say, every store the same.
  void on_answers(std::span<const GatherAnswer> answers, HostTime now,
                  std::span<AnswerEffect> effects) noexcept;

  // Every scheduled row has had its say. True of an operation that nobody was scheduled for.
  [[nodiscard]] bool is_complete() const noexcept { return answered_ + spent_count_ == scheduled_; }
  // Why it would end now; kOpen: it goes on. Changes nothing.
  [[nodiscard]] GatherEnd why_over(HostTime now) const noexcept;
  // When it ends if nobody says more: for the wheel.
  [[nodiscard]] HostTime deadline() const noexcept;
  // Again is once: the first end stands.
  void end(GatherEnd why, HostTime now) noexcept;

  [[nodiscard]] GatherState state() const noexcept { return state_; }
  // Of the result what needs no pass over the histogram.
  [[nodiscard]] GatherCounts counts() const noexcept;
  [[nodiscard]] GatherJudgement judgement() const noexcept;
  [[nodiscard]] GatherEnd end_reason() const noexcept;
  [[nodiscard]] GatherResult result(HostTime now) const noexcept;
  template <class Visit>  // visit(row): neither READY nor CONFLICT
  void for_each_straggler(Visit&& visit) const {
    scheduled_rows_.for_each_without(visit, ready_rows_, conflict_rows_);
  }
  [[nodiscard]] const RowBitmap<Memory>& scheduled() const noexcept { return scheduled_rows_; }
  [[nodiscard]] const RowBitmap<Memory>& ready() const noexcept { return ready_rows_; }
  [[nodiscard]] const RowBitmap<Memory>& conflict() const noexcept { return conflict_rows_; }
  [[nodiscard]] const RowBitmap<Memory>& spent() const noexcept { return spent_rows_; }
  [[nodiscard]] ErrorTally tally() const noexcept;
  // The invariants above; Errc::corrupt names the first that fails.
  [[nodiscard]] Status verify() const;

 private:
  // {1 valid | 20 row | 11 slot | 32 the slot's count before}
  static constexpr unsigned kUndoSlotShift = 32;
  static constexpr unsigned kUndoRowShift = 43;
  static constexpr std::uint32_t kUndoSlotMask = (1U << (kUndoRowShift - kUndoSlotShift)) - 1;
  static constexpr std::uint64_t kUndoValid = std::uint64_t{1} << 63;
  static_assert(kErrorSlots <= kUndoSlotMask + 1);
  static_assert(kMaxAgents == 1U << (63 - kUndoRowShift));

  using Counter = typename Memory::template Word<std::uint64_t>;

  Gather() = default;
  void load_constants() noexcept;
  void store_options(const GatherOptions& options) noexcept;
  void count_bitmaps() noexcept;
  [[nodiscard]] Status undo_half_an_arrival();
  [[nodiscard]] const char* broken_bitmaps() const noexcept;
  [[nodiscard]] const char* broken_words() const noexcept;
  // What a burst keeps in registers.
  struct Burst;
  AnswerEffect take(const GatherAnswer& answer, Burst& burst) noexcept;
  void count_arrival(std::uint32_t row, std::int64_t error_ns, Burst& burst) noexcept;
  AnswerEffect repeated(const GatherAnswer& answer, const Burst& burst) noexcept;
  [[nodiscard]] static AnswerEffect unchanged(Counter& counter, AnswerOutcome outcome) noexcept;

  Words* words_ = nullptr;
  RowBitmap<Memory> scheduled_rows_;
  RowBitmap<Memory> ready_rows_;
  RowBitmap<Memory> conflict_rows_;
  RowBitmap<Memory> spent_rows_;
  // Copies of what the words say, so that a hot call does not reload them; adopt() rebuilds them.
  GatherState state_ = GatherState::kFree;
  bool is_opened_ = false;  // between open() and start(): a free place for everyone else
  std::uint32_t rows_ = 0;
  std::uint32_t scheduled_ = 0;
  std::uint32_t answered_ = 0;  // ready + conflict
  std::uint32_t spent_count_ = 0;
  std::int64_t target_ns_ = 0;
  std::int64_t window_end_ns_ = 0;
  std::int64_t timeout_end_ns_ = 0;
  ErrorScale scale_;
};

template <class Memory>
Result<Gather<Memory>> Gather<Memory>::over(std::span<std::byte> bytes, std::uint32_t rows) {
  if (rows == 0 || rows > kMaxAgents) {
    return fail(Errc::invalid_argument,
                "gather: " + std::to_string(rows) + " rows asked for, it must be 1 to " +
                    std::to_string(kMaxAgents),
                kMaxAgents);
  }
  if (bytes.size() < gather_bytes(rows)) {
    return fail(Errc::truncated,
                "gather: " + std::to_string(rows) + " rows need " +
                    std::to_string(gather_bytes(rows)) + " bytes, there are " +
                    std::to_string(bytes.size()),
                static_cast<std::int64_t>(bytes.size()));
  }
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % kCacheLine != 0) {
    return fail(Errc::misaligned, "gather: its first byte is not on a cache line of " +
                                      std::to_string(kCacheLine) + " bytes");
  }
  Gather gather;
  gather.rows_ = rows;
  gather.words_ = reinterpret_cast<Words*>(bytes.data());
  bytes = bytes.subspan(sizeof(Words));
  for (RowBitmap<Memory>* map : {&gather.scheduled_rows_, &gather.ready_rows_,
                                 &gather.conflict_rows_, &gather.spent_rows_}) {
    MESH_TRY(*map, RowBitmap<Memory>::over(bytes, rows));
    bytes = bytes.subspan(row_bitmap_bytes(rows));
  }
  return gather;
}

template <class Memory>
Status Gather<Memory>::open(const GatherOptions& options) {
  MESH_CHECK_OK(validate(options));
  // relaxed: what follows is stored with release, so that it cannot come before this.
  words_->state_and_end.store_relaxed(0);
  MESH_POINT("gather.open:freed");
  for (RowBitmap<Memory>* map : {&scheduled_rows_, &ready_rows_, &conflict_rows_, &spent_rows_}) {
    map->clear_all();
  }
  store_options(options);
  load_constants();
  scheduled_ = answered_ = spent_count_ = 0;
  state_ = GatherState::kFree;
  is_opened_ = true;
  return {};
}

template <class Memory>
bool Gather<Memory>::schedule(std::uint32_t row) noexcept {
  MESH_DCHECK(is_opened_);
  const bool is_new = scheduled_rows_.set(row);
  scheduled_ += is_new ? 1 : 0;
  return is_new;
}

template <class Memory>
void Gather<Memory>::schedule_all(std::span<const std::uint64_t> rows) noexcept {
  MESH_DCHECK(is_opened_);
  scheduled_rows_.assign(rows);
  scheduled_ = scheduled_rows_.count();
}

template <class Memory>
void Gather<Memory>::start() noexcept {
  MESH_ASSERT(is_opened_);
  is_opened_ = false;
  state_ = GatherState::kCollecting;
  MESH_POINT("gather.start:before_state");
  // SYNC gather.state release: who finds it collecting finds all of it.
  words_->state_and_end.store_release(state_and_end(state_, GatherEnd::kOpen));
}

template <class Memory>
AnswerEffect Gather<Memory>::unchanged(Counter& counter, AnswerOutcome outcome) noexcept {
  counter.store_relaxed(counter.load_relaxed() + 1);  // relaxed: one writer, and it orders nothing
  return {outcome, false, 0};
}

template <class Memory>
HostTime Gather<Memory>::deadline() const noexcept {
  return from_ns(std::min(window_end_ns_, timeout_end_ns_));
}

template <class Memory>
GatherEnd Gather<Memory>::why_over(HostTime now) const noexcept {
  if (is_complete()) return GatherEnd::kComplete;
  if (now < deadline()) return GatherEnd::kOpen;
  return window_end_ns_ <= timeout_end_ns_ ? GatherEnd::kWindow : GatherEnd::kTimeout;
}

template <class Memory>
void Gather<Memory>::end(GatherEnd why, HostTime now) noexcept {
  MESH_DCHECK(why != GatherEnd::kOpen);
  if (state_ != GatherState::kCollecting) return;
  // relaxed, both: published by the state below; stored again if that never came.
  words_->declined.store_relaxed(spent_count_);
  words_->ended_ns.store_relaxed(to_ns(now));
  MESH_POINT("gather.end:before_state");
  state_ = GatherState::kEnded;
  // SYNC gather.state release: who finds it ended finds when, and how many had declined.
  words_->state_and_end.store_release(state_and_end(state_, why));
}

}  // namespace mesh::sched

#include "sched/gather_burst.hpp"
#include "sched/gather_cold.hpp"
