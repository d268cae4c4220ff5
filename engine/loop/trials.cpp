#include "engine/loop/trials.hpp"

#include <algorithm>

#include "engine/loop/own_operations.hpp"
#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

using coordination::CallOutcome;
using coordination::Refusal;

constexpr std::uint32_t kOfLetter = ~std::uint32_t{0};
constexpr std::uint32_t kOfOpening = kOfLetter - 1;  // an operation that has no slot yet

health::MeshBreakers& breakers_of(EngineLoop::State& loop) noexcept {
  return loop.gate.watch->breakers();
}

void end_trial(EngineLoop::State& loop, const Trial& trial, CallOutcome outcome) noexcept {
  breakers_of(loop).record(trial.permit, outcome, from_ns(loop.now_ns));
}

// Ends those for which outcome_of(trial) says how.
template <class OutcomeOf>
void end_where(EngineLoop::State& loop, OutcomeOf&& outcome_of) noexcept {
  std::vector<Trial>& trials = loop.gate.trials;
  if (trials.empty()) return;
  for (std::size_t at = trials.size(); at-- != 0;) {
    const std::optional<CallOutcome> outcome = outcome_of(trials[at]);
    if (!outcome) continue;
    end_trial(loop, trials[at], *outcome);
    trials[at] = trials.back();
    trials.pop_back();
  }
  loop.gate.refresh();
}

void end_letter(EngineLoop::State& loop, std::uint32_t at, CallOutcome outcome) noexcept {
  end_where(loop, [&](const Trial& trial) {
    const bool is_its = trial.of == kOfLetter && trial.at == at;
    return is_its ? std::optional(outcome) : std::nullopt;
  });
}

// Room for one more; those whose breakers have gone on without them give way.
bool has_room(EngineLoop::State& loop) noexcept {
  std::vector<Trial>& trials = loop.gate.trials;
  if (trials.size() < kTrialsMax) return true;
  end_stale_trials(loop);
  return trials.size() < kTrialsMax;
}

// A permit of the row's cluster. Who is away is not asked: that would say nothing for long.
std::optional<health::TreePermit> try_row(EngineLoop::State& loop, std::uint32_t row,
                                          TrialKind kind) noexcept {
  const std::uint32_t cluster = own(loop.agents.cluster, row);
  const HostTime now = from_ns(loop.now_ns);
  if (loop.is_active(row) && has_room(loop)) {
    const health::TreeReply reply = kind == TrialKind::probe
                                        ? breakers_of(loop).probe(cluster, now)
                                        : breakers_of(loop).admit(cluster, now);
    loop.gate.refresh();
    if (reply.refusal == Refusal::none) return reply.permit;
  }
  ++loop.counters.breaker_refused;
  return std::nullopt;
}

bool is_open_to(const EngineLoop::State& loop, std::uint32_t row) noexcept {
  const health::MeshBreakers& breakers = loop.gate.watch->breakers();
  const std::uint32_t cluster = own(loop.agents.cluster, row);
  return !breakers.is_known(cluster) || breakers.is_closed(cluster);
}

// What of its target came of an operation that is over.
CallOutcome outcome_of(const Operation& operation, std::uint32_t place) noexcept {
  if (place >= operation.targets || !operation.is_sent(place)) return CallOutcome::ignored;
  if (operation.gather->ready().test(place) || operation.gather->conflict().test(place))
    return CallOutcome::ok;
  return operation.gather->spent().test(place) ? CallOutcome::fail : CallOutcome::timeout;
}

}  // namespace

Errc post_restricted(EngineLoop::State& loop, const Letter& letter,
                     std::span<const std::span<const std::byte>> parts) noexcept {
  const auto row = static_cast<std::uint32_t>(index_of(letter.target));
  const Errc refused = admit_message(loop, row, letter.priority, letter.source);
  if (refused != Errc::ok) return refused;
  if (is_open_to(loop, row)) return loop.post(letter, parts);
  const std::optional<health::TreePermit> permit = try_row(loop, row, TrialKind::message);
  if (!permit) return Errc::open;
  const std::uint32_t at = loop.entries.next_free();
  const Trial trial{.permit = *permit, .of = kOfLetter, .at = at, .row = row};
  const Errc posted = loop.post(letter, parts);
  if (posted != Errc::ok || loop.is_over[at]) {  // refused, or dropped at once
    end_trial(loop, trial, posted != Errc::ok ? CallOutcome::ignored : CallOutcome::fail);
    loop.gate.refresh();
    return posted;
  }
  MESH_ASSERT(loop.entries.get(at).id == letter.id);
  loop.gate.trials.push_back(trial);
  ++loop.counters.breaker_trials;
  return Errc::ok;
}

