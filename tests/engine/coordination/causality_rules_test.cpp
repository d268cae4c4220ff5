// Causality where nothing but a rule decides: which of several deliverable events comes first, what
// a clock of few entries costs, how a late joiner starts.
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/vector_clock.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination {
namespace of_causality_rules_test {

using causal::Receive;

CausalityConfig config_of(std::uint64_t self) {
  CausalityConfig config;
  config.self = self;
  config.members_max = 6;
  config.buffer_max = 16;
  config.log_max = 64;
  config.store_bytes = 64'000;
  config.payload_bytes_max = 1'000;
  return config;
}
VectorClockCausality group(const CausalityConfig& config, std::uint64_t members) {
  VectorClockCausality one(config);
  for (std::uint64_t id = 1; id <= members; ++id) one.apply(causal::AddMember{id}, Nanos{0});
  return one;
}
std::vector<Dot> received(VectorClockCausality& one, const Receive& event) {
  const auto reply = one.apply(event, Nanos{0});
  EXPECT_EQ(reply.code, Errc::ok);
  return reply.delivered;
}

// --- ties --------------------------------------------------------------------------------------

// Events that all wait for 1:1: first ones of three members, whose clocks sum to 2, and a second.
TEST(CausalTies, TheLowestSumThenTheLowestOriginComesFirst) {
  auto one = group(config_of(5), 4);
  EXPECT_TRUE(received(one, {4, 1, 0, {{1, 1}, {4, 1}}, {}}).empty());
  EXPECT_TRUE(received(one, {3, 1, 0, {{1, 1}, {3, 1}}, {}}).empty());
  EXPECT_TRUE(received(one, {2, 1, 0, {{1, 1}, {2, 1}}, {}}).empty());
  EXPECT_TRUE(received(one, {2, 2, 0, {{1, 1}, {2, 2}}, {}}).empty());
  EXPECT_EQ(received(one, {1, 1, 0, {{1, 1}}, {}}),
            (std::vector<Dot>{{1, 1}, {2, 1}, {3, 1}, {4, 1}, {2, 2}}))
      << "2:2 has a sum of 3";
}

TEST(CausalTies, ASmallerSumBeatsALowerOrigin) {
  auto one = group(config_of(5), 4);
  received(one, {4, 1, 0, {{4, 1}}, {}});
  EXPECT_TRUE(received(one, {2, 1, 0, {{1, 1}, {2, 1}, {4, 1}}, {}}).empty());  // sum 3
  EXPECT_TRUE(received(one, {3, 1, 0, {{1, 1}, {3, 1}}, {}}).empty());          // sum 2
  EXPECT_EQ(received(one, {1, 1, 0, {{1, 1}}, {}}), (std::vector<Dot>{{1, 1}, {3, 1}, {2, 1}}));
}

TEST(CausalTies, EveryReplicaGoesTheSameWayWhateverCameFirst) {
  EXPECT_TRUE(rc::check("one order", [](std::uint64_t seed) {
    // Of each of three members an event that waits for 1:1, in any order of arrival.
    std::vector<Receive> events;
    for (std::uint64_t id = 2; id <= 4; ++id) events.push_back({id, 1, 0, {{1, 1}, {id, 1}}, {}});
    Rng rng(seed);
    for (std::size_t i = events.size(); i > 1; --i) std::swap(events[i - 1], events[rng.below(i)]);
    auto one = group(config_of(5), 4);
    for (const auto& event : events) one.apply(event, Nanos{0});
    const auto delivered = one.apply(Receive{1, 1, 0, {{1, 1}}, {}}, Nanos{0}).delivered;
    RC_ASSERT(delivered == (std::vector<Dot>{{1, 1}, {2, 1}, {3, 1}, {4, 1}}));
  }));
}

// --- few entries -------------------------------------------------------------------------------

struct Shares {
  int concurrent = 0;
  int ordered = 0;  // of those
  int reversed = 0;
};

// Of the pairs that are concurrent, how many a clock of `entries` orders: 12 agents, 60 events, at
// each a message of somebody's last event to the one whose turn it is, half of the time.
Shares play(std::size_t entries, std::uint64_t seed) {
  constexpr std::size_t kAgents = 12;
  Rng rng(seed);
  std::vector<PlausibleClock> clocks;
  std::vector<VectorClock> exact;
  for (std::uint64_t id = 0; id < kAgents; ++id) {
    clocks.emplace_back(entries, id);
    exact.emplace_back(AgentId{id});
  }
  std::vector<std::pair<PlausibleClock, VectorClock>> events;
  for (int i = 0; i < 60; ++i) {
    const std::size_t who = rng.below(kAgents);
    if (rng.below(2) == 0) {
      const std::size_t from = rng.below(kAgents);
      EXPECT_EQ(clocks[who].merge(clocks[from]), Errc::ok);
      exact[who].merge_inplace(exact[from]);
    }
    EXPECT_EQ(clocks[who].tick(), Errc::ok);
    EXPECT_EQ(exact[who].tick_inplace(), Errc::ok);
    events.emplace_back(clocks[who], exact[who]);
  }
  Shares shares;
  for (std::size_t i = 0; i < events.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      const auto truth = compare(events[k].second, events[i].second);
      const auto said = events[k].first.compare(events[i].first).order;
      if (truth != CausalOrder::concurrent) {
        shares.reversed += said == truth ? 0 : 1;
        continue;
      }
      ++shares.concurrent;
      shares.ordered += said == CausalOrder::concurrent ? 0 : 1;
    }
  }
  return shares;
}

Shares over_seeds(std::size_t entries) {
  Shares sum;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    const Shares one = play(entries, seed);
    sum.concurrent += one.concurrent;
    sum.ordered += one.ordered;
    sum.reversed += one.reversed;
  }
  return sum;
}
double share(const Shares& of) {
  return static_cast<double>(of.ordered) / static_cast<double>(of.concurrent);
}

