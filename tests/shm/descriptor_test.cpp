#include "shm/descriptor.hpp"

#include <fcntl.h>
#include <unistd.h>

#include "tests/shm/processes.hpp"

namespace mesh::shm {
namespace of_descriptor_test {

int open_null() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }
bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

TEST(Descriptor, ClosesWhatItOwnsOnceAndOnlyThat) {
  const int fd = open_null();
  { const Descriptor owner(fd); }
  EXPECT_FALSE(is_open(fd));
  { const Descriptor nothing; }
  { const Descriptor failed(-1); }
}

TEST(Descriptor, MovedFromOwnsNothing) {
  Descriptor first(open_null());
  const int fd = first.get();
  Descriptor second(std::move(first));
  EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): what a move leaves is in question
  EXPECT_EQ(second.get(), fd);
  first = Descriptor();
  EXPECT_TRUE(is_open(fd));
  second = Descriptor(open_null());
  EXPECT_FALSE(is_open(fd));
  EXPECT_TRUE(is_open(second.get()));
}

TEST(Descriptor, ReleaseHandsOverOwnership) {
  Descriptor owner(open_null());
  const int fd = owner.release();
  EXPECT_FALSE(owner);
  owner.close();
  EXPECT_TRUE(is_open(fd));
  close(fd);
}

TEST(Descriptor, LeaksNothingOverManyMoves) {
  const std::size_t before = testing::count_open_descriptors();
  std::vector<Descriptor> many;
  for (int i = 0; i < 200; ++i) many.emplace_back(open_null());
  std::vector<Descriptor> others = std::move(many);
  others.erase(others.begin(), others.begin() + 100);
  EXPECT_EQ(testing::count_open_descriptors(), before + 100);
  others.clear();
  EXPECT_EQ(testing::count_open_descriptors(), before);
}

}  // namespace of_descriptor_test
}  // namespace mesh::shm
