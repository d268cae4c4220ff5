#include "engine/coordination/task_auction.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "engine/coordination/blocks/mutant.hpp"

namespace mesh::coordination {
namespace {

__extension__ using Wide = __int128;
constexpr std::int64_t kScoreMax = std::int64_t{1} << 60;

IdHash pair_of(std::uint32_t auction, std::uint32_t agent) noexcept {
  return hash_of(std::uint64_t{auction} << 32 | agent, 1);
}
bool is_price(std::int64_t price) noexcept { return price >= 0 && price <= TaskAuction::kPriceMax; }
bool is_open_format(AuctionFormat format) noexcept {
  return format >= AuctionFormat::open_ascending;
}

}  // namespace

TaskAuction::TaskAuction(const Config& config, std::uint64_t)
    : ServiceForm(config),
      auctions_(config.auctions_max),
      auction_slots_(config.auctions_max),
      auction_index_(config.auctions_max),
      bids_(config.bids_max),
      marginals_(config.bids_max),
      bid_slots_(config.bids_max),
      bid_index_(config.bids_max),
      capabilities_(config.agents_max),
      reputations_(config.agents_max),
      records_(config.agents_max),
      ends_(config.auctions_max) {
  ranked_.reserve(config.bids_max);
  news_.reserve(256);
  capability_names_.reserve(kCapabilitiesMax);
}

// --- who bids, for what ------------------------------------------------------------------------

TaskAuction::Reply TaskAuction::on(const auction::AddCapability& order, std::int64_t) noexcept {
  if (!is_name(order.name)) return refuse(Errc::invalid_id);
  const auto known = std::find(capability_names_.begin(), capability_names_.end(), order.name);
  if (known != capability_names_.end()) return refuse(Errc::already_exists);
  if (capability_names_.size() == kCapabilitiesMax) return refuse(Errc::capacity);
  capability_names_.push_back(order.name);
  Reply reply;
  reply.auction = static_cast<std::uint32_t>(capability_names_.size() - 1);
  return reply;
}

TaskAuction::Reply TaskAuction::on(const auction::SetAgent& order, std::int64_t) noexcept {
  if (order.agent >= config_.agents_max) return refuse(Errc::no_such_agent);
  if (order.reputation_ppm > 1'000'000) return refuse(Errc::invalid_argument);
  capabilities_[order.agent] = order.capabilities;
  reputations_[order.agent] = order.reputation_ppm;
  return {};
}

TaskAuction::Reply TaskAuction::on(const auction::Open& order, std::int64_t now_ns) noexcept {
  auction::OpenWith with;
  with.id = order.id;
  with.requirements = order.requirements;
  with.rules = config_.rules;
  with.terms = config_.terms;
  return on(with, now_ns);
}

TaskAuction::Reply TaskAuction::on(const auction::OpenWith& order, std::int64_t now_ns) noexcept {
  if (!is_name(order.id)) return refuse(Errc::invalid_id);
  const std::uint64_t known = capability_names_.size() == 64
                                  ? ~std::uint64_t{0}
                                  : (std::uint64_t{1} << capability_names_.size()) - 1;
  if (!are_sound(order.rules, order.terms) || (order.requirements & ~known) != 0) {
    return refuse(Errc::invalid_argument);
  }
  const IdHash id = hash_of(order.id);
  if (auction_index_.find(id) != kNone) return refuse(Errc::already_exists);
  const std::uint32_t slot = auction_slots_.take();
  if (slot == kNone) return refuse(Errc::capacity);
  Auction& fresh = auctions_[slot] = {};
  fresh.id = id;
  fresh.rules = order.rules;
  fresh.terms = order.terms;
  fresh.requirements = order.requirements;
  fresh.opened_ns = now_ns;
  fresh.ends_ns = now_ns + order.rules.timeout_ns.count();
  fresh.phase = AuctionPhase::open;
  auction_index_.set(id, slot);
  arm(slot);
  ++counters_.opened;
  ++running_;
  emit(Event::opened, Severity::debug, now_ns, {slot, 0, 0});
  view_changed_ = true;
  Reply reply;
  reply.auction = slot;
  reply.phase = fresh.phase;
  reply.ends = Nanos{fresh.ends_ns};
  return reply;
}

// A bid at the end still counts: it is over one nanosecond later.
void TaskAuction::arm(std::uint32_t auction) noexcept {
  ends_.set(auction, auctions_[auction].ends_ns + 1, auction);
}

bool TaskAuction::meets_requirements(const Auction& on, std::uint32_t agent) const noexcept {
  return (on.requirements & ~capabilities_[agent]) == 0;
}

Errc TaskAuction::may_bid(std::uint32_t auction, std::uint32_t agent,
                          std::int64_t now_ns) const noexcept {
  if (!is_auction(auction)) return Errc::not_found;
  if (agent >= config_.agents_max) return Errc::no_such_agent;
  const Auction& on = auctions_[auction];
  if (MESH_MUTANT("auction.one_result")) return Errc::ok;
  return on.phase != AuctionPhase::open || now_ns > on.ends_ns ? Errc::closed : Errc::ok;
}

// --- scores ------------------------------------------------------------------------------------

Errc TaskAuction::score(const Auction& on, const auction::Bid& bid, ScoredBid& scored) noexcept {
  scored.agent = bid.agent;
  scored.price = bid.price;
  Wide quality = 0;
  if (on.terms.scoring == AuctionScoring::quasilinear) {
    quality -= Wide{on.terms.w_latency} * bid.latency.count() / kNsPerMs;
    if (!MESH_MUTANT("auction.reputation")) {
      quality += Wide{on.terms.w_reputation} * reputations_[bid.agent] / 1'000'000;
    }
  }
  if (on.terms.scoring == AuctionScoring::custom) {
    if (scorer_ == nullptr) return Errc::callback_failed;
    const bool is_reverse = on.rules.direction == AuctionDirection::reverse;
    try {
      const Wide given = scorer_(scorer_context_, bid);
      quality = is_reverse ? given + bid.price : given - bid.price;
    } catch (...) {
      return Errc::callback_failed;
    }
  }
  const Wide total =
      on.rules.direction == AuctionDirection::reverse ? quality - bid.price : quality + bid.price;
  if (quality > kScoreMax || quality < -kScoreMax || total > kScoreMax || total < -kScoreMax) {
    return Errc::invalid_argument;
  }
  scored.quality = static_cast<std::int64_t>(quality);
  scored.score = static_cast<std::int64_t>(total);
  return Errc::ok;
}

PaymentRule TaskAuction::payment_rule(const Auction& on) noexcept {
  const bool pays_own =
      on.rules.format != AuctionFormat::sealed_second || MESH_MUTANT("auction.second_price");
  return {on.rules.direction, pays_own, on.rules.has_reserve, on.rules.reserve};
}

// What the next bid in an open format must score.
std::int64_t TaskAuction::least_score(const Auction& on) const noexcept {
  return bids_[on.leader].scored.score + on.rules.increment;
}

std::int64_t TaskAuction::clock_price(std::uint32_t auction, Nanos now) const noexcept {
  if (!is_auction(auction)) return 0;
  const Auction& on = auctions_[auction];
  const Wide moved = Wide{on.terms.rate_per_s} *
                     std::max<std::int64_t>(0, now.count() - on.opened_ns) / kNsPerSecond;
  const bool rises = on.rules.direction == AuctionDirection::reverse;
  const Wide limit = on.rules.has_reserve ? on.rules.reserve : rises ? Wide{kPriceMax} : Wide{0};
  const Wide price = rises ? on.terms.start_price + moved : on.terms.start_price - moved;
  return static_cast<std::int64_t>(rises ? std::min(price, limit) : std::max(price, limit));
}

// --- bids --------------------------------------------------------------------------------------

std::uint32_t TaskAuction::bid_of(std::uint32_t auction, std::uint32_t agent) const noexcept {
  return bid_index_.find(pair_of(auction, agent));
}

void TaskAuction::index_bid(std::uint32_t bid) noexcept {
  bid_index_.set(pair_of(bids_[bid].auction, bids_[bid].scored.agent), bid);
}

// A replacement needs no room.
Errc TaskAuction::room_for_bid(std::uint32_t auction, std::uint32_t agent) const noexcept {
  const Auction& on = auctions_[auction];
  const bool replaces = on.terms.one_bid_per_agent && bid_of(auction, agent) != kNone;
  if (replaces) return Errc::ok;
  const bool fits = on.bids < on.rules.max_bids && bid_slots_.left() != 0;
  return fits ? Errc::ok : Errc::capacity;
}

std::uint32_t TaskAuction::put_bid(std::uint32_t auction, const ScoredBid& scored,
                                   std::int64_t now_ns) noexcept {
  Auction& on = auctions_[auction];
  const std::uint32_t before = bid_of(auction, scored.agent);
  if (on.terms.one_bid_per_agent && before != kNone) {
    take_out(before);
    ++counters_.replaced;
  }
  const std::uint32_t slot = bid_slots_.take();
  Bid& fresh = bids_[slot] = {};
  fresh.scored = scored;
  fresh.scored.arrival = ++arrivals_;
  fresh.scored.index = slot;
  fresh.auction = auction;
  fresh.previous = on.last;
  (on.last == kNone ? on.first : bids_[on.last].next) = slot;
  on.last = slot;
  ++on.bids;
  index_bid(slot);
  ++counters_.bids;
  ++records_[scored.agent].bids;
  const std::int64_t shown = is_open_format(on.rules.format) ? scored.price : 0;
  emit(Event::bid, Severity::debug, now_ns, {auction, on.bids, static_cast<std::uint64_t>(shown)});
  view_changed_ = true;
  return slot;
}

void TaskAuction::take_out(std::uint32_t bid) noexcept {
  Bid& gone = bids_[bid];
  Auction& on = auctions_[gone.auction];
  (gone.previous == kNone ? on.first : bids_[gone.previous].next) = gone.next;
  (gone.next == kNone ? on.last : bids_[gone.next].previous) = gone.previous;
  --on.bids;
  if (on.leader == bid) on.leader = kNone;
  if (bid_of(gone.auction, gone.scored.agent) == bid) {
    bid_index_.erase(pair_of(gone.auction, gone.scored.agent));
  }
  if (gone.deposit != 0) {
    news_.push_back({AuctionNotice::deposit_back, gone.auction, gone.scored.agent, gone.deposit});
    ++counters_.deposits_back;
    --deposits_held_;
  }
  gone = {};
  bid_slots_.free(bid);
}

void TaskAuction::hold_deposit(std::uint32_t bid) noexcept {
  Bid& one = bids_[bid];
  const auto ppm = Wide{auctions_[one.auction].terms.deposit_ppm};
  one.deposit = static_cast<std::int64_t>(ppm * one.scored.price / 1'000'000);
  if (one.deposit == 0) return;
  ++counters_.deposits;
  ++deposits_held_;
}

TaskAuction::Reply TaskAuction::accepted(std::uint32_t bid) const noexcept {
  const Bid& one = bids_[bid];
  Reply reply;
  reply.auction = one.auction;
  reply.phase = auctions_[one.auction].phase;
  reply.arrival = one.scored.arrival;
  reply.deposit = one.deposit;
  reply.ends = Nanos{auctions_[one.auction].ends_ns};
  return reply;
}

TaskAuction::Reply TaskAuction::decline(std::uint32_t auction, std::int64_t minimum) noexcept {
  ++counters_.rejected_policy;
  Reply reply;
  reply.refusal = Refusal::rejected_policy;
  reply.auction = auction;
  reply.phase = auctions_[auction].phase;
  reply.minimum = minimum;
  return reply;
}

TaskAuction::Reply TaskAuction::on(const auction::Bid& order, std::int64_t now_ns) noexcept {
  const Errc bad = may_bid(order.auction, order.agent, now_ns);
  if (bad != Errc::ok) return refuse(bad);
  const Auction& on = auctions_[order.auction];
  const bool is_possible = is_price(order.price) && is_duration(order.latency) &&
                           !on.terms.sealed_commit && on.terms.items == 0;
  if (!is_possible) return refuse(Errc::invalid_argument);
  ScoredBid scored;
  const Errc unscored = score(on, order, scored);
  if (unscored != Errc::ok) {
    counters_.callback_failures += unscored == Errc::callback_failed ? 1U : 0U;
    return refuse(unscored);
  }
  const Errc no_room = room_for_bid(order.auction, order.agent);
  if (no_room != Errc::ok) return refuse(no_room);
  if (!meets_requirements(on, order.agent)) return decline(order.auction, 0);
  if (on.rules.format == AuctionFormat::open_descending) {
    return accept_clock(order.auction, scored, now_ns);
  }
  if (on.rules.format == AuctionFormat::open_ascending) {
    return raise(order.auction, scored, now_ns);
  }
  const std::uint32_t slot = put_bid(order.auction, scored, now_ns);
  hold_deposit(slot);
  return accepted(slot);
}

// A new leader late in the auction leaves the others time to answer.
TaskAuction::Reply TaskAuction::raise(std::uint32_t auction, const ScoredBid& scored,
                                      std::int64_t now_ns) noexcept {
  Auction& on = auctions_[auction];
  const bool is_reverse = on.rules.direction == AuctionDirection::reverse;
  const bool is_enough =
      meets_reserve(payment_rule(on), scored.price) || MESH_MUTANT("auction.open_reserve");
  if (!is_enough) return decline(auction, on.rules.reserve);
  if (on.leader != kNone && scored.score < least_score(on)) {
    const std::int64_t least = least_score(on);
    return decline(auction, is_reverse ? scored.quality - least : least - scored.quality);
  }
  const std::uint32_t slot = put_bid(auction, scored, now_ns);
  hold_deposit(slot);
  on.leader = slot;
  const bool is_late = on.ends_ns - now_ns < on.rules.extend_window_ns.count();
  const bool may_extend =
      on.extensions < on.rules.max_extensions || MESH_MUTANT("auction.extensions");
  if (is_late && may_extend) {
    on.ends_ns = now_ns + on.rules.extend_window_ns.count();
    ++on.extensions;
    ++counters_.extensions;
    arm(auction);
  }
  return accepted(slot);
}

TaskAuction::Reply TaskAuction::accept_clock(std::uint32_t auction, const ScoredBid& scored,
                                             std::int64_t now_ns) noexcept {
  Auction& on = auctions_[auction];
  const std::int64_t clock = clock_price(auction, Nanos{now_ns});
  const bool is_reverse = on.rules.direction == AuctionDirection::reverse;
  if (is_reverse ? scored.price > clock : scored.price < clock) return decline(auction, clock);
  ScoredBid taken = scored;
  taken.price = clock;
  taken.score = is_reverse ? scored.quality - clock : scored.quality + clock;
  const std::uint32_t slot = put_bid(auction, taken, now_ns);
  hold_deposit(slot);
  on.leader = slot;
  if (on.bids >= on.rules.min_bids) resolve(auction, now_ns);
  return accepted(slot);
}

TaskAuction::Reply TaskAuction::on(const auction::BidUnits& order, std::int64_t now_ns) noexcept {
  const Errc bad = may_bid(order.auction, order.agent, now_ns);
  if (bad != Errc::ok) return refuse(bad);
  Auction& on = auctions_[order.auction];
  const std::size_t count = order.marginals.size();
  bool is_possible = count >= 1 && count <= kUnitsMax && count <= on.terms.quantity &&
                     on.rules.format == AuctionFormat::sealed_second &&
                     on.rules.direction == AuctionDirection::forward && !on.terms.sealed_commit &&
                     on.terms.items == 0 && on.terms.scoring != AuctionScoring::custom;
  std::int64_t last = kPriceMax;
  for (const auto value : order.marginals) {
    is_possible = is_possible && is_price(value) && value <= last;
    last = value;
  }
  if (!is_possible) return refuse(Errc::invalid_argument);
  const Errc no_room = room_for_bid(order.auction, order.agent);
  if (no_room != Errc::ok) return refuse(no_room);
  if (!meets_requirements(on, order.agent)) return decline(order.auction, 0);
  ScoredBid scored;
  scored.agent = order.agent;
  scored.price = scored.score = order.marginals.front();
  const std::uint32_t slot = put_bid(order.auction, scored, now_ns);
  bids_[slot].unit_count = static_cast<std::uint32_t>(count);
  std::copy(order.marginals.begin(), order.marginals.end(), marginals_[slot].begin());
  on.has_units = true;
  hold_deposit(slot);
  return accepted(slot);
}

TaskAuction::Reply TaskAuction::on(const auction::BidBundle& order, std::int64_t now_ns) noexcept {
  const Errc bad = may_bid(order.auction, order.agent, now_ns);
  if (bad != Errc::ok) return refuse(bad);
  const Auction& on = auctions_[order.auction];
  const std::uint32_t all = (std::uint32_t{1} << on.terms.items) - 1;
  const bool is_possible =
      on.terms.items != 0 && order.items != 0 && (order.items & ~all) == 0 && is_price(order.price);
  if (!is_possible) return refuse(Errc::invalid_argument);
  const Errc no_room = room_for_bid(order.auction, order.agent);
  if (no_room != Errc::ok) return refuse(no_room);
  if (!meets_requirements(on, order.agent)) return decline(order.auction, 0);
  ScoredBid scored;
  scored.agent = order.agent;
  scored.price = scored.score = order.price;
  const std::uint32_t slot = put_bid(order.auction, scored, now_ns);
  bids_[slot].items = order.items;
  hold_deposit(slot);
  return accepted(slot);
}

// --- sealed by a hash --------------------------------------------------------------------------

Commitment commitment_of(const auction::Reveal& bid) noexcept {
  const std::array<std::uint64_t, 5> words{
      std::uint64_t{bid.auction} << 32 | bid.agent, static_cast<std::uint64_t>(bid.price),
      static_cast<std::uint64_t>(bid.latency.count()), bid.salt, ~bid.salt};
  const auto bytes = std::as_bytes(std::span(words));
  const IdHash hash = hash_of({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  return {hash.low, hash.high};
}

TaskAuction::Reply TaskAuction::on(const auction::Commit& order, std::int64_t now_ns) noexcept {
  const Errc bad = may_bid(order.auction, order.agent, now_ns);
  if (bad != Errc::ok) return refuse(bad);
  const Auction& on = auctions_[order.auction];
  if (!on.terms.sealed_commit || !is_price(order.deposit)) return refuse(Errc::invalid_argument);
  if (bid_of(order.auction, order.agent) != kNone) return refuse(Errc::duplicate);
  const Errc no_room = room_for_bid(order.auction, order.agent);
  if (no_room != Errc::ok) return refuse(no_room);
  if (!meets_requirements(on, order.agent)) return decline(order.auction, 0);
  ScoredBid scored;
  scored.agent = order.agent;
  Bid& one = bids_[put_bid(order.auction, scored, now_ns)];
  one.commitment = order.commitment;
  one.is_void = true;  // until it is revealed
  one.deposit = order.deposit;
  if (one.deposit != 0) {
    ++counters_.deposits;
    ++deposits_held_;
  }
  return accepted(one.scored.index);
}

TaskAuction::Reply TaskAuction::on(const auction::Reveal& order, std::int64_t) noexcept {
  if (!is_auction(order.auction)) return refuse(Errc::not_found);
  if (order.agent >= config_.agents_max) return refuse(Errc::no_such_agent);
  const Auction& on = auctions_[order.auction];
  if (on.phase != AuctionPhase::revealing) {
    return refuse(on.phase == AuctionPhase::open ? Errc::wrong_state : Errc::closed);
  }
  const std::uint32_t slot = bid_of(order.auction, order.agent);
  if (slot == kNone) return refuse(Errc::not_found);
  Bid& one = bids_[slot];
  if (!one.is_void) return refuse(Errc::duplicate);
  if (!is_price(order.price) || !is_duration(order.latency)) return refuse(Errc::invalid_argument);
  if (commitment_of(order) != one.commitment) return refuse(Errc::verification_failed);
  const Wide least = Wide{on.terms.deposit_ppm} * order.price / 1'000'000;
  const bool is_covered = Wide{one.deposit} >= least || MESH_MUTANT("auction.reveal_deposit");
  if (!is_covered) return refuse(Errc::insufficient_balance);
  ScoredBid scored;
  const Errc unscored = score(on, {order.auction, order.agent, order.price, order.latency}, scored);
  if (unscored != Errc::ok) return refuse(unscored);
  one.scored.score = scored.score;
  one.scored.quality = scored.quality;
  one.scored.price = scored.price;
  one.is_void = false;
  return accepted(slot);
}

// --- the form of every service -----------------------------------------------------------------

TaskAuction::Reply TaskAuction::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  for (std::uint32_t slot; (slot = ends_.pop_due(now_ns)) != kNone;) end_phase(slot, now_ns);
  Reply reply = std::visit([&](const auto& order) { return on(order, now_ns); }, command);
  if (!news_.empty()) {
    reply.news.assign(news_.begin(), news_.end());
    news_.clear();
  }
  return reply;
}

void TaskAuction::tick(Nanos now, Actions& out) noexcept {
  if (ServiceClock::is_valid(now)) {
    const std::int64_t now_ns = clock_.at(now);
    for (std::uint32_t slot; (slot = ends_.pop_due(now_ns)) != kNone;) end_phase(slot, now_ns);
  }
  out.news.assign(news_.begin(), news_.end());
  news_.clear();
  out.next_tick = Nanos{ends_.next_ns()};
  out.view_changed = view_changed_;
  view_changed_ = false;
}

}  // namespace mesh::coordination
