// mesh heal, and crashed processes that are replaced: by the program, with real processes and real
// SIGKILLs.
#include <csignal>
#include <fstream>

#include <sys/stat.h>

#include "tests/tools/healed_mesh.hpp"

namespace mesh::testing {
namespace of_heal_test {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kSpawn =
    R"(spawn = "exec %MESH% agent --name \"$MESH_AGENT\" --dir \"$MESH_DIR\" --exec cat"
backoff_ms = 10
)";

TEST(Heal, RefusesWhatItCannotDo) {
  for (const auto& [words, sentence] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"heal", "moon"}, "SCOPE \"moon\": is mesh, sector N or cluster N"},
           {{"heal", "sector", "x"}, "SCOPE sector"},
           {{"heal", "--wait", "600001"}, "--wait"}}) {
    const Ran ran = run_mesh(words);
    EXPECT_EQ(ran.exit_code, 2) << sentence;
    EXPECT_THAT(ran.out, IsEmpty());
    EXPECT_THAT(ran.err, HasSubstr(sentence));
  }
  const Folder folder;
  EXPECT_EQ(run_mesh({"heal", "--dir", folder.mesh()}).exit_code, 3);
}

TEST(Heal, RefusesAPlaceThatIsNotAndSaysThatNothingWasToBeDoneInOneThatIs) {
  const HealedMesh mesh("");
  const Ran nowhere = mesh.run({"heal", "sector", "4000"});
  EXPECT_EQ(nowhere.exit_code, 2);
  EXPECT_THAT(nowhere.err, HasSubstr("the mesh has"));
  const Json well = mesh.ask({"heal"});
  EXPECT_EQ(well["agents_ailing"], 0);
  EXPECT_EQ(well["breakers_reset"], 0);
}

TEST(Heal, WithoutACommandSaysWhoIsLeftAwayAndWhy) {
  const HealedMesh mesh("");
  const auto agent = mesh.agent("w", "cat");
  mesh.wait_for(1);
  agent->signal(SIGKILL);
  mesh.wait_for(0);
  const Json healed = mesh.ask({"heal"}, 1);
  ASSERT_EQ(healed["agents"].size(), 1U);
  EXPECT_EQ(healed["agents"][0]["agent"], "w");
  EXPECT_THAT(healed["agents"][0]["did"].get<std::string>(), HasSubstr("no command to spawn"));
  EXPECT_TRUE(mesh.status()["recovery"].is_null());
}

// mesh.md part 12, AGENT_CRASH: replacement spawned, unacknowledged messages redelivered.
TEST(AgentCrash, IsReplacedByTheCommandAndWhatItHadNotAnsweredIsRedelivered) {
  const HealedMesh mesh(kSpawn);
  const std::string fifo = mesh.folder.file("never");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const auto agent =
      mesh.agent("w", "echo got it > " + mesh.folder.file("began") + "; exec cat " + fifo);
  mesh.wait_for(1);
  StartedMesh send(
      {"send", "w", "do this", "--timeout", "600000", "--dir", mesh.folder.mesh(), "--json"});
  while (std::ifstream(mesh.folder.file("began")).peek() == EOF) sched_yield();
  agent->signal(SIGKILL);
  const Ran answered = send.wait();
  EXPECT_EQ(answered.exit_code, 0) << answered.out << answered.err;
  const Json answer = Json::parse(answered.out, nullptr, false);
  EXPECT_EQ(answer["state"], "ready");
  EXPECT_EQ(answer["body"], "do this") << "the replacement had it, and answered";
  mesh.wait_for(1);
  while (mesh.status()["recovery"]["back"] != 1) sched_yield();
  EXPECT_EQ(mesh.status()["recovery"]["started"], 1);
  EXPECT_EQ(mesh.status()["recovery"]["failed"], 0);
}