TEST(PlausibleClockCost, FourEntriesForTwelveAgentsOrderAboutAThirdOfWhatIsConcurrent) {
  const Shares four = over_seeds(4);
  EXPECT_EQ(four.reversed, 0) << "what they never do";
  RecordProperty("share_of_4_ppm", static_cast<int>(share(four) * 1e6));
  EXPECT_GT(share(four), 0.2);
  EXPECT_LT(share(four), 0.45);
}

TEST(PlausibleClockCost, FourTimesTheEntriesOrderFewer) {
  const Shares sixteen = over_seeds(16);
  EXPECT_EQ(sixteen.reversed, 0);
  EXPECT_EQ(sixteen.ordered, 0) << "an entry for each of the twelve: a vector clock";
  const double two = share(over_seeds(2));
  const double eight = share(over_seeds(8));
  RecordProperty("share_of_2_ppm", static_cast<int>(two * 1e6));
  RecordProperty("share_of_8_ppm", static_cast<int>(eight * 1e6));
  EXPECT_LT(eight, two / 2);
  EXPECT_LT(eight, share(over_seeds(4)));
}

// --- late joiners ------------------------------------------------------------------------------

TEST(LateJoiner, SeedsItsPlausibleClockWithWhatAQuorumHasDelivered) {
  CausalityConfig config = config_of(4);
  config.plausible_entries = 2;
  auto late = group(config, 3);
  EXPECT_EQ(late.apply(causal::Reconstruct{{{{1, 5}}}}, Nanos{0}).code, Errc::no_candidate)
      << "one answer, where one may be wrong";
  const auto joined =
      late.apply(causal::Reconstruct{{{{1, 5}, {2, 3}}, {{1, 4}, {3, 7}}}}, Nanos{0});
  ASSERT_EQ(joined.code, Errc::ok);
  EXPECT_EQ(joined.guarantee, Guarantee::plausible);
  EXPECT_EQ(late.guarantee(), Guarantee::plausible);
  // Modulo 2: entry 1 has 1 and 3, entry 0 has 2; of the maxima 5, 3, 7.
  PlausibleClock expected(2, 4);
  VectorClock seen{AgentId{4}};
  for (const auto& [agent, count] : {std::pair{1U, 5}, std::pair{2U, 3}, std::pair{3U, 7}}) {
    VectorClock one{AgentId{agent}};
    for (int i = 0; i < count; ++i) ASSERT_EQ(one.tick_inplace(), Errc::ok);
    seen.merge_inplace(one);
  }
  expected.seed(seen);
  EXPECT_EQ(late.plausible().compare(expected).order, CausalOrder::equal);
  PlausibleClock fewer = expected;
  ASSERT_EQ(fewer.tick(), Errc::ok);
  EXPECT_EQ(late.plausible().compare(fewer).order, CausalOrder::before) << "of one event more";
  // The rows of all others: then it knows exactly again.
  late.apply(causal::Hear{{{1, {{1, 5}}}, {2, {{2, 3}}}}}, Nanos{0});
  EXPECT_EQ(late.guarantee(), Guarantee::plausible) << "3 has said nothing yet";
  late.apply(causal::Hear{{{3, {{3, 7}}}}}, Nanos{0});
  EXPECT_EQ(late.guarantee(), Guarantee::exact);
}

TEST(LateJoiner, OfALargeFederationSeedsSixtyFourEntries) {
  auto config = CausalityConfig::preset("large-federation").value();
  config.self = 1'000;
  auto late = group(config, 90);
  causal::Clock all;
  for (std::uint64_t id = 1; id <= 90; ++id) all.push_back({id, id});
  ASSERT_EQ(late.apply(causal::Reconstruct{{all, all}}, Nanos{0}).code, Errc::ok);
  PlausibleClock expected(64, 1'000);
  const VectorClock delivered = late.delivered();
  EXPECT_EQ(delivered.entries().size(), 90U);
  for (const auto& entry : delivered.entries()) EXPECT_EQ(entry.count, entry.agent);
  expected.seed(delivered);
  EXPECT_EQ(late.plausible().compare(expected).order, CausalOrder::equal);
  EXPECT_EQ(late.plausible().compare(PlausibleClock(64, 1'000)).order, CausalOrder::after);
}

// --- events ------------------------------------------------------------------------------------

TEST(CausalEvents, TellOfAParadoxAndOfAMemberThatIsGone) {
  auto one = group(config_of(1), 3);
  received(one, {2, 1, 0, {{2, 1}}, {}});
  EXPECT_EQ(one.apply(Receive{2, 2, 0, {{1, 4}, {2, 2}}, {}}, Nanos{5}).code,
            Errc::invalid_argument)
      << "4 events of this one, which has emitted none";
  one.apply(causal::RemoveMember{2}, Nanos{6});
  std::vector<EventRecord> told;
  one.events().after(0, [&](const EventRecord& event) { told.push_back(event); });
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].kind, static_cast<std::uint16_t>(VectorClockCausality::Event::paradox));
  EXPECT_EQ(told[0].a, 2U) << "who says so";
  EXPECT_EQ(told[0].b, 4U) << "how far";
  EXPECT_EQ(told[1].kind, static_cast<std::uint16_t>(VectorClockCausality::Event::member_gone));
  EXPECT_EQ(told[1].a, 2U);
  EXPECT_EQ(told[1].b, 1U) << "its last event here";
}

}  // namespace of_causality_rules_test
}  // namespace mesh::coordination
