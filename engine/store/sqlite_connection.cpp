#include "engine/store/sqlite_connection.hpp"

#include <algorithm>
#include <unordered_map>

#include <fcntl.h>
#include <sqlite3.h>

#include "shm/base/assert.hpp"
#include "shm/descriptor.hpp"

namespace mesh::engine {
namespace {

// INSERT OR REPLACE removes rows without asking their DELETE triggers, so what stands in the way of
// an INSERT is looked for before it. What is written a thousand times a transaction fails, and does
// not abort: for a statement with triggers that may abort SQLite keeps a journal of its own, five
// pages a record. Nothing of the row is there yet, and the transaction is rolled back either way.
constexpr std::string_view kSqliteTriggers = R"(
CREATE TRIGGER IF NOT EXISTS records_no_update BEFORE UPDATE ON records
  BEGIN SELECT RAISE(ABORT, 'records is append-only: UPDATE refused'); END;
CREATE TRIGGER IF NOT EXISTS records_no_delete BEFORE DELETE ON records
  BEGIN SELECT RAISE(ABORT, 'records is append-only: DELETE refused'); END;
DROP TRIGGER IF EXISTS records_in_order;
CREATE TRIGGER IF NOT EXISTS records_next BEFORE INSERT ON records
  WHEN NEW.position <> (SELECT coalesce(max(position), 0) + 1 FROM records)
    OR EXISTS (SELECT 1 FROM records WHERE subject = NEW.subject AND step = NEW.step)
  BEGIN SELECT RAISE(FAIL, 'records is append-only: not the next record'); END;
CREATE TRIGGER IF NOT EXISTS history_no_update BEFORE UPDATE ON history
  BEGIN SELECT RAISE(ABORT, 'history is append-only: UPDATE refused'); END;
CREATE TRIGGER IF NOT EXISTS history_no_delete BEFORE DELETE ON history
  WHEN OLD.minute > (SELECT max(minute) FROM history) - 43200
  BEGIN SELECT RAISE(ABORT, 'history is kept for 30 days: DELETE refused'); END;
CREATE TRIGGER IF NOT EXISTS history_no_replace BEFORE INSERT ON history
  WHEN EXISTS (SELECT 1 FROM history WHERE cluster = NEW.cluster AND minute = NEW.minute)
  BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER IF NOT EXISTS operation_results_no_update BEFORE UPDATE ON operation_results
  BEGIN SELECT RAISE(ABORT, 'operation_results is append-only: UPDATE refused'); END;
CREATE TRIGGER IF NOT EXISTS snapshots_no_update BEFORE UPDATE ON snapshots
  BEGIN SELECT RAISE(ABORT, 'snapshots is append-only: UPDATE refused'); END;
CREATE TRIGGER IF NOT EXISTS snapshots_no_delete BEFORE DELETE ON snapshots
  BEGIN SELECT RAISE(ABORT, 'snapshots is append-only: DELETE refused'); END;
CREATE TRIGGER IF NOT EXISTS snapshots_no_replace BEFORE INSERT ON snapshots
  WHEN EXISTS (SELECT 1 FROM snapshots WHERE scope = NEW.scope AND at_ns = NEW.at_ns)
  BEGIN SELECT RAISE(ABORT, 'snapshots is append-only: it is there already'); END;
CREATE TRIGGER IF NOT EXISTS agent_contexts_no_update BEFORE UPDATE ON agent_contexts
  BEGIN SELECT RAISE(ABORT, 'agent_contexts is append-only: UPDATE refused'); END;
CREATE TRIGGER IF NOT EXISTS agent_contexts_no_delete BEFORE DELETE ON agent_contexts
  WHEN OLD.version > (SELECT max(version) FROM agent_contexts
    WHERE name = OLD.name AND uid = OLD.uid) - 3
  BEGIN SELECT RAISE(ABORT, 'the last 3 contexts are kept: DELETE refused'); END;
CREATE TRIGGER IF NOT EXISTS agent_contexts_no_replace BEFORE INSERT ON agent_contexts
  WHEN EXISTS (SELECT 1 FROM agent_contexts
    WHERE name = NEW.name AND uid = NEW.uid AND version = NEW.version)
  BEGIN SELECT RAISE(ABORT, 'agent_contexts is append-only: it is there already'); END;
)";
static_assert(kHistoryMinutes == 43'200 && kContextVersions == 3, "the triggers say the same");

constexpr SqlDialect kSqliteDialect{.integer = "INTEGER",
                                    .real = "REAL",
                                    .bytes = "BLOB",
                                    .begin = "BEGIN IMMEDIATE",
                                    .for_update = "",
                                    .triggers = kSqliteTriggers,
                                    .is_here = true};

constexpr Errc errc_of(int code) noexcept {
  switch (code & 0xFF) {
    case SQLITE_FULL:
      return Errc::no_space;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Errc::busy;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Errc::corrupt;
    case SQLITE_CANTOPEN:
      return Errc::not_found;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return Errc::permission_denied;
    case SQLITE_CONSTRAINT:
      return code == SQLITE_CONSTRAINT_TRIGGER ? Errc::permission_denied : Errc::already_exists;
    case SQLITE_NOMEM:
      return Errc::no_memory;
    default:
      return Errc::io_error;
  }
}

struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

int bind(sqlite3_stmt* statement, int at, const SqlValue& value) {
  if (const auto* const number = std::get_if<std::int64_t>(&value))
    return sqlite3_bind_int64(statement, at, *number);
  if (const auto* const real = std::get_if<double>(&value))
    return sqlite3_bind_double(statement, at, *real);
  const auto bytes = std::get<std::string_view>(value);
  // Views outlive the statement's run: nothing is copied. A null pointer would bind NULL.
  return sqlite3_bind_blob64(statement, at, bytes.data() == nullptr ? "" : bytes.data(),
                             bytes.size(), SQLITE_STATIC);
}

SqlCell cell_of(sqlite3_stmt* statement, int column) {
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
      return static_cast<std::int64_t>(sqlite3_column_int64(statement, column));
    case SQLITE_FLOAT:
      return sqlite3_column_double(statement, column);
    case SQLITE_BLOB:
    case SQLITE_TEXT: {
      const void* const bytes = sqlite3_column_blob(statement, column);
      const auto size_bytes = static_cast<std::size_t>(sqlite3_column_bytes(statement, column));
      return std::string(static_cast<const char*>(bytes == nullptr ? "" : bytes), size_bytes);
    }
    default:
      return std::monostate{};
  }
}

class SqliteConnection final : public SqlConnection {
 public:
  explicit SqliteConnection(sqlite3* database) : database_(database) {}

