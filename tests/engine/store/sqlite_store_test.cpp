// What is SQLite's alone.
#include <fstream>
#include <utility>

#include <sqlite3.h>

#include "engine/store/schema.hpp"
#include "engine/store/sql_store.hpp"
#include "engine/store/sqlite_connection.hpp"
#include "tests/engine/store/store_fixture.hpp"

namespace mesh::engine {
namespace of_sqlite_store_test {

using testing::conflicts;

// REPLACE removes rows without asking their DELETE triggers.
TEST(SqliteStore, RefusesReplaceAndAPositionOutOfOrder) {
  const testing::SqliteBackend backend;
  auto store = open_store({.where = backend.where()}).value();
  ASSERT_TRUE(store->append(conflicts(1, 3)));
  const std::string columns =
      "subject, step, kind, type, state, priority, strategy, at_ns, agent,"
      " message, operation, context_hash, expected, received, detail, hash";
  const std::string row = " FROM records WHERE position = 2";
  for (const char* const position : {"2", "4", "7", "NULL"})
    EXPECT_FALSE(backend.sql(std::string("INSERT OR REPLACE INTO records SELECT ") + position +
                             ", " + columns + row))
        << position;
  EXPECT_TRUE(store->verify({})->whole);
}

// A trigger that may ABORT has SQLite keep each page of each row's statement aside first.
TEST(SqliteStore, ReplacesTheTriggerThatCostAJournalOfEachRow) {
  const testing::SqliteBackend backend;
  ASSERT_TRUE(open_store({.where = backend.where()}).value()->append(conflicts(1, 3)));
  ASSERT_TRUE(
      backend.sql("DROP TRIGGER records_next; CREATE TRIGGER records_in_order BEFORE INSERT ON"
                  " records WHEN NEW.position <> (SELECT coalesce(max(position), 0) + 1 FROM"
                  " records) BEGIN SELECT RAISE(ABORT, 'not the next record'); END"));
  auto store = open_store({.where = backend.where()}).value();
  EXPECT_FALSE(backend.sql("DROP TRIGGER records_in_order"));
  ASSERT_TRUE(store->append(conflicts(4, 3)));
  EXPECT_FALSE(
      backend.sql("INSERT INTO records SELECT 9, subject, 9, kind, type, state, priority,"
                  " strategy, at_ns, agent, message, operation, context_hash, expected,"
                  " received, detail, hash FROM records WHERE position = 2"));
  EXPECT_EQ(store->verify({})->checked, 6U);
}

// What statement journals are written, seen below SQLite: as long as one of these stands they go to
// a file at once, and not to memory first. No connection is open when it is made or goes.
class StatementJournals {
 public:
  StatementJournals() {
    configure(0);
    real_ = sqlite3_vfs_find(nullptr);
    pages_ = 0;
    ours_ = *real_;
    ours_.zName = "sees-statement-journals";
    ours_.xOpen = &open;
    sqlite3_vfs_register(&ours_, 1);
  }
  ~StatementJournals() {
    sqlite3_vfs_unregister(&ours_);
    configure(kSpillBytes);
  }
  StatementJournals(const StatementJournals&) = delete;
  StatementJournals& operator=(const StatementJournals&) = delete;
  // Copied aside since the last call.
  [[nodiscard]] static int take_pages() { return std::exchange(pages_, 0); }

