// A sanitizer has an operator new of its own, and tells a hook of each allocation; without one ours
// counts.
#include "tests/allocations.hpp"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

#include "tests/sanitizers.hpp"

#ifdef MESH_UNDER_SANITIZER
// Of every sanitizer's runtime. As in clang's sanitizer/allocator_interface.h, which gcc lacks.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*malloc_hook)(const volatile void*,
                                                                             std::size_t),
                                                         void (*free_hook)(const volatile void*));
#endif

namespace {

std::atomic<std::uint64_t> allocations{0};

// relaxed: only the sum is read, by the thread whose allocations are in question.
void count_one() { allocations.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

#ifdef MESH_UNDER_SANITIZER
namespace {
const bool kIsInstalled =
    __sanitizer_install_malloc_and_free_hooks(
        [](const volatile void*, std::size_t) { count_one(); }, [](const volatile void*) {}) != 0;
}
#else
// Not inlined: g++ would see malloc() meet delete in half of the pairs, and warn.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  count_one();
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
#endif

std::uint64_t mesh::testing::allocation_count() {
#ifdef MESH_UNDER_SANITIZER
  if (!kIsInstalled) std::abort();
#endif
  return allocations.load(std::memory_order_relaxed);  // relaxed: as above
}
