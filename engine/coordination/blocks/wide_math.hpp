// Amount, and arithmetic whose intermediate results do not fit 128 bits: products, quotients and
// roots of up to 512 bits, powers in Q64.64 with a known error. The same on every CPU: no floating
// point.
//
// Callers     one thread.  Progress  wait-free.  Cost  mul_div: 20 ns where the product fits 128
//             bits, else about 2 us; root: 5 us; power: 20 us. No allocation.
// Units       amounts in base units, below 2^96 (kAmountMax) wherever they are stored.
// Errors      a result above 128 bits: fits is false, and the value is to be thrown away.
// Source      log2 by repeated squaring, exp2 by the square roots of 2 (Knuth, TAOCP 1.2.2).
#pragma once

#include <compare>
#include <cstdint>

namespace mesh::coordination {

__extension__ using U128 = unsigned __int128;

inline constexpr U128 kAmountMax = (U128{1} << 96) - 1;

// How an amount stands in a command, a reply and a snapshot.
struct Amount {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const Amount&, const Amount&) = default;
};
[[nodiscard]] constexpr U128 wide(const Amount& amount) noexcept {
  return U128{amount.high} << 64 | amount.low;
}
[[nodiscard]] constexpr Amount amount_of(U128 value) noexcept {
  return {static_cast<std::uint64_t>(value), static_cast<std::uint64_t>(value >> 64)};
}

enum class Rounding : std::uint8_t { down, up };
struct WideResult {
  U128 value = 0;
  bool fits = true;
};

// a * b / c; c is not 0.
[[nodiscard]] WideResult mul_div(U128 a, U128 b, U128 c, Rounding rounding) noexcept;
// The largest r with r * r <= a * b.
[[nodiscard]] U128 root_of_product(U128 a, U128 b) noexcept;
// The largest r with r^degree <= s^degree * (r1 + more) / r1: how far a supply s goes when a
// reserve r1 grows by `more`. degree 2 or 3; all below 2^97.
[[nodiscard]] U128 grown(U128 s, U128 r1, U128 more, unsigned degree) noexcept;
// r * ((s + t)^degree - s^degree) / s^degree, up: what t more of s cost.
[[nodiscard]] WideResult cost_of_growth(U128 s, U128 r, U128 t, unsigned degree) noexcept;
// r * (s^degree - (s - t)^degree) / s^degree, down; t <= s.
[[nodiscard]] U128 worth_of_shrinking(U128 s, U128 r, U128 t, unsigned degree) noexcept;

// (a / b)^(num / den) in Q64.64, for a >= b > 0; relative error below 2^-56 for num / den <= 16.
// fits is false from 2^60 on.
[[nodiscard]] WideResult power_q64(U128 a, U128 b, std::uint32_t num, std::uint32_t den) noexcept;

}  // namespace mesh::coordination
