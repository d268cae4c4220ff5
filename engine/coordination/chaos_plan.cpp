#include "engine/coordination/chaos_plan.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/ppm.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/chaos_harness.hpp"

namespace mesh::coordination {
namespace {

using chaos::Create;

bool is_possible(const ChaosAssertion& one) noexcept {
  const bool is_number = std::isfinite(one.value) && std::isfinite(one.value_high);
  const bool is_between = one.op != AssertionOp::between || one.value <= one.value_high;
  const bool is_width = one.op != AssertionOp::within_stddev || one.value >= 0;
  return is_name(one.metric) && is_number && is_between && is_width;
}
bool is_possible(const KillSwitch& one) noexcept {
  return is_name(one.metric) && one.op <= AssertionOp::eq && std::isfinite(one.threshold) &&
         is_duration(one.sustained);
}
bool is_possible(const BlockedWindow& one) noexcept {
  const bool is_span =
      one.from.count() >= 0 && one.from < one.to && one.to.count() <= kInstantMaxNs;
  return is_span && is_duration(one.every) &&
         (one.every.count() == 0 || one.to - one.from <= one.every);
}
bool ascends(const std::vector<std::uint32_t>& agents) noexcept {
  return std::adjacent_find(agents.begin(), agents.end(), std::greater_equal<>{}) == agents.end();
}
bool is_possible(const ChaosTargets& one) noexcept {
  switch (one.mode) {
    case TargetMode::specific:
      return !one.agents.empty() && ascends(one.agents);
    case TargetMode::random:
      return one.count >= 1;
    case TargetMode::percentage:
      return one.percentage_ppm >= 1 && one.percentage_ppm <= kPpm;
    default:
      return true;
  }
}
bool is_possible(const FaultParams& one) noexcept {
  const bool is_time = is_duration(one.add) && is_duration(one.jitter) &&
                       is_duration(one.restart_after) && one.offset.count() >= -kDurationMaxNs &&
                       one.offset.count() <= kDurationMaxNs;
  return is_time && one.rate_ppm <= kPpm && one.fill_ppm <= kPpm && one.factor_milli >= 1;
}
bool is_possible(const ChaosFault& one) noexcept {
  return is_possible(one.targets) && is_possible(one.params) && is_duration(one.duration) &&
         is_duration(one.ramp_up) && is_duration(one.ramp_down);
}
bool is_possible(const ChaosPhase& one) noexcept;
template <class Things>
bool all_possible(const Things& things) noexcept {
  return std::all_of(things.begin(), things.end(),
                     [](const auto& one) { return is_possible(one); });
}

Nanos duration_of(const std::vector<ChaosFault>& faults) noexcept {
  Nanos longest{0};
  for (const auto& fault : faults) longest = std::max(longest, fault.duration);
  return longest;
}
bool is_possible(const ChaosPhase& one) noexcept {
  const Nanos lasts = one.duration.count() != 0 ? one.duration : duration_of(one.faults);
  return (one.name.empty() || is_name(one.name)) && is_duration(one.delay_before) &&
         is_positive_duration(lasts) && all_possible(one.faults);
}

Errc check_hypothesis(const Hypothesis& one) noexcept {
  const bool has_any =
      !one.assertions.empty() && one.assertions.size() <= chaos_plan::kAssertionsMax;
  const bool is_sound = one.tolerance_ppm <= kPpm && is_positive_duration(one.window) &&
                        is_duration(one.cooldown) && one.cooldown.count() <= kDurationMaxNs / 4;
  if (!has_any || !is_sound) return Errc::invalid_config;
  return all_possible(one.assertions) ? Errc::ok : Errc::invalid_argument;
}
Errc check_safety(const ChaosSafety& one) noexcept {
  const bool is_sound = one.blast_radius_ppm >= 1 && one.blast_radius_ppm <= kPpm &&
                        one.concurrent_max >= 1 &&
                        one.kill_switches.size() <= chaos_plan::kSwitchesMax &&
                        one.blocked_windows.size() <= chaos_plan::kBlockedMax &&
                        one.preflight.size() <= chaos_plan::kAssertionsMax;
  if (!is_sound) return Errc::invalid_config;
  const bool are_possible = all_possible(one.kill_switches) && all_possible(one.preflight) &&
                            all_possible(one.blocked_windows);
  return are_possible ? Errc::ok : Errc::invalid_argument;
}

bool share_one(const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b) noexcept {
  for (auto i = a.begin(), k = b.begin(); i != a.end() && k != b.end();) {
    if (*i == *k) return true;
    *i < *k ? ++i : ++k;
  }
  return false;
}
// Two faults of one type cannot be given to one agent at one time.
bool clashes(const std::vector<ChaosFault>& faults) noexcept {
  for (std::size_t i = 0; i < faults.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      const bool are_named = faults[i].type == faults[k].type &&
                             faults[i].targets.mode == TargetMode::specific &&
                             faults[k].targets.mode == TargetMode::specific;
      if (are_named && share_one(faults[i].targets.agents, faults[k].targets.agents)) return true;
    }
  }
  return false;
}

chaos_plan::Assertion row_of(const ChaosAssertion& one) noexcept {
  return {chaos_plan::words_of(one.metric), one.op, one.value, one.value_high, one.aggregation};
}

// --- the hash of a plan ------------------------------------------------------------------------

class Mix {
 public:
  void add(std::uint64_t word) noexcept { state_ = SplitMix64(state_ ^ word).next(); }
  void add(Nanos value) noexcept { add(static_cast<std::uint64_t>(value.count())); }
  void add(double value) noexcept { add(std::bit_cast<std::uint64_t>(value)); }
  void add(const std::string& text) noexcept {
    const IdHash hash = hash_of(text);
    add(hash.low);
    add(hash.high);
  }
  void add(const ChaosAssertion& one) noexcept {
    add(one.metric);
    add(static_cast<std::uint64_t>(one.op) << 8 | static_cast<std::uint64_t>(one.aggregation));
    add(one.value);
    add(one.value_high);
  }
  void add(const ChaosTargets& one) noexcept {
    add(static_cast<std::uint64_t>(one.mode) << 8 | static_cast<std::uint64_t>(one.role));
    add(std::uint64_t{one.count} << 32 | one.percentage_ppm);
    add(one.labels);
    add(one.exclude_labels);
    add(std::uint64_t{one.which} << 32 | one.agents.size());
    for (const std::uint32_t agent : one.agents) add(std::uint64_t{agent});
  }
  void add(const FaultParams& one) noexcept {
    add(one.add);
    add(one.jitter);
    add(std::uint64_t{one.rate_ppm} << 32 | one.count);
    add(std::uint64_t{one.factor_milli} << 32 | one.fill_ppm);
    add(one.restart_after);
    add(one.offset);
    add(std::uint64_t{static_cast<std::uint32_t>(one.drift_ppm)} << 16 |
        static_cast<std::uint64_t>(one.variant) << 1 | (one.is_one_way ? 1U : 0U));
  }
  void add(const ChaosFault& one) noexcept {
    add(static_cast<std::uint64_t>(one.type));
    add(one.targets);
    add(one.params);
    add(one.duration);
    add(one.ramp_up);
    add(one.ramp_down);
    add(std::uint64_t{one.draw});
  }
  template <class Things>
  void add_all(const Things& things) noexcept {
    add(std::uint64_t{things.size()});
    for (const auto& one : things) add(one);
  }
  [[nodiscard]] std::uint64_t value() const noexcept { return state_; }

