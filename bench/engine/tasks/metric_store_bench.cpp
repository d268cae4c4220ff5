// MetricStore: a counter, a gauge and a histogram recorded, beside a map of numbers behind a mutex.
#include <map>
#include <mutex>
#include <string>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/tasks/metric_store.hpp"

namespace {

using namespace mesh;
using namespace mesh::tasks;

struct PlainStore {
  std::uint64_t add(const std::string& name, std::uint64_t amount) {
    const std::lock_guard guard(mutex);
    return values[name] += amount;
  }
  std::mutex mutex;
  std::map<std::string, std::uint64_t> values;
};

}  // namespace

int main() {
  coordination::bench::print_head();
  MetricStore store(MetricStoreConfig::preset("standard").value());
  PlainStore plain;
  const std::string name = "task.completed";
  for (const MetricDefinition& one : standard_metrics()) plain.add(std::string(one.name), 0);
  const auto theirs =
      coordination::bench::measure([&](std::uint64_t i) { return plain.add(name, i & 1); });
  std::int64_t begun = 0;
  const auto at = [&](std::uint64_t i) { return Nanos{begun + static_cast<std::int64_t>(i) * 10}; };
  constexpr auto kCounter = MetricStore::of(StandardMetric::task_completed);
  const auto added =
      coordination::bench::measure([&](std::uint64_t i) { return store.add(kCounter, 1, at(i)); });
  coordination::bench::print_row("MetricStore/add", 10, added, theirs);
  begun += 1'000'000'000;
  constexpr auto kGauge = MetricStore::of(StandardMetric::task_queued);
  const auto set = coordination::bench::measure(
      [&](std::uint64_t i) { return store.set(kGauge, static_cast<std::int64_t>(i), at(i)); });
  coordination::bench::print_row("MetricStore/set", 10, set, theirs);
  begun += 1'000'000'000;
  metric::Observe sample;
  sample.metric = MetricStore::of(StandardMetric::message_latency);
  const auto observed = coordination::bench::measure([&](std::uint64_t i) {
    sample.duration = Nanos{static_cast<std::int64_t>(1'000 + (i * 7'919) % 1'000'000)};
    sample.exemplar = i + 1;
    return store.observe(sample, at(i));
  });
  coordination::bench::print_row("MetricStore/observe", 10, observed, theirs);

  // What closes a second pays for all metrics.
  begun += 1'000'000'000;
  const auto closed = coordination::bench::measure([&](std::uint64_t i) {
    return store.add(kCounter, 1, Nanos{begun + static_cast<std::int64_t>(i) * 1'000'000'000});
  });
  coordination::bench::print_row("MetricStore/add, one each second", 5'000, closed, theirs);
  return store.verify() ? 0 : 1;
}
