// The tables against libm: they were made from it, and are not to drift from it.
#include "engine/simulation/integer_tables.hpp"

#include <cmath>

#include <gtest/gtest.h>

#include "engine/simulation/population.hpp"

namespace mesh::engine::simulation {
namespace of_integer_tables_test {

constexpr double kOne = static_cast<double>(kTableOne);

TEST(IntegerTables, NormalDrawsHaveTheNormalDistribution) {
  // Phi(normal_of(u)) is u again.
  for (int i = 1; i < 4'096; ++i) {
    const double share = i / 4'096.0;
    const auto bits = static_cast<std::uint64_t>(share * 0x1p63);  // the upper half of the values
    const double z = static_cast<double>(normal_of(bits)) / kOne;
    EXPECT_NEAR(std::erfc(-z / std::sqrt(2.0)) / 2, 0.5 + share / 2, 1e-4) << share;
    EXPECT_EQ(normal_of(bits | std::uint64_t{1} << 63), -normal_of(bits));
  }
  EXPECT_LT(normal_of(~std::uint64_t{0} >> 1), 5 * kTableOne);
}

TEST(IntegerTables, ExponentialsAreThoseOfLibm) {
  for (int i = -5'000; i <= 5'000; i += 7) {
    const std::int64_t exponent = i * kTableOne / 1'000;
    const double wanted = 1e9 * std::exp(i / 1'000.0);
    const auto got = static_cast<double>(scaled_by_exp(1'000'000'000, exponent));
    EXPECT_NEAR(got, wanted, wanted * 4e-6 + 1) << i;
  }
  EXPECT_EQ(scaled_by_exp(kScaledMax, 20 * kTableOne), kScaledMax);
  EXPECT_EQ(scaled_by_exp(0, kTableOne), 0);
}

TEST(IntegerTables, LogDeviationsAreThoseOfLibm) {
  for (int ppm = 0; ppm <= 2'000'000; ppm += 1'237) {
    const double cv = ppm / 1e6;
    const double wanted = std::sqrt(std::log1p(cv * cv));
    EXPECT_NEAR(static_cast<double>(log_deviation_of(ppm)) / kOne, wanted, 1e-4) << ppm;
  }
  EXPECT_EQ(log_deviation_of(9'000'000), log_deviation_of(2'000'000));
}

TEST(IntegerTables, UniformDrawsStayInTheirRangeAndReachItsEnds) {
  EXPECT_EQ(uniform_of(0, -3, 3), -3);
  EXPECT_EQ(uniform_of(~std::uint64_t{0}, -3, 3), 3);
  EXPECT_FALSE(is_within(0, 0));
  EXPECT_TRUE(is_within(~std::uint64_t{0}, 1'000'000));
}

// A population is what its scenario says: shares of classes, and how deliveries go.
TEST(SimulatedPopulation, IsWhatItsScenarioSays) {
  Scenario scenario;
  scenario.agents = 3'000;
  Population population(scenario, 1);
  std::array<std::uint32_t, sched::kAgentClassCount> of_class{};
  std::uint32_t silent = 0, conflicts = 0;
  double delay = 0, rtt = 0;
  for (std::uint32_t agent = 0; agent < population.size(); ++agent) {
    const auto at = static_cast<std::size_t>(population.agent(agent).agent_class);
    ++of_class[at];
    for (int i = 0; i < 20; ++i) {
      const Course course = population.deliver(agent, {});
      population.finish(agent);
      silent += course.state == sched::TrinaryState::transit ? 1 : 0;
      conflicts += course.state == sched::TrinaryState::conflict ? 1 : 0;
      if (at != 1) continue;
      delay += static_cast<double>(course.delay_ns) / kNsPerMs;
      rtt += 100;
    }
  }
  EXPECT_EQ(of_class, (std::array<std::uint32_t, 6>{1'000, 800, 500, 200, 300, 200}));
  EXPECT_NEAR(silent / 60'000.0, 0.005, 0.001);
  EXPECT_NEAR(conflicts / 60'000.0, 0.01, 0.0015);
  EXPECT_NEAR(delay / rtt, 0.5, 0.02);  // class B: 50 to 150 ms there and back
}

TEST(SimulatedPopulation, DrawsDoNotDependOnTheOrderOfDeliveries) {
  Scenario scenario;
  scenario.agents = 10;
  Population forth(scenario, 7), back(scenario, 7);
  std::array<Course, 10> courses;
  for (std::uint32_t agent = 0; agent < 10; ++agent) courses[agent] = forth.deliver(agent, {});
  for (std::uint32_t agent = 10; agent-- != 0;) {
    const Course course = back.deliver(agent, {});
    EXPECT_EQ(course.delay_ns, courses[agent].delay_ns);
    EXPECT_EQ(course.work_ns, courses[agent].work_ns);
  }
}

TEST(SimulatedPopulation, FeelsTheWeather) {
  Scenario scenario;
  scenario.agents = 10;
  scenario.noise_deviation = scenario.cv_min = scenario.cv_max = 0;
  Population calm(scenario, 1), slow(scenario, 1);
  for (std::uint32_t agent = 0; agent < 10; ++agent) {
    const Course usual = calm.deliver(agent, {});
    const Course slowed = slow.deliver(agent, {.factor = 3'000});
    EXPECT_EQ(slowed.delay_ns, 3 * usual.delay_ns);
    EXPECT_NEAR(static_cast<double>(slowed.work_ns), 3.0 * static_cast<double>(usual.work_ns), 3);
    EXPECT_EQ(calm.deliver(agent, {.loss = kShareAll}).state, sched::TrinaryState::transit);
    EXPECT_EQ(calm.deliver(agent, {.is_silent = true}).state, sched::TrinaryState::transit);
  }
}

}  // namespace of_integer_tables_test
}  // namespace mesh::engine::simulation
