// MESH_POINT("room.call:where"): a named place between two steps whose order matters. Empty in
// release. With MESH_FAULTS a test arms a point to kill, stop or run a function there; inside
// templates on a memory policy the policy's own point() is called, so that the crash and race tests
// share the names.
#pragma once

#define MESH_POINT(name) Memory::point(name)

namespace mesh::points {

// Called at every point of a MESH_FAULTS build. Runs what is armed for `name`, if anything.
void reached(const char* name) noexcept;

// Arms one point of this process: `act` runs at the `at_count`-th time (from 1) that `name` is
// reached. Not thread-safe: arm before the threads start. A null act disarms.
using Act = void (*)(void* context);
void arm(const char* name, unsigned at_count, Act act, void* context) noexcept;

}  // namespace mesh::points
