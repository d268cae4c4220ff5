// The parts of strategies that are computed: merging, weighing, ordering.
#include <algorithm>
#include <initializer_list>
#include <random>

#include "engine/conflict/causal_order.hpp"
#include "engine/conflict/context_branches.hpp"
#include "engine/conflict/provenance.hpp"

namespace mesh::engine {
namespace of_conflict_strategies_test {

TEST(ContextBranches, TakesEachEntryFromTheBranchThatChangedIt) {
  const MergedContext merged = merge({.ancestor = {{"a", "1"}, {"b", "1"}, {"c", "1"}, {"d", "1"}},
                                      .ours = {{"a", "2"}, {"b", "1"}, {"d", "1"}, {"new", "x"}},
                                      .theirs = {{"a", "1"}, {"b", "3"}, {"c", "1"}, {"d", "1"}}});
  EXPECT_TRUE(merged.is_whole());
  EXPECT_EQ(merged.merged, (ContextEntries{{"a", "2"}, {"b", "3"}, {"d", "1"}, {"new", "x"}}));
}

TEST(ContextBranches, NamesWhatBothChangedDifferently) {
  const MergedContext merged =
      merge({.ancestor = {{"a", "1"}, {"b", "1"}, {"c", "1"}},
             .ours = {{"a", "2"}, {"c", "9"}, {"new", "x"}},
             .theirs = {{"a", "3"}, {"b", "5"}, {"c", "9"}, {"new", "y"}}});
  EXPECT_EQ(merged.contradicted, (std::vector<std::string>{"a", "b", "new"}));
}

RC_GTEST_PROP(ContextBranches, MergingIsSymmetricAndAnUnchangedBranchAddsNothing,
              (const ContextEntries& ancestor, const ContextEntries& ours,
               const ContextEntries& theirs)) {
  RC_ASSERT(merge({ancestor, ours, theirs}) == merge({ancestor, theirs, ours}));
  RC_ASSERT(merge({ancestor, ours, ancestor}).merged == ours);
  RC_ASSERT(merge({ancestor, ours, ours}).merged == ours);
  const MergedContext merged = merge({ancestor, ours, theirs});
  for (const std::string& name : merged.contradicted) RC_ASSERT(!merged.merged.contains(name));
}

Testimony says(std::string value, std::uint64_t origin, std::uint32_t reliability) {
  return {std::move(value), AgentId{origin}, reliability};
}

TEST(Provenance, TheValueOfMoreReliableOriginsIsTaken) {
  const auto verdict = stronger(
      std::vector{says("red", 1, 900'000), says("blue", 2, 400'000), says("blue", 3, 300'000)});
  EXPECT_EQ(verdict.value, "red");
  EXPECT_EQ(verdict.weight, 900'000U);
  EXPECT_EQ(verdict.weight_of_all, 1'600'000U);
}

TEST(Provenance, DoesNotCountAnOriginAgainForEveryAgentThatRepeatedIt) {
  const auto verdict = stronger(std::vector{says("rumour", 1, 500'000), says("rumour", 1, 500'000),
                                            says("rumour", 1, 500'000), says("seen", 2, 700'000)});
  EXPECT_EQ(verdict.value, "seen");
  EXPECT_EQ(verdict.origins, 1U);
}

TEST(Provenance, AnOriginThatContradictsItselfCountsForNothing) {
  const auto verdict = stronger(
      std::vector{says("a", 1, 1'000'000), says("b", 1, 1'000'000), says("b", 2, 100'000)});
  EXPECT_EQ(verdict.value, "b");
  EXPECT_EQ(verdict.weight, 100'000U);
  EXPECT_EQ(verdict.discarded, 1U);
}

TEST(Provenance, EvidenceThatIsTooEvenIsLeftToAPerson) {
  EXPECT_EQ(stronger(std::vector{says("a", 1, 500'000), says("b", 2, 500'000)}).value,
            std::nullopt);
  // Ahead by exactly a tenth of all: not more than that.
  EXPECT_EQ(stronger(std::vector{says("a", 1, 550'000), says("b", 2, 450'000)}).value,
            std::nullopt);
  EXPECT_EQ(stronger(std::vector{says("a", 1, 550'001), says("b", 2, 450'000)}).value, "a");
  EXPECT_EQ(stronger({}).value, std::nullopt);
  EXPECT_EQ(stronger(std::vector{says("a", 1, 0)}).value, std::nullopt);
}

RC_GTEST_PROP(Provenance, TheOrderOfReportsDecidesNothing, ()) {
  std::vector<Testimony> testimonies;
  for (std::size_t i = *rc::gen::inRange<std::size_t>(0, 12); i > 0; --i)
    testimonies.push_back(says(std::string(1, *rc::gen::inRange<char>('a', 'e')),
                               *rc::gen::inRange<std::uint64_t>(1, 6),
                               *rc::gen::inRange<std::uint32_t>(0, 1'000'001)));
  const auto first = stronger(testimonies);
  std::shuffle(testimonies.begin(), testimonies.end(),
               std::mt19937_64(*rc::gen::arbitrary<std::uint64_t>()));
  const auto second = stronger(testimonies);
  RC_ASSERT(first.value == second.value);
  RC_ASSERT(first.weight == second.weight);
}

using coordination::CausalOrder;
using coordination::VectorClock;

constexpr AgentId kA{1};
constexpr AgentId kB{2};
constexpr AgentId kC{3};

VectorClock clock_of(std::initializer_list<std::pair<AgentId, std::uint64_t>> counts) {
  VectorClock made;
  for (const auto& [agent, count] : counts) made.set(static_cast<std::uint64_t>(agent), count);
  return made;
}

// b answered a's message, and its wall clock is an hour behind: the answer looks older.
TEST(CausalOrder, PutsTheCauseFirstWhateverTheWallClocksSay) {
  const std::vector<ClockedEvent> events = {
      {kB, WireTime{100}, clock_of({{kA, 1}, {kB, 1}})},  // the answer
      {kA, WireTime{3'700}, clock_of({{kA, 1}})},         // the message
      {kC, WireTime{200}, clock_of({{kC, 1}})},           // of neither
  };
  EXPECT_EQ(*causal_order(events), (std::vector<std::size_t>{2, 1, 0}));
}

TEST(CausalOrder, RefusesClocksThatNoRunOfEventsHas) {
  const auto code = [](const std::vector<ClockedEvent>& events) {
    return causal_order(events).error().code;
  };
  EXPECT_EQ(code({{kA, WireTime{1}, clock_of({{kB, 1}})}}), Errc::corrupt);
  EXPECT_EQ(code({{kA, WireTime{1}, clock_of({{kA, 1}})},
                  {kA, WireTime{2}, clock_of({{kA, 1}, {kB, 4}})}}),
            Errc::corrupt);
  EXPECT_EQ(code({{kA, WireTime{1}, clock_of({{kA, 1}, {kB, 1}})},
                  {kB, WireTime{1}, clock_of({{kA, 1}, {kB, 1}})}}),
            Errc::corrupt);
  EXPECT_EQ(code(std::vector<ClockedEvent>(kCausalEventsMax + 1)), Errc::capacity);
  EXPECT_TRUE(causal_order({})->empty());
}

// A run of agents that act and tell each other, then shuffled.
std::vector<ClockedEvent> random_run(std::mt19937_64& random) {
  constexpr std::size_t kAgents = 4;
  std::array<VectorClock, kAgents> clocks;
  std::vector<ClockedEvent> events;
  for (int i = 0; i < 30; ++i) {
    const std::size_t who = random() % kAgents;
    const std::size_t other = random() % kAgents;
    if (random() % 2 == 0) {
      clocks[who].merge_inplace(clocks[other]);
    }
    EXPECT_EQ(clocks[who].tick_inplace(who + 1), Errc::ok);
    events.push_back({AgentId{who + 1}, static_cast<WireTime>(random() % 10), clocks[who]});
  }
  std::shuffle(events.begin(), events.end(), random);
  return events;
}

RC_GTEST_PROP(CausalOrder, HoldsEveryCauseBeforeItsEffectAndDoesNotDependOnTheInput, ()) {
  std::mt19937_64 random(*rc::gen::arbitrary<std::uint64_t>());
  auto events = random_run(random);
  const auto ordered = [](const std::vector<ClockedEvent>& from) {
    const auto order = causal_order(from);
    RC_ASSERT(order.has_value());
    RC_ASSERT(order->size() == from.size());
    std::vector<ClockedEvent> result;
    for (const std::size_t at : *order) result.push_back(from[at]);
    return result;
  };
  const auto first = ordered(events);
  for (std::size_t i = 0; i < first.size(); ++i) {
    for (std::size_t j = i + 1; j < first.size(); ++j)
      RC_ASSERT(compare(first[j].clock, first[i].clock) != CausalOrder::before);
  }
  std::shuffle(events.begin(), events.end(), random);
  const auto second = ordered(events);
  for (std::size_t i = 0; i < first.size(); ++i)
    RC_ASSERT(compare(first[i].clock, second[i].clock) == CausalOrder::equal);
}

}  // namespace of_conflict_strategies_test
}  // namespace mesh::engine
