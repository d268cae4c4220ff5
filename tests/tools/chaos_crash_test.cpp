// A crash of a live chaos experiment: an agent of a program of its own is killed, and started anew.
#include <csignal>

#include "engine/chaos/live_driver.hpp"
#include "tests/engine/chaos/live_kit.hpp"
#include "tests/tools/run_mesh.hpp"

namespace mesh::testing {
namespace of_chaos_crash_test {

using coordination::FaultType;
using engine::LiveChaosOptions;
using engine::LiveDriver;

// An agent of a program of its own, which can be started again.
TEST(LiveCrash, AKilledAgentIsReallyGoneAndReallyStartedAnew) {
  const ScratchDirectory directory;
  auto engine = engine::Engine::start(LiveWorkers::options(directory.path())).value();
  const std::vector<std::string> words{
      "agent", "--name",        "mortal", "--capability", std::string(engine::kChaosAllowed),
      "--dir", directory.path()};
  const StartedMesh mortal(words);
  ASSERT_TRUE(eventually([&] { return engine->find("mortal").has_value(); }));
  std::string command = "exec " + mesh_command();
  for (const std::string& word : words) command += " " + word;
  LiveChaosOptions options{.directory = directory.path(), .allow_live = true};
  options.processes = {
      {mortal.pid(), engine::process_start(mortal.pid()).value(), {"/bin/sh", "-c", command}}};
  const auto driver = LiveDriver::open(options).value();
  const auto row = static_cast<std::uint32_t>(index_of(engine->find("mortal").value()));
  ASSERT_TRUE(eventually([&] { return driver->works(row); }));
  const std::vector<std::uint32_t> targets{row};
  for (const std::uint64_t injection : {1U, 2U}) {  // the one that was started anew dies, too
    ASSERT_EQ(
        driver->inject(live_order(FaultType::agent_crash, injection, in_seconds(600)), targets),
        Errc::ok);
    EXPECT_TRUE(eventually([&] { return engine->status()->agents_active == 0; }));
    EXPECT_FALSE(driver->works(row));
    EXPECT_FALSE(driver->is_gone(injection));
    driver->undo(injection);
    EXPECT_TRUE(eventually([&] { return driver->is_gone(injection); }));
    EXPECT_TRUE(eventually([&] { return driver->works(row); }));
    const auto told = engine->ask(engine->find("mortal").value(), bytes_of("are you back again?"),
                                  Nanos{20 * kNsPerSecond});
    ASSERT_TRUE(told.has_value()) << told.error().sentence;
    EXPECT_EQ(told->state, sched::TrinaryState::ready);
  }
}

// The program's own way to allow it: typed, or in its file; and what it says without.
TEST(LiveChaosAllowed, IsRefusedByMeshUpUnlessItIsTypedOrInItsFile) {
  const TemporaryFile file("[chaos]\nallow_live = true\n");
  const std::vector<std::vector<std::string>> allowing{{"--allow-live-chaos"},
                                                       {"--config", file.path()}};
  const std::vector<std::string> up{"up", "--agents", "64", "--stations", "8", "--dir"};
  {
    const Folder folder;
    std::vector<std::string> plain = up;
    plain.push_back(folder.mesh());
    StartedMesh engine(plain);
    ASSERT_THAT(engine.line(), ::testing::HasSubstr("up: "));
    const auto driver = LiveDriver::open({.directory = folder.mesh(), .allow_live = true});
    ASSERT_FALSE(driver);
    EXPECT_EQ(driver.error().code, Errc::not_authorized);
    EXPECT_THAT(driver.error().sentence, ::testing::HasSubstr("mesh up --allow-live-chaos"));
  }
  for (const auto& how : allowing) {
    const Folder folder;
    std::vector<std::string> words = up;
    words.push_back(folder.mesh());
    words.insert(words.end(), how.begin(), how.end());
    StartedMesh engine(words);
    ASSERT_THAT(engine.line(), ::testing::HasSubstr("up: "));
    const auto driver = LiveDriver::open({.directory = folder.mesh(), .allow_live = true});
    EXPECT_TRUE(driver) << driver.error().sentence;
    engine.signal(SIGTERM);
    EXPECT_THAT(engine.wait().err, ::testing::HasSubstr("faults may be set on purpose"));
  }
}

}  // namespace of_chaos_crash_test
}  // namespace mesh::testing
