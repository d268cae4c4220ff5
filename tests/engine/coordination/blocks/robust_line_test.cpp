#include <algorithm>

#include "engine/coordination/blocks/ols.hpp"

namespace mesh::coordination {
namespace of_robust_line_test {

std::vector<Point> line_of(double slope, double intercept, int count) {
  std::vector<Point> points;
  for (int i = 0; i < count; ++i) points.push_back({i * 5.0, intercept + slope * i * 5.0});
  return points;
}

TEST(RobustLine, IsTheLineThatThePointsLieOn) {
  Line line;
  ASSERT_TRUE(fit_robust_line(line_of(-.25, 7, 9), line));
  EXPECT_DOUBLE_EQ(line.slope, -.25);
  EXPECT_DOUBLE_EQ(line.intercept, 7);
  EXPECT_DOUBLE_EQ(line.r2, 1);
}

// Where least squares would see a fall: two wild points of ten.
TEST(RobustLine, IsNotTurnedByWildPoints) {
  auto points = line_of(.02, 1, 10);
  points[8].y = points[9].y = -4;
  Line plain;
  Line robust;
  ASSERT_TRUE(fit_line(points, plain));
  ASSERT_TRUE(fit_robust_line(points, robust));
  EXPECT_LT(plain.slope, -.05);
  EXPECT_NEAR(robust.slope, .02, 1e-9);
  EXPECT_NEAR(robust.intercept, 1, 1e-9);
}

TEST(RobustLine, RefusesWhereThereIsNoLine) {
  Line line;
  EXPECT_FALSE(fit_robust_line(line_of(1, 0, 2), line)) << "two points";
  EXPECT_FALSE(fit_robust_line(std::vector<Point>(5, Point{3, 1}), line)) << "all at one x";
  EXPECT_FALSE(fit_robust_line(line_of(1, 0, 33), line)) << "more than a ring holds";
}

RC_GTEST_PROP(RobustLine, IsTheMedianOfAllSlopesWhateverTheOrder, ()) {
  const auto count = *rc::gen::inRange<std::size_t>(3, 33);
  std::vector<Point> points;
  for (std::size_t i = 0; i < count; ++i) {
    points.push_back({static_cast<double>(*rc::gen::inRange(0, 40)),
                      static_cast<double>(*rc::gen::inRange(-50, 50))});
  }
  std::vector<double> slopes;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t k = i + 1; k < count; ++k) {
      if (points[i].x == points[k].x) continue;
      slopes.push_back((points[k].y - points[i].y) / (points[k].x - points[i].x));
    }
  }
  Line line;
  const bool has_line = fit_robust_line(points, line);
  RC_ASSERT(has_line == !slopes.empty());
  if (!has_line) return;
  std::sort(slopes.begin(), slopes.end());
  const std::size_t half = slopes.size() / 2;
  RC_ASSERT(line.slope ==
            (slopes.size() % 2 != 0 ? slopes[half] : (slopes[half - 1] + slopes[half]) / 2));
  std::reverse(points.begin(), points.end());
  Line same;
  RC_ASSERT(fit_robust_line(points, same));
  RC_ASSERT(same.slope == line.slope);
  RC_ASSERT(same.intercept == line.intercept);
}

}  // namespace of_robust_line_test
}  // namespace mesh::coordination
