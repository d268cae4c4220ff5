// Comparable operations: BYZANTINE_BEHAVIOR and DATA_CONTRADICTION (mesh.md part 12).
#include <rapidcheck.h>

#include "engine/loop/comparing.hpp"
#include "shm/hash.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace of_engine_loop_comparing_test {

using Verdict = OutcomesCompared::Verdict;

struct KeptNotes final : ConflictSink {
  std::vector<ConflictNote> notes;
  bool take(const ConflictNote& note, const Carried& /*carried*/) noexcept override {
    notes.push_back(note);
    return true;
  }
};

// One station of so many agents, each of which says what it is told to; nothing: it is silent.
struct Compared : LoopFixture {
  using Saying = std::optional<std::string>;
  explicit Compared(std::uint32_t agents) : LoopFixture(100, 3) {
    again();
    add(1, agents, "a");
  }
  void again() {
    loop.reset();
    loop = must(EngineLoop::create({size, table.span(), payload.span(), engine.span()}, options,
                                   {.wakes = &wakes, .conflicts = &kept}));
    for (auto& station : stations) must(loop->readopt(station->number, station->memory(), 1000));
  }
  RawStation& station() { return *stations.front(); }
  void ask(bool comparable = true) {
    must(loop->open({.timeout = Nanos{100 * kMs},
                     .at_once = true,
                     .comparable = comparable,
                     .body = bytes("?")},
                    from_ns(now_ns)));
    tick();
    tick(kMs);
  }
  void answer(const std::vector<Saying>& sayings) {
    for (const auto& delivery : station().poll()) {
      const auto at = static_cast<std::size_t>(
          std::find(ids[1].begin(), ids[1].end(), delivery.target) - ids[1].begin());
      if (!sayings[at]) continue;
      if (sayings[at]->empty())
        ASSERT_TRUE(station().answer(delivery, TrinaryState::ready, now_ns));
      else
        ASSERT_TRUE(station().answer_with(delivery, bytes(*sayings[at]), now_ns));
    }
    tick(kMs);
  }
  OutcomesCompared end() {
    tick(200 * kMs);
    const auto finished = loop->take_finished();
    EXPECT_TRUE(finished.has_value());
    return finished ? finished->compared : OutcomesCompared{};
  }
  OutcomesCompared compare(const std::vector<Saying>& sayings) {
    ask();
    answer(sayings);
    return end();
  }
  KeptNotes kept;
};

std::vector<Compared::Saying> sayings(std::size_t same, const std::vector<std::string>& others) {
  std::vector<Compared::Saying> all(same, "7");
  all.insert(all.end(), others.begin(), others.end());
  return all;
}

TEST(Comparable, NobodyIsAccusedWhereAllSayTheSame) {
  Compared mesh(8);
  const OutcomesCompared compared = mesh.compare(sayings(8, {}));
  EXPECT_EQ(compared.verdict, Verdict::agreed);
  EXPECT_EQ(compared.answers, 8U);
  EXPECT_EQ(compared.majority, shm::hash64(std::string_view("7")));
  EXPECT_EQ(compared.majority_count, 8U);
  EXPECT_TRUE(mesh.kept.notes.empty());
}

TEST(Comparable, AnOperationThatIsNotMarkedIsNotCompared) {
  Compared mesh(8);
  mesh.ask(false);
  mesh.answer(sayings(7, {"8"}));
  EXPECT_EQ(mesh.end().verdict, Verdict::not_compared);
  EXPECT_TRUE(mesh.kept.notes.empty());
  EXPECT_EQ(mesh.loop->counters().byzantine, 0U);
}

