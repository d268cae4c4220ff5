// Between ticks: agents come to a station.
#include <algorithm>
#include <string>
#include <string_view>

#include "engine/loop/state.hpp"

namespace mesh::engine {

void EngineLoop::State::move_owed(std::uint32_t row, StationId from, StationId to) noexcept {
  owed_of[static_cast<std::size_t>(from)] -= owed[row];
  owed_of[static_cast<std::size_t>(to)] += owed[row];
}

void EngineLoop::State::move_in(StationLink& link, std::uint32_t row, StationId previous) {
  if (StationLink* const old = link_of(previous); old != nullptr) {
    std::erase(old->rows, row);  // its place in the columns there stays taken, by nobody
  }
  move_owed(row, previous, link.number);
  self_place[row] = link.next_place++;
  copied_rows[row] = {};
  put(owners.place, row, self_place[row]);
  put(owners.departed, row, std::uint8_t{0});
  link.rows.push_back(row);
  set_active(row, state_of(row) != AgentState::quarantined);
}

// All of them can be enrolled, or none is: who asks for many learns one answer.
Status EngineLoop::State::check_enrolment(const StationLink& link,
                                          std::span<const AgentSpec> specs) const {
  std::vector<std::string_view> coming;  // who is not here yet
  for (const AgentSpec& agent : specs) {
    MESH_CHECK_OK(registry->check({agent.name, link.uid, attachment_of(link, agent)}));
    const auto known = registry->find(agent.name);
    if (!known || registry->station_of(index_of(*known)) != link.number)
      coming.push_back(agent.name);
  }
  std::sort(coming.begin(), coming.end());
  coming.erase(std::unique(coming.begin(), coming.end()), coming.end());
  if (coming.size() > link.agents_declared - link.next_place)
    return fail(Errc::capacity,
                "enrol " + std::string(coming.back()) + ": " + std::to_string(coming.size()) +
                    " agents come to " + std::to_string(link.next_place) +
                    " places taken, the station declared " + std::to_string(link.agents_declared),
                link.agents_declared);
  const auto fresh = static_cast<std::size_t>(std::count_if(
      coming.begin(), coming.end(), [&](std::string_view name) { return !registry->find(name); }));
  const std::size_t free = registry->rows() - registry->taken();
  if (fresh <= free) return {};
  return fail(Errc::capacity,
              "enrol " + std::string(coming.back()) + ": " + std::to_string(fresh) +
                  " names are new, " + std::to_string(free) + " of " +
                  std::to_string(registry->rows()) + " rows of this mesh are free",
              static_cast<std::int64_t>(registry->rows()));
}

Attachment EngineLoop::State::attachment_of(const StationLink& link, const AgentSpec& agent) const {
  return {.station = link.number,
          .agent_class = agent.agent_class,
          .capabilities = agent.capabilities,
          .now_mesh_ms = mesh_ms()};
}

Result<std::vector<AgentId>> EngineLoop::State::enrol(StationLink& link,
                                                      std::span<const AgentSpec> specs) {
  MESH_CHECK_OK(check_enrolment(link, specs));
  std::vector<AgentId> ids;
  std::vector<std::uint32_t> came;
  ids.reserve(specs.size());
  for (const AgentSpec& agent : specs) {
    const auto known = registry->find(agent.name);
    const bool is_here =
        known && registry->station_of(index_of(*known)) == link.number;  // keeps its place
    MESH_TRY(const Enrolled enrolled,
             registry->enrol({agent.name, link.uid, attachment_of(link, agent)}));
    const auto row = static_cast<std::uint32_t>(index_of(enrolled.id));
    // A mesh larger than its topology has agents without a cluster; they are reached all the same.
    const AgentIndex index = index_of(enrolled.id);
    if (topology->place_of(index).cluster == kNoPlace)
      static_cast<void>(topology->place(index));
    else
      static_cast<void>(topology->refresh(index));  // it is back
    if (const Place place = topology->place_of(index); place.cluster != kNoPlace)
      topology->fill({.cluster = place.cluster, .sector = place.sector});
    if (!is_here) {
      const bool has_crashed = enrolled.incarnation > 1 &&
                               enrolled.previous_station == kNoStation &&
                               own(owners.departed, row) == std::uint8_t{0};
      move_in(link, row, enrolled.previous_station);
      if (has_crashed) hold_for_context(*this, row);
      gate.watch->returned(row, from_ns(now_ns));
      if (enrolled.incarnation > 1)
        came.push_back(row);
      else
        predictor->forget(row);
    }
    order_is_stale = true;
    obey_rules(*this, row);
    ids.push_back(enrolled.id);
  }
  if (!came.empty()) bring(link, came);
  return ids;
}

}  // namespace mesh::engine
