// water_fill: shares x_i = clamp(base_i + weight_i * level, lo_i, hi_i) whose sum is the total.
//
// There is one such level. Where the floors alone take the total they are scaled down together;
// where the ceilings hold less than it, each gets its ceiling.
//
// Callers     one thread.  Progress  wait-free.  Cost  O(n log n); no allocation: the caller lends
//             `scratch`, two marks an item.
// Ordering    the result of an item does not depend on where it stands.
// Errors      a weight <= 0, hi < lo, what is not finite, scratch too short: false.
#pragma once

#include <span>

namespace mesh::coordination {

struct FillItem {
  double weight = 1;
  double lo = 0;
  double hi = 0;
  double base = 0;
};

[[nodiscard]] bool water_fill(double total, std::span<const FillItem> items,
                              std::span<double> shares, std::span<double> scratch) noexcept;

}  // namespace mesh::coordination
