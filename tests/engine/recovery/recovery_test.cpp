// Replacements by real processes, and what is said of them; who is attached is a file's to say.
#include "engine/recovery/recovery.hpp"

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/shm/processes.hpp"

namespace mesh::engine {
namespace of_recovery_test {

using ::testing::HasSubstr;
using testing::ScratchDirectory;

std::string content_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// An agent is attached where a file has its name.
struct Recovering {
  using Sync = decltype(Recovery::Outside::sync);
  explicit Recovering(const std::string& command, RecoveryOptions options = {}, Sync sync = {})
      : recovery((options.spawn = command, options),
                 {.mesh_directory = folder.path(),
                  .now =
                      [] {
                        timespec now{};
                        clock_gettime(CLOCK_MONOTONIC, &now);
                        return from_ns(now.tv_sec * kNsPerSecond + now.tv_nsec);
                      },
                  .is_attached =
                      [this](const LostAgent& agent) {
                        return std::filesystem::exists(folder.file(agent.name));
                      },
                  .escalate =
                      [this](const LostProcess& process, const std::string& why) {
                        const std::lock_guard lock(mutex);
                        escalated.push_back(process.agents.front().name + ": " + why);
                      },
                  .sync = std::move(sync)}) {
    recovery.start();
  }
  std::vector<HealedProcess> heal(const std::vector<std::string>& names, Nanos wait) {
    std::vector<LostAgent> agents;
    for (const std::string& name : names) agents.push_back({name, {}});
    std::mutex told;
    std::condition_variable wake;
    std::optional<std::vector<HealedProcess>> got;
    recovery.heal({agents, wait, [&](std::vector<HealedProcess> healed) {
                     const std::lock_guard lock(told);
                     got = std::move(healed);
                     wake.notify_all();
                   }});
    std::unique_lock lock(told);
    wake.wait(lock, [&] { return got.has_value(); });
    return *got;
  }
  std::vector<std::string> escalations() {
    const std::lock_guard lock(mutex);
    return escalated;
  }

