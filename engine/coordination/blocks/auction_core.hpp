// auction_core: who wins and what is paid: first and second score, several units, VCG for units
// with falling values and for bundles.
//
// Callers     one thread.  Progress  wait-free.
// Cost        vcg_units: n log n a winner. vcg_bundles: 2^items n a winner, items <= 16.
// Units       prices and scores in millionths, int64. A higher score is better; what it costs or
//             pays is derived from it: reverse: score = quality - price, forward: price + quality.
// Guarantees  no double decides. Ties: higher score, earlier arrival, lower agent. Truthful bids
//             are a weakly dominant strategy under second score and VCG.
// Source      Vickrey 1961, Clarke 1971, Groves 1973, Che 1993 (second score); subsets by dynamic
//             programming: Rothkopf, Pekec & Harstad 1998.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mesh::coordination {

enum class AuctionDirection : std::uint8_t { reverse, forward };
constexpr AuctionDirection last_of(AuctionDirection) noexcept { return AuctionDirection::forward; }

struct ScoredBid {
  std::int64_t score = 0;
  std::uint64_t arrival = 0;
  std::uint32_t agent = 0;
  std::int64_t price = 0;
  std::int64_t quality = 0;
  std::uint32_t index = 0;  // the caller's
};

[[nodiscard]] constexpr bool is_ahead(const ScoredBid& a, const ScoredBid& b) noexcept {
  if (a.score != b.score) return a.score > b.score;
  return a.arrival != b.arrival ? a.arrival < b.arrival : a.agent < b.agent;
}

struct PaymentRule {
  AuctionDirection direction = AuctionDirection::reverse;
  bool pays_own = false;  // sealed first price, and the leader of an open format
  bool has_reserve = false;
  std::int64_t reserve = 0;
};
// True: the reserve lets it win.
[[nodiscard]] bool meets_reserve(const PaymentRule& rule, std::int64_t price) noexcept;
// What `winner` pays (forward) or gets (reverse), where `next` is the best that lost, or null.
[[nodiscard]] std::int64_t payment_of(const PaymentRule& rule, const ScoredBid& winner,
                                      const ScoredBid* next) noexcept;

struct UnitBid {
  std::uint64_t arrival = 0;
  std::uint32_t agent = 0;
  std::vector<std::int64_t> marginals;  // falling: the value of each further unit
};
struct VcgWinner {
  std::uint32_t agent = 0;
  std::uint32_t units = 0;  // bundles: the items, a bit each
  std::int64_t pays = 0;
};
struct VcgResult {
  std::int64_t welfare = 0;
  std::vector<VcgWinner> winners;  // by arrival
};
[[nodiscard]] VcgResult vcg_units(std::uint32_t units, std::span<const UnitBid> bids);

// Up to `quantity` units at one price each.
struct FlatBid {
  std::uint64_t price = 0;
  std::uint64_t quantity = 0;
};
__extension__ using Welfare = unsigned __int128;
// What so many units are worth to them, given to the dearest first; `shares`, where it is not
// empty, gets who has how many. Without bid `without`; bids.size(): with all. The bids stand in the
// order in which ties are broken and their prices do not rise.
Welfare flat_welfare(std::uint64_t units, std::span<const FlatBid> bids, std::size_t without,
                     std::span<std::uint64_t> shares) noexcept;
// What winner `i`, who has `share`, displaces.
[[nodiscard]] Welfare flat_payment(std::uint64_t units, std::span<const FlatBid> bids,
                                   std::size_t i, std::uint64_t share) noexcept;

struct BundleBid {
  std::uint64_t arrival = 0;
  std::uint32_t agent = 0;
  std::uint32_t items = 0;  // a bit each
  std::int64_t price = 0;
};
inline constexpr std::uint32_t kBundleItemsMax = 16;
// Exact: the sets of items that sell for most; each winner pays what its presence costs the others.
[[nodiscard]] VcgResult vcg_bundles(std::uint32_t items, std::span<const BundleBid> bids);

}  // namespace mesh::coordination
