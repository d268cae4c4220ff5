#include "shm/mapping.hpp"

#include <csignal>
#include <fstream>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "shm/files.hpp"
#include "tests/shm/processes.hpp"

namespace mesh::shm {
namespace of_mapping_test {

using ::testing::HasSubstr;

class MappingTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kBytes = 8 * 4096;
  void SetUp() override {
    memory_ = Descriptor(memfd_create("mapped", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(ftruncate(memory_.get(), kBytes), 0);
  }
  Result<Mapping> map(MappingOptions options) const {
    options.name = "mapped";
    if (options.size_bytes == 0) options.size_bytes = kBytes;
    return Mapping::map(memory_.get(), options);
  }
  // A line of this mapping's entry in /proc/self/smaps.
  static std::string entry(const Mapping& mapping, const std::string& key) {
    std::ifstream maps("/proc/self/smaps");
    char start[32];
    std::snprintf(start, sizeof start, "%lx-",
                  reinterpret_cast<unsigned long>(mapping.bytes().data()));
    bool inside = false;
    for (std::string line; std::getline(maps, line);) {
      if (line.starts_with(start)) inside = true;
      if (inside && line.starts_with(key)) return line;
    }
    return {};
  }
  Descriptor memory_;
};

TEST_F(MappingTest, RefusesAFileOnePageShortNamingBothSizes) {
  ASSERT_EQ(ftruncate(memory_.get(), kBytes - 4096), 0);
  const auto refused = map({});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::truncated);
  EXPECT_THAT(refused.error().sentence, HasSubstr("it has 28672 bytes, expected 32768"));
  EXPECT_EQ(refused.error().detail, 28672);
}

TEST_F(MappingTest, RefusesEveryWrongSize) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{4095}, kBytes - 1}) {
    ASSERT_EQ(ftruncate(memory_.get(), static_cast<off_t>(size)), 0);
    EXPECT_EQ(map({}).error().code, Errc::truncated) << size;
  }
  ASSERT_EQ(ftruncate(memory_.get(), kBytes + 1), 0);
  EXPECT_EQ(map({}).error().code, Errc::not_yours);
}

TEST_F(MappingTest, RefusesNoBytesAndNoDescriptor) {
  EXPECT_EQ(Mapping::map(memory_.get(), {.name = "m"}).error().code, Errc::invalid_argument);
  const auto refused = Mapping::map(-1, {.name = "m", .size_bytes = 4096});
  EXPECT_EQ(refused.error().code, Errc::system_error);
  EXPECT_EQ(refused.error().detail, EBADF);
}

