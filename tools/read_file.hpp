// A file's whole content, for files that people write.
//
// Errors      bad_input: it cannot be read, or is longer than kFileBytesMax.
#pragma once

#include <cstddef>
#include <string>

#include "shm/base/result.hpp"

namespace mesh::tools {

inline constexpr std::size_t kFileBytesMax = 1U << 20;

Result<std::string> read_file(const std::string& path);

}  // namespace mesh::tools
