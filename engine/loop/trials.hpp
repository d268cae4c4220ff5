// Trials: messages that an open or half-open breaker let pass, until what comes of them is known;
// and what the breakers are told of all messages (mesh.md part 12).
//
// Callers     the phases of the loop.
// Progress    while all breakers are closed nothing here is called but judge_operation(), once an
//             operation, and what failed. A trial's end: one pass over at most kTrialsMax. No
//             allocation: their room is taken at start.
// If the      engine dies: its trials are forgotten; the breakers' new epoch voids their permits.
// other side  A station dies: its trials have failed. Nobody answers: a trial of an operation has
// dies        failed at its end; a direct message's place is taken back once its breakers are in
//             another state, and an open one sends another probe after probe_retry.
#pragma once

#include <cstdint>
#include <span>

#include "engine/coordination/circuit_breaker.hpp"
#include "engine/loop/engine_loop.hpp"
#include "engine/loop/mesh_gate.hpp"

namespace mesh::engine {

struct Letter;

// A letter that may be refused by mode or breaker, posted: it is where all new messages come in.
[[nodiscard]] Errc post_restricted(EngineLoop::State& loop, const Letter& letter,
                                   std::span<const std::span<const std::byte>> parts) noexcept;

// An answer to the direct message of entry `at` has come, or a refusal, or it expired there.
enum class LetterEnd : std::uint8_t { answered, refused, expired };
void note_letter_end(EngineLoop::State& loop, std::uint32_t at, std::uint32_t row,
                     LetterEnd end) noexcept;
// It was accepted, and will not be delivered.
void note_dropped(EngineLoop::State& loop, std::uint32_t at, std::uint32_t row, Errc why) noexcept;

// What an operation is to a breaker: of somebody, or the engine's own probe.
enum class TrialKind : std::uint8_t { message, probe };
// Whether the operation that is being opened may be sent to this row of a breaker that is not
// closed.
[[nodiscard]] bool try_target(EngineLoop::State& loop, std::uint32_t row, TrialKind kind) noexcept;
// It is open, in this slot, or was refused after all: its trials are its own, or given back.
void settle_targets(EngineLoop::State& loop, bool is_open, std::uint32_t slot) noexcept;
// It is over: who answered, who did not, and what came of its trials.
void judge_operation(EngineLoop::State& loop, std::uint32_t slot) noexcept;

// Those whose breakers have gone on without them end: nobody has answered them.
void end_stale_trials(EngineLoop::State& loop) noexcept;
// Agents went offline.
void end_trials_of_gone(EngineLoop::State& loop, Departure departure) noexcept;

}  // namespace mesh::engine
