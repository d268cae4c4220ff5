// Topology: who leads.
#include "engine/topology.hpp"

namespace mesh::engine {
AgentIndex Topology::promote_lead(std::uint32_t cluster) noexcept {
  MESH_ASSERT(cluster < clusters_.size());
  AgentIndex& leader = clusters_[cluster].leader;
  if (leader != kNoAgent && member_of_[row_of(leader)].can_lead) return leader;
  if (leader != kNoAgent) write_role(leader, AgentRole::agent);
  leader = best_of(cluster, AgentRole::agent);
  if (leader != kNoAgent) write_role(leader, AgentRole::lead);
  return leader;
}

AgentIndex Topology::promote_coordinator(std::uint32_t sector) noexcept {
  MESH_ASSERT(sector < sectors_.size());
  AgentIndex& leader = sectors_[sector].leader;
  if (leader != kNoAgent && member_of_[row_of(leader)].can_lead) return leader;
  if (leader != kNoAgent) write_role(leader, AgentRole::agent);
  leader = best_coordinator(sector);
  if (leader == kNoAgent) return kNoAgent;
  const std::uint32_t cluster = place_of(leader).cluster;
  if (clusters_[cluster].leader == leader) clusters_[cluster].leader = kNoAgent;
  write_role(leader, AgentRole::coordinator);
  return leader;
}

// Who leads nothing before who leads a cluster.
AgentIndex Topology::best_coordinator(std::uint32_t sector) const noexcept {
  AgentIndex best = kNoAgent;
  const std::uint32_t first = sector * size_.clusters_per_sector;
  for (const AgentRole role : {AgentRole::agent, AgentRole::lead}) {
    for (std::uint32_t i = 0; i < size_.clusters_per_sector; ++i) {
      const AgentIndex candidate = best_of(first + i, role);
      if (candidate != kNoAgent && is_better(candidate, best)) best = candidate;
    }
    if (best != kNoAgent) break;
  }
  return best;
}

bool Topology::is_to_relieve(AgentIndex leader, AgentIndex best) const noexcept {
  if (leader == kNoAgent || best == kNoAgent) return false;
  return member_of_[row_of(leader)].score >
         kRelievedAt * member_of_[row_of(best)].score + kRelievedBeyond;
}

void Topology::relieve(const Vacancy& place) noexcept {
  if (place.cluster != kNoPlace) {
    AgentIndex& leader = clusters_[place.cluster].leader;
    const AgentIndex best = best_of(place.cluster, AgentRole::agent);
    if (is_to_relieve(leader, best)) {
      write_role(leader, AgentRole::agent);
      leader = best;
      write_role(leader, AgentRole::lead);
    }
  }
  if (place.sector == kNoPlace) return;
  AgentIndex& leader = sectors_[place.sector].leader;
  const AgentIndex best = best_coordinator(place.sector);
  if (!is_to_relieve(leader, best) || role_of(best) != AgentRole::agent) return;
  write_role(leader, AgentRole::agent);
  leader = best;
  write_role(leader, AgentRole::coordinator);
}

void Topology::fill(const Vacancy& vacancy) noexcept {
  if (vacancy.cluster != kNoPlace) promote_lead(vacancy.cluster);
  if (vacancy.sector == kNoPlace) return;
  const AgentIndex before = sectors_[vacancy.sector].leader;
  const AgentIndex now = promote_coordinator(vacancy.sector);
  if (now != before && now != kNoAgent) promote_lead(place_of(now).cluster);  // it may have led it
}

void Topology::write_role(AgentIndex row, AgentRole role) noexcept {
  writer_.write(row_of(row), [&](const shm::RowStores<HostMemory>& stores) {
    stores.store(agents_.role, static_cast<std::uint8_t>(role));
  });
}

bool Topology::is_better(AgentIndex candidate, AgentIndex than) const noexcept {
  if (than == kNoAgent) return true;
  const std::uint16_t mine = member_of_[row_of(candidate)].score;
  const std::uint16_t its = member_of_[row_of(than)].score;
  return mine < its || (mine == its && candidate < than);
}

AgentIndex Topology::best_of(std::uint32_t cluster, AgentRole role) const noexcept {
  AgentIndex best = kNoAgent;
  for (const std::uint32_t row : agents_of(cluster)) {
    const AgentIndex candidate = agent_index(row);
    if (!member_of_[row].can_lead || role_of(candidate) != role) continue;
    if (is_better(candidate, best)) best = candidate;
  }
  return best;
}

}  // namespace mesh::engine
