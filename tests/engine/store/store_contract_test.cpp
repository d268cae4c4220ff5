// What every store promises, over SQLite and PostgreSQL alike (mesh.md 11, engine/store/store.hpp).
#include <algorithm>

#include "tests/engine/store/store_fixture.hpp"

namespace mesh::engine {
namespace of_store_contract_test {

using testing::conflict;
using testing::conflicts;
using testing::step_of;

template <class Backend>
class StoreContract : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Backend::missing().empty()) GTEST_SKIP() << Backend::missing();
    backend_ = std::make_unique<Backend>();
    open();
  }
  void open() {
    store_.reset();
    auto opened = open_store({.where = backend_->where()});
    ASSERT_TRUE(opened) << opened.error().sentence;
    store_ = std::move(*opened);
  }
  void append(const std::vector<Record>& records) {
    const auto done = store_->append(records);
    ASSERT_TRUE(done) << done.error().sentence;
    ASSERT_EQ(done->appended, records.size());
  }
  std::vector<std::uint64_t> positions(const RecordQuery& query) {
    std::vector<std::uint64_t> found;
    const auto records = store_->find(query);
    EXPECT_TRUE(records) << records.error().sentence;
    if (!records) return found;
    for (const StoredRecord& record : *records) found.push_back(record.at.position);
    return found;
  }
  Verification verify(const std::optional<ChainHead>& kept = {}) {
    auto seen = store_->verify(kept);
    EXPECT_TRUE(seen) << seen.error().sentence;
    return seen.value_or(Verification{});
  }
  // Past the triggers, as somebody with the file or the superuser's rights would.
  void tamper(const std::string& statement) {
    const bool is_sqlite = backend_->where().find("://") == std::string::npos;
    const std::string unlocked =
        is_sqlite ? "DROP TRIGGER records_no_update; DROP TRIGGER records_no_delete; " + statement
                  : "SET session_replication_role = replica; " + statement;
    ASSERT_TRUE(backend_->sql(unlocked)) << statement;
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Store> store_;
};

// Compiled once for each: SqliteBackend, PostgresBackend.
using Backends = ::testing::Types<testing::MESH_STORE_BACKEND>;
TYPED_TEST_SUITE(StoreContract, Backends);

TYPED_TEST(StoreContract, RefusesARecordThatNamesNothingAndKeepsNoneOfItsGroup) {
  auto records = conflicts(1, 3);
  records[2].subject = {};
  const auto done = this->store_->append(records);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::invalid_argument);
  EXPECT_EQ(this->store_->head()->position, 0U);
}

TYPED_TEST(StoreContract, RefusesALimitThatIsNone) {
  for (const std::uint32_t limit : {0U, kQueryLimitMax + 1}) {
    const auto found = this->store_->find({.limit = limit});
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, Errc::invalid_argument);
  }
}

TYPED_TEST(StoreContract, GivesBackEveryFieldAsItWasAppended) {
  Record record = conflict(1);
  record.subject = {~std::uint64_t{0}, ~std::uint64_t{0} - 1};
  record.agent = static_cast<AgentId>(~std::uint64_t{0});
  record.operation = static_cast<OperationId>(~std::uint64_t{0});
  record.strategy = 255;
  record.detail = "{\"depth\":11}";
  this->append({record});
  const auto found = this->store_->find({});
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 1U);
  EXPECT_EQ((*found)[0].record, record);
}

TYPED_TEST(StoreContract, GivesConsecutivePositionsFromOneAcrossAppendsAndReopenings) {
  this->append(conflicts(1, 3));
  this->open();
  this->append(conflicts(4, 2));
  EXPECT_EQ(this->positions({}), (std::vector<std::uint64_t>{5, 4, 3, 2, 1}));
  EXPECT_EQ(this->store_->head()->position, 5U);
}

TYPED_TEST(StoreContract, KeepsOnceWhatIsAppendedTwice) {
  this->append(conflicts(1, 200));
  auto again = conflicts(150, 100);
  again.push_back(again.back());  // twice within one group
  const auto done = this->store_->append(again);
  ASSERT_TRUE(done) << done.error().sentence;
  EXPECT_EQ(done->appended, 49U);
  EXPECT_EQ(done->repeated, 52U);
  EXPECT_EQ(done->head.position, 249U);
  EXPECT_TRUE(this->verify().whole);
}

