#include "engine/acting_jobs.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/console_view.hpp"
#include "engine/control_jobs.hpp"
#include "engine/rules_keeper.hpp"
#include "engine/station/control_protocol.hpp"
#include "engine/who_json.hpp"

namespace mesh::engine {

Result<std::vector<Engine::RoutedAround>> route_agents_around(EngineLoop& loop,
                                                              std::span<const std::string> names,
                                                              bool around) {
  std::vector<Engine::RoutedAround> agents;
  agents.reserve(names.size());
  for (const std::string& name : names) {
    const auto id = loop.find(name);
    if (!id) return fail(Errc::no_such_agent, "route-around: no agent is called '" + name + "'");
    agents.push_back({name, *id, false});
  }
  for (Engine::RoutedAround& agent : agents) {
    MESH_TRY(agent.is_changed, loop.route_around(agent.id, around));
  }
  return agents;
}

namespace {

constexpr std::size_t kRulesListed = 256;  // of names without escapes a packet holds so many

void put_rules(nlohmann::json& object, const std::vector<console::RoutingRule>& rules) {
  nlohmann::json list = nlohmann::json::array();
  for (const console::RoutingRule& rule : rules) {
    if (list.size() == kRulesListed) break;
    nlohmann::json one = {{"capability", rule.capability},
                          {"effect", rule.allow ? "allow" : "deny"}};
    if (rule.agent.empty()) {
      one["class"] =
          std::string(1, sched::kAgentClasses[static_cast<std::size_t>(rule.agent_class)].letter);
    } else {
      one["agent"] = rule.agent;
    }
    list.push_back(std::move(one));
  }
  object["rules_left_out"] = rules.size() - list.size();
  object["rules"] = std::move(list);
}

}  // namespace

class ControlServer::ActingJobs::RouteAround final : public RequestJob {
 public:
  struct What {
    std::vector<std::string> names;
    bool around = true;
  };
  RouteAround(ControlServer& server, std::uint64_t connection, What what)
      : RequestJob(server, connection), what_(std::move(what)) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime /*now*/) override {
    auto done = route_agents_around(scheduler.loop(), what_.names, what_.around);
    if (done) {
      agents_ = std::move(*done);
    } else {
      fail_with(done.error());
    }
    return std::nullopt;
  }

 private:
  [[nodiscard]] std::string result() const override {
    nlohmann::json list = nlohmann::json::array();
    for (const Engine::RoutedAround& agent : agents_) {
      list.push_back({{"agent", agent.name},
                      {"id", static_cast<std::uint64_t>(agent.id)},
                      {"changed", agent.is_changed}});
    }
    return dump({{"ok", true}, {"routed_around", what_.around}, {"agents", std::move(list)}});
  }
  What what_;
  std::vector<Engine::RoutedAround> agents_;
};

class ControlServer::ActingJobs::Freeze final : public RequestJob {
 public:
  Freeze(ControlServer& server, std::uint64_t connection, FreezeRequest request)
      : RequestJob(server, connection), request_(request) {}
  static FreezeOn mesh_of(ControlServer& server) {
    return {server.options_.size, server.options_.table, server.files_.path()};
  }
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    auto done = freeze_agents(scheduler.loop(), request_, now);
    if (done) {
      frozen_ = std::move(*done);
    } else {
      fail_with(done.error());
    }
    return std::nullopt;
  }

 private:
  [[nodiscard]] std::string result() const override {
    const FreezeReport report = finish_freeze(mesh_of(server()), request_, frozen_);
    nlohmann::json object = {{"ok", true},
                             {"frozen", report.frozen},
                             {"agents", report.agents},
                             {"changed", report.changed},
                             {"messages_waiting", report.messages},
                             {"snapshot", nullptr}};
    if (report.snapshot) {
      object["snapshot"] = {{"path", report.snapshot->path},
                            {"agents", report.snapshot->agents},
                            {"bytes", report.snapshot->bytes},
                            {"xxh3", hex_of(report.snapshot->checksum)},
                            {"created_unix_ns", report.snapshot->created_unix_ns}};
    } else {
      object["no_snapshot"] = report.no_snapshot;
    }
    if (!report.frozen) object["gone"] = report.gone;
    return dump(object);
  }
  FreezeRequest request_;
  EngineLoop::Frozen frozen_;
};

