// Healing: what the mesh mends of a place when the operator says so (mesh.md part 13): breakers are
// reset, the processes of agents that crashed are replaced, and each thing that was done, or could
// not be, is said.
//
// What the operator holds (routed around, frozen) is the operator's, and stays. Who is quarantined
// stays so: what loads its context is the quarantine itself (docs/CONTEXTS.md).
//
// Callers     heal_job: any thread; `done` is called on the control thread or the recovery's.
// Errors      invalid_argument: there is no such place.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/console/act.hpp"
#include "engine/loop/healing.hpp"
#include "engine/recovery/recovery_options.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

class Job;
class Recovery;

struct HealRequest {
  console::Scope scope{};
  Nanos wait{10 * kNsPerSecond};  // for replacements to attach
};
struct HealedAgent {
  std::string name;
  bool is_well = false;
  std::string did{};  // "replaced", "not replaced: ..."
};
struct HealReport {
  console::Scope scope{};
  std::vector<BreakerChange> breakers;
  std::vector<HealedAgent> agents;  // those that were away or quarantined
};

using HealDone = std::function<void(Result<HealReport>)>;
// `recovery` is null where no command is configured; it outlives the job.
[[nodiscard]] std::unique_ptr<Job> heal_job(const HealRequest& request, Recovery* recovery,
                                            HealDone done);

}  // namespace mesh::engine