TYPED_TEST(StoreContract, IsQueriedByTimeAgentTypeKindAndSubject) {
  std::vector<Record> records;
  for (std::uint64_t i = 1; i <= 20; ++i) {
    records.push_back(conflict(i, i % 4));
    if (i % 5 == 0) records.back().type = sched::ConflictType::temporal_paradox;
  }
  this->append(records);
  EXPECT_EQ(this->positions({.from = static_cast<WireTime>(3 * kNsPerSecond),
                             .until = static_cast<WireTime>(6 * kNsPerSecond)}),
            (std::vector<std::uint64_t>{5, 4, 3}));
  EXPECT_EQ(this->positions({.agent = AgentId{1}}), (std::vector<std::uint64_t>{17, 13, 9, 5, 1}));
  EXPECT_EQ(this->positions({.type = sched::ConflictType::temporal_paradox}),
            (std::vector<std::uint64_t>{20, 15, 10, 5}));
  EXPECT_EQ(this->positions({.agent = AgentId{1}, .type = sched::ConflictType::temporal_paradox}),
            (std::vector<std::uint64_t>{5}));
  EXPECT_EQ(this->positions({.subject = records[6].subject}), (std::vector<std::uint64_t>{7}));
  EXPECT_TRUE(this->positions({.kind = StoredKind::result}).empty());
}

TYPED_TEST(StoreContract, ShowsPageAfterPageWithoutAGapOrARepetition) {
  auto records = conflicts(1, 25);
  for (Record& record : records) record.at = WireTime{kNsPerSecond};  // all at one instant
  this->append(records);
  std::vector<std::uint64_t> seen;
  RecordQuery query{.limit = 10};
  for (;;) {
    const auto page = this->store_->find(query);
    ASSERT_TRUE(page);
    if (page->empty()) break;
    for (const StoredRecord& record : *page) seen.push_back(record.at.position);
    query.before = RecordPlace{page->back().record.at, page->back().at.position};
  }
  ASSERT_EQ(seen.size(), 25U);
  EXPECT_TRUE(std::is_sorted(seen.rbegin(), seen.rend()));
}

TYPED_TEST(StoreContract, FindsConflictsByWhatHasBecomeOfThem) {
  const auto records = conflicts(1, 4);
  this->append(records);
  this->append({step_of(records[1], 1, ConflictState::resolving),
                step_of(records[2], 1, ConflictState::resolving)});
  this->append({step_of(records[1], 2, ConflictState::resolved)});
  const auto in = [&](ConflictState state) { return this->positions({.state_now = state}); };
  EXPECT_EQ(in(ConflictState::open), (std::vector<std::uint64_t>{4, 1}));
  EXPECT_EQ(in(ConflictState::resolving), (std::vector<std::uint64_t>{3}));
  EXPECT_EQ(in(ConflictState::resolved), (std::vector<std::uint64_t>{2}));
  EXPECT_TRUE(in(ConflictState::for_person).empty());
  EXPECT_TRUE(this->verify().whole);
}

TYPED_TEST(StoreContract, RefusesUpdateAndDeleteByAnyProgram) {
  this->append(conflicts(1, 3));
  for (const char* const statement :
       {"UPDATE records SET priority = 0 WHERE position = 2", "DELETE FROM records",
        "DELETE FROM records WHERE position = 3"})
    EXPECT_FALSE(this->backend_->sql(statement)) << statement;
  EXPECT_EQ(this->positions({}).size(), 3U);
  EXPECT_TRUE(this->verify().whole);
}

TYPED_TEST(StoreContract, VerifyFindsARecordThatWasEditedAndNamesIt) {
  this->append(conflicts(1, 700));
  this->tamper("UPDATE records SET priority = 1 WHERE position = 650");
  const Verification seen = this->verify();
  EXPECT_FALSE(seen.whole);
  EXPECT_EQ(seen.broken_position, 650U);
  EXPECT_EQ(seen.checked, 649U);
}

TYPED_TEST(StoreContract, VerifyFindsARecordThatWasTakenOut) {
  this->append(conflicts(1, 10));
  this->tamper("DELETE FROM records WHERE position = 4");
  EXPECT_EQ(this->verify().broken_position, 4U);
}

