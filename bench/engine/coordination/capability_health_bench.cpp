// CapabilityHealthMonitor: probes of 1,000 providers, beside a map of sums and a ring that is
// sorted for its median, behind a mutex.
#include <algorithm>
#include <array>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/capability_health.hpp"

namespace {

using mesh::Nanos;
using namespace mesh::coordination;
constexpr std::uint32_t kAgents = 1'000;

struct PlainMonitor {
  struct Provider {
    std::array<double, 32> ring{};
    std::size_t count = 0;
    double good = 0;
    double all = 0;
  };
  double probe(const std::string& name, double latency, bool ok) {
    const std::lock_guard lock(mutex);
    Provider& provider = providers[name];
    provider.ring[provider.count++ % 32] = latency;
    provider.all += 1;
    provider.good += ok ? 1 : 0;
    auto sorted = provider.ring;
    const std::size_t n = std::min<std::size_t>(provider.count, 32);
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(n / 2),
                     sorted.begin() + static_cast<std::ptrdiff_t>(n));
    const double half = sorted[n / 2] / 240;
    return 0.5 * provider.good / provider.all + 0.3 / (1 + half * half) + 0.2;
  }
  std::mutex mutex;
  std::unordered_map<std::string, Provider> providers;
};

}  // namespace

int main() {
  CapabilityHealthConfig config;
  config.rows_max = kAgents;
  CapabilityHealthMonitor monitor(config);
  monitor.apply(health::AddCapability{"summarize"}, Nanos{0});
  PlainMonitor plain;
  std::vector<std::string> names;
  for (std::uint32_t i = 0; i < kAgents; ++i) names.push_back("agent-" + std::to_string(i));
  const auto agent = [](std::uint64_t i) { return static_cast<std::uint32_t>(i % kAgents); };
  const auto latency = [](std::uint64_t i) {
    return Nanos{100'000'000 + static_cast<std::int64_t>(i * 7'919 % 50'000'000)};
  };
  const auto probe = bench::measure([&](std::uint64_t i) {
    const Nanos now{static_cast<std::int64_t>(i) * 5'000'000};
    return monitor.probe({ProbeType::performance, 0, agent(i), true, latency(i), Nanos{0}, 0}, now)
        .score;
  });
  const auto plain_probe = bench::measure([&](std::uint64_t i) {
    return plain.probe(names[agent(i)], static_cast<double>(latency(i).count()) / 1e6, true);
  });
  bench::print_head();
  bench::print_row("CapabilityHealthMonitor/record_probe", 60, probe, plain_probe);
  return monitor.verify() ? 0 : 1;
}
