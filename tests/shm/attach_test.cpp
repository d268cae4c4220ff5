#include "shm/attach.hpp"

#include <atomic>
#include <csignal>

#include <sys/mman.h>
#include <unistd.h>

#include "shm/files.hpp"
#include "shm/hash.hpp"
#include "shm/mapping.hpp"
#include "tests/shm/processes.hpp"

namespace mesh::shm {
namespace of_attach_test {

using ::testing::HasSubstr;

// The bytes of the ABI, by literal number: a change here is a change for every running mesh.
static_assert(offsetof(MappingHeader, magic) == 0);
static_assert(offsetof(MappingHeader, byte_order) == 8);
static_assert(offsetof(MappingHeader, abi_version) == 12);
static_assert(offsetof(MappingHeader, checksum) == 16);
static_assert(offsetof(MappingHeader, layout_hash) == 24);
static_assert(offsetof(MappingHeader, layout_version) == 32);
static_assert(offsetof(MappingHeader, kind) == 36);
static_assert(offsetof(MappingHeader, page_bytes) == 40);
static_assert(offsetof(MappingHeader, header_bytes) == 44);
static_assert(offsetof(MappingHeader, total_bytes) == 48);
static_assert(offsetof(MappingHeader, created_ns) == 56);
static_assert(offsetof(MappingHeader, mesh_uuid) == 64);
static_assert(offsetof(MappingHeader, boot_id) == 80);
static_assert(offsetof(MappingHeader, instance) == 96);
static_assert(offsetof(MappingHeader, parameters) == 104);
static_assert(offsetof(MappingHeader, reserved) == 136);
static_assert(sizeof(MappingHeader) == 256);
static_assert(kMappingMagic == 0x314B30334853454DULL);

constexpr std::size_t kBytes = 4096;

Layout sample(std::uint32_t version = 3, std::size_t rows = 100, std::uint32_t kind = 7) {
  LayoutBuilder builder({.name = "sample", .kind = kind, .version = version, .page_bytes = 4096});
  return builder.add(region_of<std::uint32_t>("state", rows, "engine")).build().value();
}

const FormatOptions kOptions = {
    .identity = {.mesh_uuid = {1, 2, 3}, .boot_id = {4, 5, 6}, .instance = 42},
    .created_ns = 1'700'000'000'000'000'000,
    .parameters = {30'000, 128, 0, 9},
};

struct alignas(4096) Memory4K {
  std::array<std::byte, kBytes> bytes{};
};

class Attach : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto formatted = format(bytes(), layout_, kOptions);
    ASSERT_TRUE(formatted) << formatted.error().sentence;
  }
  std::span<std::byte> bytes() { return memory_->bytes; }
  Errc code() { return code_of(bytes()); }
  Errc code_of(std::span<const std::byte> mapping) {
    const auto attached = attach(mapping, layout_, kOptions.identity);
    return attached ? Errc::ok : attached.error().code;
  }
  // A header that another build or another mesh would have stored: honest, with its checksum.
  Error with(void (*change)(MappingHeader&)) {
    MappingHeader header = make_header(layout_, kOptions);
    change(header);
    header.checksum = 0;
    header.checksum = hash64(std::as_bytes(std::span(&header, 1)));
    std::memcpy(memory_->bytes.data(), &header, sizeof header);
    const auto attached = attach(bytes(), layout_, kOptions.identity);
    return attached ? Error{} : attached.error();
  }

