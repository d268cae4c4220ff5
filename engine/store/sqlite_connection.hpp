// SQLite behind SqlConnection: WAL, every commit synced (synchronous = FULL).
//
// Callers     one thread.
// Errors      of opening: not_found, permission_denied, corrupt (no database), io_error, no_space.
#pragma once

#include <memory>

#include "engine/store/sql_connection.hpp"
#include "engine/store/store.hpp"

namespace mesh::engine {

[[nodiscard]] Result<std::unique_ptr<SqlConnection>> connect_sqlite(const StoreOptions& options);

}  // namespace mesh::engine
