// What the tests of the outbox share: a small one, its events, and a tick that verifies.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/coordination/outbox.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination::testing {

constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

inline OutboxConfig small_outbox() {
  OutboxConfig config;
  config.partition_count = 1;
  config.events_capacity = 64;
  config.pending_max = 32;
  config.dead_max = 4;
  config.entities_max = 8;
  config.cursors_max = 3;
  config.workers_max = 4;
  config.topics_max = 2;
  config.payload_bytes_max = 1'000;
  config.store_bytes = 64'000;
  config.retry_jitter = RetryJitter::none;
  config.poll_interval_ns = ms(1);
  config.heartbeat_timeout_ns = ms(3'600'000);
  config.events_max = 64;
  return config;
}
inline outbox::Bytes bytes(std::string_view text) {
  const auto view = std::as_bytes(std::span(text));
  return {view.begin(), view.end()};
}
inline outbox::AppendEvent event(std::string key, std::string_view payload = "data") {
  return {std::move(key), "task.completed", bytes(payload)};
}
inline std::vector<Delivery> tick(Outbox& box, Nanos now) {
  OutboxActions actions;
  box.tick(now, actions);
  const auto sound = box.verify();
  EXPECT_TRUE(sound) << sound.error().sentence;
  return actions.deliveries;
}
inline Outbox with_worker(const OutboxConfig& config, std::uint64_t seed = 0) {
  Outbox box(config, seed);
  box.apply(outbox::AddWorker{"relay-1", 1}, Nanos{0});
  return box;
}

}  // namespace mesh::coordination::testing
