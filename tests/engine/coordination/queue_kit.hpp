// What the tests of the queue share: a small one, its commands, and a trace in which everything
// happens.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/coordination/exactly_once_queue.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination::testing {

constexpr Nanos seconds(double count) { return Nanos{static_cast<std::int64_t>(count * 1e9)}; }

inline ExactlyOnceQueueConfig small_queue() {
  ExactlyOnceQueueConfig config;
  config.capacity = 16;
  config.dedup_capacity = 64;
  config.dedup_window_ns = seconds(600);
  config.expected_rate_per_s = 0;
  config.payload_bytes_max = 1'000;
  config.store_bytes = 64'000;
  config.producers_max = 4;
  config.workers_max = 8;
  config.claim_burst_max = 8;
  config.retry_base_ns = Nanos{0};
  config.events_max = 8;
  return config;
}

inline once::Enqueue task(std::string id, std::string_view payload = "data") {
  once::Enqueue task;
  task.id = std::move(id);
  task.payload = bytes(payload);
  return task;
}
inline once::Claim by(std::string worker, std::uint32_t station = 1) {
  return {std::move(worker), station, 1, false};
}
inline once::Complete done(std::string id, std::uint64_t fence) {
  return {std::move(id), fence, {}};
}
inline std::vector<Timed<ExactlyOnceQueue::Command>> queue_trace(
    const ExactlyOnceQueueConfig& config, std::size_t count, std::uint64_t seed) {
  std::vector<Timed<ExactlyOnceQueue::Command>> commands;
  ExactlyOnceQueue follower(config);
  Rng rng(seed);
  std::vector<ClaimedTask> held;
  Nanos now{0};
  for (std::size_t i = 0; i < count; ++i) {
    now += seconds(static_cast<double>(rng.below(9)));
    auto one = task("t" + std::to_string(rng.below(count)), "p");
    one.affinity_key = "k" + std::to_string(rng.below(3));
    one.priority = static_cast<std::uint32_t>(rng.below(4));
    one.delay = seconds(rng.below(4) == 0 ? 3 : 0);
    ExactlyOnceQueue::Command command = one;
    const auto station = static_cast<std::uint32_t>(rng.below(3));
    if (rng.below(2) == 0) command = by("w" + std::to_string(station), station);
    if (rng.below(12) == 0) command = once::StationClosed{station};
    if (rng.below(20) == 0) command = once::Redrive{"", 2};
    if (!held.empty() && rng.below(3) == 0) {
      const auto& last = held.back();
      command = done(last.id, last.fence);
      if (rng.below(4) == 0) command = once::Nack{last.id, last.fence, false, seconds(2)};
      if (rng.below(2) == 0) held.pop_back();
    }
    const auto reply = follower.apply(command, now);
    for (const auto& got : reply.tasks) held.push_back(got);
    commands.push_back({now, command});
  }
  return commands;
}

}  // namespace mesh::coordination::testing
