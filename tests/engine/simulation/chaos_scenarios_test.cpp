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

TEST_P(ChaosScenario, PlayedAgainGivesTheSameBytesAndWithAnotherSeedOthers) {
  const std::uint64_t seed = mesh::testing::seed();
  const auto first = bytes_of(run(GetParam().make(seed)));
  EXPECT_EQ(bytes_of(run(GetParam().make(seed))), first);
  if (GetParam().make(seed).mesh.agents > 300) return;  // it takes seconds
  EXPECT_NE(bytes_of(run(GetParam().make(seed + 1))), first);
}

TEST(ChaosScenarios, TheirBytesAreTheSameOnEveryMachine) {
  EXPECT_EQ(shm::hash64(bytes_of(run(scenarios::single_agent_crash(7, 1)))), 17105027270694394285U);
}

// --- the harness itself is tested: a mesh without a guard is caught ----------------------------

struct Mutant {
  Named scenario;
  std::string_view without;
};
std::vector<Mutant> mutants() {
  std::vector<Mutant> mutants;
  for (const Named& one : scenarios::all()) {
    for (const std::string_view guards : one.tests) {
      if (!guards.empty()) mutants.push_back({one, guards});
    }
  }
  return mutants;
}

// A scenario that is added says what it tests, and is so among the mutants below.
TEST(ChaosScenarios, EachHasAGuardThatItTestsAndEachGuardAScenario) {
  std::string tested;
  for (const Named& one : scenarios::all()) {
    const bool is_control = one.name == "nothing";
    EXPECT_EQ(one.tests[0].empty(), is_control) << one.name;
    for (const std::string_view names : one.tests) {
      ChaosGuards guards;
      EXPECT_TRUE(names.empty() || scenarios::take_away(names, guards)) << one.name << names;
      tested += "+" + std::string(names) + "+";
    }
  }
  for (const auto& guard : scenarios::guards()) {
    EXPECT_NE(tested.find("+" + std::string(guard.name) + "+"), std::string::npos) << guard.name;
  }
  ChaosGuards guards;
  EXPECT_FALSE(scenarios::take_away("breakers+nobody", guards));
}

TEST(ChaosScenarios, WhereNothingBreaksNoGuardIsMissed) {
  for (const auto& guard : scenarios::guards()) {
    SimulatedExperiment experiment = scenarios::nothing(mesh::testing::seed());
    guard.in(experiment.mesh.guards) = false;
    EXPECT_TRUE(run(experiment).has_held) << guard.name;
  }
}

class ChaosMutant : public ::testing::TestWithParam<Mutant> {};

// 50 seeds of each in the stress tier; two, and one of them new, in every run. What takes seconds
// is played once, and with its guard in ChaosScenario alone.
TEST_P(ChaosMutant, IsCaughtAndTheMeshWithItsGuardIsNot) {
  const bool takes_seconds = GetParam().scenario.make(1).mesh.agents > 300;
  std::uint64_t caught = 0;
  std::uint64_t false_alarms = 0;
  mesh::testing::Repeats turns(takes_seconds ? 1 : 2);
  while (turns.next()) {
    const std::uint64_t seed = turns.count() == 1 ? mesh::testing::seed() : turns.count();
    SimulatedExperiment experiment = GetParam().scenario.make(seed);
    const bool is_known = takes_seconds && turns.count() == 1;
    false_alarms += is_known || run(experiment).has_held ? 0U : 1U;
    ASSERT_TRUE(scenarios::take_away(GetParam().without, experiment.mesh.guards));
    caught += run(experiment).has_held ? 0U : 1U;
  }
  std::printf("%llu of %llu caught, %llu false alarms\n", static_cast<unsigned long long>(caught),
              static_cast<unsigned long long>(turns.count()),
              static_cast<unsigned long long>(false_alarms));
  EXPECT_EQ(false_alarms, 0U);
  EXPECT_GE(100 * caught, 95 * turns.count()) << caught << " of " << turns.count();
}
INSTANTIATE_TEST_SUITE_P(All, ChaosMutant, ::testing::ValuesIn(mutants()), [](const auto& its) {
  std::string name =
      std::string(its.param.scenario.name) + "_without_" + std::string(its.param.without);
  for (char& letter : name) {
    if (letter == '-' || letter == '+') letter = '_';
  }
  return name;
});

}  // namespace of_chaos_scenarios_test
}  // namespace mesh::engine::simulation
