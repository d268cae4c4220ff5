// CapabilityHealthMonitor: how good each live provider of a capability is, by probes; what to do
// about the bad ones; and which share of the work each should have.
//
//   unknown --probe--> healthy >= .80 > degraded >= .55 > critical >= .30 > failed   (hysteresis)
//   misses_max probes failed in a row, or phi > phi_max: failed. Silence before phi can tell:
//   unknown.
//
//   score = .5 availability + .3 / (1 + (p50 / latency_half)^2) + .2 (1 - CV)(1 - flap rate)
//
// Callers     one thread. Any process may read what view() says.
// Progress    wait-free.  Cost  probe 60 ns; tick O(rows) each probe interval. No allocation after
//             construction.
// Units       an agent is a number below agents_max: in a mesh its row. Capabilities are names once
//             and numbers afterwards. Nanos; scores in 0..1.
// If the      provider dies: misses or phi make it failed for selection; the agent is not declared
// other side  dead, that is the mesh's. The caller of tick() was away: what it missed is excused,
// dies,       and nothing is said until an interval later. A probe comes twice or too late: it is
// or lies     counted and ignored.
// Invariants  accepted + duplicates + late == probes. The shares of a capability sum to 1, or to 0
//             before the first tick and without a provider. At most remediations_per_hour
//             remediations a row in an hour, then one escalation.
// Errors      validate -> invalid_config. Unknown capability or provider: not_found. A latency
//             below 0, a probe from the future, an unknown type, an objective out of range:
//             invalid_argument. No room: capacity. best_provider with none: no_candidate.
// Source      Page 1954 (CUSUM); Hayashibara 2004 (phi); Google SRE Workbook 2018 (burn rates);
//             panic routing: Envoy.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/candidate_set.hpp"
#include "engine/coordination/blocks/cusum.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/ols.hpp"
#include "engine/coordination/blocks/phi_accrual.hpp"
#include "engine/coordination/blocks/sample_window.hpp"
#include "engine/coordination/blocks/sequence_window.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/blocks/sliding_rate.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::coordination {

enum class HealthStatus : std::uint8_t { unknown, healthy, degraded, critical, failed };
// What a probe of each type tells. liveness: does it answer at all; it counts for availability, not
// for latency. readiness: may it be given work; a provider that is not ready is passed over at once
// and loses nothing of its score. performance: all there is. correctness: is the answer right; a
// wrong one is a failure, how long it took says nothing.
enum class ProbeType : std::uint8_t { liveness, readiness, performance, correctness };
enum class HealthCause : std::uint8_t { none, latency, errors, silence, burn, trend };
enum class Remediation : std::uint8_t {
  none,
  increase_probe_rate,
  shed_load,  // half of it
  reroute,
  restart,
  quarantine,
  escalate,
  trip_dependency,  // the breaker of what all providers depend on, not the providers
};
constexpr HealthStatus last_of(HealthStatus) noexcept { return HealthStatus::failed; }
constexpr ProbeType last_of(ProbeType) noexcept { return ProbeType::correctness; }
constexpr HealthCause last_of(HealthCause) noexcept { return HealthCause::trend; }
constexpr Remediation last_of(Remediation) noexcept { return Remediation::trip_dependency; }
[[nodiscard]] std::string_view to_string(HealthStatus status) noexcept;
[[nodiscard]] std::string_view to_string(Remediation action) noexcept;
// What is to be done about a provider of this status, for this cause.
[[nodiscard]] Remediation remediation_for(HealthStatus status, HealthCause cause) noexcept;

inline constexpr std::array<double, 5> kStatusBounds{2, 0.80, 0.55, 0.30, 0};  // by HealthStatus

