// ChaosHarness: experiments that break things on purpose: what must go on holding, what is broken,
// for whom, until when; and what came of it.
//
//   draft --start--> (scheduled) --> precheck --the hypothesis holds--> running <--> paused
//     precheck fails: aborted, nothing was injected            |  last phase over
//     kill, kill switch, violation of a phase: rolling_back <--+--> rolling_back --> analyzing
//                                     |                                                 |
//                                  aborted                                          completed
//
// Callers     one thread, which owns it; hosted by JournaledService it is durable. The driver of
//             the mesh carries out the orders of tick() and answers each (Confirm, Undone,
//             Recovered); whoever measures gives Sample.
// Progress    wait-free.
// Ordering    an inject order leaves with the tick that was journaled with its undo record: so
//             whoever opens the journal again knows every fault that may be in force.
// Cost        is_armed: a load. Sample: 30 ns. tick: the experiments, and while agents are affected
//             or chosen the agents. Allocates nothing after construction but a report's bytes.
// Units       Nanos of the host clock; ppm.
// Guarantees  |affected and new| <= floor(blast radius * agents) before each injection. A fault is
//             undone at its end, by its experiment's rollback, or lapses at `expires` by itself.
//             An undo is ordered again until it is answered, in reverse order of injection. A
//             window without samples fails its assertion; a kill switch without samples trips.
// If the      driver dies: an inject order without answer counts as carried out, and its experiment
// other side  is rolled back; an undo without answer is given again until the fault has lapsed.
// dies        The harness dies: Restarted rolls back what was under way.
// Invariants  injections == in force + undone + lapsed + refused; experiments == those not over +
//             completed + aborted.
// Errors      invalid_config (no assertion, a limit, times), invalid_id, invalid_argument,
//             capacity, already_exists, not_found, no_such_agent, wrong_state, not_authorized (not
//             approved, live without leave), verification_failed (Start: no such metric).
//             Refusal::rejected_policy: simulation alone, a blocked window; would_block: another
//             experiment is under way. no_candidate, conflict, rejected_policy and what the driver
//             cannot do are issues of the report.
// Source      Basiri 2016 (Principles of Chaos Engineering).
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/blocks/slot_set.hpp"
#include "engine/coordination/chaos_agents.hpp"
#include "engine/coordination/chaos_metrics.hpp"
#include "engine/coordination/chaos_plan.hpp"
#include "engine/coordination/chaos_terms.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::coordination {

