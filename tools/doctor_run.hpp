// The two rounds of `mesh doctor`: one proves every feature end to end in a mesh of its own, in a
// fresh directory under /dev/shm that goes with it; the other only looks at a mesh that is there.
//
// Callers     main(), one thread.
// Progress    each check waits 10 s at most. A signal ends it after the check that runs.
// If the      doctor is killed: its processes end with it; its directory stays, and says in its
// other side  name whose it is.
// dies
// Errors      closed (it was stopped), system_error. What a check finds wrong is a row.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "shm/base/result.hpp"
#include "tools/doctor_report.hpp"
#include "tools/stop_signals.hpp"

namespace mesh::tools {

// Each row as it is found.
using ShowRow = std::function<void(const DoctorRow&)>;

Result<DoctorReport> prove_everything(const StopSignals& stop, const ShowRow& show);
Result<DoctorReport> look_at_mesh(const std::string& directory, const ShowRow& show);

// Of that: agents that are back after a crash and wait for their contexts, or waited in vain.
struct MeshCounters;
[[nodiscard]] std::pair<Finding, std::string> look_at_contexts(const MeshCounters& counters);

}  // namespace mesh::tools
