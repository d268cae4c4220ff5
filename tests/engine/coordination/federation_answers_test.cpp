// What a federation router learns from answers, and what it does with it: the second request that a
// slow one is given, the cheapest network; loans of all at once; requests granted ahead of time.
#include <array>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/federation_router.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination {
namespace of_federation_answers_test {

using federation::AddNetwork;
using federation::Ask;
using federation::Complete;
using federation::Negotiate;
using federation::Submit;
using federation::WantCredit;

constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }
constexpr Nanos seconds(std::int64_t count) { return Nanos{count * kNsPerSecond}; }

FederationConfig wide() {
  FederationConfig config;
  config.burst_ppm = 1'000'000;
  config.shed_ppm = {0, 0, 0};
  config.queue_max = 64;
  config.requester_share_ppm = 1'000'000;
  return config;
}
AddNetwork network(std::string name, std::uint64_t quota, std::uint64_t price = 0) {
  return {std::move(name), 3, 1'000'000, quota, seconds(60), price};
}
Submit hedged(std::uint32_t to) {
  Submit submit;
  submit.network = to;
  submit.may_hedge = true;
  return submit;
}
Dispatched dispatch_one(FederationRouter& router, Nanos now) {
  std::array<Dispatched, 1> out{};
  EXPECT_EQ(router.dispatch(now, out), 1U);
  return out[0];
}
bool dispatches_nothing(FederationRouter& router, Nanos now) {
  std::array<Dispatched, 1> out{};
  return router.dispatch(now, out) == 0;
}
std::vector<Completion> completions(FederationRouter& router) {
  std::array<Completion, 64> out{};
  const std::size_t count = router.take_completions(out);
  return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(count)};
}
// `count` requests to the first network, each answered after 100 ms; ends at the instant returned.
Nanos play_calm(FederationRouter& router, int count, Nanos now) {
  for (int i = 0; i < count; ++i) {
    router.apply(hedged(0), now);
    const auto sent = dispatch_one(router, now);
    now += ms(100);
    router.apply(Complete{sent.request}, now);
    EXPECT_EQ(completions(router).size(), 1U);
  }
  return now;
}

// --- hedging -----------------------------------------------------------------------------------

