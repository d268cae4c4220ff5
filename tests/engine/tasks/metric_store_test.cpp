// MetricStore: goldens, what it counts and shows, what it was, what it is told wrongly.
#include "engine/tasks/metric_store.hpp"

#include <map>

#include <rapidcheck.h>

#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/service_kit.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_metric_store_test {

using coordination::testing::CrashSweep;
using coordination::testing::expect_all_refused;
using coordination::testing::expect_damage_found;
using coordination::testing::expect_replays;
using coordination::testing::golden;
using coordination::testing::Json;
using coordination::testing::matches;
using coordination::testing::Timed;

constexpr auto kCompleted = MetricStore::of(StandardMetric::task_completed);
constexpr auto kLatency = MetricStore::of(StandardMetric::message_latency);

constexpr Nanos s(std::int64_t count) { return Nanos{count * kNsPerSecond}; }
constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

MetricStoreConfig small_store() {
  MetricStoreConfig config;
  config.metrics_max = 6;
  config.histograms_max = 1;
  config.columns_max = 4;
  config.seconds_kept = 12;
  config.minutes_kept = 3;
  config.standard = false;
  return config;
}
std::uint32_t define(MetricStore& store, std::string name, MetricKind kind,
                     MetricLabels labels = {}) {
  const auto reply =
      store.apply(metric::Define{std::move(name), kind, std::move(labels)}, Nanos{0});
  EXPECT_EQ(reply.code, Errc::ok);
  return reply.metric;
}
Json points_of(const MetricHistory& history) {
  Json points = Json::array();
  for (const auto& point : history.points) points.push_back(point ? Json(*point) : Json());
  return points;
}

// --- refusals ------------------------------------------------------------------------------------

TEST(MetricStore, RefusesWhatItDoesNotKnowAndWhatCannotBe) {
  MetricStore store(small_store());
  const auto counter = define(store, "c", MetricKind::counter);
  const auto gauge = define(store, "g", MetricKind::gauge);
  const auto times = define(store, "h", MetricKind::histogram);
  for (std::uint32_t i = 0; i < 4; ++i) store.apply(metric::Report{i, counter, 1}, Nanos{0});
  const auto max = static_cast<std::uint64_t>(INT64_MAX);
  expect_all_refused<MetricStore>(
      store,
      {{"no such", metric::Add{9, 1}, Errc::not_found, Nanos{0}},
       {"no such gauge", metric::Set{9, 1}, Errc::not_found, Nanos{0}},
       {"no such histogram", metric::Observe{9, Nanos{1}, 0}, Errc::not_found, Nanos{0}},
       {"a gauge counts", metric::Add{gauge, 1}, Errc::invalid_argument, Nanos{0}},
       {"a counter is set", metric::Set{counter, 1}, Errc::invalid_argument, Nanos{0}},
       {"a gauge is observed", metric::Observe{gauge, Nanos{1}, 0}, Errc::invalid_argument,
        Nanos{0}},
       {"a negative duration", metric::Observe{times, Nanos{-1}, 0}, Errc::invalid_argument,
        Nanos{0}},
       {"an empty name", metric::Define{"", MetricKind::counter, {}}, Errc::invalid_id, Nanos{0}},
       {"a name that is no text", metric::Define{"\xff", MetricKind::counter, {}}, Errc::invalid_id,
        Nanos{0}},
       {"a label that is no text", metric::Define{"x", MetricKind::counter, {"\xff", "", ""}},
        Errc::invalid_id, Nanos{0}},
       {"twice", metric::Define{"c", MetricKind::gauge, {}}, Errc::already_exists, Nanos{0}},
       {"histograms without end", metric::Define{"h2", MetricKind::histogram, {}}, Errc::capacity,
        Nanos{0}},
       {"columns without end", metric::Report{9, counter, 1}, Errc::capacity, Nanos{0}},
       {"more than there can be", metric::Add{counter, max}, Errc::overflow, Nanos{0}},
       {"a report of a gauge", metric::Report{0, gauge, 1}, Errc::invalid_argument, Nanos{0}},
       {"adopted by a gauge", metric::Adopt{gauge, 1}, Errc::invalid_argument, Nanos{0}},
       {"no bucket", metric::Merge{times, {{960, 1}}, 0}, Errc::invalid_argument, Nanos{0}},
       {"samples of a counter", metric::Merge{counter, {}, 0}, Errc::invalid_argument, Nanos{0}},
       {"nobody is gone", metric::WriterGone{77}, Errc::not_found, Nanos{0}},
       {"before time", metric::Add{counter, 1}, Errc::invalid_argument, Nanos{-1}}});
  for (int i = 0; i < 3; ++i) define(store, "more" + std::to_string(i), MetricKind::counter);
  expect_all_refused<MetricStore>(
      store, {{"metrics without end", metric::Define{"x", MetricKind::counter, {}}, Errc::capacity,
               Nanos{0}}});
  EXPECT_EQ(store.history("nothing", Nanos{0}).error().code, Errc::not_found);
  EXPECT_EQ(store.history("c", Nanos{-1}).error().code, Errc::invalid_argument);
  EXPECT_EQ(store.history("c", s(2), s(1)).error().code, Errc::invalid_argument);
  EXPECT_EQ(store.quantile(counter, 0.5).error().code, Errc::invalid_argument);
  EXPECT_EQ(store.quantile(times, 0.5).error().code, Errc::not_found) << "of nothing";
  EXPECT_EQ(store.add(counter, 1, Nanos{-1}), Errc::invalid_argument);
}

