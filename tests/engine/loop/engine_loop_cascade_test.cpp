// Cascades on virtual time: through coordinators and leads, to everybody at once, class after class
// (mesh.md part 9), and leaders that refuse or are silent.
#include <set>

#include "tests/engine/loop/cascade_mesh.hpp"

namespace mesh::engine {
namespace of_engine_loop_cascade_test {

const CascadeUnit* unit_of(const std::vector<CascadeUnit>& units, bool is_sector,
                           std::uint32_t index) {
  for (const CascadeUnit& unit : units)
    if (unit.is_sector == is_sector && unit.index == index) return &unit;
  return nullptr;
}

// Roles.

TEST(EngineLoopRoles, EveryClusterHasALeadAndEverySectorACoordinatorOnceAgentsAreThere) {
  const auto mesh = Sectors::full();
  for (std::uint32_t sector = 0; sector < 2; ++sector)
    EXPECT_NE(mesh->leader(AgentRole::coordinator, sector), AgentId{}) << sector;
  for (std::uint32_t cluster = 0; cluster < 20; ++cluster)
    EXPECT_NE(mesh->leader(AgentRole::lead, cluster), AgentId{}) << cluster;
  EXPECT_EQ(mesh->leader(AgentRole::coordinator, 0), mesh->ids[1][0]);
  EXPECT_EQ(mesh->leader(AgentRole::lead, 0), mesh->ids[2][0]);
  EXPECT_TRUE(mesh->loop->verify());
}

TEST(EngineLoopRoles, ALeaderThatIsLostIsReplacedAtOnceByTheBestOfItsPlaceThatIsLeft) {
  const auto mesh = Sectors::full();
  mesh->lose(1);
  mesh->lose(2);
  const AgentId coordinator = mesh->leader(AgentRole::coordinator, 0);
  const AgentId lead = mesh->leader(AgentRole::lead, 0);
  EXPECT_NE(coordinator, AgentId{});
  EXPECT_NE(lead, AgentId{});
  EXPECT_NE(coordinator, mesh->ids[1][0]);
  EXPECT_NE(lead, mesh->ids[2][0]);
  EXPECT_EQ(mesh->role(mesh->ids[2][0]), AgentRole::agent);
  mesh->add(4, 1, "second");  // back, and no lead any more
  EXPECT_EQ(mesh->leader(AgentRole::lead, 0), lead);
  EXPECT_TRUE(mesh->loop->verify());
}

TEST(EngineLoopRoles, OfAStationThatDiesNobodyIsPromotedInAnothersPlace) {
  LoopFixture mesh(60, 3);
  mesh.add(1, 25, "doomed");
  mesh.add(2, 5, "left");
  mesh.lose(1);
  const auto rows =
      must(AgentRows<HostMemory>::in(must(table_layout(mesh.size)), mesh.table.span()));
  int leaders = 0;
  for (const AgentId id : mesh.ids[2])
    leaders += rows.role.load_relaxed(static_cast<std::size_t>(index_of(id))) != 0 ? 1 : 0;
  EXPECT_EQ(leaders, 2) << "a coordinator and a lead, of those who live";
}

// Refusals first.

TEST(EngineLoopCascade, RefusesWhatCannotBe) {
  const auto mesh = Sectors::full();
  const auto refused = [&](const CascadeRequest& request) {
    const auto opened = mesh->loop->open_cascade(request, from_ns(mesh->now_ns));
    return opened ? Errc::ok : opened.error().code;
  };
  EXPECT_EQ(refused({.sector_window = Nanos{0}}), Errc::invalid_argument);
  EXPECT_EQ(refused({.cluster_window = Nanos{-1}}), Errc::invalid_argument);
  EXPECT_EQ(refused({.agent_window = Nanos{3'600 * kNsPerSecond}}), Errc::invalid_argument);
  EXPECT_EQ(refused({.sector_ready_min = 1.5}), Errc::invalid_argument);
  EXPECT_EQ(refused({.ready_min = -0.1}), Errc::invalid_argument);
  EXPECT_EQ(refused({.weight = -1}), Errc::invalid_argument);
  EXPECT_EQ(refused({.strategy = static_cast<CascadeStrategy>(9)}), Errc::invalid_argument);
  const std::vector<std::byte> long_body(std::size_t{64} << 20);
  EXPECT_EQ(refused({.body = long_body}), Errc::truncated);
  EXPECT_EQ(mesh->loop->counters().cascades, 0U);
  EXPECT_TRUE(mesh->loop->verify()) << "nothing is left of them";
}

// mesh.md part 9, where nobody says otherwise.
TEST(EngineLoopCascade, IsOfTheWindowsAndThresholdsOfTheSpecification) {
  const CascadeRequest request;
  EXPECT_EQ(request.strategy, CascadeStrategy::wave);
  EXPECT_EQ(request.sector_window, 200 * Nanos{kMs});
  EXPECT_EQ(request.cluster_window, 1'000 * Nanos{kMs});
  EXPECT_EQ(request.agent_window, 2'000 * Nanos{kMs});
  EXPECT_EQ(request.sector_ready_min, 0.98);
  EXPECT_EQ(request.window, 1'000 * Nanos{kMs}) << "of parallel";
  EXPECT_EQ(request.ready_min, 0.90);
}

TEST(EngineLoopCascade, OfNobodyThereIsNone) {
  Sectors mesh;
  const auto opened = mesh.loop->open_cascade({}, from_ns(mesh.now_ns));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::no_such_agent);
  mesh.add(1, 3, "gone");
  mesh.lose(1);
  const auto again = mesh.loop->open_cascade({}, from_ns(mesh.now_ns));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::no_schedulable_agents);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopCascade, OneMoreThanThereMayBeIsRefusedUntilOneIsOver) {
  const auto mesh = Sectors::full();
  mesh->otherwise = Does::silent;
  for (std::uint32_t i = 0; i < kMaxCascades; ++i) mesh->open();
  const auto refused = mesh->loop->open_cascade({}, from_ns(mesh->now_ns));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::capacity);
  EXPECT_EQ(refused.error().detail, static_cast<std::int64_t>(kMaxCascades));
  ASSERT_TRUE(mesh->carry_on());
  mesh->open();
  EXPECT_TRUE(mesh->loop->verify());
}

// The wave.

TEST(EngineLoopCascade, AWaveReachesEverybodyOnceThroughCoordinatorsAndLeads) {
  const auto mesh = Sectors::full();
  const OperationId id = mesh->open({.body = bytes("go")});
  const auto finished = mesh->carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->id, id);
  EXPECT_EQ(finished->status, CascadeStatus::success);
  EXPECT_EQ(finished->sectors, 2U);
  EXPECT_EQ(finished->sectors_reached, 2U);
  EXPECT_EQ(finished->clusters, 20U);
  EXPECT_EQ(finished->clusters_reached, 20U);
  EXPECT_EQ(finished->agents, (CascadeCounts{600, 600, 600, 0}));
  EXPECT_EQ(finished->operations, 1U + 2 + 20);
  EXPECT_EQ(finished->promoted, 0U);
  ASSERT_EQ(mesh->got.size(), 600U);
  for (const auto& [agent, operations] : mesh->got)
    EXPECT_EQ(operations.size(), 1U) << static_cast<std::uint64_t>(agent);
  EXPECT_LT(finished->total_ns, 200 * kMs) << "it waits for nobody: all answered at once";
  EXPECT_TRUE(mesh->loop->verify());
  // Each leader has had a scatter-gather of its own, and is told what came of it.
  mesh->turn();
  EXPECT_EQ(mesh->results.size(), 22U);
  for (const auto& [agent, count] : mesh->results) {
    EXPECT_NE(mesh->role(agent), AgentRole::agent);
    EXPECT_EQ(count, 1);
  }
}

TEST(EngineLoopCascade, NobodyHasItBeforeWhoLeadsThem) {
  const auto mesh = Sectors::full();
  mesh->open();
  ASSERT_TRUE(mesh->carry_on());
  std::set<std::uint32_t> sectors;
  std::set<std::uint32_t> clusters;
  for (const AgentId agent : mesh->order) {
    const std::uint32_t cluster = mesh->cluster(agent);
    switch (mesh->role(agent)) {
      case AgentRole::coordinator:
        sectors.insert(cluster / kClustersPerSector);
        break;
      case AgentRole::lead:
        EXPECT_TRUE(sectors.contains(cluster / kClustersPerSector));
        clusters.insert(cluster);
        break;
      case AgentRole::agent:
        EXPECT_TRUE(clusters.contains(cluster));
    }
  }
}

TEST(EngineLoopCascade, AMessageSaysWhoseCascadeItIsAndComesFromWhoLeads) {
  const auto mesh = Sectors::full();
  mesh->otherwise = Does::silent;
  mesh->open({.verb = sched::Verb::orient, .priority = Priority::high, .body = bytes("who")});
  mesh->tick(kMs);
  mesh->tick(kMs);
  const auto to_coordinator = mesh->stations[0]->poll();
  ASSERT_EQ(to_coordinator.size(), 1U);
  EXPECT_EQ(to_coordinator[0].arrive_ns, 0) << "at once: it has no T";
  EXPECT_EQ(to_coordinator[0].body_bytes, 3U);
}

TEST(EngineLoopCascade, FailsAtTheSectorsWhenACoordinatorIsInConflict) {
  const auto mesh = Sectors::full();
  mesh->does[mesh->leader(AgentRole::coordinator, 1)] = Does::conflict;
  const OperationId id = mesh->open();
  const auto finished = mesh->carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->status, CascadeStatus::failed_at_sector);
  EXPECT_EQ(finished->sectors_reached, 1U);
  EXPECT_EQ(finished->clusters_reached, 0U);
  EXPECT_EQ(finished->agents, (CascadeCounts{600, 2, 1, 1}));
  EXPECT_EQ(mesh->got.size(), 2U) << "no lead was asked";
  const auto units = mesh->loop->cascade_units(id);
  ASSERT_EQ(units.size(), 22U);
  EXPECT_EQ(unit_of(units, true, 0)->step, CascadeStep::agreed);
  EXPECT_EQ(unit_of(units, true, 1)->step, CascadeStep::conflict);
  EXPECT_EQ(unit_of(units, true, 1)->leader, mesh->leader(AgentRole::coordinator, 1));
  EXPECT_EQ(mesh->loop->counters().cascades_failed, 1U);
}

TEST(EngineLoopCascade, FailsAtTheSectorsAfterTheirWindowWhenACoordinatorIsSilent) {
  const auto mesh = Sectors::full();
  mesh->does[mesh->leader(AgentRole::coordinator, 1)] = Does::silent;
  const OperationId id = mesh->open();
  const auto finished = mesh->carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->status, CascadeStatus::failed_at_sector);
  EXPECT_GE(finished->total_ns, 200 * kMs);
  EXPECT_LE(finished->total_ns, 203 * kMs);
  EXPECT_EQ(unit_of(mesh->loop->cascade_units(id), true, 1)->step, CascadeStep::silent);
}

// 0.98 of 100 sectors: two may fail. Here half of two may.
TEST(EngineLoopCascade, GoesOnWithTheSectorsThatAgreedOnceEnoughHave) {
  const auto mesh = Sectors::full();
  mesh->does[mesh->leader(AgentRole::coordinator, 1)] = Does::refuses;
  mesh->open({.sector_ready_min = 0.5});
  const auto finished = mesh->carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->sectors_reached, 1U);
  EXPECT_EQ(finished->clusters_reached, 10U);
  EXPECT_EQ(finished->agents, (CascadeCounts{600, 301, 300, 0}));
  EXPECT_EQ(finished->status, CascadeStatus::success) << "299 of 300, and half of all";
}

TEST(EngineLoopCascade, ALeadThatCannotLeavesOutItsClusterAlone) {
  const auto mesh = Sectors::full();
  const AgentId lead = mesh->leader(AgentRole::lead, 7);
  mesh->does[lead] = Does::conflict;
  const OperationId id = mesh->open();
  const auto finished = mesh->carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->clusters_reached, 19U);
  for (const auto& [agent, operations] : mesh->got)
    EXPECT_TRUE(mesh->cluster(agent) != 7 || agent == lead ||
                mesh->role(agent) == AgentRole::coordinator);
  EXPECT_EQ(unit_of(mesh->loop->cascade_units(id), false, 7)->step, CascadeStep::conflict);
  EXPECT_EQ(finished->agents.conflict, 1U);
  EXPECT_EQ(finished->status, CascadeStatus::success);
}

TEST(EngineLoopCascade, TooFewReadyAgentsMakeItPartial) {
  const auto mesh = Sectors::full();
  for (const AgentId id : mesh->ids[3])
    if (mesh->role(id) == AgentRole::agent && static_cast<std::uint32_t>(index_of(id)) % 10 == 0)
      mesh->does[id] = Does::conflict;
  mesh->open();
  const auto finished = mesh->carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->status, CascadeStatus::partial);
  EXPECT_EQ(finished->agents.conflict, mesh->does.size());
  EXPECT_EQ(finished->agents.ready, 600 - mesh->does.size());
}

