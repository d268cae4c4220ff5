// LockMode: what a lock allows others: the modes, which of them stand together, and what two of
// one owner become.
//
//        IS IX  S SIX  U  X
//   IS    1  1  1  1   1  0      symmetric: it does not matter who came first
//   IX    1  1  0  0   0  0
//   S     1  0  1  0   1  0
//   SIX   1  0  0  0   0  0
//   U     1  0  1  0   0  0      read now, write perhaps: of two readers only one means to write
//   X     0  0  0  0   0  0
//
// Source      Gray, Lorie, Putzolu & Traiger 1976; U as in System R's successors, made symmetric.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mesh::coordination {

enum class LockMode : std::uint8_t { none, is, ix, s, six, u, x };
constexpr LockMode last_of(LockMode) noexcept { return LockMode::x; }
inline constexpr std::size_t kLockModes = 7;

[[nodiscard]] constexpr std::string_view to_string(LockMode mode) noexcept {
  constexpr std::array<std::string_view, kLockModes> kNames{"none", "IS", "IX", "S",
                                                            "SIX",  "U",  "X"};
  const auto index = static_cast<std::size_t>(mode);
  return index < kNames.size() ? kNames[index] : "unknown";
}

// Sets of modes, a bit each.
using LockModes = std::uint8_t;
[[nodiscard]] constexpr LockModes bit_of(LockMode mode) noexcept {
  return static_cast<LockModes>(1U << static_cast<unsigned>(mode));
}
[[nodiscard]] constexpr LockModes compatible_with(LockMode mode) noexcept {
  constexpr std::array<LockModes, kLockModes> kRows{
      0x7F,         // none
      0b0111'1111,  // IS: all but X
      0b0000'0111,  // IX: IS, IX
      0b0010'1011,  // S: IS, S, U
      0b0000'0011,  // SIX: IS
      0b0000'1011,  // U: IS, S
      0b0000'0001,  // X
  };
  return static_cast<LockModes>(kRows[static_cast<std::size_t>(mode)] &
                                (mode == LockMode::is ? 0x3F : 0x7F));
}
[[nodiscard]] constexpr bool compatible(LockMode a, LockMode b) noexcept {
  return (compatible_with(a) & bit_of(b)) != 0;
}
[[nodiscard]] constexpr bool compatible(LockMode a, LockModes all) noexcept {
  return (all & static_cast<LockModes>(~compatible_with(a))) == 0;
}

// The weakest mode that allows others no more than either does.
[[nodiscard]] constexpr LockMode supremum(LockMode a, LockMode b) noexcept {
  const auto has = [&](LockMode mode) { return a == mode || b == mode; };
  if (has(LockMode::x)) return LockMode::x;
  const bool reads = has(LockMode::s) || has(LockMode::u);
  if (has(LockMode::six) || (has(LockMode::ix) && reads)) return LockMode::six;
  if (has(LockMode::u)) return LockMode::u;
  if (has(LockMode::s)) return LockMode::s;
  if (has(LockMode::ix)) return LockMode::ix;
  return has(LockMode::is) ? LockMode::is : LockMode::none;
}
[[nodiscard]] constexpr bool covers(LockMode held, LockMode wanted) noexcept {
  return supremum(held, wanted) == held;
}
// What a lock in this mode needs on everything above it.
[[nodiscard]] constexpr LockMode intention_of(LockMode mode) noexcept {
  return mode == LockMode::is || mode == LockMode::s ? LockMode::is : LockMode::ix;
}
// Those that protect data carry a fencing token.
[[nodiscard]] constexpr bool is_data(LockMode mode) noexcept {
  return mode == LockMode::s || mode == LockMode::six || mode == LockMode::u || mode == LockMode::x;
}

}  // namespace mesh::coordination
