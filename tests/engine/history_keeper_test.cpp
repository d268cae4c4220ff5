// History and results on their way to the store: batches, bounds, a store that is away.
#include "engine/history_keeper.hpp"

#include <thread>

#include "engine/running_conflicts.hpp"
#include "tests/engine/loop/loop_fixture.hpp"
#include "tests/engine/store/store_fixture.hpp"

namespace mesh::engine {
namespace of_history_keeper_test {

using ::testing::HasSubstr;
using testing::LoopFixture;
using testing::must;
using testing::SqliteBackend;

constexpr std::int64_t kMs = kNsPerMs;
constexpr std::int64_t kMinuteNs = 60 * kNsPerSecond;

// Sixty agents in two clusters, a keeper over their table, a store.
struct Kept {
  explicit Kept(const HistoryOptions& options = {})
      : keeper(must(HistoryKeeper::create(
            options, {.size = mesh.size, .table = mesh.table.span(), .unix_offset_ns = 0}))),
        store(must(open_store({.where = backend.where()}))) {
    mesh.add(1, 60, "w");
    mesh.run(1'500 * kMs, 10 * kMs);
  }
  HistoryKeeper::Turned turn(std::int64_t after_ns = 0, bool is_up = true) {
    mesh.now_ns += after_ns;
    return keeper->turn(is_up ? store.get() : nullptr, from_ns(mesh.now_ns));
  }
  [[nodiscard]] std::int64_t minute() const { return mesh.now_ns / kMinuteNs; }
  [[nodiscard]] std::vector<HistoryPoint> points(std::uint32_t cluster) const {
    return must(store->history({.cluster = cluster, .until_minute = minute() + 1'000}));
  }
  [[nodiscard]] std::vector<OperationResult> results() const {
    return must(store->results({.limit = 10'000}));
  }
  void note(std::uint64_t number) {
    EXPECT_TRUE(keeper->take({.message = {1, number},
                              .kind = ResultKind::broadcast,
                              .opened = from_ns(mesh.now_ns - 7),
                              .ended = from_ns(mesh.now_ns),
                              .targeted = 60,
                              .sent = 60,
                              .ready = 59,
                              .conflict = 1}));
  }

  LoopFixture mesh{600, 4};
  std::unique_ptr<HistoryKeeper> keeper;
  SqliteBackend backend;
  std::unique_ptr<Store> store;
};

TEST(HistoryKeeper, RefusesToKeepLessThanItsDatabaseWould) {
  const LoopFixture mesh(30, 1);
  for (const HistoryOptions& options :
       {HistoryOptions{.history_days = 29}, HistoryOptions{.results_days = 0},
        HistoryOptions{.results_max = 0}, HistoryOptions{.queue_results = 0}})
    EXPECT_EQ(HistoryKeeper::create(options, {.size = mesh.size, .table = {}}).error().code,
              Errc::invalid_argument);
}

TEST(HistoryKeeper, KeepsAPointAMinuteForEachClusterThatHasAgents) {
  Kept kept;
  const std::int64_t first = kept.minute();
  for (int second = 0; second < 150; ++second) kept.turn(kNsPerSecond);
  const auto points = kept.points(0);
  ASSERT_EQ(points.size(), static_cast<std::size_t>(kept.minute() - first + 1));
  EXPECT_EQ(points[0].minute, first);
  EXPECT_EQ(points[0].agents, 30U);
  EXPECT_EQ(points[0].active, 30U);
  EXPECT_GT(points[0].score_mean, 0);
  EXPECT_EQ(kept.points(5).size(), 0U) << "nobody is there";
  EXPECT_EQ(kept.keeper->status().points, 2 * points.size());
  EXPECT_EQ(kept.keeper->status().waiting, 0U);
}

// A mesh that fills up lacks no cluster in its first minute.
TEST(HistoryKeeper, AClusterThatComesWithinAMinuteHasAPointOfItAndOneAlone) {
  Kept kept;
  while (kept.mesh.now_ns % kMinuteNs > kMinuteNs / 2) kept.mesh.now_ns += kNsPerSecond;
  kept.turn();
  kept.mesh.add(2, 60, "late");
  std::uint32_t clusters = 0;
  for (int second = 0; second < 10; ++second) {
    kept.mesh.run(kNsPerSecond, 10 * kMs);
    kept.turn();
  }
  for (std::uint32_t cluster = 0; cluster < 20; ++cluster) {
    const auto points = kept.points(cluster);
    if (points.empty()) continue;
    ++clusters;
    EXPECT_EQ(points.size(), 1U) << cluster;
    EXPECT_EQ(points[0].minute, kept.minute()) << cluster;
    EXPECT_EQ(points[0].active, 30U) << cluster;
  }
  EXPECT_EQ(clusters, 4U);
}

TEST(HistoryKeeper, BringsResultsInBatchesAndEachOnce) {
  Kept kept;
  kept.turn();
  kept.note(1);
  kept.note(1);  // a successor ends it again
  EXPECT_EQ(kept.turn().worked, false) << "a batch waits to grow";
  EXPECT_EQ(kept.results().size(), 0U);
  EXPECT_EQ(kept.turn(200 * kMs).worked, true);
  ASSERT_EQ(kept.results().size(), 1U);
  const OperationResult one = kept.results()[0];
  EXPECT_EQ(one.kind, static_cast<std::uint8_t>(ResultKind::broadcast));
  EXPECT_EQ(one.ready, 59U);
  EXPECT_EQ(static_cast<std::int64_t>(one.target), 0) << "it had no T";
  EXPECT_EQ(static_cast<std::int64_t>(one.ended) - static_cast<std::int64_t>(one.opened), 7);
  for (std::uint64_t i = 2; i < 302; ++i) kept.note(i);
  kept.turn();
  EXPECT_EQ(kept.results().size(), 257U) << "a whole batch waits for nothing";
  kept.keeper->finish(kept.store.get(), from_ns(kept.mesh.now_ns));
  EXPECT_EQ(kept.results().size(), 301U);
}

TEST(HistoryKeeper, KeepsWhatFindsNoStoreUpToABoundAndCountsWhatIsLost) {
  Kept kept({.queue_results = 100, .points_max = 6});
  for (int minute = 0; minute < 5; ++minute) kept.turn(kMinuteNs, false);
  EXPECT_EQ(kept.keeper->status().points_lost, 4U) << "two clusters, five minutes, room for three";
  for (std::uint64_t i = 0; i < 250; ++i) {
    kept.note(i);
    kept.turn(0, false);
  }
  EXPECT_EQ(kept.keeper->status().results_lost, 150U);
  EXPECT_EQ(kept.keeper->status().waiting, 106U);
  kept.turn(kNsPerSecond);
  EXPECT_EQ(kept.points(0).size(), 3U) << "the newest";
  ASSERT_EQ(kept.results().size(), 100U);
  EXPECT_EQ(kept.results().back().id.low, 150U);
}

TEST(HistoryKeeper, RefusesWhatItsQueueHasNoRoomFor) {
  Kept kept({.queue_results = 64});
  std::size_t taken = 0;
  while (kept.keeper->take({.message = {1, taken}})) ++taken;
  EXPECT_GE(taken, 64U);
  EXPECT_EQ(kept.keeper->status().results_refused, 1U);
  EXPECT_TRUE(kept.turn(kNsPerSecond).worked);
  EXPECT_TRUE(kept.keeper->take({.message = {1, taken}}));
}

TEST(HistoryKeeper, TriesAgainWhereTheStoreFailed) {
  Kept kept;
  kept.turn();
  kept.note(1);
  ASSERT_TRUE(kept.backend.sql("ALTER TABLE operation_results RENAME TO hidden"));
  const auto turned = kept.turn(kNsPerSecond);
  ASSERT_TRUE(turned.failed.has_value());
  EXPECT_FALSE(turned.worked);
  EXPECT_THAT(kept.keeper->status().last_failure, HasSubstr("operation_results"));
  ASSERT_TRUE(kept.backend.sql("ALTER TABLE hidden RENAME TO operation_results"));
  EXPECT_FALSE(kept.turn(kMs).worked) << "not at once";
  EXPECT_TRUE(kept.turn(kNsPerSecond).worked);
  EXPECT_EQ(kept.results().size(), 1U);
}

TEST(HistoryKeeper, LetsGoOfWhatIsOverItsLimits) {
  Kept kept({.results_max = 10, .trim_every = Nanos{kMinuteNs}});
  kept.turn();
  for (std::uint64_t i = 0; i < 300; ++i) kept.note(i);
  kept.turn(kNsPerSecond);
  kept.turn(kNsPerSecond);
  EXPECT_EQ(kept.results().size(), 300U);
  kept.turn(kMinuteNs);
  EXPECT_EQ(kept.results().size(), 10U);
  EXPECT_EQ(kept.keeper->status().trimmed, 290U);
}

// The loop notes each operation as it ends, cascades as one, and never waits.
TEST(HistoryKeeper, TheLoopNotesWhatEndsAndCountsWhatIsRefused) {
  struct Sink final : ResultSink {
    std::vector<ResultNote> notes;
    std::size_t room = 4;
    bool take(const ResultNote& note) noexcept override {
      if (notes.size() == room) return false;
      notes.push_back(note);
      return true;
    }
  } sink;
  sink.notes.reserve(sink.room);
  LoopFixture mesh(60, 2);
  mesh.loop.reset();
  mesh.loop = must(
      EngineLoop::create({mesh.size, mesh.table.span(), mesh.payload.span(), mesh.engine.span()},
                         mesh.options, {.wakes = &mesh.wakes, .results = &sink}));
  mesh.add(1, 30, "w");
  mesh.run(1'500 * kMs, 10 * kMs);
  const auto end_all = [&] {
    mesh.run(9'000 * kMs, 10 * kMs, [&] {
      for (auto& station : mesh.stations)
        for (const auto& delivery : station->poll()) {
          if (delivery.kind == sched::RecordKind::result) continue;
          EXPECT_TRUE(station->answer(delivery, sched::TrinaryState::ready, mesh.now_ns));
        }
    });
  };
  must(mesh.loop->open({}, from_ns(mesh.now_ns)));
  end_all();
  must(mesh.loop->open({.source = mesh.ids[1][3], .at_once = true}, from_ns(mesh.now_ns)));
  end_all();
  must(mesh.loop->open_cascade({}, from_ns(mesh.now_ns)));
  end_all();
  must(mesh.loop->open_cascade({.strategy = CascadeStrategy::quorum}, from_ns(mesh.now_ns)));
  end_all();
  ASSERT_EQ(sink.notes.size(), 4U);
  EXPECT_EQ(sink.notes[0].kind, ResultKind::scatter);
  EXPECT_EQ(sink.notes[0].verdict, ResultVerdict::success);
  EXPECT_EQ(sink.notes[0].ready, 30U);
  EXPECT_NE(sink.notes[0].target, HostTime{});
  EXPECT_EQ(sink.notes[1].kind, ResultKind::broadcast);
  EXPECT_EQ(sink.notes[1].source, mesh.ids[1][3]);
  EXPECT_EQ(sink.notes[2].kind, ResultKind::cascade) << "and its parts are not noted";
  EXPECT_EQ(sink.notes[2].ready, 30U);
  EXPECT_GT(sink.notes[2].ended, sink.notes[2].opened);
  EXPECT_EQ(sink.notes[3].kind, ResultKind::quorum);
  EXPECT_EQ(sink.notes[3].targeted, 30U) << "its cluster";
  EXPECT_EQ(sink.notes[3].ready, 30U);
  must(mesh.loop->open({}, from_ns(mesh.now_ns)));
  end_all();
  EXPECT_EQ(mesh.loop->counters().results_noted, 4U);
  EXPECT_EQ(mesh.loop->counters().results_lost, 1U);
}

}  // namespace of_history_keeper_test
}  // namespace mesh::engine
