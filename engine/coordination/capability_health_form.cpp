// What a monitor looks like from outside: its presets, the range of its config, its bytes.
#include <array>
#include <cmath>
#include <string>

#include "engine/coordination/capability_health.hpp"

namespace mesh::coordination {
namespace {

constexpr std::array<std::string_view, 3> kPresets{"real-time-api", "batch-processing",
                                                   "agent-mesh"};

CapabilityHealthConfig real_time_api() {
  CapabilityHealthConfig config;
  config.latency_half_ns = Nanos{80 * kNsPerMs};
  config.sla_latency_ns = Nanos{200 * kNsPerMs};
  config.slo = 0.999;
  config.probe_interval_ns = Nanos{kNsPerSecond};
  config.window_ns = Nanos{60 * kNsPerSecond};
  config.misses_max = 2;
  for (auto* window : {&config.page_long_ns, &config.page_short_ns, &config.ticket_long_ns,
                       &config.ticket_short_ns}) {
    *window /= 12;
  }
  return config;
}

CapabilityHealthConfig batch_processing() {
  CapabilityHealthConfig config;
  config.latency_half_ns = Nanos{5 * kNsPerSecond};
  config.sla_latency_ns = Nanos{30 * kNsPerSecond};
  config.slo = 0.95;
  config.probe_interval_ns = Nanos{30 * kNsPerSecond};
  config.window_ns = Nanos{3'600 * kNsPerSecond};
  for (auto* window : {&config.page_long_ns, &config.page_short_ns, &config.ticket_long_ns,
                       &config.ticket_short_ns}) {
    *window *= 4;
  }
  return config;
}

template <std::size_t N>
std::string_view name_at(const std::array<std::string_view, N>& names, std::size_t index) noexcept {
  return index < N ? names[index] : "unknown";
}

}  // namespace

std::string_view to_string(HealthStatus status) noexcept {
  constexpr std::array<std::string_view, 5> kNames{"unknown", "healthy", "degraded", "critical",
                                                   "failed"};
  return name_at(kNames, static_cast<std::size_t>(status));
}
std::string_view to_string(Remediation action) noexcept {
  constexpr std::array<std::string_view, 8> kNames{
      "none",    "increase_probe_rate", "shed_load", "reroute",
      "restart", "quarantine",          "escalate",  "trip_dependency"};
  return name_at(kNames, static_cast<std::size_t>(action));
}

std::span<const std::string_view> CapabilityHealthConfig::names() noexcept { return kPresets; }

Result<CapabilityHealthConfig> CapabilityHealthConfig::preset(std::string_view name) {
  if (name == "real-time-api") return real_time_api();
  if (name == "batch-processing") return batch_processing();
  if (name == "agent-mesh") return CapabilityHealthConfig{};
  return unknown_preset("capability health", name, kPresets);
}

Status CapabilityHealthMonitor::validate(const Config& config) {
  const auto share = [](double value) { return value > 0 && value <= 1; };
  const std::array<Check, 18> checks{{
      {config.latency_half_ns.count() >= 1'000 && is_duration(config.latency_half_ns),
       "latency_half_ns is outside 1 us..36 years"},
      {is_positive_duration(config.sla_latency_ns), "sla_latency_ns is outside 1 ns..36 years"},
      {config.slo > 0 && config.slo < 1, "slo is outside 0..1"},
      {config.probe_interval_ns.count() >= kNsPerMs &&
           config.probe_interval_ns.count() <= 86'400 * kNsPerSecond,
       "probe_interval_ns is outside 1 ms..1 d"},
      {config.window_ns >= config.probe_interval_ns && is_duration(config.window_ns),
       "window_ns is below probe_interval_ns, or above 36 years"},
      {config.misses_max >= 1, "misses_max is below 1"},
      {config.hysteresis >= 0 && config.hysteresis <= 0.2, "hysteresis is outside 0..0.2"},
      {config.phi_max > 0 && config.phi_max <= 100, "phi_max is outside 0..100"},
      {config.unknown_intervals >= 1 && config.unknown_intervals <= 1'000,
       "unknown_intervals is outside 1..1000"},
      {config.page_burn > 0 && config.ticket_burn > 0 && config.page_burn <= 1e6 &&
           config.ticket_burn <= 1e6,
       "page_burn or ticket_burn is not above 0"},
      {config.page_long_ns >= config.page_short_ns && config.page_short_ns.count() > 0 &&
           config.ticket_long_ns >= config.ticket_short_ns && config.ticket_short_ns.count() > 0 &&
           is_duration(config.page_long_ns) && is_duration(config.ticket_long_ns),
       "page_short_ns or ticket_short_ns is above its long window, or not above 0"},
      {config.trend_samples_min >= 3 && config.trend_samples_min <= SampleRing::kSamples &&
           share(config.trend_r2_min) && share(config.predict_probability),
       "trend_samples_min, trend_r2_min or predict_probability is outside its range"},
      {config.cusum_k >= 0 && config.cusum_h > 0 && config.cusum_k <= 100 &&
           config.cusum_h <= 1'000 && is_duration(config.cusum_k_ns) &&
           is_duration(config.cusum_h_ns),
       "cusum_k or cusum_h is outside its range"},
      {config.remediation_cooldown_ns.count() > 0 &&
           config.remediation_cooldown_ns.count() <= 3'600 * kNsPerSecond &&
           config.remediations_per_hour >= 1,
       "remediation_cooldown_ns or remediations_per_hour is outside its range"},
      {share(config.share_move_max), "share_move_max is outside 0..1"},
      {share(config.panic_unhealthy) && share(config.dependency_share),
       "panic_unhealthy or dependency_share is outside 0..1"},
      {config.agents_max >= 1 && config.agents_max <= 1'048'576 && config.capabilities_max >= 1 &&
           config.capabilities_max <= 1'024 && config.rows_max >= 1 && config.rows_max <= 1'048'576,
       "agents_max, capabilities_max or rows_max is outside its range"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

Result<std::uint32_t> CapabilityHealthMonitor::find(std::string_view capability) const {
  for (std::uint32_t i = 0; is_kind(i); ++i) {
    if (kinds_[i].name == capability) return i;
  }
  return complain(Errc::not_found, "no such capability");
}

// --- bytes -------------------------------------------------------------------------------------

namespace {

template <class R, class Field>
void each_fact(R& row, Field&& field) {
  field(row.spare), field(row.ready), field(row.forced), field(row.page), field(row.ticket);
  field(row.acknowledged), field(row.shifted);
  field(row.misses), field(row.successes), field(row.score), field(row.share);
  field(row.last_probe_ns), field(row.last_at_ns), field(row.base_ns);
  field(row.next_remedy_ns), field(row.hour_began_ns), field(row.remedies), field(row.doublings);
}
template <class R, class Part>
void each_part(R& row, Part&& part) {
  part(row.window), part(row.samples), part(row.phi), part(row.cusum), part(row.trend);
  part(row.sequences), part(row.burns);
}

}  // namespace

void CapabilityHealthMonitor::save_row(StateWriter& writer, const Row& row) const {
  writer.put(row.agent);
  writer.put(row.status);
  each_fact(row, [&](const auto& fact) { writer.put(fact); });
  each_part(row, [&](const auto& part) { part.save(writer); });
}

void CapabilityHealthMonitor::load_row(StateReader& reader, std::uint32_t capability) {
  const auto agent = reader.get<std::uint32_t>();
  if (reader.failed() || row_of(capability, agent) != kNoRow) return reader.fail();
  const std::uint32_t index = take_row(capability, agent);
  if (index == kNoRow) return reader.fail();
  Row& row = rows_[index];
  row.status = reader.get_enum(HealthStatus::failed);
  each_fact(row, [&](auto& fact) { reader.get(fact); });
  each_part(row, [&](auto& part) { part.load(reader); });
  if (!std::isfinite(row.score) || !std::isfinite(row.share) || row.doublings > 16) reader.fail();
}

void CapabilityHealthMonitor::save_state(StateWriter& writer) const {
  for (const auto instant : {last_tick_ns_, next_sweep_ns_, silent_until_ns_}) writer.put(instant);
  for (std::uint32_t i = 0; i < kinds_.size(); ++i) {
    const Kind& kind = kinds_[i];
    writer.put(kind.name);
    if (kind.name.empty()) continue;
    writer.put(kind.slo);
    writer.put(kind.sla_ns);
    writer.put(kind.tripped);
    writer.put(providers_[i].count());
    for_rows(i, [&](const Row& row) { save_row(writer, row); });
  }
}

void CapabilityHealthMonitor::load_state(StateReader& reader) {
  for (auto* instant : {&last_tick_ns_, &next_sweep_ns_, &silent_until_ns_}) reader.get(*instant);
  for (std::uint32_t i = 0; i < kinds_.size() && !reader.failed(); ++i) {
    Kind& kind = kinds_[i];
    const auto name = reader.get<std::string>();
    if (name.empty()) continue;
    if (!is_name(name)) return reader.fail();
    kind.name.assign(name);
    reader.get(kind.slo);
    reader.get(kind.sla_ns);
    reader.get(kind.tripped);
    if (!(kind.slo > 0 && kind.slo < 1)) return reader.fail();
    const std::size_t providers = reader.get_count(64);
    for (std::size_t k = 0; k < providers && !reader.failed(); ++k) load_row(reader, i);
  }
}

Status CapabilityHealthMonitor::verify() const {
  if (counters_.accepted + counters_.duplicates + counters_.late != counters_.probes) {
    return complain(Errc::corrupt, "accepted + duplicates + late is not probes");
  }
  for (std::uint32_t i = 0; is_kind(i); ++i) {
    double shares = 0;
    bool sound = true;
    for_rows(i, [&](const Row& row) {
      shares += row.share;
      sound = sound && row.score >= 0 && row.score <= 1 + 1e-9 && row.share >= 0 &&
              row.capability == i && row.window.is_consistent() &&
              row.remedies <= config_.remediations_per_hour + 1;
    });
    if (!sound) return complain(Errc::corrupt, "a row is outside its range");
    if (shares > 1 + 1e-6) return complain(Errc::corrupt, "the shares are more than the work");
  }
  return {};
}

template class ServiceForm<CapabilityHealthMonitor, CapabilityHealthConfig, HealthCommand,
                           HealthReply, HealthCounters, HealthActions>;

}  // namespace mesh::coordination
