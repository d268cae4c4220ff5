#include "engine/coordination/blocks/memory_journal.hpp"

namespace mesh::coordination {
namespace of_journal_test {

std::vector<std::byte> record_of(unsigned value) {
  return std::vector<std::byte>(value + 1, static_cast<std::byte>(value));
}

struct Collector final : JournalVisitor {
  Status visit(std::uint64_t sequence, std::span<const std::byte> record) override {
    sequences.push_back(sequence);
    sizes.push_back(record.size());
    return {};
  }
  std::vector<std::uint64_t> sequences;
  std::vector<std::size_t> sizes;
};

TEST(MemoryJournal, KeepsEverythingSyncedAndAPrefixOfTheRest) {
  for (std::size_t kept = 0; kept < 200; ++kept) {
    MemoryJournal journal;
    for (unsigned i = 0; i < 3; ++i) ASSERT_TRUE(journal.append(record_of(i)));
    ASSERT_TRUE(journal.sync());
    for (unsigned i = 3; i < 6; ++i) ASSERT_TRUE(journal.append(record_of(i)));
    journal.crash(kept);
    Collector found;
    ASSERT_TRUE(journal.replay(0, found));
    ASSERT_GE(found.sequences.size(), 3U);
    for (std::size_t i = 0; i < found.sequences.size(); ++i) {
      EXPECT_EQ(found.sequences[i], i + 1);
      EXPECT_EQ(found.sizes[i], i + 1);
    }
    EXPECT_EQ(journal.last_sequence(), found.sequences.size());
    EXPECT_EQ(*journal.append(record_of(9)), found.sequences.size() + 1);
  }
}

TEST(MemoryJournal, ForgetsWhatItsSnapshotHolds) {
  MemoryJournal journal;
  for (unsigned i = 0; i < 4; ++i) ASSERT_TRUE(journal.append(record_of(i)));
  const StoredSnapshot stored{3, seal_snapshot({"test"}, record_of(1))};
  ASSERT_TRUE(journal.replace_snapshot(stored));
  Collector found;
  ASSERT_TRUE(journal.replay(3, found));
  EXPECT_EQ(found.sequences, (std::vector<std::uint64_t>{4}));
  EXPECT_EQ(journal.replay(2, found).error().code, Errc::not_found);
  EXPECT_EQ(journal.newest_snapshot()->last_sequence, 3U);
  EXPECT_EQ(journal.replace_snapshot({9, {}}).error().code, Errc::invalid_argument);
}

}  // namespace of_journal_test
}  // namespace mesh::coordination
