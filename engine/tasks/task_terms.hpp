// What TaskScheduler is told, and what it answers: config, commands, replies, news, views.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/refusal.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::tasks {
using namespace coordination;  // the services and their blocks, upon which this box stands

inline constexpr std::uint32_t kNoAgent = 0xFFFF'FFFF;

enum class TaskState : std::uint8_t {
  unknown,
  pending,    // for dependencies, or for its arrival window
  ready,      // for an agent
  assigned,   // an agent has it, and has not begun
  running,    // it has begun
  failed,     // and is ready again after its back-off
  completed,  // from here on: for good
  cancelled,
  dead,  // failed too often, or for good
};
constexpr TaskState last_of(TaskState) noexcept { return TaskState::dead; }
[[nodiscard]] std::string_view to_string(TaskState state) noexcept;
[[nodiscard]] constexpr bool is_final(TaskState state) noexcept {
  return state >= TaskState::completed;
}

// How an agent is chosen, among those that have the capabilities, may be routed to and are not
// full.
enum class Strategy : std::uint8_t {
  capability,    // the least load, then the higher priority, then the lower agent
  round_robin,   // the next of those that may
  least_loaded,  // the smallest share of its capacity in use
  affinity,      // who last completed one of its type, if not too loaded
  p2c,           // the less loaded of two at random
  reputation,
  health,
  impedance,  // the shortest lead
  auction,    // the lowest bid: (load + 1) times its usual time, and its lead
  heft,       // who would be done with it first
  deadline,   // as heft; a task that nobody would be done with in time is not admitted
  custom,     // a function of the program's own
};
constexpr Strategy last_of(Strategy) noexcept { return Strategy::custom; }
[[nodiscard]] std::string_view to_string(Strategy strategy) noexcept;