 private:
  std::uint64_t state_ = 0;
};

}  // namespace

std::uint64_t plan_hash(const Create& plan) noexcept {
  Mix mix;
  mix.add_all(plan.hypothesis.assertions);
  mix.add(std::uint64_t{plan.hypothesis.tolerance_ppm});
  mix.add(plan.hypothesis.window);
  mix.add(plan.hypothesis.cooldown);
  mix.add(std::uint64_t{plan.phases.size()});
  for (const auto& phase : plan.phases) {
    mix.add_all(phase.faults);
    mix.add(phase.delay_before);
    mix.add(phase.duration);
    mix.add(std::uint64_t{phase.verify_after} << 1 | std::uint64_t{phase.abort_on_violation});
  }
  mix.add_all(plan.faults);
  mix.add(plan.seed);
  return mix.value();
}

Errc ChaosHarness::check_plan(const Create& order, const ChaosSafety& safety) const noexcept {
  const bool is_described = order.description.empty() || is_name(order.description);
  if (!is_name(order.name) || !is_described) return Errc::invalid_id;
  const Errc hypothesis = check_hypothesis(order.hypothesis);
  if (hypothesis != Errc::ok) return hypothesis;
  const Errc rules = check_safety(safety);
  if (rules != Errc::ok) return rules;
  const bool has_plan = order.phases.empty() != order.faults.empty();
  std::size_t faults = order.faults.size();
  std::size_t named = 0;
  bool is_clean = !clashes(order.faults);
  const auto count_named = [&](const std::vector<ChaosFault>& of) {
    for (const auto& fault : of) named += fault.targets.agents.size();
  };
  count_named(order.faults);
  for (const auto& phase : order.phases) {
    faults += phase.faults.size();
    is_clean = is_clean && !clashes(phase.faults);
    count_named(phase.faults);
  }
  const bool fits = order.phases.size() <= chaos_plan::kPhasesMax &&
                    faults <= chaos_plan::kFaultsMax &&
                    named <= std::size_t{chaos_plan::kNamedPerAgent} * config_.agents_max;
  if (!fits) return Errc::capacity;
  const bool lasts = order.faults.empty() || is_positive_duration(duration_of(order.faults));
  const bool is_start = order.starts_at.count() >= 0 && order.starts_at.count() <= kInstantMaxNs;
  const bool are_possible = has_plan && is_clean && lasts && is_start &&
                            all_possible(order.faults) && all_possible(order.phases);
  return are_possible ? Errc::ok : Errc::invalid_argument;
}