  [[nodiscard]] const SqlDialect& dialect() const noexcept override { return kSqliteDialect; }

  Status run(const std::string& script) override {
    const int code = sqlite3_exec(database_.get(), script.c_str(), nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return failure(script.substr(0, script.find_first_of("\n;")));
    return {};
  }

  Result<std::vector<SqlRow>> query(const std::string& statement,
                                    std::span<const SqlValue> values) override {
    MESH_TRY(sqlite3_stmt* const prepared, prepare(statement));
    MESH_CHECK_OK(bind_all(prepared, values));
    std::vector<SqlRow> rows;
    int code = SQLITE_ROW;
    while ((code = sqlite3_step(prepared)) == SQLITE_ROW) {
      SqlRow& row = rows.emplace_back();
      const int columns = sqlite3_column_count(prepared);
      for (int column = 0; column < columns; ++column) row.push_back(cell_of(prepared, column));
    }
    Status done;
    if (code != SQLITE_DONE) done = failure(statement);
    sqlite3_reset(prepared);
    sqlite3_clear_bindings(prepared);
    if (!done) return tl::unexpected(done.error());
    return rows;
  }

  Status insert(const SqlTable& table, std::span<const SqlValue> values) override {
    // FAIL: see kSqliteTriggers.
    std::string statement = "INSERT OR FAIL INTO " + std::string(table.name) + " VALUES (";
    for (std::size_t i = 1; i <= table.columns.size(); ++i)
      statement += (i == 1 ? "$" : ", $") + std::to_string(i);
    statement += ")";
    MESH_TRY(sqlite3_stmt* const prepared, prepare(statement));
    Status done;
    for (std::size_t at = 0; at < values.size() && done; at += table.columns.size()) {
      done = bind_all(prepared, values.subspan(at, table.columns.size()));
      if (done && sqlite3_step(prepared) != SQLITE_DONE) done = failure(statement);
      sqlite3_reset(prepared);
    }
    sqlite3_clear_bindings(prepared);
    return done;
  }

 private:
  Result<sqlite3_stmt*> prepare(const std::string& statement) {
    Statement& prepared = statements_[statement];
    if (prepared) return prepared.get();
    std::string numbered = statement;  // SQLite numbers ?1, and only names $1
    std::replace(numbered.begin(), numbered.end(), '$', '?');
    sqlite3_stmt* made = nullptr;
    if (sqlite3_prepare_v3(database_.get(), numbered.c_str(), static_cast<int>(numbered.size()),
                           SQLITE_PREPARE_PERSISTENT, &made, nullptr) != SQLITE_OK) {
      const auto failed = failure(statement);
      statements_.erase(statement);
      return failed;
    }
    prepared.reset(made);
    return made;
  }
  Status bind_all(sqlite3_stmt* prepared, std::span<const SqlValue> values) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (bind(prepared, static_cast<int>(i + 1), values[i]) != SQLITE_OK)
        return failure("a value of a statement");
    }
    return {};
  }
  [[nodiscard]] tl::unexpected<Error> failure(const std::string& what) const {
    const int code = sqlite3_extended_errcode(database_.get());
    return fail(errc_of(code),
                "sqlite: " + what.substr(0, 80) + ": " + sqlite3_errmsg(database_.get()), code);
  }

