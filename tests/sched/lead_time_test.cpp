#include "sched/lead_time.hpp"

#include <cmath>
#include <limits>

#include "tests/seed.hpp"

namespace mesh::sched {
namespace of_lead_time_test {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr NominalRequest kTenMinutes{.weight = 1, .available = Nanos{600 * kNsPerSecond}};

Nanos ms(double value) { return Nanos{std::llround(value * 1e6)}; }

// Refusals.

TEST(NominalPlan, RefusesNonFiniteAndNegativeImpedance) {
  for (const double bad : {-1.0, -1e-300, kInfinity, -kInfinity, kNan}) {
    EXPECT_EQ(nominal({.latency_ms = bad}, kTenMinutes).status, PlanStatus::kSkipInvalid) << bad;
    EXPECT_EQ(nominal({.drift = bad}, kTenMinutes).status, PlanStatus::kSkipInvalid) << bad;
    EXPECT_EQ(nominal({.reliability = bad}, kTenMinutes).status, PlanStatus::kSkipInvalid) << bad;
    EXPECT_EQ(nominal({}, {.weight = bad}).status, PlanStatus::kSkipInvalid) << bad;
    EXPECT_EQ(nominal({}, {.z = bad}).status, PlanStatus::kSkipInvalid) << bad;
  }
}

TEST(NominalPlan, RefusesReliabilityAboveOne) {
  EXPECT_EQ(nominal({.reliability = 1.0}, kTenMinutes).status, PlanStatus::kScheduled);
  EXPECT_EQ(nominal({.reliability = std::nextafter(1.0, 2.0)}, kTenMinutes).status,
            PlanStatus::kSkipInvalid);
}

TEST(NominalPlan, RefusesHeartbeatFromBeyondTheAllowedFuture) {
  EXPECT_EQ(nominal({.heartbeat_age = Nanos{-kHeartbeatAheadNs}}, kTenMinutes).status,
            PlanStatus::kScheduled);
  EXPECT_EQ(nominal({.heartbeat_age = Nanos{-kHeartbeatAheadNs - 1}}, kTenMinutes).status,
            PlanStatus::kSkipInvalid);
}

TEST(NominalPlan, RefusesEveryByteThatNamesNoClass) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    const auto plan = nominal({.agent_class = static_cast<AgentClass>(byte)}, kTenMinutes);
    EXPECT_EQ(plan.status == PlanStatus::kSkipInvalid, byte >= kAgentClassCount) << byte;
  }
}

TEST(NominalPlan, RefusesALeadThatOverflowsAndReportsNoNumber) {
  const auto plan = nominal({.latency_ms = 1e308, .drift = 1e308}, kTenMinutes);
  EXPECT_EQ(plan.status, PlanStatus::kSkipInvalid);
  EXPECT_EQ(plan.lead_ms, 0);
  EXPECT_EQ(plan.confidence, 0);
}

TEST(NominalPlan, TakesNegativeZeroForZero) {
  const auto plan = nominal({.latency_ms = -0.0, .drift = -0.0, .reliability = -0.0}, kTenMinutes);
  EXPECT_EQ(plan.status, PlanStatus::kScheduled);
  EXPECT_DOUBLE_EQ(plan.lead_ms, 15);
}

// Worked numbers, one for each class.

TEST(NominalPlan, GoldenClassA) {
  // one_way 12/2 = 6; processing 10 * 1.5 * 1 = 15; buffer 1.645 * 0.1 * 21 = 3.4545; lead 24.4545
  const auto plan =
      nominal({.agent_class = AgentClass::edge, .latency_ms = 12, .drift = 0.1}, kTenMinutes);
  EXPECT_DOUBLE_EQ(plan.one_way_ms, 6);
  EXPECT_DOUBLE_EQ(plan.processing_ms, 15);
  EXPECT_NEAR(plan.buffer_ms, 3.4545, 1e-12);
  EXPECT_NEAR(plan.lead_ms, 24.4545, 1e-12);
}

