// How the mesh's own breakers close again: by the engine's probes, on virtual time.
#include "engine/health/mesh_breakers.hpp"
#include "tests/engine/health/breakers_fixture.hpp"

namespace mesh::engine::health {
namespace of_mesh_breakers_recovery_test {

using coordination::BreakerState;
using testing::BreakerMesh;
using testing::kMs;
using testing::kOfCluster;
using testing::must;
using With = BreakerMesh::With;

// mesh.md part 12: after 30 s a probe, half-open, 60 s later closed; no caller has done anything.
TEST(MeshBreakers, AnOpenClusterClosesAgainByItself) {
  BreakerMesh mesh(2);
  mesh.fail(1, 6);
  const std::int64_t until_ns = mesh.breaker(mesh.cluster_place(1)).open_until_ns;
  ASSERT_TRUE(mesh.await_probe_of(1));
  EXPECT_GE(mesh.now_ns, until_ns);
  EXPECT_LE(mesh.now_ns, until_ns + 11 * kMs) << "within an upkeep";
  EXPECT_FALSE(mesh.is_routable(1)) << "before it is answered";
  mesh.tick(kMs);
  EXPECT_EQ(mesh.answer(1, With::ready), 1U) << "one message, to one agent";
  mesh.tick(kMs);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::half_open);
  const std::int64_t probed_ns = mesh.now_ns;
  while (mesh.cluster_state(1) == BreakerState::half_open && mesh.now_ns < until_ns + 2'000 * kMs)
    mesh.tick(kMs);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::closed);
  EXPECT_GE(mesh.now_ns, probed_ns + 600 * kMs - kMs);
  EXPECT_LE(mesh.now_ns, probed_ns + 612 * kMs);
  EXPECT_EQ(mesh.loop->counters().breaker_probes, 1U);
  EXPECT_EQ(mesh.post(1), Errc::ok);
  EXPECT_EQ(mesh.answer(2, With::ready), 0U) << "nobody else was asked";
  EXPECT_EQ(mesh.loop->counters().operations_ended, 0U) << "a probe counts as no operation";
  EXPECT_FALSE(mesh.loop->take_finished().has_value());
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(MeshBreakers, TheProbeIsASyncWithoutABodyToTheAgentThatAnswersSoonest) {
  BreakerMesh mesh(1);
  // Those before the seventh are slower; it is held, and so the eighth is asked.
  const auto scores =
      must(must(table_layout(mesh.size)).column<std::uint16_t>(mesh.table.span(), "agent.score"));
  const auto row_of = [&](std::size_t at) {
    return static_cast<std::size_t>(index_of(mesh.agent(1, at)));
  };
  mesh.fail(1, 6);
  must(mesh.loop->route_around(mesh.agent(1, 7), true));
  const std::int64_t until_ns = mesh.breaker(mesh.cluster_place(1)).open_until_ns;
  while (mesh.now_ns < until_ns - 2 * kMs) mesh.tick(kMs);
  for (std::size_t at = 0; at < kOfCluster; ++at) scores.store_relaxed(row_of(at), 500);
  scores.store_relaxed(row_of(7), 1);
  scores.store_relaxed(row_of(8), 2);
  ASSERT_TRUE(mesh.await_probe_of(1));
  mesh.tick(kMs);
  const auto got = mesh.station(1).poll();
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].target, mesh.agent(1, 8));
  EXPECT_EQ(got[0].body_bytes, 0U);
  EXPECT_EQ(got[0].kind, sched::RecordKind::message);
}

TEST(MeshBreakers, WhileAllAreHeldNobodyIsProbed) {
  BreakerMesh mesh(1);
  mesh.fail(1, 6);
  const auto cluster =
      sched::selector(sched::SelectorKind::cluster, mesh.column("agent.cluster", 1));
  must(mesh.loop->freeze(cluster, true, from_ns(mesh.now_ns)));
  EXPECT_FALSE(mesh.await_probe_of(1));
  must(mesh.loop->freeze(cluster, false, from_ns(mesh.now_ns)));
  EXPECT_TRUE(mesh.await_probe_of(1));
}

