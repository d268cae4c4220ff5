#include "engine/coordination/chaos_harness.hpp"

#include <algorithm>
#include <cmath>

#include "engine/coordination/blocks/names.hpp"

namespace mesh::coordination {
namespace {

constexpr std::uint32_t kLabelsMax = 64;

}  // namespace

ChaosHarness::ChaosHarness(const Config& config, std::uint64_t)
    : ServiceForm(config),
      metrics_(config.metrics_max, config.samples_max),
      agents_(config.agents_max),
      experiments_(config.experiments_max),
      experiment_slots_(config.experiments_max),
      injections_(config.injections_max),
      injection_slots_(config.injections_max),
      words_((std::size_t{config.agents_max} + 63) / 64),
      effects_(config.effects_max) {
  labels_.reserve(kLabelsMax);
  labels_.push_back(hash_of(kAllowedLabel));
  for (auto& one : experiments_) one.reserve(config);
  target_bits_.resize(words_ * config.injections_max);
  order_.reserve(config.injections_max);
  game_days_.reserve(config.game_days_max);
}

// --- what there is -----------------------------------------------------------------------------

ChaosHarness::Reply ChaosHarness::on(const chaos::AddMetric& order, std::int64_t) noexcept {
  if (!is_name(order.name)) return refuse(Errc::invalid_id);
  const IdHash id = hash_of(order.name);
  if (metrics_.find(id) != MetricWindows::kNone) return refuse(Errc::already_exists);
  Reply reply;
  reply.id = metrics_.add(id);
  return reply.id == MetricWindows::kNone ? refuse(Errc::capacity) : reply;
}

ChaosHarness::Reply ChaosHarness::on(const chaos::AddLabel& order, std::int64_t) noexcept {
  if (!is_name(order.name)) return refuse(Errc::invalid_id);
  const IdHash id = hash_of(order.name);
  if (std::find(labels_.begin(), labels_.end(), id) != labels_.end()) {
    return refuse(Errc::already_exists);
  }
  if (labels_.size() == kLabelsMax) return refuse(Errc::capacity);
  Reply reply;
  reply.id = static_cast<std::uint32_t>(labels_.size());
  labels_.push_back(id);
  return reply;
}

ChaosHarness::Reply ChaosHarness::on(const chaos::SetAgent& order, std::int64_t) noexcept {
  if (order.agent >= config_.agents_max) return refuse(Errc::no_such_agent);
  const bool knows_labels = labels_.size() == kLabelsMax || (order.labels >> labels_.size()) == 0;
  if (!knows_labels) return refuse(Errc::not_found);
  agents_.set(order);
  return {};
}

ChaosHarness::Reply ChaosHarness::on(const chaos::RemoveAgent& order, std::int64_t) noexcept {
  if (!agents_.has(order.agent)) return refuse(Errc::no_such_agent);
  if (agents_.has_fault(order.agent)) return refuse(Errc::wrong_state);
  agents_.remove(order.agent);
  return {};
}

ChaosHarness::Reply ChaosHarness::on(const chaos::Sample& order, std::int64_t now_ns) noexcept {
  if (order.metric >= metrics_.count()) return refuse(Errc::not_found);
  if (!std::isfinite(order.value)) return refuse(Errc::invalid_argument);
  metrics_.record(order.metric, now_ns, order.value);
  ++counters_.samples;
  if (experiment_slots_.used() == 0) return {};
  for (std::uint32_t at = 0; at < config_.experiments_max; ++at) {
    if (!experiment_slots_.is_used(at)) continue;
    Experiment& one = experiments_[at];
    if (one.course.state == ExperimentState::precheck) {
      one.baseline[order.metric].add(order.value);
    } else if (one.course.state == ExperimentState::running) {
      one.during[order.metric].add(order.value);
    }
    see_switches(at, order, now_ns);
  }
  return {};
}

// --- an experiment's life ----------------------------------------------------------------------

ChaosHarness::Reply ChaosHarness::on(const chaos::Create& order, std::int64_t now_ns) noexcept {
  const ChaosSafety& safety = order.has_safety ? order.safety : config_.safety;
  const Errc bad = check_plan(order, safety);
  if (bad != Errc::ok) return refuse(bad);
  for (std::uint32_t at = 0; at < config_.experiments_max; ++at) {
    if (experiment_slots_.is_used(at) && experiments_[at].name == order.name) {
      return refuse(Errc::already_exists);
    }
  }
  if (safety.is_simulation_only && config_.driver == ChaosDriver::live) {
    ++counters_.policy_rejections;
    Reply reply;
    reply.refusal = Refusal::rejected_policy;
    return reply;
  }
  const std::uint32_t at = experiment_slots_.take();
  if (at == kNone) return refuse(Errc::capacity);
  Experiment& fresh = experiments_[at];
  fresh.clear();
  fresh.name.assign(order.name);
  fresh.description.assign(order.description);
  store_plan(order, safety, fresh.plan);
  fresh.plan.rules.require_approval =
      fresh.plan.rules.require_approval || config_.driver == ChaosDriver::live;
  ++counters_.experiments;
  change(at, ExperimentState::draft, now_ns);
  return said(at);
}

ChaosHarness::Reply ChaosHarness::on(const chaos::Approve& order, std::int64_t) noexcept {
  Experiment* one = live(order.experiment);
  if (one == nullptr) return refuse(Errc::not_found);
  if (!is_name(order.by)) return refuse(Errc::invalid_id);
  const bool is_waiting = one->course.state == ExperimentState::draft && !one->course.is_approved;
  if (!is_waiting) return refuse(Errc::wrong_state);
  one->course.is_approved = true;
  return said(order.experiment);
}

ChaosHarness::Reply ChaosHarness::on(const chaos::Start& order, std::int64_t now_ns) noexcept {
  Experiment* one = live(order.experiment);
  if (one == nullptr) return refuse(Errc::not_found);
  if (one->course.state != ExperimentState::draft) return refuse(Errc::wrong_state);
  const bool may_run = config_.driver == ChaosDriver::simulated || config_.allow_live;
  const bool has_leave = one->course.is_approved || !one->plan.rules.require_approval;
  if (!may_run || !has_leave) return refuse(Errc::not_authorized);
  if (one->plan.rules.starts_at.count() > now_ns) {
    change(order.experiment, ExperimentState::scheduled, now_ns);
    return said(order.experiment);
  }
  if (!knows_metrics(*one)) return refuse(Errc::verification_failed);
  Reply reply = said(order.experiment);
  const std::int64_t opens_ns = opens_at(*one, now_ns);
  if (opens_ns != now_ns) {
    ++counters_.policy_rejections;
    reply.refusal = Refusal::rejected_policy;
    reply.retry_after = Nanos{opens_ns - now_ns};
    return reply;
  }
  if (!has_room_for(*one)) {
    reply.refusal = Refusal::would_block;
    return reply;
  }
  begin_precheck(order.experiment, now_ns);
  return said(order.experiment);
}

ChaosHarness::Reply ChaosHarness::on(const chaos::Pause& order, std::int64_t now_ns) noexcept {
  Experiment* one = live(order.experiment);
  if (one == nullptr) return refuse(Errc::not_found);
  if (one->course.state != ExperimentState::running) return refuse(Errc::wrong_state);
  end_injections(order.experiment, kNever, now_ns);
  change(order.experiment, ExperimentState::paused, now_ns);
  return said(order.experiment);
}

ChaosHarness::Reply ChaosHarness::on(const chaos::Resume& order, std::int64_t now_ns) noexcept {
  Experiment* one = live(order.experiment);
  if (one == nullptr) return refuse(Errc::not_found);
  if (one->course.state != ExperimentState::paused) return refuse(Errc::wrong_state);
  one->course.step = chaos_plan::Step::waiting;
  one->course.since_ns = now_ns;
  for (auto& its : one->plan.switches) {
    its.since_ns = -1;
    its.seen_ns = now_ns;
  }
  change(order.experiment, ExperimentState::running, now_ns);
  return said(order.experiment);
}

ChaosHarness::Reply ChaosHarness::on(const chaos::Kill& order, std::int64_t now_ns) noexcept {
  const Experiment* one = live(order.experiment);
  if (one == nullptr) return refuse(Errc::not_found);
  if (is_over(one->course.state)) return refuse(Errc::wrong_state);
  roll_back(order.experiment, ChaosReason::killed, now_ns);
  return said(order.experiment);
}

ChaosHarness::Reply ChaosHarness::on(const chaos::Report& order, std::int64_t) noexcept {
  if (live(order.experiment) == nullptr) return refuse(Errc::not_found);
  Reply reply = said(order.experiment);
  reply.report = report(order.experiment);
  return reply;
}

ChaosHarness::Reply ChaosHarness::on(const chaos::Forget& order, std::int64_t) noexcept {
  Experiment* one = live(order.experiment);
  if (one == nullptr) return refuse(Errc::not_found);
  if (!is_over(one->course.state)) return refuse(Errc::wrong_state);
  for (std::uint32_t slot = 0; slot < config_.injections_max; ++slot) {
    if (!injection_slots_.is_used(slot) || injections_[slot].experiment != order.experiment) {
      continue;
    }
    injections_[slot] = {};
    std::fill_n(target_bits_.begin() + static_cast<std::ptrdiff_t>(slot * words_), words_, 0U);
    injection_slots_.free(slot);
  }
  one->clear();
  experiment_slots_.free(order.experiment);
  return {};
}

// --- from the driver ---------------------------------------------------------------------------

ChaosHarness::Injection* ChaosHarness::injection(std::uint64_t id) noexcept {
  for (std::uint32_t slot = 0; slot < config_.injections_max; ++slot) {
    if (injection_slots_.is_used(slot) && injections_[slot].id == id) return &injections_[slot];
  }
  return nullptr;
}

ChaosHarness::Reply ChaosHarness::on(const chaos::Confirm& order, std::int64_t now_ns) noexcept {
  Injection* one = injection(order.injection);
  if (one == nullptr) return refuse(Errc::not_found);
  const bool is_open =
      one->status == InjectionStatus::ordered || one->status == InjectionStatus::undoing;
  if (!is_open) return refuse(Errc::wrong_state);
  Experiment& its = experiments_[one->experiment];
  note(its, {Nanos{now_ns}, TimelineKind::confirm, one->id,
             static_cast<std::uint64_t>(static_cast<std::uint32_t>(order.code))});
  if (order.code == Errc::ok) {
    if (one->status == InjectionStatus::ordered) one->status = InjectionStatus::acting;
    return said(one->experiment);
  }
  one->code = order.code;
  ++its.outcome.not_injected;
  note_issue(its, {IssueSeverity::error, IssueCategory::not_injected, one->fault, order.code},
             now_ns);
  const std::uint32_t at = one->experiment;
  settle(*one, InjectionStatus::refused, now_ns);
  if (its.plan.rules.is_strict && its.course.state == ExperimentState::running) {
    roll_back(at, ChaosReason::not_injected, now_ns);
  }
  return said(at);
}

ChaosHarness::Reply ChaosHarness::on(const chaos::Undone& order, std::int64_t now_ns) noexcept {
  Injection* one = injection(order.injection);
  if (one == nullptr) return refuse(Errc::not_found);
  const std::uint32_t at = one->experiment;
  if (!chaos_plan::is_settled(one->status)) settle(*one, InjectionStatus::undone, now_ns);
  return said(at);
}

ChaosHarness::Reply ChaosHarness::on(const chaos::Recovered& order, std::int64_t now_ns) noexcept {
  if (!agents_.has(order.agent)) return refuse(Errc::no_such_agent);
  if (agents_.has_fault(order.agent)) return refuse(Errc::wrong_state);
  agents_.recover(order.agent, now_ns);
  return {};
}

ChaosHarness::Reply ChaosHarness::on(const chaos::Effect& order, std::int64_t) noexcept {
  if (order.event == 0 || order.event == order.cause) return refuse(Errc::invalid_argument);
  if (order.agent >= config_.agents_max) return refuse(Errc::no_such_agent);
  chaos_plan::Effect effect{order.event, order.agent, 0};
  const std::uint64_t kept = std::min<std::uint64_t>(effect_count_, effects_.size());
  for (std::uint64_t back = 1; back <= kept; ++back) {
    const auto& one = effects_[(effect_count_ - back) % effects_.size()];
    if (one.event == order.event) return refuse(Errc::duplicate);
    if (order.cause == 0 || one.event != order.cause) continue;
    const bool crosses = order.crosses_breaker || one.agent != order.agent;
    effect.depth = one.depth + (crosses ? 1U : 0U);
  }
  effects_[effect_count_++ % effects_.size()] = effect;
  for (std::uint32_t at = 0; at < config_.experiments_max; ++at) {
    if (!experiment_slots_.is_used(at)) continue;
    Experiment& one = experiments_[at];
    const bool is_its = one.course.state == ExperimentState::running ||
                        one.course.state == ExperimentState::rolling_back;
    if (is_its) one.outcome.cascade_depth = std::max(one.outcome.cascade_depth, effect.depth);
  }
  return {};
}

ChaosHarness::Reply ChaosHarness::on(const chaos::Restarted&, std::int64_t now_ns) noexcept {
  for (std::uint32_t at = 0; at < config_.experiments_max; ++at) {
    if (!experiment_slots_.is_used(at)) continue;
    const ExperimentState state = experiments_[at].course.state;
    const bool is_cut_off = state == ExperimentState::precheck ||
                            state == ExperimentState::running || state == ExperimentState::paused;
    if (is_cut_off) roll_back(at, ChaosReason::engine_restarted, now_ns);
  }
  for (std::uint32_t slot = 0; slot < config_.injections_max; ++slot) {
    Injection& one = injections_[slot];
    const bool is_open = injection_slots_.is_used(slot) && one.status == InjectionStatus::undoing;
    if (is_open) one.undo_ns = now_ns;
  }
  return {};
}

// --- verbs of every service --------------------------------------------------------------------

ChaosHarness::Reply ChaosHarness::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) [[unlikely]]
    return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  return std::visit([&](const auto& order) { return on(order, now_ns); }, command);
}

void ChaosHarness::tick(Nanos now, Actions& out) noexcept {
  out.orders.clear();
  out.targets.clear();
  out.next_tick = Nanos{kInstantMaxNs};
  if (ServiceClock::is_valid(now)) {
    const std::int64_t now_ns = clock_.at(now);
    catch_up(now_ns);
    send_orders(now_ns, out);
    out.next_tick = next_tick(now_ns);
  }
  out.view_changed = view_changed_;
  view_changed_ = false;
}

}  // namespace mesh::coordination
