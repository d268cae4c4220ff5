// HEFT: what it refuses, and how long its plans are beside serial, random and first-come ones.
#include "engine/tasks/heft.hpp"

#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "engine/coordination/blocks/rng.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_heft_test {

using coordination::Rng;
using Costs = std::vector<std::vector<std::uint64_t>>;
using Edges = std::vector<HeftEdge>;

struct Graph {
  Costs costs;
  Edges edges;
};
struct Shape {
  std::size_t tasks = 8;
  std::size_t processors = 3;
  std::uint64_t transfer_max = 8;
  std::uint64_t cost_min = 5;
  std::uint64_t cost_span = 20;
};

// Each task but the first waits for one to three before it.
Graph random_graph(const Shape& shape, Rng& rng) {
  Graph graph;
  graph.costs.resize(shape.tasks);
  for (auto& row : graph.costs) {
    for (std::size_t i = 0; i < shape.processors; ++i) {
      row.push_back(shape.cost_min + rng.below(shape.cost_span));
    }
  }
  for (std::uint32_t to = 1; to < shape.tasks; ++to) {
    for (std::uint64_t i = 1 + rng.below(3); i != 0; --i) {
      graph.edges.push_back(
          {static_cast<std::uint32_t>(rng.below(to)), to, rng.below(shape.transfer_max + 1)});
    }
  }
  return graph;
}

// One after another in this order, each on the processor that `choose` names.
template <class Choose>
std::uint64_t makespan_of(const Graph& graph, const std::vector<std::uint32_t>& order,
                          Choose&& choose) {
  std::vector<std::uint64_t> ends(graph.costs.size());
  std::vector<std::uint64_t> free(graph.costs.front().size());
  std::vector<std::uint32_t> on(graph.costs.size());
  for (const std::uint32_t task : order) {
    on[task] = choose(task, free);
    std::uint64_t start = free[on[task]];
    for (const HeftEdge& edge : graph.edges) {
      if (edge.to != task) continue;
      start = std::max(start, ends[edge.from] + (on[edge.from] == on[task] ? 0 : edge.transfer));
    }
    ends[task] = free[on[task]] = start + graph.costs[task][on[task]];
  }
  return *std::max_element(ends.begin(), ends.end());
}
// Any order that respects the edges, any processors.
std::uint64_t random_makespan(const Graph& graph, Rng& rng) {
  std::vector<std::size_t> left(graph.costs.size());
  for (const HeftEdge& edge : graph.edges) ++left[edge.to];
  std::vector<std::uint32_t> may;
  for (std::uint32_t task = 0; task < left.size(); ++task) {
    if (left[task] == 0) may.push_back(task);
  }
  std::vector<std::uint32_t> order;
  while (!may.empty()) {
    const auto at = static_cast<std::ptrdiff_t>(rng.below(may.size()));
    order.push_back(may[static_cast<std::size_t>(at)]);
    may.erase(may.begin() + at);
    for (const HeftEdge& edge : graph.edges) {
      if (edge.from == order.back() && --left[edge.to] == 0) may.push_back(edge.to);
    }
  }
  return makespan_of(graph, order, [&](std::uint32_t, const auto& free) {
    return static_cast<std::uint32_t>(rng.below(free.size()));
  });
}
// As they come, each where there is room first.
std::uint64_t fifo_makespan(const Graph& graph) {
  std::vector<std::uint32_t> order(graph.costs.size());
  std::iota(order.begin(), order.end(), 0U);
  return makespan_of(graph, order, [](std::uint32_t, const auto& free) {
    return static_cast<std::uint32_t>(std::min_element(free.begin(), free.end()) - free.begin());
  });
}
std::uint64_t serial_makespan(const Graph& graph) {
  std::uint64_t least = UINT64_MAX;
  for (std::size_t i = 0; i < graph.costs.front().size(); ++i) {
    std::uint64_t sum = 0;
    for (const auto& row : graph.costs) sum += row[i];
    least = std::min(least, sum);
  }
  return least;
}
// The longest way, each task on its fastest processor, nothing transferred: none is shorter.
std::uint64_t shortest_possible(const Graph& graph) {
  std::vector<std::uint64_t> ends(graph.costs.size());
  for (std::uint32_t task = 0; task < ends.size(); ++task) {  // edges go from lower to higher
    for (const HeftEdge& edge : graph.edges) {
      if (edge.to == task) ends[task] = std::max(ends[task], ends[edge.from]);
    }
    ends[task] += *std::min_element(graph.costs[task].begin(), graph.costs[task].end());
  }
  return *std::max_element(ends.begin(), ends.end());
}

