// What the tests of the scheduler share: a small one, its commands, and a trace in which everything
// happens.
#pragma once

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "engine/tasks/task_scheduler.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::tasks::testing {

using coordination::testing::Timed;

constexpr Nanos task_ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }
constexpr Nanos task_s(std::int64_t count) { return Nanos{count * kNsPerSecond}; }

inline TaskSchedulerConfig small_scheduler(std::uint32_t tasks = 24) {
  TaskSchedulerConfig config;
  config.tasks_max = tasks;
  config.edges_max = 4 * tasks;
  config.dependencies_max = 4;
  config.agents_max = 6;
  config.running_max = 12;
  config.kinds_max = 4;
  config.types_max = 4;
  config.straggler_samples = 1;
  config.straggler_ppm = 50'000;
  config.copies_max = 3;
  config.copies_ppm = 1'000'000;
  config.events_max = 64;
  return config;
}
inline task::Submit work(std::uint64_t id, std::vector<std::uint64_t> dependencies = {},
                         std::int32_t priority = 0) {
  task::Submit one;
  one.id = id;
  one.dependencies = std::move(dependencies);
  one.priority = priority;
  one.payload = 1'000 + id;
  return one;
}
inline task::RegisterAgent agent(std::uint32_t number, std::uint32_t concurrent = 10,
                                 std::uint64_t capabilities = 0) {
  task::RegisterAgent one;
  one.agent = number;
  one.concurrent_max = concurrent;
  one.capabilities = capabilities;
  one.station = 1 + number % 3;
  return one;
}

// Decides what comes next by what it was told: fences of its own, and old ones.
class TaskPlayer {
 public:
  explicit TaskPlayer(std::uint64_t seed) : rng_(seed) {}

  TaskCommand next(Nanos now) {
    if (begun_ < 4) {
      auto one = agent(begun_, 1 + begun_ % 3, begun_);
      one.any = begun_ == 3;
      ++begun_;
      return one;
    }
    const std::uint64_t what = rng_.below(100);
    if (what < 30) return submit(now);
    if (what < 75 && !known_.empty()) return about_one();
    if (what < 80) return task::Claim{number(5), 1 + number(3)};
    if (what < 84) return task::Steal{number(5), number(5), 1 + number(3)};
    if (what < 88)
      return task::Assign{1 + rng_.below(last_ + 1), rng_.below(2) == 0 ? kNoAgent : number(5)};
    return rare();
  }
  void hear(std::uint64_t id, std::uint64_t fence) {
    if (fence != 0) known_.push_back({id, fence});
    if (known_.size() > 12) known_.erase(known_.begin());
  }
  void hear(const TaskCommand& command, const TaskReply& reply) {
    for (const auto& one : reply.assigned) hear(one.id, one.fence);
    if (const auto* one = std::get_if<task::Assign>(&command)) hear(one->id, reply.fence);
    if (const auto* one = std::get_if<task::Reassign>(&command)) hear(one->id, reply.fence);
  }
  [[nodiscard]] Rng& rng() { return rng_; }

 private:
  struct Held {
    std::uint64_t id;
    std::uint64_t fence;
  };
  std::uint32_t number(std::uint64_t n) { return static_cast<std::uint32_t>(rng_.below(n)); }
  TaskCommand submit(Nanos now) {
    task::Submit one = work(rng_.below(6) == 0 ? 1 + rng_.below(last_ + 1) : ++last_);
    one.priority = static_cast<std::int32_t>(rng_.below(5)) - 1;
    one.type = number(6);
    one.requirements = rng_.below(4);
    for (std::uint64_t i = rng_.below(3); i != 0 && last_ > 3; --i) {
      one.dependencies.push_back(last_ - 1 - rng_.below(std::min<std::uint64_t>(last_ - 1, 8)));
    }
    if (rng_.below(3) == 0) one.deadline = now + task_ms(1 + number(60'000));
    if (rng_.below(6) == 0) one.arrival = now + task_ms(number(20'000));
    one.cost = task_ms(number(3'000));
    one.may_run_twice = rng_.below(2) == 0;
    one.retries = rng_.below(2) == 0 ? kNoAgent : number(3);
    return one;
  }
  TaskCommand about_one() {
    const Held one = known_[rng_.below(known_.size())];
    const std::uint64_t what = rng_.below(20);
    if (what < 8) return task::Start{one.id, one.fence};
    if (what < 15) return task::Complete{one.id, one.fence, one.fence};
    if (what < 17) return task::Fail{one.id, one.fence, rng_.below(8) == 0};
    if (what < 18) return task::Progress{one.id, one.fence};
    if (what < 19) return task::GiveBack{one.id, one.fence};
    return task::Reassign{one.id, rng_.below(2) == 0 ? kNoAgent : number(5)};
  }
  TaskCommand rare() {
    switch (rng_.below(8)) {
      case 0:
        return task::RemoveAgent{number(4)};
      case 1:
        return task::SetRoutable{number(4), rng_.below(3) != 0};
      case 2:
        return task::ReportAgent{number(4),         number(1'001), number(1'001),
                                 number(1'000'001), 500'000,       task_ms(number(50))};
      case 3:
        return task::Cancel{1 + rng_.below(last_ + 1)};
      case 4:
        return task::SetStrategy{std::string(to_string(static_cast<Strategy>(rng_.below(12))))};
      case 5:
        if (rng_.below(4) != 0) return task::Restrain{};
        return task::Restrain{number(6), rng_.below(2) == 0, rng_.below(8) == 0};
      case 6:
        return task::HoldAgent{number(5), rng_.below(6) == 0};
      default:
        return rng_.below(3) == 0 ? TaskCommand{task::StationClosed{1 + number(3)}}
                                  : TaskCommand{agent(number(5), 1 + number(4), rng_.below(4))};
    }
  }

  Rng rng_;
  std::uint32_t begun_ = 0;
  std::uint64_t last_ = 0;
  std::vector<Held> known_;
};

inline std::vector<Timed<TaskCommand>> task_trace(const TaskSchedulerConfig& config,
                                                  std::size_t count, std::uint64_t seed) {
  std::vector<Timed<TaskCommand>> commands;
  TaskScheduler follower(config, 7);
  TaskPlayer player(seed);
  Nanos now{0};
  TaskSchedulerActions actions;
  for (std::size_t i = 0; i < count; ++i) {
    const auto command = player.next(now);
    player.hear(command, follower.apply(command, now));
    follower.tick(now, actions);
    for (const auto& one : actions.assigned) player.hear(one.id, one.fence);
    commands.push_back({now, command});
    now += task_ms(static_cast<std::int64_t>(player.rng().below(2'500)));
  }
  return commands;
}

}  // namespace mesh::tasks::testing
