// Store: what outlives the mesh. Append-only conflict records and their steps, operations' results,
// points of history, snapshots and agents' contexts, in SQLite or PostgreSQL.
//
// Callers     one thread each Store: the recorder's, or a console's that only reads. Several
//             processes may open one store; appends take turns.
// Progress    blocking; every call is file or network work. Never from the scheduler thread.
// Ordering    records of one append get consecutive positions in their order; a later append's come
//             after them.
// Cost        append: one transaction, one sync, however many records (bench/engine/store).
// Units       positions from 1, consecutive. Wall-clock nanoseconds.
// If the      process dies in append: all of its records are there, once, or none. Sent again they
// other side  are recognised by (subject, step) and kept once.
// dies,       database answers nothing: an error within its timeouts; nothing is acknowledged.
// or lies     somebody edits, removes or reorders records with other tools: UPDATE and DELETE are
//             refused by the database itself; what was done to the file below it is found by
//             verify(), which names the first record that does not fit. A tail cut off together
//             with the head row is seen only against a head kept elsewhere: give it to verify().
// Errors      no_space (full), busy, closed, io_error, corrupt, permission_denied (append-only),
//             invalid_argument, version_skew, unsupported (built without PostgreSQL).
// Source      hash chain: Haber, Stornetta 1991.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/store/record.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

// Acknowledged: the transaction is committed and synced. `repeated`: were there already.
struct Appended {
  std::uint64_t appended = 0;
  std::uint64_t repeated = 0;
  ChainHead head;
};

// A record's place in the order of answers: by time, then by position.
struct RecordPlace {
  WireTime at{};
  std::uint64_t position = 0;
};

// Every condition given must hold. Newest first.
struct RecordQuery {
  std::optional<WireTime> from{};   // at or after
  std::optional<WireTime> until{};  // before
  std::optional<AgentId> agent{};
  std::optional<sched::ConflictType> type{};
  std::optional<StoredKind> kind{};
  std::optional<ConflictState> state_now{};  // conflicts (step 0) that have come to this state
  std::optional<SubjectId> subject{};
  std::optional<RecordPlace> before{};  // the next page: after this one
  std::uint32_t limit = 100;
};
inline constexpr std::uint32_t kQueryLimitMax = 10'000;

struct Verification {
  std::uint64_t checked = 0;  // records found whole, from the first
  ChainHead head;             // of the last one found whole
  bool whole = false;
  std::uint64_t broken_position = 0;  // of the first that does not fit; 0: none
  std::string sentence;               // what is wrong with it
};

// mesh.md part 10: one a minute for each cluster, kept for 30 days.
struct HistoryPoint {
  std::uint32_t cluster = 0;
  std::int64_t minute = 0;  // since 1970
  std::uint32_t agents = 0;
  std::uint32_t active = 0;
  double score_mean = 0;
  double score_p95 = 0;
  friend bool operator==(const HistoryPoint&, const HistoryPoint&) = default;
};
inline constexpr std::int64_t kHistoryMinutes = 30 * 24 * 60;

struct HistoryQuery {
  std::uint32_t cluster = 0;
  std::int64_t from_minute = 0;
  std::int64_t until_minute = 0;  // before
};

// What several clusters came to together, `step_minutes` to a row.
struct TrendQuery {
  std::uint32_t first_cluster = 0;
  std::uint32_t past_cluster = 0;
  std::int64_t from_minute = 0;
  std::int64_t until_minute = 0;  // before
  std::int64_t step_minutes = 60;
};
struct TrendRow {
  std::int64_t minute = 0;   // the step's first
  std::int64_t minutes = 0;  // of it that there are points of
  std::int64_t agents = 0;   // sums over all points of the step: / minutes is what there were
  std::int64_t active = 0;
  double score_mean = 0;  // of the clusters' means, where somebody was active
  double score_p95 = 0;   // the highest of the clusters'
  friend bool operator==(const TrendRow&, const TrendRow&) = default;
};
inline constexpr std::size_t kTrendRowsMax = 10'000;

// An operation that has ended (engine/result_note.hpp), kept once by its id.
struct OperationResult {
  sched::MessageId id{};
  AgentId source{};           // 0: the engine
  std::uint8_t kind = 0;      // ResultKind
  std::uint8_t strategy = 0;  // of a cascade
  std::uint8_t verdict = 0;   // ResultVerdict
  WireTime opened{};
  WireTime ended{};
  WireTime target{};  // T; 0: it had none
  std::uint32_t targeted = 0;
  std::uint32_t sent = 0;
  std::uint32_t ready = 0;
  std::uint32_t conflict = 0;
  std::int64_t error_p50_ns = 0;
  std::int64_t error_p99_ns = 0;
  friend bool operator==(const OperationResult&, const OperationResult&) = default;
};
// Every condition given must hold. By their ends, newest first.
struct ResultQuery {
  std::optional<WireTime> from{};   // ended at or after
  std::optional<WireTime> until{};  // before
  std::optional<std::uint8_t> kind{};
  std::optional<std::uint8_t> verdict{};
  std::uint32_t limit = 100;
};

