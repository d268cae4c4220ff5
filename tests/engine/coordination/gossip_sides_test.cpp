// Whole engines over a network: everything reaches everybody, partitions are told from deaths, and
// at most one side of them says majority.
#include "tests/engine/coordination/gossip_net.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_gossip_sides_test {

using testing::alive_at;
using testing::bytes;
using testing::EngineNet;
using testing::EngineNode;
using testing::gossip_ms;
using testing::small_gossip;
using testing::start_engines;

constexpr std::int64_t kSecond = kNsPerSecond;

std::vector<SidesRow> rows_of(std::uint64_t members, std::uint64_t self) {
  std::vector<SidesRow> rows;
  for (std::uint64_t id = 1; id <= members; ++id) {
    if (id != self) rows.push_back({id, MemberState::alive, 0, 0});
  }
  return rows;
}
// A detector of `members`, whose reference is all of them.
PartitionSides sides_of(std::uint64_t members, std::uint64_t self = 1) {
  SidesConfig config;
  config.self = self;
  PartitionSides sides(config);
  const auto rows = rows_of(members, self);
  sides.check(rows, Nanos{10 * kSecond}, 0);
  sides.check(rows, Nanos{10 * kSecond}, 30 * kSecond);
  return sides;
}
// `silent` fall silent at 40 s; those that are left answer the sweep. The state after it.
SideState state_after(PartitionSides& sides, std::vector<SidesRow> rows,
                      const std::vector<std::uint64_t>& silent) {
  for (auto& row : rows) {
    if (std::find(silent.begin(), silent.end(), row.member) == silent.end()) continue;
    row.state = MemberState::suspect;
    row.since_ns = 40 * kSecond;
  }
  sides.check(rows, Nanos{10 * kSecond}, 40 * kSecond);
  for (auto& row : rows) {
    if (row.state == MemberState::alive) row.last_contact_ns = 41 * kSecond;
  }
  sides.check(rows, Nanos{10 * kSecond}, 44 * kSecond);
  return sides.state();
}

TEST(PartitionSides, TakesAMembershipThatStoodForThreeSuspicionsAsReference) {
  SidesConfig config;
  PartitionSides sides(config);
  auto rows = rows_of(5, 1);
  sides.check(rows, Nanos{10 * kSecond}, 0);
  sides.check(rows, Nanos{10 * kSecond}, 29 * kSecond);
  EXPECT_TRUE(sides.reference().empty());
  sides.check(rows, Nanos{10 * kSecond}, 30 * kSecond);
  EXPECT_EQ(sides.reference().size(), 5U);
}

TEST(PartitionSides, HoldsASingleDeathForNone) {
  auto sides = sides_of(5);
  EXPECT_EQ(state_after(sides, rows_of(5, 1), {3}), SideState::connected);
}

TEST(PartitionSides, SuspectsWhenAFifthFallsSilentAtOnceAndFindsItsSide) {
  auto majority = sides_of(10);
  EXPECT_EQ(state_after(majority, rows_of(10, 1), {9, 10}), SideState::majority);
  EXPECT_EQ(majority.reachable(), 8U);
  auto minority = sides_of(10);
  EXPECT_EQ(state_after(minority, rows_of(10, 1), {2, 3, 4, 5, 6, 7}), SideState::minority);
  EXPECT_EQ(minority.reachable(), 4U);
  auto few = sides_of(11);
  EXPECT_EQ(state_after(few, rows_of(11, 1), {2, 3}), SideState::connected) << "2 of 11";
}

TEST(PartitionSides, GivesAnEvenSplitToTheSideOfTheLowest) {
  auto low = sides_of(6);
  EXPECT_EQ(state_after(low, rows_of(6, 1), {4, 5, 6}), SideState::majority);
  EXPECT_TRUE(low.is_even());
  auto high = sides_of(6, 6);
  EXPECT_EQ(state_after(high, rows_of(6, 6), {1, 2, 3}), SideState::minority);
  EXPECT_TRUE(high.is_even());
}

TEST(PartitionSides, CountsOnlyWhoAnsweredTheSweep) {
  auto sides = sides_of(10);
  auto rows = rows_of(10, 1);
  for (auto& row : rows) {
    if (row.member < 9) continue;
    row.state = MemberState::suspect;
    row.since_ns = 40 * kSecond;
  }
  sides.check(rows, Nanos{10 * kSecond}, 40 * kSecond);
  EXPECT_TRUE(sides.is_sweeping());
  sides.check(rows, Nanos{10 * kSecond}, 44 * kSecond);  // nobody did
  EXPECT_EQ(sides.state(), SideState::minority) << "alive in the table is not reached";
}

