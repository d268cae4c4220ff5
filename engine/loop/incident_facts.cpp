#include "engine/loop/incident_facts.hpp"

#include <algorithm>

#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

using console::IncidentAgent;
using console::IncidentCluster;
using console::IncidentFacts;
using coordination::BreakerState;
using State = EngineLoop::State;

std::size_t breaker_of_cluster(const State& loop, std::uint32_t cluster) noexcept {
  return std::size_t{1} + loop.topology->size().sectors + cluster;
}

std::string breaker_text(const State& loop, std::size_t place) {
  return std::string(coordination::to_string(loop.gate.watch->breakers().tree().at(place).state()));
}

std::string name_at(const State& loop, AgentIndex row) {
  return row == kNoAgent ? std::string() : std::string(loop.registry->name_of(row).view());
}

// Whose handle is still its row's; else who it was is not known any more.
std::string name_of_agent(const State& loop, AgentId agent) {
  if (agent == AgentId{}) return "nobody";
  const auto row = loop.registry->find(agent);
  if (row) return name_at(loop, *row);
  return "an agent that is gone";
}

std::uint32_t conflicts_lately(const State& loop, std::uint32_t row) noexcept {
  const ConflictTally& tally = loop.accounts.conflicts[row];
  const std::uint32_t age_ms = loop.mesh_ms() - tally.last_mesh_ms;
  const bool is_its = tally.count != 0 && tally.agent == loop.registry->id_of(agent_index(row));
  return is_its && std::int64_t{age_ms} * kNsPerMs <= kIncidentWindow.count() ? tally.count : 0;
}

using Stuck = std::vector<StationId>;

bool is_of(const Stuck& stuck, StationId station) noexcept {
  return std::find(stuck.begin(), stuck.end(), station) != stuck.end();
}

IncidentAgent look_at_agent(const State& loop, std::uint32_t row, const Stuck& stuck) {
  const AgentState state = loop.state_of(row);
  const bool is_attached = state == AgentState::active || state == AgentState::degraded;
  const health::MeshWatch& watch = *loop.gate.watch;
  IncidentAgent agent;
  agent.name = name_at(loop, agent_index(row));
  agent.cluster = own(loop.agents.cluster, row);
  agent.is_active = is_attached;
  agent.is_missed = state == AgentState::offline && own(loop.owners.departed, row) == 0;
  agent.is_quarantined = loop.gate.holds.is_quarantined(row);
  agent.is_held = (own(loop.agents.routing, row) & (kRoutedAround | kFrozen)) != 0;
  agent.is_unheard = is_attached && is_of(stuck, loop.registry->station_of(agent_index(row)));
  agent.is_silent = is_attached && watch.is_silent(row);
  agent.score = own(loop.agents.score, row);
  agent.is_slow =
      is_attached && (agent.score > health::kDegradedScore || watch.failures().is_spiking(row));
  agent.heartbeat_age_ms = std::uint32_t{loop.mesh_ms() - own(loop.agents.heartbeat_mesh_ms, row)};
  agent.queue_depth = own(loop.agents.queue_depth, row);
  agent.conflicts = conflicts_lately(loop, row);
  return agent;
}

void count_agent(const IncidentAgent& agent, IncidentCluster& cluster) noexcept {
  ++cluster.agents;
  cluster.active += agent.is_active ? 1U : 0U;
  cluster.missed += agent.is_missed ? 1U : 0U;
  cluster.quarantined += agent.is_quarantined ? 1U : 0U;
  cluster.unheard += agent.is_unheard ? 1U : 0U;
  cluster.silent += agent.is_silent ? 1U : 0U;
  cluster.slow += agent.is_slow ? 1U : 0U;
  cluster.held += agent.is_active && agent.is_held ? 1U : 0U;
  cluster.in_conflict += agent.conflicts != 0 ? 1U : 0U;
}

