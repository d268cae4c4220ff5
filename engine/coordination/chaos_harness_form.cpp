// ChaosHarness: presets, names, bytes, what must hold.
#include <algorithm>
#include <array>
#include <iterator>

#include "engine/coordination/chaos_harness.hpp"

namespace mesh::coordination {
namespace {

constexpr std::array<std::string_view, 4> kPresets{"safe", "standard", "gameday", "simulation"};

template <std::size_t N, class E>
std::string_view name_in(const std::string_view (&names)[N], E value) noexcept {
  const auto at = static_cast<std::size_t>(value);
  return at < N ? names[at] : "unknown";
}

}  // namespace

// --- names -------------------------------------------------------------------------------------

std::string_view to_string(FaultType type) noexcept {
  static constexpr std::string_view kNames[] = {"latency-spike",      "packet-loss",
                                                "duplicate",          "reorder",
                                                "message-corruption", "agent-crash",
                                                "agent-slowdown",     "agent-hang",
                                                "partition",          "resource-exhaustion",
                                                "clock-skew",         "byzantine-behavior",
                                                "dependency-failure", "name-resolution-failure",
                                                "credential-expiry",  "engine-death",
                                                "station-death"};
  static_assert(std::size(kNames) == kFaultTypes);
  return name_in(kNames, type);
}
std::string_view to_string(ExperimentState state) noexcept {
  static constexpr std::string_view kNames[] = {"none",      "draft",  "scheduled",    "precheck",
                                                "running",   "paused", "rolling_back", "analyzing",
                                                "completed", "aborted"};
  return name_in(kNames, state);
}
std::string_view to_string(ChaosReason reason) noexcept {
  static constexpr std::string_view kNames[] = {
      "none",         "killed",        "kill_switch",
      "blind",        "violation",     "verification_failed",
      "not_injected", "driver_silent", "engine_restarted"};
  return name_in(kNames, reason);
}
std::string_view to_string(Verdict verdict) noexcept {
  static constexpr std::string_view kNames[] = {"passed", "failed", "no_data", "invalid",
                                                "overrun"};
  return name_in(kNames, verdict);
}
std::string_view to_string(IssueCategory category) noexcept {
  static constexpr std::string_view kNames[] = {"hypothesis",    "no_data",      "kill_switch",
                                                "not_recovered", "not_injected", "blast_radius",
                                                "unconfirmed"};
  return name_in(kNames, category);
}

// --- presets -----------------------------------------------------------------------------------

Result<ChaosSafety> ChaosSafety::preset(std::string_view name) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  ChaosSafety safety;
  const auto errors_above = [](double share, std::int64_t seconds) {
    return KillSwitch{"error_rate", AssertionOp::gt, share, Nanos{seconds * kSecond}};
  };
  if (name == "safe") {
    safety.blast_radius_ppm = 50'000;
    safety.kill_switches = {errors_above(0.2, 5)};
  } else if (name == "standard") {
    safety.kill_switches = {errors_above(0.5, 10)};
  } else if (name == "gameday") {
    safety.blast_radius_ppm = 300'000;
    safety.require_approval = true;
  } else if (name == "simulation") {
    safety.blast_radius_ppm = 1'000'000;
    safety.is_simulation_only = true;
  } else {
    return unknown_preset("chaos harness", name, kPresets);
  }
  return safety;
}

Result<ChaosConfig> ChaosConfig::preset(std::string_view name) {
  ChaosConfig config;
  MESH_TRY(config.safety, ChaosSafety::preset(name));
  return config;
}
std::span<const std::string_view> ChaosConfig::names() noexcept { return kPresets; }

