// Files that are whole or not there: written aside, synced, and renamed.
//
// Callers     any thread, cold.
// If the      dies while it writes: the file of before stands, and beside it FILE.new, which the
// process     next write replaces.
// dies
// Errors      write_whole_file -> system_error, no_space, permission_denied. read_whole_file ->
//             not_found; verification_failed: longer than any of ours; io_error.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "shm/base/result.hpp"

namespace mesh::engine {

Status write_whole_file(const std::string& path, std::string_view text);
[[nodiscard]] Result<std::string> read_whole_file(const std::string& path, std::size_t bytes_max);
// What was renamed or made in it survives a power cut from here on.
Status sync_directory(const std::string& path);

}  // namespace mesh::engine
