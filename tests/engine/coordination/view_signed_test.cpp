// With signatures: what is not signed by who it says, for this view, epoch and purpose, is nothing.
#include <string>

#include "tests/engine/coordination/view_world.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_view_signed_test {

using testing::block_of;
using testing::qc_of;
using testing::seed_of;
using testing::small_views;
using testing::tc_of;
using testing::timeout_of;
using testing::view_ms;
using testing::ViewPlan;
using testing::views_of;
using testing::ViewWorld;

// RFC 8032, 7.1, TEST 2.
TEST(Ed25519, SignsAsTheStandardDoes) {
  const KeySeed seed{0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda, 0x9d, 0xb6, 0xc3,
                     0x46, 0xec, 0x11, 0x4e, 0x0f, 0x5b, 0x8a, 0x31, 0x9f, 0x35, 0xab,
                     0xa6, 0x24, 0xda, 0x8c, 0xf6, 0xed, 0x4f, 0xb8, 0xa6, 0xfb};
  const PublicKey open{0x3d, 0x40, 0x17, 0xc3, 0xe8, 0x43, 0x89, 0x5a, 0x92, 0xb7, 0x0a,
                       0xa7, 0x4d, 0x1b, 0x7e, 0xbc, 0x9c, 0x98, 0x2c, 0xcf, 0x2e, 0xc4,
                       0x96, 0x8c, 0xc0, 0xcd, 0x55, 0xf1, 0x2a, 0xf4, 0x66, 0x0c};
  const Signature expected{0x92, 0xa0, 0x09, 0xa9, 0xf0, 0xd4, 0xca, 0xb8, 0x72, 0x0e, 0x82,
                           0x0b, 0x5f, 0x64, 0x25, 0x40, 0xa2, 0xb2, 0x7b, 0x54, 0x16, 0x50,
                           0x3f, 0x8f, 0xb3, 0x76, 0x22, 0x23, 0xeb, 0xdb, 0x69, 0xda, 0x08,
                           0x5a, 0xc1, 0xe4, 0x3e, 0x15, 0x99, 0x6e, 0x45, 0x8f, 0x36, 0x13,
                           0xd0, 0xf1, 0x1d, 0x8c, 0x38, 0x7b, 0x2e, 0xae, 0xb4, 0x30, 0x2a,
                           0xee, 0xb0, 0x0d, 0x29, 0x16, 0x12, 0xbb, 0x0c, 0x00};
  const KeyPair keys = key_pair_of(seed);
  const std::array<std::uint8_t, 1> message{0x72};
  EXPECT_EQ(keys.open, open);
  EXPECT_EQ(sign(keys, message), expected);
  EXPECT_TRUE(is_signed(open, message, expected));
  for (std::size_t at = 0; at < expected.size(); ++at) {
    Signature other = expected;
    other[at] ^= 1;
    EXPECT_FALSE(is_signed(open, message, other)) << at;
  }
  const std::array<std::uint8_t, 1> another{0x73};
  EXPECT_FALSE(is_signed(open, another, expected));
  EXPECT_TRUE(is_public_key(open));
  EXPECT_FALSE(is_public_key(PublicKey{})) << "of small order";
  EXPECT_FALSE(is_signed(PublicKey{}, message, expected));
}

ViewSyncConfig signed_views(std::uint64_t self = 1) {
  auto config = small_views(self);
  config.auth = ViewAuth::ed25519;
  config.secret = seed_of(self);
  return config;
}
void append(std::vector<std::byte>& all, std::uint64_t agent, const SignedBytes& bytes) {
  const Signature signature = sign(key_pair_of(seed_of(agent)), bytes);
  const auto view = std::as_bytes(std::span(signature));
  all.insert(all.end(), view.begin(), view.end());
}
QuorumCertificate signed_qc(const ViewSynchronizer& views, std::uint64_t view,
                            const testing::Agents& signers) {
  QuorumCertificate qc = qc_of(view, signers);
  for (const auto agent : signers) {
    append(qc.signatures, agent, vote_bytes(views.epoch_hash(), 1, view, qc.block));
  }
  return qc;
}
TimeoutCertificate signed_tc(const ViewSynchronizer& views, std::uint64_t view,
                             const testing::Agents& signers) {
  TimeoutCertificate tc = tc_of(view, signers);
  for (const auto agent : signers) {
    append(tc.signatures, agent, timeout_bytes(views.epoch_hash(), 1, view, 0));
  }
  return tc;
}
Timeout signed_timeout(const ViewSynchronizer& views, std::uint64_t view, std::uint64_t signer) {
  Timeout timeout = timeout_of(view, signer);
  append(timeout.signature, signer, timeout_bytes(views.epoch_hash(), 1, view, 0));
  return timeout;
}

