// Copies of a PostgreSQL store: by pg_dump of an exported snapshot. What such a file holds is read
// again without a server: pg_restore writes it out as text, and the chain is walked in that.
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <fstream>
#include <map>
#include <memory>

#include <unistd.h>

#include "engine/process/child.hpp"
#include "engine/store/postgres_connection.hpp"
#include "engine/store/schema.hpp"
#include "engine/store/store_copy.hpp"
#include "shm/system_error.hpp"

#ifdef MESH_POSTGRES
#include <libpq-fe.h>
#endif

namespace mesh::engine {

#ifdef MESH_POSTGRES
namespace {

constexpr Nanos kLook{20 * kNsPerMs};
constexpr std::size_t kSaidMax = 300;

struct FreeOptions {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};

// A password in an argument would be seen by everybody who lists processes.
Result<std::vector<std::pair<std::string, std::string>>> environment_of(const std::string& where) {
  char* wrong = nullptr;
  const std::unique_ptr<PQconninfoOption, FreeOptions> parsed(
      PQconninfoParse(where.c_str(), &wrong));
  if (parsed == nullptr) {
    const std::string why = wrong == nullptr ? "no memory" : wrong;
    PQfreemem(wrong);
    return fail(Errc::invalid_argument, "store: the address is none: " + why);
  }
  std::vector<std::pair<std::string, std::string>> environment;
  for (const PQconninfoOption* one = parsed.get(); one->keyword != nullptr; ++one)
    if (one->val != nullptr && one->envvar != nullptr)
      environment.emplace_back(one->envvar, one->val);
  return environment;
}

std::string value_of(const std::vector<std::pair<std::string, std::string>>& environment,
                     const std::string& name) {
  for (const auto& [key, value] : environment)
    if (key == name) return value;
  return {};
}

std::string first_said(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line.substr(0, kSaidMax);
}

// What it complains of stands beside `beside`, for as long as it runs.
Status run_program(ChildProgram program, const std::string& beside,
                   const std::function<bool()>& keep_going) {
  program.errors_to = beside + ".said";
  const std::string name = program.words.front();
  auto child = Child::start(program);
  if (!child && child.error().code == Errc::not_found)
    return fail(Errc::unsupported, "store: " + name +
                                       " is not there: PostgreSQL's client programs"
                                       " make and read copies of its stores");
  if (!child) return tl::unexpected<Error>(child.error());
  while (!child->wait(kLook)) {
    if (!keep_going || keep_going()) continue;
    child->kill(SIGKILL);
    static_cast<void>(child->wait(Nanos{10 * kNsPerSecond}));
    ::unlink(program.errors_to.c_str());
    return fail(Errc::cancelled, "store copy: it was to be stopped");
  }
  const std::string said = first_said(program.errors_to);
  ::unlink(program.errors_to.c_str());
  if (child->is_good()) return {};
  return fail(Errc::io_error, "store: " + name + " ended with " + child->ending() + ": " + said);
}

// The text of COPY: columns between tabs, bytes as \\x and hexadecimal digits.
Result<SqlRow> row_of(std::string_view line) {
  SqlRow row;
  for (std::size_t at = 0; at <= line.size();) {
    const std::size_t end = std::min(line.find('\t', at), line.size());
    const std::string_view cell = line.substr(at, end - at);
    at = end + 1;
    std::int64_t number = 0;
    const char* const last = cell.data() + cell.size();
    if (!cell.starts_with("\\\\x")) {
      if (std::from_chars(cell.data(), last, number).ptr != last || cell.empty())
        return fail(Errc::corrupt, "store dump: a value that is none");
      row.emplace_back(number);
      continue;
    }
    std::string bytes;
    for (std::size_t i = 3; i + 1 < cell.size(); i += 2) {
      unsigned value = 0;
      if (std::from_chars(&cell[i], &cell[i] + 2, value, 16).ptr != &cell[i] + 2)
        return fail(Errc::corrupt, "store dump: bytes that are none");
      bytes += static_cast<char>(value);
    }
    row.emplace_back(std::move(bytes));
  }
  return row;
}

// What a dump as text holds, its chain walked.
class DumpReader {
 public:
  Result<StoreContent> read(std::istream& dump) {
    for (std::string line; std::getline(dump, line);) {
      if (line == "\\.") {
        table_.clear();
      } else if (table_.empty()) {
        begin(line);
      } else {
        MESH_CHECK_OK(take(line));
      }
    }
    if (has_head_ && content_.head == walked_) return content_;
    return fail(Errc::verification_failed, "store dump: its records end at " +
                                               std::to_string(walked_.position) +
                                               ", and not where its head says");
  }

