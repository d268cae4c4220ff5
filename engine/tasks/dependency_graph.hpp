// DependencyGraph: which task may begin when, and what becomes of the rest when one fails.
//
//   (named by another) waiting_for_definition --add_task--> waiting --the last it needs--> ready
//   ready --mark_completed--> completed, or finishing until the tasks that it spawned are done
//   waiting, ready --mark_failed--> failed; what cannot be done any more: cancelled
//
// Callers     one thread, which owns the graph; hosted by JournaledService it is durable.
// Progress    wait-free.
// Ordering    what is newly ready is answered in the order of insertion, what is cancelled by id.
// Cost        add_task O(dependencies) where they came before it; mark_completed O(dependents). No
//             allocation after construction but a reply's lists. Questions walk the graph, and
//             allocate.
// Units       tasks are u64 of the caller's; priorities 0..3, larger is more urgent.
// Guarantees  never a circle: an edge that would close one is refused with its path. A task is
//             newly ready once. What is finished is remembered as long as an unfinished task waits
//             for it, and longer while there is room.
// If the      owner dies: snapshot and journal give the same graph back.
// other side
// dies
// Errors      exists (already_exists), not_found, cycle with the path, wrong_state, capacity,
//             invalid_argument.
// Source      Kahn 1962; Tarjan 1972; Pearce & Kelly 2006.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/service.hpp"
#include "engine/tasks/graph_core.hpp"
#include "engine/tasks/row_list.hpp"

namespace mesh::tasks {
using namespace coordination;  // the services and their blocks, upon which this box stands

// What a failure means for those that wait for it.
enum class FailurePolicy : std::uint8_t {
  as_configured,
  cancel_dependents,  // and theirs
  block,              // they wait until it is completed after all
  ignore,             // it counts as done
};
constexpr FailurePolicy last_of(FailurePolicy) noexcept { return FailurePolicy::ignore; }

enum class GraphState : std::uint8_t {
  unknown,
  waiting_for_definition,
  waiting,
  ready,
  finishing,  // done itself, but what it spawned is not
  completed,
  failed,
  cancelled,
  blocked,  // as a view: waiting for one that failed and may be completed yet
};
constexpr GraphState last_of(GraphState) noexcept { return GraphState::blocked; }
[[nodiscard]] std::string_view to_string(GraphState state) noexcept;

struct DependencyGraphConfig {
  std::uint32_t tasks_max = 65'536;
  std::uint32_t edges_max = 327'680;
  std::uint32_t dependencies_max = 1'024;  // of one command
  bool strict = false;                     // a dependency has to be known
  FailurePolicy on_failure = FailurePolicy::cancel_dependents;
  std::uint32_t events_max = 16;

