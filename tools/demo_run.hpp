// run_demo: a mesh of its own, from the first process to the last file.
//
// Callers     main(), once. Changes how the process takes SIGINT and SIGTERM while it runs.
// Progress    enrolment, then operations of two seconds each.
// If the      swarm process dies: closed, with which one and how.
// other side  The user asks to stop: closed. Either way what was started is stopped and removed.
// dies
// Errors      Engine's, SwarmFleet's; no_space, system_error for the directory.
#pragma once

#include <cstdint>
#include <iosfwd>

#include "tools/demo_report.hpp"
#include "tools/swarm_fleet.hpp"

namespace mesh::tools {

struct DemoOptions {
  SwarmCommand swarm;
  std::uint32_t operations = 20;
  std::ostream* trace = nullptr;     // a line a target
  std::ostream* progress = nullptr;  // a terminal
};

struct DemoOutcome {
  DemoReport report;
  DemoReport::Run run;
};

Result<DemoOutcome> run_demo(const DemoOptions& options);

}  // namespace mesh::tools
