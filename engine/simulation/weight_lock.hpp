// WeightLock: what each agent is taken to cost, as it says itself; and, where too many change what
// they say at once in one direction, what they said some time before, for a while. A timing attack
// is that: impedances changing together, so that traffic goes where the attacker wants it.
//
// Callers     one thread.
// Cost        say: O(1). close_period: O(agents).
// Units       any; Nanos of the caller's clock.
// Limits      what changes over longer than kPeriodsKept periods is believed.
// Source      exponentially weighted mean, a fifth for the newest.
#pragma once

#include <cstdint>
#include <vector>

#include "shm/base/nanos.hpp"

namespace mesh::engine::simulation {

class WeightLock {
 public:
  struct Options {
    bool is_on = true;
    double share = 0.1;  // of the agents
    double factor = 2;   // a change by so much
    Nanos locked_for{60 * kNsPerSecond};
  };
  static constexpr std::uint32_t kPeriodsKept = 20;

  WeightLock(std::uint32_t agents, const Options& options)
      : options_(options), said_(agents, kUnknown), good_(said_), next_(said_) {}

  void say(std::uint32_t agent, double cost) noexcept {
    double& its = said_[agent];
    its = its == kUnknown ? cost : its + kNewest * (cost - its);
  }
  // Compares what is said with what was said at least kPeriodsKept before.
  void close_period(std::int64_t now_ns) noexcept {
    if (is_locked(now_ns)) return;
    std::uint32_t down = 0;
    std::uint32_t up = 0;
    for (std::size_t i = 0; i < said_.size(); ++i) {
      if (good_[i] == kUnknown) continue;
      down += said_[i] * options_.factor < good_[i] ? 1U : 0U;
      up += said_[i] > good_[i] * options_.factor ? 1U : 0U;
    }
    const double limit = options_.share * static_cast<double>(said_.size());
    const bool is_attack = static_cast<double>(down) > limit || static_cast<double>(up) > limit;
    if (options_.is_on && is_attack) {
      until_ns_ = now_ns + options_.locked_for.count();
      ++locks_;
    }
    if (is_attack || ++periods_ % kPeriodsKept != 0) return;
    good_ = next_;
    next_ = said_;
  }
  // Of one that has said nothing yet: nothing.
  [[nodiscard]] double weight(std::uint32_t agent, std::int64_t now_ns) const noexcept {
    const double its = is_locked(now_ns) ? good_[agent] : said_[agent];
    return its == kUnknown ? 0 : its;
  }
  [[nodiscard]] bool is_locked(std::int64_t now_ns) const noexcept { return now_ns < until_ns_; }
  [[nodiscard]] std::uint64_t locks() const noexcept { return locks_; }

 private:
  static constexpr double kNewest = 0.2;
  static constexpr double kUnknown = -1;
  Options options_;
  std::vector<double> said_;
  std::vector<double> good_;
  std::vector<double> next_;
  std::uint64_t periods_ = 0;
  std::int64_t until_ns_ = 0;
  std::uint64_t locks_ = 0;
};

}  // namespace mesh::engine::simulation
