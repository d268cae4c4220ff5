#include "tools/demo_report.hpp"

#include <iterator>
#include <ostream>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "sched/share.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::tools {
namespace {

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

void set_errors(const ModelErrors& errors, DemoFigures& figures) {
  figures.errors = errors.ran.figures();
  figures.nominal = errors.nominal.figures();
  figures.oracle = errors.oracle.figures();
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

nlohmann::ordered_json json_of(const ErrorFigures& figures) {
  return {{"arrival_error_ms", json_of(figures.arrival_error_ms)},
          {"arrival_error_low_jitter_ms", json_of(figures.arrival_error_low_jitter_ms)},
          {"inside_50ms", json_of(figures.inside_50ms)}};
}

nlohmann::ordered_json json_of(const Reliability& reliability) {
  auto steps = nlohmann::ordered_json::array();
  for (const Reliability::Step& step : reliability.steps()) {
    steps.push_back({{"said", step.said}, {"hit", step.hit}, {"n", step.n}});
  }
  return steps;
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
          {"arrival_error_ms", json_of(figures.errors.arrival_error_ms)},
          {"arrival_error_low_jitter_ms", json_of(figures.errors.arrival_error_low_jitter_ms)},
          {"inside_50ms", json_of(figures.errors.inside_50ms)},
          {"nominal", json_of(figures.nominal)},
          {"oracle", json_of(figures.oracle)},
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

constexpr std::string_view kModelRow = "{:>9}  {:<9} {:>8} {:>8} {:>8} {:>9} {:>10}\n";

std::string row_of(std::string_view name, const DemoFigures& figures) {
  const std::optional<ErrorPercentiles>& errors = figures.errors.arrival_error_ms;
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

std::string number_or_nothing(std::int64_t ns) {
  return ns == 0 ? std::string() : fmt::format("{}", ns);
}

template <class T>
std::string when_sent(const engine::TargetTrace& trace, T value) {
  return trace.sent_ns == 0 ? std::string() : fmt::format("{}", value);
}

}  // namespace

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
  ModelErrors errors;
  Reliability reliability;
  for (const DemoTarget& target : operation.targets) {
    if (target.trace.sent_ns == 0) continue;
    if (answered(target.trace)) errors.add(target, operation.finished.target);
    reliability.add(target, operation.finished.target);
  }
  set_errors(errors, figures);
  errors_.add(errors);
  reliability_.push_back(reliability);
  skipped_ = {};
  for (const DemoTarget& target : operation.targets) {
    if (target.trace.sent_ns == 0) {
      ++skipped_.at(static_cast<std::size_t>(target.drawn.agent_class));
    }
  }
  operations_.push_back(std::move(figures));
}

DemoFigures DemoReport::summary() const {
  DemoFigures sum;
  for (const DemoFigures& figures : operations_) add_to(figures, sum);
  set_rates(sum);
  set_errors(errors_, sum);
  return sum;
}

Reliability DemoReport::reliability() const {
  Reliability sum;
  for (std::size_t i = reliability_.size() / 2; i < reliability_.size(); ++i) {
    sum.add(reliability_[i]);
  }
  return sum;
}

bool DemoReport::succeeded() const noexcept {
  return !operations_.empty() && operations_.back().status == "SUCCESS";
}

void DemoReport::write_json(const Run& run, std::ostream& out) const {
  nlohmann::ordered_json document = {{"operations", nlohmann::ordered_json::array()}};
  for (const DemoFigures& figures : operations_) {
    document["operations"].push_back(json_of(figures));
  }
  document["summary"] = json_of(summary());
  document["summary"]["reliability"] = json_of(reliability());
  document["summary"]["operations"] = operations_.size();
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

// First and last operation by the three, and how far a confidence may be believed.
void DemoReport::write_models(std::ostream& out) const {
  if (!summary().errors.arrival_error_ms) return;
  out << "\nThe same answers, had they been sent by other leads. An oracle knows each agent's "
         "true\n"
         "median: what it misses is the agents' own jitter.\n";
  out << fmt::format(kModelRow, "operation", "sent by", "p50 ms", "p90 ms", "p99 ms", "in 50 ms",
                     "steady p90");
  const auto write = [&](std::size_t number, const DemoFigures& figures) {
    for (const auto& [name, errors] :
         {std::pair{"this mesh", &figures.errors}, std::pair{"nominal", &figures.nominal},
          std::pair{"oracle", &figures.oracle}}) {
      const std::optional<ErrorPercentiles>& all = errors->arrival_error_ms;
      out << fmt::format(kModelRow, number, name, milliseconds(all, &ErrorPercentiles::p50),
                         milliseconds(all, &ErrorPercentiles::p90),
                         milliseconds(all, &ErrorPercentiles::p99), percent(errors->inside_50ms),
                         milliseconds(errors->arrival_error_low_jitter_ms, &ErrorPercentiles::p90));
    }
  };
  write(1, operations_.front());
  if (operations_.size() > 1) write(operations_.size(), operations_.back());
  out << "\nOf sends that were said to arrive within 50 ms of T (last half of the operations):\n";
  for (const Reliability::Step& step : reliability().steps()) {
    out << fmt::format("  said {:>6}  did {:>6}  {:<40}  of {}\n", percent(step.said),
                       percent(step.hit),
                       std::string(static_cast<std::size_t>(step.hit * 40 + 0.5), '#'), step.n);
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
  if (last.errors.arrival_error_ms) {
    out << fmt::format(
        "Half of those that answered were within {:.1f} ms of T, 9 in 10 within "
        "{:.1f} ms;\n{} were inside 50 ms.\n",
        last.errors.arrival_error_ms->p50, last.errors.arrival_error_ms->p90,
        percent(last.errors.inside_50ms));
  }
  if (last.errors.arrival_error_low_jitter_ms) {
    out << fmt::format(
        "Of agents that are steady themselves (jitter under 2 ms): half within "
        "{:.1f} ms, 9 in 10\nwithin {:.1f} ms.\n",
        last.errors.arrival_error_low_jitter_ms->p50, last.errors.arrival_error_low_jitter_ms->p90);
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
         "state,nominal_lead_us,oracle_lead_us,confidence\n";
}

void write_trace(std::uint64_t operation, const DemoOperation& of, std::ostream& out) {
  const std::int64_t target_ns = to_ns(of.finished.target);
  std::string text;
  for (const DemoTarget& target : of.targets) {
    const engine::TargetTrace& trace = target.trace;
    fmt::format_to(
        std::back_inserter(text), "{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", operation,
        target.index,
        sched::kAgentClasses[static_cast<std::size_t>(target.drawn.agent_class)].letter,
        target.drawn.rtt_mean_ms, target.drawn.cv, target.bias, when_sent(trace, trace.lead_us),
        number_or_nothing(trace.sent_ns), number_or_nothing(trace.finished_ns), target_ns,
        static_cast<int>(trace.state), when_sent(trace, trace.nominal_lead_us),
        when_sent(trace, target.oracle_lead_ns / kNsPerUs), when_sent(trace, trace.confidence));
    if (text.size() < kFlushBytes) continue;
    out << text;
    text.clear();
  }
  out << text;
}

}  // namespace mesh::tools
