#include "shm/files.hpp"

#include <csignal>
#include <fstream>

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/mapping.hpp"
#include "tests/shm/processes.hpp"

namespace mesh::shm {
namespace of_files_test {

using ::testing::HasSubstr;
using testing::ScratchDirectory;

class Files : public ::testing::Test {
 protected:
  void SetUp() override {
    auto directory = open_directory(scratch_.path());
    ASSERT_TRUE(directory) << directory.error().sentence;
    directory_ = std::move(*directory);
  }
  Result<Descriptor> create(const std::string& name, std::size_t size_bytes) const {
    return create_file({.directory = directory_.get(), .name = name, .size_bytes = size_bytes});
  }
  Errc open_code(const std::string& name) const {
    const auto file = open_file(directory_.get(), name, Access::kReadWrite);
    return file ? Errc::ok : file.error().code;
  }

  ScratchDirectory scratch_;
  Descriptor directory_;
};

TEST_F(Files, RefusesADirectoryThatIsALink) {
  ASSERT_EQ(symlink(scratch_.path().c_str(), scratch_.file("link").c_str()), 0);
  EXPECT_EQ(open_directory(scratch_.file("link")).error().code, Errc::not_yours);
}

TEST_F(Files, RefusesADirectoryThatOthersCanWrite) {
  for (const mode_t mode : {0777U, 0731U, 0713U}) {
    ASSERT_EQ(chmod(scratch_.path().c_str(), mode), 0);
    const auto refused = open_directory(scratch_.path());
    ASSERT_FALSE(refused) << mode;
    EXPECT_EQ(refused.error().code, Errc::not_yours);
    EXPECT_THAT(refused.error().sentence, HasSubstr("lets others write"));
  }
  ASSERT_EQ(chmod(scratch_.path().c_str(), 0711), 0);
  EXPECT_TRUE(open_directory(scratch_.path()));
}

TEST_F(Files, RefusesADirectoryOfAnotherUser) {
  if (!testing::can_become_another_uid()) GTEST_SKIP() << "needs root";
  ASSERT_EQ(chown(scratch_.path().c_str(), testing::kAnotherUid, testing::kAnotherUid), 0);
  const auto refused = open_directory(scratch_.path());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::not_yours);
  EXPECT_THAT(refused.error().sentence, HasSubstr("uid 1000, expected uid 0"));
}

TEST_F(Files, RefusesADirectoryThatIsNone) {
  EXPECT_EQ(open_directory(scratch_.file("absent")).error().code, Errc::not_found);
  std::ofstream(scratch_.file("file")) << 'x';
  EXPECT_EQ(open_directory(scratch_.file("file")).error().code, Errc::not_yours);
}

TEST_F(Files, RefusesNamesThatLeaveTheDirectory) {
  for (const std::string name : {"", ".", "..", "a/b", "/a", "../a"}) {
    EXPECT_EQ(create(name, 4096).error().code, Errc::invalid_argument) << name;
    EXPECT_EQ(open_code(name), Errc::invalid_argument) << name;
  }
  EXPECT_EQ(create(std::string("a\0b", 3), 4096).error().code, Errc::invalid_argument);
  EXPECT_EQ(create(std::string(256, 'a'), 4096).error().code, Errc::invalid_argument);
}

// The ways in which somebody can put a thing of theirs in the place of a file of ours.
TEST_F(Files, RefusesEveryKindOfSquatter) {
  const auto make = [this](const std::string& name) {
    ASSERT_TRUE(create(name, 4096));
    ASSERT_EQ(open_code(name), Errc::ok);
  };
  make("target");
  ASSERT_EQ(symlink(scratch_.file("target").c_str(), scratch_.file("symbolic").c_str()), 0);
  EXPECT_EQ(open_code("symbolic"), Errc::not_yours);
  ASSERT_EQ(symlink("nowhere", scratch_.file("dangling").c_str()), 0);
  EXPECT_EQ(open_code("dangling"), Errc::not_yours);
  ASSERT_EQ(link(scratch_.file("target").c_str(), scratch_.file("second").c_str()), 0);
  EXPECT_EQ(open_code("second"), Errc::not_yours);
  EXPECT_EQ(open_code("target"), Errc::not_yours);
  ASSERT_EQ(mkfifo(scratch_.file("pipe").c_str(), 0600), 0);
  EXPECT_EQ(open_code("pipe"), Errc::not_yours);
  ASSERT_EQ(mkdir(scratch_.file("directory").c_str(), 0600), 0);
  EXPECT_EQ(open_code("directory"), Errc::not_yours);
  for (const mode_t mode : {0640U, 0604U, 0666U, 0400U, 0700U, 04600U}) {
    const std::string name = "mode" + std::to_string(mode);
    make(name);
    ASSERT_EQ(chmod(scratch_.file(name).c_str(), mode), 0);
    const auto refused = open_file(directory_.get(), name, Access::kReadOnly);
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().code, Errc::not_yours);
    EXPECT_THAT(refused.error().sentence, HasSubstr("expected 0600"));
  }
  if (testing::can_become_another_uid()) {
    make("theirs");
    ASSERT_EQ(chown(scratch_.file("theirs").c_str(), testing::kAnotherUid, 0), 0);
    EXPECT_EQ(open_code("theirs"), Errc::not_yours);
  }
}

