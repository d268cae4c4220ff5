// StealDeque: what a push and a take of one's own cost, and a steal, beside moodycamel's queue (by
// HandOver, with a lane) and a deque behind a mutex, by turns.
//
//   own     a burst of pushes and as many takes, by one thread
//   steals  a thief empties what its owner filled; the owner's part is not timed
//   both    its owner pushes and takes while a thief steals: ns a value
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <mutex>
#include <thread>
#include <vector>

#include "bench/interleave.hpp"
#include "queues/local/hand_over.hpp"
#include "queues/local/steal_deque.hpp"

namespace {

using namespace mesh;
using namespace mesh::queues::local;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kRoom = 16'384;
constexpr std::uint64_t kBurst = 64;

// Three ways with the same four verbs.
struct ByDeque {
  StealDeque<std::uint64_t> deque{kRoom};
  bool push(std::uint64_t value) { return deque.try_push(value); }
  bool take(std::uint64_t& out) { return deque.try_take(out); }
  bool steal(std::uint64_t& out) { return deque.try_steal(out) == StealStatus::kTaken; }
};
struct ByQueue {
  HandOver<std::uint64_t> queue{kRoom, 1, 1};
  HandOver<std::uint64_t>::Lane lane = queue.lane();
  bool push(std::uint64_t value) { return lane.try_push(value); }
  bool take(std::uint64_t& out) { return queue.pop({&out, 1}) == 1; }
  bool steal(std::uint64_t& out) { return take(out); }
};
struct ByMutex {
  std::mutex mutex;
  std::deque<std::uint64_t> deque;
  bool push(std::uint64_t value) {
    const std::lock_guard guard(mutex);
    deque.push_back(value);
    return true;
  }
  bool take(std::uint64_t& out) {
    const std::lock_guard guard(mutex);
    if (deque.empty()) return false;
    out = deque.back();
    deque.pop_back();
    return true;
  }
  bool steal(std::uint64_t& out) {
    const std::lock_guard guard(mutex);
    if (deque.empty()) return false;
    out = deque.front();
    deque.pop_front();
    return true;
  }
};

void expect(bool holds) {
  if (!holds) std::abort();  // it would be a figure of something else
}

template <class Way>
void own(Way& way, std::uint64_t values) {
  std::uint64_t out = 0;
  for (std::uint64_t done = 0; done < values; done += kBurst) {
    for (std::uint64_t i = 0; i < kBurst; ++i) expect(way.push(i));
    for (std::uint64_t i = 0; i < kBurst; ++i) expect(way.take(out));
    bench::keep(out);
  }
}

// Of a thread of its own, so that what it steals stands in another core's cache; ns a value.
template <class Way>
double steals(Way& way, std::uint64_t values) {
  for (std::uint64_t i = 0; i < values; ++i) expect(way.push(i));
  double ns = 0;
  std::thread thief([&] {
    std::uint64_t out = 0;
    const auto begin = Clock::now();
    for (std::uint64_t i = 0; i < values; ++i) expect(way.steal(out));
    ns = std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
    bench::keep(out);
  });
  thief.join();
  return ns / static_cast<double>(values);
}

template <class Way>
void both(Way& way, std::uint64_t values) {
  std::atomic<std::uint64_t> stolen{0};
  std::atomic<bool> is_over{false};
  std::thread thief([&] {
    std::uint64_t mine = 0;
    std::uint64_t out = 0;
    while (!is_over.load(std::memory_order_acquire)) mine += way.steal(out) ? 1U : 0U;
    while (way.steal(out)) ++mine;
    stolen.store(mine, std::memory_order_release);
  });
  std::uint64_t taken = 0;
  std::uint64_t out = 0;
  for (std::uint64_t i = 0; i < values; ++i) {
    expect(way.push(i));
    if (i % 2 == 1 && way.take(out)) ++taken;
  }
  is_over.store(true, std::memory_order_release);
  thief.join();
  expect(taken + stolen.load(std::memory_order_acquire) == values);
}

struct Row {
  const char* name;
  double budget;
  std::vector<double> ns[3];
};

double middle(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}
// Round by round.
double times(const Row& row, std::size_t who) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < row.ns[0].size(); ++i)
    ratios.push_back(row.ns[who][i] / row.ns[0][i]);
  return middle(ratios);
}
void print(const Row& row) {
  std::printf(
      "%-8s budget %4.0f, deque %6.1f ns, best %6.1f, moodycamel %6.1f (%.2f times), "
      "mutex %6.1f (%.2f)\n",
      row.name, row.budget, middle(row.ns[0]),
      *std::min_element(row.ns[0].begin(), row.ns[0].end()), middle(row.ns[1]), times(row, 1),
      middle(row.ns[2]), times(row, 2));
}

template <class Way>
void measure(std::size_t who, std::uint64_t values, Row& of_own, Row& of_steals, Row& of_both) {
  const auto ns_of = [&](auto&& run) {
    const auto begin = Clock::now();
    run();
    return std::chrono::duration<double, std::nano>(Clock::now() - begin).count() /
           static_cast<double>(values);
  };
  Way way;
  own(way, values);                                                // warm
  of_own.ns[who].push_back(ns_of([&] { own(way, values); }) / 2);  // a push or a take
  of_steals.ns[who].push_back(steals(way, kRoom / 2));
  of_both.ns[who].push_back(ns_of([&] { both(way, kRoom); }) * static_cast<double>(values) / kRoom);
}

}  // namespace

int main() {
  const bool is_quick = std::getenv("MESH_BENCH_QUICK") != nullptr;
  const std::uint64_t values = 64 * 1'024;
  Row of_own{"own", 10, {}};
  Row of_steals{"steals", 60, {}};
  Row of_both{"both", 0, {}};
  for (int round = 0; round < (is_quick ? 5 : 101); ++round) {
    measure<ByDeque>(0, values, of_own, of_steals, of_both);
    measure<ByQueue>(1, values, of_own, of_steals, of_both);
    measure<ByMutex>(2, values, of_own, of_steals, of_both);
  }
  std::cout << bench::context() << '\n';
  for (const Row* row : {&of_own, &of_steals, &of_both}) print(*row);
  return 0;
}
