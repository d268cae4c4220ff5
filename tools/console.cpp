// mesh down, status, send, broadcast, scatter: what a console asks a running engine.
#include <algorithm>
#include <memory>
#include <ostream>
#include <sstream>
#include <string>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "tools/console_request.hpp"
#include "tools/gather_report.hpp"
#include "tools/option_values.hpp"
#include "tools/quorum_json.hpp"
#include "tools/status_report.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_console {
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
  std::string timeout_ms = "30000";
  std::string priority = "1";
  std::string ttl_ms = "0";
  std::vector<std::string> required;
  bool no_wait = false;
  bool comparable = false;
  bool acknowledge = false;
  bool all = false;
  bool json = false;
};

void write(const Options& options, const Json& answer, Console& console) {
  console.out << (options.json ? answer.dump(2) + '\n' : lines_of(answer));
}

Status check_text(const std::string& text) {
  if (is_utf8(text)) return {};
  return fail(Errc::bad_input, fmt::format("{}: the text is not UTF-8", in_quotes(text)));
}

Result<Json> operation_request(const Options& options, const char* op) {
  MESH_CHECK_OK(check_text(options.text));
  MESH_TRY(const std::uint64_t horizon_ms,
           whole_number({"--horizon-ms", 0, kMillisecondsMax}, options.horizon_ms));
  MESH_TRY(const std::uint64_t window_ms,
           whole_number({"--window-ms", 1, kMillisecondsMax}, options.window_ms));
  MESH_TRY(const double ready_min, number_from_0("--ready-min", options.ready_min, 1));
  MESH_TRY(const double weight, number_from_0("--weight", options.weight, 1e6));
  MESH_TRY(const std::uint64_t priority, whole_number({"--priority", 0, 3}, options.priority));
  MESH_TRY(const std::uint64_t ttl_ms,
           whole_number({"--ttl-ms", 0, kMillisecondsMax}, options.ttl_ms));
  // Long enough that the window ends first.
  return Json{{"op", op},
              {"text", options.text},
              {"horizon_ms", horizon_ms},
              {"window_ms", window_ms},
              {"timeout_ms", horizon_ms + window_ms},
              {"ready_min", ready_min},
              {"weight", weight},
              {"priority", priority},
              {"ttl_ms", ttl_ms},
              {"comparable", options.comparable},
              {"require", options.required}};
}

// What to do with what came back, by the defaults: of those sent to, a straggler is in transit.
Json quorum_of(const Json& answer) {
  const auto count = [&](const char* key) { return answer.value(key, std::uint32_t{0}); };
  const sched::QuorumCounts counts{count("ready"), count("conflict"), count("straggler")};
  const auto verdict = sched::trinary_quorum(counts);
  if (verdict) return quorum_json(*verdict);
  return {{"decision", nullptr}, {"confidence", nullptr}, {"sentence", verdict.error().sentence}};
}

Result<ExitCode> run_down(const Options& options, Console& console) {
  MESH_TRY(const Json answer, ask_engine(options.which, {{"op", "down"}}));
  if (options.json) write(options, answer, console);
  return ExitCode::done;
}

Result<ExitCode> run_reload(const Options& options, Console& console) {
  MESH_TRY(const Json answer, ask_engine(options.which, {{"op", "reload"}}));
  if (options.json) {
    write(options, answer, console);
    return ExitCode::done;
  }
  const Json none = Json::array();
  for (const Json& one : answer.value("applied", none)) {
    console.out << printable(one.get<std::string>()) << '\n';
  }
  for (const Json& one : answer.value("waiting", none)) {
    console.out << "needs a restart: " << printable(one.get<std::string>()) << '\n';
  }
  return ExitCode::done;
}

Result<ExitCode> run_status(const Options& options, Console& console) {
  MESH_TRY(const Json answer, ask_engine(options.which, {{"op", "status"}}));
  if (options.json || options.all)
    write(options, answer, console);
  else
    write_status(answer, console.out);
  return ExitCode::done;
}

// Of an answer that its agent's newest context had no part in.
std::string_view context_text(const Json& answer) {
  const std::string context = answer.value("context", "unknown");
  if (context == "other") return "; the agent says that it has another context than it is to have";
  if (context == "changed") return "; the agent's context has changed since it had the message";
  return {};
}

