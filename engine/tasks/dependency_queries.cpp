// Questions to a dependency graph, and circles in a list of edges: they walk the whole, and
// allocate.
#include <algorithm>
#include <array>
#include <map>
#include <queue>
#include <utility>

#include "engine/tasks/dependency_graph.hpp"

namespace mesh::tasks {
namespace {

// Tarjan's components, without recursion: a list of edges may be a chain of a million.
class ComponentFinder {
 public:
  explicit ComponentFinder(std::span<const Dependency> edges) {
    for (const Dependency& edge : edges) {
      // From what comes first to what waits; std::map: in the order of ids.
      next_[edge.on].push_back(edge.task);
      next_[edge.task];
    }
    for (auto& [id, waiting] : next_) std::sort(waiting.begin(), waiting.end());
  }
  std::vector<std::vector<std::uint64_t>> find() {
    for (const auto& [id, waiting] : next_) {
      if (!seen_.contains(id)) visit(id);
    }
    std::sort(found_.begin(), found_.end());
    return std::move(found_);
  }

 private:
  struct Mark {
    std::uint64_t index = 0;
    std::uint64_t low = 0;
    bool is_open = false;
  };
  struct Frame {
    std::uint64_t id;
    std::size_t at;
  };
  void enter(std::uint64_t id) {
    const std::uint64_t index = seen_.size();
    seen_[id] = {index, index, true};
    open_.push_back(id);
    frames_.push_back({id, 0});
  }
  void visit(std::uint64_t root) {
    enter(root);
    while (!frames_.empty()) {
      const std::uint64_t id = frames_.back().id;
      const auto& waiting = next_.at(id);
      if (frames_.back().at < waiting.size()) {
        follow(id, waiting[frames_.back().at++]);
        continue;
      }
      if (seen_[id].low == seen_[id].index) close(id);
      frames_.pop_back();
      if (!frames_.empty()) lower(frames_.back().id, seen_[id].low);
    }
  }
  void follow(std::uint64_t id, std::uint64_t to) {
    const auto known = seen_.find(to);
    if (known == seen_.end()) {
      enter(to);
    } else if (known->second.is_open) {
      lower(id, known->second.index);
    }
  }
  void lower(std::uint64_t id, std::uint64_t low) { seen_[id].low = std::min(seen_[id].low, low); }
  void close(std::uint64_t id) {
    std::vector<std::uint64_t> component;
    do {
      component.push_back(open_.back());
      seen_[open_.back()].is_open = false;
      open_.pop_back();
    } while (component.back() != id);
    const auto& waiting = next_.at(id);
    const bool is_loop = std::find(waiting.begin(), waiting.end(), id) != waiting.end();
    if (component.size() > 1 || is_loop) found_.push_back(rotated(component));
  }
  // From the smallest on along what waits, as far as one walk goes; the rest by id.
  std::vector<std::uint64_t> rotated(std::vector<std::uint64_t> component) {
    std::sort(component.begin(), component.end());
    std::vector<std::uint64_t> walk{component.front()};
    const auto is_left = [&](std::uint64_t id) {
      return std::binary_search(component.begin(), component.end(), id) &&
             std::find(walk.begin(), walk.end(), id) == walk.end();
    };
    for (bool goes_on = true; goes_on;) {
      const auto& waiting = next_.at(walk.back());
      const auto to = std::find_if(waiting.begin(), waiting.end(), is_left);
      goes_on = to != waiting.end();
      if (goes_on) walk.push_back(*to);
    }
    for (const std::uint64_t id : component) {
      if (is_left(id)) walk.push_back(id);
    }
    return walk;
  }

