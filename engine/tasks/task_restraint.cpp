// What a task scheduler keeps back while the mesh lacks agents.
#include "engine/tasks/task_scheduler.hpp"

namespace mesh::tasks {
namespace {

// So many of what was kept are put into the queue of the ready at once: a command takes no longer
// because a mesh has got better.
constexpr std::uint32_t kReleaseMax = 1'024;

}  // namespace

TaskScheduler::Reply TaskScheduler::on(const task::Restrain& order, std::int64_t now_ns) noexcept {
  if (order.priority_min > kPriorityMax + 1) return refuse(Errc::invalid_argument);
  restraint_ = order;
  release_parked(now_ns);
  view_changed_ = true;
  return {};
}

TaskScheduler::Reply TaskScheduler::on(const task::HoldAgent& order, std::int64_t) noexcept {
  const bool is_known = order.agent < config_.agents_max && agents_[order.agent].known;
  if (!is_known) return refuse(Errc::no_such_agent);
  agents_[order.agent].held = order.held;
  refresh(order.agent);
  view_changed_ = true;
  return {};
}

void TaskScheduler::park(std::uint32_t at) noexcept {
  tasks_[at].is_parked = true;
  push(parked_[tasks_[at].priority], at);
  ++counters_.parked;
}

void TaskScheduler::unpark(std::uint32_t at) noexcept {
  take_out(parked_[tasks_[at].priority], at);
  tasks_[at].is_parked = false;
}

bool TaskScheduler::has_released() const noexcept {
  for (std::size_t i = restraint_.priority_min; i < parked_.size(); ++i) {
    if (parked_[i].count != 0) return true;
  }
  return false;
}

// The most urgent first. It becomes ready now: waiting for the mesh is no waiting for an agent.
void TaskScheduler::release_parked(std::int64_t now_ns) noexcept {
  std::uint32_t left = kReleaseMax;
  for (std::size_t i = parked_.size(); i-- > restraint_.priority_min;) {
    for (; parked_[i].count != 0 && left != 0; --left) {
      const std::uint32_t at = parked_[i].first;
      unpark(at);
      enqueue(at, now_ns);
    }
  }
}

}  // namespace mesh::tasks
