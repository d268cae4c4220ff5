// ClockWords told field by field: what the layout hash covers and SHM_LAYOUT.md prints.
#pragma once

#include "sched/clock.hpp"
#include "shm/describe.hpp"

namespace mesh::sched {

inline constexpr shm::FieldDescription kClockWordsFields[] = {
    MESH_FIELD(ClockWords, sequence, "odd: being written"),
    MESH_FIELD(ClockWords, tick0, "counter where the line begins"),
    MESH_FIELD(ClockWords, ns0, "time where the line begins"),
    MESH_FIELD(ClockWords, mult, "nanoseconds a tick, times 2^shift"),
    MESH_FIELD(ClockWords, shift, "0 to 63"),
    MESH_FIELD(ClockWords, counter, "0 nothing published, 1 ticks, 2 CLOCK_MONOTONIC"),
    MESH_FIELD(ClockWords, error_ns, "CLOCK_MONOTONIC less published time, when last published"),
    MESH_FIELD(ClockWords, reserved, "zero"),
};
inline constexpr shm::StructDescription kClockWordsDescription =
    shm::describe<ClockWords>("ClockWords", kClockWordsFields, "the host's one clock");
static_assert(shm::covers_every_byte(kClockWordsDescription));

}  // namespace mesh::sched
