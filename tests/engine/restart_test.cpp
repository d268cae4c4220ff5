// An engine that is killed and started again: the mesh goes on, its stations come back.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/engine/raw_station.hpp"

namespace mesh::testing {
namespace of_restart_test {

using engine::EngineOptions;
using nlohmann::json;

std::vector<std::string> files_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.is_regular_file()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Stations come back.

TEST(Restart, GoesOnWithAgentsAndStationsOfAKilledEngine) {
  const ScratchDirectory directory;
  const Child alice([](const Channel& channel) { return faithful_listener(channel, "alice"); });
  std::string uuid;
  {
    EngineProcess first(engine_options(directory.path()));
    ASSERT_EQ(first.hear(), "up");
    EXPECT_EQ(first.status()["adopted"], nullptr);
    alice.tell(directory.path());
    ASSERT_EQ(alice.hear(), "enrolled");
    first.kill();
  }
  EngineProcess second(engine_options(directory.path()));
  ASSERT_EQ(second.hear(), "up");
  EXPECT_EQ(alice.hear(), "back");
  const json status = second.status();
  EXPECT_EQ(status["adopted"]["agents"], 1);
  EXPECT_EQ(status["adopted"]["stations"], 1);
  EXPECT_EQ(status["adopted"]["returned"], 1);
  EXPECT_EQ(status["adopted"]["awaited"], 0);
  EXPECT_EQ(status["adopted"]["lost"], "samples younger than a second");
  EXPECT_EQ(status["agents_active"], 1);
  EXPECT_EQ(status["attached"][0]["station"], 1);
  EXPECT_EQ(status["attached"][0]["name"], "of alice");
  EXPECT_EQ(status["attached"][0]["process"], alice.process());
  second.send("alice", "still there?");
  EXPECT_EQ(alice.hear(), "still there?");
  EXPECT_TRUE(eventually([&] { return second.status()["counters"]["answers"] == 1; }));
  EXPECT_EQ(second.end(), 0);
  EXPECT_EQ(alice.hear(), "lost: no_mesh");
  EXPECT_EQ(files_in(directory.path()), std::vector<std::string>{"lock"});
}

TEST(Restart, OutlivesTenKillsInARow) {
  const ScratchDirectory directory;
  std::vector<std::unique_ptr<Child>> stations;
  for (int i = 0; i < 4; ++i) {
    stations.push_back(std::make_unique<Child>([i](const Channel& channel) {
      return faithful_listener(channel, "agent-" + std::to_string(i));
    }));
  }
  auto engine = std::make_unique<EngineProcess>(engine_options(directory.path()));
  ASSERT_EQ(engine->hear(), "up");
  for (const auto& station : stations) {
    station->tell(directory.path());
    ASSERT_EQ(station->hear(), "enrolled");
  }
  for (int kill = 0; kill < 10; ++kill) {
    SCOPED_TRACE(kill);
    engine->kill();
    engine = std::make_unique<EngineProcess>(engine_options(directory.path()));
    ASSERT_EQ(engine->hear(), "up");
    if (kill % 2 == 0) continue;  // killed before anybody can be back
    ASSERT_TRUE(eventually([&] { return engine->status()["stations"] == 4; }));
    EXPECT_EQ(engine->status()["agents_active"], 4);
  }
  EXPECT_TRUE(eventually([&] { return engine->status()["stations"] == 4; }));
  for (std::size_t i = 0; i < stations.size(); ++i) {
    engine->send("agent-" + std::to_string(i), "hello");
    std::string heard;
    do {
      heard = stations[i]->hear();
    } while (heard == "back");
    EXPECT_EQ(heard, "hello");
  }
}

TEST(Restart, DoesNotWaitForWhoNeverComes) {
  const ScratchDirectory directory;
  const Child alice([](const Channel& channel) { return faithful_listener(channel, "alice"); });
  Child gone([](const Channel& channel) { return faithful_listener(channel, "gone"); });
  {
    EngineProcess first(engine_options(directory.path()));
    ASSERT_EQ(first.hear(), "up");
    gone.tell(directory.path());
    ASSERT_EQ(gone.hear(), "enrolled");
    alice.tell(directory.path());
    ASSERT_EQ(alice.hear(), "enrolled");
    first.kill();
  }
  gone.end();
  EngineOptions options = engine_options(directory.path());
  options.reconnect = Nanos{2'000 * kNsPerMs};
  EngineProcess second(options);
  ASSERT_EQ(second.hear(), "up");
  EXPECT_EQ(alice.hear(), "back");
  second.send("alice", "meanwhile");  // nobody is waited for with anything
  EXPECT_EQ(alice.hear(), "meanwhile");
  EXPECT_TRUE(eventually([&] { return second.status()["adopted"]["not_back"] == 1; }));
  EXPECT_TRUE(eventually([&] { return second.status()["awaited"].empty(); }));
  EXPECT_EQ(second.status()["agents_active"], 1);
  EXPECT_EQ(second.status()["agents_enrolled"], 2);
  const auto files = files_in(directory.path());
  EXPECT_EQ(std::count(files.begin(), files.end(), "station-1.in"), 0);
  EXPECT_EQ(std::count(files.begin(), files.end(), "station-2.in"), 1);
  const SocketStation next(directory.path());
  EXPECT_EQ(second.status()["attached"][1]["station"], 3) << "a number was given twice";
}

TEST(Restart, TellsAStationThatComesTooLateAndItMayAttachAgain) {
  const ScratchDirectory directory;
  const Child late([](const Channel& channel) {
    const std::string path = channel.hear();
    engine::StationOptions options;
    options.engine_patience = kForEver;
    auto station = engine::Station::attach(path, options);
    const std::vector<engine::AgentDeclaration> agents{{"late"}};
    if (!station || !(*station)->enrol(agents)) return 1;
    channel.tell("enrolled");
    ::raise(SIGSTOP);
    while (!(*station)->is_lost()) (void)(*station)->wait((*station)->now() + Nanos{kNsPerSecond});
    channel.tell(std::string(name_of((*station)->lost_reason().code)));
    if ((*station)->send({}, {}) != engine::SendStatus::lost) return 1;
    station = engine::Station::attach(path, options);
    if (!station || !(*station)->enrol(agents)) return 1;
    channel.tell("again");
    (void)channel.hear();
    return 0;
  });
  {
    EngineProcess first(engine_options(directory.path()));
    ASSERT_EQ(first.hear(), "up");
    late.tell(directory.path());
    ASSERT_EQ(late.hear(), "enrolled");
    ASSERT_EQ(::waitpid(late.process(), nullptr, WUNTRACED), late.process());
    first.kill();
  }
  EngineOptions options = engine_options(directory.path());
  options.reconnect = Nanos{1};
  EngineProcess second(options);
  ASSERT_EQ(second.hear(), "up");
  EXPECT_TRUE(eventually([&] { return second.status()["adopted"]["awaited"] == 0; }));
  ::kill(late.process(), SIGCONT);
  EXPECT_EQ(late.hear(), "evicted");
  EXPECT_EQ(late.hear(), "again");
  EXPECT_EQ(second.status()["agents_active"], 1);
  EXPECT_EQ(second.status()["agents_enrolled"], 1);
  EXPECT_EQ(second.status()["attached"][0]["station"], 2);
}

TEST(Restart, TakesAStationBackOnlyWithTheMemoryThatWasAgreed) {
  const ScratchDirectory directory;
  EngineProcess first(engine_options(directory.path()));
  ASSERT_EQ(first.hear(), "up");
  SocketStation one(directory.path());
  SocketStation other(directory.path());
  first.kill();
  EngineProcess second(engine_options(directory.path()));
  ASSERT_EQ(second.hear(), "up");

  const json same = json::object();
  const auto refused = [&](const json& patch, const std::vector<int>& descriptors, Errc code) {
    const Error refusal = one.come_back(patch, descriptors);
    EXPECT_EQ(name_of(refusal.code), name_of(code)) << refusal.sentence;
    EXPECT_THAT(refusal.sentence, ::testing::HasSubstr("reattach"));
  };
  const shm::Descriptor unsealed(::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(unsealed.get(), static_cast<off_t>(one.out_bytes())), 0);
  const shm::SealedMemory smaller = shm::create_sealed_memory("smaller", 4'096).value();
  const shm::SealedMemory alike = shm::create_sealed_memory("alike", one.out_bytes()).value();
  const shm::Descriptor plain(
      ::open(directory.file("plain").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const shm::Descriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int out : {other.out(), unsealed.get(), smaller.descriptor.get(),
                        alike.descriptor.get(), plain.get(), null.get(), one.wake()}) {
    refused(same, {out, one.wake()}, Errc::not_yours);
  }
  refused(same, {one.out(), one.out()}, Errc::not_yours);  // no eventfd
  refused(same, {one.out()}, Errc::not_yours);
  refused(same, {}, Errc::not_yours);
  refused(same, {one.out(), one.wake(), one.wake()}, Errc::not_yours);
  refused({{"token", {1, 2}}}, {one.out(), one.wake()}, Errc::not_yours);
  refused({{"token", "mine"}}, {one.out(), one.wake()}, Errc::not_yours);
  refused({{"mesh_uuid", std::vector<int>(16)}}, {one.out(), one.wake()}, Errc::not_yours);
  refused({{"station", 2}}, {one.out(), one.wake()}, Errc::not_yours);
  refused({{"station", 3}}, {one.out(), one.wake()}, Errc::evicted);
  refused({{"station", 65'537}}, {one.out(), one.wake()}, Errc::evicted);
  refused({{"version", 1}}, {one.out(), one.wake()}, Errc::version_skew);
  refused({{"layout_hash", "0x1"}}, {one.out(), one.wake()}, Errc::layout_mismatch);
  refused({{"page_bytes", 65'536}}, {one.out(), one.wake()}, Errc::page_size_mismatch);
  EXPECT_EQ(second.status()["adopted"]["awaited"], 2) << "a refusal cost somebody its place";
  EXPECT_EQ(one.come_back().code, Errc::ok);
  EXPECT_EQ(other.come_back().code, Errc::ok);
  refused(same, {one.out(), one.wake()}, Errc::already_exists);  // twice
  EXPECT_EQ(second.status()["adopted"]["returned"], 2);
  EXPECT_EQ(second.status()["adopted"]["refused"], 21);
  one.leave();  // dies: the usual way
  EXPECT_TRUE(eventually([&] { return second.status()["stations"] == 1; }));
  refused(same, {one.out(), one.wake()}, Errc::evicted);
}

TEST(Restart, TakesAStationBackOnlyFromItsOwnUser) {
  if (!can_become_another_uid()) GTEST_SKIP() << "needs root";
  const ScratchDirectory directory;
  ::chmod(directory.path().c_str(), 0711);
  EngineOptions options = engine_options(directory.path());
  options.policy.uids = {kAnotherUid};
  EngineProcess first(options);
  ASSERT_EQ(first.hear(), "up");
  SocketStation mine(directory.path());
  first.kill();
  EngineProcess second(options);
  ASSERT_EQ(second.hear(), "up");
  EXPECT_EQ(answer_of_child([&] {
              if (!become_another_uid()) return 2;
              return mine.come_back().code == Errc::not_yours ? 0 : 1;
            }),
            0);
  EXPECT_EQ(mine.come_back().code, Errc::ok);
}

TEST(Restart, TellsAStationThatTheMeshBeganAnew) {
  const ScratchDirectory directory;
  const Child alice([](const Channel& channel) { return faithful_listener(channel, "alice"); });
  EngineProcess first(engine_options(directory.path()));
  ASSERT_EQ(first.hear(), "up");
  alice.tell(directory.path());
  ASSERT_EQ(alice.hear(), "enrolled");
  first.kill();
  EngineOptions options = engine_options(directory.path());
  options.fresh = true;
  EngineProcess second(options);
  ASSERT_EQ(second.hear(), "up");
  EXPECT_EQ(alice.hear(), "lost: not_yours");
  EXPECT_EQ(second.status()["agents_enrolled"], 0);
}

// What the dead engine had in hand.

TEST(Restart, SendsWhatTheDeadEngineHadPlanned) {
  const ScratchDirectory directory;
  const Child alice([](const Channel& channel) { return faithful_listener(channel, "alice"); });
  EngineProcess first(engine_options(directory.path()));
  ASSERT_EQ(first.hear(), "up");
  alice.tell(directory.path());
  ASSERT_EQ(alice.hear(), "enrolled");
  (void)first.ask(R"({"op":"broadcast","horizon_ms":3000,"text":"at noon"})");
  first.kill();
  EngineProcess second(engine_options(directory.path()));
  ASSERT_EQ(second.hear(), "up");
  EXPECT_EQ(second.status()["adopted"]["operations"], 1);
  // Its ring may bring the message before its socket brings the news.
  const auto hear = [&] {
    const std::string heard = alice.hear();
    return heard == "back" ? alice.hear() : heard;
  };
  EXPECT_EQ(hear(), "at noon");
  second.send("alice", "and once only");
  EXPECT_EQ(hear(), "and once only");
}

TEST(Restart, KeepsWhatWaitsForAnAgentThatIsAway) {
  const ScratchDirectory directory;
  Child alice([](const Channel& channel) { return faithful_listener(channel, "alice"); });
  const Child again([](const Channel& channel) { return faithful_listener(channel, "alice"); });
  EngineProcess first(engine_options(directory.path()));
  ASSERT_EQ(first.hear(), "up");
  alice.tell(directory.path());
  ASSERT_EQ(alice.hear(), "enrolled");
  alice.end();
  ASSERT_TRUE(eventually([&] { return first.status()["stations"] == 0; }));
  first.send("alice", "one");
  first.send("alice", "two");
  first.kill();
  EngineProcess second(engine_options(directory.path()));
  ASSERT_EQ(second.hear(), "up");
  EXPECT_EQ(second.status()["adopted"]["messages"], 2);
  second.send("alice", "three");
  again.tell(directory.path());
  std::vector<std::string> heard;
  for (int i = 0; i < 4; ++i) heard.push_back(again.hear());
  std::sort(heard.begin(), heard.end());  // "enrolled" races with what was waiting
  EXPECT_EQ(heard, (std::vector<std::string>{"enrolled", "one", "three", "two"}));
  EXPECT_TRUE(eventually([&] { return second.status()["in_use"]["messages"] == 0; }));
}

// Both die: the messages that the station had not answered wait for its agent all the same.
TEST(Restart, KeepsWhatAStationHadNotAnsweredThatDiedWithItsEngine) {
  const ScratchDirectory directory;
  Child deaf([](const Channel& channel) {
    const auto station = attach(channel, channel.hear());
    if (!station || !station->enrol(std::vector<engine::AgentDeclaration>{{"alice"}})) return 1;
    channel.tell("enrolled");
    ::pause();
    return 0;
  });
  const Child again([](const Channel& channel) { return faithful_listener(channel, "alice"); });
  EngineProcess first(engine_options(directory.path()));
  ASSERT_EQ(first.hear(), "up");
  deaf.tell(directory.path());
  ASSERT_EQ(deaf.hear(), "enrolled");
  first.send("alice", "unread");
  first.kill();
  deaf.end();
  EngineOptions options = engine_options(directory.path());
  options.reconnect = Nanos{1};
  EngineProcess second(options);
  ASSERT_EQ(second.hear(), "up");
  ASSERT_TRUE(eventually([&] { return second.status()["adopted"]["awaited"] == 0; }));
  again.tell(directory.path());
  EXPECT_EQ(again.hear(), "enrolled");
  EXPECT_EQ(again.hear(), "unread");
}

// Stations that stand still.

TEST(Stuck, IsNamedAndThenEvictedAndLearnsItOnItsNextCall) {
  const ScratchDirectory directory;
  const Child stuck([](const Channel& channel) {
    const auto station = attach(channel, channel.hear());
    if (!station || !station->enrol(std::vector<engine::AgentDeclaration>{{"stuck"}})) return 1;
    channel.tell("enrolled");
    ::raise(SIGSTOP);
    std::size_t handled = 0;
    station->poll(256, [&](const engine::Delivery&) {
      ++handled;
      return engine::Answer::ready();
    });
    channel.tell(std::string(name_of(station->lost_reason().code)) + " " + std::to_string(handled) +
                 (station->is_lost() ? " lost" : " not lost"));
    return 0;
  });
  const Child alice([](const Channel& channel) { return faithful_listener(channel, "alice"); });
  EngineOptions options = engine_options(directory.path());
  options.stuck_after = Nanos{2'000 * kNsPerMs};
  EngineProcess engine(options);
  ASSERT_EQ(engine.hear(), "up");
  stuck.tell(directory.path());
  ASSERT_EQ(stuck.hear(), "enrolled");
  alice.tell(directory.path());
  ASSERT_EQ(alice.hear(), "enrolled");
  ASSERT_EQ(::waitpid(stuck.process(), nullptr, WUNTRACED), stuck.process());
  EXPECT_EQ(engine.status()["stuck"], json::array());
  engine.send("stuck", "anybody?");
  EXPECT_TRUE(eventually([&] {
    const json status = engine.status();
    return status["stuck"].size() == 1 && status["stuck"][0]["station"] == 1 &&
           status["evicted"] == 0;
  }));
  EXPECT_TRUE(eventually([&] { return engine.status()["evicted"] == 1; }));
  EXPECT_TRUE(eventually([&] { return engine.status()["stations"] == 1; }));
  EXPECT_EQ(engine.status()["agents_active"], 1);
  ::kill(stuck.process(), SIGCONT);
  EXPECT_EQ(stuck.hear(), "evicted 0 lost");
  engine.send("alice", "you");  // whom it does not concern does not notice
  EXPECT_EQ(alice.hear(), "you");
}

TEST(Stuck, IsNobodyWhoHasNothingToRead) {
  const ScratchDirectory directory;
  EngineOptions options = engine_options(directory.path());
  options.stuck_after = Nanos{8 * kNsPerMs};
  EngineProcess engine(options);
  ASSERT_EQ(engine.hear(), "up");
  const SocketStation silent(directory.path());
  const json before = engine.status();
  // A thousand looks' worth of turns at least.
  EXPECT_TRUE(eventually([&] {
    return engine.status()["counters"]["turns"] >
           before["counters"]["turns"].get<std::uint64_t>() + 200;
  }));
  EXPECT_EQ(engine.status()["stuck"], json::array());
  EXPECT_EQ(engine.status()["evicted"], 0);
}

}  // namespace of_restart_test
}  // namespace mesh::testing
