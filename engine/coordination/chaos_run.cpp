// ChaosHarness: an experiment from its start to its end, as time passes.
#include <algorithm>

#include "engine/coordination/chaos_harness.hpp"

namespace mesh::coordination {
namespace {

constexpr std::uint32_t kWindowsToRecover = 3;
constexpr std::int64_t kCooldownsToRecover = 3;

}  // namespace

ChaosHarness::Experiment* ChaosHarness::live(std::uint32_t experiment) noexcept {
  return experiment_slots_.is_used(experiment) ? &experiments_[experiment] : nullptr;
}

ChaosHarness::Reply ChaosHarness::said(std::uint32_t experiment) const noexcept {
  Reply reply;
  reply.id = experiment;
  reply.state = state(experiment);
  return reply;
}

void ChaosHarness::change(std::uint32_t at, ExperimentState to, std::int64_t now_ns) noexcept {
  Experiment& one = experiments_[at];
  one.course.state = to;
  const auto state = static_cast<std::uint64_t>(to);
  const auto reason = static_cast<std::uint64_t>(one.course.reason);
  note(one, {Nanos{now_ns}, TimelineKind::state, state, reason});
  emit(Event::state_changed, Severity::info, now_ns, {at, state, reason});
  if (to == ExperimentState::completed) ++counters_.completed;
  if (to == ExperimentState::aborted) ++counters_.aborted;
  view_changed_ = true;
}

void ChaosHarness::give_up(std::uint32_t at, ChaosReason why, std::int64_t now_ns) noexcept {
  experiments_[at].course.reason = why;
  change(at, ExperimentState::aborted, now_ns);
}

// --- before it begins --------------------------------------------------------------------------

bool ChaosHarness::knows_metrics(const Experiment& one) const noexcept {
  const auto is_known = [this](const auto& row) {
    return metrics_.find(chaos_plan::hash_in(row.metric)) != MetricWindows::kNone;
  };
  const auto& plan = one.plan;
  return std::all_of(plan.assertions.begin(), plan.assertions.end(), is_known) &&
         std::all_of(plan.preflight.begin(), plan.preflight.end(), is_known) &&
         std::all_of(plan.switches.begin(), plan.switches.end(), is_known);
}

std::uint32_t ChaosHarness::under_way() const noexcept {
  std::uint32_t count = 0;
  for (std::uint32_t at = 0; at < config_.experiments_max; ++at) {
    count += experiment_slots_.is_used(at) && experiments_[at].is_under_way() ? 1U : 0U;
  }
  return count;
}

// Each that is under way agrees to one more.
bool ChaosHarness::has_room_for(const Experiment& one) const noexcept {
  const std::uint32_t count = under_way() + 1;
  bool agree = count <= one.plan.rules.concurrent_max;
  for (std::uint32_t at = 0; at < config_.experiments_max; ++at) {
    const Experiment& other = experiments_[at];
    if (!experiment_slots_.is_used(at) || !other.is_under_way()) continue;
    agree = agree && count <= other.plan.rules.concurrent_max;
  }
  return agree;
}

std::int64_t ChaosHarness::opens_at(const Experiment& one, std::int64_t now_ns) noexcept {
  std::int64_t at_ns = now_ns;
  // A window may end within another one; periodic ones could go on so for ever.
  for (std::uint32_t round = 0; round < 4 * chaos_plan::kBlockedMax; ++round) {
    std::int64_t until_ns = at_ns;
    for (const BlockedWindow& window : one.plan.blocked) {
      if (!chaos_plan::is_blocked(window, at_ns)) continue;
      const std::int64_t since = at_ns - window.from.count();
      const std::int64_t into = window.every.count() == 0 ? since : since % window.every.count();
      until_ns = std::max(until_ns, at_ns - into + (window.to - window.from).count());
    }
    if (until_ns == at_ns) break;
    at_ns = until_ns;
  }
  return at_ns;
}

void ChaosHarness::begin_precheck(std::uint32_t at, std::int64_t now_ns) noexcept {
  experiments_[at].course.since_ns = now_ns;
  change(at, ExperimentState::precheck, now_ns);
}

bool ChaosHarness::advance_scheduled(std::uint32_t at, std::int64_t now_ns) noexcept {
  const Experiment& one = experiments_[at];
  const bool is_time =
      now_ns >= one.plan.rules.starts_at.count() && opens_at(one, now_ns) == now_ns;
  if (!is_time || !has_room_for(one)) return false;
  if (knows_metrics(one)) {
    begin_precheck(at, now_ns);
  } else {
    note_issue(experiments_[at],
               {IssueSeverity::error, IssueCategory::no_data, kNoFault, Errc::verification_failed},
               now_ns);
    give_up(at, ChaosReason::verification_failed, now_ns);
  }
  return true;
}

bool ChaosHarness::advance_precheck(std::uint32_t at, std::int64_t now_ns) noexcept {
  Experiment& one = experiments_[at];
  const std::int64_t window_ns = one.plan.rules.window.count();
  if (now_ns < one.course.since_ns + window_ns) return false;
  const MetricSpan span{one.course.since_ns, now_ns};
  const bool is_ready = verify_point(one, {VerifyPoint::preflight, span}, now_ns) &&
                        verify_point(one, {VerifyPoint::precheck, span}, now_ns);
  if (!is_ready) {
    give_up(at, ChaosReason::verification_failed, now_ns);
    return true;
  }
  one.outcome.has_passed_precheck = true;
  one.course.phase = 0;
  one.course.step = chaos_plan::Step::waiting;
  one.course.since_ns = now_ns;
  for (auto& its : one.plan.switches) {
    its.since_ns = -1;
    its.seen_ns = now_ns;
  }
  change(at, ExperimentState::running, now_ns);
  return true;
}

// --- while it runs -----------------------------------------------------------------------------

bool ChaosHarness::advance_running(std::uint32_t at, std::int64_t now_ns) noexcept {
  Experiment& one = experiments_[at];
  const chaos_plan::Phase& phase = one.plan.phases[one.course.phase];
  if (one.course.step == chaos_plan::Step::waiting) {
    const bool is_time = now_ns >= one.course.since_ns + phase.delay_before.count();
    if (!is_time || has_unsettled(at, true)) return false;
    one.course.step = chaos_plan::Step::acting;
    one.course.acting_ns = now_ns;
    inject_phase(at, now_ns);
    return true;
  }
  if (now_ns < one.course.acting_ns + phase.duration.count()) return false;
  end_phase(at, now_ns);
  return true;
}

void ChaosHarness::end_phase(std::uint32_t at, std::int64_t now_ns) noexcept {
  Experiment& one = experiments_[at];
  const chaos_plan::Phase& phase = one.plan.phases[one.course.phase];
  const std::int64_t from_ns =
      std::max(one.course.acting_ns, now_ns - one.plan.rules.window.count());
  const bool holds =
      !phase.verify_after || verify_point(one, {VerifyPoint::phase, {from_ns, now_ns}}, now_ns);
  one.outcome.violations += holds ? 0U : 1U;
  if (!holds && phase.abort_on_violation) return roll_back(at, ChaosReason::violation, now_ns);
  if (one.course.phase + 1 == one.plan.phases.size()) {
    return roll_back(at, ChaosReason::none, now_ns);
  }
  ++one.course.phase;
  one.course.step = chaos_plan::Step::waiting;
  one.course.since_ns = now_ns;
}

void ChaosHarness::see_switches(std::uint32_t at, const chaos::Sample& sample,
                                std::int64_t now_ns) noexcept {
  Experiment& one = experiments_[at];
  for (std::uint32_t which = 0; which < one.plan.switches.size(); ++which) {
    if (one.course.state != ExperimentState::running) return;
    chaos_plan::Switch& its = one.plan.switches[which];
    if (metrics_.find(chaos_plan::hash_in(its.metric)) != sample.metric) continue;
    const bool is_violated = judge({its.op, its.threshold, 0}, sample.value, {}) == Verdict::passed;
    its.seen_ns = now_ns;
    if (!is_violated) {
      its.since_ns = -1;
    } else if (its.since_ns < 0) {
      its.since_ns = now_ns;
    }
    const bool is_tripped = its.since_ns >= 0 && now_ns - its.since_ns >= its.sustained.count();
    if (is_tripped) trip(at, which, ChaosReason::kill_switch, now_ns);
  }
}

void ChaosHarness::watch_switches(std::uint32_t at, std::int64_t now_ns) noexcept {
  Experiment& one = experiments_[at];
  for (std::uint32_t which = 0; which < one.plan.switches.size(); ++which) {
    if (one.course.state != ExperimentState::running) return;
    const chaos_plan::Switch& its = one.plan.switches[which];
    const std::int64_t sustained_ns = its.sustained.count();
    const std::int64_t blind_ns = sustained_ns != 0 ? sustained_ns : one.plan.rules.window.count();
    if (its.since_ns >= 0 && now_ns - its.since_ns >= sustained_ns) {
      trip(at, which, ChaosReason::kill_switch, now_ns);
    } else if (now_ns - its.seen_ns > blind_ns) {
      trip(at, which, ChaosReason::blind, now_ns);
    }
  }
}

void ChaosHarness::trip(std::uint32_t at, std::uint32_t which, ChaosReason why,
                        std::int64_t now_ns) noexcept {
  Experiment& one = experiments_[at];
  ++one.outcome.trips;
  ++counters_.trips;
  one.plan.switches[which].since_ns = -1;
  one.plan.switches[which].seen_ns = now_ns;
  note(one, {Nanos{now_ns}, TimelineKind::tripped, which, static_cast<std::uint64_t>(why)});
  note_issue(one, {IssueSeverity::error, IssueCategory::kill_switch, kNoFault, Errc::ok}, now_ns);
  emit(Event::tripped, Severity::warning, now_ns, {at, which, static_cast<std::uint64_t>(why)});
  if (one.plan.rules.auto_rollback) roll_back(at, why, now_ns);
}

// --- and its end -------------------------------------------------------------------------------

void ChaosHarness::roll_back(std::uint32_t at, ChaosReason why, std::int64_t now_ns) noexcept {
  Experiment& one = experiments_[at];
  if (one.course.reason == ChaosReason::none) one.course.reason = why;
  end_injections(at, kNever, now_ns);
  if (one.course.state != ExperimentState::rolling_back) {
    change(at, ExperimentState::rolling_back, now_ns);
  }
}

// Those whose end is not after `until_ns`.
void ChaosHarness::end_injections(std::uint32_t at, std::int64_t until_ns,
                                  std::int64_t now_ns) noexcept {
  for (std::uint32_t slot = 0; slot < config_.injections_max; ++slot) {
    Injection& one = injections_[slot];
    const bool is_its = injection_slots_.is_used(slot) && one.experiment == at &&
                        one.status < InjectionStatus::undoing && one.ends_ns <= until_ns;
    if (!is_its) continue;
    if (!one.is_sent) {  // in this very step: nobody was told
      settle(one, InjectionStatus::undone, now_ns);
      continue;
    }
    end_one(one, now_ns);
  }
}

// One that nobody has confirmed may never have acted: it proves nothing.
void ChaosHarness::end_one(Injection& one, std::int64_t now_ns) noexcept {
  if (one.status == InjectionStatus::ordered) {
    Experiment& its = experiments_[one.experiment];
    ++its.outcome.not_injected;
    note_issue(its, {IssueSeverity::error, IssueCategory::unconfirmed, one.fault, Errc::ok},
               now_ns);
  }
  one.status = InjectionStatus::undoing;
  one.undo_ns = now_ns;
}

bool ChaosHarness::has_unsettled(std::uint32_t at, bool undoing_alone) const noexcept {
  if (armed_ == 0) return false;
  for (std::uint32_t slot = 0; slot < config_.injections_max; ++slot) {
    const Injection& one = injections_[slot];
    const bool is_its = injection_slots_.is_used(slot) && one.experiment == at &&
                        !chaos_plan::is_settled(one.status);
    if (is_its && (!undoing_alone || one.status == InjectionStatus::undoing)) return true;
  }
  return false;
}

void ChaosHarness::settle(Injection& one, InjectionStatus as, std::int64_t now_ns) noexcept {
  Experiment& its = experiments_[one.experiment];
  const auto slot = static_cast<std::uint32_t>(&one - injections_.data());
  const bool may_have_acted = as != InjectionStatus::refused && one.is_sent;
  each_target(slot, [&](std::uint32_t agent) {
    agents_.lift(agent, may_have_acted, its.plan.rules.cooldown.count());
  });
  one.status = as;
  --armed_;
  view_changed_ = true;
  const bool has_lapsed = as == InjectionStatus::lapsed;
  if (as == InjectionStatus::refused) ++counters_.injections_refused;
  if (as == InjectionStatus::undone) ++counters_.undone;
  if (has_lapsed) ++counters_.lapsed;
  if (as == InjectionStatus::refused) return;  // its confirmation says so
  note(its, {Nanos{now_ns}, has_lapsed ? TimelineKind::lapsed : TimelineKind::undone, one.id, 0});
  emit(has_lapsed ? Event::lapsed : Event::undone, has_lapsed ? Severity::warning : Severity::info,
       now_ns, {one.id, one.experiment, 0});
}

bool ChaosHarness::advance_rollback(std::uint32_t at, std::int64_t now_ns) noexcept {
  if (has_unsettled(at, false)) return false;
  Experiment& one = experiments_[at];
  one.course.removed_ns = now_ns;
  one.course.window_ns = now_ns;
  one.course.windows_passed = 0;
  const bool is_done = one.course.reason == ChaosReason::none;
  change(at, is_done ? ExperimentState::analyzing : ExperimentState::aborted, now_ns);
  return true;
}

bool ChaosHarness::advance_analysis(std::uint32_t at, std::int64_t now_ns) noexcept {
  Experiment& one = experiments_[at];
  const std::int64_t window_ns = one.plan.rules.window.count();
  const MetricSpan span{one.course.window_ns, one.course.window_ns + window_ns};
  if (now_ns < span.to_ns) return false;
  const std::uint32_t failed = judge_all(one, one.plan.assertions, {VerifyPoint::recovery, span});
  const bool holds =
      failed <= failures_allowed(one.plan.assertions.size(), one.plan.rules.tolerance_ppm);
  one.course.windows_passed = holds ? one.course.windows_passed + 1 : 0;
  one.course.window_ns = span.to_ns;
  if (one.course.windows_passed == kWindowsToRecover) {
    one.outcome.has_recovered = true;
    one.outcome.recovery_ns = span.to_ns - kWindowsToRecover * window_ns - one.course.removed_ns;
    change(at, ExperimentState::completed, now_ns);
    return true;
  }
  const bool is_too_late = one.course.window_ns - one.course.removed_ns >
                           kCooldownsToRecover * one.plan.rules.cooldown.count();
  if (one.course.windows_passed == 0 && is_too_late) {
    note_issue(one, {IssueSeverity::error, IssueCategory::not_recovered, kNoFault, Errc::ok},
               now_ns);
    change(at, ExperimentState::completed, now_ns);
  }
  return true;
}

// --- time --------------------------------------------------------------------------------------

bool ChaosHarness::advance(std::uint32_t at, std::int64_t now_ns) noexcept {
  switch (experiments_[at].course.state) {
    case ExperimentState::scheduled:
      return advance_scheduled(at, now_ns);
    case ExperimentState::precheck:
      return advance_precheck(at, now_ns);
    case ExperimentState::running:
      return advance_running(at, now_ns);
    case ExperimentState::rolling_back:
      return advance_rollback(at, now_ns);
    case ExperimentState::analyzing:
      return advance_analysis(at, now_ns);
    default:
      return false;
  }
}

void ChaosHarness::catch_up_injections(std::int64_t now_ns) noexcept {
  if (armed_ == 0) return;
  for (std::uint32_t slot = 0; slot < config_.injections_max; ++slot) {
    Injection& one = injections_[slot];
    if (!injection_slots_.is_used(slot) || chaos_plan::is_settled(one.status)) continue;
    const bool is_silent = one.status == InjectionStatus::ordered &&
                           now_ns - one.ordered_ns >= config_.confirm_ns.count();
    if (is_silent) roll_back(one.experiment, ChaosReason::driver_silent, now_ns);
    if (now_ns >= one.expires_ns) {
      note_issue(experiments_[one.experiment],
                 {IssueSeverity::warning, IssueCategory::unconfirmed, one.fault, Errc::ok}, now_ns);
      settle(one, InjectionStatus::lapsed, now_ns);
    } else if (one.status < InjectionStatus::undoing && now_ns >= one.ends_ns) {
      end_one(one, now_ns);
    }
  }
}

void ChaosHarness::catch_up(std::int64_t now_ns) noexcept {
  view_changed_ = agents_.release_due(now_ns) || view_changed_;
  catch_up_injections(now_ns);
  for (std::uint32_t at = 0; at < config_.experiments_max; ++at) {
    if (!experiment_slots_.is_used(at)) continue;
    watch_switches(at, now_ns);
    while (advance(at, now_ns)) {
    }
  }
}

void ChaosHarness::send(const Injection& one, bool is_undo, Actions& out) const noexcept {
  const chaos_plan::Fault& fault = experiments_[one.experiment].plan.faults[one.fault];
  ChaosOrder order;
  order.is_undo = is_undo;
  order.injection = one.id;
  order.experiment = one.experiment;
  order.type = fault.type;
  order.params = fault.params;
  order.ramp_up = fault.times[1];
  order.ramp_down = fault.times[2];
  order.ends = Nanos{one.ends_ns};
  order.expires = Nanos{one.expires_ns};
  order.first_target = static_cast<std::uint32_t>(out.targets.size());
  order.targets = one.targets;
  each_target(static_cast<std::uint32_t>(&one - injections_.data()),
              [&](std::uint32_t agent) { out.targets.push_back(agent); });
  out.orders.push_back(order);
}

void ChaosHarness::send_orders(std::int64_t now_ns, Actions& out) noexcept {
  if (armed_ == 0) return;
  order_.clear();
  for (std::uint32_t slot = 0; slot < config_.injections_max; ++slot) {
    const bool is_open =
        injection_slots_.is_used(slot) && !chaos_plan::is_settled(injections_[slot].status);
    if (is_open) order_.push_back(slot);
  }
  std::sort(order_.begin(), order_.end(), [this](std::uint32_t a, std::uint32_t b) {
    return injections_[a].id > injections_[b].id;
  });
  for (const std::uint32_t slot : order_) {
    Injection& one = injections_[slot];
    if (one.status != InjectionStatus::undoing || one.undo_ns > now_ns) continue;
    one.undo_ns = now_ns + config_.undo_retry_ns.count();
    ++counters_.undo_orders;
    note(experiments_[one.experiment], {Nanos{now_ns}, TimelineKind::undo, one.id, 0});
    send(one, true, out);
  }
  std::reverse(order_.begin(), order_.end());
  for (const std::uint32_t slot : order_) {
    Injection& one = injections_[slot];
    if (one.is_sent) continue;
    one.is_sent = true;
    send(one, false, out);
  }
}

Nanos ChaosHarness::next_tick(std::int64_t now_ns) const noexcept {
  std::int64_t next_ns = std::min(kInstantMaxNs, agents_.next_release_ns());
  if (armed_ != 0 || under_way() != 0) next_ns = now_ns + config_.tick_ns.count();
  for (std::uint32_t at = 0; at < config_.experiments_max; ++at) {
    const Experiment& one = experiments_[at];
    const bool waits =
        experiment_slots_.is_used(at) && one.course.state == ExperimentState::scheduled;
    if (!waits) continue;
    const std::int64_t starts_ns = one.plan.rules.starts_at.count();
    next_ns = std::min(next_ns, starts_ns > now_ns ? starts_ns : now_ns + config_.tick_ns.count());
  }
  return Nanos{next_ns};
}

}  // namespace mesh::coordination
