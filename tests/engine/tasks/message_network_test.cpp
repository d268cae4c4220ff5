// MessageRouter between hosts: a network that loses, repeats and turns round; relays; causes.
#include <rapidcheck.h>

#include "tests/engine/tasks/message_world.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_message_network_test {

using testing::letter;
using testing::MessageWorld;
using testing::payloads;
using testing::resident;
using testing::small_router;
using testing::ticked;
using testing::Weather;

using Numbers = std::vector<std::uint64_t>;

constexpr Nanos ms(std::int64_t count) { return testing::post_ms(count); }
constexpr Weather kCalm{0, 0, 0, 20};
constexpr Weather kStorm{30, 30, 10, 400};

MessageRouterConfig world_config(MessageOrder order = MessageOrder::per_pair_fifo) {
  auto config = small_router();
  config.messages_max = 256;
  config.pairs_max = 256;
  config.queue_max = 64;
  config.order = order;
  return config;
}

TEST(MessageNetwork, DeliversAllWhereNothingIsLost) {
  MessageWorld world(world_config(), kCalm, mesh::testing::seed());
  world.run(200);
  EXPECT_EQ(world.judge(), "");
  EXPECT_TRUE(world.is_quiet());
  EXPECT_EQ(world.acked(), 200U);
}

// Acknowledged: handed over, and once. Each pair in order. Sent == acked + dead + expired, once
// all is quiet.
TEST(MessageNetwork, IsEffectivelyOnceAndInOrderWhateverTheNetworkDoes) {
  EXPECT_TRUE(rc::check("any weather, any order", [] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    const Weather weather{*rc::gen::inRange(0U, 60U), *rc::gen::inRange(0U, 60U),
                          *rc::gen::inRange(0U, 30U), *rc::gen::inRange<std::int64_t>(1, 900)};
    const auto order = static_cast<MessageOrder>(*rc::gen::inRange(0, 3));
    MessageWorld world(world_config(order), weather, seed);
    world.run(60);
    const std::string broken = world.judge();
    RC_ASSERT(broken == "");
    RC_ASSERT(world.is_quiet());
  }));
}

TEST(MessageNetwork, AStormMakesDuplicatesAndStillMostArrive) {
  MessageWorld world(world_config(), kStorm, mesh::testing::seed());
  world.run(300);
  EXPECT_EQ(world.judge(), "");
  EXPECT_GT(world.duplicates(), 50U);
  EXPECT_GT(world.acked(), 200U);
}

TEST(MessageNetwork, RoutersThatDieAndAreRestoredKeepTheirPromises) {
  Weather weather = kStorm;
  weather.deaths_percent = 20;
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    MessageWorld world(world_config(), weather, mesh::testing::seed() + seed);
    world.run(60);
    EXPECT_EQ(world.judge(), "") << "seed " << mesh::testing::seed() + seed;
    EXPECT_TRUE(world.is_quiet());
  }
}

TEST(MessageNetwork, AtMostOnceNeverHandsOverTwiceAndNeverWaitsForWhatIsLost) {
  auto config = world_config();
  config.ack = MessageAck::none;
  MessageRouter from(config, 1);
  config.host = 1;
  MessageRouter to(config, 1);
  for (std::uint32_t agent = 0; agent < 2; ++agent) {
    from.apply(resident(agent, agent == 0), Nanos{0});
    to.apply(resident(agent, agent == 1), Nanos{0});
  }
  Numbers seen;
  for (std::uint64_t i = 0; i < 50; ++i) {
    from.apply(letter(0, 1, i), Nanos{0});
    for (const auto& transfer : ticked(from, Nanos{0}).transfers) {
      if (i % 3 == 0) continue;
      for (int copy = 0; copy < 2; ++copy) to.apply(message::Receive{transfer}, Nanos{0});
    }
    for (const std::uint64_t one : payloads(to.apply(message::Poll{1, 9}, Nanos{0}))) {
      seen.push_back(one);
    }
  }
  EXPECT_EQ(seen.size(), 33U);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(from.in_flight(), 0U);
  EXPECT_EQ(to.counters().duplicates, 33U);
  EXPECT_TRUE(from.verify());
  EXPECT_TRUE(to.verify());
}

