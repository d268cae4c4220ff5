// WorkCrew: two threads do a tree of small tasks, each of which makes two more: a deque each with
// steals, beside a moodycamel queue each (by HandOver) with steals, one queue for both and a deque
// behind a mutex.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <mutex>
#include <span>
#include <thread>

#include "bench/interleave.hpp"
#include "queues/local/work_crew.hpp"

namespace {

using namespace mesh;
using namespace mesh::queues::local;

constexpr std::uint32_t kThreads = 2;
constexpr std::size_t kRoom = 16'384;

// What a task is: some hundred nanoseconds of arithmetic, or none.
std::uint64_t work(std::uint64_t seed, std::uint32_t rounds) {
  for (std::uint32_t i = 0; i < rounds; ++i) seed = (seed ^ seed >> 31) * 0x9E37'79B9'7F4A'7C15U;
  return seed;
}

// Runs `each(thread, left)` on both threads until `left` is 0.
template <class Each>
void on_both(std::uint64_t tasks, Each&& each) {
  std::atomic<std::uint64_t> left{tasks};
  std::vector<std::thread> threads;
  for (std::uint32_t at = 0; at < kThreads; ++at) threads.emplace_back([&, at] { each(at, left); });
  for (auto& thread : threads) thread.join();
}

// Children of a node of the tree 1..tasks.
template <class Push>
void push_children(std::uint64_t node, std::uint64_t tasks, Push&& push) {
  for (std::uint64_t child = 2 * node; child <= 2 * node + 1 && child <= tasks; ++child) {
    if (!push(child)) std::abort();  // it would be a figure of something else
  }
}

void run_crew(std::uint64_t tasks, std::uint32_t rounds) {
  WorkCrew<std::uint64_t> crew({.workers = kThreads, .capacity = kRoom, .burst_max = 16});
  std::uint64_t root = 1;
  if (crew.try_give(0, root) != Errc::ok) std::abort();
  on_both(tasks, [&](std::uint32_t at, std::atomic<std::uint64_t>& left) {
    auto worker = crew.worker(at);
    std::uint64_t node = 0;
    std::uint64_t done = 0;
    while (worker.take(node, [&] {
      if (done != 0)
        left.fetch_sub(std::exchange(done, 0),
                       std::memory_order_acq_rel);  // idle: says what it has done
      return left.load(std::memory_order_acquire) == 0;
    })) {
      bench::keep(work(node, rounds));
      push_children(node, tasks,
                    [&](std::uint64_t child) { return worker.try_push(child) == Errc::ok; });
      ++done;
    }
  });
}

// A moodycamel queue each; who finds its own empty takes half of the other's, 16 at most.
void run_queues(std::uint64_t tasks, std::uint32_t rounds) {
  constexpr std::size_t kBurst = 16;
  HandOver<std::uint64_t> first(kRoom, 1, 1);
  HandOver<std::uint64_t> second(kRoom, 1, 1);
  if (!first.try_push(1)) std::abort();
  on_both(tasks, [&](std::uint32_t at, std::atomic<std::uint64_t>& left) {
    HandOver<std::uint64_t>& own = at == 0 ? first : second;
    HandOver<std::uint64_t>& other = at == 0 ? second : first;
    auto lane = own.lane();
    std::array<std::uint64_t, kBurst> loot{};
    std::size_t next = 0;
    std::size_t count = 0;
    std::uint64_t done = 0;
    for (std::uint32_t looks = 0;; ++looks) {
      std::uint64_t node = 0;
      if (next == count && own.pop({&node, 1}) == 0) {
        next = 0;
        count = other.pop(std::span(loot).first(std::min((other.size_hint() + 1) / 2, kBurst)));
      }
      if (node == 0 && next != count) node = loot[next++];
      if (node == 0) {
        if (done != 0) left.fetch_sub(std::exchange(done, 0), std::memory_order_acq_rel);
        if (left.load(std::memory_order_acquire) == 0) return;
        if (looks > 64) ::sched_yield();
        continue;
      }
      looks = 0;
      bench::keep(work(node, rounds));
      push_children(node, tasks, [&](std::uint64_t child) { return lane.try_push(child); });
      ++done;
    }
  });
}

void run_shared(std::uint64_t tasks, std::uint32_t rounds) {
  HandOver<std::uint64_t> queue(kRoom, kThreads, 1);
  if (!queue.try_push(1)) std::abort();
  on_both(tasks, [&](std::uint32_t, std::atomic<std::uint64_t>& left) {
    auto lane = queue.lane();
    std::uint64_t done = 0;
    for (std::uint32_t looks = 0;; ++looks) {
      std::uint64_t node = 0;
      if (queue.pop({&node, 1}) == 0) {
        if (done != 0) left.fetch_sub(std::exchange(done, 0), std::memory_order_acq_rel);
        if (left.load(std::memory_order_acquire) == 0) return;
        if (looks > 64) ::sched_yield();
        continue;
      }
      looks = 0;
      bench::keep(work(node, rounds));
      push_children(node, tasks, [&](std::uint64_t child) { return lane.try_push(child); });
      ++done;
    }
  });
}

void run_mutex(std::uint64_t tasks, std::uint32_t rounds) {
  std::mutex mutex;
  std::deque<std::uint64_t> queue{1};
  on_both(tasks, [&](std::uint32_t, std::atomic<std::uint64_t>& left) {
    std::uint64_t done = 0;
    for (std::uint32_t looks = 0;; ++looks) {
      std::uint64_t node = 0;
      {
        const std::lock_guard guard(mutex);
        if (!queue.empty()) {
          node = queue.front();
          queue.pop_front();
        }
      }
      if (node == 0) {
        if (done != 0) left.fetch_sub(std::exchange(done, 0), std::memory_order_acq_rel);
        if (left.load(std::memory_order_acquire) == 0) return;
        if (looks > 64) ::sched_yield();
        continue;
      }
      looks = 0;
      bench::keep(work(node, rounds));
      push_children(node, tasks, [&](std::uint64_t child) {
        const std::lock_guard guard(mutex);
        queue.push_back(child);
        return true;
      });
      ++done;
    }
  });
}

void measure(std::uint64_t tasks, std::uint32_t rounds, unsigned times) {
  const bench::Interleaved result =
      bench::interleave({{"crew", [=] { run_crew(tasks, rounds); }},
                         {"queues", [=] { run_queues(tasks, rounds); }},
                         {"one queue", [=] { run_shared(tasks, rounds); }},
                         {"mutex and deque", [=] { run_mutex(tasks, rounds); }}},
                        {.rounds = times});
  const auto each = [&](std::size_t i) { return result.ns(i).median / static_cast<double>(tasks); };
  std::printf(
      "%6u rounds a task: crew %6.1f ns a task, a queue each %6.1f (%.2f times), "
      "one queue %6.1f (%.2f), mutex %6.1f (%.2f)\n",
      rounds, each(0), each(1), result.ratio(1, 0).median, each(2), result.ratio(2, 0).median,
      each(3), result.ratio(3, 0).median);
}

}  // namespace

int main() {
  const bool is_quick = std::getenv("MESH_BENCH_QUICK") != nullptr;
  const std::uint64_t tasks = (std::uint64_t{1} << (is_quick ? 13 : 14)) - 1;
  std::printf("WorkCrew: two threads, a tree of %llu tasks\n",
              static_cast<unsigned long long>(tasks));
  for (const std::uint32_t rounds : {0U, 100U, 1'000U}) measure(tasks, rounds, is_quick ? 21 : 101);
  return 0;
}
