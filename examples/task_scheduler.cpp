// Three tasks in a chain, one agent that dies, one that does not know of it, and a steal.
#include "engine/tasks/task_scheduler.hpp"

#include <cstdio>

#include "engine/tasks/work_stealing.hpp"

int main() {
  using namespace mesh;
  using namespace mesh::tasks;
  TaskScheduler scheduler(TaskSchedulerConfig::preset("standard").value(), 1);
  const auto ms = [](std::int64_t count) { return Nanos{count * kNsPerMs}; };
  scheduler.apply(task::RegisterAgent{1, 0b01, false, 8, 0, 1}, ms(0));
  scheduler.apply(task::RegisterAgent{2, 0b11, false, 8, 0, 2}, ms(0));
  const auto submit = [&](std::uint64_t id, std::vector<std::uint64_t> on, std::uint64_t needs) {
    task::Submit one;
    one.id = id;
    one.dependencies = std::move(on);
    one.requirements = needs;
    scheduler.apply(one, ms(1));
  };
  submit(100, {}, 0b01);
  submit(101, {100}, 0b10);

  const auto first = scheduler.apply(task::Assign{100, 1}, ms(2));
  scheduler.apply(task::Start{100, first.fence}, ms(3));
  scheduler.apply(task::StationClosed{1}, ms(4));  // agent 1 is gone, and does not know
  TaskSchedulerActions actions;
  scheduler.tick(ms(5), actions);
  const auto late = scheduler.apply(task::Complete{100, first.fence, 0}, ms(6));
  scheduler.apply(task::Start{100, actions.assigned.at(0).fence}, ms(6));
  scheduler.apply(task::Complete{100, actions.assigned.at(0).fence, 42}, ms(7));

  scheduler.apply(task::RegisterAgent{1, 0b01, false, 8, 0, 1}, ms(8));
  for (std::uint64_t id = 200; id < 205; ++id) {
    submit(id, {}, 0b01);
    scheduler.apply(task::Assign{id, 2}, ms(9));
  }
  WorkStealing stealing(WorkStealingConfig::preset("standard").value());
  for (const std::uint32_t agent : {1U, 2U}) {
    stealing.apply(stealing::Report{agent, scheduler.load(agent).queued, 0, 0}, ms(10));
  }
  WorkStealingActions orders;
  stealing.tick(ms(10), orders);
  const auto moved = scheduler.apply(orders.steals.at(0), ms(10));
  std::printf("the late result %s; result %d under attempt %d; 101 is %s; %d moved\n",
              std::string(name_of(late.code)).c_str(), static_cast<int>(scheduler.view(100).result),
              static_cast<int>(scheduler.view(100).attempt),
              std::string(to_string(scheduler.view(101).state)).c_str(),
              static_cast<int>(moved.assigned.size()));
  return scheduler.verify() ? 0 : 1;
}