// "CONFLICT (other, expected 0, received 9), 0.412 ms", then the body, line by line.
void write_answer(const Json& answer, std::ostream& out) {
  std::string state = answer.value("state", "unknown");
  std::transform(state.begin(), state.end(), state.begin(), [](char letter) {
    return letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
  });
  out << printable(state);
  if (const auto conflict = answer.find("conflict"); conflict != answer.end()) {
    out << fmt::format(" ({}, expected {}, received {})",
                       printable(conflict->value("type", "unknown")),
                       conflict->value("expected", std::uint64_t{0}),
                       conflict->value("received", std::uint64_t{0}));
  }
  out << fmt::format(", {} ms", answer.value("processing_us", 0.0) / 1'000) << context_text(answer)
      << '\n';
  std::istringstream lines(answer.value("body", ""));
  for (std::string line; std::getline(lines, line);) out << printable(line) << '\n';
  if (answer.value("body_cut", false)) {
    out << fmt::format("... of {} bytes\n", answer.value("body_bytes", std::uint64_t{0}));
  }
}

Result<ExitCode> run_send(const Options& options, Console& console) {
  MESH_CHECK_OK(check_text(options.to));
  MESH_CHECK_OK(check_text(options.text));
  MESH_TRY(const std::uint64_t timeout_ms,
           whole_number({"--timeout", 1, kMillisecondsMax}, options.timeout_ms));
  MESH_TRY(const std::uint64_t priority, whole_number({"--priority", 0, 3}, options.priority));
  MESH_TRY(const std::uint64_t ttl_ms,
           whole_number({"--ttl-ms", 0, kMillisecondsMax}, options.ttl_ms));
  const bool waits = !options.no_wait;
  MESH_TRY(const Json answer, ask_engine(options.which, {{"op", "send"},
                                                         {"to", options.to},
                                                         {"text", options.text},
                                                         {"require", options.required},
                                                         {"wait", waits},
                                                         {"priority", priority},
                                                         {"ttl_ms", ttl_ms},
                                                         {"timeout_ms", timeout_ms}}));
  if (options.json) write(options, answer, console);
  if (!waits) return ExitCode::done;
  if (!answer.value("answered", false)) {
    return fail(Errc::timed_out,
                fmt::format("no answer within {} ms; {} has the message, or will have it",
                            timeout_ms, in_quotes(options.to)));
  }
  if (answer.value("expired", false)) {
    return fail(Errc::expired, fmt::format("the message to {} expired", in_quotes(options.to)));
  }
  if (!options.json) write_answer(answer, console.out);
  return answer.value("state", "") == "ready" ? ExitCode::done : ExitCode::failed;
}

Result<ExitCode> run_scatter(const Options& options, Console& console) {
  MESH_TRY(const Json request, operation_request(options, "scatter"));
  MESH_TRY(Json answer, ask_engine(options.which, request));
  answer["quorum"] = quorum_of(answer);
  if (options.json)
    write(options, answer, console);
  else
    write_gather(answer, console.out);
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

void declare_required(CLI::App& command, Options& options) {
  command
      .add_option("--require", options.required,
                  "a capability that a target must have; may be given again; default: none")
      ->type_name("CAPABILITY");
}

void declare_priority(CLI::App& command, Options& options) {
  command.add_option("--priority", options.priority, "0 background to 3 critical")
      ->capture_default_str()
      ->type_name("N");
  command
      .add_option("--ttl-ms", options.ttl_ms, "nobody gets it later than this, in ms; 0: no limit")
      ->capture_default_str()
      ->type_name("MS");
}

void declare_operation(CLI::App& command, Options& options) {
  declare_required(command, options);
  declare_priority(command, options);
  command.add_option("text", options.text, "what every agent is sent")
      ->required()
      ->type_name("TEXT");
  command.add_option("--horizon-ms", options.horizon_ms, "how far away T is, in ms")
      ->capture_default_str()
      ->type_name("MS");
  command
      .add_option("--window-ms", options.window_ms, "how long after T answers still count, in ms")
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

RunVerb declare_reload(CLI::App& command) {
  const auto options = declare_common(command);
  command.footer(
      "\nThe engine reads its configuration file again (mesh up --config) and says what is\n"
      "changed and what waits for a restart. A file with a mistake changes nothing.\n"
      "SIGHUP to the engine does the same.\n\nExamples:\n  mesh reload\n");
  return [options](Console& console) { return run_reload(*options, console); };
}

RunVerb declare_status(CLI::App& command) {
  const auto options = declare_common(command);
  command.add_flag("--all", options->all, "every value, also what is 0 or empty");
  command.footer("\nExamples:\n  mesh status\n  mesh status --all\n  mesh status --json\n");
  return [options](Console& console) { return run_status(*options, console); };
}

RunVerb declare_send(CLI::App& command) {
  const auto options = declare_common(command);
  command.add_option("to", options->to, "an agent's name")->required()->type_name("AGENT");
  command.add_option("text", options->text, "what it is sent")->required()->type_name("TEXT");
  declare_required(command, *options);
  declare_priority(command, *options);
  command.add_option("--timeout,--timeout-ms", options->timeout_ms, "how long to wait, in ms")
      ->capture_default_str()
      ->type_name("MS");
  command.add_flag("--no-wait", options->no_wait, "do not wait for the answer");
  command.footer(
      "\nPrints the answer: its state, what the agent's work took, and its body. Exit code 0:\n"
      "READY, or with --no-wait, the engine took it; 1: CONFLICT, declined, or no answer.\n\n"
      "Examples:\n"
      "  mesh send printer 'hello'\n"
      "  mesh send counter 'how long is this?' --timeout 500 --json\n");
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
  command.add_flag("--comparable", options->comparable,
                   "it asks all the same: answers are compared");
  command.footer(
      "\nSends to every agent early by its own lead time, so that all are READY at T,\n"
      "and says how many were. Exit code 0: success; 1: too few.\n\n"
      "--comparable says that every agent should answer the same. Who differs from a majority\n"
      "of more than 2/3 of at least 7 answers is BYZANTINE: with a store it is quarantined,\n"
      "until mesh resolve. No such majority is a conflict, DATA_CONTRADICTION.\n\nExamples:\n"
      "  mesh scatter 'step 7' --horizon-ms 2000\n"
      "  mesh scatter 'sum of block 7?' --comparable\n");
  return [options](Console& console) { return run_scatter(*options, console); };
}

}  // namespace
}  // namespace of_console

Verb down_verb() { return {"down", "stops a running engine", &of_console::declare_down}; }
Verb reload_verb() {
  return {"reload", "a running engine reads its configuration file again",
          &of_console::declare_reload};
}
Verb status_verb() {
  return {"status", "agents, stations and counters of a mesh", &of_console::declare_status};
}
Verb send_verb() { return {"send", "one message to one agent", &of_console::declare_send}; }
Verb broadcast_verb() {
  return {"broadcast", "one message to every agent", &of_console::declare_broadcast};
}
Verb scatter_verb() {
  return {"scatter", "every agent READY at one moment, and how many were",
          &of_console::declare_scatter};
}

}  // namespace mesh::tools