TEST(NominalPlan, GoldenClassB) {
  // one_way 50; processing 50 * (1 + 0) * (1 + 0.2) = 60; buffer 1.645 * 0.2 * 110 = 36.19; lead
  // 146.19
  const auto plan = nominal(
      {.agent_class = AgentClass::serverless, .latency_ms = 100, .drift = 0.2, .queue_depth = 2},
      {.weight = 0, .available = ms(1000)});
  EXPECT_DOUBLE_EQ(plan.one_way_ms, 50);
  EXPECT_DOUBLE_EQ(plan.processing_ms, 60);
  EXPECT_NEAR(plan.buffer_ms, 36.19, 1e-12);
  EXPECT_NEAR(plan.lead_ms, 146.19, 1e-12);
}

TEST(NominalPlan, GoldenClassC) {
  // one_way 100; processing 200 * 1.5 * 1.3 = 390; buffer 1.645 * 0.1 * 490 = 80.605; lead 570.605
  // confidence 0.5 * 0.9 - 0.3 * 0.1 + 0.2 = 0.62
  const auto plan = nominal({.agent_class = AgentClass::persistent,
                             .latency_ms = 200,
                             .drift = 0.1,
                             .reliability = 0.9,
                             .queue_depth = 3},
                            kTenMinutes);
  EXPECT_DOUBLE_EQ(plan.one_way_ms, 100);
  EXPECT_DOUBLE_EQ(plan.processing_ms, 390);
  EXPECT_NEAR(plan.buffer_ms, 80.605, 1e-12);
  EXPECT_NEAR(plan.lead_ms, 570.605, 1e-12);
  EXPECT_NEAR(plan.confidence, 0.62, 1e-12);
}

TEST(NominalPlan, GoldenClassD) {
  // one_way 175; processing 100 * 2 * 2 = 400; buffer 0; lead 575
  const auto plan = nominal({.agent_class = AgentClass::gpu, .latency_ms = 350, .queue_depth = 10},
                            {.weight = 2, .available = ms(1000)});
  EXPECT_DOUBLE_EQ(plan.processing_ms, 400);
  EXPECT_DOUBLE_EQ(plan.lead_ms, 575);
}

TEST(NominalPlan, GoldenClassE) {
  // one_way 75; processing 150 * 1.25 * 1.1 = 206.25; buffer 1.645 * 0.5 * 281.25 = 231.328125;
  // lead 512.578125
  const auto plan =
      nominal({.agent_class = AgentClass::local, .latency_ms = 150, .drift = 0.5, .queue_depth = 1},
              {.weight = 0.5, .available = ms(1000)});
  EXPECT_NEAR(plan.processing_ms, 206.25, 1e-12);
  EXPECT_NEAR(plan.lead_ms, 512.578125, 1e-12);
}

