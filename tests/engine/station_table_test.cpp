// StationTable: what it refuses, and real deaths: SIGKILL before every store of every change.
#include "engine/station_table.hpp"

#include <set>

#include <sys/wait.h>

#include "engine/memory_map.hpp"
#include "tests/crash_memory.hpp"
#include "tests/engine/test_table.hpp"

namespace mesh::engine {
namespace of_station_table_test {

using testing::CrashMemory;
using testing::Death;

constexpr std::size_t kRows = 3;

StationEntry entry_of(std::uint16_t number, std::string name = "printer") {
  return {number,
          1'000U + number,
          8,
          {3, 70U + number, 4'096},
          {0x1234'5678'9ABC'DEF0ULL + number, ~std::uint64_t{number}},
          std::move(name)};
}

class StationTableTest : public ::testing::Test {
 protected:
  StationTableTest()
      : layout_(engine_layout({.agents = 4, .stations = kRows}).value()),
        memory_(layout_.total_bytes()) {}

  [[nodiscard]] std::span<StationRow> rows() const {
    return layout_.array<StationRow>(memory_.bytes(), "stations").value();
  }
  [[nodiscard]] Result<StationTable> open() const {
    return StationTable::create(layout_, memory_.bytes());
  }
  void refused(const std::string& part) const {
    const auto table = open();
    ASSERT_FALSE(table.has_value()) << part;
    EXPECT_EQ(table.error().code, Errc::corrupt);
    EXPECT_THAT(table.error().sentence, ::testing::HasSubstr(part));
  }
  void reset() const {
    const auto bytes = std::as_writable_bytes(rows());
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
  }

  shm::Layout layout_;
  testing::SharedBytes memory_;
};

TEST_F(StationTableTest, RefusesWhatNoDeathLeavesBehind) {
  ASSERT_TRUE(open()->attach(entry_of(1)).has_value());
  ASSERT_TRUE(open()->attach(entry_of(2)).has_value());
  rows()[1].number.store_relaxed(1);
  refused("row 1: station 1 stands in another row too");
  rows()[1].number.store_relaxed(0);
  refused("row 1: number 0");
  rows()[1].number.store_relaxed(kMaxStations + 1);
  refused("row 1: number 65536");
  rows()[1].number.store_relaxed(2);
  rows()[1].state.store_relaxed(StationState{3});
  refused("row 1: state 3");
  rows()[1].state.store_relaxed(StationState::attached);
  rows()[1].name[0].store_relaxed(0xFF05);
  refused("row 1: byte 0, 0xff");
}

TEST_F(StationTableTest, RefusesANumberThatIsInUseAndMoreStationsThanRows) {
  auto table = open();
  ASSERT_TRUE(table.has_value()) << table.error().sentence;
  ASSERT_TRUE(table->attach(entry_of(1)).has_value());
  EXPECT_EQ(table->attach(entry_of(1)).error().code, Errc::already_exists);
  EXPECT_EQ(table->attach(entry_of(0)).error().code, Errc::already_exists);
  ASSERT_TRUE(table->attach(entry_of(2)).has_value());
  ASSERT_TRUE(table->attach(entry_of(3)).has_value());
  const auto full = table->attach(entry_of(4));
  ASSERT_FALSE(full.has_value());
  EXPECT_EQ(full.error().code, Errc::capacity);
  EXPECT_EQ(full.error().detail, static_cast<std::int64_t>(kRows));
}

TEST_F(StationTableTest, TellsItsSuccessorWhoWasAttachedAndWhoWasLeaving) {
  {
    auto table = open();
    ASSERT_TRUE(table.has_value()) << table.error().sentence;
    for (std::uint16_t number = 1; number <= 3; ++number)
      ASSERT_TRUE(table->attach(entry_of(number)).has_value());
    table->free(1);
    table->leave(3);
    table->leave(77);  // nobody's
    table->free(77);
  }
  const auto table = open();
  ASSERT_TRUE(table.has_value()) << table.error().sentence;
  ASSERT_EQ(table->left().size(), 2U);
  EXPECT_EQ(table->left()[0].entry, entry_of(2));
  EXPECT_EQ(table->left()[0].state, StationState::attached);
  EXPECT_EQ(table->left()[1].entry, entry_of(3));
  EXPECT_EQ(table->left()[1].state, StationState::leaving);
}

TEST_F(StationTableTest, KnowsTheHighestNumberEverGivenWhateverBecameOfIt) {
  EXPECT_EQ(open()->last_number(), 0U);
  std::uint16_t number = 0;
  for (int life = 0; life < 5; ++life) {
    auto table = open();
    ASSERT_TRUE(table.has_value()) << table.error().sentence;
    EXPECT_EQ(table->last_number(), number);
    for (int i = 0; i < 4; ++i) {
      ASSERT_TRUE(table->attach(entry_of(++number)).has_value());
      table->leave(number);
      table->free(number);
    }
  }
  EXPECT_EQ(open()->last_number(), 20U);
}

TEST_F(StationTableTest, MakesAStationsNameOneThatAConsoleCanPrint) {
  EXPECT_EQ(station_name(""), "station");
  EXPECT_EQ(station_name("a\x1b[2Jb"), "a?[2Jb");
  EXPECT_EQ(station_name("z\xC3\xA4hler"), "z\xC3\xA4hler");
  EXPECT_EQ(station_name(std::string(100, 'x')), std::string(63, 'x'));
  EXPECT_EQ(station_name(std::string(62, 'x') + "\xC3\xA4"), std::string(62, 'x') + '?');
}

// Deaths. `change` is killed before each of its stores; what the next engine finds is one of
// `allowed`.
using Found = std::vector<std::pair<StationEntry, StationState>>;

class StationTableCrash : public StationTableTest {
 protected:
  [[nodiscard]] Found found() const {
    Found found;
    const auto table = open();
    EXPECT_TRUE(table.has_value()) << table.error().sentence;
    if (!table) return found;
    for (const StationTable::Left& left : table->left()) found.emplace_back(left.entry, left.state);
    last_number_ = table->last_number();
    return found;
  }
  template <class Change>
  std::set<std::string> enumerate(const std::function<void(StationTable&)>& prepare,
                                  const Change& change, const std::vector<Found>& allowed) {
    using CrashRow = BasicStationRow<CrashMemory>;
    static_assert(sizeof(CrashRow) == sizeof(StationRow));
    const auto crash_rows = [&] {
      return StationRows<CrashMemory>(
          std::span(reinterpret_cast<CrashRow*>(rows().data()), rows().size()));
    };
    std::vector<bool> met(allowed.size());
    std::uint64_t site = 0;
    for (bool died = true; died && !HasFailure();) {
      SCOPED_TRACE(::testing::Message() << "site " << ++site);
      reset();
      auto before = open();
      prepare(*before);
      const std::uint32_t last = before->last_number();
      const pid_t child = ::fork();
      if (child == 0) {
        testing::crash_plan = {0, site, Death::kKill, nullptr};
        change(crash_rows());
        ::_exit(0);
      }
      int status = 0;
      EXPECT_EQ(::waitpid(child, &status, 0), child);
      died = !WIFEXITED(status);
      const Found seen = found();
      EXPECT_GE(last_number_, last) << "a number could be given twice";
      const auto at = std::ranges::find(allowed, seen);
      EXPECT_NE(at, allowed.end()) << seen.size() << " stations";
      if (at == allowed.end()) break;
      met[static_cast<std::size_t>(at - allowed.begin())] = true;
      if (!died) {
        EXPECT_EQ(at, allowed.end() - 1) << "not all of it was done";
      }
    }
    EXPECT_THAT(met, ::testing::Each(true)) << "a state that no death shows";
    reset();
    auto before = open();
    prepare(*before);
    std::set<std::string> points;
    testing::crash_plan = {0, 0, Death::kKill, &points};
    change(crash_rows());
    testing::crash_plan = {};
    return points;
  }

  mutable std::uint32_t last_number_ = 0;
};

const auto kNobody = [](StationTable&) {};
const auto kOneAttached = [](StationTable& table) {
  ASSERT_TRUE(table.attach(entry_of(1)).has_value());
};
const auto kOneGone = [](StationTable& table) {
  kOneAttached(table);
  table.leave(1);
  table.free(1);
};

TEST_F(StationTableCrash, KilledWhileAStationIsEnteredItIsThereWholeOrNotAtAll) {
  const auto points =
      enumerate(kNobody, [](const StationRows<CrashMemory>& rows) { rows.write(0, entry_of(1)); },
                {Found{}, Found{{entry_of(1), StationState::attached}}});
  EXPECT_THAT(points, ::testing::IsSupersetOf(
                          {"stations.write:after_number", "stations.write:before_state"}));
}
TEST_F(StationTableCrash, KilledWhileARowIsUsedAgainNothingOfItsLastTenantIsLeft) {
  enumerate(kOneGone, [](const StationRows<CrashMemory>& rows) { rows.write(0, entry_of(2, "x")); },
            {Found{}, Found{{entry_of(2, "x"), StationState::attached}}});
}
TEST_F(StationTableCrash, KilledWhileAStationLeavesItIsAttachedLeavingOrGone) {
  const auto points = enumerate(kOneAttached,
                                [](const StationRows<CrashMemory>& rows) {
                                  rows.leave(0);
                                  rows.free(0);
                                },
                                {Found{{entry_of(1), StationState::attached}},
                                 Found{{entry_of(1), StationState::leaving}}, Found{}});
  EXPECT_THAT(points,
              ::testing::IsSupersetOf({"stations.leave:after_state", "stations.free:after_state"}));
}

}  // namespace of_station_table_test
}  // namespace mesh::engine
