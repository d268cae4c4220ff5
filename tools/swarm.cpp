// mesh swarm: agents to test a mesh with, in real processes.
#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "sched/pinning.hpp"
#include "shm/system_error.hpp"
#include "tools/child_process.hpp"
#include "tools/cpu_choice.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/option_values.hpp"
#include "tools/swarm_fleet.hpp"
#include "tools/swarm_process.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_swarm {
namespace {

constexpr const char* kFooter = R"(
Attaches to a mesh and enrols N agents in P processes, which answer what they are sent
until they are stopped (Ctrl-C). How they behave is drawn from the seed, the same on
every machine and in however many processes.

  mixed  classes A-F by the default shares; the RTT's mean is uniform in the class's
         range (A 5-20, B 50-150, C 100-300, D 200-500, E 10-800 ms, F 5 s to 2 h); a
         delivery is held back by a log-normal delay of mean RTT / 2, then worked on for
         the class's base time with a bias of the agent's own; one in a hundred changes
         its bias half-way. CONFLICT 1 %, silent 0.5 %.
  local  class A alone, no delay and no work: measures the mesh itself. CONFLICT 1 %,
         silent 0.5 %.

Examples:
  mesh swarm --agents 30000 --processes 8
  mesh swarm --agents 300 --processes 1 --profile local --seed 7 --dir /dev/shm/mine
)";

// A turn costs some 20 us, most of it the kernel's. Where processes share a processor, each has it
// more seldom.
constexpr Nanos kTurnSpacing{100 * kNsPerUs};

struct Options {
  SwarmCommandText text;
  std::string directory;
  std::string name = kDefaultMeshName;
  std::string prefix = "swarm";
  std::string change_at = "10";
  // Of a process that another `mesh` has started.
  std::string share;
  std::string parent;
  std::string avoid_cpu;
};

struct Request {
  SwarmCommand command;
  SwarmProcessOptions process;
};

Result<Request> read_options(const Options& options) {
  Request request;
  MESH_TRY(request.command, read_swarm_command(options.text));
  MESH_TRY(const std::uint64_t change_at,
           whole_number({"--change-at", 0, UINT32_MAX}, options.change_at));
  request.process.population = {.seed = request.command.seed,
                                .profile = request.command.profile,
                                .change_at = static_cast<std::uint32_t>(change_at)};
  // A name is at most kAgentNameBytes: the longest index has seven digits, and there is a dash.
  if (options.prefix.empty() || options.prefix.size() > kAgentNameBytes - 8 ||
      !is_utf8(options.prefix)) {
    return fail(Errc::bad_input, fmt::format("--prefix {}: must be 1 to {} bytes of UTF-8",
                                             in_quotes(options.prefix), kAgentNameBytes - 8));
  }
  request.process.prefix = options.prefix;
  MESH_TRY(request.process.directory, mesh_directory(options.directory, options.name));
  return request;
}

Status write_ids(const std::vector<AgentId>& ids) {
  const auto* bytes = reinterpret_cast<const char*>(ids.data());
  std::size_t left = ids.size() * sizeof(AgentId);
  while (left > 0) {
    const ssize_t wrote = write(kReportFd, bytes, left);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return shm::system_failure("report the enrolled agents", errno);
    bytes += wrote;
    left -= static_cast<std::size_t>(wrote);
  }
  close(kReportFd);
  return {};
}

// This process is one share of a swarm.
Result<ExitCode> run_share(const Options& options, Request request) {
  MESH_TRY(const std::uint64_t parent, whole_number({"--parent", 1, INT32_MAX}, options.parent));
  MESH_CHECK_OK(end_with_parent(static_cast<pid_t>(parent)));
  const std::uint32_t processes = request.command.processes;
  MESH_TRY(const std::uint64_t share, whole_number({"--share", 0, processes - 1}, options.share));
  request.process.share =
      swarm_share(request.command.agents, processes, static_cast<std::uint32_t>(share));
  if (!options.avoid_cpu.empty()) {
    MESH_TRY(const std::uint64_t cpu, whole_number({"--avoid-cpu", 0, 1'023}, options.avoid_cpu));
    MESH_TRY(const std::vector<int> cpus, cpus_without(static_cast<int>(cpu)));
    MESH_CHECK_OK(stay_on(cpus));
    request.process.fifo_priority = 1;  // the engine is elsewhere: nothing of the mesh's waits
  }
  MESH_TRY(const std::vector<int> cpus, sched::allowed_cpus());
  request.process.spacing =
      kTurnSpacing * std::max<std::size_t>(1, (processes + cpus.size() - 1) / cpus.size());
  MESH_TRY(const auto process, SwarmProcess::start(request.process));
  // Not before: until it has attached a signal may end it at once.
  MESH_TRY(const StopSignals stop, StopSignals::create());
  MESH_CHECK_OK(write_ids(process->ids()));
  MESH_CHECK_OK(process->run(stop));
  return ExitCode::done;
}

Result<ExitCode> run_all(const Request& request, Console& console) {
  MESH_TRY(const StopSignals stop, StopSignals::create());
  MESH_TRY(SwarmFleet fleet,
           SwarmFleet::start(request.command, {.directory = request.process.directory,
                                               .prefix = request.process.prefix,
                                               .change_at = request.process.population.change_at,
                                               .engine_cpu = std::nullopt}));
  MESH_TRY(const auto ids, fleet.wait_for_ids(stop.fd()));
  if (!stop.requested()) {
    console.out << fmt::format("{} agents in {} processes: profile {}, seed {}\n", ids.size(),
                               request.command.processes, name_of(request.command.profile),
                               request.command.seed);
    console.out.flush();
    MESH_CHECK_OK(fleet.wait_for_an_end(std::array{stop.fd()}));
  }
  return ExitCode::done;
}

Result<ExitCode> run(const Options& options, Console& console) {
  MESH_TRY(Request request, read_options(options));
  if (!options.share.empty()) return run_share(options, std::move(request));
  return run_all(request, console);
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  options->text.agents = "300";
  options->text.processes = "1";
  declare_swarm_options(command, options->text);
  command.add_option("--dir", options->directory, "the mesh's directory; default: that of --name")
      ->type_name("DIR");
  command.add_option("--name", options->name, "the mesh's name, where --dir is not given")
      ->capture_default_str()
      ->type_name("NAME");
  command.add_option("--prefix", options->prefix, "of the agents' names: PREFIX-0, PREFIX-1, ...")
      ->capture_default_str()
      ->type_name("PREFIX");
  command
      .add_option("--change-at", options->change_at,
                  "deliveries after which one agent in a hundred changes its bias")
      ->capture_default_str()
      ->type_name("D");
  const std::string hidden;  // of no group: not in the help
  command.add_option("--share", options->share)->group(hidden);
  command.add_option("--parent", options->parent)->group(hidden);
  command.add_option("--avoid-cpu", options->avoid_cpu)->group(hidden);
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_swarm

Verb swarm_verb() {
  return {"swarm", "agents to test a mesh with, in real processes", &of_swarm::declare};
}

}  // namespace mesh::tools
