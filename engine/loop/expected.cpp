#include "engine/loop/expected.hpp"

#include <algorithm>
#include <string>

#include "engine/loop/operator_holds.hpp"
#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

Result<CapabilitySet> capabilities_of(EngineLoop::State& loop, const KeptAgent& agent) {
  CapabilitySet set;
  for (const std::string& name : agent.capabilities) {
    MESH_TRY(const CapabilityBit bit, loop.capabilities->intern(name));
    set.insert(bit);
  }
  return set;
}

// What was measured of it once: a beginning, until it is measured anew.
void put_profile(EngineLoop::State& loop, std::uint32_t row, const KeptAgent& agent) noexcept {
  if (agent.score == 0) return;  // nothing was: the priors of its class stand
  put(loop.agents.latency_ms, row, agent.latency_ms);
  put(loop.agents.processing_ms, row, agent.processing_ms);
  put(loop.agents.drift, row, agent.drift);
  put(loop.agents.reliability, row, agent.reliability);
  put(loop.agents.work_ms, row, agent.work_ms);
  put(loop.agents.residual_centre_ms, row, agent.residual_centre_ms);
  put(loop.agents.residual_by_t_ms, row, agent.residual_by_t_ms);
  put(loop.agents.confidence, row, agent.confidence);
  put(loop.agents.confidence_by_t, row, agent.confidence_by_t);
  put(loop.agents.history, row, agent.history);
  put(loop.agents.score, row, std::min<std::uint16_t>(agent.score, 1'000));
}

void put_place(EngineLoop::State& loop, AgentIndex index, std::uint32_t cluster) {
  // A mesh larger than its topology has agents without a cluster; they are reached all the same.
  const bool is_meant = cluster < loop.topology->cluster_count();
  if (!is_meant || !loop.topology->place_in(index, cluster))
    static_cast<void>(loop.topology->place(index));
}

}  // namespace

Result<std::vector<AgentId>> expect_agents(EngineLoop& loop, std::span<const KeptAgent> agents,
                                           HostTime now) {
  EngineLoop::State& state = loop.state();
  state.advance_to(now);
  std::vector<AgentId> ids;
  ids.reserve(agents.size());
  for (const KeptAgent& agent : agents) {
    MESH_TRY(const CapabilitySet capabilities, capabilities_of(state, agent));
    MESH_TRY(const AgentId id,
             state.registry->expect({.name = agent.name,
                                     .uid = agent.uid,
                                     .attachment = {.agent_class = agent.agent_class,
                                                    .capabilities = capabilities,
                                                    .now_mesh_ms = state.mesh_ms()}},
                                    now));
    const AgentIndex index = index_of(id);
    const auto row = static_cast<std::uint32_t>(index);
    put(state.owners.departed, row, static_cast<std::uint8_t>(Departure::left));
    put_profile(state, row, agent);
    put(state.agents.routing, row,
        static_cast<std::uint8_t>(agent.routing & (kRoutedAround | kFrozen | kNewcomer)));
    state.predictor->forget(row);
    put_place(state, index, agent.cluster);
    obey_rules(state, row);
    ids.push_back(id);
  }
  adopt_holds(state);
  state.order_is_stale = true;
  return ids;
}

}  // namespace mesh::engine
