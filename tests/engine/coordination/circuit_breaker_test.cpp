#include "engine/coordination/circuit_breaker.hpp"

#include <cmath>
#include <deque>
#include <stdexcept>

#include "tests/allocations.hpp"
#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination {
namespace of_circuit_breaker_test {

using testing::golden;
using testing::Json;
using testing::matches;
using testing::Timed;

constexpr Nanos seconds(double count) { return Nanos{static_cast<std::int64_t>(count * 1e9)}; }
CircuitBreakerConfig preset(std::string_view name) {
  return CircuitBreakerConfig::preset(name).value();
}
BreakerReply fail_once(CircuitBreaker& breaker, Nanos now) {
  return breaker.record({{breaker.epoch(), 0}, CallOutcome::fail, Nanos{0}, Nanos{0}}, now);
}

// --- goldens -----------------------------------------------------------------------------------

CircuitBreakerConfig config_of(const Json& json) {
  CircuitBreakerConfig config;
  const auto number = [&](const char* key, auto& field) {
    if (json.contains(key)) field = json.at(key);
  };
  const auto nanos = [&](const char* key, Nanos& field) {
    if (json.contains(key)) field = Nanos{json.at(key).get<std::int64_t>()};
  };
  number("failure_threshold", config.failure_threshold);
  number("failure_rate_ppm", config.failure_rate_ppm);
  number("min_calls", config.min_calls);
  number("open_multiplier", config.open_multiplier);
  number("success_threshold", config.success_threshold);
  number("half_open_probes_max", config.half_open_probes_max);
  nanos("open_ns", config.open_ns);
  nanos("open_ns_max", config.open_ns_max);
  nanos("window_ns", config.window_ns);
  if (json.contains("recovery")) config.recovery = BreakerRecovery::probe_then_ratio;
  return config;
}

// Plays steps that name an epoch where ours name a permit: the oldest probe of that epoch is meant.
class GoldenBreaker {
 public:
  explicit GoldenBreaker(const Json& config) : breaker_(config_of(config)) {}

  Json play(const Json& step) {
    if (step.at(0) == "allow") return allow(Nanos{step.at(1).get<std::int64_t>()});
    Permit permit{step.at(1), 0};
    if (!probes_.empty() && probes_.front().epoch == permit.epoch) {
      permit = probes_.front();
      probes_.pop_front();
    }
    const CallOutcome outcome = step.at(2).get<bool>() ? CallOutcome::ok : CallOutcome::fail;
    const Nanos now{step.at(3).get<std::int64_t>()};
    const auto reply = breaker_.record({permit, outcome, Nanos{0}, Nanos{0}}, now);
    Json json{{"state", to_string(reply.state)}};
    if (reply.is_ignored) json["ignored"] = true;
    return json;
  }

 private:
  Json allow(Nanos now) {
    const auto reply = breaker_.allow(now);
    if (reply.refusal != Refusal::none) {
      return {{"status", to_string(reply.refusal)}, {"retry_after_ns", reply.retry_after.count()}};
    }
    if (reply.is_probe) probes_.push_back(reply.permit);
    return {{"status", reply.is_probe ? "probe" : "ok"}, {"epoch", reply.permit.epoch}};
  }
  CircuitBreaker breaker_;
  std::deque<Permit> probes_;
};

TEST(CircuitBreaker, PlaysTheGoldenTraces) {
  for (const char* name :
       {"agent_call_trips_and_recovers", "window_forgets_bucket_0",
        "external_api_two_probes_three_successes", "rate_rule_needs_min_calls",
        "stale_permit_changes_nothing", "mesh_cluster_probe_retry",
        "mesh_cluster_one_in_ten_then_closed", "mesh_cluster_half_open_too_many_failures"}) {
    SCOPED_TRACE(name);
    const auto [inputs, expected] = golden("circuit_breaker", name);
    GoldenBreaker breaker(inputs.at("config"));
    Json replies = Json::array();
    for (const auto& step : inputs.at("steps")) replies.push_back(breaker.play(step));
    EXPECT_TRUE(matches(expected, replies));
  }
}

TEST(CircuitBreaker, StaysOpenLongerWithEachTrip) {
  const auto [inputs, expected] = golden("circuit_breaker", "open_backoff");
  Json durations = Json::array();
  for (const std::uint32_t trips : inputs.at("trips")) {
    durations.push_back(open_backoff_ns(config_of(inputs), trips));
  }
  EXPECT_TRUE(matches(expected, durations));
}

// --- presets and configs -----------------------------------------------------------------------

TEST(CircuitBreakerConfig, HasEveryPresetOfItsListAndNoOther) {
  for (const auto name : CircuitBreakerConfig::names()) {
    const auto config = CircuitBreakerConfig::preset(name);
    ASSERT_TRUE(config) << name;
    EXPECT_TRUE(CircuitBreaker::validate(*config)) << name;
  }
  const auto unknown = CircuitBreakerConfig::preset("agent_call");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Errc::unknown_preset);
  for (const auto name : CircuitBreakerConfig::names()) {
    EXPECT_NE(unknown.error().sentence.find(name), std::string::npos) << name;
  }
}

