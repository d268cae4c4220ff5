// mesh history: what a mesh was and did, from its store.
#include <chrono>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>
#include <nlohmann/json.hpp>

#include "engine/cascade.hpp"
#include "engine/memory_map.hpp"
#include "engine/result_note.hpp"
#include "engine/store/store.hpp"
#include "tools/console_request.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/mesh_errors.hpp"
#include "tools/observed_mesh.hpp"
#include "tools/option_values.hpp"
#include "tools/text_table.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_history {
namespace {

using Json = nlohmann::ordered_json;
using engine::ResultKind;
using engine::ResultVerdict;

constexpr const char* kFooter = R"(
operations  how each came out, the newest first: scatters, broadcasts, cascades
agents      how many were there and active, and their impedance, --step-min minutes to a
            row: of the mesh, of --sector N or of --cluster N

The engine keeps both in its store (mesh up --store): a point a minute for each cluster,
and each operation's result, for as long as [store] of its configuration says. The store
is read itself: --store, or the one that the running engine says it has. What the
engine has not brought there yet, some seconds of it, is not seen.

Examples:
  mesh history
  mesh history operations --kind cascade --verdict partial --since-min 1440 --json
  mesh history agents --sector 7 --step-min 60 --since-min 10080
)";

constexpr std::uint64_t kMinutesMax = 5'256'000;  // ten years

struct Options {
  WhichMesh which;
  std::string what = "operations";
  std::string store;
  std::string since = "1440";
  std::string step = "60";
  std::string limit = "50";
  std::string sector, cluster;
  std::string kind, verdict;
  bool json = false;
};

std::string_view name_of(std::uint8_t kind, std::uint8_t strategy) {
  switch (static_cast<ResultKind>(kind)) {
    case ResultKind::scatter:
      return "scatter";
    case ResultKind::broadcast:
      return "broadcast";
    case ResultKind::cascade:
      return engine::name_of(static_cast<engine::CascadeStrategy>(strategy));
    case ResultKind::quorum:
      return "quorum";
  }
  return "unknown";
}

std::string_view name_of(std::uint8_t verdict) {
  switch (static_cast<ResultVerdict>(verdict)) {
    case ResultVerdict::success:
      return "success";
    case ResultVerdict::partial:
      return "partial";
    case ResultVerdict::failed_at_sector:
      return "failed_at_sector";
    case ResultVerdict::nobody:
      return "nobody";
  }
  return "unknown";
}

std::int64_t now_unix_ns() {
  return std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
}

// A wall time, or unknown.
Json utc_or_null(WireTime at) {
  const auto ns = static_cast<std::int64_t>(at);
  return ns == 0 ? Json(nullptr) : Json(utc_text(ns));
}

double ms_between(WireTime from, WireTime to) {
  return static_cast<double>(static_cast<std::int64_t>(to) - static_cast<std::int64_t>(from)) /
         kNsPerMs;
}

Json result_json(const engine::OperationResult& one) {
  const bool is_timed = static_cast<std::int64_t>(one.target) != 0;
  const auto ms = [&](std::int64_t ns) {
    return is_timed ? Json(static_cast<double>(ns) / kNsPerMs) : Json(nullptr);
  };
  return {{"ended", utc_text(static_cast<std::int64_t>(one.ended))},
          {"kind", name_of(one.kind, one.strategy)},
          {"verdict", name_of(one.verdict)},
          {"targeted", one.targeted},
          {"sent", one.sent},
          {"ready", one.ready},
          {"conflict", one.conflict},
          {"took_ms", ms_between(one.opened, one.ended)},
          {"target", utc_or_null(one.target)},
          {"error_p50_ms", ms(one.error_p50_ns)},
          {"error_p99_ms", ms(one.error_p99_ns)},
          {"source", static_cast<std::uint64_t>(one.source)},
          {"operation", fmt::format("{:016x}{:016x}", one.id.high, one.id.low)}};
}

Json trend_json(const engine::TrendRow& row) {
  const double minutes = row.minutes == 0 ? 1 : static_cast<double>(row.minutes);
  const bool is_active = row.active != 0;
  return {{"from", utc_text(row.minute * 60 * kNsPerSecond)},
          {"minutes", row.minutes},
          {"agents", static_cast<double>(row.agents) / minutes},
          {"active", static_cast<double>(row.active) / minutes},
          {"mean_ms", is_active ? Json(row.score_mean) : Json(nullptr)},
          {"p95_ms", is_active ? Json(row.score_p95) : Json(nullptr)}};
}

struct Wanted {
  engine::ResultQuery results{};
  engine::TrendQuery trend{};
};

// Where there is no mesh any more, what one has that says nothing else.
std::uint32_t clusters_per_sector(const WhichMesh& which) {
  const auto directory = mesh_directory(which.directory, which.name);
  if (!directory) return engine::kClustersPerSector;
  const auto mesh = ObservedMesh::open(*directory);
  return mesh ? mesh->size().clusters_per_sector : engine::kClustersPerSector;
}

