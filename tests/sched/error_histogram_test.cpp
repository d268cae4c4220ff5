#include "sched/error_histogram.hpp"

#include <cmath>
#include <random>

#include "tests/seed.hpp"

namespace mesh::sched {
namespace of_error_histogram_test {

constexpr std::int64_t kTolerance = 50 * kNsPerMs;

struct Samples {
  explicit Samples(std::int64_t tolerance_ns = kTolerance) {
    tally.scale = ErrorScale::of(tolerance_ns);
  }
  void add(std::int64_t error_ns) {
    ++tally.counts[tally.scale.slot_of(error_ns)];
    auto& largest = error_ns < 0 ? tally.early_ns_max : tally.late_ns_max;
    largest = std::max(largest, magnitude(error_ns));
    errors.push_back(error_ns);
  }
  // Element ceil(share * n), from 1.
  [[nodiscard]] std::int64_t exact(Share share, bool is_signed) const {
    std::vector<std::int64_t> sorted;
    for (const std::int64_t error : errors) {
      sorted.push_back(is_signed ? error : static_cast<std::int64_t>(magnitude(error)));
    }
    std::sort(sorted.begin(), sorted.end());
    return sorted[rank_of(share, static_cast<std::uint32_t>(sorted.size())) - 1];
  }
  ErrorTally tally;
  std::vector<std::int64_t> errors;
};

void expect_within_documented_error(std::int64_t got, std::int64_t exact) {
  const double allowed = std::max(512.0, std::abs(static_cast<double>(exact)) / 64);
  EXPECT_LE(std::abs(static_cast<double>(got) - static_cast<double>(exact)), allowed)
      << "exact " << exact << ", got " << got;
}

TEST(ErrorHistogram, OfNothingIsNothing) {
  const Samples none;
  const ErrorSummary summary = summarize(none.tally);
  EXPECT_EQ(summary.count, 0U);
  EXPECT_EQ(summary.p99_ns, 0);
  EXPECT_EQ(summary.max_ns, 0);
  EXPECT_EQ(summary.median_ns, 0);
  EXPECT_EQ(summary.inside_rate(), 0.0);
  EXPECT_EQ(distance_quantile_ns(none.tally, Share{kShareOne}), 0);
}

TEST(ErrorHistogram, TakesTheLargestNumbersThereAre) {
  Samples samples;
  samples.add(INT64_MIN);
  samples.add(INT64_MAX);
  samples.add(-1);
  samples.add(0);
  const ErrorSummary summary = summarize(samples.tally);
  EXPECT_EQ(summary.count, 4U);
  EXPECT_EQ(summary.inside, 2U);
  EXPECT_EQ(summary.max_ns, INT64_MAX);
  EXPECT_EQ(summary.p99_ns, INT64_MAX);
}

TEST(ErrorHistogram, BucketsTouchAndAreAsFineAsDocumented) {
  EXPECT_EQ(error_bucket_of(0), 0U);
  EXPECT_EQ(error_bucket_of(1'023), 0U);
  EXPECT_EQ(error_bucket_of(1'024), 1U);
  EXPECT_EQ(error_bucket_of(65'535), 63U);
  EXPECT_EQ(error_bucket_of(65'536), 64U);
  EXPECT_EQ(error_bucket_of(67'583), 64U);
  EXPECT_EQ(error_bucket_of(67'584), 65U);
  EXPECT_EQ(error_bucket_of((std::uint64_t{1} << 42) - 1), kErrorBuckets - 1);
  EXPECT_EQ(error_bucket_of(UINT64_MAX), kErrorBuckets - 1);
  for (std::uint32_t bucket = 0; bucket < kErrorBuckets; ++bucket) {
    const std::uint64_t begin = error_bucket_begin(bucket);
    const std::uint64_t end = error_bucket_begin(bucket + 1);
    ASSERT_EQ(error_bucket_of(begin), bucket);
    ASSERT_EQ(error_bucket_of(end - 1), bucket);
    ASSERT_TRUE(end - begin == 1'024 || (end - begin) * 32 <= begin);
  }
  EXPECT_EQ(error_bucket_begin(kErrorBuckets), std::uint64_t{1} << 42);
}

// By hand: ten errors; ranks 5, 9 and 10 of the distances, rank 5 of the signed ones.
TEST(ErrorHistogram, GoldenTenArrivals) {
  Samples samples;
  for (const std::int64_t ms : {-60, -20, -10, -5, 1, 2, 3, 30, 49, 200}) {
    samples.add(ms * kNsPerMs);
  }
  const ErrorSummary summary = summarize(samples.tally);
  EXPECT_EQ(summary.count, 10U);
  EXPECT_EQ(summary.inside, 8U);  // all but -60 and 200
  EXPECT_DOUBLE_EQ(summary.inside_rate(), 0.8);
  // distances: 1 2 3 5 10 20 30 49 60 200
  expect_within_documented_error(summary.p50_ns, 10 * kNsPerMs);
  expect_within_documented_error(summary.p90_ns, 60 * kNsPerMs);
  expect_within_documented_error(summary.p99_ns, 200 * kNsPerMs);
  EXPECT_EQ(summary.max_ns, 200 * kNsPerMs);
  expect_within_documented_error(summary.median_ns, 1 * kNsPerMs);
}

TEST(ErrorHistogram, TheShareInsideIsExactAtTheToleranceItself) {
  for (const std::int64_t tolerance :
       {std::int64_t{0}, std::int64_t{1}, std::int64_t{1'023}, std::int64_t{1'024}, 50 * kNsPerMs,
        50 * kNsPerMs - 1, std::int64_t{1} << 42, std::int64_t{1} << 60}) {
    Samples samples(tolerance);
    for (const std::int64_t error : {tolerance, tolerance + 1, tolerance + 2}) {
      samples.add(error);
      samples.add(-error);
    }
    EXPECT_EQ(summarize(samples.tally).inside, 2U) << tolerance;
  }
}

TEST(ErrorHistogram, SignsKeepEarlyAndLateApart) {
  Samples early, late;
  for (int i = 1; i <= 101; ++i) {
    early.add(-i * kNsPerMs);
    late.add(i * kNsPerMs);
  }
  expect_within_documented_error(summarize(early.tally).median_ns, -51 * kNsPerMs);
  expect_within_documented_error(summarize(late.tally).median_ns, 51 * kNsPerMs);
  EXPECT_EQ(summarize(early.tally).p50_ns, summarize(late.tally).p50_ns);
}

// Every shape that delays have: tight, wide, skewed, and with tails so heavy that no mean exists.
TEST(ErrorHistogram, PercentilesEqualExactOnesWithinTheDocumentedError) {
  std::mt19937_64 random(mesh::testing::seed());
  std::normal_distribution<double> normal(0, 1);
  std::uniform_real_distribution<double> unit(1e-9, 1);
  for (unsigned round = 0; round < 200; ++round) {
    const double scale = std::pow(10.0, unit(random) * 7 + 2);  // 100 ns .. 1 s
    Samples samples(static_cast<std::int64_t>(unit(random) * scale * 2));
    const std::size_t count = 1 + random() % 3'000;
    std::uint32_t inside = 0;
    for (std::size_t i = 0; i < count; ++i) {
      double draw = 0;
      switch (round % 4) {
        case 0:
          draw = normal(random);
          break;
        case 1:
          draw = std::exp(2 * normal(random));  // lognormal, late only
          break;
        case 2:
          draw = std::pow(unit(random), -1.0) * (random() % 2 == 0 ? 1 : -1);  // Pareto, alpha 1
          break;
        default:
          draw = unit(random) - 0.9;  // mostly early
      }
      const double limit = static_cast<double>((std::int64_t{1} << 42) - (std::int64_t{1} << 36));
      const auto error = static_cast<std::int64_t>(std::clamp(draw * scale, -limit + 1, limit - 1));
      samples.add(error);
      if (magnitude(error) <= samples.tally.scale.tolerance_ns) ++inside;
    }
    const ErrorSummary summary = summarize(samples.tally);
    ASSERT_EQ(summary.count, count);
    ASSERT_EQ(summary.inside, inside) << "round " << round;
    expect_within_documented_error(summary.p50_ns, samples.exact(Share{500'000}, false));
    expect_within_documented_error(summary.p90_ns, samples.exact(Share{900'000}, false));
    expect_within_documented_error(summary.p99_ns, samples.exact(Share{990'000}, false));
    expect_within_documented_error(summary.median_ns, samples.exact(Share{500'000}, true));
    ASSERT_EQ(summary.max_ns, samples.exact(Share{kShareOne}, false));
    for (const Share share :
         {Share{0}, Share{1}, Share{50'000}, Share{950'000}, Share{kShareOne}}) {
      expect_within_documented_error(error_quantile_ns(samples.tally, share),
                                     samples.exact(share, true));
      expect_within_documented_error(distance_quantile_ns(samples.tally, share),
                                     samples.exact(share, false));
    }
    if (HasFailure()) FAIL() << "round " << round;
  }
}

// Exact at the tolerance; elsewhere at most a bucket too strict, and never too mild.
TEST(ErrorHistogram, CountsWhatIsWithinAnyLimit) {
  EXPECT_TRUE(rc::check("within", [] {
    const auto some = rc::gen::inRange<std::int64_t>(-200 * kNsPerMs, 200 * kNsPerMs);
    const auto errors = *rc::gen::container<std::vector<std::int64_t>>(some);
    const std::int64_t limit = *rc::gen::inRange<std::int64_t>(0, 200 * kNsPerMs);
    const std::int64_t tolerance =
        *rc::gen::elementOf(std::vector<std::int64_t>{limit, 50 * kNsPerMs, 0});
    Samples samples(tolerance);
    std::uint32_t at_most = 0;
    std::uint32_t surely = 0;
    for (const std::int64_t error : errors) {
      samples.add(error);
      const std::int64_t distance = std::abs(error);
      at_most += distance <= limit ? 1U : 0U;
      surely += distance <= limit - limit / 32 - 1'024 ? 1U : 0U;
    }
    const std::uint32_t counted = count_within(samples.tally, limit);
    RC_ASSERT(counted <= at_most);
    RC_ASSERT(counted >= surely);
    if (tolerance == limit) {
      RC_ASSERT(counted == at_most);
    }
  }));
}

TEST(SaturatingDifference, EndsAtTheEnds) {
  EXPECT_EQ(saturating_difference(5, 7), -2);
  EXPECT_EQ(saturating_difference(INT64_MAX, -1), INT64_MAX);
  EXPECT_EQ(saturating_difference(INT64_MIN, 1), INT64_MIN);
  EXPECT_EQ(magnitude(INT64_MIN), std::uint64_t{1} << 63);
}

}  // namespace of_error_histogram_test
}  // namespace mesh::sched
