// SqliteJournal: the journal of one durable service in one SQLite file: what ExactlyOnceQueue and
// Outbox answer outlives the process and the power.
//
// Callers     the service thread, which owns service and journal. One file a service.
// Progress    append: wait-free. All else blocks: it is file work.
// Ordering    coordination::Journal's. Records of one sync() stand in one transaction: all or none.
// Cost        append: a copy. sync: one transaction, one fdatasync, however many records (group
//             commit; bench/engine/store). replace_snapshot: the same, and the snapshot's bytes.
// Units       sequences from 1, without gaps; bytes.
// If the      process dies anywhere: the transaction is there whole or not at all; what sync()
// other side  acknowledged is there. A torn end of SQLite's own log is cut off when it is opened.
// dies,       another process opens the file: it is the owner from then on, and the next sync() of
// or lies     the one before is Errc::not_owner and writes nothing: two never write by turns.
//             somebody edits the file: each record carries a checksum over its sequence and bytes,
//             the snapshot one of its own, and the head row says how far the records go. What does
//             not fit is Errc::corrupt, never a shorter journal. What is cut off from SQLite's log
//             below the last sync(), whole transactions at a time, cannot be told from a sync()
//             that never was: keep the folder on a file system that keeps what it has synced.
//             somebody only looks (open_to_read): nothing is changed, and the owner stays it.
// Errors      no_space (the disk, or size_bytes_max), busy (another holds the file for longer than
//             busy_ms), not_owner, corrupt, io_error, permission_denied, not_found (no such
//             folder; replay: forgotten records), version_skew, invalid_argument (another service's
//             file, a record over kJournalRecordBytesMax), capacity (kJournalBurstBytesMax).
//             After a failed write everything is Errc::closed until the file is opened again: an
//             fdatasync that has failed says nothing about the one after it.
// Source      write-ahead logging, group commit (Gawlick & Kinkade 1985), fencing (Kleppmann 2016).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/coordination/blocks/journal.hpp"
#include "engine/store/sql_connection.hpp"

namespace mesh::engine {

inline constexpr std::size_t kJournalRecordBytesMax = 64U << 20;
inline constexpr std::size_t kJournalBurstBytesMax = 256U << 20;  // appended and not yet synced

// Where a death of a write is tried (tests/engine/store). Null in production.
enum class JournalStep : std::uint8_t { in_transaction, before_commit, after_commit };

struct SqliteJournalOptions {
  std::string where;                 // the file; made where there is none
  std::string service;               // whose commands they are: "outbox"
  std::uint32_t busy_ms = 2'000;     // how long another writer is waited for
  std::uint64_t size_bytes_max = 0;  // no_space beyond it. 0: the disk's end
  std::function<void(JournalStep)> at_step{};
};

class SqliteJournal final : public coordination::Journal {
 public:
  static Result<std::unique_ptr<SqliteJournal>> open(const SqliteJournalOptions& options);
  // To look at one that somebody else may own and write: what is read is of one moment, nothing is
  // made or changed, and append, sync and replace_snapshot are permission_denied. not_found: there
  // is no such file; invalid_argument: it is no journal, or another service's.
  static Result<std::unique_ptr<SqliteJournal>> open_to_read(const SqliteJournalOptions& options);

  Result<std::uint64_t> append(std::span<const std::byte> record) override;
  Status sync() override;
  // Room that forgotten records leave is used again; the file does not shrink.
  Status replace_snapshot(const coordination::StoredSnapshot& stored) override;
  Result<coordination::StoredSnapshot> newest_snapshot() const override;
  // Also what has been appended and is not yet synced.
  Status replay(std::uint64_t sequence, coordination::JournalVisitor& visitor) const override;

  [[nodiscard]] std::uint64_t last_sequence() const noexcept {
    return synced_sequence_ + pending_.size();
  }
  // Transactions that have been committed since it was opened.
  [[nodiscard]] std::uint64_t commit_count() const noexcept { return commit_count_; }

 private:
  struct Head {
    std::int64_t owner = 0;
    std::uint64_t last_sequence = 0;
    std::uint64_t forgotten_sequence = 0;  // what the snapshot holds; 0: there is none
    std::uint64_t snapshot_bytes = 0;
    std::uint64_t snapshot_sum = 0;
  };

  SqliteJournal(std::unique_ptr<SqlConnection> connection, const SqliteJournalOptions& options)
      : connection_(std::move(connection)), at_step_(options.at_step) {}

  Status take_over(const std::string& service);
  Status look_at(const std::string& service);
  [[nodiscard]] Result<Head> read_head() const;
  [[nodiscard]] Status check_ends(const Head& head) const;
  Status write_head(const Head& head);
  Status write_records(std::uint64_t after);
  Status write_snapshot(std::span<const std::byte> bytes);
  Status commit(const std::function<Status()>& work);
  [[nodiscard]] Status usable() const;
  [[nodiscard]] Status writable() const;
  Result<std::vector<SqlRow>> query(const std::string& statement,
                                    std::span<const SqlValue> values = {}) const {
    return connection_->query(statement, values);
  }
  void step(JournalStep at) const {
    if (at_step_) at_step_(at);
  }

  std::unique_ptr<SqlConnection> connection_;
  std::function<void(JournalStep)> at_step_;
  bool is_reader_ = false;
  std::int64_t owner_ = 0;
  std::uint64_t synced_sequence_ = 0;
  std::uint64_t forgotten_sequence_ = 0;
  std::uint64_t snapshot_bytes_ = 0;
  std::uint64_t snapshot_sum_ = 0;
  std::uint64_t commit_count_ = 0;
  std::vector<std::vector<std::byte>> pending_;
  std::size_t pending_bytes_ = 0;
  Errc failed_ = Errc::ok;
};

}  // namespace mesh::engine
