// Scaling: more agents for a mesh that runs (mesh.md part 15).
//
//     identities made ─▶ processes spawned ─▶ heartbeats ─▶ profiles stable ─▶ admitted, in waves
//
// The identities are rows with names, a class and a place: clusters of their class that have room
// are filled, then new ones are made in the sectors with the fewest agents. Their processes are
// started by the command under [recovery], which is told their names and their class
// (engine/recovery/recovery.hpp); one that does not start, ends badly or is late is tried again and
// escalated as any replacement. Who has come is warmed up and admitted by the loop
// (engine/loop/newcomers.hpp), whoever waits for it, and whatever engine runs then.
//
// Callers     scale_job: any thread; `done` is called on the control thread. scale_progress: any.
// If the      engine dies after the identities were made: they stay newcomers. Its successor starts
// other side  nobody's process that never came; who comes by himself is admitted, and who does not
// dies        is forgotten after agent_ttl: scale again.
// Errors      bad_input: no agents, a name that cannot be; not_ready: no command to spawn is
//             configured; capacity: how many more fit, in rows or in processes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "engine/memory_map.hpp"
#include "sched/agent_class.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

class Job;
class Recovery;

struct ScaleRequest {
  std::uint32_t count = 0;
  sched::AgentClass agent_class = sched::AgentClass::edge;
  std::string prefix = "agent";   // of their names: PREFIX-1, ..., those that nobody has yet
  std::uint32_t per_process = 0;  // 0: a cluster's
};

// Of their names: PREFIX-first to PREFIX-last; in between may stand others that were here before.
struct ScaleBatch {
  std::string prefix{};
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};
struct ScaleReport {
  ScaleBatch batch{};
  std::uint32_t agents = 0;
  std::uint32_t processes = 0;
  std::uint32_t clusters_filled = 0;   // that had agents before
  std::uint32_t clusters_created = 0;  // that had none
  std::uint32_t sectors = 0;           // in which they stand
  std::uint32_t without_cluster = 0;   // the mesh is larger than its places
};

struct ScaleProgress {
  std::uint32_t awaited = 0;   // their process has not come, or has gone
  std::uint32_t settling = 0;  // their profile is not stable yet, or their wave has not come
  std::uint32_t admitted = 0;
};

using ScaleDone = std::function<void(Result<ScaleReport>)>;
// `stations_free`: how many processes more can attach. `recovery` is null where no command is
// configured; it outlives the job.
struct ScaleOn {
  Recovery* recovery = nullptr;
  std::uint64_t stations_free = 0;
  std::uint32_t agents_per_cluster = kAgentsPerCluster;
};
[[nodiscard]] std::unique_ptr<Job> scale_job(ScaleRequest request, const ScaleOn& mesh,
                                             ScaleDone done);
// Of those that still have their names.
[[nodiscard]] Result<ScaleProgress> scale_progress(const MeshSize& size,
                                                   std::span<const std::byte> table,
                                                   const ScaleBatch& batch);

}  // namespace mesh::engine
