// format, inspect, attach: a mapping gets its header once, and every process that maps it checks
// the header against what it expects, before it touches another byte.
//
// Callers     format: the creator, after everything else in the mapping is set up. Others: anyone.
// Ordering    what was stored before format() happens-before a successful inspect() or attach().
// Cost        a checksum of 256 bytes. No system call.
// If the      creator dies before format() returns: bad_magic, for ever; remove the memory and make
// other side  it again. A header that lies consistently is still bound by what this binary expects:
// dies,       its own layout, hash and total, this mesh, this boot, this instance. What follows the
// or lies     header is not covered: live state is checked where it is read.
// Errors      misaligned, truncated, bad_magic, endianness_mismatch, version_skew, corrupt,
//             page_size_mismatch, layout_mismatch, not_yours; each sentence names both sides.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "shm/base/result.hpp"
#include "shm/layout.hpp"
#include "shm/mapping_header.hpp"

namespace mesh::shm {

// Which mapping it is, apart from its layout.
struct MappingIdentity {
  Uuid mesh_uuid{};
  Uuid boot_id{};
  std::uint64_t instance = 0;
};

struct FormatOptions {
  MappingIdentity identity{};
  std::int64_t created_ns = 0;                // wall clock
  std::array<std::uint64_t, 4> parameters{};  // from which an attaching process builds the layout
};

// The header that format() would store: complete, with its checksum.
[[nodiscard]] MappingHeader make_header(const Layout& layout,
                                        const FormatOptions& options) noexcept;

// already_exists if the mapping has a magic: a header is written once.
Status format(std::span<std::byte> mapping, const Layout& layout, const FormatOptions& options);

// Everything that can be checked without a layout. For who needs `parameters` to build it.
Result<MappingHeader> inspect(std::span<const std::byte> mapping);

// inspect(), and: is this the layout, the mesh, the boot and the instance that are expected? The
// layout carries the page size of this machine.
Result<MappingHeader> attach(std::span<const std::byte> mapping, const Layout& layout,
                             const MappingIdentity& expected);

}  // namespace mesh::shm
