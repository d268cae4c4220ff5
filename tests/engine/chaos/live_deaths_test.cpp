// Deaths of engines and stations in whole experiments on real processes: each is killed by SIGKILL
// and started anew by its command, and callers, engine and harness say what became of their work.
#include <algorithm>
#include <map>

#include "engine/chaos/live_meter.hpp"
#include "engine/coordination/chaos_driver.hpp"
#include "engine/loop/step_death.hpp"
#include "tests/engine/chaos/live_books.hpp"
#include "tests/engine/chaos/live_kit.hpp"

namespace mesh::testing {
namespace of_live_deaths_test {

namespace chaos = coordination::chaos;
using coordination::Aggregation;
using coordination::AssertionOp;
using coordination::ChaosConfig;
using coordination::ChaosHarness;
using coordination::ChaosPilot;
using coordination::ChaosReport;
using coordination::FaultParams;
using coordination::FaultType;
using coordination::FaultVariant;
using coordination::InjectionStatus;
using engine::GuardedProcess;
using engine::LiveChaosOptions;
using engine::LiveDriver;
using engine::LiveMeter;

constexpr std::size_t kWorkers = 3;

// live_process with these words; killed with the test.
pid_t start_process(const std::vector<std::string>& command) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  ::execv(words[0], words.data());
  ::_exit(127);
}

class LiveDeaths : public ::testing::Test {
 protected:
  void start(const std::string& successor = "engine") {
    engine_ = start_process(words({"engine", directory_.path()}));
    auto first = engine::ControlClient::connect(directory_.path(), {.patience = kForEver});
    ASSERT_TRUE(first.has_value()) << first.error().sentence;
    options_.directory = directory_.path();
    options_.allow_live = true;
    options_.engine = guarded(engine_, words({successor, directory_.path()}));
    for (std::size_t i = 0; i < kWorkers; ++i) {
      const auto command = words({"worker", directory_.path(), books_path_, name(i)});
      options_.processes.push_back(guarded(start_process(command), command));
    }
    driver_ = LiveDriver::open(options_).value();
    std::string handles;
    for (std::size_t i = 0; i < kWorkers; ++i) {
      ASSERT_TRUE(eventually([&] { return find(name(i)).has_value(); })) << i;
      const auto its = *find(name(i));
      rows_.push_back(static_cast<std::uint32_t>(index_of(its.id)));
      handles += (i == 0 ? "" : ",") + std::to_string(static_cast<std::uint64_t>(its.id));
    }
    caller_ = start_process(words({"caller", directory_.path(), books_path_, handles}));
    ASSERT_TRUE(eventually([&] { return books_->answered.load_relaxed() > 10; }));
  }
  void TearDown() override {
    if (driver_ == nullptr) return;
    std::vector<pid_t> all{caller_, engine_};
    for (std::uint32_t key = 0; key <= kWorkers; ++key) {
      const auto state = driver_->guard().state(key);
      if (state && state->is_running) all.push_back(state->process);
    }
    for (const GuardedProcess& one : options_.processes) all.push_back(one.process);
    driver_.reset();
    for (const pid_t one : all) ::kill(one, SIGKILL);
    while (::waitpid(-1, nullptr, 0) > 0) {
    }
  }

