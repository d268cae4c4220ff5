// TaskAuction: gives work to whom it suits best, or sells what there is, by bids.
//
//   open --end--> resolved (sold, no_sale)         open --cancel--> cancelled
//   open --end--> revealing --end--> resolved      with sealed_commit
//
// Callers     one thread, which owns the machine; hosted by JournaledService it is durable.
// Progress    wait-free.
// Ordering    arrival is the order of application. A bid at the very end counts; what is due
//             before `now` happens before the command.
// Cost        bid 100 ns; resolve n log n, VCG n^2 k, bundles 2^items n^2. Allocates nothing
//             after construction but a reply's lists, and VCG its scratch.
// Units       prices and scores in millionths (int64, below 2^53); Nanos; agents are numbers below
//             agents_max, auctions and capabilities by the number that their reply gives.
// Guarantees  the highest score wins: reverse quality - price, forward price + quality, where
//             quality = -w_latency ms + w_reputation reputation. Second score and VCG: bidding the
//             truth is never worse. A bid's score depends on no other bid. One result, for ever:
//             resolve again gives the same. Each deposit is given back or slashed once.
// If the      bidder does not reveal: its bid is void and its deposit slashed. The owner dies:
// other side  snapshot and journal.
// dies
// Invariants  opened == sold + no_sale + cancelled + running. deposits == back + slashed + held.
// Errors      invalid_id, invalid_argument, not_found, no_such_agent, already_exists, capacity,
//             closed (after the end), wrong_state (before it), duplicate (a second bid where only
//             one may be, in an open format or after a commit), verification_failed (a reveal),
//             callback_failed. Refusal::rejected_policy: a requirement is missing, or the leader is
//             not beaten; the least that would do is in `minimum`.
// Source      Vickrey 1961; Che 1993; Clarke 1971, Groves 1973. Scores normalised over all bids
//             are refused: a score would depend on the losers, and truth would not pay.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/coordination/auction_terms.hpp"
#include "engine/coordination/blocks/deadline_heap.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/blocks/slot_set.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::coordination {