TEST_F(MappingTest, RefusesWhatCannotBeMappedAndSaysWhy) {
  const Descriptor directory(open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  EXPECT_FALSE(Mapping::map(directory.get(), {.name = "d", .size_bytes = 4096}));
  const std::string path = "/proc/self/fd/" + std::to_string(memory_.get());
  const Descriptor reader(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const auto refused =
      Mapping::map(reader.get(), {.name = "m", .size_bytes = kBytes, .access = Access::kReadWrite});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::permission_denied);
  EXPECT_THAT(refused.error().sentence, HasSubstr("map 'm' read-write"));
}

TEST_F(MappingTest, AddressSpaceLimitIsNoMemoryNotATermination) {
  if (testing::kUnderSanitizer) GTEST_SKIP() << "the sanitizer reserves the address space itself";
  const int answer = testing::answer_of_child([this] {
    if (ftruncate(memory_.get(), off_t{1} << 40) != 0) return 1;
    const rlimit limit{std::size_t{1} << 32, std::size_t{1} << 32};
    if (setrlimit(RLIMIT_AS, &limit) != 0) return 2;
    const auto refused = map({.size_bytes = std::size_t{1} << 40});
    return !refused && refused.error().code == Errc::no_memory ? 0 : 3;
  });
  EXPECT_EQ(answer, 0);
}

TEST_F(MappingTest, WritersBytesAreSeenByAReadOnlyMappingAfterTheDescriptorIsClosed) {
  const auto writer = map({.access = Access::kReadWrite});
  const auto reader = map({});
  ASSERT_TRUE(writer);
  ASSERT_TRUE(reader);
  memory_.close();
  writer->writable_bytes()[kBytes - 1] = std::byte{42};
  EXPECT_EQ(reader->bytes()[kBytes - 1], std::byte{42});
  EXPECT_EQ(reader->size_bytes(), kBytes);
  EXPECT_TRUE(reader->writable_bytes().empty());
}

TEST_F(MappingTest, MovesAndUnmapsExactlyOnce) {
  auto first = map({.access = Access::kReadWrite});
  ASSERT_TRUE(first);
  const std::byte* const address = first->bytes().data();
  Mapping second(std::move(*first));
  EXPECT_EQ(second.bytes().data(), address);
  EXPECT_TRUE(first->bytes().empty());
  EXPECT_TRUE(first->writable_bytes().empty());
  { const Mapping third(std::move(second)); }
  unsigned char resident = 0;
  EXPECT_EQ(mincore(const_cast<std::byte*>(address), 4096, &resident), -1);
  EXPECT_EQ(errno, ENOMEM);
}

TEST_F(MappingTest, AForkedChildHasNoMapping) {
  const auto mapping = map({.access = Access::kReadWrite});
  ASSERT_TRUE(mapping);
  EXPECT_TRUE(mapping->outcome().hidden_from_children);
  EXPECT_THAT(entry(*mapping, "VmFlags"), HasSubstr(" dc"));
  const int answer = testing::answer_of_child([&] {
    unsigned char resident = 0;
    auto* const first = const_cast<std::byte*>(mapping->bytes().data());
    return mincore(first, 4096, &resident) == -1 && errno == ENOMEM ? 0 : 1;
  });
  EXPECT_EQ(answer, 0);
}

TEST_F(MappingTest, StaysOutOfDumpsWhenAskedTo) {
  const auto kept_out = map({.exclude_from_dumps = true});
  const auto plain = map({});
  ASSERT_TRUE(kept_out);
  EXPECT_TRUE(kept_out->outcome().excluded_from_dumps);
  EXPECT_THAT(entry(*kept_out, "VmFlags"), HasSubstr(" dd"));
  EXPECT_FALSE(plain->outcome().excluded_from_dumps);
  EXPECT_THAT(entry(*plain, "VmFlags"), ::testing::Not(HasSubstr(" dd")));
}

TEST_F(MappingTest, PrefaultMakesEveryPageResidentAndKeepsItsContents) {
  ASSERT_EQ(pwrite(memory_.get(), "kept", 4, 3 * 4096), 4);
  for (const Prefault how : {Prefault::kPopulate, Prefault::kTouch}) {
    for (const Access access : {Access::kReadOnly, Access::kReadWrite}) {
      const auto mapping = map({.access = access, .prefault = how});
      ASSERT_TRUE(mapping) << mapping.error().sentence;
      EXPECT_TRUE(mapping->outcome().prefaulted);
      EXPECT_THAT(entry(*mapping, "Rss:"), HasSubstr(" 32 kB"));
      EXPECT_EQ(std::memcmp(mapping->bytes().data() + 3 * 4096, "kept", 4), 0);
    }
  }
  const auto lazy = map({.access = Access::kReadWrite});
  EXPECT_THAT(entry(*lazy, "Rss:"), HasSubstr(" 0 kB"));
  EXPECT_FALSE(lazy->outcome().prefaulted);
}

TEST_F(MappingTest, LocksWhereItMayAndSaysWhereItMayNot) {
  const auto locked =
      map({.access = Access::kReadWrite, .prefault = Prefault::kTouch, .lock = true});
  ASSERT_TRUE(locked);
  if (locked->outcome().locked) {
    EXPECT_THAT(entry(*locked, "VmFlags"), HasSubstr(" lo"));
    EXPECT_EQ(locked->outcome().lock_errno, 0);
  }
  if (!testing::can_become_another_uid()) GTEST_SKIP() << "the refusal needs root to set up";
  const int answer = testing::answer_of_child([this] {
    const rlimit none{0, 0};
    if (setrlimit(RLIMIT_MEMLOCK, &none) != 0) return 1;
    if (!testing::become_another_uid()) return 2;
    const auto refused = map({.access = Access::kReadWrite, .lock = true});
    if (!refused) return 3;  // a lock is a wish: the mapping stands
    if (refused->outcome().locked) return 4;
    return refused->outcome().lock_errno == EPERM || refused->outcome().lock_errno == ENOMEM ? 0
                                                                                             : 5;
  });
  EXPECT_EQ(answer, 0);
}

}  // namespace of_mapping_test
}  // namespace mesh::shm