TEST_F(Files, NeverCreatesThroughALinkOrOverAFile) {
  ASSERT_EQ(symlink(scratch_.file("elsewhere").c_str(), scratch_.file("link").c_str()), 0);
  EXPECT_EQ(create("link", 4096).error().code, Errc::already_exists);
  EXPECT_NE(access(scratch_.file("elsewhere").c_str(), F_OK), 0);
  ASSERT_TRUE(create("file", 4096));
  const auto again = create("file", 8192);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Errc::already_exists);
  EXPECT_EQ(std::filesystem::file_size(scratch_.file("file")), 4096U);  // and does not remove it
}

TEST_F(Files, CreatesAllocatedZeroedPrivateAndHiddenFromChildren) {
  const mode_t before = umask(0277);
  const auto file = create("file", 3 * 4096 + 1);
  umask(before);
  ASSERT_TRUE(file) << file.error().sentence;
  struct stat status {};
  ASSERT_EQ(fstat(file->get(), &status), 0);
  EXPECT_EQ(status.st_size, 3 * 4096 + 1);
  EXPECT_GE(status.st_blocks * 512, 3 * 4096 + 1);
  EXPECT_EQ(status.st_mode & 07777U, 0600U);
  EXPECT_EQ(fcntl(file->get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  std::vector<char> bytes(3 * 4096 + 1, 'x');
  ASSERT_EQ(pread(file->get(), bytes.data(), bytes.size(), 0), 3 * 4096 + 1);
  EXPECT_THAT(bytes, ::testing::Each('\0'));
  EXPECT_EQ(open_code("file"), Errc::ok);
  EXPECT_TRUE(remove_file(directory_.get(), "file"));
  EXPECT_EQ(remove_file(directory_.get(), "file").error().code, Errc::not_found);
}

TEST_F(Files, RefusesASizeOfNothing) {
  EXPECT_EQ(create("file", 0).error().code, Errc::invalid_argument);
  EXPECT_EQ(create("file", ~std::size_t{0}).error().code, Errc::invalid_argument);
  EXPECT_EQ(open_code("file"), Errc::not_found);  // nothing of it is left
}

TEST_F(Files, ReadOnlyDescriptorCannotWriteAndCannotBeMappedWritable) {
  ASSERT_TRUE(create("file", 4096));
  const auto file = open_file(directory_.get(), "file", Access::kReadOnly);
  ASSERT_TRUE(file);
  EXPECT_EQ(write(file->get(), "x", 1), -1);
  const auto mapping =
      Mapping::map(file->get(), {.name = "file", .size_bytes = 4096, .access = Access::kReadWrite});
  ASSERT_FALSE(mapping);
  EXPECT_EQ(mapping.error().code, Errc::permission_denied);
  EXPECT_EQ(mapping.error().detail, EACCES);
}

// Of a file system of 1 MiB that has no room for 2: 0, or the number of what does not hold.
int answer_about_too_large(const Descriptor& directory, const std::string& path) {
  const auto file =
      create_file({.directory = directory.get(), .name = "table", .size_bytes = 2U << 20});
  if (file) return 3;
  if (file.error().code != Errc::no_space) return 4;
  if (file.error().detail != 2 << 20) return 5;
  const std::string& sentence = file.error().sentence;
  if (sentence.find("2097152 bytes are needed, 1048576 are free") == std::string::npos) return 6;
  if (sentence.find("enlarge the file system") == std::string::npos) return 7;
  return access((path + "/table").c_str(), F_OK) == 0 ? 8 : 0;
}

// What does fit, fits to the last byte and can be written without SIGBUS.
int answer_about_what_fits(const Descriptor& directory) {
  const auto fits =
      create_file({.directory = directory.get(), .name = "table", .size_bytes = 1U << 20});
  if (!fits) return 9;
  const auto mapping = Mapping::map(
      fits->get(), {.name = "table", .size_bytes = 1U << 20, .access = Access::kReadWrite});
  if (!mapping) return 10;
  for (std::byte& byte : mapping->writable_bytes()) byte = std::byte{1};
  return 0;
}

// A file system of 1 MiB: mounted where that is permitted (root in a mount namespace of its own).
TEST_F(Files, AFullFileSystemIsAnErrorThatSaysNeededFreeAndWhatToDo) {
  const int answer = testing::answer_of_child([this] {
    if (unshare(CLONE_NEWNS) != 0) return 77;
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 77;
    const std::string small = scratch_.file("small");
    if (::mkdir(small.c_str(), 0711) != 0) return 1;
    if (mount("tmpfs", small.c_str(), "tmpfs", 0, "size=1m,mode=0711") != 0) return 77;
    const auto directory = open_directory(small);
    if (!directory) return 2;
    const int refused = answer_about_too_large(*directory, small);
    return refused != 0 ? refused : answer_about_what_fits(*directory);
  });
  if (answer == 77) GTEST_SKIP() << "may not mount; the limit test below covers the refusal";
  EXPECT_EQ(answer, 0);
}

TEST_F(Files, AFileSizeLimitIsTheSameErrorAndLeavesNothing) {
  const int answer = testing::answer_of_child([this] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1U << 20, 1U << 20};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    const auto file = create("table", 2U << 20);
    if (file) return 2;
    if (file.error().code != Errc::no_space) return 3;
    if (file.error().sentence.find("ulimit -f") == std::string::npos) return 4;
    const auto memory = create_sealed_memory("out", 2U << 20);
    if (memory || memory.error().code != Errc::no_space) return 5;
    return access(scratch_.file("table").c_str(), F_OK) == 0 ? 6 : 0;
  });
  EXPECT_EQ(answer, 0);
}

class SealedMemoryTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kBytes = 4 * 4096;
  void SetUp() override {
    auto memory = create_sealed_memory("station", kBytes);
    ASSERT_TRUE(memory) << memory.error().sentence;
    memory_ = std::move(*memory);
  }
  Errc code_of(int fd) const {
    const auto accepted = accept_memfd(fd, memory_.identity, "station");
    return accepted ? Errc::ok : accepted.error().code;
  }
  SealedMemory memory_;
};

TEST_F(SealedMemoryTest, RefusesAnotherMemoryOfTheSameSizeAndSeals) {
  const auto other = create_sealed_memory("station", kBytes);
  ASSERT_TRUE(other);
  const auto refused = accept_memfd(other->descriptor.get(), memory_.identity, "station");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::not_yours);
  EXPECT_THAT(refused.error().sentence,
              HasSubstr("inode " + std::to_string(other->identity.inode)));
  EXPECT_THAT(refused.error().sentence, HasSubstr("expected device"));
  EXPECT_THAT(refused.error().sentence,
              HasSubstr("inode " + std::to_string(memory_.identity.inode)));
}

TEST_F(SealedMemoryTest, RefusesWhatIsNoMemoryAtAll) {
  EXPECT_EQ(code_of(-1), Errc::system_error);
  const Descriptor null(open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_EQ(code_of(null.get()), Errc::not_yours);
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const Descriptor in(ends[0]);
  const Descriptor out(ends[1]);
  EXPECT_EQ(code_of(in.get()), Errc::not_yours);
}

TEST_F(SealedMemoryTest, RefusesEachMissingSeal) {
  for (const int seals : {0, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SHRINK | F_SEAL_GROW,
                          F_SEAL_SHRINK | F_SEAL_SEAL, F_SEAL_GROW | F_SEAL_SEAL}) {
    const Descriptor loose(memfd_create("station", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(ftruncate(loose.get(), kBytes), 0);
    ASSERT_EQ(fcntl(loose.get(), F_ADD_SEALS, seals), 0);
    const auto identity = identity_of(loose.get(), "station");
    ASSERT_TRUE(identity);
    const auto refused = accept_memfd(loose.get(), *identity, "station");
    ASSERT_FALSE(refused) << seals;
    EXPECT_EQ(refused.error().code, Errc::unsealed);
    EXPECT_THAT(refused.error().sentence, HasSubstr("seals " + std::to_string(seals)));
    EXPECT_THAT(refused.error().sentence, HasSubstr("expected at least 7"));
  }
}

TEST_F(SealedMemoryTest, RefusesAPlainFileThatCannotBeSealed) {
  const ScratchDirectory scratch;
  const Descriptor file(open(scratch.file("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(ftruncate(file.get(), kBytes), 0);
  const auto identity = identity_of(file.get(), "station");
  ASSERT_TRUE(identity);
  const auto refused = accept_memfd(file.get(), *identity, "station");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().code, ::testing::AnyOf(Errc::unsealed, Errc::not_yours));
}

TEST_F(SealedMemoryTest, RefusesHugePagesWhateverTheirSeals) {
  const Descriptor huge(memfd_create("station", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB));
  if (!huge) GTEST_SKIP() << "no huge pages in this kernel";
  ASSERT_EQ(ftruncate(huge.get(), 2 << 20), 0);
  ASSERT_EQ(fcntl(huge.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
  const auto identity = identity_of(huge.get(), "station");
  ASSERT_TRUE(identity);
  const auto refused = accept_memfd(huge.get(), *identity, "station");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::not_yours);
  EXPECT_THAT(refused.error().sentence, HasSubstr("expected tmpfs"));
}

TEST_F(SealedMemoryTest, RefusesAnotherSizeThanAgreedNamingBoth) {
  for (const int difference : {-4096, -1, 1, 4096}) {
    MemoryIdentity agreed = memory_.identity;
    agreed.size_bytes += static_cast<std::uint64_t>(difference);
    const auto refused = accept_memfd(memory_.descriptor.get(), agreed, "station");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, difference > 0 ? Errc::truncated : Errc::not_yours);
    EXPECT_THAT(refused.error().sentence,
                HasSubstr("16384 bytes, expected " + std::to_string(16384 + difference)));
  }
}

TEST_F(SealedMemoryTest, IsTheSameThroughAnotherDescriptor) {
  const Descriptor copy(fcntl(memory_.descriptor.get(), F_DUPFD_CLOEXEC, 0));
  EXPECT_EQ(code_of(copy.get()), Errc::ok);
  const std::string path = "/proc/self/fd/" + std::to_string(memory_.descriptor.get());
  const Descriptor reopened(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(code_of(reopened.get()), Errc::ok);
}

TEST_F(SealedMemoryTest, CannotShrinkGrowOrBeSealedFurther) {
  const int fd = memory_.descriptor.get();
  EXPECT_EQ(ftruncate(fd, 4096), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(ftruncate(fd, 2 * kBytes), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_NE(posix_fallocate(fd, 0, 2 * kBytes), 0);
  EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(code_of(fd), Errc::ok);
}

// SHRINK, GROW and SEAL do not forbid a hole. It must read as zeros and not raise SIGBUS.
TEST_F(SealedMemoryTest, AHolePunchedByItsWriterReadsAsZeros) {
  const auto mapping =
      Mapping::map(memory_.descriptor.get(),
                   {.name = "station", .size_bytes = kBytes, .access = Access::kReadWrite});
  ASSERT_TRUE(mapping);
  mapping->writable_bytes()[5000] = std::byte{9};
  ASSERT_EQ(
      fallocate(memory_.descriptor.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kBytes),
      0);
  EXPECT_EQ(mapping->bytes()[5000], std::byte{0});
  EXPECT_EQ(code_of(memory_.descriptor.get()), Errc::ok);
}

// What another uid tries below: the number of the first try that was not refused, 0 if none. The
// parent's message says which one it was.
template <std::size_t kCount>
int first_not_refused(const bool (&refused)[kCount]) {
  const auto at = std::find(std::begin(refused), std::end(refused), false);
  return at == std::end(refused) ? 0 : static_cast<int>(at - std::begin(refused)) + 1;
}
constexpr int kNoOtherUid = 99, kCannotEvenRead = 98;

// The same for sealed memory: its holder of another uid can neither resize it nor, holding it
// read-only, write it.
TEST_F(SealedMemoryTest, AnotherUserCanNeitherResizeItNorReopenItForWriting) {
  if (!testing::can_become_another_uid()) GTEST_SKIP() << "needs root";
  const std::string path = "/proc/self/fd/" + std::to_string(memory_.descriptor.get());
  const Descriptor reader(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(reader);
  const int writer_fd = memory_.descriptor.get();
  const int answer = testing::answer_of_child([&] {
    if (!testing::become_another_uid()) return kNoOtherUid;
    const std::string reopen = "/proc/self/fd/" + std::to_string(reader.get());
    void* const page = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, reader.get(), 0);
    if (page == MAP_FAILED) return kCannotEvenRead;
    return first_not_refused({
        ftruncate(writer_fd, 0) != 0,
        ftruncate(writer_fd, 2 * kBytes) != 0,
        fcntl(writer_fd, F_ADD_SEALS, F_SEAL_WRITE) != 0,
        fchmod(writer_fd, 0666) != 0,
        open(reopen.c_str(), O_RDWR | O_CLOEXEC) < 0,
        mprotect(page, 4096, PROT_READ | PROT_WRITE) != 0,
        madvise(page, 4096, MADV_REMOVE) != 0,
        fallocate(reader.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) != 0,
    });
  });
  EXPECT_EQ(answer, 0);
}

// What a station of another uid can try with a file that it was handed read-only.
TEST_F(Files, AnotherUserCannotChangeWhatItWasHandedReadOnly) {
  if (!testing::can_become_another_uid()) GTEST_SKIP() << "needs root";
  ASSERT_TRUE(create("table", 2 * 4096));
  const auto handed = open_file(directory_.get(), "table", Access::kReadOnly);
  ASSERT_TRUE(handed);
  const int fd = handed->get();
  const int answer = testing::answer_of_child([fd] {
    if (!testing::become_another_uid()) return kNoOtherUid;
    const auto mapping = Mapping::map(fd, {.name = "table", .size_bytes = 2 * 4096});
    if (!mapping) return kCannotEvenRead;
    auto* const first = const_cast<std::byte*>(mapping->bytes().data());
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    return first_not_refused({
        mprotect(first, 4096, PROT_READ | PROT_WRITE) != 0,
        mmap(nullptr, 4096, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED,
        open(path.c_str(), O_RDWR | O_CLOEXEC) < 0,
        open(path.c_str(), O_WRONLY | O_CLOEXEC) < 0,
        open(path.c_str(), O_RDONLY | O_CLOEXEC) < 0,
        ftruncate(fd, 0) != 0,
        fchmod(fd, 0666) != 0,
        write(fd, "x", 1) < 0,
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) != 0,
        madvise(first, 4096, MADV_REMOVE) != 0,
        mapping->bytes()[0] == std::byte{0},
    });
  });
  EXPECT_EQ(answer, 0);
}

}  // namespace of_files_test
}  // namespace mesh::shm
