// The agents of a swarm process, on virtual time.
#include "tools/swarm_agents.hpp"

#include "tests/seed.hpp"

namespace mesh::testing {
namespace of_swarm_agents_test {

using tools::SwarmAgents;
using tools::SwarmAnswer;
using tools::SwarmPopulation;
using tools::SwarmProfile;

constexpr std::uint32_t kNoLimit = UINT32_MAX;
constexpr std::int64_t kStart = 1'000'000;

SwarmAgents agents_of(const SwarmPopulation& population, std::uint32_t first, std::uint32_t count,
                      std::uint32_t capacity) {
  auto agents = SwarmAgents::create(population, {.share = {first, count}, .capacity = capacity});
  EXPECT_TRUE(agents);
  return std::move(*agents);
}

std::vector<SwarmAnswer> advance(SwarmAgents& agents, std::int64_t now_ns,
                                 std::uint32_t limit = kNoLimit) {
  std::vector<SwarmAnswer> answers;
  agents.advance(now_ns, limit, [&](const SwarmAnswer& answer) { answers.push_back(answer); });
  return answers;
}

TEST(SwarmAgents, RefusesNobodyAndNothingToHold) {
  const SwarmPopulation population({});
  EXPECT_EQ(SwarmAgents::create(population, {.share = {0, 0}, .capacity = 1}).error().code,
            Errc::invalid_argument);
  EXPECT_EQ(SwarmAgents::create(population, {.share = {0, 1}, .capacity = 0}).error().code,
            Errc::invalid_argument);
}

TEST(SwarmAgents, RefusesADeliveryMoreThanItHolds) {
  const SwarmPopulation population({});
  SwarmAgents agents = agents_of(population, 0, 2, 1);
  EXPECT_EQ(agents.accept(0, 1, kStart), 0U);
  EXPECT_EQ(agents.accept(1, 1, kStart), SwarmAgents::kFull);
  EXPECT_EQ(agents.held(), 1U);
  EXPECT_EQ(agents.queue_depth(1), 0U) << "what is refused was not delivered";
}

TEST(SwarmAgents, HoldADeliveryForDelayThenProcessingThenAnswer) {
  const SwarmPopulation population({.seed = seed()});
  SwarmAgents agents = agents_of(population, 100, 30, 30);
  const tools::DeliveryDraw drawn = population.delivery(105, {});
  const std::uint32_t ticket = agents.accept(105, 1, kStart);
  EXPECT_EQ(agents.queue_depth(105), 1U);
  const std::int64_t arrival = kStart + drawn.delay_ns;
  EXPECT_EQ(agents.next_due_ns(), arrival + drawn.processing_ns);
  EXPECT_TRUE(advance(agents, arrival + drawn.processing_ns - 1).empty());
  const auto answers = advance(agents, arrival + drawn.processing_ns);
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].ticket, ticket);
  EXPECT_EQ(answers[0].outcome, drawn.outcome);
  EXPECT_EQ(answers[0].received_ns, arrival);
  EXPECT_EQ(answers[0].finished_ns, arrival + drawn.processing_ns);
  EXPECT_EQ(agents.queue_depth(105), 0U);
  EXPECT_EQ(agents.next_due_ns(), SwarmAgents::kNever);
}

// What the process is late by is in when it answers, and nowhere else.
TEST(SwarmAgents, ReportWhenThePumpAnsweredNotWhenItShouldHave) {
  const SwarmPopulation population({.seed = seed()});
  SwarmAgents agents = agents_of(population, 0, 1, 1);
  const tools::DeliveryDraw drawn = population.delivery(0, {});
  (void)agents.accept(0, 1, kStart);
  const std::int64_t arrival = kStart + drawn.delay_ns;
  EXPECT_TRUE(advance(agents, arrival + 12'345).empty());
  const std::int64_t late = arrival + drawn.processing_ns + 678;
  const auto answers = advance(agents, late);
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].received_ns, arrival);
  EXPECT_EQ(answers[0].finished_ns, late);
}

TEST(SwarmAgents, WorkSlowerOnALongerQueue) {
  const SwarmPopulation population({.seed = seed()});
  SwarmAgents agents = agents_of(population, 0, 1, 3);
  std::map<std::uint32_t, tools::DeliveryDraw> expected;
  for (std::uint32_t i = 0; i < 3; ++i) {
    expected[agents.accept(0, 0.5, kStart)] =
        population.delivery(0, {.delivery = i, .queue_depth = i, .weight = 0.5});
  }
  EXPECT_EQ(agents.queue_depth(0), 3U);
  while (agents.held() > 0) {
    for (const SwarmAnswer& answer : advance(agents, agents.next_due_ns())) {
      EXPECT_EQ(answer.finished_ns - answer.received_ns, expected.at(answer.ticket).processing_ns);
    }
  }
}

TEST(SwarmAgents, LocalAnswersInTheTurnThatPolled) {
  const SwarmPopulation population({.seed = seed(), .profile = SwarmProfile::local});
  SwarmAgents agents = agents_of(population, 0, 100, 100);
  for (std::uint32_t i = 0; i < 100; ++i) EXPECT_EQ(agents.accept(i, 1, kStart), i);
  const auto answers = advance(agents, kStart);
  ASSERT_EQ(answers.size(), 100U);
  for (const SwarmAnswer& answer : answers) {
    EXPECT_EQ(answer.received_ns, kStart);
    EXPECT_EQ(answer.finished_ns, kStart);
  }
}

TEST(SwarmAgents, AdvanceStopsAtItsLimitAndSaysSo) {
  const SwarmPopulation population({.profile = SwarmProfile::local});
  SwarmAgents agents = agents_of(population, 0, 10, 10);
  for (std::uint32_t i = 0; i < 10; ++i) (void)agents.accept(i, 1, kStart);
  int finished = 0;
  int turns = 0;
  while (agents.advance(kStart, 3, [&](const SwarmAnswer&) { ++finished; })) ++turns;
  EXPECT_EQ(finished, 10);
  EXPECT_GE(turns, 10 / 3);
}

// Every delivery that was accepted ends exactly once, in order of time, however turns fall.
RC_GTEST_PROP(SwarmAgents, EndEveryDeliveryOnce, ()) {
  const auto drawn_seed = *rc::gen::arbitrary<std::uint64_t>();
  const SwarmPopulation population({.seed = drawn_seed});
  SwarmAgents agents = agents_of(population, 30, 30, 64);
  std::set<std::uint32_t> open;
  std::int64_t now = kStart;
  std::int64_t last = 0;
  const auto turn = [&] {
    for (const SwarmAnswer& answer : advance(agents, now, 16)) {
      RC_ASSERT(open.erase(answer.ticket) == 1U);
      RC_ASSERT(answer.received_ns <= answer.finished_ns);
      RC_ASSERT(answer.finished_ns >= last);
      last = answer.finished_ns;
    }
  };
  for (int i = 0; i < 200; ++i) {
    const std::uint32_t ticket = agents.accept(*rc::gen::inRange(30U, 60U), 1, now);
    if (ticket == SwarmAgents::kFull) {
      RC_ASSERT(open.size() == 64U);
    } else {
      RC_ASSERT(open.insert(ticket).second);
    }
    RC_ASSERT(agents.held() == open.size());
    now += *rc::gen::inRange<std::int64_t>(0, 30'000'000);
    turn();
  }
  while (!open.empty()) {
    now = std::max(now, agents.next_due_ns());
    turn();
  }
  RC_ASSERT(agents.held() == 0U);
}

}  // namespace of_swarm_agents_test
}  // namespace mesh::testing
