// mesh backup and mesh restore, by the program and in real processes.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "tests/tools/acting_mesh.hpp"

namespace mesh::testing {
namespace of_backup_test {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A mesh with a store, whose engine may be killed and whose memories may be lost.
class KeptMesh : public MeshInFolder {
 public:
  explicit KeptMesh(std::string configuration = "") {
    if (!configuration.empty()) {
      std::ofstream(folder.file("mesh.toml")) << configuration;
      config_ = true;
    }
    start();
  }
  void start() {
    std::vector<std::string> words = {"up",    "--agents",    "300",     "--stations", "8",
                                      "--dir", folder.mesh(), "--store", store()};
    if (config_) words.insert(words.end(), {"--config", folder.file("mesh.toml")});
    up = std::make_unique<StartedMesh>(words);
    EXPECT_THAT(up->line(), ::testing::StartsWith("up: "));
  }
  [[nodiscard]] std::string store() const { return folder.file("conflicts.db"); }
  [[nodiscard]] std::string backups() const { return folder.file("backups"); }
  // Whatever its mode is: a mesh that has just begun does not know it.
  [[nodiscard]] Json health() const { return Json::parse(run({"health", "--json"}).out); }
  [[nodiscard]] std::vector<std::string> made() const {
    std::vector<std::string> names;
    if (!fs::exists(backups())) return names;
    for (const auto& entry : fs::directory_iterator(backups()))
      if (entry.path().filename().string().ends_with("Z")) names.push_back(entry.path());
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  bool config_ = false;
};

TEST(BackupVerb, RefusesWhatItCannotDo) {
  expect_refusal({"backup", "\xff"}, "not UTF-8");
  expect_refusal({"restore"}, "backup");
  expect_refusal({"restore", "b"}, "say what of it");
  expect_refusal({"restore", "b", "--check", "--tables"}, "say what of it");
  const Folder folder;
  EXPECT_EQ(run_mesh({"backup", "x", "--dir", folder.mesh()}).exit_code, 3);
  EXPECT_EQ(run_mesh({"restore", folder.file("none"), "--check"}).exit_code, 1);
}

TEST(BackupVerb, RefusesWithoutADirectoryAndIntoOneThatCannotBe) {
  const KeptMesh mesh;
  const Ran nowhere = mesh.run({"backup"});
  EXPECT_EQ(nowhere.exit_code, 2);
  EXPECT_THAT(nowhere.err, HasSubstr("no directory is given"));
  EXPECT_EQ(mesh.run({"backup", mesh.folder.file("no/such/place")}).exit_code, 1);
  const Json health = mesh.health()["backup"];
  EXPECT_EQ(health["last"], "failed");
  EXPECT_THAT(health["error"].get<std::string>(), HasSubstr("no/such/place"));
  EXPECT_TRUE(health["age_ms"].is_null());
}

std::optional<engine::Answer> objecting(const std::string& agent, const std::string& /*text*/) {
  if (agent == "objects")
    return engine::Answer::in_conflict(sched::ConflictType::other, {1, 2}, {});
  return engine::Answer::ready();
}

// All that is lost with a machine's memory and a disk is there again.
TEST(BackupVerb, OfAMeshThatIsLostMakesItAnew) {
  KeptMesh mesh;
  std::optional<Agents> agents(
      std::in_place, mesh.folder.mesh(),
      Agents::Options{
          .agents = {{.name = "a", .capabilities = {"see"}}, {.name = "b"}, {.name = "objects"}},
          .handler = objecting});
  mesh.ask({"route-around", "b"});
  mesh.ask({"rules", "deny", "see", "--class", "B"});
  EXPECT_EQ(mesh.run({"send", "objects", "?"}).exit_code, 1);
  while (mesh.ask({"status"})["conflicts"]["for_person"] == 0) sched_yield();
  const Json place = mesh.ask({"inspect", "agents", "--agent", "a"})["agents"][0];
  const Json made = mesh.ask({"backup", mesh.backups()});
  EXPECT_EQ(made["agents"], 3);
  EXPECT_EQ(made["rules"], 1);
  EXPECT_EQ(made["verified"], true);
  EXPECT_EQ(made["store"]["records"], 2) << "the conflict, and that it is a person's";
  EXPECT_EQ(mesh.health()["backup"]["last"], "good");
  EXPECT_EQ(mesh.health()["backup"]["path"], made["path"]);

  mesh.kill();
  agents.reset();
  fs::remove_all(mesh.folder.mesh());
  fs::remove(mesh.store());
  fs::remove(mesh.store() + "-wal");
  fs::remove(mesh.store() + "-shm");
  fs::remove(mesh.store() + ".spill");
  EXPECT_EQ(run_mesh({"restore", mesh.backups(), "--check"}).exit_code, 0);
  const Ran restored = mesh.run({"restore", mesh.backups(), "--store", mesh.store(), "--tables"});
  ASSERT_EQ(restored.exit_code, 0) << restored.err;
  EXPECT_THAT(restored.out, HasSubstr("whole, 3 agents, 1 rules, 2 records"));

  mesh.start();
  const Json status = mesh.ask({"status"});
  EXPECT_EQ(status["agents_enrolled"], 3);
  EXPECT_EQ(status["agents_active"], 0);
  EXPECT_EQ(status["agents_routed_around"], 1);
  while (mesh.ask({"status"})["conflicts"]["for_person"] == 0) sched_yield();
  EXPECT_EQ(mesh.ask({"conflicts"})["conflicts"].size(), 1U);
  EXPECT_EQ(mesh.run({"conflicts", "verify"}).exit_code, 0);
  EXPECT_EQ(mesh.run({"rules"}).out, "deny  see  class B\n");
  mesh.ask({"send", "a", "kept for you", "--no-wait"});
  const Agents back(mesh.folder.mesh(), {.agents = named({"a", "b", "objects"})});
  while (back.handled() == 0) sched_yield();
  const Json again = mesh.ask({"inspect", "agents", "--agent", "a"})["agents"][0];
  EXPECT_EQ(again["cluster"], place["cluster"]);
  EXPECT_EQ(again["id"], place["id"]);
  EXPECT_EQ(mesh.run({"send", "b", "?"}).exit_code, 4) << "the operator's hold";
}

TEST(BackupVerb, DoesNotRestoreOverAMeshThatRunsOrIsLeft) {
  KeptMesh mesh;
  const Agents agents(mesh.folder.mesh(), {.agents = named({"a"})});
  mesh.ask({"backup", mesh.backups()});
  const Ran runs = mesh.run({"restore", mesh.backups(), "--tables"});
  EXPECT_EQ(runs.exit_code, 1);
  EXPECT_THAT(runs.err, HasSubstr("an engine runs there already"));
  EXPECT_EQ(mesh.run({"restore", mesh.backups(), "--store", mesh.store()}).exit_code, 1);
  mesh.kill();
  const Ran left = mesh.run({"restore", mesh.backups(), "--tables"});
  EXPECT_EQ(left.exit_code, 1);
  EXPECT_THAT(left.err, HasSubstr("would go on with it"));
}

TEST(BackupVerb, AMeshThatIsTooSmallForItsTablesDoesNotStartAndSaysWhy) {
  KeptMesh mesh;
  const Agents agents(mesh.folder.mesh(), {.agents = named({"a", "b"})});
  mesh.ask({"backup", mesh.backups()});
  const Folder other;
  ASSERT_EQ(run_mesh({"restore", mesh.backups(), "--tables", "--dir", other.mesh()}).exit_code, 0);
  const Ran refused = run_mesh({"up", "--agents", "1", "--dir", other.mesh()});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("restore.tables"));
  EXPECT_TRUE(fs::exists(other.mesh() + "/restore.tables")) << "what waits goes on waiting";
  EXPECT_FALSE(fs::exists(other.mesh() + "/table"));
}

std::string scheduled(const std::string& directory, const std::string& every_s) {
  return "[backup]\ndirectory = \"" + directory + "\"\nevery_s = " + every_s + "\nkeep = 2\n";
}

TEST(BackupSchedule, MakesThemByItselfKeepsTheNewestAndHealthSaysTheAgeOfTheLast) {
  const Folder folder;
  KeptMesh mesh(scheduled(folder.file("there"), "0.05"));
  const auto newest = [&] {
    std::string last;
    if (!fs::exists(folder.file("there"))) return last;
    for (const auto& entry : fs::directory_iterator(folder.file("there"))) {
      const std::string name = entry.path().filename();
      if (name.ends_with("Z")) last = std::max(last, name);
    }
    return last;
  };
  std::set<std::string> seen;
  while (seen.size() < 4) {
    if (const std::string name = newest(); !name.empty()) seen.insert(name);
    sched_yield();
  }
  const Json health = mesh.health()["backup"];
  EXPECT_EQ(health["last"], "good");
  EXPECT_LT(health["age_ms"].get<std::int64_t>(), 60'000);
  EXPECT_EQ(health["every_ms"], 50);
  EXPECT_EQ(mesh.run({"down"}).exit_code, 0);
  EXPECT_EQ(mesh.up->wait().exit_code, 0);
  std::size_t left = 0;
  for (const auto& entry : fs::directory_iterator(folder.file("there")))
    left += entry.path().filename().string().ends_with("Z") ? 1U : 0U;
  EXPECT_EQ(left, 2U);
}

// It is due at once, and a store is made only when the engine begins to keep records.
TEST(BackupSchedule, TheFirstOneOfAMeshWaitsForItsStore) {
  const Folder folder;
  const KeptMesh mesh(scheduled(folder.file("there"), "3600"));
  Json backup;
  while (!backup.is_object() || !backup["tried_ms_ago"].is_number())
    backup = mesh.health()["backup"];
  EXPECT_EQ(backup["last"], "good") << backup.dump(1);
}

// An engine that is killed again and again while it makes them: what is there by its name is whole.
TEST(BackupSchedule, OfAnEngineThatIsKilledWhatIsThereIsWhole) {
  const Folder folder;
  KeptMesh mesh(scheduled(folder.file("there"), "0.001"));
  for (int round = 0; round < 5; ++round) {
    const auto is_making = [&] {
      if (!fs::exists(folder.file("there"))) return false;
      std::error_code gone;
      for (const auto& entry : fs::directory_iterator(folder.file("there"), gone))
        if (entry.path().filename().string().ends_with(".new")) return true;
      return false;
    };
    while (!is_making()) sched_yield();
    mesh.kill();
    for (const auto& entry : fs::directory_iterator(folder.file("there"))) {
      if (!entry.path().filename().string().ends_with("Z")) continue;
      const Ran checked = run_mesh({"restore", entry.path(), "--check"});
      EXPECT_EQ(checked.exit_code, 0) << checked.err;
    }
    mesh.start();
  }
}

}  // namespace of_backup_test
}  // namespace mesh::testing
