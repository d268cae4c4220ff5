// The `mesh` program: finds the verb, runs it, turns what it returns into an exit code.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <map>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "tools/exit_code.hpp"
#include "tools/suggest.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"
#include "tools/version.hpp"

namespace mesh::tools {
namespace {

constexpr const char* kFooter = R"(
Exit codes: 0 done, 1 the operation did not succeed, 2 bad input, 3 no mesh or
cannot attach, 4 refused, 70 a defect of mesh itself.

Examples:
  mesh demo
  mesh plan --input agents.csv --window-ms 500 --weight 1
  mesh size --agents 30000 --stations 128
  mesh layout --markdown
  mesh help plan
)";

std::vector<Verb> verbs() {
  return {demo_verb(),         up_verb(),        down_verb(),     status_verb(),    send_verb(),
          broadcast_verb(),    scatter_verb(),   cascade_verb(),  pipeline_verb(),  ask_verb(),
          delegate_verb(),     find_best_verb(), who_verb(),      say_verb(),       chat_verb(),
          route_around_verb(), heal_verb(),      incident_verb(), scale_verb(),     freeze_verb(),
          thaw_verb(),         rules_verb(),     context_verb(),  conflicts_verb(), resolve_verb(),
          backup_verb(),       restore_verb(),   health_verb(),   top_verb(),       stat_verb(),
          hz_verb(),           errors_verb(),    kpi_verb(),      history_verb(),   tail_verb(),
          record_verb(),       replay_verb(),    doctor_verb(),   inspect_verb(),   swarm_verb(),
          agent_verb(),        sim_verb(),       chaos_verb(),    plan_verb(),      quorum_verb(),
          audit_verb(),        size_verb(),      layout_verb(),   config_verb(),    reload_verb(),
          help_verb()};
}

// The terminal says what it takes in the first of these that is set, as setlocale() would look.
bool terminal_takes_utf8() {
  if (isatty(STDOUT_FILENO) == 0) return false;
  for (const char* const variable : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* const value = std::getenv(variable);
    if (value == nullptr || *value == '\0') continue;
    const std::string_view locale = value;
    return locale.find("UTF-8") != locale.npos || locale.find("utf8") != locale.npos;
  }
  return false;
}

ExitCode complain(Console& console, std::string_view who, std::string_view what, ExitCode code) {
  console.err << who << ": " << what << '\n';
  return code;
}

// The first argument that is not an option is the verb; CLI11 alone would call an unknown one "not
// expected".
ExitCode unknown_verb(Console& console, std::string_view typed, const std::vector<Verb>& known) {
  std::vector<std::string_view> names;
  std::string list;
  for (const Verb& verb : known) {
    names.push_back(verb.name);
    list += fmt::format("{}{}", list.empty() ? "" : ", ", verb.name);
  }
  const std::string_view meant = nearest(typed, names);
  return complain(console, "mesh",
                  fmt::format("there is no verb {}{}; the verbs are: {}", in_quotes(typed),
                              meant.empty() ? "" : fmt::format(", did you mean {}?", meant), list),
                  ExitCode::bad_input);
}

// `mesh help VERB` is `mesh VERB --help`.
std::vector<const char*> words_of(int argc, const char* const* argv) {
  std::vector<const char*> words(argv, argv + argc);
  if (words.size() != 3 || words[1] != std::string_view("help") || words[2][0] == '-') return words;
  return {words[0], words[2], "--help"};
}

ExitCode parse_and_run(const std::vector<const char*>& words, Console& console) {
  CLI::App app("MESH-30K: coordinates tens of thousands of agents over shared memory.", "mesh");
  app.footer(kFooter);
  bool show_version = false;
  app.add_flag("--version", show_version, "version, layout, vector target and compiler");
  const std::vector<Verb> known = verbs();
  std::map<const CLI::App*, RunVerb> runs;
  for (const Verb& verb : known) {
    CLI::App* const command = app.add_subcommand(std::string(verb.name), std::string(verb.summary));
    runs.emplace(command, verb.declare(*command));
  }
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::string_view argument = words[i];
    if (argument.starts_with('-')) continue;
    const bool is_known = std::any_of(known.begin(), known.end(),
                                      [&](const Verb& verb) { return verb.name == argument; });
    if (!is_known) return unknown_verb(console, argument, known);
    break;
  }
  const auto program_and_verb = [&] {
    const std::vector<CLI::App*> chosen = app.get_subcommands();
    return chosen.empty() ? std::string("mesh") : "mesh " + chosen.front()->get_name();
  };
  try {
    app.parse(static_cast<int>(words.size()), words.data());
  } catch (const CLI::CallForHelp& call) {
    app.exit(call, console.out, console.err);
    return ExitCode::done;
  } catch (const CLI::ParseError& error) {
    return complain(console, program_and_verb(),
                    fmt::format("{} (see {} --help)", error.what(), program_and_verb()),
                    ExitCode::bad_input);
  }
  if (show_version) {
    write_version(console.out);
    return ExitCode::done;
  }
  if (app.get_subcommands().empty()) {
    console.err << app.help();
    return ExitCode::bad_input;
  }
  const Result<ExitCode> result = runs.at(app.get_subcommands().front())(console);
  if (result) return *result;
  return complain(console, program_and_verb(), result.error().sentence,
                  exit_code_of(result.error().code));
}

ExitCode run(int argc, const char* const* argv) {
  Console console{std::cin, std::cout, std::cerr, terminal_takes_utf8()};
  ExitCode code = ExitCode::defect;
  try {
    code = parse_and_run(words_of(argc, argv), console);
  } catch (const std::bad_alloc&) {
    return complain(console, "mesh", "the system has not enough memory for this", ExitCode::failed);
  } catch (const std::exception& error) {
    return complain(console, "mesh",
                    fmt::format("a defect of mesh itself, please report it: {}", error.what()),
                    ExitCode::defect);
  } catch (...) {
    return complain(console, "mesh", "a defect of mesh itself, please report it", ExitCode::defect);
  }
  // A full disk must not look like success.
  console.out.flush();
  if (!console.out)
    return complain(console, "mesh", "standard output cannot be written", ExitCode::failed);
  return code;
}

}  // namespace
}  // namespace mesh::tools

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  return static_cast<int>(mesh::tools::run(argc, argv));
}
