#include "engine/store/sqlite_journal.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "engine/coordination/blocks/state_codec.hpp"
#include "engine/store/schema.hpp"
#include "engine/store/sqlite_connection.hpp"

namespace mesh::engine {
namespace {

using coordination::checksum;
using coordination::StoredSnapshot;

constexpr std::int64_t kVersion = 1;
constexpr std::uint64_t kRowsAtOnce = 512;    // held at a time while it is read
constexpr std::size_t kPartBytes = 1U << 20;  // of a snapshot, a row
constexpr std::uint64_t kOdd = 0x9E37'79B9'7F4A'7C15;

constexpr const char* kTables = R"(
CREATE TABLE IF NOT EXISTS journal_head (
  only_row INTEGER PRIMARY KEY, version INTEGER NOT NULL, service BLOB NOT NULL,
  owner INTEGER NOT NULL, last_sequence INTEGER NOT NULL, forgotten_sequence INTEGER NOT NULL,
  snapshot_bytes INTEGER NOT NULL, snapshot_sum INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS journal_records (
  sequence INTEGER PRIMARY KEY, sum INTEGER NOT NULL, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS journal_snapshot (part INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
)";
// A head that is gone while anything else is there is not made anew.
constexpr const char* kFreshHead =
    "INSERT INTO journal_head SELECT 1, $1, $2, 0, 0, 0, 0, 0 "
    "WHERE NOT EXISTS (SELECT 1 FROM journal_head) "
    "AND NOT EXISTS (SELECT 1 FROM journal_records) "
    "AND NOT EXISTS (SELECT 1 FROM journal_snapshot)";
constexpr std::array<std::string_view, 3> kRecordColumns = {"sequence", "sum", "record"};
constexpr SqlTable kRecordTable{.name = "journal_records", .columns = kRecordColumns};
constexpr std::array<std::string_view, 2> kPartColumns = {"part", "bytes"};
constexpr SqlTable kPartTable{.name = "journal_snapshot", .columns = kPartColumns};

SqlValue number(std::uint64_t value) noexcept { return static_cast<std::int64_t>(value); }
std::string_view text_of(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::span<const std::byte> bytes_of_text(std::string_view text) noexcept {
  return std::as_bytes(std::span(text));
}

// Of the bytes and of their place: two records that have changed places do not fit either.
std::uint64_t sum_of(std::uint64_t sequence, std::span<const std::byte> bytes) noexcept {
  return checksum(bytes) ^ (sequence * kOdd);
}

Status done(const Result<std::vector<SqlRow>>& answer) {
  if (!answer) return tl::unexpected(answer.error());
  return {};
}

tl::unexpected<Error> broken(std::uint64_t sequence, const std::string& how) {
  return fail(Errc::corrupt, "journal: record " + std::to_string(sequence) + " " + how,
              static_cast<std::int64_t>(sequence));
}

// Record `sequence`, if the row holds it whole.
Result<std::string> record_of(const SqlRow& row, std::uint64_t sequence) {
  std::int64_t at = 0;
  std::int64_t sum = 0;
  std::string record;
  if (!read(row[0], at) || static_cast<std::uint64_t>(at) != sequence)
    return broken(sequence, "is missing");
  const bool is_whole = read(row[1], sum) && read(row[2], record) &&
                        sum_of(sequence, bytes_of_text(record)) == static_cast<std::uint64_t>(sum);
  if (!is_whole) return broken(sequence, "does not match its checksum");
  return record;
}

}  // namespace

// --- opening -----------------------------------------------------------------------------------

Result<std::unique_ptr<SqliteJournal>> SqliteJournal::open(const SqliteJournalOptions& options) {
  if (options.where.empty() || options.service.empty()) {
    return fail(Errc::invalid_argument, "journal: no file, or no service is given");
  }
  StoreOptions file;
  file.where = options.where;
  file.busy_ms = options.busy_ms;
  file.size_bytes_max = options.size_bytes_max;
  MESH_TRY(auto connection, connect_sqlite(file));
  std::unique_ptr<SqliteJournal> self(new SqliteJournal(std::move(connection), options));
  MESH_CHECK_OK(self->commit([&] { return self->take_over(options.service); }));
  return self;
}

// The read transaction is open until the connection is: all that is read is of one moment.
Result<std::unique_ptr<SqliteJournal>> SqliteJournal::open_to_read(
    const SqliteJournalOptions& options) {
  MESH_TRY(auto reader, connect_sqlite_to_read(options.where));
  std::unique_ptr<SqliteJournal> self(new SqliteJournal(std::move(reader.sql), options));
  self->is_reader_ = true;
  MESH_CHECK_OK(self->connection_->run("PRAGMA busy_timeout = " + std::to_string(options.busy_ms)));
  MESH_CHECK_OK(self->connection_->run("BEGIN"));
  MESH_TRY(const auto tables,
           self->query("SELECT name FROM sqlite_master WHERE name = 'journal_head'"));
  if (tables.empty()) return fail(Errc::invalid_argument, "journal: the file is none");
  MESH_CHECK_OK(self->look_at(options.service));
  return self;
}

// Makes what is not there, and becomes the owner.
Status SqliteJournal::take_over(const std::string& service) {
  MESH_CHECK_OK(connection_->run(kTables));
  const std::array<SqlValue, 2> fresh{kVersion, std::string_view(service)};
  MESH_CHECK_OK(done(query(kFreshHead, fresh)));
  MESH_CHECK_OK(
      done(query("UPDATE journal_head SET owner = owner + 1 WHERE only_row = 1 RETURNING owner")));
  return look_at(service);
}

// Whose it is, and how far it goes.
Status SqliteJournal::look_at(const std::string& service) {
  MESH_TRY(const auto rows, query("SELECT version, service FROM journal_head WHERE only_row = 1"));
  std::int64_t version = 0;
  std::string whose;
  if (rows.size() != 1 || !read(rows[0][0], version) || !read(rows[0][1], whose))
    return fail(Errc::corrupt, "journal: its head makes no sense");
  if (version != kVersion) {
    return fail(Errc::version_skew,
                "journal: its tables are version " + std::to_string(version) +
                    ", this program knows " + std::to_string(kVersion),
                version);
  }
  if (whose != service) {
    return fail(Errc::invalid_argument,
                "journal: it is of '" + whose.substr(0, 128) + "', not of '" + service + "'");
  }
  MESH_TRY(const Head head, read_head());
  MESH_CHECK_OK(check_ends(head));
  owner_ = head.owner;
  synced_sequence_ = head.last_sequence;
  forgotten_sequence_ = head.forgotten_sequence;
  snapshot_bytes_ = head.snapshot_bytes;
  snapshot_sum_ = head.snapshot_sum;
  return {};
}

Result<SqliteJournal::Head> SqliteJournal::read_head() const {
  MESH_TRY(const auto rows,
           query("SELECT owner, last_sequence, forgotten_sequence, snapshot_bytes, snapshot_sum "
                 "FROM journal_head WHERE only_row = 1"));
  std::array<std::int64_t, 5> values{};
  bool is_whole = rows.size() == 1;
  for (std::size_t i = 0; i < values.size() && is_whole; ++i)
    is_whole = read(rows[0][i], values[i]);
  is_whole = is_whole && values[1] >= values[2] && values[2] >= 0 && values[3] >= 0;
  if (!is_whole) return fail(Errc::corrupt, "journal: its head makes no sense");
  return Head{values[0], static_cast<std::uint64_t>(values[1]),
              static_cast<std::uint64_t>(values[2]), static_cast<std::uint64_t>(values[3]),
              static_cast<std::uint64_t>(values[4])};
}

// The first and the last record are where the head says; replay() looks at those between.
Status SqliteJournal::check_ends(const Head& head) const {
  MESH_TRY(const auto rows, query("SELECT min(sequence), max(sequence) FROM journal_records"));
  auto first = static_cast<std::int64_t>(head.forgotten_sequence) + 1;
  auto last = static_cast<std::int64_t>(head.forgotten_sequence);
  if (rows.size() == 1 && read(rows[0][0], first)) static_cast<void>(read(rows[0][1], last));
  const bool fits = static_cast<std::uint64_t>(first) == head.forgotten_sequence + 1 &&
                    static_cast<std::uint64_t>(last) == head.last_sequence;
  if (fits) return {};
  return fail(Errc::corrupt, "journal: it has records " + std::to_string(first) + " to " +
                                 std::to_string(last) + ", its head says " +
                                 std::to_string(head.forgotten_sequence + 1) + " to " +
                                 std::to_string(head.last_sequence));
}

// --- writing -----------------------------------------------------------------------------------

Status SqliteJournal::usable() const {
  if (failed_ == Errc::ok) return {};
  return fail(Errc::closed,
              "journal: a write has failed (" + std::string(name_of(failed_)) + "); open it again");
}

Status SqliteJournal::writable() const {
  if (is_reader_) return fail(Errc::permission_denied, "journal: it was opened to be read");
  return usable();
}

Result<std::uint64_t> SqliteJournal::append(std::span<const std::byte> record) {
  MESH_CHECK_OK(writable());
  if (record.size() > kJournalRecordBytesMax) {
    return fail(Errc::invalid_argument,
                "journal: a record of " + std::to_string(record.size()) + " bytes",
                static_cast<std::int64_t>(kJournalRecordBytesMax));
  }
  if (pending_bytes_ + record.size() > kJournalBurstBytesMax) {
    return fail(Errc::capacity, "journal: too much is appended before a sync",
                static_cast<std::int64_t>(kJournalBurstBytesMax));
  }
  pending_.emplace_back(record.begin(), record.end());
  pending_bytes_ += record.size();
  return last_sequence();
}

// One transaction around `work`. After a failure nothing more is written: what the file holds of it
// is known again only once it has been opened again.
Status SqliteJournal::commit(const std::function<Status()>& work) {
  MESH_CHECK_OK(usable());
  failed_ = Errc::io_error;  // until it is through, whatever throws on the way
  Status status = connection_->run(std::string(connection_->dialect().begin));
  if (status) {
    step(JournalStep::in_transaction);
    status = work();
    if (status) step(JournalStep::before_commit);
    if (status) status = connection_->run("COMMIT");
    if (!status) static_cast<void>(connection_->run("ROLLBACK"));  // says nothing new
  }
  if (status) step(JournalStep::after_commit);
  failed_ = status ? Errc::ok : status.error().code;
  if (status) ++commit_count_;
  return status;
}

Status SqliteJournal::write_records(std::uint64_t after) {
  std::vector<SqlValue> values;
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    const std::uint64_t sequence = synced_sequence_ + i + 1;
    if (sequence <= after) continue;
    values.insert(values.end(),
                  {number(sequence), number(sum_of(sequence, pending_[i])), text_of(pending_[i])});
  }
  return connection_->insert(kRecordTable, values);
}

// Only while this is the owner still.
Status SqliteJournal::write_head(const Head& head) {
  const std::array<SqlValue, 5> values{number(head.last_sequence), number(head.forgotten_sequence),
                                       number(head.snapshot_bytes), number(head.snapshot_sum),
                                       owner_};
  MESH_TRY(const auto rows,
           query("UPDATE journal_head SET last_sequence = $1, forgotten_sequence = $2, "
                 "snapshot_bytes = $3, snapshot_sum = $4 WHERE only_row = 1 AND owner = $5 "
                 "RETURNING owner",
                 values));
  if (rows.empty()) return fail(Errc::not_owner, "journal: another has opened it since");
  return {};
}

Status SqliteJournal::sync() {
  MESH_CHECK_OK(writable());
  if (pending_.empty()) return {};
  const Status synced = commit([this]() -> Status {
    MESH_CHECK_OK(
        write_head({owner_, last_sequence(), forgotten_sequence_, snapshot_bytes_, snapshot_sum_}));
    return write_records(0);
  });
  if (!synced) return synced;
  synced_sequence_ = last_sequence();
  pending_.clear();
  pending_bytes_ = 0;
  return {};
}

Status SqliteJournal::write_snapshot(std::span<const std::byte> bytes) {
  std::vector<SqlValue> values;
  for (std::size_t at = 0; at < bytes.size(); at += kPartBytes) {
    const auto part = bytes.subspan(at, std::min(kPartBytes, bytes.size() - at));
    values.insert(values.end(), {number(at / kPartBytes), text_of(part)});
  }
  return connection_->insert(kPartTable, values);
}

Status SqliteJournal::replace_snapshot(const StoredSnapshot& stored) {
  MESH_CHECK_OK(writable());
  const std::uint64_t sequence = stored.last_sequence;
  if (sequence > last_sequence() || sequence < forgotten_sequence_) {
    return fail(Errc::invalid_argument, "journal: a snapshot of record " +
                                            std::to_string(sequence) + ", there are " +
                                            std::to_string(last_sequence()));
  }
  const std::span<const std::byte> bytes = stored.snapshot.bytes;
  const std::uint64_t sum = sum_of(sequence, bytes);
  // What is forgotten goes first: a file that is full has room for the snapshot then.
  const Status replaced = commit([&]() -> Status {
    MESH_CHECK_OK(write_head({owner_, last_sequence(), sequence, bytes.size(), sum}));
    const std::array<SqlValue, 1> forgotten{number(sequence)};
    MESH_CHECK_OK(done(query("DELETE FROM journal_records WHERE sequence <= $1", forgotten)));
    MESH_CHECK_OK(connection_->run("DELETE FROM journal_snapshot"));
    MESH_CHECK_OK(write_records(sequence));
    return write_snapshot(bytes);
  });
  if (!replaced) return replaced;
  synced_sequence_ = last_sequence();
  pending_.clear();
  pending_bytes_ = 0;
  forgotten_sequence_ = sequence;
  snapshot_bytes_ = bytes.size();
  snapshot_sum_ = sum;
  return {};
}

// --- reading -----------------------------------------------------------------------------------

Result<StoredSnapshot> SqliteJournal::newest_snapshot() const {
  MESH_CHECK_OK(usable());
  StoredSnapshot stored;
  stored.last_sequence = forgotten_sequence_;
  std::vector<std::byte>& bytes = stored.snapshot.bytes;
  for (std::uint64_t part = 0; bytes.size() < snapshot_bytes_; ++part) {
    const std::array<SqlValue, 1> wanted{number(part)};
    MESH_TRY(const auto rows, query("SELECT bytes FROM journal_snapshot WHERE part = $1", wanted));
    std::string text;
    if (rows.size() != 1 || !read(rows[0][0], text) || text.empty())
      return fail(Errc::corrupt, "journal: a part of its snapshot is missing");
    const auto read_bytes = bytes_of_text(text);
    bytes.insert(bytes.end(), read_bytes.begin(), read_bytes.end());
  }
  const bool is_none = snapshot_bytes_ == 0 && forgotten_sequence_ == 0 && snapshot_sum_ == 0;
  if (!is_none && sum_of(forgotten_sequence_, bytes) != snapshot_sum_)
    return fail(Errc::corrupt, "journal: its snapshot does not match its checksum");
  return stored;
}

Status SqliteJournal::replay(std::uint64_t sequence, coordination::JournalVisitor& visitor) const {
  MESH_CHECK_OK(usable());
  if (sequence < forgotten_sequence_) {
    return fail(Errc::not_found,
                "journal: records up to " + std::to_string(forgotten_sequence_) + " are forgotten",
                static_cast<std::int64_t>(forgotten_sequence_));
  }
  std::uint64_t next = sequence + 1;
  while (next <= synced_sequence_) {
    const std::array<SqlValue, 2> page{number(next), number(kRowsAtOnce)};
    MESH_TRY(const auto rows,
             query("SELECT sequence, sum, record FROM journal_records WHERE sequence >= $1 "
                   "ORDER BY sequence LIMIT $2",
                   page));
    if (rows.empty()) return broken(next, "is missing");
    for (const SqlRow& row : rows) {
      MESH_TRY(const std::string record, record_of(row, next));
      MESH_CHECK_OK(visitor.visit(next, bytes_of_text(record)));
      if (next++ == synced_sequence_) break;  // what a later owner has written is not this one's
    }
  }
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    const std::uint64_t at = synced_sequence_ + i + 1;
    if (at > sequence) MESH_CHECK_OK(visitor.visit(at, pending_[i]));
  }
  return {};
}

}  // namespace mesh::engine
