// The usual examples of the task family, three ways (three_ways.hpp).
#include "tests/engine/store/three_ways.hpp"
#include "tests/engine/tasks/coordination_kit.hpp"

namespace mesh::tasks {
namespace of_three_ways_tasks_test {

using coordination::testing::Script;
using testing::agent;
using testing::letter;
using testing::resident;
using testing::task_ms;
using testing::task_s;
using testing::work;

TEST(ThreeWays, TheManagerAssignsATaskAcquiresAResourceSendsAMessageAndEnds) {
  auto config = testing::small_coordination();
  config.drain_ns = task_s(2);
  Script<CoordinationManager> script(config);
  for (std::uint32_t i = 0; i < 3; ++i) {
    script.say(Nanos{0}, agent(i));
    script.say(Nanos{0}, resident(i));
  }
  const std::size_t assigned = script.next();
  script.say(task_ms(1), manage::AssignTask{work(1), 1}, [](const auto&, const auto& reply) {
    EXPECT_EQ(reply.task.state, TaskState::assigned);
    EXPECT_EQ(reply.task.agent, 1U);
  });
  resource::Acquire lock;
  lock.agent = 1;
  lock.resource = "file-lock";
  script.say(task_ms(1), lock,
             [](const auto&, const auto& reply) { EXPECT_NE(reply.resource.fence, 0U); });
  script.say(task_ms(2), letter(1, 2, 77),
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.message.count, 1U); });
  using Replies = Script<CoordinationManager>::Replies;
  script.say(task_ms(3), [assigned](const Replies& replies) {
    return CoordinationCommand{task::Start{1, replies[assigned].task.fence}};
  });
  script.say(task_ms(9), [assigned](const Replies& replies) {
    return CoordinationCommand{task::Complete{1, replies[assigned].task.fence, 5}};
  });
  const std::size_t polled = script.next();
  script.say(task_ms(10), message::Poll{2, 1}, [](const auto&, const auto& reply) {
    ASSERT_EQ(reply.message.deliveries.size(), 1U);
    EXPECT_EQ(reply.message.deliveries[0].payload, 77U);
  });
  script.tick(task_s(1), [](const auto& manager, const auto&) {
    EXPECT_EQ(manager.metrics().current().task.completed, 1U);
    const auto history = manager.metrics().history("task.completed", task_s(1));
    ASSERT_TRUE(history);
    EXPECT_EQ(history->points.size(), 1U);
  });
  script.say(task_s(1), manage::Shutdown{});
  script.say(task_s(1), letter(1, 2),
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.code, Errc::closed); });
  script.say(task_s(1), [polled](const Replies& replies) {
    return CoordinationCommand{message::Ack{2, replies[polled].message.deliveries.at(0).id.number}};
  });
  script.tick(task_s(1), [](const auto& manager, const auto& actions) {
    EXPECT_EQ(manager.state(), ManagerState::closed);
    EXPECT_EQ(actions.next_tick, Nanos{INT64_MAX}) << "no timer is left";
  });
  script.run();
}

TEST(ThreeWays, ADegradedMeshQueuesWhatIsOfLowPriority) {
  Script<CoordinationManager> script(testing::small_coordination());
  for (std::uint32_t i = 0; i < 2; ++i) {
    script.say(Nanos{0}, agent(i));
    script.say(Nanos{0}, resident(i));
  }
  script.say(Nanos{0}, manage::ObserveAgents{70, 100});
  script.say(task_s(3), manage::ObserveAgents{70, 100});
  script.say(task_s(3), letter(0, 1, 4),
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.message.parked, 1U); });
  script.say(task_s(3), work(1, {}, 1));
  script.say(task_s(3), message::Poll{1, 1},
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.message.count, 0U); });
  script.tick(task_s(4),
              [](const auto&, const auto& actions) { EXPECT_TRUE(actions.assigned.empty()); });
  script.say(task_s(5), manage::ObserveAgents{100, 100});
  script.say(task_s(15), manage::ObserveAgents{100, 100});
  script.say(task_s(15), message::Poll{1, 1},
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.message.count, 1U); });
  script.tick(task_s(15),
              [](const auto&, const auto& actions) { EXPECT_EQ(actions.assigned.size(), 1U); });
  script.run();
}

