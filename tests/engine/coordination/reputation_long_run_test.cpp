// What a router does in the long run: shares, recovery, regret, other hosts, outliers.
#include <cmath>
#include <set>

#include "tests/engine/coordination/reputation_crew.hpp"

namespace mesh::coordination {
namespace of_reputation_long_run_test {

using namespace testing::crew;  // NOLINT(google-build-using-namespace): test words

// --- properties --------------------------------------------------------------------------------

RC_GTEST_PROP(ReputationRouter, ReputationIsMonotoneAndWithinItsBounds, ()) {
  Router router = crew(preset("default"), 1);
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  std::int64_t now = 0;
  for (int i = 0; i < 200; ++i) {
    now += static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(seconds(900).count())));
    const bool ok = rng.below(2) == 0;
    const double before = router.reputation(0, 0, Nanos{now});
    answer(router, 0, ok, Nanos{now});
    const double after = router.reputation(0, 0, Nanos{now});
    RC_ASSERT(after > 0 && after < 1);
    // Crossing observations_min changes which row is asked: both hold the same records here.
    RC_ASSERT((ok ? after - before : before - after) >= 0);
  }
}

// Whatever the bounds are: nobody is put aside before there is as much evidence as they ask for,
// and everybody is whose record is bad enough then. By sums of our own.
RC_GTEST_PROP(ReputationRouter, QuarantinesOnEnoughEvidenceAndOnNoLess, ()) {
  ReputationConfig config = preset("exploit");
  config.half_life_ns = seconds(60);
  config.observations_min = *rc::gen::inRange(2, 13);
  config.quarantine_below = 0.01 * *rc::gen::inRange(34, 90);
  Router router = crew(config, 1);
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  double good = 0;
  double bad = 0;
  double now_s = 0;
  for (int i = 0; i < 60; ++i) {
    const double passed_s = static_cast<double>(rng.below(10));
    now_s += passed_s;
    good *= std::exp2(-passed_s / 60);
    bad *= std::exp2(-passed_s / 60);
    const bool ok = i != 0 && rng.below(4) == 0;
    answer(router, 0, ok, seconds(now_s));
    (ok ? good : bad) += 1;
    const double seen = good + bad;
    const double reputation = (good + 1) / (seen + 2);
    const bool is_quarantined = router.view(0, 0, seconds(now_s)).quarantined;
    if (is_quarantined) {
      RC_ASSERT(seen > config.observations_min - 1e-3);
      RC_ASSERT(reputation < config.quarantine_below + 1e-3);
      return;
    }
    // It is judged when it fails.
    RC_ASSERT(ok || seen < config.observations_min + 1e-3 ||
              reputation > config.quarantine_below - 1e-3);
  }
}

RC_GTEST_PROP(ReputationRouter, DecayInOneStepIsDecayInMany, ()) {
  Router one = crew(preset("default"), 1);
  Router many = crew(preset("default"), 1);
  const int good = *rc::gen::inRange(1, 100);
  const int bad = *rc::gen::inRange(0, 100);
  for (int i = 0; i < good; ++i) one.record({0, kMs}, Nanos{0}), many.record({0, kMs}, Nanos{0});
  for (int i = 0; i < bad; ++i) {
    one.apply(reputation::RecordFailure{0}, Nanos{0});
    many.apply(reputation::RecordFailure{0}, Nanos{0});
  }
  const int steps = *rc::gen::inRange(1, 60);
  ReputationActions actions;
  for (int i = 1; i <= steps; ++i) many.tick(seconds(100.0 * i), actions);
  const Nanos end = seconds(100.0 * steps);
  RC_ASSERT(std::abs(one.reputation(0, kAnyCapability, end) -
                     many.reputation(0, kAnyCapability, end)) < 1e-6);
}

