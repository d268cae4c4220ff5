#include "tools/demo_report.hpp"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <ostream>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "sched/share.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::tools {
namespace {

constexpr std::int64_t kInsideNs = 50 * kNsPerMs;
constexpr std::size_t kFlushBytes = std::size_t{1} << 18;

double microseconds(std::int64_t ns) {
  return static_cast<double>(ns) / static_cast<double>(kNsPerUs);
}

std::optional<double> share_of(std::uint64_t part, std::uint64_t whole) {
  if (whole == 0) return std::nullopt;
  return static_cast<double>(part) / static_cast<double>(whole);
}

std::string status_of(sched::GatherVerdict verdict) {
  switch (verdict) {
    case sched::GatherVerdict::kSuccess:
      return "SUCCESS";
    case sched::GatherVerdict::kPartial:
      return "PARTIAL";
    case sched::GatherVerdict::kNoSchedulableAgents:
      break;
  }
  return "NO_SCHEDULABLE_AGENTS";
}

bool answered(const engine::TargetTrace& trace) {
  return trace.state != sched::TrinaryState::transit && trace.finished_ns != 0;
}

void collect_errors(const DemoOperation& operation, DemoErrors& errors) {
  const std::int64_t target_ns = to_ns(operation.finished.target);
  for (const DemoTarget& target : operation.targets) {
    if (!answered(target.trace)) continue;
    const std::int64_t late_ns = target.trace.finished_ns - target_ns;
    const std::int64_t error_ns = late_ns < 0 ? -late_ns : late_ns;
    errors.all_ns.push_back(error_ns);
    if (target.drawn.jitter_ms() < kLowJitterMs) errors.low_jitter_ns.push_back(error_ns);
    const std::int64_t took_ns = target.trace.finished_ns - target.trace.sent_ns;
    errors.swarm_late_ns.push_back(std::max<std::int64_t>(took_ns - target.drawn_ns, 0));
  }
}

void set_errors(DemoErrors& errors, DemoFigures& figures) {
  const auto inside = std::count_if(errors.all_ns.begin(), errors.all_ns.end(),
                                    [](std::int64_t ns) { return ns <= kInsideNs; });
  figures.inside_50ms = share_of(static_cast<std::uint64_t>(inside), errors.all_ns.size());
  figures.arrival_error_ms = percentiles_ms(errors.all_ns);
  figures.arrival_error_low_jitter_ms = percentiles_ms(errors.low_jitter_ns);
  figures.swarm_late_ms = percentiles_ms(errors.swarm_late_ns);
}

// The errors of a model that would have sent each early by lead_ns(target).
template <class Lead>
DemoModel model_of(const DemoOperation& operation, Lead&& lead_ns) {
  DemoErrors errors;
  for (const DemoTarget& target : operation.targets) {
    if (!answered(target.trace)) continue;
    const std::int64_t took_ns = target.trace.finished_ns - target.trace.sent_ns;
    const std::int64_t error_ns = std::abs(took_ns - lead_ns(target));
    errors.all_ns.push_back(error_ns);
    if (target.drawn.jitter_ms() < kLowJitterMs) errors.low_jitter_ns.push_back(error_ns);
  }
  DemoFigures figures;
  set_errors(errors, figures);
  return {figures.arrival_error_ms, figures.arrival_error_low_jitter_ms, figures.inside_50ms};
}

void set_models(const DemoOperation& operation, DemoFigures& figures) {
  figures.nominal = model_of(
      operation, [](const DemoTarget& target) { return target.trace.nominal_lead_us * kNsPerUs; });
  figures.oracle = model_of(operation, [](const DemoTarget& target) {
    return static_cast<std::int64_t>(target.median_ms * static_cast<double>(kNsPerMs));
  });
}

void set_rates(DemoFigures& figures) {
  figures.rate = share_of(figures.ready, figures.scheduled);
  figures.coverage = share_of(figures.ready, figures.targeted);
}

void add_to(const DemoFigures& of, DemoFigures& sum) {
  sum.agents = of.agents;
  sum.processes = of.processes;
  sum.status = of.status;
  sum.targeted += of.targeted;
  sum.scheduled += of.scheduled;
  sum.skipped += of.skipped;
  sum.ready += of.ready;
  sum.conflict += of.conflict;
  sum.straggler += of.straggler;
  sum.plan_us += of.plan_us;
  sum.dispatch_us += of.dispatch_us;
  sum.gather_us += of.gather_us;
  sum.wakes += of.wakes;
  sum.wake_us += of.wake_us;
}

nlohmann::ordered_json json_of(const std::optional<double>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}
nlohmann::ordered_json json_of(const std::optional<ErrorPercentiles>& value) {
  if (!value) return nullptr;
  return {{"p50", value->p50}, {"p90", value->p90}, {"p99", value->p99}};
}

nlohmann::ordered_json json_of(const DemoModel& model) {
  return {{"arrival_error_ms", json_of(model.arrival_error_ms)},
          {"arrival_error_low_jitter_ms", json_of(model.arrival_error_low_jitter_ms)},
          {"inside_50ms", json_of(model.inside_50ms)}};
}

nlohmann::ordered_json json_of(const DemoFigures& figures) {
  return {{"agents", figures.agents},
          {"processes", figures.processes},
          {"targeted", figures.targeted},
          {"scheduled", figures.scheduled},
          {"skipped", figures.skipped},
          {"ready", figures.ready},
          {"conflict", figures.conflict},
          {"straggler", figures.straggler},
          {"rate", json_of(figures.rate)},
          {"coverage", json_of(figures.coverage)},
          {"status", figures.status},
          {"arrival_error_ms", json_of(figures.arrival_error_ms)},
          {"arrival_error_low_jitter_ms", json_of(figures.arrival_error_low_jitter_ms)},
          {"swarm_late_ms", json_of(figures.swarm_late_ms)},
          {"inside_50ms", json_of(figures.inside_50ms)},
          {"engine_us",
           {{"plan", figures.plan_us},
            {"dispatch", figures.dispatch_us},
            {"gather", figures.gather_us}}},
          {"wakes", figures.wakes},
          {"wake_us", figures.wake_us}};
}

std::string percent(const std::optional<double>& share) {
  return share ? fmt::format("{:.1f}%", 100 * *share) : "-";
}
std::string milliseconds(const std::optional<ErrorPercentiles>& errors,
                         double ErrorPercentiles::*which) {
  return errors ? fmt::format("{:.1f}", *errors.*which) : "-";
}

constexpr std::string_view kRow =
    "{:>9} {:>8} {:>8} {:>8} {:>9} {:>9} {:>7} {:>8} {:>8} {:>8} {:>8} {:>10}  {}\n";

std::string row_of(std::string_view name, const DemoFigures& figures) {
  const std::optional<ErrorPercentiles>& errors = figures.arrival_error_ms;
  return fmt::format(
      kRow, name, figures.scheduled, figures.skipped, figures.ready, figures.conflict,
      figures.straggler, percent(figures.rate), percent(figures.coverage),
      milliseconds(errors, &ErrorPercentiles::p50), milliseconds(errors, &ErrorPercentiles::p90),
      milliseconds(errors, &ErrorPercentiles::p99),
      fmt::format("{:.0f}", figures.plan_us + figures.dispatch_us + figures.gather_us),
      figures.status);
}

std::string list_of(const SkippedByClass& skipped) {
  std::string list;
  for (std::size_t i = 0; i < skipped.size(); ++i) {
    if (skipped[i] == 0) continue;
    list += fmt::format("{}{} of class {} ({})", list.empty() ? "" : ", ", skipped[i],
                        sched::kAgentClasses[i].letter, sched::kAgentClasses[i].name);
  }
  return list;
}

template <class T>
std::string when_sent(const engine::TargetTrace& trace, T value) {
  return trace.sent_ns == 0 ? std::string() : fmt::format("{}", value);
}
std::string number_or_nothing(std::int64_t ns) {
  return ns == 0 ? std::string() : fmt::format("{}", ns);
}

}  // namespace

