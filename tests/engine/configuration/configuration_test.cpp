// A mesh's configuration: what a file may say, and what it gets for what it may not.
#include "engine/configuration/configuration.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "engine/configuration/options.hpp"

namespace mesh::testing {
namespace of_configuration_test {

using engine::Configuration;
using engine::OptionFacts;
using engine::ReadConfiguration;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<OptionFacts> shown(const Configuration& configuration) {
  return engine::options_of(configuration);
}

std::string value_of(const Configuration& configuration, const std::string& table,
                     const std::string& key) {
  for (const OptionFacts& option : shown(configuration)) {
    if (option.table == table && option.key == key) return option.value;
  }
  return "no such option";
}

// One complaint, which names line, key, value and range.
void expect_complaint(const std::string& toml, std::uint32_t line, const std::string& sentence) {
  const ReadConfiguration read = engine::read_configuration(toml);
  ASSERT_THAT(read.complaints, SizeIs(1)) << toml;
  EXPECT_EQ(read.complaints[0].line, line) << toml;
  EXPECT_THAT(read.complaints[0].sentence, HasSubstr(sentence)) << toml;
}

TEST(ConfigurationRefuses, AStoreThatCannotBe) {
  expect_complaint("[store]\nurl = 3\n", 2, "url");
  expect_complaint("[store]\nurl = \"\"\n", 2, "url");
  expect_complaint("[store]\nspill_mib = 0\n", 2, "spill_mib");
  expect_complaint("[store]\nload_ms = 0\n", 2, "load_ms");
  expect_complaint("[store]\nhistory_days = 29\n", 2, "history_days");
  expect_complaint("[store]\nresults_days = 0\n", 2, "results_days");
  expect_complaint("[store]\nresults_max = 0\n", 2, "results_max");
  expect_complaint("[store]\nspill = \"a\"\n", 0, "is for a store, and there is none");
  expect_complaint("[store]\nurl = \"postgresql://h/d\"\n", 0, "needs a spill file of its own");
  expect_complaint("[store]\nurl = \"postgres://h/d\"\n", 0, "needs a spill file of its own");
  expect_complaint("[store]\nurl = \"mysql://h/d\"\n", 0, "neither a file's path nor postgresql");
  expect_complaint("[store]\nurl = \"sqlite:/a/b.db\"\n", 0,
                   "neither a file's path nor postgresql");
}
TEST(Configuration, SaysWhereConflictsAreRecorded) {
  const ReadConfiguration read = engine::read_configuration(
      "[store]\nurl = \"/var/conflicts.db\"\nspill = \"/other/spill\"\nspill_mib = 3\nload_ms = "
      "250\nhistory_days = 90\nresults_days = 7\nresults_max = 5000\n");
  ASSERT_THAT(read.complaints, IsEmpty());
  const auto options = engine::engine_options(read.configuration);
  ASSERT_TRUE(options.has_value());
  EXPECT_EQ(options->conflicts.store, "/var/conflicts.db");
  EXPECT_EQ(options->conflicts.spill, "/other/spill");
  EXPECT_EQ(options->conflicts.spill_bytes, 3U << 20);
  EXPECT_EQ(options->conflicts.load_patience, Nanos{250 * kNsPerMs});
  EXPECT_EQ(options->conflicts.history.history_days, 90);
  EXPECT_EQ(options->conflicts.history.results_days, 7);
  EXPECT_EQ(options->conflicts.history.results_max, 5'000U);
  EXPECT_EQ(value_of(read.configuration, "store", "url"), "\"/var/conflicts.db\"");
  EXPECT_EQ(value_of({}, "store", "url"), "") << "not set: nowhere";
}

// Where toml++ 3.1 looks for white space, a letter that is not ASCII is undefined behaviour.
TEST(ConfigurationRefuses, LettersThatAreNotAsciiOutsideCommentsAndStringsOfOneLine) {
  const std::string e = "\xC3\xA9";
  const std::string lines = R"(""")";
  for (const std::string& second :
       {"agents " + e + " = 3", e + " = 3", "name = " + lines + e + lines, "name = '''" + e,
        "name = " + lines + "\\" + e + lines, "name = \"a\" " + e, "name = \"a\\\\\" " + e,
        "name = 'a\\' " + e, "# a\xE2\x80\xA8" + e, "# a\xC2\x85" + e,
        "name = " + lines + "a" + lines + "\" " + e, std::string("\xFF")}) {
    expect_complaint("[mesh]\n" + second + "\n", 2, "letters that are not ASCII stand in comments");
  }
  expect_complaint("[mesh]\nname = '''\n\n" + e + "'''\n", 4, "letters that are not ASCII");
}
TEST(Configuration, TakesLettersThatAreNotAsciiInCommentsAndStringsOfOneLine) {
  const std::string e = "\xC3\xA9";
  const ReadConfiguration read = engine::read_configuration(
      "\xEF\xBB\xBF# " + e + " '''\n[mesh]\nagents = 7 # " + e + " \"\"\"\n[engine]\n" +
      "directory = \"/" + e + " \\\" # '\" # " + e + "\n");
  EXPECT_EQ(read.configuration.agents, 7U);
  for (const auto& complaint : read.complaints)
    EXPECT_EQ(complaint.sentence.find("ASCII"), std::string::npos) << complaint.sentence;
}

TEST(ConfigurationRefuses, AKeyItDoesNotKnowAndNamesThoseItDoes) {
  expect_complaint("[mesh]\nagent = 3\n", 2, "\"agent\" in [mesh]: there is no such key");
  expect_complaint("[mesh]\nagent = 3\n", 2, "agents, sectors");
}
TEST(ConfigurationRefuses, ATableItDoesNotKnowAndAKeyOutsideOfAny) {
  expect_complaint("[mash]\nagents = 3\n", 1, "\"mash\": is no table of ours; there are mesh,");
  expect_complaint("agents = 3\n", 1, "\"agents\": is no table of ours");
  expect_complaint("mesh = 3\n", 1, "\"mesh\": is no table of ours");
}
TEST(ConfigurationRefuses, AValueOutsideOfItsRangeAndNamesBoth) {
  expect_complaint("[scheduling]\nbucket_ms = 500\n", 2,
                   "scheduling.bucket_ms = 500: must be 0.1 to 100 ms");
  expect_complaint("[scheduling]\nbucket_ms = 0.09\n", 2, "0.1 to 100 ms");
  expect_complaint("[mesh]\nstations = 65536\n", 2, "a whole number from 1 to 65535");
  expect_complaint("[mesh]\nsectors = 0\n", 2, "mesh.sectors = 0");
  expect_complaint("[engine]\ncpu = -1\n", 2, "engine.cpu = -1: must be a whole number from 0");
  expect_complaint("[engine]\nstuck_ms = 0\n", 2, "1 to 3600000 ms");
  expect_complaint("[attach]\nuids = [1, -2]\n", 2, "a list of whole numbers from 0 to 4294967295");
  expect_complaint("[scheduling]\nz = -1\n", 2, "must be 0 to 10");
  expect_complaint("[throttle]\nflood_factor = 1\n", 2, "must be 1.5 to 1000000");
}
TEST(ConfigurationRefuses, NotANumber) {
  expect_complaint("[scheduling]\nz = nan\n", 2, "scheduling.z = nan: must be 0 to 10");
  expect_complaint("[scheduling]\nz = inf\n", 2, "must be 0 to 10");
  expect_complaint("[engine]\nreconnect_ms = nan\n", 2, "must be 0 to 3600000 ms");
}
TEST(ConfigurationRefuses, AValueOfAnotherType) {
  expect_complaint("[engine]\nwait = \"sleep\"\n", 2,
                   "engine.wait = \"sleep\": must be spin, adaptive or park");
  expect_complaint("[engine]\nwait = 1\n", 2, "must be spin, adaptive or park");
  expect_complaint("[mesh]\nagents = \"many\"\n", 2, "mesh.agents = \"many\"");
  expect_complaint("[mesh]\nagents = 3.5\n", 2, "mesh.agents = 3.5");
  expect_complaint("[attach]\nanyone = \"yes\"\n", 2, "must be true or false");
  expect_complaint("[chaos]\nallow_live = 1\n", 2, "must be true or false");
  expect_complaint("[attach]\nuids = 1000\n", 2, "a list of");
  expect_complaint("[attach]\nuids = [\"root\"]\n", 2, "a list of");
  expect_complaint("[mesh]\nname = 1979-05-27\n", 2, "a name without a slash");
  expect_complaint("[mesh.agents]\nx = 1\n", 1, "mesh.agents = a table: must be");
}
TEST(ConfigurationRefuses, AScheduleOfBackupsWithoutADirectoryAndADirectoryThatIsRelative) {
  const auto refused = [](const std::string& text) {
    const ReadConfiguration read = engine::read_configuration(text);
    return read.complaints.empty() ? std::string() : read.complaints[0].sentence;
  };
  EXPECT_THAT(refused("[backup]\nevery_s = 60\n"), HasSubstr("backup.directory"));
  EXPECT_THAT(refused("[backup]\ndirectory = \"here\"\n"), HasSubstr("an absolute path"));
  EXPECT_THAT(refused("[recovery]\nspawn = \"\"\n"), HasSubstr("a command"));
  EXPECT_THAT(refused("[recovery]\nattempts = 0\n"), HasSubstr("1 to 1000"));
  EXPECT_EQ(refused("[backup]\nevery_s = 60\ndirectory = \"/b\"\n"), "");
}

TEST(ConfigurationRefuses, ANameThatIsNoPathComponent) {
  for (const char* const name : {"", ".", "..", "a/b", "a\\u0000b"}) {
    expect_complaint("[mesh]\nname = \"" + std::string(name) + "\"\n", 2,
                     "must be a name without a slash");
  }
  expect_complaint("[mesh]\ndirectory = \"\"\n", 2, "must be a path");
}
TEST(ConfigurationRefuses, WhatIsNoTomlWithItsLine) {
  expect_complaint("[mesh]\nagents =\n", 2, "is no TOML");
  expect_complaint("[mesh]\nagents = 1\nagents = 2\n", 3, "is no TOML");
  expect_complaint(std::string("[mesh]\nname = \"\xff\"\n"), 2, "is no TOML");
}
TEST(ConfigurationRefuses, MoreAgentsThanPlaces) {
  expect_complaint("[mesh]\nsectors = 1\nclusters = 1\nagents = 31\n", 0,
                   "agents = 31: must be a whole number from 1 to 30");
  expect_complaint("[mesh]\nsectors = 1000\nclusters = 1000\n", 0, "the most is 1048576");
  expect_complaint("[mesh]\nsectors = 1048576\nclusters = 65535\ncluster_agents = 512\n", 0,
                   "the most is 1048576");
  expect_complaint("[mesh]\nclusters = 65536\n", 2, "from 1 to 65535");
  expect_complaint("[mesh]\ncluster_agents = 513\n", 2, "from 1 to 512");
}

// "validated as a whole": all mistakes at once, in the order of their lines.
TEST(ConfigurationRefuses, EveryMistakeOfAFileAtOnce) {
  const ReadConfiguration read = engine::read_configuration(
      "[scheduling]\nz = 11\n[mesh]\nsectors = 0\nsector = 3\n[nothing]\n");
  std::vector<std::uint32_t> lines;
  for (const engine::Complaint& complaint : read.complaints) lines.push_back(complaint.line);
  EXPECT_THAT(lines, ::testing::ElementsAre(2, 4, 5, 6));
}
TEST(ConfigurationRefuses, ValuesThatWouldDriveATerminal) {
  const ReadConfiguration read = engine::read_configuration("[engine]\nwait = \"\\u001b[2J\"\n");
  ASSERT_THAT(read.complaints, SizeIs(1));
  EXPECT_EQ(read.complaints[0].sentence.find('\x1b'), std::string::npos);
}

TEST(Configuration, OfAnEmptyFileIsTheDefault) {
  const ReadConfiguration read = engine::read_configuration("");
  EXPECT_THAT(read.complaints, IsEmpty());
  for (const OptionFacts& option : shown(read.configuration)) {
    EXPECT_FALSE(option.differs) << option.table << '.' << option.key;
  }
}

TEST(Configuration, DefaultsAreThoseOfTheEngine) {
  const Configuration configuration;
  const engine::EngineOptions engine;
  const engine::EngineOptions made = engine::engine_options(configuration).value();
  EXPECT_EQ(made.size.agents, 30'000U);
  EXPECT_EQ(made.size.stations, 128U);
  EXPECT_EQ(made.size.agents_per_station, 30'000U);
  EXPECT_EQ(made.reconnect, engine.reconnect);
  EXPECT_EQ(made.stuck_after, engine.stuck_after);
  EXPECT_EQ(made.wait, engine.wait);
  EXPECT_EQ(made.loop.bucket, engine.loop.bucket);
  EXPECT_EQ(made.loop.z, engine.loop.z);
}

TEST(Configuration, TakesWhatAFileSays) {
  const ReadConfiguration read = engine::read_configuration(R"(
[mesh]
directory = "/dev/shm/mine"
sectors = 3
clusters = 3
cluster_agents = 12
agents = 100
stations = 7
[engine]
wait = "park"
cpu = 1
reconnect_ms = 250.5
stuck_ms = 1
upkeep_ms = 500
[throttle]
enabled = false
flood_factor = 2.5
baseline_min = 7
[attach]
uids = [1000, 1001]
[scheduling]
model = "nominal"
bucket_ms = 0.5
z = 2
tolerance_ms = 20
[registry]
agent_ttl_s = 1.5
[health]
mode_enter_ms = 30
mode_leave_ms = 100
cluster_failures = 6
sector_failures = 51
open_sectors = 11
window_ms = 600
open_ms = 300
retry_ms = 601
half_open_ms = 602
crash_grace_ms = 10
cascade_ms = 101
unanswered = 4
spike_factor = 5
spike_bin_ms = 6000
lag_max_ms = 2.5
settle_ms = 20
[chaos]
allow_live = true
)");
  ASSERT_THAT(read.complaints, IsEmpty());
  const engine::EngineOptions made = engine::engine_options(read.configuration).value();
  EXPECT_EQ(made.directory, "/dev/shm/mine");
  EXPECT_EQ(made.size.agents, 100U);
  EXPECT_EQ(made.size.agents_per_station, 100U);
  EXPECT_EQ(made.size.stations, 7U);
  EXPECT_EQ(made.size.clusters_per_sector, 3U);
  EXPECT_EQ(made.size.agents_per_cluster, 12U);
  EXPECT_EQ(engine::sectors_of(made.size), 3U);
  EXPECT_TRUE(made.allow_live_chaos);
  EXPECT_FALSE(engine::engine_options({})->allow_live_chaos) << "unless somebody says so";
  EXPECT_EQ(made.wait, queues::WaitPolicy::kPark);
  EXPECT_EQ(made.cpu, 1);
  EXPECT_EQ(made.reconnect, Nanos{250'500'000});
  EXPECT_EQ(made.stuck_after, Nanos{kNsPerMs});
  EXPECT_EQ(made.loop.upkeep, Nanos{500 * kNsPerMs});
  EXPECT_FALSE(made.loop.throttle.enabled);
  EXPECT_EQ(made.loop.throttle.flood_factor, 2.5);
  EXPECT_EQ(made.loop.throttle.baseline_min, 7);
  EXPECT_THAT(made.policy.uids, ::testing::ElementsAre(1000, 1001));
  EXPECT_FALSE(made.policy.anyone);
  EXPECT_EQ(made.loop.model, sched::Model::kNominal);
  EXPECT_EQ(made.loop.bucket, Nanos{500'000});
  EXPECT_EQ(made.loop.z, 2);
  EXPECT_EQ(made.loop.tolerance, Nanos{20 * kNsPerMs});
  EXPECT_EQ(made.loop.agent_ttl, Nanos{1'500 * kNsPerMs});
  // Part 12's.
  const engine::health::WatchOptions& watch = made.loop.watch;
  EXPECT_EQ(watch.modes.enter_after, Nanos{30 * kNsPerMs});
  EXPECT_EQ(watch.modes.leave_after, Nanos{100 * kNsPerMs});
  EXPECT_EQ(watch.breakers.cluster_failures_max, 6U);
  EXPECT_EQ(watch.breakers.sector_failures_max, 51U);
  EXPECT_EQ(watch.breakers.open_sectors_max, 11U);
  EXPECT_EQ(watch.breakers.window, Nanos{600 * kNsPerMs});
  EXPECT_EQ(watch.breakers.open, Nanos{300 * kNsPerMs});
  EXPECT_EQ(watch.breakers.probe_retry, Nanos{601 * kNsPerMs});
  EXPECT_EQ(watch.breakers.half_open, Nanos{602 * kNsPerMs});
  EXPECT_EQ(watch.breakers.crash_grace, Nanos{10 * kNsPerMs});
  EXPECT_EQ(watch.failures.cascade_window, Nanos{101 * kNsPerMs});
  EXPECT_EQ(watch.failures.unanswered_max, 4U);
  EXPECT_EQ(watch.failures.spike_factor, 5U);
  EXPECT_EQ(watch.failures.spike_bin, Nanos{6'000 * kNsPerMs});
  EXPECT_EQ(watch.failures.lag_max, Nanos{2'500'000});
  EXPECT_EQ(watch.failures.settle, Nanos{20 * kNsPerMs});
}

// mesh.md part 12: every number, and nothing of it may move unseen.
TEST(Configuration, OfHealthIsPartTwelveWhereNothingIsSaid) {
  const engine::health::WatchOptions watch = engine::engine_options({})->loop.watch;
  EXPECT_EQ(watch.modes.enter_after, Nanos{3 * kNsPerSecond});
  EXPECT_EQ(watch.modes.leave_after, Nanos{10 * kNsPerSecond});
  EXPECT_EQ(watch.breakers.cluster_failures_max, 5U);
  EXPECT_EQ(watch.breakers.sector_failures_max, 50U);
  EXPECT_EQ(watch.breakers.open_sectors_max, 10U);
  EXPECT_EQ(watch.breakers.window, Nanos{60 * kNsPerSecond});
  EXPECT_EQ(watch.breakers.open, Nanos{30 * kNsPerSecond});
  EXPECT_EQ(watch.breakers.probe_retry, Nanos{60 * kNsPerSecond});
  EXPECT_EQ(watch.breakers.half_open, Nanos{60 * kNsPerSecond});
  EXPECT_EQ(watch.breakers.half_open_pass_every, 10U);
  EXPECT_EQ(watch.breakers.half_open_failure_ppm, 50'000U);
  EXPECT_EQ(watch.failures.crashed, Nanos{30 * kNsPerSecond});
  EXPECT_EQ(watch.failures.cascade_window, Nanos{10 * kNsPerSecond});
  EXPECT_EQ(watch.failures.unanswered_max, 3U);
  EXPECT_EQ(watch.failures.spike_factor, 2U);
  EXPECT_EQ(6 * watch.failures.spike_bin, Nanos{3'600 * kNsPerSecond});
}

TEST(Configuration, AgentsAreAllPlacesWhereTheyAreNotSaid) {
  const auto read = engine::read_configuration("[mesh]\nsectors = 2\nclusters = 2\n");
  EXPECT_EQ(engine::engine_options(read.configuration).value().size.agents, 120U);
}

// A scheduler thread that never sleeps may not also be one that nobody can push aside.
TEST(Configuration, AsksForFifoWhereTheThreadSleepsAlone) {
  Configuration configuration;
  EXPECT_EQ(engine::engine_options(configuration).value().fifo_priority, 1);
  configuration.wait = queues::WaitPolicy::kSpin;
  EXPECT_EQ(engine::engine_options(configuration).value().fifo_priority, 0);
}

TEST(ConfigurationExample, IsAFileThatSaysTheDefaults) {
  const std::string example = engine::example_configuration();
  const ReadConfiguration read = engine::read_configuration(example);
  EXPECT_THAT(read.complaints, IsEmpty());
  for (const OptionFacts& option : shown(read.configuration)) {
    EXPECT_FALSE(option.differs) << option.table << '.' << option.key;
    EXPECT_THAT(example, HasSubstr(std::string(option.key) + " ="));
    EXPECT_THAT(example, HasSubstr(std::string(option.sentence)));
  }
}

TEST(Configuration, EveryOptionCanBeShownAndReadAgain) {
  EXPECT_TRUE(rc::check("what is shown is what is read", [] {
    Configuration configuration;
    configuration.sectors = *rc::gen::inRange<std::uint64_t>(1, 50);
    configuration.clusters = *rc::gen::inRange<std::uint64_t>(1, 50);
    configuration.stations = *rc::gen::inRange<std::uint64_t>(1, 65'536);
    configuration.name = *rc::gen::string<std::string>();
    configuration.stuck_after = Nanos{*rc::gen::inRange<std::int64_t>(1, 3'600'001) * kNsPerMs};
    configuration.loop.bucket = Nanos{*rc::gen::inRange<std::int64_t>(100, 100'001) * 1'000};
    configuration.loop.z = *rc::gen::inRange(0, 1'001) / 100.0;
    configuration.attach.anyone = *rc::gen::arbitrary<bool>();
    configuration.attach.uids = *rc::gen::arbitrary<std::vector<std::uint32_t>>();
    for (char& letter : configuration.name) letter = static_cast<char>(1 + (letter & 0x7E));
    std::replace(configuration.name.begin(), configuration.name.end(), '/', '_');
    configuration.name += "\"\\";
    std::string toml;
    for (const OptionFacts& option : engine::options_of(configuration)) {
      if (option.value.empty()) continue;
      toml +=
          std::string(option.table) + "." + std::string(option.key) + " = " + option.value + "\n";
    }
    const ReadConfiguration read = engine::read_configuration(toml);
    RC_ASSERT(read.complaints.empty());
    for (const OptionFacts& option : engine::options_of(configuration)) {
      RC_ASSERT(value_of(read.configuration, std::string(option.table), std::string(option.key)) ==
                option.value);
    }
  }));
}

TEST(Reload, SaysWhatChangesAtOnceAndWhatWaits) {
  Configuration before;
  Configuration after;
  after.loop.z = 2;
  after.stuck_after = Nanos{5 * kNsPerSecond};
  after.stations = 64;
  const engine::Reload reload = engine::reload(before, after);
  EXPECT_THAT(reload.applied, ::testing::ElementsAre("engine.stuck_ms = 5000, was 10000",
                                                     "scheduling.z = 2, was 1.645"));
  EXPECT_THAT(reload.waiting, ::testing::ElementsAre("mesh.stations = 64, was 128"));
  EXPECT_EQ(reload.tuning.loop.z, 2);
  EXPECT_EQ(reload.tuning.stuck_after, Nanos{5 * kNsPerSecond});
}

// What the table calls reloadable is what a reload carries over, and nothing else is.
TEST(Reload, CarriesOverEveryReloadableOptionAndNoOther) {
  const std::vector<std::pair<std::string, std::string>> others = {
      {"mesh.name", "\"other\""},
      {"mesh.directory", "\"/dev/shm/x\""},
      {"mesh.agents", "5"},
      {"mesh.sectors", "3"},
      {"mesh.clusters", "4"},
      {"mesh.cluster_agents", "4"},
      {"health.mode_enter_ms", "1"},
      {"health.mode_leave_ms", "1"},
      {"health.cluster_failures", "1"},
      {"health.sector_failures", "1"},
      {"health.open_sectors", "1"},
      {"health.window_ms", "10"},
      {"health.open_ms", "1"},
      {"health.retry_ms", "1"},
      {"health.half_open_ms", "1"},
      {"health.crash_grace_ms", "1"},
      {"health.cascade_ms", "1"},
      {"health.unanswered", "1"},
      {"health.spike_factor", "3"},
      {"health.spike_bin_ms", "1"},
      {"health.lag_max_ms", "1"},
      {"health.settle_ms", "1"},
      {"mesh.stations", "5"},
      {"engine.wait", "\"park\""},
      {"engine.cpu", "1"},
      {"engine.reconnect_ms", "1"},
      {"engine.stuck_ms", "1"},
      {"engine.upkeep_ms", "2"},
      {"throttle.enabled", "false"},
      {"throttle.flood_factor", "11"},
      {"throttle.baseline_min", "101"},
      {"attach.anyone", "true"},
      {"chaos.allow_live", "true"},
      {"attach.uids", "[1]"},
      {"scheduling.model", "\"nominal\""},
      {"scheduling.bucket_ms", "2"},
      {"scheduling.z", "1"},
      {"scheduling.tolerance_ms", "60"},
      {"registry.agent_ttl_s", "1"},
      {"store.url", "\"/store\""},
      {"store.spill", "\"/spill\"\nstore.url = \"/store\""},
      {"store.spill_mib", "1"},
      {"store.load_ms", "1"},
      {"store.history_days", "31"},
      {"store.results_days", "31"},
      {"store.results_max", "1"},
      {"backup.directory", "\"/var/backups\""},
      {"backup.every_s", "3600\nbackup.directory = \"/var/backups\""},
      {"backup.keep", "3"},
      {"newcomers.warm_ups", "9"},
      {"newcomers.every_ms", "501"},
      {"newcomers.share_percent", "11"},
      {"recovery.spawn", "\"true\""},
      {"recovery.backoff_ms", "5"},
      {"recovery.patience_ms", "5"},
      {"recovery.context_ms", "5"},
      {"recovery.attempts", "2"}};
  ASSERT_THAT(others, SizeIs(engine::options().size()));
  for (const auto& [path, value] : others) {
    const auto read = engine::read_configuration(path + " = " + value);
    ASSERT_THAT(read.complaints, IsEmpty()) << path;
    const Configuration taken = engine::with_tuning_of(Configuration{}, read.configuration);
    for (const OptionFacts& option : shown(taken)) {
      const bool is_it = path == std::string(option.table) + "." + std::string(option.key);
      EXPECT_EQ(option.differs, is_it && option.is_reloadable) << path << ' ' << option.key;
    }
  }
}

}  // namespace of_configuration_test
}  // namespace mesh::testing