class TaskAuction final
    : public ServiceForm<TaskAuction, TaskAuctionConfig, TaskAuctionCommand, TaskAuctionReply,
                         TaskAuctionCounters, TaskAuctionActions> {
 public:
  // a: auction. resolved: b outcome, c the first winner's amount. unrevealed: b the agent. bid: b
  // how many there are, c the price where it shows (open formats), else 0.
  enum class Event : std::uint16_t { resolved = 1, unrevealed, opened, bid };
  static constexpr std::size_t kUnitsMax = 8;  // of one bid
  static constexpr std::uint32_t kQuantityMax = 64;
  static constexpr std::uint32_t kCapabilitiesMax = 64;
  static constexpr std::int64_t kPriceMax = (std::int64_t{1} << 53) - 1;

  static Status validate(const Config& config);
  explicit TaskAuction(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;

  // A score of the caller's own, for scoring == custom; in a program of its own only: a journal
  // does not have it. It may throw: callback_failed.
  using ScoreFunction = std::int64_t (*)(void* context, const auction::Bid& bid);
  void score_with(ScoreFunction function, void* context) noexcept {
    scorer_ = function;
    scorer_context_ = context;
  }
  [[nodiscard]] AuctionView view(std::uint32_t auction) const noexcept;
  [[nodiscard]] Reply result(std::uint32_t auction) const;  // not_found, wrong_state
  [[nodiscard]] std::int64_t clock_price(std::uint32_t auction, Nanos now) const noexcept;
  [[nodiscard]] AuctionSignals signals(std::uint32_t auction) const;
  [[nodiscard]] BidderRecord record(std::uint32_t agent) const noexcept;

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"task_auction", 1};
  static constexpr std::string_view kWho = "task auction";
  static constexpr std::uint32_t kNone = IdTable::kNone;

  struct Auction {
    IdHash id;
    AuctionRules rules;
    AuctionTerms terms;
    std::uint64_t requirements = 0;
    std::int64_t opened_ns = 0;
    std::int64_t ends_ns = 0;
    std::uint32_t extensions = 0;
    std::uint32_t bids = 0;
    std::uint32_t first = kNone;  // by arrival
    std::uint32_t last = kNone;
    std::uint32_t leader = kNone;
    AuctionPhase phase = AuctionPhase::none;
    AuctionOutcome outcome = AuctionOutcome::none;
    bool has_units = false;  // some bid is for several
  };
  struct Bid {
    ScoredBid scored;
    std::int64_t deposit = 0;
    std::int64_t amount = 0;
    Commitment commitment;
    std::uint32_t won = 0;  // units, or items
    std::uint32_t auction = 0;
    std::uint32_t items = 0;
    std::uint32_t unit_count = 0;
    std::uint32_t next = kNone;
    std::uint32_t previous = kNone;
    bool is_void = false;  // not revealed yet, or never
  };

  Reply on(const auction::AddCapability& order, std::int64_t now_ns) noexcept;
  Reply on(const auction::SetAgent& order, std::int64_t now_ns) noexcept;
  Reply on(const auction::Open& order, std::int64_t now_ns) noexcept;
  Reply on(const auction::OpenWith& order, std::int64_t now_ns) noexcept;
  Reply on(const auction::Bid& order, std::int64_t now_ns) noexcept;
  Reply on(const auction::BidUnits& order, std::int64_t now_ns) noexcept;
  Reply on(const auction::BidBundle& order, std::int64_t now_ns) noexcept;
  Reply on(const auction::Commit& order, std::int64_t now_ns) noexcept;
  Reply on(const auction::Reveal& order, std::int64_t now_ns) noexcept;
  Reply on(const auction::Resolve& order, std::int64_t now_ns) noexcept;
  Reply on(const auction::Cancel& order, std::int64_t now_ns) noexcept;
  Reply on(const auction::Forget& order, std::int64_t now_ns) noexcept;

  [[nodiscard]] static bool are_sound(const AuctionRules& rules,
                                      const AuctionTerms& terms) noexcept;
  [[nodiscard]] bool is_auction(std::uint32_t auction) const noexcept {
    return auction_slots_.is_used(auction);
  }
  [[nodiscard]] Errc may_bid(std::uint32_t auction, std::uint32_t agent,
                             std::int64_t now_ns) const noexcept;
  [[nodiscard]] bool meets_requirements(const Auction& on, std::uint32_t agent) const noexcept;
  [[nodiscard]] Errc score(const Auction& on, const auction::Bid& bid, ScoredBid& scored) noexcept;
  [[nodiscard]] static PaymentRule payment_rule(const Auction& on) noexcept;
  [[nodiscard]] std::int64_t least_score(const Auction& on) const noexcept;
  [[nodiscard]] std::uint32_t bid_of(std::uint32_t auction, std::uint32_t agent) const noexcept;
  [[nodiscard]] Errc room_for_bid(std::uint32_t auction, std::uint32_t agent) const noexcept;
  std::uint32_t put_bid(std::uint32_t auction, const ScoredBid& scored,
                        std::int64_t now_ns) noexcept;
  void take_out(std::uint32_t bid) noexcept;
  void hold_deposit(std::uint32_t bid) noexcept;
  Reply accepted(std::uint32_t bid) const noexcept;
  Reply raise(std::uint32_t auction, const ScoredBid& scored, std::int64_t now_ns) noexcept;
  Reply accept_clock(std::uint32_t auction, const ScoredBid& scored, std::int64_t now_ns) noexcept;
  Reply decline(std::uint32_t auction, std::int64_t minimum) noexcept;
  void arm(std::uint32_t auction) noexcept;
  void end_phase(std::uint32_t auction, std::int64_t now_ns) noexcept;
  void resolve(std::uint32_t auction, std::int64_t now_ns) noexcept;
  void award(std::uint32_t auction) noexcept;
  void award_vcg(std::uint32_t auction);
  [[nodiscard]] std::vector<std::int64_t> values_of(std::uint32_t bid) const;
  void settle_deposits(std::uint32_t auction, std::int64_t now_ns) noexcept;

  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);
  void load_auction(StateReader& reader);
  void load_bid(StateReader& reader);
  void index_bids(StateReader& reader);
  void index_bid(std::uint32_t bid) noexcept;
  [[nodiscard]] bool is_whole(std::uint32_t auction) const noexcept;

  std::vector<Auction> auctions_;
  SlotSet auction_slots_;
  IdTable auction_index_;
  std::vector<Bid> bids_;
  std::vector<std::array<std::int64_t, kUnitsMax>> marginals_;
  SlotSet bid_slots_;
  IdTable bid_index_;  // auction and agent: its last bid
  std::vector<std::uint64_t> capabilities_;
  std::vector<std::uint32_t> reputations_;
  std::vector<BidderRecord> records_;
  std::vector<std::string> capability_names_;
  DeadlineHeap ends_;
  std::vector<ScoredBid> ranked_;
  std::vector<AuctionNews> news_;
  ScoreFunction scorer_ = nullptr;
  void* scorer_context_ = nullptr;
  std::uint64_t arrivals_ = 0;
  std::uint32_t running_ = 0;
  std::uint64_t deposits_held_ = 0;
  bool view_changed_ = true;
};

static_assert(DurableService<TaskAuction>);

extern template class ServiceForm<TaskAuction, TaskAuctionConfig, TaskAuctionCommand,
                                  TaskAuctionReply, TaskAuctionCounters, TaskAuctionActions>;

}  // namespace mesh::coordination