// The newest rules, whoever changed them.
class ControlServer::ActingJobs::Rules final : public RequestJob {
 public:
  struct What {
    const RulesKeeper* keeper = nullptr;
    bool is_change = false;
  };
  Rules(ControlServer& server, std::uint64_t connection, What what)
      : RequestJob(server, connection), what_(what) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime /*now*/) override {
    scheduler.loop().obey(*what_.keeper->rules());
    return std::nullopt;
  }

 private:
  [[nodiscard]] std::string result() const override {
    nlohmann::json object = {{"ok", true}, {"changed", what_.is_change}};
    put_rules(object, what_.keeper->rules()->list());
    return dump(object);
  }
  What what_;
};

namespace {

using nlohmann::json;

constexpr std::size_t kRestOfPacket = 1'024;
constexpr std::size_t kFoundMax = 256;
constexpr std::size_t kAnswerTextMax = 200;

double ms_of(Nanos span) noexcept {
  return static_cast<double>(span.count()) / static_cast<double>(kNsPerMs);
}

Result<std::uint32_t> small_count(const json& object, const char* key, std::uint32_t otherwise) {
  if (!object.contains(key)) return otherwise;
  MESH_TRY(const std::uint64_t count, count_field(object, key));
  if (count <= UINT32_MAX) return static_cast<std::uint32_t>(count);
  return fail(Errc::bad_input, std::string("field '") + key + "': " + std::to_string(count));
}

json delegate_json(const DelegateReport& report) {
  json attempts = json::array();
  for (const console::Attempt& attempt : report.attempts) {
    json one = {{"agent", attempt.agent.name},
                {"end", console::name_of(attempt.end)},
                {"took_ms", ms_of(Nanos{attempt.took_ns})}};
    if (!attempt.sentence.empty()) one["sentence"] = attempt.sentence;
    attempts.push_back(std::move(one));
  }
  json object = {{"ok", true}, {"done", report.is_done}, {"took_ms", ms_of(report.took)}};
  if (report.answer) {
    object.update(answered_json(*report.answer));
    object["agent"] = report.attempts.back().agent.name;
  }
  object["attempts"] = std::move(attempts);
  return object;
}

// The first `most` of them.
json groups_json(const std::vector<console::AnswerGroup>& groups, std::size_t most) {
  json list = json::array();
  for (const console::AnswerGroup& group : groups) {
    if (list.size() == most) break;
    list.push_back({{"answer", group.answer.substr(0, kAnswerTextMax)},
                    {"answer_cut", group.answer.size() > kAnswerTextMax},
                    {"count", group.count},
                    {"agents", group.agents}});
  }
  return list;
}

// As many groups as a packet holds; how many were left out is said.
json sample_json(const SampleReport& report, std::uint64_t seed) {
  using console::AnswerKind;
  const auto groups = report.answers.groups();
  const auto conflicts = report.answers.conflicts();
  json object = {{"ok", true},
                 {"asked", report.asked},
                 {"ready", report.answers.count(AnswerKind::ready)},
                 {"conflict", report.answers.count(AnswerKind::conflict)},
                 {"declined", report.answers.count(AnswerKind::declined)},
                 {"unanswered", report.answers.count(AnswerKind::unanswered)},
                 {"refused", report.answers.count(AnswerKind::refused)},
                 {"seed", seed},
                 {"took_ms", ms_of(report.took)}};
  for (std::size_t most = kSampleMax;; most /= 2) {
    object["groups"] = groups_json(groups, most);
    object["conflicts"] = groups_json(conflicts, most);
    object["groups_left_out"] = groups.size() - object["groups"].size();
    object["conflicts_left_out"] = conflicts.size() - object["conflicts"].size();
    if (most == 0 || dump(object).size() <= kControlPacketBytes - kRestOfPacket) return object;
  }
}

}  // namespace

