// What registries of several nodes do together: merging, spreading, comparing, coming apart.
#include <cmath>
#include <map>

#include <rapidcheck.h>

#include "engine/coordination/blocks/rng.hpp"
#include "tests/engine/coordination/discovery_nodes.hpp"
#include "tests/engine/coordination/goldens.hpp"

namespace mesh::coordination {
namespace of_service_discovery_sync_test {

using testing::golden;
using testing::Json;
using testing::matches;
using namespace testing::nodes;  // NOLINT(google-build-using-namespace): test words

Discovery node(std::uint64_t self, std::uint64_t nodes, DiscoveryConfig config = {}) {
  config.self = self;
  config.instances_max = 512;
  config.store_bytes = 400'000;
  config.peers_max = 64;
  Discovery one(config);
  for (std::uint64_t id = 1; id <= nodes; ++id) {
    if (id != self) one.apply(discovery::AddPeer{id}, Nanos{0});
  }
  return one;
}
// Owners 7 to 9 are none of the nodes that merge.
std::vector<ServiceRecord> random_records(Rng& rng, std::size_t count) {
  std::vector<ServiceRecord> records;
  for (std::size_t i = 0; i < count; ++i) {
    const RecordOrder order{1 + rng.below(3), rng.below(3) == 0, rng.below(3), 7 + rng.below(3)};
    records.push_back(record("i" + std::to_string(rng.below(4)), order,
                             static_cast<std::uint32_t>(rng.below(3))));
  }
  return records;
}
void shuffle(std::vector<ServiceRecord>& records, Rng& rng) {
  for (std::size_t i = records.size(); i > 1; --i) {
    std::swap(records[i - 1], records[rng.below(i)]);
  }
}

// --- merging -----------------------------------------------------------------------------------

TEST(ServiceDiscoverySync, MergesInAnyOrderAndHoweverOftenToTheSame) {
  EXPECT_TRUE(rc::check("commutes, associates, repeats without effect", [] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    RC_LOG("seed " + std::to_string(seed));
    Rng rng(seed);
    auto records = random_records(rng, 12);
    Discovery one = node(1, 3);
    one.apply(delta(2, records), Nanos{0});
    Discovery other = node(1, 3);
    auto again = records;
    again.insert(again.end(), records.begin(), records.end());
    shuffle(again, rng);
    for (const auto& next : again) other.apply(delta(3, {next}), Nanos{0});
    RC_ASSERT(one.digest() == other.digest());
    // Parts merged apart, then with each other.
    Discovery left = node(1, 3);
    Discovery right = node(2, 3);
    const std::size_t half = rng.below(records.size());
    left.apply(delta(2, {records.begin(), records.begin() + static_cast<std::ptrdiff_t>(half)}),
               Nanos{0});
    right.apply(delta(1, {records.begin() + static_cast<std::ptrdiff_t>(half), records.end()}),
                Nanos{0});
    exchange(left, right, Nanos{0});
    RC_ASSERT(left.digest() == one.digest());
    RC_ASSERT(right.digest() == one.digest());
    RC_ASSERT(one.verify().has_value());
    RC_ASSERT(other.verify().has_value());
  }));
}

TEST(ServiceDiscoverySync, NeverResurrectsWhatLiesBelowATombstone) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    Discovery one = node(1, 2);
    std::map<std::string, std::uint64_t> buried;
    for (const auto& next : random_records(rng, 60)) {
      one.apply(delta(2, {next}), Nanos{0});
      const std::string& name = next.content.instance;
      if (next.order.is_tombstone) buried[name] = std::max(buried[name], next.order.incarnation);
      const auto here = one.find(name);
      ASSERT_TRUE(!here || here->order.incarnation > buried[name]);
    }
  }
}

