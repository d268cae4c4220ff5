#include "engine/coordination/throttle_governor.hpp"

#include <cmath>

#include "tests/allocations.hpp"
#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/service_kit.hpp"
#include "tests/engine/coordination/throttle_loop.hpp"

namespace mesh::coordination {
namespace of_throttle_governor_test {

using testing::golden;
using testing::Json;
using testing::matches;
using testing::Timed;
using Governor = AdaptiveThrottleGovernor;

constexpr Nanos seconds(double count) {
  return Nanos{static_cast<std::int64_t>(count * 1e9 + 0.5)};
}
ThrottleConfig preset(std::string_view name) { return ThrottleConfig::preset(name).value(); }
std::uint32_t add_tenant(Governor& governor, const throttle::SetTenant& tenant) {
  const auto reply = governor.apply(tenant, Nanos{0});
  EXPECT_EQ(reply.code, Errc::ok);
  return reply.tenant;
}

// --- goldens -----------------------------------------------------------------------------------

TEST(Throttle, PlaysTheGoldenTrace) {
  const auto [inputs, expected] = golden("throttle_governor", "tick_trace");
  Governor governor(preset(inputs.at("preset").get<std::string>()));
  const auto tenant = add_tenant(governor, {.name = "all"});
  ThrottleActions actions;
  governor.tick(Nanos{0}, actions);
  Json rows = Json::array();
  for (const auto& tick : inputs.at("ticks")) {
    const auto count = tick.at("n").get<std::uint32_t>();
    const Nanos now = seconds(tick.at("t_s"));
    const Nanos sum = seconds(tick.at("mean_s").get<double>() * count);
    const auto reply = governor.apply(
        throttle::RecordSums{tenant, count, tick.at("errors"), sum, seconds(tick.at("low_s"))},
        now);
    ASSERT_EQ(reply.code, Errc::ok);
    governor.tick(now, actions);
    rows.push_back({{"rate", governor.view().rate}, {"mode", to_string(governor.view().mode)}});
  }
  EXPECT_TRUE(matches(expected, rows));
}

TEST(Throttle, GrowsByAdditionAndShrinksByMultiplication) {
  const auto [inputs, expected] = golden("throttle_governor", "aimd");
  double rate = inputs.at("rate");
  Json rates = Json::array();
  for (const int congested : inputs.at("congested")) {
    rate = aimd_step(rate, congested == 1, inputs.at("add"), inputs.at("multiply"));
    rates.push_back(rate);
  }
  EXPECT_TRUE(matches(expected, rates));
}

TEST(Throttle, EstimatesTheStandingQueue) {
  const auto [inputs, expected] = golden("throttle_governor", "vegas_queue");
  Json flight = Json::array();
  Json rate = Json::array();
  for (const auto& row : inputs.at("in_flight_base_rtt")) {
    flight.push_back(standing_queue_in_flight(row.at(0), row.at(1), row.at(2)));
  }
  for (const auto& row : inputs.at("rate_base_rtt_ms")) {
    const double base = row.at(1);
    const double rtt = row.at(2);
    rate.push_back(standing_queue(row.at(0), rtt / 1'000, base / 1'000));
  }
  EXPECT_TRUE(matches(expected, Json{{"concurrency_form", flight}, {"rate_form", rate}}));
}

Json codel_drops(std::int64_t to_ms, bool with_a_pause) {
  Codel codel(5 * kNsPerMs, 100 * kNsPerMs);
  Json drops = Json::array();
  for (std::int64_t ms = 0; ms < to_ms; ++ms) {
    const std::int64_t sojourn = with_a_pause && ms >= 500 && ms < 560 ? 2 : 20;
    if (codel.on_dequeue(sojourn * kNsPerMs, ms * kNsPerMs)) drops.push_back(ms);
  }
  return drops;
}

TEST(Throttle, CodelDropsWhenItShould) {
  EXPECT_TRUE(matches(golden("throttle_governor", "codel").expected, codel_drops(500, false)));
  EXPECT_TRUE(
      matches(golden("throttle_governor", "codel_reentry").expected, codel_drops(760, true)));
}

TEST(Throttle, IntegralDoesNotWindUp) {
  const auto [inputs, expected] = golden("throttle_governor", "pi_anti_windup");
  PiController pi{inputs.at("kp"), inputs.at("ki"), inputs.at("clamp"), 0};
  const double set = inputs.at("set");
  Json rows = Json::array();
  for (const double measured : inputs.at("measured")) {
    const double u = pi.step((set - measured) / set, inputs.at("dt"));
    rows.push_back({{"I", pi.integral}, {"u", u}});
  }
  EXPECT_TRUE(matches(expected, rows));
}

TEST(Throttle, SharesTheRateAmongTenants) {
  const auto [inputs, expected] = golden("throttle_governor", "tenants");
  Json rows = Json::array();
  for (const auto& row : inputs) {
    ThrottleConfig config;
    config.initial_rate = row.at("rate");
    Governor governor(config);
    Json shares = Json::array();
    for (const auto& tenant : row.at("weight_min_max")) {
      add_tenant(governor, {.name = std::to_string(shares.size()),
                            .weight = tenant.at(0),
                            .min_guaranteed = tenant.at(1),
                            .max_burst = tenant.at(2)});
      shares.push_back(0);
    }
    for (std::uint32_t i = 0; i < shares.size(); ++i) shares[i] = governor.share(i);
    rows.push_back(shares);
    EXPECT_TRUE(governor.verify());
  }
  EXPECT_TRUE(matches(expected, rows));
}

TEST(Throttle, GradientShrinksALimitInFlight) {
  const auto [inputs, expected] = golden("throttle_governor", "gradient2");
  Json factors = Json::array();
  for (const double shorter : inputs.at("short_ms")) {
    factors.push_back(gradient2(inputs.at("long_ms"), shorter, inputs.at("tolerance")));
  }
  EXPECT_TRUE(matches(expected, factors));
}

// --- what it must not do -----------------------------------------------------------------------

TEST(Throttle, DoesNotAllowForEverJustBecauseAShareIsAboveZero) {
  ThrottleConfig config;
  config.initial_rate = 40;
  Governor governor(config);
  const auto a =
      add_tenant(governor, {.name = "agent-A", .weight = 3, .min_guaranteed = 2, .max_burst = 100});
  add_tenant(governor, {.name = "agent-B", .weight = 1, .min_guaranteed = 1, .max_burst = 50});
  ASSERT_DOUBLE_EQ(governor.share(a), 30);
  for (int i = 0; i < 30; ++i) EXPECT_EQ(governor.should_allow(a, Nanos{0}).refusal, Refusal::none);
  const auto refused = governor.should_allow(a, Nanos{0});
  EXPECT_EQ(refused.refusal, Refusal::rejected_rate) << "the 31st request";
  EXPECT_GT(refused.retry_after.count(), 0);
}

// What is less urgent asks with `keep_ppm`: the rest of the burst is the others'.
TEST(Throttle, LeavesAShareOfTheBurstToWhatIsMoreUrgent) {
  ThrottleConfig config = preset("agent-to-agent");
  config.initial_rate = 100;
  Governor governor(config);
  const auto tenant = add_tenant(governor, {.name = "one"});
  const auto allowed = [&](std::uint32_t keep_ppm) {
    int count = 0;
    while (governor.should_allow(tenant, seconds(1), keep_ppm).refusal == Refusal::none) ++count;
    return count;
  };
  EXPECT_EQ(governor.should_allow(tenant, seconds(1), 1'000'000).code, Errc::invalid_argument);
  EXPECT_EQ(allowed(500'000), 50);
  const Nanos wait = governor.should_allow(tenant, seconds(1), 500'000).retry_after;
  EXPECT_NEAR(static_cast<double>(wait.count()), 1e7, 1e3) << "a request's time";
  EXPECT_EQ(allowed(0), 50);
  EXPECT_TRUE(governor.verify());
}

TEST(Throttle, GrowsByAShareOfTheSizeThatItWasGiven) {
  ThrottleConfig config = preset("agent-to-agent");
  config.max_rate = 1e6;
  Governor governor(config);
  const auto tenant = add_tenant(governor, {.name = "one"});
  ThrottleActions actions;
  governor.tick(Nanos{0}, actions);
  governor.resize(std::nan(""));
  EXPECT_EQ(governor.view().rate, config.initial_rate) << "that is no rate";
  governor.resize(10'000);
  for (int i = 1; i <= 3; ++i) {
    const Nanos now = config.control_interval_ns * i;
    ASSERT_EQ(
        governor.apply(throttle::RecordSums{tenant, 100, 0, seconds(10), seconds(0.1)}, now).code,
        Errc::ok);
    governor.tick(now, actions);
    EXPECT_DOUBLE_EQ(governor.view().rate, 10'000 + i * config.ai_step * 10'000);
  }
}

TEST(Throttle, DoesNotForgetTheBaseLatencyWhileTheQueueStands) {
  Governor governor(preset("agent-to-agent"));
  const auto tenant = add_tenant(governor, {.name = "all"});
  ThrottleActions actions;
  governor.tick(Nanos{0}, actions);
  const auto interval = [&](int i, double latency) {
    const Nanos now = seconds(0.5 * i);
    governor.apply(throttle::RecordSums{tenant, 50, 0, seconds(latency * 50), seconds(latency)},
                   now);
    governor.tick(now, actions);
  };
  interval(1, 0.1);
  for (int i = 2; i < 100; ++i) interval(i, 0.2);
  EXPECT_EQ(governor.view().rate, 1) << "a hundred intervals later it still is a queue";
}

// --- closed loop -------------------------------------------------------------------------------

using Loop = testing::ThrottleLoop;

TEST(Throttle, FindsTheRateOfTheServerAndStaysUnderItsSetpoint) {
  for (const double capacity : {50.0, 100.0, 400.0}) {
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      Loop loop(1, seed, 0);
      loop.run_until(150, capacity);
      EXPECT_GE(loop.mean_rate(0, 60), 0.65 * capacity) << capacity << " seed " << seed;
      EXPECT_LE(loop.mean_rate(0, 60), 1.0 * capacity) << capacity << " seed " << seed;
      EXPECT_LE(loop.p95(60), 0.5) << capacity << " seed " << seed;
    }
  }
}

TEST(Throttle, SettlesWithinTwentyIntervalsWhenTheServerHalves) {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    Loop loop(1, seed, 0);
    loop.run_until(60, 100);
    loop.run_until(160, 50);
    // Within 10 s, then 10 s long: from the cut at the worst to 1.25 of the new capacity.
    double settled_s = 1e9;
    for (const auto& [begin, rates] : loop.history) {
      const auto stays = [begin = begin](const auto& point) {
        const bool within = point.second[0] >= 20 && point.second[0] <= 62;
        return point.first < begin || point.first > begin + 10 || within;
      };
      const bool all = std::all_of(loop.history.begin(), loop.history.end(), stays);
      if (begin > 60 && all) settled_s = std::min(settled_s, begin - 60);
    }
    EXPECT_LE(settled_s, 10) << "seed " << seed;
  }
}

TEST(Throttle, SharesAServerFairlyWithOneThatComesLater) {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    Loop loop(2, seed, 20);
    loop.run_until(300, 100);
    const double a = loop.mean_rate(0, 150);
    const double b = loop.mean_rate(1, 150);
    EXPECT_GE((a + b) * (a + b) / (2 * (a * a + b * b)), 0.95) << "seed " << seed;
  }
}

// --- hosts -------------------------------------------------------------------------------------

TEST(Throttle, SharesAGlobalCapAndGivesAwayWhatASilentHostHad) {
  ThrottleConfig config;
  config.initial_rate = 1'000;
  Governor governor(config);
  governor.apply(throttle::GlobalCap{90, 1}, Nanos{0});
  ThrottleActions actions;
  governor.tick(Nanos{0}, actions);
  std::uint64_t epoch = 0;
  int round = 0;
  const auto play = [&](bool two, bool three) {
    ++epoch;
    const Nanos now = seconds(0.5 * ++round);
    if (two) governor.apply(throttle::Gossip{2, 100, 30, epoch}, now);
    if (three) governor.apply(throttle::Gossip{3, 100, 30, epoch}, now);
    governor.tick(now, actions);
    EXPECT_TRUE(actions.gossip);
    return governor.view().effective_rate;
  };
  EXPECT_NEAR(play(true, true), 30, 1e-6);
  for (int i = 0; i < 2; ++i) EXPECT_NEAR(play(true, false), 30, 1e-6);
  EXPECT_NEAR(play(true, false), 45, 1e-6) << "three rounds without host 3";
  for (int i = 0; i < 2; ++i) play(false, false);
  EXPECT_NEAR(play(false, false), 30, 1e-6) << "alone: cap / known hosts";
  const auto before = governor.counters().stale_gossip;
  governor.apply(throttle::Gossip{2, 1, 1, 1}, seconds(9));
  EXPECT_EQ(governor.counters().stale_gossip, before + 1);
}

// --- config and bad input ----------------------------------------------------------------------

TEST(ThrottleConfig, HasItsPresetsAndTheirNeighboursNames) {
  for (const auto name : ThrottleConfig::names()) {
    EXPECT_TRUE(Governor::validate(preset(name))) << name;
  }
  EXPECT_EQ(preset("batch").initial_rate, preset("batch-processing").initial_rate);
  EXPECT_EQ(ThrottleConfig::preset("gateway").error().code, Errc::unknown_preset);
}

TEST(ThrottleConfig, NamesTheFieldThatIsOutOfRange) {
  const auto refused = [](std::string_view field, auto&& change) {
    ThrottleConfig config;
    change(config);
    const auto status = Governor::validate(config);
    ASSERT_FALSE(status) << field;
    EXPECT_EQ(status.error().code, Errc::invalid_config);
    EXPECT_NE(status.error().sentence.find(field), std::string::npos) << status.error().sentence;
  };
  refused("max_rate", [](auto& c) { c.max_rate = c.min_rate / 2; });
  refused("min_rate", [](auto& c) { c.min_rate = std::nan(""); });
  refused("initial_rate", [](auto& c) { c.initial_rate = 1e6; });
  refused("control_interval_ns", [](auto& c) { c.control_interval_ns = Nanos{0}; });
  refused("vegas_beta", [](auto& c) { c.vegas_beta = c.vegas_alpha; });
  refused("md_factor", [](auto& c) { c.md_factor = 1; });
  refused("ai_step", [](auto& c) { c.ai_step = 0; });
  refused("pi_clamp", [](auto& c) { c.pi_clamp = HUGE_VAL; });
  refused("tenants_max", [](auto& c) { c.tenants_max = 0; });
}

TEST(Throttle, RefusesBadInputAndStaysAsItWas) {
  ThrottleConfig config;
  config.tenants_max = 2;
  config.hosts_max = 1;
  Governor governor(config);
  add_tenant(governor, {.name = "a"});
  add_tenant(governor, {.name = "b"});
  governor.apply(throttle::Gossip{7, 1, 1, 1}, Nanos{0});
  using Bad = testing::BadInput<Governor>;
  const double nan = std::nan("");
  testing::expect_all_refused<Governor>(
      governor,
      {Bad{"unknown tenant asks", throttle::ShouldAllow{9}, Errc::not_found},
       Bad{"unknown tenant records", throttle::Record{9}, Errc::not_found},
       Bad{"unknown tenant sums", throttle::RecordSums{9, 1}, Errc::not_found},
       Bad{"unknown tenant goes", throttle::RemoveTenant{9}, Errc::not_found},
       Bad{"negative duration", throttle::Record{0, Nanos{-1}}},
       Bad{"from the future", throttle::Record{0, Nanos{1}, true, seconds(0.6)}},
       Bad{"before time", throttle::ShouldAllow{0}, Errc::invalid_argument, Nanos{-1}},
       Bad{"more errors than calls", throttle::RecordSums{0, 1, 2}},
       Bad{"no calls", throttle::RecordSums{0, 0}},
       Bad{"least above mean", throttle::RecordSums{0, 2, 0, Nanos{10}, Nanos{6}}},
       Bad{"no name", throttle::SetTenant{}, Errc::invalid_id},
       Bad{"a name too long", throttle::SetTenant{std::string(129, 'a')}, Errc::invalid_id},
       Bad{"not UTF-8", throttle::SetTenant{"\xFF"}, Errc::invalid_id},
       Bad{"weight 0", throttle::SetTenant{"c", 0}, Errc::invalid_config},
       Bad{"weight NaN", throttle::SetTenant{"c", nan}, Errc::invalid_config},
       Bad{"max below min", throttle::SetTenant{"c", 1, 5, 4}, Errc::invalid_config},
       Bad{"no such priority", throttle::SetTenant{"c", 1, 0, 4, 4}, Errc::invalid_config},
       Bad{"table full", throttle::SetTenant{"c"}, Errc::capacity},
       Bad{"negative sojourn", throttle::Dequeue{Nanos{-1}}},
       Bad{"a cap that is none", throttle::GlobalCap{nan, 0}},
       Bad{"gossip of nothing", throttle::Gossip{2, nan, 0, 1}},
       Bad{"gossip of itself", throttle::Gossip{0, 1, 1, 1}},
       Bad{"too many hosts", throttle::Gossip{8, 1, 1, 1}, Errc::capacity}});
}

std::vector<Timed<Governor::Command>> trace(std::size_t count, std::uint64_t seed) {
  std::vector<Timed<Governor::Command>> commands;
  commands.push_back({Nanos{0}, throttle::SetTenant{"a", 3, 2, 100}});
  commands.push_back({Nanos{0}, throttle::SetTenant{"b", 1, 1, 50}});
  Rng rng(seed);
  Nanos now{0};
  while (commands.size() < count) {
    now += Nanos{static_cast<std::int64_t>(rng.below(100'000'000))};
    const auto tenant = static_cast<std::uint32_t>(rng.below(3));
    const Nanos took{static_cast<std::int64_t>(rng.below(900'000'000))};
    Governor::Command command = throttle::ShouldAllow{tenant};
    if (rng.below(2) == 0) command = throttle::Record{tenant, took, rng.below(40) != 0, Nanos{0}};
    if (rng.below(20) == 0) command = throttle::Dequeue{took / 16};
    if (rng.below(40) == 0) command = throttle::GlobalCap{static_cast<double>(rng.below(100)), 1};
    if (rng.below(30) == 0) command = throttle::Gossip{2, 10, 10, commands.size()};
    if (rng.below(50) == 0) command = throttle::Downstream{rng.below(8) == 0};
    commands.push_back({now, command});
  }
  return commands;
}

TEST(Throttle, ReplaysToTheSameBytes) {
  testing::expect_replays<Governor>(ThrottleConfig{}, trace(500, 1));
}

TEST(Throttle, FindsADamagedSnapshot) {
  ThrottleConfig config;
  config.tenants_max = 3;
  Governor governor(config);
  for (const auto& [now, command] : trace(60, 2)) governor.apply(command, now);
  testing::expect_damage_found(governor, config);
}

TEST(Throttle, SurvivesADeathAtEachStepOfItsJournal) {
  testing::CrashSweep<Governor> sweep(ThrottleConfig{}, trace(20, 3));
  EXPECT_GT(sweep.run(5), 3U * 20 * 4);
}

TEST(Throttle, SharesNeverExceedTheRateAndTicksAllocateNothing) {
  Governor governor(ThrottleConfig{});
  const auto commands = trace(2'000, 4);
  const std::uint64_t before = mesh::testing::allocation_count();
  ThrottleActions actions;
  bool sound = true;
  for (const auto& [now, command] : commands) {
    governor.apply(command, now);
    governor.tick(now, actions);
    sound = sound && governor.share(0) + governor.share(1) <= governor.view().effective_rate + 1e-6;
  }
  EXPECT_EQ(mesh::testing::allocation_count(), before);
  EXPECT_TRUE(sound);
  EXPECT_TRUE(governor.verify());
}

TEST(Throttle, RefusesASampleFromBeforeAllTime) {
  AdaptiveThrottleGovernor governor({});
  governor.apply(throttle::SetTenant{"a"}, Nanos{0});
  std::vector<testing::BadInput<AdaptiveThrottleGovernor>> bad;
  for (const Nanos finished : {Nanos::min(), Nanos{-1}, Nanos::max()}) {
    bad.push_back({"finished at " + std::to_string(finished.count()),
                   throttle::Record{0, Nanos{5}, true, finished}, Errc::invalid_argument,
                   Nanos{9}});
  }
  testing::expect_all_refused(governor, bad);
}

TEST(Throttle, AHostThatIsItselfIsNotCountedTwice) {
  AdaptiveThrottleGovernor governor({});
  governor.apply(throttle::SetTenant{"a"}, Nanos{0});
  governor.apply(throttle::Gossip{5, 40, 40, 1}, Nanos{0});
  governor.apply(throttle::GlobalCap{30, 5}, Nanos{0});
  ThrottleActions actions;
  for (int tick = 0; tick < 3; ++tick) governor.tick(Nanos{tick * 500 * kNsPerMs}, actions);
  EXPECT_NEAR(governor.view().effective_rate, 30, 1e-9) << "it is alone: the cap is its own";
}

}  // namespace of_throttle_governor_test
}  // namespace mesh::coordination
