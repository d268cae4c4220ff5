// mesh demo and swarm, as a user runs them: real processes, counts that add up, nothing left.
#include <csignal>
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "tests/tools/run_mesh.hpp"

namespace mesh::testing {
namespace of_demo_test {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::json;

// Directories and processes that carry the mark of one demo.
std::vector<std::string> directories_of(pid_t demo) {
  std::vector<std::string> found;
  const std::string mark =
      "mesh30k-demo-" + std::to_string(getuid()) + "-" + std::to_string(demo) + "-";
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    if (entry.path().filename().string().starts_with(mark)) found.push_back(entry.path().string());
  }
  return found;
}
std::vector<std::string> swarm_processes_of(pid_t parent) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "cmdline");
    // By getline, which takes a process that ends meanwhile for an empty file.
    for (std::string word; std::getline(file, word, '\0');) {
      if (word == "--parent=" + std::to_string(parent)) {
        found.push_back(entry.path().filename().string());
      }
    }
  }
  return found;
}

void expect_counts_add_up(const Json& figures) {
  EXPECT_EQ(figures["targeted"], figures["scheduled"].get<int>() + figures["skipped"].get<int>());
  EXPECT_EQ(figures["scheduled"], figures["ready"].get<int>() + figures["conflict"].get<int>() +
                                      figures["straggler"].get<int>());
  EXPECT_EQ(figures["rate"], figures["ready"].get<double>() / figures["scheduled"].get<double>());
  EXPECT_EQ(figures["coverage"],
            figures["ready"].get<double>() / figures["targeted"].get<double>());
  EXPECT_LE(figures["arrival_error_ms"]["p50"], figures["arrival_error_ms"]["p90"]);
  EXPECT_LE(figures["arrival_error_ms"]["p90"], figures["arrival_error_ms"]["p99"]);
  EXPECT_GT(figures["engine_us"]["plan"], 0.0);
  EXPECT_GT(figures["engine_us"]["dispatch"], 0.0);
  EXPECT_GT(figures["engine_us"]["gather"], 0.0);
}

// Starts a demo and waits until its swarm runs.
class InterruptedDemo {
 public:
  InterruptedDemo()
      : demo_({"demo", "--agents", "60", "--processes", "2", "--operations", "1000"}) {
    while (swarm().size() < 2) sched_yield();
    EXPECT_EQ(directories_of(demo_.pid()).size(), 1U);
  }
  [[nodiscard]] std::vector<std::string> swarm() const { return swarm_processes_of(demo_.pid()); }
  [[nodiscard]] StartedMesh& demo() { return demo_; }
  Ran end() {
    const pid_t pid = demo_.pid();
    Ran ran = demo_.wait();
    EXPECT_THAT(swarm_processes_of(pid), IsEmpty());
    EXPECT_THAT(directories_of(pid), IsEmpty());
    return ran;
  }

 private:
  StartedMesh demo_;
};

TEST(Demo, RefusesWhatItCannotDo) {
  expect_refusal({"demo", "--agents", "0"}, "--agents \"0\": must be a whole number from 1 to");
  expect_refusal({"demo", "--agents", "1048577"}, "--agents");
  expect_refusal({"demo", "--agents", "3.5"}, "--agents");
  expect_refusal({"demo", "--processes", "0"}, "--processes \"0\": must be a whole number from 1");
  expect_refusal({"demo", "--agents", "3", "--processes", "4"}, "from 1 to 3");
  expect_refusal({"demo", "--operations", "0"}, "--operations");
  expect_refusal({"demo", "--operations", "many"}, "--operations");
  expect_refusal({"demo", "--profile", "Mixed"}, "--profile \"Mixed\": is mixed or local");
  expect_refusal({"demo", "--seed", "-1"}, "--seed");
  expect_refusal({"demo", "--trace", "/no/such/folder/trace.csv"}, "cannot be written");
  expect_refusal({"demo", "--verbose"}, "");
}
TEST(Swarm, RefusesWhatItCannotDo) {
  expect_refusal({"swarm", "--agents", "0"}, "--agents");
  expect_refusal({"swarm", "--processes", "1025", "--agents", "2000"}, "from 1 to 1024");
  expect_refusal({"swarm", "--profile", ""}, "--profile");
  expect_refusal({"swarm", "--seed", "x"}, "--seed");
  expect_refusal({"swarm", "--change-at", "x"}, "--change-at");
  expect_refusal({"swarm", "--prefix", ""}, "--prefix");
  expect_refusal({"swarm", "--prefix", std::string(56, 'x')}, "1 to 55 bytes");
  expect_refusal({"swarm", "--name", "a/b"}, "");
}

