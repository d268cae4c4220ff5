// The verbs that only look: mesh stat, hz, errors and kpi. They read the files of the mesh's
// directory.
#include <memory>
#include <ostream>
#include <string>

#include <poll.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "engine/reports/kpi.hpp"
#include "engine/reports/mesh_counters.hpp"
#include "engine/reports/mesh_errors.hpp"
#include "tools/console_request.hpp"
#include "tools/kpi_report.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/option_values.hpp"
#include "tools/stop_signals.hpp"
#include "tools/text.hpp"
#include "tools/text_table.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_live {
namespace {

namespace reports = engine::reports;
using reports::Json;
using reports::MeshCounters;

constexpr const char* kStatFooter = R"(
Every counter that the engine keeps, with its unit and what it says: those of PATTERN,
a part of a name or a shell pattern. A total grows over all engines of the mesh; what
is "now" is of this moment, or of the engine that runs. Reads the table in the mesh's
directory, which only its owner can, and asks no engine: it works beside one that
hangs and on what a dead one left. age_ms says how long ago the engine wrote it (it
does once a second), control_age_ms the same of its control thread, which writes when
something changes there.

Examples:
  mesh stat
  mesh stat breaker
  mesh stat 'time_*' --json
)";
constexpr const char* kHzFooter = R"(
How fast each total grew between two looks at the table, by the moments at which the
engine wrote it. What did not move is left out, unless --all. An engine that writes
nothing, or a new one that counts on between the looks, prints unknown. Asks no
engine.

Examples:
  mesh hz
  mesh hz deliveries --interval 5 --count 12
  mesh hz --count 0 --json          # a line of JSON each second, until Ctrl-C
)";
constexpr const char* kErrorsFooter = R"(
Distinct errors with how often, when first and when last (UTC), the latest first: whose
records were refused or make no sense, who was evicted or lost, what found no room,
what the control socket refused. They are kept over restarts of the engine, at most 511
of each of its two threads; what finds no row is counted together. Refusals of messages
are added up once a second. Asks no engine.

Exit code 0, whether there are errors or none.

Examples:
  mesh errors
  mesh errors --json
)";
constexpr const char* kKpiFooter = R"(
Each KPI with its target, pass or fail, over the last hour and over all time, from
counters in the table; "ours" is what this implementation aims at on one host. What was
not measured prints unknown. The last hour is kept by the minute, and begins with the
engine that runs. All time is over all engines of the mesh. Asks no engine.

Exit code 0: no target is missed in the last hour. 1: one is.

Examples:
  mesh kpi
  mesh kpi --markdown > kpis.md
  mesh kpi --json
)";

struct Options {
  WhichMesh which;
  std::string pattern;
  std::string interval = "1";
  std::string count = "1";
  bool all = false;
  bool markdown = false;
  bool json = false;
};

Result<std::string> directory_of(const WhichMesh& which) {
  return mesh_directory(which.directory, which.name);
}

// The scalars as lines, then the list as a table.
void write_text(Json report, const char* list, std::ostream& out) {
  const Json rows = report[list];
  report.erase(list);
  out << lines_of(report) << '\n';
  table_of(rows).write(out);
}

void print(const Options& options, Json report, const char* list, Console& console) {
  if (options.json) {
    console.out << reports::text_of(report, 2) << '\n';
  } else {
    write_text(std::move(report), list, console.out);
  }
}

Result<ExitCode> run_stat(const Options& options, Console& console) {
  MESH_TRY(const std::string directory, directory_of(options.which));
  MESH_TRY(const auto report, reports::report_counters(directory, options.pattern));
  print(options, reports::counters_json(report), "counters", console);
  return ExitCode::done;
}

