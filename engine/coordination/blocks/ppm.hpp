// Shares in parts of a million: how configurations, views and events say them.
#pragma once

#include <cstdint>

namespace mesh::coordination {

inline constexpr std::uint64_t kPpm = 1'000'000;

// Of 0..1; rounded to the nearest.
[[nodiscard]] constexpr std::uint32_t ppm_of(double share) noexcept {
  return static_cast<std::uint32_t>(share * 1e6 + 0.5);
}

}  // namespace mesh::coordination
