// CoordinationManager: goldens, one door, one tick, and what is asked of every service.
#include "engine/tasks/coordination_manager.hpp"

#include <map>

#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/service_kit.hpp"
#include "tests/engine/tasks/coordination_kit.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_coordination_manager_test {

using coordination::testing::CrashSweep;
using coordination::testing::expect_all_refused;
using coordination::testing::expect_replays;
using coordination::testing::golden;
using coordination::testing::Json;
using coordination::testing::matches;
using coordination::testing::Timed;
using testing::agent;
using testing::letter;
using testing::manager_of;
using testing::ticked;
using testing::work;

constexpr Nanos s(std::int64_t count) { return Nanos{count * kNsPerSecond}; }
constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

CoordinationConfig small_manager() { return testing::small_coordination(); }

// --- refusals ------------------------------------------------------------------------------------

TEST(CoordinationManager, RefusesWhatItsServicesRefuse) {
  auto manager = manager_of(small_manager());
  ticked(manager, Nanos{0});
  manage::AssignTask nobody{work(9), 5};
  expect_all_refused<CoordinationManager>(
      manager,
      {{"a task of nobody", task::Start{7, 1}, Errc::not_found, Nanos{0}},
       {"a resource that it has not", resource::Release{0, "r"}, Errc::not_owner, Nanos{0}},
       {"a message to nobody", letter(0, 5), Errc::no_such_agent, Nanos{0}},
       {"a graph of one", graph::AddTask{1, {1}, 0, 0}, Errc::cycle, Nanos{0}},
       {"a load of nobody", stealing::Report{6, 1}, Errc::no_such_agent, Nanos{0}},
       {"a metric of nobody", metric::Add{99, 1}, Errc::not_found, Nanos{0}},
       {"an event without a name", event::Emit{}, Errc::invalid_argument, Nanos{0}},
       {"to an agent that is not there", nobody, Errc::no_such_agent, Nanos{0}},
       {"nobody is gone", manage::AgentGone{5}, Errc::no_such_agent, Nanos{0}},
       {"more active than there are", manage::ObserveAgents{2, 1}, Errc::invalid_argument,
        Nanos{0}},
       {"nothing confirmed", manage::Confirm{0}, Errc::invalid_argument, Nanos{0}},
       {"before time", letter(0, 1), Errc::invalid_argument, Nanos{-1}}});
}

TEST(CoordinationManager, RefusesAConfigOutsideItsRangesAndSaysWhose) {
  const auto judged = [](auto change) {
    CoordinationConfig config;
    change(config);
    const auto status = CoordinationManager::validate(config);
    return status ? std::string("ok") : status.error().sentence;
  };
  const auto has = [](const std::string& sentence, std::string_view part) {
    return sentence.find(part) != std::string::npos;
  };
  EXPECT_EQ(judged([](auto&) {}), "ok");
  EXPECT_TRUE(has(judged([](auto& one) { one.retries_max = 101; }), "retries_max"));
  EXPECT_TRUE(has(judged([](auto& one) { one.retry_delay_ns = Nanos{0}; }), "retry_delay_ns"));
  EXPECT_TRUE(has(judged([](auto& one) { one.retry_delay_ns = s(601); }), "retry_delay_ns"));
  EXPECT_TRUE(has(judged([](auto& one) { one.messages.queue_max = 0; }), "messages: "));
  EXPECT_TRUE(has(judged([](auto& one) { one.metrics.metrics_max = 1; }), "metrics: "));
}

TEST(CoordinationManager, TheFirstSettingsHoldForAllServices) {
  CoordinationConfig config = small_manager();
  config.retries_max = 1;
  config.retry_delay_ns = ms(10);
  config.message_timeout_ns = ms(500);
  config.resource_timeout_ns = ms(700);
  const CoordinationManager manager(config, 1);
  EXPECT_EQ(manager.tasks().config().retries_max, 1U);
  EXPECT_EQ(manager.tasks().config().retry_ns, ms(10));
  EXPECT_EQ(manager.messages().config().retries_max, 1U);
  EXPECT_EQ(manager.messages().config().timeout_ns, ms(500));
  EXPECT_EQ(manager.resources().config().timeout_ns, ms(700));
}

