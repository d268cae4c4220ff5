// A crash of a live chaos experiment: an agent of a program of its own is killed, and started anew.
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
    EXPECT_TRUE(driver->is_gone(injection));
    EXPECT_TRUE(eventually([&] { return driver->works(row); }));
    const auto told = engine->ask(engine->find("mortal").value(), bytes_of("are you back again?"),
                                  Nanos{20 * kNsPerSecond});
    ASSERT_TRUE(told.has_value()) << told.error().sentence;
    EXPECT_EQ(told->state, sched::TrinaryState::ready);
  }
}

}  // namespace of_chaos_crash_test
}  // namespace mesh::testing
