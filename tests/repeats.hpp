// How often a random test repeats: `usual`, unless MESH_TEST_REPEATS says otherwise, as the stress
// tier does.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace mesh::testing {

inline std::uint64_t repeats(std::uint64_t usual) {
  const char* const text = std::getenv("MESH_TEST_REPEATS");
  return text == nullptr ? usual : std::strtoull(text, nullptr, 10);
}

}  // namespace mesh::testing
