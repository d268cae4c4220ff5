// Every preset and alias of the services, each value that sets it apart by its number.
#include <string_view>

#include <gtest/gtest.h>

#include "engine/coordination/backpressure_controller.hpp"
#include "engine/coordination/capability_health.hpp"
#include "engine/coordination/circuit_breaker.hpp"
#include "engine/coordination/exactly_once_queue.hpp"
#include "engine/coordination/federation_router.hpp"
#include "engine/coordination/outbox.hpp"
#include "engine/coordination/reputation_router.hpp"
#include "engine/coordination/service_discovery.hpp"
#include "engine/coordination/throttle_governor.hpp"
#include "engine/coordination/vector_clock.hpp"

namespace mesh::coordination {
namespace of_service_presets_test {

constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }
constexpr Nanos seconds(std::int64_t count) { return Nanos{count * kNsPerSecond}; }
constexpr Nanos minutes(std::int64_t count) { return seconds(60 * count); }
constexpr Nanos hours(std::int64_t count) { return minutes(60 * count); }

// The rows of a table are all of the config's names.
template <class Config, class Row, std::size_t N>
void expect_complete(const Row (&rows)[N]) {
  ASSERT_EQ(Config::names().size(), N);
  for (std::size_t i = 0; i < N; ++i) EXPECT_EQ(Config::names()[i], rows[i].name);
}

TEST(ServicePresets, OfTheCircuitBreaker) {
  struct Row {
    std::string_view name;
    std::uint32_t failures, consecutive, successes, probes;
    std::int64_t open_s;
    double multiplier;
    std::int64_t window_s;
    BreakerRecovery recovery;
  };
  constexpr auto kPermits = BreakerRecovery::permits;
  constexpr auto kRatio = BreakerRecovery::probe_then_ratio;
  const Row rows[] = {{"agent-call", 3, 0, 1, 1, 30, 1, 10, kPermits},
                      {"external-api", 5, 0, 3, 2, 60, 2, 10, kPermits},
                      {"assign", 3, 0, 2, 1, 30, 2, 10, kPermits},
                      {"mesh-cluster", 6, 0, 2, 1, 30, 2, 60, kRatio},
                      {"mesh-sector", 51, 0, 2, 1, 30, 2, 60, kRatio},
                      {"mesh-global", 11, 0, 2, 1, 30, 2, 60, kRatio},
                      {"rate-limit", 0, 3, 1, 1, 60, 1, 10, kPermits}};
  expect_complete<CircuitBreakerConfig>(rows);
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto config = CircuitBreakerConfig::preset(row.name).value();
    EXPECT_EQ(config.failure_threshold, row.failures);
    EXPECT_EQ(config.consecutive_threshold, row.consecutive);
    EXPECT_EQ(config.failure_rate_ppm, 0U);
    EXPECT_EQ(config.success_threshold, row.successes);
    EXPECT_EQ(config.half_open_probes_max, row.probes);
    EXPECT_EQ(config.open_ns, seconds(row.open_s));
    EXPECT_EQ(config.open_multiplier, row.multiplier);
    EXPECT_EQ(config.window_ns, seconds(row.window_s));
    EXPECT_EQ(config.recovery, row.recovery);
    EXPECT_EQ(config.probe_retry_ns, seconds(60));
    EXPECT_EQ(config.half_open_pass_every, 10U);
    EXPECT_EQ(config.half_open_ns, seconds(60));
    EXPECT_EQ(config.half_open_failure_ppm, 50'000U);
    EXPECT_EQ(config.open_ns_max, seconds(300));
    EXPECT_EQ(config.half_open_ns_max, seconds(60));
    EXPECT_EQ(config.jitter_ppm, 0U);
  }
  const CircuitBreakerConfig defaults;
  EXPECT_EQ(defaults.failure_threshold, 5U);
  EXPECT_EQ(defaults.failure_rate_ppm, 500'000U);
  EXPECT_EQ(defaults.min_calls, 20U);
  EXPECT_EQ(defaults.buckets, 10U);
  EXPECT_TRUE(defaults.count_timeouts_as_failure);
}

TEST(ServicePresets, OfTheBackpressureController) {
  struct Row {
    std::string_view name;
    std::uint32_t high, low, limit;
    bool codel;
  };
  const Row rows[] = {{"default", 100, 20, 200, false},
                      {"strict", 100, 20, 100, false},
                      {"latency", 16, 4, 32, true}};
  expect_complete<BackpressureConfig>(rows);
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto config = BackpressureConfig::preset(row.name).value();
    EXPECT_EQ(config.watermark_high, row.high);
    EXPECT_EQ(config.watermark_low, row.low);
    EXPECT_EQ(config.limit(), row.limit);
    EXPECT_EQ(config.codel, row.codel);
    EXPECT_EQ(config.throttle_rate_per_s, 0);
    EXPECT_EQ(config.throttle_burst, 10U);
    EXPECT_EQ(config.shed_start_ppm,
              (std::array<std::uint32_t, 4>{0, 250'000, 500'000, 1'000'000}));
    EXPECT_EQ(config.drain_alpha, 0.2);
    EXPECT_EQ(config.drain_sample_ns, ms(100));
  }
}

TEST(ServicePresets, OfTheThrottleGovernor) {
  struct Row {
    std::string_view name;
    double initial, least, most;
    std::int64_t interval_ms, setpoint_ms, target_ms;
    double alpha, beta, step, factor, errors;
    std::int64_t base_s;
    std::uint32_t samples;
  };
  const Row rows[] = {
      {"api-gateway", 1'000, 50, 50'000, 100, 50, 5, 2, 4, 0.04, 0.7, 0.02, 10, 10},
      {"agent-to-agent", 50, 1, 1'000, 500, 500, 50, 2, 6, 0.04, 0.7, 0.1, 60, 5},
      {"batch-processing", 200, 1, 10'000, 5'000, 10'000, 1'000, 3, 10, 0.05, 0.85, 0.2, 600, 5},
      {"batch", 200, 1, 10'000, 5'000, 10'000, 1'000, 3, 10, 0.05, 0.85, 0.2, 600, 5}};
  expect_complete<ThrottleConfig>(rows);
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto config = ThrottleConfig::preset(row.name).value();
    EXPECT_EQ(config.initial_rate, row.initial);
    EXPECT_EQ(config.min_rate, row.least);
    EXPECT_EQ(config.max_rate, row.most);
    EXPECT_EQ(config.control_interval_ns, ms(row.interval_ms));
    EXPECT_EQ(config.latency_setpoint_ns, ms(row.setpoint_ms));
    EXPECT_EQ(config.codel_target_ns, ms(row.target_ms));
    EXPECT_EQ(config.codel_interval_ns, 20 * config.codel_target_ns);
    EXPECT_EQ(config.vegas_alpha, row.alpha);
    EXPECT_EQ(config.vegas_beta, row.beta);
    EXPECT_EQ(config.ai_step, row.step);
    EXPECT_EQ(config.md_factor, row.factor);
    EXPECT_EQ(config.error_md_threshold, row.errors);
    EXPECT_EQ(config.kp, 0.2);
    EXPECT_EQ(config.ki, 0.05);
    EXPECT_EQ(config.pi_clamp, 0.1);
    EXPECT_EQ(config.base_rtt_window_ns, seconds(row.base_s));
    EXPECT_EQ(config.min_samples, row.samples);
    EXPECT_EQ(config.rate_smoothing, 1);
  }
}

TEST(ServicePresets, OfTheFederationRouter) {
  struct Row {
    std::string_view name;
    std::uint32_t burst, reserve;
    std::array<std::uint32_t, 3> shed;
    std::uint32_t share, donate;
    std::int64_t idle_s, coalesce_ms;
    std::uint32_t rate_limited;
    std::int64_t open_s, aging_s;
    std::uint32_t queue;
  };
  const Row rows[] = {{"conservative",
                       100'000,
                       200'000,
                       {500'000, 250'000, 100'000},
                       250'000,
                       250'000,
                       10,
                       20,
                       2,
                       60,
                       1,
                       1'000},
                      {"balanced",
                       250'000,
                       100'000,
                       {250'000, 100'000, 30'000},
                       400'000,
                       500'000,
                       5,
                       10,
                       3,
                       30,
                       2,
                       5'000},
                      {"aggressive",
                       500'000,
                       20'000,
                       {100'000, 30'000, 0},
                       800'000,
                       500'000,
                       5,
                       5,
                       5,
                       10,
                       5,
                       20'000}};
  expect_complete<FederationConfig>(rows);
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto config = FederationConfig::preset(row.name).value();
    EXPECT_EQ(config.burst_ppm, row.burst);
    EXPECT_EQ(config.reserve_ppm, row.reserve);
    EXPECT_EQ(config.shed_ppm, row.shed);
    EXPECT_EQ(config.requester_share_ppm, row.share);
    EXPECT_EQ(config.donate_ppm, row.donate);
    EXPECT_EQ(config.idle_after_ns, seconds(row.idle_s));
    EXPECT_EQ(config.coalesce_window_ns, ms(row.coalesce_ms));
    EXPECT_EQ(config.coalesce_max, 64U);
    EXPECT_EQ(config.breaker_429, row.rate_limited);
    EXPECT_EQ(config.breaker_open_ns, seconds(row.open_s));
    EXPECT_EQ(config.aging_ns, seconds(row.aging_s));
    EXPECT_EQ(config.queue_max, row.queue);
    EXPECT_EQ(config.hedge_ppm, 20'000U);
  }
}

TEST(ServicePresets, OfTheOutbox) {
  struct Row {
    std::string_view name;
    std::uint32_t partitions, burst;
    std::int64_t poll_ms;
    bool push;
    std::uint32_t attempts;
    std::int64_t base_ms, cap_ms;
    HeadOfLine order;
    Nanos retention;
    bool cdc;
    std::int64_t heartbeat_s;
    std::uint32_t inbox = 1'000'000;
    Nanos inbox_window = hours(24);
  };
  constexpr auto kKey = HeadOfLine::block_key;
  constexpr auto kNone = HeadOfLine::none;
  const Row rows[] = {
      {"agent-event-bus", 16, 100, 100, false, 8, 100, 30'000, kKey, hours(1), true, 10},
      {"audit-log", 1, 100, 100, false, 0, 100, 30'000, HeadOfLine::block_partition, kForever, true,
       10},
      {"high-volume-telemetry", 64, 1'000, 100, false, 8, 100, 30'000, kNone, minutes(5), true, 10},
      {"low-latency", 16, 16, 5, true, 8, 100, 30'000, kKey, hours(1), true, 10},
      {"high-throughput", 16, 200, 50, false, 3, 200, 10'000, kNone, hours(1), true, 15, 50'000,
       minutes(30)},
      {"reliable-delivery", 4, 20, 500, false, 10, 1'000, 120'000, kKey, hours(7 * 24), false, 60,
       100'000}};
  expect_complete<OutboxConfig>(rows);
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto config = OutboxConfig::preset(row.name).value();
    EXPECT_EQ(config.partition_count, row.partitions);
    EXPECT_EQ(config.burst_max, row.burst);
    EXPECT_EQ(config.poll_interval_ns, ms(row.poll_ms));
    EXPECT_EQ(config.push, row.push);
    EXPECT_EQ(config.attempts_max, row.attempts);
    EXPECT_EQ(config.retry_base_ns, ms(row.base_ms));
    EXPECT_EQ(config.retry_cap_ns, ms(row.cap_ms));
    EXPECT_EQ(config.retry_multiplier, 2);
    EXPECT_EQ(config.retry_jitter, RetryJitter::decorrelated);
    EXPECT_EQ(config.head_of_line, row.order);
    EXPECT_EQ(config.retention_ns, row.retention);
    EXPECT_EQ(config.cdc, row.cdc);
    EXPECT_EQ(config.heartbeat_timeout_ns, seconds(row.heartbeat_s));
    EXPECT_EQ(config.confirm_timeout_ns, seconds(30));
    EXPECT_EQ(config.compaction_interval_ns, seconds(60));
    EXPECT_EQ(config.pending_max, 100'000U);
    EXPECT_EQ(config.inbox_max, row.inbox);
    EXPECT_EQ(config.inbox_window_ns, row.inbox_window);
  }
}

TEST(ServicePresets, OfTheExactlyOnceQueue) {
  struct Row {
    std::string_view name;
    Affinity affinity;
    DedupMode mode;
    std::int64_t visibility_s;
    std::uint32_t attempts;
    std::int64_t ttl_s, window_s;
    std::uint32_t bloom, jitter;
    std::int64_t base_ms, cap_s;
  };
  constexpr auto kIds = DedupMode::ids;
  constexpr auto kAny = Affinity::none;
  const Row rows[] = {
      {"default", kAny, kIds, 30, 5, 0, 3'600, 0, 0, 1'000, 60},
      {"strict-fifo-per-key", Affinity::strict, kIds, 30, 5, 0, 3'600, 0, 0, 1'000, 60},
      {"high-throughput", kAny, DedupMode::producer_seq, 10, 5, 0, 3'600, 0, 0, 1'000, 60},
      {"long-tasks", kAny, kIds, 600, 5, 0, 3'600, 0, 0, 1'000, 60},
      {"quick", kAny, kIds, 30, 3, 300, 120, 10'000, 1, 1'000, 15},
      {"durable", kAny, kIds, 300, 5, 3'600, 3'600, 1'000, 1, 5'000, 300},
      {"batch", kAny, kIds, 60, 2, 600, 60, 50'000, 1, 500, 5}};
  expect_complete<ExactlyOnceQueueConfig>(rows);
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto config = ExactlyOnceQueueConfig::preset(row.name).value();
    EXPECT_EQ(config.affinity, row.affinity);
    EXPECT_EQ(config.dedup_mode, row.mode);
    EXPECT_EQ(config.visibility_ns, seconds(row.visibility_s));
    EXPECT_EQ(config.attempts_max, row.attempts);
    EXPECT_EQ(config.ttl_ns, seconds(row.ttl_s));
    EXPECT_EQ(config.dedup_window_ns, seconds(row.window_s));
    EXPECT_EQ(config.bloom_rate_ppm, row.bloom);
    EXPECT_EQ(config.retry_jitter, row.jitter);
    EXPECT_EQ(config.retry_base_ns, ms(row.base_ms));
    EXPECT_EQ(config.retry_cap_ns, seconds(row.cap_s));
    EXPECT_EQ(config.capacity, 65'536U);
    EXPECT_EQ(config.dedup_capacity, 1'000'000U);
    EXPECT_EQ(config.poison_stations, 3U);
    EXPECT_EQ(config.priority_levels, 4U);
    EXPECT_EQ(config.aging_ns, seconds(10));
    EXPECT_EQ(config.steal_after_ns, seconds(1));
    EXPECT_EQ(config.claim_burst_max, 64U);
    EXPECT_FALSE(config.preserve_order);
  }
}

TEST(ServicePresets, OfTheVectorClock) {
  struct Row {
    std::string_view name;
    std::uint32_t members, buffer;
    bool matrix;
    std::uint32_t plausible;
    std::int64_t prune_s;
  };
  const Row rows[] = {{"small-cluster", 32, 1'024, true, 0, 0},
                      {"medium-network", 256, 8'192, false, 0, 3'600},
                      {"large-federation", 100, 1'024, false, 64, 0},
                      {"small", 32, 1'024, true, 0, 0},
                      {"medium", 256, 8'192, false, 0, 3'600},
                      {"large", 100, 1'024, false, 64, 0}};
  expect_complete<CausalityConfig>(rows);
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto config = CausalityConfig::preset(row.name).value();
    EXPECT_EQ(config.members_max, row.members);
    EXPECT_EQ(config.buffer_max, row.buffer);
    EXPECT_EQ(config.matrix, row.matrix);
    EXPECT_EQ(config.plausible_entries, row.plausible);
    EXPECT_EQ(config.prune_idle_ns, seconds(row.prune_s));
    EXPECT_EQ(config.skew_max_ns, ms(500));
    EXPECT_EQ(config.dots_block, 1'024U);
    EXPECT_EQ(config.faults_max, 1U);
  }
}

TEST(ServicePresets, OfTheReputationRouter) {
  struct Row {
    std::string_view name;
    PickPolicy policy;
    std::uint32_t explore_every;
  };
  const Row rows[] = {{"default", PickPolicy::p2c, 50},
                      {"exploit", PickPolicy::argmax, 0},
                      {"explore", PickPolicy::thompson, 50}};
  expect_complete<ReputationConfig>(rows);
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto config = ReputationConfig::preset(row.name).value();
    EXPECT_EQ(config.policy, row.policy);
    EXPECT_EQ(config.explore_every, row.explore_every);
    EXPECT_EQ(config.half_life_ns, minutes(10));
    EXPECT_EQ(config.prior_success, 1);
    EXPECT_EQ(config.prior_failure, 1);
    EXPECT_EQ(config.w_success, 0.8);
    EXPECT_EQ(config.w_latency, 0.2);
    EXPECT_EQ(config.latency_ref_ns, ms(200));
    EXPECT_EQ(config.quarantine_below, 0.15);
    EXPECT_EQ(config.quarantine_ns, seconds(60));
    EXPECT_EQ(config.observations_min, 5);
    EXPECT_EQ(config.slow_start_ns, seconds(30));
    EXPECT_EQ(config.latency_alpha, 0.3);
    EXPECT_EQ(config.wrong_result_weight, 5);
    EXPECT_EQ(config.outlier_stdevs, 1.9);
    EXPECT_EQ(config.gamma, 2);
  }
}

TEST(ServicePresets, OfTheCapabilityHealthMonitor) {
  struct Row {
    std::string_view name;
    std::int64_t half_ms, sla_ms;
    double slo;
    std::int64_t probe_s, window_s;
    std::uint32_t misses;
  };
  const Row rows[] = {{"real-time-api", 80, 200, 0.999, 1, 60, 2},
                      {"batch-processing", 5'000, 30'000, 0.95, 30, 3'600, 3},
                      {"agent-mesh", 240, 1'000, 0.99, 5, 300, 3}};
  expect_complete<CapabilityHealthConfig>(rows);
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto config = CapabilityHealthConfig::preset(row.name).value();
    EXPECT_EQ(config.latency_half_ns, ms(row.half_ms));
    EXPECT_EQ(config.sla_latency_ns, ms(row.sla_ms));
    EXPECT_EQ(config.slo, row.slo);
    EXPECT_EQ(config.probe_interval_ns, seconds(row.probe_s));
    EXPECT_EQ(config.window_ns, seconds(row.window_s));
    EXPECT_EQ(config.misses_max, row.misses);
    EXPECT_EQ(config.hysteresis, 0.03);
    EXPECT_EQ(config.remediations_per_hour, 5U);
    EXPECT_EQ(config.remediation_cooldown_ns, seconds(30));
    EXPECT_EQ(config.phi_max, 8);
    EXPECT_EQ(config.unknown_intervals, 3U);
    EXPECT_EQ(config.page_burn, 14.4);
    EXPECT_EQ(config.ticket_burn, 6);
    // An hour and five minutes, six hours and thirty: a twelfth of them, four times, as they are.
    const double scale = row.probe_s == 1 ? 1 / 12.0 : row.probe_s == 30 ? 4 : 1;
    const auto scaled = [&](std::int64_t whole_s) {
      return seconds(static_cast<std::int64_t>(static_cast<double>(whole_s) * scale + 0.5));
    };
    EXPECT_EQ(config.page_long_ns, scaled(3'600));
    EXPECT_EQ(config.page_short_ns, scaled(300));
    EXPECT_EQ(config.ticket_long_ns, scaled(21'600));
    EXPECT_EQ(config.ticket_short_ns, scaled(1'800));
    EXPECT_EQ(config.trend_samples_min, 8U);
    EXPECT_EQ(config.trend_r2_min, 0.5);
    EXPECT_EQ(config.cusum_k, 0.5);
    EXPECT_EQ(config.cusum_h, 5);
    EXPECT_EQ(config.share_move_max, 0.25);
    EXPECT_EQ(config.panic_unhealthy, 0.5);
    EXPECT_EQ(config.dependency_share, 0.6);
  }
}

TEST(ServicePresets, OfTheServiceDiscovery) {
  struct Row {
    std::string_view name;
    std::int64_t lease_s, refresh_s, gossip_s;
    std::uint32_t fanout;
    std::int64_t anti_entropy_s, tombstone_s;
  };
  const Row rows[] = {{"small-cluster", 15, 5, 1, 2, 10, 300},
                      {"medium-network", 30, 10, 1, 3, 30, 600},
                      {"large-federation", 60, 20, 2, 4, 120, 1'800}};
  expect_complete<DiscoveryConfig>(rows);
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto config = DiscoveryConfig::preset(row.name).value();
    EXPECT_EQ(config.lease_ns, seconds(row.lease_s));
    EXPECT_EQ(config.refresh_ns, seconds(row.refresh_s));
    EXPECT_EQ(config.gossip_ns, seconds(row.gossip_s));
    EXPECT_EQ(config.fanout, row.fanout);
    EXPECT_EQ(config.anti_entropy_ns, seconds(row.anti_entropy_s));
    EXPECT_EQ(config.tombstone_ns, seconds(row.tombstone_s));
    EXPECT_EQ(config.share_min, 0.5);
    EXPECT_EQ(config.partition_checks, 3U);
    EXPECT_EQ(config.panic_share, 0.5);
    EXPECT_EQ(config.latency_ref_ns, ms(50));
  }
}

}  // namespace of_service_presets_test
}  // namespace mesh::coordination
