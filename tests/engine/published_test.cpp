// What an engine publishes in its table for who asks nobody: counters, distinct errors, outages.
#include <array>
#include <atomic>
#include <thread>

#include "engine/counter_page.hpp"
#include "engine/error_log.hpp"
#include "engine/health/recovery_clock.hpp"
#include "queues/wait_strategy.hpp"
#include "tests/engine/loop/loop_fixture.hpp"
#include "tests/engine/test_table.hpp"

namespace mesh::testing {
namespace of_published_test {

using engine::CounterPage;
using engine::CounterReading;
using engine::CounterView;
using engine::ErrorLog;
using engine::ErrorLogView;
using engine::kControlCounters;
using engine::SeenError;
using engine::health::RecoveryClock;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr std::size_t kStations = 0;      // of now
constexpr std::size_t kStationsEver = 2;  // a total
using Values = std::array<std::uint64_t, kControlCounters.size()>;

HostTime second(std::int64_t seconds) { return from_ns(seconds * kNsPerSecond); }

class Page {
 public:
  CounterPage page(std::string_view thread = "control") {
    return must(CounterPage::over(table_.table_layout(), table_.table_bytes(), thread));
  }
  [[nodiscard]] CounterView view(std::string_view thread = "control") const {
    return must(CounterView::over(table_.table_layout(), table_.table_bytes(), thread));
  }
  [[nodiscard]] Result<CounterReading> read() const { return view().read(); }
  [[nodiscard]] std::span<engine::CounterWord> words() const {
    return must(
        table_.table_layout().array<engine::CounterWord>(table_.table_bytes(), "counters.control"));
  }
  ErrorLog errors() {
    return must(ErrorLog::over(table_.table_layout(), table_.table_bytes(), "control"));
  }
  [[nodiscard]] std::vector<SeenError> seen() const {
    return must(ErrorLogView::over(table_.table_layout(), table_.table_bytes(), "control")).read();
  }

 private:
  TestTable table_{30};
};

// Counters. Refusals first.

TEST(CounterView, RefusesAPageThatNobodyHasWritten) {
  const Page page;
  const auto read = page.read();
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().code, Errc::not_ready);
}
TEST(CounterView, RefusesAPageOfOtherCounters) {
  Page page;
  page.page().publish(Values{}, second(1));
  page.words()[2].store_relaxed(7);
  const auto read = page.read();
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().code, Errc::layout_mismatch);
}
TEST(CounterView, SaysWhenItsWriterDiedHalfway) {
  Page page;
  page.page().publish(Values{4}, second(1));
  page.words()[0].store_relaxed(3);
  const auto read = page.read();
  ASSERT_TRUE(read.has_value());
  EXPECT_FALSE(read->is_whole);
  EXPECT_EQ(read->values[kStations], 4U);
  page.page().publish(Values{5}, second(2));
  EXPECT_TRUE(page.read()->is_whole) << "a successor writes it whole again";
}

