// Copies of an SQLite store: by its online backup API.
#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <thread>

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include "engine/store/schema.hpp"
#include "engine/store/sql_store.hpp"
#include "engine/store/sqlite_connection.hpp"
#include "engine/store/store_copy.hpp"
#include "shm/descriptor.hpp"
#include "shm/system_error.hpp"

namespace mesh::engine {
namespace {

constexpr int kPagesAtOnce = 256;
constexpr std::chrono::milliseconds kBusyNap{5};

struct FinishBackup {
  void operator()(sqlite3_backup* backup) const { sqlite3_backup_finish(backup); }
};
struct CloseDatabase {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;

tl::unexpected<Error> failure(const std::string& what, int code) {
  const Errc errc = (code & 0xFF) == SQLITE_FULL   ? Errc::no_space
                    : (code & 0xFF) == SQLITE_BUSY ? Errc::busy
                                                   : Errc::io_error;
  return fail(errc, what + ": " + sqlite3_errstr(code), code);
}

// What is there already is left alone: the file must be ours from its first byte.
Status make_new_file(const std::string& path) {
  const shm::Descriptor file(
      ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return shm::system_failure("create '" + path + "'", errno);
  return {};
}

Result<Database> open_new(const std::string& path) {
  MESH_CHECK_OK(make_new_file(path));
  sqlite3* opened = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  Database database(opened);
  if (code != SQLITE_OK) return failure("store copy '" + path + "'", code);
  return database;
}

// One file, that is read without a journal beside it.
Status settle(sqlite3* copy, const std::string& path) {
  const int code = sqlite3_exec(copy, "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;",
                                nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return failure("store copy '" + path + "'", code);
  return {};
}

Status run_backup(sqlite3* from, sqlite3* to, const CopyRequest& request) {
  const std::unique_ptr<sqlite3_backup, FinishBackup> backup(
      sqlite3_backup_init(to, "main", from, "main"));
  if (backup == nullptr) return failure("store copy '" + request.to + "'", sqlite3_errcode(to));
  const auto patient_until =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(request.busy_ms);
  for (int code = SQLITE_OK; code != SQLITE_DONE;) {
    if (request.keep_going && !request.keep_going())
      return fail(Errc::cancelled, "store copy '" + request.to + "': it was to be stopped");
    code = sqlite3_backup_step(backup.get(), kPagesAtOnce);
    const bool is_busy = code == SQLITE_BUSY || code == SQLITE_LOCKED;
    if (code != SQLITE_OK && code != SQLITE_DONE && !is_busy)
      return failure("store copy '" + request.to + "'", code);
    if (!is_busy) continue;
    if (std::chrono::steady_clock::now() > patient_until)
      return failure("store copy '" + request.to + "'", SQLITE_BUSY);
    std::this_thread::sleep_for(kBusyNap);
  }
  return {};
}

Result<Verification> verified(const std::string& path, StoreContent& content) {
  MESH_TRY(auto connection, connect_sqlite_to_read(path));
  MESH_TRY(const auto integrity, connection.sql->query("PRAGMA integrity_check(1)", {}));
  std::string said;
  if (integrity.size() != 1 || !read(integrity[0][0], said) || said != "ok")
    return fail(Errc::corrupt, "store copy '" + path + "': " + said);
  MESH_TRY(content, content_of(*connection.sql));
  MESH_TRY(const auto store, SqlStore::open_to_read(std::move(connection.sql)));
  return store->verify(content.head);
}

tl::unexpected<Error> not_as_expected(const std::string& path, const std::string& how) {
  return fail(Errc::verification_failed, "store copy '" + path + "': " + how);
}

}  // namespace

Result<StoreContent> copy_sqlite(const CopyRequest& request) {
  MESH_TRY(auto source, connect_sqlite_to_read(request.from));
  MESH_CHECK_OK(source.sql->run("PRAGMA busy_timeout = " + std::to_string(request.busy_ms)));
  // From here on this connection sees one moment: the counts, and every page that is copied.
  MESH_CHECK_OK(source.sql->run("BEGIN"));
  MESH_TRY(const StoreContent content, content_of(*source.sql));
  MESH_TRY(const Database copy, open_new(request.to));
  MESH_CHECK_OK(run_backup(source.handle, copy.get(), request));
  MESH_CHECK_OK(settle(copy.get(), request.to));
  MESH_CHECK_OK(source.sql->run("COMMIT"));
  return content;
}

Status check_sqlite_copy(const std::string& path, const StoreContent& expected) {
  StoreContent content;
  MESH_TRY(const Verification seen, verified(path, content));
  if (!seen.whole) return not_as_expected(path, seen.sentence);
  if (content == expected) return {};
  return not_as_expected(
      path, std::to_string(content.records) + " records, " + std::to_string(content.history) +
                " points of history, " + std::to_string(content.snapshots) + " snapshots, " +
                std::to_string(content.contexts) + " contexts and a chain that ends at " +
                std::to_string(content.head.position) + "; expected were " +
                std::to_string(expected.records) + ", " + std::to_string(expected.history) + ", " +
                std::to_string(expected.snapshots) + ", " + std::to_string(expected.contexts) +
                " and " + std::to_string(expected.head.position));
}

// Beside it first: a store that was not written whole is none.
Status put_back_sqlite(const std::string& path, const std::string& where) {
  if (::access(where.c_str(), F_OK) == 0)
    return fail(Errc::already_exists, "restore '" + where + "': there is a file; move it away");
  const std::string aside = where + ".restoring";
  if (::unlink(aside.c_str()) != 0 && errno != ENOENT)
    return shm::system_failure("remove '" + aside + "'", errno);
  MESH_TRY(const StoreContent content, copy_sqlite({.from = path, .to = aside}));
  MESH_CHECK_OK(check_sqlite_copy(aside, content));
  const shm::Descriptor file(::open(aside.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file || ::fsync(file.get()) != 0) return shm::system_failure("sync '" + aside + "'", errno);
  // link, not rename: what came there meanwhile is not written over.
  if (::link(aside.c_str(), where.c_str()) != 0)
    return shm::system_failure("restore '" + where + "'", errno);
  ::unlink(aside.c_str());
  return {};
}

}  // namespace mesh::engine