std::optional<ErrorPercentiles> percentiles_ms(std::span<std::int64_t> errors_ns) {
  if (errors_ns.empty()) return std::nullopt;
  std::sort(errors_ns.begin(), errors_ns.end());
  const auto at = [&](std::size_t percent) {
    const std::size_t rank = (errors_ns.size() * percent + 99) / 100;
    return static_cast<double>(errors_ns[rank - 1]) / static_cast<double>(kNsPerMs);
  };
  return ErrorPercentiles{at(50), at(90), at(99)};
}

void DemoReport::add(const DemoOperation& operation) {
  const sched::GatherCounts& counts = operation.finished.result.counts;
  const engine::OperationCost& cost = operation.finished.cost;
  DemoFigures figures;
  figures.agents = operation.agents;
  figures.processes = operation.processes;
  figures.targeted = counts.targeted();
  figures.scheduled = counts.sent;
  figures.skipped = counts.skipped.total();
  figures.ready = counts.ready;
  figures.conflict = counts.conflict;
  figures.straggler = counts.straggler();
  figures.status = status_of(operation.finished.result.judgement.verdict);
  figures.plan_us = microseconds(cost.plan_ns);
  figures.dispatch_us = microseconds(cost.dispatch_ns);
  figures.gather_us = microseconds(cost.gather_ns);
  figures.wakes = cost.wakes;
  figures.wake_us = microseconds(cost.wake_ns);
  set_rates(figures);
  DemoErrors errors;
  collect_errors(operation, errors);
  set_errors(errors, figures);
  set_models(operation, figures);
  count_reliability(operation);
  errors_.all_ns.insert(errors_.all_ns.end(), errors.all_ns.begin(), errors.all_ns.end());
  errors_.swarm_late_ns.insert(errors_.swarm_late_ns.end(), errors.swarm_late_ns.begin(),
                               errors.swarm_late_ns.end());
  errors_.low_jitter_ns.insert(errors_.low_jitter_ns.end(), errors.low_jitter_ns.begin(),
                               errors.low_jitter_ns.end());
  skipped_ = {};
  for (const DemoTarget& target : operation.targets) {
    if (target.trace.sent_ns == 0) {
      ++skipped_.at(static_cast<std::size_t>(target.drawn.agent_class));
    }
  }
  operations_.push_back(std::move(figures));
}

