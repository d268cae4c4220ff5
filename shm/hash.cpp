#include "shm/hash.hpp"

#define XXH_INLINE_ALL  // no library to link, and the state stays on the stack
#include <xxhash.h>

namespace mesh::shm {

std::uint64_t hash64(std::span<const std::byte> bytes) noexcept {
  return XXH3_64bits(bytes.data(), bytes.size());
}
std::uint64_t hash64(std::string_view text) noexcept {
  return XXH3_64bits(text.data(), text.size());
}

}  // namespace mesh::shm
