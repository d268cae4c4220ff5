// TokenEconomy: accounts, staking, channels, a market maker, a bonding curve and escrow, exact to
// the unit.
//
//   treasury --pay, emission--> free --stake--> staked --unstake--> unbonding --epochs--> free
//   free <--> channel (off the ledger in between)   free <--> pool   free <--> escrow
//   reserve --curve--> free                         staked, unbonding --slash--> burnt, treasury
//
// Callers     one thread, which owns the machine; hosted by JournaledService it is durable.
// Progress    wait-free. Ordering: what is due at `now` (epochs, challenges) comes before the
//             command.
// Cost        a movement within the ledger 100 ns before the journal; the curve and the pool some
//             microseconds. No allocation after construction.
// Units       base units (10^-decimals) in 128 bits, below 2^96; intermediate results up to 512
//             bits; ppm; epochs of epoch_ns from the first command on; accounts are numbers below
//             accounts_max. Rounding goes against the caller, always.
// Invariants  free + staked + unbonding + channels + pool + escrow + rewards + treasury == supply
//             == minted - burned, after every command; and for the reserve currency accounts +
//             curve + pool == what was deposited. x * y of the pool never falls but by a burn of
//             shares. A channel pays out what was paid in.
// If the      other side of a channel vanishes: close alone, and after challenge_ns it is paid. It
// other side  closes with an old state: the newer one replaces it, and costs it penalty_ppm.
// lies
// Errors      invalid_argument (0, zero output, an unbalanced channel), insufficient_balance,
//             insufficient_quantity (above the cap), overflow, wrong_state (a lock that is not
//             over), stale_token (an older nonce), duplicate (evidence), verification_failed (a
//             signature), not_authorized, no_such_agent, not_found, capacity.
//             Refusal::rejected_policy: less than the least asked for, or the price breaker.
// Source      Hertzog 2017 (Bancor); constant product with a fee: Uniswap v2; rewards a share:
//             MasterChef; channels: Poon & Dryja 2016; Hamilton for splits.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/coordination/blocks/deadline_heap.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/blocks/slot_set.hpp"
#include "engine/coordination/service.hpp"
#include "engine/coordination/token_terms.hpp"

