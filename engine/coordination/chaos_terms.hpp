// What ChaosHarness is told, and what it answers: plans, config, commands, replies, orders.
//
// Units       Nanos of the host clock; shares in millionths; factors in thousandths; values of
//             metrics as their sender counts them. Every metric, label and thing of a plan has a
//             name of 1 to 128 bytes of UTF-8.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/refusal.hpp"
#include "engine/coordination/chaos_report.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

// --- what is to hold ---------------------------------------------------------------------------

enum class AssertionOp : std::uint8_t {
  lt,
  lte,
  gt,
  gte,
  eq,             // lte, gte and eq to 1e-9
  between,        // value..value_high, both included
  within_stddev,  // `value` standard deviations of the baseline around its mean
};
constexpr AssertionOp last_of(AssertionOp) noexcept { return AssertionOp::within_stddev; }

enum class Aggregation : std::uint8_t { avg, min, max, sum, count, p50, p95, p99, rate };
constexpr Aggregation last_of(Aggregation) noexcept { return Aggregation::rate; }

struct ChaosAssertion {
  std::string metric;
  AssertionOp op = AssertionOp::gte;
  double value = 0;
  double value_high = 0;
  Aggregation aggregation = Aggregation::avg;  // rate: the sum a second
};
struct Hypothesis {
  std::vector<ChaosAssertion> assertions;
  std::uint32_t tolerance_ppm = 0;  // floor(assertions * tolerance) of them may fail
  Nanos window{30'000'000'000};     // whose samples are judged
  Nanos cooldown{10'000'000'000};   // an agent counts as affected so long after it recovered
};

// --- what is done ------------------------------------------------------------------------------

enum class TargetMode : std::uint8_t {
  specific,    // `agents`, ascending
  random,      // `count` of the candidates
  percentage,  // floor(percentage of the candidates), at least one
  label_match,
  role,     // `count` of `role`; 0: all
  cluster,  // number `which`
  sector,   // the same
};
constexpr TargetMode last_of(TargetMode) noexcept { return TargetMode::sector; }
enum class ChaosRole : std::uint8_t { member, cluster_lead, sector_coordinator };
constexpr ChaosRole last_of(ChaosRole) noexcept { return ChaosRole::sector_coordinator; }

// Labels narrow every mode: who lacks one of `labels`, or has one of `exclude_labels`, is none.
struct ChaosTargets {
  TargetMode mode = TargetMode::random;
  std::vector<std::uint32_t> agents;
  std::uint32_t count = 1;
  std::uint32_t percentage_ppm = 0;
  std::uint64_t labels = 0;  // a bit a label, as AddLabel numbers them
  std::uint64_t exclude_labels = 0;
  ChaosRole role = ChaosRole::member;
  std::uint32_t which = 0;
};

// Of which kind a fault of its type is.
enum class FaultVariant : std::uint8_t {
  none,
  ring,  // resource_exhaustion
  pool,
  memory,
  journal_disk,
  equivocate,  // byzantine_behavior
  wrong_hash,
  stale,
  flip_vote,
  impedance_lie,
  rate_limited,  // dependency_failure: 429, 500, no answer
  server_error,
  timeout,
  for_good,  // station_death: nobody starts it again
};
constexpr FaultVariant last_of(FaultVariant) noexcept { return FaultVariant::for_good; }

struct FaultParams {
  Nanos add{200'000'000};            // latency_spike
  Nanos jitter{50'000'000};          // latency_spike: up to so much more, uniform; reorder: window
  std::uint32_t rate_ppm = 100'000;  // packet_loss, duplicate, message_corruption
  std::uint32_t count = 1;  // message_corruption: bits; engine_death, station_death: which step
  std::uint32_t factor_milli = 4'000;  // agent_slowdown
  Nanos restart_after{0};              // agent_crash and deaths; 0: when it is undone
  bool is_one_way = false;             // partition: the targets hear and are not heard
  std::uint32_t fill_ppm = 950'000;    // resource_exhaustion
  Nanos offset{0};                     // clock_skew
  std::int32_t drift_ppm = 0;
  FaultVariant variant = FaultVariant::none;
};
struct ChaosFault {
  FaultType type = FaultType::agent_crash;
  ChaosTargets targets;
  FaultParams params;
  Nanos duration{0};  // 0: its phase's
  Nanos ramp_up{0};   // until it acts in full, in equal steps of time
  Nanos ramp_down{0};
  std::uint32_t draw = 0;  // targets are drawn from seed + draw - 1; 0: + its number in the plan
};
struct ChaosPhase {
  std::string name;
  std::vector<ChaosFault> faults;
  Nanos delay_before{0};
  Nanos duration{0};  // 0: the longest of its faults
  bool verify_after = true;
  bool abort_on_violation = false;
};

// --- what keeps it safe ------------------------------------------------------------------------

struct KillSwitch {
  std::string metric;
  AssertionOp op = AssertionOp::gt;  // not between, not within_stddev
  double threshold = 0;
  Nanos sustained{0};  // and: without a sample for longer (0: than the window) it trips
};
struct BlockedWindow {  // no experiment begins from..to, and again each `every`; 0: once
  Nanos from{0};
  Nanos to{0};
  Nanos every{0};
};
struct ChaosSafety {
  std::uint32_t blast_radius_ppm = 100'000;  // of all agents, rounded down
  std::uint32_t healthy_min = 0;             // agents that are not affected
  std::vector<KillSwitch> kill_switches;
  bool auto_rollback = true;  // false: a tripped switch is an issue, and nothing more
  bool require_approval = false;
  std::vector<BlockedWindow> blocked_windows;
  std::uint32_t concurrent_max = 1;  // experiments under way
  std::vector<ChaosAssertion> preflight;
  bool is_strict = false;  // a fault that was not injected ends the experiment
  bool is_simulation_only = false;

  static Result<ChaosSafety> preset(std::string_view name);
};

enum class ChaosDriver : std::uint8_t { simulated, live };
constexpr ChaosDriver last_of(ChaosDriver) noexcept { return ChaosDriver::live; }

struct ChaosConfig {
  ChaosDriver driver = ChaosDriver::simulated;
  bool allow_live = false;  // without it a live experiment does not start
  ChaosSafety safety;       // of an experiment without its own
  Nanos tick_ns{100'000'000};
  Nanos confirm_ns{1'000'000'000};  // an order that is not answered so long counts as carried out
  Nanos undo_retry_ns{1'000'000'000};  // an undo that is not answered is given again
  Nanos grace_ns{5'000'000'000};       // a fault lapses so long after its planned end
  std::uint32_t agents_max = 1'024;
  std::uint32_t experiments_max = 8;
  std::uint32_t metrics_max = 32;
  std::uint32_t samples_max = 4'096;  // kept of a metric
  std::uint32_t injections_max = 256;
  std::uint32_t effects_max = 1'024;
  std::uint32_t timeline_max = 512;  // of an experiment
  std::uint32_t game_days_max = 2;
  std::uint32_t events_max = 256;

  static Result<ChaosConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

// --- commands ----------------------------------------------------------------------------------

enum class Participant : std::uint8_t { in_charge, responder, observer };  // the last only looks
constexpr Participant last_of(Participant) noexcept { return Participant::observer; }

namespace chaos {
struct AddMetric {
  std::string name;
};
struct AddLabel {  // "chaos=allowed" is there from the beginning, as label 0
  std::string name;
};
struct SetAgent {  // new, or another description
  std::uint32_t agent = 0;
  std::uint32_t cluster = 0;
  std::uint32_t sector = 0;
  ChaosRole role = ChaosRole::member;
  std::uint64_t labels = 0;
};
struct RemoveAgent {
  std::uint32_t agent = 0;
};
struct Sample {
  std::uint32_t metric = 0;
  double value = 0;
};
struct Create {
  std::string name;
  std::string description;
  Hypothesis hypothesis;
  std::vector<ChaosPhase> phases;
  std::vector<ChaosFault> faults;  // in place of phases: one phase of these
  bool has_safety = false;         // false: the config's
  ChaosSafety safety;
  std::uint64_t seed = 0;
  Nanos starts_at{0};  // 0: with Start
};
struct Approve {
  std::uint32_t experiment = 0;
  std::string by;
};
struct Start {
  std::uint32_t experiment = 0;
};
struct Pause {  // what is in force is undone
  std::uint32_t experiment = 0;
};
struct Resume {  // the phase begins anew, with the same targets
  std::uint32_t experiment = 0;
};
struct Kill {
  std::uint32_t experiment = 0;
};
struct Report {
  std::uint32_t experiment = 0;
};
struct Forget {  // one that is over
  std::uint32_t experiment = 0;
};
// From the driver: what became of an inject order.
struct Confirm {
  std::uint64_t injection = 0;
  Errc code = Errc::ok;  // anything else: it was not carried out
};
struct Undone {
  std::uint64_t injection = 0;
};
struct Recovered {  // it does its work again
  std::uint32_t agent = 0;
};
// Something failed because of something else: the chain that cascade_depth measures.
struct Effect {
  std::uint64_t event = 0;  // above 0, its own number
  std::uint64_t cause = 0;  // 0: a fault itself
  std::uint32_t agent = 0;
  bool crosses_breaker = false;
};
// The engine has been started again: what was under way is rolled back.
struct Restarted {
  std::uint32_t station = 0;
};
struct GameDayStep {
  std::string description;
  bool has_experiment = false;
  std::uint32_t experiment = 0;
  std::string manual_action;
  Nanos expected_duration{0};
  std::uint32_t checkpoints = 0;  // at most 32, each to be checked off
};
struct GameDayPerson {
  std::string name;
  Participant role = Participant::in_charge;
};
struct PlanGameDay {
  std::string name;
  std::vector<GameDayPerson> participants;
  std::vector<GameDayStep> steps;  // in their order
};
struct BeginGameDay {
  std::uint32_t game_day = 0;
};
struct CheckOff {
  std::uint32_t game_day = 0;
  std::uint32_t step = 0;
  std::uint32_t checkpoint = 0;
  std::uint32_t participant = 0;
};
struct ApproveStep {  // it is done; the next one is at hand, after the last the debriefing
  std::uint32_t game_day = 0;
  std::uint32_t step = 0;
  std::uint32_t participant = 0;
};
struct EndGameDay {  // the debriefing is over
  std::uint32_t game_day = 0;
};
struct AbortAll {  // every experiment of its steps is killed
  std::uint32_t game_day = 0;
};
}  // namespace chaos

using ChaosCommand =
    std::variant<chaos::Sample, chaos::AddMetric, chaos::AddLabel, chaos::SetAgent,
                 chaos::RemoveAgent, chaos::Create, chaos::Approve, chaos::Start, chaos::Pause,
                 chaos::Resume, chaos::Kill, chaos::Report, chaos::Forget, chaos::Confirm,
                 chaos::Undone, chaos::Recovered, chaos::Effect, chaos::Restarted,
                 chaos::PlanGameDay, chaos::BeginGameDay, chaos::CheckOff, chaos::ApproveStep,
                 chaos::EndGameDay, chaos::AbortAll>;

// A mix of everything in a plan that decides what happens: what a repro is known by.
[[nodiscard]] std::uint64_t plan_hash(const chaos::Create& plan) noexcept;

// --- orders ------------------------------------------------------------------------------------

struct ChaosOrder {
  bool is_undo = false;
  std::uint64_t injection = 0;  // given again, an order is the same order
  std::uint32_t experiment = 0;
  FaultType type = FaultType::agent_crash;
  FaultParams params;
  Nanos ramp_up{0};
  Nanos ramp_down{0};
  Nanos ends{0};
  Nanos expires{0};  // by then it is gone, whatever becomes of the harness
  std::uint32_t first_target = 0;
  std::uint32_t targets = 0;
};
struct ChaosActions {
  std::vector<ChaosOrder> orders;      // undo in reverse order of injection, then inject
  std::vector<std::uint32_t> targets;  // of all orders; ascending for each
  bool view_changed = false;
  Nanos next_tick{0};

  [[nodiscard]] std::span<const std::uint32_t> targets_of(const ChaosOrder& order) const noexcept {
    return std::span(targets).subspan(order.first_target, order.targets);
  }
};

}  // namespace mesh::coordination