 private:
  // COPY public.records (position, subject, ...) FROM stdin;
  void begin(const std::string& line) {
    if (!line.starts_with("COPY ") || !line.ends_with("FROM stdin;")) return;
    const std::string name = line.substr(5, line.find(' ', 5) - 5);
    table_ = name.substr(name.find('.') + 1);
  }
  Status take(const std::string& line) {
    if (table_ == "history") ++content_.history;
    if (table_ == "snapshots") ++content_.snapshots;
    if (table_ == "agent_contexts") ++content_.contexts;
    if (table_ == "records") return take_record(line);
    if (table_ == "chain_head") return take_head(line);
    return {};
  }
  // A table is written as it lies: nearly in order, where rows went into the room of others that an
  // abort had left.
  Status take_record(const std::string& line) {
    MESH_TRY(const SqlRow row, row_of(line));
    MESH_TRY(StoredRecord stored, record_of(row));
    ++content_.records;
    waiting_.emplace(stored.at.position, std::move(stored));
    for (auto next = waiting_.begin();
         next != waiting_.end() && next->first == walked_.position + 1;
         next = waiting_.erase(next)) {
      const ChainHead head = chained(walked_, next->second.record);
      if (head != next->second.at)
        return fail(Errc::verification_failed, "store dump: record " + std::to_string(next->first) +
                                                   " does not follow the one before it");
      walked_ = head;
    }
    return {};
  }
  Status take_head(const std::string& line) {
    MESH_TRY(const SqlRow row, row_of(line));
    std::int64_t position = 0;
    has_head_ = row.size() == 3 && engine::read(row[1], position) &&
                engine::read(row[2], content_.head.hash);
    content_.head.position = static_cast<std::uint64_t>(position);
    return {};
  }

  std::string table_;
  StoreContent content_;
  ChainHead walked_;
  std::map<std::uint64_t, StoredRecord> waiting_;  // not their turn yet
  bool has_head_ = false;
};

}  // namespace

Result<StoreContent> copy_postgres(const CopyRequest& request) {
  MESH_TRY(auto environment, environment_of(request.from));
  MESH_TRY(const auto connection,
           connect_postgres({.where = request.from, .busy_ms = request.busy_ms}));
  MESH_CHECK_OK(connection->run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
  MESH_TRY(const auto exported,
           connection->query("SELECT convert_to(pg_export_snapshot(), 'UTF8')", {}));
  std::string snapshot;
  if (exported.size() != 1 || !read(exported[0][0], snapshot))
    return fail(Errc::corrupt, "store: the server exports no snapshot");
  MESH_TRY(const StoreContent content, content_of(*connection));
  if (::access(request.to.c_str(), F_OK) == 0)
    return fail(Errc::already_exists, "store copy '" + request.to + "': there is a file");
  ChildProgram dump{.words = {"pg_dump", "--format=custom", "--no-owner", "--no-privileges",
                              "--no-password", "--snapshot=" + snapshot, "--file=" + request.to},
                    .environment = std::move(environment)};
  MESH_CHECK_OK(run_program(std::move(dump), request.to, request.keep_going));
  MESH_CHECK_OK(connection->run("COMMIT"));
  return content;
}

Status check_postgres_copy(const std::string& path, const StoreContent& expected) {
  const std::string text = path + ".text";
  ChildProgram program{.words = {"pg_restore", "--data-only", "--file=" + text, path}};
  const Status written = run_program(std::move(program), path, {});
  std::ifstream dump(text, std::ios::binary);
  const auto content = written ? DumpReader().read(dump) : tl::unexpected<Error>(written.error());
  ::unlink(text.c_str());
  if (!content) return tl::unexpected<Error>(content.error());
  if (*content == expected) return {};
  return fail(Errc::verification_failed,
              "store copy '" + path + "': " + std::to_string(content->records) +
                  " records, and its chain ends at " + std::to_string(content->head.position) +
                  "; expected were " + std::to_string(expected.records) + " and " +
                  std::to_string(expected.head.position));
}

Status put_back_postgres(const std::string& path, const std::string& where) {
  MESH_TRY(auto environment, environment_of(where));
  {
    MESH_TRY(const auto connection, connect_postgres({.where = where}));
    MESH_TRY(const auto rows, connection->query("SELECT count(*) FROM information_schema.tables"
                                                " WHERE table_name = 'records'",
                                                {}));
    std::int64_t there = 0;
    if (rows.size() != 1 || !read(rows[0][0], there) || there != 0)
      return fail(Errc::already_exists, "restore: the database has a table 'records' already");
  }
  const std::string database = value_of(environment, "PGDATABASE");
  ChildProgram program{
      .words = {"pg_restore", "--exit-on-error", "--single-transaction", "--no-owner",
                "--no-privileges", "--no-password", "--dbname=" + database, path},
      .environment = std::move(environment)};
  MESH_CHECK_OK(run_program(std::move(program), path, {}));
  MESH_TRY(const auto store, open_store({.where = where}));
  MESH_TRY(const Verification seen, store->verify({}));
  if (seen.whole) return {};
  return fail(Errc::verification_failed, "restore: " + seen.sentence);
}

#else

Result<StoreContent> copy_postgres(const CopyRequest& /*request*/) {
  return fail(Errc::unsupported, "this program was built without PostgreSQL (libpq-dev)");
}
Status check_postgres_copy(const std::string& /*path*/, const StoreContent& /*expected*/) {
  return fail(Errc::unsupported, "this program was built without PostgreSQL (libpq-dev)");
}
Status put_back_postgres(const std::string& /*path*/, const std::string& /*where*/) {
  return fail(Errc::unsupported, "this program was built without PostgreSQL (libpq-dev)");
}

#endif

}  // namespace mesh::engine
