// Random values from integers alone: the same on every machine, compiler and libm.
//
// A uniform draw is 64 bits of a hash of who it is for (population.hpp); these functions turn it
// into what it stands for, by tables and integer arithmetic.
//
// Callers     any thread; pure functions.
// Cost        nanoseconds. No allocation.
// Units       deviations and exponents in 2^-20 (kTableOne is one); shares in millionths.
// Error       normal_of: 2^-20 at the tables' points; between them a draw's place in the
//             distribution is right to 1e-4; cut off at 4.5 deviations. scaled_by_exp: 2e-6 of the
//             value. log_deviation_of: 1e-4, for coefficients of variation up to 2.
#pragma once

#include <cstdint>

namespace mesh::engine::simulation {

inline constexpr std::int64_t kTableOne = std::int64_t{1} << 20;
inline constexpr std::int64_t kScaledMax = std::int64_t{1} << 60;

// A draw of the normal distribution with mean 0 and deviation 1.
[[nodiscard]] std::int64_t normal_of(std::uint64_t bits) noexcept;

// value * e^exponent, value >= 0; at most kScaledMax.
[[nodiscard]] std::int64_t scaled_by_exp(std::int64_t value, std::int64_t exponent) noexcept;

// Deviation of the logarithm of a log-normal value whose coefficient of variation is so many
// millionths: sqrt(ln(1 + cv^2)).
[[nodiscard]] std::int64_t log_deviation_of(std::int64_t ppm) noexcept;

// Uniform in [low, high], high >= low.
[[nodiscard]] constexpr std::int64_t uniform_of(std::uint64_t bits, std::int64_t low,
                                                std::int64_t high) noexcept {
  __extension__ using Product = unsigned __int128;
  const auto range = static_cast<std::uint64_t>(high - low) + 1;
  return low + static_cast<std::int64_t>(static_cast<Product>(bits) * range >> 64);
}
// True for so many millionths of all draws.
[[nodiscard]] constexpr bool is_within(std::uint64_t bits, std::int64_t ppm) noexcept {
  return uniform_of(bits, 0, 999'999) < ppm;
}

}  // namespace mesh::engine::simulation