TEST(ServiceDiscoverySync, TakesNothingWhoseLeaseEndedOnTheWay) {
  Discovery one = node(1, 2);
  auto late = record("x", {4, false, 1, 7});
  late.left = Nanos{0};
  EXPECT_EQ(one.apply(delta(2, {late}), Nanos{0}).taken, 0U);
  EXPECT_FALSE(one.find("x")) << "so that nothing returns when its tombstone is gone";
  one.apply(delta(2, {record("x", {4, false, 0, 7})}), Nanos{0});
  ASSERT_TRUE(one.find("x"));
  EXPECT_EQ(one.apply(delta(2, {late}), Nanos{0}).taken, 1U);
  EXPECT_FALSE(one.find("x")) << "a later word on what is here: it has ended";
}

TEST(ServiceDiscoverySync, KeepsALeaseOfAnotherClock) {
  Discovery one = node(1, 2);
  auto heard = record("x", {1, false, 1, 7});
  heard.left = seconds(4);
  one.apply(delta(2, {heard}), seconds(1'000'000));
  EXPECT_EQ(one.find("x")->expires, seconds(1'000'004));
  one.apply(delta(2, {heard}), seconds(1'000'003));
  EXPECT_EQ(one.find("x")->expires, seconds(1'000'004)) << "said again, no longer";
  DiscoveryActions actions;
  one.tick(seconds(1'000'004), actions);
  EXPECT_FALSE(one.find("x"));
}

TEST(ServiceDiscoverySync, RefutesAFalseDeathWithAHigherIncarnation) {
  Discovery one = node(1, 2);
  Discovery other = node(2, 2);
  one.apply(offer("x"), Nanos{0});
  exchange(one, other, Nanos{0});
  ASSERT_TRUE(other.find("x"));
  // The other node heard no renewal, and buries it.
  one.apply(discovery::Renew{"x"}, seconds(14));
  DiscoveryActions actions;
  other.tick(seconds(15), actions);
  EXPECT_FALSE(other.find("x"));
  exchange(one, other, seconds(15));
  EXPECT_EQ(one.counters().refuted, 1U);
  EXPECT_EQ(one.find("x")->order.incarnation, 2U);
  exchange(one, other, seconds(15));
  ASSERT_TRUE(other.find("x"));
  EXPECT_EQ(other.find("x")->order.incarnation, 2U);
  EXPECT_EQ(one.digest(), other.digest());
  EXPECT_EQ(one.apply(discovery::Renew{"x"}, seconds(16)).code, Errc::ok) << "its holder goes on";
}

TEST(ServiceDiscoverySync, BuriesALifeOfItsOwnThatItDoesNotKnow) {
  Discovery one = node(1, 2);
  one.apply(delta(2, {record("x", {5, false, 9, 1})}), Nanos{0});
  EXPECT_FALSE(one.find("x")) << "it was before a lost journal";
  EXPECT_EQ(one.view().tombstones, 1U);
  EXPECT_EQ(one.apply(offer("x"), Nanos{0}).incarnation, 6U);
  one.apply(delta(2, {record("x", {8, false, 9, 1})}), Nanos{0});
  EXPECT_EQ(one.find("x")->order.incarnation, 9U) << "what lives here stands above it";
}

TEST(ServiceDiscoverySync, LetsTheGreaterOfTwoOwnersHaveAnInstance) {
  Discovery one = node(1, 2);
  Discovery other = node(2, 2);
  one.apply(offer("x"), Nanos{0});
  other.apply(offer("x"), Nanos{0});
  other.apply(discovery::Renew{"x"}, Nanos{0});
  exchange(one, other, Nanos{0});
  EXPECT_EQ(one.find("x")->order.owner, 2U) << "sequence 2 beats 1";
  EXPECT_EQ(one.counters().conflicts, 1U);
  EXPECT_EQ(one.apply(discovery::Renew{"x"}, Nanos{0}).code, Errc::not_owner);
  EXPECT_EQ(one.digest(), other.digest());
}

// --- comparing ---------------------------------------------------------------------------------

