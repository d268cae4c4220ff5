// MeshErrors: the distinct errors of a mesh, as both engine threads keep them in its table.
//
// Callers     one thread, cold.
// Units       ages in milliseconds of the mesh's clock; wall times by the mesh's own offset.
// Errors      as ErrorLogView.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/error_log.hpp"
#include "shm/base/result.hpp"
#include "tools/observed_mesh.hpp"

namespace mesh::tools {

struct ErrorSeen {
  engine::SeenError error;
  std::int64_t first_age_ms = 0;
  std::int64_t last_age_ms = 0;
  std::int64_t first_unix_ns = 0;
  std::int64_t last_unix_ns = 0;
};

// The latest first.
Result<std::vector<ErrorSeen>> read_errors(const ObservedMesh::Memory& table);

// {directory, engine_running, distinct, errors: [...]}.
[[nodiscard]] nlohmann::ordered_json errors_json(const ObservedMesh& mesh,
                                                 const std::vector<ErrorSeen>& errors);

// "2026-11-25T14:32:47Z"; empty for a time that no calendar has.
[[nodiscard]] std::string utc_text(std::int64_t unix_ns);

}  // namespace mesh::tools
