// ChaosHarness: who is struck, whether that may be, and the record of it that stands before the
// order leaves.
#include <algorithm>

#include "engine/coordination/chaos_harness.hpp"

namespace mesh::coordination {

bool ChaosHarness::is_taken(FaultType type, std::uint32_t agent) const noexcept {
  if (armed_ == 0) return false;
  for (std::uint32_t slot = 0; slot < config_.injections_max; ++slot) {
    const Injection& one = injections_[slot];
    if (!injection_slots_.is_used(slot) || chaos_plan::is_settled(one.status)) continue;
    const bool is_same = experiments_[one.experiment].plan.faults[one.fault].type == type;
    if (is_same && is_target(slot, agent)) return true;
  }
  return false;
}

ChaosHarness::Withheld ChaosHarness::choose(const Experiment& one, std::uint32_t fault,
                                            std::span<const std::uint32_t>& targets) noexcept {
  const chaos_plan::Fault& its = one.plan.faults[fault];
  const ChaosAgents::Wanted wanted{its.mode,           its.role,   its.which,         its.count,
                                   its.percentage_ppm, its.labels, its.exclude_labels};
  const auto taken = [&](std::uint32_t agent) { return is_taken(its.type, agent); };
  const std::span named(one.plan.agents.data() + its.named.first, its.named.count);
  targets = agents_.select(wanted, named, one.plan.rules.seed + its.draw, taken);
  // Symmetric, it isolates one side as much as the other: the smaller one is the affected one.
  if (its.type == FaultType::partition && !its.params.is_one_way) {
    targets = agents_.smaller_side(targets);
  }
  if (targets.empty()) return {Errc::no_candidate, Refusal::none};
  if (std::any_of(targets.begin(), targets.end(), taken)) return {Errc::conflict, Refusal::none};
  const bool is_allowed = config_.driver == ChaosDriver::simulated ||
                          std::all_of(targets.begin(), targets.end(), [this](std::uint32_t agent) {
                            return agents_.has_label(agent, 1);
                          });
  if (!is_allowed) return {Errc::not_authorized, Refusal::none};
  const std::uint32_t affected = agents_.affected_with(targets);
  const chaos_plan::Rules& rules = one.plan.rules;
  const bool is_within = affected <= blast_limit(agents_.count(), rules.blast_radius_ppm) &&
                         agents_.count() - affected >= rules.healthy_min;
  if (!is_within) return {Errc::ok, Refusal::rejected_policy};
  if (injection_slots_.left() == 0) return {Errc::capacity, Refusal::none};
  return {};
}

// False: it was withheld, and why is noted.
bool ChaosHarness::inject(std::uint32_t at, std::uint32_t fault, std::int64_t now_ns) noexcept {
  Experiment& one = experiments_[at];
  std::span<const std::uint32_t> targets;
  const Withheld withheld = choose(one, fault, targets);
  if (withheld.code != Errc::ok || withheld.refusal != Refusal::none) {
    const bool is_policy = withheld.refusal == Refusal::rejected_policy;
    const auto code = static_cast<std::uint64_t>(static_cast<std::uint32_t>(withheld.code));
    ++one.outcome.not_injected;
    ++counters_.withheld;
    counters_.policy_rejections += is_policy ? 1U : 0U;
    note(one, {Nanos{now_ns}, TimelineKind::withheld, code, fault});
    note_issue(one,
               {IssueSeverity::error,
                is_policy ? IssueCategory::blast_radius : IssueCategory::not_injected, fault,
                withheld.code},
               now_ns);
    emit(Event::withheld, Severity::warning, now_ns, {at, fault, code});
    return false;
  }
  const std::uint32_t slot = injection_slots_.take();
  Injection& fresh = injections_[slot] = {};
  fresh.id = ++last_injection_;
  fresh.experiment = at;
  fresh.fault = fault;
  fresh.ordered_ns = now_ns;
  const auto& times = one.plan.faults[fault].times;
  fresh.ends_ns = now_ns + times[0].count();
  fresh.expires_ns = fresh.ends_ns + times[2].count() + config_.grace_ns.count();
  fresh.targets = static_cast<std::uint32_t>(targets.size());
  std::fill_n(target_bits_.begin() + static_cast<std::ptrdiff_t>(slot * words_), words_, 0U);
  for (const std::uint32_t agent : targets) {
    target_bits_[slot * words_ + agent / 64] |= std::uint64_t{1} << (agent % 64);
    agents_.strike(agent);
  }
  ++armed_;
  ++counters_.injections;
  view_changed_ = true;
  one.outcome.affected_max = std::max(one.outcome.affected_max, agents_.affected());
  note(one, {Nanos{now_ns}, TimelineKind::inject, fresh.id, fault});
  emit(Event::injected, Severity::info, now_ns, {fresh.id, at, fault});
  return true;
}

void ChaosHarness::inject_phase(std::uint32_t at, std::int64_t now_ns) noexcept {
  const Experiment& one = experiments_[at];
  const chaos_plan::Phase phase = one.plan.phases[one.course.phase];
  for (std::uint32_t i = 0; i < phase.faults; ++i) {
    if (inject(at, phase.first_fault + i, now_ns) || !one.plan.rules.is_strict) continue;
    return roll_back(at, ChaosReason::not_injected, now_ns);
  }
}

}  // namespace mesh::coordination