namespace {

void store_fault(const ChaosFault& from, Nanos phase, chaos_plan::Plan& plan) noexcept {
  chaos_plan::Fault row;
  row.type = from.type;
  row.mode = from.targets.mode;
  row.role = from.targets.role;
  row.which = from.targets.which;
  row.count = from.targets.count;
  row.percentage_ppm = from.targets.percentage_ppm;
  row.labels = from.targets.labels;
  row.exclude_labels = from.targets.exclude_labels;
  row.named = {static_cast<std::uint32_t>(plan.agents.size()),
               static_cast<std::uint32_t>(from.targets.agents.size())};
  row.draw = from.draw != 0 ? from.draw - 1 : static_cast<std::uint32_t>(plan.faults.size());
  row.params = from.params;
  row.times = {from.duration.count() != 0 ? from.duration : phase, from.ramp_up, from.ramp_down};
  plan.agents.insert(plan.agents.end(), from.targets.agents.begin(), from.targets.agents.end());
  plan.faults.push_back(row);
}

void store_phase(const ChaosPhase& shape, const std::vector<ChaosFault>& faults,
                 chaos_plan::Plan& plan) noexcept {
  chaos_plan::Phase row;
  row.delay_before = shape.delay_before;
  row.duration = shape.duration.count() != 0 ? shape.duration : duration_of(faults);
  row.verify_after = shape.verify_after;
  row.abort_on_violation = shape.abort_on_violation;
  row.first_fault = static_cast<std::uint32_t>(plan.faults.size());
  row.faults = static_cast<std::uint32_t>(faults.size());
  for (const auto& fault : faults) store_fault(fault, row.duration, plan);
  plan.phases.push_back(row);
}

}  // namespace

// Everything was reserved: nothing here allocates.
void ChaosHarness::store_plan(const Create& order, const ChaosSafety& safety,
                              chaos_plan::Plan& plan) noexcept {
  for (const auto& phase : order.phases) store_phase(phase, phase.faults, plan);
  if (order.phases.empty()) store_phase(ChaosPhase{}, order.faults, plan);
  for (const auto& one : order.hypothesis.assertions) plan.assertions.push_back(row_of(one));
  for (const auto& one : safety.preflight) plan.preflight.push_back(row_of(one));
  for (const auto& one : safety.kill_switches) {
    chaos_plan::Switch row;
    row.metric = chaos_plan::words_of(one.metric);
    row.op = one.op;
    row.threshold = one.threshold;
    row.sustained = one.sustained;
    plan.switches.push_back(row);
  }
  plan.blocked.assign(safety.blocked_windows.begin(), safety.blocked_windows.end());
  chaos_plan::Rules& rules = plan.rules;
  rules.blast_radius_ppm = safety.blast_radius_ppm;
  rules.healthy_min = safety.healthy_min;
  rules.auto_rollback = safety.auto_rollback;
  rules.require_approval = safety.require_approval;
  rules.concurrent_max = safety.concurrent_max;
  rules.is_strict = safety.is_strict;
  rules.tolerance_ppm = order.hypothesis.tolerance_ppm;
  rules.window = order.hypothesis.window;
  rules.cooldown = order.hypothesis.cooldown;
  rules.starts_at = order.starts_at;
  rules.seed = order.seed;
  rules.hash = plan_hash(order);
}

namespace chaos_plan {

void Experiment::reserve(const ChaosConfig& config) {
  name.reserve(kNameBytesMax);
  description.reserve(kNameBytesMax);
  plan.phases.reserve(kPhasesMax);
  plan.faults.reserve(kFaultsMax);
  plan.agents.reserve(std::size_t{kNamedPerAgent} * config.agents_max);
  plan.assertions.reserve(kAssertionsMax);
  plan.preflight.reserve(kAssertionsMax);
  plan.switches.reserve(kSwitchesMax);
  plan.blocked.reserve(kBlockedMax);
  findings.reserve(kFindingsMax);
  timeline.reserve(config.timeline_max);
  issues.reserve(kIssuesMax);
  baseline.resize(config.metrics_max);
  during.resize(config.metrics_max);
}

void Experiment::clear() noexcept {
  name.clear();
  description.clear();
  plan.phases.clear();
  plan.faults.clear();
  plan.agents.clear();
  plan.assertions.clear();
  plan.preflight.clear();
  plan.switches.clear();
  plan.blocked.clear();
  plan.rules = {};
  course = {};
  outcome = {};
  findings.clear();
  timeline.clear();
  issues.clear();
  std::fill(baseline.begin(), baseline.end(), Welford{});
  std::fill(during.begin(), during.end(), Welford{});
}

}  // namespace chaos_plan
}  // namespace mesh::coordination