// A send that found no answer did not arrive.
void DemoReport::count_reliability(const DemoOperation& operation) {
  const std::int64_t target_ns = to_ns(operation.finished.target);
  auto& steps = said_.emplace_back();
  for (const DemoTarget& target : operation.targets) {
    if (target.trace.sent_ns == 0) continue;
    const double said = std::clamp(target.trace.confidence, 0.0, 1.0);
    const auto step = static_cast<std::size_t>(said * kReliabilitySteps);
    Said& at = steps.at(std::min(step, kReliabilitySteps - 1));
    at.said += said;
    ++at.n;
    if (answered(target.trace) && std::abs(target.trace.finished_ns - target_ns) <= kInsideNs) {
      ++at.hits;
    }
  }
}

std::vector<ReliabilityStep> DemoReport::reliability() const {
  std::vector<ReliabilityStep> steps;
  for (std::size_t i = kReliabilitySteps / 2; i < kReliabilitySteps; ++i) {
    Said at;
    for (std::size_t k = said_.size() - std::min(said_.size(), kReliabilityOperations);
         k < said_.size(); ++k) {
      at.said += said_[k].at(i).said;
      at.hits += said_[k].at(i).hits;
      at.n += said_[k].at(i).n;
    }
    if (at.n == 0) continue;
    const auto n = static_cast<double>(at.n);
    steps.push_back({at.said / n, static_cast<double>(at.hits) / n, at.n});
  }
  return steps;
}