struct Hosts {
  MessageRouter from;
  MessageRouter to;
};
Hosts two_hosts(MessageOrder order = MessageOrder::per_pair_fifo) {
  auto config = world_config(order);
  Hosts hosts{MessageRouter(config, 1), MessageRouter((config.host = 1, config), 1)};
  for (std::uint32_t agent = 0; agent < 3; ++agent) {
    hosts.from.apply(resident(agent, agent != 1), Nanos{0});
    hosts.to.apply(resident(agent, agent == 1), Nanos{0});
  }
  return hosts;
}

TEST(MessageNetwork, ADuplicateOfWhatIsDoneIsAnsweredAgain) {
  Hosts hosts = two_hosts();
  hosts.from.apply(letter(0, 1), Nanos{0});
  hosts.from.apply(letter(0, 1), Nanos{0});
  const auto sent = ticked(hosts.from, Nanos{0}).transfers;
  ASSERT_EQ(sent.size(), 2U);
  for (const auto& one : sent) hosts.to.apply(message::Receive{one}, Nanos{0});
  EXPECT_TRUE(hosts.to.apply(message::Receive{sent[0]}, Nanos{0}).answers.empty()) << "not done";
  hosts.to.apply(message::Poll{1, 2}, Nanos{0});
  hosts.to.apply(message::Ack{1, sent[0].id.number}, Nanos{0});
  hosts.to.apply(message::Nack{1, sent[1].id.number, true}, Nanos{0});
  const auto first = hosts.to.apply(message::Receive{sent[0]}, Nanos{0});
  const auto second = hosts.to.apply(message::Receive{sent[1]}, Nanos{0});
  ASSERT_EQ(first.answers.size(), 1U);
  ASSERT_EQ(second.answers.size(), 1U);
  EXPECT_EQ(first.answers[0].outcome, MessageOutcome::acked);
  EXPECT_EQ(second.answers[0].outcome, MessageOutcome::refused);
  hosts.from.apply(message::Hear{first.answers[0]}, Nanos{0});
  hosts.from.apply(message::Hear{second.answers[0]}, Nanos{0});
  EXPECT_EQ(hosts.from.apply(message::Hear{first.answers[0]}, Nanos{0}).count, 0U);
  EXPECT_EQ(hosts.from.counters().acked, 1U);
  EXPECT_EQ(hosts.from.counters().dead, 1U);
}