// --- goldens -------------------------------------------------------------------------------------

TEST(CoordinationManager, GoldenTickOrder) {
  const auto [inputs, expected] = golden("coordination_manager", "tick_order");
  CoordinationManager manager(small_manager(), 1);
  Json order = Json::array();
  for (std::size_t i = kMaintenanceSteps; i-- != 0;) {  // attached the other way round
    const auto step = static_cast<MaintenanceStep>(i);
    ASSERT_TRUE(manager.attach(step, to_string(step), [&order, step](Nanos, std::uint64_t) {
      order.push_back(to_string(step));
      return std::uint64_t{0};
    }));
  }
  ticked(manager, Nanos{0});
  EXPECT_TRUE(matches(expected, order));
}

TEST(CoordinationManager, GoldenModes) {
  const auto [inputs, expected] = golden("coordination_manager", "modes");
  Json actual = Json::array();
  for (const std::uint32_t active : inputs.at("active")) {
    actual.push_back(to_string(mesh_mode_of(active, inputs.at("total"))));
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(CoordinationManager, GoldenModeHysteresis) {
  const auto [inputs, expected] = golden("coordination_manager", "mode_hysteresis");
  auto config = small_manager();
  config.mode_enter_ns = s(inputs.at("enter_after_s"));
  config.mode_leave_ns = s(inputs.at("leave_after_s"));
  CoordinationManager manager(config, 1);
  Json actual = Json::array();
  for (const auto& row : inputs.at("t_s_active")) {
    const auto reply =
        manager.apply(manage::ObserveAgents{row.at(1), inputs.at("total")}, s(row.at(0)));
    actual.push_back(to_string(reply.mode));
  }
  EXPECT_TRUE(matches(expected, actual));
  EXPECT_EQ(manager.counters().mode_changes, 3U);
}

// --- one door ------------------------------------------------------------------------------------

TEST(CoordinationManager, AssignsATaskAcquiresAResourceAndSendsAMessage) {
  auto manager = manager_of(small_manager());
  const auto assigned = manager.apply(manage::AssignTask{work(1), 1}, ms(1));
  EXPECT_EQ(assigned.code, Errc::ok);
  EXPECT_EQ(assigned.task.state, TaskState::assigned);
  EXPECT_EQ(assigned.task.agent, 1U);
  resource::Acquire lock;
  lock.agent = 1;
  lock.resource = "file-lock";
  EXPECT_NE(manager.apply(lock, ms(1)).resource.fence, 0U);
  EXPECT_EQ(manager.apply(letter(0, 1, 5), ms(1)).message.count, 1U);
  const auto got = manager.apply(message::Poll{1, 1}, ms(3)).message.deliveries;
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].payload, 5U);
}

TEST(CoordinationManager, ATaskThatNobodyCanTakeNowStaysReady) {
  auto manager = manager_of(small_manager(), 0);
  const auto reply = manager.apply(manage::AssignTask{work(1), kNoAgent}, ms(1));
  EXPECT_EQ(reply.code, Errc::ok);
  EXPECT_EQ(reply.refusal, Refusal::would_block);
  EXPECT_EQ(reply.task.state, TaskState::ready);
  manager.apply(agent(0), ms(2));
  EXPECT_EQ(ticked(manager, ms(3)).assigned.size(), 1U);
}

