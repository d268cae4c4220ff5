// What a federation router lends: between networks, zero-sum, until the lender's window ends; to
// stations, as credit.
#include <algorithm>
#include <cmath>

#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/blocks/ppm.hpp"
#include "engine/coordination/federation_router.hpp"

namespace mesh::coordination {

// A loan takes its part of rate, burst and what is in the bucket along: at the granted quota's rate
// it could not be spent in its time. What the smaller bucket no longer holds goes to the other;
// together there is never more in them than before, however often a loan comes and goes.
void FederationRouter::move_budget(Network& from, Network& to, std::int64_t now_ns) noexcept {
  const std::uint64_t has_from = from.bucket.available(now_ns);
  const std::uint64_t has_to = to.bucket.available(now_ns);
  for (Network* one : {&from, &to}) {
    const std::uint64_t quota = std::max<std::uint64_t>(1, one->quota + one->borrowed - one->lent);
    const double seconds = static_cast<double>(one->window.window_ns()) * 1e-9;
    const std::uint64_t burst = federation::share_of(quota, config_.burst_ppm);
    // A rate that makes no bucket changes nothing: it goes on as it was.
    one->bucket.change_rate(static_cast<double>(quota) / seconds, std::max<std::uint64_t>(1, burst),
                            now_ns);
  }
  if (MESH_MUTANT("federation.loan_bucket")) return;
  const std::uint64_t kept = std::min(has_from, from.bucket.burst());
  from.bucket.leave(kept, now_ns);
  to.bucket.leave(std::min(has_to + has_from - kept, to.bucket.burst()), now_ns);
}

std::uint64_t FederationRouter::effective_quota(std::uint32_t network) const noexcept {
  if (network >= networks_.size()) return 0;
  const Network& one = networks_[network];
  return one.quota + one.borrowed - one.lent;
}

// What a network will not use itself, above its reserve. Taken off one after the other: the
// forecast may be the caller's, and any number.
std::uint64_t FederationRouter::surplus(const Network& network,
                                        std::uint64_t forecast) const noexcept {
  const std::uint64_t own = network.quota - network.lent;
  const std::uint64_t reserve = network.quota * config_.reserve_ppm / kPpm;
  if (MESH_MUTANT("federation.reserve")) return own > forecast ? own - forecast : 0;
  const std::uint64_t above_reserve = own > reserve ? own - reserve : 0;
  return above_reserve > forecast ? above_reserve - forecast : 0;
}

// False: there is no place for another loan.
bool FederationRouter::lend(std::uint32_t lender, std::uint32_t borrower, std::uint64_t count,
                            std::int64_t now_ns) noexcept {
  const auto free = std::find_if(loans_.begin(), loans_.end(),
                                 [](const Loan& loan) { return loan.lender == kNone; });
  if (free == loans_.end()) return false;
  networks_[lender].window.roll(now_ns);
  *free = {lender, borrower, count, networks_[lender].window.end_ns()};
  networks_[lender].lent += count;
  networks_[borrower].borrowed += count;
  move_budget(networks_[lender], networks_[borrower], now_ns);
  ++counters_.loans;
  emit(Event::loan, Severity::info, now_ns, {lender, borrower, count});
  return true;
}

FederationRouter::Reply FederationRouter::borrow(const federation::Borrow& wanted,
                                                 std::int64_t now_ns) noexcept {
  if (wanted.lender >= networks_.size() || wanted.borrower >= networks_.size()) {
    return refuse(Errc::not_found);
  }
  if (wanted.lender == wanted.borrower || wanted.count == 0) return refuse(Errc::invalid_argument);
  __extension__ using Wide = unsigned __int128;
  const std::uint64_t left = surplus(networks_[wanted.lender], wanted.lender_forecast);
  const auto offer =
      static_cast<std::uint64_t>(static_cast<Wide>(left) * config_.donate_ppm *
                                 networks_[wanted.borrower].trust_ppm / (kPpm * kPpm));
  Reply reply;
  reply.granted = std::min(wanted.count, offer);
  if (reply.granted == 0) {
    reply.refusal = Refusal::quota_exhausted;
    return reply;
  }
  return lend(wanted.lender, wanted.borrower, reply.granted, now_ns) ? reply
                                                                     : refuse(Errc::capacity);
}

// --- of all at once ----------------------------------------------------------------------------

Errc FederationRouter::judge(const federation::Negotiate& wanted) const noexcept {
  if (wanted.asks.empty() || wanted.asks.size() > networks_.size()) return Errc::invalid_argument;
  for (std::size_t i = 0; i < wanted.asks.size(); ++i) {
    const federation::Ask& ask = wanted.asks[i];
    if (ask.network >= networks_.size()) return Errc::not_found;
    const bool is_twice =
        std::any_of(wanted.asks.begin(), wanted.asks.begin() + static_cast<std::ptrdiff_t>(i),
                    [&](const federation::Ask& other) { return other.network == ask.network; });
    if (is_twice || ask.count == 0 || ask.count > UINT32_MAX) return Errc::invalid_argument;
  }
  return Errc::ok;
}

// Nothing was sent for a while and nothing waits: what it used before it may still use.
bool FederationRouter::is_idle(std::uint32_t network, std::int64_t now_ns) const noexcept {
  const bool waits = std::any_of(requests_.begin(), requests_.end(), [&](const Request& one) {
    return one.stage == Stage::queued && one.network == network;
  });
  return !waits && now_ns - networks_[network].last_sent_ns >= config_.idle_after_ns.count();
}

// What each offers that does not ask, into offers_; the sum.
std::uint64_t FederationRouter::take_offers(std::span<const federation::Ask> asks,
                                            std::int64_t now_ns) noexcept {
  std::uint64_t pool = 0;
  for (std::uint32_t id = 0; id < networks_.size(); ++id) {
    const bool does_ask =
        std::any_of(asks.begin(), asks.end(), [&](const auto& ask) { return ask.network == id; });
    const auto forecast = static_cast<std::uint64_t>(std::ceil(networks_[id].level));
    offers_[id] = does_ask || !is_idle(id, now_ns)
                      ? 0
                      : federation::share_of(surplus(networks_[id], forecast), config_.donate_ppm);
    pool += offers_[id];
  }
  return pool;
}

// Into filled_, in whole requests: what rounding leaves over goes, one each, to the first that have
// room for it.
bool FederationRouter::split(std::uint64_t pool, std::span<const federation::Ask> asks) noexcept {
  const auto items = std::span(items_).first(asks.size());
  double asked = 0;
  for (std::size_t i = 0; i < asks.size(); ++i) {
    const std::uint32_t trust = networks_[asks[i].network].trust_ppm;
    const double most = trust == 0 ? 0 : static_cast<double>(asks[i].count);
    items[i] = {std::max(1.0, static_cast<double>(trust)), 0, most, 0};
    asked += most;
  }
  double left = std::min(static_cast<double>(pool), asked);
  if (left < 1 || !water_fill(left, items, filled_, scratch_)) return false;
  for (std::size_t i = 0; i < asks.size(); ++i) {
    filled_[i] = std::floor(filled_[i] + 1e-9);
    left -= filled_[i];
  }
  for (std::size_t i = 0; i < asks.size(); ++i) {
    if (left < 0.5 || filled_[i] + 1 > items[i].hi) continue;
    filled_[i] += 1;
    left -= 1;
  }
  return true;
}

FederationRouter::Reply FederationRouter::negotiate(const federation::Negotiate& wanted,
                                                    std::int64_t now_ns) noexcept {
  const Errc bad = judge(wanted);
  if (bad != Errc::ok) return refuse(bad);
  Reply reply;
  if (!split(take_offers(wanted.asks, now_ns), wanted.asks)) {
    reply.refusal = Refusal::quota_exhausted;
    return reply;
  }
  std::uint32_t lender = 0;
  for (std::size_t i = 0; i < wanted.asks.size(); ++i) {
    auto due = static_cast<std::uint64_t>(filled_[i]);
    while (due != 0 && lender < networks_.size()) {
      const std::uint64_t part = std::min(due, offers_[lender]);
      if (part != 0 && !lend(lender, wanted.asks[i].network, part, now_ns)) return reply;
      offers_[lender] -= part;
      reply.granted += part;
      due -= part;
      if (due != 0) ++lender;
    }
  }
  return reply;
}

// --- ahead of time -----------------------------------------------------------------------------

FederationRouter::Reply FederationRouter::want_credit(const federation::WantCredit& wanted,
                                                      std::int64_t now_ns) noexcept {
  if (wanted.network >= networks_.size()) return refuse(Errc::not_found);
  if (wanted.count == 0) return refuse(Errc::invalid_argument);
  Network& network = networks_[wanted.network];
  if (network.breaker.state() != BreakerState::closed) {
    const std::int64_t open_ns = network.breaker.open_until().count() - now_ns;
    return reject(Refusal::rejected_open, Nanos{std::max<std::int64_t>(0, open_ns)},
                  counters_.rejected);
  }
  std::uint64_t most = network.window.room(budget(network), now_ns);
  if (most == 0) {
    const HybridVerdict verdict = network.window.ask(1, budget(network), now_ns);
    return reject(Refusal::quota_exhausted, Nanos{verdict.retry_after_ns}, counters_.exhausted);
  }
  if (others_wait(wanted.network, wanted.station)) {
    const std::uint64_t share = federation::share_of(budget(network), config_.requester_share_ppm);
    const std::uint64_t used = network.used[wanted.station % kShares];
    most = std::min(most, share > used ? share - used : 0);
  }
  Reply reply;
  reply.network = wanted.network;
  reply.grant = network.bucket.want(wanted.station, std::min(wanted.count, most), now_ns,
                                    network.window.end_ns());
  if (reply.grant.granted == 0) {
    reply.refusal = Refusal::no_credit;
    return reply;
  }
  spend(network, wanted.station, reply.grant.granted, now_ns);
  counters_.credited += reply.grant.granted;
  return reply;
}

void FederationRouter::return_loan(Loan& loan, std::uint64_t count, std::int64_t now_ns) noexcept {
  emit(Event::loan_returned, Severity::info, now_ns, {loan.lender, loan.borrower, count});
  networks_[loan.lender].lent -= count;
  networks_[loan.borrower].borrowed -= count;
  move_budget(networks_[loan.borrower], networks_[loan.lender], now_ns);
  loan.count -= count;
  if (loan.count == 0) loan = Loan{};
}

FederationRouter::Reply FederationRouter::reclaim(std::uint32_t lender,
                                                  std::int64_t now_ns) noexcept {
  if (lender >= networks_.size()) return refuse(Errc::not_found);
  Reply reply;
  for (auto& loan : loans_) {
    if (loan.lender != lender) continue;
    Network& borrower = networks_[loan.borrower];
    borrower.window.roll(now_ns);
    const std::uint64_t effective = effective_quota(loan.borrower);
    const std::uint64_t spent = borrower.window.current();
    const std::uint64_t unspent = effective > spent ? effective - spent : 0;
    const std::uint64_t back =
        MESH_MUTANT("federation.unspent") ? loan.count : std::min(loan.count, unspent);
    reply.granted += back;
    if (back != 0) return_loan(loan, back, now_ns);
  }
  return reply;
}

}  // namespace mesh::coordination
