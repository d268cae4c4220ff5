#include "shm/file_hash.hpp"

#include <cerrno>
#include <cstddef>
#include <memory>

#include <fcntl.h>
#include <unistd.h>

#include "shm/system_error.hpp"

#define XXH_INLINE_ALL  // no library to link
#include <xxhash.h>

namespace mesh::shm {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{1} << 20;

struct FreeState {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};

}  // namespace

Result<FileHash> hash64_of_file(int fd) {
  const std::unique_ptr<XXH3_state_t, FreeState> state(XXH3_createState());
  const auto block = std::make_unique<std::byte[]>(kBlockBytes);
  if (state == nullptr) return fail(Errc::no_memory, "hash a file: no memory");
  XXH3_64bits_reset(state.get());
  FileHash found;
  for (;;) {
    const ssize_t size =
        ::pread(fd, block.get(), kBlockBytes, static_cast<off_t>(found.size_bytes));
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return system_failure("read a file to hash it", errno);
    if (size == 0) break;
    XXH3_64bits_update(state.get(), block.get(), static_cast<std::size_t>(size));
    found.size_bytes += static_cast<std::uint64_t>(size);
  }
  // A copy that nobody reads again need not push out what is in use.
  static_cast<void>(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
  found.hash = XXH3_64bits_digest(state.get());
  return found;
}

}  // namespace mesh::shm
