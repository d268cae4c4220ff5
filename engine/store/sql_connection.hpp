// SqlConnection: the little that SqlStore needs of a database, the same for SQLite and PostgreSQL.
// Integers are int64, everything of variable length is bytes.
//
// Callers     one thread.
// Progress    blocking.
// Errors      of the database, as Errc with its own sentence; see store.hpp.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "shm/base/result.hpp"

namespace mesh::engine {

using SqlValue = std::variant<std::int64_t, double, std::string_view>;  // the last: bytes
template <class T>
[[nodiscard]] SqlValue number(T value) noexcept {
  return static_cast<std::int64_t>(value);
}
using SqlCell = std::variant<std::monostate, std::int64_t, double, std::string>;
using SqlRow = std::vector<SqlCell>;

// What differs between the two in words alone.
struct SqlDialect {
  std::string_view integer;
  std::string_view real;
  std::string_view bytes;
  std::string_view begin;       // a transaction that will write
  std::string_view for_update;  // holds the row that was read until commit
  std::string_view triggers;    // refuse UPDATE and DELETE
  bool is_here = false;         // no round trip: a statement a row costs less than a join
};

struct SqlTable {
  std::string_view name;
  std::span<const std::string_view> columns;
};

class SqlConnection {
 public:
  SqlConnection() = default;
  virtual ~SqlConnection() = default;
  SqlConnection(const SqlConnection&) = delete;
  SqlConnection& operator=(const SqlConnection&) = delete;

  [[nodiscard]] virtual const SqlDialect& dialect() const noexcept = 0;
  // Statements without parameters or answer.
  virtual Status run(const std::string& script) = 0;
  // One statement with $1, $2, ... in order of their first use.
  virtual Result<std::vector<SqlRow>> query(const std::string& statement,
                                            std::span<const SqlValue> values) = 0;
  // Rows after each other in `values`; as fast as the database takes them.
  virtual Status insert(const SqlTable& table, std::span<const SqlValue> values) = 0;
};

}  // namespace mesh::engine
