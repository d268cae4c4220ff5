#include "engine/coordination/reputation_router.hpp"

#include <cmath>

#include "tests/allocations.hpp"
#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/reputation_crew.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination {
namespace of_reputation_router_test {

using testing::golden;
using testing::Json;
using testing::matches;
using testing::Timed;
using namespace testing::crew;  // NOLINT(google-build-using-namespace): test words

// --- goldens -----------------------------------------------------------------------------------

TEST(ReputationRouter, GoldenBetaAndDecay) {
  const auto [inputs, expected] = golden("reputation_router", "beta_and_decay");
  ReputationConfig config;
  config.half_life_ns = Nanos{inputs.at("half_life_ns").get<std::int64_t>()};
  Router router = crew(config, 3);
  const auto record = [&](std::uint32_t agent, bool ok, Nanos now) {
    ok ? router.record({agent, kMs}, now).code
       : router.apply(reputation::RecordFailure{agent}, now).code;
  };
  record(1, true, Nanos{0});
  record(2, false, Nanos{0});
  Json actual{{"one_success", router.reputation(1, kAnyCapability, Nanos{0})},
              {"one_failure", router.reputation(2, kAnyCapability, Nanos{0})}};
  for (const auto& row : inputs.at("records_s_ok")) {
    record(0, row.at(1) == 1, seconds(row.at(0)));
  }
  const Nanos end = seconds(inputs.at("read_at_s"));
  const auto report = router.report(0, kAnyCapability, end).value();
  actual["S"] = report.successes;
  actual["F"] = report.failures;
  actual["reputation"] = router.reputation(0, kAnyCapability, end);
  Router fresh = crew(config, 2);
  fresh.record({0, kMs}, Nanos{0});
  fresh.apply(reputation::RecordFailure{1}, Nanos{0});
  actual["after_one_half_life"] = {fresh.reputation(0, kAnyCapability, config.half_life_ns),
                                   fresh.reputation(1, kAnyCapability, config.half_life_ns)};
  EXPECT_TRUE(matches(expected, actual));
}

TEST(ReputationRouter, GoldenCompositeScore) {
  const auto [inputs, expected] = golden("reputation_router", "composite_score");
  ReputationConfig config;
  config.w_success = inputs.at("w_success");
  config.w_latency = inputs.at("w_latency");
  config.latency_ref_ns = inputs.at("latency_ref_ms").get<int>() * kMs;
  Router router = crew(config, 2);
  const int ms = inputs.at("agent").at("latency_ms");
  router.record({0, ms * kMs}, Nanos{0});
  const double reference = inputs.at("latency_ref_ms");
  EXPECT_TRUE(matches(expected, Json{{"latency_term", latency_term(ms, reference)},
                                     {"score", router.score(0, 0, Nanos{0})},
                                     {"unknown_agent", router.score(77, 0, Nanos{0})}}));
  EXPECT_EQ(router.score(1, 0, Nanos{0}), router.score(77, 0, Nanos{0})) << "nothing known yet";
}

TEST(ReputationRouter, GoldenExploresEveryFiftieth) {
  const auto [inputs, expected] = golden("reputation_router", "explore_every_50");
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    ReputationConfig config = preset("default");
    config.explore_every = inputs.at("explore_every");
    Router router = crew(config, 2, seed);
    router.record({0, 150 * kMs}, Nanos{0});
    router.apply(reputation::RecordFailure{1}, Nanos{0});
    Json picked = Json::array();
    for (int i = 0; i < inputs.at("calls"); ++i) {
      picked.push_back(route(router, Nanos{0}) == 0 ? "agent-A" : "agent-B");
    }
    ASSERT_TRUE(matches(expected, picked)) << "seed " << seed;
  }
}

TEST(ReputationRouter, GoldenLatencyEwma) {
  const auto [inputs, expected] = golden("reputation_router", "latency_ewma");
  ReputationConfig config;
  config.latency_alpha = inputs.at("alpha");
  Router router = crew(config, 1);
  Json rows = Json::array();
  for (const int ms : inputs.at("samples")) {
    router.record({0, ms * kMs}, Nanos{0});
    rows.push_back(static_cast<double>(router.latency(0, kAnyCapability).count()) / 1e6);
  }
  EXPECT_TRUE(matches(expected, rows));
}

