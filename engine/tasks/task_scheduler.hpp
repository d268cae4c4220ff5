// TaskScheduler: which agent does which task when, each once.
//
//   submit --> pending --dependencies done, arrival near--> ready --assign, claim, tick--> assigned
//   assigned --start--> running --complete--> completed; its dependents may become ready
//   assigned, running --fail | time-out | agent dead--> failed --back-off--> ready; too often: dead
//   any but those that have ended --cancel--> cancelled, and whoever waits for it
//
// Callers     one thread, which owns the machine; hosted by JournaledService it is durable. With
//             `durable` false the host applies without the journal.
// Progress    wait-free. What is due at `now` happens before the command.
// Cost        submit, assign, start, complete of a task: under 2 us together. No allocation after
//             construction but a reply's lists.
// Units       tasks are u64 of the caller's, agents numbers below agents_max (rows). Capabilities
//             and requirements are bits. Priorities 0..3, larger is more urgent.
// Ordering    of those that may begin: effective priority (one more for each aging_ns of waiting,
//             up to 3), deadline, the order in which they became ready. What no agent can take now
//             stops only its own kind. What Restrain keeps does not age meanwhile.
// Guarantees  no task runs before all its dependencies are completed; on an agent never more than
//             its concurrent_max; each task ends once, its result is committed once: whoever has
//             lost it has an old fence. Capabilities are a filter before any score. Only a task
//             that says so runs twice at once (a straggler), each copy under a fence of its own.
// If the      agent stalls: its assignment times out, counts as failed. It or its station dies: at
// other side  once, what it had is ready again. The owner dies: snapshot and journal.
// dies
// Errors      already_exists, not_found, no_such_agent, no_candidate, wrong_state, stale_token,
//             cycle (of itself), capacity, invalid_argument, invalid_id; not_found: a strategy.
//             Refusal: rejected_policy (an agent that cannot; a deadline that cannot be met),
//             would_block (the agent is full).
// Source      EDF; power of two choices (Mitzenmacher 2001); HEFT (heft.hpp); priority aging;
//             backup tasks (Dean & Ghemawat 2004).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/coordination/blocks/deadline_heap.hpp"
#include "engine/coordination/blocks/fence_counter.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/service.hpp"
#include "engine/tasks/event_names.hpp"
#include "engine/tasks/graph_core.hpp"
#include "engine/tasks/ready_queue.hpp"
#include "engine/tasks/row_list.hpp"
#include "engine/tasks/task_terms.hpp"

