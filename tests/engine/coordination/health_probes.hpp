// Words for tests of the health monitor: a monitor of one capability, and a probe of it.
#pragma once

#include <cstdint>
#include <string_view>

#include <gtest/gtest.h>

#include "engine/coordination/capability_health.hpp"

namespace mesh::coordination::testing::probes {

using Monitor = CapabilityHealthMonitor;

constexpr Nanos seconds(double count) {
  return Nanos{static_cast<std::int64_t>(count * 1e9 + 0.5)};
}
constexpr Nanos millis(double count) { return seconds(count / 1e3); }
inline CapabilityHealthConfig preset(std::string_view name) {
  return CapabilityHealthConfig::preset(name).value();
}
inline Monitor monitor_of(const CapabilityHealthConfig& config) {
  Monitor monitor(config);
  EXPECT_EQ(monitor.apply(health::AddCapability{"summarize"}, Nanos{0}).capability, 0U);
  return monitor;
}
inline HealthReply probe(Monitor& monitor, std::uint32_t agent, Nanos now, double ms,
                         bool ok = true) {
  const auto reply =
      monitor.probe({ProbeType::performance, 0, agent, ok, millis(ms), Nanos{0}, 0}, now);
  EXPECT_EQ(reply.code, Errc::ok);
  return reply;
}

}  // namespace mesh::coordination::testing::probes
