#include "engine/coordination/capability_health.hpp"

#include <cmath>

#include "tests/allocations.hpp"
#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/health_probes.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination {
namespace of_capability_health_test {

using testing::golden;
using testing::Json;
using testing::matches;
using testing::Timed;
using namespace testing::probes;  // NOLINT(google-build-using-namespace): test words

HealthStatus status_of(std::string_view name) {
  for (int i = 0; i < 5; ++i) {
    if (to_string(static_cast<HealthStatus>(i)) == name) return static_cast<HealthStatus>(i);
  }
  return HealthStatus::unknown;
}

// --- goldens -----------------------------------------------------------------------------------

TEST(CapabilityHealth, GoldenComposite) {
  const auto [inputs, expected] = golden("capability_health", "composite");
  const auto config = preset(inputs.at("preset").get<std::string>());
  const double half = static_cast<double>(config.latency_half_ns.count()) / 1e6;
  Json rows = Json::array();
  for (const auto& row : inputs.at("availability_latency_ms_stability")) {
    const double latency = health_latency_score(row.at(1), half);
    const double score = health_score(row.at(0), latency, row.at(2));
    rows.push_back({{"latency_score", latency},
                    {"score", score},
                    {"status", to_string(health_status(score))}});
  }
  EXPECT_TRUE(matches(expected, rows));
}

TEST(CapabilityHealth, GoldenBurnRate) {
  const auto [inputs, expected] = golden("capability_health", "burn_rate");
  const double slo = inputs.at("slo");
  const double days = inputs.at("days");
  const double burn = burn_rate(inputs.at("error_rate"), slo);
  EXPECT_TRUE(matches(expected, Json{{"burn", burn},
                                     {"budget_minutes", (1 - slo) * days * 24 * 60},
                                     {"share_used_in_one_hour", burn / (days * 24)}}));
}

TEST(CapabilityHealth, GoldenTimeToThreshold) {
  const auto [inputs, expected] = golden("capability_health", "time_to_threshold");
  const double time =
      time_to_threshold(inputs.at("score"), inputs.at("slope_per_s"), inputs.at("threshold"));
  EXPECT_TRUE(matches(expected, Json{{"seconds", time}}));
  EXPECT_LT(time_to_threshold(0.9, 0.001, 0.6), 0) << "it rises: never";
}

TEST(CapabilityHealth, GoldenCusum) {
  const auto [inputs, expected] = golden("capability_health", "cusum");
  Cusum cusum{inputs.at("mean"), inputs.at("k"), inputs.at("h"), 0};
  Json sums = Json::array();
  Json alarm;
  for (const double sample : inputs.at("samples")) {
    const bool passed = cusum.add(sample);
    if (passed && alarm.is_null()) alarm = sums.size();
    sums.push_back(cusum.g);
  }
  EXPECT_TRUE(matches(expected, Json{{"g", sums}, {"alarm_index", alarm}}));
}

TEST(CapabilityHealth, GoldenPhiAccrual) {
  const auto [inputs, expected] = golden("capability_health", "phi_accrual");
  Json phis = Json::array();
  for (const double since : inputs.at("since_ms")) {
    phis.push_back(phi_of(since, inputs.at("mean_ms"), inputs.at("sd_ms")));
  }
  EXPECT_TRUE(matches(expected, phis));
  // The detector itself: beats each 5 s, whose deviation is taken as a tenth.
  PhiAccrual phi;
  for (int i = 0; i <= 20; ++i) phi.heard(seconds(5 * i).count());
  std::size_t at = 0;
  for (const double since : inputs.at("since_ms")) {
    EXPECT_NEAR(phi.phi(seconds(100).count() + millis(since).count()), expected.at(at++), 1e-9);
  }
}

TEST(CapabilityHealth, GoldenHysteresis) {
  const auto [inputs, expected] = golden("capability_health", "hysteresis");
  HealthStatus status = status_of(inputs.at("start").get<std::string>());
  Json states = Json::array();
  for (const double score : inputs.at("scores")) {
    status = next_status(status, score, inputs.at("hysteresis"));
    states.push_back(to_string(status));
  }
  EXPECT_TRUE(matches(expected, states));
}

// --- examples and states -----------------------------------------------------------------------

TEST(CapabilityHealth, ExampleTheFirstProbeIsTheScore) {
  Monitor monitor = monitor_of(preset("agent-mesh"));
  const auto reply = probe(monitor, 3, Nanos{0}, 145);
  EXPECT_NEAR(reply.score, 0.92, 0.0005);
  EXPECT_EQ(reply.status, HealthStatus::healthy);
  EXPECT_EQ(reply.remediation, Remediation::none);
  const auto best = monitor.apply(health::BestProvider{0}, Nanos{0});
  EXPECT_EQ(best.code, Errc::ok);
  EXPECT_EQ(best.agent, 3U);
  EXPECT_FALSE(best.panic);
}

// The neighbouring package says healthy whatever happens.
TEST(CapabilityHealth, DoesNotSayHealthyForEver) {
  Monitor monitor = monitor_of(preset("agent-mesh"));
  EXPECT_EQ(monitor.view(0, 1).status, HealthStatus::unknown) << "nothing is known yet";
  EXPECT_EQ(probe(monitor, 1, seconds(0), 100).status, HealthStatus::healthy);
  probe(monitor, 1, seconds(5), 0, false);
  probe(monitor, 1, seconds(10), 0, false);
  EXPECT_EQ(probe(monitor, 1, seconds(15), 0, false).status, HealthStatus::failed);
  EXPECT_EQ(monitor.apply(health::BestProvider{0}, seconds(15)).panic, true)
      << "the only one is down: better it than nobody";
}

// Elsewhere the cumulative CPU seconds are shown as a percentage, and a window never ends.
TEST(CapabilityHealth, DoesNotKeepOldFailuresInItsWindow) {
  Monitor monitor = monitor_of(preset("real-time-api"));
  for (int i = 0; i < 10; ++i) probe(monitor, 0, seconds(i), 40, i % 2 == 0);
  EXPECT_LT(monitor.view(0, 0).score_ppm, 700'000U);
  for (int i = 10; i < 100; ++i) probe(monitor, 0, seconds(i), 40);
  EXPECT_NEAR(monitor.view(0, 0).score_ppm, 940'000, 1'000) << "a minute later";
}

TEST(CapabilityHealth, FailsAfterMissesInARowAndReturnsAfterAsManySuccesses) {
  for (const auto name : CapabilityHealthConfig::names()) {
    const auto config = preset(name);
    Monitor monitor = monitor_of(config);
    Nanos now{0};
    const auto step = [&](bool ok) {
      now += config.probe_interval_ns;
      return probe(monitor, 0, now, 1, ok).status;
    };
    for (int i = 0; i < 20; ++i) step(true);
    for (std::uint32_t i = 1; i < config.misses_max; ++i) {
      EXPECT_NE(step(false), HealthStatus::failed) << name << " miss " << i;
    }
    EXPECT_EQ(step(false), HealthStatus::failed) << name;
    for (std::uint32_t i = 1; i < config.misses_max; ++i) {
      EXPECT_EQ(step(true), HealthStatus::failed) << name << " success " << i;
    }
    EXPECT_NE(step(true), HealthStatus::failed) << name;
  }
}

TEST(CapabilityHealth, SilenceFailsAProviderWhoseRhythmIsKnownAndOthersAreUnknown) {
  const auto config = preset("agent-mesh");
  Monitor monitor = monitor_of(config);
  HealthActions actions;
  monitor.tick(Nanos{0}, actions);
  for (int i = 0; i <= 10; ++i) {
    probe(monitor, 0, seconds(5 * i), 100);
    if (i == 10) probe(monitor, 1, seconds(50), 100);
    monitor.tick(seconds(5 * i), actions);
  }
  monitor.tick(seconds(56), actions);
  EXPECT_EQ(monitor.view(0, 0).status, HealthStatus::healthy) << "a second late";
  monitor.tick(seconds(61), actions);
  EXPECT_EQ(monitor.view(0, 0).status, HealthStatus::failed) << "phi is far above 8";
  EXPECT_EQ(monitor.view(0, 1).status, HealthStatus::healthy) << "one probe has no rhythm";
  monitor.tick(seconds(66), actions);
  EXPECT_EQ(monitor.view(0, 1).status, HealthStatus::unknown) << "three intervals without a probe";
  EXPECT_EQ(monitor.apply(health::BestProvider{0}, seconds(66)).code, Errc::no_candidate);
}

TEST(CapabilityHealth, SaysNothingWhileItWasLateItself) {
  const auto config = preset("agent-mesh");
  Monitor monitor = monitor_of(config);
  HealthActions actions;
  for (int i = 0; i <= 10; ++i) {
    probe(monitor, 0, seconds(5 * i), 100);
    monitor.tick(seconds(5 * i), actions);
  }
  monitor.tick(seconds(200), actions);
  EXPECT_EQ(monitor.view(0, 0).status, HealthStatus::healthy) << "the monitor was away, not it";
  EXPECT_EQ(actions.count, 0U);
  EXPECT_EQ(monitor.counters().late_ticks, 1U);
  monitor.tick(seconds(206), actions);
  EXPECT_EQ(monitor.view(0, 0).status, HealthStatus::healthy);
  monitor.tick(seconds(212), actions);
  EXPECT_EQ(monitor.view(0, 0).status, HealthStatus::failed) << "by now it was heard nothing of";
}

TEST(CapabilityHealth, IgnoresProbesThatComeTwiceOrTooLate) {
  Monitor monitor = monitor_of(preset("agent-mesh"));
  health::Probe one{ProbeType::liveness, 0, 0, true, millis(100), seconds(1'000), 7};
  monitor.probe(one, seconds(1'000));
  const auto before = monitor.view(0, 0).score_ppm;
  one.success = false;
  monitor.probe(one, seconds(1'001));
  EXPECT_EQ(monitor.counters().duplicates, 1U);
  one.sequence = 6;
  one.at = seconds(699);  // last - window is 700
  monitor.probe(one, seconds(1'001));
  EXPECT_EQ(monitor.counters().late, 1U);
  EXPECT_EQ(monitor.view(0, 0).score_ppm, before);
  one.sequence = 5;
  one.at = seconds(701);
  monitor.probe(one, seconds(1'001));
  EXPECT_EQ(monitor.counters().accepted, 2U) << "out of order within the window counts";
  EXPECT_TRUE(monitor.verify());
}

// --- alerts, prediction ------------------------------------------------------------------------

TEST(CapabilityHealth, PagesWhenBothWindowsBurnAndStopsWhenTheShortOneDoesNot) {
  Monitor monitor = monitor_of(preset("real-time-api"));  // 5 min and 25 s
  HealthActions actions;
  double now = 0;
  const auto run = [&](double for_s, int fail_every) {
    for (const double end = now + for_s; now < end; now += 0.1) {
      const bool ok = fail_every == 0 || static_cast<int>(now * 10 + 0.5) % fail_every != 0;
      probe(monitor, 0, seconds(now), 40, ok);
      monitor.tick(seconds(now), actions);
    }
  };
  run(300, 0);
  EXPECT_FALSE(monitor.view(0, 0).page);
  EXPECT_EQ(monitor.view(0, 0).sla_score, 100);
  run(5, 10);
  EXPECT_FALSE(monitor.view(0, 0).page) << "the long window does not burn yet";
  run(120, 10);
  const auto burning = monitor.view(0, 0);
  EXPECT_TRUE(burning.page);
  EXPECT_TRUE(burning.ticket);
  EXPECT_LT(burning.sla_score, 80.1) << "minus ten for each alert";
  EXPECT_EQ(monitor.apply(health::Acknowledge{0, 0}, seconds(now)).code, Errc::ok);
  EXPECT_TRUE(monitor.view(0, 0).acknowledged);
  run(60, 0);
  EXPECT_FALSE(monitor.view(0, 0).page) << "the short window is clean";
}

TEST(CapabilityHealth, ObjectiveOfACapabilityIsItsOwn) {
  Monitor monitor = monitor_of(preset("real-time-api"));
  EXPECT_EQ(monitor.apply(health::SetObjective{0, 0.5, millis(10)}, Nanos{0}).code, Errc::ok);
  HealthActions actions;
  for (int i = 0; i < 600; ++i) {
    probe(monitor, 0, seconds(0.5 * i), 40, i % 5 != 0);
    monitor.tick(seconds(0.5 * i), actions);
  }
  EXPECT_FALSE(monitor.view(0, 0).page) << "a fifth of failures burns 0.4 of such a budget";
  EXPECT_FALSE(monitor.view(0, 0).p95_met) << "all take longer than 10 ms";
}

struct Outcome {
  bool failed = false;
  bool predicted = false;
  bool alarmed = false;
};

// Probes each second; latency grows by `slope` ms a second, a probe over 1,500 ms fails.
Outcome play(std::uint64_t seed, double slope, bool is_robust) {
  CapabilityHealthConfig config = preset("real-time-api");
  config.robust_trend = is_robust;
  Monitor monitor = monitor_of(config);
  Rng rng(seed);
  Outcome run;
  for (int i = 0; i < 600 && !run.failed; ++i) {
    const double ms = (60 + slope * std::max(0, i - 60)) * (0.9 + 0.2 * rng.u01());
    const bool ok = ms < 300;
    run.failed = probe(monitor, 0, seconds(i), ms, ok).status == HealthStatus::failed;
    const auto prediction = monitor.prediction(0, 0);
    const bool alarm = prediction.known && prediction.probability >= 0.2;
    run.alarmed = run.alarmed || alarm;
    run.predicted = run.predicted || (alarm && !run.failed);
  }
  return run;
}

TEST(CapabilityHealth, PredictsAFailureByRampAndIsQuietOnNoise) {
  for (const bool is_robust : {false, true}) {
    SCOPED_TRACE(is_robust ? "Theil-Sen" : "least squares");
    int ramps = 0;
    int noise = 0;
    constexpr int kRuns = 200;
    for (std::uint64_t seed = 0; seed < kRuns; ++seed) {
      const Outcome ramp = play(seed, 2, is_robust);
      EXPECT_TRUE(ramp.failed) << seed;
      ramps += ramp.predicted ? 1 : 0;
      noise += play(seed, 0, is_robust).alarmed ? 1 : 0;
    }
    EXPECT_GE(ramps, kRuns * 95 / 100);
    EXPECT_LE(noise, kRuns * 5 / 100);
  }
}

// A provider that stands at 50 ms, and at the end is slow for a moment: no trend.
TEST(CapabilityHealth, ARobustTrendIsNotTurnedByAMoment) {
  const auto trend_of = [](bool is_robust) {
    CapabilityHealthConfig config = preset("real-time-api");
    config.robust_trend = is_robust;
    Monitor monitor = monitor_of(config);
    for (int i = 0; i < 30; ++i) probe(monitor, 0, seconds(i), 50);
    for (int i = 30; i < 36; ++i) probe(monitor, 0, seconds(i), 190);
    return monitor.view(0, 0).trend;
  };
  EXPECT_LT(trend_of(false), -0.0005);
  EXPECT_NEAR(trend_of(true), 0, 1e-9);
}

TEST(CapabilityHealth, SeesALatencyThatHasMovedAndLearnsTheNewOne) {
  CapabilityHealthConfig config = preset("agent-mesh");
  config.cusum_k_ns = millis(10);
  config.cusum_h_ns = millis(80);
  Monitor monitor = monitor_of(config);
  Rng rng(3);
  const auto run = [&](int from, int to, double ms) {
    for (int i = from; i < to; ++i) probe(monitor, 0, seconds(5 * i), ms + 10 * rng.u01());
  };
  run(0, 60, 100);
  EXPECT_EQ(monitor.counters().latency_shifts, 0U);
  run(60, 65, 140);
  EXPECT_EQ(monitor.counters().latency_shifts, 1U) << "40 ms more, three or four times";
  run(65, 200, 140);
  EXPECT_EQ(monitor.counters().latency_shifts, 1U) << "140 is usual by now";
  run(200, 205, 190);
  EXPECT_EQ(monitor.counters().latency_shifts, 2U);
}

TEST(CapabilityHealth, MeasuresAShiftInDeviationsUnlessToldOtherwise) {
  Monitor monitor = monitor_of(preset("agent-mesh"));
  Rng rng(5);
  for (int i = 0; i < 30; ++i) probe(monitor, 0, seconds(5 * i), 100 + 10 * rng.u01());
  const auto before = monitor.counters().latency_shifts;
  for (int i = 30; i < 36; ++i) probe(monitor, 0, seconds(5 * i), 125);
  EXPECT_EQ(monitor.counters().latency_shifts, before + 1);
}

// --- config, bad input, bytes ------------------------------------------------------------------

TEST(CapabilityHealthConfig, HasItsPresets) {
  for (const auto name : CapabilityHealthConfig::names()) {
    EXPECT_TRUE(Monitor::validate(preset(name))) << name;
  }
  EXPECT_EQ(preset("real-time-api").page_long_ns, seconds(300));
  EXPECT_EQ(preset("batch-processing").ticket_short_ns, seconds(7'200));
  EXPECT_EQ(preset("agent-mesh").probe_interval_ns, seconds(5)) << "the mesh's heartbeat";
  EXPECT_EQ(CapabilityHealthConfig::preset("default").error().code, Errc::unknown_preset);
}

TEST(CapabilityHealthConfig, NamesTheFieldThatIsOutOfRange) {
  const auto refused = [](std::string_view field, auto&& change) {
    CapabilityHealthConfig config;
    change(config);
    const auto status = Monitor::validate(config);
    ASSERT_FALSE(status) << field;
    EXPECT_EQ(status.error().code, Errc::invalid_config);
    EXPECT_NE(status.error().sentence.find(field), std::string::npos) << status.error().sentence;
  };
  refused("latency_half_ns", [](auto& c) { c.latency_half_ns = Nanos{0}; });
  refused("slo", [](auto& c) { c.slo = 1; });
  refused("slo", [](auto& c) { c.slo = std::nan(""); });
  refused("window_ns", [](auto& c) { c.window_ns = Nanos{1}; });
  refused("misses_max", [](auto& c) { c.misses_max = 0; });
  refused("hysteresis", [](auto& c) { c.hysteresis = -1; });
  refused("page_short_ns", [](auto& c) { c.page_short_ns = c.page_long_ns * 2; });
  refused("cusum_h", [](auto& c) { c.cusum_h = HUGE_VAL; });
  refused("remediations_per_hour", [](auto& c) { c.remediations_per_hour = 0; });
  refused("share_move_max", [](auto& c) { c.share_move_max = 2; });
  refused("rows_max", [](auto& c) { c.rows_max = 0; });
}

CapabilityHealthConfig small_config() {
  CapabilityHealthConfig config = preset("real-time-api");
  config.agents_max = 4;
  config.capabilities_max = 2;
  config.rows_max = 3;
  return config;
}

TEST(CapabilityHealth, RefusesBadInputAndStaysAsItWas) {
  Monitor monitor = monitor_of(small_config());
  monitor.apply(health::AddCapability{"vision"}, Nanos{0});
  for (std::uint32_t i = 0; i < 3; ++i) probe(monitor, i, Nanos{0}, 40);
  using Bad = testing::BadInput<Monitor>;
  const auto with = [](auto&& change) {
    health::Probe probe;
    change(probe);
    return probe;
  };
  const auto missing = Errc::not_found;
  testing::expect_all_refused<Monitor>(
      monitor,
      {Bad{"no name", health::AddCapability{""}, Errc::invalid_id},
       Bad{"a name too long", health::AddCapability{std::string(129, 'a')}, Errc::invalid_id},
       Bad{"not UTF-8", health::AddCapability{"\xFF"}, Errc::invalid_id},
       Bad{"twice", health::AddCapability{"vision"}, Errc::already_exists},
       Bad{"one too many", health::AddCapability{"third"}, Errc::capacity},
       Bad{"unknown capability", with([](auto& p) { p.capability = 2; }), missing},
       Bad{"a huge capability", with([](auto& p) { p.capability = UINT32_MAX; }), missing},
       Bad{"negative latency", with([](auto& p) { p.latency = Nanos{-1}; })},
       Bad{"unknown type", with([](auto& p) { p.type = ProbeType{9}; })},
       Bad{"from the future", with([](auto& p) { p.at = seconds(1.1); })},
       Bad{"from before time", with([](auto& p) { p.at = Nanos{-5}; })},
       Bad{"before time", with([](auto&) {}), Errc::invalid_argument, Nanos{-1}},
       Bad{"beyond the table", with([](auto& p) { p.agent = 4; }), Errc::capacity},
       Bad{"no row left", with([](auto& p) { p.agent = 3; }), Errc::capacity},
       Bad{"sums of nothing", health::ProbeSums{0, 0, 0}},
       Bad{"more failures than probes", health::ProbeSums{0, 0, 1, 2}},
       Bad{"sums with negative latency", health::ProbeSums{0, 0, 1, 0, Nanos{-1}}},
       Bad{"sums of an unknown capability", health::ProbeSums{2, 0, 1}, missing},
       Bad{"sums without a row", health::ProbeSums{1, 0, 1}, Errc::capacity},
       Bad{"objective of nothing known", health::SetObjective{2, 0.9, millis(1)}, missing},
       Bad{"objective 1", health::SetObjective{0, 1, millis(1)}},
       Bad{"objective NaN", health::SetObjective{0, std::nan(""), millis(1)}},
       Bad{"objective without latency", health::SetObjective{0, 0.9, Nanos{0}}},
       Bad{"capacity of nobody", health::SetCapacity{0, 3}, missing},
       Bad{"acknowledges nothing", health::Acknowledge{0, 0}, Errc::wrong_state},
       Bad{"acknowledges nobody", health::Acknowledge{1, 0}, missing},
       Bad{"removes nobody", health::RemoveProvider{0, 3}, missing},
       Bad{"best of nothing known", health::BestProvider{2}, missing}});
}

TEST(CapabilityHealth, ARemovedProviderLeavesNothingBehind) {
  Monitor monitor = monitor_of(small_config());
  for (int i = 0; i < 9; ++i) probe(monitor, 0, seconds(i), 40, false);
  EXPECT_EQ(monitor.apply(health::RemoveProvider{0, 0}, seconds(9)).code, Errc::ok);
  EXPECT_EQ(monitor.view(0, 0).status, HealthStatus::unknown);
  EXPECT_EQ(probe(monitor, 0, seconds(10), 1).status, HealthStatus::healthy);
  EXPECT_TRUE(monitor.verify());
}

std::vector<Timed<Monitor::Command>> trace(std::size_t count, std::uint64_t seed) {
  std::vector<Timed<Monitor::Command>> commands;
  commands.push_back({Nanos{0}, health::AddCapability{"a"}});
  commands.push_back({Nanos{0}, health::AddCapability{"b"}});
  Rng rng(seed);
  Nanos now{0};
  while (commands.size() < count) {
    now += Nanos{
        static_cast<std::int64_t>(rng.below(rng.below(50) == 0 ? 9'000'000'000 : 600'000'000))};
    const auto agent = static_cast<std::uint32_t>(rng.below(3));
    const auto kind = static_cast<std::uint32_t>(rng.below(2));
    const Nanos took{static_cast<std::int64_t>(rng.below(300'000'000))};
    const auto type = static_cast<ProbeType>(rng.below(4));
    Monitor::Command command =
        health::Probe{type, kind, agent, rng.below(5) != 0, took, Nanos{0}, rng.below(400)};
    if (rng.below(9) == 0) command = health::ProbeSums{kind, agent, 5, 1, took};
    if (rng.below(30) == 0) command = health::SetObjective{kind, 0.9, took};
    if (rng.below(30) == 0) command = health::SetCapacity{kind, agent, rng.below(2) == 0};
    if (rng.below(30) == 0) command = health::Acknowledge{kind, agent};
    if (rng.below(60) == 0) command = health::RemoveProvider{kind, agent};
    if (rng.below(20) == 0) command = health::BestProvider{kind};
    commands.push_back({now, command});
  }
  return commands;
}

TEST(CapabilityHealth, ReplaysToTheSameBytes) {
  testing::expect_replays<Monitor>(small_config(), trace(600, 1));
}

TEST(CapabilityHealth, FindsADamagedSnapshot) {
  Monitor monitor(small_config());
  for (const auto& [now, command] : trace(20, 2)) monitor.apply(command, now);
  testing::expect_damage_found(monitor, small_config());
}

TEST(CapabilityHealth, SurvivesADeathAtEachStepOfItsJournal) {
  testing::CrashSweep<Monitor> sweep(small_config(), trace(20, 3));
  EXPECT_GT(sweep.run(5), 3U * 20 * 4);
}

TEST(CapabilityHealth, StaysSoundAndAllocatesNothing) {
  CapabilityHealthConfig config = small_config();
  config.rows_max = 6;
  Monitor monitor(config);
  const auto commands = trace(3'000, 4);
  const std::uint64_t before = mesh::testing::allocation_count();
  HealthActions actions;
  std::uint64_t unsound = 0;
  for (const auto& [now, command] : commands) {
    monitor.apply(command, now);
    monitor.tick(now, actions);
    unsound += monitor.verify() ? 0U : 1U;
  }
  EXPECT_EQ(mesh::testing::allocation_count(), before);
  EXPECT_EQ(unsound, 0U);
  EXPECT_GT(monitor.counters().remediations, 0U);
  EXPECT_GT(monitor.counters().late_ticks, 0U);
}

}  // namespace of_capability_health_test
}  // namespace mesh::coordination
