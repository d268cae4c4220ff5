// What an agent's station makes of what it measured.
#include "engine/station/agent_samples.hpp"

#include <array>

#include <gtest/gtest.h>

namespace mesh::testing {
namespace of_agent_samples_test {

TEST(AgentSamples, KeepsTheLastHundredAndTheirMedian) {
  engine::AgentSamples samples;
  EXPECT_EQ(samples.summary().samples, 0U);
  for (int i = 0; i < 100; ++i) samples.add(1'000, 1'000);
  for (int i = 0; i < 100; ++i) samples.add(static_cast<float>(i), 7);
  EXPECT_EQ(samples.summary().samples, 100U);
  EXPECT_EQ(samples.summary().latency_ms, 49.0F);
  EXPECT_EQ(samples.summary().processing_ms, 7.0F);
  EXPECT_NEAR(samples.summary().drift, 28.866 / 49.5, 1e-4);
}

TEST(AgentSamples, TakesTheElementAtHalfTheCountRoundedUpForTheMedian) {
  engine::AgentSamples samples;
  const std::array latencies{40.0F, 10.0F, 30.0F, 20.0F, 50.0F};
  const std::array medians{40.0F, 10.0F, 30.0F, 20.0F, 30.0F};
  for (std::size_t i = 0; i < latencies.size(); ++i) {
    samples.add(latencies[i], -latencies[i]);
    EXPECT_EQ(samples.summary().latency_ms, medians[i]) << "of " << i + 1;
  }
}

}  // namespace of_agent_samples_test
}  // namespace mesh::testing
