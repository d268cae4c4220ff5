// reject_probability: a client's alternative to a breaker's two answers: the more of what it asks
// is not accepted, the more it refuses by itself. BreakerGroup: of many breakers never all are
// open.
//
// Progress    wait-free; BreakerGroup::select O(n log n), without allocation after construction.
// Source      adaptive throttling: Site Reliability Engineering (2016), "Handling Overload"; limit
//             of ejections and panic: Envoy outlier detection.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/coordination/blocks/ppm.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/window_counter.hpp"

namespace mesh::coordination {

// max(0, (requests - k accepts) / (requests + 1)).
[[nodiscard]] constexpr double reject_probability(double requests, double accepts,
                                                  double k) noexcept {
  const double over = (requests - k * accepts) / (requests + 1);
  return over > 0 ? over : 0;
}

class ClientThrottle {
 public:
  ClientThrottle(double k, Nanos window, std::uint64_t seed)
      : k_(k), asked_(window.count(), 10), rng_(seed) {}

  // False: refuse it here. Refused ones count as requests: that is what keeps the share right.
  [[nodiscard]] bool should_send(Nanos now) noexcept {
    const WindowTotals& sum = asked_.totals(now.count());
    const auto accepts = static_cast<double>(sum.total - sum.failed);
    const bool send = rng_.u01() >= reject_probability(static_cast<double>(sum.total), accepts, k_);
    if (!send) asked_.add(now.count(), true);
    return send;
  }
  void record(bool accepted, Nanos now) noexcept { asked_.add(now.count(), !accepted); }

 private:
  double k_;
  WindowCounter asked_;  // requests; failed: those that were not accepted
  Rng rng_;
};

struct BreakerScore {
  bool is_open = false;
  std::uint32_t failure_ppm = 0;
};

class BreakerGroup {
 public:
  BreakerGroup(std::size_t size, std::uint32_t max_open_ppm = 300'000,
               std::uint32_t panic_ppm = 500'000)
      : max_open_ppm_(max_open_ppm), panic_ppm_(panic_ppm), ejected_(size), order_(size) {}

  // Which of the open ones stay out: the worst, as many as the limit allows, ties to the lower
  // index. More than panic_ppm of them open: something else is wrong, and nobody is out.
  void select(std::span<const BreakerScore> scores) noexcept {
    const std::size_t size = std::min(scores.size(), ejected_.size());
    std::size_t open = 0;
    for (std::size_t i = 0; i < size; ++i) {
      ejected_[i] = 0;
      if (scores[i].is_open) order_[open++] = static_cast<std::uint32_t>(i);
    }
    panic_ = open * kPpm > size * panic_ppm_;
    if (panic_) return;
    std::sort(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(open),
              [&](std::uint32_t a, std::uint32_t b) {
                const auto worse = [&](std::uint32_t i) { return scores[i].failure_ppm; };
                return worse(a) != worse(b) ? worse(a) > worse(b) : a < b;
              });
    const std::size_t out = std::min(open, size * max_open_ppm_ / kPpm);
    for (std::size_t i = 0; i < out; ++i) ejected_[order_[i]] = 1;
  }
  [[nodiscard]] bool is_ejected(std::size_t index) const noexcept { return ejected_[index] != 0; }
  [[nodiscard]] bool in_panic() const noexcept { return panic_; }

 private:
  std::size_t max_open_ppm_;
  std::size_t panic_ppm_;
  bool panic_ = false;
  std::vector<std::uint8_t> ejected_;
  std::vector<std::uint32_t> order_;
};

}  // namespace mesh::coordination
