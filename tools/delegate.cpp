// mesh find-best, delegate, ask: work and questions for the agents that fit.
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <nlohmann/json.hpp>

#include "engine/acting.hpp"
#include "tools/acting.hpp"
#include "tools/option_values.hpp"
#include "tools/text.hpp"
#include "tools/text_table.hpp"
#include "tools/verb.hpp"

namespace mesh::tools {
namespace of_delegate {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kMillisecondsMax = 86'400'000;
constexpr std::uint64_t kQuorumMillisecondsMax = 3'600'000;

constexpr const char* kFindBestFooter = R"(
The agents with the lowest impedance score that are active, routable and have all of
the capabilities, mesh-wide, lowest first; ties: the lower row. Reads the table: nobody
is sent anything.

Exit code 0: as many as asked for, 1: fewer.

Examples:
  mesh find-best --capability vision
  mesh find-best --capability vision --count 5 --max-score 200 --json
)";

constexpr const char* kDelegateFooter = R"(
Sends the task to the agent that fits best: the lowest score of those that are active,
routable and capable. Where it is refused, answered CONFLICT, declined, or not answered
within --timeout, it goes to the next, until one is READY or --attempts have failed.
--to agent NAME asks that one alone. An agent that did not answer in time may still do
the task: a task has to bear being done twice.

Exit code 0: one did it, 1: none, or nobody fits.

Examples:
  mesh delegate 'index shard 7'
  mesh delegate 'index shard 7' --to class D --capability vision --timeout 2000
  mesh delegate 'print it' --to agent printer --json
)";

constexpr const char* kAskFooter = R"(
Asks a random sample of the routable agents, waits until all have answered or --timeout
is over, and counts equal answers together. CONFLICT answers stand apart. --seed gives
the same sample of the same agents again; without it one is drawn, and said.

With --cluster N that cluster's lead asks all others of it, in its own name, once it is
READY itself; a lead that dies while it is asked is replaced. What they say is judged as a
quorum: PROCEED, WAIT, RESOLVE_CONFLICTS or RETRY. Who was sent the question and is silent
is TRANSIT; who is away, held back or too slow for --timeout is not asked. The lead has
--lead-timeout, the others --timeout, 2000 ms unless it is given.

Exit code 0: at least one was READY, 1: none was, or nobody fits; with --cluster 0: PROCEED,
and half of the cluster are READY.

Examples:
  mesh ask 'which version are you?'
  mesh ask 'ready for 2.0?' --sample 50 --capability deploy --json
  mesh ask 'ready for 2.0?' --cluster 12
)";

struct Options {
  WhichMesh which;
  std::string text;
  std::vector<std::string> to;
  std::vector<std::string> capabilities;
  std::string count = "1";
  std::string max_score = "500";
  std::string sample = "100";
  std::string seed;
  std::string attempts = "3";
  std::string timeout_ms = "30000";
  std::string cluster;
  std::string lead_timeout_ms = "1000";
  const CLI::App* command = nullptr;  // to see which were given
  std::string priority = "1";
  bool json = false;
};