TEST(PartitionSides, ReturnsWhenTheSilentSpeakBeforeTheSweepIsOver) {
  auto sides = sides_of(10);
  auto rows = rows_of(10, 1);
  rows[7].state = rows[8].state = MemberState::suspect;
  rows[7].since_ns = rows[8].since_ns = 40 * kSecond;
  sides.check(rows, Nanos{10 * kSecond}, 40 * kSecond);
  EXPECT_EQ(sides.state(), SideState::suspected);
  rows[7].state = rows[8].state = MemberState::alive;
  sides.check(rows, Nanos{10 * kSecond}, 41 * kSecond);
  EXPECT_EQ(sides.state(), SideState::connected);
}

TEST(PartitionSides, LetsGoOfThoseThatAreForgottenOrHaveLeft) {
  auto sides = sides_of(10);
  auto rows = rows_of(10, 1);
  ASSERT_EQ(state_after(sides, rows, {8, 9, 10}), SideState::majority);
  for (auto& row : rows) {
    row.last_contact_ns = 41 * kSecond;
    if (row.member >= 9) row.state = MemberState::left;
    if (row.member == 8) row.state = MemberState::dead;
  }
  sides.check(rows, Nanos{10 * kSecond}, 50 * kSecond);
  EXPECT_EQ(sides.reference().size(), 8U);
  EXPECT_EQ(sides.state(), SideState::connected) << "one of eight is a death";
}

// --- engines -----------------------------------------------------------------------------------

std::size_t majorities(EngineNet& net) {
  std::size_t groups = 0;
  bool has_majority[2] = {false, false};
  for (std::uint64_t host = 1; host <= net.size(); ++host) {
    const bool says = net[host].engine.sides().state() == SideState::majority;
    has_majority[host % 2] = has_majority[host % 2] || says;
  }
  for (const bool one : has_majority) groups += one ? 1U : 0U;
  return groups;
}
void expect_verified(EngineNet& net) {
  for (std::uint64_t host = 1; host <= net.size(); ++host) {
    const auto sound = net[host].engine.verify();
    ASSERT_TRUE(sound) << host << ": " << sound.error().sentence;
  }
}

TEST(GossipEngines, FindEachOtherAndTellEachOtherEverything) {
  EngineNet net(21, {0.02, 0.02});
  start_engines(net, 10, small_gossip(), 21);
  net.run_for(10 * kSecond);
  for (std::uint64_t host = 1; host <= 10; ++host) EXPECT_EQ(alive_at(net, host), 10U) << host;
  EXPECT_EQ(net[7].engine.member(3)->address, "tls://host-3");
  EXPECT_EQ(net[7].engine.member(3)->metadata, "zone=a");
  auto& one = net[4].engine;
  const Nanos now{net.now_ns()};
  ASSERT_EQ(one.apply(gossip::Broadcast{bytes("over the tree"), false}, now).code, Errc::ok);
  ASSERT_EQ(one.apply(gossip::Broadcast{bytes("to all"), true}, now).code, Errc::ok);
  ASSERT_EQ(one.apply(gossip::CreateRumor{"task", bytes("r"), Nanos{20 * kSecond}, 20}, now).code,
            Errc::ok);
  ASSERT_EQ(one.apply(gossip::SetSummary{"load/4", bytes("17")}, now).code, Errc::ok);
  net[4].tick(net.now_ns());
  net.flush(4);
  net.run_for(5 * kSecond);
  for (std::uint64_t host = 1; host <= 10; ++host) {
    if (host == 4) continue;
    EXPECT_EQ(net[host].count(GossipNews::broadcast), 1U) << host;
    EXPECT_EQ(net[host].count(GossipNews::multicast), 1U) << host;
    EXPECT_EQ(net[host].count(GossipNews::rumor), 1U) << host;
    ASSERT_TRUE(net[host].engine.summary("load/4")) << host;
    EXPECT_EQ(net[host].engine.summary("load/4")->payload, bytes("17"));
    EXPECT_EQ(net[host].engine.summary("load/4")->origin, 4U);
  }
  expect_verified(net);
}

