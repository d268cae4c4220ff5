#include "shm/sealed_bytes.hpp"

#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/system_error.hpp"

namespace mesh::shm {
namespace {

constexpr unsigned kWhole = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

}  // namespace

Result<Descriptor> seal_bytes(const std::string& name, std::span<const std::byte> bytes) {
  Descriptor memory(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return system_failure("create memfd '" + name + "'", errno);
  for (std::size_t written = 0; written < bytes.size();) {
    const auto rest = bytes.subspan(written);
    const ssize_t moved = ::write(memory.get(), rest.data(), rest.size());
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) return system_failure("write memfd '" + name + "'", errno);
    written += static_cast<std::size_t>(moved);
  }
  if (::fcntl(memory.get(), F_ADD_SEALS, kWhole | F_SEAL_SEAL) != 0)
    return system_failure("seal memfd '" + name + "'", errno);
  return memory;
}

// The seals first: with them in place the size that is seen is the size for ever.
Result<std::string> read_sealed(int fd, std::size_t bytes_max) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (static_cast<unsigned>(seals) & kWhole) != kWhole)
    return fail(Errc::unsealed, "read sealed bytes: seals " + std::to_string(seals) +
                                    ", expected at least " + std::to_string(kWhole) +
                                    " (shrink, grow, write)");
  struct stat status {};
  if (::fstat(fd, &status) != 0) return system_failure("fstat sealed bytes", errno);
  if (!S_ISREG(status.st_mode))
    return fail(Errc::not_yours, "read sealed bytes: it is no regular file");
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size > bytes_max)
    return fail(Errc::truncated,
                "read sealed bytes: there are " + std::to_string(size) + ", at most " +
                    std::to_string(bytes_max) + " are read",
                static_cast<std::int64_t>(size));
  std::string bytes(size, '\0');
  for (std::size_t read = 0; read < size;) {
    const ssize_t moved = ::pread(fd, bytes.data() + read, size - read, static_cast<off_t>(read));
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) return system_failure("read sealed bytes", errno);
    if (moved == 0) return fail(Errc::truncated, "read sealed bytes: they end early");
    read += static_cast<std::size_t>(moved);
  }
  return bytes;
}

}  // namespace mesh::shm
