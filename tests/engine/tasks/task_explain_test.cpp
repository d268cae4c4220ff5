// What the scheduler says of a task that nobody does, and what it and the router show beforehand.
#include <set>

#include "tests/engine/tasks/message_kit.hpp"
#include "tests/engine/tasks/scheduler_kit.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_task_explain_test {

using testing::agent;
using testing::letter;
using testing::resident;
using testing::small_router;
using testing::small_scheduler;
using testing::task_ms;
using testing::task_s;
using testing::task_trace;
using testing::TaskPlayer;
using testing::work;

task::Submit demanding(std::uint64_t id, std::uint64_t requirements) {
  auto one = work(id);
  one.requirements = requirements;
  return one;
}
TaskReason why(const TaskScheduler& scheduler, std::uint64_t id) {
  return scheduler.explain(id).reason;
}

// --- one reason after the other ----------------------------------------------------------------

TEST(TaskExplanation, NamesWhoIsMissingAndWhatTheyLack) {
  TaskScheduler scheduler(small_scheduler());
  EXPECT_EQ(scheduler.explain(1), TaskExplanation{}) << "there is none";
  scheduler.apply(demanding(1, 0b110), Nanos{0});
  EXPECT_EQ(why(scheduler, 1), TaskReason::nobody_can);
  EXPECT_EQ(scheduler.explain(1).lacking, 0b110U);
  scheduler.apply(agent(0, 1, 0b010), Nanos{0});
  EXPECT_EQ(scheduler.explain(1).lacking, 0b100U);
  scheduler.apply(agent(1, 1, 0b111), Nanos{0});
  EXPECT_EQ(why(scheduler, 1), TaskReason::its_turn);
  EXPECT_EQ(scheduler.explain(1).lacking, 0U);
  EXPECT_EQ(scheduler.explain(1).capable, 1U);
  scheduler.apply(task::SetRoutable{1, false}, Nanos{0});
  EXPECT_EQ(why(scheduler, 1), TaskReason::nobody_open);
  scheduler.apply(task::SetRoutable{1, true}, Nanos{0});
  scheduler.apply(task::HoldAgent{1, true}, Nanos{0});
  EXPECT_EQ(why(scheduler, 1), TaskReason::nobody_open);
  scheduler.apply(task::HoldAgent{1, false}, Nanos{0});
  scheduler.apply(demanding(2, 0b001), Nanos{0});
  scheduler.apply(task::Assign{2, 1}, Nanos{0});
  const TaskExplanation full = scheduler.explain(1);
  EXPECT_EQ(full.reason, TaskReason::all_full);
  EXPECT_EQ(full.open, 1U);
  EXPECT_EQ(full.free, 0U);
  EXPECT_EQ(why(scheduler, 2), TaskReason::held);
  EXPECT_EQ(scheduler.explain(2).agent, 1U);
}

TEST(TaskExplanation, NamesWhatItWaitsForAndUntilWhen) {
  TaskScheduler scheduler(small_scheduler());
  scheduler.apply(agent(0, 4), Nanos{0});
  scheduler.apply(work(7), Nanos{0});
  scheduler.apply(work(5), Nanos{0});
  scheduler.apply(work(9, {7, 5}), Nanos{0});
  TaskExplanation said = scheduler.explain(9);
  EXPECT_EQ(said.reason, TaskReason::dependencies);
  EXPECT_EQ(said.missing, 2U);
  EXPECT_EQ(said.waits_for, 5U);
  const auto given = scheduler.apply(task::Assign{5, 0}, Nanos{0});
  scheduler.apply(task::Start{5, given.fence}, Nanos{0});
  scheduler.apply(task::Complete{5, given.fence, 0}, Nanos{0});
  EXPECT_EQ(why(scheduler, 5), TaskReason::ended);
  said = scheduler.explain(9);
  EXPECT_EQ(said.missing, 1U);
  EXPECT_EQ(said.waits_for, 7U);
  auto later = work(11);
  later.arrival = task_s(10);
  later.cost = task_s(4);
  scheduler.apply(later, Nanos{0});
  EXPECT_EQ(why(scheduler, 11), TaskReason::window);
  EXPECT_EQ(scheduler.explain(11).until, task_s(6));
  const auto failing = scheduler.apply(task::Assign{7, 0}, Nanos{0});
  scheduler.apply(task::Start{7, failing.fence}, Nanos{0});
  const auto failed = scheduler.apply(task::Fail{7, failing.fence}, Nanos{0});
  EXPECT_EQ(why(scheduler, 7), TaskReason::back_off);
  EXPECT_EQ(scheduler.explain(7).until, failed.retry_after);
}

