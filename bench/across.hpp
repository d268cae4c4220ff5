// across(): runs one side in a forked process pinned to another core, the other side here.
//
// Why         A ring between processes is measured between processes. The two cores may be near
//             (one L3) or far, and the host moves them within minutes: probe_round_trip_ns() says
//             which, before each round.
// Use         SharedArea area(bytes); across(area, [&] { reader(); }, [&] { writer(); });
//             Both start together; across() returns when both are done.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <vector>

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "queues/wait_strategy.hpp"
#include "shm/base/assert.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/word.hpp"

namespace mesh::bench {

inline std::int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

// Shared, zeroed, prefaulted memory.
class SharedArea {
 public:
  explicit SharedArea(std::size_t bytes) : bytes_(bytes) {
    base_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    MESH_ASSERT(base_ != MAP_FAILED);
  }
  ~SharedArea() { ::munmap(base_, bytes_); }
  SharedArea(const SharedArea&) = delete;
  SharedArea& operator=(const SharedArea&) = delete;

  [[nodiscard]] std::byte* at(std::size_t offset) const {
    return static_cast<std::byte*>(base_) + offset;
  }

 private:
  std::size_t bytes_;
  void* base_ = nullptr;
};

// The two cores measured on: the first and the last that this process may use.
struct Cores {
  int here = 0;
  int there = 0;
};
inline Cores cores() {
  static const Cores found = [] {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof allowed, &allowed);
    Cores both{-1, -1};
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(static_cast<std::size_t>(cpu), &allowed)) continue;
      if (both.here < 0) both.here = cpu;
      both.there = cpu;
    }
    return both;
  }();
  return found;
}
inline void pin(int cpu) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(cpu), &one);
  sched_setaffinity(0, sizeof one, &one);
}

template <class There, class Here>
void across(There&& there, Here&& here) {
  const Cores where = cores();
  SharedArea gate(4096);
  auto* started = reinterpret_cast<ShmWord<std::uint32_t>*>(gate.at(0));
  auto* go = reinterpret_cast<ShmWord<std::uint32_t>*>(gate.at(kIsolation));
  pin(where.here);
  const pid_t child = ::fork();
  MESH_ASSERT(child >= 0);
  if (child == 0) {
    pin(where.there);
    started->store_release(1);                            // SYNC bench.started release
    while (go->load_acquire() == 0) queues::relax_cpu();  // SYNC bench.go acquire
    there();
    ::_exit(0);
  }
  while (started->load_acquire() == 0) queues::relax_cpu();  // SYNC bench.started acquire
  go->store_release(1);                                      // SYNC bench.go release
  here();
  int status = 0;
  MESH_ASSERT(::waitpid(child, &status, 0) == child);
  MESH_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

struct Latency {
  double p50 = 0, p99 = 0, p999 = 0, max = 0;
};
inline Latency latency_of(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double share) {
    return samples[static_cast<std::size_t>(share * static_cast<double>(samples.size() - 1))];
  };
  return {at(0.5), at(0.99), at(0.999), samples.back()};
}

// One word that both sides write in turn: what the hardware allows. With a pause in each spin, or
// without one.
template <bool kPause>
std::vector<double> bare_round_trips(std::uint32_t count) {
  SharedArea area(4096);
  auto* line = reinterpret_cast<ShmWord<std::uint32_t>*>(area.at(0));
  std::vector<double> samples(count);
  const auto await = [&](std::uint32_t value) {
    while (line->load_acquire() != value)  // SYNC bench.bare acquire
      if constexpr (kPause) queues::relax_cpu();
  };
  across(
      [&] {
        for (std::uint32_t i = 0; i < count; ++i) {
          await(2 * i + 1);
          line->store_release(2 * i + 2);  // SYNC bench.bare release
        }
      },
      [&] {
        for (std::uint32_t i = 0; i < count; ++i) {
          const std::int64_t start = now_ns();
          line->store_release(2 * i + 1);  // SYNC bench.bare release
          await(2 * i + 2);
          samples[i] = static_cast<double>(now_ns() - start);
        }
      });
  return samples;
}

// Median round trip of one line, spinning with a pause: about 100 near, 200-400 far on the machines
// we know.
inline double probe_round_trip_ns() {
  std::vector<double> samples = bare_round_trips<true>(2000);
  return latency_of(std::move(samples)).p50;
}

}  // namespace mesh::bench
