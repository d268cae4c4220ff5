// Who the operator holds does not lead: a lead or coordinator that is routed around or frozen is
// replaced at once, and a cascade goes through whoever leads instead (mesh.md part 9).
#include <set>

#include <rapidcheck.h>

#include "tests/engine/loop/cascade_mesh.hpp"

namespace mesh::engine {
namespace of_engine_loop_roles_test {

CascadeStep step_of(const std::vector<CascadeUnit>& units, bool is_sector, std::uint32_t index) {
  for (const CascadeUnit& unit : units)
    if (unit.is_sector == is_sector && unit.index == index) return unit.step;
  return CascadeStep::none;
}

sched::Selector cluster_selector(std::uint32_t number) {
  return sched::selector(sched::SelectorKind::cluster, number);
}

void hold(Sectors& mesh, AgentId agent, bool around = true) {
  ASSERT_TRUE(mesh.loop->route_around(agent, around)) << "no such agent";
}

// Refusals first: where nobody may lead, nobody does, and it is said.

TEST(EngineLoopRoles, WhereEverybodyIsHeldNobodyLeadsAndTheCascadeSaysLeaderless) {
  const auto mesh = Sectors::full();
  ASSERT_TRUE(mesh->loop->freeze(cluster_selector(7), true, from_ns(mesh->now_ns)));
  EXPECT_EQ(mesh->leader(AgentRole::lead, 7), AgentId{});
  const OperationId id = mesh->open();
  const auto finished = mesh->carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(step_of(mesh->loop->cascade_units(id), false, 7), CascadeStep::leaderless);
  EXPECT_EQ(finished->clusters_reached, 19U);
  EXPECT_EQ(finished->agents, (CascadeCounts{600, 570, 570, 0}));
  for (const auto& [agent, operations] : mesh->got) EXPECT_NE(mesh->cluster(agent), 7U);
  EXPECT_TRUE(mesh->loop->verify());
}

TEST(EngineLoopRoles, AnAgentThatIsRoutedAroundIsNotPromotedThoughItsScoreIsTheLowest) {
  const auto mesh = Sectors::full();
  std::vector<AgentId> of_cluster;
  for (const AgentId id : mesh->ids[3])
    if (mesh->cluster(id) == 3) of_cluster.push_back(id);
  const AgentId lead = mesh->leader(AgentRole::lead, 3);
  AgentId left{};
  for (const AgentId id : of_cluster) {
    if (id == lead) continue;
    if (mesh->role(id) == AgentRole::agent && left == AgentId{}) {
      left = id;  // the one who may
    } else {
      hold(*mesh, id);
    }
  }
  ASSERT_NE(left, AgentId{});
  hold(*mesh, lead);
  EXPECT_EQ(mesh->leader(AgentRole::lead, 3), left);
  EXPECT_TRUE(mesh->loop->verify());
}

TEST(EngineLoopRoles, ALeadThatIsRoutedAroundIsReplacedAndItsClusterReached) {
  const auto mesh = Sectors::full();
  const AgentId second = mesh->ids[2][0];
  hold(*mesh, second);
  EXPECT_EQ(mesh->role(second), AgentRole::agent);
  EXPECT_NE(mesh->leader(AgentRole::lead, 0), AgentId{});
  const OperationId id = mesh->open();
  const auto finished = mesh->carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->status, CascadeStatus::success);
  EXPECT_EQ(step_of(mesh->loop->cascade_units(id), false, 0), CascadeStep::reached);
  EXPECT_EQ(finished->clusters_reached, 20U);
  EXPECT_EQ(finished->agents, (CascadeCounts{600, 599, 599, 0}));
  EXPECT_FALSE(mesh->got.contains(second));
}

TEST(EngineLoopRoles, ACoordinatorThatIsRoutedAroundIsReplacedAndItsSectorReached) {
  const auto mesh = Sectors::full();
  const AgentId first = mesh->ids[1][0];
  hold(*mesh, first);
  const AgentId now = mesh->leader(AgentRole::coordinator, 0);
  EXPECT_NE(now, AgentId{});
  EXPECT_NE(now, first);
  mesh->open();
  const auto finished = mesh->carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->sectors_reached, 2U);
  EXPECT_EQ(finished->agents, (CascadeCounts{600, 599, 599, 0}));
  hold(*mesh, first, false);
  EXPECT_EQ(mesh->leader(AgentRole::coordinator, 0), now) << "who leads stays";
  EXPECT_TRUE(mesh->loop->verify());
}

