// ResourcePoolManager: allocate and release before the journal, and a hand-out to one who waits,
// beside a map of counts behind a mutex (no lease, fence, queue or share).
#include <array>
#include <map>
#include <mutex>
#include <string>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/resource_pool.hpp"

namespace {

using namespace mesh;
using namespace mesh::coordination;

struct PlainPool {
  std::uint64_t allocate(const std::string& name, std::uint64_t quantity) {
    const std::lock_guard guard(mutex);
    std::uint64_t& left = free[name];
    if (left < quantity) return 0;
    left -= quantity;
    held[++last] = {name, quantity};
    return last;
  }
  bool release(std::uint64_t id) {
    const std::lock_guard guard(mutex);
    const auto at = held.find(id);
    if (at == held.end()) return false;
    free[at->second.first] += at->second.second;
    held.erase(at);
    return true;
  }
  std::mutex mutex;
  std::map<std::string, std::uint64_t> free;
  std::map<std::uint64_t, std::pair<std::string, std::uint64_t>> held;
  std::uint64_t last = 0;
};

constexpr std::uint32_t kStanding = 1'000;  // reservations that others hold meanwhile

pool::Allocate units(std::uint32_t agent, std::uint64_t quantity) {
  pool::Allocate order;
  order.agent = agent;
  order.quantity = quantity;
  order.lease = Nanos{600 * kNsPerSecond};
  return order;
}

}  // namespace

int main() {
  bench::print_head();
  ResourcePoolManager pools(ResourcePoolConfig::preset("default").value());
  PlainPool plain;
  pools.apply(compute_pool("gpu-cluster", 10'000), Nanos{0});
  plain.free["gpu-cluster"] = 10'000;
  for (std::uint32_t i = 0; i < kStanding; ++i) {
    pools.apply(units(i, 2), Nanos{0});
    plain.allocate("gpu-cluster", 2);
  }
  const auto wanted = units(1'001, 2);
  const auto ours = bench::measure([&](std::uint64_t i) {
    const Nanos now{static_cast<std::int64_t>(i)};
    const auto reply = pools.apply(wanted, now);
    if (reply.granted != 2) std::abort();  // a refusal would be timed as work
    return pools.apply(pool::Release{reply.reservation, 0}, now).code;
  });
  const auto theirs = bench::measure(
      [&](std::uint64_t) { return plain.release(plain.allocate("gpu-cluster", 2)); });
  bench::print_row("ResourcePool/allocate+release", 60, ours, theirs);

  ResourcePoolManager full(ResourcePoolConfig::preset("default").value());
  auto order = compute_pool("gpu", 2);
  order.rules.agent_max_ppm = 1'000'000;
  full.apply(order, Nanos{0});
  std::array<pool::Allocate, 2> turns{units(1, 2), units(2, 2)};
  for (auto& turn : turns) turn.wait = Nanos{600 * kNsPerSecond};
  std::uint64_t held = full.apply(turns[0], Nanos{0}).reservation;
  full.apply(turns[1], Nanos{0});
  const auto handed = bench::measure([&](std::uint64_t i) {
    const Nanos now{static_cast<std::int64_t>(i)};
    const auto reply = full.apply(pool::Release{held, 0}, now);
    if (reply.news.size() != 1) std::abort();
    held = reply.news[0].reservation;
    return full.apply(turns[i % 2], now).ticket;
  });
  bench::print_row("ResourcePool/hand out, then wait again", 500, handed, theirs);
  return 0;
}
