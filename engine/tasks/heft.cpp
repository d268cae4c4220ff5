#include "engine/tasks/heft.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace mesh::tasks {
namespace {

constexpr std::uint64_t kHeftCostMax = std::uint64_t{1} << 40;
constexpr std::size_t kHeftTasksMax = std::size_t{1} << 16;
constexpr std::size_t kSearchedTasksMax = 8;
constexpr std::uint32_t kSearchStepsMax = 50'000;

struct Busy {
  std::uint64_t start;
  std::uint64_t end;
};

class HeftPlanner {
 public:
  HeftPlanner(std::span<const std::vector<std::uint64_t>> costs, std::span<const HeftEdge> edges)
      : costs_(costs), edges_(edges), processors_(costs.front().size()), busy_(processors_) {
    out_.resize(costs.size());
    in_.resize(costs.size());
    for (const HeftEdge& edge : edges) {
      out_[edge.from].push_back(&edge);
      in_[edge.to].push_back(&edge);
    }
  }
  Result<HeftPlan> plan() {
    MESH_CHECK_OK(rank());
    plan_.processors.resize(costs_.size());
    plan_.starts.resize(costs_.size());
    plan_.ends.resize(costs_.size());
    for (const std::uint32_t task : plan_.order) place(task);
    use_one_alone();
    if (costs_.size() <= kSearchedTasksMax) search();
    return std::move(plan_);
  }

 private:
  // From the last on: a task when all that follow it have their rank.
  Status rank() {
    std::vector<std::size_t> left(costs_.size());
    std::vector<std::uint32_t> next;
    for (std::uint32_t task = 0; task < costs_.size(); ++task) {
      left[task] = out_[task].size();
      if (left[task] == 0) next.push_back(task);
    }
    plan_.ranks.assign(costs_.size(), 0);
    for (std::size_t i = 0; i < next.size(); ++i) {
      const std::uint32_t task = next[i];
      for (const std::uint64_t cost : costs_[task]) plan_.ranks[task] += cost;
      std::uint64_t after = 0;
      for (const HeftEdge* edge : out_[task]) {
        after = std::max(after, processors_ * edge->transfer + plan_.ranks[edge->to]);
      }
      plan_.ranks[task] += after;
      for (const HeftEdge* edge : in_[task]) {
        if (--left[edge->from] == 0) next.push_back(edge->from);
      }
    }
    if (next.size() != costs_.size()) {
      return fail(Errc::cycle, "heft: " + std::to_string(costs_.size() - next.size()) +
                                   " tasks wait for each other");
    }
    put_in_order();
    return {};
  }
  // By rank, of those whose predecessors have been: where nothing costs anything a task has the
  // rank of what follows it.
  void put_in_order() {
    const auto is_later = [&](std::uint32_t a, std::uint32_t b) {
      return std::pair{plan_.ranks[a], b} < std::pair{plan_.ranks[b], a};
    };
    std::vector<std::size_t> left(costs_.size());
    std::vector<std::uint32_t> may;
    for (std::uint32_t task = 0; task < costs_.size(); ++task) {
      left[task] = in_[task].size();
      if (left[task] == 0) may.push_back(task);
    }
    std::make_heap(may.begin(), may.end(), is_later);
    while (!may.empty()) {
      std::pop_heap(may.begin(), may.end(), is_later);
      const std::uint32_t task = may.back();
      may.pop_back();
      plan_.order.push_back(task);
      for (const HeftEdge* edge : out_[task]) {
        if (--left[edge->to] != 0) continue;
        may.push_back(edge->to);
        std::push_heap(may.begin(), may.end(), is_later);
      }
    }
  }
  void place(std::uint32_t task) {
    std::uint64_t best = UINT64_MAX;
    for (std::uint32_t on = 0; on < processors_; ++on) {
      const std::uint64_t ready = ready_at(plan_.ends, plan_.processors, task, on);
      const std::uint64_t start = gap(on, ready, costs_[task][on]);
      if (start + costs_[task][on] >= best) continue;
      best = start + costs_[task][on];
      plan_.processors[task] = on;
      plan_.starts[task] = start;
    }
    plan_.ends[task] = best;
    plan_.makespan = std::max(plan_.makespan, best);
    auto& list = busy_[plan_.processors[task]];
    const Busy mine{plan_.starts[task], best};
    list.insert(std::upper_bound(list.begin(), list.end(), mine,
                                 [](const Busy& a, const Busy& b) { return a.start < b.start; }),
                mine);
  }
  // Transfers may cost more than a second processor gives: then all on the one that is fastest.
  void use_one_alone() {
    std::uint32_t best = 0;
    std::uint64_t least = UINT64_MAX;
    for (std::uint32_t on = 0; on < processors_; ++on) {
      std::uint64_t sum = 0;
      for (const auto& row : costs_) sum += row[on];
      if (sum >= least) continue;
      least = sum;
      best = on;
    }
    if (least >= plan_.makespan) return;
    std::uint64_t now = 0;
    for (const std::uint32_t task : plan_.order) {
      plan_.processors[task] = best;
      plan_.starts[task] = now;
      now += costs_[task][best];
      plan_.ends[task] = now;
    }
    plan_.makespan = least;
  }
  // Each order and each processor, one task after another, but for what cannot become shorter than
  // the best so far. Tasks in the order of their starts: no shortest plan is left out.
  struct Branch {
    std::vector<std::uint64_t> ends;
    std::vector<std::uint64_t> starts;
    std::vector<std::uint32_t> on;
    std::vector<std::uint64_t> free;  // of each processor
    std::vector<std::size_t> left;    // predecessors of each task; none, and done: SIZE_MAX
    std::size_t done = 0;
    std::uint64_t makespan = 0;
  };
  void search() {
    shortest_.assign(costs_.size(), 0);  // to the end, each on its fastest, nothing transferred
    for (std::size_t i = plan_.order.size(); i-- != 0;) {
      const std::uint32_t task = plan_.order[i];
      for (const HeftEdge* edge : out_[task]) {
        shortest_[task] = std::max(shortest_[task], shortest_[edge->to]);
      }
      shortest_[task] += *std::min_element(costs_[task].begin(), costs_[task].end());
    }
    Branch root;
    root.ends.resize(costs_.size());
    root.starts.resize(costs_.size());
    root.on.resize(costs_.size());
    root.free.resize(processors_);
    for (const auto& edges : in_) root.left.push_back(edges.size());
    branch(root);
  }
  void branch(Branch& at) {
    if (at.done == costs_.size()) {
      plan_.processors = at.on;
      plan_.starts = at.starts;
      plan_.ends = at.ends;
      plan_.makespan = at.makespan;
      return;
    }
    for (const std::uint32_t task : plan_.order) {
      if (at.left[task] != 0) continue;
      for (std::uint32_t on = 0; on < processors_ && steps_ < kSearchStepsMax; ++on) {
        try_on(at, task, on);
      }
    }
  }
  void try_on(Branch& at, std::uint32_t task, std::uint32_t on) {
    ++steps_;
    const std::uint64_t start = std::max(at.free[on], ready_at(at.ends, at.on, task, on));
    const std::uint64_t end = start + costs_[task][on];
    std::uint64_t rest = 0;
    for (const HeftEdge* edge : out_[task]) rest = std::max(rest, shortest_[edge->to]);
    if (end + rest >= plan_.makespan) return;
    const std::uint64_t was_free = std::exchange(at.free[on], end);
    const std::uint64_t before = std::exchange(at.makespan, std::max(at.makespan, end));
    at.starts[task] = start;
    at.ends[task] = end;
    at.on[task] = on;
    at.left[task] = SIZE_MAX;
    for (const HeftEdge* edge : out_[task]) --at.left[edge->to];
    ++at.done;
    branch(at);
    --at.done;
    for (const HeftEdge* edge : out_[task]) ++at.left[edge->to];
    at.left[task] = 0;
    at.makespan = before;
    at.free[on] = was_free;
  }
  // When all that it waits for is done, and there.
  [[nodiscard]] std::uint64_t ready_at(const std::vector<std::uint64_t>& ends,
                                       const std::vector<std::uint32_t>& where, std::uint32_t task,
                                       std::uint32_t on) const {
    std::uint64_t ready = 0;
    for (const HeftEdge* edge : in_[task]) {
      const std::uint64_t transfer = where[edge->from] == on ? 0 : edge->transfer;
      ready = std::max(ready, ends[edge->from] + transfer);
    }
    return ready;
  }
  // The first instant from `ready` on that has room for `cost` there.
  [[nodiscard]] std::uint64_t gap(std::size_t on, std::uint64_t ready, std::uint64_t cost) const {
    std::uint64_t start = ready;
    for (const Busy& one : busy_[on]) {
      if (start + cost <= one.start) return start;
      start = std::max(start, one.end);
    }
    return start;
  }

