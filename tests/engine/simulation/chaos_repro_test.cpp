// A plan that failed, written down, read again, and shrunk to what it takes.
#include "engine/simulation/chaos_repro.hpp"

#include <gtest/gtest.h>

#include "engine/simulation/chaos_scenarios.hpp"

namespace mesh::engine::simulation {
namespace of_chaos_repro_test {

using coordination::ChaosFault;
using coordination::FaultType;

TEST(ChaosRepro, PlaysTheSameExperimentAgain) {
  const auto experiment = scenarios::byzantine_minority(2, 9);
  const std::string text = write_repro(experiment);
  const auto read = read_repro(text);
  ASSERT_TRUE(read) << read.error().sentence;
  EXPECT_EQ(write_repro(*read), text);
  EXPECT_EQ(bytes_of(run_experiment(*read).value()), bytes_of(run_experiment(experiment).value()));
}

TEST(ChaosRepro, RefusesWhatIsNoneOrWasChanged) {
  const std::string text = write_repro(scenarios::nothing(1));
  EXPECT_EQ(read_repro("").error().code, Errc::bad_input);
  EXPECT_EQ(read_repro("mesh chaos plan 1\n").error().code, Errc::bad_input);
  EXPECT_EQ(read_repro("mesh chaos plan 2\nseed 1\n").error().code, Errc::corrupt);
  for (std::size_t at = text.find("bytes ") + 6; at + 1 < text.size(); at += 2) {
    EXPECT_FALSE(read_repro(text.substr(0, at) + "\n")) << "cut at " << at;
  }
  std::string other = text;
  const std::size_t digit = other.find("plan-hash ") + 10;
  other[digit] = other[digit] == '1' ? '2' : '1';
  EXPECT_EQ(read_repro(other).error().code, Errc::corrupt);
  other = text;
  other[other.find("bytes ") + 6] = 'x';
  EXPECT_EQ(read_repro(other).error().code, Errc::corrupt);
}

// Faults of which only two together do harm: what ddmin must find without playing all subsets.
TEST(ChaosRepro, ShrinksToTheFaultsThatItTakes) {
  auto experiment = scenarios::nothing(1);
  experiment.plan.phases.resize(2, experiment.plan.phases[0]);
  for (std::uint32_t i = 0; i < 16; ++i) {
    ChaosFault fault;
    fault.params.count = i;
    experiment.plan.phases[i / 8].faults.push_back(fault);
  }
  const auto has = [](const SimulatedExperiment& its, std::uint32_t number) {
    for (const auto& phase : its.plan.phases) {
      for (const auto& fault : phase.faults) {
        if (fault.params.count == number) return true;
      }
    }
    return false;
  };
  const Shrunk shrunk = shrink(
      experiment, [&](const SimulatedExperiment& its) { return has(its, 3) && has(its, 12); });
  EXPECT_EQ(shrunk.faults, 2U);
  EXPECT_TRUE(has(shrunk.experiment, 3));
  EXPECT_TRUE(has(shrunk.experiment, 12));
  EXPECT_LT(shrunk.runs, 100U);
}

TEST(ChaosRepro, ShrinksAnExperimentThatReallyFails) {
  auto experiment = scenarios::lossy_network(300'000, 3);
  experiment.mesh.guards.retries = false;
  ChaosFault slow = experiment.plan.faults[0];
  slow.type = FaultType::agent_slowdown;  // harmless: twice as slow
  slow.params.factor_milli = 2'000;
  ChaosFault skew = slow;
  skew.type = FaultType::reorder;
  skew.params.jitter = Nanos{kNsPerMs};
  experiment.plan.faults = {slow, experiment.plan.faults[0], skew};
  const StillFails fails = [](const SimulatedExperiment& its) {
    return !run_experiment(its).value().has_held;
  };
  ASSERT_TRUE(fails(experiment));
  const Shrunk shrunk = shrink(experiment, fails);
  EXPECT_EQ(shrunk.faults, 1U);
  EXPECT_EQ(shrunk.experiment.plan.phases.at(0).faults.at(0).type, FaultType::packet_loss);
  EXPECT_TRUE(fails(read_repro(write_repro(shrunk.experiment)).value()));
}

}  // namespace of_chaos_repro_test
}  // namespace mesh::engine::simulation
