// What theory promises of the auctions, on random instances; restarts, deaths, and the money.
#include <algorithm>
#include <numeric>

#include "engine/coordination/task_auction.hpp"
#include "engine/coordination/token_economy.hpp"
#include "tests/allocations.hpp"
#include "tests/engine/coordination/auction_kit.hpp"

namespace mesh::coordination {
namespace of_auction_rules_test {

using testing::auction_ms;
using testing::auction_trace;
using testing::bid;
using testing::small_house;

// --- VCG ---------------------------------------------------------------------------------------

std::vector<UnitBid> random_units(Rng& rng, std::uint32_t units) {
  std::vector<UnitBid> bids(1 + rng.below(6));
  for (std::size_t i = 0; i < bids.size(); ++i) {
    bids[i].arrival = i;
    bids[i].agent = static_cast<std::uint32_t>(i);
    for (std::uint32_t k = 0; k < units; ++k) {
      bids[i].marginals.push_back(static_cast<std::int64_t>(rng.below(20)));
    }
    std::sort(bids[i].marginals.rbegin(), bids[i].marginals.rend());
  }
  return bids;
}
// Every way to hand out the units.
std::int64_t exhaustive(std::span<const UnitBid> bids, std::size_t at, std::uint32_t left) {
  if (at == bids.size()) return 0;
  std::int64_t best = 0;
  std::int64_t own = 0;
  for (std::uint32_t n = 0; n <= left; ++n) {
    best = std::max(best, own + exhaustive(bids, at + 1, left - n));
    if (n < bids[at].marginals.size()) own += bids[at].marginals[n];
  }
  return best;
}

TEST(AuctionCore, VcgIsAsGoodAsTheBestAndPaysBetweenNothingAndTheValue) {
  Rng rng(1);
  for (int i = 0; i < 500; ++i) {
    const auto units = static_cast<std::uint32_t>(1 + rng.below(6));
    const auto bids = random_units(rng, units);
    const auto result = vcg_units(units, bids);
    ASSERT_EQ(result.welfare, exhaustive(bids, 0, units)) << i;
    for (const auto& one : result.winners) {
      const auto& values = bids[one.agent].marginals;
      const auto value =
          std::accumulate(values.begin(), values.begin() + one.units, std::int64_t{0});
      ASSERT_GE(one.pays, 0);
      ASSERT_LE(one.pays, value);
    }
  }
}

std::int64_t best_bundles(std::span<const BundleBid> bids, std::size_t at, std::uint32_t taken) {
  if (at == bids.size()) return 0;
  std::int64_t best = best_bundles(bids, at + 1, taken);
  if ((bids[at].items & taken) == 0) {
    best = std::max(best, bids[at].price + best_bundles(bids, at + 1, taken | bids[at].items));
  }
  return best;
}

TEST(AuctionCore, BundlesSellForTheMostAndPayBetweenNothingAndTheirPrice) {
  Rng rng(2);
  for (int i = 0; i < 500; ++i) {
    const auto items = static_cast<std::uint32_t>(1 + rng.below(5));
    std::vector<BundleBid> bids(1 + rng.below(8));
    for (std::size_t k = 0; k < bids.size(); ++k) {
      bids[k] = {k, static_cast<std::uint32_t>(k),
                 static_cast<std::uint32_t>(1 + rng.below((1U << items) - 1)),
                 static_cast<std::int64_t>(rng.below(100))};
    }
    const auto result = vcg_bundles(items, bids);
    ASSERT_EQ(result.welfare, best_bundles(bids, 0, 0)) << i;
    std::uint32_t sold = 0;
    for (const auto& one : result.winners) {
      ASSERT_EQ(sold & one.units, 0U) << "an item was sold twice";
      sold |= one.units;
      ASSERT_GE(one.pays, 0);
      ASSERT_LE(one.pays, bids[one.agent].price);
    }
  }
}

TEST(AuctionCore, SixteenItemsAreSolved) {
  Rng rng(3);
  std::vector<BundleBid> bids;
  for (std::uint32_t i = 0; i < 40; ++i) {
    bids.push_back({i, i, static_cast<std::uint32_t>(1 + rng.below(65'535)),
                    static_cast<std::int64_t>(rng.below(1'000))});
  }
  for (std::uint32_t item = 0; item < 16; ++item)
    bids.push_back({100 + item, 100 + item, 1U << item, 100});
  EXPECT_GE(vcg_bundles(16, bids).welfare, 1'600);
}

// --- truth -------------------------------------------------------------------------------------

// What an agent with this value gets of a second-price auction with a reserve, bidding so.
std::int64_t utility(AuctionDirection direction, std::int64_t value, std::int64_t bids,
                     std::int64_t other) {
  auto config = small_house();
  config.rules.direction = direction;
  config.terms.scoring = AuctionScoring::price_only;
  config.rules.has_reserve = true;
  config.rules.reserve = 6;
  TaskAuction house(config);
  house.apply(auction::Open{"t", 0}, Nanos{0});
  house.apply(bid(0, bids), Nanos{0});
  house.apply(bid(1, other), Nanos{0});
  for (const auto& won : house.apply(auction::Resolve{0, true}, Nanos{0}).winners) {
    if (won.agent != 0) continue;
    return direction == AuctionDirection::forward ? value - won.amount : won.amount - value;
  }
  return 0;
}

TEST(TaskAuction, TheTruthIsNeverWorseThanAnyOtherBid) {
  for (const auto direction : {AuctionDirection::forward, AuctionDirection::reverse}) {
    for (std::int64_t value = 0; value <= 10; ++value) {
      for (std::int64_t other = 0; other <= 10; ++other) {
        const auto truth = utility(direction, value, value, other);
        ASSERT_GE(truth, 0) << "a winner never regrets the truth";
        for (std::int64_t lie = 0; lie <= 10; ++lie) {
          ASSERT_GE(truth, utility(direction, value, lie, other))
              << value << " as " << lie << " against " << other;
        }
      }
    }
  }
}

RC_GTEST_PROP(TaskAuction, TheOrderOfBidsDoesNotMatterButForTies, ()) {
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  auto config = small_house();
  config.terms.quantity = 1 + static_cast<std::uint32_t>(rng.below(3));
  std::vector<auction::Bid> bids;
  for (std::uint32_t agent = 0; agent < 8; ++agent) {  // different prices: no ties
    bids.push_back(bid(agent, static_cast<std::int64_t>(rng.below(1'000)) * 8 + agent));
  }
  std::vector<std::tuple<std::uint32_t, std::int64_t, std::int64_t>> first;
  for (int round = 0; round < 3; ++round) {
    TaskAuction house(config);
    house.apply(auction::Open{"t", 0}, Nanos{0});
    for (const auto& one : bids) house.apply(one, Nanos{0});
    std::vector<std::tuple<std::uint32_t, std::int64_t, std::int64_t>> won;
    for (const auto& one : house.apply(auction::Resolve{0, true}, Nanos{0}).winners) {
      won.emplace_back(one.agent, one.score, one.amount);
    }
    if (round == 0) first = won;
    RC_ASSERT(won == first);
    for (std::size_t i = bids.size() - 1; i > 0; --i) std::swap(bids[i], bids[rng.below(i + 1)]);
  }
}

RC_GTEST_PROP(TaskAuction, EndsEachAuctionAndEachDepositOnce, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  TaskAuction house(small_house());
  for (const auto& [now, command] : auction_trace(small_house(), 150, seed)) {
    house.apply(command, now);
    TaskAuctionActions actions;
    house.tick(now, actions);
    const auto sound = house.verify();
    if (!sound) RC_LOG() << sound.error().sentence;
    RC_ASSERT(sound.has_value());
  }
}

// Among several units a bid whose latency costs more than it offers would pay above its price.
TEST(TaskAuction, SellsNoUnitToABidThatIsWorthLessThanNothing) {
  auto config = small_house("resource-sale");
  config.terms.quantity = 2;
  TaskAuction house(config);
  house.apply(auction::Open{"units", 0}, Nanos{0});
  house.apply(auction::BidUnits{0, 0, {9, 4}}, Nanos{0});
  house.apply(bid(1, 10, 200), Nanos{0});  // 10 - 100 * 200
  const auto reply = house.apply(auction::Resolve{0, true}, Nanos{0});
  ASSERT_EQ(reply.winners.size(), 1U);
  EXPECT_EQ(reply.winners[0].agent, 0U);
  EXPECT_EQ(reply.winners[0].amount, 0);
  EXPECT_TRUE(house.verify());
}

// --- the money ---------------------------------------------------------------------------------

// Every deposit is an escrow; when it is over the winner's pays what it must, the others' go back.
TEST(TaskAuction, WhatIsPaidIsWhatTheEscrowsMoved) {
  auto config = small_house("resource-sale");
  config.terms.deposit_ppm = 1'000'000;
  auto economy_config = TokenEconomyConfig{};
  economy_config.cap = amount_of(1'000'000);
  economy_config.mint_authority = 1;
  economy_config.accounts_max = 8;
  TokenEconomy economy(economy_config);
  TaskAuction house(config);
  house.apply(auction::Open{"gpu", 0}, Nanos{0});
  constexpr std::uint32_t kSeller = 7;
  std::vector<std::uint64_t> escrows;
  for (std::uint32_t agent = 0; agent < 4; ++agent) {
    economy.apply(token::Mint{agent, amount_of(1'000), 1}, Nanos{0});
    const auto reply = house.apply(bid(agent, 100 + 50 * agent), Nanos{0});
    escrows.push_back(
        economy
            .apply(token::OpenEscrow{agent, amount_of(static_cast<U128>(reply.deposit))}, Nanos{0})
            .id);
  }
  const auto result = house.apply(auction::Resolve{0, true}, Nanos{0});
  for (std::uint32_t agent = 0; agent < 4; ++agent) {
    const auto& winner = result.winners.at(0);
    const std::int64_t pays = winner.agent == agent ? winner.amount : 0;
    EXPECT_EQ(
        economy
            .apply(token::SettleEscrow{escrows[agent], kSeller, amount_of(static_cast<U128>(pays))},
                   Nanos{0})
            .code,
        Errc::ok);
  }
  EXPECT_EQ(economy.balance(kSeller).free.low, 200U);
  EXPECT_EQ(economy.balance(3).free.low, 800U);
  EXPECT_EQ(economy.balance(2).free.low, 1'000U);
  EXPECT_TRUE(economy.verify());
}

// --- replay, crash -----------------------------------------------------------------------------

TEST(TaskAuction, ReplaysToTheSameBytes) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    testing::expect_replays<TaskAuction>(small_house(), auction_trace(small_house(), 200, seed));
  }
}

TEST(TaskAuction, FindsADamagedSnapshot) {
  TaskAuction house(small_house());
  for (const auto& [now, command] : auction_trace(small_house(), 40, 4)) house.apply(command, now);
  testing::expect_damage_found(house, small_house());
}

TEST(TaskAuction, HasOneResultWhereverItDies) {
  testing::CrashSweep<TaskAuction> sweep(small_house(), auction_trace(small_house(), 40, 5));
  sweep.with_ticks();
  EXPECT_GT(sweep.run(5), 3U * 40 * 4);
}

TEST(TaskAuction, TakesBidsWithoutAllocating) {
  TaskAuction house(small_house());
  house.apply(auction::Open{"task", 0}, Nanos{0});
  bool sound = true;
  const std::uint64_t before = mesh::testing::allocation_count();
  for (int i = 0; i < 1'000; ++i) {
    sound =
        sound && house.apply(bid(static_cast<std::uint32_t>(i % 8), i), Nanos{i}).code == Errc::ok;
  }
  EXPECT_EQ(mesh::testing::allocation_count(), before);
  EXPECT_TRUE(sound);
}

}  // namespace of_auction_rules_test
}  // namespace mesh::coordination
