// The mesh's own breakers in a running loop, on virtual time: mesh.md part 12.
#include "engine/health/mesh_breakers.hpp"

#include "tests/engine/health/breakers_fixture.hpp"

namespace mesh::engine::health {
namespace of_mesh_breakers_test {

using coordination::BreakerState;
using testing::BreakerMesh;
using testing::kMs;
using testing::kOfCluster;
using testing::must;
using With = BreakerMesh::With;

TEST(MeshBreakers, OpensAClusterAtItsSixthFailureAndLeavesTheOthersAlone) {
  BreakerMesh mesh(2);
  mesh.fail(1, 5);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::closed);
  EXPECT_TRUE(mesh.is_routable(1));
  EXPECT_EQ(mesh.loop->counters().breaker_failures, 5U);
  mesh.fail(1, 1);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::open);
  EXPECT_FALSE(mesh.is_routable(1));
  EXPECT_EQ(mesh.post(1), Errc::open);
  EXPECT_EQ(mesh.loop->counters().breaker_refused, 1U);
  EXPECT_EQ(mesh.loop->counters().breakers_opened, 1U);
  EXPECT_EQ(mesh.state(mesh.sector_place(1)), BreakerState::closed);
  EXPECT_TRUE(mesh.is_routable(2));
  EXPECT_EQ(mesh.post(2), Errc::ok);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(MeshBreakers, FailuresLeaveTheWindow) {
  BreakerMesh mesh(1);
  mesh.fail(1, 5);
  mesh.run(700 * kMs, kMs);
  mesh.fail(1, 5);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::closed);
  EXPECT_EQ(mesh.loop->counters().breaker_failures, 10U);
}

TEST(MeshBreakers, AStationsMessageToAnOpenClusterIsReportedAsOpen) {
  BreakerMesh mesh(2);
  mesh.fail(1, 6);
  mesh.station(2).send_bare(mesh.agent(2, 0), mesh.agent(1, 0), {}, mesh.now_ns);
  mesh.run(3 * kMs, kMs);
  const auto got = mesh.station(2).poll();
  ASSERT_EQ(got.size(), 1U);
  ASSERT_EQ(got[0].kind, sched::RecordKind::report);
  const sched::BareBody body = sched::bare_body(got[0]);
  sched::ReportBody report{};
  std::memcpy(&report, body.bytes, sizeof report);
  EXPECT_EQ(report.code, static_cast<std::int64_t>(Errc::open));
}

TEST(MeshBreakers, AConflictIsNoFailure) {
  BreakerMesh mesh(1);
  for (std::size_t at = 0; at < 20; ++at) EXPECT_EQ(mesh.post(1, at), Errc::ok);
  mesh.tick(kMs);
  EXPECT_EQ(mesh.answer(1, With::conflict), 20U);
  mesh.settle();
  EXPECT_EQ(mesh.loop->counters().breaker_failures, 0U);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::closed);
}

TEST(MeshBreakers, TheThirdUnansweredInARowIsAFailureOneStragglerIsNot) {
  BreakerMesh mesh(1);
  const auto silent_operation = [&](With with) {
    ASSERT_EQ(mesh.scatter(), Errc::ok);
    mesh.run(3 * kMs, kMs);
    ASSERT_EQ(mesh.answer(1, with), kOfCluster);
    mesh.run(20 * kMs, kMs);
  };
  silent_operation(With::silence);
  silent_operation(With::silence);
  silent_operation(With::ready);  // the row is broken
  silent_operation(With::silence);
  silent_operation(With::silence);
  EXPECT_EQ(mesh.loop->counters().breaker_failures, 0U);
  silent_operation(With::silence);
  EXPECT_EQ(mesh.loop->counters().breaker_failures, kOfCluster);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::open);
}

