// What a federation router promises to those who wait, follow, lend and plan.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/federation_router.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination {
namespace of_federation_rules_test {

using federation::AddNetwork;
using federation::Borrow;
using federation::Complete;
using federation::Reclaim;
using federation::Submit;

constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }
constexpr Nanos seconds(std::int64_t count) { return Nanos{count * kNsPerSecond}; }

FederationConfig wide() {
  FederationConfig config;
  config.burst_ppm = 1'000'000;
  config.shed_ppm = {0, 0, 0};
  config.queue_max = 256;
  config.requester_share_ppm = 1'000'000;
  return config;
}
AddNetwork network(std::string name, std::uint64_t quota, Nanos window = seconds(60)) {
  return {std::move(name), 3, 1'000'000, quota, window, 0};
}
Submit of(std::uint32_t priority, std::uint64_t key = 0) {
  Submit submit;
  submit.priority = priority;
  submit.coalesce_key = key;
  return submit;
}
std::vector<Dispatched> dispatched(FederationRouter& router, Nanos now, std::size_t max = 64) {
  std::array<Dispatched, 64> out{};
  const std::size_t count = router.dispatch(now, std::span(out).first(max));
  return {out.begin(), out.begin() + static_cast<std::ptrdiff_t>(count)};
}
void take_all(FederationRouter& router) {
  std::array<Completion, 64> out{};
  while (router.take_completions(out) != 0) {
  }
}
// So many requests leave and are answered.
void spend(FederationRouter& router, std::uint32_t network, int count, Nanos now) {
  for (int i = 0; i < count; ++i) {
    Submit one = of(3);
    one.network = network;
    ASSERT_EQ(router.apply(one, now).refusal, Refusal::none);
    for (const auto& sent : dispatched(router, now)) router.apply(Complete{sent.request}, now);
    take_all(router);
  }
}

// --- waiting -----------------------------------------------------------------------------------

// The high ones fill the budget to the last request, for as long as one likes. After 2 aging_ns a
// low one is high too, and older: of those that came before it there are at most as many as are
// sent in that time.
TEST(FederationWaiting, NoClassBelowCriticalWaitsLongerThanItsAgingAndTheQueueBeforeIt) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    Rng rng(seed);
    FederationConfig config = FederationConfig::preset("balanced").value();
    config.shed_ppm = {0, 0, 0};
    config.queue_max = 256;
    FederationRouter router(config);
    router.apply(network("n", 100, seconds(10)), Nanos{0});  // 10 a second
    std::map<std::uint64_t, std::pair<Nanos, std::uint32_t>> waits;
    std::array<std::int64_t, 4> longest_ns{};
    std::array<int, 4> sent{};
    for (Nanos now{0}; now < seconds(300); now += ms(20)) {
      // 12 high ones a second for 10 places, and a low and a normal one now and then.
      for (std::uint32_t priority = 0; priority < 3; ++priority) {
        const std::array<std::uint64_t, 3> ppm{2'000, 2'000, 240'000};
        if (rng.below(1'000'000) >= ppm[priority] || router.queued() > 40) continue;
        const auto reply = router.apply(of(priority), now);
        if (reply.code == Errc::ok && reply.refusal == Refusal::none)
          waits[reply.id] = {now, priority};
      }
      for (const auto& one : dispatched(router, now)) {
        const auto [since, priority] = waits.at(one.request);
        longest_ns[priority] = std::max(longest_ns[priority], (now - since).count());
        ++sent[priority];
        waits.erase(one.request);
        router.apply(Complete{one.request}, now);
      }
      take_all(router);
    }
    ASSERT_GT(sent[0], 5) << "seed " << seed;
    ASSERT_GT(sent[2], 2'500) << "seed " << seed;
    // 3 aging_ns of 2 s, and 43 in the queue at 10 a second.
    const std::int64_t bound_ns = 3 * 2 * kNsPerSecond + 5 * kNsPerSecond;
    for (std::uint32_t priority = 0; priority < 3; ++priority) {
      EXPECT_LE(longest_ns[priority], bound_ns) << "seed " << seed << ", class " << priority;
    }
    for (const auto& [id, wait] : waits) {
      EXPECT_LE((seconds(300) - wait.first).count(), bound_ns) << "seed " << seed;
    }
  }
}

