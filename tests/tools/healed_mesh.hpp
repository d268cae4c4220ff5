// A `mesh up` with a [recovery] of its own, by the program, with real processes.
#pragma once

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "tests/tools/acting_mesh.hpp"

namespace mesh::testing {

// Whatever its engine has started ends with it: it is taken down.
class HealedMesh : public MeshInFolder {
 public:
  // `with`: of its [recovery]; %MESH% is the program.
  explicit HealedMesh(const std::string& with, const std::string& stations = "8") {
    std::string text = "[recovery]\n" + with;
    for (std::size_t at = 0; (at = text.find("%MESH%")) != std::string::npos;)
      text.replace(at, 6, mesh_command());
    std::ofstream(folder.file("mesh.toml")) << text;
    up = std::make_unique<StartedMesh>(
        std::vector<std::string>{"up", "--agents", "300", "--stations", stations, "--dir",
                                 folder.mesh(), "--config", folder.file("mesh.toml")});
    EXPECT_THAT(up->line(), ::testing::StartsWith("up: "));
  }
  ~HealedMesh() {
    static_cast<void>(run({"down"}));
    up->wait();
  }
  [[nodiscard]] Json status() const { return ask({"status"}); }
  void wait_for(std::size_t agents) const {
    while (status()["agents_active"] != agents) sched_yield();
  }
  [[nodiscard]] std::unique_ptr<StartedMesh> agent(const std::string& name,
                                                   const std::string& exec) const {
    return std::make_unique<StartedMesh>(
        std::vector<std::string>{"agent", "--name", name, "--dir", folder.mesh(), "--exec", exec});
  }
};

}  // namespace mesh::testing
