#include "shm/describe.hpp"

namespace mesh::shm {
namespace of_describe_test {

enum class Colour : std::uint16_t { red };

struct Sample {
  std::uint64_t wide;
  ShmWord<std::uint32_t> word;
  ShmPlain<std::int32_t> plain;
  Colour colour;
  std::uint8_t letters[6];
  std::array<std::uint16_t, 12> numbers;
};
static_assert(sizeof(Sample) == 48);

constexpr FieldDescription kSampleFields[] = {
    MESH_FIELD(Sample, wide, "a number"),    MESH_FIELD(Sample, word, "shared"),
    MESH_FIELD(Sample, plain, "guarded"),    MESH_FIELD(Sample, colour, "an enum"),
    MESH_FIELD(Sample, letters, "an array"), MESH_FIELD(Sample, numbers, "a std::array"),
};
constexpr StructDescription kSample = describe<Sample>("Sample", kSampleFields, "for this test");
static_assert(covers_every_byte(kSample));

TEST(Describe, TakesOffsetsSizesAndTypesFromTheCompiler) {
  const std::vector<std::string_view> types = {"u64", "word u32", "i32", "u16", "u8[6]", "u16[12]"};
  const std::vector<std::size_t> offsets = {0, 8, 12, 16, 18, 24};
  const std::vector<std::size_t> sizes = {8, 4, 4, 2, 6, 24};
  ASSERT_EQ(kSample.fields.size(), 6U);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(kSample.fields[i].type, types[i]);
    EXPECT_EQ(kSample.fields[i].offset, offsets[i]);
    EXPECT_EQ(kSample.fields[i].size_bytes, sizes[i]);
  }
  EXPECT_EQ(kSample.fields[4].name, "letters");
  EXPECT_EQ(kSample.fields[4].meaning, "an array");
  EXPECT_EQ(kSample.size_bytes, 48U);
}

TEST(Describe, NoticesAFieldLeftOutInTheMiddleOrAtTheEnd) {
  for (std::size_t left_out = 0; left_out < std::size(kSampleFields); ++left_out) {
    std::vector<FieldDescription> fields(std::begin(kSampleFields), std::end(kSampleFields));
    fields.erase(fields.begin() + static_cast<std::ptrdiff_t>(left_out));
    EXPECT_FALSE(covers_every_byte({"Sample", sizeof(Sample), fields, ""})) << left_out;
  }
}

TEST(Describe, NamesFloatsAndForeignStructsBySize) {
  EXPECT_EQ(kTypeName<float>, "f32");
  EXPECT_EQ(kTypeName<std::byte[16]>, "u8[16]");
  EXPECT_EQ(kTypeName<Sample>, "struct of 48 bytes");
}

}  // namespace of_describe_test
}  // namespace mesh::shm
