#include "engine/coordination/backpressure_controller.hpp"

#include <deque>

#include "tests/allocations.hpp"
#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination {
namespace of_backpressure_controller_test {

using testing::golden;
using testing::Json;
using testing::matches;
using testing::Timed;

BackpressureConfig marks(std::uint32_t high, std::uint32_t low, std::uint32_t hard = 0) {
  BackpressureConfig config;
  config.watermark_high = high;
  config.watermark_low = low;
  config.hard_limit = hard;
  return config;
}

Json states_over(BackpressureController controller, const Json& depths) {
  Json states = Json::array();
  for (const std::uint64_t depth : depths) {
    states.push_back(to_string(controller.apply(pressure::Observe{depth, 0}, Nanos{0}).state));
  }
  return states;
}

TEST(Backpressure, TurnsOnAtTheHighMarkAndOffAtTheLowOne) {
  const auto [inputs, expected] = golden("backpressure_controller", "hysteresis");
  const BackpressureController controller(
      marks(inputs.at("watermark_high"), inputs.at("watermark_low")));
  EXPECT_TRUE(matches(expected, states_over(controller, inputs.at("depths"))));
}

TEST(Backpressure, BlocksAtTheHardLimitAndStrictIsStopAndStart) {
  const auto [inputs, expected] = golden("backpressure_controller", "hard_limit_and_strict");
  Json rows = Json::array();
  for (const std::uint32_t hard : inputs.at("hard_limits")) {
    const BackpressureController controller(
        marks(inputs.at("watermark_high"), inputs.at("watermark_low"), hard));
    rows.push_back(states_over(controller, inputs.at("depths")));
  }
  EXPECT_TRUE(matches(expected, rows));
}

TEST(Backpressure, ShedsByPriorityAndRationsTheRest) {
  const auto [inputs, expected] = golden("backpressure_controller", "shedding_by_priority");
  const std::uint64_t depth = inputs.at("depth");
  Json decisions = Json::array();
  BackpressureController controller(marks(100, 20, inputs.at("hard_limit")));
  controller.apply(pressure::Observe{depth, 0}, Nanos{0});
  for (const std::uint32_t priority : inputs.at("priorities")) {
    const auto needs_unit = [&] {  // the burst runs dry: then it is the rate that refuses
      BackpressureController same = controller;
      for (int i = 0; i < 10; ++i) same.should_accept(priority, Nanos{0});
      return same.should_accept(priority, Nanos{0}).refusal == Refusal::rejected_rate;
    };
    const auto reply = controller.should_accept(priority, Nanos{0});
    decisions.push_back(needs_unit() ? "needs_unit" : to_string(reply.refusal));
  }
  EXPECT_TRUE(matches(expected,
                      Json{{"pressure_ppm", controller.pressure_ppm()}, {"decisions", decisions}}));
  EXPECT_DOUBLE_EQ(controller.pressure(), 0.5);
}

TEST(Backpressure, RationsAtNineTenthsOfWhatIsDrained) {
  const auto [inputs, expected] = golden("backpressure_controller", "auto_rate");
  BackpressureController controller{BackpressureConfig{}};
  const std::int64_t sample = inputs.at("sample_ns");
  controller.apply(pressure::Observe{50, 0}, Nanos{0});
  controller.apply(pressure::Observe{50, 40}, Nanos{sample});
  ASSERT_DOUBLE_EQ(controller.drain_rate_per_s(), inputs.at("previous_ewma_per_s"));
  controller.apply(pressure::Observe{50, inputs.at("drained")}, Nanos{2 * sample});
  EXPECT_TRUE(matches(expected, Json{{"ewma", controller.drain_rate_per_s()},
                                     {"bucket_rate", controller.throttle_rate_per_s()}}));
}

TEST(Backpressure, CountsForItselfWhereThereIsNoRing) {
  BackpressureController controller(marks(100, 20));
  controller.on_enqueue(99, Nanos{0});
  EXPECT_EQ(controller.state(), PressureState::accepting);
  EXPECT_EQ(controller.room(), 1U);
  controller.on_enqueue(1, Nanos{0});
  EXPECT_EQ(controller.state(), PressureState::throttling);
  controller.on_dequeue(79, Nanos{0});
  EXPECT_EQ(controller.state(), PressureState::throttling);
  controller.on_dequeue(1, Nanos{0});
  EXPECT_EQ(controller.state(), PressureState::accepting);
  EXPECT_EQ(controller.depth(), 20U);
}

TEST(Backpressure, NeverLetsAnythingPassTheHardLimit) {
  BackpressureController controller(marks(100, 20));
  controller.apply(pressure::Observe{200, 0}, Nanos{0});
  for (std::uint32_t priority = 0; priority < 4; ++priority) {
    EXPECT_EQ(controller.should_accept(priority, Nanos{0}).refusal, Refusal::rejected_pressure);
  }
  controller.apply(pressure::Observe{199, 0}, Nanos{0});
  EXPECT_EQ(controller.should_accept(3, Nanos{0}).refusal, Refusal::none);
}

TEST(Backpressure, SaysWhenToTryAgain) {
  BackpressureConfig config = marks(100, 20);
  config.throttle_rate_per_s = 10;
  BackpressureController controller(config);
  controller.apply(pressure::Observe{100, 0}, Nanos{0});
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(controller.should_accept(2, Nanos{0}).refusal, Refusal::none);
  const auto rate = controller.should_accept(2, Nanos{0});
  EXPECT_EQ(rate.refusal, Refusal::rejected_rate);
  EXPECT_EQ(rate.retry_after, Nanos{100'000'000});
  const auto shed = controller.should_accept(0, Nanos{0});
  EXPECT_EQ(shed.refusal, Refusal::rejected_pressure);
  EXPECT_EQ(shed.retry_after, Nanos{8 * kNsPerSecond}) << "80 messages at 10 a second";
}

TEST(Backpressure, TellsOnlyEdges) {
  BackpressureController controller(marks(100, 20));
  for (const std::uint64_t depth : {99U, 100U, 150U, 200U, 120U, 21U, 20U, 5U, 100U}) {
    controller.apply(pressure::Observe{depth, 0}, Nanos{0});
  }
  std::vector<std::uint16_t> kinds;
  controller.events().after(0, [&](const EventRecord& event) { kinds.push_back(event.kind); });
  EXPECT_EQ(kinds, (std::vector<std::uint16_t>{1, 2, 1}));
}

TEST(Backpressure, GrantsCreditWhileThrottlingAndVoidsItAfter) {
  BackpressureController controller(marks(100, 20));
  EXPECT_EQ(controller.apply(pressure::WantCredit{1, 5}, Nanos{0}).grant.granted, 0U);
  controller.apply(pressure::Observe{100, 0}, Nanos{0});
  EXPECT_EQ(controller.apply(pressure::WantCredit{1, 5}, Nanos{0}).grant.granted, 2U);
  EXPECT_EQ(controller.apply(pressure::WantCredit{1, 5}, Nanos{0}).refusal, Refusal::no_credit);
  controller.apply(pressure::ReportSpent{1, 1}, Nanos{1});
  EXPECT_EQ(controller.counters().accepted, 1U);
  controller.apply(pressure::StationClosed{1}, Nanos{2});
  EXPECT_EQ(controller.audit().returned, 1U);
  controller.apply(pressure::WantCredit{2, 5}, Nanos{3});
  controller.apply(pressure::Observe{20, 0}, Nanos{4});
  EXPECT_EQ(controller.audit().live, 0U);
  EXPECT_TRUE(controller.audit().is_balanced());
}

TEST(Backpressure, LatencyPresetShedsWhatHasWaitedTooLong) {
  BackpressureController controller(BackpressureConfig::preset("latency").value());
  int shed = 0;
  for (std::int64_t ms = 0; ms < 500; ++ms) {
    shed += controller.should_shed(Nanos{20 * kNsPerMs}, Nanos{ms * kNsPerMs}) ? 1 : 0;
  }
  EXPECT_EQ(shed, 7) << "the golden of CoDel: 100, 200, 271, 329, 379, 424, 464 ms";
  BackpressureController plain{BackpressureConfig{}};
  EXPECT_FALSE(plain.should_shed(Nanos{kNsPerSecond}, Nanos{kNsPerSecond}));
}

TEST(Backpressure, ViewFitsOneWord) {
  const PressureView view{PressureState::blocked, 1'000'000, UINT32_MAX};
  const PressureView again = PressureView::of(view.word());
  EXPECT_EQ(again.state, view.state);
  EXPECT_EQ(again.pressure_ppm, view.pressure_ppm);
  EXPECT_EQ(again.depth, view.depth);
}

TEST(BackpressureConfig, HasItsPresetsAndRefusesWhatIsOutOfRange) {
  for (const auto name : BackpressureConfig::names()) {
    EXPECT_TRUE(BackpressureController::validate(BackpressureConfig::preset(name).value())) << name;
  }
  EXPECT_EQ(BackpressureConfig::preset("Default").error().code, Errc::unknown_preset);
  const auto refused = [](std::string_view field, auto&& change) {
    BackpressureConfig config;
    change(config);
    const auto status = BackpressureController::validate(config);
    ASSERT_FALSE(status) << field;
    EXPECT_EQ(status.error().code, Errc::invalid_config);
    EXPECT_NE(status.error().sentence.find(field), std::string::npos) << status.error().sentence;
  };
  refused("watermark_high", [](auto& c) { c.watermark_low = c.watermark_high; });
  refused("hard_limit", [](auto& c) { c.hard_limit = c.watermark_high - 1; });
  refused("throttle_rate_per_s", [](auto& c) { c.throttle_rate_per_s = -1; });
  refused("throttle_burst", [](auto& c) { c.throttle_burst = 0; });
  refused("shed_start_ppm", [](auto& c) { c.shed_start_ppm = {5, 4, 3, 2}; });
  refused("drain_alpha", [](auto& c) { c.drain_alpha = 0; });
  refused("drain_sample_ns", [](auto& c) { c.drain_sample_ns = Nanos{0}; });
  refused("codel_target_ns", [](auto& c) { c.codel_target_ns = Nanos{0}; });
}

TEST(Backpressure, RefusesBadInputAndStaysAsItWas) {
  BackpressureController controller(marks(100, 20));
  controller.apply(pressure::Observe{120, 0}, Nanos{5});
  using Bad = testing::BadInput<BackpressureController>;
  testing::expect_all_refused<BackpressureController>(
      controller,
      {Bad{"priority above 3", pressure::ShouldAccept{4}},
       Bad{"offer before time", pressure::ShouldAccept{2}, Errc::invalid_argument, Nanos{-1}},
       Bad{"depth before time", pressure::Observe{}, Errc::invalid_argument, Nanos{-1}},
       Bad{"impossible depth", pressure::Observe{std::uint64_t{1} << 40, 0}},
       Bad{"credit before time", pressure::WantCredit{1, 1}, Errc::invalid_argument, Nanos{-1}}});
}

RC_GTEST_PROP(Backpressure, KeepsDepthWithinItsLimitAndIsMonotoneInPriority, ()) {
  const auto low = *rc::gen::inRange<std::uint32_t>(0, 20);
  const auto high = low + *rc::gen::inRange<std::uint32_t>(1, 30);
  const auto hard = high + *rc::gen::inRange<std::uint32_t>(0, 30);
  BackpressureController controller(marks(high, low, hard == 0 ? 1 : hard));
  std::deque<int> queue;
  std::int64_t now = 0;
  std::uint64_t crossings = 0;
  std::uint64_t last_depth = 0;
  for (int i = 0; i < 500; ++i) {
    now += *rc::gen::inRange<std::int64_t>(0, 20'000'000);
    if (*rc::gen::inRange(0, 3) == 0 && !queue.empty()) {
      queue.pop_front();
      controller.apply(pressure::Observe{queue.size(), 1}, Nanos{now});
    } else {
      const auto priority = *rc::gen::inRange<std::uint32_t>(0, 4);
      BackpressureController higher = controller;
      const bool accepted = controller.should_accept(priority, Nanos{now}).refusal == Refusal::none;
      if (accepted && priority < 3) {
        RC_ASSERT(higher.should_accept(priority + 1, Nanos{now}).refusal == Refusal::none);
      }
      if (accepted) queue.push_back(1);
      controller.apply(pressure::Observe{queue.size(), 0}, Nanos{now});
    }
    RC_ASSERT(queue.size() <= controller.view().depth);
    RC_ASSERT(queue.size() <= hard);
    RC_ASSERT(controller.verify().has_value());
    for (const std::uint64_t mark : {low, high, hard}) {
      crossings += (last_depth <= mark) != (queue.size() <= mark) ? 1U : 0U;
      crossings += (last_depth >= mark) != (queue.size() >= mark) ? 1U : 0U;
    }
    last_depth = queue.size();
    RC_ASSERT(controller.counters().transitions <= crossings);
  }
}

std::vector<Timed<BackpressureController::Command>> trace(std::size_t count, std::uint64_t seed) {
  std::vector<Timed<BackpressureController::Command>> commands;
  Rng rng(seed);
  std::uint64_t depth = 0;
  Nanos now{0};
  for (std::size_t i = 0; i < count; ++i) {
    now += Nanos{static_cast<std::int64_t>(rng.below(50'000'000))};
    depth = std::min<std::uint64_t>(depth + rng.below(40), 250) * rng.below(5) / 3;
    BackpressureController::Command command = pressure::Observe{depth, rng.below(9)};
    if (rng.below(2) == 0)
      command = pressure::ShouldAccept{static_cast<std::uint32_t>(rng.below(5))};
    const auto station = static_cast<std::uint32_t>(rng.below(3));
    if (rng.below(8) == 0) command = pressure::WantCredit{station, rng.below(6)};
    if (rng.below(9) == 0) command = pressure::ReportSpent{station, rng.below(3)};
    if (rng.below(30) == 0) command = pressure::StationClosed{station};
    commands.push_back({now, command});
  }
  return commands;
}

TEST(Backpressure, ReplaysToTheSameBytes) {
  testing::expect_replays<BackpressureController>(marks(100, 20), trace(600, 1));
}

TEST(Backpressure, FindsADamagedSnapshot) {
  BackpressureController controller(marks(100, 20));
  for (const auto& [now, command] : trace(60, 2)) controller.apply(command, now);
  testing::expect_damage_found(controller, marks(100, 20));
}

TEST(Backpressure, SurvivesADeathAtEachStepOfItsJournal) {
  testing::CrashSweep<BackpressureController> sweep(marks(100, 20), trace(24, 3));
  EXPECT_GT(sweep.run(5), 3U * 24 * 4);
}

TEST(Backpressure, AllocatesNothingWhenCalled) {
  BackpressureController controller(marks(100, 20));
  const auto commands = trace(300, 4);
  const std::uint64_t before = mesh::testing::allocation_count();
  PressureActions actions;
  for (const auto& [now, command] : commands) {
    controller.apply(command, now);
    controller.tick(now, actions);
  }
  EXPECT_EQ(mesh::testing::allocation_count(), before);
}

TEST(Backpressure, RefusesADepthBeyondItsView) {
  BackpressureController controller({});
  controller.on_enqueue(50, Nanos{0});
  const std::uint64_t hash = controller.state_hash();
  EXPECT_EQ(controller.on_enqueue(UINT64_MAX - 10, Nanos{0}).code, Errc::invalid_argument)
      << "50 more would have wrapped to a queue that is empty";
  EXPECT_EQ(controller.on_enqueue(UINT32_MAX, Nanos{0}).code, Errc::invalid_argument);
  EXPECT_EQ(controller.on_enqueue(1, Nanos{-1}).code, Errc::invalid_argument);
  EXPECT_EQ(controller.on_dequeue(1, Nanos::max()).code, Errc::invalid_argument);
  EXPECT_EQ(controller.state_hash(), hash);
  EXPECT_EQ(controller.depth(), 50U);
  EXPECT_EQ(controller.counters().refused, 4U);
}

// --- from hop to hop ---------------------------------------------------------------------------

TEST(Backpressure, ShedsByThePressureFurtherOnAndPassesItOn) {
  BackpressureController controller(marks(100, 20));
  EXPECT_EQ(controller.should_accept(0, Nanos{0}).refusal, Refusal::none);
  controller.apply(pressure::HearDownstream{3, 400'000}, Nanos{0});
  EXPECT_EQ(controller.view().pressure_ppm, 400'000U) << "to those who send here";
  EXPECT_EQ(controller.state(), PressureState::accepting) << "its own queue is empty";
  const auto refused = controller.should_accept(0, Nanos{0});
  EXPECT_EQ(refused.refusal, Refusal::rejected_pressure);
  EXPECT_EQ(refused.retry_after, Nanos{1'000'000'000});
  EXPECT_EQ(controller.should_accept(1, Nanos{0}).refusal, Refusal::rejected_pressure);
  EXPECT_EQ(controller.should_accept(2, Nanos{0}).refusal, Refusal::none) << ".5 is its mark";
  controller.apply(pressure::HearDownstream{3, 1'000'000}, Nanos{0});
  EXPECT_EQ(controller.should_accept(3, Nanos{0}).refusal, Refusal::none) << "critical";
  PressureActions actions;
  controller.tick(Nanos{1'000'000'000}, actions);
  EXPECT_TRUE(actions.view_changed);
  EXPECT_EQ(controller.view().pressure_ppm, 0U) << "it was not heard of for a second";
  EXPECT_EQ(controller.should_accept(0, Nanos{1'000'000'000}).refusal, Refusal::none);
  EXPECT_TRUE(controller.verify());
  testing::expect_all_refused<BackpressureController>(
      controller,
      {{"no such child", pressure::HearDownstream{16, 1}, Errc::invalid_argument, Nanos{2}},
       {"above all", pressure::HearDownstream{0, 1'000'001}, Errc::invalid_argument, Nanos{2}}});
}

// A chain of three, of which the last is slow. Without word from hop to hop those before it fill
// up to their high marks and beyond; with it they hardly fill at all.
TEST(Backpressure, KeepsTheQueuesBeforeASlowOneFromFilling) {
  const auto deepest = [](bool tells) {
    std::vector<BackpressureController> hops(3, BackpressureController(marks(100, 20)));
    std::vector<std::uint64_t> depth(3);
    std::uint64_t most_before = 0;
    for (std::int64_t ms = 0; ms < 5'000; ++ms) {
      const Nanos now{ms * kNsPerMs};
      for (std::size_t hop = 0; hop < 3; ++hop) {
        hops[hop].apply(pressure::Observe{depth[hop], 0}, now);
        if (!tells || hop == 0) continue;
        hops[hop - 1].apply(pressure::HearDownstream{0, hops[hop].view().pressure_ppm}, now);
      }
      if (hops[0].should_accept(1, now).refusal == Refusal::none) ++depth[0];
      for (std::size_t hop = 0; hop + 1 < 3; ++hop) {
        if (depth[hop] == 0 || hops[hop + 1].should_accept(1, now).refusal != Refusal::none)
          continue;
        --depth[hop];
        ++depth[hop + 1];
      }
      if (ms % 40 == 0 && depth[2] != 0) --depth[2];
      most_before = std::max({most_before, depth[0], depth[1]});
    }
    return most_before;
  };
  EXPECT_GE(deepest(false), 100U);
  EXPECT_LT(deepest(true), 20U);
}

}  // namespace of_backpressure_controller_test
}  // namespace mesh::coordination