TEST(TaskExplanation, NamesWhatTheMeshKeepsAndWhoGoesFirst) {
  TaskScheduler scheduler(small_scheduler());
  scheduler.apply(agent(0, 4), Nanos{0});
  for (std::uint64_t id = 1; id <= 3; ++id)
    scheduler.apply(work(id, {}, id == 3 ? 2 : 0), task_ms(static_cast<std::int64_t>(id)));
  EXPECT_EQ(scheduler.explain(3).ahead, 0U) << "the most urgent";
  EXPECT_EQ(scheduler.explain(1).ahead, 1U);
  EXPECT_EQ(scheduler.explain(2).ahead, 2U);
  scheduler.apply(task::Restrain{0, false, true}, task_ms(4));
  EXPECT_EQ(why(scheduler, 1), TaskReason::stopped);
  scheduler.apply(task::Restrain{2}, task_ms(5));
  scheduler.apply(work(4), task_ms(5));
  EXPECT_EQ(why(scheduler, 4), TaskReason::restrained);
  EXPECT_EQ(scheduler.explain(4).ahead, 0U) << "it is in no queue";
  EXPECT_EQ(why(scheduler, 1), TaskReason::its_turn) << "what was ready before goes on";
}

TEST(TaskExplanation, NamesTheLimitOfWhatIsOut) {
  auto config = small_scheduler();
  config.running_max = 1;
  TaskScheduler scheduler(config);
  scheduler.apply(agent(0, 4), Nanos{0});
  scheduler.apply(work(1), Nanos{0});
  scheduler.apply(work(2), Nanos{0});
  scheduler.apply(task::Assign{1, 0}, Nanos{0});
  EXPECT_EQ(why(scheduler, 2), TaskReason::no_room);
  EXPECT_FALSE(scheduler.peek(0));
}

TEST(TaskExplanation, HasANameForEachReason) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(last_of(TaskReason{})); ++i)
    names.insert(to_string(static_cast<TaskReason>(i)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(last_of(TaskReason{})) + 1);
}

// --- and that it is so -------------------------------------------------------------------------

// A scheduler like that one, in which what is due has happened.
TaskScheduler twin_of(const TaskScheduler& scheduler, Nanos now) {
  auto twin = TaskScheduler::restore(scheduler.config(), scheduler.snapshot());
  EXPECT_TRUE(twin) << twin.error().sentence;
  twin->apply(task::Cancel{UINT64_MAX}, now);  // there is none
  return std::move(*twin);
}

// Its reason is what an Assign of it runs into.
void expect_true(const TaskScheduler& scheduler, std::uint64_t id, Nanos now) {
  TaskScheduler twin = twin_of(scheduler, now);
  const TaskExplanation said = twin.explain(id);
  const bool is_somebody = twin.would_choose(id) != kNoAgent;
  const auto reply = twin.apply(task::Assign{id}, now);
  switch (said.reason) {
    case TaskReason::its_turn:
      EXPECT_TRUE(is_somebody);
      EXPECT_EQ(reply.state, TaskState::assigned);
      break;
    case TaskReason::nobody_can:
    case TaskReason::nobody_open:
    case TaskReason::all_full:
      EXPECT_FALSE(is_somebody);
      EXPECT_EQ(name_of(reply.code), name_of(Errc::no_candidate));
      break;
    case TaskReason::restrained:
    case TaskReason::stopped:
      EXPECT_EQ(reply.refusal, Refusal::would_block);
      break;
    case TaskReason::no_room:
      EXPECT_EQ(name_of(reply.code), name_of(Errc::capacity));
      break;
    case TaskReason::unknown:
      EXPECT_EQ(name_of(reply.code), name_of(Errc::not_found));
      break;
    default:
      EXPECT_EQ(name_of(reply.code), name_of(Errc::wrong_state));
  }
}

