#include "engine/coordination/token_economy.hpp"

#include <algorithm>
#include <bit>

#include "engine/coordination/blocks/largest_remainder.hpp"
#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/blocks/ppm.hpp"

namespace mesh::coordination {
namespace {

constexpr std::uint64_t kByTime = 255;  // of an entry: no command
constexpr std::uint64_t kTreasury = UINT64_MAX;
constexpr U128 kOneQ32 = U128{1} << 32;
constexpr std::uint64_t kEpochsAtOnce = 4'096;

U128 part_of(U128 amount, std::uint32_t ppm) noexcept { return amount * ppm / kPpm; }

}  // namespace

TokenEconomy::TokenEconomy(const Config& config, std::uint64_t)
    : ServiceForm(config),
      accounts_(config.accounts_max),
      channels_(config.channels_max),
      channel_slots_(config.channels_max),
      challenge_ends_(config.channels_max),
      escrows_(config.escrows_max),
      escrow_slots_(config.escrows_max),
      evidence_(config.evidence_max) {
  evidence_list_.reserve(config.evidence_max);
  sums_.supply = sums_.minted = sums_.treasury = wide(config.initial_supply);
  if (config.schedule == SupplySchedule::bonding_curve) {
    const U128 price = U128{config.base_price_micro} * config.reserve_ratio_ppm;
    sums_.curve = mul_div(sums_.supply, price, U128{kPpm} * kPpm, Rounding::down).value;
    sums_.reserve = sums_.curve;
  }
}

TokenEconomy::Reply TokenEconomy::decline() noexcept {
  ++counters_.rejected_policy;
  Reply reply;
  reply.refusal = Refusal::rejected_policy;
  return reply;
}

TokenEconomy::Reply TokenEconomy::moved(std::uint32_t account, U128 amount) const noexcept {
  Reply reply;
  reply.tokens = amount_of(amount);
  reply.free = amount_of(accounts_[account].free);
  return reply;
}

void TokenEconomy::burn(U128 amount) noexcept {
  sums_.supply -= amount;
  sums_.burned += amount;
}

// Each entry's hash covers the hash before it.
void TokenEconomy::record(std::uint64_t kind, std::uint64_t account, std::uint64_t other,
                          U128 amount) noexcept {
  LedgerEntry& entry = entries_[sequence_ % kEntries];
  entry = {++sequence_, kind, account, other, amount_of(amount), last_hash_, 0};
  entry.hash = checksum(std::as_bytes(std::span(&entry, 1)));
  last_hash_ = entry.hash;
  ++counters_.movements;
  view_changed_ = true;
}

std::vector<LedgerEntry> TokenEconomy::entries() const {
  std::vector<LedgerEntry> all;
  const std::uint64_t first = sequence_ > kEntries ? sequence_ - kEntries : 0;
  for (std::uint64_t at = first; at < sequence_; ++at) all.push_back(entries_[at % kEntries]);
  return all;
}

bool TokenEconomy::is_chain(std::span<const LedgerEntry> entries) noexcept {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    LedgerEntry entry = entries[i];
    const std::uint64_t hash = std::exchange(entry.hash, 0);
    if (checksum(std::as_bytes(std::span(&entry, 1))) != hash) return false;
    if (i == 0) continue;
    const LedgerEntry& last = entries[i - 1];
    if (entry.previous != last.hash || entry.sequence != last.sequence + 1) return false;
  }
  return true;
}

// --- balances ----------------------------------------------------------------------------------

TokenEconomy::Reply TokenEconomy::on(const token::SetKey& order, std::int64_t) noexcept {
  if (!is_account(order.account)) return refuse(Errc::no_such_agent);
  if (order.key == 0) return refuse(Errc::invalid_argument);
  accounts_[order.account].key = order.key;
  return {};
}

