#include "engine/simulation/chaos_scenarios.hpp"

#include <algorithm>
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

// So many requests that one dead agent of 120 is met eight times in a window of 10 s.
constexpr Nanos kOften{10 * kNsPerMs};

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

namespace {

// Who is gone is not asked: without this retries would stand in for breakers. In 5 s 500 are asked:
// where three of 120 are gone 12 attempts fail in the mean, and two or fewer once in 2,000 times;
// with breakers it is what was under way at a death.
SimulatedExperiment left_alone(SimulatedExperiment made) {
  made.mesh.agents = 120;
  made.mesh.request_every = kOften;
  made.plan.hypothesis.assertions.push_back(at_most("attempt_failures", 0.005, Aggregation::avg));
  return made;
}

}  // namespace

SimulatedExperiment cascading_failure(std::uint32_t leads, std::uint64_t seed) {
  auto made = left_alone(experiment("cascading-failure", seed, no_request_fails()));
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
  auto made = left_alone(experiment("cluster-lead-loss", seed, no_request_fails()));
  ChaosFault crash = fault(FaultType::agent_crash, 0, seconds(10));
  crash.targets.mode = TargetMode::role;
  crash.targets.role = ChaosRole::cluster_lead;
  made.plan.faults = {crash};
  return made;
}

