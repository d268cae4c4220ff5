// What the monitor does: remediation, the dependency's breaker, shares; what its scores promise.
#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <vector>

#include "engine/coordination/blocks/rng.hpp"
#include "tests/engine/coordination/health_probes.hpp"

namespace mesh::coordination {
namespace of_capability_health_actions_test {

using namespace testing::probes;  // NOLINT(google-build-using-namespace): test words

// --- remediation -------------------------------------------------------------------------------

TEST(CapabilityHealth, RemediationCoolsDownDoublingAndEndsInOneEscalationAnHour) {
  Monitor monitor = monitor_of(preset("real-time-api"));
  HealthActions actions;
  std::vector<double> at;
  std::map<Remediation, int> taken;
  for (int i = 0; i < 3'600; ++i) {
    const auto reply = probe(monitor, 0, seconds(i), 0, false);
    if (reply.remediation != Remediation::none) ++taken[reply.remediation], at.push_back(i);
    monitor.tick(seconds(i), actions);
    for (std::size_t k = 0; k < actions.count; ++k) {
      ++taken[actions.actions[k].action];
      at.push_back(i);
    }
  }
  int remedies = 0;
  for (const auto& [action, count] : taken) remedies += action == Remediation::escalate ? 0 : count;
  EXPECT_EQ(remedies, 5);
  EXPECT_EQ(taken[Remediation::escalate], 1);
  EXPECT_GE(taken[Remediation::restart], 1);
  for (std::size_t i = 1; i < at.size(); ++i) {
    EXPECT_GE(at[i] - at[i - 1], 30.0 * static_cast<double>(1U << (i - 1))) << i;
  }
  EXPECT_EQ(monitor.counters().remediations, 5U);
  EXPECT_EQ(monitor.counters().escalations, 1U);
}

TEST(CapabilityHealth, HasARemediationForEachStatusAndCause) {
  using enum Remediation;
  struct Row {
    HealthStatus status;
    std::vector<Remediation> by_cause;  // none, latency, errors, silence, burn, trend
  };
  const auto more = increase_probe_rate;
  const std::vector<Row> rows{
      {HealthStatus::unknown, {more, more, more, more, more, more}},
      {HealthStatus::healthy, {none, none, none, none, more, more}},
      {HealthStatus::degraded, {more, shed_load, more, reroute, shed_load, shed_load}},
      {HealthStatus::critical, {reroute, reroute, reroute, reroute, reroute, reroute}},
      {HealthStatus::failed, {restart, restart, restart, quarantine, restart, restart}}};
  for (const auto& row : rows) {
    for (std::size_t cause = 0; cause < row.by_cause.size(); ++cause) {
      EXPECT_EQ(remediation_for(row.status, static_cast<HealthCause>(cause)), row.by_cause[cause])
          << to_string(row.status) << " cause " << cause;
    }
  }
}

// --- types of probes ---------------------------------------------------------------------------

HealthReply probe_as(Monitor& monitor, ProbeType type, std::uint32_t agent, Nanos now, bool ok,
                     double ms = 0) {
  return monitor.probe({type, 0, agent, ok, millis(ms), Nanos{0}, 0}, now);
}

TEST(CapabilityHealth, ALivenessProbeCountsForAvailabilityAndNotForLatency) {
  Monitor monitor = monitor_of(preset("agent-mesh"));
  const double before = probe(monitor, 0, seconds(0), 100).score;
  const auto reply = probe_as(monitor, ProbeType::liveness, 0, seconds(5), true, 4'000);
  EXPECT_DOUBLE_EQ(reply.score, before) << "its four seconds are nobody's work";
  EXPECT_TRUE(monitor.view(0, 0).p95_met);
  for (int i = 2; i <= 4; ++i) {
    probe_as(monitor, ProbeType::liveness, 0, seconds(5.0 * i), false);
  }
  EXPECT_EQ(monitor.view(0, 0).status, HealthStatus::failed) << "three in a row";
}

TEST(CapabilityHealth, WhoIsNotReadyIsPassedOverAtOnceAndLosesNothing) {
  Monitor monitor = monitor_of(preset("agent-mesh"));
  for (int i = 0; i < 5; ++i) {
    probe(monitor, 0, seconds(5.0 * i), 50);
    probe(monitor, 1, seconds(5.0 * i), 400);
  }
  EXPECT_EQ(monitor.best_provider(0).agent, 0U);
  const double score = monitor.best_provider(0).score;
  const auto reply = probe_as(monitor, ProbeType::readiness, 0, seconds(25), false);
  EXPECT_DOUBLE_EQ(reply.score, score);
  EXPECT_EQ(reply.status, HealthStatus::healthy);
  EXPECT_FALSE(monitor.view(0, 0).ready);
  EXPECT_EQ(monitor.best_provider(0).agent, 1U);
  HealthActions actions;
  monitor.tick(seconds(25), actions);
  EXPECT_EQ(monitor.view(0, 0).share, 0);
  EXPECT_DOUBLE_EQ(monitor.view(0, 1).share, 1);
  probe_as(monitor, ProbeType::readiness, 0, seconds(30), true);
  EXPECT_EQ(monitor.best_provider(0).agent, 0U);
  EXPECT_TRUE(monitor.verify());
}

TEST(CapabilityHealth, OfAProviderThatWasOnlyAskedWhetherItIsReadyNothingIsKnown) {
  Monitor monitor = monitor_of(preset("agent-mesh"));
  probe_as(monitor, ProbeType::readiness, 0, seconds(0), true);
  HealthActions actions;
  monitor.tick(seconds(5), actions);
  EXPECT_EQ(monitor.view(0, 0).status, HealthStatus::unknown);
  EXPECT_EQ(monitor.best_provider(0).code, Errc::no_candidate);
}

TEST(CapabilityHealth, AWrongAnswerIsAFailureHoweverQuick) {
  Monitor right = monitor_of(preset("agent-mesh"));
  Monitor wrong = monitor_of(preset("agent-mesh"));
  for (int i = 0; i < 20; ++i) {
    probe(right, 0, seconds(5.0 * i), 50);
    probe(wrong, 0, seconds(5.0 * i), 50);
    probe_as(right, ProbeType::correctness, 0, seconds(5.0 * i), true, 9'000);
    probe_as(wrong, ProbeType::correctness, 0, seconds(5.0 * i), i % 2 == 0, 1);
  }
  EXPECT_EQ(right.view(0, 0).status, HealthStatus::healthy) << "how long it took says nothing";
  EXPECT_LT(wrong.view(0, 0).score_ppm + 100'000, right.view(0, 0).score_ppm);
}

TEST(CapabilityHealth, SlownessShedsLoadAndSilenceQuarantines) {
  const auto config = preset("agent-mesh");
  Monitor monitor = monitor_of(config);
  HealthActions actions;
  Remediation slow = Remediation::none;
  for (int i = 0; i <= 20; ++i) {
    const auto reply = probe(monitor, 0, seconds(5 * i), 900);
    if (reply.remediation != Remediation::none) slow = reply.remediation;
    monitor.tick(seconds(5 * i), actions);
  }
  EXPECT_EQ(slow, Remediation::shed_load);
  Remediation silent = Remediation::none;
  for (int i = 21; i <= 200 && silent == Remediation::none; ++i) {
    monitor.tick(seconds(5 * i), actions);
    if (actions.count != 0) silent = actions.actions[0].action;
  }
  EXPECT_EQ(silent, Remediation::quarantine);
}

TEST(CapabilityHealth, WhenMostDegradeTogetherTheDependencyIsBlamedAndNotTheProviders) {
  Monitor monitor = monitor_of(preset("real-time-api"));
  HealthActions actions;
  std::map<Remediation, int> taken;
  const auto run = [&](int from, int to, std::uint32_t slow) {
    for (int i = from; i < to; ++i) {
      for (std::uint32_t agent = 0; agent < 5; ++agent) {
        const auto reply = probe(monitor, agent, seconds(i), agent < slow ? 900 : 40);
        if (reply.remediation != Remediation::none) ++taken[reply.remediation];
      }
      monitor.tick(seconds(i), actions);
      for (std::size_t k = 0; k < actions.count; ++k) ++taken[actions.actions[k].action];
    }
  };
  run(0, 40, 0);
  EXPECT_TRUE(taken.empty());
  run(40, 100, 4);
  EXPECT_EQ(taken[Remediation::trip_dependency], 1) << "four of five";
  EXPECT_EQ(monitor.counters().dependency_trips, 1U);
  const auto before = taken;
  run(100, 160, 4);
  EXPECT_EQ(taken, before) << "the providers are left alone";
  run(160, 300, 1);
  EXPECT_GE(taken[Remediation::shed_load], 1) << "one of five is that one's own fault";
  EXPECT_EQ(taken[Remediation::trip_dependency], 1);
}

// --- shares ------------------------------------------------------------------------------------

double total_share(const Monitor& monitor, std::uint32_t agents) {
  double sum = 0;
  for (std::uint32_t i = 0; i < agents; ++i) sum += monitor.view(0, i).share;
  return sum;
}

TEST(CapabilityHealth, AtMostAQuarterOfALiveProvidersShareMovesInAnInterval) {
  Monitor monitor = monitor_of(preset("real-time-api"));
  HealthActions actions;
  std::array<double, 3> last{};
  Rng rng(2);
  for (int i = 0; i < 400; ++i) {
    for (std::uint32_t agent = 0; agent < 3; ++agent) {
      probe(monitor, agent, seconds(i), agent == 0 && i > 100 ? 140 : 30 + 20 * rng.u01());
    }
    monitor.tick(seconds(i), actions);
    ASSERT_NEAR(total_share(monitor, 3), 1, 1e-9);
    for (std::uint32_t agent = 0; agent < 3; ++agent) {
      const double share = monitor.view(0, agent).share;
      ASSERT_GE(share, 0.75 * last[agent] - 1e-12) << i;
      last[agent] = share;
    }
  }
  EXPECT_LT(last[0], last[1]);
}

TEST(CapabilityHealth, TrafficIsOffAFailedProviderWithinTwoIntervals) {
  Monitor monitor = monitor_of(preset("real-time-api"));
  HealthActions actions;
  int failed_at = -1;
  for (int i = 0; i < 100; ++i) {
    const bool down = i >= 60;
    for (std::uint32_t agent = 0; agent < 3; ++agent) {
      const auto reply = probe(monitor, agent, seconds(i), 40, agent != 0 || !down);
      if (agent == 0 && reply.status == HealthStatus::failed && failed_at < 0) failed_at = i;
    }
    monitor.tick(seconds(i), actions);
    if (failed_at >= 0 && i >= failed_at + 2) {
      ASSERT_EQ(monitor.view(0, 0).share, 0) << i;
    }
  }
  EXPECT_EQ(failed_at, 61) << "the second miss";
  EXPECT_NE(monitor.best_provider(0).agent, 0U);
}

TEST(CapabilityHealth, PanicRoutesToAllWhenMostAreUnhealthyAndFullOnesAreNeverTheBest) {
  Monitor monitor = monitor_of(preset("real-time-api"));
  HealthActions actions;
  for (int i = 0; i < 20; ++i) {
    for (std::uint32_t agent = 0; agent < 3; ++agent) {
      probe(monitor, agent, seconds(i), 40, agent == 2 || i < 10);
    }
    monitor.tick(seconds(i), actions);
  }
  EXPECT_TRUE(monitor.best_provider(0).panic) << "two of three";
  EXPECT_EQ(monitor.best_provider(0).agent, 2U);
  EXPECT_GT(monitor.view(0, 0).share, 0);
  monitor.apply(health::SetCapacity{0, 2, false}, seconds(20));
  EXPECT_EQ(monitor.best_provider(0).agent, 0U) << "a tie ends at the lower agent";
  for (std::uint32_t i = 0; i < 2; ++i)
    monitor.apply(health::SetCapacity{0, i, false}, seconds(20));
  EXPECT_EQ(monitor.best_provider(0).code, Errc::no_candidate);
}

// --- properties --------------------------------------------------------------------------------

RC_GTEST_PROP(CapabilityHealth, ScoreIsWithinItsBoundsAndMonotoneInEachInput, ()) {
  const auto share = [] { return 0.001 * *rc::gen::inRange(0, 1'001); };
  const double availability = share();
  const double stability = share();
  const double latency = 1'000 * share();
  const auto score = [](double a, double ms, double s) {
    return health_score(a, health_latency_score(ms, 240), s);
  };
  const double base = score(availability, latency, stability);
  RC_ASSERT(base >= 0 && base <= 1);
  RC_ASSERT(score(std::min(1.0, availability + 0.01), latency, stability) >= base);
  RC_ASSERT(score(availability, latency + 10, stability) <= base);
  RC_ASSERT(score(availability, latency, std::min(1.0, stability + 0.01)) >= base);
}

RC_GTEST_PROP(CapabilityHealth, StatusChangesAtMostOncePerCrossing, ()) {
  // A score that swings by less than the hysteresis about any bound changes the status once.
  const double bound = *rc::gen::element(0.80, 0.55, 0.30);
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  HealthStatus status = health_status(bound + 0.1);
  int changes = 0;
  for (int i = 0; i < 200; ++i) {
    const HealthStatus next = next_status(status, bound + 0.0599 * (rng.u01() - 0.5), 0.03);
    changes += next == status ? 0 : 1;
    status = next;
  }
  RC_ASSERT(changes <= 1);
}

// Whoever comes, and when: what the others have goes over to it by no more than share_move_max of
// it in an interval. The first has it all when the second comes.
RC_GTEST_PROP(CapabilityHealth, NewProvidersGetTheirShareByAndBy, ()) {
  CapabilityHealthConfig config = preset("real-time-api");
  config.share_move_max = 0.01 * *rc::gen::inRange(5, 51);
  Monitor monitor = monitor_of(config);
  HealthActions actions;
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  const auto agents = *rc::gen::inRange<std::uint32_t>(2, 6);
  std::vector<int> comes{0};
  for (std::uint32_t agent = 1; agent < agents; ++agent)
    comes.push_back(1 + static_cast<int>(rng.below(20)));
  std::vector<double> last(agents);
  for (int i = 0; i < 60; ++i) {
    for (std::uint32_t agent = 0; agent < agents; ++agent)
      if (i >= comes[agent]) probe(monitor, agent, seconds(i), 30 + 20 * rng.u01());
    monitor.tick(seconds(i), actions);
    RC_ASSERT(std::abs(total_share(monitor, agents) - 1) < 1e-9);
    for (std::uint32_t agent = 0; agent < agents; ++agent) {
      const double share = monitor.view(0, agent).share;
      RC_ASSERT(share >= (1 - config.share_move_max) * last[agent] - 1e-12);
      last[agent] = share;
    }
  }
  for (std::uint32_t agent = 0; agent < agents; ++agent) RC_ASSERT(last[agent] > 0);
}

// A prediction is a line through the last scores that falls, and explains at least half of what
// they do: by a line of our own.
RC_GTEST_PROP(CapabilityHealth, PredictsByALineThatFitsAndByNoOther, ()) {
  const CapabilityHealthConfig config = preset("real-time-api");
  Monitor monitor = monitor_of(config);
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  const double slope = *rc::gen::element(0.0, 0.1, 0.5, 2.0);  // ms a second
  std::vector<std::pair<double, double>> scores;
  for (int i = 0; i < 90; ++i) {
    const double ms = (60 + slope * i) * (0.7 + 0.6 * rng.u01());
    const double score = probe(monitor, 0, seconds(i), ms).score;
    if (i >= 7) scores.emplace_back(i, score);  // of fewer outcomes a score falls by itself
    if (scores.size() > 32) scores.erase(scores.begin());
    const double n = static_cast<double>(scores.size());
    double x = 0, y = 0, xx = 0, xy = 0, yy = 0;
    for (const auto& [at, value] : scores) x += at / n, y += value / n;
    for (const auto& [at, value] : scores) {
      xx += (at - x) * (at - x);
      xy += (at - x) * (value - y);
      yy += (value - y) * (value - y);
    }
    const double r2 = xx > 0 && yy > 0 ? xy * xy / (xx * yy) : 0;
    if (std::abs(r2 - config.trend_r2_min) < 1e-6 || std::abs(xy) < 1e-9) continue;
    const bool is_line =
        scores.size() >= config.trend_samples_min && xy < 0 && r2 > config.trend_r2_min;
    RC_ASSERT(monitor.prediction(0, 0).known == is_line);
  }
}

RC_GTEST_PROP(SampleWindow, EqualsAListOfItsSamples, ()) {
  SampleWindow window;
  std::vector<std::tuple<std::int64_t, bool, std::uint32_t>> model;
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  for (int i = 0; i < 200; ++i) {
    const bool ok = rng.below(4) != 0;
    const auto micros = static_cast<std::uint32_t>(rng.below(1'000));
    window.add(i, ok, micros);
    model.emplace_back(i, ok, micros);
    if (model.size() > SampleWindow::kSamples) model.erase(model.begin());
    if (rng.below(10) == 0) {
      window.drop_before(i - 12);
      std::erase_if(model, [&](const auto& one) { return std::get<0>(one) < i - 12; });
    }
    std::vector<std::uint32_t> sorted;
    int turns = 0;
    for (std::size_t k = 0; k < model.size(); ++k) {
      if (std::get<1>(model[k])) sorted.push_back(std::get<2>(model[k]));
      turns += k != 0 && std::get<1>(model[k]) != std::get<1>(model[k - 1]) ? 1 : 0;
    }
    std::sort(sorted.begin(), sorted.end());
    RC_ASSERT(window.count() == model.size());
    RC_ASSERT(window.median_micros() == (sorted.empty() ? 0 : sorted[(sorted.size() - 1) / 2]));
    const double pairs = static_cast<double>(model.size()) - 1;
    RC_ASSERT(window.flap_rate() == (pairs > 0 ? turns / pairs : 0));
    double squares = 0;
    for (const auto one : sorted) squares += std::pow(one - window.mean_micros(), 2);
    const double deviation =
        sorted.empty() ? 0 : std::sqrt(squares / static_cast<double>(sorted.size()));
    RC_ASSERT(std::abs(window.deviation_micros() - deviation) < 1e-3);
  }
}

}  // namespace of_capability_health_actions_test
}  // namespace mesh::coordination