TokenEconomy::Reply TokenEconomy::on(const token::Transfer& order, std::int64_t) noexcept {
  if (!is_account(order.from) || !is_account(order.to)) return refuse(Errc::no_such_agent);
  if (!is_amount(order.amount)) return refuse(Errc::invalid_argument);
  const U128 amount = wide(order.amount);
  if (accounts_[order.from].free < amount) return refuse(Errc::insufficient_balance);
  if (order.from == order.to) return moved(order.from, amount);
  const U128 burnt = part_of(amount, config_.burn_ppm);
  accounts_[order.from].free -= amount;
  accounts_[order.to].free += amount - burnt;
  burn(burnt);
  record(kTokenKind<token::Transfer>, order.from, order.to, amount);
  Reply reply = moved(order.from, amount);
  reply.burned = amount_of(burnt);
  return reply;
}

TokenEconomy::Reply TokenEconomy::on(const token::DepositReserve& order, std::int64_t) noexcept {
  if (!is_account(order.account)) return refuse(Errc::no_such_agent);
  if (!is_amount(order.amount)) return refuse(Errc::invalid_argument);
  const U128 amount = wide(order.amount);
  if (sums_.reserve + amount > kAmountMax) return refuse(Errc::overflow);
  accounts_[order.account].reserve += amount;
  sums_.reserve += amount;
  record(kTokenKind<token::DepositReserve>, order.account, order.account, amount);
  Reply reply = moved(order.account, 0);
  reply.reserve = amount_of(accounts_[order.account].reserve);
  return reply;
}

TokenEconomy::Reply TokenEconomy::on(const token::WithdrawReserve& order, std::int64_t) noexcept {
  if (!is_account(order.account)) return refuse(Errc::no_such_agent);
  if (!is_amount(order.amount)) return refuse(Errc::invalid_argument);
  const U128 amount = wide(order.amount);
  if (accounts_[order.account].reserve < amount) return refuse(Errc::insufficient_balance);
  accounts_[order.account].reserve -= amount;
  sums_.reserve -= amount;
  record(kTokenKind<token::WithdrawReserve>, order.account, order.account, amount);
  Reply reply = moved(order.account, 0);
  reply.reserve = amount_of(accounts_[order.account].reserve);
  return reply;
}

TokenEconomy::Reply TokenEconomy::on(const token::Burn& order, std::int64_t) noexcept {
  if (!is_account(order.account)) return refuse(Errc::no_such_agent);
  if (!is_amount(order.amount)) return refuse(Errc::invalid_argument);
  const U128 amount = wide(order.amount);
  if (accounts_[order.account].free < amount) return refuse(Errc::insufficient_balance);
  // A curve divides by its supply.
  const bool empties = config_.schedule == SupplySchedule::bonding_curve && amount >= sums_.supply;
  if (empties) return refuse(Errc::wrong_state);
  accounts_[order.account].free -= amount;
  burn(amount);
  record(kTokenKind<token::Burn>, order.account, kTreasury, amount);
  Reply reply = moved(order.account, amount);
  reply.burned = order.amount;
  return reply;
}

// --- staking -----------------------------------------------------------------------------------

// What it has earned so far; before what it stakes changes.
void TokenEconomy::settle(Account& account) noexcept {
  const U128 per_unit = sums_.rewards_per_unit - account.earned_at;
  account.earned += mul_div(account.staked, per_unit, kOneQ32, Rounding::down).value;
  account.earned_at = sums_.rewards_per_unit;
}

TokenEconomy::Reply TokenEconomy::on(const token::Stake& order, std::int64_t) noexcept {
  if (!is_account(order.account)) return refuse(Errc::no_such_agent);
  if (!is_amount(order.amount)) return refuse(Errc::invalid_argument);
  Account& account = accounts_[order.account];
  const U128 amount = wide(order.amount);
  if (account.free < amount) return refuse(Errc::insufficient_balance);
  if (!MESH_MUTANT("token.settle_first")) settle(account);
  account.free -= amount;
  account.staked += amount;
  account.locked_until = std::max(account.locked_until, epoch_ + order.lock_epochs);
  sums_.staked += amount;
  record(kTokenKind<token::Stake>, order.account, order.account, amount);
  return moved(order.account, amount);
}

