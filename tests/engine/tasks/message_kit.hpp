// What the tests of the message router share: a small one, its commands, and a trace in which
// everything happens.
#pragma once

#include <map>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include "engine/tasks/message_router.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::tasks::testing {

using coordination::testing::Timed;

constexpr Nanos post_ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

inline MessageRouterConfig small_router() {
  MessageRouterConfig config;
  config.agents_max = 6;
  config.clusters_max = 3;
  config.sectors_max = 2;
  config.messages_max = 48;
  config.pairs_max = 64;
  config.requests_max = 4;
  config.subscriptions_max = 8;
  config.queue_max = 8;
  config.letters_max = 4;
  config.events_max = 64;
  return config;
}
inline message::RegisterAgent resident(std::uint32_t agent, bool here = true) {
  message::RegisterAgent one;
  one.agent = agent;
  one.here = here;
  one.station = 1 + agent % 3;
  one.cluster = agent % 3;
  one.sector = agent % 2;
  return one;
}
inline message::Send letter(std::uint32_t from, std::uint32_t to, std::uint64_t payload = 0,
                            std::uint32_t priority = 1) {
  message::Send one;
  one.from = from;
  one.to = to;
  one.payload = payload;
  one.size_bytes = 8;
  one.priority = priority;
  return one;
}
inline MessageRouter router_of(const MessageRouterConfig& config, std::uint32_t residents = 4) {
  MessageRouter router(config, 1);
  for (std::uint32_t i = 0; i < residents; ++i) router.apply(resident(i), Nanos{0});
  return router;
}
inline MessageRouterActions ticked(MessageRouter& router, Nanos now) {
  MessageRouterActions actions;
  router.tick(now, actions);
  return actions;
}
inline std::vector<std::uint64_t> payloads(const MessageReply& reply) {
  std::vector<std::uint64_t> all;
  for (const auto& one : reply.deliveries) all.push_back(one.payload);
  return all;
}

// Commands of every kind, of agents here and elsewhere; acknowledgements of what was handed over.
class MessagePlayer {
 public:
  explicit MessagePlayer(std::uint64_t seed) : rng_(seed) {}

  MessageCommand next() {
    if (begun_ < 5) {
      const std::uint32_t agent = begun_++;
      return resident(agent, agent < 3);
    }
    const std::uint64_t what = rng_.below(40);
    if (what < 12) return post();
    if (what < 20) return message::Poll{number(3), 1 + number(3)};
    if (what < 26) return end();
    if (what < 29) return from_elsewhere();
    if (what < 31) return message::Hear{{some_number(), outcome()}};
    if (what < 33) return to_many();
    if (what < 35) return topic();
    if (what < 37) return request();
    return rest(what);
  }
  // So that what comes next refers to it.
  void hear(const MessageReply& reply) {
    if (reply.id.number != 0) numbers_.push_back(reply.id.number);
    for (const auto& one : reply.deliveries) in_hand_.push_back({one.to, one.id.number});
  }

