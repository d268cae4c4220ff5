// TaskScheduler: a million tasks with dependencies through submit, assign, start and complete,
// alone and with a journal in a file; one assignment, call by call; a choice among 30,000 agents.
// Beside it a map and a set behind a mutex that knows no agents, no time-outs and no retries.
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>

#include <unistd.h>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/journaled_service.hpp"
#include "engine/store/sqlite_journal.hpp"
#include "engine/tasks/task_scheduler.hpp"

namespace {

using namespace mesh;
using namespace mesh::tasks;
using Clock = std::chrono::steady_clock;

bool is_quick() { return std::getenv("MESH_BENCH_QUICK") != nullptr; }
double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

struct PlainScheduler {
  void submit(const task::Submit& one) {
    const std::lock_guard guard(mutex);
    std::set<std::uint64_t>& on = missing[one.id];
    for (const auto id : one.dependencies) {
      if (done.contains(id)) continue;
      on.insert(id);
      dependents[id].push_back(one.id);
    }
    if (on.empty()) ready.insert({-one.priority, one.id});
  }
  std::uint64_t take() {
    const std::lock_guard guard(mutex);
    const std::uint64_t id = ready.begin()->second;
    ready.erase(ready.begin());
    return id;
  }
  void complete(std::uint64_t id) {
    const std::lock_guard guard(mutex);
    done.insert(id);
    for (const auto to : dependents[id]) {
      missing[to].erase(id);
      if (missing[to].empty()) ready.insert({0, to});
    }
  }
  std::mutex mutex;
  std::map<std::uint64_t, std::set<std::uint64_t>> missing;
  std::map<std::uint64_t, std::vector<std::uint64_t>> dependents;
  std::set<std::uint64_t> done;
  std::set<std::pair<std::int32_t, std::uint64_t>> ready;
};

std::vector<TaskCommand> tasks_with_dependencies(std::uint64_t count) {
  coordination::Rng rng(1);
  std::vector<TaskCommand> commands;
  commands.reserve(count);
  for (std::uint64_t id = 1; id <= count; ++id) {
    task::Submit one;
    one.id = id;
    one.priority = static_cast<std::int32_t>(rng.below(4));
    one.requirements = rng.below(4) == 0 ? 2 : 1;
    if (id > 1'000) {
      one.dependencies = {id - 1 - rng.below(999), id - 1 - rng.below(999)};
    }
    commands.emplace_back(std::move(one));
  }
  return commands;
}

TaskSchedulerConfig config_of(std::uint64_t tasks) {
  auto config = TaskSchedulerConfig::preset("million").value();
  config.tasks_max = static_cast<std::uint32_t>(tasks);
  config.edges_max = static_cast<std::uint32_t>(2 * tasks);
  config.agents_max = 1'024;
  config.dispatch_max = 1'024;
  return config;
}
std::vector<TaskCommand> crew(std::uint32_t agents) {
  std::vector<TaskCommand> commands;
  for (std::uint32_t i = 0; i < agents; ++i) {
    commands.emplace_back(task::RegisterAgent{i, i % 2 == 0 ? 3U : 1U, false, 10, 0, i % 8});
  }
  return commands;
}

// Tasks a second, all four steps counted.
double run_alone(const std::vector<TaskCommand>& commands) {
  TaskScheduler scheduler(config_of(commands.size()), 1);
  for (const auto& one : crew(256)) scheduler.apply(one, Nanos{0});
  const auto begin = Clock::now();
  std::int64_t now_ns = 0;
  for (const auto& one : commands) scheduler.apply(one, Nanos{++now_ns});
  TaskSchedulerActions actions;
  while (scheduler.open_count() != 0) {
    scheduler.tick(Nanos{++now_ns}, actions);
    if (actions.assigned.empty()) std::abort();  // it would be a figure of something else
    for (const auto& one : actions.assigned) {
      scheduler.apply(task::Start{one.id, one.fence}, Nanos{++now_ns});
      scheduler.apply(task::Complete{one.id, one.fence, one.id}, Nanos{++now_ns});
    }
  }
  const double took = seconds_since(begin);
  if (scheduler.counters().completed != commands.size() || !scheduler.verify()) std::abort();
  return static_cast<double>(commands.size()) / took;
}

double run_plain(const std::vector<TaskCommand>& commands) {
  PlainScheduler plain;
  const auto begin = Clock::now();
  for (const auto& one : commands) plain.submit(std::get<task::Submit>(one));
  for (std::size_t i = 0; i < commands.size(); ++i) plain.complete(plain.take());
  return static_cast<double>(commands.size()) / seconds_since(begin);
}

// Bursts of 1,024 commands, each synced before it is answered.
double run_durable(const std::vector<TaskCommand>& commands) {
  using Journaled = JournaledService<TaskScheduler>;
  const auto folder =
      std::filesystem::temp_directory_path() / ("mesh-task-bench-" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  const auto where = (folder / "journal.db").string();
  auto journal = engine::SqliteJournal::open({.where = where, .service = "tasks"}).value();
  auto service = Journaled::open(config_of(commands.size()), *journal).value();
  std::vector<Journaled::Request> burst;
  std::uint64_t sequence = 0;
  std::int64_t now_ns = 0;
  const auto flush = [&] {
    if (burst.empty()) return;
    if (!service.execute(burst, Nanos{++now_ns})) std::abort();
    burst.clear();
  };
  const auto say = [&](TaskCommand command) {
    burst.push_back({{1, ++sequence}, std::move(command)});
    if (burst.size() == 1'024) flush();
  };
  for (auto& one : crew(256)) say(std::move(one));
  flush();
  const auto begin = Clock::now();
  for (const auto& one : commands) say(one);
  flush();
  TaskSchedulerActions actions;
  while (service.service().open_count() != 0) {
    if (!service.tick(Nanos{++now_ns}, actions)) std::abort();
    for (const auto& one : actions.assigned) say(task::Start{one.id, one.fence});
    for (const auto& one : actions.assigned) say(task::Complete{one.id, one.fence, one.id});
    flush();
  }
  const double took = seconds_since(begin);
  std::filesystem::remove_all(folder);
  return static_cast<double>(commands.size()) / took;
}

void print_latencies(const char* what, std::vector<double>& each, double budget) {
  std::sort(each.begin(), each.end());
  const auto at = [&](double q) {
    return each[static_cast<std::size_t>(q * static_cast<double>(each.size() - 1))];
  };
  std::printf("%-44s budget %6.0f  p50 %7.0f  p99 %7.0f  p99.9 %7.0f  max %9.0f ns\n", what, budget,
              at(0.5), at(0.99), at(0.999), each.back());
}

// assign as one call after another, with what it takes to free the agent again untimed.
void measure_assign(std::uint32_t agents, Strategy strategy, const char* what, double budget) {
  auto config = config_of(4'096);
  config.agents_max = agents;
  config.strategy = strategy;
  TaskScheduler scheduler(config, 1);
  for (const auto& one : crew(agents)) scheduler.apply(one, Nanos{0});
  const int calls = is_quick() ? 20'000 : 200'000;
  std::vector<double> each;
  std::int64_t now_ns = 0;
  for (int i = 1; i <= calls; ++i) {
    task::Submit one;
    one.id = static_cast<std::uint64_t>(i);
    one.requirements = 1;
    scheduler.apply(one, Nanos{++now_ns});
    const TaskCommand assign = task::Assign{one.id};
    const auto begin = Clock::now();
    const auto reply = scheduler.apply(assign, Nanos{++now_ns});
    each.push_back(seconds_since(begin) * 1e9);
    if (reply.code != Errc::ok) std::abort();
    if (i % 4 == 0) continue;  // some stay, so that loads differ
    scheduler.apply(task::Start{one.id, reply.fence}, Nanos{++now_ns});
    scheduler.apply(task::Complete{one.id, reply.fence, 0}, Nanos{++now_ns});
    if (i % 2'000 == 1'999) {
      for (const auto& again : crew(agents)) {
        scheduler.apply(task::RemoveAgent{std::get<task::RegisterAgent>(again).agent},
                        Nanos{++now_ns});
        scheduler.apply(again, Nanos{++now_ns});
      }
      for (int k = std::max(1, i - 2'100); k <= i; ++k) {
        scheduler.apply(task::Cancel{static_cast<std::uint64_t>(k)}, Nanos{++now_ns});
      }
    }
  }
  print_latencies(what, each, budget);
}

}  // namespace

int main() {
  const std::uint64_t count = is_quick() ? 100'000 : 1'000'000;
  const auto commands = tasks_with_dependencies(count);
  std::vector<double> alone;
  for (int round = 0; round < (is_quick() ? 1 : 5); ++round) alone.push_back(run_alone(commands));
  std::sort(alone.begin(), alone.end());
  std::printf(
      "TaskScheduler/%llu tasks, two dependencies each: budget 500000/s, median %.0f/s, "
      "least %.0f/s; plain %.0f/s\n",
      static_cast<unsigned long long>(count), alone[alone.size() / 2], alone.front(),
      run_plain(commands));
  const std::vector<TaskCommand> fewer(commands.begin(), commands.begin() + 100'000);
  std::printf("TaskScheduler/durable, 100000 tasks, SQLite, bursts of 1024: %.0f/s\n",
              run_durable(fewer));
  measure_assign(256, Strategy::capability, "TaskScheduler/assign, 256 agents, capability", 10'000);
  measure_assign(64, Strategy::capability, "TaskScheduler/assign, 64 agents, capability", 10'000);
  measure_assign(256, Strategy::least_loaded, "TaskScheduler/assign, 256, least loaded", 10'000);
  measure_assign(30'000, Strategy::p2c, "TaskScheduler/assign, 30000 agents, p2c", 10'000);
  return 0;
}
