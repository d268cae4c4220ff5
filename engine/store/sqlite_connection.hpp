// SQLite behind SqlConnection: WAL, every commit synced (synchronous = FULL).
//
// Callers     one thread.
// connect_sqlite_to_read: of a store that is there, whoever else writes it; nothing of it is
// changed, and a copy without a journal gets no file beside it.
//
// Errors      of opening: not_found, permission_denied, corrupt (no database), io_error, no_space.
#pragma once

#include <memory>
#include <string>

#include "engine/store/sql_connection.hpp"
#include "engine/store/store.hpp"

struct sqlite3;

namespace mesh::engine {

[[nodiscard]] Result<std::unique_ptr<SqlConnection>> connect_sqlite(const StoreOptions& options);

struct SqliteReader {
  std::unique_ptr<SqlConnection> sql;
  sqlite3* handle = nullptr;  // of the same connection; lives as long as it
};
[[nodiscard]] Result<SqliteReader> connect_sqlite_to_read(const std::string& path);

}  // namespace mesh::engine
