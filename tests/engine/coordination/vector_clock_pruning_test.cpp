// Agents that go: members of a group that leave its clocks, identities that are split and joined.
#include <array>
#include <set>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "engine/coordination/blocks/interval_tree_clock.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/vector_clock.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination {
namespace of_vector_clock_pruning_test {

using causal::Emit;
using causal::Receive;

constexpr Nanos seconds(std::int64_t count) { return Nanos{count * kNsPerSecond}; }
constexpr Nanos kHour = seconds(3'600);

CausalityConfig config_of(std::uint64_t self) {
  CausalityConfig config;
  config.self = self;
  config.members_max = 3;
  config.buffer_max = 16;
  config.log_max = 64;
  config.store_bytes = 64'000;
  config.payload_bytes_max = 1'000;
  config.prune_idle_ns = kHour;
  return config;
}
Receive as_received(const CausalityReply& emitted) {
  return {emitted.dot.actor, emitted.dot.counter, emitted.gap, emitted.clock, {}};
}
struct Group {
  VectorClockCausality alice{config_of(1)};
  VectorClockCausality bob{config_of(2)};
  VectorClockCausality carol{config_of(3)};
  CausalityActions actions;

  Group() {
    for (auto* one : {&alice, &bob, &carol}) {
      for (std::uint64_t id = 1; id <= 3; ++id) one->apply(causal::AddMember{id}, Nanos{0});
      one->apply(causal::Reserve{1, 1'024}, Nanos{0});
    }
  }
  // Carol says something, and goes; Bob says something that follows from it, or keeps quiet.
  void carol_goes(bool bob_answers = true) {
    const auto said = as_received(carol.apply(Emit{}, Nanos{0}));
    for (auto* one : {&alice, &bob}) EXPECT_EQ(one->apply(said, Nanos{0}).code, Errc::ok);
    if (bob_answers) alice.apply(as_received(bob.apply(Emit{}, Nanos{0})), Nanos{0});
    for (auto* one : {&alice, &bob}) one->apply(causal::RemoveMember{3}, Nanos{0});
  }
  // Alice hears what Bob has.
  void hear(Nanos now) { alice.apply(causal::Hear{bob.rows()}, now); }
};

TEST(VectorClockPruning, TakesOutWhoIsGoneOnceEverybodyHasAllOfIt) {
  Group group;
  group.carol_goes(false);
  group.alice.tick(2 * kHour, group.actions);
  EXPECT_EQ(group.alice.counters().pruned, 0U) << "Bob has not said that he has it";
  EXPECT_EQ(group.alice.apply(causal::AddMember{4}, 2 * kHour).code, Errc::capacity);
  group.hear(2 * kHour);
  group.alice.tick(2 * kHour, group.actions);  // truncates what named her, then lets her go
  group.alice.tick(2 * kHour, group.actions);
  EXPECT_EQ(group.alice.counters().pruned, 1U);
  EXPECT_EQ(group.alice.apply(causal::AddMember{4}, 2 * kHour).code, Errc::ok) << "her place";
  EXPECT_TRUE(group.alice.verify());
}

TEST(VectorClockPruning, WaitsUntilWhoIsGoneWasSilentForAnHour) {
  Group group;
  group.carol_goes();
  group.hear(seconds(1));
  for (int i = 0; i < 3; ++i) group.alice.tick(kHour - Nanos{1}, group.actions);
  EXPECT_EQ(group.alice.counters().pruned, 0U);
  for (int i = 0; i < 2; ++i) group.alice.tick(kHour, group.actions);
  EXPECT_EQ(group.alice.counters().pruned, 1U);
}

TEST(VectorClockPruning, StillTakesWhatNamesHerAndSaysNothingOfHerItself) {
  Group group;
  group.carol_goes();
  group.hear(2 * kHour);
  for (int i = 0; i < 2; ++i) group.alice.tick(2 * kHour, group.actions);
  ASSERT_EQ(group.alice.counters().pruned, 1U);
  const auto bobs = group.bob.apply(Emit{}, Nanos{0});  // he has not let go of her yet
  EXPECT_EQ(bobs.clock.size(), 2U);
  const auto taken = group.alice.apply(as_received(bobs), 2 * kHour);
  EXPECT_EQ(taken.delivered.size(), 1U);
  const auto hers = group.alice.apply(Emit{}, 2 * kHour);
  EXPECT_EQ(hers.clock, (causal::Clock{{1, 1}, {2, 2}}));
  EXPECT_EQ(group.bob.apply(as_received(hers), Nanos{0}).delivered.size(), 1U);
  EXPECT_EQ(group.alice.apply(Receive{3, 1, 0, {{3, 1}}, {}}, 2 * kHour).code, Errc::duplicate);
  EXPECT_EQ(group.alice.apply(Receive{3, 2, 0, {{3, 2}}, {}}, 2 * kHour).code, Errc::not_found);
  const causal::Wait beyond{7, {{3, 2}}, Nanos{0}};
  EXPECT_EQ(group.alice.apply(beyond, 2 * kHour).code, Errc::not_found);
  EXPECT_EQ(group.alice.apply(causal::Wait{7, {{3, 1}}, Nanos{0}}, 2 * kHour).refusal,
            Refusal::none);
  EXPECT_TRUE(group.alice.verify());
}

TEST(VectorClockPruning, GoesOnWhereItWasWhenSheComesBack) {
  Group group;
  group.carol_goes();
  group.hear(2 * kHour);
  for (int i = 0; i < 2; ++i) group.alice.tick(2 * kHour, group.actions);
  auto again = VectorClockCausality::restore(config_of(1), group.alice.snapshot());
  ASSERT_TRUE(again) << again.error().sentence;
  ASSERT_EQ(again->apply(causal::AddMember{3}, 2 * kHour).code, Errc::ok);
  EXPECT_EQ(again->apply(Receive{3, 1, 0, {{3, 1}}, {}}, 2 * kHour).code, Errc::duplicate);
  EXPECT_EQ(again->apply(Receive{3, 2, 0, {{3, 2}}, {}}, 2 * kHour).delivered.size(), 1U);
  EXPECT_TRUE(again->verify());
}

// --- identities that are split and joined ------------------------------------------------------

TEST(IntervalTreeClock, OrdersTheExampleOfItsPaper) {
  const auto seed = IntervalTreeClock();
  const auto [a, b] = seed.fork().value();
  const auto a1 = a.event().value();
  const auto b1 = b.event().value();
  EXPECT_EQ(compare(a1, b1), CausalOrder::concurrent);
  EXPECT_EQ(compare(seed, a1), CausalOrder::before);
  const auto [a2, c] = a1.fork().value();
  const auto a3 = a2.event().value();
  const auto b2 = b1.event().value();
  const auto joined = b2.join(c).value();
  EXPECT_EQ(compare(joined, b2), CausalOrder::after);
  EXPECT_EQ(compare(joined, a3), CausalOrder::concurrent);
  const auto all = a3.join(joined).value();
  EXPECT_EQ(compare(all, a3), CausalOrder::after);
  EXPECT_EQ(all.event().value().leaves(), 2U) << "one owner again: a single number";
}

TEST(IntervalTreeClock, RefusesWhatHasNoIdentityOrTheSameOne) {
  const IntervalTreeClock seed;
  EXPECT_EQ(seed.peek().event().error().code, Errc::invalid_argument);
  EXPECT_EQ(seed.join(seed).error().code, Errc::conflict);
  const auto [a, b] = seed.fork().value();
  EXPECT_EQ(a.join(seed).error().code, Errc::conflict);
  EXPECT_TRUE(a.join(b));
  EXPECT_TRUE(a.join(seed.peek())) << "a message is no identity";
  auto deep = seed;
  for (unsigned i = 0; i < IntervalTreeClock::kDepthMax; ++i) deep = deep.fork().value().first;
  EXPECT_EQ(deep.fork().error().code, Errc::capacity);
}

// Against the sets of events that each has seen.
RC_GTEST_PROP(IntervalTreeClock, ComparesAsTheSetsOfWhatWasSeenDo, ()) {
  struct Agent {
    IntervalTreeClock clock;
    std::set<int> seen;
  };
  std::vector<Agent> agents(1);
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  int events = 0;
  for (int step = 0; step < 120; ++step) {
    const auto at = static_cast<std::size_t>(rng.below(agents.size()));
    const auto other = static_cast<std::size_t>(rng.below(agents.size()));
    switch (rng.below(4)) {
      case 0: {  // a new agent
        if (agents.size() >= 8) break;
        auto [one, two] = agents[at].clock.fork().value();
        agents[at].clock = one;
        agents.push_back({two, agents[at].seen});
        break;
      }
      case 1: {  // one retires into another
        if (at == other) break;
        agents[at].clock = agents[at].clock.join(agents[other].clock).value();
        agents[at].seen.insert(agents[other].seen.begin(), agents[other].seen.end());
        agents.erase(agents.begin() + static_cast<std::ptrdiff_t>(other));
        break;
      }
      case 2: {  // a message
        agents[at].clock = agents[at].clock.join(agents[other].clock.peek()).value();
        agents[at].seen.insert(agents[other].seen.begin(), agents[other].seen.end());
        break;
      }
      default:
        agents[at].clock = agents[at].clock.event().value();
        agents[at].seen.insert(events++);
    }
    for (const auto& a : agents) {
      for (const auto& b : agents) {
        const auto within = [](const Agent& x, const Agent& y) {
          return std::includes(y.seen.begin(), y.seen.end(), x.seen.begin(), x.seen.end());
        };
        RC_ASSERT(compare(a.clock, b.clock) == order_of(!within(b, a), !within(a, b)));
      }
    }
  }
}

}  // namespace of_vector_clock_pruning_test
}  // namespace mesh::coordination
