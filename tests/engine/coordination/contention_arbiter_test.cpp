#include "engine/coordination/contention_arbiter.hpp"

#include <algorithm>
#include <map>

#include "tests/engine/coordination/contention_kit.hpp"
#include "tests/engine/coordination/goldens.hpp"

namespace mesh::coordination {
namespace of_contention_arbiter_test {

using testing::arbiter_ms;
using testing::ask;
using testing::golden;
using testing::Json;
using testing::matches;
using testing::small_arbiter;
using Arbiter = ResourceContentionArbiter;

Nanos seconds(std::int64_t count) { return arbiter_ms(1'000 * count); }

Arbiter with_resource(const ContentionConfig& config, std::uint64_t capacity,
                      bool divisible = false, bool preemptible = true) {
  Arbiter arbiter(config);
  arbiter.apply(contention::RegisterResource{"gpu", capacity, divisible, preemptible, "compute"},
                Nanos{0});
  return arbiter;
}
// One agent takes all, others ask, it gives all back: what a round gives each
// of them.
std::map<std::uint32_t, std::uint64_t> round_of(Arbiter& arbiter,
                                                const std::vector<contention::Request>& requests) {
  const std::uint64_t all = arbiter.view(0).capacity;
  const auto held = arbiter.apply(ask(7, all), Nanos{0});
  for (const auto& one : requests) arbiter.apply(one, Nanos{0});
  arbiter.apply(contention::Release{held.allocation, 0}, Nanos{1});
  ContentionActions actions;
  arbiter.tick(arbiter_ms(60), actions);
  std::map<std::uint32_t, std::uint64_t> shares;
  for (const auto& news : actions.news) {
    if (news.kind == ArbiterNotice::granted) shares[news.agent] += news.granted;
  }
  return shares;
}

// --- goldens
// -----------------------------------------------------------------------------------

TEST(ContentionArbiter, GoldenNashDivisible) {
  const auto [inputs, expected] = golden("contention_arbiter", "nash_divisible");
  Json actual = Json::array();
  for (const auto& rows : inputs.at("cases_w_floor_cap_base")) {
    std::vector<FillItem> items;
    for (const auto& row : rows) {
      items.push_back(
          {row.at(0), row.at(1), row.at(2), row.size() > 3 ? row.at(3).get<double>() : 0});
    }
    std::vector<double> shares(items.size());
    std::vector<double> scratch(2 * items.size());
    EXPECT_TRUE(water_fill(inputs.at("capacity"), items, shares, scratch));
    actual.push_back(shares);
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(ContentionArbiter, GoldenNashIndivisible) {
  const auto [inputs, expected] = golden("contention_arbiter", "nash_indivisible");
  Json actual = Json::array();
  for (const auto& rows : inputs.at("cases_w_base_cap")) {
    std::vector<NashClaim> claims;
    for (const auto& row : rows) claims.push_back({row.at(0), row.at(1), 0, row.at(2)});
    std::vector<std::uint64_t> shares(claims.size());
    nash_integer(inputs.at("capacity"), claims, shares);
    actual.push_back(shares);
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(ContentionArbiter, GoldenFairnessIndices) {
  const auto [inputs, expected] = golden("contention_arbiter", "fairness_indices");
  Json gini = Json::array();
  Json jain = Json::array();
  for (const auto& row : inputs.at("shares")) {
    std::vector<double> shares = row;
    if (jain.size() < 3) jain.push_back(jain_index(shares));
    gini.push_back(gini_index(shares));
  }
  EXPECT_TRUE(matches(expected, {{"gini", gini}, {"jain", jain}}));
}

TEST(ContentionArbiter, GoldenWaitDie) {
  const auto [inputs, expected] = golden("contention_arbiter", "wait_die");
  Json actual;
  for (const auto scope : {WaitDie::always, WaitDie::holders_only}) {
    Json outcomes = Json::array();
    for (const auto& requester : inputs.at("requesters")) {
      auto config = small_arbiter();
      config.wait_die = scope;
      auto arbiter = with_resource(config, 8);
      arbiter.apply(contention::RegisterResource{"other", 8, false, false, ""}, Nanos{0});
      auto holder = ask(1, 8);
      holder.timestamp = Nanos{inputs.at("holder_ts").get<std::int64_t>()};
      arbiter.apply(holder, Nanos{0});
      auto wanted = ask(2, 1);
      wanted.timestamp = Nanos{requester.at("ts").get<std::int64_t>()};
      if (requester.at("holds_something")) {
        auto other = wanted;
        other.resource = 1;
        arbiter.apply(other, Nanos{0});
      }
      const auto reply = arbiter.apply(wanted, Nanos{0});
      outcomes.push_back(reply.code == Errc::deadlock_victim ? "dies" : "waits");
    }
    actual[scope == WaitDie::always ? "scope_always" : "scope_holders_only"] = outcomes;
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(ContentionArbiter, GoldenRequestAndBudget) {
  const auto [inputs, expected] = golden("contention_arbiter", "request_and_budget");
  auto arbiter = with_resource(small_arbiter(), inputs.at("capacity"), true);
  arbiter.apply(contention::SetBudget{0, 0, inputs.at("budget"), seconds(60)}, Nanos{0});
  Json actual = Json::array();
  for (const auto& row : inputs.at("requests")) {
    const auto reply =
        arbiter.apply(ask(0, row.at("quantity"), 7, row.at("flexibility_ppm")), Nanos{0});
    if (reply.code != Errc::ok) {
      actual.push_back({{"status", name_of(reply.code)}});
    } else if (reply.refusal != Refusal::none) {
      actual.push_back({{"status", to_string(reply.refusal)}, {"minimum", reply.minimum}});
    } else {
      actual.push_back({{"granted", reply.granted},
                        {"budget_left", reply.budget_left},
                        {"minimum", reply.minimum}});
    }
  }
  EXPECT_TRUE(matches(expected, actual)) << actual.dump();
  EXPECT_EQ(arbiter.forecast(0, Nanos{0}).trend, Trend::stable);
  EXPECT_FALSE(arbiter.is_starved(0, Nanos{0}));
}

// --- refusals
// ----------------------------------------------------------------------------------

TEST(ContentionArbiter, RefusesBadInputAndChangesNothing) {
  auto arbiter = with_resource(small_arbiter(), 8);
  const auto held = arbiter.apply(ask(0, 3), Nanos{0});
  auto useless = ask(0, 1);
  useless.utility_per_unit = 0;
  auto late = ask(0, 1);
  late.deadline = Nanos{-5};
  auto early = ask(0, 1);
  early.timestamp = Nanos{-1};
  auto nowhere = ask(0, 1);
  nowhere.resource = 2;
  testing::expect_all_refused<Arbiter>(
      arbiter,
      {{"no name", contention::RegisterResource{"", 1, false, false, ""}, Errc::invalid_id},
       {"the same name", contention::RegisterResource{"gpu", 1, false, false, ""},
        Errc::already_exists},
       {"nothing to share", contention::RegisterResource{"x", 0, false, false, ""}},
       {"nobody", ask(8, 1), Errc::no_such_agent},
       {"resource that is not there", nowhere, Errc::not_found},
       {"nothing", ask(0, 0)},
       {"priority that is not there", ask(0, 1, 11)},
       {"flexibility above 1", ask(0, 1, 0, 1'000'001)},
       {"no utility", useless},
       {"deadline before all time", late},
       {"timestamp before all time", early},
       {"more than there is", ask(0, 9), Errc::insufficient_quantity},
       {"time below zero", ask(0, 1), Errc::invalid_argument, Nanos{-1}},
       {"release of nothing", contention::Release{99, 0}, Errc::not_owner},
       {"release by another station", contention::Release{held.allocation, 9},
        Errc::not_authorized},
       {"cancel of nothing", contention::Cancel{99, 0}, Errc::not_found},
       {"budget of nobody", contention::SetBudget{8, 0, 1, seconds(1)}, Errc::no_such_agent},
       {"budget without a period", contention::SetBudget{0, 0, 1, Nanos{0}}},
       {"fence of nothing", contention::Validate{0, 99}, Errc::stale_token},
       {"station 0", contention::StationClosed{0}}});
}

TEST(ContentionArbiter, NamesTheFieldThatIsOutOfRange) {
  const auto refuses = [](auto change, std::string_view name) {
    ContentionConfig config;
    change(config);
    const auto judged = Arbiter::validate(config);
    ASSERT_FALSE(judged) << name;
    EXPECT_NE(judged.error().sentence.find(name), std::string::npos) << judged.error().sentence;
  };
  refuses([](auto& c) { c.gini_mild_ppm = 500'000; }, "gini_mild_ppm");
  refuses([](auto& c) { c.ewma = 0; }, "ewma");
  refuses([](auto& c) { c.starved_below = 2; }, "starved_below");
  refuses([](auto& c) { c.starvation_ns = Nanos{0}; }, "starvation_ns");
  refuses([](auto& c) { c.max_hold_ns = Nanos{0}; }, "max_hold_ns");
  refuses([](auto& c) { c.sample_ns = Nanos{0}; }, "sample_ns");
  refuses([](auto& c) { c.demands_max = 0; }, "demands_max");
  refuses([](auto& c) { c.preempt_margin = 11; }, "preempt_margin");
}

// --- behaviour
// ---------------------------------------------------------------------------------

TEST(ContentionArbiter, MeetsARequestAtOnceWhereNobodyWaits) {
  auto arbiter = with_resource(small_arbiter(), 8);
  const auto reply = arbiter.apply(ask(0, 3), Nanos{0});
  EXPECT_EQ(reply.granted, 3U);
  EXPECT_EQ(arbiter.view(0).free, 5U);
  EXPECT_EQ(arbiter.explain(reply.allocation).reason, ArbiterReason::free);
  EXPECT_EQ(arbiter.apply(contention::Release{reply.allocation, 0}, Nanos{1}).code, Errc::ok);
  EXPECT_EQ(arbiter.apply(contention::Release{reply.allocation, 0}, Nanos{1}).code,
            Errc::not_owner);
}

// pitfalls A8: the budget is charged for what is granted, after all that may
// refuse it.
TEST(ContentionArbiter, DoesNotChargeWhatItRefuses) {
  auto arbiter = with_resource(small_arbiter(), 8);
  arbiter.apply(contention::SetBudget{0, 0, 6, seconds(60)}, Nanos{0});
  EXPECT_EQ(arbiter.apply(ask(0, 9), Nanos{0}).code, Errc::insufficient_quantity);
  const auto other = arbiter.apply(ask(1, 8), Nanos{0});
  const auto waits = arbiter.apply(ask(0, 6), Nanos{0});
  EXPECT_EQ(waits.refusal, Refusal::would_block);
  arbiter.apply(contention::Cancel{waits.ticket, 0}, Nanos{0});
  arbiter.apply(contention::Release{other.allocation, 0}, Nanos{0});
  EXPECT_EQ(arbiter.apply(ask(0, 6), Nanos{0}).budget_left, 0U);
  const auto refused = arbiter.apply(ask(0, 1), seconds(10));
  EXPECT_EQ(refused.refusal, Refusal::quota_exhausted);
  EXPECT_EQ(refused.retry_after, seconds(50));
}

TEST(ContentionArbiter, ABudgetKeepsAtMostTwoPeriods) {
  auto arbiter = with_resource(small_arbiter(), 100);
  arbiter.apply(contention::SetBudget{0, 0, 5, seconds(1)}, Nanos{0});
  EXPECT_EQ(arbiter.apply(ask(0, 11), seconds(100)).code, Errc::ok);
  EXPECT_EQ(arbiter.apply(ask(0, 100, 0, 1'000'000), seconds(100)).granted, 10U);
}

TEST(ContentionArbiter, DividesByNashWhateverAUnitIsWorthToEach) {
  for (const std::uint64_t worth : {1'000'000U, 7'000'000U}) {
    auto arbiter = with_resource(small_arbiter(), 8);
    auto first = ask(0, 3, 0, 1'000'000);
    first.utility_per_unit = worth;
    const auto shares =
        round_of(arbiter, {first, ask(1, 8, 0, 1'000'000), ask(2, 8, 0, 1'000'000)});
    EXPECT_EQ(shares, (std::map<std::uint32_t, std::uint64_t>{{0, 3}, {1, 3}, {2, 2}}));
  }
}

TEST(ContentionArbiter, PriorityIsBargainingPower) {
  auto arbiter = with_resource(small_arbiter(), 9'000'000, true);
  const auto shares =
      round_of(arbiter, {ask(0, 9'000'000, 10, 1'000'000), ask(1, 9'000'000, 0, 1'000'000)});
  EXPECT_EQ(shares.at(0), 6'000'000U) << "two to one";
  EXPECT_EQ(shares.at(1), 3'000'000U);
}

TEST(ContentionArbiter, GivesNobodyLessThanItsMinimum) {
  auto arbiter = with_resource(small_arbiter(), 8);
  const auto shares = round_of(arbiter, {ask(0, 6, 0, 200'000), ask(1, 6, 0, 200'000)});
  EXPECT_EQ(shares, (std::map<std::uint32_t, std::uint64_t>{{0, 6}}))
      << "five each do not fit: the first has all it asked, the other waits";
  EXPECT_EQ(arbiter.view(0).waiting, 1U);
}

TEST(ContentionArbiter, LeximinGivesAllTheSameShareOfWhatTheyAsked) {
  auto config = small_arbiter();
  config.mode = ArbiterMode::leximin;
  auto arbiter = with_resource(config, 6'000, true);
  const auto shares = round_of(arbiter, {ask(0, 2'000, 9, 1'000'000), ask(1, 4'000, 0, 1'000'000),
                                         ask(2, 6'000, 0, 1'000'000)});
  EXPECT_EQ(shares, (std::map<std::uint32_t, std::uint64_t>{{0, 1'000}, {1, 2'000}, {2, 3'000}}));
}

TEST(ContentionArbiter, SellsToTheDearestForWhatTheyDisplace) {
  auto arbiter = with_resource(small_arbiter("market-based"), 8);
  const auto held = arbiter.apply(ask(7, 8), Nanos{0});
  const auto offer = [](std::uint32_t agent, std::uint64_t quantity, std::uint64_t worth) {
    auto one = ask(agent, quantity);
    one.utility_per_unit = worth * 1'000'000;
    return one;
  };
  arbiter.apply(offer(0, 4, 5), Nanos{0});
  arbiter.apply(offer(1, 4, 9), Nanos{0});
  arbiter.apply(offer(2, 4, 3), Nanos{0});
  auto cheap = offer(3, 1, 1);
  cheap.utility_per_unit = 999'999;
  const auto below = arbiter.apply(cheap, Nanos{0});
  arbiter.apply(contention::Release{held.allocation, 0}, Nanos{1});
  ContentionActions actions;
  arbiter.tick(arbiter_ms(60), actions);
  std::map<std::uint32_t, std::uint64_t> prices;
  for (const auto& news : actions.news) prices[news.agent] = news.price;
  EXPECT_EQ(prices, (std::map<std::uint32_t, std::uint64_t>{{0, 12'000'000}, {1, 12'000'000}}));
  EXPECT_EQ(arbiter.explain(below.ticket).reason, ArbiterReason::outbid);
}

TEST(ContentionArbiter, EveryRefusalIsExplainedAndKeepsNothingButItsReason) {
  auto config = small_arbiter("priority-driven");
  config.wait_die = WaitDie::always;
  auto arbiter = with_resource(config, 8);
  EXPECT_EQ(arbiter.last_refusal(0).why.reason, ArbiterReason::unknown);
  arbiter.apply(contention::SetBudget{1, 0, 2, seconds(60)}, Nanos{0});
  auto elder = ask(5, 6);
  elder.timestamp = Nanos{1};
  arbiter.apply(elder, Nanos{10});
  auto young = ask(3, 4, 0, 500'000);
  young.timestamp = Nanos{9};
  const auto before = arbiter.state_hash();
  EXPECT_EQ(arbiter.apply(ask(0, 9), Nanos{10}).reason, ArbiterReason::too_much);
  EXPECT_EQ(arbiter.apply(ask(1, 3), Nanos{10}).reason, ArbiterReason::budget);
  const auto died = arbiter.apply(young, Nanos{10});
  EXPECT_EQ(died.code, Errc::deadlock_victim);
  EXPECT_EQ(died.reason, ArbiterReason::wait_die);
  EXPECT_EQ(died.minimum, 2U);
  EXPECT_EQ(arbiter.state_hash(), before);
  EXPECT_EQ(arbiter.counters().died, 1U);
  EXPECT_EQ(arbiter.counters().quota_exhausted, 1U);
  EXPECT_EQ(arbiter.last_refusal(0).why.asked, 9U);
  EXPECT_EQ(arbiter.last_refusal(1).why.reason, ArbiterReason::budget);
  const RefusedRequest why = arbiter.last_refusal(3);
  EXPECT_EQ(why.why.reason, ArbiterReason::wait_die);
  EXPECT_EQ(why.in_its_way, 5U);
  EXPECT_EQ(why.why.free, 2U);
  EXPECT_EQ(why.why.minimum, 2U);
  EXPECT_EQ(why.at, Nanos{10});
}

// pitfalls A8: one winner does not cost all incumbents their units.
TEST(ContentionArbiter, PreemptsOnlyWhoMustYieldAndOnlyIfItSuffices) {
  auto arbiter = with_resource(small_arbiter("priority-driven"), 8);
  arbiter.apply(ask(0, 3, 1), Nanos{0});
  const auto young = arbiter.apply(ask(1, 3, 1), arbiter_ms(1));
  arbiter.apply(ask(2, 2, 6), arbiter_ms(2));
  arbiter.apply(ask(3, 2, 5), arbiter_ms(3));
  ContentionActions actions;
  arbiter.tick(arbiter_ms(60), actions);
  ASSERT_EQ(actions.news.size(), 1U);
  EXPECT_EQ(actions.news[0].kind, ArbiterNotice::warned);
  EXPECT_EQ(actions.news[0].agent, 1U) << "the youngest of the least urgent";
  arbiter.tick(arbiter_ms(1'070), actions);
  ASSERT_EQ(actions.news.size(), 2U);
  EXPECT_EQ(actions.news[0].kind, ArbiterNotice::preempted);
  EXPECT_EQ(actions.news[1].agent, 3U);
  EXPECT_EQ(arbiter.held(0, 0), 3U);
  EXPECT_EQ(arbiter.apply(contention::Validate{0, young.fence}, seconds(2)).code,
            Errc::stale_token);
  EXPECT_EQ(arbiter.apply(contention::Release{young.allocation, 0}, seconds(2)).code,
            Errc::stale_token);
  const auto vain = arbiter.apply(ask(4, 8, 7), seconds(3));
  arbiter.tick(seconds(4), actions);
  EXPECT_TRUE(actions.news.empty()) << "even all of them would not do";
  EXPECT_EQ(arbiter.explain(vain.ticket).reason, ArbiterReason::no_room);
}

TEST(ContentionArbiter, TakesUnitsBackAfterTheLongestHoldAndWithTheirStation) {
  auto arbiter = with_resource(small_arbiter(), 8);
  const auto held = arbiter.apply(ask(0, 5), Nanos{0});
  arbiter.apply(ask(1, 3), Nanos{0});
  EXPECT_EQ(arbiter.apply(contention::StationClosed{2}, seconds(1)).granted, 3U);
  ContentionActions actions;
  arbiter.tick(seconds(60), actions);
  ASSERT_EQ(actions.news.size(), 1U);
  EXPECT_EQ(actions.news[0].kind, ArbiterNotice::expired);
  EXPECT_EQ(arbiter.apply(contention::Release{held.allocation, 0}, seconds(61)).code,
            Errc::expired);
}

TEST(ContentionArbiter, AStarvedAgentCountsDoubleUntilItIsServed) {
  auto config = small_arbiter();
  config.max_hold_ns = seconds(3'600);
  auto arbiter = with_resource(config, 6'000, true);
  auto held = arbiter.apply(ask(7, 6'000), Nanos{0});
  ContentionActions actions;
  arbiter.apply(ask(0, 6'000), Nanos{0});  // wants all or nothing
  for (int i = 1; i <= 20; ++i) {          // every round goes past it
    arbiter.apply(contention::Release{held.allocation, 0}, seconds(5 * i));
    auto again = ask(7, 6'000, 10);
    arbiter.apply(again, seconds(5 * i));
    arbiter.tick(seconds(5 * i) + arbiter_ms(60), actions);
    for (const auto& news : actions.news) {
      if (news.agent == 7) held.allocation = news.allocation;
    }
  }
  EXPECT_TRUE(arbiter.is_starved(0, seconds(105)));
  EXPECT_GE(arbiter.view(0).severity, Contention::moderate);
  EXPECT_LT(arbiter.satisfaction(0), 0.3);
}

TEST(ContentionArbiter, SeesARisingDemandBeforeItContends) {
  auto config = small_arbiter();
  config.ewma = 1;
  auto arbiter = with_resource(config, 1'000);
  ContentionActions actions;
  for (int i = 0; i < 20; ++i) {
    arbiter.apply(ask(0, 4), seconds(i));
    arbiter.tick(seconds(i), actions);
  }
  const auto forecast = arbiter.forecast(0, seconds(20));
  EXPECT_EQ(forecast.trend, Trend::rising);
  EXPECT_NEAR(forecast.predicted, 4.0 * 621, 10);
  EXPECT_GT(forecast.contention_probability, 0.99);
}

}  // namespace of_contention_arbiter_test
}  // namespace mesh::coordination