TEST(EngineLoopCascade, WhoCannotMakeItInTimeIsSkippedAndNotWaitedFor) {
  Sectors mesh(300);
  mesh.add(1, 270, "agent");
  mesh.add(2, 30, "person", AgentClass::human);  // a cluster of their own, each a minute away
  mesh.bind();
  const OperationId id = mesh.open();
  const auto finished = mesh.carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->clusters, 10U);
  EXPECT_EQ(finished->clusters_reached, 9U);
  EXPECT_EQ(finished->agents.ready, 270U);
  EXPECT_EQ(finished->agents.sent, 270U);
  const auto units = mesh.loop->cascade_units(id);
  EXPECT_EQ(std::count_if(units.begin(), units.end(),
                          [](const auto& unit) { return unit.step == CascadeStep::too_slow; }),
            1);
}

// parallel and priority_first.

TEST(EngineLoopCascade, ParallelSendsToEverybodyAtOnceAndNeedsNineInTen) {
  for (const std::uint32_t conflicts : {60U, 61U}) {
    const auto mesh = Sectors::full();
    for (std::uint32_t i = 0; i < conflicts; ++i) mesh->does[mesh->ids[3][i]] = Does::conflict;
    mesh->open({.strategy = CascadeStrategy::parallel});
    const auto finished = mesh->carry_on();
    ASSERT_TRUE(finished);
    EXPECT_EQ(finished->operations, 1U);
    EXPECT_EQ(finished->agents, (CascadeCounts{600, 600, 600 - conflicts, conflicts}));
    EXPECT_EQ(finished->status, conflicts == 60 ? CascadeStatus::success : CascadeStatus::partial);
    EXPECT_EQ(finished->phase_count, 1U);
    EXPECT_EQ(finished->phases[0].ready_min_ppm, 900'000U);
  }
}

struct Classes : Sectors {
  explicit Classes(const LoopOptions& loop_options = {}) : Sectors(300, loop_options) {
    std::uint16_t station = 1;
    for (const AgentClass of : {AgentClass::edge, AgentClass::serverless, AgentClass::persistent,
                                AgentClass::gpu, AgentClass::local, AgentClass::human}) {
      add(station, 20, std::string("class-") + static_cast<char>('a' + station), of);
      ++station;
    }
    bind();
  }
  // In the order in which classes were first sent to.
  [[nodiscard]] std::vector<AgentClass> classes_in_order() const {
    std::vector<AgentClass> seen;
    for (const AgentId agent : order) {
      const AgentClass of = static_cast<AgentClass>(
          rows.agent_class.load_relaxed(static_cast<std::size_t>(index_of(agent))));
      if (std::find(seen.begin(), seen.end(), of) == seen.end()) seen.push_back(of);
    }
    return seen;
  }
};

TEST(EngineLoopCascade, PriorityFirstGoesClassByClassInItsOrderAndPeopleOnlyIfThereIsTime) {
  Classes mesh;
  mesh.open({.strategy = CascadeStrategy::priority_first});
  const auto finished = mesh.carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(mesh.classes_in_order(),
            (std::vector{AgentClass::gpu, AgentClass::persistent, AgentClass::serverless,
                         AgentClass::edge, AgentClass::local}));
  ASSERT_EQ(finished->phase_count, 6U);
  const std::uint32_t minima[] = {990'000, 980'000, 950'000, 900'000, 850'000, 500'000};
  for (std::uint32_t phase = 0; phase < 6; ++phase) {
    EXPECT_EQ(finished->phases[phase].has_run, phase != 5) << phase;
    EXPECT_FALSE(finished->phases[phase].is_degraded) << phase;
    EXPECT_EQ(finished->phases[phase].ready_min_ppm, minima[phase]);
  }
  EXPECT_EQ(finished->status, CascadeStatus::success);
  EXPECT_EQ(finished->agents.ready, 100U);
}

TEST(EngineLoopCascade, PriorityFirstSendsToPeopleWhereTLeavesThemTheTime) {
  LoopOptions wide;
  wide.bucket = Nanos{10 * kMs};
  Classes mesh(wide);
  mesh.open({.strategy = CascadeStrategy::priority_first,
             .target = from_ns(mesh.now_ns + 150'000 * kMs)});
  const auto finished = mesh.carry_on(160'000 * kMs);
  ASSERT_TRUE(finished);
  EXPECT_EQ(mesh.classes_in_order().back(), AgentClass::human);
  EXPECT_TRUE(finished->phases[5].has_run);
  EXPECT_EQ(finished->agents.ready, 120U);
}

TEST(EngineLoopCascade, APhaseBelowItsThresholdIsADegradationAndTheNextRuns) {
  Classes mesh;
  mesh.does[mesh.ids[4][0]] = Does::conflict;  // one of 20: 0.95, class D needs 0.99
  mesh.does[mesh.ids[1][0]] = Does::conflict;  // class A needs 0.90
  mesh.does[mesh.ids[1][1]] = Does::silent;    // 18 of 20
  mesh.open({.strategy = CascadeStrategy::priority_first});
  const auto finished = mesh.carry_on();
  ASSERT_TRUE(finished);
  EXPECT_TRUE(finished->phases[0].is_degraded);
  EXPECT_FALSE(finished->phases[3].is_degraded) << "exactly its threshold";
  EXPECT_EQ(finished->phases[3].agents, (CascadeCounts{20, 20, 18, 1}));
  EXPECT_EQ(finished->status, CascadeStatus::partial);
  EXPECT_EQ(mesh.classes_in_order().size(), 5U);
}

}  // namespace of_engine_loop_cascade_test
}  // namespace mesh::engine
