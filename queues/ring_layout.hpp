// RingSlot, RingReaderPage: the bytes of a ring. Documented in docs/SHM_LAYOUT.md.
//
// The slots stand in the writer's memory, which the reader maps read-only; the page stands in the
// reader's memory, which the writer maps read-only. Zeroed memory is a valid empty ring that starts
// at position 0.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm/base/limits.hpp"
#include "shm/base/word.hpp"

namespace mesh::queues {

// One cache line: a record and the stamp that makes it visible.
template <class Memory = HostMemory, std::size_t kWords = kRecordBytes / 8>
struct RingSlot {
  typename Memory::template Plain<std::uint64_t> words[kWords];
  typename Memory::template Word<std::uint64_t> stamp;
};
static_assert(sizeof(RingSlot<>) == kSlotBytes);
static_assert(offsetof(RingSlot<>, stamp) == kRecordBytes);
static_assert(std::is_trivially_copyable_v<RingSlot<>>);
static_assert(std::has_unique_object_representations_v<RingSlot<>>);

// In the reader's own memory, which the writer maps read-only.
template <class Memory = HostMemory>
struct RingReaderPage {
  template <class T>
  using Word = typename Memory::template Word<T>;

  Word<std::uint64_t> cursor;  // next position to read; for flow control alone
  Word<std::uint32_t> parked;  // 1: asleep on its eventfd, or about to be
  std::uint32_t reserved_0;
  std::byte reserved_1[kIsolation - 16];
};
static_assert(sizeof(RingReaderPage<>) == kIsolation);
static_assert(std::is_trivially_copyable_v<RingReaderPage<>>);
static_assert(std::has_unique_object_representations_v<RingReaderPage<>>);

// The slots a ring of a station with this many agents has.
constexpr std::uint32_t ring_slots_for(std::uint32_t agents) noexcept {
  return std::bit_ceil(
      std::clamp(2 * std::min(agents, kRingSlotsMax), kRingSlotsMin, kRingSlotsMax));
}

// Builds a record of type T in its slot: T's bytes are the slot's, nothing is copied.
template <class T>
[[nodiscard]] T& build_in(RingSlot<HostMemory>& slot) noexcept {
  static_assert(sizeof(T) == kRecordBytes && std::is_trivially_copyable_v<T>);
  return *reinterpret_cast<T*>(&slot);
}

}  // namespace mesh::queues
