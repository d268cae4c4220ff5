// Summaries, modes and failures in a running loop, on virtual time: mesh.md parts 10 and 12.
#include "engine/health/mesh_watch.hpp"

#include <algorithm>
#include <array>

#include "engine/health/health_view.hpp"
#include "tests/engine/loop/loop_fixture.hpp"

namespace mesh::engine::health {
namespace of_mesh_watch_test {

using testing::LoopFixture;
using testing::must;
using testing::RawStation;

constexpr std::int64_t kMs = kNsPerMs;
constexpr std::int64_t kSecond = kNsPerSecond;
constexpr auto kOdd = std::to_array<std::uint16_t>({1, 3, 5});

// Stations of so many agents each; times are a hundredth of the specified.
class Watched : public LoopFixture {
 public:
  explicit Watched(std::uint16_t station_count, std::uint32_t agents = 10, std::uint64_t rows = 0)
      : LoopFixture(std::max<std::uint64_t>(rows, agents * station_count), station_count,
                    hundredth()),
        agents_of_each(agents) {
    for (std::uint16_t number = 1; number <= station_count; ++number) come(number);
    run(100 * kMs, kMs);
  }
  void come(std::uint16_t number) { add(number, agents_of_each, "s" + std::to_string(number)); }
  static LoopOptions hundredth() {
    LoopOptions options;
    options.upkeep = Nanos{10 * kMs};
    options.watch.modes = {.enter_after = Nanos{30 * kMs}, .leave_after = Nanos{100 * kMs}};
    return options;
  }
  [[nodiscard]] HealthView view() {
    return must(HealthView::over(must(table_layout(size)), table.span()));
  }
  [[nodiscard]] OperatingMode mode() { return view().mesh().value().mode.value(); }
  Errc send(sched::Priority priority, AgentId source, AgentId target) {
    const auto sent =
        loop->post({.source = source, .target = target, .priority = priority}, from_ns(now_ns));
    return sent ? Errc::ok : sent.error().code;
  }
  Errc scatter(sched::Priority priority, bool confirmed) {
    OperationRequest request;
    request.priority = priority;
    request.confirmed = confirmed;
    const auto opened = loop->open(request, from_ns(now_ns));
    return opened ? Errc::ok : opened.error().code;
  }
  AgentId agent(std::uint16_t station, std::size_t at) { return ids[station][at]; }
  RawStation& station(std::uint16_t number) {
    return **std::find_if(stations.begin(), stations.end(),
                          [&](const auto& one) { return one->number == StationId{number}; });
  }

