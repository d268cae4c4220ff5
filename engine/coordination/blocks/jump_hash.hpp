// jump_hash: which of n buckets a key belongs to; of 16 -> 17 buckets only 1/17 of the keys move.
//
// Progress    wait-free, O(log n). n below 1 is taken as 1.
// Source      Lamping & Veach 2014.
#pragma once

#include <cstdint>

namespace mesh::coordination {

[[nodiscard]] constexpr std::uint32_t jump_hash(std::uint64_t key, std::uint32_t n) noexcept {
  std::int64_t bucket = -1;
  std::int64_t next = 0;
  const std::int64_t count = n == 0 ? 1 : n;
  while (next < count) {
    bucket = next;
    key = key * 2'862'933'555'777'941'757U + 1;
    next = static_cast<std::int64_t>(static_cast<double>(bucket + 1) *
                                     (0x1p31 / static_cast<double>((key >> 33) + 1)));
  }
  return static_cast<std::uint32_t>(bucket);
}

}  // namespace mesh::coordination
