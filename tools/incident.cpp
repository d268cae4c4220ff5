// mesh incident: what is wrong with a sector, as a report in Markdown, and what was done about it.
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "engine/reports/report_json.hpp"
#include "tools/acting.hpp"
#include "tools/option_values.hpp"
#include "tools/text.hpp"
#include "tools/text_table.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_incident {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFooter = R"(
Looks at the sector as the engine knows it now, and says what is wrong: its coordinator,
its clusters, the network (attached, and nothing is read), single agents (missed, silent,
slow), conflicts, or the engine itself; each with what that is concluded from and what
could be done. What it prints is Markdown, with a timeline of what happened: for a file.

A coordinator's backup is activated by the engine at once, and named here. With --act
the rest is done as well: crashed processes are replaced as by mesh heal; clusters that
have failed even so are isolated (their breakers are held open until mesh heal) and
their healthy agents moved to other clusters; who is silent or slow is routed around.

Exit code 0: nothing is wrong there, or --act has mended it. 1: something is wrong.

Examples:
  mesh incident 7
  mesh incident 7 --act > incident-sector-7.md
  mesh incident 7 --since-min 240 --json
)";

struct Options {
  WhichMesh which;
  std::string sector;
  std::string wait = "10000";
  std::string since = "60";
  bool act = false;
  bool json = false;
};

Result<ExitCode> run(const Options& options, Console& console) {
  IncidentWanted wanted{.act = options.act};
  MESH_TRY(wanted.sector, whole_number({"SECTOR", 0, UINT32_MAX}, options.sector));
  MESH_TRY(wanted.wait_ms, whole_number({"--wait", 0, 600'000}, options.wait));
  MESH_TRY(const std::uint64_t minutes, whole_number({"--since-min", 1, 43'200}, options.since));
  wanted.since_ms = minutes * 60'000;
  MESH_TRY(const Json answer, ask_incident(options.which, wanted));
  if (options.json) {
    console.out << answer.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    write_incident(answer, console.out);
  }
  return is_mended(answer) ? ExitCode::done : ExitCode::failed;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  command.add_option("sector", options->sector, "its number")->required()->type_name("SECTOR");
  command.add_flag("--act", options->act, "does what can be done, not only proposes it");
  command.add_option("--wait", options->wait, "for replacements to attach, in ms")
      ->capture_default_str()
      ->type_name("MS");
  command.add_option("--since-min", options->since, "the timeline's length, in minutes")
      ->capture_default_str()
      ->type_name("MINUTES");
  declare_which_mesh(command, options->which);
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

Json list_in(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : Json::array();
}

void write_lines(const Json& lines, const char* head, std::ostream& out) {
  if (lines.empty()) return;
  out << head << '\n';
  for (const Json& line : lines)
    if (line.is_string()) out << "* " << printable(line.get<std::string>()) << '\n';
  out << '\n';
}

void write_findings(const Json& findings, std::ostream& out) {
  for (const Json& finding : findings) {
    out << fmt::format("## {}\n\n{}.\n\n", printable(finding.value("cause", "")),
                       printable(finding.value("says", "")));
    write_lines(list_in(finding, "evidence"), "Evidence:\n", out);
    write_lines(list_in(finding, "did"), "Done:\n", out);
    if (list_in(finding, "did").empty())
      write_lines(list_in(finding, "proposes"), "Could be done:\n", out);
  }
}

void write_clusters(const Json& clusters, std::ostream& out) {
  if (clusters.empty()) return;
  constexpr const char* kColumns[] = {"cluster",     "agents",  "active", "missed",
                                      "unheard",     "silent",  "slow",   "held",
                                      "in_conflict", "breaker", "lead"};
  std::string heads;
  std::string rules;
  for (const char* const column : kColumns) {
    heads += fmt::format("| {} ", column);
    rules += "|---";
  }
  out << "## Clusters\n\n" << heads << "|\n" << rules << "|\n";
  for (const Json& one : clusters) {
    for (const char* const column : kColumns)
      out << "| " << printable(cell_of(one.value(column, Json()))) << ' ';
    out << "|\n";
  }
  out << '\n';
}

void write_timeline(const Json& answer, std::ostream& out) {
  out << "## Timeline\n\n";
  const Json lines = list_in(answer, "timeline");
  const unsigned left_out = answer.value("timeline_left_out", 0U);
  if (left_out != 0) out << fmt::format("* {} earlier lines are left out\n", left_out);
  if (lines.empty()) out << "* nothing was noted\n";
  for (const Json& line : lines)
    out << fmt::format("* {}  {}\n",
                       engine::reports::utc_text(line.value("at_unix_ns", std::int64_t{0})),
                       printable(line.value("what", "")));
}

std::string name_in(const Json& answer, const char* key) {
  const Json agent = answer.value(key, Json());
  return agent.is_object() ? printable(agent.value("agent", "")) : std::string("nobody");
}

}  // namespace
}  // namespace of_incident

Answered ask_incident(const WhichMesh& which, const IncidentWanted& wanted) {
  return ask_engine(which, {{"op", "incident"},
                            {"sector", wanted.sector},
                            {"act", wanted.act},
                            {"wait_ms", wanted.wait_ms},
                            {"since_ms", wanted.since_ms}});
}

bool is_mended(const nlohmann::ordered_json& answer) {
  using of_incident::list_in;
  return list_in(answer, answer.value("acted", false) ? "left" : "findings").empty();
}

void write_incident(const nlohmann::ordered_json& answer, std::ostream& out) {
  using namespace of_incident;  // NOLINT(google-build-using-namespace): its own file's
  out << fmt::format("# Incident report: sector {}\n\n", answer.value("sector", 0U));
  out << fmt::format(
      "{}; {} of {} agents active, mode {}, breaker {}, coordinator {}.\n\nDiagnosis: **{}**\n\n",
      engine::reports::utc_text(answer.value("at_unix_ns", std::int64_t{0})),
      answer.value("active", 0U), answer.value("agents", 0U), printable(answer.value("mode", "")),
      printable(answer.value("breaker", "")), name_in(answer, "coordinator"),
      printable(answer.value("diagnosis", "")));
  const nlohmann::ordered_json findings = list_in(answer, "findings");
  if (findings.empty()) out << "Nothing is wrong with it.\n\n";
  write_findings(findings, out);
  if (answer.value("acted", false)) {
    out << "## Left\n\n";
    if (is_mended(answer)) out << "* nothing: the sector is well\n";
    for (const auto& one : list_in(answer, "left"))
      out << fmt::format("* {}: {}\n", printable(one.value("cause", "")),
                         printable(one.value("says", "")));
    out << '\n';
  }
  write_clusters(list_in(answer, "clusters"), out);
  write_timeline(answer, out);
}

Verb incident_verb() {
  return {"incident", "what is wrong with a sector, and what is done about it",
          &of_incident::declare};
}

}  // namespace mesh::tools
