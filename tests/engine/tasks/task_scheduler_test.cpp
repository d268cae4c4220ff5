#include "engine/tasks/task_scheduler.hpp"

#include <stdexcept>

#include "engine/tasks/heft.hpp"
#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/tasks/scheduler_kit.hpp"

namespace mesh::tasks {
namespace of_task_scheduler_test {

using coordination::testing::BadInput;
using coordination::testing::expect_all_refused;
using coordination::testing::golden;
using coordination::testing::Json;
using coordination::testing::matches;
using testing::agent;
using testing::small_scheduler;
using testing::task_ms;
using testing::task_s;
using testing::work;

TaskScheduler with_agents(const std::vector<task::RegisterAgent>& agents,
                          const TaskSchedulerConfig& config = small_scheduler()) {
  TaskScheduler scheduler(config, 1);
  for (const auto& one : agents) EXPECT_EQ(scheduler.apply(one, Nanos{0}).code, Errc::ok);
  return scheduler;
}
std::vector<TaskAssignment> dispatched(TaskScheduler& scheduler, Nanos now) {
  TaskSchedulerActions actions;
  scheduler.tick(now, actions);
  return actions.assigned;
}
// Assigned, begun, done.
TaskReply do_it(TaskScheduler& scheduler, std::uint64_t id, Nanos now) {
  if (scheduler.view(id).state == TaskState::ready) scheduler.apply(task::Assign{id}, now);
  const std::uint64_t fence = scheduler.view(id).fence;
  scheduler.apply(task::Start{id, fence}, now);
  return scheduler.apply(task::Complete{id, fence, 7}, now);
}

// --- goldens -------------------------------------------------------------------------------------

TEST(TaskScheduler, GoldenAging) {
  const auto [inputs, expected] = golden("task_scheduler", "aging");
  auto config = small_scheduler();
  config.aging_ns = task_s(inputs.at("aging_interval_s").get<std::int64_t>());
  Json actual = Json::array();
  for (const auto& row : inputs.at("priority_waited_s")) {
    TaskScheduler scheduler(config);
    scheduler.apply(work(1, {}, row.at(0).get<std::int32_t>()), Nanos{0});
    dispatched(scheduler, task_s(row.at(1).get<std::int64_t>()));
    actual.push_back(scheduler.view(1).priority);
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(TaskScheduler, GoldenRetryBounds) {
  const auto [inputs, expected] = golden("task_scheduler", "retry_bounds");
  auto config = small_scheduler();
  config.retry_ns = task_ms(inputs.at("base_ms").get<std::int64_t>());
  config.retry_ns_max = task_ms(inputs.at("cap_ms").get<std::int64_t>());
  config.retries_max = inputs.at("retries_max");
  Json bounds = Json::array();
  for (std::uint32_t k = 0; k < 6; ++k) {
    bounds.push_back(TaskScheduler::retry_bound(config, k).count() / kNsPerMs);
  }
  auto scheduler = with_agents({agent(0)}, config);
  scheduler.apply(work(1), Nanos{0});
  Nanos now{0};
  std::uint32_t executions = 0;
  while (scheduler.view(1).state == TaskState::ready) {
    scheduler.apply(task::Assign{1}, now);
    const std::uint64_t fence = scheduler.view(1).fence;
    scheduler.apply(task::Start{1, fence}, now);
    ++executions;
    const auto failed = scheduler.apply(task::Fail{1, fence, false}, now);
    EXPECT_LE(failed.retry_after, TaskScheduler::retry_bound(config, executions - 1));
    now += failed.retry_after;
    TaskSchedulerActions actions;
    scheduler.apply(task::SetRoutable{0, true}, now);  // time passes
  }
  EXPECT_EQ(scheduler.view(1).state, TaskState::dead);
  EXPECT_TRUE(matches(expected, {{"bounds_ms", bounds}, {"executions_max", executions}}));
}

TEST(TaskScheduler, GoldenCapabilityOrder) {
  const auto [inputs, expected] = golden("task_scheduler", "capability_order");
  const auto concurrent = inputs.at("concurrent_max").get<std::uint32_t>();
  auto config = small_scheduler(64);
  config.running_max = 64;
  TaskScheduler scheduler(config);
  std::uint64_t id = 0;
  for (const auto& row : inputs.at("agents_id_load_priority_capable")) {
    auto one = agent(row.at(0).get<std::uint32_t>(), concurrent, row.at(3).get<bool>() ? 3 : 1);
    one.priority = row.at(2);
    scheduler.apply(one, Nanos{0});
    for (auto load = row.at(1).get<std::uint32_t>(); load != 0; --load) {
      auto filler = work(++id);
      filler.requirements = 1;
      scheduler.apply(filler, Nanos{0});
      ASSERT_EQ(scheduler.apply(task::Assign{id, one.agent}, Nanos{0}).refusal, Refusal::none);
    }
  }
  // Each that is chosen is taken away: what is left is the order.
  auto wanted = work(++id);
  wanted.requirements = 2;
  scheduler.apply(wanted, Nanos{0});
  Json order = Json::array();
  for (std::uint32_t next; (next = scheduler.would_choose(id)) != kNoAgent;) {
    order.push_back(next);
    scheduler.apply(task::SetRoutable{next, false}, Nanos{0});
  }
  EXPECT_TRUE(matches(expected, order));
}

TEST(TaskScheduler, GoldenHeft) {
  const auto [inputs, expected] = golden("task_scheduler", "heft");
  const auto costs = inputs.at("cost").get<std::vector<std::vector<std::uint64_t>>>();
  std::vector<HeftEdge> edges;
  for (const auto& row : inputs.at("edges")) {
    edges.push_back(
        {row.at(0).get<std::uint32_t>() - 1, row.at(1).get<std::uint32_t>() - 1, row.at(2)});
  }
  const auto plan = plan_heft(costs, edges).value();
  Json actual;
  actual["makespan"] = plan.makespan;
  for (std::uint32_t task = 0; task < costs.size(); ++task) {
    actual["rank_times_p"][std::to_string(task + 1)] = plan.ranks[task];
    actual["processor"][std::to_string(task + 1)] = plan.processors[task] + 1;
  }
  for (const auto task : plan.order) actual["order"].push_back(task + 1);
  EXPECT_TRUE(matches(expected, actual));
}

// --- refusals ------------------------------------------------------------------------------------

TEST(TaskScheduler, RefusesWhatCannotBeAndStaysAsItWas) {
  auto scheduler = with_agents({agent(0, 2, 1), agent(1, 1, 2)});
  scheduler.apply(work(1), Nanos{0});
  scheduler.apply(work(2, {1}), Nanos{0});
  scheduler.apply(work(3), Nanos{0});
  do_it(scheduler, 3, Nanos{1});
  scheduler.apply(work(4), Nanos{1});
  scheduler.apply(task::Assign{4, 0}, Nanos{1});
  const std::uint64_t fence = scheduler.view(4).fence;
  auto type = work(9);
  type.type = 65'536;
  auto deadline = work(9);
  deadline.deadline = Nanos{-1};
  auto retries = work(9);
  retries.retries = 101;
  auto impossible = work(9);
  impossible.requirements = 1U << 7;
  scheduler.apply(task::Cancel{9}, Nanos{1});
  auto nobody = work(5);
  nobody.requirements = 1U << 7;
  scheduler.apply(nobody, Nanos{1});
  const std::vector<BadInput<TaskScheduler>> bad{
      {"twice", work(1), Errc::already_exists, Nanos{2}},
      {"waits for itself", work(9, {9}), Errc::cycle, Nanos{2}},
      {"waits for nobody", work(9, {77}), Errc::not_found, Nanos{2}},
      {"five dependencies", work(9, {1, 2, 3, 4, 1}), Errc::invalid_argument, Nanos{2}},
      {"a type too large", type, Errc::invalid_argument, Nanos{2}},
      {"a deadline before time", deadline, Errc::invalid_argument, Nanos{2}},
      {"too many retries", retries, Errc::invalid_argument, Nanos{2}},
      {"assigned before its time", task::Assign{2}, Errc::wrong_state, Nanos{2}},
      {"an unknown one assigned", task::Assign{77}, Errc::not_found, Nanos{2}},
      {"to an unknown agent", task::Assign{1, 5}, Errc::no_such_agent, Nanos{2}},
      {"nobody can", task::Assign{5}, Errc::no_candidate, Nanos{2}},
      {"completed before it began", task::Complete{4, fence, 0}, Errc::wrong_state, Nanos{2}},
      {"begun under an old fence", task::Start{4, fence - 1}, Errc::stale_token, Nanos{2}},
      {"begun with nobody", task::Start{1, 0}, Errc::wrong_state, Nanos{2}},
      {"completed twice", task::Complete{3, 1, 0}, Errc::wrong_state, Nanos{2}},
      {"failed before it began", task::Fail{4, fence}, Errc::wrong_state, Nanos{2}},
      {"progress of an unknown one", task::Progress{77, 1}, Errc::not_found, Nanos{2}},
      {"given back by nobody", task::GiveBack{1, 0}, Errc::wrong_state, Nanos{2}},
      {"a finished one cancelled", task::Cancel{3}, Errc::wrong_state, Nanos{2}},
      {"an unknown one cancelled", task::Cancel{77}, Errc::not_found, Nanos{2}},
      {"one that nobody has reassigned", task::Reassign{1}, Errc::wrong_state, Nanos{2}},
      {"to itself", task::Reassign{4, 0}, Errc::invalid_argument, Nanos{2}},
      {"stolen from itself", task::Steal{0, 0, 1}, Errc::invalid_argument, Nanos{2}},
      {"nothing to steal", task::Steal{1, 0, 1}, Errc::no_candidate, Nanos{2}},
      {"stolen by nobody", task::Steal{0, 5, 1}, Errc::no_such_agent, Nanos{2}},
      {"an unknown strategy", task::SetStrategy{"fastest"}, Errc::not_found, Nanos{2}},
      {"an agent beyond the table", agent(6), Errc::no_such_agent, Nanos{2}},
      {"nothing at once", agent(0, 0), Errc::invalid_argument, Nanos{2}},
      {"too much at once", agent(0, 1'025), Errc::invalid_argument, Nanos{2}},
      {"an unknown agent removed", task::RemoveAgent{5}, Errc::no_such_agent, Nanos{2}},
      {"an unknown agent reports", task::ReportAgent{5}, Errc::no_such_agent, Nanos{2}},
      {"more than a whole cpu", task::ReportAgent{0, 1'001}, Errc::invalid_argument, Nanos{2}},
      {"claims nothing", task::Claim{0, 0}, Errc::invalid_argument, Nanos{2}},
      {"claimed by nobody", task::Claim{5, 1}, Errc::no_such_agent, Nanos{2}},
      {"before time began", work(9), Errc::invalid_argument, Nanos{-1}},
  };
  expect_all_refused(scheduler, bad);
}

TEST(TaskScheduler, RefusesAConfigByTheNameOfItsField) {
  const auto refused = [](auto change, std::string_view field) {
    TaskSchedulerConfig config;
    change(config);
    const auto judged = TaskScheduler::validate(config);
    ASSERT_FALSE(judged) << field;
    EXPECT_EQ(judged.error().code, Errc::invalid_config);
    EXPECT_NE(judged.error().sentence.find(field), std::string::npos) << judged.error().sentence;
  };
  refused([](auto& c) { c.tasks_max = 0; }, "tasks_max");
  refused([](auto& c) { c.edges_max = 0; }, "edges_max");
  refused([](auto& c) { c.agents_max = 0; }, "agents_max");
  refused([](auto& c) { c.running_max = 0; }, "running_max");
  refused([](auto& c) { c.kinds_max = 0; }, "kinds_max");
  refused([](auto& c) { c.types_max = 0; }, "types_max");
  refused([](auto& c) { c.strategy = Strategy::custom; }, "strategy");
  refused([](auto& c) { c.retries_max = 101; }, "retries_max");
  refused([](auto& c) { c.retry_ns = Nanos{0}; }, "retry_ns");
  refused([](auto& c) { c.timeout_ns = Nanos{0}; }, "timeout_ns");
  refused([](auto& c) { c.dispatch_max = 0; }, "dispatch_max");
  for (const auto name : TaskSchedulerConfig::names()) {
    EXPECT_TRUE(TaskScheduler::validate(TaskSchedulerConfig::preset(name).value())) << name;
  }
  EXPECT_EQ(TaskSchedulerConfig::preset("huge").error().code, Errc::unknown_preset);
  EXPECT_FALSE(TaskSchedulerConfig::preset("fast-dispatch")->durable);
}

TEST(TaskScheduler, RefusesAnAgentThatCannotAndRecordsTheMismatch) {
  auto scheduler = with_agents({agent(0, 2, 1)});
  auto one = work(1);
  one.requirements = 6;
  scheduler.apply(one, Nanos{0});
  const auto reply = scheduler.apply(task::Assign{1, 0}, Nanos{1});
  EXPECT_EQ(reply.refusal, Refusal::rejected_policy);
  EXPECT_EQ(scheduler.view(1).state, TaskState::ready);
  EXPECT_EQ(scheduler.counters().mismatches, 1U);
  bool is_recorded = false;
  scheduler.events().after(0, [&](const EventRecord& event) {
    if (event.kind != static_cast<std::uint16_t>(EventName::conflict_task)) return;
    is_recorded = event.a == 1 && event.b == 0 && event.c == 6;
  });
  EXPECT_TRUE(is_recorded);
}

// --- the life of a task --------------------------------------------------------------------------

TEST(TaskScheduler, RunsNothingBeforeItsDependencies) {
  auto scheduler = with_agents({agent(0)});
  scheduler.apply(work(1), Nanos{0});
  scheduler.apply(work(2, {1}), Nanos{0});
  scheduler.apply(work(3, {1, 2, 2}), Nanos{0});
  EXPECT_EQ(scheduler.view(3).missing, 2U);
  EXPECT_EQ(dispatched(scheduler, Nanos{1}).size(), 1U);
  do_it(scheduler, 1, Nanos{2});
  EXPECT_EQ(scheduler.view(2).state, TaskState::ready);
  EXPECT_EQ(scheduler.view(3).state, TaskState::pending);
  do_it(scheduler, 2, Nanos{3});
  EXPECT_EQ(do_it(scheduler, 3, Nanos{4}).state, TaskState::completed);
  EXPECT_EQ(scheduler.view(3).result, 7U);
  EXPECT_TRUE(scheduler.verify());
}

TEST(TaskScheduler, ReadsPriorityThenDeadlineThenTheOrder) {
  auto config = small_scheduler();
  config.dispatch_max = 1;
  auto scheduler = with_agents({agent(0)}, config);
  auto late = work(3);
  late.deadline = task_s(9);
  auto soon = work(4);
  soon.deadline = task_s(5);
  scheduler.apply(work(1), Nanos{0});
  scheduler.apply(work(2), Nanos{0});
  scheduler.apply(late, Nanos{0});
  scheduler.apply(soon, Nanos{0});
  scheduler.apply(work(5, {}, 9), Nanos{0});  // 3 by clamp
  scheduler.apply(work(6, {}, -4), Nanos{0});
  std::vector<std::uint64_t> order;
  for (auto got = dispatched(scheduler, Nanos{1}); !got.empty();
       got = dispatched(scheduler, Nanos{1})) {
    order.push_back(got.front().id);
  }
  EXPECT_EQ(order, (std::vector<std::uint64_t>{5, 4, 3, 1, 2, 6}));
}

TEST(TaskScheduler, WhatWaitedLongComesBeforeWhatIsNewAndNoLessUrgent) {
  auto config = small_scheduler();
  config.dispatch_max = 1;
  auto scheduler = with_agents({agent(0)}, config);
  scheduler.apply(task::SetRoutable{0, false}, Nanos{0});
  scheduler.apply(work(1), Nanos{0});
  scheduler.apply(work(2, {}, 2), task_s(19));
  scheduler.apply(work(3, {}, 2), task_s(21));
  scheduler.apply(task::SetRoutable{0, true}, task_s(21));
  EXPECT_EQ(scheduler.view(1).priority, 2U);
  EXPECT_EQ(dispatched(scheduler, task_s(21)).front().id, 1U);
  EXPECT_EQ(dispatched(scheduler, task_s(21)).front().id, 2U);
}

TEST(TaskScheduler, WhatNobodyCanTakeStopsOnlyItsOwnKind) {
  auto scheduler = with_agents({agent(0, 10, 1)});
  auto odd = work(1, {}, 3);
  odd.requirements = 2;
  scheduler.apply(odd, Nanos{0});
  scheduler.apply(work(2), Nanos{0});
  const auto got = dispatched(scheduler, Nanos{1});
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got.front().id, 2U);
  EXPECT_EQ(got.front().payload, 1'002U);
}

TEST(TaskScheduler, NeverGivesAnAgentMoreThanItMayRun) {
  auto scheduler = with_agents({agent(0, 2), agent(1, 1)});
  for (std::uint64_t id = 1; id <= 5; ++id) scheduler.apply(work(id), Nanos{0});
  EXPECT_EQ(dispatched(scheduler, Nanos{1}).size(), 3U);
  EXPECT_EQ(scheduler.apply(task::Assign{4, 0}, Nanos{1}).refusal, Refusal::would_block);
  EXPECT_EQ(scheduler.apply(task::Assign{4}, Nanos{1}).code, Errc::no_candidate);
  EXPECT_EQ(scheduler.apply(agent(0, 1), Nanos{1}).code, Errc::wrong_state) << "it runs two";
  do_it(scheduler, 1, Nanos{2});
  EXPECT_EQ(dispatched(scheduler, Nanos{2}).size(), 1U);
}

TEST(TaskScheduler, ATimeOutIsAFailureAndTheOldFenceIsStale) {
  auto scheduler = with_agents({agent(0)});
  scheduler.apply(work(1), Nanos{0});
  scheduler.apply(task::Assign{1}, Nanos{0});
  const std::uint64_t fence = scheduler.view(1).fence;
  scheduler.apply(task::Start{1, fence}, Nanos{0});
  scheduler.apply(task::Progress{1, fence}, task_s(20));
  TaskSchedulerActions actions;
  scheduler.tick(task_s(49), actions);
  EXPECT_EQ(scheduler.view(1).state, TaskState::running);
  scheduler.tick(task_s(50), actions);
  EXPECT_EQ(scheduler.view(1).state, TaskState::failed);
  ASSERT_EQ(actions.news.size(), 1U);
  EXPECT_EQ(actions.news.front().kind, TaskNotice::retried);
  bool is_told = false;
  scheduler.events().after(0, [&](const EventRecord& event) {
    is_told = is_told || event.kind == static_cast<std::uint16_t>(EventName::task_failed);
  });
  EXPECT_TRUE(is_told);
  EXPECT_EQ(scheduler.apply(task::Complete{1, fence, 1}, task_s(50)).code, Errc::stale_token);
  scheduler.tick(task_s(52), actions);
  EXPECT_EQ(scheduler.view(1).attempt, 2U);
}

TEST(TaskScheduler, WhatADeadAgentHadGoesBackAndIsNotCancelled) {
  auto scheduler = with_agents({agent(0), agent(1)});
  scheduler.apply(work(1), Nanos{0});
  scheduler.apply(work(2), Nanos{0});
  scheduler.apply(task::Assign{1, 0}, Nanos{0});
  scheduler.apply(task::Assign{2, 0}, Nanos{0});
  const std::uint64_t fence = scheduler.view(1).fence;
  scheduler.apply(task::Start{1, fence}, Nanos{0});
  const auto reply = scheduler.apply(task::StationClosed{1}, Nanos{1});
  EXPECT_EQ(reply.news.size(), 2U);
  EXPECT_EQ(scheduler.view(1).state, TaskState::ready);
  EXPECT_EQ(scheduler.view(1).attempt, 1U);
  EXPECT_EQ(scheduler.view(2).attempt, 0U) << "it had not begun";
  EXPECT_FALSE(scheduler.load(0).known);
  EXPECT_EQ(dispatched(scheduler, Nanos{2}).size(), 2U);
  EXPECT_EQ(scheduler.view(1).agent, 1U);
  EXPECT_EQ(scheduler.apply(task::Complete{1, fence, 1}, Nanos{3}).code, Errc::stale_token);
}

TEST(TaskScheduler, CancelTakesWhoeverWaitsAlong) {
  auto scheduler = with_agents({agent(0)});
  scheduler.apply(work(1), Nanos{0});
  scheduler.apply(work(2, {1}), Nanos{0});
  scheduler.apply(work(3, {2}), Nanos{0});
  scheduler.apply(work(4), Nanos{0});
  scheduler.apply(task::Assign{1}, Nanos{0});
  const auto reply = scheduler.apply(task::Cancel{1}, Nanos{1});
  ASSERT_EQ(reply.news.size(), 3U);
  EXPECT_EQ(reply.news[0].kind, TaskNotice::revoked) << "who has it is told to stop";
  EXPECT_EQ(reply.news[0].agent, 0U);
  EXPECT_EQ(scheduler.view(3).state, TaskState::cancelled);
  EXPECT_EQ(scheduler.view(4).state, TaskState::ready);
  EXPECT_EQ(scheduler.apply(work(5, {3}), Nanos{2}).state, TaskState::cancelled);
  EXPECT_TRUE(scheduler.verify());
}

TEST(TaskScheduler, AFailureForGoodIsDeadAtOnce) {
  auto scheduler = with_agents({agent(0)});
  scheduler.apply(work(1), Nanos{0});
  scheduler.apply(work(2, {1}), Nanos{0});
  scheduler.apply(task::Assign{1}, Nanos{0});
  const std::uint64_t fence = scheduler.view(1).fence;
  scheduler.apply(task::Start{1, fence}, Nanos{0});
  EXPECT_EQ(scheduler.apply(task::Fail{1, fence, true}, Nanos{1}).state, TaskState::dead);
  EXPECT_EQ(scheduler.view(2).state, TaskState::cancelled);
}

TEST(TaskScheduler, ReassigningIsOneTransition) {
  auto scheduler = with_agents({agent(0), agent(1)});
  scheduler.apply(work(1), Nanos{0});
  scheduler.apply(work(2, {1}), Nanos{0});
  scheduler.apply(task::Assign{1, 0}, Nanos{0});
  const std::uint64_t fence = scheduler.view(1).fence;
  scheduler.apply(task::Start{1, fence}, Nanos{0});
  const auto reply = scheduler.apply(task::Reassign{1}, Nanos{1});
  EXPECT_EQ(reply.agent, 1U);
  EXPECT_EQ(reply.state, TaskState::assigned);
  EXPECT_EQ(scheduler.view(2).state, TaskState::pending) << "nobody was cancelled";
  EXPECT_EQ(scheduler.apply(task::Complete{1, fence, 1}, Nanos{2}).code, Errc::stale_token);
  EXPECT_EQ(do_it(scheduler, 1, Nanos{3}).state, TaskState::completed);
}

TEST(TaskScheduler, AStationHoldsABurstAheadAndMayGiveItBack) {
  auto scheduler = with_agents({agent(0, 4)});
  for (std::uint64_t id = 1; id <= 6; ++id) scheduler.apply(work(id), Nanos{0});
  const auto claimed = scheduler.apply(task::Claim{0, 9}, Nanos{1});
  ASSERT_EQ(claimed.assigned.size(), 4U) << "as many as it may run";
  const auto& one = claimed.assigned.front();
  EXPECT_EQ(scheduler.apply(task::GiveBack{one.id, one.fence}, Nanos{2}).state, TaskState::ready);
  EXPECT_EQ(scheduler.view(one.id).attempt, 0U);
  EXPECT_EQ(scheduler.apply(task::Start{one.id, one.fence}, Nanos{3}).code, Errc::stale_token);
}

TEST(TaskScheduler, IsReadyInTimeForItsArrivalAndNotSooner) {
  auto scheduler = with_agents({agent(0)});
  auto one = work(1);
  one.arrival = task_s(100);
  one.cost = task_s(10);
  scheduler.apply(one, Nanos{0});
  EXPECT_TRUE(dispatched(scheduler, task_s(89)).empty());
  EXPECT_EQ(dispatched(scheduler, task_s(90)).size(), 1U);
}

TEST(TaskScheduler, ForgetsTheOldestThatHasEndedWhenRoomIsNeeded) {
  auto scheduler = with_agents({agent(0)}, small_scheduler(2));
  scheduler.apply(work(1), Nanos{0});
  scheduler.apply(work(2), Nanos{0});
  EXPECT_EQ(scheduler.apply(work(3), Nanos{0}).code, Errc::capacity);
  do_it(scheduler, 2, Nanos{1});
  EXPECT_EQ(scheduler.apply(work(3, {2}), Nanos{1}).state, TaskState::ready) << "2 was completed";
  EXPECT_EQ(scheduler.view(2).state, TaskState::unknown);
  EXPECT_EQ(scheduler.counters().forgotten, 1U);
  EXPECT_TRUE(scheduler.verify());
}

}  // namespace of_task_scheduler_test
}  // namespace mesh::tasks
