// Who leads, who belongs to an epoch, and the two other ways to bring all together: relays, and
// views by the clock.
#include <algorithm>
#include <map>
#include <string>

#include "tests/engine/coordination/view_kit.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_view_leaders_test {

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

// --- leaders -----------------------------------------------------------------------------------

TEST(ViewLeaders, ATimeoutSkipsAllViewsOfAStickyLeaderFromWhereverItWasGivenUp) {
  auto config = small_views();
  config.leader = LeaderRule::sticky;
  config.sticky_views = 10;
  auto views = views_of(config, 4);
  views.apply(view::ReceiveQc{qc_of(4, {1, 2, 3})}, Nanos{0});
  EXPECT_EQ(views.leader(5), 1U);
  views.apply(view::ReceiveTc{tc_of(3, {2, 3, 4})}, Nanos{0});
  EXPECT_EQ(views.current_view(), 10U) << "of an earlier view, but it leads beyond this one";
  EXPECT_EQ(views.leader(10), 2U);
  views.apply(view::ReceiveQc{qc_of(19, {1, 2, 3})}, Nanos{0});
  EXPECT_EQ(views.current_view(), 20U);
}

ViewSyncConfig by_reputation(std::uint64_t self) {
  auto config = small_views(self);
  config.leader = LeaderRule::reputation;
  config.history = 128;
  return config;
}
void certify(ViewSynchronizer& views, std::uint64_t view) {
  views.apply(view::ReceiveQc{qc_of(view, {1, 2, 3})}, Nanos{0});
}

