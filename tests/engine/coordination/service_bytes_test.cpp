// The bytes of every room, pinned: commands, replies and snapshots stand in journals that an older
// build wrote. A number here changes together with the room's snapshot version, or not at all.
#include <gtest/gtest.h>

#include "engine/coordination/backpressure_controller.hpp"
#include "engine/coordination/capability_health.hpp"
#include "engine/coordination/circuit_breaker.hpp"
#include "engine/coordination/contention_arbiter.hpp"
#include "engine/coordination/exactly_once_queue.hpp"
#include "engine/coordination/federation_router.hpp"
#include "engine/coordination/lock_manager.hpp"
#include "engine/coordination/outbox.hpp"
#include "engine/coordination/reputation_router.hpp"
#include "engine/coordination/resource_pool.hpp"
#include "engine/coordination/service_discovery.hpp"
#include "engine/coordination/task_auction.hpp"
#include "engine/coordination/throttle_governor.hpp"
#include "engine/coordination/token_economy.hpp"
#include "engine/coordination/vector_clock.hpp"
#include "tests/engine/coordination/service_story.hpp"

namespace mesh::coordination {
namespace of_service_bytes_test {

using testing::bytes;
using testing::story;

constexpr Nanos ms(std::int64_t count) { return testing::story_ms(count); }

TEST(ServiceBytes, OfACircuitBreakerStand) {
  const auto config = CircuitBreakerConfig::preset("external-api").value();
  const breaker::Record failed{{0, 0}, CallOutcome::fail, ms(3), Nanos{0}};
  EXPECT_EQ(story<CircuitBreaker>(
                config, {breaker::Allow{3}, failed, failed, breaker::RecordSums{0, 1, 2, 1}, failed,
                         breaker::Allow{3}, breaker::Mirror{BreakerState::half_open, 2, ms(70)},
                         breaker::Allow{3}, breaker::Allow{4}, breaker::StationClosed{3},
                         breaker::Record{{2, 2}, CallOutcome::ok, ms(1), Nanos{0}},
                         breaker::ForceOpen{}, breaker::ForceClose{}, breaker::Disable{},
                         breaker::Reset{}, breaker::Record{{0, 0}, CallOutcome::ok, ms(-1), {}}}),
            15197309333291342563U);
}

TEST(ServiceBytes, OfABackpressureControllerStand) {
  EXPECT_EQ(
      story<BackpressureController>(
          {}, {pressure::ShouldAccept{1}, pressure::Observe{120, 7}, pressure::ShouldAccept{0},
               pressure::ShouldAccept{2}, pressure::WantCredit{4, 9}, pressure::ReportSpent{4, 1},
               pressure::StationClosed{4}, pressure::HearDownstream{1, 300'000},
               pressure::Observe{220, 90}, pressure::ShouldAccept{3}, pressure::ShouldAccept{9},
               pressure::Observe{150, 80}}),
      757693791644606380U);
}

TEST(ServiceBytes, OfAnExactlyOnceQueueStand) {
  ExactlyOnceQueueConfig config;
  config.capacity = 16;
  config.dedup_capacity = 64;
  config.expected_rate_per_s = 0;
  config.store_bytes = 1U << 20;
  EXPECT_EQ(
      story<ExactlyOnceQueue>(
          config,
          {once::Enqueue{"a", "k", 1, bytes("pay"), Nanos{0}, ms(9'000), 0, 0, 0},
           once::Enqueue{"b", "", 0, bytes("load"), Nanos{0}, Nanos{0}, 5, 6, 7},
           once::Enqueue{"c", "", 3, {}, ms(5), Nanos{0}, 0, 0, 0}, once::Claim{"w", 2, 3, true},
           once::Begin{"c", 1}, once::Renew{"c", 1, ms(50)}, once::Nack{"a", 2, true, Nanos{0}},
           once::Complete{"c", 1, bytes("done")}, once::Release{"b", 3}, once::Redrive{"", 2},
           once::Claim{"w", 2, 1, false}, once::Nack{"a", 4, true, Nanos{0}}, once::Purge{"a"},
           once::CompleteAll{{once::Complete{"b", 9, bytes("x")}, once::Complete{"no", 1, {}}}},
           once::StationClosed{2}, once::RemoveWorker{"w"}, once::RemoveWorker{"nobody"}}),
      9298216711253616190U);
}

TEST(ServiceBytes, OfAFederationRouterStand) {
  FederationConfig config;
  config.queue_max = 8;
  config.loans_max = 2;
  EXPECT_EQ(story<FederationRouter>(
                config, {federation::AddNetwork{"one", 7, 900'000, 100, ms(60'000)},
                         federation::AddNetwork{"two", 1, 1'000'000, 10, ms(30'000)},
                         federation::Submit{0, 1, 2, 5, 77, 1'000, ms(9'000)},
                         federation::Submit{0, 1, 3, 6, 77, 1'001, Nanos{0}},
                         federation::Submit{1, 0, 1, 5, 0, 1'002, Nanos{0}},
                         federation::DispatchNext{},
                         federation::Complete{1ULL << 32, RequestOutcome::rate_limited, ms(100)},
                         federation::TakeCompletion{},
                         federation::Borrow{0, 1, 5, 10},
                         federation::Reclaim{0},
                         federation::Borrow{0, 1, 5, 10},
                         federation::Cancel{3ULL << 32 | 2},
                         federation::StationClosed{6},
                         federation::WantCredit{0, 5, 3},
                         federation::Negotiate{{{1, 5}}},
                         federation::AssumeFull{},
                         federation::Cancel{99},
                         federation::Submit{1, 0, 2, 4, 0, 1'003, Nanos{0}},
                         federation::DispatchNext{},
                         federation::BridgeDied{}}),
            3226006636487669432U);
}

TEST(ServiceBytes, OfAThrottleGovernorStand) {
  ThrottleConfig config;
  config.tenants_max = 3;
  config.hosts_max = 2;
  EXPECT_EQ(story<AdaptiveThrottleGovernor>(
                config,
                {throttle::SetTenant{"a", 3, 2, 100, 1}, throttle::SetTenant{"b", 1, 1, 50, 2},
                 throttle::ShouldAllow{0}, throttle::Record{0, ms(45), true, ms(40)},
                 throttle::RecordSums{1, 9, 1, ms(500), ms(20)}, throttle::Dequeue{ms(80)},
                 throttle::Downstream{true}, throttle::GlobalCap{500, 1},
                 throttle::Gossip{2, 30.5, 20, 4}, throttle::WantCredit{0, 1, 5},
                 throttle::ReportSpent{0, 1, 2}, throttle::StationClosed{1},
                 throttle::RemoveTenant{1}, throttle::RemoveTenant{2}, throttle::Dequeue{ms(90)}}),
            14142888043586016244U);
}

TEST(ServiceBytes, OfAnOutboxStand) {
  OutboxConfig config;
  config.partition_count = 2;
  config.events_capacity = 16;
  config.pending_max = 8;
  config.dead_max = 2;
  config.entities_max = 4;
  config.cursors_max = 2;
  config.workers_max = 2;
  config.topics_max = 2;
  config.store_bytes = 1U << 20;
  config.push = true;
  const std::uint64_t first = Outbox(config).partition_of("k") == 0 ? 0 : std::uint64_t{1} << 48;
  EXPECT_EQ(
      story<Outbox>(config,
                    {outbox::SetTopic{"t", 4}, outbox::AddWorker{"w", 3}, outbox::AddCursor{"c"},
                     outbox::Commit{{{"e", 0, bytes("v"), false}},
                                    {{"k", "t", bytes("pay"), bytes("meta"), 0},
                                     {"k", "t", bytes("load"), {}, 9}}},
                     outbox::AppendEvent{"k", "t", bytes("more")}, outbox::Heartbeat{"w"},
                     outbox::Confirm{first | 1, 1}, outbox::Confirm{first | 2, 1},
                     outbox::Fail{first | 2, 2, true, "never"},
                     outbox::Fail{first | 3, 2, true, "no"}, outbox::Advance{"c", 0, 1},
                     outbox::Replay{0, 1}, outbox::Purge{first | 3}, outbox::Drain{"w"},
                     outbox::StationClosed{3}, outbox::RemoveWorker{"w"}, outbox::RemoveCursor{"c"},
                     outbox::Commit{{{"e", 9, {}, true}}, {}}, outbox::Commit{{}, {}, 77}}),
      18054426345130224960U);
}

TEST(ServiceBytes, OfAVectorClockStand) {
  CausalityConfig config;
  config.self = 1;
  config.members_max = 4;
  config.buffer_max = 4;
  config.log_max = 8;
  config.readers_max = 2;
  config.barriers_max = 2;
  EXPECT_EQ(
      story<VectorClockCausality>(
          config,
          {causal::AddMember{2}, causal::AddMember{3}, causal::Reserve{1, 9},
           causal::Reconstruct{{{{2, 3}}, {}}}, causal::AddReader{5}, causal::Emit{bytes("pay")},
           causal::Receive{2, 5, 0, {{1, 1}, {2, 5}}, bytes("load")},
           causal::Receive{2, 4, 0, {{2, 4}}, {}}, causal::Hear{{{2, {{1, 1}, {2, 5}}}}},
           causal::Wait{7, {{3, 1}}, ms(500)}, causal::Wait{8, {{3, 2}}, Nanos{0}},
           causal::Cancel{8}, causal::Advance{5, 1}, causal::Stamp{},
           causal::HearStamp{HybridStamp{200, 4}.word()}, causal::AddReader{6},
           causal::RemoveReader{6}, causal::RemoveMember{3}, causal::Emit{}}),
      12832633283362224815U);
}

TEST(ServiceBytes, OfAReputationRouterStand) {
  ReputationConfig config;
  config.agents_max = 3;
  config.capabilities_max = 2;
  config.rows_max = 4;
  config.origins_max = 2;
  EXPECT_EQ(story<ReputationWeightedRouter>(
                config, {reputation::Join{0, 5},
                         reputation::Join{1, 0},
                         reputation::Join{2, 7},
                         reputation::Offer{0, "a"},
                         reputation::Offer{1, "a"},
                         reputation::Offer{2, "b"},
                         reputation::Route{0},
                         reputation::RecordSuccess{0, ms(150), 0},
                         reputation::RecordFailure{1, FailureKind::wrong_result, 0},
                         reputation::RecordSums{2, 1, 3, 1, 1, ms(600)},
                         reputation::Route{0},
                         reputation::Import{1, {0, 0, 3.5, 1.25, 9}},
                         reputation::RateOrigin{0, 1, 2},
                         reputation::TopK{0, 2},
                         reputation::SetRoutable{0, false},
                         reputation::Withdraw{1, 0},
                         reputation::Route{0},
                         reputation::Reset{2},
                         reputation::Leave{1},
                         reputation::Route{5}}),
            2374396052656215569U);
}

TEST(ServiceBytes, OfACapabilityHealthMonitorStand) {
  CapabilityHealthConfig config;
  config.agents_max = 2;
  config.capabilities_max = 2;
  config.rows_max = 3;
  EXPECT_EQ(
      story<CapabilityHealthMonitor>(
          config, {health::AddCapability{"a"}, health::AddCapability{"b"},
                   health::Probe{ProbeType::liveness, 0, 0, true, ms(145), ms(25), 3},
                   health::Probe{ProbeType::correctness, 0, 1, false, ms(0), ms(0), 4},
                   health::Probe{ProbeType::readiness, 0, 0, false, ms(0), ms(0), 5},
                   health::ProbeSums{1, 0, 9, 2, ms(300)}, health::SetObjective{1, 0.95, ms(400)},
                   health::SetCapacity{0, 1, false}, health::Acknowledge{0, 0},
                   health::BestProvider{0}, health::RemoveProvider{0, 1}, health::BestProvider{7}}),
      165263383146324304U);
}

TEST(ServiceBytes, OfAServiceDiscoveryStand) {
  DiscoveryConfig config;
  config.instances_max = 8;
  config.types_max = 2;
  config.peers_max = 2;
  config.changes_max = 4;
  config.store_bytes = 8'000;
  config.gossip_ns = ms(10);
  config.anti_entropy_ns = ms(20);
  config.probe_ns = config.probe_timeout_ns = ms(20);
  const discovery::Register one{"a",
                                "_t._x",
                                "n",
                                "g",
                                "e",
                                "1.2.3-rc.1",
                                {"r", "z", "k"},
                                {{"k", "v"}},
                                3,
                                InstanceStatus::starting,
                                ms(9'000),
                                4};
  SyncMessage told;
  told.kind = SyncKind::records;
  told.more = true;
  told.records = {
      {{"b", "t.x", "", "", "", "1.0.0", {}, {}, 1, InstanceStatus::ready, 9, ms(5'000)},
       {7, false, 2, 2},
       ms(4'000)},
      {{"c", "t.x", "", "", "", "", {}, {}, 1, InstanceStatus::ready, 0, Nanos{0}},
       {1, true, 1, 2},
       ms(900)}};
  told.wants = {hash_of("a")};
  SyncMessage keys;
  keys.kind = SyncKind::keys;
  keys.buckets = {MerkleMap::bucket_of(hash_of("a"))};
  keys.keys = {{hash_of("d"), {1, false, 1, 2}, 5}};
  SyncMessage digests;
  digests.kind = SyncKind::digests;
  digests.rows.push_back({});
  SyncMessage summaries;
  summaries.kind = SyncKind::summaries;
  summaries.summaries = {{"t.y", 7, 5, 250'000}};
  SyncMessage root;
  root.kind = SyncKind::root;
  EXPECT_EQ(story<ServiceDiscovery>(config, {discovery::AddPeer{2},
                                             discovery::AddPeer{3},
                                             one,
                                             discovery::SetStatus{"a", InstanceStatus::ready, 4},
                                             discovery::SetProbing{"a", true, 4},
                                             discovery::Renew{"a", 4},
                                             discovery::UpdateLoad{"a", 500'000, 4},
                                             discovery::ProbeResult{"a", 1, true, ms(3)},
                                             discovery::Hear{2, told},
                                             discovery::Hear{2, keys},
                                             discovery::Hear{3, digests},
                                             discovery::Hear{3, root},
                                             discovery::Hear{3, summaries},
                                             discovery::Observe{"b", 0.5, ms(7)},
                                             discovery::SetReachable{3, false},
                                             discovery::Drain{"a", 4},
                                             discovery::StationClosed{4},
                                             discovery::Deregister{"a", 4},
                                             discovery::RemovePeer{3},
                                             discovery::Renew{"b", 0}}),
            504593352254872939U);
}

TEST(ServiceBytes, OfALockManagerStand) {
  LockManagerConfig config;
  config.agents_max = 4;
  config.locks_max = 16;
  config.resources_max = 8;
  const lock::Acquire old{0, "a/b", LockMode::s, 1, ms(1), ms(9'000), ms(5'000), true, 1};
  const lock::Acquire young{1, "a/b", LockMode::x, 2, ms(2), ms(9'000), Nanos{0}, false, 2};
  EXPECT_EQ(story<LockManager>(
                config,
                {old, young, lock::Validate{"a/b", 1}, lock::Renew{1U << 20, ms(700), 1},
                 lock::AgentDead{3}, lock::AgentAlive{3}, lock::Detect{},
                 lock::RaiseVersion{"v", 0}, lock::Release{3U << 20 | 1, 1}, lock::Cancel{1, 2, 2},
                 lock::StationClosed{1}, young, lock::Release{9, 0}, lock::AgentDead{0}}),
            4361542510455169179U);
}

TEST(ServiceBytes, OfAResourcePoolStand) {
  ResourcePoolConfig config;
  config.resources_max = 4;
  config.agents_max = 4;
  config.reservations_max = 8;
  config.requests_max = 4;
  config.bookings_max = 4;
  EXPECT_EQ(story<ResourcePoolManager>(
                config, {compute_pool("gpu", 8), connection_pool("db", 8),
                         quota_pool("api", 9, ms(60'000)), pool::SetWeight{1, 3},
                         pool::Allocate{0, 0, 4, 1, ms(500), "work", true, Nanos{0}, 1},
                         pool::Allocate{1, 0, 4, 5, ms(900), "", false, ms(50), 2},
                         pool::Allocate{2, 2, 4, 5, Nanos{0}, "", false, Nanos{0}, 2},
                         pool::Gang{2, {{0, 1}, {1, 2}}, 3, Nanos{0}, ms(90), 2},
                         pool::Renew{1, ms(400), 1}, pool::Resize{1, 2, 1},
                         pool::Book{3, 1, 2, ms(900), ms(50), 1}, pool::CancelBooking{9, 0},
                         pool::Cancel{9, 0}, pool::Validate{0, 1}, pool::WantCredit{2, 1, 2},
                         pool::Release{2, 2}, pool::StationClosed{2}, pool::RemoveResource{3}}),
            17128021982469984136U);
}

TEST(ServiceBytes, OfATokenEconomyStand) {
  TokenEconomyConfig config;
  config.schedule = SupplySchedule::bonding_curve;
  config.initial_supply = amount_of(1'000'000'000);
  config.mint_authority = 1;
  config.accounts_max = 4;
  config.channels_max = 2;
  config.escrows_max = 2;
  config.evidence_max = 4;
  const auto some = [](std::uint64_t count) { return amount_of(count); };
  ChannelState state{1, 1, some(5), some(15), 0, 0};
  state.mac_a = channel_mac(8, state);
  state.mac_b = channel_mac(9, state);
  ChannelState newer{1, 2, some(3), some(17), 0, 0};
  newer.mac_a = channel_mac(8, newer);
  newer.mac_b = channel_mac(9, newer);
  EXPECT_EQ(story<TokenEconomy>(config, {token::SetKey{0, 8},
                                         token::SetKey{1, 9},
                                         token::DepositReserve{0, some(9'000'000)},
                                         token::WithdrawReserve{0, some(1'000)},
                                         token::Mint{0, some(1'000'000), 0},
                                         token::Buy{0, some(50'000), some(1)},
                                         token::Sell{0, some(10'000), {}},
                                         token::Transfer{0, 1, some(500)},
                                         token::Burn{1, some(1)},
                                         token::Stake{0, some(300), 0},
                                         token::Reward{some(30), 1},
                                         token::Claim{0},
                                         token::Unstake{0, some(100)},
                                         token::Slash{0, 100'000, 77},
                                         token::AddLiquidity{0, some(100'000), some(200'000), {}},
                                         token::Swap{0, true, some(5'000), {}},
                                         token::RemoveLiquidity{0, some(1'000)},
                                         token::OpenChannel{0, 1, some(10), some(10)},
                                         token::CloseChannel{0, state, false},
                                         token::Challenge{1, newer},
                                         token::OpenEscrow{0, some(50)},
                                         token::SettleEscrow{2, 2, some(20)},
                                         token::Split{0, some(7), {1, 2}, {2, 1}},
                                         token::Audit{},
                                         token::Transfer{9, 1, some(1)}}),
            8976816713116946792U);
}

TEST(ServiceBytes, OfATaskAuctionStand) {
  TaskAuctionConfig config;
  config.auctions_max = 4;
  config.bids_max = 16;
  config.agents_max = 4;
  auction::OpenWith hidden{"hidden", 0, {}, {}};
  hidden.rules.timeout_ns = ms(15);
  hidden.terms.sealed_commit = true;
  hidden.terms.deposit_ppm = 100'000;
  auction::OpenWith units{"units", 0, {}, {}};
  units.rules.direction = AuctionDirection::forward;
  units.terms.quantity = 3;
  auction::OpenWith bundles = units;
  bundles.id = "bundles";
  bundles.terms.quantity = 1;
  bundles.terms.items = 3;
  const auction::Reveal reveal{0, 1, 500, ms(3), 42};
  EXPECT_EQ(story<TaskAuction>(config, {auction::AddCapability{"gpt-4"},
                                        auction::SetAgent{1, 1, 900'000},
                                        hidden,
                                        auction::Commit{0, 1, commitment_of(reveal), 50},
                                        auction::Commit{0, 2, {1, 2}, 50},
                                        reveal,
                                        auction::Open{"task", 1},
                                        auction::Bid{1, 1, 700, ms(20)},
                                        auction::Bid{1, 2, 600, ms(20)},
                                        units,
                                        auction::BidUnits{2, 0, {9, 5, 2}},
                                        auction::BidUnits{2, 1, {8, 8}},
                                        bundles,
                                        auction::BidBundle{3, 0, 3, 70},
                                        auction::BidBundle{3, 1, 4, 30},
                                        auction::Resolve{2, true},
                                        auction::Resolve{3, true},
                                        auction::Cancel{1},
                                        auction::Forget{1},
                                        auction::Bid{9, 0, 1, ms(0)}}),
            2328679877024869914U);
}

TEST(ServiceBytes, OfAContentionArbiterStand) {
  ContentionConfig config;
  config.round_ns = ms(15);
  config.resources_max = 2;
  config.agents_max = 4;
  config.allocations_max = 8;
  config.demands_max = 4;
  config.budgets_max = 2;
  using contention::Request;
  EXPECT_EQ(
      story<ResourceContentionArbiter>(
          config, {contention::RegisterResource{"gpu", 8, true, true, "compute"},
                   contention::SetBudget{1, 0, 5, ms(1'000)},
                   Request{0, 0, 6, 3, 0, 2'000'000, 0, Nanos{0}, ms(1), 1},
                   Request{1, 0, 5, 7, 400'000, 1'000'000, 500'000, ms(900), ms(2), 2},
                   Request{2, 0, 4, 0, 1'000'000, 1'000'000, 0, Nanos{0}, ms(3), 1},
                   contention::Validate{0, 1}, contention::Release{1, 1}, contention::Cancel{99, 0},
                   Request{3, 0, 8, 0, 0, 1'000'000, 0, ms(95), ms(4), 3},
                   contention::StationClosed{2}, contention::Release{99, 0}}),
      9593121809911426171U);
}

}  // namespace of_service_bytes_test
}  // namespace mesh::coordination
