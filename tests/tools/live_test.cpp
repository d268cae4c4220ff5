// The verbs that only look, on meshes that live, hang and are dead; the doctor; their functions.
// behind them.
#include <csignal>
#include <filesystem>
#include <fstream>

#include <poll.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "engine/reports/doctor_report.hpp"
#include "engine/reports/kpi.hpp"
#include "engine/reports/mesh_counters.hpp"
#include "tests/tools/live_mesh.hpp"
#include "tools/kpi_report.hpp"

namespace mesh::testing {
namespace of_live_test {

using engine::CounterKind;
using engine::reports::MeshCounters;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using Json = nlohmann::json;

void expect_refused(const Ran& ran, int exit_code, const std::string& sentence) {
  EXPECT_EQ(ran.exit_code, exit_code) << ran.out << ran.err;
  EXPECT_THAT(ran.out, IsEmpty());
  EXPECT_THAT(ran.err, HasSubstr(sentence));
}

// Refusals first.

TEST(LiveVerbs, RefuseWhatTheyCannotDo) {
  expect_refused(run_mesh({"hz", "--interval", "0"}), 2, "--interval \"0\"");
  expect_refused(run_mesh({"hz", "--interval", "soon"}), 2, "0.1 to 3600 seconds");
  expect_refused(run_mesh({"hz", "--count", "-1"}), 2, "--count");
  expect_refused(run_mesh({"kpi", "--json", "--markdown"}), 2, "one of them");
  expect_refused(run_mesh({"top", "--rows", "0"}), 2, "--rows");
  expect_refused(run_mesh({"top", "--columns", "x"}), 2, "--columns");
}
TEST(LiveVerbs, SayThatThereIsNoMeshWithExitCode3) {
  const Folder folder;
  for (const char* const verb : {"stat", "hz", "top", "errors", "kpi", "doctor", "tail"}) {
    expect_refused(run_mesh({verb, "--dir", folder.mesh()}), 3, folder.mesh());
  }
}
TEST(LiveVerbs, RefuseACounterThatThereIsNone) {
  const Live live;
  expect_refused(live.run({"stat", "nosuch"}), 2, "no counter is called \"nosuch\"");
  expect_refused(live.run({"hz", "nosuch*"}), 2, "no counter is called");
}

// What they show.

TEST(Stat, ShowsEveryCounterOnceWithUnitAndMeaning) {
  const Live live;
  const Json report = live.seen({"stat"});
  EXPECT_EQ(report["engine_running"], true);
  std::set<std::string> names;
  for (const Json& one : report["counters"]) {
    EXPECT_TRUE(names.insert(one["counter"]).second) << one;
    EXPECT_THAT(one["unit"].get<std::string>(), Not(IsEmpty()));
    EXPECT_THAT(one["means"].get<std::string>(), Not(IsEmpty()));
  }
  EXPECT_EQ(names.size(), engine::kSchedulerCounters.size() + engine::kControlCounters.size());
}
TEST(Stat, CountsWhatStatusCounts) {
  Live live;
  live.enrol("40");
  ASSERT_EQ(live.run({"scatter", "hello"}).exit_code, 0);
  EXPECT_TRUE(live.publishes("deliveries", 40));
  EXPECT_TRUE(live.publishes("operations_quorum", 1));
  EXPECT_TRUE(live.publishes("stations", 2));
  const Json status = live.seen({"status"});
  EXPECT_EQ(live.seen({"stat", "deliveries"})["counters"][0]["value"],
            status["counters"]["deliveries"]);
}
TEST(Stat, WorksBesideAnEngineThatHangsAndOneThatIsDead) {
  Live live;
  live.enrol("40");
  ASSERT_EQ(live.run({"scatter", "hello"}).exit_code, 0);
  ASSERT_TRUE(live.publishes("operations_ended", 1));
  live.engine().signal(SIGSTOP);
  EXPECT_EQ(live.seen({"stat", "operations"})["engine_running"], true);
  live.kill_engine();
  const Json dead = live.seen({"stat", "operations_ended"});
  EXPECT_EQ(dead["engine_running"], false);
  EXPECT_EQ(dead["counters"][0]["value"], 1);
  const Json errors = live.seen({"errors"});
  EXPECT_EQ(errors["engine_running"], false);
  live.start();
  EXPECT_TRUE(live.publishes("operations_ended", 1)) << "totals go on over restarts";
}
TEST(Hz, GivesRatesOfARunningEngineAndNoneOfOneThatHangs) {
  Live live;
  const Json rates = live.seen({"hz", "ticks"});
  ASSERT_THAT(rates["rates"], SizeIs(1));
  EXPECT_GT(rates["rates"][0]["per_second"], 0);
  EXPECT_EQ(rates["rates"][0]["unit"], "ticks/s");
  live.engine().signal(SIGSTOP);
  const Ran ran = live.run({"hz", "ticks", "--json", "--interval", "0.1"});
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_EQ(Json::parse(ran.out)["rates"][0]["per_second"], nullptr);
}
TEST(Errors, NameWhoWasLostAndWhatWasRefused) {
  Live live;
  EXPECT_THAT(live.seen({"errors"})["errors"], SizeIs(0));
  ASSERT_EQ(live.run({"send", "nobody", "hello"}).exit_code, 1);
  const Json errors = live.seen({"errors"})["errors"];
  ASSERT_THAT(errors, SizeIs(1));
  EXPECT_EQ(errors[0]["code"], "no_such_agent");
  EXPECT_EQ(errors[0]["count"], 1);
  ASSERT_EQ(live.run({"send", "nobody", "again"}).exit_code, 1);
  EXPECT_EQ(live.seen({"errors"})["errors"][0]["count"], 2);
}
TEST(Top, PrintsOneFrameWithoutEscapesWhereThereIsNoTerminal) {
  Live live;
  live.enrol("40");
  ASSERT_EQ(live.run({"scatter", "hello"}).exit_code, 0);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"top"}, std::vector<std::string>{"top", "--once"}}) {
    const Ran ran = live.run(words);
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    EXPECT_THAT(ran.out, Not(HasSubstr("\x1b")));
    EXPECT_THAT(ran.out, HasSubstr("engine runs, process"));
    EXPECT_THAT(ran.out, HasSubstr("active 40 of 40 (100.0 %)"));
    EXPECT_LE(std::count(ran.out.begin(), ran.out.end(), '\n'), 24);
  }
  const Json frame = live.seen({"top"});
  EXPECT_EQ(frame["active"], 40);
  EXPECT_TRUE(frame["per_second"]["in"].is_number()) << frame;
}
TEST(Kpi, MeasuresWhatAnEngineCountedAndSaysWhatItDoesNotKnow) {
  Live live;
  live.enrol("40");
  ASSERT_EQ(live.run({"scatter", "hello"}).exit_code, 0);
  ASSERT_TRUE(live.publishes("operations_ended", 1));
  const Ran ran = live.run({"kpi", "--json"});
  const Json kpis = Json::parse(ran.out)["kpis"];
  EXPECT_EQ(kpis[0]["kpi"], "operations reaching quorum");
  EXPECT_EQ(kpis[0]["hour"]["value"], 1.0);
  EXPECT_EQ(kpis[0]["hour"]["target"], "pass");
  EXPECT_EQ(kpis[1]["all"]["of"], 40);
  EXPECT_EQ(kpis[6]["kpi"], "cascade p95");
  EXPECT_EQ(kpis[6]["hour"]["value"], nullptr);
  EXPECT_THAT(live.run({"kpi", "--markdown"}).out, StartsWith("# KPIs of "));
}

