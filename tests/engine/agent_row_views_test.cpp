// What an observer reads of the table's rows.
#include "engine/agent_row_views.hpp"

#include "tests/engine/test_table.hpp"

namespace mesh::testing {
namespace of_agent_row_views_test {

using engine::AgentRow;
using engine::AgentRowViews;

constexpr std::size_t kRows = 40;

AgentRowViews views_of(const TestTable& table) {
  return AgentRowViews::in(table.table_layout(), table.table_bytes()).value();
}

TEST(AgentRowViews, RefusesALayoutThatIsNoTables) {
  const TestTable table(kRows);
  const auto bound = AgentRowViews::in(table.engine_layout(), table.table_bytes());
  ASSERT_FALSE(bound.has_value());
  EXPECT_EQ(bound.error().code, Errc::not_found);
  EXPECT_THAT(bound.error().sentence, ::testing::HasSubstr("agent.sequence"));
}
TEST(AgentRowViews, RefusesAMappingThatIsTooShort) {
  const TestTable table(kRows);
  const auto bound =
      AgentRowViews::in(table.table_layout(), table.table_bytes().first(kCacheLine * 4));
  ASSERT_FALSE(bound.has_value());
  EXPECT_EQ(bound.error().code, Errc::corrupt);
}

TEST(AgentRowViews, ReadsEveryColumnOfTheRowThatWasAskedFor) {
  const TestTable table(kRows);
  const auto rows = table.agents();
  const AgentRowViews views = views_of(table);
  ASSERT_EQ(views.rows(), kRows);
  for (std::size_t row = 0; row < kRows; ++row) {
    const shm::RowWriter<HostMemory> writer(rows.sequence);
    writer.write(row, [&](const shm::RowStores<HostMemory>& stores) {
      stores.store(rows.id, AgentId{1'000 + row});
      stores.store(rows.latency_ms, static_cast<float>(row) + 0.5F);
    });
    rows.score.store_relaxed(row, static_cast<std::uint16_t>(row));
    for (std::size_t word = 0; word < engine::kNameWords; ++word) {
      rows.name.store_relaxed(row * engine::kNameWords + word, 100 * row + word);
    }
    for (std::size_t word = 0; word < engine::kCapabilityWords; ++word) {
      rows.capabilities.store_relaxed(row * engine::kCapabilityWords + word, 200 * row + word);
    }
  }
  for (std::size_t row = 0; row < kRows; ++row) {
    AgentRow copy;
    ASSERT_EQ(views.read(row, copy), shm::ReadStatus::kRead);
    EXPECT_EQ(copy.id, AgentId{1'000 + row});
    EXPECT_EQ(copy.latency_ms, static_cast<float>(row) + 0.5F);
    EXPECT_EQ(copy.score, row);
    EXPECT_EQ(copy.name[7], 100 * row + 7);
    EXPECT_EQ(copy.capabilities[3], 200 * row + 3);
    EXPECT_EQ(copy.is_free(), (100 * row) % 256 == 0);
  }
}

TEST(AgentRowViews, FindsARowBusyWhoseWriterDiedInIt) {
  const TestTable table(kRows);
  const AgentRowViews views = views_of(table);
  const shm::RowWriter<HostMemory> writer(table.agents().sequence);
  static_cast<void>(writer.begin(3));
  AgentRow copy;
  EXPECT_EQ(views.read(3, copy), shm::ReadStatus::kBusy);
  EXPECT_EQ(views.read(4, copy), shm::ReadStatus::kRead);
  writer.end(3);
  EXPECT_EQ(views.read(3, copy), shm::ReadStatus::kRead);
}

}  // namespace of_agent_row_views_test
}  // namespace mesh::testing
