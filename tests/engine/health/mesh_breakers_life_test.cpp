// The mesh's own breakers over a mesh's life: a successor, bounds, allocations, any history.
#include <array>

#include "engine/health/mesh_breakers.hpp"
#include "tests/allocations.hpp"
#include "tests/engine/health/breakers_fixture.hpp"

namespace mesh::engine::health {
namespace of_mesh_breakers_life_test {

using coordination::BreakerState;
using coordination::BreakerView;
using testing::BreakerMesh;
using testing::kMs;
using testing::kOfCluster;
using testing::must;
using With = BreakerMesh::With;

// What was open stays open, until the same moment; windows begin empty.
TEST(MeshBreakers, ASuccessorAdoptsStateEpochAndOpenUntil) {
  BreakerMesh mesh(2);
  mesh.fail(1, 6);
  mesh.fail(2, 5);
  const BreakerView before = mesh.breaker(mesh.cluster_place(1));
  mesh.restart();
  mesh.tick(kMs);
  EXPECT_EQ(mesh.post(1), Errc::open) << "before upkeep has looked at anything";
  const BreakerView after = mesh.breaker(mesh.cluster_place(1));
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::open);
  EXPECT_EQ(after.open_until_ns, before.open_until_ns);
  EXPECT_EQ(BreakerView::epoch_of(after.word), BreakerView::epoch_of(before.word) + 1);
  EXPECT_EQ(mesh.loop->counters().breakers_opened, 0U);
  mesh.settle();
  mesh.fail(2, 5);
  EXPECT_EQ(mesh.cluster_state(2), BreakerState::closed) << "5 and 5, of two engines";
  mesh.fail(2, 1);
  EXPECT_EQ(mesh.cluster_state(2), BreakerState::open);
  while (mesh.now_ns + kMs < before.open_until_ns) mesh.tick(kMs);
  EXPECT_EQ(mesh.post(1), Errc::open);
  EXPECT_TRUE(mesh.await_probe_of(1));
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(MeshBreakers, ASuccessorDoesNotTrustAWordThatIsNone) {
  BreakerMesh mesh(1);
  const auto word =
      must(must(table_layout(mesh.size)).column<std::uint64_t>(mesh.table.span(), "breaker.word"));
  word.store_relaxed(mesh.cluster_place(1), 7);  // no state has this number
  mesh.restart();
  mesh.tick(kMs);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::closed);
  EXPECT_EQ(mesh.post(1), Errc::ok);
  EXPECT_TRUE(mesh.loop->verify());
}

// A trial that the engine before let out changes nothing: its permit is of an older epoch.
TEST(MeshBreakers, AProbeOfTheEngineBeforeIsVoid) {
  BreakerMesh mesh(1);
  mesh.fail(1, 6);
  ASSERT_TRUE(mesh.await_probe_of(1));
  mesh.tick(kMs);
  mesh.restart();
  EXPECT_EQ(mesh.answer(1, With::ready), 1U);
  mesh.tick(kMs);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::open);
  ASSERT_TRUE(mesh.await_probe_of(1)) << "another one";
  mesh.tick(kMs);
  EXPECT_EQ(mesh.answer(1, With::ready), 1U);
  mesh.tick(kMs);
  EXPECT_EQ(mesh.cluster_state(1), BreakerState::half_open);
}

TEST(MeshBreakers, MoreTrialsThanThereIsRoomForAreRefusedAndComeBack) {
  LoopOptions options = BreakerMesh::hundredth();
  options.watch.breakers.half_open_pass_every = 1;
  BreakerMesh mesh(1, options);
  mesh.fail(1, 6);
  ASSERT_TRUE(mesh.await_probe_of(1));
  mesh.tick(kMs);
  mesh.answer(1, With::ready);
  mesh.tick(kMs);
  ASSERT_EQ(mesh.cluster_state(1), BreakerState::half_open);
  std::size_t passed = 0;
  for (std::size_t i = 0; i < 300; ++i)
    passed += mesh.post(1, i % kOfCluster) == Errc::ok ? 1U : 0U;
  EXPECT_EQ(passed, 256U);
  mesh.run(620 * kMs, kMs);  // never answered; no outcome is known: closed
  ASSERT_EQ(mesh.cluster_state(1), BreakerState::closed);
  mesh.answer(1, With::silence);
  mesh.fail(1, 6);
  EXPECT_TRUE(mesh.await_probe_of(1)) << "the room of those is free again";
}