  const Layout layout_ = sample();
  std::unique_ptr<Memory4K> memory_ = std::make_unique<Memory4K>();
};

// What a damaged byte at this offset must be called.
Errc code_of_damage(std::size_t offset) {
  if (offset < 8) return Errc::bad_magic;
  if (offset < 12) return Errc::corrupt;  // the byte order mark, not swapped but wrong
  if (offset < 16) return Errc::version_skew;
  return Errc::corrupt;  // found by the checksum
}

TEST_F(Attach, EveryHeaderByteAtEveryWrongValueIsRefusedWithItsCode) {
  for (std::size_t offset = 0; offset < sizeof(MappingHeader); ++offset) {
    const std::byte right = bytes()[offset];
    for (unsigned value = 0; value < 256; ++value) {
      bytes()[offset] = static_cast<std::byte>(value);
      const Errc expected = bytes()[offset] == right ? Errc::ok : code_of_damage(offset);
      ASSERT_EQ(code(), expected) << "byte " << offset << " = " << value;
    }
    bytes()[offset] = right;
  }
}

TEST_F(Attach, BytesBehindTheHeaderAreNotItsBusiness) {
  for (std::size_t offset = sizeof(MappingHeader); offset < kBytes; ++offset) {
    bytes()[offset] = std::byte{0xFF};
  }
  EXPECT_EQ(code(), Errc::ok);
}

TEST_F(Attach, EveryTruncationIsRefused) {
  for (std::size_t size = 0; size < kBytes; ++size) {
    ASSERT_EQ(code_of(bytes().first(size)), Errc::truncated) << size;
  }
  const auto shorter = inspect(bytes().first(4000));
  EXPECT_THAT(shorter.error().sentence, HasSubstr("its header says 4096 bytes, it has 4000"));
}

TEST_F(Attach, AMappingLongerThanItsHeaderSaysIsCorrupt) {
  struct alignas(4096) Longer {
    std::array<std::byte, 2 * kBytes> bytes{};
  };
  const auto longer = std::make_unique<Longer>();
  std::memcpy(longer->bytes.data(), bytes().data(), kBytes);
  EXPECT_EQ(code_of(longer->bytes), Errc::corrupt);
}

TEST_F(Attach, AMisalignedMappingIsRefused) {
  for (std::size_t offset = 1; offset < kIsolation; ++offset) {
    ASSERT_EQ(code_of(bytes().subspan(offset)), Errc::misaligned) << offset;
  }
}

TEST_F(Attach, TheOtherByteOrderIsCalledSo) {
  MappingHeader header = make_header(layout_, kOptions);
  header.magic = __builtin_bswap64(header.magic);
  header.byte_order = __builtin_bswap32(header.byte_order);
  std::memcpy(bytes().data(), &header, sizeof header);
  const auto refused = inspect(bytes());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::endianness_mismatch);
  EXPECT_THAT(refused.error().sentence, HasSubstr("0x0000000004030201"));
  EXPECT_THAT(refused.error().sentence, HasSubstr("0x0000000001020304"));
  EXPECT_EQ(with([](MappingHeader& h) { h.byte_order = __builtin_bswap32(h.byte_order); }).code,
            Errc::endianness_mismatch);
}

TEST_F(Attach, HonestDifferencesAreNamedWithBothSides) {
  using H = MappingHeader;
  Error error = with([](H& h) { h.magic = 0x1122334455667788; });
  EXPECT_EQ(error.code, Errc::bad_magic);
  EXPECT_THAT(error.sentence, HasSubstr("0x1122334455667788, expected 0x314b30334853454d"));
  error = with([](H& h) { h.abi_version = 2; });
  EXPECT_EQ(error.code, Errc::version_skew);
  EXPECT_THAT(error.sentence, HasSubstr("header version 2, this binary knows 1"));
  EXPECT_EQ(error.detail, 2);
  error = with([](H& h) { h.layout_version = 4; });
  EXPECT_EQ(error.code, Errc::version_skew);
  EXPECT_THAT(error.sentence, HasSubstr("layout version 4, this binary knows 3"));
  error = with([](H& h) { h.layout_hash ^= 1; });
  EXPECT_EQ(error.code, Errc::layout_mismatch);
  error = with([](H& h) { h.kind = 8; });
  EXPECT_EQ(error.code, Errc::layout_mismatch);
  EXPECT_THAT(error.sentence, HasSubstr("kind 8, expected 7"));
  for (const std::uint32_t pages : {16'384U, 65'536U}) {
    static std::uint32_t page_bytes;
    page_bytes = pages;
    error = with([](H& h) { h.page_bytes = page_bytes; });
    EXPECT_EQ(error.code, Errc::page_size_mismatch);
    EXPECT_THAT(error.sentence, HasSubstr("pages of " + std::to_string(pages)));
    EXPECT_THAT(error.sentence, HasSubstr("this machine's have 4096"));
  }
  EXPECT_EQ(with([](H& h) { h.total_bytes = 8192; }).code, Errc::truncated);
  EXPECT_EQ(with([](H& h) { h.total_bytes = 0; }).code, Errc::corrupt);
  EXPECT_EQ(with([](H& h) { h.header_bytes = 128; }).code, Errc::corrupt);
  EXPECT_EQ(with([](H& h) { h.reserved[119] = 1; }).code, Errc::corrupt);
  EXPECT_EQ(with([](H&) {}).code, Errc::ok);
}

