#include "engine/store/postgres_connection.hpp"

#ifdef MESH_POSTGRES

#include <array>
#include <bit>
#include <cstring>

#include <libpq-fe.h>

#include "shm/base/assert.hpp"

namespace mesh::engine {
namespace {

constexpr std::string_view kPostgresTriggers = R"(
CREATE OR REPLACE FUNCTION mesh_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'restrict_violation';
END $$;
CREATE OR REPLACE FUNCTION mesh_history_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.minute > (SELECT max(minute) FROM history) - 43200 THEN
    RAISE EXCEPTION 'history is kept for 30 days: DELETE refused'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN OLD;
END $$;
CREATE OR REPLACE FUNCTION mesh_agent_contexts_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.version > (SELECT max(version) FROM agent_contexts
    WHERE name = OLD.name AND uid = OLD.uid) - 3 THEN
    RAISE EXCEPTION 'the last 3 contexts are kept: DELETE refused'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN OLD;
END $$;
CREATE OR REPLACE TRIGGER records_append_only BEFORE UPDATE OR DELETE ON records
  FOR EACH ROW EXECUTE FUNCTION mesh_append_only();
CREATE OR REPLACE TRIGGER records_no_truncate BEFORE TRUNCATE ON records
  FOR EACH STATEMENT EXECUTE FUNCTION mesh_append_only();
CREATE OR REPLACE TRIGGER snapshots_append_only BEFORE UPDATE OR DELETE ON snapshots
  FOR EACH ROW EXECUTE FUNCTION mesh_append_only();
CREATE OR REPLACE TRIGGER snapshots_no_truncate BEFORE TRUNCATE ON snapshots
  FOR EACH STATEMENT EXECUTE FUNCTION mesh_append_only();
CREATE OR REPLACE TRIGGER history_no_update BEFORE UPDATE ON history
  FOR EACH ROW EXECUTE FUNCTION mesh_append_only();
CREATE OR REPLACE TRIGGER history_no_truncate BEFORE TRUNCATE ON history
  FOR EACH STATEMENT EXECUTE FUNCTION mesh_append_only();
CREATE OR REPLACE TRIGGER history_kept BEFORE DELETE ON history
  FOR EACH ROW EXECUTE FUNCTION mesh_history_kept();
CREATE OR REPLACE TRIGGER operation_results_no_update BEFORE UPDATE ON operation_results
  FOR EACH ROW EXECUTE FUNCTION mesh_append_only();
CREATE OR REPLACE TRIGGER agent_contexts_no_update BEFORE UPDATE ON agent_contexts
  FOR EACH ROW EXECUTE FUNCTION mesh_append_only();
CREATE OR REPLACE TRIGGER agent_contexts_no_truncate BEFORE TRUNCATE ON agent_contexts
  FOR EACH STATEMENT EXECUTE FUNCTION mesh_append_only();
CREATE OR REPLACE TRIGGER agent_contexts_kept BEFORE DELETE ON agent_contexts
  FOR EACH ROW EXECUTE FUNCTION mesh_agent_contexts_kept();
)";
static_assert(kHistoryMinutes == 43'200 && kContextVersions == 3, "the triggers say the same");

constexpr SqlDialect kPostgresDialect{.integer = "bigint",
                                      .real = "double precision",
                                      .bytes = "bytea",
                                      .begin = "BEGIN",
                                      .for_update = " FOR UPDATE",
                                      .triggers = kPostgresTriggers};

// PostgreSQL's own numbers for its types: they are part of its wire protocol.
enum : Oid { kBytea = 17, kInt8 = 20, kInt4 = 23, kFloat8 = 701 };
constexpr int kBinary = 1;

struct Finish {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
struct Clear {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Answer = std::unique_ptr<PGresult, Clear>;

Errc errc_of(std::string_view sql_state) {
  if (sql_state.empty() || sql_state.starts_with("08") || sql_state.starts_with("57"))
    return Errc::closed;
  if (sql_state == "53100") return Errc::no_space;
  if (sql_state == "23001" || sql_state == "42501") return Errc::permission_denied;
  if (sql_state.starts_with("23")) return Errc::already_exists;
  if (sql_state.starts_with("40") || sql_state.starts_with("55")) return Errc::busy;
  if (sql_state.starts_with("XX")) return Errc::corrupt;
  return Errc::io_error;
}

template <class T>
void put(std::string& out, T value) {
  const auto bits = static_cast<std::uint64_t>(value);
  for (std::size_t at = sizeof(T); at > 0; --at)
    out.push_back(static_cast<char>(bits >> (8 * (at - 1))));
}
// The value as COPY and binary parameters carry it.
void put_value(std::string& out, const SqlValue& value) {
  if (const auto* const number = std::get_if<std::int64_t>(&value)) return put(out, *number);
  if (const auto* const real = std::get_if<double>(&value))
    return put(out, std::bit_cast<std::uint64_t>(*real));
  out.append(std::get<std::string_view>(value));
}
std::int32_t size_of(const SqlValue& value) {
  const auto* const bytes = std::get_if<std::string_view>(&value);
  return bytes == nullptr ? 8 : static_cast<std::int32_t>(bytes->size());
}
Oid type_of(const SqlValue& value) {
  constexpr std::array<Oid, 3> kTypes = {kInt8, kFloat8, kBytea};
  return kTypes[value.index()];
}

std::uint64_t number_at(const char* bytes, std::size_t size_bytes) {
  std::uint64_t value = 0;
  for (std::size_t at = 0; at < size_bytes; ++at)
    value = value << 8 | static_cast<unsigned char>(bytes[at]);
  return value;
}
SqlCell cell_of(const PGresult* answer, int row, int column) {
  if (PQgetisnull(answer, row, column) != 0) return std::monostate{};
  const char* const bytes = PQgetvalue(answer, row, column);
  switch (PQftype(answer, column)) {
    case kInt8:
      return static_cast<std::int64_t>(number_at(bytes, 8));
    case kInt4:
      return std::int64_t{static_cast<std::int32_t>(number_at(bytes, 4))};
    case kFloat8:
      return std::bit_cast<double>(number_at(bytes, 8));
    case kBytea:
      return std::string(bytes, static_cast<std::size_t>(PQgetlength(answer, row, column)));
    default:
      return std::monostate{};
  }
}

class PostgresConnection final : public SqlConnection {
 public:
  explicit PostgresConnection(PGconn* connection) : connection_(connection) {}

  [[nodiscard]] const SqlDialect& dialect() const noexcept override { return kPostgresDialect; }

  Status run(const std::string& script) override {
    const Answer answer(PQexec(connection_.get(), script.c_str()));
    if (PQresultStatus(answer.get()) != PGRES_COMMAND_OK)
      return failure(script.substr(0, script.find_first_of("\n;")), answer.get());
    // COMMIT of a transaction that failed is answered by ROLLBACK, without an error.
    if (script == "COMMIT" && std::string_view(PQcmdStatus(answer.get())) != "COMMIT")
      return fail(Errc::io_error, "postgresql: the transaction was rolled back");
    return {};
  }

  Result<std::vector<SqlRow>> query(const std::string& statement,
                                    std::span<const SqlValue> values) override {
    const Answer answer = ask(statement, values);
    const ExecStatusType status = PQresultStatus(answer.get());
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
      return failure(statement, answer.get());
    std::vector<SqlRow> rows(static_cast<std::size_t>(PQntuples(answer.get())));
    const int columns = PQnfields(answer.get());
    for (std::size_t row = 0; row < rows.size(); ++row) {
      for (int column = 0; column < columns; ++column)
        rows[row].push_back(cell_of(answer.get(), static_cast<int>(row), column));
    }
    return rows;
  }

  Status insert(const SqlTable& table, std::span<const SqlValue> values) override {
    const std::string statement = copy_statement(table);
    const Answer opened(PQexec(connection_.get(), statement.c_str()));
    if (PQresultStatus(opened.get()) != PGRES_COPY_IN) return failure(statement, opened.get());
    const std::string bytes = copy_bytes(values, table.columns.size());
    bool is_sent = true;
    for (std::size_t at = 0; at < bytes.size() && is_sent; at += kCopyBytes) {
      const auto size_bytes = static_cast<int>(std::min(kCopyBytes, bytes.size() - at));
      is_sent = PQputCopyData(connection_.get(), bytes.data() + at, size_bytes) == 1;
    }
    if (!is_sent || PQputCopyEnd(connection_.get(), nullptr) != 1)
      return failure(statement, nullptr);
    Status done;
    while (const Answer answer{PQgetResult(connection_.get())}) {
      if (done && PQresultStatus(answer.get()) != PGRES_COMMAND_OK)
        done = failure(statement, answer.get());
    }
    return done;
  }

 private:
  static constexpr std::size_t kCopyBytes = 1U << 20;

  static std::string copy_statement(const SqlTable& table) {
    std::string statement = "COPY " + std::string(table.name) + " (";
    for (std::size_t i = 0; i < table.columns.size(); ++i)
      statement.append(i == 0 ? "" : ", ").append(table.columns[i]);
    return statement + ") FROM STDIN (FORMAT binary)";
  }
  static std::string copy_bytes(std::span<const SqlValue> values, std::size_t columns) {
    using namespace std::string_view_literals;
    std::string bytes("PGCOPY\n\xff\r\n\0"sv);
    put(bytes, std::int32_t{0});  // flags
    put(bytes, std::int32_t{0});  // no header extension
    for (std::size_t at = 0; at < values.size(); ++at) {
      if (at % columns == 0) put(bytes, static_cast<std::int16_t>(columns));
      put(bytes, size_of(values[at]));
      put_value(bytes, values[at]);
    }
    put(bytes, std::int16_t{-1});
    return bytes;
  }

  Answer ask(const std::string& statement, std::span<const SqlValue> values) {
    std::vector<Oid> types;
    std::vector<std::string> held;
    for (const SqlValue& value : values) {
      types.push_back(type_of(value));
      put_value(held.emplace_back(), value);
    }
    std::vector<const char*> pointers;
    std::vector<int> sizes;
    for (const std::string& text : held) {
      pointers.push_back(text.data());
      sizes.push_back(static_cast<int>(text.size()));
    }
    const std::vector<int> formats(values.size(), kBinary);
    return Answer(PQexecParams(connection_.get(), statement.c_str(),
                               static_cast<int>(values.size()), types.data(), pointers.data(),
                               sizes.data(), formats.data(), kBinary));
  }

  [[nodiscard]] tl::unexpected<Error> failure(const std::string& what,
                                              const PGresult* answer) const {
    const char* const state =
        answer == nullptr ? nullptr : PQresultErrorField(answer, PG_DIAG_SQLSTATE);
    const bool is_gone = PQstatus(connection_.get()) != CONNECTION_OK;
    return fail(is_gone || state == nullptr ? Errc::closed : errc_of(state),
                "postgresql: " + what.substr(0, 80) + ": " + PQerrorMessage(connection_.get()));
  }

  std::unique_ptr<PGconn, Finish> connection_;
};

}  // namespace

Result<std::unique_ptr<SqlConnection>> connect_postgres(const StoreOptions& options) {
  const std::string timeout_s = std::to_string(std::max(options.busy_ms / 1'000, 2U));
  const std::string timeout_ms = std::to_string(options.busy_ms);
  const std::array<const char*, 6> names = {"dbname",           "connect_timeout",
                                            "tcp_user_timeout", "application_name",
                                            "client_encoding",  nullptr};
  const std::array<const char*, 6> values = {
      options.where.c_str(), timeout_s.c_str(), timeout_ms.c_str(), "mesh30k", "UTF8", nullptr};
  PGconn* const opened = PQconnectdbParams(names.data(), values.data(), 1);
  auto connection = std::make_unique<PostgresConnection>(opened);
  if (PQstatus(opened) != CONNECTION_OK)
    return fail(Errc::closed, std::string("postgresql: ") + PQerrorMessage(opened));
  PQsetNoticeProcessor(
      opened, [](void*, const char*) {}, nullptr);  // "already exists, skipping" is no news
  // Two programs that make the same tables at once take turns, until either is done or gone.
  MESH_CHECK_OK(connection->run("SET synchronous_commit = on; SET lock_timeout = " + timeout_ms +
                                "; SET statement_timeout = 0"));
  return std::unique_ptr<SqlConnection>(std::move(connection));
}

}  // namespace mesh::engine

#else

namespace mesh::engine {

Result<std::unique_ptr<SqlConnection>> connect_postgres(const StoreOptions& /*options*/) {
  return fail(Errc::unsupported, "this program was built without PostgreSQL (libpq-dev)");
}

}  // namespace mesh::engine

#endif