// --- examples ----------------------------------------------------------------------------------

TEST(ReputationRouter, ExampleAlwaysTakesTheBetterUnderExploit) {
  Router router = crew(preset("exploit"), 2);
  router.record({0, 150 * kMs}, Nanos{0});
  router.apply(reputation::RecordFailure{1}, Nanos{0});
  EXPECT_NEAR(router.reputation(0, 0, Nanos{0}), 0.6667, 1e-4);
  EXPECT_NEAR(router.reputation(1, 0, Nanos{0}), 0.3333, 1e-4);
  for (int i = 0; i < 500; ++i) ASSERT_EQ(route(router, Nanos{0}), 0U);
}

// The neighbouring package routes by figures that nobody can record into.
TEST(ReputationRouter, DoesNotRouteByFiguresThatRecordsDoNotReach) {
  Router router = crew(preset("exploit"), 2);
  EXPECT_EQ(route(router, Nanos{0}), 0U) << "a tie ends at the lower agent";
  answer(router, 0, false, Nanos{0});
  EXPECT_EQ(route(router, Nanos{0}), 1U);
  answer(router, 1, false, Nanos{0});
  answer(router, 1, false, Nanos{0});
  EXPECT_EQ(route(router, Nanos{0}), 0U);
}

// Elsewhere a capability is a bonus in the score, and somebody is always found.
TEST(ReputationRouter, DoesNotRouteToAnAgentWithoutTheCapability) {
  Router router = crew(preset("default"), 3);
  router.apply(reputation::Offer{2, "vision"}, Nanos{0});
  for (int i = 0; i < 50; ++i) answer(router, 0, true, Nanos{0});
  const auto vision = router.find("vision").value();
  for (int i = 0; i < 200; ++i) {
    std::uint32_t agent = kNoRow;
    ASSERT_EQ(router.route(vision, Nanos{0}, agent), Errc::ok);
    ASSERT_EQ(agent, 2U);
  }
}

TEST(ReputationRouter, DoesNotFallBackToARandomAgentWhereNoneFits) {
  Router router = crew(preset("default"), 4);
  router.apply(reputation::Join{4}, Nanos{0});
  router.apply(reputation::SetRoutable{0, false}, Nanos{0});
  router.apply(reputation::SetRoutable{1, false}, Nanos{0});
  for (int i = 0; i < 9; ++i) answer(router, 2, false, Nanos{0});
  router.apply(reputation::Withdraw{3, 0}, Nanos{0});
  const auto reply = router.apply(reputation::Route{0}, Nanos{0});
  EXPECT_EQ(reply.code, Errc::no_candidate);
  EXPECT_EQ(reply.agent, kNoRow);
  const auto removed = [&](SelectFilter filter) {
    return reply.removed[static_cast<std::size_t>(filter)];
  };
  EXPECT_EQ(removed(SelectFilter::capability), 2U) << "3 withdrew, 4 never offered";
  EXPECT_EQ(removed(SelectFilter::breaker), 2U);
  EXPECT_EQ(removed(SelectFilter::quarantined), 1U);
  EXPECT_EQ(router.apply(reputation::TopK{0, 1}, Nanos{0}).code, Errc::no_candidate);
  EXPECT_EQ(router.counters().without_candidate, 1U);
  EXPECT_TRUE(router.verify());
}

// --- decided -----------------------------------------------------------------------------------

TEST(ReputationRouter, FallsBackToTheAgentUnderFiveObservationsOfAClass) {
  Router router = crew(preset("default"), 1);
  for (int i = 0; i < 20; ++i) router.record({0, kMs}, Nanos{0});
  for (int i = 0; i < 4; ++i) answer(router, 0, false, Nanos{0});
  EXPECT_NEAR(router.reputation(0, 0, Nanos{0}), 21.0 / 26, 1e-6) << "20 and 4 of the agent";
  answer(router, 0, false, Nanos{0});
  EXPECT_NEAR(router.reputation(0, 0, Nanos{0}), 1.0 / 7, 1e-6) << "five of its own";
}

