#include "engine/backup/backup.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "engine/backup/manifest.hpp"
#include "engine/whole_file.hpp"
#include "shm/base/point.hpp"
#include "shm/descriptor.hpp"
#include "shm/file_hash.hpp"
#include "shm/system_error.hpp"

namespace mesh::engine {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "mesh-";
constexpr const char* kMaking = ".new";
constexpr const char* kLeaving = ".gone";
constexpr int kNamesTried = 1'000;
constexpr std::size_t kNameBytes = 25;  // mesh-20261129T143000.123Z

bool is_backup_name(const std::string& name) {
  return name.size() == kNameBytes && name.starts_with(kPrefix) && name.back() == 'Z';
}
bool is_left_over(const std::string& name) {
  return name.starts_with(kPrefix) && (name.ends_with(kMaking) || name.ends_with(kLeaving));
}

Status make_folder(const std::string& path, bool may_be_there) {
  if (::mkdir(path.c_str(), 0700) == 0 || (may_be_there && errno == EEXIST)) return {};
  return shm::system_failure("make directory '" + path + "'", errno);
}

// Of the open file: no other thread or process makes one there meanwhile.
Result<shm::Descriptor> lock_folder(const std::string& directory) {
  const std::string path = directory + "/.lock";
  shm::Descriptor lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) return shm::system_failure("open '" + path + "'", errno);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return shm::system_failure("lock '" + path + "'", errno);
  return fail(Errc::busy, "backup in '" + directory + "': another one is being made there");
}

Status remove_folder(const std::string& path) {
  std::error_code failed;
  fs::remove_all(path, failed);
  return failed ? shm::system_failure("remove '" + path + "'", failed.value()) : Status();
}

// Renamed first: what is half removed is no backup by its name.
Status take_away(const std::string& path) {
  const std::string leaving = path + kLeaving;
  if (::rename(path.c_str(), leaving.c_str()) != 0)
    return shm::system_failure("rename '" + path + "'", errno);
  MESH_POINT("backup.prune:after_rename");
  return remove_folder(leaving);
}

std::vector<std::string> names_in(const std::string& directory,
                                  bool (*is_meant)(const std::string&)) {
  std::vector<std::string> names;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(directory, failed)) {
    const std::string name = entry.path().filename().string();
    if (is_meant(name)) names.push_back(name);
  }
  std::sort(names.rbegin(), names.rend());
  return names;
}

Result<BackedUpFile> seen_file(const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name;
  const shm::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return shm::system_failure("open '" + path + "'", errno);
  MESH_TRY(const shm::FileHash seen, shm::hash64_of_file(file.get()));
  return BackedUpFile{name, seen.size_bytes, seen.hash};
}

// On the disk before it is read again.
Status sync_file(const std::string& path) {
  const shm::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file && ::fsync(file.get()) == 0) return {};
  return shm::system_failure("sync '" + path + "'", errno);
}

Status check_tables(const std::string& folder, const BackupInfo& info) {
  MESH_TRY(const std::string text, read_whole_file(folder + "/" + kTablesFile, kTablesBytesMax));
  MESH_TRY(const KeptTables tables, read_tables(text));
  if (tables.agents.size() == info.agents && tables.rules.size() == info.rules) return {};
  return fail(Errc::verification_failed,
              "backup '" + folder + "': its tables hold " + std::to_string(tables.agents.size()) +
                  " agents and " + std::to_string(tables.rules.size()) + " rules, not " +
                  std::to_string(info.agents) + " and " + std::to_string(info.rules));
}

// What stands in the folder, read again, against what is to stand there.
Status check_files(const std::string& folder, const BackupInfo& info) {
  for (const BackedUpFile& expected : info.files) {
    MESH_TRY(const BackedUpFile seen, seen_file(folder, expected.name));
    if (seen.size_bytes != expected.size_bytes || seen.hash != expected.hash)
      return fail(Errc::verification_failed, "backup '" + folder + "': " + expected.name +
                                                 " is not what was written: its checksum differs");
  }
  MESH_CHECK_OK(check_tables(folder, info));
  if (!info.store) return {};
  return check_copy(info.store->kind, folder + "/" + store_file(info.store->kind),
                    info.store->content);
}

