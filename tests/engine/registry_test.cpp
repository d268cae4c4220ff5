// Who an agent is: what is refused, who gets which row, and that a handle never names the next one.
#include "engine/registry.hpp"

#include <random>
#include <set>

#include "tests/engine/test_table.hpp"
#include "tests/seed.hpp"

namespace mesh::engine {
namespace of_registry_test {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::TestTable;

constexpr std::uint32_t kUid = 1'000;
constexpr StationId kStation{7};
constexpr StationId kOther{8};
constexpr HostTime kNow = from_ns(1'000 * kNsPerSecond);

Registry registry_over(const TestTable& table, const RegistryOptions& options = {}) {
  return Registry::create(table.agents(), table.owners(), options).value();
}
Enrolment named(std::string_view name, StationId station = kStation, std::uint32_t uid = kUid) {
  return {name, uid, {.station = station}};
}
void expect_refused(Registry& registry, std::string_view name, const std::string& part) {
  const auto refused = registry.enrol(named(name));
  ASSERT_FALSE(refused.has_value()) << ::testing::PrintToString(name);
  EXPECT_EQ(refused.error().code, Errc::invalid_argument);
  EXPECT_THAT(refused.error().sentence, HasSubstr(part));
  EXPECT_FALSE(registry.find(name).has_value());
}
std::size_t detach_all(Registry& registry, StationId station, HostTime now) {
  std::array<AgentIndex, 64> rows{};
  std::size_t count = 0;
  for (;;) {
    const auto detached = registry.detach(station, now, rows);
    count += detached.count;
    if (!detached.more) return count;
  }
}

TEST(Registry, RefusesANameOfNoByteOrMoreThan63) {
  const TestTable table(4);
  Registry registry = registry_over(table);
  expect_refused(registry, "", "0 bytes");
  expect_refused(registry, std::string(64, 'a'), "64 bytes");
  expect_refused(registry, std::string(100'000, 'a'), "100000 bytes");
  EXPECT_TRUE(registry.enrol(named(std::string(63, 'a'))).has_value());
}

TEST(Registry, RefusesWhatIsNotUtf8AndSaysWhere) {
  const TestTable table(4);
  Registry registry = registry_over(table);
  expect_refused(registry, "a\x80", "byte 1 of its name, 0x80");     // no first byte
  expect_refused(registry, "\xC0\xAF", "byte 0 of its name, 0xc0");  // overlong /
  expect_refused(registry, "\xC1\xBF", "0xc1");                      // overlong
  expect_refused(registry, "\xE0\x80\xAF", "0xe0");                  // overlong
  expect_refused(registry, "\xE0\x9F\xBF", "0xe0");                  // overlong, the last
  expect_refused(registry, "\xF0\x80\x80\xAF", "0xf0");              // overlong
  expect_refused(registry, "\xF0\x8F\xBF\xBF", "0xf0");              // overlong, the last
  expect_refused(registry, "\xED\xA0\x80", "0xed");                  // surrogate
  expect_refused(registry, "\xED\xBF\xBF", "0xed");                  // surrogate
  expect_refused(registry, "\xF4\x90\x80\x80", "0xf4");              // beyond U+10FFFF
  expect_refused(registry, "\xF5\x80\x80\x80", "0xf5");              // beyond U+10FFFF
  expect_refused(registry, "ab\xC3", "byte 2");                      // cut short
  expect_refused(registry, "ab\xE2\x82", "byte 2");                  // cut short
  expect_refused(registry, "ab\xF0\x9F\x98", "byte 2");              // cut short
  expect_refused(registry, "\xE2\x28\xA1", "0xe2");                  // second byte is none
  expect_refused(registry, "\xE2\x82\x28", "0xe2");                  // third byte is none
  expect_refused(registry, "\xFF", "0xff");
}

TEST(Registry, RefusesNulAndEveryOtherControlCharacter) {
  const TestTable table(4);
  Registry registry = registry_over(table);
  expect_refused(registry, std::string_view("a\0b", 3), "byte 1 of its name, 0x00");
  expect_refused(registry, std::string_view("\0", 1), "0x00");
  for (char control = 1; control < 0x20; ++control) {
    expect_refused(registry, std::string("x") + control, "byte 1");
  }
  expect_refused(registry, "x\x7F", "0x7f");
  expect_refused(registry, "x\xC2\x9B", "0xc2");  // CSI in 8 bits
  EXPECT_EQ(registry.taken(), 0U);
}

TEST(Registry, TakesTheFirstAndLastCharacterOfEveryLength) {
  const TestTable table(16);
  Registry registry = registry_over(table);
  for (const char* name :
       {" ", "~", "\xC2\xA0", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
        "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    const auto enrolled = registry.enrol(named(name));
    ASSERT_TRUE(enrolled.has_value()) << enrolled.error().sentence;
    EXPECT_EQ(registry.name_of(index_of(enrolled->id)).view(), name);
  }
}

TEST(Registry, RefusesANameOfAnotherUserAndTellsNeitherWhoseItIs) {
  const TestTable table(4);
  Registry registry = registry_over(table);
  const AgentId id = registry.enrol(named("edge-1", kStation, 4'711)).value().id;
  const auto refused = registry.enrol(named("edge-1", kOther, 8'042));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::name_taken);
  EXPECT_THAT(refused.error().sentence, HasSubstr("edge-1"));
  EXPECT_THAT(refused.error().sentence, Not(HasSubstr("4711")));
  EXPECT_THAT(refused.error().sentence, Not(HasSubstr("8042")));
  EXPECT_EQ(registry.station_of(index_of(id)), kStation);
  // Offline too, until it is forgotten.
  detach_all(registry, kStation, kNow);
  EXPECT_EQ(registry.enrol(named("edge-1", kOther, 8'042)).error().code, Errc::name_taken);
  ASSERT_TRUE(registry.forget("edge-1").has_value());
  EXPECT_TRUE(registry.enrol(named("edge-1", kOther, 8'042)).has_value());
}

TEST(Registry, RefusesOneMoreThanItHasRows) {
  const TestTable table(3);
  Registry registry = registry_over(table);
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(registry.enrol(named(name)).has_value());
  const auto refused = registry.enrol(named("d"));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::capacity);
  EXPECT_THAT(refused.error().sentence, HasSubstr("all 3 rows"));
  EXPECT_TRUE(registry.enrol(named("b")).has_value());  // who has a row needs none
  EXPECT_TRUE(registry.verify().has_value());
}

TEST(Registry, RefusesNoStationAndAnUnknownClass) {
  const TestTable table(3);
  Registry registry = registry_over(table);
  EXPECT_EQ(registry.enrol(named("a", kNoStation)).error().code, Errc::invalid_argument);
  Enrolment odd = named("a");
  odd.attachment.agent_class = static_cast<sched::AgentClass>(6);
  EXPECT_EQ(registry.enrol(odd).error().code, Errc::invalid_argument);
  EXPECT_EQ(registry.taken(), 0U);
}

TEST(Registry, RefusesToForgetWhoIsUnknownOrAttached) {
  const TestTable table(3);
  Registry registry = registry_over(table);
  EXPECT_EQ(registry.forget("a").error().code, Errc::no_such_agent);
  EXPECT_EQ(registry.forget("").error().code, Errc::invalid_argument);
  ASSERT_TRUE(registry.enrol(named("a")).has_value());
  const auto refused = registry.forget("a");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::not_ready);
  EXPECT_THAT(refused.error().sentence, HasSubstr("station 7"));
  EXPECT_TRUE(registry.find("a").has_value());
}

TEST(Registry, RefusesMemoriesOfDifferentSizesAndANegativeTimeToLive) {
  const TestTable small(3);
  const TestTable large(4);
  const auto mixed = Registry::create(small.agents(), large.owners(), {});
  ASSERT_FALSE(mixed.has_value());
  EXPECT_THAT(mixed.error().sentence, HasSubstr("3 rows in the table and 4"));
  EXPECT_EQ(Registry::create(small.agents(), small.owners(), {.agent_ttl = Nanos{-1}}).error().code,
            Errc::invalid_argument);
}

TEST(Registry, GivesTheLowestFreeRowAndGeneration1First) {
  const TestTable table(4);
  Registry registry = registry_over(table);
  EXPECT_EQ(registry.enrol(named("a")).value().id, agent_id(AgentIndex{0}, Generation{1}));
  EXPECT_EQ(registry.enrol(named("b")).value().id, agent_id(AgentIndex{1}, Generation{1}));
  EXPECT_EQ(registry.enrol(named("c")).value().id, agent_id(AgentIndex{2}, Generation{1}));
  detach_all(registry, kStation, kNow);
  ASSERT_TRUE(registry.forget("b").has_value());
  ASSERT_TRUE(registry.forget("a").has_value());
  EXPECT_EQ(registry.enrol(named("d")).value().id, agent_id(AgentIndex{0}, Generation{2}));
  EXPECT_EQ(registry.enrol(named("a")).value().id, agent_id(AgentIndex{1}, Generation{2}));
  EXPECT_EQ(registry.enrol(named("b")).value().id, agent_id(AgentIndex{3}, Generation{1}));
}

TEST(Registry, GivesTheSameUserTheSameRowAndGenerationBack) {
  const TestTable table(4);
  Registry registry = registry_over(table);
  const Enrolled first = registry.enrol(named("a")).value();
  EXPECT_EQ(first.incarnation, 1U);
  EXPECT_EQ(first.previous_station, kNoStation);
  detach_all(registry, kStation, kNow);
  EXPECT_EQ(registry.resolve(first.id), AgentIndex{0});  // what waits for it is still its own
  const Enrolled again = registry.enrol(named("a", kOther)).value();
  EXPECT_EQ(again.id, first.id);
  EXPECT_EQ(again.incarnation, 2U);
  EXPECT_EQ(again.previous_station, kNoStation);
}

// Killed and back before its death was noticed: the name works at the first try.
TEST(Registry, MovesAnAttachedNameToTheStationThatEnrolsItAgain) {
  const TestTable table(4);
  Registry registry = registry_over(table);
  const Enrolled first = registry.enrol(named("a")).value();
  const Enrolled again = registry.enrol(named("a", kOther)).value();
  EXPECT_EQ(again.id, first.id);
  EXPECT_EQ(again.previous_station, kStation);
  EXPECT_EQ(detach_all(registry, kStation, kNow), 0U);  // the old death concerns it no more
  EXPECT_EQ(registry.station_of(AgentIndex{0}), kOther);
  EXPECT_EQ(table.agents().state.load_relaxed(0), static_cast<std::uint8_t>(AgentState::active));
}

TEST(Registry, ShowsNothingOfTheLastTenantToTheNext) {
  const TestTable table(1);
  Registry registry = registry_over(table);
  ASSERT_TRUE(registry.enrol(named(std::string(63, 'x'))).has_value());
  const auto rows = table.agents();
  rows.latency_ms.store_relaxed(0, 777.0F);
  rows.queue_depth.store_relaxed(0, 9);
  rows.score.store_relaxed(0, 999);
  rows.work_ms.store_relaxed(0, 3.0F);
  rows.residual_by_t_ms.store_relaxed(0, -5.0F);
  rows.history.store_relaxed(0, 32);
  rows.context_hash.store_relaxed(0, 5);
  rows.cluster.store_relaxed(0, 3);
  rows.role.store_relaxed(0, 2);
  detach_all(registry, kStation, kNow);
  ASSERT_TRUE(registry.forget(std::string(63, 'x')).has_value());
  EXPECT_EQ(rows.context_hash.load_relaxed(0), 0U);
  Enrolment next = named("y");
  next.attachment.agent_class = sched::AgentClass::serverless;
  next.attachment.now_mesh_ms = 4'242;
  next.attachment.capabilities.insert(CapabilityBit{200});
  ASSERT_TRUE(registry.enrol(next).has_value());
  EXPECT_EQ(registry.name_of(AgentIndex{0}), encode("y"));  // zeros behind it
  EXPECT_EQ(rows.latency_ms.load_relaxed(0), 100.0F);
  EXPECT_EQ(rows.processing_ms.load_relaxed(0), 50.0F);
  EXPECT_EQ(rows.drift.load_relaxed(0), 0.1F);
  EXPECT_EQ(rows.reliability.load_relaxed(0), 1.0F);
  EXPECT_EQ(rows.queue_depth.load_relaxed(0), 0U);
  EXPECT_EQ(rows.work_ms.load_relaxed(0), 50.0F);
  EXPECT_EQ(rows.residual_by_t_ms.load_relaxed(0), 0.0F);
  EXPECT_EQ(rows.history.load_relaxed(0), 0U);
  EXPECT_EQ(rows.heartbeat_mesh_ms.load_relaxed(0), 4'242U);
  EXPECT_EQ(rows.capabilities.load_relaxed(3), std::uint64_t{1} << 8);
  EXPECT_EQ(rows.cluster.load_relaxed(0), kNoPlace);
  EXPECT_EQ(rows.role.load_relaxed(0), 0U);
  // (100 / 2 + 50 * 1.5) * (1 + 1.645 * 0.1) = 145.56; 0.5 * 1 - 0.3 * 0.1 + 0.2 = 0.67
  EXPECT_EQ(rows.score.load_relaxed(0), 146U);
  EXPECT_EQ(rows.confidence.load_relaxed(0), 43'908U);
}

TEST(Registry, ScoresAHumanWithoutHistoryAtTheEndOfTheRange) {
  EXPECT_EQ(priors_of(sched::AgentClass::human).score, 1'000U);
  EXPECT_EQ(priors_of(sched::AgentClass::edge).score, 24U);  // (6 + 15) * 1.1645 = 24.45
}

TEST(Registry, FreesANameAfterTenMinutesOfflineAndNotBefore) {
  const TestTable table(2);
  Registry registry = registry_over(table);
  const AgentId id = registry.enrol(named("a")).value().id;
  std::array<AgentId, 8> freed{};
  EXPECT_EQ(registry.expire(kNow + Nanos{3'600 * kNsPerSecond}, freed), 0U);  // attached
  const HostTime lost = kNow + Nanos{3'600 * kNsPerSecond};
  detach_all(registry, kStation, lost);
  EXPECT_EQ(registry.expire(lost + Nanos{600 * kNsPerSecond - 1}, freed), 0U);
  EXPECT_EQ(registry.resolve(id), AgentIndex{0});
  EXPECT_EQ(registry.expire(lost + Nanos{600 * kNsPerSecond}, freed), 1U);
  EXPECT_EQ(freed[0], id);
  EXPECT_EQ(registry.resolve(id), kNoAgent);
  EXPECT_FALSE(registry.find("a").has_value());
  EXPECT_EQ(registry.offline(), 0U);
}

TEST(Registry, FreesThoseLongestOfflineFirstAndAsManyAsAsked) {
  const TestTable table(4);
  Registry registry = registry_over(table);
  std::vector<AgentId> ids;
  for (const char* name : {"a", "b", "c"}) {
    const StationId station{static_cast<std::uint16_t>(20 - ids.size())};
    ids.push_back(registry.enrol(named(name, station)).value().id);
  }
  detach_all(registry, StationId{19}, kNow);             // b
  detach_all(registry, StationId{20}, kNow - Nanos{5});  // a: a clock that goes back counts as now
  detach_all(registry, StationId{18}, kNow + Nanos{1});  // c
  EXPECT_TRUE(registry.verify().has_value());
  std::array<AgentId, 2> freed{};
  EXPECT_EQ(registry.expire(kNow + Nanos{kAgentTtl}, freed), 2U);
  EXPECT_THAT(freed, ::testing::ElementsAre(ids[1], ids[0]));
  EXPECT_EQ(registry.expire(kNow + Nanos{kAgentTtl}, freed), 0U);
  EXPECT_EQ(registry.resolve(ids[2]), AgentIndex{2});
}

TEST(Registry, LeavesAQuarantinedAgentQuarantinedWhateverItDoes) {
  const TestTable table(2);
  Registry registry = registry_over(table);
  ASSERT_TRUE(registry.enrol(named("a")).has_value());
  const auto state = table.agents().state;
  const auto quarantined = static_cast<std::uint8_t>(AgentState::quarantined);
  state.store_relaxed(0, quarantined);
  ASSERT_TRUE(registry.enrol(named("a", kOther)).has_value());
  EXPECT_EQ(state.load_relaxed(0), quarantined);
  detach_all(registry, kOther, kNow);
  EXPECT_EQ(state.load_relaxed(0), quarantined);
  std::array<AgentId, 1> freed{};
  EXPECT_EQ(registry.expire(kNow + Nanos{kAgentTtl}, freed), 0U);
  EXPECT_TRUE(registry.verify().has_value());
  EXPECT_TRUE(registry.forget("a").has_value());  // the operator may
}

TEST(Registry, DetachesAStationInPartsAndTellsWhetherThereIsMore) {
  const TestTable table(10);
  Registry registry = registry_over(table);
  for (char name = 'a'; name < 'f'; ++name) {
    ASSERT_TRUE(registry.enrol(named(std::string(1, name))).has_value());
  }
  ASSERT_TRUE(registry.enrol(named("other", kOther)).has_value());
  std::array<AgentIndex, 3> rows{};
  auto detached = registry.detach(kStation, kNow, rows);
  EXPECT_EQ(detached.count, 3U);
  EXPECT_TRUE(detached.more);
  EXPECT_THAT(rows, ::testing::ElementsAre(AgentIndex{0}, AgentIndex{1}, AgentIndex{2}));
  EXPECT_TRUE(registry.verify().has_value());
  detached = registry.detach(kStation, kNow, rows);
  EXPECT_EQ(detached.count, 2U);
  EXPECT_FALSE(detached.more);
  EXPECT_EQ(registry.detach(kStation, kNow, rows).count, 0U);
  EXPECT_EQ(registry.detach(kStation, kNow, {}).count, 0U);
  EXPECT_TRUE(registry.is_attached(AgentIndex{5}));
  EXPECT_EQ(registry.offline(), 5U);
  EXPECT_EQ(table.agents().state.load_relaxed(2), static_cast<std::uint8_t>(AgentState::offline));
}

TEST(Registry, ResolvesNoHandleThatWasNeverGiven) {
  const TestTable table(4);
  Registry registry = registry_over(table);
  ASSERT_TRUE(registry.enrol(named("a")).has_value());
  for (const AgentId id :
       {AgentId{0}, AgentId{1}, agent_id(AgentIndex{0}, Generation{2}),
        agent_id(AgentIndex{1}, Generation{0}), agent_id(AgentIndex{1}, Generation{1}),
        agent_id(AgentIndex{4}, Generation{1}), AgentId{~std::uint64_t{0}}}) {
    EXPECT_EQ(registry.resolve(id), kNoAgent);
    EXPECT_EQ(registry.find(id).error().code, Errc::no_such_agent);
  }
  EXPECT_THAT(registry.find(agent_id(AgentIndex{3}, Generation{9})).error().sentence,
              HasSubstr("agent 3 of generation 9"));
}

TEST(Registry, GenerationGoesFrom44BitsOfOnesTo1AndNever0) {
  const TestTable table(1);
  table.agents().id.store_relaxed(0, agent_id(AgentIndex{0}, Generation{kGenerationMask - 2}));
  Registry registry = registry_over(table);
  std::vector<std::uint64_t> generations;
  for (int i = 0; i < 4; ++i) {
    generations.push_back(
        static_cast<std::uint64_t>(generation_of(registry.enrol(named("a")).value().id)));
    detach_all(registry, kStation, kNow);
    ASSERT_TRUE(registry.forget("a").has_value());
  }
  EXPECT_THAT(generations, ::testing::ElementsAre(kGenerationMask - 1, kGenerationMask, 1, 2));
}

// A million messages to handles whose rows have new tenants, through every counter's end.
TEST(Registry, DeliversNoneOfAMillionMessagesToADeadGeneration) {
  constexpr std::size_t kRows = 64;
  constexpr std::uint64_t kStarts[] = {0, (std::uint64_t{1} << 32) - 8, kGenerationMask - 8};
  for (const std::uint64_t start : kStarts) {
    const TestTable table(kRows);
    for (std::size_t row = 0; row < kRows; ++row) {
      table.agents().id.store_relaxed(row, agent_id(agent_index(row), Generation{start}));
    }
    Registry registry = registry_over(table);
    std::mt19937_64 random(testing::seed());
    std::vector<AgentId> dead;
    std::map<std::uint64_t, std::string> tenants;  // by handle: the one it was given to
    std::uint64_t sent = 0;
    std::uint64_t delivered_wrong = 0;
    for (std::uint64_t turn = 0; sent < 340'000; ++turn) {
      const std::string name = "agent-" + std::to_string(turn);
      const AgentId id = registry.enrol(named(name)).value().id;
      ASSERT_TRUE(tenants.emplace(static_cast<std::uint64_t>(id), name).second);
      for (int i = 0; i < 100 && !dead.empty(); ++i, ++sent) {
        if (registry.resolve(dead[random() % dead.size()]) != kNoAgent) ++delivered_wrong;
      }
      ASSERT_EQ(registry.name_of(registry.resolve(id)).view(), name);
      if (turn % 4 != 3) continue;
      detach_all(registry, kStation, kNow);
      for (std::uint64_t gone = turn - 3; gone <= turn; ++gone) {
        dead.push_back(registry.forget("agent-" + std::to_string(gone)).value());
      }
    }
    EXPECT_EQ(delivered_wrong, 0U) << "from generation " << start;
    EXPECT_GT(dead.size(), 3'000U);
  }
}

TEST(Registry, LetsObserversReadNamesWhileTheyChange) {
  const TestTable table(2);
  Registry registry = registry_over(table);
  const auto rows = table.agents();
  const AgentNames<> names(rows.sequence.view(), rows.id.view(), rows.name.view());
  EXPECT_EQ(NameBytes{names.read(AgentIndex{0}).name}.length(), 0U);
  const AgentId id = registry.enrol(named("edge-1")).value().id;
  auto read = names.read(AgentIndex{0});
  EXPECT_EQ(read.status, shm::ReadStatus::kRead);
  EXPECT_EQ(read.id, id);
  EXPECT_EQ(decode("row 0", read.name).value().view(), "edge-1");
  const shm::RowWriter<HostMemory> writer(rows.sequence);
  static_cast<void>(writer.begin(0));
  EXPECT_EQ(names.read(AgentIndex{0}).status, shm::ReadStatus::kBusy);
}

TEST(AgentName, RefusesBytesThatNoWriterOfOursLeaves) {
  const NameBytes good = encode("edge");
  EXPECT_EQ(decode("x", good.words).value().view(), "edge");
  const auto with = [&](std::size_t at, unsigned char byte) {
    auto words = good.words;
    reinterpret_cast<unsigned char*>(words.data())[at] = byte;
    return decode("table agent.name row 3", words);
  };
  EXPECT_EQ(with(0, 64).error().code, Errc::corrupt);
  EXPECT_THAT(with(0, 64).error().sentence, HasSubstr("row 3: length 64"));
  EXPECT_EQ(with(0, 0).error().code, Errc::corrupt);
  EXPECT_EQ(with(0, 255).error().code, Errc::corrupt);
  EXPECT_EQ(with(0, 3).error().code, Errc::corrupt);  // text behind its end
  EXPECT_EQ(with(0, 5).error().code, Errc::corrupt);  // a NUL in it
  EXPECT_EQ(with(63, 1).error().code, Errc::corrupt);
  EXPECT_EQ(with(2, 0xFF).error().code, Errc::corrupt);
}

TEST(RowSet, GivesTheLowestOfRandomSets) {
  for (const std::size_t capacity : {1UL, 63UL, 64UL, 65UL, 4'096UL, 4'097UL, 300'000UL}) {
    RowSet rows(capacity);
    std::set<std::uint32_t> model;
    std::mt19937_64 random(testing::seed());
    for (int turn = 0; turn < 20'000; ++turn) {
      const auto row = static_cast<std::uint32_t>(random() % capacity);
      if (random() % 2 == 0) {
        rows.insert(row);
        model.insert(row);
      } else {
        rows.erase(row);
        model.erase(row);
      }
      ASSERT_EQ(rows.lowest(), model.empty() ? RowSet::kNone : *model.begin());
      ASSERT_EQ(rows.count(), model.size());
    }
  }
}

}  // namespace of_registry_test
}  // namespace mesh::engine
