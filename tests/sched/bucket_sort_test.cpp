#include "sched/bucket_sort.hpp"

#include <numeric>
#include <random>

#include "tests/seed.hpp"

namespace mesh::sched {
namespace of_bucket_sort_test {

BucketSorter sorter_for(std::uint32_t rows, std::uint32_t buckets) {
  auto made = BucketSorter::create(rows, buckets);
  EXPECT_TRUE(made);
  return std::move(made).value();
}

std::vector<std::uint32_t> all_of(std::span<const std::uint32_t> rows) {
  return {rows.begin(), rows.end()};
}

TEST(BucketSorter, RefusesMoreRowsOrBucketsThanTheMeshMayHave) {
  EXPECT_EQ(BucketSorter::create(kMaxAgents + 1, 10).error().code, Errc::invalid_argument);
  EXPECT_EQ(BucketSorter::create(10, 0).error().code, Errc::invalid_argument);
  EXPECT_EQ(BucketSorter::create(10, kMaxBuckets + 1).error().code, Errc::invalid_argument);
  EXPECT_TRUE(BucketSorter::create(kMaxAgents, kMaxBuckets));
}

TEST(BucketSorterDeathTest, AbortsOnAKeyThatIsNeitherABucketNorAReason) {
  BucketSorter sorter = sorter_for(10, 10);
  const std::vector<std::uint16_t> keys = {1, 2, 10};
  EXPECT_DEATH(sorter.sort(keys, 10, {}), "next == keys.size");
  EXPECT_DEATH(sorter.sort(std::vector<std::uint16_t>(11), 10, {}), "row_limit_");
  EXPECT_DEATH(sorter.sort(keys, 11, {}), "bucket_limit_");
}

TEST(BucketSorter, SortsNothing) {
  BucketSorter sorter = sorter_for(0, 1);
  sorter.sort({}, 0, {});
  EXPECT_TRUE(sorter.scheduled().empty());
  EXPECT_TRUE(sorter.late().empty());
  EXPECT_EQ(sorter.offsets().size(), 1U);
}

TEST(BucketSorter, GroupsRowsByBucketAndTheSkippedByReason) {
  BucketSorter sorter = sorter_for(16, 4);
  const std::vector<std::uint16_t> keys = {2, kKeyLate, 0,       2, kKeyInvalid, kKeyNotTargeted,
                                           0, kKeyFar,  kKeyLate};
  sorter.sort(keys, 4, {});
  EXPECT_EQ(all_of(sorter.bucket(0)), (std::vector<std::uint32_t>{2, 6}));
  EXPECT_TRUE(sorter.bucket(1).empty());
  EXPECT_EQ(all_of(sorter.bucket(2)), (std::vector<std::uint32_t>{0, 3}));
  EXPECT_TRUE(sorter.bucket(3).empty());
  EXPECT_EQ(all_of(sorter.late()), (std::vector<std::uint32_t>{1, 8}));
  EXPECT_EQ(all_of(sorter.invalid()), (std::vector<std::uint32_t>{4}));
  EXPECT_EQ(all_of(sorter.not_targeted()), (std::vector<std::uint32_t>{5}));
  EXPECT_EQ(all_of(sorter.far()), (std::vector<std::uint32_t>{7}));
  EXPECT_EQ(sorter.scheduled().size(), 4U);
}

TEST(BucketSorter, KeepsTheGivenOrderWithinABucket) {
  BucketSorter sorter = sorter_for(6, 2);
  const std::vector<std::uint16_t> keys = {1, 0, 1, 0, 1, 0};
  const std::vector<std::uint32_t> by_station = {4, 5, 0, 1, 2, 3};
  sorter.sort(keys, 2, by_station);
  EXPECT_EQ(all_of(sorter.bucket(0)), (std::vector<std::uint32_t>{5, 1, 3}));
  EXPECT_EQ(all_of(sorter.bucket(1)), (std::vector<std::uint32_t>{4, 0, 2}));
}

// One sorter for all rounds: what an earlier round left behind must not show.
TEST(BucketSorter, EqualsStdStableSortAndIsAPermutation) {
  std::mt19937_64 random(mesh::testing::seed());
  BucketSorter sorter = sorter_for(2'000, kMaxBuckets);
  for (unsigned round = 0; round < 400; ++round) {
    const std::size_t size = round < 200 ? round : random() % 2'001;
    const auto buckets =
        static_cast<std::uint32_t>(1 + random() % (round % 4 == 0 ? kMaxBuckets : 8));
    std::vector<std::uint16_t> keys(size);
    for (std::uint16_t& key : keys) {
      key = static_cast<std::uint16_t>(random() % 8 == 0 ? kKeyFirstReserved + random() % 4
                                                         : random() % buckets);
    }
    // Most rows in one bucket, or all, in runs: another way of counting and placing, with the same
    // result.
    if (round % 3 == 0) {
      const auto usual =
          static_cast<std::uint16_t>(random() % 4 == 0 ? kKeyNotTargeted : random() % buckets);
      const std::uint64_t rare = 2 + random() % 200;
      for (std::uint16_t& key : keys) key = rare < 10 || random() % rare != 0 ? usual : key;
    }
    std::vector<std::uint32_t> order(size);
    std::iota(order.begin(), order.end(), 0U);
    const bool ordered = random() % 2 == 0;
    if (ordered) std::shuffle(order.begin(), order.end(), random);
    sorter.sort(keys, buckets,
                ordered ? std::span<const std::uint32_t>(order) : std::span<const std::uint32_t>());
    std::vector<std::uint32_t> want = order;
    std::stable_sort(want.begin(), want.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return keys[a] < keys[b]; });
    std::vector<std::uint32_t> got = all_of(sorter.scheduled());
    for (const auto part : {sorter.far(), sorter.not_targeted(), sorter.invalid(), sorter.late()}) {
      got.insert(got.end(), part.begin(), part.end());
    }
    ASSERT_EQ(got, want) << "round " << round;
    ASSERT_EQ(sorter.offsets().size(), buckets + 1);
    for (std::uint32_t key = 0; key < buckets; ++key) {
      for (const std::uint32_t row : sorter.bucket(key)) ASSERT_EQ(keys[row], key);
    }
  }
}

}  // namespace of_bucket_sort_test
}  // namespace mesh::sched
