// The files and memfds that are mapped: made in full, opened with suspicion, accepted only when
// they are the ones that were agreed.
//
// Callers     any thread; set-up and recovery only: every call is system calls.
// Ordering    none; a file's contents are ordered by its header (shm/layout.hpp).
// Cost        allocating takes every page from the system: it grows with the size.
// Units       bytes. A size need not be a multiple of the page size, but a mapping's layout makes
//             it one.
// If the      creator dies in create_file: a file of size 0 or without a header stays, which never
// other side  attaches; remove_file and create again. Nobody but its creator can have it open.
// dies,       A peer that hands over another memfd, one that can still shrink, or one of huge pages
// or lies     (which can raise SIGBUS in us) is refused by accept_memfd.
// Errors      no_space: what was needed, what is free, what to do. already_exists, not_found,
//             permission_denied, not_yours (owner, mode, links, identity), unsealed, truncated,
//             invalid_argument, system_error with errno as its detail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "shm/base/result.hpp"
#include "shm/descriptor.hpp"

namespace mesh::shm {

enum class Access : std::uint8_t { kReadOnly, kReadWrite };

// The mesh's directory: no symbolic link, ours (the effective uid), writable by nobody else.
Result<Descriptor> open_directory(const std::string& path);

struct FileOptions {
  int directory = -1;  // of open_directory()
  std::string name{};  // one path component
  std::size_t size_bytes = 0;
};
// A new file, mode 0600, zeroed and allocated in full; open for reading and writing. On any failure
// nothing of it is left.
Result<Descriptor> create_file(const FileOptions& options);
// An existing file: regular, ours, mode exactly 0600, one link, no symbolic link.
Result<Descriptor> open_file(int directory, const std::string& name, Access access);
Status remove_file(int directory, const std::string& name);

// Which memory it is, whatever descriptor names it.
struct MemoryIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size_bytes = 0;
  bool operator==(const MemoryIdentity&) const = default;
};
Result<MemoryIdentity> identity_of(int fd, std::string_view name);

// Neither shrink nor grow, and nobody may add or remove a seal.
inline constexpr unsigned kAgreedSeals = 0x0001 | 0x0002 | 0x0004;  // F_SEAL_SEAL, _SHRINK, _GROW

struct SealedMemory {
  Descriptor descriptor;
  MemoryIdentity identity;
};
// A new memfd, allocated in full, then sealed with kAgreedSeals. `name` shows in /proc alone.
Result<SealedMemory> create_sealed_memory(const std::string& name, std::size_t size_bytes);
// Is this descriptor, handed over by a peer, the memory that was agreed? Identity, seals, size and
// kind of file system are checked. It may be open read-only: mapping finds that out.
Status accept_memfd(int fd, const MemoryIdentity& agreed, std::string_view name);

// fstat's size must be the wanted one. Mapping does this by itself.
Status check_size(int fd, std::size_t wanted_bytes, std::string_view name);

}  // namespace mesh::shm