void note_letter_end(EngineLoop::State& loop, std::uint32_t at, std::uint32_t row,
                     LetterEnd end) noexcept {
  health::MeshWatch& watch = *loop.gate.watch;
  const HostTime now = from_ns(loop.now_ns);
  switch (end) {
    case LetterEnd::answered:
      watch.answered(row);
      return end_letter(loop, at, CallOutcome::ok);
    case LetterEnd::refused:
      watch.answered(row);
      watch.refused(row, loop.agents, now);
      return end_letter(loop, at, CallOutcome::fail);
    case LetterEnd::expired:
      watch.unanswered(row, loop.agents, now);
      return end_letter(loop, at, CallOutcome::timeout);
  }
}

// That the engine has no room of its own, or that its time passed while it waited, says nothing of
// its target.
void note_dropped(EngineLoop::State& loop, std::uint32_t at, std::uint32_t row, Errc why) noexcept {
  const bool has_failed = why == Errc::target_full || why == Errc::truncated;
  if (has_failed) loop.gate.watch->refused(row, loop.agents, from_ns(loop.now_ns));
  end_letter(loop, at, has_failed ? CallOutcome::fail : CallOutcome::ignored);
}

bool try_target(EngineLoop::State& loop, std::uint32_t row, TrialKind kind) noexcept {
  if (is_open_to(loop, row)) return true;
  const std::optional<health::TreePermit> permit = try_row(loop, row, kind);
  if (!permit) return false;
  loop.gate.trials.push_back({.permit = *permit, .of = kOfOpening, .at = 0, .row = row});
  return true;
}

void settle_targets(EngineLoop::State& loop, bool is_open, std::uint32_t slot) noexcept {
  for (Trial& trial : loop.gate.trials) {
    if (trial.of != kOfOpening || !is_open) continue;
    trial.of = slot;
    trial.at = loop.operations[slot].serial;
    ++loop.counters.breaker_trials;
    loop.counters.breaker_probes += loop.operations[slot].part_of == kProbePart ? 1U : 0U;
  }
  if (is_open) return;
  end_where(loop, [](const Trial& trial) {
    return trial.of == kOfOpening ? std::optional(CallOutcome::ignored) : std::nullopt;
  });
}

void judge_operation(EngineLoop::State& loop, std::uint32_t slot) noexcept {
  const Operation& operation = loop.operations[slot];
  health::MeshWatch& watch = *loop.gate.watch;
  watch.for_each_suspect([&](std::uint32_t row) {
    const std::uint32_t place = operation.place_of(row);
    if (place < operation.targets && operation.has_answered(place)) watch.answered(row);
  });
  operation.gather->for_each_straggler([&](std::uint32_t place) {
    if (!operation.is_sent(place)) return;
    const std::uint32_t row = operation.row_of(place);
    loop.predictor->on_unanswered(row);
    // Who refused it has been counted when he did; a warm-up is no newcomer's failure.
    if (!operation.gather->spent().test(place) && operation.part_of != kWarmUpPart)
      watch.unanswered(row, loop.agents, from_ns(loop.now_ns));
  });
  end_where(loop, [&](const Trial& trial) {
    const bool is_its = trial.of == slot && trial.at == operation.serial;
    return is_its ? std::optional(outcome_of(operation, operation.place_of(trial.row)))
                  : std::nullopt;
  });
}

void end_stale_trials(EngineLoop::State& loop) noexcept {
  end_where(loop, [&](const Trial& trial) {
    return breakers_of(loop).is_current(trial.permit) ? std::nullopt
                                                      : std::optional(CallOutcome::ignored);
  });
}

void end_trials_of_gone(EngineLoop::State& loop, Departure departure) noexcept {
  const CallOutcome outcome =
      departure == Departure::lost ? CallOutcome::fail : CallOutcome::ignored;
  end_where(loop, [&](const Trial& trial) {
    return loop.is_active(trial.row) ? std::nullopt : std::optional(outcome);
  });
}

}  // namespace mesh::engine
