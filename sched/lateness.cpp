#include "sched/lateness.hpp"

namespace mesh::sched {

// The middle of the bucket in which the sample of that rank stands, and never more than the most.
std::int64_t LatenessHistogram::quantile_ns(Share share) const noexcept {
  if (count_ == 0) return 0;
  // Nearest rank, as rank_of(), for more samples than 32 bits count: element ceil(share * count).
  const std::uint64_t whole = count_ / kShareOne * share.ppm;
  const std::uint64_t rest = (count_ % kShareOne * share.ppm + kShareOne - 1) / kShareOne;
  const std::uint64_t rank = std::clamp<std::uint64_t>(whole + rest, 1, count_);
  std::uint64_t seen = 0;
  for (std::uint32_t bucket = 0; bucket < kLatenessBuckets; ++bucket) {
    seen += counts_[bucket];
    if (seen < rank) continue;
    const std::uint64_t begin = lateness_bucket_begin(bucket);
    const std::uint64_t width = lateness_bucket_begin(bucket + 1) - begin;
    return std::min(static_cast<std::int64_t>(begin + width / 2), max_ns_);
  }
  return max_ns_;
}

LatenessSummary LatenessHistogram::summary() const noexcept {
  return {count_, quantile_ns(Share{500'000}), quantile_ns(Share{900'000}),
          quantile_ns(Share{990'000}), max_ns_};
}

}  // namespace mesh::sched
