// Whole experiments on a mesh of real processes: from the precheck to the report.
#include <map>

#include "engine/coordination/chaos_driver.hpp"
#include "tests/engine/chaos/live_kit.hpp"

namespace mesh::testing {
namespace of_live_experiment_test {

namespace chaos = coordination::chaos;
using coordination::Aggregation;
using coordination::AssertionOp;
using coordination::ChaosConfig;
using coordination::ChaosHarness;
using coordination::ChaosPilot;
using coordination::ChaosReport;
using coordination::FaultType;
using coordination::InjectionStatus;
using engine::LiveChaosOptions;
using engine::LiveDriver;

constexpr std::size_t kWorkers = 4;
constexpr Nanos kPatience{250 * kNsPerMs};

chaos::Create hang_one() {
  chaos::Create plan;
  plan.name = "a-worker-hangs";
  plan.hypothesis.assertions = {{"success_rate", AssertionOp::gte, 0.8, 0, Aggregation::avg}};
  plan.hypothesis.window = Nanos{200 * kNsPerMs};
  plan.hypothesis.cooldown = Nanos{400 * kNsPerMs};
  plan.faults.resize(1);
  plan.faults[0].type = FaultType::agent_hang;
  plan.faults[0].duration = Nanos{600 * kNsPerMs};
  plan.has_safety = true;
  plan.safety.blast_radius_ppm = 250'000;  // one of four
  plan.seed = 7;
  return plan;
}

class Callers {
 public:
  Callers(LiveWorkers& workers, bool try_again) : workers_(workers), try_again_(try_again) {}
  // Asks everybody; those who do not answer are asked for by their neighbour.
  double round() {
    std::size_t answered = 0;
    for (std::size_t worker = 0; worker < kWorkers; ++worker) {
      const bool is_answered =
          workers_.ask(worker, kPatience).has_value() ||
          (try_again_ && workers_.ask((worker + 1) % kWorkers, kPatience).has_value());
      answered += is_answered ? 1U : 0U;
    }
    return static_cast<double>(answered) / kWorkers;
  }

 private:
  LiveWorkers& workers_;
  bool try_again_;
};

ChaosReport played(bool try_again) {
  const ScratchDirectory directory;
  LiveWorkers workers(kWorkers);
  workers.start(LiveWorkers::options(directory.path()));
  LiveChaosOptions options{.directory = directory.path(), .allow_live = true};
  for (std::size_t i = 0; i < kWorkers; ++i) options.processes.push_back(workers.process(i));
  const auto driver = LiveDriver::open(options).value();
  ChaosConfig config = ChaosConfig::preset("standard").value();
  config.driver = coordination::ChaosDriver::live;
  config.allow_live = true;
  config.agents_max = static_cast<std::uint32_t>(driver->rows());
  config.tick_ns = Nanos{10 * kNsPerMs};
  ChaosHarness harness(config);
  ChaosPilot pilot(harness, *driver);
  harness.apply(chaos::AddMetric{"success_rate"}, driver->now());
  EXPECT_TRUE(driver->describe(harness, driver->now()));
  const auto made = harness.apply(hang_one(), driver->now());
  EXPECT_EQ(name_of(made.code), "ok");
  EXPECT_EQ(harness.apply(chaos::Start{made.id}, driver->now()).code, Errc::not_authorized)
      << "it is live, and nobody has approved it";
  harness.apply(chaos::Approve{made.id, "the test"}, driver->now());
  EXPECT_EQ(harness.apply(chaos::Start{made.id}, driver->now()).code, Errc::ok);
  Callers callers(workers, try_again);
  EXPECT_TRUE(eventually([&] {
    pilot.step(driver->now());
    const double share = callers.round();
    harness.apply(chaos::Sample{0, share}, driver->now());
    return is_over(harness.state(made.id));
  }));
  EXPECT_EQ(harness.in_force(), 0U);
  for (std::size_t i = 0; i < kWorkers; ++i) EXPECT_FALSE(is_stopped(workers.pid(i)));
  return harness.report(made.id);
}

TEST(LiveExperiment, CallersThatTryAgainDoNotNoticeAWorkerThatHangs) {
  const ChaosReport report = played(true);
  EXPECT_TRUE(report.hypothesis_held);
  EXPECT_TRUE(report.issues.empty());
  ASSERT_EQ(report.injections.size(), 1U);
  EXPECT_EQ(report.injections[0].status, InjectionStatus::undone);
}

TEST(LiveExperiment, CallersThatDoNotTryAgainDo) {
  const ChaosReport report = played(false);
  EXPECT_FALSE(report.hypothesis_held);
  ASSERT_FALSE(report.issues.empty());
  EXPECT_EQ(report.issues[0].category, coordination::IssueCategory::hypothesis);
  ASSERT_EQ(report.injections.size(), 1U);
  EXPECT_EQ(report.injections[0].status, InjectionStatus::undone) << "it really acted";
}

}  // namespace of_live_experiment_test
}  // namespace mesh::testing
