// Tasks and a register under faults: what their guards are worth, one at a time.
#include "engine/simulation/chaos_tasks.hpp"

#include <set>

#include <gtest/gtest.h>

#include "engine/simulation/chaos_mesh.hpp"
#include "engine/simulation/weight_lock.hpp"
#include "tests/seed.hpp"

namespace mesh::engine::simulation {
namespace of_chaos_tasks_test {

constexpr std::int64_t kSecond = kNsPerSecond;
using Reach = ChaosTasks::Reach;

class Tasks {
 public:
  explicit Tasks(const ChaosTaskGuards& guards = {}, std::uint64_t seed = 1)
      : tasks_(ChaosTasks::create(seed, guards).value()) {}
  void pass(std::int64_t ns) {
    for (const std::int64_t until = now_ + ns; now_ < until;) {
      now_ += ChaosTasks::kStepNs;
      const auto done = tasks_->step(
          now_, [&](std::uint32_t agent) { return reach[agent]; },
          [&](std::uint32_t agent) {
            reach[agent] = Reach::gone;
            died.insert(agent);
          });
      ASSERT_TRUE(done) << done.error().sentence;
      const auto sound = tasks_->verify();
      ASSERT_TRUE(sound) << sound.error().sentence;
    }
    const ChaosTaskPeriod period = tasks_->take_period();
    totals.tasks_done += period.tasks_done;
    totals.double_effects += period.double_effects;
    totals.lost_tasks += period.lost_tasks;
    totals.writes += period.writes;
    totals.stale_writes += period.stale_writes;
  }
  ChaosTasks* operator->() { return tasks_.get(); }
  // Who thinks so; besides `other`, if that is given.
  std::uint32_t holder(std::uint32_t other = ChaosTasks::kWorkers) {
    for (std::uint32_t agent = 0; agent < ChaosTasks::kWorkers; ++agent) {
      if (agent != other && tasks_->holds_lock(agent)) return agent;
    }
    return ChaosTasks::kWorkers;
  }

  std::array<Reach, ChaosTasks::kWorkers> reach{};
  std::set<std::uint32_t> died;
  ChaosTaskPeriod totals;

