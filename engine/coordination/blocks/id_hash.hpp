// IdHash: 128 bits of XXH3 in place of a name: what sets of ids hold, so that an id costs 16 bytes
// however long it is. Two of a million million million names share one with a chance of 1e-3.
#pragma once

#include <compare>
#include <cstdint>
#include <string_view>

#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::coordination {

struct IdHash {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend auto operator<=>(const IdHash&, const IdHash&) = default;

  void save(StateWriter& writer) const {
    writer.put(low);
    writer.put(high);
  }
  void load(StateReader& reader) {
    reader.get(low);
    reader.get(high);
  }
};

[[nodiscard]] IdHash hash_of(std::string_view id) noexcept;
// The same bits for the same pair: a producer's number and its sequence, a lane and a worker.
[[nodiscard]] IdHash hash_of(std::uint64_t a, std::uint64_t b) noexcept;
// Of numbers that are given out one after another: sixteen in a row stand together in an IdTable,
// so that the next is in a line that the last one has fetched.
[[nodiscard]] inline IdHash hash_of_serial(std::uint64_t number) noexcept {
  const std::uint64_t block = number >> 4;
  const std::uint64_t mixed = (block ^ block >> 32) * 0x9E37'79B9'7F4A'7C15U;
  return {(mixed ^ mixed >> 29) << 4 | (number & 15), number};
}

}  // namespace mesh::coordination
