#include "shm/layout.hpp"

#include <fstream>

#include "shm/hash.hpp"
#include "shm/mapping_header.hpp"
#include "shm/uuid.hpp"

namespace mesh::shm {
namespace of_layout_test {

using ::testing::HasSubstr;

struct Entry {
  std::uint64_t key;
  std::uint32_t value;
  std::uint32_t reserved;
};
constexpr FieldDescription kEntryFields[] = {
    MESH_FIELD(Entry, key, "the key"),
    MESH_FIELD(Entry, value, "the value"),
    MESH_FIELD(Entry, reserved, "zero"),
};
constexpr StructDescription kEntry = describe<Entry>("Entry", kEntryFields, "one entry");

LayoutBuilder sample(std::size_t rows) {
  LayoutBuilder builder({.name = "sample", .kind = 7, .version = 3, .page_bytes = 4096});
  builder.add(region_of<std::uint32_t>("state", rows, "engine scheduler"));
  builder.add(region_of<float>("weight", rows, "engine service"));
  builder.add(region_of(kEntry, "entries", 5, "engine scheduler"));
  return builder;
}
Errc build_code(RegionOptions region) {
  const auto layout = LayoutBuilder({.name = "sample"}).add(std::move(region)).build();
  return layout ? Errc::ok : layout.error().code;
}
RegionOptions changed(void (*change)(RegionOptions&)) {
  RegionOptions region = region_of<std::uint32_t>("state", 10, "engine");
  change(region);
  return region;
}

TEST(Layout, RefusesRegionsThatMakeNoSense) {
  ASSERT_EQ(build_code(changed([](RegionOptions&) {})), Errc::ok);
  using R = RegionOptions;
  EXPECT_EQ(build_code(changed([](R& r) { r.name = ""; })), Errc::invalid_argument);
  EXPECT_EQ(build_code(changed([](R& r) { r.name = "a b"; })), Errc::invalid_argument);
  EXPECT_EQ(build_code(changed([](R& r) { r.name = "a\nb"; })), Errc::invalid_argument);
  EXPECT_EQ(build_code(changed([](R& r) { r.name = "header"; })), Errc::invalid_argument);
  EXPECT_EQ(build_code(changed([](R& r) { r.type = ""; })), Errc::invalid_argument);
  EXPECT_EQ(build_code(changed([](R& r) { r.type = "u32\nx"; })), Errc::invalid_argument);
  EXPECT_EQ(build_code(changed([](R& r) { r.writer = ""; })), Errc::invalid_argument);
  EXPECT_EQ(build_code(changed([](R& r) { r.count = 0; })), Errc::invalid_argument);
  EXPECT_EQ(build_code(changed([](R& r) { r.element_bytes = 0; })), Errc::invalid_argument);
  EXPECT_EQ(build_code(changed([](R& r) { r.alignment = 0; })), Errc::invalid_argument);
  EXPECT_EQ(build_code(changed([](R& r) { r.alignment = 96; })), Errc::invalid_argument);
  EXPECT_EQ(build_code(changed([](R& r) { r.alignment = 1U << 17; })), Errc::invalid_argument);
  EXPECT_EQ(build_code(changed([](R& r) { r.element = &kEntry; })), Errc::invalid_argument);
}

TEST(Layout, RefusesTwoRegionsOfOneNameAndTooMany) {
  EXPECT_EQ(sample(3).add(region_of<std::uint8_t>("state", 1, "x")).build().error().code,
            Errc::invalid_argument);
  LayoutBuilder many({.name = "many"});
  for (std::size_t i = 0; i + 1 < kMaxRegions; ++i) {
    many.add(region_of<std::uint8_t>(std::string("r").append(std::to_string(i)), 1, "engine"));
  }
  EXPECT_TRUE(many.build());
  EXPECT_EQ(many.add(region_of<std::uint8_t>("last", 1, "engine")).build().error().code,
            Errc::capacity);
}

TEST(Layout, RefusesSizesThatOverflowAnInteger) {
  for (const std::size_t count : {~std::size_t{0}, (~std::size_t{0} >> 2) + 2, kMaxMappingBytes}) {
    RegionOptions region = region_of<std::uint32_t>("state", count, "engine");
    EXPECT_EQ(build_code(region), Errc::capacity) << count;
  }
  LayoutBuilder half({.name = "half"});
  half.add(region_of<std::uint8_t>("a", kMaxMappingBytes, "engine"));
  EXPECT_EQ(half.build().error().code, Errc::capacity);  // the header no longer fits
}

TEST(Layout, PlacesRegionsInOrderOnIsolationBoundariesPaddedToLines) {
  const Layout layout = sample(17).build().value();
  ASSERT_EQ(layout.regions().size(), 4U);
  const auto place = [&](std::string_view name) {
    const Region* region = layout.find(name);
    return std::pair(region->offset, region->size_bytes);
  };
  EXPECT_EQ(place("header"), std::pair(std::size_t{0}, std::size_t{256}));
  EXPECT_EQ(place("state"), std::pair(std::size_t{256}, std::size_t{128}));  // 68 -> 128
  EXPECT_EQ(place("weight"), std::pair(std::size_t{384}, std::size_t{128}));
  EXPECT_EQ(place("entries"), std::pair(std::size_t{512}, std::size_t{128}));  // 80 -> 128
  EXPECT_EQ(layout.total_bytes(), 4096U);
  EXPECT_EQ(layout.find("absent"), nullptr);
}

TEST(Layout, CanBeWalkedForDocuments) {
  const Layout layout = sample(17).build().value();
  const Region& entries = layout.regions()[3];
  EXPECT_EQ(entries.name, "entries");
  EXPECT_EQ(entries.writer, "engine scheduler");
  EXPECT_EQ(entries.type, "Entry");
  ASSERT_NE(entries.element, nullptr);
  EXPECT_EQ(entries.element->fields[1].name, "value");
  EXPECT_EQ(entries.element->fields[1].offset, 8U);
  EXPECT_EQ(layout.regions()[0].element->fields.size(), 16U);
}

// The text is the contract between two builds: a change of it is a change of every hash.
TEST(Layout, HashesACanonicalText) {
  const Layout layout = sample(17).build().value();
  const std::string text = layout.canonical_text();
  EXPECT_THAT(text, ::testing::StartsWith("mesh layout 1\n"
                                          "sample kind 7 version 3 total 4096\n"
                                          "header offset 0 size 256 align 128 count 1 element 256 "
                                          "version 1 type MappingHeader\n"
                                          "  magic offset 0 size 8 type u64\n"));
  EXPECT_THAT(text, ::testing::EndsWith("entries offset 512 size 128 align 128 count 5 element 16 "
                                        "version 1 type Entry\n"
                                        "  key offset 0 size 8 type u64\n"
                                        "  value offset 8 size 4 type u32\n"
                                        "  reserved offset 12 size 4 type u32\n"));
  EXPECT_EQ(layout.hash(), hash64(text));
}

TEST(Layout, HashChangesWithEveryNumberNameAndField) {
  const auto with = [](auto change) {
    LayoutOptions options{.name = "sample", .kind = 7, .version = 3, .page_bytes = 4096};
    RegionOptions state = region_of<std::uint32_t>("state", 40, "engine");
    RegionOptions entries = region_of(kEntry, "entries", 5, "engine");
    static std::vector<FieldDescription> fields;
    static StructDescription description;
    fields.assign(std::begin(kEntryFields), std::end(kEntryFields));
    description = {"Entry", sizeof(Entry), {}, ""};
    change(options, state, entries, fields);
    description.fields = fields;
    if (entries.element != nullptr) entries.element = &description;
    return LayoutBuilder(options).add(state).add(entries).build().value().hash();
  };
  using O = LayoutOptions;
  using R = RegionOptions;
  using F = std::vector<FieldDescription>;
  const std::vector<std::uint64_t> hashes = {
      with([](O&, R&, R&, F&) {}),
      with([](O& o, R&, R&, F&) { o.name = "simple"; }),
      with([](O& o, R&, R&, F&) { o.kind = 8; }),
      with([](O& o, R&, R&, F&) { o.version = 4; }),
      with([](O& o, R&, R&, F&) { o.page_bytes = 16384; }),
      with([](O&, R& s, R&, F&) { s.name = "states"; }),
      with([](O&, R& s, R&, F&) { s.type = "i32"; }),
      with([](O&, R& s, R&, F&) { s.count = 41; }),
      with([](O&, R& s, R&, F&) { s.alignment = 4096; }),
      with([](O&, R& s, R&, F&) { s.version = 2; }),
      with([](O&, R& s, R&, F&) { s.element_bytes = 2, s.count = 80; }),
      with([](O&, R&, R& e, F&) { e.element = nullptr; }),
      with([](O&, R&, R&, F& f) { f[1].name = "worth"; }),
      with([](O&, R&, R&, F& f) { f[1].type = "i32"; }),
      with([](O&, R&, R&, F& f) { f[1].offset = 12; }),
      with([](O&, R&, R&, F& f) { f[1].size_bytes = 2; }),
      with([](O&, R&, R&, F& f) { std::swap(f[1], f[2]); }),
      with([](O&, R&, R&, F& f) { f.pop_back(); }),
  };
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    for (std::size_t j = i + 1; j < hashes.size(); ++j)
      EXPECT_NE(hashes[i], hashes[j]) << i << ' ' << j;
  }
  EXPECT_EQ(hashes[0], with([](O&, R& s, R&, F&) { s.writer = "engine, another thread"; }));
}

RC_GTEST_PROP(Layout, RegionsNeverOverlapAndAlwaysFitWhateverTheirShapes, ()) {
  struct Shape {
    std::size_t element_bytes;
    std::size_t count;
    std::size_t alignment_bits;
  };
  const auto shapes = *rc::gen::container<std::vector<Shape>>(rc::gen::construct<Shape>(
      rc::gen::inRange<std::size_t>(1, 300), rc::gen::inRange<std::size_t>(1, 40'000),
      rc::gen::inRange<std::size_t>(0, 17)));
  LayoutBuilder builder({.name = "any"});
  for (std::size_t i = 0; i < std::min<std::size_t>(shapes.size(), 100); ++i) {
    RegionOptions region = region_of<std::uint8_t>(std::string("r").append(std::to_string(i)),
                                                   shapes[i].count, "engine");
    region.element_bytes = shapes[i].element_bytes;
    region.alignment = std::size_t{1} << shapes[i].alignment_bits;
    builder.add(region);
  }
  const Layout layout = builder.build().value();
  std::size_t end = 0;
  for (const Region& region : layout.regions()) {
    RC_ASSERT(region.offset >= end);
    RC_ASSERT(region.offset % kIsolation == 0);
    RC_ASSERT(region.offset % region.alignment == 0);
    RC_ASSERT(region.size_bytes >= region.element_bytes * region.count);
    RC_ASSERT(region.size_bytes % kCacheLine == 0);
    end = region.offset + region.size_bytes;
  }
  RC_ASSERT(layout.total_bytes() >= end);
  RC_ASSERT(layout.total_bytes() % layout.page_bytes() == 0);
}

struct alignas(4096) Page {
  std::array<std::byte, 8192> bytes{};
};

TEST(LayoutAccess, RefusesAMappingShorterThanTheRegion) {
  Page page;
  const Layout layout = sample(17).build().value();
  const std::span<std::byte> whole(page.bytes);
  EXPECT_TRUE(layout.array<Entry>(whole.first(512 + 80), "entries"));
  EXPECT_EQ(layout.array<Entry>(whole.first(512 + 79), "entries").error().code, Errc::corrupt);
  EXPECT_EQ(layout.array<Entry>(whole.first(0), "entries").error().code, Errc::corrupt);
  EXPECT_TRUE(layout.column<float>(whole.first(512), "weight"));
  EXPECT_EQ(layout.column<float>(whole.first(511), "weight").error().code, Errc::corrupt);
}

TEST(LayoutAccess, RefusesAnotherElementSizeAndAnUnknownNameNamingBoth) {
  Page page;
  const Layout layout = sample(17).build().value();
  const auto wrong = layout.array<std::uint64_t>(std::span<std::byte>(page.bytes), "state");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Errc::layout_mismatch);
  EXPECT_THAT(wrong.error().sentence, HasSubstr("holds u32 of 4 bytes, asked for as 8"));
  EXPECT_EQ(layout.array<Entry>(std::span<std::byte>(page.bytes), "entry").error().code,
            Errc::not_found);
}

TEST(LayoutAccess, WriterAndReaderMeetInTheSameBytes) {
  Page page;
  const Layout layout = sample(17).build().value();
  const auto column = layout.column<float>(std::span<std::byte>(page.bytes), "weight").value();
  column.store_relaxed(16, 2.5F);
  const auto view = layout.column<float>(std::span<const std::byte>(page.bytes), "weight").value();
  EXPECT_EQ(view.load_relaxed(16), 2.5F);
  EXPECT_EQ(page.bytes[384 + 64 + 3], std::byte{0x40});
  layout.array<Entry>(std::span<std::byte>(page.bytes), "entries").value()[4].key = 99;
  EXPECT_EQ(layout.array<Entry>(std::span<const std::byte>(page.bytes), "entries").value()[4].key,
            99U);
}

TEST(Offset, OutsideTheMappingIsCorruptAndNeverAnAddress) {
  Page page;
  const std::span<std::byte> mapping(page.bytes);
  const auto code = [&](std::uint64_t offset, std::size_t count) {
    const auto found = resolve(mapping, Offset<std::uint64_t>{offset}, count);
    return found ? Errc::ok : found.error().code;
  };
  EXPECT_EQ(code(8184, 1), Errc::ok);
  EXPECT_EQ(code(0, 1024), Errc::ok);
  EXPECT_EQ(code(8192, 0), Errc::ok);
  EXPECT_EQ(code(8192, 1), Errc::corrupt);
  EXPECT_EQ(code(8185, 1), Errc::corrupt);
  EXPECT_EQ(code(0, 1025), Errc::corrupt);
  EXPECT_EQ(code(8, 1024), Errc::corrupt);
  EXPECT_EQ(code(~std::uint64_t{0}, 1), Errc::corrupt);
  EXPECT_EQ(code(~std::uint64_t{0} - 7, 1), Errc::corrupt);
  EXPECT_EQ(code(0, ~std::size_t{0}), Errc::corrupt);
  EXPECT_EQ(code(0, (~std::size_t{0} >> 3) + 2), Errc::corrupt);  // 8 * count wraps to 8
  EXPECT_EQ(code(16, ~std::size_t{0} >> 3), Errc::corrupt);       // 16 + 8 * count wraps to 8
  for (std::uint64_t offset = 1; offset < 8; ++offset) EXPECT_EQ(code(offset, 1), Errc::misaligned);
}

RC_GTEST_PROP(Offset, ResolvesExactlyWhatLiesInside, (std::uint64_t offset, std::size_t count)) {
  Page page;
  if (*rc::gen::arbitrary<bool>()) offset %= 9000;
  if (*rc::gen::arbitrary<bool>()) count %= 5000;
  const auto found =
      resolve(std::span<const std::byte>(page.bytes), Offset<std::uint16_t>{offset}, count);
  const bool inside = offset <= 8192 && count <= (8192 - offset) / 2 && offset % 2 == 0;
  RC_ASSERT(found.has_value() == inside);
}

TEST(Hash64, IsXxh3) {
  EXPECT_EQ(hash64(std::string_view{}), 0x2D06800538D394C2ULL);  // the published value of no bytes
  EXPECT_EQ(hash64(std::string_view("mesh")), hash64(std::as_bytes(std::span("mesh", 4))));
}

TEST(Uuid, PrintsGroupedAndIsOfVersion4) {
  EXPECT_EQ(to_text(Uuid{0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0x01, 0x23, 0x45, 0x67,
                         0x89, 0xAB, 0xCD, 0xEF}),
            "01234567-89ab-cdef-0123-456789abcdef");
  const Uuid first = random_uuid().value();
  EXPECT_NE(first, random_uuid().value());
  EXPECT_EQ(to_text(first)[14], '4');
  EXPECT_THAT(std::string("89ab"), HasSubstr(std::string(1, to_text(first)[19])));
}

TEST(Uuid, BootIdIsTheKernels) {
  const auto id = boot_id();
  if (!id) GTEST_SKIP() << id.error().sentence;
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string text;
  file >> text;
  EXPECT_EQ(to_text(*id), text);
}

}  // namespace of_layout_test
}  // namespace mesh::shm
