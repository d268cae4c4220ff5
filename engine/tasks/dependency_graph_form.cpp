// What a dependency graph looks like from outside: its presets, its bytes, what must hold.
#include <algorithm>
#include <array>

#include "engine/tasks/dependency_graph.hpp"

namespace mesh::tasks {
namespace {

constexpr std::array<std::string_view, 3> kGraphPresets{"standard", "million", "strict"};

void words_of_task(auto& task, auto&& visit) {
  visit(task.id);
  visit(task.inserted);
  visit(task.finished);
  visit(task.need);
  visit(task.missing);
  visit(task.spare);
  visit(task.children);
  visit(task.state);
  visit(task.policy);
  visit(task.priority);
  visit(task.needs_all);
}

}  // namespace

std::string_view to_string(GraphState state) noexcept {
  constexpr std::array<std::string_view, 9> kNames{"unknown",   "waiting_for_definition",
                                                   "waiting",   "ready",
                                                   "finishing", "completed",
                                                   "failed",    "cancelled",
                                                   "blocked"};
  const auto index = static_cast<std::size_t>(state);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::span<const std::string_view> DependencyGraphConfig::names() noexcept { return kGraphPresets; }

Result<DependencyGraphConfig> DependencyGraphConfig::preset(std::string_view name) {
  DependencyGraphConfig config;
  if (name == "standard") return config;
  if (name == "strict") {
    config.strict = true;
    return config;
  }
  if (name == "million") {
    config.tasks_max = 1'000'000;
    config.edges_max = 5'000'000;
    return config;
  }
  return unknown_preset("dependency graph", name, kGraphPresets);
}

Status DependencyGraph::validate(const Config& config) {
  const std::array<Check, 5> checks{{
      {config.tasks_max >= 1 && config.tasks_max <= kTasksMax, "tasks_max is outside 1..1048576"},
      {config.edges_max >= 1 && config.edges_max <= kEdgesMax, "edges_max is outside 1..5242880"},
      {config.dependencies_max >= 1 && config.dependencies_max <= 65'536,
       "dependencies_max is outside 1..65536"},
      {config.on_failure != FailurePolicy::as_configured &&
           config.on_failure <= FailurePolicy::ignore,
       "on_failure is not cancel_dependents, block or ignore"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

// --- bytes -------------------------------------------------------------------------------------

// Numbers of tasks depend on what was forgotten before, and are no part of the state: a task is
// written as its place in the order of insertion.
std::vector<std::uint32_t> DependencyGraph::by_insertion() const {
  std::vector<std::uint32_t> order;
  order.reserve(index_.count());
  for (std::uint32_t at = 0; at < fresh_; ++at) {
    if (tasks_[at].state != GraphState::unknown) order.push_back(at);
  }
  std::sort(order.begin(), order.end(), [this](std::uint32_t a, std::uint32_t b) {
    return tasks_[a].inserted < tasks_[b].inserted;
  });
  return order;
}

void DependencyGraph::save_state(StateWriter& writer) const {
  const std::vector<std::uint32_t> order = by_insertion();
  std::vector<std::uint32_t> places(fresh_, kNone);
  for (std::uint32_t i = 0; i < order.size(); ++i) places[order[i]] = i;
  writer.put(last_inserted_);
  writer.put(last_finished_);
  writer.put(static_cast<std::uint32_t>(order.size()));
  for (const std::uint32_t at : order) {
    words_of_task(tasks_[at], [&](const auto& word) { writer.put(word); });
    const std::uint32_t parent = tasks_[at].parent;
    writer.put(parent == kNone ? kNone : places[parent]);
  }
  for (const std::uint32_t at : order) {
    std::uint32_t count = 0;
    core_.each_out(at, [&](std::uint32_t, std::uint32_t) { ++count; });
    writer.put(count);
    core_.each_out(at, [&](std::uint32_t, std::uint32_t to) { writer.put(places[to]); });
  }
}

void DependencyGraph::load_tasks(StateReader& reader, std::size_t count) {
  std::uint64_t before = 0;
  for (std::uint32_t at = 0; at < count && !reader.failed(); ++at) {
    Task& task = tasks_[at];
    words_of_task(task, [&](auto& word) { fields::get(reader, word); });
    reader.get(task.parent);
    const bool is_possible = task.inserted > before && task.inserted <= last_inserted_ &&
                             task.finished <= last_finished_ && task.state > GraphState::unknown &&
                             task.state < GraphState::blocked && task.priority <= kPriorityMax &&
                             (task.parent == kNone || task.parent < count) &&
                             (task.finished != 0) == is_finished(at) && find(task.id) == kNone;
    if (!is_possible) return reader.fail();
    before = task.inserted;
    index_.set(hash_of(task.id, 5), at);
    core_.open(at);
  }
  fresh_ = static_cast<std::uint32_t>(count);
}

void DependencyGraph::load_edges(StateReader& reader, std::span<const std::uint32_t> order) {
  for (const std::uint32_t from : order) {
    const std::size_t count = reader.get_count(4);
    for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
      const auto to = reader.get<std::uint32_t>();
      if (to >= order.size() || !core_.has_room(1)) return reader.fail();
      core_.link(from, to);
    }
  }
}

void DependencyGraph::load_state(StateReader& reader) {
  reader.get(last_inserted_);
  reader.get(last_finished_);
  const std::size_t count = reader.get_count(40);
  if (count > config_.tasks_max) return reader.fail();
  load_tasks(reader, count);
  std::vector<std::uint32_t> order(count);
  for (std::uint32_t at = 0; at < count; ++at) order[at] = at;
  if (!reader.failed()) load_edges(reader, order);
  if (reader.failed() || !core_.rebuild_order(order)) return reader.fail();
  for (const std::uint32_t at : order) {
    if (tasks_[at].state == GraphState::ready) push(ready_, at);
  }
  std::sort(order.begin(), order.end(), [this](std::uint32_t a, std::uint32_t b) {
    return tasks_[a].finished < tasks_[b].finished;
  });
  for (const std::uint32_t at : order) {
    if (is_finished(at)) push(finished_, at);
  }
}

// --- what must hold ----------------------------------------------------------------------------

// What an unfinished task counts is what its edges say.
bool DependencyGraph::counts_rightly(std::uint32_t at) const noexcept {
  std::uint32_t total = 0;
  std::uint32_t done = 0;
  std::uint32_t dead = 0;
  std::uint32_t children = 0;
  core_.each_in(at, [&](std::uint32_t, std::uint32_t from) {
    if (tasks_[from].parent == at) {
      children += is_finished(from) && !is_held(from) ? 0U : 1U;
      return;
    }
    ++total;
    done += is_done(from) ? 1U : 0U;
    dead += is_finished(from) && !is_done(from) && !is_held(from) ? 1U : 0U;
  });
  const Task& task = tasks_[at];
  if (task.state == GraphState::waiting_for_definition) return total == 0;
  const bool is_waiting = task.state == GraphState::waiting;
  return task.missing == task.need - std::min(task.need, done) &&
         task.spare + task.need + dead == total && (task.missing != 0) == is_waiting &&
         children == task.children && (!task.needs_all || task.need == total);
}

Status DependencyGraph::verify() const {
  const std::vector<std::uint32_t> order = by_insertion();
  bool counts = true;
  std::uint64_t live = 0;
  std::uint64_t ready = 0;
  std::uint64_t finished = 0;
  for (const std::uint32_t at : order) {
    finished += is_finished(at) ? 1U : 0U;
    if (is_finished(at)) continue;
    counts = counts && counts_rightly(at);
    live += tasks_[at].state == GraphState::waiting_for_definition ? 0U : 1U;
    ready += tasks_[at].state == GraphState::ready ? 1U : 0U;
  }
  const Counters& sums = counters_;
  const std::uint64_t ended = sums.completed + sums.failed + sums.cancelled;
  const std::array<Check, 6> checks{{
      {core_.is_ordered(order), "an edge goes against the order: there is a circle, or may be"},
      {counts, "a task counts other dependencies than it has"},
      {ready == ready_.count && finished == finished_.count,
       "a task stands in a list that is not its state's"},
      {order.size() == index_.count() && order.size() + free_.count == fresh_,
       "a task is known twice, or not at all"},
      {sums.added == ended + sums.removed + live, "a task has ended twice, or not at all"},
      {ended == finished + sums.forgotten, "a finished task is lost"},
  }};
  return all_hold(Errc::corrupt, checks);
}

}  // namespace mesh::tasks

namespace mesh::coordination {
template class ServiceForm<tasks::DependencyGraph, tasks::DependencyGraphConfig,
                           tasks::DependencyGraphCommand, tasks::DependencyGraphReply,
                           tasks::DependencyGraphCounters, tasks::DependencyGraphActions>;
}  // namespace mesh::coordination
