// A lead's own quorum of its cluster, on virtual time.
#include <random>

#include <rapidcheck.h>

#include "engine/cluster_quorum.hpp"
#include "tests/engine/loop/cascade_mesh.hpp"

namespace mesh::engine {
namespace of_engine_loop_quorum_test {

using sched::QuorumDecision;

#if defined(MESH_FAULTS)
constexpr bool kFaults = true;
#else
constexpr bool kFaults = false;
#endif

Result<OperationId> open_quorum(Sectors& mesh, const QuorumRequest& request) {
  return mesh.loop->open_cascade(cascade_of(request), from_ns(mesh.now_ns));
}
Errc refusal(Sectors& mesh, const QuorumRequest& request) {
  const auto opened = open_quorum(mesh, request);
  return opened ? Errc::ok : opened.error().code;
}
QuorumReport ask(Sectors& mesh, std::uint32_t cluster = 0) {
  must(open_quorum(mesh, {.cluster = cluster, .question = "well?"}));
  const auto finished = mesh.carry_on();
  EXPECT_TRUE(finished);
  return finished ? quorum_report(*mesh.loop, *finished) : QuorumReport{};
}
// The agents of cluster 0 but for its lead.
std::vector<AgentId> below(const Sectors& mesh) {
  std::vector<AgentId> agents;
  for (const auto& [station, ids] : mesh.ids)
    for (const AgentId id : ids)
      if (mesh.cluster(id) == 0 && mesh.role(id) != AgentRole::lead) agents.push_back(id);
  return agents;
}
void let(Sectors& mesh, std::size_t count, Does what) {
  const std::vector<AgentId> agents = below(mesh);
  for (std::size_t at = 0; at < agents.size(); ++at)
    mesh.does[agents[at]] = at < count ? what : Does::ready;
}

TEST(EngineLoopQuorum, RefusesAClusterThatIsNotOneOfNobodyAndWindowsThatCannotBe) {
  Sectors mesh;
  EXPECT_EQ(refusal(mesh, {}), Errc::no_such_agent);
  mesh.add(1, 5, "a");
  EXPECT_EQ(refusal(mesh, {.cluster = 20}), Errc::invalid_argument);
  EXPECT_THAT(open_quorum(mesh, {.cluster = 20}).error().sentence,
              ::testing::HasSubstr("cluster 20: the mesh has 20"));
  EXPECT_EQ(refusal(mesh, {.cluster = 7}), Errc::no_such_agent);
  EXPECT_EQ(refusal(mesh, {.lead_window = Nanos{0}}), Errc::invalid_argument);
  EXPECT_EQ(refusal(mesh, {.window = Nanos{3'600 * kNsPerSecond}}), Errc::invalid_argument);
  mesh.lose(1);
  EXPECT_EQ(refusal(mesh, {}), Errc::no_schedulable_agents) << "nobody can lead";
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopQuorum, TheLeadIsAskedFirstThenAsksItsClusterInItsNameAndIsToldWhatCameOfIt) {
  const auto mesh = Sectors::full();
  const AgentId lead = mesh->ids[2][0];
  const QuorumReport report = ask(*mesh);
  EXPECT_EQ(report.lead, "second-0");
  EXPECT_EQ(report.lead_step, CascadeStep::reached);
  EXPECT_TRUE(report.is_success);
  EXPECT_EQ(report.agents, (CascadeCounts{30, 30, 30, 0}));
  EXPECT_EQ(report.verdict.decision, QuorumDecision::kProceed);
  EXPECT_EQ(report.verdict.confidence, 1.0);
  EXPECT_TRUE(report.not_ready.empty());
  EXPECT_EQ(mesh->order.front(), lead);
  ASSERT_EQ(mesh->got.size(), 30U);
  for (const auto& [agent, operations] : mesh->got) EXPECT_EQ(mesh->cluster(agent), 0U);
  EXPECT_EQ(mesh->results, (std::map<AgentId, int>{{lead, 1}}));
  EXPECT_EQ(mesh->loop->counters().cascades, 0U) << "it is no cascade to who counts those";
  EXPECT_EQ(mesh->loop->counters().operations_ended, 1U);
  EXPECT_EQ(mesh->loop->counters().operations_quorum, 1U);
}

TEST(EngineLoopQuorum, WhereTheLeadIsNotReadyNobodyBelowItIsAsked) {
  for (const auto& [does, step, decision] :
       std::vector<std::tuple<Does, CascadeStep, QuorumDecision>>{
           {Does::conflict, CascadeStep::conflict, QuorumDecision::kResolveConflicts},
           {Does::silent, CascadeStep::silent, QuorumDecision::kWait},
           {Does::refuses, CascadeStep::silent, QuorumDecision::kWait}}) {
    const auto mesh = Sectors::full();
    mesh->does[mesh->ids[2][0]] = does;
    const QuorumReport report = ask(*mesh);
    EXPECT_EQ(report.lead_step, step);
    EXPECT_EQ(report.verdict.decision, decision);
    EXPECT_FALSE(report.is_success);
    EXPECT_EQ(report.agents.sent, 1U);
    EXPECT_EQ(mesh->got.size(), 1U);
  }
}

// mesh.md part 8, over a cluster of 30.
TEST(EngineLoopQuorum, IsJudgedByTheThresholdsOfTheSpecification) {
  const auto mesh = Sectors::full();
  const auto decide = [&](std::size_t count, Does what) {
    let(*mesh, count, what);
    const QuorumReport report = ask(*mesh);
    EXPECT_EQ(report.not_ready.size(), count);
    return report.verdict;
  };
  const auto one = decide(1, Does::conflict);
  EXPECT_EQ(one.decision, QuorumDecision::kProceed);
  EXPECT_NEAR(one.confidence, 29.0 / 30 - 0.5 / 30, 1e-9);
  EXPECT_EQ(decide(2, Does::conflict).decision, QuorumDecision::kResolveConflicts);
  EXPECT_EQ(decide(1, Does::silent).decision, QuorumDecision::kProceed);
  EXPECT_EQ(decide(2, Does::silent).decision, QuorumDecision::kRetry);
  EXPECT_EQ(decide(4, Does::silent).decision, QuorumDecision::kWait);
  EXPECT_EQ(decide(2, Does::refuses).decision, QuorumDecision::kRetry);
}

TEST(EngineLoopQuorum, SaysWhoWasNotReady) {
  const auto mesh = Sectors::full();
  const AgentId other = below(*mesh).front();
  mesh->does[other] = Does::conflict;
  const QuorumReport report = ask(*mesh);
  ASSERT_EQ(report.not_ready.size(), 1U);
  EXPECT_EQ(report.not_ready[0].name, must(mesh->loop->known(other)).name);
  EXPECT_EQ(report.not_ready[0].state, TrinaryState::conflict);
}

TEST(EngineLoopQuorum, OfAFewThatCouldBeAskedItIsNoSuccess) {
  for (const std::size_t held : {15U, 16U}) {
    const auto mesh = Sectors::full();
    const std::vector<AgentId> agents = below(*mesh);
    for (std::size_t at = 0; at < held; ++at) must(mesh->loop->route_around(agents[at], true));
    const QuorumReport report = ask(*mesh);
    EXPECT_EQ(report.agents.targeted, 30U);
    EXPECT_EQ(report.agents.ready, 30 - held);
    EXPECT_EQ(report.verdict.decision, QuorumDecision::kProceed) << "of those that were asked";
    EXPECT_EQ(report.is_success, held == 15) << "half of the cluster";
  }
}

TEST(EngineLoopQuorum, ALeadThatDiesWhileItIsAskedIsReplacedByTheNextBest) {
  const auto mesh = Sectors::full();
  const AgentId lead = mesh->ids[2][0];
  mesh->does[lead] = Does::silent;
  must(open_quorum(*mesh, {.question = "well?"}));
  while (!mesh->got.contains(lead)) mesh->turn();
  mesh->lose(2);
  const auto finished = mesh->carry_on();
  ASSERT_TRUE(finished);
  const QuorumReport report = quorum_report(*mesh->loop, *finished);
  EXPECT_EQ(report.promoted, 1U);
  EXPECT_NE(report.lead, "second-0");
  EXPECT_EQ(report.agents.ready, 29U);
  EXPECT_TRUE(report.is_success);
  EXPECT_LT(report.took, Nanos{500 * kNsPerMs}) << "its window is not waited for";
  EXPECT_TRUE(mesh->loop->verify());
}

// A sector's coordinator leads no cluster: with nobody beside it there is none to ask.
TEST(EngineLoopQuorum, AClusterOfItsSectorsCoordinatorAloneHasNoLead) {
  Sectors mesh;
  mesh.add(1, 1, "alone");
  mesh.bind();
  ASSERT_EQ(mesh.role(mesh.ids[1][0]), AgentRole::coordinator);
  EXPECT_EQ(refusal(mesh, {.question = "well?"}), Errc::no_schedulable_agents);
}

TEST(EngineLoopQuorum, ASuccessorGoesOnFromEveryTickAndAsksNobodyTwice) {
  for (int at = 0; at < 8; ++at) {
    const auto mesh = Sectors::full();
    must(open_quorum(*mesh, {.question = "well?"}));
    std::optional<FinishedCascade> finished;
    for (int i = 0; i < at && !finished; ++i) {
      mesh->turn();
      finished = mesh->loop->take_finished_cascade();
    }
    if (!finished) {
      mesh->restart();
      finished = mesh->carry_on();
    }
    ASSERT_TRUE(finished) << "after tick " << at;
    EXPECT_EQ(finished->strategy, CascadeStrategy::quorum);
    EXPECT_EQ(finished->agents, (CascadeCounts{30, 30, 30, 0})) << "after tick " << at;
    EXPECT_EQ(finished->status, CascadeStatus::success);
    for (const auto& [agent, operations] : mesh->got) ASSERT_EQ(operations.size(), 1U);
    ASSERT_TRUE(mesh->loop->verify());
  }
}

TEST(EngineLoopQuorum, KilledAtEachPointItGoesOnAndNobodyIsAskedTwice) {
  if (!kFaults) GTEST_SKIP() << "built without MESH_FAULTS: ./dev asan has it";
  for (const char* const point : {"cascade.open:after_publish", "cascade.ask:before_units",
                                  "cascade.below:before_unit", "cascade.end:before_state"}) {
    const auto mesh = Sectors::full();
    ASSERT_TRUE(mesh->is_killed_at(point, 1, cascade_of({.question = "well?"}))) << point;
    const auto finished = mesh->carry_on(30'000 * kMs);
    ASSERT_TRUE(finished) << point;
    EXPECT_EQ(finished->agents, (CascadeCounts{30, 30, 30, 0})) << point;
    ASSERT_FALSE(HasFailure()) << point;
    ASSERT_TRUE(mesh->loop->verify()) << point;
  }
}

// Whatever they do: what is said agrees with what was done, and is judged as it is.
TEST(EngineLoopQuorum, CountsWhatWasDoneAndJudgesByIt) {
  EXPECT_TRUE(rc::check([] {
    const auto mesh = Sectors::full();  // anew: who is silent thrice is a failure of its cluster
    sched::QuorumCounts expected{.ready = 1};
    for (const AgentId id : below(*mesh)) {
      const auto does =
          static_cast<Does>(*rc::gen::weightedElement<int>({{20, 0}, {1, 1}, {1, 2}, {1, 3}}));
      mesh->does[id] = does;
      expected.ready += does == Does::ready ? 1U : 0U;
      expected.conflict += does == Does::conflict ? 1U : 0U;
      expected.transit += does == Does::silent || does == Does::refuses ? 1U : 0U;
    }
    const QuorumReport report = ask(*mesh);
    RC_ASSERT(quorum_of(report.agents) == expected);
    RC_ASSERT(report.verdict.decision == sched::judge(expected, {}));
    RC_ASSERT(report.not_ready.size() == std::size_t{expected.conflict} + expected.transit);
    RC_ASSERT(mesh->loop->verify().has_value());
  }));
}

}  // namespace of_engine_loop_quorum_test
}  // namespace mesh::engine
