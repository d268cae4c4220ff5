// Phase 1, intake: answers to operations, a burst at a time. Each is input: read once, checked,
// then used.
#include <algorithm>
#include <bit>

#include "engine/loop/bare.hpp"
#include "engine/loop/comparing.hpp"
#include "engine/loop/conflicts.hpp"
#include "engine/loop/own_operations.hpp"
#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

// Bytes 52-55 of an answer that is READY and nothing else.
constexpr std::uint32_t about(sched::TrinaryState state) noexcept {
  return static_cast<std::uint32_t>(static_cast<std::uint8_t>(state)) |
         static_cast<std::uint32_t>(sched::ConflictType::none) << 8 |
         static_cast<std::uint32_t>(sched::RecordKind::answer) << 16 |
         static_cast<std::uint32_t>(sched::RecordFlags::none) << 24;
}
constexpr std::uint32_t kPlainReady = about(sched::TrinaryState::ready);
static_assert(offsetof(sched::AnswerRecord, state) == 52);
static_assert(offsetof(sched::AnswerRecord, flags) == 55);
static_assert(offsetof(sched::AnswerRecord, body_bytes) == 44);
static_assert(offsetof(sched::AnswerRecord, kind) == 54);

// What validate() would say of it, in three compares: READY, no body, no time before the host's.
bool is_plain_ready(const Ring::Record& record) noexcept {
  return static_cast<std::uint32_t>(record.words[6] >> 32) == kPlainReady &&
         record.words[5] >> 32 == 0 && (record.words[3] | record.words[4]) >> 63 == 0;
}

// A conflict that nobody can record now: it stands in its outbox until there is room.
bool has_to_wait(EngineLoop::State& loop, StationLink& link, const Ring::Record& record) noexcept {
  constexpr auto kConflict = static_cast<std::uint8_t>(sched::TrinaryState::conflict);
  constexpr auto kAnswer = static_cast<std::uint8_t>(sched::RecordKind::answer);
  const std::uint64_t last = record.words[6];
  const bool waits = static_cast<std::uint8_t>(last >> 32) == kConflict &&
                     static_cast<std::uint8_t>(last >> 48) == kAnswer && !has_conflict_room(loop);
  if (waits && !link.waits_for_record) ++loop.counters.conflicts_waited;
  if (waits) link.waited_until = link.outbox.cursor() + link.outbox.capacity();
  link.waits_for_record = waits;
  return waits;
}

// A conflict that waited in its outbox for so long that its operation's place has gone to a later
// one. Whether the agent had answered before nobody knows any more; it is recorded all the same.
bool has_waited(const EngineLoop::State& loop, const StationLink& link,
                const sched::AnswerRecord& answer, std::uint64_t position) noexcept {
  const std::uint32_t slot = slot_of(answer.operation);
  return before(position, link.waited_until) && answer.kind == sched::RecordKind::answer &&
         answer.state == sched::TrinaryState::conflict && slot < loop.operations.size() &&
         serial_of(answer.operation) < loop.operations[slot].serial;
}

}  // namespace

// Up to `limit` records of one station. The usual ones, READY to the same operation as the one
// before, are collected and applied together, in order; any other is taken alone.
std::size_t EngineLoop::State::take_burst(StationLink& link, std::size_t limit) noexcept {
  // Locals: after each atomic access the compiler would load members again.
  const std::span<const AgentId> handles = registry->handles();
  const std::span<const std::uint16_t> station_of = agents.station.values();
  const auto number = static_cast<std::uint16_t>(link.number);
  AnswerBurst& collected = *burst;
  AnsweredOperation to;
  std::size_t count = 0;
  std::uint64_t collected_count = 0;
  const std::size_t taken = link.outbox.take(limit, [&](auto view) {
    const Ring::Record record = view.read();
    const std::uint64_t agent = record.words[1];
    const auto row = static_cast<std::uint32_t>(index_of(AgentId{agent}));
    if (is_plain_ready(record) && row < handles.size() && handles[row] == AgentId{agent} &&
        agent != 0 && station_of[row] == number && record.words[2] != 0) {
      if (OperationId{record.words[2]} != to.id) {
        apply_answers(to.slot, count);
        count = 0;
        to = answered_operation(OperationId{record.words[2]});
      }
      const std::uint32_t place = to.is_wide || to.targets == 0 ? row : to.operation->place_of(row);
      const std::int32_t units =
          place < to.targets ? to.sent[place].load_relaxed() : kNotSent;  // relaxed: our own store
      if (units > kSentBefore) {
        collected.answers[count] = {
            .row = place,
            .state = sched::TrinaryState::ready,
            .finished_ns = static_cast<std::int64_t>(record.words[4]),
            .sent_ns = to.target_ns - std::int64_t{units} * sched::kLeadUnitNs,
            .predicted_ns = std::int64_t{to.predicted[place]} * sched::kLeadUnitNs};
        collected.rows[count] = row;
        collected.processing_us[count] = static_cast<std::uint32_t>(record.words[6]);
        ++count;
        ++collected_count;
        return true;
      }
    }
    if (take_bare(*this, link, record, view.position())) return true;  // changes no operation
    if (has_to_wait(*this, link, record)) return false;
    apply_answers(to.slot, count);
    count = 0;
    to = {};  // what is taken may change any operation
    const Ring::Record copy = record;
    take_record(link, copy, view.position());
    return true;
  });
  apply_answers(to.slot, count);
  counters.answers += collected_count;
  return taken;
}

