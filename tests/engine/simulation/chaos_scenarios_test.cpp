// The scenarios hold with every guard, and are seen to fail without the one that they are about.
#include "engine/simulation/chaos_scenarios.hpp"

#include <gtest/gtest.h>

#include "shm/hash.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::engine::simulation {
namespace of_chaos_scenarios_test {

using scenarios::Named;

SimulatedRun run(const SimulatedExperiment& experiment) {
  auto done = run_experiment(experiment);
  EXPECT_TRUE(done) << done.error().sentence;
  return done ? std::move(*done) : SimulatedRun{};
}
std::string why(const SimulatedRun& run) {
  std::string text = "depth " + std::to_string(run.report.impact.cascade_depth) + ", " +
                     std::string(to_string(run.report.state));
  for (const auto& issue : run.report.issues) text += ", " + std::string(to_string(issue.category));
  for (const auto& finding : run.report.findings) {
    if (finding.verdict == coordination::Verdict::passed) continue;
    text += ", assertion " + std::to_string(finding.assertion) + " " +
            std::string(to_string(finding.verdict)) + " " + std::to_string(finding.actual);
  }
  return text;
}

class ChaosScenario : public ::testing::TestWithParam<Named> {};

TEST_P(ChaosScenario, HoldsWithEveryGuard) {
  for (const std::uint64_t seed : {std::uint64_t{1}, mesh::testing::seed()}) {
    const SimulatedExperiment experiment = GetParam().make(seed);
    if (seed == 1 && experiment.mesh.agents > 300) continue;  // once: it takes seconds
    const SimulatedRun done = run(experiment);
    EXPECT_TRUE(done.has_held) << "seed " << seed << ": " << why(done);
    EXPECT_TRUE(done.report.issues.empty());
    for (const auto& injection : done.report.injections) {
      EXPECT_EQ(injection.status, coordination::InjectionStatus::undone);
    }
  }
}
INSTANTIATE_TEST_SUITE_P(All, ChaosScenario, ::testing::ValuesIn(scenarios::all()),
                         [](const auto& its) {
                           std::string name(its.param.name);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(ChaosScenarios, PlayedAgainGiveTheSameBytesAndWithAnotherSeedOthers) {
  const auto first = bytes_of(run(scenarios::lossy_network(300'000, 5)));
  EXPECT_EQ(bytes_of(run(scenarios::lossy_network(300'000, 5))), first);
  EXPECT_NE(bytes_of(run(scenarios::lossy_network(300'000, 6))), first);
}

TEST(ChaosScenarios, TheirBytesAreTheSameOnEveryMachine) {
  EXPECT_EQ(shm::hash64(bytes_of(run(scenarios::single_agent_crash(7, 1)))), 17105027270694394285U);
}

// --- the harness itself is tested: a mesh without a guard is caught ----------------------------

struct Mutant {
  const char* scenario;
  SimulatedExperiment (*make)(std::uint64_t seed);
  void (*weaken)(ChaosGuards& guards);
};
void without_breakers(ChaosGuards& guards) { guards.breakers = false; }
void without_retries(ChaosGuards& guards) { guards.retries = false; }
void without_both(ChaosGuards& guards) { guards.breakers = guards.retries = false; }
void without_dedup(ChaosGuards& guards) { guards.dedup = false; }
void without_checks(ChaosGuards& guards) { guards.checks = false; }
void without_waiting(ChaosGuards& guards) { guards.waits = false; }
void without_backoff(ChaosGuards& guards) { guards.backoff = false; }
void without_weights(ChaosGuards& guards) { guards.weights = false; }
void without_journal(ChaosGuards& guards) { guards.tasks.journal = false; }
void without_fences(ChaosGuards& guards) { guards.tasks.fences = false; }
void without_effect_keys(ChaosGuards& guards) { guards.tasks.effect_keys = false; }

const Mutant kMutants[] = {
    {"slow_consumer", scenarios::slow_consumer, without_breakers},
    {"hung_agents", scenarios::hung_agents, without_breakers},
    {"lossy_network", [](std::uint64_t seed) { return scenarios::lossy_network(300'000, seed); },
     without_retries},
    {"byzantine_minority",
     [](std::uint64_t seed) { return scenarios::byzantine_minority(3, seed); }, without_retries},
    {"single_agent_crash",
     [](std::uint64_t seed) { return scenarios::single_agent_crash(7, seed); }, without_both},
    {"duplicate_storm", scenarios::duplicate_storm, without_dedup},
    {"corrupted_messages", scenarios::corrupted_messages, without_checks},
    {"resource_exhaustion",
     [](std::uint64_t seed) { return scenarios::resource_exhaustion(950'000, seed); },
     without_waiting},
    {"rolling_429", scenarios::rolling_429, without_backoff},
    {"impedance_liar", [](std::uint64_t seed) { return scenarios::impedance_liar(6, seed); },
     without_weights},
    {"engine_death", scenarios::engine_death, without_journal},
    {"fenced_partition", scenarios::fenced_partition, without_fences},
    {"station_death", scenarios::station_death, without_effect_keys},
};

class ChaosMutant : public ::testing::TestWithParam<Mutant> {};

// 50 seeds of each in the stress tier; two, and one of them new, in every run.
TEST_P(ChaosMutant, IsCaughtAndTheMeshWithItsGuardIsNot) {
  std::uint64_t caught = 0;
  std::uint64_t false_alarms = 0;
  mesh::testing::Repeats turns(2);
  while (turns.next()) {
    const std::uint64_t seed = turns.count() == 1 ? mesh::testing::seed() : turns.count();
    SimulatedExperiment experiment = GetParam().make(seed);
    false_alarms += run(experiment).has_held ? 0U : 1U;
    GetParam().weaken(experiment.mesh.guards);
    caught += run(experiment).has_held ? 0U : 1U;
  }
  EXPECT_EQ(false_alarms, 0U);
  EXPECT_GE(100 * caught, 95 * turns.count()) << caught << " of " << turns.count();
}
INSTANTIATE_TEST_SUITE_P(All, ChaosMutant, ::testing::ValuesIn(kMutants),
                         [](const auto& its) { return std::string(its.param.scenario); });

}  // namespace of_chaos_scenarios_test
}  // namespace mesh::engine::simulation
