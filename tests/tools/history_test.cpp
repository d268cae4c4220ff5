// mesh history: what a running engine brings to its store, read by the program.
#include <csignal>
#include <fstream>

#include "tests/engine/station_processes.hpp"
#include "tests/tools/acting_mesh.hpp"

namespace mesh::testing {
namespace of_history_test {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class StoredMesh : public MeshInFolder {
 public:
  explicit StoredMesh(const std::string& with = "",
                      std::vector<std::string> size = {"--agents", "300"})
      : size_(std::move(size)) {
    std::ofstream(folder.file("mesh.toml"))
        << "[store]\nurl = \"" << folder.file("mesh.db") << "\"\n"
        << with;
    start();
  }
  void start() {
    std::vector<std::string> words = {"up",
                                      "--stations",
                                      "8",
                                      "--dir",
                                      folder.mesh(),
                                      "--config",
                                      folder.file("mesh.toml"),
                                      "--reconnect-ms",
                                      "600000"};
    words.insert(words.end(), size_.begin(), size_.end());
    up = std::make_unique<StartedMesh>(words);
    EXPECT_THAT(up->line(), StartsWith("up: "));
  }
  [[nodiscard]] Json operations(std::vector<std::string> more = {}) const {
    more.insert(more.begin(), {"history", "operations"});
    return ask(more)["operations"];
  }

 private:
  std::vector<std::string> size_;
};

TEST(History, RefusesWhatItCannotDo) {
  expect_refusal({"history", "weather"}, "weather");
  expect_refusal({"history", "--since-min", "0"}, "--since-min");
  expect_refusal({"history", "--limit", "10001"}, "--limit");
  expect_refusal({"history", "agents", "--sector", "1", "--cluster", "1"}, "one of them");
  expect_refusal({"history", "--kind", "war"}, "--kind");
  const Folder folder;
  EXPECT_EQ(run_mesh({"history", "--dir", folder.mesh()}).exit_code, 3);
  const ActingMesh mesh;
  const Ran none = mesh.run({"history"});
  EXPECT_NE(none.exit_code, 0);
  EXPECT_THAT(none.err, HasSubstr("it was started without --store"));
}

TEST(History, HasEachOperationAndTheAgentsOfEachMinute) {
  StoredMesh mesh;
  const Agents agents(mesh.folder.mesh(), {.agents = named({"a", "b", "c"})});
  while (mesh.ask({"status"})["agents_active"] != 3) sched_yield();
  ASSERT_EQ(mesh.run({"scatter", "one"}).exit_code, 0);
  ASSERT_EQ(mesh.run({"cascade", "two", "--strategy", "parallel"}).exit_code, 0);
  Json list;
  do list = mesh.operations();
  while (list.size() < 2);
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0]["kind"], "parallel") << "the newest first";
  EXPECT_EQ(list[0]["verdict"], "success");
  EXPECT_EQ(list[0]["target"], nullptr);
  EXPECT_EQ(list[1]["kind"], "scatter");
  EXPECT_EQ(list[1]["ready"], 3);
  EXPECT_TRUE(list[1]["error_p99_ms"].is_number());
  EXPECT_EQ(mesh.operations({"--kind", "cascade"}).size(), 1U);
  EXPECT_EQ(mesh.operations({"--verdict", "partial"}).size(), 0U);
  Json rows;
  do rows = mesh.ask({"history", "agents", "--sector", "0", "--step-min", "1"})["agents"];
  while (rows.empty() || rows.back()["agents"] != 3);
  EXPECT_EQ(rows.back()["active"], 3);
  EXPECT_EQ(rows.back()["minutes"], 1);
  EXPECT_EQ(mesh.ask({"history", "agents", "--cluster", "9"})["agents"].size(), 0U);
  EXPECT_THAT(mesh.run({"history"}).out, HasSubstr("verdict"));
  const Json status = mesh.ask({"status"})["history"];
  EXPECT_EQ(status["results"], 2);
  EXPECT_EQ(status["results_refused"], 0);
}

// A sector is as many clusters as this mesh has in one, not ten.
TEST(History, OfASectorIsOfItsOwnClustersInAMeshOfAnotherShape) {
  StoredMesh mesh("", {"--sectors", "2", "--clusters", "3", "--cluster-agents", "2"});
  std::vector<std::string> names;
  for (int i = 0; i < 12; ++i) names.push_back("agent-" + std::to_string(i));
  const Agents agents(mesh.folder.mesh(), {.agents = named(names)});
  while (mesh.ask({"status"})["agents_active"] != 12) sched_yield();
  const auto agents_of = [&](std::vector<std::string> place) {
    place.insert(place.begin(), {"history", "agents", "--step-min", "1"});
    const Json rows = mesh.ask(place)["agents"];
    return rows.empty() ? Json(0) : rows.back()["agents"];
  };
  // A minute that has just begun may have some clusters' points alone.
  const auto has = [&](const std::vector<std::string>& place, int count) {
    return eventually([&] { return agents_of(place) == count; });
  };
  ASSERT_TRUE(has({}, 12));
  EXPECT_TRUE(has({"--sector", "0"}, 6));
  EXPECT_TRUE(has({"--sector", "1"}, 6)) << agents_of({"--sector", "1"});
  EXPECT_TRUE(has({"--cluster", "3"}, 2)) << "the first of sector 1";
  EXPECT_EQ(agents_of({"--sector", "2"}), 0);
}

// What was brought before a SIGKILL is there, and the next engine goes on with it.
TEST(History, OutlivesAnEngineThatIsKilled) {
  StoredMesh mesh("results_max = 1000\n");
  const Agents agents(mesh.folder.mesh(), {.agents = named({"a"})});
  while (mesh.ask({"status"})["agents_active"] != 1) sched_yield();
  ASSERT_EQ(mesh.run({"scatter", "one"}).exit_code, 0);
  while (mesh.operations().size() != 1) sched_yield();
  mesh.kill();
  EXPECT_EQ(mesh.ask({"history", "--store", mesh.folder.file("mesh.db")})["operations"].size(), 1U)
      << "no engine is asked";
  mesh.start();
  while (mesh.run({"scatter", "two"}).exit_code != 0) sched_yield();
  while (mesh.operations().size() < 2) sched_yield();
  // A clean end brings what is left.
  ASSERT_EQ(mesh.run({"scatter", "three"}).exit_code, 0);
  ASSERT_EQ(mesh.run({"down"}).exit_code, 0);
  EXPECT_EQ(mesh.up->wait().exit_code, 0);
  const Json all = mesh.ask({"history", "--store", mesh.folder.file("mesh.db")})["operations"];
  EXPECT_EQ(all[0]["verdict"], "success");
  EXPECT_GE(all.size(), 3U);
}

}  // namespace of_history_test
}  // namespace mesh::testing