bool ControlServer::ActingJobs::knows(std::string_view op) noexcept {
  return op == "route-around" || op == "freeze" || op == "thaw" || begin_of(op) != nullptr;
}

// Of those that have one to themselves.
ControlServer::ActingJobs::Begin ControlServer::ActingJobs::begin_of(std::string_view op) noexcept {
  constexpr std::pair<std::string_view, Begin> kBegins[] = {
      {"find-best", &begin_find_best}, {"delegate", &begin_delegate}, {"ask", &begin_ask},
      {"pipeline", &begin_pipeline},   {"who", &begin_who},           {"rules", &begin_rules},
      {"scale", &begin_scale},         {"scaling", &begin_scaling},   {"chaos", &begin_chaos}};
  for (const auto& [name, begin] : kBegins)
    if (name == op) return begin;
  return nullptr;
}

Status ControlServer::ActingJobs::begin(ControlServer& server, const ConsoleRequest& request,
                                        const json& object) {
  if (const Begin begin = begin_of(request.op); begin != nullptr)
    return begin(server, request, object);
  if (request.op == "freeze" || request.op == "thaw") return begin_freeze(server, request, object);
  return begin_route_around(server, request, object);
}

ActingOn ControlServer::ActingJobs::mesh_of(ControlServer& server) {
  return {server.options_.size, server.options_.table, server.options_.rules->rules(),
          [&server](std::unique_ptr<Job> job) -> std::unique_ptr<Job> {
            server.post(std::move(job));
            return nullptr;
          },
          server.options_.reputation};
}

void ControlServer::ActingJobs::answer(ControlServer& server, std::uint64_t connection,
                                       const json& object) {
  Connection* const asked = server.find(connection);
  if (asked == nullptr) return;
  server.answer(*asked, dump(object));
  if (asked->is_broken) server.drop(connection);
}

Status ControlServer::ActingJobs::begin_route_around(ControlServer& server,
                                                     const ConsoleRequest& request,
                                                     const json& object) {
  RouteAround::What what;
  MESH_TRY(what.names, names_field(object, "agents"));
  if (what.names.empty())
    return fail(Errc::bad_input, "field 'agents': at least one name is expected");
  MESH_TRY(const bool undo, flag_field(object, "undo", false));
  what.around = !undo;
  server.post(std::make_unique<RouteAround>(server, request.connection, std::move(what)));
  return {};
}

Status ControlServer::ActingJobs::begin_find_best(ControlServer& server,
                                                  const ConsoleRequest& request,
                                                  const json& object) {
  MESH_TRY(const std::vector<std::string> capabilities, names_field(object, "require"));
  MESH_TRY(const std::uint32_t count, small_count(object, "count", 1));
  MESH_TRY(const std::uint32_t score_max, small_count(object, "max_score", health::kBestScoreMax));
  if (count > kFoundMax || score_max > health::kScoreMax)
    return fail(Errc::bad_input, "find-best: at most " + std::to_string(kFoundMax) +
                                     " agents, and a score of at most " +
                                     std::to_string(health::kScoreMax));
  MESH_TRY(const ConsoleView view, ConsoleView::over(server.options_.size, server.options_.table));
  health::HealthView::Wanted wanted{.count = count,
                                    .score_max = static_cast<std::uint16_t>(score_max)};
  MESH_TRY(wanted.capabilities, view.capabilities(capabilities));
  json list = json::array();
  const auto allowed = allowed_by(server.options_.rules->rules(), capabilities);
  for (const FoundAgent& found : view.find_best(wanted, allowed)) {
    list.push_back(
        {{"agent", found.name},
         {"score", found.score},
         {"class",
          std::string(1, sched::kAgentClasses[static_cast<std::size_t>(found.agent_class)].letter)},
         {"queue_depth", found.queue_depth},
         {"row", row_of(found.row)}});
  }
  answer(server, request.connection, {{"ok", true}, {"agents", std::move(list)}});
  return {};
}

