// Thirty agents, one of which is to crash for ten seconds: does the mesh still answer? First with
// callers that try again, then with callers that do not.
#include "engine/coordination/chaos_harness.hpp"

#include <cstdio>
#include <set>

namespace {

using namespace mesh;
using namespace mesh::coordination;

// A mesh as small as can be: request i goes to agent i % 30, or, tried again, to the next one.
struct Mesh {
  bool tries_again = true;
  std::set<std::uint32_t> crashed;
  [[nodiscard]] bool answers(std::uint32_t request) const {
    return !crashed.contains(request % 30) ||
           (tries_again && !crashed.contains((request + 1) % 30));
  }
};

ChaosReport crash_one(Mesh mesh) {
  ChaosHarness harness(ChaosConfig::preset("simulation").value());
  harness.apply(chaos::AddMetric{"success_rate"}, Nanos{0});
  for (std::uint32_t agent = 0; agent < 30; ++agent) {
    harness.apply(chaos::SetAgent{agent, 0, 0, ChaosRole::member, 0}, Nanos{0});
  }
  chaos::Create plan;
  plan.name = "agent-crash-resilience";
  plan.hypothesis.assertions = {{"success_rate", AssertionOp::gte, 0.99, 0, Aggregation::avg}};
  plan.faults.resize(1);  // one agent, drawn
  plan.faults[0].duration = Nanos{10 * kNsPerSecond};
  plan.seed = 7;
  const std::uint32_t experiment = harness.apply(plan, Nanos{0}).id;
  harness.apply(chaos::Start{experiment}, Nanos{0});
  ChaosActions actions;
  for (Nanos now{0}; !is_over(harness.state(experiment)); now += Nanos{kNsPerSecond}) {
    double answered = 0;
    for (std::uint32_t request = 0; request < 30; ++request) {
      answered += mesh.answers(request) ? 1 : 0;
    }
    harness.apply(chaos::Sample{0, answered / 30}, now);
    harness.tick(now, actions);
    for (const ChaosOrder& order : actions.orders) {
      for (const std::uint32_t agent : actions.targets_of(order)) {
        if (order.is_undo) {
          mesh.crashed.erase(agent);
        } else {
          mesh.crashed.insert(agent);
        }
      }
      if (!order.is_undo) {
        harness.apply(chaos::Confirm{order.injection, Errc::ok}, now);
        continue;
      }
      harness.apply(chaos::Undone{order.injection}, now);
      for (const std::uint32_t agent : actions.targets_of(order)) {
        harness.apply(chaos::Recovered{agent}, now);
      }
    }
  }
  return harness.report(experiment);
}

}  // namespace

int main() {
  const ChaosReport with = crash_one({true, {}});
  const ChaosReport without = crash_one({false, {}});
  const bool was_seen = !without.issues.empty();
  std::printf("tried again: %s; not: %s, %s, availability down by %.3f\n",
              with.hypothesis_held ? "held" : "not held",
              without.hypothesis_held ? "held" : "not held",
              was_seen ? to_string(without.issues[0].category).data() : "no issue",
              without.impact.availability_drop);
  return with.hypothesis_held && !without.hypothesis_held ? 0 : 1;
}
