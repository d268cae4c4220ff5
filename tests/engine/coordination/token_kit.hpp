// What the tests of the economy share: amounts from text, a small economy, its commands, and a
// trace in which everything happens.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/coordination/token_economy.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination::testing {

constexpr Nanos token_s(double count) { return Nanos{static_cast<std::int64_t>(count * 1e9)}; }

inline U128 number(std::string_view text) {
  U128 value = 0;
  for (const char c : text) value = value * 10 + static_cast<unsigned>(c - '0');
  return value;
}
inline Amount amount(std::string_view text) { return amount_of(number(text)); }
inline Amount units_of(std::uint64_t count) { return amount_of(count); }
inline std::string text_of(U128 value) {
  std::string text;
  do {
    text.insert(text.begin(), static_cast<char>('0' + static_cast<int>(value % 10)));
    value /= 10;
  } while (value != 0);
  return text;
}
inline std::string text_of(const Amount& value) { return text_of(wide(value)); }

inline TokenEconomyConfig small_economy() {
  TokenEconomyConfig config;
  config.schedule = SupplySchedule::bonding_curve;
  config.initial_supply = units_of(1'000'000'000);
  config.mint_authority = 1;
  config.unbond_epochs = 2;
  config.penalty_ppm = 100'000;
  config.burn_ppm = 1'000;
  config.epoch_ns = token_s(10);
  config.challenge_ns = token_s(20);
  config.accounts_max = 6;
  config.channels_max = 3;
  config.escrows_max = 3;
  config.evidence_max = 64;
  config.events_max = 16;
  return config;
}

constexpr std::uint64_t key_of(std::uint32_t account) { return 1'000 + account; }
inline ChannelState signed_state(ChannelState state, std::uint32_t a, std::uint32_t b) {
  state.mac_a = channel_mac(key_of(a), state);
  state.mac_b = channel_mac(key_of(b), state);
  return state;
}

// Random commands; what it knows is what was answered.
class TokenPlayer {
 public:
  explicit TokenPlayer(std::uint64_t seed) : rng_(seed) {}

  TokenEconomyCommand next() {
    if (begun_ < 6) return token::SetKey{begun_, key_of(begun_++)};
    const std::uint64_t what = rng_.below(100);
    const std::uint32_t who = someone();
    if (what < 30) return market(what, who);
    if (what < 50) return token::Transfer{who, someone(), some()};
    if (what < 68) return stake(what, who);
    if (what < 86) return channel(what);
    if (what < 90) return token::OpenEscrow{who, some()};
    if (what < 94) return token::SettleEscrow{1 + rng_.below(last_ + 1), who, some()};
    if (what < 97) {
      return token::Split{who, some(), {someone(), someone()}, {rng_.below(3), rng_.below(3)}};
    }
    return what < 99 ? TokenEconomyCommand{token::Burn{who, some()}} : token::Audit{};
  }
  void hear(const TokenEconomyReply& reply) { last_ = std::max(last_, reply.id); }
  [[nodiscard]] Rng& rng() { return rng_; }

 private:
  std::uint32_t someone() { return static_cast<std::uint32_t>(rng_.below(6)); }
  // Anything from a single unit to more than there is.
  Amount some() {
    const std::uint64_t magnitude = rng_.below(32);
    return units_of(rng_.below(std::uint64_t{1} << magnitude) + (rng_.below(20) == 0 ? 0 : 1));
  }
  TokenEconomyCommand market(std::uint64_t what, std::uint32_t who) {
    if (what < 6) return token::DepositReserve{who, some()};
    if (what < 8) return token::WithdrawReserve{who, some()};
    if (what < 12) return token::Mint{who, some(), static_cast<std::uint32_t>(rng_.below(2))};
    if (what < 16) return token::Buy{who, some(), units_of(rng_.below(5))};
    if (what < 20) return token::Sell{who, some(), units_of(rng_.below(5))};
    if (what < 24) return token::AddLiquidity{who, some(), some(), {}};
    if (what < 26) return token::RemoveLiquidity{who, some()};
    return token::Swap{who, rng_.below(2) == 0, some(), units_of(rng_.below(5))};
  }
  TokenEconomyCommand stake(std::uint64_t what, std::uint32_t who) {
    if (what < 57) return token::Stake{who, some(), static_cast<std::uint32_t>(rng_.below(3))};
    if (what < 61) return token::Unstake{who, rng_.below(2) == 0 ? Amount{} : some()};
    if (what < 63) {
      return token::Slash{who, static_cast<std::uint32_t>(rng_.below(500'000)), rng_.below(50)};
    }
    if (what < 66) return token::Reward{some(), static_cast<std::uint32_t>(rng_.below(3))};
    return token::Claim{who};
  }
  // Of the two first accounts.
  TokenEconomyCommand channel(std::uint64_t what) {
    if (what < 74) return token::OpenChannel{0, 1, units_of(60), units_of(40)};
    const std::uint64_t a = rng_.below(101);
    const ChannelState state = signed_state(
        {1 + rng_.below(last_ + 1), rng_.below(6), units_of(a), units_of(100 - a)}, 0, 1);
    const auto by = static_cast<std::uint32_t>(rng_.below(2));
    if (what < 81) return token::CloseChannel{by, state, rng_.below(3) == 0};
    return token::Challenge{by, state};
  }

  Rng rng_;
  std::uint32_t begun_ = 0;
  std::uint64_t last_ = 0;
};

inline std::vector<Timed<TokenEconomyCommand>> token_trace(const TokenEconomyConfig& config,
                                                           std::size_t count, std::uint64_t seed) {
  std::vector<Timed<TokenEconomyCommand>> commands;
  TokenEconomy follower(config);
  TokenPlayer player(seed);
  Nanos now{0};
  for (std::size_t i = 0; i < count; ++i) {
    auto command = player.next();
    player.hear(follower.apply(command, now));
    commands.push_back({now, command});
    now += token_s(static_cast<double>(player.rng().below(4)));
  }
  return commands;
}

}  // namespace mesh::coordination::testing