TEST(MeshBreakers, ProbesAfterOpenThenPassesOneInTenThenCloses) {
  BreakerMesh mesh(1);
  mesh.fail(1, 6);
  const std::int64_t until_ns = mesh.breaker(mesh.cluster_place(1)).open_until_ns;
  while (mesh.now_ns + kMs < until_ns) mesh.tick(kMs);
  EXPECT_EQ(mesh.post(1), Errc::open);
  ASSERT_TRUE(mesh.await_probe_of(1));
  EXPECT_EQ(mesh.post(1), Errc::open) << "one probe";
  EXPECT_EQ(mesh.loop->counters().breaker_trials, 1U);
  mesh.tick(kMs);
  EXPECT_EQ(mesh.answer(1, With::ready), 1U);
  mesh.tick(kMs);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::half_open);
  EXPECT_TRUE(mesh.is_routable(1)) << "the engine chooses";
  std::vector<int> passed;
  for (int i = 0; i < 20; ++i)
    if (mesh.post(1) == Errc::ok) passed.push_back(i);
  EXPECT_EQ(passed, (std::vector{0, 10}));
  mesh.tick(kMs);
  mesh.answer(1, With::ready);
  mesh.run(620 * kMs, kMs);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::closed);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(mesh.post(1), Errc::ok);
  EXPECT_EQ(mesh.loop->counters().breaker_trials, 3U);
}

TEST(MeshBreakers, AMessageThatComesBeforeTheEnginesProbeIsTheProbe) {
  BreakerMesh mesh(1);
  mesh.fail(1, 6);
  const std::int64_t until_ns = mesh.breaker(mesh.cluster_place(1)).open_until_ns;
  while (mesh.now_ns + kMs < until_ns) mesh.tick(kMs);
  mesh.now_ns = until_ns;
  EXPECT_EQ(mesh.post(1), Errc::ok);
  mesh.run(20 * kMs, kMs);
  EXPECT_EQ(mesh.answer(1, With::ready), 1U) << "and no second one";
  mesh.tick(kMs);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::half_open);
}

TEST(MeshBreakers, HalfOpenWithAFailureAmongWhatPassedOpensAgainFor30Seconds) {
  BreakerMesh mesh(1);
  mesh.fail(1, 6);
  ASSERT_TRUE(mesh.await_probe_of(1));
  mesh.tick(kMs);
  mesh.answer(1, With::ready);
  mesh.tick(kMs);
  ASSERT_EQ(mesh.cluster_state(1), BreakerState::half_open);
  ASSERT_EQ(mesh.post(1), Errc::ok);
  mesh.tick(kMs);
  mesh.answer(1, With::refusal);
  mesh.run(620 * kMs, kMs);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::open);
  const std::int64_t left_ns = mesh.breaker(mesh.cluster_place(1)).open_until_ns - mesh.now_ns;
  EXPECT_GT(left_ns, 270 * kMs);
  EXPECT_LE(left_ns, 300 * kMs);
}

TEST(MeshBreakers, HalfOpenWhereNothingPassedCloses) {
  BreakerMesh mesh(1);
  mesh.fail(1, 6);
  ASSERT_TRUE(mesh.await_probe_of(1));
  mesh.tick(kMs);
  mesh.answer(1, With::ready);
  mesh.run(620 * kMs, kMs);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::closed);
}