Status ControlServer::ActingJobs::begin_delegate(ControlServer& server,
                                                 const ConsoleRequest& request,
                                                 const json& object) {
  DelegateRequest task;
  MESH_TRY(task.task, text_field(object, "text"));
  if (object.contains("agent")) {
    MESH_TRY(task.agent, text_field(object, "agent"));
  }
  if (object.contains("class")) {
    MESH_TRY(task.agent_class, class_field(object));
  }
  MESH_TRY(task.capabilities, names_field(object, "require"));
  MESH_TRY(task.patience, ms_field(object, "timeout_ms", task.patience));
  MESH_TRY(task.attempts, small_count(object, "attempts", task.attempts));
  return start_delegation(mesh_of(server), task,
                          [&server, number = request.connection](const DelegateReport& report) {
                            answer(server, number, delegate_json(report));
                          });
}

Status ControlServer::ActingJobs::begin_ask(ControlServer& server, const ConsoleRequest& request,
                                            const json& object) {
  if (object.contains("cluster")) return begin_quorum(server, request, object);
  SampleRequest question;
  MESH_TRY(question.question, text_field(object, "text"));
  MESH_TRY(question.capabilities, names_field(object, "require"));
  MESH_TRY(question.count, small_count(object, "sample", question.count));
  MESH_TRY(question.seed, count_field(object, "seed"));
  MESH_TRY(question.patience, ms_field(object, "timeout_ms", question.patience));
  return start_sample(
      mesh_of(server), question,
      [&server, number = request.connection, seed = question.seed](const SampleReport& report) {
        answer(server, number, sample_json(report, seed));
      });
}

Status ControlServer::ActingJobs::begin_who(ControlServer& server, const ConsoleRequest& request,
                                            const json& object) {
  WhoWanted wanted;
  MESH_TRY(wanted.agents, names_field(object, "agents"));
  if (object.contains("sector")) {
    MESH_TRY(wanted.sector, small_count(object, "sector", 0));
  }
  if (object.contains("cluster")) {
    MESH_TRY(wanted.cluster, small_count(object, "cluster", 0));
  }
  MESH_TRY(const WhoReport report, server.who(wanted));
  answer(server, request.connection, who_json(report));
  return {};
}

Status ControlServer::ActingJobs::begin_freeze(ControlServer& server, const ConsoleRequest& request,
                                               const json& object) {
  FreezeRequest wanted{.frozen = request.op == "freeze"};
  MESH_TRY(wanted.scope, scope_field(object));
  MESH_TRY(wanted.force, flag_field(object, "force", false));
  MESH_CHECK_OK(check_thaw(Freeze::mesh_of(server), wanted));
  server.post(std::make_unique<Freeze>(server, request.connection, wanted));
  return {};
}

Status ControlServer::ActingJobs::begin_rules(ControlServer& server, const ConsoleRequest& request,
                                              const json& object) {
  constexpr std::array<std::string_view, 3> kChanges = {"allow", "deny", "drop"};
  RulesKeeper& keeper = *server.options_.rules;
  if (!object.contains("change")) {
    json listed = {{"ok", true}};
    put_rules(listed, keeper.rules()->list());
    answer(server, request.connection, listed);
    return {};
  }
  MESH_TRY(const std::string change, text_field(object, "change"));
  const auto* const found = std::find(kChanges.begin(), kChanges.end(), change);
  if (found == kChanges.end())
    return fail(Errc::bad_input, "field 'change': allow, deny or drop is expected");
  console::RoutingRule rule;
  MESH_TRY(rule.capability, text_field(object, "capability"));
  if (object.contains("agent")) {
    MESH_TRY(rule.agent, text_field(object, "agent"));
    if (rule.agent.empty()) return fail(Errc::bad_input, "field 'agent': a name is expected");
  } else {
    MESH_TRY(rule.agent_class, class_field(object));
  }
  MESH_TRY(const bool is_change,
           keeper.change(static_cast<console::RuleChange>(found - kChanges.begin()), rule));
  server.post(std::make_unique<Rules>(server, request.connection, Rules::What{&keeper, is_change}));
  return {};
}

}  // namespace mesh::engine
