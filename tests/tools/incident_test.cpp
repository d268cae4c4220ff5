// mesh incident: each thing that can be wrong with a sector, brought about with real processes and
// real SIGKILLs, told by the program, and mended by it where it can be.
#include <chrono>
#include <csignal>
#include <fstream>

#include "tests/tools/acting_mesh.hpp"

namespace mesh::testing {
namespace of_incident_test {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// 300 places are one sector. `with`: a configuration; %MESH% is the program.
class TroubledMesh : public MeshInFolder {
 public:
  explicit TroubledMesh(std::string with = "", const std::string& agents = "300") {
    for (std::size_t at = 0; (at = with.find("%MESH%")) != std::string::npos;)
      with.replace(at, 6, mesh_command());
    std::ofstream(folder.file("mesh.toml")) << with;
    up = std::make_unique<StartedMesh>(
        std::vector<std::string>{"up", "--agents", agents, "--stations", "16", "--dir",
                                 folder.mesh(), "--config", folder.file("mesh.toml")});
    EXPECT_THAT(up->line(), StartsWith("up: "));
  }
  ~TroubledMesh() {
    static_cast<void>(run({"down"}));
    up->wait();
  }
  void wait_for(std::size_t agents) const {
    while (ask({"status"})["agents_active"] != agents) sched_yield();
  }
  [[nodiscard]] std::unique_ptr<StartedMesh> agent(const std::string& name,
                                                   const std::string& exec) const {
    return std::make_unique<StartedMesh>(
        std::vector<std::string>{"agent", "--name", name, "--dir", folder.mesh(), "--exec", exec});
  }
  // The process of the station with so many agents.
  void signal_station(std::uint32_t agents, int number) const {
    const Json status = ask({"status"});
    for (const Json& station : status["attached"])
      if (station["agents"] == agents) ::kill(station["process"].get<pid_t>(), number);
  }
  [[nodiscard]] Json incident(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"incident", "0", "--json"});
    const Ran ran = run(more);
    EXPECT_THAT(ran.err, IsEmpty());
    Json answer = Json::parse(ran.out, nullptr, false);
    EXPECT_TRUE(answer.is_object()) << ran.out;
    const bool is_mended =
        answer.value(answer.value("acted", false) ? "left" : "findings", Json::array()).empty();
    EXPECT_EQ(ran.exit_code, is_mended ? 0 : 1);
    return answer;
  }
  // Once that is what is wrong: some things are seen a moment later.
  [[nodiscard]] Json incident_of(const std::string& diagnosis) const {
    Json answer;
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    do {
      answer = incident();
    } while (answer["diagnosis"] != diagnosis && std::chrono::steady_clock::now() < until);
    EXPECT_EQ(answer["diagnosis"], diagnosis) << answer;
    return answer;
  }
};

std::vector<std::string> timeline_of(const Json& answer) {
  std::vector<std::string> lines;
  for (const Json& line : answer["timeline"]) lines.push_back(line["what"]);
  return lines;
}

TEST(Incident, RefusesWhatItCannotDo) {
  expect_refusal({"incident", "seven"}, "SECTOR");
  expect_refusal({"incident", "7", "--wait", "600001"}, "--wait");
  expect_refusal({"incident", "7", "--since-min", "0"}, "--since-min");
  const Folder folder;
  EXPECT_EQ(run_mesh({"incident", "7", "--dir", folder.mesh()}).exit_code, 3);
  const TroubledMesh mesh;
  const Ran nowhere = mesh.run({"incident", "1"});
  EXPECT_EQ(nowhere.exit_code, 2);
  EXPECT_THAT(nowhere.err, HasSubstr("sector 1: the mesh has 1"));
}

TEST(Incident, OfASectorThatIsWellSaysSoInMarkdown) {
  const TroubledMesh mesh;
  const auto boss = mesh.agent("boss", "cat");
  mesh.wait_for(1);
  EXPECT_EQ(mesh.incident()["diagnosis"], "none");
  const Ran ran = mesh.run({"incident", "0"});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.out, StartsWith("# Incident report: sector 0\n\n"));
  EXPECT_THAT(ran.out, HasSubstr("Diagnosis: **none**\n\nNothing is wrong with it.\n"));
  EXPECT_THAT(ran.out, HasSubstr("| cluster | agents | active |"));
  EXPECT_THAT(ran.out, HasSubstr("## Timeline\n"));
}

