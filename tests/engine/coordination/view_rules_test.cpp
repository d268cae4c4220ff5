// Rule by rule, what moves the view of a member and what does not.
#include <algorithm>
#include <map>
#include <string>

#include "tests/engine/coordination/view_kit.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_view_rules_test {

using testing::Agents;
using testing::block_of;
using testing::count_of;
using testing::events_of;
using testing::hear;
using testing::qc_of;
using testing::small_views;
using testing::tc_of;
using testing::tick;
using testing::timeout_of;
using testing::view_ms;
using testing::views_of;

// --- certificates of votes ---------------------------------------------------------------------

TEST(ViewRules, AQuorumCertificateEntersAtOnceAndEndsTheRowOfTimeouts) {
  auto views = views_of(small_views(), 4);
  for (std::uint64_t v = 0; v < 3; ++v) {
    views.apply(view::ReceiveTc{tc_of(v, {2, 3, 4})}, Nanos{0});
  }
  EXPECT_EQ(views.view().consecutive_timeouts, 3U);
  const auto reply = views.apply(view::ReceiveQc{qc_of(3, {1, 2, 3})}, view_ms(10));
  EXPECT_EQ(reply.outcome, ViewOutcome::entered);
  EXPECT_EQ(reply.view, 4U);
  EXPECT_TRUE(reply.sends.empty());
  EXPECT_EQ(reply.timer, view_ms(210)) << "the base again";
  EXPECT_EQ(views.view().consecutive_timeouts, 0U);
  EXPECT_EQ(views.view().high_qc, block_of(3));
  EXPECT_EQ(views.view().leader, 1U);
}

TEST(ViewRules, TimeoutsShrinkByAsManyStepsAsTheConfigSays) {
  auto config = small_views();
  config.decay_steps = 2;
  auto views = views_of(config, 4);
  for (std::uint64_t v = 0; v < 5; ++v) {
    views.apply(view::ReceiveTc{tc_of(v, {2, 3, 4})}, Nanos{0});
  }
  views.apply(view::ReceiveQc{qc_of(5, {1, 2, 3})}, Nanos{0});
  EXPECT_EQ(views.view().consecutive_timeouts, 3U);
}

TEST(ViewRules, StaleCertificatesAreCountedAndChangeNothing) {
  auto views = views_of(small_views(), 4);
  views.apply(view::ReceiveQc{qc_of(5, {1, 2, 3})}, Nanos{0});
  const std::uint64_t hash = views.state_hash();
  for (const auto& command : std::initializer_list<ViewCommand>{
           view::ReceiveQc{qc_of(5, {2, 3, 4})}, view::ReceiveTc{tc_of(4, {2, 3, 4})},
           view::ReceiveCatchUp{2, 1, qc_of(5, {1, 2, 3}), {}}}) {
    EXPECT_EQ(views.apply(command, Nanos{0}).outcome, ViewOutcome::ignored);
  }
  EXPECT_EQ(views.state_hash(), hash);
  EXPECT_EQ(views.counters().stale, 3U);
}

TEST(ViewRules, TwoBlocksInOneViewFreezeItUntilTheNextEpoch) {
  auto views = views_of(small_views(), 4);
  views.apply(view::ReceiveQc{qc_of(2, {1, 2, 3})}, Nanos{0});
  const auto reply = views.apply(view::ReceiveQc{qc_of(2, {2, 3, 4}, 1)}, Nanos{0});
  EXPECT_EQ(reply.outcome, ViewOutcome::violation);
  EXPECT_EQ(views.state(), ViewState::frozen);
  EXPECT_EQ(events_of(views, ViewSynchronizer::Event::safety_violation), 1U);
  EXPECT_EQ(views.apply(view::Vote{3, block_of(3)}, Nanos{0}).code, Errc::wrong_state);
  views.apply(view::ReceiveQc{qc_of(3, {1, 2, 3})}, Nanos{0});
  EXPECT_EQ(views.current_view(), 4U) << "it follows, but does not vote";
  views.apply(view::EndEpoch{}, Nanos{0});
  views.apply(view::StartEpoch{}, Nanos{0});
  EXPECT_EQ(views.state(), ViewState::active);
}

TEST(ViewRules, ALateCertificateOfAnUnknownViewIsRememberedAgainstItsTwin) {
  auto views = views_of(small_views(), 4);
  views.apply(view::ReceiveQc{qc_of(5, {1, 2, 3})}, Nanos{0});
  EXPECT_EQ(views.apply(view::ReceiveQc{qc_of(3, {1, 2, 3})}, Nanos{0}).outcome, ViewOutcome::kept);
  EXPECT_EQ(views.apply(view::ReceiveQc{qc_of(3, {1, 2, 3}, 1)}, Nanos{0}).outcome,
            ViewOutcome::violation);
  EXPECT_EQ(views.high_qc().view, 5U);
}

