#include "engine/tasks/dependency_graph.hpp"

#include <algorithm>
#include <utility>

namespace mesh::tasks {
namespace {

IdHash hash_of_task(std::uint64_t id) noexcept { return hash_of(id, 5); }

}  // namespace

DependencyGraph::DependencyGraph(const Config& config, std::uint64_t)
    : ServiceForm(config),
      core_(config.tasks_max, config.edges_max),
      tasks_(config.tasks_max),
      index_(config.tasks_max) {
  known_.reserve(config.dependencies_max + std::size_t{1});
  sorted_.reserve(config.dependencies_max);
  newly_ready_.reserve(config.tasks_max);
  ended_.reserve(config.tasks_max);
}

// --- tasks and lists ---------------------------------------------------------------------------

std::uint32_t DependencyGraph::find(std::uint64_t id) const noexcept {
  return index_.find(hash_of_task(id));
}

std::uint32_t DependencyGraph::create(std::uint64_t id) noexcept {
  std::uint32_t at = free_.first;
  if (at == kNone) {
    at = fresh_++;
  } else {
    take_out(free_, at);
  }
  Task& task = tasks_[at] = {};
  task.id = id;
  task.inserted = ++last_inserted_;
  task.touched = touch_;
  task.state = GraphState::waiting_for_definition;
  core_.open(at);
  index_.set(hash_of_task(id), at);
  return at;
}

// And who is only named by it.
void DependencyGraph::forget(std::uint32_t task) noexcept {
  core_.each_in(task, [&](std::uint32_t edge, std::uint32_t from) {
    core_.unlink(edge);
    if (tasks_[from].parent == task) tasks_[from].parent = kNone;
    const bool is_idle = tasks_[from].state == GraphState::waiting_for_definition &&
                         !core_.has_out(from) &&
                         tasks_[from].touched != touch_;  // this command is about it
    if (!is_idle) return;
    index_.erase(hash_of_task(tasks_[from].id));
    tasks_[from] = {};
    push(free_, from);
  });
  core_.close(task);
  index_.erase(hash_of_task(tasks_[task].id));
  tasks_[task] = {};
  push(free_, task);
}

// Somebody unfinished waits for it.
bool DependencyGraph::is_needed(std::uint32_t task) const noexcept {
  bool needed = false;
  core_.each_out(task,
                 [&](std::uint32_t, std::uint32_t to) { needed = needed || !is_finished(to); });
  return needed;
}

// True: so many more fit. The oldest of those that are finished and that nobody waits for go, none
// that this command names among them.
bool DependencyGraph::make_room(std::size_t tasks) noexcept {
  const auto left = [this] { return config_.tasks_max - fresh_ + free_.count; };
  const auto may_go = [this](std::uint32_t at) {
    return tasks_[at].touched != touch_ && !is_needed(at);
  };
  std::size_t found = left();
  for (std::uint32_t at = finished_.first; at != kNone && found < tasks; at = tasks_[at].next) {
    found += may_go(at) ? 1U : 0U;
  }
  if (found < tasks) return false;
  while (left() < tasks) {
    const std::uint32_t oldest = finished_.first;
    take_out(finished_, oldest);
    if (may_go(oldest)) {
      forget(oldest);
      ++counters_.forgotten;
      continue;
    }
    tasks_[oldest].finished = ++last_finished_;  // it is looked at again after all the others
    push(finished_, oldest);
  }
  return true;
}

// --- adding ------------------------------------------------------------------------------------

// Those of `ids` that are known into known_, each once; how many are not into unknown_.
Errc DependencyGraph::look_up(std::span<const std::uint64_t> ids, std::uint64_t own) noexcept {
  known_.clear();
  ++touch_;
  if (ids.size() > config_.dependencies_max) return Errc::invalid_argument;
  for (const std::uint64_t id : ids) {
    if (id == own) return Errc::cycle;
    const std::uint32_t at = find(id);
    const bool is_defined = at != kNone && tasks_[at].state != GraphState::waiting_for_definition;
    if (config_.strict && !is_defined) return Errc::not_found;
    if (at == kNone || tasks_[at].touched == touch_) continue;
    tasks_[at].touched = touch_;
    known_.push_back(at);
  }
  unknown_ = 0;
  if (known_.size() == ids.size()) return Errc::ok;  // the usual case
  sorted_.assign(ids.begin(), ids.end());            // reserved
  std::sort(sorted_.begin(), sorted_.end());
  const auto distinct = std::unique(sorted_.begin(), sorted_.end()) - sorted_.begin();
  unknown_ = static_cast<std::size_t>(distinct) - known_.size();
  return Errc::ok;
}

// Of known_ before `at`, and of `at` before the parent; kNone: there is none.
bool DependencyGraph::has_cycle(std::uint32_t at, std::uint32_t parent) noexcept {
  if (at != kNone && !core_.precede(known_, at)) return true;
  if (parent == kNone) return false;
  if (at != kNone) known_.push_back(at);
  const bool is_fine = core_.precede(known_, parent);
  if (at != kNone) known_.pop_back();
  return !is_fine;
}

DependencyGraph::Reply DependencyGraph::refuse_cycle(std::uint64_t own) noexcept {
  Reply reply = refuse(Errc::cycle);
  for (const std::uint32_t at : core_.cycle()) reply.path.push_back(tasks_[at].id);
  if (reply.path.empty()) reply.path = {own, own};
  return reply;
}

DependencyGraph::Reply DependencyGraph::on(const graph::AddTask& order) noexcept {
  return add(order, kNone);
}

DependencyGraph::Reply DependencyGraph::on(const graph::Spawn& order) noexcept {
  const std::uint32_t parent = find(order.parent);
  if (parent == kNone) return refuse(Errc::not_found);
  const GraphState state = tasks_[parent].state;
  const bool is_open =
      state == GraphState::waiting || state == GraphState::ready || state == GraphState::finishing;
  if (!is_open) return refuse(Errc::wrong_state);
  return add(order.child, parent);
}

// It is defined, or its parent waits for it already.
bool DependencyGraph::is_taken(std::uint32_t at, std::uint32_t parent) const noexcept {
  bool is_there = tasks_[at].state != GraphState::waiting_for_definition;
  core_.each_out(at, [&](std::uint32_t, std::uint32_t to) { is_there = is_there || to == parent; });
  return is_there;
}

DependencyGraph::Reply DependencyGraph::add(const graph::AddTask& order,
                                            std::uint32_t parent) noexcept {
  core_.forget_cycle();
  const Errc bad = look_up(order.dependencies, order.id);
  if (bad == Errc::cycle) return refuse_cycle(order.id);
  if (bad != Errc::ok) return refuse(bad);
  if (order.priority > kPriorityMax || order.need > known_.size() + unknown_) {
    return refuse(Errc::invalid_argument);
  }
  std::uint32_t at = find(order.id);
  if (has_cycle(at, parent)) return refuse_cycle(order.id);
  const bool is_new = at == kNone;
  if (!is_new && is_taken(at, parent)) return refuse(Errc::already_exists);
  if (!is_new) tasks_[at].touched = touch_;
  if (parent != kNone) tasks_[parent].touched = touch_;
  const std::size_t edges = order.dependencies.size() + (parent == kNone ? 0U : 1U);
  if (!core_.has_room(edges) || !make_room(unknown_ + (is_new ? 1U : 0U))) {
    return refuse(Errc::capacity);
  }
  if (is_new) at = create(order.id);
  tasks_[at].inserted = ++last_inserted_;
  tasks_[at].priority = static_cast<std::uint8_t>(order.priority);
  tasks_[at].need = order.need;
  tasks_[at].needs_all = order.need == 0;
  tasks_[at].state = GraphState::waiting;
  link_all(order.dependencies, at);
  if (parent != kNone) {
    tasks_[at].parent = parent;
    ++tasks_[parent].children;
    static_cast<void>(core_.precede(std::span(&at, 1), parent));  // looked at above
    core_.link(at, parent);
  }
  ++counters_.added;
  settle(at);
  return tell();
}

// Those of `ids` that are not known become so; all of them stand in known_ then, each once and in
// their order.
void DependencyGraph::create_unknown(std::span<const std::uint64_t> ids) noexcept {
  known_.clear();
  ++touch_;
  for (const std::uint64_t id : ids) {
    std::uint32_t at = find(id);
    if (at == kNone) {
      at = create(id);
    } else if (tasks_[at].touched == touch_) {
      continue;
    }
    tasks_[at].touched = touch_;
    known_.push_back(at);
  }
}

// Edges to `task` from each of `ids`, once; look_up() has found those that are known.
void DependencyGraph::link_all(std::span<const std::uint64_t> ids, std::uint32_t task) noexcept {
  if (unknown_ != 0) create_unknown(ids);
  static_cast<void>(core_.precede(known_, task));  // there is no circle: has_cycle() has looked
  for (const std::uint32_t at : known_) core_.link(at, task);
}

DependencyGraph::Reply DependencyGraph::on(const graph::AddDependencies& order) noexcept {
  const std::uint32_t at = find(order.id);
  core_.forget_cycle();
  if (at == kNone) return refuse(Errc::not_found);
  const bool is_open =
      tasks_[at].state == GraphState::waiting || tasks_[at].state == GraphState::ready;
  if (!is_open) return refuse(Errc::wrong_state);
  const Errc bad = look_up(order.dependencies, order.id);
  if (bad == Errc::cycle) return refuse_cycle(order.id);
  if (bad != Errc::ok) return refuse(bad);
  bool is_there = false;  // already, or as a child of it
  core_.each_in(at, [&](std::uint32_t, std::uint32_t from) {
    is_there = is_there || tasks_[from].touched == touch_;
  });
  if (is_there) return refuse(Errc::already_exists);
  if (has_cycle(at, kNone)) return refuse_cycle(order.id);
  tasks_[at].touched = touch_;
  if (!core_.has_room(order.dependencies.size()) || !make_room(unknown_)) {
    return refuse(Errc::capacity);
  }
  link_all(order.dependencies, at);
  const bool was_ready = tasks_[at].state == GraphState::ready;
  if (was_ready) take_out(ready_, at);
  tasks_[at].state = GraphState::waiting;
  settle(at);
  // One that suffices is done: it is as ready as it was, and not newly so.
  if (was_ready) std::erase(newly_ready_, at);
  return tell();
}

// --- what follows from what --------------------------------------------------------------------

// missing and spare, from its edges. False: it can never be done.
bool DependencyGraph::count_in(std::uint32_t at) noexcept {
  std::uint32_t total = 0;
  std::uint32_t done = 0;
  std::uint32_t dead = 0;
  core_.each_in(at, [&](std::uint32_t, std::uint32_t from) {
    if (tasks_[from].parent == at) return;
    ++total;
    done += is_done(from) ? 1U : 0U;
    dead += is_finished(from) && !is_done(from) && !is_held(from) ? 1U : 0U;
  });
  Task& task = tasks_[at];
  if (task.needs_all) task.need = total;
  task.missing = task.need - std::min(task.need, done);
  const bool is_possible = total - dead >= task.need;
  task.spare = is_possible ? total - dead - task.need : 0;
  return is_possible;
}

void DependencyGraph::settle(std::uint32_t at) noexcept {
  if (!count_in(at)) {
    end(at, GraphState::cancelled);
    spread_all();
  } else if (tasks_[at].missing == 0) {
    tasks_[at].state = GraphState::ready;
    push(ready_, at);
    newly_ready_.push_back(at);  // reserved
  }
}

void DependencyGraph::end(std::uint32_t at, GraphState state) noexcept {
  if (tasks_[at].state == GraphState::ready) take_out(ready_, at);
  tasks_[at].state = state;
  counters_.completed += state == GraphState::completed ? 1U : 0U;
  counters_.failed += state == GraphState::failed ? 1U : 0U;
  counters_.cancelled += state == GraphState::cancelled ? 1U : 0U;
  ended_.push_back(at);  // reserved: each ends once
}

void DependencyGraph::spread_all() noexcept {
  for (std::size_t i = 0; i < ended_.size(); ++i) spread(ended_[i]);
}

void DependencyGraph::spread(std::uint32_t at) noexcept {
  if (is_held(at)) return;
  core_.each_out(at, [&](std::uint32_t, std::uint32_t to) {
    if (!is_finished(to)) reach(at, to);
  });
  if (tasks_[at].children == 0) return;
  core_.each_in(at, [&](std::uint32_t, std::uint32_t from) {
    const bool is_orphan = tasks_[from].parent == at && !is_finished(from);
    if (is_orphan) end(from, GraphState::cancelled);
  });
}

// What the end of one means for one that waits for it.
void DependencyGraph::reach(std::uint32_t from, std::uint32_t to) noexcept {
  const bool well = is_done(from);
  Task& task = tasks_[to];
  if (tasks_[from].parent == to) return child_ended(to, well);
  if (well) {
    const bool is_last = task.missing != 0 && --task.missing == 0;
    if (!is_last || task.state != GraphState::waiting) return;
    task.state = GraphState::ready;
    push(ready_, to);
    newly_ready_.push_back(to);
  } else if (task.spare != 0) {
    --task.spare;
  } else if (task.state == GraphState::waiting) {
    end(to, GraphState::cancelled);
  }
}

void DependencyGraph::child_ended(std::uint32_t parent, bool well) noexcept {
  --tasks_[parent].children;
  if (!well) {
    end(parent, GraphState::cancelled);
  } else if (tasks_[parent].children == 0 && tasks_[parent].state == GraphState::finishing) {
    end(parent, GraphState::completed);
  }
}

// The news of a command, and those that have ended into the order of being forgotten.
DependencyGraph::Reply DependencyGraph::tell() noexcept {
  Reply reply;
  view_changed_ = true;
  std::erase_if(newly_ready_,
                [this](std::uint32_t at) { return tasks_[at].state != GraphState::ready; });
  std::sort(newly_ready_.begin(), newly_ready_.end(), [this](std::uint32_t a, std::uint32_t b) {
    return tasks_[a].inserted < tasks_[b].inserted;
  });
  std::sort(ended_.begin(), ended_.end(),
            [this](std::uint32_t a, std::uint32_t b) { return tasks_[a].id < tasks_[b].id; });
  for (const std::uint32_t at : newly_ready_) reply.ready.push_back(tasks_[at].id);
  for (const std::uint32_t at : ended_) {
    if (tasks_[at].state == GraphState::cancelled) reply.cancelled.push_back(tasks_[at].id);
    if (tasks_[at].finished != 0) continue;  // it had failed before
    tasks_[at].finished = ++last_finished_;
    push(finished_, at);
  }
  newly_ready_.clear();
  ended_.clear();
  return reply;
}

DependencyGraph::Reply DependencyGraph::on(const graph::MarkCompleted& order) noexcept {
  const std::uint32_t at = find(order.id);
  if (at == kNone) return refuse(Errc::not_found);
  if (is_held(at)) {  // it has failed, and is done after all
    tasks_[at].state = GraphState::completed;
    ++counters_.recovered;
    ended_.push_back(at);
  } else if (tasks_[at].state != GraphState::ready) {
    return refuse(Errc::wrong_state);
  } else if (tasks_[at].children != 0) {
    take_out(ready_, at);
    tasks_[at].state = GraphState::finishing;
  } else {
    end(at, GraphState::completed);
  }
  spread_all();
  return tell();
}

DependencyGraph::Reply DependencyGraph::on(const graph::MarkFailed& order) noexcept {
  const std::uint32_t at = find(order.id);
  if (at == kNone) return refuse(Errc::not_found);
  if (order.policy > FailurePolicy::ignore) return refuse(Errc::invalid_argument);
  const GraphState state = tasks_[at].state;
  const bool is_open =
      state == GraphState::waiting || state == GraphState::ready || state == GraphState::finishing;
  if (!is_open) return refuse(Errc::wrong_state);
  tasks_[at].policy =
      order.policy == FailurePolicy::as_configured ? config_.on_failure : order.policy;
  end(at, GraphState::failed);
  spread_all();
  return tell();
}

DependencyGraph::Reply DependencyGraph::on(const graph::Remove& order) noexcept {
  ++touch_;
  const std::uint32_t at = find(order.id);
  if (at == kNone) return refuse(Errc::not_found);
  const bool may_go = !is_needed(at) && tasks_[at].children == 0 &&
                      tasks_[at].state != GraphState::waiting_for_definition;
  if (!may_go) return refuse(Errc::wrong_state);
  if (is_finished(at)) {
    take_out(finished_, at);
    ++counters_.forgotten;
  } else {
    if (tasks_[at].state == GraphState::ready) take_out(ready_, at);
    ++counters_.removed;
  }
  forget(at);
  view_changed_ = true;
  return {};
}

// --- entry -------------------------------------------------------------------------------------

DependencyGraph::Reply DependencyGraph::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  clock_.at(now);
  return std::visit([&](const auto& order) { return on(order); }, command);
}

void DependencyGraph::tick(Nanos now, Actions& out) noexcept {
  if (ServiceClock::is_valid(now)) clock_.at(now);
  out.view_changed = view_changed_;
  view_changed_ = false;
}

GraphView DependencyGraph::view(std::uint64_t id) const noexcept {
  const std::uint32_t at = find(id);
  if (at == kNone) return {};
  GraphView view{tasks_[at].state, tasks_[at].missing};
  if (view.state != GraphState::waiting) return view;
  core_.each_in(at, [&](std::uint32_t, std::uint32_t from) {
    if (is_held(from)) view.state = GraphState::blocked;
  });
  return view;
}

}  // namespace mesh::tasks