TEST(MessageNetwork, WhatItsSenderHasGivenUpIsNotWaitedFor) {
  Hosts hosts = two_hosts();
  auto brief = letter(0, 1, 1);
  brief.ttl = ms(5);
  hosts.from.apply(brief, Nanos{0});
  hosts.from.apply(letter(0, 1, 2), Nanos{0});
  const auto sent = ticked(hosts.from, Nanos{0}).transfers;
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(sent[0].remaining, ms(5)) << "the time that is left travels with it";
  hosts.to.apply(message::Receive{sent[1]}, ms(1));
  EXPECT_TRUE(hosts.to.apply(message::Poll{1, 9}, ms(1)).deliveries.empty()) << "1 comes first";
  std::vector<MessageTransfer> again;
  for (Nanos now = ms(5); again.empty() && now < ms(5'000); now += ms(5)) {
    again = ticked(hosts.from, now).transfers;
  }
  ASSERT_FALSE(again.empty());
  EXPECT_EQ(again[0].place.floor, 2U);
  EXPECT_EQ(hosts.to.apply(message::Receive{again[0]}, ms(5'000)).code, Errc::ok);
  EXPECT_EQ(payloads(hosts.to.apply(message::Poll{1, 9}, ms(5'000))), Numbers{2});
  EXPECT_EQ(hosts.to.apply(message::Receive{sent[0]}, ms(5'000)).code, Errc::stale_token);
}

TEST(MessageNetwork, ASenderThatBeganAnewIsHeardAnew) {
  Hosts hosts = two_hosts();
  hosts.from.apply(letter(0, 1, 1), Nanos{0});
  const auto old = ticked(hosts.from, Nanos{0}).transfers;
  hosts.to.apply(message::Receive{old.at(0)}, Nanos{0});
  hosts.from.apply(message::RemoveAgent{1}, Nanos{0});
  hosts.from.apply(resident(1, false), Nanos{0});
  hosts.from.apply(letter(0, 1, 2), Nanos{0});
  const auto fresh = ticked(hosts.from, Nanos{0}).transfers;
  ASSERT_EQ(fresh.size(), 1U);
  EXPECT_EQ(fresh[0].place.sequence, 1U);
  EXPECT_EQ(hosts.to.apply(message::Receive{fresh[0]}, Nanos{0}).code, Errc::ok);
  EXPECT_EQ(payloads(hosts.to.apply(message::Poll{1, 9}, Nanos{0})), (Numbers{1, 2}));
  EXPECT_EQ(hosts.to.apply(message::Receive{old[0]}, Nanos{0}).code, Errc::stale_token);
  EXPECT_TRUE(hosts.to.verify());
}

TEST(MessageNetwork, AFullMailboxElsewhereIsTriedAgain) {
  Hosts hosts = two_hosts();
  for (std::uint64_t i = 0; i < 64; ++i) hosts.from.apply(letter(2, 1, i), Nanos{0});
  for (const auto& one : ticked(hosts.from, Nanos{0}).transfers) {
    hosts.to.apply(message::Receive{one}, Nanos{0});
  }
  MessageTransfer more;
  more.id = {0, std::uint64_t{5} << 48 | 1};
  more.from = 0;
  more.to = 1;
  more.place = {1, 1, 1};
  EXPECT_EQ(hosts.to.apply(message::Receive{more}, Nanos{0}).refusal, Refusal::rejected_pressure);
  hosts.to.apply(
      message::Ack{1, hosts.to.apply(message::Poll{1, 1}, Nanos{0}).deliveries.at(0).id.number},
      Nanos{0});
  EXPECT_EQ(hosts.to.apply(message::Receive{more}, Nanos{0}).count, 1U);
}

// --- relays --------------------------------------------------------------------------------------

TEST(MessageNetwork, GoesDirectlyElseByTheClusterTheSectorTheBridge) {
  auto config = small_router();
  MessageRouter router(config, 1);
  router.apply(resident(0), Nanos{0});
  for (std::uint32_t agent = 1; agent < 5; ++agent) router.apply(resident(agent, false), Nanos{0});
  const auto route = [&] {
    MessageTransfer passing;
    passing.id = {0, std::uint64_t{5} << 48 | 1};
    passing.to = 1;
    passing.place = {1, 1, 1};
    const auto reply = router.apply(message::Receive{passing}, Nanos{0});
    return reply.transfers.empty() ? kNoAgent : reply.transfers[0].route.via;
  };
  EXPECT_EQ(route(), 1U);
  router.apply(message::SetRoutable{1, false}, Nanos{0});
  EXPECT_EQ(route(), kNoAgent) << "not_routable";
  router.apply(message::SetRelay{RelayLevel::bridge, 0, 4}, Nanos{0});
  EXPECT_EQ(route(), 4U);
  router.apply(message::SetRelay{RelayLevel::sector_coordinator, 1, 3}, Nanos{0});
  EXPECT_EQ(route(), 3U);
  router.apply(message::SetRelay{RelayLevel::cluster_lead, 1, 2}, Nanos{0});
  EXPECT_EQ(route(), 2U);
  router.apply(message::SetRoutable{2, false}, Nanos{0});
  EXPECT_EQ(route(), 3U);
  router.apply(message::SetRelay{RelayLevel::sector_coordinator, 1, kNoAgent}, Nanos{0});
  EXPECT_EQ(route(), 4U);
}

TEST(MessageNetwork, IsPassedOnThreeTimesAtMostHoweverManyThinkTheyKnowTheWay) {
  // Each router names a lead, a coordinator and a bridge elsewhere, and none knows the receiver.
  std::vector<MessageRouter> routers;
  for (std::uint32_t host = 0; host < 4; ++host) {
    auto config = small_router();
    config.host = host;
    MessageRouter& router = routers.emplace_back(config, 1);
    for (std::uint32_t agent = 0; agent < 5; ++agent) {
      auto one = resident(agent, agent == host);
      one.cluster = one.sector = 0;
      one.routable = agent != 4;
      router.apply(one, Nanos{0});
    }
    for (std::uint32_t level = 1; level <= 3; ++level) {
      router.apply(message::SetRelay{static_cast<RelayLevel>(level), 0, (host + level) % 4},
                   Nanos{0});
    }
  }
  routers[0].apply(letter(0, 4), Nanos{0});
  auto sent = ticked(routers[0], Nanos{0}).transfers;
  std::uint32_t passes = 0;
  while (!sent.empty() && passes < 20) {
    ++passes;
    EXPECT_EQ(sent[0].route.hops, passes);
    sent = routers[sent[0].route.via].apply(message::Receive{sent[0]}, Nanos{0}).transfers;
  }
  EXPECT_LE(passes, 3U);
  EXPECT_GE(passes, 2U);
}

TEST(MessageNetwork, EightHopsPassAndTheNinthIsACycle) {
  Hosts hosts = two_hosts();
  MessageTransfer one;
  one.id = {0, std::uint64_t{5} << 48 | 1};
  one.to = 1;
  one.place = {1, 1, 1};
  one.route.hops = 9;
  EXPECT_EQ(hosts.to.apply(message::Receive{one}, Nanos{0}).code, Errc::cycle);
  one.route.hops = 8;
  EXPECT_EQ(hosts.to.apply(message::Receive{one}, Nanos{0}).code, Errc::ok);
}

TEST(MessageNetwork, WhereNoWayLeadsItTriesAgainAndSaysSoInTheEnd) {
  Hosts hosts = two_hosts();
  hosts.from.apply(message::SetRoutable{1, false}, Nanos{0});
  hosts.from.apply(letter(0, 1), Nanos{0});
  EXPECT_TRUE(ticked(hosts.from, Nanos{0}).transfers.empty());
  hosts.from.apply(message::SetRoutable{1, true}, ms(1));
  EXPECT_EQ(ticked(hosts.from, ms(1'000)).transfers.size(), 1U);
  hosts.from.apply(message::SetRoutable{1, false}, ms(1'001));
  std::size_t dead = 0;
  for (Nanos now = ms(1'001); now <= ms(11'000); now += ms(100)) {
    dead += ticked(hosts.from, now).news.size();
  }
  EXPECT_EQ(dead, 1U);
}

// --- causes --------------------------------------------------------------------------------------

TEST(MessageNetwork, InCausalOrderNoneIsHandedOverBeforeTheOneItNames) {
  Hosts hosts = two_hosts(MessageOrder::causal);
  hosts.from.apply(letter(0, 1, 1), Nanos{0});
  auto reaction = letter(2, 1, 2, 3);
  reaction.cause = {0, 1};
  hosts.from.apply(reaction, Nanos{0});
  hosts.from.apply(letter(2, 1, 3), Nanos{0});
  const auto sent = ticked(hosts.from, Nanos{0}).transfers;
  ASSERT_EQ(sent.size(), 3U);
  hosts.to.apply(message::Receive{sent[1]}, ms(1));
  hosts.to.apply(message::Receive{sent[2]}, ms(1));
  EXPECT_TRUE(hosts.to.apply(message::Poll{1, 9}, ms(1)).deliveries.empty());
  hosts.to.apply(message::Receive{sent[0]}, ms(2));
  EXPECT_EQ(payloads(hosts.to.apply(message::Poll{1, 9}, ms(2))), (Numbers{1, 2, 3}))
      << "a priority overtakes no cause";
  EXPECT_TRUE(hosts.to.verify());
}

TEST(MessageNetwork, ACauseThatIsGivenUpHoldsNothingBackForEver) {
  Hosts hosts = two_hosts(MessageOrder::causal);
  auto brief = letter(0, 1, 1);
  brief.ttl = ms(5);
  hosts.from.apply(brief, Nanos{0});
  auto reaction = letter(2, 1, 2);
  reaction.cause = {0, 1};
  hosts.from.apply(reaction, Nanos{0});
  const auto sent = ticked(hosts.from, Nanos{0}).transfers;
  hosts.to.apply(message::Receive{sent.at(1)}, Nanos{0});
  ticked(hosts.from, ms(5));
  hosts.from.apply(letter(0, 1, 3), ms(6));
  for (const auto& one : ticked(hosts.from, ms(6)).transfers) {
    hosts.to.apply(message::Receive{one}, ms(6));
  }
  EXPECT_EQ(payloads(hosts.to.apply(message::Poll{1, 9}, ms(7))).size(), 2U);
}

TEST(MessageNetwork, AgentsOfOneHostSeeCausalOrderWithoutNamingIt) {
  auto config = world_config(MessageOrder::causal);
  auto router = testing::router_of(config, 3);
  router.apply(letter(0, 2, 1, 0), Nanos{0});
  router.apply(letter(0, 1, 2), Nanos{0});
  EXPECT_EQ(payloads(router.apply(message::Poll{1, 1}, Nanos{0})), Numbers{2});
  router.apply(letter(1, 2, 3, 3), Nanos{0});
  EXPECT_EQ(payloads(router.apply(message::Poll{2, 9}, Nanos{0})), (Numbers{1, 3}));
}

}  // namespace of_message_network_test
}  // namespace mesh::tasks
