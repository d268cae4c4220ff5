// mesh health's report of the night (mesh.md part 15), computed and by the program.
#include "engine/reports/night_report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/coordination/circuit_breaker.hpp"
#include "engine/health/operating_modes.hpp"
#include "tests/tools/live_mesh.hpp"

namespace mesh::testing {
namespace of_night_report_test {

using engine::Event;
using engine::EventKind;
using engine::reports::MeshCounters;
using engine::reports::Trend;
using ::testing::HasSubstr;
using Json = nlohmann::json;

HostTime at_second(std::int64_t second) { return from_ns(second * kNsPerSecond); }

Event breaker(std::int64_t second, std::uint32_t place, coordination::BreakerState state) {
  return {.at = at_second(second),
          .kind = EventKind::breaker,
          .place = place,
          .after = static_cast<std::uint32_t>(state)};
}

MeshCounters counters(std::initializer_list<std::tuple<const char*, std::uint64_t, std::uint64_t>>
                          label_value_and_an_hour_ago) {
  MeshCounters made;
  for (const auto& [label, value, before] : label_value_and_an_hour_ago)
    made.rows.push_back({{label, "", engine::CounterKind::total, ""}, value, before, {}});
  return made;
}

TEST(Night, RefusesHoursThatAreNone) {
  const Live live;
  for (const char* const hours : {"0", "721", "x"}) {
    const Ran ran = live.run({"health", "--hours", hours});
    EXPECT_EQ(ran.exit_code, 2) << hours;
    EXPECT_THAT(ran.err, HasSubstr("--hours"));
  }
}

TEST(Night, CountsBreakersThatOpenedTheNewestFirst) {
  using coordination::BreakerState;
  const std::vector<Event> events = {breaker(10, 7, BreakerState::open),
                                     breaker(40, 7, BreakerState::half_open),
                                     breaker(50, 3, BreakerState::open),
                                     {.at = at_second(55), .kind = EventKind::active},
                                     breaker(60, 7, BreakerState::closed)};
  const auto report = engine::reports::breakers_of(events, at_second(100));
  EXPECT_EQ(report.openings, 2U);
  ASSERT_EQ(report.list.size(), 2U);
  EXPECT_EQ(report.list[0].place, 3U);
  EXPECT_EQ(report.list[0].ms_ago, 50'000);
  EXPECT_EQ(report.list[1].place, 7U);
  EXPECT_EQ(engine::reports::breakers_of({}, at_second(1)).openings, 0U);
}

TEST(Night, ListsChangesOfModeAndNoMoreThanItsMost) {
  std::vector<Event> events;
  for (std::int64_t i = 0; i < 30; ++i)
    events.push_back(
        {.at = at_second(i), .kind = EventKind::mode, .after = static_cast<std::uint32_t>(i % 2)});
  events.push_back({.at = at_second(31), .kind = EventKind::mode, .after = 99});  // no mode of ours
  const auto report = engine::reports::modes_of(events, at_second(40));
  EXPECT_EQ(report.changes, 31U);
  ASSERT_EQ(report.list.size(), engine::reports::kNightListMax);
  EXPECT_EQ(report.list[0].mode, engine::health::OperatingMode::degraded_light);
  EXPECT_EQ(report.list[0].ms_ago, 11'000);
}

TEST(Night, SaysWhetherConflictsRise) {
  constexpr std::uint64_t kHour = 3'600'000;
  const auto trend = [](std::uint64_t hour, std::uint64_t before) {
    const auto report = engine::reports::conflicts_of(
        counters({{"conflicts", hour + before, before}, {"time_watched", 11 * kHour, 10 * kHour}}));
    return report.trend.value();
  };
  EXPECT_EQ(trend(10, 100), Trend::level);
  EXPECT_EQ(trend(15, 100), Trend::level);
  EXPECT_EQ(trend(16, 100), Trend::rising);
  EXPECT_EQ(trend(6, 100), Trend::falling);
  EXPECT_EQ(trend(1, 0), Trend::rising);
  EXPECT_EQ(trend(0, 0), Trend::level);
  const auto young = engine::reports::conflicts_of(
      counters({{"conflicts", 5, 0}, {"time_watched", kHour / 2, 0}}));
  EXPECT_EQ(young.last_hour, 5U);
  EXPECT_EQ(young.trend, std::nullopt) << "there is nothing to compare with";
}

TEST(Night, CountsWhoCameAndWentInTheLastHour) {
  const auto churn = engine::reports::churn_of(counters({{"agent_crashes", 90, 60},
                                                         {"stations_lost", 4, 3},
                                                         {"stations_ever", 20, 18},
                                                         {"newcomers_admitted", 1'000, 0}}));
  EXPECT_EQ(churn.agents_crashed, 30U);
  EXPECT_EQ(churn.stations_lost, 1U);
  EXPECT_EQ(churn.stations_attached, 2U);
  EXPECT_EQ(churn.newcomers_admitted, 1'000U);
}

// mesh.md part 15: overnight breakers, conflict trend, churn, clusters drifting high, slow agents,
// backups: a report in one command.
TEST(Night, IsPartOfMeshHealthWithABackupsAge) {
  Live live;
  live.enrol("40");
  ASSERT_TRUE(live.publishes("agents_active", 40));
  Ran ran;
  do ran = live.run({"health", "--json"});
  while (ran.exit_code != 0);  // until the mode is known
  const Json report = Json::parse(ran.out);
  EXPECT_EQ(report["mode"], "FULL");
  EXPECT_TRUE(report.contains("backup"));
  const Json& night = report["night"];
  EXPECT_EQ(night["hours"], 12);
  EXPECT_EQ(night["breakers"]["openings"], 0);
  EXPECT_TRUE(night["conflicts"]["last_hour"].is_number_unsigned());
  EXPECT_EQ(night["churn"]["stations_attached"], 2);
  EXPECT_EQ(night["churn"]["agents_crashed"], 0);
  for (const char* const list : {"drifting_clusters", "slow_agents"}) {
    EXPECT_TRUE(night[list]["count"].is_number_unsigned()) << list;
    EXPECT_LE(night[list]["list"].size(), engine::reports::kNightListMax) << list;
  }
  EXPECT_THAT(live.run({"health"}).out, HasSubstr("night.churn.stations_attached"));
}

}  // namespace of_night_report_test
}  // namespace mesh::testing
