// The scheduler's strategies; its rules on random histories; restarts, and one death after another.
#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>

#include "engine/tasks/task_scheduler.hpp"
#include "tests/allocations.hpp"
#include "tests/engine/tasks/scheduler_kit.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_task_rules_test {

using coordination::testing::CrashSweep;
using coordination::testing::expect_damage_found;
using coordination::testing::expect_replays;
using testing::agent;
using testing::small_scheduler;
using testing::task_ms;
using testing::task_s;
using testing::task_trace;
using testing::work;

// --- strategies ----------------------------------------------------------------------------------

class Strategies : public ::testing::Test {
 protected:
  void use(std::string_view name) {
    ASSERT_EQ(scheduler_.apply(task::SetStrategy{std::string(name)}, now_).code, Errc::ok);
    EXPECT_EQ(scheduler_.strategy(), name);
  }
  void join(std::uint32_t number, std::uint32_t concurrent = 4, std::uint64_t capabilities = 0) {
    ASSERT_EQ(scheduler_.apply(agent(number, concurrent, capabilities), now_).code, Errc::ok);
  }
  // Who gets the next one; `requirements` of it.
  std::uint32_t next(std::uint64_t requirements = 0, std::uint32_t type = 0) {
    auto one = work(++last_);
    one.requirements = requirements;
    one.type = type;
    one.cost = cost_;
    scheduler_.apply(one, now_);
    return scheduler_.apply(task::Assign{last_}, now_).agent;
  }
  void finish(std::uint64_t id) {
    const std::uint64_t fence = scheduler_.view(id).fence;
    scheduler_.apply(task::Start{id, fence}, now_);
    now_ += task_s(1);
    ASSERT_EQ(scheduler_.apply(task::Complete{id, fence, 0}, now_).code, Errc::ok);
  }
  void report(std::uint32_t number, std::uint32_t reputation, std::uint32_t health, Nanos lead) {
    ASSERT_EQ(
        scheduler_.apply(task::ReportAgent{number, 0, 0, reputation, health, lead}, now_).code,
        Errc::ok);
  }

  TaskScheduler scheduler_{small_scheduler(64), 1};
  Nanos now_{0};
  Nanos cost_ = task_s(1);
  std::uint64_t last_ = 0;
};

TEST_F(Strategies, CapabilityIsAFilterBeforeAnyScore) {
  join(0, 4, 1);
  join(1, 4, 2);
  join(2, 4, 2);
  for (const auto* name : {"capability", "round-robin", "least-loaded", "affinity", "p2c",
                           "reputation", "health", "impedance", "auction", "heft", "deadline"}) {
    use(name);
    EXPECT_EQ(next(1), 0U) << name << ": the only one that can, however idle the others are";
    finish(last_);
  }
}

TEST_F(Strategies, RoundRobinGoesOverThoseThatMayFromTheFirstOn) {
  use("round-robin");
  for (std::uint32_t i = 0; i < 4; ++i) join(i, 4, i == 1 ? 0 : 1);
  std::vector<std::uint32_t> order;
  for (int i = 0; i < 6; ++i) order.push_back(next(1));
  EXPECT_EQ(order, (std::vector<std::uint32_t>{0, 2, 3, 0, 2, 3}));
}

TEST_F(Strategies, LeastLoadedGoesByTheShareInUse) {
  use("least-loaded");
  join(0, 2);
  join(1, 4);
  std::vector<std::uint32_t> order;
  for (int i = 0; i < 6; ++i) order.push_back(next());
  EXPECT_EQ(order, (std::vector<std::uint32_t>{0, 1, 1, 0, 1, 1}));
}

TEST_F(Strategies, AffinityReturnsToWhoDidTheLastOfItsTypeUnlessItIsLoaded) {
  use("affinity");
  join(0);
  join(1);
  join(2);
  scheduler_.apply(task::SetRoutable{0, false}, now_);
  EXPECT_EQ(next(0, 3), 1U);
  finish(last_);
  scheduler_.apply(task::SetRoutable{0, true}, now_);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(next(0, 3), 1U) << "its load " << i << " of 4 is below 80 %";
  }
  EXPECT_EQ(next(0, 3), 0U) << "it is full";
  EXPECT_EQ(next(0, 2), 2U) << "another type: by capability";
}