TEST(CounterPage, ShowsWhatWasPublishedLastAndWhen) {
  Page page;
  CounterPage writer = page.page();
  Values values{};
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 10 + i;
  writer.publish(values, second(3));
  const auto read = page.read();
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->at, second(3));
  EXPECT_TRUE(std::equal(values.begin(), values.end(), read->values.begin()));
}
TEST(CounterPage, GoesOnFromTheTotalsOfTheEngineBeforeIt) {
  Page page;
  Values values{};
  values[kStations] = 5;
  values[kStationsEver] = 9;
  page.page().publish(values, second(1));
  CounterPage next = page.page();
  values[kStations] = 1;
  values[kStationsEver] = 2;
  next.publish(values, second(2));
  EXPECT_EQ(page.read()->values[kStations], 1U) << "of now";
  EXPECT_EQ(page.read()->values[kStationsEver], 11U);
  EXPECT_EQ(page.read()->hour_ago[kStationsEver], 9U) << "its own are of the last hour";
}
TEST(CounterPage, KeepsWhatWasAnHourAgoByTheMinute) {
  Page page;
  CounterPage writer = page.page();
  Values values{};
  for (std::int64_t at = 0; at <= 3 * 3'600; at += 1) {
    values[kStationsEver] = static_cast<std::uint64_t>(at);
    writer.publish(values, second(at + 1));
    const auto read = page.read();
    const auto hour = static_cast<std::int64_t>(read->hour_ago[kStationsEver]);
    ASSERT_EQ(writer.in_last_hour(kStationsEver), static_cast<std::uint64_t>(at - hour));
    if (at < 3'600) {
      ASSERT_EQ(hour, 0);
    } else {
      ASSERT_LE(hour, at - 3'600);
      ASSERT_GT(hour, at - 3'661);
      ASSERT_EQ(read->hour_from, second(hour + 1));
    }
  }
}

// A reader beside a writer that never pauses: what is whole is of one moment.
TEST(CounterPage, IsReadWholeOrSaysThatItIsNot) {
  Page page;
  CounterPage writer = page.page("scheduler");
  const CounterView view = page.view("scheduler");
  std::vector<std::uint64_t> values(engine::kSchedulerCounters.size(), 1);
  writer.publish(values, from_ns(1));
  std::atomic<bool> is_over{false};
  std::thread writing([&] {
    for (std::uint64_t n = 2; !is_over.load(std::memory_order_relaxed); ++n) {
      std::fill(values.begin(), values.end(), n);
      writer.publish(values, from_ns(static_cast<std::int64_t>(n)));
      // A moment in which it can be read whole.
      for (std::uint64_t i = n % 128; i != 0; --i) queues::relax_cpu();
    }
  });
  std::uint64_t whole = 0;
  std::uint64_t mixed = 0;
  for (int looks = 0; whole < 100'000 && mixed == 0 && looks < 2'000'000; ++looks) {
    const auto read = view.read();
    if (!read || !read->is_whole) continue;
    ++whole;
    const std::uint64_t n = read->values.front();
    const bool is_one =
        std::count(read->values.begin(), read->values.end(), n) == std::ssize(read->values) &&
        to_ns(read->at) == static_cast<std::int64_t>(n);
    mixed += is_one ? 0U : 1U;
  }
  is_over.store(true, std::memory_order_relaxed);
  writing.join();
  EXPECT_GE(whole, 1U);
  EXPECT_EQ(mixed, 0U) << "a mixture of two moments, of " << whole << " looks";
}

// Errors.

TEST(ErrorLog, CountsWhatIsTheSameAndKeepsFirstAndLastTime) {
  Page page;
  ErrorLog log = page.errors();
  EXPECT_THAT(page.seen(), SizeIs(0));
  log.note({.code = Errc::open, .about = 3, .text = "first"}, second(1));
  log.note({.code = Errc::open, .about = 3, .count = 4, .text = "last"}, second(5));
  log.note({.code = Errc::open, .about = 4, .text = "another station"}, second(6));
  log.note({.code = Errc::expired, .about = 3, .text = "another code"}, second(7));
  const auto seen = page.seen();
  ASSERT_THAT(seen, SizeIs(3));
  EXPECT_EQ(seen[0].count, 5U);
  EXPECT_EQ(seen[0].first, second(1));
  EXPECT_EQ(seen[0].last, second(5));
  EXPECT_EQ(seen[0].text, "last");
  EXPECT_EQ(seen[1].text, "another station");
  EXPECT_EQ(seen[2].code, Errc::expired);
}
TEST(ErrorLog, ASuccessorCountsOnInTheSameRows) {
  Page page;
  page.errors().note({.code = Errc::open, .about = 3, .text = "x"}, second(1));
  page.errors().note({.code = Errc::open, .about = 3, .text = "x"}, second(2));
  ASSERT_THAT(page.seen(), SizeIs(1));
  EXPECT_EQ(page.seen()[0].count, 2U);
}
TEST(ErrorLog, CutsTextBetweenCharacters) {
  Page page;
  page.errors().note({.code = Errc::open, .text = std::string(206, 'a') + "\u00e9tc"}, second(1));
  EXPECT_EQ(page.seen()[0].text, std::string(206, 'a'));
}
TEST(ErrorLog, CountsInItsLastRowWhatFindsNoRow) {
  Page page;
  ErrorLog log = page.errors();
  const std::uint64_t rows = engine::kDistinctErrors / 2;
  for (std::uint64_t about = 1; about <= rows + 10; ++about) {
    log.note({.code = Errc::open, .about = about, .text = "x"}, second(1));
  }
  log.note({.code = Errc::open, .about = 1, .text = "x"}, second(2));
  const auto seen = page.seen();
  ASSERT_THAT(seen, SizeIs(rows));
  EXPECT_EQ(seen.front().count, 2U);
  EXPECT_EQ(seen.back().count, 11U);
  EXPECT_THAT(seen.back().text, HasSubstr("no row of their own"));
}

// Outages.

TEST(RecoveryClock, CountsAClusterFromItsFirstLossToItsLastReturn) {
  RecoveryClock clock({.rows = 60, .sectors = 1, .clusters_per_sector = 2});
  clock.lost({.row = 1, .cluster = 0}, 60, second(10));
  clock.lost({.row = 2, .cluster = 0}, 60, second(11));
  clock.lost({.row = 2, .cluster = 0}, 60, second(12));  // again is once
  clock.back(1, second(12));
  EXPECT_EQ(clock.clusters().recoveries, 0U);
  clock.back(2, second(13));
  clock.back(2, second(14));
  EXPECT_EQ(clock.clusters().outages, 1U);
  EXPECT_EQ(clock.clusters().recoveries, 1U);
  EXPECT_EQ(clock.clusters().recovery_ms, 3'000U);
  EXPECT_EQ(clock.clusters().over_ours, 1U);
  EXPECT_EQ(clock.clusters().over_target, 0U);
  EXPECT_EQ(clock.sectors().outages, 0U) << "2 of 60 are within 5 %";
}
TEST(RecoveryClock, ASectorIsOutFromOneTwentiethOfItsAgents) {
  RecoveryClock clock({.rows = 60, .sectors = 1, .clusters_per_sector = 2});
  for (std::uint32_t row = 0; row < 3; ++row) clock.lost({.row = row, .cluster = 0}, 60, second(1));
  EXPECT_EQ(clock.sectors().outages, 1U);
  clock.back(0, second(902));
  EXPECT_EQ(clock.sectors().recoveries, 1U);
  EXPECT_EQ(clock.sectors().over_target, 1U);
  EXPECT_EQ(clock.clusters().recoveries, 0U);
}
TEST(RecoveryClock, DoesNotFollowRowsAndClustersThatThereAreNone) {
  RecoveryClock clock({.rows = 2, .sectors = 1, .clusters_per_sector = 1});
  clock.lost({.row = 7, .cluster = 0}, 2, second(1));
  clock.lost({.row = 0, .cluster = 9}, 2, second(1));
  clock.back(7, second(2));
  clock.back(0, second(2));
  EXPECT_EQ(clock.clusters().outages + clock.clusters().recoveries, 0U);
}

// What the loop counts of itself.

class Accounts : public LoopFixture {
 public:
  Accounts() : LoopFixture(60, 4) {}
  [[nodiscard]] std::vector<SeenError> seen() {
    return must(ErrorLogView::over(must(engine::table_layout(size)), table.span(), "scheduler"))
        .read();
  }
  const engine::LoopCounters& counters() { return loop->counters(); }
  // Everybody answers `late_ns` after T.
  void scatter(sched::TrinaryState state, std::int64_t late_ns, std::uint16_t silent = 0) {
    engine::OperationRequest request;
    request.horizon = Nanos{100 * kNsPerMs};
    request.window = Nanos{800 * kNsPerMs};
    const std::int64_t target_ns = now_ns + request.horizon.count();
    must(loop->open(request, from_ns(now_ns)));
    std::vector<std::pair<RawStation*, sched::DeliveryRecord>> got;
    run(300 * kNsPerMs, kNsPerMs, [&] {
      for (auto& station : stations) {
        for (const auto& delivery : station->poll()) got.emplace_back(station.get(), delivery);
      }
    });
    now_ns = std::max(now_ns, target_ns + late_ns);
    for (const auto& [station, delivery] : got) {
      if (station->number == StationId{silent}) continue;
      station->answer(delivery, state, target_ns + late_ns);
    }
    run(2'000 * kNsPerMs, 10 * kNsPerMs);
  }
};

TEST(Account, CountsOperationsAndHowNearToTTheirAnswersCame) {
  Accounts mesh;
  mesh.add(1, 20, "a");
  mesh.add(2, 10, "b");
  mesh.tick(kNsPerMs);
  mesh.scatter(sched::TrinaryState::ready, 2 * kNsPerMs);
  EXPECT_EQ(mesh.counters().operations_ended, 1U);
  EXPECT_EQ(mesh.counters().operations_quorum, 1U);
  EXPECT_EQ(mesh.counters().timed_sent, 30U);
  EXPECT_EQ(mesh.counters().timed_arrived, 30U);
  EXPECT_EQ(mesh.counters().arrived_in_5ms, 30U);
  EXPECT_EQ(mesh.counters().ready, 30U);
  mesh.scatter(sched::TrinaryState::conflict, 20 * kNsPerMs, 2);
  EXPECT_EQ(mesh.counters().operations_ended, 2U);
  EXPECT_EQ(mesh.counters().operations_quorum, 1U) << "nobody was READY";
  EXPECT_EQ(mesh.counters().timed_sent, 60U);
  EXPECT_EQ(mesh.counters().timed_arrived, 50U);
  EXPECT_EQ(mesh.counters().arrived_in_5ms, 30U);
  EXPECT_EQ(mesh.counters().arrived_in_50ms, 50U);
  EXPECT_EQ(mesh.counters().conflicts, 20U);
  mesh.scatter(sched::TrinaryState::ready, 600 * kNsPerMs);
  EXPECT_EQ(mesh.counters().arrived_in_50ms, 50U);
  EXPECT_EQ(mesh.counters().arrived_in_500ms, 50U);
  EXPECT_EQ(mesh.counters().timed_arrived, 80U);
}
TEST(Account, AddsUpTimeByModeAndWithEnoughActive) {
  Accounts mesh;
  mesh.add(1, 30, "a");
  mesh.add(2, 30, "b");
  mesh.run(5'000 * kNsPerMs, 10 * kNsPerMs);
  EXPECT_GE(mesh.counters().time_watched_ms, 3'000U);
  EXPECT_EQ(mesh.counters().time_active_ms, mesh.counters().time_watched_ms);
  EXPECT_EQ(mesh.counters().time_full_ms, mesh.counters().time_watched_ms);
  const std::uint64_t before = mesh.counters().time_active_ms;
  mesh.lose(2);  // half of them
  mesh.run(20'000 * kNsPerMs, 10 * kNsPerMs);
  EXPECT_LE(mesh.counters().time_active_ms, before + 2'000);
  EXPECT_GE(mesh.counters().time_severe_ms, 14'000U);
  const std::uint64_t sum = mesh.counters().time_full_ms + mesh.counters().time_light_ms +
                            mesh.counters().time_moderate_ms + mesh.counters().time_severe_ms +
                            mesh.counters().time_emergency_ms;
  EXPECT_EQ(sum, mesh.counters().time_watched_ms);
}
TEST(Account, DoesNotCountTimeThatNobodyWatched) {
  Accounts mesh;
  mesh.add(1, 30, "a");
  mesh.run(3'000 * kNsPerMs, 10 * kNsPerMs);
  const std::uint64_t before = mesh.counters().time_watched_ms;
  mesh.tick(3'600 * kNsPerSecond);  // the engine was stopped
  EXPECT_LE(mesh.counters().time_watched_ms, before + 2'000);
}
TEST(Account, CountsTheRecoveryOfAClusterAndNotesTheStationThatWasLost) {
  Accounts mesh;
  mesh.add(1, 30, "a");
  mesh.add(2, 30, "b");
  mesh.run(2'000 * kNsPerMs, 10 * kNsPerMs);
  mesh.lose(2);
  mesh.run(1'500 * kNsPerMs, 10 * kNsPerMs);
  EXPECT_GE(mesh.counters().cluster_outages, 1U);
  EXPECT_EQ(mesh.counters().cluster_recoveries, 0U);
  mesh.add(3, 30, "b");  // the same names
  mesh.run(1'500 * kNsPerMs, 10 * kNsPerMs);
  EXPECT_EQ(mesh.counters().cluster_recoveries, mesh.counters().cluster_outages);
  EXPECT_EQ(mesh.counters().stations_lost, 1U);
  const auto seen = mesh.seen();
  ASSERT_THAT(seen, SizeIs(1));
  EXPECT_EQ(seen[0].code, Errc::closed);
  EXPECT_THAT(seen[0].text, HasSubstr("station 2: it went without a word"));
}
TEST(Account, AnOrderlyLeaveIsNoError) {
  Accounts mesh;
  mesh.add(1, 30, "a");
  mesh.run(2'000 * kNsPerMs, 10 * kNsPerMs);
  mesh.lose(1, engine::Departure::left);
  mesh.run(2'000 * kNsPerMs, 10 * kNsPerMs);
  EXPECT_THAT(mesh.seen(), SizeIs(0));
  EXPECT_EQ(mesh.counters().cluster_outages, 0U);
}
TEST(Account, NotesWhoseRecordsWereRefusedAndWhy) {
  Accounts mesh;
  RawStation& station = mesh.add(1, 1, "a");
  mesh.add(2, 1, "b");
  mesh.tick(kNsPerMs);
  sched::SendRecord record{};
  record.kind = sched::RecordKind::send;
  record.source = mesh.ids[2][0];  // not its own
  for (int i = 0; i < 3; ++i) station.put(record);
  const std::array<std::byte, 4> body{};
  station.send_bare(mesh.ids[1][0], AgentId{59}, body, mesh.now_ns);  // nobody
  mesh.run(1'500 * kNsPerMs, 10 * kNsPerMs);
  const auto seen = mesh.seen();
  ASSERT_THAT(seen, SizeIs(2));
  EXPECT_EQ(seen[0].code, Errc::corrupt);
  EXPECT_EQ(seen[0].count, 3U);
  EXPECT_THAT(seen[0].text, HasSubstr("station 1: a record of it cannot be"));
  EXPECT_EQ(seen[1].code, Errc::no_such_agent);
  EXPECT_THAT(seen[1].text, HasSubstr("station 1: a message of it was refused: no agent"));
}

}  // namespace of_published_test
}  // namespace mesh::testing