// State synced: what the dead one had handed over last stands where the replacement loads it.
TEST(AgentCrash, TheReplacementIsGivenTheLastContextOfTheOneItReplaces) {
  const HealedMesh mesh(
      "spawn = \"exec %MESH% agent --name \\\"$MESH_AGENT\\\" --dir \\\"$MESH_DIR\\\" --exec "
      "cat --load-context 'cat > $MESH_DIR/../new && mv $MESH_DIR/../new "
      "$MESH_DIR/../loaded'\"\nbackoff_ms = 10\n");
  const auto content = [&](const char* name) {
    std::ifstream file(mesh.folder.file(name));
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  std::ofstream(mesh.folder.file("plan")) << "first";
  const auto agent = std::make_unique<StartedMesh>(std::vector<std::string>{
      "agent", "--name", "w", "--dir", mesh.folder.mesh(), "--context", mesh.folder.file("plan"),
      "--exec", "cat >> " + mesh.folder.file("plan")});
  mesh.wait_for(1);
  ASSERT_EQ(mesh.run({"send", "w", ", second"}).exit_code, 0);
  while (mesh.ask({"context", "w"})["versions"].size() != 2) sched_yield();
  agent->signal(SIGKILL);
  while (content("loaded").empty()) sched_yield();
  EXPECT_EQ(content("loaded"), "first, second");
  while (mesh.status()["recovery"]["back"] != 1) sched_yield();
  EXPECT_EQ(mesh.ask({"context", "w"})["versions"].size(), 2U) << "loading is no new version";
}

// What waited for the dead one is answered by one that has loaded its context.
TEST(AgentCrash, TheContextReachesTheReplacementBeforeWhatWaitedForIt) {
  const HealedMesh mesh(
      "spawn = \"exec %MESH% agent --name \\\"$MESH_AGENT\\\" --dir \\\"$MESH_DIR\\\" --exec "
      "'cat $MESH_DIR/../loaded -' --load-context 'cat > $MESH_DIR/../loaded'\"\n"
      "backoff_ms = 10\n");
  const std::string fifo = mesh.folder.file("never");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  std::ofstream(mesh.folder.file("plan")) << "by the plan, ";
  const auto agent = std::make_unique<StartedMesh>(std::vector<std::string>{
      "agent", "--name", "w", "--dir", mesh.folder.mesh(), "--context", mesh.folder.file("plan"),
      "--exec", "echo got it > " + mesh.folder.file("began") + "; exec cat " + fifo});
  mesh.wait_for(1);
  while (mesh.ask({"context", "w"})["versions"].size() != 1) sched_yield();
  StartedMesh send(
      {"send", "w", "do this", "--timeout", "600000", "--dir", mesh.folder.mesh(), "--json"});
  while (std::ifstream(mesh.folder.file("began")).peek() == EOF) sched_yield();
  agent->signal(SIGKILL);
  const Ran answered = send.wait();
  EXPECT_EQ(answered.exit_code, 0) << answered.out << answered.err;
  const Json answer = Json::parse(answered.out, nullptr, false);
  EXPECT_EQ(answer["state"], "ready");
  EXPECT_EQ(answer["body"], "by the plan, do this");
}

TEST(Heal, SaysWhichContextTheReplacementWasGiven) {
  const HealedMesh mesh(
      "spawn = \"test -e \\\"$MESH_DIR/../may\\\" && exec %MESH% agent --name "
      "\\\"$MESH_AGENT\\\" --dir \\\"$MESH_DIR\\\" --exec cat --load-context 'cat > "
      "$MESH_DIR/../loaded'\"\nbackoff_ms = 1\nattempts = 1\n");
  std::ofstream(mesh.folder.file("plan")) << "the plan";
  const auto agent = std::make_unique<StartedMesh>(
      std::vector<std::string>{"agent", "--name", "w", "--dir", mesh.folder.mesh(), "--context",
                               mesh.folder.file("plan"), "--exec", "cat"});
  mesh.wait_for(1);
  while (mesh.ask({"context", "w"})["versions"].size() != 1) sched_yield();
  agent->signal(SIGKILL);
  while (mesh.status()["recovery"]["given_up"] != 1) sched_yield();
  std::ofstream(mesh.folder.file("may"));
  const Json healed = mesh.ask({"heal", "--wait", "600000"});
  ASSERT_EQ(healed["agents"].size(), 1U);
  EXPECT_EQ(healed["agents"][0]["did"], "replaced; version 1 of its context loaded");
}

TEST(AgentCrash, OfOneThatLeavesNobodyIsReplaced) {
  const HealedMesh mesh(kSpawn);
  const auto agent = mesh.agent("w", "cat");
  mesh.wait_for(1);
  agent->signal(SIGTERM);
  EXPECT_EQ(agent->wait().exit_code, 0);
  mesh.wait_for(0);
  EXPECT_EQ(mesh.ask({"heal"})["agents_ailing"], 0) << "nobody misses it";
  EXPECT_EQ(mesh.status()["recovery"]["lost"], 0);
}

// Escalates when the replacement fails too, tries again with a back-off, and gives up; the operator
// mends what was wrong, and heals.
TEST(AgentCrash, WhoseReplacementFailsIsEscalatedGivenUpAndHealedOnceItCan) {
  HealedMesh mesh(
      "spawn = \"test -e \\\"$MESH_DIR/../may\\\" && exec %MESH% agent --name "
      "\\\"$MESH_AGENT\\\" --dir \\\"$MESH_DIR\\\" --exec cat\"\n"
      "backoff_ms = 1\nattempts = 3\n");
  const Agents others(mesh.folder.mesh(), {.agents = named({"coordinator"})});
  const auto agent = mesh.agent("w", "cat");
  mesh.wait_for(2);
  agent->signal(SIGKILL);
  while (mesh.status()["recovery"]["given_up"] != 1) sched_yield();
  EXPECT_EQ(mesh.status()["recovery"]["started"], 3);
  while (others.handled() == 0) sched_yield();  // its sector's coordinator is told
  const Ran errors = mesh.run({"errors"});
  EXPECT_THAT(errors.out, HasSubstr("the spawn command ended with exit code 1"));
  const Json not_yet = mesh.ask({"heal"}, 1);
  ASSERT_EQ(not_yet["agents"].size(), 1U);
  EXPECT_THAT(not_yet["agents"][0]["did"].get<std::string>(), HasSubstr("exit code 1"));
  std::ofstream(mesh.folder.file("may"));
  const Json healed = mesh.ask({"heal", "--wait", "600000"});
  // None is ailing where a later try of the first heal was quicker.
  for (const Json& one : healed["agents"])
    EXPECT_EQ(one["did"], "replaced; no context loaded: it has handed over no context");
  EXPECT_EQ(healed["agents_well"], healed["agents_ailing"]);
  EXPECT_EQ(mesh.run({"send", "w", "?"}).exit_code, 0);
}

// Crashes that the engine did not see are seen by the next one.
TEST(AgentCrash, WhileTheEngineWasDeadIsReplacedByTheNextOne) {
  HealedMesh mesh(kSpawn);
  const auto agent = mesh.agent("w", "cat");
  mesh.wait_for(1);
  mesh.up->signal(SIGKILL);
  mesh.up->wait();
  agent->signal(SIGKILL);
  agent->wait();
  mesh.up = std::make_unique<StartedMesh>(std::vector<std::string>{
      "up", "--agents", "300", "--stations", "8", "--dir", mesh.folder.mesh(), "--config",
      mesh.folder.file("mesh.toml"), "--reconnect-ms", "50"});
  EXPECT_THAT(mesh.up->line(), ::testing::StartsWith("up: "));
  while (mesh.status()["recovery"]["back"] != 1) sched_yield();
  EXPECT_EQ(mesh.run({"send", "w", "?"}).exit_code, 0);
}

}  // namespace of_heal_test
}  // namespace mesh::testing
