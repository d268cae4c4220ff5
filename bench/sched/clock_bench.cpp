// What reading the time costs: our clock beside clock_gettime and the bare counter, in one run.
#include <benchmark/benchmark.h>
#include <time.h>

#include "sched/clock.hpp"

namespace mesh::sched {
namespace {

void clock_reader_now(benchmark::State& state) {
  ClockOptions options;
  options.allow_ticks = state.range(0) != 0;
  ClockWords words{};
  ClockPublisher<> publisher(words, options);
  ClockReader<> reader(words);
  for (auto _ : state) benchmark::DoNotOptimize(reader.now_ns());
  const ClockReport report = publisher.report();
  state.SetLabel(report.counter == ClockCounter::ticks ? "ticks" : "clock_monotonic");
  state.counters["counter_hz"] = report.counter_hz;
}
BENCHMARK(clock_reader_now)->Name("Clock/now/allow_ticks")->Arg(1)->Arg(0);

void clock_gettime_monotonic(benchmark::State& state) {
  for (auto _ : state) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    benchmark::DoNotOptimize(now);
  }
}
BENCHMARK(clock_gettime_monotonic)->Name("Baseline/clock_gettime");

void bare_counter(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(HostCounters::ticks());
}
BENCHMARK(bare_counter)->Name("Baseline/bare_counter");

void clock_publish(benchmark::State& state) {
  ClockWords words{};
  ClockPublisher<> publisher(words);
  for (auto _ : state) publisher.publish();
}
BENCHMARK(clock_publish)->Name("Clock/publish");

}  // namespace
}  // namespace mesh::sched
