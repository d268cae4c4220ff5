// Repro: an experiment that did not hold, as a text that plays it again; and the least of it that
// still does not hold.
//
//     mesh chaos plan 2
//     name lossy-network
//     seed 7
//     plan-hash 1234567890
//     bytes 0A1B...
//
// Callers     anyone.
// Cost        shrink: about n log n runs of the experiment for n faults, n^2 at worst.
// Errors      read_repro -> bad_input (no such text, or another version), corrupt (its bytes make
//             no plan, or another one than its hash says); detail: the line, and the sentence names
//             the key.
// Source      ddmin: Zeller & Hildebrandt 2002.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "engine/simulation/sim_driver.hpp"

namespace mesh::engine::simulation {

[[nodiscard]] std::string write_repro(const SimulatedExperiment& experiment);
[[nodiscard]] Result<SimulatedExperiment> read_repro(std::string_view text);

// True: the experiment fails as it should.
using StillFails = std::function<bool(const SimulatedExperiment& experiment)>;
struct Shrunk {
  SimulatedExperiment experiment;
  std::uint32_t faults = 0;
  std::uint32_t runs = 0;
};
// Faults are left out as long as it fails; of those that are left none can be. `experiment` fails.
[[nodiscard]] Shrunk shrink(const SimulatedExperiment& experiment, const StillFails& fails);

}  // namespace mesh::engine::simulation