TEST(MetricStore, RefusesAConfigThatHasNoRoomForTheStandardMetrics) {
  MetricStoreConfig config;
  config.metrics_max = 8;
  config.histograms_max = 4;
  EXPECT_EQ(MetricStore::validate(config).error().code, Errc::invalid_config);
  config.standard = false;
  EXPECT_TRUE(MetricStore::validate(config));
  config.seconds_kept = 10;
  EXPECT_NE(MetricStore::validate(config).error().sentence.find("seconds_kept"), std::string::npos);
}

// --- goldens -------------------------------------------------------------------------------------

TEST(MetricStore, GoldenRatesAndUtilisation) {
  const auto [inputs, expected] = golden("metric_store", "rates_and_utilisation");
  MetricStore store({});
  const int completions = inputs.at("completions");
  const int window_s = inputs.at("window_s");
  for (int i = 0; i < completions; ++i) {
    EXPECT_EQ(store.add(kCompleted, 1, ms(i * window_s * 1'000 / completions)), Errc::ok);
  }
  std::int64_t running = 0;
  std::int64_t most = 0;
  for (const int one : inputs.at("running")) {
    running += one;
    most += inputs.at("concurrent_max").get<int>();
  }
  store.set(MetricStore::of(StandardMetric::agent_running), running, s(window_s));
  store.set(MetricStore::of(StandardMetric::agent_capacity), most, s(window_s));
  const auto now = store.current();
  EXPECT_TRUE(matches(
      expected, {{"rate", now.task.throughput_per_s.value()},
                 {"active_by_little",
                  MetricStore::little(inputs.at("throughput_per_s"), inputs.at("seconds_each"))},
                 {"utilisation", now.agent.utilization.value()}}));
}

TEST(MetricStore, GoldenTiers) {
  const auto [inputs, expected] = golden("metric_store", "tiers");
  const MetricStoreConfig config;
  const Json tiers = {{1, config.seconds_kept}, {60, config.minutes_kept}};
  EXPECT_EQ(inputs.at("tiers_s_points"), tiers);
  EXPECT_TRUE(
      matches(expected, {{"covers_s", {1 * config.seconds_kept, 60 * config.minutes_kept}}}));
}

TEST(MetricStore, GoldenAGapIsNull) {
  const auto [inputs, expected] = golden("metric_store", "gap_is_null");
  MetricStore store(small_store());
  const auto gauge = define(store, "g", MetricKind::gauge);
  for (const auto& row : inputs.at("samples_s_value")) {
    store.set(gauge, row.at(1), s(row.at(0)));
  }
  const auto history = store.history("g", s(inputs.at("from_s")), s(inputs.at("to_s")));
  ASSERT_TRUE(history);
  EXPECT_TRUE(matches(expected, points_of(*history)));
}

TEST(MetricStore, GoldenHistogram) {
  MetricStore store({});
  store.observe({kLatency, Nanos{145'000}, 0}, Nanos{0});
  EXPECT_EQ(store.quantile(kLatency, 0.5).value(), 145'408U);
}

// --- history -------------------------------------------------------------------------------------

TEST(MetricStore, AfterOneCompletedTaskItsHistoryHasOnePoint) {
  MetricStore store({});
  store.add(kCompleted, 1, s(100));
  EXPECT_EQ(store.current().task.completed, 1U);
  const auto history = store.history("task.completed", s(100));
  ASSERT_TRUE(history);
  EXPECT_EQ(points_of(*history), Json({1}));
  EXPECT_EQ(history->start, s(100));
  EXPECT_EQ(history->step, s(1));
}

TEST(MetricStore, ACountersGapsAreTheSecondsInWhichNobodyCalled) {
  MetricStore store(small_store());
  const auto counter = define(store, "c", MetricKind::counter);
  store.add(counter, 5, s(0));
  MetricStoreActions actions;
  store.tick(s(1), actions);
  store.tick(s(4), actions);
  store.add(counter, 1, s(5));
  EXPECT_EQ(points_of(store.history("c", Nanos{0}).value()), Json({5, 5, nullptr, nullptr, 5, 6}));
  EXPECT_EQ(store.counters().missed, 2U);
}

TEST(MetricStore, GoesOverToMinutesWhereSecondsAreNotKept) {
  MetricStore store({});
  const auto gauge = MetricStore::of(StandardMetric::task_queued);
  for (std::int64_t second = 0; second < 2 * 3'600; ++second) {
    if (second / 60 != 30) store.set(gauge, second, s(second));  // nobody in minute 30
  }
  const auto fine = store.history("task.queued", s(3'700)).value();
  EXPECT_EQ(fine.step, s(1));
  EXPECT_EQ(fine.points.size(), 3'500U);
  EXPECT_EQ(fine.points.back(), 7'199);
  const auto coarse = store.history("task.queued", s(0)).value();
  EXPECT_EQ(coarse.step, s(60));
  ASSERT_EQ(coarse.points.size(), 120U);
  EXPECT_EQ(coarse.points[0], 59);
  EXPECT_EQ(coarse.points[30], std::nullopt);
  EXPECT_EQ(coarse.points[31], 31 * 60 + 59);
  EXPECT_EQ(coarse.points[119], 7'199) << "the minute that is not over";
}

// What is kept of a gauge is what was set, whatever the numbers and the gaps: of so few seconds all
// wide jumps are kept.
TEST(MetricStore, KeepsEveryPointOfAnyHistory) {
  EXPECT_TRUE(rc::check("any history", [] {
    Rng rng(*rc::gen::arbitrary<std::uint64_t>());
    auto config = small_store();
    config.seconds_kept = 30;
    MetricStore store(config);
    store.apply(metric::Define{"g", MetricKind::gauge, {}}, Nanos{0});
    std::map<std::int64_t, std::int64_t> set;
    std::int64_t second = 0;
    std::int64_t value = 0;
    for (int i = 0; i < 120; ++i) {
      second += 1 + static_cast<std::int64_t>(rng.below(rng.below(8) == 0 ? 60 : 2));
      value = rng.below(6) == 0 ? static_cast<std::int64_t>(rng.next())
                                : value / 2 + static_cast<std::int64_t>(rng.below(1'000));
      store.set(0, value, s(second));
      set[second] = value;
    }
    const auto history = store.history("g", s(second - 29));
    RC_ASSERT(history.has_value());
    RC_ASSERT(history->points.size() == 30U);
    for (std::int64_t i = 0; i < 30; ++i) {
      const auto found = set.find(second - 29 + i);
      const auto point = history->points[static_cast<std::size_t>(i)];
      RC_ASSERT(point.has_value() == (found != set.end()));
      if (point) RC_ASSERT(*point == found->second);
    }
    RC_ASSERT(store.counters().unkept == 0U);
    RC_ASSERT(store.verify().has_value());
  }));
}

TEST(MetricStore, AHistoryOfWildJumpsAloneSaysWhatItCouldNotKeep) {
  auto config = small_store();
  config.seconds_kept = 100;
  MetricStore store(config);
  const auto gauge = define(store, "g", MetricKind::gauge);
  for (std::int64_t i = 0; i < 50; ++i) store.set(gauge, i % 2 == 0 ? INT64_MIN : INT64_MAX, s(i));
  // 32 jumps are kept, the last one upwards; of the 17 points after it nine lie below.
  EXPECT_EQ(store.counters().unkept, 9U);
  EXPECT_TRUE(store.verify());
}

TEST(MetricStore, AMetricTakesFortyKibibytesAtMost) {
  EXPECT_LE(MetricStore::bytes_of_metric({}), std::size_t{40} * 1'024);
  EXPECT_GT(MetricStore::bytes_of_metric({}), 5'040U * 4);
}

// --- counting ------------------------------------------------------------------------------------

TEST(MetricStore, IsTheSumOfItsWritersHoweverOftenTheyBeginAnew) {
  EXPECT_TRUE(rc::check("any writers", [] {
    Rng rng(*rc::gen::arbitrary<std::uint64_t>());
    MetricStore store(small_store());
    store.apply(metric::Define{"c", MetricKind::counter, {}}, Nanos{0});
    std::array<std::uint64_t, 4> columns{};
    std::uint64_t sum = 0;
    std::int64_t before = 0;
    for (int i = 0; i < 60; ++i) {
      const auto writer = static_cast<std::uint32_t>(rng.below(4));
      if (rng.below(9) == 0) columns[writer] = 0;
      if (rng.below(12) == 0) {
        const auto gone = store.apply(metric::WriterGone{writer}, Nanos{0});
        columns[writer] = gone.code == Errc::ok ? 0 : columns[writer];
      }
      const std::uint64_t more = 1 + rng.below(50);
      const bool is_anew = columns[writer] == 0;
      columns[writer] += more;
      // One that began anew and already stands higher cannot be told from one that went on.
      if (is_anew) store.apply(metric::Report{writer, 0, 0}, Nanos{0});
      RC_ASSERT(store.apply(metric::Report{writer, 0, columns[writer]}, Nanos{0}).code == Errc::ok);
      sum += more;
      if (rng.below(5) == 0) {
        store.add(0, 3, Nanos{0});
        sum += 3;
      }
      RC_ASSERT(store.value(0) >= before);
      before = store.value(0);
      RC_ASSERT(static_cast<std::uint64_t>(before) == sum);
    }
    RC_ASSERT(store.verify().has_value());
  }));
}

TEST(MetricStore, MergingIsAssociative) {
  Rng rng(mesh::testing::seed());
  std::vector<metric::Merge> parts(3);
  for (auto& part : parts) {
    for (int i = 0; i < 20; ++i) {
      part.buckets.push_back(
          {static_cast<std::uint32_t>(rng.below(960)), static_cast<std::uint32_t>(rng.below(9))});
    }
    part.sum_ns = rng.below(1'000);
  }
  const auto merged = [&](std::initializer_list<std::size_t> order) {
    MetricStore store(small_store());
    const auto times = define(store, "h", MetricKind::histogram);
    for (const std::size_t i : order) {
      auto part = parts[i];
      part.metric = times;
      store.apply(part, Nanos{0});
    }
    EXPECT_TRUE(store.verify());
    return store.state_hash();
  };
  EXPECT_EQ(merged({0, 1, 2}), merged({2, 1, 0}));
  EXPECT_EQ(merged({0, 1, 2}), merged({1, 2, 0}));
}

TEST(MetricStore, ACounterGoesOnBehindWhatStoodInTheTable) {
  MetricStore store({});
  store.apply(metric::Adopt{kCompleted, 1'000}, s(5));
  store.add(kCompleted, 1, s(5));
  store.apply(metric::Adopt{kCompleted, 10}, s(5));
  EXPECT_EQ(store.value(kCompleted), 1'001) << "never less";
  MetricStoreActions actions;
  store.tick(s(6), actions);
  EXPECT_EQ(store.rate(kCompleted), 0.0) << "what was adopted is no growth";
}

TEST(MetricStore, RatesAreOfTheLastTenWholeSeconds) {
  MetricStore store({});
  EXPECT_EQ(store.rate(kCompleted), std::nullopt) << "nothing is known yet";
  for (std::int64_t second = 0; second < 30; ++second) {
    store.add(kCompleted, second < 20 ? 100 : 7, s(second));
  }
  EXPECT_EQ(store.rate(kCompleted), (100.0 + 9 * 7) / 10);
  EXPECT_EQ(store.rate(MetricStore::of(StandardMetric::task_active)), std::nullopt);
  MetricStoreActions actions;
  store.tick(s(300), actions);
  EXPECT_EQ(store.rate(kCompleted), 0.0);
}

TEST(MetricStore, PercentilesAreOfThisMinuteAndTheLast) {
  MetricStore store({});
  for (int i = 0; i < 100; ++i) store.observe({kLatency, ms(1'000), 0}, s(0));
  for (int i = 1; i <= 100; ++i) store.observe({kLatency, ms(i), 0}, s(130));
  const auto latency = store.current().message.latency;
  EXPECT_NEAR(static_cast<double>(latency.p50_ns.value()), 50e6, 1e6);
  EXPECT_NEAR(static_cast<double>(latency.p95_ns.value()), 95e6, 2e6);
  EXPECT_NEAR(static_cast<double>(latency.p99_ns.value()), 99e6, 2e6);
  MetricStoreActions actions;
  store.tick(s(400), actions);
  EXPECT_EQ(store.current().message.latency.p50_ns, std::nullopt);
}

TEST(MetricStore, AnExemplarIsBehindTheSlowestSampleOfItsOctave) {
  MetricStore store({});
  store.observe({kLatency, Nanos{2'000}, 11}, s(0));
  store.observe({kLatency, Nanos{1'500}, 12}, s(0));
  store.observe({kLatency, Nanos{70'000}, 13}, s(0));
  store.observe({kLatency, Nanos{71'000}, 0}, s(0));
  const auto found = store.exemplars(kLatency);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].id, 11U);
  EXPECT_EQ(found[1].id, 13U);
}

TEST(MetricStore, TheTopAreThoseThatGrewMost) {
  MetricStore store({});
  store.add(kCompleted, 5, s(0));
  store.add(MetricStore::of(StandardMetric::message_sent), 9, s(1));
  store.add(MetricStore::of(StandardMetric::task_failed), 5, s(1));
  MetricStoreActions actions;
  store.tick(s(2), actions);
  const auto top = store.top(2);
  ASSERT_EQ(top.size(), 2U);
  EXPECT_EQ(top[0].metric, MetricStore::of(StandardMetric::message_sent));
  EXPECT_EQ(top[0].grown, 9U);
  EXPECT_EQ(top[1].metric, kCompleted) << "of two alike the lower";
  store.tick(s(400), actions);
  EXPECT_TRUE(store.top(2).empty());
}

// --- for others ----------------------------------------------------------------------------------

TEST(MetricStore, LabelsAreThoseOfTheCallerOrAbsent) {
  MetricStore store(small_store());
  const auto plain = define(store, "jobs", MetricKind::counter);
  const auto urgent = define(store, "jobs", MetricKind::counter, {"3", "", "a\"b\\"});
  store.add(plain, 1, s(0));
  store.add(urgent, 2, s(0));
  EXPECT_EQ(store.find("jobs").value(), plain);
  EXPECT_EQ(store.find("jobs", {"3", "", "a\"b\\"}).value(), urgent);
  EXPECT_FALSE(store.find("jobs", {"3", "", ""}));
  EXPECT_EQ(store.prometheus(),
            "# TYPE mesh_jobs counter\n"
            "mesh_jobs 1\n"
            "mesh_jobs{priority=\"3\",class=\"a\\\"b\\\\\"} 2\n");
}

TEST(MetricStore, APrometheusHistogramIsCumulativeInSeconds) {
  MetricStore store(small_store());
  const auto times = define(store, "wait.time", MetricKind::histogram, {"", "io", ""});
  store.observe({times, Nanos{1'500}, 0}, s(0));
  store.observe({times, ms(1'000), 0}, s(0));
  const std::string text = store.prometheus();
  EXPECT_NE(text.find("# TYPE mesh_wait_time_seconds histogram\n"), std::string::npos);
  EXPECT_NE(text.find("mesh_wait_time_seconds_bucket{type=\"io\",le=\"2.048e-06\"} 1\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("mesh_wait_time_seconds_bucket{type=\"io\",le=\"+Inf\"} 2\n"),
            std::string::npos);
  EXPECT_NE(text.find("mesh_wait_time_seconds_sum{type=\"io\"} 1.0000015\n"), std::string::npos);
  EXPECT_NE(text.find("mesh_wait_time_seconds_count{type=\"io\"} 2\n"), std::string::npos);
}

TEST(MetricStore, ItsJsonCanBeRead) {
  MetricStore store(small_store());
  const auto odd = define(store, "odd \"name\"\n\x01", MetricKind::counter, {"", "t", ""});
  const auto times = define(store, "h", MetricKind::histogram);
  store.add(odd, 4, s(0));
  store.observe({times, ms(5), 77}, s(1));
  const auto json = Json::parse(store.json());
  const auto& metrics = json.at("metrics");
  ASSERT_EQ(metrics.size(), 2U);
  EXPECT_EQ(metrics[0].at("name"), "odd \"name\"\n\x01");
  EXPECT_EQ(metrics[0].at("labels"), Json({{"type", "t"}}));
  EXPECT_EQ(metrics[0].at("value"), 4);
  EXPECT_EQ(metrics[0].at("per_s"), 4.0);
  EXPECT_EQ(metrics[1].at("exemplars")[0].at("id"), 77);
}

TEST(MetricStore, WhatCannotBeKnownIsNothing) {
  MetricStore store({});
  const auto now = store.current();
  EXPECT_EQ(now.task.success_rate, std::nullopt);
  EXPECT_EQ(now.task.duration_mean_s, std::nullopt);
  EXPECT_EQ(now.agent.utilization, std::nullopt);
  EXPECT_EQ(now.resource.contention_rate, std::nullopt);
  EXPECT_EQ(now.message.latency.p99_ns, std::nullopt);
}

// --- as every service ----------------------------------------------------------------------------

std::vector<Timed<MetricCommand>> trace(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<Timed<MetricCommand>> commands;
  Nanos now{0};
  const auto number = [&](std::uint64_t n) { return static_cast<std::uint32_t>(rng.below(n)); };
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t what = rng.below(20);
    MetricCommand command = metric::Add{number(4), rng.below(100)};
    if (i < 4 || what == 0) {
      const std::string name(1, static_cast<char>('a' + (i < 4 ? i : rng.below(8))));
      command = metric::Define{name, static_cast<MetricKind>(i % 3), {}};
    } else if (what < 5) {
      command = metric::Set{number(5), static_cast<std::int64_t>(rng.next() >> rng.below(64))};
    } else if (what < 9) {
      command = metric::Observe{number(4), ms(number(300)), rng.below(3)};
    } else if (what < 12) {
      command = metric::Report{number(5), number(4), rng.below(60)};
    } else if (what < 13) {
      command = metric::Merge{number(4), {{number(970), number(4)}}, rng.below(9)};
    } else if (what < 14) {
      command = metric::Adopt{number(4), rng.below(500)};
    } else if (what < 15) {
      command = metric::WriterGone{number(5)};
    }
    commands.push_back({now, command});
    now += ms(number(rng.below(10) == 0 ? 90'000 : 900));
  }
  return commands;
}

TEST(MetricStore, StaysSoundWhateverItIsTold) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    MetricStore store(small_store());
    for (const auto& one : trace(300, mesh::testing::seed() + seed)) {
      store.apply(one.command, one.now);
      const auto sound = store.verify();
      ASSERT_TRUE(sound) << sound.error().sentence << ", seed " << mesh::testing::seed() + seed;
    }
    EXPECT_GT(store.counters().missed, 100U);
  }
}

TEST(MetricStore, ReplaysAndSurvivesDeathsAndDamage) {
  expect_replays<MetricStore>(small_store(), trace(300, mesh::testing::seed()));
  CrashSweep<MetricStore> sweep(small_store(), trace(20, 3));
  sweep.with_ticks();
  EXPECT_GT(sweep.run(4), 50U);
  MetricStore store(small_store());
  for (const auto& one : trace(12, 5)) store.apply(one.command, one.now);
  expect_damage_found(store, small_store());
}

}  // namespace of_metric_store_test
}  // namespace mesh::tasks