TEST(ThreeWays, AGraphReleasesWhatWaitedAndRefusesACircle) {
  DependencyGraphConfig config;
  config.tasks_max = 16;
  config.edges_max = 32;
  Script<DependencyGraph> script(config);
  script.say(Nanos{0}, graph::AddTask{1, {}, 0, 0});
  script.say(Nanos{0}, graph::AddTask{2, {1}, 0, 0});
  script.say(Nanos{0}, graph::AddTask{3, {2}, 0, 0}, [](const auto& graph, const auto&) {
    EXPECT_TRUE(graph.detect_cycles().empty());
    EXPECT_EQ(graph.topological_order(), (std::vector<std::uint64_t>{1, 2, 3}));
  });
  script.say(Nanos{1}, graph::AddDependencies{1, {3}},
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.code, Errc::cycle); });
  script.say(Nanos{2}, graph::MarkCompleted{1}, [](const auto&, const auto& reply) {
    EXPECT_EQ(reply.ready, (std::vector<std::uint64_t>{2}));
  });
  script.say(Nanos{3}, graph::MarkCompleted{1},
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.code, Errc::wrong_state); });
  script.run();
}

TEST(ThreeWays, FiveTasksAndOneAreEvenedOutByTwo) {
  WorkStealingConfig config;
  config.agents_max = 4;
  Script<WorkStealing> script(config);
  script.say(Nanos{0}, stealing::Report{0, 5});
  script.say(Nanos{0}, stealing::Report{1, 1});
  script.tick(Nanos{0}, [](const auto&, const auto& actions) {
    ASSERT_EQ(actions.steals.size(), 1U);
    EXPECT_EQ(actions.steals[0].from, 0U);
    EXPECT_EQ(actions.steals[0].to, 1U);
    EXPECT_EQ(actions.steals[0].count, 2U);
  });
  script.run();
}

TEST(ThreeWays, ATaskOfADeadAgentGoesBackAndIsCommittedOnce) {
  Script<TaskScheduler> script(testing::small_scheduler());
  using Replies = Script<TaskScheduler>::Replies;
  script.say(Nanos{0}, agent(0));
  script.say(Nanos{0}, agent(1));
  script.say(Nanos{0}, work(1));
  const std::size_t first = script.next();
  script.say(task_ms(1), task::Assign{1, 0});
  script.say(task_ms(2), task::RemoveAgent{0});
  const std::size_t second = script.next();
  script.say(task_ms(3), task::Assign{1, 1});
  script.say(
      task_ms(4),
      [first](const Replies& replies) {
        return TaskCommand{task::Start{1, replies[first].fence}};
      },
      [](const auto&, const auto& reply) { EXPECT_EQ(reply.code, Errc::stale_token); });
  script.say(task_ms(4), [second](const Replies& replies) {
    return TaskCommand{task::Start{1, replies[second].fence}};
  });
  script.say(
      task_ms(5),
      [second](const Replies& replies) {
        return TaskCommand{task::Complete{1, replies[second].fence, 9}};
      },
      [](const auto& scheduler, const auto&) { EXPECT_EQ(scheduler.view(1).result, 9U); });
  script.run();
}

TEST(ThreeWays, AWaiterIsAnsweredByTheReleaseAndTheOldHolderIsFenced) {
  ResourceManagerConfig config;
  config.agents_max = 6;
  config.resources_max = 8;
  config.holdings_max = 16;
  Script<ResourceManager> script(config);
  resource::Acquire one;
  one.agent = 1;
  one.resource = "r";
  resource::Acquire other = one;
  other.agent = 2;
  script.say(Nanos{0}, one);
  script.say(Nanos{1}, other, [](const auto&, const auto& reply) {
    EXPECT_EQ(reply.refusal, Refusal::would_block);
  });
  script.say(Nanos{2}, resource::Release{1, "r"}, [](const auto&, const auto& reply) {
    ASSERT_EQ(reply.news.size(), 1U);
    EXPECT_EQ(reply.news[0].agent, 2U);
    EXPECT_EQ(reply.news[0].kind, ResourceNotice::granted);
  });
  script.say(Nanos{3}, resource::Release{1, "r"},
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.code, Errc::not_owner); });
  script.run();
}

}  // namespace of_three_ways_tasks_test
}  // namespace mesh::tasks
