// mesh size, run as a program.
#include <nlohmann/json.hpp>

#include "engine/memory_map.hpp"
#include "tests/tools/run_mesh.hpp"

namespace mesh::testing {
namespace of_size_test {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

void expect_refused(const std::vector<std::string>& options,
                    const std::vector<std::string>& parts) {
  std::vector<std::string> arguments = {"size"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  const Ran ran = run_mesh(arguments);
  EXPECT_EQ(ran.exit_code, 2) << ran.err;
  EXPECT_THAT(ran.out, IsEmpty());
  for (const std::string& part : parts) EXPECT_THAT(ran.err, HasSubstr(part));
}

TEST(SizeRefuses, CountsThatNoMeshHas) {
  for (const char* const agents :
       {"0", "1048577", "99999999999999999999999", "-1", "1.5", "many", "", "0x10", " 5"}) {
    expect_refused({"--agents", agents, "--stations", "1"}, {"--agents", "1 to 1048576"});
  }
  for (const char* const stations : {"0", "65536", "-7", "some"}) {
    expect_refused({"--agents", "10", "--stations", stations}, {"--stations", "1 to 65535"});
  }
}
TEST(SizeRefuses, AStationWithMoreAgentsThanTheMesh) {
  expect_refused({"--agents", "10", "--stations", "2", "--agents-per-station", "11"},
                 {"--agents-per-station", "1 to 10"});
}
TEST(SizeRefuses, AMissingCount) {
  expect_refused({"--agents", "10"}, {"--stations"});
  expect_refused({"--stations", "10"}, {"--agents"});
}
TEST(SizeRefuses, AMeshNameThatIsAPath) {
  expect_refused({"--agents", "10", "--stations", "2", "--name", "../up"}, {"path component"});
}
TEST(SizeRefuses, ADirectoryThatIsAFile) {
  const TemporaryFile file("");
  expect_refused({"--agents", "10", "--stations", "2", "--dir", file.path()},
                 {file.path(), "is not a directory"});
  expect_refused({"--agents", "10", "--stations", "2", "--dir", file.path() + "/deeper/mesh"},
                 {file.path() + "/deeper/mesh", "is not a directory"});
}

TEST(Size, PrintsEveryMemoryAndTheirSum) {
  const Ran ran = run_mesh({"size", "--agents", "30000", "--stations", "128", "--json"});
  const nlohmann::json report = nlohmann::json::parse(ran.out);
  const Result<engine::MemoryMap> map = engine::memory_map({.agents = 30'000, .stations = 128});
  ASSERT_TRUE(map.has_value());
  ASSERT_EQ(report["memories"].size(), 5U);
  std::uint64_t total = 0;
  std::uint64_t in_directory = 0;
  for (std::size_t i = 0; i < 5; ++i) {
    const nlohmann::json& memory = report["memories"][i];
    EXPECT_EQ(memory["name"], map->memories[i].description->name);
    EXPECT_EQ(memory["bytes"], map->memories[i].bytes());
    total += memory["bytes"].get<std::uint64_t>();
    if (memory["in_directory"]) in_directory += memory["bytes"].get<std::uint64_t>();
  }
  EXPECT_EQ(report["total_bytes"], total);
  EXPECT_EQ(report["directory_bytes"], in_directory);
  EXPECT_LT(total, 256U << 20);
  EXPECT_EQ(report["agents_per_station"], 235);
}

TEST(Size, FitsExactlyWhenTheDirectoryHasRoom) {
  // A directory that does not exist yet is judged by the file system that will hold it.
  for (const char* const agents : {"1", "30000", "1048576"}) {
    const Ran ran = run_mesh({"size", "--agents", agents, "--stations", "65535", "--dir",
                              "/tmp/no/such/mesh", "--json"});
    const nlohmann::json report = nlohmann::json::parse(ran.out);
    const bool fits =
        report["directory_bytes"].get<std::uint64_t>() <= report["free_bytes"].get<std::uint64_t>();
    EXPECT_EQ(report["fits"], fits);
    EXPECT_EQ(ran.exit_code, fits ? 0 : 1);
  }
}

TEST(Size, SaysHowToFixWhatDoesNotFit) {
  // procfs has no room at all.
  const Ran ran = run_mesh({"size", "--agents", "10", "--stations", "1", "--dir", "/proc"});
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_THAT(ran.out, HasSubstr("/proc: needs"));
  EXPECT_THAT(ran.out, HasSubstr("it does not fit"));
  EXPECT_THAT(ran.err, HasSubstr("to fix it"));
  EXPECT_THAT(ran.err, HasSubstr("--dir"));
}

TEST(Size, PrintsATableForPeople) {
  const Ran ran =
      run_mesh({"size", "--agents", "1000", "--stations", "4", "--agents-per-station", "700"});
  EXPECT_THAT(ran.out, HasSubstr("1000 agents, 4 stations of 700 agents\n"));
  for (const char* const name :
       {"table", "payload", "station-N.in", "station-N.out", "engine", "sum"}) {
    EXPECT_THAT(ran.out, HasSubstr('\n' + std::string(name) + ' '));
  }
}

TEST(Size, LooksWhereTheMeshWillBe) {
  setenv("XDG_RUNTIME_DIR", "/tmp/runtime", 1);
  const auto directory = [](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"size", "--agents", "1", "--stations", "1", "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return nlohmann::json::parse(run_mesh(arguments).out)["directory"].get<std::string>();
  };
  EXPECT_EQ(directory({}), "/tmp/runtime/mesh30k/default");
  EXPECT_EQ(directory({"--name", "lab"}), "/tmp/runtime/mesh30k/lab");
  EXPECT_EQ(directory({"--dir", "/tmp/mine"}), "/tmp/mine");
  unsetenv("XDG_RUNTIME_DIR");
  EXPECT_EQ(directory({"--name", "lab"}), "/dev/shm/mesh30k-" + std::to_string(getuid()) + "/lab");
}

}  // namespace of_size_test
}  // namespace mesh::testing
