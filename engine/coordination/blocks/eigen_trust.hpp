// eigen_trust: how far each rater is to be trusted, from who trusts whom: a group that praises
// itself and that nobody trusted vouches for gets nothing.
//
// Units       ratings[i * n + j]: how far i trusts j, >= 0, any scale. Result: shares, sum 1.
//             Rater 0 is the one who asks, and the one that is trusted beforehand.
// Cost        O(n^2) a round, at most 64 rounds.
// Source      Kamvar, Schlosser & Garcia-Molina 2003 (basic EigenTrust, a = 0.15).
#pragma once

#include <cmath>
#include <cstddef>
#include <span>

namespace mesh::coordination {

// `trust` and `scratch` have n places each.
inline void eigen_trust(std::span<const double> ratings, std::span<double> trust,
                        std::span<double> scratch) noexcept {
  constexpr double kPretrusted = 0.15;
  constexpr int kRounds = 64;
  const std::size_t n = trust.size();
  for (std::size_t i = 0; i < n; ++i) trust[i] = i == 0 ? 1 : 0;
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t j = 0; j < n; ++j) scratch[j] = j == 0 ? kPretrusted : 0;
    for (std::size_t i = 0; i < n; ++i) {
      double sum = 0;
      for (std::size_t j = 0; j < n; ++j) sum += ratings[i * n + j];
      const double given = (1 - kPretrusted) * trust[i];
      if (sum <= 0) {
        scratch[0] += given;  // who trusts nobody leaves it to the one who asks
        continue;
      }
      for (std::size_t j = 0; j < n; ++j) scratch[j] += given * ratings[i * n + j] / sum;
    }
    double change = 0;
    for (std::size_t j = 0; j < n; ++j) {
      change += std::abs(scratch[j] - trust[j]);
      trust[j] = scratch[j];
    }
    if (change < 1e-12) return;
  }
}

}  // namespace mesh::coordination