void look_at_cluster(const State& loop, std::uint32_t number, const Stuck& stuck,
                     IncidentFacts& facts) {
  if (loop.topology->cluster(number).agents == 0) return;
  IncidentCluster cluster{.cluster = number,
                          .breaker = breaker_text(loop, breaker_of_cluster(loop, number)),
                          .lead = name_at(loop, loop.topology->lead(number))};
  const auto members = loop.topology->agents_of(number);
  std::vector<std::uint32_t> rows(members.begin(), members.end());
  std::sort(rows.begin(), rows.end());
  for (const std::uint32_t row : rows) {
    IncidentAgent agent = look_at_agent(loop, row, stuck);
    count_agent(agent, cluster);
    if (!agent.is_ailing() && agent.conflicts == 0) continue;
    if (facts.ailing.size() < console::kIncidentAgents)
      facts.ailing.push_back(std::move(agent));
    else
      ++facts.left_out;
  }
  facts.clusters.push_back(std::move(cluster));
}

// The newest change of its leader after which who led is away, or held by the mesh. Who leads again
// by now, has left, or was relieved because another is quicker, is no incident.
void look_who_led(const State& loop, const std::vector<Event>& events, IncidentFacts& facts) {
  for (auto event = events.rbegin(); event != events.rend(); ++event) {
    if (event->kind != EventKind::coordinator || event->place != facts.sector) continue;
    const auto row = loop.registry->find(event->other);
    if (!row || *row == loop.topology->coordinator(facts.sector)) continue;
    if (loop.topology->place_of(*row).sector != facts.sector) continue;
    IncidentAgent before = look_at_agent(loop, static_cast<std::uint32_t>(*row), {});
    if (!before.is_missed && !before.is_quarantined) continue;
    facts.led_before = std::move(before);
    facts.led_until_age_ms = (from_ns(loop.now_ns) - event->at).count() / kNsPerMs;
    return;
  }
}

// Of those that are stuck who has agents here.
void look_at_stations(const State& loop, const Stuck& stuck, IncidentFacts& facts) {
  for (const StationId station : stuck) {
    const StationLink* const link = loop.link_of(station);
    if (link == nullptr) continue;
    const bool is_here = std::any_of(link->rows.begin(), link->rows.end(), [&](std::uint32_t row) {
      return own(loop.agents.sector, row) == facts.sector;
    });
    if (is_here)
      facts.stuck_stations.push_back("station " +
                                     std::to_string(static_cast<std::uint16_t>(station)));
  }
}

Status check_sector(const State& loop, std::uint32_t sector) {
  const std::uint32_t most = loop.topology->size().sectors;
  if (sector < most) return {};
  return fail(Errc::invalid_argument,
              "sector " + std::to_string(sector) + ": the mesh has " + std::to_string(most), most);
}
Status check_cluster(const State& loop, std::uint32_t cluster) {
  const std::uint32_t most = loop.topology->cluster_count();
  if (cluster < most) return {};
  return fail(Errc::invalid_argument,
              "cluster " + std::to_string(cluster) + ": the mesh has " + std::to_string(most),
              most);
}

std::vector<Event> events_since(const State& loop, HostTime from) {
  return loop.accounts.events->read(from);
}

}  // namespace

Result<IncidentFacts> incident_facts(EngineLoop& engine, const IncidentWanted& wanted,
                                     HostTime now) {
  State& loop = engine.state();
  const std::uint32_t sector = wanted.sector;
  MESH_CHECK_OK(check_sector(loop, sector));
  loop.advance_to(now);
  loop.accounts.events->look(loop);
  const health::MeshWatch& watch = *loop.gate.watch;
  IncidentFacts facts;
  facts.sector = sector;
  facts.mode = std::string(health::name_of(watch.mode()));
  facts.mesh_breaker = breaker_text(loop, 0);
  facts.sector_breaker = breaker_text(loop, std::size_t{1} + sector);
  facts.is_engine_late = watch.failures().is_late(from_ns(loop.now_ns));
  facts.window_ms = kIncidentWindow.count() / kNsPerMs;
  const std::uint32_t clusters = loop.topology->size().clusters_per_sector;
  for (std::uint32_t i = 0; i < clusters; ++i)
    look_at_cluster(loop, sector * clusters + i, wanted.stuck, facts);
  if (const AgentIndex leader = loop.topology->coordinator(sector); leader != kNoAgent)
    facts.coordinator = look_at_agent(loop, static_cast<std::uint32_t>(leader), wanted.stuck);
  look_who_led(loop, events_since(loop, HostTime{}), facts);
  look_at_stations(loop, wanted.stuck, facts);
  return facts;
}

