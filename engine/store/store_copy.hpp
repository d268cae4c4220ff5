// A copy of a store, made while it is in use, and the store made anew from it.
//
// SQLite: by its online backup, within one read transaction: the copy is the store of one moment,
// and nobody who writes waits for it. The copy is one file, without a journal beside it.
// PostgreSQL: by pg_dump of an exported snapshot, in its custom format; put back by pg_restore.
//
// Callers     any thread, cold; not the one that has the store open for writing.
// Progress    blocking, file and network work in proportion to the store.
// Ordering    what `content` counts is what the copy holds: both are of one transaction.
// If the      process dies: the copy is not whole, and nobody says that it is. What is put back
// other side  goes to a new file, or into an empty database in one transaction.
// dies
// Errors      copy_store -> not_found, busy, io_error, no_space, cancelled (keep_going said no);
//             unsupported: a program of PostgreSQL is not there, or this one was built without
//             libpq. check_copy -> verification_failed: it is not what `expected` says, or its
//             chain is broken; corrupt: it is no store. put_back -> already_exists, and as those.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "engine/store/sql_connection.hpp"
#include "engine/store/store.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

// How much there is in a store, and where its chain ends.
struct StoreContent {
  std::uint64_t records = 0;
  std::uint64_t history = 0;
  std::uint64_t snapshots = 0;
  std::uint64_t contexts = 0;
  ChainHead head{};
  friend bool operator==(const StoreContent&, const StoreContent&) = default;
};

enum class StoreKind : std::uint8_t { sqlite = 1, postgres };
[[nodiscard]] StoreKind kind_of_store(const std::string& where) noexcept;
[[nodiscard]] std::string_view name_of(StoreKind kind) noexcept;  // "sqlite", "postgresql"

struct CopyRequest {
  std::string from;                    // as StoreOptions::where
  std::string to;                      // a path where nothing is
  std::function<bool()> keep_going{};  // asked now and then; empty: yes
  std::uint32_t busy_ms = 10'000;
};
[[nodiscard]] Result<StoreContent> copy_store(const CopyRequest& request);

// Reads the copy again, whole: its pages, its counts, every record of its chain.
[[nodiscard]] Status check_copy(StoreKind kind, const std::string& path,
                                const StoreContent& expected);

// Makes the store `where` from a copy that was checked: a file that is not there, or a database
// without these tables.
[[nodiscard]] Status put_back(StoreKind kind, const std::string& path, const std::string& where);

// Counted by this connection, in whatever transaction it is.
[[nodiscard]] Result<StoreContent> content_of(SqlConnection& connection);

// Each kind's own, in a file each.
[[nodiscard]] Result<StoreContent> copy_sqlite(const CopyRequest& request);
[[nodiscard]] Status check_sqlite_copy(const std::string& path, const StoreContent& expected);
[[nodiscard]] Status put_back_sqlite(const std::string& path, const std::string& where);
[[nodiscard]] Result<StoreContent> copy_postgres(const CopyRequest& request);
[[nodiscard]] Status check_postgres_copy(const std::string& path, const StoreContent& expected);
[[nodiscard]] Status put_back_postgres(const std::string& path, const std::string& where);

}  // namespace mesh::engine
