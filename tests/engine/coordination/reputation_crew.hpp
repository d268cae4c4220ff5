// Words for tests of the router: a crew of agents, a route, an answer.
#pragma once

#include <cstdint>
#include <string_view>

#include <gtest/gtest.h>

#include "engine/coordination/reputation_router.hpp"

namespace mesh::coordination::testing::crew {

using Router = ReputationWeightedRouter;

constexpr Nanos seconds(double count) {
  return Nanos{static_cast<std::int64_t>(count * 1e9 + 0.5)};
}
constexpr Nanos kMs{1'000'000};
inline ReputationConfig preset(std::string_view name) {
  return ReputationConfig::preset(name).value();
}

// `agents` agents that all offer "work" (0), and whose slow start is over at the instant returned.
inline Router crew(ReputationConfig config, std::uint32_t agents, std::uint64_t seed = 1) {
  Router router(config, seed);
  for (std::uint32_t i = 0; i < agents; ++i) {
    EXPECT_EQ(router.apply(reputation::Join{i}, Nanos{0}).code, Errc::ok);
    EXPECT_EQ(router.apply(reputation::Offer{i, "work"}, Nanos{0}).capability, 0U);
  }
  return router;
}
inline std::uint32_t route(Router& router, Nanos now) {
  std::uint32_t agent = kNoRow;
  EXPECT_EQ(router.route(0, now, agent), Errc::ok);
  return agent;
}
inline void answer(Router& router, std::uint32_t agent, bool ok, Nanos now) {
  if (ok) {
    router.record({agent, 100 * kMs, 0}, now);
  } else {
    router.apply(reputation::RecordFailure{agent, FailureKind::error, 0}, now);
  }
}

}  // namespace mesh::coordination::testing::crew
