// FederationRouter: a request from submit to its answer, and a refused one, beside a map of budgets
// and a priority queue behind a mutex. It has no budget of its own: a network's answer takes
// milliseconds.
#include <map>
#include <mutex>
#include <queue>
#include <string>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/federation_router.hpp"

namespace {

using mesh::Nanos;
using namespace mesh::coordination;

struct PlainRouter {
  struct Budget {
    std::uint64_t used = 0;
    std::uint64_t quota = 1'000'000'000;
  };
  std::uint64_t send(const std::string& name, int priority) {
    const std::lock_guard lock(mutex);
    Budget& budget = budgets[name];
    if (budget.used >= budget.quota) return 0;
    queue.emplace(priority, ++budget.used);
    const std::uint64_t id = queue.top().second;
    queue.pop();
    waiting[id] = name;
    return waiting.erase(id);
  }
  std::mutex mutex;
  std::map<std::string, Budget> budgets;
  std::priority_queue<std::pair<int, std::uint64_t>> queue;
  std::map<std::uint64_t, std::string> waiting;
};

}  // namespace

int main() {
  FederationConfig config;
  config.queue_max = 64;
  FederationRouter router(config);
  router.apply(federation::AddNetwork{"a", 1, 1'000'000, 4'000'000'000, Nanos{1'000'000'000}},
               Nanos{0});
  router.apply(federation::AddNetwork{"b", 1, 1'000'000, 1, Nanos{std::int64_t{1} << 55}},
               Nanos{0});
  router.apply(federation::AssumeFull{}, Nanos{0});
  PlainRouter plain;
  plain.budgets["b"].quota = 0;
  const auto at = [](std::uint64_t i) {
    return Nanos{2'000'000'000 + static_cast<std::int64_t>(i) * 1'000};
  };
  const auto whole = bench::measure([&](std::uint64_t i) {
    router.apply(federation::Submit{0, 0, 2}, at(i));
    Dispatched sent;
    router.dispatch(at(i), std::span(&sent, 1));
    router.apply(federation::Complete{sent.request}, at(i));
    Completion done;
    return router.take_completions(std::span(&done, 1));
  });
  const auto plain_whole = bench::measure([&](std::uint64_t) { return plain.send("a", 2); });
  const auto refused = bench::measure([&](std::uint64_t) {
    return router.apply(federation::Submit{1, 0, 2}, at(9'000'000));
  });
  const auto plain_refused = bench::measure([&](std::uint64_t) { return plain.send("b", 2); });
  bench::print_head();
  bench::print_row("FederationRouter/submit..answer (no budget)", 0, whole, plain_whole);
  bench::print_row("FederationRouter/quota_exhausted (no budget)", 0, refused, plain_refused);
  return router.verify() ? 0 : 1;
}
