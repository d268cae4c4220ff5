// mesh route-around: the operator takes an agent out of the traffic, and back in.
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "tools/acting.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_route_around {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFooter = R"(
From now on nothing new is sent to these agents: messages to them are refused
(not_routable), and operations skip them and say so. What was accepted before still
reaches them. It outlasts their attachments and the engine, until --undo; `mesh inspect
agents` shows it. All of them, or, if a name is nobody's, none.

Exit code 0: it is so now, 1: no agent has such a name.

Examples:
  mesh route-around printer
  mesh route-around db-1 db-2
  mesh route-around printer --undo
)";

struct Options {
  WhichMesh which;
  std::vector<std::string> agents;
  bool undo = false;
  bool json = false;
};

Result<ExitCode> run(const Options& options, Console& console) {
  MESH_TRY(const Json answer, ask_route_around(options.which, options.agents, options.undo));
  if (options.json) {
    console.out << answer.dump(2) << '\n';
  } else {
    write_route_around(answer, console.out);
  }
  return ExitCode::done;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  command.add_option("agent", options->agents, "an agent's name; may be given again")
      ->required()
      ->type_name("AGENT");
  command.add_flag("--undo", options->undo, "they are sent to again");
  declare_which_mesh(command, options->which);
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_route_around

Answered ask_route_around(const WhichMesh& which, const std::vector<std::string>& agents,
                          bool undo) {
  for (const std::string& agent : agents) MESH_CHECK_OK(check_utf8("the name", agent));
  return ask_engine(which, {{"op", "route-around"}, {"agents", agents}, {"undo", undo}});
}

Status check_utf8(const char* what, const std::string& text) {
  if (is_utf8(text)) return {};
  return fail(Errc::bad_input, fmt::format("{}: {} is not UTF-8", in_quotes(text), what));
}

void write_route_around(const nlohmann::ordered_json& answer, std::ostream& out) {
  const bool around = answer.value("routed_around", true);
  for (const nlohmann::ordered_json& agent :
       answer.value("agents", nlohmann::ordered_json::array())) {
    out << fmt::format("{}: {}{}\n", printable(agent.value("agent", "")),
                       around ? "routed around" : "sent to as everybody",
                       agent.value("changed", true) ? "" : ", as before");
  }
}

Verb route_around_verb() {
  return {"route-around", "takes an agent out of the traffic, and back in",
          &of_route_around::declare};
}

}  // namespace mesh::tools
