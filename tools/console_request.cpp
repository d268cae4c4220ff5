#include "tools/console_request.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "engine/station/control_client.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/text.hpp"
#include "tools/text_table.hpp"

namespace mesh::tools {
namespace {

// Longer than any operation may take: who asked can press Ctrl-C.
constexpr Nanos kAnswerWithin{86'400 * kNsPerSecond};

using Line = std::pair<std::string, std::string>;

void collect(const nlohmann::ordered_json& value, const std::string& name,
             std::vector<Line>& lines) {
  const auto is_plain = [](const auto& inner) { return !inner.is_structured(); };
  if (!value.is_object() && std::all_of(value.begin(), value.end(), is_plain)) {
    lines.emplace_back(name, cell_of(value));
    return;
  }
  std::size_t number = 0;
  for (const auto& [key, inner] : value.items()) {
    const std::string last = value.is_array() ? fmt::format("{}", ++number) : key;
    collect(inner, name.empty() ? last : fmt::format("{}.{}", name, last), lines);
  }
}

}  // namespace

void declare_which_mesh(CLI::App& command, WhichMesh& which) {
  which.name = kDefaultMeshName;
  command.add_option("--dir", which.directory, "the mesh's directory; default: that of --name")
      ->type_name("DIR");
  command.add_option("--name", which.name, "the mesh's name, where --dir is not given")
      ->capture_default_str()
      ->type_name("NAME");
}

Result<nlohmann::ordered_json> ask_engine(const WhichMesh& which,
                                          const nlohmann::ordered_json& request) {
  MESH_TRY(const std::string directory, mesh_directory(which.directory, which.name));
  MESH_TRY(engine::ControlClient client,
           engine::ControlClient::connect(directory, {.timeout = kAnswerWithin}));
  MESH_TRY(const std::string text, client.request(request.dump()));
  auto answer = nlohmann::ordered_json::parse(text, nullptr, false);
  if (!answer.is_object()) {
    return fail(Errc::corrupt, fmt::format("the engine answered {}", in_quotes(text)));
  }
  answer.erase("ok");
  return answer;
}

std::string lines_of(const nlohmann::ordered_json& object) {
  std::vector<Line> lines;
  collect(object, "", lines);
  std::size_t width = 0;
  for (const Line& line : lines) width = std::max(width, line.first.size());
  std::string text;
  for (const auto& [name, value] : lines) {
    text += fmt::format("{:<{}}  {}\n", printable(name), width, value);
  }
  return text;
}

}  // namespace mesh::tools
