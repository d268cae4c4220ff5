#include "sched/row_bitmap.hpp"

#include <random>
#include <set>

#include "tests/crash_memory.hpp"
#include "tests/sched/shared_bytes.hpp"
#include "tests/seed.hpp"

namespace mesh::sched {
namespace of_row_bitmap_test {

using testing::SharedBytes;
using Map = RowBitmap<HostMemory>;

Map map_over(SharedBytes& bytes, std::uint32_t rows) {
  return Map::over(bytes.span(), rows).value();
}
std::vector<std::uint32_t> rows_of(const Map& map) {
  std::vector<std::uint32_t> rows;
  map.for_each([&](std::uint32_t row) { rows.push_back(row); });
  return rows;
}

TEST(RowBitmap, RefusesTooManyRowsTooFewBytesAndACrookedStart) {
  SharedBytes bytes(4096);
  EXPECT_EQ(Map::over(bytes.span(), kMaxAgents + 1).error().code, Errc::invalid_argument);
  EXPECT_EQ(Map::over(bytes.span().first(63), 1).error().code, Errc::truncated);
  EXPECT_EQ(Map::over(bytes.span().first(64), 513).error().code, Errc::truncated);
  EXPECT_EQ(Map::over(bytes.span().subspan(8), 1).error().code, Errc::misaligned);
  EXPECT_TRUE(Map::over(bytes.span().first(64), 512));
  EXPECT_TRUE(Map::over(bytes.span().first(0), 0));
}

TEST(RowBitmap, TakesWholeCacheLines) {
  EXPECT_EQ(row_bitmap_bytes(0), 0U);
  EXPECT_EQ(row_bitmap_bytes(1), 64U);
  EXPECT_EQ(row_bitmap_bytes(512), 64U);
  EXPECT_EQ(row_bitmap_bytes(513), 128U);
  EXPECT_EQ(row_bitmap_bytes(30'000), 3'776U);
  EXPECT_EQ(row_bitmap_bytes(kMaxAgents), 131'072U);
}

TEST(RowBitmap, SetsOnceAndSaysWhetherItWasNew) {
  SharedBytes bytes(4096);
  Map map = map_over(bytes, 130);
  for (const std::uint32_t row : {0U, 63U, 64U, 129U}) {
    EXPECT_FALSE(map.test(row));
    EXPECT_TRUE(map.set(row));
    EXPECT_FALSE(map.set(row));
    EXPECT_TRUE(map.test(row));
    EXPECT_TRUE(map.test_acquire(row));
  }
  EXPECT_EQ(map.count(), 4U);
  EXPECT_EQ(rows_of(map), (std::vector<std::uint32_t>{0, 63, 64, 129}));
  map.clear_all();
  EXPECT_EQ(map.count(), 0U);
}

TEST(RowBitmap, ShowsABitWhereNoRowIs) {
  for (const std::uint32_t rows : {1U, 63U, 64U, 65U, 511U}) {
    SharedBytes bytes(4096);
    Map map = map_over(bytes, rows);
    for (std::uint32_t row = 0; row < rows; ++row) map.set(row);
    EXPECT_FALSE(map.has_tail()) << rows;
    Map longer = map_over(bytes, 512);
    longer.set(rows);
    EXPECT_TRUE(map.has_tail()) << rows;
  }
}

// Against std::set: every operation, on any number of rows.
TEST(RowBitmap, EqualsASetOfRows) {
  std::mt19937_64 random(mesh::testing::seed());
  for (unsigned round = 0; round < 300; ++round) {
    const auto rows = static_cast<std::uint32_t>(1 + random() % 700);
    SharedBytes a_bytes(4096), b_bytes(4096);
    Map a = map_over(a_bytes, rows), b = map_over(b_bytes, rows);
    std::set<std::uint32_t> a_set, b_set;
    for (unsigned i = 0; i < random() % 900; ++i) {
      const auto row = static_cast<std::uint32_t>(random() % rows);
      ASSERT_EQ(a.set(row), a_set.insert(row).second);
      if (random() % 2 == 0) {
        ASSERT_EQ(b.set(row), b_set.insert(row).second);
      }
      if (random() % 4 == 0) {
        const auto other = static_cast<std::uint32_t>(random() % rows);
        ASSERT_EQ(b.set(other), b_set.insert(other).second);
      }
    }
    ASSERT_EQ(a.count(), a_set.size());
    ASSERT_EQ(rows_of(a), (std::vector<std::uint32_t>(a_set.begin(), a_set.end())));
    std::vector<std::uint32_t> want, got;
    std::set_difference(a_set.begin(), a_set.end(), b_set.begin(), b_set.end(),
                        std::back_inserter(want));
    a.for_each_without([&](std::uint32_t row) { got.push_back(row); }, b);
    ASSERT_EQ(got, want);
    ASSERT_EQ(a.count_without(b), want.size());
    ASSERT_EQ(a.count_without(), a_set.size());
    ASSERT_EQ(a.count_without(a, b), 0U);
    ASSERT_EQ(a.is_disjoint_from(b), want.size() == a_set.size());
    a.subtract(b);
    ASSERT_EQ(rows_of(a), want);
    ASSERT_TRUE(a.is_disjoint_from(b));
    ASSERT_FALSE(a.has_tail());
  }
}

// Killed before every access of a burst: what stands is a prefix of the burst, and the burst done
// again is the burst done once.
TEST(RowBitmapCrash, AWriterKilledAtAnyAccessLeavesAPrefixOfItsBurst) {
  const std::vector<std::uint32_t> burst = {3, 64, 3, 200, 65, 64, 1};
  SharedBytes bytes(4096);
  const auto write = [&] {
    auto map = RowBitmap<mesh::testing::CrashMemory>::over(bytes.span(), 256).value();
    for (const std::uint32_t row : burst) map.set(row);
  };
  mesh::testing::crash_plan = {};
  write();
  const std::uint64_t sites = mesh::testing::crash_plan.sites;
  ASSERT_EQ(sites, burst.size() + 5);  // a load each, a store each new row
  for (std::uint64_t site = 1; site <= sites; ++site) {
    bytes.fill(0);
    const int status = testing::status_of_child([&] {
      mesh::testing::crash_plan = {0, site, mesh::testing::Death::kKill, nullptr};
      write();
    });
    ASSERT_TRUE(WIFSIGNALED(status));
    Map map = map_over(bytes, 256);
    const std::vector<std::uint32_t> stands = rows_of(map);
    bool is_prefix = false;
    for (std::size_t done = 0; done <= burst.size(); ++done) {
      const std::set<std::uint32_t> prefix(burst.begin(), burst.begin() + static_cast<long>(done));
      is_prefix |= stands == std::vector<std::uint32_t>(prefix.begin(), prefix.end());
    }
    EXPECT_TRUE(is_prefix) << "site " << site;
    for (const std::uint32_t row : burst) map.set(row);
    EXPECT_EQ(rows_of(map), (std::vector<std::uint32_t>{1, 3, 64, 65, 200}));
  }
}

}  // namespace of_row_bitmap_test
}  // namespace mesh::sched
