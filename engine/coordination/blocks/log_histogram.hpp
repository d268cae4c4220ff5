// LogHistogram: durations from 2^10 to 2^40 ns in 960 counters, each answer within 1/64.
//
// Callers     one thread; merge() adds another one's counters.
// Progress    wait-free.  Cost  add: 2 ns. quantile: one walk over the counters.
// Units       ns; what is below 1024 counts as 1024, above 2^40 - 1 as that. Counters are u32.
// Errors      quantile of nothing, or of q outside 0..1 -> Errc::not_found, invalid_argument.
// Source      HDR histogram (Tene). Not P2: it cannot be merged; not DDSketch: it needs log().
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "engine/coordination/blocks/state_codec.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

struct HistogramBucket {
  unsigned exponent = 0;
  unsigned sub = 0;
  std::uint64_t low = 0;
  std::uint64_t high = 0;  // exclusive
  std::uint64_t report = 0;
};

class LogHistogram {
 public:
  static constexpr unsigned kSubBits = 5;
  static constexpr unsigned kExponentMin = 10;
  static constexpr unsigned kExponentMax = 39;
  static constexpr std::size_t kBuckets = std::size_t{kExponentMax - kExponentMin + 1} << kSubBits;
  static_assert(kBuckets == 960);

  [[nodiscard]] static constexpr std::size_t index_of(std::uint64_t value) noexcept {
    constexpr std::uint64_t kLeast = std::uint64_t{1} << kExponentMin;
    constexpr std::uint64_t kMost = (std::uint64_t{1} << (kExponentMax + 1)) - 1;
    value = value < kLeast ? kLeast : value > kMost ? kMost : value;
    const auto exponent = static_cast<unsigned>(std::bit_width(value)) - 1;
    const std::uint64_t sub = (value >> (exponent - kSubBits)) - (1U << kSubBits);
    return (std::size_t{exponent - kExponentMin} << kSubBits) + static_cast<std::size_t>(sub);
  }
  [[nodiscard]] static constexpr HistogramBucket bucket(std::size_t index) noexcept {
    HistogramBucket bucket;
    bucket.exponent = static_cast<unsigned>(index >> kSubBits) + kExponentMin;
    bucket.sub = static_cast<unsigned>(index & ((1U << kSubBits) - 1));
    const std::uint64_t width = std::uint64_t{1} << (bucket.exponent - kSubBits);
    bucket.low = (std::uint64_t{1} << bucket.exponent) + bucket.sub * width;
    bucket.high = bucket.low + width;
    bucket.report = bucket.low + width / 2;
    return bucket;
  }

  void add(std::uint64_t value) noexcept {
    ++counts_[index_of(value)];
    ++total_;
  }
  void merge(const LogHistogram& other) noexcept {
    for (std::size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
    total_ += other.total_;
  }
  void clear() noexcept { *this = {}; }
  [[nodiscard]] std::uint64_t total() const noexcept { return total_; }
  // Nearest rank: the middle of the first bucket up to which ceil(q n) values lie.
  [[nodiscard]] Result<std::uint64_t> quantile(double q) const {
    if (!(q >= 0 && q <= 1)) return fail(Errc::invalid_argument, "quantile: q is outside 0..1");
    if (total_ == 0) return fail(Errc::not_found, "quantile: there is no value");
    const double exact = std::ceil(q * static_cast<double>(total_) - 1e-12);
    const std::uint64_t rank = exact < 1 ? 1 : static_cast<std::uint64_t>(exact);
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      below += counts_[i];
      if (below >= rank) return bucket(i).report;
    }
    return fail(Errc::corrupt, "quantile: the counters do not add up");
  }

  void save(StateWriter& writer) const {
    for (const auto count : counts_) writer.put(count);
  }
  void load(StateReader& reader) {
    total_ = 0;
    for (auto& count : counts_) {
      reader.get(count);
      total_ += count;
    }
  }

 private:
  std::array<std::uint32_t, kBuckets> counts_{};
  std::uint64_t total_ = 0;
};

}  // namespace mesh::coordination
