// ErrorHistogram: how far from T answers arrived, counted in fixed memory, from which percentiles
// are read.
//
// |error| is counted in units of 1,024 ns: one bucket a unit below 64 units, then 32 buckets an
// octave up to 2^42 ns (73 minutes), early and late apart. One bucket of each side is cut in two at
// the tolerance, so that the share inside it is exact, not estimated.
//
// Callers     one thread.
// Progress    wait-free; add: one load, one store. No allocation.
// Units       nanoseconds; error = finished - T, negative when early.
// Error       of a percentile, against the exact sample of the same rank: at most 512 ns, or 1/64
//             (1.6 %) of it where that is more. From 2^42 - 2^36 ns: reported is the largest error
//             that was seen. Of the share inside the tolerance: none.
// If the      writer dies in an add: the count stands or does not; whether it has to be taken back
// other side  is its owner's to know (gather.hpp).
// dies
// Layout      kErrorSlots counts of u32: early, then late; on each side the buckets, then the part
//             of the cut bucket that lies beyond the tolerance. A count ends at 2^32; an operation
//             has at most 2^20 answers.
// Cost        summarize: one pass over 1,794 counts.
// Source      log-linear buckets: HdrHistogram (Tene); the cut is ours.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "sched/share.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/word.hpp"

namespace mesh::sched {

inline constexpr unsigned kErrorUnitShift = 10;  // a shift instead of a division by 1,000
inline constexpr unsigned kErrorOctaveBits = 5;
inline constexpr unsigned kErrorTopBits = 32;  // in units
inline constexpr std::uint32_t kErrorBuckets = (kErrorTopBits - kErrorOctaveBits + 1)
                                               << kErrorOctaveBits;
inline constexpr std::uint32_t kErrorSideSlots = kErrorBuckets + 1;
inline constexpr std::uint32_t kErrorSlots = 2 * kErrorSideSlots;
static_assert(kErrorBuckets == 896);

constexpr std::uint32_t error_bucket_of(std::uint64_t distance_ns) noexcept {
  const std::uint64_t units =
      std::min(distance_ns >> kErrorUnitShift, (std::uint64_t{1} << kErrorTopBits) - 1);
  constexpr std::uint64_t kLinear = (std::uint64_t{2} << kErrorOctaveBits) - 1;
  const auto shift = static_cast<unsigned>(std::bit_width(units | kLinear)) - kErrorOctaveBits - 1;
  return (shift << kErrorOctaveBits) + static_cast<std::uint32_t>(units >> shift);
}
// First distance of the bucket; of kErrorBuckets: the first that is beyond them all.
constexpr std::uint64_t error_bucket_begin(std::uint32_t bucket) noexcept {
  const unsigned shift = std::max(bucket >> kErrorOctaveBits, 1U) - 1;
  return std::uint64_t{bucket - (shift << kErrorOctaveBits)} << shift << kErrorUnitShift;
}

// How far apart two times are, without a number that does not fit.
constexpr std::int64_t saturating_difference(std::int64_t a, std::int64_t b) noexcept {
  std::int64_t difference = 0;
  if (!__builtin_sub_overflow(a, b, &difference)) return difference;
  return a < b ? INT64_MIN : INT64_MAX;
}
constexpr std::uint64_t magnitude(std::int64_t value) noexcept {
  const auto sign = static_cast<std::uint64_t>(value >> 63);  // no bit or all
  return (static_cast<std::uint64_t>(value) ^ sign) - sign;
}
// 0 early, 1 late. Arithmetic, as magnitude() is: which side an answer arrives on cannot be
// predicted, and a branch on it cost as much as all the rest of an answer.
constexpr std::uint32_t side_of(std::int64_t error_ns) noexcept {
  return 1U - static_cast<std::uint32_t>(static_cast<std::uint64_t>(error_ns) >> 63);
}

// Where an error is counted.
struct ErrorScale {
  std::uint64_t tolerance_ns = 0;
  std::uint32_t cut_bucket = 0;

  static constexpr ErrorScale of(std::int64_t tolerance_ns) noexcept {
    const std::uint64_t tolerance = magnitude(std::max<std::int64_t>(tolerance_ns, 0));
    return {tolerance, error_bucket_of(tolerance)};
  }
  [[nodiscard]] constexpr std::uint32_t slot_of(std::int64_t error_ns) const noexcept {
    const std::uint64_t distance = magnitude(error_ns);
    std::uint32_t bucket = error_bucket_of(distance);
    if (bucket == cut_bucket && distance > tolerance_ns) bucket = kErrorBuckets;
    return side_of(error_ns) * kErrorSideSlots + bucket;
  }
};

template <class Memory = HostMemory>
struct ErrorHistogram {
  using Count = typename Memory::template Word<std::uint32_t>;
  Count counts[kErrorSlots];
};

// The counts, taken out of whatever memory they live in.
struct ErrorTally {
  ErrorScale scale;
  std::uint64_t early_ns_max = 0;  // largest distance on each side
  std::uint64_t late_ns_max = 0;
  std::array<std::uint32_t, kErrorSlots> counts{};
};

// Distances are |error|; median_ns is signed. All 0 while nothing is counted.
struct ErrorSummary {
  std::uint32_t count = 0;
  std::uint32_t inside = 0;  // at most the tolerance from T; exact
  std::int64_t p50_ns = 0;
  std::int64_t p90_ns = 0;
  std::int64_t p99_ns = 0;
  std::int64_t max_ns = 0;
  std::int64_t median_ns = 0;  // negative: most came before T
  [[nodiscard]] double inside_rate() const noexcept { return rate(inside, count); }
};

[[nodiscard]] ErrorSummary summarize(const ErrorTally& tally) noexcept;
// How many are at most `limit_ns` from T. A bucket that the limit cuts is outside, so it is exact
// where the limit is the tolerance, and up to 1/32 of the limit too strict elsewhere.
[[nodiscard]] std::uint32_t count_within(const ErrorTally& tally, std::int64_t limit_ns) noexcept;
// One quantile of |error|, and one of the signed error; 0 of nothing.
[[nodiscard]] std::int64_t distance_quantile_ns(const ErrorTally& tally, Share share) noexcept;
[[nodiscard]] std::int64_t error_quantile_ns(const ErrorTally& tally, Share share) noexcept;

}  // namespace mesh::sched
