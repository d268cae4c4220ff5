// What is wrong with a sector, from facts alone.
#include "engine/console/incident.hpp"

namespace mesh::console {
namespace of_incident_test {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Ten clusters of thirty; who leads is "boss".
IncidentFacts well() {
  IncidentFacts facts{.sector = 7, .mode = "FULL", .window_ms = 600'000};
  for (std::uint32_t cluster = 70; cluster < 80; ++cluster)
    facts.clusters.push_back({.cluster = cluster, .agents = 30, .active = 30, .lead = "lead"});
  facts.coordinator = IncidentAgent{.name = "boss", .cluster = 70, .is_active = true};
  return facts;
}
std::vector<std::string_view> causes(const IncidentFacts& facts) {
  std::vector<std::string_view> names;
  for (const IncidentFinding& one : diagnose(facts)) names.push_back(name_of(one.cause));
  return names;
}
IncidentAgent agent(const std::string& name, std::uint32_t cluster) {
  return {.name = name, .cluster = cluster, .is_active = true};
}
// So many of a cluster's agents are missed.
void miss(IncidentFacts& facts, std::size_t cluster, std::uint32_t count) {
  IncidentCluster& of = facts.clusters[cluster];
  of.active -= count;
  of.missed += count;
  for (std::uint32_t i = 0; i < count; ++i) {
    IncidentAgent one =
        agent("w-" + std::to_string(of.cluster) + "-" + std::to_string(i), of.cluster);
    one.is_active = false;
    one.is_missed = true;
    facts.ailing.push_back(one);
  }
}

TEST(Incident, OfASectorThatIsWellNothingIsFound) {
  EXPECT_THAT(diagnose(well()), IsEmpty());
  EXPECT_THAT(diagnose({.sector = 3}), IsEmpty()) << "nobody was ever there";
}

TEST(Incident, ACoordinatorThatCrashedIsFoundThoughItsBackupLeads) {
  IncidentFacts facts = well();
  miss(facts, 0, 1);
  facts.led_before = facts.ailing[0];
  facts.led_until_age_ms = 2'500;
  const auto findings = diagnose(facts);
  ASSERT_EQ(findings.size(), 1U) << "and it is not told again as an agent that is missed";
  EXPECT_EQ(findings[0].cause, IncidentCause::coordinator);
  EXPECT_EQ(findings[0].says, "the coordinator of sector 7, w-70-0, failed");
  EXPECT_THAT(findings[0].evidence,
              ElementsAre("w-70-0 led until 2500 ms ago: its process went, and it is not back",
                          "the engine has activated its backup: boss leads now, it is attached"));
  EXPECT_TRUE(findings[0].remedy.heals);
  EXPECT_THAT(findings[0].proposes, ElementsAre("mesh heal sector 7"));
}

TEST(Incident, ACoordinatorThatDoesNotAnswerIsRoutedAround) {
  IncidentFacts facts = well();
  facts.coordinator->is_silent = true;
  facts.coordinator->queue_depth = 3;
  const auto findings = diagnose(facts);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].cause, IncidentCause::coordinator);
  EXPECT_THAT(findings[0].evidence[0], HasSubstr("3 messages delivered and not answered"));
  EXPECT_THAT(findings[0].remedy.routes_around, ElementsAre("boss"));
}

TEST(Incident, ASectorThatNobodyLeadsIsItsCoordinators) {
  IncidentFacts facts = well();
  facts.coordinator.reset();
  EXPECT_THAT(causes(facts), ElementsAre("coordinator"));
  EXPECT_THAT(diagnose(facts)[0].proposes, ElementsAre("mesh heal sector 7"));
}

TEST(Incident, ASectorWhoseAgentsTheOperatorHoldsIsLedByNobodyAndNotHealed) {
  IncidentFacts facts = well();
  facts.coordinator.reset();
  for (IncidentCluster& cluster : facts.clusters) cluster.held = 30;
  const auto findings = diagnose(facts);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].cause, IncidentCause::coordinator);
  EXPECT_EQ(findings[0].says, "nobody leads sector 7: the operator holds all that are active");
  EXPECT_THAT(findings[0].evidence,
              ElementsAre("300 of 300 agents active", "300 agents routed around or frozen"));
  EXPECT_FALSE(findings[0].remedy.heals);
  EXPECT_THAT(findings[0].proposes,
              ElementsAre("mesh thaw sector 7", "mesh route-around AGENT... --undo"));
  facts.clusters[0].held = 29;  // one could lead, and does not
  EXPECT_TRUE(diagnose(facts)[0].remedy.heals);
}

TEST(Incident, FailedClustersComeFirstAndNameTheirEvidence) {
  IncidentFacts facts = well();
  miss(facts, 1, 16);
  miss(facts, 4, 1);
  facts.clusters[3].breaker = "open";
  const auto findings = diagnose(facts);
  ASSERT_EQ(findings.size(), 2U);
  EXPECT_EQ(findings[0].cause, IncidentCause::clusters);
  EXPECT_EQ(findings[0].says, "2 of 10 clusters of sector 7 failed");
  EXPECT_THAT(findings[0].remedy.isolates, ElementsAre(71, 73));
  EXPECT_THAT(findings[0].evidence[0], HasSubstr("cluster 71: 14 of 30 agents active, 16 missed"));
  EXPECT_THAT(findings[0].evidence[1], HasSubstr("breaker open"));
  EXPECT_EQ(findings[1].cause, IncidentCause::agents) << "one of a cluster is not its failure";
  EXPECT_THAT(findings[1].evidence, ElementsAre("1 agent missed: w-74-0"));
}

