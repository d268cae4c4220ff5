#include "sched/gather.hpp"

#include <algorithm>
#include <map>
#include <random>

#include "tests/sched/gather_fixture.hpp"
#include "tests/seed.hpp"

namespace mesh::sched {
namespace of_gather_test {

using namespace testing;
using HostGather = Gather<HostMemory>;

TEST(Gather, RefusesNoRowsTooManyRowsTooFewBytesAndACrookedStart) {
  SharedBytes bytes(gather_bytes(100) + kCacheLine);
  const auto span = bytes.span();
  EXPECT_EQ(HostGather::over(span, 0).error().code, Errc::invalid_argument);
  EXPECT_EQ(HostGather::over(span, kMaxAgents + 1).error().code, Errc::invalid_argument);
  EXPECT_EQ(HostGather::over(span.first(gather_bytes(100) - 1), 100).error().code, Errc::truncated);
  EXPECT_EQ(HostGather::over(span.subspan(8), 100).error().code, Errc::misaligned);
  EXPECT_TRUE(HostGather::over(span, 100));
}

TEST(Gather, RefusesOptionsThatCannotBeMeant) {
  Place place(100);
  auto gather = place.gather();
  const auto refused = [&](auto&& change) {
    GatherOptions changed = options();
    change(changed);
    const Status status = gather.open(changed);
    return !status && status.error().code == Errc::invalid_argument;
  };
  EXPECT_TRUE(refused([](auto& o) { o.started = from_ns(-1); }));
  EXPECT_TRUE(refused([](auto& o) { o.target = from_ns(-1); }));
  EXPECT_TRUE(refused([](auto& o) { o.target = from_ns(INT64_MAX); }));
  EXPECT_TRUE(refused([](auto& o) { o.window = Nanos{-1}; }));
  EXPECT_TRUE(refused([](auto& o) { o.window = kGatherSpanMax + Nanos{1}; }));
  EXPECT_TRUE(refused([](auto& o) { o.timeout = Nanos{-1}; }));
  EXPECT_TRUE(refused([](auto& o) { o.tolerance = Nanos{-1}; }));
  EXPECT_TRUE(refused([](auto& o) { o.minima.ready_min = Share{kShareOne + 1}; }));
  EXPECT_TRUE(refused([](auto& o) { o.minima.coverage_min = Share{kShareOne + 1}; }));
  EXPECT_FALSE(refused([](auto& o) {
    o.started = o.target = HostTime{kGatherSpanMax};
    o.window = o.timeout = o.tolerance = kGatherSpanMax;
  }));
}

TEST(GatherDeathTest, AbortsWhenStartedWithoutHavingBeenOpened) {
  Place place(10);
  auto gather = place.gather();
  EXPECT_DEATH(gather.start(), "is_opened_");
}

TEST(Gather, WhatIsNobodysAnswerChangesNothing) {
  Place place(10);
  auto gather = place.gather();
  EXPECT_EQ(gather.on_answer(ready(0), kNow).outcome, AnswerOutcome::kNotScheduled);  // free
  ASSERT_TRUE(gather.open(options()));
  EXPECT_TRUE(gather.schedule(0));
  EXPECT_FALSE(gather.schedule(0));
  EXPECT_EQ(gather.on_answer(ready(0), kNow).outcome, AnswerOutcome::kNotScheduled);  // not started
  gather.start();
  const Outcome before = outcome_of(gather);
  EXPECT_EQ(gather.on_answer(ready(1), kNow).outcome, AnswerOutcome::kNotScheduled);
  EXPECT_EQ(gather.on_answer(ready(10), kNow).outcome, AnswerOutcome::kInvalid);
  EXPECT_EQ(gather.on_answer(ready(UINT32_MAX), kNow).outcome, AnswerOutcome::kInvalid);
  const auto no_state = answer(0, static_cast<TrinaryState>(2));
  EXPECT_EQ(gather.on_answer(no_state, kNow).outcome, AnswerOutcome::kInvalid);
  EXPECT_EQ(outcome_of(gather), before);
  const GatherCounts counts = gather.result(kNow).counts;
  EXPECT_EQ(counts.sent, 1U);
  EXPECT_EQ(counts.not_scheduled, 2U);
  EXPECT_EQ(counts.invalid, 3U);
}

TEST(Gather, NobodySentToIsAnErrorAndNoDivisionByZero) {
  Place place(10);
  auto gather = place.gather();
  GatherOptions all_skipped = options();
  all_skipped.skipped = {29'990, 7, 2, 1};
  for (const GatherOptions& with : {options(), all_skipped}) {
    ASSERT_TRUE(gather.open(with));
    gather.start();
    EXPECT_TRUE(gather.is_complete());
    EXPECT_EQ(gather.why_over(from_ns(kStart)), GatherEnd::kComplete);
    gather.end(GatherEnd::kComplete, from_ns(kStart));
    const GatherResult result = gather.result(kNow);
    EXPECT_EQ(result.judgement.verdict, GatherVerdict::kNoSchedulableAgents);
    EXPECT_EQ(result.ready_rate(), 0.0);
    EXPECT_EQ(result.coverage(), 0.0);
    EXPECT_EQ(result.errors.p99_ns, 0);
    EXPECT_EQ(status_of(result).error().code, Errc::no_schedulable_agents);
  }
  EXPECT_EQ(status_of(gather.result(kNow)).error().sentence,
            "gather: of 30000 targets none was sent anything; skipped: 29990 "
            "insufficient_lead_time, 7 invalid_impedance, 2 capability_mismatch, 1 not_routable");
}

TEST(Gather, ABurstIsItsAnswersOneByOne) {
  std::mt19937_64 random(mesh::testing::seed());
  for (unsigned round = 0; round < 200; ++round) {
    const std::uint32_t rows = 1 + static_cast<std::uint32_t>(random() % 300);
    Place one(rows);
    Place many(rows);
    const auto scheduled = static_cast<std::uint32_t>(random() % (rows + 1));
    auto by_one = one.started(scheduled);
    auto by_burst = many.started(scheduled);
    for (unsigned burst = 0; burst < 8; ++burst) {
      std::vector<GatherAnswer> answers(random() % 257);
      for (GatherAnswer& each : answers) {
        const auto state = static_cast<TrinaryState>(static_cast<int>(random() % 4) - 1);
        const auto error = static_cast<std::int64_t>(random() % 600) * kNsPerMs - 300 * kNsPerMs;
        each = answer(static_cast<std::uint32_t>(random() % (rows + 2)), state, error);
      }
      std::vector<AnswerEffect> effects(answers.size());
      by_burst.on_answers(answers, kNow, effects);
      for (std::size_t i = 0; i < answers.size(); ++i) {
        const AnswerEffect want = by_one.on_answer(answers[i], kNow);
        ASSERT_EQ(effects[i].outcome, want.outcome) << "round " << round << " answer " << i;
        ASSERT_EQ(effects[i].has_residual, want.has_residual);
        ASSERT_EQ(effects[i].residual_ns, want.residual_ns);
      }
      if (burst == 5) {
        by_one.end(GatherEnd::kWindow, kNow);
        by_burst.end(GatherEnd::kWindow, kNow);
      }
    }
    ASSERT_TRUE(by_burst.verify());
    ASSERT_EQ(outcome_of(by_burst), outcome_of(by_one));
    ASSERT_TRUE(std::ranges::equal(many.bytes().span(), one.bytes().span()));
  }
}

TEST(Gather, ReadyAndConflictAreCountedApart) {
  Place place(130);
  auto gather = place.started(130);
  for (std::uint32_t row = 0; row < 120; ++row) {
    EXPECT_EQ(gather.on_answer(ready(row), kNow).outcome, AnswerOutcome::kReady);
  }
  for (std::uint32_t row = 120; row < 127; ++row) {
    EXPECT_EQ(gather.on_answer(conflict(row), kNow).outcome, AnswerOutcome::kConflict);
  }
  EXPECT_FALSE(gather.is_complete());
  const GatherCounts counts = gather.result(kNow).counts;
  EXPECT_EQ(counts.ready, 120U);
  EXPECT_EQ(counts.conflict, 7U);
  EXPECT_EQ(counts.straggler(), 3U);
  std::vector<std::uint32_t> stragglers;
  gather.for_each_straggler([&](std::uint32_t row) { stragglers.push_back(row); });
  EXPECT_EQ(stragglers, (std::vector<std::uint32_t>{127, 128, 129}));
}

TEST(Gather, TheFirstAnswerOfARowStands) {
  Place place(4);
  auto gather = place.started(4);
  gather.on_answer(ready(0, 5), kNow);
  gather.on_answer(conflict(1, 5), kNow);
  gather.on_answer(declined(2), kNow);
  const Outcome before = outcome_of(gather);
  EXPECT_EQ(gather.on_answer(ready(0, 99), kNow).outcome, AnswerOutcome::kDuplicate);
  EXPECT_EQ(gather.on_answer(conflict(0), kNow).outcome, AnswerOutcome::kContradiction);
  EXPECT_EQ(gather.on_answer(ready(1), kNow).outcome, AnswerOutcome::kContradiction);
  EXPECT_EQ(gather.on_answer(conflict(1), kNow).outcome, AnswerOutcome::kDuplicate);
  EXPECT_EQ(gather.on_answer(declined(1), kNow).outcome, AnswerOutcome::kDuplicate);
  EXPECT_EQ(gather.on_answer(ready(2), kNow).outcome, AnswerOutcome::kDuplicate);
  EXPECT_FALSE(gather.on_answer(ready(0), kNow).has_residual);
  EXPECT_EQ(outcome_of(gather), before);
  const GatherCounts counts = gather.result(kNow).counts;
  EXPECT_EQ(counts.duplicate, 5U);
  EXPECT_EQ(counts.contradiction, 2U);
}

// Who declines will not answer: the operation need not wait for it, and it is no arrival.
TEST(Gather, ADeclinedDeliveryCompletesAsAStraggler) {
  Place place(2);
  auto gather = place.started(2);
  gather.on_answer(ready(0), kNow);
  EXPECT_FALSE(gather.is_complete());
  const AnswerEffect effect = gather.on_answer(declined(1), kNow);
  EXPECT_EQ(effect.outcome, AnswerOutcome::kDeclined);
  EXPECT_FALSE(effect.has_residual);
  EXPECT_TRUE(gather.is_complete());
  const GatherResult result = gather.result(kNow);
  EXPECT_EQ(result.counts.straggler(), 1U);
  EXPECT_EQ(result.counts.declined, 1U);
  EXPECT_EQ(result.errors.count, 1U);
}

TEST(Gather, ResidualIsObservedLessPredictedWithFinishedClampedToSentAndNow) {
  Place place(10);
  auto gather = place.started(10);
  const auto residual = [&](std::uint32_t row, std::int64_t finished, std::int64_t sent = kSent,
                            std::int64_t predicted = kPredicted) {
    const AnswerEffect effect =
        gather.on_answer({row, TrinaryState::ready, finished, sent, predicted}, kNow);
    EXPECT_TRUE(effect.has_residual);
    return effect.residual_ns;
  };
  EXPECT_EQ(residual(0, kSent + kPredicted + 7), 7);
  EXPECT_EQ(residual(1, kSent + kPredicted - 7), -7);
  EXPECT_EQ(residual(2, 0), -kPredicted);  // before it was sent
  EXPECT_EQ(residual(3, INT64_MIN), -kPredicted);
  EXPECT_EQ(residual(4, INT64_MAX), to_ns(kNow) - kSent - kPredicted);  // after now
  EXPECT_EQ(residual(5, kTarget, to_ns(kNow) + 1), -kPredicted);        // sent after now
  EXPECT_EQ(residual(6, kTarget, kSent, INT64_MIN), INT64_MAX);         // saturates
  EXPECT_EQ(residual(7, kTarget, kSent, INT64_MAX), kTarget - kSent - INT64_MAX);
}

TEST(Gather, ErrorsAreThoseOfArrivalsAndTheirClampedTimes) {
  Place place(10);
  auto gather = place.started(10);
  gather.on_answer(ready(0, -3 * kNsPerMs), kNow);
  gather.on_answer(conflict(1, 4 * kNsPerMs), kNow);
  gather.on_answer(ready(2, 60 * kNsPerMs), kNow);
  gather.on_answer(ready(3, INT64_MAX - kTarget), kNow);  // clamped: now is 400 ms after T
  gather.on_answer(declined(4), kNow);
  const ErrorSummary errors = gather.result(kNow).errors;
  EXPECT_EQ(errors.count, 4U);
  EXPECT_EQ(errors.inside, 2U);
  EXPECT_EQ(errors.max_ns, 400 * kNsPerMs);
  EXPECT_NEAR(static_cast<double>(errors.p50_ns), 4e6, 4e6 / 64);
}

TEST(Gather, EndsAtItsWindowItsTimeoutOrWhenAllHaveAnswered) {
  Place place(2);
  auto gather = place.started(2);  // T + window = 2,000 ms, timeout at 6,000 ms
  const HostTime window_end = from_ns(2'000 * kNsPerMs);
  EXPECT_EQ(gather.deadline(), window_end);
  EXPECT_EQ(gather.why_over(from_ns(0)), GatherEnd::kOpen);
  EXPECT_EQ(gather.why_over(window_end - Nanos{1}), GatherEnd::kOpen);
  EXPECT_EQ(gather.why_over(window_end), GatherEnd::kWindow);
  gather.on_answer(ready(0), kNow);
  gather.on_answer(conflict(1), kNow);
  EXPECT_EQ(gather.why_over(from_ns(0)), GatherEnd::kComplete);
  EXPECT_EQ(gather.why_over(window_end), GatherEnd::kComplete);

  GatherOptions far = options();  // T in ten seconds: the timeout of 5 s comes first
  far.target = far.started + Nanos{10 * kNsPerSecond};
  auto other = place.started(2, far);
  EXPECT_EQ(other.why_over(far.started + kGatherTimeout - Nanos{1}), GatherEnd::kOpen);
  EXPECT_EQ(other.why_over(far.started + kGatherTimeout), GatherEnd::kTimeout);
  EXPECT_EQ(other.why_over(from_ns(INT64_MAX)), GatherEnd::kTimeout);
}

TEST(Gather, ALateAnswerGivesItsResidualOnceAndLeavesTheResult) {
  Place place(4);
  auto gather = place.started(4);
  gather.on_answer(ready(0), kNow);
  gather.on_answer(declined(1), kNow);
  gather.end(GatherEnd::kWindow, kNow);
  const GatherResult before = gather.result(kNow);
  const AnswerEffect late = gather.on_answer(ready(2, 100), kNow);
  EXPECT_EQ(late.outcome, AnswerOutcome::kLate);
  EXPECT_TRUE(late.has_residual);
  EXPECT_EQ(late.residual_ns, 100);
  EXPECT_FALSE(gather.on_answer(ready(2), kNow).has_residual);
  EXPECT_EQ(gather.on_answer(ready(2), kNow).outcome, AnswerOutcome::kDuplicate);
  EXPECT_FALSE(gather.on_answer(declined(3), kNow).has_residual);
  const GatherResult after = gather.result(kNow + Nanos{kNsPerSecond});
  EXPECT_EQ(after.counts.late, 2U);
  EXPECT_EQ(after.counts.declined, 1U);
  EXPECT_EQ(after.counts.ready, before.counts.ready);
  EXPECT_EQ(after.counts.straggler(), 3U);
  EXPECT_EQ(after.errors.count, before.errors.count);
  EXPECT_EQ(after.judgement, before.judgement);
  EXPECT_EQ(after.took_ns, 900 * kNsPerMs);
  EXPECT_TRUE(gather.verify());
}

TEST(Gather, TheFirstEndStands) {
  Place place(1);
  auto gather = place.started(1);
  gather.end(GatherEnd::kCancelled, from_ns(kStart + 5));
  gather.end(GatherEnd::kTimeout, kNow);
  EXPECT_EQ(gather.result(kNow).end, GatherEnd::kCancelled);
  EXPECT_EQ(gather.result(kNow).took_ns, 5);
}

TEST(Gather, APlaceOpenedAgainRemembersNothing) {
  Place place(100);
  auto gather = place.started(100);
  for (std::uint32_t row = 0; row < 100; ++row) gather.on_answer(ready(row, row), kNow);
  gather.on_answer(ready(0), kNow);
  gather.end(GatherEnd::kComplete, kNow);
  Place fresh(100);
  EXPECT_EQ(outcome_of(place.started(7)), outcome_of(fresh.started(7)));
  EXPECT_EQ(place.bytes().copy(), fresh.bytes().copy());
}

struct JudgeCase {
  std::uint32_t ready, sent, skipped;
  GatherVerdict verdict;
  GatherAdvice advice;
};
TEST(GatherJudge, GoldenCasesAtAndBesideBothMinima) {
  using V = GatherVerdict;
  using A = GatherAdvice;
  const JudgeCase cases[] = {
      {95, 100, 0, V::kSuccess, A::kNone},  // exactly 0.95
      {94, 100, 0, V::kPartial, A::kLargerWindow},
      {100, 100, 100, V::kSuccess, A::kNone},  // coverage exactly 0.5
      {100, 100, 101, V::kPartial, A::kMoreLeadTime},
      {1, 1, 29'999, V::kPartial, A::kMoreLeadTime},  // 1 of 30,000 is no success
      {95, 100, 91, V::kPartial, A::kMoreLeadTime},   // rate holds, 95 of 191 does not
      {94, 100, 80, V::kPartial, A::kLargerWindow},   // coverage holds
      {0, 100, 0, V::kPartial, A::kLargerWindow},     // both fail, all were sent to
      {10, 100, 100, V::kPartial, A::kLargerWindow},  // both fail, half were sent to: enough
      {10, 100, 101, V::kPartial, A::kMoreLeadTime},  // both fail, too few were sent to
      {0, 0, 0, V::kNoSchedulableAgents, A::kNone},
      {0, 0, 30'000, V::kNoSchedulableAgents, A::kNone},
      {28'500, 30'000, 0, V::kSuccess, A::kNone},
      {28'499, 30'000, 0, V::kPartial, A::kLargerWindow},
  };
  for (const JudgeCase& one : cases) {
    GatherCounts counts;
    counts.ready = one.ready;
    counts.sent = one.sent;
    counts.skipped.insufficient_lead_time = one.skipped;
    EXPECT_EQ(judge(counts, {}), (GatherJudgement{one.verdict, one.advice}))
        << one.ready << " of " << one.sent << ", " << one.skipped << " skipped";
  }
}

TEST(GatherResult, SaysRateAndCoverageTogether) {
  Place place(100);
  GatherOptions with = options();
  with.skipped.insufficient_lead_time = 20;
  auto gather = place.started(100, with);
  for (std::uint32_t row = 0; row < 90; ++row) gather.on_answer(ready(row), kNow);
  gather.on_answer(conflict(90), kNow);
  gather.end(GatherEnd::kWindow, kNow);
  const GatherResult result = gather.result(kNow);
  EXPECT_DOUBLE_EQ(result.ready_rate(), 0.9);
  EXPECT_DOUBLE_EQ(result.coverage(), 0.75);
  EXPECT_TRUE(status_of(result));
  EXPECT_EQ(sentence_of(result),
            "gather: partial, 90 ready of 100 sent and 120 targeted; 1 conflict, 9 straggler; "
            "skipped: 20 insufficient_lead_time, 0 invalid_impedance, 0 capability_mismatch, 0 "
            "not_routable; retry_with_larger_window");
}

// Against a map of what each row first said, for any stream of answers, ended anywhere.
TEST(Gather, EqualsAMapOfFirstWordsForAnyStreamOfAnswers) {
  std::mt19937_64 random(mesh::testing::seed());
  for (unsigned round = 0; round < 300; ++round) {
    const auto rows = static_cast<std::uint32_t>(1 + random() % 300);
    Place place(rows);
    auto gather = place.gather();
    ASSERT_TRUE(gather.open(options()));
    std::map<std::uint32_t, int> first;  // 9: nothing yet
    for (std::uint32_t row = 0; row < rows; ++row) {
      if (random() % 4 == 0) continue;
      gather.schedule(row);
      first[row] = 9;
    }
    gather.start();
    const std::size_t stream = random() % 900;
    const std::size_t end_at = random() % 1'000;
    std::uint64_t unchanged = 0;
    for (std::size_t i = 0; i < stream; ++i) {
      if (i == end_at) gather.end(GatherEnd::kWindow, kNow);
      const auto row = static_cast<std::uint32_t>(random() % (rows + 3));
      const auto state = static_cast<TrinaryState>(static_cast<int>(random() % 4) - 1);
      const auto effect = gather.on_answer(
          answer(row, state, static_cast<std::int64_t>(random() % 400'000'000) - 200'000'000),
          kNow);
      const auto found = first.find(row);
      const bool counts =
          found != first.end() && found->second == 9 && static_cast<int>(state) <= 1;
      ASSERT_EQ(effect.outcome < AnswerOutcome::kDuplicate, counts);
      ASSERT_EQ(effect.has_residual, counts && state != TrinaryState::transit);
      unchanged += counts ? 0 : 1;
      if (counts) found->second = i >= end_at ? 5 : static_cast<int>(state);
      const GatherCounts now = gather.result(kNow).counts;
      ASSERT_EQ(now.ready + now.conflict + now.straggler(), now.sent);
      ASSERT_LE(now.declined + now.late, now.straggler());
    }
    const auto said = [&](int what) {
      return std::count_if(first.begin(), first.end(),
                           [&](auto& one) { return one.second == what; });
    };
    const GatherCounts counts = gather.result(kNow).counts;
    ASSERT_EQ(counts.sent, first.size());
    ASSERT_EQ(counts.ready, said(1));
    ASSERT_EQ(counts.conflict, said(-1));
    ASSERT_EQ(counts.declined, said(0));
    ASSERT_EQ(counts.late, said(5));
    ASSERT_EQ(gather.is_complete(), said(9) == 0);
    ASSERT_EQ(counts.duplicate + counts.contradiction + counts.not_scheduled + counts.invalid,
              unchanged);
    const Status verified = gather.verify();
    ASSERT_TRUE(verified) << verified.error().sentence;
    // Taken over as it stands, nothing is different.
    auto successor = place.gather();
    ASSERT_TRUE(successor.adopt());
    ASSERT_EQ(outcome_of(successor), outcome_of(gather));
  }
}

// Each row has one thing to say; told once or many times and in any order, it comes to the same.
TEST(Gather, RepetitionAndOrderOfAnswersChangeNothing) {
  std::mt19937_64 random(mesh::testing::seed());
  for (unsigned round = 0; round < 200; ++round) {
    const auto rows = static_cast<std::uint32_t>(1 + random() % 200);
    std::vector<GatherAnswer> burst;
    for (std::uint32_t row = 0; row < rows; ++row) {
      if (random() % 5 == 0) continue;
      const auto state = static_cast<TrinaryState>(static_cast<int>(random() % 3) - 1);
      burst.push_back(answer(row, state, static_cast<std::int64_t>(random() % 100'000'000)));
    }
    Place once_place(rows), often_place(rows);
    auto once = once_place.started(rows), often = often_place.started(rows);
    for (const GatherAnswer& one : burst) once.on_answer(one, kNow);
    std::vector<GatherAnswer> stream = burst;
    for (std::size_t i = 0; i < burst.size(); ++i) stream.push_back(burst[random() % burst.size()]);
    std::shuffle(stream.begin(), stream.end(), random);
    std::size_t residuals = 0;
    for (const GatherAnswer& one : stream) residuals += often.on_answer(one, kNow).has_residual;
    ASSERT_EQ(outcome_of(often), outcome_of(once)) << "round " << round;
    ASSERT_EQ(residuals, once.result(kNow).errors.count);
  }
}

}  // namespace of_gather_test
}  // namespace mesh::sched
