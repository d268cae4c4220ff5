// mesh down, status, send, broadcast, scatter: what a console asks a running engine.
#include <memory>
#include <ostream>
#include <string>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "tools/console_request.hpp"
#include "tools/option_values.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kMillisecondsMax = 86'400'000;

struct Options {
  WhichMesh which;
  std::string to;
  std::string text;
  std::string horizon_ms = "1500";
  std::string window_ms = "500";
  std::string ready_min = "0.95";
  std::string weight = "1";
  bool acknowledge = false;
  bool json = false;
};

void write(const Options& options, const Json& answer, Console& console) {
  console.out << (options.json ? answer.dump(2) + '\n' : lines_of(answer));
}

Status check_text(const std::string& text) {
  if (is_utf8(text)) return {};
  return fail(Errc::bad_input, fmt::format("{}: the text is not UTF-8", in_quotes(text)));
}

Result<double> number_from_0(const char* option, const std::string& text, double most) {
  const auto value = parse_number(text);
  if (value && *value >= 0 && *value <= most) return *value;
  return fail(Errc::bad_input,
              fmt::format("{} {}: must be a number from 0 to {}", option, in_quotes(text), most));
}

Result<Json> operation_request(const Options& options, const char* op) {
  MESH_CHECK_OK(check_text(options.text));
  MESH_TRY(const std::uint64_t horizon_ms,
           whole_number({"--horizon-ms", 0, kMillisecondsMax}, options.horizon_ms));
  MESH_TRY(const std::uint64_t window_ms,
           whole_number({"--window-ms", 1, kMillisecondsMax}, options.window_ms));
  MESH_TRY(const double ready_min, number_from_0("--ready-min", options.ready_min, 1));
  MESH_TRY(const double weight, number_from_0("--weight", options.weight, 1e6));
  // Long enough that the window ends first.
  return Json{{"op", op},
              {"text", options.text},
              {"horizon_ms", horizon_ms},
              {"window_ms", window_ms},
              {"timeout_ms", horizon_ms + window_ms},
              {"ready_min", ready_min},
              {"weight", weight}};
}

Result<ExitCode> run_down(const Options& options, Console& console) {
  MESH_TRY(const Json answer, ask_engine(options.which, {{"op", "down"}}));
  if (options.json) write(options, answer, console);
  return ExitCode::done;
}

Result<ExitCode> run_status(const Options& options, Console& console) {
  MESH_TRY(const Json answer, ask_engine(options.which, {{"op", "status"}}));
  write(options, answer, console);
  return ExitCode::done;
}

Result<ExitCode> run_send(const Options& options, Console& console) {
  MESH_CHECK_OK(check_text(options.to));
  MESH_CHECK_OK(check_text(options.text));
  MESH_TRY(const Json answer,
           ask_engine(options.which, {{"op", "send"}, {"to", options.to}, {"text", options.text}}));
  if (options.json) write(options, answer, console);
  return ExitCode::done;
}

Result<ExitCode> run_scatter(const Options& options, Console& console) {
  MESH_TRY(const Json request, operation_request(options, "scatter"));
  MESH_TRY(const Json answer, ask_engine(options.which, request));
  write(options, answer, console);
  return answer.value("verdict", "") == "success" ? ExitCode::done : ExitCode::failed;
}

Result<ExitCode> run_broadcast(const Options& options, Console& console) {
  if (options.acknowledge) return run_scatter(options, console);
  MESH_TRY(const Json request, operation_request(options, "broadcast"));
  MESH_TRY(const Json answer, ask_engine(options.which, request));
  write(options, answer, console);
  return ExitCode::done;
}

std::shared_ptr<Options> declare_common(CLI::App& command) {
  auto options = std::make_shared<Options>();
  declare_which_mesh(command, options->which);
  command.add_flag("--json", options->json, "one JSON object");
  return options;
}

void declare_operation(CLI::App& command, Options& options) {
  command.add_option("text", options.text, "what every agent is sent")
      ->required()
      ->type_name("TEXT");
  command.add_option("--horizon-ms", options.horizon_ms, "how far away T is")
      ->capture_default_str()
      ->type_name("MS");
  command.add_option("--window-ms", options.window_ms, "how long after T answers still count")
      ->capture_default_str()
      ->type_name("MS");
  command.add_option("--ready-min", options.ready_min, "share of those sent to that is success")
      ->capture_default_str()
      ->type_name("SHARE");
  command.add_option("--weight", options.weight, "payload weight")
      ->capture_default_str()
      ->type_name("W");
}

RunVerb declare_down(CLI::App& command) {
  const auto options = declare_common(command);
  command.footer("\nStops the engine; it takes the mesh's files away.\n\nExamples:\n  mesh down\n");
  return [options](Console& console) { return run_down(*options, console); };
}

RunVerb declare_status(CLI::App& command) {
  const auto options = declare_common(command);
  command.footer("\nExamples:\n  mesh status\n  mesh status --json\n");
  return [options](Console& console) { return run_status(*options, console); };
}

RunVerb declare_send(CLI::App& command) {
  const auto options = declare_common(command);
  command.add_option("to", options->to, "an agent's name")->required()->type_name("AGENT");
  command.add_option("text", options->text, "what it is sent")->required()->type_name("TEXT");
  command.footer(
      "\nExit code 0: the engine took it for delivery.\n\nExamples:\n"
      "  mesh send printer 'hello'\n");
  return [options](Console& console) { return run_send(*options, console); };
}

RunVerb declare_broadcast(CLI::App& command) {
  const auto options = declare_common(command);
  declare_operation(command, *options);
  command.add_flag("--ack", options->acknowledge, "wait, and say how many acknowledged");
  command.footer(
      "\nSends to every agent so that all have it at T, and does not wait for it.\n\n"
      "Examples:\n  mesh broadcast 'freeze at noon'\n"
      "  mesh broadcast 'freeze at noon' --ack\n");
  return [options](Console& console) { return run_broadcast(*options, console); };
}

RunVerb declare_scatter(CLI::App& command) {
  const auto options = declare_common(command);
  declare_operation(command, *options);
  command.footer(
      "\nSends to every agent early by its own lead time, so that all are READY at T,\n"
      "and says how many were. Exit code 0: success; 1: too few.\n\nExamples:\n"
      "  mesh scatter 'step 7' --horizon-ms 2000\n");
  return [options](Console& console) { return run_scatter(*options, console); };
}

}  // namespace

Verb down_verb() { return {"down", "stops a running engine", &declare_down}; }
Verb status_verb() {
  return {"status", "agents, stations and counters of a mesh", &declare_status};
}
Verb send_verb() { return {"send", "one message to one agent", &declare_send}; }
Verb broadcast_verb() { return {"broadcast", "one message to every agent", &declare_broadcast}; }
Verb scatter_verb() {
  return {"scatter", "every agent READY at one moment, and how many were", &declare_scatter};
}

}  // namespace mesh::tools