  ScratchDirectory folder;
  std::mutex mutex;
  std::vector<std::string> escalated;
  Recovery recovery;
};

constexpr Nanos kLong{600 * kNsPerSecond};
const RecoveryOptions kQuick{.backoff = Nanos{kNsPerMs}, .attempts = 3};

TEST(Child, ThatIsNoProgramDoesNotStart) {
  const auto child = Child::start({.words = {"no-such-program-of-any-mesh"}});
  ASSERT_FALSE(child.has_value());
  EXPECT_EQ(child.error().code, Errc::not_found);
  EXPECT_EQ(Child::start({}).error().code, Errc::invalid_argument);
}

TEST(Child, SaysHowItEndedAndHasItsEnvironmentAndNoneOfOurStreams) {
  const ScratchDirectory folder;
  ChildProgram program = shell_command(
      "for n in 0 1 2; do said=\"$said $(readlink /proc/$$/fd/$n)\"; done;"
      "echo \"$MESH_AGENT$said\" > \"$OUT\"; exit 3");
  program.environment = {{"MESH_AGENT", "it's \"a\" name"}, {"OUT", folder.file("out")}};
  auto child = Child::start(program);
  ASSERT_TRUE(child.has_value()) << child.error().sentence;
  ASSERT_TRUE(child->wait(kLong));
  EXPECT_FALSE(child->is_good());
  EXPECT_EQ(child->ending(), "exit code 3");
  EXPECT_EQ(content_of(folder.file("out")), "it's \"a\" name /dev/null /dev/null /dev/null\n");
  auto endless = Child::start(shell_command("exec cat /dev/zero"));
  ASSERT_TRUE(endless.has_value());
  EXPECT_FALSE(endless->wait(Nanos{kNsPerMs}));
  endless->kill(SIGKILL);
  ASSERT_TRUE(endless->wait(kLong));
  EXPECT_EQ(endless->ending(), "signal 9");
}

TEST(Recovery, TellsTheCommandWhomItReplacesAndSeesThemBack) {
  Recovering mesh(
      "echo \"$MESH_STATION|$MESH_AGENT|$MESH_AGENTS|$MESH_AGENT_COUNT\" > \"$MESH_DIR/said\";"
      "touch \"$MESH_DIR/a\" \"$MESH_DIR/b\"");
  mesh.recovery.lost({.station = "crew", .agents = {{"a", {}}, {"b", {}}}});
  while (mesh.recovery.status().back != 1) sched_yield();
  EXPECT_EQ(content_of(mesh.folder.file("said")), "crew|a|a\nb|2\n");
  EXPECT_EQ(mesh.recovery.status().started, 1U);
  EXPECT_EQ(mesh.recovery.status().failed, 0U);
  EXPECT_TRUE(mesh.escalations().empty());
}

TEST(Recovery, OfOneThatFailsEscalatesOnceTriesAgainAndGivesUp) {
  Recovering mesh("exit 7", kQuick);
  mesh.recovery.lost({.station = "crew", .agents = {{"a", {}}}});
  while (mesh.recovery.status().given_up != 1) sched_yield();
  EXPECT_EQ(mesh.recovery.status().started, 3U);
  EXPECT_EQ(mesh.recovery.status().failed, 3U);
  EXPECT_EQ(mesh.escalations(),
            std::vector<std::string>{"a: the spawn command ended with exit code 7"});
}

TEST(Recovery, HealStartsThemAgainAndSaysWhatCameOfEach) {
  Recovering mesh("test -e \"$MESH_DIR/may\" && touch \"$MESH_DIR/$MESH_AGENT\"", kQuick);
  mesh.recovery.lost({.station = "crew", .agents = {{"a", {}}}});
  while (mesh.recovery.status().given_up != 1) sched_yield();
  const auto failed = mesh.heal({"a", "b"}, kLong);
  ASSERT_EQ(failed.size(), 2U);
  EXPECT_FALSE(failed[0].is_back);
  EXPECT_THAT(failed[0].why, HasSubstr("exit code 1"));
  std::ofstream(mesh.folder.file("may"));
  const auto healed = mesh.heal({"a", "b"}, kLong);
  ASSERT_EQ(healed.size(), 2U);
  EXPECT_TRUE(healed[0].is_back);
  EXPECT_TRUE(healed[1].is_back);
  EXPECT_TRUE(mesh.heal({}, kLong).empty());
}

TEST(Recovery, WhoIsBackIsGivenItsContextAndHealSaysWhatCameOfIt) {
  std::mutex mutex;
  std::vector<std::string> synced;
  Recovery::Outside::Synced told;
  Recovering mesh("touch \"$MESH_DIR/$MESH_AGENT\"", kQuick,
                  [&](const LostProcess& process, Recovery::Outside::Synced done) {
                    const std::lock_guard lock(mutex);
                    synced.push_back(process.agents.front().name);
                    told = std::move(done);
                  });
  const auto count = [&] {
    const std::lock_guard lock(mutex);
    return synced.size();
  };
  // It is back, and its context is not: heal waits no longer than it was told.
  const auto waited = mesh.heal({"a"}, Nanos{200 * kNsPerMs});
  ASSERT_EQ(waited.size(), 1U);
  EXPECT_TRUE(waited[0].is_back);
  EXPECT_TRUE(waited[0].said.empty());
  while (count() != 1) sched_yield();
  told({"version 3 of its context loaded"});
  const auto healed = mesh.heal({"b"}, Nanos{200 * kNsPerMs});
  ASSERT_EQ(healed.size(), 1U);
  EXPECT_EQ(synced, (std::vector<std::string>{"a", "b"}));
  // Told while heal waits for it.
  std::thread teller([&] {
    while (count() != 3) sched_yield();
    const std::lock_guard lock(mutex);
    told({"no context loaded: it has handed over no context"});
  });
  const auto third = mesh.heal({"c"}, kLong);
  teller.join();
  ASSERT_EQ(third.size(), 1U);
  EXPECT_EQ(third[0].said,
            std::vector<std::string>{"no context loaded: it has handed over no context"});
}

// A scale's newcomers have no context of theirs.
TEST(Recovery, WhoNeverWasHereIsGivenNone) {
  int synced = 0;  // by the recovery's thread, until stop()
  Recovering mesh("touch \"$MESH_DIR/$MESH_AGENT\"", kQuick,
                  [&](const LostProcess&, const Recovery::Outside::Synced&) { ++synced; });
  mesh.recovery.begin({{.agents = {{"new", {}}}, .agent_class = sched::AgentClass::edge}});
  while (mesh.recovery.status().back != 1) sched_yield();
  mesh.recovery.lost({.station = "crew", .agents = {{"a", {}}}});
  while (mesh.recovery.status().back != 2) sched_yield();
  mesh.recovery.stop();
  EXPECT_EQ(synced, 1);
}

TEST(Recovery, HealDoesNotWaitLongerThanItIsTold) {
  Recovering mesh("mkfifo \"$MESH_DIR/go\" && exec cat \"$MESH_DIR/go\"");
  const auto healed = mesh.heal({"a"}, Nanos{20 * kNsPerMs});
  ASSERT_EQ(healed.size(), 1U);
  EXPECT_EQ(healed[0].why, "its replacement is not back yet");
  while (!std::filesystem::exists(mesh.folder.file("go"))) sched_yield();
  std::ofstream(mesh.folder.file("go")) << "home";  // the command ends
}

// They are the operator's from then on: an engine that ends leaves them alone.
TEST(Recovery, StartedProcessesOutliveIt) {
  const ScratchDirectory folder;
  const std::string fifo = folder.file("go");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  {
    Recovering mesh("cat " + fifo + " > " + folder.file("got"));
    mesh.recovery.lost({.station = "crew", .agents = {{"a", {}}}});
    while (mesh.recovery.status().started != 1) sched_yield();
  }
  std::ofstream(fifo) << "still here";
  while (content_of(folder.file("got")) != "still here") sched_yield();
}

}  // namespace of_recovery_test
}  // namespace mesh::engine
