#include "engine/control_json.hpp"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <span>

#include <nlohmann/json.hpp>

#include "engine/station/control_protocol.hpp"
#include "engine/station/delivery.hpp"
#include "sched/conflict_names.hpp"

namespace mesh::engine {
namespace {

using nlohmann::json;

constexpr double kMsMax = 86'400'000;  // a day
constexpr std::array<std::string_view, 6> kVerbs = {"observe", "orient", "decide",
                                                    "act",     "record", "sync"};

constexpr std::size_t kBodyTextMax = kControlPacketBytes - 1'024;  // the rest of a packet

double us_of(std::int64_t ns) noexcept { return static_cast<double>(ns) / kNsPerUs; }

tl::unexpected<Error> bad_field(const char* key, const std::string& expected) {
  return fail(Errc::bad_input, std::string("field '") + key + "': " + expected);
}

}  // namespace

Result<std::string> text_field(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return bad_field(key, "a text is expected");
  return found->get<std::string>();
}

Result<std::uint64_t> count_field(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned()) {
    return bad_field(key, "a whole number from 0 is expected");
  }
  return found->get<std::uint64_t>();
}

Result<double> number_field(const json& object, const char* key, double otherwise) {
  const auto found = object.find(key);
  if (found == object.end()) return otherwise;
  if (!found->is_number() || !std::isfinite(found->get<double>())) {
    return bad_field(key, "a number is expected");
  }
  return found->get<double>();
}

Result<bool> flag_field(const json& object, const char* key, bool otherwise) {
  const auto found = object.find(key);
  if (found == object.end()) return otherwise;
  if (!found->is_boolean()) return bad_field(key, "true or false is expected");
  return found->get<bool>();
}

Result<Nanos> ms_field(const json& object, const char* key, Nanos otherwise) {
  const double default_ms = static_cast<double>(otherwise.count()) / static_cast<double>(kNsPerMs);
  MESH_TRY(const double ms, number_field(object, key, default_ms));
  if (ms < 0 || ms > kMsMax) return bad_field(key, "0 to a day of milliseconds is expected");
  return Nanos{static_cast<std::int64_t>(ms * static_cast<double>(kNsPerMs))};
}

Result<sched::AgentClass> class_field(const json& object) {
  const auto found = object.find("class");
  if (found == object.end()) return sched::AgentClass::edge;
  if (found->is_number_unsigned() && found->get<std::uint64_t>() < sched::kAgentClassCount) {
    return static_cast<sched::AgentClass>(found->get<std::uint64_t>());
  }
  if (found->is_string()) {
    const auto text = found->get<std::string>();
    for (std::size_t i = 0; i < sched::kAgentClassCount; ++i) {
      if (text.size() == 1 && text[0] == sched::kAgentClasses[i].letter) {
        return static_cast<sched::AgentClass>(i);
      }
    }
  }
  return bad_field("class", "a letter from A to F, or 0 to 5, is expected");
}

Result<console::Scope> scope_field(const json& object) {
  MESH_TRY(const std::string kind, text_field(object, "scope"));
  if (kind == "mesh") return console::Scope{};
  if (kind != "sector" && kind != "cluster")
    return fail(Errc::bad_input, "field 'scope': mesh, sector or cluster is expected");
  std::uint64_t number = 0;
  if (object.contains("number")) {
    MESH_TRY(number, count_field(object, "number"));
  }
  if (number > UINT32_MAX)
    return fail(Errc::bad_input, "field 'number': " + std::to_string(number));
  return console::Scope{kind == "sector" ? console::ScopeKind::sector : console::ScopeKind::cluster,
                        static_cast<std::uint32_t>(number)};
}

Result<std::vector<std::string>> names_field(const json& object, const char* key) {
  std::vector<std::string> names;
  const auto found = object.find(key);
  if (found == object.end()) return names;
  if (!found->is_array() || found->size() > kCapabilities)
    return bad_field(key, "a list of at most " + std::to_string(kCapabilities) + " names");
  for (const json& name : *found) {
    if (!name.is_string()) return bad_field(key, "each is a text");
    names.push_back(name.get<std::string>());
  }
  return names;
}