// One unbonding an account: what is added to it waits anew, all of it.
TokenEconomy::Reply TokenEconomy::on(const token::Unstake& order, std::int64_t) noexcept {
  if (!is_account(order.account)) return refuse(Errc::no_such_agent);
  Account& account = accounts_[order.account];
  const U128 amount = wide(order.amount) == 0 ? account.staked : wide(order.amount);
  if (amount > account.staked || amount == 0) return refuse(Errc::insufficient_balance);
  const bool is_locked = epoch_ < account.locked_until && !MESH_MUTANT("token.lock");
  if (is_locked) return refuse(Errc::wrong_state);
  settle(account);
  account.staked -= amount;
  sums_.staked -= amount;
  if (config_.unbond_epochs == 0) {
    account.free += amount;
  } else {
    account.unbonding += amount;
    account.unbonded_at = epoch_ + config_.unbond_epochs;
  }
  record(kTokenKind<token::Unstake>, order.account, order.account, amount);
  return moved(order.account, amount);
}

TokenEconomy::Reply TokenEconomy::on(const token::Slash& order, std::int64_t now_ns) noexcept {
  if (!is_account(order.account)) return refuse(Errc::no_such_agent);
  const bool is_possible = order.ppm >= 1 && order.ppm <= 1'000'000 && order.evidence != 0;
  if (!is_possible) return refuse(Errc::invalid_argument);
  const IdHash evidence = hash_of(order.evidence, 0);
  const bool is_known = evidence_.find(evidence) != kNone && !MESH_MUTANT("token.evidence");
  if (is_known) return refuse(Errc::duplicate);
  if (evidence_list_.size() == config_.evidence_max) return refuse(Errc::capacity);
  Account& account = accounts_[order.account];
  settle(account);
  const U128 of_staked = part_of(account.staked, order.ppm);
  const U128 of_unbonding =
      MESH_MUTANT("token.slash_unbonding") ? 0 : part_of(account.unbonding, order.ppm);
  const U128 cut = of_staked + of_unbonding;
  const U128 burnt = part_of(cut, config_.slash_burn_ppm);
  account.staked -= of_staked;
  account.unbonding -= of_unbonding;
  sums_.staked -= of_staked;
  sums_.treasury += cut - burnt;
  burn(burnt);
  evidence_.set(evidence, 0);
  evidence_list_.push_back(order.evidence);  // reserved
  ++counters_.slashes;
  record(kTokenKind<token::Slash>, order.account, kTreasury, cut);
  emit(Event::slashed, Severity::warning, now_ns,
       {order.account, static_cast<std::uint64_t>(cut), order.evidence});
  Reply reply = moved(order.account, cut);
  reply.burned = amount_of(burnt);
  reply.treasury = amount_of(cut - burnt);
  return reply;
}

TokenEconomy::Reply TokenEconomy::on(const token::Reward& order, std::int64_t) noexcept {
  const bool may = config_.mint_authority != 0 && order.station == config_.mint_authority;
  if (!may) return refuse(Errc::not_authorized);
  if (!is_amount(order.amount)) return refuse(Errc::invalid_argument);
  if (sums_.staked == 0) return refuse(Errc::wrong_state);
  const U128 amount = wide(order.amount);
  if (sums_.treasury < amount) return refuse(Errc::insufficient_balance);
  const WideResult per_unit = mul_div(amount, kOneQ32, sums_.staked, Rounding::down);
  if (per_unit.value == 0) return refuse(Errc::invalid_argument);  // nobody would get anything
  const U128 after = sums_.rewards_per_unit + per_unit.value;
  if (!per_unit.fits || after >> 120 != 0) return refuse(Errc::overflow);
  sums_.rewards_per_unit = after;
  sums_.treasury -= amount;
  sums_.rewards += amount;
  record(kTokenKind<token::Reward>, kTreasury, kTreasury, amount);
  Reply reply;
  reply.tokens = order.amount;
  return reply;
}