TEST(NominalPlan, GoldenClassF) {
  // one_way 30000; processing 60000 * 1.5 = 90000; buffer 1.645 * 0.1 * 120000 = 19740; lead 139740
  const auto plan =
      nominal({.agent_class = AgentClass::human, .latency_ms = 60'000, .drift = 0.1}, kTenMinutes);
  EXPECT_NEAR(plan.lead_ms, 139'740, 1e-9);
  EXPECT_EQ(plan.status, PlanStatus::kScheduled);
}

TEST(AgentClass, TablesAreTheSpecifiedOnes) {
  constexpr double kBase[] = {10, 50, 200, 100, 150, 60'000};
  constexpr double kPrior[] = {12, 100, 200, 350, 150, 60'000};
  for (std::size_t i = 0; i < kAgentClassCount; ++i) {
    EXPECT_EQ(base_processing_ms(static_cast<AgentClass>(i)), kBase[i]);
    EXPECT_EQ(prior_latency_ms(static_cast<AgentClass>(i)), kPrior[i]);
    EXPECT_EQ(kAgentClasses[i].letter, "ABCDEF"[i]);
  }
  EXPECT_EQ(name_of(AgentClass::human), "HUMAN");
  EXPECT_EQ(name_of(static_cast<AgentClass>(200)), "unknown");
}

// Boundaries.

TEST(NominalPlan, SendAtExactlyNowIsScheduledAndOneNanosecondLessIsLate) {
  const NominalInputs agent{.agent_class = AgentClass::gpu, .latency_ms = 350};  // 175 + 150 = 325
  EXPECT_EQ(nominal(agent, {.available = ms(325)}).status, PlanStatus::kScheduled);
  EXPECT_EQ(nominal(agent, {.available = ms(325) - Nanos{1}}).status, PlanStatus::kSkipLate);
  EXPECT_EQ(nominal(agent, {.available = Nanos{-1}}).status, PlanStatus::kSkipLate);
}

TEST(NominalPlan, LateStillSaysWhatWasNeeded) {
  const auto plan =
      nominal({.agent_class = AgentClass::gpu, .latency_ms = 350}, {.available = ms(300)});
  EXPECT_EQ(plan.status, PlanStatus::kSkipLate);
  EXPECT_DOUBLE_EQ(plan.lead_ms, 325);
}

TEST(NominalPlan, HeartbeatOfExactlyTenSecondsIsNotYoung) {
  const auto at = [](std::int64_t age_ns) {
    return nominal({.heartbeat_age = Nanos{age_ns}}, kTenMinutes).confidence;
  };
  EXPECT_DOUBLE_EQ(at(kHeartbeatFreshNs - 1), 0.7);
  EXPECT_DOUBLE_EQ(at(kHeartbeatFreshNs), 0.5);
  EXPECT_DOUBLE_EQ(at(-kHeartbeatAheadNs), 0.7);
}

TEST(NominalPlan, ConfidenceIsClampedToZeroAndNeverAboveSevenTenths) {
  EXPECT_EQ(nominal({.drift = 10, .reliability = 0}, kTenMinutes).confidence, 0);
  EXPECT_DOUBLE_EQ(nominal({.drift = 0, .reliability = 1}, kTenMinutes).confidence, 0.7);
  // 0.5 * 0.2 - 0.3 * 1 + 0.2 = 0, the clamp's edge
  EXPECT_NEAR(nominal({.drift = 1, .reliability = 0.2}, kTenMinutes).confidence, 0, 1e-15);
}

RC_GTEST_PROP(NominalPlan, LeadGrowsWithEveryInput, ()) {
  const auto amount = [] { return *rc::gen::inRange(0, 1'000'000) / 1000.0; };
  const NominalInputs agent{.agent_class = static_cast<AgentClass>(*rc::gen::inRange(0, 6)),
                            .latency_ms = amount(),
                            .drift = amount(),
                            .queue_depth = *rc::gen::inRange<std::uint32_t>(0, 1000)};
  const NominalRequest request{.weight = amount(), .z = amount()};
  const double lead = nominal(agent, request).lead_ms;
  NominalInputs more = agent;
  more.latency_ms += 1;
  RC_ASSERT(nominal(more, request).lead_ms > lead);
  more = agent;
  more.queue_depth += 1;
  RC_ASSERT(nominal(more, request).lead_ms > lead);
  more = agent;
  more.drift += 1;
  RC_ASSERT(nominal(more, request).lead_ms >= lead);
  RC_ASSERT(nominal(agent, {.weight = request.weight + 1, .z = request.z}).lead_ms > lead);
}

RC_GTEST_PROP(NominalPlan, AnyBitsAreEitherInvalidOrFiniteAndInRange, ()) {
  const auto bits = [] { return std::bit_cast<double>(*rc::gen::arbitrary<std::uint64_t>()); };
  const auto plan = nominal({.agent_class = static_cast<AgentClass>(*rc::gen::inRange(0, 256)),
                             .latency_ms = bits(),
                             .drift = bits(),
                             .reliability = bits(),
                             .queue_depth = *rc::gen::arbitrary<std::uint32_t>(),
                             .heartbeat_age = Nanos{*rc::gen::arbitrary<std::int64_t>()}},
                            {.weight = bits(), .z = bits(), .available = Nanos::max()});
  RC_ASSERT(std::isfinite(plan.lead_ms));
  RC_ASSERT(plan.lead_ms >= 0);
  RC_ASSERT(plan.confidence >= 0 && plan.confidence <= 1);
}

}  // namespace of_lead_time_test
}  // namespace mesh::sched
