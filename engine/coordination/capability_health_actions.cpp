// What a monitor does about what it sees: remediation, alerts, shares of the work.
#include <algorithm>
#include <cmath>

#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/capability_health.hpp"

namespace mesh::coordination {
namespace {

constexpr std::int64_t kHourNs = 3'600 * kNsPerSecond;
constexpr std::uint32_t kDoublingsMax = 16;
constexpr std::int64_t kLateIntervals = 2;  // between ticks, after which the caller was away
constexpr std::uint32_t kPeersMin = 3;      // to tell a dependency from a provider

// By status, then cause. Silence is never answered by more load, slowness not by a restart at once.
using enum Remediation;
constexpr std::array<std::array<Remediation, 6>, 5> kTable{{
    // none, latency, errors, silence, burn, trend
    {increase_probe_rate, increase_probe_rate, increase_probe_rate, increase_probe_rate,
     increase_probe_rate, increase_probe_rate},                          // unknown
    {none, none, none, none, increase_probe_rate, increase_probe_rate},  // healthy
    {increase_probe_rate, shed_load, increase_probe_rate, reroute, shed_load,
     shed_load},                                                // degraded
    {reroute, reroute, reroute, reroute, reroute, reroute},     // critical
    {restart, restart, restart, quarantine, restart, restart},  // failed
}};

bool is_unhealthy(HealthStatus status) noexcept { return status >= HealthStatus::critical; }

}  // namespace

Remediation remediation_for(HealthStatus status, HealthCause cause) noexcept {
  return kTable[static_cast<std::size_t>(status)][static_cast<std::size_t>(cause)];
}

HealthCause CapabilityHealthMonitor::cause_of(const Row& row, std::int64_t now_ns) const noexcept {
  if (row.phi.phi(now_ns) > config_.phi_max) return HealthCause::silence;
  const WindowTotals& seen = row.window.sum();
  const double failed =
      seen.total == 0 ? 0 : static_cast<double>(seen.failed) / static_cast<double>(seen.total);
  if (row.forced || failed > 1 - kinds_[row.capability].slo) return HealthCause::errors;
  if (row.page || row.ticket) return HealthCause::burn;
  const double half = static_cast<double>(config_.latency_half_ns.count()) / 1e3;
  if (row.shifted || row.samples.median_micros() > half) return HealthCause::latency;
  const HealthPrediction prediction = predict(row);
  const bool falls = prediction.known && prediction.probability >= config_.predict_probability;
  return falls ? HealthCause::trend : HealthCause::none;
}

// What the host should do; nothing while the last one cools down, and an escalation once an hour
// when the hour's are used up.
HealthAction CapabilityHealthMonitor::remediate(Row& row, std::int64_t now_ns) noexcept {
  HealthAction action{none, HealthCause::none, row.capability, row.agent};
  const bool is_cooling = now_ns < row.next_remedy_ns && !MESH_MUTANT("health.cooldown");
  if (now_ns < silent_until_ns_ || is_cooling) return action;
  if (kinds_[row.capability].tripped && !MESH_MUTANT("health.dependency")) return action;
  action.cause = cause_of(row, now_ns);
  const Remediation wanted = remediation_for(row.status, action.cause);
  if (wanted == none) return action;
  if (row.remedies == 0 || now_ns - row.hour_began_ns >= kHourNs) {
    row.hour_began_ns = now_ns;
    row.remedies = 0;
  }
  const bool was_escalated = row.remedies > config_.remediations_per_hour;
  if (was_escalated && !MESH_MUTANT("health.hourly")) return action;
  action.action = row.remedies == config_.remediations_per_hour ? escalate : wanted;
  ++row.remedies;
  row.next_remedy_ns = now_ns + (config_.remediation_cooldown_ns.count() << row.doublings);
  row.doublings = std::min(row.doublings + 1, kDoublingsMax);
  ++(action.action == escalate ? counters_.escalations : counters_.remediations);
  emit(Event::remediation, row, static_cast<std::uint64_t>(action.action),
       static_cast<std::uint64_t>(action.cause));
  return action;
}

// --- selection and shares ----------------------------------------------------------------------

bool CapabilityHealthMonitor::is_panic(std::uint32_t capability) const noexcept {
  double all = 0;
  double unhealthy = 0;
  for_rows(capability, [&](const Row& row) {
    all += 1;
    unhealthy += is_unhealthy(row.status) ? 1 : 0;
  });
  return unhealthy > config_.panic_unhealthy * all && !MESH_MUTANT("health.panic");
}

bool CapabilityHealthMonitor::is_eligible(const Row& row, bool panic) const noexcept {
  if (!row.ready && !MESH_MUTANT("health.readiness")) return false;
  if (panic) return true;
  return row.status == HealthStatus::healthy || row.status == HealthStatus::degraded;
}

CapabilityHealthMonitor::Reply CapabilityHealthMonitor::best_provider(
    std::uint32_t capability) const noexcept {
  Reply reply;
  reply.code = Errc::no_candidate;
  if (!is_kind(capability)) {
    reply.code = Errc::not_found;
    return reply;
  }
  reply.panic = is_panic(capability);
  for_rows(capability, [&](const Row& row) {
    if (!row.spare || !is_eligible(row, reply.panic)) return;
    if (reply.code == Errc::ok && !(row.score > reply.score)) return;  // ties: the lower agent
    reply.code = Errc::ok;
    reply.agent = row.agent;
    reply.score = row.score;
    reply.status = row.status;
  });
  return reply;
}

// Towards shares in proportion to the scores. A live provider gives up share_move_max of its share
// at most, so that the others are not flooded; one that is not eligible any more keeps nothing.
void CapabilityHealthMonitor::move_shares(std::uint32_t capability) noexcept {
  const bool panic = is_panic(capability);
  double scores = 0;
  std::uint32_t count = 0;
  for_rows(capability, [&](const Row& row) {
    if (!is_eligible(row, panic)) return;
    scores += row.score;
    ++count;
  });
  const auto target = [&](const Row& row) {
    if (!is_eligible(row, panic)) return 0.0;
    return scores > 0 ? row.score / scores : 1.0 / count;
  };
  double kept = 0;
  double wanted = 0;
  for_rows(capability, [&](Row& row) {
    const double aim = target(row);
    const bool keeps = is_eligible(row, panic) && !MESH_MUTANT("health.share_move");
    const double least = keeps ? row.share * (1 - config_.share_move_max) : 0;
    row.share = std::max(least, std::min(row.share, aim));
    kept += row.share;
    wanted += std::max(0.0, aim - row.share);
  });
  // What is free goes where it is wanted, in proportion: the shares sum to 1 again.
  if (count == 0 || wanted <= 0) return;
  const double factor = (1 - kept) / wanted;
  for_rows(capability,
           [&](Row& row) { row.share += factor * std::max(0.0, target(row) - row.share); });
}

// --- time --------------------------------------------------------------------------------------

// Most of the providers down together: it is what they depend on, not they.
void CapabilityHealthMonitor::judge_dependency(std::uint32_t capability, Actions& out) noexcept {
  std::uint32_t known = 0;
  std::uint32_t down = 0;
  for_rows(capability, [&](const Row& row) {
    if (row.status == HealthStatus::unknown) return;
    ++known;
    down += row.status >= HealthStatus::degraded ? 1U : 0U;
  });
  Kind& kind = kinds_[capability];
  const bool together = known >= kPeersMin && down > config_.dependency_share * known;
  if (together == kind.tripped || (together && out.count == Actions::kMax)) return;
  kind.tripped = together;
  view_changed_ = true;
  events_.emit({.t_ns = clock_.last_ns(),
                .kind = static_cast<std::uint16_t>(Event::dependency),
                .severity = Severity::warning,
                .source = kNoRow,
                .a = together ? 1U : 0U,
                .b = down,
                .c = capability});
  if (!together) return;
  ++counters_.dependency_trips;
  out.actions[out.count++] = {trip_dependency, HealthCause::none, capability, kNoRow};
}

void CapabilityHealthMonitor::sweep(std::uint32_t capability, std::int64_t now_ns,
                                    Actions& out) noexcept {
  for_rows(capability, [&](Row& row) {
    rescore(row, now_ns);
    judge_alerts(row, now_ns);
    restatus(row, now_ns);
  });
  judge_dependency(capability, out);
  for_rows(capability, [&](Row& row) {
    if (out.count == Actions::kMax) return;
    const HealthAction action = remediate(row, now_ns);
    if (action.action != none) out.actions[out.count++] = action;
  });
  move_shares(capability);
}

void CapabilityHealthMonitor::excuse_all(std::int64_t now_ns) noexcept {
  ++counters_.late_ticks;
  silent_until_ns_ = now_ns + config_.probe_interval_ns.count();
  next_sweep_ns_ = silent_until_ns_;
  for (auto& row : rows_) {
    if (row.agent == kNoRow) continue;
    if (MESH_MUTANT("health.excuse")) continue;
    row.phi.excuse(now_ns);
    row.last_probe_ns = now_ns;
  }
  events_.emit({.t_ns = now_ns,
                .kind = static_cast<std::uint16_t>(Event::detector_late),
                .severity = Severity::warning,
                .a = static_cast<std::uint64_t>(now_ns - last_tick_ns_)});
}

void CapabilityHealthMonitor::tick(Nanos now, Actions& out) noexcept {
  out.count = 0;
  if (ServiceClock::is_valid(now)) {
    const std::int64_t now_ns = clock_.at(now);
    const std::int64_t late_ns = kLateIntervals * config_.probe_interval_ns.count();
    if (last_tick_ns_ >= 0 && now_ns - last_tick_ns_ > late_ns) excuse_all(now_ns);
    last_tick_ns_ = now_ns;
    if (now_ns >= next_sweep_ns_) {
      next_sweep_ns_ = now_ns + config_.probe_interval_ns.count();
      for (std::uint32_t i = 0; is_kind(i); ++i) sweep(i, now_ns, out);
      view_changed_ = true;
    }
  }
  out.view_changed = std::exchange(view_changed_, false);
}

}  // namespace mesh::coordination
