#include "engine/tasks/work_stealing.hpp"

#include <algorithm>
#include <map>

#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/tasks/scheduler_kit.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_work_stealing_test {

using coordination::testing::CrashSweep;
using coordination::testing::expect_all_refused;
using coordination::testing::expect_damage_found;
using coordination::testing::expect_replays;
using coordination::testing::golden;
using coordination::testing::Json;
using coordination::testing::matches;
using coordination::testing::Timed;
using testing::agent;
using testing::small_scheduler;
using testing::task_s;
using testing::work;

WorkStealingConfig small_stealing() {
  WorkStealingConfig config;
  config.agents_max = 6;
  config.events_max = 16;
  return config;
}
WorkStealingConfig with_lifelines() {
  auto config = small_stealing();
  config.lifelines = 3;
  return config;
}
std::vector<task::Steal> ordered(WorkStealing& stealing, Nanos now) {
  WorkStealingActions actions;
  stealing.tick(now, actions);
  return actions.steals;
}

TEST(WorkStealing, GoldenHowMany) {
  const auto [inputs, expected] = golden("work_stealing", "how_many");
  WorkStealingConfig config;
  config.threshold = inputs.at("threshold");
  config.burst_max = inputs.at("burst_max");
  Json actual = Json::array();
  for (const auto& row : inputs.at("queued_high_low")) {
    actual.push_back(steal_count(row.at(0), row.at(1), config));
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(WorkStealing, GoldenBestAgent) {
  const auto [inputs, expected] = golden("work_stealing", "best_agent");
  std::vector<StealCandidate> candidates;
  Json scores;
  for (const auto& [name, row] : inputs.at("tasks_cpu_mem_priority_avg_s_capable").items()) {
    StealCandidate one;
    one.agent = static_cast<std::uint32_t>(name.back() - '0');
    one.tasks = row.at(0);
    one.cpu_ppt = 10 * row.at(1).get<std::uint32_t>();
    one.mem_ppt = 10 * row.at(2).get<std::uint32_t>();
    one.priority = row.at(3);
    one.usual_time = Nanos{static_cast<std::int64_t>(row.at(4).get<double>() * 1e9)};
    one.capable = row.at(5);
    candidates.push_back(one);
    scores[name] = static_cast<double>(steal_score(one)) / 1'000;
  }
  const auto best = best_agent(candidates);
  ASSERT_TRUE(best);
  EXPECT_TRUE(matches(expected, {{"score", scores}, {"best", "a" + std::to_string(*best)}}));
  for (auto& one : candidates) one.capable = false;
  EXPECT_EQ(best_agent(candidates).error().code, Errc::no_candidate);
}

TEST(WorkStealing, GoldenGreedyPairs) {
  const auto [inputs, expected] = golden("work_stealing", "greedy_pairs");
  WorkStealing stealing(small_stealing());
  for (const auto& [name, queued] : inputs.at("queued").items()) {
    const auto number = static_cast<std::uint32_t>(name.front() - 'a');
    stealing.apply(stealing::Report{number, queued}, Nanos{0});
  }
  Json actual = Json::array();
  for (const auto& one : ordered(stealing, Nanos{0})) {
    actual.push_back({std::string(1, static_cast<char>('a' + one.from)),
                      std::string(1, static_cast<char>('a' + one.to)), one.count});
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(WorkStealing, PrefersTheNearestOfThoseThatAreAlike) {
  WorkStealing stealing(small_stealing());
  stealing.apply(stealing::Report{0, 9, 4, 1}, Nanos{0});
  stealing.apply(stealing::Report{1, 0, 9, 2}, Nanos{0});
  stealing.apply(stealing::Report{2, 0, 5, 1}, Nanos{0});
  stealing.apply(stealing::Report{3, 0, 4, 1}, Nanos{0});
  const auto steals = ordered(stealing, Nanos{0});
  ASSERT_EQ(steals.size(), 1U);
  EXPECT_EQ(steals[0].to, 3U);
}

TEST(WorkStealing, GoesByIntervalsAndByLoadsThatAreKnown) {
  WorkStealing stealing(small_stealing());
  stealing.apply(stealing::Report{0, 9}, Nanos{0});
  EXPECT_TRUE(ordered(stealing, Nanos{0}).empty()) << "nobody else is known";
  stealing.apply(stealing::Report{1, 0}, Nanos{0});
  EXPECT_TRUE(ordered(stealing, task_s(4)).empty());
  EXPECT_EQ(ordered(stealing, task_s(5)).size(), 1U);
  EXPECT_EQ(ordered(stealing, task_s(10)).size(), 1U);
  EXPECT_TRUE(ordered(stealing, task_s(16)).empty()) << "what was reported is too old";
  stealing.apply(stealing::Report{0, 9}, task_s(16));
  stealing.apply(stealing::Report{1, 0}, task_s(16));
  stealing.apply(stealing::Leave{1}, task_s(17));
  EXPECT_TRUE(ordered(stealing, task_s(21)).empty());
  stealing.apply(stealing::Report{1, 0}, task_s(21));
  stealing.apply(stealing::Enable{false}, task_s(21));
  EXPECT_TRUE(ordered(stealing, task_s(26)).empty());
}

TEST(WorkStealing, RefusesWhatItDoesNotKnow) {
  WorkStealing stealing(small_stealing());
  expect_all_refused<WorkStealing>(
      stealing, {{"beyond the table", stealing::Report{6, 1}, Errc::no_such_agent, Nanos{0}},
                 {"nobody leaves", stealing::Leave{6}, Errc::no_such_agent, Nanos{0}},
                 {"it was not there", stealing::Leave{3}, Errc::not_found, Nanos{0}},
                 {"before time", stealing::Report{1, 1}, Errc::invalid_argument, Nanos{-1}}});
  auto config = small_stealing();
  config.burst_max = 0;
  EXPECT_EQ(WorkStealing::validate(config).error().code, Errc::invalid_config);
  EXPECT_EQ(WorkStealingConfig::preset("greedy").error().code, Errc::unknown_preset);
}

std::vector<Timed<WorkStealingCommand>> trace(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<Timed<WorkStealingCommand>> commands;
  Nanos now{0};
  const auto number = [&](std::uint64_t n) { return static_cast<std::uint32_t>(rng.below(n)); };
  for (std::size_t i = 0; i < count; ++i) {
    WorkStealingCommand command = stealing::Report{number(7), number(20), number(3), number(2)};
    if (rng.below(8) == 0) command = stealing::Leave{number(7)};
    if (rng.below(20) == 0) command = stealing::Enable{rng.below(3) != 0};
    commands.push_back({now, command});
    now += Nanos{static_cast<std::int64_t>(rng.below(2'000)) * kNsPerMs};
  }
  return commands;
}

TEST(WorkStealing, ReplaysAndSurvivesDeathsAndDamage) {
  expect_replays<WorkStealing>(small_stealing(), trace(300, mesh::testing::seed()));
  expect_replays<WorkStealing>(with_lifelines(), trace(300, mesh::testing::seed()));
  for (const auto& config : {small_stealing(), with_lifelines()}) {
    CrashSweep<WorkStealing> sweep(config, trace(12, 3));
    sweep.with_ticks();
    EXPECT_GT(sweep.run(4), 50U);
  }
  WorkStealing stealing(small_stealing());
  for (const auto& one : trace(10, 5)) stealing.apply(one.command, one.now);
  expect_damage_found(stealing, small_stealing());
}

// --- lifelines -----------------------------------------------------------------------------------

TEST(WorkStealing, HalfOfALargeDifferenceMovesAtOnceWhereItMay) {
  auto config = small_stealing();
  config.half_above = 10;
  EXPECT_EQ(steal_count(10, 0, config), 2U);
  EXPECT_EQ(steal_count(11, 0, config), 5U);
  EXPECT_EQ(steal_count(1'000, 100, config), 450U);
}

TEST(WorkStealing, WhoHangsIsServedByALifelineAtTheNextTick) {
  WorkStealing stealing(with_lifelines());
  ordered(stealing, Nanos{0});  // the interval begins
  stealing.apply(stealing::Report{1, 0}, task_s(1));
  EXPECT_TRUE(ordered(stealing, task_s(1)).empty()) << "it hangs";
  stealing.apply(stealing::Report{2, 9}, task_s(2));
  EXPECT_TRUE(ordered(stealing, task_s(2)).empty()) << "01 and 10 differ in two bits";
  stealing.apply(stealing::Report{5, 9}, task_s(2));
  const auto steals = ordered(stealing, task_s(2));
  ASSERT_EQ(steals.size(), 1U);
  EXPECT_EQ(steals[0].from, 5U);
  EXPECT_EQ(steals[0].to, 1U);
  EXPECT_EQ(steals[0].count, 2U);
  stealing.apply(stealing::Report{5, 9}, task_s(3));
  EXPECT_TRUE(ordered(stealing, task_s(3)).empty()) << "a report of 0 is answered once";
}

TEST(WorkStealing, ALifelineThatIsStaleOrGonePullsNothing) {
  WorkStealing stealing(with_lifelines());
  ordered(stealing, Nanos{0});
  stealing.apply(stealing::Report{1, 0}, Nanos{0});
  stealing.apply(stealing::Leave{1}, Nanos{1});
  stealing.apply(stealing::Report{5, 9}, Nanos{1});
  EXPECT_TRUE(ordered(stealing, Nanos{1}).empty());
  stealing.apply(stealing::Report{0, 0}, Nanos{2});
  stealing.apply(stealing::Enable{false}, Nanos{2});
  stealing.apply(stealing::Report{4, 9}, Nanos{2});
  EXPECT_TRUE(ordered(stealing, Nanos{2}).empty());
  auto config = with_lifelines();
  config.lifelines = 21;
  EXPECT_EQ(WorkStealing::validate(config).error().code, Errc::invalid_config);
}

// Eight agents, the corners of a cube, and lifelines along its edges; rounds hardly ever.
struct Cube {
  Cube() {
    for (std::uint32_t i = 0; i < 8; ++i) scheduler.apply(agent(i, 96), Nanos{0});
    ordered(stealing, Nanos{0});
  }
  static TaskSchedulerConfig scheduling() {
    auto config = small_scheduler(96);
    config.agents_max = 8;
    config.running_max = 96;
    config.timeout_ns = task_s(10'000);
    config.copies_max = 0;
    config.steals_max = 255;
    config.steal_interval_ns = Nanos{0};
    return config;
  }
  static WorkStealingConfig lines() {
    auto config = with_lifelines();
    config.agents_max = 8;
    config.interval_ns = task_s(9'000);
    config.half_above = 8;
    config.threshold = 1;
    return config;
  }
  void give(std::uint64_t count, std::uint32_t to) {
    for (tasks = 1; tasks <= count; ++tasks) {
      scheduler.apply(work(tasks), Nanos{0});
      scheduler.apply(task::Assign{tasks, to}, Nanos{0});
    }
  }
  // Each agent that has a task does one of them.
  void work_a_step(Nanos now) {
    std::map<std::uint32_t, std::uint64_t> next;
    for (std::uint64_t id = 1; id < tasks; ++id) {
      const auto seen = scheduler.view(id);
      if (seen.state == TaskState::assigned) next.try_emplace(seen.agent, id);
    }
    for (const auto& [who, id] : next) {
      const std::uint64_t fence = scheduler.view(id).fence;
      EXPECT_EQ(scheduler.apply(task::Start{id, fence}, now).code, Errc::ok);
      EXPECT_EQ(scheduler.apply(task::Complete{id, fence, 0}, now).code, Errc::ok);
      ++done[id];
      ++by[who];
    }
  }
  void steal(Nanos now) {
    for (std::uint32_t i = 0; i < 8; ++i) {
      stealing.apply(stealing::Report{i, scheduler.load(i).queued}, now);
    }
    for (const auto& one : ordered(stealing, now)) scheduler.apply(one, now);
    EXPECT_TRUE(scheduler.verify());
    EXPECT_TRUE(stealing.verify());
  }

  TaskScheduler scheduler{scheduling(), 1};
  WorkStealing stealing{lines()};
  std::uint64_t tasks = 0;
  std::map<std::uint64_t, int> done;
  std::map<std::uint32_t, int> by;
};

// All work begins at one agent, and nobody waits for a round.
TEST(WorkStealing, LifelinesSpreadWorkOverTheWholeCubeAndThenFallSilent) {
  Rng rng(mesh::testing::seed());
  for (int round = 0; round < 10; ++round) {
    Cube cube;
    const std::uint64_t count = 40 + rng.below(50);
    cube.give(count, static_cast<std::uint32_t>(rng.below(8)));
    std::uint64_t steps = 0;
    for (; cube.scheduler.open_count() != 0 && steps < count; ++steps) {
      const Nanos now{static_cast<std::int64_t>(steps + 1) * kNsPerMs};
      cube.work_a_step(now);
      cube.steal(now);
    }
    EXPECT_EQ(cube.done.size(), count) << "none is lost";
    for (const auto& [id, times] : cube.done) EXPECT_EQ(times, 1) << id;
    EXPECT_LT(steps, count / 2) << "alone it takes a step for each";
    EXPECT_EQ(cube.by.size(), 8U) << "somebody did nothing";
    EXPECT_LE(cube.stealing.counters().pulled, cube.stealing.counters().hung);
    const std::uint64_t pairs = cube.stealing.counters().pairs;
    cube.steal(task_s(2));
    EXPECT_EQ(cube.stealing.counters().pairs, pairs) << "there is nothing left";
  }
}

// --- together with the scheduler -----------------------------------------------------------------

TEST(WorkStealing, MovesTheOldestThatIsNotBegunUnderANewFence) {
  TaskScheduler scheduler(small_scheduler(), 1);
  scheduler.apply(agent(0, 6), Nanos{0});
  scheduler.apply(agent(1, 6), Nanos{0});
  for (std::uint64_t id = 1; id <= 5; ++id) {
    scheduler.apply(work(id), Nanos{0});
    scheduler.apply(task::Assign{id, 0}, Nanos{0});
  }
  const std::uint64_t begun = scheduler.view(1).fence;
  scheduler.apply(task::Start{1, begun}, Nanos{0});
  const std::uint64_t old = scheduler.view(2).fence;
  const auto reply = scheduler.apply(task::Steal{0, 1, 2}, Nanos{1});
  ASSERT_EQ(reply.assigned.size(), 2U);
  EXPECT_EQ(reply.assigned[0].id, 2U) << "1 has begun";
  EXPECT_EQ(reply.assigned[1].id, 3U);
  EXPECT_EQ(reply.news.size(), 2U) << "its old owner is told";
  EXPECT_EQ(scheduler.apply(task::Start{2, old}, Nanos{2}).code, Errc::stale_token);
  EXPECT_EQ(scheduler.apply(task::Start{2, reply.assigned[0].fence}, Nanos{2}).code, Errc::ok);
  EXPECT_EQ(scheduler.view(2).attempt, 1U);
}

TEST(WorkStealing, ATaskMovesOnceAnIntervalAndThreeTimesInItsLife) {
  auto config = small_scheduler();
  config.timeout_ns = task_s(1'000);
  TaskScheduler scheduler(config, 1);
  for (std::uint32_t i = 0; i < 2; ++i) scheduler.apply(agent(i), Nanos{0});
  scheduler.apply(work(1), Nanos{0});
  scheduler.apply(task::Assign{1, 0}, Nanos{0});
  const auto steal = [&](std::uint32_t from, std::int64_t at_s) {
    return scheduler.apply(task::Steal{from, 1 - from, 1}, task_s(at_s)).code;
  };
  EXPECT_EQ(steal(0, 1), Errc::ok);
  EXPECT_EQ(steal(1, 2), Errc::no_candidate) << "within the interval";
  EXPECT_EQ(steal(1, 6), Errc::ok);
  EXPECT_EQ(steal(0, 11), Errc::ok);
  EXPECT_EQ(steal(1, 100), Errc::no_candidate) << "three times";
}

TEST(WorkStealing, EvensOutWhatIsQueuedWithinTheThreshold) {
  Rng rng(mesh::testing::seed());
  for (int round = 0; round < 30; ++round) {
    auto config = small_scheduler(64);
    config.running_max = 64;
    config.timeout_ns = task_s(10'000);
    config.steals_max = 255;
    TaskScheduler scheduler(config, 1);
    WorkStealing stealing(small_stealing());
    for (std::uint32_t i = 0; i < 4; ++i) scheduler.apply(agent(i, 40), Nanos{0});
    for (std::uint64_t id = 1; id <= 40; ++id) {
      scheduler.apply(work(id), Nanos{0});
      scheduler.apply(task::Assign{id, static_cast<std::uint32_t>(rng.below(1 + rng.below(4)))},
                      Nanos{0});
    }
    for (int turn = 0; turn < 40; ++turn) {
      const Nanos now = task_s(5 * turn);
      for (std::uint32_t i = 0; i < 4; ++i) {
        stealing.apply(stealing::Report{i, scheduler.load(i).queued}, now);
      }
      for (const auto& one : ordered(stealing, now)) scheduler.apply(one, now);
    }
    std::uint32_t most = 0;
    std::uint32_t least = UINT32_MAX;
    std::uint32_t sum = 0;
    for (std::uint32_t i = 0; i < 4; ++i) {
      most = std::max(most, scheduler.load(i).queued);
      least = std::min(least, scheduler.load(i).queued);
      sum += scheduler.load(i).queued;
    }
    EXPECT_EQ(sum, 40U) << "never two, never none";
    EXPECT_LE(most - least, 4U);
    ASSERT_TRUE(scheduler.verify());
    EXPECT_TRUE(stealing.verify());
  }
}

}  // namespace of_work_stealing_test
}  // namespace mesh::tasks
