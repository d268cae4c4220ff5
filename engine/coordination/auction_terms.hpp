// What TaskAuction is told, and what it answers: rules, commands, replies, news, views.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/auction_core.hpp"
#include "engine/coordination/blocks/refusal.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

enum class AuctionFormat : std::uint8_t {
  sealed_first,
  sealed_second,
  open_ascending,   // reverse: prices fall
  open_descending,  // a clock; reverse: it rises
};
constexpr AuctionFormat last_of(AuctionFormat) noexcept { return AuctionFormat::open_descending; }
enum class AuctionScoring : std::uint8_t { price_only, quasilinear, custom };
constexpr AuctionScoring last_of(AuctionScoring) noexcept { return AuctionScoring::custom; }
enum class AuctionPhase : std::uint8_t { none, open, revealing, resolved, cancelled };
constexpr AuctionPhase last_of(AuctionPhase) noexcept { return AuctionPhase::cancelled; }
enum class AuctionOutcome : std::uint8_t { none, sold, no_sale };
constexpr AuctionOutcome last_of(AuctionOutcome) noexcept { return AuctionOutcome::no_sale; }

// Prices and scores in millionths.
struct AuctionRules {
  AuctionDirection direction = AuctionDirection::reverse;
  AuctionFormat format = AuctionFormat::sealed_second;
  Nanos timeout_ns{5'000'000'000};
  std::uint32_t min_bids = 1;
  std::uint32_t max_bids = 256;
  bool has_reserve = false;
  std::int64_t reserve = 0;    // forward: the least, reverse: the most
  std::int64_t increment = 1;  // open_ascending: a leader is beaten by so much score
  Nanos extend_window_ns{500'000'000};
  std::uint32_t max_extensions = 10;
};
struct AuctionTerms {
  AuctionScoring scoring = AuctionScoring::quasilinear;
  std::int64_t w_latency = 100;   // a millisecond
  std::int64_t w_reputation = 0;  // a unit of reputation
  std::uint32_t quantity = 1;
  std::uint32_t items = 0;  // above 0: bundles of so many different items
  bool one_bid_per_agent = true;
  std::uint32_t deposit_ppm = 0;  // of the price, held until it is over
  bool sealed_commit = false;     // hashes first, then prices
  Nanos reveal_ns{1'000'000'000};
  std::int64_t start_price = 0;  // open_descending
  std::int64_t rate_per_s = 0;
};

struct TaskAuctionConfig {
  AuctionRules rules;  // of an auction that names none
  AuctionTerms terms;
  std::uint32_t auctions_max = 64;
  std::uint32_t bids_max = 4'096;  // of all auctions
  std::uint32_t agents_max = 1'024;
  std::uint32_t events_max = 256;

