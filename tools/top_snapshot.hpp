// What `mesh top` shows, read from the mesh's table.
//
// Callers     one thread, cold. Asks no engine.
// Errors      as Layout::column. What has not been written yet is not known, and no error.
#pragma once

#include "shm/base/result.hpp"
#include "tools/mesh_counters.hpp"
#include "tools/observed_mesh.hpp"
#include "tools/top_frame.hpp"

namespace mesh::tools {

// Rates are between `before` and `now`; null: not known. `now` null: nothing was ever published.
struct TopCounters {
  const MeshCounters* before = nullptr;
  const MeshCounters* now = nullptr;
};
Result<TopSnapshot> top_snapshot(const ObservedMesh& mesh, const ObservedMesh::Memory& table,
                                 const TopCounters& counters);

}  // namespace mesh::tools
