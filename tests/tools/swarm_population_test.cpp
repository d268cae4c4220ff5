// What a seed draws: distributions against their parameters, and the same draws everywhere.
#include "tools/swarm_population.hpp"

#include "tests/seed.hpp"
#include "tools/portable_math.hpp"

namespace mesh::testing {
namespace of_swarm_population_test {

using sched::AgentClass;
using tools::SwarmPopulation;
using tools::SwarmProfile;

constexpr double kMs = 1e6;

struct Moments {
  double mean = 0;
  double deviation = 0;
};
Moments moments_of(const std::vector<double>& values) {
  Moments moments;
  for (const double value : values) moments.mean += value;
  moments.mean /= static_cast<double>(values.size());
  for (const double value : values) moments.deviation += std::pow(value - moments.mean, 2);
  moments.deviation = std::sqrt(moments.deviation / static_cast<double>(values.size()));
  return moments;
}

TEST(PortableMath, AgreesWithTheStandardLibrary) {
  for (double x = -700; x <= 700; x += 0.37) {
    EXPECT_NEAR(tools::portable_exp(x) / std::exp(x), 1, 1e-14) << x;
  }
  for (double x = 1e-300; x < 1e300; x *= 1.37) {
    EXPECT_NEAR(tools::portable_log(x), std::log(x), 1e-14 * std::abs(std::log(x)) + 1e-16) << x;
  }
  EXPECT_EQ(tools::portable_log(1), 0);
  EXPECT_EQ(tools::portable_exp(0), 1);
}
TEST(PortableMath, InvertsTheNormalDistribution) {
  EXPECT_EQ(tools::normal_quantile(0.5), 0);
  EXPECT_NEAR(tools::normal_quantile(0.975), 1.959963984540054, 1e-14);
  EXPECT_NEAR(tools::normal_quantile(0.95), 1.6448536269514722, 1e-14);
  EXPECT_NEAR(tools::normal_quantile(1e-12), -7.034483825301131, 1e-12);
  for (double p = 1e-15; p < 1; p = p * 1.1 + 1e-16) {
    const double x = tools::normal_quantile(p);
    EXPECT_NEAR(0.5 * std::erfc(-x / std::sqrt(2.0)) / p, 1, 1e-11) << p;
  }
}

// A change of these numbers changes what every seed means.
TEST(SwarmPopulation, DrawsTheSameFromASeedForEver) {
  const SwarmPopulation population({.seed = 42});
  const tools::AgentDraw first = population.agent(0);
  EXPECT_EQ(first.agent_class, AgentClass::edge);
  EXPECT_EQ(first.rtt_mean_ms, 0x1.f6357e86e283bp+3);
  EXPECT_EQ(first.cv, 0x1.0b5b66557ed40p-2);
  EXPECT_EQ(first.bias, 0x1.5d7de38dc9c62p-1);
  const tools::AgentDraw other = population.agent(29'999);
  EXPECT_EQ(other.agent_class, AgentClass::edge);
  EXPECT_EQ(other.rtt_mean_ms, 0x1.18909a28cf87fp+3);
  EXPECT_EQ(other.cv, 0x1.8958955f7e44ep-4);
  EXPECT_EQ(other.bias, 0x1.f29ccce233a13p-2);
  const tools::DeliveryDraw delivery = population.delivery(7, {.delivery = 3, .queue_depth = 2});
  EXPECT_EQ(delivery.delay_ns, 3'253'441);
  EXPECT_EQ(delivery.processing_ns, 27'593'112);
}

TEST(SwarmPopulation, HasTheDefaultSharesInAnyThirtyNeighbours) {
  const SwarmPopulation population({.seed = seed()});
  std::array<int, sched::kAgentClassCount> counts{};
  for (std::uint32_t i = 0; i < 30'000; ++i) {
    ++counts.at(static_cast<std::size_t>(population.agent(i).agent_class));
  }
  EXPECT_THAT(counts, ::testing::ElementsAre(10'000, 8'000, 5'000, 2'000, 3'000, 2'000));
  counts = {};
  for (std::uint32_t i = 17; i < 47; ++i) {
    ++counts.at(static_cast<std::size_t>(population.agent(i).agent_class));
  }
  EXPECT_THAT(counts, ::testing::ElementsAre(10, 8, 5, 2, 3, 2));
}

// Uniform from a to b: mean (a + b) / 2, deviation (b - a) / sqrt(12); bounds at five standard
// errors, so that a seed in two million fails.
void expect_uniform(const std::vector<double>& values, double low, double high) {
  const double n = static_cast<double>(values.size());
  const double deviation = (high - low) / std::sqrt(12.0);
  const Moments moments = moments_of(values);
  EXPECT_GE(*std::min_element(values.begin(), values.end()), low);
  EXPECT_LE(*std::max_element(values.begin(), values.end()), high);
  EXPECT_NEAR(moments.mean, (low + high) / 2, 5 * deviation / std::sqrt(n));
  EXPECT_NEAR(moments.deviation, deviation, 5 * deviation / std::sqrt(n));
}

TEST(SwarmPopulation, DrawsRoundTripsUniformlyInTheClasssRange) {
  const SwarmPopulation population({.seed = seed()});
  std::map<AgentClass, std::vector<double>> rtt;
  std::vector<double> cv;
  for (std::uint32_t i = 0; i < 30'000; ++i) {
    const tools::AgentDraw drawn = population.agent(i);
    rtt[drawn.agent_class].push_back(drawn.rtt_mean_ms);
    cv.push_back(drawn.cv);
  }
  expect_uniform(rtt[AgentClass::edge], 5, 20);
  expect_uniform(rtt[AgentClass::serverless], 50, 150);
  expect_uniform(rtt[AgentClass::persistent], 100, 300);
  expect_uniform(rtt[AgentClass::gpu], 200, 500);
  expect_uniform(rtt[AgentClass::local], 10, 800);
  expect_uniform(rtt[AgentClass::human], 5'000, 7'200'000);
  expect_uniform(cv, 0.01, 0.3);
}

TEST(SwarmPopulation, BiasIsLogNormalWithSigmaPointFour) {
  const SwarmPopulation population({.seed = seed()});
  std::vector<double> logs;
  for (std::uint32_t i = 0; i < 30'000; ++i) {
    logs.push_back(std::log(population.agent(i).bias));
  }
  const Moments moments = moments_of(logs);
  EXPECT_NEAR(moments.mean, 0, 5 * 0.4 / std::sqrt(30'000.0));
  EXPECT_NEAR(moments.deviation, 0.4, 5 * 0.4 / std::sqrt(2 * 30'000.0));
}

TEST(SwarmPopulation, DelayHasHalfTheRoundTripAsMeanAndTheAgentsOwnVariation) {
  const SwarmPopulation population({.seed = seed()});
  constexpr std::uint32_t kDraws = 20'000;
  for (std::uint32_t agent = 0; agent < 12; ++agent) {
    const tools::AgentDraw who = population.agent(agent);
    std::vector<double> delays;
    for (std::uint32_t i = 0; i < kDraws; ++i) {
      delays.push_back(static_cast<double>(population.delivery(agent, {.delivery = i}).delay_ns));
    }
    const Moments moments = moments_of(delays);
    const double mean = who.rtt_mean_ms / 2 * kMs;
    EXPECT_NEAR(moments.mean / mean, 1, 5 * who.cv / std::sqrt(kDraws));
    EXPECT_NEAR(moments.deviation / (mean * who.cv), 1, 0.06);
    EXPECT_NEAR(who.jitter_ms() * kMs / (mean * who.cv), 1, 1e-12);
  }
}

TEST(SwarmPopulation, ProcessingFollowsBaseBiasWeightQueueAndNoise) {
  const SwarmPopulation population({.seed = seed()});
  for (std::uint32_t agent = 0; agent < 12; ++agent) {
    const tools::AgentDraw who = population.agent(agent);
    const double base = sched::base_processing_ms(who.agent_class) * who.bias_later * kMs;
    std::vector<double> noise;
    for (std::uint32_t i = 10; i < 10'010; ++i) {
      noise.push_back(static_cast<double>(
                          population.delivery(agent, {.delivery = i, .queue_depth = 3, .weight = 2})
                              .processing_ns) /
                      (base * (1 + 0.5 * 2) * (1 + 0.1 * 3)));
    }
    const Moments moments = moments_of(noise);
    EXPECT_NEAR(moments.mean, 1, 5 * 0.05 / 100);
    EXPECT_NEAR(moments.deviation, 0.05, 5 * 0.05 / 140);
  }
}

// The oracle's: half of what comes is below it, five standard deviations of chance allowed.
TEST(SwarmPopulation, HalfOfAllDeliveriesTakeLessThanTheMedian) {
  const SwarmPopulation population({.seed = seed(), .change_at = 0});
  constexpr std::uint32_t kDraws = 20'000;
  for (std::uint32_t agent = 0; agent < 30; ++agent) {
    const tools::AgentDraw who = population.agent(agent);
    const double median_ns = tools::median_ms(who, who.bias_later, 2) * kMs;
    std::uint32_t below = 0;
    for (std::uint32_t i = 0; i < kDraws; ++i) {
      const auto drawn = population.delivery(agent, {.delivery = i, .weight = 2});
      below += static_cast<double>(drawn.delay_ns + drawn.processing_ns) < median_ns ? 1 : 0;
    }
    EXPECT_NEAR(below / static_cast<double>(kDraws), 0.5, 5 * 0.5 / std::sqrt(kDraws)) << agent;
  }
}

TEST(SwarmPopulation, OneAgentInAHundredChangesItsBiasHalfWay) {
  const SwarmPopulation population({.seed = seed(), .change_at = 7});
  int changed = 0;
  for (std::uint32_t i = 0; i < 30'000; ++i) {
    const tools::AgentDraw who = population.agent(i);
    changed += who.bias != who.bias_later ? 1 : 0;
    EXPECT_EQ(population.bias_at(i, 6), who.bias);
    EXPECT_EQ(population.bias_at(i, 7), who.bias_later);
  }
  EXPECT_NEAR(changed, 300, 5 * std::sqrt(300));
}
TEST(SwarmPopulation, AChangedBiasChangesTheProcessingOnly) {
  const SwarmPopulation early({.seed = seed(), .change_at = 5});
  const SwarmPopulation late({.seed = seed(), .change_at = 6});
  for (std::uint32_t i = 0; i < 3'000; ++i) {
    const tools::AgentDraw who = early.agent(i);
    const tools::DeliveryDraw after = early.delivery(i, {.delivery = 5});
    const tools::DeliveryDraw before = late.delivery(i, {.delivery = 5});
    EXPECT_EQ(after.delay_ns, before.delay_ns);
    EXPECT_NEAR(static_cast<double>(after.processing_ns) / who.bias_later,
                static_cast<double>(before.processing_ns) / who.bias, 8);
  }
}

TEST(SwarmPopulation, OneInAHundredIsInConflictAndOneInTwoHundredSilent) {
  for (const SwarmProfile profile : {SwarmProfile::mixed, SwarmProfile::local}) {
    const SwarmPopulation population({.seed = seed(), .profile = profile});
    std::array<int, 3> counts{};
    for (std::uint32_t i = 0; i < 100'000; ++i) {
      const tools::DeliveryDraw drawn = population.delivery(i % 1'000, {.delivery = i / 1'000});
      ++counts.at(static_cast<std::size_t>(drawn.outcome));
    }
    EXPECT_NEAR(counts[1], 1'000, 5 * std::sqrt(1'000));
    EXPECT_NEAR(counts[2], 500, 5 * std::sqrt(500));
  }
}

TEST(SwarmPopulation, LocalHoldsNothingBack) {
  const SwarmPopulation population({.seed = seed(), .profile = SwarmProfile::local});
  for (std::uint32_t i = 0; i < 300; ++i) {
    EXPECT_EQ(population.agent(i).agent_class, AgentClass::edge);
    EXPECT_EQ(population.agent(i).jitter_ms(), 0);
    EXPECT_EQ(population.delivery(i, {}).delay_ns, 0);
    EXPECT_EQ(population.delivery(i, {}).processing_ns, 0);
  }
}

TEST(SwarmPopulation, AnotherSeedDrawsOthers) {
  const SwarmPopulation one({.seed = 1});
  const SwarmPopulation two({.seed = 2});
  for (std::uint32_t i = 0; i < 100; ++i) {
    EXPECT_NE(one.agent(i).rtt_mean_ms, two.agent(i).rtt_mean_ms);
    EXPECT_NE(one.delivery(i, {}).delay_ns, two.delivery(i, {}).delay_ns);
    EXPECT_NE(one.delivery(i, {}).delay_ns, one.delivery(i, {.delivery = 1}).delay_ns);
  }
}

TEST(SwarmPopulation, KnowsItsProfilesByName) {
  EXPECT_EQ(tools::swarm_profile_of("mixed"), SwarmProfile::mixed);
  EXPECT_EQ(tools::swarm_profile_of("local"), SwarmProfile::local);
  EXPECT_EQ(tools::swarm_profile_of("Local"), std::nullopt);
  EXPECT_EQ(tools::swarm_agent_name("swarm", 17), "swarm-17");
}

RC_GTEST_PROP(SwarmShare, CoversEveryAgentOnceAndEvenly, ()) {
  const auto agents = *rc::gen::inRange<std::uint32_t>(0, kMaxAgents + 1);
  const auto processes = *rc::gen::inRange<std::uint32_t>(1, 1'000);
  std::uint32_t next = 0;
  for (std::uint32_t share = 0; share < processes; ++share) {
    const tools::SwarmShare of = tools::swarm_share(agents, processes, share);
    RC_ASSERT(of.first == next);
    RC_ASSERT(of.count >= agents / processes);
    RC_ASSERT(of.count <= agents / processes + 1);
    next += of.count;
  }
  RC_ASSERT(next == agents);
}

}  // namespace of_swarm_population_test
}  // namespace mesh::testing