// A counter tells 256 epochs apart: what is older must be gone, not young again.
TEST(ReputationRouter, WhatIsVeryOldDoesNotComeBack) {
  ReputationConfig config;
  config.half_life_ns = seconds(1);
  for (const double gap : {40.0, 700.0, 2'047.0, 2'048.0, 2'049.0, 1e6}) {
    Router router = crew(config, 1);
    for (int i = 0; i < 50; ++i) router.record({0, kMs}, seconds(5));
    ReputationActions actions;
    router.tick(seconds(5 + gap), actions);
    EXPECT_NEAR(router.reputation(0, kAnyCapability, seconds(5 + gap)), 0.5, 1e-6) << gap;
  }
}

TEST(ReputationRouter, TheBetterGetsThreeTimesTheSharePlusAndNobodyStarves) {
  ReputationConfig config = preset("default");
  config.policy = PickPolicy::weighted;
  config.gamma = 2;
  config.w_success = 1;  // the outcomes alone: equal latencies would blur the ratio to 2.9
  config.w_latency = 0;
  config.quarantine_below = 0;
  Router router = crew(config, 2, 5);
  Rng rng(6);
  std::array<int, 2> routed{};
  constexpr int kCalls = 20'000;
  for (int i = 0; i < kCalls; ++i) {
    const Nanos now = seconds(60 + 0.2 * i);
    const auto agent = route(router, now);
    answer(router, agent, rng.u01() < (agent == 0 ? 0.99 : 0.5), now);
    if (i >= kCalls / 2) ++routed[agent];
  }
  EXPECT_GE(routed[0], 3 * routed[1]);
  EXPECT_GE(routed[1], kCalls / 2 / (50 * 2));
}

RC_GTEST_PROP(ReputationRouter, EachEligibleAgentIsTriedOnceInNExplorations, ()) {
  ReputationConfig config = preset("default");
  config.policy = *rc::gen::element(PickPolicy::p2c, PickPolicy::argmax, PickPolicy::weighted,
                                    PickPolicy::thompson);
  config.explore_every = *rc::gen::inRange<std::uint32_t>(1, 8);
  config.quarantine_below = 0;
  const auto agents = *rc::gen::inRange<std::uint32_t>(1, 12);
  Router router = crew(config, agents, *rc::gen::arbitrary<std::uint64_t>());
  Rng rng(4);
  for (int round = 0; round < 4; ++round) {
    std::set<std::uint32_t> tried;
    for (std::uint32_t i = 0; i < config.explore_every * agents; ++i) {
      const auto agent = route(router, Nanos{0});
      tried.insert(agent);
      answer(router, agent, rng.u01() < 0.1 * agent, Nanos{0});
    }
    RC_ASSERT(tried.size() == agents);
  }
}

// Without exploration one that has failed is never tried again: the winner stays above the prior.
class Recovery : public ::testing::TestWithParam<PickPolicy> {};
TEST_P(Recovery, ARecoveredAgentRegainsItsShareWithinFiveHalfLives) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    ReputationConfig config = preset("default");
    config.policy = GetParam();
    config.half_life_ns = seconds(60);
    Router router = crew(config, 4, seed);
    Rng rng(seed + 50);
    std::array<int, 3> share{};  // before it fails, while it does, five half-lives later
    for (int i = 0; i < 60'000; ++i) {
      const Nanos now = seconds(60 + 0.02 * i);
      const bool failing = i >= 15'000 && i < 25'000;
      const auto agent = route(router, now);
      answer(router, agent, (agent != 0 || !failing) && rng.u01() < 0.95, now);
      if (agent != 0) continue;
      if (i >= 5'000 && i < 15'000) ++share[0];
      if (i >= 15'000 && i < 25'000) ++share[1];
      if (i >= 25'000 + 15'000 && i < 50'000) ++share[2];
    }
    EXPECT_GT(share[0], 1'500) << "seed " << seed;
    EXPECT_LT(share[1], 0.6 * share[0]) << "seed " << seed;
    EXPECT_GE(share[2], 0.8 * share[0]) << "seed " << seed;
  }
}
INSTANTIATE_TEST_SUITE_P(ReputationRouter, Recovery,
                         ::testing::Values(PickPolicy::p2c, PickPolicy::weighted));

TEST(ReputationRouter, ThompsonSamplingHasARegretUnderTwoHundred) {
  const std::array<double, 3> chance{0.9, 0.6, 0.5};
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    ReputationConfig config = preset("explore");
    config.explore_every = 0;
    config.half_life_ns = seconds(30.0 * 86'400);
    config.w_latency = 0;
    config.w_success = 1;
    config.observations_min = 0;
    config.quarantine_below = 0;
    config.inflight_limit = 0;
    Router router = crew(config, 3, seed);
    Rng rng(seed + 100);
    double regret = 0;
    for (int i = 0; i < 10'000; ++i) {
      const auto agent = route(router, seconds(60));
      answer(router, agent, rng.u01() < chance[agent], seconds(60));
      regret += chance[0] - chance[agent];
    }
    EXPECT_LT(regret, 200) << "seed " << seed;
  }
}

// --- other hosts -------------------------------------------------------------------------------

TEST(ReputationRouter, MergingAReportTwiceOrLateChangesNothing) {
  Router here = crew(preset("default"), 1);
  Router there = crew(preset("default"), 1);
  for (int i = 0; i < 8; ++i) answer(there, 0, true, Nanos{0});
  const auto early = there.report(0, 0, Nanos{0}).value();
  for (int i = 0; i < 8; ++i) answer(there, 0, false, Nanos{0});
  const auto late = there.report(0, 0, Nanos{0}).value();
  here.apply(reputation::Import{1, late}, Nanos{0});
  const double once = here.reputation(0, 0, Nanos{0});
  EXPECT_NEAR(once, 9.0 / 18, 1e-6);
  const std::uint64_t hash = here.state_hash();
  here.apply(reputation::Import{1, late}, Nanos{0});
  here.apply(reputation::Import{1, early}, Nanos{0});
  EXPECT_EQ(here.state_hash(), hash);
  EXPECT_EQ(here.counters().stale_imports, 2U);
  here.apply(reputation::Import{2, early}, Nanos{0});
  EXPECT_NEAR(here.reputation(0, 0, Nanos{0}), 17.0 / 26, 1e-6) << "another origin adds";
  EXPECT_EQ(here.report(0, 0, Nanos{0})->observations, 0U) << "what was heard is not passed on";
}

TEST(ReputationRouter, ImportsOfOriginsCommute) {
  const std::array reports{reputation::Import{1, {0, 0, 9, 1, 10}},
                           reputation::Import{2, {0, 0, 2, 8, 10}},
                           reputation::Import{1, {0, 0, 12, 1, 13}},
                           reputation::Import{3, {0, kAnyCapability, 1, 1, 2}}};
  std::array<int, 4> order{0, 1, 2, 3};
  std::set<std::uint64_t> outcomes;
  do {
    Router router = crew(preset("default"), 1);
    for (const int i : order) router.apply(reports[static_cast<std::size_t>(i)], Nanos{0});
    outcomes.insert(router.state_hash());
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(outcomes.size(), 1U);
}

TEST(ReputationRouter, ARingOfLiarsThatNobodyVouchesForCountsForNothing) {
  Router router = crew(preset("default"), 2);
  router.apply(reputation::Import{1, {0, 0, 0, 40, 40}}, Nanos{0});  // the honest: 0 is bad
  for (std::uint32_t liar = 2; liar < 6; ++liar) {
    router.apply(reputation::Import{liar, {0, 0, 900, 0, 900}}, Nanos{0});
  }
  EXPECT_GT(router.reputation(0, 0, Nanos{0}), 0.9) << "while nobody was rated all count";
  for (std::uint32_t liar = 2; liar < 6; ++liar) {
    router.apply(reputation::RateOrigin{liar, liar == 5 ? 2 : liar + 1, 1'000}, Nanos{0});
  }
  router.apply(reputation::RateOrigin{0, 1, 1}, Nanos{0});
  EXPECT_EQ(router.trust(1), 1);
  EXPECT_EQ(router.trust(3), 0);
  EXPECT_NEAR(router.reputation(0, 0, Nanos{0}), 1.0 / 42, 1e-4);
  EXPECT_TRUE(router.verify());
}

// --- outliers ----------------------------------------------------------------------------------

TEST(ReputationRouter, EjectsWhoLiesFarBelowItsPeersButNeverMoreThanATenth) {
  ReputationConfig config = preset("default");
  config.quarantine_below = 0;
  Router router = crew(config, 20);
  for (std::uint32_t i = 0; i < 20; ++i) {
    for (int k = 0; k < 30; ++k) answer(router, i, i >= 2 || k % 3 == 0, seconds(50));
  }
  ReputationActions actions;
  router.tick(seconds(60), actions);
  EXPECT_TRUE(router.view(0, 0, seconds(60)).quarantined);
  EXPECT_TRUE(router.view(1, 0, seconds(60)).quarantined);
  EXPECT_EQ(router.counters().ejections, 2U);
  for (int k = 0; k < 200; ++k) answer(router, 2, false, seconds(61));
  router.tick(seconds(75), actions);
  EXPECT_EQ(router.counters().ejections, 2U) << "two of twenty are out already";
  router.tick(seconds(125), actions);
  EXPECT_TRUE(router.view(2, 0, seconds(125)).quarantined) << "the two are back";
  EXPECT_TRUE(router.verify());
}

TEST(ReputationRouter, EjectsNobodyWherePeersAreAlikeOrFew) {
  ReputationConfig config = preset("default");
  config.quarantine_below = 0;
  for (const std::uint32_t agents : {4U, 20U}) {
    Router router = crew(config, agents);
    for (std::uint32_t i = 0; i < agents; ++i) {
      for (int k = 0; k < 30; ++k) answer(router, i, agents == 20 || i != 0, seconds(50));
    }
    ReputationActions actions;
    router.tick(seconds(60), actions);
    EXPECT_EQ(router.counters().ejections, 0U) << agents;
  }
}

}  // namespace of_reputation_long_run_test
}  // namespace mesh::coordination
