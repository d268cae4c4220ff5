// ChaosHarness: what a game day came to, to be read.
#include <array>
#include <bit>
#include <string>

#include "engine/coordination/chaos_harness.hpp"

namespace mesh::coordination {
namespace {

// Of a person's; it stands in a cell of a table.
std::string in_cell(const std::string& text) {
  std::string made;
  for (const char letter : text) {
    if (letter == '|') made += '\\';
    made += letter == '\n' || letter == '\r' ? ' ' : letter;
  }
  return made;
}

std::string in_seconds(Nanos time) {
  const std::int64_t tenths = time.count() / 100'000'000;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

bool is_of(const GameDayReport& report, const chaos::PlanGameDay& plan) {
  if (report.name != plan.name || report.steps.size() != plan.steps.size()) return false;
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const bool is_its = report.steps[i].expected == plan.steps[i].expected_duration &&
                        (!report.steps[i].is_done || report.steps[i].by < plan.participants.size());
    if (!is_its) return false;
  }
  return true;
}

}  // namespace

std::string_view to_string(GameDayState state) noexcept {
  constexpr std::array<std::string_view, 5> kNames{"none", "planning", "active", "debriefing",
                                                   "completed"};
  const auto at = static_cast<std::size_t>(state);
  return at < kNames.size() ? kNames[at] : "none";
}

Result<std::string> ChaosHarness::game_day_text(std::uint32_t number,
                                                const chaos::PlanGameDay& plan) const {
  const GameDayReport day = game_day(number);
  if (day.state == GameDayState::none)
    return complain(Errc::not_found, "there is no such game day");
  if (!is_of(day, plan)) return complain(Errc::invalid_argument, "the plan is another game day's");
  std::string text = "# Game day: " + in_cell(day.name) + "\n\n" +
                     std::string(to_string(day.state)) + (day.was_aborted ? ", aborted" : "") +
                     "\n\n| step | done | by | expected | took | checkpoints | experiment |\n"
                     "|---|---|---|---|---|---|---|\n";
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const chaos::GameDayStep& step = plan.steps[i];
    const GameDayStepNote& note = day.steps[i];
    const std::string name = step.manual_action.empty()
                                 ? step.description
                                 : step.description + ": " + step.manual_action;
    std::string experiment = "-";
    if (step.has_experiment) {
      experiment = std::string(to_string(state(step.experiment)));
      if (is_over(state(step.experiment)))
        experiment += has_held(step.experiment) ? ", held" : ", not held";
    }
    text += "| " + in_cell(name) + " | " + (note.is_done ? "yes" : "no") + " | " +
            (note.is_done ? in_cell(plan.participants[note.by].name) : "-") + " | " +
            in_seconds(note.expected) + " | " + (note.is_done ? in_seconds(note.took) : "-") +
            " | " + std::to_string(std::popcount(note.checked)) + " of " +
            std::to_string(step.checkpoints) + " | " + experiment + " |\n";
  }
  return text;
}

}  // namespace mesh::coordination
