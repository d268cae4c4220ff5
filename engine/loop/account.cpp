#include "engine/loop/account.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "engine/loop/own_operations.hpp"
#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

using health::OperatingMode;
using Text = std::array<char, kErrorTextBytes>;

constexpr std::int64_t kEveryNs = kNsPerSecond;
constexpr std::int64_t kTurnNs = 50'000;  // of one account, after a sleep
// An engine that was stopped itself knows nothing of the time meanwhile.
constexpr std::int64_t kWatchedNsMax = 2 * kNsPerSecond;

// Errors of nobody in particular: what they are told by is a counter.
struct CountedError {
  std::uint64_t LoopCounters::*counter;
  Errc code;
  std::string_view text;
};
constexpr CountedError kCounted[] = {
    {&LoopCounters::lost_replies, Errc::target_full,
     "a reply or a report was lost: its station's inbox and what may wait for it were full"},
    {&LoopCounters::operations_full, Errc::capacity,
     "an operation was refused: as many as there may be are in flight"},
    {&LoopCounters::unanswered_full, Errc::capacity,
     "a message was refused: as many as there may be are not answered"},
    {&LoopCounters::breakers_opened, Errc::open, "a breaker opened"},
    {&LoopCounters::cascade_failures, Errc::open,
     "failures of a sector doubled over three windows running"},
    {&LoopCounters::judgements_withheld, Errc::timed_out,
     "the engine itself was late, and judged nobody meanwhile"},
};
constexpr std::uint64_t kCountedAbout = std::uint64_t{1} << 32;  // above every station's number

std::string_view station_text(Text& text, const StationLink& link, const char* what,
                              std::string_view more) noexcept {
  const int size = std::snprintf(text.data(), text.size(), "station %u: %s%.*s",
                                 static_cast<unsigned>(link.number), what,
                                 static_cast<int>(more.size()), more.data());
  return {text.data(), std::min(static_cast<std::size_t>(std::max(size, 0)), text.size() - 1)};
}

void note_refusals(EngineLoop::State& loop, StationLink& link) noexcept {
  if (link.refused == 0) return;
  for (std::size_t code = 0; code < link.refusals.size(); ++code) {
    const std::uint32_t count = std::exchange(link.refusals[code], 0);
    if (count == 0) continue;
    const auto why = static_cast<Errc>(code);
    const bool is_record = why == Errc::corrupt;
    Text text;
    loop.accounts.errors->note(
        {.code = why,
         .about = static_cast<std::uint64_t>(link.number),
         .count = count,
         .text = station_text(text, link,
                              is_record ? "a record of it cannot be, and was dropped"
                                        : "a message of it was refused: ",
                              is_record ? std::string_view() : to_string(why))},
        from_ns(loop.now_ns));
  }
  link.refused = 0;
}

void count_time(EngineLoop::State& loop) noexcept {
  const std::int64_t passed_ns = std::min(loop.now_ns - loop.accounts.at_ns, kWatchedNsMax);
  loop.accounts.at_ns = loop.now_ns;
  const health::MeshWatch& watch = *loop.gate.watch;
  if (!watch.is_whole()) return;
  LoopCounters& counters = loop.counters;
  const auto ms = static_cast<std::uint64_t>(passed_ns / kNsPerMs);
  const health::MeshSummary mesh = watch.summaries().mesh();
  counters.time_watched_ms += ms;
  if (std::uint64_t{mesh.active} * 100 >= std::uint64_t{mesh.agents} * 95)
    counters.time_active_ms += ms;
  constexpr std::uint64_t LoopCounters::*kByMode[health::kOperatingModes] = {
      &LoopCounters::time_full_ms, &LoopCounters::time_light_ms, &LoopCounters::time_moderate_ms,
      &LoopCounters::time_severe_ms, &LoopCounters::time_emergency_ms};
  counters.*kByMode[static_cast<std::size_t>(watch.mode())] += ms;
}

void count_recoveries(EngineLoop::State& loop) noexcept {
  LoopCounters& counters = loop.counters;
  const health::RecoveryCounts& clusters = loop.gate.watch->recovery().clusters();
  counters.cluster_outages = clusters.outages;
  counters.cluster_recoveries = clusters.recoveries;
  counters.cluster_recovery_ms = clusters.recovery_ms;
  counters.cluster_recoveries_over_1s = clusters.over_ours;
  counters.cluster_recoveries_over_5min = clusters.over_target;
  const health::RecoveryCounts& sectors = loop.gate.watch->recovery().sectors();
  counters.sector_outages = sectors.outages;
  counters.sector_recoveries = sectors.recoveries;
  counters.sector_recovery_ms = sectors.recovery_ms;
  counters.sector_recoveries_over_10s = sectors.over_ours;
  counters.sector_recoveries_over_15min = sectors.over_target;
}

void note_counted(EngineLoop::State& loop) noexcept {
  std::uint64_t about = kCountedAbout;
  for (const CountedError& one : kCounted) {
    ++about;
    const std::uint64_t more = loop.counters.*one.counter - loop.accounts.counters.*one.counter;
    if (more == 0) continue;
    loop.accounts.errors->note({.code = one.code, .about = about, .count = more, .text = one.text},
                               from_ns(loop.now_ns));
  }
  loop.accounts.counters = loop.counters;
}

}  // namespace

