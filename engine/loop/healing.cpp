#include "engine/loop/healing.hpp"

#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

using console::Scope;
using console::ScopeKind;
using coordination::BreakerState;

Status check(const Topology& topology, const Scope& scope) {
  const TopologySize& size = topology.size();
  const std::uint32_t most = scope.kind == ScopeKind::sector    ? size.sectors
                             : scope.kind == ScopeKind::cluster ? topology.cluster_count()
                                                                : UINT32_MAX;
  if (scope.number < most) return {};
  return fail(Errc::invalid_argument,
              std::string(scope.kind == ScopeKind::sector ? "sector " : "cluster ") +
                  std::to_string(scope.number) + ": the mesh has " + std::to_string(most));
}

bool is_in(const Topology& topology, const Scope& scope, std::uint32_t cluster) noexcept {
  if (scope.kind == ScopeKind::mesh) return true;
  if (cluster >= topology.cluster_count()) return false;
  return scope.number == (scope.kind == ScopeKind::cluster ? cluster : topology.sector_of(cluster));
}

// Lower places first: the mesh's breaker would trip again over sectors that are open.
std::vector<Scope> places_in(const Topology& topology, const Scope& scope) {
  std::vector<Scope> places;
  for (std::uint32_t cluster = 0; cluster < topology.cluster_count(); ++cluster)
    if (is_in(topology, scope, cluster)) places.push_back({ScopeKind::cluster, cluster});
  for (std::uint32_t sector = 0; sector < topology.size().sectors; ++sector) {
    const bool is_meant = scope.kind == ScopeKind::mesh ||
                          (scope.kind == ScopeKind::sector && scope.number == sector);
    if (is_meant) places.push_back({ScopeKind::sector, sector});
  }
  if (scope.kind == ScopeKind::mesh) places.push_back(scope);
  return places;
}

std::size_t breaker_of(const Topology& topology, const Scope& place) noexcept {
  if (place.kind == ScopeKind::mesh) return 0;
  if (place.kind == ScopeKind::sector) return std::size_t{1} + place.number;
  return std::size_t{1} + topology.size().sectors + place.number;
}

}  // namespace

Result<std::vector<BreakerChange>> reset_breakers(EngineLoop& loop, const Scope& scope,
                                                  HostTime now) {
  EngineLoop::State& state = loop.state();
  MESH_CHECK_OK(check(*state.topology, scope));
  state.advance_to(now);
  health::MeshBreakers& breakers = state.gate.watch->breakers();
  std::vector<BreakerChange> changes;
  for (const Scope& place : places_in(*state.topology, scope)) {
    const std::size_t at = breaker_of(*state.topology, place);
    const BreakerState before = breakers.tree().at(at).state();
    if (before == BreakerState::closed || before == BreakerState::disabled) continue;
    breakers.reset(at, from_ns(state.now_ns));
    changes.push_back({place, before, breakers.tree().at(at).state()});
  }
  state.gate.refresh();
  return changes;
}

Result<std::vector<AilingAgent>> ailing_agents(const EngineLoop& loop, const Scope& scope) {
  const EngineLoop::State& state = loop.state();
  MESH_CHECK_OK(check(*state.topology, scope));
  std::vector<AilingAgent> ailing;
  for (std::uint32_t row = 0; row < state.row_count; ++row) {
    const AgentId id = state.registry->id_of(agent_index(row));
    if (id == AgentId{0} ||
        !is_in(*state.topology, scope, state.topology->place_of(agent_index(row)).cluster))
      continue;
    const AgentState now = state.state_of(row);
    const bool has_left = own(state.owners.departed, row) != 0;
    const bool is_missed = now == AgentState::offline && !has_left;
    if (!is_missed && !state.gate.holds.is_quarantined(row)) continue;
    ailing.push_back(
        {std::string(state.registry->name_of(agent_index(row)).view()), id, !is_missed});
  }
  return ailing;
}

}  // namespace mesh::engine
