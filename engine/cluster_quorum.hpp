// ClusterQuorum: a lead's own quorum of its cluster (mesh.md parts 8, 9 and 13).
//
// The lead has the question first. Is it READY, the question goes to all others of its cluster in
// its name, as its own operation: its process is told the result, and can judge it by
// sched::judge() as the engine does. Its own READY counts among the answers. A lead that dies while
// it is asked is replaced by the next best of the cluster, twice at most.
//
// Who was sent the question and is silent is TRANSIT. Who is away, held back, behind a breaker or
// too slow for the window is not asked, and counted; where fewer than half of the cluster are
// READY it is no success, whatever those few say.
//
// Callers     cascade_of: any. quorum_report: the scheduler thread, when the quorum is over.
// If the      engine dies: its successor carries the quorum on (docs/CASCADES.md); who waited for
// other side  it is not told. The lead dies after it was READY: its operation goes on without it.
// dies
// Errors      by EngineLoop::open_cascade: invalid_argument (no such cluster, a window that cannot
//             be), no_such_agent (nobody is in it), no_schedulable_agents (nobody can lead it),
//             capacity, a mode's refusal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/cascade.hpp"
#include "engine/loop/engine_loop.hpp"
#include "sched/quorum.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::engine {

struct QuorumRequest {
  std::uint32_t cluster = 0;
  std::string question{};
  Nanos lead_window{1'000 * kNsPerMs};
  Nanos window{2'000 * kNsPerMs};  // of the others, once the lead is READY
  sched::Priority priority = sched::Priority::normal;
};

struct QuorumMember {
  std::string name;
  sched::TrinaryState state = sched::TrinaryState::transit;
};
struct QuorumReport {
  std::uint32_t cluster = 0;
  std::string lead{};  // who was asked last
  CascadeStep lead_step = CascadeStep::none;
  bool is_success = false;  // it proceeds, and half of the cluster are READY
  CascadeCounts agents{};   // the lead among them
  sched::QuorumVerdict verdict{};
  std::vector<QuorumMember> not_ready{};  // of those that the lead asked, in order of their rows
  std::uint32_t promoted = 0;
  Nanos took{};
};

// Its body is the request's question.
[[nodiscard]] CascadeRequest cascade_of(const QuorumRequest& request) noexcept;
[[nodiscard]] QuorumReport quorum_report(const EngineLoop& loop, const FinishedCascade& finished);

}  // namespace mesh::engine