  static std::vector<std::string> words(std::vector<std::string> rest) {
    rest.insert(rest.begin(), MESH_LIVE_PROCESS);
    return rest;
  }
  static GuardedProcess guarded(pid_t process, std::vector<std::string> command) {
    return {process, engine::process_start(process).value(), std::move(command)};
  }
  static std::string name(std::size_t worker) { return "worker-" + std::to_string(worker); }
  [[nodiscard]] std::optional<engine::ObservedAgent> find(const std::string& name) const {
    const auto observer = engine::Observer::open(directory_.path(), {.patience = kForEver});
    if (!observer) return std::nullopt;
    for (std::size_t row = 0; row < (*observer)->rows(); ++row) {
      auto agent = (*observer)->agent(engine::agent_index(static_cast<std::uint32_t>(row)));
      if (agent && agent->name == name) return agent;
    }
    return std::nullopt;
  }
  [[nodiscard]] std::vector<std::uint32_t> ascending() const {
    std::vector<std::uint32_t> rows = rows_;
    std::sort(rows.begin(), rows.end());
    return rows;
  }
  [[nodiscard]] engine::CallerCounts counts() const {
    return {books_->answered.load_relaxed(), books_->answered_twice.load_relaxed(),
            books_->overdue.load_relaxed(), books_->overdue_given.load_relaxed()};
  }
  // Where the guard has the engine: after the workers.
  [[nodiscard]] pid_t engine_now() const {
    return driver_->guard().state(static_cast<std::uint32_t>(kWorkers))->process;
  }
  [[nodiscard]] std::array<std::uint64_t, 2> handled_at_least_and_most() const {
    std::array<std::uint64_t, 2> range{~std::uint64_t{0}, 0};
    for (std::uint64_t number = 1; number <= books_->sent.load_relaxed(); ++number) {
      const std::uint64_t times = books_->handled[number % kBookedMax].load_relaxed();
      range = {std::min(range[0], times), std::max(range[1], times)};
    }
    return range;
  }
  // Until all that was asked is answered.
  [[nodiscard]] bool ends_well() const {
    books_->stop.store_relaxed(1);
    return eventually([&] { return books_->has_ended.load_relaxed() == 1; });
  }

  ChaosReport play(FaultType type, const FaultParams& params,
                   Nanos cooldown = Nanos{3 * kNsPerSecond});

