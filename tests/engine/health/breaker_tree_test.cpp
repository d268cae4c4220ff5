#include "engine/health/breaker_tree.hpp"

#include "tests/engine/coordination/goldens.hpp"

namespace mesh::engine::health {
namespace of_breaker_tree_test {

using coordination::BreakerState;
using coordination::CallOutcome;
using coordination::Refusal;
using coordination::testing::golden;
using coordination::testing::Json;
using coordination::testing::matches;

constexpr Nanos seconds(double count) { return Nanos{static_cast<std::int64_t>(count * 1e9)}; }
constexpr CircuitScope kMesh{CircuitScope::Level::mesh, 0};

BreakerTreeConfig tree_of(std::uint32_t sectors, std::uint32_t clusters_each) {
  BreakerTreeConfig config;
  config.sectors = sectors;
  for (std::uint32_t cluster = 0; cluster < sectors * clusters_each; ++cluster) {
    config.sector_of_cluster.push_back(cluster / clusters_each);
  }
  return config;
}

void fail_times(BreakerTree& tree, std::uint32_t cluster, int count, Nanos now) {
  for (int i = 0; i < count; ++i) tree.record_failure(cluster, now);
}

TEST(BreakerTree, OpensTheMeshWhenMoreThanTenSectorsAreOpen) {
  const auto [inputs, expected] = golden("circuit_breaker", "tree_counts_open_sectors");
  Json opens = Json::array();
  for (const std::uint32_t open : inputs.at("open_sectors")) {
    BreakerTreeConfig config = tree_of(12, 2);
    config.open_sectors_max = inputs.at("global_opens_when_open_sectors_exceed");
    BreakerTree tree(config);
    for (std::uint32_t sector = 0; sector < open; ++sector)
      fail_times(tree, 2 * sector, 51, seconds(1));
    EXPECT_EQ(tree.open_sectors(), open);
    opens.push_back(tree.breaker(kMesh).state() == BreakerState::open);
    EXPECT_TRUE(tree.verify());
  }
  EXPECT_TRUE(matches(expected, opens));
}

TEST(BreakerTree, OpensAClusterAtItsSixthFailureAndLeavesItsSectorAlone) {
  BreakerTree tree(tree_of(2, 3));
  fail_times(tree, 4, 5, seconds(1));
  EXPECT_TRUE(tree.is_routable(4));
  fail_times(tree, 4, 1, seconds(1));
  EXPECT_FALSE(tree.is_routable(4));
  EXPECT_TRUE(tree.is_routable(3));
  EXPECT_EQ(tree.admit(4, seconds(2)).refusal, Refusal::rejected_open);
  EXPECT_EQ(tree.admit(4, seconds(2)).retry_after, seconds(29));
  EXPECT_EQ(tree.admit(99, seconds(2)).refusal, Refusal::rejected_policy);
}

TEST(BreakerTree, ProbesAClusterAndClosesItWhenNothingFailed) {
  BreakerTree tree(tree_of(2, 3));
  fail_times(tree, 4, 6, seconds(0));
  const auto probe = tree.admit(4, seconds(30));
  EXPECT_EQ(probe.refusal, Refusal::none);
  EXPECT_EQ(tree.admit(4, seconds(30)).refusal, Refusal::rejected_open);
  tree.record(probe.permit, CallOutcome::ok, seconds(31));
  int passed = 0;
  for (int i = 0; i < 20; ++i) {
    const auto reply = tree.admit(4, seconds(32));
    if (reply.refusal != Refusal::none) continue;
    ++passed;
    tree.record(reply.permit, CallOutcome::ok, seconds(32));
  }
  EXPECT_EQ(passed, 2) << "one in ten";
  tree.tick(seconds(91));
  EXPECT_EQ(tree.breaker({CircuitScope::Level::cluster, 4}).state(), BreakerState::closed);
  EXPECT_TRUE(tree.verify());
}

TEST(BreakerTree, ProbesASectorThroughItsHealthiestCluster) {
  BreakerTree tree(tree_of(2, 3));
  tree.set_score(0, 300);
  tree.set_score(1, 100);
  tree.set_score(2, 200);
  for (int i = 0; i < 51; ++i)
    tree.record_failure(static_cast<std::uint32_t>(i % 3 == 1 ? 0 : 2), seconds(0));
  ASSERT_EQ(tree.breaker({CircuitScope::Level::sector, 0}).state(), BreakerState::open);
  EXPECT_FALSE(tree.is_routable(1)) << "closed itself, behind an open sector";
  EXPECT_EQ(tree.admit(2, seconds(30)).refusal, Refusal::rejected_open);
  const auto probe = tree.admit(1, seconds(30));
  EXPECT_EQ(probe.refusal, Refusal::none);
  tree.record(probe.permit, CallOutcome::ok, seconds(31));
  EXPECT_EQ(tree.breaker({CircuitScope::Level::sector, 0}).state(), BreakerState::half_open);
}

TEST(BreakerTree, RecoversTheMeshThroughItsHealthiestCluster) {
  BreakerTreeConfig config = tree_of(4, 1);
  config.open_sectors_max = 2;
  BreakerTree tree(config);
  tree.set_score(3, 1);
  for (std::uint32_t cluster = 0; cluster < 4; ++cluster)
    tree.set_score(cluster, cluster == 3 ? 1 : 9);
  for (std::uint32_t cluster = 0; cluster < 3; ++cluster) fail_times(tree, cluster, 51, seconds(0));
  ASSERT_EQ(tree.breaker(kMesh).state(), BreakerState::open);
  EXPECT_FALSE(tree.is_routable(3));
  EXPECT_EQ(tree.admit(0, seconds(30)).refusal, Refusal::rejected_open);
  const auto probe = tree.admit(3, seconds(30));
  ASSERT_EQ(probe.refusal, Refusal::none);
  tree.record(probe.permit, CallOutcome::ok, seconds(31));
  EXPECT_EQ(tree.breaker(kMesh).state(), BreakerState::half_open);
  EXPECT_TRUE(tree.verify());
}

// Through an empty cluster nothing could ever go.
TEST(BreakerTree, ProbesNothingThroughAClusterInWhichNobodyIs) {
  BreakerTree tree(tree_of(2, 3));
  tree.set_score(0, 300);
  tree.set_score(1, BreakerTree::kScoreOfNobody);
  tree.set_score(2, BreakerTree::kScoreOfNobody);
  fail_times(tree, 0, 51, seconds(0));
  ASSERT_EQ(tree.breaker({CircuitScope::Level::sector, 0}).state(), BreakerState::open);
  EXPECT_EQ(tree.admit(1, seconds(30)).refusal, Refusal::rejected_open);
  EXPECT_EQ(tree.admit(0, seconds(30)).refusal, Refusal::none) << "open itself, but not empty";
}

TEST(BreakerTree, SaysWhenItsOwnProbeIsDueAndGivesOneAtATime) {
  BreakerTree tree(tree_of(2, 3));
  EXPECT_FALSE(tree.is_probe_due(4, seconds(0))) << "nothing is open";
  fail_times(tree, 4, 6, seconds(0));
  EXPECT_FALSE(tree.is_probe_due(4, seconds(29)));
  EXPECT_EQ(tree.probe(4, seconds(29)).refusal, Refusal::rejected_open);
  EXPECT_TRUE(tree.is_probe_due(4, seconds(30)));
  EXPECT_FALSE(tree.is_probe_due(3, seconds(30)));
  const auto probe = tree.probe(4, seconds(30));
  ASSERT_EQ(probe.refusal, Refusal::none);
  EXPECT_FALSE(tree.is_probe_due(4, seconds(31)));
  EXPECT_EQ(tree.admit(4, seconds(31)).refusal, Refusal::rejected_open) << "it is the probe";
  tree.record(probe.permit, CallOutcome::fail, seconds(32));
  EXPECT_FALSE(tree.is_probe_due(4, seconds(91)));
  EXPECT_TRUE(tree.is_probe_due(4, seconds(92))) << "60 s after it failed";
  ASSERT_EQ(tree.probe(4, seconds(92)).refusal, Refusal::none);
  EXPECT_FALSE(tree.is_probe_due(4, seconds(151)));
  EXPECT_TRUE(tree.is_probe_due(4, seconds(152))) << "nobody has answered it";
  tree.hold_open(tree.places_of(4).of[2], seconds(153));
  EXPECT_FALSE(tree.is_probe_due(4, seconds(1'000))) << "the operator's";
  EXPECT_FALSE(tree.is_probe_due(99, seconds(1'000)));
  EXPECT_TRUE(tree.verify());
}

TEST(BreakerTree, ItsOwnProbeIsOfAllThatIsOpenAboveTheCluster) {
  BreakerTree tree(tree_of(2, 3));
  tree.set_score(1, 1);
  for (const std::uint32_t cluster : {0U, 2U}) tree.set_score(cluster, 9);
  fail_times(tree, 0, 51, seconds(0));
  fail_times(tree, 1, 6, seconds(10));
  EXPECT_FALSE(tree.is_probe_due(0, seconds(31))) << "its sector's goes through another";
  ASSERT_TRUE(tree.is_probe_due(2, seconds(31))) << "the one that is not open itself";
  const auto probe = tree.probe(2, seconds(31));
  EXPECT_EQ(probe.permit.levels, 0b010);
  tree.record(probe.permit, CallOutcome::ok, seconds(31));
  EXPECT_EQ(tree.breaker({CircuitScope::Level::sector, 0}).state(), BreakerState::half_open);
  // Behind what is half-open the clusters are probed without waiting for one in ten.
  for (const std::uint32_t cluster : {0U, 1U}) {
    ASSERT_TRUE(tree.is_probe_due(cluster, seconds(41))) << cluster;
    const auto of = tree.probe(cluster, seconds(41));
    EXPECT_EQ(of.permit.levels, 0b100);
    tree.record(of.permit, cluster == 0 ? CallOutcome::ok : CallOutcome::fail, seconds(42));
  }
  tree.tick(seconds(91));
  EXPECT_EQ(tree.breaker({CircuitScope::Level::sector, 0}).state(), BreakerState::closed)
      << "that a cluster which is open still fails says nothing new of its sector";
  EXPECT_EQ(tree.breaker({CircuitScope::Level::cluster, 0}).state(), BreakerState::half_open);
  EXPECT_EQ(tree.breaker({CircuitScope::Level::cluster, 1}).state(), BreakerState::open);
  EXPECT_TRUE(tree.verify());
}

TEST(BreakerTree, ObeysTheOperatorOpenUntilItIsResetAndThenWithNothingCounted) {
  BreakerTree tree(tree_of(12, 2));
  const std::size_t cluster = tree.places_of(4).of[2];
  tree.hold_open(cluster, seconds(1));
  EXPECT_FALSE(tree.is_routable(4));
  tree.tick(seconds(10'000));
  EXPECT_FALSE(tree.is_routable(4)) << "no time closes it";
  EXPECT_EQ(tree.admit(4, seconds(10'000)).refusal, Refusal::rejected_open);
  tree.reset(cluster, seconds(10'001));
  EXPECT_TRUE(tree.is_routable(4));
  fail_times(tree, 4, 6, seconds(10'002));
  EXPECT_FALSE(tree.is_routable(4));
  tree.reset(cluster, seconds(10'003));
  fail_times(tree, 4, 5, seconds(10'003));
  EXPECT_TRUE(tree.is_routable(4)) << "five are not six: what was before is not counted";
  EXPECT_TRUE(tree.verify());
}

TEST(BreakerTree, OfAResetMeshOpensAgainWhileTooManySectorsAreOpen) {
  BreakerTree tree(tree_of(12, 2));
  for (std::uint32_t sector = 0; sector < 11; ++sector)
    fail_times(tree, 2 * sector, 51, seconds(1));
  ASSERT_EQ(tree.breaker(kMesh).state(), BreakerState::open);
  tree.reset(0, seconds(2));
  EXPECT_EQ(tree.breaker(kMesh).state(), BreakerState::open);
  tree.reset(tree.places_of(0).of[1], seconds(3));
  tree.reset(0, seconds(3));
  EXPECT_EQ(tree.breaker(kMesh).state(), BreakerState::closed) << "ten may be";
  EXPECT_TRUE(tree.verify());
}

TEST(BreakerTree, MirrorsWhatAnotherHostSays) {
  BreakerTree tree(tree_of(2, 3));
  tree.mirror({CircuitScope::Level::sector, 1}, {BreakerState::open, 3, seconds(40)}, seconds(1));
  EXPECT_FALSE(tree.is_routable(4));
  EXPECT_EQ(tree.open_sectors(), 1U);
  tree.mirror({CircuitScope::Level::sector, 1}, {BreakerState::closed, 2, seconds(0)}, seconds(1));
  EXPECT_FALSE(tree.is_routable(4)) << "an older epoch";
  tree.mirror({CircuitScope::Level::sector, 1}, {BreakerState::closed, 4, seconds(0)}, seconds(1));
  EXPECT_TRUE(tree.is_routable(4));
  tree.mirror({CircuitScope::Level::sector, 77}, {BreakerState::open, 9, seconds(0)}, seconds(1));
  EXPECT_TRUE(tree.verify());
}

TEST(BreakerTree, RefusesATreeThatIsNone) {
  EXPECT_EQ(BreakerTree::validate(tree_of(0, 1)).error().code, Errc::invalid_config);
  BreakerTreeConfig config = tree_of(1, 1);
  config.sector_of_cluster.push_back(7);
  EXPECT_EQ(BreakerTree::validate(config).error().code, Errc::invalid_config);
  config = tree_of(1, 1);
  config.cluster.recovery = coordination::BreakerRecovery::permits;
  EXPECT_EQ(BreakerTree::validate(config).error().code, Errc::invalid_config);
  EXPECT_TRUE(BreakerTree::validate(tree_of(2, 2)));
}

RC_GTEST_PROP(BreakerTree, BitsFollowTheBreakersOnEveryPath, ()) {
  BreakerTreeConfig config = tree_of(4, 3);
  config.open_sectors_max = 1;
  config.sector.failure_threshold = 9;
  BreakerTree tree(config);
  std::vector<TreePermit> held;
  Nanos now{0};
  for (int i = 0; i < 300; ++i) {
    now += Nanos{*rc::gen::inRange<std::int64_t>(0, 4'000'000'000)};
    const auto cluster = *rc::gen::inRange<std::uint32_t>(0, 12);
    switch (*rc::gen::inRange(0, 5)) {
      case 0: {
        const bool routable = tree.is_routable(cluster);
        const auto reply = tree.admit(cluster, now);
        if (reply.refusal == Refusal::none) held.push_back(reply.permit);
        RC_ASSERT(routable || reply.refusal != Refusal::none ||
                  tree.breaker(kMesh).probes_out() +
                          tree.breaker({CircuitScope::Level::sector, cluster / 3}).probes_out() +
                          tree.breaker({CircuitScope::Level::cluster, cluster}).probes_out() >
                      0);
        break;
      }
      case 1:
        if (!held.empty()) {
          tree.record(held.back(), *rc::gen::element(CallOutcome::ok, CallOutcome::fail), now);
          held.pop_back();
        }
        break;
      case 2:
        tree.record_failure(cluster, now);
        break;
      case 3: {
        const bool is_due = tree.is_probe_due(cluster, now);
        RC_ASSERT(!is_due || !tree.is_routable(cluster));
        const auto reply = tree.probe(cluster, now);
        RC_ASSERT(is_due == (reply.refusal == Refusal::none));
        RC_ASSERT(is_due == (reply.permit.levels != 0));
        RC_ASSERT(!tree.is_probe_due(cluster, now));
        if (is_due) held.push_back(reply.permit);
        break;
      }
      default:
        tree.tick(now);
        break;
    }
    RC_ASSERT(tree.verify().has_value());
  }
}

}  // namespace of_breaker_tree_test
}  // namespace mesh::engine::health