// Half of the mesh is gone: of what is asked of whoever there is half fails. With breakers it is
// what was under way at that moment, of 200 attempts in a window; also later, while the sector's
// breakers are half-open, for who is refused by one asks somebody else.
SimulatedExperiment sector_loss(std::uint64_t seed) {
  auto made = experiment("sector-loss", seed,
                         {succeed(0.99), at_most("attempt_failures", 0.05, Aggregation::avg)});
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
  auto assertions = no_request_fails();
  // 500 ppm of 20 s, and that of the time between two looks.
  assertions.push_back(at_most("clock_error_ms", 12, Aggregation::max));
  auto made = experiment("clock-skew", seed, std::move(assertions));
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
  // One agent: of six wrong hashes in a minute the mesh would open the breaker of its cluster. And
  // many requests: it may be one that is seldom asked.
  made.mesh.request_every = Nanos{20 * kNsPerMs};
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
  auto assertions = no_request_fails();
  assertions.push_back({"availability", AssertionOp::gte, 0.99, 0, Aggregation::avg});
  auto made = experiment("thundering-herd", seed, std::move(assertions));
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

SimulatedExperiment impedance_liar(std::uint32_t agents, std::uint64_t seed) {
  auto made = experiment("impedance-liar", seed,
                         {succeed(0.99), at_most("latency_ms", 150, Aggregation::avg)});
  // Many: of few liars most may be cheap in truth, and asked as often without a lie.
  made.mesh.agents = 5 * agents;
  made.plan.hypothesis.window = seconds(30);
  made.mesh.choices = 4;
  ChaosFault lies = fault(FaultType::byzantine_behavior, agents, seconds(30));
  lies.params.variant = FaultVariant::impedance_lie;
  lies.params.add = Nanos{300 * kNsPerMs};
  made.plan.faults = {lies};
  return made;
}

SimulatedExperiment rolling_429(std::uint64_t seed) {
  auto made = experiment("rolling-429", seed,
                         {succeed(0.99), at_most("attempt_failures", 0.04, Aggregation::avg)});
  made.mesh.agents = 90;
  for (std::uint32_t cluster = 0; cluster < 3; ++cluster) {
    ChaosPhase phase;
    ChaosFault limit = fault(FaultType::dependency_failure, 0, seconds(10));
    limit.params.variant = FaultVariant::rate_limited;
    limit.targets.mode = TargetMode::cluster;
    limit.targets.which = cluster;
    phase.duration = seconds(10);
    phase.faults = {limit};
    made.plan.phases.push_back(phase);
  }
  return made;
}

namespace {

SimulatedExperiment of_tasks(std::string name, std::uint64_t seed) {
  auto made = experiment(std::move(name), seed,
                         {at_most("stale_writes", 0, Aggregation::max),
                          at_most("double_effects", 0, Aggregation::max),
                          at_most("lost_tasks", 0, Aggregation::max),
                          {"tasks_done", AssertionOp::gte, 1, 0, Aggregation::sum}});
  made.mesh.has_tasks = true;
  return made;
}
ChaosFault of_worker(FaultType type, std::uint32_t agent, Nanos lasts) {
  ChaosFault made = fault(type, 1, lasts);
  made.targets.mode = TargetMode::specific;
  made.targets.agents = {agent};
  return made;
}

}  // namespace

// Whoever holds the lock, its turn comes: each worker in its order is cut off, and then stands.
SimulatedExperiment fenced_partition(std::uint64_t seed) {
  auto made = of_tasks("fenced-partition", seed);
  for (std::uint32_t i = 0; i < 2 * ChaosTasks::kWorkers; ++i) {
    ChaosPhase phase;
    phase.duration = seconds(6);
    const FaultType type = i < ChaosTasks::kWorkers ? FaultType::partition : FaultType::agent_hang;
    phase.faults = {of_worker(type, i % ChaosTasks::kWorkers, seconds(3))};
    made.plan.phases.push_back(phase);
  }
  return made;
}

SimulatedExperiment engine_death(std::uint64_t seed) {
  auto made = of_tasks("engine-death", seed);
  for (const char* const metric : {"answered_twice", "unheard", "duplicates"}) {
    made.plan.hypothesis.assertions.push_back(at_most(metric, 0, Aggregation::max));
  }
  made.plan.hypothesis.assertions.push_back(succeed(0.99));
  for (std::uint32_t step = 1; step <= kHostSteps; ++step) {
    ChaosPhase phase;
    phase.duration = seconds(5);
    ChaosFault death = of_worker(FaultType::engine_death, 0, seconds(4));
    death.params.count = step;
    death.params.restart_after = seconds(1);
    phase.faults = {death};
    made.plan.phases.push_back(phase);
  }
  return made;
}

SimulatedExperiment station_death(std::uint64_t seed) {
  auto made = of_tasks("station-death", seed);
  for (std::uint32_t hook = 1; hook <= kWorkerHooks; ++hook) {
    ChaosPhase phase;
    phase.duration = seconds(6);
    ChaosFault death = of_worker(FaultType::station_death, hook, seconds(5));
    death.params.count = hook;
    death.params.restart_after = seconds(1);
    phase.faults = {death};
    made.plan.phases.push_back(phase);
  }
  return made;
}

std::span<const NamedGuard> guards() {
  using Guards = ChaosGuards;
  static constexpr std::array<NamedGuard, 13> kGuards{{
      {"retries", [](Guards& its) -> bool& { return its.retries; }},
      {"breakers", [](Guards& its) -> bool& { return its.breakers; }},
      {"dedup", [](Guards& its) -> bool& { return its.dedup; }},
      {"checks", [](Guards& its) -> bool& { return its.checks; }},
      {"waits", [](Guards& its) -> bool& { return its.waits; }},
      {"backoff", [](Guards& its) -> bool& { return its.backoff; }},
      {"weights", [](Guards& its) -> bool& { return its.weights; }},
      {"adoption", [](Guards& its) -> bool& { return its.adoption; }},
      {"grace", [](Guards& its) -> bool& { return its.grace; }},
      {"slews", [](Guards& its) -> bool& { return its.slews; }},
      {"journal", [](Guards& its) -> bool& { return its.tasks.journal; }},
      {"fences", [](Guards& its) -> bool& { return its.tasks.fences; }},
      {"effect-keys", [](Guards& its) -> bool& { return its.tasks.effect_keys; }},
  }};
  return kGuards;
}

bool take_away(std::string_view names, ChaosGuards& guards) {
  bool are_known = !names.empty();
  while (!names.empty()) {
    const std::string_view name = names.substr(0, names.find('+'));
    names.remove_prefix(std::min(names.size(), name.size() + 1));
    const auto known = scenarios::guards();
    const auto found = std::find_if(known.begin(), known.end(),
                                    [&](const NamedGuard& one) { return one.name == name; });
    if (found == known.end())
      are_known = false;
    else
      found->in(guards) = false;
  }
  return are_known;
}

std::span<const Named> all() {
  static constexpr std::array<Named, 20> kAll{{
      {"nothing", "nothing breaks", {}, nothing},
      {"single-agent-crash",
       "an agent dies, and is back after 10 s",
       {"breakers+retries"},
       [](std::uint64_t seed) { return single_agent_crash(7, seed); }},
      {"network-partition",
       "four agents are cut off for 30 s",
       {"retries"},
       [](std::uint64_t seed) {
         return network_partition({1, 9, 16, 25}, seed);
       }},
      {"cascading-failure",
       "three cluster leads die, 5 s apart",
       {"breakers"},
       [](std::uint64_t seed) { return cascading_failure(3, seed); }},
      {"resource-exhaustion",
       "95 % of the callers' slots are taken",
       {"waits"},
       [](std::uint64_t seed) { return resource_exhaustion(950'000, seed); }},
      {"cluster-lead-loss", "every cluster's lead dies at once", {"breakers"}, cluster_lead_loss},
      {"sector-loss", "300 agents die at once", {"breakers"}, sector_loss},
      {"slow-consumer", "three agents are a hundred times slower", {"breakers"}, slow_consumer},
      {"hung-agents", "three processes stand still", {"breakers"}, hung_agents},
      {"clock-skew",
       "the host's clock is set by half a second",
       {"slews"},
       [](std::uint64_t seed) { return clock_skew(Nanos{500 * kNsPerMs}, seed); }},
      {"lossy-network",
       "a third of the agents lose 30 % of their messages",
       {"retries"},
       [](std::uint64_t seed) { return lossy_network(300'000, seed); }},
      {"duplicate-storm", "half of the messages come twice", {"dedup"}, duplicate_storm},
      {"corrupted-messages", "bits of messages are flipped", {"checks"}, corrupted_messages},
      {"byzantine-minority",
       "three agents answer CONFLICT",
       {"retries"},
       [](std::uint64_t seed) { return byzantine_minority(3, seed); }},
      {"thundering-herd",
       "every agent dies, and is back in half a second",
       {"grace"},
       thundering_herd},
      {"impedance-liar",
       "a fifth of the agents say that they cost nothing, and are slow",
       {"weights"},
       [](std::uint64_t seed) { return impedance_liar(18, seed); }},
      {"rolling-429", "one network after another answers 429", {"backoff"}, rolling_429},
      {"fenced-partition",
       "holders of a lock are cut off, or stand still",
       {"fences"},
       fenced_partition},
      {"engine-death",
       "the engine dies at each step of a message and of a task",
       {"adoption", "journal"},
       engine_death},
      {"station-death", "a worker dies at each hook of its task", {"effect-keys"}, station_death},
  }};
  return kAll;
}

}  // namespace mesh::engine::simulation::scenarios
