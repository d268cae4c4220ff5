#include "engine/coordination/blocks/hash_chain.hpp"

#include <sodium/crypto_hash_sha256.h>

namespace mesh::coordination {
namespace {

static_assert(crypto_hash_sha256_BYTES == sizeof(Digest));

// NOLINTNEXTLINE: libsodium speaks unsigned char
const unsigned char* plain(const std::byte* bytes) noexcept {
  return reinterpret_cast<const unsigned char*>(bytes);
}
unsigned char* plain(std::byte* bytes) noexcept { return reinterpret_cast<unsigned char*>(bytes); }

}  // namespace

Digest sha256(std::span<const std::byte> bytes) noexcept {
  Digest digest{};
  crypto_hash_sha256(plain(digest.data()), plain(bytes.data()), bytes.size());  // never fails
  return digest;
}

ChainEnd chain_on(const ChainEnd& previous, std::span<const std::byte> body) noexcept {
  ChainEnd end{previous.position + 1, {}};
  std::array<std::byte, 8> position{};
  for (unsigned at = 0; at < position.size(); ++at) {
    position[at] = static_cast<std::byte>(end.position >> (8 * at));
  }
  crypto_hash_sha256_state state;
  crypto_hash_sha256_init(&state);
  crypto_hash_sha256_update(&state, plain(previous.digest.data()), previous.digest.size());
  crypto_hash_sha256_update(&state, plain(position.data()), position.size());
  crypto_hash_sha256_update(&state, plain(body.data()), body.size());
  crypto_hash_sha256_final(&state, plain(end.digest.data()));
  return end;
}

}  // namespace mesh::coordination
