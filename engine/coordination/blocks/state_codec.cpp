#include "engine/coordination/blocks/state_codec.hpp"

#define XXH_INLINE_ALL  // no library to link
#include <xxhash.h>

namespace mesh::coordination {

std::uint64_t checksum(std::span<const std::byte> bytes) noexcept {
  return XXH3_64bits(bytes.data(), bytes.size());
}

void StateWriter::append(std::span<const std::byte> bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

}  // namespace mesh::coordination
