// SampleWindow: the last 32 outcomes within a window: median, mean and deviation of the latencies,
// and how often success and failure took turns.
//
// Callers     one thread.  Progress  wait-free.
// Cost        add: one move within 128 bytes, and no branch that hangs on a latency; everything
//             that is asked: O(1).
// Units       latencies in whole microseconds up to 2^29 (9 minutes), so that sums are exact and
//             never drift; a failure has no latency.
// Invariants  sorted_ holds the latencies of the successes in the ring, in order, then kNothing.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::coordination {

class SampleWindow {
 public:
  static constexpr std::size_t kSamples = 32;
  static constexpr std::uint32_t kMicrosMax = std::uint32_t{1} << 29;  // squares of 32: 2^63

  void add(std::int64_t now_ns, bool success, std::uint32_t micros) noexcept {
    const Sample sample{now_ns, success, std::min(micros, kMicrosMax)};
    std::size_t hole = successes_;  // where a latency may go without another one's leaving
    if (count_ == kSamples) hole = take_oldest();
    if (count_ != 0 && last().success != success) ++turns_;
    ring_[(first_ + count_) % kSamples] = sample;
    ++count_;
    if (!success) {
      close(hole);
    } else {
      put(hole, sample.micros);
    }
  }
  void drop_before(std::int64_t instant_ns) noexcept {
    while (count_ != 0 && ring_[first_].at_ns < instant_ns) close(take_oldest());
  }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  [[nodiscard]] std::size_t successes() const noexcept { return successes_; }
  // Nearest rank; 0 of nothing.
  [[nodiscard]] std::uint32_t median_micros() const noexcept {
    return successes_ == 0 ? 0 : static_cast<std::uint32_t>(sorted_[(successes_ - 1) / 2]);
  }
  // Nearest rank of the last ones' 95th percentile; 0 of nothing.
  [[nodiscard]] std::uint32_t p95_micros() const noexcept {
    return successes_ == 0 ? 0
                           : static_cast<std::uint32_t>(sorted_[(95 * successes_ + 99) / 100 - 1]);
  }
  [[nodiscard]] double mean_micros() const noexcept {
    return successes_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(successes_);
  }
  [[nodiscard]] double deviation_micros() const noexcept {
    if (successes_ == 0) return 0;
    const double mean = mean_micros();
    const double variance =
        static_cast<double>(squares_) / static_cast<double>(successes_) - mean * mean;
    return variance > 0 ? std::sqrt(variance) : 0;
  }
  [[nodiscard]] double flap_rate() const noexcept {
    return count_ < 2 ? 0 : static_cast<double>(turns_) / static_cast<double>(count_ - 1);
  }

  // What add() is about to read.
  void prefetch() const noexcept {
    __builtin_prefetch(&ring_[(first_ + count_) % kSamples]);
    __builtin_prefetch(sorted_.data());
    __builtin_prefetch(sorted_.data() + kSamples / 2);
  }

  void save(StateWriter& writer) const {
    writer.put(static_cast<std::uint32_t>(count_));
    for (std::size_t i = 0; i < count_; ++i) {
      const Sample& sample = ring_[(first_ + i) % kSamples];
      writer.put(sample.at_ns);
      writer.put(sample.success);
      writer.put(sample.micros);
    }
  }
  void load(StateReader& reader) {
    *this = {};
    const std::size_t count = reader.get_count(13);
    if (count > kSamples) return reader.fail();
    for (std::size_t i = 0; i < count; ++i) {
      const auto at_ns = reader.get<std::int64_t>();
      const auto success = reader.get<bool>();
      add(at_ns, success, reader.get<std::uint32_t>());
    }
  }

 private:
  struct Sample {
    std::int64_t at_ns = 0;
    bool success = false;
    std::uint32_t micros = 0;
  };
  [[nodiscard]] const Sample& last() const noexcept {
    return ring_[(first_ + count_ - 1) % kSamples];
  }
  // Out of the ring; the place of its latency in sorted_, which is to be filled or closed.
  std::size_t take_oldest() noexcept {
    const Sample gone = ring_[first_];
    first_ = (first_ + 1) % kSamples;
    --count_;
    if (count_ != 0 && ring_[first_].success != gone.success) --turns_;
    if (!gone.success) return successes_;
    sum_ -= gone.micros;
    squares_ -= std::uint64_t{gone.micros} * gone.micros;
    return count_below(gone.micros);
  }
  // How many of sorted_ are below it: all of them are looked at, which is eight vectors; a search
  // by halves guesses wrong every other time.
  [[nodiscard]] std::size_t count_below(std::uint32_t micros) const noexcept {
    const auto limit = static_cast<std::int32_t>(micros);
    std::int32_t below = 0;
    for (const auto one : sorted_) below += one < limit ? 1 : 0;
    return static_cast<std::size_t>(below);
  }
  void close(std::size_t hole) noexcept {
    if (hole == successes_) return;
    std::move(sorted_.begin() + static_cast<std::ptrdiff_t>(hole) + 1,
              sorted_.begin() + static_cast<std::ptrdiff_t>(successes_),
              sorted_.begin() + static_cast<std::ptrdiff_t>(hole));
    sorted_[--successes_] = kNothing;
  }
  void put(std::size_t hole, std::uint32_t micros) noexcept {
    if (hole == successes_) ++successes_;
    sorted_[hole] = kNothing;
    const std::size_t at = count_below(micros);
    const auto from = sorted_.begin() + static_cast<std::ptrdiff_t>(std::min(at, hole));
    const auto to = sorted_.begin() + static_cast<std::ptrdiff_t>(std::max(at, hole));
    if (at < hole) {
      std::move_backward(from, to, to + 1);
    } else {
      std::move(from + 1, to + 1, from);
    }
    sorted_[at] = static_cast<std::int32_t>(micros);
    sum_ += micros;
    squares_ += std::uint64_t{micros} * micros;
  }

  static constexpr std::int32_t kNothing = INT32_MAX;
  static constexpr std::array<std::int32_t, kSamples> nothing() noexcept {
    std::array<std::int32_t, kSamples> all{};
    for (auto& one : all) one = kNothing;
    return all;
  }

  // In front what each add() touches.
  std::uint32_t first_ = 0;
  std::uint32_t count_ = 0;
  std::uint32_t successes_ = 0;
  std::uint32_t turns_ = 0;
  std::uint64_t sum_ = 0;      // of sorted_
  std::uint64_t squares_ = 0;  // at most 32 * 2^58
  std::array<std::int32_t, kSamples> sorted_ = nothing();
  std::array<Sample, kSamples> ring_{};
};

}  // namespace mesh::coordination
