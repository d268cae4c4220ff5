// Every preset and factory of the market, the locks and the harness, each value that sets it apart
// by its number. Those of views and gossip stand with their rooms.
#include <string_view>

#include <gtest/gtest.h>

#include "engine/coordination/chaos_harness.hpp"
#include "engine/coordination/contention_arbiter.hpp"
#include "engine/coordination/lock_manager.hpp"
#include "engine/coordination/resource_pool.hpp"
#include "engine/coordination/task_auction.hpp"
#include "engine/coordination/token_economy.hpp"

namespace mesh::coordination {
namespace of_market_presets_test {

constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }
constexpr Nanos seconds(std::int64_t count) { return Nanos{count * kNsPerSecond}; }

// The rows of a table are all of the config's names.
template <class Config, class Row, std::size_t N>
void expect_complete(const Row (&rows)[N]) {
  ASSERT_EQ(Config::names().size(), N);
  for (std::size_t i = 0; i < N; ++i) EXPECT_EQ(Config::names()[i], rows[i].name);
}

TEST(MarketPresets, OfTheTaskAuction) {
  struct Row {
    std::string_view name;
    AuctionDirection direction;
    AuctionFormat format;
    Nanos timeout;
  };
  constexpr auto kReverse = AuctionDirection::reverse;
  constexpr auto kForward = AuctionDirection::forward;
  const Row rows[] = {{"task-assignment", kReverse, AuctionFormat::sealed_second, seconds(5)},
                      {"fast-dispatch", kReverse, AuctionFormat::sealed_first, ms(50)},
                      {"resource-sale", kForward, AuctionFormat::sealed_second, seconds(5)},
                      {"open-market", kForward, AuctionFormat::open_ascending, seconds(30)}};
  expect_complete<TaskAuctionConfig>(rows);
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto config = TaskAuctionConfig::preset(row.name).value();
    EXPECT_EQ(config.rules.direction, row.direction);
    EXPECT_EQ(config.rules.format, row.format);
    EXPECT_EQ(config.rules.timeout_ns, row.timeout);
    EXPECT_EQ(config.rules.min_bids, 1U);
    EXPECT_EQ(config.rules.max_bids, 256U);
    EXPECT_FALSE(config.rules.has_reserve);
    EXPECT_EQ(config.rules.increment, 1);
    EXPECT_EQ(config.rules.extend_window_ns, ms(500));
    EXPECT_EQ(config.rules.max_extensions, 10U);
    EXPECT_EQ(config.terms.scoring, AuctionScoring::quasilinear);
    EXPECT_EQ(config.terms.w_latency, 100);
    EXPECT_EQ(config.terms.w_reputation, 0);
    EXPECT_EQ(config.terms.quantity, 1U);
    EXPECT_TRUE(config.terms.one_bid_per_agent);
    EXPECT_EQ(config.terms.deposit_ppm, 0U);
    EXPECT_FALSE(config.terms.sealed_commit);
  }
}