namespace mesh::coordination {

class TokenEconomy final
    : public ServiceForm<TokenEconomy, TokenEconomyConfig, TokenEconomyCommand, TokenEconomyReply,
                         TokenEconomyCounters, TokenEconomyActions> {
 public:
  // slashed: a account, b low word of the amount, c evidence. price_breaker: b epoch.
  enum class Event : std::uint16_t { slashed = 1, cheat, price_breaker };
  static constexpr std::size_t kEntries = 256;
  static constexpr std::size_t kSplitMax = 64;
  static constexpr std::uint64_t kSharesLocked = 1'000;

  static Status validate(const Config& config);
  explicit TokenEconomy(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;

  [[nodiscard]] BalanceView balance(std::uint32_t account) const noexcept;
  [[nodiscard]] EconomyView view() const noexcept;
  // O(accounts + channels + escrows).
  [[nodiscard]] TokenBooks books() const noexcept;
  [[nodiscard]] Amount pending_reward(std::uint32_t account) const noexcept;
  // Price times ns since the pool began, Q32.32; two of them make a time-weighted mean.
  [[nodiscard]] Amount price_cumulative(Nanos now) const noexcept;
  // What an epoch emits.
  [[nodiscard]] static U128 halving_emission(U128 first, std::uint64_t epoch,
                                             std::uint32_t halve_every) noexcept;
  [[nodiscard]] static U128 swap_output(U128 in_side, U128 out_side, U128 amount,
                                        std::uint32_t fee_ppm) noexcept;
  // The last kEntries movements, oldest first; is_chain: none is missing or changed.
  [[nodiscard]] std::vector<LedgerEntry> entries() const;
  [[nodiscard]] static bool is_chain(std::span<const LedgerEntry> entries) noexcept;

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"token_economy", 1};
  static constexpr std::string_view kWho = "token economy";
  static constexpr std::uint32_t kNone = IdTable::kNone;

  struct Account {
    U128 free = 0;
    U128 staked = 0;
    U128 unbonding = 0;
    U128 reserve = 0;
    U128 shares = 0;
    U128 earned_at = 0;  // rewards_per_unit_ when `earned` was brought up to date
    U128 earned = 0;
    std::uint64_t locked_until = 0;  // epoch
    std::uint64_t unbonded_at = 0;   // epoch
    std::uint64_t key = 0;
  };
  struct Channel {
    std::uint64_t id = 0;
    U128 deposit_a = 0;
    U128 deposit_b = 0;
    U128 balance_a = 0;
    U128 balance_b = 0;
    std::uint64_t nonce = 0;
    std::int64_t ends_ns = 0;
    std::uint32_t a = 0;
    std::uint32_t b = 0;
    std::uint32_t closed_by = kNone;
    std::uint32_t cheat = kNone;
  };
  struct Escrow {
    std::uint64_t id = 0;
    U128 amount = 0;
    std::uint32_t account = 0;
  };
  struct Sums {
    U128 supply = 0;
    U128 minted = 0;
    U128 burned = 0;
    U128 treasury = 0;
    U128 staked = 0;
    U128 rewards = 0;           // set aside for those that stake
    U128 rewards_per_unit = 0;  // Q96.32
    U128 curve = 0;
    U128 reserve = 0;  // of the reserve currency, in all
    U128 pool_tokens = 0;
    U128 pool_reserve = 0;
    U128 pool_shares = 0;
    U128 price_sum = 0;    // Q32.32 times ns
    U128 epoch_price = 0;  // of the pool when the epoch began, Q64.64
    U128 carry = 0;        // of the inflation, in ten-thousandths
  };

  // token_economy.cpp: the ledger, staking, escrow, splits, epochs.
  Reply on(const token::Transfer& order, std::int64_t now_ns) noexcept;
  Reply on(const token::SetKey& order, std::int64_t now_ns) noexcept;
  Reply on(const token::DepositReserve& order, std::int64_t now_ns) noexcept;
  Reply on(const token::WithdrawReserve& order, std::int64_t now_ns) noexcept;
  Reply on(const token::Burn& order, std::int64_t now_ns) noexcept;
  Reply on(const token::Stake& order, std::int64_t now_ns) noexcept;
  Reply on(const token::Unstake& order, std::int64_t now_ns) noexcept;
  Reply on(const token::Slash& order, std::int64_t now_ns) noexcept;
  Reply on(const token::Reward& order, std::int64_t now_ns) noexcept;
  Reply on(const token::Claim& order, std::int64_t now_ns) noexcept;
  Reply on(const token::OpenEscrow& order, std::int64_t now_ns) noexcept;
  Reply on(const token::SettleEscrow& order, std::int64_t now_ns) noexcept;
  Reply on(const token::Split& order, std::int64_t now_ns) noexcept;
  Reply on(const token::Audit& order, std::int64_t now_ns) noexcept;
  // token_market.cpp: the curve, the pool, the channels.
  Reply on(const token::Mint& order, std::int64_t now_ns) noexcept;
  Reply on(const token::Buy& order, std::int64_t now_ns) noexcept;
  Reply on(const token::Sell& order, std::int64_t now_ns) noexcept;
  Reply on(const token::AddLiquidity& order, std::int64_t now_ns) noexcept;
  Reply on(const token::RemoveLiquidity& order, std::int64_t now_ns) noexcept;
  Reply on(const token::Swap& order, std::int64_t now_ns) noexcept;
  Reply on(const token::OpenChannel& order, std::int64_t now_ns) noexcept;
  Reply on(const token::CloseChannel& order, std::int64_t now_ns) noexcept;
  Reply on(const token::Challenge& order, std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc judge(const Channel& channel, const ChannelState& state,
                           std::uint32_t by) const noexcept;
  void take_state(Channel& channel, const ChannelState& state) noexcept;
  void pay_out(std::uint32_t slot, std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint32_t find_channel(std::uint64_t id) const noexcept;
  [[nodiscard]] WideResult curve_cost(U128 amount) const noexcept;
  [[nodiscard]] WideResult curve_bought(U128 payment) const noexcept;
  [[nodiscard]] U128 curve_worth(U128 amount) const noexcept;
  [[nodiscard]] unsigned curve_degree() const noexcept;
  Reply issue(std::uint32_t account, U128 amount, U128 cost, std::uint64_t kind) noexcept;
  void note_price(std::int64_t now_ns) noexcept;
  [[nodiscard]] U128 pool_price() const noexcept;
  [[nodiscard]] bool moves_too_far(U128 tokens, U128 reserve) const noexcept;

  [[nodiscard]] bool is_account(std::uint32_t account) const noexcept {
    return account < config_.accounts_max;
  }
  [[nodiscard]] static bool is_amount(const Amount& amount) noexcept {
    return wide(amount) != 0 && wide(amount) <= kAmountMax;
  }
  [[nodiscard]] Reply decline() noexcept;
  Reply moved(std::uint32_t account, U128 amount) const noexcept;
  void settle(Account& account) noexcept;
  void burn(U128 amount) noexcept;
  void catch_up(std::int64_t now_ns) noexcept;
  void next_epoch() noexcept;
  void record(std::uint64_t kind, std::uint64_t account, std::uint64_t other, U128 amount) noexcept;

  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);
  void load_slots(StateReader& reader);
  [[nodiscard]] bool is_conserved() const noexcept;
  [[nodiscard]] bool is_reserve_conserved() const noexcept;

  std::vector<Account> accounts_;
  std::vector<Channel> channels_;
  SlotSet channel_slots_;
  DeadlineHeap challenge_ends_;
  std::vector<Escrow> escrows_;
  SlotSet escrow_slots_;
  IdTable evidence_;
  std::vector<std::uint64_t> evidence_list_;
  Sums sums_;
  std::int64_t genesis_epoch_ = -1;  // of the clock, when the first command came
  std::uint64_t epoch_ = 0;
  std::int64_t price_ns_ = 0;
  std::uint64_t last_id_ = 0;
  std::array<LedgerEntry, kEntries> entries_{};
  std::uint64_t sequence_ = 0;
  std::uint64_t last_hash_ = 0;
  bool view_changed_ = true;
};

static_assert(DurableService<TokenEconomy>);

extern template class ServiceForm<TokenEconomy, TokenEconomyConfig, TokenEconomyCommand,
                                  TokenEconomyReply, TokenEconomyCounters, TokenEconomyActions>;

}  // namespace mesh::coordination
