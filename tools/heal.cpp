// mesh heal: what the mesh mends of a place when the operator says so.
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
#include "tools/option_values.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_heal {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFooter = R"(
  SCOPE  mesh, sector N or cluster N; mesh where none is given

Breakers there that are open or half open are reset, the mesh's own only with SCOPE mesh.
For agents whose process crashed and is not back the command that the configuration names
under [recovery] starts another one, at once, whatever was tried before; --wait says how
long their return is waited for. Each agent and breaker is named with what was done.

Each agent that is back is given the last context that it had handed over, before anything
that waited for it; which version was loaded, or why none was, is said of it. One that
handed over none has none to be given (mesh context AGENT shows what is kept).

What the operator holds stays held: see mesh route-around --undo and mesh thaw. A
quarantined agent stays so: what loads its context is the quarantine itself (mesh context).

Exit code 0: nobody there is away or quarantined now, 1: somebody is, or there is no such
place.

Examples:
  mesh heal
  mesh heal sector 7 --wait 60000
)";

struct Options {
  WhichMesh which;
  std::vector<std::string> scope;
  std::string wait = "10000";
  bool json = false;
};

Result<ExitCode> run(const Options& options, Console& console) {
  HealWanted wanted;
  MESH_TRY(wanted.scope, scope_of(options.scope));
  MESH_TRY(wanted.wait_ms, whole_number({"--wait", 0, 600'000}, options.wait));
  MESH_TRY(const Json answer, ask_heal(options.which, wanted));
  if (options.json) {
    console.out << answer.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    write_heal(answer, console.out);
  }
  return answer.value("agents_well", 0U) == answer.value("agents_ailing", 0U) ? ExitCode::done
                                                                              : ExitCode::failed;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  command.add_option("scope", options->scope, "mesh, sector N or cluster N; default: mesh")
      ->expected(0, 2)
      ->type_name("SCOPE");
  command.add_option("--wait", options->wait, "for replacements to attach, in ms")
      ->capture_default_str()
      ->type_name("MS");
  declare_which_mesh(command, options->which);
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_heal

Answered ask_heal(const WhichMesh& which, const HealWanted& wanted) {
  nlohmann::ordered_json request = {{"op", "heal"}, {"wait_ms", wanted.wait_ms}};
  put_scope(request, wanted.scope);
  return ask_engine(which, request);
}

void write_heal(const nlohmann::ordered_json& answer, std::ostream& out) {
  const auto list = [&](const char* key) {
    return answer.value(key, nlohmann::ordered_json::array());
  };
  for (const nlohmann::ordered_json& breaker : list("breakers"))
    out << fmt::format("breaker of {}: was {}, is {}\n", printable(breaker.value("breaker", "")),
                       printable(breaker.value("was", "")), printable(breaker.value("now", "")));
  for (const nlohmann::ordered_json& agent : list("agents"))
    out << fmt::format("{}: {}\n", printable(agent.value("agent", "")),
                       printable(agent.value("did", "")));
  const unsigned listed = static_cast<unsigned>(list("agents").size());
  const unsigned ailing = answer.value("agents_ailing", 0U);
  if (ailing > listed) out << fmt::format("and {} more agents\n", ailing - listed);
  out << fmt::format(
      "{}: {} breakers reset, {} of {} agents that were away or quarantined are well\n",
      printable(answer.value("scope", "")), answer.value("breakers_reset", 0U),
      answer.value("agents_well", 0U), ailing);
}

Verb heal_verb() {
  return {"heal", "mends a part of the mesh, and says what it did", &of_heal::declare};
}

}  // namespace mesh::tools