struct TaskSchedulerConfig {
  std::uint32_t tasks_max = 65'536;
  std::uint32_t edges_max = 262'144;
  std::uint32_t dependencies_max = 64;  // of one task
  std::uint32_t agents_max = 1'024;
  std::uint32_t running_max = 65'536;  // assigned or running at once
  std::uint32_t kinds_max = 64;        // different sets of requirements
  std::uint32_t types_max = 256;       // affinity remembers so many
  Strategy strategy = Strategy::capability;
  std::uint32_t p2c_above = 64;  // capability among more than so many agents: two at random
  std::uint32_t retries_max = 3;
  Nanos retry_ns{1'000'000'000};
  Nanos retry_ns_max{30'000'000'000};
  Nanos timeout_ns{30'000'000'000};  // of an assignment, until it starts and again until it ends
  Nanos aging_ns{10'000'000'000};
  std::uint32_t affinity_ppm = 800'000;  // of its capacity: above, others take it
  std::uint32_t dispatch_max = 256;      // assignments of one tick
  Nanos steal_interval_ns{5'000'000'000};
  std::uint32_t steals_max = 3;  // in the life of a task
  // A task that may be done twice, and runs longer than this share of the p95 of its type, is given
  // to another agent too. At most so many at once, and this share of what was started.
  std::uint32_t straggler_ppm = 1'500'000;
  std::uint32_t straggler_samples = 16;  // of its type, before anything is said of it: 1..32
  std::uint32_t copies_max = 64;         // 0: none
  std::uint32_t copies_ppm = 50'000;
  bool durable = true;  // false: the host applies without its journal, for latency
  std::uint32_t events_max = 1'024;

  static Result<TaskSchedulerConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

namespace task {
struct RegisterAgent {  // again: its profile changes, what it runs stays
  std::uint32_t agent = 0;
  std::uint64_t capabilities = 0;  // a bit each
  bool any = false;                // '*': it has them all
  std::uint32_t concurrent_max = 10;
  std::uint32_t priority = 0;
  std::uint32_t station = 0;
};
// Nothing more is assigned; what it has goes back.
struct RemoveAgent {
  std::uint32_t agent = 0;
};
// What breakers and the operator say.
struct SetRoutable {
  std::uint32_t agent = 0;
  bool routable = true;
};
// What the agent's station measures, and other services say of it.
struct ReportAgent {
  std::uint32_t agent = 0;
  std::uint32_t cpu_ppt = 0;
  std::uint32_t mem_ppt = 0;
  std::uint32_t reputation_ppm = 500'000;
  std::uint32_t health_ppm = 1'000'000;
  Nanos lead{0};
};
struct Submit {
  std::uint64_t id = 0;
  std::uint32_t type = 0;
  std::int32_t priority = 0;  // 0..3; others by clamp
  std::uint64_t requirements = 0;
  std::uint64_t payload = 0;
  std::uint64_t metadata = 0;
  std::vector<std::uint64_t> dependencies;
  Nanos deadline{0};                 // 0: none
  Nanos cost{0};                     // estimated
  Nanos arrival{0};                  // it is to be done then, not sooner: ready at arrival - cost
  std::uint32_t retries = kNoAgent;  // as configured
  Nanos timeout{0};                  // as configured
  bool may_run_twice = false;        // at once, where it runs long: the first result counts
};
struct Assign {
  std::uint64_t id = 0;
  std::uint32_t agent = kNoAgent;  // the default strategy chooses
};
// Up to so many for this agent, ahead of their start: what its station holds for it.
struct Claim {
  std::uint32_t agent = 0;
  std::uint32_t count = 1;
};
struct Start {
  std::uint64_t id = 0;
  std::uint64_t fence = 0;
};
struct Progress {  // it runs on: its time-out begins anew
  std::uint64_t id = 0;
  std::uint64_t fence = 0;
};
struct Complete {
  std::uint64_t id = 0;
  std::uint64_t fence = 0;
  std::uint64_t result = 0;
};
struct Fail {
  std::uint64_t id = 0;
  std::uint64_t fence = 0;
  bool for_good = false;
};
struct GiveBack {  // not begun, and it will not: no attempt is counted
  std::uint64_t id = 0;
  std::uint64_t fence = 0;
};
struct Cancel {
  std::uint64_t id = 0;
};
struct Reassign {  // one transition: whatever its agent still says is stale
  std::uint64_t id = 0;
  std::uint32_t agent = kNoAgent;
};
// Of what `from` has not begun, the oldest first, as far as `to` can and the limits allow.
struct Steal {
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  std::uint32_t count = 1;
};
struct SetStrategy {
  std::string name;
};
struct StationClosed {
  std::uint32_t station = 0;
};
// What a mesh asks that lacks agents. A task below priority_min that becomes ready is kept until
// that is lowered again; what was ready before goes on.
struct Restrain {
  std::uint32_t priority_min = 0;  // 0..4
  bool retries_doubled = false;    // back-offs, and their bound
  bool stopped = false;            // nothing is assigned but by an Assign that names the agent
};
// Nothing more is assigned to it for now; what it has stays. Beside what SetRoutable says.
struct HoldAgent {
  std::uint32_t agent = 0;
  bool held = true;
};
}  // namespace task

using TaskCommand =
    std::variant<task::RegisterAgent, task::RemoveAgent, task::SetRoutable, task::ReportAgent,
                 task::Submit, task::Assign, task::Claim, task::Start, task::Progress,
                 task::Complete, task::Fail, task::GiveBack, task::Cancel, task::Reassign,
                 task::Steal, task::SetStrategy, task::StationClosed, task::Restrain,
                 task::HoldAgent>;

struct TaskAssignment {
  std::uint64_t id = 0;
  std::uint64_t fence = 0;
  std::uint64_t payload = 0;
  std::uint32_t agent = kNoAgent;
  std::uint32_t attempt = 0;
};
enum class TaskNotice : std::uint8_t { retried, cancelled, dead, revoked };
constexpr TaskNotice last_of(TaskNotice) noexcept { return TaskNotice::revoked; }
// What became of others than the one that was spoken of, or of one in its own time.
struct TaskNews {
  TaskNotice kind = TaskNotice::retried;
  std::uint32_t agent = kNoAgent;  // who had it, or has to stop
  std::uint64_t id = 0;
};

struct TaskReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  TaskState state = TaskState::unknown;
  std::uint32_t agent = kNoAgent;
  std::uint64_t fence = 0;
  Nanos retry_after{0};
  std::vector<TaskAssignment> assigned;
  std::vector<TaskNews> news;
};
struct TaskSchedulerCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t submitted = 0;
  std::uint64_t assigned = 0;
  std::uint64_t started = 0;
  std::uint64_t completed = 0;
  std::uint64_t failed = 0;     // attempts: reported, timed out
  std::uint64_t timed_out = 0;  // among failed
  std::uint64_t lost = 0;       // attempts whose agent or station died
  std::uint64_t given_back = 0;
  std::uint64_t retried = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t dead = 0;
  std::uint64_t moved = 0;       // stolen or reassigned
  std::uint64_t mismatches = 0;  // an agent was named that cannot
  std::uint64_t late = 0;        // not admitted: its deadline cannot be met
  std::uint64_t forgotten = 0;   // finished ones, to make room
  std::uint64_t copies = 0;      // second assignments of what ran long
  std::uint64_t copies_won = 0;  // of those: done first, or left when the first had failed
  std::uint64_t callbacks_failed = 0;
  std::uint64_t parked = 0;  // ready, and kept since the mesh lacks agents
};
struct TaskSchedulerActions {
  std::vector<TaskAssignment> assigned;
  std::vector<TaskNews> news;
  Nanos next_tick{0};
  bool view_changed = false;
};
struct TaskView {
  TaskState state = TaskState::unknown;
  std::uint32_t agent = kNoAgent;
  std::uint64_t fence = 0;
  std::uint32_t attempt = 0;  // executions begun or handed out
  std::uint32_t missing = 0;
  std::uint32_t priority = 0;  // effective
  std::uint64_t result = 0;
  bool parked = false;  // ready, and kept until the mesh is better
};
// Why a task is where it is.
enum class TaskReason : std::uint8_t {
  unknown,       // there is none, or it has been forgotten
  dependencies,  // it waits for others
  window,        // its arrival window is not near
  back_off,      // it failed, and is ready again at `until`
  restrained,    // it is kept: the mesh lacks agents
  stopped,       // so much that nothing is assigned by itself
  nobody_can,    // no agent that is known has what it requires
  nobody_open,   // those who can are not routable, or held
  all_full,      // those who can and are open have as much as they may
  no_room,       // running_max assignments are out
  its_turn,      // somebody may have it: with the next tick or claim, after those ahead
  held,          // an agent has it
  ended,
};
constexpr TaskReason last_of(TaskReason) noexcept { return TaskReason::ended; }
[[nodiscard]] std::string_view to_string(TaskReason reason) noexcept;
struct TaskExplanation {
  TaskReason reason = TaskReason::unknown;
  TaskState state = TaskState::unknown;
  std::uint32_t agent = kNoAgent;  // who has it
  Nanos until{0};                  // back_off, window: when it is ready
  std::uint32_t missing = 0;       // dependencies that are not done
  std::uint64_t waits_for = 0;     // the lowest of them; of no meaning where none is missing
  std::uint64_t lacking = 0;       // what it requires and no agent has, agents that have all apart
  std::uint32_t capable = 0;       // agents that have what it requires
  std::uint32_t open = 0;          // of them: routable, and not held
  std::uint32_t free = 0;          // of them: not full
  std::uint32_t ahead = 0;         // ready ones that require the same, and go first
  friend bool operator==(const TaskExplanation&, const TaskExplanation&) = default;
};
struct AgentLoad {
  bool known = false;
  bool routable = false;
  std::uint32_t queued = 0;
  std::uint32_t running = 0;  // copies too, begun or not
  std::uint32_t concurrent_max = 0;
  std::uint32_t cpu_ppt = 0;
  std::uint32_t mem_ppt = 0;
  Nanos usual_time{0};  // EWMA
  Nanos last{0};
  std::uint64_t completed = 0;
  std::uint64_t failed = 0;
  bool held = false;  // by HoldAgent
};

}  // namespace mesh::tasks