// The first who comes leads; the next eleven are of its cluster.
TEST(Incident, IsTheCoordinatorsWhoseProcessIsKilledAndItsBackupIsNamed) {
  const TroubledMesh mesh(
      "[recovery]\nspawn = \"test -e \\\"$MESH_DIR/../may\\\" && exec %MESH% agent --name "
      "\\\"$MESH_AGENT\\\" --dir \\\"$MESH_DIR\\\" --exec cat\"\nattempts = 1\n");
  const auto boss = mesh.agent("boss", "cat");
  mesh.wait_for(1);
  const Agents others(mesh.folder.mesh(), {.agents = named({"a", "b", "c", "d", "e"})});
  mesh.wait_for(6);
  ASSERT_EQ(mesh.incident()["coordinator"]["agent"], "boss");
  boss->signal(SIGKILL);
  mesh.wait_for(5);
  const Json found = mesh.incident();
  EXPECT_EQ(found["diagnosis"], "coordinator");
  EXPECT_EQ(found["led_before"]["agent"], "boss");
  const std::string backup = found["coordinator"]["agent"];
  EXPECT_NE(backup, "boss");
  EXPECT_THAT(found["findings"][0]["evidence"][1].get<std::string>(),
              HasSubstr("activated its backup: " + backup + " leads now"));
  EXPECT_THAT(timeline_of(found), Contains("coordinator: " + backup + " in the place of boss"));
  EXPECT_EQ(found["acted"], false);
  // Told to act it has the process replaced: not while that cannot be, then.
  const Json tried = mesh.incident({"--act"});
  EXPECT_EQ(tried["left"][0]["cause"], "coordinator");
  EXPECT_THAT(tried["findings"][0]["did"].dump(), HasSubstr("exit code 1"));
  std::ofstream(mesh.folder.file("may"));
  const Json acted = mesh.incident({"--act", "--wait", "600000"});
  EXPECT_THAT(acted["left"], IsEmpty()) << acted;
  EXPECT_THAT(acted["findings"][0]["did"].dump(), HasSubstr("boss: replaced"));
  EXPECT_EQ(mesh.incident()["diagnosis"], "none");
}

TEST(Incident, IsTheClustersWhoseProcessesAreKilledWhichAreIsolatedAndTheirAgentsMoved) {
  const TroubledMesh mesh("", "600");
  std::vector<std::string> first;   // of cluster 0
  std::vector<std::string> second;  // of others: so many that the mesh is FULL without the doomed
  for (int i = 0; i < 12; ++i) first.push_back("safe-" + std::to_string(i));
  for (int i = 0; i < 400; ++i) second.push_back("other-" + std::to_string(i));
  const Agents safe(mesh.folder.mesh(), {.agents = named(first)});
  mesh.wait_for(12);
  const StartedMesh doomed({"swarm", "--agents", "18", "--processes", "1", "--profile", "local",
                            "--dir", mesh.folder.mesh()});
  mesh.wait_for(30);
  const Agents others(mesh.folder.mesh(), {.agents = named(second)});
  mesh.wait_for(430);
  ASSERT_EQ(mesh.incident()["diagnosis"], "none");
  mesh.signal_station(18, SIGKILL);
  mesh.wait_for(412);
  const Json found = mesh.incident();
  ASSERT_EQ(found["diagnosis"], "clusters") << found;
  EXPECT_THAT(found["findings"][0]["says"].get<std::string>(), StartsWith("1 of "));
  EXPECT_THAT(found["findings"][0]["evidence"][0].get<std::string>(),
              HasSubstr("cluster 0: 12 of 30 agents active, 18 missed"));
  EXPECT_THAT(found["findings"][0]["proposes"], Contains("mesh heal sector 0"));
  EXPECT_EQ(mesh.ask({"inspect", "agents", "--agent", "safe-3"})["agents"][0]["cluster"], 0)
      << "what is only proposed is not done";

  const Ran report = mesh.run({"incident", "0", "--act"});
  EXPECT_EQ(report.exit_code, 1) << "the cluster is still failed";
  EXPECT_THAT(report.out, HasSubstr("no command to spawn is configured"));
  EXPECT_THAT(report.out, HasSubstr("* cluster 0: isolated, its breaker is held open"));
  EXPECT_THAT(report.out,
              HasSubstr("* cluster 0: 12 of its healthy agents moved to other clusters"));
  EXPECT_THAT(report.out, HasSubstr("breaker of cluster 0: from closed to forced_open"));
  EXPECT_THAT(report.out, HasSubstr("## Left\n\n* clusters: 1 of"));
  const Json moved = mesh.ask({"inspect", "agents", "--agent", "safe-3"})["agents"][0];
  EXPECT_NE(moved["cluster"], 0);
  EXPECT_EQ(mesh.run({"send", "safe-3", "still there?"}).exit_code, 0);
  EXPECT_NE(mesh.run({"send", "swarm-0", "?", "--no-wait"}).exit_code, 0) << "behind a breaker";
  // Healing undoes it.
  static_cast<void>(mesh.run({"heal", "cluster", "0"}));
  EXPECT_EQ(mesh.run({"send", "swarm-0", "?", "--no-wait"}).exit_code, 0) << "it waits for it";
}

TEST(Incident, IsSlowAgentsWhichAreRoutedAround) {
  const TroubledMesh mesh;
  const Agents quick(mesh.folder.mesh(), {.agents = named({"a", "b", "c"})});
  mesh.wait_for(3);
  const auto slow = mesh.agent("snail", "sleep 1.5; cat");
  mesh.wait_for(4);
  for (int i = 0; i < 9; ++i) ASSERT_EQ(mesh.run({"send", "snail", "go"}).exit_code, 0);
  const Json found = mesh.incident_of("agents");
  EXPECT_THAT(found["findings"][0]["evidence"], Contains("1 agent slow: snail"));
  EXPECT_EQ(found["ailing"][0]["agent"], "snail");
  EXPECT_GT(found["ailing"][0]["score"], 800);
  const Json acted = mesh.incident({"--act"});
  EXPECT_THAT(acted["findings"][0]["did"][0].get<std::string>(),
              StartsWith("routed around 1 agents"));
  EXPECT_EQ(mesh.ask({"status"})["agents_routed_around"], 1);
  EXPECT_EQ(mesh.run({"send", "snail", "?"}).exit_code, 4);
}