TEST(FederationWaiting, RefusesWhomItTrustsTooLittle) {
  FederationConfig config = wide();
  config.min_trust_ppm = 500'000;
  FederationRouter router(config);
  router.apply(AddNetwork{"stranger", 3, 499'999, 10, seconds(60), 0}, Nanos{0});
  router.apply(AddNetwork{"friend", 3, 500'000, 10, seconds(60), 9}, Nanos{0});
  const auto refused = router.apply(of(3), Nanos{0});
  EXPECT_EQ(refused.refusal, Refusal::rejected_policy);
  EXPECT_EQ(refused.retry_after, Nanos{0}) << "no wait helps";
  EXPECT_EQ(router.counters().rejected, 1U);
  EXPECT_EQ(router.counters().submitted, 0U);
  Submit any = of(3);
  any.network = kAnyNetwork;
  EXPECT_EQ(router.apply(any, Nanos{0}).network, 1U) << "dearer, and trusted";
}

Submit by(std::uint32_t requester) {
  Submit submit = of(1);
  submit.requester = requester;
  return submit;
}

TEST(FederationWaiting, RefusesWhoHasHadItsShareWhileAnotherWaits) {
  FederationConfig config = wide();
  config.requester_share_ppm = 400'000;
  FederationRouter router(config);
  router.apply(network("n", 10), Nanos{0});
  for (int i = 0; i < 4; ++i) router.apply(by(1), Nanos{0});
  ASSERT_EQ(dispatched(router, Nanos{0}).size(), 4U);
  EXPECT_EQ(router.apply(by(1), Nanos{1}).refusal, Refusal::none) << "alone it may have all";
  EXPECT_EQ(router.apply(by(2), Nanos{1}).refusal, Refusal::none);
  const auto refused = router.apply(by(1), Nanos{2});
  EXPECT_EQ(refused.refusal, Refusal::rejected_policy);
  EXPECT_EQ(refused.retry_after, seconds(60) - Nanos{2}) << "its share begins anew";
  EXPECT_EQ(router.counters().rejected, 1U);
  EXPECT_EQ(router.apply(by(65), Nanos{2}).refusal, Refusal::none) << "told apart from 1";
  EXPECT_EQ(dispatched(router, Nanos{2}).size(), 3U);
  EXPECT_EQ(router.apply(by(1), Nanos{3}).refusal, Refusal::none) << "nobody waits any more";
  router.apply(by(2), Nanos{3});
  FederationActions actions;
  router.tick(seconds(60), actions);
  EXPECT_EQ(router.apply(by(1), seconds(60)).refusal, Refusal::none) << "a new window";
}

// --- after a 429 -------------------------------------------------------------------------------

void answer_one(FederationRouter& router, RequestOutcome outcome, Nanos now) {
  router.apply(of(3), now);
  for (const auto& one : dispatched(router, now)) {
    router.apply(Complete{one.request, outcome, seconds(5)}, now);
  }
  take_all(router);
}
// How many more may leave at this instant.
int fit(FederationRouter router, Nanos now) {
  int count = 0;
  while (router.apply(of(3), now).refusal == Refusal::none && dispatched(router, now).size() == 1) {
    ++count;
  }
  return count;
}

TEST(FederationBudget, DoublesOnlyAfterAWindowInWhichNobodySaid429) {
  FederationRouter router(wide());
  router.apply(network("n", 100), Nanos{0});
  for (int i = 0; i < 3; ++i) answer_one(router, RequestOutcome::rate_limited, seconds(1));
  answer_one(router, RequestOutcome::ok, seconds(6));  // the probe: closed, and half the budget
  FederationActions actions;
  router.tick(seconds(60), actions);
  EXPECT_EQ(fit(router, seconds(60)), 46) << "four left in the last window, which was not clean";
  FederationRouter calm = router;
  calm.tick(seconds(120), actions);
  EXPECT_EQ(fit(calm, seconds(120)), 100);
  answer_one(router, RequestOutcome::rate_limited, seconds(70));  // one does not open the breaker
  router.tick(seconds(120), actions);
  EXPECT_EQ(fit(router, seconds(120)), 49) << "half still";
  router.tick(seconds(180), actions);
  EXPECT_EQ(fit(router, seconds(180)), 100);
}

// --- following ---------------------------------------------------------------------------------

TEST(FederationFollowing, ALeaderHasAtMostCoalesceMaxFollowers) {
  FederationConfig config = wide();
  config.coalesce_max = 3;
  FederationRouter router(config);
  router.apply(network("n", 100), Nanos{0});
  std::vector<bool> follows;
  for (int i = 0; i < 9; ++i) follows.push_back(router.apply(of(1, 7), Nanos{0}).is_follower);
  EXPECT_EQ(follows, (std::vector<bool>{false, true, true, true, false, true, true, true, false}));
  EXPECT_EQ(dispatched(router, Nanos{0}).size(), 3U) << "a call for each leader";
  FederationRouter usual(wide());
  usual.apply(network("n", 100), Nanos{0});
  for (int i = 0; i < 66; ++i) usual.apply(of(1, 7), Nanos{0});
  EXPECT_EQ(usual.counters().followers, 64U);
}

TEST(FederationFollowing, ALeaderTakesTheHighestPriorityOfThoseThatFollow) {
  FederationRouter router(wide());
  router.apply(network("n", 100), Nanos{0});
  const auto before = router.apply(of(1), Nanos{0}).id;
  const auto leader = router.apply(of(0, 7), Nanos{1}).id;
  EXPECT_TRUE(router.apply(of(3, 7), Nanos{2}).is_follower);
  EXPECT_TRUE(router.apply(of(0, 7), Nanos{3}).is_follower) << "and is not lowered again";
  const auto sent = dispatched(router, Nanos{4});
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(sent[0].request, leader);
  EXPECT_EQ(sent[1].request, before);
}

TEST(FederationFollowing, AnHeirTakesTheHighestPriorityOfThoseThatAreLeft) {
  FederationRouter router(wide());
  router.apply(network("n", 100), Nanos{0});
  const auto plain = router.apply(of(1), Nanos{0}).id;
  const auto leader = router.apply(of(0, 7), Nanos{1}).id;
  const auto heir = router.apply(of(0, 7), Nanos{2}).id;
  router.apply(of(3, 7), Nanos{3});
  router.apply(federation::Cancel{leader}, Nanos{4});
  const auto sent = dispatched(router, Nanos{5});
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(sent[0].request, heir);
  EXPECT_EQ(sent[1].request, plain);
  EXPECT_TRUE(router.verify());
}

// --- lending -----------------------------------------------------------------------------------

TEST(FederationLoans, ABusyLenderGetsBackOnlyWhatIsUnspent) {
  FederationRouter router(wide());
  router.apply(network("lender", 100), Nanos{0});
  router.apply(network("borrower", 10), Nanos{0});
  ASSERT_EQ(router.apply(Borrow{0, 1, 20, 10}, Nanos{0}).granted, 20U);
  ASSERT_EQ(router.effective_quota(1), 30U);
  spend(router, 1, 17, seconds(1));  // its own 10, and 7 that were lent
  EXPECT_EQ(router.apply(Reclaim{0}, seconds(2)).granted, 13U);
  EXPECT_EQ(router.effective_quota(1), 17U) << "what it has used";
  EXPECT_EQ(router.effective_quota(0), 93U);
  EXPECT_EQ(router.apply(Submit{1, 0, 3}, seconds(2)).refusal, Refusal::quota_exhausted);
  EXPECT_EQ(router.apply(Reclaim{0}, seconds(3)).granted, 0U) << "nothing unspent is left";
  FederationActions actions;
  router.tick(seconds(60), actions);
  EXPECT_EQ(router.effective_quota(0), 100U) << "the rest returns with the window";
  EXPECT_EQ(router.effective_quota(1), 10U);
  EXPECT_TRUE(router.verify());
}

// How many of one network leave in [begin, end), asked for at every 100 ms.
int sent_between(FederationRouter& router, std::uint32_t network, Nanos begin, Nanos end) {
  int sent = 0;
  for (Nanos now = begin; now < end; now += ms(100)) {
    Submit one = of(3);
    one.network = network;
    router.apply(one, now);
    for (const auto& out : dispatched(router, now)) {
      sent += out.network == network ? 1 : 0;
      router.apply(Complete{out.request}, now);
    }
    take_all(router);
  }
  return sent;
}

TEST(FederationLoans, OneBeyondTheBorrowersBurstIsSpentInItsTime) {
  FederationConfig config = wide();
  config.burst_ppm = 250'000;
  config.requester_share_ppm = 1'000'000;
  FederationRouter router(config);
  router.apply(network("lender", 100), Nanos{0});
  router.apply(network("borrower", 10), Nanos{0});
  ASSERT_EQ(router.apply(Borrow{0, 1, 20, 10}, seconds(1)).granted, 20U);
  EXPECT_EQ(sent_between(router, 1, seconds(1), seconds(60)), 30) << "its own ten and the twenty";
  FederationRouter without(config);
  without.apply(network("borrower", 10), Nanos{0});
  EXPECT_EQ(sent_between(without, 0, seconds(1), seconds(60)), 10);
}

TEST(FederationLoans, LendingToAndFroMakesNoRequests) {
  FederationConfig config = wide();
  config.burst_ppm = 500'000;
  FederationRouter router(config);
  for (const auto* name : {"a", "b"}) router.apply(network(name, 40), Nanos{0});
  const Nanos now = seconds(1);
  int sent = 0;
  for (int i = 0; i < 20; ++i) {
    for (std::uint32_t to = 0; to < 2; ++to) {
      sent += sent_between(router, to, now, now + ms(1));
      router.apply(Borrow{1 - to, to, 10, 0}, now);
      for (int k = 0; k < 40; ++k) sent += sent_between(router, to, now, now + ms(1));
      router.apply(Reclaim{1 - to}, now);
    }
  }
  EXPECT_LE(sent, 40) << "what both bursts hold, and at one instant nothing comes in";
  EXPECT_GE(sent, 38);
  EXPECT_TRUE(router.verify());
}

TEST(FederationLoans, TheSumOfTheQuotasStandsAtEveryStepWhateverIsSpent) {
  EXPECT_TRUE(rc::check("zero sum", [](std::uint64_t seed) {
    Rng rng(seed);
    FederationRouter router(wide());
    for (const auto* name : {"a", "b", "c"}) router.apply(network(name, 50, seconds(5)), Nanos{0});
    Nanos now{0};
    for (int i = 0; i < 200; ++i) {
      now += ms(static_cast<std::int64_t>(rng.below(200)));
      const auto one = static_cast<std::uint32_t>(rng.below(3));
      const auto other = static_cast<std::uint32_t>((one + 1 + rng.below(2)) % 3);
      switch (rng.below(4)) {
        case 0:
          router.apply(Borrow{one, other, 1 + rng.below(30), rng.below(60)}, now);
          break;
        case 1:
          router.apply(Reclaim{one}, now);
          break;
        default:
          router.apply(Submit{one, 0, 3}, now);
          for (const auto& sent : dispatched(router, now)) {
            router.apply(Complete{sent.request}, now);
          }
          take_all(router);
      }
      std::uint64_t sum = 0;
      for (std::uint32_t id = 0; id < 3; ++id) sum += router.effective_quota(id);
      RC_ASSERT(sum == 150U);
      RC_ASSERT(router.verify().has_value());
    }
  }));
}

TEST(FederationWindow, HoldsWithLoansInEveryWindowOfEveryNetwork) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    Rng rng(seed);
    FederationConfig config = FederationConfig::preset("balanced").value();
    config.queue_max = 64;
    FederationRouter router(config);
    for (const auto* name : {"a", "b"}) router.apply(network(name, 40, seconds(4)), Nanos{0});
    std::array<std::vector<Nanos>, 2> sends;
    for (Nanos now{0}; now < seconds(60); now += ms(20)) {
      const auto to = static_cast<std::uint32_t>(rng.below(2));
      router.apply(Submit{to, 0, static_cast<std::uint32_t>(rng.below(4))}, now);
      if (rng.below(40) == 0) router.apply(Borrow{to, 1 - to, 1 + rng.below(20), 5}, now);
      if (rng.below(60) == 0) router.apply(Reclaim{to}, now);
      for (const auto& one : dispatched(router, now)) {
        sends[one.network].push_back(now);
        router.apply(Complete{one.request}, now);
      }
      take_all(router);
    }
    // Both together stay within what both were granted: loans make no requests.
    std::vector<Nanos> all(sends[0]);
    all.insert(all.end(), sends[1].begin(), sends[1].end());
    std::sort(all.begin(), all.end());
    ASSERT_GT(all.size(), 500U);
    for (std::size_t i = 0; i < all.size(); ++i) {
      std::size_t within = 0;
      for (std::size_t k = i; k < all.size() && all[k] < all[i] + seconds(4); ++k) ++within;
      ASSERT_LE(within, 100U) << "seed " << seed << ": 2 * 40 * 1.25";
    }
  }
}

// --- planning ----------------------------------------------------------------------------------

TEST(FederationForecast, NamesItsRiskByTheShareOfTheQuota) {
  EXPECT_EQ(risk_of(0), QuotaRisk::low);
  EXPECT_EQ(risk_of(0.6999), QuotaRisk::low);
  EXPECT_EQ(risk_of(0.7), QuotaRisk::medium);
  EXPECT_EQ(risk_of(0.8999), QuotaRisk::medium);
  EXPECT_EQ(risk_of(0.9), QuotaRisk::high);
  EXPECT_EQ(risk_of(0.9999), QuotaRisk::high);
  EXPECT_EQ(risk_of(1), QuotaRisk::critical);
  EXPECT_EQ(risk_of(7), QuotaRisk::critical);
}

// `rates[i]` requests in the i-th sixth of a window of 6 s; the router after the last of them.
FederationRouter after(std::span<const int> rates) {
  FederationRouter router(wide());
  router.apply(network("n", 1'000, seconds(6)), Nanos{0});
  FederationActions actions;
  for (std::size_t i = 0; i < rates.size(); ++i) {
    const Nanos now = seconds(static_cast<std::int64_t>(i));
    spend(router, 0, rates[i], now + ms(1));
    router.tick(now + seconds(1), actions);
  }
  return router;
}

TEST(FederationForecast, FitsALineToItsOwnSamples) {
  const std::array rates{10, 12, 14, 16, 18, 20};  // 60, 72 .. 120 a window; 12 more each second
  auto router = after(rates);
  const auto forecast = router.forecast(0, seconds(10));
  EXPECT_FALSE(forecast.low_confidence);
  // The rate at second i + 1 is 60 + 12 i: 48 + 12 t; now is 6, the middle of the horizon 11.
  EXPECT_NEAR(forecast.mean, 48 + 12 * 11, 1e-6);
  EXPECT_NEAR(forecast.share, 0.18, 1e-9);
  EXPECT_EQ(forecast.risk, QuotaRisk::low);
  EXPECT_NEAR(forecast.exhaust_at_s, (1'000 - 48) / 12.0, 1e-6);
  EXPECT_EQ(router.forecast(0, seconds(140)).risk, QuotaRisk::high) << "48 + 12 * 76 = 960";
  EXPECT_EQ(router.forecast(0, seconds(128)).risk, QuotaRisk::medium) << "888";
  EXPECT_EQ(router.forecast(0, seconds(160)).risk, QuotaRisk::critical) << "1080";
}

TEST(FederationForecast, IsTheLevelWhereNoLineExplainsTheSamples) {
  const std::array rates{10, 30, 10, 30, 10, 30, 10, 30};
  auto router = after(rates);
  const auto forecast = router.forecast(0, seconds(1'000));
  EXPECT_TRUE(forecast.low_confidence) << "r2 is below .3";
  double level = 0;  // an EWMA of .3 from 0
  for (const int rate : rates) level += 0.3 * (6.0 * rate - level);
  EXPECT_NEAR(forecast.mean, level, 1e-9);
  EXPECT_EQ(forecast.exhaust_at_s, -1) << "it says no instant that it does not know";
}

TEST(FederationForecast, IsTheLevelWhereSamplesAreTooFew) {
  const std::array rates{10, 20, 30, 40};
  EXPECT_TRUE(after(rates).forecast(0, seconds(10)).low_confidence) << "four";
  const std::array more{10, 20, 30, 40, 50};
  EXPECT_FALSE(after(more).forecast(0, seconds(10)).low_confidence) << "five";
}

TEST(FederationEvents, TellOnceAWindowOfEachPriorityThatIsShed) {
  FederationConfig config = wide();
  config.shed_ppm = {500'000, 250'000, 100'000};
  FederationRouter router(config);
  router.apply(network("n", 100), Nanos{0});
  const auto is_shed = [&](std::uint32_t priority, Nanos now) {
    return router.apply(of(priority), now).refusal == Refusal::rejected_pressure;
  };
  spend(router, 0, 60, seconds(1));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(is_shed(0, seconds(2)));
  spend(router, 0, 32, seconds(3));
  for (const std::uint32_t priority : {0U, 1U, 2U, 1U, 0U}) {
    EXPECT_TRUE(is_shed(priority, seconds(4))) << priority;
  }
  auto again = FederationRouter::restore(config, router.snapshot());
  ASSERT_TRUE(again.has_value());
  const auto said = [&] {
    std::size_t count = 0;
    again->events().after(0, [&](const EventRecord& /*event*/) { ++count; });
    return count;
  };
  const std::size_t before = said();
  EXPECT_EQ(again->apply(of(2), seconds(5)).refusal, Refusal::rejected_pressure);
  EXPECT_EQ(said(), before) << "a restored one knows what it has told";
  FederationActions actions;
  router.tick(seconds(61), actions);  // what is left of the last window's is still most of it
  EXPECT_TRUE(is_shed(1, seconds(61)));
  EXPECT_TRUE(is_shed(0, seconds(61)));
  EXPECT_EQ(router.counters().shed, 10U);
  std::vector<std::array<std::uint64_t, 2>> told;  // which, and what was left
  router.events().after(0, [&](const EventRecord& event) {
    EXPECT_EQ(event.kind, static_cast<std::uint16_t>(FederationRouter::Event::shed));
    EXPECT_EQ(event.severity, Severity::warning);
    EXPECT_EQ(event.a, 0U) << "the network";
    told.push_back({event.b, event.c});
  });
  ASSERT_EQ(told.size(), 4U);
  EXPECT_EQ(told[0], (std::array<std::uint64_t, 2>{0, 400'000}));
  EXPECT_EQ(told[1], (std::array<std::uint64_t, 2>{1, 80'000}));
  EXPECT_EQ(told[2], (std::array<std::uint64_t, 2>{2, 80'000}));
  EXPECT_EQ(told[3][0], 1U) << "anew in a new window";
}

TEST(FederationEvents, TellThatABreakerHasOpenedAndUntilWhen) {
  FederationRouter router(wide());
  router.apply(network("n", 100), Nanos{0});
  for (int i = 0; i < 3; ++i) {
    router.apply(of(3), seconds(1));
    for (const auto& one : dispatched(router, seconds(1))) {
      router.apply(Complete{one.request, RequestOutcome::rate_limited, seconds(5)}, seconds(1));
    }
  }
  std::vector<EventRecord> told;
  router.events().after(0, [&](const EventRecord& event) { told.push_back(event); });
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].kind, static_cast<std::uint16_t>(FederationRouter::Event::breaker_opened));
  EXPECT_EQ(told[0].severity, Severity::warning);
  EXPECT_EQ(told[0].a, 0U);
  EXPECT_EQ(told[0].b, static_cast<std::uint64_t>(seconds(6).count()));
}

}  // namespace of_federation_rules_test
}  // namespace mesh::coordination
