// Conflicts of answers, for whoever records them (ConflictSink).
//
// Callers     the phases of the loop.
// Progress    no allocation; the body is copied to the scratch.
#pragma once

#include <cstdint>

#include "engine/loop/engine_loop.hpp"
#include "sched/records.hpp"

namespace mesh::engine {

struct StationLink;

struct ConflictAnswer {
  const sched::AnswerRecord& answer;
  std::uint64_t position = 0;  // in its station's outbox
  sched::MessageId message{};  // that it answers
};
void note_conflict(EngineLoop::State& loop, StationLink& link,
                   const ConflictAnswer& conflict) noexcept;

}  // namespace mesh::engine
