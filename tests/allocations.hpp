// allocation_count(): allocations of this program so far, so that "none" can be shown. A test that
// asks adds tests/allocations.cpp to its sources.
#pragma once

#include <cstdint>

namespace mesh::testing {

std::uint64_t allocation_count();

}  // namespace mesh::testing
