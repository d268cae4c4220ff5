#include "engine/loop/conflicts.hpp"

#include <cstring>

#include "engine/loop/state.hpp"

namespace mesh::engine {

// The body begins with the two values, if its station wrote one.
void note_conflict(EngineLoop::State& loop, StationLink& link,
                   const ConflictAnswer& conflict) noexcept {
  if (loop.outside.conflicts == nullptr) return;
  const sched::AnswerRecord& answer = conflict.answer;
  const auto row = static_cast<std::uint32_t>(index_of(answer.agent));
  ConflictNote note{.answer = loop.id_at(answer.finished_ns, link.number, conflict.position),
                    .message = conflict.message,
                    .agent = answer.agent,
                    .operation = answer.operation,
                    .type = answer.conflict_type,
                    .context_hash = own(loop.agents.context_hash, row),
                    .at = from_ns(loop.now_ns)};
  if (answer.body_bytes >= 2 * sizeof(std::uint64_t)) {
    const auto copied =
        link.sent_bodies.copy(link.sent_bodies.widen(answer.body_offset), loop.scratch);
    note.has_values =
        copied.status == queues::BodyStatus::kRead && copied.length == answer.body_bytes;
    if (note.has_values) {
      std::memcpy(&note.expected, loop.scratch.data(), sizeof note.expected);
      std::memcpy(&note.received, loop.scratch.data() + sizeof note.expected, sizeof note.received);
    }
  }
  ++(loop.outside.conflicts->take(note) ? loop.counters.conflicts_noted
                                        : loop.counters.conflicts_lost);
}

}  // namespace mesh::engine