TEST(CoordinationManager, MetricsAreTheCountersOfTheServices) {
  auto manager = manager_of(small_manager());
  const auto assigned = manager.apply(manage::AssignTask{work(1), 0}, s(1));
  const std::uint64_t fence = assigned.task.fence;
  manager.apply(task::Start{1, fence}, s(1));
  manager.apply(task::Complete{1, fence, 7}, s(3));
  manager.apply(letter(0, 1), s(3));
  manager.apply(message::Poll{1, 1}, s(4));
  ticked(manager, s(5));
  const auto now = manager.metrics().current();
  EXPECT_EQ(now.task.completed, 1U);
  EXPECT_EQ(now.task.duration_mean_s, 2.0);
  EXPECT_EQ(now.agent.total, 3);
  EXPECT_EQ(now.agent.utilization, 0.0);
  EXPECT_EQ(now.message.sent, 1U);
  EXPECT_EQ(now.message.delivered, 1U);
  EXPECT_NEAR(static_cast<double>(now.message.latency.p50_ns.value()), 1e9, 2e7);
  const auto history = manager.metrics().history("task.completed", s(5));
  ASSERT_TRUE(history);
  EXPECT_EQ(history->points.size(), 1U);
}

TEST(CoordinationManager, WhatServicesSayIsSaidOnTheBusOnce) {
  auto manager = manager_of(small_manager());
  std::map<std::string, int> heard;
  ASSERT_TRUE(manager.bus().on("*", [&](const EventRecord& event, std::string_view) {
    ++heard[std::string(name_of(static_cast<EventName>(event.kind)))];
  }));
  manager.apply(manage::AssignTask{work(1), 1}, ms(1));
  manager.apply(letter(0, 1), ms(1));
  resource::Acquire lock;
  lock.resource = "r";
  manager.apply(lock, ms(1));
  ticked(manager, ms(2));
  manager.bus().poll([] { return Nanos{0}; });
  EXPECT_EQ(heard, (std::map<std::string, int>{{"task:created", 1},
                                               {"task:assigned", 1},
                                               {"message:sent", 1},
                                               {"resource:acquired", 1}}));
}

TEST(CoordinationManager, ALoadedAgentsTasksGoToAnIdleOne) {
  auto manager = manager_of(small_manager(), 2);
  for (std::uint64_t id = 1; id <= 6; ++id) {
    manager.apply(manage::AssignTask{work(id), 0}, Nanos{0});
  }
  EXPECT_EQ(manager.tasks().load(0).queued, 6U);
  const auto actions = ticked(manager, Nanos{0});
  EXPECT_EQ(actions.assigned.size(), 2U);
  EXPECT_EQ(actions.task_news.size(), 2U);
  EXPECT_EQ(manager.tasks().load(1).queued, 2U);
  EXPECT_EQ(ticked(manager, s(1)).assigned.size(), 0U) << "not before the interval";
}

TEST(CoordinationManager, AnAgentThatIsGoneIsGoneFromAllServices) {
  auto manager = manager_of(small_manager());
  manager.apply(manage::AssignTask{work(1), 1}, ms(1));
  manager.apply(letter(0, 1), ms(1));
  resource::Acquire lock;
  lock.agent = 1;
  lock.resource = "r";
  manager.apply(lock, ms(1));
  const auto reply = manager.apply(manage::AgentGone{1}, ms(2));
  EXPECT_EQ(reply.code, Errc::ok);
  EXPECT_EQ(reply.resource.count, 1U);
  EXPECT_EQ(reply.message.count, 1U);
  EXPECT_FALSE(manager.tasks().load(1).known);
  EXPECT_EQ(manager.tasks().view(1).state, TaskState::ready);
  EXPECT_TRUE(manager.verify());
}

TEST(CoordinationManager, ADeadStationIsDeadForAllServices) {
  auto manager = manager_of(small_manager());
  manager.apply(letter(0, 1), ms(1));
  manager.apply(message::Poll{1, 1}, ms(1));
  resource::Acquire lock;
  lock.agent = 1;
  lock.resource = "r";
  lock.station = 2;
  manager.apply(lock, ms(1));
  const auto reply = manager.apply(manage::StationClosed{2}, ms(2));
  EXPECT_EQ(reply.resource.count, 1U);
  EXPECT_EQ(reply.message.count, 1U);
  EXPECT_FALSE(manager.tasks().load(1).known);
}

TEST(CoordinationManager, ACoarseClockGoesInItsGrain) {
  auto config = small_manager();
  config.clock_ns = ms(1);
  auto manager = manager_of(config);
  manager.apply(letter(0, 1), Nanos{1'999'999});
  EXPECT_EQ(
      manager.apply(message::Poll{1, 1}, Nanos{2'000'001}).message.deliveries.at(0).id.created_ns,
      1'000'000);
}

