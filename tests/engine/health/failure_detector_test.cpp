// The six classes of failures, what counts, and the guard against crying wolf: mesh.md part 12.
#include "engine/health/failure_detector.hpp"

#include <rapidcheck/gtest.h>

namespace mesh::engine::health {
namespace of_failure_detector_test {

constexpr Whereabouts kHere{.row = 3, .cluster = 1, .sector = 0};

constexpr HostTime at(double seconds) { return from_ns(static_cast<std::int64_t>(seconds * 1e9)); }
constexpr FailureDetector::Size kSize{.rows = 64, .clusters = 8, .sectors = 4};

FailureDetector begun(const DetectorConfig& config = {}) {
  auto detector = FailureDetector::create(kSize, config).value();
  detector.tick(at(0), at(0));
  return detector;
}
FailureDetector::Sight sight(double heard, std::uint16_t score = 10, std::uint32_t row = 3) {
  return {.where = {.row = row, .cluster = 1, .sector = 0}, .heartbeat = at(heard), .score = score};
}

TEST(FailureDetector, RefusesSizesAndDurationsThatCannotBe) {
  const auto refusal = [](const FailureDetector::Size& size, const DetectorConfig& config) {
    const auto made = FailureDetector::create(size, config);
    return made ? Errc::ok : made.error().code;
  };
  EXPECT_EQ(refusal({}, {}), Errc::invalid_argument);
  EXPECT_EQ(refusal(kSize, {.crashed = Nanos{1}}), Errc::invalid_argument);
  EXPECT_EQ(refusal(kSize, {.heartbeat_missed = Nanos{0}}), Errc::invalid_argument);
  EXPECT_EQ(refusal(kSize, {.spike_factor = 1}), Errc::invalid_argument);
  EXPECT_EQ(refusal(kSize, {.spike_samples_min = 0}), Errc::invalid_argument);
  EXPECT_EQ(refusal(kSize, {.spike_bin = Nanos{0}}), Errc::invalid_argument);
  EXPECT_EQ(refusal(kSize, {.cascade_window = Nanos{-1}}), Errc::invalid_argument);
  EXPECT_EQ(refusal(kSize, {.unanswered_max = 0}), Errc::invalid_argument);
  EXPECT_EQ(refusal(kSize, {.unanswered_max = 256}), Errc::invalid_argument);
  EXPECT_EQ(refusal(kSize, {.lag_max = Nanos{0}}), Errc::invalid_argument);
  EXPECT_EQ(refusal(kSize, {.settle = Nanos{-1}}), Errc::invalid_argument);
}

TEST(FailureDetector, AClosedConnectionIsACrashAtOnceAndCounts) {
  FailureDetector detector = begun();
  const Failure failure = detector.lost(kHere, at(1));
  EXPECT_EQ(failure.failure, FailureClass::agent_crash);
  EXPECT_TRUE(failure.counts);
  EXPECT_EQ(detector.count(FailureClass::agent_crash), 1U);
  // Its silence is the same crash.
  EXPECT_FALSE(detector.look(sight(0), at(100)).has_value());
}

TEST(FailureDetector, MissedHeartbeatsAreTransientAndDoNotCount) {
  FailureDetector detector = begun();
  EXPECT_FALSE(detector.look(sight(0), at(9.9)).has_value());
  const auto missed = detector.look(sight(0), at(10));
  ASSERT_TRUE(missed.has_value());
  EXPECT_EQ(missed->failure, FailureClass::transient_network);
  EXPECT_FALSE(missed->counts);
  EXPECT_FALSE(detector.look(sight(0), at(11)).has_value());  // the same silence
  EXPECT_TRUE(detector.look(sight(0), at(20)).has_value());
}

TEST(FailureDetector, ThirtySecondsWithoutAHeartbeatAreACrashOnce) {
  FailureDetector detector = begun();
  EXPECT_FALSE(detector.look(sight(0), at(1)).has_value());
  const auto crash = detector.look(sight(0), at(30));
  ASSERT_TRUE(crash.has_value());
  EXPECT_EQ(crash->failure, FailureClass::agent_crash);
  EXPECT_TRUE(crash->counts);
  EXPECT_FALSE(detector.look(sight(0), at(60)).has_value());
  // It comes back, and may crash again.
  EXPECT_FALSE(detector.look(sight(61), at(61)).has_value());
  EXPECT_EQ(detector.look(sight(61), at(91)).value().failure, FailureClass::agent_crash);
}

TEST(FailureDetector, TheThirdUnansweredMessageInARowCountsAndEscalates) {
  FailureDetector detector = begun();
  EXPECT_FALSE(detector.unanswered(kHere, at(1)).counts);
  EXPECT_FALSE(detector.unanswered(kHere, at(2)).counts);
  const Failure third = detector.unanswered(kHere, at(3));
  EXPECT_TRUE(third.counts);
  EXPECT_TRUE(third.escalates);
  EXPECT_EQ(third.failure, FailureClass::transient_network);
}

TEST(FailureDetector, AnAnswerEndsTheRow) {
  FailureDetector detector = begun();
  for (int round = 0; round < 5; ++round) {
    EXPECT_FALSE(detector.unanswered(kHere, at(1)).counts);
    EXPECT_FALSE(detector.unanswered(kHere, at(1)).counts);
    detector.answered(kHere);
  }
}

TEST(FailureDetector, ARefusedOrUndeliverableMessageCounts) {
  FailureDetector detector = begun();
  EXPECT_TRUE(detector.refused(kHere, at(1)).counts);
}

TEST(FailureDetector, AContextHashThatDiffersIsCorruptionAndEscalatesAtOnce) {
  FailureDetector detector = begun();
  EXPECT_FALSE(detector.context(kHere, 7, 7, at(1)).has_value());
  const auto failure = detector.context(kHere, 7, 8, at(1));
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->failure, FailureClass::context_corruption);
  EXPECT_TRUE(failure->counts);
  EXPECT_TRUE(failure->escalates);
  EXPECT_EQ(failure->expected, 7U);
  EXPECT_EQ(failure->found, 8U);
}

TEST(FailureDetector, AScoreOverTwiceItsOwnAverageIsASpikeOnce) {
  FailureDetector detector = begun();
  double second = 0;
  for (; second < 60; ++second)
    EXPECT_FALSE(detector.look(sight(second, 100), at(second)).has_value());
  EXPECT_EQ(detector.usual_score(3), 100U);
  EXPECT_FALSE(detector.look(sight(second, 200), at(second)).has_value());  // not over twice
  const auto spike = detector.look(sight(second, 210), at(second));
  ASSERT_TRUE(spike.has_value());
  EXPECT_EQ(spike->failure, FailureClass::impedance_spike);
  EXPECT_FALSE(spike->counts);
  EXPECT_FALSE(spike->escalates);
  EXPECT_TRUE(detector.is_spiking(3));
  EXPECT_FALSE(detector.look(sight(second, 210), at(second)).has_value());
  EXPECT_FALSE(detector.look(sight(second, 100), at(second)).has_value());
  EXPECT_FALSE(detector.is_spiking(3));
}

TEST(FailureDetector, ANewAgentIsNotJudgedByAnAverageOfNothing) {
  FailureDetector detector = begun();
  for (double second = 0; second < 59; ++second)
    EXPECT_FALSE(detector.look(sight(second, 10), at(second)).has_value());
  EXPECT_EQ(detector.usual_score(3), 0U);
  EXPECT_FALSE(detector.look(sight(59, 900), at(59)).has_value());
}

TEST(FailureDetector, AnAverageIsOfTheLastHour) {
  FailureDetector detector = begun();
  for (double second = 0; second < 600; ++second)
    static_cast<void>(detector.look(sight(second, 800), at(second)));
  EXPECT_EQ(detector.usual_score(3), 800U);
  for (double second = 3'600; second < 3'660; ++second)
    static_cast<void>(detector.look(sight(second, 100), at(second)));
  EXPECT_EQ(detector.usual_score(3), 100U);
}

TEST(FailureDetector, SeveralSpikesInOneClusterEscalate) {
  FailureDetector detector = begun();
  for (std::uint32_t row = 0; row < 3; ++row)
    for (double second = 0; second < 60; ++second)
      static_cast<void>(detector.look(sight(second, 100, row), at(second)));
  EXPECT_FALSE(detector.look(sight(60, 300, 0), at(60)).value().escalates);
  EXPECT_FALSE(detector.look(sight(60, 300, 1), at(60)).value().escalates);
  EXPECT_TRUE(detector.look(sight(60, 300, 2), at(60)).value().escalates);
}

TEST(FailureDetector, SeveralSpikesEscalateOnceUntilNoneOfTheClusterSpikes) {
  FailureDetector detector = begun();
  for (std::uint32_t row = 0; row < 4; ++row)
    for (double second = 0; second < 60; ++second)
      static_cast<void>(detector.look(sight(second, 100, row), at(second)));
  for (const std::uint32_t row : {0U, 1U, 2U})
    static_cast<void>(detector.look(sight(60, 300, row), at(60)));
  EXPECT_EQ(detector.spiking_in(kHere.cluster), 3U);
  EXPECT_FALSE(detector.look(sight(61, 300, 3), at(61)).value().escalates);
  detector.calm(3);
  detector.calm(3);
  detector.forget(2, at(62));
  EXPECT_EQ(detector.spiking_in(kHere.cluster), 2U);
  EXPECT_FALSE(detector.look(sight(62, 300, 3), at(62)).value().escalates) << "it is known";
  for (const std::uint32_t row : {0U, 1U, 3U})
    static_cast<void>(detector.look(sight(63, 100, row), at(63)));
  EXPECT_EQ(detector.spiking_in(kHere.cluster), 0U);
  for (const std::uint32_t row : {0U, 1U})
    EXPECT_FALSE(detector.look(sight(64, 300, row), at(64)).value().escalates);
  EXPECT_TRUE(detector.look(sight(64, 300, 3), at(64)).value().escalates);
}

TEST(FailureDetector, WhoMovesIsCountedWhereItIs) {
  FailureDetector detector = begun();
  for (double second = 0; second < 60; ++second)
    static_cast<void>(detector.look(sight(second, 100), at(second)));
  ASSERT_TRUE(detector.look(sight(60, 300), at(60)).has_value());
  FailureDetector::Sight moved = sight(61, 300);
  moved.where.cluster = kHere.cluster + 1;
  EXPECT_FALSE(detector.look(moved, at(61)).has_value()) << "it is no new one";
  EXPECT_EQ(detector.spiking_in(kHere.cluster), 0U);
  EXPECT_EQ(detector.spiking_in(kHere.cluster + 1), 1U);
}

// Scores are whole milliseconds.
TEST(FailureDetector, OneMillisecondThatBecomesThreeIsNoSpike) {
  FailureDetector detector = begun();
  for (double second = 0; second < 60; ++second)
    static_cast<void>(detector.look(sight(second, 1), at(second)));
  for (const std::uint16_t score : {std::uint16_t{3}, std::uint16_t{6}})
    EXPECT_FALSE(detector.look(sight(60, score), at(60)).has_value()) << score;
  EXPECT_TRUE(detector.look(sight(60, 8), at(60)).has_value());
}

// One, two, four: doubled over three windows of ten seconds.
TEST(FailureDetector, FailuresThatDoubleOverThreeWindowsAreACascade) {
  FailureDetector detector = begun();
  const Whereabouts there{.row = 1, .cluster = 4, .sector = 2};
  Nanos now{0};
  for (const int failures : {1, 2, 4}) {
    for (int i = 0; i < failures; ++i)
      static_cast<void>(detector.refused(there, from_ns(now.count())));
    for (int step = 0; step < 100; ++step) {
      EXPECT_TRUE(detector.cascading().empty());
      now += Nanos{100 * kNsPerMs};
      detector.tick(from_ns(now.count()), from_ns(now.count()));
    }
  }
  ASSERT_EQ(detector.cascading().size(), 1U);
  EXPECT_EQ(detector.cascading().front(), 2U);
  EXPECT_EQ(detector.count(FailureClass::cascade_failure), 1U);
}

TEST(FailureDetector, ManyFailuresThatDoNotDoubleAreNoCascade) {
  FailureDetector detector = begun();
  for (double second = 0; second < 100; second += 10) {
    for (int i = 0; i < 100; ++i) static_cast<void>(detector.refused(kHere, at(second)));
    detector.tick(at(second + 10), at(second + 10));
    EXPECT_TRUE(detector.cascading().empty());
  }
}

// The engine itself was stopped for a minute: nobody's silence is theirs.
TEST(FailureDetector, SaysNothingOfOthersWhileItIsLateItself) {
  FailureDetector detector = begun();
  EXPECT_FALSE(detector.look(sight(0), at(1)).has_value());
  detector.tick(at(1), at(61));
  EXPECT_EQ(detector.lag(), Nanos{60 * kNsPerSecond});
  EXPECT_TRUE(detector.is_late(at(61)));
  EXPECT_FALSE(detector.look(sight(0), at(61)).has_value());
  EXPECT_EQ(detector.suppressed(), 1U);
  detector.tick(at(63), at(63));
  EXPECT_FALSE(detector.is_late(at(63)));
  EXPECT_FALSE(detector.look(sight(0), at(63)).has_value());  // silence counts from now
  EXPECT_FALSE(detector.look(sight(0), at(72.9)).has_value());
  EXPECT_EQ(detector.look(sight(0), at(73)).value().failure, FailureClass::transient_network);
  EXPECT_EQ(detector.look(sight(0), at(93)).value().failure, FailureClass::agent_crash);
}

TEST(FailureDetector, ALagWithinBoundsSilencesNobody) {
  FailureDetector detector = begun();
  detector.tick(at(1), at(1.25));
  EXPECT_FALSE(detector.is_late(at(1.25)));
}

TEST(FailureDetector, FactsAreReportedEvenWhileLate) {
  FailureDetector detector = begun();
  detector.tick(at(1), at(5));
  ASSERT_TRUE(detector.is_late(at(5)));
  EXPECT_TRUE(detector.lost(kHere, at(5)).counts);
  EXPECT_TRUE(detector.refused(kHere, at(5)).counts);
  EXPECT_TRUE(detector.context(kHere, 1, 2, at(5)).has_value());
}

TEST(FailureDetector, AWindowThatWasSleptThroughIsComparedWithNone) {
  FailureDetector detector = begun();
  static_cast<void>(detector.refused(kHere, at(0)));
  detector.tick(at(10), at(10));
  for (int i = 0; i < 2; ++i) static_cast<void>(detector.refused(kHere, at(11)));
  detector.tick(at(20), at(20));
  for (int i = 0; i < 50; ++i) static_cast<void>(detector.refused(kHere, at(80)));
  detector.tick(at(20.1), at(80));
  EXPECT_TRUE(detector.cascading().empty());
}

TEST(FailureDetector, OneHundredthOfTheDurationsIsTheSame) {
  FailureDetector detector = begun({.heartbeat_missed = Nanos{100 * kNsPerMs},
                                    .crashed = Nanos{300 * kNsPerMs},
                                    .cascade_window = Nanos{100 * kNsPerMs}});
  EXPECT_FALSE(detector.look(sight(0), at(0.099)).has_value());
  EXPECT_TRUE(detector.look(sight(0), at(0.1)).has_value());
  EXPECT_EQ(detector.look(sight(0), at(0.3)).value().failure, FailureClass::agent_crash);
}

std::vector<Comparable> answers(std::size_t same, std::size_t other) {
  std::vector<Comparable> made(same, Comparable{.outcome = 1, .where = {}});
  for (std::size_t i = 0; i < other; ++i) made.push_back({.outcome = 2, .where = {}});
  return made;
}

TEST(Compare, NeedsSevenAnswersAndMoreThanTwoThirds) {
  EXPECT_EQ(compare(answers(6, 0)).comparison, Comparison::too_few);
  EXPECT_EQ(compare(answers(7, 0)).comparison, Comparison::agreed);
  EXPECT_EQ(compare(answers(5, 2)).comparison, Comparison::outliers);  // 5/7 > 2/3
  EXPECT_EQ(compare(answers(5, 2)).majority, 1U);
  EXPECT_EQ(compare(answers(6, 3)).comparison, Comparison::contradiction);  // 2/3 is not more
  EXPECT_EQ(compare(answers(4, 3)).comparison, Comparison::contradiction);
}

RC_GTEST_PROP(Compare, EqualsACountOfEveryOutcome, ()) {
  const auto outcomes =
      *rc::gen::container<std::vector<std::uint64_t>>(rc::gen::inRange<std::uint64_t>(0, 3));
  std::vector<Comparable> all;
  std::array<std::size_t, 3> counts{};
  for (const std::uint64_t outcome : outcomes) {
    all.push_back({.outcome = outcome, .where = {}});
    ++counts[outcome];
  }
  const Judgement judged = compare(all);
  if (all.size() < kComparableMin) {
    RC_ASSERT(judged.comparison == Comparison::too_few);
    return;
  }
  bool has_majority = false;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] * 3 <= all.size() * 2) continue;
    has_majority = true;
    RC_ASSERT(judged.majority == i);
    RC_ASSERT(judged.majority_count == counts[i]);
  }
  RC_ASSERT((judged.comparison != Comparison::contradiction) == has_majority);
}

// Under any lags of its own the detector never calls anyone dead who was heard within `crashed`.
RC_GTEST_PROP(FailureDetector, CallsNobodyDeadWhoWasHeard, ()) {
  FailureDetector detector = begun();
  double second = 0;
  double heard = 0;
  double punctual_since = 0;
  for (int step = 0; step < 100; ++step) {
    const double due = second + 0.5;
    second = due + *rc::gen::element(0.0, 0.0, 0.1, 40.0);
    detector.tick(at(due), at(second));
    if (second - due > 0.25) punctual_since = second + 2;
    if (*rc::gen::inRange(0, 3) == 0) heard = second;
    const auto failure = detector.look(sight(heard), at(second));
    if (failure && failure->failure == FailureClass::agent_crash) {
      RC_ASSERT(second - heard >= 29.999);
      RC_ASSERT(second - punctual_since >= 29.999);
    }
  }
}

}  // namespace of_failure_detector_test
}  // namespace mesh::engine::health
