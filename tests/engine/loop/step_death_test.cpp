// Where an engine that is to die on purpose dies.
#include "engine/loop/step_death.hpp"

#include <string>

#include <gtest/gtest.h>

namespace mesh::engine {
namespace of_step_death_test {

constexpr std::int64_t kExpires = 1'000;

// Two ticks in which a message is delivered, and one with its answer; where it dies.
std::string dies(std::uint32_t step, std::int64_t now_ns = 0) {
  int deaths = 0;
  StepDeath death([](void* context) noexcept { ++*static_cast<int*>(context); }, &deaths);
  LoopCounters counters;
  counters.deliveries = 7;  // long ago
  counters.answers = 5;
  EXPECT_EQ(death.arm({1, step, kExpires}, counters), step >= 2 && step <= kEngineSteps);
  std::string where;
  const auto tick = [&](const char* name, std::uint64_t deliveries, std::uint64_t answers) {
    const int before = deaths;
    counters.deliveries += deliveries;
    counters.answers += answers;
    death.after_intake(counters, now_ns);
    if (deaths != before) where += std::string(name) + " taken in";
    const int shown = deaths;
    death.after_reveal(counters, now_ns);
    if (deaths != shown) where += std::string(name) + " shown";
  };
  tick("nothing", 0, 0);
  tick("a delivery", 1, 0);
  tick("nothing more", 0, 0);
  tick("an answer", 0, 1);
  tick("the next", 1, 1);
  return where;
}

TEST(StepDeath, IsWhereItWasToldToBeAndOnce) {
  EXPECT_EQ(dies(2), "a delivery shown");
  EXPECT_EQ(dies(3), "nothing more taken in");
  EXPECT_EQ(dies(4), "an answer taken in");
  EXPECT_EQ(dies(5), "an answer shown");
  for (const std::uint32_t none : {0U, 1U, kEngineSteps + 1}) EXPECT_EQ(dies(none), "");
}

TEST(StepDeath, DoesNotComeLate) { EXPECT_EQ(dies(2, kExpires), ""); }

TEST(StepDeath, IsOfOneOrderAtATimeAndTheOneThatAskedTakesItBack) {
  int deaths = 0;
  StepDeath death([](void* context) noexcept { ++*static_cast<int*>(context); }, &deaths);
  LoopCounters counters;
  ASSERT_TRUE(death.arm({1, 2, kExpires}, counters));
  EXPECT_TRUE(death.arm({1, 2, kExpires}, counters)) << "given again";
  EXPECT_FALSE(death.arm({2, 3, kExpires}, counters));
  EXPECT_TRUE(death.is_awaited(1, 0));
  EXPECT_FALSE(death.is_awaited(1, kExpires));
  EXPECT_FALSE(death.is_awaited(2, 0));
  death.spare(2);
  EXPECT_TRUE(death.is_awaited(1, 0));
  death.spare(1);
  ++counters.deliveries;
  death.after_intake(counters, 0);
  death.after_reveal(counters, 0);
  EXPECT_EQ(deaths, 0);
  EXPECT_TRUE(death.arm({2, 3, kExpires}, counters));
}

}  // namespace of_step_death_test
}  // namespace mesh::engine