TEST(CoordinationManager, AStrategySetAtRunTimeKeepsAllState) {
  auto manager = manager_of(small_manager());
  manager.apply(manage::AssignTask{work(1), 1}, ms(1));
  EXPECT_EQ(manager.apply(task::SetStrategy{"round-robin"}, ms(1)).code, Errc::ok);
  manager.apply(stealing::Enable{false}, ms(1));
  EXPECT_EQ(manager.tasks().view(1).state, TaskState::assigned);
}

// --- as every service ----------------------------------------------------------------------------

// Tell a manager that they listen to.
struct Players {
  explicit Players(std::uint64_t seed) : rng(seed), tasks(seed + 1), messages(seed + 2) {}

  std::uint32_t number(std::uint64_t n) { return static_cast<std::uint32_t>(rng.below(n)); }
  CoordinationCommand next(Nanos now) {
    const auto joined = [](const auto& family) {
      return std::visit([](const auto& one) { return CoordinationCommand(one); }, family);
    };
    const std::uint64_t what = rng.below(40);
    if (what < 14) return joined(messages.next());
    if (what < 27) return joined(tasks.next(now));
    return other(what);
  }
  CoordinationCommand other(std::uint64_t what) {
    if (what < 31) {
      resource::Acquire lock;
      lock.agent = number(6);
      lock.resource = std::string(1, static_cast<char>('a' + rng.below(3)));
      lock.station = 1 + number(3);
      return lock;
    }
    if (what < 33) return resource::ReleaseAll{number(6)};
    if (what < 35) return graph::AddTask{rng.below(9), {rng.below(9)}, number(3), 0};
    if (what < 36) return manage::ObserveAgents{60 + number(45), 100};
    if (what < 37) return manage::AgentGone{number(6)};
    if (what < 38) return manage::StationClosed{1 + number(3)};
    return metric::Add{number(30), rng.below(9)};
  }
  void hear(const CoordinationReply& reply, const CoordinationActions& actions) {
    messages.hear(reply.message);
    for (const auto& one : reply.task.assigned) tasks.hear(one.id, one.fence);
    for (const auto& one : actions.assigned) tasks.hear(one.id, one.fence);
  }

  Rng rng;
  testing::TaskPlayer tasks;
  testing::MessagePlayer messages;
};

std::vector<Timed<CoordinationCommand>> trace(std::size_t count, std::uint64_t seed) {
  CoordinationManager follower(small_manager(), 7);
  Players players(seed);
  std::vector<Timed<CoordinationCommand>> commands;
  Nanos now{0};
  for (std::size_t i = 0; i < count; ++i) {
    commands.push_back({now, players.next(now)});
    const auto reply = follower.apply(commands.back().command, now);
    players.hear(reply, ticked(follower, now));
    now += ms(players.number(900));
  }
  return commands;
}

TEST(CoordinationManager, StaysSoundWhateverItIsTold) {
  std::uint64_t events = 0;
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    CoordinationManager manager(small_manager(), 1);
    for (const auto& one : trace(250, mesh::testing::seed() + seed)) {
      manager.apply(one.command, one.now);
      ticked(manager, one.now);
      const auto sound = manager.verify();
      ASSERT_TRUE(sound) << sound.error().sentence << ", seed " << mesh::testing::seed() + seed;
    }
    events += manager.counters().events;
  }
  EXPECT_GT(events, 100U);
}

TEST(CoordinationManager, ReplaysAndSurvivesDeathsAndDamage) {
  expect_replays<CoordinationManager>(small_manager(), trace(150, mesh::testing::seed()));
  CrashSweep<CoordinationManager> sweep(small_manager(), trace(10, 3));
  sweep.with_ticks();
  EXPECT_GT(sweep.run(4), 50U);
}

}  // namespace of_coordination_manager_test
}  // namespace mesh::tasks
