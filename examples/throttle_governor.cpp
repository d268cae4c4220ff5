// A server of 100 requests a second, unknown to the caller, that drops to 50 half way: the governor
// finds both rates from the latencies alone.
#include "engine/coordination/throttle_governor.hpp"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "engine/coordination/blocks/rng.hpp"

int main() {
  using namespace mesh;
  using namespace mesh::coordination;
  AdaptiveThrottleGovernor governor(ThrottleConfig::preset("agent-to-agent").value());
  const auto agent = governor.apply(throttle::SetTenant{"agent-A", 1, 0, 1e6}, Nanos{0}).tenant;
  struct Answer {
    std::int64_t at_ns;
    std::int64_t took_ns;
  };
  std::vector<Answer> waiting;
  Rng rng(7);
  double free_s = 0;
  double rates[2] = {0, 0};
  ThrottleActions actions;
  for (std::int64_t ms = 0; ms < 200'000; ++ms) {
    const Nanos now{ms * kNsPerMs};
    const double capacity = ms < 100'000 ? 100 : 50;
    if (governor.should_allow(agent, now).refusal == Refusal::none) {
      const double now_s = static_cast<double>(ms) * 1e-3;
      free_s = std::max(free_s, now_s) + 1 / capacity;
      const double took = free_s - now_s + 0.1 * (0.9 + 0.2 * rng.u01());
      const auto took_ns = static_cast<std::int64_t>(took * 1e9);
      waiting.push_back({now.count() + took_ns, took_ns});
    }
    std::erase_if(waiting, [&](const Answer& answer) {
      if (answer.at_ns > now.count()) return false;
      governor.record({agent, Nanos{answer.took_ns}, true, Nanos{0}}, now);
      return true;
    });
    governor.tick(now, actions);
    const bool settled = ms % 100'000 >= 60'000;
    if (settled) rates[ms / 100'000] += governor.view().rate / 40'000;
  }
  std::printf("server 100/s: %.0f/s; server 50/s: %.0f/s\n", rates[0], rates[1]);
  const bool found = rates[0] > 60 && rates[0] < 105 && rates[1] > 30 && rates[1] < 53;
  std::printf("%s\n", found ? "found both rates" : "unexpected");
  return found && governor.verify() ? 0 : 1;
}