TEST(ServiceDiscoverySync, FindsOneDifferenceByTheGoldenNumberOfDigests) {
  const auto [inputs, expected] = golden("gossip_engine", "merkle_geometry");
  auto config = DiscoveryConfig::preset("large-federation").value();
  const int leaves = inputs.at("leaves");
  const auto fill = [&](std::uint64_t self) {
    config.self = self;
    config.store_bytes = 24U << 20;
    Discovery one(config);
    one.apply(discovery::AddPeer{3 - self}, Nanos{0});
    std::vector<ServiceRecord> records;
    for (int i = 0; i < leaves; ++i) {
      records.push_back(record(std::to_string(i), {1, false, 1, 7}));
      records.back().content.lease = records.back().left = seconds(60);
    }
    one.apply(delta(3 - self, std::move(records)), Nanos{0});
    return one;
  };
  Discovery one = fill(1);
  Discovery other = fill(2);
  EXPECT_EQ(exchange(one, other, Nanos{0}).messages, 1U) << "equal: one root, no answer";
  auto wanted = offer("one more");
  other.apply(wanted, Nanos{0});
  const Exchange done = exchange(one, other, Nanos{0});
  EXPECT_TRUE(matches(expected, Json{{"depth", MerkleMap::kDepth},
                                     {"buckets", MerkleMap::kBuckets},
                                     {"digests_for_one_difference", done.digests}}));
  EXPECT_EQ(done.records, 1U);
  EXPECT_LE(done.messages, 8U) << "four round trips";
  EXPECT_TRUE(one.find("one more"));
  EXPECT_EQ(one.digest(), other.digest());
}

TEST(ServiceDiscoverySync, GoesOnWhereALimitOfAMessageLeftSomethingOut) {
  DiscoveryConfig config;
  config.message_records_max = 3;
  config.message_nodes_max = 2;
  Discovery one = node(1, 2, config);
  Discovery other = node(2, 2, config);
  for (int i = 0; i < 60; ++i) {
    (i % 2 == 0 ? one : other).apply(offer("i" + std::to_string(i)), Nanos{0});
  }
  const Exchange done = exchange(one, other, Nanos{0});
  EXPECT_LT(done.messages, 10'000U);
  exchange(other, one, Nanos{0});
  EXPECT_EQ(one.digest(), other.digest());
  EXPECT_EQ(one.view().live, 60U);
}

TEST(ServiceDiscoverySync, EndsWhereTheOtherHasNoRoom) {
  auto config = small_config(1);
  config.instances_max = 4;
  config.message_nodes_max = 2;
  Discovery narrow(config);
  narrow.apply(discovery::AddPeer{2}, Nanos{0});
  Discovery other = node(2, 2);
  for (int i = 0; i < 40; ++i) other.apply(offer("i" + std::to_string(i)), Nanos{0});
  EXPECT_LT(exchange(narrow, other, Nanos{0}).messages, 100U);
  EXPECT_EQ(narrow.view().live, 4U);
  EXPECT_GT(narrow.counters().left_out, 0U);
  EXPECT_TRUE(narrow.verify());
}

// --- many nodes --------------------------------------------------------------------------------

struct Network {
  Network(std::uint64_t count, std::uint64_t seed) : rng(seed) {
    for (std::uint64_t id = 1; id <= count; ++id) nodes.push_back(node(id, count));
  }
  bool is_cut(std::uint64_t a, std::uint64_t b) const { return (a <= island) != (b <= island); }
  void send(std::uint64_t from, std::uint64_t to, SyncMessage message) {
    // An answer of an answer, and so on, within the round: seven short messages at the most.
    while (message.kind != SyncKind::none) {
      if (is_cut(from, to) || rng.u01() < loss) return;
      const auto reply = nodes[to - 1].apply(discovery::Hear{from, std::move(message)}, now);
      message = reply.answer;
      std::swap(from, to);
    }
  }
  void round() {
    now += seconds(1);
    DiscoveryActions actions;
    for (std::uint64_t id = 1; id <= nodes.size(); ++id) {
      nodes[id - 1].tick(now, actions);
      for (auto& sent : actions.sends) send(id, sent.peer, std::move(sent.message));
    }
  }
  void cut(std::uint64_t at) {
    island = at;
    for (std::uint64_t a = 1; a <= nodes.size(); ++a) {
      for (std::uint64_t b = 1; b <= nodes.size(); ++b) {
        if (a != b) nodes[a - 1].apply(discovery::SetReachable{b, !is_cut(a, b)}, now);
      }
    }
  }
  bool is_equal() {
    for (auto& one : nodes) {
      if (one.digest() != nodes[0].digest()) return false;
    }
    return true;
  }
  std::vector<Discovery> nodes;
  Rng rng;
  Nanos now{0};
  std::uint64_t island = 0;  // nodes up to here hear only each other
  double loss = 0;
};

TEST(ServiceDiscoverySync, ConvergesWithinItsBoundOfRounds) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Network network(16, seed);
    network.round();
    for (std::uint64_t id = 1; id <= 16; ++id) {
      network.nodes[id - 1].apply(offer("i" + std::to_string(id)), network.now);
    }
    const int bound = 2 * 4 + 10;  // 2 log2(16) + anti-entropy, a second each
    int rounds = 0;
    while (!network.is_equal() && rounds < bound) {
      network.round();
      ++rounds;
    }
    EXPECT_TRUE(network.is_equal()) << rounds << " rounds";
    EXPECT_EQ(network.nodes[4].view().live, 16U);
  }
}