// Whether the tail has begun to look: of what was sent before nothing is shown.
void expect_tailing(StartedMesh& tail, const Live& live) {
  std::string first;
  for (int i = 0; first.empty() && i < 100; ++i) {
    ASSERT_EQ(live.run({"send", "swarm-0", "anybody?"}).exit_code, 0);
    pollfd out{tail.fd(), POLLIN, 0};
    if (::poll(&out, 1, 100) == 1) first = tail.line();
  }
  EXPECT_THAT(first, HasSubstr("anybody?"));
}

TEST(Tail, ShowsWhatPassesInItsOrderAndNothingOfItIsMissed) {
  Live live;
  live.enrol("40");
  StartedMesh tail({"tail", "--json", "--dir", live.mesh()});
  expect_tailing(tail, live);
  ASSERT_EQ(live.run({"send", "swarm-7", "first"}).exit_code, 0);
  ASSERT_EQ(live.run({"scatter", "second"}).exit_code, 0);
  std::vector<Json> seen;
  std::set<std::string> reached;
  while (reached.size() < 40) {
    const Json one = Json::parse(tail.line(), nullptr, false);
    ASSERT_TRUE(one.is_object());
    ASSERT_FALSE(one.contains("missed"));
    if (one["body"] == "anybody?") continue;
    seen.push_back(one);
    if (one["body"] == "second") {
      EXPECT_TRUE(reached.insert(one["to"]).second) << one;
    }
  }
  EXPECT_EQ(seen[0]["to"], "swarm-7");
  EXPECT_EQ(seen[0]["body"], "first");
  EXPECT_EQ(seen[0]["from"], nullptr) << "the engine's own";
  EXPECT_EQ(seen[1]["kind"], "message");
  EXPECT_GT(seen[1]["target_ns"], seen[1]["sent_ns"]);
  tail.signal(SIGINT);
  EXPECT_EQ(tail.wait().exit_code, 0);
}
TEST(Tail, CountsWhatPassedWhileItDidNotLook) {
  Live live;
  live.enrol("40");
  StartedMesh tail({"tail", "--json", "--dir", live.mesh()});
  expect_tailing(tail, live);
  tail.signal(SIGSTOP);
  const std::uint64_t laps = 1'024 / 20 + 10;  // 20 agents and 1,024 slots a station
  for (std::uint64_t i = 0; i < laps; ++i) {
    ASSERT_EQ(live.run({"broadcast", "again", "--horizon-ms", "0"}).exit_code, 0);
  }
  ASSERT_TRUE(live.publishes("deliveries", laps * 40));
  tail.signal(SIGCONT);
  bool has_missed = false;
  while (!has_missed) {
    const Json one = Json::parse(tail.line(), nullptr, false);
    ASSERT_TRUE(one.is_object());
    has_missed = one.contains("missed");
    if (has_missed) {
      EXPECT_GT(one["missed"], 1'024);
    }
  }
}

TEST(Record, IsPlayedAgainAndAnswered) {
  Live live;
  StartedMesh printer({"agent", "--name", "printer", "--exec", "cat", "--dir", live.mesh()});
  ASSERT_TRUE(live.publishes("agents_active", 1));
  const Folder folder;
  const std::string file = folder.file("a.rec");
  StartedMesh record({"record", file, "--count", "3", "--json", "--dir", live.mesh()});
  for (int i = 0; i < 1'000 && !std::filesystem::exists(file); ++i) {
    (void)live.run({"status"});  // until it looks
  }
  for (const char* const text : {"one", "two", "three"}) {
    ASSERT_EQ(live.run({"send", "printer", text}).exit_code, 0);
  }
  const Ran recorded = record.wait();
  EXPECT_EQ(recorded.exit_code, 0) << recorded.err;
  const Ran again = live.run({"record", file});
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_THAT(again.err, HasSubstr("is there already"));
  const Ran played = live.run({"replay", file, "--speed", "10", "--json"});
  EXPECT_EQ(played.exit_code, 0) << played.out << played.err;
  const Json result = Json::parse(played.out, nullptr, false);
  EXPECT_EQ(result["sent"], 3);
  EXPECT_EQ(result["ready"], 3);
  printer.signal(SIGTERM);
  EXPECT_EQ(printer.wait().exit_code, 0);
  const Ran nobody = live.run({"replay", file, "--speed", "1000", "--timeout-ms", "1"});
  EXPECT_EQ(nobody.exit_code, 1) << "who is away does not answer";
}

// The doctor.

// What of a doctor's is left under /dev/shm, and which processes.
std::vector<std::string> left_of(pid_t doctor) {
  std::vector<std::string> left;
  const std::string own =
      "mesh30k-doctor-" + std::to_string(::getuid()) + "-" + std::to_string(doctor);
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    if (entry.path().filename().string().starts_with(own)) left.push_back(entry.path());
  }
  const std::string parent = "--parent" + std::string(1, '\0') + std::to_string(doctor);
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "cmdline");
    std::string line;
    std::getline(file, line);  // of a process that ends meanwhile: nothing, and no exception
    if (line.find(parent) != line.npos) left.push_back(entry.path());
  }
  return left;
}

