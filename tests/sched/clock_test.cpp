#include "sched/clock.hpp"

#include <atomic>
#include <random>
#include <thread>

#include "sched/clock_layout.hpp"
#include "tests/sched/manual_counters.hpp"
#include "tests/seed.hpp"

namespace mesh::sched {
namespace of_clock_test {

using testing::ManualCounters;
using testing::ManualTime;
using ManualPublisher = ClockPublisher<ManualCounters>;
using ManualReader = ClockReader<ManualCounters>;

constexpr std::uint64_t kTickStarts[] = {0, (std::uint64_t{1} << 32) - 1'000'000,
                                         (std::uint64_t{1} << 63) - 1'000'000,
                                         std::uint64_t{0} - 1'000'000};

std::int64_t fresh_now(const ClockWords& words, ManualTime& time) {
  return ManualReader(words, ManualCounters{&time}).now_ns();
}

TEST(ClockWords, StandWhereTheLayoutSays) {
  EXPECT_EQ(sizeof(ClockWords), 128U);
  EXPECT_EQ(offsetof(ClockWords, sequence), 0U);
  EXPECT_EQ(offsetof(ClockWords, tick0), 8U);
  EXPECT_EQ(offsetof(ClockWords, ns0), 16U);
  EXPECT_EQ(offsetof(ClockWords, mult), 24U);
  EXPECT_EQ(offsetof(ClockWords, shift), 32U);
  EXPECT_EQ(offsetof(ClockWords, counter), 36U);
  EXPECT_EQ(offsetof(ClockWords, error_ns), 40U);
  EXPECT_EQ(kClockWordsDescription.fields.size(), 8U);
}

TEST(ClockReader, ReadsClockMonotonicWhenNothingWasPublished) {
  ManualTime time;
  ClockWords words{};
  ManualReader reader(words, ManualCounters{&time});
  EXPECT_EQ(reader.now_ns(), time.mono_ns);
  time.advance(7);
  EXPECT_EQ(reader.now_ns(), time.mono_ns);
}

TEST(ClockReader, ReadsClockMonotonicWhenTheWordsCannotBe) {
  const auto shown = [](auto damage) {
    ManualTime time;
    ClockWords words{};
    ManualPublisher publisher(words, {}, ManualCounters{&time});
    damage(words);
    time.advance(12'345);
    return fresh_now(words, time) - time.mono_ns;
  };
  EXPECT_NEAR(static_cast<double>(shown([](ClockWords&) {})), 0, 1);
  EXPECT_EQ(shown([](ClockWords& w) { w.mult.store_relaxed(0); }), 0);
  EXPECT_EQ(shown([](ClockWords& w) { w.shift.store_relaxed(64); }), 0);
  EXPECT_EQ(shown([](ClockWords& w) { w.shift.store_relaxed(0); }), 0);
  EXPECT_EQ(shown([](ClockWords& w) { w.mult.store_relaxed(1); }), 0);
  EXPECT_EQ(shown([](ClockWords& w) { w.mult.store_relaxed(~std::uint64_t{0}); }), 0);
  EXPECT_EQ(shown([](ClockWords& w) { w.ns0.store_relaxed(-1); }), 0);
  EXPECT_EQ(shown([](ClockWords& w) { w.ns0.store_relaxed(INT64_MAX); }), 0);
  EXPECT_EQ(shown([](ClockWords& w) { w.counter.store_relaxed(ClockCounter{3}); }), 0);
  EXPECT_EQ(shown([](ClockWords& w) { w.counter.store_relaxed(ClockCounter::none); }), 0);
}

RC_GTEST_PROP(ClockReader, NeverStepsBackWhateverTheWordsSay, ()) {
  ManualTime time;
  ClockWords words{};
  ManualReader reader(words, ManualCounters{&time});
  std::int64_t last = 0;
  for (int i = 0; i < 50; ++i) {
    words.sequence.store_relaxed(*rc::gen::inRange<std::uint64_t>(0, 9));
    words.tick0.store_relaxed(*rc::gen::arbitrary<std::uint64_t>());
    words.ns0.store_relaxed(*rc::gen::arbitrary<std::int64_t>());
    words.mult.store_relaxed(*rc::gen::arbitrary<std::uint64_t>());
    words.shift.store_relaxed(*rc::gen::inRange<std::uint32_t>(0, 70));
    words.counter.store_relaxed(static_cast<ClockCounter>(*rc::gen::inRange<std::uint32_t>(0, 4)));
    const std::int64_t now = reader.now_ns();
    RC_ASSERT(now >= last);
    last = now;
  }
}

TEST(ClockPublisher, ReadersShowClockMonotonicWithin5PpmAfterCalibration) {
  for (const std::uint64_t start : kTickStarts) {
    ManualTime time;
    time.set_ticks(start);
    ClockWords words{};
    ManualPublisher publisher(words, {}, ManualCounters{&time});
    EXPECT_EQ(publisher.report().counter, ClockCounter::ticks);
    EXPECT_EQ(publisher.report().fallback, ClockFallback::none);
    EXPECT_NEAR(publisher.report().counter_hz, 2.6e9, 2.6e9 * 5e-6);
    time.advance(kNsPerSecond);
    EXPECT_NEAR(static_cast<double>(fresh_now(words, time) - time.mono_ns), 0, 5'000) << start;
  }
}

// Any mixture of time passing, drift within 200 ppm, publications, restarts: what one reader after
// the other shows never falls, and never jumps by more than drift and slew allow.
void expect_steady(std::uint64_t seed, std::uint64_t tick_start) {
  std::mt19937_64 random(seed);
  ManualTime time;
  time.set_ticks(tick_start);
  ClockWords words{};
  auto publisher = std::make_unique<ManualPublisher>(words, ClockOptions{}, ManualCounters{&time});
  ManualReader keeper(words, ManualCounters{&time});
  std::int64_t last_shown = fresh_now(words, time);
  std::int64_t last_mono = time.mono_ns;
  for (int step = 0; step < 2'000; ++step) {
    switch (random() % 8) {
      case 0:
        time.set_drift_ppm(static_cast<std::int64_t>(random() % 401) - 200);
        break;
      case 1:
        time.advance(static_cast<std::int64_t>(random() % (5 * kNsPerSecond)));
        break;
      case 2:
        if (random() % 64 == 0) {
          publisher.reset();
          publisher =
              std::make_unique<ManualPublisher>(words, ClockOptions{}, ManualCounters{&time});
        }
        break;
      case 3:
      case 4:
        publisher->publish();
        break;
      default:
        time.advance(static_cast<std::int64_t>(random() % 10'000));
        break;
    }
    const std::int64_t shown = fresh_now(words, time);
    const std::int64_t passed = time.mono_ns - last_mono;
    ASSERT_GE(shown, last_shown) << "step " << step;
    // 500 ppm of slew, twice 200 of drift against the measured rate, rounding.
    ASSERT_NEAR(static_cast<double>(shown - last_shown), static_cast<double>(passed),
                static_cast<double>(passed) * 910e-6 + 3)
        << "step " << step;
    ASSERT_EQ(keeper.now_ns(), shown);
    last_shown = shown;
    last_mono = time.mono_ns;
  }
  EXPECT_EQ(publisher->report().counter, ClockCounter::ticks);
}

TEST(ClockPublisher, NeverStepsBackNorJumpsAcrossAnySequenceOfPublications) {
  for (const std::uint64_t start : kTickStarts) {
    for (std::uint64_t round = 0; round < 10; ++round) {
      SCOPED_TRACE(start);
      expect_steady(testing::seed() + round, start);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(ClockPublisher, TracksDriftOf200PpmBothWays) {
  for (const std::int64_t ppm : {200, -200}) {
    ManualTime time;
    ClockWords words{};
    ManualPublisher publisher(words, {}, ManualCounters{&time});
    time.set_drift_ppm(ppm);
    for (int second = 0; second < 60; ++second) {
      time.advance(kNsPerSecond);
      publisher.publish();
    }
    time.advance(kNsPerSecond);
    EXPECT_NEAR(static_cast<double>(fresh_now(words, time) - time.mono_ns), 0, 50) << ppm;
  }
}

// A predecessor left the published time 10 ms off; the correction stays within its bound, closes
// the gap at least that fast, and then ends.
TEST(ClockPublisher, SlewsAnInheritedErrorAwayWithinItsBound) {
  for (const std::int64_t offset_ns : {10 * kNsPerMs, -10 * kNsPerMs}) {
    ManualTime time;
    ClockWords words{};
    { ManualPublisher first(words, {}, ManualCounters{&time}); }
    words.ns0.store_relaxed(words.ns0.load_relaxed() + offset_ns);
    ManualPublisher publisher(words, {}, ManualCounters{&time});
    EXPECT_NEAR(static_cast<double>(fresh_now(words, time) - time.mono_ns),
                static_cast<double>(offset_ns), 100)
        << "the time goes on where it stood";
    for (int second = 0; second < 60; ++second) {
      time.advance(kNsPerSecond);
      publisher.publish();
      EXPECT_LE(std::abs(publisher.report().slew_ppm), 500.001);
    }
    // 10 ms at 500 ppm: 20 s; the rest decays by a quarter a second.
    EXPECT_NEAR(static_cast<double>(fresh_now(words, time) - time.mono_ns), 0, 100);
  }
}

TEST(ClockPublisher, ConvergesWhenItIsCalledLateOrTooOften) {
  for (const std::int64_t interval : {3 * kNsPerSecond, 7 * kNsPerSecond, 20 * kNsPerMs}) {
    ManualTime time;
    ClockWords words{};
    { ManualPublisher first(words, {}, ManualCounters{&time}); }
    words.ns0.store_relaxed(words.ns0.load_relaxed() + kNsPerMs);
    ManualPublisher publisher(words, {}, ManualCounters{&time});
    for (std::int64_t passed = 0; passed < 600 * kNsPerSecond; passed += interval) {
      time.advance(interval);
      publisher.publish();
    }
    EXPECT_NEAR(static_cast<double>(fresh_now(words, time) - time.mono_ns), 0, 1'000) << interval;
  }
}

TEST(ClockReader, GoesOnForAnHourWithoutAnEngine) {
  for (const std::uint64_t start : kTickStarts) {
    ManualTime time;
    time.set_ticks(start);
    ClockWords words{};
    {
      ManualPublisher publisher(words, {}, ManualCounters{&time});
      for (int second = 0; second < 5; ++second) {
        time.advance(kNsPerSecond);
        publisher.publish();
      }
    }
    ManualReader reader(words, ManualCounters{&time});
    std::int64_t last = reader.now_ns();
    for (int minute = 0; minute < 60; ++minute) {
      time.advance(60 * kNsPerSecond);
      const std::int64_t now = reader.now_ns();
      ASSERT_GT(now, last);
      last = now;
    }
    EXPECT_NEAR(static_cast<double>(last - time.mono_ns), 0, 5'000);
  }
}

TEST(ClockPublisher, UsesClockMonotonicWhereTicksAreNoClockAndSaysWhy) {
  const auto reason = [](auto prepare, bool allow_ticks = true) {
    ManualTime time;
    prepare(time);
    ClockWords words{};
    ClockOptions options;
    options.allow_ticks = allow_ticks;
    ManualPublisher publisher(words, options, ManualCounters{&time});
    EXPECT_EQ(words.counter.load_relaxed() == ClockCounter::monotonic,
              publisher.report().fallback != ClockFallback::none);
    time.advance(kNsPerSecond);
    publisher.publish();
    time.advance(kNsPerSecond);
    EXPECT_NEAR(static_cast<double>(fresh_now(words, time) - time.mono_ns), 0, 1);
    return publisher.report().fallback;
  };
  EXPECT_EQ(reason([](ManualTime&) {}), ClockFallback::none);
  EXPECT_EQ(reason([](ManualTime&) {}, false), ClockFallback::not_allowed);
  EXPECT_EQ(reason([](ManualTime& t) { t.invariant = false; }), ClockFallback::not_invariant);
  EXPECT_EQ(reason([](ManualTime& t) { t.hz = 0; }), ClockFallback::disagrees);
  EXPECT_EQ(reason([](ManualTime& t) {
              t.on_wait = [&t] { t.set_hz(t.hz + t.hz / 500); };  // 2,000 ppm a window
            }),
            ClockFallback::disagrees);
  EXPECT_EQ(reason([](ManualTime& t) {
              t.on_wait = [&t, waits = 0]() mutable {
                if (++waits == 1) t.set_ticks(t.ticks() + 1'000'000);  // one spoiled window
              };
            }),
            ClockFallback::none);
}

TEST(ClockPublisher, LeavesTicksThatWentBackOrChangedTheirRateWithoutAStepBack) {
  const auto leave = [](auto damage) {
    ManualTime time;
    time.set_ticks(std::uint64_t{1} << 40);
    ClockWords words{};
    ManualPublisher publisher(words, {}, ManualCounters{&time});
    time.advance(kNsPerSecond);
    publisher.publish();
    const std::int64_t before = fresh_now(words, time);
    damage(time);
    time.advance(kNsPerSecond);
    publisher.publish();
    EXPECT_EQ(publisher.report().counter, ClockCounter::monotonic);
    EXPECT_GT(fresh_now(words, time), before);
    for (int second = 0; second < 60; ++second) {
      time.advance(kNsPerSecond);
      publisher.publish();
    }
    EXPECT_NEAR(static_cast<double>(fresh_now(words, time) - time.mono_ns), 0, 100);
    return publisher.report().fallback;
  };
  EXPECT_EQ(leave([](ManualTime& t) { t.set_ticks(5); }), ClockFallback::went_back);
  EXPECT_EQ(leave([](ManualTime& t) { t.set_hz(t.hz + t.hz / 100); }), ClockFallback::disagrees);
  EXPECT_EQ(leave([](ManualTime& t) { t.set_hz(0); }), ClockFallback::disagrees);
}

TEST(ClockPublisher, DoesNotAdoptATimeThatIsNotOfThisBoot) {
  ManualTime time;
  ClockWords words{};
  { ManualPublisher first(words, {}, ManualCounters{&time}); }
  words.ns0.store_relaxed(words.ns0.load_relaxed() + 3'600 * kNsPerSecond);
  ManualPublisher publisher(words, {}, ManualCounters{&time});
  EXPECT_NEAR(static_cast<double>(fresh_now(words, time) - time.mono_ns), 0, 10);
}

// A policy whose points and loads call back, so that each interleaving is chosen.
struct HookMemory {
  static inline std::function<void(std::string_view)> at_point = [](std::string_view) {};
  static inline std::function<void()> before_load = [] {};
  template <class T>
  struct Word : ShmWord<T> {
    T load_acquire() const noexcept {
      before_load();
      return ShmWord<T>::load_acquire();
    }
    T load_relaxed() const noexcept {
      before_load();
      return ShmWord<T>::load_relaxed();
    }
  };
  static void point(const char* name) noexcept { at_point(name); }
  static void reset() {
    at_point = [](std::string_view) {};
    before_load = [] {};
  }
};
using HookWords = BasicClockWords<HookMemory>;
using HookPublisher = ClockPublisher<ManualCounters, HookMemory>;
using HookReader = ClockReader<ManualCounters, HookMemory>;

TEST(ClockReader, NeverShowsALineOfTwoPublicationsWhereverOneFallsIntoItsRead) {
  for (int publish_at = 0; publish_at < 24; ++publish_at) {
    ManualTime time;
    HookWords words{};
    HookPublisher publisher(words, {}, ManualCounters{&time});
    HookReader reader(words, ManualCounters{&time});
    time.advance(kNsPerSecond);
    int loads = 0;
    bool published = false;
    HookMemory::before_load = [&] {
      if (published || loads++ != publish_at) return;
      published = true;
      time.advance(kNsPerSecond);  // a mixture of two lines would be a second off
      publisher.publish();
    };
    const std::int64_t shown = reader.now_ns();
    HookMemory::reset();
    EXPECT_NEAR(static_cast<double>(shown - time.mono_ns), 0, 100) << publish_at;
  }
}

TEST(ClockReader, KeepsItsLastGoodLineWhenThePublisherDiesWithinAPublication) {
  for (const std::string_view death : {"clock.publish:odd", "clock.publish:before_even"}) {
    ManualTime time;
    HookWords words{};
    HookWords corpse{};
    HookPublisher publisher(words, {}, ManualCounters{&time});
    HookReader reader(words, ManualCounters{&time});
    EXPECT_NEAR(static_cast<double>(reader.now_ns() - time.mono_ns), 0, 10);
    time.advance(kNsPerSecond);
    int shown_at_death = 0;
    HookMemory::at_point = [&](std::string_view name) {
      if (name != death) return;
      for (int i = 0; i < 3; ++i, ++shown_at_death) {
        EXPECT_NEAR(static_cast<double>(reader.now_ns() - time.mono_ns), 0, 100);
        EXPECT_EQ(reader.line().counter, ClockCounter::ticks);
      }
      corpse = words;
    };
    publisher.publish();
    HookMemory::reset();
    EXPECT_EQ(shown_at_death, 3);

    // Who has no good line reads CLOCK_MONOTONIC; who comes after takes the time over.
    EXPECT_EQ(corpse.sequence.load_relaxed() % 2, 1U);
    HookReader late(corpse, ManualCounters{&time});
    EXPECT_EQ(late.now_ns(), time.mono_ns);
    HookPublisher successor(corpse, {}, ManualCounters{&time});
    EXPECT_EQ(corpse.sequence.load_relaxed() % 2, 0U);
    EXPECT_NEAR(static_cast<double>(late.now_ns() - time.mono_ns), 0, 100);
    EXPECT_EQ(late.line().counter, ClockCounter::ticks);
  }
}

TEST(ClockReader, TriesAnUnfinishedPublicationOnceAndThenCostsTwoLoads) {
  ManualTime time;
  HookWords words{};
  HookPublisher publisher(words, {}, ManualCounters{&time});
  HookReader reader(words, ManualCounters{&time});
  (void)reader.now_ns();
  words.sequence.store_relaxed(words.sequence.load_relaxed() + 1);
  (void)reader.now_ns();
  int loads = 0;
  HookMemory::before_load = [&] { ++loads; };
  (void)reader.now_ns();
  HookMemory::reset();
  EXPECT_LE(loads, 2);
}

// Threads on one mapping: ticks and CLOCK_MONOTONIC are one number that the publisher moves a
// second at a time, so a line of two publications would be a second off.
struct SharedCounters {
  std::atomic<std::int64_t>* ns;
  // relaxed: a counter orders nothing, like the real ones.
  std::uint64_t ticks() const noexcept {
    return static_cast<std::uint64_t>(ns->load(std::memory_order_relaxed));
  }
  std::int64_t monotonic_ns() const noexcept { return ns->load(std::memory_order_relaxed); }
  bool ticks_invariant() const noexcept { return true; }
  void wait(std::int64_t duration_ns) const noexcept {
    ns->fetch_add(duration_ns, std::memory_order_relaxed);
  }
};

TEST(ClockLitmus, ReadersNeverSeeATornLineOrAStepBackWhileLinesArePublished) {
  std::atomic<std::int64_t> ns{kNsPerSecond};
  ClockWords words{};
  ClockPublisher<SharedCounters> publisher(words, {}, SharedCounters{&ns});
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> torn{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      ClockReader<SharedCounters> reader(words, SharedCounters{&ns});
      std::int64_t last = 0;
      for (unsigned turn = 0; !over.load(std::memory_order_acquire); ++turn) {
        const std::int64_t low = ns.load(std::memory_order_relaxed);
        const std::int64_t now = reader.now_ns();
        const std::int64_t high = ns.load(std::memory_order_relaxed);
        if (now < last || now < low - kNsPerMs || now > high + kNsPerMs) {
          torn.fetch_add(1, std::memory_order_relaxed);
        }
        last = now;
        if (turn % 16 == 0) std::this_thread::yield();
      }
    });
  }
  for (int i = 0; i < 20'000; ++i) {
    ns.fetch_add(kNsPerSecond, std::memory_order_relaxed);
    publisher.publish();
    if (i % 8 == 0) std::this_thread::yield();
  }
  over.store(true, std::memory_order_release);
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(torn.load(std::memory_order_relaxed), 0U);
}

TEST(HostCounters, GiveAClockThatRisesOnThisMachine) {
  ClockWords words{};
  ClockPublisher<> publisher(words);
  ClockReader<> reader(words);
  const ClockReport report = publisher.report();
  EXPECT_NE(report.counter, ClockCounter::none);
  EXPECT_EQ(report.counter == ClockCounter::monotonic, report.fallback != ClockFallback::none);
  HostTime last = reader.now();
  for (int i = 0; i < 100'000; ++i) {
    const HostTime now = reader.now();
    ASSERT_GE(now, last);
    last = now;
    if (i % 1'000 == 0) publisher.publish();
  }
  RecordProperty("counter_hz", std::to_string(report.counter_hz));
}

TEST(ClockFallback, HasANameForEveryReason) {
  EXPECT_EQ(name_of(ClockFallback::none), "none");
  EXPECT_EQ(name_of(ClockFallback::not_allowed), "not_allowed");
  EXPECT_EQ(name_of(ClockFallback::not_invariant), "not_invariant");
  EXPECT_EQ(name_of(ClockFallback::disagrees), "disagrees");
  EXPECT_EQ(name_of(ClockFallback::went_back), "went_back");
  EXPECT_EQ(name_of(ClockFallback{99}), "unknown");
}

}  // namespace of_clock_test
}  // namespace mesh::sched
