// Acting: what an operator has agents do (mesh.md part 13): a task for the one that fits best, a
// question to a sample of all. Engine's calls and the control socket's requests are made of this.
//
// Callers     start_*: a thread that may wait for a pass over the table. `post` and `done` are
//             called there and on the control thread.
// Progress    start_* return once the first messages are on their way; `done` is called once, or,
//             where the engine stops first, never.
// If the      agent answers late: what it says is passed over; it has the message and may do the
// other side  task. It dies: its message waits for its return until it has expired.
// dies
// Errors      start_* -> bad_input, not_found (no such capability), no_such_agent,
//             no_capable_agent: nobody that is routable fits.
// Units       durations; took is counted from start_* to the last answer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/console/answer_groups.hpp"
#include "engine/console/delegation.hpp"
#include "engine/console/routing_rules.hpp"
#include "engine/loop/engine_loop.hpp"
#include "engine/memory_map.hpp"
#include "sched/agent_class.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

class DelegateReputation;
class Job;
struct FoundAgent;

inline constexpr std::uint32_t kAttemptsMax = 16;
inline constexpr std::uint32_t kSampleMax = 200;  // fewer than answers that the loop keeps
static_assert(kSampleMax < 256);

struct DelegateRequest {
  std::string task;
  std::string agent{};  // this one alone; empty: the best
  std::optional<sched::AgentClass> agent_class{};
  std::vector<std::string> capabilities{};
  Nanos patience{30 * kNsPerSecond};  // for each attempt; twice that while the mesh is degraded
  std::uint32_t attempts = 3;         // 1 to kAttemptsMax
  std::vector<AgentId> not_to{};      // of the best: who is passed over
};
struct DelegateReport {
  bool is_done = false;
  std::vector<console::Attempt> attempts;
  std::optional<AnsweredMessage> answer;  // of the last attempt, where it had one
  Nanos took{};
};

struct SampleRequest {
  std::string question;
  std::vector<std::string> capabilities{};
  std::uint32_t count = 100;  // 1 to kSampleMax
  std::uint64_t seed = 0;
  Nanos patience{30 * kNsPerSecond};
};
struct SampleReport {
  std::uint32_t asked = 0;
  console::AnswerGroups answers;
  Nanos took{};
};

// Where a mesh is acted on.
struct ActingOn {
  MeshSize size;
  std::span<const std::byte> table;
  std::shared_ptr<const console::RoutingRules> rules;
  // Gives the job back where there is no room for it.
  std::function<std::unique_ptr<Job>(std::unique_ptr<Job>)> post;
  std::shared_ptr<DelegateReputation> reputation{};  // null: the best is by impedance alone
};

// Of work that asks for these capabilities; empty where no rule says anything.
[[nodiscard]] std::function<bool(const FoundAgent&)> allowed_by(
    std::shared_ptr<const console::RoutingRules> rules, std::vector<std::string> capabilities);

Status start_delegation(const ActingOn& mesh, const DelegateRequest& request,
                        std::function<void(DelegateReport)> done);
Status start_sample(const ActingOn& mesh, const SampleRequest& request,
                    std::function<void(SampleReport)> done);

}  // namespace mesh::engine
