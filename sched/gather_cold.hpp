// The cold half of Gather: what it does once an operation, or once a restart. Only gather.hpp
// includes it.
#pragma once

#include <algorithm>
#include <string>

#include "sched/gather.hpp"

namespace mesh::sched {

template <class Memory>
void Gather<Memory>::store_options(const GatherOptions& options) noexcept {
  // A place is free before it is overwritten, so that a death half-way leaves a free place.
  const auto put = [](auto& word, auto value) {
    word.store_release(value);  // SYNC gather.freed release: the state above says free
  };
  put(words_->undo, std::uint64_t{0});
  put(words_->started_ns, to_ns(options.started));
  put(words_->target_ns, to_ns(options.target));
  put(words_->window_end_ns, to_ns(options.target + options.window));
  put(words_->timeout_end_ns, to_ns(options.started + options.timeout));
  put(words_->tolerance_ns, std::int64_t{options.tolerance.count()});
  put(words_->ended_ns, std::int64_t{0});
  for (Counter* counter :
       {&words_->distance_ns_max[0], &words_->distance_ns_max[1], &words_->duplicate,
        &words_->contradiction, &words_->not_scheduled, &words_->invalid}) {
    put(*counter, std::uint64_t{0});
  }
  put(words_->rows, rows_);
  put(words_->ready_min_ppm, options.minima.ready_min.ppm);
  put(words_->coverage_min_ppm, options.minima.coverage_min.ppm);
  put(words_->declined, 0U);
  put(words_->skipped[0], options.skipped.insufficient_lead_time);
  put(words_->skipped[1], options.skipped.invalid_impedance);
  put(words_->skipped[2], options.skipped.capability_mismatch);
  put(words_->skipped[3], options.skipped.not_routable);
  for (auto& count : words_->errors.counts) put(count, 0U);
}

template <class Memory>
void Gather<Memory>::load_constants() noexcept {
  const auto get = [](const auto& word) {
    return word.load_acquire();  // SYNC gather.freed acquire: of a place that a dead writer opened
  };
  target_ns_ = get(words_->target_ns);
  window_end_ns_ = get(words_->window_end_ns);
  timeout_end_ns_ = get(words_->timeout_end_ns);
  scale_ = ErrorScale::of(get(words_->tolerance_ns));
}

template <class Memory>
void Gather<Memory>::count_bitmaps() noexcept {
  scheduled_ = scheduled_rows_.count();
  answered_ = ready_rows_.count() + conflict_rows_.count();
  spent_count_ = spent_rows_.count();
}

template <class Memory>
Status Gather<Memory>::adopt() {
  is_opened_ = false;
  state_ = GatherState::kFree;
  // SYNC gather.state acquire: pairs with start() and end() of the writer that died.
  const std::uint64_t word = words_->state_and_end.load_acquire();
  const std::uint64_t end = word >> 32;
  const std::uint64_t state = word & UINT32_MAX;
  if (word == 0) return {};
  const bool is_ended = state == static_cast<std::uint64_t>(GatherState::kEnded);
  const bool is_known = is_ended || state == static_cast<std::uint64_t>(GatherState::kCollecting);
  if (!is_known || is_ended == (end == 0) ||
      end > static_cast<std::uint64_t>(GatherEnd::kCancelled)) {
    return fail(Errc::corrupt, "gather: state " + std::to_string(state) + " with end " +
                                   std::to_string(end) + " does not exist");
  }
  const std::uint32_t rows = words_->rows.load_relaxed();  // relaxed: its writer is dead
  if (rows != rows_) {
    return fail(Errc::corrupt,
                "gather: opened for " + std::to_string(rows) + " rows, adopted for " +
                    std::to_string(rows_),
                rows);
  }
  load_constants();
  MESH_CHECK_OK(undo_half_an_arrival());
  count_bitmaps();
  state_ = static_cast<GatherState>(state);
  return verify();
}

template <class Memory>
Status Gather<Memory>::undo_half_an_arrival() {
  // SYNC gather.undo acquire: all arrivals before this one stand whole.
  const std::uint64_t undo = words_->undo.load_acquire();
  if (undo == 0) return {};
  const auto row = static_cast<std::uint32_t>((undo & ~kUndoValid) >> kUndoRowShift);
  const auto slot = static_cast<std::uint32_t>(undo >> kUndoSlotShift) & kUndoSlotMask;
  const auto before = static_cast<std::uint32_t>(undo);
  if ((undo & kUndoValid) == 0 || row >= rows_ || slot >= kErrorSlots) {
    return fail(Errc::corrupt, "gather: the arrival in progress names row " + std::to_string(row) +
                                   " of " + std::to_string(rows_) + " and slot " +
                                   std::to_string(slot) + " of " + std::to_string(kErrorSlots));
  }
  if (ready_rows_.test_acquire(row) || conflict_rows_.test_acquire(row)) return {};
  auto& count = words_->errors.counts[slot];
  // SYNC gather.count acquire: pairs with count_arrival() of the writer that died.
  const std::uint32_t found = count.load_acquire();
  if (found != before && found != before + 1) {
    return fail(Errc::corrupt, "gather: slot " + std::to_string(slot) + " counts " +
                                   std::to_string(found) + ", before the arrival of row " +
                                   std::to_string(row) + " it was " + std::to_string(before));
  }
  MESH_POINT("gather.adopt:before_undo");
  count.store_relaxed(before);  // relaxed: one store; dying here, the next adopts and does the same
  return {};
}

template <class Memory>
ErrorTally Gather<Memory>::tally() const noexcept {
  ErrorTally tally;
  tally.scale = scale_;
  // relaxed, all: asked by the only writer.
  tally.early_ns_max = words_->distance_ns_max[0].load_relaxed();
  tally.late_ns_max = words_->distance_ns_max[1].load_relaxed();
  for (std::uint32_t slot = 0; slot < kErrorSlots; ++slot) {
    tally.counts[slot] = words_->errors.counts[slot].load_relaxed();
  }
  return tally;
}

template <class Memory>
GatherCounts Gather<Memory>::counts() const noexcept {
  const bool is_ended = state_ == GatherState::kEnded;
  const auto get = [](const auto& word) {
    return word.load_relaxed();  // relaxed: asked by the only writer
  };
  GatherCounts counts;
  counts.sent = scheduled_;
  counts.ready = ready_rows_.count();
  counts.conflict = answered_ - counts.ready;
  counts.declined = is_ended ? get(words_->declined) : spent_count_;
  counts.late = spent_count_ - counts.declined;
  counts.skipped = {get(words_->skipped[0]), get(words_->skipped[1]), get(words_->skipped[2]),
                    get(words_->skipped[3])};
  counts.duplicate = get(words_->duplicate);
  counts.contradiction = get(words_->contradiction);
  counts.not_scheduled = get(words_->not_scheduled);
  counts.invalid = get(words_->invalid);
  return counts;
}

template <class Memory>
GatherJudgement Gather<Memory>::judgement() const noexcept {
  // relaxed, both: asked by the only writer
  const GatherMinima minima{Share{words_->ready_min_ppm.load_relaxed()},
                            Share{words_->coverage_min_ppm.load_relaxed()}};
  return judge(counts(), minima);
}

template <class Memory>
GatherEnd Gather<Memory>::end_reason() const noexcept {
  // relaxed: asked by the only writer
  return static_cast<GatherEnd>(words_->state_and_end.load_relaxed() >> 32);
}

template <class Memory>
GatherResult Gather<Memory>::result(HostTime now) const noexcept {
  const bool is_ended = state_ == GatherState::kEnded;
  const auto get = [](const auto& word) {
    return word.load_relaxed();  // relaxed: asked by the only writer
  };
  GatherResult result;
  result.end = static_cast<GatherEnd>(get(words_->state_and_end) >> 32);
  result.minima = {Share{get(words_->ready_min_ppm)}, Share{get(words_->coverage_min_ppm)}};
  result.counts = counts();
  result.judgement = judge(result.counts, result.minima);
  result.errors = summarize(tally());
  result.took_ns =
      saturating_difference(is_ended ? get(words_->ended_ns) : to_ns(now), get(words_->started_ns));
  return result;
}

// What is wrong with the bitmaps, or null.
template <class Memory>
const char* Gather<Memory>::broken_bitmaps() const noexcept {
  for (const RowBitmap<Memory>* map :
       {&scheduled_rows_, &ready_rows_, &conflict_rows_, &spent_rows_}) {
    if (map->has_tail()) return "a bitmap has a bit where no row is";
  }
  if (!ready_rows_.is_disjoint_from(conflict_rows_) || !spent_rows_.is_disjoint_from(ready_rows_) ||
      !spent_rows_.is_disjoint_from(conflict_rows_)) {
    return "a row stands in two of ready, conflict and spent";
  }
  for (const RowBitmap<Memory>* map : {&ready_rows_, &conflict_rows_, &spent_rows_}) {
    if (map->count_without(scheduled_rows_) != 0) {
      return "a row has answered that was not scheduled";
    }
  }
  if (scheduled_ != scheduled_rows_.count() || spent_count_ != spent_rows_.count() ||
      answered_ != ready_rows_.count() + conflict_rows_.count()) {
    return "the counts kept are not those of the bitmaps";
  }
  return nullptr;
}

// What is wrong with the words beside them, or null.
template <class Memory>
const char* Gather<Memory>::broken_words() const noexcept {
  const auto get = [](const auto& word) {
    return word.load_relaxed();  // relaxed: asked by the only writer, or its writer is dead
  };
  std::uint64_t counted = 0;
  for (const auto& count : words_->errors.counts) counted += get(count);
  if (counted != answered_) return "the histogram does not count the rows that arrived";
  if (state_ == GatherState::kEnded && get(words_->declined) > spent_count_) {
    return "more rows had declined when it ended than are spent";
  }
  if (std::max(get(words_->ready_min_ppm), get(words_->coverage_min_ppm)) > kShareOne) {
    return "a minimum is above 1";
  }
  if (get(words_->tolerance_ns) < 0) return "a negative tolerance";
  return nullptr;
}

template <class Memory>
Status Gather<Memory>::verify() const {
  if (state_ == GatherState::kFree) return {};
  const char* broken = broken_bitmaps();
  if (broken == nullptr) broken = broken_words();
  if (broken == nullptr) return {};
  return fail(Errc::corrupt, std::string("gather: ") + broken);
}

}  // namespace mesh::sched
