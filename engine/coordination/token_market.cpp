// The bonding curve, the pool and the channels.
#include <algorithm>

#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/blocks/ppm.hpp"
#include "engine/coordination/token_economy.hpp"

namespace mesh::coordination {
namespace {

constexpr U128 kOneQ64 = U128{1} << 64;

// What a power in Q64.64 may be off by, and a little more.
U128 error_of(U128 power) noexcept { return (power >> 55) + 1; }

}  // namespace

// --- the curve ---------------------------------------------------------------------------------

// 1 / ratio where it is whole, and the arithmetic exact; 0: a power in Q64.64.
unsigned TokenEconomy::curve_degree() const noexcept {
  if (config_.reserve_ratio_ppm == 1'000'000) return 1;
  if (config_.reserve_ratio_ppm == 500'000) return 2;
  return config_.reserve_ratio_ppm == 333'333 ? 3 : 0;
}

// reserve * ((1 + amount / supply)^(1 / ratio) - 1), up.
WideResult TokenEconomy::curve_cost(U128 amount) const noexcept {
  const unsigned degree = curve_degree();
  if (degree != 0) return cost_of_growth(sums_.supply, sums_.curve, amount, degree);
  const WideResult power =
      power_q64(sums_.supply + amount, sums_.supply, 1'000'000, config_.reserve_ratio_ppm);
  if (!power.fits) return power;
  const U128 high = power.value + error_of(power.value);
  return mul_div(sums_.curve, high - kOneQ64, kOneQ64, Rounding::up);
}

// supply * ((1 + payment / reserve)^ratio - 1), down.
WideResult TokenEconomy::curve_bought(U128 payment) const noexcept {
  const unsigned degree = curve_degree();
  if (degree != 0) return {grown(sums_.supply, sums_.curve, payment, degree) - sums_.supply, true};
  const WideResult power =
      power_q64(sums_.curve + payment, sums_.curve, config_.reserve_ratio_ppm, 1'000'000);
  const U128 low = power.value - std::min(power.value, error_of(power.value));
  if (!power.fits || low <= kOneQ64) return {0, power.fits};
  return mul_div(sums_.supply, low - kOneQ64, kOneQ64, Rounding::down);
}

// reserve * (1 - (1 - amount / supply)^(1 / ratio)), down; amount < supply.
U128 TokenEconomy::curve_worth(U128 amount) const noexcept {
  const unsigned degree = curve_degree();
  if (degree != 0) return worth_of_shrinking(sums_.supply, sums_.curve, amount, degree);
  const WideResult power =
      power_q64(sums_.supply, sums_.supply - amount, 1'000'000, config_.reserve_ratio_ppm);
  if (!power.fits) return 0;
  const U128 low = power.value - std::min(power.value, error_of(power.value));
  if (low <= kOneQ64) return 0;
  return sums_.curve - mul_div(sums_.curve, kOneQ64, low, Rounding::up).value;
}

// New tokens for what they cost on the curve.
TokenEconomy::Reply TokenEconomy::issue(std::uint32_t account, U128 amount, U128 cost,
                                        std::uint64_t kind) noexcept {
  Account& buyer = accounts_[account];
  const bool can_pay = buyer.reserve >= cost || MESH_MUTANT("token.reserve");
  if (!can_pay) return refuse(Errc::insufficient_balance);
  if (sums_.minted + amount > kAmountMax) return refuse(Errc::overflow);
  buyer.reserve -= cost;
  sums_.curve += cost;
  buyer.free += amount;
  sums_.supply += amount;
  sums_.minted += amount;
  record(kind, account, account, amount);
  Reply reply = moved(account, amount);
  reply.reserve = amount_of(cost);
  return reply;
}

TokenEconomy::Reply TokenEconomy::on(const token::Mint& order, std::int64_t) noexcept {
  if (!is_account(order.to)) return refuse(Errc::no_such_agent);
  if (!is_amount(order.amount)) return refuse(Errc::invalid_argument);
  const U128 amount = wide(order.amount);
  constexpr std::uint64_t kMint = kTokenKind<token::Mint>;
  if (config_.schedule == SupplySchedule::bonding_curve) {
    const WideResult cost = curve_cost(amount);
    if (!cost.fits || cost.value > kAmountMax) return refuse(Errc::overflow);
    return issue(order.to, amount, cost.value, kMint);
  }
  const bool may = config_.mint_authority != 0 && order.station == config_.mint_authority;
  if (!may) return refuse(Errc::not_authorized);
  if (config_.schedule == SupplySchedule::fixed) {
    const bool fits = sums_.minted + amount <= wide(config_.cap) || MESH_MUTANT("token.cap");
    if (!fits) return refuse(Errc::insufficient_quantity);
    accounts_[order.to].free += amount;
    sums_.supply += amount;
    sums_.minted += amount;
  } else {
    if (sums_.treasury < amount) return refuse(Errc::insufficient_balance);
    sums_.treasury -= amount;
    accounts_[order.to].free += amount;
  }
  record(kMint, order.to, order.to, amount);
  return moved(order.to, amount);
}

TokenEconomy::Reply TokenEconomy::on(const token::Buy& order, std::int64_t) noexcept {
  if (!is_account(order.account)) return refuse(Errc::no_such_agent);
  if (config_.schedule != SupplySchedule::bonding_curve) return refuse(Errc::wrong_state);
  if (!is_amount(order.payment)) return refuse(Errc::invalid_argument);
  const U128 payment = wide(order.payment);
  if (accounts_[order.account].reserve < payment) return refuse(Errc::insufficient_balance);
  const WideResult bought = curve_bought(payment);
  if (!bought.fits || bought.value > kAmountMax) return refuse(Errc::overflow);
  if (bought.value == 0) return refuse(Errc::invalid_argument);  // never money for nothing
  if (bought.value < wide(order.least)) return decline();
  return issue(order.account, bought.value, payment, kTokenKind<token::Buy>);
}

TokenEconomy::Reply TokenEconomy::on(const token::Sell& order, std::int64_t) noexcept {
  if (!is_account(order.account)) return refuse(Errc::no_such_agent);
  if (config_.schedule != SupplySchedule::bonding_curve) return refuse(Errc::wrong_state);
  if (!is_amount(order.amount)) return refuse(Errc::invalid_argument);
  const U128 amount = wide(order.amount);
  Account& seller = accounts_[order.account];
  if (seller.free < amount) return refuse(Errc::insufficient_balance);
  if (amount >= sums_.supply) return refuse(Errc::wrong_state);  // the curve would have no end
  const U128 worth = curve_worth(amount);
  if (worth == 0) return refuse(Errc::invalid_argument);
  if (worth < wide(order.least)) return decline();
  seller.free -= amount;
  burn(amount);
  sums_.curve -= worth;
  seller.reserve += worth;
  record(kTokenKind<token::Sell>, order.account, order.account, amount);
  Reply reply = moved(order.account, amount);
  reply.reserve = amount_of(worth);
  reply.burned = order.amount;
  return reply;
}

// --- the pool ----------------------------------------------------------------------------------

// Reserve for a token, Q64.64; 0 without a pool.
U128 TokenEconomy::pool_price() const noexcept {
  if (sums_.pool_tokens == 0) return 0;
  const WideResult price = mul_div(sums_.pool_reserve, kOneQ64, sums_.pool_tokens, Rounding::down);
  return price.fits ? price.value : ~U128{0};
}

// Before the price changes: how long it has stood.
void TokenEconomy::note_price(std::int64_t now_ns) noexcept {
  sums_.price_sum = wide(price_cumulative(Nanos{now_ns}));
  price_ns_ = now_ns;
}

Amount TokenEconomy::price_cumulative(Nanos now) const noexcept {
  const U128 price = std::min(pool_price() >> 32, (U128{1} << 64) - 1);
  const auto elapsed =
      static_cast<std::uint64_t>(std::max<std::int64_t>(0, now.count() - price_ns_));
  return amount_of(sums_.price_sum + price * elapsed);
}

U128 TokenEconomy::swap_output(U128 in_side, U128 out_side, U128 amount,
                               std::uint32_t fee_ppm) noexcept {
  const U128 after_fee = amount * (kPpm - fee_ppm);
  return mul_div(out_side, after_fee, in_side * kPpm + after_fee, Rounding::down).value;
}

// The breaker: further from the epoch's first price than it may go.
bool TokenEconomy::moves_too_far(U128 tokens, U128 reserve) const noexcept {
  if (config_.amm_move_ppm_max == 0 || sums_.epoch_price == 0) return false;
  const WideResult price = mul_div(reserve, kOneQ64, tokens, Rounding::down);
  if (!price.fits) return true;
  const U128 distance = price.value > sums_.epoch_price ? price.value - sums_.epoch_price
                                                        : sums_.epoch_price - price.value;
  const WideResult ppm = mul_div(distance, kPpm, sums_.epoch_price, Rounding::up);
  return !ppm.fits || ppm.value > config_.amm_move_ppm_max;
}

TokenEconomy::Reply TokenEconomy::on(const token::Swap& order, std::int64_t now_ns) noexcept {
  if (!is_account(order.account)) return refuse(Errc::no_such_agent);
  if (!is_amount(order.amount)) return refuse(Errc::invalid_argument);
  if (sums_.pool_tokens == 0) return refuse(Errc::not_found);
  const U128 amount = wide(order.amount);
  Account& trader = accounts_[order.account];
  U128& pays = order.sells_tokens ? trader.free : trader.reserve;
  if (pays < amount) return refuse(Errc::insufficient_balance);
  U128 tokens = sums_.pool_tokens;
  U128 reserve = sums_.pool_reserve;
  U128& in_side = order.sells_tokens ? tokens : reserve;
  U128& out_side = order.sells_tokens ? reserve : tokens;
  const U128 out = swap_output(in_side, out_side, amount, config_.amm_fee_ppm);
  const bool is_worthless = out == 0 && !MESH_MUTANT("token.swap_for_nothing");
  if (is_worthless) return refuse(Errc::invalid_argument);  // never money for nothing
  in_side += amount;
  out_side -= out;
  if (out < wide(order.least) && !MESH_MUTANT("token.slippage")) return decline();
  if (moves_too_far(tokens, reserve)) {
    ++counters_.breaker_trips;
    emit(Event::price_breaker, Severity::warning, now_ns, {order.account, epoch_, 0});
    return decline();
  }
  note_price(now_ns);
  if (!MESH_MUTANT("token.swap_debits")) pays -= amount;
  (order.sells_tokens ? trader.reserve : trader.free) += out;
  sums_.pool_tokens = tokens;
  sums_.pool_reserve = reserve;
  ++counters_.swaps;
  record(kTokenKind<token::Swap>, order.account, order.sells_tokens ? 1 : 0, amount);
  Reply reply = moved(order.account, order.sells_tokens ? amount : out);
  reply.reserve = amount_of(order.sells_tokens ? out : amount);
  return reply;
}

TokenEconomy::Reply TokenEconomy::on(const token::AddLiquidity& order,
                                     std::int64_t now_ns) noexcept {
  if (!is_account(order.account)) return refuse(Errc::no_such_agent);
  if (!is_amount(order.tokens) || !is_amount(order.reserve)) return refuse(Errc::invalid_argument);
  const U128 tokens = wide(order.tokens);
  const U128 reserve = wide(order.reserve);
  Account& account = accounts_[order.account];
  if (account.free < tokens || account.reserve < reserve) return refuse(Errc::insufficient_balance);
  const bool is_first = sums_.pool_shares == 0;
  U128 shares = 0;
  if (is_first) {  // some are nobody's for ever: a share can never be worth all
    const U128 root = root_of_product(tokens, reserve);
    shares = root > kSharesLocked ? root - kSharesLocked : 0;
    if (MESH_MUTANT("token.locked_shares")) shares = root;
  } else {
    const auto part = [&](U128 added, U128 there) {
      return mul_div(added, sums_.pool_shares, there, Rounding::down).value;
    };
    shares = std::min(part(tokens, sums_.pool_tokens), part(reserve, sums_.pool_reserve));
  }
  if (shares == 0) return refuse(Errc::invalid_argument);
  if (shares < wide(order.least_shares)) return decline();
  if (sums_.pool_shares + shares > kAmountMax) return refuse(Errc::overflow);
  note_price(now_ns);
  account.free -= tokens;
  account.reserve -= reserve;
  account.shares += shares;
  sums_.pool_tokens += tokens;
  sums_.pool_reserve += reserve;
  sums_.pool_shares += shares + (is_first ? U128{kSharesLocked} : 0);
  if (is_first) sums_.epoch_price = pool_price();
  record(kTokenKind<token::AddLiquidity>, order.account, order.account, tokens);
  Reply reply = moved(order.account, shares);
  reply.reserve = order.reserve;
  return reply;
}

TokenEconomy::Reply TokenEconomy::on(const token::RemoveLiquidity& order,
                                     std::int64_t now_ns) noexcept {
  if (!is_account(order.account)) return refuse(Errc::no_such_agent);
  if (!is_amount(order.shares)) return refuse(Errc::invalid_argument);
  const U128 shares = wide(order.shares);
  Account& account = accounts_[order.account];
  if (account.shares < shares) return refuse(Errc::insufficient_balance);
  const auto part = [&](U128 there) {
    return mul_div(there, shares, sums_.pool_shares, Rounding::down).value;
  };
  const U128 tokens = part(sums_.pool_tokens);
  const U128 reserve = part(sums_.pool_reserve);
  if (tokens == 0 || reserve == 0) return refuse(Errc::invalid_argument);
  note_price(now_ns);
  account.shares -= shares;
  account.free += tokens;
  account.reserve += reserve;
  sums_.pool_shares -= shares;
  sums_.pool_tokens -= tokens;
  sums_.pool_reserve -= reserve;
  record(kTokenKind<token::RemoveLiquidity>, order.account, order.account, tokens);
  Reply reply = moved(order.account, tokens);
  reply.reserve = amount_of(reserve);
  return reply;
}

// --- channels ----------------------------------------------------------------------------------

std::uint64_t channel_mac(std::uint64_t key, const ChannelState& state) noexcept {
  const std::array<std::uint64_t, 8> words{key,
                                           state.channel,
                                           state.nonce,
                                           state.balance_a.low,
                                           state.balance_a.high,
                                           state.balance_b.low,
                                           state.balance_b.high,
                                           ~key};
  return checksum(std::as_bytes(std::span(words)));
}

std::uint32_t TokenEconomy::find_channel(std::uint64_t id) const noexcept {
  for (std::uint32_t slot = 0; slot < config_.channels_max; ++slot) {
    if (channel_slots_.is_used(slot) && channels_[slot].id == id) return slot;
  }
  return kNone;
}

TokenEconomy::Reply TokenEconomy::on(const token::OpenChannel& order, std::int64_t) noexcept {
  if (!is_account(order.a) || !is_account(order.b)) return refuse(Errc::no_such_agent);
  const U128 a = wide(order.deposit_a);
  const U128 b = wide(order.deposit_b);
  const bool is_possible = order.a != order.b && a <= kAmountMax && b <= kAmountMax && a + b != 0 &&
                           accounts_[order.a].key != 0 && accounts_[order.b].key != 0;
  if (!is_possible) return refuse(Errc::invalid_argument);
  if (accounts_[order.a].free < a || accounts_[order.b].free < b) {
    return refuse(Errc::insufficient_balance);
  }
  const std::uint32_t slot = channel_slots_.take();
  if (slot == kNone) return refuse(Errc::capacity);
  Channel& channel = channels_[slot] = {};
  channel.id = ++last_id_;
  channel.deposit_a = channel.balance_a = a;
  channel.deposit_b = channel.balance_b = b;
  channel.a = order.a;
  channel.b = order.b;
  accounts_[order.a].free -= a;
  accounts_[order.b].free -= b;
  ++counters_.channels_opened;
  record(kTokenKind<token::OpenChannel>, order.a, order.b, a + b);
  Reply reply = moved(order.a, a + b);
  reply.id = channel.id;
  return reply;
}

// Signed by both, about this channel, balanced, and newer than what is known.
Errc TokenEconomy::judge(const Channel& channel, const ChannelState& state,
                         std::uint32_t by) const noexcept {
  if (by != channel.a && by != channel.b) return Errc::not_authorized;
  const U128 a = wide(state.balance_a);
  const U128 b = wide(state.balance_b);
  const bool is_balanced =
      a <= kAmountMax && b <= kAmountMax && a + b == channel.deposit_a + channel.deposit_b;
  if (!is_balanced && !MESH_MUTANT("token.balanced")) return Errc::invalid_argument;
  const bool is_signed = state.mac_a == channel_mac(accounts_[channel.a].key, state) &&
                         state.mac_b == channel_mac(accounts_[channel.b].key, state);
  if (!is_signed && !MESH_MUTANT("token.signature")) return Errc::verification_failed;
  const bool is_newer = state.nonce > channel.nonce || MESH_MUTANT("token.nonce");
  return is_newer ? Errc::ok : Errc::stale_token;
}

void TokenEconomy::take_state(Channel& channel, const ChannelState& state) noexcept {
  channel.nonce = state.nonce;
  channel.balance_a = wide(state.balance_a);
  channel.balance_b = wide(state.balance_b);
}

void TokenEconomy::pay_out(std::uint32_t slot, std::int64_t now_ns) noexcept {
  Channel& channel = channels_[slot];
  if (channel.cheat != kNone) {
    U128& loser = channel.cheat == channel.a ? channel.balance_a : channel.balance_b;
    U128& other = channel.cheat == channel.a ? channel.balance_b : channel.balance_a;
    const U128 penalty = loser * config_.penalty_ppm / kPpm;
    loser -= penalty;
    other += penalty;
    emit(Event::cheat, Severity::warning, now_ns, {channel.cheat, channel.id, channel.nonce});
  }
  accounts_[channel.a].free += channel.balance_a;
  accounts_[channel.b].free += channel.balance_b;
  ++counters_.channels_closed;
  record(kTokenKind<token::CloseChannel>, channel.a, channel.b,
         channel.balance_a + channel.balance_b);
  channel = {};
  channel_slots_.free(slot);
}

TokenEconomy::Reply TokenEconomy::on(const token::CloseChannel& order,
                                     std::int64_t now_ns) noexcept {
  const std::uint32_t slot = find_channel(order.state.channel);
  if (slot == kNone) return refuse(Errc::not_found);
  Channel& channel = channels_[slot];
  // Closing already: only together can it end sooner, and a newer state is a challenge.
  if (channel.closed_by != kNone && !order.is_cooperative) return refuse(Errc::wrong_state);
  const Errc bad = judge(channel, order.state, order.by);
  if (bad != Errc::ok) return refuse(bad);
  take_state(channel, order.state);
  Reply reply;
  reply.id = channel.id;
  reply.tokens = amount_of(channel.balance_a + channel.balance_b);
  if (order.is_cooperative) {
    challenge_ends_.clear(slot);
    pay_out(slot, now_ns);
    return reply;
  }
  channel.closed_by = order.by;
  channel.ends_ns = now_ns + config_.challenge_ns.count();
  challenge_ends_.set(slot, channel.ends_ns, channel.id);
  reply.until = Nanos{channel.ends_ns};
  view_changed_ = true;
  return reply;
}

TokenEconomy::Reply TokenEconomy::on(const token::Challenge& order, std::int64_t) noexcept {
  const std::uint32_t slot = find_channel(order.state.channel);
  if (slot == kNone) return refuse(Errc::not_found);
  Channel& channel = channels_[slot];
  if (channel.closed_by == kNone) return refuse(Errc::wrong_state);
  const Errc bad = judge(channel, order.state, order.by);
  if (bad != Errc::ok) return refuse(bad);
  take_state(channel, order.state);
  ++counters_.challenges;
  const bool is_cheat = order.by != channel.closed_by && !MESH_MUTANT("token.penalty");
  if (is_cheat && channel.cheat == kNone) {
    channel.cheat = channel.closed_by;
    ++counters_.cheats;
  }
  view_changed_ = true;
  Reply reply;
  reply.id = channel.id;
  reply.until = Nanos{channel.ends_ns};
  return reply;
}

}  // namespace mesh::coordination
