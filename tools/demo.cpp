// mesh demo: an engine, a swarm, and scatter-gathers that make them all READY together.
#include <fstream>
#include <memory>
#include <ostream>
#include <string>

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "tools/demo_run.hpp"
#include "tools/option_values.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_demo {
namespace {

constexpr const char* kFooter = R"(
Starts a mesh of its own in a fresh directory under /dev/shm and P real processes that
hold N agents (see mesh swarm --help for how they behave), then sends to all of them,
each early by its own lead time, so that all are READY at one moment T. After the last
operation everything it started is stopped and removed, also after Ctrl-C.
T is 1500 ms after each operation's start, and answers are gathered for 500 ms more.
Exit code 0: the last operation was a SUCCESS; 1: it was not.

--trace writes a line for each target of each operation: operation, agent, class,
rtt_mean_ms, cv, bias, send_lead_us, sent_ns, finished_ns, target_ns, state (1
READY, 0 no answer, -1 CONFLICT), nominal_lead_us (what the nominal model would have
sent by), confidence, and drawn_us (what the delivery was to take, had no process ever
waited for a processor). From it every figure can be worked out again.

Examples:
  mesh demo
  mesh demo --agents 3000 --processes 2 --operations 5 --json
  mesh demo --profile local --trace trace.csv
)";

constexpr std::uint64_t kOperationsMax = 10'000;

struct Options {
  SwarmCommandText swarm{.agents = "30000", .processes = "8"};
  std::string operations = "20";
  std::string trace;
  bool json = false;
};

Result<ExitCode> run(const Options& options, Console& console) {
  DemoOptions demo;
  MESH_TRY(demo.swarm, read_swarm_command(options.swarm));
  MESH_TRY(const std::uint64_t operations,
           whole_number({"--operations", 1, kOperationsMax}, options.operations));
  demo.operations = static_cast<std::uint32_t>(operations);
  std::ofstream trace;
  if (!options.trace.empty()) {
    trace.open(options.trace, std::ios::trunc);
    if (!trace) {
      return fail(Errc::bad_input,
                  fmt::format("--trace {}: cannot be written", in_quotes(options.trace)));
    }
    demo.trace = &trace;
  }
  if (isatty(STDERR_FILENO) != 0) demo.progress = &console.err;
  MESH_TRY(const DemoOutcome outcome, run_demo(demo));
  if (options.json) {
    outcome.report.write_json(outcome.run, console.out);
  } else {
    outcome.report.write_table(outcome.run, console.out);
  }
  trace.flush();
  if (demo.trace != nullptr && !trace) {
    return fail(Errc::io_error,
                fmt::format("--trace {}: writing failed", in_quotes(options.trace)));
  }
  return outcome.report.succeeded() ? ExitCode::done : ExitCode::failed;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  declare_swarm_options(command, options->swarm);
  command.add_option("--operations", options->operations, "scatter-gathers, one after another")
      ->capture_default_str()
      ->type_name("K");
  command
      .add_option("--trace", options->trace,
                  "a line for each target of each operation, CSV; default: none")
      ->type_name("FILE");
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_demo

Verb demo_verb() {
  return {"demo", "a mesh, its agents, and all of them READY together; starts and stops it all",
          &of_demo::declare};
}

}  // namespace mesh::tools
