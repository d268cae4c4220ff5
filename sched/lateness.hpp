// LatenessHistogram: how long after they were due buckets left, counted in fixed memory, from which
// quantiles are read.
//
// One bucket a nanosecond below 32, then 16 an octave up to 2^40 ns (18 minutes).
//
// Callers     one thread.
// Progress    wait-free; add: one load, one store. No allocation.
// Units       nanoseconds; what left early, by a clock that was read early, counts as 0.
// Error       of a quantile, against the exact sample of the same rank: at most 1/32 (3.1 %) of it.
//             The maximum is exact.
// Source      log-linear buckets: HdrHistogram (Tene).
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "sched/share.hpp"

namespace mesh::sched {

inline constexpr unsigned kLatenessOctaveBits = 4;
inline constexpr unsigned kLatenessTopBits = 40;
inline constexpr std::uint32_t kLatenessBuckets = (kLatenessTopBits - kLatenessOctaveBits + 1)
                                                  << kLatenessOctaveBits;
static_assert(kLatenessBuckets == 592);

constexpr std::uint32_t lateness_bucket_of(std::uint64_t late_ns) noexcept {
  const std::uint64_t capped = std::min(late_ns, (std::uint64_t{1} << kLatenessTopBits) - 1);
  constexpr std::uint64_t kLinear = (std::uint64_t{2} << kLatenessOctaveBits) - 1;
  const auto shift =
      static_cast<unsigned>(std::bit_width(capped | kLinear)) - kLatenessOctaveBits - 1;
  return (shift << kLatenessOctaveBits) + static_cast<std::uint32_t>(capped >> shift);
}
// First time of the bucket; of kLatenessBuckets: the first that is beyond them all.
constexpr std::uint64_t lateness_bucket_begin(std::uint32_t bucket) noexcept {
  const unsigned shift = std::max(bucket >> kLatenessOctaveBits, 1U) - 1;
  return std::uint64_t{bucket - (shift << kLatenessOctaveBits)} << shift;
}

// All 0 while nothing is counted.
struct LatenessSummary {
  std::uint64_t count = 0;
  std::int64_t p50_ns = 0;
  std::int64_t p90_ns = 0;
  std::int64_t p99_ns = 0;
  std::int64_t max_ns = 0;
};

class LatenessHistogram {
 public:
  void add(std::int64_t late_ns) noexcept {
    const auto late = static_cast<std::uint64_t>(std::max<std::int64_t>(late_ns, 0));
    ++counts_[lateness_bucket_of(late)];
    ++count_;
    max_ns_ = std::max(max_ns_, static_cast<std::int64_t>(late));
  }
  // Cold: a pass over the buckets each.
  [[nodiscard]] std::int64_t quantile_ns(Share share) const noexcept;
  [[nodiscard]] LatenessSummary summary() const noexcept;

 private:
  std::array<std::uint64_t, kLatenessBuckets> counts_{};
  std::uint64_t count_ = 0;
  std::int64_t max_ns_ = 0;
};

}  // namespace mesh::sched