  ScratchDirectory directory_;
  ScratchDirectory elsewhere_;
  std::string books_path_ = elsewhere_.file("books");
  BooksFile books_{books_path_};
  pid_t engine_ = 0;
  pid_t caller_ = 0;
  LiveChaosOptions options_;
  std::unique_ptr<LiveDriver> driver_;
  std::vector<std::uint32_t> rows_;
};

std::string told(const LiveBooks& books) {
  return "sent " + std::to_string(books.sent.load_relaxed()) + ", answered " +
         std::to_string(books.answered.load_relaxed()) + ", twice " +
         std::to_string(books.answered_twice.load_relaxed()) + ", overdue " +
         std::to_string(books.overdue.load_relaxed()) + ", given " +
         std::to_string(books.overdue_given.load_relaxed()) + ", refused " +
         std::to_string(books.refused.load_relaxed());
}

chaos::Create plan_of(FaultType type, const FaultParams& params, std::uint32_t target) {
  chaos::Create plan;
  plan.name = "a death";
  const auto at_most_0 = [](const char* metric) {
    return coordination::ChaosAssertion{metric, AssertionOp::lte, 0, 0, Aggregation::max};
  };
  plan.hypothesis.assertions = {at_most_0("lost"),
                                at_most_0("overdue"),
                                at_most_0("answered_twice"),
                                {"engine_up", AssertionOp::gte, 1, 0, Aggregation::min},
                                {"throughput", AssertionOp::gt, 0, 0, Aggregation::avg}};
  plan.hypothesis.window = Nanos{200 * kNsPerMs};
  coordination::ChaosPhase phase;
  phase.duration = Nanos{400 * kNsPerMs};
  phase.verify_after = false;  // it is down; what counts is how it comes back
  coordination::ChaosFault fault;
  fault.type = type;
  fault.params = params;
  fault.targets.mode = coordination::TargetMode::specific;
  fault.targets.agents = {target};
  phase.faults = {fault};
  plan.phases = {phase};
  plan.has_safety = true;
  plan.safety.blast_radius_ppm = 1'000'000;
  return plan;
}

ChaosReport LiveDeaths::play(FaultType type, const FaultParams& params, Nanos cooldown) {
  ChaosConfig config = ChaosConfig::preset("standard").value();
  config.driver = coordination::ChaosDriver::live;
  config.allow_live = true;
  config.agents_max = static_cast<std::uint32_t>(driver_->rows());
  config.tick_ns = Nanos{10 * kNsPerMs};
  ChaosHarness harness(config);
  ChaosPilot pilot(harness, *driver_);
  LiveMeter meter(*driver_, harness);
  EXPECT_TRUE(meter.begin(driver_->now()));
  EXPECT_TRUE(driver_->describe(harness, driver_->now()));
  auto plan = plan_of(type, params, rows_[0]);
  plan.hypothesis.cooldown = cooldown;
  const auto made = harness.apply(plan, driver_->now());
  EXPECT_EQ(name_of(made.code), "ok");
  harness.apply(chaos::Approve{made.id, "the test"}, driver_->now());
  EXPECT_EQ(name_of(harness.apply(chaos::Start{made.id}, driver_->now()).code), "ok");
  EXPECT_TRUE(eventually([&] {
    if (driver_->now() < pilot.next_step()) return false;
    pilot.step(driver_->now());
    meter.sample([&] { return counts(); }, driver_->now());
    return is_over(harness.state(made.id));
  }));
  EXPECT_EQ(harness.in_force(), 0U);
  if (!harness.report(made.id).hypothesis_held)
    std::printf("%s\n", told(*books_.operator->()).c_str());
  return harness.report(made.id);
}

void expect_held(const ChaosReport& report) {
  EXPECT_TRUE(report.hypothesis_held);
  for (const auto& issue : report.issues) ADD_FAILURE() << to_string(issue.category);
  for (const auto& finding : report.findings) {
    if (finding.verdict != coordination::Verdict::passed)
      std::printf("at %d assertion %u: %s %g\n", static_cast<int>(finding.point), finding.assertion,
                  std::string(to_string(finding.verdict)).c_str(), finding.actual);
  }
  ASSERT_EQ(report.injections.size(), 1U);
  EXPECT_EQ(report.injections[0].status, InjectionStatus::undone);
}

// --- refusals ----------------------------------------------------------------------------------

TEST_F(LiveDeaths, RefusesAnEngineThatIsNotTheOneOfItsDirectory) {
  ASSERT_NO_FATAL_FAILURE(start());
  LiveChaosOptions other = options_;
  other.processes.clear();
  other.engine = options_.processes[0];
  EXPECT_EQ(LiveDriver::open(other).error().code, Errc::not_yours);
}

TEST_F(LiveDeaths, RefusesDeathsThatNobodyRegisteredOrThatCannotBe) {
  ASSERT_NO_FATAL_FAILURE(start());
  auto order = live_order(FaultType::engine_death, 1, in_seconds(600));
  for (const std::uint32_t step : {0U, engine::kEngineSteps + 1}) {
    order.params.count = step;
    EXPECT_EQ(driver_->inject(order, ascending()), Errc::unsupported) << "no such step: " << step;
  }
  auto station = live_order(FaultType::station_death, 1, in_seconds(600));
  station.params.count = engine::kStationSteps + 1;
  EXPECT_EQ(driver_->inject(station, std::vector{rows_[0]}), Errc::unsupported);
  order.params = {};
  order.params.variant = FaultVariant::for_good;
  EXPECT_EQ(driver_->inject(order, ascending()), Errc::unsupported) << "no engine is left dead";
  LiveChaosOptions bare{.directory = directory_.path(), .allow_live = true};
  const auto other = LiveDriver::open(bare).value();
  for (const FaultType type : {FaultType::engine_death, FaultType::station_death}) {
    auto death = live_order(type, 1, in_seconds(600));
    EXPECT_EQ(other->inject(death, ascending()), Errc::not_authorized);
    death.params.count = 2;
    EXPECT_EQ(other->inject(death, ascending()), Errc::not_authorized);
  }
  EXPECT_TRUE(driver_->look());
}

TEST_F(LiveDeaths, RefusesEverythingOnceASuccessorForbidsIt) {
  ASSERT_NO_FATAL_FAILURE(start("forbidding"));
  ASSERT_EQ(driver_->inject(live_order(FaultType::engine_death, 1, in_seconds(600)), ascending()),
            Errc::ok);
  driver_->undo(1);
  ASSERT_TRUE(eventually([&] { return driver_->is_gone(1); }));
  for (const FaultType type :
       {FaultType::engine_death, FaultType::station_death, FaultType::agent_hang}) {
    EXPECT_EQ(driver_->inject(live_order(type, 2, in_seconds(600)), ascending()),
              Errc::not_authorized);
  }
  EXPECT_TRUE(driver_->guard().state(0)->is_running);
}

// --- what they do ------------------------------------------------------------------------------

TEST_F(LiveDeaths, AnEngineThatIsKilledHasASuccessorAndNothingIsLostOrAnsweredTwice) {
  ASSERT_NO_FATAL_FAILURE(start());
  const pid_t before = engine_now();
  FaultParams params;
  params.restart_after = Nanos{100 * kNsPerMs};
  expect_held(play(FaultType::engine_death, params));
  EXPECT_NE(engine_now(), before);
  EXPECT_NE(state_of(before), 'S') << "it is really gone";
  EXPECT_TRUE(ends_well());
  EXPECT_EQ(books_->answered.load_relaxed(), books_->sent.load_relaxed());
  EXPECT_EQ(books_->answered_twice.load_relaxed(), 0U);
  EXPECT_EQ(handled_at_least_and_most(), (std::array<std::uint64_t, 2>{1, 1}));
}

TEST_F(LiveDeaths, ASuccessorDiesAsItsPredecessorDid) {
  ASSERT_NO_FATAL_FAILURE(start());
  for (int i = 0; i < 3; ++i) {
    const pid_t before = engine_now();
    auto order =
        live_order(FaultType::engine_death, static_cast<std::uint64_t>(i) + 1, in_seconds(600));
    ASSERT_EQ(driver_->inject(order, ascending()), Errc::ok) << i;
    EXPECT_FALSE(driver_->is_gone(order.injection));
    EXPECT_FALSE(driver_->works(rows_[0]));
    driver_->undo(order.injection);
    EXPECT_TRUE(eventually([&] { return driver_->is_gone(order.injection); }));
    EXPECT_NE(engine_now(), before);
    EXPECT_TRUE(eventually([&] { return driver_->works(rows_[0]); }));
  }
  EXPECT_TRUE(ends_well());
  EXPECT_EQ(books_->answered.load_relaxed(), books_->sent.load_relaxed());
  EXPECT_EQ(books_->answered_twice.load_relaxed(), 0U);
}

TEST_F(LiveDeaths, AStationThatIsKilledIsStartedAnewAndEveryMessageIsAnsweredOnce) {
  ASSERT_NO_FATAL_FAILURE(start());
  const pid_t before = driver_->guard().state(0)->process;
  expect_held(play(FaultType::station_death, {}));
  EXPECT_NE(driver_->guard().state(0)->process, before);
  EXPECT_TRUE(ends_well());
  EXPECT_EQ(books_->answered.load_relaxed(), books_->sent.load_relaxed());
  EXPECT_EQ(books_->answered_twice.load_relaxed(), 0U);
  EXPECT_GE(handled_at_least_and_most()[0], 1U) << "at least once, by somebody who says so";
}

// --- at each step of a message -----------------------------------------------------------------

class LiveDeathAt : public LiveDeaths, public ::testing::WithParamInterface<std::uint32_t> {};

using EngineDeathAt = LiveDeathAt;
TEST_P(EngineDeathAt, TheSuccessorLosesNothingAndAnswersNothingTwice) {
  ASSERT_NO_FATAL_FAILURE(start());
  const pid_t before = engine_now();
  FaultParams params;
  params.count = GetParam();
  params.restart_after = Nanos{100 * kNsPerMs};
  expect_held(play(FaultType::engine_death, params));
  EXPECT_NE(engine_now(), before);
  EXPECT_NE(state_of(before), 'S') << "it is really gone";
  EXPECT_TRUE(ends_well());
  EXPECT_EQ(books_->answered.load_relaxed(), books_->sent.load_relaxed());
  EXPECT_EQ(books_->answered_twice.load_relaxed(), 0U);
  EXPECT_EQ(handled_at_least_and_most(), (std::array<std::uint64_t, 2>{1, 1}));
}
INSTANTIATE_TEST_SUITE_P(Steps, EngineDeathAt, ::testing::Range(2U, engine::kEngineSteps + 1));

using StationDeathAt = LiveDeathAt;
TEST_P(StationDeathAt, WhoIsStartedAnewDoesWhatWasNotAnsweredAndLivesOn) {
  ASSERT_NO_FATAL_FAILURE(start());
  const pid_t before = driver_->guard().state(0)->process;
  FaultParams params;
  params.count = GetParam();
  params.restart_after = Nanos{50 * kNsPerMs};  // while the fault is there still
  expect_held(play(FaultType::station_death, params));
  const pid_t after = driver_->guard().state(0)->process;
  EXPECT_NE(after, before);
  EXPECT_TRUE(ends_well());
  EXPECT_EQ(driver_->guard().state(0)->process, after) << "it died once";
  EXPECT_EQ(books_->answered.load_relaxed(), books_->sent.load_relaxed());
  EXPECT_EQ(books_->answered_twice.load_relaxed(), 0U);
  const auto handled = handled_at_least_and_most();
  EXPECT_EQ(handled[0], 1U);
  const bool is_done_again = GetParam() == static_cast<std::uint32_t>(engine::StationStep::done);
  EXPECT_EQ(handled[1], is_done_again ? 2U : 1U) << "done and not answered is done again";
}
INSTANTIATE_TEST_SUITE_P(Steps, StationDeathAt, ::testing::Range(2U, engine::kStationSteps + 1));

TEST_F(LiveDeaths, WhereNoMessageComesNobodyDiesAndWhoIsSparedLivesOn) {
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_TRUE(ends_well());  // nobody asks anything any more
  const pid_t engine = engine_now();
  const pid_t worker = driver_->guard().state(0)->process;
  auto death = live_order(FaultType::engine_death, 1, in_seconds(600));
  death.params.count = 2;
  ASSERT_EQ(driver_->inject(death, ascending()), Errc::ok);
  auto other = live_order(FaultType::station_death, 2, in_seconds(600));
  other.params.count = 2;
  ASSERT_EQ(driver_->inject(other, std::vector{rows_[0]}), Errc::ok);
  for (const std::uint64_t injection : {1U, 2U}) {
    EXPECT_FALSE(driver_->is_gone(injection));
    driver_->undo(injection);
    EXPECT_TRUE(eventually([&] { return driver_->is_gone(injection); }));
  }
  EXPECT_EQ(engine_now(), engine);
  EXPECT_EQ(driver_->guard().state(0)->process, worker);
  EXPECT_TRUE(driver_->guard().state(0)->is_running);
}

// --- and that the checks can fail --------------------------------------------------------------

TEST_F(LiveDeaths, WhatADeadStationOwesIsOverdueAsLongAsNobodyStartsItAgain) {
  ASSERT_NO_FATAL_FAILURE(start());
  FaultParams params;
  params.variant = FaultVariant::for_good;
  const ChaosReport report = play(FaultType::station_death, params, Nanos{150 * kNsPerMs});
  EXPECT_FALSE(report.hypothesis_held);
  ASSERT_EQ(report.injections.size(), 1U);
  EXPECT_EQ(report.injections[0].status, InjectionStatus::undone);
  EXPECT_FALSE(driver_->guard().state(0)->is_running);
  EXPECT_FALSE(driver_->works(rows_[0]));
  EXPECT_GT(books_->overdue.load_relaxed(), 0U);
  EXPECT_GE(driver_->look()->messages_open, books_->overdue_given.load_relaxed())
      << "kept, not lost";
}

TEST_F(LiveDeaths, ASuccessorThatDropsTheMeshIsCaught) {
  ASSERT_NO_FATAL_FAILURE(start("fresh"));
  const ChaosReport report = play(FaultType::engine_death, {}, Nanos{150 * kNsPerMs});
  EXPECT_FALSE(report.hypothesis_held);
  EXPECT_TRUE(eventually([&] { return driver_->look().has_value(); }));
  EXPECT_EQ(driver_->look()->messages_open, 0U) << "it knows of none";
  EXPECT_TRUE(eventually([&] { return books_->overdue.load_relaxed() > 0; })) << "and some were";
}

}  // namespace of_live_deaths_test
}  // namespace mesh::testing