TEST(CircuitBreakerConfig, NamesTheFirstFieldThatIsOutOfRange) {
  const auto refused = [](std::string_view field, auto&& change) {
    CircuitBreakerConfig config;
    change(config);
    const auto status = CircuitBreaker::validate(config);
    ASSERT_FALSE(status) << field;
    EXPECT_EQ(status.error().code, Errc::invalid_config);
    EXPECT_NE(status.error().sentence.find(field), std::string::npos) << status.error().sentence;
  };
  refused("no rule", [](auto& c) { c.failure_threshold = c.failure_rate_ppm = 0; });
  refused("buckets", [](auto& c) { c.buckets = 0; });
  refused("buckets", [](auto& c) { c.buckets = 65; });
  refused("open_ns_max", [](auto& c) { c.open_ns_max = c.open_ns - Nanos{1}; });
  refused("jitter_ppm", [](auto& c) { c.jitter_ppm = 500'001; });
  refused("failure_rate_ppm", [](auto& c) { c.failure_rate_ppm = 1'000'001; });
  refused("min_calls", [](auto& c) { c.min_calls = 0; });
  refused("slow_call_ns", [](auto& c) { c.slow_call_ns = Nanos{-1}; });
  refused("slow_rate_ppm", [](auto& c) { c.slow_rate_ppm = 0; });
  refused("window_ns", [](auto& c) { c.window_ns = Nanos{9'999'999}; });
  refused("open_ns", [](auto& c) { c.open_ns = Nanos{0}; });
  refused("open_multiplier", [](auto& c) { c.open_multiplier = std::nan(""); });
  refused("half_open_probes_max", [](auto& c) { c.half_open_probes_max = 4'096; });
  refused("success_threshold", [](auto& c) { c.success_threshold = 0; });
  refused("half_open_ns_max", [](auto& c) { c.half_open_ns_max = Nanos{0}; });
  refused("probe_retry_ns", [](auto& c) { c.probe_retry_ns = Nanos{0}; });
  refused("half_open_pass_every", [](auto& c) { c.half_open_pass_every = 0; });
  refused("half_open_failure_ppm", [](auto& c) { c.half_open_failure_ppm = 0; });
}

// --- bad input ---------------------------------------------------------------------------------

TEST(CircuitBreaker, RefusesBadInputAndStaysAsItWas) {
  CircuitBreaker breaker(preset("agent-call"));
  fail_once(breaker, seconds(1));
  using Bad = testing::BadInput<CircuitBreaker>;
  const Nanos before{-1};
  testing::expect_all_refused<CircuitBreaker>(
      breaker,
      {Bad{"allow before time", breaker::Allow{}, Errc::invalid_argument, before},
       Bad{"record before time", breaker::Record{}, Errc::invalid_argument, before},
       Bad{"sums before time", breaker::RecordSums{}, Errc::invalid_argument, before},
       Bad{"force open before time", breaker::ForceOpen{}, Errc::invalid_argument, before},
       Bad{"negative latency", breaker::Record{{}, CallOutcome::ok, Nanos{-1}, Nanos{0}}},
       Bad{"negative retry", breaker::Record{{}, CallOutcome::fail, Nanos{0}, Nanos{-1}}},
       Bad{"no such outcome", breaker::Record{{}, static_cast<CallOutcome>(9), Nanos{0}, Nanos{0}}},
       Bad{"more slow than calls", breaker::RecordSums{0, 1, 1, 3}},
       Bad{"mirror of an admin state", breaker::Mirror{BreakerState::disabled, 1, Nanos{0}}},
       Bad{"mirror of too high an epoch", breaker::Mirror{BreakerState::open, ~0U, Nanos{0}}}});
}

TEST(CircuitBreaker, TakesAnEarlierInstantAsTheLastOneAndCountsIt) {
  CircuitBreaker breaker(preset("agent-call"));
  breaker.allow(seconds(10));
  EXPECT_EQ(breaker.allow(seconds(9)).refusal, Refusal::none);
  EXPECT_EQ(breaker.clock_regressions(), 1U);
}

TEST(CircuitBreaker, IgnoresUnknownAndUsedPermits) {
  CircuitBreaker breaker(preset("external-api"));
  for (int i = 0; i < 5; ++i) fail_once(breaker, seconds(0));
  const Permit probe = breaker.allow(seconds(60)).permit;
  const auto record = [&](Permit permit) {
    return breaker.record({permit, CallOutcome::ok, Nanos{0}, Nanos{0}}, seconds(61));
  };
  EXPECT_TRUE(record({probe.epoch, probe.serial + 7}).is_ignored);
  EXPECT_FALSE(record(probe).is_ignored);
  EXPECT_TRUE(record(probe).is_ignored) << "the second outcome of one permit";
  EXPECT_TRUE(record({probe.epoch + 1, 0}).is_ignored);
  EXPECT_EQ(breaker.counters().unknown_permits, 2U);
  EXPECT_EQ(breaker.counters().stale_permits, 1U);
  EXPECT_EQ(breaker.state(), BreakerState::half_open) << "one success was counted, not two";
}

// --- rules -------------------------------------------------------------------------------------

TEST(CircuitBreaker, TripsOnConsecutiveFailuresOnlyInARow) {
  CircuitBreaker breaker(preset("rate-limit"));
  const auto record = [&](CallOutcome outcome) {
    breaker.record({{breaker.epoch(), 0}, outcome, Nanos{0}, Nanos{0}}, seconds(1));
  };
  for (const auto outcome : {CallOutcome::fail, CallOutcome::fail, CallOutcome::ok,
                             CallOutcome::fail, CallOutcome::fail}) {
    record(outcome);
  }
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  record(CallOutcome::fail);
  EXPECT_EQ(breaker.state(), BreakerState::open);
  EXPECT_EQ(breaker.open_until(), seconds(61));
}

TEST(CircuitBreaker, HonoursRetryAfter) {
  CircuitBreaker breaker(preset("rate-limit"));
  for (int i = 0; i < 3; ++i) {
    breaker.record({{0, 0}, CallOutcome::fail, Nanos{0}, seconds(7)}, seconds(1));
  }
  EXPECT_EQ(breaker.open_until(), seconds(8));
}

TEST(CircuitBreaker, TripsOnSlowCalls) {
  CircuitBreakerConfig config = preset("agent-call");
  config.slow_call_ns = seconds(1);
  config.slow_rate_ppm = 500'000;
  config.min_calls = 4;
  CircuitBreaker breaker(config);
  for (const double latency : {0.5, 1.0, 0.9}) {
    breaker.record({{0, 0}, CallOutcome::ok, seconds(latency), Nanos{0}}, seconds(1));
  }
  EXPECT_EQ(breaker.state(), BreakerState::closed) << "under min_calls";
  breaker.record({{0, 0}, CallOutcome::ok, seconds(2), Nanos{0}}, seconds(1));
  EXPECT_EQ(breaker.state(), BreakerState::open);
}

TEST(CircuitBreaker, CountsTimeoutsAsFailuresOnlyWhenAsked) {
  for (const bool counts : {true, false}) {
    CircuitBreakerConfig config = preset("agent-call");
    config.count_timeouts_as_failure = counts;
    CircuitBreaker breaker(config);
    for (int i = 0; i < 3; ++i) {
      breaker.record({{0, 0}, CallOutcome::timeout, Nanos{0}, Nanos{0}}, seconds(1));
    }
    EXPECT_EQ(breaker.state() == BreakerState::open, counts);
  }
}

TEST(CircuitBreaker, TakesSumsOfAStationLikeSingleOutcomes) {
  CircuitBreaker breaker(preset("assign"));
  EXPECT_EQ(breaker.apply(breaker::RecordSums{0, 1'000, 2, 0}, seconds(1)).state,
            BreakerState::closed);
  EXPECT_TRUE(breaker.apply(breaker::RecordSums{7, 0, 9, 0}, seconds(1)).is_ignored);
  EXPECT_EQ(breaker.apply(breaker::RecordSums{0, 0, 1, 0}, seconds(1)).state, BreakerState::open);
}

TEST(CircuitBreaker, JitterStaysWithinItsShare) {
  CircuitBreakerConfig config = preset("agent-call");
  config.jitter_ppm = 100'000;
  std::int64_t low = INT64_MAX;
  std::int64_t high = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    CircuitBreaker breaker(config, seed);
    for (int i = 0; i < 3; ++i) fail_once(breaker, Nanos{0});
    low = std::min(low, breaker.open_until().count());
    high = std::max(high, breaker.open_until().count());
  }
  EXPECT_GE(low, seconds(27).count());
  EXPECT_LE(high, seconds(33).count());
  EXPECT_LT(low, seconds(28).count());
  EXPECT_GT(high, seconds(32).count());
}

// --- recovery ----------------------------------------------------------------------------------

TEST(CircuitBreaker, DoesNotCountSuccessesAsLimitSoThatAThousandOfAThousandPass) {
  CircuitBreaker breaker(preset("external-api"));
  for (int i = 0; i < 5; ++i) fail_once(breaker, seconds(0));
  int passed = 0;
  for (int i = 0; i < 1'000; ++i) {
    const auto reply = breaker.allow(seconds(60));
    if (reply.refusal != Refusal::none) continue;
    ++passed;
    breaker.record({reply.permit, CallOutcome::ok, Nanos{0}, Nanos{0}}, seconds(60));
  }
  EXPECT_EQ(passed, 1'000);
  EXPECT_EQ(breaker.state(), BreakerState::closed);
}

TEST(CircuitBreaker, DoesNotAdmitMoreProbesThanItsLimitAtOnce) {
  CircuitBreaker breaker(preset("external-api"));
  for (int i = 0; i < 5; ++i) fail_once(breaker, seconds(0));
  int admitted = 0;
  for (int i = 0; i < 100; ++i) admitted += breaker.allow(seconds(60)).refusal == Refusal::none;
  EXPECT_EQ(admitted, 2);
}

TEST(CircuitBreaker, OpensAgainWhenHalfOpenStaysUndecided) {
  CircuitBreaker breaker(preset("agent-call"));
  for (int i = 0; i < 3; ++i) fail_once(breaker, seconds(0));
  breaker.allow(seconds(30));
  BreakerActions actions;
  breaker.tick(seconds(89.9), actions);
  EXPECT_EQ(breaker.state(), BreakerState::half_open);
  breaker.tick(seconds(90), actions);
  EXPECT_EQ(breaker.state(), BreakerState::open);
  EXPECT_TRUE(actions.view_changed);
  breaker.tick(seconds(90), actions);
  EXPECT_FALSE(actions.view_changed);
}

TEST(CircuitBreaker, GivesBackTheProbesOfADeadStation) {
  CircuitBreaker breaker(preset("external-api"));
  for (int i = 0; i < 5; ++i) fail_once(breaker, seconds(0));
  const auto lost = breaker.allow(seconds(60), 7);
  breaker.allow(seconds(60), 8);
  EXPECT_EQ(breaker.allow(seconds(60), 8).refusal, Refusal::rejected_open);
  breaker.apply(breaker::StationClosed{7}, seconds(61));
  EXPECT_EQ(breaker.probes_out(), 1U);
  EXPECT_TRUE(breaker.allow(seconds(61), 8).is_probe);
  const auto late =
      breaker.record({lost.permit, CallOutcome::fail, Nanos{0}, Nanos{0}}, seconds(62));
  EXPECT_TRUE(late.is_ignored) << "the permit went back with its station";
  EXPECT_EQ(breaker.state(), BreakerState::half_open);
}

TEST(CircuitBreaker, LetsOutAnotherProbeWhenTheFirstIsNeverAnswered) {
  CircuitBreaker breaker(preset("mesh-cluster"));
  for (int i = 0; i < 6; ++i) fail_once(breaker, seconds(0));
  EXPECT_TRUE(breaker.allow(seconds(30)).is_probe);
  EXPECT_EQ(breaker.allow(seconds(89.9)).refusal, Refusal::rejected_open);
  EXPECT_TRUE(breaker.allow(seconds(90)).is_probe);
}

TEST(CircuitBreaker, ReturnsAProbeWithoutOutcome) {
  CircuitBreaker breaker(preset("agent-call"));
  for (int i = 0; i < 3; ++i) fail_once(breaker, seconds(0));
  const auto probe = breaker.allow(seconds(30));
  breaker.record({probe.permit, CallOutcome::ignored, Nanos{0}, Nanos{0}}, seconds(31));
  EXPECT_EQ(breaker.state(), BreakerState::half_open);
  EXPECT_TRUE(breaker.allow(seconds(31)).is_probe);
}

TEST(CircuitBreaker, ObeysTheOperator) {
  CircuitBreaker breaker(preset("agent-call"));
  breaker.apply(breaker::ForceOpen{}, seconds(1));
  EXPECT_EQ(breaker.allow(seconds(1'000)).refusal, Refusal::rejected_open);
  breaker.apply(breaker::Disable{}, seconds(1'001));
  for (int i = 0; i < 10; ++i) fail_once(breaker, seconds(1'002));
  EXPECT_EQ(breaker.allow(seconds(1'002)).refusal, Refusal::none);
  breaker.apply(breaker::ForceClose{}, seconds(1'003));
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  for (int i = 0; i < 3; ++i) fail_once(breaker, seconds(1'004));
  EXPECT_EQ(breaker.state(), BreakerState::open);
  breaker.apply(breaker::Reset{}, seconds(1'005));
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  EXPECT_EQ(breaker.trips(), 0U);
}

TEST(CircuitBreaker, MirrorsTheNewerEpochAndOpenOnATie) {
  CircuitBreaker breaker(preset("agent-call"));
  EXPECT_FALSE(
      breaker.apply(breaker::Mirror{BreakerState::open, 5, seconds(40)}, seconds(1)).is_ignored);
  EXPECT_EQ(breaker.epoch(), 5U);
  EXPECT_EQ(breaker.allow(seconds(39)).retry_after, seconds(1));
  EXPECT_TRUE(
      breaker.apply(breaker::Mirror{BreakerState::closed, 5, Nanos{0}}, seconds(2)).is_ignored);
  EXPECT_TRUE(
      breaker.apply(breaker::Mirror{BreakerState::closed, 4, Nanos{0}}, seconds(2)).is_ignored);
  EXPECT_FALSE(
      breaker.apply(breaker::Mirror{BreakerState::closed, 6, Nanos{0}}, seconds(2)).is_ignored);
  EXPECT_FALSE(
      breaker.apply(breaker::Mirror{BreakerState::open, 6, seconds(9)}, seconds(3)).is_ignored);
  EXPECT_EQ(breaker.state(), BreakerState::open);
}

TEST(CircuitBreaker, KeepsOpenWhatWasOpenWhenItAdoptsTheTable) {
  CircuitBreaker before(preset("agent-call"));
  for (int i = 0; i < 3; ++i) fail_once(before, seconds(5));
  CircuitBreaker after(preset("agent-call"));
  after.adopt(before.view(), seconds(6));
  EXPECT_EQ(after.allow(seconds(34)).retry_after, seconds(1));
  EXPECT_TRUE(after.allow(seconds(35)).is_probe);
  EXPECT_FALSE(before.view().is_passable());
  EXPECT_EQ(BreakerView::state_of(before.view().word), BreakerState::open);
  EXPECT_EQ(BreakerView::epoch_of(before.view().word), 1U);
  after.adopt({7, 0}, seconds(36));
  EXPECT_EQ(after.state(), BreakerState::half_open) << "a state that does not exist is not adopted";
}

TEST(CircuitBreaker, TellsEachTransitionAsAnEvent) {
  CircuitBreaker breaker(preset("agent-call"));
  for (int i = 0; i < 3; ++i) fail_once(breaker, seconds(1));
  breaker.record({breaker.allow(seconds(31)).permit, CallOutcome::ok, Nanos{0}, Nanos{0}},
                 seconds(32));
  std::vector<BreakerState> to;
  breaker.events().after(
      0, [&](const EventRecord& event) { to.push_back(static_cast<BreakerState>(event.b)); });
  EXPECT_EQ(to, (std::vector{BreakerState::open, BreakerState::half_open, BreakerState::closed}));
}

// --- calls -------------------------------------------------------------------------------------

TEST(CircuitBreaker, CallsThroughAndStopsCallingWhenOpen) {
  CircuitBreaker breaker(preset("agent-call"));
  int invoked = 0;
  const auto failing = [&]() -> Result<int> {
    ++invoked;
    return fail(Errc::io_error, "down");
  };
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(breaker.call(failing, seconds(i)).error().code, Errc::io_error);
  }
  const auto refused = breaker.call(failing, seconds(2));
  EXPECT_EQ(refused.error().code, Errc::not_routable);
  EXPECT_EQ(refused.error().detail, seconds(30).count());
  EXPECT_EQ(invoked, 3);
  const auto probe = breaker.call([&] { return breaker.allow(seconds(32)).refusal; }, seconds(32));
  EXPECT_EQ(probe.value(), Refusal::rejected_open) << "a second probe beside the first";
  EXPECT_EQ(breaker.call([] { return 5; }, seconds(33)).value(), 5);
}

TEST(CircuitBreaker, TakesAThrowingCallAsAFailureAndLetsNothingOut) {
  CircuitBreaker breaker(preset("agent-call"));
  for (int i = 0; i < 3; ++i) {
    const auto reply = breaker.call([]() -> int { throw std::runtime_error("boom"); }, seconds(1));
    EXPECT_EQ(reply.error().code, Errc::callback_failed);
  }
  EXPECT_TRUE(breaker.call([] {}, seconds(1)).error().code == Errc::not_routable);
  EXPECT_EQ(breaker.counters().callback_failures, 3U);
}

// --- replay, crash, cost -----------------------------------------------------------------------

std::vector<Timed<CircuitBreaker::Command>> trace(std::size_t count, std::uint64_t seed) {
  std::vector<Timed<CircuitBreaker::Command>> commands;
  CircuitBreaker follower(preset("external-api"));
  Rng rng(seed);
  std::vector<Permit> held;
  Nanos now{0};
  for (std::size_t i = 0; i < count; ++i) {
    now += Nanos{static_cast<std::int64_t>(rng.below(8'000'000'000))};
    CircuitBreaker::Command command = breaker::Allow{static_cast<std::uint32_t>(rng.below(3))};
    if (rng.below(20) == 0)
      command = breaker::StationClosed{static_cast<std::uint32_t>(rng.below(3))};
    if (rng.below(40) == 0) command = breaker::ForceOpen{};
    if (rng.below(15) == 0) command = breaker::RecordSums{follower.epoch(), 3, 2, 1};
    if (rng.below(25) == 0) command = breaker::Reset{};
    if (!held.empty() && rng.below(2) == 0) {
      const auto outcome = rng.below(3) == 0 ? CallOutcome::ok : CallOutcome::fail;
      command = breaker::Record{held.back(), outcome, Nanos{5}, Nanos{0}};
      held.pop_back();
    }
    const auto reply = follower.apply(command, now);
    if (command.index() == 0 && reply.refusal == Refusal::none) held.push_back(reply.permit);
    commands.push_back({now, command});
  }
  return commands;
}

TEST(CircuitBreaker, ReplaysToTheSameBytes) {
  testing::expect_replays<CircuitBreaker>(preset("external-api"), trace(500, 3));
}

TEST(CircuitBreaker, FindsADamagedSnapshot) {
  CircuitBreaker breaker(preset("agent-call"));
  for (const auto& [now, command] : trace(50, 4)) breaker.apply(command, now);
  testing::expect_damage_found(breaker, preset("agent-call"));
}

TEST(CircuitBreaker, SurvivesADeathAtEachStepOfItsJournal) {
  testing::CrashSweep<CircuitBreaker> sweep(preset("external-api"), trace(24, 5));
  EXPECT_GT(sweep.run(5), 3U * 24 * 4);
}

TEST(CircuitBreaker, AllocatesNothingWhenCalled) {
  CircuitBreaker breaker(preset("external-api"));
  const auto commands = trace(200, 6);
  const std::uint64_t before = mesh::testing::allocation_count();
  BreakerActions actions;
  for (const auto& [now, command] : commands) {
    breaker.apply(command, now);
    breaker.tick(now, actions);
  }
  EXPECT_EQ(mesh::testing::allocation_count(), before);
}

TEST(CircuitBreaker, SumsBeyond32BitsStayAboveTheThreshold) {
  CircuitBreakerConfig config;
  config.failure_threshold = 0;
  config.failure_rate_ppm = 0;
  config.consecutive_threshold = UINT32_MAX;
  CircuitBreaker breaker(config);
  breaker.apply(breaker::RecordSums{0, 0, UINT32_MAX - 1, 0}, Nanos{0});
  EXPECT_EQ(breaker.state(), BreakerState::closed);
  breaker.apply(breaker::RecordSums{0, 0, 2, 0}, Nanos{0});
  EXPECT_EQ(breaker.state(), BreakerState::open) << "a row of failures has wrapped to none";
}

}  // namespace of_circuit_breaker_test
}  // namespace mesh::coordination
