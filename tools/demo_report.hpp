// DemoReport: what the operations of `mesh demo` came to: figures, JSON, a table, a trace.
//
// An error is |finished - T| of a target that answered in time, READY or CONFLICT. Percentiles are
// exact: element ceil(share * n) of the n sorted errors, counted from 1. What was not measured is
// absent (JSON null, "-" in the table), never 0. The summary has the same figures over all
// operations: counts and costs summed, errors pooled, status and agents those of the last.
//
// Callers     one thread, cold.
// Units       as the names say; rates, coverage and inside_50ms are shares from 0 to 1.
// Errors      none; a stream's state is its owner's to check.
#pragma once

#include <array>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.hpp"
#include "engine/loop/engine_loop.hpp"
#include "tools/swarm_population.hpp"

namespace mesh::tools {

struct ErrorPercentiles {
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  friend bool operator==(const ErrorPercentiles&, const ErrorPercentiles&) = default;
};

// Sorts `errors_ns`, all at least 0; nothing of none.
[[nodiscard]] std::optional<ErrorPercentiles> percentiles_ms(std::span<std::int64_t> errors_ns);

// One target of an operation, and who it is by the population.
struct DemoTarget {
  std::uint32_t index = 0;
  AgentDraw drawn;
  double bias = 1;            // in force for this delivery
  double median_ms = 0;       // what half of its deliveries take less than, with that bias
  std::int64_t drawn_ns = 0;  // what this one was to take, delay and processing, had no process
                              // ever waited for a processor
  engine::TargetTrace trace;
};

struct DemoOperation {
  std::uint64_t agents = 0;
  std::uint32_t processes = 0;
  engine::FinishedOperation finished;
  std::vector<DemoTarget> targets;
};

// The errors that figures are made of: of all that answered, and of those whose own jitter is small
// enough that the mesh's error can be told from it.
inline constexpr double kLowJitterMs = 2;
struct DemoErrors {
  std::vector<std::int64_t> swarm_late_ns;
  std::vector<std::int64_t> all_ns;
  std::vector<std::int64_t> low_jitter_ns;
};

// What another model would have come to by the same answers: each took as long as it took, and
// would have been sent early by that model's lead.
struct DemoModel {
  std::optional<ErrorPercentiles> arrival_error_ms;
  std::optional<ErrorPercentiles> arrival_error_low_jitter_ms;
  std::optional<double> inside_50ms;
};

// Of the sends of the last kReliabilityOperations that were said to arrive within 50 ms of T with a
// probability near `said` (their mean), the share that did. Before that the mesh had not learned.
struct ReliabilityStep {
  double said = 0;
  double hit = 0;
  std::uint64_t n = 0;
};
inline constexpr std::size_t kReliabilitySteps = 20;  // a twentieth each
inline constexpr std::size_t kReliabilityOperations = 5;

struct DemoFigures {
  std::uint64_t agents = 0;
  std::uint32_t processes = 0;
  std::uint64_t targeted = 0;
  std::uint64_t scheduled = 0;
  std::uint64_t skipped = 0;
  std::uint64_t ready = 0;
  std::uint64_t conflict = 0;
  std::uint64_t straggler = 0;
  std::optional<double> rate;      // ready / scheduled
  std::optional<double> coverage;  // ready / targeted
  std::string status;              // SUCCESS, PARTIAL, NO_SCHEDULABLE_AGENTS
  std::optional<ErrorPercentiles> arrival_error_ms;
  std::optional<ErrorPercentiles> arrival_error_low_jitter_ms;
  // By how much answers came later than they were drawn to, for want of a processor: in the errors
  // above, and nothing that a mesh could predict of an agent.
  std::optional<ErrorPercentiles> swarm_late_ms;
  std::optional<double> inside_50ms;
  double plan_us = 0;
  double dispatch_us = 0;
  double gather_us = 0;
  std::uint64_t wakes = 0;
  double wake_us = 0;
  DemoModel nominal;
  DemoModel oracle;  // sends so that each agent's true median lands on T
};

// Who was not sent anything, by class: a reader asks why at once.
using SkippedByClass = std::array<std::uint64_t, sched::kAgentClassCount>;

class DemoReport {
 public:
  // What the whole run was, for the head of the report.
  struct Run {
    SwarmProfile profile = SwarmProfile::mixed;
    std::uint64_t seed = 0;
    double enrol_ms = 0;  // from the first process started to the last agent enrolled
    double total_s = 0;
    engine::LatenessStatus lateness{};
  };

  void add(const DemoOperation& operation);
  [[nodiscard]] const std::vector<DemoFigures>& operations() const noexcept { return operations_; }
  [[nodiscard]] DemoFigures summary() const;
  [[nodiscard]] bool succeeded() const noexcept;  // the last operation
  // From 0.5 on, those that anything was said of.
  [[nodiscard]] std::vector<ReliabilityStep> reliability() const;

  void write_json(const Run& run, std::ostream& out) const;
  void write_table(const Run& run, std::ostream& out) const;

 private:
  void write_summary(const Run& run, std::ostream& out) const;
  void write_models(std::ostream& out) const;
  void count_reliability(const DemoOperation& operation);

  std::vector<DemoFigures> operations_;
  DemoErrors errors_;
  SkippedByClass skipped_{};  // of the last operation
  struct Said {
    double said = 0;  // sum
    std::uint64_t hits = 0;
    std::uint64_t n = 0;
  };
  std::vector<std::array<Said, kReliabilitySteps>> said_;  // of each operation
};

// One line a target; finished_ns empty: no answer; lead and sent_ns empty: nothing was sent.
void write_trace_header(std::ostream& out);
void write_trace(std::uint64_t operation, const DemoOperation& of, std::ostream& out);

}  // namespace mesh::tools
