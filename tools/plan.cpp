// mesh plan: when each agent of a table would be sent its message. Needs no mesh.
#include <cmath>
#include <memory>
#include <ostream>
#include <string>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "tools/agents_csv.hpp"
#include "tools/plan_report.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_plan {
namespace {

constexpr const char* kFooter = R"(
The file's first line is exactly
  agent,class,latency_ms,queue_depth,drift,reliability,heartbeat_age_s
and each further line one agent: a unique name (UTF-8, 1 to 63 bytes), a class A-F,
five numbers. A negative, infinite or nan value, a queue that is no whole number and
a reliability above 1 are SKIP with reason invalid_impedance; an agent whose lead is
longer than the window is SKIP with reason insufficient_lead_time.
Anything else that cannot be read is named by line and column, with exit code 2 and
nothing on standard output. Quoted fields (RFC 4180), CRLF line ends, a byte order
mark, blanks around numbers and blank last lines are accepted.

Both models give the same result here: a file has no history to calibrate from, and
without history the calibrated model equals the nominal one.

Examples:
  mesh plan --input agents.csv --window-ms 500 --weight 1
  mesh plan --input agents.csv --window-ms 1000 --weight 0.5 --z 2.326 --json
  generate | mesh plan --input - --window-ms 500 --weight 1 --json
)";

struct Options {
  std::string input;
  std::string window_ms;
  std::string weight;
  std::string model = "nominal";
  std::string z = "1.645";
  bool json = false;
};

// Options are read as the file's numbers are, in every locale the same.
Result<double> non_negative(std::string_view option, std::string_view text) {
  const std::optional<double> value = parse_number(text);
  if (value && std::isfinite(*value) && *value >= 0) return *value;
  return fail(Errc::bad_input,
              fmt::format("{} {}: must be a finite number of at least 0", option, in_quotes(text)));
}

Result<ExitCode> run(const Options& options, Console& console) {
  PlanOptions plan;
  MESH_TRY(plan.window_ms, non_negative("--window-ms", options.window_ms));
  MESH_TRY(plan.weight, non_negative("--weight", options.weight));
  MESH_TRY(plan.z, non_negative("--z", options.z));
  if (options.model != "nominal" && options.model != "calibrated") {
    return fail(Errc::bad_input,
                fmt::format("--model {}: is nominal or calibrated", in_quotes(options.model)));
  }
  MESH_TRY(std::string text, read_input(options.input, console.in));
  MESH_TRY(
      const AgentTable table,
      AgentTable::parse(std::move(text), options.input == "-" ? "standard input" : options.input));
  const PlanReport report = plan_agents(table.agents(), plan);
  if (options.json) {
    write_plan_json(report, console.out);
  } else {
    write_plan_text(report, console.unicode, console.out);
  }
  return ExitCode::done;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  command.add_option("--input", options->input, "table of agents, CSV; - is standard input")
      ->required()
      ->type_name("FILE");
  command.add_option("--window-ms", options->window_ms, "how far away T is, in ms")
      ->required()
      ->type_name("MS");
  command.add_option("--weight", options->weight, "payload weight, 0 or more")
      ->required()
      ->type_name("W");
  command.add_option("--model", options->model, "nominal or calibrated")
      ->capture_default_str()
      ->type_name("MODEL");
  command.add_option("--z", options->z, "buffer in standard deviations")
      ->capture_default_str()
      ->type_name("Z");
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_plan

Verb plan_verb() {
  return {"plan", "send times for a table of agents; needs no mesh", &of_plan::declare};
}

}  // namespace mesh::tools
