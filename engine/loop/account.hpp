// Account: once a second the loop adds up what it does not count as it goes: time by mode, outages,
// and the distinct errors of the table (engine/error_log.hpp).
//
// Callers     the phases of the loop.
// Progress    a look at each station; no allocation.
#pragma once

#include <cstdint>

#include "engine/loop/state.hpp"

namespace mesh::engine {

// `due_ns`: when the wheel has something next.
void account(EngineLoop::State& loop, std::int64_t due_ns) noexcept;
// Of a station that is going: what was refused to it is noted before it is forgotten.
void note_departure(EngineLoop::State& loop, StationLink& link, Departure departure) noexcept;
// An operation has ended; one of a cascade's; a cascade, of which `about` says what its result does
// not.
void count_operation(EngineLoop::State& loop, const Operation& operation) noexcept;
void count_part(EngineLoop::State& loop, const Operation& operation) noexcept;
void count_cascade(EngineLoop::State& loop, const FinishedCascade& finished,
                   const ResultNote& about) noexcept;
// A quorum is no cascade to who measures those: it is an operation, whose answers were counted with
// its parts.
void count_quorum(EngineLoop::State& loop, const FinishedCascade& finished,
                  const ResultNote& about) noexcept;

// A record that cannot be is dropped.
inline void refuse_record(EngineLoop::State& loop, StationLink& link) noexcept {
  ++loop.counters.refused_records;
  link.note_refusal(Errc::corrupt);
}
// Of one more that is sent: whether its sector may send it now.
[[nodiscard]] inline bool is_within_share(EngineLoop::State& loop, const sched::SendRecord& send,
                                          AgentIndex source) noexcept {
  loop.throttle->note_wait(loop.now_ns - send.created_ns);
  const std::uint32_t sector = own(loop.agents.sector, static_cast<std::uint32_t>(source));
  if (loop.throttle->admits(sector, send.priority(), Nanos{loop.now_ns})) return true;
  ++loop.counters.throttled;
  return false;
}
inline void count_state(EngineLoop::State& loop, sched::TrinaryState of_answer) noexcept {
  loop.counters.conflicts += of_answer == sched::TrinaryState::conflict ? 1U : 0U;
  loop.counters.ready += of_answer == sched::TrinaryState::ready ? 1U : 0U;
}

}  // namespace mesh::engine