TEST(ViewLeaders, LeadersFollowWhatWasCommittedAndNothingThatOneMemberSaw) {
  Rng rng(mesh::testing::seed());
  auto first = views_of(by_reputation(1), 4);
  auto second = views_of(by_reputation(2), 4, 99);
  std::vector<std::uint64_t> commits;
  for (std::uint64_t view = 0; view < 300; view += 1 + rng.below(4)) commits.push_back(view);
  for (const auto view : commits) {
    certify(first, view);
    first.apply(view::Commit{view}, Nanos{0});
    tick(first, Nanos{static_cast<std::int64_t>(rng.below(1'000'000'000))});
  }
  second.apply(view::ReceiveTc{tc_of(200, {2, 3, 4})}, Nanos{0});  // it has seen other things
  for (const std::uint64_t signer : {3U, 4U}) hear(second, timeout_of(250, signer));
  certify(second, 299);
  for (const auto view : commits) second.apply(view::Commit{view}, Nanos{0});
  for (std::uint64_t view = 200; view < 400; ++view) {
    ASSERT_EQ(first.leader(view), second.leader(view)) << view;
    ASSERT_NE(first.leader(view), kEveryone);
  }
  EXPECT_TRUE(std::equal(first.reputations().begin(), first.reputations().end(),
                         second.reputations().begin()));
}

TEST(ViewLeaders, WhoFailsToLeadLeadsLessAndIsForgiven) {
  auto views = views_of(by_reputation(1), 4);
  const auto times_led = [&](std::uint64_t agent, std::uint64_t from) {
    std::uint64_t count = 0;
    for (std::uint64_t view = from; view < from + 1'000; ++view) {
      count += views.leader(view) == agent ? 1U : 0U;
    }
    return count;
  };
  EXPECT_NEAR(static_cast<double>(times_led(3, 0)), 250, 60);
  std::uint64_t view = 0;
  for (; view < 400; ++view) {  // whatever member 3 leads fails
    if (views.leader(view) == 3) continue;
    certify(views, view);
    views.apply(view::Commit{view}, Nanos{0});
  }
  EXPECT_EQ(views.reputations()[2], views.config().rep_floor_ppm);
  EXPECT_EQ(views.reputations()[0], 1'000'000U);
  EXPECT_NEAR(static_cast<double>(times_led(3, 500)), 1'000 * 0.05 / 3.05, 15);
  for (; view < 2'000; ++view) {
    certify(views, view);
    views.apply(view::Commit{view}, Nanos{0});
  }
  EXPECT_GT(views.reputations()[2], 900'000U);
}

TEST(ViewLeaders, ACommitCountsThreeViewsLaterAndOnce) {
  auto views = views_of(by_reputation(1), 4);
  std::map<std::uint64_t, std::uint64_t> before;
  certify(views, 40);
  for (std::uint64_t view = 41; view < 60; ++view) before[view] = views.leader(view);
  views.apply(view::Commit{40}, Nanos{0});  // forty views failed
  std::uint64_t changed = 0;
  for (std::uint64_t view = 41; view < 60; ++view) {
    changed += views.leader(view) != before[view] ? 1U : 0U;
    if (view < 43) {
      EXPECT_EQ(views.leader(view), before[view]) << view;
    }
  }
  EXPECT_GT(changed, 0U);
  EXPECT_EQ(views.apply(view::Commit{40}, Nanos{0}).outcome, ViewOutcome::ignored);
  EXPECT_EQ(views.apply(view::Commit{39}, Nanos{0}).outcome, ViewOutcome::ignored);
  certify(views, 60);
  views.apply(view::Commit{50}, Nanos{0});
  EXPECT_EQ(views.counters().late_commits, 1U) << "61 is entered: who leads it may have changed";
}

// --- epochs ------------------------------------------------------------------------------------

TEST(ViewLeaders, AnEpochBeginsInViewZeroWithWhoIsRegistered) {
  auto views = views_of(small_views(), 4);
  views.apply(view::ReceiveQc{qc_of(9, {1, 2, 3})}, Nanos{0});
  EXPECT_EQ(views.apply(view::RegisterAgent{5, 1, {}}, Nanos{0}).code, Errc::wrong_state);
  const std::uint64_t hash = views.epoch_hash();
  views.apply(view::EndEpoch{}, Nanos{0});
  EXPECT_EQ(views.state(), ViewState::idle);
  views.apply(view::RegisterAgent{5, 1, {}}, Nanos{0});
  views.apply(view::StartEpoch{}, Nanos{0});
  EXPECT_EQ(views.epoch(), 2U);
  EXPECT_EQ(views.current_view(), 0U);
  EXPECT_EQ(views.quorum().quorum, 4U);
  EXPECT_NE(views.epoch_hash(), hash);
  EXPECT_EQ(views.leader(4), 5U);
  EXPECT_EQ(views.apply(view::ReceiveQc{qc_of(3, {1, 2, 3, 4})}, Nanos{0}).outcome,
            ViewOutcome::ignored)
      << "of the epoch before";
}

TEST(ViewLeaders, OfALaterEpochItSaysThatItIsBehindOnce) {
  auto views = views_of(small_views(), 4);
  auto qc = qc_of(3, {1, 2, 3});
  qc.epoch = 2;
  auto timeout = timeout_of(3, 2);
  timeout.epoch = 3;
  EXPECT_EQ(views.apply(view::ReceiveQc{qc}, Nanos{0}).outcome, ViewOutcome::epoch_ahead);
  EXPECT_EQ(hear(views, timeout).outcome, ViewOutcome::epoch_ahead);
  EXPECT_EQ(events_of(views, ViewSynchronizer::Event::epoch_ahead), 1U);
  EXPECT_EQ(views.current_view(), 0U);
}

TEST(ViewLeaders, WarnsOfATimeoutBelowFourDelays) {
  auto config = small_views();
  config.delta = view_ms(51);
  const auto views = views_of(config, 4);
  EXPECT_EQ(events_of(views, ViewSynchronizer::Event::timeout_below_4delta), 1U);
  EXPECT_EQ(events_of(views_of(small_views(), 4), ViewSynchronizer::Event::timeout_below_4delta),
            0U);
}

TEST(ViewLeaders, WhoIsNoMemberLooksOnAndSaysNothing) {
  auto views = views_of(small_views(77), 4);
  EXPECT_TRUE(tick(views, view_ms(60'000)).empty());
  for (const std::uint64_t signer : {1U, 2U}) {
    EXPECT_TRUE(hear(views, timeout_of(0, signer), view_ms(60'000)).sends.empty());
  }
  EXPECT_EQ(views.given_up(), 0U);
  EXPECT_EQ(views.apply(view::Vote{0, block_of(0)}, view_ms(60'000)).code, Errc::wrong_state);
  EXPECT_EQ(views.apply(view::ReceiveQc{qc_of(4, {1, 2, 3})}, view_ms(60'000)).view, 5U);
}

TEST(ViewLeaders, OneMemberAloneGoesOnByItself) {
  auto views = views_of(small_views(), 1);
  for (int i = 1; i <= 5; ++i) tick(views, views.next_timer());
  EXPECT_EQ(views.current_view(), 5U);
  EXPECT_TRUE(views.verify());
}

// --- relays, and views by the clock ------------------------------------------------------------

TEST(ViewLeaders, AsksRelayAfterRelayAndAtLastEverybody) {
  auto config = small_views(1);
  config.sync = SyncMode::linear;
  auto views = views_of(config, 7);  // F = 2: three relays, the leaders of views 4, 5 and 6
  views.apply(view::ReceiveQc{qc_of(2, {1, 2, 3, 4, 5})}, Nanos{0});
  std::vector<std::uint64_t> asked;
  for (int i = 0; i < 5; ++i) {
    for (const auto& sent : tick(views, views.next_timer())) asked.push_back(sent.to);
  }
  EXPECT_EQ(asked, (Agents{5, 6, 7, kEveryone, kEveryone}));
}

TEST(ViewLeaders, ARelayShowsThatOneHonestMemberGaveUpAndCollectsTheOthers) {
  auto config = small_views(2);
  config.sync = SyncMode::linear;
  auto relay = views_of(config, 4);
  EXPECT_TRUE(hear(relay, timeout_of(0, 1)).sends.empty());
  const auto shown = hear(relay, timeout_of(0, 3));
  EXPECT_EQ(relay.current_view(), 1U) << "with its own they are three";
  ASSERT_EQ(shown.sends.size(), 1U);
  EXPECT_EQ(shown.sends[0].kind, ViewSendKind::tc);
  auto more = views_of(config, 7);
  for (const std::uint64_t signer : {1U, 3U}) hear(more, timeout_of(0, signer));
  const auto wishes = hear(more, timeout_of(0, 4));
  ASSERT_EQ(wishes.sends.size(), 1U);
  EXPECT_EQ(wishes.sends[0].kind, ViewSendKind::wishes);
  EXPECT_EQ(wishes.sends[0].tc.weight, 4U);
  auto other = config;
  other.self = 5;
  auto joins = views_of(other, 7);
  const auto joined = joins.apply(command_of(wishes.sends[0]), Nanos{0});
  ASSERT_EQ(joined.sends.size(), 1U);
  EXPECT_EQ(joined.sends[0].to, 2U) << "it answers the relay alone";
  EXPECT_EQ(joins.current_view(), 1U) << "four were shown, it is the fifth";
}

TEST(ViewLeaders, ByTheClockItGoesFromViewToViewAndMeetsAllAtTheEnd) {
  auto config = small_views();
  config.sync = SyncMode::epochs;
  config.sync_views = 3;
  auto views = views_of(config, 4);
  EXPECT_TRUE(tick(views, views.next_timer()).empty());
  EXPECT_TRUE(tick(views, views.next_timer()).empty());
  EXPECT_EQ(views.current_view(), 2U);
  EXPECT_EQ(views.counters().entered_by_clock, 2U);
  const auto sent = tick(views, views.next_timer());
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].timeout.view, 2U);
  EXPECT_EQ(views.current_view(), 2U) << "the next stretch begins with a certificate";
  EXPECT_TRUE(views.verify());
  views.apply(view::ReceiveTc{tc_of(2, {2, 3, 4})}, views.next_timer());
  EXPECT_EQ(views.current_view(), 3U);
  EXPECT_TRUE(views.verify());
}

}  // namespace of_view_leaders_test
}  // namespace mesh::coordination
