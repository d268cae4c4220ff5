#include "shm/base/assert.hpp"

#include <cstdio>
#include <cstdlib>

namespace mesh {

void assert_failed(const char* expression, const char* file, int line) noexcept {
  std::fprintf(stderr, "mesh: assertion failed: %s (%s:%d)\n", expression, file, line);
  std::abort();
}

}  // namespace mesh