// Whoever speaks when: eight hosts that all do, on any network.
TEST(GossipEngines, KnowEachOthersSummariesNoOlderThanASecond) {
  for (std::uint64_t run = 0; run < 5; ++run) {
    const std::uint64_t seed = mesh::testing::seed() + run;
    SCOPED_TRACE("seed " + std::to_string(seed));
    EngineNet net(seed, {});
    start_engines(net, 8, small_gossip(), seed);
    for (std::uint64_t host = 1; host <= 8; ++host) {
      net[host].engine.apply(gossip::SetSummary{"s/" + std::to_string(host), bytes("x")}, Nanos{0});
    }
    net.run_for(15 * kSecond);
    Nanos oldest{0};
    for (int i = 0; i < 50; ++i) {
      net.run_for(gossip_ms(170));
      for (std::uint64_t host = 1; host <= 8; ++host) {
        for (std::uint64_t of = 1; of <= 8; ++of) {
          const auto age = net[host].engine.summary_age(of, Nanos{net.now_ns()});
          ASSERT_TRUE(age) << host << " of " << of;
          oldest = std::max(oldest, *age);
        }
      }
    }
    ASSERT_LE(oldest, Nanos{kSecond});
  }
}

TEST(GossipEngines, BringToThoseThatWereAwayWhatTheyMissed) {
  EngineNet net(23, {0.02});
  start_engines(net, 6, small_gossip(), 23);
  net.run_for(10 * kSecond);
  net.set_group(6, 1);
  net.run_for(5 * kSecond);
  net[1].engine.apply(gossip::SetSummary{"missed", bytes("1")}, Nanos{net.now_ns()});
  net[1].engine.apply(gossip::SetSummary{"missed", bytes("2")}, Nanos{net.now_ns()});
  net.run_for(60 * kSecond);
  EXPECT_FALSE(net[6].engine.summary("missed"));
  net.heal();
  net.run_for(30 * kSecond);
  ASSERT_TRUE(net[6].engine.summary("missed"));
  EXPECT_EQ(net[6].engine.summary("missed")->payload, bytes("2"));
  EXPECT_EQ(alive_at(net, 6), 6U);
}

TEST(GossipEngines, AtMostOneSideSaysMajority) {
  std::uint64_t runs = 0;
  for (mesh::testing::Repeats turns(4); turns.next(); ++runs) {
    const std::uint64_t seed = mesh::testing::seed() + runs;
    SCOPED_TRACE("seed " + std::to_string(seed));
    EngineNet net(seed, {0.03, 0.01});
    // Even hosts come apart from odd ones: of 9 four and five, of 10 five and five.
    const std::uint64_t hosts = 8 + seed % 3;
    start_engines(net, hosts, small_gossip(), seed);
    net.run_for(60 * kSecond);
    for (std::uint64_t host = 1; host <= hosts; ++host) {
      ASSERT_EQ(net[host].engine.sides().reference().size(), hosts) << host;
      net.set_group(host, static_cast<int>(host % 2));
    }
    // All of them come to the right verdict, and never do two sides say majority. (With messages
    // lost one may take itself for cut off for a while.)
    const auto is_right = [&](std::uint64_t host) {
      const SideState right = host % 2 == 1 ? SideState::majority : SideState::minority;
      return net[host].engine.sides().state() == right;
    };
    std::uint64_t right = 0;
    for (int step = 0; step < 160 || (right != hosts && step < 640); ++step) {
      net.run_for(gossip_ms(250));
      ASSERT_LE(majorities(net), 1U) << step;
      right = 0;
      for (std::uint64_t host = 1; host <= hosts; ++host) right += is_right(host) ? 1U : 0U;
    }
    EXPECT_EQ(right, hosts) << "never do all of them know their side";
    net.heal();
    net.run_for(30 * kSecond);
    // With messages lost somebody is suspected now and then, and refutes it.
    std::uint64_t seeing = 0;
    for (int step = 0; seeing != hosts && step < 240; ++step) {
      net.run_for(gossip_ms(250));
      seeing = 0;
      for (std::uint64_t host = 1; host <= hosts; ++host) {
        seeing += alive_at(net, host) == hosts ? 1U : 0U;
      }
    }
    EXPECT_EQ(seeing, hosts) << "never do all of them see all";
    for (std::uint64_t host = 1; host <= hosts; ++host) {
      EXPECT_EQ(net[host].engine.sides().state(), SideState::connected) << host;
      EXPECT_TRUE(net[host].divergences.empty()) << "no two majorities";
    }
    expect_verified(net);
  }
}

