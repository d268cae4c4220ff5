#include "engine/simulation/chaos_scenarios.hpp"

#include <array>
#include <string>
#include <utility>

namespace mesh::engine::simulation::scenarios {
namespace {

using coordination::Aggregation;
using coordination::AssertionOp;
using coordination::ChaosAssertion;
using coordination::ChaosFault;
using coordination::ChaosPhase;
using coordination::ChaosRole;
using coordination::FaultType;
using coordination::FaultVariant;
using coordination::TargetMode;

constexpr Nanos seconds(std::int64_t count) { return Nanos{count * kNsPerSecond}; }

ChaosAssertion succeed(double share) {
  return {"success_rate", AssertionOp::gte, share, 0, Aggregation::avg};
}
ChaosAssertion at_most(std::string metric, double limit, Aggregation how) {
  return {std::move(metric), AssertionOp::lte, limit, 0, how};
}
std::vector<ChaosAssertion> no_request_fails() {
  return {succeed(0.99), at_most("error_rate", 0.01, Aggregation::max)};
}

SimulatedExperiment experiment(std::string name, std::uint64_t seed,
                               std::vector<ChaosAssertion> assertions) {
  SimulatedExperiment made;
  made.plan.name = std::move(name);
  made.plan.seed = seed;
  made.plan.hypothesis.assertions = std::move(assertions);
  made.plan.hypothesis.window = seconds(10);
  made.mesh.seed = seed;
  return made;
}
ChaosFault fault(FaultType type, std::uint32_t agents, Nanos lasts) {
  ChaosFault made;
  made.type = type;
  made.targets.count = agents;
  made.duration = lasts;
  return made;
}

}  // namespace

SimulatedExperiment nothing(std::uint64_t seed) {
  auto assertions = no_request_fails();
  for (const auto* metric : {"duplicates", "corrupt", "lost", "conflicts", "attempt_failures"}) {
    assertions.push_back(at_most(metric, 0, Aggregation::max));
  }
  assertions.push_back({"availability", AssertionOp::gte, 1, 0, Aggregation::min});
  auto made = experiment("nothing", seed, std::move(assertions));
  ChaosPhase phase;
  phase.duration = seconds(20);
  made.plan.phases = {phase};
  return made;
}

SimulatedExperiment single_agent_crash(std::uint32_t agent, std::uint64_t seed) {
  auto made = experiment("single-agent-crash", seed, no_request_fails());
  ChaosFault crash = fault(FaultType::agent_crash, 1, seconds(15));
  crash.targets.mode = TargetMode::specific;
  crash.targets.agents = {agent};
  crash.params.restart_after = seconds(10);
  made.plan.hypothesis.window = seconds(15);  // all of it
  made.plan.faults = {crash};
  return made;
}

SimulatedExperiment network_partition(std::vector<std::uint32_t> side, std::uint64_t seed) {
  auto assertions = no_request_fails();
  assertions.push_back(at_most("duplicates", 0, Aggregation::max));
  auto made = experiment("network-partition", seed, std::move(assertions));
  made.plan.hypothesis.window = seconds(30);
  ChaosFault cut = fault(FaultType::partition, 0, seconds(30));
  cut.targets.mode = TargetMode::specific;
  cut.targets.agents = std::move(side);
  made.plan.faults = {cut};
  return made;
}

SimulatedExperiment cascading_failure(std::uint32_t leads, std::uint64_t seed) {
  auto made = experiment("cascading-failure", seed, {succeed(0.99)});
  made.mesh.agents = 120;
  made.cascade_depth_max = 2;
  for (std::uint32_t i = 0; i < leads; ++i) {
    ChaosPhase phase;
    phase.duration = seconds(5);
    ChaosFault crash = fault(FaultType::agent_crash, 1, seconds(5 * (leads - i)));
    crash.targets.mode = TargetMode::role;
    crash.targets.role = ChaosRole::cluster_lead;
    phase.faults = {crash};
    made.plan.phases.push_back(phase);
  }
  return made;
}

SimulatedExperiment resource_exhaustion(std::uint32_t fill_ppm, std::uint64_t seed) {
  auto made = experiment("resource-exhaustion", seed,
                         {succeed(0.99), at_most("lost", 0, Aggregation::max)});
  // One slot of twenty is left, for a request each 12 ms that takes about 20.
  made.mesh.slots = 20;
  made.mesh.request_every = Nanos{12 * kNsPerMs};
  ChaosFault exhaustion = fault(FaultType::resource_exhaustion, 1, seconds(10));
  exhaustion.params.variant = FaultVariant::pool;
  exhaustion.params.fill_ppm = fill_ppm;
  made.plan.faults = {exhaustion};
  return made;
}

SimulatedExperiment cluster_lead_loss(std::uint64_t seed) {
  auto made = experiment("cluster-lead-loss", seed, {succeed(0.99)});
  made.mesh.agents = 120;
  ChaosFault crash = fault(FaultType::agent_crash, 0, seconds(10));
  crash.targets.mode = TargetMode::role;
  crash.targets.role = ChaosRole::cluster_lead;
  made.plan.faults = {crash};
  return made;
}

SimulatedExperiment sector_loss(std::uint64_t seed) {
  auto made = experiment("sector-loss", seed, {succeed(0.99)});
  made.mesh.agents = 600;
  ChaosFault crash = fault(FaultType::agent_crash, 0, seconds(10));
  crash.targets.mode = TargetMode::sector;
  crash.targets.which = 1;
  made.plan.faults = {crash};
  return made;
}

namespace {

SimulatedExperiment stuck(std::string name, std::uint64_t seed, const ChaosFault& fault) {
  auto made = experiment(std::move(name), seed,
                         {succeed(0.99), at_most("attempt_failures", 0.02, Aggregation::avg)});
  made.plan.faults = {fault};
  return made;
}

}  // namespace

SimulatedExperiment slow_consumer(std::uint64_t seed) {
  ChaosFault slow = fault(FaultType::agent_slowdown, 3, seconds(40));
  slow.params.factor_milli = 100'000;
  return stuck("slow-consumer", seed, slow);
}

SimulatedExperiment hung_agents(std::uint64_t seed) {
  return stuck("hung-agents", seed, fault(FaultType::agent_hang, 3, seconds(40)));
}

SimulatedExperiment clock_skew(Nanos offset, std::uint64_t seed) {
  auto made = experiment("clock-skew", seed, no_request_fails());
  ChaosFault skew = fault(FaultType::clock_skew, made.mesh.agents, seconds(20));
  skew.params.offset = offset;
  made.plan.faults = {skew};
  return made;
}

SimulatedExperiment lossy_network(std::uint32_t rate_ppm, std::uint64_t seed) {
  auto made = experiment("lossy-network", seed, no_request_fails());
  ChaosFault loss = fault(FaultType::packet_loss, 10, seconds(10));
  loss.params.rate_ppm = rate_ppm;
  made.plan.faults = {loss};
  return made;
}

SimulatedExperiment duplicate_storm(std::uint64_t seed) {
  auto assertions = no_request_fails();
  assertions.push_back(at_most("duplicates", 0, Aggregation::max));
  auto made = experiment("duplicate-storm", seed, std::move(assertions));
  ChaosFault twice = fault(FaultType::duplicate, 10, seconds(10));
  twice.params.rate_ppm = 500'000;
  made.plan.faults = {twice};
  return made;
}

SimulatedExperiment corrupted_messages(std::uint64_t seed) {
  auto assertions = no_request_fails();
  assertions.push_back(at_most("corrupt", 0, Aggregation::max));
  auto made = experiment("corrupted-messages", seed, std::move(assertions));
  // One agent: of six wrong hashes in a minute the mesh would open the breaker of its cluster.
  ChaosFault flips = fault(FaultType::message_corruption, 1, seconds(20));
  flips.params.rate_ppm = 500'000;
  made.plan.faults = {flips};
  return made;
}

SimulatedExperiment byzantine_minority(std::uint32_t agents, std::uint64_t seed) {
  auto made = experiment("byzantine-minority", seed, no_request_fails());
  ChaosFault lies = fault(FaultType::byzantine_behavior, agents, seconds(10));
  lies.params.variant = FaultVariant::flip_vote;
  made.plan.faults = {lies};
  return made;
}

SimulatedExperiment thundering_herd(std::uint64_t seed) {
  auto made = experiment("thundering-herd", seed, no_request_fails());
  ChaosPhase phase;
  phase.duration = seconds(1);
  phase.verify_after = false;  // nobody is there
  // Away for longer than a second they would be behind a breaker for a minute and more.
  ChaosFault crash = fault(FaultType::agent_crash, 0, seconds(1));
  crash.params.restart_after = Nanos{500 * kNsPerMs};
  crash.targets.mode = TargetMode::percentage;
  crash.targets.percentage_ppm = 1'000'000;
  phase.faults = {crash};
  made.plan.phases = {phase};
  return made;
}

std::span<const Named> all() {
  static constexpr std::array<Named, 15> kAll{{
      {"nothing", nothing},
      {"single-agent-crash", [](std::uint64_t seed) { return single_agent_crash(7, seed); }},
      {"network-partition",
       [](std::uint64_t seed) {
         return network_partition({1, 9, 16, 25}, seed);
       }},
      {"cascading-failure", [](std::uint64_t seed) { return cascading_failure(3, seed); }},
      {"resource-exhaustion",
       [](std::uint64_t seed) { return resource_exhaustion(950'000, seed); }},
      {"cluster-lead-loss", cluster_lead_loss},
      {"sector-loss", sector_loss},
      {"slow-consumer", slow_consumer},
      {"hung-agents", hung_agents},
      {"clock-skew", [](std::uint64_t seed) { return clock_skew(Nanos{500 * kNsPerMs}, seed); }},
      {"lossy-network", [](std::uint64_t seed) { return lossy_network(300'000, seed); }},
      {"duplicate-storm", duplicate_storm},
      {"corrupted-messages", corrupted_messages},
      {"byzantine-minority", [](std::uint64_t seed) { return byzantine_minority(3, seed); }},
      {"thundering-herd", thundering_herd},
  }};
  return kAll;
}

}  // namespace mesh::engine::simulation::scenarios