TEST(TaskExplanation, IsWhatStandsInTheWayWhateverHappens) {
  std::set<TaskReason> seen;
  for (std::uint64_t i = 0; i < 6; ++i) {
    const std::uint64_t seed = mesh::testing::seed() + i;
    SCOPED_TRACE("seed " + std::to_string(seed));
    TaskScheduler scheduler(small_scheduler(), seed);
    TaskPlayer player(seed);
    Nanos now{0};
    for (int step = 0; step < 300; ++step) {
      now += task_ms(static_cast<std::int64_t>(player.rng().below(800)));
      const TaskCommand command = player.next(now);
      player.hear(command, scheduler.apply(command, now));
      const std::uint64_t id = 1 + player.rng().below(60);
      seen.insert(scheduler.explain(id).reason);
      expect_true(scheduler, id, now);
      const auto who = static_cast<std::uint32_t>(player.rng().below(5));
      TaskScheduler twin = twin_of(scheduler, now);
      const auto first = twin.peek(who);
      const auto claimed = twin.apply(task::Claim{who, 1}, now).assigned;
      ASSERT_EQ(first.has_value(), !claimed.empty());
      if (first) {
        ASSERT_EQ(*first, claimed.front().id);
      }
      ASSERT_FALSE(::testing::Test::HasFailure()) << "step " << step;
    }
  }
  EXPECT_GE(seen.size(), 7U) << "most of what there is happened";
}

// --- what a mailbox holds ----------------------------------------------------------------------

TEST(MessagePeek, ShowsWhatAPollWouldHandOverAndLeavesItThere) {
  for (std::uint64_t i = 0; i < 6; ++i) {
    const std::uint64_t seed = mesh::testing::seed() + i;
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    MessageRouter router(small_router(), seed);
    for (std::uint32_t agent = 0; agent < 4; ++agent) router.apply(resident(agent), Nanos{0});
    Nanos now{0};
    for (int step = 0; step < 200; ++step) {
      now += task_ms(static_cast<std::int64_t>(rng.below(400)));
      const auto number = [&](std::uint64_t n) { return static_cast<std::uint32_t>(rng.below(n)); };
      auto one = letter(number(4), number(4), rng.below(1'000), number(4));
      if (rng.below(4) == 0) one.ttl = task_ms(1 + number(2'000));
      router.apply(one, now);  // what is due has happened
      const std::uint32_t agent = number(4);
      const std::uint32_t count = 1 + number(5);
      const auto seen = router.peek(agent, count, now);
      ASSERT_EQ(router.peek(agent, count, now).size(), seen.size()) << "it stays";
      if (rng.below(3) != 0) continue;
      const auto polled = router.apply(message::Poll{agent, count}, now).deliveries;
      ASSERT_EQ(polled.size(), seen.size());
      for (std::size_t k = 0; k < seen.size(); ++k) {
        EXPECT_EQ(polled[k].id.number, seen[k].id.number);
        EXPECT_EQ(polled[k].payload, seen[k].payload);
        EXPECT_EQ(polled[k].attempt, seen[k].attempt);
        EXPECT_EQ(polled[k].remaining, seen[k].remaining);
        if (rng.below(4) != 0) router.apply(message::Ack{agent, polled[k].id.number}, now);
      }
    }
    EXPECT_TRUE(router.peek(4, 1, now).empty()) << "nobody";
  }
}

}  // namespace of_task_explain_test
}  // namespace mesh::tasks
