// What the loop knows of a sector in trouble, what it does about it, and what it keeps of what
// happened.
#include "engine/event_ring.hpp"
#include "engine/health/health_view.hpp"
#include "engine/loop/incident_facts.hpp"
#include "tests/engine/loop/cascade_mesh.hpp"

namespace mesh::engine {
namespace of_engine_loop_incident_test {

using console::IncidentCause;
using console::IncidentFacts;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

IncidentFacts facts_of(Sectors& mesh, std::uint32_t sector = 0) {
  return must(incident_facts(*mesh.loop, {.sector = sector}, from_ns(mesh.now_ns)));
}
std::vector<std::string_view> causes(Sectors& mesh, std::uint32_t sector = 0) {
  std::vector<std::string_view> names;
  for (const auto& one : console::diagnose(facts_of(mesh, sector)))
    names.push_back(console::name_of(one.cause));
  return names;
}
std::vector<std::string> timeline(Sectors& mesh, std::uint32_t sector = 0) {
  std::vector<std::string> texts;
  for (const TimelineLine& line : incident_timeline(*mesh.loop, {.sector = sector}))
    texts.push_back(line.text);
  return texts;
}
// So long that every cluster was summarized.
std::unique_ptr<Sectors> settled() {
  auto mesh = Sectors::full();
  mesh->run(1'500 * kMs, 10 * kMs);
  return mesh;
}

TEST(EngineLoopIncident, RefusesPlacesThatAreNot) {
  const auto mesh = Sectors::full();
  EXPECT_EQ(incident_facts(*mesh->loop, {.sector = 2}, from_ns(mesh->now_ns)).error().code,
            Errc::invalid_argument);
  EXPECT_EQ(isolate_cluster(*mesh->loop, 20, from_ns(mesh->now_ns)).error().code,
            Errc::invalid_argument);
  EXPECT_EQ(redistribute(*mesh->loop, 20, from_ns(mesh->now_ns)).error().code,
            Errc::invalid_argument);
}

TEST(EngineLoopIncident, OfASectorThatIsWellNothingIsFound) {
  const auto mesh = settled();
  const IncidentFacts facts = facts_of(*mesh);
  EXPECT_EQ(facts.agents(), 300U);
  EXPECT_EQ(facts.active(), 300U);
  EXPECT_EQ(facts.clusters.size(), 10U);
  ASSERT_TRUE(facts.coordinator.has_value());
  EXPECT_EQ(facts.coordinator->name, "first-0");
  EXPECT_THAT(causes(*mesh), IsEmpty());
}

TEST(EngineLoopIncident, ACoordinatorThatDiedIsNamedUntilItIsBack) {
  const auto mesh = settled();
  mesh->lose(1);
  mesh->run(5'000 * kMs, 50 * kMs);
  const IncidentFacts facts = facts_of(*mesh);
  ASSERT_TRUE(facts.led_before.has_value());
  EXPECT_EQ(facts.led_before->name, "first-0");
  EXPECT_GE(facts.led_until_age_ms, 3'900);
  ASSERT_TRUE(facts.coordinator.has_value());
  EXPECT_NE(facts.coordinator->name, "first-0");
  EXPECT_THAT(causes(*mesh), ElementsAre("coordinator"));
  EXPECT_THAT(causes(*mesh, 1), IsEmpty()) << "the other sector has nothing to do with it";
  EXPECT_THAT(timeline(*mesh),
              Contains("coordinator: " + facts.coordinator->name + " in the place of first-0"));
  mesh->add(1, 1, "first");
  EXPECT_THAT(causes(*mesh), IsEmpty());
}

TEST(EngineLoopIncident, ACoordinatorThatLeftIsNoIncident) {
  const auto mesh = settled();
  mesh->lose(1, Departure::left);
  EXPECT_THAT(causes(*mesh), IsEmpty());
  EXPECT_THAT(timeline(*mesh), Contains(HasSubstr("in the place of first-0")));
}

TEST(EngineLoopIncident, ClustersWhoseAgentsDiedHaveFailed) {
  const auto mesh = settled();
  mesh->lose(3);
  const auto findings = console::diagnose(facts_of(*mesh));
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings[0].cause, IncidentCause::clusters);
  EXPECT_EQ(findings[0].remedy.isolates.size(), 10U);
  EXPECT_THAT(causes(*mesh, 1), Contains("clusters"));
  mesh->run(2'500 * kMs, 10 * kMs);
  EXPECT_THAT(timeline(*mesh), Contains("cluster 4: from 30 to 0 agents active"));
}

TEST(EngineLoopIncident, AgentsInConflictAreCountedAndForgottenAfterAWhile) {
  const auto mesh = settled();
  mesh->otherwise = Does::conflict;
  OperationRequest request{.at_once = true};
  must(mesh->loop->open(request, from_ns(mesh->now_ns)));
  for (int i = 0; i < 100; ++i) mesh->turn();
  const IncidentFacts facts = facts_of(*mesh);
  EXPECT_EQ(facts.clusters[0].in_conflict, 30U);
  EXPECT_EQ(facts.ailing.front().conflicts, 1U);
  EXPECT_EQ(facts.ailing.size() + facts.left_out, 300U);
  EXPECT_THAT(causes(*mesh), Contains("conflicts"));
  mesh->now_ns += kIncidentWindow.count();
  mesh->tick(kMs);
  EXPECT_EQ(facts_of(*mesh).clusters[0].in_conflict, 0U);
}

TEST(EngineLoopIncident, AgentsThatLeaveThreeMessagesUnansweredAreSilent) {
  const auto mesh = settled();
  mesh->does[mesh->ids[2][0]] = Does::silent;
  for (int i = 0; i < 3; ++i) {
    OperationRequest request{.timeout = Nanos{200 * kMs}, .at_once = true};
    must(mesh->loop->open(request, from_ns(mesh->now_ns)));
    for (int turn = 0; turn < 300; ++turn) mesh->turn();
  }
  const auto findings = console::diagnose(facts_of(*mesh));
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].cause, IncidentCause::agents);
  EXPECT_THAT(findings[0].remedy.routes_around, ElementsAre("second-0"));
  EXPECT_EQ(
      route_ailing_around(*mesh->loop, findings[0].remedy.routes_around, from_ns(mesh->now_ns)),
      1U);
  EXPECT_EQ(mesh->loop->gauges().routed_around, 1U);
  EXPECT_THAT(timeline(*mesh), Contains("second-0: routed around"));
  mesh->run(1'500 * kMs, 10 * kMs);  // its cluster is looked at
  EXPECT_THAT(timeline(*mesh), Contains(HasSubstr("second-0 left three messages in a row")));
}

TEST(EngineLoopIncident, AProcessThatReadsNothingIsTheNetworkWhereverItsAgentsStand) {
  const auto mesh = settled();
  const IncidentWanted wanted{.sector = 1, .stuck = {StationId{3}, StationId{7}}};
  const IncidentFacts facts = must(incident_facts(*mesh->loop, wanted, from_ns(mesh->now_ns)));
  const auto findings = console::diagnose(facts);
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(facts.stuck_stations, std::vector<std::string>{"station 3"});
  EXPECT_THAT(findings.back().says, HasSubstr("300 agents in 10 clusters of sector 1"));
  EXPECT_EQ(findings.back().cause, IncidentCause::network);
  EXPECT_EQ(findings.front().cause, IncidentCause::coordinator) << "who leads is one of them";
}

// What a procedure does.

coordination::BreakerState shown(Sectors& mesh, std::uint32_t cluster) {
  const auto view =
      must(health::HealthView::over(must(table_layout(mesh.size)), mesh.table.span()));
  return coordination::BreakerView::state_of(view.breaker(view.place_of_cluster(cluster))->word);
}

TEST(EngineLoopIncident, AClusterThatIsIsolatedGetsNothingUntilItsBreakerIsReset) {
  const auto mesh = settled();
  const AgentId one = mesh->leader(AgentRole::lead, 4);
  EXPECT_TRUE(must(isolate_cluster(*mesh->loop, 4, from_ns(mesh->now_ns))));
  EXPECT_FALSE(must(isolate_cluster(*mesh->loop, 4, from_ns(mesh->now_ns)))) << "it was already";
  EXPECT_EQ(shown(*mesh, 4), coordination::BreakerState::forced_open);
  const auto refused = mesh->loop->post({.target = one}, from_ns(mesh->now_ns));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::open);
  mesh->run(120'000 * kMs, 500 * kMs);
  EXPECT_EQ(shown(*mesh, 4), coordination::BreakerState::forced_open) << "it opens by no timer";
  EXPECT_THAT(timeline(*mesh), Contains("breaker of cluster 4: from closed to forced_open"));
  EXPECT_TRUE(mesh->loop->verify());
}

TEST(EngineLoopIncident, HealthyAgentsOfAFailedClusterGoWhereThereIsRoom) {
  LoopFixture mesh(600, 8);
  mesh.add(1, 30, "a");  // cluster 0
  mesh.add(2, 20, "b");  // of the next
  mesh.run(1'500 * kMs, 10 * kMs);
  const auto rows =
      must(AgentRows<HostMemory>::in(must(table_layout(mesh.size)), mesh.table.span()));
  const auto cluster_of = [&](AgentId id) {
    return rows.cluster.load_relaxed(static_cast<std::size_t>(index_of(id)));
  };
  const std::uint32_t from = cluster_of(mesh.ids[1][0]);
  const std::uint32_t other = cluster_of(mesh.ids[2][0]);
  ASSERT_NE(from, other);
  const auto done = must(redistribute(*mesh.loop, from, from_ns(mesh.now_ns)));
  EXPECT_EQ(done.moved + done.stayed, 30U);
  EXPECT_EQ(done.moved, 30U) << "the mesh has 20 clusters, of which one is not full and 18 empty";
  for (const AgentId id : mesh.ids[1]) EXPECT_NE(cluster_of(id), from);
  EXPECT_TRUE(mesh.loop->verify());
  // They go on getting messages, also after a restart.
  mesh.restart();
  EXPECT_TRUE(mesh.loop->verify());
  EXPECT_TRUE(mesh.loop->post({.target = mesh.ids[1][0]}, from_ns(mesh.now_ns)).has_value());
}

TEST(EngineLoopIncident, WhoAilsIsMovedNowhereAndWhereAllIsFullNobodyIs) {
  const auto mesh = settled();
  mesh->lose(2);
  const auto done = must(redistribute(*mesh->loop, 0, from_ns(mesh->now_ns)));
  EXPECT_EQ(done.moved, 0U);
  EXPECT_EQ(done.stayed, 29U) << "29 of 30 are healthy, and every other cluster is full";
}

TEST(EngineLoopIncident, NobodyIsMovedWhileACascadeCountsThemByTheirPlaces) {
  const auto mesh = settled();
  mesh->open();
  EXPECT_EQ(redistribute(*mesh->loop, 4, from_ns(mesh->now_ns)).error().code, Errc::busy);
  static_cast<void>(mesh->carry_on());
  EXPECT_TRUE(redistribute(*mesh->loop, 4, from_ns(mesh->now_ns)).has_value());
}

// What happened outlives the engine.

TEST(EventRing, KeepsTheNewestInTheirOrderAndGoesOnAfterADeath) {
  const MeshSize size{.agents = 300, .stations = 2};
  const shm::Layout layout = must(table_layout(size));
  testing::Memory table(layout.total_bytes());
  const auto seen = [&] { return must(EventRingView::over(layout, table.span())).read({}); };
  EXPECT_THAT(seen(), IsEmpty());
  EventRing ring = must(EventRing::over(layout, table.span()));
  for (std::uint32_t i = 1; i <= kEventSlots + 3; ++i)
    ring.note({.at = from_ns(i), .kind = EventKind::active, .place = i, .before = 1, .after = i});
  ASSERT_EQ(seen().size(), kEventSlots);
  EXPECT_EQ(seen().front().number, 4U);
  EXPECT_EQ(seen().back().after, kEventSlots + 3);
  EventRing successor = must(EventRing::over(layout, table.span()));
  const Event event{.number = kEventSlots + 4,
                    .at = from_ns(kEventSlots + 9),
                    .kind = EventKind::coordinator,
                    .place = 7,
                    .agent = AgentId{3},
                    .other = AgentId{4}};
  successor.note(event);
  EXPECT_EQ(seen().back(), event);
  EXPECT_EQ(must(EventRingView::over(layout, table.span())).read(event.at).size(), 1U);
}

TEST(EngineLoopIncident, TheTimelineGoesOnOverARestart) {
  const auto mesh = settled();
  mesh->lose(1);
  mesh->run(1'500 * kMs, 10 * kMs);
  mesh->restart();
  EXPECT_THAT(timeline(*mesh), Contains(HasSubstr("in the place of first-0")));
  EXPECT_THAT(causes(*mesh), ElementsAre("coordinator")) << "the next engine knows of it";
}

// KPIs of cascades (mesh.md part 14).

TEST(EngineLoopIncident, AnswersToCascadesAreCountedOnceEach) {
  const auto mesh = settled();
  mesh->does[mesh->leader(AgentRole::lead, 4)] = Does::conflict;
  mesh->does[mesh->ids[3][500]] = Does::silent;
  const LoopCounters before = mesh->loop->counters();
  mesh->open();
  const auto finished = mesh->carry_on();
  ASSERT_TRUE(finished.has_value());
  const LoopCounters& after = mesh->loop->counters();
  EXPECT_EQ(after.ready - before.ready, finished->agents.ready);
  EXPECT_EQ(after.conflicts - before.conflicts, finished->agents.conflict);
  EXPECT_EQ(finished->agents.conflict, 1U);
  EXPECT_EQ(after.cascades_ended - before.cascades_ended, 1U);
  EXPECT_EQ(after.cascades_quorum - before.cascades_quorum,
            finished->status == CascadeStatus::success ? 1U : 0U);
  EXPECT_EQ(after.operations_ended, before.operations_ended) << "its parts are none";
}

}  // namespace of_engine_loop_incident_test
}  // namespace mesh::engine
