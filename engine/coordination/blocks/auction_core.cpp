#include "engine/coordination/blocks/auction_core.hpp"

#include <algorithm>

namespace mesh::coordination {

bool meets_reserve(const PaymentRule& rule, std::int64_t price) noexcept {
  if (!rule.has_reserve) return true;
  return rule.direction == AuctionDirection::reverse ? price <= rule.reserve
                                                     : price >= rule.reserve;
}

std::int64_t payment_of(const PaymentRule& rule, const ScoredBid& winner,
                        const ScoredBid* next) noexcept {
  if (rule.pays_own || (next == nullptr && !rule.has_reserve)) return winner.price;
  if (rule.direction == AuctionDirection::reverse) {
    // So much dearer it could have been and still have won.
    std::int64_t floor = next == nullptr ? winner.quality - rule.reserve : next->score;
    if (rule.has_reserve) floor = std::max(floor, winner.quality - rule.reserve);
    return winner.quality - floor;
  }
  std::int64_t pays = next == nullptr ? rule.reserve : next->score - winner.quality;
  if (rule.has_reserve) pays = std::max(pays, rule.reserve);
  return std::max<std::int64_t>(0, pays);  // quality alone may beat the next: nobody is paid to buy
}

// --- units -------------------------------------------------------------------------------------

namespace {

struct UnitValue {
  std::int64_t value = 0;
  std::size_t bid = 0;
  std::size_t place = 0;
};

// The units that are worth most, without those of one bid; their sum.
std::int64_t best_units(std::uint32_t units, std::span<const UnitBid> bids, std::size_t without,
                        std::vector<std::uint32_t>* won) {
  std::vector<UnitValue> values;
  for (std::size_t i = 0; i < bids.size(); ++i) {
    for (std::size_t k = 0; i != without && k < bids[i].marginals.size(); ++k) {
      values.push_back({bids[i].marginals[k], i, k});
    }
  }
  std::sort(values.begin(), values.end(), [&](const UnitValue& a, const UnitValue& b) {
    if (a.value != b.value) return a.value > b.value;
    if (bids[a.bid].arrival != bids[b.bid].arrival) {
      return bids[a.bid].arrival < bids[b.bid].arrival;
    }
    return a.bid != b.bid ? bids[a.bid].agent < bids[b.bid].agent : a.place < b.place;
  });
  if (values.size() > units) values.resize(units);
  std::int64_t sum = 0;
  for (const auto& one : values) {
    sum += one.value;
    if (won != nullptr) ++(*won)[one.bid];
  }
  return sum;
}

}  // namespace

VcgResult vcg_units(std::uint32_t units, std::span<const UnitBid> bids) {
  VcgResult result;
  std::vector<std::uint32_t> won(bids.size());
  result.welfare = best_units(units, bids, bids.size(), &won);
  for (std::size_t i = 0; i < bids.size(); ++i) {
    if (won[i] == 0) continue;
    std::int64_t own = 0;
    for (std::size_t k = 0; k < won[i]; ++k) own += bids[i].marginals[k];
    const std::int64_t without = best_units(units, bids, i, nullptr);
    result.winners.push_back({bids[i].agent, won[i], without - (result.welfare - own)});
  }
  return result;
}

Welfare flat_welfare(std::uint64_t units, std::span<const FlatBid> bids, std::size_t without,
                     std::span<std::uint64_t> shares) noexcept {
  Welfare sum = 0;
  for (std::size_t i = 0; i < bids.size(); ++i) {
    const std::uint64_t share = i == without ? 0 : std::min(units, bids[i].quantity);
    units -= share;
    sum += Welfare{bids[i].price} * share;
    if (!shares.empty()) shares[i] = share;
  }
  return sum;
}

Welfare flat_payment(std::uint64_t units, std::span<const FlatBid> bids, std::size_t i,
                     std::uint64_t share) noexcept {
  const Welfare with = flat_welfare(units, bids, bids.size(), {});
  const Welfare without = flat_welfare(units, bids, i, {});
  return without + Welfare{bids[i].price} * share - with;
}

// --- bundles -----------------------------------------------------------------------------------

namespace {

// For each set of items the most that disjoint bundles within it sell for.
class Subsets {
 public:
  Subsets(std::uint32_t items, std::span<const BundleBid> bids, std::size_t without)
      : bids_(bids), best_(std::size_t{1} << items), pick_(best_.size(), kNothing) {
    for (std::uint32_t set = 1; set < best_.size(); ++set) {
      // The lowest item is sold in one of the bundles that have it, or not at all.
      const std::uint32_t lowest = set & (~set + 1);
      best_[set] = best_[set ^ lowest];
      for (std::size_t i = 0; i < bids.size(); ++i) {
        const std::uint32_t bundle = bids[i].items;
        if (i == without || (bundle & lowest) == 0 || (bundle & ~set) != 0) continue;
        const std::int64_t sum = best_[set ^ bundle] + bids[i].price;
        if (sum > best_[set]) {
          best_[set] = sum;
          pick_[set] = i;
        }
      }
    }
  }
  [[nodiscard]] std::int64_t most() const { return best_.back(); }
  [[nodiscard]] std::vector<std::size_t> sold() const {
    std::vector<std::size_t> all;
    for (auto set = static_cast<std::uint32_t>(best_.size() - 1); set != 0;) {
      const std::size_t bid = pick_[set];
      if (bid == kNothing) {
        set ^= set & (~set + 1);
        continue;
      }
      all.push_back(bid);
      set ^= bids_[bid].items;
    }
    std::sort(all.begin(), all.end());
    return all;
  }

 private:
  static constexpr std::size_t kNothing = SIZE_MAX;
  std::span<const BundleBid> bids_;
  std::vector<std::int64_t> best_;
  std::vector<std::size_t> pick_;
};

}  // namespace

VcgResult vcg_bundles(std::uint32_t items, std::span<const BundleBid> bids) {
  VcgResult result;
  const Subsets all(items, bids, bids.size());
  result.welfare = all.most();
  for (const std::size_t i : all.sold()) {
    const Subsets others(items, bids, i);
    const std::int64_t pays = others.most() - (result.welfare - bids[i].price);
    result.winners.push_back({bids[i].agent, bids[i].items, pays});
  }
  return result;
}

}  // namespace mesh::coordination
