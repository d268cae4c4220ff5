// What a governor looks like from outside: its presets, the range of its config, its bytes.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "engine/coordination/throttle_governor.hpp"

namespace mesh::coordination {
namespace {

// "batch" is the name that the third one has elsewhere.
constexpr std::array<std::string_view, 4> kPresets{"api-gateway", "agent-to-agent",
                                                   "batch-processing", "batch"};

// Tight latency, quick reaction, hard cut.
ThrottleConfig api_gateway() {
  ThrottleConfig config;
  config.initial_rate = 1'000;
  config.min_rate = 50;
  config.max_rate = 50'000;
  config.control_interval_ns = Nanos{100 * kNsPerMs};
  config.latency_setpoint_ns = Nanos{50 * kNsPerMs};
  config.codel_target_ns = Nanos{5 * kNsPerMs};
  config.codel_interval_ns = Nanos{100 * kNsPerMs};
  config.vegas_beta = 4;
  config.error_md_threshold = 0.02;
  config.base_rtt_window_ns = Nanos{10 * kNsPerSecond};
  config.min_samples = 10;
  return config;
}

// Throughput first: tolerates ten times the target.
ThrottleConfig batch_processing() {
  ThrottleConfig config;
  config.initial_rate = 200;
  config.max_rate = 10'000;
  config.control_interval_ns = Nanos{5 * kNsPerSecond};
  config.latency_setpoint_ns = Nanos{10 * kNsPerSecond};
  config.codel_target_ns = Nanos{kNsPerSecond};
  config.codel_interval_ns = Nanos{20 * kNsPerSecond};
  config.vegas_alpha = 3;
  config.vegas_beta = 10;
  config.ai_step = 0.05;
  config.md_factor = 0.85;
  config.error_md_threshold = 0.2;
  config.base_rtt_window_ns = Nanos{600 * kNsPerSecond};
  return config;
}

}  // namespace

std::string_view to_string(ThrottleMode mode) noexcept {
  constexpr std::array<std::string_view, 5> kNames{"startup", "probing", "steady", "congested",
                                                   "recovering"};
  const auto index = static_cast<std::size_t>(mode);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::span<const std::string_view> ThrottleConfig::names() noexcept { return kPresets; }

Result<ThrottleConfig> ThrottleConfig::preset(std::string_view name) {
  if (name == "api-gateway") return api_gateway();
  if (name == "agent-to-agent") return ThrottleConfig{};  // long windows: one slow prompt is no jam
  if (name == "batch-processing" || name == "batch") return batch_processing();
  return unknown_preset("throttle governor", name, kPresets);
}

Status AdaptiveThrottleGovernor::validate(const Config& config) {
  const auto share = [](double value) { return value > 0 && value <= 1; };
  const std::array<Check, 18> checks{{
      {config.min_rate > 0 && std::isfinite(config.min_rate), "min_rate is not above 0"},
      {config.max_rate >= config.min_rate && config.max_rate <= 1e9, "max_rate is below min_rate"},
      {config.initial_rate >= config.min_rate && config.initial_rate <= config.max_rate,
       "initial_rate is outside min_rate..max_rate"},
      {is_positive_duration(config.control_interval_ns),
       "control_interval_ns is outside 1 ns..36 years"},
      {is_positive_duration(config.latency_setpoint_ns),
       "latency_setpoint_ns is outside 1 ns..36 years"},
      {config.codel_target_ns.count() > 0, "codel_target_ns is not above 0"},
      {config.codel_interval_ns > config.codel_target_ns && is_duration(config.codel_interval_ns),
       "codel_interval_ns is not above its target, or above 36 years"},
      {config.vegas_alpha >= 0 && config.vegas_beta > config.vegas_alpha &&
           std::isfinite(config.vegas_beta),
       "vegas_beta is not above vegas_alpha"},
      {share(config.ai_step), "ai_step is outside 0..1"},
      {config.md_factor > 0 && config.md_factor < 1, "md_factor is outside 0..1"},
      {share(config.error_md_threshold), "error_md_threshold is outside 0..1"},
      {config.kp >= 0 && config.kp <= 10 && config.ki >= 0 && config.ki <= 10,
       "kp or ki is outside 0..10"},
      {share(config.pi_clamp), "pi_clamp is outside 0..1"},
      {config.base_rtt_window_ns >= config.control_interval_ns &&
           is_duration(config.base_rtt_window_ns),
       "base_rtt_window_ns is below an interval, or above 36 years"},
      {config.min_samples >= 1 && share(config.rate_smoothing),
       "min_samples is below 1 or rate_smoothing outside 0..1"},
      {config.tenants_max >= 1 && config.tenants_max <= 65'536 && config.hosts_max <= 65'536,
       "tenants_max or hosts_max is outside its range"},
      {is_positive_duration(config.credit_expiry_ns) && config.grants_max >= 1 &&
           config.grants_max <= 65'536,
       "credit_expiry_ns or grants_max is outside its range"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

Result<std::uint32_t> AdaptiveThrottleGovernor::find(std::string_view name) const {
  for (std::size_t i = 0; i < tenants_.size(); ++i) {
    const std::string_view taken(tenants_[i].name.data(), tenants_[i].name_bytes);
    if (!taken.empty() && taken == name) return static_cast<std::uint32_t>(i);
  }
  return complain(Errc::not_found, "no such tenant");
}

// --- bytes -------------------------------------------------------------------------------------

void AdaptiveThrottleGovernor::save_state(StateWriter& writer) const {
  writer.put(mode_);
  for (const auto real : {rate_, step_, host_share_, congestion_, pi_.integral, base_s_[0],
                          base_s_[1], last_least_s_, global_cap_}) {
    writer.put(real);
  }
  for (const auto instant : {base_began_ns_, last_cut_ns_, next_control_ns_}) writer.put(instant);
  writer.put(hold_);
  writer.put(breaker_open_);
  writer.put(self_);
  writer.put(interval_.count);
  writer.put(interval_.errors);
  writer.put(interval_.sum_ns);
  writer.put(interval_.least_ns);
  codel_.save(writer);
  for (const auto& tenant : tenants_) {
    writer.put(std::string_view(tenant.name.data(), tenant.name_bytes));
    if (!tenant.is_taken()) continue;
    writer.put(tenant.priority);
    for (const auto real :
         {tenant.weight, tenant.min_guaranteed, tenant.max_burst, tenant.demand, tenant.share}) {
      writer.put(real);
    }
    writer.put(tenant.offered);
    writer.put(tenant.idle_intervals);
    pools_[static_cast<std::size_t>(&tenant - tenants_.data())].save(writer);
  }
  for (const auto& host : hosts_) {
    writer.put(host.is_known);
    if (!host.is_known) continue;
    writer.put(host.node);
    writer.put(host.demand);
    writer.put(host.epoch);
    writer.put(host.missed_rounds);
  }
}

void AdaptiveThrottleGovernor::load_state(StateReader& reader) {
  mode_ = reader.get_enum(ThrottleMode::recovering);
  for (auto* real : {&rate_, &step_, &host_share_, &congestion_, &pi_.integral, &base_s_[0],
                     &base_s_[1], &last_least_s_, &global_cap_}) {
    reader.get(*real);
  }
  for (auto* instant : {&base_began_ns_, &last_cut_ns_, &next_control_ns_}) reader.get(*instant);
  reader.get(hold_);
  reader.get(breaker_open_);
  reader.get(self_);
  reader.get(interval_.count);
  reader.get(interval_.errors);
  reader.get(interval_.sum_ns);
  reader.get(interval_.least_ns);
  codel_.load(reader);
  for (auto& tenant : tenants_) {
    tenant = Tenant{};
    const auto name = reader.get<std::string>();
    if (name.empty()) continue;
    if (!is_name(name)) return reader.fail();
    std::copy(name.begin(), name.end(), tenant.name.begin());
    tenant.name_bytes = static_cast<std::uint32_t>(name.size());
    reader.get(tenant.priority);
    for (auto* real : {&tenant.weight, &tenant.min_guaranteed, &tenant.max_burst, &tenant.demand,
                       &tenant.share}) {
      reader.get(*real);
    }
    reader.get(tenant.offered);
    reader.get(tenant.idle_intervals);
    pools_[static_cast<std::size_t>(&tenant - tenants_.data())].load(reader);
  }
  for (auto& host : hosts_) {
    host = Host{};
    reader.get(host.is_known);
    if (!host.is_known) continue;
    reader.get(host.node);
    reader.get(host.demand);
    reader.get(host.epoch);
    reader.get(host.missed_rounds);
  }
}

Status AdaptiveThrottleGovernor::verify() const {
  double shares = 0;
  for (const auto& tenant : tenants_) shares += tenant.is_taken() ? tenant.share : 0;
  const bool is_balanced = std::all_of(pools_.begin(), pools_.end(), [](const CreditPool& pool) {
    return pool.audit().is_balanced();
  });
  const std::array<Check, 6> checks{{
      {is_balanced, "credits do not add up"},
      {counters_.allowed + counters_.limited == counters_.asked, "allowed + limited is not asked"},
      {rate_ >= config_.min_rate && rate_ <= config_.max_rate, "the rate is outside its range"},
      {shares <= view().effective_rate + 1e-6, "the shares are more than the rate"},
      {std::abs(pi_.integral) <= pi_.clamp + pi_.kp + 1, "the integral has wound up"},
      {interval_.errors <= interval_.count, "more errors than samples"},
  }};
  return all_hold(Errc::corrupt, checks);
}

template class ServiceForm<AdaptiveThrottleGovernor, ThrottleConfig, ThrottleCommand, ThrottleReply,
                           ThrottleCounters, ThrottleActions>;

}  // namespace mesh::coordination
