#include "engine/reports/night_report.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "engine/agent_row_views.hpp"
#include "engine/coordination/circuit_breaker.hpp"
#include "engine/health/health_view.hpp"
#include "sched/clock.hpp"

namespace mesh::engine::reports {
namespace {

constexpr double kMsOfAnHour = 3'600'000;
constexpr double kRising = 1.5;

double night_hours(std::uint64_t ms) { return static_cast<double>(ms) / kMsOfAnHour; }

// In the last hour, and before it.
struct Grown {
  std::uint64_t hour = 0;
  std::uint64_t before = 0;
};
Grown grown_in(const MeshCounters& counters, std::string_view label) {
  for (const CounterSeen& row : counters.rows)
    if (row.says.label == label) return {row.value - row.hour_ago, row.hour_ago};
  return {};
}

bool is_here(std::uint8_t state) {
  return state == static_cast<std::uint8_t>(AgentState::active) ||
         state == static_cast<std::uint8_t>(AgentState::degraded);
}

// Those with agents over the degraded score or with unstable delays.
NightDrifting drifting_of(const health::HealthView& view) {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> found;  // p95, cluster
  for (std::uint32_t cluster = 0; cluster < view.clusters(); ++cluster) {
    const auto its = view.cluster(cluster);
    if (!its || its->summary.active == 0) continue;
    if (its->summary.degraded + its->summary.unstable != 0)
      found.emplace_back(its->summary.p95, cluster);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  NightDrifting drifting{.count = found.size()};
  for (const auto& [p95, cluster] : found) {
    if (drifting.list.size() == kNightListMax) break;
    const auto its = view.cluster(cluster);
    if (!its) continue;
    drifting.list.push_back({.cluster = cluster,
                             .p95_ms = static_cast<double>(p95) / health::kP95Unit,
                             .degraded = its->summary.degraded,
                             .unstable = its->summary.unstable,
                             .active = its->summary.active});
  }
  return drifting;
}

NightSlow slow_of(const AgentRowViews& rows) {
  struct Slow {
    std::size_t row = 0;
    NightSlow::Agent agent;
  };
  std::vector<Slow> found;
  AgentRow row;
  for (std::size_t at = 0; at < rows.rows(); ++at) {
    if (rows.read(at, row) != shm::ReadStatus::kRead || row.is_free()) continue;
    if (!is_here(row.state) || row.score <= kSlowScore) continue;
    const auto name = decode("agent.name", row.name);
    NightSlow::Agent agent{.name = name ? std::string(name->view()) : std::string(),
                           .score = static_cast<std::uint16_t>(row.score)};
    if (row.cluster != kNoPlace) agent.cluster = row.cluster;
    found.push_back({at, std::move(agent)});
  }
  std::sort(found.begin(), found.end(), [](const Slow& a, const Slow& b) {
    return a.agent.score != b.agent.score ? a.agent.score > b.agent.score : a.row < b.row;
  });
  NightSlow slow{.count = found.size()};
  for (Slow& one : found) {
    if (slow.list.size() == kNightListMax) break;
    slow.list.push_back(std::move(one.agent));
  }
  return slow;
}

std::int64_t ms_since(HostTime then, HostTime now) { return (now - then).count() / kNsPerMs; }

}  // namespace

std::string_view name_of(Trend trend) noexcept {
  if (trend == Trend::rising) return "rising";
  return trend == Trend::falling ? "falling" : "level";
}

NightBreakers breakers_of(const std::vector<Event>& events, HostTime now) {
  NightBreakers breakers;
  for (auto event = events.rbegin(); event != events.rend(); ++event) {  // the newest first
    if (event->kind != EventKind::breaker) continue;
    const auto open = static_cast<std::uint32_t>(coordination::BreakerState::open);
    if (event->after != open) continue;
    ++breakers.openings;
    if (breakers.list.size() < kNightListMax)
      breakers.list.push_back({event->place, ms_since(event->at, now)});
  }
  return breakers;
}

NightModes modes_of(const std::vector<Event>& events, HostTime now) {
  NightModes modes;
  for (auto event = events.rbegin(); event != events.rend(); ++event) {
    if (event->kind != EventKind::mode) continue;
    ++modes.changes;
    if (modes.list.size() == kNightListMax || event->after >= health::kOperatingModes) continue;
    modes.list.push_back(
        {static_cast<health::OperatingMode>(event->after), ms_since(event->at, now)});
  }
  return modes;
}

NightConflicts conflicts_of(const MeshCounters& counters) {
  const Grown conflicts = grown_in(counters, "conflicts");
  const double before_h = night_hours(grown_in(counters, "time_watched").before);
  NightConflicts report{.last_hour = conflicts.hour};
  if (before_h <= 0) return report;
  const double usual = static_cast<double>(conflicts.before) / before_h;
  const auto hour = static_cast<double>(conflicts.hour);
  report.an_hour_before = usual;
  report.trend = hour > kRising * usual   ? Trend::rising
                 : hour * kRising < usual ? Trend::falling
                                          : Trend::level;
  return report;
}

NightChurn churn_of(const MeshCounters& counters) {
  return {.agents_crashed = grown_in(counters, "agent_crashes").hour,
          .stations_lost = grown_in(counters, "stations_lost").hour,
          .stations_attached = grown_in(counters, "stations_ever").hour,
          .newcomers_admitted = grown_in(counters, "newcomers_admitted").hour};
}

Result<NightReport> report_night(const ObservedMesh::Memory& table, std::uint32_t hours) {
  const std::span<const std::byte> bytes = table.mapping.bytes();
  MESH_TRY(const auto view, health::HealthView::over(table.layout, bytes));
  MESH_TRY(const auto ring, EventRingView::over(table.layout, bytes));
  MESH_TRY(const auto rows, AgentRowViews::in(table.layout, bytes));
  MESH_TRY(const auto clock, table.layout.array<sched::ClockWords>(bytes, "clock"));
  const HostTime now = from_ns(sched::ClockReader<>(clock.front()).now_ns());
  const std::vector<Event> events =
      ring.read(now - Nanos{std::int64_t{hours} * 3'600 * kNsPerSecond});
  NightReport report{.hours = hours,
                     .breakers = breakers_of(events, now),
                     .modes = modes_of(events, now),
                     .drifting = drifting_of(view),
                     .slow = slow_of(rows)};
  if (!events.empty()) report.events_for_ms = ms_since(events.front().at, now);
  if (const auto counters = read_counters(table)) {
    report.conflicts = conflicts_of(*counters);
    report.churn = churn_of(*counters);
  }
  return report;
}

namespace {

Json openings_json(const NightBreakers& breakers) {
  Json list = Json::array();
  for (const auto& one : breakers.list)
    list.push_back({{"place", one.place}, {"ms_ago", one.ms_ago}});
  return {{"openings", breakers.openings}, {"list", std::move(list)}};
}
Json changes_json(const NightModes& modes) {
  Json list = Json::array();
  for (const auto& one : modes.list)
    list.push_back({{"mode", health::name_of(one.mode)}, {"ms_ago", one.ms_ago}});
  return {{"changes", modes.changes}, {"list", std::move(list)}};
}
Json trend_of_conflicts_json(const NightConflicts& conflicts) {
  return {{"last_hour", conflicts.last_hour},
          {"an_hour_before", or_null(conflicts.an_hour_before)},
          {"trend", conflicts.trend ? Json(name_of(*conflicts.trend)) : Json(nullptr)}};
}
Json churn_json(const NightChurn& churn) {
  return {{"agents_crashed", churn.agents_crashed},
          {"stations_lost", churn.stations_lost},
          {"stations_attached", churn.stations_attached},
          {"newcomers_admitted", churn.newcomers_admitted}};
}
Json drifting_json(const NightDrifting& drifting) {
  Json list = Json::array();
  for (const auto& one : drifting.list)
    list.push_back({{"cluster", one.cluster},
                    {"p95_ms", one.p95_ms},
                    {"degraded", one.degraded},
                    {"unstable", one.unstable},
                    {"active", one.active}});
  return {{"count", drifting.count}, {"list", std::move(list)}};
}
Json slow_json(const NightSlow& slow) {
  Json list = Json::array();
  for (const auto& one : slow.list)
    list.push_back({{"agent", one.name.empty() ? Json("unknown") : Json(one.name)},
                    {"score", one.score},
                    {"cluster", or_null(one.cluster)}});
  return {{"count", slow.count}, {"list", std::move(list)}};
}

}  // namespace

Json night_json(const NightReport& report) {
  return {
      {"hours", report.hours},
      {"breakers", openings_json(report.breakers)},
      {"modes", changes_json(report.modes)},
      {"events_for_ms", or_null(report.events_for_ms)},
      {"conflicts", report.conflicts ? trend_of_conflicts_json(*report.conflicts) : Json(nullptr)},
      {"churn", report.churn ? churn_json(*report.churn) : Json(nullptr)},
      {"drifting_clusters", drifting_json(report.drifting)},
      {"slow_agents", slow_json(report.slow)}};
}

}  // namespace mesh::engine::reports