Result<BackupInfo> fill(const BackupRequest& request, const std::string& folder) {
  BackupInfo info{.path = folder,
                  .created_unix_ns = request.now_unix_ns,
                  .files = {},
                  .store = std::nullopt,
                  .agents = request.agents,
                  .rules = request.rules};
  MESH_CHECK_OK(write_whole_file(folder + "/" + kTablesFile, request.tables));
  MESH_TRY(BackedUpFile tables, seen_file(folder, kTablesFile));
  info.files.push_back(std::move(tables));
  MESH_POINT("backup.fill:after_tables");
  if (request.store.empty()) return info;
  const StoreKind kind = kind_of_store(request.store);
  const std::string copy = folder + "/" + store_file(kind);
  MESH_TRY(const StoreContent content,
           copy_store({.from = request.store, .to = copy, .keep_going = request.keep_going}));
  MESH_POINT("backup.fill:after_store");
  MESH_CHECK_OK(sync_file(copy));
  MESH_TRY(BackedUpFile stored, seen_file(folder, store_file(kind)));
  info.files.push_back(std::move(stored));
  info.store = BackedUpStore{kind, content};
  return info;
}

Result<BackupInfo> make_in(const BackupRequest& request, const std::string& folder) {
  MESH_CHECK_OK(make_folder(folder, false));
  MESH_TRY(BackupInfo info, fill(request, folder));
  MESH_CHECK_OK(check_files(folder, info));
  MESH_POINT("backup.make:before_manifest");
  MESH_CHECK_OK(write_whole_file(folder + "/" + kManifestFile, manifest_of(info)));
  MESH_CHECK_OK(sync_directory(folder));
  return info;
}

Status prune(const std::string& directory, std::uint32_t keep) {
  const std::vector<std::string> names = names_in(directory, &is_backup_name);
  for (std::size_t at = keep; keep != 0 && at < names.size(); ++at)
    MESH_CHECK_OK(take_away(directory + "/" + names[at]));
  return {};
}

}  // namespace

std::uint64_t BackupInfo::size_bytes() const noexcept {
  std::uint64_t sum = 0;
  for (const BackedUpFile& file : files) sum += file.size_bytes;
  return sum;
}

std::string backup_name(std::int64_t unix_ns) {
  const auto seconds = static_cast<std::time_t>(unix_ns / kNsPerSecond);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 32> day{};
  const std::size_t size = std::strftime(day.data(), day.size(), "%Y%m%dT%H%M%S", &parts);
  const std::string ms = std::to_string(1'000 + unix_ns % kNsPerSecond / kNsPerMs).substr(1);
  return kPrefix + std::string(day.data(), size) + "." + ms + "Z";
}

std::string store_file(StoreKind kind) {
  return kind == StoreKind::postgres ? "store.dump" : "store.sqlite";
}

std::vector<std::string> backups_in(const std::string& directory) {
  std::vector<std::string> paths;
  for (const std::string& name : names_in(directory, &is_backup_name))
    paths.push_back(directory + "/" + name);
  return paths;
}

Result<BackupInfo> take_backup(const BackupRequest& asked) {
  BackupRequest request = asked;
  if (request.directory.empty())
    return fail(Errc::bad_input, "backup: no directory is given, and none is configured");
  MESH_CHECK_OK(make_folder(request.directory, true));
  MESH_TRY(const shm::Descriptor lock, lock_folder(request.directory));
  for (const std::string& name : names_in(request.directory, &is_left_over))
    MESH_CHECK_OK(remove_folder(request.directory + "/" + name));
  // Two within a millisecond, or a clock that went back a little: names go on. Where it went back
  // far the new one is still made, and is the oldest by its name.
  const std::vector<std::string> before = names_in(request.directory, &is_backup_name);
  for (int tried = 0;
       tried < kNamesTried && !before.empty() && backup_name(request.now_unix_ns) <= before.front();
       ++tried)
    request.now_unix_ns += kNsPerMs;
  const std::string path = request.directory + "/" + backup_name(request.now_unix_ns);
  auto made = make_in(request, path + kMaking);
  if (!made) {
    static_cast<void>(remove_folder(path + kMaking));
    return made;
  }
  MESH_POINT("backup.take:before_rename");
  if (::rename((path + kMaking).c_str(), path.c_str()) != 0) {
    const int why = errno;
    static_cast<void>(remove_folder(path + kMaking));
    return shm::system_failure("rename '" + path + kMaking + "'", why);
  }
  MESH_CHECK_OK(sync_directory(request.directory));
  MESH_POINT("backup.take:after_rename");
  made->path = path;
  MESH_CHECK_OK(prune(request.directory, request.keep));
  return made;
}

Result<BackupInfo> read_backup(const std::string& path) {
  MESH_TRY(const std::string text, read_whole_file(path + "/" + kManifestFile, kManifestBytesMax));
  MESH_TRY(BackupInfo info, read_manifest(text));
  info.path = path;
  return info;
}

Result<BackupInfo> check_backup(const std::string& path) {
  MESH_TRY(BackupInfo info, read_backup(path));
  MESH_CHECK_OK(check_files(path, info));
  return info;
}

}  // namespace mesh::engine