Result<std::vector<NamedAgent>> agents_field(const json& object) {
  const auto found = object.find("agents");
  if (found == object.end() || !found->is_array() || found->empty() ||
      found->size() > kEnrolAgentsMax) {
    return bad_field("agents",
                     "a list of 1 to " + std::to_string(kEnrolAgentsMax) + " agents is expected");
  }
  std::vector<NamedAgent> agents;
  for (const json& one : *found) {
    if (!one.is_object()) return bad_field("agents", "each is an object with a name");
    MESH_TRY(std::string name, text_field(one, "name"));
    MESH_TRY(const sched::AgentClass agent_class, class_field(one));
    MESH_TRY(auto capabilities, names_field(one, "capabilities"));
    agents.push_back({std::move(name), agent_class, std::move(capabilities)});
  }
  return agents;
}

Result<sched::Verb> verb_field(const json& object, sched::Verb otherwise) {
  if (!object.contains("verb")) return otherwise;
  MESH_TRY(const std::string verb, text_field(object, "verb"));
  const auto* const found = std::find(kVerbs.begin(), kVerbs.end(), verb);
  if (found == kVerbs.end()) return bad_field("verb", "observe, orient, decide, act, record, sync");
  return static_cast<sched::Verb>(found - kVerbs.begin() + 1);
}

Result<sched::Priority> priority_field(const json& object, sched::Priority otherwise) {
  if (!object.contains("priority")) return otherwise;
  MESH_TRY(const std::uint64_t priority, count_field(object, "priority"));
  if (priority >= kPriorities) return bad_field("priority", "0 to 3 is expected");
  return static_cast<sched::Priority>(priority);
}

Result<OperationRequest> operation_of(const json& object, std::string& body) {
  OperationRequest request;
  MESH_TRY(request.horizon, ms_field(object, "horizon_ms", request.horizon));
  MESH_TRY(request.window, ms_field(object, "window_ms", request.window));
  MESH_TRY(request.timeout, ms_field(object, "timeout_ms", request.timeout));
  MESH_TRY(request.ready_min, number_field(object, "ready_min", request.ready_min));
  MESH_TRY(request.coverage_min, number_field(object, "coverage_min", request.coverage_min));
  MESH_TRY(const double weight, number_field(object, "weight", request.weight));
  request.weight = static_cast<float>(weight);
  MESH_TRY(request.verb, verb_field(object, request.verb));
  MESH_TRY(request.priority, priority_field(object, request.priority));
  MESH_TRY(request.ttl, ms_field(object, "ttl_ms", request.ttl));
  MESH_TRY(request.comparable, flag_field(object, "comparable", false));
  if (object.contains("text")) {
    MESH_TRY(body, text_field(object, "text"));
    request.body = std::as_bytes(std::span(body));
  }
  return request;
}

