// ResourceContentionArbiter: a request that is met at once with its release, and a round of
// sixteen, beside a map of counts behind a mutex (first come, first served).
#include <map>
#include <mutex>
#include <string>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/contention_arbiter.hpp"

namespace {

using namespace mesh;
using namespace mesh::coordination;

struct PlainArbiter {
  bool take(const std::string& name, std::uint64_t quantity) {
    const std::lock_guard guard(mutex);
    std::uint64_t& left = free[name];
    if (left < quantity) return false;
    left -= quantity;
    return true;
  }
  bool give(const std::string& name, std::uint64_t quantity) {
    const std::lock_guard guard(mutex);
    free[name] += quantity;
    return true;
  }
  std::mutex mutex;
  std::map<std::string, std::uint64_t> free;
};

contention::Request ask(std::uint32_t agent, std::uint64_t quantity) {
  contention::Request one;
  one.agent = agent;
  one.quantity = quantity;
  one.utility_per_unit = 1'000'000;
  one.flexibility_ppm = 1'000'000;
  return one;
}

}  // namespace

int main() {
  bench::print_head();
  auto config = ContentionConfig::preset("fair-share").value();
  config.allocations_max = 256;
  config.demands_max = 64;
  ResourceContentionArbiter arbiter(config);
  PlainArbiter plain;
  arbiter.apply(contention::RegisterResource{"gpu", 64, false, false, ""}, Nanos{0});
  plain.free["gpu"] = 64;
  const auto wanted = ask(1, 4);
  const auto ours = bench::measure([&](std::uint64_t i) {
    const Nanos now{static_cast<std::int64_t>(i)};
    const auto reply = arbiter.apply(wanted, now);
    if (reply.granted != 4) std::abort();  // a refusal would be timed as work
    return arbiter.apply(contention::Release{reply.allocation, 0}, now).code;
  });
  const auto theirs =
      bench::measure([&](std::uint64_t) { return plain.take("gpu", 4) && plain.give("gpu", 4); });
  bench::print_row("ContentionArbiter/request+release", 150, ours, theirs);

  const auto held = arbiter.apply(ask(99, 64), Nanos{1'000'000'000});
  std::uint64_t all = held.allocation;
  ContentionActions actions;
  const auto round = bench::measure([&](std::uint64_t i) {
    const Nanos now{1'000'000'000 + static_cast<std::int64_t>(i) * 200 * kNsPerMs};
    for (std::uint32_t agent = 0; agent < 16; ++agent) arbiter.apply(ask(agent, 8), now);
    arbiter.apply(contention::Release{all, 0}, now);
    arbiter.tick(now + Nanos{60 * kNsPerMs}, actions);
    if (actions.news.size() != 16) std::abort();
    for (const auto& news : actions.news) {
      arbiter.apply(contention::Release{news.allocation, 0}, now + Nanos{61 * kNsPerMs});
    }
    all = arbiter.apply(ask(99, 64), now + Nanos{62 * kNsPerMs}).allocation;
    return all;
  });
  bench::print_row("ContentionArbiter/round of 16 over 64 units", 50'000, round, theirs);
  return 0;
}
