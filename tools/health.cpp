// mesh health: the mode of the mesh and the summaries of what is in it, from its table.
#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <utility>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "engine/reports/health_report.hpp"
#include "tools/console_request.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/option_values.hpp"
#include "tools/text_table.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_health {
namespace {

namespace reports = engine::reports;
using reports::Json;

constexpr const char* kFooter = R"(
Mode, active agents, impedance and each sector that has agents, as the engine
summarized them last: age_ms says how long ago. A number that nobody has measured
prints unknown. A sector is healthy when more than 95 % of its agents are active. With
--sector its clusters are listed. A breaker is closed, open (nothing is routed there)
or half_open (one message in ten passes); breakers_open counts those that are not
closed, of all levels. backup is the last one that was tried and the last good one,
as the engine wrote it down; overdue: the last good one is two periods old. Without
--sector, night is what happened in the last --hours: breakers that opened and changes
of mode, as far back as the table's events reach (events_for_ms), whether conflicts
rise, who came and went in the last hour, clusters whose agents drift high, and agents
with a score above 800. Reads the mesh's directory, which only its owner can, and asks
no engine.

Exit code 0: mode FULL. 1: a degraded mode, or not known yet.

Examples:
  mesh health
  mesh health --sector 7
  mesh health --hours 24 --json --dir /dev/shm/mine
)";

struct Options {
  WhichMesh which;
  std::string sector;
  std::string hours = "12";
  bool json = false;
};

Result<ExitCode> run(const Options& options, Console& console) {
  MESH_TRY(const std::string directory,
           mesh_directory(options.which.directory, options.which.name));
  reports::HealthWanted wanted;
  MESH_TRY(const std::uint64_t hours,
           whole_number({"--hours", 1, reports::kNightHoursMax}, options.hours));
  wanted.hours = static_cast<std::uint32_t>(hours);
  if (!options.sector.empty()) {
    const std::uint32_t sectors = reports::sectors_in(directory).value_or(UINT32_MAX);
    MESH_TRY(const std::uint64_t sector,
             whole_number({"--sector", 0, sectors - 1}, options.sector));
    wanted.sector = static_cast<std::uint32_t>(sector);
  }
  MESH_TRY(const reports::HealthReport report, reports::report_health(directory, wanted));
  Json object = reports::health_json(report);
  if (options.json) {
    console.out << reports::text_of(object, 2) << '\n';
    return report.is_full() ? ExitCode::done : ExitCode::failed;
  }
  const char* const what = wanted.sector ? "clusters" : "sectors";
  const Json list = object[what];
  object.erase(what);
  console.out << lines_of(object);
  if (!list.empty()) {
    console.out << '\n';
    table_of(list).write(console.out);
  }
  return report.is_full() ? ExitCode::done : ExitCode::failed;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  command.add_option("--sector", options->sector, "its clusters, from 0; default: all sectors")
      ->type_name("N");
  command.add_option("--hours", options->hours, "so many hours are the night")
      ->capture_default_str()
      ->type_name("N");
  declare_which_mesh(command, options->which);
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_health

Verb health_verb() {
  return {"health", "mode, sectors and clusters as they stand", &of_health::declare};
}

}  // namespace mesh::tools
