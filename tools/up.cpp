// mesh up: an engine in the foreground.
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "engine/configuration/configuration.hpp"
#include "engine/engine.hpp"
#include "tools/configuration_file.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/option_values.hpp"
#include "tools/reload_signal.hpp"
#include "tools/stop_signals.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_up {
namespace {

constexpr const char* kFooter = R"(
Runs until mesh down, Ctrl-C or SIGTERM, and then takes the mesh's files away. Stations
attach over the socket in its directory; without --dir that is
$XDG_RUNTIME_DIR/mesh30k/NAME, else /dev/shm/mesh30k-UID/NAME.
Room for agents is --agents, else sectors x clusters x agents in a cluster (30).

An engine that was killed leaves its mesh as it is: the next mesh up goes on with it, and
its stations come back by themselves. What is there and cannot be gone on with, because it
is damaged or has another size, is left alone and said; --fresh drops it.

  --wait spin      a core of its own, never given up: the least delay
         adaptive  spins, yields, then sleeps until it is woken
         park      sleeps at once: the least processor time

With --config, SIGHUP or mesh reload has the engine read the file again. What is typed
beside it stands above what it says.

With --store every answer in CONFLICT is recorded there, chained by hash; mesh conflicts
lists them, mesh resolve closes one.

With --allow-live-chaos a program may break this mesh on purpose (docs/coordination/
chaos_harness.md): its agents' messages, and processes that it has registered. Only agents
that enrolled with the capability chaos=allowed are struck. Without it every such request
is refused.

Examples:
  mesh up
  mesh up --store conflicts.db
  mesh up --config mesh.toml
  mesh up --agents 30000 --stations 128 --cpu 3
  mesh up --sectors 2 --clusters 10 --dir /dev/shm/mine --wait park
  mesh up --fresh
)";

constexpr Nanos kLookAtSignals{100 * kNsPerMs};
constexpr std::uint64_t kMsMax = 3'600'000;

struct Options {
  std::string file;
  std::string agents;
  std::string sectors;
  std::string clusters;
  std::string cluster_agents;
  std::string stations;
  std::string directory;
  std::string name;
  std::string wait;
  std::string cpu;
  std::string reconnect_ms;
  std::string stuck_ms;
  std::string store;
  std::string spill;
  bool fresh = false;
  bool allow_live_chaos = false;
};

Result<queues::WaitPolicy> wait_policy_of(const std::string& text) {
  using queues::WaitPolicy;
  for (const WaitPolicy policy : {WaitPolicy::kSpin, WaitPolicy::kAdaptive, WaitPolicy::kPark}) {
    if (text == queues::name_of(policy)) return policy;
  }
  return fail(Errc::bad_input,
              fmt::format("--wait {}: is spin, adaptive or park", in_quotes(text)));
}

// What was typed stands above what the file says.
Status put_count(const CountOption& option, const std::string& text, std::uint64_t& count) {
  if (text.empty()) return {};
  MESH_TRY(count, whole_number(option, text));
  return {};
}
Status put_ms(const CountOption& option, const std::string& text, Nanos& time) {
  if (text.empty()) return {};
  MESH_TRY(const std::uint64_t ms, whole_number(option, text));
  time = Nanos{static_cast<std::int64_t>(ms) * kNsPerMs};
  return {};
}

