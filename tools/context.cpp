// mesh context: what a running mesh keeps of an agent's context.
#include <cerrno>
#include <fstream>
#include <memory>
#include <ostream>
#include <string>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "engine/station/control_client.hpp"
#include "engine/station/control_protocol.hpp"
#include "shm/sealed_bytes.hpp"
#include "tools/acting.hpp"
#include "tools/console_request.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/option_values.hpp"
#include "tools/text.hpp"
#include "tools/text_table.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_context {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFooter = R"(
Agents may hand the engine their context, at most 1 MiB; the last 3 versions are kept, in
the store, or in memory where the engine has none. This lists them, the newest first; a
context that is found to be another than expected_hash says is loaded again from the
newest. --output writes one of them to a file, - is the standard output.

Exit code 0: done, 1: no such agent, or no such version.

Examples:
  mesh context planner
  mesh context planner --json
  mesh context planner --version 2 --output planner.json
)";

struct Options {
  WhichMesh which;
  std::string agent;
  std::string version;
  std::string output;
  bool json = false;
};

Result<engine::ControlAnswer> ask(const Options& options, const Json& request) {
  MESH_TRY(const std::string directory,
           mesh_directory(options.which.directory, options.which.name));
  MESH_TRY(engine::ControlClient client, engine::ControlClient::connect(directory, {}));
  return client.request_descriptors(request.dump());
}

Status write_to(const std::string& path, const std::string& bytes, Console& console) {
  if (path == "-") {
    console.out << bytes;
    return {};
  }
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << bytes;
  out.close();
  if (out) return {};
  return fail(Errc::bad_input, fmt::format("--output {}: it cannot be written", in_quotes(path)));
}

Result<ExitCode> run_output(const Options& options, Console& console) {
  Json request = {{"op", "contexts"}, {"agent", options.agent}, {"with_bytes", true}};
  if (!options.version.empty()) {
    MESH_TRY(const std::uint64_t version,
             whole_number({"--version", 1, UINT64_MAX}, options.version));
    request["version"] = version;
  }
  MESH_TRY(const engine::ControlAnswer answer, ask(options, request));
  if (answer.descriptors.size() != 1)
    return fail(Errc::wrong_descriptor_count, "context: the engine's answer carries no context");
  MESH_TRY(const std::string bytes,
           shm::read_sealed(answer.descriptors.front().get(), engine::kContextBytesMost));
  MESH_CHECK_OK(write_to(options.output, bytes, console));
  if (options.output == "-") return ExitCode::done;
  Json said = Json::parse(answer.json, nullptr, false);
  said.erase("ok");
  said["output"] = options.output;
  console.out << (options.json ? said.dump(2) + '\n' : lines_of(said));
  return ExitCode::done;
}

Result<ExitCode> run(const Options& options, Console& console) {
  if (!is_utf8(options.agent))
    return fail(Errc::bad_input,
                fmt::format("{}: the name is not UTF-8", in_quotes(options.agent)));
  if (!options.output.empty()) return run_output(options, console);
  if (!options.version.empty())
    return fail(Errc::bad_input, "--version: is for --output, which is not given");
  MESH_TRY(const Json answer, ask_contexts(options.which, options.agent));
  if (options.json)
    console.out << answer.dump(2) << '\n';
  else
    write_contexts(answer, console.out);
  return ExitCode::done;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  command.add_option("agent", options->agent, "an agent's name")->required()->type_name("AGENT");
  command.add_option("--output", options->output, "writes one version there; default: lists them")
      ->type_name("FILE");
  command.add_option("--version", options->version, "which one; default: the newest")
      ->type_name("N");
  declare_which_mesh(command, options->which);
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_context

Answered ask_contexts(const WhichMesh& which, const std::string& agent) {
  MESH_CHECK_OK(check_utf8("the name", agent));
  MESH_TRY(nlohmann::ordered_json answer,
           ask_engine(which, {{"op", "contexts"}, {"agent", agent}}));
  answer.erase("ok");
  return answer;
}

void write_contexts(const nlohmann::ordered_json& answer, std::ostream& out) {
  nlohmann::ordered_json about = answer;
  const auto versions = about.value("versions", nlohmann::ordered_json::array());
  about.erase("versions");
  out << lines_of(about);
  if (versions.empty())
    out << "it has handed none over\n";
  else
    table_of(versions).write(out);
}

Verb context_verb() {
  return {"context", "what is kept of an agent's context", &of_context::declare};
}

}  // namespace mesh::tools
