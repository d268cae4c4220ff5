// What the auctions look like from outside: presets, the range of the config, bytes, and what must
// hold.
#include <algorithm>
#include <array>

#include "engine/coordination/task_auction.hpp"

namespace mesh::coordination {
namespace {

constexpr std::array<std::string_view, 4> kPresets{"task-assignment", "fast-dispatch",
                                                   "resource-sale", "open-market"};
constexpr std::int64_t kWeightMax = 1'000'000'000'000;

bool is_possible_price(std::int64_t price) noexcept {
  return price >= 0 && price <= TaskAuction::kPriceMax;
}

}  // namespace

std::span<const std::string_view> TaskAuctionConfig::names() noexcept { return kPresets; }

Result<TaskAuctionConfig> TaskAuctionConfig::preset(std::string_view name) {
  TaskAuctionConfig config;
  if (name == "task-assignment") return config;
  if (name == "fast-dispatch") {
    config.rules.format = AuctionFormat::sealed_first;
    config.rules.timeout_ns = Nanos{50 * kNsPerMs};
    return config;
  }
  config.rules.direction = AuctionDirection::forward;
  if (name == "resource-sale") return config;
  if (name == "open-market") {
    config.rules.format = AuctionFormat::open_ascending;
    config.rules.timeout_ns = Nanos{30 * kNsPerSecond};
    return config;
  }
  return unknown_preset("task auction", name, kPresets);
}

bool TaskAuction::are_sound(const AuctionRules& rules, const AuctionTerms& terms) noexcept {
  const bool is_clock = rules.format == AuctionFormat::open_descending;
  const bool is_sealed = rules.format < AuctionFormat::open_ascending;
  const bool rules_hold = rules.direction <= AuctionDirection::forward &&
                          rules.format <= AuctionFormat::open_descending &&
                          rules.timeout_ns.count() >= kNsPerMs &&
                          rules.timeout_ns.count() <= 3'600 * kNsPerSecond && rules.min_bids >= 1 &&
                          rules.max_bids >= rules.min_bids && rules.max_bids <= 4'096 &&
                          is_possible_price(rules.reserve) && rules.increment >= 1 &&
                          is_possible_price(rules.increment) &&
                          is_duration(rules.extend_window_ns) && rules.max_extensions <= 1'000;
  const bool terms_hold = terms.scoring <= AuctionScoring::custom && terms.w_latency >= 0 &&
                          terms.w_latency <= kWeightMax && terms.w_reputation >= 0 &&
                          terms.w_reputation <= kWeightMax && terms.quantity >= 1 &&
                          terms.quantity <= kQuantityMax && terms.items <= kBundleItemsMax &&
                          terms.deposit_ppm <= 1'000'000 && is_positive_duration(terms.reveal_ns) &&
                          is_possible_price(terms.start_price) &&
                          is_possible_price(terms.rate_per_s);
  // What does not go together.
  const bool goes = (is_sealed || (terms.quantity == 1 && !terms.sealed_commit)) &&
                    (terms.items == 0 || (rules.format == AuctionFormat::sealed_second &&
                                          rules.direction == AuctionDirection::forward &&
                                          terms.quantity == 1 && !terms.sealed_commit)) &&
                    (!is_clock || terms.rate_per_s >= 1);
  return rules_hold && terms_hold && goes;
}

Status TaskAuction::validate(const Config& config) {
  const std::array<Check, 5> checks{{
      {are_sound(config.rules, config.terms),
       "rules or terms are out of range, or do not go together: timeout 1 ms..1 h, max_bids "
       "min_bids..4096, increment from 1, quantity 1..64, items up to 16, ppm up to 1000000; "
       "several units, hashes and bundles in sealed formats only; a clock needs a rate"},
      {config.auctions_max >= 1 && config.auctions_max <= 65'536,
       "auctions_max is outside 1..65536"},
      {config.bids_max >= 1 && config.bids_max <= SlotSet::kSlotsMax,
       "bids_max is outside 1..262144"},
      {config.agents_max >= 1 && config.agents_max <= 1U << 20, "agents_max is outside 1..1048576"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

// --- bytes -------------------------------------------------------------------------------------

namespace {

template <class Auction, class Visit>
void words_of_auction(Auction& on, Visit&& visit) {
  visit(on.id.low);
  visit(on.id.high);
  visit(on.requirements);
  visit(on.opened_ns);
  visit(on.ends_ns);
  visit(on.extensions);
  visit(on.bids);
  visit(on.first);
  visit(on.last);
  visit(on.leader);
  visit(on.phase);
  visit(on.outcome);
  visit(on.has_units);
}
template <class Bid, class Visit>
void words_of_bid(Bid& one, Visit&& visit) {
  visit(one.scored.score);
  visit(one.scored.arrival);
  visit(one.scored.agent);
  visit(one.scored.price);
  visit(one.scored.quality);
  visit(one.scored.index);
  visit(one.deposit);
  visit(one.amount);
  visit(one.commitment.low);
  visit(one.commitment.high);
  visit(one.won);
  visit(one.auction);
  visit(one.items);
  visit(one.unit_count);
  visit(one.next);
  visit(one.previous);
  visit(one.is_void);
}

}  // namespace

void TaskAuction::save_state(StateWriter& writer) const {
  const auto put = [&](const auto& value) { writer.put(value); };
  writer.put(arrivals_);
  writer.put(static_cast<std::uint32_t>(capability_names_.size()));
  for (const auto& name : capability_names_) writer.put(name);
  writer.put(auction_slots_.used());
  for (std::uint32_t slot = 0; slot < config_.auctions_max; ++slot) {
    if (!auction_slots_.is_used(slot)) continue;
    writer.put(slot);
    words_of_auction(auctions_[slot], put);
    put_fields(auctions_[slot].rules, writer);
    put_fields(auctions_[slot].terms, writer);
  }
  writer.put(bid_slots_.used());
  for (std::uint32_t slot = 0; slot < config_.bids_max; ++slot) {
    if (!bid_slots_.is_used(slot)) continue;
    writer.put(slot);
    words_of_bid(bids_[slot], put);
    for (std::size_t i = 0; i < bids_[slot].unit_count; ++i) writer.put(marginals_[slot][i]);
  }
  const auto is_known = [&](std::uint32_t agent) {
    return capabilities_[agent] != 0 || reputations_[agent] != 0 || records_[agent].bids != 0;
  };
  std::uint32_t known = 0;
  for (std::uint32_t agent = 0; agent < config_.agents_max; ++agent) known += is_known(agent);
  writer.put(known);
  for (std::uint32_t agent = 0; agent < config_.agents_max; ++agent) {
    if (!is_known(agent)) continue;
    writer.put(agent);
    writer.put(capabilities_[agent]);
    writer.put(reputations_[agent]);
    put_fields(records_[agent], writer);
  }
}

void TaskAuction::load_auction(StateReader& reader) {
  const auto slot = reader.get<std::uint32_t>();
  if (!auction_slots_.use(slot)) return reader.fail();
  Auction& on = auctions_[slot];
  words_of_auction(on, [&](auto& value) { get_fields(value, reader); });
  get_fields(on.rules, reader);
  get_fields(on.terms, reader);
  const bool is_possible = are_sound(on.rules, on.terms) && auction_index_.find(on.id) == kNone &&
                           on.ends_ns >= 0 && on.ends_ns <= kInstantMaxNs * 2 - 2;
  if (reader.failed() || !is_possible) return reader.fail();
  auction_index_.set(on.id, slot);
  if (on.phase != AuctionPhase::open && on.phase != AuctionPhase::revealing) return;
  ++running_;
  arm(slot);
}

void TaskAuction::load_bid(StateReader& reader) {
  const auto slot = reader.get<std::uint32_t>();
  if (!bid_slots_.use(slot)) return reader.fail();
  Bid& one = bids_[slot];
  words_of_bid(one, [&](auto& value) { get_fields(value, reader); });
  const bool is_possible = is_auction(one.auction) && one.scored.agent < config_.agents_max &&
                           one.scored.index == slot && one.unit_count <= kUnitsMax;
  if (reader.failed() || !is_possible) return reader.fail();
  for (std::size_t i = 0; i < one.unit_count; ++i) reader.get(marginals_[slot][i]);
  if (one.deposit != 0) ++deposits_held_;
}

void TaskAuction::load_state(StateReader& reader) {
  reader.get(arrivals_);
  const std::size_t names = reader.get_count(4);
  if (names > kCapabilitiesMax) return reader.fail();
  for (std::size_t i = 0; i < names; ++i) capability_names_.push_back(reader.get<std::string>());
  const std::size_t auctions = reader.get_count(100);
  for (std::size_t i = 0; i < auctions && !reader.failed(); ++i) load_auction(reader);
  const std::size_t bids = reader.get_count(90);
  for (std::size_t i = 0; i < bids && !reader.failed(); ++i) load_bid(reader);
  const std::size_t agents = reader.get_count(40);
  for (std::size_t i = 0; i < agents && !reader.failed(); ++i) {
    const auto agent = reader.get<std::uint32_t>();
    if (agent >= config_.agents_max) return reader.fail();
    reader.get(capabilities_[agent]);
    reader.get(reputations_[agent]);
    get_fields(records_[agent], reader);
  }
  if (!reader.failed()) index_bids(reader);
}

// In the order in which they came, so that each agent's last one is found.
void TaskAuction::index_bids(StateReader& reader) {
  for (std::uint32_t slot = 0; slot < config_.auctions_max; ++slot) {
    if (!is_auction(slot)) continue;
    std::uint32_t count = 0;
    for (std::uint32_t at = auctions_[slot].first; at != kNone; at = bids_[at].next) {
      if (!bid_slots_.is_used(at) || ++count > bid_slots_.used()) return reader.fail();
      index_bid(at);
    }
  }
}

// --- what must hold ----------------------------------------------------------------------------

// Its bids are in order and its own; the leader is one of them and scores most; what was won is
// no more than there was, and nobody pays more than it bid.
bool TaskAuction::is_whole(std::uint32_t auction) const noexcept {
  const Auction& on = auctions_[auction];
  std::uint32_t count = 0;
  std::uint32_t won = 0;
  std::uint32_t items = 0;
  std::uint64_t last = 0;
  bool has_leader = on.leader == kNone;
  for (std::uint32_t at = on.first; at != kNone; at = bids_[at].next) {
    if (!bid_slots_.is_used(at) || ++count > on.bids) return false;
    const Bid& one = bids_[at];
    if (one.auction != auction || one.scored.arrival <= last) return false;
    last = one.scored.arrival;
    has_leader = has_leader || at == on.leader;
    if (one.won == 0) continue;
    if (on.terms.items == 0) won += one.won;
    if (on.terms.items != 0 && (items & one.won) != 0) return false;
    items |= on.terms.items != 0 ? one.won : 0U;
    const bool is_fair = on.rules.direction == AuctionDirection::reverse
                             ? one.amount >= one.scored.price
                             : one.amount >= 0 && (one.won > 1 || one.amount <= one.scored.price);
    if (!is_fair) return false;
  }
  return count == on.bids && has_leader && won <= on.terms.quantity;
}

Status TaskAuction::verify() const {
  bool whole = true;
  std::uint32_t running = 0;
  std::uint32_t bids = 0;
  for (std::uint32_t slot = 0; slot < config_.auctions_max; ++slot) {
    if (!is_auction(slot)) continue;
    const Auction& on = auctions_[slot];
    whole = whole && is_whole(slot);
    bids += on.bids;
    const bool runs = on.phase == AuctionPhase::open || on.phase == AuctionPhase::revealing;
    running += runs ? 1U : 0U;
    whole = whole && runs == ends_.has(slot);
  }
  const Counters& sums = counters_;
  const std::array<Check, 4> checks{{
      {whole, "an auction's bids, leader or result do not fit together"},
      {bids == bid_slots_.used(), "a bid is in no auction"},
      {sums.opened == sums.sold + sums.no_sale + sums.cancelled + running && running == running_,
       "an auction has ended twice, or not at all"},
      {sums.deposits == sums.deposits_back + sums.deposits_slashed + deposits_held_,
       "a deposit was settled twice, or not at all"},
  }};
  return all_hold(Errc::corrupt, checks);
}

template class ServiceForm<TaskAuction, TaskAuctionConfig, TaskAuctionCommand, TaskAuctionReply,
                           TaskAuctionCounters, TaskAuctionActions>;

}  // namespace mesh::coordination
