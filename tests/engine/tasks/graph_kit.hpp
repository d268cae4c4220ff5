// What the tests of the graph share: a small one, its commands, and a trace in which everything
// happens.
#pragma once

#include <utility>
#include <vector>

#include "engine/tasks/dependency_graph.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::tasks::testing {

using coordination::testing::Timed;
using Ids = std::vector<std::uint64_t>;

inline DependencyGraphConfig small_graph(std::uint32_t tasks = 16) {
  DependencyGraphConfig config;
  config.tasks_max = tasks;
  config.edges_max = 4 * tasks;
  config.dependencies_max = 8;
  return config;
}
inline graph::AddTask task(std::uint64_t id, Ids dependencies = {}, std::uint32_t priority = 0,
                           std::uint32_t need = 0) {
  return {id, std::move(dependencies), priority, need};
}
inline DependencyGraph with(const std::vector<graph::AddTask>& tasks,
                            const DependencyGraphConfig& config = small_graph()) {
  DependencyGraph graph(config);
  for (const auto& one : tasks) EXPECT_EQ(graph.apply(one, Nanos{0}).code, Errc::ok) << one.id;
  return graph;
}

inline std::vector<Timed<DependencyGraphCommand>> graph_trace(std::size_t count,
                                                              std::uint64_t seed) {
  Rng rng(seed);
  std::vector<Timed<DependencyGraphCommand>> commands;
  const auto some = [&] {
    Ids ids;
    for (std::uint64_t i = rng.below(3); i != 0; --i) ids.push_back(1 + rng.below(24));
    return ids;
  };
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t id = 1 + rng.below(24);
    const std::uint64_t what = rng.below(20);
    DependencyGraphCommand command = graph::Remove{id};
    if (what < 8) {
      const auto on = some();
      command = task(id, on, static_cast<std::uint32_t>(rng.below(4)),
                     static_cast<std::uint32_t>(rng.below(2)));
    } else if (what < 14) {
      command = graph::MarkCompleted{id};
    } else if (what < 15) {
      command = graph::MarkFailed{id, static_cast<FailurePolicy>(rng.below(4))};
    } else if (what < 17) {
      command = graph::AddDependencies{id, some()};
    } else if (what < 19) {
      command = graph::Spawn{1 + rng.below(24), task(id, some())};
    }
    commands.push_back({Nanos{static_cast<std::int64_t>(i)}, command});
  }
  return commands;
}

}  // namespace mesh::tasks::testing
