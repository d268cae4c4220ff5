// mesh history: what a mesh was and did, from its store.
#include <cstdint>
#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>

#include "engine/reports/history_report.hpp"
#include "tools/console_request.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/option_values.hpp"
#include "tools/text_table.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_history {
namespace {

namespace reports = engine::reports;
using reports::Json;

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

Result<std::optional<std::uint64_t>> number_or_none(const CountOption& option,
                                                    const std::string& text) {
  if (text.empty()) return std::optional<std::uint64_t>();
  MESH_TRY(const std::uint64_t number, whole_number(option, text));
  return std::optional(number);
}

Result<reports::HistoryWanted> wanted_of(const Options& options) {
  reports::HistoryWanted wanted;
  MESH_TRY(wanted.since_min,
           whole_number({"--since-min", 1, reports::kHistoryMinutesMax}, options.since));
  MESH_TRY(wanted.step_min,
           whole_number({"--step-min", 1, reports::kHistoryMinutesMax}, options.step));
  MESH_TRY(wanted.limit, whole_number({"--limit", 1, engine::kQueryLimitMax}, options.limit));
  MESH_TRY(wanted.sector,
           number_or_none({"--sector", 0, reports::kHistorySectorMax}, options.sector));
  MESH_TRY(wanted.cluster,
           number_or_none({"--cluster", 0, reports::kHistoryClusterMax}, options.cluster));
  if (wanted.sector && wanted.cluster)
    return fail(Errc::bad_input, "--sector and --cluster: one of them");
  // CLI11 has let nothing else through.
  wanted.kind = reports::result_kind_of(options.kind);
  wanted.verdict = reports::result_verdict_of(options.verdict);
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

Result<Json> report_of(const Options& options, const reports::HistoryWanted& wanted,
                       engine::Store& store) {
  const std::int64_t now = reports::unix_now_ns();
  if (options.what == "operations") {
    MESH_TRY(const auto operations, reports::past_operations(store, wanted, now));
    return reports::past_operations_json(operations);
  }
  const auto directory = mesh_directory(options.which.directory, options.which.name);
  const engine::MeshSize shape = directory ? reports::shape_of(*directory) : engine::MeshSize{};
  MESH_TRY(const auto rows, reports::past_agents(store, wanted, shape, now));
  return reports::past_agents_json(rows);
}

Result<ExitCode> run(const Options& options, Console& console) {
  MESH_TRY(const reports::HistoryWanted wanted, wanted_of(options));
  MESH_TRY(const std::string where, where_of(options));
  MESH_TRY(const auto store, engine::open_store({.where = where}));
  MESH_TRY(const Json report, report_of(options, wanted, *store));
  if (options.json) {
    console.out << reports::text_of(report, 2) << '\n';
  } else if (report.front().empty()) {
    console.out << "none\n";
  } else {
    table_of(report.front()).write(console.out);
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
