#include "engine/coordination/blocks/id_hash.hpp"

#include <array>

#define XXH_INLINE_ALL  // no library to link
#include <xxhash.h>

namespace mesh::coordination {

IdHash hash_of(std::string_view id) noexcept {
  const XXH128_hash_t hash = XXH3_128bits(id.data(), id.size());
  return {hash.low64, hash.high64};
}

IdHash hash_of(std::uint64_t a, std::uint64_t b) noexcept {
  const std::array<std::uint64_t, 2> words{a, b};
  const XXH128_hash_t hash = XXH3_128bits(words.data(), sizeof(words));
  return {hash.low64, hash.high64};
}

}  // namespace mesh::coordination