[[nodiscard]] constexpr double health_latency_score(double latency, double half) noexcept {
  return 1 / (1 + (latency / half) * (latency / half));
}
[[nodiscard]] constexpr double health_score(double availability, double latency_score,
                                            double stability) noexcept {
  return 0.5 * availability + 0.3 * latency_score + 0.2 * stability;
}
[[nodiscard]] constexpr HealthStatus health_status(double score) noexcept {
  return score >= kStatusBounds[1]   ? HealthStatus::healthy
         : score >= kStatusBounds[2] ? HealthStatus::degraded
         : score >= kStatusBounds[3] ? HealthStatus::critical
                                     : HealthStatus::failed;
}
// Down when the score lies below the status's own bound by the hysteresis, up to the first whose
// bound it passes by as much.
[[nodiscard]] constexpr HealthStatus next_status(HealthStatus from, double score,
                                                 double hysteresis) noexcept {
  const HealthStatus raw = health_status(score);
  if (from == HealthStatus::unknown) return raw;
  const auto at = static_cast<std::size_t>(from);
  if (raw > from) return score < kStatusBounds[at] - hysteresis ? raw : from;
  for (auto i = static_cast<std::size_t>(raw); i < at; ++i) {
    if (score >= kStatusBounds[i] + hysteresis) return static_cast<HealthStatus>(i);
  }
  return from;
}
[[nodiscard]] constexpr double burn_rate(double error_rate, double slo) noexcept {
  return error_rate / (1 - slo);
}
// Seconds until the score is at the threshold, by its slope a second; below 0: never.
[[nodiscard]] constexpr double time_to_threshold(double score, double slope,
                                                 double threshold) noexcept {
  return slope < 0 ? (score - threshold) / -slope : -1;
}

