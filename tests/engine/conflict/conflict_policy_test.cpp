#include "engine/conflict/conflict_policy.hpp"

namespace mesh::engine {
namespace of_conflict_policy_test {

using sched::ConflictType;

// mesh.md part 11's table, row by row.
TEST(ConflictPolicy, JudgesEveryRowOfTheTable) {
  const struct {
    ConflictFacts facts;
    std::uint8_t priority;
    ConflictStrategy strategy;
  } rows[] = {
      {{ConflictType::context_divergence, 10}, 2, ConflictStrategy::branch_and_reconcile},
      {{ConflictType::context_divergence, 11}, 3, ConflictStrategy::branch_and_reconcile},
      {{ConflictType::data_contradiction, 0, 100}, 2, ConflictStrategy::provenance_trace},
      {{ConflictType::data_contradiction, 0, 101}, 3, ConflictStrategy::provenance_trace},
      {{ConflictType::temporal_paradox}, 4, ConflictStrategy::clock_reconciliation},
      {{ConflictType::capability_mismatch}, 1, ConflictStrategy::reroute},
      {{ConflictType::hash_mismatch}, 4, ConflictStrategy::quarantine_and_reload},
      {{ConflictType::other}, 2, ConflictStrategy::human_review},
      {{ConflictType::none}, 2, ConflictStrategy::human_review},
      {{static_cast<ConflictType>(200)}, 2, ConflictStrategy::human_review},
  };
  for (const auto& row : rows) {
    const ConflictJudgement judged = judge(row.facts);
    EXPECT_EQ(judged.priority, row.priority) << static_cast<int>(row.facts.type);
    EXPECT_EQ(judged.strategy, row.strategy) << static_cast<int>(row.facts.type);
    EXPECT_EQ(judged.audience, audience_of(row.priority));
  }
}

// Depth concerns divergences alone, and the number affected contradictions alone.
TEST(ConflictPolicy, DoesNotRaiseATypeByAnothersMeasure) {
  EXPECT_EQ(judge({ConflictType::context_divergence, 0, 1'000}).priority, 2);
  EXPECT_EQ(judge({ConflictType::data_contradiction, 1'000, 0}).priority, 2);
  EXPECT_EQ(judge({ConflictType::capability_mismatch, 1'000, 1'000}).priority, 1);
}

TEST(ConflictPolicy, GivesEachPriorityItsTimeAndItsAudience) {
  EXPECT_EQ(resolve_within(0), std::nullopt);
  EXPECT_EQ(resolve_within(1), Nanos{3'600 * kNsPerSecond});
  EXPECT_EQ(resolve_within(2), Nanos{600 * kNsPerSecond});
  EXPECT_EQ(resolve_within(3), Nanos{60 * kNsPerSecond});
  EXPECT_EQ(resolve_within(4), Nanos{0});
  EXPECT_EQ(audience_of(2), Audience::none);
  EXPECT_EQ(audience_of(3), Audience::sector_coordinator);
  EXPECT_EQ(audience_of(4), Audience::operator_too);
}

TEST(ConflictPolicy, AnAgentWithoutContextCallsGetsATaskForAPerson) {
  for (const ConflictType type : {ConflictType::context_divergence, ConflictType::hash_mismatch}) {
    const ConflictFacts facts{.type = type, .has_context_calls = false};
    EXPECT_EQ(judge(facts).strategy, ConflictStrategy::human_review);
    EXPECT_EQ(judge(facts).priority, judge({.type = type}).priority);
  }
  EXPECT_EQ(judge({.type = ConflictType::temporal_paradox, .has_context_calls = false}).strategy,
            ConflictStrategy::clock_reconciliation);
}

TEST(ConflictPolicy, EveryStrategyIsStepsWithNames) {
  for (std::uint8_t at = 1; at <= static_cast<std::uint8_t>(ConflictStrategy::human_review); ++at) {
    const auto strategy = static_cast<ConflictStrategy>(at);
    EXPECT_NE(name_of(strategy), "unknown");
    EXPECT_FALSE(steps_of(strategy).empty());
    for (const ConflictStep step : steps_of(strategy)) EXPECT_NE(name_of(step), "unknown");
  }
  EXPECT_TRUE(steps_of(ConflictStrategy::none).empty());
  EXPECT_TRUE(steps_of(static_cast<ConflictStrategy>(99)).empty());
}

}  // namespace of_conflict_policy_test
}  // namespace mesh::engine
