#include "engine/mesh_files.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <string_view>

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/station/control_protocol.hpp"
#include "shm/base/point.hpp"
#include "shm/base/word.hpp"
#include "shm/files.hpp"
#include "shm/mapping_header.hpp"
#include "shm/system_error.hpp"

namespace mesh::engine {
namespace {

constexpr mode_t kDirectoryMode = 0711;  // others may reach sock/, and list nothing
constexpr mode_t kSocketFolderMode = 0755;
constexpr int kBacklog = 128;

Status make_directory(const std::string& path) {
  for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    if (::mkdir(part.c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
      return shm::system_failure("make directory '" + part + "'", errno);
    }
    if (slash == std::string::npos) return {};
  }
}

std::int64_t process_in(int lock) {
  std::array<char, 32> text{};
  const ssize_t size = ::pread(lock, text.data(), text.size(), 0);
  std::int64_t process = 0;
  if (size > 0) std::from_chars(text.data(), text.data() + size, process);
  return process;
}

Result<shm::Descriptor> take_lock(int directory, const std::string& path) {
  shm::Descriptor lock(
      ::openat(directory, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!lock) return shm::system_failure("open the lock file of '" + path + "'", errno);
  // Of the open file, not of the process: no other thread or library of ours can lose it.
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(lock.get(), F_OFD_SETLK, &whole) != 0) {
    if (errno != EAGAIN && errno != EACCES) {
      return shm::system_failure("lock the mesh in '" + path + "'", errno);
    }
    const std::int64_t process = process_in(lock.get());
    return fail(
        Errc::already_exists,
        "mesh in '" + path + "': an engine runs there already, process " + std::to_string(process),
        process);
  }
  const std::string text = std::to_string(::getpid()) + "\n";
  if (::ftruncate(lock.get(), 0) != 0 ||
      ::pwrite(lock.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return shm::system_failure("write the lock file of '" + path + "'", errno);
  }
  return lock;
}

bool ends_with(std::string_view text, std::string_view suffix) noexcept {
  return text.size() >= suffix.size() && text.substr(text.size() - suffix.size()) == suffix;
}

bool is_memory(std::string_view name) noexcept {
  for (const std::string_view suffix :
       {std::string_view(kNewSuffix), std::string_view(kDownSuffix)}) {
    if (ends_with(name, suffix)) name.remove_suffix(suffix.size());
  }
  return name == "table" || name == "payload" || name == "engine" ||
         (name.substr(0, 8) == "station-" && name.size() > 11 && ends_with(name, ".in"));
}

}  // namespace

std::string station_in_file(std::uint16_t number) {
  return "station-" + std::to_string(number) + ".in";
}

Result<MeshFiles> MeshFiles::claim(const std::string& directory) {
  if (directory.empty()) return fail(Errc::invalid_argument, "a mesh needs a directory");
  MESH_CHECK_OK(make_directory(directory));
  MESH_TRY(shm::Descriptor opened, shm::open_directory(directory));
  // The umask may have taken bits, and a directory that was there may have had fewer.
  if (::fchmod(opened.get(), kDirectoryMode) != 0) {
    return shm::system_failure("fchmod '" + directory + "'", errno);
  }
  MESH_TRY(shm::Descriptor lock, take_lock(opened.get(), directory));
  return MeshFiles(directory, std::move(opened), std::move(lock));
}

MeshFiles::~MeshFiles() {
  if (!directory_) return;  // moved from
  if (owns_mesh_) {
    static_cast<void>(drop_all());
    const std::string socket = std::string(kSocketFolder) + "/" + kSocketName;
    ::unlinkat(directory_.get(), socket.c_str(), 0);
  }
  for (const std::string& name : made_) ::unlinkat(directory_.get(), name.c_str(), 0);
}

Result<std::vector<std::string>> MeshFiles::list() const {
  const int listed = ::openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const auto close_list = [](DIR* list) { ::closedir(list); };
  const std::unique_ptr<DIR, decltype(close_list)> list(listed < 0 ? nullptr : ::fdopendir(listed),
                                                        close_list);
  if (list == nullptr) return shm::system_failure("list '" + path_ + "'", errno);
  std::vector<std::string> names;
  while (const dirent* const entry = ::readdir(list.get())) {
    if (is_memory(entry->d_name)) names.emplace_back(entry->d_name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::vector<std::string>> MeshFiles::sweep() {
  MESH_TRY(const std::vector<std::string> names, list());
  const auto is_there = [&](const std::string& name) {
    return std::binary_search(names.begin(), names.end(), name);
  };
  const bool half_made = is_there(std::string("table") + kNewSuffix);
  const bool half_gone = is_there(std::string("table") + kDownSuffix);
  if (is_there("table") || (!half_made && !half_gone)) return std::vector<std::string>();
  return drop_all();
}

Result<std::vector<std::string>> MeshFiles::drop_all() {
  begin_removal();
  MESH_TRY(std::vector<std::string> names, list());
  // The name that says what this is goes last.
  std::stable_partition(names.begin(), names.end(),
                        [](const std::string& name) { return name.substr(0, 5) != "table"; });
  for (std::string& name : names) {
    MESH_CHECK_OK(shm::remove_file(directory_.get(), name));
    MESH_POINT("files.drop:after_file");
    if (ends_with(name, kDownSuffix)) name.resize(name.size() - std::strlen(kDownSuffix));
  }
  return names;
}

void MeshFiles::begin_removal() {
  // Not there: it is none already.
  static_cast<void>(rename("table", std::string("table") + kDownSuffix));
}

Status MeshFiles::rename(const std::string& from, const std::string& to) const {
  if (::renameat(directory_.get(), from.c_str(), directory_.get(), to.c_str()) != 0) {
    return shm::system_failure("rename '" + from + "' to '" + to + "'", errno);
  }
  return {};
}

Status MeshFiles::publish() {
  for (const char* const name : {"payload", "engine", "table"}) {
    MESH_CHECK_OK(rename(std::string(name) + kNewSuffix, name));
    MESH_POINT("files.publish:after_file");
  }
  made_.clear();
  return {};
}

Result<shm::Mapping> MeshFiles::create(const std::string& name, const shm::Layout& layout) {
  MESH_TRY(const shm::Descriptor file,
           shm::create_file({directory_.get(), name, layout.total_bytes()}));
  MESH_POINT("files.create:after_file");
  made_.push_back(name);
  shm::MappingOptions options;
  options.name = name;
  options.size_bytes = layout.total_bytes();
  options.access = shm::Access::kReadWrite;
  options.prefault = shm::Prefault::kPopulate;  // no page fault on the scheduler thread
  options.lock = true;                          // nor later
  return shm::Mapping::map(file.get(), options);
}

Result<shm::Mapping> MeshFiles::open(const std::string& name, shm::Access access) const {
  MESH_TRY(const shm::Descriptor file, shm::open_file(directory_.get(), name, access));
  MESH_TRY(const shm::MemoryIdentity found, shm::identity_of(file.get(), name));
  if (found.size_bytes < sizeof(shm::MappingHeader)) {
    return fail(Errc::truncated,
                "'" + name + "' has " + std::to_string(found.size_bytes) +
                    " bytes, its header alone " + std::to_string(sizeof(shm::MappingHeader)),
                static_cast<std::int64_t>(found.size_bytes));
  }
  shm::MappingOptions options;
  options.name = name;
  options.size_bytes = found.size_bytes;
  options.access = access;
  if (access == shm::Access::kReadWrite) options.prefault = shm::Prefault::kPopulate;
  options.lock = access == shm::Access::kReadWrite;
  return shm::Mapping::map(file.get(), options);
}

Result<shm::Descriptor> MeshFiles::open_to_pass(const std::string& name) const {
  return shm::open_file(directory_.get(), name, shm::Access::kReadOnly);
}

void MeshFiles::remove(const std::string& name) {
  ::unlinkat(directory_.get(), name.c_str(), 0);
  made_.erase(std::remove(made_.begin(), made_.end(), name), made_.end());
}

Result<shm::Descriptor> MeshFiles::listen() const {
  const std::string path = path_ + "/" + kSocketFolder + "/" + kSocketName;
  const std::string inside = std::string(kSocketFolder) + "/" + kSocketName;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return fail(Errc::invalid_argument,
                "control socket '" + path + "': a socket's path has at most " +
                    std::to_string(sizeof address.sun_path - 1) + " bytes, this one " +
                    std::to_string(path.size()) + "; choose a shorter directory",
                static_cast<std::int64_t>(path.size()));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  if (::mkdirat(directory_.get(), kSocketFolder, kSocketFolderMode) != 0 && errno != EEXIST) {
    return shm::system_failure("make directory '" + path_ + "/" + kSocketFolder + "'", errno);
  }
  if (::fchmodat(directory_.get(), kSocketFolder, kSocketFolderMode, 0) != 0) {
    return shm::system_failure("chmod '" + path_ + "/" + kSocketFolder + "'", errno);
  }
  ::unlinkat(directory_.get(), inside.c_str(), 0);  // we hold the lock: it is a dead engine's
  shm::Descriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return shm::system_failure("socket", errno);
  const auto* const at = reinterpret_cast<const sockaddr*>(&address);
  if (::bind(socket.get(), at, sizeof address) != 0) {
    return shm::system_failure("bind '" + path + "'", errno);
  }
  // Whoever reaches the folder may connect; who may attach is decided by the peer's credentials.
  if (::fchmodat(directory_.get(), inside.c_str(), 0666, 0) != 0 ||
      ::listen(socket.get(), kBacklog) != 0) {
    return shm::system_failure("listen on '" + path + "'", errno);
  }
  return socket;
}

}  // namespace mesh::engine
