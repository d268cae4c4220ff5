// Stations that come and go, many at once, and an engine that dies while it sorts them out.
#include <filesystem>
#include <fstream>

#include <sys/statvfs.h>

#include "engine/memory_map.hpp"
#include "engine/station_table.hpp"
#include "shm/base/point.hpp"
#include "tests/engine/raw_station.hpp"
#include "tests/repeats.hpp"

namespace mesh::testing {
namespace of_station_churn_test {

namespace fs = std::filesystem;

// What a process holds, and what a directory takes.
struct Held {
  std::size_t descriptors = 0;
  std::size_t mappings = 0;
  std::size_t files = 0;
  std::uint64_t file_bytes = 0;
  friend bool operator==(const Held&, const Held&) = default;
};
// `before` may have seen the last of a console: hundreds that leave a thing leave more
// than that.
bool is_no_more(const Held& now, const Held& before) {
  return now.descriptors <= before.descriptors && now.mappings <= before.mappings &&
         now.files <= before.files && now.file_bytes <= before.file_bytes;
}
std::ostream& operator<<(std::ostream& out, const Held& held) {
  return out << held.descriptors << " descriptors, " << held.mappings << " mappings, " << held.files
             << " files of " << held.file_bytes << " bytes";
}
Held held_by(pid_t process, const std::string& directory) {
  Held held;
  const std::string proc = "/proc/" + std::to_string(process);
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(proc + "/fd"))
    ++held.descriptors;
  std::ifstream maps(proc + "/maps");
  for (std::string line; std::getline(maps, line);)
    held.mappings += line.find("station-") != line.npos ? 1U : 0U;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    ++held.files;
    held.file_bytes += entry.file_size();
  }
  return held;
}

TEST(StationChurn, LeavesNothingBehindAfterHundredsOfAttachesAndDeaths) {
  const ScratchDirectory directory;
  EngineProcess engine(engine_options(directory.path()));
  ASSERT_EQ(engine.hear(), "up");
  SocketStation(directory.path()).enrol("first");  // what is made once is made now
  ASSERT_TRUE(eventually([&] { return engine.status()["stations"] == 0; }));
  const auto settled = [&] {
    const auto status = engine.status();
    return status["stations"] == 0 && status["connections"] == 1;  // the one that asks
  };
  ASSERT_TRUE(eventually(settled));
  Held before;
  EXPECT_TRUE(eventually([&] {  // the console's connection has gone, too
    const Held now = held_by(engine.process(), directory.path());
    return std::exchange(before, now) == now;
  }));
  for (Repeats cycles(500); cycles.next();) {
    SocketStation station(directory.path());
    if (cycles.count() % 2 == 1) station.enrol("of many");
    ASSERT_EQ(station.number(), cycles.count() + 1) << "a number was given twice";
  }
  EXPECT_TRUE(eventually(settled));
  EXPECT_TRUE(eventually([&] {
    return is_no_more(held_by(engine.process(), directory.path()), before);
  })) << held_by(engine.process(), directory.path())
      << ", before " << before;
  EXPECT_EQ(engine.status()["agents_active"], 0);
}

TEST(StationChurn, GivesANumberOnlyOnceAndSaysWhenAllAreGiven) {
  const ScratchDirectory directory;
  {
    EngineProcess engine(engine_options(directory.path()));
    ASSERT_EQ(engine.hear(), "up");
    engine.kill();
  }
  const auto layout = engine::engine_layout(kSmallMesh).value();
  const std::uint32_t last = kMaxStations - 1;
  std::fstream memory(directory.file("engine"), std::ios::binary | std::ios::in | std::ios::out);
  memory.seekp(static_cast<std::streamoff>(layout.find("stations")->offset +
                                           offsetof(engine::StationRow, number)));
  memory.write(reinterpret_cast<const char*>(&last), sizeof last);
  memory.close();
  EngineProcess engine(engine_options(directory.path()));
  ASSERT_EQ(engine.hear(), "up");
  { EXPECT_EQ(SocketStation(directory.path()).number(), kMaxStations); }
  auto client = engine::ControlClient::connect(directory.path(), {});
  ASSERT_TRUE(client.has_value());
  const auto refused = client->request(SocketStation::attach_request());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::capacity);
  EXPECT_THAT(refused.error().sentence, ::testing::HasSubstr("all of its station numbers"));
}

