// The five memories of a mesh: what they need, what stands in them, what is refused.
#include "engine/memory_map.hpp"

#include "engine/agent_columns.hpp"
#include "queues/ring_layout.hpp"

namespace mesh::engine {
namespace of_memory_map_test {

using ::testing::HasSubstr;

constexpr std::uint64_t kMiB = 1U << 20;

void expect_refused(const MeshSize& size, const std::string& part) {
  const Result<MemoryMap> map = memory_map(size);
  ASSERT_FALSE(map.has_value());
  EXPECT_EQ(map.error().code, Errc::invalid_argument);
  EXPECT_THAT(map.error().sentence, HasSubstr(part));
}

TEST(MemoryMap, RefusesAMeshWithoutAgentsOrStations) {
  expect_refused({.agents = 0, .stations = 1}, "0 agents");
  expect_refused({.agents = 1, .stations = 0}, "0 stations");
}
TEST(MemoryMap, RefusesMoreThanTheLimitsAndNamesThem) {
  expect_refused({.agents = kMaxAgents + 1, .stations = 1}, "1 to 1048576");
  expect_refused({.agents = 1, .stations = kMaxStations + 1}, "1 to 65535");
  expect_refused({.agents = 1, .stations = 1, .agents_per_station = kMaxAgents + 1},
                 "1 to 1048576");
}
TEST(MemoryMap, HoldsTheLargestMesh) {
  ASSERT_TRUE(memory_map({.agents = kMaxAgents, .stations = kMaxStations}).has_value());
  ASSERT_TRUE(memory_map({.agents = kMaxAgents, .stations = 1}).has_value());
}

TEST(MemoryMap, Needs256MiBAtMostFor30000AgentsOn128Stations) {
  const Result<MemoryMap> map = memory_map({.agents = 30'000, .stations = 128});
  ASSERT_TRUE(map.has_value()) << map.error().sentence;
  EXPECT_EQ(map->size.agents_per_station, 235U);
  EXPECT_LT(map->total_bytes(), 256 * kMiB);
  std::uint64_t sum = 0;
  for (const MemoryPlan& memory : map->memories) sum += memory.copies * memory.layout.total_bytes();
  EXPECT_EQ(map->total_bytes(), sum);
}

TEST(MemoryMap, SizesRingsByTheStationFrom1024To65536Slots) {
  const std::map<std::uint64_t, std::size_t> slots_of_agents = {
      {1, 1'024},       {512, 1'024},     {513, 2'048},        {3'750, 8'192},
      {32'768, 65'536}, {32'769, 65'536}, {kMaxAgents, 65'536}};
  for (const auto& [agents, slots] : slots_of_agents) {
    const Result<shm::Layout> in = station_in_layout(agents);
    const Result<shm::Layout> out = station_out_layout(agents);
    ASSERT_TRUE(in.has_value() && out.has_value());
    EXPECT_EQ(in->find("inbox")->count, slots) << agents;
    EXPECT_EQ(out->find("outbox")->count, slots) << agents;
    EXPECT_EQ(in->find("inbox")->element_bytes, kSlotBytes);
  }
}

TEST(MemoryMap, HasEveryColumnAsARegionOfItsOwnWithARowForEachAgent) {
  const Result<shm::Layout> table = table_layout({.agents = 1'001, .stations = 3});
  ASSERT_TRUE(table.has_value());
  for (const ColumnDescription& column : kAgentColumns) {
    const shm::Region* const region = table->find("agent." + std::string(column.name));
    ASSERT_NE(region, nullptr) << column.name;
    EXPECT_EQ(region->count, 1'001U);
    EXPECT_EQ(region->element_bytes, column.row_bytes());
    EXPECT_EQ(region->offset % kCacheLine, 0U);
    EXPECT_EQ(region->size_bytes, column_bytes(column, 1'001));
  }
  const Result<shm::Layout> out = station_out_layout(7);
  ASSERT_TRUE(out.has_value());
  for (const ColumnDescription& column : kStationColumns) {
    ASSERT_NE(out->find("self." + std::string(column.name)), nullptr) << column.name;
  }
}

TEST(MemoryMap, ColumnsAreReadByTheTypesTheyDescribe) {
  EXPECT_EQ(kAgentColumns[static_cast<std::size_t>(AgentColumn::latency_ms)].type, "f32");
  EXPECT_EQ(kAgentColumns[static_cast<std::size_t>(AgentColumn::id)].type, "u64");
  EXPECT_EQ(kAgentColumns[static_cast<std::size_t>(AgentColumn::capabilities)].row_bytes(), 32U);
  EXPECT_EQ(kAgentColumns[static_cast<std::size_t>(AgentColumn::name)].row_bytes(), 64U);
  const Result<shm::Layout> table = table_layout({.agents = 10, .stations = 1});
  ASSERT_TRUE(table.has_value());
  void* const place = std::aligned_alloc(4'096, table->total_bytes());
  const std::unique_ptr<void, decltype(&std::free)> owner(place, &std::free);
  const std::span<std::byte> mapping(static_cast<std::byte*>(place), table->total_bytes());
  EXPECT_TRUE(table->column<float>(mapping, "agent.latency_ms").has_value());
  EXPECT_TRUE(table->column<std::uint16_t>(mapping, "agent.score").has_value());
  EXPECT_FALSE(table->column<double>(mapping, "agent.latency_ms").has_value());
}

// One process writes each memory, so its regions' writers are threads of that process.
TEST(MemoryMap, NamesAWriterOfTheRightProcessForEveryRegion) {
  const Result<MemoryMap> map = memory_map(kReferenceMesh);
  ASSERT_TRUE(map.has_value());
  for (const MemoryPlan& memory : map->memories) {
    for (const shm::Region& region : memory.layout.regions()) {
      if (region.name == "header") continue;
      EXPECT_TRUE(region.writer.starts_with(memory.description->writer))
          << memory.description->name << " " << region.name << ": " << region.writer;
      EXPECT_FALSE(region.meaning.empty()) << region.name;
    }
  }
}

TEST(MemoryMap, HashDependsOnTheSizeAlone) {
  const auto hash = [](const MeshSize& size) { return memory_map(size)->hash(); };
  EXPECT_EQ(hash({.agents = 100, .stations = 2}), hash({.agents = 100, .stations = 2}));
  EXPECT_NE(hash({.agents = 100, .stations = 2}), hash({.agents = 101, .stations = 2}));
}

RC_GTEST_PROP(MemoryMapProperty, RegionsStandInOrderWithinTheMemoryAndNeverShareALine, ()) {
  const auto agents = *rc::gen::inRange<std::uint64_t>(1, kMaxAgents + 1);
  const auto stations = *rc::gen::inRange<std::uint64_t>(1, 2'000);
  const Result<MemoryMap> map = memory_map({.agents = agents, .stations = stations});
  RC_ASSERT(map.has_value());
  for (const MemoryPlan& memory : map->memories) {
    std::size_t end = 0;
    for (const shm::Region& region : memory.layout.regions()) {
      RC_ASSERT(region.offset >= end);
      RC_ASSERT(region.offset % kCacheLine == 0U);
      RC_ASSERT(region.size_bytes >= region.count * region.element_bytes);
      end = region.offset + region.size_bytes;
    }
    RC_ASSERT(end <= memory.layout.total_bytes());
  }
}

RC_GTEST_PROP(MemoryMapProperty, MoreAgentsNeverNeedLess, ()) {
  const auto agents = *rc::gen::inRange<std::uint64_t>(1, kMaxAgents);
  const auto more = *rc::gen::inRange<std::uint64_t>(agents, kMaxAgents + 1);
  const auto stations = *rc::gen::inRange<std::uint64_t>(1, 300);
  RC_ASSERT(memory_map({.agents = agents, .stations = stations})->total_bytes() <=
            memory_map({.agents = more, .stations = stations})->total_bytes());
}

}  // namespace of_memory_map_test
}  // namespace mesh::engine
