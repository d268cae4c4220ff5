// The bytes of the rooms for what hosts agree on, pinned as those of service_bytes_test.cpp.
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
      629938689533378710U);
}

}  // namespace of_service_bytes_agreement_test
}  // namespace mesh::coordination
