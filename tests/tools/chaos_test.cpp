// mesh chaos, run as a program: what it refuses, what it plays, and its exit code.
#include <fstream>

#include <nlohmann/json.hpp>

#include "tests/tools/run_mesh.hpp"

namespace mesh::testing {
namespace of_chaos_test {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string text_in(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(ChaosVerb, RefusesWhatItDoesNotKnow) {
  expect_refusal({"chaos"}, "what is required");
  expect_refusal({"chaos", "break"}, "list, run, replay or cover is expected");
  expect_refusal({"chaos", "run"}, "a scenario or a FILE is needed");
  expect_refusal({"chaos", "replay"}, "a FILE is needed");
  expect_refusal({"chaos", "run", "network-partitoin"}, "did you mean network-partition?");
  expect_refusal({"chaos", "run", "nothing", "--without", "retrie"}, "did you mean retries?");
  expect_refusal({"chaos", "run", "nothing", "--seed", "-1"}, "--seed");
  expect_refusal({"chaos", "run", "./not.there"}, "not.there");
}

TEST(ChaosVerb, NamesFileLineAndKeyOfAPlanThatIsNone) {
  const TemporaryFile empty("");
  expect_refusal({"chaos", "replay", empty.path()},
                 empty.path() + ":1: chaos plan: does not begin");
  const TemporaryFile bare("mesh chaos plan 2\nname x\nseed 1\n");
  expect_refusal({"chaos", "replay", bare.path()}, bare.path() + ":4: chaos plan: bytes: missing");
  const TemporaryFile odd("mesh chaos plan 2\nname x\nbytes 0Z\n");
  expect_refusal({"chaos", "run", odd.path()},
                 odd.path() + ":3: chaos plan: bytes: missing, or no");
  const TemporaryFile cut("mesh chaos plan 2\nname x\nbytes 00\n");
  expect_refusal({"chaos", "run", cut.path()}, cut.path() + ":3: chaos plan: bytes");
}

TEST(ChaosVerb, RefusesToReplayAPlanOtherwiseThanItStands) {
  const Folder folder;
  const std::string file = folder.file("plan.chaos");
  ASSERT_EQ(run_mesh({"chaos", "run", "nothing", "--write", file}).exit_code, 0);
  expect_refusal({"chaos", "replay", file, "--seed", "2"}, "no --seed");
  expect_refusal({"chaos", "replay", file, "--without", "retries"}, "no --seed, no --without");
  std::string text = text_in(file);
  const std::size_t digit = text.find("plan-hash ") + 10;
  text[digit] = text[digit] == '1' ? '2' : '1';
  const TemporaryFile changed(text);
  expect_refusal({"chaos", "replay", changed.path()}, ":4: chaos plan: plan-hash: it is not that");
}

TEST(ChaosVerb, ListsScenariosGuardsAndWhichDriverDoesWhichFault) {
  const json list = json::parse(run_mesh({"chaos", "list", "--json"}).out);
  EXPECT_GE(list["scenarios"].size(), 20U);
  EXPECT_EQ(list["faults"].size(), 17U);
  for (const json& one : list["faults"]) {
    const std::string name = one["name"];
    if (name == "agent-hang") {
      EXPECT_EQ(one["live"], "yes");
    }
    if (name == "resource-exhaustion") {
      EXPECT_EQ(one["simulated"], "pool");
    }
    if (name == "resource-exhaustion") {
      EXPECT_EQ(one["live"], "no");
    }
    if (name == "byzantine-behavior") {
      EXPECT_EQ(one["live"], "flip_vote");
    }
    if (name == "credential-expiry") {
      EXPECT_EQ(one["simulated"], "no");
    }
  }
  const Ran text = run_mesh({"chaos", "list"});
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_THAT(text.out, HasSubstr("network-partition"));
  EXPECT_THAT(text.out, HasSubstr("retries breakers dedup checks waits backoff weights adoption "
                                  "grace slews"));
}

TEST(ChaosVerb, PlaysAScenarioAndSaysWhetherItHeld) {
  const Ran ran = run_mesh({"chaos", "run", "lossy-network", "--seed", "3", "--json"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  const json played = json::parse(ran.out);
  EXPECT_EQ(played["held"], true);
  EXPECT_EQ(played["name"], "lossy-network");
  EXPECT_EQ(played["seed"], 3);
  EXPECT_EQ(played["state"], "completed");
  EXPECT_EQ(played["injections"][0]["fault"], "packet-loss");
  EXPECT_EQ(played["injections"][0]["status"], "undone");
  EXPECT_TRUE(played["issues"].empty());
  EXPECT_FALSE(played["findings"].empty());
  EXPECT_THAT(run_mesh({"chaos", "run", "lossy-network", "--seed", "3"}).out,
              HasSubstr("lossy-network, seed 3: held"));
}

// What failed once fails again, wherever the file is played.
TEST(ChaosVerb, WritesAPlanThatFailsAndReplaysItToTheSameLog) {
  const Folder folder;
  const std::string file = folder.file("failed.chaos");
  const Ran ran = run_mesh({"chaos", "run", "lossy-network", "--seed", "3", "--without", "retries",
                            "--write", file, "--json"});
  EXPECT_EQ(ran.exit_code, 1) << ran.out;
  EXPECT_EQ(json::parse(ran.out)["held"], false);
  const Ran again = run_mesh({"chaos", "replay", file, "--json"});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_EQ(json::parse(again.out)["log_hash"], json::parse(ran.out)["log_hash"]);
  EXPECT_THAT(run_mesh({"chaos", "replay", file}).out, HasSubstr("NOT HELD"));
  const Ran other = run_mesh({"chaos", "run", file, "--seed", "4", "--json"});
  EXPECT_EQ(json::parse(other.out)["seed"], 4);
  EXPECT_NE(json::parse(other.out)["log_hash"], json::parse(ran.out)["log_hash"]);
}

TEST(ChaosVerb, ShrinksWhatDidNotHold) {
  const Folder folder;
  const std::string file = folder.file("least.chaos");
  const Ran ran = run_mesh(
      {"chaos", "run", "lossy-network", "--without", "retries", "--shrink", "--write", file});
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_THAT(ran.err, HasSubstr("1 faults are left"));
  EXPECT_EQ(run_mesh({"chaos", "replay", file}).exit_code, 1);
}

TEST(ChaosVerb, SaysWhichStatesMetWhichFaults) {
  const Ran ran = run_mesh({"chaos", "cover", "station-death", "--json"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  const json covered = json::parse(ran.out);
  std::uint64_t seen = 0;
  for (const json& one : covered["pairs"]) {
    seen += one["seen"] != 0 ? 1U : 0U;
    if (one["seen"] != 0) {
      EXPECT_EQ(one["fault"], "station-death") << one;
    }
  }
  EXPECT_EQ(covered["covered"], seen);
  EXPECT_GE(seen, 5U) << "up, gone, idle, at work, and so on";
  EXPECT_THAT(run_mesh({"chaos", "cover", "nothing"}).out, HasSubstr("0 of 238 pairs"));
}

TEST(ChaosVerb, SaysWhereItCannotWrite) {
  const Ran ran = run_mesh({"chaos", "run", "nothing", "--write", "/not/there"});
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_THAT(ran.out, IsEmpty());
  EXPECT_THAT(ran.err, HasSubstr("--write \"/not/there\": it cannot be written"));
}

}  // namespace of_chaos_test
}  // namespace mesh::testing
