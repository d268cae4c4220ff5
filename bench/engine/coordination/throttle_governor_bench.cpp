// AdaptiveThrottleGovernor: should_allow and record with 64 tenants, beside buckets in doubles by
// name behind a mutex.
#include <algorithm>
#include <map>
#include <mutex>
#include <string>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/throttle_governor.hpp"

namespace {

using mesh::Nanos;
using namespace mesh::coordination;

struct PlainLimiter {
  struct Tenant {
    double tokens = 15;
    std::int64_t last = 0;
    double latency_sum = 0;
    std::uint64_t samples = 0;
  };
  bool should_allow(const std::string& name, std::int64_t now) {
    const std::lock_guard lock(mutex);
    Tenant& tenant = tenants[name];
    const double more = static_cast<double>(now - tenant.last) * 1e-9 * 15;
    tenant.tokens = std::min(15.0, tenant.tokens + more);
    tenant.last = now;
    if (tenant.tokens < 1) return false;
    tenant.tokens -= 1;
    return true;
  }
  double record(const std::string& name, double latency) {
    const std::lock_guard lock(mutex);
    Tenant& tenant = tenants[name];
    tenant.latency_sum += latency;
    ++tenant.samples;
    return tenant.latency_sum;
  }
  std::mutex mutex;
  std::map<std::string, Tenant> tenants;
};

}  // namespace

int main() {
  constexpr std::int64_t kStep = 100'000;
  const auto at = [](std::uint64_t i) { return static_cast<std::int64_t>(i) * kStep; };
  AdaptiveThrottleGovernor governor(ThrottleConfig::preset("api-gateway").value());
  PlainLimiter plain;
  std::vector<std::string> names;
  for (int i = 0; i < 64; ++i) {
    names.push_back("tenant-" + std::to_string(i));
    governor.apply(throttle::SetTenant{names.back(), 1, 1, 1e6}, Nanos{0});
    plain.tenants[names.back()];
  }
  const auto tenant = [](std::uint64_t i) { return static_cast<std::uint32_t>(i % 64); };
  const auto allow = bench::measure(
      [&](std::uint64_t i) { return governor.should_allow(tenant(i), Nanos{at(i)}); });
  const auto plain_allow =
      bench::measure([&](std::uint64_t i) { return plain.should_allow(names[tenant(i)], at(i)); });
  const Nanos later{std::int64_t{1} << 50};
  const auto record = bench::measure([&](std::uint64_t i) {
    return governor.record({tenant(i), Nanos{1'000'000}, true, Nanos{0}}, later);
  });
  const auto plain_record =
      bench::measure([&](std::uint64_t i) { return plain.record(names[tenant(i)], 0.001); });

  bench::print_head();
  bench::print_row("AdaptiveThrottleGovernor/should_allow", 25, allow, plain_allow);
  bench::print_row("AdaptiveThrottleGovernor/record", 15, record, plain_record);
  return governor.verify() ? 0 : 1;
}
