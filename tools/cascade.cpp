// mesh cascade: one act for the whole mesh, from leader to leader.
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>
#include <nlohmann/json.hpp>

#include "tools/console_request.hpp"
#include "tools/option_values.hpp"
#include "tools/text.hpp"
#include "tools/text_table.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_cascade {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kWindowMsMax = 3'600'000;
constexpr const char* kFooter = R"(
wave            coordinators, then each one's leads, then each lead's agents; each
                leader that is READY sends on at once, and waits for no other. Below
                --sector-ready-min of the coordinators no lead is asked:
                FAILED_AT_SECTOR. A leader that dies meanwhile is replaced.
parallel        everybody at once.
priority_first  classes D, C, B, A, E, each with its own threshold, and F if --horizon-ms
                leaves it the time. A class below its threshold is a degradation, and
                the next one goes on.

Who cannot be READY within a window is not sent to. Exit code 0: SUCCESS; 1: PARTIAL or
FAILED_AT_SECTOR.

Examples:
  mesh cascade 'new plan: route B'
  mesh cascade 'stop' --strategy parallel --json
)";

struct Options {
  WhichMesh which;
  std::string text;
  std::string strategy = "wave";
  std::string sector_window_ms = "200";
  std::string cluster_window_ms = "1000";
  std::string agent_window_ms = "2000";
  std::string window_ms = "1000";
  std::string horizon_ms = "0";
  std::string sector_ready_min = "0.98";
  std::string ready_min = "0.90";
  std::string weight = "1";
  std::string priority = "1";
  bool confirm = false;
  bool json = false;
};

Result<Json> request_of(const Options& options) {
  if (!is_utf8(options.text))
    return fail(Errc::bad_input, fmt::format("{}: the text is not UTF-8", in_quotes(options.text)));
  Json request = {{"op", "cascade"}, {"text", options.text}, {"strategy", options.strategy}};
  const struct {
    const char* option;
    const char* key;
    const std::string& value;
    std::uint64_t least;
  } numbers[] = {{"--sector-window-ms", "sector_window_ms", options.sector_window_ms, 1},
                 {"--cluster-window-ms", "cluster_window_ms", options.cluster_window_ms, 1},
                 {"--agent-window-ms", "agent_window_ms", options.agent_window_ms, 1},
                 {"--window-ms", "window_ms", options.window_ms, 1},
                 {"--horizon-ms", "horizon_ms", options.horizon_ms, 0}};
  for (const auto& one : numbers) {
    MESH_TRY(request[one.key], whole_number({one.option, one.least, kWindowMsMax}, one.value));
  }
  MESH_TRY(request["priority"], whole_number({"--priority", 0, 3}, options.priority));
  MESH_TRY(request["sector_ready_min"],
           number_from_0("--sector-ready-min", options.sector_ready_min, 1));
  MESH_TRY(request["ready_min"], number_from_0("--ready-min", options.ready_min, 1));
  MESH_TRY(request["weight"], number_from_0("--weight", options.weight, 1e6));
  request["confirmed"] = options.confirm;
  return request;
}

void write_text(Json answer, std::ostream& out) {
  const Json phases = answer.value("phases", Json::array());
  Json missed = answer.value("missed", Json::array());
  for (Json& unit : missed) {  // who led is told to people by name
    const Json name = unit["leader_name"];
    unit.erase("leader_name");
    unit["leader"] = name.is_null() ? Json("nobody") : name;
  }
  answer.erase("phases");
  answer.erase("missed");
  answer.erase("ok");
  out << lines_of(answer);
  const Json* const lists[] = {&phases, &missed};
  for (const Json* const list : lists) {
    if (list->empty()) continue;
    out << '\n';
    table_of(*list).write(out);
  }
}

Result<ExitCode> run(const Options& options, Console& console) {
  MESH_TRY(const Json request, request_of(options));
  MESH_TRY(const Json answer, ask_engine(options.which, request));
  if (options.json)
    console.out << answer.dump(2) << '\n';
  else
    write_text(answer, console.out);
  return answer.value("status", "") == "SUCCESS" ? ExitCode::done : ExitCode::failed;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  declare_which_mesh(command, options->which);
  command.add_option("text", options->text, "what every agent is sent")
      ->required()
      ->type_name("TEXT");
  command.add_option("--strategy", options->strategy, "how it goes through the mesh")
      ->check(CLI::IsMember({"wave", "parallel", "priority_first"}))
      ->capture_default_str()
      ->type_name("NAME");
  const struct {
    const char* option;
    std::string& value;
    const char* what;
    const char* unit;
  } numbers[] = {
      {"--sector-window-ms", options->sector_window_ms, "wave: time of coordinators, in ms", "MS"},
      {"--cluster-window-ms", options->cluster_window_ms, "wave: time of leads, in ms", "MS"},
      {"--agent-window-ms", options->agent_window_ms, "wave: time of agents, in ms", "MS"},
      {"--window-ms", options->window_ms, "parallel: time of all, in ms; or of each class", "MS"},
      {"--horizon-ms", options->horizon_ms,
       "priority_first: how far away T is, in ms; 0: F has none", "MS"},
      {"--sector-ready-min", options->sector_ready_min, "wave: share of coordinators needed",
       "SHARE"},
      {"--ready-min", options->ready_min, "parallel: share of agents needed", "SHARE"},
      {"--weight", options->weight, "payload weight", "W"},
      {"--priority", options->priority, "0 background to 3 critical", "N"}};
  for (const auto& one : numbers)
    command.add_option(one.option, one.value, one.what)->capture_default_str()->type_name(one.unit);
  command.add_flag("--confirm", options->confirm,
                   "in a mesh that is DEGRADED_SEVERE: yes, to everybody");
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_cascade

Verb cascade_verb() {
  return {"cascade", "one act for the whole mesh, from leader to leader", &of_cascade::declare};
}

}  // namespace mesh::tools
