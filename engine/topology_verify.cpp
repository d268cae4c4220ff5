// Topology::verify: counts again, slowly and from the columns alone.
#include <string>
#include <vector>

#include "engine/topology.hpp"

namespace mesh::engine {
namespace {

tl::unexpected<Error> wrong(const std::string& what, std::uint32_t group, std::uint64_t found,
                            std::uint64_t counted) {
  return fail(Errc::corrupt, "topology: " + what + " " + std::to_string(group) + ": found " +
                                 std::to_string(found) + ", counted " + std::to_string(counted));
}

Status compare(const std::string& group, std::uint32_t number, const GroupCounts& found,
               const GroupCounts& counted) {
  if (found.agents != counted.agents) {
    return wrong("agents of " + group, number, found.agents, counted.agents);
  }
  if (found.healthy != counted.healthy) {
    return wrong("healthy agents of " + group, number, found.healthy, counted.healthy);
  }
  if (found.score_sum != counted.score_sum) {
    return wrong("sum of scores of " + group, number, found.score_sum, counted.score_sum);
  }
  return {};
}

}  // namespace

Status Topology::verify_roles() const {
  for (std::uint32_t row = 0; row < member_of_.size(); ++row) {
    const AgentRole role = role_of(agent_index(row));
    if (agents_.state.load_relaxed(row) == 0 || role == AgentRole::agent) continue;  // relaxed: own
    const Place place = place_of(agent_index(row));
    if (place.cluster == kNoPlace) return wrong("role of row", row, row_of(kNoAgent), row);
    const AgentIndex leader =
        role == AgentRole::lead ? lead(place.cluster) : coordinator(place.sector);
    if (leader != agent_index(row)) return wrong("leader by row", row, row, row_of(leader));
  }
  for (std::uint32_t c = 0; c < cluster_count(); ++c) {
    if (lead(c) == kNoAgent) continue;
    if (role_of(lead(c)) != AgentRole::lead || place_of(lead(c)).cluster != c) {
      return wrong("lead of cluster", c, row_of(kNoAgent), row_of(lead(c)));
    }
  }
  for (std::uint32_t s = 0; s < size_.sectors; ++s) {
    if (coordinator(s) == kNoAgent) continue;
    if (role_of(coordinator(s)) != AgentRole::coordinator || place_of(coordinator(s)).sector != s) {
      return wrong("coordinator of sector", s, row_of(kNoAgent), row_of(coordinator(s)));
    }
  }
  return {};
}

Status Topology::verify_cluster(std::uint32_t number, const ClassCounts& classes) const {
  const Cluster& cluster = clusters_[number];
  std::uint8_t main_class = kNoClass;
  for (std::uint8_t i = 0; i < kNoClass; ++i) {
    if (classes[i] != cluster.classes[i]) {
      return wrong("agents of class " + std::to_string(i) + " in cluster", number, classes[i],
                   cluster.classes[i]);
    }
    if (classes[i] != 0 && (main_class == kNoClass || classes[i] > classes[main_class])) {
      main_class = i;
    }
  }
  if (main_class != cluster.main_class) {
    return wrong("class of cluster", number, main_class, cluster.main_class);
  }
  const bool open = cluster.counts.agents > 0 && cluster.counts.agents < size_.agents_per_cluster;
  if (open != (cluster.place_in_open != kNoPlace) ||
      (open && open_[main_class][cluster.place_in_open] != number)) {
    return wrong("place among the open clusters of cluster", number, open ? 1 : 0,
                 cluster.place_in_open);
  }
  return {};
}

Status Topology::verify() const {
  std::vector<GroupCounts> clusters(clusters_.size());
  std::vector<GroupCounts> sectors(sectors_.size());
  std::vector<ClassCounts> classes(clusters_.size());
  for (std::uint32_t row = 0; row < member_of_.size(); ++row) {
    const Member& member = member_of_[row];
    const std::uint32_t cluster = agents_.cluster.load_relaxed(row);  // relaxed: own column
    const std::uint32_t sector = agents_.sector.load_relaxed(row);    // relaxed: own column
    const bool is_free = agents_.state.load_relaxed(row) == 0;        // relaxed: own column
    if (member.cluster != (is_free ? kNoPlace : cluster)) {
      return wrong("cluster of row", row, cluster, member.cluster);
    }
    if (member.cluster == kNoPlace) continue;
    if (sector != sector_of(cluster))
      return wrong("sector of row", row, sector, sector_of(cluster));
    if (agents_of(cluster)[member.slot] != row) {
      return wrong("slot of row", row, agents_of(cluster)[member.slot], row);
    }
    for (GroupCounts* counts : {&clusters[cluster], &sectors[sector]}) {
      ++counts->agents;
      counts->healthy += member.healthy ? 1U : 0U;
      counts->newcomers += member.is_newcomer ? 1U : 0U;
      counts->score_sum += member.score;
    }
    ++classes[cluster][member.agent_class];
  }
  for (std::uint32_t c = 0; c < clusters_.size(); ++c) {
    MESH_CHECK_OK(compare("cluster", c, clusters[c], clusters_[c].counts));
    MESH_CHECK_OK(verify_cluster(c, classes[c]));
  }
  for (std::uint32_t s = 0; s < sectors_.size(); ++s) {
    MESH_CHECK_OK(compare("sector", s, sectors[s], sectors_[s].counts));
    std::uint32_t empty = 0;
    for (std::uint32_t i = 0; i < size_.clusters_per_sector; ++i) {
      empty += clusters[s * size_.clusters_per_sector + i].agents == 0 ? 1U : 0U;
    }
    if (empty != sectors_[s].empty_clusters) {
      return wrong("empty clusters of sector", s, empty, sectors_[s].empty_clusters);
    }
  }
  return verify_roles();
}

}  // namespace mesh::engine