TEST(GossipEngines, HealWithinThreeProbesOfTheFirstContact) {
  EngineNet net(31, {});
  start_engines(net, 8, small_gossip(), 31);
  net.run_for(60 * kSecond);
  for (std::uint64_t host = 1; host <= 8; ++host) net.set_group(host, host <= 3 ? 1 : 0);
  net.run_for(60 * kSecond);
  ASSERT_EQ(net[1].engine.sides().state(), SideState::minority);
  net.heal();
  std::int64_t contact_ns = 0;
  const std::int64_t begin = net.now_ns();
  while (net[1].engine.sides().state() == SideState::minority &&
         net.now_ns() < begin + 60 * kSecond) {
    net.run_for(gossip_ms(50));
    if (contact_ns != 0) continue;
    net[1].engine.for_members([&](const GossipMemberRow& row) {
      if (row.member > 3 && row.last_contact.count() > begin) contact_ns = net.now_ns();
    });
  }
  ASSERT_NE(contact_ns, 0);
  EXPECT_LE(net.now_ns() - contact_ns, 3 * small_gossip().probe_ns.count());
  EXPECT_EQ(net[1].engine.sides().state(), SideState::healing);
}

// Two meshes that never knew of each other, each with a majority of its own.
TEST(GossipEngines, ReportTwoMajoritiesThatMeet) {
  EngineNet net(34, {});
  for (std::uint64_t self = 1; self <= 10; ++self) {
    auto& node = net.add(std::make_unique<EngineNode>(small_gossip(self), self));
    const std::uint64_t first = self <= 5 ? 1 : 6;
    if (self != first) node.engine.apply(gossip::AddMember{first, "", 1, ""}, Nanos{0});
  }
  net.run_for(60 * kSecond);
  for (const std::uint64_t host : {4U, 5U, 9U, 10U}) net.kill(host);
  net.run_for(40 * kSecond);
  ASSERT_EQ(net[1].engine.sides().state(), SideState::majority);
  ASSERT_EQ(net[6].engine.sides().state(), SideState::majority);
  EXPECT_TRUE(net[1].divergences.empty());
  net[1].engine.apply(gossip::AddMember{6, "", 1, ""}, Nanos{net.now_ns()});
  net.run_for(5 * kSecond);
  std::size_t told = 0;
  for (std::uint64_t host = 1; host <= 8; ++host) {
    for (const auto& one : net[host].divergences) {
      ++told;
      EXPECT_EQ(one.kind, DivergenceKind::two_majorities);
      EXPECT_EQ(one.ours, host);
      EXPECT_NE(one.ours <= 5, one.theirs <= 5);
    }
  }
  EXPECT_GT(told, 0U);
}

TEST(GossipEngines, ReportTwoCoordinatorsOfOneSector) {
  EngineNet net(32, {});
  start_engines(net, 5, small_gossip(), 32);
  net.run_for(10 * kSecond);
  const auto claim = [&](std::uint64_t host, std::uint64_t epoch) {
    net[host].engine.apply(gossip::ClaimSector{7, epoch}, Nanos{net.now_ns()});
    net[host].tick(net.now_ns());
    net.flush(host);
    net.run_for(3 * kSecond);
  };
  claim(2, 4);
  EXPECT_TRUE(net[5].divergences.empty());
  claim(3, 5);
  ASSERT_FALSE(net[5].divergences.empty());
  const auto& one = net[5].divergences.front();
  EXPECT_EQ(one.kind, DivergenceKind::two_coordinators);
  EXPECT_EQ(one.sector, 7U);
  EXPECT_EQ(one.ours, 2U);
  EXPECT_EQ(one.theirs, 3U);
  EXPECT_EQ(one.our_epoch, 4U);
  EXPECT_EQ(one.their_epoch, 5U);
  EXPECT_GT(net[5].engine.counters().divergences, 0U);
}

TEST(GossipEngines, HandASectorOverInPeace) {
  EngineNet net(33, {});
  start_engines(net, 5, small_gossip(), 33);
  net.run_for(10 * kSecond);
  const auto say = [&](std::uint64_t host, const GossipCommand& command) {
    ASSERT_EQ(net[host].engine.apply(command, Nanos{net.now_ns()}).code, Errc::ok);
    net[host].tick(net.now_ns());
    net.flush(host);
    net.run_for(3 * kSecond);
  };
  say(2, gossip::ClaimSector{7, 4});
  say(2, gossip::ReleaseSector{7});
  say(3, gossip::ClaimSector{7, 5});
  for (std::uint64_t host = 1; host <= 5; ++host) {
    EXPECT_TRUE(net[host].divergences.empty()) << host;
  }
}

TEST(GossipEngines, AreTheSameForTheSameSeed) {
  const auto trace = [](std::uint64_t seed) {
    EngineNet net(seed, {0.1, 0.05});
    start_engines(net, 6, small_gossip(), seed);
    net.run_for(20 * kSecond);
    return net.trace();
  };
  EXPECT_EQ(trace(5), trace(5));
  EXPECT_NE(trace(5), trace(6));
}

}  // namespace of_gossip_sides_test
}  // namespace mesh::coordination