struct CapabilityHealthConfig {
  Nanos latency_half_ns{240'000'000};   // the latency that is worth half
  Nanos sla_latency_ns{1'000'000'000};  // of the 95th percentile
  double slo = 0.99;                    // availability
  Nanos probe_interval_ns{5'000'000'000};
  Nanos window_ns{300'000'000'000};
  std::uint32_t misses_max = 3;  // failed probes in a row
  double hysteresis = 0.03;
  double phi_max = 8;
  std::uint32_t unknown_intervals = 3;  // without a probe
  double page_burn = 14.4;              // over both of its windows
  Nanos page_long_ns{3'600'000'000'000};
  Nanos page_short_ns{300'000'000'000};
  double ticket_burn = 6;
  Nanos ticket_long_ns{21'600'000'000'000};
  Nanos ticket_short_ns{1'800'000'000'000};
  std::uint32_t trend_samples_min = 8;
  double trend_r2_min = 0.5;
  bool robust_trend = false;         // by Theil-Sen, which one wild score in four cannot turn
  double predict_probability = 0.2;  // of failing within window_ns, from which it is a trend
  double cusum_k = 0.5;              // deviations
  double cusum_h = 5;
  Nanos cusum_k_ns{0};  // above 0: instead of the deviations
  Nanos cusum_h_ns{0};
  Nanos remediation_cooldown_ns{30'000'000'000};  // doubles each time
  std::uint32_t remediations_per_hour = 5;
  double share_move_max = 0.25;  // of a provider's share, an interval
  double panic_unhealthy = 0.5;
  double dependency_share = 0.6;  // of the providers degraded together
  std::uint32_t agents_max = 1'024;
  std::uint32_t capabilities_max = 16;
  std::uint32_t rows_max = 1'024;  // of capability and agent
  std::uint32_t events_max = 256;

  static Result<CapabilityHealthConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

namespace health {
struct AddCapability {
  std::string name;
};
// A provider is known from its first probe on.
struct Probe {
  ProbeType type = ProbeType::performance;
  std::uint32_t capability = 0;
  std::uint32_t agent = 0;
  bool success = true;
  Nanos latency{0};
  Nanos at{0};                 // when, if not now
  std::uint64_t sequence = 0;  // 0: none
};
// What a station has summed up since its last command.
struct ProbeSums {
  std::uint32_t capability = 0;
  std::uint32_t agent = 0;
  std::uint32_t count = 0;
  std::uint32_t failures = 0;
  Nanos latency_mean{0};  // of the successes
};
struct SetObjective {
  std::uint32_t capability = 0;
  double slo = 0.99;
  Nanos sla_latency{0};
};
struct SetCapacity {
  std::uint32_t capability = 0;
  std::uint32_t agent = 0;
  bool spare = true;
};
struct Acknowledge {
  std::uint32_t capability = 0;
  std::uint32_t agent = 0;
};
struct RemoveProvider {
  std::uint32_t capability = 0;
  std::uint32_t agent = 0;
};
struct BestProvider {
  std::uint32_t capability = 0;
};
}  // namespace health

struct HealthReply {
  Errc code = Errc::ok;
  std::uint32_t capability = kNoRow;  // AddCapability
  std::uint32_t agent = kNoRow;       // BestProvider
  double score = 0;
  HealthStatus status = HealthStatus::unknown;
  Remediation remediation = Remediation::none;
  bool panic = false;  // BestProvider: most are unhealthy, so all were asked
};

struct HealthView {
  std::uint32_t score_ppm = 0;
  HealthStatus status = HealthStatus::unknown;
  double trend = 0;  // of the score, a second; 0 where there is none to be seen
  bool page = false;
  bool ticket = false;
  bool acknowledged = false;
  double share = 0;  // of the capability's work
  double sla_score = 100;
  bool p95_met = true;
  bool ready = true;  // to be given work
};

struct HealthPrediction {
  bool known = false;
  double seconds_to_failed = -1;
  double probability = 0;  // of being failed within window_ns
};

struct HealthAction {
  Remediation action = Remediation::none;
  HealthCause cause = HealthCause::none;
  std::uint32_t capability = 0;
  std::uint32_t agent = kNoRow;
};
struct HealthActions {
  static constexpr std::size_t kMax = 32;  // what does not fit comes with a later tick
  std::array<HealthAction, kMax> actions{};
  std::size_t count = 0;
  bool view_changed = false;
};

struct HealthCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t probes = 0;
  std::uint64_t accepted = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t late = 0;
  std::uint64_t status_changes = 0;
  std::uint64_t remediations = 0;
  std::uint64_t escalations = 0;
  std::uint64_t alerts = 0;
  std::uint64_t latency_shifts = 0;
  std::uint64_t dependency_trips = 0;
  std::uint64_t late_ticks = 0;
};

using HealthCommand = std::variant<health::AddCapability, health::Probe, health::ProbeSums,
                                   health::SetObjective, health::SetCapacity, health::Acknowledge,
                                   health::RemoveProvider, health::BestProvider>;

class CapabilityHealthMonitor final
    : public ServiceForm<CapabilityHealthMonitor, CapabilityHealthConfig, HealthCommand,
                         HealthReply, HealthCounters, HealthActions> {
 public:
  // source: the agent, c the capability. status: a from, b to. remediation: a action, b cause.
  // alert: a 1 page, 2 ticket, b 1 begins, 0 ends. late: a ns since the last tick.
  enum class Event : std::uint16_t {
    status_change = 1,
    remediation = 2,
    alert = 3,
    latency_shift = 4,
    dependency = 5,
    detector_late = 6,
  };

  static Status validate(const Config& config);
  explicit CapabilityHealthMonitor(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  Reply probe(const health::Probe& probe, Nanos now) noexcept;
  // Once a probe interval: silence, alerts, remediation, shares.
  void tick(Nanos now, Actions& out) noexcept;

  [[nodiscard]] Reply best_provider(std::uint32_t capability) const noexcept;
  [[nodiscard]] HealthView view(std::uint32_t capability, std::uint32_t agent) const noexcept;
  [[nodiscard]] HealthPrediction prediction(std::uint32_t capability,
                                            std::uint32_t agent) const noexcept;
  [[nodiscard]] Result<std::uint32_t> find(std::string_view capability) const;

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"capability_health", 2};
  static constexpr std::string_view kWho = "capability health";
  struct RowFacts {
    std::uint32_t agent = kNoRow;  // kNoRow: the row is free
    std::uint32_t capability = 0;
    HealthStatus status = HealthStatus::unknown;
    bool spare = true;    // capacity
    bool ready = true;    // by its last readiness probe
    bool forced = false;  // failed by misses: leaves it only by as many successes
    bool page = false;
    bool ticket = false;
    bool acknowledged = false;
    bool shifted = false;         // latency, by CUSUM, since it was last healthy
    std::uint32_t misses = 0;     // in a row
    std::uint32_t successes = 0;  // in a row
    double score = 0;
    double share = 0;
    std::int64_t last_probe_ns = 0;
    std::int64_t last_at_ns = 0;
    std::int64_t base_ns = -1;  // when the CUSUM's base was taken; below 0: never
    std::int64_t next_remedy_ns = 0;
    std::int64_t hour_began_ns = 0;
    std::uint32_t remedies = 0;  // in this hour
    std::uint32_t doublings = 0;
  };
  struct alignas(64) Row : RowFacts {
    explicit Row(const Config& config);
    void clear() noexcept;
    void prefetch() const noexcept;
    Cusum cusum;
    WindowCounter window;
    SlidingRates<4> burns;  // page long, short, ticket long, short
    PhiAccrual phi;
    SampleWindow samples;
    SampleRing trend;
    SequenceWindow sequences;
  };
  struct Kind {
    std::string name;
    double slo = 0;
    std::int64_t sla_ns = 0;
    bool tripped = false;
  };

  [[nodiscard]] bool is_kind(std::uint32_t capability) const noexcept;
  [[nodiscard]] std::uint32_t row_of(std::uint32_t capability, std::uint32_t agent) const noexcept;
  std::uint32_t take_row(std::uint32_t capability, std::uint32_t agent) noexcept;
  Reply add_capability(const health::AddCapability& wanted) noexcept;
  Reply probe_sums(const health::ProbeSums& sums, std::int64_t now_ns) noexcept;
  Reply set_objective(const health::SetObjective& wanted) noexcept;
  Reply change_provider(const Command& command) noexcept;
  [[nodiscard]] bool is_countable(Row& row, const health::Probe& probe,
                                  std::int64_t at_ns) noexcept;
  void note(Row& row, const health::ProbeSums& sums, bool has_latency,
            std::int64_t now_ns) noexcept;
  void note_readiness(Row& row, bool ready, std::int64_t now_ns) noexcept;
  void watch_latency(Row& row, double latency_ms) noexcept;
  void learn_base(Row& row, std::int64_t now_ns) noexcept;
  void rescore(Row& row, std::int64_t now_ns) noexcept;
  void restatus(Row& row, std::int64_t now_ns) noexcept;
  void judge_alerts(Row& row, std::int64_t now_ns) noexcept;
  [[nodiscard]] HealthCause cause_of(const Row& row, std::int64_t now_ns) const noexcept;
  [[nodiscard]] HealthAction remediate(Row& row, std::int64_t now_ns) noexcept;
  void sweep(std::uint32_t capability, std::int64_t now_ns, Actions& out) noexcept;
  void judge_dependency(std::uint32_t capability, Actions& out) noexcept;
  void move_shares(std::uint32_t capability) noexcept;
  void excuse_all(std::int64_t now_ns) noexcept;
  [[nodiscard]] bool is_panic(std::uint32_t capability) const noexcept;
  [[nodiscard]] bool is_eligible(const Row& row, bool panic) const noexcept;
  [[nodiscard]] HealthPrediction predict(const Row& row) const noexcept;
  [[nodiscard]] bool fit_trend(const Row& row, Line& line) const noexcept;
  void emit(Event kind, const Row& row, std::uint64_t a, std::uint64_t b) noexcept;
  template <class Visit>
  void for_rows(std::uint32_t capability, Visit&& visit) {
    providers_[capability].for_each(
        [&](std::uint32_t agent) { visit(rows_[row_of(capability, agent)]); });
  }
  template <class Visit>
  void for_rows(std::uint32_t capability, Visit&& visit) const {
    providers_[capability].for_each(
        [&](std::uint32_t agent) { visit(rows_[row_of(capability, agent)]); });
  }
  void save_row(StateWriter& writer, const Row& row) const;
  void load_row(StateReader& reader, std::uint32_t capability);
  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);

  std::vector<Kind> kinds_;
  std::vector<CandidateSet> providers_;  // by capability
  std::vector<Row> rows_;
  std::vector<std::uint32_t> free_rows_;
  std::vector<std::uint32_t> row_of_;  // by capability, then agent
  std::int64_t last_tick_ns_ = -1;
  std::int64_t next_sweep_ns_ = 0;
  std::int64_t silent_until_ns_ = 0;  // it was late itself
  bool view_changed_ = true;
};

static_assert(DurableService<CapabilityHealthMonitor>);

extern template class ServiceForm<CapabilityHealthMonitor, CapabilityHealthConfig, HealthCommand,
                                  HealthReply, HealthCounters, HealthActions>;

}  // namespace mesh::coordination
