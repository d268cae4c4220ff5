// What the tests of the outbox share: a small one, its events, a tick that verifies, and a trace in
// which everything happens.
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
  config.inbox_max = 8;
  config.topics_max = 2;
  config.payload_bytes_max = 1'000;
  config.store_bytes = 64'000;
  config.retry_jitter = RetryJitter::none;
  config.poll_interval_ns = ms(1);
  config.heartbeat_timeout_ns = ms(3'600'000);
  config.events_max = 64;
  return config;
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

// A trace in which everything happens; fences count up from 1 in the order of dispatch.
inline std::vector<Timed<Outbox::Command>> outbox_trace(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<Timed<Outbox::Command>> commands{{Nanos{0}, outbox::AddWorker{"w0", 0}},
                                               {Nanos{0}, outbox::AddCursor{"c"}}};
  Nanos now{0};
  while (commands.size() < count) {
    now += ms(static_cast<std::int64_t>(rng.below(900)));
    const std::string key(1, "abcd"[rng.below(4)]);
    const std::uint64_t id = 1 + rng.below(24);
    const std::uint64_t fence = 1 + rng.below(40);
    switch (rng.below(12)) {
      case 0:
        commands.push_back(
            {now, outbox::Commit{{{key, outbox::kAnyVersion, bytes(key), rng.below(4) == 0}},
                                 {{key, "t", bytes("p"), {}, 0}}}});
        break;
      case 1:
        commands.push_back({now, outbox::Fail{id, fence, rng.below(3) == 0, "no"}});
        break;
      case 2:
        commands.push_back({now, outbox::AddWorker{"w" + std::to_string(rng.below(3)), 7}});
        break;
      case 3:
        commands.push_back({now, outbox::RemoveWorker{"w" + std::to_string(rng.below(3))}});
        break;
      case 4:
        commands.push_back({now, outbox::Replay{0, 1}});
        break;
      case 5:
        commands.push_back({now, outbox::Advance{"c", 0, id}});
        break;
      case 6:
        commands.push_back({now, outbox::Purge{id}});
        break;
      case 7:
      case 8:
        commands.push_back({now, event(key)});
        break;
      default:
        commands.push_back({now, outbox::Confirm{id, fence}});
    }
  }
  return commands;
}
inline OutboxConfig eventful_outbox() {
  OutboxConfig config = small_outbox();
  config.attempts_max = 2;
  config.confirm_timeout_ns = ms(4'000);
  config.retention_ns = ms(5'000);
  config.compaction_interval_ns = ms(2'000);
  config.retry_jitter = RetryJitter::decorrelated;
  config.store_bytes = 32'000;
  return config;
}

}  // namespace mesh::coordination::testing
