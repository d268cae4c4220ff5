// A federation router whose bridge, stations and engine die: every request that it accepted ends
// exactly once.
#include <array>
#include <map>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/federation_router.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination {
namespace of_federation_deaths_test {

using federation::AddNetwork;
using federation::BridgeDied;
using federation::Complete;
using federation::StationClosed;
using federation::Submit;

constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }
constexpr Nanos seconds(std::int64_t count) { return Nanos{count * kNsPerSecond}; }

FederationConfig roomy() {
  FederationConfig config;
  config.burst_ppm = 1'000'000;
  config.shed_ppm = {0, 0, 0};
  config.queue_max = 32;
  config.requester_share_ppm = 1'000'000;
  config.hedge_ppm = 1'000'000;
  return config;
}
FederationRouter with_networks(int count) {
  FederationRouter router(roomy());
  for (int i = 0; i < count; ++i) {
    router.apply(
        AddNetwork{std::string(1, static_cast<char>('a' + i)), 3, 1'000'000, 1'000, seconds(60)},
        Nanos{0});
  }
  return router;
}
Submit of(std::uint32_t requester, std::uint32_t network = 0, std::uint64_t key = 0) {
  Submit submit;
  submit.network = network;
  submit.requester = requester;
  submit.coalesce_key = key;
  return submit;
}
std::vector<Dispatched> dispatched(FederationRouter& router, Nanos now) {
  std::array<Dispatched, 64> out{};
  const std::size_t count = router.dispatch(now, out);
  return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(count)};
}
std::vector<Completion> completions(FederationRouter& router) {
  std::array<Completion, 64> out{};
  const std::size_t count = router.take_completions(out);
  return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(count)};
}

TEST(FederationDeaths, RefusesTheDeathOfAnUnknownNetworksBridge) {
  auto router = with_networks(1);
  testing::expect_refused<FederationRouter>(router,
                                            {"unknown network", BridgeDied{7}, Errc::not_found});
  testing::expect_refused<FederationRouter>(
      router, {"before time", BridgeDied{}, Errc::invalid_argument, Nanos{-1}});
}

TEST(FederationDeaths, ReturnsWhatWasInFlightAsCancelledWhenItsBridgeDies) {
  auto router = with_networks(2);
  const auto sent = router.apply(of(1, 0, 77), Nanos{0}).id;
  const auto follower = router.apply(of(2, 0, 77), Nanos{0}).id;
  const auto other = router.apply(of(3, 1), Nanos{0}).id;
  ASSERT_EQ(dispatched(router, Nanos{0}).size(), 2U);
  const auto waits = router.apply(of(4), ms(1)).id;
  EXPECT_EQ(router.apply(BridgeDied{0}, ms(2)).granted, 1U);
  const auto done = completions(router);
  ASSERT_EQ(done.size(), 2U);
  EXPECT_EQ(done[0].request, sent);
  EXPECT_EQ(done[1].request, follower);
  for (const auto& one : done) EXPECT_EQ(one.outcome, RequestOutcome::cancelled);
  EXPECT_EQ(router.in_flight(), 1U) << "the other network's bridge lives";
  EXPECT_EQ(router.queued(), 1U) << "what was never sent waits on";
  EXPECT_EQ(router.apply(Complete{sent}, ms(3)).code, Errc::not_found) << "an answer too late";
  EXPECT_EQ(router.view(0, ms(2)).remaining_ppm, 999'000U) << "it may have been executed: spent";
  EXPECT_EQ(router.apply(Complete{other}, ms(3)).code, Errc::ok);
  const auto next = dispatched(router, ms(3));
  ASSERT_EQ(next.size(), 1U);
  EXPECT_EQ(next[0].request, waits);
  EXPECT_TRUE(router.verify());
}

TEST(FederationDeaths, EndsWhatWasInFlightWhenTheEngineComesBack) {
  auto router = with_networks(2);
  for (std::uint32_t i = 0; i < 4; ++i) router.apply(of(i, i % 2), Nanos{0});
  ASSERT_EQ(dispatched(router, Nanos{0}).size(), 4U);
  auto back = FederationRouter::restore(roomy(), router.snapshot());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->in_flight(), 4U);
  EXPECT_EQ(back->apply(BridgeDied{}, seconds(1)).granted, 4U);
  EXPECT_EQ(back->in_flight(), 0U);
  EXPECT_EQ(completions(*back).size(), 4U);
  EXPECT_EQ(back->counters().submitted, back->counters().cancelled);
  EXPECT_TRUE(back->verify());
}

