// A mesh that loses agents: its retries take their time, and in EMERGENCY it saves its state and
// alerts the operator (mesh.md part 12), with its durations at a hundredth.
#include "engine/backup/backup.hpp"
#include "engine/emergency.hpp"
#include "engine/error_log.hpp"
#include "engine/observer.hpp"
#include "tests/engine/engine_process.hpp"

namespace mesh::testing {
namespace of_engine_emergency_test {

using engine::SeenError;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::uint32_t kCrowd = 40;  // more than one full cluster: a smaller mesh is always FULL

engine::EngineOptions hundredth(const std::string& directory) {
  engine::EngineOptions options = engine_options(directory);
  options.reconnect = Nanos{0};
  options.loop.upkeep = Nanos{10 * kNsPerMs};
  options.loop.watch.modes = {.enter_after = Nanos{30 * kNsPerMs},
                              .leave_after = Nanos{100 * kNsPerMs}};
  return options;
}

// Hears the directory, enrols so many, who read nothing, and waits to be killed.
int silent_agents(const Channel& channel, const std::string& prefix, std::uint32_t count) {
  const auto attached = engine::Station::attach(channel.hear(), {.name = prefix, .agents = count});
  if (!attached) return 1;
  std::vector<engine::AgentDeclaration> agents;
  for (std::uint32_t i = 0; i < count; ++i) agents.push_back({prefix + "-" + std::to_string(i)});
  channel.tell((*attached)->enrol(agents) ? "enrolled" : "refused");
  (void)channel.hear();
  return 0;
}
int crowd(const Channel& channel) { return silent_agents(channel, "agent", kCrowd); }
// A tenth of the mesh, with the crowd.
int tenth(const Channel& channel) { return silent_agents(channel, "other", kCrowd / 9); }

struct LostMesh {
  // The engine runs, and its crowd was killed.
  explicit LostMesh(const engine::EngineOptions& options) : engine(options) {
    EXPECT_EQ(engine.hear(), "up");
    lose(options.directory);
  }
  void lose(const std::string& directory) {
    Child one(crowd);
    one.tell(directory);
    EXPECT_EQ(one.hear(), "enrolled");
    EXPECT_TRUE(eventually([&] { return engine.status()["mode"] == "FULL"; }));
    one.end();
  }
  json saved() {
    json emergency;
    EXPECT_TRUE(eventually([&] {
      emergency = engine.status()["emergency"];
      return emergency.is_object() &&
             (emergency["saved_to"] != "" || emergency["save_error"] != "");
    }));
    return emergency;
  }
  EngineProcess engine;
};

std::vector<SeenError> errors_in(const std::string& directory) {
  const auto observer = engine::Observer::open(directory, {});
  EXPECT_TRUE(observer.has_value());
  return engine::ErrorLogView::over((*observer)->layout(), (*observer)->table(), "control")
      .value()
      .read();
}
std::size_t alerts_in(const std::string& directory) {
  std::size_t count = 0;
  for (const SeenError& error : errors_in(directory))
    if (error.code == Errc::automatic_stopped) count += error.count;
  return count;
}

TEST(DegradedLight, AnAttemptOfADelegatedTaskHasTwiceItsTime) {
  const ScratchDirectory directory;
  EngineProcess engine(hundredth(directory.path()));
  ASSERT_EQ(engine.hear(), "up");
  Child many(crowd);
  many.tell(directory.path());
  ASSERT_EQ(many.hear(), "enrolled");
  {
    Child few(tenth);
    few.tell(directory.path());
    ASSERT_EQ(few.hear(), "enrolled");
    ASSERT_TRUE(eventually([&] {
      const json status = engine.status();
      return status["mode"] == "FULL" && status["agents_active"] == kCrowd + kCrowd / 9;
    }));
    few.end();
  }
  ASSERT_TRUE(eventually([&] { return engine.status()["mode"] == "DEGRADED_LIGHT"; }));
  const json done = engine.ask(
      R"({"op":"delegate","text":"work","agent":"agent-0","timeout_ms":200,"attempts":1})");
  ASSERT_EQ(done["attempts"].size(), 1U) << done.dump();
  EXPECT_EQ(done["attempts"][0]["end"], "timed_out") << done.dump();
  EXPECT_GE(done["attempts"][0]["took_ms"].get<double>(), 400) << "twice what it was given";
  many.end();
}

TEST(Emergency, SavesTheTablesInTheMeshsDirectoryAndAlertsWhereNoBackupsAreConfigured) {
  const ScratchDirectory directory;
  LostMesh mesh(hundredth(directory.path()));
  const json emergency = mesh.saved();
  EXPECT_EQ(emergency["is_on"], true);
  EXPECT_EQ(emergency["times"], 1);
  EXPECT_EQ(emergency["active"], 0);
  EXPECT_EQ(emergency["expected"], kCrowd);
  EXPECT_EQ(emergency["save_error"], "");
  EXPECT_THAT(emergency["says"].get<std::string>(), HasSubstr("0 of 40 agents were active"));
  const auto path = emergency["saved_to"].get<std::string>();
  EXPECT_THAT(path, StartsWith(directory.file(engine::kEmergencyFolder)));
  const auto kept = engine::check_backup(path);
  ASSERT_TRUE(kept.has_value()) << kept.error().sentence;
  EXPECT_EQ(kept->agents, kCrowd);
  EXPECT_FALSE(kept->store.has_value());
  EXPECT_EQ(alerts_in(directory.path()), 1U);
  EXPECT_EQ(mesh.engine.status()["mode"], "EMERGENCY");
  EXPECT_EQ(mesh.engine.end(), 0);
}

TEST(Emergency, MakesABackupWhereTheyAreConfigured) {
  const ScratchDirectory directory;
  const ScratchDirectory elsewhere;
  engine::EngineOptions options = hundredth(directory.path());
  options.backup.directory = elsewhere.file("backups");
  LostMesh mesh(options);
  const json emergency = mesh.saved();
  EXPECT_EQ(emergency["save_error"], "");
  EXPECT_THAT(emergency["saved_to"].get<std::string>(), StartsWith(options.backup.directory));
  EXPECT_EQ(engine::backups_in(options.backup.directory).size(), 1U);
  EXPECT_TRUE(engine::backups_in(directory.file(engine::kEmergencyFolder)).empty());
}

TEST(Emergency, SaysThatTheStateCouldNotBeSaved) {
  const ScratchDirectory directory;
  engine::EngineOptions options = hundredth(directory.path());
  options.backup.directory = directory.file("no/such/place");
  LostMesh mesh(options);
  const json emergency = mesh.saved();
  EXPECT_EQ(emergency["saved_to"], "");
  EXPECT_THAT(emergency["says"].get<std::string>(), HasSubstr("could not be saved: "));
  bool is_told = false;
  for (const SeenError& error : errors_in(directory.path()))
    is_told |= error.text.starts_with("state in EMERGENCY: ");
  EXPECT_TRUE(is_told);
}

// Back and lost again: another emergency, of whose saves the last is kept.
TEST(Emergency, IsOverWhenTheMeshIsBackAndBeginsAnew) {
  const ScratchDirectory directory;
  LostMesh mesh(hundredth(directory.path()));
  const json first = mesh.saved();
  {
    Child back(crowd);
    back.tell(directory.path());
    ASSERT_EQ(back.hear(), "enrolled");
    EXPECT_TRUE(eventually([&] { return mesh.engine.status()["emergency"]["is_on"] == false; }));
    EXPECT_EQ(mesh.engine.status()["emergency"]["times"], 1);
    back.end();
  }
  EXPECT_TRUE(eventually([&] { return mesh.engine.status()["emergency"]["times"] == 2; }));
  const json second = mesh.saved();
  EXPECT_NE(second["saved_to"], first["saved_to"]);
  EXPECT_EQ(engine::backups_in(directory.file(engine::kEmergencyFolder)),
            std::vector<std::string>{second["saved_to"].get<std::string>()});
  EXPECT_EQ(alerts_in(directory.path()), 2U);
}

}  // namespace of_engine_emergency_test
}  // namespace mesh::testing
