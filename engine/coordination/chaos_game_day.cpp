// ChaosHarness: game days: people, steps that they approve one by one, experiments among them.
#include <algorithm>

#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/chaos_harness.hpp"

namespace mesh::coordination {
namespace {

bool is_possible(const chaos::GameDayStep& step) noexcept {
  const bool has_names =
      is_name(step.description) && (step.manual_action.empty() || is_name(step.manual_action));
  return has_names && is_duration(step.expected_duration) &&
         step.checkpoints <= chaos_plan::kCheckpointsMax;
}
std::uint32_t all_checked(const chaos_plan::GameStep& step) noexcept {
  return step.checkpoints == 32 ? UINT32_MAX : (1U << step.checkpoints) - 1;
}

}  // namespace

ChaosHarness::Reply ChaosHarness::on(const chaos::PlanGameDay& order, std::int64_t) noexcept {
  const auto has_name = [](const chaos::GameDayPerson& person) { return is_name(person.name); };
  const bool has_names = is_name(order.name) && std::all_of(order.participants.begin(),
                                                            order.participants.end(), has_name);
  if (!has_names) return refuse(Errc::invalid_id);
  const bool is_sound = !order.steps.empty() && !order.participants.empty() &&
                        std::all_of(order.steps.begin(), order.steps.end(),
                                    [](const auto& step) { return is_possible(step); });
  if (!is_sound) return refuse(Errc::invalid_argument);
  for (const auto& step : order.steps) {
    if (step.has_experiment && live(step.experiment) == nullptr) return refuse(Errc::not_found);
  }
  const bool fits = order.steps.size() <= chaos_plan::kStepsMax &&
                    order.participants.size() <= chaos_plan::kPeopleMax &&
                    game_days_.size() < config_.game_days_max;
  if (!fits) return refuse(Errc::capacity);
  chaos_plan::GameDay& fresh = game_days_.emplace_back();  // reserved
  fresh.name = order.name;
  fresh.state = GameDayState::planning;
  for (const auto& person : order.participants) fresh.people.push_back(person.role);
  for (const auto& step : order.steps) {
    chaos_plan::GameStep row;
    row.has_experiment = step.has_experiment;
    row.experiment = step.experiment;
    row.checkpoints = step.checkpoints;
    row.note.expected = step.expected_duration;
    fresh.steps.push_back(row);
  }
  Reply reply;
  reply.id = static_cast<std::uint32_t>(game_days_.size() - 1);
  reply.game_day = fresh.state;
  return reply;
}

ChaosHarness::Reply ChaosHarness::move_game_day(std::uint32_t number, GameDayState to,
                                                std::int64_t now_ns) noexcept {
  chaos_plan::GameDay& day = game_days_[number];
  day.state = to;
  if (to == GameDayState::active) day.steps.front().note.began = Nanos{now_ns};
  emit(Event::game_day, Severity::info, now_ns, {number, static_cast<std::uint64_t>(to), 0});
  Reply reply;
  reply.id = number;
  reply.game_day = to;
  return reply;
}

ChaosHarness::Reply ChaosHarness::on(const chaos::BeginGameDay& order,
                                     std::int64_t now_ns) noexcept {
  if (order.game_day >= game_days_.size()) return refuse(Errc::not_found);
  if (game_days_[order.game_day].state != GameDayState::planning) return refuse(Errc::wrong_state);
  return move_game_day(order.game_day, GameDayState::active, now_ns);
}

// The step at hand, and somebody who may say so.
Errc ChaosHarness::check_step(std::uint32_t game_day, std::uint32_t step,
                              std::uint32_t participant) const noexcept {
  if (game_day >= game_days_.size()) return Errc::not_found;
  const chaos_plan::GameDay& day = game_days_[game_day];
  if (step >= day.steps.size() || participant >= day.people.size()) return Errc::not_found;
  if (day.people[participant] == Participant::observer) return Errc::not_authorized;
  const bool is_at_hand = day.state == GameDayState::active && !day.steps[step].note.is_done &&
                          (step == 0 || day.steps[step - 1].note.is_done);
  return is_at_hand ? Errc::ok : Errc::wrong_state;
}

ChaosHarness::Reply ChaosHarness::on(const chaos::CheckOff& order, std::int64_t) noexcept {
  const Errc bad = check_step(order.game_day, order.step, order.participant);
  if (bad != Errc::ok) return refuse(bad);
  chaos_plan::GameStep& step = game_days_[order.game_day].steps[order.step];
  if (order.checkpoint >= step.checkpoints) return refuse(Errc::not_found);
  step.note.checked |= 1U << order.checkpoint;
  Reply reply;
  reply.id = order.game_day;
  reply.game_day = GameDayState::active;
  return reply;
}

ChaosHarness::Reply ChaosHarness::on(const chaos::ApproveStep& order,
                                     std::int64_t now_ns) noexcept {
  const Errc bad = check_step(order.game_day, order.step, order.participant);
  if (bad != Errc::ok) return refuse(bad);
  chaos_plan::GameDay& day = game_days_[order.game_day];
  chaos_plan::GameStep& step = day.steps[order.step];
  const Experiment* its = step.has_experiment ? live(step.experiment) : nullptr;
  const bool is_running = its != nullptr && !is_over(its->course.state);
  if (is_running || step.note.checked != all_checked(step)) return refuse(Errc::wrong_state);
  step.note.is_done = true;
  step.note.by = order.participant;
  step.note.took = Nanos{now_ns} - step.note.began;
  if (order.step + 1 == day.steps.size()) {
    return move_game_day(order.game_day, GameDayState::debriefing, now_ns);
  }
  day.steps[order.step + 1].note.began = Nanos{now_ns};
  Reply reply;
  reply.id = order.game_day;
  reply.game_day = day.state;
  return reply;
}

ChaosHarness::Reply ChaosHarness::on(const chaos::EndGameDay& order, std::int64_t now_ns) noexcept {
  if (order.game_day >= game_days_.size()) return refuse(Errc::not_found);
  if (game_days_[order.game_day].state != GameDayState::debriefing) {
    return refuse(Errc::wrong_state);
  }
  return move_game_day(order.game_day, GameDayState::completed, now_ns);
}

ChaosHarness::Reply ChaosHarness::on(const chaos::AbortAll& order, std::int64_t now_ns) noexcept {
  if (order.game_day >= game_days_.size()) return refuse(Errc::not_found);
  chaos_plan::GameDay& day = game_days_[order.game_day];
  if (day.state != GameDayState::active) return refuse(Errc::wrong_state);
  for (const auto& step : day.steps) {
    const Experiment* its = step.has_experiment ? live(step.experiment) : nullptr;
    if (its == nullptr || is_over(its->course.state)) continue;
    roll_back(step.experiment, ChaosReason::killed, now_ns);
  }
  day.was_aborted = true;
  return move_game_day(order.game_day, GameDayState::debriefing, now_ns);
}

GameDayReport ChaosHarness::game_day(std::uint32_t number) const {
  GameDayReport report;
  if (number >= game_days_.size()) return report;
  const chaos_plan::GameDay& day = game_days_[number];
  report.state = day.state;
  report.name = day.name;
  report.was_aborted = day.was_aborted;
  for (const auto& step : day.steps) report.steps.push_back(step.note);
  return report;
}

}  // namespace mesh::coordination
