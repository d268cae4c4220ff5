// Bits for names: given once, never again, and none beyond 256.
#include "engine/capabilities.hpp"

#include <random>
#include <set>

#include <sys/wait.h>

#include "tests/crash_memory.hpp"
#include "tests/engine/test_table.hpp"
#include "tests/seed.hpp"

namespace mesh::engine {
namespace of_capabilities_test {

using ::testing::HasSubstr;

constexpr std::size_t kTableWords = std::size_t{kCapabilities} * kNameWords;

class Names {
 public:
  template <class Memory = HostMemory>
  [[nodiscard]] shm::Column<Memory, std::uint64_t> column() const {
    return shm::Column<Memory, std::uint64_t>::over(memory_.bytes(), kTableWords).value();
  }
  [[nodiscard]] CapabilityTable table() const {
    return CapabilityTable::create(column(), testing::seed()).value();
  }
  void clear() const { std::ranges::fill(memory_.bytes(), std::byte{0}); }

 private:
  testing::SharedBytes memory_{kTableWords * 8};
};

TEST(CapabilityTable, RefusesNamesThatNoAgentMayHaveEither) {
  const Names names;
  CapabilityTable table = names.table();
  for (const std::string& name : {std::string(), std::string(64, 'a'), std::string("a\0b", 3),
                                  std::string("\xC0\xAF"), std::string("line\nline")}) {
    EXPECT_EQ(table.intern(name).error().code, Errc::invalid_argument);
  }
  EXPECT_EQ(table.count(), 0U);
}

TEST(CapabilityTable, RefusesThe257thNameAndSaysTheLimit) {
  const Names names;
  CapabilityTable table = names.table();
  for (unsigned i = 0; i < 256; ++i) {
    EXPECT_EQ(table.intern("capability-" + std::to_string(i)).value(), CapabilityBit(i));
  }
  const auto refused = table.intern("one-more");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::capacity);
  EXPECT_EQ(refused.error().detail, 256);
  EXPECT_THAT(refused.error().sentence, HasSubstr("at most 256 names"));
  EXPECT_EQ(table.intern("capability-255").value(), CapabilityBit{255});
}

TEST(CapabilityTable, RefusesARegionOfAnotherSize) {
  const Names names;
  const shm::Column<HostMemory, std::uint64_t> shorter(&names.column().word(0), kTableWords - 1);
  EXPECT_EQ(CapabilityTable::create(shorter, 0).error().code, Errc::invalid_argument);
}

TEST(CapabilityTable, RefusesWhatItNeverWrote) {
  const Names names;
  store_capability_name(names.column(), CapabilityBit{1}, encode("behind a gap"));
  EXPECT_EQ(CapabilityTable::create(names.column(), 0).error().code, Errc::corrupt);
  store_capability_name(names.column(), CapabilityBit{0}, encode("behind a gap"));
  const auto twice = CapabilityTable::create(names.column(), 0);
  ASSERT_FALSE(twice.has_value());
  EXPECT_THAT(twice.error().sentence, HasSubstr("is the name of bit 0 too"));
  names.column().store_relaxed(0, 0xFF);
  EXPECT_EQ(CapabilityTable::create(names.column(), 0).error().code, Errc::corrupt);
}

TEST(CapabilityTable, KeepsEveryBitAcrossARestart) {
  const Names names;
  std::vector<std::string> given;
  for (unsigned i = 0; i < 200; ++i) {
    CapabilityTable table = names.table();  // restarted before each
    given.push_back(std::string(1 + i % 63, 'a') + std::to_string(i).substr(0, 63 - i % 63 - 1));
    const auto bit = table.intern(given.back());
    ASSERT_TRUE(bit.has_value()) << bit.error().sentence;
    for (const std::string& name : given) {
      const auto found = names.table().find(name);
      ASSERT_TRUE(found.has_value());
      EXPECT_EQ(names.table().name_of(*found).view(), name);
    }
    if (HasFailure()) return;
  }
  EXPECT_FALSE(names.table().find("never").has_value());
  EXPECT_FALSE(names.table().find("").has_value());
}

// Killed before every store: the name is there whole or not at all, and its bit is given again.
TEST(CapabilityTable, AWriterKilledAtAnyStoreLeavesAWholeNameOrNone) {
  const Names names;
  const std::string longest(63, 'z');
  unsigned whole = 0;
  std::uint64_t site = 0;
  for (bool died = true; died;) {
    ++site;
    names.clear();
    ASSERT_TRUE(names.table().intern("first").has_value());
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      testing::crash_plan = {0, site, testing::Death::kKill, nullptr};
      store_capability_name(names.column<testing::CrashMemory>(), CapabilityBit{1},
                            encode(longest));
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    died = WIFSIGNALED(status);
    CapabilityTable table = names.table();
    const auto found = table.find(longest);
    EXPECT_EQ(table.count(), found ? 2U : 1U);
    whole += found ? 1U : 0U;
    EXPECT_EQ(table.intern("next").value(), CapabilityBit(found ? 2 : 1));
    EXPECT_EQ(names.table().find("next").has_value(), true);
  }
  EXPECT_EQ(site, 10U);  // eight words and a named point, then the end
  EXPECT_EQ(whole, 1U);
}

TEST(CapabilitySet, ContainsWhatWasPutInAndNothingElse) {
  CapabilitySet set;
  for (const unsigned bit : {0U, 63U, 64U, 127U, 128U, 255U}) {
    EXPECT_FALSE(set.contains(CapabilityBit(bit)));
    set.insert(CapabilityBit(bit));
    EXPECT_TRUE(set.contains(CapabilityBit(bit)));
  }
  EXPECT_EQ(set.words(),
            (CapabilitySet::Words{1 | std::uint64_t{1} << 63, 1 | std::uint64_t{1} << 63, 1,
                                  std::uint64_t{1} << 63}));
  set.erase(CapabilityBit{64});
  EXPECT_FALSE(set.contains(CapabilityBit{64}));
  EXPECT_TRUE(set.contains(CapabilityBit{63}));
}

RC_GTEST_PROP(CapabilitySet, ContainsAllIsTheSubsetRelation,
              (std::set<std::uint8_t> has, const std::set<std::uint8_t>& required)) {
  if (*rc::gen::arbitrary<bool>()) has.insert(required.begin(), required.end());
  CapabilitySet agent;
  CapabilitySet message;
  for (const auto bit : has) agent.insert(CapabilityBit{bit});
  for (const auto bit : required) message.insert(CapabilityBit{bit});
  RC_ASSERT(agent.contains_all(message) == std::ranges::includes(has, required));
  RC_ASSERT(agent.contains_all(CapabilitySet{}));
}

}  // namespace of_capabilities_test
}  // namespace mesh::engine