 private:
  static constexpr int kSpillBytes = 64 * 1'024;  // as it is by itself
  static constexpr int kPageBytes = 4'096;
  static void configure(int spill_bytes) {
    sqlite3_shutdown();
    EXPECT_EQ(sqlite3_config(SQLITE_CONFIG_STMTJRNL_SPILL, spill_bytes), SQLITE_OK);
    EXPECT_EQ(sqlite3_initialize(), SQLITE_OK);
  }
  static int open(sqlite3_vfs* /*ours*/, const char* name, sqlite3_file* file, int flags,
                  int* given) {
    const int code = real_->xOpen(real_, name, file, flags, given);
    if (code != SQLITE_OK || (flags & SQLITE_OPEN_SUBJOURNAL) == 0) return code;
    real_methods_ = file->pMethods;
    our_methods_ = *real_methods_;
    our_methods_.xWrite = &write;
    file->pMethods = &our_methods_;
    return code;
  }
  static int write(sqlite3_file* file, const void* bytes, int size_bytes, sqlite3_int64 at) {
    pages_ += size_bytes == kPageBytes ? 1 : 0;
    return real_methods_->xWrite(file, bytes, size_bytes, at);
  }
  static inline sqlite3_vfs* real_ = nullptr;
  static inline sqlite3_vfs ours_{};
  static inline const sqlite3_io_methods* real_methods_ = nullptr;
  static inline sqlite3_io_methods our_methods_{};
  static inline int pages_ = 0;
};

constexpr int kGroup = 200;

// The store's own way of writing, but that what is temporary goes to files.
Status append_with_files(const testing::SqliteBackend& backend, std::uint64_t first) {
  auto connection = connect_sqlite({.where = backend.where()}).value();
  MESH_CHECK_OK(connection->run("PRAGMA temp_store = FILE"));
  MESH_TRY(auto store, SqlStore::open(std::move(connection), {}));
  const auto done = store->append(conflicts(first, kGroup));
  return done ? Status{} : Status(tl::unexpected(done.error()));
}

// One that SQLite keeps for each record halves what can be appended: five pages copied aside for
// each. With a trigger that may abort it keeps one, which shows that this test would see it. The
// few statements of a group that are not a record's have theirs.
TEST(SqliteStore, KeepsNoJournalOfTheStatementThatWritesARecord) {
  const testing::SqliteBackend backend;
  const StatementJournals journals;
  ASSERT_TRUE(append_with_files(backend, 1));  // makes the tables
  static_cast<void>(journals.take_pages());
  ASSERT_TRUE(append_with_files(backend, 1'001));
  EXPECT_LT(journals.take_pages(), kGroup / 4);
  ASSERT_TRUE(
      backend.sql("CREATE TRIGGER records_may_abort BEFORE INSERT ON records"
                  " WHEN NEW.position < 0 BEGIN SELECT RAISE(ABORT, 'never'); END"));
  static_cast<void>(journals.take_pages());
  ASSERT_TRUE(append_with_files(backend, 2'001));
  EXPECT_GT(journals.take_pages(), 2 * kGroup);
}

// As they were before one index had all of an agent's, by type.
TEST(SqliteStore, ReplacesTheIndicesOfAStoreOfBefore) {
  const testing::SqliteBackend backend;
  ASSERT_TRUE(open_store({.where = backend.where()}).value()->append(conflicts(1, 20)));
  ASSERT_TRUE(backend.sql(
      "DROP INDEX records_of_agent_and_type;"
      "CREATE INDEX records_of_agent ON records (agent, at_ns, position, type);"
      "CREATE INDEX records_by_agent ON records (agent, at_ns, position);"
      "CREATE INDEX records_by_agent_and_type ON records (agent, type, at_ns, position)"));
  auto store = open_store({.where = backend.where()}).value();
  ASSERT_TRUE(store->append(conflicts(21, 20)));
  const auto type = sched::ConflictType::data_contradiction;
  EXPECT_EQ(store->find({.agent = AgentId{7}})->size(), 40U);
  EXPECT_EQ(store->find({.agent = AgentId{7}, .type = type})->size(), 40U);
  EXPECT_TRUE(store->find({.agent = AgentId{8}, .type = type})->empty());
  EXPECT_TRUE(store->verify({})->whole);
  EXPECT_FALSE(backend.sql("DROP INDEX records_by_agent"));
  EXPECT_FALSE(backend.sql("DROP INDEX records_by_agent_and_type"));
  EXPECT_FALSE(backend.sql("DROP INDEX records_of_agent"));
  EXPECT_TRUE(backend.sql("DROP INDEX records_of_agent_and_type"));
}

std::uint64_t bytes_written() {
  std::ifstream io("/proc/self/io");
  for (std::string word; io >> word;) {
    std::uint64_t bytes = 0;
    if (word == "wchar:" && io >> bytes) return bytes;
  }
  return 0;
}

// Of a group each page goes to the log once: about 400 bytes a record. It does not see a statement
// journal, which stays in memory; the test above does.
TEST(SqliteStore, WritesLessThanAKibibyteForEachRecordOfAGroup) {
  if (bytes_written() == 0) GTEST_SKIP() << "/proc/self/io cannot be read here";
  const testing::SqliteBackend backend;
  auto store = open_store({.where = backend.where()}).value();
  std::vector<Record> group = conflicts(1, 2'000);
  for (std::size_t i = 0; i < group.size(); ++i) group[i].agent = static_cast<AgentId>(i % 100);
  ASSERT_TRUE(store->append(conflicts(5'000, 2'000)));
  const std::uint64_t before = bytes_written();
  ASSERT_TRUE(store->append(group));
  const std::uint64_t written = bytes_written() - before;
  EXPECT_LT(written, 2'000U * 1'024);
  EXPECT_GT(written, 2'000U * 100) << "each record's own bytes are among them";
}

// Keeps how SQLite would go about each query, beside its answer.
class Explained final : public SqlConnection {
 public:
  Explained(std::unique_ptr<SqlConnection> real, std::vector<std::string>& plans)
      : real_(std::move(real)), plans_(&plans) {}
  [[nodiscard]] const SqlDialect& dialect() const noexcept override { return real_->dialect(); }
  Status run(const std::string& script) override { return real_->run(script); }
  Result<std::vector<SqlRow>> query(const std::string& statement,
                                    std::span<const SqlValue> values) override {
    const auto plan = real_->query("EXPLAIN QUERY PLAN " + statement, values);
    EXPECT_TRUE(plan) << plan.error().sentence;
    std::string steps;
    if (plan)
      for (const SqlRow& row : *plan) steps += std::get<std::string>(row.back()) + "; ";
    plans_->push_back(steps);
    return real_->query(statement, values);
  }
  Status insert(const SqlTable& table, std::span<const SqlValue> values) override {
    return real_->insert(table, values);
  }

 private:
  std::unique_ptr<SqlConnection> real_;
  std::vector<std::string>* plans_;
};

// mesh.md 11: queried by time, agent, type and state. Each way finds its rows in an index, in their
// order: a store of a million records answers like one of a hundred.
TEST(SqliteStore, EveryQueryUsesAnIndexAndSortsNothing) {
  const testing::SqliteBackend backend;
  ASSERT_TRUE(open_store({.where = backend.where()}).value()->append(conflicts(1, 100)));
  std::vector<std::string> plans;
  auto connection = connect_sqlite({.where = backend.where()}).value();
  const auto store =
      SqlStore::open(std::make_unique<Explained>(std::move(connection), plans), {}).value();
  const WireTime from{0};
  const WireTime until{100 * kNsPerSecond};
  const RecordPlace place{until, 50};
  const AgentId agent{7};
  const auto type = sched::ConflictType::data_contradiction;
  const auto state = ConflictState::open;
  const RecordQuery queries[] = {
      {},
      {.from = from, .until = until},
      {.from = from, .until = until, .before = place},
      {.type = type},
      {.from = from, .until = until, .type = type},
      {.type = type, .before = place},
      {.agent = agent, .type = type},
      {.from = from, .until = until, .agent = agent, .type = type},
      {.agent = agent, .type = type, .before = place},
      {.state_now = state},
      {.from = from, .until = until, .state_now = state},
      {.kind = StoredKind::conflict, .state_now = state, .before = place},
  };
  for (const RecordQuery& query : queries) {
    plans.clear();
    ASSERT_TRUE(store->find(query));
    ASSERT_EQ(plans.size(), 1U);
    const auto at = &query - &queries[0];
    EXPECT_THAT(plans[0], ::testing::AnyOf(::testing::HasSubstr("USING INDEX"),
                                           ::testing::HasSubstr("USING COVERING INDEX")))
        << at;
    EXPECT_THAT(plans[0], ::testing::Not(::testing::HasSubstr("TEMP B-TREE"))) << at;
    // Of all records, newest first, the index itself is walked, as far as the limit.
    const std::string scan = at == 0 ? "SCAN r;" : "SCAN";
    EXPECT_THAT(plans[0], ::testing::Not(::testing::HasSubstr(scan))) << at;
  }
  plans.clear();
  ASSERT_TRUE(store->find({.subject = SubjectId{1'001, 1}}));
  EXPECT_THAT(plans[0], ::testing::HasSubstr("SEARCH")) << "the few of one subject may be sorted";
}

// mesh.md 11 again: of an agent that has a million records of one type, another type's are found
// without a look at those; and of all its types no more than what is asked for is sorted.
TEST(SqliteStore, AnAgentsRecordsAreFoundByTheirType) {
  const testing::SqliteBackend backend;
  ASSERT_TRUE(open_store({.where = backend.where()}).value()->append(conflicts(1, 100)));
  std::vector<std::string> plans;
  auto connection = connect_sqlite({.where = backend.where()}).value();
  const auto store =
      SqlStore::open(std::make_unique<Explained>(std::move(connection), plans), {}).value();
  const AgentId agent{7};
  const auto type = sched::ConflictType::hash_mismatch;
  const RecordPlace place{WireTime{100 * kNsPerSecond}, 50};
  for (const RecordQuery& query : {RecordQuery{.agent = agent, .type = type},
                                   {.agent = agent, .type = type, .before = place},
                                   {.agent = agent},
                                   {.agent = agent, .before = place}}) {
    plans.clear();
    ASSERT_TRUE(store->find(query));
    ASSERT_EQ(plans.size(), 1U);
    EXPECT_THAT(plans[0], ::testing::HasSubstr("records_of_agent_and_type (agent=? AND type=?"));
    EXPECT_THAT(plans[0], ::testing::Not(::testing::HasSubstr("SCAN r;")));
  }
}

TEST(SqliteStore, SaysThatItIsFullKeepsNothingOfTheGroupAndGoesOnAfterwards) {
  const testing::SqliteBackend backend;
  auto store = open_store({.where = backend.where(), .size_bytes_max = 256U << 10}).value();
  std::uint64_t kept = 0;
  Errc code = Errc::ok;
  for (std::uint64_t group = 0; group < 100 && code == Errc::ok; ++group) {
    const auto done = store->append(conflicts(1 + 100 * group, 100));
    if (done) kept = done->head.position;
    if (!done) code = done.error().code;
  }
  EXPECT_EQ(code, Errc::no_space);
  EXPECT_GT(kept, 0U);
  EXPECT_EQ(store->head()->position, kept);
  store = open_store({.where = backend.where()}).value();  // room was made
  ASSERT_TRUE(store->append(conflicts(100'000, 100)));
  const auto seen = store->verify({});
  EXPECT_TRUE(seen->whole) << seen->sentence;
  EXPECT_EQ(seen->checked, kept + 100);
}

TEST(SqliteStore, RefusesAFileThatIsNoDatabaseAndAFolderThatIsNotThere) {
  const testing::ScratchDirectory folder;
  const std::string path = folder.file("text");
  std::ofstream(path) << std::string(8'192, 'x');
  EXPECT_EQ(open_store({.where = path}).error().code, Errc::corrupt);
  EXPECT_EQ(open_store({.where = folder.file("none/mesh.db")}).error().code, Errc::not_found);
  EXPECT_EQ(open_store({.where = ""}).error().code, Errc::invalid_argument);
}

TEST(SqliteStore, IsReadableByItsOwnerAlone) {
  const testing::SqliteBackend backend;
  const auto store = open_store({.where = backend.where()}).value();
  const auto mode = std::filesystem::status(backend.where()).permissions();
  EXPECT_EQ(mode, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST(PostgresStore, SaysWhoDoesNotAnswer) {
  const auto opened = open_store({.where = "postgresql://nobody@127.0.0.1:1/none"});
  ASSERT_FALSE(opened);
  EXPECT_TRUE(opened.error().code == Errc::closed || opened.error().code == Errc::unsupported);
}

}  // namespace of_sqlite_store_test
}  // namespace mesh::engine