Status read_place(const Options& options, engine::TrendQuery& trend) {
  trend.past_cluster = UINT32_MAX;
  if (!options.sector.empty() && !options.cluster.empty())
    return fail(Errc::bad_input, "--sector and --cluster: one of them");
  if (!options.sector.empty()) {
    MESH_TRY(const std::uint64_t sector, whole_number({"--sector", 0, 100'000}, options.sector));
    const std::uint32_t clusters = clusters_per_sector(options.which);
    trend.first_cluster = static_cast<std::uint32_t>(sector) * clusters;
    trend.past_cluster = trend.first_cluster + clusters;
  }
  if (!options.cluster.empty()) {
    MESH_TRY(const std::uint64_t number,
             whole_number({"--cluster", 0, 1'000'000}, options.cluster));
    trend.first_cluster = static_cast<std::uint32_t>(number);
    trend.past_cluster = trend.first_cluster + 1;
  }
  return {};
}

Result<Wanted> wanted_of(const Options& options) {
  Wanted wanted;
  MESH_TRY(const std::uint64_t minutes,
           whole_number({"--since-min", 1, kMinutesMax}, options.since));
  MESH_TRY(const std::uint64_t step, whole_number({"--step-min", 1, kMinutesMax}, options.step));
  MESH_TRY(const std::uint64_t limit,
           whole_number({"--limit", 1, engine::kQueryLimitMax}, options.limit));
  const std::int64_t now_minute = now_unix_ns() / (60 * kNsPerSecond);
  const std::int64_t from_minute = now_minute - static_cast<std::int64_t>(minutes);
  wanted.results.from = static_cast<WireTime>(from_minute * 60 * kNsPerSecond);
  wanted.results.limit = static_cast<std::uint32_t>(limit);
  for (const ResultKind kind :
       {ResultKind::scatter, ResultKind::broadcast, ResultKind::cascade, ResultKind::quorum}) {
    const auto number = static_cast<std::uint8_t>(kind);
    const std::string_view name = kind == ResultKind::cascade ? "cascade" : name_of(number, 0);
    if (options.kind == name) wanted.results.kind = number;
  }
  for (const ResultVerdict verdict : {ResultVerdict::success, ResultVerdict::partial,
                                      ResultVerdict::failed_at_sector, ResultVerdict::nobody}) {
    const auto number = static_cast<std::uint8_t>(verdict);
    if (options.verdict == name_of(number)) wanted.results.verdict = number;
  }
  wanted.trend.from_minute = from_minute;
  wanted.trend.until_minute = now_minute + 1;
  wanted.trend.step_minutes = static_cast<std::int64_t>(step);
  MESH_CHECK_OK(read_place(options, wanted.trend));
  return wanted;
}

Result<std::string> where_of(const Options& options) {
  if (!options.store.empty()) return options.store;
  MESH_TRY(const Json status, ask_engine(options.which, {{"op", "status"}}));
  const Json conflicts = status.value("conflicts", Json());
  if (!conflicts.is_object())
    return fail(Errc::unsupported, "this engine keeps no history: it was started without --store");
  return conflicts.value("store", "");
}

Result<Json> rows_of(const Options& options, const Wanted& wanted, engine::Store& store) {
  Json list = Json::array();
  if (options.what == "operations") {
    MESH_TRY(const auto results, store.results(wanted.results));
    for (const engine::OperationResult& one : results) list.push_back(result_json(one));
    return list;
  }
  MESH_TRY(const auto rows, store.trend(wanted.trend));
  for (const engine::TrendRow& row : rows) list.push_back(trend_json(row));
  return list;
}

Result<ExitCode> run(const Options& options, Console& console) {
  MESH_TRY(const Wanted wanted, wanted_of(options));
  MESH_TRY(const std::string where, where_of(options));
  MESH_TRY(const auto store, engine::open_store({.where = where}));
  MESH_TRY(Json list, rows_of(options, wanted, *store));
  if (options.json) {
    console.out << Json{{options.what, std::move(list)}}.dump(2) << '\n';
  } else if (list.empty()) {
    console.out << "none\n";
  } else {
    table_of(list).write(console.out);
  }
  return ExitCode::done;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  declare_which_mesh(command, options->which);
  command.add_option("what", options->what, "operations or agents")
      ->check(CLI::IsMember({"operations", "agents"}))
      ->capture_default_str()
      ->type_name("WHAT");
  const auto add = [&](const char* name, std::string& value, const char* what, const char* type) {
    return command.add_option(name, value, what)->type_name(type);
  };
  add("--store", options->store, "a file, or postgresql://...; default: the running engine's",
      "WHERE");
  add("--since-min", options->since, "the last so many minutes", "MINUTES")->capture_default_str();
  add("--step-min", options->step, "agents: minutes to a row", "MINUTES")->capture_default_str();
  add("--sector", options->sector, "agents: of this one; default: of all", "N");
  add("--cluster", options->cluster, "agents: of this one; default: of all", "N");
  add("--kind", options->kind, "operations: of this kind; default: of all", "KIND")
      ->check(CLI::IsMember({"scatter", "broadcast", "cascade", "quorum"}));
  add("--verdict", options->verdict, "operations: that came out so; default: all", "VERDICT")
      ->check(CLI::IsMember({"success", "partial", "failed_at_sector", "nobody"}));
  add("--limit", options->limit, "operations: at most so many", "N")->capture_default_str();
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_history

Verb history_verb() {
  return {"history", "what the mesh was and did, from its store", &of_history::declare};
}

}  // namespace mesh::tools