  std::unique_ptr<sqlite3, CloseDatabase> database_;
  std::unordered_map<std::string, Statement> statements_;  // ends before the database does
};

// SQLite would make it readable for everybody. Never opened where it is there already: closing a
// descriptor of a file drops the locks that this process's other connections hold on it.
Status make_private_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd >= 0) ::close(fd);
  if (fd < 0 && errno != EEXIST)
    return fail(errno == ENOSPC ? Errc::no_space : Errc::not_found,
                "store '" + path + "': cannot be made there", errno);
  return {};
}

// A group of a thousand records touches more pages than the 2 MiB that SQLite would hold: what does
// not fit is written out before the commit, and read again. Nor is every third group to wait for a
// checkpoint's two syncs.
std::string pragmas(const StoreOptions& options) {
  constexpr std::uint64_t kPageBytes = 4'096;
  std::string text =
      "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL;"
      "PRAGMA synchronous = FULL; PRAGMA recursive_triggers = ON;"
      "PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;"
      "PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 8192;";
  if (options.size_bytes_max != 0)
    text += "PRAGMA max_page_count = " + std::to_string(options.size_bytes_max / kPageBytes) + ";";
  return text;
}

}  // namespace

Result<std::unique_ptr<SqlConnection>> connect_sqlite(const StoreOptions& options) {
  MESH_CHECK_OK(make_private_file(options.where));
  sqlite3* database = nullptr;
  const int code = sqlite3_open_v2(options.where.c_str(), &database,
                                   SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  auto connection = std::make_unique<SqliteConnection>(database);
  if (code != SQLITE_OK)
    return fail(errc_of(code), "store '" + options.where + "': " + sqlite3_errstr(code), code);
  sqlite3_busy_timeout(database, static_cast<int>(options.busy_ms));
  sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  MESH_CHECK_OK(connection->run(pragmas(options)));
  return std::unique_ptr<SqlConnection>(std::move(connection));
}

// What stands in the file is input: its schema runs nothing.
Result<SqliteReader> connect_sqlite_to_read(const std::string& path) {
  sqlite3* database = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &database, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, nullptr);
  auto connection = std::make_unique<SqliteConnection>(database);
  if (code != SQLITE_OK)
    return fail(errc_of(code), "store '" + path + "': " + sqlite3_errstr(code), code);
  sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  MESH_CHECK_OK(connection->run("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"));
  return SqliteReader{std::move(connection), database};
}

}  // namespace mesh::engine