TEST(FederationHedge, SendsWhatIsSlowToASecondNetworkAndTheFirstAnswerCounts) {
  FederationRouter router(wide());
  router.apply(network("slow", 1'000), Nanos{0});
  router.apply(network("other", 1'000), Nanos{0});
  Nanos now = play_calm(router, 60, Nanos{0});  // 2 % of 60: one hedge may be spent
  router.apply(hedged(0), now);
  const auto first = dispatch_one(router, now);
  EXPECT_TRUE(dispatches_nothing(router, now + ms(100))) << "95 of 100 take so long";
  now += ms(101);
  const auto second = dispatch_one(router, now);
  EXPECT_TRUE(second.is_hedge);
  EXPECT_EQ(second.request, first.request);
  EXPECT_EQ(second.network, 1U);
  EXPECT_EQ(router.apply(Complete{first.request, RequestOutcome::ok, Nanos{0}, 1}, now).code,
            Errc::ok);
  const auto done = completions(router);
  ASSERT_EQ(done.size(), 1U);
  EXPECT_EQ(done[0].outcome, RequestOutcome::ok);
  EXPECT_EQ(router.apply(Complete{first.request}, now).code, Errc::not_found) << "the late one";
  EXPECT_EQ(router.counters().hedges, 1U);
  EXPECT_TRUE(router.verify());
}

TEST(FederationHedge, WaitsForTheOtherWhereOneFails) {
  FederationRouter router(wide());
  router.apply(network("slow", 1'000), Nanos{0});
  router.apply(network("other", 1'000), Nanos{0});
  Nanos now = play_calm(router, 60, Nanos{0});
  router.apply(hedged(0), now);
  const auto first = dispatch_one(router, now);
  now += ms(200);
  dispatch_one(router, now);
  const auto answer = [&](std::uint32_t from, RequestOutcome outcome) {
    return router.apply(Complete{first.request, outcome, Nanos{0}, from}, now).code;
  };
  EXPECT_EQ(answer(7, RequestOutcome::ok), Errc::invalid_argument) << "it was never sent there";
  EXPECT_EQ(answer(0, RequestOutcome::failed), Errc::ok);
  EXPECT_TRUE(completions(router).empty());
  EXPECT_EQ(answer(0, RequestOutcome::ok), Errc::wrong_state) << "it has answered";
  EXPECT_EQ(answer(1, RequestOutcome::failed), Errc::ok);
  const auto done = completions(router);
  ASSERT_EQ(done.size(), 1U);
  EXPECT_EQ(done[0].outcome, RequestOutcome::failed);
  EXPECT_TRUE(router.verify());
}

TEST(FederationHedge, SpendsTwoInAHundredAtMostAndOnlyOnWhatMayRunTwice) {
  FederationConfig config = wide();
  config.queue_max = 64;
  FederationRouter router(config);
  router.apply(network("slow", 100'000), Nanos{0});
  router.apply(network("other", 100'000), Nanos{0});
  Nanos now = play_calm(router, 60, Nanos{0});
  std::uint64_t hedges = 0;
  for (int i = 0; i < 2'000; ++i) {  // one in forty is slow, and of those every other may run twice
    Submit submit = hedged(0);
    submit.may_hedge = i / 40 % 2 == 0;
    const auto id = router.apply(submit, now).id;
    ASSERT_FALSE(dispatch_one(router, now).is_hedge);
    now += i % 40 == 0 ? seconds(2) : ms(100);
    std::array<Dispatched, 1> out{};
    if (router.dispatch(now, out) == 1) {
      EXPECT_TRUE(out[0].is_hedge && submit.may_hedge);
      ++hedges;
    }
    router.apply(Complete{id}, now);
    completions(router);
    ASSERT_LE(router.counters().hedges * 100, 2 * router.counters().dispatched);
  }
  EXPECT_EQ(hedges, router.counters().hedges);
  EXPECT_GE(hedges, 15U);
}

// --- cost --------------------------------------------------------------------------------------

TEST(FederationCost, GoesWhereOneThatSucceedsIsCheapest) {
  FederationRouter router(wide());
  router.apply(network("dear", 1'000, 30), Nanos{0});
  router.apply(network("cheap", 1'000, 10), Nanos{0});
  const auto to_any = [&](Nanos now) { return router.apply(Submit{kAnyNetwork}, now).network; };
  EXPECT_EQ(to_any(Nanos{0}), 1U);
  Nanos now{0};
  for (int i = 0; i < 30; ++i) {  // the cheap one hardly ever succeeds
    router.apply(Submit{1}, now);
    std::array<Dispatched, 4> out{};
    const std::size_t count = router.dispatch(now, out);
    for (std::size_t k = 0; k < count; ++k) {
      router.apply(Complete{out[k].request, RequestOutcome::failed}, now);
    }
    completions(router);
    now += ms(10);
  }
  EXPECT_LT(router.success(1, 0), 1.0 / 3);
  EXPECT_EQ(to_any(now), 0U) << "10 a try, and three tries do not do";
}

TEST(FederationCost, PassesOverWhatIsExhaustedShedOrOpen) {
  FederationConfig config = wide();
  config.shed_ppm = {0, 500'000, 0};  // never valid: it rises
  EXPECT_FALSE(FederationRouter::validate(config));
  config.shed_ppm = {500'000, 500'000, 0};
  FederationRouter router(config);
  router.apply(network("cheap", 2, 1), Nanos{0});
  router.apply(network("dear", 100, 9), Nanos{0});
  router.apply(Submit{0, 0, 3}, Nanos{0});
  dispatch_one(router, Nanos{0});
  EXPECT_EQ(router.apply(Submit{kAnyNetwork, 0, 2}, Nanos{0}).network, 0U);
  dispatch_one(router, Nanos{0});
  EXPECT_EQ(router.apply(Submit{kAnyNetwork, 0, 1}, Nanos{0}).network, 1U) << "exhausted";
  EXPECT_EQ(router.apply(Submit{kAnyNetwork, 40, 1}, Nanos{0}).code, Errc::no_candidate);
}

TEST(Federation, WhatMostlySucceedsGoesFirstWhereMuchFails) {
  FederationRouter router(wide());
  router.apply(network("n", 10'000), Nanos{0});
  const auto answer = [&](std::uint32_t capability, RequestOutcome outcome) {
    router.apply(Submit{0, capability}, Nanos{0});
    router.apply(Complete{dispatch_one(router, Nanos{0}).request, outcome}, Nanos{0});
    completions(router);
  };
  const auto first_of_two = [&] {
    FederationRouter same = router;
    same.apply(Submit{0, 0}, Nanos{0});
    same.apply(Submit{0, 1}, Nanos{1});
    return dispatch_one(same, Nanos{2}).capability;
  };
  for (int i = 0; i < 20; ++i) answer(1, RequestOutcome::ok);
  EXPECT_EQ(first_of_two(), 0U) << "nothing fails: the older first";
  for (int i = 0; i < 20; ++i) answer(0, RequestOutcome::failed);
  EXPECT_EQ(first_of_two(), 1U);
}

// --- negotiation -------------------------------------------------------------------------------

TEST(FederationNegotiation, SplitsWhatIsIdleByTrustAndNoneGetsMoreThanItAsks) {
  FederationConfig config;
  config.reserve_ppm = 200'000;
  config.donate_ppm = 500'000;
  FederationRouter router(config);
  router.apply(network("lender", 100), Nanos{0});  // (100 - 20) / 2 = 40 to give
  router.apply(AddNetwork{"trusted", 1, 900'000, 10, seconds(60)}, Nanos{0});
  router.apply(AddNetwork{"less", 1, 300'000, 10, seconds(60)}, Nanos{0});
  const std::vector<Ask> asks{{1, 100}, {2, 100}};
  EXPECT_EQ(router.apply(Negotiate{asks}, seconds(1)).refusal, Refusal::quota_exhausted)
      << "nobody is idle yet";
  EXPECT_EQ(router.apply(Negotiate{asks}, seconds(5)).granted, 40U);
  EXPECT_EQ(router.effective_quota(0), 60U);
  EXPECT_EQ(router.effective_quota(1), 40U) << "three quarters of 40";
  EXPECT_EQ(router.effective_quota(2), 20U);
  EXPECT_TRUE(router.verify());
  FederationActions actions;
  router.tick(seconds(60), actions);
  EXPECT_EQ(router.effective_quota(0), 100U) << "the lender's window has ended";
  EXPECT_EQ(router.apply(Negotiate{{{1, 5}, {2, 100}}}, seconds(61)).granted, 40U);
  EXPECT_EQ(router.effective_quota(1), 15U) << "no more than it asked for";
  EXPECT_EQ(router.effective_quota(2), 45U);
}

TEST(FederationNegotiation, RefusesBadAsksAndChangesNothing) {
  FederationRouter router(wide());
  router.apply(network("a", 100), Nanos{0});
  router.apply(network("b", 100), Nanos{0});
  testing::expect_all_refused<FederationRouter>(
      router, {{"nobody asks", Negotiate{}, Errc::invalid_argument},
               {"unknown", Negotiate{{{9, 1}}}, Errc::not_found},
               {"nothing asked for", Negotiate{{{1, 0}}}, Errc::invalid_argument},
               {"twice", Negotiate{{{1, 1}, {1, 2}}}, Errc::invalid_argument},
               {"more than there are", Negotiate{{{0, 1}, {1, 2}, {2, 1}}}, Errc::invalid_argument},
               {"credit of none", WantCredit{9, 1, 1}, Errc::not_found},
               {"no credit", WantCredit{0, 1, 0}, Errc::invalid_argument}});
}

RC_GTEST_PROP(FederationNegotiation, KeepsTheSumOfQuotasWhateverIsAskedFor, ()) {
  FederationRouter router(wide());
  const auto networks = *rc::gen::inRange<std::uint32_t>(2, 7);
  std::uint64_t quotas = 0;
  for (std::uint32_t i = 0; i < networks; ++i) {
    const auto quota = *rc::gen::inRange<std::uint64_t>(1, 500);
    const auto trust = *rc::gen::inRange<std::uint32_t>(0, 1'000'001);
    router.apply(AddNetwork{std::to_string(i), 1, trust, quota, seconds(60)}, Nanos{0});
    quotas += quota;
  }
  Nanos now = seconds(10);
  for (int round = 0; round < 6; ++round) {
    Negotiate wanted;
    std::uint64_t asked = 0;
    for (std::uint32_t i = 0; i < networks; ++i) {
      if (*rc::gen::inRange(0, 2) == 0) continue;
      wanted.asks.push_back({i, *rc::gen::inRange<std::uint64_t>(1, 300)});
      asked += wanted.asks.back().count;
    }
    std::vector<std::uint64_t> before;
    for (std::uint32_t i = 0; i < networks; ++i) before.push_back(router.effective_quota(i));
    const auto reply = router.apply(wanted, now);
    std::uint64_t sum = 0;
    for (std::uint32_t i = 0; i < networks; ++i) sum += router.effective_quota(i);
    RC_ASSERT(sum == quotas);
    RC_ASSERT(reply.granted <= asked);
    for (const auto& ask : wanted.asks) {
      RC_ASSERT(router.effective_quota(ask.network) <= before[ask.network] + ask.count);
    }
    RC_ASSERT(router.verify().has_value());
    now += seconds(*rc::gen::inRange(1, 40));
    FederationActions actions;
    router.tick(now, actions);
  }
}

// --- credit ------------------------------------------------------------------------------------

TEST(FederationCredit, CountsAsUsedAndEndsWithTheWindow) {
  FederationRouter router(wide());
  router.apply(network("n", 100), Nanos{0});
  const Nanos late = seconds(60) - ms(5);
  const auto reply = router.apply(WantCredit{0, 4, 40}, late);
  EXPECT_EQ(reply.grant.granted, 25U) << "a quarter of the burst for one station";
  EXPECT_EQ(reply.grant.expires_ns, seconds(60).count()) << "its 20 ms would pass the window's end";
  EXPECT_EQ(router.view(0, late).remaining_ppm, 750'000U);
  EXPECT_EQ(router.apply(WantCredit{0, 4, 40}, late).refusal, Refusal::no_credit);
  router.apply(federation::StationClosed{4}, late);
  EXPECT_EQ(router.view(0, late).remaining_ppm, 750'000U) << "nobody knows what it has sent";
  EXPECT_TRUE(router.verify());
}

TEST(FederationCredit, NeverTakesMoreThanItsShareWhileOthersWait) {
  FederationConfig config = wide();
  config.requester_share_ppm = 100'000;
  FederationRouter router(config);
  router.apply(network("n", 100), Nanos{0});
  router.apply(Submit{0, 0, 1, 9}, Nanos{0});
  EXPECT_EQ(router.apply(WantCredit{0, 4, 40}, Nanos{0}).grant.granted, 10U);
  EXPECT_EQ(router.apply(WantCredit{0, 4, 40}, Nanos{0}).refusal, Refusal::no_credit);
}

// The provider's window holds whatever stations do with what they were granted.
RC_GTEST_PROP(FederationCredit, NeverPassesTheQuotaWithRequestsBesideIt, ()) {
  FederationRouter router(wide());
  constexpr std::uint64_t kQuota = 50;
  router.apply(AddNetwork{"n", 1, 1'000'000, kQuota, seconds(1)}, Nanos{0});
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  struct Spent {
    Nanos at;
    std::uint64_t count;
  };
  std::vector<Spent> all;
  Nanos now{0};
  for (int i = 0; i < 400; ++i) {
    now += ms(static_cast<std::int64_t>(rng.below(30)));
    const auto station = static_cast<std::uint32_t>(rng.below(5));
    if (rng.below(2) == 0) {
      const auto grant = router.apply(WantCredit{0, station, 1 + rng.below(20)}, now).grant;
      all.push_back({now, grant.granted});
    } else {
      router.apply(Submit{0, 0, 3, station}, now);
      std::array<Dispatched, 8> out{};
      const std::size_t count = router.dispatch(now, out);
      all.push_back({now, count});
      for (std::size_t k = 0; k < count; ++k) router.apply(Complete{out[k].request}, now);
      completions(router);
    }
    std::uint64_t fixed = 0;
    for (const auto& one : all) {
      if (one.at.count() / kNsPerSecond == now.count() / kNsPerSecond) fixed += one.count;
    }
    RC_ASSERT(fixed <= kQuota);
    RC_ASSERT(router.verify().has_value());
  }
}

}  // namespace of_federation_answers_test
}  // namespace mesh::coordination
