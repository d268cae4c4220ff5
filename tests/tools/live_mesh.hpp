// A `mesh up` and a swarm, for the verbs that only look.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/tools/run_mesh.hpp"

namespace mesh::testing {

// `mesh up` with room for 300 agents.
class Live {
 public:
  Live() { start(); }
  void start(const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"up", "--agents", "300", "--stations", "8", "--dir", mesh()};
    words.insert(words.end(), more.begin(), more.end());
    up_ = std::make_unique<StartedMesh>(words);
    EXPECT_THAT(up_->line(), ::testing::StartsWith("up: "));
  }
  void enrol(const std::string& agents) {
    swarm_ = std::make_unique<StartedMesh>(std::vector<std::string>{
        "swarm", "--agents", agents, "--processes", "2", "--profile", "local", "--dir", mesh()});
    EXPECT_THAT(swarm_->line(), ::testing::HasSubstr(agents + " agents"));
  }
  [[nodiscard]] Ran run(std::vector<std::string> words) const {
    words.insert(words.end(), {"--dir", mesh()});
    return run_mesh(words);
  }
  [[nodiscard]] nlohmann::json seen(std::vector<std::string> words) const {
    words.emplace_back("--json");
    const Ran ran = run(words);
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    return nlohmann::json::parse(ran.out, nullptr, false);
  }
  // Waits until the engine has published it.
  [[nodiscard]] bool publishes(const std::string& counter, std::uint64_t least) const {
    for (int looks = 0; looks < 3'000; ++looks) {
      const nlohmann::json list = seen({"stat", counter})["counters"];
      for (const nlohmann::json& one : list) {
        if (one["counter"] == counter && one["value"] >= least) return true;
      }
    }
    return false;
  }
  [[nodiscard]] std::string mesh() const { return folder_.mesh(); }
  [[nodiscard]] StartedMesh& engine() { return *up_; }
  void kill_engine() { up_.reset(); }

 private:
  Folder folder_;
  std::unique_ptr<StartedMesh> up_;
  std::unique_ptr<StartedMesh> swarm_;
};

}  // namespace mesh::testing
