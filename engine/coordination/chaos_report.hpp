// What ChaosHarness says of its experiments: reports, views, counters.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/coordination/blocks/refusal.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

enum class FaultType : std::uint8_t {
  latency_spike,
  packet_loss,
  duplicate,
  reorder,
  message_corruption,
  agent_crash,
  agent_slowdown,
  agent_hang,
  partition,
  resource_exhaustion,
  clock_skew,
  byzantine_behavior,
  dependency_failure,
  name_resolution_failure,
  credential_expiry,
  engine_death,
  station_death,
};
constexpr FaultType last_of(FaultType) noexcept { return FaultType::station_death; }
inline constexpr std::size_t kFaultTypes = 17;
[[nodiscard]] std::string_view to_string(FaultType type) noexcept;  // "latency-spike"

enum class ExperimentState : std::uint8_t {
  none,
  draft,
  scheduled,
  precheck,
  running,
  paused,
  rolling_back,
  analyzing,
  completed,
  aborted,
};
constexpr ExperimentState last_of(ExperimentState) noexcept { return ExperimentState::aborted; }
[[nodiscard]] std::string_view to_string(ExperimentState state) noexcept;
[[nodiscard]] constexpr bool is_over(ExperimentState state) noexcept {
  return state == ExperimentState::completed || state == ExperimentState::aborted;
}

// Why an experiment ended before its plan did.
enum class ChaosReason : std::uint8_t {
  none,
  killed,
  kill_switch,
  blind,                // no samples of a kill switch's metric
  violation,            // of a phase that says abort_on_violation
  verification_failed,  // at the precheck
  not_injected,         // strict
  driver_silent,        // an order to inject was not answered
  engine_restarted,
};
constexpr ChaosReason last_of(ChaosReason) noexcept { return ChaosReason::engine_restarted; }
[[nodiscard]] std::string_view to_string(ChaosReason reason) noexcept;

enum class Verdict : std::uint8_t {
  passed,
  failed,
  no_data,  // a window without samples proves nothing
  invalid,  // within_stddev with a baseline of fewer than two samples
  overrun,  // more samples than are kept: the window was not seen whole
};
constexpr Verdict last_of(Verdict) noexcept { return Verdict::overrun; }
[[nodiscard]] std::string_view to_string(Verdict verdict) noexcept;

// What stands before a finding: where it was looked at.
enum class VerifyPoint : std::uint8_t { preflight, precheck, phase, recovery };
constexpr VerifyPoint last_of(VerifyPoint) noexcept { return VerifyPoint::recovery; }

struct Finding {
  VerifyPoint point = VerifyPoint::phase;
  std::uint32_t phase = 0;
  std::uint32_t assertion = 0;
  Verdict verdict = Verdict::failed;
  double actual = 0;
  Nanos at{0};
};

enum class TimelineKind : std::uint8_t {
  state,     // a: ExperimentState, b: ChaosReason
  inject,    // a: injection, b: fault
  confirm,   // a: injection, b: Errc
  undo,      // a: injection
  undone,    // a: injection
  lapsed,    // a: injection
  withheld,  // a: Errc, or 0 for rejected_policy, b: fault
  verify,    // a: failures, b: allowed
  tripped,   // a: switch
};
constexpr TimelineKind last_of(TimelineKind) noexcept { return TimelineKind::tripped; }
struct TimelineEntry {
  Nanos at{0};
  TimelineKind kind = TimelineKind::state;
  std::uint64_t a = 0;
  std::uint64_t b = 0;
};

enum class IssueSeverity : std::uint8_t { warning, error };
constexpr IssueSeverity last_of(IssueSeverity) noexcept { return IssueSeverity::error; }
enum class IssueCategory : std::uint8_t {
  hypothesis,     // more assertions failed than are allowed
  no_data,        // the same, and the first of them for want of samples
  kill_switch,    // tripped, or blind
  not_recovered,  // not within three cooldowns
  not_injected,   // no candidate, no room, not allowed, or the driver cannot
  blast_radius,   // rejected_policy
  unconfirmed,    // the driver did not say that an order was carried out
};
constexpr IssueCategory last_of(IssueCategory) noexcept { return IssueCategory::unconfirmed; }
[[nodiscard]] std::string_view to_string(IssueCategory category) noexcept;

