// mesh health: the mode of the mesh and the summaries of what is in it, from its table.
#include <algorithm>
#include <chrono>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "engine/backup/backup_status.hpp"
#include "engine/health/health_view.hpp"
#include "engine/station/control_protocol.hpp"
#include "sched/clock.hpp"
#include "tools/console_request.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/night_report.hpp"
#include "tools/observed_mesh.hpp"
#include "tools/option_values.hpp"
#include "tools/text.hpp"
#include "tools/text_table.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_health {
namespace {

using Json = nlohmann::ordered_json;
using engine::health::HealthView;
using engine::health::kNobody;

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

constexpr std::uint64_t kHoursMost = 720;

struct Options {
  WhichMesh which;
  std::string sector;
  std::string hours = "12";
  bool json = false;
};

// Means and p95s stand in the table as whole numbers of a part of a score.
double in_units(std::uint32_t value, std::uint32_t unit) {
  return static_cast<double>(value) / static_cast<double>(unit);
}
Json known(bool is_known, double value) { return is_known ? Json(value) : Json(nullptr); }
Json place(std::uint32_t index) { return index == kNobody ? Json(nullptr) : Json(index); }

struct Seen {
  HealthView view;
  std::uint32_t now_mesh_ms = 0;

  [[nodiscard]] std::uint32_t age_ms(std::uint32_t then_mesh_ms) const {
    const std::uint32_t age = now_mesh_ms - then_mesh_ms;
    return age < 1U << 31 ? age : 0;  // a moment ahead of our look at the clock
  }
};

Result<Seen> see(const ObservedMesh::Memory& table) {
  const std::span<const std::byte> bytes = table.mapping.bytes();
  MESH_TRY(HealthView view, HealthView::over(table.layout, bytes));
  MESH_TRY(const auto clock, table.layout.array<sched::ClockWords>(bytes, "clock"));
  sched::ClockReader<> reader(clock.front());
  const auto start_ns = static_cast<std::int64_t>(
      table.header.parameters[static_cast<std::size_t>(engine::MemoryParameter::start_ns)]);
  return Seen{std::move(view), static_cast<std::uint32_t>((reader.now_ns() - start_ns) / kNsPerMs)};
}

// As the word in the table says.
std::string_view breaker_name(std::uint64_t word) {
  const auto state = coordination::BreakerView::state_of(word);
  return state > coordination::BreakerState::disabled ? "unknown" : coordination::to_string(state);
}
Json breaker_json(const Seen& seen, std::size_t place) {
  const auto breaker = seen.view.breaker(place);
  return breaker ? Json(breaker_name(breaker->word)) : Json(nullptr);
}
std::uint32_t breakers_open(const Seen& seen) {
  std::uint32_t count = 0;
  for (std::size_t place = 0; place < seen.view.breakers(); ++place) {
    const auto breaker = seen.view.breaker(place);
    count += breaker && !breaker->is_passable() ? 1U : 0U;
  }
  return count;
}

Json mesh_json(const Seen& seen) {
  Json report = {{"mode", nullptr}, {"mode_for_ms", nullptr}, {"age_ms", nullptr}};
  const auto mesh = seen.view.mesh();
  if (!mesh) return report;
  const bool has_active = mesh->summary.active != 0;
  if (mesh->mode) {
    report["mode"] = engine::health::name_of(*mesh->mode);
    report["mode_for_ms"] = seen.age_ms(mesh->mode_since_mesh_ms);
  }
  report["age_ms"] = seen.age_ms(mesh->mesh_ms);
  report["agents"] = mesh->summary.agents;
  report["active"] = mesh->summary.active;
  report["mean_impedance_ms"] =
      known(has_active, in_units(mesh->summary.mean, engine::health::kMeanUnit));
  report["p95_impedance_ms"] =
      known(has_active, in_units(mesh->summary.p95, engine::health::kP95OfP95sUnit));
  report["sectors_healthy"] = mesh->summary.healthy_sectors;
  report["sectors_degraded"] = mesh->summary.degraded_sectors;
  report["breaker"] = breaker_json(seen, 0);
  report["breakers_open"] = breakers_open(seen);
  return report;
}

Json sectors_json(const Seen& seen) {
  Json list = Json::array();
  for (std::uint32_t sector = 0; sector < seen.view.sectors(); ++sector) {
    const auto its = seen.view.sector(sector);
    if (!its || its->summary.agents == 0) continue;
    list.push_back({{"sector", sector},
                    {"state", its->summary.is_healthy ? "healthy" : "degraded"},
                    {"clusters", its->summary.clusters},
                    {"agents", its->summary.agents},
                    {"active", its->summary.active},
                    {"mean_ms", known(its->summary.active != 0,
                                      in_units(its->summary.mean, engine::health::kMeanUnit))},
                    {"healthiest", place(its->summary.healthiest)},
                    {"sickest", place(its->summary.sickest)},
                    {"breaker", breaker_json(seen, seen.view.place_of_sector(sector))},
                    {"age_ms", seen.age_ms(its->mesh_ms)}});
  }
  return list;
}

Json clusters_json(const Seen& seen, std::uint32_t sector, std::uint32_t count) {
  Json list = Json::array();
  const std::uint32_t first = sector * count;
  for (std::uint32_t at = first; at < first + count; ++at) {
    const auto its = seen.view.cluster(at);
    if (!its || its->summary.agents == 0) continue;
    const bool has_active = its->summary.active != 0;
    list.push_back(
        {{"cluster", at},
         {"agents", its->summary.agents},
         {"active", its->summary.active},
         {"mean_ms", known(has_active, in_units(its->summary.mean, engine::health::kMeanUnit))},
         {"p95_ms", known(has_active, in_units(its->summary.p95, engine::health::kP95Unit))},
         {"degraded", its->summary.degraded},
         {"unstable", its->summary.unstable},
         {"slowest_row", place(its->summary.slowest)},
         {"fastest_row", place(its->summary.fastest)},
         {"breaker", breaker_json(seen, seen.view.place_of_cluster(at))},
         {"age_ms", seen.age_ms(its->mesh_ms)}});
  }
  return list;
}

Json age_of(std::int64_t unix_ns) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const std::int64_t age = std::chrono::duration_cast<Nanos>(now).count() - unix_ns;
  return unix_ns == 0 ? Json(nullptr) : Json(std::max<std::int64_t>(age, 0) / kNsPerMs);
}

