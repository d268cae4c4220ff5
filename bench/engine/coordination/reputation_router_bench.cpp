// ReputationWeightedRouter: record and route by p2c among 30,000 agents, beside names in a map of
// double sums behind a mutex. The selector's filters over the same agents.
#include <cmath>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/reputation_router.hpp"

namespace {

using mesh::Nanos;
using namespace mesh::coordination;
constexpr std::uint32_t kAgents = 30'000;

struct PlainRouter {
  struct Record {
    double good = 0;
    double bad = 0;
    double latency = 0;
    std::int64_t last = 0;
    std::uint64_t observations = 0;
    std::uint32_t in_flight = 0;
  };
  static void decay(Record& record, std::int64_t now) {
    const double factor = std::exp2(-static_cast<double>(now - record.last) / 600e9);
    record.good *= factor;
    record.bad *= factor;
    record.last = now;
  }
  double success(const std::string& name, double latency, std::int64_t now) {
    const std::lock_guard lock(mutex);
    const auto found = records.find(name);
    if (found == records.end() || latency < 0 || now < 0) return -1;
    Record& record = found->second;
    const bool forgotten = now - record.last > 60'000'000'000;
    record.in_flight = forgotten || record.in_flight == 0 ? 0 : record.in_flight - 1;
    decay(record, now);
    record.good += 1;
    record.latency += 0.3 * (latency - record.latency);
    ++record.observations;
    ++successes;
    return record.good;
  }
  std::size_t route(std::int64_t now) {
    const std::lock_guard lock(mutex);
    const auto first = rng.below(names.size());
    const auto second = rng.below(names.size());
    return score(names[first], now) >= score(names[second], now) ? first : second;
  }
  double score(const std::string& name, std::int64_t now) {
    Record& record = records[name];
    decay(record, now);
    return 0.8 * (record.good + 1) / (record.good + record.bad + 2) +
           0.2 / (1 + record.latency / 200e6);
  }
  std::mutex mutex;
  Rng rng{1};
  std::uint64_t successes = 0;
  std::vector<std::string> names;
  std::unordered_map<std::string, Record> records;
};

}  // namespace

int main() {
  const auto at = [](std::uint64_t i) { return static_cast<std::int64_t>(i) * 1'000; };
  const auto agent = [](std::uint64_t i) {
    return static_cast<std::uint32_t>(i * 2'654'435'761U % kAgents);
  };
  ReputationConfig config;
  config.agents_max = kAgents;
  config.rows_max = kAgents;
  config.capabilities_max = 2;
  config.origins_max = 0;
  ReputationWeightedRouter router(config);
  PlainRouter plain;
  Selector selector(kAgents);
  for (std::uint32_t i = 0; i < kAgents; ++i) {
    router.apply(reputation::Join{i}, Nanos{0});
    router.apply(reputation::Offer{i, "summarize"}, Nanos{0});
    plain.names.push_back("agent-" + std::to_string(i));
    plain.records[plain.names.back()];
    selector.set_active(i, true);
    selector.offer(i, 0, true);
    selector.offer(i, 1, i % 3 == 0);
  }
  const auto record = bench::measure([&](std::uint64_t i) {
    return router.record({agent(i), Nanos{150'000'000}, kAnyCapability}, Nanos{at(i)}).code;
  });
  const auto record_class = bench::measure([&](std::uint64_t i) {
    return router.record({agent(i), Nanos{150'000'000}, 0}, Nanos{at(i)}).code;
  });
  const auto plain_record = bench::measure(
      [&](std::uint64_t i) { return plain.success(plain.names[agent(i)], 150e6, at(i)); });
  const Nanos later{std::int64_t{1} << 43};
  const auto route = bench::measure([&](std::uint64_t) {
    std::uint32_t chosen = 0;
    router.route(0, later, chosen);
    return chosen;
  });
  const auto plain_route =
      bench::measure([&](std::uint64_t i) { return plain.route(later.count() + at(i)); });
  SelectQuery query;
  query.capabilities = 3;
  const auto filter =
      bench::measure([&](std::uint64_t) { return selector.filter(query, {}).removed[0]; });
  std::vector<std::uint64_t> offers;
  for (std::uint32_t i = 0; i < kAgents; ++i) offers.push_back(i % 3 == 0 ? 3 : 1);
  std::vector<std::uint32_t> found;
  const auto plain_filter = bench::measure([&](std::uint64_t) {
    found.clear();
    for (std::uint32_t i = 0; i < kAgents; ++i) {
      if ((offers[i] & 3U) == 3U) found.push_back(i);
    }
    return found.size();
  });

  bench::print_head();
  bench::print_row("ReputationWeightedRouter/record", 40, record, plain_record);
  bench::print_row("ReputationWeightedRouter/record, of a class", 40, record_class, plain_record);
  bench::print_row("ReputationWeightedRouter/route p2c", 150, route, plain_route);
  bench::print_row("Selector/AND of bitmaps", 1'000, filter, plain_filter);
  return router.verify() ? 0 : 1;
}