namespace mesh::tasks {

class TaskScheduler final
    : public ServiceForm<TaskScheduler, TaskSchedulerConfig, TaskCommand, TaskReply,
                         TaskSchedulerCounters, TaskSchedulerActions> {
 public:
  static constexpr std::uint32_t kTasksMax = 1U << 20;
  static constexpr std::uint32_t kPriorityMax = 3;
  static constexpr std::uint32_t kConcurrentMax = 1'024;
  // Events have the names of the bus. a: task; b: agent; c: fence, or the capabilities that lack.
  using Event = EventName;
  // Chooses among `agents`, which all may; any other answer is no answer.
  struct Choice {
    std::uint64_t task;
    std::uint32_t type;
    std::span<const std::uint32_t> agents;
  };
  using Chooser = std::function<std::uint32_t(const TaskScheduler&, const Choice&)>;

  static Status validate(const Config& config);
  explicit TaskScheduler(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  // Assigns what may begin, too.
  void tick(Nanos now, Actions& out) noexcept;

  // A strategy of the program's own, in use from the next SetStrategy that names it. It is not part
  // of a snapshot: who restores registers it again. already_exists, invalid_id, capacity.
  Status register_strategy(std::string_view name, Chooser chooser);
  [[nodiscard]] std::string_view strategy() const noexcept;

  [[nodiscard]] TaskView view(std::uint64_t id) const noexcept;
  [[nodiscard]] AgentLoad load(std::uint32_t agent) const noexcept;
  // Since when it has been assigned, or has been running; 0: it is neither.
  [[nodiscard]] Nanos held_since(std::uint64_t id) const noexcept;
  [[nodiscard]] std::uint32_t ready_count() const noexcept {
    return ready_.count() + parked_count();
  }
  [[nodiscard]] std::uint32_t parked_count() const noexcept {
    std::uint32_t count = 0;
    for (const RowList& list : parked_) count += list.count;
    return count;
  }
  [[nodiscard]] std::uint32_t open_count() const noexcept { return open_tasks_; }  // not ended
  // Whom the strategy would choose now, or kNoAgent. round_robin and p2c do not move on.
  [[nodiscard]] std::uint32_t would_choose(std::uint64_t id) const;
  // Why it is where it is, for who asks. Cost: O(agents), of a ready one O(tasks).
  [[nodiscard]] TaskExplanation explain(std::uint64_t id) const noexcept;
  // What a Claim of this agent would get first. It is not taken.
  [[nodiscard]] std::optional<std::uint64_t> peek(std::uint32_t agent) const noexcept;
  // The bound of the k-th retry's delay.
  [[nodiscard]] static Nanos retry_bound(const Config& config, std::uint32_t retry) noexcept;

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"task_scheduler", 2};
  static constexpr std::string_view kWho = "task scheduler";
  static constexpr std::uint32_t kNone = IdTable::kNone;
  static constexpr std::int64_t kNever = INT64_MAX;

  struct Task {
    std::uint64_t id = 0;
    std::uint64_t order = 0;  // of submission
    std::uint64_t fence = 0;  // of its assignment; 0: it has none
    std::uint64_t place = 0;  // in the order of becoming ready, of backing off or of ending
    std::int64_t deadline_ns = kNever;
    std::uint32_t next = kNone;  // of its agent's, of the ended or of the free
    std::uint32_t last = kNone;
    std::uint32_t agent = kNoAgent;
    std::uint32_t running = kNone;  // its number among the assigned and running
    std::uint32_t missing = 0;
    std::uint32_t attempt = 0;
    std::uint32_t retries = 0;
    std::uint16_t kind = 0;
    std::uint16_t type = 0;
    TaskState state = TaskState::unknown;
    std::uint8_t priority = 0;
    std::uint8_t moves = 0;
    bool may_run_twice = false;
    bool is_doubled = false;  // another agent has a copy
    bool is_parked = false;   // ready, and kept
  };
  // The second assignment of a task that runs long.
  struct Copy {
    std::uint32_t task = 0;
    std::uint32_t agent = 0;
    std::uint64_t fence = 0;
    std::int64_t since_ns = 0;
    std::int64_t due_ns = 0;
    bool is_running = false;
  };
  static constexpr std::uint32_t kDurationsKept = 32;
  struct Durations {  // the last of a type
    std::uint32_t type = kNone;
    std::uint32_t count = 0;
    std::array<std::int64_t, kDurationsKept> ns{};
  };
  // What is looked at less often.
  struct Terms {
    std::uint64_t payload = 0;
    std::uint64_t metadata = 0;
    std::uint64_t result = 0;
    std::int64_t cost_ns = 0;
    std::int64_t arrival_ns = 0;
    std::int64_t timeout_ns = 0;
    std::int64_t since_ns = 0;  // assigned, or running
    std::int64_t moved_ns = 0;
  };
  using List = RowList;
  static_assert(kNone == List::kNone);
  struct Agent {
    std::uint64_t capabilities = 0;
    std::uint64_t completed = 0;
    std::uint64_t failed = 0;
    std::int64_t usual_ns = 0;
    std::int64_t last_ns = 0;
    std::int64_t lead_ns = 0;
    List tasks;  // assigned and running, the oldest assignment first
    std::uint32_t running = 0;
    std::uint32_t copies = 0;
    std::uint32_t concurrent_max = 0;
    std::uint32_t priority = 0;
    std::uint32_t station = 0;
    std::uint32_t cpu_ppt = 0;
    std::uint32_t mem_ppt = 0;
    std::uint32_t reputation_ppm = 0;
    std::uint32_t health_ppm = 0;
    bool known = false;
    bool any = false;
    bool routable = false;
    bool held = false;
    [[nodiscard]] bool is_open() const noexcept { return known && routable && !held; }
    [[nodiscard]] std::uint32_t load() const noexcept { return tasks.count + copies; }
  };
  struct Kind {
    std::uint64_t requirements = 0;
    std::uint32_t tasks = 0;             // that have not ended
    std::vector<std::uint64_t> capable;  // a bit an agent
  };
  struct Affinity {
    std::uint32_t type = kNone;
    std::uint32_t agent = kNoAgent;
  };
  struct Custom {
    std::string name;
    Chooser chooser;
  };

  // task_scheduler.cpp: commands.
  Reply on(const task::RegisterAgent& order, std::int64_t now_ns) noexcept;
  Reply on(const task::RemoveAgent& order, std::int64_t now_ns) noexcept;
  Reply on(const task::SetRoutable& order, std::int64_t now_ns) noexcept;
  Reply on(const task::ReportAgent& order, std::int64_t now_ns) noexcept;
  Reply on(const task::Submit& order, std::int64_t now_ns) noexcept;
  Reply on(const task::Assign& order, std::int64_t now_ns) noexcept;
  Reply on(const task::Claim& order, std::int64_t now_ns) noexcept;
  Reply on(const task::Start& order, std::int64_t now_ns) noexcept;
  Reply on(const task::Progress& order, std::int64_t now_ns) noexcept;
  Reply on(const task::Complete& order, std::int64_t now_ns) noexcept;
  // By this agent, since then.
  struct Doer {
    std::uint32_t agent = kNoAgent;
    std::int64_t since_ns = 0;
  };
  void completed_by(std::uint32_t at, Doer doer, std::uint64_t result,
                    std::int64_t now_ns) noexcept;
  Reply on(const task::Fail& order, std::int64_t now_ns) noexcept;
  Reply on(const task::GiveBack& order, std::int64_t now_ns) noexcept;
  Reply on(const task::Cancel& order, std::int64_t now_ns) noexcept;
  Reply on(const task::Reassign& order, std::int64_t now_ns) noexcept;
  Reply on(const task::Steal& order, std::int64_t now_ns) noexcept;
  Reply on(const task::SetStrategy& order, std::int64_t now_ns) noexcept;
  Reply on(const task::StationClosed& order, std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc check(const task::Submit& order) const noexcept;
  [[nodiscard]] Errc look_up(const task::Submit& order) noexcept;
  [[nodiscard]] Errc find_held(std::uint64_t id, std::uint64_t fence,
                               std::uint32_t& at) const noexcept;
  Reply reply_of(std::uint32_t at) const noexcept;
  Reply mismatch(std::uint32_t at, std::uint32_t agent, std::int64_t now_ns) noexcept;
  [[nodiscard]] TaskAssignment assignment_of(std::uint32_t at) const noexcept;

  // task_states.cpp: what becomes of tasks.
  [[nodiscard]] std::uint32_t find(std::uint64_t id) const noexcept;
  [[nodiscard]] std::uint32_t find_kind(std::uint64_t requirements) const noexcept;
  std::uint32_t kind_of(std::uint64_t requirements) noexcept;
  [[nodiscard]] bool make_room() noexcept;
  std::uint32_t create(std::uint64_t id) noexcept;
  void forget(std::uint32_t at) noexcept;
  void make_ready(std::uint32_t at, std::int64_t now_ns) noexcept;
  void enqueue(std::uint32_t at, std::int64_t now_ns) noexcept;
  void assign(std::uint32_t at, std::uint32_t agent, std::int64_t now_ns) noexcept;
  void unassign(std::uint32_t at) noexcept;
  void move(std::uint32_t at, std::uint32_t agent, std::int64_t now_ns) noexcept;
  void attempt_failed(std::uint32_t at, bool for_good, std::int64_t now_ns) noexcept;
  void lose(std::uint32_t at, std::int64_t now_ns) noexcept;
  void lose_all(std::uint32_t agent, std::int64_t now_ns) noexcept;
  void end(std::uint32_t at, TaskState state, std::int64_t now_ns) noexcept;
  void leave(std::uint32_t at) noexcept;
  void release_dependents(std::uint32_t at, std::int64_t now_ns) noexcept;
  void cancel_dependents(std::int64_t now_ns) noexcept;
  void tell(TaskNotice kind, std::uint32_t at, std::uint32_t agent) noexcept;
  void say(Event name, Severity severity, std::uint32_t at, std::int64_t now_ns) noexcept;
  void catch_up(std::int64_t now_ns) noexcept;
  void dispatch(std::vector<TaskAssignment>& out, std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint32_t next_ready(std::uint32_t agent) const noexcept;
  // task_restraint.cpp: what is kept while the mesh lacks agents.
  // task_explain.cpp
  void count_agents(std::uint32_t at, TaskExplanation& said) const noexcept;
  [[nodiscard]] std::uint32_t count_ahead(std::uint32_t at) const noexcept;
  [[nodiscard]] TaskReason reason_of_ready(std::uint32_t at,
                                           const TaskExplanation& said) const noexcept;
  Reply on(const task::Restrain& order, std::int64_t now_ns) noexcept;
  Reply on(const task::HoldAgent& order, std::int64_t now_ns) noexcept;
  void park(std::uint32_t at) noexcept;
  void unpark(std::uint32_t at) noexcept;
  void release_parked(std::int64_t now_ns) noexcept;
  [[nodiscard]] bool has_released() const noexcept;
  void push(List& list, std::uint32_t at) noexcept { list.push(tasks_, at); }
  void take_out(List& list, std::uint32_t at) noexcept { list.take_out(tasks_, at); }

  // task_copies.cpp: what runs long is given to another agent too.
  void note_duration(std::uint32_t type, std::int64_t took_ns) noexcept;
  [[nodiscard]] std::int64_t long_for(std::uint32_t type) const noexcept;
  void arm_straggler(std::uint32_t at, std::int64_t now_ns) noexcept;
  void make_copies(std::vector<TaskAssignment>& out, std::int64_t now_ns) noexcept;
  void copy(std::uint32_t at, std::uint32_t agent, std::int64_t now_ns) noexcept;
  [[nodiscard]] Copy* copy_of(std::uint32_t at) noexcept;
  [[nodiscard]] Copy* find_copy(std::uint32_t at, std::uint64_t fence) noexcept;
  Copy take_copy(std::uint32_t at) noexcept;
  void drop_copy(std::uint32_t at) noexcept;
  void drop_copies_of(std::uint32_t agent) noexcept;
  void promote_copy(std::uint32_t at) noexcept;
  void copies_due(std::int64_t now_ns) noexcept;
  [[nodiscard]] std::int64_t next_copy_ns() const noexcept;
  Reply reply_of(const Copy& one) const noexcept;
  Reply start(Copy& one, std::int64_t now_ns) noexcept;
  Reply progress(Copy& one, std::int64_t now_ns) noexcept;
  Reply complete(const Copy& one, std::uint64_t result, std::int64_t now_ns) noexcept;
  Reply give_up(const Copy& one, bool is_failure) noexcept;

  // task_strategies.cpp: who gets it.
  struct Draws {  // what a choice uses up
    Rng rng{0};
    std::uint64_t turn = 0;
  };
  [[nodiscard]] bool can(std::uint32_t agent, std::uint32_t kind) const noexcept;
  void refresh(std::uint32_t agent) noexcept;
  [[nodiscard]] bool has_candidate(std::uint32_t kind) const noexcept;
  [[nodiscard]] std::uint32_t count_candidates(std::uint32_t kind) const noexcept;
  [[nodiscard]] std::uint32_t nth_candidate(std::uint32_t kind, std::uint64_t n) const noexcept;
  template <class Better>
  [[nodiscard]] std::uint32_t best_candidate(std::uint32_t kind, Better&& is_better) const noexcept;
  [[nodiscard]] std::uint32_t choose(std::uint32_t at, Draws& draws) const noexcept;
  [[nodiscard]] std::uint32_t choose_scored(std::uint32_t at) const noexcept;
  [[nodiscard]] std::uint32_t choose_capable(std::uint32_t kind, Draws& draws) const noexcept;
  [[nodiscard]] std::uint32_t choose_of_two(std::uint32_t kind, Draws& draws) const noexcept;
  [[nodiscard]] std::uint32_t choose_familiar(std::uint32_t at, Draws& draws) const noexcept;
  [[nodiscard]] std::uint32_t choose_custom(std::uint32_t at) const noexcept;
  [[nodiscard]] std::uint32_t choose_other(std::uint32_t at) const noexcept;
  [[nodiscard]] std::int64_t done_at(std::uint32_t agent, std::int64_t cost_ns) const noexcept;
  [[nodiscard]] bool is_in_time(const task::Submit& order, std::int64_t now_ns) const noexcept;
  [[nodiscard]] bool is_lighter(std::uint32_t a, std::uint32_t b) const noexcept;

  void save_state(StateWriter& writer) const;
  void save_tasks(StateWriter& writer) const;
  void load_state(StateReader& reader);
  void load_agents(StateReader& reader);
  void load_tasks(StateReader& reader);
  void save_copies(StateWriter& writer, const std::vector<std::uint32_t>& places) const;
  void load_copies(StateReader& reader);
  [[nodiscard]] bool copies_are_sound() const;
  [[nodiscard]] bool load_task(StateReader& reader, std::uint32_t at);
  void place_tasks(StateReader& reader);
  void list_by_place(std::vector<std::uint32_t>& order);
  [[nodiscard]] std::vector<std::uint32_t> in_order() const;
  [[nodiscard]] bool is_sound(std::uint32_t at) const noexcept;

  std::vector<Task> tasks_;
  std::vector<Terms> terms_;
  IdTable index_;
  GraphCore graph_;
  ReadyQueue ready_;
  DeadlineHeap delayed_;             // a slot a task: backing off, or before its window
  DeadlineHeap timeouts_;            // a slot an assignment
  std::vector<std::uint32_t> held_;  // the task of each assignment
  std::vector<std::uint32_t> free_held_;
  std::vector<Agent> agents_;
  std::vector<Kind> kinds_;
  std::uint32_t kind_count_ = 0;
  std::vector<std::uint64_t> open_;  // a bit an agent: routable, and not full
  std::vector<Affinity> familiar_;
  std::vector<Durations> durations_;
  std::vector<Copy> copies_;  // by fence
  DeadlineHeap stragglers_;   // a slot an assignment: when it runs too long
  List ended_;
  List free_;
  std::array<List, kPriorityMax + 1> parked_;  // by priority, in the order of becoming ready
  task::Restrain restraint_;
  std::uint32_t fresh_ = 0;  // tasks_ never used: those from here on
  std::uint32_t open_tasks_ = 0;
  FenceCounter fence_;
  std::uint64_t last_order_ = 0;
  std::uint64_t last_place_ = 0;
  Draws draws_;
  Strategy strategy_ = Strategy::capability;
  std::string custom_name_;
  std::vector<Custom> custom_;
  // Of one command.
  std::vector<std::uint32_t> found_;
  std::vector<std::uint32_t> gone_;  // cancelled or dead: whoever waits for them is, too
  std::vector<TaskNews> news_;
  mutable std::vector<std::uint32_t> listed_;
  mutable std::uint64_t callbacks_failed_ = 0;
  bool view_changed_ = true;
  // While a snapshot is read.
  std::vector<ReadyQueue::Item> pending_items_;
  std::vector<std::uint32_t> pending_slots_;
};

static_assert(DurableService<TaskScheduler>);

}  // namespace mesh::tasks

namespace mesh::coordination {
extern template class ServiceForm<tasks::TaskScheduler, tasks::TaskSchedulerConfig,
                                  tasks::TaskCommand, tasks::TaskReply,
                                  tasks::TaskSchedulerCounters, tasks::TaskSchedulerActions>;
}  // namespace mesh::coordination
