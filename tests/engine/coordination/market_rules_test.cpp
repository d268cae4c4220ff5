// Rules of the market that stand in no golden: one behaviour a test, each with the number that it
// goes by.
#include <algorithm>
#include <cmath>
#include <map>

#include "tests/engine/coordination/auction_kit.hpp"
#include "tests/engine/coordination/contention_kit.hpp"
#include "tests/engine/coordination/pool_kit.hpp"
#include "tests/engine/coordination/token_kit.hpp"

namespace mesh::coordination {
namespace of_market_rules_test {

using testing::amount;
using testing::ask;
using testing::bid;
using testing::plain_pool;
using testing::pool_s;
using testing::small_arbiter;
using testing::small_economy;
using testing::small_house;
using testing::small_pools;
using testing::token_s;
using testing::units;
using testing::units_of;
using Arbiter = ResourceContentionArbiter;
using Pools = ResourcePoolManager;

Nanos seconds(std::int64_t count) { return Nanos{count * kNsPerSecond}; }

// --- auctions ----------------------------------------------------------------------------------

TEST(AuctionRules, ReputationCountsInTheScoreByItsWeight) {
  auto config = small_house();
  config.terms.w_reputation = 1'000;
  TaskAuction house(config);
  house.apply(auction::SetAgent{1, 0, 500'000}, Nanos{0});
  house.apply(auction::Open{"task", 0}, Nanos{0});
  house.apply(bid(0, 100), Nanos{0});
  house.apply(bid(1, 300), Nanos{0});
  const auto won = house.apply(auction::Resolve{0, true}, Nanos{0}).winners.at(0);
  EXPECT_EQ(won.agent, 1U) << "dearer, and of a name";
  EXPECT_EQ(won.score, 200) << "500 - 300";
  EXPECT_EQ(won.amount, 600) << "so much dearer it could have been: 500 - (0 - 100)";
}

TEST(AuctionRules, ExtendsNoMoreOftenThanItsLimit) {
  auto config = small_house("open-market");
  config.rules.max_extensions = 2;
  TaskAuction house(config);
  house.apply(auction::Open{"gpu", 0}, Nanos{0});
  Nanos at = house.view(0).ends;
  for (const int price : {10, 20, 30}) {
    house.apply(bid(0, price), at);
    at = price == 30 ? at : house.view(0).ends;
  }
  EXPECT_EQ(house.counters().extensions, 2U);
  EXPECT_EQ(house.view(0).ends, seconds(31)) << "half a second, twice";
}

TEST(AuctionRules, WhoBidsAloneIsPaidTheReserveOrItsOwnPrice) {
  const auto amount_alone = [](std::string_view preset, bool has_reserve) {
    auto config = small_house(preset);
    config.rules.has_reserve = has_reserve;
    config.rules.reserve = 40;
    TaskAuction house(config);
    house.apply(auction::Open{"t", 0}, Nanos{0});
    house.apply(bid(0, preset == "resource-sale" ? 70 : 25), Nanos{0});
    return house.apply(auction::Resolve{0, true}, Nanos{0}).winners.at(0).amount;
  };
  EXPECT_EQ(amount_alone("task-assignment", true), 40);
  EXPECT_EQ(amount_alone("task-assignment", false), 25);
  EXPECT_EQ(amount_alone("resource-sale", true), 40);
  EXPECT_EQ(amount_alone("resource-sale", false), 70);
  EXPECT_EQ(amount_alone("fast-dispatch", true), 25) << "sealed first: what it asked";
}

TEST(AuctionRules, OneAgentMayBidSeveralTimesWhereTheTermsSaySo) {
  for (const bool is_one : {true, false}) {
    auto config = small_house("resource-sale");
    config.terms.one_bid_per_agent = is_one;
    config.terms.quantity = 2;
    TaskAuction house(config);
    house.apply(auction::Open{"gpu", 0}, Nanos{0});
    house.apply(bid(0, 90), Nanos{0});
    house.apply(bid(1, 50), Nanos{0});
    house.apply(bid(0, 80), Nanos{0});
    EXPECT_EQ(house.view(0).bids, is_one ? 2U : 3U);
    const auto winners = house.apply(auction::Resolve{0, true}, Nanos{0}).winners;
    ASSERT_EQ(winners.size(), 2U);
    EXPECT_EQ(winners[0].agent, 0U);
    EXPECT_EQ(winners[1].agent, is_one ? 1U : 0U);
  }
}

TEST(AuctionRules, AnOpenFormatSellsNothingBeyondItsReserve) {
  for (const auto direction : {AuctionDirection::forward, AuctionDirection::reverse}) {
    const bool rises = direction == AuctionDirection::forward;
    auto config = small_house("open-market");
    config.rules.direction = direction;
    config.rules.has_reserve = true;
    config.rules.reserve = 100;
    TaskAuction house(config);
    house.apply(auction::Open{"gpu", 0}, Nanos{0});
    const auto refused = house.apply(bid(0, rises ? 99 : 101), Nanos{0});
    EXPECT_EQ(refused.refusal, Refusal::rejected_policy);
    EXPECT_EQ(refused.minimum, 100);
    EXPECT_EQ(house.apply(bid(0, 100), Nanos{0}).refusal, Refusal::none);
    auto clock = config;
    clock.rules.format = AuctionFormat::open_descending;
    clock.terms.start_price = rises ? 200 : 20;
    clock.terms.rate_per_s = 10;
    TaskAuction dutch(clock);
    dutch.apply(auction::Open{"gpu", 0}, Nanos{0});
    EXPECT_EQ(dutch.clock_price(0, seconds(5)), rises ? 150 : 70);
    EXPECT_EQ(dutch.clock_price(0, seconds(29)), 100) << "it stops there";
  }
}

TEST(AuctionRules, ARevealNeedsTheDepositThatItsPriceTakes) {
  auto config = small_house();
  config.terms.sealed_commit = true;
  config.terms.deposit_ppm = 100'000;
  TaskAuction house(config);
  house.apply(auction::Open{"task", 0}, Nanos{0});
  const auction::Reveal reveal{0, 3, 500, Nanos{0}, 7};
  house.apply(auction::Commit{0, 3, commitment_of(reveal), 49}, Nanos{0});
  const auction::Reveal other{0, 4, 490, Nanos{0}, 7};
  house.apply(auction::Commit{0, 4, commitment_of(other), 49}, Nanos{0});
  TaskAuctionActions actions;
  house.tick(seconds(6), actions);
  EXPECT_EQ(house.apply(reveal, seconds(6)).code, Errc::insufficient_balance) << "a tenth is 50";
  EXPECT_EQ(house.apply(other, seconds(6)).code, Errc::ok);
}

// --- arbiter -----------------------------------------------------------------------------------

Arbiter with_gpu(const ContentionConfig& config, std::uint64_t capacity, bool divisible = false) {
  Arbiter arbiter(config);
  arbiter.apply(contention::RegisterResource{"gpu", capacity, divisible, true, ""}, Nanos{0});
  return arbiter;
}
std::vector<ArbiterNews> tick(Arbiter& arbiter, Nanos now) {
  ContentionActions actions;
  arbiter.tick(now, actions);
  return actions.news;
}
std::uint64_t events_of(const Arbiter& arbiter, Arbiter::Event kind) {
  std::uint64_t count = 0;
  arbiter.events().after(0, [&](const EventRecord& event) {
    count += event.kind == static_cast<std::uint16_t>(kind) ? 1U : 0U;
  });
  return count;
}
ContentionConfig patient(std::string_view preset = "fair-share") {
  auto config = small_arbiter(preset);
  config.max_hold_ns = seconds(36'000);
  config.events_max = 256;
  return config;
}

// Agents 0 to 6 hold one unit each, and agent 7 wants all seven or nothing. Agent 6 gives its unit
// back and takes it again: each round goes past agent 7.
class PassedBy {
 public:
  PassedBy() : arbiter(with_gpu(patient(), 7)) {
    for (std::uint32_t agent = 0; agent < 7; ++agent) {
      held_ = arbiter.apply(ask(agent, 1), Nanos{0}).allocation;
    }
    arbiter.apply(ask(7, 7), Nanos{0});
  }
  void until(Nanos end) {
    while (now_ < end) {
      now_ += seconds(5);
      arbiter.apply(contention::Release{held_, 0}, now_);
      arbiter.apply(ask(6, 1), now_);
      for (const auto& news : tick(arbiter, now_ + testing::arbiter_ms(60))) {
        if (news.kind == ArbiterNotice::granted && news.agent == 6) held_ = news.allocation;
      }
    }
  }
  Arbiter arbiter;

 private:
  Nanos now_{0};
  std::uint64_t held_ = 0;
};

TEST(ArbiterRules, WhoIsPassedByForLongMakesItSevereHoweverEvenTheOthersAre) {
  PassedBy passed;
  passed.until(seconds(60));
  EXPECT_EQ(passed.arbiter.view(0).severity, Contention::none) << "one of eight: Gini 0.125";
  passed.until(seconds(120));
  EXPECT_EQ(passed.arbiter.view(0).severity, Contention::moderate) << "a minute below 0.3";
  passed.until(seconds(300));
  EXPECT_EQ(passed.arbiter.view(0).severity, Contention::severe) << "three of them";
  EXPECT_EQ(events_of(passed.arbiter, Arbiter::Event::severity), 2U);
}

TEST(ArbiterRules, SeverityGoesByGiniOverWhatEachGotOfWhatItAsked) {
  Arbiter arbiter = with_gpu(patient(), 3);
  for (std::uint32_t agent = 0; agent < 3; ++agent) arbiter.apply(ask(agent, 1), Nanos{0});
  tick(arbiter, Nanos{1});
  EXPECT_EQ(arbiter.view(0).severity, Contention::none);
  arbiter.apply(ask(3, 1), Nanos{1});
  tick(arbiter, Nanos{2});
  EXPECT_EQ(arbiter.view(0).severity, Contention::mild) << "[0, 1, 1, 1]: 0.25";
  for (std::uint32_t agent = 4; agent < 6; ++agent) arbiter.apply(ask(agent, 1), Nanos{2});
  tick(arbiter, Nanos{3});
  EXPECT_EQ(arbiter.view(0).severity, Contention::moderate) << "three of six: 0.5";
  for (std::uint32_t agent = 6; agent < 8; ++agent) arbiter.apply(ask(agent, 1), Nanos{3});
  tick(arbiter, Nanos{4});
  EXPECT_EQ(arbiter.view(0).severity, Contention::severe) << "five of eight: 0.625";
}

// Its bargaining power is doubled, and no longer than until it is served.
TEST(ArbiterRules, AStarvedAgentGetsTwoToOneUntilItIsServedOnce) {
  constexpr std::uint64_t kAll = 9'000'000;
  Arbiter arbiter = with_gpu(patient(), kAll, true);
  Nanos now{0};
  auto held = arbiter.apply(ask(6, kAll), now).allocation;
  const std::uint64_t ticket = arbiter.apply(ask(7, kAll), now).ticket;
  for (int i = 0; i < 20; ++i) {  // every round goes past agent 7
    now += seconds(5);
    arbiter.apply(contention::Release{held, 0}, now);
    arbiter.apply(ask(6, kAll, 10), now);
    for (const auto& news : tick(arbiter, now + testing::arbiter_ms(60))) {
      if (news.agent == 6) held = news.allocation;
    }
  }
  arbiter.apply(contention::Cancel{ticket, 0}, now);
  ASSERT_TRUE(arbiter.is_starved(7, now));
  // One round of agents 0 and 7, who would take any part of it.
  const auto shares = [&] {
    now += seconds(1);
    arbiter.apply(ask(0, kAll, 0, 1'000'000), now);
    arbiter.apply(ask(7, kAll, 0, 1'000'000), now);
    arbiter.apply(contention::Release{held, 0}, now);
    std::map<std::uint32_t, std::uint64_t> all;
    std::vector<std::uint64_t> allocations;
    for (const auto& news : tick(arbiter, now + testing::arbiter_ms(60))) {
      if (news.kind != ArbiterNotice::granted) continue;
      all[news.agent] = news.granted;
      allocations.push_back(news.allocation);
    }
    now += seconds(1);
    for (const auto one : allocations) arbiter.apply(contention::Release{one, 0}, now);
    held = arbiter.apply(ask(6, kAll), now).allocation;
    return all;
  };
  EXPECT_EQ(shares(), (std::map<std::uint32_t, std::uint64_t>{{0, kAll / 3}, {7, kAll / 3 * 2}}));
  EXPECT_FALSE(arbiter.is_starved(7, now));
  EXPECT_EQ(shares(), (std::map<std::uint32_t, std::uint64_t>{{0, kAll / 2}, {7, kAll / 2}}));
}

TEST(ArbiterRules, WaitingHalfAMinuteIsWorthOnePriority) {
  auto config = patient("priority-driven");
  config.preempts = false;
  config.wait_die = WaitDie::off;
  for (const std::int64_t waited_s : {29, 31}) {
    Arbiter arbiter = with_gpu(config, 4);
    const auto all = arbiter.apply(ask(7, 4), Nanos{0});
    arbiter.apply(ask(5, 4, 1), Nanos{0});
    arbiter.apply(ask(1, 4, 1), seconds(waited_s));
    arbiter.apply(contention::Release{all.allocation, 0}, seconds(waited_s));
    const auto news = tick(arbiter, seconds(waited_s) + testing::arbiter_ms(60));
    ASSERT_EQ(news.size(), 1U);
    EXPECT_EQ(news[0].agent, waited_s == 31 ? 5U : 1U) << "of two alike the lower number";
  }
}

TEST(ArbiterRules, PreemptsFromTwoPrioritiesAboveOnAndNotFromOne) {
  Arbiter arbiter = with_gpu(patient("priority-driven"), 4);
  arbiter.apply(ask(0, 4, 3), Nanos{0});
  const auto vain = arbiter.apply(ask(1, 4, 4), Nanos{0});
  EXPECT_TRUE(tick(arbiter, testing::arbiter_ms(60)).empty());
  arbiter.apply(contention::Cancel{vain.ticket, 0}, testing::arbiter_ms(70));
  arbiter.apply(ask(2, 4, 5), testing::arbiter_ms(70));
  const auto news = tick(arbiter, testing::arbiter_ms(130));
  ASSERT_EQ(news.size(), 1U);
  EXPECT_EQ(news[0].kind, ArbiterNotice::warned);
  EXPECT_EQ(events_of(arbiter, Arbiter::Event::preempted), 1U);
}

TEST(ArbiterRules, AForecastSeesAFallAndSaysHowLikelyContentionIs) {
  auto config = patient();
  config.ewma = 1;
  Arbiter arbiter = with_gpu(config, 1'000);
  std::vector<std::uint64_t> held;
  for (int i = 0; i < 20; ++i) held.push_back(arbiter.apply(ask(0, 25), Nanos{0}).allocation);
  for (int i = 0; i < 20; ++i) tick(arbiter, seconds(i));
  auto forecast = arbiter.forecast(0, seconds(20));
  EXPECT_EQ(forecast.trend, Trend::stable);
  EXPECT_DOUBLE_EQ(forecast.predicted, 500);
  EXPECT_NEAR(forecast.contention_probability, 1 / (1 + std::exp(3.0)), 1e-12);
  for (int i = 0; i < 20; ++i) {
    arbiter.apply(contention::Release{held[static_cast<std::size_t>(i)], 0}, seconds(20 + i));
    tick(arbiter, seconds(20 + i));
  }
  forecast = arbiter.forecast(0, seconds(40));
  EXPECT_EQ(forecast.trend, Trend::falling);
  EXPECT_DOUBLE_EQ(forecast.predicted, 0) << "below nothing it does not go";
  EXPECT_NEAR(forecast.contention_probability, 1 / (1 + std::exp(6.0)), 1e-12);
}

// --- pools -------------------------------------------------------------------------------------

TEST(PoolRules, NobodyWaitsInAQueueThatIsFull) {
  Pools pools(small_pools());
  auto order = plain_pool(4);
  order.rules.queue_max = 1;
  pools.apply(order, Nanos{0});
  pools.apply(units(0, 0, 4), Nanos{0});
  auto wanted = units(1, 0, 1);
  wanted.wait = pool_s(60);
  EXPECT_NE(pools.apply(wanted, Nanos{0}).ticket, 0U);
  wanted.agent = 2;
  testing::expect_all_refused<Pools>(pools, {{"queue full", wanted, Errc::capacity}});
}

TEST(PoolRules, ARenewedLeaseEndsLater) {
  Pools pools(small_pools());
  pools.apply(plain_pool(4), Nanos{0});
  auto wanted = units(0, 0, 4);
  wanted.lease = pool_s(10);
  const auto held = pools.apply(wanted, Nanos{0});
  EXPECT_EQ(pools.apply(pool::Renew{held.reservation, Nanos{0}, 0}, pool_s(9)).expires, pool_s(19));
  ResourcePoolActions actions;
  pools.tick(pool_s(18.9), actions);
  EXPECT_EQ(pools.view(0).free, 0U);
  pools.tick(pool_s(19), actions);
  EXPECT_EQ(pools.view(0).free, 4U);
  EXPECT_EQ(pools.apply(pool::Renew{held.reservation, Nanos{0}, 0}, pool_s(20)).code,
            Errc::expired);
}

TEST(PoolRules, AReservationGrowsWhereThereIsRoomAndShrinksAlways) {
  Pools pools(small_pools());
  auto order = plain_pool(8);
  order.rules.agent_max_ppm = 750'000;
  pools.apply(order, Nanos{0});
  const auto held = pools.apply(units(0, 0, 2), Nanos{0});
  const auto grown = pools.apply(pool::Resize{held.reservation, 5, 0}, Nanos{0});
  EXPECT_EQ(grown.granted, 5U);
  EXPECT_EQ(grown.fence, held.fence) << "it is the same one";
  EXPECT_EQ(pools.apply(pool::Resize{held.reservation, 7, 0}, Nanos{0}).refusal,
            Refusal::rejected_policy)
      << "six are all that one agent may have";
  pools.apply(units(1, 0, 3), Nanos{0});
  EXPECT_EQ(pools.apply(pool::Resize{held.reservation, 6, 0}, Nanos{0}).refusal,
            Refusal::would_block);
  auto waits = units(2, 0, 4);
  waits.wait = pool_s(60);
  pools.apply(waits, Nanos{0});
  const auto shrunk = pools.apply(pool::Resize{held.reservation, 1, 0}, Nanos{0});
  ASSERT_EQ(shrunk.news.size(), 1U);
  EXPECT_EQ(shrunk.news[0].agent, 2U) << "what it gave up is handed on";
  EXPECT_TRUE(pools.verify());
}

// --- tokens ------------------------------------------------------------------------------------

TEST(TokenRules, NothingIsBoughtOrSoldForLessThanWasAskedFor) {
  TokenEconomy economy(small_economy());
  economy.apply(token::DepositReserve{0, units_of(1'000'000)}, Nanos{0});
  const auto bought = economy.apply(token::Buy{0, units_of(1'000), {}}, Nanos{0}).tokens;
  economy.apply(token::Sell{0, bought, {}}, Nanos{0});
  auto more = bought;
  ++more.low;
  const auto hash = economy.state_hash();
  EXPECT_EQ(economy.apply(token::Buy{0, units_of(1'000), more}, Nanos{0}).refusal,
            Refusal::rejected_policy);
  EXPECT_EQ(economy.state_hash(), hash);
  ASSERT_EQ(economy.apply(token::Buy{0, units_of(1'000), {}}, Nanos{0}).code, Errc::ok);
  EXPECT_EQ(economy.apply(token::Sell{0, units_of(1'000), units_of(1'000'000)}, Nanos{0}).refusal,
            Refusal::rejected_policy);
  EXPECT_EQ(economy.counters().rejected_policy, 2U);
}

TEST(TokenRules, LaterLiquidityCountsByItsSmallerShareAndComesBackInProportion) {
  TokenEconomy economy(small_economy());
  for (std::uint32_t i = 0; i < 2; ++i) {
    economy.apply(token::DepositReserve{i, units_of(100'000'000)}, Nanos{0});
    economy.apply(token::Mint{i, units_of(1'000'000), 0}, Nanos{0});
  }
  economy.apply(token::AddLiquidity{0, units_of(40'000), units_of(90'000), {}}, Nanos{0});
  EXPECT_EQ(economy.view().pool_shares.low, 60'000U) << "the root of their product";
  const auto added =
      economy.apply(token::AddLiquidity{1, units_of(20'000), units_of(90'000), {}}, Nanos{0});
  EXPECT_EQ(added.tokens.low, 30'000U) << "half of the tokens: half of the shares";
  EXPECT_EQ(economy
                .apply(token::AddLiquidity{1, units_of(20'000), units_of(90'000), units_of(30'001)},
                       Nanos{0})
                .refusal,
            Refusal::rejected_policy);
  const auto back = economy.apply(token::RemoveLiquidity{1, units_of(30'000)}, Nanos{0});
  EXPECT_EQ(back.tokens.low, 20'000U) << "a third of 60000";
  EXPECT_EQ(back.reserve.low, 60'000U) << "a third of 180000: what was too much stays";
  EXPECT_TRUE(economy.verify());
}

TEST(TokenRules, AfterItsTimeAChannelIsPaidAndNothingChallengesIt) {
  auto config = small_economy();
  config.burn_ppm = 0;
  TokenEconomy economy(config);
  for (std::uint32_t i = 0; i < 2; ++i) {
    economy.apply(token::SetKey{i, testing::key_of(i)}, Nanos{0});
    economy.apply(token::DepositReserve{i, units_of(1'000'000)}, Nanos{0});
    economy.apply(token::Mint{i, units_of(100), 0}, Nanos{0});
  }
  const auto id = economy.apply(token::OpenChannel{0, 1, units_of(60), units_of(40)}, Nanos{0}).id;
  const auto old = testing::signed_state({id, 1, units_of(60), units_of(40)}, 0, 1);
  const auto newer = testing::signed_state({id, 2, units_of(10), units_of(90)}, 0, 1);
  ASSERT_EQ(economy.apply(token::CloseChannel{0, old}, Nanos{0}).until, token_s(20));
  EXPECT_EQ(economy.apply(token::Challenge{1, newer}, token_s(20)).code, Errc::not_found);
  EXPECT_EQ(economy.balance(0).free.low, 100U);
  EXPECT_EQ(economy.balance(1).free.low, 100U);
}

// Where every unit is: each place that there is has something in it.
TEST(TokenRules, TheBooksNameEachPlaceAndAddUp) {
  auto config = small_economy();
  config.burn_ppm = 0;
  TokenEconomy economy(config);
  for (std::uint32_t i = 0; i < 2; ++i) {
    economy.apply(token::SetKey{i, testing::key_of(i)}, Nanos{0});
    economy.apply(token::DepositReserve{i, units_of(100'000'000)}, Nanos{0});
    economy.apply(token::Mint{i, units_of(1'000'000), 0}, Nanos{0});
  }
  economy.apply(token::Stake{0, units_of(5'000), 0}, Nanos{0});
  economy.apply(token::Reward{units_of(70), 1}, Nanos{0});
  economy.apply(token::Unstake{0, units_of(1'000)}, Nanos{0});
  economy.apply(token::OpenChannel{0, 1, units_of(60), units_of(40)}, Nanos{0});
  economy.apply(token::OpenEscrow{1, units_of(77)}, Nanos{0});
  economy.apply(token::AddLiquidity{0, units_of(40'000), units_of(90'000), {}}, Nanos{0});
  economy.apply(token::Burn{1, units_of(9)}, Nanos{0});
  const TokenBooks books = economy.books();
  EXPECT_EQ(books.staked, units_of(4'000));
  EXPECT_EQ(books.unbonding, units_of(1'000));
  EXPECT_EQ(books.rewards, units_of(70));
  EXPECT_EQ(books.channels, units_of(100));
  EXPECT_EQ(books.escrow, units_of(77));
  EXPECT_EQ(books.pool, units_of(40'000));
  EXPECT_EQ(books.burned, units_of(9));
  EXPECT_EQ(books.treasury, units_of(1'000'000'000 - 70));
  EXPECT_EQ(books.free, units_of(2'000'000 - 5'000 - 100 - 77 - 40'000 - 9));
  EXPECT_EQ(books.supply, units_of(1'002'000'000 - 9));
  EXPECT_EQ(books.reserve_pool, units_of(90'000));
  EXPECT_EQ(wide(books.reserve_accounts) + wide(books.reserve_curve) + 90'000, wide(books.reserve));
  EXPECT_EQ(economy.apply(token::Audit{}, Nanos{0}).tokens, books.supply);
}

}  // namespace of_market_rules_test
}  // namespace mesh::coordination
