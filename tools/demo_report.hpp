// DemoReport: what the operations of `mesh demo` came to: figures, JSON, a table, a trace.
//
// An error is |finished - T| of a target that answered in time, READY or CONFLICT. Percentiles are
// exact: element ceil(share * n) of the n sorted errors, counted from 1. What was not measured is
// absent (JSON null, "-" in the table), never 0. The summary has the same figures over all
// operations: counts and costs summed, errors pooled, status and agents those of the last. Beside
// them, from the same answers: the nominal model and an oracle (demo_models.hpp).
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
#include "tools/demo_models.hpp"
#include "tools/swarm_population.hpp"

namespace mesh::tools {

struct DemoOperation {
  std::uint64_t agents = 0;
  std::uint32_t processes = 0;
  engine::FinishedOperation finished;
  std::vector<DemoTarget> targets;
};

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
  ErrorFigures errors;             // of the model that the mesh ran by
  ErrorFigures nominal;            // of the same answers, by the nominal model
  ErrorFigures oracle;             // and by who knows each agent's true median
  double plan_us = 0;
  double dispatch_us = 0;
  double gather_us = 0;
  std::uint64_t wakes = 0;
  double wake_us = 0;
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
  // Of the last half of the operations: before there is evidence, nothing is said in earnest.
  [[nodiscard]] Reliability reliability() const;
  [[nodiscard]] bool succeeded() const noexcept;  // the last operation

  void write_json(const Run& run, std::ostream& out) const;
  void write_table(const Run& run, std::ostream& out) const;

 private:
  void write_summary(const Run& run, std::ostream& out) const;
  void write_models(std::ostream& out) const;

  std::vector<DemoFigures> operations_;
  std::vector<Reliability> reliability_;  // by operation
  ModelErrors errors_;
  SkippedByClass skipped_{};  // of the last operation
};

// One line a target; finished_ns empty: no answer; lead and sent_ns empty: nothing was sent.
void write_trace_header(std::ostream& out);
void write_trace(std::uint64_t operation, const DemoOperation& of, std::ostream& out);

}  // namespace mesh::tools