TEST_F(Strategies, TwoChoicesNeverTakesTheMoreLoadedOfTwo) {
  use("p2c");
  join(0);
  join(1);
  for (int i = 0; i < 8; ++i) {
    const auto before = std::pair{scheduler_.load(0).queued, scheduler_.load(1).queued};
    const std::uint32_t got = next();
    if (before.first != before.second) {
      EXPECT_EQ(got, before.first < before.second ? 0U : 1U);
    }
  }
  EXPECT_EQ(next(), kNoAgent) << "both are full";
}

TEST_F(Strategies, ScoresGoByWhatOthersSayOfTheAgent) {
  for (std::uint32_t i = 0; i < 3; ++i) join(i);
  report(0, 100, 900'000, task_ms(30));
  report(1, 900, 100'000, task_ms(20));
  report(2, 500, 500'000, task_ms(5));
  use("reputation");
  EXPECT_EQ(next(), 1U);
  use("health");
  EXPECT_EQ(next(), 0U);
  use("impedance");
  EXPECT_EQ(next(), 2U);
}

TEST_F(Strategies, HeftAndAuctionTakeWhoIsDoneFirst) {
  join(0);
  join(1);
  use("capability");
  for (int i = 0; i < 2; ++i) {  // 0 takes 1 s, 1 takes 4 s
    const std::uint32_t who = next();
    const std::uint64_t fence = scheduler_.view(last_).fence;
    scheduler_.apply(task::Start{last_, fence}, now_);
    now_ += task_s(who == 0 ? 1 : 4);
    scheduler_.apply(task::Complete{last_, fence, 0}, now_);
    scheduler_.apply(task::SetRoutable{0, i == 1}, now_);
  }
  cost_ = Nanos{0};  // not known: what its agent usually takes
  for (const auto* name : {"auction", "heft"}) {
    use(name);
    EXPECT_EQ(scheduler_.load(0).usual_time, task_s(1));
    EXPECT_EQ(next(), 0U) << name;
    EXPECT_EQ(next(), 0U) << name << ": its second is done before the other's first";
    for (const std::uint64_t id : {last_ - 1, last_}) {
      scheduler_.apply(task::GiveBack{id, scheduler_.view(id).fence}, now_);
      scheduler_.apply(task::Cancel{id}, now_);
    }
  }
}

TEST_F(Strategies, DeadlineAdmitsNothingThatCannotBeDoneInTime) {
  join(0);
  use("deadline");
  auto one = work(1);
  one.cost = task_s(5);
  one.deadline = now_ + task_s(4);
  EXPECT_EQ(scheduler_.apply(one, now_).refusal, Refusal::rejected_policy);
  EXPECT_EQ(scheduler_.view(1).state, TaskState::unknown);
  EXPECT_EQ(scheduler_.counters().late, 1U);
  one.deadline = now_ + task_s(5);
  EXPECT_EQ(scheduler_.apply(one, now_).state, TaskState::ready);
}

TEST_F(Strategies, AFunctionOfTheProgramsOwnChoosesAndMayThrow) {
  join(0);
  join(1);
  ASSERT_TRUE(scheduler_.register_strategy(
      "last", [](const TaskScheduler&, const TaskScheduler::Choice& choice) {
        if (choice.type == 1) throw std::runtime_error("mine");
        return choice.type == 2 ? 77U : choice.agents.back();
      }));
  const auto again = scheduler_.register_strategy(
      "last", [](const TaskScheduler&, const TaskScheduler::Choice&) { return 0U; });
  EXPECT_EQ(again.error().code, Errc::already_exists);
  EXPECT_EQ(scheduler_.register_strategy("p2c", nullptr).error().code, Errc::invalid_argument);
  use("last");
  EXPECT_EQ(next(), 1U);
  EXPECT_EQ(next(0, 1), kNoAgent) << "it threw";
  EXPECT_EQ(next(0, 2), kNoAgent) << "no candidate";
  EXPECT_EQ(scheduler_.counters().callbacks_failed, 2U);
  EXPECT_TRUE(scheduler_.verify());
}

TEST(TaskSchedulerStrategy, ManyCandidatesAreNotAllLookedAt) {
  auto config = small_scheduler(64);
  config.agents_max = 200;
  config.running_max = 64;
  TaskScheduler scheduler(config, 9);
  for (std::uint32_t i = 0; i < 200; ++i) scheduler.apply(agent(i), Nanos{0});
  std::set<std::uint32_t> chosen;
  for (std::uint64_t id = 1; id <= 20; ++id) {
    scheduler.apply(work(id), Nanos{0});
    chosen.insert(scheduler.apply(task::Assign{id}, Nanos{0}).agent);
  }
  EXPECT_GT(chosen.size(), 10U) << "two at random, and not the lowest number of the idle";
  EXPECT_GT(*chosen.rbegin(), 64U);
}

// pitfalls B2: retries that all come at once. The bounds are those of GoldenRetryBounds.
TEST(TaskSchedulerRetry, IsDrawnFromTheWholeOfItsBound) {
  double least = 1;
  double most = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const auto config = small_scheduler();
    TaskScheduler scheduler(config, mesh::testing::seed() + seed);
    scheduler.apply(agent(0), Nanos{0});
    scheduler.apply(work(1), Nanos{0});
    scheduler.apply(task::Assign{1}, Nanos{0});
    const std::uint64_t fence = scheduler.view(1).fence;
    scheduler.apply(task::Start{1, fence}, Nanos{0});
    const Nanos delay = scheduler.apply(task::Fail{1, fence, false}, Nanos{0}).retry_after;
    const double share = static_cast<double>(delay.count()) /
                         static_cast<double>(TaskScheduler::retry_bound(config, 0).count());
    least = std::min(least, share);
    most = std::max(most, share);
  }
  EXPECT_LT(least, 0.2);
  EXPECT_GT(most, 0.8);
  EXPECT_LE(most, 1);
}

// --- random histories ----------------------------------------------------------------------------

TEST(TaskSchedulerRules, StaysSoundWhateverItIsTold) {
  std::uint64_t completed = 0;
  std::uint64_t dead = 0;
  std::uint64_t moved = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto config = small_scheduler();
    TaskScheduler scheduler(config, 7);
    for (const auto& one : task_trace(config, 400, mesh::testing::seed() + seed)) {
      scheduler.apply(one.command, one.now);
      TaskSchedulerActions actions;
      scheduler.tick(one.now, actions);
      const auto sound = scheduler.verify();
      ASSERT_TRUE(sound) << sound.error().sentence << ", seed " << mesh::testing::seed() + seed;
    }
    completed += scheduler.counters().completed;
    dead += scheduler.counters().dead;
    moved += scheduler.counters().moved;
  }
  // How often is chance; that it happens is not.
  EXPECT_GT(completed, 0U);
  EXPECT_GT(dead, 0U);
  EXPECT_GT(moved, 0U);
}

TEST(TaskSchedulerRules, ReplaysToTheSameBytes) {
  const auto config = small_scheduler();
  expect_replays<TaskScheduler>(config, task_trace(config, 700, mesh::testing::seed()));
}

TEST(TaskSchedulerRules, FindsDamageInASnapshot) {
  auto config = small_scheduler(6);
  TaskScheduler scheduler(config, 7);
  for (const auto& one : task_trace(config, 30, 3)) scheduler.apply(one.command, one.now);
  expect_damage_found(scheduler, config);
}

TEST(TaskSchedulerRules, ADeathAtAnyStepLosesNothingThatWasAnswered) {
  const auto config = small_scheduler();
  CrashSweep<TaskScheduler> sweep(config, task_trace(config, 40, 11));
  EXPECT_GT(sweep.run(5), 300U);
}

TEST(TaskSchedulerRules, ADeathBetweenTickAndCommandLosesNothing) {
  const auto config = small_scheduler();
  CrashSweep<TaskScheduler> sweep(config, task_trace(config, 25, 12));
  sweep.with_ticks();
  EXPECT_GT(sweep.run(4), 300U);
}

// A whole plan of work: agents that die, hang, fail and give back, until all has ended.
class WholePlan : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kTasks = 100;

  void begin() {
    auto config = small_scheduler(128);
    config.retries_max = 50;
    scheduler_ = TaskScheduler(config, rng_.next());
    results_.clear();
    held_.clear();
    now_ = {};
    for (std::uint32_t i = 0; i < 4; ++i) scheduler_.apply(agent(i, 3), now_);
    for (std::uint64_t id = 1; id <= kTasks; ++id) {
      std::vector<std::uint64_t> on;
      for (std::uint64_t i = rng_.below(3); i != 0 && id > 1; --i) {
        on.push_back(1 + rng_.below(id - 1));
      }
      ASSERT_EQ(scheduler_.apply(work(id, on), now_).code, Errc::ok);
    }
  }
  void turn() {
    now_ += task_ms(static_cast<std::int64_t>(rng_.below(2'000)));
    TaskSchedulerActions actions;
    scheduler_.tick(now_, actions);
    held_.insert(held_.end(), actions.assigned.begin(), actions.assigned.end());
    if (rng_.below(40) == 0) {
      const auto dead = static_cast<std::uint32_t>(rng_.below(4));
      scheduler_.apply(task::RemoveAgent{dead}, now_);
      scheduler_.apply(agent(dead, 3), now_);
    }
    if (held_.empty()) return;
    const auto at = held_.begin() + static_cast<std::ptrdiff_t>(rng_.below(held_.size()));
    const TaskAssignment one = *at;
    held_.erase(at);
    if (rng_.below(8) != 0) run(one);  // else it hangs
  }
  void run(const TaskAssignment& one) {
    if (scheduler_.apply(task::Start{one.id, one.fence}, now_).code != Errc::ok) return;
    if (rng_.below(8) == 0) {
      scheduler_.apply(task::Fail{one.id, one.fence, false}, now_);
      return;
    }
    const auto done = scheduler_.apply(task::Complete{one.id, one.fence, one.fence}, now_);
    if (done.code != Errc::ok) return;
    ASSERT_TRUE(results_.emplace(one.id, one.fence).second) << one.id << " was committed twice";
  }

  Rng rng_{mesh::testing::seed()};
  TaskScheduler scheduler_{small_scheduler(), 1};
  std::map<std::uint64_t, std::uint64_t> results_;
  std::vector<TaskAssignment> held_;
  Nanos now_{0};
};

TEST_F(WholePlan, EndsEachTaskOnceAndCommitsEachResultOnce) {
  for (int round = 0; round < 20; ++round) {
    begin();
    for (int left = 20'000; scheduler_.open_count() != 0; --left) {
      ASSERT_GT(left, 0) << "it is never worked off";
      turn();
    }
    EXPECT_EQ(results_.size(), kTasks);
    for (const auto& [id, fence] : results_) {
      ASSERT_EQ(scheduler_.view(id).state, TaskState::completed);
      ASSERT_EQ(scheduler_.view(id).result, fence);
    }
    ASSERT_TRUE(scheduler_.verify());
  }
}

TEST(TaskSchedulerRules, NobodyWaitsLongerThanThreeLevelsOfAging) {
  auto config = small_scheduler(512);
  config.aging_ns = task_s(10);
  TaskScheduler scheduler(config, 1);
  scheduler.apply(agent(0, 1), Nanos{0});
  scheduler.apply(work(1), Nanos{0});  // the least urgent, and ever new ones of the most urgent
  std::uint64_t last = 1;
  Nanos now{0};
  std::uint64_t waited = 0;
  for (; scheduler.view(1).state == TaskState::ready; ++waited) {
    ASSERT_LT(waited, 60U);
    scheduler.apply(work(++last, {}, 3), now);
    const auto claimed = scheduler.apply(task::Claim{0, 1}, now);
    for (const auto& one : claimed.assigned) {
      scheduler.apply(task::Start{one.id, one.fence}, now);
      scheduler.apply(task::Complete{one.id, one.fence, 0}, now);
    }
    now += task_s(1);
  }
  EXPECT_GE(waited, 30U);
  EXPECT_LE(waited, 32U);
}

TEST(TaskSchedulerRules, AllocatesNothingButItsAnswers) {
  TaskScheduler scheduler(small_scheduler(256), 1);
  for (std::uint32_t i = 0; i < 4; ++i) scheduler.apply(agent(i, 3), Nanos{0});
  std::vector<TaskCommand> submits;
  for (std::uint64_t id = 1; id <= 200; ++id) {
    submits.emplace_back(id < 3 ? work(id) : work(id, {id - 1, id - 2}));
  }
  TaskSchedulerActions actions;
  actions.assigned.reserve(16);
  actions.news.reserve(16);
  const std::uint64_t before = mesh::testing::allocation_count();
  for (const auto& one : submits) scheduler.apply(one, Nanos{0});
  std::uint64_t done = 0;
  for (int turn = 0; turn < 300; ++turn) {
    scheduler.tick(Nanos{turn}, actions);
    for (const auto& one : actions.assigned) {
      scheduler.apply(task::Start{one.id, one.fence}, Nanos{turn});
      const auto reply = scheduler.apply(task::Complete{one.id, one.fence, 0}, Nanos{turn});
      done += reply.code == Errc::ok ? 1U : 0U;
    }
  }
  EXPECT_EQ(mesh::testing::allocation_count(), before);
  EXPECT_EQ(done, 200U);
}

}  // namespace of_task_rules_test
}  // namespace mesh::tasks
