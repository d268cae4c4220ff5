// The hot half of Gather: a burst of answers. Only gather.hpp includes it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "sched/gather.hpp"

namespace mesh::sched {

// Copies of its members and of the bitmaps' words around the last row: each store to a word would
// have the compiler load them again for every answer.
template <class Memory>
struct Gather<Memory>::Burst {
  Words* words = nullptr;
  RowBitmap<Memory> ready_rows;
  RowBitmap<Memory> conflict_rows;
  RowBitmap<Memory> spent_rows;
  RowBitmap<Memory> scheduled_rows;
  ErrorScale scale;
  std::int64_t now_ns = 0;
  std::int64_t target_ns = 0;
  std::uint32_t rows = 0;
  GatherState state = GatherState::kFree;
  std::uint32_t answered = 0;
  std::uint32_t spent_count = 0;
  std::uint64_t early_max = 0;
  std::uint64_t late_max = 0;
  std::uint32_t at = ~std::uint32_t{0};  // the word that follows is of these 64 rows
  std::uint64_t scheduled = 0;
  std::uint64_t ready = 0;
  std::uint64_t conflict = 0;
  std::uint64_t spent = 0;

  void move_to(std::uint32_t row) noexcept {
    if (row / kRowsPerWord == at) return;
    at = row / kRowsPerWord;
    scheduled = scheduled_rows.word_of(row);
    ready = ready_rows.word_of(row);
    conflict = conflict_rows.word_of(row);
    spent = spent_rows.word_of(row);
  }
};

template <class Memory>
void Gather<Memory>::on_answers(std::span<const GatherAnswer> answers, HostTime now,
                                std::span<AnswerEffect> effects) noexcept {
  MESH_DCHECK(effects.size() >= answers.size());
  Burst burst;
  burst.words = words_;
  burst.ready_rows = ready_rows_;
  burst.conflict_rows = conflict_rows_;
  burst.spent_rows = spent_rows_;
  burst.scheduled_rows = scheduled_rows_;
  burst.scale = scale_;
  burst.now_ns = to_ns(now);
  burst.target_ns = target_ns_;
  burst.rows = rows_;
  burst.state = state_;
  // relaxed, both: this thread is the only writer
  burst.early_max = words_->distance_ns_max[0].load_relaxed();
  burst.late_max = words_->distance_ns_max[1].load_relaxed();
  AnswerEffect* effect = effects.data();
  for (const GatherAnswer& answer : answers) *effect++ = take(answer, burst);
  answered_ += burst.answered;
  spent_count_ += burst.spent_count;
}

template <class Memory>
[[gnu::always_inline]] inline AnswerEffect Gather<Memory>::take(const GatherAnswer& answer,
                                                                Burst& burst) noexcept {
  const bool has_arrived =
      answer.state == TrinaryState::ready || answer.state == TrinaryState::conflict;
  if (answer.row >= burst.rows || (!has_arrived && answer.state != TrinaryState::transit)) {
    return unchanged(burst.words->invalid, AnswerOutcome::kInvalid);
  }
  const std::uint32_t row = answer.row;
  const std::uint64_t mask = RowBitmap<Memory>::mask_of(row);
  burst.move_to(row);
  if (burst.state == GatherState::kFree || (burst.scheduled & mask) == 0) {
    return unchanged(burst.words->not_scheduled, AnswerOutcome::kNotScheduled);
  }
  if (((burst.ready | burst.conflict | burst.spent) & mask) != 0) return repeated(answer, burst);
  // Not std::clamp: a sent_ns after now is no reason for undefined behaviour.
  const std::int64_t finished =
      std::max(std::min(answer.finished_ns, burst.now_ns), answer.sent_ns);
  AnswerEffect effect;
  effect.has_residual = has_arrived;
  if (has_arrived) {
    effect.residual_ns =
        saturating_difference(saturating_difference(finished, answer.sent_ns), answer.predicted_ns);
  }
  if (burst.state == GatherState::kEnded || !has_arrived) {
    burst.spent |= mask;
    burst.spent_rows.store_word_of(row, burst.spent);
    ++burst.spent_count;
    effect.outcome =
        burst.state == GatherState::kEnded ? AnswerOutcome::kLate : AnswerOutcome::kDeclined;
    return effect;
  }
  count_arrival(row, saturating_difference(finished, burst.target_ns), burst);
  MESH_POINT("gather.on_answer:before_bit");
  // From here on it has answered.
  if (answer.state == TrinaryState::ready) {
    burst.ready |= mask;
    burst.ready_rows.store_word_of(row, burst.ready);
    effect.outcome = AnswerOutcome::kReady;
  } else {
    burst.conflict |= mask;
    burst.conflict_rows.store_word_of(row, burst.conflict);
    effect.outcome = AnswerOutcome::kConflict;
  }
  ++burst.answered;
  return effect;
}

// An arrival is two stores that belong together: its count and its bit. `undo` says what the count
// was before: a successor that finds no bit for that row puts it back.
template <class Memory>
[[gnu::always_inline]] inline void Gather<Memory>::count_arrival(std::uint32_t row,
                                                                 std::int64_t error_ns,
                                                                 Burst& burst) noexcept {
  const std::uint32_t slot = burst.scale.slot_of(error_ns);
  auto& count = burst.words->errors.counts[slot];
  const std::uint32_t before = count.load_relaxed();  // relaxed: this thread is the only writer
  // SYNC gather.undo release: the bit of the arrival before this one stands.
  burst.words->undo.store_release(kUndoValid | std::uint64_t{row} << kUndoRowShift |
                                  std::uint64_t{slot} << kUndoSlotShift | before);
  // Before the bit, and needing no undo: the burst read again stores the same or more.
  const std::uint64_t distance = magnitude(error_ns);
  const bool is_late = side_of(error_ns) != 0;
  if (distance > (is_late ? burst.late_max : burst.early_max)) {
    burst.early_max = is_late ? burst.early_max : distance;
    burst.late_max = is_late ? distance : burst.late_max;
    burst.words->distance_ns_max[side_of(error_ns)].store_relaxed(distance);  // relaxed: no order
  }
  // SYNC gather.count release: what undoes it stands.
  count.store_release(before + 1);
}

template <class Memory>
AnswerEffect Gather<Memory>::repeated(const GatherAnswer& answer, const Burst& burst) noexcept {
  const std::uint64_t mask = RowBitmap<Memory>::mask_of(answer.row);
  const bool contradicts = (answer.state == TrinaryState::ready && (burst.conflict & mask) != 0) ||
                           (answer.state == TrinaryState::conflict && (burst.ready & mask) != 0);
  if (contradicts) return unchanged(words_->contradiction, AnswerOutcome::kContradiction);
  return unchanged(words_->duplicate, AnswerOutcome::kDuplicate);
}

}  // namespace mesh::sched