// As the engine's file says: what there is of it is printed, whether an engine runs or not.
Json backup_json(const std::string& directory) {
  const auto status = engine::read_status(directory);
  if (!status) return Json{{"last", "never"}, {"age_ms", nullptr}};
  Json object = {{"last", status->tried_unix_ns == 0 ? "never"
                          : status->is_good          ? "good"
                                                     : "failed"},
                 {"tried_ms_ago", age_of(status->tried_unix_ns)},
                 {"age_ms", age_of(status->good_unix_ns)}};
  if (status->good_unix_ns != 0) object["path"] = printable(status->good_path);
  if (status->tried_unix_ns != 0 && !status->is_good) object["error"] = printable(status->error);
  if (status->every > Nanos{0}) {
    const Json age = object["age_ms"];
    object["every_ms"] = status->every.count() / kNsPerMs;
    object["overdue"] =
        age.is_null() || age.get<std::int64_t>() > 2 * status->every.count() / kNsPerMs;
  }
  return object;
}

Result<ExitCode> run(const Options& options, Console& console) {
  MESH_TRY(const std::string directory,
           mesh_directory(options.which.directory, options.which.name));
  MESH_TRY(const ObservedMesh mesh, ObservedMesh::open(directory));
  MESH_TRY(const ObservedMesh::Memory table, mesh.table());
  MESH_TRY(const Seen seen, see(table));
  Json report = mesh_json(seen);
  const bool is_full = report["mode"] == "FULL";
  const auto running = mesh.engine().running;
  report["engine_runs"] = running ? Json(*running) : Json(nullptr);
  report["backup"] = backup_json(directory);
  Json list;
  std::string what = "sectors";
  MESH_TRY(const std::uint64_t hours, whole_number({"--hours", 1, kHoursMost}, options.hours));
  if (options.sector.empty()) {
    list = sectors_json(seen);
    MESH_TRY(report["night"], night_report(table, {static_cast<std::uint32_t>(hours)}));
  } else {
    MESH_TRY(const std::uint64_t sector,
             whole_number({"--sector", 0, seen.view.sectors() - 1}, options.sector));
    list = clusters_json(seen, static_cast<std::uint32_t>(sector), mesh.size().clusters_per_sector);
    what = "clusters";
  }
  if (options.json) {
    report[what] = list;
    console.out << report.dump(2) << '\n';
  } else {
    console.out << lines_of(report);
    if (!list.empty()) {
      console.out << '\n';
      table_of(list).write(console.out);
    }
  }
  return is_full ? ExitCode::done : ExitCode::failed;
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
