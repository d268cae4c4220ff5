// The live screen, as the pure function that it is.
#include "tools/top_frame.hpp"

#include <nlohmann/json.hpp>

namespace mesh::testing {
namespace of_top_frame_test {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tools::TopLook;
using tools::TopSnapshot;

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
          "breakers: 1 not closed: sector 5 open", "operations: unknown", "",
          "sectors: mean impedance; . all active + over 95 % - fewer x nobody ! breaker",
          "0 <10 1 <20 2 <50 3 <100 4 <150 5 <200 6 <300 7 <500 8 <800 9 more (ms)",
          "    0  0. 2+ 5- ?x  · 9!", "errors: 1 distinct, the latest first",
          "  1 m 1 s ago  7 x  target_full  station 3: full"));
}
TEST(TopFrame, ListsOperationsThatRunAndTheLastThatEnded) {
  TopSnapshot seen = a_mesh();
  seen.operations_running = 2;
  seen.operations = {{.id = 65'537,
                      .kind = "scatter",
                      .is_running = true,
                      .targeted = 300,
                      .sent = 300,
                      .ready = 100,
                      .conflict = 2,
                      .to_t_ms = 1'250,
                      .age_ms = 250},
                     {.id = 65'538,
                      .kind = "wave",
                      .is_running = true,
                      .targeted = 40,
                      .ready = 12,
                      .age_ms = 90'000},
                     {.id = 65'530,
                      .kind = "scatter",
                      .targeted = 300,
                      .ready = 300,
                      .to_t_ms = -4'000,
                      .age_ms = 5'000,
                      .ended_age_ms = 3'900}};
  const auto lines = tools::top_lines(seen, {.columns = 80, .rows = 40});
  EXPECT_EQ(lines[8], "operations: 2 running, and the last that ended");
  EXPECT_EQ(lines[9],
            "  65537  scatter  102 of 300 answered, 2 in conflict, T in 1.2 s, for 0.2 s");
  EXPECT_EQ(lines[10], "  65538  wave  12 of 40 answered, for 1 m 30 s");
  EXPECT_EQ(lines[11], "  65530  scatter  300 of 300 answered, ended 3.9 s ago");
  const auto json = engine::reports::top_json(seen);
  EXPECT_EQ(json["operations_running"], 2);
  EXPECT_EQ(json["operations"][0]["answered"], 102);
  EXPECT_EQ(json["operations"][0]["to_t_ms"], 1'250);
  EXPECT_EQ(json["operations"][1]["to_t_ms"], nullptr);
  EXPECT_EQ(json["operations"][2]["ended_age_ms"], 3'900);
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
  seen.operations_running = 30;
  seen.operations.resize(24, {.kind = "priority_first", .is_running = true, .to_t_ms = -1});
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
  EXPECT_EQ(engine::reports::duration_text(9'999), "10.0 s");
  EXPECT_EQ(engine::reports::duration_text(86'400'000), "1 d 0 h");
}

}  // namespace of_top_frame_test
}  // namespace mesh::testing
