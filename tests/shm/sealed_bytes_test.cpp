// Bytes handed over as a sealed memfd: what is no such thing is not read.
#include "shm/sealed_bytes.hpp"

#include <cstring>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/mman.h>
#include <unistd.h>

namespace mesh::shm {
namespace of_sealed_bytes_test {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

TEST(SealedBytes, RefusesWhatIsNotSealed) {
  const Descriptor open_to_all(::memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(read_sealed(open_to_all.get(), 100).error().code, Errc::unsealed);
  const Descriptor file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(read_sealed(file.get(), 100).error().code, Errc::unsealed);
  EXPECT_EQ(read_sealed(-1, 100).error().code, Errc::unsealed);
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Descriptor out(ends[0]);
  const Descriptor in(ends[1]);
  EXPECT_EQ(read_sealed(out.get(), 100).error().code, Errc::unsealed) << "it would wait for ever";
}

TEST(SealedBytes, RefusesWhatMayStillBeWrittenOrGrow) {
  for (const int seals :
       {F_SEAL_SHRINK | F_SEAL_GROW, F_SEAL_SHRINK | F_SEAL_WRITE, F_SEAL_GROW | F_SEAL_WRITE}) {
    const Descriptor half(::memfd_create("half", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(::fcntl(half.get(), F_ADD_SEALS, seals), 0);
    EXPECT_EQ(read_sealed(half.get(), 100).error().code, Errc::unsealed) << seals;
  }
}

TEST(SealedBytes, RefusesMoreThanTheMost) {
  const std::string text(101, 'x');
  const auto sealed = seal_bytes("long", bytes_of(text));
  ASSERT_TRUE(sealed);
  EXPECT_EQ(read_sealed(sealed->get(), 100).error().code, Errc::truncated);
  EXPECT_EQ(read_sealed(sealed->get(), 101).value(), text);
}

TEST(SealedBytes, NobodyChangesThemAfterwards) {
  const auto sealed = seal_bytes("sealed", bytes_of("abc"));
  ASSERT_TRUE(sealed);
  EXPECT_LT(::pwrite(sealed->get(), "x", 1, 0), 0);
  EXPECT_NE(::ftruncate(sealed->get(), 1), 0);
  EXPECT_NE(::ftruncate(sealed->get(), 100), 0);
  EXPECT_EQ(read_sealed(sealed->get(), 100).value(), "abc");
}

TEST(SealedBytes, AreWhatWasSealedHoweverOftenTheyAreRead) {
  EXPECT_TRUE(rc::check("any bytes", [](const std::string& text) {
    const auto sealed = seal_bytes("any", bytes_of(text));
    RC_ASSERT(sealed.has_value());
    RC_ASSERT(read_sealed(sealed->get(), text.size()).value() == text);
    RC_ASSERT(read_sealed(sealed->get(), text.size()).value() == text);
  }));
}

}  // namespace of_sealed_bytes_test
}  // namespace mesh::shm
