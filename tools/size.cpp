// mesh size: what a mesh would need, before it is created. Needs no mesh.
#include <memory>
#include <ostream>
#include <string>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "engine/memory_map.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/option_values.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_size {
namespace {

constexpr const char* kFooter = R"(
The mesh's directory holds table, payload, engine and each station-N.in; station-N.out
is a sealed memfd. All are allocated in full when they are created, so a directory that
is too small is found here. Without --dir it is $XDG_RUNTIME_DIR/mesh30k/NAME, else
/dev/shm/mesh30k-UID/NAME. Exit code 0: it fits; 1: it does not, and how to fix it.

Examples:
  mesh size --agents 30000 --stations 128
  mesh size --agents 1000 --stations 4 --agents-per-station 700 --json
  mesh size --agents 30000 --stations 128 --dir /mnt/mesh
)";

struct Options {
  std::string agents;
  std::string stations;
  std::string agents_per_station;
  std::string directory;
  std::string name = kDefaultMeshName;
  bool json = false;
};

struct Report {
  engine::MemoryMap map;
  std::string directory;
  std::uint64_t directory_bytes = 0;
  std::uint64_t free = 0;

  [[nodiscard]] bool fits() const noexcept { return directory_bytes <= free; }
};

Result<Report> measure(const Options& options) {
  engine::MeshSize size;
  MESH_TRY(size.agents, whole_number({"--agents", 1, kMaxAgents}, options.agents));
  MESH_TRY(size.stations, whole_number({"--stations", 1, kMaxStations}, options.stations));
  if (!options.agents_per_station.empty()) {
    MESH_TRY(size.agents_per_station,
             whole_number({"--agents-per-station", 1, size.agents}, options.agents_per_station));
  }
  MESH_TRY(engine::MemoryMap map, engine::memory_map(size));
  Report report{std::move(map), {}, 0, 0};
  for (const engine::MemoryPlan& memory : report.map.memories) {
    if (memory.description->in_directory) report.directory_bytes += memory.bytes();
  }
  MESH_TRY(report.directory, mesh_directory(options.directory, options.name));
  MESH_TRY(report.free, free_bytes(report.directory));
  return report;
}

double mebibytes(std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

void write_text(const Report& report, std::ostream& out) {
  const engine::MeshSize& size = report.map.size;
  out << fmt::format("{} agents, {} stations of {} agents\n\n", size.agents, size.stations,
                     size.agents_per_station);
  constexpr std::string_view kRow = "{:<15}{:>14}{:>8}{:>18}{:>12}{}\n";
  out << fmt::format(kRow, "memory", "bytes each", "copies", "bytes", "MiB", "");
  for (const engine::MemoryPlan& memory : report.map.memories) {
    out << fmt::format(kRow, memory.description->name, memory.layout.total_bytes(), memory.copies,
                       memory.bytes(), fmt::format("{:.2f}", mebibytes(memory.bytes())),
                       memory.description->in_directory ? "" : "  memfd");
  }
  const std::uint64_t total = report.map.total_bytes();
  out << fmt::format(kRow, "sum", "", "", total, fmt::format("{:.2f}", mebibytes(total)), "");
  out << fmt::format("\n{}: needs {:.2f} MiB, {:.2f} MiB free: {}\n", printable(report.directory),
                     mebibytes(report.directory_bytes), mebibytes(report.free),
                     report.fits() ? "it fits" : "it does not fit");
}

void write_json(const Report& report, std::ostream& out) {
  const engine::MeshSize& size = report.map.size;
  nlohmann::ordered_json document = {{"agents", size.agents},
                                     {"stations", size.stations},
                                     {"agents_per_station", size.agents_per_station},
                                     {"memories", nlohmann::ordered_json::array()}};
  for (const engine::MemoryPlan& memory : report.map.memories) {
    document["memories"].push_back({{"name", memory.description->name},
                                    {"bytes_each", memory.layout.total_bytes()},
                                    {"copies", memory.copies},
                                    {"bytes", memory.bytes()},
                                    {"in_directory", memory.description->in_directory}});
  }
  document["total_bytes"] = report.map.total_bytes();
  document["directory"] = report.directory;
  document["directory_bytes"] = report.directory_bytes;
  document["free_bytes"] = report.free;
  document["fits"] = report.fits();
  // A path is bytes, not text: what is not UTF-8 in it is replaced.
  out << document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
}

Result<ExitCode> run(const Options& options, Console& console) {
  MESH_TRY(const Report report, measure(options));
  if (options.json) {
    write_json(report, console.out);
  } else {
    write_text(report, console.out);
  }
  if (report.fits()) return ExitCode::done;
  return fail(
      Errc::no_space,
      fmt::format("{} needs {} bytes and has {} free, {} too few; to fix it, enlarge that file "
                  "system (mount -o remount,size=...), choose another with --dir, or declare fewer "
                  "agents or stations",
                  printable(report.directory), report.directory_bytes, report.free,
                  report.directory_bytes - report.free),
      static_cast<std::int64_t>(report.directory_bytes - report.free));
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  command
      .add_option("--agents", options->agents,
                  fmt::format("rows of the table, 1 to {}", kMaxAgents))
      ->required()
      ->type_name("N");
  command
      .add_option("--stations", options->stations,
                  fmt::format("attached processes, 1 to {}", kMaxStations))
      ->required()
      ->type_name("M");
  command
      .add_option("--agents-per-station", options->agents_per_station,
                  "the most that one station declares; default: spread evenly")
      ->type_name("K");
  command.add_option("--dir", options->directory, "the mesh's directory; default: that of --name")
      ->type_name("DIR");
  command.add_option("--name", options->name, "the mesh's name, where --dir is not given")
      ->capture_default_str()
      ->type_name("NAME");
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_size

Verb size_verb() {
  return {"size", "memory that a mesh would need, and whether it fits", &of_size::declare};
}

}  // namespace mesh::tools
