// structures: every struct that stands in shared memory, in the order of docs/SHM_LAYOUT.md.
//
// To add one, describe it beside its definition (shm/describe.hpp) and name it in structures.cpp;
// then `mesh layout --write docs/SHM_LAYOUT.md`. Columns and regions need nothing here: they come
// from engine/agent_columns.hpp and engine/memory_map.hpp.
#pragma once

#include <span>

#include "shm/describe.hpp"

namespace mesh::tools {

[[nodiscard]] std::span<const shm::StructDescription* const> structures() noexcept;

}  // namespace mesh::tools
