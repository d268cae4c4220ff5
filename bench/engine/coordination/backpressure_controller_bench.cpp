// BackpressureController: should_accept while accepting and while throttling, beside limits by name
// behind a mutex with a token bucket in doubles. A thousand of them, each
// call another's.
#include <algorithm>
#include <array>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/backpressure_controller.hpp"

namespace {

using mesh::Nanos;
using namespace mesh::coordination;

// The same answers: two marks and a hard limit, less urgent ones shed by the depth, a unit of the
// bucket for the rest, how long to wait, and what became of all that was offered.
struct PlainLimits {
  struct Limit {
    std::size_t depth = 0;
    bool throttles = false;
    double tokens = 10;
    std::int64_t last = 0;
    std::uint64_t offered = 0;
    std::uint64_t accepted = 0;
    std::uint64_t shed = 0;
    std::uint64_t rate_refused = 0;
    std::uint64_t blocked = 0;
  };
  struct Answer {
    enum class What : std::uint8_t { accepted, invalid, blocked, shed, too_fast };
    What what = What::accepted;
    bool throttles = false;
    std::int64_t retry_after = 0;
  };
  Answer should_accept(const std::string& name, std::uint32_t priority, std::int64_t now) {
    using enum Answer::What;
    const std::lock_guard lock(mutex);
    Limit& limit = limits[name];
    if (priority > 3 || now < 0) return {invalid, limit.throttles, 0};
    now = std::max(now, limit.last);
    ++limit.offered;
    if (limit.throttles && limit.depth >= 200) {
      ++limit.blocked;
      return {blocked, true, 1'000'000};
    }
    if (limit.throttles && priority < 3) {
      const double pressure = (static_cast<double>(limit.depth) - 20) / 180;
      if (pressure > shed_start[priority]) {
        ++limit.shed;
        return {shed, true, 1'000'000};
      }
      const double more = static_cast<double>(now - limit.last) * 1e-9 * 1e4;
      limit.tokens = std::min(10.0, limit.tokens + more);
      limit.last = now;
      if (limit.tokens < 1) {
        ++limit.rate_refused;
        return {too_fast, true, static_cast<std::int64_t>((1 - limit.tokens) * 1e5)};
      }
      limit.tokens -= 1;
    }
    limit.last = now;
    ++limit.accepted;
    return {accepted, limit.throttles, 0};
  }
  std::mutex mutex;
  std::array<double, 4> shed_start{0, 0.25, 0.5, 1};
  std::unordered_map<std::string, Limit> limits;
};

}  // namespace

int main() {
  constexpr std::uint32_t kInboxes = 1'000;
  constexpr std::int64_t kStep = 100'000;
  const auto at = [](std::uint64_t i) { return static_cast<std::int64_t>(i) * kStep; };
  const auto inbox = [](std::uint64_t i) { return bench::scattered(i, kInboxes); };
  BackpressureConfig config;
  config.throttle_rate_per_s = 10'000;
  std::vector<BackpressureController> accepting;
  std::vector<BackpressureController> throttling;
  std::vector<std::string> idle;
  std::vector<std::string> busy;
  PlainLimits plain;
  for (std::uint32_t i = 0; i < kInboxes; ++i) {
    accepting.emplace_back(config);
    throttling.emplace_back(config);
    throttling.back().apply(pressure::Observe{100, 0}, Nanos{0});
    idle.push_back("idle-" + std::to_string(i));
    busy.push_back("busy-" + std::to_string(i));
    plain.limits[idle.back()];
    plain.limits[busy.back()].depth = 100;
    plain.limits[busy.back()].throttles = true;
  }

  const auto accept = bench::measure(
      [&](std::uint64_t i) { return accepting[inbox(i)].should_accept(2, Nanos{at(i)}); });
  const auto plain_accept = bench::measure(
      [&](std::uint64_t i) { return plain.should_accept(idle[inbox(i)], 2, at(i)); });
  const auto ration = bench::measure(
      [&](std::uint64_t i) { return throttling[inbox(i)].should_accept(2, Nanos{at(i)}); });
  const auto plain_ration = bench::measure(
      [&](std::uint64_t i) { return plain.should_accept(busy[inbox(i)], 2, at(i)); });

  bench::print_head();
  bench::print_row("BackpressureController/accepting", 4, accept, plain_accept);
  bench::print_row("BackpressureController/throttling", 25, ration, plain_ration);
  const auto sound = [](const BackpressureController& limit) { return limit.verify().has_value(); };
  return std::ranges::all_of(accepting, sound) && std::ranges::all_of(throttling, sound) ? 0 : 1;
}
