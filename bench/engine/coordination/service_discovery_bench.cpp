// ServiceDiscovery: register, renew and resolve among 30,000 records of 1,000 types, beside names
// in a map of lists behind a mutex. What a change and the root of the digests after it cost.
#include <algorithm>
#include <array>
#include <chrono>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/service_discovery.hpp"

namespace {

using namespace mesh;
using namespace mesh::coordination;
constexpr std::uint64_t kInstances = 30'000;
constexpr std::uint64_t kTypes = 1'000;

std::uint64_t spread(std::uint64_t i, std::uint64_t n) { return i * 2'654'435'761U % n; }

struct PlainRegistry {
  struct Record {
    std::string name;
    std::string region;
    std::string zone;
    double load = 0;
    std::int64_t expires = 0;
  };
  std::size_t renew(const std::string& type, const Record& record) {
    const std::lock_guard lock(mutex);
    auto& list = types[type];
    for (auto& one : list) {
      if (one.name == record.name) {
        one = record;
        return list.size();
      }
    }
    list.push_back(record);
    return list.size();
  }
  std::string resolve(const std::string& type, const std::string& region, std::int64_t now) {
    const std::lock_guard lock(mutex);
    const Record* best = nullptr;
    double most = -1;
    for (const auto& one : types[type]) {
      const double score = 0.25 * (one.region == region ? 0.7 : 0.2) + 0.2 * (1 - one.load);
      if (one.expires <= now || score <= most) continue;
      most = score;
      best = &one;
    }
    return best == nullptr ? std::string() : best->name;
  }
  std::mutex mutex;
  std::unordered_map<std::string, std::vector<Record>> types;
};

// Each registration happens once: batches of a hundred, over all of them.
bench::Spread first_registrations(ServiceDiscovery& registry,
                                  const std::vector<ServiceDiscovery::Command>& commands) {
  using Clock = std::chrono::steady_clock;
  constexpr std::size_t kBatch = 100;
  std::vector<double> samples;
  for (std::size_t i = 0; i + kBatch <= commands.size(); i += kBatch) {
    const auto begin = Clock::now();
    for (std::size_t k = i; k < i + kBatch; ++k) registry.apply(commands[k], Nanos{0});
    const std::chrono::duration<double, std::nano> took = Clock::now() - begin;
    samples.push_back(took.count() / kBatch);
  }
  std::sort(samples.begin(), samples.end());
  return {samples[samples.size() / 2], samples[samples.size() * 99 / 100]};
}

}  // namespace

int main() {
  auto config = DiscoveryConfig::preset("large-federation").value();
  ServiceDiscovery registry(config, 1);
  PlainRegistry plain;
  std::vector<discovery::Register> offers;
  std::vector<std::string> types;
  const std::array<std::string, 3> regions{"us-east", "us-west", "eu-west"};
  for (std::uint64_t i = 0; i < kTypes; ++i) types.push_back("agent.type" + std::to_string(i));
  for (std::uint64_t i = 0; i < kInstances; ++i) {
    discovery::Register one;
    one.instance = "compute-" + std::to_string(i);
    one.type = types[spread(i, kTypes)];
    one.name = "GPT Worker";
    one.endpoint = "tls://10.0.0.7:4433";
    one.version = "1.2.0";
    one.locality = {regions[i % 3], "a", ""};
    one.attributes = {{"model", "h200"}};
    offers.push_back(one);
    plain.renew(one.type, {one.instance, one.locality.region, "a", 0, 1});
  }
  const std::vector<ServiceDiscovery::Command> again(offers.begin(), offers.end());
  const auto fresh = first_registrations(registry, again);
  for (std::uint64_t i = 0; i < kInstances; ++i) {
    const auto load = static_cast<std::uint32_t>(i);
    registry.apply(discovery::UpdateLoad{offers[i].instance, load}, Nanos{0});
  }
  const auto plain_renew = bench::measure([&](std::uint64_t i) {
    const auto& one = offers[spread(i, kInstances)];
    return plain.renew(one.type, {one.instance, one.locality.region, "a", 0, 1});
  });
  const auto register_again = bench::measure(
      [&](std::uint64_t i) { return registry.apply(again[spread(i, kInstances)], Nanos{0}).code; });
  std::vector<ServiceDiscovery::Command> renewals;
  for (const auto& one : offers) renewals.push_back(discovery::Renew{one.instance});
  const auto renew = bench::measure([&](std::uint64_t i) {
    return registry.apply(renewals[spread(i, kInstances)], Nanos{0}).code;
  });
  const DiscoveryPreferences wanted{regions[0], "a", "", "", false};
  const auto resolve = bench::measure([&](std::uint64_t i) {
    return registry.resolve_one(types[spread(i, kTypes)], wanted, Nanos{0})->breakdown.score;
  });
  const auto plain_resolve = bench::measure(
      [&](std::uint64_t i) { return plain.resolve(types[spread(i, kTypes)], regions[0], 0); });
  const auto digest = bench::measure([&](std::uint64_t i) {
    registry.apply(renewals[spread(i, kInstances)], Nanos{0});
    return registry.digest().low;
  });

  bench::print_head();
  bench::print_row("ServiceDiscovery/register", 1'000, fresh, plain_renew);
  bench::print_row("ServiceDiscovery/register again", 1'000, register_again, plain_renew);
  bench::print_row("ServiceDiscovery/renew", 1'000, renew, plain_renew);
  bench::print_row("ServiceDiscovery/resolve_one of 30 in 30000", 2'000, resolve, plain_resolve);
  bench::print_row("ServiceDiscovery/renew and root", 2'000, digest, plain_renew);
  return registry.verify() ? 0 : 1;
}