DemoFigures DemoReport::summary() const {
  DemoFigures sum;
  for (const DemoFigures& figures : operations_) add_to(figures, sum);
  set_rates(sum);
  DemoErrors errors = errors_;
  set_errors(errors, sum);
  return sum;
}

bool DemoReport::succeeded() const noexcept {
  return !operations_.empty() && operations_.back().status == "SUCCESS";
}

void DemoReport::write_json(const Run& run, std::ostream& out) const {
  nlohmann::ordered_json document = {{"operations", nlohmann::ordered_json::array()}};
  for (const DemoFigures& figures : operations_) {
    auto operation = json_of(figures);
    operation["nominal"] = json_of(figures.nominal);
    operation["oracle"] = json_of(figures.oracle);
    document["operations"].push_back(std::move(operation));
  }
  document["summary"] = json_of(summary());
  document["summary"]["operations"] = operations_.size();
  document["summary"]["reliability"] = nlohmann::ordered_json::array();
  for (const ReliabilityStep& step : reliability()) {
    document["summary"]["reliability"].push_back(
        {{"said", step.said}, {"hit", step.hit}, {"n", step.n}});
  }
  document["summary"]["profile"] = name_of(run.profile);
  document["summary"]["seed"] = run.seed;
  document["summary"]["enrol_ms"] = run.enrol_ms;
  document["summary"]["total_s"] = run.total_s;
  // From a bucket's due to its first slot's publication.
  document["summary"]["lateness_us"] = {{"buckets", run.lateness.buckets},
                                        {"p50", microseconds(run.lateness.p50_ns)},
                                        {"p90", microseconds(run.lateness.p90_ns)},
                                        {"p99", microseconds(run.lateness.p99_ns)},
                                        {"max", microseconds(run.lateness.max_ns)}};
  out << document.dump(2) << '\n';
}

void DemoReport::write_table(const Run& run, std::ostream& out) const {
  out << fmt::format(kRow, "operation", "sent to", "skipped", "ready", "conflict", "straggler",
                     "rate", "coverage", "p50 ms", "p90 ms", "p99 ms", "engine us", "status");
  for (std::size_t i = 0; i < operations_.size(); ++i) {
    out << row_of(fmt::format("{}", i + 1), operations_[i]);
  }
  const DemoFigures sum = summary();
  out << row_of("all", sum);
  write_models(out);
  write_summary(run, out);
}

// Three models by the same answers, before and after the mesh had learned; and what its word is
// worth.
void DemoReport::write_models(std::ostream& out) const {
  if (operations_.empty() || !operations_.back().arrival_error_ms) return;  // nothing was measured
  const auto line = [&](std::string_view name, const DemoModel& model) {
    const std::optional<ErrorPercentiles>& errors = model.arrival_error_ms;
    out << fmt::format("{:>23} {:>8} {:>8} {:>8} {:>12}\n", name,
                       milliseconds(errors, &ErrorPercentiles::p50),
                       milliseconds(errors, &ErrorPercentiles::p90),
                       milliseconds(errors, &ErrorPercentiles::p99), percent(model.inside_50ms));
  };
  out << fmt::format("\n{:>23} {:>8} {:>8} {:>8} {:>12}\n", "by the same answers", "p50 ms",
                     "p90 ms", "p99 ms", "inside 50 ms");
  for (const std::size_t i : {std::size_t{0}, operations_.size() - 1}) {
    const DemoFigures& figures = operations_[i];
    out << fmt::format("operation {}\n", i + 1);
    line("nominal", figures.nominal);
    line("sent by", {figures.arrival_error_ms, {}, figures.inside_50ms});
    line("oracle", figures.oracle);
    if (operations_.size() == 1) break;
  }
  const std::vector<ReliabilityStep> steps = reliability();
  if (!steps.empty())
    out << "\nIn the last five operations, said to be within 50 ms of T, and so many were (of how "
           "many):\n";
  for (const ReliabilityStep& step : steps) {
    out << fmt::format("{:>23.2f} {:>8.2f} ({})\n", step.said, step.hit, step.n);
  }
}

