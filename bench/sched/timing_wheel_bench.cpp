// Timers at a steady number pending: each turn fires what is next and schedules it again. The wheel
// beside std::priority_queue, which has no cancel at all.
#include <queue>
#include <random>

#include <benchmark/benchmark.h>

#include "sched/timing_wheel.hpp"

namespace mesh::sched {
namespace {

// Due up to 2 s ahead, as the buckets of operations are.
std::vector<std::int64_t> offsets() {
  std::mt19937_64 random(1);
  std::vector<std::int64_t> values(1U << 20);
  for (auto& value : values) {
    value = 1 + static_cast<std::int64_t>(random() % (2 * kNsPerSecond));
  }
  return values;
}

void wheel_fire_and_schedule(benchmark::State& state) {
  const auto pending = static_cast<std::uint32_t>(state.range(0));
  const std::vector<std::int64_t> ahead = offsets();
  TimingWheel wheel = std::move(TimingWheel::create({.capacity = pending}).value());
  std::size_t at = 0;
  for (std::uint32_t i = 0; i < pending; ++i) {
    (void)wheel.schedule({i % 1'024, 0, ahead[at++ % ahead.size()]});
  }
  std::int64_t fired = 0;  // not one an iteration: a turn may only move entries, or fire several
  for (auto _ : state) {
    const std::int64_t now = wheel.next_due_ns();
    fired +=
        wheel
            .advance(now, 4'096,
                     [&](const WheelEntry& entry) {
                       (void)wheel.schedule({entry.operation, 0, now + ahead[at++ % ahead.size()]});
                     })
            .fired;
  }
  state.SetItemsProcessed(fired);
}
BENCHMARK(wheel_fire_and_schedule)
    ->Name("TimingWheel/fire_and_schedule/pending")
    ->Arg(100)
    ->Arg(10'000)
    ->Arg(600'000);

struct Later {
  bool operator()(const std::pair<std::int64_t, WheelEntry>& a,
                  const std::pair<std::int64_t, WheelEntry>& b) const {
    return a.first > b.first;
  }
};

void queue_fire_and_schedule(benchmark::State& state) {
  using Item = std::pair<std::int64_t, WheelEntry>;
  const auto pending = static_cast<std::uint32_t>(state.range(0));
  const std::vector<std::int64_t> ahead = offsets();
  std::priority_queue<Item, std::vector<Item>, Later> queue;
  std::size_t at = 0;
  for (std::uint32_t i = 0; i < pending; ++i) {
    const std::int64_t due = ahead[at++ % ahead.size()];
    queue.push({due, WheelEntry{i % 1'024, 0, due}});
  }
  for (auto _ : state) {
    Item item = queue.top();
    queue.pop();
    item.first += ahead[at++ % ahead.size()];
    queue.push(item);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(queue_fire_and_schedule)
    ->Name("Baseline/priority_queue/fire_and_schedule/pending")
    ->Arg(100)
    ->Arg(10'000)
    ->Arg(600'000);

void wheel_schedule_and_cancel(benchmark::State& state) {
  const auto pending = static_cast<std::uint32_t>(state.range(0));
  const std::vector<std::int64_t> ahead = offsets();
  TimingWheel wheel = std::move(TimingWheel::create({.capacity = pending + 1}).value());
  std::size_t at = 0;
  for (std::uint32_t i = 0; i < pending; ++i) {
    (void)wheel.schedule({i % 1'024, 0, ahead[at++ % ahead.size()]});
  }
  for (auto _ : state) {
    const Scheduled scheduled = wheel.schedule({0, 0, ahead[at++ % ahead.size()]});
    benchmark::DoNotOptimize(wheel.cancel(scheduled.handle));
  }
}
BENCHMARK(wheel_schedule_and_cancel)
    ->Name("TimingWheel/schedule_and_cancel/pending")
    ->Arg(100)
    ->Arg(600'000);

void wheel_idle(benchmark::State& state) {
  TimingWheel wheel = std::move(TimingWheel::create({.capacity = 16}).value());
  (void)wheel.schedule({0, 0, TimingWheel::kDueNsMax});
  std::int64_t now = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(wheel.advance(++now, 4'096, [](const WheelEntry&) {}));
  }
}
BENCHMARK(wheel_idle)->Name("TimingWheel/advance_with_nothing_due");

}  // namespace
}  // namespace mesh::sched
