// mesh up and the verbs that ask it, the swarm and the shell agent, in real processes.
#include <csignal>
#include <filesystem>
#include <fstream>

#include <sqlite3.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "engine/store/store.hpp"
#include "tests/tools/run_mesh.hpp"

namespace mesh::testing {
namespace of_up_test {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using Json = nlohmann::json;

// `mesh up` with room for 300 agents. Whoever belongs to the mesh is waited for.
class Up {
 public:
  explicit Up(const Folder& folder, std::vector<std::string> more = {})
      : folder_(folder), up_(words_of(folder, std::move(more))) {
    EXPECT_THAT(up_.line(), StartsWith("up: " + folder.mesh() + ", room for 300 agents"));
  }
  [[nodiscard]] Ran ask(std::vector<std::string> words) const {
    words.insert(words.end(), {"--dir", folder_.mesh(), "--json"});
    return run_mesh(words);
  }
  [[nodiscard]] Json status() const { return Json::parse(ask({"status"}).out); }
  [[nodiscard]] StartedMesh& process() { return up_; }

 private:
  static std::vector<std::string> words_of(const Folder& folder, std::vector<std::string> more) {
    std::vector<std::string> words = {"up",    "--agents", "300",         "--stations",
                                      "8",     "--dir",    folder.mesh(), "--reconnect-ms",
                                      "600000"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  const Folder& folder_;
  StartedMesh up_;
};

std::string content_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Up, RefusesWhatItCannotDo) {
  expect_refusal({"up", "--agents", "0"}, "--agents");
  expect_refusal({"up", "--agents", "30001"}, "from 1 to 30000");
  expect_refusal({"up", "--sectors", "0"}, "--sectors");
  expect_refusal({"up", "--clusters", "x"}, "--clusters");
  expect_refusal({"up", "--sectors", "1000", "--clusters", "1000"}, "the most is 1048576");
  expect_refusal({"up", "--stations", "65536"}, "--stations");
  expect_refusal({"up", "--wait", "sleep"}, "--wait \"sleep\": is spin, adaptive or park");
  expect_refusal({"up", "--cpu", "first"}, "--cpu");
  expect_refusal({"up", "--name", "a/b"}, "");
  expect_refusal({"up", "--reconnect-ms", "soon"}, "--reconnect-ms");
  expect_refusal({"up", "--stuck-ms", "0"}, "--stuck-ms");
}
TEST(Agent, RefusesWhatItCannotDo) {
  expect_refusal({"agent"}, "--name");
  expect_refusal({"agent", "--name", ""}, "1 to 63 bytes");
  expect_refusal({"agent", "--name", std::string(64, 'x')}, "1 to 63 bytes");
  expect_refusal({"agent", "--name", "\xff"}, "1 to 63 bytes");
  expect_refusal({"agent", "--name", "a", "--class", "G"}, "--class \"G\": is A, B, C, D, E or F");
}
TEST(Console, RefusesWhatItCannotDo) {
  expect_refusal({"send"}, "");
  expect_refusal({"send", "a"}, "");
  expect_refusal({"send", "a", "\xff"}, "not UTF-8");
  expect_refusal({"send", "a", "b", "--timeout", "0"}, "--timeout");
  expect_refusal({"scatter", "t", "--horizon-ms", "-1"}, "--horizon-ms");
  expect_refusal({"scatter", "t", "--window-ms", "0"}, "--window-ms");
  expect_refusal({"scatter", "t", "--ready-min", "1.5"}, "--ready-min");
  expect_refusal({"cascade", "t", "--strategy", "ripple"}, "--strategy");
  expect_refusal({"cascade", "t", "--sector-window-ms", "0"}, "--sector-window-ms");
  expect_refusal({"cascade", "t", "--sector-ready-min", "2"}, "--sector-ready-min");
  expect_refusal({"cascade", "t", "--priority", "4"}, "--priority");
  expect_refusal({"cascade", "\xff"}, "not UTF-8");
  expect_refusal({"conflicts", "--state", "closed"}, "--state");
  expect_refusal({"conflicts", "verify", "--store", "x", "--head", "1"}, "--head");
  expect_refusal({"resolve", "7", "yes"}, "32 hexadecimal digits");
  expect_refusal({"up", "--spill", "x"}, "--spill");
  expect_refusal({"broadcast", "t", "--weight", "nan"}, "--weight");
}
TEST(Console, SaysThatThereIsNoMeshWithExitCode3) {
  const Folder folder;
  for (std::vector<std::string> words : std::vector<std::vector<std::string>>{{"down"},
                                                                              {"status"},
                                                                              {"send", "a", "b"},
                                                                              {"broadcast", "a"},
                                                                              {"scatter", "a"},
                                                                              {"cascade", "a"}}) {
    words.insert(words.end(), {"--dir", folder.mesh()});
    const Ran ran = run_mesh(words);
    EXPECT_EQ(ran.exit_code, 3) << words[0];
    EXPECT_THAT(ran.err, HasSubstr(folder.mesh()));
  }
}

TEST(Up, GoesDownByVerbOrSignalAndTakesItsFilesAway) {
  for (const int how : {0, SIGINT, SIGTERM}) {
    const Folder folder;
    Up up(folder);
    EXPECT_TRUE(std::filesystem::exists(folder.mesh()));
    if (how == 0) {
      EXPECT_EQ(up.ask({"down"}).exit_code, 0);
    } else {
      up.process().signal(how);
    }
    const Ran ran = up.process().wait();
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    EXPECT_EQ(ran.out, "down\n");
    EXPECT_FALSE(std::filesystem::exists(folder.mesh() + "/table"));
  }
}

TEST(Up, GoesOnAfterAKillAndSaysWhatItAdopted) {
  const Folder folder;
  {
    Up killed(folder);
    EXPECT_EQ(killed.status()["adopted"], nullptr);
    killed.process().signal(SIGKILL);
    EXPECT_EQ(killed.process().wait().exit_code, 128 + SIGKILL);
  }
  EXPECT_TRUE(std::filesystem::exists(folder.mesh() + "/table"));
  const Ran other = run_mesh({"up", "--agents", "200", "--stations", "8", "--dir", folder.mesh()});
  EXPECT_NE(other.exit_code, 0);
  EXPECT_THAT(other.err, HasSubstr("room for 300 agents and 8 stations, asked for are 200 and 8"));
  EXPECT_THAT(other.err, HasSubstr("--fresh"));
  Up up(folder);
  EXPECT_EQ(up.status()["adopted"]["agents"], 0);
  EXPECT_EQ(up.ask({"down"}).exit_code, 0);
  const Ran ran = up.process().wait();
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.err, HasSubstr("goes on: 0 agents"));
}

TEST(Up, BeginsAnewWhenToldAndSaysWhatItDrops) {
  const Folder folder;
  {
    Up killed(folder);
    StartedMesh agent({"agent", "--name", "gone", "--dir", folder.mesh()});
    while (killed.status()["agents_enrolled"] == 0) sched_yield();
    killed.process().signal(SIGKILL);
    EXPECT_EQ(killed.process().wait().exit_code, 128 + SIGKILL);
  }
  Up up(folder, {"--fresh"});
  EXPECT_EQ(up.status()["adopted"], nullptr);
  EXPECT_EQ(up.status()["agents_enrolled"], 0);
  EXPECT_EQ(up.ask({"down"}).exit_code, 0);
  const Ran ran = up.process().wait();
  EXPECT_EQ(ran.exit_code, 0);
  for (const char* const what : {"table: dropped", "payload: dropped", "engine: dropped",
                                 "station-1.in: dropped", "with them went 1 agent"}) {
    EXPECT_THAT(ran.err, HasSubstr(what));
  }
}

TEST(Up, RefusesADirectoryInWhichAnEngineRuns) {
  const Folder folder;
  Up up(folder);
  const Ran second = run_mesh({"up", "--agents", "30", "--dir", folder.mesh()});
  EXPECT_NE(second.exit_code, 0);
  EXPECT_THAT(second.err, HasSubstr(std::to_string(up.process().pid())));
  EXPECT_EQ(up.status()["agents_enrolled"], 0);
}

TEST(Console, ScattersToASwarmAndSaysWhatCameOfIt) {
  const Folder folder;
  Up up(folder);
  StartedMesh swarm({"swarm", "--agents", "90", "--processes", "3", "--profile", "local", "--dir",
                     folder.mesh()});
  EXPECT_EQ(swarm.line(), "90 agents in 3 processes: profile local, seed 1");
  EXPECT_EQ(up.status()["agents_active"], 90);
  EXPECT_EQ(up.status()["stations"], 3);
  const Ran scattered =
      up.ask({"scatter", "go", "--horizon-ms", "100", "--window-ms", "2000", "--ready-min", "0.5"});
  EXPECT_EQ(scattered.exit_code, 0) << scattered.out << scattered.err;
  const Json result = Json::parse(scattered.out);
  EXPECT_EQ(result["targeted"], 90);
  EXPECT_THAT(result["quorum"]["decision"].get<std::string>(),
              ::testing::AnyOf("PROCEED", "WAIT", "RESOLVE_CONFLICTS", "RETRY"));
  EXPECT_EQ(result["quorum"]["confidence"].is_null(), result["quorum"]["decision"] != "PROCEED");
  EXPECT_THAT(result["quorum"]["sentence"].get<std::string>(),
              HasSubstr(result["sent"].dump() + " responses"));
  // Each bucket's lateness is counted.
  EXPECT_GT(up.status()["lateness_us"]["buckets"], 0);
  EXPECT_LE(up.status()["lateness_us"]["p50"], up.status()["lateness_us"]["max"]);
  EXPECT_EQ(up.ask({"broadcast", "hear", "--horizon-ms", "100"}).exit_code, 0);
  swarm.signal(SIGINT);
  EXPECT_EQ(swarm.wait().exit_code, 0);
  while (up.status()["stations"] != 0) sched_yield();
  const Ran nobody = up.ask({"scatter", "go", "--horizon-ms", "100"});
  EXPECT_EQ(nobody.exit_code, 1);
}

TEST(Console, CascadesThroughCoordinatorsAndLeadsAndSaysWhatCameOfIt) {
  const Folder folder;
  Up up(folder);
  StartedMesh swarm({"swarm", "--agents", "90", "--processes", "2", "--profile", "local", "--dir",
                     folder.mesh()});
  ASSERT_FALSE(swarm.line().empty());
  const Ran wave = up.ask({"cascade", "go", "--sector-window-ms", "5000", "--agent-window-ms",
                           "5000", "--cluster-window-ms", "5000", "--sector-ready-min", "0"});
  const Json result = Json::parse(wave.out);
  EXPECT_EQ(result.at("strategy"), "wave");
  EXPECT_EQ(result.at("status"), wave.exit_code == 0 ? "SUCCESS" : "PARTIAL") << wave.out;
  EXPECT_EQ(result.at("agents").at("targeted"), 90);
  EXPECT_GT(result.at("agents").at("ready"), 0);
  EXPECT_EQ(result.at("sectors").at("of"), 1);
  const Ran all = up.ask({"cascade", "go", "--strategy", "parallel", "--ready-min", "0"});
  EXPECT_EQ(all.exit_code, 0) << all.out << all.err;
  EXPECT_EQ(Json::parse(all.out).at("phases").size(), 1U);
  const Ran classes = up.ask({"cascade", "go", "--strategy", "priority_first"});
  const Json phases = Json::parse(classes.out).at("phases");
  ASSERT_EQ(phases.size(), 6U);
  EXPECT_EQ(phases[0].at("class"), "D");
  EXPECT_EQ(phases[5].at("ran"), false) << "class F has no time without --horizon-ms";
  const Json status = Json::parse(up.ask({"status"}).out);
  EXPECT_EQ(status.at("counters").at("cascades"), 3);
}

TEST(Swarm, EndsWithoutItsEngineAndSaysWhy) {
  const Folder folder;
  Up up(folder);
  StartedMesh swarm({"swarm", "--agents", "4", "--processes", "2", "--dir", folder.mesh()});
  EXPECT_THAT(swarm.line(), HasSubstr("4 agents"));
  EXPECT_EQ(up.ask({"down"}).exit_code, 0);
  const Ran ran = swarm.wait();
  EXPECT_NE(ran.exit_code, 0);
  EXPECT_THAT(ran.err, HasSubstr("was taken down"));
}

TEST(Console, RecordsConflictsListsThemAndClosesOneByAPersonsDecision) {
  const Folder folder;
  const std::string store = folder.file("conflicts.db");
  Up up(folder, {"--store", store});
  const StartedMesh unwilling(
      {"agent", "--name", "unwilling", "--dir", folder.mesh(), "--exec", "exit 3"});
  while (up.status()["agents_enrolled"] == 0) sched_yield();
  EXPECT_EQ(up.ask({"send", "unwilling", "go"}).exit_code, 1);
  while (up.status()["conflicts"]["for_person"] == 0) sched_yield();
  const Json list = Json::parse(up.ask({"conflicts"}).out)["conflicts"];
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0]["state"], "for_person");
  EXPECT_EQ(list[0]["expected"], "0");
  EXPECT_EQ(list[0]["received"], "3");
  const std::string id = list[0]["conflict"];
  EXPECT_EQ(up.ask({"resolve", "12", "yes"}).exit_code, 2);
  EXPECT_EQ(up.ask({"resolve", std::string(32, '0'), "yes"}).exit_code, 1);
  EXPECT_EQ(up.ask({"resolve", id, "let it be"}).exit_code, 0);
  while (up.status()["conflicts"]["resolved"] == 0) sched_yield();
  EXPECT_EQ(up.status()["conflicts"]["open"], 0);
  const Ran resolved = up.ask({"conflicts", "--state", "resolved"});
  EXPECT_THAT(resolved.out, HasSubstr("let it be"));
  EXPECT_EQ(Json::parse(up.ask({"conflicts", "--state", "open"}).out)["conflicts"].size(), 0U);
  const Ran verified = run_mesh({"conflicts", "verify", "--store", store, "--json"});
  EXPECT_EQ(verified.exit_code, 0) << verified.err;
  EXPECT_EQ(Json::parse(verified.out)["checked"], 3) << "the conflict, handed over, decided";
}

