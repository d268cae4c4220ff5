// What `mesh doctor` found, a row a check; and its look at a mesh that is there, which changes
// nothing.
//
// Callers     one thread, cold. look_at_mesh asks the engine over its control socket, and waits 2 s
//             at most: never from the control thread.
// Errors      look_at_mesh -> as ObservedMesh::open. What a check finds wrong is a row.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/reports/report_json.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::reports {

// skipped: one before it failed, without which it says nothing. warning: it works, but not as well
// as it could.
enum class Finding : std::uint8_t { pass, warning, fail, skipped };
[[nodiscard]] std::string_view name_of(Finding finding) noexcept;

struct DoctorRow {
  std::string check;
  Finding finding = Finding::pass;
  double ms = 0;
  std::string says;
};

struct DoctorReport {
  std::string directory;
  bool is_own = false;  // a mesh of the doctor's own
  std::vector<DoctorRow> rows;

  [[nodiscard]] bool is_well() const noexcept;
};
// {directory, own_mesh, well, checks: [...]}.
[[nodiscard]] Json doctor_json(const DoctorReport& report);

// Each row as it is found.
using ShowRow = std::function<void(const DoctorRow&)>;
[[nodiscard]] Result<DoctorReport> look_at_mesh(const std::string& directory, const ShowRow& show);

// Of that: agents that are back after a crash and wait for their contexts, or waited in vain.
struct MeshCounters;
[[nodiscard]] std::pair<Finding, std::string> look_at_contexts(const MeshCounters& counters);

}  // namespace mesh::engine::reports
