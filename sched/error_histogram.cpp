#include "sched/error_histogram.hpp"

#include <numeric>

namespace mesh::sched {
namespace {

std::uint32_t total_of(const ErrorTally& tally) noexcept {
  return std::accumulate(tally.counts.begin(), tally.counts.end(), 0U);
}

// The middle of what a slot of one side holds, `bucket` or, as kErrorBuckets, the part of the cut
// bucket beyond the tolerance. No sample lies beyond `largest`.
std::uint64_t middle_of(const ErrorScale& scale, std::uint32_t bucket,
                        std::uint64_t largest) noexcept {
  const bool is_beyond = bucket == kErrorBuckets;
  const std::uint32_t whole = is_beyond ? scale.cut_bucket : bucket;
  const bool is_inside_the_cut = bucket == scale.cut_bucket;
  // The last bucket has no end.
  if (whole + 1 == kErrorBuckets && !is_inside_the_cut) return largest;
  const std::uint64_t first = is_beyond ? scale.tolerance_ns + 1 : error_bucket_begin(whole);
  const std::uint64_t last =
      is_inside_the_cut ? scale.tolerance_ns : error_bucket_begin(whole + 1) - 1;
  return std::min(first + (last - first) / 2, largest);
}

// Visits the slots of one side from T outwards: what lies beyond the cut comes right after it.
// `visit` returns true to stop.
template <class Visit>
void outwards(const ErrorScale& scale, Visit&& visit) noexcept {
  for (std::uint32_t bucket = 0; bucket < kErrorBuckets; ++bucket) {
    if (visit(bucket)) return;
    if (bucket == scale.cut_bucket && visit(kErrorBuckets)) return;
  }
}
template <class Visit>
void inwards(const ErrorScale& scale, Visit&& visit) noexcept {
  for (std::uint32_t bucket = kErrorBuckets; bucket-- > 0;) {
    if (bucket == scale.cut_bucket && visit(kErrorBuckets)) return;
    if (visit(bucket)) return;
  }
}

std::int64_t to_signed(std::uint64_t distance) noexcept {
  return static_cast<std::int64_t>(std::min<std::uint64_t>(distance, INT64_MAX));
}

}  // namespace

std::int64_t distance_quantile_ns(const ErrorTally& tally, Share share) noexcept {
  const std::uint32_t total = total_of(tally);
  if (total == 0) return 0;
  const std::uint32_t rank = rank_of(share, total);
  const std::uint64_t largest = std::max(tally.early_ns_max, tally.late_ns_max);
  std::uint32_t passed = 0;
  std::uint64_t found = largest;
  outwards(tally.scale, [&](std::uint32_t bucket) {
    passed += tally.counts[bucket] + tally.counts[kErrorSideSlots + bucket];
    if (passed < rank) return false;
    found = middle_of(tally.scale, bucket, largest);
    return true;
  });
  return to_signed(found);
}

std::int64_t error_quantile_ns(const ErrorTally& tally, Share share) noexcept {
  const std::uint32_t total = total_of(tally);
  if (total == 0) return 0;
  const std::uint32_t rank = rank_of(share, total);
  std::uint32_t passed = 0;
  std::int64_t found = 0;
  inwards(tally.scale, [&](std::uint32_t bucket) {
    passed += tally.counts[bucket];
    if (passed < rank) return false;
    found = -to_signed(middle_of(tally.scale, bucket, tally.early_ns_max));
    return true;
  });
  if (passed >= rank) return found;
  outwards(tally.scale, [&](std::uint32_t bucket) {
    passed += tally.counts[kErrorSideSlots + bucket];
    if (passed < rank) return false;
    found = to_signed(middle_of(tally.scale, bucket, tally.late_ns_max));
    return true;
  });
  return found;
}

std::uint32_t count_within(const ErrorTally& tally, std::int64_t limit_ns) noexcept {
  const std::uint64_t limit = magnitude(std::max<std::int64_t>(limit_ns, 0));
  std::uint32_t count = 0;
  outwards(tally.scale, [&](std::uint32_t bucket) {
    const bool is_beyond = bucket == kErrorBuckets;
    const bool is_inside_the_cut = bucket == tally.scale.cut_bucket;
    const std::uint32_t whole = is_beyond ? tally.scale.cut_bucket : bucket;
    const std::uint64_t last =
        is_inside_the_cut ? tally.scale.tolerance_ns : error_bucket_begin(whole + 1) - 1;
    if (last > limit) return true;
    count += tally.counts[bucket] + tally.counts[kErrorSideSlots + bucket];
    return false;
  });
  return count;
}

ErrorSummary summarize(const ErrorTally& tally) noexcept {
  ErrorSummary summary;
  summary.count = total_of(tally);
  for (std::uint32_t bucket = 0; bucket <= tally.scale.cut_bucket; ++bucket) {
    summary.inside += tally.counts[bucket] + tally.counts[kErrorSideSlots + bucket];
  }
  summary.p50_ns = distance_quantile_ns(tally, Share{500'000});
  summary.p90_ns = distance_quantile_ns(tally, Share{900'000});
  summary.p99_ns = distance_quantile_ns(tally, Share{990'000});
  if (summary.count != 0)
    summary.max_ns = to_signed(std::max(tally.early_ns_max, tally.late_ns_max));
  summary.median_ns = error_quantile_ns(tally, Share{500'000});
  return summary;
}

}  // namespace mesh::sched
