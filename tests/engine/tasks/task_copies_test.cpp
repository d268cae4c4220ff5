// TaskScheduler: what runs much longer than its like is given to another agent too.
#include "tests/engine/coordination/service_kit.hpp"
#include "tests/engine/tasks/scheduler_kit.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_task_copies_test {

using testing::agent;
using testing::task_ms;
using testing::work;

TaskSchedulerConfig config_of() {
  auto config = testing::small_scheduler();
  config.tasks_max = 64;
  config.straggler_samples = 16;
  config.straggler_ppm = 1'500'000;
  config.copies_max = 4;
  config.copies_ppm = 1'000'000;
  return config;
}

// Agents of one task each, and a type whose tasks took 10 ms, sixteen times.
struct Crew {
  explicit Crew(TaskSchedulerConfig config = config_of(), std::uint32_t agents = 3)
      : scheduler(config, 1) {
    for (std::uint32_t i = 0; i < agents; ++i) scheduler.apply(agent(i, 1), now);
    for (std::uint64_t id = 1; id <= 16; ++id) {
      submit(id);
      const auto one = ticked().at(0);
      EXPECT_EQ(scheduler.apply(task::Start{one.id, one.fence}, now).code, Errc::ok);
      now += task_ms(10);
      EXPECT_EQ(scheduler.apply(task::Complete{one.id, one.fence, 0}, now).code, Errc::ok);
    }
  }
  void submit(std::uint64_t id, bool may_run_twice = true, std::uint32_t retries = 1) {
    auto one = work(id);
    one.may_run_twice = may_run_twice;
    one.retries = retries;
    EXPECT_EQ(scheduler.apply(one, now).code, Errc::ok);
  }
  std::vector<TaskAssignment> ticked() {
    scheduler.tick(now, actions);
    EXPECT_TRUE(scheduler.verify());
    return actions.assigned;
  }
  // A task that began, and its copy, made when it had run for 15 ms.
  struct Two {
    TaskAssignment first;
    TaskAssignment second;
  };
  Two late(std::uint64_t id, std::uint32_t retries = 1) {
    submit(id, true, retries);
    Two two;
    two.first = ticked().at(0);
    scheduler.apply(task::Start{id, two.first.fence}, now);
    now += task_ms(15);
    const auto more = ticked();
    EXPECT_EQ(more.size(), 1U);
    if (!more.empty()) two.second = more[0];
    return two;
  }
  TaskReply start(const TaskAssignment& one) {
    return scheduler.apply(task::Start{one.id, one.fence}, now);
  }
  TaskReply complete(const TaskAssignment& one, std::uint64_t result) {
    return scheduler.apply(task::Complete{one.id, one.fence, result}, now);
  }

  TaskScheduler scheduler;
  TaskSchedulerActions actions;
  Nanos now{0};
};

