// NameBytes: a name as it stands in shared memory, 64 bytes of one cache line.
//
// Agents and capabilities are named alike: UTF-8 (RFC 3629), 1 to 63 bytes, one line of text.
// Control characters are refused with the rest: a name is printed by consoles and logs, and must
// not be able to forge a line there.
//
// Callers     any thread; pure functions.
// Layout      byte 0: length, 1 to 63; 0: there is no name. Then the text, then zeros. Eight words,
//             so that a name is compared by eight loads; word 0 holds the length, is stored last
//             and with that commits the name (store_name).
// If the      reads a name that another process wrote: decode() refuses what check_name() would,
// other side  and what is not zero behind the text.
// lies
// Errors      check_name -> invalid_argument, with the place and the byte. It never repeats the
//             refused bytes themselves. decode -> corrupt.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "shm/base/limits.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

inline constexpr std::size_t kNameBytes = kAgentNameBytes + 1;
inline constexpr std::size_t kNameWords = kNameBytes / 8;
static_assert(kNameBytes == kCacheLine && kNameWords == 8);

struct NameBytes {
  std::array<std::uint64_t, kNameWords> words{};

  [[nodiscard]] std::size_t length() const noexcept { return length_of(words[0]); }
  // The text. Only of what encode() made or decode() accepted.
  [[nodiscard]] std::string_view view() const noexcept {
    return {reinterpret_cast<const char*>(words.data()) + 1, length()};
  }
  // Byte 0, on either byte order.
  static constexpr std::size_t length_of(std::uint64_t word_0) noexcept {
    return std::endian::native == std::endian::little ? word_0 & 0xFF : word_0 >> 56;
  }
  friend bool operator==(const NameBytes&, const NameBytes&) = default;
};

// `what` begins the sentence: "enrol an agent".
Status check_name(std::string_view what, std::string_view name);

// Of a name that check_name() accepted, or to look one up: a length that no name has gives the
// empty NameBytes, which equals none.
[[nodiscard]] inline NameBytes encode(std::string_view name) noexcept {
  NameBytes bytes;
  if (name.empty() || name.size() > kAgentNameBytes) return bytes;
  auto* const out = reinterpret_cast<unsigned char*>(bytes.words.data());
  out[0] = static_cast<unsigned char>(name.size());
  std::memcpy(out + 1, name.data(), name.size());
  return bytes;
}

// Eight words from memory, checked. `where` begins the sentence: "table agent.name row 7".
Result<NameBytes> decode(std::string_view where,
                         const std::array<std::uint64_t, kNameWords>& words);

}  // namespace mesh::engine
