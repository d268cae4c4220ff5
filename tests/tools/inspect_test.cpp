// mesh inspect, run as a program on meshes that live, that hang and that are dead.
#include <csignal>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "tests/tools/run_mesh.hpp"

namespace mesh::testing {
namespace of_inspect_test {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using Json = nlohmann::json;

constexpr const char* kWhat[] = {"header", "layout", "clock", "agents", "rings", "payload"};

// `mesh up` with room for 300 agents in a folder of its own on a tmpfs.
class Mesh {
 public:
  Mesh() : folder_("/dev/shm/mesh_inspect_test_XXXXXX") {
    if (mkdtemp(folder_.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    up_ = std::make_unique<StartedMesh>(
        std::vector<std::string>{"up", "--agents", "300", "--stations", "8", "--dir", directory()});
    EXPECT_THAT(up_->line(), StartsWith("up: "));
  }
  ~Mesh() {
    swarm_.reset();
    up_.reset();
    std::filesystem::remove_all(folder_);
  }
  Mesh(const Mesh&) = delete;
  Mesh& operator=(const Mesh&) = delete;

  void enrol(const std::string& agents, const std::string& processes) {
    swarm_ = std::make_unique<StartedMesh>(
        std::vector<std::string>{"swarm", "--agents", agents, "--processes", processes, "--profile",
                                 "local", "--dir", directory()});
    EXPECT_THAT(swarm_->line(), HasSubstr(agents + " agents"));
  }
  [[nodiscard]] std::string directory() const { return folder_ + "/mesh"; }
  [[nodiscard]] StartedMesh& engine() { return *up_; }

  [[nodiscard]] Ran inspect(std::vector<std::string> words) const {
    words.insert(words.begin(), "inspect");
    words.insert(words.end(), {"--dir", directory()});
    return run_mesh(words);
  }
  [[nodiscard]] Json seen(std::vector<std::string> words) const {
    words.emplace_back("--json");
    const Ran ran = inspect(words);
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    return Json::parse(ran.out);
  }

 private:
  std::string folder_;
  std::unique_ptr<StartedMesh> up_;
  std::unique_ptr<StartedMesh> swarm_;
};

void expect_refused(const Ran& ran, int exit_code, const std::string& sentence) {
  EXPECT_EQ(ran.exit_code, exit_code) << ran.out << ran.err;
  EXPECT_THAT(ran.out, IsEmpty());
  EXPECT_THAT(ran.err, HasSubstr(sentence));
}

// Refusals first.

TEST(InspectRefuses, WhatItDoesNotKnow) {
  expect_refused(run_mesh({"inspect"}), 2, "what");
  expect_refused(run_mesh({"inspect", "everything"}), 2, "\"everything\": is header, layout");
  expect_refused(run_mesh({"inspect", "rings", "--row", "1"}), 2, "for mesh inspect agents");
  expect_refused(run_mesh({"inspect", "agents", "--class", "G"}), 2, "--class \"G\"");
  expect_refused(run_mesh({"inspect", "agents", "--row", "-1"}), 2, "--row");
}
TEST(InspectRefuses, ADirectoryWithoutAMesh) {
  expect_refused(run_mesh({"inspect", "header", "--dir", "/nonexistent/mesh"}), 3,
                 "there is no such directory");
  const Mesh mesh;
  std::filesystem::remove(mesh.directory() + "/table");
  for (const char* const what : kWhat) expect_refused(mesh.inspect({what}), 3, "it has no table");
}
TEST(InspectRefuses, AFileThatIsNoMemory) {
  const Mesh mesh;
  const std::string table = mesh.directory() + "/table";
  std::filesystem::remove(table);
  std::ofstream(table) << std::string(8'192, '\0');
  ::chmod(table.c_str(), 0600);
  for (const char* const what : kWhat) expect_refused(mesh.inspect({what}), 3, "no magic");
  std::ofstream(table, std::ios::trunc) << "short";
  expect_refused(mesh.inspect({"header"}), 3, "5 bytes, the header alone has 256");
  ::chmod(table.c_str(), 0644);
  expect_refused(mesh.inspect({"header"}), 3, "0644");
}
TEST(InspectRefuses, RowsAndNamesThatNobodyHas) {
  Mesh mesh;
  mesh.enrol("4", "2");
  expect_refused(mesh.inspect({"agents", "--row", "300"}), 2, "the rows 0 to 299");
  expect_refused(mesh.inspect({"agents", "--row", "299"}), 1, "no agent in row 299");
  expect_refused(mesh.inspect({"agents", "--agent", "nobody"}), 1, "no agent called \"nobody\"");
}

// What it shows.

TEST(Inspect, ShowsTheHeadersOfALiveMesh) {
  Mesh mesh;
  mesh.enrol("40", "2");
  const Json report = mesh.seen({"header"});
  EXPECT_EQ(report["engine_running"], true);
  EXPECT_EQ(report["engine_process"], mesh.engine().pid());
  EXPECT_EQ(report["agents"], 300);
  EXPECT_EQ(report["stations"], 8);
  std::vector<std::string> names;
  for (const Json& memory : report["memories"]) {
    names.push_back(memory["memory"]);
    if (names.back().ends_with(".out")) {
      EXPECT_TRUE(memory["magic"].is_null());
      EXPECT_THAT(memory["state"].get<std::string>(), HasSubstr("memfd"));
      continue;
    }
    EXPECT_EQ(memory["magic"], "MESH30K1");
    EXPECT_EQ(memory["state"], "whole");
    EXPECT_EQ(memory["mesh_uuid"], report["memories"][0]["mesh_uuid"]);
    EXPECT_GT(memory["created_ns"].get<std::int64_t>(), 0);
    EXPECT_EQ(memory["bytes"], std::filesystem::file_size(mesh.directory() + "/" + names.back()));
  }
  EXPECT_THAT(names, ElementsAre("table", "payload", "engine", "station-1.in", "station-1.out",
                                 "station-2.in", "station-2.out"));
  EXPECT_THAT(mesh.inspect({"header"}).out, HasSubstr("unknown"));
}

TEST(Inspect, ShowsTheClockGoOn) {
  const Mesh mesh;
  const Json first = mesh.seen({"clock"});
  const Json second = mesh.seen({"clock"});
  EXPECT_GT(second["now_ns"], first["now_ns"]);
  EXPECT_LT(std::abs(second["behind_monotonic_ns"].get<std::int64_t>()), 1'000'000'000);
  EXPECT_GT(second["mult"].get<std::uint64_t>(), 0U);
}

TEST(Inspect, ShowsEachAgentOnceAndFindsOneByRowNameAndClass) {
  Mesh mesh;
  mesh.enrol("40", "2");
  const Json report = mesh.seen({"agents"});
  EXPECT_EQ(report["rows"], 300);
  ASSERT_EQ(report["agents"].size(), 40U);
  for (std::size_t row = 0; row < 40; ++row) {
    const Json& agent = report["agents"][row];
    EXPECT_EQ(agent["row"], row);
    EXPECT_EQ(agent["state"], "ACTIVE");
    EXPECT_EQ(agent["incarnation"], 1);
    EXPECT_EQ(agent["queue_depth"], 0);
    EXPECT_EQ(agent["id"].get<std::uint64_t>() & 0xF'FFFF, row);
    EXPECT_LT(agent["heartbeat_age_ms"].get<std::int64_t>(), 120'000);
  }
  const Json& seventh = report["agents"][7];
  const auto stands_alone = [&](const std::vector<std::string>& words) {
    const Json found = mesh.seen(words);
    EXPECT_EQ(found["agents"].size(), 1U) << found;
    EXPECT_EQ(found["agents"][0]["name"], seventh["name"]);
  };
  stands_alone({"agents", "--row", "7"});
  stands_alone({"agents", "--agent", seventh["name"]});
  std::size_t of_all_classes = 0;
  for (const char* const letter : {"A", "B", "C", "D", "E", "F"}) {
    const Ran ran = mesh.inspect({"agents", "--class", letter, "--json"});
    if (ran.exit_code == 1) continue;  // a class that none of forty has
    const Json found = Json::parse(ran.out);
    for (const Json& agent : found["agents"]) EXPECT_EQ(agent["class"], letter);
    of_all_classes += found["agents"].size();
  }
  EXPECT_EQ(of_all_classes, 40U);
}

TEST(Inspect, ShowsHowFarEachInboxHasCome) {
  Mesh mesh;
  mesh.enrol("40", "2");
  const auto heads = [&] {
    std::uint64_t sum = 0;
    const Json report = mesh.seen({"rings"});
    EXPECT_EQ(report["rings"].size(), 2U);
    for (const Json& ring : report["rings"]) {
      EXPECT_TRUE(ring["inbox_cursor"].is_null()) << "it stands in a memfd";
      EXPECT_EQ(ring["inbox_slots"], 1'024);
      sum += ring["inbox_head"].get<std::uint64_t>();
    }
    return sum;
  };
  EXPECT_EQ(heads(), 0U);
  const Ran scattered = run_mesh({"scatter", "go", "--horizon-ms", "300", "--window-ms", "5000",
                                  "--dir", mesh.directory(), "--json"});
  const Json result = Json::parse(scattered.out);
  EXPECT_GT(result["sent"], 0);
  EXPECT_EQ(heads(), result["sent"]) << "a delivery for each that was sent to";
  EXPECT_THAT(mesh.inspect({"rings"}).out, HasSubstr("unknown"));
}

TEST(Inspect, ShowsThePayloadLogAndWhereItStands) {
  Mesh mesh;
  mesh.enrol("40", "2");
  const Json before = mesh.seen({"payload"});
  EXPECT_EQ(before["entries"], 0);
  EXPECT_EQ(before["head"], before["tail"]);
  EXPECT_EQ(run_mesh({"scatter", "a body of some length", "--horizon-ms", "300", "--window-ms",
                      "5000", "--ready-min", "0", "--dir", mesh.directory()})
                .exit_code,
            0);
  const Json after = mesh.seen({"payload"});
  EXPECT_GT(after["head"], before["head"]);
  EXPECT_EQ(after["state"], "whole");
  const Json layout = mesh.seen({"layout"});
  for (const Json& region : layout["regions"]) {
    if (region["region"] != "log" || region["memory"] != "payload") continue;
    EXPECT_EQ(region["bytes"], after["capacity_bytes"]);
  }
  EXPECT_THAT(mesh.inspect({"layout"}).out, HasSubstr("agent.latency_ms"));
}

// Its engine stopped by a signal: nothing that needs an answer of it would come back.
TEST(Inspect, NeedsNoEngineThatAnswers) {
  Mesh mesh;
  mesh.enrol("40", "2");
  mesh.engine().signal(SIGSTOP);
  for (const char* const what : kWhat) EXPECT_EQ(mesh.inspect({what}).exit_code, 0) << what;
  EXPECT_EQ(mesh.seen({"header"})["engine_running"], true);
  mesh.engine().signal(SIGCONT);
}

TEST(Inspect, ShowsWhatADeadEngineLeftAndChangesNothing) {
  Mesh mesh;
  mesh.enrol("40", "2");
  mesh.engine().signal(SIGKILL);
  EXPECT_EQ(mesh.engine().wait().exit_code, 128 + SIGKILL);
  const auto content = [&](const std::string& name) {
    std::ifstream file(mesh.directory() + "/" + name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const std::string table = content("table");
  const std::string inbox = content("station-1.in");
  const Json header = mesh.seen({"header"});
  EXPECT_EQ(header["engine_running"], false);
  EXPECT_TRUE(header["engine_process"].is_null());
  EXPECT_EQ(mesh.seen({"agents"})["agents"].size(), 40U);
  for (const char* const what : kWhat) EXPECT_EQ(mesh.inspect({what}).exit_code, 0) << what;
  EXPECT_EQ(content("table"), table);
  EXPECT_EQ(content("station-1.in"), inbox);
}

}  // namespace of_inspect_test
}  // namespace mesh::testing
