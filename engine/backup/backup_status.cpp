#include "engine/backup/backup_status.hpp"

#include <nlohmann/json.hpp>

#include "engine/control_json.hpp"
#include "engine/whole_file.hpp"

namespace mesh::engine {
namespace {

using nlohmann::json;

constexpr std::size_t kStatusBytesMax = std::size_t{1} << 20;

std::string path_in(const std::string& mesh_directory) {
  return mesh_directory + "/" + kBackupStatusFile;
}

Result<std::int64_t> ns_field(const json& object, const char* key) {
  MESH_TRY(const std::uint64_t ns, count_field(object, key));
  return static_cast<std::int64_t>(ns);
}

}  // namespace

Status write_status(const std::string& mesh_directory, const BackupStatus& status) {
  const json object = {{"directory", status.directory},
                       {"every_ns", status.every.count()},
                       {"tried_unix_ns", status.tried_unix_ns},
                       {"good", status.is_good},
                       {"error", status.error},
                       {"took_ns", status.took.count()},
                       {"good_unix_ns", status.good_unix_ns},
                       {"good_path", status.good_path},
                       {"good_bytes", status.good_bytes}};
  return write_whole_file(path_in(mesh_directory), dump(object) + "\n");
}

Result<BackupStatus> read_status(const std::string& mesh_directory) {
  MESH_TRY(const std::string text, read_whole_file(path_in(mesh_directory), kStatusBytesMax));
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object())
    return fail(Errc::verification_failed, "'" + path_in(mesh_directory) + "': it is no status");
  BackupStatus status;
  MESH_TRY(status.directory, text_field(object, "directory"));
  MESH_TRY(const std::int64_t every, ns_field(object, "every_ns"));
  status.every = Nanos{every};
  MESH_TRY(status.tried_unix_ns, ns_field(object, "tried_unix_ns"));
  MESH_TRY(status.is_good, flag_field(object, "good", false));
  MESH_TRY(status.error, text_field(object, "error"));
  MESH_TRY(const std::int64_t took, ns_field(object, "took_ns"));
  status.took = Nanos{took};
  MESH_TRY(status.good_unix_ns, ns_field(object, "good_unix_ns"));
  MESH_TRY(status.good_path, text_field(object, "good_path"));
  MESH_TRY(status.good_bytes, count_field(object, "good_bytes"));
  return status;
}

}  // namespace mesh::engine
