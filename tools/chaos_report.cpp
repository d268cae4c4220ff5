#include "tools/chaos_report.hpp"

#include <array>
#include <ostream>
#include <string>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/chaos/live_driver.hpp"
#include "engine/simulation/chaos_scenarios.hpp"
#include "shm/hash.hpp"
#include "tools/text.hpp"

namespace mesh::tools {
namespace of_chaos_report {
namespace {

using coordination::AssertionOp;
using coordination::ChaosAssertion;
using coordination::ChaosFault;
using coordination::FaultParams;
using coordination::FaultType;
using coordination::FaultVariant;
using coordination::Finding;
using coordination::InjectionStatus;
using coordination::VerifyPoint;
using engine::simulation::ChaosCoverage;
using engine::simulation::CoverState;
using engine::simulation::kCoverStates;
using Json = nlohmann::ordered_json;

template <std::size_t count, class Enum>
const char* name_in(const std::array<const char*, count>& names, Enum value) {
  const auto at = static_cast<std::size_t>(value);
  return at < count ? names[at] : "unknown";
}
constexpr std::array kOps{"<", "<=", ">", ">=", "==", "between", "within_stddev"};
constexpr std::array kAggregations{"avg", "min", "max", "sum", "count",
                                   "p50", "p95", "p99", "rate"};
constexpr std::array kPoints{"preflight", "precheck", "phase", "recovery"};
constexpr std::array kStatuses{"ordered", "acting", "undoing", "undone", "lapsed", "refused"};
constexpr std::array kVariants{"",           "ring",       "pool",    "memory",    "journal_disk",
                               "equivocate", "wrong_hash", "stale",   "flip_vote", "impedance_lie",
                               "429",        "500",        "timeout", "for_good"};
static_assert(kVariants.size() == static_cast<std::size_t>(last_of(FaultVariant{})) + 1);
static_assert(kStatuses.size() == static_cast<std::size_t>(last_of(InjectionStatus{})) + 1);
static_assert(kPoints.size() == static_cast<std::size_t>(last_of(VerifyPoint{})) + 1);
static_assert(kOps.size() == static_cast<std::size_t>(last_of(AssertionOp{})) + 1);

std::string text_of(const ChaosAssertion& one) {
  std::string text = fmt::format("{} {} {} {}", name_in(kAggregations, one.aggregation),
                                 printable(one.metric), name_in(kOps, one.op), one.value);
  if (one.op == AssertionOp::between) text += fmt::format(" and {}", one.value_high);
  return text;
}

const ChaosAssertion* assertion_of(const PlayedExperiment& played, const Finding& finding) {
  const auto& plan = played.experiment.plan;
  const auto& list =
      finding.point == VerifyPoint::preflight ? plan.safety.preflight : plan.hypothesis.assertions;
  return finding.assertion < list.size() ? &list[finding.assertion] : nullptr;
}

Json finding_json(const PlayedExperiment& played, const Finding& finding) {
  const ChaosAssertion* const its = assertion_of(played, finding);
  const bool has_value = finding.verdict != coordination::Verdict::no_data;
  return {{"point", name_in(kPoints, finding.point)},
          {"phase", finding.phase},
          {"assertion", its == nullptr ? Json(nullptr) : Json(text_of(*its))},
          {"actual", has_value ? Json(finding.actual) : Json(nullptr)},
          {"verdict", to_string(finding.verdict)}};
}

Json impact_json(const coordination::ChaosImpact& impact) {
  const auto known = [](bool is_known, double value) {
    return is_known ? Json(value) : Json(nullptr);
  };
  const double recovery_s = static_cast<double>(impact.recovery_time.count()) / kNsPerSecond;
  return {{"availability_drop", known(impact.has_availability, impact.availability_drop)},
          {"latency_factor", known(impact.has_latency, impact.latency_factor)},
          {"error_increase", known(impact.has_errors, impact.error_increase)},
          {"throughput_drop", known(impact.has_throughput, impact.throughput_drop)},
          {"recovery_s", known(impact.has_recovered, recovery_s)},
          {"cascade_depth", impact.cascade_depth},
          {"affected", impact.affected}};
}

std::string hash_of(const engine::simulation::SimulatedRun& run) {
  return fmt::format("{:016x}", shm::hash64(engine::simulation::bytes_of(run)));
}
double seconds_of(Nanos time) { return static_cast<double>(time.count()) / kNsPerSecond; }

// What a driver does of a type: "yes", "no", or the variants that it does.
template <class Check>
std::string does(FaultType type, Check&& check) {
  std::string variants;
  for (std::size_t i = 0; i < kVariants.size(); ++i) {
    FaultParams params;
    params.variant = static_cast<FaultVariant>(i);
    if (check(type, params) != Errc::ok) continue;
    if (i == 0) return "yes";
    variants += (variants.empty() ? "" : ", ") + std::string(kVariants[i]);
  }
  return variants.empty() ? "no" : variants;
}
std::string simulated(FaultType type) {
  return does(type, [](FaultType its, const FaultParams& params) {
    return engine::simulation::ChaosMesh::check(its, params);
  });
}
std::string live(FaultType type) { return does(type, engine::LiveDriver::check); }

void put_chaos_json(const PlayedExperiment& played, std::ostream& out) {
  const auto& [experiment, run] = played;
  const auto& report = run.report;
  Json findings = Json::array();
  for (const Finding& finding : report.findings) findings.push_back(finding_json(played, finding));
  Json injections = Json::array();
  for (const auto& one : report.injections) {
    injections.push_back({{"fault", to_string(one.type)},
                          {"agents", one.targets},
                          {"status", name_in(kStatuses, one.status)},
                          {"code", std::string(name_of(one.code))}});
  }
  Json issues = Json::array();
  for (const auto& one : report.issues) {
    issues.push_back({{"category", to_string(one.category)},
                      {"phase", one.phase},
                      {"code", std::string(name_of(one.code))}});
  }
  const Json object = {
      {"name", printable(experiment.plan.name)}, {"seed", experiment.plan.seed},
      {"plan_hash", report.plan_hash},           {"held", run.has_held},
      {"state", to_string(report.state)},        {"reason", to_string(report.reason)},
      {"virtual_s", seconds_of(run.took)},       {"log_hash", hash_of(run)},
      {"impact", impact_json(report.impact)},    {"findings", std::move(findings)},
      {"injections", std::move(injections)},     {"issues", std::move(issues)}};
  out << object.dump(2) << '\n';
}

void put_chaos_text(const PlayedExperiment& played, std::ostream& out) {
  const auto& [experiment, run] = played;
  const auto& report = run.report;
  out << fmt::format("{}, seed {}: {}, {:.1f} virtual seconds, log {}\n",
                     printable(experiment.plan.name), experiment.plan.seed,
                     run.has_held ? "held" : "NOT HELD", seconds_of(run.took), hash_of(run));
  for (const auto& one : report.injections) {
    out << fmt::format("  {} on {} agents: {}\n", to_string(one.type), one.targets,
                       name_in(kStatuses, one.status));
  }
  for (const Finding& finding : report.findings) {
    const ChaosAssertion* const its = assertion_of(played, finding);
    const bool has_value = finding.verdict != coordination::Verdict::no_data;
    out << fmt::format("  {:9} {:42} {:>10} {}\n", name_in(kPoints, finding.point),
                       its == nullptr ? "?" : text_of(*its),
                       has_value ? fmt::format("{:.4g}", finding.actual) : "-",
                       to_string(finding.verdict));
  }
  for (const auto& one : report.issues)
    out << fmt::format("  issue: {}, phase {}\n", to_string(one.category), one.phase);
  if (report.impact.cascade_depth > experiment.cascade_depth_max)
    out << fmt::format("  a failure went on {} times; at most {}\n", report.impact.cascade_depth,
                       experiment.cascade_depth_max);
}

void put_coverage_json(const ChaosCoverage& coverage, std::ostream& out) {
  Json pairs = Json::array();
  for (std::size_t i = 0; i < kCoverStates; ++i) {
    for (std::size_t j = 0; j < coordination::kFaultTypes; ++j) {
      const auto state = static_cast<CoverState>(i);
      const auto fault = static_cast<FaultType>(j);
      pairs.push_back({{"state", to_string(state)},
                       {"fault", to_string(fault)},
                       {"seen", coverage.seen(state, fault)}});
    }
  }
  const Json object = {{"covered", coverage.pairs()},
                       {"of", kCoverStates * coordination::kFaultTypes},
                       {"pairs", std::move(pairs)}};
  out << object.dump(2) << '\n';
}

// A row a fault that anything tried, with the states that it met.
void put_coverage_text(const ChaosCoverage& coverage, std::ostream& out) {
  out << fmt::format("{} of {} pairs of a state and a fault were seen\n", coverage.pairs(),
                     kCoverStates * coordination::kFaultTypes);
  for (std::size_t j = 0; j < coordination::kFaultTypes; ++j) {
    const auto fault = static_cast<FaultType>(j);
    std::string met;
    for (std::size_t i = 0; i < kCoverStates; ++i) {
      const auto state = static_cast<CoverState>(i);
      if (coverage.seen(state, fault) == 0) continue;
      met += fmt::format("{}{}", met.empty() ? "" : ", ", to_string(state));
    }
    out << fmt::format("  {:24} {}\n", to_string(fault), met.empty() ? "-" : met);
  }
}

void put_faults_json(std::ostream& out) {
  Json scenarios = Json::array();
  for (const auto& one : engine::simulation::scenarios::all())
    scenarios.push_back({{"name", one.name}, {"about", one.about}});
  Json guards = Json::array();
  for (const auto& one : engine::simulation::scenarios::guards()) guards.push_back(one.name);
  Json faults = Json::array();
  for (std::size_t i = 0; i < coordination::kFaultTypes; ++i) {
    const auto type = static_cast<FaultType>(i);
    faults.push_back(
        {{"name", to_string(type)}, {"simulated", simulated(type)}, {"live", live(type)}});
  }
  const Json object = {{"scenarios", std::move(scenarios)},
                       {"guards", std::move(guards)},
                       {"faults", std::move(faults)}};
  out << object.dump(2) << '\n';
}

void put_faults_text(std::ostream& out) {
  out << "Scenarios (mesh chaos run NAME):\n";
  for (const auto& one : engine::simulation::scenarios::all())
    out << fmt::format("  {:20} {}\n", one.name, one.about);
  out << "\nGuards (--without NAME):\n ";
  for (const auto& one : engine::simulation::scenarios::guards()) out << ' ' << one.name;
  out << fmt::format("\n\n{:26} {:16} {}\n", "Faults", "simulated", "live");
  for (std::size_t i = 0; i < coordination::kFaultTypes; ++i) {
    const auto type = static_cast<FaultType>(i);
    out << fmt::format("  {:24} {:16} {}\n", to_string(type), simulated(type), live(type));
  }
}

}  // namespace
}  // namespace of_chaos_report

void write_chaos_json(const PlayedExperiment& played, std::ostream& out) {
  of_chaos_report::put_chaos_json(played, out);
}
void write_chaos_text(const PlayedExperiment& played, std::ostream& out) {
  of_chaos_report::put_chaos_text(played, out);
}
void write_coverage_json(const engine::simulation::ChaosCoverage& coverage, std::ostream& out) {
  of_chaos_report::put_coverage_json(coverage, out);
}
void write_coverage_text(const engine::simulation::ChaosCoverage& coverage, std::ostream& out) {
  of_chaos_report::put_coverage_text(coverage, out);
}
void write_faults_json(std::ostream& out) { of_chaos_report::put_faults_json(out); }
void write_faults_text(std::ostream& out) { of_chaos_report::put_faults_text(out); }

}  // namespace mesh::tools
