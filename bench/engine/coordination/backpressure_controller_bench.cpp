// BackpressureController: should_accept while accepting and while throttling, beside limits by name
// behind a mutex with a token bucket in doubles.
#include <algorithm>
#include <map>
#include <mutex>
#include <string>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/backpressure_controller.hpp"

namespace {

using mesh::Nanos;
using namespace mesh::coordination;

struct PlainLimits {
  struct Limit {
    std::size_t depth = 0;
    double tokens = 10;
    std::int64_t last = 0;
  };
  bool should_accept(const std::string& name, std::int64_t now) {
    const std::lock_guard lock(mutex);
    Limit& limit = limits[name];
    if (limit.depth < 100) return true;
    limit.tokens =
        std::min(10.0, limit.tokens + static_cast<double>(now - limit.last) * 1e-9 * 1e4);
    limit.last = now;
    if (limit.tokens < 1) return false;
    limit.tokens -= 1;
    return true;
  }
  std::mutex mutex;
  std::map<std::string, Limit> limits;
};

}  // namespace

int main() {
  constexpr std::int64_t kStep = 100'000;
  const auto at = [](std::uint64_t i) { return static_cast<std::int64_t>(i) * kStep; };
  BackpressureConfig config;
  config.throttle_rate_per_s = 10'000;
  BackpressureController accepting(config);
  BackpressureController throttling(config);
  throttling.apply(pressure::Observe{100, 0}, Nanos{0});
  PlainLimits plain;
  for (int i = 0; i < 1'000; ++i) plain.limits["inbox-" + std::to_string(i)];
  const std::string idle = "inbox-500";
  const std::string busy = "inbox-700";
  plain.limits[busy].depth = 100;

  const auto accept =
      bench::measure([&](std::uint64_t i) { return accepting.should_accept(2, Nanos{at(i)}); });
  const auto plain_accept =
      bench::measure([&](std::uint64_t i) { return plain.should_accept(idle, at(i)); });
  const auto ration =
      bench::measure([&](std::uint64_t i) { return throttling.should_accept(2, Nanos{at(i)}); });
  const auto plain_ration =
      bench::measure([&](std::uint64_t i) { return plain.should_accept(busy, at(i)); });

  bench::print_head();
  bench::print_row("BackpressureController/accepting", 4, accept, plain_accept);
  bench::print_row("BackpressureController/throttling", 25, ration, plain_ration);
  return accepting.verify() && throttling.verify() ? 0 : 1;
}
