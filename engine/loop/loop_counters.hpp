// LoopCounters: what a loop has counted since it began; LoopGauges: what is in use now.
// engine/counter_list.hpp says what each means to who reads it: a field without a row there does
// not compile.
//
// Callers     the loop's thread writes; anyone reads a copy.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mesh::engine {

struct LoopCounters {
  std::uint64_t ticks = 0, records_in = 0, deliveries = 0, answers = 0, sends = 0, wakes = 0;
  std::uint64_t refused_records = 0, target_full = 0, expired = 0, no_such_agent = 0, pending = 0;
  std::uint64_t pressure_refused = 0;  // of target_full: by what waits for the inbox already
  std::uint64_t lost_replies = 0;      // reports and replies that found no room
  std::uint64_t duplicates = 0;        // answers to what is over, records that were read again
  std::uint64_t held = 0;              // messages kept for an agent that is away
  std::uint64_t redelivered = 0, parked = 0, parked_full = 0, capability_mismatch = 0;
  std::uint64_t given_up = 0;  // operations that were over, and not kept for their stragglers
  std::uint64_t not_routable = 0, unanswered_full = 0, operations = 0, operations_full = 0;
  std::uint64_t cascades = 0, cascades_failed = 0;        // opened; ended at the sectors
  std::uint64_t conflicts_noted = 0, conflicts_lost = 0;  // by a sink: taken, refused
  std::uint64_t cascades_ended = 0, cascades_in_1s = 0, cascades_own_in_10ms = 0;
  std::uint64_t pipelines = 0, pipelines_ended = 0, pipelines_done = 0;  // opened; over; READY
  std::uint64_t newcomers_admitted = 0;                                  // agents
  std::uint64_t cascades_quorum = 0;
  std::uint64_t results_noted = 0, results_lost = 0;  // of operations, by a sink: taken, refused
  std::uint64_t mode_refused = 0, mode_queued = 0;    // by the operating mode
  std::uint64_t throttled = 0, throttle_begun = 0;    // sends over their sector's share; times
  std::uint64_t created_ahead = 0;                    // sends of a clock that is ahead
  std::uint64_t agent_crashes = 0, impedance_spikes = 0, cascade_failures = 0;
  std::uint64_t spikes_escalated = 0;     // clusters of which several agents spiked at once
  std::uint64_t silences_escalated = 0;   // clusters of which somebody left a third unanswered
  std::uint64_t judgements_withheld = 0;  // while the engine itself was late
  std::uint64_t breaker_refused = 0;      // messages and targets of operations
  std::uint64_t breaker_trials = 0;       // of them let through, to see
  std::uint64_t breaker_probes = 0;       // of those the engine's own
  std::uint64_t breakers_opened = 0, breaker_failures = 0, crashes_taken_back = 0;
  // What KPIs are made of (mesh.md part 14), counted when an operation ends or a second is over.
  std::uint64_t ready = 0, conflicts = 0;  // answers
  std::uint64_t operations_ended = 0, operations_quorum = 0;
  std::uint64_t timed_sent = 0, timed_arrived = 0;  // of operations with a T
  std::uint64_t arrived_in_500ms = 0, arrived_in_50ms = 0, arrived_in_5ms = 0;  // of T
  std::uint64_t time_watched_ms = 0, time_active_ms = 0;
  std::uint64_t time_full_ms = 0, time_light_ms = 0, time_moderate_ms = 0, time_severe_ms = 0,
                time_emergency_ms = 0;
  // From the first agent lost to the last one back.
  std::uint64_t cluster_outages = 0, cluster_recoveries = 0, cluster_recovery_ms = 0;
  std::uint64_t cluster_recoveries_over_1s = 0, cluster_recoveries_over_5min = 0;
  std::uint64_t sector_outages = 0, sector_recoveries = 0, sector_recovery_ms = 0;
  std::uint64_t sector_recoveries_over_10s = 0, sector_recoveries_over_15min = 0;
  std::uint64_t stations_lost = 0;
  std::uint64_t context_corruptions = 0, conflicts_waited = 0;
  std::uint64_t contexts_awaited = 0;  // agents held until their context is loaded
  std::uint64_t contexts_overdue = 0;  // of them: let go without it
  std::uint64_t byzantine = 0, contradictions = 0, operations_not_compared = 0;
};

// What is in use now.
struct LoopGauges {
  std::size_t unanswered = 0, operations = 0, parked_free_bytes = 0, payload_used_bytes = 0;
  std::size_t pending = 0;
  std::size_t send_rate = 0;         // messages a second that senders are held to; 0: nobody is
  std::size_t routed_around = 0;     // agents
  std::size_t spiking = 0;           // agents that the mesh routes around
  std::size_t frozen = 0;            // agents
  std::size_t quarantined = 0;       // agents
  std::size_t newcomers = 0;         // agents that are not admitted yet
  std::size_t awaiting_context = 0;  // agents that are back and get nothing before it is loaded
};

}  // namespace mesh::engine
