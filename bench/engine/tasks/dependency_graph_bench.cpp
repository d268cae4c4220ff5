// DependencyGraph: 100,000 tasks with 500,000 edges loaded and worked off, and the same through
// maps and sets. By the clock and by the thread's processor time, which neighbours do not lengthen.
#include <map>
#include <set>

#include <time.h>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/tasks/dependency_graph.hpp"

namespace {

using namespace mesh;
using namespace mesh::tasks;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kTasks = 100'000;
constexpr std::uint64_t kEach = 5;

struct PlainGraph {
  void add(const graph::AddTask& task) {
    std::set<std::uint64_t>& on = missing[task.id];
    for (const auto one : task.dependencies) {
      if (done.contains(one)) continue;
      on.insert(one);
      dependents[one].push_back(task.id);
    }
  }
  std::size_t complete(std::uint64_t id) {
    std::size_t ready = 0;
    done.insert(id);
    for (const auto one : dependents[id]) {
      missing[one].erase(id);
      ready += missing[one].empty() ? 1U : 0U;
    }
    return ready;
  }
  std::map<std::uint64_t, std::set<std::uint64_t>> missing;
  std::map<std::uint64_t, std::vector<std::uint64_t>> dependents;
  std::set<std::uint64_t> done;
};

double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

double processor_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

std::vector<DependencyGraphCommand> tasks_with_edges() {
  coordination::Rng rng(1);
  std::vector<DependencyGraphCommand> commands;
  for (std::uint64_t id = 1; id <= kTasks; ++id) {
    graph::AddTask task;
    task.id = id;
    for (std::uint64_t i = 0; i < kEach && id > kEach; ++i) {
      task.dependencies.push_back(id - 1 - rng.below(std::min<std::uint64_t>(id - 1, 1'000)));
    }
    commands.emplace_back(std::move(task));
  }
  return commands;
}

}  // namespace

int main() {
  const auto commands = tasks_with_edges();
  const int rounds = std::getenv("MESH_BENCH_QUICK") != nullptr ? 1 : 9;
  std::vector<double> load;
  std::vector<double> load_cpu;
  std::vector<double> work;
  std::vector<double> plain_load;
  for (int round = 0; round < rounds; ++round) {
    auto config = DependencyGraphConfig::preset("standard").value();
    config.tasks_max = kTasks;
    config.edges_max = kEach * kTasks;
    DependencyGraph graph(config);
    auto begin = Clock::now();
    const double begin_cpu = processor_ms();
    for (const auto& one : commands) graph.apply(one, Nanos{0});
    load.push_back(ms_since(begin));
    load_cpu.push_back(processor_ms() - begin_cpu);
    begin = Clock::now();
    std::vector<std::uint64_t> ready = graph.ready();
    for (std::size_t i = 0; i < ready.size(); ++i) {
      const auto reply = graph.apply(graph::MarkCompleted{ready[i]}, Nanos{0});
      ready.insert(ready.end(), reply.ready.begin(), reply.ready.end());
    }
    work.push_back(ms_since(begin));
    if (ready.size() != kTasks) std::abort();  // it would be a figure of something else
    PlainGraph plain;
    begin = Clock::now();
    for (const auto& one : commands) plain.add(std::get<graph::AddTask>(one));
    plain_load.push_back(ms_since(begin));
  }
  for (auto* list : {&load, &load_cpu, &work, &plain_load}) std::sort(list->begin(), list->end());
  const auto middle = [](const std::vector<double>& list) { return list[list.size() / 2]; };
  std::printf("%-44s %9s %9s %9s %9s\n", "ms", "budget", "median", "worst", "plain");
  std::printf("%-44s %9d %9.1f %9.1f %9.1f\n", "DependencyGraph/load 100k tasks, 500k edges", 100,
              middle(load), load.back(), middle(plain_load));
  std::printf("%-44s %9d %9.1f %9.1f %9s\n", "DependencyGraph/the same, processor time", 100,
              middle(load_cpu), load_cpu.back(), "");
  std::printf("%-44s %9s %9.1f %9.1f %9s\n", "DependencyGraph/complete them all", "-", middle(work),
              work.back(), "-");
  return 0;
}
