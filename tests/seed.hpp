// The seed of this test run: printed at the start, set with --seed=N or MESH_TEST_SEED.
#pragma once

#include <cstdint>

namespace mesh::testing {

std::uint64_t seed();

}  // namespace mesh::testing
