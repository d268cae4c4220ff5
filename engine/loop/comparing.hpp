// Comparing: operations that ask everybody the same (`comparable`): the outcomes of those that were
// READY are compared when the operation ends. Who differs from a majority of more than 2/3 of at
// least 7 is BYZANTINE_BEHAVIOR; no such majority is a DATA_CONTRADICTION and nobody's fault
// (mesh.md part 12, engine/health/failure_detector.hpp).
//
// An outcome is the XXH3-64 of the answer's body; an answer without one has that of no bytes.
//
// Callers     expect_outcomes: between ticks, right after the operation was opened. The rest: the
//             phases of the loop.
// Progress    note_outcome: a copy and a hash of the answer's body, no allocation.
//             compare_outcomes: O(targets).
// If the      engine dies: outcomes are its own memory. An operation that its successor ends is not
// other side  compared (`operations_not_compared`), and nobody is accused.
// dies,       station lies about where an answer's body is: its outcome is that of no text.
// or lies
#pragma once

#include <cstdint>

#include "engine/loop/engine_loop.hpp"

namespace mesh::engine {

struct Operation;
struct StationLink;

void expect_outcomes(EngineLoop::State& loop, Operation& operation);
// Of a READY answer that counts, from the target at `place`.
void note_outcome(EngineLoop::State& loop, StationLink& link, Operation& operation,
                  std::uint32_t place, const sched::AnswerRecord& answer) noexcept;
void compare_outcomes(EngineLoop::State& loop, Operation& operation) noexcept;

}  // namespace mesh::engine
