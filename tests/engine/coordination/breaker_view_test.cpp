// What a breaker's words in the table say, and what another life takes over from them.
#include <cstdint>

#include <gtest/gtest.h>

#include "engine/coordination/circuit_breaker.hpp"

namespace mesh::coordination {
namespace of_breaker_view_test {

constexpr Nanos seconds(std::int64_t count) { return Nanos{count * kNsPerSecond}; }
CircuitBreaker breaker_of(std::string_view preset) {
  return CircuitBreaker(CircuitBreakerConfig::preset(preset).value());
}
void fail_with(CircuitBreaker& breaker, Permit permit, Nanos now) {
  breaker.record({permit, CallOutcome::fail, Nanos{0}, Nanos{0}}, now);
}
void trip(CircuitBreaker& breaker, int failures, Nanos now) {
  for (int i = 0; i < failures; ++i) fail_with(breaker, {breaker.epoch(), 0}, now);
  ASSERT_EQ(breaker.state(), BreakerState::open);
}

TEST(BreakerView, HoldsStateEpochProbesAndTripsInOneWord) {
  auto breaker = breaker_of("external-api");
  trip(breaker, 5, seconds(0));
  EXPECT_EQ(breaker.view().word, std::uint64_t{1} | std::uint64_t{1} << 3 | std::uint64_t{1} << 45)
      << "open, epoch 1, one trip";
  EXPECT_EQ(breaker.view().open_until_ns, seconds(60).count());
  breaker.allow(seconds(60));
  breaker.allow(seconds(60));
  EXPECT_EQ(breaker.view().word, std::uint64_t{2} | std::uint64_t{2} << 3 | std::uint64_t{2} << 33 |
                                     std::uint64_t{1} << 45)
      << "half open, epoch 2, two probes, one trip";
}

TEST(BreakerView, AnotherLifeStaysOpenAsLongAsTheOneBeforeWouldHave) {
  auto before = breaker_of("external-api");
  trip(before, 5, seconds(0));
  fail_with(before, before.allow(seconds(60)).permit, seconds(60));
  ASSERT_EQ(before.open_until(), seconds(180)) << "twice as long";
  auto after = breaker_of("external-api");
  after.adopt(before.view(), seconds(100));
  EXPECT_EQ(after.open_until(), seconds(180));
  EXPECT_EQ(after.trips(), 2U);
  EXPECT_GT(after.epoch(), before.epoch()) << "permits of before are of no use";
  fail_with(after, after.allow(seconds(180)).permit, seconds(180));
  EXPECT_EQ(after.open_until(), seconds(180 + 240)) << "and twice that";
  EXPECT_TRUE(after.verify());
}

TEST(BreakerView, AnotherLifeGivesOutTheProbesAnew) {
  auto before = breaker_of("agent-call");
  trip(before, 3, seconds(0));
  const Permit lost = before.allow(seconds(30)).permit;
  ASSERT_EQ(before.probes_out(), 1U);
  auto after = breaker_of("agent-call");
  after.adopt(before.view(), seconds(31));
  EXPECT_EQ(after.state(), BreakerState::half_open);
  EXPECT_EQ(after.probes_out(), 0U);
  EXPECT_TRUE(after.allow(seconds(31)).is_probe);
  const auto late = after.record({lost, CallOutcome::ok, Nanos{0}, Nanos{0}}, seconds(32));
  EXPECT_TRUE(late.is_ignored);
  EXPECT_EQ(after.state(), BreakerState::half_open) << "it was another life's";
}

TEST(BreakerView, AnotherLifeStartsWithEmptyWindows) {
  auto before = breaker_of("agent-call");
  for (int i = 0; i < 2; ++i) fail_with(before, {0, 0}, seconds(1));
  auto after = breaker_of("agent-call");
  after.adopt(before.view(), seconds(1));
  for (int i = 0; i < 2; ++i) fail_with(after, {after.epoch(), 0}, seconds(1));
  EXPECT_EQ(after.state(), BreakerState::closed);
  fail_with(after, {after.epoch(), 0}, seconds(1));
  EXPECT_EQ(after.state(), BreakerState::open) << "three of its own";
}

TEST(BreakerView, AnotherLifeDoesWhatTheOperatorSaid) {
  auto held = breaker_of("agent-call");
  held.apply(breaker::ForceOpen{}, seconds(1));
  auto off = breaker_of("agent-call");
  off.apply(breaker::Disable{}, seconds(1));
  auto after = breaker_of("agent-call");
  after.adopt(held.view(), seconds(2));
  EXPECT_EQ(after.state(), BreakerState::forced_open);
  EXPECT_EQ(after.allow(seconds(10'000)).refusal, Refusal::rejected_open);
  after.adopt(off.view(), seconds(10'001));
  EXPECT_EQ(after.state(), BreakerState::disabled);
  for (int i = 0; i < 9; ++i) fail_with(after, {after.epoch(), 0}, seconds(10'002));
  EXPECT_EQ(after.allow(seconds(10'002)).refusal, Refusal::none);
}

}  // namespace of_breaker_view_test
}  // namespace mesh::coordination
