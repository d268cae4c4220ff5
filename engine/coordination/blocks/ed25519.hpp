// Ed25519: signatures that a third party can check (RFC 8032), by libsodium.
//
// Callers     any thread.  Progress  wait-free.
// Cost        sign 20 us, verify 50 us. No allocation.
// Ordering    deterministic: the same seed and message give the same signature, on every CPU.
// If the      key or signature is input: what is no point of the curve, or one of small order,
// other side  verifies nothing.
// lies
// Source      Bernstein, Duif, Lange, Schwabe & Yang 2011; RFC 8032.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace mesh::coordination {

using PublicKey = std::array<std::uint8_t, 32>;
using KeySeed = std::array<std::uint8_t, 32>;
inline constexpr std::size_t kSignatureBytes = 64;
using Signature = std::array<std::uint8_t, kSignatureBytes>;

struct KeyPair {
  PublicKey open{};
  std::array<std::uint8_t, 64> secret{};
};

[[nodiscard]] KeyPair key_pair_of(const KeySeed& seed) noexcept;
// False: no signature of it can be good.
[[nodiscard]] bool is_public_key(const PublicKey& key) noexcept;
[[nodiscard]] Signature sign(const KeyPair& keys, std::span<const std::uint8_t> message) noexcept;
[[nodiscard]] bool is_signed(const PublicKey& key, std::span<const std::uint8_t> message,
                             std::span<const std::uint8_t, kSignatureBytes> signature) noexcept;

}  // namespace mesh::coordination
