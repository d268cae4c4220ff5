#include "engine/coordination/blocks/ols.hpp"

#include <algorithm>

namespace mesh::coordination {
namespace {

double median_of(std::span<double> values) noexcept {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 != 0) return *middle;
  return (*std::max_element(values.begin(), middle) + *middle) / 2;
}

// How much of the points' scatter a line explains.
double r2_of(std::span<const Point> points, const Line& line) noexcept {
  double mean = 0;
  for (const auto& point : points) mean += point.y;
  mean /= static_cast<double>(points.size());
  double about_mean = 0;
  double about_line = 0;
  for (const auto& point : points) {
    const double from_mean = point.y - mean;
    const double from_line = point.y - line.slope * point.x - line.intercept;
    about_mean += from_mean * from_mean;
    about_line += from_line * from_line;
  }
  return about_mean > 0 ? 1 - about_line / about_mean : 0;
}

}  // namespace

bool fit_line(std::span<const Point> points, Line& line) noexcept {
  if (points.size() < 3) return false;
  const auto n = static_cast<double>(points.size());
  double sx = 0;
  double sy = 0;
  double sxy = 0;
  double sxx = 0;
  for (const auto& point : points) {
    sx += point.x;
    sy += point.y;
    sxy += point.x * point.y;
    sxx += point.x * point.x;
  }
  const double denominator = n * sxx - sx * sx;
  if (!(denominator > 0)) return false;
  line.slope = (n * sxy - sx * sy) / denominator;
  line.intercept = (sy - line.slope * sx) / n;
  line.r2 = r2_of(points, line);
  return true;
}

bool fit_robust_line(std::span<const Point> points, Line& line) noexcept {
  constexpr std::size_t kMost = SampleRing::kSamples;
  if (points.size() < 3 || points.size() > kMost) return false;
  std::array<double, kMost*(kMost - 1) / 2> slopes;
  std::size_t count = 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      const double run = points[i].x - points[k].x;
      if (run != 0) slopes[count++] = (points[i].y - points[k].y) / run;
    }
  }
  if (count == 0) return false;
  line.slope = median_of(std::span(slopes).first(count));
  for (std::size_t i = 0; i < points.size(); ++i) {
    slopes[i] = points[i].y - line.slope * points[i].x;
  }
  line.intercept = median_of(std::span(slopes).first(points.size()));
  line.r2 = r2_of(points, line);
  return true;
}

Result<Line> ols(std::span<const Point> points) {
  Line line;
  if (!fit_line(points, line)) {
    return fail(Errc::not_found, "least squares: " + std::to_string(points.size()) +
                                     " points, or all at one x: there is no line");
  }
  return line;
}

}  // namespace mesh::coordination
