#include <set>

#include "shm/base/assert.hpp"
#include "shm/base/errc.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"
#include "shm/base/sequence.hpp"
#include "shm/base/word.hpp"

namespace mesh {
namespace of_base_test {

TEST(AgentId, PacksRowIntoBits0To19AndGenerationAbove) {
  const AgentId id = agent_id(AgentIndex{0xABCDE}, Generation{0x123});
  EXPECT_EQ(static_cast<std::uint64_t>(id), 0x123ABCDEULL);
  EXPECT_EQ(index_of(id), AgentIndex{0xABCDE});
  EXPECT_EQ(generation_of(id), Generation{0x123});
}

RC_GTEST_PROP(AgentId, RoundTripsEveryRowAndGeneration, ()) {
  const auto row = *rc::gen::inRange<std::uint32_t>(0, kMaxAgents);
  const auto generation = *rc::gen::arbitrary<std::uint64_t>() & kGenerationMask;
  const AgentId id = agent_id(AgentIndex{row}, Generation{generation});
  RC_ASSERT(index_of(id) == AgentIndex{row});
  RC_ASSERT(generation_of(id) == Generation{generation});
}

TEST(Generation, NearTheEndOf44BitsWrapsToZeroAndNeverIntoTheRow) {
  for (std::uint64_t start = kGenerationMask - 8; start <= kGenerationMask; ++start) {
    const Generation following = next(Generation{start});
    EXPECT_EQ(static_cast<std::uint64_t>(following), (start + 1) & kGenerationMask);
    EXPECT_NE(agent_id(AgentIndex{7}, following), agent_id(AgentIndex{7}, Generation{start}));
    EXPECT_EQ(index_of(agent_id(AgentIndex{7}, following)), AgentIndex{7});
  }
}

TEST(Sequence, BeforeHoldsAcrossEveryWrap) {
  for (const std::uint64_t start : {std::uint64_t{0} - 8, (std::uint64_t{1} << 32) - 8,
                                    (std::uint64_t{1} << 44) - 8, (std::uint64_t{1} << 63) - 8}) {
    for (std::uint64_t step = 1; step < 17; ++step) {
      EXPECT_TRUE(before(start, start + step)) << start << '+' << step;
      EXPECT_FALSE(before(start + step, start)) << start << '+' << step;
    }
    EXPECT_FALSE(before(start, start));
  }
}

TEST(Errc, EveryCodeHasItsOwnNumberNameAndSentence) {
  std::set<std::int32_t> numbers;
  std::set<std::string_view> names;
#define MESH_ERRC_COUNT(name, number, sentence)                   \
  EXPECT_TRUE(numbers.insert(number).second) << #name;            \
  EXPECT_TRUE(names.insert(name_of(Errc::name)).second) << #name; \
  EXPECT_EQ(to_string(Errc::name), sentence);
  MESH_ERRC_LIST(MESH_ERRC_COUNT)
#undef MESH_ERRC_COUNT
  EXPECT_EQ(name_of(Errc{9999}), "unknown");
  EXPECT_FALSE(to_string(Errc{9999}).empty());
}

Result<int> half_of(int value) {
  if (value % 2 != 0) return fail(Errc::invalid_argument, "odd", value);
  return value / 2;
}
Result<int> quarter_of(int value) {
  MESH_TRY(const int half, half_of(value));
  MESH_TRY(const int quarter, half_of(half));
  return quarter;
}

TEST(Result, TryPassesValueOnAndErrorUp) {
  EXPECT_EQ(quarter_of(12).value(), 3);
  const auto failed = quarter_of(6);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::invalid_argument);
  EXPECT_EQ(failed.error().detail, 3);
}

TEST(AssertDeathTest, PrintsTheExpressionAndAborts) {
  EXPECT_DEATH(MESH_ASSERT(1 + 1 == 3), "assertion failed: 1 \\+ 1 == 3");
}

TEST(ShmWord, StoresExactlyItsValueInItsOwnBytes) {
  ShmWord<std::uint64_t> word{};
  word.store_release(0x0102030405060708ULL);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(word), 0x0102030405060708ULL);
  word.store_seq_cst(1);
  EXPECT_EQ(word.load_acquire(), 1U);
  word.store_relaxed(2);
  EXPECT_EQ(word.load_seq_cst(), 2U);
  EXPECT_EQ(word.load_relaxed(), 2U);
}

TEST(Points, RunTheArmedActAtTheCountedTimeAndOnlyThere) {
  int runs = 0;
  const auto act = [](void* context) { ++*static_cast<int*>(context); };
  points::arm("test:here", 2, act, &runs);
  points::reached("test:elsewhere");
  points::reached("test:here");
  EXPECT_EQ(runs, 0);
  points::reached("test:here");
  points::reached("test:here");
  EXPECT_EQ(runs, 1);
  points::arm(nullptr, 0, nullptr, nullptr);
}

}  // namespace of_base_test
}  // namespace mesh
