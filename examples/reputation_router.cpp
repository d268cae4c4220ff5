// Three agents of unequal quality, one of which recovers half way: where the work goes.
#include "engine/coordination/reputation_router.hpp"

#include <array>
#include <cstdio>

int main() {
  using namespace mesh;
  using namespace mesh::coordination;
  ReputationWeightedRouter router(ReputationConfig::preset("default").value(), 42);
  std::uint32_t summarize = 0;
  for (std::uint32_t agent = 0; agent < 3; ++agent) {
    router.apply(reputation::Join{agent}, Nanos{0});
    summarize = router.apply(reputation::Offer{agent, "summarize"}, Nanos{0}).capability;
  }
  Rng world(7);
  std::array<std::array<int, 3>, 2> routed{};
  for (int i = 0; i < 60'000; ++i) {
    const Nanos now{(60'000 + std::int64_t{i} * 100) * kNsPerMs};  // ten a second
    const bool second_half = i >= 30'000;
    const std::array<double, 3> chance{0.98, 0.9, second_half ? 0.98 : 0.2};
    std::uint32_t agent = 0;
    if (router.route(summarize, now, agent) != Errc::ok) return 1;
    if (i % 30'000 >= 15'000) ++routed[second_half ? 1 : 0][agent];
    if (world.u01() < chance[agent]) {
      router.record({agent, Nanos{150 * kNsPerMs}, summarize}, now);
    } else {
      router.apply(reputation::RecordFailure{agent, FailureKind::error, summarize}, now);
    }
  }
  for (const auto& half : routed) {
    std::printf("agent 0: %5d  agent 1: %5d  agent 2: %5d\n", half[0], half[1], half[2]);
  }
  const bool shunned = routed[0][2] > 100 && routed[0][2] < 1'500;
  const bool forgiven = routed[1][2] > 3'000;
  std::printf("%s\n", shunned && forgiven ? "shunned, then forgiven" : "unexpected");
  return shunned && forgiven && router.verify() ? 0 : 1;
}
