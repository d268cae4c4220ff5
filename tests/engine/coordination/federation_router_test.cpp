#include "engine/coordination/federation_router.hpp"

#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination {
namespace of_federation_router_test {

using federation::Submit;
using testing::golden;
using testing::Json;
using testing::matches;
using testing::Timed;

constexpr Nanos seconds(double count) {
  return Nanos{static_cast<std::int64_t>(count * 1e9 + 0.5)};
}
FederationConfig preset(std::string_view name) { return FederationConfig::preset(name).value(); }
federation::AddNetwork network(std::uint64_t quota, double window_s = 60) {
  return {"openai-cluster", 3, 900'000, quota, seconds(window_s)};
}
// A bucket as large as the quota, so that the window alone decides.
FederationConfig wide() {
  FederationConfig config;
  config.burst_ppm = 1'000'000;
  config.shed_ppm = {0, 0, 0};
  return config;
}
std::size_t send_all(FederationRouter& router, Nanos now) {
  std::array<Dispatched, 64> out{};
  std::size_t sent = 0;
  for (std::size_t count = 1; count != 0; sent += count) count = router.dispatch(now, out);
  return sent;
}

TEST(Federation, ForecastsWhenAQuotaIsExhausted) {
  const auto [inputs, expected] = golden("federation_router", "forecast");
  std::vector<Point> points;
  for (const auto& point : inputs.at("points_s_per_min"))
    points.push_back({point.at(0), point.at(1)});
  const auto forecast = forecast_of(ols(points).value(), inputs.at("quota_per_min"),
                                    inputs.at("now_s"), inputs.at("horizon_s"));
  const char* risk = forecast.risk == QuotaRisk::critical ? "critical" : "other";
  EXPECT_TRUE(matches(expected, Json{{"mean", forecast.mean},
                                     {"u", forecast.share},
                                     {"risk", risk},
                                     {"crosses_quota_at_s", forecast.exhaust_at_s}}));
}

TEST(Federation, LendsFromASurplusByTrust) {
  const auto [inputs, expected] = golden("federation_router", "donation");
  Json granted = Json::array();
  for (const std::uint32_t trust : inputs.at("trust_ppm")) {
    FederationConfig config;
    config.reserve_ppm = 200'000;  // 20 of the quota of 100
    config.donate_ppm = inputs.at("donate_ppm");
    FederationRouter router(config);
    const std::uint64_t quota = inputs.at("quota");
    router.apply(federation::AddNetwork{"lender", 1, 1'000'000, quota, seconds(60)}, Nanos{0});
    router.apply(federation::AddNetwork{"borrower", 1, trust, 10, seconds(60)}, Nanos{0});
    granted.push_back(
        router.apply(federation::Borrow{0, 1, 1'000, inputs.at("forecast")}, Nanos{0}).granted);
    EXPECT_EQ(router.effective_quota(0) + router.effective_quota(1), quota + 10);
    EXPECT_TRUE(router.verify());
    FederationActions actions;
    router.tick(seconds(60), actions);
    EXPECT_EQ(router.effective_quota(0), quota) << "the lender's window has ended";
  }
  EXPECT_TRUE(matches(expected, granted));
}

TEST(Federation, KeepsTheProvidersWindow) {
  const auto [inputs, expected] = golden("federation_router", "hybrid_window");
  FederationRouter router(wide());
  const Nanos window{inputs.at("window_ns").get<std::int64_t>()};
  router.apply(federation::AddNetwork{"n", 1, 1'000'000, inputs.at("quota"), window}, Nanos{0});
  const auto submit = [&](Nanos now) {
    const auto reply = router.apply(Submit{0, 0, 3}, now);
    send_all(router, now);
    Json json{{"status", to_string(reply.refusal)}};
    if (reply.refusal != Refusal::none) json["retry_after_ns"] = reply.retry_after.count();
    return json;
  };
  for (int i = 0; i < inputs.at("previous"); ++i) submit(Nanos{0});
  const Nanos now = window + Nanos{inputs.at("into_window_ns").get<std::int64_t>()};
  for (int i = 0; i < inputs.at("current"); ++i) submit(now);
  Json replies = Json::array();
  for (int i = 0; i < inputs.at("submits"); ++i) replies.push_back(submit(now));
  EXPECT_TRUE(matches(expected, replies));
}

TEST(Federation, ShedsTheLowFirst) {
  const auto [inputs, expected] = golden("federation_router", "shedding");
  const std::array names{"low", "normal", "high", "critical"};
  Json rows = Json::array();
  for (const int used : inputs.at("used")) {
    FederationConfig config = preset(inputs.at("preset").get<std::string>());
    config.burst_ppm = 1'000'000;
    FederationRouter router(config);
    router.apply(network(inputs.at("quota")), Nanos{0});
    for (int i = 0; i < used; ++i) {
      router.apply(Submit{0, 0, 3}, Nanos{0});
      send_all(router, Nanos{0});
    }
    Json row;
    for (std::uint32_t priority = 0; priority < 4; ++priority) {
      FederationRouter same = router;
      const auto refusal = same.apply(Submit{0, 0, priority}, Nanos{0}).refusal;
      row[names[priority]] = refusal != Refusal::none;
      EXPECT_EQ(router.view(0, Nanos{0}).shed_below > priority, refusal != Refusal::none) << used;
    }
    rows.push_back(row);
  }
  EXPECT_TRUE(matches(expected, rows));
}

TEST(Federation, AnswersAllWhoAskTheSameWithOneCall) {
  const auto [inputs, expected] = golden("federation_router", "coalescing");
  FederationRouter router(wide());
  router.apply(network(100), Nanos{0});
  std::vector<std::uint64_t> leaders;
  std::size_t upstream = 0;
  for (const std::int64_t at : inputs.at("submits_at_ns")) {
    const auto reply = router.apply(Submit{0, 0, 1, 0, 77}, Nanos{at});
    if (!reply.is_follower) leaders.push_back(reply.id);
    upstream += send_all(router, Nanos{at});
  }
  std::array<Completion, 16> out{};
  EXPECT_EQ(router.take_completions(out), 0U) << "nobody is answered before the leader";
  for (const auto leader : leaders) router.apply(federation::Complete{leader}, seconds(1));
  const std::size_t completions = router.take_completions(out);
  EXPECT_TRUE(matches(expected, Json{{"upstream_calls", upstream},
                                     {"budget_spent", router.counters().dispatched},
                                     {"completions", completions}}));
  EXPECT_TRUE(router.verify());
}

TEST(Federation, DoesNotCompleteAFollowerBeforeItsLeader) {
  FederationRouter router(wide());
  router.apply(network(100), Nanos{0});
  const auto leader = router.apply(Submit{0, 0, 1, 5, 77}, Nanos{0});
  const auto follower = router.apply(Submit{0, 0, 1, 6, 77}, Nanos{0});
  ASSERT_TRUE(follower.is_follower);
  std::array<Completion, 4> out{};
  EXPECT_EQ(router.take_completions(out), 0U) << "the leader is queued";
  EXPECT_EQ(send_all(router, Nanos{0}), 1U);
  EXPECT_EQ(router.take_completions(out), 0U) << "the leader is on its way";
  router.apply(federation::Complete{leader.id, RequestOutcome::failed}, seconds(1));
  ASSERT_EQ(router.take_completions(out), 2U);
  EXPECT_EQ(out[0].request, leader.id);
  EXPECT_EQ(out[1].request, follower.id);
  EXPECT_EQ(out[1].outcome, RequestOutcome::failed) << "and as it did";
}

TEST(Federation, StartsAtHalfTheBudgetAfter429AndDoublesEachCleanWindow) {
  const auto [inputs, expected] = golden("federation_router", "slow_start_after_429");
  FederationRouter router(wide());
  router.apply(network(inputs.at("quota")), Nanos{0});
  const auto send_one = [&](Nanos now) {
    const auto id = router.apply(Submit{0, 0, 3}, now).id;
    EXPECT_EQ(send_all(router, now), 1U);
    return id;
  };
  for (int i = 0; i < 3; ++i) {
    router.apply(
        federation::Complete{send_one(seconds(1)), RequestOutcome::rate_limited, seconds(5)},
        seconds(1));
  }
  EXPECT_EQ(router.counters().rate_limited, 3U);
  const auto refused = router.apply(Submit{0, 0, 3}, seconds(2));
  EXPECT_EQ(refused.refusal, Refusal::rejected_open);
  EXPECT_EQ(refused.retry_after, seconds(4)) << "Retry-After";
  const auto probe = send_one(seconds(6));
  router.apply(federation::Complete{probe}, seconds(6));
  Json budgets = Json::array();
  for (const int windows : inputs.at("clean_windows")) {
    // Two windows on, so that what was sent before has left the estimate.
    FederationRouter later = router;
    FederationActions actions;
    for (int i = 1; i <= windows; ++i) later.tick(seconds(60.0 * i), actions);
    const Nanos now = windows == 0 ? seconds(7) : seconds(60.0 * (windows + 1) + 1);
    std::uint64_t sent = 0;
    while (later.apply(Submit{0, 0, 3}, now).refusal == Refusal::none && sent < 200) {
      sent += send_all(later, now);
    }
    budgets.push_back(windows == 0 ? sent + 4 : sent);  // four went out in the first window
  }
  EXPECT_TRUE(matches(expected, budgets));
}

TEST(Federation, NeverPassesTheQuotaInAnyWindow) {
  Rng rng(5);
  FederationRouter router(preset("balanced"));
  router.apply(network(100, 10), Nanos{0});
  std::vector<double> sends;
  for (double now = 0; now < 120; now += 0.02) {
    router.apply(Submit{0, 0, static_cast<std::uint32_t>(rng.below(4))}, seconds(now));
    std::array<Dispatched, 8> out{};
    const std::size_t count = router.dispatch(seconds(now), out);
    for (std::size_t i = 0; i < count; ++i) {
      sends.push_back(now);
      router.apply(federation::Complete{out[i].request}, seconds(now));
    }
    std::array<Completion, 16> done{};
    router.take_completions(done);
  }
  ASSERT_TRUE(router.verify());
  EXPECT_GT(sends.size(), 900U) << "twelve windows";
  for (std::size_t i = 0; i < sends.size(); ++i) {
    std::size_t within = 0;
    for (std::size_t k = i; k < sends.size() && sends[k] < sends[i] + 10; ++k) ++within;
    ASSERT_LE(within, 125U) << "quota * (1 + burst_fraction)";
  }
}

TEST(Federation, LetsWhoWaitsAgeButNeverIntoCritical) {
  FederationConfig config = wide();
  FederationRouter router(config);
  router.apply(network(1'000), Nanos{0});
  const auto low = router.apply(Submit{0, 0, 0}, Nanos{0}).id;
  const auto high = router.apply(Submit{0, 0, 2}, seconds(100)).id;
  const auto critical = router.apply(Submit{0, 0, 3}, seconds(100)).id;
  std::array<Dispatched, 3> out{};
  ASSERT_EQ(router.dispatch(seconds(100), out), 3U);
  EXPECT_EQ(out[0].request, critical);
  EXPECT_EQ(out[1].request, low) << "aged to high, and older";
  EXPECT_EQ(out[2].request, high);
}

TEST(Federation, GivesNobodyMoreThanItsShareWhileOthersWait) {
  FederationRouter router(wide());
  router.apply(network(10), Nanos{0});
  for (int i = 0; i < 8; ++i) router.apply(Submit{0, 0, 2, 1}, Nanos{0});
  for (int i = 0; i < 8; ++i) router.apply(Submit{0, 0, 1, 2}, Nanos{0});
  std::array<Dispatched, 10> out{};
  ASSERT_EQ(router.dispatch(Nanos{0}, out), 10U);
  // 4 of 10 each while the other waits; then who is more urgent has what is left.
  EXPECT_EQ(router.queued(), 6U);
  router.apply(federation::StationClosed{1}, Nanos{0});
  EXPECT_EQ(router.queued(), 4U) << "the more urgent one has had 6, the other 4";
}

TEST(Federation, CancelsWithoutSpendingAndHandsOverToAFollower) {
  FederationRouter router(wide());
  router.apply(network(10), Nanos{0});
  const auto leader = router.apply(Submit{0, 0, 1, 1, 5}, Nanos{0}).id;
  const auto follower = router.apply(Submit{0, 0, 1, 2, 5}, Nanos{1}).id;
  EXPECT_EQ(router.apply(federation::Cancel{leader}, Nanos{2}).code, Errc::ok);
  std::array<Dispatched, 2> out{};
  ASSERT_EQ(router.dispatch(Nanos{3}, out), 1U);
  EXPECT_EQ(out[0].request, follower);
  std::array<Completion, 4> done{};
  ASSERT_EQ(router.take_completions(done), 1U);
  EXPECT_EQ(done[0].outcome, RequestOutcome::cancelled);
  EXPECT_EQ(router.view(0, Nanos{3}).remaining_ppm, 900'000U) << "one of ten is spent";
  EXPECT_TRUE(router.verify());
}

TEST(Federation, TakesTheWindowAsUsedWhenItKnowsNothingOfBefore) {
  FederationRouter router(wide());
  router.apply(network(100), Nanos{0});
  router.apply(federation::AssumeFull{}, seconds(1));
  EXPECT_EQ(router.apply(Submit{0, 0, 3}, seconds(1)).refusal, Refusal::quota_exhausted);
}

TEST(Federation, CancelsWhatIsQueuedBeyondItsDeadlineAndHurriesWhatIsNearIt) {
  FederationRouter router(wide());
  router.apply(network(100), Nanos{0});
  router.apply(Submit{0, 0, 1, 0, 0, 1, seconds(1)}, Nanos{0});
  const auto plain = router.apply(Submit{0, 0, 1}, seconds(2)).id;
  const auto near = router.apply(Submit{0, 0, 1, 0, 0, 2, seconds(3)}, seconds(2)).id;
  std::array<Dispatched, 4> out{};
  ASSERT_EQ(router.dispatch(seconds(2), out), 2U);
  EXPECT_EQ(out[0].request, near);
  EXPECT_EQ(out[1].request, plain);
  std::array<Completion, 4> done{};
  ASSERT_EQ(router.take_completions(done), 1U);
  EXPECT_EQ(done[0].outcome, RequestOutcome::cancelled);
}

TEST(Federation, DoubtsAForecastOfFewSamples) {
  FederationRouter router(wide());
  router.apply(network(100), Nanos{0});
  EXPECT_TRUE(router.forecast(0, seconds(300)).low_confidence);
}

TEST(FederationConfig, HasItsPresetsAndRefusesWhatIsOutOfRange) {
  for (const auto name : FederationConfig::names()) {
    EXPECT_TRUE(FederationRouter::validate(preset(name))) << name;
  }
  EXPECT_EQ(FederationConfig::preset("bold").error().code, Errc::unknown_preset);
  const auto refused = [](std::string_view field, auto&& change) {
    FederationConfig config;
    change(config);
    const auto status = FederationRouter::validate(config);
    ASSERT_FALSE(status) << field;
    EXPECT_EQ(status.error().code, Errc::invalid_config);
    EXPECT_NE(status.error().sentence.find(field), std::string::npos) << status.error().sentence;
  };
  refused("burst_ppm", [](auto& c) { c.burst_ppm = 0; });
  refused("reserve_ppm", [](auto& c) { c.reserve_ppm = 1'000'001; });
  refused("shed_ppm", [](auto& c) { c.shed_ppm = {1, 2, 3}; });
  refused("aging_ns", [](auto& c) { c.aging_ns = Nanos{0}; });
  refused("queue_max", [](auto& c) { c.queue_max = 0; });
  refused("breaker_429", [](auto& c) { c.breaker_429 = 0; });
}

TEST(Federation, RefusesBadInputAndStaysAsItWas) {
  FederationConfig config = wide();
  config.networks_max = 2;
  config.queue_max = 1;
  FederationRouter router(config);
  router.apply(network(100), Nanos{0});
  router.apply(federation::AddNetwork{"other", 1, 1, 10, seconds(1)}, Nanos{0});
  const auto queued = router.apply(Submit{0, 0, 1}, Nanos{0}).id;
  using Bad = testing::BadInput<FederationRouter>;
  testing::expect_all_refused<FederationRouter>(
      router,
      {Bad{"no name", federation::AddNetwork{"", 1, 1, 1, seconds(1)}, Errc::invalid_id},
       Bad{"not UTF-8", federation::AddNetwork{"\xFF", 1, 1, 1, seconds(1)}, Errc::invalid_id},
       Bad{"trust above 1", federation::AddNetwork{"x", 1, 1'000'001, 1, seconds(1)},
           Errc::invalid_config},
       Bad{"window 0", federation::AddNetwork{"x", 1, 1, 1, Nanos{0}}, Errc::invalid_config},
       Bad{"quota 0", federation::AddNetwork{"x", 1, 1, 0, seconds(1)}, Errc::invalid_config},
       Bad{"added twice", network(7), Errc::already_exists},
       Bad{"too many", federation::AddNetwork{"x", 1, 1, 1, seconds(1)}, Errc::capacity},
       Bad{"unknown network", Submit{9}, Errc::not_found},
       Bad{"priority above 3", Submit{0, 0, 4}},
       Bad{"capability above 63", Submit{0, 64, 1}},
       Bad{"queue full", Submit{0, 0, 1}, Errc::capacity},
       Bad{"before time", Submit{0, 0, 1}, Errc::invalid_argument, Nanos{-1}},
       Bad{"unknown request", federation::Complete{12345}, Errc::not_found},
       Bad{"complete before dispatch", federation::Complete{queued}, Errc::wrong_state},
       Bad{"cancel of nothing", federation::Cancel{99}, Errc::not_found},
       Bad{"loan to itself", federation::Borrow{0, 0, 1}},
       Bad{"loan of nothing", federation::Borrow{0, 1, 0}},
       Bad{"unknown lender", federation::Borrow{9, 0, 1}, Errc::not_found},
       Bad{"reclaim of nobody", federation::Reclaim{9}, Errc::not_found},
       Bad{"death of no network's bridge", federation::BridgeDied{9}, Errc::not_found},
       Bad{"close at no instant", federation::StationClosed{0}, Errc::invalid_argument,
           Nanos{-1}}});
  const auto lacks = router.apply(Submit{0, 5, 1}, Nanos{0});
  EXPECT_EQ(lacks.code, Errc::no_candidate);
}

std::vector<Timed<FederationRouter::Command>> trace(std::size_t count, std::uint64_t seed) {
  std::vector<Timed<FederationRouter::Command>> commands;
  FederationRouter follower(preset("balanced"));
  Rng rng(seed);
  Nanos now{0};
  std::vector<std::uint64_t> sent;
  const auto play = [&](const FederationRouter::Command& command) {
    commands.push_back({now, command});
    const auto reply = follower.apply(command, now);
    if (reply.any && command.index() == 7) sent.push_back(reply.dispatched.request);
  };
  play(federation::AddNetwork{"a", 3, 900'000, 20, seconds(10)});
  play(federation::AddNetwork{"b", 1, 500'000, 50, seconds(5)});
  while (commands.size() < count) {
    now += Nanos{static_cast<std::int64_t>(rng.below(400'000'000))};
    const auto net = static_cast<std::uint32_t>(rng.below(2));
    const auto priority = static_cast<std::uint32_t>(rng.below(4));
    switch (rng.below(8)) {
      case 0:
      case 1:
      case 2:
        play(Submit{net, 0, priority, priority, rng.below(3)});
        break;
      case 3:
        play(federation::TakeCompletion{});
        break;
      case 4:
        if (sent.empty()) break;
        play(
            federation::Complete{sent.back(), static_cast<RequestOutcome>(rng.below(4)), Nanos{0}});
        sent.pop_back();
        break;
      case 5:
        if (rng.below(8) == 0) play(federation::StationClosed{priority});
        if (rng.below(8) == 0) play(federation::BridgeDied{net});
        play(rng.below(3) == 0 ? FederationRouter::Command(federation::Reclaim{net})
                               : FederationRouter::Command(federation::Borrow{net, 1 - net, 5, 3}));
        break;
      default:
        play(federation::DispatchNext{});
        break;
    }
    const auto sound = follower.verify();
    EXPECT_TRUE(sound) << sound.error().sentence;
  }
  return commands;
}

TEST(Federation, ReplaysToTheSameBytes) {
  testing::expect_replays<FederationRouter>(preset("balanced"), trace(600, 1));
}

TEST(Federation, FindsADamagedSnapshot) {
  FederationRouter router(preset("balanced"));
  for (const auto& [now, command] : trace(20, 2)) router.apply(command, now);
  testing::expect_damage_found(router, preset("balanced"));
}

TEST(Federation, SurvivesADeathAtEachStepOfItsJournal) {
  testing::CrashSweep<FederationRouter> sweep(preset("balanced"), trace(16, 3));
  EXPECT_GT(sweep.run(5), 3U * 16 * 4);
}

TEST(Federation, AViewOfALaterInstantChangesNothing) {
  FederationRouter router(wide());
  router.apply(network(4, 1), Nanos{0});
  for (int i = 0; i < 4; ++i) router.apply(Submit{0, 0, 3}, Nanos{0});
  EXPECT_EQ(send_all(router, Nanos{0}), 4U);
  const std::uint64_t hash = router.state_hash();
  EXPECT_GT(router.view(0, seconds(5)).remaining_ppm, 0U) << "by then the window is over";
  EXPECT_EQ(router.state_hash(), hash);
  EXPECT_EQ(router.apply(Submit{0, 0, 3}, Nanos{0}).refusal, Refusal::quota_exhausted)
      << "a look ahead must not forget what was spent";
}

TEST(Federation, LendsNothingToAForecastBeyondAllNumbers) {
  FederationRouter router(wide());
  router.apply(network(100), Nanos{0});
  router.apply(federation::AddNetwork{"two", 1, 1'000'000, 10, seconds(60)}, Nanos{0});
  for (const std::uint64_t forecast : {UINT64_MAX, UINT64_MAX - 9, std::uint64_t{90}}) {
    const auto reply = router.apply(federation::Borrow{0, 1, 50, forecast}, Nanos{0});
    EXPECT_EQ(reply.refusal, Refusal::quota_exhausted) << forecast;
  }
  EXPECT_TRUE(router.verify());
}

TEST(Federation, RefusesARequestWhoseDeadlineHasPassed) {
  FederationRouter router(wide());
  router.apply(network(100), Nanos{0});
  std::vector<testing::BadInput<FederationRouter>> late;
  late.push_back({"past", Submit{0, 0, 1, 0, 0, 0, seconds(4)}, Errc::expired, seconds(5)});
  late.push_back(
      {"below 0", Submit{0, 0, 1, 0, 0, 0, seconds(-4)}, Errc::invalid_argument, seconds(5)});
  late.push_back(
      {"no instant", Submit{0, 0, 1, 0, 0, 0, Nanos::max()}, Errc::invalid_argument, seconds(5)});
  testing::expect_all_refused(router, late);
  EXPECT_EQ(router.apply(Submit{0, 0, 1, 0, 0, 0, seconds(5)}, seconds(5)).code, Errc::ok);
}

TEST(Federation, TellsOfEachLoanAndItsReturn) {
  FederationRouter router(wide());
  router.apply(network(100), Nanos{0});
  router.apply(federation::AddNetwork{"two", 1, 1'000'000, 10, seconds(60)}, Nanos{0});
  const auto lent = router.apply(federation::Borrow{0, 1, 5, 10}, seconds(1));
  ASSERT_EQ(lent.granted, 5U);
  router.apply(federation::Reclaim{0}, seconds(2));
  std::vector<EventRecord> told;
  router.events().after(0, [&](const EventRecord& event) { told.push_back(event); });
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].kind, static_cast<std::uint16_t>(FederationRouter::Event::loan));
  EXPECT_EQ(told[1].kind, static_cast<std::uint16_t>(FederationRouter::Event::loan_returned));
  for (const auto& event : told) {
    EXPECT_EQ(event.a, 0U);
    EXPECT_EQ(event.b, 1U);
    EXPECT_EQ(event.c, 5U);
  }
}

}  // namespace of_federation_router_test
}  // namespace mesh::coordination
