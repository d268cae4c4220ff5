// Four tasks in a diamond: what may begin, which chain is the longest, a circle that is refused,
// and a failure.
#include "engine/tasks/dependency_graph.hpp"

#include <cstdio>

int main() {
  using namespace mesh;
  using namespace mesh::tasks;
  DependencyGraph graph(DependencyGraphConfig::preset("standard").value());
  graph.apply(graph::AddTask{4, {2, 3}}, Nanos{0});  // in any order
  graph.apply(graph::AddTask{1, {}}, Nanos{0});
  graph.apply(graph::AddTask{2, {1}}, Nanos{0});
  graph.apply(graph::AddTask{3, {1}}, Nanos{0});
  const auto circle = graph.apply(graph::AddDependencies{1, {4}}, Nanos{0});
  const auto path = graph.critical_path([](std::uint64_t id) {
    constexpr std::uint64_t kSeconds[] = {0, 3, 2, 4, 1};
    return kSeconds[id];
  });
  const auto first = graph.apply(graph::MarkCompleted{1}, Nanos{1});
  const auto failed = graph.apply(graph::MarkFailed{2}, Nanos{2});
  std::printf("a circle of %d refused; critical path %d s over task %d; ready %d; cancelled %d\n",
              static_cast<int>(circle.path.size()) - 1, static_cast<int>(path.length),
              static_cast<int>(path.tasks.at(1)), static_cast<int>(first.ready.size()),
              static_cast<int>(failed.cancelled.at(0)));
  return graph.verify() ? 0 : 1;
}