namespace {

// Whether it is the sector's, and what it says.
std::string line_of(const State& loop, const Event& event, std::uint32_t sector) {
  const TopologySize& size = loop.topology->size();
  const std::string cluster = "cluster " + std::to_string(event.place);
  const bool is_in = event.place / size.clusters_per_sector == sector;
  const auto numbers = [&] {
    return std::to_string(event.before) + " to " + std::to_string(event.after);
  };
  switch (event.kind) {
    case EventKind::coordinator:
      if (event.place != sector) return {};
      return "coordinator: " + name_of_agent(loop, event.agent) + " in the place of " +
             name_of_agent(loop, event.other);
    case EventKind::active:
      return is_in ? cluster + ": from " + numbers() + " agents active" : std::string();
    case EventKind::moved:
      return is_in ? cluster + ": agents moved elsewhere, from " + numbers() : std::string();
    case EventKind::routed_around:
      return is_in ? name_of_agent(loop, event.agent) + ": routed around" : std::string();
    case EventKind::spikes:
      return is_in ? cluster + ": the impedance of " + std::to_string(event.after) + " of " +
                         std::to_string(event.before) + " agents is over twice their own"
                   : std::string();
    case EventKind::silent:
      return is_in ? cluster + ": " + name_of_agent(loop, event.agent) +
                         " left three messages in a row unanswered; so do " +
                         std::to_string(event.after) + " of " + std::to_string(event.before) +
                         " agents"
                   : std::string();
    case EventKind::mode:
      return "mode: from " +
             std::string(health::name_of(static_cast<health::OperatingMode>(event.before))) +
             " to " + std::string(health::name_of(static_cast<health::OperatingMode>(event.after)));
    case EventKind::breaker:
    case EventKind::none:
      break;
  }
  return {};
}

std::string line_of_breaker(const State& loop, const Event& event, std::uint32_t sector) {
  const TopologySize& size = loop.topology->size();
  std::string what = "breaker of the mesh";
  if (event.place > size.sectors) {
    const std::uint32_t cluster = event.place - 1 - size.sectors;
    if (cluster / size.clusters_per_sector != sector) return {};
    what = "breaker of cluster " + std::to_string(cluster);
  } else if (event.place != 0) {
    if (event.place - 1 != sector) return {};
    what = "breaker of sector " + std::to_string(sector);
  }
  const auto text = [](std::uint32_t state) {
    return std::string(coordination::to_string(static_cast<BreakerState>(state)));
  };
  return what + ": from " + text(event.before) + " to " + text(event.after);
}

}  // namespace

std::vector<TimelineLine> incident_timeline(const EngineLoop& engine,
                                            const TimelineWanted& wanted) {
  const State& loop = engine.state();
  std::vector<TimelineLine> lines;
  for (const Event& event : events_since(loop, wanted.from)) {
    std::string text = event.kind == EventKind::breaker
                           ? line_of_breaker(loop, event, wanted.sector)
                           : line_of(loop, event, wanted.sector);
    if (!text.empty()) lines.push_back({event.at, std::move(text)});
  }
  if (lines.size() > wanted.most)
    lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(wanted.most));
  return lines;
}

Result<bool> isolate_cluster(EngineLoop& engine, std::uint32_t cluster, HostTime now) {
  State& loop = engine.state();
  MESH_CHECK_OK(check_cluster(loop, cluster));
  loop.advance_to(now);
  health::MeshBreakers& breakers = loop.gate.watch->breakers();
  const std::size_t place = breaker_of_cluster(loop, cluster);
  if (breakers.tree().at(place).state() == BreakerState::forced_open) return false;
  static_cast<void>(breakers.hold_open(place, from_ns(loop.now_ns)));
  loop.gate.refresh();
  loop.accounts.events->look(loop);
  return true;
}