class ChaosHarness final : public ServiceForm<ChaosHarness, ChaosConfig, ChaosCommand, ChaosReply,
                                              ChaosCounters, ChaosActions> {
 public:
  // a: experiment, injection or game day; b: state, fault or code; c: reason.
  enum class Event : std::uint16_t {
    state_changed = 1,
    injected,
    undone,
    lapsed,
    withheld,
    tripped,
    game_day,
  };
  static constexpr std::string_view kAllowedLabel = "chaos=allowed";  // label 0

  static Status validate(const Config& config);
  explicit ChaosHarness(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;

  // Whether any fault may be in force: the one byte that a send path loads.
  [[nodiscard]] bool is_armed() const noexcept { return armed_ != 0; }
  // The newest fault that may be in force for an agent.
  [[nodiscard]] FaultWord word(std::uint32_t agent) const noexcept;

  [[nodiscard]] ExperimentState state(std::uint32_t experiment) const noexcept;
  [[nodiscard]] std::uint32_t agents() const noexcept { return agents_.count(); }
  [[nodiscard]] std::uint32_t affected() const noexcept { return agents_.affected(); }
  [[nodiscard]] bool is_affected(std::uint32_t agent) const noexcept {
    return agents_.is_affected(agent);
  }
  [[nodiscard]] std::uint32_t in_force() const noexcept;  // injections that are not settled
  [[nodiscard]] ChaosReport report(std::uint32_t experiment) const;
  [[nodiscard]] GameDayReport game_day(std::uint32_t number) const;
  // The same as Markdown, for those who were not there. `plan`: as it was given, for what its steps
  // and people are called is not kept. not_found; invalid_argument: it is another day's.
  [[nodiscard]] Result<std::string> game_day_text(std::uint32_t number,
                                                  const chaos::PlanGameDay& plan) const;
  // Within three cooldowns, precheck and every verify point passed, no switch, every fault acted.
  [[nodiscard]] bool has_held(std::uint32_t experiment) const noexcept;

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"chaos_harness", 1};
  static constexpr std::string_view kWho = "chaos harness";
  static constexpr std::uint32_t kNone = SlotSet::kNone;
  static constexpr std::int64_t kNever = INT64_MAX;
  using Experiment = chaos_plan::Experiment;
  using Injection = chaos_plan::Injection;

  Reply on(const chaos::Sample& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::AddMetric& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::AddLabel& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::SetAgent& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::RemoveAgent& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::Create& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::Approve& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::Start& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::Pause& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::Resume& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::Kill& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::Report& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::Forget& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::Confirm& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::Undone& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::Recovered& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::Effect& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::Restarted& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::PlanGameDay& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::BeginGameDay& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::CheckOff& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::ApproveStep& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::EndGameDay& order, std::int64_t now_ns) noexcept;
  Reply on(const chaos::AbortAll& order, std::int64_t now_ns) noexcept;
  Reply move_game_day(std::uint32_t number, GameDayState to, std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc check_step(std::uint32_t game_day, std::uint32_t step,
                                std::uint32_t participant) const noexcept;

  // chaos_plan.cpp
  [[nodiscard]] Errc check_plan(const chaos::Create& order,
                                const ChaosSafety& safety) const noexcept;
  static void store_plan(const chaos::Create& order, const ChaosSafety& safety,
                         chaos_plan::Plan& plan) noexcept;

  // chaos_run.cpp
  [[nodiscard]] Experiment* live(std::uint32_t experiment) noexcept;
  [[nodiscard]] Reply said(std::uint32_t experiment) const noexcept;
  void change(std::uint32_t at, ExperimentState to, std::int64_t now_ns) noexcept;
  [[nodiscard]] bool knows_metrics(const Experiment& one) const noexcept;
  [[nodiscard]] std::uint32_t under_way() const noexcept;
  [[nodiscard]] bool has_room_for(const Experiment& one) const noexcept;
  // When no blocked window is over it: now, or later.
  [[nodiscard]] static std::int64_t opens_at(const Experiment& one, std::int64_t now_ns) noexcept;
  [[nodiscard]] Injection* injection(std::uint64_t id) noexcept;
  void begin_precheck(std::uint32_t at, std::int64_t now_ns) noexcept;
  void roll_back(std::uint32_t at, ChaosReason why, std::int64_t now_ns) noexcept;
  void end_injections(std::uint32_t at, std::int64_t until_ns, std::int64_t now_ns) noexcept;
  void end_one(Injection& one, std::int64_t now_ns) noexcept;
  [[nodiscard]] bool has_unsettled(std::uint32_t at, bool undoing_alone) const noexcept;
  void settle(Injection& one, InjectionStatus as, std::int64_t now_ns) noexcept;
  void catch_up(std::int64_t now_ns) noexcept;
  void catch_up_injections(std::int64_t now_ns) noexcept;
  [[nodiscard]] bool advance(std::uint32_t at, std::int64_t now_ns) noexcept;
  [[nodiscard]] bool advance_scheduled(std::uint32_t at, std::int64_t now_ns) noexcept;
  [[nodiscard]] bool advance_precheck(std::uint32_t at, std::int64_t now_ns) noexcept;
  [[nodiscard]] bool advance_running(std::uint32_t at, std::int64_t now_ns) noexcept;
  [[nodiscard]] bool advance_rollback(std::uint32_t at, std::int64_t now_ns) noexcept;
  [[nodiscard]] bool advance_analysis(std::uint32_t at, std::int64_t now_ns) noexcept;
  void end_phase(std::uint32_t at, std::int64_t now_ns) noexcept;
  void see_switches(std::uint32_t at, const chaos::Sample& sample, std::int64_t now_ns) noexcept;
  void watch_switches(std::uint32_t at, std::int64_t now_ns) noexcept;
  void give_up(std::uint32_t at, ChaosReason why, std::int64_t now_ns) noexcept;
  void trip(std::uint32_t at, std::uint32_t which, ChaosReason why, std::int64_t now_ns) noexcept;
  void send_orders(std::int64_t now_ns, Actions& out) noexcept;
  void send(const Injection& one, bool is_undo, Actions& out) const noexcept;
  [[nodiscard]] Nanos next_tick(std::int64_t now_ns) const noexcept;

  // chaos_inject.cpp
  void inject_phase(std::uint32_t at, std::int64_t now_ns) noexcept;
  [[nodiscard]] bool inject(std::uint32_t at, std::uint32_t fault, std::int64_t now_ns) noexcept;
  struct Withheld {
    Errc code = Errc::ok;
    Refusal refusal = Refusal::none;
  };
  [[nodiscard]] Withheld choose(const Experiment& one, std::uint32_t fault,
                                std::span<const std::uint32_t>& targets) noexcept;
  [[nodiscard]] bool is_taken(FaultType type, std::uint32_t agent) const noexcept;
  [[nodiscard]] bool is_target(std::uint32_t slot, std::uint32_t agent) const noexcept {
    return (target_bits_[slot * words_ + agent / 64] >> (agent % 64) & 1U) != 0;
  }
  template <class Visit>
  void each_target(std::uint32_t slot, Visit&& visit) const noexcept;

  // chaos_results.cpp
  struct Point {
    VerifyPoint kind = VerifyPoint::phase;
    MetricSpan span;
  };
  [[nodiscard]] std::uint32_t judge_all(Experiment& one,
                                        const std::vector<chaos_plan::Assertion>& assertions,
                                        const Point& point) noexcept;
  // False: more failed than are allowed, and there is an issue about it.
  [[nodiscard]] bool verify_point(Experiment& one, const Point& point,
                                  std::int64_t now_ns) noexcept;
  struct Complaint {
    IssueSeverity severity = IssueSeverity::error;
    IssueCategory category = IssueCategory::hypothesis;
    std::uint32_t fault = kNoFault;
    Errc code = Errc::ok;
  };
  void note_issue(Experiment& one, const Complaint& complaint, std::int64_t now_ns) noexcept;
  void note(Experiment& one, const TimelineEntry& entry) noexcept;
  [[nodiscard]] ChaosImpact impact_of(const Experiment& one) const noexcept;
  [[nodiscard]] std::uint32_t metric_named(std::string_view name) const noexcept;

  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);
  void load_experiments(StateReader& reader);
  void load_injections(StateReader& reader);
  void load_rest(StateReader& reader);
  [[nodiscard]] bool is_sound(const Experiment& one) const noexcept;

  MetricWindows metrics_;
  ChaosAgents agents_;
  std::vector<IdHash> labels_;
  std::vector<Experiment> experiments_;
  SlotSet experiment_slots_;
  std::vector<Injection> injections_;
  SlotSet injection_slots_;
  std::vector<std::uint64_t> target_bits_;  // `words_` an injection
  std::size_t words_ = 0;
  std::vector<chaos_plan::Effect> effects_;  // the newest overwrites the oldest
  std::uint64_t effect_count_ = 0;
  std::vector<chaos_plan::GameDay> game_days_;
  std::uint64_t last_injection_ = 0;
  std::uint32_t armed_ = 0;           // injections that are not settled
  std::vector<std::uint32_t> order_;  // scratch: slots, in the order of their ids
  bool view_changed_ = true;
};

template <class Visit>
void ChaosHarness::each_target(std::uint32_t slot, Visit&& visit) const noexcept {
  for (std::size_t word = 0; word < words_; ++word) {
    for (std::uint64_t bits = target_bits_[slot * words_ + word]; bits != 0; bits &= bits - 1) {
      visit(static_cast<std::uint32_t>(word * 64) +
            static_cast<std::uint32_t>(std::countr_zero(bits)));
    }
  }
}

static_assert(DurableService<ChaosHarness>);

extern template class ServiceForm<ChaosHarness, ChaosConfig, ChaosCommand, ChaosReply,
                                  ChaosCounters, ChaosActions>;

}  // namespace mesh::coordination
