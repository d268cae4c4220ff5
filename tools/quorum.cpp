// mesh quorum: what to do with so many READY, CONFLICT and TRANSIT. Needs no mesh.
#include "sched/quorum.hpp"

#include <algorithm>
#include <limits>
#include <memory>
#include <ostream>
#include <string>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "sched/share.hpp"
#include "tools/option_values.hpp"
#include "tools/quorum_json.hpp"
#include "tools/text.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_quorum {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kCountMax = std::numeric_limits<std::uint32_t>::max();
constexpr const char* kFooter = R"(
Of all responses, in this order:
  PROCEED            enough are ready, and conflicts are within bound
  WAIT               not enough are ready, and too many are in transit: extend the window
  RESOLVE_CONFLICTS  conflicts are over bound
  RETRY              anything else: adjust the compensation
A rate that is exactly a threshold satisfies it. Confidence is the ready rate less half
the conflict rate, and means something when it proceeds. Exit code 0 whatever the
decision; 1: no responses, so nothing to decide by.

Examples:
  mesh quorum --ready 95 --conflict 5 --transit 0
  mesh quorum --ready 28 --conflict 0 --transit 2 --ready-min 0.9 --json
)";

struct Options {
  std::string ready;
  std::string conflict;
  std::string transit;
  std::string ready_min = "0.95";
  std::string conflict_max = "0.05";
  std::string transit_max = "0.10";
  bool json = false;
};

Result<std::uint32_t> count(const char* option, const std::string& text) {
  MESH_TRY(const std::uint64_t value, whole_number({option, 0, kCountMax}, text));
  return static_cast<std::uint32_t>(value);
}

Result<sched::Share> share(const char* option, const std::string& text) {
  const auto value = parse_number(text);
  if (value) {
    if (const auto made = sched::make_share(*value)) return *made;
  }
  return fail(Errc::bad_input,
              fmt::format("{} {}: must be a number from 0 to 1", option, in_quotes(text)));
}

double number_of(sched::Share share) { return static_cast<double>(share.ppm) / sched::kShareOne; }

Result<ExitCode> run(const Options& options, Console& console) {
  sched::QuorumCounts counts;
  MESH_TRY(counts.ready, count("--ready", options.ready));
  MESH_TRY(counts.conflict, count("--conflict", options.conflict));
  MESH_TRY(counts.transit, count("--transit", options.transit));
  sched::QuorumThresholds thresholds;
  MESH_TRY(thresholds.ready_min, share("--ready-min", options.ready_min));
  MESH_TRY(thresholds.conflict_max, share("--conflict-max", options.conflict_max));
  MESH_TRY(thresholds.transit_max, share("--transit-max", options.transit_max));
  MESH_TRY(const sched::QuorumVerdict verdict, sched::trinary_quorum(counts, thresholds));
  Json report = quorum_json(verdict);
  report.update({{"responses", counts.total()},
                 {"ready", counts.ready},
                 {"conflict", counts.conflict},
                 {"transit", counts.transit},
                 {"ready_rate", sched::rate(counts.ready, counts.total())},
                 {"conflict_rate", sched::rate(counts.conflict, counts.total())},
                 {"transit_rate", sched::rate(counts.transit, counts.total())},
                 {"ready_min", number_of(thresholds.ready_min)},
                 {"conflict_max", number_of(thresholds.conflict_max)},
                 {"transit_max", number_of(thresholds.transit_max)}});
  if (options.json) {
    console.out << report.dump(2) << '\n';
  } else if (report["confidence"].is_null()) {
    console.out << verdict.sentence << '\n';
  } else {
    console.out << fmt::format("{}; confidence {}\n", verdict.sentence, verdict.confidence);
  }
  return ExitCode::done;
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  const auto add_count = [&](const char* name, std::string& value, const char* about) {
    command.add_option(name, value, about)->required()->type_name("N");
  };
  add_count("--ready", options->ready, "arrived and integrated");
  add_count("--conflict", options->conflict, "arrived, and cannot integrate");
  add_count("--transit", options->transit, "outcome unknown");
  const auto add_share = [&](const char* name, std::string& value, const char* about) {
    command.add_option(name, value, about)->capture_default_str()->type_name("SHARE");
  };
  add_share("--ready-min", options->ready_min, "at least so many ready");
  add_share("--conflict-max", options->conflict_max, "at most so many in conflict");
  add_share("--transit-max", options->transit_max, "more in transit than this: wait");
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

}  // namespace
}  // namespace of_quorum

nlohmann::ordered_json quorum_json(const sched::QuorumVerdict& verdict) {
  std::string decision(sched::name_of(verdict.decision));
  std::transform(decision.begin(), decision.end(), decision.begin(), [](char letter) {
    return letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
  });
  const bool proceeds = verdict.decision == sched::QuorumDecision::kProceed;
  return {{"decision", decision},
          {"confidence",
           proceeds ? nlohmann::ordered_json(verdict.confidence) : nlohmann::ordered_json(nullptr)},
          {"sentence", verdict.sentence}};
}

Verb quorum_verb() {
  return {"quorum", "what to do with so many ready, conflict, transit; needs no mesh",
          &of_quorum::declare};
}

}  // namespace mesh::tools
