// A mesh whose sectors and clusters are of other sizes than the usual: all are configurable
// (mesh.md part 2).
#include <map>
#include <vector>

#include <rapidcheck.h>

#include "engine/agent_rows.hpp"
#include "engine/health/health_view.hpp"
#include "engine/memory_map.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace of_engine_loop_sizes_test {

struct Shaped : LoopFixture {
  Shaped(std::uint32_t agents, std::uint32_t clusters, std::uint32_t per_cluster)
      : LoopFixture(MeshSize{.agents = agents,
                             .stations = 2,
                             .agents_per_station = agents,
                             .clusters_per_sector = clusters,
                             .agents_per_cluster = per_cluster},
                    {}),
        station(add(1, agents, "a")),
        rows(must(AgentRows<HostMemory>::in(must(table_layout(size)), table.span()))) {
    tick(kMs);
  }
  // Everybody is READY for whatever comes.
  void turn() {
    tick(kMs);
    for (const auto& delivery : station.poll())
      if (delivery.kind == RecordKind::message)
        station.answer(delivery, TrinaryState::ready, now_ns);
  }
  [[nodiscard]] std::size_t count(AgentRole role) const {
    std::size_t count = 0;
    for (std::size_t row = 0; row < rows.rows(); ++row)
      count += static_cast<AgentRole>(rows.role.load_relaxed(row)) == role ? 1U : 0U;
    return count;
  }
  RawStation& station;
  AgentRows<HostMemory> rows;
};

TEST(EngineLoopSizes, AgentsStandInClustersAndSectorsOfTheSizesAskedFor) {
  Shaped mesh(60, 3, 5);
  std::map<std::uint32_t, int> of_cluster;
  for (std::size_t row = 0; row < 60; ++row) {
    const std::uint32_t cluster = mesh.rows.cluster.load_relaxed(row);
    ++of_cluster[cluster];
    EXPECT_EQ(mesh.rows.sector.load_relaxed(row), cluster / 3);
  }
  EXPECT_EQ(of_cluster.size(), 12U);
  for (const auto& [cluster, agents] : of_cluster) EXPECT_EQ(agents, 5) << cluster;
  EXPECT_EQ(mesh.count(AgentRole::coordinator), 4U);
  EXPECT_EQ(mesh.count(AgentRole::lead), 12U);
  must(mesh.loop->verify());
  mesh.restart();
  mesh.tick(kMs);
  EXPECT_EQ(mesh.count(AgentRole::lead), 12U);
  must(mesh.loop->verify());
}

TEST(EngineLoopSizes, AWaveReachesThemThroughTheirOwnLeaders) {
  Shaped mesh(60, 3, 5);
  must(mesh.loop->open_cascade({}, from_ns(mesh.now_ns)));
  std::optional<FinishedCascade> finished;
  for (int i = 0; i < 20'000 && !finished; ++i) {
    mesh.turn();
    finished = mesh.loop->take_finished_cascade();
  }
  ASSERT_TRUE(finished.has_value());
  EXPECT_EQ(finished->status, CascadeStatus::success);
  EXPECT_EQ(finished->sectors_reached, 4U);
  EXPECT_EQ(finished->clusters, 12U);
  EXPECT_EQ(finished->clusters_reached, 12U);
  EXPECT_EQ(finished->agents.ready, 60U);
}

TEST(EngineLoopSizes, TheLargestClustersAreSummarizedAndTheSmallestToo) {
  for (const std::uint32_t per_cluster : {kAgentsPerClusterMost, 1U}) {
    Shaped mesh(1'024, 2, per_cluster);
    mesh.run(1'500 * kMs, kMs);
    const auto view =
        must(health::HealthView::over(must(table_layout(mesh.size)), mesh.table.span()));
    ASSERT_EQ(view.clusters(), 1'024 / per_cluster);
    for (std::uint32_t cluster = 0; cluster < view.clusters(); ++cluster) {
      const auto seen = view.cluster(cluster);
      ASSERT_TRUE(seen.has_value()) << cluster;
      EXPECT_EQ(seen->summary.active, per_cluster);
    }
    ASSERT_TRUE(view.mesh().has_value());
    EXPECT_EQ(view.mesh()->summary.active, 1'024U);
    EXPECT_EQ(view.mesh()->mode, health::OperatingMode::full);
  }
}

TEST(EngineLoopSizes, RefusesSizesThatNoMeshHas) {
  const MeshSize usual{.agents = 1'000, .stations = 2};
  for (const auto& [clusters, agents] :
       std::vector<std::pair<std::uint32_t, std::uint32_t>>{{0, 30},
                                                            {10, 0},
                                                            {10, kAgentsPerClusterMost + 1},
                                                            {kClustersPerSectorMost + 1, 1},
                                                            {kClustersPerSectorMost, 500}}) {
    MeshSize size = usual;
    size.clusters_per_sector = clusters;
    size.agents_per_cluster = agents;
    const auto map = memory_map(size);
    ASSERT_FALSE(map.has_value()) << clusters << " x " << agents;
    EXPECT_EQ(map.error().code, Errc::invalid_argument);
  }
}

TEST(MeshShape, StandsInOneNumberWithTheStationsAndTheUsualOneAddsNothingToIt) {
  EXPECT_EQ(pack_shape({.agents = 30'000, .stations = 128}), 128U);
  EXPECT_TRUE(rc::check("any shape comes back", [] {
    MeshSize size;
    size.stations = *rc::gen::inRange<std::uint64_t>(1, kMaxStations + 1);
    size.clusters_per_sector = *rc::gen::inRange<std::uint32_t>(1, kClustersPerSectorMost + 1);
    size.agents_per_cluster = *rc::gen::inRange<std::uint32_t>(1, kAgentsPerClusterMost + 1);
    MeshSize back;
    unpack_shape(pack_shape(size), back);
    RC_ASSERT(back.stations == size.stations);
    RC_ASSERT(is_same_shape(back, size));
  }));
}

}  // namespace of_engine_loop_sizes_test
}  // namespace mesh::engine