TEST(MeshBreakers, AFailedProbeIsRepeatedAfter60Seconds) {
  BreakerMesh mesh(1);
  mesh.fail(1, 6);
  ASSERT_TRUE(mesh.await_probe_of(1));
  mesh.tick(kMs);
  mesh.answer(1, With::refusal);
  mesh.tick(kMs);
  std::int64_t again_ns = mesh.now_ns + 600 * kMs;
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(mesh.breaker(mesh.cluster_place(1)).open_until_ns, again_ns);
    while (mesh.now_ns + kMs < again_ns) mesh.tick(kMs);
    EXPECT_EQ(mesh.post(1), Errc::open);
    EXPECT_EQ(mesh.answer(1, With::refusal), 0U) << "nobody was asked meanwhile";
    ASSERT_TRUE(mesh.await_probe_of(1));
    EXPECT_LE(mesh.now_ns, again_ns + 11 * kMs);
    mesh.tick(kMs);
    EXPECT_EQ(mesh.answer(1, With::refusal), 1U);
    mesh.tick(kMs);
    again_ns = mesh.now_ns + 600 * kMs;
  }
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::open);
}

TEST(MeshBreakers, AProbeThatNobodyAnswersHasFailedAfterATwelfthOfTheRetry) {
  BreakerMesh mesh(1);
  mesh.fail(1, 6);
  ASSERT_TRUE(mesh.await_probe_of(1));
  const std::int64_t sent_ns = mesh.now_ns;
  const std::size_t place = mesh.cluster_place(1);
  while (mesh.probes_out(place) != 0 && mesh.now_ns < sent_ns + 700 * kMs) mesh.tick(kMs);
  EXPECT_GE(mesh.now_ns, sent_ns + 50 * kMs);
  EXPECT_LE(mesh.now_ns, sent_ns + 52 * kMs);
  EXPECT_EQ(mesh.breaker(place).open_until_ns, mesh.now_ns + 600 * kMs);
  // Who was silent answers, too late; the next probe is in time.
  EXPECT_EQ(mesh.answer(1, With::ready), 1U);
  mesh.tick(kMs);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::open);
  ASSERT_TRUE(mesh.await_probe_of(1));
  mesh.tick(kMs);
  EXPECT_EQ(mesh.answer(1, With::ready), 1U);
  mesh.tick(kMs);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::half_open);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(MeshBreakers, AProbeWhoseStationDiesHasFailed) {
  BreakerMesh mesh(1);
  mesh.fail(1, 6);
  ASSERT_TRUE(mesh.await_probe_of(1));
  mesh.tick(kMs);
  mesh.lose(1);
  EXPECT_EQ(mesh.breaker(mesh.cluster_place(1)).open_until_ns, mesh.now_ns + 600 * kMs);
  mesh.come(1);
  mesh.run(10 * kMs, kMs);
  EXPECT_EQ(mesh.post(1), Errc::open);
}

TEST(MeshBreakers, WhoIsAwayIsNoProbe) {
  BreakerMesh mesh(1);
  mesh.fail(1, 6);
  mesh.lose(1);
  mesh.run(330 * kMs, kMs);
  EXPECT_EQ(mesh.post(1), Errc::open);
  EXPECT_EQ(mesh.loop->counters().breaker_trials, 0U);
  mesh.come(1);
  EXPECT_TRUE(mesh.await_probe_of(1));
}

// In a worse mode work goes to healthy sectors only, or stops. Whether a cluster is well again is
// asked all the same.
TEST(MeshBreakers, IsProbedInASectorThatIsDegradedAndInEveryMode) {
  LoopOptions options = BreakerMesh::hundredth();
  options.watch.modes.enter_after = Nanos{30 * kMs};
  BreakerMesh mesh(4, options);
  mesh.fail(1, 6);
  for (std::uint16_t number = 2; number <= 4; ++number) mesh.lose(number);
  mesh.run(100 * kMs, kMs);
  ASSERT_EQ(mesh.view().mesh()->mode, OperatingMode::emergency);
  ASSERT_TRUE(mesh.await_probe_of(1));
  mesh.tick(kMs);
  EXPECT_EQ(mesh.answer(1, With::ready), 1U);
  mesh.run(620 * kMs, kMs);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::closed);
}

}  // namespace of_mesh_breakers_recovery_test
}  // namespace mesh::engine::health
