// The journal in a file: what it promises as any journal does, and what is its alone: no room, a
// lock, two owners, a damaged file.
#include "engine/store/sqlite_journal.hpp"

#include <filesystem>
#include <fstream>
#include <random>

#include <sqlite3.h>

#include "engine/coordination/blocks/memory_journal.hpp"
#include "engine/store/store.hpp"
#include "tests/seed.hpp"
#include "tests/shm/processes.hpp"

namespace mesh::engine {
namespace of_sqlite_journal_test {

using coordination::Journal;
using coordination::JournalVisitor;
using coordination::MemoryJournal;
using coordination::seal_snapshot;
using coordination::StoredSnapshot;
using testing::ScratchDirectory;

using Bytes = std::vector<std::byte>;

Bytes record_of(std::uint64_t number, std::size_t size = 24) {
  Bytes record(size);
  for (std::size_t i = 0; i < size; ++i) record[i] = static_cast<std::byte>(number * 31 + i);
  return record;
}
StoredSnapshot snapshot_of(std::uint64_t sequence, std::size_t size = 100) {
  return {sequence, seal_snapshot({"test"}, record_of(sequence, size))};
}

struct Collector final : JournalVisitor {
  Status visit(std::uint64_t sequence, std::span<const std::byte> record) override {
    if (sequence == stop_at) return fail(Errc::cancelled, "enough");
    sequences.push_back(sequence);
    records.emplace_back(record.begin(), record.end());
    return {};
  }
  std::uint64_t stop_at = 0;
  std::vector<std::uint64_t> sequences;
  std::vector<Bytes> records;
};

std::vector<std::uint64_t> sequences_of(const Journal& journal, std::uint64_t after = 0) {
  Collector found;
  const auto done = journal.replay(after, found);
  EXPECT_TRUE(done) << done.error().sentence;
  for (std::size_t i = 0; i < found.sequences.size(); ++i) {
    EXPECT_EQ(found.records[i], record_of(found.sequences[i])) << found.sequences[i];
  }
  return found.sequences;
}
void append(Journal& journal, std::uint64_t first, std::uint64_t last) {
  for (std::uint64_t i = first; i <= last; ++i) {
    ASSERT_EQ(journal.append(record_of(i)).value(), i);
  }
}
using Numbers = std::vector<std::uint64_t>;

// --- as any journal ----------------------------------------------------------------------------

struct Memory {
  Journal& journal() { return memory; }
  Journal& opened_again() {
    memory.crash(0);
    return memory;
  }
  MemoryJournal memory;
};
struct File {
  File() { opened_again(); }
  Journal& journal() { return *file; }
  Journal& opened_again() {
    file.reset();
    file = SqliteJournal::open({.where = where, .service = "test"}).value();
    return *file;
  }
  ScratchDirectory folder;
  std::string where = folder.file("journal.db");
  std::unique_ptr<SqliteJournal> file;
};

template <class Kind>
class JournalContract : public ::testing::Test {
 protected:
  Kind kind;
};
using Kinds = ::testing::Types<Memory, File>;
TYPED_TEST_SUITE(JournalContract, Kinds);

TYPED_TEST(JournalContract, NumbersRecordsFromOneWithoutGapsAlsoWhenOpenedAgain) {
  append(this->kind.journal(), 1, 3);
  ASSERT_TRUE(this->kind.journal().sync());
  Journal& again = this->kind.opened_again();
  append(again, 4, 5);
  EXPECT_EQ(sequences_of(again), (Numbers{1, 2, 3, 4, 5}));
}

TYPED_TEST(JournalContract, KeepsWhatWasSyncedAndNothingElseOfADeath) {
  append(this->kind.journal(), 1, 3);
  ASSERT_TRUE(this->kind.journal().sync());
  append(this->kind.journal(), 4, 6);
  EXPECT_EQ(sequences_of(this->kind.opened_again()), (Numbers{1, 2, 3}));
  append(this->kind.journal(), 4, 4);
}

TYPED_TEST(JournalContract, ReplaysWhatComesAfterASequence) {
  append(this->kind.journal(), 1, 5);
  EXPECT_EQ(sequences_of(this->kind.journal(), 3), (Numbers{4, 5})) << "before the sync, too";
  ASSERT_TRUE(this->kind.journal().sync());
  EXPECT_EQ(sequences_of(this->kind.journal(), 3), (Numbers{4, 5}));
  EXPECT_EQ(sequences_of(this->kind.journal(), 5), Numbers{});
}

TYPED_TEST(JournalContract, StopsAtTheVisitorsFirstError) {
  append(this->kind.journal(), 1, 5);
  ASSERT_TRUE(this->kind.journal().sync());
  Collector found;
  found.stop_at = 3;
  EXPECT_EQ(this->kind.journal().replay(0, found).error().code, Errc::cancelled);
  EXPECT_EQ(found.sequences, (Numbers{1, 2}));
}

TYPED_TEST(JournalContract, ForgetsWhatItsSnapshotHolds) {
  append(this->kind.journal(), 1, 4);
  ASSERT_TRUE(this->kind.journal().replace_snapshot(snapshot_of(3)));
  for (const bool is_again : {false, true}) {
    SCOPED_TRACE(is_again);
    Journal& journal = is_again ? this->kind.opened_again() : this->kind.journal();
    EXPECT_EQ(sequences_of(journal, 3), (Numbers{4})) << "it was synced with the snapshot";
    Collector none;
    EXPECT_EQ(journal.replay(2, none).error().code, Errc::not_found);
    EXPECT_EQ(journal.newest_snapshot()->last_sequence, 3U);
    EXPECT_EQ(journal.newest_snapshot()->snapshot, snapshot_of(3).snapshot);
  }
  append(this->kind.journal(), 5, 5);
}

TYPED_TEST(JournalContract, KeepsWhatWasSyncedAfterItsSnapshot) {
  append(this->kind.journal(), 1, 5);
  ASSERT_TRUE(this->kind.journal().sync());
  ASSERT_TRUE(this->kind.journal().replace_snapshot(snapshot_of(3)));
  EXPECT_EQ(sequences_of(this->kind.opened_again(), 3), (Numbers{4, 5}));
}

TYPED_TEST(JournalContract, RefusesASnapshotOfWhatItDoesNotHold) {
  append(this->kind.journal(), 1, 4);
  ASSERT_TRUE(this->kind.journal().replace_snapshot(snapshot_of(3)));
  for (const std::uint64_t sequence : {2U, 5U, 9U}) {
    const auto refused = this->kind.journal().replace_snapshot(snapshot_of(sequence));
    EXPECT_EQ(refused.error().code, Errc::invalid_argument) << sequence;
  }
  EXPECT_EQ(this->kind.journal().newest_snapshot()->last_sequence, 3U);
}

TYPED_TEST(JournalContract, HasNoSnapshotAtFirst) {
  EXPECT_EQ(this->kind.journal().newest_snapshot()->last_sequence, 0U);
  EXPECT_EQ(sequences_of(this->kind.journal()), Numbers{});
  ASSERT_TRUE(this->kind.journal().sync());
}

// --- what is the file's alone ------------------------------------------------------------------

TEST(SqliteJournal, CommitsABurstAtOnce) {
  File kind;
  const auto before = kind.file->commit_count();
  append(*kind.file, 1, 100);
  ASSERT_TRUE(kind.file->sync());
  EXPECT_EQ(kind.file->commit_count(), before + 1);
  ASSERT_TRUE(kind.file->sync());
  EXPECT_EQ(kind.file->commit_count(), before + 1) << "there was nothing to sync";
}

TEST(SqliteJournal, KeepsASnapshotOfManyParts) {
  File kind;
  append(*kind.file, 1, 1);
  const StoredSnapshot large = snapshot_of(1, (3U << 20) + 7);
  ASSERT_TRUE(kind.file->replace_snapshot(large));
  ASSERT_TRUE(kind.file->replace_snapshot(snapshot_of(1)));
  ASSERT_TRUE(kind.file->replace_snapshot(large));
  kind.opened_again();
  EXPECT_EQ(kind.file->newest_snapshot()->snapshot, large.snapshot);
}

TEST(SqliteJournal, SaysThatItIsFullAndLosesNothing) {
  File kind;
  kind.file.reset();
  SqliteJournalOptions small{.where = kind.where, .service = "test", .size_bytes_max = 128U << 10};
  kind.file = SqliteJournal::open(small).value();
  std::uint64_t synced = 0;
  Errc code = Errc::ok;
  while (code == Errc::ok && synced < 100'000) {
    append(*kind.file, synced + 1, synced + 50);
    const auto done = kind.file->sync();
    code = done ? Errc::ok : done.error().code;
    if (done) synced += 50;
  }
  EXPECT_EQ(name_of(code), "no_space");
  EXPECT_GT(synced, 100U);
  EXPECT_EQ(kind.file->append(record_of(1)).error().code, Errc::closed) << "until opened again";
  EXPECT_EQ(kind.file->sync().error().code, Errc::closed);
  kind.file = SqliteJournal::open(small).value();
  EXPECT_EQ(sequences_of(*kind.file).size(), synced);
  ASSERT_TRUE(kind.file->replace_snapshot(snapshot_of(synced, 50'000))) << "full, yet it has room";
  append(*kind.file, synced + 1, synced + 50);
  ASSERT_TRUE(kind.file->sync());
  kind.opened_again();
  EXPECT_EQ(sequences_of(*kind.file, synced).size(), 50U);
}

class Locker {
 public:
  explicit Locker(const std::string& where) {
    EXPECT_EQ(sqlite3_open(where.c_str(), &database_), SQLITE_OK);
    sqlite3_busy_timeout(database_, 1'000);
    run("BEGIN IMMEDIATE");
  }
  ~Locker() {
    run("ROLLBACK");
    sqlite3_close(database_);
  }
  Locker(const Locker&) = delete;
  Locker& operator=(const Locker&) = delete;

 private:
  void run(const char* statement) {
    EXPECT_EQ(sqlite3_exec(database_, statement, nullptr, nullptr, nullptr), SQLITE_OK);
  }
  sqlite3* database_ = nullptr;
};

TEST(SqliteJournal, SaysThatItIsLockedAndLosesNothing) {
  File kind;
  const SqliteJournalOptions hasty{.where = kind.where, .service = "test", .busy_ms = 1};
  kind.file.reset();
  kind.file = SqliteJournal::open(hasty).value();
  append(*kind.file, 1, 3);
  ASSERT_TRUE(kind.file->sync());
  append(*kind.file, 4, 6);
  {
    const Locker locker(kind.where);
    EXPECT_EQ(kind.file->sync().error().code, Errc::busy);
    EXPECT_EQ(kind.file->replace_snapshot(snapshot_of(3)).error().code, Errc::closed);
    EXPECT_EQ(SqliteJournal::open(hasty).error().code, Errc::busy);
  }
  EXPECT_EQ(kind.file->sync().error().code, Errc::closed) << "nobody was answered, or will be";
  kind.opened_again();
  EXPECT_EQ(sequences_of(*kind.file), (Numbers{1, 2, 3}));
}

TEST(SqliteJournal, BelongsToWhoeverOpenedItLast) {
  File kind;
  append(*kind.file, 1, 2);
  ASSERT_TRUE(kind.file->sync());
  append(*kind.file, 3, 3);
  auto later = SqliteJournal::open({.where = kind.where, .service = "test"}).value();
  append(*later, 3, 4);
  ASSERT_TRUE(later->sync());
  EXPECT_EQ(sequences_of(*kind.file), (Numbers{1, 2, 3})) << "what it had, and not the other's";
  EXPECT_EQ(kind.file->sync().error().code, Errc::not_owner);
  EXPECT_EQ(kind.file->sync().error().code, Errc::closed);
  EXPECT_EQ(sequences_of(*later), (Numbers{1, 2, 3, 4}));
  auto stale = std::move(kind.file);
  kind.opened_again();
  EXPECT_EQ(later->replace_snapshot(snapshot_of(4)).error().code, Errc::not_owner);
  EXPECT_EQ(sequences_of(*kind.file), (Numbers{1, 2, 3, 4}));
}

TEST(SqliteJournal, IsReadByWhoeverLooksAndStaysItsOwners) {
  File kind;
  append(*kind.file, 1, 4);
  ASSERT_TRUE(kind.file->replace_snapshot(snapshot_of(2)));
  const SqliteJournalOptions look{.where = kind.where, .service = "test"};
  const auto reader = SqliteJournal::open_to_read(look).value();
  append(*kind.file, 5, 5);
  ASSERT_TRUE(kind.file->sync()) << "it is its owner's still, and nobody is waited for";
  EXPECT_EQ(sequences_of(*reader, 2), (Numbers{3, 4})) << "of the moment at which it was opened";
  EXPECT_EQ(reader->newest_snapshot()->snapshot, snapshot_of(2).snapshot);
  EXPECT_EQ(reader->append(record_of(6)).error().code, Errc::permission_denied);
  EXPECT_EQ(reader->sync().error().code, Errc::permission_denied);
  EXPECT_EQ(reader->replace_snapshot(snapshot_of(4)).error().code, Errc::permission_denied);
  EXPECT_EQ(sequences_of(*SqliteJournal::open_to_read(look).value(), 2), (Numbers{3, 4, 5}));

  const auto refused = [&](const std::string& where, const std::string& service) {
    const SqliteJournalOptions options{.where = where, .service = service};
    return name_of(SqliteJournal::open_to_read(options).error().code);
  };
  EXPECT_EQ(refused(kind.where, "outbox"), "invalid_argument");
  EXPECT_EQ(refused(kind.folder.file("nowhere.db"), "test"), "not_found");
  EXPECT_FALSE(std::filesystem::exists(kind.folder.file("nowhere.db")));
  std::ofstream(kind.folder.file("empty")).flush();
  EXPECT_EQ(refused(kind.folder.file("empty"), "test"), "invalid_argument");
}

TEST(SqliteJournal, RefusesAnothersFile) {
  File kind;
  const auto opened = [&](const std::string& where, const std::string& service) {
    return name_of(SqliteJournal::open({.where = where, .service = service}).error().code);
  };
  EXPECT_EQ(opened(kind.where, "outbox"), "invalid_argument");
  EXPECT_EQ(opened(kind.where, ""), "invalid_argument");
  EXPECT_EQ(opened("", "test"), "invalid_argument");
  EXPECT_EQ(opened(kind.folder.file("none/journal.db"), "test"), "not_found");
  std::ofstream(kind.folder.file("text")) << std::string(8'192, 'x');
  EXPECT_EQ(opened(kind.folder.file("text"), "test"), "corrupt");
  append(*kind.file, 1, 1);
  EXPECT_TRUE(kind.file->sync()) << "whoever was refused does not own it";
}

TEST(SqliteJournal, RefusesAnotherVersionsFile) {
  File kind;
  kind.file.reset();
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(kind.where.c_str(), &database), SQLITE_OK);
  ASSERT_EQ(
      sqlite3_exec(database, "UPDATE journal_head SET version = 9", nullptr, nullptr, nullptr),
      SQLITE_OK);
  sqlite3_close(database);
  const auto opened = SqliteJournal::open({.where = kind.where, .service = "test"});
  EXPECT_EQ(opened.error().code, Errc::version_skew);
  EXPECT_EQ(opened.error().detail, 9);
}

TEST(SqliteJournal, RefusesARecordOverItsLimit) {
  File kind;
  const Bytes large(kJournalRecordBytesMax + 1);
  EXPECT_EQ(kind.file->append(large).error().code, Errc::invalid_argument);
  const Bytes largest(kJournalRecordBytesMax);
  for (std::size_t bytes = 0; bytes < kJournalBurstBytesMax; bytes += largest.size()) {
    ASSERT_TRUE(kind.file->append(largest));
  }
  EXPECT_EQ(kind.file->append(record_of(1)).error().code, Errc::capacity);
}

TEST(SqliteJournal, IsReadableByItsOwnerAlone) {
  const File kind;
  const auto mode = std::filesystem::status(kind.where).permissions();
  EXPECT_EQ(mode, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

// --- a damaged file ----------------------------------------------------------------------------

struct Contents {
  StoredSnapshot snapshot;
  Collector records;
  friend bool operator==(const Contents& a, const Contents& b) {
    return a.snapshot.last_sequence == b.snapshot.last_sequence &&
           a.snapshot.snapshot == b.snapshot.snapshot &&
           a.records.sequences == b.records.sequences && a.records.records == b.records.records;
  }
};
Result<Contents> contents_of(const std::string& where) {
  MESH_TRY(const auto journal, SqliteJournal::open({.where = where, .service = "test"}));
  Contents contents;
  MESH_TRY(contents.snapshot, journal->newest_snapshot());
  MESH_CHECK_OK(journal->replay(contents.snapshot.last_sequence, contents.records));
  return contents;
}
std::string bytes_at(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void write_at(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

TEST(SqliteJournal, NeverReadsDamagedRecordsAsOthersOrAsFewer) {
  File kind;
  append(*kind.file, 1, 60);
  ASSERT_TRUE(kind.file->replace_snapshot(snapshot_of(20, 9'000)));
  kind.file.reset();  // all of it stands in the one file now
  const std::string whole = bytes_at(kind.where);
  const Contents expected = contents_of(kind.where).value();
  ASSERT_EQ(expected.records.sequences.size(), 40U);
  std::mt19937_64 random(testing::seed());
  const std::string damaged_at = kind.folder.file("damaged.db");
  int refused = 0;
  for (int i = 0; i < 1'500; ++i) {
    std::string damaged = whole;
    const std::size_t at = random() % damaged.size();
    damaged[at] = static_cast<char>(damaged[at] ^ static_cast<char>(1U << random() % 8));
    write_at(damaged_at, damaged);
    for (const char* const suffix : {"-wal", "-shm"}) std::filesystem::remove(damaged_at + suffix);
    const auto found = contents_of(damaged_at);
    refused += found ? 0 : 1;
    ASSERT_TRUE(!found || *found == expected) << "byte " << at << ", seed " << testing::seed();
  }
  EXPECT_GT(refused, 200);
}

TEST(SqliteJournal, NamesAMissingRecordAndOneThatHasChanged) {
  const auto after = [](const char* statement) {
    File kind;
    append(*kind.file, 1, 6);
    EXPECT_TRUE(kind.file->replace_snapshot(snapshot_of(2)));
    kind.file.reset();
    sqlite3* database = nullptr;
    EXPECT_EQ(sqlite3_open(kind.where.c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, statement, nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(database);
    const auto found = contents_of(kind.where);
    return found ? std::string("nothing") : found.error().sentence;
  };
  EXPECT_EQ(after("DELETE FROM journal_records WHERE sequence = 4"),
            "journal: record 4 is missing");
  EXPECT_EQ(after("UPDATE journal_records SET record = x'00' WHERE sequence = 5"),
            "journal: record 5 does not match its checksum");
  EXPECT_EQ(after("UPDATE journal_records SET sequence = 9 WHERE sequence = 3;"
                  "UPDATE journal_records SET sequence = 3 WHERE sequence = 4;"
                  "UPDATE journal_records SET sequence = 4 WHERE sequence = 9;"),
            "journal: record 3 does not match its checksum");
  EXPECT_EQ(after("DELETE FROM journal_records WHERE sequence = 6"),
            "journal: it has records 3 to 5, its head says 3 to 6");
  EXPECT_EQ(after("DELETE FROM journal_records WHERE sequence = 3"),
            "journal: it has records 4 to 6, its head says 3 to 6");
  EXPECT_EQ(after("DELETE FROM journal_snapshot"), "journal: a part of its snapshot is missing");
  EXPECT_EQ(after("UPDATE journal_snapshot SET bytes = zeroblob(length(bytes))"),
            "journal: its snapshot does not match its checksum");
  EXPECT_EQ(after("DELETE FROM journal_head"), "journal: its head makes no sense");
  EXPECT_EQ(after("UPDATE journal_head SET last_sequence = 'x'"),
            "journal: its head makes no sense");
}

}  // namespace of_sqlite_journal_test
}  // namespace mesh::engine