AnsweredOperation EngineLoop::State::answered_operation(OperationId id) const noexcept {
  const std::uint32_t slot = slot_of(id);
  if (slot >= operations.size() || operations[slot].serial != serial_of(id) ||
      operations[slot].state == OperationState::free)
    return {.id = id};
  const Operation& operation = operations[slot];
  return {.id = id,
          .slot = slot,
          .targets = operation.targets,
          .operation = &operation,
          .sent = operation.sent.data(),
          .predicted = operation.predicted.data(),
          .target_ns = operation.target_ns,
          .is_wide = operation.is_wide()};
}

// One that is not among the usual, validated.
void EngineLoop::State::take_operation_answer(StationLink& link, const sched::AnswerRecord& answer,
                                              std::uint64_t position) noexcept {
  const auto row = static_cast<std::uint32_t>(index_of(answer.agent));
  const AnsweredOperation to = answered_operation(answer.operation);
  if (to.operation == nullptr) {
    ++counters.duplicates;  // its operation's place has gone to another one
    if (has_waited(*this, link, answer, position))
      note_conflict(*this, link, {.answer = answer, .position = position});
    return;
  }
  const std::uint32_t place = to.operation->place_of(row);
  if (place >= to.targets || !to.operation->is_sent(place)) {
    ++counters.refused_records;
    return;
  }
  if (to.operation->part_of != 0) keep_step_answer(*this, link, *to.operation, answer);
  const bool declines = answer.kind == sched::RecordKind::refusal;
  burst->answers[0] = {.row = place,
                       .state = declines ? sched::TrinaryState::transit : answer.state,
                       .finished_ns = answer.finished_ns,
                       .sent_ns = to.operation->sent_ns(place),
                       .predicted_ns = std::int64_t{to.predicted[place]} * sched::kLeadUnitNs};
  burst->rows[0] = row;
  burst->processing_us[0] = answer.processing_us;
  const std::int64_t expires = to.operation->expires_ns;
  const bool is_declined = declines && to.operation->is_outstanding(place);
  const bool is_expired = is_declined && expires != 0 && expires < now_ns;  // when it was polled
  counters.expired += is_expired ? 1 : 0;
  if (is_declined && !is_expired && to.operation->part_of != kWarmUpPart)
    gate.watch->refused(row, agents, from_ns(now_ns));
  apply_answers(to.slot, 1);
  if (declines) return;
  if (answer.state == sched::TrinaryState::ready &&
      burst->effects[0].outcome < sched::AnswerOutcome::kLate)
    note_outcome(*this, link, operations[to.slot], place, answer);
  if (answer.state != sched::TrinaryState::conflict) return;
  // The first answer of an agent stands; of a burst that is read again nobody knows whether it was
  // noted before.
  const bool again = before(position, link.read_again_until);
  if (again || burst->effects[0].outcome <= sched::AnswerOutcome::kLate)
    note_conflict(*this, link,
                  {.answer = answer,
                   .position = position,
                   .message = to.operation->id,
                   .source = to.operation->source});
}

void EngineLoop::State::apply_answers(std::uint32_t slot, std::size_t count) noexcept {
  if (count == 0) return;
  Operation& operation = operations[slot];
  if (answered_of[slot] == 0) answered_slots.push_back(slot);
  answered_of[slot] += static_cast<std::uint32_t>(count);
  const bool was_complete = operation.is_settled();
  operation.gather->on_answers({burst->answers.data(), count}, from_ns(now_ns), burst->effects);
  learn_answers(operation, count);
  if (!was_complete && operation.is_settled()) ending.push_back(slot);
  if (operation.part_of != 0) note_part(*this, slot, operation);
  // Late, but it does answer. In time: judge_operation().
  if (operation.state != OperationState::ended || gate.watch->suspects() == 0) return;
  for (std::size_t i = 0; i < count; ++i) gate.watch->answered(burst->rows[i]);
}

// What the answers say of their agents: they have one thing less to do, and took so long.
void EngineLoop::State::learn_answers(const Operation& operation, std::size_t count) noexcept {
  AnswerBurst& of = *burst;
  const sched::ArrivalPacker packer(operation.weight);
  const std::uint8_t* const queue = operation.queue.data();
  const auto queue_depth = agents.queue_depth;
  health::ReliabilityBook& reliability = gate.watch->reliability();
  std::size_t learned = 0;
  std::uint32_t repeated = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const sched::AnswerEffect effect = of.effects[i];
    if (effect.outcome > sched::AnswerOutcome::kLate) {
      ++repeated;
      continue;
    }
    const std::uint32_t row = of.rows[i];
    if (const std::uint32_t depth = own(queue_depth, row); depth != 0)
      put(queue_depth, row, depth - 1);
    if (of.answers[i].state != sched::TrinaryState::transit) reliability.answered(row);
    if (!effect.has_residual) continue;
    of.learned_rows[learned] = row;
    of.samples[learned++] =
        packer.pack({.observed_ns = effect.residual_ns + of.answers[i].predicted_ns,
                     .processing_ns = std::int64_t{of.processing_us[i]} * kNsPerUs,
                     .queue_depth = queue[of.answers[i].row],
                     .late = effect.outcome == sched::AnswerOutcome::kLate});
  }
  counters.duplicates += repeated;
  predictor->on_packed({of.learned_rows.data(), learned}, {of.samples.data(), learned});
  if (operation.notes != nullptr) note_finished(operation, count);
}

void EngineLoop::State::note_finished(const Operation& operation, std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    const sched::GatherAnswer& answer = burst->answers[i];
    if (!burst->effects[i].has_residual) continue;
    operation.notes[answer.row].finished_ns =
        std::clamp(answer.finished_ns, answer.sent_ns, std::max(answer.sent_ns, now_ns));
  }
}

}  // namespace mesh::engine
