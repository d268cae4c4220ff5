// Cusum: whether a mean has risen: the sum of what lies more than k above it, floored at 0, over h.
//
// Cost        one addition.  Units  those of the samples.
// Source      Page 1954.
#pragma once

#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::coordination {

struct Cusum {
  double mean = 0;
  double k = 0;
  double h = 0;  // 0: there is no base to compare with yet
  double g = 0;

  // True when the sum has passed h.
  bool add(double sample) noexcept {
    if (h <= 0) return false;
    const double next = g + sample - mean - k;
    g = next > 0 ? next : 0;
    return g > h;
  }

  void save(StateWriter& writer) const {
    for (const auto real : {mean, k, h, g}) writer.put(real);
  }
  void load(StateReader& reader) {
    for (auto* real : {&mean, &k, &h, &g}) reader.get(*real);
  }
};

}  // namespace mesh::coordination
