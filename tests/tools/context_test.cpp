// A shell agent's context, by the program and in real processes: handed over, looked at, loaded.
#include <filesystem>
#include <fstream>

#include "tests/tools/acting_mesh.hpp"

namespace mesh::testing {
namespace of_context_test {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string content_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}
void write(const std::string& path, const std::string& content) { std::ofstream(path) << content; }

class ContextVerb : public ::testing::Test {
 protected:
  void up(std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"up", "--agents", "60",          "--stations",
                                      "8",  "--dir",    folder_.mesh()};
    words.insert(words.end(), more.begin(), more.end());
    up_ = std::make_unique<StartedMesh>(words);
    EXPECT_THAT(up_->line(), StartsWith("up: " + folder_.mesh()));
  }
  [[nodiscard]] Ran run(std::vector<std::string> words) const {
    words.insert(words.end(), {"--dir", folder_.mesh()});
    return run_mesh(words);
  }
  Json ask(std::vector<std::string> words) const {
    words.emplace_back("--json");
    return Json::parse(run(std::move(words)).out, nullptr, false);
  }
  std::unique_ptr<StartedMesh> agent(std::vector<std::string> more) {
    std::vector<std::string> words = {"agent", "--name", "planner", "--dir", folder_.mesh()};
    words.insert(words.end(), more.begin(), more.end());
    auto started = std::make_unique<StartedMesh>(words);
    return started;
  }
  Json versions(std::size_t count) const {
    for (;; sched_yield()) {
      const Json seen = ask({"context", "planner"});
      if (seen.is_object() && seen.contains("versions") && seen["versions"].size() >= count)
        return seen;
    }
  }
  Folder folder_;
  Folder files_;
  std::unique_ptr<StartedMesh> up_;
};

TEST_F(ContextVerb, ShowsAndWritesWhatAnAgentHandedOver) {
  const std::string file = files_.file("plan.json");
  write(file, "first");
  up();
  const auto planner = agent({"--context", file, "--exec", "cat >> " + file});
  const Json first = versions(1);
  EXPECT_EQ(first["in_store"], false) << "there is none, and that is said";
  EXPECT_EQ(first["loads_context"], true);
  EXPECT_EQ(run({"send", "planner", "+second"}).exit_code, 0);
  const Json both = versions(2);
  EXPECT_EQ(both["versions"][0]["bytes"], 12);
  EXPECT_EQ(both["expected_hash"], both["versions"][0]["hash"]);
  EXPECT_EQ(run({"context", "planner", "--output", "-"}).out, "first+second");
  const std::string copy = files_.file("copy");
  const Ran written = run({"context", "planner", "--output", copy, "--version", "1"});
  EXPECT_EQ(written.exit_code, 0) << written.err;
  EXPECT_EQ(content_of(copy), "first");
  EXPECT_THAT(run({"context", "planner"}).out, HasSubstr("version"));
  EXPECT_EQ(run({"context", "nobody"}).exit_code, 1);
  EXPECT_EQ(run({"context", "planner", "--output", "-", "--version", "9"}).exit_code, 1);
}

TEST_F(ContextVerb, RefusesAContextThatIsTooLong) {
  const std::string file = files_.file("long");
  write(file, std::string((1U << 20) + 1, 'x'));
  up();
  const auto planner = agent({"--context", file});
  const Ran ran = planner->wait();
  EXPECT_NE(ran.exit_code, 0);
  EXPECT_THAT(ran.err, HasSubstr(file));
}

}  // namespace of_context_test
}  // namespace mesh::testing
