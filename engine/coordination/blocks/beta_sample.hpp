// beta_sample: a draw from Beta(a, b), for Thompson sampling.
//
// Cost        two gamma draws, about 100 ns. a, b > 0.
// Source      Marsaglia & Tsang 2000; normals by Marsaglia's polar method (1964). log and sqrt may
//             differ by an ulp between CPUs, and then a draw does.
#pragma once

#include <cmath>

#include "engine/coordination/blocks/rng.hpp"

namespace mesh::coordination {

[[nodiscard]] inline double normal_sample(Rng& rng) noexcept {
  for (;;) {
    const double x = 2 * rng.u01() - 1;
    const double y = 2 * rng.u01() - 1;
    const double square = x * x + y * y;
    if (square > 0 && square < 1) return x * std::sqrt(-2 * std::log(square) / square);
  }
}

[[nodiscard]] inline double gamma_sample(double shape, Rng& rng) noexcept {
  // Below 1 a draw of shape + 1 is scaled down.
  const double scale = shape < 1 ? std::pow(1 - rng.u01(), 1 / shape) : 1;
  const double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3;
  const double c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double normal = normal_sample(rng);
    const double v = (1 + c * normal) * (1 + c * normal) * (1 + c * normal);
    if (v <= 0) continue;
    const double u = 1 - rng.u01();
    if (std::log(u) < 0.5 * normal * normal + d - d * v + d * std::log(v)) return scale * d * v;
  }
}

[[nodiscard]] inline double beta_sample(double a, double b, Rng& rng) noexcept {
  const double x = gamma_sample(a, rng);
  const double y = gamma_sample(b, rng);
  return x + y > 0 ? x / (x + y) : 0.5;
}

}  // namespace mesh::coordination