  std::span<const std::vector<std::uint64_t>> costs_;
  std::span<const HeftEdge> edges_;
  std::size_t processors_;
  std::vector<std::vector<const HeftEdge*>> out_;
  std::vector<std::vector<const HeftEdge*>> in_;
  std::vector<std::vector<Busy>> busy_;
  std::vector<std::uint64_t> shortest_;
  std::uint32_t steps_ = 0;
  HeftPlan plan_;
};

}  // namespace

Result<HeftPlan> plan_heft(std::span<const std::vector<std::uint64_t>> costs,
                           std::span<const HeftEdge> edges) {
  if (costs.empty()) return HeftPlan{};
  const std::size_t processors = costs.front().size();
  std::uint64_t largest = 1;
  bool is_possible = processors != 0 && costs.size() <= kHeftTasksMax;
  for (const auto& row : costs) {
    is_possible = is_possible && row.size() == processors &&
                  std::all_of(row.begin(), row.end(), [](auto c) { return c <= kHeftCostMax; });
    for (const std::uint64_t cost : row) largest = std::max(largest, cost);
  }
  for (const HeftEdge& edge : edges) {
    is_possible = is_possible && edge.from < costs.size() && edge.to < costs.size() &&
                  edge.transfer <= kHeftCostMax;
    largest = std::max(largest, edge.transfer);
  }
  // A rank is the sum of two of them a task, times processors.
  is_possible = is_possible && largest <= UINT64_MAX / 2 / costs.size() / processors;
  if (!is_possible) {
    return fail(Errc::invalid_argument,
                "heft: no processor, a row of another length, an edge to no task, a cost above "
                "2^40, or too much in all");
  }
  return HeftPlanner(costs, edges).plan();
}

}  // namespace mesh::tasks
