// What is known of agents from the tasks that they were given, as a term of the choice.
#include "engine/delegate_reputation.hpp"

#include <algorithm>
#include <map>

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace mesh::engine {
namespace of_delegate_reputation_test {

using console::Attempt;
using console::AttemptEnd;

constexpr Nanos in_seconds(std::int64_t seconds) { return Nanos{seconds * kNsPerSecond}; }
constexpr AgentId agent(std::uint32_t row) { return agent_id(AgentIndex{row}, Generation{1}); }
Attempt ended(AttemptEnd end) {
  return {.agent = {}, .end = end, .took_ns = 1'000'000, .sentence = {}};
}

std::map<AgentId, double> known(const DelegateReputation& reputation, Nanos now) {
  std::map<AgentId, double> all;
  for (const auto& one : reputation.known(now)) all.emplace(one.agent, one.reputation);
  return all;
}

TEST(DelegateReputation, KnowsNobodyAndLearnsNothingFromAnswersThatAreNoEvidence) {
  DelegateReputation reputation;
  EXPECT_TRUE(reputation.known(in_seconds(1)).empty());
  for (const AttemptEnd end : {AttemptEnd::conflict, AttemptEnd::refused})
    reputation.record(agent(1), ended(end), in_seconds(1));
  EXPECT_TRUE(reputation.known(in_seconds(1)).empty());
}

TEST(DelegateReputation, WhatIsDoneRaisesItAndWhatIsNotLowersIt) {
  DelegateReputation reputation;
  reputation.record(agent(1), ended(AttemptEnd::done), in_seconds(1));
  reputation.record(agent(2), ended(AttemptEnd::declined), in_seconds(1));
  reputation.record(agent(3), ended(AttemptEnd::timed_out), in_seconds(1));
  reputation.record(agent(4), ended(AttemptEnd::expired), in_seconds(1));
  const auto all = known(reputation, in_seconds(1));
  ASSERT_EQ(all.size(), 4U);
  EXPECT_NEAR(all.at(agent(1)), 2.0 / 3, 1e-6);
  for (const std::uint32_t row : {2U, 3U, 4U}) EXPECT_NEAR(all.at(agent(row)), 1.0 / 3, 1e-6);
}

TEST(DelegateReputation, IsForgottenByHalvesEveryTenMinutes) {
  DelegateReputation reputation;
  reputation.record(agent(1), ended(AttemptEnd::declined), in_seconds(1));
  EXPECT_NEAR(known(reputation, in_seconds(601)).at(agent(1)), 1 / 2.5, 1e-6);
  EXPECT_NEAR(known(reputation, in_seconds(36'000)).at(agent(1)), 0.5, 1e-3);
}

TEST(DelegateReputation, TheNameOfARowThatIsAnothersKnowsNothingOfTheOneBefore) {
  DelegateReputation reputation;
  reputation.record(agent(1), ended(AttemptEnd::declined), in_seconds(1));
  EXPECT_FALSE(known(reputation, in_seconds(1)).contains(agent_id(AgentIndex{1}, Generation{2})));
}

TEST(DelegateReputation, OfMoreThanItHasRoomForTheOldestIsForgotten) {
  DelegateReputation reputation;
  for (std::uint32_t row = 0; row <= kReputedMax; ++row)
    reputation.record(agent(row), ended(AttemptEnd::declined), in_seconds(1));
  auto all = known(reputation, in_seconds(1));
  EXPECT_EQ(all.size(), kReputedMax);
  EXPECT_FALSE(all.contains(agent(0)));
  reputation.record(agent(0), ended(AttemptEnd::done), in_seconds(1));
  all = known(reputation, in_seconds(1));
  EXPECT_FALSE(all.contains(agent(1)));
  EXPECT_NEAR(all.at(agent(0)), 2.0 / 3, 1e-6) << "it begins anew";
}

// By a count of its own.
TEST(DelegateReputation, IsTheShareOfWhatWasDoneShrunkTowardHalf) {
  EXPECT_TRUE(rc::check([](const std::vector<std::uint8_t>& dice) {
    DelegateReputation reputation;
    std::map<AgentId, std::pair<int, int>> counted;
    for (const std::uint8_t die : dice) {
      const auto end = static_cast<AttemptEnd>(die % 6);
      const AgentId who = agent(die / 6U % 5);
      reputation.record(who, ended(end), in_seconds(1));
      if (end == AttemptEnd::conflict || end == AttemptEnd::refused) continue;
      auto& [done, failed] = counted[who];
      ++(end == AttemptEnd::done ? done : failed);
    }
    const auto all = known(reputation, in_seconds(1));
    RC_ASSERT(all.size() == counted.size());
    for (const auto& [who, counts] : counted) {
      const double expected = (counts.first + 1.0) / (counts.first + counts.second + 2.0);
      RC_ASSERT(std::abs(all.at(who) - expected) < 1e-6);
    }
  }));
}

}  // namespace of_delegate_reputation_test
}  // namespace mesh::engine
