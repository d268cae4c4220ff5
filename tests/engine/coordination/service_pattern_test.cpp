// What every room has from the pattern; JournaledService, over the model room.
#include "engine/coordination/backpressure_controller.hpp"
#include "engine/coordination/capability_health.hpp"
#include "engine/coordination/chaos_harness.hpp"
#include "engine/coordination/circuit_breaker.hpp"
#include "engine/coordination/contention_arbiter.hpp"
#include "engine/coordination/exactly_once_queue.hpp"
#include "engine/coordination/federation_router.hpp"
#include "engine/coordination/gossip_engine.hpp"
#include "engine/coordination/lock_manager.hpp"
#include "engine/coordination/outbox.hpp"
#include "engine/coordination/reputation_router.hpp"
#include "engine/coordination/resource_pool.hpp"
#include "engine/coordination/service_discovery.hpp"
#include "engine/coordination/task_auction.hpp"
#include "engine/coordination/throttle_governor.hpp"
#include "engine/coordination/token_economy.hpp"
#include "engine/coordination/vector_clock.hpp"
#include "engine/coordination/view_synchronizer.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination {
namespace of_service_pattern_test {

using Journaled = JournaledService<CircuitBreaker>;

const CircuitBreakerConfig kConfig = CircuitBreakerConfig::preset("agent-call").value();

Journaled::Request failure(std::uint64_t sequence) {
  return {{1, sequence}, breaker::Record{{0, 0}, CallOutcome::fail, Nanos{0}, Nanos{0}}};
}

TEST(JournaledService, SyncsOnceABurst) {
  MemoryJournal journal;
  auto service = Journaled::open(kConfig, journal);
  const std::array burst{failure(1), failure(2), failure(3)};
  const auto replies = service->execute(burst, Nanos{5});
  ASSERT_TRUE(replies);
  EXPECT_EQ(replies->back().state, BreakerState::open);
  EXPECT_EQ(journal.sync_count(), 1U);
}

TEST(JournaledService, AnswersACommandSentAgainWithItsFirstAnswer) {
  MemoryJournal journal;
  auto service = Journaled::open(kConfig, journal);
  const std::array burst{failure(1), failure(1), failure(2)};
  const auto replies = service->execute(burst, Nanos{5});
  ASSERT_TRUE(replies);
  EXPECT_EQ(service->service().counters().failures, 2U) << "the one sent twice counts once";
  EXPECT_EQ(service->execute(failure(2), Nanos{9})->state, BreakerState::closed);
  EXPECT_EQ(service->service().counters().failures, 2U);
  EXPECT_EQ(journal.sync_count(), 1U) << "nothing new, nothing to sync";
  auto again = Journaled::open(kConfig, journal);
  ASSERT_TRUE(again);
  again->execute(failure(1), Nanos{9}).value();
  EXPECT_EQ(again->service().counters().failures, 2U) << "also after a restart";
}

TEST(JournaledService, RefusesABurstLargerThanItsMemory) {
  MemoryJournal journal;
  JournalOptions options;
  options.replies_max = 2;
  auto service = Journaled::open(kConfig, journal, options);
  const std::array burst{failure(1), failure(2), failure(3)};
  EXPECT_EQ(service->execute(burst, Nanos{5}).error().code, Errc::invalid_argument);
  EXPECT_EQ(journal.last_sequence(), 0U);
}

class FailingJournal final : public Journal {
 public:
  Result<std::uint64_t> append(std::span<const std::byte>) override { return ++appended; }
  Status sync() override { return fail(Errc::io_error, "journal: the disk is gone"); }
  Status replace_snapshot(const StoredSnapshot&) override { return {}; }
  Result<StoredSnapshot> newest_snapshot() const override { return StoredSnapshot{}; }
  Status replay(std::uint64_t, JournalVisitor&) const override { return {}; }
  std::uint64_t appended = 0;
};

TEST(JournaledService, AppliesNothingThatWasNotSyncedAndStopsThere) {
  FailingJournal journal;
  auto service = Journaled::open(kConfig, journal);
  EXPECT_EQ(service->execute(failure(1), Nanos{5}).error().code, Errc::io_error);
  EXPECT_EQ(service->service().counters().failures, 0U);
  EXPECT_EQ(service->execute(failure(2), Nanos{5}).error().code, Errc::closed);
  EXPECT_EQ(service->checkpoint().error().code, Errc::closed);
  EXPECT_EQ(journal.appended, 1U);
}

TEST(JournaledService, RefusesRecordsThatMakeNoSense) {
  for (const std::uint8_t first : {std::uint8_t{0}, std::uint8_t{9}}) {
    MemoryJournal journal;
    StateWriter record;
    record.put(first);
    record.put(std::int64_t{5});
    ASSERT_TRUE(journal.append(record.bytes()));
    ASSERT_TRUE(journal.sync());
    EXPECT_EQ(Journaled::open(kConfig, journal).error().code, Errc::corrupt);
  }
}

TEST(JournaledService, ReplaysTicks) {
  MemoryJournal journal;
  auto service = Journaled::open(kConfig, journal);
  for (std::uint64_t i = 1; i <= 3; ++i) service->execute(failure(i), Nanos{0}).value();
  service->execute({{1, 4}, breaker::Allow{}}, Nanos{30 * kNsPerSecond}).value();
  BreakerActions actions;
  ASSERT_TRUE(service->tick(Nanos{95 * kNsPerSecond}, actions));
  EXPECT_EQ(service->service().state(), BreakerState::open);
  auto again = Journaled::open(kConfig, journal);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->service().state_hash(), service->service().state_hash());
}

