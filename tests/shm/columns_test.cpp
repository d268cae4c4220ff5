#include "shm/columns.hpp"

#include <cmath>
#include <limits>

#include "shm/base/limits.hpp"

namespace mesh::shm {
namespace of_columns_test {

enum class Light : std::uint32_t { off = 0, on = 1 };

static_assert(std::is_same_v<Stored<float>, std::uint32_t>);
static_assert(std::is_same_v<Stored<double>, std::uint64_t>);
static_assert(std::is_same_v<Stored<Light>, std::uint32_t>);
static_assert(std::is_same_v<Stored<std::int16_t>, std::int16_t>);

template <std::size_t size>
struct alignas(kCacheLine) Bytes {
  std::array<std::byte, size> bytes{};
};

TEST(Column, RefusesARegionThatIsOneByteShortOfItsPaddedRows) {
  Bytes<256> memory;
  const std::span<std::byte> whole(memory.bytes);
  // 17 rows of u32 are 68 bytes, padded to 128.
  EXPECT_TRUE((Column<HostMemory, std::uint32_t>::over(whole.first(128), 17)));
  const auto shorter = Column<HostMemory, std::uint32_t>::over(whole.first(127), 17);
  ASSERT_FALSE(shorter);
  EXPECT_EQ(shorter.error().code, Errc::truncated);
  EXPECT_THAT(shorter.error().sentence, ::testing::HasSubstr("17 rows"));
  EXPECT_THAT(shorter.error().sentence, ::testing::HasSubstr("127 bytes"));
}

TEST(Column, RefusesARowCountWhoseBytesDoNotFitAnInteger) {
  Bytes<64> memory;
  for (const std::size_t rows :
       {~std::size_t{0}, ~std::size_t{0} / 4 + 1, ~std::size_t{0} - 14, std::size_t{1} << 62}) {
    const auto column = Column<HostMemory, std::uint32_t>::over(memory.bytes, rows);
    ASSERT_FALSE(column) << rows;
    EXPECT_EQ(column.error().code, Errc::truncated);
  }
}

TEST(Column, RefusesAStartOffTheCacheLine) {
  Bytes<256> memory;
  for (std::size_t offset = 1; offset < kCacheLine; ++offset) {
    const auto bytes = std::span<std::byte>(memory.bytes).subspan(offset);
    const auto column = Column<HostMemory, std::uint64_t>::over(bytes, 1);
    ASSERT_FALSE(column) << offset;
    EXPECT_EQ(column.error().code, Errc::misaligned);
    EXPECT_EQ((ColumnView<HostMemory, std::uint64_t>::over(bytes, 1).error().code),
              Errc::misaligned);
  }
}

TEST(Column, PadsToWholeCacheLines) {
  EXPECT_EQ(column_bytes<std::uint32_t>(0), 0U);
  EXPECT_EQ(column_bytes<std::uint32_t>(1), 64U);
  EXPECT_EQ(column_bytes<std::uint32_t>(16), 64U);
  EXPECT_EQ(column_bytes<std::uint32_t>(17), 128U);
  EXPECT_EQ(column_bytes<std::uint64_t>(30'000), 240'000U);
  EXPECT_EQ(column_bytes<std::uint16_t>(30'000), 60'032U);
  EXPECT_EQ(padded_rows<std::uint16_t>(33), 64U);
}

TEST(Column, StoresAFloatAsItsBits) {
  Bytes<64> memory;
  const auto column = Column<HostMemory, float>::over(memory.bytes, 3).value();
  column.store_relaxed(1, -0.5F);
  EXPECT_EQ(column.values()[1], 0xBF000000U);
  EXPECT_EQ(column.view().load_relaxed(1), -0.5F);
  column.store_relaxed(2, std::numeric_limits<float>::quiet_NaN());
  EXPECT_TRUE(std::isnan(column.load_relaxed(2)));
  EXPECT_EQ(column.load_relaxed(0), 0.0F);
}

TEST(Column, ShowsItsWriterAPlainArrayUpToThePadding) {
  Bytes<128> memory;
  const auto column = Column<HostMemory, std::int32_t>::over(memory.bytes, 17).value();
  ASSERT_EQ(column.values().size(), 32U);
  for (std::size_t row = 0; row < 17; ++row)
    column.store_relaxed(row, -static_cast<std::int32_t>(row));
  for (std::size_t row = 0; row < 17; ++row)
    EXPECT_EQ(column.values()[row], -static_cast<std::int32_t>(row));
  column.values_unshared()[3] = 77;
  EXPECT_EQ(column.load_relaxed(3), 77);
}

RC_GTEST_PROP(Column, EveryRowKeepsItsOwnValueOfEveryType, (std::vector<std::uint64_t> values)) {
  values.resize(values.size() % 100 + 1);
  const std::size_t rows = values.size();
  std::vector<std::byte> room(column_bytes<double>(rows) + kCacheLine);
  void* start = room.data();
  std::size_t space = room.size();
  std::align(kCacheLine, column_bytes<double>(rows), start, space);
  const std::span<std::byte> bytes(static_cast<std::byte*>(start), space);
  const auto column = Column<HostMemory, double>::over(bytes, rows).value();
  for (std::size_t row = 0; row < rows; ++row)
    column.store_relaxed(row, std::bit_cast<double>(values[row]));
  for (std::size_t row = 0; row < rows; ++row) {
    RC_ASSERT(std::bit_cast<std::uint64_t>(column.view().load_relaxed(row)) == values[row]);
    RC_ASSERT(column.values()[row] == values[row]);
  }
}

}  // namespace of_columns_test
}  // namespace mesh::shm
