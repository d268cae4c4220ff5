// CreditPool: units granted to stations ahead of time, so that a hot path spends without a round
// trip. CreditPurse: a station's side of it.
//
// Two kinds. Rate credit is taken from a bucket when it is granted and lapses unspent. Level credit
// (permits, claims) stands for things: what has not been spent comes back when it expires.
//
// Callers     the pool: the service's thread. The purse: the station's thread.
// Progress    wait-free. Purse: spend is plain arithmetic, 5 ns; without credit it says so at once.
// If the      station dies: give_back(station) at once, or its credit lapses; nobody waits for it.
// other side  A stalled thread can overrun its credit by one operation: it checks the instant, then
// dies        spends.
// Invariant   granted == spent + lapsed + returned + live, after every call.
//             In any window w: admissions <= rate * (w + expiry) + burst.
// Errors      validate -> Errc::invalid_config. want: 0 granted when there is none, or no room for
//             a grant (grants_max).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/coordination/blocks/gcra_bucket.hpp"
#include "engine/coordination/blocks/state_codec.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

enum class CreditKind : std::uint8_t { rate, level };

struct CreditConfig {
  CreditKind kind = CreditKind::rate;
  double rate_per_s = 1'000;  // rate credit only
  std::uint64_t burst = 100;  // level credit: how many there are
  std::int64_t horizon_ns = 10'000'000;
  std::int64_t expiry_ns = 20'000'000;
  std::uint32_t share_ppm_max = 250'000;  // of the burst, for one station
  std::uint32_t grants_max = 1'024;       // live at once
};

struct Grant {
  std::uint64_t granted = 0;
  std::int64_t expires_ns = 0;
};

struct CreditAudit {
  std::uint64_t granted = 0;
  std::uint64_t spent = 0;
  std::uint64_t lapsed = 0;
  std::uint64_t returned = 0;
  std::uint64_t live = 0;
  [[nodiscard]] bool is_balanced() const noexcept {
    return granted == spent + lapsed + returned + live;
  }
};

class CreditPool {
 public:
  [[nodiscard]] static Status validate(const CreditConfig& config);
  // The config must be valid.
  explicit CreditPool(const CreditConfig& config);

  // not_after_ns: where what it stands for ends earlier than the credit would.
  [[nodiscard]] Grant want(std::uint32_t station, std::uint64_t n, std::int64_t now_ns,
                           std::int64_t not_after_ns = INT64_MAX) noexcept;
  // What a station reports to have spent: from its oldest credit, never from what has expired.
  std::uint64_t spend(std::uint32_t station, std::uint64_t n, std::int64_t now_ns) noexcept;
  std::uint64_t give_back(std::uint32_t station, std::int64_t now_ns) noexcept;
  // One that is admitted here and now, without a grant: from the same bucket.
  [[nodiscard]] TakeResult take(std::int64_t now_ns, std::uint64_t n = 1) noexcept {
    return bucket_.take(now_ns, n);
  }
  // The same, where this share of the burst is left after it.
  [[nodiscard]] TakeResult take_keeping(std::int64_t now_ns, std::uint32_t keep_ppm) noexcept {
    const double keep = static_cast<double>(bucket_.burst()) * keep_ppm * 1e-6;
    return bucket_.take_keeping(now_ns, static_cast<std::uint64_t>(keep));
  }
  // Level credit that was spent and is over: the thing is free again.
  void release(std::uint64_t n) noexcept;
  // As new, at the rate that it has: whom it served is gone.
  void restart() noexcept;
  // Every grant lapses at once: an epoch has ended.
  void void_all(std::int64_t now_ns) noexcept;
  void tick(std::int64_t now_ns) noexcept;
  void drain(std::int64_t now_ns) noexcept { bucket_.drain(now_ns); }  // of rate credit: none left
  void change_rate(double rate_per_s, std::uint64_t burst, std::int64_t now_ns) noexcept;
  // Of rate credit: so many are left now, the burst at the most; what was part of one is gone.
  void leave(std::uint64_t n, std::int64_t now_ns) noexcept {
    bucket_.drain(now_ns);
    bucket_.give(now_ns, n);
  }
  [[nodiscard]] std::uint64_t burst() const noexcept { return config_.burst; }

  [[nodiscard]] std::uint64_t available(std::int64_t now_ns) const noexcept;
  [[nodiscard]] CreditAudit audit() const noexcept;
  // How much a station that uses `demand_per_s` should ask for.
  [[nodiscard]] std::uint64_t suggested(double demand_per_s) const noexcept {
    const double over = demand_per_s * static_cast<double>(config_.horizon_ns) * 1e-9;
    return over > 1 ? static_cast<std::uint64_t>(over) : 1;
  }

  void save(StateWriter& writer) const;
  void load(StateReader& reader);

 private:
  struct Live {
    std::uint32_t station = 0;
    std::uint64_t left = 0;
    std::int64_t expires_ns = 0;
  };
  void take_back(std::uint64_t n, std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint64_t share_max() const noexcept;

  CreditConfig config_;
  GcraBucket bucket_;
  std::uint64_t level_free_ = 0;
  CreditAudit sums_;        // live is computed
  std::vector<Live> live_;  // by age; never more than grants_max
};

// A station's credit: the grants it holds, oldest first.
class CreditPurse {
 public:
  static constexpr std::size_t kGrants = 4;

  void add(const Grant& grant) noexcept {
    if (grant.granted == 0) return;
    if (count_ == kGrants) drop_first();
    grants_[count_++] = grant;
  }
  // True: one unit is spent. False: no credit at this instant.
  [[nodiscard]] bool spend(std::int64_t now_ns) noexcept {
    while (count_ != 0) {
      Grant& first = grants_[0];
      if (first.granted != 0 && now_ns < first.expires_ns) [[likely]] {
        --first.granted;
        ++spent_;
        return true;
      }
      drop_first();
    }
    return false;
  }
  [[nodiscard]] std::uint64_t left(std::int64_t now_ns) const noexcept {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      if (now_ns < grants_[i].expires_ns) sum += grants_[i].granted;
    }
    return sum;
  }
  // What the next command reports; then it starts from 0.
  std::uint64_t take_report() noexcept { return std::exchange(spent_, 0); }
  void clear() noexcept { count_ = 0; }

 private:
  void drop_first() noexcept {
    std::move(grants_.begin() + 1, grants_.begin() + static_cast<std::ptrdiff_t>(count_),
              grants_.begin());
    --count_;
  }

  std::array<Grant, kGrants> grants_{};
  std::size_t count_ = 0;
  std::uint64_t spent_ = 0;
};

}  // namespace mesh::coordination