TEST(TaskCopies, AreMadeAtOneAndAHalfTimesTheP95OfTheTypeAndNotBefore) {
  Crew crew;
  crew.submit(20);
  const auto first = crew.ticked().at(0);
  crew.start(first);
  EXPECT_EQ((crew.ticked(), crew.actions.next_tick), crew.now + task_ms(15));
  crew.now += task_ms(15) - Nanos{1};
  EXPECT_TRUE(crew.ticked().empty());
  crew.now += Nanos{1};
  const auto copies = crew.ticked();
  ASSERT_EQ(copies.size(), 1U);
  EXPECT_EQ(copies[0].id, 20U);
  EXPECT_EQ(copies[0].payload, 1'020U);
  EXPECT_NE(copies[0].agent, first.agent);
  EXPECT_GT(copies[0].fence, first.fence);
  EXPECT_EQ(crew.scheduler.counters().copies, 1U);
  crew.now += task_ms(100);
  EXPECT_TRUE(crew.ticked().empty()) << "one copy, not two";
}

TEST(TaskCopies, AreMadeOnlyOfWhatMayRunTwiceAndOfATypeThatIsKnown) {
  Crew crew;
  crew.submit(20, false);
  auto of_another_type = work(21);
  of_another_type.may_run_twice = true;
  of_another_type.type = 1;
  crew.scheduler.apply(of_another_type, crew.now);
  for (const auto& one : crew.ticked()) crew.start(one);
  crew.now += task_ms(1'000);
  EXPECT_TRUE(crew.ticked().empty());
  EXPECT_EQ(crew.scheduler.counters().copies, 0U);
}

TEST(TaskCopies, TheFirstResultCountsWhoeverHasIt) {
  for (const bool second_wins : {false, true}) {
    Crew crew;
    const auto [first, second] = crew.late(20);
    EXPECT_EQ(crew.complete(second, 2).code, Errc::wrong_state) << "it has not begun";
    EXPECT_EQ(crew.start(second).fence, second.fence);
    const auto& winner = second_wins ? second : first;
    const auto& loser = second_wins ? first : second;
    const auto reply = crew.complete(winner, 7);
    EXPECT_EQ(reply.code, Errc::ok);
    EXPECT_EQ(reply.state, TaskState::completed);
    EXPECT_EQ(reply.agent, winner.agent);
    ASSERT_EQ(reply.news.size(), 1U);
    EXPECT_EQ(reply.news[0].kind, TaskNotice::revoked);
    EXPECT_EQ(reply.news[0].agent, loser.agent);
    EXPECT_EQ(crew.complete(loser, 8).code, Errc::wrong_state);
    EXPECT_EQ(crew.scheduler.view(20).result, 7U);
    EXPECT_EQ(crew.scheduler.counters().completed, 17U);
    EXPECT_EQ(crew.scheduler.counters().copies_won, second_wins ? 1U : 0U);
    for (std::uint32_t at = 0; at < 3; ++at) EXPECT_EQ(crew.scheduler.load(at).running, 0U);
    EXPECT_TRUE(crew.scheduler.verify());
  }
}

// The copy's duration is that of the copy: it does not teach that the type takes long.
TEST(TaskCopies, WhatATypeTakesIsLearnedFromWhoDidIt) {
  Crew crew;
  const auto [first, second] = crew.late(20);
  crew.start(second);
  crew.now += task_ms(10);
  crew.complete(second, 1);
  EXPECT_EQ(crew.scheduler.load(second.agent).usual_time, task_ms(10));
  crew.submit(21);
  crew.start(crew.ticked().at(0));
  EXPECT_EQ((crew.ticked(), crew.actions.next_tick), crew.now + task_ms(15));
}

TEST(TaskCopies, AFirstThatFailsOrIsLostOrIsLateIsNotMissed) {
  enum class Way { fails, dies, times_out };
  for (const Way way : {Way::fails, Way::dies, Way::times_out}) {
    Crew crew;
    const auto [first, second] = crew.late(20, 0);
    crew.start(second);
    if (way == Way::fails) crew.scheduler.apply(task::Fail{20, first.fence}, crew.now);
    if (way == Way::dies) crew.scheduler.apply(task::RemoveAgent{first.agent}, crew.now);
    if (way == Way::times_out) {
      crew.now += crew.scheduler.config().timeout_ns - task_ms(15);
      crew.scheduler.apply(task::Progress{20, second.fence}, crew.now);
    }
    crew.ticked();
    const auto view = crew.scheduler.view(20);
    EXPECT_EQ(view.state, TaskState::running) << "though no retry is left";
    EXPECT_EQ(view.agent, second.agent);
    EXPECT_EQ(view.fence, second.fence);
    EXPECT_EQ(crew.complete(first, 1).code, Errc::stale_token);
    EXPECT_EQ(crew.complete(second, 2).code, Errc::ok);
    EXPECT_EQ(crew.scheduler.view(20).result, 2U);
    EXPECT_EQ(crew.scheduler.counters().dead, 0U);
  }
}

TEST(TaskCopies, AFirstThatFailsForGoodTakesItsCopyAlong) {
  Crew crew;
  const auto [first, second] = crew.late(20);
  const auto reply = crew.scheduler.apply(task::Fail{20, first.fence, true}, crew.now);
  EXPECT_EQ(crew.scheduler.view(20).state, TaskState::dead);
  ASSERT_EQ(reply.news.size(), 2U);
  EXPECT_EQ(reply.news[1].kind, TaskNotice::revoked);
  EXPECT_EQ(reply.news[1].agent, second.agent);
  EXPECT_TRUE(crew.scheduler.verify());
}

TEST(TaskCopies, ACopyThatFailsOrIsLostOrIsLateOrIsGivenBackChangesNothing) {
  enum class Way { fails, dies, times_out, gives_back };
  for (const Way way : {Way::fails, Way::dies, Way::times_out, Way::gives_back}) {
    Crew crew;
    const auto [first, second] = crew.late(20);
    if (way != Way::gives_back) crew.start(second);
    TaskReply reply;
    if (way == Way::fails) reply = crew.scheduler.apply(task::Fail{20, second.fence}, crew.now);
    if (way == Way::gives_back) {
      reply = crew.scheduler.apply(task::GiveBack{20, second.fence}, crew.now);
    }
    EXPECT_EQ(reply.fence, 0U) << "not the first one's";
    if (way == Way::dies) crew.scheduler.apply(task::RemoveAgent{second.agent}, crew.now);
    if (way == Way::times_out) {
      crew.now += crew.scheduler.config().timeout_ns - task_ms(20);
      crew.scheduler.apply(task::Progress{20, first.fence}, crew.now);
      crew.now += task_ms(20);
      crew.ticked();
      ASSERT_EQ(crew.actions.news.size(), 1U);
      EXPECT_EQ(crew.actions.news[0].kind, TaskNotice::revoked);
      EXPECT_EQ(crew.actions.news[0].agent, second.agent);
    }
    EXPECT_EQ(crew.complete(second, 9).code, Errc::stale_token);
    EXPECT_EQ(crew.scheduler.view(20).fence, first.fence);
    EXPECT_EQ(crew.complete(first, 1).code, Errc::ok);
    EXPECT_EQ(crew.scheduler.counters().retried, 0U);
    EXPECT_TRUE(crew.scheduler.verify());
  }
}

TEST(TaskCopies, CancellingOrReassigningTellsBoth) {
  Crew crew;
  const auto [first, second] = crew.late(20);
  auto reply = crew.scheduler.apply(task::Reassign{20, 2}, crew.now);
  EXPECT_EQ(reply.code, Errc::ok);
  EXPECT_EQ(reply.news.size(), 2U);
  EXPECT_EQ(crew.start(second).code, Errc::stale_token);
  Crew other;
  other.late(20);
  reply = other.scheduler.apply(task::Cancel{20}, other.now);
  EXPECT_EQ(reply.news.size(), 2U);
  EXPECT_EQ(other.scheduler.view(20).state, TaskState::cancelled);
  EXPECT_TRUE(other.scheduler.verify());
}

TEST(TaskCopies, TakeNoRoomFromWhatIsReadyAndNoneThatAnAgentHasNot) {
  Crew crew(config_of(), 2);
  crew.submit(20);
  crew.start(crew.ticked().at(0));
  crew.now += task_ms(15);
  crew.submit(21);
  const auto given = crew.ticked();
  ASSERT_EQ(given.size(), 1U);
  EXPECT_EQ(given[0].id, 21U) << "the other agent is full now";
  crew.start(given[0]);
  crew.complete(given[0], 1);
  crew.now += task_ms(15);
  EXPECT_EQ(crew.ticked().at(0).id, 20U) << "looked at again";
  crew.submit(22);
  EXPECT_TRUE(crew.ticked().empty()) << "the copy counts as load";
}

TEST(TaskCopies, StayWithinTheirShareOfWhatWasStarted) {
  auto config = config_of();
  config.copies_ppm = 100'000;  // of the 18 that began one, and the one that is always allowed
  Crew crew(config, 6);
  crew.late(20);
  crew.submit(21);
  crew.start(crew.ticked().at(0));
  crew.now += task_ms(15);
  EXPECT_EQ(crew.ticked().size(), 1U);
  crew.submit(22);
  crew.start(crew.ticked().at(0));
  crew.now += task_ms(15);
  EXPECT_TRUE(crew.ticked().empty());
  EXPECT_EQ(crew.scheduler.counters().copies, 2U);
  auto none = config_of();
  none.copies_max = 0;
  Crew without(none);
  without.submit(20);
  without.start(without.ticked().at(0));
  without.now += task_ms(1'000);
  EXPECT_TRUE(without.ticked().empty());
}

TEST(TaskCopies, StandAfterARestart) {
  Crew crew;
  const auto [first, second] = crew.late(20);
  auto restored = TaskScheduler::restore(config_of(), crew.scheduler.snapshot());
  ASSERT_TRUE(restored) << restored.error().sentence;
  EXPECT_EQ(restored->state_hash(), crew.scheduler.state_hash());
  EXPECT_EQ(restored->apply(task::Start{20, second.fence}, crew.now).code, Errc::ok);
  EXPECT_EQ(restored->apply(task::Fail{20, first.fence}, crew.now).code, Errc::ok);
  EXPECT_EQ(restored->apply(task::Complete{20, second.fence, 3}, crew.now).code, Errc::ok);
  EXPECT_TRUE(restored->verify());
  EXPECT_EQ(restored->counters().copies_won, 1U);
}

// The trace in which everything happens has them, too: whatever holds of it holds of them.
TEST(TaskCopies, AreInTheTraceThatAllPropertiesPlay) {
  std::uint64_t made = 0;
  std::uint64_t won = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    TaskScheduler scheduler(testing::small_scheduler(), 7);
    TaskSchedulerActions actions;
    for (const auto& one : testing::task_trace(testing::small_scheduler(), 1'000, seed)) {
      scheduler.apply(one.command, one.now);
      scheduler.tick(one.now, actions);
    }
    EXPECT_TRUE(scheduler.verify());
    made += scheduler.counters().copies;
    won += scheduler.counters().copies_won;
  }
  EXPECT_GT(made, 20U);
  EXPECT_GT(won, 5U);
  EXPECT_GT(made, won);
}

}  // namespace of_task_copies_test
}  // namespace mesh::tasks
