#include "engine/cluster_quorum.hpp"

#include <utility>

namespace mesh::engine {
namespace {

std::string name_of(const EngineLoop& loop, AgentId agent) {
  auto known = loop.known(agent);
  return known ? std::move(known->name) : std::string();
}

}  // namespace

CascadeRequest cascade_of(const QuorumRequest& request) noexcept {
  return {.strategy = CascadeStrategy::quorum,
          .cluster_window = request.lead_window,
          .agent_window = request.window,
          .cluster = request.cluster,
          .priority = request.priority,
          .body = std::as_bytes(std::span(request.question))};
}

QuorumReport quorum_report(const EngineLoop& loop, const FinishedCascade& finished) {
  QuorumReport report{.cluster = finished.cluster,
                      .is_success = finished.status == CascadeStatus::success,
                      .agents = finished.agents,
                      .promoted = finished.promoted,
                      .took = Nanos{finished.total_ns}};
  for (const CascadeUnit& unit : loop.cascade_units(finished.id)) {
    if (unit.is_sector || unit.index != finished.cluster) continue;
    report.lead = name_of(loop, unit.leader);
    report.lead_step = unit.step;
  }
  if (auto verdict = sched::trinary_quorum(quorum_of(finished.agents)))
    report.verdict = std::move(*verdict);
  for (const TargetTrace& one : loop.trace(finished.below)) {
    if (one.state != sched::TrinaryState::ready)
      report.not_ready.push_back({name_of(loop, one.agent), one.state});
  }
  return report;
}

}  // namespace mesh::engine
