// mesh rules: who gets which work.
#include <memory>
#include <ostream>
#include <string>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "tools/acting.hpp"
#include "tools/option_values.hpp"
#include "tools/text.hpp"
#include "tools/text_table.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_rules {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFooter = R"(
Without arguments the rules that stand. A rule says whether agents of a class, or one
agent, get work that asks for a capability:

  mesh rules deny CAPABILITY --class E    nobody of class E
  mesh rules allow CAPABILITY --agent pi  but this one, whatever its class's rule says
  mesh rules drop CAPABILITY --class E    that rule stands no longer

A rule gives nobody a capability that it has not declared. Messages and operations that
ask for the capability pass over who is denied it (capability_mismatch), and so do
find-best, delegate and ask. Each change is journaled in the mesh's directory before it
is in force, and stands after a restart of the engine.

Exit code 0: it is so now.

Examples:
  mesh rules
  mesh rules deny inference --class E
  mesh rules allow inference --agent pi-7 --json
)";

struct Options {
  WhichMesh which;
  RuleWanted rule;
  bool json = false;
};

Result<Json> request_of(const RuleWanted& options) {
  Json request = {{"op", "rules"}};
  if (options.change.empty()) return request;
  if (options.change != "allow" && options.change != "deny" && options.change != "drop")
    return fail(Errc::bad_input,
                fmt::format("{}: is allow, deny or drop", in_quotes(options.change)));
  if (options.capability.empty()) return fail(Errc::bad_input, "CAPABILITY: which one?");
  if (options.agent.empty() == options.agent_class.empty())
    return fail(Errc::bad_input, "--class or --agent: one of them");
  MESH_CHECK_OK(check_utf8("the capability", options.capability));
  MESH_CHECK_OK(check_utf8("the name", options.agent));
  request["change"] = options.change;
  request["capability"] = options.capability;
  if (options.agent.empty()) {
    MESH_TRY(const sched::AgentClass checked, class_letter("--class", options.agent_class));
    static_cast<void>(checked);
    request["class"] = options.agent_class;
  } else {
    request["agent"] = options.agent;
  }
  return request;
}

Result<ExitCode> run(const Options& options, Console& console) {
  MESH_TRY(const Json answer, ask_rules(options.which, options.rule));
  if (options.json) {
    console.out << answer.dump(2) << '\n';
  } else {
    write_rules(answer, console.out);
  }
  return ExitCode::done;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  command
      .add_option("change", options->rule.change, "allow, deny or drop; default: lists the rules")
      ->type_name("CHANGE");
  command
      .add_option("capability", options->rule.capability,
                  "what work asks for; default: lists the rules")
      ->type_name("CAPABILITY");
  command
      .add_option("--class", options->rule.agent_class,
                  "of this class, A to F; default: of --agent")
      ->type_name("CLASS");
  command
      .add_option("--agent", options->rule.agent, "of this agent, by its name; default: of --class")
      ->type_name("NAME");
  declare_which_mesh(command, options->which);
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_rules

Answered ask_rules(const WhichMesh& which, const RuleWanted& wanted) {
  MESH_TRY(const nlohmann::ordered_json request, of_rules::request_of(wanted));
  return ask_engine(which, request);
}

void write_rules(const nlohmann::ordered_json& answer, std::ostream& out) {
  const nlohmann::ordered_json rules = answer.value("rules", nlohmann::ordered_json::array());
  if (rules.empty()) {
    out << "no rule stands: whoever can may\n";
    return;
  }
  for (const nlohmann::ordered_json& rule : rules) {
    out << fmt::format("{}  {}  {} {}\n", printable(rule.value("effect", "")),
                       printable(rule.value("capability", "")),
                       rule.contains("agent") ? "agent" : "class",
                       printable(rule.value(rule.contains("agent") ? "agent" : "class", "")));
  }
  const auto left_out = answer.value("rules_left_out", std::size_t{0});
  if (left_out != 0) out << fmt::format("... and {} more\n", left_out);
}

Verb rules_verb() { return {"rules", "who gets which work", &of_rules::declare}; }

}  // namespace mesh::tools
