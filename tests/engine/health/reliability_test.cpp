#include "engine/health/reliability.hpp"

#include <deque>
#include <numeric>

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace mesh::engine::health {
namespace of_reliability_test {

constexpr HostTime at(double minutes) {
  return from_ns(static_cast<std::int64_t>(minutes * 60e9) + 17 * 60 * kNsPerSecond);
}

struct Book : ReliabilityBook {
  Book() : ReliabilityBook(2) {}
  float after(std::uint32_t answered_count, std::uint32_t failed_count, double minute) {
    if (const auto now = turn(0, at(minute))) last = *now;
    for (std::uint32_t i = 0; i < answered_count; ++i) answered(0);
    for (std::uint32_t i = 0; i < failed_count; ++i) failed(0);
    if (const auto now = turn(0, at(minute))) last = *now;
    return last;
  }
  float last = -1;
};

TEST(ReliabilityBook, SaysNothingOfAnAgentWithoutAnAttempt) {
  Book book;
  for (int minute = 0; minute < 200; ++minute) EXPECT_FALSE(book.turn(0, at(minute)));
}

TEST(ReliabilityBook, IsTheShareOfAttemptsThatSucceededShrunkTowardOne) {
  Book book;
  EXPECT_FLOAT_EQ(book.after(2, 0, 0), 1);
  EXPECT_FLOAT_EQ(book.after(0, 2, 0.1), (2 + 8) / (4.0F + 8));
  EXPECT_FLOAT_EQ(book.after(88, 8, 0.2), (90 + 8) / (100.0F + 8));
  EXPECT_FALSE(book.turn(0, at(0.3))) << "nothing is new";
  EXPECT_FALSE(book.turn(1, at(0.3))) << "another one";
}

TEST(ReliabilityBook, ForgetsAfterAnHourBinByBin) {
  Book book;
  book.after(0, 10, 0);
  book.after(10, 0, 30);
  EXPECT_FLOAT_EQ(book.after(0, 0, 59), 18.0F / 28) << "both stand";
  EXPECT_FLOAT_EQ(book.after(0, 0, 60), 1) << "the first minute is over";
  EXPECT_FLOAT_EQ(book.after(0, 0, 90), 1) << "nothing is left";
  EXPECT_FALSE(book.turn(0, at(91)));
}

// Minutes are counted modulo 65,520.
TEST(ReliabilityBook, TurnsOverLikeAClock) {
  Book book;
  for (int minute = 65'400; minute < 65'600; ++minute) {
    book.after(3, 1, minute);
    if (minute < 65'460) continue;
    EXPECT_FLOAT_EQ(book.last, (180 + 8) / (240.0F + 8)) << minute;
  }
}

TEST(ReliabilityBook, BelongsToWhoHasTheRow) {
  Book book;
  book.after(0, 9, 0);
  book.forget(0);
  EXPECT_FALSE(book.turn(0, at(1)));
  EXPECT_FLOAT_EQ(book.after(1, 0, 2), 1);
}

TEST(ReliabilityBook, KeepsTheShareOfManyAttempts) {
  Book book;
  for (int second = 0; second < 600; ++second) book.after(99'000, 1'000, second / 60.0);
  EXPECT_NEAR(book.last, 0.99, 0.003);
  for (int second = 600; second < 5'000; ++second) book.after(3, 1, second / 60.0);
  EXPECT_NEAR(book.last, 0.75, 0.02) << "an hour later those are gone, and little is counted too";
}

// Against sixty exact counts a row.
TEST(ReliabilityBook, IsNearTheExactShare) {
  EXPECT_TRUE(rc::check([] {
    Book book;
    std::deque<std::pair<std::uint64_t, std::uint64_t>> exact;  // by minute, the newest last
    const auto scale = *rc::gen::inRange<std::uint32_t>(1, 400);
    const auto minutes = *rc::gen::inRange<std::size_t>(1, 200);
    std::pair<std::uint64_t, std::uint64_t> all;
    for (std::size_t minute = 0; minute < minutes; ++minute) {
      exact.emplace_back(0, 0);
      if (exact.size() > ReliabilityBook::kBins) exact.pop_front();
      const auto turns = *rc::gen::inRange(0, 4);
      for (int i = 0; i < turns; ++i) {
        const auto good = *rc::gen::inRange<std::uint32_t>(0, scale);
        const auto bad = *rc::gen::inRange<std::uint32_t>(0, scale);
        exact.back().first += good;
        exact.back().second += bad;
        book.after(good, bad, static_cast<double>(minute) + i * 0.2);
      }
      book.after(0, 0, static_cast<double>(minute) + 0.9);
      all = std::accumulate(exact.begin(), exact.end(), decltype(all){}, [](auto a, auto b) {
        return std::pair(a.first + b.first, a.second + b.second);
      });
    }
    if (all.first + all.second == 0) return;
    const double share =
        (static_cast<double>(all.first) + 8) / (static_cast<double>(all.first + all.second) + 8);
    RC_ASSERT(book.last >= share - 0.03);
    RC_ASSERT(book.last <= share + 0.03);
  }));
}

}  // namespace of_reliability_test
}  // namespace mesh::engine::health