void DemoReport::write_summary(const Run& run, std::ostream& out) const {
  if (operations_.empty()) return;
  const DemoFigures& last = operations_.back();
  out << fmt::format(
      "\nThe last operation: {}. {} agents in {} processes should all be READY at one moment T.\n"
      "{} were sent to, each early by its own lead time; {} of them became READY ({}), {} found\n"
      "a conflict, {} did not answer in time. That is {} of everybody (coverage).\n",
      last.status, last.targeted, last.processes, last.scheduled, last.ready, percent(last.rate),
      last.conflict, last.straggler, percent(last.coverage));
  if (const std::string skipped = list_of(skipped_); !skipped.empty()) {
    out << fmt::format("Not sent to, since they need longer than there was: {}.\n", skipped);
  }
  if (last.arrival_error_ms) {
    out << fmt::format(
        "Half of those that answered were within {:.1f} ms of T, 9 in 10 within "
        "{:.1f} ms;\n{} were inside 50 ms.\n",
        last.arrival_error_ms->p50, last.arrival_error_ms->p90, percent(last.inside_50ms));
  }
  if (last.arrival_error_low_jitter_ms) {
    out << fmt::format(
        "Of agents that are steady themselves (jitter under 2 ms): half within "
        "{:.1f} ms, 9 in 10\nwithin {:.1f} ms.\n",
        last.arrival_error_low_jitter_ms->p50, last.arrival_error_low_jitter_ms->p90);
  }
  if (last.swarm_late_ms) {
    out << fmt::format(
        "In these times is what answers waited for a processor here: half of them {:.1f} ms, 9 in "
        "10\nup to {:.1f} ms.\n",
        last.swarm_late_ms->p50, last.swarm_late_ms->p90);
  }
  out << fmt::format(
      "The engine itself took {:.0f} us to plan, {:.0f} us to send, {:.0f} us to "
      "gather; {} wake-ups took {:.0f} us.\n",
      last.plan_us, last.dispatch_us, last.gather_us, last.wakes, last.wake_us);
  if (run.lateness.buckets != 0) {
    out << fmt::format(
        "Of all sends half left within {:.1f} us of their moment, 99 in 100 within {:.1f} us.\n",
        microseconds(run.lateness.p50_ns), microseconds(run.lateness.p99_ns));
  }
  out << fmt::format(
      "Profile {}, seed {}. All agents were enrolled after {:.0f} ms; the whole run "
      "took {:.1f} s.\n",
      name_of(run.profile), run.seed, run.enrol_ms, run.total_s);
}

void write_trace_header(std::ostream& out) {
  out << "operation,agent,class,rtt_mean_ms,cv,bias,send_lead_us,sent_ns,finished_ns,target_ns,"
         "state,nominal_lead_us,confidence,drawn_us\n";
}

void write_trace(std::uint64_t operation, const DemoOperation& of, std::ostream& out) {
  const std::int64_t target_ns = to_ns(of.finished.target);
  std::string text;
  for (const DemoTarget& target : of.targets) {
    const engine::TargetTrace& trace = target.trace;
    fmt::format_to(std::back_inserter(text), "{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n",
                   operation, target.index,
                   sched::kAgentClasses[static_cast<std::size_t>(target.drawn.agent_class)].letter,
                   target.drawn.rtt_mean_ms, target.drawn.cv, target.bias,
                   when_sent(trace, trace.lead_us), number_or_nothing(trace.sent_ns),
                   number_or_nothing(trace.finished_ns), target_ns, static_cast<int>(trace.state),
                   when_sent(trace, trace.nominal_lead_us), when_sent(trace, trace.confidence),
                   when_sent(trace, target.drawn_ns / kNsPerUs));
    if (text.size() < kFlushBytes) continue;
    out << text;
    text.clear();
  }
  out << text;
}

}  // namespace mesh::tools
