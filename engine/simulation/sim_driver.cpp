#include "engine/simulation/sim_driver.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace mesh::engine::simulation {
namespace {

namespace chaos = coordination::chaos;
using coordination::ChaosConfig;
using coordination::ChaosRole;
using coordination::ExperimentState;

constexpr Nanos kStep{100 * kNsPerMs};
constexpr Nanos kSettle{2 * kNsPerSecond};  // until the engine has given its roles

constexpr std::array<std::string_view, 21> kMetrics{
    "success_rate",   "error_rate",       "latency_ms",     "latency_max_ms",
    "throughput",     "attempt_failures", "availability",   "duplicates",
    "corrupt",        "reordered",        "lost",           "conflicts",
    "clock_error_ms", "tasks_done",       "double_effects", "lost_tasks",
    "writes",         "stale_writes",     "answered_twice", "unheard",
    "refused"};
enum Metric : std::size_t {
  success_rate,
  error_rate,
  latency_ms,
  latency_max_ms,
  throughput,
  attempt_failures,
  availability,
  duplicates,
  corrupt,
  reordered,
  lost,
  conflicts,
  clock_error_ms,
  tasks_done,
  double_effects,
  lost_tasks,
  writes,
  stale_writes,
  answered_twice,
  unheard,
  refused,
};

ChaosConfig config_for(const ChaosMeshOptions& options) {
  ChaosConfig config = ChaosConfig::preset("simulation").value();
  config.agents_max = options.agents;
  config.tick_ns = kStep;
  return config;
}

void add(ChaosPeriod& sum, const ChaosPeriod& more) {
  sum.finished += more.finished;
  sum.succeeded += more.succeeded;
  sum.latency_ns += more.latency_ns;
  sum.latency_ns_max = std::max(sum.latency_ns_max, more.latency_ns_max);
  sum.attempts += more.attempts;
  sum.attempts_failed += more.attempts_failed;
  sum.refused += more.refused;
  sum.duplicates += more.duplicates;
  sum.corrupt += more.corrupt;
  sum.reordered += more.reordered;
  sum.lost += more.lost;
  sum.conflicts += more.conflicts;
  sum.twice += more.twice;
  sum.unheard = std::max(sum.unheard, more.unheard);
  sum.tasks.tasks_done += more.tasks.tasks_done;
  sum.tasks.double_effects += more.tasks.double_effects;
  sum.tasks.lost_tasks += more.tasks.lost_tasks;
  sum.tasks.writes += more.tasks.writes;
  sum.tasks.stale_writes += more.tasks.stale_writes;
}

double share(std::uint64_t part, std::uint64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}
double ms_of(std::int64_t ns) { return static_cast<double>(ns) / 1e6; }

}  // namespace

SimDriver::SimDriver(const ChaosMeshOptions& options)
    : harness_(config_for(options)), pilot_(harness_, *this) {}

Result<std::unique_ptr<SimDriver>> SimDriver::create(const ChaosMeshOptions& options) {
  std::unique_ptr<SimDriver> made(new SimDriver(options));
  MESH_TRY(made->mesh_, ChaosMesh::create(options));
  ChaosMesh& mesh = *made->mesh_;
  MESH_CHECK_OK(mesh.run_until(kSettle.count()));
  static_cast<void>(mesh.take_period());
  static_cast<void>(mesh.take_effects());
  made->sampled_ = kSettle;
  for (const std::string_view name : kMetrics) {
    made->harness_.apply(chaos::AddMetric{std::string(name)}, made->now());
  }
  for (std::uint32_t agent = 0; agent < mesh.agents(); ++agent) {
    const std::uint8_t role = std::min<std::uint8_t>(mesh.mesh().role(agent), 2);
    made->harness_.apply(
        chaos::SetAgent{agent, mesh.mesh().cluster(agent), mesh.mesh().sector(agent),
                        static_cast<ChaosRole>(role), 0},
        made->now());
  }
  return made;
}

void SimDriver::undo(std::uint64_t injection) {
  const Status undone = mesh_->undo(injection);
  if (!undone && failure_) failure_ = undone;
}

void SimDriver::say(std::size_t metric, double value) {
  harness_.apply(chaos::Sample{static_cast<std::uint32_t>(metric), value}, now());
}

