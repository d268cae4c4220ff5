// hash_chain: records that each carry a hash over the one before them: one that is edited, missing,
// doubled or moved is found by whoever walks the chain.
//
// Callers     any thread; pure functions.
// Cost        SHA-256 of what is given, about 4 ns a byte where the CPU does not help. No
//             allocation.
// Guarantees  chain_on covers the hash before, the new position as eight bytes, little-endian, and
//             the body: the chain of engine/store, whose records are bodies here.
// Source      FIPS 180-4, by libsodium; linked time-stamps: Haber & Stornetta 1991.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace mesh::coordination {

using Digest = std::array<std::byte, 32>;
[[nodiscard]] Digest sha256(std::span<const std::byte> bytes) noexcept;

// The last record of a chain; position 0 and a digest of zeros: there is none yet.
struct ChainEnd {
  std::uint64_t position = 0;
  Digest digest{};
  friend bool operator==(const ChainEnd&, const ChainEnd&) = default;
};
[[nodiscard]] ChainEnd chain_on(const ChainEnd& previous, std::span<const std::byte> body) noexcept;

}  // namespace mesh::coordination