// --- every room --------------------------------------------------------------------------------

template <class Service>
class EveryRoom : public ::testing::Test {};
using Rooms =
    ::testing::Types<BackpressureController, CircuitBreaker, ExactlyOnceQueue, FederationRouter,
                     AdaptiveThrottleGovernor, Outbox, VectorClockCausality,
                     ReputationWeightedRouter, CapabilityHealthMonitor, ServiceDiscovery,
                     LockManager, ResourcePoolManager, TokenEconomy, TaskAuction,
                     ResourceContentionArbiter, GossipEngine, ViewSynchronizer, ChaosHarness>;
TYPED_TEST_SUITE(EveryRoom, Rooms);

TYPED_TEST(EveryRoom, RefusesInstantsThatCannotBe) {
  TypeParam service({}, 1);
  const std::uint64_t hash = service.state_hash();
  std::uint64_t refused = 0;
  for (const std::int64_t ns : {std::int64_t{-1}, INT64_MIN, kInstantMaxNs + 1, INT64_MAX}) {
    const auto reply = service.apply(typename TypeParam::Command{}, Nanos{ns});
    EXPECT_NE(reply.code, Errc::ok) << ns;
    EXPECT_EQ(service.counters().refused, ++refused) << ns;
    typename TypeParam::Actions actions{};
    service.tick(Nanos{ns}, actions);
  }
  EXPECT_EQ(service.state_hash(), hash);
  EXPECT_EQ(service.clock_regressions(), 0U) << "an instant that cannot be is no instant";
  typename TypeParam::Actions actions{};
  service.tick(Nanos{kInstantMaxNs}, actions);  // the last one is one
  EXPECT_TRUE(service.verify());
}

TYPED_TEST(EveryRoom, RefusesALogOfEventsWithoutEnd) {
  for (const std::uint32_t count : {0U, kEventsMax + 1, UINT32_MAX}) {
    typename TypeParam::Config config;
    config.events_max = count;
    const auto judged = TypeParam::validate(config);
    ASSERT_FALSE(judged) << count;
    EXPECT_EQ(judged.error().code, Errc::invalid_config);
    EXPECT_NE(judged.error().sentence.find("events_max"), std::string::npos);
  }
}

TYPED_TEST(EveryRoom, NamesItsPresetsWhenAskedForAnother) {
  const auto none = TypeParam::Config::preset("no-such");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::unknown_preset);
  for (const auto name : TypeParam::Config::names()) {
    EXPECT_NE(none.error().sentence.find(name), std::string::npos) << name;
    EXPECT_TRUE(TypeParam::validate(TypeParam::Config::preset(name).value())) << name;
  }
}

TYPED_TEST(EveryRoom, RefusesBytesThatAreNoCommand) {
  for (const std::size_t index :
       {std::variant_size_v<typename TypeParam::Command>, std::size_t{255}}) {
    const std::array bytes{static_cast<std::byte>(index)};
    StateReader reader(bytes);
    TypeParam::decode_command(reader);
    EXPECT_EQ(reader.finish("command").error().code, Errc::corrupt);
  }
}

TEST(CircuitBreaker, RefusesDurationsThatWouldLeaveTheClock) {
  for (auto field : {&CircuitBreakerConfig::open_ns_max, &CircuitBreakerConfig::probe_retry_ns,
                     &CircuitBreakerConfig::half_open_ns, &CircuitBreakerConfig::half_open_ns_max,
                     &CircuitBreakerConfig::window_ns, &CircuitBreakerConfig::slow_call_ns}) {
    CircuitBreakerConfig config;
    config.*field = Nanos::max();
    EXPECT_EQ(CircuitBreaker::validate(config).error().code, Errc::invalid_config);
  }
}

}  // namespace of_service_pattern_test
}  // namespace mesh::coordination
