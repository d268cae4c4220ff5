// mesh top: the live screen of a mesh.
#include <cstdlib>
#include <memory>
#include <ostream>
#include <string>

#include <poll.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "engine/reports/top_snapshot.hpp"
#include "tools/console_request.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/option_values.hpp"
#include "tools/stop_signals.hpp"
#include "tools/terminal.hpp"
#include "tools/top_frame.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_top {
namespace {

using engine::reports::kTopLookAgain;
using engine::reports::kTopLooksMax;
using engine::reports::TopSight;

constexpr const char* kFooter = R"(
Mode, rates, operations, breakers, errors, and each sector as a cell of a heat map: a
digit for the mean impedance of its active agents, then . all active, + over 95 %, -
fewer, x nobody, ! its breaker is not closed. Reads the table in the mesh's directory,
which only its owner can, each second, and asks no engine: it goes on beside one that
hangs, and finds the next one. q or Ctrl-C ends it and leaves the terminal as it was.
Where standard output is no terminal, or with --once, one frame is printed as text.
NO_COLOR is respected.

Examples:
  mesh top
  mesh top --once --rows 40 --columns 200
  mesh top --json
)";

constexpr Nanos kEvery{kNsPerSecond};
constexpr Nanos kLook{200 * kNsPerMs};  // for a key, and whether the window has another size
constexpr char kCtrlC = 3;
constexpr char kCtrlD = 4;

struct Options {
  WhichMesh which;
  std::string rows = "24";
  std::string columns = "80";
  bool once = false;
  bool json = false;
};

// Two looks, so that there are rates; a dead engine has none.
Result<TopSnapshot> look_once(TopSight& sight, const StopSignals& stop) {
  MESH_TRY(TopSnapshot seen, sight.look());
  for (int i = 0; i < kTopLooksMax && !sight.has_rates() && seen.engine_running == true; ++i) {
    pollfd end{stop.fd(), POLLIN, 0};
    ::poll(&end, 1, static_cast<int>(kTopLookAgain.count() / kNsPerMs));
    if (stop.requested()) break;
    MESH_TRY(seen, sight.look());
  }
  return seen;
}

std::vector<std::string> trouble(const Error& error, const TopLook& look) {
  TopSnapshot nothing;
  nothing.directory = error.sentence;
  return top_lines(nothing, look);
}

Status run_live(TopSight& sight, Terminal& terminal, const StopSignals& stop) {
  const bool has_colour = std::getenv("NO_COLOR") == nullptr;
  Result<TopSnapshot> seen = sight.look();
  if (!seen) return tl::unexpected<Error>(seen.error());
  Terminal::Size size = terminal.size();
  Nanos waited{0};
  bool is_stale = true;
  while (!stop.requested()) {
    if (is_stale) {
      const TopLook look{size.columns, size.rows, has_colour, terminal.has_keys()};
      MESH_CHECK_OK(terminal.show(seen ? top_lines(*seen, look) : trouble(seen.error(), look)));
    }
    const auto key = terminal.wait_key(stop.fd(), kLook);
    if (key == 'q' || key == 'Q' || key == kCtrlC || key == kCtrlD) return {};
    waited += kLook;
    const Terminal::Size now = terminal.size();
    is_stale = now != size || waited >= kEvery;
    size = now;
    if (waited < kEvery) continue;
    waited = Nanos{0};
    seen = sight.look();
  }
  return {};
}

Result<ExitCode> run(const Options& options, Console& console) {
  MESH_TRY(const std::uint64_t rows, whole_number({"--rows", 1, 10'000}, options.rows));
  MESH_TRY(const std::uint64_t columns, whole_number({"--columns", 1, 10'000}, options.columns));
  MESH_TRY(std::string directory, mesh_directory(options.which.directory, options.which.name));
  MESH_TRY(const StopSignals stop, StopSignals::create());
  TopSight sight(std::move(directory));
  if (!options.once && !options.json) {
    if (Result<TopSnapshot> first = sight.look(); !first) {  // before the screen is taken
      return tl::unexpected<Error>(first.error());
    }
    auto terminal = Terminal::open();
    if (terminal) {
      MESH_CHECK_OK(run_live(sight, *terminal, stop));
      return ExitCode::done;
    }
    if (terminal.error().code != Errc::unsupported) {
      return tl::unexpected<Error>(terminal.error());
    }
  }
  MESH_TRY(const TopSnapshot seen, look_once(sight, stop));
  if (options.json) {
    console.out << engine::reports::text_of(top_json(seen), 2) << '\n';
    return ExitCode::done;
  }
  const TopLook look{static_cast<std::uint32_t>(columns), static_cast<std::uint32_t>(rows)};
  for (const std::string& line : top_lines(seen, look)) console.out << line << '\n';
  return ExitCode::done;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  declare_which_mesh(command, options->which);
  command.add_flag("--once", options->once, "one frame as text");
  command.add_option("--rows", options->rows, "of that frame, at most")
      ->capture_default_str()
      ->type_name("N");
  command.add_option("--columns", options->columns, "of that frame")
      ->capture_default_str()
      ->type_name("N");
  command.add_flag("--json", options->json, "one frame as a JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_top

Verb top_verb() { return {"top", "the live screen of a mesh", &of_top::declare}; }

}  // namespace mesh::tools
