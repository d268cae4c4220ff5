// What `mesh chaos` prints of an experiment: one JSON object, or lines for a person.
#pragma once

#include <iosfwd>

#include "engine/simulation/sim_driver.hpp"

namespace mesh::tools {

struct PlayedExperiment {
  const engine::simulation::SimulatedExperiment& experiment;
  const engine::simulation::SimulatedRun& run;
};
void write_chaos_json(const PlayedExperiment& played, std::ostream& out);
void write_chaos_text(const PlayedExperiment& played, std::ostream& out);

// Which states of which machine were under which fault.
void write_coverage_json(const engine::simulation::ChaosCoverage& coverage, std::ostream& out);
void write_coverage_text(const engine::simulation::ChaosCoverage& coverage, std::ostream& out);

// Fault types, and which driver does which.
void write_faults_json(std::ostream& out);
void write_faults_text(std::ostream& out);

}  // namespace mesh::tools
