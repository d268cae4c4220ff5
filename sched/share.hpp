// Share: a proportion as a whole number of millionths, so that a threshold is met or not met and
// never nearly.
//
// 0.95 has no exact double: 95 / 100 >= 0.95 holds by luck, and 1 - 0.05 >= 0.95 would not. Here
// both sides are integers: count * 1,000,000 >= ppm * total, in 64 bits, exact for every u32.
//
// Callers     anyone; plain values and pure functions.
// Units       millionths (ppm). A threshold is kept to six decimals.
// Errors      make_share -> invalid_argument: not a number, below 0 or above 1.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "shm/base/assert.hpp"
#include "shm/base/result.hpp"

namespace mesh::sched {

inline constexpr std::uint32_t kShareOne = 1'000'000;

struct Share {
  std::uint32_t ppm = 0;
  friend constexpr bool operator==(Share, Share) = default;
};

// From configuration, where people write 0.95.
[[nodiscard]] inline Result<Share> make_share(double value) {
  if (!(value >= 0 && value <= 1)) {
    return fail(Errc::invalid_argument,
                "share: " + std::to_string(value) + " is not a proportion from 0 to 1");
  }
  return Share{static_cast<std::uint32_t>(std::llround(value * kShareOne))};
}

// count / total >= share. Of nothing there is no share: ask only with total > 0.
constexpr bool is_at_least(std::uint32_t count, std::uint64_t total, Share share) noexcept {
  MESH_DCHECK(total > 0);
  MESH_DCHECK(total <= UINT64_MAX / kShareOne);
  return std::uint64_t{count} * kShareOne >= share.ppm * total;
}
// count / total <= share.
constexpr bool is_at_most(std::uint32_t count, std::uint64_t total, Share share) noexcept {
  MESH_DCHECK(total > 0);
  MESH_DCHECK(total <= UINT64_MAX / kShareOne);
  return std::uint64_t{count} * kShareOne <= share.ppm * total;
}

// Nearest rank: which of `total` sorted samples is this quantile, from 1. Element ceil(share * n).
constexpr std::uint32_t rank_of(Share share, std::uint32_t total) noexcept {
  const std::uint64_t rank = (std::uint64_t{share.ppm} * total + kShareOne - 1) / kShareOne;
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(rank, 1, std::max<std::uint32_t>(total, 1)));
}

// For people; nothing is decided by it. Of nothing: 0.
constexpr double rate(std::uint32_t count, std::uint64_t total) noexcept {
  return total == 0 ? 0 : static_cast<double>(count) / static_cast<double>(total);
}

}  // namespace mesh::sched
