#include "engine/who.hpp"

#include <algorithm>
#include <tuple>

#include "engine/attached_station.hpp"
#include "engine/station/activity.hpp"
#include "sched/clock.hpp"

namespace mesh::engine {
namespace {

constexpr std::size_t kNone = console::Held::kNobody;

Result<std::int64_t> now_of(const WhoSources& sources) {
  MESH_TRY(const shm::Layout layout, table_layout(sources.size));
  MESH_TRY(const auto words, layout.array<sched::ClockWords>(sources.table, "clock"));
  return sched::ClockReader<>(words.front()).now_ns();
}

// What stations say of their own agents, by the agent's row.
std::vector<std::optional<SeenActivity>> activities_of(const WhoSources& sources,
                                                       std::span<const std::size_t> place_of_row,
                                                       const std::vector<FoundAgent>& agents) {
  std::vector<std::optional<SeenActivity>> said(agents.size());
  for (const auto& [number, station] : sources.stations) {
    const auto views = ActivityViews::over(station->entry().agents, station->out());
    if (!views) continue;
    for (std::size_t at = 0; at < views->rows(); ++at) {
      auto seen = views->read(at);
      if (!seen) continue;
      const std::size_t row = row_of(index_of(seen->agent));
      const std::size_t place = row < place_of_row.size() ? place_of_row[row] : kNone;
      if (place == kNone || agents[place].id != seen->agent) continue;
      if (agents[place].station == StationId{number}) said[place] = std::move(seen);
    }
  }
  return said;
}

bool is_in_scope(const FoundAgent& agent, const WhoWanted& wanted) {
  return (!wanted.sector || agent.sector == *wanted.sector) &&
         (!wanted.cluster || agent.cluster == *wanted.cluster);
}

// Those worth a look, the most pressing first.
std::vector<std::size_t> pressing_of(const WhoReport& report, const WhoWanted& wanted) {
  const std::vector<console::Doing>& doing = report.graph.agents();
  std::vector<std::size_t> pressing;
  for (std::size_t i = 0; i < doing.size(); ++i) {
    const bool is_pressing = !doing[i].waiting_on.empty() || doing[i].depth != 0;
    if (is_pressing && is_in_scope(report.agents[i], wanted)) pressing.push_back(i);
  }
  const auto order_of = [&](std::size_t i) {
    const bool waits = !doing[i].waiting_on.empty();
    return std::tuple(!waits, waits ? -doing[i].age_ns : -std::int64_t{doing[i].depth}, i);
  };
  std::sort(pressing.begin(), pressing.end(),
            [&](std::size_t a, std::size_t b) { return order_of(a) < order_of(b); });
  return pressing;
}

// Along the chains of those that were asked for.
std::vector<console::Holder> holders_of(const WhoReport& report) {
  std::vector<bool> is_meant(report.agents.size());
  for (const std::size_t asked : report.asked) {
    std::size_t at = asked;
    for (std::size_t steps = 0; at != kNone && steps <= console::kChainMax; ++steps) {
      is_meant[at] = true;
      at = report.graph.held(at).next;
    }
  }
  std::vector<console::Holder> holders = report.graph.holders();
  std::erase_if(holders, [&](const console::Holder& holder) { return !is_meant[holder.agent]; });
  return holders;
}

}  // namespace

Result<WhoReport> look_who(const WhoSources& sources, const WhoWanted& wanted) {
  MESH_TRY(const ConsoleView view, ConsoleView::over(sources.size, sources.table));
  MESH_TRY(const std::int64_t now_ns, now_of(sources));
  std::vector<FoundAgent> agents;
  std::vector<std::size_t> place_of_row(view.rows(), kNone);
  for (std::size_t row = 0; row < view.rows(); ++row) {
    auto found = view.agent(agent_index(row));
    if (!found) continue;
    place_of_row[row] = agents.size();
    agents.push_back(std::move(*found));
  }
  auto said = activities_of(sources, place_of_row, agents);
  std::vector<console::Doing> doing;
  doing.reserve(agents.size());
  std::size_t said_count = 0;
  for (std::size_t i = 0; i < agents.size(); ++i) {
    doing.push_back({.agent = agents[i].name, .depth = agents[i].queue_depth});
    if (!said[i]) continue;
    ++said_count;
    doing.back().task = std::move(said[i]->task);
    doing.back().waiting_on = std::move(said[i]->waiting_on);
    // Its station's word: it may be any number.
    const std::int64_t oldest_ns = now_ns - kActivityAgeMax.count();
    doing.back().age_ns = now_ns - std::clamp(said[i]->since_ns, oldest_ns, now_ns);
  }
  WhoReport report{console::WaitGraph(std::move(doing)), std::move(agents), {}, {}, said_count};
  if (wanted.agents.empty()) report.asked = pressing_of(report, wanted);
  for (const std::string& name : wanted.agents) {
    const auto found = report.graph.find(name);
    if (!found) return fail(Errc::no_such_agent, "who: no agent is called '" + name + "'");
    report.asked.push_back(*found);
  }
  report.holders = holders_of(report);
  return report;
}

}  // namespace mesh::engine
