// What the economy looks like from outside: its presets, the range of its config, its views, its
// bytes, and what must hold.
#include <algorithm>
#include <array>
#include <string>

#include "engine/coordination/blocks/ppm.hpp"
#include "engine/coordination/token_economy.hpp"

namespace mesh::coordination {
namespace {

constexpr std::array<std::string_view, 4> kPresets{"agent-work", "fixed-cap", "inflationary-2pct",
                                                   "halving"};
constexpr U128 kOneToken = 1'000'000'000'000'000'000U;  // at 18 decimals

bool is_symbol(std::string_view symbol) noexcept {
  const auto is_plain = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  };
  return !symbol.empty() && symbol.size() <= 11 &&
         std::all_of(symbol.begin(), symbol.end(), is_plain);
}

}  // namespace

std::span<const std::string_view> TokenEconomyConfig::names() noexcept { return kPresets; }

Result<TokenEconomyConfig> TokenEconomyConfig::preset(std::string_view name) {
  TokenEconomyConfig config;
  config.initial_supply = amount_of(1'000'000 * kOneToken);
  if (name == "agent-work") {
    config.schedule = SupplySchedule::bonding_curve;
    return config;
  }
  config.mint_authority = 1;
  if (name == "fixed-cap") {
    config.cap = amount_of(21'000'000 * kOneToken);
    return config;
  }
  if (name == "inflationary-2pct") {
    config.schedule = SupplySchedule::inflationary;
    config.bps_per_epoch = 200;
    config.epoch_ns = Nanos{365 * 24 * 3'600 * kNsPerSecond};
    return config;
  }
  if (name == "halving") {
    config.schedule = SupplySchedule::halving;
    config.emission = amount_of(50 * kOneToken);
    config.halve_every = 210'000;
    config.epoch_ns = Nanos{600 * kNsPerSecond};
    return config;
  }
  return unknown_preset("token economy", name, kPresets);
}

Status TokenEconomy::validate(const Config& config) {
  const bool is_curve = config.schedule == SupplySchedule::bonding_curve;
  const U128 supply = wide(config.initial_supply);
  const U128 first_price = U128{config.base_price_micro} * config.reserve_ratio_ppm;
  const std::array<Check, 14> checks{{
      {is_symbol(config.symbol), "symbol is not 1 to 11 letters and digits"},
      {config.decimals <= 18, "decimals is above 18"},
      {supply <= kAmountMax, "initial_supply is 2^96 or more"},
      {config.schedule <= SupplySchedule::bonding_curve, "schedule is no value of its enum"},
      {config.schedule != SupplySchedule::fixed || supply <= wide(config.cap) ||
           config.mint_authority == 0,
       "cap is below initial_supply"},
      {wide(config.cap) <= kAmountMax && wide(config.emission) <= kAmountMax,
       "cap or emission is 2^96 or more"},
      {config.bps_per_epoch <= 10'000, "bps_per_epoch is above 10000"},
      {config.halve_every >= 1, "halve_every is 0"},
      {config.burn_ppm <= kPpm && config.slash_burn_ppm <= kPpm && config.penalty_ppm <= kPpm &&
           config.amm_fee_ppm < kPpm,
       "burn_ppm, slash_burn_ppm or penalty_ppm is above 1000000, or amm_fee_ppm not below it"},
      {!is_curve || (config.reserve_ratio_ppm >= 62'500 && config.reserve_ratio_ppm <= kPpm),
       "reserve_ratio_ppm is outside 62500..1000000"},
      {!is_curve ||
           (config.base_price_micro >= 1 && config.base_price_micro <= 1ULL << 40 &&
            supply >= kPpm &&
            mul_div(supply, first_price, U128{kPpm} * kPpm, Rounding::down).value >= 1 &&
            mul_div(supply, first_price, U128{kPpm} * kPpm, Rounding::up).value <= kAmountMax / 2),
       "a curve's initial_supply is below 1000000, or its reserve 0 or 2^95 and more"},
      {is_positive_duration(config.epoch_ns) && is_duration(config.challenge_ns),
       "epoch_ns is outside 1 ns..36 years, or challenge_ns outside 0..36 years"},
      {config.accounts_max >= 1 && config.accounts_max <= 1U << 20 && config.channels_max >= 1 &&
           config.channels_max <= 65'536 && config.escrows_max >= 1 &&
           config.escrows_max <= 65'536 && config.evidence_max >= 1 &&
           config.evidence_max <= 1U << 24,
       "accounts_max, channels_max, escrows_max or evidence_max is 0 or too large"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

// --- views -------------------------------------------------------------------------------------

BalanceView TokenEconomy::balance(std::uint32_t account) const noexcept {
  if (!is_account(account)) return {};
  const Account& one = accounts_[account];
  return {amount_of(one.free), amount_of(one.staked), amount_of(one.unbonding),
          amount_of(one.reserve), amount_of(one.shares)};
}

EconomyView TokenEconomy::view() const noexcept {
  EconomyView view;
  view.supply = amount_of(sums_.supply);
  view.minted = amount_of(sums_.minted);
  view.burned = amount_of(sums_.burned);
  view.treasury = amount_of(sums_.treasury);
  view.curve_reserve = amount_of(sums_.curve);
  view.pool_tokens = amount_of(sums_.pool_tokens);
  view.pool_reserve = amount_of(sums_.pool_reserve);
  view.pool_shares = amount_of(sums_.pool_shares);
  view.epoch = epoch_;
  view.sequence = sequence_;
  view.price_q64 = amount_of(pool_price());
  if (config_.schedule == SupplySchedule::bonding_curve && sums_.supply != 0) {
    // reserve / (supply * ratio)
    const WideResult price =
        mul_div(sums_.curve, (U128{1} << 64) / config_.reserve_ratio_ppm * 1'000'000, sums_.supply,
                Rounding::down);
    view.price_q64 = amount_of(price.value);
  }
  return view;
}

// --- bytes -------------------------------------------------------------------------------------

namespace {

template <class Account, class Visit>
void words_of_account(Account& one, Visit&& visit) {
  visit(one.free);
  visit(one.staked);
  visit(one.unbonding);
  visit(one.reserve);
  visit(one.shares);
  visit(one.earned_at);
  visit(one.earned);
  visit(one.locked_until);
  visit(one.unbonded_at);
  visit(one.key);
}
template <class Channel, class Visit>
void words_of_channel(Channel& one, Visit&& visit) {
  visit(one.id);
  visit(one.deposit_a);
  visit(one.deposit_b);
  visit(one.balance_a);
  visit(one.balance_b);
  visit(one.nonce);
  visit(one.ends_ns);
  visit(one.a);
  visit(one.b);
  visit(one.closed_by);
  visit(one.cheat);
}
template <class Sums, class Visit>
void words_of_sums(Sums& sums, Visit&& visit) {
  for (auto* sum :
       {&sums.supply, &sums.minted, &sums.burned, &sums.treasury, &sums.staked, &sums.rewards,
        &sums.rewards_per_unit, &sums.curve, &sums.reserve, &sums.pool_tokens, &sums.pool_reserve,
        &sums.pool_shares, &sums.price_sum, &sums.epoch_price, &sums.carry}) {
    visit(*sum);
  }
}

struct Putter {
  StateWriter& writer;
  void operator()(U128 value) const { put_fields(amount_of(value), writer); }
  template <class T>
  requires std::is_integral_v<T>
  void operator()(T value) const { writer.put(value); }
};
struct Getter {
  StateReader& reader;
  void operator()(U128& value) const {
    Amount amount;
    get_fields(amount, reader);
    value = wide(amount);
  }
  template <class T>
  requires std::is_integral_v<T>
  void operator()(T& value) const { reader.get(value); }
};

}  // namespace

void TokenEconomy::save_state(StateWriter& writer) const {
  const Putter put{writer};
  words_of_sums(sums_, put);
  for (const std::uint64_t word : {epoch_, last_id_, sequence_, last_hash_}) writer.put(word);
  writer.put(genesis_epoch_);
  writer.put(price_ns_);
  for (const auto& entry : entries_) put_fields(entry, writer);
  writer.put(static_cast<std::uint32_t>(accounts_.size()));
  for (const auto& account : accounts_) words_of_account(account, put);
  writer.put(static_cast<std::uint32_t>(evidence_list_.size()));
  for (const auto evidence : evidence_list_) writer.put(evidence);
  writer.put(channel_slots_.used());
  for (std::uint32_t slot = 0; slot < config_.channels_max; ++slot) {
    if (!channel_slots_.is_used(slot)) continue;
    writer.put(slot);
    words_of_channel(channels_[slot], put);
  }
  writer.put(escrow_slots_.used());
  for (std::uint32_t slot = 0; slot < config_.escrows_max; ++slot) {
    if (!escrow_slots_.is_used(slot)) continue;
    writer.put(slot);
    writer.put(escrows_[slot].id);
    put(escrows_[slot].amount);
    writer.put(escrows_[slot].account);
  }
}

void TokenEconomy::load_slots(StateReader& reader) {
  const Getter get{reader};
  const std::size_t channels = reader.get_count(100);
  for (std::size_t i = 0; i < channels && !reader.failed(); ++i) {
    const auto slot = reader.get<std::uint32_t>();
    if (!channel_slots_.use(slot)) return reader.fail();
    Channel& channel = channels_[slot];
    words_of_channel(channel, get);
    if (!is_account(channel.a) || !is_account(channel.b)) return reader.fail();
    if (channel.closed_by != kNone) challenge_ends_.set(slot, channel.ends_ns, channel.id);
  }
  const std::size_t escrows = reader.get_count(32);
  for (std::size_t i = 0; i < escrows && !reader.failed(); ++i) {
    const auto slot = reader.get<std::uint32_t>();
    if (!escrow_slots_.use(slot)) return reader.fail();
    reader.get(escrows_[slot].id);
    get(escrows_[slot].amount);
    reader.get(escrows_[slot].account);
    if (!is_account(escrows_[slot].account)) return reader.fail();
  }
}

void TokenEconomy::load_state(StateReader& reader) {
  const Getter get{reader};
  words_of_sums(sums_, get);
  for (auto* word : {&epoch_, &last_id_, &sequence_, &last_hash_}) reader.get(*word);
  reader.get(genesis_epoch_);
  reader.get(price_ns_);
  for (auto& entry : entries_) get_fields(entry, reader);
  if (reader.get_count(130) != accounts_.size()) return reader.fail();
  for (auto& account : accounts_) words_of_account(account, get);
  const std::size_t evidence = reader.get_count(8);
  if (evidence > config_.evidence_max) return reader.fail();
  for (std::size_t i = 0; i < evidence; ++i) {
    evidence_list_.push_back(reader.get<std::uint64_t>());
    evidence_.set(hash_of(evidence_list_.back(), 0), 0);
  }
  load_slots(reader);
}

// --- what must hold ----------------------------------------------------------------------------

TokenBooks TokenEconomy::books() const noexcept {
  U128 free = 0;
  U128 staked = 0;
  U128 unbonding = 0;
  U128 reserve = 0;
  U128 channels = 0;
  U128 escrow = 0;
  for (const Account& account : accounts_) {
    free += account.free;
    staked += account.staked;
    unbonding += account.unbonding;
    reserve += account.reserve;
  }
  for (std::uint32_t slot = 0; slot < config_.channels_max; ++slot) {
    if (!channel_slots_.is_used(slot)) continue;
    channels += channels_[slot].deposit_a + channels_[slot].deposit_b;
  }
  for (std::uint32_t slot = 0; slot < config_.escrows_max; ++slot) {
    if (escrow_slots_.is_used(slot)) escrow += escrows_[slot].amount;
  }
  return {.free = amount_of(free),
          .staked = amount_of(staked),
          .unbonding = amount_of(unbonding),
          .channels = amount_of(channels),
          .pool = amount_of(sums_.pool_tokens),
          .escrow = amount_of(escrow),
          .rewards = amount_of(sums_.rewards),
          .treasury = amount_of(sums_.treasury),
          .supply = amount_of(sums_.supply),
          .minted = amount_of(sums_.minted),
          .burned = amount_of(sums_.burned),
          .reserve_accounts = amount_of(reserve),
          .reserve_curve = amount_of(sums_.curve),
          .reserve_pool = amount_of(sums_.pool_reserve),
          .reserve = amount_of(sums_.reserve)};
}

bool TokenEconomy::is_conserved() const noexcept {
  const TokenBooks now = books();
  const U128 held = wide(now.free) + wide(now.staked) + wide(now.unbonding) + wide(now.channels) +
                    wide(now.pool) + wide(now.escrow) + wide(now.rewards) + wide(now.treasury);
  return held == sums_.supply && sums_.supply == sums_.minted - sums_.burned &&
         wide(now.staked) == sums_.staked;
}

bool TokenEconomy::is_reserve_conserved() const noexcept {
  const TokenBooks now = books();
  return wide(now.reserve_accounts) + wide(now.reserve_curve) + wide(now.reserve_pool) ==
         sums_.reserve;
}

Status TokenEconomy::verify() const {
  U128 shares = sums_.pool_shares == 0 ? 0 : kSharesLocked;
  U128 earned = 0;
  for (std::uint32_t at = 0; at < config_.accounts_max; ++at) {
    shares += accounts_[at].shares;
    earned += wide(pending_reward(at));
  }
  bool balanced = true;
  for (std::uint32_t slot = 0; slot < config_.channels_max; ++slot) {
    const Channel& one = channels_[slot];
    balanced = balanced && (!channel_slots_.is_used(slot) ||
                            one.balance_a + one.balance_b == one.deposit_a + one.deposit_b);
  }
  const std::uint64_t last = sequence_ == 0 ? 0 : entries_[(sequence_ - 1) % kEntries].hash;
  const std::array<Check, 6> checks{{
      {is_conserved(), "what is held is not the supply, or that not minted - burned"},
      {is_reserve_conserved(), "the reserve that is held is not what was deposited"},
      {shares == sums_.pool_shares, "the shares of the pool are not those of its accounts"},
      {earned <= sums_.rewards, "more was earned than was set aside"},
      {balanced, "a channel would not pay out what was paid in"},
      {last == last_hash_ && is_chain(entries()), "an entry of the ledger is missing or changed"},
  }};
  return all_hold(Errc::corrupt, checks);
}

template class ServiceForm<TokenEconomy, TokenEconomyConfig, TokenEconomyCommand, TokenEconomyReply,
                           TokenEconomyCounters, TokenEconomyActions>;

}  // namespace mesh::coordination