// pitfalls A5: weight 2 of 3 is a quorum, and 0.667 of 3 would refuse it; a weight that is claimed
// is no weight.
TEST(ViewRules, TheQuorumOfThreeIsTwoAndOfFiveFour) {
  auto three = views_of(small_views(), 3);
  EXPECT_EQ(three.apply(view::ReceiveQc{qc_of(0, {1, 2})}, Nanos{0}).outcome, ViewOutcome::entered);
  auto five = views_of(small_views(), 5);
  EXPECT_EQ(five.apply(view::ReceiveQc{qc_of(0, {1, 2, 3})}, Nanos{0}).code,
            Errc::verification_failed);
  EXPECT_EQ(five.apply(view::ReceiveQc{qc_of(0, {1, 2, 3, 4})}, Nanos{0}).outcome,
            ViewOutcome::entered);
  QuorumCertificate bare;
  bare.epoch = 1;
  bare.view = 1;
  bare.weight = 2;
  EXPECT_EQ(three.apply(view::ReceiveQc{bare}, Nanos{0}).code, Errc::verification_failed);
}

TEST(ViewRules, WeighsMembersNotHeads) {
  ViewSynchronizer views(small_views());
  for (const auto& [agent, weight] : {std::pair{1, 1}, std::pair{2, 4}, std::pair{3, 1}}) {
    views.apply(
        view::RegisterAgent{
            static_cast<std::uint64_t>(agent), static_cast<std::uint64_t>(weight), {}},
        Nanos{0});
  }
  views.apply(view::StartEpoch{}, Nanos{0});
  EXPECT_EQ(views.quorum().quorum, 4U);
  auto qc = qc_of(0, {2});
  qc.weight = 4;
  EXPECT_EQ(views.apply(view::ReceiveQc{qc}, Nanos{0}).outcome, ViewOutcome::entered);
  qc = qc_of(1, {1, 3});
  EXPECT_EQ(views.apply(view::ReceiveQc{qc}, Nanos{0}).code, Errc::verification_failed);
}

// --- timeouts ----------------------------------------------------------------------------------

TEST(ViewRules, ATimerGivesTheViewUpAndSaysSoAgainEveryTimeout) {
  auto views = views_of(small_views(), 4);
  views.apply(view::ReceiveQc{qc_of(2, {1, 2, 3})}, Nanos{0});
  EXPECT_TRUE(tick(views, view_ms(199)).empty());
  EXPECT_EQ(views.apply(view::Vote{3, block_of(3)}, view_ms(199)).code, Errc::ok);
  const auto sent = tick(views, view_ms(200));
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].to, kEveryone);
  EXPECT_EQ(sent[0].timeout.view, 3U);
  EXPECT_EQ(sent[0].timeout.rank, 3U);
  EXPECT_EQ(sent[0].timeout.high_qc.view, 2U);
  EXPECT_EQ(views.state(), ViewState::timed_out);
  EXPECT_EQ(views.apply(view::Vote{3, block_of(3)}, view_ms(200)).code, Errc::wrong_state);
  EXPECT_TRUE(tick(views, view_ms(499)).empty());
  EXPECT_EQ(tick(views, view_ms(500)).size(), 1U) << "300 ms later: the next timeout is longer";
  EXPECT_EQ(tick(views, view_ms(800)).size(), 1U);
  EXPECT_EQ(views.view().consecutive_timeouts, 1U) << "the view counts once";
  EXPECT_EQ(views.counters().timeouts_sent, 3U);
}