TEST(FederationDeaths, ReturnsTheProbeThatADeadBridgeHad) {
  auto router = with_networks(1);
  for (int i = 0; i < 3; ++i) {
    router.apply(of(1), Nanos{0});
    const auto sent = dispatched(router, Nanos{0});
    ASSERT_EQ(sent.size(), 1U);
    router.apply(Complete{sent[0].request, RequestOutcome::rate_limited, seconds(5)}, Nanos{0});
  }
  completions(router);
  router.apply(of(1), seconds(5));
  router.apply(of(1), seconds(5));
  ASSERT_EQ(dispatched(router, seconds(5)).size(), 1U) << "one probe";
  router.apply(BridgeDied{}, seconds(6));
  EXPECT_EQ(dispatched(router, seconds(6)).size(), 1U) << "the next is the probe now";
}

TEST(FederationDeaths, LetsAHedgedOneGoOnWhereItsOtherNetworkStillAnswers) {
  auto router = with_networks(2);
  Submit twice = of(1);
  twice.may_hedge = true;
  Nanos now{0};
  for (int i = 0; i < 20; ++i, now += ms(100)) {
    router.apply(twice, now);
    router.apply(Complete{dispatched(router, now).at(0).request}, now + ms(100));
    completions(router);
  }
  const auto id = router.apply(twice, now).id;
  ASSERT_EQ(dispatched(router, now).size(), 1U);
  const auto hedge = dispatched(router, now + seconds(1));
  ASSERT_EQ(hedge.size(), 1U);
  ASSERT_TRUE(hedge[0].is_hedge);
  EXPECT_EQ(router.apply(BridgeDied{0}, now + seconds(1)).granted, 0U);
  EXPECT_TRUE(completions(router).empty());
  router.apply(Complete{id, RequestOutcome::ok, Nanos{0}, 1}, now + seconds(2));
  const auto done = completions(router);
  ASSERT_EQ(done.size(), 1U);
  EXPECT_EQ(done[0].outcome, RequestOutcome::ok);
}

TEST(FederationDeaths, CancelsAlsoWhatAClosedStationHadInFlight) {
  auto router = with_networks(1);
  const auto sent = router.apply(of(1), Nanos{0}).id;
  router.apply(of(2), Nanos{0});
  ASSERT_EQ(dispatched(router, Nanos{0}).size(), 2U);
  EXPECT_EQ(router.apply(StationClosed{1}, ms(1)).granted, 1U);
  const auto done = completions(router);
  ASSERT_EQ(done.size(), 1U);
  EXPECT_EQ(done[0].request, sent);
  EXPECT_EQ(done[0].outcome, RequestOutcome::cancelled);
  EXPECT_EQ(router.in_flight(), 1U);
  EXPECT_TRUE(router.verify());
}

