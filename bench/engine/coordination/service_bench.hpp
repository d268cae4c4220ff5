// A bench of a service: ns a call, ours and a plain version (a mutex and a map of named things) in
// the same run, beside the budget. p50 and p99 over batches: one call is shorter than reading the
// clock.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <semaphore>
#include <string_view>
#include <thread>
#include <vector>

namespace mesh::coordination::bench {

struct Spread {
  double p50_ns = 0;
  double p99_ns = 0;
};

// A thread that sleeps. While a process has but one, glibc's mutex (2.35) takes and leaves its lock
// without an atomic operation, at a third of what it costs whoever has use for a mutex.
class ParkedThread {
 public:
  ParkedThread() = default;
  ~ParkedThread() { leave_.release(); }
  ParkedThread(const ParkedThread&) = delete;
  ParkedThread& operator=(const ParkedThread&) = delete;

 private:
  std::binary_semaphore leave_{0};
  std::jthread thread_{[this] { leave_.acquire(); }};
};

// One of `count` by call, in an order that nothing foresees: the plain version is a map of many,
// and one that is always asked for the same name answers from what is already at hand.
constexpr std::uint32_t scattered(std::uint64_t call, std::uint32_t count) {
  return static_cast<std::uint32_t>(((call * 0x9E3779B97F4A7C15U) >> 32U) * count >> 32U);
}

// Whatever `call(i)` returns is kept from being optimised away.
template <class Call>
Spread measure(Call&& call) {
  using Clock = std::chrono::steady_clock;
  constexpr std::uint64_t kCallsABatch = 1'000;
  const std::size_t batches = std::getenv("MESH_BENCH_QUICK") != nullptr ? 200 : 4'000;
  const ParkedThread other;
  std::vector<double> samples;
  samples.reserve(batches);
  std::uint64_t i = 0;
  for (std::size_t batch = 0; batch < batches + batches / 10; ++batch) {
    const auto begin = Clock::now();
    for (std::uint64_t k = 0; k < kCallsABatch; ++k) {
      auto kept = call(i++);
      asm volatile("" : : "g"(&kept) : "memory");
    }
    const std::chrono::duration<double, std::nano> took = Clock::now() - begin;
    if (batch >= batches / 10) samples.push_back(took.count() / kCallsABatch);  // warm by then
  }
  std::sort(samples.begin(), samples.end());
  return {samples[samples.size() / 2], samples[samples.size() * 99 / 100]};
}

inline void print_head() {
  std::printf("%-44s %9s %9s %9s %9s %7s\n", "ns a call", "budget", "p50", "p99", "plain p50",
              "times");
}
inline void print_row(std::string_view what, double budget_ns, const Spread& ours,
                      const Spread& plain) {
  std::printf("%-44.*s %9.0f %9.1f %9.1f %9.1f %7.1f\n", static_cast<int>(what.size()), what.data(),
              budget_ns, ours.p50_ns, ours.p99_ns, plain.p50_ns, plain.p50_ns / ours.p50_ns);
}

}  // namespace mesh::coordination::bench