  std::uint32_t agents_of_each;
};

TEST(MeshWatch, PublishesSummariesThatAnyProcessReads) {
  Watched mesh(3);
  const auto seen = mesh.view().mesh().value();
  EXPECT_EQ(seen.summary.agents, 30U);
  EXPECT_EQ(seen.summary.active, 30U);
  EXPECT_EQ(seen.summary.healthy_sectors, 1U);
  EXPECT_EQ(seen.mode, OperatingMode::full);
  const auto sector = mesh.view().sector(0).value();
  EXPECT_EQ(sector.summary.agents, 30U);
  EXPECT_TRUE(sector.summary.is_healthy);
  std::uint32_t agents = 0;
  for (std::uint32_t cluster = 0; cluster < mesh.view().clusters(); ++cluster)
    agents += mesh.view().cluster(cluster).value().summary.agents;
  EXPECT_EQ(agents, 30U);
  EXPECT_FALSE(mesh.view().cluster(mesh.view().clusters()).has_value());
}

TEST(MeshWatch, IsUnknownBeforeEveryClusterWasLookedAt) {
  LoopFixture mesh(10, 1);
  const auto view = must(HealthView::over(must(table_layout(mesh.size)), mesh.table.span()));
  EXPECT_FALSE(view.mesh().has_value());
  EXPECT_FALSE(view.cluster(0).has_value());
}

TEST(MeshWatch, FollowsModesAndReturnsToFullByItself) {
  Watched mesh(10);
  mesh.lose(1);  // 90 of 100
  mesh.run(80 * kMs, kMs);
  EXPECT_EQ(mesh.mode(), OperatingMode::degraded_light);
  EXPECT_EQ(mesh.loop->counters().agent_crashes, 10U);
  EXPECT_EQ(mesh.send(sched::Priority::background, mesh.agent(2, 0), mesh.agent(3, 0)),
            Errc::background_refused);
  EXPECT_EQ(mesh.send(sched::Priority::normal, mesh.agent(2, 0), mesh.agent(3, 0)), Errc::ok);
  EXPECT_EQ(mesh.loop->counters().mode_refused, 1U);
  mesh.come(1);
  mesh.run(200 * kMs, kMs);
  EXPECT_EQ(mesh.mode(), OperatingMode::full);
  EXPECT_EQ(mesh.send(sched::Priority::background, mesh.agent(2, 0), mesh.agent(3, 0)), Errc::ok);
}

// Clusters open in turn in two sectors: odd stations stand in the first, even ones in the second.
TEST(MeshWatch, ModerateQueuesBelowHighAndSendsItInOrderAfterwards) {
  Watched mesh(10, 30, 600);
  for (const std::uint16_t number : kOdd) mesh.lose(number);
  mesh.run(80 * kMs, kMs);
  ASSERT_EQ(mesh.mode(), OperatingMode::degraded_moderate);
  ASSERT_FALSE(mesh.view().sector(0).value().summary.is_healthy);
  ASSERT_TRUE(mesh.view().sector(1).value().summary.is_healthy);
  const AgentId from = mesh.agent(2, 0);
  EXPECT_EQ(mesh.send(sched::Priority::high, from, mesh.agent(7, 0)), Errc::sector_degraded);
  EXPECT_EQ(mesh.send(sched::Priority::background, from, mesh.agent(4, 0)),
            Errc::background_refused);
  EXPECT_EQ(mesh.scatter(sched::Priority::normal, false), Errc::priority_too_low);
  for (std::size_t at = 0; at < 5; ++at)
    EXPECT_EQ(mesh.send(sched::Priority::normal, from, mesh.agent(4, at)), Errc::ok);
  EXPECT_EQ(mesh.loop->counters().mode_queued, 5U);
  mesh.run(500 * kMs, kMs);
  EXPECT_TRUE(mesh.station(4).poll().empty());
  EXPECT_EQ(mesh.send(sched::Priority::high, from, mesh.agent(4, 9)), Errc::ok);
  mesh.tick(kMs);
  EXPECT_EQ(mesh.station(4).poll().size(), 1U);
  for (const std::uint16_t number : kOdd) mesh.come(number);
  for (int step = 0; mesh.mode() != OperatingMode::full && step < 1'000; ++step) mesh.tick(kMs);
  ASSERT_EQ(mesh.mode(), OperatingMode::full);
  // What comes before those have left stands behind them.
  EXPECT_EQ(mesh.send(sched::Priority::normal, from, mesh.agent(4, 5)), Errc::ok);
  mesh.run(300 * kMs, kMs);
  const auto got = mesh.station(4).poll();
  ASSERT_EQ(got.size(), 6U);
  for (std::size_t at = 0; at < got.size(); ++at)
    EXPECT_EQ(got[at].target, mesh.agent(4, at)) << at;
}

// An operation of everybody skips the sector that is degraded.
TEST(MeshWatch, ModerateSendsOperationsToHealthySectorsOnly) {
  Watched mesh(10, 30, 600);
  for (const std::uint16_t number : kOdd) mesh.lose(number);
  mesh.run(80 * kMs, kMs);
  ASSERT_EQ(mesh.mode(), OperatingMode::degraded_moderate);
  EXPECT_EQ(mesh.scatter(sched::Priority::high, false), Errc::ok);
  mesh.run(3 * kSecond, kMs);
  EXPECT_FALSE(mesh.station(2).poll().empty());
  EXPECT_TRUE(mesh.station(7).poll().empty());
}

TEST(MeshWatch, SevereTakesCriticalAloneAndAsksForConfirmation) {
  Watched mesh(10);
  for (std::uint16_t number = 1; number <= 5; ++number) mesh.lose(number);
  mesh.run(80 * kMs, kMs);
  ASSERT_EQ(mesh.mode(), OperatingMode::degraded_severe);
  EXPECT_EQ(mesh.send(sched::Priority::high, mesh.agent(6, 0), mesh.agent(7, 0)),
            Errc::critical_only);
  EXPECT_EQ(mesh.scatter(sched::Priority::critical, false), Errc::needs_confirmation);
}

TEST(MeshWatch, EmergencyRefusesWhatNoOperatorSends) {
  Watched mesh(10);
  for (std::uint16_t number = 1; number <= 8; ++number) mesh.lose(number);
  mesh.run(80 * kMs, kMs);
  ASSERT_EQ(mesh.mode(), OperatingMode::emergency);
  EXPECT_EQ(mesh.send(sched::Priority::critical, mesh.agent(9, 0), mesh.agent(10, 0)),
            Errc::automatic_stopped);
}

// A graceful leave is no failure: who has left is not missed, and comes back as before.
TEST(MeshWatch, WhoLeavesIsNotMissed) {
  Watched mesh(10);
  for (std::uint16_t number = 1; number <= 6; ++number) mesh.lose(number, Departure::left);
  mesh.run(500 * kMs, kMs);
  EXPECT_EQ(mesh.mode(), OperatingMode::full);
  EXPECT_EQ(mesh.loop->counters().agent_crashes, 0U);
  EXPECT_EQ(mesh.view().mesh().value().summary.agents, 40U);
  EXPECT_EQ(mesh.view().mesh().value().summary.active, 40U);
  mesh.restart();  // nor by a successor
  mesh.run(500 * kMs, kMs);
  EXPECT_EQ(mesh.mode(), OperatingMode::full);
  EXPECT_EQ(mesh.view().mesh().value().summary.agents, 40U);
  mesh.come(1);
  mesh.run(100 * kMs, kMs);
  EXPECT_EQ(mesh.view().mesh().value().summary.agents, 50U);
  mesh.lose(1);  // it is expected again, and so it is missed
  mesh.run(100 * kMs, kMs);
  EXPECT_EQ(mesh.view().mesh().value().summary.agents, 50U);
  EXPECT_EQ(mesh.view().mesh().value().summary.active, 40U);
  EXPECT_EQ(mesh.loop->counters().agent_crashes, 10U);
}

// One station of two: 50 %, and nobody is kept from working.
TEST(MeshWatch, AMeshOfLessThanAFullClusterIsFull) {
  Watched mesh(2, 14);
  mesh.lose(1);
  mesh.run(500 * kMs, kMs);
  EXPECT_EQ(mesh.mode(), OperatingMode::full);
  EXPECT_EQ(mesh.loop->counters().agent_crashes, 14U);
  EXPECT_EQ(mesh.send(sched::Priority::background, mesh.agent(2, 0), mesh.agent(2, 1)), Errc::ok);
}

// AGENT_CRASH: no heartbeat for 30 s is judged of nobody from whom nothing is expected: a station
// without work parks, and stores nothing for as long.
TEST(MeshWatch, AParkedStationIsNotJudgedByItsSilence) {
  Watched mesh(4);
  mesh.run(120 * kSecond, 50 * kMs);
  EXPECT_EQ(mesh.mode(), OperatingMode::full);
  EXPECT_EQ(mesh.loop->counters().agent_crashes, 0U);
  EXPECT_EQ(mesh.view().mesh().value().summary.active, 40U);
}

TEST(MeshWatch, ASuccessorGoesOnInItsMode) {
  Watched mesh(10);
  for (std::uint16_t number = 1; number <= 5; ++number) mesh.lose(number);
  mesh.run(80 * kMs, kMs);
  ASSERT_EQ(mesh.mode(), OperatingMode::degraded_severe);
  mesh.restart();
  EXPECT_EQ(mesh.mode(), OperatingMode::degraded_severe);
  mesh.tick(kMs);
  EXPECT_EQ(mesh.send(sched::Priority::high, mesh.agent(6, 0), mesh.agent(7, 0)),
            Errc::critical_only);
}

TEST(HealthView, FindsTheBestByScoreCapabilityAndRoutability) {
  Watched mesh(3);
  const AgentRows<HostMemory> rows =
      AgentRows<HostMemory>::in(must(table_layout(mesh.size)), mesh.table.span()).value();
  for (std::size_t row = 0; row < 30; ++row)
    rows.score.store_relaxed(row, static_cast<std::uint16_t>(600 - row * 10));
  const HealthView view = mesh.view();
  const auto best = view.find_best({.count = 2});
  ASSERT_EQ(best.size(), 2U);
  EXPECT_EQ(best[0], (Candidate{AgentIndex{29}, 310}));
  EXPECT_EQ(best[1], (Candidate{AgentIndex{28}, 320}));
  EXPECT_EQ(view.find_best({.count = 100}).size(), 20U);  // 500 is the highest that is taken
  EXPECT_TRUE(view.find_best({.count = 5, .score_max = 309}).empty());
  EXPECT_TRUE(view.find_best({.count = 0}).empty());
  rows.state.store_relaxed(29, static_cast<std::uint8_t>(AgentState::quarantined));
  EXPECT_EQ(view.find_best({.count = 1}).front().agent, AgentIndex{28});
  CapabilitySet::Words words{};
  words[1] = 4;
  EXPECT_TRUE(view.find_best({.capabilities = CapabilitySet(words), .count = 3}).empty());
  rows.capabilities.store_relaxed(10 * kCapabilityWords + 1, 6);
  const auto capable = view.find_best({.capabilities = CapabilitySet(words), .count = 3});
  ASSERT_EQ(capable.size(), 1U);
  EXPECT_EQ(capable.front().agent, AgentIndex{10});
}

TEST(HealthView, AReputationWeighsBesideTheImpedanceAndNothingKnownWeighsNothing) {
  Watched mesh(1);
  const AgentRows<HostMemory> rows =
      AgentRows<HostMemory>::in(must(table_layout(mesh.size)), mesh.table.span()).value();
  for (std::size_t row = 0; row < 10; ++row)
    rows.score.store_relaxed(row, static_cast<std::uint16_t>(100 + row * 10));
  const HealthView view = mesh.view();
  const auto best = [&](double of_first, double of_last) {
    return view.find_best(
        {.count = 10, .reputation = [=](AgentIndex row) {
           return row == AgentIndex{0} ? of_first : row == AgentIndex{9} ? of_last : 0.5;
         }});
  };
  EXPECT_EQ(best(0.5, 0.5), view.find_best({.count = 10}));
  EXPECT_EQ(best(0.34, 0.5).front(), (Candidate{AgentIndex{1}, 110}));
  EXPECT_EQ(best(0.34, 0.5).back().agent, AgentIndex{0}) << "160 ms behind its place";
  EXPECT_EQ(best(0.5, 0.66).front(), (Candidate{AgentIndex{9}, 190}));
}

TEST(HealthView, RoutesInAClusterOrSaysThatNobodyIsCapable) {
  Watched mesh(1);
  const AgentRows<HostMemory> rows =
      AgentRows<HostMemory>::in(must(table_layout(mesh.size)), mesh.table.span()).value();
  const std::uint32_t cluster = rows.cluster.load_relaxed(4);
  for (std::size_t row = 0; row < 10; ++row) rows.score.store_relaxed(row, row == 4 ? 900 : 950);
  EXPECT_EQ(mesh.view().best_in_cluster(cluster, {}).value().agent, AgentIndex{4});
  EXPECT_EQ(mesh.view().best_in_cluster(cluster + 1, {}).error().code, Errc::no_capable_agent);
  for (std::size_t row = 0; row < 10; ++row)
    rows.state.store_relaxed(row, static_cast<std::uint8_t>(AgentState::offline));
  EXPECT_EQ(mesh.view().best_in_cluster(cluster, {}).error().code, Errc::no_capable_agent);
}

TEST(HealthView, NobodyBehindAnOpenBreakerIsRoutable) {
  Watched mesh(1);
  const shm::Layout layout = must(table_layout(mesh.size));
  const auto breakers =
      must(layout.array<ShmWord<std::uint64_t>>(mesh.table.span(), "breaker.word"));
  const HealthView view = mesh.view();
  EXPECT_TRUE(view.is_routable(AgentIndex{0}));
  EXPECT_FALSE(view.is_routable(AgentIndex{10}));  // no such row
  const std::size_t cluster =
      must(layout.column<std::uint32_t>(std::span<const std::byte>(mesh.table.span()),
                                        "agent.cluster"))
          .load_relaxed(0);
  for (const std::size_t breaker : {std::size_t{0}, std::size_t{1}, 1 + view.sectors() + cluster}) {
    breakers[breaker].store_relaxed(1);  // open
    EXPECT_FALSE(view.is_routable(AgentIndex{0}));
    breakers[breaker].store_relaxed(2);  // half-open: one in ten passes, the engine chooses
    EXPECT_TRUE(view.is_routable(AgentIndex{0}));
    breakers[breaker].store_relaxed(0);
  }
}

}  // namespace of_mesh_watch_test
}  // namespace mesh::engine::health
