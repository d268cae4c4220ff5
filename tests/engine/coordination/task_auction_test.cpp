#include "engine/coordination/task_auction.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>

#include "tests/engine/coordination/auction_kit.hpp"
#include "tests/engine/coordination/goldens.hpp"

namespace mesh::coordination {
namespace of_task_auction_test {

using testing::auction_ms;
using testing::bid;
using testing::golden;
using testing::Json;
using testing::matches;
using testing::small_house;

constexpr Nanos seconds(double count) { return Nanos{static_cast<std::int64_t>(count * 1e9)}; }

// Bids by agents with names, in the order of their arrival; the outcome as the reference says it.
Json run(const TaskAuctionConfig& config,
         const std::vector<std::pair<std::string, auction::Bid>>& bids) {
  TaskAuction house(config);
  house.apply(auction::Open{"task", 0}, Nanos{0});
  std::vector<std::string> names;
  for (auto [name, one] : bids) {
    one.agent = static_cast<std::uint32_t>(names.size());
    names.push_back(name);
    EXPECT_EQ(house.apply(one, Nanos{0}).code, Errc::ok);
  }
  const auto reply = house.apply(auction::Resolve{0, false}, config.rules.timeout_ns);
  EXPECT_TRUE(house.verify());
  if (reply.outcome == AuctionOutcome::no_sale) return {{"result", "no_sale"}};
  Json winners = Json::array();
  for (const auto& one : reply.winners) {
    winners.push_back({{"agent", names[one.agent]}, {"score", one.score}, {"amount", one.amount}});
  }
  return {{"result", "sold"}, {"winners", winners}};
}

// --- goldens -----------------------------------------------------------------------------------

TEST(TaskAuction, GoldenReverseReferenceExample) {
  const auto [inputs, expected] = golden("task_auction", "reverse_reference_example");
  std::vector<std::pair<std::string, auction::Bid>> bids;
  for (const auto& one : inputs.at("bids_agent_price_latency")) {
    bids.push_back({one.at(0), bid(0, one.at(1), one.at(2))});
  }
  auto second = small_house();
  second.terms.w_latency = inputs.at("w_latency_micro_per_ms");
  auto first = second;
  first.rules.format = AuctionFormat::sealed_first;
  auto by_price = second;
  by_price.terms.scoring = AuctionScoring::price_only;
  auto reserved = second;
  reserved.rules.has_reserve = true;
  reserved.rules.reserve = 30'000;
  EXPECT_TRUE(matches(expected, {{"sealed_second", run(second, bids)},
                                 {"sealed_first", run(first, bids)},
                                 {"price_only_second", run(by_price, bids)},
                                 {"sealed_second_reserve_30000", run(reserved, bids)},
                                 {"sealed_second_alone", run(second, {bids[1]})}}));
}

TEST(TaskAuction, GoldenForwardSecondPrice) {
  const auto [inputs, expected] = golden("task_auction", "forward_second_price");
  std::vector<std::pair<std::string, auction::Bid>> bids;
  for (const auto& price : inputs.at("bids")) {
    bids.push_back({std::string(1, static_cast<char>('a' + bids.size())), bid(0, price)});
  }
  const auto with = [&](std::int64_t reserve, std::uint32_t quantity) {
    auto config = small_house("resource-sale");
    config.rules.has_reserve = reserve != 0;
    config.rules.reserve = reserve;
    config.terms.quantity = quantity;
    return run(config, bids);
  };
  EXPECT_TRUE(matches(expected, {{"plain", with(0, 1)},
                                 {"reserve_9", with(9, 1)},
                                 {"reserve_11", with(11, 1)},
                                 {"k2", with(0, 2)}}));
}

TEST(TaskAuction, GoldenTieGoesToTheEarlierArrival) {
  const auto [inputs, expected] = golden("task_auction", "tie_goes_to_earlier_arrival");
  std::vector<std::pair<std::string, auction::Bid>> bids;
  for (const auto& one : inputs.at("bids")) bids.push_back({one.at(0), bid(0, one.at(1))});
  EXPECT_TRUE(matches(expected, run(small_house("resource-sale"), bids)));
}

TEST(TaskAuction, GoldenVcgThreeUnits) {
  const auto [inputs, expected] = golden("task_auction", "vcg_three_units");
  auto config = small_house("resource-sale");
  config.terms.quantity = inputs.at("k");
  TaskAuction house(config);
  house.apply(auction::Open{"units", 0}, Nanos{0});
  std::vector<std::string> names;
  std::map<std::string, std::vector<std::int64_t>> values = inputs.at("marginal_values");
  for (const auto& [name, marginals] : values) {
    house.apply(auction::BidUnits{0, static_cast<std::uint32_t>(names.size()), marginals},
                Nanos{0});
    names.push_back(name);
  }
  const auto reply = house.apply(auction::Resolve{0, true}, Nanos{0});
  Json winners;
  std::int64_t welfare = 0;
  for (const auto& one : reply.winners) {
    winners[names[one.agent]] = {{"units", one.units}, {"pays", one.amount}};
    for (std::size_t i = 0; i < one.units; ++i) welfare += values.at(names[one.agent])[i];
  }
  EXPECT_TRUE(matches(expected, {{"welfare", welfare}, {"winners", winners}}));
}

TEST(TaskAuction, GoldenAntiSnipe) {
  const auto [inputs, expected] = golden("task_auction", "anti_snipe");
  auto config = small_house("open-market");
  ASSERT_EQ(config.rules.timeout_ns.count(), inputs.at("ends").get<std::int64_t>());
  ASSERT_EQ(config.rules.extend_window_ns.count(),
            inputs.at("extend_window_ns").get<std::int64_t>());
  ASSERT_EQ(config.rules.max_extensions, inputs.at("extensions_max").get<std::uint32_t>());
  TaskAuction house(config);
  house.apply(auction::Open{"gpu", 0}, Nanos{0});
  Json actual = Json::array();
  std::int64_t price = 10;
  for (const auto& at : inputs.at("leading_bids_at")) {
    price += 10;
    const auto agent = static_cast<std::uint32_t>(price / 10 % 2);
    const auto reply = house.apply(bid(agent, price), Nanos{at.get<std::int64_t>()});
    if (reply.code == Errc::ok) {
      actual.push_back(reply.ends.count());
    } else {
      actual.push_back(name_of(reply.code));
    }
  }
  EXPECT_TRUE(matches(expected, actual));
}

// --- refusals ----------------------------------------------------------------------------------

TEST(TaskAuction, RefusesBadInputAndChangesNothing) {
  TaskAuction house(small_house());
  house.apply(auction::AddCapability{"gpt-4"}, Nanos{0});
  house.apply(auction::Open{"task", 0}, Nanos{0});
  auction::OpenWith hidden{"hidden", 0, small_house().rules, small_house().terms};
  hidden.terms.sealed_commit = true;
  house.apply(hidden, Nanos{0});
  house.apply(auction::Open{"over", 0}, Nanos{0});
  house.apply(auction::Resolve{2, true}, Nanos{0});
  house.apply(auction::Commit{1, 0, {}, 0}, Nanos{0});
  auto clock = hidden;
  clock.id = "clock";
  clock.terms.sealed_commit = false;
  clock.rules.format = AuctionFormat::open_descending;
  auto brief = hidden;
  brief.id = "brief";
  brief.rules.timeout_ns = Nanos{1};
  auto several = clock;
  several.rules.format = AuctionFormat::open_ascending;
  several.terms.quantity = 2;
  testing::expect_all_refused<TaskAuction>(
      house, {{"no name", auction::Open{"", 0}, Errc::invalid_id},
              {"name that is not UTF-8", auction::Open{"\xff", 0}, Errc::invalid_id},
              {"the same name", auction::Open{"task", 0}, Errc::already_exists},
              {"a requirement that is no capability", auction::Open{"x", 2}},
              {"clock that stands", clock},
              {"too brief", brief},
              {"several units in the open", several},
              {"capability without a name", auction::AddCapability{""}, Errc::invalid_id},
              {"capability twice", auction::AddCapability{"gpt-4"}, Errc::already_exists},
              {"nobody's capabilities", auction::SetAgent{8, 0, 0}, Errc::no_such_agent},
              {"reputation above 1", auction::SetAgent{0, 0, 1'000'001}},
              {"bid for nothing", bid(0, 1, 0, 3), Errc::not_found},
              {"bid by nobody", bid(8, 1), Errc::no_such_agent},
              {"price below zero", bid(0, -1)},
              {"price of 2^53", bid(0, std::int64_t{1} << 53)},
              {"latency below zero", bid(0, 1, -1)},
              {"time below zero", bid(0, 1), Errc::invalid_argument, Nanos{-1}},
              {"bid after it was resolved", bid(0, 1, 0, 2), Errc::closed},
              {"open bid in a sealed auction", bid(0, 1, 0, 1)},
              {"units in a reverse auction", auction::BidUnits{0, 0, {5}}},
              {"bundle where there is none", auction::BidBundle{0, 0, 1, 5}},
              {"hash in an auction of prices", auction::Commit{0, 0, {}, 0}},
              {"a second hash", auction::Commit{1, 0, {}, 0}, Errc::duplicate},
              {"reveal before the end", auction::Reveal{1, 0, 1, Nanos{0}, 0}, Errc::wrong_state},
              {"reveal of what is over", auction::Reveal{2, 0, 1, Nanos{0}, 0}, Errc::closed},
              {"resolve of nothing", auction::Resolve{3, false}, Errc::not_found},
              {"resolve before the end", auction::Resolve{0, false}, Errc::wrong_state},
              {"cancel of what is over", auction::Cancel{2}, Errc::closed},
              {"forget of what runs", auction::Forget{0}, Errc::wrong_state},
              {"forget of nothing", auction::Forget{3}, Errc::not_found}});
}

TEST(TaskAuction, RefusesWhatIsFull) {
  auto config = small_house();
  config.rules.max_bids = 1;
  config.auctions_max = 1;
  TaskAuction house(config);
  house.apply(auction::Open{"task", 0}, Nanos{0});
  house.apply(bid(0, 5), Nanos{0});
  testing::expect_all_refused<TaskAuction>(
      house, {{"bids full", bid(1, 5), Errc::capacity},
              {"no auction left", auction::Open{"b", 0}, Errc::capacity}});
  EXPECT_EQ(house.apply(bid(0, 6), Nanos{0}).code, Errc::ok) << "its own may be replaced";
  EXPECT_EQ(house.apply(auction::Resolve{0, false}, Nanos{0}).outcome, AuctionOutcome::sold)
      << "full: nothing more can come";
}

TEST(TaskAuction, ABidderMustMeetAllRequirements) {
  TaskAuction house(small_house());
  house.apply(auction::AddCapability{"gpt-4"}, Nanos{0});
  house.apply(auction::AddCapability{"vision"}, Nanos{0});
  house.apply(auction::SetAgent{1, 3, 0}, Nanos{0});
  house.apply(auction::SetAgent{2, 1, 0}, Nanos{0});
  house.apply(auction::Open{"task", 3}, Nanos{0});
  EXPECT_EQ(house.apply(bid(2, 1), Nanos{0}).refusal, Refusal::rejected_policy);
  EXPECT_EQ(house.apply(bid(1, 9), Nanos{0}).refusal, Refusal::none);
  EXPECT_EQ(house.view(0).bids, 1U) << "an invalid bid does not count";
}

// --- behaviour ---------------------------------------------------------------------------------

TEST(TaskAuction, CountsABidAtTheEndAndNoneAfterIt) {
  TaskAuction house(small_house());
  house.apply(auction::Open{"task", 0}, Nanos{0});
  EXPECT_EQ(house.apply(bid(0, 5), seconds(5)).code, Errc::ok);
  EXPECT_EQ(house.apply(bid(1, 4), seconds(5) + Nanos{1}).code, Errc::closed);
  const auto reply = house.apply(auction::Resolve{0, false}, seconds(6));
  ASSERT_EQ(reply.winners.size(), 1U);
  EXPECT_EQ(reply.winners[0].agent, 0U);
  EXPECT_EQ(house.apply(auction::Resolve{0, true}, seconds(9)).winners[0].amount, 5)
      << "the same for ever";
}

TEST(TaskAuction, ResolvesByItselfAndTellsOnce) {
  TaskAuction house(small_house());
  house.apply(auction::Open{"task", 0}, Nanos{0});
  house.apply(bid(3, 7), Nanos{0});
  TaskAuctionActions actions;
  house.tick(seconds(5), actions);
  EXPECT_TRUE(actions.news.empty());
  house.tick(seconds(5) + Nanos{1}, actions);
  ASSERT_EQ(actions.news.size(), 1U);
  EXPECT_EQ(actions.news[0].agent, 3U);
  house.tick(seconds(6), actions);
  EXPECT_TRUE(actions.news.empty());
}

TEST(TaskAuction, TooFewBidsAreNoSale) {
  auto config = small_house();
  config.rules.min_bids = 2;
  TaskAuction house(config);
  house.apply(auction::Open{"task", 0}, Nanos{0});
  house.apply(bid(0, 7), Nanos{0});
  house.apply(bid(0, 6), Nanos{0});  // replaces
  EXPECT_EQ(house.apply(auction::Resolve{0, true}, Nanos{0}).outcome, AuctionOutcome::no_sale);
}

TEST(TaskAuction, AReplacementComesLast) {
  TaskAuction house(small_house("resource-sale"));
  house.apply(auction::Open{"gpu", 0}, Nanos{0});
  house.apply(bid(0, 8), Nanos{0});
  house.apply(bid(1, 8), Nanos{0});
  house.apply(bid(0, 8), Nanos{0});
  EXPECT_EQ(house.apply(auction::Resolve{0, true}, Nanos{0}).winners.at(0).agent, 1U);
  EXPECT_EQ(house.counters().replaced, 1U);
}

TEST(TaskAuction, ALeaderIsBeatenByTheIncrementInBothDirections) {
  for (const auto direction : {AuctionDirection::forward, AuctionDirection::reverse}) {
    auto config = small_house("open-market");
    config.rules.direction = direction;
    config.rules.increment = 10;
    TaskAuction house(config);
    house.apply(auction::Open{"gpu", 0}, Nanos{0});
    const bool rises = direction == AuctionDirection::forward;
    house.apply(bid(0, 100), Nanos{0});
    const auto refused = house.apply(bid(1, rises ? 109 : 91), Nanos{0});
    EXPECT_EQ(refused.refusal, Refusal::rejected_policy);
    EXPECT_EQ(refused.minimum, rises ? 110 : 90);
    EXPECT_EQ(house.view(0).minimum, rises ? 110 : 90);
    EXPECT_EQ(house.apply(bid(1, rises ? 110 : 90), Nanos{0}).refusal, Refusal::none);
    EXPECT_EQ(house.view(0).leader, 1U);
    const auto won = house.apply(auction::Resolve{0, true}, Nanos{0}).winners.at(0);
    EXPECT_EQ(won.amount, rises ? 110 : 90) << "its own bid";
  }
}

TEST(TaskAuction, TheClockGoesToTheFirstWhoTakesIt) {
  for (const auto direction : {AuctionDirection::forward, AuctionDirection::reverse}) {
    auto config = small_house("open-market");
    config.rules.format = AuctionFormat::open_descending;
    config.rules.direction = direction;
    config.terms.start_price = 1'000;
    config.terms.rate_per_s = 100;
    TaskAuction house(config);
    house.apply(auction::Open{"gpu", 0}, Nanos{0});
    const bool falls = direction == AuctionDirection::forward;
    const auto early = house.apply(bid(0, falls ? 700 : 1'300), seconds(1));
    EXPECT_EQ(early.refusal, Refusal::rejected_policy);
    EXPECT_EQ(early.minimum, falls ? 900 : 1'100);
    EXPECT_EQ(house.apply(bid(0, falls ? 700 : 1'300), seconds(3)).phase, AuctionPhase::resolved);
    EXPECT_EQ(house.apply(bid(1, falls ? 2'000 : 0), seconds(3)).code, Errc::closed);
    EXPECT_EQ(house.result(0).winners.at(0).amount, falls ? 700 : 1'300);
  }
}

TEST(TaskAuction, HashesFirstThenPricesAndSlashesWhoDoesNotReveal) {
  auto config = small_house();
  config.terms.sealed_commit = true;
  config.terms.deposit_ppm = 100'000;
  TaskAuction house(config);
  house.apply(auction::Open{"task", 0}, Nanos{0});
  const auto reveal = [](std::uint32_t agent, std::int64_t price) {
    return auction::Reveal{0, agent, price, Nanos{0}, 40 + agent};
  };
  for (std::uint32_t agent = 0; agent < 3; ++agent) {
    const std::int64_t price = 100 * (agent + 1);
    house.apply(auction::Commit{0, agent, commitment_of(reveal(agent, price)), 30}, Nanos{0});
  }
  EXPECT_FALSE(house.view(0).has_leader);
  TaskAuctionActions actions;
  house.tick(seconds(5.1), actions);
  EXPECT_EQ(house.view(0).phase, AuctionPhase::revealing);
  EXPECT_EQ(house.apply(reveal(1, 90), seconds(5.2)).code, Errc::verification_failed);
  EXPECT_EQ(house.apply(reveal(1, 200), seconds(5.2)).code, Errc::ok);
  EXPECT_EQ(house.apply(reveal(1, 200), seconds(5.2)).code, Errc::duplicate);
  EXPECT_EQ(house.apply(reveal(2, 300), seconds(5.2)).code, Errc::ok);
  house.tick(seconds(6.2), actions);
  std::map<std::uint32_t, AuctionNotice> deposits;
  for (const auto& one : actions.news) {
    if (one.amount == 30) deposits[one.agent] = one.kind;
  }
  EXPECT_EQ(deposits[0], AuctionNotice::deposit_slashed);
  EXPECT_EQ(deposits[1], AuctionNotice::deposit_back);
  EXPECT_EQ(house.result(0).winners.at(0).agent, 1U);
  EXPECT_EQ(house.result(0).winners.at(0).amount, 300);
  EXPECT_TRUE(house.verify());
}

TEST(TaskAuction, ReturnsDepositsWhenItIsCancelled) {
  auto config = small_house();
  config.terms.deposit_ppm = 500'000;
  TaskAuction house(config);
  house.apply(auction::Open{"task", 0}, Nanos{0});
  EXPECT_EQ(house.apply(bid(0, 100), Nanos{0}).deposit, 50);
  const auto reply = house.apply(auction::Cancel{0}, Nanos{0});
  ASSERT_EQ(reply.news.size(), 1U);
  EXPECT_EQ(reply.news[0].kind, AuctionNotice::deposit_back);
  EXPECT_EQ(house.apply(auction::Resolve{0, true}, Nanos{0}).code, Errc::closed);
  EXPECT_EQ(house.apply(auction::Forget{0}, Nanos{0}).code, Errc::ok);
  EXPECT_EQ(house.apply(auction::Open{"task", 0}, Nanos{0}).code, Errc::ok);
}

TEST(TaskAuction, AScoreOfOnesOwnMayThrow) {
  auto config = small_house();
  config.terms.scoring = AuctionScoring::custom;
  TaskAuction house(config);
  house.apply(auction::Open{"task", 0}, Nanos{0});
  EXPECT_EQ(house.apply(bid(0, 1), Nanos{0}).code, Errc::callback_failed) << "there is none";
  house.score_with(
      [](void*, const auction::Bid& one) -> std::int64_t {
        if (one.agent == 0) throw std::runtime_error("no");
        return 1'000 - 2 * one.price;
      },
      nullptr);
  EXPECT_EQ(house.apply(bid(0, 1), Nanos{0}).code, Errc::callback_failed);
  EXPECT_EQ(house.apply(bid(1, 30), Nanos{0}).code, Errc::ok);
  EXPECT_EQ(house.apply(auction::Resolve{0, true}, Nanos{0}).winners.at(0).score, 940);
  EXPECT_EQ(house.counters().callback_failures, 2U);
}

TEST(TaskAuction, ShowsWhatALookAtCollusionBeginsWith) {
  TaskAuction house(small_house("resource-sale"));
  house.apply(auction::Open{"gpu", 0}, Nanos{0});
  for (std::uint32_t agent = 0; agent < 4; ++agent)
    house.apply(bid(agent, agent == 3 ? 200 : 100), Nanos{0});
  house.apply(auction::Resolve{0, true}, Nanos{0});
  const auto signals = house.signals(0);
  EXPECT_EQ(signals.bids, 4U);
  EXPECT_EQ(signals.identical, 3U);
  EXPECT_EQ(signals.gap_ppm, 800'000U);
  EXPECT_NEAR(static_cast<double>(signals.spread_ppm), 346'410, 1);
  EXPECT_EQ(house.record(3).wins, 1U);
  EXPECT_EQ(house.record(0).runner_up, 1U);
}

}  // namespace of_task_auction_test
}  // namespace mesh::coordination
