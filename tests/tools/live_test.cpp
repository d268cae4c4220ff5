// The verbs that only look, on meshes that live, hang and are dead, and the functions behind them.
// behind them.
#include <csignal>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "tests/tools/run_mesh.hpp"
#include "tools/kpi_report.hpp"
#include "tools/mesh_counters.hpp"
#include "tools/top_frame.hpp"

namespace mesh::testing {
namespace {

using engine::CounterKind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using tools::MeshCounters;
using tools::TopLook;
using tools::TopSnapshot;
using Json = nlohmann::json;

// `mesh up` with room for 300 agents.
class Live {
 public:
  Live() { start(); }
  void start(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"up", "--agents", "300", "--stations", "8", "--dir", mesh()};
    words.insert(words.end(), more.begin(), more.end());
    up_ = std::make_unique<StartedMesh>(words);
    EXPECT_THAT(up_->line(), StartsWith("up: "));
  }
  void enrol(const std::string& agents) {
    swarm_ = std::make_unique<StartedMesh>(std::vector<std::string>{
        "swarm", "--agents", agents, "--processes", "2", "--profile", "local", "--dir", mesh()});
    EXPECT_THAT(swarm_->line(), HasSubstr(agents + " agents"));
  }
  [[nodiscard]] Ran run(std::vector<std::string> words) const {
    words.insert(words.end(), {"--dir", mesh()});
    return run_mesh(words);
  }
  [[nodiscard]] Json seen(std::vector<std::string> words) const {
    words.emplace_back("--json");
    const Ran ran = run(words);
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    return Json::parse(ran.out, nullptr, false);
  }
  // Waits until the engine has published it.
  [[nodiscard]] bool publishes(const std::string& counter, std::uint64_t least) const {
    for (int looks = 0; looks < 3'000; ++looks) {
      const Json list = seen({"stat", counter})["counters"];
      for (const Json& one : list) {
        if (one["counter"] == counter && one["value"] >= least) return true;
      }
    }
    return false;
  }
  [[nodiscard]] std::string mesh() const { return folder_.mesh(); }
  [[nodiscard]] StartedMesh& engine() { return *up_; }
  void kill_engine() { up_.reset(); }

