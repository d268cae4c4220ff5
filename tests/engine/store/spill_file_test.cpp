#include "engine/store/spill_file.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>

#include <sys/stat.h>

#include "tests/engine/store/store_fixture.hpp"

namespace mesh::engine {
namespace of_spill_file_test {

using testing::conflict;
using testing::conflicts;

class SpillFileTest : public ::testing::Test {
 protected:
  SpillOptions options(std::uint64_t size_bytes = kSpillBytesMin) const {
    return {.path = folder_.file("spill"), .size_bytes = size_bytes};
  }
  SpillFile open(std::uint64_t size_bytes = kSpillBytesMin) const {
    auto file = SpillFile::open(options(size_bytes));
    EXPECT_TRUE(file) << file.error().sentence;
    return std::move(*file);
  }
  std::string bytes() const {
    std::ifstream in(folder_.file("spill"), std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  void put(const std::string& bytes) const {
    std::ofstream(folder_.file("spill"), std::ios::binary | std::ios::trunc) << bytes;
  }
  static std::vector<Record> all(const SpillFile& file) {
    return file.read(0, file.waiting()).value();
  }

  testing::ScratchDirectory folder_;
};

TEST_F(SpillFileTest, RefusesASizeThatHoldsNothingAndAFolderThatIsNotThere) {
  EXPECT_EQ(SpillFile::open(options(kSpillBytesMin - 1)).error().code, Errc::invalid_argument);
  EXPECT_EQ(SpillFile::open({.path = folder_.file("none/spill")}).error().code, Errc::not_found);
}

TEST_F(SpillFileTest, RefusesAFileThatIsNoneOrOfAnotherVersionOrCutShort) {
  put(std::string(kSpillBytesMin, 'x'));
  EXPECT_EQ(SpillFile::open(options()).error().code, Errc::bad_magic);
  put("short");
  EXPECT_EQ(SpillFile::open(options()).error().code, Errc::truncated);
}

TEST_F(SpillFileTest, BelongsToOneRecorderAtATime) {
  const SpillFile first = open();
  EXPECT_EQ(SpillFile::open(options()).error().code, Errc::busy);
}

TEST_F(SpillFileTest, TakesItsRoomAtOnceSoThatAFullDiskTakesNothingFromIt) {
  const SpillFile file = open(1U << 20);
  struct stat facts {};
  ASSERT_EQ(::stat(folder_.file("spill").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_size, 1 << 20);
  EXPECT_GE(facts.st_blocks * 512, 1 << 20);
  EXPECT_EQ(facts.st_mode & 0777U, 0600U);
}

TEST_F(SpillFileTest, AFileWhoseMakerDiedBeforeItsHeaderIsBegunAnew) {
  put(std::string(kSpillBytesMin, '\0'));
  EXPECT_EQ(open().waiting(), 0U);
  put("");
  EXPECT_EQ(open().waiting(), 0U);
}

TEST_F(SpillFileTest, GivesBackInOrderWhatWasAppendedAlsoAfterReopening) {
  {
    SpillFile file = open();
    ASSERT_TRUE(file.append(conflicts(1, 3)));
    ASSERT_TRUE(file.append(conflicts(4, 2)));
    EXPECT_EQ(*file.read(1, 2), conflicts(2, 2));
  }
  const SpillFile file = open(2 * kSpillBytesMin);  // it keeps its size
  EXPECT_EQ(file.bytes_max(), kSpillBytesMin);
  EXPECT_EQ(all(file), conflicts(1, 5));
  EXPECT_EQ(file.damaged_bytes(), 0U);
  EXPECT_TRUE(file.read(5, 10)->empty());
}

TEST_F(SpillFileTest, FullItKeepsNothingOfAGroupAndSaysForHowManyThereIsRoom) {
  SpillFile file = open();
  const auto many = conflicts(1, 1'000);
  const std::size_t room = file.room_for(many);
  ASSERT_GT(room, 10U);
  ASSERT_LT(room, 1'000U);
  EXPECT_EQ(file.append(many).error().code, Errc::no_space);
  EXPECT_EQ(file.waiting(), 0U);
  ASSERT_TRUE(file.append(std::span(many).first(room)));
  EXPECT_EQ(file.append(conflicts(2'000, 1)).error().code, Errc::no_space);
  EXPECT_FALSE(file.has_failed());  // full is no failure
}

TEST_F(SpillFileTest, ClearedItIsEmptyAndNothingOfThePastComesBack) {
  {
    SpillFile file = open();
    ASSERT_TRUE(file.append(conflicts(1, 5)));
    ASSERT_TRUE(file.clear());
    EXPECT_EQ(file.waiting(), 0U);
  }
  {
    SpillFile file = open();
    EXPECT_EQ(file.waiting(), 0U);
    ASSERT_TRUE(file.append(conflicts(10, 1)));  // old entries lie whole behind it
  }
  EXPECT_EQ(all(open()), conflicts(10, 1));
}

TEST_F(SpillFileTest, CutAtAnyByteItGivesExactlyTheRecordsBefore) {
  std::vector<std::uint64_t> ends;
  {
    SpillFile file = open();
    for (std::uint64_t i = 1; i <= 4; ++i) {
      ASSERT_TRUE(file.append(conflicts(i, 1)));
      ends.push_back(file.bytes_used());
    }
  }
  const std::string whole = bytes();
  for (std::uint64_t cut = 4'096; cut < ends.back(); ++cut) {
    put(whole.substr(0, cut) + std::string(whole.size() - cut, '\0'));
    const SpillFile file = open();
    // The last bytes of an entry are padding, or zero already.
    const auto complete = static_cast<std::uint64_t>(
        std::count_if(ends.begin(), ends.end(), [&](std::uint64_t end) { return end <= cut; }));
    ASSERT_GE(file.waiting(), complete) << cut;
    ASSERT_LE(file.waiting(), complete + 1) << cut;
    ASSERT_EQ(all(file), conflicts(1, file.waiting())) << cut;
    ASSERT_EQ(file.damaged_bytes(), 0U);
  }
}

TEST_F(SpillFileTest, FlippingAnyBitLosesAtMostItsOwnRecordAndNeverGivesAFalseOne) {
  std::uint64_t end = 0;
  {
    SpillFile file = open();
    ASSERT_TRUE(file.append(conflicts(1, 3)));
    end = file.bytes_used();
  }
  const std::string whole = bytes();
  const auto records = conflicts(1, 3);
  const auto try_bit = [&](std::uint64_t bit) {
    std::string damaged = whole;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    put(damaged);
    const SpillFile file = open();
    const auto left = all(file);
    ASSERT_GE(left.size(), 2U) << bit;
    for (const Record& record : left)
      ASSERT_NE(std::find(records.begin(), records.end(), record), records.end()) << bit;
    // Damage with whole records behind it is said, and so is a damaged header.
    const bool must_be_said = bit < 8 * 32 || (left.size() == 2 && left[1] == records[2]);
    ASSERT_TRUE(!must_be_said || file.damaged_bytes() > 0) << bit;
  };
  for (std::uint64_t bit = 0; bit < std::uint64_t{8} * 32; ++bit) try_bit(bit);
  for (std::uint64_t bit = std::uint64_t{8} * 4'096; bit < 8 * end; ++bit) try_bit(bit);
}

TEST_F(SpillFileTest, AfterDamageNewRecordsGoBehindTheLastWholeOne) {
  {
    SpillFile file = open();
    ASSERT_TRUE(file.append(conflicts(1, 3)));
  }
  std::string damaged = bytes();
  damaged[4'096 + 40] = static_cast<char>(damaged[4'096 + 40] ^ 1);
  put(damaged);
  {
    SpillFile file = open();
    ASSERT_TRUE(file.append(conflicts(4, 1)));
  }
  EXPECT_EQ(all(open()), conflicts(2, 3));
}

}  // namespace of_spill_file_test
}  // namespace mesh::engine
