// Each fault acts on a mesh of real processes, and is seen to; what may not be done, or cannot, is
// refused; and all of it lapses, whoever dies.
#include "engine/chaos/live_driver.hpp"

#include "tests/engine/chaos/live_kit.hpp"

namespace mesh::testing {
namespace of_live_driver_test {

using coordination::ChaosOrder;
using coordination::FaultType;
using coordination::FaultVariant;
using engine::LiveChaosOptions;
using engine::LiveDriver;
using sched::TrinaryState;

constexpr Nanos kBriefly{150 * kNsPerMs};

class LiveChaos : public ::testing::Test {
 protected:
  void start(std::size_t workers, bool are_willing = true) {
    workers_ = std::make_unique<LiveWorkers>(workers, are_willing);
    workers_->start(LiveWorkers::options(directory_.path()));
    LiveChaosOptions options;
    options.directory = directory_.path();
    options.allow_live = true;
    for (std::size_t i = 0; i < workers; ++i) options.processes.push_back(workers_->process(i));
    auto driver = LiveDriver::open(options);
    ASSERT_TRUE(driver.has_value()) << driver.error().sentence;
    driver_ = std::move(*driver);
  }
  [[nodiscard]] Errc strike(const ChaosOrder& order, std::size_t worker = 0) {
    return driver_->inject(order, std::vector<std::uint32_t>{workers_->row(worker)});
  }
  bool is_gone_soon(std::uint64_t injection) {
    return eventually([&] { return driver_->is_gone(injection); });
  }

