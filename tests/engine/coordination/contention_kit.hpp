// What the tests of the arbiter share: a small one, its commands, and a trace
// in which everything happens.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/coordination/contention_arbiter.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination::testing {

constexpr Nanos arbiter_ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

inline ContentionConfig small_arbiter(std::string_view preset = "fair-share") {
  auto config = ContentionConfig::preset(preset).value();
  config.resources_max = 3;
  config.agents_max = 8;
  config.allocations_max = 24;
  config.demands_max = 12;
  config.budgets_max = 8;
  config.events_max = 16;
  config.max_hold_ns = arbiter_ms(60'000);
  return config;
}
inline contention::Request ask(std::uint32_t agent, std::uint64_t quantity,
                               std::uint32_t priority = 0, std::uint32_t flexibility_ppm = 0) {
  contention::Request request;
  request.agent = agent;
  request.quantity = quantity;
  request.priority = priority;
  request.flexibility_ppm = flexibility_ppm;
  request.utility_per_unit = 1'000'000;
  request.station = 1 + agent % 3;
  return request;
}

class ContentionPlayer {
 public:
  explicit ContentionPlayer(std::uint64_t seed) : rng_(seed) {}

  ContentionCommand next(Nanos now) {
    if (begun_ < 3) {
      const std::uint32_t at = begun_++;
      return contention::RegisterResource{"r" + std::to_string(at), 8 + at * 4, at == 1, at != 1,
                                          ""};
    }
    const std::uint64_t what = rng_.below(100);
    if (what < 55) return request(now);
    if (what < 85) return contention::Release{1 + rng_.below(last_ + 1), 0};
    if (what < 89) return contention::Cancel{1 + rng_.below(last_ + 1), 0};
    if (what < 93) {
      return contention::SetBudget{number(8), number(3), rng_.below(30), arbiter_ms(5'000)};
    }
    if (what < 97) return contention::Validate{number(3), rng_.below(30)};
    return contention::StationClosed{1 + number(3)};
  }
  void hear(const ContentionReply& reply) { hear(std::max(reply.allocation, reply.ticket)); }
  void hear(std::uint64_t id) { last_ = std::max(last_, id); }
  [[nodiscard]] Rng& rng() { return rng_; }

 private:
  std::uint32_t number(std::uint64_t n) { return static_cast<std::uint32_t>(rng_.below(n)); }
  contention::Request request(Nanos now) {
    auto one = ask(number(8), 1 + rng_.below(9), number(11), number(3) * 300'000);
    one.resource = number(3);
    one.utility_per_unit = 500'000 + rng_.below(5'000'000);
    one.disagreement = rng_.below(3) == 0 ? rng_.below(2'000'000) : 0;
    one.timestamp = Nanos{static_cast<std::int64_t>(rng_.below(1'000))};
    if (rng_.below(3) == 0) one.deadline = now + arbiter_ms(20'000);
    return one;
  }

  Rng rng_;
  std::uint32_t begun_ = 0;
  std::uint64_t last_ = 0;
};

inline std::vector<Timed<ContentionCommand>> contention_trace(const ContentionConfig& config,
                                                              std::size_t count,
                                                              std::uint64_t seed) {
  std::vector<Timed<ContentionCommand>> commands;
  ResourceContentionArbiter follower(config);
  ContentionPlayer player(seed);
  Nanos now{0};
  for (std::size_t i = 0; i < count; ++i) {
    const auto command = player.next(now);
    player.hear(follower.apply(command, now));
    ContentionActions actions;
    follower.tick(now, actions);
    for (const auto& news : actions.news) player.hear(news.allocation);
    commands.push_back({now, command});
    now += arbiter_ms(static_cast<std::int64_t>(player.rng().below(2'000)));
  }
  return commands;
}

}  // namespace mesh::coordination::testing