TEST(ByzantineBehavior, IsToDifferFromMoreThanTwoThirdsOfAtLeastSeven) {
  Compared mesh(7);
  const OutcomesCompared compared = mesh.compare(sayings(5, {"8", "9"}));  // 5/7 > 2/3
  EXPECT_EQ(compared.verdict, Verdict::outliers);
  EXPECT_EQ(compared.majority_count, 5U);
  ASSERT_EQ(mesh.kept.notes.size(), 2U);
  const ConflictNote& note = mesh.kept.notes[0];
  EXPECT_TRUE(note.is_byzantine);
  EXPECT_EQ(note.agent, mesh.ids[1][5]);
  EXPECT_EQ(mesh.kept.notes[1].agent, mesh.ids[1][6]);
  EXPECT_NE(note.answer, mesh.kept.notes[1].answer) << "one conflict each";
  EXPECT_EQ(note.type, sched::ConflictType::hash_mismatch);
  EXPECT_TRUE(note.has_values);
  EXPECT_EQ(note.expected, shm::hash64(std::string_view("7"))) << "the evidence";
  EXPECT_EQ(note.received, shm::hash64(std::string_view("8")));
  EXPECT_NE(note.operation, OperationId{});
  EXPECT_EQ(mesh.loop->counters().byzantine, 2U);
  EXPECT_EQ(mesh.loop->counters().breaker_failures, 0U) << "it is no failure that breakers count";
}

TEST(ByzantineBehavior, IsNotFoundAmongSixNorByExactlyTwoThirds) {
  Compared six(6);
  EXPECT_EQ(six.compare(sayings(5, {"8"})).verdict, Verdict::too_few);
  EXPECT_TRUE(six.kept.notes.empty());
  Compared nine(9);
  EXPECT_EQ(nine.compare(sayings(6, {"8", "8", "8"})).verdict, Verdict::contradiction);
  EXPECT_EQ(nine.loop->counters().byzantine, 0U);
}

TEST(DataContradiction, IsNobodysFaultAndOneConflictForAll) {
  Compared mesh(9);
  EXPECT_EQ(mesh.compare(sayings(6, {"8", "8", "9"})).verdict, Verdict::contradiction);
  ASSERT_EQ(mesh.kept.notes.size(), 1U);
  const ConflictNote& note = mesh.kept.notes[0];
  EXPECT_EQ(note.type, sched::ConflictType::data_contradiction);
  EXPECT_FALSE(note.is_byzantine);
  EXPECT_EQ(note.affected, 9U);
  EXPECT_EQ(note.expected, shm::hash64(std::string_view("7")));
  EXPECT_EQ(note.received, shm::hash64(std::string_view("8")));
  EXPECT_EQ(mesh.loop->counters().contradictions, 1U);
}

TEST(Comparable, AnAnswerWithoutABodyIsAnOutcomeLikeAnother) {
  Compared mesh(8);
  EXPECT_EQ(mesh.compare(std::vector<Compared::Saying>(8, "")).verdict, Verdict::agreed);
  EXPECT_EQ(mesh.compare(sayings(7, {""})).verdict, Verdict::outliers);
  ASSERT_EQ(mesh.kept.notes.size(), 1U);
  EXPECT_EQ(mesh.kept.notes[0].received, shm::hash64(std::string_view()));
}

TEST(Comparable, OnlyWhoIsReadyBeforeTheEndIsCompared) {
  Compared mesh(9);
  auto said = sayings(7, {});
  said.resize(9);  // the last two are silent
  mesh.ask();
  const auto deliveries = mesh.station().poll();
  ASSERT_EQ(deliveries.size(), 9U);
  for (std::size_t at = 0; at < 7; ++at)
    ASSERT_TRUE(mesh.station().answer_with(deliveries[at], bytes("7"), mesh.now_ns));
  ASSERT_TRUE(mesh.station().answer(deliveries[7], TrinaryState::conflict, mesh.now_ns));
  mesh.tick(kMs);
  const OutcomesCompared compared = mesh.end();
  EXPECT_EQ(compared.verdict, Verdict::agreed);
  EXPECT_EQ(compared.answers, 7U);
  ASSERT_TRUE(mesh.station().answer_with(deliveries[8], bytes("8"), mesh.now_ns)) << "late";
  mesh.tick(kMs);
  EXPECT_EQ(mesh.loop->counters().byzantine, 0U);
}

