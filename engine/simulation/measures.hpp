// Measures: what a simulated run came to: counted as it happens, in integers.
//
// Callers     one thread.
// Cost        of an answer: a few stores, and a hash of its words.
// Units       nanoseconds; shares are counts, divided by whoever prints them.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/health/operating_modes.hpp"
#include "engine/simulation/conflict_records.hpp"
#include "sched/error_histogram.hpp"

namespace mesh::engine::simulation {

// XXH3 over words, in blocks: the same words in the same order give the same hash everywhere.
class TraceHash {
 public:
  void add(std::initializer_list<std::uint64_t> words);
  // Of everything until now.
  [[nodiscard]] std::uint64_t value() const;

 private:
  static constexpr std::size_t kBlock = 1'024;
  void fold();
  std::vector<std::uint64_t> words_{0};  // the hash of what came before, first
};

struct ReliabilityStep {
  std::uint64_t said = 0;  // sum, in 1/65535
  std::uint64_t hits = 0;
  std::uint64_t n = 0;
};
inline constexpr std::size_t kReliabilitySteps = 20;

struct RecoveryFigures {
  std::vector<std::int64_t> took_ns;  // from detection to all routable again
  std::uint64_t not_recovered = 0;    // at the end
};

// Of pipelines, or of leads' quorums.
struct SmallFigures {
  std::uint64_t asked = 0;  // that were to be opened
  std::uint64_t refused = 0;
  std::uint64_t succeeded = 0;
  std::vector<std::int64_t> took_ns{};  // of those
};

// What became of who came later.
struct ScaleFigures {
  std::uint64_t made = 0;
  std::uint64_t processes = 0;
  std::uint64_t clusters_filled = 0;   // that had agents before
  std::uint64_t clusters_created = 0;  // that had none
  std::uint64_t admitted = 0;
  std::uint64_t waves = 0;
  std::uint64_t wave_max = 0;  // admitted in one
  // From their making; nothing: there was none.
  std::optional<std::int64_t> first_admitted_ns{};
  std::optional<std::int64_t> all_admitted_ns{};
};

struct ContextFigures {
  std::uint64_t handed_over = 0;
  std::uint64_t held = 0;               // back after a crash, and waiting for their context
  std::uint64_t loaded = 0;             // of them: got it
  std::uint64_t overdue = 0;            // got their messages without it
  std::uint64_t lost = 0;               // their process ended first
  std::uint64_t early = 0;              // messages that came to one that was held: there are none
  std::vector<std::int64_t> wait_ns{};  // of those that got it
};

struct SimulationReport {
  std::uint64_t seed = 0;
  std::uint32_t agents = 0;
  std::int64_t virtual_ns = 0;

  std::uint64_t operations = 0;  // that were to be opened
  std::uint64_t refused = 0;     // of them, by the operating mode or a limit: with a reason
  std::uint64_t unanswered = 0;  // that got neither result nor refusal
  std::uint64_t quorums = 0;
  std::uint64_t quorums_at_once = 0;  // in their first round
  std::uint64_t rounds = 0;
  std::array<std::uint64_t, 5> decisions{};  // of first rounds, by sched::QuorumDecision

  std::uint64_t sent = 0;  // by the engine's own count, over all rounds
  std::uint64_t ready = 0;
  std::uint64_t conflicts = 0;
  std::uint64_t late = 0;  // answers that came when their round was over
  std::uint64_t skipped = 0;
  std::uint64_t answers = 0;  // that agents gave to operations
  std::uint64_t inside_window = 0;
  std::shared_ptr<const sched::ErrorTally> errors;
  std::array<ReliabilityStep, kReliabilitySteps> reliability{};

  std::uint64_t cascades = 0;  // that were to be opened
  std::uint64_t cascades_refused = 0;
  std::array<std::uint64_t, 4> cascade_statuses{};  // by CascadeStatus
  std::vector<std::int64_t> cascade_ns;             // from opening to enough READY; that got there
  std::vector<std::int64_t> cascade_total_ns;       // to its end, which waits for who is silent

  SmallFigures pipelines;
  std::vector<std::int64_t> pipeline_error_ns;  // distance of the last answer from T, successes
  SmallFigures cluster_quorums;
  std::array<std::uint64_t, 5> cluster_decisions{};  // by sched::QuorumDecision
  std::uint64_t leads_promoted = 0;                  // while they were asked
  ScaleFigures scale;
  ContextFigures contexts;

  std::int64_t available_ns = 0;  // with at least 95 % of agents active
  std::array<std::int64_t, health::kOperatingModes> mode_ns{};
  std::uint64_t mode_changes = 0;
  RecoveryFigures clusters;
  RecoveryFigures sectors;

  std::uint64_t conflict_answers = 0;   // that agents gave, counted where they are given
  std::uint64_t conflicts_counted = 0;  // by the engine, in operations and cascades
  ConflictCounts conflict_records;
  bool conflicts_complete = true;
  std::uint64_t conflicts_open = 0;
  std::optional<std::int64_t> resolution_p99_ns;  // of those that needed no person

  std::uint64_t deaths = 0;
  std::uint64_t returns = 0;
  std::uint64_t ticks = 0;
  std::uint64_t deliveries = 0;
  std::uint64_t breakers_opened = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t trace_hash = 0;
};

// Errors of arrival, whole runs of them.
class ArrivalErrors {
 public:
  explicit ArrivalErrors(std::int64_t tolerance_ns)
      : tally_(std::make_shared<sched::ErrorTally>()) {
    tally_->scale = sched::ErrorScale::of(tolerance_ns);
  }
  void add(std::int64_t error_ns) noexcept;
  [[nodiscard]] std::shared_ptr<const sched::ErrorTally> tally() const noexcept { return tally_; }

 private:
  std::shared_ptr<sched::ErrorTally> tally_;
};

// A quantile by nearest rank; nothing of nothing.
[[nodiscard]] std::optional<std::int64_t> quantile_of(std::span<const std::int64_t> values,
                                                      std::int64_t share_ppm);

}  // namespace mesh::engine::simulation
