// Where a mesh lives, and how much room there is.
//
// Callers     set-up only; system calls.
// Units       bytes.
// Errors      bad_input (a name that is no single path component, a path that leads through a
//             file), system_error (statvfs).
#pragma once

#include <cstdint>
#include <string>

#include "shm/base/result.hpp"

namespace mesh::tools {

inline constexpr const char* kDefaultMeshName = "default";

// `directory` when it is given, else $XDG_RUNTIME_DIR/mesh30k/NAME, else /dev/shm/mesh30k-UID/NAME.
Result<std::string> mesh_directory(const std::string& directory, const std::string& name);

// What the file system that holds `path`, or would hold it once created, has free for us.
Result<std::uint64_t> free_bytes(const std::string& path);

}  // namespace mesh::tools
