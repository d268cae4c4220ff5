// PostgreSQL behind SqlConnection, by libpq: everything in binary, bulk by COPY, every commit
// synced (synchronous_commit = on, whatever the server's default).
//
// Callers     one thread.
// If the      server dies or hangs: an error after connect_timeout and the TCP timeouts set from
// other side  busy_ms; whether a commit that was under way happened is then unknown, and the
// dies        records are sent again.
// Errors      closed (not reachable), no_space, permission_denied, unsupported (built without it).
#pragma once

#include <memory>

#include "engine/store/sql_connection.hpp"
#include "engine/store/store.hpp"

namespace mesh::engine {

[[nodiscard]] Result<std::unique_ptr<SqlConnection>> connect_postgres(const StoreOptions& options);

}  // namespace mesh::engine
