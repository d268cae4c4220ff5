// How an auction ends: winners, payments, deposits; and what shows of it.
#include <algorithm>
#include <cmath>

#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/task_auction.hpp"

namespace mesh::coordination {

void TaskAuction::end_phase(std::uint32_t auction, std::int64_t now_ns) noexcept {
  Auction& on = auctions_[auction];
  if (on.phase == AuctionPhase::open && on.terms.sealed_commit && on.bids != 0) {
    on.phase = AuctionPhase::revealing;
    on.ends_ns = now_ns + on.terms.reveal_ns.count();
    arm(auction);
    news_.push_back({AuctionNotice::reveal, auction, 0, on.ends_ns});
    view_changed_ = true;
    return;
  }
  resolve(auction, now_ns);
}

// Unit-demand: the best `quantity`, each by the best that lost.
void TaskAuction::award(std::uint32_t auction) noexcept {
  Auction& on = auctions_[auction];
  const PaymentRule rule = payment_rule(on);
  ranked_.clear();
  for (std::uint32_t at = on.first; at != kNone; at = bids_[at].next) {
    const Bid& one = bids_[at];
    const bool is_enough =
        meets_reserve(rule, one.scored.price) || MESH_MUTANT("auction.sealed_reserve");
    if (!one.is_void && is_enough) ranked_.push_back(one.scored);
  }
  const std::size_t winners = std::min<std::size_t>(on.terms.quantity, ranked_.size());
  const std::size_t sorted = std::min(ranked_.size(), winners + 1);
  std::partial_sort(ranked_.begin(), ranked_.begin() + static_cast<std::ptrdiff_t>(sorted),
                    ranked_.end(), is_ahead);
  const ScoredBid* const next = winners < ranked_.size() ? &ranked_[winners] : nullptr;
  for (std::size_t i = 0; i < winners; ++i) {
    Bid& won = bids_[ranked_[i].index];
    won.won = 1;
    won.amount = payment_of(rule, ranked_[i], next);
    ++records_[won.scored.agent].wins;
  }
  if (winners == 1 && next != nullptr) ++records_[next->agent].runner_up;
  on.outcome = winners == 0 ? AuctionOutcome::no_sale : AuctionOutcome::sold;
}

// What each further unit is worth above the reserve; a bid for one is worth its score, and wins
// nothing below 0: it would have to pay more than it bid.
std::vector<std::int64_t> TaskAuction::values_of(std::uint32_t bid) const {
  const Bid& one = bids_[bid];
  std::vector<std::int64_t> values;
  if (one.unit_count == 0 && one.scored.score >= 0) values.push_back(one.scored.score);
  for (std::size_t i = 0; i < one.unit_count; ++i) {
    if (meets_reserve(payment_rule(auctions_[one.auction]), marginals_[bid][i])) {
      values.push_back(marginals_[bid][i]);
    }
  }
  return values;
}

void TaskAuction::award_vcg(std::uint32_t auction) {
  Auction& on = auctions_[auction];
  const bool is_bundles = on.terms.items != 0;
  std::vector<std::uint32_t> slots;
  std::vector<UnitBid> units;
  std::vector<BundleBid> bundles;
  for (std::uint32_t at = on.first; at != kNone; at = bids_[at].next) {
    const Bid& one = bids_[at];
    if (!meets_reserve(payment_rule(on), one.scored.price)) continue;
    // The place among the bids stands for the agent: one agent may have several.
    const auto place = static_cast<std::uint32_t>(slots.size());
    slots.push_back(at);
    units.push_back({one.scored.arrival, place, values_of(at)});
    bundles.push_back({one.scored.arrival, place, one.items, one.scored.price});
  }
  const VcgResult result =
      is_bundles ? vcg_bundles(on.terms.items, bundles) : vcg_units(on.terms.quantity, units);
  for (const VcgWinner& winner : result.winners) {
    Bid& won = bids_[slots[winner.agent]];
    won.won = winner.units;
    won.amount = winner.pays;
    if (!is_bundles && won.unit_count == 0) won.amount -= won.scored.quality;
    const bool has_floor = on.rules.has_reserve && !is_bundles;
    const std::int64_t floor = has_floor ? on.rules.reserve * winner.units : 0;
    won.amount = std::max(won.amount, floor);
    ++records_[won.scored.agent].wins;
  }
  on.outcome = result.winners.empty() ? AuctionOutcome::no_sale : AuctionOutcome::sold;
}

// Each once: back, or slashed where the bid was never revealed.
void TaskAuction::settle_deposits(std::uint32_t auction, std::int64_t now_ns) noexcept {
  for (std::uint32_t at = auctions_[auction].first; at != kNone; at = bids_[at].next) {
    Bid& one = bids_[at];
    const bool is_running = auctions_[auction].phase == AuctionPhase::cancelled;
    const bool is_slashed = one.is_void && !is_running;
    if (is_slashed) {
      ++counters_.unrevealed;
      emit(Event::unrevealed, Severity::warning, now_ns, {auction, one.scored.agent, 0});
    }
    if (one.deposit == 0) continue;
    ++(is_slashed ? counters_.deposits_slashed : counters_.deposits_back);
    --deposits_held_;
    news_.push_back({is_slashed ? AuctionNotice::deposit_slashed : AuctionNotice::deposit_back,
                     auction, one.scored.agent, one.deposit});
    one.deposit = 0;
  }
}

void TaskAuction::resolve(std::uint32_t auction, std::int64_t now_ns) noexcept {
  Auction& on = auctions_[auction];
  ends_.clear(auction);
  std::uint32_t valid = 0;
  for (std::uint32_t at = on.first; at != kNone; at = bids_[at].next) {
    valid += bids_[at].is_void ? 0U : 1U;
  }
  on.phase = AuctionPhase::resolved;
  if (valid < on.rules.min_bids) {
    on.outcome = AuctionOutcome::no_sale;
  } else if (on.has_units || on.terms.items != 0) {
    award_vcg(auction);
  } else {
    award(auction);
  }
  ++(on.outcome == AuctionOutcome::sold ? counters_.sold : counters_.no_sale);
  --running_;
  settle_deposits(auction, now_ns);
  std::int64_t amount = 0;
  std::uint32_t agent = kNone;
  for (std::uint32_t at = on.first; at != kNone && agent == kNone; at = bids_[at].next) {
    if (bids_[at].won != 0) {
      amount = bids_[at].amount;
      agent = bids_[at].scored.agent;
    }
  }
  news_.push_back({AuctionNotice::resolved, auction, agent, amount});
  emit(Event::resolved, Severity::info, now_ns,
       {auction, static_cast<std::uint64_t>(on.outcome), static_cast<std::uint64_t>(amount)});
  view_changed_ = true;
}

TaskAuction::Reply TaskAuction::on(const auction::Resolve& order, std::int64_t now_ns) noexcept {
  if (!is_auction(order.auction)) return refuse(Errc::not_found);
  Auction& on = auctions_[order.auction];
  if (on.phase == AuctionPhase::cancelled) return refuse(Errc::closed);
  if (on.phase != AuctionPhase::resolved) {
    const bool is_full = on.phase == AuctionPhase::open && on.bids == on.rules.max_bids;
    const bool may = order.force || now_ns >= on.ends_ns || is_full;
    if (!may) return refuse(Errc::wrong_state);
    if (order.force) {
      resolve(order.auction, now_ns);
    } else {
      end_phase(order.auction, now_ns);
    }
  }
  return result(order.auction);
}

TaskAuction::Reply TaskAuction::on(const auction::Cancel& order, std::int64_t now_ns) noexcept {
  if (!is_auction(order.auction)) return refuse(Errc::not_found);
  Auction& on = auctions_[order.auction];
  if (on.phase == AuctionPhase::resolved || on.phase == AuctionPhase::cancelled) {
    return refuse(Errc::closed);
  }
  on.phase = AuctionPhase::cancelled;
  ends_.clear(order.auction);
  ++counters_.cancelled;
  --running_;
  settle_deposits(order.auction, now_ns);
  view_changed_ = true;
  Reply reply;
  reply.auction = order.auction;
  reply.phase = on.phase;
  return reply;
}

TaskAuction::Reply TaskAuction::on(const auction::Forget& order, std::int64_t) noexcept {
  if (!is_auction(order.auction)) return refuse(Errc::not_found);
  Auction& on = auctions_[order.auction];
  if (on.phase != AuctionPhase::resolved && on.phase != AuctionPhase::cancelled) {
    return refuse(Errc::wrong_state);
  }
  while (on.first != kNone) take_out(on.first);
  auction_index_.erase(on.id);
  on = {};
  auction_slots_.free(order.auction);
  view_changed_ = true;
  return {};
}

// --- what shows --------------------------------------------------------------------------------

TaskAuction::Reply TaskAuction::result(std::uint32_t auction) const {
  Reply reply;
  reply.auction = auction;
  if (!is_auction(auction)) {
    reply.code = Errc::not_found;
    return reply;
  }
  const Auction& on = auctions_[auction];
  reply.phase = on.phase;
  reply.outcome = on.outcome;
  reply.ends = Nanos{on.ends_ns};
  if (on.phase != AuctionPhase::resolved) return reply;
  std::vector<ScoredBid> won;
  for (std::uint32_t at = on.first; at != kNone; at = bids_[at].next) {
    if (bids_[at].won != 0) won.push_back(bids_[at].scored);
  }
  std::sort(won.begin(), won.end(), is_ahead);
  for (const ScoredBid& one : won) {
    const Bid& bid = bids_[one.index];
    reply.winners.push_back({one.agent, one.score, bid.amount, bid.won});
  }
  return reply;
}

AuctionView TaskAuction::view(std::uint32_t auction) const noexcept {
  AuctionView view;
  if (!is_auction(auction)) return view;
  const Auction& on = auctions_[auction];
  view.phase = on.phase;
  view.bids = on.bids;
  view.ends = Nanos{on.ends_ns};
  const bool is_reverse = on.rules.direction == AuctionDirection::reverse;
  if (on.rules.format == AuctionFormat::open_descending) {
    view.minimum = clock_price(auction, Nanos{clock_.last_ns()});
  }
  if (on.leader == kNone) return view;
  view.has_leader = true;
  view.leader = bids_[on.leader].scored.agent;
  if (on.rules.format == AuctionFormat::open_ascending) {
    view.minimum = is_reverse ? -least_score(on) : least_score(on);
  }
  return view;
}

BidderRecord TaskAuction::record(std::uint32_t agent) const noexcept {
  return agent < config_.agents_max ? records_[agent] : BidderRecord{};
}

AuctionSignals TaskAuction::signals(std::uint32_t auction) const {
  AuctionSignals signals;
  if (!is_auction(auction) || auctions_[auction].phase != AuctionPhase::resolved) return signals;
  std::vector<ScoredBid> all;
  for (std::uint32_t at = auctions_[auction].first; at != kNone; at = bids_[at].next) {
    if (!bids_[at].is_void) all.push_back(bids_[at].scored);
  }
  signals.bids = static_cast<std::uint32_t>(all.size());
  if (all.size() < 2) return signals;
  double sum = 0;
  for (const auto& one : all) sum += static_cast<double>(one.price);
  const double mean = sum / static_cast<double>(all.size());
  double squares = 0;
  for (const auto& one : all) {
    const double off = static_cast<double>(one.price) - mean;
    squares += off * off;
    signals.identical += static_cast<std::uint32_t>(
                             std::count_if(all.begin(), all.end(), [&](const ScoredBid& other) {
                               return other.arrival != one.arrival && other.price == one.price;
                             })) != 0;
  }
  std::sort(all.begin(), all.end(), is_ahead);
  if (mean <= 0) return signals;
  const double deviation = std::sqrt(squares / static_cast<double>(all.size()));
  signals.spread_ppm = static_cast<std::uint64_t>(deviation / mean * 1e6);
  const double gap = static_cast<double>(all[0].score) - static_cast<double>(all[1].score);
  signals.gap_ppm = static_cast<std::uint64_t>(gap / mean * 1e6);
  return signals;
}

}  // namespace mesh::coordination
