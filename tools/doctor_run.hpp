// The round of `mesh doctor` that proves every feature end to end, in a mesh of its own, in a fresh
// directory under /dev/shm that goes with it. The other, which only looks at a mesh that is there:
// engine/reports/doctor_report.hpp.
//
// Callers     main(), one thread.
// Progress    each check waits 10 s at most. A signal ends it after the check that runs.
// If the      doctor is killed: its processes end with it; its directory stays, and says in its
// other side  name whose it is.
// dies
// Errors      closed (it was stopped), system_error. What a check finds wrong is a row.
#pragma once

#include "engine/reports/doctor_report.hpp"
#include "shm/base/result.hpp"
#include "tools/stop_signals.hpp"

namespace mesh::tools {

using engine::reports::DoctorReport;
using engine::reports::DoctorRow;
using engine::reports::Finding;
using engine::reports::ShowRow;

Result<DoctorReport> prove_everything(const StopSignals& stop, const ShowRow& show);

}  // namespace mesh::tools