TEST(Doctor, ProvesEveryFeatureInAMeshOfItsOwnAndLeavesNothing) {
  StartedMesh doctor({"doctor", "--json"});
  const pid_t pid = doctor.pid();
  const Ran ran = doctor.wait();
  EXPECT_EQ(ran.exit_code, 0) << ran.out << ran.err;
  const Json report = Json::parse(ran.out, nullptr, false);
  ASSERT_TRUE(report.is_object()) << ran.out;
  EXPECT_EQ(report["well"], true);
  EXPECT_THAT(report["checks"], SizeIs(19));
  for (const Json& row : report["checks"]) EXPECT_EQ(row["finding"], "pass") << row;
  EXPECT_THAT(left_of(pid), IsEmpty());
}
TEST(Doctor, LeavesNothingBehindWhenItIsInterrupted) {
  for (const int rows : {1, 3, 6, 9, 11, 15, 16}) {
    StartedMesh doctor({"doctor"});
    const pid_t pid = doctor.pid();
    for (int i = 0; i < rows; ++i) EXPECT_THAT(doctor.line(), StartsWith("pass"));
    doctor.signal(SIGINT);
    const Ran ran = doctor.wait();
    EXPECT_EQ(ran.exit_code, 1) << ran.out;
    EXPECT_THAT(ran.err, HasSubstr("stopped before it was done"));
    EXPECT_THAT(left_of(pid), IsEmpty()) << "after " << rows << " rows";
  }
}
TEST(Doctor, ItsProcessesEndWithItWhenItIsKilled) {
  pid_t pid = 0;
  {
    StartedMesh doctor({"doctor"});
    pid = doctor.pid();
    for (int i = 0; i < 4; ++i) EXPECT_THAT(doctor.line(), StartsWith("pass"));
    EXPECT_THAT(left_of(pid), Not(IsEmpty()));
  }
  std::vector<std::string> left;
  for (int looks = 0; looks < 100'000; ++looks) {
    left = left_of(pid);
    if (left.size() <= 1) break;  // its directory, which says whose it was
  }
  ASSERT_LE(left.size(), 1U);
  for (const std::string& path : left) std::filesystem::remove_all(path);
}
TEST(Doctor, LooksAtAMeshThatIsThereAndFindsAnEngineThatHangs) {
  Live live;
  live.enrol("40");
  ASSERT_TRUE(live.publishes("agents_active", 40));
  const auto finding = [&](const Json& report, const std::string& check) {
    for (const Json& row : report["checks"]) {
      if (row["check"] == check) return row["finding"].get<std::string>();
    }
    return std::string("not checked");
  };
  const Json well = Json::parse(live.run({"doctor", "--json"}).out, nullptr, false);
  EXPECT_EQ(well["own_mesh"], false);
  EXPECT_EQ(finding(well, "an engine runs"), "pass");
  EXPECT_EQ(finding(well, "it answers its control socket"), "pass");
  EXPECT_EQ(finding(well, "its counters are fresh"), "pass");
  EXPECT_EQ(finding(well, "its breakers"), "pass");
  EXPECT_EQ(finding(well, "its agents' contexts"), "pass");
  EXPECT_EQ(live.seen({"status"})["agents_awaiting_context"], 0);
  live.kill_engine();
  const Ran ran = live.run({"doctor", "--json"});
  EXPECT_EQ(ran.exit_code, 1);
  const Json dead = Json::parse(ran.out, nullptr, false);
  EXPECT_EQ(finding(dead, "an engine runs"), "FAIL");
  EXPECT_EQ(finding(dead, "it answers its control socket"), "FAIL");
  EXPECT_EQ(finding(dead, "no station stands still"), "skipped");
}