std::string dump(const json& object) {
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string error_json(const Error& error) {
  return dump({{"error",
                {{"code", std::string(name_of(error.code))},
                 {"detail", error.detail},
                 {"sentence", error.sentence}}}});
}

namespace {

json compared_json(const OutcomesCompared& compared) {
  if (compared.verdict == OutcomesCompared::Verdict::not_compared) return nullptr;
  return {{"verdict", name_of(compared.verdict)},
          {"answers", compared.answers},
          {"majority", compared.majority},
          {"majority_count", compared.majority_count}};
}

}  // namespace

json result_json(const FinishedOperation& finished) {
  const sched::GatherResult& result = finished.result;
  const sched::GatherCounts& counts = result.counts;
  return {
      {"ok", true},
      {"operation", static_cast<std::uint64_t>(finished.id)},
      {"target_ns", to_ns(finished.target)},
      {"verdict", std::string(sched::name_of(result.judgement.verdict))},
      {"advice", std::string(sched::name_of(result.judgement.advice))},
      {"end", std::string(sched::name_of(result.end))},
      {"sentence", sched::sentence_of(result)},
      {"targeted", counts.targeted()},
      {"sent", counts.sent},
      {"ready", counts.ready},
      {"conflict", counts.conflict},
      {"straggler", counts.straggler()},
      {"declined", counts.declined},
      {"late", counts.late},
      {"duplicate", counts.duplicate},
      {"skipped",
       {{"insufficient_lead_time", counts.skipped.insufficient_lead_time},
        {"invalid_impedance", counts.skipped.invalid_impedance},
        {"capability_mismatch", counts.skipped.capability_mismatch},
        {"not_routable", counts.skipped.not_routable}}},
      {"ready_rate", result.ready_rate()},
      {"coverage", result.coverage()},
      {"errors",
       {{"count", result.errors.count},
        {"inside", result.errors.inside},
        {"p50_ns", result.errors.p50_ns},
        {"p90_ns", result.errors.p90_ns},
        {"p99_ns", result.errors.p99_ns},
        {"max_ns", result.errors.max_ns},
        {"median_ns", result.errors.median_ns}}},
      {"compared", compared_json(finished.compared)},
      {"took_ns", result.took_ns},
      {"cost",
       {{"plan_ns", finished.cost.plan_ns},
        {"dispatch_ns", finished.cost.dispatch_ns},
        {"gather_ns", finished.cost.gather_ns},
        {"wake_ns", finished.cost.wake_ns},
        {"wakes", finished.cost.wakes}}},
  };
}

// A conflict's body begins with its two values (engine/station/delivery.hpp).
const char* state_name(sched::TrinaryState state) noexcept {
  switch (state) {
    case sched::TrinaryState::ready:
      return "ready";
    case sched::TrinaryState::conflict:
      return "conflict";
    default:
      return "transit";
  }
}

json answered_json(const AnsweredMessage& answered) {
  json object = {{"agent", static_cast<std::uint64_t>(answered.agent)},
                 {"state", state_name(answered.state)},
                 {"expired", answered.expired},
                 {"context", sched::name_of(answered.context)},
                 {"processing_us", answered.processing_us}};
  std::span<const std::byte> body = answered.body;
  if (answered.state == sched::TrinaryState::conflict && body.size() >= sizeof(ConflictValues)) {
    ConflictValues values{};
    std::memcpy(&values, body.data(), sizeof values);
    object["conflict"] = {{"type", name_of(answered.conflict)},
                          {"expected", values.expected},
                          {"received", values.received}};
    body = body.subspan(sizeof values);
  }
  put_body(object, body, kBodyTextMax);
  return object;
}

void put_body(json& object, std::span<const std::byte> body, std::size_t most) {
  object["body_bytes"] = body.size();
  std::size_t kept = body.size();
  const auto text = [&] { return std::string(reinterpret_cast<const char*>(body.data()), kept); };
  // Escaped it may be several times as long.
  while (kept != 0 && dump(text()).size() > most) kept /= 2;
  object["body"] = text();
  object["body_cut"] = kept != body.size();
}

namespace {

json adoption_json(const AdoptionStatus& adoption) {
  if (!adoption.is_adopted) return nullptr;
  return {{"agents", adoption.agents},
          {"operations", adoption.operations},
          {"messages", adoption.messages},
          {"stations", adoption.stations},
          {"returned", adoption.returned},
          {"awaited", adoption.awaited},
          {"not_back", adoption.not_back},
          {"refused", adoption.refused},
          {"lost", "samples younger than a second"}};
}

json last_cascade_json(const MeshOverview& mesh) {
  if (!mesh.last_cascade) return nullptr;
  const FinishedCascade& its = *mesh.last_cascade;
  return {{"strategy", name_of(its.strategy)},
          {"status", name_of(its.status)},
          {"targeted", its.agents.targeted},
          {"sent", its.agents.sent},
          {"ready", its.agents.ready},
          {"conflict", its.agents.conflict},
          {"total_ms", static_cast<double>(its.total_ns) / kNsPerMs},
          {"ended_unix_ms", mesh.last_cascade_unix_ns / kNsPerMs}};
}

json stuck_json(const std::vector<StuckStation>& stuck) {
  json list = json::array();
  for (const StuckStation& one : stuck) {
    list.push_back(
        {{"station", static_cast<unsigned>(one.station)}, {"ms", one.standing.count() / kNsPerMs}});
  }
  return list;
}

}  // namespace

json status_json(const EngineStatus& status) {
  const LoopCounters& loop = status.counters;
  const MeshOverview& mesh = status.overview;
  return {
      {"ok", true},
      {"agents_active", status.agents_active},
      {"agents_enrolled", status.agents_enrolled},
      {"mode", mesh.mode ? json(health::name_of(*mesh.mode)) : json(nullptr)},
      {"sectors_healthy", mesh.sectors_healthy},
      {"sectors_degraded", mesh.sectors_degraded},
      {"mean_impedance_ms", mesh.mean_impedance_ms ? json(*mesh.mean_impedance_ms) : json(nullptr)},
      {"conflicts_last_hour", mesh.conflicts_last_hour},
      {"last_cascade", last_cascade_json(mesh)},
      {"agents_routed_around", status.gauges.routed_around},
      {"agents_spiking", status.gauges.spiking},
      {"agents_frozen", status.gauges.frozen},
      {"agents_quarantined", status.gauges.quarantined},
      {"agents_newcomers", status.gauges.newcomers},
      {"agents_awaiting_context", status.gauges.awaiting_context},
      {"stations", status.stations},
      {"stations_ever", status.stations_ever},
      {"connections", status.connections},
      {"lateness_us",
       {{"buckets", status.lateness.buckets},
        {"p50", us_of(status.lateness.p50_ns)},
        {"p90", us_of(status.lateness.p90_ns)},
        {"p99", us_of(status.lateness.p99_ns)},
        {"max", us_of(status.lateness.max_ns)}}},
      {"evicted", status.evicted},
      {"stuck", stuck_json(status.stuck)},
      {"adopted", adoption_json(status.adoption)},
      {"missing_rights", status.missing_rights},
      {"in_use",
       {{"messages", status.gauges.unanswered},
        {"operations", status.gauges.operations},
        {"pending", status.gauges.pending},
        {"parked_free_bytes", status.gauges.parked_free_bytes},
        {"payload_used_bytes", status.gauges.payload_used_bytes},
        {"send_rate", status.gauges.send_rate}}},
      {"counters",
       {{"turns", status.turns},
        {"retunes", status.retunes},
        {"parks", status.parks},
        {"ticks", loop.ticks},
        {"records_in", loop.records_in},
        {"deliveries", loop.deliveries},
        {"answers", loop.answers},
        {"sends", loop.sends},
        {"wakes", loop.wakes},
        {"refused_records", loop.refused_records},
        {"target_full", loop.target_full},
        {"pressure_refused", loop.pressure_refused},
        {"expired", loop.expired},
        {"no_such_agent", loop.no_such_agent},
        {"pending", loop.pending},
        {"held", loop.held},
        {"redelivered", loop.redelivered},
        {"duplicates", loop.duplicates},
        {"lost_replies", loop.lost_replies},
        {"conflicts_noted", loop.conflicts_noted},
        {"conflicts_waited", loop.conflicts_waited},
        {"conflicts_lost", loop.conflicts_lost},
        {"parked", loop.parked},
        {"parked_full", loop.parked_full},
        {"unanswered_full", loop.unanswered_full},
        {"capability_mismatch", loop.capability_mismatch},
        {"not_routable", loop.not_routable},
        {"agent_crashes", loop.agent_crashes},
        {"impedance_spikes", loop.impedance_spikes},
        {"spikes_escalated", loop.spikes_escalated},
        {"silences_escalated", loop.silences_escalated},
        {"cascade_failures", loop.cascade_failures},
        {"judgements_withheld", loop.judgements_withheld},
        {"mode_refused", loop.mode_refused},
        {"mode_queued", loop.mode_queued},
        {"throttled", loop.throttled},
        {"throttle_begun", loop.throttle_begun},
        {"created_ahead", loop.created_ahead},
        {"breakers_opened", loop.breakers_opened},
        {"breaker_failures", loop.breaker_failures},
        {"breaker_refused", loop.breaker_refused},
        {"breaker_trials", loop.breaker_trials},
        {"breaker_probes", loop.breaker_probes},
        {"crashes_taken_back", loop.crashes_taken_back},
        {"operations", loop.operations},
        {"cascades", loop.cascades},
        {"cascades_failed", loop.cascades_failed},
        {"pipelines", loop.pipelines},
        {"pipelines_done", loop.pipelines_done},
        {"newcomers_admitted", loop.newcomers_admitted},
        {"operations_full", loop.operations_full}}}};
}

std::string hex_of(std::uint64_t value) {
  std::array<char, 24> text{};
  const int size =
      std::snprintf(text.data(), text.size(), "0x%016llx", static_cast<unsigned long long>(value));
  return {text.data(), static_cast<std::size_t>(size)};
}

}  // namespace mesh::engine
