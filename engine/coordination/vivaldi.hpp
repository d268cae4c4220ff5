// Vivaldi: a point for each member, so that the distance of two says how long a round trip between
// them takes, also of two that never talked.
//
// Callers     one thread.  Cost  move: a few multiplications and two square roots.
// Units       ms. Three dimensions and a height: what it takes to leave a site at all.
// If the      other side lies: a sample that is no number, or above an hour, changes nothing; one
// other side  sample moves a point by a quarter of its error at most.
// lies
// Source      Dabek, Cox, Kaashoek & Morris 2004; constants as in hashicorp/serf.
#pragma once

#include <array>
#include <cmath>

#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::coordination {

struct VivaldiPoint {
  static constexpr double kErrorMax = 1.5;
  static constexpr double kHeightMin = 0.01;
  std::array<double, 3> at{};
  double height = kHeightMin;
  double error = kErrorMax;

  [[nodiscard]] bool is_possible() const noexcept {
    const auto is_in = [](double value, double least, double most) {
      return value >= least && value <= most;  // false for what is no number
    };
    constexpr double kHour = 3'600'000;
    return is_in(at[0], -kHour, kHour) && is_in(at[1], -kHour, kHour) &&
           is_in(at[2], -kHour, kHour) && is_in(height, 0, kHour) && is_in(error, 0, kErrorMax);
  }
  void save(StateWriter& writer) const {
    for (const double one : at) writer.put(one);
    writer.put(height);
    writer.put(error);
  }
  void load(StateReader& reader) {
    for (double& one : at) reader.get(one);
    reader.get(height);
    reader.get(error);
    if (!is_possible()) reader.fail();
  }
};

[[nodiscard]] inline double vivaldi_ms(const VivaldiPoint& a, const VivaldiPoint& b) noexcept {
  double sum = 0;
  for (std::size_t i = 0; i < a.at.size(); ++i) sum += (a.at[i] - b.at[i]) * (a.at[i] - b.at[i]);
  return std::sqrt(sum) + a.height + b.height;
}

// A round trip to `other` took so long.
inline void vivaldi_move(VivaldiPoint& mine, const VivaldiPoint& other, double rtt_ms,
                         Rng& rng) noexcept {
  constexpr double kGain = 0.25;
  constexpr double kHour = 3'600'000;
  if (!(rtt_ms >= 0 && rtt_ms <= kHour) || !other.is_possible()) return;
  const double rtt = std::fmax(rtt_ms, 1e-3);
  const double both = mine.error + other.error;
  const double weight = both > 0 ? mine.error / both : 0;
  const double distance = vivaldi_ms(mine, other);
  const double wrong = std::fabs(distance - rtt) / rtt;
  mine.error = std::fmin(wrong * kGain * weight + mine.error * (1 - kGain * weight),
                         VivaldiPoint::kErrorMax);
  const double force = kGain * weight * (rtt - distance);
  std::array<double, 3> way{};
  double length = 0;
  for (std::size_t i = 0; i < way.size(); ++i) {
    way[i] = mine.at[i] - other.at[i];
    length += way[i] * way[i];
  }
  length = std::sqrt(length);
  if (length < 1e-6) {  // on one spot: any direction
    for (double& one : way) one = rng.u01() - 0.5;
    length = std::sqrt(way[0] * way[0] + way[1] * way[1] + way[2] * way[2]) + 1e-9;
  } else {
    mine.height = std::fmax((mine.height + other.height) * force / length + mine.height,
                            VivaldiPoint::kHeightMin);
  }
  for (std::size_t i = 0; i < way.size(); ++i) mine.at[i] += way[i] / length * force;
  if (!mine.is_possible()) mine = VivaldiPoint{};
}

}  // namespace mesh::coordination
