// What is SQLite's alone.
#include <fstream>

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