TEST(ViewRules, TimeoutsGrowToTheirLongestWhoeverLeads) {
  auto views = views_of(small_views(), 4);
  std::int64_t at_ns = 0;
  for (std::uint32_t k = 0; k < 12; ++k) {
    EXPECT_EQ(views.next_timer().count() - at_ns, views.timeout_after(k).count()) << k;
    at_ns = views.next_timer().count();
    tick(views, Nanos{at_ns});
    views.apply(view::ReceiveTc{tc_of(k, {2, 3, 4})}, Nanos{at_ns});
  }
  EXPECT_EQ(views.timeout_after(12), view_ms(5'000));
  EXPECT_EQ(views.timeout_after(UINT32_MAX), view_ms(5'000));
}

TEST(ViewRules, JitterAddsUpToATenth) {
  auto config = small_views();
  config.jitter_ppm = 100'000;
  std::int64_t least = INT64_MAX;
  std::int64_t most = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const auto views = views_of(config, 4, seed);
    least = std::min(least, views.next_timer().count());
    most = std::max(most, views.next_timer().count());
  }
  EXPECT_GE(least, 200 * kNsPerMs);
  EXPECT_LT(least, 202 * kNsPerMs);
  EXPECT_LE(most, 220 * kNsPerMs);
  EXPECT_GT(most, 218 * kNsPerMs);
}

TEST(ViewRules, OneHonestAmongThemTakesItAlongAndFewerDoNot) {
  auto config = small_views();
  config.catch_up_threshold = 100;
  auto views = views_of(config, 7);  // F = 2, A = 3, Q = 5
  EXPECT_TRUE(hear(views, timeout_of(4, 2)).sends.empty());
  EXPECT_TRUE(hear(views, timeout_of(4, 3)).sends.empty());
  const auto reply = hear(views, timeout_of(4, 4));
  ASSERT_EQ(reply.sends.size(), 1U);
  EXPECT_EQ(reply.sends[0].kind, ViewSendKind::timeout);
  EXPECT_EQ(reply.sends[0].timeout.view, 4U);
  EXPECT_EQ(views.current_view(), 0U) << "never into a view on hints alone";
  EXPECT_EQ(views.apply(view::Vote{0, block_of(0)}, Nanos{0}).code, Errc::wrong_state);
  const auto fifth = hear(views, timeout_of(4, 5));
  EXPECT_EQ(views.current_view(), 5U) << "with its own there are five";
  EXPECT_EQ(count_of(fifth.sends, ViewSendKind::tc), 1U);
}

TEST(ViewRules, AWishThatLeftIsRepeatedAndNothingBelowItIsSaid) {
  auto views = views_of(small_views(), 7);
  for (const std::uint64_t signer : {2U, 3U, 4U}) hear(views, timeout_of(4, signer));
  const auto sent = tick(views, view_ms(200));
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].timeout.view, 4U);
  EXPECT_EQ(sent[0].timeout.at, 0U);
}

TEST(ViewRules, ATimeoutOfOneSignerCountsOnce) {
  auto views = views_of(small_views(), 4);
  hear(views, timeout_of(0, 2));
  EXPECT_EQ(hear(views, timeout_of(0, 2)).outcome, ViewOutcome::duplicate);
  EXPECT_EQ(hear(views, timeout_of(0, 2)).outcome, ViewOutcome::duplicate);
  EXPECT_EQ(views.given_up(), 0U);
  EXPECT_EQ(views.counters().duplicates, 2U);
  EXPECT_EQ(hear(views, timeout_of(0, 1)).outcome, ViewOutcome::ignored) << "its own, come back";
}

TEST(ViewRules, ACertificateOfTimeoutsIsPassedOnOnceByWhomeverItBrings) {
  auto views = views_of(small_views(), 4);
  const view::ReceiveTc command{tc_of(3, {2, 3, 4}, qc_of(1, {1, 2, 3}))};
  const auto reply = views.apply(command, Nanos{0});
  EXPECT_EQ(reply.view, 4U);
  ASSERT_EQ(count_of(reply.sends, ViewSendKind::tc), 1U);
  EXPECT_EQ(reply.sends[0].tc.high_qc.view, 1U);
  EXPECT_EQ(views.high_qc().view, 1U) << "what came along is known now";
  EXPECT_TRUE(views.apply(command, Nanos{0}).sends.empty());
  auto second = views_of(small_views(2), 4);
  EXPECT_EQ(second.apply(command_of(reply.sends[0]), Nanos{0}).view, 4U);
}

TEST(ViewRules, ATimeoutBringsTheCertificatesOfItsView) {
  auto views = views_of(small_views(), 4);
  auto timeout = timeout_of(6, 2, qc_of(5, {1, 2, 3}));
  EXPECT_EQ(hear(views, timeout).view, 6U) << "entered before it is counted";
  timeout = timeout_of(9, 3, qc_of(5, {1, 2, 3}));
  timeout.entered_by = tc_of(8, {2, 3, 4}, qc_of(5, {1, 2, 3}));
  EXPECT_EQ(hear(views, timeout).view, 9U);
  hear(views, timeout_of(9, 2));
  EXPECT_EQ(views.current_view(), 10U) << "and both were counted: two, and its own";
}

TEST(ViewRules, WhatItSwearsToStaysWhenMoreBecomesKnown) {
  auto views = views_of(small_views(), 4);
  views.apply(view::ReceiveTc{tc_of(5, {2, 3, 4})}, Nanos{0});
  const auto first = tick(views, view_ms(1'000));
  views.apply(view::ReceiveQc{qc_of(3, {1, 2, 3})}, view_ms(1'001));
  const auto again = tick(views, view_ms(3'000));
  ASSERT_EQ(first.size() + again.size(), 2U);
  EXPECT_EQ(first[0].timeout.rank, 0U);
  EXPECT_EQ(again[0].timeout.rank, 0U) << "the same view, the same words";
  EXPECT_EQ(again[0].timeout.high_qc.view, 3U);
  auto peer = views_of(small_views(2), 4);
  EXPECT_EQ(peer.apply(command_of(again[0]), Nanos{0}).code, Errc::ok);
}

// However much is claimed: one timeout of each member, and nobody is moved.
TEST(ViewRules, FarTimeoutsCostOneSlotOfTheirSigner) {
  auto views = views_of(small_views(), 4);
  const std::uint64_t jump = views.config().max_view_jump;
  const std::size_t size = views.snapshot().bytes.size();
  for (std::uint64_t i = 1; i < 2'000; ++i) {
    for (const std::uint64_t signer : {2U, 3U}) hear(views, timeout_of(jump + i, signer));
  }
  EXPECT_EQ(views.snapshot().bytes.size(), size);
  EXPECT_EQ(views.given_up(), 0U) << "beyond the jump two do not take it along";
  EXPECT_EQ(views.current_view(), 0U);
  hear(views, timeout_of(jump + 1'999, 4));
  EXPECT_EQ(views.current_view(), jump + 2'000) << "three are a certificate";
  EXPECT_TRUE(views.verify());
}

TEST(ViewRules, WhereMembersOnlyStopOneIsEnoughToTakeOthersAlong) {
  auto config = small_views();
  config.faults = FaultModel::crash;
  auto views = views_of(config, 5);  // A = 1, Q = 3
  EXPECT_EQ(hear(views, timeout_of(0, 2)).sends.size(), 1U);
  EXPECT_EQ(views.current_view(), 0U);
  hear(views, timeout_of(0, 3));
  EXPECT_EQ(views.current_view(), 1U);
}

TEST(ViewRules, AHigherQuorumWaitsForAllThatMayLive) {
  auto config = small_views();
  config.quorum = QuorumRule::max_live;
  auto views = views_of(config, 6);
  EXPECT_EQ(views.apply(view::ReceiveQc{qc_of(0, {1, 2, 3, 4})}, Nanos{0}).code,
            Errc::verification_failed);
  EXPECT_EQ(views.apply(view::ReceiveQc{qc_of(0, {1, 2, 3, 4, 5})}, Nanos{0}).view, 1U);
}

// --- votes -------------------------------------------------------------------------------------

TEST(ViewRules, AViewHasOneVote) {
  auto views = views_of(small_views(), 4);
  EXPECT_EQ(views.apply(view::Vote{0, block_of(0)}, Nanos{0}).outcome, ViewOutcome::kept);
  EXPECT_EQ(views.apply(view::Vote{0, block_of(0)}, Nanos{0}).outcome, ViewOutcome::duplicate);
  testing::expect_refused<ViewSynchronizer>(
      views, {"another block", view::Vote{0, block_of(0, 1)}, Errc::conflict});
  EXPECT_EQ(views.counters().votes, 1U);
}

TEST(ViewRules, WhoStartsAgainStandsByWhatItSent) {
  const auto config = small_views();
  MemoryJournal journal;
  using Journaled = JournaledService<ViewSynchronizer>;
  std::uint64_t sequence = 0;
  {
    auto views = Journaled::open(config, journal).value();
    for (std::uint64_t agent = 1; agent <= 4; ++agent) {
      views.execute({{1, ++sequence}, view::RegisterAgent{agent, 1, {}}}, Nanos{0}).value();
    }
    views.execute({{1, ++sequence}, view::StartEpoch{}}, Nanos{0}).value();
    views.execute({{1, ++sequence}, view::ReceiveQc{qc_of(4, {1, 2, 3})}}, Nanos{0}).value();
    views.execute({{1, ++sequence}, view::Vote{5, block_of(5)}}, Nanos{0}).value();
    ViewSyncActions actions;
    EXPECT_TRUE(views.tick(view_ms(300), actions));
    EXPECT_EQ(actions.sends.size(), 1U);
  }
  journal.crash(0);
  auto views = Journaled::open(config, journal).value();
  EXPECT_EQ(views.service().current_view(), 5U);
  EXPECT_EQ(views.service().given_up(), 6U);
  const auto vote =
      views.execute({{1, ++sequence}, view::Vote{5, block_of(5, 1)}}, view_ms(301)).value();
  EXPECT_EQ(vote.code, Errc::wrong_state);
  ViewSyncActions actions;
  EXPECT_TRUE(views.tick(view_ms(2'000), actions));
  ASSERT_EQ(actions.sends.size(), 1U);
  EXPECT_EQ(actions.sends[0].timeout.view, 5U);
}

// --- peers -------------------------------------------------------------------------------------

TEST(ViewRules, AsksForTheCertificatesOfWhoIsAheadAndComesAfter) {
  auto ahead = views_of(small_views(2), 4);
  ahead.apply(view::ReceiveQc{qc_of(7, {1, 2, 3})}, Nanos{0});
  ahead.apply(view::ReceiveTc{tc_of(9, {1, 2, 3})}, Nanos{0});
  auto views = views_of(small_views(), 4);  // threshold 2
  EXPECT_TRUE(views.apply(view::PeerView{2, 1}, Nanos{0}).sends.empty());
  const auto asked = views.apply(view::PeerView{2, 10}, Nanos{0});
  ASSERT_EQ(asked.sends.size(), 1U);
  EXPECT_EQ(asked.sends[0].kind, ViewSendKind::want_catch_up);
  EXPECT_EQ(asked.sends[0].to, 2U);
  EXPECT_EQ(views.current_view(), 0U) << "a claim moves nobody";
  EXPECT_TRUE(views.apply(view::PeerView{2, 11}, view_ms(100)).sends.empty()) << "asked already";
  EXPECT_EQ(views.apply(view::PeerView{2, 11}, view_ms(200)).sends.size(), 1U);
  const auto answer = ahead.apply(command_of(asked.sends[0]), Nanos{0});
  ASSERT_EQ(answer.sends.size(), 1U);
  EXPECT_EQ(answer.sends[0].to, 1U);
  EXPECT_EQ(views.apply(command_of(answer.sends[0]), view_ms(201)).view, 10U);
  EXPECT_EQ(views.high_qc().view, 7U);
  auto fresh = views_of(small_views(3), 4);
  EXPECT_TRUE(fresh.apply(view::CatchUpWanted{2, 1}, Nanos{0}).sends.empty()) << "nothing to show";
}

TEST(ViewRules, HelpsWhoStillGivesUpAViewThatVotesHaveEnded) {
  auto views = views_of(small_views(), 4);
  views.apply(view::ReceiveQc{qc_of(5, {1, 2, 3})}, Nanos{0});
  const auto reply = hear(views, timeout_of(5, 2));
  EXPECT_EQ(reply.outcome, ViewOutcome::ignored);
  ASSERT_EQ(reply.sends.size(), 1U);
  EXPECT_EQ(reply.sends[0].kind, ViewSendKind::catch_up);
  auto peer = views_of(small_views(2), 4);
  EXPECT_EQ(peer.apply(command_of(reply.sends[0]), Nanos{0}).view, 6U);
  EXPECT_TRUE(hear(views, timeout_of(5, 2)).sends.empty()) << "once";
  views.apply(view::ReceiveTc{tc_of(6, {2, 3, 4})}, Nanos{0});
  EXPECT_TRUE(hear(views, timeout_of(6, 3)).sends.empty()) << "its certificate is on the way";
  EXPECT_EQ(hear(views, timeout_of(6, 4), view_ms(100)).sends.size(), 1U) << "it was lost";
}

TEST(ViewRules, SeesThatTheHonestDrifted) {
  auto views = views_of(small_views(), 4);
  const auto drift = [&](std::uint64_t first, std::uint64_t second, std::int64_t from_s) {
    for (std::int64_t s = from_s; s <= from_s + 12; ++s) {
      views.apply(view::PeerView{2, first}, view_ms(1'000 * s));
      views.apply(view::PeerView{3, second}, view_ms(1'000 * s));
      views.apply(view::PeerView{4, 0}, view_ms(1'000 * s));
      tick(views, view_ms(1'000 * s));
    }
  };
  drift(900, 1, 0);
  EXPECT_EQ(views.counters().divergences, 0U) << "one liar widens nothing";
  drift(900, 800, 20);
  EXPECT_EQ(views.counters().divergences, 1U) << "once";
  EXPECT_EQ(events_of(views, ViewSynchronizer::Event::divergence), 1U);
  EXPECT_EQ(views.current_view(), 0U);
}

}  // namespace of_view_rules_test
}  // namespace mesh::coordination
