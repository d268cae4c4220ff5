// hash64_of_file: XXH3 of a file's bytes, the same number that hash64 gives of them at once.
//
// Callers     any thread; the descriptor's own offset is left alone.
// Cost        one pass in blocks of 1 MiB; the pages that were read are given back to the system.
// Errors      as shm::system_failure's of pread.
#pragma once

#include <cstdint>

#include "shm/base/result.hpp"

namespace mesh::shm {

struct FileHash {
  std::uint64_t size_bytes = 0;
  std::uint64_t hash = 0;
  friend bool operator==(const FileHash&, const FileHash&) = default;
};

[[nodiscard]] Result<FileHash> hash64_of_file(int fd);

}  // namespace mesh::shm
