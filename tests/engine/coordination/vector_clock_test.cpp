#include "engine/coordination/vector_clock.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination {
namespace of_vector_clock_test {

using causal::Emit;
using causal::Receive;
using testing::golden;
using testing::Json;
using testing::matches;
using testing::Timed;

constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

// Agents of the goldens: A is 1, B is 2.
std::uint64_t agent(const std::string& name) {
  return static_cast<std::uint64_t>(name[0] - 'A' + 1);
}
std::string name(std::uint64_t agent) { return {static_cast<char>('A' + agent - 1)}; }
causal::Clock clock_of(const Json& json) {
  causal::Clock clock;
  for (const auto& [key, count] : json.items()) clock.push_back({agent(key), count});
  return clock;
}
CausalityConfig config_of(std::uint64_t self) {
  CausalityConfig config;
  config.self = self;
  config.members_max = 6;
  config.buffer_max = 16;
  config.log_max = 64;
  config.store_bytes = 64'000;
  config.payload_bytes_max = 1'000;
  config.barriers_max = 2;
  config.readers_max = 2;
  config.events_max = 8;
  return config;
}
VectorClockCausality group(const CausalityConfig& config, std::uint64_t members = 3) {
  VectorClockCausality one(config);
  for (std::uint64_t id = 1; id <= members; ++id) one.apply(causal::AddMember{id}, Nanos{0});
  one.apply(causal::Reserve{1, 1'024}, Nanos{0});
  return one;
}
Receive as_received(const CausalityReply& emitted) {
  return {emitted.dot.actor, emitted.dot.counter, emitted.gap, emitted.clock, {}};
}

// --- the group ---------------------------------------------------------------------------------

TEST(VectorClockCausality, KnowsTheGoldenStablePrefix) {
  const auto [inputs, expected] = golden("vector_clock", "matrix_stability");
  auto one = group(config_of(9), 3);  // an onlooker that has heard nothing itself
  // Its own row is what it has delivered: so it delivers what A, B and C have emitted.
  for (const auto& [who, row] : inputs.items()) {
    for (std::uint64_t i = 1; i <= row.at(who).get<std::uint64_t>(); ++i) {
      one.apply(Receive{agent(who), i, 0, {{agent(who), i}}, {}}, Nanos{0});
    }
  }
  causal::Hear rows;
  for (const auto& [who, row] : inputs.items()) rows.rows.push_back({agent(who), clock_of(row)});
  one.apply(rows, Nanos{0});
  Json actual = Json::object();
  const auto stable = one.stable_prefix();
  for (const auto& entry : stable.entries()) actual[name(entry.agent)] = entry.count;
  EXPECT_TRUE(matches(expected, actual));
  EXPECT_EQ(one.gc_blocked_by(agent("A")), (std::vector<std::uint64_t>{2, 3}));
  one.apply(causal::RemoveMember{agent("C")}, Nanos{0});
  EXPECT_EQ(one.gc_blocked_by(agent("A")), (std::vector<std::uint64_t>{2}));
  EXPECT_EQ(one.stable_prefix().at(AgentId{1}), 4U) << "only membership lets go of what C lacked";
}

TEST(VectorClockCausality, DeliversInTheGoldenOrder) {
  const auto [inputs, expected] = golden("vector_clock", "causal_delivery");
  auto one = group(config_of(9), 3);
  for (const auto& [who, count] : inputs.at("delivered").items()) {
    for (std::uint64_t i = 1; i <= count.get<std::uint64_t>(); ++i) {
      one.apply(Receive{agent(who), i, 0, {{agent(who), i}}, {}}, Nanos{0});
    }
  }
  Json actual = Json::array();
  for (const auto& step : inputs.at("receive_origin_seq_clock")) {
    const auto reply =
        one.apply(Receive{agent(step.at(0)), step.at(1), 0, clock_of(step.at(2)), {}}, Nanos{0});
    if (reply.code == Errc::duplicate) {
      actual.push_back("duplicate");
      continue;
    }
    Json delivered = Json::array();
    for (const auto& dot : reply.delivered) delivered.push_back({name(dot.actor), dot.counter});
    actual.push_back(delivered);
  }
  EXPECT_TRUE(matches(expected, actual));
  EXPECT_EQ(one.counters().duplicates, 1U);
  EXPECT_TRUE(one.verify());
}

TEST(VectorClockCausality, RefusesBadInputAndChangesNothing) {
  auto one = group(config_of(1));
  one.apply(Emit{}, Nanos{0});
  one.apply(Receive{2, 2, 0, {{2, 2}}, {}}, Nanos{0});
  one.apply(causal::Wait{5, {{2, 9}}, ms(50)}, Nanos{0});
  one.apply(causal::AddReader{4}, Nanos{0});
  const causal::Bytes big(1'001);
  testing::expect_all_refused<VectorClockCausality>(
      one, {{"time below zero", Emit{}, Errc::invalid_argument, Nanos{-1}},
            {"oversize payload", Emit{big}, Errc::invalid_argument},
            {"a member again", causal::AddMember{2}, Errc::already_exists},
            {"removal of nobody", causal::RemoveMember{77}, Errc::not_found},
            {"removal of itself", causal::RemoveMember{1}, Errc::invalid_argument},
            {"unknown origin", Receive{77, 1, 0, {{77, 1}}, {}}, Errc::not_found},
            {"unknown cause", Receive{2, 3, 0, {{2, 3}, {77, 1}}, {}}, Errc::not_found},
            {"sequence 0", Receive{2, 0, 0, {{2, 0}}, {}}, Errc::invalid_argument},
            {"no own entry", Receive{2, 3, 0, {{3, 1}}, {}}, Errc::invalid_argument},
            {"another own entry", Receive{2, 3, 0, {{2, 4}}, {}}, Errc::invalid_argument},
            {"two own entries", Receive{2, 3, 0, {{2, 3}, {2, 1}}, {}}, Errc::invalid_argument},
            {"a gap before the first", Receive{2, 3, 3, {{2, 3}}, {}}, Errc::invalid_argument},
            {"oversize payload received", Receive{2, 3, 0, {{2, 3}}, big}, Errc::invalid_argument},
            {"what is buffered", Receive{2, 2, 0, {{2, 2}}, {}}, Errc::duplicate},
            {"more of this agent than it emitted", Receive{3, 1, 0, {{3, 1}, {1, 2}}, {}},
             Errc::invalid_argument},
            {"a row of nobody", causal::Hear{{{77, {}}}}, Errc::not_found},
            {"a row that knows the future", causal::Hear{{{2, {{1, 9}}}}}, Errc::invalid_argument},
            {"barrier 0", causal::Wait{0, {}, Nanos{0}}, Errc::invalid_argument},
            {"a barrier again", causal::Wait{5, {}, Nanos{0}}, Errc::already_exists},
            {"a barrier of nobody", causal::Wait{6, {{77, 1}}, Nanos{0}}, Errc::not_found},
            {"a barrier too late", causal::Wait{6, {{2, 9}}, ms(1)}, Errc::expired, ms(2)},
            {"cancel nothing", causal::Cancel{9}, Errc::not_found},
            {"reader 0", causal::AddReader{0}, Errc::invalid_argument},
            {"a reader again", causal::AddReader{4}, Errc::already_exists},
            {"advance of nobody", causal::Advance{9, 0}, Errc::not_found},
            {"advance beyond the log", causal::Advance{4, 9}, Errc::invalid_argument},
            {"removal of no reader", causal::RemoveReader{9}, Errc::not_found},
            {"one answer", causal::Reconstruct{{{}}}, Errc::no_candidate},
            {"not from the start", causal::Reconstruct{{{}, {}}}, Errc::wrong_state},
            {"a bound that goes back", causal::Reserve{1, 5}, Errc::invalid_argument},
            {"a hole in the bounds", causal::Reserve{9'000, 9'999}, Errc::invalid_argument},
            {"a stamp from the future", causal::HearStamp{HybridStamp{9'000, 0}.word()},
             Errc::invalid_argument}});
  EXPECT_EQ(one.counters().paradoxes, 3U);
  CausalityActions actions;
  one.tick(ms(2), actions);
  EXPECT_EQ(actions.paradoxes, 3U) << "the conflict handler is told";
}

TEST(VectorClockCausality, DoesNotLeaveAGapWhenItReceivesAndThenEmits) {
  auto one = group(config_of(1));
  auto other = group(config_of(2));
  const auto first = other.apply(Emit{}, Nanos{0});
  one.apply(as_received(first), Nanos{0});
  const auto answer = one.apply(Emit{}, Nanos{0});
  EXPECT_EQ(answer.dot.counter, 1U) << "a merge that ticks would make it 2";
  EXPECT_EQ(other.apply(as_received(answer), Nanos{0}).delivered.size(), 1U);
}

TEST(VectorClockCausality, DoesNotDeliverAnEventTwice) {
  auto one = group(config_of(1));
  const Receive first{2, 1, 0, {{2, 1}}, {}};
  const Receive third{2, 3, 0, {{2, 3}}, {}};
  EXPECT_EQ(one.apply(first, Nanos{0}).delivered.size(), 1U);
  EXPECT_EQ(one.apply(third, Nanos{0}).code, Errc::ok) << "it waits for the second";
  for (const auto& again : {first, third}) {
    const auto reply = one.apply(again, Nanos{0});
    EXPECT_EQ(reply.code, Errc::duplicate);
    EXPECT_TRUE(reply.delivered.empty());
  }
  EXPECT_EQ(one.apply(Receive{2, 2, 0, {{2, 2}}, {}}, Nanos{0}).delivered.size(), 2U);
  EXPECT_EQ(one.apply(third, Nanos{0}).code, Errc::duplicate);
  EXPECT_EQ(one.counters().duplicates, 3U);
  EXPECT_EQ(one.counters().delivered, 3U);
}

TEST(VectorClockCausality, DoesNotLetABarrierEndInSilence) {
  auto one = group(config_of(1));
  one.apply(causal::Wait{8, {{3, 1}}, ms(5)}, Nanos{0});
  CausalityActions actions;
  one.tick(ms(6), actions);
  ASSERT_EQ(actions.barriers.size(), 1U);
  EXPECT_EQ(actions.barriers[0].barrier, 8U);
  EXPECT_FALSE(actions.barriers[0].is_met);
  EXPECT_EQ(one.counters().barriers_late, 1U);
  one.tick(ms(7), actions);
  EXPECT_TRUE(actions.barriers.empty()) << "once";
}

TEST(VectorClockCausality, RefusesWhatItsBufferCannotHold) {
  CausalityConfig config = config_of(1);
  config.buffer_max = 1;
  auto one = group(config);
  EXPECT_EQ(one.apply(Receive{2, 2, 0, {{2, 2}}, {}}, Nanos{0}).code, Errc::ok);
  EXPECT_EQ(one.apply(Receive{2, 3, 0, {{2, 3}}, {}}, Nanos{0}).code, Errc::capacity);
  const auto missing = one.missing();
  ASSERT_EQ(missing.size(), 1U);
  EXPECT_EQ(missing[0].origin, 2U);
  EXPECT_EQ(missing[0].first, 1U);
  EXPECT_EQ(missing[0].last, 1U);
  EXPECT_EQ(one.apply(Receive{2, 1, 0, {{2, 1}}, {}}, Nanos{0}).delivered.size(), 2U)
      << "what sets others free is taken though the buffer is full";
}

TEST(VectorClockCausality, TellsAtATickWhatItDeliversOnceItsLogHasRoom) {
  CausalityConfig config = config_of(1);
  config.log_max = 2;
  config.matrix = false;  // what is delivered and read may go
  auto one = group(config);
  one.apply(causal::AddReader{4}, Nanos{0});
  for (std::uint64_t i = 1; i <= 5; ++i) {
    const auto reply = one.apply(Receive{2, i, 0, {{2, i}}, {}}, Nanos{0});
    EXPECT_EQ(reply.delivered.size(), i <= 2 ? 1U : 0U) << "the log holds two";
  }
  CausalityActions actions;
  one.tick(Nanos{1}, actions);
  EXPECT_TRUE(actions.delivered.empty()) << "nothing of it is read yet";
  one.apply(causal::Advance{4, 2}, Nanos{2});
  one.tick(Nanos{2}, actions);
  EXPECT_EQ(actions.delivered, (std::vector<Dot>{{2, 3}, {2, 4}}));
  one.apply(causal::Advance{4, 4}, Nanos{3});
  one.tick(Nanos{3}, actions);
  EXPECT_EQ(actions.delivered, (std::vector<Dot>{{2, 5}}));
  one.tick(Nanos{4}, actions);
  EXPECT_TRUE(actions.delivered.empty()) << "each is told once";
  EXPECT_EQ(one.counters().delivered, 5U);
}

TEST(VectorClockCausality, EndsABarrierWhenItIsReachedOrLate) {
  auto one = group(config_of(1));
  CausalityActions actions;
  EXPECT_EQ(one.apply(causal::Wait{7, {{2, 1}}, Nanos{0}}, Nanos{0}).refusal, Refusal::would_block);
  EXPECT_EQ(one.apply(causal::Wait{8, {{3, 1}}, ms(5)}, Nanos{0}).refusal, Refusal::would_block);
  EXPECT_EQ(one.apply(causal::Wait{9, {{3, 1}}, ms(5)}, Nanos{0}).code, Errc::capacity);
  one.tick(ms(4), actions);
  EXPECT_TRUE(actions.barriers.empty());
  one.apply(Receive{2, 1, 0, {{2, 1}}, {}}, ms(4));
  one.tick(ms(5), actions);
  ASSERT_EQ(actions.barriers.size(), 2U);
  EXPECT_EQ(actions.barriers[0].barrier, 7U);
  EXPECT_TRUE(actions.barriers[0].is_met);
  EXPECT_FALSE(actions.barriers[1].is_met) << "too late, and it says so";
  EXPECT_EQ(one.apply(causal::Wait{7, {{2, 1}}, Nanos{0}}, ms(6)).refusal, Refusal::none);
  one.apply(causal::Wait{8, {{3, 1}}, Nanos{0}}, ms(6));
  EXPECT_EQ(one.apply(causal::Cancel{8}, ms(6)).code, Errc::ok);
}

TEST(VectorClockCausality, TruncatesOnlyWhatAllHaveAndEveryReaderHasRead) {
  auto one = group(config_of(1));
  CausalityActions actions;
  one.apply(causal::AddReader{4}, Nanos{0});
  for (int i = 0; i < 3; ++i) one.apply(Emit{}, Nanos{0});
  one.apply(causal::Advance{4, 3}, Nanos{0});
  one.tick(Nanos{0}, actions);
  EXPECT_EQ(one.counters().truncated, 0U) << "nobody else is known to have any";
  one.apply(causal::Hear{{{2, {{1, 3}}}, {3, {{1, 2}}}}}, Nanos{0});
  one.apply(causal::Advance{4, 1}, Nanos{0});
  one.tick(Nanos{0}, actions);
  EXPECT_EQ(one.counters().truncated, 1U) << "the reader has read one";
  EXPECT_EQ(one.read(4, 9).size(), 2U);
  one.apply(causal::RemoveReader{4}, Nanos{0});
  one.tick(Nanos{0}, actions);
  EXPECT_EQ(one.counters().truncated, 2U) << "3 lacks the third";
  EXPECT_EQ(one.gc_blocked_by(1), (std::vector<std::uint64_t>{3}));
}

TEST(VectorClockCausality, GivesNoDotTwiceAlsoInANewLife) {
  CausalityConfig config = config_of(1);
  config.dots_block = 8;
  auto peer = group(config_of(2));
  auto one = VectorClockCausality(config);
  CausalityActions actions;
  for (std::uint64_t id = 2; id <= 3; ++id) one.apply(causal::AddMember{id}, Nanos{0});
  EXPECT_EQ(one.apply(Emit{}, Nanos{0}).refusal, Refusal::would_block) << "nothing is reserved";
  one.tick(Nanos{0}, actions);
  EXPECT_EQ(actions.reserve.first, 1U);
  EXPECT_EQ(actions.reserve.bound, 8U);
  one.apply(actions.reserve, Nanos{0});
  for (int i = 0; i < 3; ++i) peer.apply(as_received(one.apply(Emit{}, Nanos{0})), Nanos{0});
  // Its memory is lost; its host's journal says 8, and its peers what they have.
  auto again = VectorClockCausality(config);
  for (std::uint64_t id = 2; id <= 3; ++id) again.apply(causal::AddMember{id}, Nanos{0});
  const auto joined = again.apply(causal::Reconstruct{{{{1, 3}}, {{1, 2}}}}, Nanos{0});
  EXPECT_EQ(joined.guarantee, Guarantee::plausible) << "until every member's row is heard";
  again.apply(causal::Reserve{9, 16}, Nanos{0});
  const auto next = again.apply(Emit{}, Nanos{0});
  EXPECT_EQ(next.dot.counter, 9U);
  EXPECT_EQ(next.gap, 5U) << "4 to 8 were never given out";
  EXPECT_EQ(peer.apply(as_received(next), Nanos{0}).delivered.size(), 1U);
  again.apply(causal::Hear{{{2, {{1, 3}}}, {3, {}}}}, Nanos{0});
  EXPECT_EQ(again.guarantee(), Guarantee::exact);
  const auto sound = again.verify();
  EXPECT_TRUE(sound) << sound.error().sentence;
}

// --- properties --------------------------------------------------------------------------------

// Agents emit and pass on what they have in any order, twice, late. The order of causes is known
// from how the events came about, not from their clocks.
struct World {
  explicit World(std::size_t count) : past(count) {
    for (std::uint64_t id = 1; id <= count; ++id) agents.push_back(group(config_of(id), count));
  }
  void emit(std::size_t who) {
    const auto reply = agents[who].apply(Emit{}, now);
    if (reply.dot.counter == 0) return;
    causes.push_back(past[who]);
    past[who].insert(events.size());
    events.push_back(reply);
  }
  void pass(std::size_t event, std::size_t to) {
    const auto reply = agents[to].apply(as_received(events[event]), now);
    for (const auto& dot : reply.delivered) note(to, dot);
  }
  void note(std::size_t to, const Dot& dot) {
    for (std::size_t i = 0; i < events.size(); ++i) {
      if (events[i].dot != dot) continue;
      for (const auto cause : causes[i]) RC_ASSERT(past[to].contains(cause));
      RC_ASSERT(past[to].insert(i).second);  // never twice
    }
  }
  void step() {
    const std::size_t who = *rc::gen::inRange<std::size_t>(0, agents.size());
    if (events.empty() || *rc::gen::inRange(0, 3) == 0) return emit(who);
    pass(*rc::gen::inRange<std::size_t>(0, events.size()), who);
  }

  std::vector<VectorClockCausality> agents;
  std::vector<CausalityReply> events;
  std::vector<std::set<std::size_t>> causes;
  std::vector<std::set<std::size_t>> past;
  Nanos now{0};
};

RC_GTEST_PROP(VectorClockCausality, DeliversALinearExtensionEverywhere, ()) {
  World world(*rc::gen::inRange<std::size_t>(2, 5));
  const int steps = *rc::gen::inRange(1, 60);
  for (int i = 0; i < steps; ++i) world.step();
  for (int round = 0; round < 3; ++round) {
    for (std::size_t to = 0; to < world.agents.size(); ++to) {
      for (std::size_t event = 0; event < world.events.size(); ++event) world.pass(event, to);
    }
  }
  for (std::size_t to = 0; to < world.agents.size(); ++to) {
    RC_ASSERT(world.past[to].size() == world.events.size());
    RC_ASSERT(world.agents[to].missing().empty());
    RC_ASSERT(world.agents[to].verify().has_value());
  }
  for (std::size_t a = 0; a < world.events.size(); ++a) {
    for (std::size_t b = 0; b < world.events.size(); ++b) {
      const auto order =
          compare(VectorClock::of(world.events[a].clock), VectorClock::of(world.events[b].clock));
      const bool before = world.causes[b].contains(a);
      const bool after = world.causes[a].contains(b);
      const CausalOrder truth = a == b   ? CausalOrder::equal
                                : before ? CausalOrder::before
                                : after  ? CausalOrder::after
                                         : CausalOrder::concurrent;
      RC_ASSERT(order == truth);
    }
  }
}

RC_GTEST_PROP(VectorClockCausality, LetsGoOnlyOfWhatEverybodyHas, ()) {
  World world(3);
  const int steps = *rc::gen::inRange(1, 60);
  CausalityActions actions;
  for (int i = 0; i < steps; ++i) {
    world.step();
    const std::size_t from = *rc::gen::inRange<std::size_t>(0, 3);
    const std::size_t to = *rc::gen::inRange<std::size_t>(0, 3);
    world.agents[to].apply(causal::Hear{world.agents[from].rows()}, world.now);
    world.agents[to].tick(world.now, actions);
    const auto stable = world.agents[to].stable_prefix();
    for (const auto& entry : stable.entries()) {
      for (const auto& agent : world.agents) {
        RC_ASSERT(agent.delivered().at(entry.agent) >= entry.count);
      }
    }
    RC_ASSERT(world.agents[to].verify().has_value());
  }
}

// --- replay and death --------------------------------------------------------------------------

std::vector<Timed<VectorClockCausality::Command>> trace(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<Timed<VectorClockCausality::Command>> commands{{Nanos{0}, causal::AddMember{2}},
                                                             {Nanos{0}, causal::AddMember{3}},
                                                             {Nanos{0}, causal::Reserve{1, 1'024}}};
  Nanos now{0};
  while (commands.size() < count) {
    now += ms(static_cast<std::int64_t>(rng.below(20)));
    const std::uint64_t origin = 2 + rng.below(2);
    const std::uint64_t sequence = 1 + rng.below(12);
    const std::uint64_t barrier = 1 + rng.below(3);
    switch (rng.below(10)) {
      case 0:
        commands.push_back({now, Emit{{std::byte{7}}}});
        break;
      case 1:
        commands.push_back({now, causal::Hear{{{origin, {{1, rng.below(3)}, {2, sequence}}}}}});
        break;
      case 2:
        commands.push_back({now, causal::Wait{barrier, {{origin, sequence}}, now + ms(30)}});
        break;
      case 3:
        commands.push_back({now, causal::AddReader{barrier}});
        break;
      case 4:
        commands.push_back({now, causal::Advance{barrier, sequence}});
        break;
      case 5:
        commands.push_back({now, causal::Stamp{}});
        break;
      case 6:
        commands.push_back({now, causal::HearStamp{HybridStamp{rng.below(900), 3}.word()}});
        break;
      default:
        commands.push_back({now, Receive{origin,
                                         sequence,
                                         0,
                                         {{origin, sequence}, {5 - origin, rng.below(sequence)}},
                                         {std::byte{1}}}});
    }
  }
  return commands;
}

TEST(VectorClockCausality, ReplaysToTheSameBytes) {
  for (const bool matrix : {false, true}) {
    CausalityConfig config = config_of(1);
    config.matrix = matrix;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      testing::expect_replays<VectorClockCausality>(config, trace(200, seed));
    }
  }
}

TEST(VectorClockCausality, FindsADamagedSnapshot) {
  auto one = group(config_of(1));
  one.apply(Emit{{std::byte{3}}}, Nanos{0});
  one.apply(Receive{2, 2, 0, {{2, 2}}, {}}, Nanos{0});
  testing::expect_damage_found(one, config_of(1));
}

TEST(VectorClockCausality, SurvivesADeathAtEachStepOfItsJournal) {
  testing::CrashSweep<VectorClockCausality> sweep(config_of(1), trace(40, 3));
  sweep.with_ticks();
  EXPECT_GT(sweep.run(3), 600U);
}

TEST(VectorClockCausality, NamesTheFieldThatIsOutOfRange) {
  CausalityConfig config;
  config.members_max = 0;
  EXPECT_THAT(VectorClockCausality::validate(config).error().sentence,
              ::testing::HasSubstr("members_max"));
  config = {};
  config.plausible_entries = 65;
  EXPECT_THAT(VectorClockCausality::validate(config).error().sentence,
              ::testing::HasSubstr("plausible_entries"));
  EXPECT_TRUE(CausalityConfig::preset("small-cluster")->matrix);
  EXPECT_EQ(CausalityConfig::preset("medium-network")->members_max, 256U);
  EXPECT_EQ(CausalityConfig::preset("large-federation")->plausible_entries, 64U);
}

}  // namespace of_vector_clock_test
}  // namespace mesh::coordination
