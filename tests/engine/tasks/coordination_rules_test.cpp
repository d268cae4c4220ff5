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

CoordinationManager degraded(std::uint32_t active) {
  auto manager = manager_of(small_manager());
  manager.apply(manage::ObserveAgents{active, 100}, Nanos{0});
  manager.apply(manage::ObserveAgents{active, 100}, s(3));
  return manager;
}
Errc sent_with(CoordinationManager& manager, std::uint32_t priority) {
  return manager.apply(letter(0, 1, 0, priority), s(3)).code;
}

TEST(CoordinationManager, AModeIsEnforcedAtAdmission) {
  auto light = degraded(94);
  EXPECT_EQ(sent_with(light, 0), Errc::background_refused);
  EXPECT_EQ(sent_with(light, 1), Errc::ok);
  EXPECT_EQ(light.apply(work(1, {}, 0), s(3)).code, Errc::background_refused);
  auto moderate = degraded(79);
  EXPECT_EQ(sent_with(moderate, 1), Errc::priority_too_low);
  EXPECT_EQ(sent_with(moderate, 2), Errc::ok);
  EXPECT_EQ(moderate.apply(manage::AssignTask{work(1, {}, 1), 1}, s(3)).code,
            Errc::priority_too_low);
  auto severe = degraded(59);
  EXPECT_EQ(sent_with(severe, 2), Errc::critical_only);
  EXPECT_EQ(sent_with(severe, 3), Errc::ok);
  auto emergency = degraded(29);
  EXPECT_EQ(sent_with(emergency, 3), Errc::automatic_stopped);
  EXPECT_EQ(emergency.counters().held_off, 1U);
  EXPECT_EQ(emergency.apply(message::Poll{1, 1}, s(3)).code, Errc::ok) << "what is there ends";
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
