// A breaker's permit with an owner: what becomes of it when it is dropped, spent twice or moved.
#include <utility>

#include <gtest/gtest.h>

#include "engine/coordination/circuit_breaker.hpp"

namespace mesh::coordination {
namespace of_breaker_hold_test {

constexpr Nanos seconds(std::int64_t count) { return Nanos{count * kNsPerSecond}; }
CircuitBreakerConfig preset(std::string_view name) {
  return CircuitBreakerConfig::preset(name).value();
}
void fail_once(CircuitBreaker& breaker, Nanos now) {
  const auto permit = breaker.allow(now).permit;
  breaker.record({permit, CallOutcome::fail, Nanos{0}, Nanos{0}}, now);
}

TEST(CircuitBreakerHold, ReturnsTheProbeOfAPermitThatIsDroppedUnspent) {
  CircuitBreaker breaker(preset("agent-call"));
  for (int i = 0; i < 3; ++i) fail_once(breaker, seconds(0));
  {
    const HeldPermit held = breaker.hold(seconds(30));
    ASSERT_TRUE(held);
    EXPECT_TRUE(held.reply().is_probe);
    EXPECT_EQ(breaker.probes_out(), 1U);
    EXPECT_FALSE(breaker.hold(seconds(30))) << "one probe at once";
  }
  EXPECT_EQ(breaker.probes_out(), 0U);
  EXPECT_EQ(breaker.counters().returned_probes, 1U);
  EXPECT_EQ(breaker.clock_regressions(), 0U);
  EXPECT_EQ(breaker.state(), BreakerState::half_open) << "no outcome, neither good nor bad";
  EXPECT_TRUE(breaker.hold(seconds(30))) << "and the probe is there for the next";
}

TEST(CircuitBreakerHold, IsEmptyWithTheWaitWhereTheBreakerRefuses) {
  CircuitBreaker breaker(preset("agent-call"));
  for (int i = 0; i < 3; ++i) fail_once(breaker, seconds(0));
  HeldPermit refused = breaker.hold(seconds(10));
  EXPECT_FALSE(refused);
  EXPECT_EQ(refused.reply().refusal, Refusal::rejected_open);
  EXPECT_EQ(refused.reply().retry_after, seconds(20));
  EXPECT_EQ(refused.spend(CallOutcome::ok, seconds(11)).code, Errc::wrong_state);
  EXPECT_EQ(breaker.hold(Nanos{-1}).reply().code, Errc::invalid_argument);
}

TEST(CircuitBreakerHold, TellsItsOutcomeOnceAndRefusesASecond) {
  CircuitBreaker breaker(preset("agent-call"));
  HeldPermit held = breaker.hold(seconds(1));
  EXPECT_EQ(held.spend(CallOutcome::fail, seconds(2)).code, Errc::ok);
  const std::uint64_t hash = breaker.state_hash();
  EXPECT_FALSE(held);
  EXPECT_EQ(held.spend(CallOutcome::fail, seconds(3)).code, Errc::wrong_state);
  held.drop();
  EXPECT_EQ(breaker.state_hash(), hash);
  EXPECT_EQ(breaker.counters().failures, 1U);
  EXPECT_EQ(breaker.counters().ignored, 0U);
}

TEST(CircuitBreakerHold, StaysWholeWhereItsOutcomeIsRefused) {
  CircuitBreaker breaker(preset("agent-call"));
  for (int i = 0; i < 3; ++i) fail_once(breaker, seconds(0));
  HeldPermit held = breaker.hold(seconds(30));
  EXPECT_EQ(held.spend(CallOutcome::ok, seconds(31), Nanos{-1}).code, Errc::invalid_argument);
  EXPECT_TRUE(held);
  EXPECT_EQ(held.spend(CallOutcome::ok, seconds(31)).state, BreakerState::closed);
}

TEST(CircuitBreakerHold, DoesNothingOnceItIsMovedFrom) {
  CircuitBreaker breaker(preset("agent-call"));
  for (int i = 0; i < 3; ++i) fail_once(breaker, seconds(0));
  HeldPermit kept;
  {
    HeldPermit first = breaker.hold(seconds(30));
    kept = std::move(first);
    EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): what it says then is what is asked
    EXPECT_EQ(first.spend(CallOutcome::fail, seconds(30)).code, Errc::wrong_state);
  }
  EXPECT_EQ(breaker.probes_out(), 1U) << "its end returned nothing";
  HeldPermit last(std::move(kept));
  kept.drop();
  EXPECT_EQ(breaker.probes_out(), 1U);
  EXPECT_EQ(last.spend(CallOutcome::ok, seconds(31)).state, BreakerState::closed);
  EXPECT_EQ(breaker.counters().returned_probes, 0U);
}

TEST(CircuitBreakerHold, ReturnsWhatItHeldBeforeItTakesAnother) {
  CircuitBreakerConfig config = preset("agent-call");
  config.half_open_probes_max = 2;
  CircuitBreaker breaker(config);
  for (int i = 0; i < 3; ++i) fail_once(breaker, seconds(0));
  HeldPermit held = breaker.hold(seconds(30));
  held = breaker.hold(seconds(30));
  EXPECT_EQ(breaker.probes_out(), 1U);
  EXPECT_EQ(breaker.counters().returned_probes, 1U);
}

TEST(CircuitBreakerHold, ChangesNothingWhenItIsDroppedInALaterEpoch) {
  CircuitBreaker breaker(preset("agent-call"));
  for (int i = 0; i < 3; ++i) fail_once(breaker, seconds(0));
  {
    const HeldPermit held = breaker.hold(seconds(30));
    breaker.apply(breaker::ForceClose{}, seconds(31));
  }
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  EXPECT_EQ(breaker.counters().stale_permits, 1U);
  EXPECT_TRUE(breaker.verify());
}

}  // namespace of_breaker_hold_test
}  // namespace mesh::coordination
