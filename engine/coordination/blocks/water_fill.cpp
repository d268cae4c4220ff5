#include "engine/coordination/blocks/water_fill.hpp"

#include <algorithm>
#include <cmath>

namespace mesh::coordination {
namespace {

bool is_valid(const FillItem& item) noexcept {
  const bool finite = std::isfinite(item.weight) && std::isfinite(item.lo) &&
                      std::isfinite(item.hi) && std::isfinite(item.base);
  return finite && item.weight > 0 && item.lo >= 0 && item.lo <= item.hi;
}

double share_at(const FillItem& item, double level) noexcept {
  return std::clamp(item.base + item.weight * level, item.lo, item.hi);
}

double sum_at(std::span<const FillItem> items, double level) noexcept {
  double sum = 0;
  for (const auto& item : items) sum += share_at(item, level);
  return sum;
}

// The level between two marks, where every share is a straight line.
double level_for(double total, std::span<const FillItem> items, std::span<const double> marks) {
  const auto enough = [&](double mark) { return sum_at(items, mark) < total; };
  const auto above = std::partition_point(marks.begin(), marks.end(), enough);
  if (above == marks.begin()) return marks.front();
  if (above == marks.end()) return marks.back();
  const double low = *(above - 1);
  const double at_low = sum_at(items, low);
  const double at_high = sum_at(items, *above);
  return at_high > at_low ? low + (*above - low) * ((total - at_low) / (at_high - at_low)) : *above;
}

}  // namespace

bool water_fill(double total, std::span<const FillItem> items, std::span<double> shares,
                std::span<double> scratch) noexcept {
  if (shares.size() < items.size() || scratch.size() < 2 * items.size()) return false;
  if (!std::isfinite(total) || total < 0) return false;
  if (!std::all_of(items.begin(), items.end(), is_valid)) return false;
  double floors = 0;
  double ceilings = 0;
  for (const auto& item : items) {
    floors += item.lo;
    ceilings += item.hi;
  }
  const auto each = [&](auto&& share) {
    for (std::size_t i = 0; i < items.size(); ++i) shares[i] = share(items[i]);
  };
  if (floors >= total) {
    each([&](const FillItem& item) { return floors > 0 ? item.lo * total / floors : 0; });
    return true;
  }
  if (ceilings <= total) {
    each([](const FillItem& item) { return item.hi; });
    return true;
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    scratch[2 * i] = (items[i].lo - items[i].base) / items[i].weight;
    scratch[2 * i + 1] = (items[i].hi - items[i].base) / items[i].weight;
  }
  const auto marks = scratch.first(2 * items.size());
  std::sort(marks.begin(), marks.end());
  const double level = level_for(total, items, marks);
  each([&](const FillItem& item) { return share_at(item, level); });
  return true;
}

}  // namespace mesh::coordination
