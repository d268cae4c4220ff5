// CounterList: every counter that an engine publishes in its table: label, unit, and what it says.
// One row a word, in the order of the words (engine/counter_page.hpp). `mesh stat`, `hz`, `top` and
// `kpi` print from it, so a counter has one name everywhere.
//
// To add one: a field in LoopCounters (or in EngineStatus) and a row here. A field without a row
// does not compile.
//
// Callers     anyone; constants.
// Units       as each row says. `total` only grows, over all engines of a mesh; `now` is of this
//             moment, or of this engine alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/engine.hpp"

namespace mesh::engine {

enum class CounterKind : std::uint8_t { total, now };

struct CounterDescription {
  std::string_view label;
  std::string_view unit;
  CounterKind kind = CounterKind::total;
  std::string_view means;
};

// Where its value comes from: a field of the loop's counters, or something else of the status.
struct SchedulerCounter {
  CounterDescription says;
  std::uint64_t LoopCounters::*field = nullptr;
  std::uint64_t (*value)(const EngineStatus& status) noexcept = nullptr;

  [[nodiscard]] std::uint64_t of(const EngineStatus& status) const noexcept {
    return field != nullptr ? status.counters.*field : value(status);
  }
};

namespace counter_rows {
using L = LoopCounters;
using S = EngineStatus;

constexpr SchedulerCounter total(std::string_view label, std::string_view unit,
                                 std::uint64_t L::*field, std::string_view means) {
  return {{label, unit, CounterKind::total, means}, field, nullptr};
}
using Value = std::uint64_t (*)(const S& status) noexcept;
constexpr SchedulerCounter of_thread(std::string_view label, std::string_view unit, Value value,
                                     std::string_view means) {
  return {{label, unit, CounterKind::total, means}, nullptr, value};
}
constexpr SchedulerCounter now(std::string_view label, std::string_view unit, Value value,
                               std::string_view means) {
  return {{label, unit, CounterKind::now, means}, nullptr, value};
}
constexpr std::uint64_t natural(std::int64_t value) noexcept {
  return value < 0 ? 0 : static_cast<std::uint64_t>(value);
}
}  // namespace counter_rows

inline constexpr auto kSchedulerCounters = [] {
  using namespace counter_rows;  // NOLINT(google-build-using-namespace): for this table alone
  return std::to_array<SchedulerCounter>({
      of_thread(
          "turns", "turns", [](const S& s) noexcept { return s.turns; }, "of the scheduler thread"),
      of_thread(
          "parks", "parks", [](const S& s) noexcept { return s.parks; },
          "times it slept because nothing was to do"),
      of_thread(
          "retunes", "retunes", [](const S& s) noexcept { return s.retunes; },
          "changes of configuration that were applied"),
      now(
          "agents_active", "agents",
          [](const S& s) noexcept -> std::uint64_t { return s.agents_active; }, "attached"),
      now(
          "agents_enrolled", "agents",
          [](const S& s) noexcept -> std::uint64_t { return s.agents_enrolled; },
          "that have a name here, away or not"),
      now(
          "messages_open", "messages",
          [](const S& s) noexcept -> std::uint64_t { return s.gauges.unanswered; },
          "direct ones accepted and not over"),
      now(
          "operations_open", "operations",
          [](const S& s) noexcept -> std::uint64_t { return s.gauges.operations; }, "in flight"),
      now(
          "pending_open", "deliveries",
          [](const S& s) noexcept -> std::uint64_t { return s.gauges.pending; },
          "that wait for room in an inbox"),
      now(
          "parked_free", "bytes",
          [](const S& s) noexcept -> std::uint64_t { return s.gauges.parked_free_bytes; },
          "of the store of parked bodies"),
      now(
          "payload_used", "bytes",
          [](const S& s) noexcept -> std::uint64_t { return s.gauges.payload_used_bytes; },
          "of the log of bodies"),
      now(
          "stations_stuck", "stations",
          [](const S& s) noexcept -> std::uint64_t { return s.stuck.size(); },
          "that have read nothing for half of stuck_after"),
      now(
          "buckets", "buckets", [](const S& s) noexcept { return s.lateness.buckets; },
          "dispatched by this engine: what lateness is counted over"),
      now(
          "lateness_p50", "ns", [](const S& s) noexcept { return natural(s.lateness.p50_ns); },
          "from a bucket's due to its first slot's publication"),
      now(
          "lateness_p90", "ns", [](const S& s) noexcept { return natural(s.lateness.p90_ns); },
          "the same"),
      now(
          "lateness_p99", "ns", [](const S& s) noexcept { return natural(s.lateness.p99_ns); },
          "the same"),
      now(
          "lateness_max", "ns", [](const S& s) noexcept { return natural(s.lateness.max_ns); },
          "the same"),
      total("ticks", "ticks", &L::ticks, "of the loop"),
      total("records_in", "records", &L::records_in, "taken from outboxes"),
      total("deliveries", "deliveries", &L::deliveries, "placed in inboxes"),
      total("answers", "records", &L::answers, "that agents gave"),
      total("sends", "records", &L::sends, "messages and commands of agents"),
      total("wakes", "wakes", &L::wakes, "of parked stations"),
      total("refused_records", "records", &L::refused_records, "that cannot be, and were dropped"),
      total("target_full", "deliveries", &L::target_full, "refused: inbox and pending list full"),
      total("pressure_refused", "messages", &L::pressure_refused,
            "of target_full: by what waits for the inbox already, urgent ones last"),
      total("expired", "messages", &L::expired, "past their time to live"),
      total("no_such_agent", "messages", &L::no_such_agent, "to nobody"),
      total("pending", "deliveries", &L::pending, "that had to wait for room"),
      total("lost_replies", "records", &L::lost_replies, "reports and replies without room"),
      total("duplicates", "records", &L::duplicates, "answers to what is over, or read again"),
      total("held", "messages", &L::held, "kept for an agent that is away"),
      total("redelivered", "deliveries", &L::redelivered, "marked: perhaps seen before"),
      total("parked", "bodies", &L::parked, "moved out of the log"),
      total("parked_full", "messages", &L::parked_full, "refused: no room to keep them"),
      total("capability_mismatch", "messages", &L::capability_mismatch,
            "refused: the target lacks a capability"),
      total("given_up", "operations", &L::given_up, "over, and not kept for stragglers"),
      total("not_routable", "messages", &L::not_routable, "refused: the target is quarantined"),
      total("unanswered_full", "messages", &L::unanswered_full, "refused: too many are open"),
      total("operations", "operations", &L::operations, "opened"),
      total("operations_full", "operations", &L::operations_full, "refused: too many in flight"),
      total("conflicts_noted", "conflicts", &L::conflicts_noted, "handed over to be recorded"),
      total("conflicts_lost", "conflicts", &L::conflicts_lost,
            "not: their station was gone, and no memory was left"),
      total("pipelines", "pipelines", &L::pipelines, "opened"),
      total("pipelines_ended", "pipelines", &L::pipelines_ended, "over"),
      total("pipelines_done", "pipelines", &L::pipelines_done, "of them, to the last step"),
      total("newcomers_admitted", "agents", &L::newcomers_admitted,
            "newcomers whose profile was stable"),
      total("results_noted", "operations", &L::results_noted, "ended, handed over to be kept"),
      total("results_lost", "operations", &L::results_lost, "not: too many waited"),
      total("cascades", "cascades", &L::cascades, "opened"),
      total("cascades_ended", "cascades", &L::cascades_ended, "over"),
      total("cascades_failed", "cascades", &L::cascades_failed, "of them, at the sectors"),
      total("cascades_quorum", "cascades", &L::cascades_quorum, "of them, SUCCESS"),
      total("cascades_in_1s", "cascades", &L::cascades_in_1s, "of them, from begin to end"),
      total("cascades_own_in_10ms", "cascades", &L::cascades_own_in_10ms,
            "of them, of the engine's thread"),
      total("mode_refused", "messages", &L::mode_refused, "refused by the operating mode"),
      total("throttled", "messages", &L::throttled,
            "refused because the engine cannot keep up: over their sector's share"),
      total("created_ahead", "messages", &L::created_ahead,
            "made over a second from now by their sender's clock: taken as made now"),
      total("throttle_begun", "times", &L::throttle_begun, "senders began to be limited"),
      now(
          "send_rate", "messages/s",
          [](const S& s) noexcept -> std::uint64_t { return s.gauges.send_rate; },
          "that all senders together are held to; 0: nobody is limited"),
      total("mode_queued", "messages", &L::mode_queued, "that wait for a better mode"),
      total("agent_crashes", "agents", &L::agent_crashes, "that went without a word"),
      total("impedance_spikes", "agents", &L::impedance_spikes, "far above their own average"),
      now(
          "agents_spiking", "agents",
          [](const S& s) noexcept -> std::uint64_t { return s.gauges.spiking; },
          "that are so now, and that the mesh routes around"),
      total("spikes_escalated", "clusters", &L::spikes_escalated,
            "of which several agents were so at once"),
      total("silences_escalated", "times", &L::silences_escalated,
            "a cluster had agents that left their third message in a row unanswered"),
      total("cascade_failures", "sectors", &L::cascade_failures, "whose failures doubled"),
      total("judgements_withheld", "judgements", &L::judgements_withheld,
            "not made because the engine itself was late"),
      total("breaker_refused", "messages", &L::breaker_refused, "and targets, by a breaker"),
      total("breaker_trials", "messages", &L::breaker_trials, "let through a breaker to see"),
      total("breaker_probes", "messages", &L::breaker_probes, "of them the engine's own"),
      total("breakers_opened", "openings", &L::breakers_opened, "of clusters, sectors, the mesh"),
      total("breaker_failures", "failures", &L::breaker_failures, "that breakers counted"),
      total("crashes_taken_back", "crashes", &L::crashes_taken_back, "of clusters whole again"),
      total("conflicts", "answers", &L::conflicts, "in CONFLICT"),
      total("ready", "answers", &L::ready, "READY"),
      total("operations_ended", "operations", &L::operations_ended, "that were sent to somebody"),
      total("operations_quorum", "operations", &L::operations_quorum, "of them, SUCCESS"),
      total("timed_sent", "targets", &L::timed_sent, "of ended operations with a T"),
      total("timed_arrived", "targets", &L::timed_arrived, "of them, answered before the end"),
      total("arrived_in_500ms", "targets", &L::arrived_in_500ms, "of them, so near to T"),
      total("arrived_in_50ms", "targets", &L::arrived_in_50ms, "of them, so near to T"),
      total("arrived_in_5ms", "targets", &L::arrived_in_5ms, "of them, so near to T"),
      total("time_watched", "ms", &L::time_watched_ms,
            "since how much of the mesh is active is known"),
      total("time_active", "ms", &L::time_active_ms, "with 95 % or more of the agents active"),
      total("time_full", "ms", &L::time_full_ms, "in mode FULL"),
      total("time_light", "ms", &L::time_light_ms, "in mode DEGRADED_LIGHT"),
      total("time_moderate", "ms", &L::time_moderate_ms, "in mode DEGRADED_MODERATE"),
      total("time_severe", "ms", &L::time_severe_ms, "in mode DEGRADED_SEVERE"),
      total("time_emergency", "ms", &L::time_emergency_ms, "in mode EMERGENCY"),
      total("cluster_outages", "outages", &L::cluster_outages, "an agent of a cluster was lost"),
      total("cluster_recoveries", "recoveries", &L::cluster_recoveries, "all of them are back"),
      total("cluster_recovery_time", "ms", &L::cluster_recovery_ms, "all recoveries together"),
      total("cluster_recoveries_over_1s", "recoveries", &L::cluster_recoveries_over_1s, "slower"),
      total("cluster_recoveries_over_5min", "recoveries", &L::cluster_recoveries_over_5min,
            "slower"),
      total("sector_outages", "outages", &L::sector_outages,
            "more than 5 % of a sector's agents were lost"),
      total("sector_recoveries", "recoveries", &L::sector_recoveries, "no more than 5 % are"),
      total("sector_recovery_time", "ms", &L::sector_recovery_ms, "all recoveries together"),
      total("sector_recoveries_over_10s", "recoveries", &L::sector_recoveries_over_10s, "slower"),
      total("sector_recoveries_over_15min", "recoveries", &L::sector_recoveries_over_15min,
            "slower"),
      total("stations_lost", "stations", &L::stations_lost, "that went without a word"),
      total("context_corruptions", "agents", &L::context_corruptions,
            "whose context was found to be another than it should be"),
      total("conflicts_waited", "stations", &L::conflicts_waited,
            "times that one's conflicts had to wait in its outbox: too many were not recorded"),
      now(
          "contexts_waiting", "agents",
          [](const S& s) noexcept -> std::uint64_t { return s.gauges.awaiting_context; },
          "back after a crash, whose messages wait until their context is loaded"),
      total("contexts_awaited", "agents", &L::contexts_awaited, "that began to wait so"),
      total("contexts_overdue", "agents", &L::contexts_overdue,
            "of them, that got their messages without it: it took too long"),
      total("byzantine", "agents", &L::byzantine,
            "that differed from a large majority in a comparable operation"),
      total("contradictions", "operations", &L::contradictions,
            "comparable, and no large majority said the same"),
      total("operations_not_compared", "operations", &L::operations_not_compared,
            "comparable, but ended by another engine than the one that knew the outcomes"),
  });
}();

// Every field of LoopCounters has one row. (That a row has a field or a function, its makers see
// to: with -fsanitize=undefined g++ 12 compares no function's address in a constant.)
static_assert([] {
  std::size_t fields = 0;
  for (std::size_t i = 0; i < kSchedulerCounters.size(); ++i) {
    const SchedulerCounter& one = kSchedulerCounters[i];
    for (std::size_t j = 0; j < i; ++j) {
      if (one.field != nullptr && one.field == kSchedulerCounters[j].field) return false;
      if (one.says.label == kSchedulerCounters[j].says.label) return false;
    }
    fields += one.field != nullptr ? 1 : 0;
  }
  return fields * sizeof(std::uint64_t) == sizeof(LoopCounters);
}());

// Of the control thread.
enum class ControlCounter : std::uint8_t {
  stations,
  connections,
  stations_ever,
  evicted,
  awaited,
  returned,
  not_back,
  refused_back,
  refusals,
  count
};
inline constexpr auto kControlCounters = std::to_array<CounterDescription>({
    {"stations", "stations", CounterKind::now, "attached"},
    {"connections", "connections", CounterKind::now, "open to the control socket"},
    {"stations_ever", "stations", CounterKind::total, "that attached"},
    {"stations_evicted", "stations", CounterKind::total, "corrupt or stuck"},
    {"stations_awaited", "stations", CounterKind::now, "of a dead engine, not back yet"},
    {"stations_returned", "stations", CounterKind::total, "of a dead engine, back"},
    {"stations_not_back", "stations", CounterKind::total, "of a dead engine, given up"},
    {"returns_refused", "requests", CounterKind::total, "to come back, by who is none of them"},
    {"requests_refused", "requests", CounterKind::total, "of stations, consoles and observers"},
});
static_assert(kControlCounters.size() == static_cast<std::size_t>(ControlCounter::count));

}  // namespace mesh::engine