Result<ExitCode> run_find_best(const Options& options, Console& console) {
  MESH_TRY(const std::uint64_t count, whole_number({"--count", 1, 256}, options.count));
  MESH_TRY(const std::uint64_t most, whole_number({"--max-score", 0, 1'000}, options.max_score));
  MESH_TRY(const Json answer,
           ask_find_best(options.which, {.capabilities = options.capabilities,
                                         .count = static_cast<std::uint32_t>(count),
                                         .max_score = static_cast<std::uint32_t>(most)}));
  if (options.json) {
    console.out << answer.dump(2) << '\n';
  } else {
    write_find_best(answer, console.out);
  }
  return answer.value("agents", Json::array()).size() == count ? ExitCode::done : ExitCode::failed;
}

// "best", "class D", "agent printer"; the spec's "a class, an agent" by themselves: "D" is a class.
Status read_to(const std::vector<std::string>& to, DelegateWanted& wanted) {
  if (to.empty() || (to.size() == 1 && to[0] == "best")) return {};
  if (to.size() == 2 && to[0] == "class") {
    MESH_TRY(const sched::AgentClass checked, class_letter("--to class", to[1]));
    static_cast<void>(checked);
    wanted.agent_class = to[1];
    return {};
  }
  if (to.size() == 2 && to[0] == "agent") {
    wanted.agent = to[1];
    return {};
  }
  std::string typed;
  for (const std::string& word : to) typed += (typed.empty() ? "" : " ") + word;
  return fail(Errc::bad_input,
              fmt::format("--to {}: is best, class A to F, or agent NAME", in_quotes(typed)));
}

Result<ExitCode> run_delegate(const Options& options, Console& console) {
  DelegateWanted wanted{.task = options.text, .capabilities = options.capabilities};
  MESH_CHECK_OK(read_to(options.to, wanted));
  if (!wanted.agent.empty() && !wanted.capabilities.empty())
    return fail(Errc::bad_input, "--to agent NAME is that one, whatever it can: no --capability");
  MESH_TRY(wanted.attempts,
           whole_number({"--attempts", 1, engine::kAttemptsMax}, options.attempts));
  MESH_TRY(wanted.timeout_ms, whole_number({"--timeout", 1, kMillisecondsMax}, options.timeout_ms));
  MESH_TRY(const Json answer, ask_delegate(options.which, wanted));
  if (options.json) {
    console.out << answer.dump(2) << '\n';
  } else {
    write_delegate(answer, console.out);
  }
  return answer.value("done", false) ? ExitCode::done : ExitCode::failed;
}

Result<ExitCode> run_ask_cluster(const Options& options, Console& console) {
  const auto given = [&](const char* option) { return options.command->count(option) != 0; };
  for (const char* const option : {"--sample", "--seed", "--capability"})
    if (given(option))
      return fail(Errc::bad_input,
                  fmt::format("--cluster asks all of its agents: it has no {}", option));
  QuorumWanted wanted{.question = options.text};
  MESH_TRY(wanted.priority, whole_number({"--priority", 0, 3}, options.priority));
  MESH_TRY(wanted.cluster, whole_number({"--cluster", 0, UINT32_MAX}, options.cluster));
  MESH_TRY(wanted.lead_timeout_ms,
           whole_number({"--lead-timeout", 1, kQuorumMillisecondsMax}, options.lead_timeout_ms));
  if (given("--timeout")) {
    MESH_TRY(wanted.timeout_ms,
             whole_number({"--timeout", 1, kQuorumMillisecondsMax}, options.timeout_ms));
  }
  MESH_TRY(const Json answer, ask_quorum(options.which, wanted));
  if (options.json) {
    console.out << answer.dump(2) << '\n';
  } else {
    write_quorum(answer, console.out);
  }
  return answer.value("status", "") == "SUCCESS" ? ExitCode::done : ExitCode::failed;
}

Result<ExitCode> run_ask(const Options& options, Console& console) {
  if (!options.cluster.empty()) return run_ask_cluster(options, console);
  SampleWanted wanted{.question = options.text, .capabilities = options.capabilities};
  MESH_TRY(wanted.sample, whole_number({"--sample", 1, engine::kSampleMax}, options.sample));
  MESH_TRY(wanted.timeout_ms, whole_number({"--timeout", 1, kMillisecondsMax}, options.timeout_ms));
  wanted.seed = std::random_device()();
  if (!options.seed.empty()) {
    MESH_TRY(wanted.seed, whole_number({"--seed", 0, UINT64_MAX}, options.seed));
  }
  MESH_TRY(const Json answer, ask_sample(options.which, wanted));
  if (options.json) {
    console.out << answer.dump(2) << '\n';
  } else {
    write_sample(answer, console.out);
  }
  return answer.value("ready", 0) > 0 ? ExitCode::done : ExitCode::failed;
}

std::shared_ptr<Options> declare_common(CLI::App& command) {
  auto options = std::make_shared<Options>();
  declare_which_mesh(command, options->which);
  command
      .add_option("--capability", options->capabilities,
                  "that an agent must have; may be given again; default: none")
      ->type_name("NAME")
      ->expected(1)
      ->take_all();
  command.add_flag("--json", options->json, "one JSON object");
  return options;
}

void declare_timeout(CLI::App& command, Options& options, const char* meaning) {
  command.add_option("--timeout,--timeout-ms", options.timeout_ms, meaning)
      ->capture_default_str()
      ->type_name("MS");
}

RunVerb declare_find_best(CLI::App& command) {
  const auto options = declare_common(command);
  command.add_option("--count", options->count, "how many")->capture_default_str()->type_name("N");
  command.add_option("--max-score", options->max_score, "the highest score that still fits")
      ->capture_default_str()
      ->type_name("SCORE");
  command.footer(kFindBestFooter);
  return [options](Console& console) { return run_find_best(*options, console); };
}

RunVerb declare_delegate(CLI::App& command) {
  const auto options = declare_common(command);
  command.add_option("task", options->text, "what the agent is sent")
      ->required()
      ->type_name("TASK");
  command.add_option("--to", options->to, "best, class A to F, or agent NAME; default: best")
      ->expected(1, 2)
      ->type_name("WHOM");
  command.add_option("--attempts", options->attempts, "agents that it is given to, at most")
      ->capture_default_str()
      ->type_name("N");
  declare_timeout(command, *options, "how long each has, in ms");
  command.footer(kDelegateFooter);
  return [options](Console& console) { return run_delegate(*options, console); };
}

RunVerb declare_ask(CLI::App& command) {
  const auto options = declare_common(command);
  command.add_option("question", options->text, "what they are asked")
      ->required()
      ->type_name("QUESTION");
  command.add_option("--sample", options->sample, "how many are asked")
      ->capture_default_str()
      ->type_name("N");
  command.add_option("--seed", options->seed, "of the sample; default: another each time")
      ->type_name("SEED");
  options->command = &command;
  command
      .add_option("--cluster", options->cluster,
                  "instead: all of this cluster, by its lead; default: a sample")
      ->type_name("N");
  command
      .add_option("--lead-timeout", options->lead_timeout_ms, "with --cluster: the lead's, in ms")
      ->capture_default_str()
      ->type_name("MS");
  command.add_option("--priority", options->priority, "with --cluster: 0 background to 3 critical")
      ->capture_default_str()
      ->type_name("N");
  declare_timeout(command, *options, "how long they have, in ms");
  command.footer(kAskFooter);
  return [options](Console& console) { return run_ask(*options, console); };
}

}  // namespace
}  // namespace of_delegate

Answered ask_find_best(const WhichMesh& which, const BestWanted& wanted) {
  return ask_engine(which, {{"op", "find-best"},
                            {"require", wanted.capabilities},
                            {"count", wanted.count},
                            {"max_score", wanted.max_score}});
}

void write_find_best(const nlohmann::ordered_json& answer, std::ostream& out) {
  const nlohmann::ordered_json agents = answer.value("agents", nlohmann::ordered_json::array());
  if (agents.empty()) {
    out << "no agent that is active and routable fits\n";
    return;
  }
  table_of(agents).write(out);
}

Answered ask_delegate(const WhichMesh& which, const DelegateWanted& wanted) {
  MESH_CHECK_OK(check_utf8("the task", wanted.task));
  MESH_CHECK_OK(check_utf8("the agent", wanted.agent));
  nlohmann::ordered_json request = {{"op", "delegate"},
                                    {"text", wanted.task},
                                    {"require", wanted.capabilities},
                                    {"attempts", wanted.attempts},
                                    {"timeout_ms", wanted.timeout_ms}};
  if (!wanted.agent.empty()) request["agent"] = wanted.agent;
  if (!wanted.agent_class.empty()) request["class"] = wanted.agent_class;
  return ask_engine(which, request);
}

void write_delegate(const nlohmann::ordered_json& answer, std::ostream& out) {
  for (const nlohmann::ordered_json& attempt :
       answer.value("attempts", nlohmann::ordered_json::array())) {
    const std::string why = attempt.value("sentence", "");
    out << fmt::format("{}: {} after {:.1f} ms{}\n", printable(attempt.value("agent", "")),
                       printable(attempt.value("end", "")), attempt.value("took_ms", 0.0),
                       why.empty() ? "" : fmt::format(" ({})", printable(why)));
  }
  if (!answer.value("done", false)) {
    out << "nobody did it\n";
    return;
  }
  const std::string body = answer.value("body", "");
  if (!body.empty()) out << printable(body) << '\n';
}

Answered ask_quorum(const WhichMesh& which, const QuorumWanted& wanted) {
  MESH_CHECK_OK(check_utf8("the question", wanted.question));
  return ask_engine(which, {{"op", "ask"},
                            {"text", wanted.question},
                            {"cluster", wanted.cluster},
                            {"lead_timeout_ms", wanted.lead_timeout_ms},
                            {"timeout_ms", wanted.timeout_ms},
                            {"priority", wanted.priority}});
}

void write_quorum(const nlohmann::ordered_json& answer, std::ostream& out) {
  const auto count = [&](const char* key) { return answer.value(key, std::uint64_t{0}); };
  out << fmt::format("cluster {}, led by {} ({}): {}\n", count("cluster"),
                     printable(answer.value("lead", "")), printable(answer.value("lead_step", "")),
                     printable(answer.value("sentence", "")));
  out << fmt::format("{} of {} asked: {} ready, {} conflict, {} in transit; {:.1f} ms\n",
                     count("sent"), count("targeted"), count("ready"), count("conflict"),
                     count("transit"), answer.value("took_ms", 0.0));
  for (const nlohmann::ordered_json& one :
       answer.value("not_ready", nlohmann::ordered_json::array()))
    out << fmt::format("  {}: {}\n", printable(one.value("agent", "")),
                       printable(one.value("state", "")));
}

Answered ask_sample(const WhichMesh& which, const SampleWanted& wanted) {
  MESH_CHECK_OK(check_utf8("the question", wanted.question));
  return ask_engine(which, {{"op", "ask"},
                            {"text", wanted.question},
                            {"require", wanted.capabilities},
                            {"sample", wanted.sample},
                            {"seed", wanted.seed},
                            {"timeout_ms", wanted.timeout_ms}});
}

namespace of_delegate {
namespace {
void write_groups(const Json& groups, const char* what, std::ostream& out) {
  for (const Json& group : groups) {
    std::string names;
    for (const Json& name : group.value("agents", Json::array()))
      names += (names.empty() ? "" : ", ") + printable(name.get<std::string>());
    const auto count = group.value("count", std::size_t{0});
    const bool more = count > group.value("agents", Json::array()).size();
    out << fmt::format("{:>6}  {}{}{}  ({}{})\n", count, what, in_quotes(group.value("answer", "")),
                       group.value("answer_cut", false) ? "..." : "", names, more ? ", ..." : "");
  }
}
}  // namespace
}  // namespace of_delegate

void write_sample(const nlohmann::ordered_json& answer, std::ostream& out) {
  const auto count = [&](const char* key) { return answer.value(key, std::uint64_t{0}); };
  out << fmt::format(
      "{} asked: {} ready, {} conflict, {} declined, {} unanswered, {} refused; {:.1f} ms, seed "
      "{}\n",
      count("asked"), count("ready"), count("conflict"), count("declined"), count("unanswered"),
      count("refused"), answer.value("took_ms", 0.0), count("seed"));
  of_delegate::write_groups(answer.value("groups", nlohmann::ordered_json::array()), "", out);
  of_delegate::write_groups(answer.value("conflicts", nlohmann::ordered_json::array()), "CONFLICT ",
                            out);
  const std::uint64_t left_out = count("groups_left_out") + count("conflicts_left_out");
  if (left_out != 0) out << fmt::format("        ... and {} other answers\n", left_out);
}

Verb find_best_verb() {
  return {"find-best", "the agents that fit best", &of_delegate::declare_find_best};
}
Verb delegate_verb() {
  return {"delegate", "a task for the agent that fits best", &of_delegate::declare_delegate};
}
Verb ask_verb() { return {"ask", "one question to a sample of agents", &of_delegate::declare_ask}; }

}  // namespace mesh::tools
