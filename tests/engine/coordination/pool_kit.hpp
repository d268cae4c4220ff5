// What the tests of the resource pools share: a small manager, its commands, and a trace in which
// everything happens.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/coordination/resource_pool.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination::testing {

constexpr Nanos pool_s(double count) { return Nanos{static_cast<std::int64_t>(count * 1e9)}; }

inline ResourcePoolConfig small_pools() {
  ResourcePoolConfig config;
  config.resources_max = 4;
  config.agents_max = 8;
  config.reservations_max = 24;
  config.requests_max = 8;
  config.bookings_max = 6;
  config.events_max = 16;
  return config;
}

inline pool::Allocate units(std::uint32_t agent, std::uint32_t resource, std::uint64_t quantity) {
  pool::Allocate order;
  order.agent = agent;
  order.resource = resource;
  order.quantity = quantity;
  order.station = 1 + agent % 3;
  return order;
}

inline pool::AddResource plain_pool(std::uint64_t capacity) {
  pool::AddResource order;
  order.id = "r";
  order.capacity = capacity;
  order.rules.agent_max_ppm = 1'000'000;
  return order;
}

inline std::vector<pool::AddResource> mixed_pools() {
  std::vector<pool::AddResource> all{compute_pool("gpu", 8), connection_pool("db", 12),
                                     quota_pool("api", 20, pool_s(60))};
  all[0].rules.agent_max_ppm = 1'000'000;
  all[0].scale = {12, 4, 800'000, 300'000, 250'000, pool_s(30), pool_s(60), pool_s(60), pool_s(90)};
  all[1].rules.overcommit_ppm = 100'000;
  all[1].rules.min_reserve = 1;
  all[1].rules.queue_max = 3;
  return all;
}

// What comes next in a trace.
class PoolPlayer {
 public:
  explicit PoolPlayer(std::uint64_t seed) : rng_(seed) {}

  ResourcePoolCommand next(Nanos now) {
    const std::uint64_t what = rng_.below(100);
    if (what < 40) return allocate();
    if (what < 72) return of_reservation(what);
    if (what < 80) {
      const std::uint32_t agent = small(8);
      return pool::Gang{agent,     {{0, 1 + rng_.below(3)}, {1, 1 + rng_.below(2)}},
                        small(11), Nanos{0},
                        wait(),    1 + agent % 3};
    }
    return what < 90 ? booking(what, now) : other(what);
  }
  void hear(const ResourcePoolReply& reply) {
    last_ = std::max(last_, reply.reservation);
    ticket_ = reply.ticket != 0 ? reply.ticket : ticket_;
  }
  [[nodiscard]] Rng& rng() { return rng_; }

 private:
  std::uint32_t small(std::uint64_t n) { return static_cast<std::uint32_t>(rng_.below(n)); }
  Nanos some(std::uint64_t n) { return pool_s(static_cast<double>(rng_.below(n))); }
  Nanos wait() { return pool_s(static_cast<double>(rng_.below(2) * 15)); }

  ResourcePoolCommand allocate() {
    auto order = units(small(8), small(4), 1 + rng_.below(6));
    order.priority = small(11);
    order.lease = some(40);
    order.allow_partial = rng_.below(3) == 0;
    order.wait = wait();
    order.purpose = rng_.below(2) == 0 ? "inference" : "";
    return order;
  }
  ResourcePoolCommand of_reservation(std::uint64_t what) {
    const std::uint64_t id = 1 + rng_.below(last_ + 1);
    if (what < 62) return pool::Release{id, 0};
    if (what < 66) return pool::Renew{id, pool_s(30), 0};
    return pool::Resize{id, 1 + rng_.below(5), 0};
  }
  ResourcePoolCommand booking(std::uint64_t what, Nanos now) {
    const std::uint32_t agent = small(8);
    if (what < 86) {
      return pool::Book{agent,
                        small(2),
                        1 + rng_.below(4),
                        now + pool_s(1) + some(60),
                        pool_s(1) + some(40),
                        1 + agent % 3};
    }
    if (what < 88) return pool::CancelBooking{ticket_, 0};
    return pool::Cancel{ticket_, 0};
  }
  ResourcePoolCommand other(std::uint64_t what) {
    if (what < 93) return pool::SetWeight{small(8), 1 + small(4)};
    if (what < 96) return pool::WantCredit{2, 1 + small(3), 1 + rng_.below(8)};
    if (what < 98) return pool::Validate{small(3), rng_.below(10)};
    return pool::StationClosed{1 + small(3)};
  }

  Rng rng_;
  std::uint64_t last_ = 0;
  std::uint64_t ticket_ = 0;
};

inline std::vector<Timed<ResourcePoolCommand>> pool_trace(const ResourcePoolConfig& config,
                                                          std::size_t count, std::uint64_t seed) {
  std::vector<Timed<ResourcePoolCommand>> commands;
  ResourcePoolManager follower(config);
  PoolPlayer player(seed);
  Nanos now{0};
  for (std::size_t i = 0; i < count; ++i) {
    ResourcePoolCommand command = i < 3 ? ResourcePoolCommand{mixed_pools()[i]} : player.next(now);
    player.hear(follower.apply(command, now));
    ResourcePoolActions actions;
    follower.tick(now, actions);
    commands.push_back({now, command});
    now += pool_s(static_cast<double>(player.rng().below(5)));
  }
  return commands;
}

}  // namespace mesh::coordination::testing
