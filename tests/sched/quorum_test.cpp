#include "sched/quorum.hpp"

#include <cmath>

#include "sched/cascade_phases.hpp"

namespace mesh::sched {
namespace of_quorum_test {

constexpr QuorumThresholds kDefaults;

QuorumDecision decide(QuorumCounts counts) { return judge(counts, kDefaults); }

TEST(Share, RefusesWhatIsNoProportion) {
  for (const double value : {-0.000001, 1.000001, HUGE_VAL, -HUGE_VAL, std::nan("")}) {
    EXPECT_EQ(make_share(value).error().code, Errc::invalid_argument) << value;
  }
  EXPECT_EQ(make_share(0)->ppm, 0U);
  EXPECT_EQ(make_share(1)->ppm, kShareOne);
}

TEST(Share, KeepsEveryDecimalThatPeopleWrite) {
  for (std::uint32_t ppm = 0; ppm < kShareOne; ppm += 100) {
    const std::string written = "0." + std::to_string(kShareOne + ppm).substr(1);
    ASSERT_EQ(make_share(std::stod(written))->ppm, ppm) << written;
  }
}

TEST(Share, RankIsElementCeilOfShareTimesCount) {
  EXPECT_EQ(rank_of(Share{500'000}, 4), 2U);
  EXPECT_EQ(rank_of(Share{500'000}, 5), 3U);
  EXPECT_EQ(rank_of(Share{0}, 5), 1U);
  EXPECT_EQ(rank_of(Share{kShareOne}, 5), 5U);
  EXPECT_EQ(rank_of(Share{990'000}, UINT32_MAX), 4'252'017'623U);
}

RC_GTEST_PROP(Share, ComparesAsExactFractions, ()) {
  const auto count = *rc::gen::arbitrary<std::uint32_t>();
  const auto total = std::uint64_t{*rc::gen::inRange<std::uint32_t>(0, UINT32_MAX)} + 1;
  const Share share{*rc::gen::inRange<std::uint32_t>(0, kShareOne + 1)};
  __extension__ using Wide = __int128;
  const Wide left = static_cast<Wide>(count) * kShareOne;
  const Wide right = static_cast<Wide>(share.ppm) * static_cast<Wide>(total);
  RC_ASSERT(is_at_least(count, total, share) == (left >= right));
  RC_ASSERT(is_at_most(count, total, share) == (left <= right));
}

TEST(Quorum, RefusesToJudgeNothing) {
  EXPECT_EQ(decide({0, 0, 0}), QuorumDecision::kNoResponses);
  EXPECT_EQ(decide(count_states({})), QuorumDecision::kNoResponses);
  EXPECT_EQ(trinary_quorum({0, 0, 0}).error().code, Errc::no_responses);
  EXPECT_EQ(confidence_of({0, 0, 0}), 0.0);
}

TEST(Quorum, RefusesAThresholdAboveOne) {
  QuorumThresholds thresholds;
  thresholds.transit_max = Share{kShareOne + 1};
  const auto verdict = trinary_quorum({95, 5, 0}, thresholds);
  ASSERT_FALSE(verdict);
  EXPECT_EQ(verdict.error().code, Errc::invalid_argument);
  EXPECT_THAT(verdict.error().sentence, ::testing::HasSubstr("transit_max"));
}

TEST(Quorum, AtEveryThresholdExactly) {
  EXPECT_EQ(decide({95, 5, 0}), QuorumDecision::kProceed);  // 0.95 is enough, 0.05 within bound
  EXPECT_EQ(decide({95, 0, 5}), QuorumDecision::kProceed);
  EXPECT_EQ(decide({94, 0, 6}), QuorumDecision::kRetry);
  EXPECT_EQ(decide({90, 0, 10}), QuorumDecision::kRetry);  // 0.10 is not over the bound
  EXPECT_EQ(decide({89, 0, 11}), QuorumDecision::kWait);
  EXPECT_EQ(decide({94, 6, 0}), QuorumDecision::kResolveConflicts);
  EXPECT_EQ(decide({90, 5, 5}), QuorumDecision::kRetry);  // 0.05 is not over the bound
}

// One of a hundred thousand on either side.
TEST(Quorum, OneBesideEveryThreshold) {
  EXPECT_EQ(decide({95'000, 5'000, 0}), QuorumDecision::kProceed);
  EXPECT_EQ(decide({94'999, 5'000, 1}), QuorumDecision::kRetry);
  EXPECT_EQ(decide({94'999, 5'001, 0}), QuorumDecision::kResolveConflicts);
  EXPECT_EQ(decide({90'000, 0, 10'000}), QuorumDecision::kRetry);
  EXPECT_EQ(decide({89'999, 0, 10'001}), QuorumDecision::kWait);
}

TEST(Quorum, WaitsBeforeItResolvesConflicts) {
  EXPECT_EQ(decide({50, 25, 25}), QuorumDecision::kWait);
  EXPECT_EQ(decide({50, 40, 10}), QuorumDecision::kResolveConflicts);
}

// Enough ready, too many conflicts, many in transit: not WAIT, because ready is not what is
// missing.
TEST(Quorum, DoesNotWaitForMoreReadyThanEnough) {
  QuorumThresholds thresholds;
  thresholds.ready_min = Share{500'000};
  EXPECT_EQ(judge({60, 10, 30}, thresholds), QuorumDecision::kResolveConflicts);
  EXPECT_EQ(judge({60, 5, 35}, thresholds), QuorumDecision::kProceed);
}

TEST(Quorum, ExtremeThresholds) {
  const QuorumThresholds all{Share{kShareOne}, Share{0}, Share{0}};
  EXPECT_EQ(judge({30, 0, 0}, all), QuorumDecision::kProceed);
  EXPECT_EQ(judge({29, 0, 1}, all), QuorumDecision::kWait);
  EXPECT_EQ(judge({29, 1, 0}, all), QuorumDecision::kResolveConflicts);
  const QuorumThresholds none{Share{0}, Share{kShareOne}, Share{kShareOne}};
  EXPECT_EQ(judge({0, 1, 0}, none), QuorumDecision::kProceed);
}

TEST(Quorum, ConfidenceIsReadyLessHalfTheConflicts) {
  EXPECT_DOUBLE_EQ(confidence_of({95, 5, 0}), 0.925);
  EXPECT_DOUBLE_EQ(confidence_of({30, 0, 0}), 1.0);
  EXPECT_DOUBLE_EQ(confidence_of({97, 2, 1}), 0.96);
  EXPECT_DOUBLE_EQ(confidence_of({0, 1, 0}), -0.5);
  EXPECT_DOUBLE_EQ(trinary_quorum({95, 5, 0})->confidence, 0.925);
  EXPECT_EQ(trinary_quorum({90, 5, 5})->confidence, 0.0);
}

TEST(Quorum, SentencesGiveTheRate) {
  EXPECT_EQ(trinary_quorum({94, 6, 0})->sentence,
            "resolve conflicts: 6 of 100 responses in conflict, 6.00 %; at most 5.00 % is allowed");
  EXPECT_EQ(trinary_quorum({28, 2, 0})->sentence,
            "resolve conflicts: 2 of 30 responses in conflict, 6.67 %; at most 5.00 % is allowed");
  EXPECT_EQ(trinary_quorum({20, 0, 10})->sentence,
            "wait: 20 of 30 responses ready, 66.67 %; at least 95.00 % is needed, and 10 of 30 "
            "responses in transit, 33.33 %, is more than 10.00 %: extend the arrival window");
  EXPECT_EQ(trinary_quorum({28, 1, 1})->sentence,
            "retry: 28 of 30 responses ready, 93.33 %; at least 95.00 % is needed: adjust the "
            "compensation");
  EXPECT_EQ(trinary_quorum({30, 0, 0})->sentence, "proceed: 30 of 30 responses ready, 100.00 %");
}

TEST(Quorum, CountsStatesAndTakesWhatIsNoStateForTransit) {
  const std::vector<TrinaryState> states = {
      TrinaryState::ready,   TrinaryState::ready,          TrinaryState::conflict,
      TrinaryState::transit, static_cast<TrinaryState>(7), static_cast<TrinaryState>(-2)};
  EXPECT_EQ(count_states(states), (QuorumCounts{2, 1, 3}));
}

// The specification, word for word, in rational numbers.
RC_GTEST_PROP(Quorum, EqualsTheSpecificationForAllCounts, ()) {
  const auto small = rc::gen::inRange<std::uint32_t>(0, 120);
  const auto any = rc::gen::arbitrary<std::uint32_t>();
  const auto number = rc::gen::oneOf(small, any);
  const QuorumCounts counts{*number, *number, *number};
  const std::uint64_t total = counts.total();
  RC_PRE(total > 0U);
  const auto over = [&](std::uint64_t count, std::uint64_t hundredths) {
    return count * 100 > hundredths * total;
  };
  const bool enough = std::uint64_t{counts.ready} * 100 >= 95 * total;
  QuorumDecision want = QuorumDecision::kRetry;
  if (enough && !over(counts.conflict, 5)) {
    want = QuorumDecision::kProceed;
  } else if (!enough && over(counts.transit, 10)) {
    want = QuorumDecision::kWait;
  } else if (over(counts.conflict, 5)) {
    want = QuorumDecision::kResolveConflicts;
  }
  RC_ASSERT(judge(counts, kDefaults) == want);
  const double confidence = confidence_of(counts);
  RC_ASSERT(confidence >= -0.5);
  RC_ASSERT(confidence <= 1.0);
}

TEST(CascadePhases, AreInTheSpecifiedOrderWithTheirThresholds) {
  const std::vector<std::pair<AgentClass, double>> want = {
      {AgentClass::gpu, 0.99},  {AgentClass::persistent, 0.98}, {AgentClass::serverless, 0.95},
      {AgentClass::edge, 0.90}, {AgentClass::local, 0.85},      {AgentClass::human, 0.50}};
  ASSERT_EQ(std::size(kPriorityFirst), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(kPriorityFirst[i].agent_class, want[i].first);
    EXPECT_EQ(kPriorityFirst[i].ready_min, make_share(want[i].second).value());
    EXPECT_EQ(kPriorityFirst[i].needs_time, i == want.size() - 1);
  }
}

}  // namespace of_quorum_test
}  // namespace mesh::sched
