#include "engine/coordination/client_throttle.hpp"

#include <vector>

#include "engine/coordination/throttle_governor.hpp"
#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination {
namespace of_client_throttle_test {

using testing::golden;
using testing::Json;
using testing::matches;

TEST(ClientThrottle, RefusesInProportionToWhatIsNotAccepted) {
  const auto [inputs, expected] = golden("circuit_breaker", "adaptive_client_throttle");
  Json probabilities = Json::array();
  for (const auto& row : inputs.at("requests_accepts")) {
    probabilities.push_back(reject_probability(row.at(0), row.at(1), inputs.at("k")));
  }
  EXPECT_TRUE(matches(expected, probabilities));
}

TEST(ClientThrottle, SendsTwiceWhatABackendAccepts) {
  ClientThrottle throttle(2, Nanos{10 * kNsPerSecond}, 1);
  int sent = 0;
  int room = 0;  // in tenths: the backend takes 100 a second of the 1,000 that are asked for
  for (int ms = 0; ms < 100'000; ++ms) {
    const Nanos now{ms * kNsPerMs};
    room = std::min(room + 1, 100);
    if (!throttle.should_send(now)) continue;
    ++sent;
    const bool accepted = room >= 10;
    room -= accepted ? 10 : 0;
    throttle.record(accepted, now);
  }
  EXPECT_NEAR(sent, 20'000, 5'000);
}

TEST(BreakerGroup, KeepsTheWorstOutAndNeverEverybody) {
  BreakerGroup group(10);
  std::vector<BreakerScore> scores(10);
  scores[2] = {true, 400'000};
  scores[5] = {true, 900'000};
  scores[7] = {true, 400'000};
  scores[9] = {true, 300'000};
  group.select(scores);
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < 10; ++i) {
    if (group.is_ejected(i)) out.push_back(i);
  }
  EXPECT_EQ(out, (std::vector<std::size_t>{2, 5, 7}));
  EXPECT_FALSE(group.in_panic());
}

TEST(BreakerGroup, LetsEverybodyInWhenMostAreOpen) {
  BreakerGroup group(10);
  std::vector<BreakerScore> scores(10);
  for (std::size_t i = 0; i < 5; ++i) scores[i] = {true, 1};
  group.select(scores);
  EXPECT_FALSE(group.in_panic());
  scores[5] = {true, 1};
  group.select(scores);
  EXPECT_TRUE(group.in_panic());
  for (std::size_t i = 0; i < 10; ++i) EXPECT_FALSE(group.is_ejected(i));
}

// --- a tenant's requests, granted ahead of time ------------------------------------------------

using throttle::ReportSpent;
using throttle::WantCredit;

ThrottleConfig forty() {
  ThrottleConfig config;
  config.initial_rate = 40;
  return config;
}

TEST(TenantCredit, ComesFromTheTenantsOwnBucketAndLapsesUnspent) {
  AdaptiveThrottleGovernor governor(forty());
  const auto tenant = governor.apply(throttle::SetTenant{"a"}, Nanos{0}).tenant;
  const auto reply = governor.apply(WantCredit{tenant, 1, 100}, Nanos{0});
  EXPECT_EQ(reply.grant.granted, 10U) << "a quarter of its second's worth for one station";
  EXPECT_EQ(reply.grant.expires_ns, 20 * kNsPerMs);
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(governor.should_allow(tenant, Nanos{0}).refusal, Refusal::none);
  }
  EXPECT_EQ(governor.should_allow(tenant, Nanos{0}).refusal, Refusal::rejected_rate);
  EXPECT_EQ(governor.apply(WantCredit{tenant, 2, 1}, Nanos{0}).refusal, Refusal::no_credit);
  CreditPurse purse;
  purse.add(reply.grant);
  for (int i = 0; i < 7; ++i) EXPECT_TRUE(purse.spend(0));
  EXPECT_FALSE(purse.spend(20 * kNsPerMs)) << "after its expiry";
  governor.apply(ReportSpent{tenant, 1, purse.take_report()}, Nanos{kNsPerMs});
  EXPECT_EQ(governor.counters().allowed, 37U);
  ThrottleActions actions;
  for (int i = 1; i <= 2; ++i) {
    governor.tick(Nanos{500 * i * kNsPerMs}, actions);
    governor.apply(WantCredit{tenant, 3, 1}, Nanos{500 * i * kNsPerMs});
  }
  const auto audit = governor.audit(tenant);
  EXPECT_EQ(audit.spent, 7U);
  EXPECT_GE(audit.lapsed, 3U);
  EXPECT_TRUE(audit.is_balanced());
  EXPECT_TRUE(governor.verify());
}

TEST(TenantCredit, OfADeadStationGoesBackAtOnce) {
  AdaptiveThrottleGovernor governor(forty());
  governor.apply(throttle::SetTenant{"a"}, Nanos{0});
  governor.apply(WantCredit{0, 1, 10}, Nanos{0});
  governor.apply(throttle::StationClosed{1}, Nanos{0});
  int allowed = 0;
  while (governor.should_allow(0, Nanos{0}).refusal == Refusal::none) ++allowed;
  EXPECT_EQ(allowed, 40);
  testing::expect_all_refused<AdaptiveThrottleGovernor>(
      governor, {{"credit of nobody", WantCredit{9, 1, 1}, Errc::not_found},
                 {"a report of nobody", ReportSpent{9, 1, 1}, Errc::not_found}});
  EXPECT_EQ(governor.apply(WantCredit{0, 1, 0}, Nanos{0}).refusal, Refusal::no_credit);
}

TEST(TenantCredit, NeverAdmitsMoreThanTheRateWhateverStationsDo) {
  ThrottleConfig config = forty();
  config.min_samples = 1'000'000;  // the rate stands still
  AdaptiveThrottleGovernor governor(config);
  governor.apply(throttle::SetTenant{"a"}, Nanos{0});
  Rng rng(3);
  std::vector<CreditPurse> stations(5);
  std::vector<std::int64_t> admitted;
  ThrottleActions actions;
  for (std::int64_t ms = 0; ms < 20'000; ++ms) {
    const Nanos now{ms * kNsPerMs};
    const auto at = static_cast<std::uint32_t>(rng.below(stations.size()));
    CreditPurse& purse = stations[at];
    if (purse.left(now.count()) == 0) {
      const auto reply = governor.apply(WantCredit{0, at, 1 + rng.below(8)}, now);
      purse.add(reply.grant);
    }
    if (purse.spend(now.count())) admitted.push_back(now.count());
    if (rng.below(50) == 0) governor.apply(ReportSpent{0, at, purse.take_report()}, now);
    if (rng.below(4) == 0 && governor.should_allow(0, now).refusal == Refusal::none) {
      admitted.push_back(now.count());
    }
    governor.tick(now, actions);
    ASSERT_TRUE(governor.audit(0).is_balanced());
  }
  // In any window w: at most rate (w + expiry) + burst.
  for (std::size_t i = 0; i < admitted.size(); ++i) {
    for (std::size_t k = i; k < admitted.size(); k += 7) {
      const double w = static_cast<double>(admitted[k] - admitted[i]) * 1e-9;
      ASSERT_LE(static_cast<double>(k - i + 1), 40 * (w + 0.02) + 40 + 1e-9);
    }
  }
  EXPECT_GT(admitted.size(), 600U);
}

}  // namespace of_client_throttle_test
}  // namespace mesh::coordination