// The pure functions.

TEST(Doctor, WarnsOfAgentsThatWaitForTheirContextsOrWaitedInVain) {
  const auto look = [](std::uint64_t waiting, std::uint64_t overdue, std::uint64_t an_hour_ago) {
    MeshCounters counters;
    counters.rows.push_back({{"contexts_waiting", "agents", CounterKind::now, ""}, waiting, 0, {}});
    counters.rows.push_back(
        {{"contexts_overdue", "agents", CounterKind::total, ""}, overdue, an_hour_ago, {}});
    return engine::reports::look_at_contexts(counters);
  };
  const auto [waits, of_whom] = look(3, 0, 0);
  EXPECT_EQ(waits, engine::reports::Finding::warning);
  EXPECT_THAT(of_whom, HasSubstr("3 agents wait for their own"));
  const auto [in_vain, said] = look(0, 7, 5);
  EXPECT_EQ(in_vain, engine::reports::Finding::warning);
  EXPECT_THAT(said, HasSubstr("2 got their messages without it in the last hour"));
  EXPECT_EQ(look(0, 5, 5).first, engine::reports::Finding::pass) << "long ago";
  EXPECT_EQ(look(0, 0, 0).second, "nobody waits for its own");
}

engine::CounterDescription total(const char* label) {
  return {label, "things", CounterKind::total, "counted"};
}
MeshCounters counters_at(std::int64_t second, std::uint64_t value, std::uint64_t hour_ago = 0) {
  MeshCounters counters;
  counters.at = counters.now = from_ns(second * kNsPerSecond);
  counters.rows.push_back({total("things"), value, hour_ago, counters.at});
  return counters;
}

