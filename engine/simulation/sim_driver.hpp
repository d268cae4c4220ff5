// SimDriver: an experiment of ChaosHarness on a ChaosMesh, in virtual time, from its precheck to
// its report. The same experiment gives the same event log, byte for byte.
//
// What is measured, each kSamplePeriod, under these names:
//     success_rate, error_rate     of the requests that ended in it
//     latency_ms, latency_max_ms   of those that succeeded
//     throughput                   requests that succeeded, a second
//     attempt_failures             share of what agents were asked that failed or took too long
//     availability                 share of the agents that are up and routable
//     duplicates, corrupt, reordered, lost, conflicts    how many
//     refused                      agents passed over: the mesh's breakers let nobody pass to them
//     answered_twice               messages that were answered again
//     unheard                      messages of which nothing was heard for three seconds, now
//     clock_error_ms               mesh time against true time
// and, where there are tasks (chaos_tasks.hpp):
//     tasks_done, double_effects, lost_tasks, writes, stale_writes    how many
// A period in which no request ended says nothing of the first six.
//
// Callers     one thread.
// Errors      create, run -> as ChaosMesh; as ChaosHarness where it refuses the plan; timed_out:
//             the experiment was not over within `give_up`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/coordination/chaos_driver.hpp"
#include "engine/simulation/chaos_mesh.hpp"

namespace mesh::engine::simulation {

inline constexpr Nanos kSamplePeriod{500 * kNsPerMs};

struct SimulatedExperiment {
  coordination::chaos::Create plan;
  ChaosMeshOptions mesh;
  std::uint32_t cascade_depth_max = 0xFFFF'FFFF;
  Nanos give_up{3'600 * kNsPerSecond};
};

struct SimulatedRun {
  coordination::ChaosReport report;
  // The hypothesis held, and no failure went further than it may.
  bool has_held = false;
  std::vector<ChaosLogEntry> log;
  ChaosPeriod totals;  // of the whole run
  ChaosCoverage coverage;
  Nanos took{0};  // virtual
};
// The log and the report, in bytes: what two runs of one experiment share to the last.
[[nodiscard]] std::vector<std::byte> bytes_of(const SimulatedRun& run);

class SimDriver final : public coordination::FaultDriver {
 public:
  // The harness knows each agent of the mesh, with its cluster, sector and role, and the metrics.
  static Result<std::unique_ptr<SimDriver>> create(const ChaosMeshOptions& options);

  // Requests, samples, faults: until then.
  Status run_until(Nanos now);
  [[nodiscard]] Nanos now() const noexcept { return Nanos{mesh_->now_ns()}; }
  [[nodiscard]] coordination::ChaosHarness& harness() noexcept { return harness_; }
  [[nodiscard]] ChaosMesh& mesh() noexcept { return *mesh_; }
  [[nodiscard]] const ChaosPeriod& totals() const noexcept { return totals_; }

  [[nodiscard]] Errc inject(const coordination::ChaosOrder& order,
                            std::span<const std::uint32_t> targets) override {
    return mesh_->inject(order, targets);
  }
  void undo(std::uint64_t injection) override;
  [[nodiscard]] bool is_gone(std::uint64_t injection) const override {
    return mesh_->is_gone(injection);
  }
  [[nodiscard]] bool works(std::uint32_t agent) const override { return mesh_->works(agent); }

 private:
  explicit SimDriver(const ChaosMeshOptions& options);
  void sample();
  void say(std::size_t metric, double value);

  coordination::ChaosHarness harness_;
  coordination::ChaosPilot pilot_;
  std::unique_ptr<ChaosMesh> mesh_;
  Status failure_;  // of an undo, which cannot say so itself
  Nanos sampled_{0};
  ChaosPeriod totals_;
  coordination::ExperimentState seen_ = coordination::ExperimentState::none;
};

[[nodiscard]] Result<SimulatedRun> run_experiment(const SimulatedExperiment& experiment);

}  // namespace mesh::engine::simulation
