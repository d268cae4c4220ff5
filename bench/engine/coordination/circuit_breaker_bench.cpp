// CircuitBreaker: allow and record while closed, beside a breaker by name behind a mutex that keeps
// its failures in a deque, as it is usually written.
#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/circuit_breaker.hpp"

namespace {

using mesh::Nanos;
using namespace mesh::coordination;

struct PlainBreakers {
  struct Breaker {
    std::string state = "closed";
    std::deque<std::pair<std::int64_t, bool>> calls;
    std::int64_t open_until = 0;
  };
  bool allow(const std::string& name, std::int64_t now) {
    const std::lock_guard lock(mutex);
    Breaker& breaker = breakers[name];
    return breaker.state == "closed" || now >= breaker.open_until;
  }
  bool record(const std::string& name, bool ok, std::int64_t now) {
    const std::lock_guard lock(mutex);
    Breaker& breaker = breakers[name];
    breaker.calls.emplace_back(now, ok);
    while (breaker.calls.front().first <= now - 10'000'000'000) breaker.calls.pop_front();
    if (!ok) ++failures;
    if (failures >= 1'000'000) breaker.state = "open";
    return breaker.state == "closed";
  }
  std::mutex mutex;
  std::map<std::string, Breaker> breakers;
  std::uint64_t failures = 0;
};

}  // namespace

int main() {
  CircuitBreaker breaker(CircuitBreakerConfig::preset("external-api").value());
  PlainBreakers plain;
  for (int i = 0; i < 1'000; ++i) plain.breakers["agent-" + std::to_string(i)];
  const std::string name = "agent-500";
  constexpr std::int64_t kStep = 100'000;
  const auto at = [](std::uint64_t i) { return static_cast<std::int64_t>(i) * kStep; };

  const auto allow = bench::measure([&](std::uint64_t i) { return breaker.allow(Nanos{at(i)}); });
  const auto plain_allow =
      bench::measure([&](std::uint64_t i) { return plain.allow(name, at(i)); });
  CircuitBreaker recorded(CircuitBreakerConfig::preset("external-api").value());
  const auto record = bench::measure([&](std::uint64_t i) {
    return recorded.record({{0, 0}, CallOutcome::ok, Nanos{5}, Nanos{0}}, Nanos{at(i)});
  });
  const auto plain_record =
      bench::measure([&](std::uint64_t i) { return plain.record(name, true, at(i)); });
  const BreakerView view = breaker.view();
  const auto viewed = bench::measure([&](std::uint64_t) {
    asm volatile("" : : "r"(&view) : "memory");
    return view.is_passable();
  });

  bench::print_head();
  bench::print_row("CircuitBreaker/allow/closed", 3, allow, plain_allow);
  bench::print_row("CircuitBreaker/record/ok", 12, record, plain_record);
  bench::print_row("CircuitBreaker/view", 3, viewed, plain_allow);
  return breaker.verify() && recorded.verify() ? 0 : 1;
}
