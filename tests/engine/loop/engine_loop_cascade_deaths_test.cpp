// Cascades, and who dies meanwhile: leaders, everybody, the engine.
#include <random>

#include "tests/allocations.hpp"
#include "tests/engine/loop/cascade_mesh.hpp"
#include "tests/seed.hpp"

namespace mesh::engine {
namespace of_engine_loop_cascade_deaths_test {

#if defined(MESH_FAULTS)
constexpr bool kHasPoints = true;
#else
constexpr bool kHasPoints = false;
#endif

// Deaths.

TEST(EngineLoopCascade, OfDeadLeadersTheNextBestIsAskedAndEverybodyWhoLivesIsReached) {
  Sectors mesh(300);
  mesh.add(1, 1, "coordinator");
  mesh.add(2, 1, "lead");
  mesh.add(3, 298, "agent");
  mesh.bind();
  mesh.lose(1);
  mesh.lose(2);
  mesh.open();
  const auto finished = mesh.carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->status, CascadeStatus::success);
  EXPECT_EQ(finished->clusters_reached, 10U);
  EXPECT_EQ(finished->agents.ready, 298U);
}

TEST(EngineLoopCascade, ALeadThatDiesWhileItIsAskedIsReplacedAndItsClusterReached) {
  const auto mesh = Sectors::full();
  mesh->does[mesh->ids[2][0]] = Does::silent;
  mesh->open();
  while (!mesh->got.contains(mesh->ids[2][0])) mesh->turn();
  mesh->lose(2);
  const auto finished = mesh->carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->promoted, 1U);
  EXPECT_EQ(finished->clusters_reached, 20U);
  EXPECT_EQ(finished->agents.ready, 599U);
  EXPECT_LT(finished->total_ns, 500 * kMs) << "its window is not waited for";
  EXPECT_TRUE(mesh->loop->verify());
}

TEST(EngineLoopCascade, ACoordinatorThatDiesWhileItIsAskedIsReplaced) {
  const auto mesh = Sectors::full();
  mesh->does[mesh->ids[1][0]] = Does::silent;
  mesh->open();
  while (!mesh->got.contains(mesh->ids[1][0])) mesh->turn();
  mesh->lose(1);
  const auto finished = mesh->carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->promoted, 1U);
  EXPECT_EQ(finished->status, CascadeStatus::success);
  EXPECT_EQ(finished->agents.ready, 599U);
}

TEST(EngineLoopCascade, WhenEverybodyDiesItIsOverAllTheSame) {
  const auto mesh = Sectors::full();
  mesh->otherwise = Does::silent;
  mesh->open();
  mesh->turn();
  for (std::uint16_t station = 1; station <= 3; ++station) mesh->lose(station);
  const auto finished = mesh->carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->status, CascadeStatus::failed_at_sector);
  EXPECT_TRUE(mesh->loop->verify());
}

// The engine.

TEST(EngineLoopCascade, ATickOfACascadeAllocatesNothing) {
  const auto mesh = Sectors::full();
  mesh->open();
  for (std::optional<FinishedCascade> finished; !finished;) {
    mesh->now_ns += kMs;
    const std::uint64_t before = testing::allocation_count();
    mesh->loop->tick(from_ns(mesh->now_ns));
    ASSERT_EQ(testing::allocation_count(), before);
    for (auto& station : mesh->stations)
      for (const auto& delivery : station->poll()) mesh->take(*station, delivery);
    finished = mesh->loop->take_finished_cascade();
  }
}