  static Result<DependencyGraphConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

namespace graph {
struct AddTask {
  std::uint64_t id = 0;
  std::vector<std::uint64_t> dependencies;
  std::uint32_t priority = 0;
  std::uint32_t need = 0;  // so many of them suffice (an OR-join is 1); 0: all
};
// More to wait for. Its need grows with them where it was all.
struct AddDependencies {
  std::uint64_t id = 0;
  std::vector<std::uint64_t> dependencies;
};
// A task of a task: the parent is complete when they are, too.
struct Spawn {
  std::uint64_t parent = 0;
  AddTask child;
};
struct MarkCompleted {
  std::uint64_t id = 0;
};
struct MarkFailed {
  std::uint64_t id = 0;
  FailurePolicy policy = FailurePolicy::as_configured;
};
// Of one that is finished or that nobody waits for.
struct Remove {
  std::uint64_t id = 0;
};
}  // namespace graph

using DependencyGraphCommand = std::variant<graph::AddTask, graph::AddDependencies, graph::Spawn,
                                            graph::MarkCompleted, graph::MarkFailed, graph::Remove>;
struct DependencyGraphReply {
  Errc code = Errc::ok;
  std::vector<std::uint64_t> ready;      // newly
  std::vector<std::uint64_t> cancelled;  // and failed with it: the parents of what was spawned
  std::vector<std::uint64_t> path;       // cycle: from the task to what it waits for, and back
};
struct DependencyGraphCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t added = 0;
  std::uint64_t completed = 0;
  std::uint64_t failed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t removed = 0;    // unfinished ones
  std::uint64_t forgotten = 0;  // finished ones: removed, or to make room
  std::uint64_t recovered = 0;  // failed, then completed
};
struct DependencyGraphActions {
  bool view_changed = false;
};
struct GraphView {
  GraphState state = GraphState::unknown;
  std::uint32_t missing = 0;
};
struct GraphStats {
  std::uint32_t tasks = 0;
  std::uint32_t edges = 0;
  std::uint32_t undefined = 0;
  std::uint32_t waiting = 0;
  std::uint32_t ready = 0;
  std::uint32_t completed = 0;
  std::uint32_t failed = 0;
  std::uint32_t cancelled = 0;
  std::uint32_t depth = 0;  // edges of the longest chain
};
struct CriticalPath {
  std::uint64_t length = 0;
  std::vector<std::uint64_t> tasks;
};

struct Dependency {
  std::uint64_t task = 0;
  std::uint64_t on = 0;
};
// Of any list of edges, as it comes from elsewhere: each group of tasks that wait for each other,
// and each that waits for itself; the smallest id first, along what waits.
[[nodiscard]] std::vector<std::vector<std::uint64_t>> find_cycles(
    std::span<const Dependency> edges);

class DependencyGraph final
    : public ServiceForm<DependencyGraph, DependencyGraphConfig, DependencyGraphCommand,
                         DependencyGraphReply, DependencyGraphCounters, DependencyGraphActions> {
 public:
  static constexpr std::uint32_t kPriorityMax = 3;
  static constexpr std::uint32_t kTasksMax = 1U << 20;
  static constexpr std::uint32_t kEdgesMax = 5U << 20;
  using Weights = std::function<std::uint64_t(std::uint64_t)>;

  static Status validate(const Config& config);
  explicit DependencyGraph(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;

  [[nodiscard]] GraphView view(std::uint64_t id) const noexcept;
  // The most urgent first, then as they were inserted.
  [[nodiscard]] std::vector<std::uint64_t> ready(std::size_t count = SIZE_MAX) const;
  // All that is known; of two that may come next the lower id.
  [[nodiscard]] std::vector<std::uint64_t> topological_order() const;
  [[nodiscard]] std::vector<std::vector<std::uint64_t>> detect_cycles() const;
  // The longest chain by the sum of its tasks' weights; of two alike the one of lower ids.
  [[nodiscard]] CriticalPath critical_path(const Weights& weight) const;
  // Edges of the longest chain that ends there.
  [[nodiscard]] Result<std::uint32_t> depth(std::uint64_t id) const;
  // The shortest chain from one that comes first to one that waits; empty: there is none.
  [[nodiscard]] std::vector<std::uint64_t> path(std::uint64_t from, std::uint64_t to) const;
  [[nodiscard]] GraphStats stats() const;
  [[nodiscard]] std::string to_dot() const;

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"dependency_graph", 1};
  static constexpr std::string_view kWho = "dependency graph";
  static constexpr std::uint32_t kNone = GraphCore::kNone;

  struct Task {
    std::uint64_t id = 0;
    std::uint64_t inserted = 0;
    std::uint64_t finished = 0;  // the order of being forgotten
    std::uint64_t touched = 0;   // by which command
    std::uint32_t need = 0;
    std::uint32_t missing = 0;
    std::uint32_t spare = 0;  // so many more of those it waits for may fail
    std::uint32_t parent = kNone;
    std::uint32_t children = 0;  // unfinished
    std::uint32_t next = kNone;  // of the ready, the finished or the free
    std::uint32_t last = kNone;
    GraphState state = GraphState::unknown;
    FailurePolicy policy = FailurePolicy::as_configured;  // of a failed one
    std::uint8_t priority = 0;
    bool needs_all = true;
  };
  using List = RowList;
  static_assert(kNone == List::kNone);

  Reply on(const graph::AddTask& order) noexcept;
  Reply on(const graph::AddDependencies& order) noexcept;
  Reply on(const graph::Spawn& order) noexcept;
  Reply on(const graph::MarkCompleted& order) noexcept;
  Reply on(const graph::MarkFailed& order) noexcept;
  Reply on(const graph::Remove& order) noexcept;
  Reply add(const graph::AddTask& order, std::uint32_t parent) noexcept;
  Reply refuse_cycle(std::uint64_t own) noexcept;
  [[nodiscard]] std::uint32_t find(std::uint64_t id) const noexcept;
  [[nodiscard]] Errc look_up(std::span<const std::uint64_t> ids, std::uint64_t own) noexcept;
  [[nodiscard]] bool has_cycle(std::uint32_t at, std::uint32_t parent) noexcept;
  [[nodiscard]] bool is_taken(std::uint32_t at, std::uint32_t parent) const noexcept;
  [[nodiscard]] bool make_room(std::size_t tasks) noexcept;
  [[nodiscard]] bool is_needed(std::uint32_t task) const noexcept;
  std::uint32_t create(std::uint64_t id) noexcept;
  void create_unknown(std::span<const std::uint64_t> ids) noexcept;
  void link_all(std::span<const std::uint64_t> ids, std::uint32_t task) noexcept;
  [[nodiscard]] bool count_in(std::uint32_t task) noexcept;
  void settle(std::uint32_t task) noexcept;
  void end(std::uint32_t task, GraphState state) noexcept;
  void spread_all() noexcept;
  void spread(std::uint32_t task) noexcept;
  void reach(std::uint32_t from, std::uint32_t to) noexcept;
  void child_ended(std::uint32_t parent, bool well) noexcept;
  void forget(std::uint32_t task) noexcept;
  Reply tell() noexcept;
  [[nodiscard]] bool is_finished(std::uint32_t task) const noexcept {
    const GraphState state = tasks_[task].state;
    return state == GraphState::completed || state == GraphState::failed ||
           state == GraphState::cancelled;
  }
  // It was completed, or counts as such for those that wait for it.
  [[nodiscard]] bool is_done(std::uint32_t task) const noexcept {
    return tasks_[task].state == GraphState::completed ||
           (tasks_[task].state == GraphState::failed &&
            tasks_[task].policy == FailurePolicy::ignore);
  }
  // It failed, and may be completed yet.
  [[nodiscard]] bool is_held(std::uint32_t task) const noexcept {
    return tasks_[task].state == GraphState::failed && tasks_[task].policy == FailurePolicy::block;
  }
  void push(List& list, std::uint32_t task) noexcept { list.push(tasks_, task); }
  void take_out(List& list, std::uint32_t task) noexcept { list.take_out(tasks_, task); }

  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);
  void load_tasks(StateReader& reader, std::size_t count);
  void load_edges(StateReader& reader, std::span<const std::uint32_t> order);
  [[nodiscard]] std::vector<std::uint32_t> by_insertion() const;
  [[nodiscard]] bool counts_rightly(std::uint32_t task) const noexcept;

  GraphCore core_;
  std::vector<Task> tasks_;
  IdTable index_;
  List ready_;
  List finished_;
  List free_;
  std::uint32_t fresh_ = 0;  // tasks_ never used: those from here on
  std::uint64_t last_inserted_ = 0;
  std::uint64_t last_finished_ = 0;
  std::uint64_t touch_ = 0;
  // Of one command.
  std::vector<std::uint32_t> known_;
  std::vector<std::uint64_t> sorted_;
  std::vector<std::uint32_t> newly_ready_;
  std::vector<std::uint32_t> ended_;
  std::size_t unknown_ = 0;
  bool view_changed_ = true;
};

static_assert(DurableService<DependencyGraph>);

}  // namespace mesh::tasks

namespace mesh::coordination {
extern template class ServiceForm<tasks::DependencyGraph, tasks::DependencyGraphConfig,
                                  tasks::DependencyGraphCommand, tasks::DependencyGraphReply,
                                  tasks::DependencyGraphCounters, tasks::DependencyGraphActions>;
}  // namespace mesh::coordination
