#include "tools/configuration_file.hpp"

#include <fmt/format.h>

#include "tools/read_file.hpp"
#include "tools/text.hpp"

namespace mesh::tools {

Result<engine::Configuration> configuration_of(const std::string& path) {
  MESH_TRY(const std::string text, read_file(path));
  engine::ReadConfiguration read = engine::read_configuration(text);
  if (read.complaints.empty()) return std::move(read.configuration);
  std::string sentence;
  for (const engine::Complaint& complaint : read.complaints) {
    const std::string line = complaint.line == 0 ? "" : fmt::format(":{}", complaint.line);
    sentence += fmt::format("{}{}{}: {}", sentence.empty() ? "" : "\n", printable(path), line,
                            printable(complaint.sentence));
  }
  return fail(Errc::bad_input, std::move(sentence),
              static_cast<std::int64_t>(read.complaints.size()));
}

}  // namespace mesh::tools
