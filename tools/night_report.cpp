#include "tools/night_report.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/agent_row_views.hpp"
#include "engine/coordination/circuit_breaker.hpp"
#include "engine/health/health_view.hpp"
#include "sched/clock.hpp"
#include "tools/text.hpp"

namespace mesh::tools {
namespace {

using Json = nlohmann::ordered_json;
using engine::Event;
using engine::EventKind;

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
  return state == static_cast<std::uint8_t>(engine::AgentState::active) ||
         state == static_cast<std::uint8_t>(engine::AgentState::degraded);
}

// Those with agents over the degraded score or with unstable delays, the slowest first.
Json drifting_of(const engine::health::HealthView& view) {
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
  Json list = Json::array();
  for (const auto& [p95, cluster] : found) {
    if (list.size() == kNightListMax) break;
    const auto its = view.cluster(cluster);
    list.push_back({{"cluster", cluster},
                    {"p95_ms", static_cast<double>(p95) / engine::health::kP95Unit},
                    {"degraded", its->summary.degraded},
                    {"unstable", its->summary.unstable},
                    {"active", its->summary.active}});
  }
  return {{"count", found.size()}, {"list", std::move(list)}};
}

// Those over the degraded score, the slowest first.
Json slow_of(const engine::AgentRowViews& rows) {
  struct Slow {
    std::uint16_t score = 0;
    std::size_t row = 0;
    std::string name;
    std::uint32_t cluster = 0;
  };
  std::vector<Slow> found;
  engine::AgentRow row;
  for (std::size_t at = 0; at < rows.rows(); ++at) {
    if (rows.read(at, row) != shm::ReadStatus::kRead || row.is_free()) continue;
    if (!is_here(row.state) || row.score <= kSlowScore) continue;
    const auto name = engine::decode("agent.name", row.name);
    found.push_back({static_cast<std::uint16_t>(row.score), at,
                     name ? printable(std::string(name->view())) : std::string("unknown"),
                     row.cluster});
  }
  std::sort(found.begin(), found.end(), [](const Slow& a, const Slow& b) {
    return a.score != b.score ? a.score > b.score : a.row < b.row;
  });
  Json list = Json::array();
  for (const Slow& one : found) {
    if (list.size() == kNightListMax) break;
    list.push_back(
        {{"agent", one.name},
         {"score", one.score},
         {"cluster", one.cluster == engine::kNoPlace ? Json(nullptr) : Json(one.cluster)}});
  }
  return {{"count", found.size()}, {"list", std::move(list)}};
}

}  // namespace

Json breakers_of(const std::vector<Event>& events, HostTime now) {
  std::uint32_t openings = 0;
  Json list = Json::array();
  for (auto event = events.rbegin(); event != events.rend(); ++event) {  // the newest first
    if (event->kind != EventKind::breaker) continue;
    const auto open = static_cast<std::uint32_t>(coordination::BreakerState::open);
    if (event->after != open) continue;
    ++openings;
    if (list.size() < kNightListMax)
      list.push_back({{"place", event->place}, {"ms_ago", (now - event->at).count() / kNsPerMs}});
  }
  return {{"openings", openings}, {"list", std::move(list)}};
}

Json modes_of(const std::vector<Event>& events, HostTime now) {
  std::uint32_t changes = 0;
  Json list = Json::array();
  for (auto event = events.rbegin(); event != events.rend(); ++event) {
    if (event->kind != EventKind::mode) continue;
    ++changes;
    if (list.size() == kNightListMax || event->after >= engine::health::kOperatingModes) continue;
    const auto mode = static_cast<engine::health::OperatingMode>(event->after);
    list.push_back({{"mode", engine::health::name_of(mode)},
                    {"ms_ago", (now - event->at).count() / kNsPerMs}});
  }
  return {{"changes", changes}, {"list", std::move(list)}};
}

Json conflicts_of(const MeshCounters& counters) {
  const Grown conflicts = grown_in(counters, "conflicts");
  const double before_h = night_hours(grown_in(counters, "time_watched").before);
  Json report = {{"last_hour", conflicts.hour}, {"an_hour_before", nullptr}, {"trend", nullptr}};
  if (before_h <= 0) return report;
  const double usual = static_cast<double>(conflicts.before) / before_h;
  const auto hour = static_cast<double>(conflicts.hour);
  report["an_hour_before"] = usual;
  report["trend"] = hour > kRising * usual   ? "rising"
                    : hour * kRising < usual ? "falling"
                                             : "level";
  return report;
}

Json churn_of(const MeshCounters& counters) {
  return {{"agents_crashed", grown_in(counters, "agent_crashes").hour},
          {"stations_lost", grown_in(counters, "stations_lost").hour},
          {"stations_attached", grown_in(counters, "stations_ever").hour},
          {"newcomers_admitted", grown_in(counters, "newcomers_admitted").hour}};
}

Result<Json> night_report(const ObservedMesh::Memory& table, const NightOptions& options) {
  const std::span<const std::byte> bytes = table.mapping.bytes();
  MESH_TRY(const auto view, engine::health::HealthView::over(table.layout, bytes));
  MESH_TRY(const auto ring, engine::EventRingView::over(table.layout, bytes));
  MESH_TRY(const auto rows, engine::AgentRowViews::in(table.layout, bytes));
  MESH_TRY(const auto clock, table.layout.array<sched::ClockWords>(bytes, "clock"));
  const HostTime now = from_ns(sched::ClockReader<>(clock.front()).now_ns());
  const HostTime from = now - Nanos{options.hours * 3'600 * kNsPerSecond};
  const std::vector<Event> events = ring.read(from);
  Json report = {
      {"hours", options.hours},
      {"breakers", breakers_of(events, now)},
      {"modes", modes_of(events, now)},
      {"events_for_ms",
       events.empty() ? Json(nullptr) : Json((now - events.front().at).count() / kNsPerMs)},
      {"conflicts", nullptr},
      {"churn", nullptr},
      {"drifting_clusters", drifting_of(view)},
      {"slow_agents", slow_of(rows)}};
  if (const auto counters = read_counters(table)) {
    report["conflicts"] = conflicts_of(*counters);
    report["churn"] = churn_of(*counters);
  }
  return report;
}

}  // namespace mesh::tools
