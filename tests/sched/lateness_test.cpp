#include "sched/lateness.hpp"

#include <algorithm>
#include <vector>

namespace mesh::sched {
namespace {

std::int64_t exact(std::vector<std::int64_t> samples, Share share) {
  std::sort(samples.begin(), samples.end());
  return samples[rank_of(share, static_cast<std::uint32_t>(samples.size())) - 1];
}

TEST(LatenessHistogram, SaysNothingOfNothing) {
  const LatenessHistogram histogram;
  EXPECT_EQ(histogram.summary().count, 0U);
  EXPECT_EQ(histogram.summary().p99_ns, 0);
  EXPECT_EQ(histogram.summary().max_ns, 0);
}

TEST(LatenessHistogram, CountsEarlyAsOnTime) {
  LatenessHistogram histogram;
  histogram.add(-1);
  histogram.add(INT64_MIN);
  EXPECT_EQ(histogram.summary().count, 2U);
  EXPECT_EQ(histogram.summary().p99_ns, 0);
  EXPECT_EQ(histogram.summary().max_ns, 0);
}

TEST(LatenessHistogram, TakesTheLatestThereCanBe) {
  LatenessHistogram histogram;
  histogram.add(INT64_MAX);
  EXPECT_EQ(histogram.summary().max_ns, INT64_MAX);
  EXPECT_GE(histogram.summary().p50_ns, (std::int64_t{1} << kLatenessTopBits) / 2);
}

TEST(LatenessHistogram, BucketsMeetWithoutGapOrOverlap) {
  for (std::uint32_t bucket = 0; bucket < kLatenessBuckets; ++bucket) {
    const std::uint64_t begin = lateness_bucket_begin(bucket);
    ASSERT_EQ(lateness_bucket_of(begin), bucket);
    if (begin != 0) {
      ASSERT_EQ(lateness_bucket_of(begin - 1), bucket - 1);
    }
  }
  EXPECT_EQ(lateness_bucket_begin(kLatenessBuckets), std::uint64_t{1} << kLatenessTopBits);
}

TEST(LatenessHistogram, QuantilesOfSmallTimesAreExact) {
  LatenessHistogram histogram;
  for (std::int64_t ns = 1; ns <= 20; ++ns) histogram.add(ns);
  EXPECT_EQ(histogram.quantile_ns(Share{500'000}), 10);
  EXPECT_EQ(histogram.quantile_ns(Share{990'000}), 20);
}

RC_GTEST_PROP(LatenessHistogram, QuantilesAreWithinAThirtySecondOfTheExactSample, ()) {
  const auto samples = *rc::gen::nonEmpty(rc::gen::container<std::vector<std::int64_t>>(
      rc::gen::oneOf(rc::gen::inRange<std::int64_t>(0, 200),
                     rc::gen::inRange<std::int64_t>(0, std::int64_t{1} << kLatenessTopBits))));
  LatenessHistogram histogram;
  for (const std::int64_t sample : samples) histogram.add(sample);
  for (const std::uint32_t ppm : {0U, 100'000U, 500'000U, 900'000U, 990'000U, kShareOne}) {
    const std::int64_t want = exact(samples, Share{ppm});
    const std::int64_t got = histogram.quantile_ns(Share{ppm});
    RC_ASSERT(std::abs(got - want) <= want / 32);
  }
  RC_ASSERT(histogram.summary().max_ns == *std::max_element(samples.begin(), samples.end()));
  RC_ASSERT(histogram.summary().count == samples.size());
}

}  // namespace
}  // namespace mesh::sched