TEST(EngineLoopRoles, AFrozenClustersCoordinatorIsReplacedFromItsSectorAndAThawFillsItsLead) {
  const auto mesh = Sectors::full();
  const std::uint32_t cluster = mesh->cluster(mesh->ids[1][0]);
  ASSERT_TRUE(mesh->loop->freeze(cluster_selector(cluster), true, from_ns(mesh->now_ns)));
  const AgentId coordinator = mesh->leader(AgentRole::coordinator, 0);
  EXPECT_NE(coordinator, AgentId{});
  EXPECT_NE(mesh->cluster(coordinator), cluster) << "nobody of those frozen is promoted";
  ASSERT_TRUE(mesh->loop->freeze(cluster_selector(cluster), false, from_ns(mesh->now_ns)));
  EXPECT_EQ(mesh->leader(AgentRole::lead, cluster), AgentId{});
  for (int i = 0; i < 2'000 && mesh->leader(AgentRole::lead, cluster) == AgentId{}; ++i)
    mesh->turn();
  EXPECT_NE(mesh->leader(AgentRole::lead, cluster), AgentId{}) << "by upkeep, within a second";
  EXPECT_TRUE(mesh->loop->verify());
}

// A predecessor that died between the hold and the promotion.
TEST(EngineLoopRoles, ASuccessorReplacesALeadThatItFindsHeld) {
  const auto mesh = Sectors::full();
  const AgentId second = mesh->ids[2][0];
  mesh->rows.routing.store_relaxed(static_cast<std::size_t>(index_of(second)), kRoutedAround);
  mesh->restart();
  EXPECT_EQ(mesh->role(second), AgentRole::lead) << "as it was found";
  mesh->open();
  EXPECT_EQ(mesh->role(second), AgentRole::agent);
  const auto finished = mesh->carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->clusters_reached, 20U);
  EXPECT_FALSE(mesh->got.contains(second));
}

// Whatever is held and let go, in any order: who is held leads nothing, and a cluster with a plain
// agent that may lead has a lead once upkeep has been there.
TEST(EngineLoopRoles, WhoIsHeldNeverLeads) {
  EXPECT_TRUE(rc::check([](const std::vector<std::uint32_t>& dice) {
    const auto mesh = Sectors::full();
    std::set<AgentId> around;
    std::set<std::uint32_t> frozen;
    for (const std::uint32_t die : dice) {
      if (die % 5 == 0) {
        const std::uint32_t cluster = die / 5 % 20;
        const bool is_to_freeze = !frozen.contains(cluster);
        RC_ASSERT(mesh->loop->freeze(cluster_selector(cluster), is_to_freeze, from_ns(mesh->now_ns))
                      .has_value());
        is_to_freeze ? (void)frozen.insert(cluster) : (void)frozen.erase(cluster);
      } else {
        // Leaders above all: others are no matter.
        const auto role = die % 5 == 1 ? AgentRole::coordinator : AgentRole::lead;
        AgentId agent = mesh->leader(role, die / 5 % (die % 5 == 1 ? 2 : 20));
        if (agent == AgentId{} || die % 5 == 4) agent = mesh->ids[3][die % 598];
        const bool is_around = around.contains(agent);
        RC_ASSERT(mesh->loop->route_around(agent, !is_around).has_value());
        is_around ? (void)around.erase(agent) : (void)around.insert(agent);
      }
      std::vector<std::uint32_t> may_lead(20);
      for (std::size_t row = 0; row < Sectors::kAgents; ++row) {
        const AgentId id = mesh->rows.id.load_relaxed(row);
        const bool is_held = around.contains(id) || frozen.contains(mesh->cluster(id));
        RC_ASSERT(!is_held || mesh->role(id) == AgentRole::agent);
        may_lead[mesh->cluster(id)] += !is_held && mesh->role(id) == AgentRole::agent ? 1U : 0U;
      }
      mesh->run(1'200 * kMs, 100 * kMs);
      for (std::uint32_t cluster = 0; cluster < 20; ++cluster)
        RC_ASSERT(may_lead[cluster] == 0 || mesh->leader(AgentRole::lead, cluster) != AgentId{});
      RC_ASSERT(mesh->loop->verify().has_value());
    }
  }));
}

}  // namespace of_engine_loop_roles_test
}  // namespace mesh::engine