Result<reports::LookPlan> plan_of(const Options& options) {
  const auto seconds = parse_number(options.interval);
  if (!seconds || !(*seconds >= 0.1) || *seconds > 3'600) {
    return fail(Errc::bad_input,
                fmt::format("--interval {}: is 0.1 to 3600 seconds", in_quotes(options.interval)));
  }
  MESH_TRY(const std::uint64_t count, whole_number({"--count", 0, 1'000'000'000}, options.count));
  return reports::LookPlan{Nanos{static_cast<std::int64_t>(*seconds * kNsPerSecond)}, count};
}

Result<ExitCode> run_hz(const Options& options, Console& console) {
  MESH_TRY(const reports::LookPlan plan, plan_of(options));
  MESH_TRY(const StopSignals stop, StopSignals::create());
  MESH_TRY(const std::string directory, directory_of(options.which));
  MESH_TRY(const reports::SeenMesh seen, reports::SeenMesh::open(directory));
  MESH_TRY(const MeshCounters counters, reports::read_counters(seen.table));
  MESH_CHECK_OK(reports::check_pattern(counters, options.pattern));
  const reports::Looks looks{[&seen] { return reports::read_counters(seen.table); },
                             [&stop](Nanos time) {
                               pollfd end{stop.fd(), POLLIN, 0};
                               ::poll(&end, 1, static_cast<int>(time.count() / kNsPerMs));
                               return !stop.requested();
                             }};
  bool is_known = true;
  const auto show = [&](const MeshCounters& before, const MeshCounters& after) {
    is_known = after.at != before.at;
    Json report = reports::rates_json(before, after, {options.pattern, options.all});
    if (options.json) {
      console.out << reports::text_of(report) << '\n';
    } else {
      write_text(std::move(report), "rates", console.out);
    }
    console.out.flush();
  };
  MESH_CHECK_OK(reports::follow(looks, plan, show));
  return is_known ? ExitCode::done : ExitCode::failed;
}

Result<ExitCode> run_errors(const Options& options, Console& console) {
  MESH_TRY(const std::string directory, directory_of(options.which));
  MESH_TRY(const auto report, reports::report_errors(directory));
  print(options, reports::errors_json(report), "errors", console);
  return ExitCode::done;
}

Result<ExitCode> run_kpi(const Options& options, Console& console) {
  if (options.json && options.markdown) {
    return fail(Errc::bad_input, "--json and --markdown: one of them");
  }
  MESH_TRY(const std::string directory, directory_of(options.which));
  MESH_TRY(const reports::KpiReport report, reports::report_kpis(directory));
  if (options.json) {
    console.out << reports::text_of(reports::kpi_json(report), 2) << '\n';
  } else {
    console.out << (options.markdown ? kpi_markdown(report) : kpi_text(report));
  }
  return reports::misses_a_target(report.rows) ? ExitCode::failed : ExitCode::done;
}

std::shared_ptr<Options> declare_common(CLI::App& command) {
  auto options = std::make_shared<Options>();
  declare_which_mesh(command, options->which);
  command.add_flag("--json", options->json, "JSON instead of text");
  return options;
}

RunVerb declare_stat(CLI::App& command) {
  const auto options = declare_common(command);
  command.add_option("pattern", options->pattern, "of names; default: all")->type_name("PATTERN");
  command.footer(kStatFooter);
  return [options](Console& console) { return run_stat(*options, console); };
}

RunVerb declare_hz(CLI::App& command) {
  const auto options = declare_common(command);
  command.add_option("pattern", options->pattern, "of names; default: all")->type_name("PATTERN");
  command.add_option("--interval", options->interval, "between two looks, in seconds")
      ->capture_default_str()
      ->type_name("SECONDS");
  command.add_option("--count", options->count, "rates to print; 0: until Ctrl-C")
      ->capture_default_str()
      ->type_name("N");
  command.add_flag("--all", options->all, "those that did not move, too");
  command.footer(kHzFooter);
  return [options](Console& console) { return run_hz(*options, console); };
}

RunVerb declare_errors(CLI::App& command) {
  const auto options = declare_common(command);
  command.footer(kErrorsFooter);
  return [options](Console& console) { return run_errors(*options, console); };
}

RunVerb declare_kpi(CLI::App& command) {
  const auto options = declare_common(command);
  command.add_flag("--markdown", options->markdown, "a report for a file");
  command.footer(kKpiFooter);
  return [options](Console& console) { return run_kpi(*options, console); };
}

}  // namespace
}  // namespace of_live

Verb stat_verb() {
  return {"stat", "every counter with its unit, from the table", &of_live::declare_stat};
}
Verb hz_verb() { return {"hz", "how fast counters grow", &of_live::declare_hz}; }
Verb errors_verb() {
  return {"errors", "distinct errors with count, first and last time", &of_live::declare_errors};
}
Verb kpi_verb() { return {"kpi", "each KPI with its target, pass or fail", &of_live::declare_kpi}; }

}  // namespace mesh::tools