void expect_possible(const Graph& graph, const HeftPlan& plan) {
  std::uint64_t last = 0;
  for (std::uint32_t a = 0; a < graph.costs.size(); ++a) {
    ASSERT_EQ(plan.ends[a] - plan.starts[a], graph.costs[a][plan.processors[a]]);
    last = std::max(last, plan.ends[a]);
    for (std::uint32_t b = 0; b < a; ++b) {
      const bool is_apart = plan.processors[a] != plan.processors[b] ||
                            plan.ends[a] <= plan.starts[b] || plan.ends[b] <= plan.starts[a];
      ASSERT_TRUE(is_apart) << a << " and " << b << " at once on one processor";
    }
  }
  ASSERT_EQ(plan.makespan, last);
  for (const HeftEdge& edge : graph.edges) {
    const bool is_near = plan.processors[edge.from] == plan.processors[edge.to];
    ASSERT_GE(plan.starts[edge.to], plan.ends[edge.from] + (is_near ? 0 : edge.transfer));
  }
}

TEST(Heft, RefusesWhatIsNoGraph) {
  const Costs two{{1, 2}, {3, 4}};
  EXPECT_EQ(plan_heft(two, Edges{{0, 2, 1}}).error().code, Errc::invalid_argument);
  EXPECT_EQ(plan_heft(two, Edges{{0, 1, 1}, {1, 0, 1}}).error().code, Errc::cycle);
  EXPECT_EQ(plan_heft(Costs{{1, 2}, {3}}, {}).error().code, Errc::invalid_argument);
  EXPECT_EQ(plan_heft(Costs{{}}, {}).error().code, Errc::invalid_argument);
  EXPECT_EQ(plan_heft({}, {})->makespan, 0U);
}

TEST(Heft, RefusesCostsWhoseRanksWouldOverflow) {
  const std::uint64_t large = std::uint64_t{1} << 40;
  const Costs wide(1'025, std::vector<std::uint64_t>(8'192, large));
  EXPECT_EQ(plan_heft(wide, {}).error().code, Errc::invalid_argument);
  const Costs fits(100, std::vector<std::uint64_t>(4, large));
  EXPECT_TRUE(plan_heft(fits, {}));
}

TEST(Heft, ATaskThatCostsNothingComesAfterWhatItWaitsFor) {
  // Task 0 waits for 1, which waits for 2: all have the same rank.
  const Graph graph{{{0, 0}, {0, 0}, {0, 0}, {7, 7}}, {{1, 0, 0}, {2, 1, 0}, {3, 2, 5}}};
  const auto plan = plan_heft(graph.costs, graph.edges).value();
  expect_possible(graph, plan);
  EXPECT_EQ(plan.order, (std::vector<std::uint32_t>{3, 2, 1, 0}));
  EXPECT_EQ(plan.makespan, 7U);
}

TEST(Heft, UpToEightTasksIsWithinAThirdOfTheBestOfAThousandRandomSchedules) {
  Rng rng(mesh::testing::seed());
  for (int round = 0; round < 60; ++round) {
    const Graph graph = random_graph({.tasks = 2 + rng.below(7),
                                      .processors = 2 + rng.below(2),
                                      .transfer_max = rng.below(40)},
                                     rng);
    std::uint64_t best = UINT64_MAX;
    for (int i = 0; i < 1'000; ++i) best = std::min(best, random_makespan(graph, rng));
    const auto plan = plan_heft(graph.costs, graph.edges).value();
    expect_possible(graph, plan);
    EXPECT_LE(10 * plan.makespan, 13 * best) << "seed " << mesh::testing::seed();
    EXPECT_LE(plan.makespan, serial_makespan(graph));
  }
}

TEST(Heft, LargerGraphsAreShorterThanRandomAndFirstComeSchedules) {
  Rng rng(mesh::testing::seed());
  std::uint64_t heft = 0;
  std::uint64_t fifo = 0;
  std::uint64_t random = 0;
  int behind = 0;
  constexpr int kGraphs = 60;
  for (int round = 0; round < kGraphs; ++round) {
    const Graph graph = random_graph({.tasks = 20 + rng.below(40),
                                      .processors = 2 + rng.below(5),
                                      .transfer_max = 1 + rng.below(30)},
                                     rng);
    const auto plan = plan_heft(graph.costs, graph.edges).value();
    expect_possible(graph, plan);
    EXPECT_GE(plan.makespan, shortest_possible(graph));
    EXPECT_LE(plan.makespan, serial_makespan(graph));
    std::uint64_t sum = 0;
    for (int i = 0; i < 20; ++i) sum += random_makespan(graph, rng);
    EXPECT_LT(20 * plan.makespan, sum) << "a random one, on average";
    heft += plan.makespan;
    fifo += fifo_makespan(graph);
    random += sum / 20;
    behind += plan.makespan > fifo_makespan(graph) ? 1 : 0;
  }
  EXPECT_LE(behind, kGraphs / 20) << "seldom behind first come, first served";
  EXPECT_LT(100 * heft, 80 * fifo);
  EXPECT_LT(100 * heft, 60 * random);
}

}  // namespace of_heft_test
}  // namespace mesh::tasks
