#include "engine/whole_file.hpp"

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/descriptor.hpp"
#include "shm/system_error.hpp"

namespace mesh::engine {

Status write_whole_file(const std::string& path, std::string_view text) {
  const std::string aside = path + ".new";
  const shm::Descriptor file(
      ::open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return shm::system_failure("create '" + aside + "'", errno);
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t wrote = ::write(file.get(), text.data() + done, text.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      const int why = errno;
      ::unlink(aside.c_str());
      return shm::system_failure("write '" + aside + "'", why);
    }
    done += static_cast<std::size_t>(wrote);
  }
  const bool is_down = ::fsync(file.get()) == 0 && ::rename(aside.c_str(), path.c_str()) == 0;
  return is_down ? Status() : shm::system_failure("keep '" + path + "'", errno);
}

Result<std::string> read_whole_file(const std::string& path, std::size_t bytes_max) {
  struct ::stat about {};
  if (::stat(path.c_str(), &about) != 0) return fail(Errc::not_found, "there is no '" + path + "'");
  if (static_cast<std::uint64_t>(about.st_size) > bytes_max)
    return fail(Errc::verification_failed, "'" + path + "': it is longer than any of ours");
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return fail(Errc::io_error, "'" + path + "' cannot be read");
  return std::move(text).str();
}

Status sync_directory(const std::string& path) {
  const shm::Descriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory && ::fsync(directory.get()) == 0) return {};
  return shm::system_failure("sync '" + path + "'", errno);
}

}  // namespace mesh::engine
