// GcraBucket: a rate and a burst in one word: the theoretical arrival time.
//
// Callers     one thread.  Progress  wait-free.  Cost  take: a few ns, no division.
// Units       the word counts 1/64 ns and wraps after 9.1 years; the interval T = round(64e9 /
//             rate), so the rate is off by at most 0.5 / T (8e-6 at a million a second).
// If          nobody takes for years: what looks ahead by more than the burst has wrapped and is
//             full.
// Errors      ask is_valid() first. take: n = 0 or n > burst can never succeed: kInvalid.
// Source      ATM Forum GCRA (1996); equal to a continuous bucket of units.
#pragma once

#include <cmath>
#include <cstdint>

#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::coordination {

enum class TakeStatus : std::uint8_t { kTaken, kRejectedRate, kInvalid };

struct TakeResult {
  TakeStatus status = TakeStatus::kTaken;
  std::int64_t retry_after_ns =
      0;  // rejected: when the same take would succeed if nobody else takes
};

class GcraBucket {
 public:
  static constexpr std::uint64_t kTicksPerSecond = 64'000'000'000;
  static constexpr std::uint64_t kTauMax = std::uint64_t{1} << 60;  // half a year of burst

  [[nodiscard]] static bool is_valid(double rate_per_s, std::uint64_t burst) noexcept {
    if (!(rate_per_s > 0) || rate_per_s > 1e9 || burst == 0) return false;
    const double tau = static_cast<double>(burst) * interval_of(rate_per_s);
    return tau >= 1 && tau < static_cast<double>(kTauMax);
  }
  // is_valid(rate, burst) must hold.
  GcraBucket(double rate_per_s, std::uint64_t burst) noexcept { set(rate_per_s, burst); }

  [[nodiscard]] TakeResult take(std::int64_t now_ns, std::uint64_t n = 1) noexcept {
    if (n == 0 || n > burst_) return {TakeStatus::kInvalid, 0};
    const std::uint64_t now = ticks(now_ns);
    const std::uint64_t ahead = ahead_of(now) + n * interval_;
    if (ahead > tau_) {
      return {TakeStatus::kRejectedRate, static_cast<std::int64_t>((ahead - tau_ + 63) / 64)};
    }
    arrival_ = now + ahead;
    return {TakeStatus::kTaken, 0};
  }
  // One, where `keep` are left after it: for what is less urgent than the others that take here.
  [[nodiscard]] TakeResult take_keeping(std::int64_t now_ns, std::uint64_t keep) noexcept {
    if (keep >= burst_) return {TakeStatus::kInvalid, 0};
    const std::uint64_t now = ticks(now_ns);
    const std::uint64_t ahead = ahead_of(now) + interval_;
    const std::uint64_t most = tau_ - keep * interval_;
    if (ahead > most) {
      return {TakeStatus::kRejectedRate, static_cast<std::int64_t>((ahead - most + 63) / 64)};
    }
    arrival_ = now + ahead;
    return {TakeStatus::kTaken, 0};
  }
  // Gives n units back; never above the burst.
  void give(std::int64_t now_ns, std::uint64_t n) noexcept {
    const std::uint64_t now = ticks(now_ns);
    const std::uint64_t ahead = ahead_of(now);
    const std::uint64_t back = n >= burst_ ? tau_ : n * interval_;
    arrival_ = now + (back >= ahead ? 0 : ahead - back);
  }
  [[nodiscard]] std::uint64_t available(std::int64_t now_ns) const noexcept {
    return (tau_ - ahead_of(ticks(now_ns))) / interval_;
  }
  // Another rate: what was spent of the burst stays spent, in units.
  void change(double rate_per_s, std::uint64_t burst, std::int64_t now_ns) noexcept {
    const std::uint64_t now = ticks(now_ns);
    const double spent = static_cast<double>(ahead_of(now)) / static_cast<double>(interval_);
    set(rate_per_s, burst);
    const double ahead = spent * static_cast<double>(interval_);
    arrival_ =
        now + (ahead >= static_cast<double>(tau_) ? tau_ : static_cast<std::uint64_t>(ahead));
  }
  void refill() noexcept { arrival_ = 0; }
  void drain(std::int64_t now_ns) noexcept { arrival_ = ticks(now_ns) + tau_; }

  [[nodiscard]] std::uint64_t interval() const noexcept { return interval_; }  // 1/64 ns
  [[nodiscard]] std::uint64_t burst() const noexcept { return burst_; }

  void save(StateWriter& writer) const {
    writer.put(interval_);
    writer.put(burst_);
    writer.put(arrival_);
  }
  void load(StateReader& reader) {
    reader.get(interval_);
    reader.get(burst_);
    reader.get(arrival_);
    if (interval_ == 0 || burst_ == 0 || burst_ > kTauMax / interval_) {
      reader.fail();
      interval_ = burst_ = 1;
    }
    tau_ = burst_ * interval_;
  }

 private:
  [[nodiscard]] static double interval_of(double rate_per_s) noexcept {
    return std::floor(static_cast<double>(kTicksPerSecond) / rate_per_s + 0.5);
  }
  [[nodiscard]] static std::uint64_t ticks(std::int64_t now_ns) noexcept {
    return static_cast<std::uint64_t>(now_ns) * 64;
  }
  [[nodiscard]] std::uint64_t ahead_of(std::uint64_t now) const noexcept {
    const std::uint64_t ahead = arrival_ - now;  // modulo 2^64
    return ahead > tau_ ? 0 : ahead;
  }
  void set(double rate_per_s, std::uint64_t burst) noexcept {
    interval_ = static_cast<std::uint64_t>(interval_of(rate_per_s));
    burst_ = burst;
    tau_ = burst_ * interval_;
  }

  std::uint64_t interval_ = 1;  // T
  std::uint64_t burst_ = 1;
  std::uint64_t tau_ = 1;      // burst * T
  std::uint64_t arrival_ = 0;  // the theoretical arrival time; at most now + tau
};

}  // namespace mesh::coordination