TEST(ServiceDiscoverySync, ConvergesThoughWordIsLost) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Network network(8, seed);
    network.loss = 0.2;
    for (std::uint64_t id = 1; id <= 8; ++id) {
      auto wanted = offer("i" + std::to_string(id));
      wanted.lease = seconds(60);
      network.nodes[id - 1].apply(wanted, network.now);
    }
    int rounds = 0;
    while (!network.is_equal() && rounds < 50) {
      network.round();
      ++rounds;
    }
    EXPECT_TRUE(network.is_equal());
    EXPECT_EQ(network.nodes[0].view().live, 8U);
  }
}

TEST(ServiceDiscoverySync, ForgetsTombstonesOnAllNodesAndForEver) {
  Network network(4, 5);
  network.round();
  network.nodes[0].apply(offer("x"), network.now);
  for (int i = 0; i < 5; ++i) network.round();
  EXPECT_TRUE(network.nodes[3].find("x"));
  for (int i = 0; i < 15 + 300 + 10; ++i) network.round();
  for (int i = 0; i < 30; ++i) {
    network.round();
    for (const auto& one : network.nodes) {
      ASSERT_EQ(one.view().live + one.view().tombstones, 0U) << "passed on, it would never go";
    }
  }
}

struct Suspicion {
  std::uint64_t reachable = 0;
  std::uint64_t members = 0;
};
std::vector<Suspicion> suspicions(const Discovery& one) {
  std::vector<Suspicion> told;
  one.events().after(0, [&](const EventRecord& event) {
    if (event.kind == static_cast<std::uint16_t>(Discovery::Event::partition_suspected)) {
      told.push_back({event.a, event.b});
    }
  });
  return told;
}

// The check alone, without messages: peers come and go as the host says.
TEST(ServiceDiscoverySync, SaysOnceThatItReachesTooFewAndWhoItCounts) {
  Discovery one = node(1, 1);
  for (std::uint64_t id = 2; id <= 5; ++id) one.apply(discovery::AddPeer{id}, Nanos{0});
  Nanos now{0};
  const auto checks = [&](int count) {
    DiscoveryActions actions;
    for (int i = 0; i < count; ++i) one.tick(now += seconds(1), actions);
  };
  checks(10);
  EXPECT_TRUE(suspicions(one).empty());
  for (std::uint64_t id = 3; id <= 5; ++id) one.apply(discovery::SetReachable{id, false}, now);
  checks(20);
  const auto told = suspicions(one);
  ASSERT_EQ(told.size(), 1U) << "at the edge, not at every check";
  EXPECT_EQ(told[0].reachable, 2U);
  EXPECT_EQ(told[0].members, 5U);
  for (std::uint64_t id = 3; id <= 5; ++id) one.apply(discovery::SetReachable{id, true}, now);
  checks(30);
  EXPECT_EQ(suspicions(one).size(), 1U);
  EXPECT_FALSE(one.is_stale());
}

