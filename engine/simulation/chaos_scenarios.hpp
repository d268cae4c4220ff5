// Scenarios: experiments that a mesh must stand, ready to run in SimDriver. Each has a hypothesis
// that holds with all guards; in brackets the one without which it does not.
//
//     nothing              nothing breaks: everything holds
//     single_agent_crash   an agent dies, is back after 10 s: no request fails (breakers, retries)
//     network_partition    `side` is cut off for 30 s: no request fails (retries)
//     cascading_failure    cluster leads die, 5 s apart: no request fails, no failure goes on more
//                          than twice, and half a percent of attempts fails (breakers)
//     resource_exhaustion  the callers' slots are taken: nothing is lost (waits)
//     cluster_lead_loss    every cluster's lead dies at once: no request fails, and half a percent
//                          of attempts does (breakers)
//     sector_loss          300 agents die at once: 99 % succeed (breakers, retries)
//     slow_consumer        three agents are a hundred times slower: 2 % of attempts fail (breakers)
//     hung_agents          three processes are stopped: 2 % of attempts fail (breakers)
//     clock_skew           the host's clock is set: no request fails, the mesh's clock runs on
//                          evenly (slews)
//     lossy_network        a third of the agents lose messages: no request fails (retries)
//     duplicate_storm      half of the messages come twice: nothing is done twice (dedup)
//     corrupted_messages   bits are flipped: nobody acts on it (checks)
//     byzantine_minority   some agents answer CONFLICT: no request fails (retries)
//     thundering_herd      every agent dies, is back in half a second: all is well then (grace)
//     impedance_liar       a fifth of all say that they cost nothing, and are slow: requests do not
//                          become slower than their share makes them (weights)
//     rolling_429          one network after another answers 429: 4 % of attempts fail (backoff)
//     fenced_partition     who holds a lock is cut off or stands still: no write of a former holder
//                          is taken (fences)
//     engine_death         the loop dies at each step of a message, the host of queue and locks at
//                          each step of a command, in turn: nothing that was accepted is lost, no
//                          message is answered twice, no task is done twice (adoption, journal)
//     station_death        a worker dies at each hook of its task in turn: no task's effect is
//                          there twice (effect_keys)
//
// Callers     anyone; pure functions.
// Units       virtual time.
// Source      the failure classes of docs/HEALTH.md.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/simulation/sim_driver.hpp"

namespace mesh::engine::simulation::scenarios {

[[nodiscard]] SimulatedExperiment nothing(std::uint64_t seed);
[[nodiscard]] SimulatedExperiment single_agent_crash(std::uint32_t agent, std::uint64_t seed);
[[nodiscard]] SimulatedExperiment network_partition(std::vector<std::uint32_t> side,
                                                    std::uint64_t seed);
[[nodiscard]] SimulatedExperiment cascading_failure(std::uint32_t leads, std::uint64_t seed);
[[nodiscard]] SimulatedExperiment resource_exhaustion(std::uint32_t fill_ppm, std::uint64_t seed);
[[nodiscard]] SimulatedExperiment cluster_lead_loss(std::uint64_t seed);
[[nodiscard]] SimulatedExperiment sector_loss(std::uint64_t seed);
[[nodiscard]] SimulatedExperiment slow_consumer(std::uint64_t seed);
[[nodiscard]] SimulatedExperiment hung_agents(std::uint64_t seed);
[[nodiscard]] SimulatedExperiment clock_skew(Nanos offset, std::uint64_t seed);
[[nodiscard]] SimulatedExperiment lossy_network(std::uint32_t rate_ppm, std::uint64_t seed);
[[nodiscard]] SimulatedExperiment duplicate_storm(std::uint64_t seed);
[[nodiscard]] SimulatedExperiment corrupted_messages(std::uint64_t seed);
[[nodiscard]] SimulatedExperiment byzantine_minority(std::uint32_t agents, std::uint64_t seed);
[[nodiscard]] SimulatedExperiment thundering_herd(std::uint64_t seed);
[[nodiscard]] SimulatedExperiment impedance_liar(std::uint32_t agents, std::uint64_t seed);
[[nodiscard]] SimulatedExperiment rolling_429(std::uint64_t seed);
[[nodiscard]] SimulatedExperiment fenced_partition(std::uint64_t seed);
[[nodiscard]] SimulatedExperiment engine_death(std::uint64_t seed);
[[nodiscard]] SimulatedExperiment station_death(std::uint64_t seed);

// Each with its usual parameters, by name.
struct Named {
  std::string_view name;
  std::string_view about;
  // What it tests: without each of these guards, or sets of guards that stand in for one another
  // ("breakers+retries"), it does not hold. None: it is the one in which nothing breaks.
  std::array<std::string_view, 2> tests;
  SimulatedExperiment (*make)(std::uint64_t seed);
};
struct NamedGuard {
  std::string_view name;
  bool& (*in)(ChaosGuards& guards);
};
[[nodiscard]] std::span<const NamedGuard> guards();
// False: one of these names, between '+', is no guard's.
[[nodiscard]] bool take_away(std::string_view names, ChaosGuards& guards);
[[nodiscard]] std::span<const Named> all();

}  // namespace mesh::engine::simulation::scenarios