Status ChaosHarness::validate(const Config& config) {
  const auto is_within = [](std::uint32_t value, std::uint32_t most) {
    return value >= 1 && value <= most;
  };
  const ChaosSafety& safety = config.safety;
  const std::array<Check, 8> checks{{
      {is_positive_duration(config.tick_ns), "tick_ns is outside 1 ns..36 years"},
      {is_positive_duration(config.confirm_ns) && is_positive_duration(config.undo_retry_ns) &&
           is_positive_duration(config.grace_ns),
       "confirm_ns, undo_retry_ns or grace_ns is outside 1 ns..36 years"},
      {is_within(config.agents_max, 1U << 20), "agents_max is outside 1..1048576"},
      {is_within(config.experiments_max, 64) && is_within(config.injections_max, 1'024),
       "experiments_max is outside 1..64, or injections_max outside 1..1024"},
      {is_within(config.metrics_max, 1'024) && is_within(config.samples_max, 1U << 20),
       "metrics_max is outside 1..1024, or samples_max outside 1..1048576"},
      {is_within(config.effects_max, 65'536) && is_within(config.timeline_max, 65'536) &&
           config.game_days_max <= 64,
       "effects_max or timeline_max is outside 1..65536, or game_days_max above 64"},
      {safety.blast_radius_ppm >= 1 && safety.blast_radius_ppm <= 1'000'000,
       "safety.blast_radius_ppm is outside 1..1000000"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

// --- bytes -------------------------------------------------------------------------------------

void ChaosHarness::save_state(StateWriter& writer) const {
  metrics_.save(writer);
  agents_.save(writer);
  writer.put(static_cast<std::uint32_t>(labels_.size()));
  for (const IdHash& label : labels_) label.save(writer);
  writer.put(experiment_slots_.used());
  for (std::uint32_t at = 0; at < config_.experiments_max; ++at) {
    if (!experiment_slots_.is_used(at)) continue;
    writer.put(at);
    put_fields(experiments_[at], writer);
  }
  writer.put(last_injection_);
  writer.put(injection_slots_.used());
  for (std::uint32_t slot = 0; slot < config_.injections_max; ++slot) {
    if (!injection_slots_.is_used(slot)) continue;
    writer.put(slot);
    put_fields(injections_[slot], writer);
    each_target(slot, [&](std::uint32_t agent) { writer.put(agent); });
  }
  writer.put(effect_count_);
  const std::uint64_t kept = std::min<std::uint64_t>(effect_count_, effects_.size());
  writer.put(static_cast<std::uint32_t>(kept));
  for (std::uint64_t back = kept; back != 0; --back) {
    put_fields(effects_[(effect_count_ - back) % effects_.size()], writer);
  }
  writer.put(static_cast<std::uint32_t>(game_days_.size()));
  for (const auto& day : game_days_) put_fields(day, writer);
}

void ChaosHarness::load_state(StateReader& reader) {
  metrics_.load(reader);
  agents_.load(reader);
  labels_.clear();
  const std::size_t labels = reader.get_count(16);
  if (labels > 64) return reader.fail();
  for (std::size_t i = 0; i < labels; ++i) labels_.emplace_back().load(reader);
  if (!reader.failed()) load_experiments(reader);
  if (!reader.failed()) load_injections(reader);
  if (!reader.failed()) load_rest(reader);
}

bool ChaosHarness::is_sound(const Experiment& one) const noexcept {
  const auto& plan = one.plan;
  std::size_t faults = 0;
  for (const auto& phase : plan.phases) {
    if (phase.first_fault != faults || phase.faults > chaos_plan::kFaultsMax) return false;
    faults += phase.faults;
  }
  std::size_t named = 0;
  for (const auto& fault : plan.faults) {
    if (fault.named.first != named || fault.named.count > plan.agents.size()) return false;
    named += fault.named.count;
  }
  const bool adds_up = faults == plan.faults.size() && named == plan.agents.size();
  const bool fits =
      plan.phases.size() <= chaos_plan::kPhasesMax && faults <= chaos_plan::kFaultsMax &&
      plan.assertions.size() <= chaos_plan::kAssertionsMax && !plan.assertions.empty() &&
      plan.preflight.size() <= chaos_plan::kAssertionsMax &&
      plan.switches.size() <= chaos_plan::kSwitchesMax &&
      plan.blocked.size() <= chaos_plan::kBlockedMax &&
      one.findings.size() <= chaos_plan::kFindingsMax &&
      one.timeline.size() <= config_.timeline_max && one.issues.size() <= chaos_plan::kIssuesMax;
  const bool has_tables =
      one.baseline.size() == config_.metrics_max && one.during.size() == config_.metrics_max;
  const bool is_somewhere =
      one.course.state != ExperimentState::none && one.course.phase < plan.phases.size();
  return adds_up && fits && has_tables && is_somewhere && plan.rules.window.count() > 0;
}

void ChaosHarness::load_experiments(StateReader& reader) {
  const std::size_t count = reader.get_count(64);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    const auto at = reader.get<std::uint32_t>();
    if (!experiment_slots_.use(at)) return reader.fail();
    get_fields(experiments_[at], reader);
    if (reader.failed() || !is_sound(experiments_[at])) return reader.fail();
  }
}

void ChaosHarness::load_injections(StateReader& reader) {
  reader.get(last_injection_);
  const std::size_t count = reader.get_count(54);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    const auto slot = reader.get<std::uint32_t>();
    if (!injection_slots_.use(slot)) return reader.fail();
    Injection& one = injections_[slot];
    get_fields(one, reader);
    const bool is_possible = experiment_slots_.is_used(one.experiment) &&
                             one.fault < experiments_[one.experiment].plan.faults.size() &&
                             one.id != 0 && one.id <= last_injection_ &&
                             one.targets <= config_.agents_max;
    if (!is_possible) return reader.fail();
    for (std::uint32_t k = 0; k < one.targets; ++k) {
      const auto agent = reader.get<std::uint32_t>();
      if (reader.failed() || agent >= config_.agents_max) return reader.fail();
      target_bits_[slot * words_ + agent / 64] |= std::uint64_t{1} << (agent % 64);
    }
    armed_ += chaos_plan::is_settled(one.status) ? 0U : 1U;
  }
}

void ChaosHarness::load_rest(StateReader& reader) {
  const auto effects = reader.get<std::uint64_t>();
  const std::size_t kept = reader.get_count(16);
  if (kept != std::min<std::uint64_t>(effects, effects_.size())) return reader.fail();
  effect_count_ = effects - kept;
  for (std::size_t i = 0; i < kept; ++i) {
    get_fields(effects_[effect_count_++ % effects_.size()], reader);
  }
  const std::size_t days = reader.get_count(14);
  if (days > config_.game_days_max) return reader.fail();
  for (std::size_t i = 0; i < days && !reader.failed(); ++i) {
    chaos_plan::GameDay& day = game_days_.emplace_back();
    get_fields(day, reader);
    const bool is_possible = !day.steps.empty() && day.steps.size() <= chaos_plan::kStepsMax &&
                             day.people.size() <= chaos_plan::kPeopleMax;
    if (!is_possible) return reader.fail();
  }
}

// --- what must hold ----------------------------------------------------------------------------

Status ChaosHarness::verify() const {
  std::uint32_t open = 0;
  std::uint32_t orphans = 0;
  std::vector<std::uint32_t> faults(config_.agents_max);
  for (std::uint32_t slot = 0; slot < config_.injections_max; ++slot) {
    const Injection& one = injections_[slot];
    if (!injection_slots_.is_used(slot)) continue;
    std::uint32_t targets = 0;
    const bool is_open = !chaos_plan::is_settled(one.status);
    each_target(slot, [&](std::uint32_t agent) {
      ++targets;
      faults[agent] += is_open ? 1U : 0U;
    });
    orphans += targets == one.targets ? 0U : 1U;
    if (!is_open) continue;
    ++open;
    const ExperimentState state = experiments_[one.experiment].course.state;
    const bool is_its = state == ExperimentState::running || state == ExperimentState::paused ||
                        state == ExperimentState::rolling_back;
    orphans += is_its ? 0U : 1U;
  }
  bool struck = true;
  for (std::uint32_t agent = 0; agent < config_.agents_max; ++agent) {
    struck = struck && agents_.faults_of(agent) == faults[agent];
  }
  std::uint32_t alive = 0;
  for (std::uint32_t at = 0; at < config_.experiments_max; ++at) {
    if (!experiment_slots_.is_used(at)) continue;
    alive += is_over(experiments_[at].course.state) ? 0U : 1U;
  }
  const Counters& sums = counters_;
  const std::array<Check, 6> checks{{
      {agents_.adds_up(), "the affected agents are not those with a fault or harmed by one"},
      {struck, "an agent's faults are not those of the injections in force"},
      {open == armed_, "what is armed is not what is in force"},
      {orphans == 0, "a fault is in force for an experiment that does not run"},
      {sums.injections == open + sums.undone + sums.lapsed + sums.injections_refused,
       "an injection has ended twice, or not at all"},
      {sums.experiments == alive + sums.completed + sums.aborted,
       "an experiment has ended twice, or not at all"},
  }};
  return all_hold(Errc::corrupt, checks);
}

template class ServiceForm<ChaosHarness, ChaosConfig, ChaosCommand, ChaosReply, ChaosCounters,
                           ChaosActions>;

}  // namespace mesh::coordination