TEST(Incident, HalfOfAClusterIsStillACluster) {
  IncidentFacts facts = well();
  miss(facts, 0, 15);
  EXPECT_THAT(causes(facts), ElementsAre("agents"));
  miss(facts, 0, 1);
  EXPECT_THAT(causes(facts), ElementsAre("clusters"));
}

TEST(Incident, WhoHasLeftIsMissedByNobody) {
  IncidentFacts facts = well();
  facts.clusters[2].active = 0;
  EXPECT_THAT(causes(facts), IsEmpty());
}

TEST(Incident, ProcessesThatReadNothingInSeveralClustersAreTheNetworks) {
  IncidentFacts facts = well();
  for (const std::size_t cluster : {2U, 5U}) {
    facts.clusters[cluster].unheard = 3;
    for (int i = 0; i < 3; ++i) {
      IncidentAgent one = agent("u-" + std::to_string(cluster) + std::to_string(i),
                                facts.clusters[cluster].cluster);
      one.is_unheard = true;
      facts.ailing.push_back(one);
    }
  }
  const auto findings = diagnose(facts);
  ASSERT_EQ(findings.size(), 1U) << "not told again agent by agent";
  EXPECT_EQ(findings[0].cause, IncidentCause::network);
  EXPECT_THAT(findings[0].says, HasSubstr("6 agents in 2 clusters of sector 7"));
  EXPECT_THAT(findings[0].remedy.routes_around, IsEmpty());
  // Of one cluster alone they are its agents.
  facts.clusters[5].unheard = 0;
  facts.ailing.resize(3);
  EXPECT_THAT(causes(facts), ElementsAre("agents"));
}

TEST(Incident, SlowAgentsAreNamedAndCouldBeRoutedAround) {
  IncidentFacts facts = well();
  for (int i = 0; i < 10; ++i) {
    facts.ailing.push_back(agent("s-" + std::to_string(i), 73));
    facts.ailing.back().is_slow = true;
    facts.ailing.back().score = 990;
    ++facts.clusters[3].slow;
  }
  facts.ailing.back().is_held = true;
  const auto findings = diagnose(facts);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].cause, IncidentCause::agents);
  EXPECT_THAT(findings[0].evidence,
              ElementsAre("10 agents slow: s-0, s-1, s-2, s-3, s-4, s-5, s-6, s-7 and 2 more"));
  EXPECT_EQ(findings[0].remedy.routes_around.size(), 9U) << "who is held already is the operator's";
}

TEST(Incident, ConflictsAreFoundAboveWhatAQuorumBears) {
  IncidentFacts facts = well();
  for (int i = 0; i < 15; ++i) {
    facts.ailing.push_back(agent("c-" + std::to_string(i), 70));
    facts.ailing.back().conflicts = 2;
    ++facts.clusters[0].in_conflict;
  }
  EXPECT_THAT(causes(facts), IsEmpty()) << "15 of 300 are 5 %";
  ++facts.clusters[0].in_conflict;
  const auto findings = diagnose(facts);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].cause, IncidentCause::conflicts);
  EXPECT_THAT(findings[0].says, HasSubstr("16 of 300 active agents"));
  EXPECT_THAT(findings[0].evidence, Contains("c-0: 2 conflicts"));
}

TEST(Incident, AnEngineThatWasLateItselfSaysSoFirst) {
  IncidentFacts facts = well();
  miss(facts, 1, 30);
  facts.is_engine_late = true;
  EXPECT_THAT(causes(facts), ElementsAre("engine", "clusters"));
}

// Whatever the facts: each cause once, each finding with its evidence, only clusters that failed
// are isolated, and nobody is routed around who is not named as ailing or leading.
TEST(Incident, ConcludesNothingWithoutEvidence) {
  EXPECT_TRUE(rc::check([](const std::vector<std::uint8_t>& dice) {
    IncidentFacts facts = well();
    for (std::size_t i = 0; i < dice.size(); ++i) {
      IncidentCluster& cluster = facts.clusters[i % facts.clusters.size()];
      IncidentAgent one = agent("a-" + std::to_string(i), cluster.cluster);
      one.is_missed = dice[i] % 7 == 0 && cluster.active > 0;
      one.is_slow = dice[i] % 5 == 0;
      one.is_silent = dice[i] % 11 == 0;
      one.is_unheard = dice[i] % 13 == 0;
      one.conflicts = dice[i] % 3;
      one.is_active = !one.is_missed;
      cluster.active -= one.is_missed ? 1U : 0U;
      cluster.missed += one.is_missed ? 1U : 0U;
      cluster.unheard += one.is_unheard ? 1U : 0U;
      cluster.in_conflict += one.conflicts != 0 ? 1U : 0U;
      facts.ailing.push_back(one);
    }
    std::set<IncidentCause> seen;
    for (const IncidentFinding& finding : diagnose(facts)) {
      RC_ASSERT(seen.insert(finding.cause).second);
      RC_ASSERT(!finding.says.empty());
      RC_ASSERT(!finding.evidence.empty());
      RC_ASSERT(!finding.proposes.empty());
      for (const std::uint32_t cluster : finding.remedy.isolates)
        RC_ASSERT(facts.clusters[cluster - 70].has_failed());
      for (const std::string& name : finding.remedy.routes_around)
        RC_ASSERT(std::any_of(facts.ailing.begin(), facts.ailing.end(), [&](const auto& one) {
          return one.name == name && one.is_ailing() && one.is_active;
        }));
    }
  }));
}

}  // namespace of_incident_test
}  // namespace mesh::console