TEST(Rates, AreByTheWritersTimeNotOurs) {
  MeshCounters before = counters_at(10, 100);
  MeshCounters after = counters_at(14, 300);
  after.now = from_ns(60 * kNsPerSecond);  // we looked late
  EXPECT_EQ(engine::reports::rates_between(before, after)[0].per_second, 50.0);
  EXPECT_EQ(engine::reports::rates_between(before, before)[0].per_second, std::nullopt)
      << "no time passed";
  after.rows[0].value = 7;
  EXPECT_EQ(engine::reports::rates_between(before, after)[0].per_second, std::nullopt)
      << "it counts anew";
}
TEST(Rates, OfAThreadThatHadNothingToWriteAreZeroWhileTheEngineGoesOn) {
  const MeshCounters before = counters_at(10, 100);
  MeshCounters after = before;
  after.at = from_ns(11 * kNsPerSecond);
  EXPECT_EQ(engine::reports::rates_between(before, after)[0].per_second, 0.0);
}
TEST(Rates, FollowWaitsForAnEngineThatIsLateAndGivesUpOnOneThatHangs) {
  std::int64_t second = 0;
  std::vector<Nanos> waits;
  const engine::reports::Looks looks{[&] { return Result<MeshCounters>(counters_at(second, 10)); },
                                     [&](Nanos time) {
                                       waits.push_back(time);
                                       if (waits.size() == 3) second = 1;  // it writes at last
                                       return true;
                                     }};
  std::vector<std::int64_t> shown;
  const auto show = [&](const MeshCounters& before, const MeshCounters& after) {
    shown.push_back((after.at - before.at).count() / kNsPerSecond);
  };
  ASSERT_TRUE(engine::reports::follow(looks, {Nanos{kNsPerSecond}, 1}, show));
  EXPECT_THAT(shown, ElementsAre(1));
  EXPECT_EQ(waits.size(), 3U);
  ASSERT_TRUE(engine::reports::follow(looks, {Nanos{kNsPerSecond}, 1}, show));
  EXPECT_THAT(shown, ElementsAre(1, 0)) << "nothing was written: no rate";
}
TEST(Rates, FollowStopsWhenItIsToldTo) {
  int looked = 0;
  const engine::reports::Looks looks{[&] { return Result<MeshCounters>(counters_at(++looked, 1)); },
                                     [&](Nanos /*time*/) { return looked < 3; }};
  int shown = 0;
  ASSERT_TRUE(engine::reports::follow(looks, {Nanos{kNsPerSecond}, 0},
                                      [&](const auto&, const auto&) { ++shown; }));
  EXPECT_EQ(shown, 2);
}
TEST(Matches, FindsAPartOfANameOrAShellPattern) {
  EXPECT_TRUE(engine::reports::matches("breaker_trials", ""));
  EXPECT_TRUE(engine::reports::matches("breaker_trials", "trial"));
  EXPECT_TRUE(engine::reports::matches("breaker_trials", "breaker_*"));
  EXPECT_FALSE(engine::reports::matches("breaker_trials", "trial*"));
}

