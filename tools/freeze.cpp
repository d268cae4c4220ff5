// mesh freeze, thaw: delivery to a part of the mesh paused, and gone on with.
#include <memory>
#include <ostream>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "tools/acting.hpp"
#include "tools/option_values.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_freeze {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFreezeFooter = R"(
  SCOPE  mesh, sector N or cluster N; mesh where none is given

Pauses delivery to all agents that are there now. What is sent to them waits, in order,
as for an agent that is away (at most 1024 messages each, then the sender is refused);
operations skip them. What was handed to their inboxes before is theirs, and their
answers are taken. It stands until mesh thaw, whatever becomes of the engine meanwhile.
What the agents are is written to a file with a checksum in the mesh's directory.

Exit code 0: it is frozen and the file is written, 1: nobody is there, or the file could
not be written (delivery is paused all the same).

Examples:
  mesh freeze
  mesh freeze sector 7 --json
)";

constexpr const char* kThawFooter = R"(
  SCOPE  mesh, sector N or cluster N; mesh where none is given

Delivery goes on: what has waited leaves in its order. The file that mesh freeze wrote
for the same scope is checked first, and taken away after: where it is damaged nothing
is thawed, unless --force is given. Agents of it that are there no longer are counted.

Exit code 0: it has gone on, 1: nobody is there, or the file is damaged.

Examples:
  mesh thaw
  mesh thaw sector 7
)";

struct Options {
  WhichMesh which;
  std::vector<std::string> scope;
  bool force = false;
  bool json = false;
};

Result<ExitCode> run(const Options& options, FreezeWanted wanted, Console& console) {
  MESH_TRY(wanted.scope, scope_of(options.scope));
  wanted.force = options.force;
  MESH_TRY(const Json answer, ask_freeze(options.which, wanted));
  if (options.json) {
    console.out << answer.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    write_freeze(answer, console.out);
  }
  const bool is_kept = !wanted.frozen || answer["snapshot"].is_object();
  return is_kept ? ExitCode::done : ExitCode::failed;
}

std::shared_ptr<Options> declare_common(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command.add_option("scope", options->scope, "mesh, sector N or cluster N; default: mesh")
      ->expected(0, 2)
      ->type_name("SCOPE");
  declare_which_mesh(command, options->which);
  command.add_flag("--json", options->json, "one JSON object");
  return options;
}

RunVerb declare_freeze(CLI::App& command) {
  const auto options = declare_common(command);
  command.footer(kFreezeFooter);
  return [options](Console& console) { return run(*options, {.frozen = true}, console); };
}

RunVerb declare_thaw(CLI::App& command) {
  const auto options = declare_common(command);
  command.add_flag("--force", options->force, "also where the file is damaged");
  command.footer(kThawFooter);
  return [options](Console& console) { return run(*options, {.frozen = false}, console); };
}

}  // namespace
}  // namespace of_freeze

Result<console::Scope> scope_of(const std::vector<std::string>& arguments) {
  std::vector<std::string> words;
  for (const std::string& argument : arguments) {
    std::istringstream parts(argument);
    for (std::string word; parts >> word;) words.push_back(word);
  }
  if (words.empty() || (words.size() == 1 && words[0] == "mesh")) return console::Scope{};
  if (words.size() == 2 && (words[0] == "sector" || words[0] == "cluster")) {
    const std::string option = "SCOPE " + words[0];
    MESH_TRY(const std::uint64_t number,
             whole_number({option.c_str(), 0, UINT32_MAX - 1}, words[1]));
    return console::Scope{
        words[0] == "sector" ? console::ScopeKind::sector : console::ScopeKind::cluster,
        static_cast<std::uint32_t>(number)};
  }
  std::string typed;
  for (const std::string& word : words) typed += (typed.empty() ? "" : " ") + word;
  return fail(Errc::bad_input,
              fmt::format("SCOPE {}: is mesh, sector N or cluster N", in_quotes(typed)));
}

void put_scope(nlohmann::ordered_json& request, const console::Scope& scope) {
  request["scope"] = "mesh";
  if (scope.kind == console::ScopeKind::mesh) return;
  request["scope"] = scope.kind == console::ScopeKind::sector ? "sector" : "cluster";
  request["number"] = scope.number;
}

Answered ask_freeze(const WhichMesh& which, const FreezeWanted& wanted) {
  nlohmann::ordered_json request = {{"op", wanted.frozen ? "freeze" : "thaw"}};
  put_scope(request, wanted.scope);
  if (wanted.force) request["force"] = true;
  return ask_engine(which, request);
}

void write_freeze(const nlohmann::ordered_json& answer, std::ostream& out) {
  const bool frozen = answer.value("frozen", true);
  out << fmt::format("{} agents {}, {} of them before; {} messages {}\n",
                     answer.value("agents", 0U), frozen ? "are frozen" : "are sent to again",
                     answer.value("agents", 0U) - answer.value("changed", 0U),
                     answer.value("messages_waiting", 0U), frozen ? "wait" : "had waited");
  const auto snapshot = answer.find("snapshot");
  if (snapshot != answer.end() && snapshot->is_object()) {
    out << fmt::format("{} {}: {} agents, XXH3 {}\n", frozen ? "kept in" : "as kept in",
                       printable(snapshot->value("path", "")), snapshot->value("agents", 0U),
                       printable(snapshot->value("xxh3", "")));
  } else {
    out << fmt::format("no snapshot: {}\n", printable(answer.value("no_snapshot", "")));
  }
  if (answer.value("gone", 0U) != 0)
    out << fmt::format("{} agents of it are there no longer\n", answer.value("gone", 0U));
}

Verb freeze_verb() {
  return {"freeze", "pauses delivery to a part of the mesh", &of_freeze::declare_freeze};
}
Verb thaw_verb() { return {"thaw", "goes on with delivery", &of_freeze::declare_thaw}; }

}  // namespace mesh::tools
