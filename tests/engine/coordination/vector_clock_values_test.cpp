// The values of causality by themselves: vectors, plausible clocks, stamps, dotted values.
#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "engine/coordination/blocks/dotted_values.hpp"
#include "engine/coordination/blocks/hybrid_clock.hpp"
#include "engine/coordination/blocks/version_vector.hpp"
#include "tests/engine/coordination/goldens.hpp"

namespace mesh::coordination {
namespace of_vector_clock_values_test {

using testing::golden;
using testing::Json;
using testing::matches;

// Agents of the goldens: A is 1, B is 2.
std::vector<ClockEntry> clock_of(const Json& json) {
  std::vector<ClockEntry> clock;
  for (const auto& [key, count] : json.items()) {
    clock.push_back({static_cast<std::uint64_t>(key[0] - 'A' + 1), count});
  }
  return clock;
}
std::string to_text(CausalOrder order) {
  constexpr std::array<const char*, 4> kNames{"equal", "before", "after", "concurrent"};
  return kNames[static_cast<std::size_t>(order)];
}

TEST(VectorClock, ComparesTheGoldenPairs) {
  const auto [inputs, expected] = golden("vector_clock", "compare");
  Json actual = Json::array();
  for (const auto& pair : inputs) {
    const auto a = VectorClock::of(clock_of(pair.at(0)));
    const auto b = VectorClock::of(clock_of(pair.at(1)));
    actual.push_back(to_text(compare(a, b)));
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(VectorClock, OrdersTheReferenceExample) {
  const AgentId a{1};
  const AgentId b{2};
  const auto ca = tick(VectorClock{a}).value();
  const auto cb = tick(VectorClock{b}).value();
  EXPECT_EQ(compare(ca, cb), CausalOrder::concurrent);
  EXPECT_EQ(compare(ca, merge(ca, cb)), CausalOrder::before);
  EXPECT_TRUE(dominates(merge(ca, cb), cb));
  EXPECT_EQ(merge(ca, cb).at(a), 1U) << "merge must not tick";
}

TEST(VectorClock, RefusesToCountBeyondItsEnd) {
  VectorClock clock{AgentId{7}};
  clock.set(7, UINT64_MAX);
  EXPECT_EQ(clock.tick_inplace(), Errc::overflow);
  EXPECT_EQ(clock.at(AgentId{7}), UINT64_MAX);
  EXPECT_EQ(VectorClock{}.tick_inplace(), Errc::invalid_argument);
  EXPECT_EQ(tick(clock).error().code, Errc::overflow);
}

RC_GTEST_PROP(VectorClock, IsAMapWithTheOrderOfItsEntries, ()) {
  using Map = std::map<std::uint64_t, std::uint64_t>;
  const auto draw = [] {
    Map map;
    const int count = *rc::gen::inRange(0, 24);
    for (int i = 0; i < count; ++i) {
      const auto key = *rc::gen::inRange<std::uint64_t>(0, 20);
      const auto value = *rc::gen::inRange<std::uint64_t>(0, 3);
      map[key] = value;
      if (value == 0) map.erase(key);
    }
    return map;
  };
  const auto clock = [](const Map& map) {
    VectorClock built;
    built.set(3, 9);  // and away again
    for (const auto& [key, value] : map) built.set(key, value);
    if (!map.contains(3)) built.set(3, 0);
    return built;
  };
  const Map left = draw();
  const Map right = draw();
  const auto at = [](const Map& map, std::uint64_t key) {
    return map.contains(key) ? map.at(key) : 0;
  };
  bool less = false;
  bool more = false;
  for (std::uint64_t key = 0; key < 20; ++key) {
    less = less || at(left, key) < at(right, key);
    more = more || at(left, key) > at(right, key);
    RC_ASSERT(clock(left).at(key) == at(left, key));
    RC_ASSERT(merge(clock(left), clock(right)).at(key) == std::max(at(left, key), at(right, key)));
  }
  RC_ASSERT(compare(clock(left), clock(right)) == order_of(less, more));
  const VectorClock made = clock(left);
  RC_ASSERT(made.entries().size() == left.size());
}

// Clocks of a domain name the same agents, mostly: they are compared a block at a time until one
// that differs.
RC_GTEST_PROP(VectorClock, ComparesClocksOfTheSameAgentsAsAnyOthers, ()) {
  const auto agents = *rc::gen::inRange<std::uint64_t>(0, 22);
  VectorClock left;
  VectorClock right;
  bool less = false;
  bool more = false;
  const auto bias = *rc::gen::inRange(0, 3);  // none, or one of them is ahead for the most part
  for (std::uint64_t agent = 0; agent < agents; ++agent) {
    auto one = *rc::gen::inRange<std::uint64_t>(1, 3);
    auto other = *rc::gen::inRange<std::uint64_t>(1, 3);
    if (bias == 1) one += 2;
    if (bias == 2) other += 2;
    if (*rc::gen::inRange(0, 12) == 0) one = 0;
    if (*rc::gen::inRange(0, 12) == 0) other = 0;
    constexpr std::uint64_t kHalf = std::uint64_t{1} << 63;
    if (one != 0 && *rc::gen::inRange(0, 20) == 0) one += kHalf - 2;
    if (other != 0 && *rc::gen::inRange(0, 20) == 0) other = UINT64_MAX - other;
    left.set(agent * 977, one);
    right.set(agent * 977, other);
    less = less || one < other;
    more = more || one > other;
  }
  RC_ASSERT(compare(left, right) == order_of(less, more));
  RC_ASSERT(compare(right, left) == order_of(more, less));
  RC_ASSERT(compare(left, left) == CausalOrder::equal);
}

TEST(HybridClock, StampsTheGoldenSteps) {
  const auto [inputs, expected] = golden("vector_clock", "hybrid_logical_clock");
  HybridClock clock({inputs.at("start").at(0), inputs.at("start").at(1)});
  Json actual = Json::array();
  for (const auto& step : inputs.at("steps_pt_or_pt_l_c")) {
    if (step.size() == 1) {
      clock.tick(step.at(0));
    } else {
      EXPECT_EQ(clock.receive({step.at(1), step.at(2)}, step.at(0)), Errc::ok);
    }
    actual.push_back({clock.last().ms, clock.last().counter});
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(HybridClock, NeverGoesBackAndLetsNobodyDragItAhead) {
  HybridClock clock({100, 0xFFFF});
  EXPECT_EQ(clock.tick(50), (HybridStamp{101, 0})) << "a full counter moves on by a ms";
  EXPECT_EQ(clock.receive({601, 0}, 100), Errc::invalid_argument);
  EXPECT_EQ(clock.last(), (HybridStamp{101, 0}));
  EXPECT_EQ(clock.receive({600, 0}, 100), Errc::ok) << "500 ms ahead is allowed";
  EXPECT_EQ(clock.receive({0, 0x1'0000}, 100), Errc::invalid_argument);
  EXPECT_EQ(HybridStamp::of(clock.last().word()), clock.last());
}

TEST(DottedValues, KeepsTheGoldenSiblings) {
  const auto [inputs, expected] = golden("vector_clock", "dotted_version_vector");
  DottedValues<std::string> values;
  Json actual = Json::array();
  for (const auto& write : inputs.at("writes_context_value")) {
    VectorClock context;
    context.set(1, write.at(0));
    EXPECT_EQ(values.update(context, write.at(1), 1), Errc::ok);
    Json siblings = Json::object();
    for (const auto& one : values.siblings()) siblings[std::to_string(one.dot.counter)] = one.value;
    actual.push_back(siblings);
  }
  EXPECT_TRUE(matches(expected, actual));
}

// Writers at two replicas, each with a context that it read some time ago: what is left is what no
// other write had seen.
RC_GTEST_PROP(DottedValues, HoldsTheMaximalConcurrentWrites, ()) {
  std::array<DottedValues<int>, 2> replicas;
  struct Write {
    Dot dot;
    VectorClock context;
  };
  std::vector<Write> writes;
  std::vector<VectorClock> reads(1);
  const int steps = *rc::gen::inRange(1, 25);
  for (int i = 0; i < steps; ++i) {
    const std::size_t at = *rc::gen::inRange<std::size_t>(0, 2);
    auto& replica = replicas[at];
    const int what = *rc::gen::inRange(0, 4);
    if (what == 0) {
      replica.sync(replicas[1 - at]);
    } else if (what == 1) {
      reads.push_back(replica.context());
    } else {
      const auto context = *rc::gen::elementOf(reads);
      // A client reads what it writes to: nothing of an actor is in its context that is not here.
      if (!dominates(replica.context(), context)) continue;
      RC_ASSERT(replica.update(context, i, at + 1) == Errc::ok);
      writes.push_back({{at + 1, replica.context().at(at + 1)}, context});
    }
  }
  replicas[0].sync(replicas[1]);
  replicas[1].sync(replicas[0]);
  std::set<Dot> expected;
  for (const auto& one : writes) {
    const bool is_seen = std::any_of(writes.begin(), writes.end(), [&](const Write& other) {
      return other.context.at(one.dot.actor) >= one.dot.counter;
    });
    if (!is_seen) expected.insert(one.dot);
  }
  for (const auto& replica : replicas) {
    std::set<Dot> left;
    for (const auto& one : replica.siblings()) left.insert(one.dot);
    RC_ASSERT(left == expected);
  }
}

RC_GTEST_PROP(PlausibleClock, NeverReversesACause, ()) {
  constexpr std::size_t kAgents = 12;
  std::vector<PlausibleClock> clocks;
  std::vector<VectorClock> exact;
  for (std::uint64_t id = 0; id < kAgents; ++id) {
    clocks.emplace_back(4, id);
    exact.emplace_back(AgentId{id});
  }
  std::vector<std::pair<PlausibleClock, VectorClock>> events;
  for (int i = 0; i < 60; ++i) {
    const std::size_t who = *rc::gen::inRange<std::size_t>(0, kAgents);
    if (!events.empty() && *rc::gen::arbitrary<bool>()) {
      const auto& [clock, vector] = *rc::gen::elementOf(events);
      RC_ASSERT(clocks[who].merge(clock) == Errc::ok);
      exact[who].merge_inplace(vector);
    }
    RC_ASSERT(clocks[who].tick() == Errc::ok);
    RC_ASSERT(exact[who].tick_inplace() == Errc::ok);
    events.emplace_back(clocks[who], exact[who]);
  }
  for (const auto& [clock, vector] : events) {
    for (const auto& [other, others_vector] : events) {
      const CausalOrder truth = compare(vector, others_vector);
      const auto verdict = clock.compare(other);
      if (truth == CausalOrder::before) RC_ASSERT(verdict.order == CausalOrder::before);
      if (truth == CausalOrder::after) RC_ASSERT(verdict.order == CausalOrder::after);
      if (verdict.guarantee == Guarantee::exact) RC_ASSERT(verdict.order == truth);
    }
  }
}

}  // namespace of_vector_clock_values_test
}  // namespace mesh::coordination
