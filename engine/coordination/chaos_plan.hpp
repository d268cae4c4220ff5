// What ChaosHarness keeps of an experiment: its plan in flat lists of fixed capacity, where it
// stands, what it has found. Plain rows: put_fields() is their byte form.
//
// Callers     ChaosHarness.
// Cost        reserve() allocates what an experiment can ever need; after it nothing does.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/coordination/blocks/id_hash.hpp"
#include "engine/coordination/chaos_agents.hpp"
#include "engine/coordination/chaos_metrics.hpp"
#include "engine/coordination/chaos_terms.hpp"

namespace mesh::coordination::chaos_plan {

inline constexpr std::uint32_t kPhasesMax = 16;
inline constexpr std::uint32_t kFaultsMax = 64;
inline constexpr std::uint32_t kNamedPerAgent = 4;  // agents named in a plan, for each there may be
inline constexpr std::uint32_t kAssertionsMax = 32;
inline constexpr std::uint32_t kSwitchesMax = 8;
inline constexpr std::uint32_t kBlockedMax = 8;
inline constexpr std::uint32_t kFindingsMax = 512;
inline constexpr std::uint32_t kIssuesMax = 128;
inline constexpr std::uint32_t kStepsMax = 32;
inline constexpr std::uint32_t kPeopleMax = 32;
inline constexpr std::uint32_t kCheckpointsMax = 32;

struct Phase {
  Nanos delay_before{0};
  Nanos duration{0};
  bool verify_after = true;
  bool abort_on_violation = false;
  std::uint32_t first_fault = 0;
  std::uint32_t faults = 0;
};
struct Named {  // of Plan::agents
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};
struct Fault {
  FaultType type = FaultType::agent_crash;
  TargetMode mode = TargetMode::random;
  ChaosRole role = ChaosRole::member;
  std::uint32_t which = 0;
  std::uint32_t count = 0;
  std::uint32_t percentage_ppm = 0;
  std::uint64_t labels = 0;
  std::uint64_t exclude_labels = 0;
  Named named;
  std::uint32_t draw = 0;  // added to the seed
  FaultParams params;
  std::array<Nanos, 3> times{};  // duration, ramp_up, ramp_down
};
struct Assertion {
  std::array<std::uint64_t, 2> metric{};  // hash of its name: it may not be there yet
  AssertionOp op = AssertionOp::gte;
  double value = 0;
  double value_high = 0;
  Aggregation aggregation = Aggregation::avg;
};
struct Switch {
  std::array<std::uint64_t, 2> metric{};
  AssertionOp op = AssertionOp::gt;
  double threshold = 0;
  Nanos sustained{0};
  std::int64_t since_ns = -1;  // violated from then on; -1: it is not
  std::int64_t seen_ns = 0;    // the last sample
};
struct Rules {
  std::uint32_t blast_radius_ppm = 0;
  std::uint32_t healthy_min = 0;
  bool auto_rollback = true;
  bool require_approval = false;
  std::uint32_t concurrent_max = 1;
  bool is_strict = false;
  std::uint32_t tolerance_ppm = 0;
  Nanos window{0};
  Nanos cooldown{0};
  Nanos starts_at{0};
  std::uint64_t seed = 0;
  std::uint64_t hash = 0;
};
struct Plan {
  std::vector<Phase> phases;
  std::vector<Fault> faults;
  std::vector<std::uint32_t> agents;  // of `specific` targets, fault by fault
  std::vector<Assertion> assertions;
  std::vector<Assertion> preflight;
  std::vector<Switch> switches;
  std::vector<BlockedWindow> blocked;
  Rules rules;
};

// Within running: before its phase's faults, or with them.
enum class Step : std::uint8_t { waiting, acting };
constexpr Step last_of(Step) noexcept { return Step::acting; }

struct Course {
  ExperimentState state = ExperimentState::none;
  Step step = Step::waiting;
  ChaosReason reason = ChaosReason::none;
  bool is_approved = false;
  std::uint32_t phase = 0;
  std::int64_t since_ns = 0;         // of the precheck, the phase, the paused phase
  std::int64_t acting_ns = 0;        // since the phase's faults were ordered
  std::int64_t removed_ns = 0;       // since nothing is in force any more
  std::int64_t window_ns = 0;        // where the window of the analysis begins
  std::uint32_t windows_passed = 0;  // in a row
};
struct Outcome {
  bool has_passed_precheck = false;
  std::uint32_t violations = 0;  // verify points
  std::uint32_t trips = 0;
  std::uint32_t not_injected = 0;
  bool has_recovered = false;
  std::int64_t recovery_ns = 0;
  std::uint32_t cascade_depth = 0;
  std::uint32_t affected_max = 0;
};
struct Experiment {
  std::string name;
  std::string description;
  Plan plan;
  Course course;
  Outcome outcome;
  std::vector<Finding> findings;
  std::vector<TimelineEntry> timeline;
  std::vector<ChaosIssue> issues;
  std::vector<Welford> baseline;  // by metric, of the precheck
  std::vector<Welford> during;    // by metric, while it ran

  void reserve(const ChaosConfig& config);
  void clear() noexcept;
  [[nodiscard]] bool is_under_way() const noexcept {
    return course.state >= ExperimentState::precheck && !is_over(course.state);
  }
};

struct Injection {
  std::uint64_t id = 0;
  std::uint32_t experiment = 0;
  std::uint32_t fault = 0;
  InjectionStatus status = InjectionStatus::ordered;
  Errc code = Errc::ok;
  bool is_sent = false;  // its inject order has left
  std::int64_t ordered_ns = 0;
  std::int64_t ends_ns = 0;
  std::int64_t expires_ns = 0;
  std::int64_t undo_ns = 0;  // when its undo order is to leave next
  std::uint32_t targets = 0;
};
[[nodiscard]] constexpr bool is_settled(InjectionStatus status) noexcept {
  return status >= InjectionStatus::undone;
}

struct Effect {
  std::uint64_t event = 0;
  std::uint32_t agent = 0;
  std::uint32_t depth = 0;
};

struct GameStep {
  bool has_experiment = false;
  std::uint32_t experiment = 0;
  std::uint32_t checkpoints = 0;
  GameDayStepNote note;
};
struct GameDay {
  std::string name;
  GameDayState state = GameDayState::none;
  bool was_aborted = false;
  std::vector<Participant> people;
  std::vector<GameStep> steps;
};

[[nodiscard]] inline IdHash hash_in(const std::array<std::uint64_t, 2>& words) noexcept {
  return {words[0], words[1]};
}
[[nodiscard]] inline std::array<std::uint64_t, 2> words_of(const std::string& name) noexcept {
  const IdHash hash = hash_of(name);
  return {hash.low, hash.high};
}
[[nodiscard]] inline bool is_blocked(const BlockedWindow& window, std::int64_t now_ns) noexcept {
  const std::int64_t since = now_ns - window.from.count();
  if (since < 0) return false;
  const std::int64_t length = window.to.count() - window.from.count();
  return (window.every.count() == 0 ? since : since % window.every.count()) < length;
}

}  // namespace mesh::coordination::chaos_plan
