// Plumtree over HyParView: links, what travels over them, and the figures with a share killed.
#include <rapidcheck.h>

#include "tests/engine/coordination/gossip_net.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_gossip_tree_test {

using testing::bytes;
using testing::gossip_ms;
using testing::LossyNet;
using testing::NetOptions;
using testing::opened;
using testing::OverlayNode;
using testing::TreeNode;
using Net = LossyNet<TreeNode>;

// --- the overlay -------------------------------------------------------------------------------

TEST(HyParView, HasAsManyLinksAsPublished) {
  EXPECT_EQ(active_view_size(30'000), 12U);
  EXPECT_EQ(active_view_size(400), 7U);
  EXPECT_EQ(active_view_size(1), 1U);
}

struct OverlayWorld {
  OverlayWorld(std::uint64_t count, std::uint64_t seed) : net(seed, {}) {
    OverlayConfig config;
    config.active = 5;
    for (std::uint64_t self = 1; self <= count; ++self) {
      config.self = self;
      auto node = std::make_unique<OverlayNode>(self, HyParView(config, seed * 1'000 + self));
      if (self != 1) node->part.join_at(1 + net.rng().below(self - 1), node->out);
      net.add(std::move(node), static_cast<std::int64_t>(net.rng().below(kNsPerSecond)));
      net.flush(self);
      net.run_for(gossip_ms(100));
    }
  }
  std::size_t component_of(std::uint64_t host) {
    std::set<std::uint64_t> seen{host};
    std::vector<std::uint64_t> todo{host};
    while (!todo.empty()) {
      const std::uint64_t next = todo.back();
      todo.pop_back();
      for (const std::uint64_t peer : net[next].part.active()) {
        if (net.is_up(peer) && seen.insert(peer).second) todo.push_back(peer);
      }
    }
    return seen.size();
  }
  std::size_t one_sided() {
    std::size_t count = 0;
    for (std::uint64_t host = 1; host <= net.size(); ++host) {
      for (const std::uint64_t peer : net[host].part.active()) {
        count += net[peer].part.is_active(host) ? 0U : 1U;
      }
    }
    return count;
  }
  LossyNet<OverlayNode> net;
};

TEST(HyParView, JoinsAllBySymmetricLinks) {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    OverlayWorld world(300, seed);
    world.net.run_for(30 * kNsPerSecond);
    EXPECT_EQ(world.component_of(1), 300U);
    // One that is short of links goes on asking: an answer may be on its way.
    for (int i = 0; i < 2'000 && world.one_sided() != 0; ++i) world.net.run_for(gossip_ms(10));
    EXPECT_EQ(world.one_sided(), 0U);
    for (std::uint64_t host = 1; host <= 300; ++host) {
      const auto& one = world.net[host].part;
      ASSERT_TRUE(one.is_sound());
      ASSERT_LE(one.active().size(), 5U);
      ASSERT_GE(one.active().size(), 1U);
      ASSERT_GT(one.passive().size(), 4U) << "shuffles fill it";
    }
  }
}

TEST(HyParView, ReplacesLinksThatFail) {
  OverlayWorld world(200, 4);
  world.net.run_for(40 * kNsPerSecond);
  for (std::uint64_t host = 2; host <= 200; ++host) {
    if (host % 3 != 0) continue;
    world.net.kill(host);
  }
  for (std::uint64_t host = 1; host <= 200; ++host) {  // what membership would say
    if (!world.net.is_up(host)) continue;
    for (std::uint64_t dead = 3; dead <= 200; dead += 3) world.net[host].part.lost(dead);
    world.net[host].part.take_changes([](std::uint64_t, bool) {});
    world.net.flush(host);
  }
  world.net.run_for(60 * kNsPerSecond);
  EXPECT_EQ(world.component_of(1), 134U);
}

TEST(HyParView, NeverRefusesOneThatHasNoLinkAtAll) {
  OverlayConfig config;
  config.active = 2;
  HyParView one(config, 1);
  GossipOutbox out(1, {});
  const auto ask = [&](std::uint64_t from, bool is_urgent) {
    GossipOutbox asked(from, {});
    StateWriter& writer = asked.begin(GossipPart::overlay, HyParView::neighbour, 1);
    writer.put(is_urgent);
    asked.end(GossipLane::tree);
    StateReader reader(asked.bytes_of(asked.sends()[0]));
    Envelope envelope = opened(reader);
    ASSERT_EQ(one.hear(envelope, reader, 0, out), Errc::ok);
  };
  ask(2, false);
  ask(3, false);
  ask(4, false);
  EXPECT_FALSE(one.is_active(4)) << "it has links enough";
  EXPECT_EQ(one.passive().size(), 1U) << "and is remembered";
  ask(4, true);
  EXPECT_TRUE(one.is_active(4));
  EXPECT_EQ(one.active().size(), 2U) << "another made room";
}

TEST(HyParView, TakesNothingThatIsMalformed) {
  HyParView one(OverlayConfig{}, 1);
  GossipOutbox out(1, {});
  for (std::uint8_t kind = 0; kind < 10; ++kind) {
    const std::vector<std::byte> tail(3, std::byte{7});
    StateReader reader(tail);
    Envelope envelope{1, GossipPart::overlay, kind, PartitionClaim::none, 2};
    EXPECT_NE(one.hear(envelope, reader, 0, out), Errc::ok) << int{kind};
  }
  EXPECT_TRUE(one.active().empty());
  EXPECT_TRUE(one.passive().empty());
}

// --- the tree ----------------------------------------------------------------------------------

// About `degree` random links each, as in the published evidence.
std::unique_ptr<Net> tree_net(std::uint64_t count, std::uint64_t seed, const NetOptions& options,
                              std::uint64_t half_degree = 3) {
  auto net = std::make_unique<Net>(seed, options);
  TreeConfig config;
  config.graft_ns = Nanos{gossip_ms(60)};
  config.graft_again_ns = Nanos{gossip_ms(50)};
  config.ihave_ns = Nanos{gossip_ms(20)};
  config.messages_max = 64;
  config.store_bytes = 64 * 240;
  for (std::uint64_t self = 1; self <= count; ++self) {
    config.self = self;
    net->add(std::make_unique<TreeNode>(self, Plumtree(config)), INT64_MAX - 1);
  }
  for (std::uint64_t self = 1; self <= count; ++self) {
    for (std::uint64_t i = 0; i < half_degree; ++i) {
      const std::uint64_t peer = 1 + net->rng().below(count);
      (*net)[self].part.peer_up(peer);
      if (peer != self) (*net)[peer].part.peer_up(self);
    }
  }
  return net;
}
std::set<std::uint64_t> component_of(Net& net, std::uint64_t host) {
  std::set<std::uint64_t> seen{host};
  std::vector<std::uint64_t> todo{host};
  while (!todo.empty()) {
    const std::uint64_t next = todo.back();
    todo.pop_back();
    for (std::uint64_t peer = 1; peer <= net.size(); ++peer) {
      const bool is_link = net.is_up(peer) && net[next].part.is_peer(peer);
      if (is_link && seen.insert(peer).second) todo.push_back(peer);
    }
  }
  return seen;
}
struct Sent {
  std::size_t delivered = 0;
  std::size_t component = 0;
  std::uint64_t payloads = 0;
};
std::uint64_t payloads_in(Net& net) {
  std::uint64_t sum = 0;
  for (std::uint64_t host = 1; host <= net.size(); ++host) {
    sum += net[host].part.counters().payloads_sent;
  }
  return sum;
}
Sent broadcast_from(Net& net, std::uint64_t source) {
  const std::uint64_t before = payloads_in(net);
  BroadcastId id;
  EXPECT_EQ(net[source].part.broadcast(bytes("news"), net.now_ns(), net[source].out, &id),
            Errc::ok);
  net.flush(source);
  net.run_for(3 * kNsPerSecond);
  Sent sent;
  for (const std::uint64_t host : component_of(net, source)) {
    ++sent.component;
    sent.delivered += net[host].part.has(id) ? 1U : 0U;
    if (host == source) continue;
    const auto count = net[host].delivered[{id.origin, id.sequence}];
    EXPECT_LE(count, 1) << "delivered twice at " << host;
  }
  sent.payloads = payloads_in(net) - before;
  return sent;
}
bool eager_graph_is_connected(Net& net, std::uint64_t source) {
  std::set<std::uint64_t> seen{source};
  std::vector<std::uint64_t> todo{source};
  while (!todo.empty()) {
    const std::uint64_t next = todo.back();
    todo.pop_back();
    for (std::uint64_t peer = 1; peer <= net.size(); ++peer) {
      const bool is_link = net.is_up(peer) && net[next].part.is_eager(peer);
      if (is_link && seen.insert(peer).second) todo.push_back(peer);
    }
  }
  return seen.size() == component_of(net, source).size();
}

void kill_a_share(Net& net, double share) {
  for (std::uint64_t host = 2; host <= net.size(); ++host) {
    if (net.rng().u01() < share) net.kill(host);
  }
  for (std::uint64_t host = 1; host <= net.size(); ++host) {  // what membership would say
    for (std::uint64_t dead = 2; dead <= net.size(); ++dead) {
      if (!net.is_up(dead)) net[host].part.peer_down(dead);
    }
  }
}
void expect_whole_component_reached(double share, std::uint64_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed) + ", killed " + std::to_string(share));
  auto net = tree_net(200, seed, {});
  constexpr int kMessages = 20;
  constexpr int kMessagesMax = 30;  // by which redundant links that grafts made are pruned
  Sent last;
  const auto is_minimal = [&last] { return last.payloads == last.component - 1; };
  for (int message = 0; message < kMessages || (message < kMessagesMax && !is_minimal());
       ++message) {
    if (message == kMessages / 2) kill_a_share(*net, share);
    last = broadcast_from(*net, 1);
    ASSERT_EQ(last.delivered, last.component) << "message " << message;
    if (message >= kMessages / 2 + 2) {
      ASSERT_TRUE(eager_graph_is_connected(*net, 1)) << message;
    }
  }
  EXPECT_EQ(last.payloads, last.component - 1) << "redundancy 0.000";
  for (std::uint64_t host = 1; host <= net->size(); ++host) {
    ASSERT_TRUE((*net)[host].part.is_sound());
  }
}

// n = 200, degree about 6: 10, 30, 50 % killed half way. Delivered / connected component is 1.000
// for every message, and once the tree stands again, 20 messages later at most, it takes n - 1
// payloads and no more.
TEST(Plumtree, ReachesTheWholeComponentWithAShareKilledAndThenWithoutRedundancy) {
  for (mesh::testing::Repeats turns(1); turns.next();) {
    for (const double share : {0.1, 0.3, 0.5}) {
      expect_whole_component_reached(share, mesh::testing::seed() + turns.count());
      if (::testing::Test::HasFailure()) return;
    }
  }
}

TEST(Plumtree, ReachesAllOverALossyNetworkThatDoublesAndReorders) {
  std::uint64_t runs = 0;
  for (mesh::testing::Repeats turns(2); turns.next(); ++runs) {
    const std::uint64_t seed = mesh::testing::seed() + runs;
    SCOPED_TRACE("seed " + std::to_string(seed));
    auto net = tree_net(60, seed, {0.05, 0.05, gossip_ms(1), gossip_ms(40)}, 4);
    std::size_t delivered = 0;
    std::size_t component = 0;
    for (int message = 0; message < 20; ++message) {
      const Sent sent = broadcast_from(*net, 1 + net->rng().below(60));
      delivered += sent.delivered;
      component += sent.component;
    }
    // A payload is lost for good only where it and all word of it are.
    EXPECT_GE(static_cast<double>(delivered), 0.999 * static_cast<double>(component));
  }
}

TEST(Plumtree, RepairsWhatWasAnnouncedToItAndLooksNowhereElse) {
  TreeConfig config;
  config.self = 2;
  Plumtree tree(config);
  GossipOutbox out(2, {});
  tree.peer_up(1);
  tree.peer_up(3);
  GossipOutbox said(3, {});
  StateWriter& writer = said.begin(GossipPart::tree, Plumtree::ihave, 2);
  writer.put(std::uint32_t{1});
  writer.put(std::uint64_t{9});
  writer.put(std::uint64_t{5});
  writer.put(std::uint32_t{2});
  said.end(GossipLane::tree);
  StateReader reader(said.bytes_of(said.sends()[0]));
  Envelope envelope = opened(reader);
  ASSERT_EQ(tree.hear(envelope, reader, 0, out), Errc::ok);
  EXPECT_EQ(tree.missing_count(), 1U);
  tree.tick(gossip_ms(299), out);
  EXPECT_TRUE(out.sends().empty()) << "the payload may be on its way";
  tree.tick(gossip_ms(300), out);
  ASSERT_EQ(out.sends().size(), 1U);
  EXPECT_EQ(out.sends()[0].to, 3U);
  EXPECT_TRUE(tree.is_eager(3)) << "the link belongs to the tree now";
  EXPECT_EQ(tree.counters().grafts, 1U);
  tree.tick(gossip_ms(400), out);
  EXPECT_EQ(tree.counters().grafts, 2U) << "asked again after t2";
  tree.peer_down(3);
  EXPECT_EQ(tree.missing_count(), 0U) << "nobody else announced it";
  EXPECT_EQ(tree.counters().lost, 1U);
}

// One message of a part, from a peer.
template <class Part, class Write>
Errc hear_one(Part& to, GossipPart part, std::uint8_t kind, std::uint64_t from, std::int64_t now_ns,
              GossipOutbox& out, Write&& write) {
  GossipOutbox said(from, {});
  write(said.begin(part, kind, 1));
  said.end(GossipLane::tree);
  StateReader reader(said.bytes_of(said.sends()[0]));
  Envelope envelope = opened(reader);
  return to.hear(envelope, reader, now_ns, out);
}
Errc payload_from(Plumtree& to, std::uint64_t from, BroadcastId id, std::uint32_t round,
                  std::uint32_t age_ms, std::int64_t now_ns, GossipOutbox& out) {
  return hear_one(to, GossipPart::tree, Plumtree::gossip, from, now_ns, out,
                  [&](StateWriter& writer) {
                    writer.put(id.origin);
                    writer.put(id.sequence);
                    writer.put(round);
                    writer.put(age_ms);
                    writer.put(std::uint32_t{1'000});
                    writer.put(std::span<const std::byte>(bytes("x")));
                  });
}

TEST(Plumtree, PrunesALinkThatBringsACopyAndNotOneThatTheNetworkDoubled) {
  Plumtree tree(TreeConfig{});
  GossipOutbox out(1, {});
  tree.peer_up(2);
  tree.peer_up(3);
  const BroadcastId id{2, 1};
  payload_from(tree, 2, id, 1, 0, 0, out);
  payload_from(tree, 2, id, 1, 0, 0, out);
  EXPECT_TRUE(tree.is_eager(2)) << "its own parent's, twice";
  EXPECT_EQ(tree.counters().prunes, 0U);
  payload_from(tree, 3, id, 1, 0, 0, out);
  EXPECT_FALSE(tree.is_eager(3));
  EXPECT_EQ(tree.counters().prunes, 1U);
  EXPECT_EQ(tree.counters().delivered, 1U);
}

TEST(Plumtree, ExchangesAParentThatIsThreeHopsFarther) {
  Plumtree tree(TreeConfig{});
  GossipOutbox out(1, {});
  tree.peer_up(2);
  tree.peer_up(3);
  const BroadcastId id{9, 1};
  payload_from(tree, 2, id, 6, 0, 0, out);
  hear_one(tree, GossipPart::tree, Plumtree::prune, 3, 0, out, [&](StateWriter& writer) {
    writer.put(id.origin);
    writer.put(id.sequence);
    writer.put(std::uint32_t{0});
  });
  const auto announce = [&](std::uint32_t round) {
    hear_one(tree, GossipPart::tree, Plumtree::ihave, 3, 0, out, [&](StateWriter& writer) {
      writer.put(std::uint32_t{1});
      writer.put(id.origin);
      writer.put(id.sequence);
      writer.put(round);
    });
  };
  announce(4);
  EXPECT_EQ(tree.counters().optimised, 0U) << "two hops are not worth it";
  announce(3);
  EXPECT_EQ(tree.counters().optimised, 1U);
  EXPECT_TRUE(tree.is_eager(3));
  EXPECT_FALSE(tree.is_eager(2));
}

TEST(Plumtree, AnswersLostForWhatItKeepsNoMoreAndTakesNothingThatOld) {
  TreeConfig config;
  config.ttl_ns = Nanos{kNsPerSecond};
  Plumtree tree(config);
  GossipOutbox out(1, {});
  tree.peer_up(2);
  BroadcastId id;
  ASSERT_EQ(tree.broadcast(bytes("x"), 0, out, &id), Errc::ok);
  const auto graft = [&](std::int64_t now_ns) {
    out.clear();
    hear_one(tree, GossipPart::tree, Plumtree::graft, 2, now_ns, out, [&](StateWriter& writer) {
      writer.put(id.origin);
      writer.put(id.sequence);
      writer.put(std::uint32_t{1});
      writer.put(true);
    });
    StateReader reader(out.bytes_of(out.sends()[0]));
    Envelope envelope = opened(reader);
    return envelope.kind;
  };
  EXPECT_EQ(graft(0), Plumtree::gossip);
  tree.tick(kNsPerSecond, out);
  EXPECT_EQ(graft(kNsPerSecond), Plumtree::lost);
  EXPECT_TRUE(tree.has(id)) << "known a while longer, so that it is not delivered again";
  tree.tick(2 * kNsPerSecond, out);
  EXPECT_FALSE(tree.has(id));
  payload_from(tree, 2, {9, 9}, 1, 1'001, 0, out);
  EXPECT_EQ(tree.counters().expired, 1U);
  EXPECT_FALSE(tree.has({9, 9}));
  EXPECT_TRUE(tree.is_sound());
}

TEST(Plumtree, ForgetsALieAfterSomeTries) {
  Plumtree tree(TreeConfig{});
  GossipOutbox out(1, {});
  tree.peer_up(2);
  hear_one(tree, GossipPart::tree, Plumtree::ihave, 2, 0, out, [&](StateWriter& writer) {
    writer.put(std::uint32_t{1});
    writer.put(std::uint64_t{7});
    writer.put(std::uint64_t{7});
    writer.put(std::uint32_t{1});
  });
  for (std::int64_t t = 0; t < 10'000; t += 50) tree.tick(gossip_ms(t), out);
  EXPECT_EQ(tree.missing_count(), 0U);
  EXPECT_EQ(tree.counters().grafts, Plumtree::kTriesMax);
  EXPECT_EQ(tree.counters().lost, 1U);
}

TEST(Plumtree, StaysSoundWhateverItHears) {
  EXPECT_TRUE(rc::check("any messages", [] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    Rng rng(seed);
    TreeConfig config;
    config.messages_max = 8;
    config.missing_max = 4;
    config.store_bytes = 2'400;
    Plumtree tree(config);
    GossipOutbox out(1, {});
    for (int i = 0; i < 80; ++i) {
      out.clear();
      const std::int64_t now_ns = gossip_ms(i * 900);
      const std::uint64_t peer = 2 + rng.below(4);
      const BroadcastId id{2 + rng.below(3), rng.below(5)};
      switch (rng.below(7)) {
        case 0:
          tree.peer_up(peer);
          break;
        case 1:
          tree.peer_down(peer);
          break;
        case 2:
          static_cast<void>(tree.broadcast(bytes("own"), now_ns, out));
          break;
        case 3:
          payload_from(tree, peer, id, 1, static_cast<std::uint32_t>(rng.below(1'500)), now_ns,
                       out);
          break;
        case 4:
          hear_one(tree, GossipPart::tree, Plumtree::ihave, peer, now_ns, out,
                   [&](StateWriter& writer) {
                     writer.put(std::uint32_t{1});
                     writer.put(id.origin);
                     writer.put(id.sequence);
                     writer.put(std::uint32_t{1});
                   });
          break;
        default:
          hear_one(tree, GossipPart::tree, rng.below(2) == 0 ? Plumtree::lost : Plumtree::prune,
                   peer, now_ns, out, [&](StateWriter& writer) {
                     writer.put(id.origin);
                     writer.put(id.sequence);
                     writer.put(std::uint32_t{1});
                   });
      }
      tree.tick(now_ns, out);
      RC_ASSERT(tree.is_sound());
      StateWriter writer;
      tree.save(writer);
      Plumtree again(config);
      StateReader reader(writer.bytes());
      again.load(reader);
      RC_ASSERT(reader.finish("tree").has_value());
      RC_ASSERT(again.is_sound());
    }
  }));
}

}  // namespace of_gossip_tree_test
}  // namespace mesh::coordination