TYPED_TEST(StoreContract, VerifyFindsTwoRecordsThatChangedPlaces) {
  this->append(conflicts(1, 10));
  this->tamper(
      "UPDATE records SET position = -1 WHERE position = 4;"
      "UPDATE records SET position = 4 WHERE position = 5;"
      "UPDATE records SET position = 5 WHERE position = -1");
  EXPECT_EQ(this->verify().broken_position, 4U);
}

TYPED_TEST(StoreContract, VerifyFindsARecordBeforeTheFirst) {
  this->append(conflicts(1, 3));
  this->tamper("UPDATE records SET position = -5 WHERE position = 1");
  EXPECT_EQ(this->verify().broken_position, 1U);
}

TYPED_TEST(StoreContract, VerifyFindsAMissingTail) {
  this->append(conflicts(1, 10));
  this->tamper("DELETE FROM records WHERE position > 7");
  EXPECT_EQ(this->verify().broken_position, 8U);
}

TYPED_TEST(StoreContract, VerifyFindsAChainThatWasCutWithItsHeadByAHeadKeptElsewhere) {
  this->append(conflicts(1, 10));
  const ChainHead kept = this->store_->head().value();
  EXPECT_TRUE(this->verify(kept).whole);
  this->tamper(
      "DELETE FROM records WHERE position > 7;"
      "DELETE FROM conflict_states WHERE conflict_position > 7;"
      "UPDATE chain_head SET position = 7,"
      " hash = (SELECT hash FROM records WHERE position = 7)");
  EXPECT_TRUE(this->verify().whole);  // what is there fits together
  EXPECT_EQ(this->verify(kept).broken_position, 8U);
}

TYPED_TEST(StoreContract, VerifyFindsAChainThatWasWrittenAnewByAHeadKeptElsewhere) {
  this->append(conflicts(1, 5));
  const ChainHead of_another{.position = 3, .hash = {std::byte{1}}};
  EXPECT_EQ(this->verify(of_another).broken_position, 3U);
}

TYPED_TEST(StoreContract, VerifyFindsAStateThatNoRecordGave) {
  this->append(conflicts(1, 5));
  this->tamper("UPDATE conflict_states SET state = 4 WHERE conflict_position = 2");
  EXPECT_EQ(this->verify().broken_position, 2U);
}

TYPED_TEST(StoreContract, DoesNotOpenAStoreWhoseTailIsMissing) {
  this->append(conflicts(1, 5));
  this->tamper("DELETE FROM records WHERE position = 5");
  const auto opened = open_store({.where = this->backend_->where()});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::corrupt);
}

TYPED_TEST(StoreContract, DoesNotOpenTablesOfAnotherVersion) {
  ASSERT_TRUE(this->backend_->sql("UPDATE store_version SET version = 99"));
  const auto opened = open_store({.where = this->backend_->where()});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::version_skew);
}

TYPED_TEST(StoreContract, TwoWritersTakeTurnsOnOneChain) {
  auto other = open_store({.where = this->backend_->where()});
  ASSERT_TRUE(other) << other.error().sentence;
  for (std::uint64_t i = 0; i < 10; ++i) {
    this->append(conflicts(1 + 10 * i, 5));
    ASSERT_TRUE((*other)->append(conflicts(6 + 10 * i, 5)));
  }
  EXPECT_EQ(this->verify().checked, 100U);
  EXPECT_TRUE(this->verify().whole);
}

TYPED_TEST(StoreContract, RollsBackAGroupOfWhichOneRecordCannotBeKept) {
  this->append(conflicts(1, 3));
  // A step may come before its conflict only if the conflict never comes as a second first.
  auto group = conflicts(10, 2);
  group[1].state = static_cast<ConflictState>(200);
  EXPECT_FALSE(this->store_->append(group));
  this->append(conflicts(20, 1));
  EXPECT_EQ(this->verify().checked, 4U);
}

HistoryPoint point(std::uint32_t cluster, std::int64_t minute) {
  return {cluster, minute, 30, 29, 12.5 + cluster, 99.25};
}

