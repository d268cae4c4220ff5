// The bytes of the rooms for what hosts agree on, and of the chaos harness, pinned as those of
// service_bytes_test.cpp.
#include "engine/coordination/chaos_harness.hpp"
#include "engine/coordination/gossip_engine.hpp"
#include "engine/coordination/view_synchronizer.hpp"
#include "tests/engine/coordination/service_story.hpp"
#include "tests/engine/coordination/view_kit.hpp"

namespace mesh::coordination {
namespace of_service_bytes_agreement_test {

using testing::bytes;
using testing::story;

constexpr Nanos ms(std::int64_t count) { return testing::story_ms(count); }

TEST(ServiceBytes, OfAViewSynchronizerStand) {
  auto config = testing::small_views();
  config.members_max = 4;
  config.history = 4;
  config.leader = LeaderRule::reputation;
  config.jitter_ppm = 50'000;
  config.sync = SyncMode::linear;
  using testing::qc_of;
  using testing::tc_of;
  auto timeout = testing::timeout_of(6, 3, qc_of(4, {1, 2, 3}));
  timeout.entered_by = tc_of(5, {1, 2, 4}, timeout.high_qc);
  timeout.signature = bytes("signed");
  EXPECT_EQ(
      story<ViewSynchronizer>(
          config,
          {view::EndEpoch{}, view::RegisterAgent{1, 1, {}}, view::RegisterAgent{2, 1, {1, 2, 3}},
           view::RegisterAgent{3, 1, {}}, view::RegisterAgent{9, 1, {}}, view::RemoveAgent{9},
           view::RegisterAgent{4, 1, {}}, view::StartEpoch{}, view::ReceiveQc{qc_of(2, {1, 2, 3})},
           view::Vote{3, testing::block_of(3)}, view::Commit{2},
           view::ReceiveTc{tc_of(3, {2, 3, 4}, qc_of(2, {1, 2, 3}))}, view::ReceiveTimeout{timeout},
           view::ReceiveWishes{2, tc_of(6, {2, 3})}, view::PeerView{2, 40},
           view::CatchUpWanted{4, 1},
           view::ReceiveCatchUp{3, 1, qc_of(9, {1, 2, 3}), tc_of(10, {1, 2, 3})},
           view::ReceiveTimeout{testing::timeout_of(11, 2)}, view::CatchUpWanted{4, 1}}),
      11662300157683021836U);
}

TEST(ServiceBytes, OfAGossipEngineStand) {
  GossipConfig config;
  config.members_max = 4;
  config.messages_max = 16;
  config.rumors_max = 4;
  config.summaries_max = 4;
  config.payload_bytes_max = 64;
  config.store_bytes = 4'096;
  config.outbox_messages = 64;
  config.outbox_bytes = 65'536;
  EXPECT_EQ(
      story<GossipEngine>(
          config, {gossip::SetSelf{"tls://a", "zone=a"}, gossip::AddMember{2, "tls://b", 1, "m"},
                   gossip::CreateRumor{"task", bytes("go"), ms(60), 3},
                   gossip::Broadcast{bytes("tree"), false}, gossip::Broadcast{bytes("all"), true},
                   gossip::SetSummary{"load", bytes("17")}, gossip::ClaimSector{7, 4},
                   gossip::ReleaseSector{7}, gossip::Hear{bytes("no message")},
                   gossip::Reserved{500}, gossip::RemoveMember{9}, gossip::Leave{}}),
      4739062849412679418U);
}

TEST(ServiceBytes, OfAChaosHarnessStand) {
  ChaosConfig config;
  config.agents_max = 8;
  config.experiments_max = 2;
  config.metrics_max = 2;
  config.samples_max = 8;
  config.injections_max = 4;
  config.effects_max = 4;
  config.timeline_max = 16;
  chaos::Create plan;
  plan.name = "one";
  plan.description = "a crash and a partition";
  plan.hypothesis = {
      {{"success_rate", AssertionOp::gte, 0.95, 0, Aggregation::p95}}, 0, ms(10), ms(5)};
  ChaosFault fault;
  fault.targets = {TargetMode::specific, {1, 2}, 1, 5, 1, 2, ChaosRole::cluster_lead, 3};
  fault.params = {ms(1), ms(2), 3, 4, 5, ms(6), true, 7, ms(-8), -9, FaultVariant::stale};
  fault.duration = ms(40);
  fault.ramp_up = ms(2);
  fault.ramp_down = ms(3);
  plan.phases = {{"first", {fault}, ms(5), ms(60), true, true}};
  plan.has_safety = true;
  plan.safety = {1'000'000,
                 1,
                 {{"success_rate", AssertionOp::lt, 0.1, ms(50)}},
                 true,
                 true,
                 {{ms(5'000), ms(6'000), ms(9'000)}},
                 2,
                 {{"success_rate", AssertionOp::gt, 0.1, 0, Aggregation::min}},
                 true,
                 false};
  plan.seed = 42;
  EXPECT_EQ(story<ChaosHarness>(config, {chaos::AddMetric{"success_rate"},
                                         chaos::AddLabel{"db"},
                                         chaos::SetAgent{1, 1, 2, ChaosRole::cluster_lead, 1},
                                         chaos::SetAgent{2, 1, 2, ChaosRole::member, 1},
                                         chaos::SetAgent{3, 0, 0, {}, 2},
                                         chaos::SetAgent{4, 0, 0, {}, 0},
                                         chaos::RemoveAgent{4},
                                         plan,
                                         chaos::Approve{0, "me"},
                                         chaos::PlanGameDay{"day",
                                                            {{"ann", Participant::responder}},
                                                            {{"go", true, 0, "", ms(1), 1}}},
                                         chaos::BeginGameDay{0},
                                         chaos::CheckOff{0, 0, 0, 0},
                                         chaos::Start{0},
                                         chaos::Sample{0, 1},
                                         chaos::Sample{0, 0.97},
                                         chaos::Confirm{1, Errc::ok},
                                         chaos::Effect{1, 0, 1, false},
                                         chaos::Effect{2, 1, 2, false},
                                         chaos::Pause{0},
                                         chaos::Undone{1},
                                         chaos::Recovered{1},
                                         chaos::Resume{0},
                                         chaos::Sample{0, 0.5},
                                         chaos::Report{0},
                                         chaos::Kill{0},
                                         chaos::Restarted{1},
                                         chaos::AbortAll{0},
                                         chaos::EndGameDay{0},
                                         chaos::ApproveStep{0, 0, 0},
                                         chaos::Undone{2},
                                         chaos::Forget{0},
                                         chaos::Forget{0}}),
            4215536811240669367U);
}

}  // namespace of_service_bytes_agreement_test
}  // namespace mesh::coordination
