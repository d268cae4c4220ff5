#include "tools/console_doer.hpp"

#include <algorithm>
#include <random>
#include <sstream>
#include <utility>

#include <fmt/format.h>

#include "tools/acting.hpp"
#include "tools/inspect_report.hpp"
#include "tools/mesh_directory.hpp"
#include "tools/place_report.hpp"
#include "tools/status_report.hpp"
#include "tools/text.hpp"

namespace mesh::tools {
namespace {

using console::Act;
using console::ActKind;
using console::ScopeKind;
using Json = nlohmann::ordered_json;

constexpr std::uint64_t kHorizonMs = 1'500;
constexpr std::uint64_t kWindowMs = 500;
constexpr std::uint64_t kAnswerWithinMs = 30'000;

template <class Write>
std::string text_by(Write&& write, const Json& answer) {
  std::ostringstream out;
  write(answer, out);
  return out.str();
}

void add_once(std::vector<std::string>& names, const Json& name) {
  if (!name.is_string()) return;
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

// Those that wait, whom they are stuck on, and that they could be routed around.
console::Findings findings_of(const Json& who) {
  console::Findings findings;
  Act around{.kind = ActKind::route_around};
  for (const Json& agent : who.value("agents", Json::array())) {
    if (!agent.value("waiting_on", Json()).is_string()) continue;
    findings.agents.push_back(agent.value("agent", ""));
    add_once(findings.holders, agent.value("stuck_on", Json()));
    if (!agent.value("routed_around", false)) around.agents.push_back(findings.agents.back());
  }
  if (!around.agents.empty()) findings.offers.push_back(std::move(around));
  return findings;
}

Result<Done> do_who(const WhichMesh& which, const Act& act) {
  WhoAsked asked{.agents = act.agents};
  if (act.scope.kind == ScopeKind::sector) asked.sector = act.scope.number;
  if (act.scope.kind == ScopeKind::cluster) asked.cluster = act.scope.number;
  MESH_TRY(const Json answer, ask_who(which, asked));
  Done done{answer, text_by(write_who, answer), findings_of(answer)};
  if (!act.agents.empty()) done.findings.offers.clear();
  return done;
}

Result<Done> do_look(const WhichMesh& which, const Act& act) {
  MESH_TRY(const Json place, report_place(which, act.scope));
  MESH_TRY(Done done, do_who(which, act));
  done.text = sentence_of_place(place) + "\n" + done.text;
  done.answer["place"] = place;
  return done;
}

Result<Done> do_health(const WhichMesh& which) {
  MESH_TRY(Json place, report_place(which, {}));
  std::string text = sentence_of_place(place) + "\n";
  return Done{std::move(place), std::move(text)};
}

Result<Done> do_status(const WhichMesh& which) {
  MESH_TRY(Json answer, ask_engine(which, {{"op", "status"}}));
  std::string text = sentence_of_status(answer) + '\n';
  return Done{std::move(answer), std::move(text)};
}

Result<Done> do_inspect(const WhichMesh& which, const Act& act) {
  MESH_TRY(const std::string directory, mesh_directory(which.directory, which.name));
  MESH_TRY(const ObservedMesh mesh, ObservedMesh::open(directory));
  AgentFilter filter;
  filter.name = act.agents.front();
  MESH_TRY(const Json report, inspect_agents(mesh, filter));
  return Done{report, lines_of(report.value("agents", Json::array()).at(0))};
}

Result<Done> do_send(const WhichMesh& which, const Act& act) {
  MESH_CHECK_OK(check_utf8("the text", act.text));
  MESH_CHECK_OK(check_utf8("the name", act.agents.front()));
  MESH_TRY(Json answer, ask_engine(which, {{"op", "send"},
                                           {"to", act.agents.front()},
                                           {"text", act.text},
                                           {"wait", true},
                                           {"timeout_ms", kAnswerWithinMs}}));
  Done done{.answer = answer, .text = printable(act.agents.front())};
  const std::string state = answer.value("state", "");
  if (!answer.value("answered", false) || answer.value("expired", false)) {
    done.text += fmt::format(": no answer within {}\n", age_text(kAnswerWithinMs));
  } else {
    done.text += fmt::format(": {} after {:.1f} ms\n", printable(state),
                             answer.value("processing_us", 0.0) / 1'000);
    const std::string body = answer.value("body", "");
    if (!body.empty()) done.text += printable(body) + "\n";
  }
  done.has_succeeded = state == "ready";
  return done;
}

// A broadcast that is acknowledged, and a scatter, are one.
Result<Done> do_to_all(const WhichMesh& which, const Act& act) {
  MESH_CHECK_OK(check_utf8("the text", act.text));
  MESH_TRY(Json answer, ask_engine(which, {{"op", "scatter"},
                                           {"text", act.text},
                                           {"horizon_ms", kHorizonMs},
                                           {"window_ms", kWindowMs},
                                           {"timeout_ms", kHorizonMs + kWindowMs}}));
  std::string text = fmt::format("{} sent to, {} acknowledged, {} in conflict, {} silent\n",
                                 answer.value("sent", 0U), answer.value("ready", 0U),
                                 answer.value("conflict", 0U), answer.value("straggler", 0U));
  const bool has_succeeded = answer.value("verdict", "") == "success";
  return Done{std::move(answer), std::move(text), {}, has_succeeded};
}

Result<Done> do_context(const WhichMesh& which, const Act& act) {
  MESH_TRY(const Json answer, ask_contexts(which, act.agents.front()));
  return Done{answer, text_by(write_contexts, answer)};
}

// By its lead.
Result<Done> do_ask_cluster(const WhichMesh& which, const Act& act) {
  MESH_TRY(const Json answer,
           ask_quorum(which, {.question = act.text, .cluster = act.scope.number}));
  return Done{answer, text_by(write_quorum, answer), {}, answer.value("status", "") == "SUCCESS"};
}

Result<Done> do_pipeline(const WhichMesh& which, const Act& act) {
  MESH_TRY(const Json answer, ask_pipeline(which, {.agents = act.agents, .body = act.text}));
  return Done{answer, text_by(write_pipeline, answer), {}, answer.value("status", "") == "SUCCESS"};
}

// How far they are is for a later look to say.
Result<Done> do_scale(const WhichMesh& which, const Act& act) {
  ScaleWanted wanted{.count = act.count.value_or(0)};
  if (!act.agent_class.empty()) wanted.agent_class = act.agent_class;
  MESH_TRY(const Json answer, ask_scale(which, wanted));
  return Done{answer, text_by(write_scale, answer)};
}

std::vector<std::string> required_by(const Act& act) {
  if (act.capability.empty()) return {};
  return {act.capability};
}

Result<Done> do_find_best(const WhichMesh& which, const Act& act) {
  MESH_TRY(const Json answer, ask_find_best(which, {.capabilities = required_by(act),
                                                    .count = act.count.value_or(1)}));
  Done done{answer, text_by(write_find_best, answer)};
  for (const Json& agent : answer.value("agents", Json::array()))
    done.findings.agents.push_back(agent.value("agent", ""));
  done.has_succeeded = done.findings.agents.size() == act.count.value_or(1);
  return done;
}

Result<Done> do_delegate(const WhichMesh& which, const Act& act) {
  DelegateWanted wanted{
      .task = act.text, .agent_class = act.agent_class, .capabilities = required_by(act)};
  if (!act.agents.empty()) wanted.agent = act.agents.front();
  MESH_TRY(const Json answer, ask_delegate(which, wanted));
  return Done{answer, text_by(write_delegate, answer), {}, answer.value("done", false)};
}

Result<Done> do_ask(const WhichMesh& which, const Act& act) {
  SampleWanted wanted{.question = act.text, .capabilities = required_by(act)};
  if (act.count) wanted.sample = *act.count;
  wanted.seed = std::random_device()();
  MESH_TRY(const Json answer, ask_sample(which, wanted));
  return Done{answer, text_by(write_sample, answer), {}, answer.value("ready", 0U) > 0};
}

Result<Done> do_route_around(const WhichMesh& which, const Act& act) {
  MESH_TRY(const Json answer,
           ask_route_around(which, act.agents, act.kind == ActKind::undo_route_around));
  return Done{answer, text_by(write_route_around, answer)};
}

Result<Done> do_freeze(const WhichMesh& which, const Act& act) {
  const bool frozen = act.kind == ActKind::freeze;
  MESH_TRY(const Json answer, ask_freeze(which, {.frozen = frozen, .scope = act.scope}));
  const bool is_kept = !frozen || answer.value("snapshot", Json()).is_object();
  return Done{answer, text_by(write_freeze, answer), {}, is_kept};
}

Result<Done> do_cascade(const WhichMesh& which, const Act& act) {
  MESH_CHECK_OK(check_utf8("the text", act.text));
  const char* const strategy = act.kind == ActKind::cascade_parallel         ? "parallel"
                               : act.kind == ActKind::cascade_priority_first ? "priority_first"
                                                                             : "wave";
  MESH_TRY(Json answer,
           ask_engine(which, {{"op", "cascade"}, {"text", act.text}, {"strategy", strategy}}));
  const std::string status = answer.value("status", "");
  const Json agents = answer.value("agents", Json::object());
  std::string text =
      fmt::format("{}: {} sent to, {} ready, {} in conflict, in {:.0f} ms\n", printable(status),
                  agents.value("sent", 0U), agents.value("ready", 0U), agents.value("conflict", 0U),
                  answer.value("total_ms", 0.0));
  return Done{std::move(answer), std::move(text), {}, status == "SUCCESS"};
}

Result<Done> do_heal(const WhichMesh& which, const Act& act) {
  MESH_TRY(const Json answer, ask_heal(which, {.scope = act.scope}));
  const bool is_well = answer.value("agents_well", 0U) == answer.value("agents_ailing", 0U);
  return Done{answer, text_by(write_heal, answer), {}, is_well};
}

Result<Done> do_backup(const WhichMesh& which, const Act& act) {
  MESH_TRY(const Json answer, ask_backup(which, act.text));
  return Done{answer, text_by(write_backup, answer)};
}

// What can be done about it is offered where something is wrong.
Result<Done> do_incident(const WhichMesh& which, const Act& act) {
  const bool acts = act.kind == ActKind::act_on_incident;
  MESH_TRY(const Json answer, ask_incident(which, {.sector = act.scope.number, .act = acts}));
  Done done{answer, text_by(write_incident, answer), {}, is_mended(answer)};
  for (const Json& agent : answer.value("ailing", Json::array()))
    done.findings.agents.push_back(agent.value("agent", ""));
  if (!acts && !done.has_succeeded)
    done.findings.offers.push_back({.kind = ActKind::act_on_incident, .scope = act.scope});
  return done;
}

Result<Done> do_rules(const WhichMesh& which, const Act& act) {
  RuleWanted wanted{.capability = act.capability, .agent_class = act.agent_class};
  if (!act.agents.empty()) wanted.agent = act.agents.front();
  if (act.kind == ActKind::allow_rule) wanted.change = "allow";
  if (act.kind == ActKind::deny_rule) wanted.change = "deny";
  if (act.kind == ActKind::drop_rule) wanted.change = "drop";
  MESH_TRY(const Json answer, ask_rules(which, wanted));
  return Done{answer, text_by(write_rules, answer)};
}

using Do = Result<Done> (*)(const WhichMesh& which, const Act& act);
constexpr std::pair<ActKind, Do> kDone[] = {
    {ActKind::status, [](const WhichMesh& which, const Act&) { return do_status(which); }},
    {ActKind::health, [](const WhichMesh& which, const Act&) { return do_health(which); }},
    {ActKind::look, &do_look},
    {ActKind::who, &do_who},
    {ActKind::inspect, &do_inspect},
    {ActKind::context, &do_context},
    {ActKind::find_best, &do_find_best},
    {ActKind::rules, &do_rules},
    {ActKind::incident, &do_incident},
    {ActKind::route_around, &do_route_around},
    {ActKind::undo_route_around, &do_route_around},
    {ActKind::freeze, &do_freeze},
    {ActKind::thaw, &do_freeze},
    {ActKind::delegate, &do_delegate},
    {ActKind::ask, &do_ask},
    {ActKind::ask_cluster, &do_ask_cluster},
    {ActKind::pipeline, &do_pipeline},
    {ActKind::send, &do_send},
    {ActKind::broadcast, &do_to_all},
    {ActKind::scatter, &do_to_all},
    {ActKind::cascade, &do_cascade},
    {ActKind::cascade_parallel, &do_cascade},
    {ActKind::cascade_priority_first, &do_cascade},
    {ActKind::heal, &do_heal},
    {ActKind::scale, &do_scale},
    {ActKind::backup, &do_backup},
    {ActKind::act_on_incident, &do_incident},
    {ActKind::allow_rule, &do_rules},
    {ActKind::deny_rule, &do_rules},
    {ActKind::drop_rule, &do_rules}};
static_assert(std::size(kDone) == static_cast<std::size_t>(ActKind::drop_rule) + 1);

}  // namespace

Result<Done> perform(const WhichMesh& which, const Act& act) {
  for (const auto& [kind, run] : kDone)
    if (kind == act.kind) return run(which, act);
  return fail(Errc::unsupported, "nobody here does that");
}

}  // namespace mesh::tools