TEST(FederationDeaths, LetsWhatOthersFollowGoOnWhenItsStationCloses) {
  auto router = with_networks(1);
  const auto leader = router.apply(of(1, 0, 77), Nanos{0}).id;
  router.apply(of(1, 0, 77), Nanos{0});
  const auto follower = router.apply(of(2, 0, 77), Nanos{0}).id;
  ASSERT_EQ(dispatched(router, Nanos{0}).size(), 1U);
  EXPECT_EQ(router.apply(StationClosed{1}, ms(1)).granted, 1U) << "its own follower";
  EXPECT_EQ(completions(router).size(), 1U);
  router.apply(Complete{leader}, ms(5));
  const auto done = completions(router);
  ASSERT_EQ(done.size(), 2U);
  EXPECT_EQ(done[0].request, leader);
  EXPECT_EQ(done[1].request, follower);
  EXPECT_EQ(done[1].outcome, RequestOutcome::ok);
}

TEST(FederationDeaths, EndsAllOfAClosedStationWhereAllFollowsItself) {
  auto router = with_networks(1);
  for (int i = 0; i < 5; ++i) router.apply(of(1, 0, 77), Nanos{0});
  ASSERT_EQ(dispatched(router, Nanos{0}).size(), 1U);
  EXPECT_EQ(router.apply(StationClosed{1}, ms(1)).granted, 5U);
  EXPECT_EQ(completions(router).size(), 5U);
  EXPECT_EQ(router.in_flight(), 0U);
}

// What a test knows of the requests that were accepted.
class Ledger {
 public:
  explicit Ledger(std::uint64_t seed) : router_(with_networks(3)), rng_(seed) {}

  // One random thing: a request, a dispatch, an answer, or a death.
  void step() {
    now_ += ms(static_cast<std::int64_t>(rng_.below(8)));
    switch (rng_.below(9)) {
      case 0:
      case 1:
      case 2:
        return submit();
      case 3:
      case 4:
        for (const auto& one : dispatched(router_, now_)) sent_.push_back(one);
        return;
      case 5:
      case 6:
        return complete();
      case 7:
        return die();
      default:
        return take();
    }
  }
  // All die; nothing may be left over.
  void end() {
    router_.apply(BridgeDied{}, now_);
    for (std::uint32_t i = 0; i < kRequesters; ++i) router_.apply(StationClosed{i}, now_);
    for (std::size_t left = ended_ + 1; left != ended_;) {
      left = ended_;
      take();
    }
    RC_ASSERT(ended_ == open_.size());
    RC_ASSERT(router_.queued() + router_.in_flight() == 0U);
    const auto& counters = router_.counters();
    RC_ASSERT(counters.submitted == counters.completed + counters.cancelled);
  }

 private:
  static constexpr std::uint32_t kRequesters = 4;

  void submit() {
    Submit wanted = of(static_cast<std::uint32_t>(rng_.below(kRequesters)),
                       static_cast<std::uint32_t>(rng_.below(3)), rng_.below(4));
    wanted.may_hedge = rng_.below(2) == 0;
    wanted.priority = static_cast<std::uint32_t>(rng_.below(4));
    if (rng_.below(4) == 0) wanted.deadline = now_ + ms(static_cast<std::int64_t>(rng_.below(9)));
    const auto reply = router_.apply(wanted, now_);
    if (reply.code != Errc::ok || reply.refusal != Refusal::none) return;
    RC_ASSERT(open_.emplace(reply.id, true).second);
  }
  void complete() {
    if (sent_.empty()) return;
    const std::size_t at = rng_.below(sent_.size());
    const auto outcome = static_cast<RequestOutcome>(rng_.below(4));
    router_.apply(Complete{sent_[at].request, outcome, Nanos{0}, sent_[at].network}, now_);
    if (rng_.below(2) == 0) sent_.erase(sent_.begin() + static_cast<std::ptrdiff_t>(at));
  }
  void die() {
    switch (rng_.below(4)) {
      case 0:
        router_.apply(BridgeDied{static_cast<std::uint32_t>(rng_.below(3))}, now_);
        break;
      case 1:
        router_.apply(StationClosed{static_cast<std::uint32_t>(rng_.below(kRequesters))}, now_);
        break;
      case 2:
        router_.apply(BridgeDied{}, now_);
        break;
      default: {  // the engine: from its bytes, and nobody reports what was in flight
        auto back = FederationRouter::restore(roomy(), router_.snapshot());
        RC_ASSERT(back.has_value());
        router_ = std::move(*back);
        router_.apply(BridgeDied{}, now_);
        RC_ASSERT(router_.in_flight() == 0U);
        break;
      }
    }
    RC_ASSERT(router_.verify().has_value());
  }
  void take() {
    for (const auto& one : completions(router_)) {
      const auto found = open_.find(one.request);
      RC_ASSERT(found != open_.end());
      RC_ASSERT(found->second);  // not before
      found->second = false;
      ++ended_;
    }
  }

