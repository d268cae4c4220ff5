#include "engine/coordination/token_economy.hpp"

#include <cmath>

#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/token_kit.hpp"

namespace mesh::coordination {
namespace of_token_economy_test {

using testing::amount;
using testing::golden;
using testing::Json;
using testing::key_of;
using testing::matches;
using testing::number;
using testing::signed_state;
using testing::small_economy;
using testing::text_of;
using testing::token_s;
using testing::units_of;

TokenEconomyConfig curve_of_a_million() {
  auto config = TokenEconomyConfig::preset("agent-work").value();
  config.accounts_max = 4;
  return config;
}
// A fixed supply of which every account has so much.
TokenEconomy fixed(std::uint64_t each, std::uint32_t accounts = 4) {
  auto config = small_economy();
  config.schedule = SupplySchedule::fixed;
  config.initial_supply = {};
  config.burn_ppm = 0;
  config.cap = units_of(1'000'000'000);
  config.accounts_max = accounts;
  TokenEconomy economy(config);
  for (std::uint32_t i = 0; i < accounts && each != 0; ++i) {
    economy.apply(token::Mint{i, units_of(each), 1}, Nanos{0});
    economy.apply(token::SetKey{i, key_of(i)}, Nanos{0});
  }
  return economy;
}
double real_q64(const Amount& value) { return static_cast<double>(wide(value)) * 0x1p-64; }

// --- goldens -----------------------------------------------------------------------------------

TEST(TokenEconomy, GoldenBondingCurveHalf) {
  const auto [inputs, expected] = golden("token_economy", "bonding_curve_half");
  TokenEconomy economy(curve_of_a_million());
  ASSERT_EQ(text_of(economy.view().supply), inputs.at("supply"));
  ASSERT_EQ(text_of(economy.view().curve_reserve), inputs.at("reserve"));
  TokenEconomy other(curve_of_a_million());
  economy.apply(token::DepositReserve{0, amount("2000000000000000000000")}, Nanos{0});
  other.apply(token::DepositReserve{0, amount("2000000000000000000000")}, Nanos{0});
  const auto bought =
      economy.apply(token::Buy{0, amount(inputs.at("buy_for").get<std::string>()), {}}, Nanos{0});
  const auto minted =
      other.apply(token::Mint{0, amount(inputs.at("exact_out").get<std::string>()), 0}, Nanos{0});
  const auto sold =
      other.apply(token::Sell{0, amount(inputs.at("exact_out").get<std::string>()), {}}, Nanos{0});
  EXPECT_TRUE(matches(expected, {{"minted", text_of(bought.tokens)},
                                 {"cost", text_of(minted.reserve)},
                                 {"price_after_buy", real_q64(economy.view().price_q64)},
                                 {"sell_back", text_of(sold.reserve)}}));
  EXPECT_TRUE(economy.verify());
}

TEST(TokenEconomy, GoldenAmm) {
  const auto [inputs, expected] = golden("token_economy", "amm");
  Json actual = Json::array();
  for (const auto& row : inputs.at("x_y_dx")) {
    const U128 out = TokenEconomy::swap_output(
        number(row.at(0).get<std::string>()), number(row.at(1).get<std::string>()),
        number(row.at(2).get<std::string>()), inputs.at("fee_ppm"));
    actual.push_back(out == 0 ? std::string(name_of(Errc::invalid_argument)) : text_of(out));
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(TokenEconomy, GoldenFirstLiquidity) {
  const auto [inputs, expected] = golden("token_economy", "lp_first_mint");
  const auto root = static_cast<std::uint64_t>(
      root_of_product(inputs.at("x").get<std::uint64_t>(), inputs.at("y").get<std::uint64_t>()));
  EXPECT_TRUE(matches(expected, {{"root", root}}));
}

TEST(TokenEconomy, GoldenSlash) {
  const auto [inputs, expected] = golden("token_economy", "slash");
  auto economy = fixed(1'000);
  economy.apply(token::Stake{0, units_of(inputs.at("staked")), 0}, Nanos{0});
  economy.apply(token::Stake{1, units_of(500), 0}, Nanos{0});
  const auto& both = inputs.at("pro_rata_staked_unbonding");
  economy.apply(token::Unstake{1, units_of(both.at(1))}, Nanos{0});
  const std::uint32_t ppm = inputs.at("ppm");
  const auto cut = economy.apply(token::Slash{0, ppm, 7}, Nanos{0});
  economy.apply(token::Slash{1, ppm, 8}, Nanos{0});
  const auto after = economy.balance(1);
  EXPECT_TRUE(matches(expected, {{"slashed", cut.tokens.low},
                                 {"burned", cut.burned.low},
                                 {"treasury", cut.treasury.low},
                                 {"pro_rata",
                                  {both.at(0).get<std::uint64_t>() - after.staked.low,
                                   both.at(1).get<std::uint64_t>() - after.unbonding.low}}}));
  EXPECT_EQ(economy.apply(token::Slash{0, ppm, 7}, Nanos{0}).code, Errc::duplicate);
}

TEST(TokenEconomy, GoldenHalving) {
  const auto [inputs, expected] = golden("token_economy", "halving");
  auto config = small_economy();
  config.schedule = SupplySchedule::halving;
  config.emission = units_of(inputs.at("e0"));
  config.halve_every = inputs.at("halve_every");
  TokenEconomy economy(config);
  TokenEconomyActions actions;
  economy.tick(Nanos{0}, actions);
  Json actual = Json::array();
  for (int epoch = 1; epoch <= inputs.at("epochs").get<int>(); ++epoch) {
    const U128 before = wide(economy.view().treasury);
    economy.tick(epoch * config.epoch_ns, actions);
    actual.push_back(static_cast<std::uint64_t>(wide(economy.view().treasury) - before));
  }
  EXPECT_TRUE(matches(expected, actual));
  EXPECT_TRUE(economy.verify());
}

TEST(TokenEconomy, GoldenChannel) {
  const auto [inputs, expected] = golden("token_economy", "channel");
  auto economy = fixed(100, 2);
  const auto deposits = inputs.at("deposits");
  const auto id =
      economy
          .apply(token::OpenChannel{0, 1, units_of(deposits.at(0)), units_of(deposits.at(1))},
                 Nanos{0})
          .id;
  const auto state = [&](const Json& from) {
    ChannelState one;
    one.channel = id;
    one.nonce = from.at("nonce");
    one.balance_a =
        units_of(from.contains("balances") ? from["balances"].at(0).get<std::uint64_t>() : 50);
    one.balance_b =
        units_of(from.contains("balances") ? from["balances"].at(1).get<std::uint64_t>() : 50);
    return signed_state(one, 0, 1);
  };
  Json actual;
  actual["unbalanced"] =
      name_of(economy.apply(token::CloseChannel{0, state(inputs.at("unbalanced"))}, Nanos{0}).code);
  economy.apply(token::CloseChannel{0, state(inputs.at("close_with"))}, Nanos{0});
  economy.apply(token::Challenge{1, state(inputs.at("challenged_by"))}, token_s(19));
  actual["late_older"] =
      name_of(economy.apply(token::Challenge{0, state(inputs.at("late_older"))}, token_s(19)).code);
  TokenEconomyActions actions;
  economy.tick(token_s(20), actions);
  const auto got = [&](std::uint32_t account) {
    return economy.balance(account).free.low - (100 - deposits.at(account).get<std::uint64_t>());
  };
  // The closer's state was old: a tenth of its side went to the other.
  EXPECT_EQ(got(0), 27U);
  EXPECT_EQ(got(1), 73U);
  actual["payout"] = {got(0) + 3, got(1) - 3};
  EXPECT_TRUE(matches(expected, actual));
}

TEST(TokenEconomy, GoldenLedgerTrace) {
  const auto [inputs, expected] = golden("token_economy", "ledger_trace");
  TokenEconomy economy(curve_of_a_million());
  ASSERT_EQ(text_of(economy.view().supply), inputs.at("supply"));
  ASSERT_EQ(text_of(economy.view().curve_reserve), inputs.at("curve_reserve"));
  std::uint64_t evidence = 0;
  const auto play = [&](const Json& step) -> Json {
    const std::string verb = step.at(0);
    const auto value = [&] { return amount(step.at(2).get<std::string>()); };
    if (verb == "audit") {
      const auto reply = economy.apply(token::Audit{}, Nanos{0});
      return {{"ok", reply.code == Errc::ok}, {"supply", text_of(reply.tokens)}};
    }
    if (verb == "deposit_reserve") {
      return {
          {"reserve", text_of(economy.apply(token::DepositReserve{1, value()}, Nanos{0}).reserve)}};
    }
    if (verb == "mint") {
      const auto reply = economy.apply(token::Mint{1, value(), 0}, Nanos{0});
      Json json{{"status", name_of(reply.code)}};
      if (reply.code == Errc::ok) json["charged"] = text_of(reply.reserve);
      return json;
    }
    if (verb == "stake") {
      const auto reply = economy.apply(token::Stake{1, value(), step.at(3)}, Nanos{0});
      return {{"status", name_of(reply.code)}, {"free", text_of(reply.free)}};
    }
    if (verb == "unstake") {
      return {{"status", name_of(economy.apply(token::Unstake{1, {}}, Nanos{0}).code)}};
    }
    const auto reply = economy.apply(token::Slash{1, step.at(2), ++evidence}, Nanos{0});
    return {{"status", name_of(reply.code)},
            {"slashed", text_of(reply.tokens)},
            {"burned", text_of(reply.burned)},
            {"treasury", text_of(reply.treasury)}};
  };
  Json actual = Json::array();
  for (const auto& step : inputs.at("steps")) {
    actual.push_back(play(step));
  }
  EXPECT_TRUE(matches(expected, actual)) << actual.dump();
}

// --- refusals ----------------------------------------------------------------------------------

TEST(TokenEconomy, RefusesBadInputAndChangesNothing) {
  auto economy = fixed(1'000);
  const auto half = Amount{0, std::uint64_t{1} << 32};  // 2^96
  const auto channel =
      economy.apply(token::OpenChannel{0, 1, units_of(60), units_of(40)}, Nanos{0});
  economy.apply(token::Stake{2, units_of(10), 5}, Nanos{0});
  const auto state = [&](std::uint64_t nonce, std::uint64_t a, std::uint64_t b) {
    return signed_state({channel.id, nonce, units_of(a), units_of(b)}, 0, 1);
  };
  auto forged = state(1, 60, 40);
  forged.mac_b ^= 1;
  testing::expect_all_refused<TokenEconomy>(
      economy,
      {{"transfer of nothing", token::Transfer{0, 1, {}}},
       {"transfer of 2^96", token::Transfer{0, 1, half}},
       {"transfer of more than there is", token::Transfer{0, 1, units_of(941)},
        Errc::insufficient_balance},
       {"transfer to nobody", token::Transfer{0, 9, units_of(1)}, Errc::no_such_agent},
       {"time below zero", token::Transfer{0, 1, units_of(1)}, Errc::invalid_argument, Nanos{-1}},
       {"key 0", token::SetKey{0, 0}},
       {"deposit of nothing", token::DepositReserve{0, {}}},
       {"withdrawal of what is not there", token::WithdrawReserve{0, units_of(1)},
        Errc::insufficient_balance},
       {"mint by nobody", token::Mint{0, units_of(1), 0}, Errc::not_authorized},
       {"mint above the cap", token::Mint{0, units_of(1'000'000'000), 1},
        Errc::insufficient_quantity},
       {"a curve that is not there", token::Buy{0, units_of(1), {}}, Errc::wrong_state},
       {"stake of more than there is", token::Stake{0, units_of(2'000), 0},
        Errc::insufficient_balance},
       {"unstake before the lock is over", token::Unstake{2, {}}, Errc::wrong_state},
       {"unstake of nothing", token::Unstake{3, {}}, Errc::insufficient_balance},
       {"slash without evidence", token::Slash{2, 1, 0}},
       {"slash of more than all", token::Slash{2, 1'000'001, 4}},
       {"reward by nobody", token::Reward{units_of(1), 0}, Errc::not_authorized},
       {"reward from an empty treasury", token::Reward{units_of(1), 1}, Errc::insufficient_balance},
       {"claim of nothing", token::Claim{2}, Errc::insufficient_balance},
       {"swap without a pool", token::Swap{0, true, units_of(1), {}}, Errc::not_found},
       {"liquidity of one side", token::AddLiquidity{0, units_of(1), {}, {}}},
       {"shares that are not there", token::RemoveLiquidity{0, units_of(1)},
        Errc::insufficient_balance},
       {"channel with oneself", token::OpenChannel{0, 0, units_of(1), units_of(1)}},
       {"channel without deposits", token::OpenChannel{0, 1, {}, {}}},
       {"unbalanced state", token::CloseChannel{0, state(1, 60, 41)}},
       {"forged state", token::CloseChannel{0, forged}, Errc::verification_failed},
       {"close by a third", token::CloseChannel{2, state(1, 60, 40)}, Errc::not_authorized},
       {"challenge of what is open", token::Challenge{0, state(1, 60, 40)}, Errc::wrong_state},
       {"channel that is not there", token::Challenge{0, {}}, Errc::not_found},
       {"escrow of nothing", token::OpenEscrow{0, {}}},
       {"escrow that is not there", token::SettleEscrow{99, 0, {}}, Errc::not_found},
       {"split without weight", token::Split{0, units_of(5), {1, 2}, {0, 0}}},
       {"split to nobody", token::Split{0, units_of(5), {}, {}}},
       {"split among unequal lists", token::Split{0, units_of(5), {1}, {1, 2}}},
       {"split to no account", token::Split{0, units_of(5), {9}, {1}}, Errc::no_such_agent},
       {"burn of more than there is", token::Burn{0, units_of(2'000)},
        Errc::insufficient_balance}});
}

TEST(TokenEconomy, NamesTheFieldThatIsOutOfRange) {
  const auto refuses = [](auto change, std::string_view name) {
    auto config = TokenEconomyConfig::preset("agent-work").value();
    change(config);
    const auto judged = TokenEconomy::validate(config);
    ASSERT_FALSE(judged) << name;
    EXPECT_EQ(judged.error().code, Errc::invalid_config);
    EXPECT_NE(judged.error().sentence.find(name), std::string::npos) << judged.error().sentence;
  };
  refuses([](auto& c) { c.symbol = "NO SPACE"; }, "symbol");
  refuses([](auto& c) { c.symbol = "TWELVELETTER"; }, "symbol");
  refuses([](auto& c) { c.decimals = 19; }, "decimals");
  refuses([](auto& c) { c.initial_supply = {0, 1ULL << 32}; }, "initial_supply");
  refuses([](auto& c) { c.reserve_ratio_ppm = 62'499; }, "reserve_ratio_ppm");
  refuses([](auto& c) { c.reserve_ratio_ppm = 1'000'001; }, "reserve_ratio_ppm");
  refuses([](auto& c) { c.base_price_micro = 0; }, "curve");
  refuses([](auto& c) { c.halve_every = 0; }, "halve_every");
  refuses([](auto& c) { c.amm_fee_ppm = 1'000'000; }, "amm_fee_ppm");
  refuses([](auto& c) { c.epoch_ns = Nanos{0}; }, "epoch_ns");
  refuses([](auto& c) { c.challenge_ns = Nanos::max(); }, "challenge_ns");
  refuses([](auto& c) { c.accounts_max = 0; }, "accounts_max");
}

// --- behaviour ---------------------------------------------------------------------------------

TEST(TokenEconomy, TransfersWithoutLossAndToOneselfWithoutEffect) {
  auto economy = fixed(100);
  EXPECT_EQ(economy.apply(token::Transfer{0, 1, units_of(30)}, Nanos{0}).free.low, 70U);
  EXPECT_EQ(economy.balance(1).free.low, 130U);
  const auto hash = economy.state_hash();
  EXPECT_EQ(economy.apply(token::Transfer{0, 0, units_of(30)}, Nanos{0}).code, Errc::ok);
  EXPECT_EQ(economy.state_hash(), hash);
}

TEST(TokenEconomy, BurnsItsShareOfATransfer) {
  auto config = small_economy();
  config.burn_ppm = 100'000;
  TokenEconomy economy(config);
  economy.apply(token::DepositReserve{0, units_of(1'000'000)}, Nanos{0});
  economy.apply(token::Mint{0, units_of(100), 0}, Nanos{0});
  EXPECT_EQ(economy.apply(token::Transfer{0, 1, units_of(50)}, Nanos{0}).burned.low, 5U);
  EXPECT_EQ(economy.balance(1).free.low, 45U);
  EXPECT_TRUE(economy.verify());
}

TEST(TokenEconomy, UnbondsForItsEpochsAndKeepsTheLock) {
  auto economy = fixed(100);
  economy.apply(token::Stake{0, units_of(60), 3}, Nanos{0});
  EXPECT_EQ(economy.apply(token::Unstake{0, {}}, token_s(29)).code, Errc::wrong_state);
  EXPECT_EQ(economy.apply(token::Unstake{0, units_of(20)}, token_s(30)).code, Errc::ok);
  EXPECT_EQ(economy.balance(0).unbonding.low, 20U);
  TokenEconomyActions actions;
  economy.tick(token_s(49), actions);
  EXPECT_EQ(economy.balance(0).free.low, 40U);
  EXPECT_EQ(actions.next_tick, token_s(50));
  economy.tick(token_s(50), actions);
  EXPECT_EQ(economy.balance(0).free.low, 60U);
}

TEST(TokenEconomy, PaysRewardsInProportionToWhatWasStakedMeanwhile) {
  auto config = small_economy();
  TokenEconomy economy(config);
  for (std::uint32_t i = 0; i < 2; ++i) {
    economy.apply(token::DepositReserve{i, units_of(1'000'000)}, Nanos{0});
    economy.apply(token::Mint{i, units_of(1'000), 0}, Nanos{0});
  }
  economy.apply(token::Stake{0, units_of(300), 0}, Nanos{0});
  economy.apply(token::Reward{units_of(90), 1}, Nanos{0});
  economy.apply(token::Stake{1, units_of(600), 0}, Nanos{0});
  economy.apply(token::Reward{units_of(90), 1}, Nanos{0});
  // 2^-32 of a unit is lost in each step, against the one who claims.
  EXPECT_GE(economy.pending_reward(0).low, 119U);
  EXPECT_LE(economy.pending_reward(0).low, 120U);
  const auto claimed = economy.apply(token::Claim{1}, Nanos{0}).tokens.low;
  EXPECT_GE(claimed, 59U);
  EXPECT_LE(claimed, 60U) << "nothing of what was paid before it staked";
  EXPECT_EQ(economy.pending_reward(1).low, 0U);
  EXPECT_TRUE(economy.verify());
}

// pitfalls A8: a claim that credits from nothing, a swap that debits nobody.
TEST(TokenEconomy, DoesNotPayOutWhatWasNotSetAside) {
  auto economy = fixed(1'000);
  economy.apply(token::Stake{0, units_of(100), 0}, Nanos{0});
  EXPECT_EQ(economy.apply(token::Claim{0}, Nanos{0}).code, Errc::insufficient_balance);
  EXPECT_EQ(economy.apply(token::Reward{units_of(5), 1}, Nanos{0}).code,
            Errc::insufficient_balance);
}

TEST(TokenEconomy, DoesNotSwapOrPoolWithoutDebitingTheAccounts) {
  auto economy = fixed(100'000);
  economy.apply(token::DepositReserve{0, units_of(50'000)}, Nanos{0});
  economy.apply(token::DepositReserve{1, units_of(100)}, Nanos{0});
  ASSERT_EQ(economy.apply(token::AddLiquidity{0, units_of(20'000), units_of(20'000), {}}, Nanos{0})
                .tokens.low,
            19'000U)
      << "a thousand shares are nobody's";
  EXPECT_EQ(economy.balance(0).free.low, 80'000U);
  EXPECT_EQ(economy.balance(0).reserve.low, 30'000U);
  const auto swapped = economy.apply(token::Swap{1, true, units_of(1'000), {}}, Nanos{0});
  EXPECT_EQ(economy.balance(1).free.low, 99'000U);
  EXPECT_EQ(economy.balance(1).reserve.low, 100 + swapped.reserve.low);
  EXPECT_EQ(economy.apply(token::Swap{1, true, units_of(1), {}}, Nanos{0}).code,
            Errc::invalid_argument)
      << "nothing would come out";
  EXPECT_EQ(economy.apply(token::Swap{1, true, units_of(1'000), units_of(9'999)}, Nanos{0}).refusal,
            Refusal::rejected_policy);
  EXPECT_TRUE(economy.verify());
}

TEST(TokenEconomy, StopsAPoolWhosePriceRunsAway) {
  auto economy_config = fixed(0).config();
  economy_config.amm_move_ppm_max = 100'000;
  TokenEconomy economy(economy_config);
  economy.apply(token::Mint{0, units_of(1'000'000), 1}, Nanos{0});
  economy.apply(token::DepositReserve{0, units_of(1'000'000)}, Nanos{0});
  economy.apply(token::AddLiquidity{0, units_of(100'000), units_of(100'000), {}}, Nanos{0});
  EXPECT_EQ(economy.apply(token::Swap{0, true, units_of(4'000), {}}, Nanos{0}).refusal,
            Refusal::none);
  EXPECT_EQ(economy.apply(token::Swap{0, true, units_of(4'000), {}}, Nanos{0}).refusal,
            Refusal::rejected_policy);
  EXPECT_EQ(economy.counters().breaker_trips, 1U);
  EXPECT_EQ(economy.apply(token::Swap{0, true, units_of(4'000), {}}, token_s(10)).refusal,
            Refusal::none)
      << "an epoch later it counts from there";
}

TEST(TokenEconomy, SumsThePriceOverTime) {
  auto economy = fixed(1'000'000);
  economy.apply(token::DepositReserve{0, units_of(1'000'000)}, Nanos{0});
  economy.apply(token::AddLiquidity{0, units_of(100'000), units_of(200'000), {}}, Nanos{0});
  const U128 from = wide(economy.price_cumulative(token_s(1)));
  const U128 to = wide(economy.price_cumulative(token_s(3)));
  EXPECT_EQ((to - from) / 2'000'000'000, U128{2} << 32);
}

TEST(TokenEconomy, InflatesByItsRateAndCarriesTheRemainder) {
  auto config = small_economy();
  config.schedule = SupplySchedule::inflationary;
  config.initial_supply = units_of(10'050);
  config.bps_per_epoch = 1;
  TokenEconomy economy(config);
  TokenEconomyActions actions;
  for (int epoch = 0; epoch <= 200; ++epoch) economy.tick(epoch * config.epoch_ns, actions);
  EXPECT_EQ(economy.view().supply.low, 10'050U + 203U) << "1.005 an epoch, and a little interest";
}

TEST(TokenEconomy, EveryCurveRoundsAgainstTheCaller) {
  for (const std::uint32_t ratio : {1'000'000U, 500'000U, 333'333U, 250'000U, 62'500U, 700'001U}) {
    SCOPED_TRACE(ratio);
    auto config = curve_of_a_million();
    config.reserve_ratio_ppm = ratio;
    TokenEconomy economy(config);
    economy.apply(token::DepositReserve{0, amount("1000000000000000000000000")}, Nanos{0});
    Rng rng(ratio);
    for (int i = 0; i < 20; ++i) {
      const U128 paid = U128{rng.next()} * (1 + rng.below(200));
      const U128 before = wide(economy.balance(0).reserve);
      const double price = real_q64(economy.view().price_q64);
      const auto bought = economy.apply(token::Buy{0, amount_of(paid), {}}, Nanos{0});
      ASSERT_EQ(bought.code, Errc::ok);
      const double mean = static_cast<double>(paid) / static_cast<double>(wide(bought.tokens));
      EXPECT_GE(mean, price * (1 - 1e-9)) << "never below the price that stood";
      EXPECT_GE(real_q64(economy.view().price_q64), price * (1 - 1e-9)) << "it only rises";
      economy.apply(token::Sell{0, bought.tokens, {}}, Nanos{0});
      EXPECT_LE(wide(economy.balance(0).reserve), before) << "buy, then sell: no gain";
      const U128 lost = before - wide(economy.balance(0).reserve);
      EXPECT_LE(static_cast<double>(lost), 1e-9 * static_cast<double>(paid) + 1e9);
      ASSERT_TRUE(economy.verify());
    }
  }
}

TEST(TokenEconomy, APowerIsWithinItsError) {
  // The same by floating point, as far as that goes.
  for (const auto [a, b, num, den] : {std::array<std::uint32_t, 4>{3, 2, 1, 3},
                                      {1'000, 999, 1'000'000, 62'500},
                                      {7, 1, 2, 5},
                                      {1'000'001, 1'000'000, 500'000, 1'000'000},
                                      {5, 5, 3, 7}}) {
    const auto power = power_q64(a, b, num, den);
    ASSERT_TRUE(power.fits);
    const double expected = std::pow(static_cast<double>(a) / b, static_cast<double>(num) / den);
    EXPECT_NEAR(static_cast<double>(power.value) * 0x1p-64, expected, 1e-14 * expected);
  }
  // sqrt(2) to 64 bits: 1.8446744073709551616e19 * 1.4142135623730950488
  const U128 root = number("26087635650665564424");
  const U128 got = power_q64(2, 1, 1, 2).value;
  EXPECT_LE(got > root ? got - root : root - got, U128{256}) << "2^-56";
}

TEST(TokenEconomy, ClosesTogetherAtOnceAndHonestlyWithoutPenalty) {
  auto economy = fixed(100, 2);
  const auto open = [&] {
    return economy.apply(token::OpenChannel{0, 1, units_of(60), units_of(40)}, Nanos{0}).id;
  };
  auto id = open();
  auto state = signed_state({id, 3, units_of(10), units_of(90)}, 0, 1);
  economy.apply(token::CloseChannel{0, state, true}, Nanos{0});
  EXPECT_EQ(economy.balance(0).free.low, 50U);
  EXPECT_EQ(economy.balance(1).free.low, 150U);
  EXPECT_EQ(economy.apply(token::CloseChannel{0, state, true}, Nanos{0}).code, Errc::not_found);
  economy.apply(token::Transfer{1, 0, units_of(50)}, Nanos{0});
  id = open();
  state = signed_state({id, 1, units_of(60), units_of(40)}, 0, 1);
  EXPECT_EQ(economy.apply(token::CloseChannel{0, state}, Nanos{0}).until, token_s(20));
  TokenEconomyActions actions;
  economy.tick(token_s(20), actions);
  EXPECT_EQ(economy.balance(0).free.low, 100U);
  EXPECT_EQ(economy.counters().cheats, 0U);
}

TEST(TokenEconomy, SettlesAnEscrowOnce) {
  auto economy = fixed(100);
  const auto id = economy.apply(token::OpenEscrow{0, units_of(60)}, Nanos{0}).id;
  EXPECT_EQ(economy.apply(token::SettleEscrow{id, 1, units_of(61)}, Nanos{0}).code,
            Errc::insufficient_balance);
  EXPECT_EQ(economy.apply(token::SettleEscrow{id, 1, units_of(35)}, Nanos{0}).free.low, 65U);
  EXPECT_EQ(economy.balance(1).free.low, 135U);
  EXPECT_EQ(economy.apply(token::SettleEscrow{id, 1, units_of(1)}, Nanos{0}).code, Errc::not_found);
}

TEST(TokenEconomy, SplitsToTheLastUnit) {
  auto economy = fixed(100);
  economy.apply(token::Split{0, units_of(100), {1, 2, 3}, {1, 1, 1}}, Nanos{0});
  EXPECT_EQ(economy.balance(1).free.low, 134U);
  EXPECT_EQ(economy.balance(2).free.low, 133U);
  EXPECT_EQ(economy.balance(3).free.low, 133U);
}

}  // namespace of_token_economy_test
}  // namespace mesh::coordination
