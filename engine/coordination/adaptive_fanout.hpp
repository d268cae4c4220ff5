// AdaptiveFanout: to how many a message is to be sent so that all get it with a stated chance, and
// a correction by what is seen. ExtremaEstimate: how many there are, from minima alone.
//
// Callers     one thread.  Cost  two logarithms a question.
// Units       c = -ln(-ln(chance that all are reached)). Shares in 0..1.
// Source      Erdos & Renyi by way of Kermarrec, Massoulie & Ganesh 2003: ln N + c; extrema
//             propagation: Baquero, Almeida & Menezes 2009.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::coordination {

[[nodiscard]] inline double all_reached_chance(double c) noexcept {
  return std::exp(-std::exp(-c));
}
// Of a chance within 0..1, both left out.
[[nodiscard]] inline double fanout_constant(double chance) noexcept {
  return -std::log(-std::log(chance));
}
[[nodiscard]] inline std::uint32_t fanout_for(std::uint64_t members, double c,
                                              double loss) noexcept {
  const double n = static_cast<double>(std::max<std::uint64_t>(members, 1));
  const double wanted = std::ceil((std::log(n) + c) / (1 - std::clamp(loss, 0.0, 0.99)));
  return static_cast<std::uint32_t>(std::clamp(wanted, 1.0, 1e6));
}

struct FanoutConfig {
  double chance = 0.95;  // that all are reached
  std::uint32_t fanout_min = 2;
  std::uint32_t fanout_max = 16;
  std::uint32_t rounds = 10;  // of one window
  double duplicates_max = 0.8;
  std::uint32_t calm_windows = 3;  // in a row, before it takes one less
};

class AdaptiveFanout {
 public:
  explicit AdaptiveFanout(const FanoutConfig& config = {}) noexcept : config_(config) {}

  [[nodiscard]] std::uint32_t fanout(std::uint64_t members, double loss = 0) const noexcept {
    const double c = fanout_constant(config_.chance);
    const auto wanted = static_cast<std::int64_t>(fanout_for(members, c, loss)) + correction_;
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(
        wanted, std::int64_t{config_.fanout_min}, std::int64_t{config_.fanout_max}));
  }
  // What one round showed: of `expected` messages `received` came, and `duplicates` came again.
  void round(std::uint64_t expected, std::uint64_t received, std::uint64_t duplicates) noexcept {
    expected_ += expected;
    received_ += received;
    duplicates_ += duplicates;
    if (++round_ < config_.rounds) return;
    judge();
    round_ = 0;
    expected_ = received_ = duplicates_ = 0;
  }
  [[nodiscard]] std::int32_t correction() const noexcept { return correction_; }

  void save(StateWriter& writer) const {
    for (const auto word : {expected_, received_, duplicates_}) writer.put(word);
    writer.put(round_);
    writer.put(calm_);
    writer.put(correction_);
  }
  void load(StateReader& reader) {
    for (auto* word : {&expected_, &received_, &duplicates_}) reader.get(*word);
    reader.get(round_);
    reader.get(calm_);
    reader.get(correction_);
    if (round_ >= config_.rounds || correction_ > kFar || correction_ < -kFar) reader.fail();
  }

 private:
  static constexpr std::int32_t kFar = 64;
  void judge() noexcept {
    if (expected_ == 0) return;
    const double delivery = static_cast<double>(received_) / static_cast<double>(expected_);
    const double all = static_cast<double>(received_ + duplicates_);
    const bool is_wasteful =
        all > 0 && static_cast<double>(duplicates_) > config_.duplicates_max * all;
    if (delivery < config_.chance) {
      correction_ = std::min(correction_ + 1, kFar);
      calm_ = 0;
    } else if (!is_wasteful) {
      calm_ = 0;
    } else if (++calm_ >= config_.calm_windows) {
      correction_ = std::max(correction_ - 1, -kFar);
      calm_ = 0;
    }
  }

  FanoutConfig config_;
  std::uint64_t expected_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t duplicates_ = 0;
  std::uint32_t round_ = 0;
  std::uint32_t calm_ = 0;
  std::int32_t correction_ = 0;
};

// Each draws K exponentials; the minima of all spread by merging. N = (K - 1) / their sum, with a
// relative error of 1 / sqrt(K - 2).
class ExtremaEstimate {
 public:
  static constexpr std::size_t kDraws = 64;

  explicit ExtremaEstimate(std::uint64_t seed) noexcept {
    Rng rng(seed);
    for (double& one : minima_) one = -std::log(1 - rng.u01());
  }
  // Merging twice, or in another order, is the same.
  bool merge(const ExtremaEstimate& other) noexcept {
    bool has_changed = false;
    for (std::size_t i = 0; i < kDraws; ++i) {
      has_changed = has_changed || other.minima_[i] < minima_[i];
      minima_[i] = std::fmin(minima_[i], other.minima_[i]);
    }
    return has_changed;
  }
  [[nodiscard]] double members() const noexcept {
    double sum = 0;
    for (const double one : minima_) sum += one;
    return sum > 0 ? (kDraws - 1) / sum : 1;
  }

 private:
  std::array<double, kDraws> minima_{};
};

}  // namespace mesh::coordination