  std::map<std::uint64_t, std::vector<std::uint64_t>> next_;
  std::map<std::uint64_t, Mark> seen_;
  std::vector<std::uint64_t> open_;
  std::vector<Frame> frames_;
  std::vector<std::vector<std::uint64_t>> found_;
};

}  // namespace

std::vector<std::vector<std::uint64_t>> find_cycles(std::span<const Dependency> edges) {
  return ComponentFinder(edges).find();
}

std::vector<std::vector<std::uint64_t>> DependencyGraph::detect_cycles() const {
  std::vector<Dependency> edges;
  for (const std::uint32_t at : by_insertion()) {
    core_.each_out(at, [&](std::uint32_t, std::uint32_t to) {
      edges.push_back({tasks_[to].id, tasks_[at].id});
    });
  }
  return find_cycles(edges);
}

std::vector<std::uint64_t> DependencyGraph::ready(std::size_t count) const {
  std::vector<std::uint32_t> order;
  order.reserve(ready_.count);
  for (std::uint32_t at = ready_.first; at != kNone; at = tasks_[at].next) order.push_back(at);
  count = std::min(count, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    [this](std::uint32_t a, std::uint32_t b) {
                      const Task& one = tasks_[a];
                      const Task& other = tasks_[b];
                      return one.priority != other.priority ? one.priority > other.priority
                                                            : one.inserted < other.inserted;
                    });
  std::vector<std::uint64_t> ids;
  for (std::size_t i = 0; i < count; ++i) ids.push_back(tasks_[order[i]].id);
  return ids;
}

std::vector<std::uint64_t> DependencyGraph::topological_order() const {
  const auto is_later = [this](std::uint32_t a, std::uint32_t b) {
    return tasks_[a].id > tasks_[b].id;
  };
  std::priority_queue<std::uint32_t, std::vector<std::uint32_t>, decltype(is_later)> next(is_later);
  std::vector<std::uint32_t> waits(fresh_);
  for (const std::uint32_t at : by_insertion()) {
    core_.each_in(at, [&](std::uint32_t, std::uint32_t) { ++waits[at]; });
    if (waits[at] == 0) next.push(at);
  }
  std::vector<std::uint64_t> ids;
  while (!next.empty()) {
    const std::uint32_t at = next.top();
    next.pop();
    ids.push_back(tasks_[at].id);
    core_.each_out(at, [&](std::uint32_t, std::uint32_t to) {
      if (--waits[to] == 0) next.push(to);
    });
  }
  return ids;
}

CriticalPath DependencyGraph::critical_path(const Weights& weight) const {
  std::vector<std::uint64_t> sums(fresh_);
  std::vector<std::uint32_t> before(fresh_, kNone);
  const auto is_better = [&](std::uint32_t a, std::uint32_t b) {
    if (b == kNone) return true;
    return sums[a] != sums[b] ? sums[a] > sums[b] : tasks_[a].id < tasks_[b].id;
  };
  std::uint32_t best = kNone;
  for (const std::uint64_t id : topological_order()) {
    const std::uint32_t at = find(id);
    core_.each_in(at, [&](std::uint32_t, std::uint32_t from) {
      if (is_better(from, before[at])) before[at] = from;
    });
    sums[at] = weight(id) + (before[at] == kNone ? 0 : sums[before[at]]);
    if (is_better(at, best)) best = at;
  }
  CriticalPath path;
  if (best == kNone) return path;
  path.length = sums[best];
  for (std::uint32_t at = best; at != kNone; at = before[at]) path.tasks.push_back(tasks_[at].id);
  std::reverse(path.tasks.begin(), path.tasks.end());
  return path;
}

Result<std::uint32_t> DependencyGraph::depth(std::uint64_t id) const {
  if (find(id) == kNone) return complain(Errc::not_found, "no task " + std::to_string(id));
  std::vector<std::uint32_t> depths(fresh_);
  for (const std::uint64_t next : topological_order()) {
    const std::uint32_t at = find(next);
    core_.each_in(at, [&](std::uint32_t, std::uint32_t from) {
      depths[at] = std::max(depths[at], depths[from] + 1);
    });
    if (next == id) break;
  }
  return depths[find(id)];
}

std::vector<std::uint64_t> DependencyGraph::path(std::uint64_t from, std::uint64_t to) const {
  const std::uint32_t first = find(from);
  const std::uint32_t last = find(to);
  std::vector<std::uint64_t> ids;
  if (first == kNone || last == kNone) return ids;
  std::vector<std::uint32_t> before(fresh_, kNone);
  std::vector<std::uint32_t> reached{first};
  before[first] = first;
  for (std::size_t i = 0; i < reached.size() && before[last] == kNone; ++i) {
    core_.each_out(reached[i], [&](std::uint32_t, std::uint32_t next) {
      if (before[next] != kNone) return;
      before[next] = reached[i];
      reached.push_back(next);
    });
  }
  if (before[last] == kNone) return ids;
  for (std::uint32_t at = last; at != first; at = before[at]) ids.push_back(tasks_[at].id);
  ids.push_back(from);
  std::reverse(ids.begin(), ids.end());
  return ids;
}

GraphStats DependencyGraph::stats() const {
  GraphStats stats;
  stats.edges = core_.edge_count();
  std::vector<std::uint32_t> depths(fresh_);
  for (const std::uint64_t id : topological_order()) {
    const std::uint32_t at = find(id);
    const GraphState state = tasks_[at].state;
    ++stats.tasks;
    stats.undefined += state == GraphState::waiting_for_definition ? 1U : 0U;
    stats.waiting += state == GraphState::waiting || state == GraphState::finishing ? 1U : 0U;
    stats.ready += state == GraphState::ready ? 1U : 0U;
    stats.completed += state == GraphState::completed ? 1U : 0U;
    stats.failed += state == GraphState::failed ? 1U : 0U;
    stats.cancelled += state == GraphState::cancelled ? 1U : 0U;
    core_.each_in(at, [&](std::uint32_t, std::uint32_t from) {
      depths[at] = std::max(depths[at], depths[from] + 1);
    });
    stats.depth = std::max(stats.depth, depths[at]);
  }
  return stats;
}

std::string DependencyGraph::to_dot() const {
  constexpr std::array<std::string_view, 9> kColours{"white", "white", "gray",   "yellow", "orange",
                                                     "green", "red",   "salmon", "gray"};
  std::vector<std::uint32_t> order = by_insertion();
  std::sort(order.begin(), order.end(),
            [this](std::uint32_t a, std::uint32_t b) { return tasks_[a].id < tasks_[b].id; });
  std::string dot = "digraph tasks {\n  node [style=filled];\n";
  for (const std::uint32_t at : order) {
    const GraphState state = tasks_[at].state;
    dot += "  \"" + std::to_string(tasks_[at].id) + "\" [fillcolor=";
    dot += kColours[static_cast<std::size_t>(state)];
    dot += ", tooltip=";
    dot += to_string(state);
    dot += "];\n";
  }
  for (const std::uint32_t at : order) {
    core_.each_out(at, [&](std::uint32_t, std::uint32_t to) {
      dot += "  \"" + std::to_string(tasks_[at].id) + "\" -> \"" + std::to_string(tasks_[to].id) +
             "\"" + (tasks_[at].parent == to ? " [style=dashed]" : "") + ";\n";
    });
  }
  return dot + "}\n";
}

}  // namespace mesh::tasks