TEST(StationChurn, TakesAStormOfAttachesSomeOfWhomDieHalfway) {
  constexpr std::size_t kProcesses = 200;
  const ScratchDirectory directory;
  std::vector<std::unique_ptr<Child>> children;
  for (std::size_t i = 0; i < kProcesses; ++i) {
    children.push_back(std::make_unique<Child>([i](const Channel& channel) {
      const std::string path = channel.hear();
      if (i % 10 == 3) {
        auto client = engine::ControlClient::connect(path, {.patience = kForEver});
        const std::string request = SocketStation::attach_request();
        if (client) (void)::send(client->fd(), request.data(), request.size(), MSG_NOSIGNAL);
        channel.tell("asked");
        ::raise(SIGKILL);
      }
      engine::StationOptions options;
      options.connect.patience = kForEver;
      const auto station = engine::Station::attach(path, options);
      const std::string name = "storm-" + std::to_string(i);
      if (!station || !(*station)->enrol(std::vector<engine::AgentDeclaration>{{name}})) {
        channel.tell(station ? "not enrolled" : station.error().sentence);
        return 1;
      }
      channel.tell("enrolled");
      (void)channel.hear();
      return 0;
    }));
  }
  engine::EngineOptions options = engine_options(directory.path());
  options.size = {.agents = 2 * kProcesses, .stations = kProcesses};
  EngineProcess engine(options);
  ASSERT_EQ(engine.hear(), "up");
  for (const auto& child : children) child->tell(directory.path());
  for (std::size_t i = 0; i < kProcesses; ++i) {
    EXPECT_EQ(children[i]->hear(), i % 10 == 3 ? "asked" : "enrolled") << i;
  }
  const std::size_t survivors = kProcesses - kProcesses / 10;
  EXPECT_TRUE(eventually([&] { return engine.status()["stations"] == survivors; }));
  EXPECT_EQ(engine.status()["agents_active"], survivors);
}

TEST(StationChurn, EnrolsTheSameNameAgainAtOnceAfterAKill) {
  const ScratchDirectory directory;
  EngineProcess engine(engine_options(directory.path()));
  ASSERT_EQ(engine.hear(), "up");
  for (int life = 0; life < 20; ++life) {
    Child child([](const Channel& channel) { return faithful_listener(channel, "phoenix"); });
    child.tell(directory.path());
    ASSERT_EQ(child.hear(), "enrolled") << life;
    child.end();
  }
  EXPECT_EQ(engine.status()["agents_enrolled"], 1);
}

// The engine dies while it writes who is attached; its successor finishes what it began.
TEST(StationChurn, FinishesWhatAnEngineBeganThatDiedAtEachStep) {
  if (!kHasPoints) GTEST_SKIP() << "built without MESH_FAULTS";
  struct Step {
    const char* point;
    bool attaching;    // else a station is leaving
    unsigned next;     // number that the next station gets
    std::size_t left;  // stations that are waited for
  };
  for (const Step& step : {Step{"stations.write:after_number", true, 2, 0},
                           Step{"stations.write:before_state", true, 2, 0},
                           Step{"stations.leave:after_state", false, 2, 0},
                           Step{"stations.free:after_state", false, 2, 0}}) {
    SCOPED_TRACE(step.point);
    const ScratchDirectory directory;
    EngineProcess dying(engine_options(directory.path()), [point = step.point] {
      points::arm(
          point, 1, [](void*) { ::kill(::getpid(), SIGKILL); }, nullptr);
    });
    ASSERT_EQ(dying.hear(), "up");
    if (step.attaching) {
      auto client = engine::ControlClient::connect(directory.path(), {});
      ASSERT_TRUE(client.has_value());
      EXPECT_EQ(client->request(SocketStation::attach_request()).error().code, Errc::closed);
    } else {
      SocketStation station(directory.path());
      station.enrol("leaving");
    }
    ASSERT_EQ(dying.hear(), kGone);
    EngineProcess next(engine_options(directory.path()));
    ASSERT_EQ(next.hear(), "up");
    const auto status = next.status();
    EXPECT_EQ(status["awaited"].size(), step.left);
    EXPECT_EQ(status["agents_active"], 0);
    EXPECT_FALSE(fs::exists(directory.file("station-1.in")));
    EXPECT_EQ(SocketStation(directory.path()).number(), step.next);
  }
}

}  // namespace of_station_churn_test
}  // namespace mesh::testing
