// mesh backup, restore: the store and the tables of a mesh, kept elsewhere and made anew.
#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <system_error>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "engine/backup/restore.hpp"
#include "tools/acting.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_backup {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kBackupFooter = R"(
  DIR  where backups go; it is made if its parent is there. None: the one that the
       engine's configuration names under [backup]

The engine copies its store while it is used, and writes down who its agents are: their
names, owners, places, capabilities, profiles, holds, and the routing rules. All of it is
read again and compared before it is called a backup: checksums, counts, every record of
the chain. Messages in flight are not in it. Older backups in DIR than the last 7 (keep,
under [backup]) are taken away once the new one is good.

Exit code 0: there is a new backup, 1: there is none, and those of before stand.

Examples:
  mesh backup /var/backups/mesh
  mesh backup --json
)";

constexpr const char* kRestoreFooter = R"(
  BACKUP  a backup's folder, or one with several: the newest

The backup is read whole first, and nothing is put anywhere where it is not what was
written. Then, as asked for:

  --store WHERE  makes the store there: a file that is not there yet, or, of a PostgreSQL
                 store, a database without its tables
  --tables       leaves the tables for the next engine of the mesh (--dir, --name): its
                 agents are there by name, place and profile, offline until their
                 processes attach. No engine runs there, and no mesh is left there
  --check        neither

Exit code 0: done, 1: not, and the sentence says why.

Examples:
  mesh restore /var/backups/mesh --check
  mesh restore /var/backups/mesh --store conflicts.db --tables
  mesh up --store conflicts.db
)";

struct BackupOptions {
  WhichMesh which;
  std::string directory;
  bool json = false;
};

// The engine runs elsewhere: what is meant is meant from here.
Result<std::string> absolute(const std::string& path) {
  std::error_code failed;
  const std::filesystem::path whole = std::filesystem::absolute(path, failed);
  if (failed) return fail(Errc::bad_input, fmt::format("{}: is no path", in_quotes(path)));
  return whole.lexically_normal().string();
}

Result<ExitCode> run_backup(const BackupOptions& options, Console& console) {
  MESH_TRY(const Json answer, ask_backup(options.which, options.directory));
  if (options.json) {
    console.out << answer.dump(2) << '\n';
  } else {
    write_backup(answer, console.out);
  }
  return ExitCode::done;
}

RunVerb declare_backup(CLI::App& command) {
  const auto options = std::make_shared<BackupOptions>();
  command
      .add_option("directory", options->directory,
                  "where backups go; default: as the engine is configured")
      ->type_name("DIR");
  declare_which_mesh(command, options->which);
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kBackupFooter);
  return [options](Console& console) { return run_backup(*options, console); };
}

struct RestoreOptions {
  WhichMesh which;
  std::string backup;
  std::string store;
  bool tables = false;
  bool check = false;
  bool json = false;
};

Json restored_json(const RestoreOptions& options, const engine::BackupInfo& info) {
  Json object = {{"backup", printable(info.path)},
                 {"created_unix_ns", info.created_unix_ns},
                 {"agents", info.agents},
                 {"rules", info.rules},
                 {"records", nullptr},
                 {"store", nullptr},
                 {"tables", options.tables}};
  if (info.store) object["records"] = info.store->content.records;
  if (!options.store.empty()) object["store"] = printable(options.store);
  return object;
}

Result<ExitCode> run_restore(const RestoreOptions& options, Console& console) {
  const bool is_work = options.tables || !options.store.empty();
  if (is_work == options.check)
    return fail(Errc::bad_input, "say what of it: --store, --tables or both; or --check alone");
  engine::RestoreRequest request{.backup = options.backup, .store = options.store};
  if (options.tables) {
    MESH_TRY(request.mesh_directory, mesh_directory(options.which.directory, options.which.name));
  }
  MESH_TRY(const engine::BackupInfo info, engine::restore(request));
  const Json object = restored_json(options, info);
  if (options.json) {
    console.out << object.dump(2) << '\n';
    return ExitCode::done;
  }
  console.out << fmt::format("{}: whole, {} agents, {} rules, {} records\n", printable(info.path),
                             info.agents, info.rules,
                             info.store ? fmt::format("{}", info.store->content.records) : "no");
  if (!options.store.empty())
    console.out << fmt::format("store made: {}\n", printable(options.store));
  if (options.tables)
    console.out << fmt::format("tables wait in {} for its next engine\n",
                               printable(request.mesh_directory));
  return ExitCode::done;
}

RunVerb declare_restore(CLI::App& command) {
  const auto options = std::make_shared<RestoreOptions>();
  command.add_option("backup", options->backup, "a backup's folder, or one with several")
      ->required()
      ->type_name("BACKUP");
  command.add_option("--store", options->store, "makes the store there; default: no store")
      ->type_name("WHERE");
  command.add_flag("--tables", options->tables, "leaves the tables for the next engine");
  command.add_flag("--check", options->check, "only reads it, whole");
  declare_which_mesh(command, options->which);
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kRestoreFooter);
  return [options](Console& console) { return run_restore(*options, console); };
}

}  // namespace
}  // namespace of_backup

Answered ask_backup(const WhichMesh& which, const std::string& directory) {
  nlohmann::ordered_json request = {{"op", "backup"}};
  if (!directory.empty()) {
    MESH_CHECK_OK(check_utf8("DIR", directory));
    MESH_TRY(request["directory"], of_backup::absolute(directory));
  }
  return ask_engine(which, request);
}

void write_backup(const nlohmann::ordered_json& answer, std::ostream& out) {
  out << fmt::format("{}: {} bytes, read again and found good\n",
                     printable(answer.value("path", "")), answer.value("bytes", std::uint64_t{0}));
  out << fmt::format("{} agents, {} rules", answer.value("agents", 0U), answer.value("rules", 0U));
  const nlohmann::ordered_json store = answer.value("store", nlohmann::ordered_json());
  if (!store.is_object()) {
    out << "; no store: this engine was started without --store\n";
    return;
  }
  out << fmt::format(", {} records, the chain ends at {}:{}\n", store.value("records", 0U),
                     store.value("head_position", 0U), printable(store.value("head_hash", "")));
}

Verb backup_verb() {
  return {"backup", "store and tables, kept elsewhere and verified", &of_backup::declare_backup};
}
Verb restore_verb() {
  return {"restore", "a mesh made anew from a backup", &of_backup::declare_restore};
}

}  // namespace mesh::tools
