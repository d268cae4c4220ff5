// PlanReport: the send-time calculation over a table of agents, and the two ways it is shown. The
// formula is sched/lead_time.hpp's; nothing here computes a lead.
//
// Units       milliseconds, as in the file and on the command line. send_in_ms counts from now;
//             T is window_ms away.
// Invariant   scheduled + late + invalid == agents; for a scheduled agent
//             send_in_ms + lead_ms == window_ms but for rounding. Every number is finite.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <span>
#include <vector>

#include "tools/agents_csv.hpp"

namespace mesh::tools {

struct PlanOptions {
  double window_ms = 0;
  double weight = 0;
  double z = 0;
};

enum class PlanOutcome : std::uint8_t { scheduled, insufficient_lead_time, invalid_impedance };

struct PlannedAgent {
  PlanOutcome outcome = PlanOutcome::invalid_impedance;
  double lead_ms = 0;  // nothing below means anything when invalid_impedance
  double send_in_ms = 0;
  double confidence = 0;
};

struct PlanReport {
  PlanOptions options;
  std::span<const AgentLine> agents;
  std::vector<PlannedAgent> planned;  // planned[i] is agents[i]
  std::size_t scheduled = 0;
  std::size_t late = 0;
  std::size_t invalid = 0;
};

// The agents must outlive the report.
[[nodiscard]] PlanReport plan_agents(std::span<const AgentLine> agents, const PlanOptions& options);

// One object, agents in input order, one a line.
void write_plan_json(const PlanReport& report, std::ostream& out);
// A table by class, the sends on the time axis, and who is skipped. `unicode`: bars may be block
// characters.
void write_plan_text(const PlanReport& report, bool unicode, std::ostream& out);

}  // namespace mesh::tools
