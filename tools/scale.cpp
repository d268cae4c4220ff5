// mesh scale: more agents for a mesh that runs.
#include <chrono>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "shm/base/limits.hpp"
#include "tools/acting.hpp"
#include "tools/console_request.hpp"
#include "tools/option_values.hpp"
#include "tools/progress_bar.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_scale {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kWaitMsMax = 86'400'000;
constexpr std::chrono::milliseconds kLookEvery{200};
constexpr const char* kFooter = R"(
Makes N identities, PREFIX-1 and so on, as far as nobody has the name; gives each a place:
clusters of its class that have room are filled, then new ones are made in the sectors with
the fewest agents; and starts their processes by the command that the configuration names
under [recovery], which finds MESH_DIR, MESH_AGENTS (the names, a line each), MESH_AGENT (the
first), MESH_AGENT_COUNT and MESH_CLASS in its environment. A process gets --per-process of
them.

Who attaches is a newcomer: no message and no operation goes to it, but the mesh's own
warm-ups, which have the verb sync and no body, and want an answer. Once its profile is stable
it is admitted, in waves of a tenth of all that came. That goes on whether anybody waits for
it or not; --wait says how long this verb does, and shows how far they are. Who never comes
is forgotten after the configuration's agent_ttl.

Exit code 0: all are admitted, or, with --no-wait, made; 1: not all in time, or so many do not
fit.

Examples:
  mesh scale +1000
  mesh scale +90 --class D --prefix gpu --wait 300000 --json
)";

struct Options {
  WhichMesh which;
  std::string count;
  std::string agent_class = "A";
  std::string prefix = "agent";
  std::string per_process = "30";
  std::string wait_ms = "60000";
  bool no_wait = false;
  bool json = false;
};

Result<ScaleWanted> wanted_of(const Options& options) {
  ScaleWanted wanted{.agent_class = options.agent_class, .prefix = options.prefix};
  std::string digits = options.count;
  if (digits.starts_with('+')) digits.erase(0, 1);
  const auto count = whole_number({"+N", 1, kMaxAgents}, digits);
  if (!count)
    return fail(Errc::bad_input, fmt::format("{}: scales by +1 to +{} agents",
                                             in_quotes(options.count), kMaxAgents));
  wanted.count = *count;
  MESH_TRY(const sched::AgentClass checked, class_letter("--class", options.agent_class));
  static_cast<void>(checked);
  MESH_TRY(wanted.per_process, whole_number({"--per-process", 1, kMaxAgents}, options.per_process));
  return wanted;
}

std::string progress_text(const Json& progress) {
  return fmt::format("{} admitted, {} settling, {} awaited", progress.value("admitted", 0U),
                     progress.value("settling", 0U), progress.value("awaited", 0U));
}

// Until all are admitted, or the time is over: how far they are then.
Result<Json> watch(const Options& options, const Json& made, Console& console) {
  MESH_TRY(const std::uint64_t wait_ms, whole_number({"--wait", 0, kWaitMsMax}, options.wait_ms));
  const Json request = {{"op", "scaling"},
                        {"prefix", made.value("prefix", "")},
                        {"first", made.value("first", 0U)},
                        {"last", made.value("last", 0U)}};
  const auto agents = made.value("agents", 0U);
  const bool is_watched = !options.json && isatty(STDERR_FILENO) != 0;
  ProgressBar bar(is_watched ? &console.err : nullptr);
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(wait_ms);
  for (;;) {
    MESH_TRY(Json progress, ask_engine(options.which, request));
    const auto admitted = progress.value("admitted", 0U);
    bar.show(admitted, agents, progress_text(progress));
    if (admitted >= agents || Clock::now() >= end) return progress;
    std::this_thread::sleep_for(kLookEvery);
  }
}

Result<ExitCode> run(const Options& options, Console& console) {
  MESH_TRY(const ScaleWanted wanted, wanted_of(options));
  MESH_TRY(Json made, ask_scale(options.which, wanted));
  if (!options.json) write_scale(made, console.out << std::flush);
  ExitCode code = ExitCode::done;
  if (!options.no_wait) {
    MESH_TRY(Json progress, watch(options, made, console));
    const bool is_done = progress.value("admitted", 0U) >= made.value("agents", 0U);
    code = is_done ? ExitCode::done : ExitCode::failed;
    if (!options.json) {
      console.out << progress_text(progress) << '\n';
      if (const std::string why = progress.value("last_failure", ""); !is_done && !why.empty())
        console.out << "last failure: " << printable(why) << '\n';
    }
    progress.erase("ok");
    made["progress"] = std::move(progress);
  }
  if (options.json) console.out << made.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  return code;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  command.add_option("count", options->count, "how many more")->required()->type_name("+N");
  declare_which_mesh(command, options->which);
  const struct {
    const char* option;
    std::string& value;
    const char* what;
    const char* unit;
  } values[] = {{"--class", options->agent_class, "of the new agents, A to F", "CLASS"},
                {"--prefix", options->prefix, "of their names", "PREFIX"},
                {"--per-process", options->per_process, "agents that a process is told to be", "N"},
                {"--wait", options->wait_ms, "for all to be admitted, in ms", "MS"}};
  for (const auto& one : values)
    command.add_option(one.option, one.value, one.what)->capture_default_str()->type_name(one.unit);
  command.add_flag("--no-wait", options->no_wait, "says what was made, and waits for nobody");
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_scale

Answered ask_scale(const WhichMesh& which, const ScaleWanted& wanted) {
  MESH_CHECK_OK(check_utf8("the prefix", wanted.prefix));
  return ask_engine(which, {{"op", "scale"},
                            {"count", wanted.count},
                            {"class", wanted.agent_class},
                            {"prefix", wanted.prefix},
                            {"per_process", wanted.per_process}});
}

void write_scale(const nlohmann::ordered_json& made, std::ostream& out) {
  const auto count = [&](const char* key) { return made.value(key, std::uint64_t{0}); };
  const std::string prefix = printable(made.value("prefix", ""));
  out << fmt::format(
      "{} agents made, {}-{} to {}-{}: {} clusters filled, {} created, in {} sectors; {} "
      "processes\n",
      count("agents"), prefix, count("first"), prefix, count("last"), count("clusters_filled"),
      count("clusters_created"), count("sectors"), count("processes"));
  if (count("without_cluster") != 0)
    out << fmt::format("{} of them have no place in a cluster\n", count("without_cluster"));
}

Verb scale_verb() {
  return {"scale", "more agents, admitted once they are known", &of_scale::declare};
}

}  // namespace mesh::tools