inline constexpr std::uint32_t kNoFault = 0xFFFF'FFFF;
struct ChaosIssue {
  IssueSeverity severity = IssueSeverity::error;
  IssueCategory category = IssueCategory::hypothesis;
  std::uint32_t phase = 0;
  std::uint32_t fault = kNoFault;  // of the plan, counted through its phases
  Errc code = Errc::ok;
  Nanos at{0};
  std::uint64_t seed = 0;  // these two: what plays it again
  std::uint64_t plan_hash = 0;
};

enum class InjectionStatus : std::uint8_t { ordered, acting, undoing, undone, lapsed, refused };
constexpr InjectionStatus last_of(InjectionStatus) noexcept { return InjectionStatus::refused; }
struct InjectionNote {
  std::uint64_t injection = 0;
  std::uint32_t fault = 0;
  FaultType type = FaultType::agent_crash;
  InjectionStatus status = InjectionStatus::ordered;
  Errc code = Errc::ok;
  std::uint32_t targets = 0;
};

// Mean while it ran, against the mean of the precheck, of the metrics availability (else
// success_rate), latency_ms, error_rate and throughput.
struct ChaosImpact {
  bool has_availability = false;  // false: one of the two had no samples
  double availability_drop = 0;
  bool has_latency = false;
  double latency_factor = 1;
  bool has_errors = false;
  double error_increase = 0;
  bool has_throughput = false;
  double throughput_drop = 0;
  bool has_recovered = false;
  Nanos recovery_time{0};  // from the last undo to the first of three good windows
  std::uint32_t cascade_depth = 0;
  std::uint32_t affected = 0;  // agents, the most at one time
};

struct ChaosReport {
  ExperimentState state = ExperimentState::none;
  bool hypothesis_held = false;
  ChaosReason reason = ChaosReason::none;
  bool was_rolled_back = false;  // before its plan ended
  std::uint64_t seed = 0;
  std::uint64_t plan_hash = 0;
  ChaosImpact impact;
  std::vector<Finding> findings;
  std::vector<TimelineEntry> timeline;
  std::vector<ChaosIssue> issues;
  std::vector<InjectionNote> injections;
};

enum class GameDayState : std::uint8_t { none, planning, active, debriefing, completed };
constexpr GameDayState last_of(GameDayState) noexcept { return GameDayState::completed; }
[[nodiscard]] std::string_view to_string(GameDayState state) noexcept;
struct GameDayStepNote {
  bool is_done = false;
  std::uint32_t by = 0;       // participant
  std::uint32_t checked = 0;  // a bit a checkpoint
  Nanos began{0};
  Nanos took{0};
  Nanos expected{0};
};
struct GameDayReport {
  GameDayState state = GameDayState::none;
  std::string name;
  std::vector<GameDayStepNote> steps;
  bool was_aborted = false;
};

struct ChaosReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  ExperimentState state = ExperimentState::none;
  GameDayState game_day = GameDayState::none;
  std::uint32_t id = 0;  // metric, label, experiment or game day
  Nanos retry_after{0};
  ChaosReport report;  // of Report alone
};

struct ChaosCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t policy_rejections = 0;
  std::uint64_t samples = 0;
  std::uint64_t experiments = 0;
  std::uint64_t completed = 0;
  std::uint64_t aborted = 0;
  std::uint64_t injections = 0;
  std::uint64_t undone = 0;
  std::uint64_t lapsed = 0;
  std::uint64_t injections_refused = 0;  // by the driver
  std::uint64_t withheld = 0;            // never ordered
  std::uint64_t undo_orders = 0;
  std::uint64_t trips = 0;
  std::uint64_t notes_lost = 0;  // findings, issues and timeline entries beyond their limits
};

// What the send path loads once is_armed() is true.
struct FaultWord {
  bool is_set = false;
  FaultType type = FaultType::agent_crash;
  std::uint32_t parameter = 0;  // rate_ppm, factor_milli or added microseconds
  Nanos expires{0};
};

}  // namespace mesh::coordination
