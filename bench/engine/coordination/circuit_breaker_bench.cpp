// CircuitBreaker: allow and record while closed, beside a breaker by name behind a mutex that keeps
// its calls in a deque, as it is usually written. A thousand of them, each call another's.
#include <algorithm>
#include <deque>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/circuit_breaker.hpp"

namespace {

using mesh::Nanos;
using namespace mesh::coordination;

// The same answers: a permit, or for how long not; two probes once it has been open long enough;
// an outcome of another epoch says nothing; calls counted by how they ended.
struct PlainBreakers {
  enum class State : std::uint8_t { closed, open, half_open };
  struct Breaker {
    State state = State::closed;
    std::uint32_t epoch = 0;
    std::uint32_t probes = 0;
    std::uint64_t failures = 0;  // in the window
    std::deque<std::pair<std::int64_t, bool>> calls;
    std::int64_t open_until = 0;
    std::int64_t last = 0;
    std::uint64_t allowed = 0;
    std::uint64_t rejected = 0;
    std::uint64_t successes = 0;
    std::uint64_t failed = 0;
  };
  struct Answer {
    bool allowed = false;
    bool is_probe = false;
    std::uint32_t epoch = 0;
    std::int64_t retry_after = 0;
  };
  Answer allow(const std::string& name, std::int64_t now) {
    const std::lock_guard lock(mutex);
    Breaker& breaker = breakers[name];
    breaker.last = std::max(breaker.last, now);
    if (breaker.state == State::open && breaker.last >= breaker.open_until) {
      breaker.state = State::half_open;
      ++breaker.epoch;
      breaker.probes = 0;
    }
    const bool is_probe = breaker.state == State::half_open;
    if (breaker.state == State::open || (is_probe && breaker.probes == 2)) {
      ++breaker.rejected;
      return {false, false, breaker.epoch, breaker.open_until - breaker.last};
    }
    breaker.probes += is_probe ? 1U : 0U;
    ++breaker.allowed;
    return {true, is_probe, breaker.epoch, 0};
  }
  bool record(const std::string& name, std::uint32_t epoch, bool ok, std::int64_t now) {
    const std::lock_guard lock(mutex);
    Breaker& breaker = breakers[name];
    breaker.last = std::max(breaker.last, now);
    if (epoch != breaker.epoch) return false;
    ++(ok ? breaker.successes : breaker.failed);
    breaker.failures += ok ? 0U : 1U;
    breaker.calls.emplace_back(breaker.last, ok);
    while (breaker.calls.front().first <= breaker.last - 10'000'000'000) {
      breaker.failures -= breaker.calls.front().second ? 0U : 1U;
      breaker.calls.pop_front();
    }
    const bool trips = breaker.calls.size() >= 20 && 2 * breaker.failures >= breaker.calls.size();
    if (trips) {
      breaker.state = State::open;
      ++breaker.epoch;
      breaker.open_until = breaker.last + 30'000'000'000;
    }
    return true;
  }
  std::mutex mutex;
  std::unordered_map<std::string, Breaker> breakers;
};

}  // namespace

int main() {
  constexpr std::uint32_t kAgents = 1'000;
  const CircuitBreakerConfig config = CircuitBreakerConfig::preset("external-api").value();
  std::vector<CircuitBreaker> allowing;
  std::vector<CircuitBreaker> recording;
  std::vector<BreakerView> views;
  std::vector<std::string> names;
  PlainBreakers plain;
  for (std::uint32_t i = 0; i < kAgents; ++i) {
    allowing.emplace_back(config);
    recording.emplace_back(config);
    views.push_back(allowing.back().view());
    names.push_back("agent-" + std::to_string(i));
    plain.breakers[names.back()];
  }
  constexpr std::int64_t kStep = 100'000;
  const auto at = [](std::uint64_t i) { return static_cast<std::int64_t>(i) * kStep; };
  const auto agent = [](std::uint64_t i) { return bench::scattered(i, kAgents); };

  const auto allow =
      bench::measure([&](std::uint64_t i) { return allowing[agent(i)].allow(Nanos{at(i)}); });
  const auto plain_allow =
      bench::measure([&](std::uint64_t i) { return plain.allow(names[agent(i)], at(i)); });
  const auto record = bench::measure([&](std::uint64_t i) {
    return recording[agent(i)].record({{0, 0}, CallOutcome::ok, Nanos{5}, Nanos{0}}, Nanos{at(i)});
  });
  const auto plain_record = bench::measure(
      [&](std::uint64_t i) { return plain.record(names[agent(i)], 0, true, at(i)); });
  const auto viewed =
      bench::measure([&](std::uint64_t i) { return views[agent(i)].is_passable(); });

  bench::print_head();
  bench::print_row("CircuitBreaker/allow/closed", 3, allow, plain_allow);
  bench::print_row("CircuitBreaker/record/ok", 12, record, plain_record);
  bench::print_row("CircuitBreaker/view", 3, viewed, plain_allow);
  const auto sound = [](const CircuitBreaker& breaker) { return breaker.verify().has_value(); };
  return std::ranges::all_of(allowing, sound) && std::ranges::all_of(recording, sound) ? 0 : 1;
}
