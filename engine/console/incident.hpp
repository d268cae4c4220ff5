// Incident: what is wrong with a sector (mesh.md part 15): its coordinator, its clusters, the way
// to them, single agents, or what they answer; what that is concluded from; what could be done.
//
//     facts of one moment ──diagnose()──▶ findings, what weighs most first
//
//     engine       it was late itself: what it did not hear says nothing of others
//     clusters     a breaker that is not closed, or fewer than half of a cluster's agents active
//                  while some of them are missed
//     coordinator  nobody leads; or who led is missed or in quarantine; or who leads is silent
//     network      processes are attached and read nothing, and their agents stand in several
//                  clusters
//     agents       missed, silent or slow ones, where that is no cluster's failure
//     conflicts    more agents in CONFLICT lately than a quorum bears (5 %)
//
// Callers     any thread; pure functions: a pass over the clusters and the agents that are named.
// Units       ages and delays in ms.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mesh::console {

// What is worth naming of an agent; more than one may hold.
struct IncidentAgent {
  std::string name{};
  std::uint32_t cluster = 0;
  bool is_active = false;
  bool is_missed = false;  // its process went, and it is not back
  bool is_quarantined = false;
  bool is_held = false;     // by the operator: routed around, or frozen
  bool is_unheard = false;  // attached, and its process reads nothing of what it is sent
  bool is_silent = false;   // it has left the last three messages to it unanswered
  bool is_slow = false;     // its score is over the limit, or twice its own of the last hour
  std::int64_t heartbeat_age_ms = 0;  // since it last worked
  std::uint32_t queue_depth = 0;      // delivered and not answered
  std::uint32_t score = 0;
  std::uint32_t conflicts = 0;  // lately

  [[nodiscard]] bool is_ailing() const noexcept {
    return is_missed || is_quarantined || is_unheard || is_silent || is_slow;
  }
};

struct IncidentCluster {
  std::uint32_t cluster = 0;
  std::uint32_t agents = 0;
  std::uint32_t active = 0;
  std::uint32_t missed = 0;
  std::uint32_t quarantined = 0;
  std::uint32_t unheard = 0;
  std::uint32_t silent = 0;
  std::uint32_t slow = 0;
  std::uint32_t held = 0;         // active, and by the operator routed around or frozen
  std::uint32_t in_conflict = 0;  // agents, lately
  std::string breaker{"closed"};
  std::string lead{};  // empty: nobody

  [[nodiscard]] bool is_breaker_closed() const noexcept {
    return breaker == "closed" || breaker == "disabled";
  }
  [[nodiscard]] bool has_failed() const noexcept {
    return agents != 0 && (!is_breaker_closed() || (active * 2 < agents && missed != 0));
  }
};

struct IncidentFacts {
  std::uint32_t sector = 0;
  std::string mode{};
  std::string sector_breaker{"closed"};
  std::string mesh_breaker{"closed"};
  bool is_engine_late = false;
  std::int64_t window_ms = 0;               // what "lately" means
  std::vector<IncidentCluster> clusters{};  // that have agents
  std::vector<IncidentAgent> ailing{};      // and those in conflict, at most kIncidentAgents
  std::uint32_t left_out = 0;               // that found no room there
  std::optional<IncidentAgent> coordinator{};
  // Who led before, where that is not a matter of who is quicker: it is away or held.
  std::optional<IncidentAgent> led_before{};
  std::int64_t led_until_age_ms = 0;
  std::vector<std::string> stuck_stations{};  // that have agents here and read nothing

  [[nodiscard]] std::uint32_t agents() const noexcept;
  [[nodiscard]] std::uint32_t active() const noexcept;
  [[nodiscard]] std::uint32_t held() const noexcept;
};
inline constexpr std::size_t kIncidentAgents = 256;

enum class IncidentCause : std::uint8_t {
  none = 0,
  engine,
  clusters,
  coordinator,
  network,
  agents,
  conflicts,
};
[[nodiscard]] std::string_view name_of(IncidentCause cause) noexcept;

// What a procedure can do by itself about a finding.
struct IncidentRemedy {
  bool heals = false;                        // crashed processes replaced, breakers reset
  std::vector<std::uint32_t> isolates{};     // clusters, where that does not mend them
  std::vector<std::string> routes_around{};  // agents
};

struct IncidentFinding {
  IncidentCause cause = IncidentCause::none;
  std::string says{};                   // one sentence
  std::vector<std::string> evidence{};  // a line each
  std::vector<std::string> proposes{};  // commands, or what to look at
  IncidentRemedy remedy{};
  std::vector<std::string> did{};
};

// Empty: nothing is wrong. What weighs most first.
[[nodiscard]] std::vector<IncidentFinding> diagnose(const IncidentFacts& facts);

}  // namespace mesh::console