TEST_F(Attach, AnotherMeshBootOrInstanceIsNotYours) {
  using H = MappingHeader;
  Error error = with([](H& h) { h.mesh_uuid[15] = 9; });
  EXPECT_EQ(error.code, Errc::not_yours);
  EXPECT_THAT(error.sentence, HasSubstr("mesh 01020300-0000-0000-0000-000000000009, expected "
                                        "01020300-0000-0000-0000-000000000000"));
  error = with([](H& h) { h.boot_id[0] = 9; });
  EXPECT_EQ(error.code, Errc::not_yours);
  EXPECT_THAT(error.sentence, HasSubstr("written in boot 09050600"));
  error = with([](H& h) { h.instance = 43; });
  EXPECT_EQ(error.code, Errc::not_yours);
  EXPECT_THAT(error.sentence, HasSubstr("instance 43, expected 42"));
}

TEST_F(Attach, LayoutsOfOtherVersionRowsOrKindAreRefused) {
  const auto code_with = [this](const Layout& layout) {
    return attach(bytes(), layout, kOptions.identity).error().code;
  };
  EXPECT_EQ(code_with(sample(4)), Errc::version_skew);
  EXPECT_EQ(code_with(sample(3, 101)), Errc::layout_mismatch);
  EXPECT_EQ(code_with(sample(3, 100, 8)), Errc::layout_mismatch);
  EXPECT_EQ(code_with(sample(3, 100'000)), Errc::layout_mismatch);
}

TEST_F(Attach, AHeaderIsWrittenOnce) {
  EXPECT_EQ(format(bytes(), layout_, kOptions).error().code, Errc::already_exists);
  bytes()[0] ^= std::byte{1};
  EXPECT_EQ(format(bytes(), layout_, kOptions).error().code, Errc::already_exists);
}

TEST_F(Attach, FormatRefusesAMappingOfAnotherSize) {
  Memory4K fresh;
  EXPECT_EQ(format(std::span(fresh.bytes).first(4095), layout_, kOptions).error().code,
            Errc::truncated);
  EXPECT_EQ(format(fresh.bytes, sample(3, 2000), kOptions).error().code, Errc::truncated);
  EXPECT_THAT(fresh.bytes, ::testing::Each(std::byte{0}));
}

TEST_F(Attach, GivesTheParametersFromWhichTheLayoutIsBuilt) {
  const MappingHeader header = inspect(bytes()).value();
  EXPECT_EQ(header.parameters, (std::array<std::uint64_t, 4>{30'000, 128, 0, 9}));
  EXPECT_EQ(header.created_ns, 1'700'000'000'000'000'000);
  EXPECT_EQ(header.kind, 7U);
  EXPECT_EQ(attach(bytes(), layout_, kOptions.identity).value().instance, 42U);
}

RC_GTEST_PROP(AttachProperty, HostileHeadersAreRefusedWithoutReadingOutside, ()) {
  const auto memory = std::make_unique<Memory4K>();
  const Layout layout = sample();
  const auto image = *rc::gen::container<std::vector<std::uint8_t>>(
      sizeof(MappingHeader), rc::gen::arbitrary<std::uint8_t>());
  MappingHeader header;
  std::memcpy(&header, image.data(), sizeof header);
  if (*rc::gen::arbitrary<bool>()) {  // a liar that knows the format
    header.magic = kMappingMagic;
    header.byte_order = kByteOrderMark;
    header.abi_version = kHeaderAbiVersion;
    header.header_bytes = sizeof header;
    header.reserved = {};
    header.checksum = 0;
    header.checksum = hash64(std::as_bytes(std::span(&header, 1)));
  }
  std::memcpy(memory->bytes.data(), &header, sizeof header);
  RC_ASSERT(!attach(memory->bytes, layout, kOptions.identity));
}

// Kills its own process, really, at the k-th store.
struct KillMemory {
  static inline unsigned stores_until_death = 0;

  template <class T>
  struct Word {
    T raw;
    void store_relaxed(T value) noexcept {
      die_when_due();
      std::atomic_ref<T>(raw).store(value, std::memory_order_relaxed);
    }
    void store_release(T value) noexcept {
      die_when_due();
      std::atomic_ref<T>(raw).store(value, std::memory_order_release);
    }
    static void die_when_due() noexcept {
      if (stores_until_death-- == 0) kill(getpid(), SIGKILL);
    }
  };
  static void point(const char*) noexcept {}
};

TEST(AttachCrash, CreatorKilledBeforeEachStoreOfFormatNeverLeavesAnAttachableMapping) {
  const Layout layout = sample();
  const MappingHeader header = make_header(layout, kOptions);
  for (unsigned store = 0; store <= kHeaderWords; ++store) {
    void* const shared =
        mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(shared, MAP_FAILED);
    const int status = testing::status_of_child([&] {
      KillMemory::stores_until_death = store;
      store_header<KillMemory>(static_cast<KillMemory::Word<std::uint64_t>*>(shared), header);
      return 0;
    });
    const std::span<const std::byte> bytes(static_cast<const std::byte*>(shared), kBytes);
    const auto attached = attach(bytes, layout, kOptions.identity);
    if (store < kHeaderWords) {
      ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << store;
      ASSERT_FALSE(attached) << store;
      EXPECT_EQ(attached.error().code, Errc::bad_magic) << store;
      EXPECT_THAT(attached.error().sentence, HasSubstr("has not finished, or died"));
    } else {
      ASSERT_TRUE(WIFEXITED(status));
      EXPECT_TRUE(attached) << attached.error().sentence;
    }
    munmap(shared, kBytes);
  }
}

// The same for a medium that keeps an arbitrary prefix of the bytes.
TEST(AttachCrash, EveryPrefixOfAHeaderIsRefused) {
  const Layout layout = sample();
  const MappingHeader header = make_header(layout, kOptions);
  const auto memory = std::make_unique<Memory4K>();
  // The last bytes that are not zero: from there on a prefix is the whole header.
  std::size_t whole = sizeof header;
  const auto* const image = reinterpret_cast<const std::uint8_t*>(&header);
  while (image[whole - 1] == 0) --whole;
  for (std::size_t kept = 0; kept < sizeof header; ++kept) {
    memory->bytes.fill(std::byte{0});
    std::memcpy(memory->bytes.data(), image, kept);
    const auto attached = attach(memory->bytes, layout, kOptions.identity);
    ASSERT_EQ(attached.has_value(), kept >= whole) << kept;
  }
}

TEST(AttachFile, EndToEndThroughAFileOnePageShortOrWhole) {
  const testing::ScratchDirectory scratch;
  const auto directory = open_directory(scratch.path()).value();
  const Layout layout = sample(3, 4000);
  ASSERT_EQ(layout.total_bytes(), 16'384U);
  {
    const auto file =
        create_file(
            {.directory = directory.get(), .name = "table", .size_bytes = layout.total_bytes()})
            .value();
    const auto mapping = Mapping::map(file.get(), {.name = "table",
                                                   .size_bytes = layout.total_bytes(),
                                                   .access = Access::kReadWrite})
                             .value();
    layout.column<std::uint32_t>(mapping.writable_bytes(), "state").value().store_relaxed(2999, 5);
    ASSERT_TRUE(format(mapping.writable_bytes(), layout, kOptions));
  }
  const auto file = open_file(directory.get(), "table", Access::kReadOnly).value();
  const auto mapping = Mapping::map(file.get(), {.name = "table", .size_bytes = 16'384}).value();
  ASSERT_TRUE(attach(mapping.bytes(), layout, kOptions.identity));
  EXPECT_EQ(layout.column<std::uint32_t>(mapping.bytes(), "state").value().load_relaxed(2999), 5U);
  ASSERT_EQ(truncate(scratch.file("table").c_str(), 12'288), 0);
  EXPECT_EQ(Mapping::map(file.get(), {.name = "table", .size_bytes = 16'384}).error().code,
            Errc::truncated);
  const auto rest = Mapping::map(file.get(), {.name = "table", .size_bytes = 12'288}).value();
  EXPECT_EQ(attach(rest.bytes(), layout, kOptions.identity).error().code, Errc::truncated);
}

}  // namespace of_attach_test
}  // namespace mesh::shm
