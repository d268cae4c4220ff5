// largest_remainder: an integer total in proportion to weights, nothing lost: whole parts first,
// what is left one by one to the largest remainders, ties to the lower index.
//
// Progress    O(n k) for k units left over, k < n. No allocation.
// Errors      all weights zero, shares too short, total * weight over 128 bits: false, untouched.
// Source      Hamilton's method.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace mesh::coordination {

[[nodiscard]] constexpr bool largest_remainder(std::uint64_t total,
                                               std::span<const std::uint64_t> weights,
                                               std::span<std::uint64_t> shares) noexcept {
  __extension__ using Wide = unsigned __int128;
  Wide sum = 0;
  for (const auto weight : weights) sum += weight;
  if (sum == 0 || shares.size() < weights.size()) return false;
  std::uint64_t given = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    shares[i] = static_cast<std::uint64_t>(static_cast<Wide>(total) * weights[i] / sum);
    given += shares[i];
  }
  const auto whole = [&](std::size_t i) { return static_cast<Wide>(total) * weights[i] / sum; };
  for (std::uint64_t left = total - given; left > 0; --left) {
    std::size_t best = weights.size();
    Wide best_remainder = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const bool had_one = static_cast<Wide>(shares[i]) > whole(i);
      const Wide remainder = static_cast<Wide>(total) * weights[i] % sum;
      if (!had_one && (best == weights.size() || remainder > best_remainder)) {
        best = i;
        best_remainder = remainder;
      }
    }
    ++shares[best];
  }
  return true;
}

}  // namespace mesh::coordination