void account(EngineLoop::State& loop, std::int64_t due_ns) noexcept {
  const std::int64_t behind_ns = loop.now_ns - loop.accounts.at_ns - kEveryNs;
  if (behind_ns < 0) return;
  if (behind_ns < kEveryNs / 8 && loop.clock() > due_ns - kTurnNs) return;
  count_time(loop);
  count_recoveries(loop);
  for (StationLink* const link : loop.live) note_refusals(loop, *link);
  note_counted(loop);
  loop.accounts.events->look(loop);
}

void note_departure(EngineLoop::State& loop, StationLink& link, Departure departure) noexcept {
  note_refusals(loop, link);
  if (departure == Departure::left) return;
  ++loop.counters.stations_lost;
  Text text;
  loop.accounts.errors->note(
      {.code = Errc::closed,
       .about = static_cast<std::uint64_t>(link.number),
       .text = station_text(text, link, "it went without a word, and its agents", "")},
      from_ns(loop.now_ns));
}

namespace {

void note_result(EngineLoop::State& loop, const ResultNote& note) noexcept {
  if (loop.outside.results == nullptr) return;
  if (loop.outside.results->take(note)) {
    ++loop.counters.results_noted;
  } else {
    ++loop.counters.results_lost;
  }
}

ResultVerdict verdict_of(sched::GatherVerdict verdict) noexcept {
  switch (verdict) {
    case sched::GatherVerdict::kSuccess:
      return ResultVerdict::success;
    case sched::GatherVerdict::kPartial:
      return ResultVerdict::partial;
    case sched::GatherVerdict::kNoSchedulableAgents:
      break;
  }
  return ResultVerdict::nobody;
}

ResultNote note_of(const EngineLoop::State& loop, const Operation& operation,
                   const sched::GatherResult& result) noexcept {
  const bool is_timed = (operation.marks & kOperationNow) == 0;
  return {.message = operation.id,
          .source = operation.source,
          .kind = is_timed ? ResultKind::scatter : ResultKind::broadcast,
          .verdict = verdict_of(result.judgement.verdict),
          .opened = from_ns(operation.planned_ns),
          .ended = from_ns(loop.now_ns),
          .target = from_ns(is_timed ? operation.target_ns : 0),
          .targeted = static_cast<std::uint32_t>(result.counts.targeted()),
          .sent = result.counts.sent,
          .ready = result.counts.ready,
          .conflict = result.counts.conflict,
          .error_p50_ns = is_timed ? result.errors.p50_ns : 0,
          .error_p99_ns = is_timed ? result.errors.p99_ns : 0};
}

// Of a cascade or a quorum, of which `about` says what its result does not.
void note_whole(EngineLoop::State& loop, ResultKind kind, const FinishedCascade& finished,
                const ResultNote& about) noexcept {
  ResultNote note = about;
  note.kind = kind;
  note.strategy = static_cast<std::uint8_t>(finished.strategy);
  note.verdict = finished.status == CascadeStatus::success   ? ResultVerdict::success
                 : finished.status == CascadeStatus::partial ? ResultVerdict::partial
                                                             : ResultVerdict::failed_at_sector;
  note.targeted = finished.agents.targeted;
  note.sent = finished.agents.sent;
  note.ready = finished.agents.ready;
  note.conflict = finished.agents.conflict;
  note_result(loop, note);
}

}  // namespace

void count_part(EngineLoop::State& loop, const Operation& operation) noexcept {
  if (is_own_operation(operation.part_of)) return;
  const sched::GatherCounts counts = operation.gather->counts();
  loop.counters.ready += counts.ready;
  loop.counters.conflicts += counts.conflict;
}

void count_cascade(EngineLoop::State& loop, const FinishedCascade& finished,
                   const ResultNote& about) noexcept {
  LoopCounters& counters = loop.counters;
  ++counters.cascades_ended;
  if (finished.status == CascadeStatus::failed_at_sector) ++counters.cascades_failed;
  if (finished.status == CascadeStatus::success) ++counters.cascades_quorum;
  counters.cascades_in_1s += finished.total_ns <= kNsPerSecond ? 1U : 0U;
  counters.cascades_own_in_10ms += finished.engine_ns <= 10 * kNsPerMs ? 1U : 0U;
  note_whole(loop, ResultKind::cascade, finished, about);
}

void count_quorum(EngineLoop::State& loop, const FinishedCascade& finished,
                  const ResultNote& about) noexcept {
  ++loop.counters.operations_ended;
  loop.counters.operations_quorum += finished.status == CascadeStatus::success ? 1U : 0U;
  note_whole(loop, ResultKind::quorum, finished, about);
}

void count_operation(EngineLoop::State& loop, const Operation& operation) noexcept {
  const sched::GatherResult result = operation.gather->result(from_ns(loop.now_ns));
  note_result(loop, note_of(loop, operation, result));
  if (result.counts.sent == 0) return;
  LoopCounters& counters = loop.counters;
  ++counters.operations_ended;
  if (result.judgement.verdict == sched::GatherVerdict::kSuccess) ++counters.operations_quorum;
  counters.ready += result.counts.ready;
  counters.conflicts += result.counts.conflict;
  if ((operation.marks & kOperationNow) != 0) return;
  counters.timed_sent += result.counts.sent;
  counters.timed_arrived += std::uint64_t{result.counts.ready} + result.counts.conflict;
  const sched::ErrorTally tally = operation.gather->tally();
  counters.arrived_in_500ms += sched::count_within(tally, 500 * kNsPerMs);
  counters.arrived_in_50ms += sched::count_within(tally, 50 * kNsPerMs);
  counters.arrived_in_5ms += sched::count_within(tally, 5 * kNsPerMs);
}

}  // namespace mesh::engine