TokenEconomy::Reply TokenEconomy::on(const token::Claim& order, std::int64_t) noexcept {
  if (!is_account(order.account)) return refuse(Errc::no_such_agent);
  if (wide(pending_reward(order.account)) == 0) return refuse(Errc::insufficient_balance);
  Account& account = accounts_[order.account];
  settle(account);
  const U128 amount = std::exchange(account.earned, 0);
  account.free += amount;
  sums_.rewards -= amount;
  record(kTokenKind<token::Claim>, order.account, kTreasury, amount);
  return moved(order.account, amount);
}

Amount TokenEconomy::pending_reward(std::uint32_t account) const noexcept {
  if (!is_account(account)) return {};
  Account copy = accounts_[account];
  const U128 per_unit = sums_.rewards_per_unit - copy.earned_at;
  return amount_of(copy.earned + mul_div(copy.staked, per_unit, kOneQ32, Rounding::down).value);
}

// --- escrow, splits ----------------------------------------------------------------------------

TokenEconomy::Reply TokenEconomy::on(const token::OpenEscrow& order, std::int64_t) noexcept {
  if (!is_account(order.account)) return refuse(Errc::no_such_agent);
  if (!is_amount(order.amount)) return refuse(Errc::invalid_argument);
  const U128 amount = wide(order.amount);
  if (accounts_[order.account].free < amount) return refuse(Errc::insufficient_balance);
  const std::uint32_t slot = escrow_slots_.take();
  if (slot == kNone) return refuse(Errc::capacity);
  accounts_[order.account].free -= amount;
  escrows_[slot] = {++last_id_, amount, order.account};
  record(kTokenKind<token::OpenEscrow>, order.account, last_id_, amount);
  Reply reply = moved(order.account, amount);
  reply.id = last_id_;
  return reply;
}

// Once: an escrow that was settled is not found any more.
TokenEconomy::Reply TokenEconomy::on(const token::SettleEscrow& order, std::int64_t) noexcept {
  if (!is_account(order.to)) return refuse(Errc::no_such_agent);
  for (std::uint32_t slot = 0; slot < config_.escrows_max; ++slot) {
    if (!escrow_slots_.is_used(slot) || escrows_[slot].id != order.escrow) continue;
    const Escrow escrow = escrows_[slot];
    const U128 amount = wide(order.amount);
    if (amount > escrow.amount && !MESH_MUTANT("token.escrow_amount")) {
      return refuse(Errc::insufficient_balance);
    }
    accounts_[order.to].free += amount;
    accounts_[escrow.account].free += escrow.amount - amount;
    escrows_[slot] = {};
    escrow_slots_.free(slot);
    record(kTokenKind<token::SettleEscrow>, escrow.account, order.to, amount);
    return moved(escrow.account, amount);
  }
  return refuse(Errc::not_found);
}

TokenEconomy::Reply TokenEconomy::on(const token::Split& order, std::int64_t) noexcept {
  const std::size_t count = order.accounts.size();
  const bool is_possible = is_account(order.from) && is_amount(order.amount) && count >= 1 &&
                           count <= kSplitMax && count == order.weights.size() &&
                           wide(order.amount) <= UINT64_MAX;
  if (!is_possible) return refuse(Errc::invalid_argument);
  for (const auto account : order.accounts) {
    if (!is_account(account)) return refuse(Errc::no_such_agent);
  }
  if (accounts_[order.from].free < wide(order.amount)) return refuse(Errc::insufficient_balance);
  std::array<std::uint64_t, kSplitMax> shares{};
  if (!largest_remainder(order.amount.low, order.weights, shares)) {
    return refuse(Errc::invalid_argument);  // no weight at all
  }
  accounts_[order.from].free -= wide(order.amount);
  for (std::size_t i = 0; i < count; ++i) {
    accounts_[order.accounts[i]].free += shares[i];
    record(kTokenKind<token::Split>, order.from, order.accounts[i], shares[i]);
  }
  return moved(order.from, wide(order.amount));
}

