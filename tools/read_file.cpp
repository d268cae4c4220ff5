#include "tools/read_file.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "tools/text.hpp"

namespace mesh::tools {

Result<std::string> read_file(const std::string& path) {
  std::error_code unknown;
  const bool is_folder = std::filesystem::is_directory(path, unknown);
  std::ifstream file(path, std::ios::binary);
  if (is_folder || !file) {
    return fail(Errc::bad_input, fmt::format("{}: cannot be read: {}", printable(path),
                                             is_folder ? "it is a folder" : std::strerror(errno)));
  }
  std::string text(kFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kFileBytesMax) {
    return fail(Errc::bad_input,
                fmt::format("{}: is longer than {} bytes", printable(path), kFileBytesMax),
                static_cast<std::int64_t>(kFileBytesMax));
  }
  return text;
}

}  // namespace mesh::tools
