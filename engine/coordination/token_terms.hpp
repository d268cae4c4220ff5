// What TokenEconomy is told, and what it answers: config, commands, replies, views.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/refusal.hpp"
#include "engine/coordination/blocks/wide_math.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

enum class SupplySchedule : std::uint8_t { fixed, inflationary, halving, bonding_curve };

struct TokenEconomyConfig {
  std::string symbol = "WORK";  // 1..11 letters or digits
  std::uint32_t decimals = 18;
  Amount initial_supply{};  // in base units, to the treasury
  SupplySchedule schedule = SupplySchedule::fixed;
  Amount cap{};                               // fixed: the most that may ever be minted
  std::uint32_t bps_per_epoch = 0;            // inflationary
  Amount emission{};                          // halving: of the first epochs
  std::uint32_t halve_every = 4;              // epochs
  std::uint32_t burn_ppm = 0;                 // of every transfer
  std::uint32_t reserve_ratio_ppm = 500'000;  // curve: 500000, 333333 and 1000000 are exact
  std::uint64_t base_price_micro = 10'000;    // curve: reserve units a token, in millionths
  std::uint32_t mint_authority = 0;           // the station that may mint and pay; 0: nobody
  std::uint32_t slash_burn_ppm = 500'000;     // the rest goes to the treasury
  std::uint32_t unbond_epochs = 7;
  std::uint32_t amm_fee_ppm = 3'000;
  std::uint32_t amm_move_ppm_max = 0;  // how far an epoch's swaps may move the price; 0: any
  std::uint32_t penalty_ppm = 0;       // of a cheat's side of a channel, to the other side
  Nanos challenge_ns{60'000'000'000};
  Nanos epoch_ns{3'600'000'000'000};
  std::uint32_t accounts_max = 1'024;
  std::uint32_t channels_max = 256;
  std::uint32_t escrows_max = 256;
  std::uint32_t evidence_max = 4'096;
  std::uint32_t events_max = 256;

  static Result<TokenEconomyConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

// What both sides of a channel have signed.
struct ChannelState {
  std::uint64_t channel = 0;
  std::uint64_t nonce = 0;
  Amount balance_a{};
  Amount balance_b{};
  std::uint64_t mac_a = 0;
  std::uint64_t mac_b = 0;
};
// XXH3 keyed by the account's key: for hosts that trust each other. Not a signature to a third.
[[nodiscard]] std::uint64_t channel_mac(std::uint64_t key, const ChannelState& state) noexcept;

namespace token {
struct SetKey {  // for its channels
  std::uint32_t account = 0;
  std::uint64_t key = 0;
};
struct DepositReserve {
  std::uint32_t account = 0;
  Amount amount{};
};
struct WithdrawReserve {
  std::uint32_t account = 0;
  Amount amount{};
};
struct Transfer {
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  Amount amount{};
};
// On a curve: bought exactly. fixed: below the cap. else from what was emitted to the treasury.
struct Mint {
  std::uint32_t to = 0;
  Amount amount{};
  std::uint32_t station = 0;
};
struct Buy {  // on the curve, for an exact payment
  std::uint32_t account = 0;
  Amount payment{};
  Amount least{};
};
struct Sell {  // to the curve
  std::uint32_t account = 0;
  Amount amount{};
  Amount least{};
};
struct Burn {
  std::uint32_t account = 0;
  Amount amount{};
};
struct Stake {
  std::uint32_t account = 0;
  Amount amount{};
  std::uint32_t lock_epochs = 0;
};
struct Unstake {
  std::uint32_t account = 0;
  Amount amount{};  // 0: all
};
struct Slash {
  std::uint32_t account = 0;
  std::uint32_t ppm = 0;
  std::uint64_t evidence = 0;  // a hash; each counts once
};
struct Reward {  // from the treasury to all that stake, in proportion
  Amount amount{};
  std::uint32_t station = 0;
};
struct Claim {
  std::uint32_t account = 0;
};
struct AddLiquidity {
  std::uint32_t account = 0;
  Amount tokens{};
  Amount reserve{};
  Amount least_shares{};
};
struct RemoveLiquidity {
  std::uint32_t account = 0;
  Amount shares{};
};
struct Swap {
  std::uint32_t account = 0;
  bool sells_tokens = true;  // false: pays reserve for tokens
  Amount amount{};
  Amount least{};
};
struct OpenChannel {
  std::uint32_t a = 0;
  std::uint32_t b = 0;
  Amount deposit_a{};
  Amount deposit_b{};
};
struct CloseChannel {
  std::uint32_t by = 0;
  ChannelState state;
  bool is_cooperative = false;  // both agree: at once
};
struct Challenge {
  std::uint32_t by = 0;
  ChannelState state;
};
struct OpenEscrow {
  std::uint32_t account = 0;
  Amount amount{};
};
struct SettleEscrow {  // part of it to another, the rest back
  std::uint64_t escrow = 0;
  std::uint32_t to = 0;
  Amount amount{};
};
struct Split {  // by weights, to the last unit
  std::uint32_t from = 0;
  Amount amount{};
  std::vector<std::uint32_t> accounts;
  std::vector<std::uint64_t> weights;
};
struct Audit {};
}  // namespace token

struct TokenEconomyReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  Amount tokens{};   // moved, minted, slashed, paid out
  Amount reserve{};  // charged or paid
  Amount burned{};
  Amount treasury{};
  Amount free{};         // of the account, afterwards
  std::uint64_t id = 0;  // channel or escrow
  Nanos until{0};        // the end of a challenge
};

struct TokenEconomyCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t movements = 0;  // entries of the ledger
  std::uint64_t epochs = 0;
  std::uint64_t slashes = 0;
  std::uint64_t swaps = 0;
  std::uint64_t channels_opened = 0;
  std::uint64_t channels_closed = 0;
  std::uint64_t challenges = 0;
  std::uint64_t cheats = 0;
  std::uint64_t breaker_trips = 0;
  std::uint64_t rejected_policy = 0;
  std::uint64_t audits = 0;
};

