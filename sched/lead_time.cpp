#include "sched/lead_time.hpp"

#include <algorithm>
#include <cmath>

namespace mesh::sched {
namespace {

// False for NaN and infinity too.
bool is_amount(double value) noexcept { return value >= 0 && std::isfinite(value); }

bool is_valid(const NominalInputs& agent, const NominalRequest& request) noexcept {
  return is_amount(agent.latency_ms) && is_amount(agent.drift) && is_amount(agent.reliability) &&
         agent.reliability <= 1 && is_known(agent.agent_class) &&
         agent.heartbeat_age.count() >= -kHeartbeatAheadNs && is_amount(request.weight) &&
         is_amount(request.z);
}

PlanStatus status_of(double lead_ms, const NominalRequest& request) noexcept {
  const double lead_ns = lead_ms * static_cast<double>(kNsPerMs);
  return lead_ns > static_cast<double>(request.available.count()) ? PlanStatus::kSkipLate
                                                                  : PlanStatus::kScheduled;
}

}  // namespace

NominalPlan nominal(const NominalInputs& agent, const NominalRequest& request) noexcept {
  if (!is_valid(agent, request)) return {};
  NominalPlan plan;
  plan.one_way_ms = agent.latency_ms / 2;
  plan.processing_ms = base_processing_ms(agent.agent_class) *
                       (1 + kWeightFactor * request.weight) *
                       (1 + kQueueFactor * static_cast<double>(agent.queue_depth));
  plan.buffer_ms = request.z * agent.drift * (plan.one_way_ms + plan.processing_ms);
  plan.lead_ms = plan.one_way_ms + plan.processing_ms + plan.buffer_ms;
  if (!std::isfinite(plan.lead_ms)) return {};
  const bool fresh = agent.heartbeat_age.count() < kHeartbeatFreshNs;
  plan.confidence = std::clamp(kReliabilityShare * agent.reliability - kDriftPenalty * agent.drift +
                                   (fresh ? kFreshShare : 0.0),
                               0.0, 1.0);
  plan.status = status_of(plan.lead_ms, request);
  return plan;
}

NominalPlan calibrated(const CalibratedInputs& agent, const NominalRequest& request) noexcept {
  NominalPlan plan = nominal(agent.nominal, request);
  if (plan.status == PlanStatus::kSkipInvalid || !agent.has_history) return plan;
  if (!is_amount(agent.work_ms) || !std::isfinite(agent.residual_ms)) return {};
  plan.processing_ms =
      agent.work_ms *
      agent.factors.of(request.weight, static_cast<double>(agent.nominal.queue_depth));
  plan.buffer_ms = agent.residual_ms;
  plan.lead_ms = std::max(plan.one_way_ms + plan.processing_ms + plan.buffer_ms, 0.0);
  if (!std::isfinite(plan.lead_ms)) return {};
  plan.confidence = std::clamp(agent.confidence, 0.0, 1.0);
  plan.status = status_of(plan.lead_ms, request);
  return plan;
}

}  // namespace mesh::sched
