// mesh inspect: a mesh's memories, looked at from outside.
#include <algorithm>
#include <memory>
#include <ostream>
#include <string>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "tools/console_request.hpp"
#include "tools/inspect_report.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/option_values.hpp"
#include "tools/text.hpp"
#include "tools/text_table.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_inspect {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFooter = R"(
  WHAT  header   what each memory says it is: layout hash, mesh, boot, when it was made
        layout   what stands where in them, and who writes it
        clock    the host's one clock
        agents   a row for each agent: who it is, where, its impedance
        rings    each station's inbox, and how far the engine has read its outbox
        payload  the log of bodies for several stations

Reads the files of the mesh's directory, which only their owner can, and changes
nothing. It asks no engine: it works as well beside one that hangs or has died. What
stands in a station's own memory, its cursor for one, prints unknown: that memory has
no name. Exit code 3: there is no mesh, or this program has other layouts.

Examples:
  mesh inspect header
  mesh inspect agents --class D
  mesh inspect agents --agent printer --json
  mesh inspect rings --dir /dev/shm/mine
)";

struct Options {
  std::string what;
  WhichMesh which;
  std::string row;
  std::string agent;
  std::string agent_class;
  bool json = false;
};

Result<AgentFilter> filter_of(const Options& options) {
  AgentFilter filter;
  const bool is_given =
      !options.row.empty() || !options.agent.empty() || !options.agent_class.empty();
  if (is_given && options.what != "agents") {
    return fail(Errc::bad_input, "--row, --agent and --class are for mesh inspect agents");
  }
  if (!options.row.empty()) {
    MESH_TRY(filter.row, whole_number({"--row", 0, kMaxAgents - 1}, options.row));
  }
  if (!options.agent.empty()) filter.name = options.agent;
  if (!options.agent_class.empty()) {
    MESH_TRY(filter.agent_class, class_letter("--class", options.agent_class));
  }
  return filter;
}

Result<Json> look(const Options& options, const AgentFilter& filter) {
  MESH_TRY(const std::string directory,
           mesh_directory(options.which.directory, options.which.name));
  MESH_TRY(const ObservedMesh mesh, ObservedMesh::open(directory));
  if (options.what == "header") return inspect_header(mesh);
  if (options.what == "layout") return inspect_layout(mesh);
  if (options.what == "clock") return inspect_clock(mesh);
  if (options.what == "agents") return inspect_agents(mesh, filter);
  if (options.what == "rings") return inspect_rings(mesh);
  return inspect_payload(mesh);
}

// A list of objects becomes a table behind the lines; one object alone, lines of its own.
void write_text(const Json& report, std::ostream& out) {
  Json lines = Json::object();
  Json list = Json::array();
  for (const auto& [key, value] : report.items()) {
    if (value.is_array()) {
      list = value;
    } else {
      lines[key] = value;
    }
  }
  out << lines_of(lines);
  if (list.empty()) return;
  out << '\n';
  if (list.size() == 1) {
    out << lines_of(list.front());
    return;
  }
  // Whose memory it is stands above the table, and the time in words in it.
  for (Json& row : list) {
    for (const char* const key : {"mesh_uuid", "boot_id", "created_ns"}) row.erase(key);
  }
  table_of(list).write(out);
}

Result<ExitCode> run(const Options& options, Console& console) {
  constexpr std::string_view kWhat[] = {"header", "layout", "clock", "agents", "rings", "payload"};
  if (std::find(std::begin(kWhat), std::end(kWhat), options.what) == std::end(kWhat)) {
    return fail(Errc::bad_input,
                fmt::format("{}: is header, layout, clock, agents, rings or payload",
                            in_quotes(options.what)));
  }
  MESH_TRY(const AgentFilter filter, filter_of(options));
  MESH_TRY(const Json report, look(options, filter));
  if (options.json) {
    // A path or a name is bytes: what is not UTF-8 in it is replaced.
    console.out << report.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    write_text(report, console.out);
  }
  return ExitCode::done;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  command.add_option("what", options->what, "which part")->required()->type_name("WHAT");
  command.add_option("--row", options->row, "of the table, from 0; default: all")->type_name("N");
  command.add_option("--agent", options->agent, "an agent's name; default: all")->type_name("NAME");
  command.add_option("--class", options->agent_class, "A to F; default: all")->type_name("CLASS");
  declare_which_mesh(command, options->which);
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_inspect

Verb inspect_verb() {
  return {"inspect", "a mesh's memories, looked at from outside", &of_inspect::declare};
}

}  // namespace mesh::tools
