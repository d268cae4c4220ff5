#include "engine/topology.hpp"

#include <algorithm>
#include <string>
#include <tuple>

namespace mesh::engine {
namespace {

std::string doing(const char* verb, AgentIndex row) {
  return std::string("topology: ") + verb + " row " + std::to_string(row_of(row));
}
std::string of_row(AgentIndex row) { return "row " + std::to_string(row_of(row)); }

std::uint64_t distance_of(std::uint64_t a, std::uint64_t b) noexcept {
  return a < b ? b - a : a - b;
}

}  // namespace

// Distances |sum / agents - score| are compared as fractions: sums stay below 2^30 (1,000 times
// 2^20 agents), so no product leaves 64 bits.
struct Topology::Nearest {
  std::uint16_t score;
  std::uint32_t cluster = kNoPlace;
  std::uint64_t distance = 0;  // times agents
  std::uint64_t agents = 1;

  void look_at(std::uint32_t candidate, const GroupCounts& counts) noexcept {
    const std::uint64_t its_distance =
        distance_of(counts.score_sum, std::uint64_t{score} * counts.agents);
    const std::uint64_t mine = distance * counts.agents;
    const std::uint64_t its = its_distance * agents;
    if (cluster != kNoPlace && (its > mine || (its == mine && candidate > cluster))) return;
    cluster = candidate;
    distance = its_distance;
    agents = counts.agents;
  }
};

Topology::Topology(const AgentRows<HostMemory>& agents, const TopologySize& size)
    : agents_(agents),
      writer_(agents.sequence),
      size_(size),
      member_of_(agents.rows()),
      members_(std::size_t{cluster_count()} * size.agents_per_cluster),
      clusters_(cluster_count()),
      sectors_(size.sectors) {
  for (Sector& sector : sectors_) sector.empty_clusters = size.clusters_per_sector;
  for (auto& clusters : open_) clusters.reserve(cluster_count());
}

Result<Topology> Topology::create(const AgentRows<HostMemory>& agents, const TopologySize& size) {
  // Divided, not multiplied: the sizes may be any numbers.
  const bool fits =
      size.sectors >= 1 && size.clusters_per_sector >= 1 && size.agents_per_cluster >= 1 &&
      size.sectors <= 2 * kMaxAgents / size.clusters_per_sector &&
      size.sectors * size.clusters_per_sector <= 2 * kMaxAgents / size.agents_per_cluster;
  if (!fits) {
    return fail(Errc::invalid_argument,
                "topology: " + std::to_string(size.sectors) + " sectors of " +
                    std::to_string(size.clusters_per_sector) + " clusters of " +
                    std::to_string(size.agents_per_cluster) + " agents; 1 to " +
                    std::to_string(2 * kMaxAgents) + " places in all",
                std::int64_t{2} * kMaxAgents);
  }
  Topology topology(agents, size);
  for (std::size_t row = 0; row < agents.rows(); ++row) {
    MESH_CHECK_OK(topology.adopt(agent_index(row)));
  }
  for (std::size_t row = 0; row < agents.rows(); ++row) topology.adopt_role(agent_index(row));
  return topology;
}

Status Topology::adopt(AgentIndex row) {
  const std::size_t at = row_of(row);
  // relaxed, here and below: this thread is the only writer of these columns.
  if (agents_.state.load_relaxed(at) == static_cast<std::uint8_t>(AgentState::free)) return {};
  const std::uint32_t cluster = agents_.cluster.load_relaxed(at);  // relaxed: own column
  if (cluster == kNoPlace) return {};
  if (cluster >= cluster_count()) {
    return fail(Errc::corrupt, "topology: " + of_row(row) + " stands in cluster " +
                                   std::to_string(cluster) + "; the mesh has " +
                                   std::to_string(cluster_count()));
  }
  if (!sched::is_known(static_cast<sched::AgentClass>(seen(row).agent_class)) ||
      clusters_[cluster].counts.agents == size_.agents_per_cluster) {
    return fail(Errc::corrupt, "topology: " + of_row(row) + " of class " +
                                   std::to_string(seen(row).agent_class) +
                                   " does not fit into cluster " + std::to_string(cluster));
  }
  join(row, cluster);
  // relaxed: own column. They differ when a predecessor died between the two stores.
  if (agents_.sector.load_relaxed(at) != sector_of(cluster)) {
    writer_.write(at, [&](const shm::RowStores<HostMemory>& stores) {
      stores.store(agents_.sector, sector_of(cluster));
    });
  }
  return {};
}

// The first who claims a role has it.
void Topology::adopt_role(AgentIndex row) {
  const AgentRole role = role_of(row);
  const Place place = place_of(row);
  if (role == AgentRole::agent) return;
  if (place.cluster != kNoPlace) {
    Group& group = role == AgentRole::lead ? static_cast<Group&>(clusters_[place.cluster])
                                           : static_cast<Group&>(sectors_[place.sector]);
    if (group.leader == kNoAgent && role <= AgentRole::coordinator) {
      group.leader = row;
      return;
    }
  }
  write_role(row, AgentRole::agent);
}

Status Topology::check_row(AgentIndex row, const char* verb) const {
  const std::size_t at = row_of(row);
  if (at >= member_of_.size()) {
    return fail(Errc::invalid_argument, doing(verb, row) + ": the table has " +
                                            std::to_string(member_of_.size()) + " rows");
  }
  const Member newcomer = seen(row);
  // relaxed: own column
  if (agents_.state.load_relaxed(at) == static_cast<std::uint8_t>(AgentState::free) ||
      !sched::is_known(static_cast<sched::AgentClass>(newcomer.agent_class))) {
    return fail(Errc::invalid_argument, doing(verb, row) +
                                            ": it is free, or of an unknown class, " +
                                            std::to_string(newcomer.agent_class));
  }
  return {};
}

Status Topology::check_room(AgentIndex row, std::uint32_t cluster, const char* verb) const {
  if (cluster >= cluster_count()) {
    return fail(Errc::invalid_argument, doing(verb, row) + " to cluster " +
                                            std::to_string(cluster) + ": the mesh has " +
                                            std::to_string(cluster_count()));
  }
  if (clusters_[cluster].counts.agents == size_.agents_per_cluster) {
    return fail(Errc::capacity,
                doing(verb, row) + " to cluster " + std::to_string(cluster) + ": all its " +
                    std::to_string(size_.agents_per_cluster) + " places are taken",
                size_.agents_per_cluster);
  }
  return {};
}

Result<Place> Topology::place(AgentIndex row) {
  MESH_CHECK_OK(check_row(row, "place"));
  const std::uint32_t cluster = choose_cluster(seen(row));
  if (cluster == kNoPlace) {
    return fail(Errc::capacity,
                "topology: place " + of_row(row) + ": all " + std::to_string(members_.size()) +
                    " places of " + std::to_string(cluster_count()) + " clusters are taken",
                static_cast<std::int64_t>(members_.size()));
  }
  return place_in(row, cluster);
}

Result<Place> Topology::place_in(AgentIndex row, std::uint32_t cluster) {
  MESH_CHECK_OK(check_row(row, "place"));
  MESH_CHECK_OK(check_room(row, cluster, "place"));
  if (const Place now = place_of(row); now.cluster != kNoPlace) {
    return fail(
        Errc::invalid_argument,
        "topology: place " + of_row(row) + ": it stands in cluster " + std::to_string(now.cluster));
  }
  join(row, cluster);
  write_place(row, place_of(row));
  return place_of(row);
}

Vacancy Topology::leave(AgentIndex row) noexcept {
  if (row_of(row) >= member_of_.size()) return {};
  if (member_of_[row_of(row)].cluster == kNoPlace) return {};
  const Vacancy vacancy = part(row);
  write_place(row, {});
  return vacancy;
}

Result<Vacancy> Topology::move(AgentIndex row, std::uint32_t to_cluster) {
  MESH_CHECK_OK(check_row(row, "move"));
  MESH_CHECK_OK(check_room(row, to_cluster, "move"));
  if (place_of(row).cluster == kNoPlace || place_of(row).cluster == to_cluster) {
    return fail(Errc::invalid_argument, "topology: move " + of_row(row) + " to cluster " +
                                            std::to_string(to_cluster) +
                                            ": it has no place, or that one");
  }
  const Vacancy vacancy = part(row);
  join(row, to_cluster);
  write_place(row, place_of(row));
  return vacancy;
}

Vacancy Topology::refresh(AgentIndex row) noexcept {
  MESH_ASSERT(row_of(row) < member_of_.size());
  Member& member = member_of_[row_of(row)];
  if (member.cluster == kNoPlace) return {};
  const Member now = seen(row);
  if (!sched::is_known(static_cast<sched::AgentClass>(now.agent_class))) return {};
  const bool is_same = member.score == now.score && member.agent_class == now.agent_class &&
                       member.healthy == now.healthy;
  member.can_lead = now.can_lead;  // counted nowhere
  if (!is_same) {
    count(member, -1);
    member.score = now.score;
    member.agent_class = now.agent_class;
    member.healthy = now.healthy;
    count(member, 1);
    refile(member.cluster);
  }
  Vacancy vacancy;
  if (!member.can_lead) {
    if (lead(member.cluster) == row) vacancy.cluster = member.cluster;
    if (coordinator(sector_of(member.cluster)) == row) vacancy.sector = sector_of(member.cluster);
  }
  return vacancy;
}

std::optional<Move> Topology::next_move() const noexcept {
  std::uint32_t from = 0;
  for (std::uint32_t sector = 1; sector < sectors_.size(); ++sector) {
    if (sectors_[sector].counts.agents > sectors_[from].counts.agents) from = sector;
  }
  const AgentIndex agent = to_give_away(from);
  if (agent == kNoAgent) return std::nullopt;
  const std::uint32_t most = sectors_[from].counts.agents;
  std::uint32_t to = kNoPlace;
  std::uint32_t to_cluster = kNoPlace;
  for (std::uint32_t sector = 0; sector < sectors_.size(); ++sector) {
    const std::uint32_t load = sectors_[sector].counts.agents;
    // More than a cluster's worth is at least 2, so the squares fall: most > load + 1.
    if (most - load <= size_.agents_per_cluster) continue;
    if (to != kNoPlace && load >= sectors_[to].counts.agents) continue;
    const std::uint32_t cluster = choose_in_sector(sector, member_of_[row_of(agent)]);
    if (cluster == kNoPlace) continue;
    to = sector;
    to_cluster = cluster;
  }
  if (to == kNoPlace) return std::nullopt;
  return Move{agent, to_cluster};
}

Place Topology::place_of(AgentIndex row) const noexcept {
  const std::uint32_t cluster = member_of_[row_of(row)].cluster;
  return cluster == kNoPlace ? Place{} : Place{sector_of(cluster), cluster};
}

AgentRole Topology::role_of(AgentIndex row) const noexcept {
  return static_cast<AgentRole>(agents_.role.load_relaxed(row_of(row)));  // relaxed: own column
}

std::optional<sched::AgentClass> Topology::class_of(std::uint32_t cluster) const noexcept {
  if (clusters_[cluster].main_class == kNoClass) return std::nullopt;
  return static_cast<sched::AgentClass>(clusters_[cluster].main_class);
}

// What the columns say of a row now.
Topology::Member Topology::seen(AgentIndex row) const noexcept {
  const std::size_t at = row_of(row);
  Member member = member_of_[at];
  member.score = std::min<std::uint16_t>(agents_.score.load_relaxed(at), 1'000);  // relaxed: own
  member.agent_class = agents_.agent_class.load_relaxed(at);  // relaxed: own column
  member.healthy = agents_.state.load_relaxed(at) ==
                   static_cast<std::uint8_t>(AgentState::active);  // relaxed: own column
  const std::uint8_t routing = agents_.routing.load_relaxed(at);   // relaxed: own
  member.can_lead = member.healthy && routing == 0;
  member.is_newcomer = (routing & kNewcomer) != 0;
  return member;
}

void Topology::count(const Member& member, std::int32_t sign) noexcept {
  const auto step = static_cast<std::uint32_t>(sign);  // modulo 2^32: -1 subtracts
  const auto score = static_cast<std::uint64_t>(std::int64_t{sign} * member.score);
  Cluster& cluster = clusters_[member.cluster];
  for (Group* group :
       {static_cast<Group*>(&cluster), static_cast<Group*>(&sectors_[sector_of(member.cluster)])}) {
    group->counts.agents += step;
    group->counts.healthy += member.healthy ? step : 0U;
    group->counts.newcomers += member.is_newcomer ? step : 0U;
    group->counts.score_sum += score;
  }
  cluster.classes[member.agent_class] += step;
}

void Topology::join(AgentIndex row, std::uint32_t cluster) noexcept {
  Member& member = member_of_[row_of(row)];
  MESH_ASSERT(member.cluster == kNoPlace);
  MESH_ASSERT(clusters_[cluster].counts.agents < size_.agents_per_cluster);
  member = seen(row);
  member.cluster = cluster;
  member.slot = clusters_[cluster].counts.agents;
  members_[std::size_t{cluster} * size_.agents_per_cluster + member.slot] =
      static_cast<std::uint32_t>(row);
  if (member.slot == 0) --sectors_[sector_of(cluster)].empty_clusters;
  count(member, 1);
  refile(cluster);
}

Vacancy Topology::part(AgentIndex row) noexcept {
  Member& member = member_of_[row_of(row)];
  const std::uint32_t cluster = member.cluster;
  const std::uint32_t sector = sector_of(cluster);
  count(member, -1);
  std::uint32_t* const first = &members_[std::size_t{cluster} * size_.agents_per_cluster];
  const std::uint32_t last = first[clusters_[cluster].counts.agents];
  first[member.slot] = last;
  member_of_[last].slot = member.slot;
  member = {};
  if (clusters_[cluster].counts.agents == 0) ++sectors_[sector].empty_clusters;
  refile(cluster);
  Vacancy vacancy;
  if (clusters_[cluster].leader == row) {
    clusters_[cluster].leader = kNoAgent;
    vacancy.cluster = cluster;
  }
  if (sectors_[sector].leader == row) {
    sectors_[sector].leader = kNoAgent;
    vacancy.sector = sector;
  }
  return vacancy;
}

// Puts a cluster whose counts changed where newcomers of its class look for it, if it has room.
void Topology::refile(std::uint32_t cluster) noexcept {
  Cluster& changed = clusters_[cluster];
  if (changed.place_in_open != kNoPlace) {
    auto& open = open_[changed.main_class];
    clusters_[open.back()].place_in_open = changed.place_in_open;
    open[changed.place_in_open] = open.back();
    open.pop_back();
    changed.place_in_open = kNoPlace;
  }
  changed.main_class = kNoClass;
  if (changed.counts.agents == 0) return;
  changed.main_class = static_cast<std::uint8_t>(
      std::max_element(changed.classes.begin(), changed.classes.end()) - changed.classes.begin());
  if (changed.counts.agents == size_.agents_per_cluster) return;
  auto& open = open_[changed.main_class];
  changed.place_in_open = static_cast<std::uint32_t>(open.size());
  open.push_back(cluster);
}

std::uint32_t Topology::choose_cluster(const Member& newcomer) const noexcept {
  Nearest nearest{newcomer.score};
  for (const std::uint32_t cluster : open_[newcomer.agent_class]) {
    nearest.look_at(cluster, clusters_[cluster].counts);
  }
  if (nearest.cluster != kNoPlace) return nearest.cluster;
  std::uint32_t least = kNoPlace;
  for (std::uint32_t sector = 0; sector < sectors_.size(); ++sector) {
    if (sectors_[sector].empty_clusters == 0) continue;
    if (least == kNoPlace || sectors_[sector].counts.agents < sectors_[least].counts.agents) {
      least = sector;
    }
  }
  if (least != kNoPlace) return empty_cluster_of(least);
  for (const auto& open : open_) {
    for (const std::uint32_t cluster : open) nearest.look_at(cluster, clusters_[cluster].counts);
  }
  return nearest.cluster;
}

std::uint32_t Topology::empty_cluster_of(std::uint32_t sector) const noexcept {
  const std::uint32_t first = sector * size_.clusters_per_sector;
  for (std::uint32_t cluster = first; cluster < first + size_.clusters_per_sector; ++cluster) {
    if (clusters_[cluster].counts.agents == 0) return cluster;
  }
  return kNoPlace;
}

// Among its own class, else alone; kNoPlace: neither.
std::uint32_t Topology::choose_in_sector(std::uint32_t sector,
                                         const Member& newcomer) const noexcept {
  Nearest nearest{newcomer.score};
  const std::uint32_t first = sector * size_.clusters_per_sector;
  for (std::uint32_t cluster = first; cluster < first + size_.clusters_per_sector; ++cluster) {
    const Cluster& candidate = clusters_[cluster];
    if (candidate.main_class != newcomer.agent_class) continue;
    if (candidate.counts.agents == size_.agents_per_cluster) continue;
    nearest.look_at(cluster, candidate.counts);
  }
  return nearest.cluster != kNoPlace ? nearest.cluster : empty_cluster_of(sector);
}

// From its smallest cluster, so that one is emptied before others are torn; plain agents before
// those with a role, the slowest first, the higher row of two.
AgentIndex Topology::to_give_away(std::uint32_t sector) const noexcept {
  std::uint32_t smallest = kNoPlace;
  const std::uint32_t first = sector * size_.clusters_per_sector;
  for (std::uint32_t cluster = first; cluster < first + size_.clusters_per_sector; ++cluster) {
    const std::uint32_t agents = clusters_[cluster].counts.agents;
    if (agents == 0) continue;
    if (smallest == kNoPlace || agents < clusters_[smallest].counts.agents) smallest = cluster;
  }
  if (smallest == kNoPlace) return kNoAgent;
  const auto rank = [&](std::uint32_t row) {
    return std::tuple(role_of(agent_index(row)) == AgentRole::agent, member_of_[row].score, row);
  };
  std::uint32_t chosen = agents_of(smallest)[0];
  for (const std::uint32_t row : agents_of(smallest)) {
    if (rank(row) > rank(chosen)) chosen = row;
  }
  return agent_index(chosen);
}

void Topology::write_place(AgentIndex row, const Place& place) noexcept {
  writer_.write(row_of(row), [&](const shm::RowStores<HostMemory>& stores) {
    stores.store(agents_.role, static_cast<std::uint8_t>(AgentRole::agent));
    stores.store(agents_.sector, place.sector);
    stores.store(agents_.cluster, place.cluster);
  });
}

}  // namespace mesh::engine
