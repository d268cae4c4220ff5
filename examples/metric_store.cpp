// Tasks are counted and timed; a gap is a gap; the slowest sample says whose it was; a text for
// Prometheus.
#include "engine/tasks/metric_store.hpp"

#include <cstdio>

int main() {
  using namespace mesh;
  using namespace mesh::tasks;
  MetricStore store(MetricStoreConfig::preset("standard").value());
  const auto s = [](std::int64_t count) { return Nanos{count * kNsPerSecond}; };
  const auto completed = MetricStore::of(StandardMetric::task_completed);
  const auto duration = MetricStore::of(StandardMetric::task_duration);
  for (std::int64_t i = 0; i < 20; ++i) {
    store.add(completed, 1, s(i / 2));
    store.observe({duration, Nanos{(i + 1) * 10 * kNsPerMs}, 100 + static_cast<std::uint64_t>(i)},
                  s(i / 2));
  }
  const auto queued = MetricStore::of(StandardMetric::task_queued);
  store.set(queued, 4, s(10));
  store.set(queued, 6, s(12));  // nobody knows of second 11
  const auto history = store.history("task.queued", s(10)).value();
  int gaps = 0;
  for (const auto& point : history.points) gaps += point ? 0 : 1;
  const auto now = store.current();
  const bool is_exported = store.prometheus().find("mesh_task_completed 20\n") != std::string::npos;
  std::printf("%d points, %d gap; p99 %d ms, the slowest is task %d; exported %d\n",
              static_cast<int>(history.points.size()), gaps,
              static_cast<int>(store.quantile(duration, 0.99).value() / 1'000'000),
              static_cast<int>(store.exemplars(duration).back().id), is_exported ? 1 : 0);
  return store.verify() && now.task.completed == 20 ? 0 : 1;
}