 private:
  std::uint32_t number(std::uint64_t n) { return static_cast<std::uint32_t>(rng_.below(n)); }
  std::uint64_t some_number() {
    return numbers_.empty() ? rng_.below(9) : numbers_[rng_.below(numbers_.size())];
  }
  MessageOutcome outcome() {
    return rng_.below(3) == 0 ? MessageOutcome::refused : MessageOutcome::acked;
  }
  message::Send post() {
    auto one = letter(number(6), number(6), rng_.below(1'000), number(5));
    if (rng_.below(5) == 0) one.ttl = post_ms(static_cast<std::int64_t>(rng_.below(3'000)));
    if (rng_.below(6) == 0) one.cause = {number(5), rng_.below(4)};
    return one;
  }
  MessageCommand end() {
    std::pair<std::uint32_t, std::uint64_t> one{number(4), some_number()};
    if (!in_hand_.empty() && rng_.below(8) != 0) {
      const auto at = static_cast<std::ptrdiff_t>(rng_.below(in_hand_.size()));
      one = in_hand_[static_cast<std::size_t>(at)];
      in_hand_.erase(in_hand_.begin() + at);
    }
    if (rng_.below(3) == 0) return message::Nack{one.first, one.second, rng_.below(5) == 0};
    return message::Ack{one.first, one.second};
  }
  MessageCommand from_elsewhere() {
    MessageTransfer one;
    const std::uint64_t sequence = 1 + rng_.below(12);
    one.id = {5, std::uint64_t{7} << 48 | (rng_.below(2) * 100 + sequence)};
    one.from = 3 + number(2);
    one.to = number(5);
    one.priority = 1;
    one.kind = rng_.below(6) == 0 ? MessageKind::response : MessageKind::message;
    one.correlation = some_number();
    one.place = {1 + rng_.below(2), sequence, rng_.below(sequence + 1)};
    one.route.hops = number(11);
    one.payload = sequence;
    one.remaining = post_ms(static_cast<std::int64_t>(rng_.below(5'000)));
    return message::Receive{one};
  }
  MessageCommand to_many() {
    auto one = post();
    one.to = number(3);
    if (rng_.below(2) == 0) return message::Publish{one, "a.b"};
    return message::Broadcast{one, static_cast<message::Scope>(rng_.below(3))};
  }
  MessageCommand topic() {
    const std::string pattern = rng_.below(2) == 0 ? "a.*" : "**";
    if (rng_.below(2) == 0) return message::Unsubscribe{number(6), pattern};
    return message::Subscribe{number(6), pattern};
  }
  MessageCommand request() {
    if (rng_.below(2) == 0) {
      message::Request one{post(), post_ms(number(3) * 500)};
      if (rng_.below(2) == 0) {
        one.hedge_to = number(6);
        one.hedge_after = post_ms(1 + number(300));
      }
      return one;
    }
    auto one = post();
    one.correlation = some_number();
    return message::Respond{one};
  }
  MessageCommand rest(std::uint64_t what) {
    if (what == 37) return message::StationClosed{1 + number(3)};
    const std::uint64_t which = rng_.below(8);
    if (which == 0) return message::RemoveAgent{number(5)};
    if (which == 1) return message::SetRoutable{number(5), rng_.below(2) == 0};
    if (which == 2) return message::TakeLetters{1 + number(2)};
    if (which == 3) return message::ScatterGather{number(4), {0, 1, number(6)}, 7, post_ms(5), 1};
    if (which == 4) {
      return message::SetRelay{static_cast<RelayLevel>(rng_.below(4)), number(3), number(5)};
    }
    if (which == 5) {
      return message::Restrain{number(2) * number(6), rng_.below(2) == 0, rng_.below(4) == 0};
    }
    if (which == 6) return message::SetSector{number(3), rng_.below(3) != 0};
    const std::uint32_t agent = number(5);
    return resident(agent, agent < 3);
  }

  Rng rng_;
  std::uint32_t begun_ = 0;
  std::vector<std::uint64_t> numbers_;
  std::vector<std::pair<std::uint32_t, std::uint64_t>> in_hand_;
};

// What a player tells a router of this config, and when.
inline std::vector<Timed<MessageCommand>> message_trace(const MessageRouterConfig& config,
                                                        std::size_t count, std::uint64_t seed) {
  MessagePlayer player(seed);
  MessageRouter router(config, 7);
  Rng rng(seed + 1);
  std::vector<Timed<MessageCommand>> commands;
  Nanos now{0};
  for (std::size_t i = 0; i < count; ++i) {
    commands.push_back({now, player.next()});
    player.hear(router.apply(commands.back().command, now));
    MessageRouterActions actions;
    router.tick(now, actions);
    now += post_ms(static_cast<std::int64_t>(rng.below(400)));
  }
  return commands;
}

}  // namespace mesh::tasks::testing
