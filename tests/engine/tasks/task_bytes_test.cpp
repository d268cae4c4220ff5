// The bytes of the rooms of this family, pinned: commands, replies and
// snapshots stand in journals that an older build wrote. A number here changes together with the
// room's snapshot version, or not at all.
#include <gtest/gtest.h>

#include "tests/engine/coordination/service_story.hpp"
#include "tests/engine/tasks/coordination_kit.hpp"

namespace mesh::tasks {
namespace of_task_bytes_test {

using coordination::testing::story;
using testing::letter;
using testing::resident;
using testing::small_router;

constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

TEST(TaskBytes, OfAMessageRouterStand) {
  message::Request question{letter(0, 1, 5), ms(900)};
  message::Respond answer{letter(1, 0, 6)};
  MessageTransfer transfer;
  transfer.id = {3, std::uint64_t{9} << 48 | 1};
  transfer.from = 4;
  transfer.to = 1;
  transfer.place = {1, 2, 1};
  EXPECT_EQ(
      story<MessageRouter>(small_router(), {resident(0),
                                            resident(1),
                                            resident(2, false),
                                            resident(3),
                                            message::SetRoutable{2, false},
                                            message::SetRelay{RelayLevel::bridge, 0, 2},
                                            letter(0, 1, 7),
                                            question,
                                            answer,
                                            message::Broadcast{letter(0, 0), message::Scope::all},
                                            message::Subscribe{3, "a.*"},
                                            message::Subscribe{1, "**"},
                                            message::Publish{letter(0, 0), "a.b"},
                                            message::Unsubscribe{1, "**"},
                                            message::ScatterGather{0, {1, 2}, 8, ms(5), 900'000},
                                            message::Poll{1, 2},
                                            message::Ack{1, 9},
                                            message::Nack{1, 5, false},
                                            message::Receive{transfer},
                                            message::Hear{{9, MessageOutcome::acked}},
                                            message::TakeLetters{1},
                                            message::StationClosed{2},
                                            message::SetSector{1, false},
                                            message::Restrain{2, true, true},
                                            letter(0, 2, 4),
                                            message::RemoveAgent{3}}),
      14763766259609812398U);
}

TEST(TaskBytes, OfATaskSchedulerStand) {
  auto twice = testing::work(2, {1}, 2);
  twice.may_run_twice = true;
  EXPECT_EQ(story<TaskScheduler>(testing::small_scheduler(),
                                 {testing::agent(0),
                                  testing::agent(1, 3, 1),
                                  task::ReportAgent{0, 100, 200, 600'000, 900'000, ms(2)},
                                  testing::work(1),
                                  twice,
                                  task::Assign{1, 0},
                                  task::Start{1, 1},
                                  task::Progress{1, 1},
                                  task::Complete{1, 1, 7},
                                  task::Claim{1, 2},
                                  task::Start{2, 2},
                                  task::Fail{2, 2, false},
                                  testing::work(3),
                                  task::Assign{3, 0},
                                  task::Steal{0, 1, 1},
                                  task::Reassign{3, 0},
                                  task::GiveBack{3, 5},
                                  task::Restrain{2, true, false},
                                  testing::work(4),
                                  task::HoldAgent{1, true},
                                  task::Cancel{4},
                                  task::SetStrategy{"round-robin"},
                                  task::SetRoutable{0, false},
                                  task::StationClosed{2},
                                  task::RemoveAgent{1}}),
            492043429732705850U);
}

TEST(TaskBytes, OfADependencyGraphStand) {
  DependencyGraphConfig config;
  config.tasks_max = 16;
  config.edges_max = 32;
  EXPECT_EQ(
      story<DependencyGraph>(
          config, {graph::AddTask{1, {}, 2, 0}, graph::AddTask{2, {1, 9}, 0, 1},
                   graph::AddTask{3, {2}, 0, 0}, graph::AddDependencies{3, {1}},
                   graph::Spawn{1, {4, {}, 1, 0}}, graph::MarkCompleted{4}, graph::MarkCompleted{1},
                   graph::MarkFailed{2, FailurePolicy::as_configured}, graph::AddTask{5, {3}, 0, 0},
                   graph::Remove{5}}),
      17558864696887242702U);
}

TEST(TaskBytes, OfAnEventBusStand) {
  EventBusConfig config;
  config.records_max = 4;
  config.names_max = 2;
  EXPECT_EQ(story<EventBus>(
                config, {event::Emit{EventName::task_created, Severity::info, 1, 2, 3, 4, "one"},
                         event::Emit{EventName::task_dead, Severity::error, 1, 2, 3, 4, {}},
                         event::Emit{EventName::none, Severity::info, 1, 2, 3, 4, {}}}),
            16268230113296491735U);
}

TEST(TaskBytes, OfAResourceManagerStand) {
  ResourceManagerConfig config;
  config.agents_max = 6;
  config.resources_max = 8;
  config.holdings_max = 16;
  resource::Acquire one;
  one.agent = 1;
  one.resource = "r";
  one.station = 2;
  resource::Acquire other = one;
  other.agent = 2;
  EXPECT_EQ(story<ResourceManager>(config, {one, other, resource::Renew{1, "r"},
                                            resource::AcquireAll{3, {"b", "a"}, 1, ms(50), 1},
                                            resource::Release{1, "r"}, resource::ReleaseAll{3},
                                            resource::StationClosed{2}}),
            3946372300189686676U);
}

TEST(TaskBytes, OfWorkStealingStand) {
  WorkStealingConfig config;
  config.agents_max = 4;
  config.lifelines = 2;
  EXPECT_EQ(story<WorkStealing>(config, {stealing::Report{0, 9, 1, 1}, stealing::Report{1, 0, 1, 1},
                                         stealing::Report{3, 0, 2, 1}, stealing::Leave{3},
                                         stealing::Enable{false}}),
            4774649719592192428U);
}

TEST(TaskBytes, OfAMetricStoreStand) {
  MetricStoreConfig config;
  config.metrics_max = 4;
  config.histograms_max = 1;
  config.columns_max = 2;
  config.seconds_kept = 11;
  config.standard = false;
  EXPECT_EQ(story<MetricStore>(
                config, {metric::Define{"c", MetricKind::counter, {"1", "t", "x"}},
                         metric::Define{"h", MetricKind::histogram, {}},
                         metric::Define{"g", MetricKind::gauge, {}}, metric::Add{0, 5},
                         metric::Set{2, -7}, metric::Observe{1, ms(3), 77}, metric::Report{1, 0, 9},
                         metric::Report{2, 0, 4}, metric::Merge{1, {{40, 2}, {7, 1}}, 99},
                         metric::Adopt{0, 100}, metric::WriterGone{1}, metric::Add{9, 1}}),
            3818090031886801520U);
}

TEST(TaskBytes, OfACoordinationManagerStand) {
  resource::Acquire lock;
  lock.agent = 1;
  lock.resource = "r";
  CoordinationManager manager(testing::small_coordination(), 7);
  StateWriter all;
  const std::vector<CoordinationCommand> commands{
      testing::agent(1),
      resident(0),
      resident(1),
      manage::AssignTask{testing::work(5), 1},
      lock,
      letter(0, 1, 3),
      message::Poll{1, 1},
      stealing::Report{1, 2, 0, 0},
      graph::AddTask{4, {3}, 1, 0},
      metric::Add{2, 1},
      event::Emit{EventName::system_freeze, Severity::info, 1, 2, 3, 4, "why"},
      manage::ObserveAgents{29, 100},
      manage::ObserveSector{1, false},
      manage::Confirm{2},
      manage::StationClosed{2},
      manage::AgentGone{0},
      manage::Shutdown{}};
  Nanos now{0};
  for (const CoordinationCommand& command : commands) {
    now += ms(400);
    StateWriter one;
    CoordinationManager::encode(command, one);
    StateReader reader(one.bytes());
    StateWriter again;
    CoordinationManager::encode(CoordinationManager::decode_command(reader), again);
    EXPECT_TRUE(reader.finish("command"));
    EXPECT_EQ(checksum(again.bytes()), checksum(one.bytes()));
    all.append(one.bytes());
    StateWriter reply;
    CoordinationManager::encode(manager.apply(command, now), reply);
    all.append(reply.bytes());
    testing::ticked(manager, now);
  }
  all.append(manager.snapshot().bytes);
  EXPECT_EQ(checksum(all.bytes()), 9403139428648970129U);
}

}  // namespace of_task_bytes_test
}  // namespace mesh::tasks
