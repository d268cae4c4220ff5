// The engine and its stations, in processes of their own.
#include "engine/engine.hpp"

#include <fstream>

#include <fcntl.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "engine/station/control_client.hpp"
#include "engine/station/control_protocol.hpp"
#include "engine/station/fork_guard.hpp"
#include "tests/engine/station_processes.hpp"

namespace mesh::testing {
namespace of_engine_test {

using engine::Answer;
using engine::Delivery;
using engine::Engine;
using engine::SendOptions;
using engine::SendStatus;

std::string with_field(const nlohmann::json& patch) {
  nlohmann::json request = {{"op", "attach"},       {"version", engine::kControlVersion},
                            {"name", "raw"},        {"agents", 1},
                            {"layout_hash", "0x1"}, {"page_bytes", shm::system_page_bytes()}};
  request.update(patch);
  return request.dump();
}

Error refusal_of(const std::string& directory, const std::string& request) {
  auto client = engine::ControlClient::connect(directory, {});
  EXPECT_TRUE(client.has_value()) << client.error().sentence;
  if (!client) return client.error();
  const auto answer = client->request(request);
  EXPECT_FALSE(answer.has_value()) << *answer;
  return answer ? Error{} : answer.error();
}

bool is_empty(Engine& engine) {
  const auto status = engine.status();
  return status && status->stations == 0 && status->connections == 0;
}

std::size_t count_mappings() {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) count += line.find("station-") != line.npos;
  return count;
}

// A station with one agent, `name`, that tells each text it is sent and answers READY.
int listener(const Channel& channel, const std::string& name) {
  const auto station = attach(channel, channel.hear());
  if (station == nullptr) return 1;
  const auto enrolled = station->enrol(std::vector<engine::AgentDeclaration>{{name}});
  if (!enrolled) {
    channel.tell(std::string(name_of(enrolled.error().code)));
    return 1;
  }
  channel.tell("enrolled");
  while (!station->is_lost()) {
    station->poll(256, [&](const Delivery& delivery) {
      channel.tell(std::string(delivery.text()));
      return Answer::ready();
    });
    (void)station->wait(station->now() + Nanos{kNsPerSecond});
  }
  channel.tell("lost");
  return 0;
}

// Refusals first.

TEST(Engine, RefusesASecondEngineAndNamesTheFirstOnesProcess) {
  const ScratchDirectory directory;
  const auto first = start_engine(directory.path());
  ASSERT_NE(first, nullptr);
  const auto second = Engine::start({.directory = directory.path()});
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, Errc::already_exists);
  EXPECT_EQ(second.error().detail, ::getpid());
  EXPECT_NE(second.error().sentence.find(std::to_string(::getpid())), std::string::npos);
}

