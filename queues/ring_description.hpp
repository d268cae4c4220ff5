// The bytes of a ring told field by field: what the layout hash covers and SHM_LAYOUT.md prints.
#pragma once

#include "queues/ring_layout.hpp"
#include "shm/describe.hpp"

namespace mesh::queues {

inline constexpr shm::FieldDescription kRingSlotFields[] = {
    MESH_FIELD(RingSlot<>, words, "the record"),
    MESH_FIELD(RingSlot<>, stamp,
               "position + 1 of the record, which makes it visible; 0: never written"),
};
inline constexpr shm::StructDescription kRingSlotDescription =
    shm::describe<RingSlot<>>("RingSlot", kRingSlotFields, "one cache line of a ring");

inline constexpr shm::FieldDescription kRingReaderPageFields[] = {
    MESH_FIELD(RingReaderPage<>, cursor, "next position to read; for flow control alone"),
    MESH_FIELD(RingReaderPage<>, parked, "1: asleep on its eventfd, or about to be"),
    MESH_FIELD(RingReaderPage<>, reserved_0, "zero"),
    MESH_FIELD(RingReaderPage<>, reserved_1, "zero"),
};
inline constexpr shm::StructDescription kRingReaderPageDescription =
    shm::describe<RingReaderPage<>>("RingReaderPage", kRingReaderPageFields,
                                    "what a ring's reader writes, in its own memory");

static_assert(shm::covers_every_byte(kRingSlotDescription));
static_assert(shm::covers_every_byte(kRingReaderPageDescription));

}  // namespace mesh::queues
