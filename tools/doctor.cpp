// mesh doctor: every feature proved in a mesh of its own, or one that is there looked at.
#include <memory>
#include <ostream>
#include <string>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "tools/console_request.hpp"
#include "tools/doctor_parts.hpp"
#include "tools/doctor_run.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/option_values.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_doctor {
namespace {

using engine::reports::doctor_json;
using engine::reports::look_at_mesh;
using engine::reports::text_of;

constexpr const char* kFooter = R"(
Without --dir and --name: starts an engine and two stations of its own in a fresh
directory under /dev/shm, sends, scatters, broadcasts, runs agents in order, has a lead
ask its cluster and a context kept, kills a station and then the engine with SIGKILL, has
the next one make newcomers, and says of each check whether it passed, how long it took
and what came of it. Everything that it started is stopped and removed at the end, also
after Ctrl-C.

With --dir or --name: only looks at the mesh that is there, and changes nothing: who
runs, whether it answers, rights, clock, room, stuck and lost stations, breakers, mode,
agents that wait for their contexts.

Exit code 0: every check passed, perhaps with a warning. 1: one did not.

Examples:
  mesh doctor
  mesh doctor --json
  mesh doctor --name default
)";

struct Options {
  std::string directory;
  std::string name;
  std::string part;
  std::string parent;
  bool json = false;
};

Result<ExitCode> run_part(const Options& options) {
  MESH_TRY(const std::uint64_t parent, whole_number({"--parent", 1, 1U << 30}, options.parent));
  MESH_CHECK_OK(
      run_doctor_part({options.part, options.directory, static_cast<std::int64_t>(parent)}));
  return ExitCode::done;
}

Result<ExitCode> run(const Options& options, Console& console) {
  if (!options.part.empty()) return run_part(options);
  MESH_TRY(const StopSignals stop, StopSignals::create());
  const ShowRow show = [&](const DoctorRow& row) {
    if (options.json) return;
    console.out << fmt::format("{:<8} {:<36} {:>9.1f} ms  {}\n", name_of(row.finding), row.check,
                               row.ms, printable(row.says));
    console.out.flush();
  };
  Result<DoctorReport> report = fail(Errc::closed, "");
  if (options.directory.empty() && options.name.empty()) {
    report = prove_everything(stop, show);
  } else {
    MESH_TRY(const std::string directory, mesh_directory(options.directory, options.name));
    report = look_at_mesh(directory, show);
  }
  if (!report) return tl::unexpected<Error>(report.error());
  if (options.json) {
    console.out << text_of(doctor_json(*report), 2) << '\n';
  }
  return report->is_well() ? ExitCode::done : ExitCode::failed;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  command
      .add_option("--dir", options->directory,
                  "a mesh's directory: only look; default: a mesh of its own")
      ->type_name("DIR");
  command
      .add_option("--name", options->name, "a mesh's name: only look; default: a mesh of its own")
      ->type_name("NAME");
  command.add_flag("--json", options->json, "one JSON object");
  // Of the processes that it starts itself.
  command.add_option("--part", options->part)->group("");
  command.add_option("--parent", options->parent)->group("");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_doctor

Verb doctor_verb() { return {"doctor", "every feature proved end to end", &of_doctor::declare}; }

}  // namespace mesh::tools
