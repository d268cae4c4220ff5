// Copies of a PostgreSQL store, by pg_dump and pg_restore and a server of the test's own.
#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>

#include "engine/store/store_copy.hpp"
#include "tests/engine/store/store_fixture.hpp"

namespace mesh::testing {
namespace of_postgres_copy_test {

using ::testing::HasSubstr;

class PostgresCopy : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string missing = PostgresBackend::missing(); !missing.empty())
      GTEST_SKIP() << missing;
    auto opened = engine::open_store({.where = from_.where()});
    ASSERT_TRUE(opened.has_value()) << opened.error().sentence;
    store_ = std::move(*opened);
    auto records = conflicts(1, 50);
    records.push_back(step_of(records[3], 1, engine::ConflictState::resolved));
    records[7].expected.clear();
    records[8].detail = "tab\there, line\nthere, \\ and \"quotes\"";
    ASSERT_TRUE(store_->append(records).has_value());
    const engine::HistoryPoint point{.cluster = 1, .minute = 5, .agents = 30, .score_mean = 1.5};
    ASSERT_TRUE(store_->append_history(std::span(&point, 1)).has_value());
  }
  Result<engine::StoreContent> copy() {
    return engine::copy_store({.from = from_.where(), .to = dump_});
  }

  PostgresBackend from_;
  PostgresBackend to_;
  ScratchDirectory folder_;
  std::string dump_ = folder_.file("store.dump");
  std::unique_ptr<engine::Store> store_;
};

TEST_F(PostgresCopy, RefusesWhatIsThereWhatCannotBeReachedAndNamesTheProgramThatIsMissing) {
  std::ofstream(dump_) << "mine";
  EXPECT_EQ(copy().error().code, Errc::already_exists);
  const auto nowhere = engine::copy_store(
      {.from = "postgresql://mesh@127.0.0.1:1/none", .to = dump_, .busy_ms = 2'000});
  EXPECT_EQ(nowhere.error().code, Errc::closed);
  std::filesystem::remove(dump_);
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", folder_.path().c_str(), 1);
  const auto refused = copy();
  ::setenv("PATH", path.c_str(), 1);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::unsupported);
  EXPECT_THAT(refused.error().sentence, HasSubstr("pg_dump is not there"));
}

TEST_F(PostgresCopy, IsTheStoreOfOneMomentAndMakesAStoreThatGoesOn) {
  const auto made = copy();
  ASSERT_TRUE(made.has_value()) << made.error().sentence;
  EXPECT_EQ(made->records, 51U);
  EXPECT_EQ(made->history, 1U);
  ASSERT_TRUE(store_->append(conflicts(100, 3)).has_value()) << "what comes after is not in it";
  const Status checked = engine::check_copy(engine::StoreKind::postgres, dump_, *made);
  EXPECT_TRUE(checked.has_value()) << checked.error().sentence;
  EXPECT_EQ(engine::put_back(engine::StoreKind::postgres, dump_, from_.where()).error().code,
            Errc::already_exists);
  const Status back = engine::put_back(engine::StoreKind::postgres, dump_, to_.where());
  ASSERT_TRUE(back.has_value()) << back.error().sentence;
  const auto again = engine::open_store({.where = to_.where()});
  ASSERT_TRUE(again.has_value()) << again.error().sentence;
  EXPECT_EQ(*(*again)->head(), made->head);
  EXPECT_TRUE((*again)->append(conflicts(100, 1)).has_value());
  EXPECT_FALSE(to_.sql("DELETE FROM records")) << "append-only, as before";
}

TEST_F(PostgresCopy, OfAnotherContentOrAStoreWhoseChainIsBrokenIsFound) {
  auto made = copy();
  ASSERT_TRUE(made.has_value()) << made.error().sentence;
  engine::StoreContent other = *made;
  ++other.records;
  EXPECT_EQ(engine::check_copy(engine::StoreKind::postgres, dump_, other).error().code,
            Errc::verification_failed);
  ASSERT_TRUE(
      from_.sql("ALTER TABLE records DISABLE TRIGGER USER;"
                "UPDATE records SET detail = 'x' WHERE position = 7"));
  std::filesystem::remove(dump_);
  made = copy();
  ASSERT_TRUE(made.has_value()) << made.error().sentence;
  const Status broken = engine::check_copy(engine::StoreKind::postgres, dump_, *made);
  ASSERT_FALSE(broken.has_value());
  EXPECT_THAT(broken.error().sentence, HasSubstr("record 7"));
}

TEST_F(PostgresCopy, OfAFileThatWasCutThereIsNone) {
  const auto made = copy();
  ASSERT_TRUE(made.has_value()) << made.error().sentence;
  std::filesystem::resize_file(dump_, std::filesystem::file_size(dump_) / 2);
  EXPECT_FALSE(engine::check_copy(engine::StoreKind::postgres, dump_, *made).has_value());
  EXPECT_FALSE(engine::put_back(engine::StoreKind::postgres, dump_, to_.where()).has_value());
}

}  // namespace of_postgres_copy_test
}  // namespace mesh::testing