void SimDriver::sample() {
  const ChaosPeriod period = mesh_->take_period();
  add(totals_, period);
  if (period.finished != 0) {
    say(success_rate, share(period.succeeded, period.finished));
    say(error_rate, share(period.finished - period.succeeded, period.finished));
    say(throughput,
        static_cast<double>(period.succeeded) * 1e9 / static_cast<double>(kSamplePeriod.count()));
  }
  if (period.succeeded != 0) {
    say(latency_ms, ms_of(period.latency_ns) / static_cast<double>(period.succeeded));
    say(latency_max_ms, ms_of(period.latency_ns_max));
  }
  if (period.attempts != 0)
    say(attempt_failures, std::min(1.0, share(period.attempts_failed, period.attempts)));
  say(availability, mesh_->availability());
  say(duplicates, static_cast<double>(period.duplicates));
  say(corrupt, static_cast<double>(period.corrupt));
  say(reordered, static_cast<double>(period.reordered));
  say(lost, static_cast<double>(period.lost));
  say(conflicts, static_cast<double>(period.conflicts));
  say(answered_twice, static_cast<double>(period.twice));
  say(unheard, static_cast<double>(period.unheard));
  say(refused, static_cast<double>(period.refused));
  say(clock_error_ms, ms_of(mesh_->clock_error_ns()));
  if (mesh_->tasks() == nullptr) return;
  say(tasks_done, static_cast<double>(period.tasks.tasks_done));
  say(double_effects, static_cast<double>(period.tasks.double_effects));
  say(lost_tasks, static_cast<double>(period.tasks.lost_tasks));
  say(writes, static_cast<double>(period.tasks.writes));
  say(stale_writes, static_cast<double>(period.tasks.stale_writes));
}

Status SimDriver::run_until(Nanos until) {
  while (now() < until) {
    MESH_CHECK_OK(mesh_->run_until(std::min(until, now() + kStep).count()));
    mesh_->look();
    for (const ChaosEffect& effect : mesh_->take_effects()) {
      harness_.apply(chaos::Effect{effect.event, effect.cause, effect.agent, false}, now());
    }
    if (now() >= sampled_ + kSamplePeriod) {
      sampled_ = now();
      sample();
    }
    pilot_.step(now());
    MESH_CHECK_OK(failure_);
    const ExperimentState state = harness_.state(0);
    if (state == seen_) continue;
    seen_ = state;
    mesh_->log(ChaosLogKind::state, static_cast<std::uint64_t>(state), 0);
  }
  return {};
}

Result<SimulatedRun> run_experiment(const SimulatedExperiment& experiment) {
  MESH_TRY(const auto driver, SimDriver::create(experiment.mesh));
  const auto refused = [](Errc code) {
    return fail(code,
                "simulated experiment: the harness refused it: " + std::string(name_of(code)));
  };
  const auto made = driver->harness().apply(experiment.plan, driver->now());
  if (made.code != Errc::ok) return refused(made.code);
  if (experiment.plan.has_safety && experiment.plan.safety.require_approval) {
    driver->harness().apply(chaos::Approve{made.id, "simulation"}, driver->now());
  }
  const auto begun = driver->harness().apply(chaos::Start{made.id}, driver->now());
  if (begun.code != Errc::ok) return refused(begun.code);
  if (begun.refusal != coordination::Refusal::none) return refused(Errc::not_ready);
  const Nanos begin = driver->now();
  while (!is_over(driver->harness().state(made.id))) {
    if (driver->now() - begin > experiment.give_up)
      return fail(Errc::timed_out, "simulated experiment: not over within its time");
    MESH_CHECK_OK(driver->run_until(driver->now() + kStep));
  }
  MESH_CHECK_OK(driver->harness().verify());
  MESH_CHECK_OK(driver->mesh().verify());
  SimulatedRun run;
  run.report = driver->harness().report(made.id);
  run.has_held =
      run.report.hypothesis_held && run.report.impact.cascade_depth <= experiment.cascade_depth_max;
  run.log = driver->mesh().log();
  run.totals = driver->totals();
  run.coverage = driver->mesh().coverage();
  run.took = driver->now() - begin;
  return run;
}

std::vector<std::byte> bytes_of(const SimulatedRun& run) {
  coordination::StateWriter writer;
  put_fields(run.report, writer);
  writer.put(run.has_held);
  writer.put(run.took);
  for (const ChaosLogEntry& entry : run.log) {
    writer.put(entry.at_ns);
    writer.put(entry.kind);
    writer.put(entry.a);
    writer.put(entry.b);
  }
  return writer.take();
}

}  // namespace mesh::engine::simulation
