#include "tools/plan_report.hpp"

#include <cmath>
#include <limits>

#include "sched/lead_time.hpp"

namespace mesh::tools {
namespace {

bool is_amount(double value) noexcept { return value >= 0 && std::isfinite(value); }

// What a file can say and the table's row cannot: a queue is a count of 32 bits there, and an age
// is no negative or endless time.
bool fits_a_row(const AgentLine& agent) noexcept {
  return is_amount(agent.queue_depth) && is_amount(agent.heartbeat_age_s) &&
         agent.queue_depth <= std::numeric_limits<std::uint32_t>::max() &&
         agent.queue_depth == std::floor(agent.queue_depth);
}

Nanos age_of(double seconds) noexcept {
  constexpr double kLongest = 9e9;  // 285 years; int64 nanoseconds end soon after
  // Cut off, not rounded: an age just under 10 s must stay under it.
  return Nanos{
      static_cast<std::int64_t>(std::min(seconds, kLongest) * static_cast<double>(kNsPerSecond))};
}

PlannedAgent plan_agent(const AgentLine& agent, const PlanOptions& options) noexcept {
  if (!fits_a_row(agent)) return {};
  const sched::NominalPlan plan =
      sched::nominal({.agent_class = static_cast<sched::AgentClass>(agent.agent_class),
                      .latency_ms = agent.latency_ms,
                      .drift = agent.drift,
                      .reliability = agent.reliability,
                      .queue_depth = static_cast<std::uint32_t>(agent.queue_depth),
                      .heartbeat_age = age_of(agent.heartbeat_age_s)},
                     {.weight = options.weight, .z = options.z, .available = Nanos::max()});
  if (plan.status == sched::PlanStatus::kSkipInvalid) return {};
  // Late is decided on the milliseconds that are shown, not on the window rounded to nanoseconds,
  // so that an agent whose lead is exactly the window is scheduled.
  const double send_in_ms = options.window_ms - plan.lead_ms;
  return {send_in_ms < 0 ? PlanOutcome::insufficient_lead_time : PlanOutcome::scheduled,
          plan.lead_ms, send_in_ms, plan.confidence};
}

}  // namespace

PlanReport plan_agents(std::span<const AgentLine> agents, const PlanOptions& options) {
  PlanReport report;
  report.options = options;
  report.agents = agents;
  report.planned.reserve(agents.size());
  for (const AgentLine& agent : agents) {
    const PlannedAgent& planned = report.planned.emplace_back(plan_agent(agent, options));
    report.scheduled += planned.outcome == PlanOutcome::scheduled ? 1 : 0;
    report.late += planned.outcome == PlanOutcome::insufficient_lead_time ? 1 : 0;
    report.invalid += planned.outcome == PlanOutcome::invalid_impedance ? 1 : 0;
  }
  return report;
}

}  // namespace mesh::tools