TEST(ReputationRouter, AConflictIsAnAnswerAndAWrongResultWeighsFive) {
  Router router = crew(preset("default"), 2);
  route(router, Nanos{0});
  const double before = router.reputation(0, 0, Nanos{0});
  router.apply(reputation::RecordFailure{0, FailureKind::conflict, 0}, Nanos{0});
  EXPECT_EQ(router.reputation(0, 0, Nanos{0}), before);
  EXPECT_EQ(router.counters().conflicts, 1U);
  router.apply(reputation::RecordFailure{0, FailureKind::timeout}, Nanos{0});
  EXPECT_NEAR(router.reputation(0, kAnyCapability, Nanos{0}), 1.0 / 3, 1e-9);
  router.apply(reputation::RecordFailure{1, FailureKind::wrong_result}, Nanos{0});
  EXPECT_NEAR(router.reputation(1, kAnyCapability, Nanos{0}), 1.0 / 7, 1e-9);
}

TEST(ReputationRouter, QuarantinesTheBadAndLetsThemRampUpAgain) {
  ReputationConfig config = preset("exploit");
  Router router = crew(config, 2);
  for (int i = 0; i < 4; ++i) answer(router, 0, false, seconds(100));
  EXPECT_FALSE(router.view(0, 0, seconds(100)).quarantined) << "four are too few";
  answer(router, 0, false, seconds(100));
  const auto view = router.view(0, 0, seconds(100));
  EXPECT_TRUE(view.quarantined);
  EXPECT_FALSE(view.eligible);
  EXPECT_EQ(route(router, seconds(159.9)), 1U);
  ReputationActions actions;
  router.tick(seconds(160), actions);
  EXPECT_TRUE(actions.view_changed);
  EXPECT_TRUE(router.view(0, 0, seconds(160)).eligible);
  // Even with a better record it has a tenth of its weight, and all of it after slow_start_ns.
  for (int i = 0; i < 200; ++i) answer(router, 0, true, seconds(160));
  EXPECT_EQ(route(router, seconds(160)), 1U);
  EXPECT_EQ(route(router, seconds(190)), 0U);
  std::vector<std::uint16_t> kinds;
  router.events().after(0, [&](const EventRecord& event) { kinds.push_back(event.kind); });
  EXPECT_EQ(kinds, (std::vector<std::uint16_t>{1, 2}));
}

TEST(ReputationRouter, WhatIsInFlightCountsAgainstAnAgentAndIsForgottenOnceItNeverAnswers) {
  ReputationConfig config = preset("exploit");
  Router router(config);
  for (std::uint32_t i = 0; i < 2; ++i) {
    router.apply(reputation::Join{i, 4}, Nanos{0});
    router.apply(reputation::Offer{i, "work"}, Nanos{0});
  }
  std::array<int, 2> routed{};
  for (int i = 0; i < 8; ++i) ++routed[route(router, seconds(40))];
  EXPECT_EQ(routed[0], 4) << "alike, so they take turns";
  EXPECT_EQ(router.in_flight(0), 4U);
  answer(router, 0, true, seconds(41));
  EXPECT_EQ(router.in_flight(0), 3U);
  route(router, seconds(102));
  EXPECT_EQ(router.in_flight(1), 0U) << "nothing was heard of them for a minute";
}

TEST(ReputationRouter, SumsOfAStationAreTheSameAsItsRecords) {
  Router one = crew(preset("default"), 1);
  Router summed = crew(preset("default"), 1);
  for (int i = 0; i < 6; ++i) one.record({0, 80 * kMs, 0}, seconds(3));
  for (int i = 0; i < 2; ++i) answer(one, 0, false, seconds(3));
  one.apply(reputation::RecordFailure{0, FailureKind::wrong_result, 0}, seconds(3));
  summed.apply(reputation::RecordSums{0, 0, 6, 2, 1, 480 * kMs}, seconds(3));
  EXPECT_NEAR(one.score(0, 0, seconds(3)), summed.score(0, 0, seconds(3)), 1e-9);
  EXPECT_EQ(one.view(0, 0, seconds(3)).observations, summed.view(0, 0, seconds(3)).observations);
}

