// mesh chaos: experiments that break things on purpose, in the simulator. Needs no mesh.
#include <algorithm>
#include <fstream>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "engine/simulation/chaos_repro.hpp"
#include "engine/simulation/chaos_scenarios.hpp"
#include "tools/chaos_report.hpp"
#include "tools/option_values.hpp"
#include "tools/read_file.hpp"
#include "tools/suggest.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_chaos {
namespace {

using engine::simulation::SimulatedExperiment;
using engine::simulation::SimulatedRun;
namespace scenarios = engine::simulation::scenarios;

constexpr std::uint64_t kSeedMax = INT64_MAX;
constexpr const char* kFooter = R"(
list    which scenarios, guards and faults there are, and which driver does which fault
run     plays a scenario by its name, or a plan from a file
replay  plays a plan from a file as it stands there
cover   plays all scenarios, or one, and says which states met which faults

A plan is a file that --write makes: a seed, the plan with its assertions and the guards that were
off. The same plan gives the same log hash on every machine. --without takes a guard away, to see
what it is worth; --shrink leaves out the faults that a failure does not need (ddmin), and plays
what is left.

Exit code 0: the hypothesis held; 1: it did not.

Examples:
  mesh chaos list
  mesh chaos run network-partition --seed 7
  mesh chaos run lossy-network --without retries --write failed.chaos
  mesh chaos replay failed.chaos --json
)";

struct Options {
  std::string what;
  std::string target;
  std::string seed;
  std::vector<std::string> without;
  std::string write_to;
  bool shrink = false;
  bool json = false;
};

template <class Named>
tl::unexpected<Error> unknown(std::string_view what, std::string_view typed,
                              std::span<const Named> known) {
  std::vector<std::string_view> names;
  for (const Named& one : known) names.push_back(one.name);
  const std::string_view meant = nearest(typed, names);
  return fail(Errc::bad_input,
              fmt::format("there is no {} {}{}; mesh chaos list shows them", what, in_quotes(typed),
                          meant.empty() ? "" : fmt::format(", did you mean {}?", meant)));
}

Result<SimulatedExperiment> read_plan(const std::string& path) {
  MESH_TRY(const std::string text, read_file(path));
  auto plan = engine::simulation::read_repro(text);
  if (plan) return std::move(*plan);
  return fail(Errc::bad_input, fmt::format("{}:{}: {}", printable(path), plan.error().detail,
                                           plan.error().sentence));
}

Result<SimulatedExperiment> chosen(const Options& options) {
  const auto known = scenarios::all();
  const auto found = std::find_if(known.begin(), known.end(),
                                  [&](const auto& one) { return one.name == options.target; });
  std::uint64_t seed = 1;
  if (!options.seed.empty()) {
    MESH_TRY(seed, whole_number({"--seed", 0, kSeedMax}, options.seed));
  }
  if (found != known.end()) return found->make(seed);
  const bool is_path = options.target.find_first_of("./") != std::string::npos;
  if (!is_path) return unknown<scenarios::Named>("scenario", options.target, known);
  MESH_TRY(SimulatedExperiment plan, read_plan(options.target));
  if (!options.seed.empty()) plan.plan.seed = plan.mesh.seed = seed;
  return plan;
}

Status weaken(const Options& options, SimulatedExperiment& experiment) {
  const auto known = scenarios::guards();
  for (const std::string& name : options.without) {
    const auto found =
        std::find_if(known.begin(), known.end(), [&](const auto& one) { return one.name == name; });
    if (found == known.end()) return unknown<scenarios::NamedGuard>("guard", name, known);
    found->in(experiment.mesh.guards) = false;
  }
  return {};
}

Status write_plan(const std::string& path, const SimulatedExperiment& experiment) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << engine::simulation::write_repro(experiment);
  file.close();
  if (file) return {};
  return fail(Errc::bad_input, fmt::format("--write {}: it cannot be written", in_quotes(path)));
}