TEST(MeshBreakers, OneAgentThatIsSilentDoesNotOpenItsCluster) {
  BreakerMesh mesh(1);
  for (int i = 0; i < 30; ++i) {
    ASSERT_EQ(mesh.scatter(), Errc::ok);
    mesh.run(2 * kMs, kMs);
    for (const auto& delivery : mesh.station(1).poll())
      if (delivery.target != mesh.agent(1, 7))
        mesh.station(1).answer(delivery, sched::TrinaryState::ready, mesh.now_ns);
    mesh.run(8 * kMs, kMs);
  }
  mesh.settle();
  EXPECT_EQ(mesh.loop->counters().breaker_failures, 1U) << "its third in a row";
  EXPECT_TRUE(mesh.is_routable(1));
}

TEST(MeshBreakers, AnAnsweredDirectMessageAndALateAnswerBreakTheRow) {
  BreakerMesh mesh(1);
  const auto silence = [&] {
    must(mesh.loop->open({.timeout = Nanos{5 * kMs}, .at_once = true}, from_ns(mesh.now_ns)));
    mesh.run(20 * kMs, kMs);
  };
  silence();
  silence();
  EXPECT_EQ(mesh.answer(1, With::ready), 2U * kOfCluster);  // late, both times
  mesh.run(5 * kMs, kMs);
  silence();
  silence();
  mesh.answer(1, With::silence);
  for (std::size_t at = 0; at < kOfCluster; ++at) {
    if (at % 2 == 0)
      EXPECT_EQ(mesh.post(1, at), Errc::ok);
    else  // bare, the short way
      EXPECT_TRUE(mesh.station(1).send_bare(mesh.agent(1, 0), mesh.agent(1, at), {}, mesh.now_ns));
  }
  mesh.tick(kMs);
  EXPECT_EQ(mesh.answer(1, With::ready), kOfCluster);
  mesh.run(5 * kMs, kMs);
  silence();
  EXPECT_EQ(mesh.loop->counters().breaker_failures, 0U);
}

TEST(MeshBreakers, ALeaveIsNoFailure) {
  BreakerMesh mesh(1);
  for (int time = 0; time < 10; ++time) {
    mesh.lose(1, Departure::left);
    mesh.settle();
    mesh.come(1);
    mesh.settle();
  }
  EXPECT_EQ(mesh.loop->counters().breaker_failures, 0U);
  EXPECT_EQ(mesh.loop->counters().crashes_taken_back, 0U);
  EXPECT_TRUE(mesh.is_routable(1));
}

// A process that hosts a whole cluster is one crash; who waits for it is not refused.
TEST(MeshBreakers, AProcessThatDiesIsOneCrashOfItsCluster) {
  BreakerMesh mesh(2);
  mesh.lose(1);
  mesh.run(100 * kMs, kMs);
  EXPECT_EQ(mesh.loop->counters().agent_crashes, kOfCluster);
  EXPECT_EQ(mesh.loop->counters().breaker_failures, 1U);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::closed);
  EXPECT_EQ(mesh.post(1), Errc::ok);  // held for its return
}

// Recovery of part 14: what is whole again within crash_grace has not failed.
TEST(MeshBreakers, AClusterThatIsWholeAgainAtOnceIsRoutableAtOnce) {
  BreakerMesh mesh(1);
  mesh.lose(1);
  mesh.run(10 * kMs, kMs);
  mesh.come(1);
  mesh.settle();
  EXPECT_EQ(mesh.loop->counters().crashes_taken_back, 1U);
  EXPECT_EQ(mesh.loop->counters().breaker_failures, 0U);
  EXPECT_TRUE(mesh.is_routable(1));
  EXPECT_EQ(mesh.post(1), Errc::ok);
}

TEST(MeshBreakers, WhoCrashesAgainAndAgainIsFailing) {
  BreakerMesh mesh(1);
  for (int crash = 0; crash < 7; ++crash) {
    mesh.lose(1);
    mesh.run(5 * kMs, kMs);
    mesh.come(1);
    mesh.settle();
    EXPECT_EQ(mesh.cluster_state(1), crash < 6 ? BreakerState::closed : BreakerState::open);
  }
  EXPECT_EQ(mesh.loop->counters().crashes_taken_back, 1U);
  EXPECT_EQ(mesh.loop->counters().breaker_failures, 6U);
}