// What is let go of: points of history older than so many minutes before the newest (never less
// than kHistoryMinutes), results that ended so long before the newest, and the oldest results over
// a number. At most `most` of each a call.
struct Retention {
  std::int64_t history_minutes = kHistoryMinutes;
  std::int64_t results_ns = kHistoryMinutes * 60 * kNsPerSecond;
  std::uint64_t results_max = 1'000'000;
  std::uint32_t most = 1'000;
};
struct Trimmed {
  std::uint64_t points = 0;
  std::uint64_t results = 0;
};

// A frozen or backed-up state. Kept with a hash; one whose bytes do not fit it is Errc::corrupt.
struct Snapshot {
  std::string scope{};  // "mesh", "sector 7"
  WireTime at{};
  std::string bytes{};
  friend bool operator==(const Snapshot&, const Snapshot&) = default;
};
inline constexpr std::size_t kSnapshotBytesMax = 256U << 20;

// Whose a context is. A handle names an agent in one mesh; its name, and the user that this is
// bound to, outlive that.
struct ContextOwner {
  std::string name{};
  std::uint32_t uid = 0;
  friend auto operator<=>(const ContextOwner&, const ContextOwner&) = default;
};
// mesh.md part 11: an agent's context as it handed it over; the last 3 are kept.
struct ContextVersion {
  ContextOwner owner{};
  std::uint64_t version = 0;  // given by the store, from 1
  std::uint64_t hash = 0;     // XXH3-64 of the bytes
  WireTime at{};
  std::string bytes{};
  friend bool operator==(const ContextVersion&, const ContextVersion&) = default;
};
inline constexpr std::size_t kContextBytesMax = 1U << 20;
inline constexpr std::uint64_t kContextVersions = 3;
inline constexpr std::size_t kContextsOfHashMax = 16;
// invalid_argument: a name that is none, or more bytes than there may be.
[[nodiscard]] Status validate(const ContextVersion& context);

class Store {
 public:
  Store() = default;
  virtual ~Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  virtual Result<Appended> append(std::span<const Record> records) = 0;

  virtual Result<std::vector<StoredRecord>> find(const RecordQuery& query) = 0;
  virtual Result<ChainHead> head() = 0;
  // Walks the whole chain. `kept` is a head that somebody wrote down earlier: it must be on it.
  virtual Result<Verification> verify(const std::optional<ChainHead>& kept) = 0;

  // A point that is there already stays as it is.
  virtual Status append_history(std::span<const HistoryPoint> points) = 0;
  virtual Result<std::vector<HistoryPoint>> history(const HistoryQuery& query) = 0;
  // By minute; invalid_argument: a step that is none, or more than kTrendRowsMax rows asked for.
  virtual Result<std::vector<TrendRow>> trend(const TrendQuery& query) = 0;

  // One that is there already stays as it is.
  virtual Status append_results(std::span<const OperationResult> results) = 0;
  virtual Result<std::vector<OperationResult>> results(const ResultQuery& query) = 0;

  // How many went. Fewer than `most` of each: nothing more is to go.
  virtual Result<Trimmed> trim(const Retention& retention) = 0;

  virtual Status keep_snapshot(const Snapshot& snapshot) = 0;
  virtual Result<Snapshot> newest_snapshot(std::string_view scope) = 0;  // or not_found

  // Its version. The bytes of the newest version again are that version, not one more.
  virtual Result<std::uint64_t> keep_context(const ContextVersion& context) = 0;
  virtual Result<std::vector<ContextVersion>> contexts(
      const ContextOwner& owner) = 0;  // newest first
  // Of anybody, newest first; at most kContextsOfHashMax.
  virtual Result<std::vector<ContextVersion>> contexts_of_hash(std::uint64_t hash) = 0;
};

// The places of an append where a death is tried (tests/engine/store). Null in production.
enum class StoreStep : std::uint8_t { in_transaction, before_commit, after_commit };

struct StoreOptions {
  // A path: SQLite. postgresql://...: PostgreSQL.
  std::string where;
  std::uint32_t busy_ms = 2'000;     // how long another writer, or a dead server, is waited for
  std::uint64_t size_bytes_max = 0;  // SQLite: no_space beyond it. 0: the disk's end
  std::function<void(StoreStep)> at_step{};
};
// Opens the store, and makes its tables where there are none.
[[nodiscard]] Result<std::unique_ptr<Store>> open_store(const StoreOptions& options);

}  // namespace mesh::engine