TEST(ReputationRouter, TopKEqualsASortByScore) {
  Router router = crew(preset("default"), 40);
  Rng rng(3);
  for (int i = 0; i < 400; ++i) {
    answer(router, static_cast<std::uint32_t>(rng.below(40)), rng.below(3) != 0, seconds(50));
  }
  std::vector<std::uint32_t> sorted;
  for (std::uint32_t i = 0; i < 40; ++i) {
    if (router.view(i, 0, seconds(50)).eligible) sorted.push_back(i);
  }
  std::stable_sort(sorted.begin(), sorted.end(), [&](auto a, auto b) {
    return router.score(a, 0, seconds(50)) > router.score(b, 0, seconds(50));
  });
  const auto reply = router.apply(reputation::TopK{0, 10}, seconds(50));
  ASSERT_EQ(reply.count, 10U);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(reply.agents[i], sorted[i]) << i;
}

TEST(ReputationRouter, ResetForgetsARecordAndEndsItsQuarantine) {
  Router router = crew(preset("default"), 1);
  for (int i = 0; i < 9; ++i) answer(router, 0, false, Nanos{0});
  ASSERT_TRUE(router.view(0, 0, Nanos{0}).quarantined);
  EXPECT_EQ(router.apply(reputation::Reset{0}, Nanos{0}).code, Errc::ok);
  EXPECT_EQ(router.reputation(0, 0, Nanos{0}), 0.5);
  EXPECT_TRUE(router.view(0, 0, Nanos{0}).eligible);
  EXPECT_TRUE(router.verify());
}

// --- config, bad input, bytes ------------------------------------------------------------------

TEST(ReputationConfig, HasItsPresets) {
  for (const auto name : ReputationConfig::names()) {
    EXPECT_TRUE(Router::validate(preset(name))) << name;
  }
  EXPECT_EQ(preset("exploit").policy, PickPolicy::argmax);
  EXPECT_EQ(preset("exploit").explore_every, 0U);
  EXPECT_EQ(preset("explore").policy, PickPolicy::thompson);
  EXPECT_EQ(preset("default").half_life_ns, seconds(600));
  EXPECT_EQ(ReputationConfig::preset("greedy").error().code, Errc::unknown_preset);
}