TEST(Demo, CountsAddUpAndNothingIsLeft) {
  for (const std::string profile : {"mixed", "local"}) {
    const TemporaryFile trace("");
    StartedMesh demo({"demo", "--agents", "300", "--processes", "2", "--operations", "2",
                      "--profile", profile, "--seed", "7", "--trace", trace.path(), "--json"});
    const pid_t pid = demo.pid();
    const Ran ran = demo.wait();
    ASSERT_EQ(ran.exit_code, 0) << ran.err;
    EXPECT_THAT(ran.err, IsEmpty()) << "a progress bar is for terminals";
    const Json document = Json::parse(ran.out);
    ASSERT_EQ(document["operations"].size(), 2U);
    for (const Json& figures : document["operations"]) {
      expect_counts_add_up(figures);
      EXPECT_EQ(figures["agents"], 300);
      EXPECT_EQ(figures["processes"], 2);
      EXPECT_EQ(figures["targeted"], 300);
    }
    expect_counts_add_up(document["summary"]);
    EXPECT_EQ(document["summary"]["targeted"], 600);
    EXPECT_EQ(document["summary"]["profile"], profile);
    EXPECT_EQ(document["summary"]["status"], document["operations"][1]["status"]);
    std::ifstream lines(trace.path());
    EXPECT_EQ(std::count(std::istreambuf_iterator<char>(lines), {}, '\n'), 1 + 2 * 300);
    EXPECT_THAT(directories_of(pid), IsEmpty());
  }
}

// Whoever reads the trace gets the figures that were printed.
TEST(Demo, FiguresFollowFromTheTrace) {
  const TemporaryFile trace("");
  const Ran ran = run_mesh({"demo", "--agents", "90", "--processes", "3", "--operations", "1",
                            "--trace", trace.path(), "--json"});
  const Json figures = Json::parse(ran.out)["operations"][0];
  std::ifstream lines(trace.path());
  std::string line;
  std::getline(lines, line);
  std::map<std::string, int> states;
  int skipped = 0;
  std::vector<double> errors_ms, nominal_ms;
  while (std::getline(lines, line)) {
    std::vector<std::string> cells;
    std::istringstream row(line);
    for (std::string cell; std::getline(row, cell, ',');) cells.push_back(cell);
    ASSERT_EQ(std::count(line.begin(), line.end(), ','), 13);  // 14 columns, some empty
    EXPECT_EQ(cells.size(), cells[7].empty() ? 13U : 14U);     // getline knows no empty last cell
    skipped += cells[7].empty() ? 1 : 0;
    if (cells[7].empty()) continue;
    ++states[cells[10]];
    if (cells[10] == "0") continue;
    errors_ms.push_back(
        std::abs(static_cast<double>(std::stoll(cells[8]) - std::stoll(cells[9])) / 1e6));
    const double took_us = static_cast<double>(std::stoll(cells[8]) - std::stoll(cells[7])) / 1e3;
    nominal_ms.push_back(std::abs(took_us - std::stod(cells[11])) / 1e3);
  }
  std::sort(errors_ms.begin(), errors_ms.end());
  ASSERT_FALSE(errors_ms.empty());
  EXPECT_EQ(figures["skipped"], skipped);
  EXPECT_EQ(figures["ready"], states["1"]);
  EXPECT_EQ(figures["conflict"], states["-1"]);
  EXPECT_EQ(figures["straggler"], states["0"]);
  EXPECT_EQ(figures["arrival_error_ms"]["p50"], errors_ms[(errors_ms.size() + 1) / 2 - 1]);
  std::sort(nominal_ms.begin(), nominal_ms.end());
  EXPECT_NEAR(figures["nominal"]["arrival_error_ms"]["p50"].get<double>(),
              nominal_ms[(nominal_ms.size() + 1) / 2 - 1], 1e-6);
}