MeshCounters kpi_counters(
    const std::map<std::string, std::pair<std::uint64_t, std::uint64_t>>& of) {
  MeshCounters counters;
  for (const engine::SchedulerCounter& one : engine::kSchedulerCounters) {
    const auto found = of.find(std::string(one.says.label));
    counters.rows.push_back({one.says,
                             found == of.end() ? 0 : found->second.first,
                             found == of.end() ? 0 : found->second.second,
                             {}});
  }
  return counters;
}

TEST(Kpis, OfNothingAreUnknownAndMissNoTarget) {
  const auto rows = engine::reports::kpis_of(kpi_counters({}));
  for (const engine::reports::KpiRow& row : rows) {
    EXPECT_EQ(row.hour.value, std::nullopt) << row.name;
    EXPECT_EQ(row.all.target, engine::reports::KpiVerdict::unknown) << row.name;
  }
  EXPECT_FALSE(engine::reports::misses_a_target(rows));
}
TEST(Kpis, JudgeTheLastHourByItselfAndAtTheLimits) {
  const auto rows = engine::reports::kpis_of(kpi_counters({{"operations_ended", {1'100, 1'000}},
                                                           {"operations_quorum", {1'079, 980}},
                                                           {"timed_sent", {100, 0}},
                                                           {"arrived_in_500ms", {94, 0}},
                                                           {"conflicts", {1, 0}},
                                                           {"ready", {99, 0}}}));
  EXPECT_EQ(rows[0].hour.value, 0.99);
  EXPECT_EQ(rows[0].hour.of, 100U);
  EXPECT_EQ(rows[0].hour.target, engine::reports::KpiVerdict::pass) << "99 % is enough";
  EXPECT_EQ(rows[0].hour.ours, engine::reports::KpiVerdict::fail);
  EXPECT_EQ(rows[0].all.target, engine::reports::KpiVerdict::fail);
  EXPECT_EQ(rows[1].hour.target, engine::reports::KpiVerdict::fail);
  EXPECT_EQ(rows[4].hour.target, engine::reports::KpiVerdict::pass) << "1 % is at most 1 %";
  EXPECT_TRUE(engine::reports::misses_a_target(rows));
}
TEST(Kpis, CascadesAreOperationsToo) {
  const auto rows = engine::reports::kpis_of(kpi_counters({{"operations_ended", {90, 0}},
                                                           {"operations_quorum", {90, 0}},
                                                           {"cascades_ended", {10, 0}},
                                                           {"cascades_quorum", {9, 0}}}));
  EXPECT_EQ(rows[0].hour.value, 0.99);
  EXPECT_EQ(rows[0].hour.of, 100U);
}
TEST(Kpis, ARecoveryIsJudgedByItsSlowestNotByTheMean) {
  const auto rows =
      engine::reports::kpis_of(kpi_counters({{"cluster_recoveries", {100, 0}},
                                             {"cluster_recovery_time", {50'000, 0}},
                                             {"cluster_recoveries_over_1s", {1, 0}}}));
  EXPECT_EQ(rows[7].hour.value, 0.5);
  EXPECT_EQ(rows[7].hour.target, engine::reports::KpiVerdict::pass);
  EXPECT_EQ(rows[7].hour.ours, engine::reports::KpiVerdict::fail);
}
TEST(Kpis, NeverShowAShareRoundedUpToItsTarget) {
  const auto rows = engine::reports::kpis_of(
      kpi_counters({{"operations_ended", {100'000, 0}}, {"operations_quorum", {98'999, 0}}}));
  EXPECT_THAT(tools::kpi_text({.rows = rows}), HasSubstr("98.99 %"));
}

}  // namespace of_live_test
}  // namespace mesh::testing
