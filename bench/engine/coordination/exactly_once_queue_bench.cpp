// ExactlyOnceQueue: enqueue, claim, complete before the journal, beside a map of tasks and a deque
// behind a mutex, as it is usually written (no fence, no lease, ids for ever).
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/exactly_once_queue.hpp"

namespace {

using namespace mesh;
using namespace mesh::coordination;

struct PlainQueue {
  struct Task {
    std::string state = "ready";
    std::vector<std::byte> payload;
  };
  bool enqueue(const std::string& id, std::vector<std::byte> payload) {
    const std::lock_guard lock(mutex);
    const bool is_new = tasks.try_emplace(id, Task{"ready", std::move(payload)}).second;
    if (is_new) ready.push_back(id);
    return is_new;
  }
  std::string claim() {
    const std::lock_guard lock(mutex);
    if (ready.empty()) return {};
    std::string id = ready.front();
    ready.pop_front();
    tasks[id].state = "leased";
    return id;
  }
  bool complete(const std::string& id) {
    const std::lock_guard lock(mutex);
    return tasks.erase(id) == 1;
  }
  std::mutex mutex;
  std::map<std::string, Task> tasks;
  std::deque<std::string> ready;
};

constexpr std::uint64_t kStanding = 10'000;

once::Enqueue task(std::uint64_t i) {
  once::Enqueue task;
  task.id = "task-" + std::to_string(i);
  task.affinity_key = "shard-a";
  task.payload.resize(100);
  task.producer = 1;
  task.sequence = i + 1;
  return task;
}

struct Timings {
  bench::Spread cycle;
  bench::Spread plain;
};

// Enqueue, claim and complete of one task, with ten thousand others standing in the queue.
Timings cycle(std::string_view preset, bool asks_bloom) {
  auto config = ExactlyOnceQueueConfig::preset(preset).value();
  config.dedup_window_ns = Nanos{kNsPerSecond};
  config.bloom_rate_ppm = asks_bloom ? 1'000 : 0;
  ExactlyOnceQueue queue(config);
  PlainQueue plain;
  for (std::uint64_t i = 0; i < kStanding; ++i) {
    queue.apply(task(i), Nanos{0});
    plain.enqueue("task-" + std::to_string(i), std::vector<std::byte>(100));
  }
  const once::Claim claim{"worker-1", 1, 1, false};
  Timings timings;
  timings.cycle = bench::measure([&](std::uint64_t i) {
    const Nanos now{static_cast<std::int64_t>(i) * 2'000};
    queue.apply(task(kStanding + i), now);
    const auto got = queue.apply(claim, now);
    if (got.tasks.empty()) std::abort();  // a refusal would be timed as work
    return queue.apply(once::Complete{got.tasks[0].id, got.tasks[0].fence, {}}, now).code;
  });
  timings.plain = bench::measure([&](std::uint64_t i) {
    const auto one = task(kStanding + i);
    plain.enqueue(one.id, one.payload);
    return plain.complete(plain.claim());
  });
  return timings;
}

struct Phases {
  bench::Spread enqueue;
  bench::Spread claim;
  bench::Spread complete;
  double pairs_per_s = 0;  // claims, each with its completion
};

double ns_each(std::chrono::steady_clock::time_point since, std::size_t count) {
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - since;
  return took.count() / static_cast<double>(count);
}
bench::Spread spread_of(std::vector<double>& samples) {
  std::sort(samples.begin(), samples.end());
  return {samples[samples.size() / 2], samples[samples.size() * 99 / 100]};
}

// A thousand of each after the other, one command a task; ten thousand others stand there. The
// commands are made before the clock starts: they are the caller's.
Phases phases(std::string_view preset) {
  constexpr std::size_t kTasks = 1'000;
  const std::size_t rounds = std::getenv("MESH_BENCH_QUICK") != nullptr ? 100 : 1'000;
  auto config = ExactlyOnceQueueConfig::preset(preset).value();
  config.dedup_window_ns = Nanos{kNsPerSecond};
  ExactlyOnceQueue queue(config);
  for (std::uint64_t i = 0; i < kStanding; ++i) queue.apply(task(i), Nanos{0});
  const ExactlyOnceQueueCommand claim = once::Claim{"worker-1", 1, 1, false};
  std::vector<double> enqueues;
  std::vector<double> claims;
  std::vector<double> completes;
  double pairs_ns = 0;
  for (std::size_t round = 0; round < rounds + rounds / 10; ++round) {
    const Nanos now{static_cast<std::int64_t>(round) * 4'000'000};
    std::vector<ExactlyOnceQueueCommand> commands;
    for (std::size_t i = 0; i < kTasks; ++i) {
      commands.emplace_back(task(kStanding + round * kTasks + i));
    }
    auto begin = std::chrono::steady_clock::now();
    for (const auto& command : commands) {
      if (queue.apply(command, now).code != Errc::ok) std::abort();
    }
    const double enqueue_ns = ns_each(begin, kTasks);
    std::vector<std::pair<std::string, std::uint64_t>> held;
    held.reserve(kTasks);
    begin = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < kTasks; ++i) {
      auto got = queue.apply(claim, now);
      held.emplace_back(std::move(got.tasks.at(0).id), got.tasks[0].fence);
    }
    const double claim_ns = ns_each(begin, kTasks);
    commands.clear();
    for (auto& [id, fence] : held) commands.emplace_back(once::Complete{std::move(id), fence, {}});
    begin = std::chrono::steady_clock::now();
    for (const auto& command : commands) {
      if (queue.apply(command, now).code != Errc::ok) std::abort();
    }
    const double complete_ns = ns_each(begin, kTasks);
    if (round < rounds / 10) continue;  // warm by then
    enqueues.push_back(enqueue_ns);
    claims.push_back(claim_ns);
    completes.push_back(complete_ns);
    pairs_ns += claim_ns + complete_ns;
  }
  Phases result{spread_of(enqueues), spread_of(claims), spread_of(completes), 0};
  result.pairs_per_s = 1e9 * static_cast<double>(rounds) / pairs_ns;
  return result;
}

void print_phases(std::string_view preset) {
  const Phases made = phases(preset);
  std::printf("\n%-44s %9s %9s %9s\n", std::string(preset).c_str(), "budget", "p50", "p99");
  const auto row = [](const char* what, double budget, const bench::Spread& spread) {
    std::printf("%-44s %9.0f %9.1f %9.1f\n", what, budget, spread.p50_ns, spread.p99_ns);
  };
  row("ExactlyOnceQueue/enqueue", 400, made.enqueue);
  row("ExactlyOnceQueue/claim", 300, made.claim);
  row("ExactlyOnceQueue/complete", 150, made.complete);
  std::printf("%-44s %.2f million claims, each completed, a second\n",
              "ExactlyOnceQueue/claims and completes", made.pairs_per_s * 1e-6);
}

}  // namespace

int main() {
  bench::print_head();
  // 850 ns: 400 for enqueue, 300 for claim, 150 for complete.
  for (const bool asks_bloom : {true, false}) {
    const auto timings = cycle("default", asks_bloom);
    bench::print_row(asks_bloom ? "ExactlyOnceQueue/cycle/ids, Bloom first"
                                : "ExactlyOnceQueue/cycle/ids, exact set alone",
                     850, timings.cycle, timings.plain);
  }
  const auto timings = cycle("high-throughput", false);
  bench::print_row("ExactlyOnceQueue/cycle/producer_seq", 850, timings.cycle, timings.plain);
  print_phases("default");
  print_phases("high-throughput");
  return 0;
}
