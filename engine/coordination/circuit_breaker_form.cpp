// What a breaker looks like from outside: its presets, the range of its config, its bytes.
#include <algorithm>
#include <array>
#include <string>

#include "engine/coordination/blocks/ppm.hpp"
#include "engine/coordination/circuit_breaker.hpp"

namespace mesh::coordination {
namespace {

constexpr std::array<std::string_view, 7> kPresets{"agent-call",   "external-api", "assign",
                                                   "mesh-cluster", "mesh-sector",  "mesh-global",
                                                   "rate-limit"};

CircuitBreakerConfig by_count(std::uint32_t failures) {
  CircuitBreakerConfig config;
  config.failure_threshold = failures;
  config.failure_rate_ppm = 0;
  return config;
}

CircuitBreakerConfig of_mesh(std::uint32_t failures) {
  CircuitBreakerConfig config = by_count(failures);
  config.window_ns = Nanos{60 * kNsPerSecond};
  config.recovery = BreakerRecovery::probe_then_ratio;
  return config;
}

CircuitBreakerConfig agent_call() {
  CircuitBreakerConfig config = by_count(3);
  config.open_multiplier = 1;
  config.success_threshold = 1;
  return config;
}

CircuitBreakerConfig external_api() {
  CircuitBreakerConfig config = by_count(5);
  config.open_ns = Nanos{60 * kNsPerSecond};
  config.half_open_probes_max = 2;
  config.success_threshold = 3;
  return config;
}

CircuitBreakerConfig rate_limit() {
  CircuitBreakerConfig config = by_count(0);
  config.consecutive_threshold = 3;
  config.open_ns = Nanos{60 * kNsPerSecond};
  config.open_multiplier = 1;
  config.success_threshold = 1;
  return config;
}

}  // namespace

std::string_view to_string(BreakerState state) noexcept {
  constexpr std::array<std::string_view, 5> kNames{"closed", "open", "half_open", "forced_open",
                                                   "disabled"};
  const auto index = static_cast<std::size_t>(state);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::span<const std::string_view> CircuitBreakerConfig::names() noexcept { return kPresets; }

Result<CircuitBreakerConfig> CircuitBreakerConfig::preset(std::string_view name) {
  if (name == "agent-call") return agent_call();
  if (name == "external-api") return external_api();
  if (name == "assign") return by_count(3);
  if (name == "mesh-cluster") return of_mesh(6);
  if (name == "mesh-sector") return of_mesh(51);
  if (name == "mesh-global") return of_mesh(11);
  if (name == "rate-limit") return rate_limit();
  return unknown_preset("circuit breaker", name, kPresets);
}

Status CircuitBreaker::validate(const Config& config) {
  const bool has_rule = config.failure_threshold != 0 || config.consecutive_threshold != 0 ||
                        config.failure_rate_ppm != 0 || config.slow_call_ns.count() != 0;
  const std::array<Check, 18> checks{{
      {has_rule, "no rule is enabled: it could never open"},
      {config.failure_rate_ppm <= kPpm, "failure_rate_ppm is above 1000000"},
      {config.min_calls >= 1, "min_calls is below 1"},
      {is_duration(config.slow_call_ns), "slow_call_ns is outside 0..36 years"},
      {config.slow_rate_ppm >= 1 && config.slow_rate_ppm <= kPpm,
       "slow_rate_ppm is outside 1..1000000"},
      {config.window_ns.count() >= 10 * kNsPerMs && is_duration(config.window_ns),
       "window_ns is outside 10 ms..36 years"},
      {config.buckets >= 1 && config.buckets <= 64, "buckets is outside 1..64"},
      {config.open_ns.count() > 0, "open_ns is not above 0"},
      {config.open_multiplier >= 1 && config.open_multiplier <= 10,
       "open_multiplier is outside 1..10"},
      {config.open_ns_max >= config.open_ns && is_duration(config.open_ns_max),
       "open_ns_max is outside open_ns..36 years"},
      {config.half_open_probes_max >= 1 && config.half_open_probes_max <= kProbesMax,
       "half_open_probes_max is outside 1..4095"},
      {config.success_threshold >= 1 && config.success_threshold <= kProbesMax,
       "success_threshold is outside 1..4095"},
      {is_positive_duration(config.half_open_ns_max), "half_open_ns_max is outside 1 ns..36 years"},
      {config.jitter_ppm <= 500'000, "jitter_ppm is above 500000"},
      {is_positive_duration(config.probe_retry_ns) && is_positive_duration(config.half_open_ns),
       "probe_retry_ns or half_open_ns is outside 1 ns..36 years"},
      {config.half_open_pass_every >= 1, "half_open_pass_every is below 1"},
      {config.half_open_failure_ppm >= 1 && config.half_open_failure_ppm <= kPpm,
       "half_open_failure_ppm is outside 1..1000000"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

// --- bytes -------------------------------------------------------------------------------------

void CircuitBreaker::save_state(StateWriter& writer) const {
  writer.put(state_);
  writer.put(epoch_);
  writer.put(consecutive_);
  writer.put(trips_);
  for (const auto instant : {open_until_ns_, entered_ns_, probed_ns_}) writer.put(instant);
  writer.put(last_serial_);
  writer.put(probes_ok_);
  for (const auto count : {half_open_seen_, half_open_calls_, half_open_failed_}) writer.put(count);
  window_.save(writer);
  rng_.save(writer);
  writer.put(static_cast<std::uint32_t>(probes_.size()));
  for (const auto& probe : probes_) {
    writer.put(probe.serial);
    writer.put(probe.station);
  }
}

void CircuitBreaker::load_state(StateReader& reader) {
  state_ = reader.get_enum(BreakerState::disabled);
  reader.get(epoch_);
  reader.get(consecutive_);
  reader.get(trips_);
  for (auto* instant : {&open_until_ns_, &entered_ns_, &probed_ns_}) reader.get(*instant);
  reader.get(last_serial_);
  reader.get(probes_ok_);
  for (auto* count : {&half_open_seen_, &half_open_calls_, &half_open_failed_}) reader.get(*count);
  window_.load(reader);
  rng_.load(reader);
  if (reader.get<std::uint32_t>() != probes_.size()) return reader.fail();
  probes_out_ = 0;
  for (auto& probe : probes_) {
    reader.get(probe.serial);
    reader.get(probe.station);
    probes_out_ += probe.serial == 0 ? 0 : 1;
  }
}

Status CircuitBreaker::verify() const {
  const auto taken = std::count_if(probes_.begin(), probes_.end(),
                                   [](const Probe& probe) { return probe.serial != 0; });
  const std::array<Check, 7> checks{{
      {counters_.allowed + counters_.rejected == counters_.calls,
       "allowed + rejected is not calls"},
      {static_cast<std::uint32_t>(taken) == probes_out_, "probes out do not match their slots"},
      {probes_out_ == 0 || state_ == BreakerState::half_open || state_ == BreakerState::open,
       "a probe is out while it neither is open nor half open"},
      {window_.is_consistent(), "the window's sum is not its buckets'"},
      {probes_ok_ < config_.success_threshold, "half open after enough successes"},
      {epoch_ <= kEpochMask && trips_ <= 255, "epoch or trips do not fit the view"},
      {half_open_failed_ <= half_open_calls_, "more failures than calls while half open"},
  }};
  return all_hold(Errc::corrupt, checks);
}

template class ServiceForm<CircuitBreaker, CircuitBreakerConfig, BreakerCommand, BreakerReply,
                           BreakerCounters, BreakerActions>;

}  // namespace mesh::coordination
