// mesh conflicts, mesh resolve: what is recorded of conflicts, and a person's decision.
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>

#include "engine/reports/conflict_report.hpp"
#include "engine/running_conflicts.hpp"
#include "engine/store/store.hpp"
#include "sched/conflict_names.hpp"
#include "tools/console_request.hpp"
#include "tools/option_values.hpp"
#include "tools/text.hpp"
#include "tools/text_table.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_conflicts {
namespace {

namespace reports = engine::reports;
using reports::Json;

constexpr const char* kFooter = R"(
list    the newest first, each with what has come of it; every condition given must hold
verify  walks the whole chain of records, and names the first that was changed, taken
        out, moved or put in. --head POSITION:HASH is one that you wrote down earlier:
        without it a tail that was cut off cannot be seen

The store is read itself: --store, or the one that the running engine says it has.

Exit code 0: done, and with verify the chain is whole; 1: it is not.

Examples:
  mesh conflicts
  mesh conflicts --state for_person --json
  mesh conflicts verify --store conflicts.db
)";

struct Options {
  WhichMesh which;
  std::string what = "list";
  std::string store;
  std::string agent;
  std::string type;
  std::string state;
  std::string from;
  std::string until;
  std::string limit = "50";
  std::string head;
  bool json = false;
};

// Seconds since 1970, as `date +%s` prints them.
Result<std::optional<WireTime>> time_of(const char* option, const std::string& text) {
  if (text.empty()) return std::optional<WireTime>();
  MESH_TRY(const std::uint64_t seconds, whole_number({option, 0, 4'000'000'000}, text));
  return std::optional(static_cast<WireTime>(static_cast<std::int64_t>(seconds) * kNsPerSecond));
}

Result<engine::RecordQuery> query_of(const Options& options) {
  engine::RecordQuery query{.kind = engine::StoredKind::conflict};
  MESH_TRY(const std::uint64_t limit,
           whole_number({"--limit", 1, engine::kQueryLimitMax}, options.limit));
  query.limit = static_cast<std::uint32_t>(limit);
  if (!options.agent.empty()) {
    MESH_TRY(const std::uint64_t agent, whole_number({"--agent", 0, UINT64_MAX}, options.agent));
    query.agent = static_cast<AgentId>(agent);
  }
  // CLI11 has let nothing else through.
  if (!options.type.empty()) query.type = reports::conflict_type_of(options.type);
  if (!options.state.empty()) query.state_now = reports::conflict_state_of(options.state);
  MESH_TRY(query.from, time_of("--from", options.from));
  MESH_TRY(query.until, time_of("--until", options.until));
  return query;
}

Result<std::unique_ptr<engine::Store>> open(const Options& options) {
  std::string where = options.store;
  if (where.empty()) {
    MESH_TRY(const Json status, ask_engine(options.which, {{"op", "status"}}));
    const Json conflicts = status.value("conflicts", Json());
    if (!conflicts.is_object())
      return fail(Errc::unsupported,
                  "this engine records no conflicts: it was started without --store");
    where = conflicts.value("store", "");
  }
  return engine::open_store({.where = where});
}

Result<ExitCode> run_list(const Options& options, engine::Store& store, Console& console) {
  MESH_TRY(const engine::RecordQuery query, query_of(options));
  MESH_TRY(const auto found, reports::find_conflicts(store, query));
  const Json report = reports::conflicts_json(found);
  if (options.json)
    console.out << reports::text_of(report, 2) << '\n';
  else if (found.empty())
    console.out << "none\n";
  else
    table_of(report.front()).write(console.out);
  return ExitCode::done;
}

Result<std::optional<engine::ChainHead>> head_of(const std::string& text) {
  if (text.empty()) return std::optional<engine::ChainHead>();
  const auto head = reports::chain_head_of(text);
  if (head) return std::optional(*head);
  return fail(Errc::bad_input,
              fmt::format("--head {}: is POSITION:HASH, as verify prints them", in_quotes(text)));
}

Result<ExitCode> run_verify(const Options& options, engine::Store& store, Console& console) {
  MESH_TRY(const auto kept, head_of(options.head));
  MESH_TRY(const engine::Verification seen, store.verify(kept));
  const Json report = reports::verification_json(seen);
  console.out << (options.json ? reports::text_of(report, 2) + '\n' : lines_of(report));
  return seen.whole ? ExitCode::done : ExitCode::failed;
}

Result<ExitCode> run(const Options& options, Console& console) {
  MESH_TRY(const engine::RecordQuery query, query_of(options));
  MESH_TRY(const auto head, head_of(options.head));  // nothing is opened before all is right
  static_cast<void>(query);
  static_cast<void>(head);
  MESH_TRY(const auto store, open(options));
  return options.what == "verify" ? run_verify(options, *store, console)
                                  : run_list(options, *store, console);
}

RunVerb declare(CLI::App& command) {
  const auto options = std::make_shared<Options>();
  declare_which_mesh(command, options->which);
  command.add_option("what", options->what, "list or verify")
      ->check(CLI::IsMember({"list", "verify"}))
      ->capture_default_str()
      ->type_name("WHAT");
  const auto add = [&](const char* name, std::string& value, const char* what, const char* type) {
    return command.add_option(name, value, what)->type_name(type);
  };
  add("--store", options->store, "a file, or postgresql://...; default: the running engine's",
      "WHERE");
  add("--agent", options->agent, "of this agent, by its handle; default: of all", "ID");
  add("--type", options->type, "of this type; default: of all", "TYPE")
      ->check(CLI::IsMember(std::vector<std::string>(sched::kConflictTypeNames.begin() + 1,
                                                     sched::kConflictTypeNames.end())));
  add("--state", options->state, "of this state; default: of all", "STATE")
      ->check(CLI::IsMember({"open", "resolving", "for_person", "resolved"}));
  add("--from", options->from, "at or after, in seconds since 1970; default: the first", "SECONDS");
  add("--until", options->until, "before, in seconds since 1970; default: now", "SECONDS");
  add("--limit", options->limit, "at most so many", "N")->capture_default_str();
  add("--head", options->head, "verify: must be on the chain; default: none", "POSITION:HASH");
  command.add_flag("--json", options->json, "one JSON object");
  command.footer(kFooter);
  return [options](Console& console) { return run(*options, console); };
}

struct Decision {
  WhichMesh which;
  std::string conflict;
  std::string text;
  bool json = false;
};

Result<ExitCode> run_resolve(const Decision& decision, Console& console) {
  MESH_TRY(const auto checked, engine::subject_of(decision.conflict));
  static_cast<void>(checked);
  if (!is_utf8(decision.text) || decision.text.empty())
    return fail(Errc::bad_input,
                fmt::format("{}: a decision is a text in UTF-8", in_quotes(decision.text)));
  MESH_TRY(const Json answer, ask_engine(decision.which, {{"op", "resolve"},
                                                          {"conflict", decision.conflict},
                                                          {"decision", decision.text}}));
  console.out << (decision.json ? answer.dump(2) + '\n' : lines_of(answer));
  return ExitCode::done;
}

RunVerb declare_resolve(CLI::App& command) {
  const auto decision = std::make_shared<Decision>();
  declare_which_mesh(command, decision->which);
  command.add_option("conflict", decision->conflict, "its id, as mesh conflicts prints it")
      ->required()
      ->type_name("ID");
  command.add_option("decision", decision->text, "what was decided")->required()->type_name("TEXT");
  command.add_flag("--json", decision->json, "one JSON object");
  command.footer(
      "\nRecords a person's decision, and closes the conflict: one that waits for a person, or\n"
      "whose turn has not come.\n\nExamples:\n"
      "  mesh resolve 00000193f2a1b3c40001000200000007 'the second sensor is right'\n");
  return [decision](Console& console) { return run_resolve(*decision, console); };
}

}  // namespace
}  // namespace of_conflicts

Verb conflicts_verb() {
  return {"conflicts", "what is recorded of conflicts", &of_conflicts::declare};
}
Verb resolve_verb() {
  return {"resolve", "a person's decision about a conflict", &of_conflicts::declare_resolve};
}

}  // namespace mesh::tools
