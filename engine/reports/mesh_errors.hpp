// MeshErrors: the distinct errors of a mesh, as both engine threads keep them in its table.
//
// Callers     one thread, cold.
// Units       ages in milliseconds of the mesh's clock; wall times by the mesh's own offset.
// Errors      as ErrorLogView; report_errors -> as ObservedMesh, too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/error_log.hpp"
#include "engine/reports/report_json.hpp"
#include "engine/reports/seen_mesh.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::reports {

struct ErrorSeen {
  SeenError error;
  std::int64_t first_age_ms = 0;
  std::int64_t last_age_ms = 0;
  std::int64_t first_unix_ns = 0;
  std::int64_t last_unix_ns = 0;
};

// The latest first.
Result<std::vector<ErrorSeen>> read_errors(const ObservedMesh::Memory& table);

struct ErrorReport {
  Whence whence;
  std::vector<ErrorSeen> errors;
};
Result<ErrorReport> report_errors(const std::string& directory);
// {directory, engine_running, distinct, errors: [...]}.
[[nodiscard]] Json errors_json(const ErrorReport& report);

}  // namespace mesh::engine::reports