  static Result<TaskAuctionConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

struct Commitment {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const Commitment&, const Commitment&) = default;
};

namespace auction {
struct AddCapability {  // its reply's `auction` is the bit's number
  std::string name;
};
struct SetAgent {
  std::uint32_t agent = 0;
  std::uint64_t capabilities = 0;
  std::uint32_t reputation_ppm = 0;
};
struct Open {
  std::string id;
  std::uint64_t requirements = 0;  // capabilities, a bit each
};
struct OpenWith {
  std::string id;
  std::uint64_t requirements = 0;
  AuctionRules rules;
  AuctionTerms terms;
};
struct Bid {  // open_descending: accepts the clock; the price is the limit
  std::uint32_t auction = 0;
  std::uint32_t agent = 0;
  std::int64_t price = 0;
  Nanos latency{0};
};
struct BidUnits {  // what each further unit is worth, falling
  std::uint32_t auction = 0;
  std::uint32_t agent = 0;
  std::vector<std::int64_t> marginals;
};
struct BidBundle {
  std::uint32_t auction = 0;
  std::uint32_t agent = 0;
  std::uint32_t items = 0;  // a bit each
  std::int64_t price = 0;
};
struct Commit {
  std::uint32_t auction = 0;
  std::uint32_t agent = 0;
  Commitment commitment;
  std::int64_t deposit = 0;  // at least deposit_ppm of what will be revealed
};
struct Reveal {
  std::uint32_t auction = 0;
  std::uint32_t agent = 0;
  std::int64_t price = 0;
  Nanos latency{0};
  std::uint64_t salt = 0;
};
struct Resolve {
  std::uint32_t auction = 0;
  bool force = false;
};
struct Cancel {
  std::uint32_t auction = 0;
};
struct Forget {  // one that is over
  std::uint32_t auction = 0;
};
}  // namespace auction

// What a bidder commits to; the salt keeps a guessed price from being tried out.
[[nodiscard]] Commitment commitment_of(const auction::Reveal& bid) noexcept;

struct AuctionWinner {
  std::uint32_t agent = 0;
  std::int64_t score = 0;
  std::int64_t amount = 0;  // forward: pays; reverse: gets
  std::uint32_t units = 1;  // bundles: the items, a bit each
};

enum class AuctionNotice : std::uint8_t { reveal, resolved, deposit_back, deposit_slashed };
constexpr AuctionNotice last_of(AuctionNotice) noexcept { return AuctionNotice::deposit_slashed; }
struct AuctionNews {
  AuctionNotice kind = AuctionNotice::resolved;
  std::uint32_t auction = 0;
  std::uint32_t agent = 0;
  std::int64_t amount = 0;
};

struct TaskAuctionReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  std::uint32_t auction = 0;
  AuctionPhase phase = AuctionPhase::none;
  AuctionOutcome outcome = AuctionOutcome::none;
  std::uint64_t arrival = 0;
  std::int64_t minimum = 0;  // open formats: what would be taken; the clock's price
  std::int64_t deposit = 0;
  Nanos ends{0};
  std::vector<AuctionWinner> winners;
  std::vector<AuctionNews> news;
};

struct TaskAuctionCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t opened = 0;
  std::uint64_t sold = 0;
  std::uint64_t no_sale = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t bids = 0;
  std::uint64_t replaced = 0;
  std::uint64_t rejected_policy = 0;
  std::uint64_t extensions = 0;
  std::uint64_t unrevealed = 0;
  std::uint64_t deposits = 0;  // taken
  std::uint64_t deposits_back = 0;
  std::uint64_t deposits_slashed = 0;
  std::uint64_t callback_failures = 0;
};

struct AuctionView {
  AuctionPhase phase = AuctionPhase::none;
  std::uint32_t bids = 0;
  bool has_leader = false;  // open formats alone: a sealed bid shows nowhere
  std::uint32_t leader = 0;
  std::int64_t minimum = 0;  // of the next bid at no latency and no reputation
  Nanos ends{0};
};
// Of an auction that is over: what a look at collusion or shills begins with.
struct AuctionSignals {
  std::uint32_t bids = 0;
  std::uint32_t identical = 0;   // prices that another bid has, too
  std::uint64_t spread_ppm = 0;  // standard deviation over mean
  std::uint64_t gap_ppm = 0;     // between the two best scores, over the mean price
};
struct BidderRecord {
  std::uint64_t bids = 0;
  std::uint64_t wins = 0;
  std::uint64_t runner_up = 0;  // often second and never first: a shill, perhaps
};

struct TaskAuctionActions {
  std::vector<AuctionNews> news;
  bool view_changed = false;
  Nanos next_tick{0};
};

using TaskAuctionCommand =
    std::variant<auction::Bid, auction::AddCapability, auction::SetAgent, auction::Open,
                 auction::OpenWith, auction::BidUnits, auction::BidBundle, auction::Commit,
                 auction::Reveal, auction::Resolve, auction::Cancel, auction::Forget>;

}  // namespace mesh::coordination