// What a failure needs, and its run. `failed` did not hold.
Result<SimulatedRun> shrunk(SimulatedExperiment& experiment, Console& console) {
  const auto fails = [](const SimulatedExperiment& its) {
    const auto run = engine::simulation::run_experiment(its);
    return run && !run->has_held;
  };
  auto least = engine::simulation::shrink(experiment, fails);
  console.err << fmt::format("{} faults are left after {} runs\n", least.faults, least.runs);
  experiment = std::move(least.experiment);
  return engine::simulation::run_experiment(experiment);
}

Result<ExitCode> play(const Options& options, SimulatedExperiment experiment, Console& console) {
  MESH_CHECK_OK(weaken(options, experiment));
  auto run = engine::simulation::run_experiment(experiment);
  if (run && !run->has_held && options.shrink) run = shrunk(experiment, console);
  if (!run) return fail(Errc::bad_input, run.error().sentence);
  if (!options.write_to.empty()) MESH_CHECK_OK(write_plan(options.write_to, experiment));
  if (options.json)
    write_chaos_json({experiment, *run}, console.out);
  else
    write_chaos_text({experiment, *run}, console.out);
  return run->has_held ? ExitCode::done : ExitCode::failed;
}

// All scenarios, one after another.
Result<ExitCode> cover(const Options& options, Console& console) {
  std::uint64_t seed = 1;
  if (!options.seed.empty()) {
    MESH_TRY(seed, whole_number({"--seed", 0, kSeedMax}, options.seed));
  }
  engine::simulation::ChaosCoverage coverage;
  bool have_held = true;
  for (const scenarios::Named& one : scenarios::all()) {
    if (!options.target.empty() && one.name != options.target) continue;
    MESH_TRY(const SimulatedRun run, engine::simulation::run_experiment(one.make(seed)));
    coverage.add(run.coverage);
    if (!run.has_held) console.err << fmt::format("{}: not held\n", one.name);
    have_held = have_held && run.has_held;
  }
  if (options.json)
    write_coverage_json(coverage, console.out);
  else
    write_coverage_text(coverage, console.out);
  return have_held ? ExitCode::done : ExitCode::failed;
}

Result<ExitCode> run(const Options& options, Console& console) {
  if (options.what == "cover") return cover(options, console);
  if (options.what == "list") {
    if (options.json)
      write_faults_json(console.out);
    else
      write_faults_text(console.out);
    return ExitCode::done;
  }
  const bool is_replay = options.what == "replay";
  if (!is_replay && options.what != "run")
    return fail(Errc::bad_input,
                fmt::format("{}: list, run, replay or cover is expected", in_quotes(options.what)));
  if (options.target.empty())
    return fail(Errc::bad_input, is_replay ? "replay: a FILE is needed"
                                           : "run: the name of a scenario or a FILE is needed");
  if (!is_replay) {
    MESH_TRY(SimulatedExperiment experiment, chosen(options));
    return play(options, std::move(experiment), console);
  }
  const bool is_changed = !options.seed.empty() || !options.without.empty();
  if (is_changed)
    return fail(Errc::bad_input, "replay: the file says it all: no --seed, no --without");
  MESH_TRY(SimulatedExperiment plan, read_plan(options.target));
  return play(options, std::move(plan), console);
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  command.add_option("what", options->what, "list, run, replay or cover")
      ->required()
      ->type_name("WHAT");
  command
      .add_option("target", options->target,
                  "the name of a scenario, or a file; cover: default: all")
      ->type_name("SCENARIO|FILE");
  command.add_option("--seed", options->seed, "of everything that is drawn; default: 1")
      ->type_name("N");
  command
      .add_option("--without", options->without,
                  "a guard to take away, once or more often; default: none")
      ->type_name("GUARD");
  command.add_flag("--shrink", options->shrink, "of what did not hold: the faults that it takes");
  command
      .add_option("--write", options->write_to,
                  "the plan that was played, to be replayed; default: nowhere")
      ->type_name("FILE");
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_chaos

Verb chaos_verb() {
  return {"chaos", "experiments that break things on purpose, in the simulator",
          &of_chaos::declare};
}

}  // namespace mesh::tools
