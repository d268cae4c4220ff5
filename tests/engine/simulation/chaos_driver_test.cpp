// Each fault acts on the simulated mesh, and is seen to; what cannot be done is refused.
#include <gtest/gtest.h>

#include "engine/simulation/chaos_mesh.hpp"
#include "engine/simulation/chaos_scenarios.hpp"
#include "engine/simulation/sim_driver.hpp"
#include "tests/seed.hpp"

namespace mesh::engine::simulation {
namespace of_chaos_driver_test {

using coordination::ChaosOrder;
using coordination::FaultType;
using coordination::FaultVariant;

constexpr std::int64_t kSecond = kNsPerSecond;

ChaosMeshOptions small() {
  ChaosMeshOptions options;
  options.agents = 10;
  return options;
}
ChaosOrder order_of(FaultType type, std::int64_t lasts_ns = 3'600 * kSecond) {
  ChaosOrder order;
  order.injection = 1;
  order.type = type;
  order.ends = Nanos{lasts_ns};
  order.expires = Nanos{lasts_ns};
  return order;
}
std::vector<std::uint32_t> everybody() { return {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}; }

// Ten agents that are asked for ten seconds, with a fault or without.
struct Seen {
  ChaosPeriod period;
  double availability = 0;
  std::int64_t clock_error_ns = 0;
};
Seen ten_seconds(ChaosMeshOptions options, const ChaosOrder* order,
                 const std::vector<std::uint32_t>& targets = everybody()) {
  auto mesh = ChaosMesh::create(options).value();
  EXPECT_TRUE(mesh->run_until(2 * kSecond));
  static_cast<void>(mesh->take_period());
  if (order != nullptr) {
    EXPECT_EQ(name_of(mesh->inject(*order, targets)), "ok");
  }
  EXPECT_TRUE(mesh->run_until(12 * kSecond));
  const auto sound = mesh->verify();
  EXPECT_TRUE(sound) << sound.error().sentence;
  return {mesh->take_period(), mesh->availability(), mesh->clock_error_ns()};
}
double latency_ms(const ChaosPeriod& period) {
  return static_cast<double>(period.latency_ns) / 1e6 / static_cast<double>(period.succeeded);
}

TEST(ChaosMesh, WithoutFaultsEveryRequestSucceedsAtItsFirstAttempt) {
  const Seen seen = ten_seconds(small(), nullptr);
  EXPECT_NEAR(static_cast<double>(seen.period.finished), 200, 2);  // one each 50 ms
  EXPECT_EQ(seen.period.succeeded, seen.period.finished);
  EXPECT_EQ(seen.period.attempts_failed, 0U);
  EXPECT_EQ(seen.period.duplicates + seen.period.corrupt + seen.period.lost, 0U);
  EXPECT_EQ(seen.availability, 1);
  EXPECT_LT(latency_ms(seen.period), 100);
}

TEST(ChaosMesh, ALatencySpikeMakesAnswersLater) {
  ChaosOrder order = order_of(FaultType::latency_spike);
  const double plain = latency_ms(ten_seconds(small(), nullptr).period);
  const double spiked = latency_ms(ten_seconds(small(), &order).period);
  EXPECT_GT(spiked - plain, 200 * 0.9);
  EXPECT_LT(spiked - plain, 260);  // 200, and 25 in the mean
}

TEST(ChaosMesh, LostPacketsFailAttempts) {
  ChaosOrder order = order_of(FaultType::packet_loss);
  order.params.rate_ppm = 200'000;
  auto options = small();
  options.guards.breakers = false;
  const ChaosPeriod period = ten_seconds(options, &order).period;
  const double share =
      static_cast<double>(period.attempts_failed) / static_cast<double>(period.attempts);
  EXPECT_NEAR(share, 0.2, 0.09);  // 250 attempts: three deviations are 0.076
}

TEST(ChaosMesh, DuplicatesAreDoneTwiceWhereNothingKnowsThem) {
  ChaosOrder order = order_of(FaultType::duplicate);
  order.params.rate_ppm = 1'000'000;
  EXPECT_EQ(ten_seconds(small(), &order).period.duplicates, 0U);
  auto options = small();
  options.guards.dedup = false;
  const ChaosPeriod period = ten_seconds(options, &order).period;
  EXPECT_NEAR(static_cast<double>(period.duplicates), static_cast<double>(period.finished), 4);
}

TEST(ChaosMesh, ReorderedMessagesAreDoneAfterLaterOnes) {
  auto options = small();
  options.request_every = Nanos{10 * kNsPerMs};  // several of an agent are under way at a time
  ChaosOrder order = order_of(FaultType::reorder);
  order.params.jitter = Nanos{400 * kNsPerMs};
  options.slots = 64;
  const std::uint64_t plain = ten_seconds(options, nullptr).period.reordered;
  EXPECT_GT(ten_seconds(options, &order).period.reordered, 5 * (plain + 1));
}

TEST(ChaosMesh, CorruptedMessagesAreRefusedOrDoneByWhoDoesNotLook) {
  ChaosOrder order = order_of(FaultType::message_corruption);
  order.params.rate_ppm = 300'000;
  const ChaosPeriod checked = ten_seconds(small(), &order).period;
  EXPECT_EQ(checked.corrupt, 0U);
  EXPECT_GT(checked.conflicts, 10U);
  auto options = small();
  options.guards.checks = false;
  const ChaosPeriod unchecked = ten_seconds(options, &order).period;
  EXPECT_GT(unchecked.corrupt, 10U);
  EXPECT_EQ(unchecked.conflicts, 0U);
}

// Thirty seconds after its agents died a cluster is probed, and lets one message in ten pass.
ChaosPeriod while_half_open(bool heeds_breakers) {
  ChaosMeshOptions options;
  options.agents = 60;
  options.seed = mesh::testing::seed();
  options.guards.breakers = heeds_breakers;
  auto mesh = ChaosMesh::create(options).value();
  EXPECT_TRUE(mesh->run_until(2 * kSecond));
  std::vector<std::uint32_t> cluster;
  for (std::uint32_t agent = 0; agent < mesh->agents(); ++agent) {
    if (mesh->mesh().cluster(agent) == 1) cluster.push_back(agent);
  }
  EXPECT_EQ(cluster.size(), 30U);
  EXPECT_EQ(mesh->inject(order_of(FaultType::agent_crash), cluster), Errc::ok);
  EXPECT_TRUE(mesh->run_until(12 * kSecond));
  EXPECT_TRUE(mesh->undo(1));
  EXPECT_TRUE(mesh->run_until(40 * kSecond));
  const auto& view = mesh->mesh().view();
  EXPECT_EQ(coordination::BreakerView::state_of(view.breaker(view.place_of_cluster(1))->word),
            coordination::BreakerState::half_open);
  static_cast<void>(mesh->take_period());
  EXPECT_TRUE(mesh->run_until(60 * kSecond));
  return mesh->take_period();
}

// A breaker that is half-open is routable, and says no to nine of ten: that is no attempt.
TEST(ChaosMesh, WhoIsRefusedByAHalfOpenBreakerAsksSomebodyElse) {
  const ChaosPeriod period = while_half_open(true);
  EXPECT_GT(period.refused, 50U);  // 400 requests, half of them begin there
  EXPECT_EQ(period.attempts_failed, 0U);
  EXPECT_EQ(period.succeeded, period.finished);
  const ChaosPeriod heedless = while_half_open(false);
  EXPECT_EQ(heedless.refused, 0U);
  EXPECT_GT(heedless.attempts_failed, 50U);
}

TEST(ChaosMesh, ACrashedAgentIsReallyGoneAndReallyComesBack) {
  auto mesh = ChaosMesh::create(small()).value();
  ASSERT_TRUE(mesh->run_until(2 * kSecond));
  const std::uint32_t epoch = mesh->mesh().epoch(3);
  EXPECT_EQ(mesh->inject(order_of(FaultType::agent_crash), std::vector<std::uint32_t>{3}),
            Errc::ok);
  ASSERT_TRUE(mesh->run_until(3 * kSecond));
  EXPECT_EQ(mesh->mesh().station(3), nullptr);
  EXPECT_EQ(mesh->mesh().loop().agents_active(), 9U);
  EXPECT_FALSE(mesh->works(3));
  EXPECT_DOUBLE_EQ(mesh->availability(), 0.9);
  ASSERT_TRUE(mesh->undo(1));
  EXPECT_TRUE(mesh->is_gone(1));
  ASSERT_TRUE(mesh->run_until(4 * kSecond));
  EXPECT_NE(mesh->mesh().station(3), nullptr);
  EXPECT_EQ(mesh->mesh().epoch(3), epoch + 1);
  EXPECT_EQ(mesh->mesh().loop().agents_active(), 10U);
  EXPECT_TRUE(mesh->works(3));
}

TEST(ChaosMesh, ACrashedAgentIsStartedAgainAfterItsTime) {
  auto mesh = ChaosMesh::create(small()).value();
  ASSERT_TRUE(mesh->run_until(2 * kSecond));
  ChaosOrder order = order_of(FaultType::agent_crash);
  order.params.restart_after = Nanos{5 * kSecond};
  EXPECT_EQ(mesh->inject(order, std::vector<std::uint32_t>{3}), Errc::ok);
  ASSERT_TRUE(mesh->run_until(6 * kSecond));
  EXPECT_EQ(mesh->mesh().station(3), nullptr);
  ASSERT_TRUE(mesh->run_until(8 * kSecond));
  EXPECT_NE(mesh->mesh().station(3), nullptr);
}

TEST(ChaosMesh, ASlowAgentTakesAsMuchLonger) {
  ChaosOrder order = order_of(FaultType::agent_slowdown);
  const double plain = latency_ms(ten_seconds(small(), nullptr).period);
  const double slow = latency_ms(ten_seconds(small(), &order).period);
  EXPECT_GT(slow, 3.5 * plain);
  EXPECT_LT(slow, 6 * plain);  // queues are longer, too
}

TEST(ChaosMesh, AHungAgentAnswersNothingUntilItGoesOnAndThenWhatWaited) {
  auto options = small();
  options.agents = 1;
  options.attempt_timeout = Nanos{10 * kSecond};
  options.slots = 1'000;
  auto mesh = ChaosMesh::create(options).value();
  ASSERT_TRUE(mesh->run_until(2 * kSecond));
  EXPECT_EQ(mesh->inject(order_of(FaultType::agent_hang), std::vector<std::uint32_t>{0}), Errc::ok);
  ASSERT_TRUE(mesh->run_until(2 * kSecond + 100 * kNsPerMs));
  static_cast<void>(mesh->take_period());
  ASSERT_TRUE(mesh->run_until(4 * kSecond));
  EXPECT_EQ(mesh->take_period().finished, 0U);
  EXPECT_NE(mesh->mesh().station(0), nullptr) << "it hangs, it has not died";
  ASSERT_TRUE(mesh->undo(1));
  ASSERT_TRUE(mesh->run_until(6 * kSecond));
  const ChaosPeriod after = mesh->take_period();
  EXPECT_GT(after.succeeded, 60U) << "40 that waited, and those of two seconds";
  EXPECT_EQ(after.attempts_failed, 0U);
}

TEST(ChaosMesh, APartitionLetsNothingThroughAndOneWayAtLeastTheQuestion) {
  for (const bool is_one_way : {false, true}) {
    auto mesh = ChaosMesh::create(small()).value();
    ASSERT_TRUE(mesh->run_until(2 * kSecond));
    ChaosOrder order = order_of(FaultType::partition);
    order.params.is_one_way = is_one_way;
    // Whether the question came is seen by what is done twice.
    ChaosOrder twice = order_of(FaultType::duplicate);
    twice.injection = 2;
    twice.params.rate_ppm = 1'000'000;
    EXPECT_EQ(mesh->inject(order, everybody()), Errc::ok);
    EXPECT_EQ(mesh->inject(twice, everybody()), Errc::ok);
    ASSERT_TRUE(mesh->run_until(2 * kSecond + 200 * kNsPerMs));
    static_cast<void>(mesh->take_period());
    ASSERT_TRUE(mesh->run_until(12 * kSecond));
    EXPECT_EQ(mesh->take_period().succeeded, 0U) << is_one_way;
  }
  auto options = small();
  options.guards.dedup = false;
  options.guards.breakers = false;
  const auto duplicates_with = [&](bool is_one_way) {
    auto mesh = ChaosMesh::create(options).value();
    ChaosOrder order = order_of(FaultType::partition);
    order.params.is_one_way = is_one_way;
    ChaosOrder twice = order_of(FaultType::duplicate);
    twice.injection = 2;
    twice.params.rate_ppm = 1'000'000;
    EXPECT_EQ(mesh->inject(order, everybody()), Errc::ok);
    EXPECT_EQ(mesh->inject(twice, everybody()), Errc::ok);
    EXPECT_TRUE(mesh->run_until(5 * kSecond));
    return mesh->take_period().duplicates;
  };
  EXPECT_EQ(duplicates_with(false), 0U);
  EXPECT_GT(duplicates_with(true), 20U);
}

TEST(ChaosMesh, WithTheirSlotsTakenRequestsWaitOrAreLost) {
  auto options = small();
  options.slots = 10;
  options.request_every = Nanos{5 * kNsPerMs};
  ChaosOrder order = order_of(FaultType::resource_exhaustion);
  order.params.variant = FaultVariant::pool;
  order.params.fill_ppm = 900'000;
  const ChaosPeriod plain = ten_seconds(options, nullptr).period;
  const ChaosPeriod waits = ten_seconds(options, &order).period;
  EXPECT_EQ(plain.lost, 0U);
  EXPECT_EQ(waits.lost, 0U);
  EXPECT_GT(latency_ms(waits), 5 * latency_ms(plain));
  options.guards.waits = false;
  EXPECT_GT(ten_seconds(options, &order).period.lost, 100U);
}

TEST(ChaosMesh, ASkewedClockIsSlewedAndSetBackWhenItIsUndone) {
  auto mesh = ChaosMesh::create(small()).value();
  ASSERT_TRUE(mesh->run_until(2 * kSecond));
  EXPECT_EQ(mesh->clock_error_ns(), 0);
  ChaosOrder order = order_of(FaultType::clock_skew);
  order.params.offset = Nanos{2 * kNsPerMs};
  EXPECT_EQ(mesh->inject(order, everybody()), Errc::ok);
  ASSERT_TRUE(mesh->run_until(3 * kSecond));
  EXPECT_NEAR(static_cast<double>(mesh->clock_error_ns()), 500'000, 1'000) << "500 ppm of a second";
  ASSERT_TRUE(mesh->run_until(10 * kSecond));
  EXPECT_EQ(mesh->clock_error_ns(), 2 * kNsPerMs);
  ASSERT_TRUE(mesh->undo(1));
  ASSERT_TRUE(mesh->run_until(20 * kSecond));
  EXPECT_EQ(mesh->clock_error_ns(), 0);
}

// The loop itself: it dies where a message has just come so far, and its successor adopts the mesh.
ChaosOrder death_at(LoopStep step) {
  ChaosOrder order = order_of(FaultType::engine_death);
  order.params.count = static_cast<std::uint32_t>(step);
  order.params.restart_after = Nanos{1 * kNsPerSecond};
  return order;
}
class LoopDeath : public ::testing::TestWithParam<LoopStep> {};

TEST_P(LoopDeath, LosesNoMessageAndAnswersNoneTwice) {
  const ChaosOrder order = death_at(GetParam());
  auto mesh = ChaosMesh::create(small()).value();
  ASSERT_TRUE(mesh->run_until(2 * kSecond));
  ASSERT_EQ(mesh->inject(order, everybody()), Errc::ok);
  ASSERT_TRUE(mesh->run_until(2 * kSecond + kSecond / 2));
  EXPECT_FALSE(mesh->mesh().has_engine()) << "it is really gone";
  ASSERT_TRUE(mesh->run_until(4 * kSecond));
  EXPECT_TRUE(mesh->mesh().has_engine()) << "after a second";
  EXPECT_TRUE(mesh->mesh().loop().adoption().adopted);
  ASSERT_TRUE(mesh->run_until(12 * kSecond));
  EXPECT_TRUE(mesh->verify());
  const ChaosPeriod period = mesh->take_period();
  EXPECT_NEAR(static_cast<double>(period.finished), 240, 4);
  EXPECT_EQ(period.succeeded, period.finished);
  EXPECT_EQ(period.twice, 0U);
  EXPECT_EQ(period.unheard, 0U);
  EXPECT_EQ(period.duplicates, 0U);
  EXPECT_GE(period.latency_ns_max, kSecond / 2) << "some waited for it";
}

INSTANTIATE_TEST_SUITE_P(Steps, LoopDeath,
                         ::testing::Values(LoopStep::accepted, LoopStep::delivered, LoopStep::taken,
                                           LoopStep::answered, LoopStep::collected));

// At the last step all that was under way has its answer.
TEST(ChaosMesh, AnEngineThatAdoptsNothingLosesTheMessageWithWhichItDies) {
  auto options = small();
  options.guards.adoption = false;
  for (const LoopStep step :
       {LoopStep::accepted, LoopStep::delivered, LoopStep::taken, LoopStep::answered}) {
    const ChaosOrder order = death_at(step);
    EXPECT_GT(ten_seconds(options, &order).period.unheard, 0U) << static_cast<int>(step);
  }
}

TEST(ChaosMesh, AnAgentThatDiesWhileThereIsNoEngineComesBackToTheNextOne) {
  auto mesh = ChaosMesh::create(small()).value();
  ASSERT_TRUE(mesh->run_until(2 * kSecond));
  ASSERT_EQ(mesh->inject(death_at(LoopStep::accepted), everybody()), Errc::ok);
  ASSERT_TRUE(mesh->run_until(2 * kSecond + kSecond / 5));
  ASSERT_FALSE(mesh->mesh().has_engine());
  ChaosOrder crash = order_of(FaultType::agent_crash);
  crash.injection = 2;
  ASSERT_EQ(mesh->inject(crash, std::vector<std::uint32_t>{3}), Errc::ok);
  ASSERT_TRUE(mesh->undo(2));
  EXPECT_FALSE(mesh->works(3)) << "nobody is there to attach to";
  ASSERT_TRUE(mesh->run_until(20 * kSecond));
  EXPECT_TRUE(mesh->verify());
  ASSERT_TRUE(mesh->undo(1));
  EXPECT_TRUE(mesh->works(3));
  EXPECT_EQ(mesh->take_period().unheard, 0U);
}

TEST(ChaosMesh, ByzantineAgentsAnswerConflict) {
  ChaosOrder order = order_of(FaultType::byzantine_behavior);
  order.params.variant = FaultVariant::flip_vote;
  auto options = small();
  options.guards.breakers = false;
  const ChaosPeriod period = ten_seconds(options, &order, {1, 2, 3}).period;
  EXPECT_GT(period.conflicts, 20U);
  EXPECT_EQ(period.conflicts, period.attempts_failed);
}

TEST(ChaosMesh, RampsUpAndDown) {
  auto options = small();
  auto mesh = ChaosMesh::create(options).value();
  ASSERT_TRUE(mesh->run_until(2 * kSecond));
  static_cast<void>(mesh->take_period());
  ChaosOrder order = order_of(FaultType::latency_spike);
  order.params.jitter = Nanos{0};
  order.ramp_up = Nanos{10 * kSecond};
  order.ramp_down = Nanos{10 * kSecond};
  EXPECT_EQ(mesh->inject(order, everybody()), Errc::ok);
  const auto next_two_seconds = [&] {
    EXPECT_TRUE(mesh->run_until(mesh->now_ns() + 2 * kSecond));
    return latency_ms(mesh->take_period());
  };
  const double first = next_two_seconds();
  ASSERT_TRUE(mesh->run_until(12 * kSecond));
  static_cast<void>(mesh->take_period());
  const double full = next_two_seconds();
  EXPECT_LT(first, 0.4 * full);
  ASSERT_TRUE(mesh->undo(1));
  EXPECT_FALSE(mesh->is_gone(1));
  EXPECT_GT(next_two_seconds(), first);
  ASSERT_TRUE(mesh->run_until(25 * kSecond));
  EXPECT_TRUE(mesh->is_gone(1));
}

TEST(ChaosMesh, LetsEachFaultLapseByItself) {
  auto mesh = ChaosMesh::create(small()).value();
  ASSERT_TRUE(mesh->run_until(2 * kSecond));
  EXPECT_EQ(
      mesh->inject(order_of(FaultType::agent_crash, 5 * kSecond), std::vector<std::uint32_t>{3}),
      Errc::ok);
  ASSERT_TRUE(mesh->run_until(5 * kSecond - 1));
  EXPECT_EQ(mesh->in_force(), 1U);
  ASSERT_TRUE(mesh->run_until(6 * kSecond));
  EXPECT_EQ(mesh->in_force(), 0U);
  EXPECT_TRUE(mesh->works(3));
}

TEST(ChaosMesh, DoesAnOrderOnceHoweverOftenItIsGiven) {
  auto mesh = ChaosMesh::create(small()).value();
  ASSERT_TRUE(mesh->run_until(2 * kSecond));
  const std::vector<std::uint32_t> one{3};
  EXPECT_EQ(mesh->inject(order_of(FaultType::agent_hang), one), Errc::ok);
  EXPECT_EQ(mesh->inject(order_of(FaultType::agent_hang), one), Errc::ok);
  ASSERT_TRUE(mesh->undo(1));
  ASSERT_TRUE(mesh->undo(1));
  ASSERT_TRUE(mesh->run_until(3 * kSecond));
  EXPECT_TRUE(mesh->works(3));
}

TEST(ChaosMesh, RefusesWhatItCannotDo) {
  auto mesh = ChaosMesh::create(small()).value();
  for (const FaultType type : {FaultType::dependency_failure, FaultType::name_resolution_failure,
                               FaultType::credential_expiry, FaultType::station_death,
                               FaultType::resource_exhaustion, FaultType::byzantine_behavior}) {
    EXPECT_EQ(mesh->inject(order_of(type), everybody()), Errc::unsupported) << to_string(type);
  }
  ChaosOrder drift = order_of(FaultType::clock_skew);
  drift.params.drift_ppm = 1;
  EXPECT_EQ(mesh->inject(drift, everybody()), Errc::unsupported);
  EXPECT_EQ(mesh->inject(order_of(FaultType::clock_skew), std::vector<std::uint32_t>{1}),
            Errc::unsupported)
      << "the clock is the host's";
  EXPECT_EQ(mesh->inject(order_of(FaultType::agent_hang), std::vector<std::uint32_t>{10}),
            Errc::invalid_argument);
  EXPECT_EQ(mesh->in_force(), 0U);
}

// --- the example -------------------------------------------------------------------------------

TEST(SimDriver, WhatTheMeshCannotDoIsRefusedInTheReport) {
  auto experiment = scenarios::nothing(1);
  experiment.plan.phases[0].faults.resize(1);
  experiment.plan.phases[0].faults[0].type = FaultType::credential_expiry;
  const auto run = run_experiment(experiment);
  ASSERT_TRUE(run) << run.error().sentence;
  EXPECT_FALSE(run->has_held);
  ASSERT_EQ(run->report.injections.size(), 1U);
  EXPECT_EQ(run->report.injections[0].status, coordination::InjectionStatus::refused);
  EXPECT_EQ(run->report.injections[0].code, Errc::unsupported);
}

TEST(SimDriver, AnAgentThatIsTheOnlyOneIsMissed) {
  auto experiment = scenarios::single_agent_crash(0, 7);
  experiment.mesh.agents = 1;
  experiment.mesh.guards.retries = false;
  const auto run = run_experiment(experiment);
  ASSERT_TRUE(run) << run.error().sentence;
  EXPECT_FALSE(run->has_held);
  EXPECT_EQ(run->report.injections.at(0).status, coordination::InjectionStatus::undone);
  const auto died = std::count_if(run->log.begin(), run->log.end(), [](const auto& entry) {
    return entry.kind == ChaosLogKind::died;
  });
  EXPECT_EQ(died, 1);
}

TEST(SimDriver, RefusesAPlanThatIsNone) {
  auto experiment = scenarios::nothing(1);
  experiment.plan.hypothesis.assertions.clear();
  const auto run = run_experiment(experiment);
  ASSERT_FALSE(run);
  EXPECT_EQ(run.error().code, Errc::invalid_config);
}

}  // namespace of_chaos_driver_test
}  // namespace mesh::engine::simulation
