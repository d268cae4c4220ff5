// What a sender does before each message in its own process: whether a cluster is routable, a unit
// of a bucket, a unit of credit that was granted ahead. Beside a map of names behind a mutex.
#include <algorithm>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/blocks/credit_pool.hpp"
#include "engine/coordination/blocks/gcra_bucket.hpp"
#include "engine/health/breaker_tree.hpp"

namespace {

using namespace mesh;
using namespace mesh::coordination;

struct PlainStates {
  bool is_routable(const std::string& cluster) {
    const std::lock_guard lock(mutex);
    return !mesh_is_open && !open_sectors[sector_of[cluster]] && !open_clusters[cluster];
  }
  std::mutex mutex;
  bool mesh_is_open = false;
  std::unordered_map<std::string, std::string> sector_of;  // of a cluster
  std::unordered_map<std::string, bool> open_sectors;
  std::unordered_map<std::string, bool> open_clusters;
};
struct PlainBucket {
  bool take(const std::string& name, double now_s) {
    const std::lock_guard lock(mutex);
    auto& [units, at_s] = buckets[name];
    units = std::min(100.0, units + (now_s - at_s) * 1e6);
    at_s = now_s;
    if (units < 1) return false;
    units -= 1;
    return true;
  }
  std::mutex mutex;
  std::unordered_map<std::string, std::pair<double, double>> buckets;
};

void bench_tree() {
  constexpr std::uint32_t kSectors = 10;
  constexpr std::uint32_t kClusters = 100;  // of a sector: 30,000 agents in thousands of 30
  engine::health::BreakerTreeConfig config;
  config.sectors = kSectors;
  PlainStates plain;
  for (std::uint32_t i = 0; i < kSectors * kClusters; ++i) {
    config.sector_of_cluster.push_back(i / kClusters);
    const std::string cluster = "cluster-" + std::to_string(i);
    plain.sector_of[cluster] = "sector-" + std::to_string(i / kClusters);
    plain.open_clusters[cluster] = false;
  }
  for (std::uint32_t i = 0; i < kSectors; ++i) {
    plain.open_sectors["sector-" + std::to_string(i)] = false;
  }
  engine::health::BreakerTree tree(config);
  for (int i = 0; i < 6; ++i) tree.record_failure(7, Nanos{0});  // one is open
  const auto ours = bench::measure([&](std::uint64_t i) {
    return tree.is_routable(static_cast<std::uint32_t>(i * 7'919 % (kSectors * kClusters)));
  });
  const std::string name = "cluster-300";
  const auto theirs = bench::measure([&](std::uint64_t) { return plain.is_routable(name); });
  bench::print_row("BreakerTree/is_routable", 6, ours, theirs);
}

void bench_bucket() {
  PlainBucket plain;
  for (int i = 0; i < 1'000; ++i) plain.buckets["agent-" + std::to_string(i)];
  const std::string name = "agent-500";
  const auto theirs = bench::measure(
      [&](std::uint64_t i) { return plain.take(name, static_cast<double>(i) * 1e-6); });
  GcraBucket taken(1e6, 100);
  const auto ours = bench::measure(
      [&](std::uint64_t i) { return taken.take(static_cast<std::int64_t>(i) * 1'000).status; });
  bench::print_row("GcraBucket/take, taken", 20, ours, theirs);
  GcraBucket refused(1, 1);
  const auto none = bench::measure(
      [&](std::uint64_t i) { return refused.take(static_cast<std::int64_t>(i)).status; });
  bench::print_row("GcraBucket/take, refused", 20, none, theirs);
  CreditPurse purse;
  purse.add({UINT64_MAX, INT64_MAX});
  const auto spent =
      bench::measure([&](std::uint64_t i) { return purse.spend(static_cast<std::int64_t>(i)); });
  bench::print_row("CreditPurse/spend", 5, spent, theirs);
}

}  // namespace

int main() {
  bench::print_head();
  bench_tree();
  bench_bucket();
  return 0;
}
