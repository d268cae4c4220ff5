#include "engine/loop/mesh_gate.hpp"

#include <algorithm>
#include <bit>

#include "engine/loop/escalations.hpp"
#include "engine/loop/probes.hpp"
#include "engine/loop/spikes.hpp"
#include "engine/loop/state.hpp"
#include "engine/loop/trials.hpp"

namespace mesh::engine {
namespace {

using health::Admission;
using health::OperatingMode;

constexpr std::int64_t kTurnNs = 100'000;               // of one turn, after a sleep
constexpr std::int64_t kQueuedLookNs = 100 * kNsPerMs;  // what is queued is looked at on this grid

Errc refusal_of(Admission admission) noexcept {
  switch (admission) {
    case Admission::admitted:
    case Admission::queued:
      return Errc::ok;
    case Admission::background_refused:
      return Errc::background_refused;
    case Admission::sector_degraded:
      return Errc::sector_degraded;
    case Admission::too_wide:
      return Errc::too_wide;
    case Admission::critical_only:
      return Errc::critical_only;
    case Admission::needs_confirmation:
      return Errc::needs_confirmation;
    case Admission::automatic_stopped:
      return Errc::automatic_stopped;
  }
  return Errc::not_routable;
}

Errc counted(EngineLoop::State& loop, Errc refused) noexcept {
  if (refused != Errc::ok) ++loop.counters.mode_refused;
  return refused;
}

// All that are queued are looked at in one tick, so that they leave in their order.
std::int64_t queued_until_ns(const EngineLoop::State& loop) noexcept {
  return (loop.now_ns / kQueuedLookNs + 1) * kQueuedLookNs;
}

}  // namespace

// Like upkeep of rows, it makes no bucket late unless it is far behind.
void watch_mesh(EngineLoop::State& loop, std::int64_t due_ns) noexcept {
  MeshGate& gate = loop.gate;
  if (!gate.watch->is_due(from_ns(loop.now_ns), loop.options.upkeep)) return;
  const bool may_wait = loop.now_ns - gate.watched_ns < loop.options.upkeep.count() / 8;
  if (may_wait && loop.clock() > due_ns - kTurnNs) return;
  gate.watched_ns = loop.now_ns;
  gate.watch->turn({.topology = *loop.topology,
                    .agents = loop.agents,
                    .owners = loop.owners,
                    .now = from_ns(loop.now_ns),
                    .mesh_start_ns = loop.mesh_epoch_ns,
                    .period = loop.options.upkeep});
  const health::FailureDetector& failures = gate.watch->failures();
  LoopCounters& counters = loop.counters;
  counters.agent_crashes = failures.count(health::FailureClass::agent_crash);
  counters.impedance_spikes = failures.count(health::FailureClass::impedance_spike);
  counters.cascade_failures = failures.count(health::FailureClass::cascade_failure);
  counters.judgements_withheld = failures.suppressed();
  const health::BreakerCounts& counts = gate.watch->breakers().counts();
  counters.breakers_opened = counts.opened;
  counters.breaker_failures = counts.failures;
  counters.crashes_taken_back = counts.taken_back;
  gate.refresh();
  follow_spikes(loop);
  follow_failures(loop);
  send_probes(loop);
}

void adopt_breakers(EngineLoop::State& loop) noexcept {
  loop.gate.watch->breakers().adopt(from_ns(loop.now_ns));
  loop.gate.refresh();
}

Errc admit_message(EngineLoop::State& loop, std::uint32_t row, sched::Priority priority,
                   AgentId source) noexcept {
  if (loop.gate.is_full()) return Errc::ok;
  const health::MeshWatch& watch = *loop.gate.watch;
  const std::uint32_t sector = own(loop.agents.sector, row);
  return counted(loop, refusal_of(health::admit(
                           watch.mode(), {.priority = priority,
                                          .by_operator = source == AgentId{0},
                                          .in_healthy_sector = watch.is_sector_healthy(sector)})));
}

// An operation has its moment: kept until the mesh is better it would be another one. So what would
// be queued is refused.
Errc admit_operation(EngineLoop::State& loop, const OperationRequest& request,
                     std::uint32_t eligible) noexcept {
  if (loop.gate.is_full()) return Errc::ok;
  if (eligible == 0 && loop.gate.was_open) return Errc::open;
  const bool by_operator = request.source == AgentId{0};
  const Admission admission =
      health::admit(loop.gate.watch->mode(),
                    {.priority = request.priority,
                     .by_operator = by_operator,
                     .is_operation = true,
                     .is_mesh_wide = sched::kind_of(request.targets) == sched::SelectorKind::all,
                     .is_confirmed = request.confirmed && by_operator,
                     .targets = eligible});
  if (admission == Admission::queued) return counted(loop, Errc::priority_too_low);
  return counted(loop, refusal_of(admission));
}

// From DEGRADED_MODERATE on operations go to healthy sectors only. What is behind a breaker gets
// nothing, or is tried.
std::uint32_t drop_unroutable(EngineLoop::State& loop, bool is_probe) noexcept {
  loop.gate.was_open = false;
  if (loop.gate.is_full()) return 0;
  const health::MeshWatch& watch = *loop.gate.watch;
  const bool is_moderate = !is_probe && watch.mode() >= OperatingMode::degraded_moderate;
  const TrialKind kind = is_probe ? TrialKind::probe : TrialKind::message;
  std::uint32_t dropped = 0;
  std::uint64_t* const words = loop.eligible.front().words;
  for (std::size_t word = loop.eligible_first; word < loop.eligible_end; ++word) {
    for (std::uint64_t bits = words[word]; bits != 0; bits &= bits - 1) {
      const auto bit = static_cast<std::uint32_t>(std::countr_zero(bits));
      const auto row = static_cast<std::uint32_t>(word * 64) + bit;
      const bool is_sick = is_moderate && !watch.is_sector_healthy(own(loop.agents.sector, row));
      if (!is_sick && try_target(loop, row, kind)) continue;
      loop.gate.was_open |= !is_sick;
      words[word] &= ~(std::uint64_t{1} << bit);
      ++dropped;
    }
  }
  return dropped;
}

// Below high priority messages wait out DEGRADED_MODERATE, and those after them behind them.
bool is_to_queue(const EngineLoop::State& loop, const Letter& letter) noexcept {
  const bool is_low =
      letter.kind == sched::RecordKind::message && letter.priority < sched::Priority::high;
  return is_low &&
         (loop.gate.queued != 0 || loop.gate.watch->mode() == OperatingMode::degraded_moderate);
}

Errc queue_for_mode(EngineLoop::State& loop, StationLink* link, const Letter& letter,
                    std::span<const std::span<const std::byte>> parts) noexcept {
  Letter queued = letter;
  queued.marks |= kEntryModeQueued;
  queued.due_ns = std::max(letter.due_ns, queued_until_ns(loop));
  const Errc kept = loop.keep_waiting(link, queued, parts);
  if (kept != Errc::ok) return kept;
  ++loop.gate.queued;
  ++loop.counters.mode_queued;
  return Errc::ok;
}

bool queue_again(EngineLoop::State& loop, std::uint32_t at) noexcept {
  const Entry entry = loop.entries.get(at);
  if ((entry.marks & kEntryModeQueued) == 0) return false;
  if (const std::int64_t expires = loop.expires_of(entry); expires != 0 && expires < loop.now_ns) {
    --loop.gate.queued;
    --loop.timed_count;
    loop.drop_entry(at, Errc::expired);
    return true;
  }
  if (loop.gate.watch->mode() < OperatingMode::degraded_moderate) {
    --loop.gate.queued;
    return false;
  }
  static_cast<void>(loop.wheel->schedule(
      {.operation = kMaxOperations + at, .bucket = kTimedEntry, .due_ns = queued_until_ns(loop)}));
  return true;
}

}  // namespace mesh::engine
