// ols: the line through points by ordinary least squares; by Theil-Sen, which up to a quarter of
// wild points cannot turn. Sample ring for 32 of them.
//
// Cost        fit_line: one pass. fit_robust_line: all pairs, 496 of 32 points, and their median.
// Errors      under 3 points, or all at one x: Errc::not_found, never a sure slope of 0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/coordination/blocks/state_codec.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

struct Point {
  double x = 0;
  double y = 0;
};

struct Line {
  double slope = 0;
  double intercept = 0;
  double r2 = 0;
  [[nodiscard]] constexpr double at(double x) const noexcept { return intercept + slope * x; }
};

// False where there is no line; allocates nothing.
[[nodiscard]] bool fit_line(std::span<const Point> points, Line& line) noexcept;
[[nodiscard]] Result<Line> ols(std::span<const Point> points);
// The median of the slopes of all pairs with different x, through the median of y - slope x; r2 as
// of any line, which is below 0 where the mean would fit better. At most SampleRing::kSamples
// points. Source: Theil 1950, Sen 1968.
[[nodiscard]] bool fit_robust_line(std::span<const Point> points, Line& line) noexcept;

class SampleRing {
 public:
  static constexpr std::size_t kSamples = 32;

  void add(Point point) noexcept {
    points_[(first_ + count_) % kSamples] = point;
    if (count_ < kSamples) {
      ++count_;
    } else {
      first_ = (first_ + 1) % kSamples;
    }
  }
  void clear() noexcept { first_ = count_ = 0; }
  void prefetch() const noexcept { __builtin_prefetch(&points_[(first_ + count_) % kSamples]); }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  // Oldest first.
  [[nodiscard]] Point at(std::size_t index) const noexcept {
    return points_[(first_ + index) % kSamples];
  }
  [[nodiscard]] bool fit(Line& line) const noexcept {
    std::array<Point, kSamples> ordered;
    for (std::size_t i = 0; i < count_; ++i) ordered[i] = at(i);
    return fit_line(std::span(ordered).first(count_), line);
  }
  [[nodiscard]] bool fit_robust(Line& line) const noexcept {
    return fit_robust_line(std::span(points_).first(count_), line);  // their order says nothing
  }

  void save(StateWriter& writer) const {
    writer.put(static_cast<std::uint32_t>(count_));
    for (std::size_t i = 0; i < count_; ++i) {
      writer.put(at(i).x);
      writer.put(at(i).y);
    }
  }
  void load(StateReader& reader) {
    clear();
    const std::size_t count = reader.get_count(16);
    if (count > kSamples) return reader.fail();
    for (std::size_t i = 0; i < count; ++i) {
      const auto x = reader.get<double>();
      add({x, reader.get<double>()});
    }
  }

 private:
  std::size_t first_ = 0;  // in front: read before a point
  std::size_t count_ = 0;
  std::array<Point, kSamples> points_{};
};

}  // namespace mesh::coordination
