// Conflicts of answers, for whoever records them (ConflictSink).
//
// Callers     the phases of the loop.
// Progress    no allocation; the body is copied to the scratch.
#pragma once

#include <cstdint>

#include "engine/capabilities.hpp"
#include "engine/loop/engine_loop.hpp"
#include "sched/records.hpp"

namespace mesh::engine {

struct Entry;
struct StationLink;

struct ConflictAnswer {
  const sched::AnswerRecord& answer;
  std::uint64_t position = 0;  // in its station's outbox
  sched::MessageId message{};  // that it answers
  AgentId source{};            // whose that is
  CapabilitySet asked{};
  const Entry* question = nullptr;  // of a direct message
};
void note_conflict(EngineLoop::State& loop, StationLink& link,
                   const ConflictAnswer& conflict) noexcept;
// One that the loop found itself. Nobody records them: nothing.
void note_conflict(EngineLoop::State& loop, const ConflictNote& note) noexcept;
// Whether an answer in CONFLICT may be taken out of its outbox now: until the last ones are
// recorded it stays there, and so do those behind it.
[[nodiscard]] bool has_conflict_room(EngineLoop::State& loop) noexcept;

// Under which context of its agent it was made. Of a known agent of that station.
[[nodiscard]] sched::AnswerContext context_of(const EngineLoop::State& loop,
                                              const StationLink& link,
                                              const sched::AnswerRecord& answer) noexcept;

// What a station says its agent's context is, once a second and whenever that changes, against what
// it is to be. A wrong one is a failure of the agent, and a conflict of its own.
void judge_context(EngineLoop::State& loop, std::uint32_t row, std::uint64_t said) noexcept;

}  // namespace mesh::engine
