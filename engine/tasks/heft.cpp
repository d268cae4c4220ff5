#include "engine/tasks/heft.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace mesh::tasks {
namespace {

constexpr std::uint64_t kHeftCostMax = std::uint64_t{1} << 40;
constexpr std::size_t kHeftTasksMax = std::size_t{1} << 16;

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
    plan_.order = std::move(next);
    std::sort(plan_.order.begin(), plan_.order.end(), [&](std::uint32_t a, std::uint32_t b) {
      return std::pair{plan_.ranks[b], a} < std::pair{plan_.ranks[a], b};
    });
    return {};
  }
  void place(std::uint32_t task) {
    std::uint64_t best = UINT64_MAX;
    for (std::uint32_t on = 0; on < processors_; ++on) {
      std::uint64_t ready = 0;
      for (const HeftEdge* edge : in_[task]) {
        const std::uint64_t transfer = plan_.processors[edge->from] == on ? 0 : edge->transfer;
        ready = std::max(ready, plan_.ends[edge->from] + transfer);
      }
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
  HeftPlan plan_;
};

}  // namespace

Result<HeftPlan> plan_heft(std::span<const std::vector<std::uint64_t>> costs,
                           std::span<const HeftEdge> edges) {
  if (costs.empty()) return HeftPlan{};
  const std::size_t processors = costs.front().size();
  bool is_possible = processors != 0 && costs.size() <= kHeftTasksMax;
  for (const auto& row : costs) {
    is_possible = is_possible && row.size() == processors &&
                  std::all_of(row.begin(), row.end(), [](auto c) { return c <= kHeftCostMax; });
  }
  for (const HeftEdge& edge : edges) {
    is_possible = is_possible && edge.from < costs.size() && edge.to < costs.size() &&
                  edge.transfer <= kHeftCostMax;
  }
  if (!is_possible) {
    return fail(Errc::invalid_argument,
                "heft: no processor, a row of another length, an edge to no task, or a cost above "
                "2^40");
  }
  return HeftPlanner(costs, edges).plan();
}

}  // namespace mesh::tasks
