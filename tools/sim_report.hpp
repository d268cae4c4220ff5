// What `mesh sim` prints of a simulated run: a JSON object, or a table of KPIs with their targets.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "engine/simulation/measures.hpp"

namespace mesh::tools {

// A KPI that has a target is met or not; what was not measured is neither.
enum class KpiVerdict : std::uint8_t { not_measured, reported, met, missed };

struct Kpi {
  std::string name;
  std::string value;   // "-": not measured
  std::string target;  // "": none
  KpiVerdict verdict = KpiVerdict::reported;
  std::string note;  // why it was not measured
};
[[nodiscard]] std::vector<Kpi> kpis_of(const engine::simulation::SimulationReport& report);

void write_sim_json(const engine::simulation::SimulationReport& report, double wall_s,
                    std::ostream& out);
void write_sim_table(const engine::simulation::SimulationReport& report, double wall_s,
                     std::ostream& out);

}  // namespace mesh::tools
