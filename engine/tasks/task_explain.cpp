// What a task scheduler says of a task to who asks why nobody does it. Nothing is changed by that.
#include <algorithm>
#include <array>

#include "engine/tasks/task_scheduler.hpp"

namespace mesh::tasks {

std::string_view to_string(TaskReason reason) noexcept {
  constexpr std::array<std::string_view, 13> kNames{
      "unknown",     "dependencies", "window",  "back off", "restrained", "stopped", "nobody can",
      "nobody open", "all full",     "no room", "its turn", "held",       "ended"};
  const auto at = static_cast<std::size_t>(reason);
  return at < kNames.size() ? kNames[at] : "unknown";
}

void TaskScheduler::count_agents(std::uint32_t at, TaskExplanation& said) const noexcept {
  const std::uint32_t kind = tasks_[at].kind;
  std::uint64_t had = 0;
  for (std::uint32_t agent = 0; agent < config_.agents_max; ++agent) {
    const Agent& one = agents_[agent];
    if (!one.known) continue;
    had |= one.capabilities;
    if (!can(agent, kind)) continue;
    ++said.capable;
    said.open += one.is_open() ? 1U : 0U;
    said.free += one.is_open() && one.load() < one.concurrent_max ? 1U : 0U;
  }
  said.lacking = said.capable == 0 ? kinds_[kind].requirements & ~had : 0;
}

std::uint32_t TaskScheduler::count_ahead(std::uint32_t at) const noexcept {
  std::uint32_t ahead = 0;
  for (std::uint32_t other = 0; other < fresh_; ++other) {
    const Task& one = tasks_[other];
    const bool is_alike = other != at && one.state == TaskState::ready && !one.is_parked &&
                          one.kind == tasks_[at].kind;
    ahead += is_alike && ready_.is_before(other, at) ? 1U : 0U;
  }
  return ahead;
}

// What comes first in the way.
TaskReason TaskScheduler::reason_of_ready(std::uint32_t at,
                                          const TaskExplanation& said) const noexcept {
  if (tasks_[at].is_parked) return TaskReason::restrained;
  if (restraint_.stopped) return TaskReason::stopped;
  if (said.capable == 0) return TaskReason::nobody_can;
  if (said.open == 0) return TaskReason::nobody_open;
  if (said.free == 0) return TaskReason::all_full;
  return free_held_.empty() ? TaskReason::no_room : TaskReason::its_turn;
}

TaskExplanation TaskScheduler::explain(std::uint64_t id) const noexcept {
  TaskExplanation said;
  const std::uint32_t at = find(id);
  if (at == kNone) return said;
  const Task& one = tasks_[at];
  said.state = one.state;
  said.agent = one.agent;
  if (delayed_.has(at)) said.until = Nanos{delayed_.at_ns(at)};
  switch (one.state) {
    case TaskState::unknown:
      break;
    case TaskState::pending:
      said.reason = one.missing != 0 ? TaskReason::dependencies : TaskReason::window;
      break;
    case TaskState::failed:
      said.reason = TaskReason::back_off;
      break;
    case TaskState::ready:
      count_agents(at, said);
      said.reason = reason_of_ready(at, said);
      said.ahead = one.is_parked ? 0 : count_ahead(at);
      break;
    case TaskState::assigned:
    case TaskState::running:
      said.reason = TaskReason::held;
      break;
    case TaskState::completed:
    case TaskState::cancelled:
    case TaskState::dead:
      said.reason = TaskReason::ended;
      break;
  }
  said.missing = one.missing;
  if (one.missing == 0) return said;
  said.waits_for = UINT64_MAX;
  graph_.each_in(at, [&](std::uint32_t, std::uint32_t from) {
    if (!is_final(tasks_[from].state)) said.waits_for = std::min(said.waits_for, tasks_[from].id);
  });
  return said;
}

std::optional<std::uint64_t> TaskScheduler::peek(std::uint32_t agent) const noexcept {
  const bool may_claim = agent < config_.agents_max && agents_[agent].known &&
                         !restraint_.stopped && !free_held_.empty();
  const std::uint32_t at = may_claim ? next_ready(agent) : kNone;
  return at == kNone ? std::nullopt : std::optional(tasks_[at].id);
}

}  // namespace mesh::tasks