TEST(ViewSigned, RefusesWhatItsSignersDidNotSign) {
  auto views = views_of(signed_views(), 4);
  const auto good = signed_qc(views, 5, {1, 2, 3});
  auto none = good;
  none.signatures.clear();
  auto cut = good;
  cut.signatures.pop_back();
  auto flipped = good;
  flipped.signatures[70] ^= std::byte{1};
  auto swapped = good;
  swapped.signers = {2, 1, 3};
  auto other_view = good;
  other_view.view = 6;
  auto other_block = good;
  other_block.block[0] ^= 1;
  auto other_signer = good;
  other_signer.signers = {1, 2, 4};
  auto tc_of_votes = tc_of(5, {1, 2, 3});
  tc_of_votes.signatures = good.signatures;
  auto other_rank = signed_tc(views, 5, {2, 3, 4});
  other_rank.high_qc = good;
  other_rank.ranks[1] = 6;
  auto unsigned_timeout = timeout_of(5, 2);
  auto borrowed = signed_timeout(views, 5, 2);
  borrowed.signer = 3;
  auto raised = signed_timeout(views, 5, 2);
  raised.view = 6;
  auto wishes = signed_tc(views, 5, {2, 3});
  wishes.signatures[10] ^= std::byte{1};
  testing::expect_all_refused<ViewSynchronizer>(
      views,
      {{"no signatures", view::ReceiveQc{none}, Errc::verification_failed},
       {"one cut off", view::ReceiveQc{cut}, Errc::verification_failed},
       {"one changed", view::ReceiveQc{flipped}, Errc::verification_failed},
       {"two swapped", view::ReceiveQc{swapped}, Errc::verification_failed},
       {"of another view", view::ReceiveQc{other_view}, Errc::verification_failed},
       {"of another block", view::ReceiveQc{other_block}, Errc::verification_failed},
       {"of another member", view::ReceiveQc{other_signer}, Errc::verification_failed},
       {"votes for timeouts", view::ReceiveTc{tc_of_votes}, Errc::verification_failed},
       {"another rank", view::ReceiveTc{other_rank}, Errc::verification_failed},
       {"an unsigned timeout", view::ReceiveTimeout{unsigned_timeout}, Errc::verification_failed},
       {"somebody else's timeout", view::ReceiveTimeout{borrowed}, Errc::verification_failed},
       {"a timeout of a later view", view::ReceiveTimeout{raised}, Errc::verification_failed},
       {"wishes changed", view::ReceiveWishes{2, wishes}, Errc::verification_failed},
       {"help that is changed", view::ReceiveCatchUp{2, 1, flipped, {}},
        Errc::verification_failed}});
  EXPECT_EQ(views.apply(view::ReceiveQc{good}, Nanos{0}).view, 6U);
}

TEST(ViewSigned, TakesNoSignatureOfAnotherEpoch) {
  auto views = views_of(signed_views(), 4);
  auto qc = signed_qc(views, 5, {1, 2, 3});
  auto timeout = signed_timeout(views, 5, 2);
  views.apply(view::EndEpoch{}, Nanos{0});
  views.apply(view::StartEpoch{}, Nanos{0});
  qc.epoch = timeout.epoch = 2;
  EXPECT_EQ(views.apply(view::ReceiveQc{qc}, Nanos{0}).code, Errc::verification_failed);
  EXPECT_EQ(views.apply(view::ReceiveTimeout{timeout}, Nanos{0}).code, Errc::verification_failed);
}

TEST(ViewSigned, NeedsAKeyOfEachMember) {
  ViewSynchronizer views(signed_views(1));
  testing::expect_all_refused<ViewSynchronizer>(
      views,
      {{"no key", view::RegisterAgent{2, 1, {}}},
       {"another key than its own", view::RegisterAgent{1, 1, key_pair_of(seed_of(2)).open}}});
}

