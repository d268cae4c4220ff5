#include "engine/backup/restore.hpp"

#include <unistd.h>

#include "engine/backup/manifest.hpp"
#include "engine/console/routing_rules.hpp"
#include "engine/mesh_files.hpp"
#include "engine/rules_keeper.hpp"
#include "engine/whole_file.hpp"

namespace mesh::engine {
namespace {

std::string pending_path(const std::string& mesh_directory) {
  return mesh_directory + "/" + kRestoreFile;
}

Result<std::string> chosen(const std::string& path) {
  if (::access((path + "/" + kManifestFile).c_str(), F_OK) == 0) return path;
  const std::vector<std::string> there = backups_in(path);
  if (!there.empty()) return there.front();
  return fail(Errc::not_found, "restore: '" + path + "' is no backup, and has none in it");
}

Status put_tables(const BackupInfo& info, const std::string& mesh_directory) {
  MESH_TRY(const MeshFiles files, MeshFiles::claim(mesh_directory));  // nobody starts meanwhile
  MESH_TRY(const std::vector<std::string> there, files.list());
  if (!there.empty())
    return fail(Errc::wrong_state, "restore: a mesh is in '" + mesh_directory +
                                       "', and the next engine would go on with it");
  MESH_TRY(const std::string text, read_whole_file(info.path + "/" + kTablesFile, kTablesBytesMax));
  MESH_TRY(const KeptTables checked, read_tables(text));
  static_cast<void>(checked);
  return write_whole_file(pending_path(mesh_directory), text);
}

}  // namespace

Result<BackupInfo> restore(const RestoreRequest& request) {
  MESH_TRY(const std::string path, chosen(request.backup));
  MESH_TRY(BackupInfo info, check_backup(path));
  if (!request.store.empty()) {
    if (!info.store)
      return fail(Errc::not_found, "restore: the backup '" + path + "' has no store in it");
    MESH_CHECK_OK(
        put_back(info.store->kind, path + "/" + store_file(info.store->kind), request.store));
  }
  if (!request.mesh_directory.empty()) MESH_CHECK_OK(put_tables(info, request.mesh_directory));
  return info;
}

Result<std::optional<KeptTables>> pending_tables(const std::string& mesh_directory) {
  const std::string path = pending_path(mesh_directory);
  if (::access(path.c_str(), F_OK) != 0) return std::optional<KeptTables>();
  MESH_TRY(const std::string text, read_whole_file(path, kTablesBytesMax));
  MESH_TRY(KeptTables tables, read_tables(text));
  return std::optional(std::move(tables));
}

void drop_pending_tables(const std::string& mesh_directory) noexcept {
  ::unlink(pending_path(mesh_directory).c_str());
}

Status write_rules_journal(const std::string& mesh_directory, const KeptTables& tables) {
  if (tables.rules.empty()) return {};
  console::RoutingRules checked;
  std::string text;
  for (const std::string& line : tables.rules) {
    MESH_CHECK_OK(checked.apply_line(line));
    text += line + "\n";
  }
  return write_whole_file(mesh_directory + "/" + kRulesJournal, text);
}

}  // namespace mesh::engine
