// mesh scale: by the program, with real processes and real SIGKILLs.
#include <csignal>

#include "tests/tools/healed_mesh.hpp"

namespace mesh::testing {
namespace of_scale_test {

using ::testing::HasSubstr;

// A process for each name of the group, all children of one shell.
constexpr const char* kOneEach =
    R"(spawn = "for name in $MESH_AGENTS; do %MESH% agent --name \"$name\" )"
    R"(--class \"$MESH_CLASS\" --dir \"$MESH_DIR\" --exec cat & done"
backoff_ms = 10
[newcomers]
every_ms = 50
)";

TEST(Scale, RefusesWhatCannotBe) {
  for (const char* const count : {"0", "+0", "x", "+", "1.5", "+2000000"})
    expect_refusal({"scale", count}, "scales by +1 to +");
  EXPECT_EQ(run_mesh({"scale", "-5"}).exit_code, 2);
  expect_refusal({"scale", "+1", "--class", "G"}, "--class");
  expect_refusal({"scale", "+1", "--per-process", "0"}, "--per-process");
  const Folder folder;
  EXPECT_EQ(run_mesh({"scale", "+1", "--dir", folder.mesh()}).exit_code, 3);
}

TEST(Scale, WithoutACommandToSpawnItMakesNobody) {
  const HealedMesh mesh("");
  const Ran ran = mesh.run({"scale", "+3"});
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_THAT(ran.err, HasSubstr("no command to spawn is configured under [recovery]"));
  EXPECT_EQ(mesh.status()["agents_enrolled"], 0);
}

TEST(Scale, SaysHowManyFitAndMakesNoneOfMore) {
  const HealedMesh mesh("spawn = \"exit 0\"\n");
  const Ran rows = mesh.run({"scale", "+301", "--per-process", "100"});
  EXPECT_EQ(rows.exit_code, 1);
  EXPECT_THAT(rows.err, HasSubstr("the mesh has room for 300 more"));
  const Ran processes = mesh.run({"scale", "+300", "--per-process", "10"});
  EXPECT_EQ(processes.exit_code, 1);
  EXPECT_THAT(processes.err, HasSubstr("30 processes of 10 agents are needed, and 8 more can"));
  EXPECT_THAT(processes.err, HasSubstr("80 agents fit"));
  const Ran name = mesh.run({"scale", "+1", "--prefix", std::string(60, 'x')});
  EXPECT_NE(name.exit_code, 0);
  EXPECT_EQ(mesh.status()["agents_enrolled"], 0);
}

// mesh.md part 15: identities, clusters, heartbeats, admission; not sent to before that.
TEST(Scale, MakesThemPlacesThemAndAdmitsThemOnceTheyAreKnown) {
  const HealedMesh mesh(kOneEach, "64");
  const Agents resident(mesh.folder.mesh(), {.agents = named({"agent-1", "resident"})});
  const Json made = mesh.ask({"scale", "+34", "--class", "A", "--wait", "600000"});
  EXPECT_EQ(made["agents"], 34);
  EXPECT_EQ(made["first"], 2) << "agent-1 is somebody";
  EXPECT_EQ(made["last"], 35);
  EXPECT_EQ(made["processes"], 2);
  EXPECT_EQ(made["clusters_filled"], 1);
  EXPECT_EQ(made["clusters_created"], 1);
  EXPECT_EQ(made["progress"]["admitted"], 34) << made;
  const Json status = mesh.status();
  EXPECT_EQ(status["agents_active"], 36);
  EXPECT_EQ(status["agents_newcomers"], 0);
  EXPECT_EQ(status["counters"]["newcomers_admitted"], 34);
  EXPECT_EQ(mesh.ask({"send", "agent-35", "?"})["state"], "ready");
}

TEST(Scale, WhoHasNotComeIsNotSentToAndNobodyMissesIt) {
  const HealedMesh mesh("spawn = \"exit 3\"\nbackoff_ms = 1\nattempts = 2\n");
  const Agents resident(mesh.folder.mesh(), {.agents = named({"resident"})});
  const Json made = mesh.ask({"scale", "+5", "--prefix", "n", "--wait", "500"}, 1);
  EXPECT_EQ(made["progress"]["admitted"], 0);
  EXPECT_EQ(made["progress"]["awaited"], 5);
  while (mesh.status()["recovery"]["given_up"] != 1) sched_yield();
  // Of six it is meant for the one that is admitted.
  const Json sent = mesh.ask({"scatter", "--horizon-ms", "400", "work"});
  EXPECT_EQ(sent["sent"], 1) << sent;
  EXPECT_EQ(sent["targeted"], 1) << sent;
  EXPECT_EQ(sent["skipped"]["not_routable"], 0);
  EXPECT_EQ(mesh.run({"send", "n-1", "?"}).exit_code, 4);
  EXPECT_THAT(mesh.run({"errors"}).out, HasSubstr("exit code 3"));
  const Ran again = mesh.run({"scale", "+1", "--prefix", "n", "--wait", "200"});
  EXPECT_THAT(again.out, HasSubstr("n-6 to n-6"));
  EXPECT_EQ(mesh.ask({"heal"})["agents_ailing"], 0) << "they never were here";
}

// SIGKILL of a newcomer's process: the command is run for it again, and it is admitted after all.
TEST(Scale, ANewcomerThatIsKilledIsReplacedAndAdmitted) {
  const HealedMesh mesh(
      R"(spawn = "exec %MESH% agent --name \"$MESH_AGENT\" --dir \"$MESH_DIR\" --exec cat"
backoff_ms = 10
[newcomers]
every_ms = 50
warm_ups = 40
)");
  ASSERT_EQ(mesh.run({"scale", "+1", "--per-process", "1", "--no-wait"}).exit_code, 0);
  while (mesh.status()["recovery"]["back"] != 1) sched_yield();
  const Json attached = mesh.status()["attached"];
  ASSERT_EQ(attached.size(), 1U);
  ::kill(attached[0]["process"].get<pid_t>(), SIGKILL);
  while (mesh.status()["recovery"]["back"] != 2) sched_yield();
  while (mesh.status()["agents_newcomers"] != 0) sched_yield();
  EXPECT_EQ(mesh.status()["counters"]["newcomers_admitted"], 1);
  EXPECT_EQ(mesh.ask({"send", "agent-1", "?"})["state"], "ready");
}

}  // namespace of_scale_test
}  // namespace mesh::testing
