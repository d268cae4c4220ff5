#include "tools/generated_part.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "tools/text.hpp"

namespace mesh::tools {

Result<std::string> replace_generated(std::string_view document, const GeneratedPart& part) {
  const std::size_t begin = document.find(part.begin);
  const std::size_t end = document.find(kGeneratedEnd);
  const bool once = begin != document.npos && end != document.npos && begin < end &&
                    document.find(part.begin, begin + 1) == document.npos &&
                    document.find(kGeneratedEnd, end + 1) == document.npos;
  if (!once) {
    return fail(Errc::bad_input,
                fmt::format("the document must have these two lines once, in this order:\n{}{}",
                            part.begin, kGeneratedEnd));
  }
  const std::size_t kept = begin + part.begin.size();
  return std::string(document.substr(0, kept)) + part.text + std::string(document.substr(end));
}

Status update_document(const std::string& path, const GeneratedPart& part) {
  std::ifstream input(path, std::ios::binary);
  std::stringstream document;
  document << input.rdbuf();
  if (!input || !document) {
    return fail(Errc::bad_input, fmt::format("{}: cannot be read", printable(path)));
  }
  MESH_TRY(const std::string updated, replace_generated(document.str(), part));
  std::ofstream output(path, std::ios::binary | std::ios::trunc);
  output << updated;
  output.close();
  if (output) return {};
  return fail(Errc::io_error,
              fmt::format("{}: cannot be written: {}", printable(path), std::strerror(errno)));
}

}  // namespace mesh::tools
