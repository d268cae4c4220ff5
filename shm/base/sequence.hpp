// Sequences are 64-bit counters that may wrap; they are compared by before(), never by <.
//
// The wrap-around argument, once: two live sequences of one structure are never further apart than
// its capacity (at most 2^17), so their difference modulo 2^64, read as a signed number, has the
// sign of their order wherever the counter stands. At 10^9 a second a counter from 0 needs 584
// years to wrap; tests start just below 2^64.
#pragma once

#include <cstdint>

namespace mesh {

constexpr std::int64_t distance(std::uint64_t from, std::uint64_t to) noexcept {
  return static_cast<std::int64_t>(to - from);
}
constexpr bool before(std::uint64_t a, std::uint64_t b) noexcept { return distance(a, b) > 0; }

}  // namespace mesh
