// CoordinationManager: modes, health, attached work, shutdown.
#include <stdexcept>

#include "tests/engine/tasks/coordination_kit.hpp"

namespace mesh::tasks {
namespace of_coordination_rules_test {

using testing::letter;
using testing::manager_of;
using testing::ticked;
using testing::work;

constexpr Nanos s(std::int64_t count) { return Nanos{count * kNsPerSecond}; }
constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

CoordinationConfig small_manager() { return testing::small_coordination(); }

// --- modes ---------------------------------------------------------------------------------------

CoordinationManager degraded(std::uint32_t active, const CoordinationConfig& config) {
  auto manager = manager_of(config);
  manager.apply(manage::ObserveAgents{active, 100}, Nanos{0});
  manager.apply(manage::ObserveAgents{active, 100}, s(3));
  return manager;
}
CoordinationManager degraded(std::uint32_t active) { return degraded(active, small_manager()); }
// So many are active from now on, and for as long as a mode takes to be left.
void recover(CoordinationManager& manager, std::uint32_t active, Nanos now) {
  manager.apply(manage::ObserveAgents{active, 100}, now);
  manager.apply(manage::ObserveAgents{active, 100}, now + s(10));
}
Errc sent_with(CoordinationManager& manager, std::uint32_t priority) {
  return manager.apply(letter(0, 1, 0, priority), s(3)).code;
}
Errc submitted_with(CoordinationManager& manager, std::uint64_t id, std::int32_t priority) {
  return manager.apply(work(id, {}, priority), s(3)).code;
}
std::vector<std::uint64_t> polled(CoordinationManager& manager, Nanos now) {
  return testing::payloads(manager.apply(message::Poll{1, 8}, now).message);
}
// How long its first failure keeps a task back, and a refusal a message, with the same seed.
std::pair<Nanos, Nanos> retries_of(CoordinationManager& manager) {
  const auto assigned = manager.apply(manage::AssignTask{work(1, {}, 3), 1}, s(3)).task;
  manager.apply(task::Start{1, assigned.fence}, s(3));
  const Nanos task = manager.apply(task::Fail{1, assigned.fence}, s(3)).task.retry_after;
  const auto sent = manager.apply(letter(0, 1, 0, 3), s(3)).message.id.number;
  manager.apply(message::Poll{1, 1}, s(3));
  return {task, manager.apply(message::Nack{1, sent}, s(3)).message.retry_after};
}

TEST(CoordinationManager, FullRefusesNothing) {
  auto full = degraded(95);
  EXPECT_EQ(full.mode(), MeshMode::full);
  for (std::uint32_t priority = 0; priority < 4; ++priority) {
    EXPECT_EQ(sent_with(full, priority), Errc::ok);
    EXPECT_EQ(submitted_with(full, priority + 1, static_cast<std::int32_t>(priority)), Errc::ok);
  }
  EXPECT_EQ(polled(full, s(3)).size(), 4U);
  EXPECT_EQ(ticked(full, s(3)).assigned.size(), 4U);
}

TEST(CoordinationManager, LightRefusesTheBackgroundAndDoublesRetryTimeouts) {
  auto light = degraded(94);
  EXPECT_EQ(sent_with(light, 0), Errc::background_refused);
  EXPECT_EQ(sent_with(light, 1), Errc::ok);
  EXPECT_EQ(submitted_with(light, 1, 0), Errc::background_refused);
  EXPECT_EQ(submitted_with(light, 9, 1), Errc::ok);
  EXPECT_EQ(polled(light, s(3)).size(), 1U);
  auto full = degraded(95);
  light = degraded(94);
  const auto once = retries_of(full);
  const auto twice = retries_of(light);
  EXPECT_GT(once.first, Nanos{0});
  EXPECT_GT(once.second, Nanos{0});
  EXPECT_NEAR(static_cast<double>(twice.first.count()), 2 * static_cast<double>(once.first.count()),
              2);
  EXPECT_NEAR(static_cast<double>(twice.second.count()),
              2 * static_cast<double>(once.second.count()), 2);
}

TEST(CoordinationManager, ModerateQueuesMessagesBelowHighUntilTheMeshIsBetter) {
  auto moderate = degraded(79);
  EXPECT_EQ(sent_with(moderate, 0), Errc::background_refused);
  const auto kept = moderate.apply(letter(0, 1, 1, 1), s(3));
  EXPECT_EQ(kept.code, Errc::ok);
  EXPECT_EQ(kept.message.parked, 1U);
  EXPECT_EQ(moderate.messages().view(kept.message.id.number).state, MessageState::parked);
  moderate.apply(letter(0, 1, 2, 1), s(3));
  EXPECT_EQ(moderate.apply(letter(0, 1, 3, 2), s(3)).message.parked, 0U);
  EXPECT_EQ(polled(moderate, s(4)), (std::vector<std::uint64_t>{3}));
  EXPECT_TRUE(moderate.verify());
  recover(moderate, 85, s(5));
  EXPECT_EQ(moderate.mode(), MeshMode::degraded_light);
  EXPECT_EQ(polled(moderate, s(15)), (std::vector<std::uint64_t>{1, 2}));
  EXPECT_TRUE(moderate.verify());
}

TEST(CoordinationManager, ModerateQueuesTasksBelowHighUntilTheMeshIsBetter) {
  auto moderate = degraded(79);
  const auto kept = moderate.apply(manage::AssignTask{work(1, {}, 1), 1}, s(3));
  EXPECT_EQ(kept.code, Errc::ok);
  EXPECT_EQ(kept.refusal, Refusal::would_block);
  EXPECT_EQ(kept.task.state, TaskState::ready);
  EXPECT_TRUE(moderate.tasks().view(1).parked);
  EXPECT_EQ(submitted_with(moderate, 2, 2), Errc::ok);
  const auto begun = ticked(moderate, s(4)).assigned;
  ASSERT_EQ(begun.size(), 1U);
  EXPECT_EQ(begun[0].id, 2U);
  moderate.apply(task::Start{2, begun[0].fence}, s(4));
  moderate.apply(task::Complete{2, begun[0].fence, 0}, s(4));
  EXPECT_TRUE(ticked(moderate, s(300)).assigned.empty()) << "however long it waits";
  recover(moderate, 85, s(301));
  const auto later = ticked(moderate, s(311)).assigned;
  ASSERT_EQ(later.size(), 1U);
  EXPECT_EQ(later[0].id, 1U);
}

TEST(CoordinationManager, WhatModerateQueuesIsBounded) {
  auto config = small_manager();
  config.messages.parked_max = 2;
  auto moderate = degraded(79, config);
  EXPECT_EQ(moderate.apply(letter(0, 1, 1, 1), s(3)).message.parked, 1U);
  EXPECT_EQ(moderate.apply(letter(0, 2, 2, 1), s(3)).message.parked, 1U);
  const auto third = moderate.apply(letter(0, 1, 3, 1), s(3));
  EXPECT_EQ(third.refusal, Refusal::rejected_pressure);
  EXPECT_EQ(moderate.messages().parked(), 2U);
  for (std::uint64_t id = 1; id <= config.tasks.tasks_max; ++id) {
    ASSERT_EQ(submitted_with(moderate, id, 1), Errc::ok);
  }
  EXPECT_EQ(submitted_with(moderate, 99, 1), Errc::capacity);
}

TEST(CoordinationManager, ModerateKeepsNoAnswerBack) {
  auto moderate = degraded(79);
  const auto asked = moderate.apply(message::Request{letter(0, 1, 7, 2)}, s(3));
  EXPECT_EQ(polled(moderate, s(3)), (std::vector<std::uint64_t>{7}));
  auto answer = letter(1, 0, 8, 1);
  answer.correlation = asked.message.id.number;
  EXPECT_EQ(moderate.apply(message::Respond{answer}, s(3)).message.parked, 0U);
  EXPECT_EQ(testing::payloads(moderate.apply(message::Poll{0, 8}, s(3)).message),
            (std::vector<std::uint64_t>{8}));
}

TEST(CoordinationManager, ModerateGoesToHealthySectorsOnly) {  // agents 0 and 2 are of sector 0
  auto moderate = degraded(79);
  ASSERT_EQ(moderate.apply(manage::ObserveSector{9, false}, s(3)).code, Errc::invalid_argument);
  moderate.apply(manage::ObserveSector{1, false}, s(3));
  EXPECT_EQ(moderate.apply(letter(0, 1, 0, 3), s(3)).code, Errc::sector_degraded);
  EXPECT_EQ(moderate.apply(letter(0, 2, 0, 3), s(3)).code, Errc::ok);
  EXPECT_EQ(moderate.apply(manage::AssignTask{work(1, {}, 3), 1}, s(3)).code,
            Errc::sector_degraded);
  for (std::uint64_t id = 1; id <= 6; ++id) submitted_with(moderate, id, 3);
  for (const auto& one : ticked(moderate, s(3)).assigned) EXPECT_NE(one.agent, 1U);
  EXPECT_EQ(moderate.tasks().load(1).queued, 0U);
  moderate.apply(manage::ObserveSector{1, true}, s(4));
  EXPECT_EQ(moderate.apply(letter(0, 1, 0, 3), s(4)).code, Errc::ok);
  EXPECT_FALSE(moderate.tasks().load(1).held);
}

TEST(CoordinationManager, LightGoesToAnySector) {
  auto light = degraded(85);
  light.apply(manage::ObserveSector{1, false}, s(3));
  EXPECT_EQ(sent_with(light, 1), Errc::ok);
  EXPECT_FALSE(light.tasks().load(1).held);
}

TEST(CoordinationManager, ModerateScattersToAThousandAtMost) {
  auto config = small_manager();
  config.messages.agents_max = 1'001;
  auto moderate = degraded(79, config);
  std::vector<std::uint32_t> targets(1'001, 1);
  EXPECT_EQ(moderate.apply(message::ScatterGather{0, targets, 7}, s(3)).code, Errc::too_wide);
  targets.pop_back();
  EXPECT_EQ(moderate.apply(message::ScatterGather{0, targets, 7}, s(3)).code, Errc::ok);
}

TEST(CoordinationManager, SevereTakesCriticalOnlyAndKeepsWhatIsQueued) {
  auto manager = degraded(79);
  manager.apply(letter(0, 1, 1, 1), s(3));
  manager.apply(manage::ObserveAgents{59, 100}, s(4));
  manager.apply(manage::ObserveAgents{59, 100}, s(7));
  EXPECT_EQ(manager.mode(), MeshMode::degraded_severe);
  EXPECT_EQ(sent_with(manager, 2), Errc::critical_only);
  EXPECT_EQ(submitted_with(manager, 1, 2), Errc::critical_only);
  EXPECT_EQ(sent_with(manager, 3), Errc::ok);
  EXPECT_EQ(submitted_with(manager, 1, 3), Errc::ok);
  EXPECT_EQ(manager.messages().parked(), 1U);
}

TEST(CoordinationManager, EmergencyStopsWhatHappensByItselfAndAsksForItsStateToBeSaved) {
  auto manager = degraded(95);
  for (std::uint64_t id = 1; id <= 5; ++id) manager.apply(work(id), s(3));
  manager.apply(manage::AssignTask{work(6), 0}, s(3));
  manager.apply(manage::ObserveAgents{29, 100}, s(3));
  manager.apply(manage::ObserveAgents{29, 100}, s(6));
  ASSERT_EQ(manager.mode(), MeshMode::emergency);
  EXPECT_EQ(sent_with(manager, 3), Errc::automatic_stopped);
  EXPECT_EQ(submitted_with(manager, 9, 3), Errc::automatic_stopped);
  EXPECT_EQ(manager.counters().held_off, 2U);
  EXPECT_EQ(manager.apply(message::Poll{1, 1}, s(6)).code, Errc::ok) << "what is there ends";
  const auto& records = manager.bus().records();
  EXPECT_EQ(records.at(records.last_sequence()).severity, Severity::error);
  const auto first = ticked(manager, s(6));
  EXPECT_TRUE(first.assigned.empty());
  EXPECT_TRUE(first.snapshot_due);
  EXPECT_GT(first.next_tick, s(6));
  EXPECT_FALSE(ticked(manager, s(7)).snapshot_due) << "once";
  EXPECT_TRUE(manager.apply(task::Claim{1, 3}, s(7)).task.assigned.empty());
  EXPECT_EQ(manager.apply(task::Assign{1, 1}, s(7)).task.state, TaskState::assigned)
      << "by hand it may";
  recover(manager, 100, s(8));
  EXPECT_EQ(ticked(manager, s(18)).assigned.size(), 4U);
}

TEST(CoordinationManager, WhatGoesToAllIsConfirmedByTheOperatorOnce) {
  auto severe = degraded(59);
  const message::Broadcast all{letter(0, 0, 0, 3), message::Scope::all};
  EXPECT_EQ(severe.apply(all, s(3)).code, Errc::needs_confirmation);
  severe.apply(manage::Confirm{1}, s(3));
  EXPECT_EQ(severe.apply(all, s(3)).code, Errc::ok);
  EXPECT_EQ(severe.apply(all, s(3)).code, Errc::needs_confirmation);
  auto moderate = degraded(79);
  EXPECT_EQ(moderate.apply(all, s(3)).code, Errc::too_wide);
}

TEST(CoordinationManager, AModeIsAnEventAndAWord) {
  auto manager = degraded(94);
  EXPECT_EQ(manager.mode_word(), 3'000U << 8 | 1U);
  EXPECT_EQ(manager.bus().records().at(manager.bus().records().last_sequence()).kind,
            static_cast<std::uint16_t>(EventName::system_mode_changed));
}

// --- health --------------------------------------------------------------------------------------

TEST(CoordinationManager, HealthIsMeasured) {
  auto manager = manager_of(small_manager());
  ticked(manager, s(1));
  auto report = manager.health(s(1));
  EXPECT_TRUE(report.healthy);
  ASSERT_EQ(report.services.size(), 7U);
  EXPECT_EQ(report.services[0].service, "tasks");
  EXPECT_EQ(report.services[0].commands, 3U);
  report = manager.health(ms(2'500));
  EXPECT_FALSE(report.healthy);
  EXPECT_EQ(report.services[0].status, HealthStatus::late);
  EXPECT_EQ(report.services[0].reason, "no tick for 1500 ms");
  EXPECT_EQ(report.services[0].tick_age, ms(1'500));
  for (std::uint64_t id = 1; id <= 11; ++id) manager.apply(work(id), s(3));
  ticked(manager, s(3));
  report = manager.health(s(3));
  EXPECT_TRUE(report.healthy);
  EXPECT_EQ(report.services[0].status, HealthStatus::saturated);
  EXPECT_EQ(report.services[0].full_ppm, 916'666U);
}

// --- attached work -------------------------------------------------------------------------------

TEST(CoordinationManager, SlowWorkDelaysOthersByItsLimitOnAverage) {
  auto config = small_manager();
  config.step_limit = 100;
  CoordinationManager manager(config, 1);
  std::uint64_t delayed = 0;
  std::uint64_t runs = 0;
  ASSERT_TRUE(manager.attach(MaintenanceStep::breakers, "slow", [&](Nanos, std::uint64_t) {
    delayed += 950;
    return std::uint64_t{950};
  }));
  ASSERT_TRUE(manager.attach(MaintenanceStep::gossip, "quick", [&](Nanos, std::uint64_t limit) {
    ++runs;
    return limit;
  }));
  for (std::int64_t i = 0; i < 1'000; ++i) ticked(manager, ms(i));
  EXPECT_EQ(runs, 1'000U) << "whoever keeps to its limit is never left out";
  EXPECT_LE(delayed, 1'000U * 100);
  const auto steps = manager.health(s(1)).steps;
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[0].name, "slow");
  EXPECT_EQ(steps[0].runs, 100U);
  EXPECT_EQ(steps[0].overruns, 100U);
  EXPECT_EQ(steps[0].left_out, 900U);
}

TEST(CoordinationManager, AServiceDoesABoundedAmountATick) {
  auto config = small_manager();
  config.tasks.dispatch_max = 3;
  auto manager = manager_of(config);
  for (std::uint64_t id = 1; id <= 10; ++id) manager.apply(work(id), ms(1));
  EXPECT_EQ(ticked(manager, ms(2)).assigned.size(), 3U);
  EXPECT_EQ(ticked(manager, ms(3)).assigned.size(), 3U);
}

TEST(CoordinationManager, AttachedWorkThatThrowsIsCounted) {
  auto config = small_manager();
  config.steps_max = 1;
  CoordinationManager manager(config, 1);
  const auto bad = [](Nanos, std::uint64_t) -> std::uint64_t { throw std::runtime_error("no"); };
  EXPECT_EQ(manager.attach(MaintenanceStep::clock, "", bad).error().code, Errc::invalid_id);
  ASSERT_TRUE(manager.attach(MaintenanceStep::clock, "bad", bad));
  EXPECT_EQ(manager.attach(MaintenanceStep::clock, "bad", bad).error().code, Errc::already_exists);
  EXPECT_EQ(manager.attach(MaintenanceStep::clock, "more", bad).error().code, Errc::capacity);
  ticked(manager, ms(1));
  EXPECT_EQ(manager.health(ms(1)).steps.at(0).failed, 1U);
  EXPECT_TRUE(manager.detach("bad"));
  EXPECT_EQ(manager.detach("bad").error().code, Errc::not_found);
}

// --- shutdown ------------------------------------------------------------------------------------

TEST(CoordinationManager, ShutdownWaitsForWhatIsOnItsWayAndThenIsClosed) {
  auto manager = manager_of(small_manager());
  const auto assigned = manager.apply(manage::AssignTask{work(1), 1}, s(1));
  EXPECT_EQ(manager.apply(manage::Shutdown{}, s(1)).state, ManagerState::draining);
  EXPECT_EQ(manager.apply(letter(0, 1), s(1)).code, Errc::closed);
  EXPECT_EQ(manager.apply(work(2), s(1)).code, Errc::closed);
  EXPECT_FALSE(ticked(manager, s(2)).closed);
  const std::uint64_t fence = assigned.task.fence;
  EXPECT_EQ(manager.apply(task::Start{1, fence}, s(2)).code, Errc::ok);
  EXPECT_EQ(manager.apply(task::Complete{1, fence, 0}, s(2)).code, Errc::ok);
  const auto last = ticked(manager, s(3));
  EXPECT_TRUE(last.closed);
  EXPECT_TRUE(last.snapshot_due);
  EXPECT_EQ(last.next_tick, Nanos{INT64_MAX}) << "no timer is left";
  const auto hash = manager.state_hash();
  const auto after = ticked(manager, s(99));
  EXPECT_TRUE(after.closed);
  EXPECT_FALSE(after.snapshot_due) << "once";
  EXPECT_EQ(manager.state_hash(), hash) << "nothing happens any more";
  EXPECT_EQ(manager.apply(message::Poll{1, 1}, s(99)).code, Errc::closed);
  EXPECT_EQ(manager.apply(manage::Shutdown{}, s(99)).code, Errc::ok) << "idempotent";
  EXPECT_EQ(manager.health(s(99)).services.at(0).status, HealthStatus::closed);
  EXPECT_TRUE(manager.verify());
}

TEST(CoordinationManager, ShutdownDoesNotWaitForEver) {
  auto manager = manager_of(small_manager());
  manager.apply(letter(0, 1), s(1));
  manager.apply(manage::Shutdown{}, s(1));
  manager.apply(manage::Shutdown{}, s(5));
  EXPECT_LE(ticked(manager, s(5)).next_tick, s(11));
  EXPECT_FALSE(ticked(manager, ms(10'999)).closed);
  EXPECT_TRUE(ticked(manager, s(11)).closed);
  EXPECT_EQ(manager.on_its_way(), 1U) << "it stands in the snapshot";
}

}  // namespace of_coordination_rules_test
}  // namespace mesh::tasks
