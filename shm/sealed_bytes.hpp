// seal_bytes, read_sealed: some bytes handed from process to process as a memfd that nobody can
// change any more, for what no packet of a socket holds.
//
// Callers     any thread; every call is system calls.
// Cost        as many pages as there are bytes, and a copy.
// Units       bytes.
// If the      lies: only a memfd that is sealed against writing, shrinking and growing is read: its
// other side  length and bytes are then those that were looked at. A pipe, a socket, a file of a
// lies        disk (which may be changed, or stand still for ever) is none.
// Errors      read_sealed -> unsealed, not_yours (no regular file), truncated (over the most),
//             system_error.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "shm/base/result.hpp"
#include "shm/descriptor.hpp"

namespace mesh::shm {

// `name` shows in /proc alone.
Result<Descriptor> seal_bytes(const std::string& name, std::span<const std::byte> bytes);
Result<std::string> read_sealed(int fd, std::size_t bytes_max);

}  // namespace mesh::shm