TEST(Comparable, TheFirstAnswerOfAnAgentStands) {
  Compared mesh(7);
  mesh.ask();
  for (const auto& delivery : mesh.station().poll()) {
    ASSERT_TRUE(mesh.station().answer_with(delivery, bytes("7"), mesh.now_ns));
    ASSERT_TRUE(mesh.station().answer_with(delivery, bytes("8"), mesh.now_ns)) << "again";
  }
  mesh.tick(kMs);
  const OutcomesCompared compared = mesh.end();
  EXPECT_EQ(compared.verdict, Verdict::agreed);
  EXPECT_EQ(compared.majority, shm::hash64(std::string_view("7")));
}

TEST(Comparable, WhoLiesAboutItsBodySaysWhatNobodyElseSays) {
  Compared mesh(8);
  mesh.ask();
  const auto deliveries = mesh.station().poll();
  for (std::size_t at = 0; at < 7; ++at)
    ASSERT_TRUE(mesh.station().answer_with(deliveries[at], bytes("7"), mesh.now_ns));
  sched::AnswerRecord lie{};
  lie.message = deliveries[7].message;
  lie.agent = deliveries[7].target;
  lie.operation = deliveries[7].operation;
  lie.received_ns = lie.finished_ns = mesh.now_ns;
  lie.body_offset = 1U << 30;
  lie.body_bytes = 64;
  lie.state = TrinaryState::ready;
  lie.kind = RecordKind::answer;
  ASSERT_TRUE(mesh.station().put(lie));
  mesh.tick(kMs);
  EXPECT_EQ(mesh.end().verdict, Verdict::outliers);
  ASSERT_EQ(mesh.kept.notes.size(), 1U);
  EXPECT_EQ(mesh.kept.notes[0].agent, deliveries[7].target);
}

TEST(Comparable, WhatAnotherEngineEndsIsNotComparedAndNobodyAccused) {
  Compared mesh(8);
  mesh.ask();
  mesh.answer(std::vector<Compared::Saying>(8));  // all are silent
  mesh.again();
  mesh.tick(200 * kMs);
  EXPECT_EQ(mesh.loop->counters().operations_not_compared, 1U);
  EXPECT_TRUE(mesh.kept.notes.empty());
}

// Over any number of agents and answers: who is accused is exactly who the definition names.
TEST(Comparable, AccusesExactlyThoseThatTheDefinitionNames) {
  EXPECT_TRUE(rc::check([] {
    const auto agents = *rc::gen::inRange<std::uint32_t>(1, 40);
    Compared mesh(agents);
    std::vector<Compared::Saying> said;
    std::map<std::string, std::size_t> counts;
    for (std::uint32_t i = 0; i < agents; ++i) {
      const int drawn = *rc::gen::inRange(0, 12);
      said.push_back(std::string(1, static_cast<char>(drawn < 10 ? 'a' : 'a' + drawn - 9)));
      ++counts[*said.back()];
    }
    const OutcomesCompared compared = mesh.compare(said);
    std::string majority;
    for (const auto& [saying, count] : counts)
      if (3 * count > 2 * said.size()) majority = saying;
    std::set<AgentId> expected;
    if (agents >= 7 && !majority.empty())
      for (std::uint32_t i = 0; i < agents; ++i)
        if (*said[i] != majority) expected.insert(mesh.ids[1][i]);
    std::set<AgentId> accused;
    for (const ConflictNote& note : mesh.kept.notes)
      if (note.is_byzantine) accused.insert(note.agent);
    RC_ASSERT(accused == expected);
    RC_ASSERT((compared.verdict == Verdict::contradiction) == (agents >= 7 && majority.empty()));
  }));
}

}  // namespace of_engine_loop_comparing_test
}  // namespace mesh::engine
