// What every store says of one agent's records, over SQLite and PostgreSQL alike (mesh.md 11).
#include <algorithm>

#include "tests/engine/store/store_fixture.hpp"

namespace mesh::engine {
namespace of_store_agent_contract_test {

using testing::conflict;

template <class Backend>
class AgentRecords : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Backend::missing().empty()) GTEST_SKIP() << Backend::missing();
    backend_ = std::make_unique<Backend>();
    auto opened = open_store({.where = backend_->where()});
    ASSERT_TRUE(opened) << opened.error().sentence;
    store_ = std::move(*opened);
  }
  std::vector<std::uint64_t> positions(const RecordQuery& query) {
    std::vector<std::uint64_t> found;
    const auto records = store_->find(query);
    EXPECT_TRUE(records) << records.error().sentence;
    if (!records) return found;
    for (const StoredRecord& record : *records) found.push_back(record.at.position);
    return found;
  }
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Store> store_;
};

// Compiled once for each: SqliteBackend, PostgresBackend.
using Backends = ::testing::Types<testing::MESH_STORE_BACKEND>;
TYPED_TEST_SUITE(AgentRecords, Backends);

// An agent's types stand apart in the index; its records are one sequence all the same.
TYPED_TEST(AgentRecords, ShowsAnAgentsRecordsOfAllTypesNewestFirstPageAfterPage) {
  std::vector<Record> records;
  std::vector<std::uint64_t> expected;
  for (std::uint64_t i = 1; i <= 60; ++i) {
    records.push_back(conflict(i, i % 3));
    records.back().type = static_cast<sched::ConflictType>(i * i % 7);
    records.back().at = WireTime{static_cast<std::int64_t>(i / 4) * kNsPerSecond};
    if (i % 3 == 1) expected.insert(expected.begin(), i);
  }
  ASSERT_TRUE(this->store_->append(records));
  EXPECT_EQ(this->positions({.agent = AgentId{1}}), expected);
  EXPECT_EQ(this->positions({.agent = AgentId{1}, .kind = StoredKind::conflict}), expected);
  EXPECT_TRUE(this->positions({.agent = AgentId{1}, .kind = StoredKind::step}).empty());
  std::vector<std::uint64_t> seen;
  RecordQuery query{
      .until = static_cast<WireTime>(13 * kNsPerSecond), .agent = AgentId{1}, .limit = 4};
  for (;;) {
    const auto page = this->store_->find(query);
    ASSERT_TRUE(page) << page.error().sentence;
    if (page->empty()) break;
    for (const StoredRecord& record : *page) seen.push_back(record.at.position);
    query.before = RecordPlace{page->back().record.at, page->back().at.position};
  }
  std::erase_if(expected, [](std::uint64_t number) { return number >= 52; });
  EXPECT_EQ(seen, expected);
}

}  // namespace of_store_agent_contract_test
}  // namespace mesh::engine
