// ChaosHarness: what is judged, what is noted, and the report of an experiment.
#include <algorithm>

#include "engine/coordination/chaos_harness.hpp"

namespace mesh::coordination {

void ChaosHarness::note(Experiment& one, const TimelineEntry& entry) noexcept {
  if (one.timeline.size() == config_.timeline_max) {
    ++counters_.notes_lost;
  } else {
    one.timeline.push_back(entry);  // reserved
  }
}

void ChaosHarness::note_issue(Experiment& one, const Complaint& complaint,
                              std::int64_t now_ns) noexcept {
  if (one.issues.size() == chaos_plan::kIssuesMax) {
    ++counters_.notes_lost;
    return;
  }
  one.issues.push_back({complaint.severity, complaint.category, one.course.phase, complaint.fault,
                        complaint.code, Nanos{now_ns}, one.plan.rules.seed, one.plan.rules.hash});
}

// How many failed. The metric of an assertion is there: Start has looked.
std::uint32_t ChaosHarness::judge_all(Experiment& one,
                                      const std::vector<chaos_plan::Assertion>& assertions,
                                      const Point& point) noexcept {
  std::uint32_t failed = 0;
  for (std::uint32_t i = 0; i < assertions.size(); ++i) {
    const chaos_plan::Assertion& row = assertions[i];
    Finding finding;
    finding.point = point.kind;
    finding.phase = one.course.phase;
    finding.assertion = i;
    finding.at = Nanos{point.span.to_ns};
    const std::uint32_t metric = metrics_.find(chaos_plan::hash_in(row.metric));
    MetricValue seen;
    if (metric != MetricWindows::kNone) {
      seen = metrics_.aggregate(metric, row.aggregation, point.span);
    }
    finding.actual = seen.value;
    if (!seen.has_data) {
      finding.verdict = Verdict::no_data;
    } else if (seen.is_overrun) {
      finding.verdict = Verdict::overrun;
    } else {
      finding.verdict =
          judge({row.op, row.value, row.value_high}, seen.value, one.baseline[metric]);
    }
    failed += finding.verdict == Verdict::passed ? 0U : 1U;
    if (one.findings.size() == chaos_plan::kFindingsMax) {
      ++counters_.notes_lost;
    } else {
      one.findings.push_back(finding);  // reserved
    }
  }
  return failed;
}

bool ChaosHarness::verify_point(Experiment& one, const Point& point, std::int64_t now_ns) noexcept {
  const bool is_preflight = point.kind == VerifyPoint::preflight;
  const auto& assertions = is_preflight ? one.plan.preflight : one.plan.assertions;
  const std::size_t first = one.findings.size();
  const std::uint32_t failed = judge_all(one, assertions, point);
  const std::uint32_t allowed =
      is_preflight ? 0 : failures_allowed(assertions.size(), one.plan.rules.tolerance_ppm);
  note(one, {Nanos{now_ns}, TimelineKind::verify, failed, allowed});
  if (failed <= allowed) return true;
  const auto found =
      std::find_if(one.findings.begin() + static_cast<std::ptrdiff_t>(first), one.findings.end(),
                   [](const Finding& finding) { return finding.verdict != Verdict::passed; });
  const bool is_blind = found != one.findings.end() && found->verdict == Verdict::no_data;
  note_issue(one,
             {IssueSeverity::error, is_blind ? IssueCategory::no_data : IssueCategory::hypothesis,
              kNoFault, Errc::verification_failed},
             now_ns);
  return false;
}

// --- what is seen from outside -----------------------------------------------------------------

ExperimentState ChaosHarness::state(std::uint32_t experiment) const noexcept {
  return experiment_slots_.is_used(experiment) ? experiments_[experiment].course.state
                                               : ExperimentState::none;
}

std::uint32_t ChaosHarness::in_force() const noexcept { return armed_; }

FaultWord ChaosHarness::word(std::uint32_t agent) const noexcept {
  FaultWord word;
  if (armed_ == 0 || agent >= config_.agents_max) return word;
  std::uint64_t newest = 0;
  for (std::uint32_t slot = 0; slot < config_.injections_max; ++slot) {
    const Injection& one = injections_[slot];
    const bool is_its = injection_slots_.is_used(slot) && !chaos_plan::is_settled(one.status) &&
                        one.id > newest && is_target(slot, agent);
    if (!is_its) continue;
    newest = one.id;
    const chaos_plan::Fault& fault = experiments_[one.experiment].plan.faults[one.fault];
    word = {true, fault.type, fault.params.rate_ppm, Nanos{one.expires_ns}};
    if (fault.type == FaultType::agent_slowdown) word.parameter = fault.params.factor_milli;
    if (fault.type == FaultType::latency_spike) {
      word.parameter = static_cast<std::uint32_t>(
          std::min<std::int64_t>(UINT32_MAX, fault.params.add.count() / 1'000));
    }
  }
  return word;
}

bool ChaosHarness::has_held(std::uint32_t experiment) const noexcept {
  if (state(experiment) != ExperimentState::completed) return false;
  const chaos_plan::Outcome& outcome = experiments_[experiment].outcome;
  return outcome.has_passed_precheck && outcome.violations == 0 && outcome.trips == 0 &&
         outcome.not_injected == 0 && outcome.has_recovered;
}

std::uint32_t ChaosHarness::metric_named(std::string_view name) const noexcept {
  return metrics_.find(hash_of(name));
}

ChaosImpact ChaosHarness::impact_of(const Experiment& one) const noexcept {
  ChaosImpact impact;
  const auto means = [&](std::string_view name, auto&& say) {
    const std::uint32_t metric = metric_named(name);
    if (metric == MetricWindows::kNone) return false;
    const bool has_both = one.baseline[metric].n != 0 && one.during[metric].n != 0;
    if (has_both) say(one.baseline[metric].mean, one.during[metric].mean);
    return has_both;
  };
  const auto drop = [&](double before, double during) {
    impact.availability_drop = std::max(0.0, before - during);
  };
  impact.has_availability = means("availability", drop) || means("success_rate", drop);
  impact.has_latency = means("latency_ms", [&](double before, double during) {
    impact.latency_factor = before > 0 ? during / before : 1;
  });
  impact.has_errors = means(
      "error_rate", [&](double before, double during) { impact.error_increase = during - before; });
  impact.has_throughput = means("throughput", [&](double before, double during) {
    impact.throughput_drop = before > 0 ? 1 - during / before : 0;
  });
  impact.has_recovered = one.outcome.has_recovered;
  impact.recovery_time = Nanos{one.outcome.recovery_ns};
  impact.cascade_depth = one.outcome.cascade_depth;
  impact.affected = one.outcome.affected_max;
  return impact;
}

ChaosReport ChaosHarness::report(std::uint32_t experiment) const {
  ChaosReport report;
  if (!experiment_slots_.is_used(experiment)) return report;
  const Experiment& one = experiments_[experiment];
  report.state = one.course.state;
  report.hypothesis_held = has_held(experiment);
  report.reason = one.course.reason;
  report.was_rolled_back =
      one.outcome.has_passed_precheck && one.course.reason != ChaosReason::none;
  report.seed = one.plan.rules.seed;
  report.plan_hash = one.plan.rules.hash;
  report.impact = impact_of(one);
  report.findings = one.findings;
  report.timeline = one.timeline;
  report.issues = one.issues;
  for (std::uint32_t slot = 0; slot < config_.injections_max; ++slot) {
    const Injection& its = injections_[slot];
    if (!injection_slots_.is_used(slot) || its.experiment != experiment) continue;
    report.injections.push_back(
        {its.id, its.fault, one.plan.faults[its.fault].type, its.status, its.code, its.targets});
  }
  std::sort(report.injections.begin(), report.injections.end(),
            [](const auto& a, const auto& b) { return a.injection < b.injection; });
  return report;
}

}  // namespace mesh::coordination
