// An economy in a program of its own: tokens are bought on the curve, staked, slashed, and paid in
// a channel whose old state costs the one who closed with it.
#include "engine/coordination/token_economy.hpp"

#include <cstdio>

int main() {
  using namespace mesh;
  using namespace mesh::coordination;
  constexpr U128 kToken = 1'000'000'000'000'000'000U;
  auto config = TokenEconomyConfig::preset("agent-work").value();
  config.penalty_ppm = 500'000;
  TokenEconomy economy(config);
  const auto at = [](int second) { return Nanos{second * kNsPerSecond}; };
  const auto tokens = [&](U128 count) { return amount_of(count * kToken); };

  const auto poor = economy.apply(token::Mint{0, tokens(1'000), 0}, at(0));
  economy.apply(token::DepositReserve{0, tokens(20)}, at(0));
  const auto minted = economy.apply(token::Mint{0, tokens(1'000), 0}, at(0));
  economy.apply(token::Stake{0, tokens(500), 100}, at(0));
  const auto cut = economy.apply(token::Slash{0, 100'000, 1}, at(1));

  economy.apply(token::SetKey{0, 11}, at(1));
  economy.apply(token::SetKey{1, 22}, at(1));
  const auto channel = economy.apply(token::OpenChannel{0, 1, tokens(100), {}}, at(1)).id;
  const auto state = [&](std::uint64_t nonce, U128 left) {
    ChannelState one{channel, nonce, tokens(left), tokens(100 - left)};
    one.mac_a = channel_mac(11, one);
    one.mac_b = channel_mac(22, one);
    return one;
  };
  economy.apply(token::CloseChannel{0, state(1, 90)}, at(2));  // an old one
  economy.apply(token::Challenge{1, state(5, 40)}, at(3));
  TokenEconomyActions actions;
  economy.tick(at(62), actions);
  const auto whole = [&](const Amount& amount) {
    return static_cast<unsigned long long>(wide(amount) / kToken);
  };
  std::printf("%s; charged %llu.%03llu; slashed %llu, burnt %llu; paid %llu; audit %s\n",
              name_of(poor.code).data(), whole(minted.reserve),
              static_cast<unsigned long long>(wide(minted.reserve) / (kToken / 1'000) % 1'000),
              whole(cut.tokens), whole(cut.burned), whole(economy.balance(1).free),
              name_of(economy.apply(token::Audit{}, at(63)).code).data());
  return economy.verify() ? 0 : 1;
}
