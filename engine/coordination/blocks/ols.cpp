#include "engine/coordination/blocks/ols.hpp"

namespace mesh::coordination {

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
  double about_mean = 0;
  double about_line = 0;
  for (const auto& point : points) {
    const double from_mean = point.y - sy / n;
    const double from_line = point.y - line.slope * point.x - line.intercept;
    about_mean += from_mean * from_mean;
    about_line += from_line * from_line;
  }
  line.r2 = about_mean > 0 ? 1 - about_line / about_mean : 0;
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
