// ExactlyOnceQueue: enqueue, claim, complete before the journal, beside a map of tasks and a deque
// behind a mutex, as it is usually written (no fence, no lease, ids for ever).
#include <deque>
#include <map>
#include <mutex>
#include <string>

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
  return 0;
}
