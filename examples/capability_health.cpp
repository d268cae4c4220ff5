// Three providers; one gets slower and slower until its probes time out: when that is predicted,
// when it fails, and when its share of the work is gone.
#include "engine/coordination/capability_health.hpp"

#include <cstdio>

#include "engine/coordination/blocks/rng.hpp"

int main() {
  using namespace mesh;
  using namespace mesh::coordination;
  CapabilityHealthMonitor monitor(CapabilityHealthConfig::preset("real-time-api").value());
  const auto summarize = monitor.apply(health::AddCapability{"summarize"}, Nanos{0}).capability;
  Rng world(1);
  HealthActions actions;
  int predicted_at = -1;
  int failed_at = -1;
  int moved_at = -1;
  for (int second = 0; second < 300 && moved_at < 0; ++second) {
    const Nanos now{second * kNsPerSecond};
    for (std::uint32_t agent = 0; agent < 3; ++agent) {
      const double ramp = agent == 0 && second > 60 ? 2.0 * (second - 60) : 0;
      const double ms = (50 + ramp) * (0.9 + 0.2 * world.u01());
      const Nanos took{static_cast<std::int64_t>(ms * 1e6)};
      monitor.probe({ProbeType::performance, summarize, agent, ms < 300, took, Nanos{0}, 0}, now);
    }
    monitor.tick(now, actions);
    for (std::size_t i = 0; i < actions.count; ++i) {
      std::printf("%3d s: agent %u: %s\n", second, actions.actions[i].agent,
                  to_string(actions.actions[i].action).data());
    }
    const auto view = monitor.view(summarize, 0);
    if (predicted_at < 0 && monitor.prediction(summarize, 0).probability > 0.2) {
      predicted_at = second;
    }
    if (failed_at < 0 && view.status == HealthStatus::failed) failed_at = second;
    if (failed_at >= 0 && view.share == 0) moved_at = second;
  }
  std::printf("predicted at %d s, failed at %d s, off it at %d s\n", predicted_at, failed_at,
              moved_at);
  const bool right = predicted_at > 60 && predicted_at < failed_at && moved_at >= failed_at &&
                     moved_at <= failed_at + 2 && monitor.best_provider(summarize).agent != 0;
  std::printf("%s\n", right ? "predicted, failed, moved off" : "unexpected");
  return right && monitor.verify() ? 0 : 1;
}