TEST(Console, VerifyNamesARecordThatSomebodyEditedBelowTheDatabase) {
  const Folder folder;
  const std::string store = folder.file("conflicts.db");
  std::vector<engine::Record> records(9);
  for (std::uint64_t i = 0; i < records.size(); ++i) {
    records[i].subject = {1, i + 1};
    records[i].type = sched::ConflictType::other;
    records[i].state = engine::ConflictState::open;
    records[i].received = "as it was";
  }
  ASSERT_TRUE(engine::open_store({.where = store}).value()->append(records));
  ASSERT_EQ(run_mesh({"conflicts", "verify", "--store", store}).exit_code, 0);
  sqlite3* file = nullptr;
  ASSERT_EQ(sqlite3_open(store.c_str(), &file), SQLITE_OK);
  constexpr const char* kEdit = "UPDATE records SET received = x'00' WHERE position = 5";
  EXPECT_EQ(sqlite3_exec(file, kEdit, nullptr, nullptr, nullptr), SQLITE_CONSTRAINT)
      << "the database itself refuses";
  EXPECT_EQ(sqlite3_exec(file, "DELETE FROM records WHERE position = 5", nullptr, nullptr, nullptr),
            SQLITE_CONSTRAINT);
  ASSERT_EQ(sqlite3_exec(file, "DROP TRIGGER records_no_update", nullptr, nullptr, nullptr),
            SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(file, kEdit, nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(file);
  const Ran verified = run_mesh({"conflicts", "verify", "--store", store, "--json"});
  EXPECT_EQ(verified.exit_code, 1);
  const Json report = Json::parse(verified.out);
  EXPECT_EQ(report["whole"], false);
  EXPECT_EQ(report["broken_position"], 5);
  EXPECT_EQ(report["checked"], 4);
}

TEST(Agent, RunsItsCommandForEachMessage) {
  const Folder folder;
  Up up(folder);
  StartedMesh agent({"agent", "--name", "writer", "--dir", folder.mesh(), "--exec",
                     "cat >> " + folder.file("said") + "; echo >> " + folder.file("said")});
  while (up.status()["agents_enrolled"] == 0) sched_yield();
  EXPECT_EQ(up.ask({"send", "writer", "one"}).exit_code, 0);
  EXPECT_EQ(up.ask({"send", "writer", "two"}).exit_code, 0);
  while (content_of(folder.file("said")) != "one\ntwo\n") sched_yield();
  const Ran nobody = up.ask({"send", "reader", "three"});
  EXPECT_EQ(nobody.exit_code, 1);
  EXPECT_THAT(nobody.err, HasSubstr("reader"));
  agent.signal(SIGTERM);
  EXPECT_EQ(agent.wait().exit_code, 0);
}

TEST(Agent, AnswersWithItsCommandsOutputAndExitCode) {
  const Folder folder;
  Up up(folder);
  const StartedMesh counter(
      {"agent", "--name", "counter", "--dir", folder.mesh(), "--exec", "wc -c"});
  const StartedMesh unwilling({"agent", "--name", "unwilling", "--dir", folder.mesh(), "--exec",
                               "printf 'not now\\nnor later'; exit 9"});
  const StartedMesh killed(
      {"agent", "--name", "killed", "--dir", folder.mesh(), "--exec", "kill -9 $$"});
  while (up.status()["agents_enrolled"] != 3) sched_yield();
  const Ran ready = up.ask({"send", "counter", "12345"});
  EXPECT_EQ(ready.exit_code, 0) << ready.err;
  const Json counted = Json::parse(ready.out);
  EXPECT_EQ(counted["answered"], true);
  EXPECT_EQ(counted["state"], "ready");
  EXPECT_EQ(counted["body"], "5\n");
  EXPECT_EQ(counted["body_bytes"], 2);

  const Ran conflict = up.ask({"send", "unwilling", "?"});
  EXPECT_EQ(conflict.exit_code, 1);
  const Json said = Json::parse(conflict.out);
  EXPECT_EQ(said["state"], "conflict");
  EXPECT_EQ(said["conflict"]["type"], "other");
  EXPECT_EQ(said["conflict"]["received"], 9);
  EXPECT_EQ(said["body"], "not now\nnor later");
  const Ran text = run_mesh({"send", "unwilling", "?", "--dir", folder.mesh()});
  EXPECT_EQ(text.exit_code, 1);
  EXPECT_THAT(text.out, StartsWith("CONFLICT (other, expected 0, "));
  EXPECT_THAT(text.out, HasSubstr("received 9), "));
  EXPECT_THAT(text.out, HasSubstr(" ms\nnot now\nnor later\n"));

  const Ran declined = up.ask({"send", "killed", "?"});
  EXPECT_EQ(declined.exit_code, 1);
  EXPECT_EQ(Json::parse(declined.out)["state"], "transit");
}

TEST(Agent, AnswersWithAsMuchAsFitsAndSaysSo) {
  const Folder folder;
  Up up(folder);
  const StartedMesh agent(
      {"agent", "--name", "talker", "--dir", folder.mesh(), "--exec", "head -c 200000 /dev/zero"});
  while (up.status()["agents_enrolled"] != 1) sched_yield();
  const Ran ran = up.ask({"send", "talker", "?"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  const Json answer = Json::parse(ran.out);
  EXPECT_EQ(answer["body_bytes"], 56 << 10);
  EXPECT_EQ(answer["body_cut"], true) << "a zero byte is six in JSON";
}

TEST(Console, WaitsNoLongerForAnAnswerThanItIsTold) {
  const Folder folder;
  Up up(folder);
  // Its command reads what nobody writes, until the test is over.
  ASSERT_EQ(mkfifo(folder.file("never").c_str(), 0600), 0);
  const StartedMesh agent({"agent", "--name", "slow", "--dir", folder.mesh(), "--exec",
                           "exec cat " + folder.file("never")});
  while (up.status()["agents_enrolled"] != 1) sched_yield();
  const Ran ran = up.ask({"send", "slow", "?", "--timeout", "200"});
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_EQ(Json::parse(ran.out)["answered"], false);
  EXPECT_THAT(ran.err, HasSubstr("no answer within 200 ms"));
  std::ofstream(folder.file("never")) << "now";  // its command ends, and so can the agent
}

TEST(Console, SendsWithoutWaitingWhereItIsTold) {
  const Folder folder;
  Up up(folder);
  StartedMesh agent({"agent", "--name", "printer", "--dir", folder.mesh()});
  while (up.status()["agents_enrolled"] != 1) sched_yield();
  const Ran posted = up.ask({"send", "printer", "hello", "--no-wait"});
  EXPECT_EQ(posted.exit_code, 0) << posted.err;
  EXPECT_FALSE(Json::parse(posted.out).contains("answered"));
  EXPECT_EQ(agent.line(), "hello");
}

TEST(Agent, OutlivesItsEngine) {
  const Folder folder;
  StartedMesh agent({"agent", "--name", "printer", "--dir", folder.mesh()});
  {
    Up killed(folder);
    while (killed.status()["agents_enrolled"] == 0) sched_yield();
    EXPECT_EQ(killed.ask({"send", "printer", "before"}).exit_code, 0);
    EXPECT_EQ(agent.line(), "before");
    killed.process().signal(SIGKILL);
    EXPECT_EQ(killed.process().wait().exit_code, 128 + SIGKILL);
  }
  Up up(folder);
  while (up.status()["stations"] == 0) sched_yield();
  EXPECT_EQ(up.ask({"send", "printer", "after"}).exit_code, 0);
  EXPECT_EQ(agent.line(), "after");
  EXPECT_EQ(up.status()["adopted"]["returned"], 1);
}

TEST(Swarm, OutlivesItsEngine) {
  const Folder folder;
  const std::vector<std::string> scatter = {"scatter",     "go",   "--horizon-ms", "200",
                                            "--window-ms", "4000", "--ready-min",  "0.5"};
  StartedMesh swarm({"swarm", "--agents", "60", "--processes", "3", "--profile", "local", "--dir",
                     folder.mesh()});
  {
    Up killed(folder);
    EXPECT_THAT(swarm.line(), HasSubstr("60 agents in 3 processes"));
    EXPECT_EQ(killed.ask(scatter).exit_code, 0);
    killed.process().signal(SIGKILL);
    EXPECT_EQ(killed.process().wait().exit_code, 128 + SIGKILL);
  }
  Up up(folder);
  while (up.status()["stations"] != 3) sched_yield();
  EXPECT_EQ(up.status()["agents_active"], 60);
  const Ran scattered = up.ask(scatter);
  EXPECT_EQ(scattered.exit_code, 0) << scattered.out << scattered.err;
  EXPECT_EQ(Json::parse(scattered.out)["targeted"], 60);
  swarm.signal(SIGINT);
  EXPECT_EQ(swarm.wait().exit_code, 0);
}

TEST(Agent, IsAskedOnlyWhatItCanDo) {
  const Folder folder;
  Up up(folder);
  const StartedMesh seeing({"agent", "--name", "seeing", "--capability", "vision", "--capability",
                            "speech", "--dir", folder.mesh(), "--exec", "echo seen"});
  const StartedMesh plain(
      {"agent", "--name", "plain", "--dir", folder.mesh(), "--exec", "echo plain"});
  while (up.status()["agents_enrolled"] != 2) sched_yield();
  const Ran seen = up.ask({"send", "seeing", "look", "--require", "vision", "--require", "speech"});
  EXPECT_EQ(seen.exit_code, 0) << seen.err;
  EXPECT_EQ(Json::parse(seen.out)["body"], "seen\n");
  const Ran lacking = up.ask({"send", "plain", "look", "--require", "vision"});
  EXPECT_EQ(lacking.exit_code, 4);
  EXPECT_THAT(lacking.err, HasSubstr("lacks a capability"));
  const Ran unknown = up.ask({"send", "seeing", "hover", "--require", "flight"});
  EXPECT_NE(unknown.exit_code, 0);
  EXPECT_THAT(unknown.err, HasSubstr("no agent ever had the capability 'flight'"));
  const Ran scattered = up.ask({"scatter", "look", "--require", "vision", "--horizon-ms", "200",
                                "--window-ms", "4000", "--ready-min", "0.5"});
  EXPECT_EQ(scattered.exit_code, 0) << scattered.out << scattered.err;
  EXPECT_EQ(Json::parse(scattered.out)["ready"], 1);
  EXPECT_EQ(Json::parse(scattered.out)["skipped"]["capability_mismatch"], 1);
}

TEST(Console, BroadcastsAlsoToAgentsThatTakeMinutes) {
  const Folder folder;
  Up up(folder);
  StartedMesh person({"agent", "--name", "person", "--class", "F", "--dir", folder.mesh()});
  while (up.status()["agents_enrolled"] != 1) sched_yield();
  EXPECT_EQ(up.ask({"broadcast", "news"}).exit_code, 0);
  EXPECT_EQ(person.line(), "news");
}

TEST(Agent, AnswersAScatterWithItsExitCode) {
  const Folder folder;
  Up up(folder);
  const StartedMesh willing({"agent", "--name", "yes", "--dir", folder.mesh(), "--exec", "true"});
  const StartedMesh unwilling(
      {"agent", "--name", "no", "--dir", folder.mesh(), "--exec", "exit 9"});
  const StartedMesh killed(
      {"agent", "--name", "killed", "--dir", folder.mesh(), "--exec", "kill -9 $$"});
  while (up.status()["agents_enrolled"] != 3) sched_yield();
  const Ran scattered = up.ask({"scatter", "?", "--horizon-ms", "100", "--window-ms", "5000"});
  EXPECT_EQ(scattered.exit_code, 1) << "a third is not enough";
  const Json result = Json::parse(scattered.out);
  EXPECT_EQ(result["ready"], 1);
  EXPECT_EQ(result["conflict"], 1);
  EXPECT_EQ(result["declined"], 1);
}

TEST(Agent, WithoutACommandPrintsWhatCannotHarmATerminal) {
  const Folder folder;
  Up up(folder);
  StartedMesh agent({"agent", "--name", "printer", "--dir", folder.mesh()});
  while (up.status()["agents_enrolled"] == 0) sched_yield();
  EXPECT_EQ(up.ask({"send", "printer", "a\x1b[2Jb"}).exit_code, 0);
  EXPECT_EQ(agent.line(), "a\\x1b[2Jb");
}

}  // namespace of_up_test
}  // namespace mesh::testing
