// A governor, or several, in a closed loop with a server, in virtual time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/throttle_governor.hpp"

namespace mesh::coordination::testing {

// Poisson arrivals at the governor's rate, a server of c requests a second, 100 ms +-10 % of delay.
class ThrottleLoop {
 public:
  ThrottleLoop(std::size_t governors, std::uint64_t seed, double stagger_s) : rng_(seed) {
    ThrottleConfig config = ThrottleConfig::preset("agent-to-agent").value();
    config.initial_rate = 50.0 / static_cast<double>(governors);
    for (std::size_t i = 0; i < governors; ++i) {
      governors_.emplace_back(config);
      governors_[i].apply(throttle::SetTenant{"all"}, Nanos{0});
      ThrottleActions actions;
      governors_[i].tick(Nanos{0}, actions);
      next_.push_back(exponential(config.initial_rate) + static_cast<double>(i) * stagger_s);
    }
    waiting_.resize(governors);
  }
  void run_until(double end_s, double capacity) {
    while (now_ < end_s) {
      const auto least = std::min_element(next_.begin(), next_.end());
      const auto i = static_cast<std::size_t>(least - next_.begin());
      now_ = *least;
      while (now_ >= tick_) control();
      free_ = std::max(now_, free_) + 1 / capacity;
      const double latency = free_ - now_ + 0.1 * (0.9 + 0.2 * rng_.u01());
      waiting_[i].emplace_back(now_ + latency, latency);
      latencies.emplace_back(now_, latency);
      next_[i] = now_ + exponential(governors_[i].view().rate);
    }
  }
  double mean_rate(std::size_t i, double from_s, double to_s = 1e9) const {
    double sum = 0;
    double count = 0;
    for (const auto& [at, rates] : history) {
      if (at <= from_s || at > to_s) continue;
      sum += rates[i];
      count += 1;
    }
    return sum / count;
  }
  double p95(double from_s) const {
    std::vector<double> sorted;
    for (const auto& [at, latency] : latencies) {
      if (at > from_s) sorted.push_back(latency);
    }
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() * 95 / 100];
  }
  std::vector<std::pair<double, std::vector<double>>> history;
  std::vector<std::pair<double, double>> latencies;

 private:
  static Nanos of_seconds(double count) {
    return Nanos{static_cast<std::int64_t>(count * 1e9 + 0.5)};
  }
  double exponential(double rate) { return -std::log(1 - rng_.u01()) / rate; }
  void control() {
    std::vector<double> rates;
    for (std::size_t i = 0; i < governors_.size(); ++i) {
      std::erase_if(waiting_[i], [&](const auto& answer) {
        if (answer.first > tick_) return false;
        governors_[i].record({0, of_seconds(answer.second), true, Nanos{0}}, of_seconds(tick_));
        return true;
      });
      ThrottleActions actions;
      const double before = std::abs(governors_[i].integral());
      governors_[i].tick(of_seconds(tick_), actions);
      EXPECT_LE(std::abs(governors_[i].integral()), before + 0.05);
      rates.push_back(governors_[i].view().rate);
    }
    history.emplace_back(tick_, rates);
    tick_ += 0.5;
  }
  Rng rng_;
  std::vector<AdaptiveThrottleGovernor> governors_;
  std::vector<double> next_;
  std::vector<std::vector<std::pair<double, double>>> waiting_;
  double now_ = 0;
  double free_ = 0;
  double tick_ = 0.5;
};

}  // namespace mesh::coordination::testing
