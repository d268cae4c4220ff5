// phi_accrual: how unlikely it is that one who was heard from so regularly is merely late:
// -log10 of the chance, so 8 is one in a hundred million.
//
// Callers     one thread.  Cost  heard: a few integers. phi: one exp and one log10.
// Units       intervals in ms within, Nanos outside; the last 16 intervals. The deviation is taken
//             as a tenth of the mean at least, or one interval like another would make any lateness
//             certain death.
// Source      Hayashibara 2004; the normal tail by the logistic approximation, as in Akka.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "engine/coordination/blocks/state_codec.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::coordination {

[[nodiscard]] inline double phi_of(double since, double mean, double deviation) noexcept {
  const double y = (since - mean) / deviation;
  const double e = std::exp(-y * (1.5976 + 0.070566 * y * y));
  return since > mean ? -std::log10(e / (1 + e)) : -std::log10(1 - 1 / (1 + e));
}

class PhiAccrual {
 public:
  static constexpr std::size_t kIntervals = 16;
  static constexpr std::uint32_t kIntervalsMin = 3;
  static constexpr double kDeviationMin = 0.1;  // of the mean

  void heard(std::int64_t now_ns) noexcept {
    if (last_ns_ >= 0) {
      const auto ms = static_cast<std::uint32_t>(
          std::min<std::int64_t>((now_ns - last_ns_) / kNsPerMs, kMsMax));
      std::uint32_t& slot = intervals_[count_ % kIntervals];
      if (count_ >= kIntervals) forget(slot);
      slot = ms;
      sum_ += ms;
      squares_ += std::uint64_t{ms} * ms;
      ++count_;
    }
    last_ns_ = now_ns;
  }
  // 0 while too little was heard to say.
  [[nodiscard]] double phi(std::int64_t now_ns) const noexcept {
    if (count_ < kIntervalsMin) return 0;
    const auto n = static_cast<double>(count_ < kIntervals ? count_ : kIntervals);
    const double mean = std::fmax(static_cast<double>(sum_) / n, 1);
    const double variance = static_cast<double>(squares_) / n - mean * mean;
    const double deviation = std::fmax(std::sqrt(std::fmax(variance, 0)), kDeviationMin * mean);
    const double since = static_cast<double>(now_ns - last_ns_) / static_cast<double>(kNsPerMs);
    const double phi = phi_of(since, mean, deviation);
    return std::isfinite(phi) ? phi : kPhiMax;  // the chance underflowed
  }
  [[nodiscard]] std::int64_t last_ns() const noexcept { return last_ns_; }
  [[nodiscard]] bool can_tell() const noexcept { return count_ >= kIntervalsMin; }
  // From now on, whatever was missed before: the listener was away, not the other one.
  void excuse(std::int64_t now_ns) noexcept {
    if (last_ns_ >= 0 && now_ns > last_ns_) last_ns_ = now_ns;
  }

  void save(StateWriter& writer) const {
    writer.put(last_ns_);
    writer.put(count_);
    for (const auto ms : intervals_) writer.put(ms);
  }
  void load(StateReader& reader) {
    *this = {};
    reader.get(last_ns_);
    reader.get(count_);
    for (auto& ms : intervals_) {
      reader.get(ms);
      sum_ += ms;
      squares_ += std::uint64_t{ms} * ms;
      if (ms > kMsMax) reader.fail();
    }
    if (last_ns_ < -1) reader.fail();
  }

 private:
  static constexpr std::int64_t kMsMax = 1'000'000'000;  // 11 days
  static constexpr double kPhiMax = 300;
  void forget(std::uint32_t ms) noexcept {
    sum_ -= ms;
    squares_ -= std::uint64_t{ms} * ms;
  }

  std::int64_t last_ns_ = -1;
  std::uint64_t sum_ = 0;
  std::uint64_t squares_ = 0;
  std::uint32_t count_ = 0;  // good for 136 years at one a second
  std::array<std::uint32_t, kIntervals> intervals_{};
};

}  // namespace mesh::coordination
