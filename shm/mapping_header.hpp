// MappingHeader: the first 256 bytes of every mapping. Written once, by its creator, never changed.
//
// Callers     store_header: the creator, once, before anyone else may attach. load_header: anyone.
// Ordering    everything stored before store_header's last store happens-before a load_header that
//             finds the magic.                                                SYNC header.formatted
// If the      creator dies at any store: the magic is still 0 and nothing attaches.
// other side  lies: every field is checked by shm/attach.hpp from a private copy.
// Layout      docs/SHM_LAYOUT.md. Fields up to abi_version stand at these offsets in every version
//             for ever; a change of any other bumps kHeaderAbiVersion.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm/base/limits.hpp"
#include "shm/base/point.hpp"
#include "shm/base/word.hpp"
#include "shm/describe.hpp"
#include "shm/uuid.hpp"

namespace mesh::shm {

inline constexpr std::uint64_t kMappingMagic = 0x314B3033'4853454DULL;  // "MESH30K1" in memory
inline constexpr std::uint32_t kByteOrderMark = 0x01020304;
inline constexpr std::uint32_t kHeaderAbiVersion = 1;

struct MappingHeader {
  std::uint64_t magic;           // stored last
  std::uint32_t byte_order;      // kByteOrderMark as the creator's machine stores it
  std::uint32_t abi_version;     // of this struct
  std::uint64_t checksum;        // XXH3-64 of this struct with checksum 0
  std::uint64_t layout_hash;     // of the canonical text of all regions
  std::uint32_t layout_version;  // of this kind of memory
  std::uint32_t kind;            // which memory: numbers of the layer that defines the layouts
  std::uint32_t page_bytes;      // of the creator's machine
  std::uint32_t header_bytes;    // 256
  std::uint64_t total_bytes;     // of the mapping, header and padding included
  std::int64_t created_ns;       // wall clock, since 1970
  Uuid mesh_uuid;
  Uuid boot_id;
  std::uint64_t instance;                   // which one of its kind
  std::array<std::uint64_t, 4> parameters;  // the numbers from which the layout is built
  std::array<std::uint8_t, 120> reserved;   // zero
};
static_assert(sizeof(MappingHeader) == 256);
static_assert(alignof(MappingHeader) == 8);
static_assert(std::is_trivially_copyable_v<MappingHeader>);
static_assert(std::has_unique_object_representations_v<MappingHeader>);  // no hidden padding

inline constexpr FieldDescription kMappingHeaderFields[] = {
    MESH_FIELD(MappingHeader, magic, "MESH30K1; stored last, so that nothing half-made attaches"),
    MESH_FIELD(MappingHeader, byte_order, "0x01020304 as the creator stores it"),
    MESH_FIELD(MappingHeader, abi_version, "version of this header"),
    MESH_FIELD(MappingHeader, checksum, "XXH3-64 of this header with this field 0"),
    MESH_FIELD(MappingHeader, layout_hash, "XXH3-64 of the canonical text of all regions"),
    MESH_FIELD(MappingHeader, layout_version, "version of this kind of memory"),
    MESH_FIELD(MappingHeader, kind, "which kind of memory"),
    MESH_FIELD(MappingHeader, page_bytes, "page size of the creator's machine"),
    MESH_FIELD(MappingHeader, header_bytes, "256"),
    MESH_FIELD(MappingHeader, total_bytes, "size of the mapping"),
    MESH_FIELD(MappingHeader, created_ns, "wall clock, nanoseconds since 1970"),
    MESH_FIELD(MappingHeader, mesh_uuid, "which mesh"),
    MESH_FIELD(MappingHeader, boot_id, "which boot of the host"),
    MESH_FIELD(MappingHeader, instance, "which one of its kind"),
    MESH_FIELD(MappingHeader, parameters, "the numbers from which the layout is built"),
    MESH_FIELD(MappingHeader, reserved, "zero"),
};
inline constexpr StructDescription kMappingHeaderDescription =
    describe<MappingHeader>("MappingHeader", kMappingHeaderFields,
                            "what a mapping is; written once, checked at every attach");
static_assert(covers_every_byte(kMappingHeaderDescription));

inline constexpr std::size_t kHeaderWords = sizeof(MappingHeader) / sizeof(std::uint64_t);
using HeaderWords = std::array<std::uint64_t, kHeaderWords>;
static_assert(offsetof(MappingHeader, magic) == 0, "the magic is word 0");

template <class Memory>
void store_header(typename Memory::template Word<std::uint64_t>* words,
                  const MappingHeader& header) noexcept {
  const auto image = std::bit_cast<HeaderWords>(header);
  for (std::size_t index = 1; index < kHeaderWords; ++index) {
    words[index].store_relaxed(image[index]);  // relaxed: published by the magic
    MESH_POINT("header.format:word");
  }
  MESH_POINT("header.format:before_magic");
  words[0].store_release(image[0]);  // SYNC header.formatted release: all that was set up before
}

// A private copy, each word loaded once. If its magic is not the right one, the rest means nothing.
template <class Memory>
[[nodiscard]] MappingHeader load_header(
    const typename Memory::template Word<std::uint64_t>* words) noexcept {
  HeaderWords image{};
  image[0] = words[0].load_acquire();  // SYNC header.formatted acquire: pairs with store_header
  for (std::size_t index = 1; index < kHeaderWords; ++index) {
    image[index] = words[index].load_relaxed();  // relaxed: the magic was acquired
  }
  return std::bit_cast<MappingHeader>(image);
}

}  // namespace mesh::shm