TEST(Engine, RefusesAStationOfAnotherProtocolLayoutOrPageSizeAndNamesBothSides) {
  const ScratchDirectory directory;
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  const Error version = refusal_of(directory.path(), with_field({{"version", 77}}));
  EXPECT_EQ(version.code, Errc::version_skew);
  EXPECT_NE(version.sentence.find("version 77"), std::string::npos) << version.sentence;
  EXPECT_NE(version.sentence.find("engine " + std::to_string(engine::kControlVersion)),
            std::string::npos)
      << version.sentence;

  const Error pages = refusal_of(directory.path(), with_field({{"page_bytes", 65'536}}));
  EXPECT_EQ(pages.code, Errc::page_size_mismatch);
  EXPECT_NE(pages.sentence.find("65536"), std::string::npos) << pages.sentence;
  EXPECT_NE(pages.sentence.find(std::to_string(shm::system_page_bytes())), std::string::npos);

  const Error layout = refusal_of(directory.path(), with_field({{"layout_hash", "0xbad"}}));
  EXPECT_EQ(layout.code, Errc::layout_mismatch);
  EXPECT_NE(layout.sentence.find("0xbad"), std::string::npos) << layout.sentence;
  EXPECT_NE(layout.sentence.find("this engine's 0x"), std::string::npos) << layout.sentence;
  EXPECT_TRUE(eventually([&] { return is_empty(*engine); }));
}

TEST(Engine, RefusesWhatIsNoRequest) {
  const ScratchDirectory directory;
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  for (const char* const bytes :
       {"", "{", "[]", "7", "{}", R"({"op":7})", R"({"op":"fly"})", R"({"op":"attach"})",
        R"({"op":"send","to":"nobody"})", R"({"op":"scatter","verb":"sing"})",
        R"({"op":"scatter","window_ms":-1})", R"({"op":"scatter","weight":"much"})"}) {
    if (*bytes == '\0') continue;  // an empty packet is the end of a connection
    EXPECT_NE(refusal_of(directory.path(), bytes).code, Errc::ok) << bytes;
  }
  EXPECT_EQ(refusal_of(directory.path(), R"({"op":"enrol","agents":[]})").code, Errc::not_ready);
  EXPECT_EQ(refusal_of(directory.path(), R"({"op":"send","to":"nobody","text":""})").code,
            Errc::no_such_agent);
  EXPECT_EQ(refusal_of(directory.path(), R"({"op":"scatter"})").code, Errc::no_such_agent);
}

TEST(Station, SaysThatNoEngineRunsThere) {
  const ScratchDirectory directory;
  const auto station = engine::Station::attach(directory.path(), {});
  ASSERT_FALSE(station.has_value());
  EXPECT_EQ(station.error().code, Errc::no_mesh);
}

TEST(Engine, RefusesAnotherUidUnlessThePolicySaysSo) {
  if (!can_become_another_uid()) GTEST_SKIP() << "needs root";
  const ScratchDirectory directory;
  ::chmod(directory.path().c_str(), 0711);
  const Child child([](const Channel& channel) {
    if (!become_another_uid()) return 1;
    return attach(channel, channel.hear()) == nullptr ? 0 : 1;
  });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  child.tell(directory.path());
  const std::string refusal = child.hear();
  EXPECT_EQ(refusal.rfind("permission_denied", 0), 0U) << refusal;
  EXPECT_NE(refusal.find("uid 1000"), std::string::npos) << refusal;
}

TEST(Engine, RefusesANameThatBelongsToAnotherUser) {
  if (!can_become_another_uid()) GTEST_SKIP() << "needs root";
  const ScratchDirectory directory;
  const Child mine([](const Channel& channel) { return listener(channel, "alice"); });
  const Child theirs(
      [](const Channel& channel) { return become_another_uid() ? listener(channel, "alice") : 2; });
  engine::EngineOptions options;
  options.directory = directory.path();
  options.size = {.agents = 16, .stations = 4};
  options.policy.uids = {kAnotherUid};
  const auto engine = Engine::start(options);
  ASSERT_TRUE(engine.has_value()) << engine.error().sentence;
  mine.tell(directory.path());
  ASSERT_EQ(mine.hear(), "enrolled");
  theirs.tell(directory.path());
  EXPECT_EQ(theirs.hear(), "name_taken");
}

TEST(Engine, RefusesMoreAgentsThanAStationDeclared) {
  const ScratchDirectory directory;
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  auto station = engine::Station::attach(directory.path(), {.agents = 1});
  ASSERT_TRUE(station.has_value()) << station.error().sentence;
  const auto enrolled = (*station)->enrol(std::vector<engine::AgentDeclaration>{{"a"}, {"b"}});
  ASSERT_FALSE(enrolled.has_value());
  EXPECT_EQ(enrolled.error().code, Errc::capacity);
}

// What works.

TEST(Engine, BringsADirectMessageToAnAgentAndTakesItsAnswer) {
  const ScratchDirectory directory;
  const Child child([](const Channel& channel) { return listener(channel, "alice"); });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  child.tell(directory.path());
  ASSERT_EQ(child.hear(), "enrolled");
  const auto alice = engine->find("alice");
  ASSERT_TRUE(alice.has_value()) << alice.error().sentence;
  ASSERT_TRUE(engine->send(*alice, bytes_of("hello")).has_value());
  EXPECT_EQ(child.hear(), "hello");
  EXPECT_TRUE(eventually([&] { return engine->status()->counters.answers == 1; }));
}

TEST(Engine, CarriesAMessageBetweenTwoStationsAndTheAnswerBack) {
  const ScratchDirectory directory;
  const Child bob([](const Channel& channel) { return listener(channel, "bob"); });
  const Child alice([](const Channel& channel) {
    const auto station = attach(channel, channel.hear());
    if (station == nullptr) return 1;
    const auto ids = station->enrol(std::vector<engine::AgentDeclaration>{{"alice"}});
    if (!ids) return 1;
    const AgentId to{std::stoull(channel.hear())};
    SendOptions options;
    options.source = ids->front();
    options.target = to;
    if (station->send(options, bytes_of("from alice")) != SendStatus::sent) return 1;
    station->flush();
    serve(*station, 1, [&](const Delivery& delivery) {
      channel.tell(delivery.kind == sched::RecordKind::reply && delivery.source == to
                       ? "a reply of bob's"
                       : "something else");
      return Answer::ready();
    });
    return 0;
  });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  bob.tell(directory.path());
  ASSERT_EQ(bob.hear(), "enrolled");
  alice.tell(directory.path());
  alice.tell(std::to_string(static_cast<std::uint64_t>(engine->find("bob").value())));
  EXPECT_EQ(bob.hear(), "from alice");
  EXPECT_EQ(alice.hear(), "a reply of bob's");
}

// Both sides park after every message: not one wake-up may be lost.
TEST(Engine, LosesNoWakeUpWhileBothSidesPark) {
  constexpr int kMessages = 2'000;
  const ScratchDirectory directory;
  const Child child([](const Channel& channel) {
    engine::StationOptions options;
    options.agents = 2;
    options.wait.policy = queues::WaitPolicy::kPark;
    auto station = engine::Station::attach(channel.hear(), options);
    if (!station) return 1;
    const auto ids = (*station)->enrol(std::vector<engine::AgentDeclaration>{{"ping"}, {"pong"}});
    if (!ids) return 1;
    SendOptions hop;
    hop.source = (*ids)[0];
    hop.target = (*ids)[1];
    int hops = 0;
    if ((*station)->send(hop, {}) != SendStatus::sent) return 1;
    (*station)->flush();
    while (hops < kMessages && !(*station)->is_lost()) {
      (*station)->poll(256, [&](const Delivery& delivery) {
        if (delivery.kind != sched::RecordKind::message) return Answer::ready();
        ++hops;
        (void)(*station)->send(hop, {});
        return Answer::ready();
      });
      // One lost wake-up costs this whole minute.
      if ((*station)->wait((*station)->now() + Nanos{60 * kNsPerSecond}) ==
          queues::WaitResult::kTimedOut) {
        return 2;
      }
    }
    channel.tell(std::to_string(hops));
    return 0;
  });
  engine::EngineOptions options;
  options.directory = directory.path();
  options.size = {.agents = 4, .stations = 1};
  options.wait = queues::WaitPolicy::kPark;
  const auto engine = Engine::start(options);
  ASSERT_TRUE(engine.has_value()) << engine.error().sentence;
  child.tell(directory.path());
  EXPECT_GE(std::atoi(child.hear().c_str()), kMessages);
  EXPECT_GT((*engine)->status()->parks, 100U);
}

TEST(Engine, AnswersTheConsole) {
  const ScratchDirectory directory;
  const Child child([](const Channel& channel) { return listener(channel, "alice"); });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  child.tell(directory.path());
  ASSERT_EQ(child.hear(), "enrolled");
  auto console = engine::ControlClient::connect(directory.path(), {});
  ASSERT_TRUE(console.has_value());
  const auto ask = [&](const char* request) {
    const auto answer = console->request(request);
    EXPECT_TRUE(answer.has_value()) << request << answer.error().sentence;
    return nlohmann::json::parse(answer.value_or("{}"));
  };
  const auto status = ask(R"({"op":"status"})");
  EXPECT_EQ(status["agents_active"], 1);
  EXPECT_EQ(status["attached"][0]["process"], child.process());
  EXPECT_EQ(ask(R"({"op":"send","to":"alice","text":"from the console"})")["ok"], true);
  EXPECT_EQ(child.hear(), "from the console");
  const auto result =
      ask(R"({"op":"scatter","horizon_ms":200,"window_ms":2000,"text":"all of you"})");
  EXPECT_EQ(child.hear(), "all of you");
  EXPECT_EQ(result["sent"], 1) << result;
  EXPECT_EQ(result["ready"], 1) << result;
  EXPECT_EQ(result["verdict"], "success") << result;
  EXPECT_EQ(ask(R"({"op":"broadcast","horizon_ms":200,"text":"hear hear"})")["ok"], true);
  EXPECT_EQ(child.hear(), "hear hear");
  EXPECT_EQ(ask(R"({"op":"down"})")["ok"], true);
  EXPECT_TRUE(engine->wait_for_down(Nanos{60 * kNsPerSecond}));
}

// Deaths.

TEST(Engine, ForgetsAStationKilledAtEachStepOfItsAttach) {
  enum Step { kConnected, kAsked, kAnswered, kGiven, kAttached, kEnrolled, kSteps };
  const ScratchDirectory directory;
  std::vector<std::unique_ptr<Child>> children;
  for (int step = kConnected; step != kSteps; ++step) {
    children.push_back(std::make_unique<Child>([step](const Channel& channel) {
      const std::string path = channel.hear();
      if (step >= kAttached) {
        const auto station = attach(channel, path);
        if (station == nullptr) return 1;
        if (step == kEnrolled && !station->enrol(std::vector<engine::AgentDeclaration>{{"torn"}}))
          return 1;
        channel.tell("there");
        return channel.hear() == kGone ? 0 : 1;
      }
      auto client = engine::ControlClient::connect(path, {});
      if (!client) return 1;
      const auto reference = engine::memory_map(engine::kReferenceMesh);
      char hash[24];
      std::snprintf(hash, sizeof hash, "0x%016llx",
                    static_cast<unsigned long long>(reference->hash()));
      const std::string request = with_field({{"layout_hash", hash}});
      if (step == kAsked) (void)::send(client->fd(), request.data(), request.size(), 0);
      if (step >= kAnswered && !client->request(request)) return 1;
      if (step >= kGiven && !client->receive_descriptors()) return 1;
      channel.tell("there");
      return channel.hear() == kGone ? 0 : 1;
    }));
  }
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  const std::size_t descriptors = count_open_descriptors();
  for (auto& child : children) {
    child->tell(directory.path());
    ASSERT_EQ(child->hear(), "there");
    child->end();
    EXPECT_TRUE(eventually([&] { return is_empty(*engine); }));
    EXPECT_EQ(count_open_descriptors(), descriptors);
    EXPECT_EQ(count_mappings(), 0U);
    EXPECT_EQ(engine->status()->agents_active, 0U);
  }
}

TEST(Engine, LearnsOfADeathByThePidfdWhenAForkedChildHoldsTheSocket) {
  const ScratchDirectory directory;
  const Child child([](const Channel& channel) {
    // Not through Station: its fork handler would close the connection in the child.
    auto client = engine::ControlClient::connect(channel.hear(), {});
    if (!client) return 1;
    if (::fork() == 0) {
      channel.tell("holding");
      (void)channel.hear();  // until the test is over
      return 0;
    }
    ::pause();
    return 0;
  });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  child.tell(directory.path());
  ASSERT_EQ(child.hear(), "holding");
  EXPECT_TRUE(eventually([&] { return engine->status()->connections == 1; }));
  ::kill(child.process(), SIGKILL);
  EXPECT_TRUE(eventually([&] { return is_empty(*engine); }));
}

TEST(Engine, OutlivesAStationKilledWithMessagesWaiting) {
  const ScratchDirectory directory;
  const Child deaf([](const Channel& channel) {
    const auto station = attach(channel, channel.hear());
    if (station == nullptr || !station->enrol(std::vector<engine::AgentDeclaration>{{"deaf"}}))
      return 1;
    channel.tell("enrolled");
    ::pause();  // never polls
    return 0;
  });
  const Child alice([](const Channel& channel) { return listener(channel, "alice"); });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  deaf.tell(directory.path());
  alice.tell(directory.path());
  ASSERT_EQ(deaf.hear(), "enrolled");
  ASSERT_EQ(alice.hear(), "enrolled");
  const AgentId to = engine->find("deaf").value();
  for (int i = 0; i < 3'000; ++i) {  // the inbox holds 1,024
    (void)engine->send(to, bytes_of("is anybody there? is anybody there? is anybody there?"));
  }
  const_cast<Child&>(deaf).end();
  EXPECT_TRUE(eventually([&] { return engine->status()->stations == 1; }));
  EXPECT_EQ(engine->status()->agents_active, 1U);
  EXPECT_EQ(engine->status()->agents_enrolled, 2U);
  ASSERT_TRUE(engine->send(engine->find("alice").value(), bytes_of("still here")).has_value());
  EXPECT_EQ(alice.hear(), "still here");
}

TEST(Engine, LeaksNothingOverTwentyStations) {
  const ScratchDirectory directory;
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < 20; ++i) {
    children.push_back(std::make_unique<Child>([i](const Channel& channel) {
      const auto station = attach(channel, channel.hear());
      if (station == nullptr ||
          !station->enrol(std::vector<engine::AgentDeclaration>{{"agent-" + std::to_string(i)}}))
        return 1;
      channel.tell("enrolled");
      return channel.hear() == "go" ? 0 : 1;
    }));
  }
  const auto engine = start_engine(directory.path());  // 8 stations at once, 20 in all
  ASSERT_NE(engine, nullptr);
  const std::size_t descriptors = count_open_descriptors();
  for (int i = 0; i < 20; ++i) {
    Child& child = *children[static_cast<std::size_t>(i)];
    child.tell(directory.path());
    ASSERT_EQ(child.hear(), "enrolled") << i;
    if (i % 2 == 0) {
      child.end();
    } else {
      child.tell("go");
      EXPECT_EQ(child.wait(), 0);
    }
    EXPECT_TRUE(eventually([&] { return is_empty(*engine); }));
  }
  EXPECT_EQ(engine->status()->stations_ever, 20U);
  EXPECT_EQ(engine->status()->agents_enrolled, 20U);
  EXPECT_EQ(count_open_descriptors(), descriptors);
  EXPECT_EQ(count_mappings(), 0U);
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
    files += entry.path().filename().string().rfind("station-", 0) == 0 ? 1U : 0U;
  }
  EXPECT_EQ(files, 0U);
}

bool is_pipe(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
}
TEST(ForkGuard, ClosesTheConnectionInAForkedChild) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const shm::Descriptor reading(ends[0]);
  const shm::Descriptor writing(ends[1]);
  {
    const engine::ForkGuard guard(ends[1]);
    EXPECT_EQ(answer_of_child([&] { return is_pipe(ends[1]) ? 1 : 0; }), 0);
    EXPECT_EQ(answer_of_child([&] { return is_pipe(ends[0]) ? 0 : 1; }), 0);
    // Its number is nobody else's: who owned it may close it.
    EXPECT_EQ(answer_of_child([&] { return ::open("/dev/zero", O_RDONLY) == ends[1] ? 1 : 0; }), 0);
  }
  EXPECT_EQ(answer_of_child([&] { return is_pipe(ends[1]) ? 0 : 1; }), 0);
}

}  // namespace of_engine_test
}  // namespace mesh::testing