 private:
  std::unique_ptr<ChaosTasks> tasks_;
  std::int64_t now_ = 0;
};

TEST(ChaosTasks, WithoutFaultsEachTaskIsDoneOnceAndOneWrites) {
  Tasks tasks;
  tasks.pass(10 * kSecond);
  EXPECT_NEAR(static_cast<double>(tasks.totals.tasks_done), 10'000.0 / 120, 4);
  EXPECT_EQ(tasks.totals.double_effects + tasks.totals.lost_tasks + tasks.totals.stale_writes, 0U);
  EXPECT_GT(tasks.totals.writes, 400U);
}

class HostDeath : public ::testing::TestWithParam<std::uint32_t> {};
TEST_P(HostDeath, LosesNothingThatWasAcceptedAndDoesNothingTwice) {
  Tasks tasks({}, mesh::testing::seed());
  tasks.pass(2 * kSecond);
  for (int death = 0; death < 5; ++death) {
    tasks->kill_host(static_cast<HostStep>(GetParam()));
    tasks.pass(kSecond);
    EXPECT_FALSE(tasks->is_host_up());
    ASSERT_TRUE(tasks->open_host());
    ASSERT_TRUE(tasks->open_host()) << "once more";
    tasks.pass(3 * kSecond);
  }
  EXPECT_EQ(tasks.totals.lost_tasks, 0U);
  EXPECT_EQ(tasks.totals.double_effects, 0U);
  EXPECT_GT(tasks.totals.tasks_done, 50U);
}
INSTANTIATE_TEST_SUITE_P(EachStep, HostDeath, ::testing::Range(1U, kHostSteps + 1));

TEST(ChaosTasks, AHostThatAnswersBeforeItSyncsLosesWhatItAccepted) {
  Tasks tasks({.journal = false});
  tasks.pass(2 * kSecond);
  for (std::uint32_t agent = 0; agent < ChaosTasks::kWorkers; ++agent)
    tasks.reach[agent] = Reach::stands;  // so that tasks wait
  tasks.pass(kSecond);
  tasks->kill_host(HostStep::applied);
  tasks.pass(kSecond);
  ASSERT_TRUE(tasks->open_host());
  tasks.pass(kSecond);
  EXPECT_GT(tasks.totals.lost_tasks, 3U);
}

class WorkerDeath : public ::testing::TestWithParam<std::uint32_t> {};
TEST_P(WorkerDeath, ItsTaskIsDoneByAnotherAndOnce) {
  Tasks tasks({}, mesh::testing::seed());
  tasks.pass(kSecond);
  tasks->kill_worker(2, static_cast<WorkerHook>(GetParam()));
  tasks.pass(3 * kSecond);
  EXPECT_EQ(tasks.died, std::set<std::uint32_t>{2});
  tasks.reach[2] = Reach::up;
  tasks.pass(3 * kSecond);
  EXPECT_EQ(tasks.totals.double_effects, 0U);
  EXPECT_EQ(tasks.totals.lost_tasks, 0U);
}
INSTANTIATE_TEST_SUITE_P(EachHook, WorkerDeath, ::testing::Range(1U, kWorkerHooks + 1));

TEST(ChaosTasks, WithoutKeysATaskOfAWorkerThatDiedBeforeItSaidSoIsDoneAgain) {
  for (std::uint32_t hook = 1; hook <= kWorkerHooks; ++hook) {
    Tasks tasks({.effect_keys = false});
    tasks.pass(kSecond);
    tasks->kill_worker(2, static_cast<WorkerHook>(hook));
    tasks.pass(5 * kSecond);
    const bool is_between = static_cast<WorkerHook>(hook) == WorkerHook::done;
    EXPECT_EQ(tasks.totals.double_effects, is_between ? 1U : 0U) << hook;
  }
}

TEST(ChaosTasks, AWriteOfAFormerHolderIsTakenOnlyWithoutFences) {
  for (const Reach how : {Reach::cut, Reach::stands}) {
    for (const bool fences : {true, false}) {
      Tasks tasks({.fences = fences});
      tasks.pass(kSecond);
      const std::uint32_t holder = tasks.holder();
      ASSERT_LT(holder, ChaosTasks::kWorkers);
      tasks.reach[holder] = how;
      tasks.pass(3 * kSecond);
      EXPECT_LT(tasks.holder(holder), ChaosTasks::kWorkers) << "its lease is over";
      tasks.reach[holder] = Reach::up;
      tasks.pass(kSecond);
      EXPECT_EQ(tasks.totals.stale_writes != 0, !fences);
      const auto& writes = tasks->writes();
      const bool are_in_order = std::is_sorted(
          writes.begin(), writes.end(),
          [](const RegisterWrite& x, const RegisterWrite& y) { return x.fence < y.fence; });
      EXPECT_EQ(are_in_order, fences);
    }
  }
}

// --- costs that change together ----------------------------------------------------------------

TEST(WeightLock, BelievesOneAgentThatBecomesCheaperAndNotManyAtOnce) {
  for (const std::uint32_t liars : {1U, 6U}) {
    WeightLock weights(30, {});
    std::int64_t now = 0;
    const auto period = [&](bool they_lie) {
      for (std::uint32_t agent = 0; agent < 30; ++agent)
        weights.say(agent, they_lie && agent < liars ? 0 : 20);
      weights.close_period(now += kSecond / 2);
    };
    for (std::uint32_t i = 0; i < 3 * WeightLock::kPeriodsKept; ++i) period(false);
    ASSERT_EQ(weights.locks(), 0U);
    for (int i = 0; i < 10; ++i) period(true);
    EXPECT_EQ(weights.locks(), liars == 1 ? 0U : 1U);
    if (liars == 1) {
      EXPECT_LT(weights.weight(0, now), 10);
    } else {
      EXPECT_EQ(weights.weight(0, now), 20) << "what it said before";
    }
    now += 61 * kSecond;
    EXPECT_LT(weights.weight(0, now), 10) << "the lock is over";
  }
}

TEST(WeightLock, ThatIsOffBelievesAll) {
  WeightLock weights(10, {.is_on = false});
  std::int64_t now = 0;
  for (const double cost : {20.0, 1'000.0}) {
    for (std::uint32_t i = 0; i < 3 * WeightLock::kPeriodsKept; ++i) {
      for (std::uint32_t agent = 0; agent < 10; ++agent) weights.say(agent, cost);
      weights.close_period(now += kSecond);
    }
  }
  EXPECT_FALSE(weights.is_locked(now));
  EXPECT_NEAR(weights.weight(3, now), 1'000, 1);
}

}  // namespace of_chaos_tasks_test
}  // namespace mesh::engine::simulation