// Where only operations are sent, one of their targets is the probe.
TEST(MeshBreakers, AnOperationSkipsAnOpenClusterAndProbesItWithOneTarget) {
  BreakerMesh mesh(2);
  mesh.fail(1, 6);
  EXPECT_EQ(mesh.scatter(), Errc::ok);
  EXPECT_EQ(mesh.scatter(1), Errc::open) << "nobody is left";
  mesh.run(3 * kMs, kMs);
  EXPECT_EQ(mesh.answer(1, With::ready), 0U);
  EXPECT_EQ(mesh.answer(2, With::ready), kOfCluster);
  mesh.run(10 * kMs, kMs);
  const auto first = mesh.loop->take_finished();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->result.counts.skipped.not_routable, kOfCluster);
  const std::int64_t until_ns = mesh.breaker(mesh.cluster_place(1)).open_until_ns;
  while (mesh.now_ns + kMs < until_ns) mesh.tick(kMs);
  mesh.now_ns = until_ns;  // before the engine looks
  EXPECT_EQ(mesh.scatter(), Errc::ok);
  mesh.run(3 * kMs, kMs);
  EXPECT_EQ(mesh.answer(1, With::ready), 1U);
  mesh.run(20 * kMs, kMs);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::half_open);
  EXPECT_EQ(mesh.scatter(), Errc::ok);
  mesh.run(3 * kMs, kMs);
  EXPECT_EQ(mesh.answer(1, With::ready), 3U) << "one in ten of 30";
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(MeshBreakers, AProbeThatAnOperationDoesNotGetAnsweredHasFailed) {
  BreakerMesh mesh(1);
  mesh.fail(1, 6);
  const std::int64_t until_ns = mesh.breaker(mesh.cluster_place(1)).open_until_ns;
  while (mesh.now_ns + kMs < until_ns) mesh.tick(kMs);
  mesh.now_ns = until_ns;  // before the engine looks
  ASSERT_EQ(mesh.scatter(1), Errc::ok);
  mesh.run(20 * kMs, kMs);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::open);
  EXPECT_GT(mesh.breaker(mesh.cluster_place(1)).open_until_ns, mesh.now_ns + 500 * kMs);
}

TEST(MeshBreakers, OpensASectorAtItsFiftyFirstFailureAndProbesItsHealthiestCluster) {
  LoopOptions options = BreakerMesh::hundredth();
  options.watch.breakers.cluster_failures_max = 100;  // sectors alone
  BreakerMesh mesh(4, options);                       // 1 and 3 stand in one, 2 and 4 in the other
  ASSERT_EQ(mesh.sector_place(1), mesh.sector_place(3));
  ASSERT_NE(mesh.sector_place(1), mesh.sector_place(2));
  mesh.fail(1, 25);
  mesh.fail(3, 25);
  EXPECT_EQ(mesh.state(mesh.sector_place(1)), BreakerState::closed);
  mesh.fail(3, 1);
  EXPECT_EQ(mesh.state(mesh.sector_place(1)), BreakerState::open);
  EXPECT_FALSE(mesh.is_routable(1));
  EXPECT_FALSE(mesh.is_routable(3));
  EXPECT_TRUE(mesh.is_routable(2));
  ASSERT_TRUE(mesh.await_probe(mesh.sector_place(1)));
  const std::uint32_t of_1 = mesh.view().cluster(mesh.column("agent.cluster", 1))->summary.mean;
  const std::uint32_t of_3 = mesh.view().cluster(mesh.column("agent.cluster", 3))->summary.mean;
  const bool first = of_1 / kMeanUnit <= of_3 / kMeanUnit &&
                     mesh.column("agent.cluster", 1) < mesh.column("agent.cluster", 3);
  const std::uint16_t healthier = first ? 1 : 3;
  const std::uint16_t other = first ? 3 : 1;
  EXPECT_EQ(mesh.post(other), Errc::open);
  EXPECT_EQ(mesh.post(healthier), Errc::open) << "the engine's own probe is out";
  mesh.tick(kMs);
  EXPECT_EQ(mesh.answer(other, With::ready), 0U);
  EXPECT_EQ(mesh.answer(healthier, With::ready), 1U);
  mesh.tick(kMs);
  EXPECT_EQ(mesh.state(mesh.sector_place(1)), BreakerState::half_open);
  mesh.run(620 * kMs, kMs);
  EXPECT_EQ(mesh.state(mesh.sector_place(1)), BreakerState::closed) << "by itself";
}