  FederationRouter router_;
  Rng rng_;
  Nanos now_{0};
  std::map<std::uint64_t, bool> open_;  // accepted -> not ended yet
  std::size_t ended_ = 0;
  std::vector<Dispatched> sent_;  // also what has been answered: answers that come twice
};

// Lends, spends some of it, takes some back, lends again, and goes on beyond the lender's window.
std::vector<testing::Timed<FederationRouter::Command>> across_loans(
    const FederationConfig& config) {
  std::vector<testing::Timed<FederationRouter::Command>> commands;
  FederationRouter follower(config);
  const auto play = [&](Nanos now, const FederationRouter::Command& command) {
    commands.push_back({now, command});
    const auto reply = follower.apply(command, now);
    FederationActions actions;
    follower.tick(now, actions);
    return reply;
  };
  const auto send = [&](std::uint32_t network, Nanos now) {
    play(now, of(1, network));
    const auto sent = play(now, federation::DispatchNext{});
    if (sent.any) play(now, Complete{sent.dispatched.request, RequestOutcome::ok, Nanos{0}});
    if (sent.any) play(now, federation::TakeCompletion{});
    return sent.any;
  };
  play(Nanos{0}, AddNetwork{"lender", 3, 1'000'000, 40, seconds(10)});
  play(Nanos{0}, AddNetwork{"borrower", 3, 1'000'000, 2, seconds(10)});
  EXPECT_EQ(play(seconds(1), federation::Borrow{0, 1, 4, 0}).granted, 4U);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(send(1, seconds(2))) << "beyond its own two";
  EXPECT_EQ(play(seconds(3), federation::Reclaim{0}).granted, 3U);
  EXPECT_FALSE(send(1, seconds(3))) << "what is left of it was spent";
  EXPECT_EQ(play(seconds(4), federation::Borrow{0, 1, 2, 0}).granted, 2U);
  EXPECT_EQ(follower.effective_quota(1), 5U);
  EXPECT_TRUE(send(0, seconds(5)));
  send(1, seconds(11));  // the lender's window has ended
  EXPECT_EQ(follower.effective_quota(1), 2U);
  EXPECT_EQ(follower.effective_quota(0), 40U);
  EXPECT_EQ(follower.counters().loans, 2U);
  return commands;
}

TEST(FederationDeaths, GoesOnAcrossLoansWhereverTheEngineDies) {
  FederationConfig config = roomy();
  config.queue_max = 4;
  config.networks_max = 2;
  config.loans_max = 2;
  const auto commands = across_loans(config);
  testing::expect_replays<FederationRouter>(config, commands);
  testing::CrashSweep<FederationRouter> sweep(config, commands);
  sweep.with_ticks();
  EXPECT_GT(sweep.run(5), 3U * 4 * commands.size());
}

TEST(FederationDeaths, EveryAcceptedRequestEndsExactlyOnceWhoeverDies) {
  EXPECT_TRUE(rc::check("each accepted request has one completion", [](std::uint64_t seed) {
    Ledger ledger(seed);
    for (int i = 0; i < 400; ++i) ledger.step();
    ledger.end();
  }));
}

}  // namespace of_federation_deaths_test
}  // namespace mesh::coordination
