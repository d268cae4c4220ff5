#include "engine/coordination/capability_health.hpp"

#include <algorithm>
#include <cmath>

#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/blocks/ppm.hpp"

namespace mesh::coordination {
namespace {

constexpr std::size_t kWindowBuckets = 12;
constexpr std::size_t kBaseSamples = 16;    // for a mean and a deviation to mean something
constexpr std::size_t kTrendFrom = 8;       // a score of fewer outcomes falls by itself: no trend
constexpr double kDeviationMin = 0.01;      // of the mean, for the CUSUM
constexpr std::uint64_t kSlowPpm = 50'000;  // above the SLA's latency: what is beyond its p95

}  // namespace

CapabilityHealthMonitor::Row::Row(const Config& config)
    : window(config.window_ns.count(), kWindowBuckets),
      burns({config.page_long_ns.count(), config.page_short_ns.count(),
             config.ticket_long_ns.count(), config.ticket_short_ns.count()}) {}

// A row is 2 KiB, and a probe touches a dozen lines of it: all on their way at once. What is
// always touched comes first, in lines that follow each other.
void CapabilityHealthMonitor::Row::prefetch() const noexcept {
  const auto* line = reinterpret_cast<const std::byte*>(this);
  for (const auto* end = reinterpret_cast<const std::byte*>(&samples); line < end; line += 64) {
    __builtin_prefetch(line);
  }
  samples.prefetch();
  trend.prefetch();
}

void CapabilityHealthMonitor::Row::clear() noexcept {
  static_cast<RowFacts&>(*this) = RowFacts{};
  window.clear();
  samples = SampleWindow{};
  burns.clear();
  phi = PhiAccrual{};
  cusum = Cusum{};
  trend.clear();
  sequences = SequenceWindow{};
}

CapabilityHealthMonitor::CapabilityHealthMonitor(const Config& config, std::uint64_t /*seed*/)
    : ServiceForm(config),
      kinds_(config.capabilities_max),
      row_of_(std::size_t{config.capabilities_max} * config.agents_max, kNoRow) {
  providers_.reserve(config.capabilities_max);
  for (auto& kind : kinds_) {
    kind.name.reserve(kNameBytesMax);
    providers_.emplace_back(config.agents_max);
  }
  rows_.reserve(config.rows_max);
  free_rows_.reserve(config.rows_max);
  for (std::uint32_t i = 0; i < config.rows_max; ++i) {
    rows_.emplace_back(config);
    free_rows_.push_back(config.rows_max - 1 - i);
  }
}

bool CapabilityHealthMonitor::is_kind(std::uint32_t capability) const noexcept {
  return capability < kinds_.size() && !kinds_[capability].name.empty();
}
std::uint32_t CapabilityHealthMonitor::row_of(std::uint32_t capability,
                                              std::uint32_t agent) const noexcept {
  if (!is_kind(capability) || agent >= config_.agents_max) return kNoRow;
  return row_of_[std::size_t{capability} * config_.agents_max + agent];
}

std::uint32_t CapabilityHealthMonitor::take_row(std::uint32_t capability,
                                                std::uint32_t agent) noexcept {
  const std::uint32_t known = row_of(capability, agent);
  if (known != kNoRow || agent >= config_.agents_max || free_rows_.empty()) return known;
  const std::uint32_t row = free_rows_.back();
  free_rows_.pop_back();
  rows_[row].agent = agent;
  rows_[row].capability = capability;
  row_of_[std::size_t{capability} * config_.agents_max + agent] = row;
  providers_[capability].set(agent, true);
  return row;
}

void CapabilityHealthMonitor::emit(Event kind, const Row& row, std::uint64_t a,
                                   std::uint64_t b) noexcept {
  view_changed_ = true;
  events_.emit({.t_ns = clock_.last_ns(),
                .kind = static_cast<std::uint16_t>(kind),
                .severity = Severity::warning,
                .source = row.agent,
                .a = a,
                .b = b,
                .c = row.capability});
}

// --- probes ------------------------------------------------------------------------------------

bool CapabilityHealthMonitor::is_countable(Row& row, const health::Probe& probe,
                                           std::int64_t at_ns) noexcept {
  if (probe.sequence != 0 && row.sequences.accept(probe.sequence) != Errc::ok &&
      !MESH_MUTANT("health.duplicate")) {
    ++counters_.duplicates;
    return false;
  }
  if (at_ns < row.last_at_ns - config_.window_ns.count() && !MESH_MUTANT("health.late")) {
    ++counters_.late;
    return false;
  }
  row.last_at_ns = std::max(row.last_at_ns, at_ns);
  return true;
}

void CapabilityHealthMonitor::learn_base(Row& row, std::int64_t now_ns) noexcept {
  // After a shift the ring must be all new first: base_ns is minus the shift's instant then.
  const std::int64_t renewal =
      static_cast<std::int64_t>(SampleWindow::kSamples) * config_.probe_interval_ns.count();
  const bool due = row.base_ns == -1 ? true
                   : row.base_ns < 0 ? now_ns + row.base_ns >= renewal
                                     : now_ns - row.base_ns >= config_.window_ns.count();
  if (!due || row.status != HealthStatus::healthy || row.samples.successes() < kBaseSamples) return;
  if (row.cusum.g > 0 && row.base_ns >= 0) return;  // something may be going on: keep what was
  const double mean = row.samples.mean_micros() / 1e3;
  const double deviation =
      std::max(row.samples.deviation_micros() / 1e3, std::max(kDeviationMin * mean, 1e-3));
  row.base_ns = now_ns;
  row.cusum.mean = mean;
  row.cusum.k = config_.cusum_k_ns.count() > 0
                    ? static_cast<double>(config_.cusum_k_ns.count()) / 1e6
                    : config_.cusum_k * deviation;
  row.cusum.h = config_.cusum_h_ns.count() > 0
                    ? static_cast<double>(config_.cusum_h_ns.count()) / 1e6
                    : config_.cusum_h * deviation;
}

void CapabilityHealthMonitor::watch_latency(Row& row, double latency_ms) noexcept {
  if (!row.cusum.add(latency_ms)) return;
  ++counters_.latency_shifts;
  emit(Event::latency_shift, row, static_cast<std::uint64_t>(row.cusum.mean * 1e3), 0);
  row.cusum = Cusum{};
  row.base_ns = -std::max<std::int64_t>(2, clock_.last_ns());  // what is usual is learned anew
  row.shifted = true;
}

void CapabilityHealthMonitor::rescore(Row& row, std::int64_t now_ns) noexcept {
  const WindowTotals& seen = row.window.totals(now_ns);
  if (seen.total == 0) return;
  const double availability =
      1 - static_cast<double>(seen.failed) / static_cast<double>(seen.total);
  row.samples.drop_before(now_ns - config_.window_ns.count());
  double latency = 0;
  double variation = 0;
  if (row.samples.successes() != 0) {
    const double half = static_cast<double>(config_.latency_half_ns.count()) / 1e3;
    latency = health_latency_score(row.samples.median_micros(), half);
    const double mean = row.samples.mean_micros();
    if (mean > 0) variation = std::min(1.0, row.samples.deviation_micros() / mean);
  }
  const double stability = (1 - variation) * (1 - row.samples.flap_rate());
  row.score = health_score(availability, latency, stability);
}

void CapabilityHealthMonitor::restatus(Row& row, std::int64_t now_ns) noexcept {
  const HealthStatus before = row.status;
  if (row.misses >= config_.misses_max) row.forced = true;
  if (row.forced && row.successes >= config_.misses_max) row.forced = false;
  // Just heard: no logarithm.
  const bool silent = row.phi.last_ns() != now_ns && row.phi.phi(now_ns) > config_.phi_max;
  const std::int64_t quiet = now_ns - row.last_probe_ns;
  const std::int64_t unknown_ns = config_.unknown_intervals * config_.probe_interval_ns.count();
  if (row.forced || silent) {
    row.status = HealthStatus::failed;
  } else if (before == HealthStatus::unknown && row.window.sum().total == 0) {
    row.status = before;  // it lives, and nothing is known of how well
  } else if (quiet >= unknown_ns && !row.phi.can_tell()) {
    row.status = HealthStatus::unknown;
  } else {
    row.status = next_status(before, row.score, config_.hysteresis);
  }
  if (row.status == before) return;
  if (row.status == HealthStatus::healthy) {
    row.shifted = false;
    row.doublings = 0;
  }
  ++counters_.status_changes;
  emit(Event::status_change, row, static_cast<std::uint64_t>(before),
       static_cast<std::uint64_t>(row.status));
}

void CapabilityHealthMonitor::note_readiness(Row& row, bool ready, std::int64_t now_ns) noexcept {
  view_changed_ = view_changed_ || ready != row.ready;
  row.ready = ready;
  row.last_probe_ns = now_ns;
  row.phi.heard(now_ns);  // it lives
  restatus(row, now_ns);
}

void CapabilityHealthMonitor::note(Row& row, const health::ProbeSums& sums, bool has_latency,
                                   std::int64_t now_ns) noexcept {
  const bool slow = has_latency && sums.latency_mean.count() > kinds_[row.capability].sla_ns;
  const std::uint32_t good = sums.count - sums.failures;
  row.window.add_many(now_ns, {sums.count, sums.failures, slow ? good : 0U});
  row.burns.add(now_ns, sums.count, sums.failures);
  row.last_probe_ns = now_ns;
  row.phi.heard(now_ns);  // a failure is no silence: misses_max is for those
  row.misses = good == 0 ? row.misses + sums.count : 0;
  row.successes = sums.failures == 0 ? row.successes + good : 0;
  if (sums.failures != 0) row.samples.add(now_ns, false, 0);
  if (good != 0 && has_latency) {
    const std::int64_t micros = sums.latency_mean.count() / 1'000;
    const auto kept =
        static_cast<std::uint32_t>(std::min<std::int64_t>(micros, SampleWindow::kMicrosMax));
    row.samples.add(now_ns, true, kept);
    watch_latency(row, static_cast<double>(sums.latency_mean.count()) / 1e6);
  }
  rescore(row, now_ns);
  if (row.samples.count() >= kTrendFrom) {
    row.trend.add({static_cast<double>(now_ns) * 1e-9, row.score});
  }
  restatus(row, now_ns);
  learn_base(row, now_ns);
}

CapabilityHealthMonitor::Reply CapabilityHealthMonitor::probe(const health::Probe& probe,
                                                              Nanos now) noexcept {
  ++counters_.commands;
  if (!is_kind(probe.capability)) return refuse(Errc::not_found);
  const std::int64_t at_ns = probe.at.count() != 0 ? probe.at.count() : now.count();
  if (!ServiceClock::is_valid(now) || probe.latency.count() < 0 || at_ns < 0 ||
      probe.type > ProbeType::correctness ||
      at_ns > now.count() + config_.probe_interval_ns.count()) {
    return refuse(Errc::invalid_argument);
  }
  const std::uint32_t index = take_row(probe.capability, probe.agent);
  if (index == kNoRow) return refuse(Errc::capacity);
  const std::int64_t now_ns = clock_.at(now);
  Row& row = rows_[index];
  row.prefetch();
  ++counters_.probes;
  Reply reply;
  if (is_countable(row, probe, at_ns)) {
    ++counters_.accepted;
    if (probe.type == ProbeType::readiness) {
      note_readiness(row, probe.success, now_ns);
    } else {
      const bool has_latency = probe.type == ProbeType::performance;
      note(row, {probe.capability, probe.agent, 1, probe.success ? 0U : 1U, probe.latency},
           has_latency, now_ns);
    }
    if (row.status != HealthStatus::healthy) reply.remediation = remediate(row, now_ns).action;
  }
  reply.agent = probe.agent;
  reply.score = row.score;
  reply.status = row.status;
  return reply;
}

CapabilityHealthMonitor::Reply CapabilityHealthMonitor::probe_sums(const health::ProbeSums& sums,
                                                                   std::int64_t now_ns) noexcept {
  if (!is_kind(sums.capability)) return refuse(Errc::not_found);
  if (sums.count == 0 || sums.failures > sums.count || sums.latency_mean.count() < 0) {
    return refuse(Errc::invalid_argument);
  }
  const std::uint32_t index = take_row(sums.capability, sums.agent);
  if (index == kNoRow) return refuse(Errc::capacity);
  Row& row = rows_[index];
  counters_.probes += sums.count;
  counters_.accepted += sums.count;
  row.last_at_ns = std::max(row.last_at_ns, now_ns);
  note(row, sums, true, now_ns);
  Reply reply;
  reply.agent = sums.agent;
  reply.score = row.score;
  reply.status = row.status;
  if (row.status != HealthStatus::healthy) reply.remediation = remediate(row, now_ns).action;
  return reply;
}

// --- alerts and prediction ---------------------------------------------------------------------

void CapabilityHealthMonitor::judge_alerts(Row& row, std::int64_t now_ns) noexcept {
  const auto burns = [&](std::size_t window) {
    return burn_rate(row.burns.failure_rate(window, now_ns), kinds_[row.capability].slo);
  };
  const auto judge = [&](bool& active, std::size_t window, double limit, std::uint64_t which) {
    const bool both =
        burns(window) > limit && (burns(window + 1) > limit || MESH_MUTANT("health.both_windows"));
    if (both == active) return;
    active = both;
    counters_.alerts += both ? 1 : 0;
    if (both) row.acknowledged = false;
    emit(Event::alert, row, which, both ? 1 : 0);
  };
  judge(row.page, 0, config_.page_burn, 1);
  judge(row.ticket, 2, config_.ticket_burn, 2);
}

bool CapabilityHealthMonitor::fit_trend(const Row& row, Line& line) const noexcept {
  if (row.trend.count() < config_.trend_samples_min) return false;
  return config_.robust_trend ? row.trend.fit_robust(line) : row.trend.fit(line);
}

HealthPrediction CapabilityHealthMonitor::predict(const Row& row) const noexcept {
  HealthPrediction prediction;
  Line line;
  if (!fit_trend(row, line)) return prediction;
  const bool is_noise = line.r2 < config_.trend_r2_min && !MESH_MUTANT("health.noise");
  if (!(line.slope < 0) || is_noise) return prediction;
  prediction.known = true;
  prediction.seconds_to_failed =
      std::max(0.0, time_to_threshold(row.score, line.slope, kStatusBounds[3]));
  const double horizon = static_cast<double>(config_.window_ns.count()) * 1e-9;
  prediction.probability =
      prediction.seconds_to_failed > 0 ? 1 - std::exp(-horizon / prediction.seconds_to_failed) : 1;
  return prediction;
}

HealthPrediction CapabilityHealthMonitor::prediction(std::uint32_t capability,
                                                     std::uint32_t agent) const noexcept {
  const std::uint32_t row = row_of(capability, agent);
  return row == kNoRow ? HealthPrediction{} : predict(rows_[row]);
}

HealthView CapabilityHealthMonitor::view(std::uint32_t capability,
                                         std::uint32_t agent) const noexcept {
  const std::uint32_t index = row_of(capability, agent);
  if (index == kNoRow) return {};
  const Row& row = rows_[index];
  HealthView view;
  view.score_ppm = ppm_of(row.score);
  view.status = row.status;
  Line line;
  if (fit_trend(row, line)) view.trend = line.slope;
  view.page = row.page;
  view.ticket = row.ticket;
  view.acknowledged = row.acknowledged;
  view.share = row.share;
  SlidingRates<4> burns = row.burns;  // to look moves nothing
  const double compliance = 1 - burns.failure_rate(2, clock_.last_ns());
  view.sla_score = 100 * std::min(1.0, compliance / kinds_[capability].slo) -
                   10 * ((row.page ? 1 : 0) + (row.ticket ? 1 : 0));
  const WindowTotals& seen = row.window.sum();
  view.ready = row.ready;
  view.p95_met = seen.slow * 1'000'000 <= kSlowPpm * (seen.total - seen.failed);
  return view;
}

// --- commands ----------------------------------------------------------------------------------

CapabilityHealthMonitor::Reply CapabilityHealthMonitor::add_capability(
    const health::AddCapability& wanted) noexcept {
  if (!is_name(wanted.name)) return refuse(Errc::invalid_id);
  std::uint32_t at = 0;
  for (; is_kind(at); ++at) {
    if (kinds_[at].name == wanted.name) return refuse(Errc::already_exists);
  }
  if (at == kinds_.size()) return refuse(Errc::capacity);
  kinds_[at].name = wanted.name;  // reserved
  kinds_[at].slo = config_.slo;
  kinds_[at].sla_ns = config_.sla_latency_ns.count();
  Reply reply;
  reply.capability = at;
  return reply;
}

CapabilityHealthMonitor::Reply CapabilityHealthMonitor::set_objective(
    const health::SetObjective& wanted) noexcept {
  if (!is_kind(wanted.capability)) return refuse(Errc::not_found);
  if (!(wanted.slo > 0 && wanted.slo < 1) || wanted.sla_latency.count() <= 0) {
    return refuse(Errc::invalid_argument);
  }
  kinds_[wanted.capability].slo = wanted.slo;
  kinds_[wanted.capability].sla_ns = wanted.sla_latency.count();
  return {};
}

CapabilityHealthMonitor::Reply CapabilityHealthMonitor::change_provider(
    const Command& command) noexcept {
  if (const auto* capacity = std::get_if<health::SetCapacity>(&command)) {
    const std::uint32_t row = row_of(capacity->capability, capacity->agent);
    if (row == kNoRow) return refuse(Errc::not_found);
    rows_[row].spare = capacity->spare;
    return {};
  }
  if (const auto* seen = std::get_if<health::Acknowledge>(&command)) {
    const std::uint32_t row = row_of(seen->capability, seen->agent);
    if (row == kNoRow) return refuse(Errc::not_found);
    if (!rows_[row].page && !rows_[row].ticket) return refuse(Errc::wrong_state);
    rows_[row].acknowledged = true;
    return {};
  }
  const auto& gone = std::get<health::RemoveProvider>(command);
  const std::uint32_t index = row_of(gone.capability, gone.agent);
  if (index == kNoRow) return refuse(Errc::not_found);
  rows_[index].clear();
  providers_[gone.capability].set(gone.agent, false);
  row_of_[std::size_t{gone.capability} * config_.agents_max + gone.agent] = kNoRow;
  free_rows_.push_back(index);  // reserved
  view_changed_ = true;
  return {};
}

CapabilityHealthMonitor::Reply CapabilityHealthMonitor::apply(const Command& command,
                                                              Nanos now) noexcept {
  if (const auto* one = std::get_if<health::Probe>(&command)) return probe(*one, now);
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  if (const auto* sums = std::get_if<health::ProbeSums>(&command)) return probe_sums(*sums, now_ns);
  if (const auto* wanted = std::get_if<health::AddCapability>(&command)) {
    return add_capability(*wanted);
  }
  if (const auto* wanted = std::get_if<health::SetObjective>(&command)) {
    return set_objective(*wanted);
  }
  if (const auto* asked = std::get_if<health::BestProvider>(&command)) {
    if (!is_kind(asked->capability)) return refuse(Errc::not_found);
    return best_provider(asked->capability);
  }
  return change_provider(command);
}

}  // namespace mesh::coordination