TEST(MeshBreakers, OpensTheMeshWhenMoreSectorsAreOpenThanMayBe) {
  LoopOptions options = BreakerMesh::hundredth();
  options.watch.breakers.open_sectors_max = 1;
  options.watch.breakers.sector_failures_max = 5;
  options.watch.breakers.cluster_failures_max = 100;
  BreakerMesh mesh(4, options);
  mesh.fail(1, 6);
  EXPECT_EQ(mesh.state(0), BreakerState::closed);
  mesh.fail(2, 6);
  EXPECT_EQ(mesh.state(0), BreakerState::open);
  EXPECT_EQ(mesh.post(3), Errc::open);
  EXPECT_EQ(mesh.scatter(), Errc::open);
  EXPECT_FALSE(mesh.is_routable(4));
  ASSERT_TRUE(mesh.await_probe(0));
  for (std::uint16_t number = 1; number <= 4; ++number)
    EXPECT_EQ(mesh.post(number), Errc::open) << "the engine's own probe is out";
  mesh.tick(kMs);
  std::size_t probes = 0;
  for (std::uint16_t number = 1; number <= 4; ++number) probes += mesh.answer(number, With::ready);
  EXPECT_EQ(probes, 1U) << "through the healthiest cluster";
  mesh.tick(kMs);
  EXPECT_EQ(mesh.state(0), BreakerState::half_open);
  // The sectors are probed behind it; all closes, and nobody has sent anything.
  const auto answered = [&] {
    for (std::uint16_t number = 1; number <= 4; ++number) mesh.answer(number, With::ready);
  };
  mesh.run(1'500 * kMs, kMs, answered);
  for (const std::size_t place : {std::size_t{0}, mesh.sector_place(1), mesh.sector_place(2)})
    EXPECT_EQ(mesh.state(place), BreakerState::closed) << place;
  EXPECT_TRUE(mesh.loop->verify());
}

// CASCADE_FAILURE: failures double over three windows: the sector opens at once, below its count.
TEST(MeshBreakers, ACascadeOpensItsSector) {
  LoopOptions options = BreakerMesh::hundredth();
  options.watch.breakers.cluster_failures_max = 100;
  BreakerMesh mesh(2, options);
  while (mesh.loop->counters().cascade_failures == 0 && mesh.now_ns < mesh.kStartNs + 100 * kMs)
    mesh.tick(kMs);
  for (const std::size_t failures : {2U, 4U, 8U}) {
    mesh.fail(1, failures);
    mesh.run(100 * kMs - 13 * kMs, kMs);
  }
  mesh.run(100 * kMs, kMs);
  EXPECT_EQ(mesh.loop->counters().cascade_failures, 1U);
  EXPECT_EQ(mesh.state(mesh.sector_place(1)), BreakerState::open);
  EXPECT_EQ(mesh.state(mesh.sector_place(2)), BreakerState::closed);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::closed);
  EXPECT_EQ(mesh.post(1), Errc::open);
}

}  // namespace of_mesh_breakers_test
}  // namespace mesh::engine::health
