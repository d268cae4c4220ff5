// mesh up: an engine in the foreground.
#include <memory>
#include <ostream>
#include <string>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "engine/engine.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/option_values.hpp"
#include "tools/stop_signals.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace {

constexpr const char* kFooter = R"(
Runs until mesh down, Ctrl-C or SIGTERM, and then takes the mesh's files away. Stations
attach over the socket in its directory; without --dir that is
$XDG_RUNTIME_DIR/mesh30k/NAME, else /dev/shm/mesh30k-UID/NAME.
Room for agents is --agents, else sectors x clusters x 30.

An engine that was killed leaves its mesh as it is: the next mesh up goes on with it, and
its stations come back by themselves. What is there and cannot be gone on with, because it
is damaged or has another size, is left alone and said; --fresh drops it.

  --wait spin      a core of its own, never given up: the least delay
         adaptive  spins, yields, then sleeps until it is woken
         park      sleeps at once: the least processor time

Examples:
  mesh up
  mesh up --agents 30000 --stations 128 --cpu 3
  mesh up --sectors 2 --clusters 10 --dir /dev/shm/mine --wait park
  mesh up --fresh
)";

constexpr Nanos kLookAtSignals{100 * kNsPerMs};
constexpr std::uint64_t kMsMax = 3'600'000;

struct Options {
  std::string agents;
  std::string sectors = "100";
  std::string clusters = "10";
  std::string stations = "128";
  std::string directory;
  std::string name = kDefaultMeshName;
  std::string wait = "adaptive";
  std::string cpu;
  std::string reconnect_ms = "2000";
  std::string stuck_ms = "10000";
  bool fresh = false;
};

Result<queues::WaitPolicy> wait_policy_of(const std::string& text) {
  using queues::WaitPolicy;
  for (const WaitPolicy policy : {WaitPolicy::kSpin, WaitPolicy::kAdaptive, WaitPolicy::kPark}) {
    if (text == queues::name_of(policy)) return policy;
  }
  return fail(Errc::bad_input,
              fmt::format("--wait {}: is spin, adaptive or park", in_quotes(text)));
}

Result<engine::EngineOptions> read_options(const Options& options) {
  engine::EngineOptions engine;
  MESH_TRY(const std::uint64_t sectors,
           whole_number({"--sectors", 1, kMaxAgents}, options.sectors));
  MESH_TRY(const std::uint64_t clusters,
           whole_number({"--clusters", 1, kMaxAgents}, options.clusters));
  const std::uint64_t places = sectors * clusters * engine::kAgentsPerCluster;
  if (places > kMaxAgents) {
    return fail(Errc::bad_input,
                fmt::format("--sectors {} and --clusters {}: room for {} agents, the most is {}",
                            sectors, clusters, places, kMaxAgents));
  }
  engine.size.agents = places;
  if (!options.agents.empty()) {
    MESH_TRY(engine.size.agents, whole_number({"--agents", 1, places}, options.agents));
  }
  MESH_TRY(engine.size.stations, whole_number({"--stations", 1, kMaxStations}, options.stations));
  // One station may hold all of the mesh's agents.
  engine.size.agents_per_station = engine.size.agents;
  MESH_TRY(engine.wait, wait_policy_of(options.wait));
  if (!options.cpu.empty()) {
    MESH_TRY(const std::uint64_t cpu, whole_number({"--cpu", 0, 1'023}, options.cpu));
    engine.cpu = static_cast<int>(cpu);
  }
  // Where it may; and not one that never sleeps: it would take the core from everyone for ever.
  if (engine.wait != queues::WaitPolicy::kSpin) engine.fifo_priority = 1;
  MESH_TRY(const std::uint64_t reconnect_ms,
           whole_number({"--reconnect-ms", 0, kMsMax}, options.reconnect_ms));
  engine.reconnect = Nanos{static_cast<std::int64_t>(reconnect_ms) * kNsPerMs};
  MESH_TRY(const std::uint64_t stuck_ms, whole_number({"--stuck-ms", 1, kMsMax}, options.stuck_ms));
  engine.stuck_after = Nanos{static_cast<std::int64_t>(stuck_ms) * kNsPerMs};
  engine.fresh = options.fresh;
  MESH_TRY(engine.directory, mesh_directory(options.directory, options.name));
  return engine;
}

Result<ExitCode> run(const Options& options, Console& console) {
  MESH_TRY(const engine::EngineOptions engine_options, read_options(options));
  MESH_TRY(const StopSignals stop, StopSignals::create());
  MESH_TRY(const auto engine, engine::Engine::start(engine_options));
  const engine::Engine::Report& report = engine->report();
  for (const auto* const sentences : {&report.dropped, &report.adopted, &report.threads}) {
    for (const std::string& what : *sentences) {
      console.err << fmt::format("mesh up: {}\n", printable(what));
    }
  }
  console.out << fmt::format("up: {}, room for {} agents and {} stations\n",
                             printable(engine->directory()), engine_options.size.agents,
                             engine_options.size.stations);
  console.out.flush();
  while (!stop.requested() && !engine->wait_for_down(kLookAtSignals)) {
  }
  engine->stop();
  console.out << "down\n";
  return ExitCode::done;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  command.add_option("--agents", options->agents, "the most there can be")->type_name("N");
  command.add_option("--sectors", options->sectors, "groups of clusters")
      ->capture_default_str()
      ->type_name("S");
  command.add_option("--clusters", options->clusters, "groups of 30 agents in each sector")
      ->capture_default_str()
      ->type_name("C");
  command.add_option("--stations", options->stations, "attached processes, at most")
      ->capture_default_str()
      ->type_name("M");
  command.add_option("--dir", options->directory, "the mesh's directory")->type_name("DIR");
  command.add_option("--name", options->name, "the mesh's name, where --dir is not given")
      ->capture_default_str()
      ->type_name("NAME");
  command.add_option("--wait", options->wait, "spin, adaptive or park")
      ->capture_default_str()
      ->type_name("POLICY");
  command.add_option("--cpu", options->cpu, "the engine's own")->type_name("CPU");
  command
      .add_option("--reconnect-ms", options->reconnect_ms,
                  "that stations of a killed engine are waited for")
      ->capture_default_str()
      ->type_name("MS");
  command
      .add_option("--stuck-ms", options->stuck_ms,
                  "a station that reads nothing for so long is evicted")
      ->capture_default_str()
      ->type_name("MS");
  command.add_flag("--fresh", options->fresh, "begins anew, and says what it drops");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace

Verb up_verb() { return {"up", "runs an engine in the foreground", &declare}; }

}  // namespace mesh::tools