 private:
  Folder folder_;
  std::unique_ptr<StartedMesh> up_;
  std::unique_ptr<StartedMesh> swarm_;
};

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
  for (const char* const verb : {"stat", "hz", "top", "errors", "kpi"}) {
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

// The pure functions.

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
  EXPECT_EQ(tools::rates_between(before, after)[0].per_second, 50.0);
  EXPECT_EQ(tools::rates_between(before, before)[0].per_second, std::nullopt) << "no time passed";
  after.rows[0].value = 7;
  EXPECT_EQ(tools::rates_between(before, after)[0].per_second, std::nullopt) << "it counts anew";
}
TEST(Rates, OfAThreadThatHadNothingToWriteAreZeroWhileTheEngineGoesOn) {
  const MeshCounters before = counters_at(10, 100);
  MeshCounters after = before;
  after.at = from_ns(11 * kNsPerSecond);
  EXPECT_EQ(tools::rates_between(before, after)[0].per_second, 0.0);
}
TEST(Rates, FollowWaitsForAnEngineThatIsLateAndGivesUpOnOneThatHangs) {
  std::int64_t second = 0;
  std::vector<Nanos> waits;
  const tools::Looks looks{[&] { return Result<MeshCounters>(counters_at(second, 10)); },
                           [&](Nanos time) {
                             waits.push_back(time);
                             if (waits.size() == 3) second = 1;  // it writes at last
                             return true;
                           }};
  std::vector<std::int64_t> shown;
  const auto show = [&](const MeshCounters& before, const MeshCounters& after) {
    shown.push_back((after.at - before.at).count() / kNsPerSecond);
  };
  ASSERT_TRUE(tools::follow(looks, {Nanos{kNsPerSecond}, 1}, show));
  EXPECT_THAT(shown, ElementsAre(1));
  EXPECT_EQ(waits.size(), 3U);
  ASSERT_TRUE(tools::follow(looks, {Nanos{kNsPerSecond}, 1}, show));
  EXPECT_THAT(shown, ElementsAre(1, 0)) << "nothing was written: no rate";
}
TEST(Rates, FollowStopsWhenItIsToldTo) {
  int looked = 0;
  const tools::Looks looks{[&] { return Result<MeshCounters>(counters_at(++looked, 1)); },
                           [&](Nanos /*time*/) { return looked < 3; }};
  int shown = 0;
  ASSERT_TRUE(
      tools::follow(looks, {Nanos{kNsPerSecond}, 0}, [&](const auto&, const auto&) { ++shown; }));
  EXPECT_EQ(shown, 2);
}
TEST(Matches, FindsAPartOfANameOrAShellPattern) {
  EXPECT_TRUE(tools::matches("breaker_trials", ""));
  EXPECT_TRUE(tools::matches("breaker_trials", "trial"));
  EXPECT_TRUE(tools::matches("breaker_trials", "breaker_*"));
  EXPECT_FALSE(tools::matches("breaker_trials", "trial*"));
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
  const auto rows = tools::kpis_of(kpi_counters({}));
  for (const tools::KpiRow& row : rows) {
    EXPECT_EQ(row.hour.value, std::nullopt) << row.name;
    EXPECT_EQ(row.all.target, tools::KpiVerdict::unknown) << row.name;
  }
  EXPECT_FALSE(tools::misses_a_target(rows));
}
TEST(Kpis, JudgeTheLastHourByItselfAndAtTheLimits) {
  const auto rows = tools::kpis_of(kpi_counters({{"operations_ended", {1'100, 1'000}},
                                                 {"operations_quorum", {1'079, 980}},
                                                 {"timed_sent", {100, 0}},
                                                 {"arrived_in_500ms", {94, 0}},
                                                 {"conflicts", {1, 0}},
                                                 {"ready", {99, 0}}}));
  EXPECT_EQ(rows[0].hour.value, 0.99);
  EXPECT_EQ(rows[0].hour.of, 100U);
  EXPECT_EQ(rows[0].hour.target, tools::KpiVerdict::pass) << "99 % is enough";
  EXPECT_EQ(rows[0].hour.ours, tools::KpiVerdict::fail);
  EXPECT_EQ(rows[0].all.target, tools::KpiVerdict::fail);
  EXPECT_EQ(rows[1].hour.target, tools::KpiVerdict::fail);
  EXPECT_EQ(rows[4].hour.target, tools::KpiVerdict::pass) << "1 % is at most 1 %";
  EXPECT_TRUE(tools::misses_a_target(rows));
}
TEST(Kpis, ARecoveryIsJudgedByItsSlowestNotByTheMean) {
  const auto rows = tools::kpis_of(kpi_counters({{"cluster_recoveries", {100, 0}},
                                                 {"cluster_recovery_time", {50'000, 0}},
                                                 {"cluster_recoveries_over_1s", {1, 0}}}));
  EXPECT_EQ(rows[7].hour.value, 0.5);
  EXPECT_EQ(rows[7].hour.target, tools::KpiVerdict::pass);
  EXPECT_EQ(rows[7].hour.ours, tools::KpiVerdict::fail);
}
TEST(Kpis, NeverShowAShareRoundedUpToItsTarget) {
  const auto rows = tools::kpis_of(
      kpi_counters({{"operations_ended", {100'000, 0}}, {"operations_quorum", {98'999, 0}}}));
  EXPECT_THAT(tools::kpi_text({}, rows), HasSubstr("98.99 %"));
}

// The screen.

TopSnapshot a_mesh() {
  TopSnapshot seen;
  seen.directory = "/dev/shm/mesh";
  seen.engine_running = true;
  seen.engine_process = 123;
  seen.age_ms = 400;
  seen.mode = "DEGRADED_LIGHT";
  seen.mode_for_ms = 123'000;
  seen.agents = 1'200;
  seen.active = 1'000;
  seen.stations = 8;
  seen.mean_ms = 141.24;
  seen.sectors_healthy = 3;
  seen.sectors_degraded = 1;
  seen.operations_open = 1;
  seen.operations_ended = 20;
  seen.operations_quorum = 19;
  seen.conflicts = 12;
  seen.rates = {{"in", 12'345.0}, {"out", 0.0}, {"wakes", std::nullopt}};
  seen.sectors = {{0, 300, 300, 5.0, true}, {1, 300, 299, 45.0, true}, {2, 300, 101, 150.0, true},
                  {3, 300, 0, {}, true},    {4, 0, 0, {}, true},       {5, 300, 300, 900.0, false},
                  {6, 0, 0, {}, true}};
  seen.breakers = {{"sector 5", "open"}};
  seen.errors = {{"target_full", 7, 61'000, "station 3: full"}};
  return seen;
}

TEST(TopFrame, ShowsWhatWasSeen) {
  EXPECT_THAT(
      tools::top_lines(a_mesh(), {.columns = 80, .rows = 24}),
      ElementsAre(
          "mesh top  /dev/shm/mesh                      engine runs, process 123, 0.4 s old",
          "mode DEGRADED_LIGHT for 2 m 3 s   active 1000 of 1200 (83.3 %)   stations 8",
          "impedance mean 141.2 ms, p95 unknown   sectors healthy 3, degraded 1",
          "operations in flight 1, ended 20, quorum 95.0 %   conflicts 12",
          "messages open unknown, pending unknown   refused unknown, lost replies unknown",
          "per second: in 12.3k, out 0, wakes unknown",
          "lateness us: p50 unknown, p99 unknown, max unknown",
          "breakers: 1 not closed: sector 5 open", "",
          "sectors: mean impedance; . all active + over 95 % - fewer x nobody ! breaker",
          "0 <10 1 <20 2 <50 3 <100 4 <150 5 <200 6 <300 7 <500 8 <800 9 more (ms)",
          "    0  0. 2+ 5- ?x  · 9!", "errors: 1 distinct, the latest first",
          "  1 m 1 s ago  7 x  target_full  station 3: full"));
}
TEST(TopFrame, OfNothingSaysUnknownAndNeverANumber) {
  const auto lines = tools::top_lines({}, {.columns = 80, .rows = 24});
  std::string all;
  for (const std::string& line : lines) all += line + "\n";
  EXPECT_THAT(all, HasSubstr("mode unknown   active unknown of unknown (unknown)"));
  EXPECT_THAT(all, HasSubstr("engine unknown, nothing published"));
}
TEST(TopFrame, ADeadEngineIsAnAlarm) {
  TopSnapshot seen = a_mesh();
  seen.engine_running = false;
  seen.engine_process.reset();
  EXPECT_THAT(tools::top_lines(seen, {.columns = 80, .rows = 1})[0],
              HasSubstr("engine DEAD, 0.4 s old"));
}

std::size_t width_of(const std::string& line) {
  return static_cast<std::size_t>(
      std::count_if(line.begin(), line.end(), [](char byte) { return (byte & 0xC0) != 0x80; }));
}
std::string without_escapes(const std::string& line) {
  std::string text;
  for (std::size_t at = 0; at < line.size(); ++at) {
    if (line[at] == '\x1b') {
      at = line.find('m', at);
    } else {
      text += line[at];
    }
  }
  return text;
}

TEST(TopFrame, FitsEveryWindowAndColoursChangeNoText) {
  TopSnapshot seen = a_mesh();
  for (std::uint32_t i = 7; i < 400; ++i) seen.sectors.push_back({i, 300, 300, 1.0 * i, true});
  for (int i = 0; i < 30; ++i) seen.errors.push_back(seen.errors[0]);
  EXPECT_TRUE(rc::check("a frame fits", [&] {
    const TopLook look{.columns = *rc::gen::inRange(1U, 250U),
                       .rows = *rc::gen::inRange(1U, 80U),
                       .colour = *rc::gen::arbitrary<bool>(),
                       .has_keys = *rc::gen::arbitrary<bool>()};
    const auto lines = tools::top_lines(seen, look);
    RC_ASSERT(lines.size() <= look.rows);
    for (const std::string& line : lines)
      RC_ASSERT(width_of(without_escapes(line)) <= look.columns);
    if (look.has_keys) RC_ASSERT(lines.size() == look.rows);
  }));
}
TEST(TopFrame, PutsSeveralSectorsInACellWhereThereIsNoRoomForEach) {
  TopSnapshot seen = a_mesh();
  seen.sectors.clear();
  for (std::uint32_t i = 0; i < 1'000; ++i) seen.sectors.push_back({i, 300, 300, 12.0, true});
  seen.sectors[999].is_passable = false;
  seen.sectors[0].active = 0;
  seen.sectors[0].mean_ms.reset();
  std::string all;
  for (const std::string& line : tools::top_lines(seen, {.columns = 80, .rows = 24})) {
    all += line + "\n";
  }
  EXPECT_THAT(all, HasSubstr(" a cell"));
  EXPECT_THAT(all, HasSubstr("    0  1-")) << "the worst of them shows";
  EXPECT_THAT(all, HasSubstr("1!"));
}
TEST(Numbers, AreShort) {
  EXPECT_EQ(tools::short_number(0), "0");
  EXPECT_EQ(tools::short_number(9.996), "10.0");
  EXPECT_EQ(tools::short_number(999.4), "999");
  EXPECT_EQ(tools::short_number(999.6), "1.00k");
  EXPECT_EQ(tools::short_number(65e6), "65.0M");
  EXPECT_EQ(tools::duration_text(9'999), "10.0 s");
  EXPECT_EQ(tools::duration_text(86'400'000), "1 d 0 h");
}

}  // namespace
}  // namespace mesh::testing
