// A console asks what is wrong with a sector: the request as it comes, and the answer.
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/control_jobs.hpp"
#include "engine/incident.hpp"

namespace mesh::engine {
namespace {

using console::IncidentAgent;
using console::IncidentCluster;
using console::IncidentFinding;
using nlohmann::json;

// A packet holds so many.
constexpr std::size_t kAgentsListed = 64;
constexpr std::size_t kTimelineListed = 150;
constexpr Nanos kWaitMax{600 * kNsPerSecond};
constexpr Nanos kSinceMax{30LL * 86'400 * kNsPerSecond};

json cluster_json(const IncidentCluster& one) {
  return {{"cluster", one.cluster},
          {"agents", one.agents},
          {"active", one.active},
          {"missed", one.missed},
          {"quarantined", one.quarantined},
          {"unheard", one.unheard},
          {"silent", one.silent},
          {"slow", one.slow},
          {"held", one.held},
          {"in_conflict", one.in_conflict},
          {"breaker", one.breaker},
          {"lead", one.lead.empty() ? json(nullptr) : json(one.lead)},
          {"failed", one.has_failed()}};
}

json agent_json(const IncidentAgent& one) {
  json is = json::array();
  const auto add = [&](bool holds, const char* what) {
    if (holds) is.push_back(what);
  };
  add(one.is_missed, "missed");
  add(one.is_quarantined, "quarantined");
  add(one.is_held, "held");
  add(one.is_unheard, "unheard");
  add(one.is_silent, "silent");
  add(one.is_slow, "slow");
  return {{"agent", one.name},         {"cluster", one.cluster},
          {"is", std::move(is)},       {"heartbeat_age_ms", one.heartbeat_age_ms},
          {"depth", one.queue_depth},  {"score", one.score},
          {"conflicts", one.conflicts}};
}

json findings_json(const std::vector<IncidentFinding>& findings) {
  json list = json::array();
  for (const IncidentFinding& one : findings)
    list.push_back({{"cause", console::name_of(one.cause)},
                    {"says", one.says},
                    {"evidence", one.evidence},
                    {"proposes", one.proposes},
                    {"did", one.did}});
  return list;
}

std::string_view cause_of(const std::vector<IncidentFinding>& findings) {
  return console::name_of(findings.empty() ? console::IncidentCause::none : findings.front().cause);
}

json facts_json(const console::IncidentFacts& facts) {
  json clusters = json::array();
  for (const IncidentCluster& one : facts.clusters) clusters.push_back(cluster_json(one));
  json agents = json::array();
  for (const IncidentAgent& one : facts.ailing) {
    if (agents.size() == kAgentsListed) break;
    agents.push_back(agent_json(one));
  }
  const std::size_t left_out = facts.ailing.size() - agents.size() + facts.left_out;
  return {{"sector", facts.sector},
          {"mode", facts.mode},
          {"agents", facts.agents()},
          {"active", facts.active()},
          {"coordinator", facts.coordinator ? agent_json(*facts.coordinator) : json(nullptr)},
          {"led_before", facts.led_before ? agent_json(*facts.led_before) : json(nullptr)},
          {"breaker", facts.sector_breaker},
          {"mesh_breaker", facts.mesh_breaker},
          {"clusters", std::move(clusters)},
          {"ailing", std::move(agents)},
          {"ailing_left_out", left_out},
          {"stuck_stations", facts.stuck_stations}};
}

json incident_json(const IncidentReport& report) {
  json object = facts_json(report.facts);
  object["ok"] = true;
  object["at_unix_ns"] = to_ns(report.at) + report.unix_offset_ns;
  object["diagnosis"] = cause_of(report.findings);
  object["findings"] = findings_json(report.findings);
  object["acted"] = report.has_acted;
  object["left"] = report.has_acted ? findings_json(report.left) : json(nullptr);
  json lines = json::array();
  const std::size_t count = report.timeline.size();
  for (std::size_t i = count - std::min(count, kTimelineListed); i < count; ++i)
    lines.push_back({{"at_unix_ns", to_ns(report.timeline[i].at) + report.unix_offset_ns},
                     {"what", report.timeline[i].text}});
  object["timeline_left_out"] = count - lines.size();
  object["timeline"] = std::move(lines);
  return object;
}

Result<Nanos> span_of(const json& object, const char* key, std::pair<Nanos, Nanos> usual_and_most) {
  MESH_TRY(const Nanos span, ms_field(object, key, usual_and_most.first));
  if (span <= usual_and_most.second) return span;
  return fail(Errc::bad_input, std::string("field '") + key + "': at most " +
                                   std::to_string(usual_and_most.second.count() / kNsPerMs) +
                                   " ms");
}

}  // namespace

Status ControlServer::begin_incident(const ConsoleRequest& request, const json& object) {
  IncidentRequest wanted;
  MESH_TRY(const std::uint64_t sector, count_field(object, "sector"));
  if (sector > UINT32_MAX)
    return fail(Errc::bad_input, "field 'sector': " + std::to_string(sector));
  wanted.sector = static_cast<std::uint32_t>(sector);
  MESH_TRY(wanted.act, flag_field(object, "act", false));
  MESH_TRY(wanted.wait, span_of(object, "wait_ms", {wanted.wait, kWaitMax}));
  MESH_TRY(wanted.since, span_of(object, "since_ms", {wanted.since, kSinceMax}));
  return start_incident(
      {&scheduler_, options_.recovery}, wanted,
      [this, connection = request.connection](const Result<IncidentReport>& report) {
        tell(connection, report ? dump(incident_json(*report)) : error_json(report.error()));
      });
}

}  // namespace mesh::engine
