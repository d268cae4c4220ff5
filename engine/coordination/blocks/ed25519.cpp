#include "engine/coordination/blocks/ed25519.hpp"

#include <sodium/core.h>
#include <sodium/crypto_core_ed25519.h>
#include <sodium/crypto_sign_ed25519.h>

namespace mesh::coordination {
namespace {

// Chooses the fastest code for this CPU, once; what it chooses computes the same.
void choose_code() noexcept {
  static const int chosen = sodium_init();
  static_cast<void>(chosen);
}

}  // namespace

static_assert(crypto_sign_ed25519_SEEDBYTES == sizeof(KeySeed));
static_assert(crypto_sign_ed25519_PUBLICKEYBYTES == sizeof(PublicKey));
static_assert(crypto_sign_ed25519_SECRETKEYBYTES == sizeof(KeyPair::secret));
static_assert(crypto_sign_ed25519_BYTES == kSignatureBytes);

KeyPair key_pair_of(const KeySeed& seed) noexcept {
  choose_code();
  KeyPair keys;
  crypto_sign_ed25519_seed_keypair(keys.open.data(), keys.secret.data(), seed.data());
  return keys;
}

bool is_public_key(const PublicKey& key) noexcept {
  choose_code();
  return crypto_core_ed25519_is_valid_point(key.data()) == 1;
}

Signature sign(const KeyPair& keys, std::span<const std::uint8_t> message) noexcept {
  Signature signature{};
  crypto_sign_ed25519_detached(signature.data(), nullptr, message.data(), message.size(),
                               keys.secret.data());
  return signature;
}

bool is_signed(const PublicKey& key, std::span<const std::uint8_t> message,
               std::span<const std::uint8_t, kSignatureBytes> signature) noexcept {
  return crypto_sign_ed25519_verify_detached(signature.data(), message.data(), message.size(),
                                             key.data()) == 0;
}

}  // namespace mesh::coordination
