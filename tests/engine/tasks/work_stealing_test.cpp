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
  CrashSweep<WorkStealing> sweep(small_stealing(), trace(12, 3));
  sweep.with_ticks();
  EXPECT_GT(sweep.run(4), 50U);
  WorkStealing stealing(small_stealing());
  for (const auto& one : trace(10, 5)) stealing.apply(one.command, one.now);
  expect_damage_found(stealing, small_stealing());
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