Result<engine::Configuration> read_options(const Options& options) {
  engine::Configuration wanted;
  if (!options.file.empty()) {
    MESH_TRY(wanted, configuration_of(options.file));
  }
  MESH_CHECK_OK(put_count({"--sectors", 1, kMaxAgents}, options.sectors, wanted.sectors));
  MESH_CHECK_OK(put_count({"--clusters", 1, engine::kClustersPerSectorMost}, options.clusters,
                          wanted.clusters));
  MESH_CHECK_OK(put_count({"--cluster-agents", 1, engine::kAgentsPerClusterMost},
                          options.cluster_agents, wanted.cluster_agents));
  // Each is at most 2^20, 2^20 and 2^9: no overflow.
  const std::uint64_t places = wanted.sectors * wanted.clusters * wanted.cluster_agents;
  if (places > kMaxAgents) {
    return fail(
        Errc::bad_input,
        fmt::format("--sectors {} and --clusters {} of {} agents: room for {}, the most is {}",
                    wanted.sectors, wanted.clusters, wanted.cluster_agents, places, kMaxAgents));
  }
  MESH_CHECK_OK(put_count({"--agents", 1, places}, options.agents, wanted.agents));
  MESH_CHECK_OK(put_count({"--stations", 1, kMaxStations}, options.stations, wanted.stations));
  if (!options.wait.empty()) {
    MESH_TRY(wanted.wait, wait_policy_of(options.wait));
  }
  if (!options.cpu.empty()) {
    MESH_TRY(const std::uint64_t cpu, whole_number({"--cpu", 0, 1'023}, options.cpu));
    wanted.cpu = static_cast<int>(cpu);
  }
  MESH_CHECK_OK(put_ms({"--reconnect-ms", 0, kMsMax}, options.reconnect_ms, wanted.reconnect));
  MESH_CHECK_OK(put_ms({"--stuck-ms", 1, kMsMax}, options.stuck_ms, wanted.stuck_after));
  if (!options.name.empty()) {  // what is typed is meant: also beside a file's directory
    wanted.name = options.name;
    wanted.directory.clear();
  }
  if (!options.directory.empty()) wanted.directory = options.directory;
  if (!options.store.empty()) wanted.conflicts.store = options.store;
  if (!options.spill.empty()) wanted.conflicts.spill = options.spill;
  if (options.allow_live_chaos) wanted.allow_live_chaos = true;
  return wanted;
}

// The file and what was typed, now and again. Asked by main() and by the control thread.
class Wanted {
 public:
  Wanted(const Options& options, engine::Configuration configuration)
      : options_(options), configuration_(std::move(configuration)) {}

  Result<engine::Reload> read_again() {
    const std::lock_guard lock(mutex_);
    MESH_TRY(const engine::Configuration now, read_options(options_));
    MESH_TRY(const engine::EngineOptions checked, engine::engine_options(now));
    static_cast<void>(checked);
    engine::Reload reload = engine::reload(configuration_, now);
    // What waits for a restart goes on being said until there is one.
    configuration_ = engine::with_tuning_of(configuration_, now);
    return reload;
  }

 private:
  const Options& options_;
  std::mutex mutex_;
  engine::Configuration configuration_;  // as the engine runs
};

void say(Console& console, const std::string& what) {
  console.err << fmt::format("mesh up: {}\n", printable(what));
}

void reload(engine::Engine& engine, Wanted& wanted, Console& console) {
  const auto again = wanted.read_again();
  if (!again) {
    console.err << fmt::format("mesh up: nothing is changed\n{}\n", again.error().sentence);
    return;
  }
  if (const Status done = engine.retune(again->tuning); !done) {
    return say(console, done.error().sentence);
  }
  for (const std::string& what : again->applied) say(console, what);
  for (const std::string& what : again->waiting) say(console, "needs a restart: " + what);
}

Result<ExitCode> run(const Options& options, Console& console) {
  MESH_TRY(const engine::Configuration configuration, read_options(options));
  if (!options.spill.empty() && configuration.conflicts.store.empty())
    return fail(Errc::bad_input, "--spill: is for --store, which is not given");
  MESH_TRY(engine::EngineOptions engine_options, engine::engine_options(configuration));
  MESH_TRY(engine_options.directory, mesh_directory(configuration.directory, configuration.name));
  engine_options.fresh = options.fresh;
  const bool has_file = !options.file.empty();
  Wanted wanted(options, configuration);
  std::optional<ReloadSignal> reload_signal;
  if (has_file) {
    engine_options.read_again = [&wanted] { return wanted.read_again(); };
    MESH_TRY(ReloadSignal installed, ReloadSignal::create());
    reload_signal.emplace(std::move(installed));
  }
  MESH_TRY(const StopSignals stop, StopSignals::create());
  MESH_TRY(const auto engine, engine::Engine::start(engine_options));
  const engine::Engine::Report& report = engine->report();
  for (const auto* const sentences : {&report.dropped, &report.adopted, &report.threads}) {
    for (const std::string& what : *sentences) say(console, what);
  }
  if (engine_options.allow_live_chaos)
    say(console, "faults may be set on purpose, at agents that have the capability chaos=allowed");
  console.out << fmt::format("up: {}, room for {} agents and {} stations\n",
                             printable(engine->directory()), engine_options.size.agents,
                             engine_options.size.stations);
  console.out.flush();
  while (!stop.requested() && !engine->wait_for_down(kLookAtSignals)) {
    if (reload_signal && reload_signal->take()) reload(*engine, wanted, console);
  }
  engine->stop();
  console.out << "down\n";
  return ExitCode::done;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  const auto add = [&command](const char* name, std::string& value, const char* what,
                              const char* type) {
    return command.add_option(name, value, what)->type_name(type);
  };
  add("--config", options->file,
      "a file that says all of this, and more (mesh config); default: none", "FILE");
  add("--agents", options->agents,
      "the most there can be; default: room for sectors x clusters x 30", "N");
  add("--sectors", options->sectors, "groups of clusters", "N")->default_str("100");
  add("--cluster-agents", options->cluster_agents, "agents in each cluster", "A")
      ->default_str("30");
  add("--clusters", options->clusters, "clusters in each sector", "C")->default_str("10");
  add("--stations", options->stations, "attached processes, at most", "M")->default_str("128");
  add("--dir", options->directory, "the mesh's directory; default: that of --name", "DIR");
  add("--name", options->name, "the mesh's name, where --dir is not given", "NAME")
      ->default_str(kDefaultMeshName);
  add("--wait", options->wait, "spin, adaptive or park", "POLICY")->default_str("adaptive");
  add("--cpu", options->cpu, "the engine's own; default: none", "CPU");
  add("--reconnect-ms", options->reconnect_ms,
      "how long stations of a killed engine are waited for, in ms", "MS")
      ->default_str("2000");
  add("--stuck-ms", options->stuck_ms,
      "a station that reads nothing for so long, in ms, is evicted", "MS")
      ->default_str("10000");
  add("--store", options->store,
      "records conflicts there: a file (SQLite) or postgresql://...; default: nowhere", "WHERE");
  add("--spill", options->spill, "keeps them while the store is away; default: FILE.spill", "FILE");
  command.add_flag("--fresh", options->fresh, "begins anew, and says what it drops");
  command.add_flag("--allow-live-chaos", options->allow_live_chaos,
                   "faults may be set on purpose, at agents that agree; not in production");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_up

Verb up_verb() { return {"up", "runs an engine in the foreground", &of_up::declare}; }

}  // namespace mesh::tools
