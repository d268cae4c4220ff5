// PayloadLogHeader, PayloadEntry: the bytes of a payload log. Documented in docs/SHM_LAYOUT.md.
//
// Header and region stand in the writer's memory, which the readers map read-only. Zeroed memory is
// a valid empty log that starts at position 0.
//
//   region     | entry | entry | skip to the end |     (power of two bytes; entries never wrap)
//   entry      | length u32, kind u32 | stamp u64 | body, padded to whole 16 bytes |
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm/base/limits.hpp"
#include "shm/base/result.hpp"
#include "shm/base/word.hpp"
#include "shm/describe.hpp"

namespace mesh::queues {

// The writer's knowledge: each word is right at any instant. They stand apart because readers load
// the tail at every read, and the writer stores the head at every append.
template <class Memory = HostMemory>
struct PayloadLogHeader {
  typename Memory::template Word<std::uint64_t> tail;  // all bytes before this position are free
  std::byte reserved_0[kIsolation - 8];
  typename Memory::template Word<std::uint64_t> head;  // where the next entry goes
  std::byte reserved_1[kIsolation - 8];
};
static_assert(sizeof(PayloadLogHeader<>) == 2 * kIsolation);
static_assert(offsetof(PayloadLogHeader<>, head) == kIsolation);
static_assert(std::is_trivially_copyable_v<PayloadLogHeader<>>);
static_assert(std::has_unique_object_representations_v<PayloadLogHeader<>>);

// Two words before each body. The body's hash is not here: it stands in the message header, which
// is the first 128 bytes of a body and none of the log's business.
template <class Memory = HostMemory>
struct PayloadEntry {
  typename Memory::template Word<std::uint64_t> shape;  // bits 0-31 body bytes, 32-63 kind
  typename Memory::template Word<std::uint64_t> stamp;  // the entry's position plus one
};
static_assert(sizeof(PayloadEntry<>) == 16);
static_assert(offsetof(PayloadEntry<>, stamp) == 8);
static_assert(std::is_trivially_copyable_v<PayloadEntry<>>);
static_assert(std::has_unique_object_representations_v<PayloadEntry<>>);

inline constexpr std::uint64_t kPayloadAlignment = 16;
inline constexpr std::uint64_t kPayloadEntryHeaderBytes = sizeof(PayloadEntry<>);
// The kind of an entry that only fills the region's end. Every other number is the owner's.
inline constexpr std::uint32_t kPayloadSkipKind = 0xFFFF'FFFF;
// A header always fits into what is left at the region's end.
static_assert(kPayloadEntryHeaderBytes <= kPayloadAlignment);
static_assert(kPayloadLogBytesMin >= 4 * kPayloadAlignment);

// What an entry with a body of `length` bytes takes.
constexpr std::uint64_t payload_entry_bytes(std::uint32_t length) noexcept {
  return kPayloadEntryHeaderBytes +
         (std::uint64_t{length} + kPayloadAlignment - 1) / kPayloadAlignment * kPayloadAlignment;
}
// The longest body. Its entry takes half the region: with the skip that it may need at the end it
// fits into an empty log wherever the head stands.
constexpr std::uint32_t payload_body_bytes_max(std::uint64_t capacity) noexcept {
  return static_cast<std::uint32_t>(capacity / 2 - kPayloadEntryHeaderBytes);
}

inline constexpr shm::FieldDescription kPayloadLogHeaderFields[] = {
    MESH_FIELD(PayloadLogHeader<>, tail, "all bytes before this position are free"),
    MESH_FIELD(PayloadLogHeader<>, reserved_0, "zero"),
    MESH_FIELD(PayloadLogHeader<>, head, "position of the next entry"),
    MESH_FIELD(PayloadLogHeader<>, reserved_1, "zero"),
};
inline constexpr shm::StructDescription kPayloadLogHeaderDescription =
    shm::describe<PayloadLogHeader<>>("PayloadLogHeader", kPayloadLogHeaderFields,
                                      "what the log's writer knows; each word right at any time");
static_assert(shm::covers_every_byte(kPayloadLogHeaderDescription));

inline constexpr shm::FieldDescription kPayloadEntryFields[] = {
    MESH_FIELD(PayloadEntry<>, shape, "bits 0-31 body bytes, bits 32-63 kind (all ones: skip)"),
    MESH_FIELD(PayloadEntry<>, stamp, "position of the entry plus one; stored last"),
};
inline constexpr shm::StructDescription kPayloadEntryDescription = shm::describe<PayloadEntry<>>(
    "PayloadEntry", kPayloadEntryFields, "before each body of a payload log");
static_assert(shm::covers_every_byte(kPayloadEntryDescription));

// What take_over, attach and verify refuse; in payload_log.cpp.
struct PayloadLogPlace {
  const void* region;
  std::size_t region_alignment;
  std::uint64_t capacity;
  const void* header;
  std::size_t header_alignment;
};
struct PayloadBounds {
  std::uint64_t tail;
  std::uint64_t head;
  std::uint64_t capacity;
};
Status check_payload_log(const PayloadLogPlace& place);
Status check_payload_bounds(const PayloadBounds& bounds);
tl::unexpected<Error> foreign_payload_entry(std::uint64_t position, const PayloadBounds& bounds);

}  // namespace mesh::queues
