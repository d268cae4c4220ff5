// Back-off: how long to wait before the next attempt.
//
// Units       whatever base and cap are in. Reals: a caller rounds once, to ns.
// Source      full and decorrelated jitter: "Exponential Backoff And Jitter", AWS 2015.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/coordination/blocks/rng.hpp"

namespace mesh::coordination {

struct BackoffConfig {
  double base = 100;
  double multiplier = 2;
  double cap = 5'000;
};

// min(cap, base * multiplier^attempt), by multiplication alone: pow() may differ by an ulp.
[[nodiscard]] constexpr double backoff_exponential(const BackoffConfig& config,
                                                   std::uint32_t attempt) noexcept {
  double wait = config.base;
  for (std::uint32_t k = 0; k < attempt && wait < config.cap; ++k) {
    if (config.multiplier <= 1) break;
    wait *= config.multiplier;
  }
  return std::min(wait, config.cap);
}
[[nodiscard]] constexpr double backoff_full_jitter(const BackoffConfig& config,
                                                   std::uint32_t attempt, Rng& rng) noexcept {
  return rng.u01() * backoff_exponential(config, attempt);
}
// `last` is the wait before, at first the base.
[[nodiscard]] constexpr double backoff_decorrelated(const BackoffConfig& config, double last,
                                                    Rng& rng) noexcept {
  return std::min(config.cap, config.base + rng.u01() * (3 * last - config.base));
}

}  // namespace mesh::coordination
