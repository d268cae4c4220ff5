// What a ring's cold paths refuse, and what they say. Used by spsc_ring.hpp alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shm/base/result.hpp"

namespace mesh::queues {

struct RingPlace {
  const void* slots;
  std::size_t slot_count;
  std::size_t slot_alignment;
  const void* page;
  std::size_t page_alignment;
};
// invalid_argument: the slot count; misaligned: either address, or null.
Status check_ring(const RingPlace& place);
// corrupt: the reader's cursor is not within the ring.
tl::unexpected<Error> foreign_cursor(std::uint64_t cursor, std::uint64_t head,
                                     std::uint64_t capacity);
// corrupt: a stamp that no writer leaves there.
tl::unexpected<Error> foreign_stamp(std::uint64_t index, std::uint64_t position,
                                    std::uint64_t expected);

}  // namespace mesh::queues
