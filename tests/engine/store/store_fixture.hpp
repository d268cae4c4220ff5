// Both stores for one suite: an SQLite file, and a PostgreSQL server of the test's own on loopback.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/store/store.hpp"
#include "tests/shm/processes.hpp"

namespace mesh::testing {

inline engine::Record conflict(std::uint64_t number, std::uint64_t agent = 7) {
  engine::Record record;
  record.subject = {1'000 + number, number};
  record.kind = engine::StoredKind::conflict;
  record.type = sched::ConflictType::data_contradiction;
  record.state = engine::ConflictState::open;
  record.priority = 2;
  record.at = static_cast<WireTime>(static_cast<std::int64_t>(number) * kNsPerSecond);
  record.agent = static_cast<AgentId>(agent);
  record.message = {5, number};
  record.operation = static_cast<OperationId>(number / 10);
  record.context_hash = 0xFFFF'FFFF'FFFF'0000U + number;
  record.expected = "expected " + std::to_string(number);
  record.received = std::string("\0bytes \xff", 8);
  return record;
}
inline engine::Record step_of(const engine::Record& conflict, std::uint32_t step,
                              engine::ConflictState state) {
  engine::Record record = conflict;
  record.step = step;
  record.kind = engine::StoredKind::step;
  record.state = state;
  record.at = static_cast<WireTime>(static_cast<std::int64_t>(conflict.at) + step);
  return record;
}
inline std::vector<engine::Record> conflicts(std::uint64_t first, std::uint64_t count) {
  std::vector<engine::Record> records;
  for (std::uint64_t i = 0; i < count; ++i) records.push_back(conflict(first + i));
  return records;
}

// fsync is off: these tests kill the server, never the machine.
// A server of Debian's package in a temporary folder, as user postgres where we are root. Stopped
// at once when it goes: nothing of it is kept.
class PostgresServer {
 public:
  PostgresServer() { missing_ = make(); }
  ~PostgresServer() {
    if (missing_.empty()) stop();
  }
  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;

  [[nodiscard]] const std::string& missing() const { return missing_; }  // empty: it runs
  [[nodiscard]] std::string address(const std::string& database) const {
    return "postgresql://mesh@127.0.0.1:" + std::to_string(port_) + "/" + database;
  }
  bool start() {
    return run(binaries_ + "/pg_ctl -w -D '" + data() + "' -l '" + folder_.file("log") +
               "' -o \"-p " + std::to_string(port_) + " -c listen_addresses=127.0.0.1" +
               " -c unix_socket_directories='" + data() + "' -c fsync=off\" start");
  }
  bool stop() { return run(binaries_ + "/pg_ctl -w -m immediate -D '" + data() + "' stop"); }
  bool make_database(const std::string& name) {
    return run(binaries_ + "/createdb -h 127.0.0.1 -p " + std::to_string(port_) + " -U mesh " +
               name);
  }
  // By the server's own program: what somebody with psql could do.
  bool psql(const std::string& database, const std::string& sql) {
    return run(binaries_ + "/psql -v ON_ERROR_STOP=1 -q -h 127.0.0.1 -p " + std::to_string(port_) +
               " -U mesh -d " + database + " -c \"" + sql + "\"");
  }

 private:
  [[nodiscard]] std::string data() const { return folder_.file("data"); }
  [[nodiscard]] bool run(const std::string& command) const {
    const std::string quiet = command + " >/dev/null 2>&1";
    if (geteuid() != 0) return std::system(quiet.c_str()) == 0;
    // The server refuses to run as root.
    return answer_of_child([&] {
             const passwd* const user = getpwnam("postgres");
             if (user == nullptr || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)
               return 1;
             return std::system(quiet.c_str()) == 0 ? 0 : 1;
           }) == 0;
  }
  std::string make() {
    for (const char* const version : {"15", "16", "17"}) {
      const std::string folder = std::string("/usr/lib/postgresql/") + version + "/bin";
      if (access((folder + "/initdb").c_str(), X_OK) == 0) binaries_ = folder;
    }
    if (binaries_.empty()) return "PostgreSQL's server is not installed";
    if (geteuid() == 0) {
      const passwd* const user = getpwnam("postgres");
      if (user == nullptr) return "there is no user postgres";
      if (chown(folder_.path().c_str(), user->pw_uid, user->pw_gid) != 0) return "chown failed";
    }
    if (!run(binaries_ + "/initdb -A trust -U mesh -N -D '" + data() + "'")) return "initdb failed";
    // Ports below the ephemeral ones; another test may hold one.
    for (int tried = 0; tried < 20; ++tried) {
      port_ = 15'432 + (static_cast<int>(getpid()) * 7 + tried * 131) % 15'000;
      if (start()) return {};
    }
    return "the server does not start";
  }

  ScratchDirectory folder_;
  std::string binaries_;
  std::string missing_;
  int port_ = 0;
};

// One server for all tests of a program.
inline PostgresServer& postgres_server() {
  static PostgresServer server;
  return server;
}

struct SqliteBackend {
  static std::string missing() { return {}; }
  SqliteBackend() : where_(folder_.file("mesh.db")) {}
  [[nodiscard]] const std::string& where() const { return where_; }
  // With another program, as an operator would: false when the database refuses.
  [[nodiscard]] bool sql(const std::string& statement) const;

 private:
  ScratchDirectory folder_;
  std::string where_;
};

struct PostgresBackend {
  static std::string missing() { return postgres_server().missing(); }
  PostgresBackend() {
    static int count = 0;
    name_ = "mesh" + std::to_string(++count);
    if (!missing().empty()) return;
    EXPECT_TRUE(postgres_server().make_database(name_));
    where_ = postgres_server().address(name_);
  }
  [[nodiscard]] const std::string& where() const { return where_; }
  [[nodiscard]] bool sql(const std::string& statement) const {
    return postgres_server().psql(name_, statement);
  }

 private:
  std::string name_;
  std::string where_;
};

}  // namespace mesh::testing

// Last: C names.
#include <sqlite3.h>

namespace mesh::testing {

inline bool SqliteBackend::sql(const std::string& statement) const {
  sqlite3* database = nullptr;
  bool done = sqlite3_open(where_.c_str(), &database) == SQLITE_OK;
  sqlite3_busy_timeout(database, 2'000);
  done = done && sqlite3_exec(database, statement.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK;
  sqlite3_close(database);
  return done;
}

}  // namespace mesh::testing
