// SlidingRate: failures among calls in a sliding window, estimated from two fixed ones.
//
// Callers     one thread.  Progress  wait-free.  Cost  add: a compare and two additions.
// Source      the estimate prev * (1 - fraction) + cur (Cloudflare 2017).
#pragma once

#include <cstdint>

#include "engine/coordination/blocks/state_codec.hpp"
#include "engine/coordination/blocks/window_counter.hpp"

namespace mesh::coordination {

class SlidingRate {
 public:
  explicit SlidingRate(std::int64_t window_ns = 1) noexcept
      : window_ns_(window_ns), end_ns_(window_ns) {}

  void add(std::int64_t now_ns, std::uint64_t total, std::uint64_t failed) noexcept {
    roll(now_ns);
    total_ += total;
    failed_ += failed;
  }
  void roll(std::int64_t now_ns) noexcept {
    if (now_ns < end_ns_) return;
    const bool next = now_ns - end_ns_ < window_ns_;
    previous_total_ = next ? total_ : 0;
    previous_failed_ = next ? failed_ : 0;
    total_ = failed_ = 0;
    end_ns_ = (now_ns / window_ns_ + 1) * window_ns_;
  }
  [[nodiscard]] double total(std::int64_t now_ns) noexcept {
    roll(now_ns);
    return estimate(previous_total_, total_, now_ns);
  }
  // Of nothing: 0.
  [[nodiscard]] double failure_rate(std::int64_t now_ns) noexcept {
    const double all = total(now_ns);
    return all > 0 ? estimate(previous_failed_, failed_, now_ns) / all : 0;
  }

  void save(StateWriter& writer) const {
    for (const auto count : {previous_total_, previous_failed_, total_, failed_}) writer.put(count);
    writer.put(end_ns_);
  }
  void load(StateReader& reader) {
    for (auto* count : {&previous_total_, &previous_failed_, &total_, &failed_}) reader.get(*count);
    reader.get(end_ns_);
    if (end_ns_ < window_ns_) reader.fail();
  }

 private:
  [[nodiscard]] double estimate(std::uint64_t previous, std::uint64_t current,
                                std::int64_t now_ns) const noexcept {
    const double into = 1 - static_cast<double>(end_ns_ - now_ns) / static_cast<double>(window_ns_);
    return sliding_estimate(static_cast<double>(previous), static_cast<double>(current), into);
  }

  std::int64_t window_ns_;
  std::int64_t end_ns_;  // of the current fixed window
  std::uint64_t previous_total_ = 0;
  std::uint64_t previous_failed_ = 0;
  std::uint64_t total_ = 0;
  std::uint64_t failed_ = 0;
};

}  // namespace mesh::coordination