TEST(MarketPresets, OfTheContentionArbiter) {
  struct Row {
    std::string_view name;
    ArbiterMode mode;
    bool preempts;
    WaitDie wait_die;
    std::uint32_t mild, moderate, severe;
    std::uint64_t reserve;
  };
  const Row rows[] = {
      {"fair-share", ArbiterMode::nash, false, WaitDie::off, 250'000, 400'000, 600'000, 0},
      {"priority-driven", ArbiterMode::priority, true, WaitDie::holders_only, 400'000, 600'000,
       750'000, 0},
      {"market-based", ArbiterMode::auction, false, WaitDie::off, 350'000, 550'000, 750'000,
       1'000'000}};
  expect_complete<ContentionConfig>(rows);
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto config = ContentionConfig::preset(row.name).value();
    EXPECT_EQ(config.mode, row.mode);
    EXPECT_EQ(config.preempts, row.preempts);
    EXPECT_EQ(config.wait_die, row.wait_die);
    EXPECT_EQ(config.gini_mild_ppm, row.mild);
    EXPECT_EQ(config.gini_moderate_ppm, row.moderate);
    EXPECT_EQ(config.gini_severe_ppm, row.severe);
    EXPECT_EQ(config.reserve_price, row.reserve) << "one unit";
    EXPECT_EQ(config.preempt_margin, 2U);
    EXPECT_EQ(config.starved_below, 0.3);
    EXPECT_EQ(config.starvation_ns, seconds(60));
    EXPECT_EQ(config.round_ns, ms(50));
    EXPECT_EQ(config.grace_ns, seconds(1));
    EXPECT_EQ(config.max_hold_ns, seconds(15 * 60));
    EXPECT_EQ(config.forecast_horizon_ns, seconds(10 * 60));
    EXPECT_EQ(config.ewma, 0.25);
    EXPECT_EQ(config.aging_ns, seconds(30));
  }
}

TEST(MarketPresets, FactoriesOfTheResourcePools) {
  const auto compute = compute_pool("gpu", 8);
  EXPECT_EQ(compute.kind, PoolKind::compute);
  EXPECT_EQ(compute.capacity, 8U);
  EXPECT_EQ(compute.rules.preemption, Preemption::lower_priority);
  EXPECT_EQ(compute.rules.queue_policy, QueuePolicy::fair);
  EXPECT_EQ(compute.rules.agent_max_ppm, 500'000U);
  EXPECT_EQ(compute.rules.lease_ns, seconds(60));
  const auto connections = connection_pool("db", 12);
  EXPECT_EQ(connections.kind, PoolKind::connection);
  EXPECT_EQ(connections.rules.preemption, Preemption::off);
  EXPECT_EQ(connections.rules.queue_policy, QueuePolicy::fifo);
  EXPECT_EQ(connections.rules.agent_max_ppm, 250'000U);
  EXPECT_EQ(connections.rules.lease_ns, seconds(30));
  const auto quota = quota_pool("api", 100, seconds(60));
  EXPECT_EQ(quota.kind, PoolKind::quota);
  EXPECT_EQ(quota.capacity, 100U);
  EXPECT_EQ(quota.rules.window_ns, seconds(60));
  for (const auto& order : {compute, connections, quota}) {
    EXPECT_EQ(order.rules.overcommit_ppm, 0U);
    EXPECT_EQ(order.rules.min_reserve, 0U);
    EXPECT_EQ(order.rules.queue_max, 1'024U);
    EXPECT_EQ(order.rules.grace_ns, seconds(1));
    EXPECT_EQ(order.rules.lease_ns_max, seconds(3'600));
    EXPECT_EQ(order.scale.max, 0U) << "of its size, until somebody says otherwise";
    EXPECT_EQ(order.scale.up_ppm, 800'000U);
    EXPECT_EQ(order.scale.down_ppm, 300'000U);
    EXPECT_EQ(order.scale.step_ppm, 250'000U);
    EXPECT_EQ(order.scale.up_hold_ns, seconds(30));
    EXPECT_EQ(order.scale.down_hold_ns, seconds(300));
    EXPECT_EQ(order.scale.up_cooldown_ns, seconds(60));
    EXPECT_EQ(order.scale.down_cooldown_ns, seconds(300));
  }
  const auto config = ResourcePoolConfig::preset("default").value();
  EXPECT_EQ(config.starvation_ns, seconds(10));
  EXPECT_EQ(config.credit_expiry_ns, ms(20));
}

TEST(MarketPresets, OfTheTokenEconomy) {
  struct Row {
    std::string_view name;
    SupplySchedule schedule;
  };
  const Row rows[] = {{"agent-work", SupplySchedule::bonding_curve},
                      {"fixed-cap", SupplySchedule::fixed},
                      {"inflationary-2pct", SupplySchedule::inflationary},
                      {"halving", SupplySchedule::halving}};
  expect_complete<TokenEconomyConfig>(rows);
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto config = TokenEconomyConfig::preset(row.name).value();
    EXPECT_TRUE(TokenEconomy::validate(config));
    EXPECT_EQ(config.schedule, row.schedule);
    EXPECT_EQ(config.decimals, 18U);
    EXPECT_EQ(config.slash_burn_ppm, 500'000U);
    EXPECT_EQ(config.unbond_epochs, 7U);
    EXPECT_EQ(config.amm_fee_ppm, 3'000U);
    EXPECT_EQ(config.challenge_ns, seconds(60));
  }
  const auto work = TokenEconomyConfig::preset("agent-work").value();
  EXPECT_EQ(work.reserve_ratio_ppm, 500'000U);
  EXPECT_EQ(work.base_price_micro, 10'000U);
  EXPECT_EQ(work.mint_authority, 0U) << "whoever pays";
  const auto inflated = TokenEconomyConfig::preset("inflationary-2pct").value();
  EXPECT_EQ(inflated.bps_per_epoch, 200U);
  EXPECT_EQ(inflated.epoch_ns, seconds(365 * 24 * 3'600));
}

TEST(MarketPresets, OfTheLockManager) {
  struct Row {
    std::string_view name;
    Nanos lease;
    Prevention prevention;
    Fairness fairness;
    Nanos detection;
    std::uint32_t coarsen, queue;
  };
  const Row rows[] = {
      {"fast-locks", seconds(5), Prevention::none, Fairness::fifo, ms(50), 64, 256},
      {"standard", seconds(30), Prevention::wound_wait, Fairness::timestamp, ms(250), 32, 1'024},
      {"high-contention", seconds(10), Prevention::none, Fairness::priority, ms(20), 8, 4'096}};
  expect_complete<LockManagerConfig>(rows);
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto config = LockManagerConfig::preset(row.name).value();
    EXPECT_TRUE(LockManager::validate(config));
    EXPECT_EQ(config.lease_ns, row.lease);
    EXPECT_EQ(config.prevention, row.prevention);
    EXPECT_EQ(config.fairness, row.fairness);
    EXPECT_EQ(config.detection_ns, row.detection);
    EXPECT_EQ(config.coarsen_at, row.coarsen);
    EXPECT_EQ(config.queue_max, row.queue);
    EXPECT_EQ(config.locks_per_agent_max, 1'024U);
    EXPECT_EQ(config.phantom_grace_ns, ms(500));
    EXPECT_EQ(config.timeout_ns, seconds(30));
    EXPECT_EQ(config.wound_grace_ns, ms(100));
    EXPECT_EQ(config.aging_ns, seconds(1));
    EXPECT_TRUE(config.durable);
  }
}

TEST(MarketPresets, OfTheChaosHarness) {
  struct Row {
    std::string_view name;
    std::uint32_t radius_ppm;
    double errors;  // below 0: no switch
    std::int64_t sustained_s;
    bool approval, simulation;
  };
  const Row rows[] = {{"safe", 50'000, 0.2, 5, false, false},
                      {"standard", 100'000, 0.5, 10, false, false},
                      {"gameday", 300'000, -1, 0, true, false},
                      {"simulation", 1'000'000, -1, 0, false, true}};
  expect_complete<ChaosConfig>(rows);
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto safety = ChaosSafety::preset(row.name).value();
    EXPECT_EQ(safety.blast_radius_ppm, row.radius_ppm);
    EXPECT_EQ(safety.require_approval, row.approval);
    EXPECT_EQ(safety.is_simulation_only, row.simulation);
    EXPECT_TRUE(safety.auto_rollback);
    ASSERT_EQ(safety.kill_switches.size(), row.errors < 0 ? 0U : 1U);
    if (row.errors < 0) continue;
    EXPECT_EQ(safety.kill_switches[0].metric, "error_rate");
    EXPECT_EQ(safety.kill_switches[0].op, AssertionOp::gt);
    EXPECT_EQ(safety.kill_switches[0].threshold, row.errors);
    EXPECT_EQ(safety.kill_switches[0].sustained, seconds(row.sustained_s));
  }
}

}  // namespace of_market_presets_test
}  // namespace mesh::coordination