TEST(Incident, IsConflictsWhereAgentsObject) {
  const TroubledMesh mesh;
  const Agents agents(
      mesh.folder.mesh(),
      {.agents = named({"a", "b", "c", "d"}),
       .handler = [](const std::string& name, const std::string&) -> std::optional<engine::Answer> {
         if (name == "b")
           return engine::Answer::in_conflict(sched::ConflictType::data_contradiction, {1, 2});
         return engine::Answer::ready();
       }});
  mesh.wait_for(4);
  EXPECT_EQ(mesh.incident()["diagnosis"], "none");
  ASSERT_EQ(mesh.run({"send", "b", "go"}).exit_code, 1);
  ASSERT_EQ(mesh.run({"send", "a", "go"}).exit_code, 0);
  const Json found = mesh.incident();
  ASSERT_EQ(found["diagnosis"], "conflicts");
  EXPECT_THAT(found["findings"][0]["says"].get<std::string>(), HasSubstr("1 of 4 active agents"));
  EXPECT_THAT(found["findings"][0]["evidence"], Contains("b: 1 conflict"));
}

// A process that stands still is attached, and reads nothing.
TEST(Incident, IsTheNetworkWhereAProcessIsAttachedAndReadsNothing) {
  const TroubledMesh mesh("[engine]\nstuck_ms = 8000\n");
  const Agents here(mesh.folder.mesh(), {.agents = named({"a", "b"})});
  mesh.wait_for(2);
  const StartedMesh swarm({"swarm", "--agents", "58", "--processes", "1", "--profile", "local",
                           "--dir", mesh.folder.mesh()});
  mesh.wait_for(60);
  mesh.signal_station(58, SIGSTOP);
  ASSERT_EQ(mesh.run({"send", "swarm-40", "?", "--no-wait"}).exit_code, 0);
  const Json found = mesh.incident_of("network");
  EXPECT_THAT(found["findings"][0]["says"].get<std::string>(), HasSubstr("58 agents in 2"));
  EXPECT_THAT(found["findings"][0]["evidence"].dump(),
              HasSubstr("reads nothing of what it is sent"));
  mesh.signal_station(58, SIGCONT);
  static_cast<void>(mesh.incident_of("none"));
}

TEST(Incident, CanBeTalkedAbout) {
  const TroubledMesh mesh;
  const Agents agents(
      mesh.folder.mesh(),
      {.agents = named({"a", "b"}),
       .handler = [](const std::string&, const std::string&) -> std::optional<engine::Answer> {
         return engine::Answer::in_conflict(sched::ConflictType::data_contradiction, {1, 2});
       }});
  mesh.wait_for(2);
  ASSERT_EQ(mesh.run({"send", "b", "go"}).exit_code, 1);
  const Ran talk = mesh.run({"chat"}, "diagnose sector 0\nno\nheal it\nheal there\ndo it\n");
  EXPECT_THAT(talk.out, HasSubstr("Diagnosis: **conflicts**"));
  EXPECT_THAT(talk.out, HasSubstr("this could be done next:\n  mesh incident 0 --act\n"));
  EXPECT_THAT(talk.out, HasSubstr("not done:\n  mesh incident 0 --act\n"));
  EXPECT_THAT(talk.out, HasSubstr("this would be done:\n  mesh heal sector 0\n"));
  EXPECT_THAT(talk.out, HasSubstr("sector 0: 0 breakers reset, 0 of 0 agents"));
  const Json backup =
      mesh.ask({"say", "back up the mesh to " + mesh.folder.file("backups"), "--yes"});
  EXPECT_EQ(backup["done"][0]["succeeded"], true) << backup;
  EXPECT_EQ(mesh.ask({"say", "deny vision to class A"}, 4)["awaiting"][0],
            "mesh rules deny vision --class A");
  EXPECT_EQ(mesh.ask({"say", "show the rules"})["done"][0]["answer"]["rules"].size(), 0U);
  EXPECT_EQ(mesh.ask({"say", "deny vision to class A", "--yes"})["done"][0]["succeeded"], true);
  EXPECT_EQ(mesh.ask({"say", "show the rules"})["done"][0]["answer"]["rules"].size(), 1U);
  EXPECT_EQ(
      mesh.ask({"say", "cascade go in parallel", "--yes"}, 1)["done"][0]["answer"]["strategy"],
      "parallel");
  EXPECT_EQ(mesh.ask({"say", "scatter go", "--yes"}, 1)["done"][0]["answer"]["conflict"], 2);
}

}  // namespace of_incident_test
}  // namespace mesh::testing
