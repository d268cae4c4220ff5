// LatenessHistogram: how late things were, in buckets an eighth of an octave wide.
//
// Callers     one thread adds; summaries are for who may read its memory.
// Cost        add: a count of leading zeros, one increment.
// Units       nanoseconds; a quantile is the upper end of its bucket, so at most 12.5 % above.
// Layout      process-private.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace mesh::sched {

class LatenessHistogram {
 public:
  static constexpr std::size_t kBuckets = std::size_t{8} * 62;

  // Early counts as 0.
  void add(std::int64_t late_ns) noexcept {
    late_ns = std::max<std::int64_t>(late_ns, 0);
    ++counts_[bucket_of(static_cast<std::uint64_t>(late_ns))];
    ++count_;
    max_ns_ = std::max(max_ns_, late_ns);
  }
  // And all of these.
  void add(const LatenessHistogram& others) noexcept {
    for (std::size_t bucket = 0; bucket < kBuckets; ++bucket)
      counts_[bucket] += others.counts_[bucket];
    count_ += others.count_;
    max_ns_ = std::max(max_ns_, others.max_ns_);
  }
  // What came after `earlier`, a copy of this one as it was then. The largest is told as the end of
  // its bucket.
  [[nodiscard]] LatenessHistogram since(const LatenessHistogram& earlier) const noexcept {
    LatenessHistogram later;
    for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
      later.counts_[bucket] = counts_[bucket] - earlier.counts_[bucket];
      if (later.counts_[bucket] != 0) later.max_ns_ = std::min(max_ns_, end_of(bucket));
    }
    later.count_ = count_ - earlier.count_;
    return later;
  }
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] std::int64_t max_ns() const noexcept { return max_ns_; }
  // `share` in (0, 1]; 0 of nothing.
  [[nodiscard]] std::int64_t quantile_ns(double share) const noexcept {
    if (count_ == 0) return 0;
    const double wanted = share * static_cast<double>(count_);
    std::uint64_t seen = 0;
    for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
      seen += counts_[bucket];
      if (static_cast<double>(seen) >= wanted) return std::min(max_ns_, end_of(bucket));
    }
    return max_ns_;
  }

  static constexpr std::size_t bucket_of(std::uint64_t ns) noexcept {
    if (ns < 8) return static_cast<std::size_t>(ns);
    const auto octave = static_cast<unsigned>(std::bit_width(ns)) - 1;
    const std::uint64_t eighth = ns >> (octave - 3) & 7;
    return std::min<std::size_t>((octave - std::size_t{2}) * 8 + eighth, kBuckets - 1);
  }
  // The largest value that counts there.
  static constexpr std::int64_t end_of(std::size_t bucket) noexcept {
    if (bucket < 8) return static_cast<std::int64_t>(bucket);
    const std::size_t octave = bucket / 8 + 2;
    const std::uint64_t width = std::uint64_t{1} << (octave - 3);
    return static_cast<std::int64_t>((std::uint64_t{1} << octave) + (bucket % 8 + 1) * width - 1);
  }

 private:
  std::array<std::uint64_t, kBuckets> counts_{};
  std::uint64_t count_ = 0;
  std::int64_t max_ns_ = 0;
};
static_assert(LatenessHistogram::bucket_of(8) == 8 && LatenessHistogram::end_of(8) == 8);
static_assert(LatenessHistogram::bucket_of(1'000) == LatenessHistogram::bucket_of(1'023));

}  // namespace mesh::sched
