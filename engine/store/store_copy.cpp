#include "engine/store/store_copy.hpp"

#include "engine/store/schema.hpp"

namespace mesh::engine {
namespace {

Result<std::uint64_t> count_rows(SqlConnection& connection, const std::string& table) {
  MESH_TRY(const auto rows, connection.query("SELECT count(*) FROM " + table, {}));
  std::int64_t count = 0;
  if (rows.size() != 1 || !read(rows[0][0], count))
    return fail(Errc::corrupt, "store: '" + table + "' cannot be counted");
  return static_cast<std::uint64_t>(count);
}

}  // namespace

Result<StoreContent> content_of(SqlConnection& connection) {
  StoreContent content;
  MESH_TRY(content.records, count_rows(connection, "records"));
  MESH_TRY(content.history, count_rows(connection, "history"));
  MESH_TRY(content.snapshots, count_rows(connection, "snapshots"));
  MESH_TRY(content.contexts, count_rows(connection, "agent_contexts"));
  MESH_TRY(const auto rows, connection.query("SELECT position, hash FROM chain_head", {}));
  std::int64_t position = 0;
  if (rows.size() != 1 || !read(rows[0][0], position) || !read(rows[0][1], content.head.hash))
    return fail(Errc::corrupt, "store: its chain_head makes no sense");
  content.head.position = static_cast<std::uint64_t>(position);
  return content;
}

StoreKind kind_of_store(const std::string& where) noexcept {
  const bool is_server = where.starts_with("postgresql://") || where.starts_with("postgres://");
  return is_server ? StoreKind::postgres : StoreKind::sqlite;
}

std::string_view name_of(StoreKind kind) noexcept {
  return kind == StoreKind::postgres ? "postgresql" : "sqlite";
}

Result<StoreContent> copy_store(const CopyRequest& request) {
  if (kind_of_store(request.from) == StoreKind::postgres) return copy_postgres(request);
  return copy_sqlite(request);
}

Status check_copy(StoreKind kind, const std::string& path, const StoreContent& expected) {
  if (kind == StoreKind::postgres) return check_postgres_copy(path, expected);
  return check_sqlite_copy(path, expected);
}

Status put_back(StoreKind kind, const std::string& path, const std::string& where) {
  if (kind == StoreKind::postgres) return put_back_postgres(path, where);
  return put_back_sqlite(path, where);
}

}  // namespace mesh::engine
