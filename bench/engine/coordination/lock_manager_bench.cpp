// LockManager: acquire and release before the journal, of a name, of one three levels deep, and a
// hand-over to one who waits, beside a map of owners behind a mutex (no mode, lease, token or
// queue).
#include <map>
#include <mutex>
#include <string>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/lock_manager.hpp"

namespace {

using namespace mesh;
using namespace mesh::coordination;

struct PlainLocks {
  bool acquire(const std::string& name, std::uint32_t agent) {
    const std::lock_guard guard(mutex);
    return owners.try_emplace(name, agent).second;
  }
  bool release(const std::string& name, std::uint32_t agent) {
    const std::lock_guard guard(mutex);
    const auto at = owners.find(name);
    if (at == owners.end() || at->second != agent) return false;
    owners.erase(at);
    return true;
  }
  std::mutex mutex;
  std::map<std::string, std::uint32_t> owners;
};

constexpr std::uint32_t kStanding = 1'000;  // locks that others hold meanwhile

lock::Acquire want(std::uint32_t agent, std::string name) {
  lock::Acquire wanted;
  wanted.agent = agent;
  wanted.resource = std::move(name);
  return wanted;
}

struct Pair {
  LockManager locks;
  PlainLocks plain;
};

void stand(Pair& pair) {
  for (std::uint32_t i = 0; i < kStanding; ++i) {
    const std::string name = "held-" + std::to_string(i);
    pair.locks.apply(want(i % 1'000, name), Nanos{0});
    pair.plain.acquire(name, i);
  }
}

void bench_name(const char* what, double budget, const std::string& name) {
  auto config = LockManagerConfig::preset("fast-locks").value();
  config.lease_ns = Nanos{600 * kNsPerSecond};
  Pair pair{LockManager(config), {}};
  stand(pair);
  const auto wanted = want(1'001, name);
  const auto ours = bench::measure([&](std::uint64_t i) {
    const Nanos now{static_cast<std::int64_t>(i)};
    const auto held = pair.locks.apply(wanted, now);
    if (held.grant == 0) std::abort();  // a refusal would be timed as work
    return pair.locks.apply(lock::Release{held.grant, 0}, now).code;
  });
  const auto plain = bench::measure([&](std::uint64_t) {
    pair.plain.acquire(name, 1'001);
    return pair.plain.release(name, 1'001);
  });
  bench::print_row(what, budget, ours, plain);
}

// Two take turns: each release hands over to the other, who asks again.
void bench_hand_over() {
  auto config = LockManagerConfig::preset("fast-locks").value();
  config.lease_ns = Nanos{600 * kNsPerSecond};
  Pair pair{LockManager(config), {}};
  stand(pair);
  std::array<lock::Acquire, 2> wanted{want(1'001, "hot"), want(1'002, "hot")};
  std::uint64_t grant = pair.locks.apply(wanted[0], Nanos{0}).grant;
  pair.locks.apply(wanted[1], Nanos{0});
  const auto ours = bench::measure([&](std::uint64_t i) {
    const Nanos now{static_cast<std::int64_t>(i)};
    const auto reply = pair.locks.apply(lock::Release{grant, 0}, now);
    if (reply.news.size() != 1) std::abort();
    grant = reply.news[0].grant;
    return pair.locks.apply(wanted[i % 2], now).ticket;
  });
  const auto plain = bench::measure([&](std::uint64_t) {
    pair.plain.acquire("hot", 1);
    return pair.plain.release("hot", 1);
  });
  bench::print_row("LockManager/hand_over, then wait again", 500, ours, plain);
}

// The search for deadlocks where there is none, so that it looks at all: 70 readers of one name and
// 70 writers that wait for them, 7,315 edges.
void bench_detect() {
  auto config = LockManagerConfig::preset("high-contention").value();
  config.lease_ns = Nanos{600 * kNsPerSecond};
  config.detection_depth = 10'000;
  LockManager locks(config);
  for (std::uint32_t i = 0; i < 140; ++i) {
    auto wanted = want(i, "hot");
    wanted.mode = i < 70 ? LockMode::s : LockMode::x;
    wanted.timeout = Nanos{600 * kNsPerSecond};
    locks.apply(wanted, Nanos{0});
  }
  const auto ours = bench::measure([&](std::uint64_t i) {
    const auto reply = locks.apply(lock::Detect{}, Nanos{static_cast<std::int64_t>(i)});
    if (!reply.cycle.empty()) std::abort();
    return reply.code;
  });
  bench::print_row("LockManager/deadlock search, 7,315 edges", 5'000'000, ours, ours);
}

}  // namespace

int main() {
  bench::print_head();
  bench_name("LockManager/acquire+release", 50, "shared-db");
  bench_name("LockManager/acquire+release, 3 levels", 150, "db/table/row");
  bench_hand_over();
  bench_detect();
  return 0;
}