struct BalanceView {
  Amount free{};
  Amount staked{};
  Amount unbonding{};
  Amount reserve{};
  Amount shares{};
};
struct EconomyView {
  Amount supply{};
  Amount minted{};
  Amount burned{};
  Amount treasury{};
  Amount curve_reserve{};
  Amount pool_tokens{};
  Amount pool_reserve{};
  Amount pool_shares{};
  Amount price_q64{};  // reserve for a token: the curve's, else the pool's; Q64.64
  std::uint64_t epoch = 0;
  std::uint64_t sequence = 0;  // of the ledger
};

// Where every unit is. free to treasury is the supply, which is minted less burned; accounts to
// pool_reserve is what was deposited of the reserve currency.
struct TokenBooks {
  Amount free{};
  Amount staked{};
  Amount unbonding{};
  Amount channels{};
  Amount pool{};
  Amount escrow{};
  Amount rewards{};  // set aside for those that stake
  Amount treasury{};
  Amount supply{};
  Amount minted{};
  Amount burned{};
  Amount reserve_accounts{};
  Amount reserve_curve{};
  Amount reserve_pool{};
  Amount reserve{};
  friend bool operator==(const TokenBooks&, const TokenBooks&) = default;
};

// One movement. hash covers it and the hash before: what is changed or missing shows.
struct LedgerEntry {
  std::uint64_t sequence = 0;
  std::uint64_t kind = 0;  // the command's index; what time does: 255
  std::uint64_t account = 0;
  std::uint64_t other = 0;
  Amount amount{};
  std::uint64_t previous = 0;
  std::uint64_t hash = 0;
};

struct TokenEconomyActions {
  bool view_changed = false;
  Nanos next_tick{0};
};

using TokenEconomyCommand =
    std::variant<token::Transfer, token::SetKey, token::DepositReserve, token::WithdrawReserve,
                 token::Mint, token::Buy, token::Sell, token::Burn, token::Stake, token::Unstake,
                 token::Slash, token::Reward, token::Claim, token::AddLiquidity,
                 token::RemoveLiquidity, token::Swap, token::OpenChannel, token::CloseChannel,
                 token::Challenge, token::OpenEscrow, token::SettleEscrow, token::Split,
                 token::Audit>;

// A command's index: the kind of its entries.
template <class Order>
inline constexpr std::uint64_t kTokenKind = [] {
  constexpr auto kIndex = []<std::size_t... I>(std::index_sequence<I...>) {
    return ((std::is_same_v<Order, std::variant_alternative_t<I, TokenEconomyCommand>> ? I : 0) +
            ...);
  };
  return kIndex(std::make_index_sequence<std::variant_size_v<TokenEconomyCommand>>{});
}();

}  // namespace mesh::coordination