TEST(EngineLoopCascade, ASuccessorGoesOnFromEveryTickAndSendsToNobodyTwice) {
  for (const CascadeStrategy strategy :
       {CascadeStrategy::wave, CascadeStrategy::parallel, CascadeStrategy::priority_first}) {
    for (int at = 0; at < 12; ++at) {
      const auto mesh = Sectors::full();
      mesh->open({.strategy = strategy, .body = bytes("on and on")});
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
      EXPECT_EQ(finished->agents, (CascadeCounts{600, 600, 600, 0})) << "after tick " << at;
      EXPECT_EQ(finished->status, CascadeStatus::success);
      for (const auto& [agent, operations] : mesh->got)
        ASSERT_EQ(operations.size(), 1U) << name_of(strategy) << " after tick " << at << ", role "
                                         << static_cast<int>(mesh->role(agent));
      ASSERT_TRUE(mesh->loop->verify());
    }
  }
}

TEST(EngineLoopCascade, KilledAtEachPointItGoesOnAndNobodyIsSentItTwice) {
  if (!kHasPoints) GTEST_SKIP() << "built without MESH_FAULTS: ./dev asan has it";
  constexpr const char* kPoints[] = {"cascade.publish:before_state", "cascade.open:after_publish",
                                     "cascade.ask:before_units", "cascade.below:before_unit",
                                     "cascade.end:before_state"};
  for (const char* const point : kPoints)
    for (const unsigned at_count : {1U, 2U, 9U}) {
      const auto mesh = Sectors::full();
      const std::string where = std::string(point) + ", time " + std::to_string(at_count);
      const bool is_killed = mesh->is_killed_at(point, at_count, {.body = bytes("on")});
      EXPECT_TRUE(is_killed || at_count != 1) << where << " was never reached";
      if (!is_killed) continue;
      const auto finished = mesh->carry_on(30'000 * kMs);
      // Before it was published there was none.
      const bool is_none = std::string_view(point) == kPoints[0];
      ASSERT_EQ(finished.has_value(), !is_none) << where;
      if (finished) {
        EXPECT_EQ(finished->agents, (CascadeCounts{600, 600, 600, 0})) << where;
      }
      ASSERT_FALSE(HasFailure()) << where;
      ASSERT_TRUE(mesh->loop->verify()) << where;
    }
}

// Whatever leaders and agents do, whoever dies and returns, and however often the engine does:
// every cascade has an end, its counts agree with what was seen, and nobody is sent it twice.
TEST(EngineLoopCascade, AlwaysEndsAndItsCountsAddUpUnderRandomFaults) {
  const std::uint64_t seed = testing::seed();
  std::mt19937_64 random(seed);
  for (int round = 0; round < 25; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", round " + std::to_string(round));
    const auto mesh = Sectors::full();
    const auto rare = static_cast<std::uint32_t>(random() % 30);
    for (const auto& [station, agents] : mesh->ids)
      for (const AgentId id : agents)
        if (random() % 100 < rare) mesh->does[id] = static_cast<Does>(random() % 4);
    mesh->open({.strategy = static_cast<CascadeStrategy>(1 + random() % 3),
                .sector_ready_min = random() % 2 == 0 ? 0.98 : 0.5});
    std::optional<FinishedCascade> finished;
    bool has_lost = false;
    for (int i = 0; i < 30'000 && !finished; ++i) {
      mesh->turn();
      finished = mesh->loop->take_finished_cascade();
      if (finished) break;
      const std::uint64_t what = random() % 200;
      if (what == 0) mesh->restart();
      if (what == 1 && !has_lost) {
        has_lost = true;
        mesh->lose(static_cast<std::uint16_t>(1 + random() % 2));
      }
    }
    ASSERT_TRUE(finished);
    EXPECT_LE(finished->agents.ready + finished->agents.conflict, finished->agents.sent);
    EXPECT_LE(finished->agents.sent, finished->agents.targeted);
    if (!has_lost) {
      EXPECT_EQ(finished->agents.sent, mesh->got.size());
    }
    for (const auto& [agent, operations] : mesh->got) ASSERT_EQ(operations.size(), 1U);
    ASSERT_TRUE(mesh->loop->verify());
  }
}

}  // namespace of_engine_loop_cascade_deaths_test
}  // namespace mesh::engine
