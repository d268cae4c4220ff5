#include "engine/simulation/private_memory.hpp"

#include <string>

#include <sys/mman.h>

namespace mesh::engine::simulation {

Result<PrivateMemory> PrivateMemory::create(std::size_t bytes) {
  void* const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED)
    return fail(Errc::no_memory,
                "simulated mesh: no room for " + std::to_string(bytes >> 20) + " MiB of memory",
                static_cast<std::int64_t>(bytes));
  PrivateMemory memory;
  memory.bytes_ = {static_cast<std::byte*>(at), bytes};
  return memory;
}

Status PrivateMemory::forget() const {
  if (::madvise(bytes_.data(), bytes_.size(), MADV_DONTNEED) == 0) return {};
  return fail(Errc::no_memory, "simulated mesh: madvise");
}

PrivateMemory::~PrivateMemory() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

}  // namespace mesh::engine::simulation
