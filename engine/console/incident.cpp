#include "engine/console/incident.hpp"

#include <algorithm>

namespace mesh::console {
namespace {

constexpr std::size_t kNamed = 8;  // in one line
constexpr std::uint32_t kConflictPercent = 5;

std::string counted(std::size_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string text_of_ms(std::int64_t ms) {
  if (ms < 10'000) return std::to_string(ms) + " ms";
  return std::to_string(ms / 1'000) + " s";
}

std::string sector_of(const IncidentFacts& facts) {
  return "sector " + std::to_string(facts.sector);
}

template <class Is>
std::vector<const IncidentAgent*> those(const IncidentFacts& facts, Is&& is) {
  std::vector<const IncidentAgent*> found;
  for (const IncidentAgent& agent : facts.ailing)
    if (is(agent)) found.push_back(&agent);
  return found;
}

std::string names_of(const std::vector<const IncidentAgent*>& agents) {
  std::string text;
  for (std::size_t i = 0; i < agents.size() && i < kNamed; ++i)
    text += (i == 0 ? "" : ", ") + agents[i]->name;
  if (agents.size() > kNamed) text += " and " + std::to_string(agents.size() - kNamed) + " more";
  return text;
}

std::vector<std::string> list_of(const std::vector<const IncidentAgent*>& agents) {
  std::vector<std::string> names;
  names.reserve(agents.size());
  for (const IncidentAgent* agent : agents) names.push_back(agent->name);
  return names;
}

std::string state_of(const IncidentAgent& agent) {
  std::string text = agent.is_missed        ? "its process went, and it is not back"
                     : agent.is_quarantined ? "it is in quarantine"
                     : agent.is_held        ? "the operator holds it"
                     : agent.is_active      ? "it is attached"
                                            : "it has left";
  if (agent.is_unheard) text += ", its process reads nothing of what it is sent";
  if (agent.is_silent)
    text += ", silent: " + counted(agent.queue_depth, "message") + " delivered and not answered";
  if (agent.is_slow) text += ", slow: impedance " + std::to_string(agent.score) + " ms";
  return text;
}

std::string line_of(const IncidentCluster& one) {
  std::string text = "cluster " + std::to_string(one.cluster) + ": " + std::to_string(one.active) +
                     " of " + counted(one.agents, "agent") + " active";
  const auto add = [&](std::uint32_t count, const char* what) {
    if (count != 0) text += ", " + std::to_string(count) + " " + what;
  };
  add(one.missed, "missed");
  add(one.quarantined, "in quarantine");
  add(one.unheard, "reached by nothing");
  add(one.silent, "silent");
  add(one.slow, "slow");
  if (!one.is_breaker_closed()) text += ", breaker " + one.breaker;
  return text + ", lead " + (one.lead.empty() ? std::string("nobody") : one.lead);
}

void judge_engine(const IncidentFacts& facts, std::vector<IncidentFinding>& findings) {
  if (!facts.is_engine_late) return;
  findings.push_back({.cause = IncidentCause::engine,
                      .says = "the engine itself was late: what it did not hear says nothing of " +
                              sector_of(facts),
                      .evidence = {"it withholds judgements of others until it has been punctual"},
                      .proposes = {"mesh doctor --dir DIR", "mesh stat lateness"}});
}

void judge_clusters(const IncidentFacts& facts, std::vector<IncidentFinding>& findings) {
  IncidentFinding finding{.cause = IncidentCause::clusters};
  for (const IncidentCluster& one : facts.clusters) {
    if (!one.has_failed()) continue;
    finding.remedy.isolates.push_back(one.cluster);
    finding.evidence.push_back(line_of(one));
  }
  if (finding.remedy.isolates.empty()) return;
  finding.says = std::to_string(finding.remedy.isolates.size()) + " of " +
                 counted(facts.clusters.size(), "cluster") + " of " + sector_of(facts) + " failed";
  if (facts.sector_breaker != "closed")
    finding.evidence.push_back("breaker of " + sector_of(facts) + ": " + facts.sector_breaker);
  finding.remedy.heals = true;
  finding.proposes = {"mesh heal " + sector_of(facts),
                      "mesh incident " + std::to_string(facts.sector) + " --act"};
  findings.push_back(std::move(finding));
}

void judge_led_before(const IncidentFacts& facts, IncidentFinding& finding) {
  const IncidentAgent& before = *facts.led_before;
  finding.says = "the coordinator of " + sector_of(facts) + ", " + before.name + ", failed";
  finding.evidence.push_back(before.name + " led until " + text_of_ms(facts.led_until_age_ms) +
                             " ago: " + state_of(before));
  finding.evidence.push_back(
      facts.coordinator ? "the engine has activated its backup: " + facts.coordinator->name +
                              " leads now, " + state_of(*facts.coordinator)
                        : std::string("nobody of the sector can lead in its place"));
  finding.remedy.heals = before.is_missed;
  finding.proposes = {before.is_missed ? "mesh heal " + sector_of(facts)
                                       : "mesh context " + before.name};
}

// Who is routed around or frozen leads nothing: where that is all who are active, there is nothing
// to heal.
void judge_led_by_nobody(const IncidentFacts& facts, IncidentFinding& finding) {
  const bool are_held = facts.active() != 0 && facts.held() == facts.active();
  finding.says = "nobody leads " + sector_of(facts) +
                 (are_held ? ": the operator holds all that are active" : ": no agent of it can");
  finding.evidence = {std::to_string(facts.active()) + " of " + counted(facts.agents(), "agent") +
                      " active"};
  if (are_held) {
    finding.evidence.push_back(counted(facts.held(), "agent") + " routed around or frozen");
    finding.proposes = {"mesh thaw " + sector_of(facts), "mesh route-around AGENT... --undo"};
  } else {
    finding.remedy.heals = true;
    finding.proposes = {"mesh heal " + sector_of(facts)};
  }
}

void judge_coordinator(const IncidentFacts& facts, std::vector<IncidentFinding>& findings) {
  IncidentFinding finding{.cause = IncidentCause::coordinator};
  if (facts.led_before) {
    judge_led_before(facts, finding);
  } else if (!facts.coordinator && facts.agents() != 0) {
    judge_led_by_nobody(facts, finding);
  } else if (facts.coordinator && (facts.coordinator->is_silent || facts.coordinator->is_unheard)) {
    const std::string& name = facts.coordinator->name;
    finding.says = "the coordinator of " + sector_of(facts) + ", " + name + ", does not answer";
    finding.evidence = {name + ": " + state_of(*facts.coordinator)};
    finding.remedy.routes_around = {name};
    finding.proposes = {"mesh who " + name, "mesh route-around " + name};
  } else {
    return;
  }
  findings.push_back(std::move(finding));
}

// Of one cluster alone it is its agents.
bool is_network(const IncidentFacts& facts) {
  return std::count_if(facts.clusters.begin(), facts.clusters.end(),
                       [](const IncidentCluster& one) { return one.unheard != 0; }) > 1;
}

void judge_network(const IncidentFacts& facts, std::vector<IncidentFinding>& findings) {
  if (!is_network(facts)) return;
  std::uint32_t agents = 0;
  std::uint32_t clusters = 0;
  IncidentFinding finding{.cause = IncidentCause::network};
  for (const IncidentCluster& one : facts.clusters) {
    if (one.unheard == 0) continue;
    agents += one.unheard;
    ++clusters;
    finding.evidence.push_back(line_of(one));
  }
  finding.says = "messages do not come through to " + counted(agents, "agent") + " in " +
                 counted(clusters, "cluster") + " of " + sector_of(facts) +
                 ": their processes are attached, and read nothing of what they are sent";
  for (const std::string& station : facts.stuck_stations)
    finding.evidence.push_back(station + " reads nothing of what it is sent");
  finding.proposes = {"mesh status --json", "mesh who --sector " + std::to_string(facts.sector),
                      "mesh freeze " + sector_of(facts)};
  findings.push_back(std::move(finding));
}

void judge_agents(const IncidentFacts& facts, std::vector<IncidentFinding>& findings) {
  const bool has_network = is_network(facts);
  const auto is_of_failed = [&](const IncidentAgent& agent) {
    return std::any_of(facts.clusters.begin(), facts.clusters.end(), [&](const auto& cluster) {
      return cluster.cluster == agent.cluster && cluster.has_failed();
    });
  };
  const auto is_its = [&](const IncidentAgent& agent) {
    if (facts.led_before && agent.name == facts.led_before->name) return false;
    return agent.is_ailing() && !is_of_failed(agent) && !(has_network && agent.is_unheard);
  };
  const auto ailing = those(facts, is_its);
  if (ailing.empty()) return;
  IncidentFinding finding{.cause = IncidentCause::agents};
  const auto add = [&](const char* what, auto&& is) {
    const auto some =
        those(facts, [&](const IncidentAgent& one) { return is_its(one) && is(one); });
    if (some.empty()) return some;
    finding.evidence.push_back(counted(some.size(), "agent") + " " + what + ": " + names_of(some));
    return some;
  };
  finding.remedy.heals = !add("missed", [](const auto& one) { return one.is_missed; }).empty();
  add("in quarantine", [](const auto& one) { return one.is_quarantined; });
  const auto late = [](const auto& one) {
    return one.is_active && !one.is_held && (one.is_slow || one.is_silent || one.is_unheard);
  };
  add("reached by nothing", [](const auto& one) { return one.is_unheard; });
  add("silent", [](const auto& one) { return one.is_silent; });
  add("slow", [](const auto& one) { return one.is_slow; });
  finding.remedy.routes_around =
      list_of(those(facts, [&](const IncidentAgent& one) { return is_its(one) && late(one); }));
  finding.says = counted(ailing.size(), "agent") + " of " + sector_of(facts) +
                 (ailing.size() == 1 ? " fails its part" : " fail their part");
  if (finding.remedy.heals) finding.proposes.push_back("mesh heal " + sector_of(facts));
  if (!finding.remedy.routes_around.empty()) {
    finding.proposes.push_back("mesh who --sector " + std::to_string(facts.sector));
    finding.proposes.push_back("mesh route-around NAME...");
  }
  findings.push_back(std::move(finding));
}

void judge_conflicts(const IncidentFacts& facts, std::vector<IncidentFinding>& findings) {
  std::uint32_t agents = 0;
  for (const IncidentCluster& one : facts.clusters) agents += one.in_conflict;
  if (agents == 0 || agents * 100 <= facts.active() * kConflictPercent) return;
  const auto some = those(facts, [](const IncidentAgent& one) { return one.conflicts != 0; });
  IncidentFinding finding{.cause = IncidentCause::conflicts};
  finding.says = std::to_string(agents) + " of " + counted(facts.active(), "active agent") +
                 " of " + sector_of(facts) + " answered CONFLICT within " +
                 text_of_ms(facts.window_ms) + ": what they are told does not fit what they know";
  for (std::size_t i = 0; i < some.size() && i < kNamed; ++i)
    finding.evidence.push_back(some[i]->name + ": " + counted(some[i]->conflicts, "conflict"));
  finding.proposes = {"mesh conflicts --limit 20", "mesh conflicts --state for_person"};
  findings.push_back(std::move(finding));
}

}  // namespace

std::uint32_t IncidentFacts::agents() const noexcept {
  std::uint32_t sum = 0;
  for (const IncidentCluster& one : clusters) sum += one.agents;
  return sum;
}

std::uint32_t IncidentFacts::active() const noexcept {
  std::uint32_t sum = 0;
  for (const IncidentCluster& one : clusters) sum += one.active;
  return sum;
}

std::uint32_t IncidentFacts::held() const noexcept {
  std::uint32_t sum = 0;
  for (const IncidentCluster& one : clusters) sum += one.held;
  return sum;
}

std::string_view name_of(IncidentCause cause) noexcept {
  switch (cause) {
    case IncidentCause::engine:
      return "engine";
    case IncidentCause::clusters:
      return "clusters";
    case IncidentCause::coordinator:
      return "coordinator";
    case IncidentCause::network:
      return "network";
    case IncidentCause::agents:
      return "agents";
    case IncidentCause::conflicts:
      return "conflicts";
    case IncidentCause::none:
      break;
  }
  return "none";
}

std::vector<IncidentFinding> diagnose(const IncidentFacts& facts) {
  std::vector<IncidentFinding> findings;
  judge_engine(facts, findings);
  judge_clusters(facts, findings);
  judge_coordinator(facts, findings);
  judge_network(facts, findings);
  judge_agents(facts, findings);
  judge_conflicts(facts, findings);
  return findings;
}

}  // namespace mesh::console