  ScratchDirectory directory_;
  std::unique_ptr<LiveWorkers> workers_;
  std::unique_ptr<LiveDriver> driver_;
};

// --- refusals ----------------------------------------------------------------------------------

TEST_F(LiveChaos, RefusesToOpenUnlessItIsAllowed) {
  const auto driver = LiveDriver::open({.directory = directory_.path()});
  ASSERT_FALSE(driver);
  EXPECT_EQ(driver.error().code, Errc::not_authorized);
}

TEST_F(LiveChaos, RefusesAProcessThatIsNotTheOneThatWasChosen) {
  start(1);
  LiveChaosOptions options;
  options.directory = directory_.path();
  options.allow_live = true;
  options.processes = {workers_->process(0)};
  options.processes[0].started += 1;
  EXPECT_EQ(LiveDriver::open(options).error().code, Errc::not_yours);
}

TEST_F(LiveChaos, RefusesAnAgentThatHasNotAgreedAndOneThatIsNotThere) {
  start(1, false);
  for (const FaultType type : {FaultType::agent_hang, FaultType::latency_spike}) {
    EXPECT_EQ(strike(live_order(type, 1, in_seconds(600))), Errc::not_authorized);
  }
  EXPECT_EQ(driver_->inject(live_order(FaultType::agent_hang, 1, in_seconds(600)),
                            std::vector<std::uint32_t>{63}),
            Errc::no_such_agent);
  EXPECT_FALSE(is_stopped(workers_->pid(0)));
  EXPECT_TRUE(driver_->is_gone(1));
}

TEST_F(LiveChaos, RefusesAMeshThatDoesNotAllowIt) {
  workers_ = std::make_unique<LiveWorkers>(1);
  auto options = LiveWorkers::options(directory_.path());
  options.allow_live_chaos = false;
  workers_->start(options);
  const auto driver = LiveDriver::open({.directory = directory_.path(), .allow_live = true});
  ASSERT_FALSE(driver);
  EXPECT_EQ(driver.error().code, Errc::not_authorized);
  for (const char* const how : {"mesh up --allow-live-chaos", "allow_live = true under [chaos]"}) {
    EXPECT_NE(driver.error().sentence.find(how), std::string::npos) << driver.error().sentence;
  }
  auto console = engine::ControlClient::connect(directory_.path(), {}).value();
  const auto told = console.request(
      R"({"op": "chaos", "do": "inject", "injection": 1, "kind": 1, "agents": [1]})");
  ASSERT_FALSE(told) << "whoever asks the engine itself";
  EXPECT_EQ(told.error().code, Errc::not_authorized);
  EXPECT_NE(told.error().sentence.find("mesh up --allow-live-chaos"), std::string::npos);
}

TEST_F(LiveChaos, RefusesWhatItCannotDo) {
  start(1);
  for (const FaultType type : {FaultType::resource_exhaustion, FaultType::clock_skew,
                               FaultType::byzantine_behavior, FaultType::dependency_failure,
                               FaultType::name_resolution_failure, FaultType::credential_expiry}) {
    EXPECT_EQ(strike(live_order(type, 1, in_seconds(600))), Errc::unsupported) << to_string(type);
  }
  for (const FaultType type : {FaultType::agent_hang, FaultType::agent_crash, FaultType::partition,
                               FaultType::station_death}) {
    ChaosOrder ramp = live_order(type, 1, in_seconds(600));
    ramp.ramp_up = Nanos{1};
    EXPECT_EQ(strike(ramp), Errc::unsupported) << to_string(type) << ": it acts or it does not";
  }
  EXPECT_EQ(strike(live_order(FaultType::agent_crash, 1, in_seconds(600))), Errc::unsupported)
      << "nothing would start it anew";
  EXPECT_EQ(strike(live_order(FaultType::agent_hang, 1, Nanos{1})), Errc::invalid_argument)
      << "over already";
  EXPECT_TRUE(workers_->answers(0));
}

// One process with two agents: stopping it stops both.
TEST_F(LiveChaos, RefusesToHitAgentsThatWereNotNamed) {
  const Child two([](const Channel& channel) {
    return chaos_worker(channel, {"worker-0", "worker-1"}, true);
  });
  LiveWorkers mesh(0);
  mesh.start(LiveWorkers::options(directory_.path()));
  two.tell(directory_.path());
  ASSERT_EQ(two.hear(), "enrolled");
  LiveChaosOptions options{.directory = directory_.path(), .allow_live = true};
  options.processes = {{two.process(), engine::process_start(two.process()).value(), {}}};
  const auto driver = LiveDriver::open(options).value();
  const ChaosOrder hang = live_order(FaultType::agent_hang, 1, in_seconds(600));
  std::vector<std::uint32_t> rows{mesh.row(0)};
  EXPECT_EQ(driver->inject(hang, rows), Errc::unsupported);
  EXPECT_FALSE(is_stopped(two.process()));
  rows.push_back(mesh.row(1));
  std::sort(rows.begin(), rows.end());
  EXPECT_EQ(driver->inject(hang, rows), Errc::ok);
  EXPECT_TRUE(eventually([&] { return is_stopped(two.process()); }));
}

// --- what each does ----------------------------------------------------------------------------

TEST_F(LiveChaos, AHungAgentAnswersNothingUntilItGoesOn) {
  start(2);
  EXPECT_EQ(strike(live_order(FaultType::agent_hang, 1, in_seconds(600))), Errc::ok);
  EXPECT_EQ(strike(live_order(FaultType::agent_hang, 1, in_seconds(600))), Errc::ok) << "again";
  EXPECT_TRUE(eventually([&] { return is_stopped(workers_->pid(0)); }));
  EXPECT_FALSE(driver_->works(workers_->row(0)));
  EXPECT_FALSE(workers_->ask(0, kBriefly));
  EXPECT_TRUE(workers_->answers(1)) << "the other works";
  driver_->undo(1);
  driver_->undo(1);
  EXPECT_TRUE(driver_->is_gone(1));
  EXPECT_TRUE(workers_->answers(0));
  EXPECT_TRUE(driver_->works(workers_->row(0)));
}

TEST_F(LiveChaos, ASlowedAgentsProcessIsStoppedAndGoesOnAndAnswersAllTheSame) {
  start(1);
  ChaosOrder slow = live_order(FaultType::agent_slowdown, 1, in_seconds(600));
  slow.params.factor_milli = 20'000;
  EXPECT_EQ(strike(slow), Errc::ok);
  EXPECT_TRUE(eventually([&] { return is_stopped(workers_->pid(0)); }));
  EXPECT_TRUE(eventually([&] { return !is_stopped(workers_->pid(0)); }));
  EXPECT_TRUE(workers_->answers(0));
  slow.injection = 2;
  slow.params.factor_milli = 1'000;
  EXPECT_EQ(strike(slow), Errc::invalid_argument) << "that slows nothing";
  driver_->undo(1);
  EXPECT_TRUE(workers_->answers(0));
}

TEST_F(LiveChaos, ALatencySpikeMakesAnswersLaterUntilItIsUndone) {
  start(1);
  ChaosOrder spike = live_order(FaultType::latency_spike, 1, in_seconds(600));
  spike.params.add = Nanos{120 * kNsPerMs};
  spike.params.jitter = Nanos{20 * kNsPerMs};
  EXPECT_EQ(strike(spike), Errc::ok);
  for (int i = 0; i < 3; ++i) {
    const auto told = workers_->ask(0, Nanos{20 * kNsPerSecond});
    ASSERT_TRUE(told);
    EXPECT_EQ(told->state, TrinaryState::ready);
    EXPECT_GE(told->took_ns, 120 * kNsPerMs);
  }
  EXPECT_FALSE(driver_->works(workers_->row(0)));
  driver_->undo(1);
  EXPECT_TRUE(driver_->is_gone(1));
  EXPECT_TRUE(driver_->works(workers_->row(0)));
  EXPECT_TRUE(eventually([&] {
    const auto told = workers_->ask(0, Nanos{20 * kNsPerSecond});
    return told && told->took_ns < 100 * kNsPerMs;
  }));
}

TEST_F(LiveChaos, LostMessagesAreAnsweredByNobody) {
  start(2);
  ChaosOrder loss = live_order(FaultType::packet_loss, 1, in_seconds(600));
  loss.params.rate_ppm = 1'000'000;
  EXPECT_EQ(strike(loss), Errc::ok);
  EXPECT_FALSE(workers_->ask(0, kBriefly));
  EXPECT_TRUE(workers_->answers(1));
  driver_->undo(1);
  EXPECT_TRUE(workers_->answers(0));
  const auto [handled, duplicates, lost] = workers_->counts(0);
  EXPECT_EQ(lost, 1);
  EXPECT_EQ(handled, 2) << "what was answered, and this question";
}

TEST_F(LiveChaos, WhatComesTwiceIsKnownAndHandledOnce) {
  start(1);
  ChaosOrder twice = live_order(FaultType::duplicate, 1, in_seconds(600));
  twice.params.rate_ppm = 1'000'000;
  EXPECT_EQ(strike(twice), Errc::ok);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(workers_->answers(0));
  driver_->undo(1);
  const auto [handled, duplicates, lost] = workers_->counts(0);
  EXPECT_EQ(handled, 6);
  EXPECT_EQ(duplicates, 5);
}

TEST_F(LiveChaos, CorruptedBodiesArriveChanged) {
  start(1);
  ChaosOrder flips = live_order(FaultType::message_corruption, 1, in_seconds(600));
  flips.params.rate_ppm = 1'000'000;
  flips.params.count = 1;
  EXPECT_EQ(strike(flips), Errc::ok);
  const std::string sent = "a body of which one bit is flipped";
  const auto told = workers_->ask(0, Nanos{20 * kNsPerSecond}, sent);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->body.size(), sent.size());
  EXPECT_NE(told->body, sent);
  driver_->undo(1);
  EXPECT_EQ(workers_->ask(0, Nanos{20 * kNsPerSecond}, sent)->body, sent);
}

TEST_F(LiveChaos, APartitionLetsNothingThroughAndOneWayNothingBack) {
  start(1);
  ChaosOrder cut = live_order(FaultType::partition, 1, in_seconds(600));
  EXPECT_EQ(strike(cut), Errc::ok);
  EXPECT_FALSE(workers_->ask(0, kBriefly));
  driver_->undo(1);
  EXPECT_EQ(workers_->counts(0)[2], 1) << "it never came";
  cut.injection = 2;
  cut.params.is_one_way = true;
  EXPECT_EQ(strike(cut), Errc::ok);
  EXPECT_FALSE(workers_->ask(0, kBriefly));
  driver_->undo(2);
  const auto [handled, duplicates, lost] = workers_->counts(0);
  EXPECT_EQ(lost, 1) << "that of before";
  EXPECT_EQ(handled, 3) << "two questions, and the one of which nothing came back";
}

TEST_F(LiveChaos, AnAgentThatFlipsItsVoteAnswersConflict) {
  start(1);
  ChaosOrder lies = live_order(FaultType::byzantine_behavior, 1, in_seconds(600));
  lies.params.variant = FaultVariant::flip_vote;
  EXPECT_EQ(strike(lies), Errc::ok);
  const auto told = workers_->ask(0, Nanos{20 * kNsPerSecond});
  ASSERT_TRUE(told);
  EXPECT_EQ(told->state, TrinaryState::conflict);
  driver_->undo(1);
  EXPECT_TRUE(workers_->answers(0));
}

TEST_F(LiveChaos, ReorderedMessagesAreLaterEachByItsOwnTime) {
  start(1);
  ChaosOrder shuffle = live_order(FaultType::reorder, 1, in_seconds(600));
  shuffle.params.jitter = Nanos{200 * kNsPerMs};
  EXPECT_EQ(strike(shuffle), Errc::ok);
  std::int64_t most_ns = 0;
  for (int i = 0; i < 4; ++i) {
    const auto told = workers_->ask(0, Nanos{20 * kNsPerSecond});
    ASSERT_TRUE(told);
    most_ns = std::max(most_ns, told->took_ns);
  }
  // Of four draws from 0 to 200 ms none above 20: one in ten thousand, and the draws are the same
  // each time.
  EXPECT_GT(most_ns, 20 * kNsPerMs);
}

// The driver is told what time it is: a tenth of a second of an hour's ramp is its first step.
TEST_F(LiveChaos, ALatencySpikeGrowsAndFadesStepByStep) {
  start(1);
  ChaosOrder spike = live_order(FaultType::latency_spike, 1, in_seconds(7'200));
  spike.params.add = Nanos{320 * kNsPerMs};
  spike.params.jitter = Nanos{0};
  spike.ramp_up = Nanos{1'600 * kNsPerSecond};
  spike.ramp_down = Nanos{1'600 * kNsPerSecond};
  const Nanos begun = driver_->now();
  EXPECT_EQ(strike(spike), Errc::ok);
  const auto took_ns = [&] {
    const auto told = workers_->ask(0, Nanos{20 * kNsPerSecond});
    return told ? told->took_ns : -1;
  };
  EXPECT_GE(took_ns(), 20 * kNsPerMs) << "a sixteenth, at once";
  EXPECT_LT(took_ns(), 200 * kNsPerMs);
  driver_->advance(begun + Nanos{850 * kNsPerSecond});
  EXPECT_GE(took_ns(), 180 * kNsPerMs) << "nine of sixteen";
  driver_->advance(begun + Nanos{1'700 * kNsPerSecond});
  EXPECT_GE(took_ns(), 320 * kNsPerMs) << "in full";
  driver_->undo(1);
  const Nanos fading = driver_->now();
  EXPECT_FALSE(driver_->is_gone(1)) << "it fades";
  driver_->undo(1);
  driver_->advance(fading + Nanos{850 * kNsPerSecond});
  EXPECT_GE(took_ns(), 160 * kNsPerMs) << "eight of sixteen";
  driver_->advance(fading + Nanos{1'590 * kNsPerSecond});
  EXPECT_FALSE(driver_->is_gone(1));
  EXPECT_LT(took_ns(), 200 * kNsPerMs);
  driver_->advance(fading + Nanos{1'601 * kNsPerSecond});
  EXPECT_TRUE(driver_->is_gone(1));
  EXPECT_TRUE(driver_->works(workers_->row(0)));
}

TEST_F(LiveChaos, ASlowDownGrowsUntilItIsUndone) {
  start(1);
  ChaosOrder slow = live_order(FaultType::agent_slowdown, 1, in_seconds(7'200));
  slow.params.factor_milli = 100'000;
  slow.ramp_up = Nanos{1'600 * kNsPerSecond};
  const Nanos begun = driver_->now();
  EXPECT_EQ(strike(slow), Errc::ok);
  EXPECT_TRUE(workers_->answers(0));
  driver_->advance(begun + Nanos{1'600 * kNsPerSecond});
  int stopped = 0;
  for (int i = 0; i < 200; ++i) {
    stopped += is_stopped(workers_->pid(0)) ? 1 : 0;
    ::sched_yield();
  }
  EXPECT_GT(stopped, 100) << "99 of 100 ms";
  driver_->undo(1);
  EXPECT_TRUE(driver_->is_gone(1)) << "it has no ramp down";
  EXPECT_TRUE(workers_->answers(0));
}

// Whoever strikes a link or a host is told why not.
TEST_F(LiveChaos, RefusesWhatIsBetweenHostsAndSaysThatThereIsNoBridge) {
  start(1);
  auto console = engine::ControlClient::connect(directory_.path(), {}).value();
  for (const char* const field : {"links", "hosts"}) {
    const auto told =
        console.request(R"({"op": "chaos", "do": "inject", "injection": 1, "kind": 6, ")" +
                        std::string(field) + R"(": [1]})");
    ASSERT_FALSE(told);
    EXPECT_EQ(told.error().code, Errc::unsupported);
    EXPECT_NE(told.error().sentence.find("no bridge"), std::string::npos) << told.error().sentence;
  }
}

// --- and its end -------------------------------------------------------------------------------

TEST_F(LiveChaos, EveryFaultLapsesByItself) {
  start(2);
  const Nanos soon{monotonic_ns() + 300 * kNsPerMs};
  EXPECT_EQ(strike(live_order(FaultType::agent_hang, 1, soon)), Errc::ok);
  ChaosOrder loss = live_order(FaultType::packet_loss, 2, soon);
  loss.params.rate_ppm = 1'000'000;
  EXPECT_EQ(strike(loss, 1), Errc::ok);
  EXPECT_TRUE(is_gone_soon(1));
  EXPECT_TRUE(is_gone_soon(2));
  EXPECT_GE(monotonic_ns(), soon.count());
  EXPECT_TRUE(workers_->answers(0));
  EXPECT_TRUE(workers_->answers(1));
}

// What was ordered by a driver that has died is undone by the next.
TEST_F(LiveChaos, AnotherDriverUndoesWhatADeadOneOrdered) {
  start(1);
  ChaosOrder cut = live_order(FaultType::partition, 7, in_seconds(600));
  EXPECT_EQ(strike(cut), Errc::ok);
  driver_ = LiveDriver::open({.directory = directory_.path(), .allow_live = true}).value();
  EXPECT_FALSE(driver_->is_gone(7));
  driver_->undo(7);
  EXPECT_TRUE(driver_->is_gone(7));
  EXPECT_TRUE(workers_->answers(0));
}

// A harness process that strikes two workers and is killed: one stands still, one hears later.
TEST(LiveChaosDeaths, WhenTheHarnessIsKilledStoppedProcessesGoOnAndDelaysLapse) {
  const ScratchDirectory directory;
  LiveWorkers workers(2);
  const Child harness([&](const Channel& channel) {
    LiveChaosOptions options{.directory = channel.hear(), .allow_live = true};
    options.processes = {workers.process(0)};
    const auto driver = LiveDriver::open(options);
    if (!driver) {
      channel.tell(driver.error().sentence);
      return 1;
    }
    const Nanos until{monotonic_ns() + 1'500 * kNsPerMs};
    ChaosOrder spike = live_order(FaultType::latency_spike, 2, until);
    spike.params.add = Nanos{3'600 * kNsPerSecond};
    const std::vector<std::uint32_t> first{0};
    const std::vector<std::uint32_t> second{1};
    const bool is_done = (*driver)->inject(live_order(FaultType::agent_hang, 1, in_seconds(3'600)),
                                           first) == Errc::ok &&
                         (*driver)->inject(spike, second) == Errc::ok;
    channel.tell(is_done ? "struck" : "refused");
    (void)channel.hear();
    return 0;
  });
  workers.start(LiveWorkers::options(directory.path()));
  ASSERT_EQ(workers.row(0), 0U);
  ASSERT_EQ(workers.row(1), 1U);
  harness.tell(directory.path());
  ASSERT_EQ(harness.hear(), "struck");
  EXPECT_TRUE(eventually([&] { return is_stopped(workers.pid(0)); }));
  EXPECT_FALSE(workers.ask(1, kBriefly)) << "in an hour";
  ::kill(harness.process(), SIGKILL);
  EXPECT_TRUE(eventually([&] { return !is_stopped(workers.pid(0)); }));
  EXPECT_TRUE(workers.answers(0));
  EXPECT_TRUE(workers.answers(1)) << "what it had delayed for an hour is handed over at `expires`";
}

// An engine that is killed while a fault stands: its station holds to it, and the next engine,
// which was not told of it, takes it back.
TEST(LiveChaosDeaths, AFaultOutlivesItsEngineAndTheNextOneUndoesIt) {
  const ScratchDirectory directory;
  const Child worker(
      [](const Channel& channel) { return chaos_worker(channel, {"worker-0"}, true); });
  auto engine = std::make_unique<EngineProcess>(LiveWorkers::options(directory.path()));
  ASSERT_EQ(engine->hear(), "up");
  worker.tell(directory.path());
  ASSERT_EQ(worker.hear(), "enrolled");
  const auto driver = LiveDriver::open({.directory = directory.path(), .allow_live = true}).value();
  const ChaosOrder cut = live_order(FaultType::partition, 1, in_seconds(600));
  ASSERT_EQ(driver->inject(cut, std::vector<std::uint32_t>{0}), Errc::ok);
  engine->kill();
  engine = std::make_unique<EngineProcess>(LiveWorkers::options(directory.path()));
  ASSERT_EQ(engine->hear(), "up");
  ASSERT_TRUE(eventually([&] { return engine->status()["adopted"]["returned"] == 1; }));
  EXPECT_FALSE(driver->is_gone(1));
  engine->send("worker-0", "are you there, beyond the partition?");
  driver->undo(1);
  EXPECT_TRUE(driver->is_gone(1));
  engine->send("worker-0", "and now?");
  EXPECT_TRUE(eventually([&] { return engine->status()["counters"]["answers"] >= 1; }));
}

}  // namespace of_live_driver_test
}  // namespace mesh::testing