TEST(ReputationConfig, NamesTheFieldThatIsOutOfRange) {
  const auto refused = [](std::string_view field, auto&& change) {
    ReputationConfig config;
    change(config);
    const auto status = Router::validate(config);
    ASSERT_FALSE(status) << field;
    EXPECT_EQ(status.error().code, Errc::invalid_config);
    EXPECT_NE(status.error().sentence.find(field), std::string::npos) << status.error().sentence;
  };
  refused("half_life_ns", [](auto& c) { c.half_life_ns = seconds(0.9); });
  refused("half_life_ns", [](auto& c) { c.half_life_ns = seconds(31.0 * 86'400); });
  refused("prior_success", [](auto& c) { c.prior_success = 0; });
  refused("prior_failure", [](auto& c) { c.prior_failure = std::nan(""); });
  refused("w_latency", [](auto& c) { c.w_latency = 0.5; });
  refused("latency_ref_ns", [](auto& c) { c.latency_ref_ns = Nanos{0}; });
  refused("latency_alpha", [](auto& c) { c.latency_alpha = 1.1; });
  refused("gamma", [](auto& c) { c.gamma = HUGE_VAL; });
  refused("quarantine_below", [](auto& c) { c.quarantine_below = 1; });
  refused("quarantine_ns", [](auto& c) { c.quarantine_ns = Nanos{0}; });
  refused("outlier_stdevs", [](auto& c) { c.outlier_stdevs = -1; });
  refused("agents_max", [](auto& c) { c.agents_max = 0; });
  refused("rows_max", [](auto& c) { c.rows_max = 0; });
}

ReputationConfig small_config() {
  ReputationConfig config;
  config.agents_max = 4;
  config.capabilities_max = 2;
  config.rows_max = 5;
  config.origins_max = 2;
  config.half_life_ns = seconds(20);
  config.quarantine_ns = seconds(10);
  config.explore_every = 7;
  return config;
}

TEST(ReputationRouter, RefusesBadInputAndStaysAsItWas) {
  Router router(small_config());
  for (std::uint32_t i = 0; i < 3; ++i) {
    router.apply(reputation::Join{i}, Nanos{0});
    router.apply(reputation::Offer{i, "work"}, Nanos{0});
  }
  router.apply(reputation::Offer{0, "vision"}, Nanos{0});
  router.apply(reputation::Offer{1, "vision"}, Nanos{0});
  using Bad = testing::BadInput<Router>;
  const double nan = std::nan("");
  const auto unknown = Errc::not_found;
  testing::expect_all_refused<Router>(
      router,
      {Bad{"joins twice", reputation::Join{0}, Errc::already_exists},
       Bad{"beyond the table", reputation::Join{4}, Errc::capacity},
       Bad{"unknown leaves", reputation::Leave{3}, unknown},
       Bad{"unknown offers", reputation::Offer{3, "work"}, unknown},
       Bad{"offers twice", reputation::Offer{0, "work"}, Errc::capacity},
       Bad{"no name", reputation::Offer{2, ""}, Errc::invalid_id},
       Bad{"a name too long", reputation::Offer{2, std::string(129, 'a')}, Errc::invalid_id},
       Bad{"not UTF-8", reputation::Offer{2, "\xFF"}, Errc::invalid_id},
       Bad{"no row left", reputation::Offer{2, "vision"}, Errc::capacity},
       Bad{"one capability too many", reputation::Offer{2, "third"}, Errc::capacity},
       Bad{"withdraws what it never offered", reputation::Withdraw{2, 1}, unknown},
       Bad{"withdraws itself", reputation::Withdraw{2, kAnyCapability}},
       Bad{"unknown breaker", reputation::SetRoutable{9}, unknown},
       Bad{"unknown succeeds", reputation::RecordSuccess{9}, unknown},
       Bad{"a huge agent", reputation::RecordSuccess{UINT32_MAX - 1}, unknown},
       Bad{"unknown capability", reputation::RecordSuccess{0, kMs, 5}, unknown},
       Bad{"negative latency", reputation::RecordSuccess{0, Nanos{-1}}},
       Bad{"before time", reputation::RecordSuccess{0}, Errc::invalid_argument, Nanos{-1}},
       Bad{"unknown fails", reputation::RecordFailure{9}, unknown},
       Bad{"unknown kind", reputation::RecordFailure{0, FailureKind{9}}},
       Bad{"fails before time", reputation::RecordFailure{0}, Errc::invalid_argument, Nanos{-1}},
       Bad{"sums of nothing", reputation::RecordSums{0}},
       Bad{"sums with negative latency", reputation::RecordSums{0, 0, 1, 0, 0, Nanos{-1}}},
       Bad{"too many sums", reputation::RecordSums{0, 0, UINT32_MAX, UINT32_MAX}},
       Bad{"unknown sums", reputation::RecordSums{9, 0, 1}, unknown},
       Bad{"routes nothing known", reputation::Route{2}, unknown},
       Bad{"routes before time", reputation::Route{0}, Errc::invalid_argument, Nanos{-1}},
       Bad{"top of nothing known", reputation::TopK{2, 1}, unknown},
       Bad{"top 0", reputation::TopK{0, 0}},
       Bad{"top too many", reputation::TopK{0, 17}},
       Bad{"unknown reset", reputation::Reset{3}, unknown},
       Bad{"its own import", reputation::Import{0, {0, 0, 1, 1, 1}}, unknown},
       Bad{"unknown origin", reputation::Import{3, {0, 0, 1, 1, 1}}, unknown},
       Bad{"import of an unknown agent", reputation::Import{1, {3, 0, 1, 1, 1}}, unknown},
       Bad{"import of NaN", reputation::Import{1, {0, 0, nan, 1, 1}}},
       Bad{"import below 0", reputation::Import{1, {0, 0, 1, -1, 1}}},
       Bad{"import of infinity", reputation::Import{1, {0, 0, HUGE_VAL, 1, 1}}},
       Bad{"rates an unknown origin", reputation::RateOrigin{0, 3, 1}, unknown},
       Bad{"vouches for itself", reputation::RateOrigin{1, 1, 1}},
       Bad{"trusts NaN", reputation::RateOrigin{0, 1, nan}}});
  Router roomy = crew(preset("default"), 1);
  testing::expect_all_refused<Router>(
      roomy, {Bad{"offers twice", reputation::Offer{0, "work"}, Errc::already_exists}});
}

TEST(ReputationRouter, TimeThatGoesBackStandsStill) {
  Router router = crew(preset("default"), 1);
  router.record({0, kMs}, seconds(700));
  router.record({0, kMs}, seconds(100));
  EXPECT_NEAR(router.report(0, kAnyCapability, seconds(700))->successes, 2, 1e-6);
}

std::vector<Timed<Router::Command>> trace(std::size_t count, std::uint64_t seed) {
  std::vector<Timed<Router::Command>> commands;
  for (std::uint32_t i = 0; i < 3; ++i) {
    commands.push_back({Nanos{0}, reputation::Join{i, i}});
    commands.push_back({Nanos{0}, reputation::Offer{i, "work"}});
  }
  commands.push_back({Nanos{0}, reputation::Offer{1, "vision"}});
  Rng rng(seed);
  Nanos now{0};
  while (commands.size() < count) {
    now += Nanos{static_cast<std::int64_t>(rng.below(3'000'000'000))};
    const auto agent = static_cast<std::uint32_t>(rng.below(4));
    const auto kind = static_cast<std::uint32_t>(rng.below(2));
    Router::Command command = reputation::Route{kind};
    switch (rng.below(14)) {
      case 0:
      case 1:
        command = reputation::RecordSuccess{
            agent, Nanos{static_cast<std::int64_t>(rng.below(400'000'000))}, kind};
        break;
      case 2:
      case 3:
      case 4:
        command = reputation::RecordFailure{agent, static_cast<FailureKind>(rng.below(4)),
                                            rng.below(2) == 0 ? kind : kAnyCapability};
        break;
      case 5:
        command = reputation::RecordSums{agent, kind, 2, 1, 0, 100 * kMs};
        break;
      case 6:
        command = reputation::Import{1 + kind, {agent, kind, 3, 2, commands.size()}};
        break;
      case 7:
        command = reputation::RateOrigin{kind, 2 - kind, 1};
        break;
      case 8:
        command = reputation::SetRoutable{agent, rng.below(3) != 0};
        break;
      case 9:
        command = reputation::TopK{kind, 2};
        break;
      default:
        break;
    }
    if (rng.below(60) == 0) command = reputation::Reset{agent};
    if (rng.below(60) == 0) command = reputation::Leave{agent};
    if (rng.below(20) == 0) command = reputation::Join{agent};
    if (rng.below(10) == 0) command = reputation::Offer{agent, kind == 0 ? "work" : "vision"};
    if (rng.below(40) == 0) command = reputation::Withdraw{agent, kind};
    commands.push_back({now, command});
  }
  return commands;
}

TEST(ReputationRouter, ReplaysToTheSameBytesUnderEachPolicy) {
  for (const auto policy :
       {PickPolicy::p2c, PickPolicy::argmax, PickPolicy::weighted, PickPolicy::thompson}) {
    ReputationConfig config = small_config();
    config.policy = policy;
    testing::expect_replays<Router>(config, trace(600, static_cast<std::uint64_t>(policy) + 1));
  }
}

TEST(ReputationRouter, FindsADamagedSnapshot) {
  Router router(small_config());
  for (const auto& [now, command] : trace(80, 2)) router.apply(command, now);
  testing::expect_damage_found(router, small_config());
}

TEST(ReputationRouter, SurvivesADeathAtEachStepOfItsJournal) {
  testing::CrashSweep<Router> sweep(small_config(), trace(24, 3));
  EXPECT_GT(sweep.run(5), 3U * 24 * 4);
}

TEST(ReputationRouter, StaysSoundAndAllocatesNothing) {
  Router router(small_config());
  const auto commands = trace(3'000, 4);
  const std::uint64_t before = mesh::testing::allocation_count();
  ReputationActions actions;
  bool sound = true;
  for (const auto& [now, command] : commands) {
    router.apply(command, now);
    router.tick(now, actions);
  }
  const std::uint64_t after = mesh::testing::allocation_count();
  EXPECT_EQ(after, before);
  for (std::size_t i = 0; i < 500; ++i) {
    router.apply(commands[i].command, commands.back().now + commands[i].now);
    sound = sound && router.verify().has_value();
  }
  EXPECT_TRUE(sound);
  EXPECT_GT(router.counters().quarantines, 0U);
}

}  // namespace of_reputation_router_test
}  // namespace mesh::coordination
