// Scenario files: what is refused and how, and what is read.
#include "engine/simulation/scenario.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/simulation/mesh_clock.hpp"
#include "engine/simulation/scenario_keys.hpp"

namespace mesh::engine::simulation {
namespace of_scenario_test {

using ::testing::HasSubstr;

// The one complaint that a file gives.
ScenarioComplaint complaint(std::string_view toml) {
  const ReadScenario read = read_scenario(toml);
  EXPECT_EQ(read.complaints.size(), 1U) << toml;
  return read.complaints.empty() ? ScenarioComplaint{} : read.complaints.front();
}

TEST(ScenarioRefuses, WhatItDoesNotKnow) {
  const ScenarioComplaint table = complaint("\n[mash]\nagents = 3\n");
  EXPECT_EQ(table.line, 2U);
  EXPECT_THAT(table.sentence, HasSubstr("mash\": is no table of ours; there are mesh, run"));
  const ScenarioComplaint key = complaint("[mesh]\nagents = 3\nagent = 4\nstations = 1\n");
  EXPECT_EQ(key.line, 3U);
  EXPECT_THAT(key.sentence, HasSubstr("\"agent\" in [mesh]: there is no such key; its keys are"));
  EXPECT_THAT(complaint("[class_g]\nshare = 1\n").sentence, HasSubstr("class_a to class_f"));
  EXPECT_THAT(complaint("[class_a]\nlatency = 1\n").sentence,
              HasSubstr("in [class_a]: there is no such key"));
  EXPECT_THAT(complaint("agents = 3\n").sentence, HasSubstr("is no table of ours"));
}

TEST(ScenarioRefuses, WrongTypesAndRanges) {
  EXPECT_EQ(complaint("[mesh]\nagents = 0\n").sentence,
            "mesh.agents = 0: must be a whole number from 1 to 1048576");
  EXPECT_EQ(complaint("[mesh]\nagents = 3.5\n").sentence,
            "mesh.agents = 3.5: must be a whole number from 1 to 1048576");
  EXPECT_EQ(complaint("[operations]\naim = \"left\"\n").sentence,
            "operations.aim = \"left\": must be centre or by_t");
  EXPECT_EQ(complaint("[operations]\naim = 1\n").sentence,
            "operations.aim = 1: must be centre or by_t");
  EXPECT_EQ(complaint("[agents]\nsilent = 1.5\n").sentence, "agents.silent = 1.5: must be 0 to 1");
  EXPECT_EQ(complaint("[agents]\nsilent = nan\n").sentence, "agents.silent = nan: must be 0 to 1");
  EXPECT_EQ(complaint("[run]\nhours = \"1\"\n").sentence,
            "run.hours = \"1\": must be 0.001 to 8760 hours");
  EXPECT_EQ(complaint("[run]\nhours = [1]\n").sentence,
            "run.hours = [ 1 ]: must be 0.001 to 8760 hours");
}

TEST(ScenarioRefuses, WhatIsNoToml) {
  EXPECT_EQ(complaint("[mesh]\nagents =\n").line, 2U);
  EXPECT_EQ(complaint("[mesh]\n\xC3\xA4 = 1\n").line, 2U);
}

TEST(ScenarioRefuses, FaultsThatCannotBe) {
  EXPECT_THAT(complaint("[fault]\nkind = \"death\"\n").sentence, HasSubstr("[[fault]]"));
  EXPECT_THAT(complaint("fault = [1]\n").sentence, HasSubstr("[[fault]]"));
  EXPECT_EQ(complaint("[[fault]]\nat_s = 1\n").sentence, "fault.kind: is needed");
  EXPECT_EQ(
      complaint("[[fault]]\nkind = \"none\"\n").sentence,
      "fault.kind = \"none\": must be death, silence, slowdown, loss, conflict or clock_step");
  EXPECT_THAT(complaint("[[fault]]\nkind = \"death\"\n").sentence, HasSubstr("leaves no mesh"));
  const ScenarioComplaint place = complaint(
      "[mesh]\nagents = 3000\n[[fault]]\nkind = \"death\"\ntarget = \"sector\"\nwhich = 10\n");
  EXPECT_EQ(place.line, 3U);
  EXPECT_THAT(place.sentence, HasSubstr("a mesh of 3000 agents has 10 of them, from 0"));
  EXPECT_THAT(complaint("[[fault]]\nkind = \"loss\"\n").sentence,
              HasSubstr("fault.rate = 0: a rate is needed"));
  EXPECT_THAT(complaint("[[fault]]\nkind = \"slowdown\"\n").sentence,
              HasSubstr("fault.factor = 1: another one is needed"));
  EXPECT_THAT(complaint("[[fault]]\nkind = \"clock_step\"\n").sentence,
              HasSubstr("fault.step_ms = 0: a step is needed"));
  EXPECT_THAT(complaint("[[fault]]\nkind = \"silence\"\nevery_s = 3\n").sentence,
              HasSubstr("fault.every_s = 3: is of a death alone"));
}

TEST(ScenarioRefuses, WhatNoKeyAloneIsWrongIn) {
  EXPECT_THAT(complaint("[agents]\ncv_min = 0.5\n").sentence,
              HasSubstr("agents.cv_max = 0.3: is below cv_min = 0.5"));
  EXPECT_THAT(complaint("[mesh]\nagents = 2\n").sentence, HasSubstr("more than agents"));
  EXPECT_THAT(complaint("[operations]\nhorizon_ms = 2000\n[engine]\nbucket_ms = 0.1\n").sentence,
              HasSubstr("operations.horizon_ms = 2000: more than 16,383 buckets"));
}

TEST(ScenarioRefuses, PipelinesQuorumsScaleAndContextsThatCannotBe) {
  EXPECT_EQ(complaint("[pipelines]\nsteps = 33\n").sentence,
            "pipelines.steps = 33: must be a whole number from 1 to 32");
  EXPECT_EQ(complaint("[pipelines]\nwindow_ms = 0\n").sentence,
            "pipelines.window_ms = 0: must be 1 to 16000 ms");
  EXPECT_EQ(complaint("[quorums]\nevery_s = -1\n").sentence,
            "quorums.every_s = -1: must be 0 to 86400 s");
  EXPECT_EQ(complaint("[scale]\nclass = \"g\"\n").sentence,
            "scale.class = \"g\": must be a, b, c, d, e or f");
  EXPECT_EQ(complaint("[scale]\nwave_percent = 0\n").sentence,
            "scale.wave_percent = 0: must be a whole number from 1 to 100");
  EXPECT_EQ(complaint("[scale]\nagents = 0.5\n").sentence,
            "scale.agents = 0.5: must be a whole number from 0 to 1048576");
  EXPECT_EQ(complaint("[contexts]\nshare = 2\n").sentence, "contexts.share = 2: must be 0 to 1");
  EXPECT_EQ(complaint("[contexts]\nevery_s = 0\n").sentence,
            "contexts.every_s = 0: must be 1 to 86400 s");
  EXPECT_THAT(complaint("[contexts]\nload = 1\n").sentence,
              HasSubstr("\"load\" in [contexts]: there is no such key; its keys are share, every_s,"
                        " load_ms, stuck, wait_ms"));
}

TEST(ScenarioRefuses, NewcomersThatDoNotFit) {
  EXPECT_EQ(complaint("[mesh]\nagents = 1048576\n[scale]\nagents = 1\n").sentence,
            "scale.agents = 1: with mesh.agents = 1048576 more than 1048576");
  EXPECT_EQ(complaint("[scale]\nagents = 5000\nper_process = 1\n").sentence,
            "scale.per_process = 1: scale.agents = 5000 are 5000 processes, at most 4096");
  EXPECT_EQ(complaint("[run]\nhours = 0.5\n[scale]\nagents = 10\nat_s = 1800\n").sentence,
            "scale.at_s = 1800: is not before the end, run.hours = 0.5");
  const ScenarioComplaint window = complaint(
      "[operations]\nhorizon_ms = 100\n[quorums]\nevery_s = 1\nwindow_ms = 2000\n"
      "lead_window_ms = 10\n[engine]\nbucket_ms = 0.1\n");
  EXPECT_EQ(window.sentence,
            "quorums: a window of 2000 ms is more than 16,383 buckets of engine.bucket_ms = 0.1");
}

TEST(ScenarioRefuses, EveryMistakeInTheOrderOfItsLines) {
  const ReadScenario read = read_scenario("[mesh]\nx = 1\nagents = -1\n[run]\ny = 2\n");
  ASSERT_EQ(read.complaints.size(), 3U);
  EXPECT_EQ(read.complaints[0].line, 2U);
  EXPECT_EQ(read.complaints[1].line, 3U);
  EXPECT_EQ(read.complaints[2].line, 5U);
}

TEST(Scenario, ReadsEveryUnit) {
  const ReadScenario read = read_scenario(R"(
[mesh]
agents = 3000
[run]
hours = 0.5
settle_s = 2.5
[agents]
silent = 0.25
[operations]
window_ms = 0.1e4
weight = 1.5
aim = "by_t"
[engine]
look_us = 250
[class_f]
share = 0
[[fault]]
kind = "clock_step"
step_ms = -250
at_s = 60
[[fault]]
kind = "death"
target = "agents"
share = 0.01
every_s = 20
)");
  for (const ScenarioComplaint& its : read.complaints) ADD_FAILURE() << its.sentence;
  const Scenario& scenario = read.scenario;
  EXPECT_EQ(scenario.agents, 3'000);
  EXPECT_EQ(scenario.length, 1'800 * kNsPerSecond);
  EXPECT_EQ(scenario.settle, 2'500 * kNsPerMs);
  EXPECT_EQ(scenario.silent, 250'000);
  EXPECT_EQ(scenario.window, kNsPerSecond);
  EXPECT_EQ(scenario.weight, 1'500);
  EXPECT_EQ(scenario.aim, 1);
  EXPECT_EQ(scenario.look, 250 * kNsPerUs);
  EXPECT_EQ(scenario.classes[5].share, 0);
  ASSERT_EQ(scenario.faults.size(), 2U);
  EXPECT_EQ(scenario.faults[0].step, -250 * kNsPerMs);
  EXPECT_EQ(static_cast<FaultTarget>(scenario.faults[1].target), FaultTarget::agents);
  EXPECT_EQ(scenario.faults[1].every, 20 * kNsPerSecond);
}

// What a key's default is can be said in a file.
TEST(Scenario, TakesEveryKeyAtItsDefault) {
  const Scenario defaults;
  std::string text;
  std::string_view table;
  for (const Key<Scenario>& key : scenario_keys()) {
    if (key.table != table) text += "[" + std::string(key.table) + "]\n";
    table = key.table;
    text += std::string(key.key) + " = " + shown(key, defaults) + "\n";
  }
  const ReadScenario read = read_scenario(text);
  for (const ScenarioComplaint& its : read.complaints) ADD_FAILURE() << its.sentence;
  for (const Key<Scenario>& key : scenario_keys())
    EXPECT_EQ(read.scenario.*key.value, defaults.*key.value) << key.table << "." << key.key;
}

TEST(MeshClock, SlewsAStepAndNeverGoesBack) {
  for (const std::int64_t step : {250 * kNsPerMs, -250 * kNsPerMs}) {
    MeshClock clock(1'000 * kNsPerSecond);
    clock.advance_to(1'010 * kNsPerSecond);
    clock.step(step);
    EXPECT_EQ(clock.mesh_ns(), 1'010 * kNsPerSecond);
    clock.advance_to(1'110 * kNsPerSecond);  // 100 s at 500 ppm: 50 ms
    EXPECT_EQ(clock.mesh_ns(), 1'110 * kNsPerSecond + step / 5);
    clock.step(step);
    clock.advance_to(3'110 * kNsPerSecond);
    EXPECT_EQ(clock.mesh_ns(), 3'110 * kNsPerSecond + 2 * step);
    for (std::int64_t at = 0; at < 40; ++at) {
      const std::int64_t mesh_ns = clock.mesh_ns() + at * 99'999'937;
      EXPECT_GE(clock.mesh_at(clock.true_at(mesh_ns)), mesh_ns);
      EXPECT_LT(clock.mesh_at(clock.true_at(mesh_ns) - 1), mesh_ns);
    }
  }
}

}  // namespace of_scenario_test
}  // namespace mesh::engine::simulation
