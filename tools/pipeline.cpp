// mesh pipeline: agents in order, each given the answer of the one before it.
#include "engine/pipeline.hpp"

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
#include "tools/console_request.hpp"
#include "tools/option_values.hpp"
#include "tools/text.hpp"
#include "tools/text_table.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_pipeline {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kPipelineMsMax = 3'600'000;
constexpr const char* kFooter = R"(
The first agent is sent --body, each further one the answer of the agent before it; the
last one's answer is the result. T is when the last is to be READY: now and --horizon-ms,
or, without it, as soon as the agents' leads allow. The steps before it are planned back
from T; each leaves so early that the next can still be in time.

Each step has its own target and --window-ms beyond it. A CONFLICT, a refusal, or no answer
until then ends the pipeline: FAILED_AT_STEP. An agent that dies meanwhile gets its message
again, if it or a replacement attaches in time. An agent may be named more than once.

Exit code 0: SUCCESS; 1: FAILED_AT_STEP, or T is nearer than the leads allow.

Examples:
  mesh pipeline parse translate print --body 'der Igel'
  mesh pipeline resize store --body "$URL" --horizon-ms 5000 --json
)";

struct Options {
  WhichMesh which;
  std::vector<std::string> agents;
  std::string body;
  std::string horizon_ms = "0";
  std::string window_ms = "500";
  std::string weight = "1";
  std::string priority = "1";
  bool json = false;
};

Result<PipelineWanted> wanted_of(const Options& options) {
  PipelineWanted wanted{.agents = options.agents, .body = options.body};
  MESH_TRY(wanted.horizon_ms,
           whole_number({"--horizon-ms", 0, kPipelineMsMax}, options.horizon_ms));
  MESH_TRY(wanted.window_ms, whole_number({"--window-ms", 1, kPipelineMsMax}, options.window_ms));
  MESH_TRY(wanted.priority, whole_number({"--priority", 0, 3}, options.priority));
  MESH_TRY(wanted.weight, number_from_0("--weight", options.weight, 1e6));
  return wanted;
}

Result<ExitCode> run(const Options& options, Console& console) {
  MESH_TRY(const PipelineWanted wanted, wanted_of(options));
  MESH_TRY(const Json answer, ask_pipeline(options.which, wanted));
  if (options.json)
    console.out << answer.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  else
    write_pipeline(answer, console.out);
  return answer.value("status", "") == "SUCCESS" ? ExitCode::done : ExitCode::failed;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  declare_which_mesh(command, options->which);
  command.add_option("agents", options->agents, "who, in order")->required()->type_name("AGENT");
  command.add_option("--body", options->body, "what the first is sent; default: nothing")
      ->type_name("TEXT");
  const struct {
    const char* option;
    std::string& value;
    const char* what;
    const char* unit;
  } numbers[] = {
      {"--horizon-ms", options->horizon_ms, "how far away T is, in ms; 0: as near as it can be",
       "MS"},
      {"--window-ms", options->window_ms, "beyond its target that each step has, in ms", "MS"},
      {"--weight", options->weight, "payload weight", "W"},
      {"--priority", options->priority, "0 background to 3 critical", "N"}};
  for (const auto& one : numbers)
    command.add_option(one.option, one.value, one.what)->capture_default_str()->type_name(one.unit);
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_pipeline

Answered ask_pipeline(const WhichMesh& which, const PipelineWanted& wanted) {
  if (wanted.agents.size() > engine::kPipelineStepsMax)
    return fail(Errc::bad_input, fmt::format("{} agents: a pipeline has at most {} steps",
                                             wanted.agents.size(), engine::kPipelineStepsMax));
  for (const std::string& agent : wanted.agents) MESH_CHECK_OK(check_utf8("the agent", agent));
  MESH_CHECK_OK(check_utf8("the body", wanted.body));
  return ask_engine(which, {{"op", "pipeline"},
                            {"agents", wanted.agents},
                            {"text", wanted.body},
                            {"horizon_ms", wanted.horizon_ms},
                            {"window_ms", wanted.window_ms},
                            {"priority", wanted.priority},
                            {"weight", wanted.weight}});
}

void write_pipeline(const nlohmann::ordered_json& answer, std::ostream& out) {
  out << fmt::format("{}: {} of {} steps READY after {:.1f} ms\n",
                     printable(answer.value("status", "")), answer.value("done", 0U),
                     answer.value("of", 0U), answer.value("total_ms", 0.0));
  table_of(answer.value("steps", nlohmann::ordered_json::array())).write(out);
  const std::string body = answer.value("body", "");
  if (body.empty()) return;
  out << '\n' << printable(body) << (answer.value("body_cut", false) ? "..." : "") << '\n';
}

Verb pipeline_verb() {
  return {"pipeline", "agents in order, each given the answer of the one before",
          &of_pipeline::declare};
}

}  // namespace mesh::tools
