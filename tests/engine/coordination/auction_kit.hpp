// What the tests of the auctions share: a small house, its commands, and a trace in which
// everything happens.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/coordination/task_auction.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination::testing {

constexpr Nanos auction_ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

inline TaskAuctionConfig small_house(std::string_view preset = "task-assignment") {
  auto config = TaskAuctionConfig::preset(preset).value();
  config.auctions_max = 4;
  config.bids_max = 40;
  config.agents_max = 8;
  config.events_max = 16;
  return config;
}
inline auction::Bid bid(std::uint32_t agent, std::int64_t price, std::int64_t latency_ms = 0,
                        std::uint32_t auction = 0) {
  return {auction, agent, price, auction_ms(latency_ms)};
}

class AuctionPlayer {
 public:
  explicit AuctionPlayer(std::uint64_t seed) : rng_(seed) {}

  TaskAuctionCommand next() {
    const std::uint64_t what = rng_.below(100);
    if (what < 3) return auction::AddCapability{"c" + std::to_string(rng_.below(4))};
    if (what < 6) return auction::SetAgent{agent(), rng_.below(4), number(1'000'001)};
    if (what < 22) return open();
    if (what < 62)
      return bid(agent(), price(), static_cast<std::int64_t>(rng_.below(300)), house());
    if (what < 68) return auction::BidUnits{house(), agent(), falling()};
    if (what < 74) return auction::BidBundle{house(), agent(), number(8), price()};
    if (what < 84) return hidden(what < 79);
    if (what < 92) return auction::Resolve{house(), rng_.below(3) == 0};
    return what < 94 ? TaskAuctionCommand{auction::Cancel{house()}} : auction::Forget{house()};
  }
  [[nodiscard]] Rng& rng() { return rng_; }

 private:
  std::uint32_t number(std::uint64_t n) { return static_cast<std::uint32_t>(rng_.below(n)); }
  std::uint32_t agent() { return number(8); }
  std::uint32_t house() { return number(4); }
  std::int64_t price() { return static_cast<std::int64_t>(rng_.below(50'000)); }
  std::vector<std::int64_t> falling() {
    const std::int64_t first = price();
    return {first, first / 2, first / 3};
  }
  // The same price and salt for the hash and for what it stands for, mostly.
  TaskAuctionCommand hidden(bool is_commit) {
    const std::uint32_t who = agent();
    const std::uint32_t where = house();
    const auction::Reveal reveal{where, who, 1'000 + who, auction_ms(5),
                                 rng_.below(10) == 0 ? 1U : 7U};
    if (is_commit) return auction::Commit{where, who, commitment_of(reveal), 200};
    return reveal;
  }
  TaskAuctionCommand open() {
    auction::OpenWith order;
    order.id = "a" + std::to_string(rng_.below(30));
    order.requirements = rng_.below(3) == 0 ? 1 : 0;
    order.rules.direction = static_cast<AuctionDirection>(rng_.below(2));
    order.rules.format = static_cast<AuctionFormat>(rng_.below(4));
    order.rules.timeout_ns = auction_ms(static_cast<std::int64_t>(100 + rng_.below(3'000)));
    order.rules.min_bids = 1 + number(2);
    order.rules.max_bids = 10;
    order.rules.has_reserve = rng_.below(2) == 0;
    order.rules.reserve = price();
    order.terms.deposit_ppm = rng_.below(2) == 0 ? 100'000 : 0;
    order.terms.reveal_ns = auction_ms(500);
    order.terms.w_reputation = 50;
    order.terms.rate_per_s = 5'000;
    order.terms.start_price = 20'000;
    const bool is_sealed = order.rules.format <= AuctionFormat::sealed_second;
    if (is_sealed) {
      order.terms.quantity = 1 + number(3);
      order.terms.sealed_commit = rng_.below(3) == 0;
      order.terms.one_bid_per_agent = rng_.below(4) != 0;
    }
    if (rng_.below(5) == 0) {
      order.rules.direction = AuctionDirection::forward;
      order.rules.format = AuctionFormat::sealed_second;
      order.terms.items = 3;
      order.terms.quantity = 1;
      order.terms.sealed_commit = false;
    }
    return order;
  }

  Rng rng_;
};

inline std::vector<Timed<TaskAuctionCommand>> auction_trace(const TaskAuctionConfig& config,
                                                            std::size_t count, std::uint64_t seed) {
  std::vector<Timed<TaskAuctionCommand>> commands;
  AuctionPlayer player(seed);
  Nanos now{0};
  static_cast<void>(config);
  for (std::size_t i = 0; i < count; ++i) {
    commands.push_back({now, player.next()});
    now += auction_ms(static_cast<std::int64_t>(player.rng().below(300)));
  }
  return commands;
}

}  // namespace mesh::coordination::testing