TEST(MeshBreakers, OpensProbesAndClosesWithoutAllocating) {
  BreakerMesh mesh(1);
  std::uint64_t allocated = 0;
  const auto quiet_run = [&](std::int64_t until_ns) {
    for (const std::int64_t end = mesh.now_ns + until_ns; mesh.now_ns < end;) {
      const std::uint64_t before = testing::allocation_count();
      mesh.tick(kMs);
      allocated += testing::allocation_count() - before;
    }
  };
  for (int round = 0; round < 2; ++round) {
    allocated = 0;
    for (std::size_t at = 0; at < 6; ++at) ASSERT_EQ(mesh.post(1, at), Errc::ok);
    quiet_run(kMs);
    mesh.answer(1, With::refusal);
    quiet_run(12 * kMs);
    ASSERT_EQ(mesh.cluster_state(1), BreakerState::open);
    quiet_run(320 * kMs);
    ASSERT_EQ(mesh.answer(1, With::ready), 1U) << "the engine's own probe";
    quiet_run(2 * kMs);
    ASSERT_EQ(mesh.cluster_state(1), BreakerState::half_open);
    for (int i = 0; i < 15; ++i)
      mesh.station(1).send_bare(mesh.agent(1, 0), mesh.agent(1, 1), {}, mesh.now_ns);
    quiet_run(2 * kMs);
    mesh.answer(1, With::ready);
    quiet_run(620 * kMs);
    ASSERT_EQ(mesh.cluster_state(1), BreakerState::closed);
  }
  EXPECT_EQ(allocated, 0U);
}

TEST(MeshBreakers, RefusesOptionsThatCannotBe) {
  const auto refused = [](auto&& change) {
    LoopOptions options = BreakerMesh::hundredth();
    change(options.watch.breakers);
    testing::Wakes wakes;
    BreakerMesh mesh(1);
    const auto made =
        EngineLoop::create({mesh.size, mesh.table.span(), mesh.payload.span(), mesh.engine.span()},
                           options, {.wakes = &wakes});
    return made ? Errc::ok : made.error().code;
  };
  EXPECT_EQ(refused([](auto& its) { its.window = Nanos{0}; }), Errc::invalid_config);
  EXPECT_EQ(refused([](auto& its) { its.open = Nanos{0}; }), Errc::invalid_config);
  EXPECT_EQ(refused([](auto& its) { its.probe_retry = Nanos{-1}; }), Errc::invalid_config);
  EXPECT_EQ(refused([](auto& its) { its.half_open = Nanos{0}; }), Errc::invalid_config);
  EXPECT_EQ(refused([](auto& its) { its.half_open_pass_every = 0; }), Errc::invalid_config);
  EXPECT_EQ(refused([](auto& its) { its.half_open_failure_ppm = 0; }), Errc::invalid_config);
  EXPECT_EQ(refused([](auto& its) { its.crash_grace = Nanos{-1}; }), Errc::invalid_config);
  EXPECT_EQ(refused([](auto& its) { its.cluster_failures_max = UINT32_MAX; }),
            Errc::invalid_config);
  EXPECT_EQ(refused([](auto&) {}), Errc::ok);
}

// On any history: the table shows the tree, a refusal as `open` comes from a breaker that is not
// closed, and behind one that is open nobody gets more than the probe.
RC_GTEST_PROP(MeshBreakers, RefusesOnlyBehindABreakerThatIsNotClosed, ()) {
  LoopOptions options = BreakerMesh::hundredth();
  options.watch.breakers.sector_failures_max = 9;
  options.watch.breakers.open_sectors_max = 1;
  BreakerMesh mesh(3, options);
  std::array<bool, 4> is_here{true, true, true, true};
  for (int step = 0; step < 60; ++step) {
    const auto number = *rc::gen::inRange<std::uint16_t>(1, 4);
    // Of the breakers themselves: an agent may be routed around for another reason.
    const std::array<BreakerState, 3> breakers{mesh.state(0), mesh.state(mesh.sector_place(number)),
                                               mesh.cluster_state(number)};
    const auto is_behind = [&](BreakerState state) {
      return std::find(breakers.begin(), breakers.end(), state) != breakers.end();
    };
    const auto is_restricted = [&] {
      return is_behind(BreakerState::open) || is_behind(BreakerState::half_open);
    };
    switch (*rc::gen::inRange(0, 7)) {
      case 0:
      case 1: {
        const bool restricted = is_restricted();
        const Errc code = mesh.post(number, *rc::gen::inRange<std::size_t>(0, kOfCluster));
        RC_ASSERT(code == Errc::ok || code == Errc::open);
        RC_ASSERT(restricted || code == Errc::ok);
        break;
      }
      case 2:
        if (is_here[number])
          mesh.answer(number, *rc::gen::element(With::ready, With::conflict, With::refusal));
        break;
      case 3: {
        const bool is_open = is_behind(BreakerState::open);
        const std::uint64_t trials = mesh.loop->counters().breaker_trials;
        const Errc code = mesh.scatter(number);
        RC_ASSERT(code != Errc::open || is_restricted());
        if (is_here[number] && is_open && code == Errc::ok)
          RC_ASSERT(mesh.loop->counters().breaker_trials == trials + 1);
        break;
      }
      case 4:
        if (is_here[number])
          mesh.lose(number, *rc::gen::element(Departure::lost, Departure::left));
        else
          mesh.come(number);
        is_here[number] = !is_here[number];
        break;
      case 5:
        if (*rc::gen::inRange(0, 6) == 0) mesh.restart();
        break;
      default:
        break;
    }
    mesh.run(*rc::gen::inRange<std::int64_t>(1, 60) * 2 * kMs, 2 * kMs);
    const Status whole = mesh.loop->verify();
    RC_ASSERT(whole.has_value());
  }
}

}  // namespace of_mesh_breakers_life_test
}  // namespace mesh::engine::health
