// mesh who: what agents are doing, and who holds whom back.
#include <algorithm>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "tools/acting.hpp"
#include "tools/option_values.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_who {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFooter = R"(
Without AGENT: every agent that says that it waits for something, longest first, then
those with the most to answer; and who holds others back, most first. A circle of
agents that wait on each other is named. With AGENT: those, whatever they do.

Task, what it waits on, and since when are what the agent itself reports
(Station::report); an agent that reports nothing is unknown here, which is no sign that
it is idle. The depth is the engine's count of what was delivered and not answered.

Exit code 0: it was looked at, 1: no agent has such a name.

Examples:
  mesh who
  mesh who printer db-1
  mesh who --sector 7 --json
)";

constexpr std::size_t kShownMax = 20;

struct Options {
  WhichMesh which;
  std::vector<std::string> agents;
  std::string sector;
  std::string cluster;
  bool json = false;
};

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? printable(found->get<std::string>()) : "";
}
std::string queued(const Json& agent) {
  const auto depth = agent.value("depth", std::uint64_t{0});
  return depth == 0 ? std::string("nothing to answer") : fmt::format("{} to answer", depth);
}

// "index 7, for 42 s: waits on db-1, which waits on disk-3; 4 to answer"
std::string sentence_of(const Json& agent) {
  const std::string task = text_of(agent, "task");
  if (task.empty()) return fmt::format("has not said what it is doing; {}", queued(agent));
  std::string text =
      fmt::format("{}, for {}", task, age_text(agent.value("age_ms", std::int64_t{0})));
  const std::string on = text_of(agent, "waiting_on");
  const std::string end = text_of(agent, "stuck_on");
  if (!on.empty()) text += fmt::format(": waits on {}", on);
  if (agent.value("in_circle", false)) {
    text += ", in a circle";
  } else if (!end.empty() && end != on) {
    text += fmt::format(", and behind it on {}", end);
  }
  return text + "; " + queued(agent);
}

Result<ExitCode> run(const Options& options, Console& console) {
  WhoAsked asked{.agents = options.agents};
  if (!options.agents.empty() && !(options.sector.empty() && options.cluster.empty()))
    return fail(Errc::bad_input, "AGENT, --sector and --cluster: only one of them");
  if (!options.sector.empty()) {
    MESH_TRY(asked.sector, whole_number({"--sector", 0, UINT32_MAX}, options.sector));
  }
  if (!options.cluster.empty()) {
    MESH_TRY(asked.cluster, whole_number({"--cluster", 0, UINT32_MAX}, options.cluster));
  }
  MESH_TRY(const Json answer, ask_who(options.which, asked));
  if (options.json) {
    console.out << answer.dump(2) << '\n';
  } else {
    write_who(answer, console.out);
  }
  return ExitCode::done;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  command
      .add_option("agent", options->agents,
                  "an agent's name; may be given again; default: all that wait")
      ->type_name("AGENT");
  command.add_option("--sector", options->sector, "only its agents, from 0; default: of all")
      ->type_name("N");
  command.add_option("--cluster", options->cluster, "only its agents, from 0; default: of all")
      ->type_name("N");
  declare_which_mesh(command, options->which);
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

void write_holders(const Json& answer, std::ostream& out) {
  const Json holders = answer.value("holders", Json::array());
  if (holders.empty()) return;
  out << "who holds others back:\n";
  for (std::size_t i = 0; i < std::min(holders.size(), kShownMax); ++i) {
    const Json& holder = holders[i];
    out << fmt::format("  {} holds {}, {} in all, the oldest for {}; {}\n",
                       text_of(holder, "agent"), holder.value("holds", 0U),
                       holder.value("holds_in_all", 0U),
                       age_text(holder.value("oldest_ms", std::int64_t{0})), queued(holder));
  }
  if (holders.size() > kShownMax)
    out << fmt::format("  ... and {} more\n", holders.size() - kShownMax);
}

}  // namespace
}  // namespace of_who

std::string age_text(std::int64_t age_ms) {
  const std::int64_t seconds = age_ms / 1'000;
  if (seconds < 10) return fmt::format("{:.1f} s", static_cast<double>(age_ms) / 1'000);
  if (seconds < 120) return fmt::format("{} s", seconds);
  if (seconds < 7'200) return fmt::format("{} min", seconds / 60);
  return fmt::format("{} h {} min", seconds / 3'600, seconds / 60 % 60);
}

Answered ask_who(const WhichMesh& which, const WhoAsked& asked) {
  for (const std::string& agent : asked.agents) MESH_CHECK_OK(check_utf8("the name", agent));
  nlohmann::ordered_json request = {{"op", "who"}, {"agents", asked.agents}};
  if (asked.sector) request["sector"] = *asked.sector;
  if (asked.cluster) request["cluster"] = *asked.cluster;
  return ask_engine(which, request);
}

void write_who(const nlohmann::ordered_json& answer, std::ostream& out) {
  const nlohmann::ordered_json agents = answer.value("agents", nlohmann::ordered_json::array());
  if (agents.empty()) {
    out << fmt::format(
        "nobody waits and nobody has anything to answer; {} of {} agents say what "
        "they are doing\n",
        answer.value("said", std::uint64_t{0}), answer.value("enrolled", std::uint64_t{0}));
  }
  for (std::size_t i = 0; i < std::min(agents.size(), of_who::kShownMax); ++i)
    out << fmt::format("{}: {}\n", of_who::text_of(agents[i], "agent"),
                       of_who::sentence_of(agents[i]));
  const std::size_t more = agents.size() - std::min(agents.size(), of_who::kShownMax) +
                           answer.value("agents_left_out", std::size_t{0});
  if (more != 0) out << fmt::format("... and {} more\n", more);
  of_who::write_holders(answer, out);
  for (const nlohmann::ordered_json& circle :
       answer.value("circles", nlohmann::ordered_json::array())) {
    std::string names;
    for (const nlohmann::ordered_json& name : circle)
      names += printable(name.get<std::string>()) + " -> ";
    if (circle.empty()) continue;
    out << fmt::format("a circle: {}{}\n", names, printable(circle[0].get<std::string>()));
  }
}

Verb who_verb() {
  return {"who", "what agents are doing, and who holds whom back", &of_who::declare};
}

}  // namespace mesh::tools
