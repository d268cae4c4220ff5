// Predictions on simulated populations: what the calibrated model is for.
#include <iomanip>

#include "tests/sched/prediction_run.hpp"
#include "tests/seed.hpp"

namespace mesh::sched {
namespace {

using testing::Figures;
using testing::kPopulationNames;
using testing::Population;
using testing::PredictionRun;
using testing::RunOptions;

void print(Population population, const Figures& f, double worst) {
  const auto line = [](const char* name, const testing::Errors& errors) {
    std::cout << "  " << name << std::fixed << std::setprecision(2) << " p50 "
              << errors.percentile(0.5) << "  p90 " << errors.percentile(0.9) << "  p99 "
              << errors.percentile(0.99) << "  inside " << 100 * errors.inside() << " %\n";
  };
  std::cout << kPopulationNames[static_cast<std::size_t>(population)] << ": at or before T "
            << std::fixed << std::setprecision(1) << 100 * f.by_t() << " %, reliability within "
            << 100 * worst << " points\n";
  line("calibrated", f.calibrated);
  line("nominal   ", f.nominal);
  line("oracle    ", f.oracle);
  line("low jitter", f.low_jitter);
}

class Populations : public ::testing::TestWithParam<Population> {};

TEST_P(Populations, CalibratedIsNoWorseThanNominalAfterTwentyOperations) {
  for (std::uint64_t round = 0; round < 2; ++round) {
    PredictionRun run({.population = GetParam(), .seed = mesh::testing::seed() + round});
    const Figures last = run.play();
    print(GetParam(), last, run.reliability().worst());
    ASSERT_GT(last.calibrated.ms.size(), 5'000U);
    EXPECT_LE(last.calibrated.percentile(0.5), 1.02 * last.nominal.percentile(0.5) + 0.3);
    EXPECT_LE(last.calibrated.percentile(0.9), 1.02 * last.nominal.percentile(0.9) + 0.3);
    EXPECT_GE(last.calibrated.inside(), last.nominal.inside() - 0.002);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Simulated, Populations,
    ::testing::Values(Population::demo, Population::steady, Population::heavy_tails,
                      Population::bimodal, Population::drifting, Population::bursty,
                      Population::weighted, Population::mislabelled, Population::silent,
                      Population::stepping),
    [](const auto& chosen) {
      return std::string(kPopulationNames[static_cast<std::size_t>(chosen.param)]);
    });

}  // namespace
}  // namespace mesh::sched
