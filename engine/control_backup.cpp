// A console's request for a backup.
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/backup/backup_keeper.hpp"
#include "engine/control_jobs.hpp"

namespace mesh::engine {
using nlohmann::json;

namespace {

json backup_json(const BackupInfo& made) {
  json object = {{"ok", true},
                 {"path", made.path},
                 {"created_unix_ns", made.created_unix_ns},
                 {"bytes", made.size_bytes()},
                 {"agents", made.agents},
                 {"rules", made.rules},
                 {"verified", true},  // what was not is no backup
                 {"store", nullptr}};
  if (made.store)
    object["store"] = {{"kind", name_of(made.store->kind)},
                       {"records", made.store->content.records},
                       {"head_position", made.store->content.head.position},
                       {"head_hash", to_hex(made.store->content.head.hash)}};
  return object;
}

}  // namespace

Status ControlServer::begin_backup(const ConsoleRequest& request, const json& object) {
  std::string directory;
  if (object.contains("directory")) {
    MESH_TRY(directory, text_field(object, "directory"));
    if (!directory.starts_with('/'))
      return fail(Errc::bad_input, "field 'directory': an absolute path is expected");
  }
  options_.backups->post(std::move(directory), [this, connection = request.connection](
                                                   const Result<BackupInfo>& made) {
    tell(connection, made ? dump(backup_json(*made)) : error_json(made.error()));
  });
  return {};
}

}  // namespace mesh::engine