// --- time --------------------------------------------------------------------------------------

U128 TokenEconomy::halving_emission(U128 first, std::uint64_t epoch,
                                    std::uint32_t halve_every) noexcept {
  const std::uint64_t halvings = epoch / halve_every;
  return halvings >= 128 ? 0 : first >> halvings;
}

void TokenEconomy::next_epoch() noexcept {
  U128 emitted = 0;
  if (config_.schedule == SupplySchedule::inflationary) {
    const U128 whole = sums_.supply * config_.bps_per_epoch + sums_.carry;
    emitted = whole / 10'000;
    if (!MESH_MUTANT("token.carry")) sums_.carry = whole % 10'000;
  } else if (config_.schedule == SupplySchedule::halving) {
    emitted = halving_emission(wide(config_.emission), epoch_, config_.halve_every);
  }
  ++epoch_;
  ++counters_.epochs;
  sums_.epoch_price = pool_price();
  view_changed_ = true;
  if (emitted == 0 || sums_.minted + emitted > kAmountMax) return;
  sums_.supply += emitted;
  sums_.minted += emitted;
  sums_.treasury += emitted;
  record(kByTime, kTreasury, epoch_, emitted);
}

void TokenEconomy::catch_up(std::int64_t now_ns) noexcept {
  const std::int64_t clock_epoch = now_ns / config_.epoch_ns.count();
  if (genesis_epoch_ < 0) genesis_epoch_ = clock_epoch;
  const auto target = static_cast<std::uint64_t>(clock_epoch - genesis_epoch_);
  const std::uint64_t before = epoch_;
  for (std::uint64_t i = 0; epoch_ < target && i < kEpochsAtOnce; ++i) next_epoch();
  for (std::uint32_t at = 0; epoch_ != before && at < config_.accounts_max; ++at) {
    Account& account = accounts_[at];
    const bool waits = account.unbonded_at > epoch_ && !MESH_MUTANT("token.unbonding");
    if (account.unbonding == 0 || waits) continue;
    const U128 amount = std::exchange(account.unbonding, 0);
    account.free += amount;
    record(kByTime, at, at, amount);
  }
  for (std::uint32_t slot; (slot = challenge_ends_.pop_due(now_ns)) != kNone;) {
    pay_out(slot, now_ns);
  }
}

TokenEconomy::Reply TokenEconomy::on(const token::Audit&, std::int64_t) noexcept {
  ++counters_.audits;
  if (!is_conserved() || !is_reserve_conserved()) return refuse(Errc::corrupt);
  Reply reply;
  reply.tokens = amount_of(sums_.supply);
  reply.reserve = amount_of(sums_.reserve);
  reply.burned = amount_of(sums_.burned);
  reply.treasury = amount_of(sums_.treasury);
  return reply;
}

TokenEconomy::Reply TokenEconomy::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  catch_up(now_ns);
  return std::visit([&](const auto& order) { return on(order, now_ns); }, command);
}

void TokenEconomy::tick(Nanos now, Actions& out) noexcept {
  std::int64_t epoch_ns = INT64_MAX;
  if (ServiceClock::is_valid(now)) {
    const std::int64_t now_ns = clock_.at(now);
    catch_up(now_ns);
    epoch_ns = (now_ns / config_.epoch_ns.count() + 1) * config_.epoch_ns.count();
  }
  out.next_tick = Nanos{std::min(challenge_ends_.next_ns(), epoch_ns)};
  out.view_changed = view_changed_;
  view_changed_ = false;
}

}  // namespace mesh::coordination
