// The five operating modes: mesh.md part 12.
#include "engine/health/operating_modes.hpp"

#include <rapidcheck/gtest.h>

namespace mesh::engine::health {
namespace of_operating_modes_test {

using Mode = OperatingMode;

constexpr HostTime at(double seconds) { return from_ns(static_cast<std::int64_t>(seconds * 1e9)); }
OperatingModes modes() { return OperatingModes::create({}).value(); }

TEST(OperatingModes, RefusesNegativeDurations) {
  EXPECT_EQ(OperatingModes::create({.enter_after = Nanos{-1}}).error().code,
            Errc::invalid_argument);
  EXPECT_EQ(OperatingModes::create({.leave_after = Nanos{-1}}).error().code,
            Errc::invalid_argument);
}

TEST(OperatingModes, AreByActiveOfTotal) {
  EXPECT_EQ(mode_for(0, 0), Mode::full);
  EXPECT_EQ(mode_for(100, 100), Mode::full);
  EXPECT_EQ(mode_for(95, 100), Mode::full);
  EXPECT_EQ(mode_for(28'499, 30'000), Mode::degraded_light);
  EXPECT_EQ(mode_for(80, 100), Mode::degraded_light);
  EXPECT_EQ(mode_for(23'999, 30'000), Mode::degraded_moderate);
  EXPECT_EQ(mode_for(60, 100), Mode::degraded_moderate);
  EXPECT_EQ(mode_for(17'999, 30'000), Mode::degraded_severe);
  EXPECT_EQ(mode_for(30, 100), Mode::degraded_severe);
  EXPECT_EQ(mode_for(8'999, 30'000), Mode::emergency);
  EXPECT_EQ(mode_for(0, 1), Mode::emergency);
}

TEST(OperatingModes, AreEnteredAfterThreeSecondsAndLeftAfterTen) {
  OperatingModes mesh = modes();
  EXPECT_FALSE(mesh.observe(100, 100, at(0)).has_value());
  EXPECT_FALSE(mesh.observe(70, 100, at(1)).has_value());
  EXPECT_FALSE(mesh.observe(70, 100, at(3.999)).has_value());
  const auto entered = mesh.observe(70, 100, at(4));
  ASSERT_TRUE(entered.has_value());
  EXPECT_EQ(entered->from, Mode::full);
  EXPECT_EQ(entered->to, Mode::degraded_moderate);
  EXPECT_EQ(mesh.since(), at(4));
  EXPECT_FALSE(mesh.observe(100, 100, at(5)).has_value());
  EXPECT_FALSE(mesh.observe(100, 100, at(14.999)).has_value());
  const auto left = mesh.observe(100, 100, at(15));
  ASSERT_TRUE(left.has_value());
  EXPECT_EQ(left->to, Mode::full);
}

// One of two is half of the mesh, and no reason to refuse anything.
TEST(OperatingModes, OfLessThanAFullClusterAreFull) {
  OperatingModes mesh = modes();
  static_cast<void>(mesh.observe(2, 2, at(0)));
  EXPECT_FALSE(mesh.observe(1, 2, at(1)).has_value());
  EXPECT_FALSE(mesh.observe(0, 29, at(100)).has_value());
  EXPECT_FALSE(mesh.observe(15, 30, at(101)).has_value());
  EXPECT_EQ(mesh.observe(15, 30, at(104)).value().to, Mode::degraded_severe);
  OperatingModes any = OperatingModes::create({.agents_min = 0}).value();
  static_cast<void>(any.observe(1, 2, at(1)));
  EXPECT_EQ(any.observe(1, 2, at(4)).value().to, Mode::degraded_severe);
}

TEST(OperatingModes, AMeshThatFlapsStaysInTheWorse) {
  OperatingModes mesh = modes();
  static_cast<void>(mesh.observe(100, 100, at(0)));
  static_cast<void>(mesh.observe(90, 100, at(1)));
  ASSERT_TRUE(mesh.observe(90, 100, at(4)).has_value());
  for (double second = 5; second < 100; second += 5) {  // never ten seconds of full
    EXPECT_FALSE(mesh.observe(100, 100, at(second)).has_value());
    EXPECT_FALSE(mesh.observe(90, 100, at(second + 4)).has_value());
  }
  EXPECT_EQ(mesh.mode(), Mode::degraded_light);
}

TEST(OperatingModes, AShortDipIsNoMode) {
  OperatingModes mesh = modes();
  for (double second = 0; second < 60; second += 3) {
    EXPECT_FALSE(mesh.observe(100, 100, at(second)).has_value());
    EXPECT_FALSE(mesh.observe(10, 100, at(second + 0.1)).has_value());
  }
  EXPECT_EQ(mesh.mode(), Mode::full);
}

// It was moderate for two seconds and severe for two: at least moderate for three.
TEST(OperatingModes, SinkingStepByStepEntersWhatHasHeld) {
  OperatingModes mesh = modes();
  static_cast<void>(mesh.observe(100, 100, at(0)));
  static_cast<void>(mesh.observe(70, 100, at(1)));
  static_cast<void>(mesh.observe(40, 100, at(3)));
  EXPECT_EQ(mesh.observe(40, 100, at(4)).value().to, Mode::degraded_moderate);
  EXPECT_EQ(mesh.observe(40, 100, at(6)).value().to, Mode::degraded_severe);
}

TEST(OperatingModes, ASuccessorGoesOnInTheModeOfTheTable) {
  OperatingModes mesh = modes();
  EXPECT_FALSE(mesh.is_known());
  mesh.resume(Mode::degraded_severe, at(1));
  EXPECT_FALSE(mesh.observe(100, 100, at(2)).has_value());
  EXPECT_FALSE(mesh.observe(100, 100, at(11.9)).has_value());
  EXPECT_EQ(mesh.observe(100, 100, at(12)).value().to, Mode::full);
}

Act message(sched::Priority priority) { return {.priority = priority}; }
Act scatter(sched::Priority priority, std::uint32_t targets, bool all) {
  return {.priority = priority, .is_operation = true, .is_mesh_wide = all, .targets = targets};
}
using P = sched::Priority;

TEST(Admission, FullAdmitsEverything) {
  for (const P priority : {P::background, P::normal, P::high, P::critical}) {
    EXPECT_EQ(admit(Mode::full, message(priority)), Admission::admitted);
    EXPECT_EQ(admit(Mode::full, scatter(priority, 30'000, true)), Admission::admitted);
  }
  EXPECT_EQ(retry_timeout(Mode::full, Nanos{5}), Nanos{5});
}

TEST(Admission, DegradedLightRefusesBackgroundAndDoublesRetryTimeouts) {
  EXPECT_EQ(admit(Mode::degraded_light, message(P::background)), Admission::background_refused);
  EXPECT_EQ(admit(Mode::degraded_light, message(P::normal)), Admission::admitted);
  EXPECT_EQ(admit(Mode::degraded_light, scatter(P::normal, 30'000, true)), Admission::admitted);
  EXPECT_EQ(retry_timeout(Mode::degraded_light, Nanos{5}), Nanos{10});
}

TEST(Admission, DegradedModerateQueuesBelowHighAndTakesNoWideScatterNorDegradedSectors) {
  EXPECT_EQ(admit(Mode::degraded_moderate, message(P::background)), Admission::background_refused);
  EXPECT_EQ(admit(Mode::degraded_moderate, message(P::normal)), Admission::queued);
  EXPECT_EQ(admit(Mode::degraded_moderate, message(P::high)), Admission::admitted);
  Act there = message(P::critical);
  there.in_healthy_sector = false;
  EXPECT_EQ(admit(Mode::degraded_moderate, there), Admission::sector_degraded);
  EXPECT_EQ(admit(Mode::degraded_moderate, scatter(P::high, 1'000, false)), Admission::admitted);
  EXPECT_EQ(admit(Mode::degraded_moderate, scatter(P::high, 1'001, false)), Admission::too_wide);
}

TEST(Admission, DegradedSevereTakesCriticalAloneAndMeshWideWhenConfirmed) {
  EXPECT_EQ(admit(Mode::degraded_severe, message(P::high)), Admission::critical_only);
  EXPECT_EQ(admit(Mode::degraded_severe, message(P::critical)), Admission::admitted);
  Act wide = scatter(P::critical, 20'000, true);
  EXPECT_EQ(admit(Mode::degraded_severe, wide), Admission::needs_confirmation);
  wide.is_confirmed = true;
  EXPECT_EQ(admit(Mode::degraded_severe, wide), Admission::admitted);
}

TEST(Admission, EmergencyStopsWhatIsAutomatic) {
  Act act = message(P::critical);
  EXPECT_EQ(admit(Mode::emergency, act), Admission::automatic_stopped);
  act.by_operator = true;
  EXPECT_EQ(admit(Mode::emergency, act), Admission::admitted);
}

// What a mode refuses no worse one admits.
RC_GTEST_PROP(Admission, AWorseModeAdmitsNoMore, ()) {
  const Act act{.priority = static_cast<P>(*rc::gen::inRange(0, 4)),
                .by_operator = *rc::gen::arbitrary<bool>(),
                .is_operation = *rc::gen::arbitrary<bool>(),
                .is_mesh_wide = *rc::gen::arbitrary<bool>(),
                .is_confirmed = *rc::gen::arbitrary<bool>(),
                .targets = *rc::gen::inRange<std::uint32_t>(0, 3'000),
                .in_healthy_sector = *rc::gen::arbitrary<bool>()};
  bool was_admitted = true;
  for (std::uint32_t mode = 0; mode < kOperatingModes; ++mode) {
    const bool is_admitted = admit(static_cast<Mode>(mode), act) == Admission::admitted;
    RC_ASSERT(was_admitted || !is_admitted);
    was_admitted = is_admitted;
  }
}

// Whatever is seen: a change to worse had held for three seconds, one to better for ten.
RC_GTEST_PROP(OperatingModes, NoChangeComesBeforeItsTime, ()) {
  OperatingModes mesh = modes();
  std::vector<std::pair<HostTime, std::uint32_t>> seen;
  const auto steps = *rc::gen::inRange<std::uint32_t>(1, 80);
  HostTime now = at(0);
  for (std::uint32_t step = 0; step < steps; ++step) {
    now += Nanos{*rc::gen::inRange<std::int64_t>(1, 4) * kNsPerSecond};
    const auto active = *rc::gen::inRange<std::uint64_t>(0, 101);
    seen.emplace_back(now, static_cast<std::uint32_t>(mode_for(active, 100)));
    const auto change = mesh.observe(active, 100, now);
    if (!change) continue;
    const auto to = static_cast<std::uint32_t>(change->to);
    const bool is_worse = change->to > change->from;
    const Nanos held{(is_worse ? 3 : 10) * kNsPerSecond};
    for (auto it = seen.rbegin(); it != seen.rend(); ++it) {
      RC_ASSERT((is_worse ? it->second >= to : it->second <= to));
      if (now - it->first >= held) break;
      RC_ASSERT(std::next(it) != seen.rend());
    }
  }
}

}  // namespace of_operating_modes_test
}  // namespace mesh::engine::health
