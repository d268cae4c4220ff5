#include "engine/loop/conflicts.hpp"

#include <cstring>

#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

constexpr std::size_t kValuesBytes = 2 * sizeof(std::uint64_t);

// Its body alone, if it fits: how long it is.
std::uint32_t copy_message(const EngineLoop::State& loop, const Entry& question,
                           std::span<std::byte> room) noexcept {
  if (question.is_bare() || question.body_bytes > room.size()) return 0;
  const std::span<std::byte> body = room.first(question.body_bytes);
  if (question.parked != loop.parked.kNone) {
    loop.parked.copy(question.parked, sched::kMessageHeaderBytes, body);
    return question.body_bytes;
  }
  const StationLink* const link = loop.link_of(question.station);
  if (link == nullptr) return 0;
  const auto found = link->own_bodies_again.view(sched::position_of(question.message));
  if (found.status != queues::BodyStatus::kRead || found.body.length != question.size_bytes())
    return 0;
  std::memcpy(body.data(), found.body.bytes().data() + sched::kMessageHeaderBytes, body.size());
  return question.body_bytes;
}

// The answer's body, in the scratch: nothing where it is not where it was said to be.
std::span<const std::byte> body_of(EngineLoop::State& loop, StationLink& link,
                                   const sched::AnswerRecord& answer) noexcept {
  if (answer.body_bytes < kValuesBytes) return {};
  const auto copied =
      link.sent_bodies.copy(link.sent_bodies.widen(answer.body_offset), loop.scratch);
  if (copied.status != queues::BodyStatus::kRead || copied.length != answer.body_bytes) return {};
  return loop.scratch.first(copied.length);
}

// The work that is to go elsewhere, in the scratch behind what the answer carries.
std::span<const std::byte> work_of(EngineLoop::State& loop, const ConflictAnswer& conflict,
                                   std::size_t used_bytes) noexcept {
  const bool is_work = conflict.answer.conflict_type == sched::ConflictType::capability_mismatch &&
                       conflict.question != nullptr && conflict.question->body_bytes != 0;
  if (!is_work) return {};
  const std::span<std::byte> rest = loop.scratch.subspan(std::min(used_bytes, loop.scratch.size()));
  const auto room = rest.first(std::min(rest.size(), kCarriedBytesMax));
  return room.first(copy_message(loop, *conflict.question, room));
}

void hand_over(EngineLoop::State& loop, const ConflictNote& note, const Carried& carried) noexcept {
  ++(loop.outside.conflicts->take(note, carried) ? loop.counters.conflicts_noted
                                                 : loop.counters.conflicts_lost);
}

void tally(EngineLoop::State& loop, std::uint32_t row, AgentId agent) noexcept {
  ConflictTally& of = loop.accounts.conflicts[row];
  if (of.agent != agent) of = {.agent = agent};
  ++of.count;
  of.last_mesh_ms = loop.mesh_ms();
}

void count_wrong_context(EngineLoop::State& loop, std::uint32_t row) noexcept {
  ++loop.counters.context_corruptions;
  // Counts as a refused message does (mesh.md part 12: a wrong hash is a failure).
  loop.gate.watch->refused(row, loop.agents, from_ns(loop.now_ns));
}

}  // namespace

// The body begins with the two values, if its station wrote one.
void note_conflict(EngineLoop::State& loop, StationLink& link,
                   const ConflictAnswer& conflict) noexcept {
  const sched::AnswerRecord& answer = conflict.answer;
  const auto row = static_cast<std::uint32_t>(index_of(answer.agent));
  tally(loop, row, answer.agent);
  // Of an agent that has handed over none the mesh expects nothing.
  if (answer.conflict_type == sched::ConflictType::hash_mismatch &&
      own(loop.agents.context_hash, row) != 0)
    count_wrong_context(loop, row);
  if (loop.outside.conflicts == nullptr) return;
  ConflictNote note{.answer = loop.id_at(answer.finished_ns, link.number, conflict.position),
                    .message = conflict.message,
                    .agent = answer.agent,
                    .operation = answer.operation,
                    .type = answer.conflict_type,
                    .context_hash = own(loop.agents.context_hash, row),
                    .at = from_ns(loop.now_ns),
                    .source = conflict.source,
                    .asked = conflict.asked.words()};
  std::span<const std::byte> body = body_of(loop, link, answer);
  note.has_values = !body.empty();
  if (note.has_values) {
    std::memcpy(&note.expected, body.data(), sizeof note.expected);
    std::memcpy(&note.received, body.data() + sizeof note.expected, sizeof note.received);
    body = body.subspan(kValuesBytes);
  }
  const std::size_t used = body.empty() ? 0 : answer.body_bytes;
  hand_over(loop, note, {.answer = body, .message = work_of(loop, conflict, used)});
}

void note_conflict(EngineLoop::State& loop, const ConflictNote& note) noexcept {
  if (loop.outside.conflicts != nullptr) hand_over(loop, note, {});
}

bool has_conflict_room(EngineLoop::State& loop) noexcept {
  return loop.outside.conflicts == nullptr || loop.outside.conflicts->has_room();
}

// What its station said before it answered is seen: the answer's stamp was acquired.
sched::AnswerContext context_of(const EngineLoop::State& loop, const StationLink& link,
                                const sched::AnswerRecord& answer) noexcept {
  using sched::AnswerContext;
  const auto row = static_cast<std::uint32_t>(index_of(answer.agent));
  const std::uint64_t expected = own(loop.agents.context_hash, row);
  if (expected == 0) return AnswerContext::unknown;
  if (answer.received_ns < loop.gate.holds.context_since_ns[row]) return AnswerContext::changed;
  const std::size_t place = loop.self_place[row];
  if (place >= link.self.context_hash.rows()) return AnswerContext::unknown;
  const std::uint64_t said = peer(link.self.context_hash, place);
  if (said == 0) return AnswerContext::unknown;
  return said == expected ? AnswerContext::current : AnswerContext::other;
}

// One that is in quarantine is known to be wrong.
void judge_context(EngineLoop::State& loop, std::uint32_t row, std::uint64_t said) noexcept {
  const std::uint64_t expected = own(loop.agents.context_hash, row);
  if (said == 0 || expected == 0 || said == expected || loop.gate.holds.is_quarantined(row)) return;
  if (loop.gate.holds.wrong_hash[row] == said) return;
  if (!has_conflict_room(loop)) return;  // the station says it again, a second later
  loop.gate.holds.wrong_hash[row] = said;
  count_wrong_context(loop, row);
  note_conflict(loop, {.answer = loop.own_id(),
                       .agent = loop.registry->id_of(agent_index(row)),
                       .type = sched::ConflictType::hash_mismatch,
                       .has_values = true,
                       .expected = expected,
                       .received = said,
                       .context_hash = expected,
                       .at = from_ns(loop.now_ns)});
}

}  // namespace mesh::engine