TYPED_TEST(StoreContract, KeepsAPointOfHistoryAsItFirstCame) {
  std::vector<HistoryPoint> points;
  for (std::uint32_t cluster = 0; cluster < 100; ++cluster) {
    for (std::int64_t minute = 1'000; minute < 1'003; ++minute)
      points.push_back(point(cluster, minute));
  }
  ASSERT_TRUE(this->store_->append_history(points));
  HistoryPoint other = point(5, 1'001);
  other.active = 1;
  ASSERT_TRUE(this->store_->append_history(std::array{other}));
  const auto seen =
      this->store_->history({.cluster = 5, .from_minute = 1'001, .until_minute = 1'003});
  ASSERT_TRUE(seen) << seen.error().sentence;
  EXPECT_EQ(*seen, (std::vector<HistoryPoint>{point(5, 1'001), point(5, 1'002)}));
}

TYPED_TEST(StoreContract, LetsHistoryGoAfterThirtyDaysAndNotBefore) {
  ASSERT_TRUE(this->store_->append_history(
      std::array{point(1, 100), point(1, 101), point(1, 100 + kHistoryMinutes)}));
  EXPECT_FALSE(this->backend_->sql("DELETE FROM history WHERE minute = 101"));
  // Shorter than 30 days cannot be asked for.
  const auto trimmed = this->store_->trim({.history_minutes = 1});
  ASSERT_TRUE(trimmed) << trimmed.error().sentence;
  EXPECT_EQ(trimmed->points, 1U);  // the one of exactly 30 days ago went
  EXPECT_EQ(this->store_->history({.cluster = 1, .until_minute = 1'000'000})->size(), 2U);
  EXPECT_FALSE(this->backend_->sql("UPDATE history SET active = 0"));
}

TYPED_TEST(StoreContract, LetsHistoryGoBitByBitTheOldestFirst) {
  std::vector<HistoryPoint> points;
  for (std::int64_t minute = 0; minute < 10; ++minute) points.push_back(point(1, minute));
  points.push_back(point(1, 2 * kHistoryMinutes));
  ASSERT_TRUE(this->store_->append_history(points));
  EXPECT_EQ(this->store_->trim({.most = 4})->points, 4U);
  const auto left = this->store_->history({.cluster = 1, .until_minute = 100});
  ASSERT_EQ(left->size(), 6U);
  EXPECT_EQ(left->front().minute, 4);
  EXPECT_EQ(this->store_->trim({.most = 100})->points, 6U);
  EXPECT_EQ(this->store_->trim({.most = 100})->points, 0U);
  EXPECT_EQ(this->store_->trim({.history_minutes = 3 * kHistoryMinutes})->points, 0U);
}

TYPED_TEST(StoreContract, AddsPointsUpToTrends) {
  std::vector<HistoryPoint> points;
  for (std::int64_t minute = 120; minute < 240; ++minute) {
    points.push_back({70, minute, 30, 30, 10, 20});
    points.push_back({71, minute, 20, minute < 180 ? 10U : 0U, 30, static_cast<double>(minute)});
    points.push_back({80, minute, 5, 5, 1'000, 1'000});  // of another sector
  }
  ASSERT_TRUE(this->store_->append_history(points));
  const auto rows = this->store_->trend({.first_cluster = 70,
                                         .past_cluster = 80,
                                         .from_minute = 150,
                                         .until_minute = 240,
                                         .step_minutes = 60});
  ASSERT_TRUE(rows) << rows.error().sentence;
  EXPECT_EQ(*rows, (std::vector<TrendRow>{{.minute = 120,
                                           .minutes = 30,
                                           .agents = 1'500,
                                           .active = 1'200,
                                           .score_mean = 20,
                                           .score_p95 = 179},
                                          {.minute = 180,
                                           .minutes = 60,
                                           .agents = 3'000,
                                           .active = 1'800,
                                           .score_mean = 10,
                                           .score_p95 = 20}}));
  EXPECT_EQ(
      this->store_->trend({.past_cluster = 9, .until_minute = 9, .step_minutes = 0}).error().code,
      Errc::invalid_argument);
  EXPECT_TRUE(this->store_->trend({.past_cluster = 9, .until_minute = 9})->empty());
}

OperationResult result(std::uint64_t number, std::uint8_t kind = 1, std::uint8_t verdict = 1) {
  return {.id = {7, number},
          .source = static_cast<AgentId>(number % 3),
          .kind = kind,
          .strategy = 2,
          .verdict = verdict,
          .opened = WireTime{static_cast<std::int64_t>(number) * kNsPerSecond - 5},
          .ended = WireTime{static_cast<std::int64_t>(number) * kNsPerSecond},
          .target = WireTime{3},
          .targeted = 30'000,
          .sent = 29'000,
          .ready = 28'000,
          .conflict = 17,
          .error_p50_ns = 1'234,
          .error_p99_ns = 5'678'901'234};
}

TYPED_TEST(StoreContract, KeepsAResultAsItFirstCameAndFindsItByWhatIsAsked) {
  std::vector<OperationResult> all;
  for (std::uint64_t i = 1; i <= 200; ++i)
    all.push_back(result(i, i % 10 == 0 ? 3 : 1, i % 4 == 0 ? 2 : 1));
  ASSERT_TRUE(this->store_->append_results(all));
  OperationResult again = all[4];
  again.ready = 0;
  ASSERT_TRUE(this->store_->append_results(std::array{again}));
  const auto newest = this->store_->results({.limit = 3});
  ASSERT_TRUE(newest) << newest.error().sentence;
  EXPECT_EQ(*newest, (std::vector<OperationResult>{all[199], all[198], all[197]}));
  EXPECT_EQ(this->store_->results({.kind = 3, .verdict = 2})->size(), 10U);
  const auto some = this->store_->results(
      {.from = WireTime{5 * kNsPerSecond}, .until = WireTime{7 * kNsPerSecond}});
  EXPECT_EQ(*some, (std::vector<OperationResult>{all[5], all[4]}));
  EXPECT_EQ(this->store_->results({.limit = 0}).error().code, Errc::invalid_argument);
  EXPECT_FALSE(this->backend_->sql("UPDATE operation_results SET ready = 0"));
}

TYPED_TEST(StoreContract, LetsResultsGoByAgeAndByNumberTheOldestFirst) {
  std::vector<OperationResult> all;
  for (std::uint64_t i = 1; i <= 100; ++i) all.push_back(result(i));
  ASSERT_TRUE(this->store_->append_results(all));
  EXPECT_EQ(this->store_->trim({.results_max = 100})->results, 0U);
  EXPECT_EQ(this->store_->trim({.results_max = 60, .most = 30})->results, 30U);
  EXPECT_EQ(this->store_->trim({.results_max = 60, .most = 30})->results, 10U);
  EXPECT_EQ(this->store_->trim({.results_ns = 50 * kNsPerSecond})->results, 10U);
  const auto left = this->store_->results({.limit = 1'000});
  ASSERT_EQ(left->size(), 50U);
  EXPECT_EQ(left->back(), all[50]);
}

TYPED_TEST(StoreContract, KeepsHistoryAndResultsApartFromTheChain) {
  this->append(conflicts(1, 3));
  ASSERT_TRUE(this->store_->append_history(std::array{point(1, 1)}));
  ASSERT_TRUE(this->store_->append_results(std::array{result(1)}));
  EXPECT_TRUE(this->verify().whole);
  auto again = open_store({.where = this->backend_->where()});
  ASSERT_TRUE(again) << again.error().sentence;
  EXPECT_EQ((*again)->results({})->size(), 1U);
}

TYPED_TEST(StoreContract, GivesTheNewestSnapshotOfAScopeAndNoOther) {
  const std::string bytes(300'000, '\x01');
  ASSERT_TRUE(this->store_->keep_snapshot({"mesh", WireTime{5}, "old"}));
  ASSERT_TRUE(this->store_->keep_snapshot({"mesh", WireTime{9}, bytes}));
  ASSERT_TRUE(this->store_->keep_snapshot({"sector 7", WireTime{10}, "another"}));
  EXPECT_EQ(*this->store_->newest_snapshot("mesh"), (Snapshot{"mesh", WireTime{9}, bytes}));
  EXPECT_EQ(this->store_->newest_snapshot("sector 8").error().code, Errc::not_found);
  EXPECT_FALSE(this->store_->keep_snapshot({"mesh", WireTime{9}, "again"}));
  EXPECT_FALSE(this->backend_->sql("DELETE FROM snapshots"));
}

TYPED_TEST(StoreContract, DoesNotGiveASnapshotThatIsNotWhatWasKept) {
  ASSERT_TRUE(this->store_->keep_snapshot({"mesh", WireTime{5}, "0123"}));
  const bool is_sqlite = this->backend_->where().find("://") == std::string::npos;
  ASSERT_TRUE(this->backend_->sql(
      is_sqlite ? "DROP TRIGGER snapshots_no_update; UPDATE snapshots SET bytes = x'30'"
                : "SET session_replication_role = replica; UPDATE snapshots SET bytes = '0'"));
  EXPECT_EQ(this->store_->newest_snapshot("mesh").error().code, Errc::corrupt);
}

TYPED_TEST(StoreContract, RefusesAContextOfNobodyAndOneThatIsTooLong) {
  const ContextOwner nine{"nine", 1'000};
  EXPECT_EQ(this->store_->keep_context({.owner = {"", 1'000}, .bytes = "x"}).error().code,
            Errc::invalid_argument);
  const auto big =
      this->store_->keep_context({.owner = nine, .bytes = std::string(kContextBytesMax + 1, 'x')});
  EXPECT_EQ(big.error().code, Errc::invalid_argument);
  EXPECT_TRUE(this->store_->contexts(nine)->empty());
  const auto most =
      this->store_->keep_context({.owner = nine, .bytes = std::string(kContextBytesMax, 'x')});
  ASSERT_TRUE(most) << most.error().sentence;
  EXPECT_EQ(this->store_->contexts(nine)->front().bytes.size(), kContextBytesMax);
}

TYPED_TEST(StoreContract, KeepsTheLastThreeContextsOfAnAgent) {
  const ContextOwner nine{"nine", 1'000};
  for (std::uint64_t version = 1; version <= 5; ++version) {
    const auto kept = this->store_->keep_context(
        {.owner = nine, .at = WireTime{50}, .bytes = "context " + std::to_string(version)});
    ASSERT_TRUE(kept) << kept.error().sentence;
    EXPECT_EQ(*kept, version);
  }
  EXPECT_EQ(*this->store_->keep_context({.owner = {"eight", 1'000}, .bytes = "x"}), 1U);
  const auto seen = this->store_->contexts(nine);
  ASSERT_TRUE(seen) << seen.error().sentence;
  ASSERT_EQ(seen->size(), 3U);
  EXPECT_EQ((*seen)[0].bytes, "context 5");
  EXPECT_EQ((*seen)[0].owner, nine);
  EXPECT_EQ((*seen)[2].bytes, "context 3");
  EXPECT_FALSE(this->backend_->sql("DELETE FROM agent_contexts WHERE version = 4"));
}

TYPED_TEST(StoreContract, KeepsAContextThatIsHandedOverAgainOnce) {
  const ContextOwner nine{"nine", 1'000};
  for (const char* const bytes : {"a", "a", "b", "b", "a"})
    ASSERT_TRUE(this->store_->keep_context({.owner = nine, .bytes = bytes}));
  const auto seen = this->store_->contexts(nine);
  ASSERT_TRUE(seen);
  ASSERT_EQ(seen->size(), 3U);
  EXPECT_EQ((*seen)[0].version, 3U);
  EXPECT_EQ((*seen)[0].bytes, "a");
  EXPECT_EQ((*seen)[1].bytes, "b");
}

TYPED_TEST(StoreContract, GivesNobodyTheContextOfAnotherUsersAgentOfItsName) {
  ASSERT_TRUE(this->store_->keep_context({.owner = {"nine", 1'000}, .bytes = "secret"}));
  EXPECT_TRUE(this->store_->contexts({"nine", 1'001})->empty());
  EXPECT_EQ(*this->store_->keep_context({.owner = {"nine", 1'001}, .bytes = "own"}), 1U);
}

TYPED_TEST(StoreContract, FindsContextsByTheirHash) {
  ASSERT_TRUE(this->store_->keep_context({.owner = {"a", 1}, .at = WireTime{1}, .bytes = "same"}));
  ASSERT_TRUE(this->store_->keep_context({.owner = {"b", 1}, .at = WireTime{2}, .bytes = "same"}));
  ASSERT_TRUE(this->store_->keep_context({.owner = {"b", 1}, .at = WireTime{3}, .bytes = "new"}));
  const std::uint64_t hash = this->store_->contexts({"a", 1})->front().hash;
  const auto seen = this->store_->contexts_of_hash(hash);
  ASSERT_TRUE(seen) << seen.error().sentence;
  ASSERT_EQ(seen->size(), 2U);
  EXPECT_EQ((*seen)[0].owner.name, "b");
  EXPECT_EQ((*seen)[0].version, 1U);
  EXPECT_TRUE(this->store_->contexts_of_hash(hash + 1)->empty());
}

}  // namespace of_store_contract_test
}  // namespace mesh::engine