TEST(ServiceDiscoverySync, ServesWhileItIsCutOffSaysSoAndHeals) {
  Network network(5, 3);
  for (int i = 0; i < 4; ++i) network.round();
  for (std::uint64_t id = 1; id <= 5; ++id) {
    auto wanted = offer("i" + std::to_string(id));
    wanted.lease = seconds(20);
    network.nodes[id - 1].apply(wanted, network.now);
  }
  for (int i = 0; i < 12; ++i) network.round();
  ASSERT_TRUE(network.is_equal());
  network.cut(2);
  const auto renew = [&] {
    for (std::uint64_t id = 1; id <= 5; ++id) {
      network.nodes[id - 1].apply(discovery::Renew{"i" + std::to_string(id)}, network.now);
    }
  };
  for (int i = 0; i < 2; ++i) network.round();
  EXPECT_FALSE(network.nodes[0].is_stale()) << "two checks are not three";
  for (int i = 0; i < 28; ++i) {
    network.round();
    renew();
  }
  EXPECT_TRUE(network.nodes[0].is_stale());
  EXPECT_FALSE(network.nodes[4].is_stale()) << "three of five are the majority";
  const auto cut_off = network.nodes[0].query({.type = "agent.compute"}, network.now).value();
  EXPECT_TRUE(cut_off.is_stale);
  EXPECT_EQ(cut_off.instances.size(), 2U) << "its own side, still served";
  EXPECT_TRUE(network.nodes[0].resolve_one("agent.compute", {}, network.now)->is_stale);
  EXPECT_EQ(network.nodes[0].counters().partitions, 1U);
  EXPECT_EQ(suspicions(network.nodes[0]).size(), 1U);
  EXPECT_TRUE(suspicions(network.nodes[4]).empty());
  network.cut(0);
  for (int i = 0; i < 13; ++i) {
    network.round();
    renew();
  }
  for (int i = 0; i < 12 && !network.is_equal(); ++i) network.round();
  EXPECT_TRUE(network.is_equal());
  for (const auto& one : network.nodes) {
    EXPECT_EQ(one.view().live, 5U) << "every false death was refuted";
    EXPECT_FALSE(one.is_stale());
  }
  EXPECT_EQ(network.nodes[0].counters().heals, 1U);
  std::uint64_t conflicts = UINT64_MAX;
  network.nodes[0].events().after(0, [&](const EventRecord& event) {
    if (event.kind == static_cast<std::uint16_t>(Discovery::Event::healed)) conflicts = event.a;
  });
  EXPECT_EQ(conflicts, network.nodes[0].counters().refuted);
  EXPECT_GE(conflicts, 1U) << "i1 was buried on the other side";
}

TEST(ServiceDiscoverySync, CountsAPeerOnlyOnceItWasThereForAWhile) {
  Discovery one = node(1, 1);
  for (std::uint64_t id = 2; id <= 6; ++id) {
    one.apply(discovery::AddPeer{id}, Nanos{0});
    one.apply(discovery::SetReachable{id, false}, Nanos{0});
  }
  DiscoveryActions actions;
  for (int i = 1; i < 10; ++i) one.tick(seconds(i), actions);
  EXPECT_FALSE(one.is_stale()) << "none of them ever belonged to it";
}

}  // namespace of_service_discovery_sync_test
}  // namespace mesh::coordination
