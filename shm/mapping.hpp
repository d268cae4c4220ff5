// Mapping: bytes of a file or memfd in this process, for as long as the object lives.
//
// Callers     any thread; set-up only. The bytes have their own rules (shm/layout.hpp).
// Cost        the same for any size, unless prefaulted: then it grows with the size, and no page
//             fault comes later.
// Units       bytes; the size is the file's, exactly.
// If the      The mapping stays until it is destroyed, whatever becomes of the descriptor, which
// other side  may be closed at once. A file that its owner shortens afterwards raises SIGBUS here:
// dies,       only sealed memory, or a file of a uid that we trust, may be mapped. A forked child
// or lies     does not inherit mappings, so it never writes after its parent's death.
// Errors      truncated (both sizes), permission_denied (read-write of a read-only descriptor),
//             no_memory, system_error. What is wished for but refused (lock, dump) is no error:
//             see Mapping::Outcome.
// Source      Boost.Interprocess mapped_region does the mapping; it does not look at the length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "shm/base/result.hpp"
#include "shm/files.hpp"

namespace boost::interprocess {
class mapped_region;
}

namespace mesh::shm {

enum class Prefault : std::uint8_t {
  kNone,
  kPopulate,  // the kernel fills every page at once; kTouch where it cannot (before Linux 5.14)
  kTouch,     // each page is touched; contents stay as they are
};

struct MappingOptions {
  std::string name{};          // for errors
  std::size_t size_bytes = 0;  // must be the file's
  Access access = Access::kReadOnly;
  Prefault prefault = Prefault::kNone;
  bool exclude_from_dumps = false;  // MADV_DONTDUMP
  bool lock = false;                // mlock2: best effort
};

class Mapping {
 public:
  // What the kernel granted of what was wished.
  struct Outcome {
    bool hidden_from_children = false;  // MADV_DONTFORK
    bool excluded_from_dumps = false;
    bool prefaulted = false;
    bool locked = false;
    int lock_errno = 0;  // why not: ENOMEM and EPERM mean RLIMIT_MEMLOCK
  };

  // `fd` is not kept.
  static Result<Mapping> map(int fd, const MappingOptions& options);

  Mapping(Mapping&&) noexcept;
  Mapping& operator=(Mapping&&) noexcept;
  ~Mapping();

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept;
  // Empty for a read-only mapping.
  [[nodiscard]] std::span<std::byte> writable_bytes() const noexcept;
  [[nodiscard]] std::size_t size_bytes() const noexcept { return size_bytes_; }
  [[nodiscard]] const Outcome& outcome() const noexcept { return outcome_; }

 private:
  Mapping(std::unique_ptr<boost::interprocess::mapped_region> region, Access access);
  Status advise(const MappingOptions& options);

  std::unique_ptr<boost::interprocess::mapped_region> region_;
  std::size_t size_bytes_ = 0;
  Access access_ = Access::kReadOnly;
  Outcome outcome_;
};

[[nodiscard]] std::size_t system_page_bytes() noexcept;

}  // namespace mesh::shm