// What the product is for, on a small mesh. The whole bar is for sched_prediction_test: there no
// other process takes the processor away.
TEST(Demo, ArrivalsComeNearerTheLongerItRuns) {
  const Ran ran = run_mesh({"demo", "--agents", "600", "--processes", "2", "--operations", "8",
                            "--seed", "3", "--json"});
  const Json operations = Json::parse(ran.out)["operations"];
  const auto p90 = [](const Json& of) { return of["arrival_error_ms"]["p90"].get<double>(); };
  ASSERT_EQ(operations.size(), 8U);
  EXPECT_LT(p90(operations[7]), 0.7 * p90(operations[0]));
  EXPECT_LT(p90(operations[7]), 0.7 * p90(operations[7]["nominal"]));
  EXPECT_GT(operations[7]["inside_50ms"], operations[7]["nominal"]["inside_50ms"]);
}

TEST(Demo, NamesTheClassThatWasSkipped) {
  const Ran ran = run_mesh({"demo", "--agents", "30", "--processes", "1", "--operations", "1"});
  EXPECT_THAT(ran.out, HasSubstr("2 of class F (HUMAN)"));
}

TEST(Demo, LeavesNothingWhenItIsInterrupted) {
  for (const int number : {SIGINT, SIGTERM}) {
    InterruptedDemo interrupted;
    interrupted.demo().signal(number);
    const Ran ran = interrupted.end();
    EXPECT_EQ(ran.exit_code, 1);
    EXPECT_THAT(ran.err, HasSubstr("stopped before it was done"));
    EXPECT_THAT(ran.out, IsEmpty());
  }
}

TEST(Demo, LeavesNothingWhenItIsInterruptedInAnOperation) {
  const TemporaryFile trace("");
  StartedMesh demo({"demo", "--agents", "60", "--processes", "2", "--operations", "1000", "--trace",
                    trace.path()});
  const pid_t pid = demo.pid();
  while (std::filesystem::file_size(trace.path()) < 1'000) sched_yield();
  demo.signal(SIGINT);
  const Ran ran = demo.wait();
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_THAT(ran.err, HasSubstr("stopped before it was done"));
  EXPECT_THAT(swarm_processes_of(pid), IsEmpty());
  EXPECT_THAT(directories_of(pid), IsEmpty());
}

TEST(Demo, LeavesNothingWhenASwarmProcessIsKilled) {
  InterruptedDemo interrupted;
  kill(std::stoi(interrupted.swarm().front()), SIGKILL);
  const Ran ran = interrupted.end();
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_THAT(ran.err, HasSubstr("ended by itself: signal 9"));
}

TEST(Swarm, EndsWithAParentThatIsKilled) {
  InterruptedDemo interrupted;
  const pid_t parent = interrupted.demo().pid();
  interrupted.demo().signal(SIGKILL);
  interrupted.demo().wait();
  while (!swarm_processes_of(parent).empty()) sched_yield();
  // Of a killed process the directory stays: it has no one else to remove it.
  const std::vector<std::string> left = directories_of(parent);
  EXPECT_EQ(left.size(), 1U);
  for (const std::string& directory : left) std::filesystem::remove_all(directory);
}

}  // namespace of_demo_test
}  // namespace mesh::testing
