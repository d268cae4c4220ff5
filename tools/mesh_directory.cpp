#include "tools/mesh_directory.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tools/text.hpp"

namespace mesh::tools {

Result<std::string> mesh_directory(const std::string& directory, const std::string& name) {
  if (!directory.empty()) return directory;
  if (name.empty() || name == "." || name == ".." || name.find('/') != name.npos) {
    return fail(Errc::bad_input,
                fmt::format("the mesh name {} must be one path component", in_quotes(name)));
  }
  // The runtime directory is private to the user and on tmpfs, where there is one.
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime == '/') return fmt::format("{}/mesh30k/{}", runtime, name);
  return fmt::format("/dev/shm/mesh30k-{}/{}", ::getuid(), name);
}

Result<std::uint64_t> free_bytes(const std::string& path) {
  std::filesystem::path existing = std::filesystem::path(path).is_absolute()
                                       ? std::filesystem::path(path)
                                       : "." / std::filesystem::path(path);
  struct ::statvfs about {};
  while (::statvfs(existing.c_str(), &about) != 0) {
    const int error = errno;
    if (error == EINTR) continue;
    if ((error != ENOENT && error != ENOTDIR) || !existing.has_relative_path()) {
      return fail(Errc::system_error,
                  fmt::format("{}: its file system cannot be looked at: {}", printable(path),
                              std::strerror(error)),
                  error);
    }
    existing = existing.parent_path();
  }
  std::error_code unknown;  // gone meanwhile: who creates the mesh will see it
  if (!std::filesystem::is_directory(existing, unknown) && !unknown) {
    return fail(Errc::bad_input, fmt::format("{}: {} is not a directory", in_quotes(path),
                                             in_quotes(existing.lexically_normal().string())));
  }
  return std::uint64_t{about.f_bavail} * about.f_frsize;
}

}  // namespace mesh::tools