// What it signs itself others believe: votes as a quorum, timeouts as a certificate.
TEST(ViewSigned, SignsVotesAndTimeoutsThatOthersVerify) {
  std::vector<ViewSynchronizer> members;
  for (std::uint64_t agent = 1; agent <= 4; ++agent) {
    members.push_back(views_of(signed_views(agent), 4));
  }
  QuorumCertificate qc = qc_of(0, {1, 2, 3});
  for (std::size_t i = 0; i < 3; ++i) {
    const auto reply = members[i].apply(view::Vote{0, qc.block}, Nanos{0});
    ASSERT_EQ(reply.signature.size(), kSignatureBytes);
    qc.signatures.insert(qc.signatures.end(), reply.signature.begin(), reply.signature.end());
  }
  for (auto& member : members) EXPECT_EQ(member.apply(view::ReceiveQc{qc}, Nanos{0}).view, 1U);
  std::vector<ViewSend> sends;
  for (std::size_t i = 0; i < 3; ++i) {
    ViewSyncActions actions;
    members[i].tick(view_ms(1'000), actions);
    sends.insert(sends.end(), actions.sends.begin(), actions.sends.end());
  }
  ASSERT_EQ(sends.size(), 3U);
  std::vector<ViewSend> tcs;
  for (const auto& sent : sends) {
    const auto reply = members[3].apply(command_of(sent), view_ms(1'001));
    EXPECT_EQ(reply.code, Errc::ok);
    for (const auto& one : reply.sends) {
      if (one.kind == ViewSendKind::tc) tcs.push_back(one);
    }
  }
  EXPECT_EQ(members[3].current_view(), 2U);
  ASSERT_EQ(tcs.size(), 1U);
  EXPECT_EQ(members[0].apply(command_of(tcs[0]), view_ms(1'002)).view, 2U);
}

TEST(ViewSigned, LooksAtNoSignatureOfWhatIsOld) {
  auto views = views_of(signed_views(), 4);
  const auto qc = signed_qc(views, 5, {1, 2, 3});
  const auto timeout = signed_timeout(views, 7, 2);
  views.apply(view::ReceiveQc{qc}, Nanos{0});
  views.apply(view::ReceiveTimeout{timeout}, Nanos{0});
  const std::uint64_t checked = views.counters().signatures_checked;
  EXPECT_EQ(checked, 4U);
  views.apply(view::ReceiveQc{qc}, Nanos{0});
  views.apply(view::ReceiveTimeout{timeout}, Nanos{0});
  views.apply(view::ReceiveTimeout{signed_timeout(views, 3, 3)}, Nanos{0});
  views.apply(view::ReceiveTc{signed_tc(views, 4, {2, 3, 4})}, Nanos{0});
  EXPECT_EQ(views.counters().signatures_checked, checked);
}

TEST(ViewSigned, TheSecretIsInNoSnapshot) {
  const auto config = signed_views();
  auto views = views_of(config, 4);
  const auto bytes = views.snapshot().bytes;
  const auto secret = std::as_bytes(std::span(config.secret));
  EXPECT_EQ(std::search(bytes.begin(), bytes.end(), secret.begin(), secret.end()), bytes.end());
}

// Whole networks in which those that lie sign what they can and forge the rest. In some nobody has
// occasion to: as many are played as it takes to see a forgery.
TEST(ViewSigned, NetworksGoOnAndBelieveNoForgery) {
  std::uint64_t refused = 0;
  std::uint64_t turn = 0;
  for (mesh::testing::Repeats turns(3); turns.next() || (refused == 0 && turn < 100);) {
    ++turn;
    ViewPlan plan;
    plan.seed = mesh::testing::seed() + turn;
    plan.members = 4 + 3 * (turn % 2);
    plan.faulty = (plan.members - 1) / 3;
    plan.config = ViewSyncConfig::preset("byzantine-tolerant").value();
    plan.config.history = 16;
    plan.config.base_timeout = view_ms(500);
    plan.config.max_timeout = view_ms(5'000);
    plan.config.leader = LeaderRule::round_robin;
    plan.config.sync = static_cast<SyncMode>(turn % 3);
    SCOPED_TRACE("members " + std::to_string(plan.members) + ", seed " + std::to_string(plan.seed));
    ViewWorld world(plan);
    world.run(3, plan.stable + view_ms(200'000));
    if (::testing::Test::HasFatalFailure()) return;
    ASSERT_EQ(world.rounds(), 3U);
    ASSERT_EQ(world.violations(), 0U);
    world.verify();
    refused += world.refused();
  }
  EXPECT_GT(refused, 0U) << "forgeries were sent";
}

}  // namespace of_view_signed_test
}  // namespace mesh::coordination
