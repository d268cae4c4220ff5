#include "engine/store/postgres_connection.hpp"
#include "engine/store/sql_store.hpp"
#include "engine/store/sqlite_connection.hpp"

namespace mesh::engine {

Result<std::unique_ptr<Store>> open_store(const StoreOptions& options) {
  const std::string_view where = options.where;
  if (where.empty()) return fail(Errc::invalid_argument, "store: no path and no address is given");
  const bool is_server = where.starts_with("postgresql://") || where.starts_with("postgres://");
  MESH_TRY(auto connection, is_server ? connect_postgres(options) : connect_sqlite(options));
  return SqlStore::open(std::move(connection), options.at_step);
}

}  // namespace mesh::engine
