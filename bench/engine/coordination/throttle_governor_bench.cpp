// AdaptiveThrottleGovernor: should_allow and record with 64 tenants, beside buckets in doubles by
// name behind a mutex.
#include <algorithm>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/throttle_governor.hpp"

namespace {

using mesh::Nanos;
using namespace mesh::coordination;

// The same answers: how long to wait, what was asked and what became of it; of the samples of an
// interval their number, errors, sum and least.
struct PlainLimiter {
  struct Tenant {
    double tokens = 15;
    std::int64_t last = 0;
    std::uint64_t offered = 0;
  };
  struct Answer {
    bool is_known = false;
    bool allowed = false;
    std::int64_t retry_after = 0;
  };
  Answer should_allow(const std::string& name, std::int64_t now) {
    const std::lock_guard lock(mutex);
    const auto found = tenants.find(name);
    if (found == tenants.end()) return {};
    Tenant& tenant = found->second;
    now = std::max(now, tenant.last);
    ++asked;
    ++tenant.offered;
    const double more = static_cast<double>(now - tenant.last) * 1e-9 * 15;
    tenant.tokens = std::min(15.0, tenant.tokens + more);
    tenant.last = now;
    if (tenant.tokens < 1) {
      ++limited;
      return {true, false, static_cast<std::int64_t>((1 - tenant.tokens) * (1e9 / 15))};
    }
    tenant.tokens -= 1;
    ++allowed;
    return {true, true, 0};
  }
  bool record(const std::string& name, std::int64_t took, bool ok, std::int64_t now) {
    const std::lock_guard lock(mutex);
    if (!tenants.contains(name) || took < 0 || now < 0) return false;
    last = std::max(last, now);
    ++samples;
    errors += ok ? 0U : 1U;
    sum += took;
    least = std::min(least, took);
    return true;
  }
  std::mutex mutex;
  std::unordered_map<std::string, Tenant> tenants;
  std::uint64_t asked = 0;
  std::uint64_t allowed = 0;
  std::uint64_t limited = 0;
  std::uint64_t samples = 0;
  std::uint64_t errors = 0;
  std::int64_t sum = 0;
  std::int64_t least = INT64_MAX;
  std::int64_t last = 0;
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
  const auto tenant = [](std::uint64_t i) { return bench::scattered(i, 64); };
  const auto allow = bench::measure(
      [&](std::uint64_t i) { return governor.should_allow(tenant(i), Nanos{at(i)}); });
  const auto plain_allow =
      bench::measure([&](std::uint64_t i) { return plain.should_allow(names[tenant(i)], at(i)); });
  const Nanos later{std::int64_t{1} << 50};
  const auto record = bench::measure([&](std::uint64_t i) {
    return governor.record({tenant(i), Nanos{1'000'000}, true, Nanos{0}}, later);
  });
  const auto plain_record = bench::measure([&](std::uint64_t i) {
    return plain.record(names[tenant(i)], 1'000'000, true, later.count());
  });

  bench::print_head();
  bench::print_row("AdaptiveThrottleGovernor/should_allow", 25, allow, plain_allow);
  bench::print_row("AdaptiveThrottleGovernor/record", 15, record, plain_record);
  return governor.verify() ? 0 : 1;
}
