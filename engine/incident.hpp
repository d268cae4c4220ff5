// The procedure `incident` (mesh.md part 15): what is wrong with a sector, by what the engine knows
// of it at that moment; and, where the operator says so, what the mesh can do about it:
//
//     look ─▶ diagnose ─▶ heal what crashed ─▶ look again ─▶ isolate what is still failed, move its
//                                              healthy agents elsewhere, route around who ails
//
// A coordinator's backup is activated by the engine itself, at once (docs/CASCADES.md): that is
// told, not done here. What was done is undone by `mesh heal` (breakers) and by
// `mesh route-around --undo`; agents that were moved stay where they are.
//
// Callers     start_incident: any thread; `done` is told on the control thread, or never, if the
//             engine stops first.
// Progress    a look is one job of the scheduler's thread; healing waits as `mesh heal` does.
// Errors      invalid_argument: the mesh has no such sector. busy: too much waits already.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "engine/console/incident.hpp"
#include "engine/loop/incident_facts.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

class Recovery;
class SchedulerThread;

struct IncidentRequest {
  std::uint32_t sector = 0;
  bool act = false;                   // else it is only proposed
  Nanos wait{10 * kNsPerSecond};      // for replacements to attach
  Nanos since{3'600 * kNsPerSecond};  // the timeline's length
};

struct IncidentReport {
  console::IncidentFacts facts{};
  std::vector<console::IncidentFinding> findings{};  // none: nothing is wrong
  std::vector<TimelineLine> timeline{};              // up to the report's end
  HostTime at{};
  std::int64_t unix_offset_ns = 0;  // what makes HostTime wall time
  bool has_acted = false;
  std::vector<console::IncidentFinding> left{};  // after acting
};

using IncidentDone = std::function<void(Result<IncidentReport>)>;
struct IncidentUses {
  SchedulerThread* scheduler = nullptr;
  Recovery* recovery = nullptr;  // null: nobody is replaced
};
Status start_incident(const IncidentUses& uses, const IncidentRequest& request, IncidentDone done);

}  // namespace mesh::engine
