#include "engine/loop/comparing.hpp"

#include <algorithm>
#include <array>

#include "engine/health/failure_detector.hpp"
#include "engine/loop/conflicts.hpp"
#include "engine/loop/state.hpp"
#include "shm/hash.hpp"

namespace mesh::engine {
namespace {

using health::Comparable;
using health::Comparison;

OutcomesCompared::Verdict verdict_of(Comparison comparison) noexcept {
  using Verdict = OutcomesCompared::Verdict;
  switch (comparison) {
    case Comparison::too_few:
      return Verdict::too_few;
    case Comparison::agreed:
      return Verdict::agreed;
    case Comparison::outliers:
      return Verdict::outliers;
    case Comparison::contradiction:
      break;
  }
  return Verdict::contradiction;
}

ConflictNote note_of(EngineLoop::State& loop, const Operation& operation, std::uint32_t row) {
  return {.answer = loop.own_id(),
          .message = operation.id,
          .agent = loop.registry->id_of(agent_index(row)),
          .operation = operation_id(static_cast<std::uint32_t>(&operation - loop.operations.data()),
                                    operation.serial),
          .has_values = true,
          .context_hash = own(loop.agents.context_hash, row),
          .at = from_ns(loop.now_ns),
          .source = operation.source};
}

// Who differs from the many is held, and what it said kept, by whoever records conflicts.
void accuse(EngineLoop::State& loop, const Operation& operation,
            const Comparable& answer) noexcept {
  const std::uint32_t row = answer.where.row;
  ++loop.counters.byzantine;
  loop.gate.watch->differs(row, loop.agents,
                           {.expected = operation.compared.majority, .found = answer.outcome},
                           from_ns(loop.now_ns));
  ConflictNote note = note_of(loop, operation, row);
  note.type = sched::ConflictType::hash_mismatch;
  note.is_byzantine = true;
  note.expected = operation.compared.majority;
  note.received = answer.outcome;
  note_conflict(loop, note);
}

// One conflict for all of them, between the first and one that says something else.
void note_contradiction(EngineLoop::State& loop, const Operation& operation) noexcept {
  ++loop.counters.contradictions;
  const std::uint64_t first = loop.gate.compared.front().outcome;
  const auto other =
      std::find_if(loop.gate.compared.begin(), loop.gate.compared.end(),
                   [&](const Comparable& answer) { return answer.outcome != first; });
  ConflictNote note = note_of(loop, operation, other->where.row);
  note.type = sched::ConflictType::data_contradiction;
  note.affected = static_cast<std::uint32_t>(loop.gate.compared.size());
  note.expected = first;
  note.received = other->outcome;
  note_conflict(loop, note);
}

}  // namespace

std::string_view name_of(OutcomesCompared::Verdict verdict) noexcept {
  constexpr std::array<std::string_view, 5> kNames = {"not_compared", "too_few", "agreed",
                                                      "outliers", "contradiction"};
  return kNames[static_cast<std::size_t>(verdict)];
}

void expect_outcomes(EngineLoop::State& loop, Operation& operation) {
  operation.outcomes = std::make_unique<std::uint64_t[]>(operation.targets);
  std::fill_n(operation.outcomes.get(), operation.targets, shm::hash64(std::string_view()));
  loop.gate.compared.reserve(operation.targets);
}

void note_outcome(EngineLoop::State& loop, StationLink& link, Operation& operation,
                  std::uint32_t place, const sched::AnswerRecord& answer) noexcept {
  if (operation.outcomes == nullptr || answer.body_bytes == 0) return;
  const auto copied =
      link.sent_bodies.copy(link.sent_bodies.widen(answer.body_offset), loop.scratch);
  const bool is_there =
      copied.status == queues::BodyStatus::kRead && copied.length == answer.body_bytes;
  // 0: no text that anybody will find has it.
  operation.outcomes[place] = is_there ? shm::hash64(loop.scratch.first(copied.length)) : 0;
}

void compare_outcomes(EngineLoop::State& loop, Operation& operation) noexcept {
  if ((operation.marks & kOperationComparable) == 0) return;
  if (operation.outcomes == nullptr) {
    ++loop.counters.operations_not_compared;
    return;
  }
  loop.gate.compared.clear();
  for (std::uint32_t place = 0; place < operation.targets; ++place)
    if (operation.gather->ready().test(place))
      loop.gate.compared.push_back({operation.outcomes[place], {.row = operation.row_of(place)}});
  const health::Judgement judged = health::compare(loop.gate.compared);
  operation.compared = {.verdict = verdict_of(judged.comparison),
                        .answers = static_cast<std::uint32_t>(loop.gate.compared.size()),
                        .majority = judged.majority,
                        .majority_count = judged.majority_count};
  if (judged.comparison == Comparison::contradiction) note_contradiction(loop, operation);
  if (judged.comparison != Comparison::outliers) return;
  for (const Comparable& answer : loop.gate.compared)
    if (answer.outcome != judged.majority) accuse(loop, operation, answer);
}

}  // namespace mesh::engine