namespace {

// Better: of the own sector, then of the own class, then with fewer agents, then the lower.
struct Home {
  std::uint32_t cluster = kNoPlace;
  bool is_near = false;
  bool is_alike = false;
  std::uint32_t agents = 0;

  [[nodiscard]] bool is_better_than(const Home& other) const noexcept {
    if (other.cluster == kNoPlace) return true;
    if (is_near != other.is_near) return is_near;
    if (is_alike != other.is_alike) return is_alike;
    return agents < other.agents;
  }
};

std::uint32_t new_home(const State& loop, std::uint32_t row, std::uint32_t from) {
  const Topology& topology = *loop.topology;
  const auto agent_class = static_cast<sched::AgentClass>(own(loop.agents.agent_class, row));
  Home best;
  for (std::uint32_t cluster = 0; cluster < topology.cluster_count(); ++cluster) {
    const std::uint32_t agents = topology.cluster(cluster).agents;
    if (cluster == from || agents >= topology.size().agents_per_cluster) continue;
    // Where nothing is routed, or where most are away themselves, it would be no better off.
    if (!loop.gate.watch->breakers().is_closed(cluster)) continue;
    if (topology.cluster(cluster).healthy * 2 < agents) continue;
    const auto its_class = topology.class_of(cluster);
    const Home home{.cluster = cluster,
                    .is_near = topology.sector_of(cluster) == topology.sector_of(from),
                    .is_alike = !its_class || *its_class == agent_class,
                    .agents = agents};
    if (home.is_better_than(best)) best = home;
  }
  return best.cluster;
}

}  // namespace

Result<Redistributed> redistribute(EngineLoop& engine, std::uint32_t cluster, HostTime now) {
  State& loop = engine.state();
  MESH_CHECK_OK(check_cluster(loop, cluster));
  loop.advance_to(now);
  if (loop.cascades.running != 0)
    return fail(Errc::busy, "cluster " + std::to_string(cluster) +
                                ": a cascade is under way, and counts agents by their places");
  const auto members = loop.topology->agents_of(cluster);
  std::vector<std::uint32_t> rows(members.begin(), members.end());
  std::sort(rows.begin(), rows.end());
  const auto before = static_cast<std::uint32_t>(rows.size());
  Redistributed done;
  for (const std::uint32_t row : rows) {
    const IncidentAgent agent = look_at_agent(loop, row, {});
    if (agent.is_ailing() || !agent.is_active || agent.is_held) continue;
    const std::uint32_t home = new_home(loop, row, cluster);
    if (home == kNoPlace) {
      ++done.stayed;
      continue;
    }
    MESH_TRY(const Vacancy vacancy, loop.topology->move(agent_index(row), home));
    loop.topology->fill(vacancy);
    loop.topology->fill({.cluster = home, .sector = loop.topology->sector_of(home)});
    ++done.moved;
  }
  if (done.moved != 0)
    loop.accounts.events->note({.at = from_ns(loop.now_ns),
                                .kind = EventKind::moved,
                                .place = cluster,
                                .before = before,
                                .after = before - done.moved});
  return done;
}

std::uint32_t route_ailing_around(EngineLoop& engine, const std::vector<std::string>& agents,
                                  HostTime now) {
  State& loop = engine.state();
  loop.advance_to(now);
  std::uint32_t changed = 0;
  for (const std::string& name : agents) {
    const auto id = engine.find(name);
    if (!id) continue;
    const auto done = engine.route_around(*id, true);
    if (!done || !*done) continue;
    ++changed;
    loop.accounts.events->note({.at = from_ns(loop.now_ns),
                                .kind = EventKind::routed_around,
                                .place = own(loop.agents.cluster, row_of(index_of(*id))),
                                .agent = *id});
  }
  loop.accounts.events->look(loop);
  return changed;
}

}  // namespace mesh::engine
